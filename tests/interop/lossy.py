"""A path that loses and delays RTP as a seed has it, between two calls of ringback on loopback.

Both send to a port of the path's and accept from nowhere else (`MediaControl.establish_media_flow`), and what leaves the path towards
the listener is kept with the time of its leaving.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from leash import leashed
from network import HOST, free_ports

from ringback import CallSession, MediaControl

PROGRAM = FilePath(__file__).with_name("lossy_program.py")


@dataclass(frozen=True)
class Left:
    """An RTP packet that left the path: when (seconds of the loop), and what it said."""

    at: float
    sequence: int
    timestamp: int
    payload_type: int
    payload: bytes


@dataclass
class Path:
    """`async with Path(...)`, then `between` two ends of a call; loss, a part of one, and jitter concern what goes to the second."""

    seed: int
    loss: float = 0.0
    jitter: float = 0.0
    delay: float = 0.03

    async def __aenter__(self) -> "Path":
        self.port = free_ports(2)
        settings = {"host": HOST, "port": self.port, "seed": self.seed}
        settings |= {"loss": self.loss, "jitter": self.jitter, "delay": self.delay}
        self._process = await asyncio.create_subprocess_exec(
            *leashed(sys.executable, str(PROGRAM), json.dumps(settings)),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
        )  # fmt: skip
        try:
            await self._answer()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 20)
        assert line, "the path has ended"
        return json.loads(line)

    async def _do(self, command: str, **more: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **more}).encode() + b"\n")
        return await self._answer()

    async def start(self) -> None:
        """What leaves is kept from here on, and lost and late as the seed has it from here on."""
        await self._do("start")

    async def left(self) -> list[Left]:
        """What has left, so far."""
        return [Left(*numbers, bytes.fromhex(payload)) for *numbers, payload in await self._do("left")]

    async def between(self, speaker: CallSession, listener: CallSession) -> None:
        ports = []
        for call in (speaker, listener):
            info = await MediaControl.get_media_info(call.coordinator, call.id)
            assert info is not None and info.local_address is not None
            ports.append(int(info.local_address.rpartition(":")[2]))
        one, two = ports
        ways = [way for offset in range(2) for way in ((one + offset, two + offset), (two + offset, one + offset))]
        await self._do("between", ways=ways, listener=two)
        for call in (speaker, listener):
            await MediaControl.establish_media_flow(call.coordinator, call.id, f"{HOST}:{self.port}")
