"""Calls beside many idle connections, and how long a sender that does not come to an end is waited for."""

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from callbench.process import Peer, PeerError

from .caller import Caller, CallError
from .setting import HOST, Setting, Table, megabytes, percentile, raise_file_limit, server

CONNECTIONS = 10_000
CALLS = 500
SETTLE_SECONDS = 2.0
# Media ports stay bound for a minute after their calls, and memory is given back a quarter of one later.
FORGOTTEN_SECONDS = 85.0
# The goal is 30; a sender that is not closed by then is waited for no longer than this.
SLOW_SENDER_MOST_SECONDS = 60.0
# Of one source and destination there are about 28,000 ports.
_SOURCES = ("127.0.0.1", "127.0.0.2")


@dataclass(frozen=True)
class Row:
    idle: int
    calls: int
    failed: int
    p50_ms: float
    p99_ms: float
    most_ms: float
    cpu_us_a_call: float
    resident: int
    bytes_a_connection: float | None


def measure(setting: Setting) -> Table:
    wanted = setting.size(CONNECTIONS)
    notes = []
    limit = raise_file_limit(wanted + 500)
    if limit < wanted + 100:
        notes.append(f"This process may open {limit:,} files only: so many connections were held, and not {wanted:,}.")
        wanted = limit - 100
    rows: list[Row] = []
    with server(setting, "connections", "--connections", str(wanted + 100)) as peer:
        if (files := peer.ask()["file_limit"]) < wanted + 500:
            raise PeerError(f"the server may open {files} files only; {wanted + 500} are needed (`ulimit -n`)")
        setting.tell("calls over one connection, no other open")
        rows.append(_calls(peer, setting.size(CALLS), 0, None))
        before = peer.memory().now
        setting.tell(f"opening {wanted:,} connections")
        with _held(peer.port, wanted) as held:
            time.sleep(SETTLE_SECONDS)
            open_files = peer.ask()["open_files"]
            if open_files < len(held):
                raise PeerError(f"the server holds {open_files} files, and {len(held)} connections were opened")
            added = (peer.memory().now - before) / len(held)
            setting.tell(f"calls over one more, {len(held):,} idle")
            rows.append(_calls(peer, setting.size(CALLS), len(held), added))
            alive = sum(1 for each in held if _is_open(each))
            if alive < len(held):
                notes.append(f"{len(held) - alive:,} of the idle connections were closed meanwhile.")
            setting.tell("senders that do not come to an end")
            with ThreadPoolExecutor(len(SLOW_SENDERS)) as pool:
                closed = pool.map(lambda beginning: _slow_sender(peer.port, beginning), SLOW_SENDERS.values())
                for what, took in zip(SLOW_SENDERS, closed, strict=True):
                    said = "was not closed" if took is None else f"was closed after {took:.1f} s"
                    notes.append(f"A sender of {what}, and then of a byte a second, {said}.")
        time.sleep(SETTLE_SECONDS)
        peer.check()
        left, files = peer.memory().now, peer.ask()["open_files"]
        setting.tell(f"quiet for {FORGOTTEN_SECONDS:g} s")
        time.sleep(FORGOTTEN_SECONDS)
        later, files_later = peer.memory().now, peer.ask()["open_files"]
        notes.append(
            f"{SETTLE_SECONDS:g} s after all of them were closed: {megabytes(left)} MB, {files:,} files open, media ports of "
            f"the calls among them; {FORGOTTEN_SECONDS:g} s later: {megabytes(later)} MB, {files_later:,} files."
        )
    table = [
        [
            f"{row.idle:,}", f"{row.calls:,}", f"{row.failed:,}", f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}", f"{row.most_ms:.2f}",
            f"{row.cpu_us_a_call:.1f}", megabytes(row.resident),
            "-" if row.bytes_a_connection is None else f"{row.bytes_a_connection:,.0f}",
        ]
        for row in rows
    ]  # fmt: skip
    headings = (
        "idle TCP connections", "calls over one more", "failed", "ms to the 200, p50", "p99", "most", "µs of CPU a call", "MB",
        "bytes a connection",
    )  # fmt: skip
    return Table("Idle connections", headings, table, notes, [*(asdict(row) for row in rows), {"notes": notes}])


def _calls(peer: Peer, count: int, idle: int, added: float | None) -> Row:
    """One call after the other, over one connection."""
    took: list[float] = []
    failed = 0
    cpu = peer.cpu_seconds()
    with Caller(peer.port, "TCP") as caller:
        for _ in range(count):
            try:
                took.append(caller.call())
            except CallError:
                failed += 1
                peer.check()
    if not took:
        raise PeerError(f"none of {count} calls was answered")
    return Row(
        idle=idle,
        calls=count,
        failed=failed,
        p50_ms=1e3 * percentile(took, 0.5),
        p99_ms=1e3 * percentile(took, 0.99),
        most_ms=1e3 * max(took),
        cpu_us_a_call=1e6 * (peer.cpu_seconds() - cpu) / count,
        resident=peer.memory().now,
        bytes_a_connection=added,
    )


@contextlib.contextmanager
def _held(port: int, count: int) -> Iterator[list[socket.socket]]:
    held: list[socket.socket] = []
    try:
        for number in range(count):
            each = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.append(each)
            each.settimeout(20)
            each.bind((_SOURCES[number % len(_SOURCES)], 0))
            each.connect((HOST, port))
        yield held
    except OSError as error:
        raise PeerError(f"connection {len(held):,} of {count:,}: {error}") from None
    finally:
        for each in held:
            each.close()


def _is_open(each: socket.socket) -> bool:
    each.setblocking(False)
    try:
        return each.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


_HEAD = f"OPTIONS sip:bench@{HOST} SIP/2.0\r\nVia: SIP/2.0/TCP {HOST}:9;branch=z9hG4bKslow\r\n"
SLOW_SENDERS = {
    "half a start line": _HEAD[:11],
    "half of its headers": _HEAD,
    "headers and half of the body": _HEAD + "Content-Length: 1000\r\n\r\nhello",
}


def _slow_sender(port: int, beginning: str) -> float | None:
    """Seconds until one that sends so much, and then a byte a second, is closed."""
    with socket.create_connection((HOST, port), timeout=20) as slow:
        started = time.monotonic()
        slow.sendall(beginning.encode())
        while time.monotonic() - started < SLOW_SENDER_MOST_SECONDS:
            slow.settimeout(1.0)
            try:
                if slow.recv(65_535) == b"":
                    return time.monotonic() - started
            except TimeoutError:
                with contextlib.suppress(OSError):
                    slow.sendall(b"x")
            except OSError:
                return time.monotonic() - started
    return None
