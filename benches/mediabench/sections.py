"""The bench's sections: each measures its rows and returns them, and says why a row is left out."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from callbench.process import PeerError
from callbench.systems import NotHere

from . import limits, rtpengine
from .measure import Row, measure
from .phones import Phones
from .ringback import Calls, calls
from .setting import CODECS, Setting


@dataclass(frozen=True)
class Sizes:
    """How many calls there are in each section."""

    relay: Sequence[int]
    # Size of the rooms, and about how many calls in all of them.
    conferences: Sequence[int]
    conference_calls: int
    opus_conferences: Sequence[int]
    opus_calls: int
    transcoded_calls: int
    batches: Sequence[int]
    streams: Sequence[int]
    tick_calls: int
    tick_seconds: float
    # Numbers of media threads, calls, and the size of conferences.
    threads: Sequence[int]
    thread_calls: int
    thread_conferences: int


@dataclass(frozen=True)
class Late:
    """How late a media thread's ticks, or the machine's own, were in one situation; seconds."""

    what: str
    situation: str
    ticks: int
    median: float
    p99: float
    longest: float


@dataclass
class Found:
    """All that was measured."""

    rows: list[Row]
    late: list[Late]
    left_out: list[str]
    # CPU time that the floor's relay takes for a packet, by the number of legs, once it was measured.
    packet_us: dict[int, float] = field(default_factory=dict)


FLOOR, RINGBACK, RTPENGINE = "floor", "ringback", "rtpengine"


@contextmanager
def _excused(found: Found, what: str) -> Iterator[None]:
    """A row that cannot be measured does not take the others along."""
    try:
        yield
    except (NotHere, PeerError) as error:
        found.left_out.append(f"{what}: {error}")


def _row(
    setting: Setting,
    section: str,
    title: str,
    codecs: Sequence[str],
    order: str | None,
    *,
    also: Callable[[Calls], None] = lambda _: None,
    media_threads: int | None = None,
) -> Row:
    setting.tell(f"{section}, {title}, {len(codecs)} calls:")
    with calls(setting, codecs, order, media_threads=media_threads) as made:
        row = measure(setting, section, title, made.program, made.phones, idle_bytes=made.idle_bytes)
        also(made)
    return row


def _packet_us(setting: Setting, found: Found, legs: int) -> float | None:
    """What the floor's relay charges for a packet at the same rate, for fewer cost more each; measured here where it was not yet."""
    if legs not in found.packet_us:
        with _excused(found, "floor relay"):
            setting.tell(f"relay, floor, {legs} legs:")
            found.packet_us[legs] = _floor_relay(setting, legs).cpu_us
    return found.packet_us.get(legs)


# ---- relaying


def _floor_relay(setting: Setting, legs: int) -> Row:
    with limits.Relay(setting, legs) as floor, Phones(setting, legs) as phones:
        phones.load(["PCMU"], setting.sounds)
        for phone, port in enumerate(floor.ports):
            phones.connect(phone, port, 0, "PCMU")
        phones.order("start")
        return measure(setting, "relay", FLOOR, floor, phones)


def _rtpengine(setting: Setting, program: str, legs: int) -> Row:
    with rtpengine.Rtpengine(setting, program) as peer, Phones(setting, legs) as phones:
        idle = peer.memory().now
        phones.load(["PCMU"], setting.sounds)
        ports = phones.ports
        for first in range(0, legs, 2):
            for phone, port in zip((first, first + 1), peer.bridge(first, *ports[first : first + 2]), strict=True):
                phones.connect(phone, port, 0, "PCMU")
        phones.order("start")
        return measure(setting, "relay", RTPENGINE, peer, phones, idle_bytes=idle, warm_up_seconds=5.0)


