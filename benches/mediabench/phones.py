"""The phones, `phones/phones.c`: they send real RTP and count what comes back."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from callbench.process import Peer, PeerError

from .setting import CODECS, PHONES_PORTS, Setting, compiled


@dataclass(frozen=True)
class Counted:
    """What the phones counted between two moments."""

    phones: int
    seconds: float
    cpu_seconds: float
    sent: int
    unsent: int
    received: int
    # By the sequence numbers of what came.
    expected: int
    # Received packets that hold sound.
    sounding: int
    # Packets received by the phone that received the fewest.
    least: int
    octets_received: int
    foreign: int
    new_streams: int
    steps: int
    late_steps: int
    skipped_steps: int
    latest_ms: float

    @property
    def lost_percent(self) -> float:
        """Of what the phones should have got, a packet for each that they sent, or by the numbers of those that came."""
        wanted = max(self.sent, self.expected, 1)
        return max(0.0, 100 * (1 - self.received / wanted))

    @property
    def sounding_percent(self) -> float:
        return 100 * self.sounding / self.received if self.received else 0.0

    @property
    def late_percent(self) -> float:
        """Of the milliseconds in which the phones were more than 5 ms behind: what they sent then came in bursts."""
        return 100 * self.late_steps / self.steps if self.steps else 0.0


class Phones(Peer):
    """So many phones with sockets of their own; they send nothing before `start`."""

    def __init__(self, setting: Setting, count: int) -> None:
        low, high = PHONES_PORTS
        command = [compiled(setting, "phones/phones.c"), str(count), str(low), str(high)]
        super().__init__(command, setting.log("phones"), setting.pin_phones, talks=True)
        self._setting = setting

    def __enter__(self) -> Self:
        super().__enter__()
        # The RTP port of each.
        self.ports = [int(port) for port in self.hear().split()[1:]]
        return self

    def order(self, line: str) -> None:
        if self.answer_to(line) != "ok":
            raise PeerError(f"the phones refuse `{line}`")

    def load(self, names: Sequence[str], sounds: Path) -> None:
        """Gives them what to send in these codecs."""
        for name in sorted(set(names)):
            self.order(f"frames {CODECS[name].set} {sounds / name}")

    def connect(self, phone: int, port: int, payload_type: int, codec: str) -> None:
        wanted = CODECS[codec]
        self.order(f"phone {phone} {port} {payload_type} {wanted.units} {wanted.set}")

    def wait_for(self, packets: int, most_seconds: float = 60.0) -> None:
        """Until each has received so many more."""
        self.order("mark")
        give_up = time.monotonic() + most_seconds
        while self.report().least < packets:
            if time.monotonic() > give_up:
                raise PeerError(f"not all phones have received {packets} packets: {self.report()}")
            time.sleep(0.1)

    def report(self) -> Counted:
        return Counted(**json.loads(self.answer_to("report")))
