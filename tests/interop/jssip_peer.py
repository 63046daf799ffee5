"""Runs JsSIP, a browser's SIP library, under Node as a peer: it registers over a WebSocket, sends messages and calls."""

import asyncio
import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from leash import leashed
from systems import until

PROGRAM = Path(__file__).with_name("jssip_program.js")
# Where `scripts/peers` puts the packages.
PACKAGES = Path(__file__).parents[2] / ".cache" / "jssip" / "node_modules"
HERE = shutil.which("node") is not None and (PACKAGES / "jssip").is_dir()


class Jssip:
    """`async with Jssip("wss://localhost:5061", uri, password, ca=...) as peer`."""

    def __init__(self, url: str, uri: str, password: str, *, ca: str | None = None) -> None:
        self._settings = json.dumps({"url": url, "uri": uri, "password": password})
        self._environment = {**os.environ, "NODE_PATH": str(PACKAGES), **({"NODE_EXTRA_CA_CERTS": ca} if ca else {})}
        self.events: list[dict[str, Any]] = []

    async def __aenter__(self) -> "Jssip":
        self._process = await asyncio.create_subprocess_exec(
            *leashed("node", str(PROGRAM), self._settings),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=self._environment,
        )  # fmt: skip
        self._pump = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.events.append(json.loads(line))

    async def do(self, command: str, **more: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **more}).encode() + b"\n")
        await self._process.stdin.drain()

    async def until_event(self, event: str) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [each for each in self.events if each["event"] == event]

        await until(lambda: bool(found()), what=f"JsSIP's {event} ({self.events})")
        return found()[-1]

    async def leave(self) -> None:
        """Unregisters and ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), 10)

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump
