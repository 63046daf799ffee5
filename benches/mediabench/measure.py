"""One row: what a process under test spends while phones send, and whether they got back what they should."""

import time
from dataclasses import asdict, dataclass

from callbench.process import Peer

from .phones import Counted, Phones
from .setting import Setting

FRAMES_A_SECOND = 50


@dataclass(frozen=True)
class Row:
    section: str
    title: str
    legs: int
    # CPU of the process under test for each packet that the phones sent to it, everything included.
    cpu_us: float
    # Of that, in its media threads; None where the program has no such.
    media_us: float | None
    # CPU seconds a second.
    cores: float
    phones: Counted
    # Resident memory a call, beyond that before the first; None where it was not measured.
    bytes_a_call: float | None = None
    # The least that the machine charges for the same; None where there is no such program.
    limit_us: float | None = None
    # What a peer spent on the same in the same run.
    peer_us: float | None = None

    @property
    def legs_a_core(self) -> float:
        return 1e6 / (FRAMES_A_SECOND * self.cpu_us) if self.cpu_us else 0.0

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "legs_a_core": self.legs_a_core}


def measure(
    setting: Setting,
    section: str,
    title: str,
    tested: Peer,
    phones: Phones,
    *,
    idle_bytes: int | None = None,
    warm_up_seconds: float | None = None,
) -> Row:
    """The phones send already."""
    time.sleep(setting.warm_up_seconds if warm_up_seconds is None else warm_up_seconds)
    phones.order("mark")
    tested.check()
    before, media_before = tested.cpu_seconds(), tested.thread_seconds("rb-media")
    time.sleep(setting.seconds)
    after, media_after = tested.cpu_seconds(), tested.thread_seconds("rb-media")
    counted = phones.report()
    tested.check()
    packets = max(counted.sent, 1)
    memory = None if idle_bytes is None else (tested.memory().now - idle_bytes) / max(counted.phones, 1)
    in_media = None if media_after is None or media_before is None else 1e6 * (media_after - media_before) / packets
    row = Row(
        section=section,
        title=title,
        legs=counted.phones,
        cpu_us=1e6 * (after - before) / packets,
        media_us=in_media,
        cores=(after - before) / counted.seconds,
        phones=counted,
        bytes_a_call=memory,
    )
    setting.tell(
        f"    {row.cpu_us:.2f} us of CPU a packet, {row.legs_a_core:,.0f} legs a core, {counted.lost_percent:.2f} % lost"
    )
    return row
