"""A flood of INVITEs that nobody acknowledges, and the calls of others meanwhile."""

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from callbench.process import Peer, PeerError

from .caller import Caller, CallError
from .setting import HOST, Setting, Table, load_program, megabytes, outcome, percentile, server

INVITES = 100_000
RATE = 5_000
SOCKETS = 2_000
# Between two calls of somebody who means it.
PAUSE_SECONDS = 0.05
# 64*T1: then a dialog without its ACK is given up.
LIFETIME_SECONDS = 32.0
# Its BYE is not answered and lasts as long again; ended calls stay known to the program for a minute, and then memory is given back.
FORGOTTEN_SECONDS = 140.0


@dataclass(frozen=True)
class Case:
    what: str
    # Of `peers/ringback_server.py`.
    options: Sequence[str]
    # Where the flood comes from. The calls come from 127.0.0.1.
    source: str
    # As many addresses from there on: forged senders.
    addresses: int = 1


# `with_max_sessions`, where the limit is to be reached.
_SESSIONS = ("--sessions", "20000")
CASES = (
    Case("accepted, all are kept", ("--flood", "accept"), HOST),
    Case("refused (404), all are kept", ("--flood", "refuse"), HOST),
    Case("`Limits()` as they are", ("--flood", "accept", "--half-open", "10000", *_SESSIONS), "127.0.0.2"),
    Case(
        "the same, from 2,000 addresses", ("--flood", "accept", "--half-open", "10000", *_SESSIONS), "127.0.1.1", 2_000
    ),
    Case(
        "the same, and the default of 1,000 sessions",
        ("--flood", "accept", "--half-open", "10000", "--sessions", "1000"),
        "127.0.1.1",
        2_000,
    ),
    Case(
        "100 requests a second from one source",
        ("--flood", "accept", "--half-open", "10000", *_SESSIONS, "--per-source", "100"),
        "127.0.0.2",
    ),
)


@dataclass
class Calls:
    """What became of calls that were placed one after the other."""

    took: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def placed(self) -> int:
        return len(self.took) + len(self.failed)


@dataclass(frozen=True)
class Row:
    what: str
    invites: int
    flood: dict[str, float]
    fresh: int
    most_sessions: int
    peak: int
    calls: int
    answered: int
    p50_ms: float | None
    p99_ms: float | None
    first_failure: str | None
    cpu_us_an_invite: float
    sessions_after: int
    resident_after: int
    answered_after: bool


def measure(setting: Setting) -> Table:
    program = load_program(setting, "flood")
    count = setting.size(INVITES)
    rows = [_run(setting, program, case, count) for case in CASES]
    table = []
    for row in rows:
        share = f"{100 * row.answered / row.calls:.1f} % of {row.calls:,}" if row.calls else "-"
        table.append(
            [
                row.what, f"{row.invites:,}", f"{row.flood['overloaded']:,.0f}", f"{row.most_sessions:,}", share,
                "-" if row.p50_ms is None else f"{row.p50_ms:.1f}", "-" if row.p99_ms is None else f"{row.p99_ms:.1f}",
                f"{row.cpu_us_an_invite:.1f}", megabytes(row.fresh), megabytes(row.peak), megabytes(row.resident_after),
                f"{row.sessions_after:,}",
            ]
        )  # fmt: skip
    headings = (
        "flood", "INVITEs", "503", "most open sessions", "others' calls answered", "ms to the 200, p50", "p99", "µs of CPU an INVITE",
        "MB before", "MB peak", "MB after", "open sessions after",
    )  # fmt: skip
    notes = [
        f"{RATE:,} INVITEs a second from {SOCKETS:,} ports, none acknowledged, no BYE answered. Others' calls: one after the other, "
        f"from before the flood until 64*T1 ({LIFETIME_SECONDS:g} s) after its last INVITE. After: "
        f"{FORGOTTEN_SECONDS:g} s later, for ended calls stay known to the program for a minute."
    ]
    notes += [f"First failure where {row.what}: {row.first_failure}." for row in rows if row.first_failure]
    notes += [f"No call was answered after the flood where {row.what}." for row in rows if not row.answered_after]
    return Table("A flood", headings, table, notes, [asdict(row) for row in rows])


def _run(setting: Setting, program: str, case: Case, count: int) -> Row:
    setting.tell(f"flood, {case.what}: {count:,} INVITEs")
    number = CASES.index(case)
    unlimited = ("--half-open", str(2 * INVITES), "--sessions", str(2 * INVITES))
    options = case.options if "--half-open" in case.options else (*case.options, *unlimited)
    with server(setting, f"flood-{number}", *options) as peer:
        with Caller(peer.port) as caller:
            for _ in range(20):
                caller.call()
        fresh, cpu = peer.memory(), peer.cpu_seconds()
        calls, watch = Calls(), Watch(peer)
        stop = threading.Event()
        threads = [
            threading.Thread(target=_call, args=(peer.port, calls, stop)),
            threading.Thread(target=watch.run, args=(stop,)),
        ]
        for thread in threads:
            thread.start()
        try:
            time.sleep(1.0)
            sockets = min(SOCKETS, count)
            command = [
                program,
                HOST,
                str(peer.port),
                case.source,
                str(case.addresses),
                str(count),
                str(RATE),
                str(sockets),
                str(LIFETIME_SECONDS),
            ]
            flood = outcome(command, 60 + 10 * count / RATE + LIFETIME_SECONDS)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        peer.check()
        spent = peer.cpu_seconds() - cpu
        setting.tell(f"quiet for {FORGOTTEN_SECONDS:g} s")
        time.sleep(FORGOTTEN_SECONDS)
        after = peer.ask()
        memory = peer.memory()
        with Caller(peer.port) as caller:
            answered_after = _answers(caller)
        return Row(
            what=case.what,
            invites=int(flood["sent"]),
            flood=flood,
            fresh=fresh.now,
            most_sessions=watch.most_sessions,
            peak=memory.peak,
            calls=calls.placed,
            answered=len(calls.took),
            p50_ms=1e3 * percentile(calls.took, 0.5) if calls.took else None,
            p99_ms=1e3 * percentile(calls.took, 0.99) if calls.took else None,
            first_failure=calls.failed[0] if calls.failed else None,
            cpu_us_an_invite=1e6 * spent / max(1, int(flood["sent"])),
            sessions_after=int(after["active_sessions"]),
            resident_after=memory.now,
            answered_after=answered_after,
        )


def _answers(caller: Caller) -> bool:
    try:
        caller.call()
    except CallError:
        return False
    return True


def _call(port: int, calls: Calls, stop: threading.Event) -> None:
    with Caller(port) as caller:
        while not stop.wait(PAUSE_SECONDS):
            try:
                calls.took.append(caller.call())
            except CallError as error:
                calls.failed.append(str(error))


class Watch:
    """Asks the server now and then how many sessions it has."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.most_sessions = 0

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(1.0):
            try:
                self.most_sessions = max(self.most_sessions, int(self._peer.ask()["active_sessions"]))
            except (PeerError, ProcessLookupError):
                return