def relay(setting: Setting, sizes: Sizes, found: Found, install: Callable[[str], None] | None) -> None:
    """Calls bridged in pairs, G.711, beside the machine's limit and rtpengine; without the latter where `install` is None."""
    program = None
    with _excused(found, "rtpengine"):
        if install is None:
            raise NotHere("not wanted")
        program = rtpengine.find(setting, install)
    for legs in sizes.relay:
        floor = peer = None
        with _excused(found, f"floor relay, {legs} legs"):
            setting.tell(f"relay, floor, {legs} legs:")
            floor = _floor_relay(setting, legs)
            found.rows.append(floor)
            found.packet_us[legs] = floor.cpu_us
        if program is not None:
            with _excused(found, f"rtpengine, {legs} legs"):
                setting.tell(f"relay, rtpengine, {legs} legs:")
                peer = _rtpengine(setting, program, legs)
                found.rows.append(_beside(peer, floor, None))
        with _excused(found, f"relay, {legs} legs"):
            row = _row(setting, "relay", RINGBACK, ["PCMU"] * legs, "bridge")
            found.rows.append(_beside(row, floor, peer))


def _beside(row: Row, floor: Row | None, peer: Row | None) -> Row:
    return replace(row, limit_us=floor.cpu_us if floor else None, peer_us=peer.cpu_us if peer else None)


# ---- conferences


