"""Runs PJSUA2 (PJSIP) as a peer on loopback: it plays a tone and records what it hears."""

import asyncio
import contextlib
import importlib.util
import itertools
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from leash import leashed
from network import HOST, free_ports
from numpy.typing import NDArray
from systems import until

PROGRAM = Path(__file__).with_name("pjsua_program.py")
HERE = importlib.util.find_spec("pjsua2") is not None


class Pjsua:
    """`async with Pjsua(660.0)` runs one that plays 660 Hz and answers calls with 200.

    `answer`: the status that calls get at once, 0: none. `prack`: "off", "optional" or "mandatory"; `timer`: "off", "optional",
    "required" or "always" (RFC 4028). `more`: see `pjsua_program.py`.
    """

    def __init__(
        self,
        frequency: float,
        *,
        codecs: tuple[str, ...] = ("PCMU",),
        answer: int = 200,
        prack: str = "off",
        timer: str = "off",
        timer_expires: int = 90,
        user: str = "pjsua",
        **more: Any,
    ) -> None:
        self.frequency = frequency
        self.port = free_ports(2)
        self.user = user
        self.settings: dict[str, Any] = {
            "host": HOST,
            "port": self.port,
            "id": f"sip:{user}@{HOST}:{self.port}",
            "transports": ["udp", "tcp"],
            "codecs": codecs,
            "answer": answer,
            "prack": prack,
            "timer": timer,
            "timer_expires": timer_expires,
            "frequency": frequency,
            "rtp": free_ports(8),
            **more,
        }
        self.events: list[dict[str, Any]] = []

    def uri(self, transport: str = "udp") -> str:
        suffix = "" if transport == "udp" else f";transport={transport}"
        return f"sip:{self.user}@{HOST}:{self.port}{suffix}"

    async def __aenter__(self) -> "Pjsua":
        self.folder = Path(tempfile.mkdtemp(prefix="pjsua-"))
        self._tokens = itertools.count(1)
        self._log = (self.folder / "log").open("wb")
        self.process = await asyncio.create_subprocess_exec(
            *leashed(sys.executable, str(PROGRAM), json.dumps({**self.settings, "folder": str(self.folder)})),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
        )
        self._pump = asyncio.create_task(self._read())
        try:
            await self.until_event("ready")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.events.append(json.loads(line))

    async def do(self, command: str, **more: Any) -> None:
        """A command of the program, until it is carried out."""
        assert self.process.stdin is not None
        token = next(self._tokens)
        self.process.stdin.write(json.dumps({"do": command, "token": token, **more}).encode() + b"\n")
        await self.process.stdin.drain()
        found = await self.until_event("done", token=token)
        assert "error" not in found, f"PJSUA: {command} {more}: {found['error']}\n{self.log()}"

    def of(self, event: str, **more: Any) -> list[dict[str, Any]]:
        """The events of that name with those values, so far."""
        return [
            found
            for found in self.events
            if found["event"] == event and all(found.get(name) == value for name, value in more.items())
        ]

    async def until_event(self, event: str, *, count: int = 1, **more: Any) -> dict[str, Any]:
        try:
            await until(lambda: len(self.of(event, **more)) >= count, what=f"PJSUA's {event} {more}")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.events[-20:]}\n{self.log()[-3000:]}") from None
        return self.of(event, **more)[count - 1]

    async def until_state(self, state: str, count: int = 1) -> dict[str, Any]:
        """ "calling", "early", "confirmed", "disconnected"."""
        return await self.until_event("state", state=state, count=count)

    def digits(self) -> str:
        return "".join(found["digit"] for found in self.of("digit"))

    def heard(self) -> NDArray[np.int16]:
        """What it heard so far, 8,000 Hz, over all its calls."""
        path = self.folder / "heard.wav"
        raw = path.read_bytes()[44:] if path.exists() else b""
        return np.frombuffer(raw[: len(raw) & ~1], dtype="<i2").astype(np.int16)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    async def __aexit__(self, *_: object) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 10)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
