"""The path of `lossy.Path` as a program: what keeps the test busy does not make packets late here. JSON commands come on standard
input, one a line, and each is answered by a line.
"""

import asyncio
import contextlib
import json
import os
import random
import struct
import sys
from typing import Any


class Way(asyncio.DatagramProtocol):
    """Both directions of RTP, or of RTCP."""

    def __init__(self, path: "Path") -> None:
        self.path = path

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.path.carry(self.transport, data, source[1])


class Path:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.host, self.seed = settings["host"], settings["seed"]
        self.loss, self.jitter, self.delay = settings["loss"], settings["jitter"], settings["delay"]
        self.random = random.Random(self.seed)
        self.ways: dict[int, int] = {}
        self.listener = 0
        self.left: list[tuple[float, int, int, int, str]] = []

    def carry(self, by: asyncio.DatagramTransport, data: bytes, source: int) -> None:
        to = self.ways.get(source)
        if to is None:
            return
        if to != self.listener:
            by.sendto(data, (self.host, to))
            return
        lost, late = self.random.random() < self.loss, self.random.random() * self.jitter
        if not lost:
            asyncio.get_running_loop().call_later(self.delay + late, self._leave, by, data)

    def _leave(self, by: asyncio.DatagramTransport, data: bytes) -> None:
        by.sendto(data, (self.host, self.listener))
        _, kind, sequence, timestamp = struct.unpack_from("!BBHI", data)
        at = asyncio.get_running_loop().time()
        self.left.append((at, sequence, timestamp, kind & 0x7F, data[12:].hex()))

    def carry_out(self, command: dict[str, Any]) -> object:
        if command["do"] == "between":
            self.ways, self.listener = dict(command["ways"]), command["listener"]
        elif command["do"] == "start":
            self.left.clear()
            self.random.seed(self.seed)
        elif command["do"] == "left":
            return self.left
        return None


async def main(settings: dict[str, Any]) -> None:
    path = Path(settings)
    loop = asyncio.get_running_loop()
    for offset in range(2):
        address = (settings["host"], settings["port"] + offset)
        await loop.create_datagram_endpoint(lambda: Way(path), local_addr=address)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("null", flush=True)
    while line := await reader.readline():
        print(json.dumps(path.carry_out(json.loads(line))), flush=True)


# A privilege, which ringback's media threads ask for too.
with contextlib.suppress(OSError):
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
asyncio.run(main(json.loads(sys.argv[1])))