def conference(setting: Setting, sizes: Sizes, found: Found) -> None:
    """Everybody talks all the time. The limit: the floor's relay for the packets, the floor's mixer for the audio."""
    for size in sizes.conferences:
        rooms = max(1, sizes.conference_calls // size)
        title = f"{rooms} of {size}"
        with _excused(found, f"conference, {title}"):
            row = _row(setting, "conference", title, ["PCMU"] * (rooms * size), f"rooms {size}")
            found.rows.append(row)
            packets = _packet_us(setting, found, rooms * size)
            if packets is not None:
                found.rows[-1] = replace(row, limit_us=packets + limits.mix_us(setting, size, rooms))


def opus_conference(setting: Setting, sizes: Sizes, found: Found, codecs: limits.Codecs | None) -> None:
    """The limit is libopus alone: each member decoded, and what it hears encoded."""
    for size in sizes.opus_conferences:
        rooms = max(1, sizes.opus_calls // size)
        title = f"{rooms} of {size}"
        with _excused(found, f"opus conference, {title}"):
            row = _row(setting, "opus conference", title, ["opus"] * (rooms * size), f"rooms {size}")
            found.rows.append(row)
            if codecs is not None:
                found.rows[-1] = replace(row, limit_us=sum(codecs.alone_us("opus", rooms * size, size)))


# ---- transcoding


def transcoding(setting: Setting, sizes: Sizes, found: Found, codecs: limits.Codecs | None) -> None:
    """Bridges of two codecs; the limit: the floor's relay, and both codecs decoded and encoded alone."""
    legs = max(2, sizes.transcoded_calls // 2 * 2)
    for pair in itertools.combinations(CODECS, 2):
        title = f"{pair[0]} and {pair[1]}"
        with _excused(found, f"transcoding, {title}"):
            row = _row(setting, "transcoding", title, list(pair) * (legs // 2), "bridge")
            found.rows.append(row)
            packets = _packet_us(setting, found, legs)
            if codecs is not None and packets is not None:
                alone = sum(sum(codecs.alone_us(codec, legs // 2)) for codec in pair) / 2
                found.rows[-1] = replace(row, limit_us=packets + alone)


# ---- programs


def bots(setting: Setting, sizes: Sizes, found: Found) -> None:
    """Each call echoed by Python, in frames of 20 ms at 16 kHz."""
    for order, title, counts in (
        ("batches", "`AudioBatches`", sizes.batches),
        ("streams", "`AudioStream`", sizes.streams),
    ):
        for count in counts:
            with _excused(found, f"{title}, {count} calls"):
                row = _row(setting, "bots", title, ["PCMU"] * count, order)
                found.rows.append(replace(row, limit_us=_packet_us(setting, found, count)))


def threads(setting: Setting, sizes: Sizes, found: Found) -> None:
    """The same load on several numbers of media threads: bots, pairs and conferences, which have to find together."""
    size = sizes.thread_conferences
    calls = sizes.thread_calls // size * size
    for order, what in (("batches", "bots"), ("bridge", "pairs"), (f"rooms {size}", f"conferences of {size}")):
        for count in sizes.threads:
            title = f"{what}, {count} thread{'s' if count > 1 else ''}"
            with _excused(found, f"threads, {title}"):
                found.rows.append(_row(setting, "threads", title, ["PCMU"] * calls, order, media_threads=count))


# ---- lateness


PYTHON_BUSY, ALL_BUSY = "Python busy", "all CPUs busy"
# With real-time priority, and with CPUs kept awake, or not.
WAYS = (
    ("real-time priority, CPUs awake", True, True),
    ("real-time priority", True, False),
    ("normal priority", False, False),
)
# Rooms that share no turn, so that there are ticks in most milliseconds.
TICK_ROOM = 5


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many Python processes that compute, at normal priority."""
    command = [sys.executable, "-c", "n = 1\nwhile True: n = n * 1103515245 % 2147483647"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _policies(pid: int) -> set[int]:
    """How the media threads of a process are scheduled."""
    found = set[int]()
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith("rb-media"):
            found.add(os.sched_getscheduler(int(task.name)))
    return found


@contextmanager
def _awake() -> Iterator[None]:
    """No idle CPU sleeps (Linux's requests for CPU latency: microseconds, for as long as the file is open)."""
    try:
        device = os.open("/dev/cpu_dma_latency", os.O_WRONLY)
    except OSError as error:
        raise NotHere(f"/dev/cpu_dma_latency: {error.strerror}") from None
    try:
        os.write(device, (0).to_bytes(4, sys.byteorder))
        yield
    finally:
        os.close(device)


def _media_thread(setting: Setting, sizes: Sizes, what: str, real_time: bool, awake: bool) -> tuple[Late, Late]:
    """With Python busy in the same process, and with every CPU busy besides."""
    setting.tell(f"lateness, {what}:")
    setting = replace(setting, seconds=max(setting.seconds, sizes.tick_seconds))
    codecs = ["PCMU"] * sizes.tick_calls
    with calls(setting, codecs, f"rooms {TICK_ROOM}", real_time=real_time, awake=awake) as made:
        made.program.order("busy")

        def late(situation: str) -> Late:
            made.program.order("lateness")
            measure(setting, "lateness", what, made.program, made.phones)
            return Late(what, situation, **json.loads(made.program.order("lateness")))

        one = late(PYTHON_BUSY)
        with _busy(os.cpu_count() or 1):
            all_busy = late(ALL_BUSY)
        policies = _policies(made.program.pid)
    wanted = os.SCHED_FIFO if real_time else os.SCHED_OTHER
    # Linux tells SCHED_RESET_ON_FORK along with the policy.
    if any(policy & ~os.SCHED_RESET_ON_FORK != wanted for policy in policies):
        raise PeerError(f"the media thread is scheduled by policy {policies}, not by {wanted}")
    return one, all_busy


def lateness(setting: Setting, sizes: Sizes, found: Found) -> None:
    """How late ticks are, beside sleeps of a program that does nothing else."""
    seconds = max(setting.seconds, sizes.tick_seconds)
    for way, real_time, awake in WAYS:
        what = f"floor, {way}"
        for situation, count in ((PYTHON_BUSY, 1), (ALL_BUSY, os.cpu_count() or 1)):
            with _excused(found, what), _awake() if awake else nullcontext(), _busy(count):
                setting.tell(f"lateness, {what}, {situation}")
                kind = "fifo" if real_time else "normal"
                median, p99, most = (microseconds / 1e6 for microseconds in limits.tick(setting, seconds, kind))
                found.late.append(Late(what, situation, round(seconds * 1000), median, p99, most))
    for way, real_time, awake in WAYS:
        what = f"media thread, {way}"
        with _excused(found, f"lateness, {what}"):
            found.late.extend(_media_thread(setting, sizes, what, real_time, awake))
