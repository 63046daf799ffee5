"""Runs SIPp as a peer on loopback: a built-in scenario by name, or one made of steps (`scenario.py`)."""

import asyncio
import contextlib
import csv
import shutil
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from leash import leashed
from network import HOST, free_ports, is_taken
from scenario import Step, scenario
from systems import until


@dataclass
class Sipp:
    """One SIPp process. `async with` starts it; leaving the block ends it.

    With `remote` it calls, without it is called. `echo`: it sends back all RTP that it gets.
    """

    name: str
    steps: tuple[Step, ...] = ()
    remote: str | None = None
    calls: int = 1
    rate: int = 10
    hold_ms: int = 0
    transport: str = "u1"
    service: str = "service"
    echo: bool = False
    host: str = HOST
    extra: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_ports)
    # SIPp echoes on this port and the one two above.
    media_port: int = field(default_factory=lambda: free_ports(4))

    async def __aenter__(self) -> "Sipp":
        self.folder = Path(tempfile.mkdtemp(prefix="sipp-"))
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _start(self) -> None:
        what = ["-sn", self.name]
        if self.steps:
            path = self.folder / "scenario.xml"
            path.write_text(scenario(self.name, *self.steps))
            what = ["-sf", str(path)]
        arguments = [
            *what, "-i", self.host, "-p", str(self.port), "-mi", self.host, "-mp", str(self.media_port), "-m", str(self.calls),
            "-r", str(self.rate), "-l", str(self.calls), "-d", str(self.hold_ms), "-t", self.transport, "-s", self.service,
            "-timeout", "100", "-timeout_error", "-nostdin", "-trace_err", "-error_file", str(self.folder / "errors"),
            "-trace_stat", "-stf", str(self.folder / "stat.csv"), "-fd", "1", "-buff_size", "1048576",
            "-trace_msg", "-message_file", str(self.folder / "messages"), *(["-rtp_echo"] if self.echo else []), *self.extra,
        ]  # fmt: skip
        if self.remote:
            arguments.append(self.remote)
        with (self.folder / "output").open("wb") as output:
            self.process = await asyncio.create_subprocess_exec(
                *leashed("sipp", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
            )
        if not self.remote:
            await self._until_bound()

    async def _until_bound(self) -> None:
        """A server scenario is ready when its port is taken."""
        kind = socket.SOCK_STREAM if self.transport.startswith("t") else socket.SOCK_DGRAM
        async with asyncio.timeout(20):
            while not is_taken(self.port, kind):
                assert self.process.returncode is None, f"SIPp {self.name} did not start:\n{self._words()}"
                await asyncio.sleep(0.02)

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def uri(self) -> str:
        suffix = ";transport=tcp" if self.transport.startswith("t") else ""
        return f"sip:{self.service}@{self.address}{suffix}"

    def poke(self, call_id: str) -> None:
        """Lets the scenario of that call go on where it is at `wait_for_poke`: SIPp goes by the Call-ID, so anybody's INFO
        will do. For a peer on UDP."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((HOST, free_ports()))
            own = f"{HOST}:{sender.getsockname()[1]}"
            lines = [
                f"INFO sip:{self.address} SIP/2.0",
                f"Via: SIP/2.0/UDP {own};branch=z9hG4bKpoke",
                f"From: <sip:test@{own}>;tag=poke",
                f"To: <sip:{self.address}>;tag=poked",
                f"Call-ID: {call_id}",
                "CSeq: 1 INFO",
                "Max-Forwards: 70",
                "Content-Length: 0",
            ]
            sender.sendto("\r\n".join([*lines, "", ""]).encode(), (HOST, self.port))

    async def until_traced(self, text: str, count: int = 1) -> None:
        """Waits until what it has sent and got has `text` in it so often."""
        path = self.folder / "messages"
        await until(
            lambda: path.exists() and path.read_text(errors="replace").replace("\r", "").count(text) >= count,
            what=f"{text!r} among SIPp's messages, {count} times",
        )

    async def until_acked(self, count: int = 1) -> None:
        """Waits until it has sent so many ACKs: what comes before it has done that step is out of place to it."""
        await self.until_traced("\nACK sip:", count)

    async def finished(self, timeout: float = 50) -> None:
        """Waits for the end of the scenario and fails with SIPp's own words where it did not go as written."""
        try:
            async with asyncio.timeout(timeout):
                code = await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"SIPp {self.name} has not come to its end:\n{self._words()}") from None
        assert code == 0, f"SIPp {self.name} ended with {code}:\n{self._words()}"

    def _words(self) -> str:
        """What SIPp wrote: its errors, or where there are none the end of its screen."""
        for name in ("errors", "output"):
            path = self.folder / name
            text = path.read_text(errors="replace") if path.exists() else ""
            if text.strip():
                return text[-4000:]
        return "(nothing)"

    def statistics(self) -> dict[str, str]:
        """The last line of SIPp's statistics file, by column name."""
        with open(self.folder / "stat.csv", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        return {name: value for name, value in rows[-1].items() if name}

    async def __aexit__(self, *_: object) -> None:
        process = getattr(self, "process", None)
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
