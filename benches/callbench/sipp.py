"""SIPp as the caller: so many calls at such a rate, and what came of them."""

import csv
import os
import random
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .process import PeerError, pinned

# Below the range that the system takes ephemeral ports from, and below the bench's media ports.
CALLER_PORTS = range(10_000, 19_000)
PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class Outcome:
    """What SIPp counted."""

    wanted: int
    created: int
    succeeded: int
    failed: int
    retransmissions: int
    unexpected: int
    seconds: float
    mean_answer_ms: float | None
    caller_cpu_seconds: float

    @property
    def rate(self) -> float:
        """Calls a second as they were really placed."""
        return self.created / self.seconds if self.seconds else 0.0


def free_port() -> int:
    """A UDP port of 127.0.0.1 that is free, with its neighbour, at this moment."""
    for port in random.sample(CALLER_PORTS, 200):
        try:
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
            ):
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 2))
        except OSError:
            continue
        return port
    raise PeerError("no free UDP port for SIPp")


def find(install: Callable[[str], None]) -> str:
    """The path of SIPp; Debian's package is installed where there is none and the user may."""
    if found := shutil.which("sipp"):
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        install("sip-tester")
        if found := shutil.which("sipp"):
            return found
    raise PeerError("SIPp is needed: `apt-get install sip-tester` (Debian, Ubuntu) or https://github.com/SIPp/sipp")


def version(sipp: str) -> str:
    words = subprocess.run([sipp, "-v"], capture_output=True, text=True, check=False).stdout.split()
    return next((word.strip("v.,") for word in words if word.startswith("v")), "unknown")


def call(
    sipp: str,
    port: int,
    *,
    rate: int,
    seconds: float,
    directory: Path,
    scenario: Path | None = None,
    cpus: Sequence[int] | None = None,
    progress: Callable[[int, int, int, int], None] = lambda _done, _wanted, _failed, _retransmissions: None,
) -> Outcome:
    """Places `rate` calls a second for `seconds` to 127.0.0.1:`port` and waits until all of them are over.

    Where no scenario is given it is SIPp's own `uac`: INVITE with SDP, 180, 200, ACK, BYE at once, 200. `progress` gets what
    is done, wanted, failed and retransmitted so far.
    """
    directory.mkdir(parents=True, exist_ok=True)
    statistics = directory / "sipp.csv"
    statistics.unlink(missing_ok=True)
    wanted = max(1, round(rate * seconds))
    own_port = free_port()
    command = [
        sipp, *(("-sn", "uac") if scenario is None else ("-sf", str(scenario))), f"127.0.0.1:{port}",
        "-i", "127.0.0.1", "-p", str(own_port), "-mp", str(own_port + 2),
        "-d", "0", "-r", str(rate), "-m", str(wanted), "-l", str(max(1_000, 3 * rate)),
        "-nostdin", "-f", "60", "-buff_size", str(4 << 20),
        "-trace_stat", "-stf", str(statistics), "-fd", "250ms",
        # Longer than RFC 3261 lets anybody retransmit: a response lost for good fails its call, which would not end.
        "-recv_timeout", "40000",
        "-trace_err", "-error_file", str(directory / "sipp-errors.log"),
        # A busy machine stalls SIPp for seconds; that shows in the figures and is no reason to give up.
        "-watchdog_minor_maxtriggers", "1000000", "-watchdog_major_maxtriggers", "1000000",
    ]  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    with pinned(cpus):
        process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    give_up = start + 3 * seconds + 90
    try:
        told = start
        while True:
            try:
                process.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                pass
            now = time.monotonic()
            if now > give_up:
                break
            if now - told >= PROGRESS_SECONDS and (rows := read(statistics)):
                told = now
                row = rows[-1]
                progress(number(row, "TotalCallCreated"), wanted, number(row, "FailedCall(C)"), retransmitted(row))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = read(statistics)
    if not rows:
        raise PeerError(f"SIPp ended with {process.returncode} before its first call; see {directory}")
    row = rows[-1]
    succeeded = number(row, "SuccessfulCall(C)")
    return Outcome(
        wanted=wanted,
        created=number(row, "TotalCallCreated"),
        succeeded=succeeded,
        # What SIPp could not even place, or left open when it was ended, has failed too.
        failed=wanted - succeeded,
        retransmissions=retransmitted(row),
        unexpected=number(row, "OutOfCallMsgs(C)") + number(row, "DeadCallMsgs(C)"),
        seconds=placing_seconds(rows),
        mean_answer_ms=1000 * clock_seconds(row["ResponseTime1(C)"]) if row.get("ResponseTime1(C)") else None,
        caller_cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def retransmitted(row: dict[str, str]) -> int:
    return number(row, "Retransmissions(C)")


def read(statistics: Path) -> list[dict[str, str]]:
    """The whole lines of SIPp's statistics so far, by column."""
    try:
        text = statistics.read_text(errors="replace")
    except FileNotFoundError:
        return []
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines(), delimiter=";"))


def placing_seconds(rows: list[dict[str, str]]) -> float:
    """From the first call to the last one's beginning; the ends of calls that come later do not count."""
    final = number(rows[-1], "TotalCallCreated")
    placed = next(row for row in rows if number(row, "TotalCallCreated") == final)
    return epoch(placed, "CurrentTime") - epoch(placed, "StartTime")


def epoch(row: dict[str, str], name: str) -> float:
    """SIPp writes a moment as date, time and seconds of the Unix epoch, with tabs between."""
    return float(row[name].split("\t")[-1])


def number(row: dict[str, str], name: str) -> int:
    try:
        return int(row[name])
    except (KeyError, ValueError):
        raise PeerError(f"SIPp's statistics have no {name}: another version?") from None


def clock_seconds(text: str) -> float:
    """SIPp's times: "HH:MM:SS", with ":" or "." and microseconds after it."""
    parts = text.replace(".", ":").split(":")
    if len(parts) < 3:
        return 0.0
    hours, minutes, seconds, *fraction = (int(part) for part in parts)
    return hours * 3600 + minutes * 60 + seconds + (fraction[0] / 1e6 if fraction else 0.0)
