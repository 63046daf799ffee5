"""A path that loses and delays RTP as a seed has it, between two calls of ringback on loopback.

Both send to a port of the path's and accept from nowhere else (`MediaControl.establish_media_flow`), and what leaves the path towards
the listener is kept with the time of its leaving.
"""

import asyncio
import random
import struct
from dataclasses import dataclass, field

from network import HOST, free_ports

from ringback import CallSession, MediaControl


@dataclass(frozen=True)
class Left:
    """An RTP packet that left the path: when (seconds of the loop), and what it said."""

    at: float
    sequence: int
    timestamp: int
    payload_type: int
    payload: bytes


@dataclass
class Path(asyncio.DatagramProtocol):
    """`async with Path(...)`, then `between` two ends of a call; loss, a part of one, and jitter concern what goes to the second."""

    seed: int
    loss: float = 0.0
    jitter: float = 0.0
    delay: float = 0.03
    left: list[Left] = field(default_factory=list)

    async def __aenter__(self) -> "Path":
        self.random = random.Random(self.seed)
        self.port = free_ports(2)
        self.ways: dict[tuple[str, int], tuple[str, int]] = {}
        self.listener: tuple[str, int] | None = None
        loop = asyncio.get_running_loop()
        self.transports = [
            (await loop.create_datagram_endpoint(lambda: _Side(self), local_addr=(HOST, self.port + offset)))[0]
            for offset in range(2)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in self.transports:
            transport.close()

    def start(self) -> None:
        """What leaves is kept from here on, and lost and late as the seed has it from here on."""
        self.left.clear()
        self.random.seed(self.seed)

    async def between(self, speaker: CallSession, listener: CallSession) -> None:
        addresses = []
        for call in (speaker, listener):
            info = await MediaControl.get_media_info(call.coordinator, call.id)
            assert info is not None and info.local_address is not None
            host, _, port = info.local_address.rpartition(":")
            addresses.append((host, int(port)))
        (one, two), self.listener = addresses, addresses[1]
        for offset in range(2):
            self.ways[one[0], one[1] + offset] = (two[0], two[1] + offset)
            self.ways[two[0], two[1] + offset] = (one[0], one[1] + offset)
        for call in (speaker, listener):
            await MediaControl.establish_media_flow(call.coordinator, call.id, f"{HOST}:{self.port}")

    def carry(self, data: bytes, source: tuple[str, int]) -> None:
        to = self.ways.get(source)
        if to is None:
            return
        rtcp = to[1] % 2
        if rtcp or to != self.listener:
            self.transports[rtcp].sendto(data, to)
            return
        lost, late = self.random.random() < self.loss, self.random.random() * self.jitter
        if not lost:
            asyncio.get_running_loop().call_later(self.delay + late, self._leave, data, to)

    def _leave(self, data: bytes, to: tuple[str, int]) -> None:
        if self.transports[0].is_closing():
            return
        self.transports[0].sendto(data, to)
        _, kind, sequence, timestamp = struct.unpack_from("!BBHI", data)
        self.left.append(Left(asyncio.get_running_loop().time(), sequence, timestamp, kind & 0x7F, data[12:]))


class _Side(asyncio.DatagramProtocol):
    def __init__(self, path: Path) -> None:
        self.path = path

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.path.carry(data, source)
