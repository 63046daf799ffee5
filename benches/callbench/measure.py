"""One row: a fresh program, warmed up, called at one rate, and what that cost it."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from . import sipp
from .process import Peer, PeerError

# What a program still does for the last calls when SIPp has gone home.
TAIL_SECONDS = 1.0


@dataclass(frozen=True)
class Load:
    """How long, and on which CPUs if not on any."""

    seconds: float
    warm_up_seconds: float
    # Quiet time after the calls, in which finished transactions go; 0: none, and no settled memory.
    linger_seconds: float
    pin_answering: Sequence[int] | None = None
    pin_calling: Sequence[int] | None = None


@dataclass(frozen=True)
class Row:
    system: str
    title: str
    offered_rate: int
    placed_rate: float
    calls: int
    failed_calls: int
    retransmissions: int
    unexpected_messages: int
    mean_answer_ms: float | None
    cpu_us_a_call: float
    caller_cpu_us_a_call: float
    idle_bytes: int
    peak_bytes: int
    end_bytes: int
    settled_bytes: int | None
    linger_cpu_seconds: float | None
    threads: int
    open_files: int
    own_stats: dict[str, object] | None

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def measure(
    name: str,
    title: str,
    command: Sequence[str],
    rate: int,
    load: Load,
    caller: str,
    directory: Path,
    tell: Callable[[str], None],
) -> Row:
    """Raises `PeerError` where the program or SIPp breaks down."""
    directory.mkdir(parents=True, exist_ok=True)
    with Peer(command, directory / "peer.log", load.pin_answering) as peer:
        idle = peer.memory()
        if load.warm_up_seconds > 0:
            tell(f"warming up for {load.warm_up_seconds:g} s")
            sipp.call(
                caller, peer.port, rate=rate, seconds=load.warm_up_seconds, directory=directory / "warm-up",
                cpus=load.pin_calling,
            )  # fmt: skip
            time.sleep(TAIL_SECONDS)
            peer.check()

        before = peer.cpu_seconds()

        def progress(done: int, wanted: int, failed: int, retransmissions: int) -> None:
            peer.check()
            cpu = 1e6 * (peer.cpu_seconds() - before) / max(done, 1)
            megabytes = peer.memory().now / 1e6
            tell(
                f"{done:,} of {wanted:,} calls, {failed} failed, {retransmissions} retransmissions, "
                f"{cpu:.1f} us of CPU a call, {megabytes:.0f} MB"
            )

        outcome = sipp.call(
            caller, peer.port, rate=rate, seconds=load.seconds, directory=directory, cpus=load.pin_calling,
            progress=progress,
        )  # fmt: skip
        peer.check()
        threads, open_files = peer.threads_and_files()
        time.sleep(TAIL_SECONDS)
        peer.check()
        after = peer.cpu_seconds()
        end = peer.memory()

        settled = None
        linger_cpu = None
        if load.linger_seconds > 0:
            tell(f"quiet for {load.linger_seconds:g} s")
            time.sleep(load.linger_seconds)
            peer.check()
            settled = peer.memory().now
            linger_cpu = peer.cpu_seconds() - after
        peak = peer.memory().peak
    if outcome.created == 0:
        raise PeerError(f"SIPp placed no call; see {directory}")
    return Row(
        system=name,
        title=title,
        offered_rate=rate,
        placed_rate=outcome.rate,
        calls=outcome.wanted,
        failed_calls=outcome.failed,
        retransmissions=outcome.retransmissions,
        unexpected_messages=outcome.unexpected,
        mean_answer_ms=outcome.mean_answer_ms,
        cpu_us_a_call=1e6 * (after - before) / outcome.created,
        caller_cpu_us_a_call=1e6 * outcome.caller_cpu_seconds / outcome.created,
        idle_bytes=idle.now,
        peak_bytes=peak,
        end_bytes=end.now,
        settled_bytes=settled,
        linger_cpu_seconds=linger_cpu,
        threads=threads,
        open_files=open_files,
        own_stats=json.loads(peer.stats) if peer.stats else None,
    )
