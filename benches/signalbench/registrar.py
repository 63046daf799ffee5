"""Registrations a second and memory a binding."""

import time
from dataclasses import asdict, dataclass

from callbench.process import Peer, PeerError

from .setting import HOST, Setting, Table, load_program, megabytes, outcome, server

BINDINGS = 100_000
WINDOW = 256
# A finished REGISTER over UDP is remembered for 64*T1 (RFC 3261 §17.2.2, timer J).
FORGOTTEN_SECONDS = 34.0


@dataclass(frozen=True)
class Row:
    store: str
    what: str
    registrations: int
    failed: int
    retransmissions: int
    seconds: float
    cpu_us: float
    resident_before: int
    resident_end: int
    resident_settled: int


def measure(setting: Setting) -> Table:
    program = load_program(setting, "register")
    count = setting.size(BINDINGS)
    rows: list[Row] = []
    notes = [
        f"{count:,} addresses of record with one contact each, {WINDOW} REGISTERs under way at a time, over UDP on {HOST}. "
        f"MB: resident memory before, at the end, and {FORGOTTEN_SECONDS:g} s later, when finished transactions are forgotten. "
        "Bytes a binding: what has been added to a fresh process by then, divided by the bindings."
    ]
    for store in (":memory:", "SQLite"):
        path = setting.directory / "bindings.sqlite"
        path.unlink(missing_ok=True)
        options = ("--registrar", store if store == ":memory:" else str(path))
        with server(setting, f"registrar-{store.strip(':')}", *options) as peer:
            fresh = peer.memory().now
            for cseq, what in ((1, "new"), (2, "refresh")):
                setting.tell(f"registrar, {store}: {count:,} {what}")
                rows.append(_run(program, peer, store, what, count, cseq))
        settled = rows[-2].resident_settled
        notes.append(f"{store}: {max(0, settled - fresh) / count:,.0f} bytes a binding.")
        if store != ":memory:":
            with server(setting, "registrar-again", *options) as again:
                # It has read the bindings before it is ready.
                loaded = again.memory().now
                asked = _run(program, again, store, "refresh after a restart", count, 3)
                rows.append(asked)
            notes.append(f"{store}, started again: {max(0, loaded - fresh) / count:,.0f} bytes a binding.")
    table = [
        [
            row.store, row.what, f"{row.registrations / row.seconds:,.0f}", f"{row.failed:,}", f"{row.retransmissions:,}",
            f"{row.cpu_us:.1f}", megabytes(row.resident_before), megabytes(row.resident_end), megabytes(row.resident_settled),
        ]
        for row in rows
    ]  # fmt: skip
    headings = (
        "store", "registrations", "a second", "failed", "retransmissions", "µs of CPU each", "MB before", "MB end", "MB settled",
    )  # fmt: skip
    return Table("Registrar", headings, table, notes, [asdict(row) for row in rows])


def _run(program: str, peer: Peer, store: str, what: str, count: int, cseq: int) -> Row:
    before, cpu = peer.memory().now, peer.cpu_seconds()
    command = [program, HOST, str(peer.port), HOST, str(count), str(cseq), str(WINDOW)]
    found = outcome(command, 120 + count / 200)
    peer.check()
    cpu = peer.cpu_seconds() - cpu
    end = peer.memory().now
    time.sleep(FORGOTTEN_SECONDS)
    peer.check()
    if found["accepted"] == 0:
        raise PeerError(f"no REGISTER was accepted: {found}")
    return Row(
        store=store,
        what=what,
        registrations=count,
        failed=int(found["refused"] + found["lost"]),
        retransmissions=int(found["retransmissions"]),
        seconds=found["seconds"],
        cpu_us=1e6 * cpu / count,
        resident_before=before,
        resident_end=end,
        resident_settled=peer.memory().now,
    )
