"""Runs SIPp as a peer on loopback: a built-in scenario by name or one of `scenarios/*.xml`."""

import asyncio
import contextlib
import csv
import shutil
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

SCENARIOS = Path(__file__).parent / "scenarios"


def free_port() -> int:
    """A UDP and TCP port of 127.0.0.1 that nobody has at this moment."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            port: int = udp.getsockname()[1]
            with contextlib.suppress(OSError):
                tcp.bind(("127.0.0.1", port))
                return port


@dataclass
class Sipp:
    """One SIPp process. `async with` starts it; leaving the block ends it."""

    scenario: str
    remote: str | None = None
    calls: int = 1
    rate: int = 10
    hold_ms: int = 0
    transport: str = "u1"
    service: str = "service"
    keys: dict[str, str] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_port)

    async def __aenter__(self) -> "Sipp":
        self.folder = Path(tempfile.mkdtemp(prefix="sipp-"))
        path = SCENARIOS / f"{self.scenario}.xml"
        what = ["-sf", str(path)] if path.exists() else ["-sn", self.scenario]
        arguments = [
            *what, "-i", "127.0.0.1", "-p", str(self.port), "-mi", "127.0.0.1", "-min_rtp_port", str(free_port()), "-m", str(self.calls),
            "-r", str(self.rate), "-l", str(max(self.calls, 1)), "-d", str(self.hold_ms), "-t", self.transport, "-s", self.service,
            "-timeout", "50", "-timeout_error", "-nostdin", "-trace_err", "-error_file", str(self.folder / "errors"),
            "-trace_stat", "-stf", str(self.folder / "stat.csv"), "-fd", "1",
            *(word for key, value in self.keys.items() for word in ("-key", key, value)), *self.extra,
        ]  # fmt: skip
        if self.remote:
            arguments.append(self.remote)
        self.process = await asyncio.create_subprocess_exec(
            "sipp", *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, cwd=self.folder
        )
        if not self.remote:
            await self._until_bound()
        return self

    async def _until_bound(self) -> None:
        """A server scenario is ready when its port is taken."""
        kind = socket.SOCK_STREAM if self.transport.startswith("t") else socket.SOCK_DGRAM
        async with asyncio.timeout(10):
            while True:
                with socket.socket(socket.AF_INET, kind) as probe:
                    try:
                        probe.bind(("127.0.0.1", self.port))
                    except OSError:
                        return
                await asyncio.sleep(0.02)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def finished(self, timeout: float = 55) -> None:
        """Waits for the end of the scenario and fails with SIPp's own words where it did not go as written."""
        async with asyncio.timeout(timeout):
            code = await self.process.wait()
        if code != 0:
            errors = self.folder / "errors"
            text = errors.read_text(errors="replace") if errors.exists() else "(no error file)"
            raise AssertionError(f"SIPp {self.scenario} ended with {code}:\n{text[-4000:]}")

    def statistics(self) -> dict[str, str]:
        """The last line of SIPp's statistics file, by column name."""
        with open(self.folder / "stat.csv", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        return {name: value for name, value in rows[-1].items() if name}

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
