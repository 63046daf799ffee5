"""A relay of datagrams on loopback that loses and delays them, by a seed."""

import asyncio
import random
import socket
from dataclasses import dataclass, field

from network import HOST, free_ports

# Nothing is lost before so many packets have passed: whoever looks at the stream sees its beginning.
LOSSLESS = 5


@dataclass
class Way:
    """One direction of one pair of ports: what comes to `source` leaves from `exit` to `to`."""

    source: asyncio.DatagramTransport
    exit: asyncio.DatagramTransport
    to: tuple[str, int]
    loss: float
    jitter_ms: float
    rng: random.Random
    lost: int = 0
    passed: int = 0

    def carry(self, data: bytes) -> None:
        # Reports are lost as well, but not counted.
        lost = self.rng.random() < self.loss and self.passed >= LOSSLESS
        if not 192 <= data[1] <= 223:
            self.lost += lost
            self.passed += not lost
        if not lost:
            delay = self.rng.random() * self.jitter_ms / 1000
            asyncio.get_running_loop().call_later(delay, self.exit.sendto, data, self.to)


class _Port(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.way: Way | None = None

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self.way is not None:
            self.way.carry(data)


@dataclass
class LossyRelay:
    """Between two endpoints A and B, each of which is told to send to `for_a` or `for_b`: RTP there, RTCP one above.

    `async with LossyRelay(a, b)`: the addresses of their RTP. What B gets comes from `for_b`, and the other way round.
    """

    a: tuple[str, int]
    b: tuple[str, int]
    loss: float = 0.05
    jitter_ms: float = 8.0
    seed: int = 1
    for_a: int = field(default_factory=lambda: free_ports(2))
    for_b: int = field(default_factory=lambda: free_ports(2))

    async def __aenter__(self) -> "LossyRelay":
        loop = asyncio.get_running_loop()
        rng = random.Random(self.seed)
        self._transports: list[asyncio.DatagramTransport] = []
        self.ways: dict[str, Way] = {}
        for offset in (0, 1):
            ports = []
            for port in (self.for_a + offset, self.for_b + offset):
                transport, protocol = await loop.create_datagram_endpoint(_Port, local_addr=(HOST, port))
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                self._transports.append(transport)
                ports.append((transport, protocol))
            (here, at_a), (there, at_b) = ports
            at_a.way = Way(here, there, (self.b[0], self.b[1] + offset), self.loss, self.jitter_ms, rng)
            at_b.way = Way(there, here, (self.a[0], self.a[1] + offset), self.loss, self.jitter_ms, rng)
            if offset == 0:
                self.ways = {"to_b": at_a.way, "to_a": at_b.way}
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in self._transports:
            transport.close()
