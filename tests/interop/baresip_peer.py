"""Runs baresip as a peer on loopback: it answers by itself, plays a tone and writes what it hears to a file."""

import asyncio
import contextlib
import glob
import itertools
import json
import re
import shutil
import struct
import tempfile
import wave
from pathlib import Path

import numpy as np
from leash import leashed
from network import HOST, control_port, free_ports
from numpy.typing import NDArray
from systems import tone, until

CONFIG = """\
poll_method epoll
sip_listen {host}:{port}
net_interface {host}
call_local_timeout 120
call_max_calls 4
audio_source aufile,{folder}/tone.wav
audio_player aubridge,sink
audio_alert aubridge,alert
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
rtp_ports {rtp_low}-{rtp_high}
rtp_stats yes
jitter_buffer_delay 1-5
snd_path {folder}
module_path /usr/lib/baresip/modules
module g711.so
module g722.so
module opus.so
module aubridge.so
module aufile.so
module sndfile.so
module_tmp account.so
module_app menu.so
module_app contact.so
module ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
"""

# As it calls those that are not of 8 kHz.
WIDE = {"G722": "G722/16000/1", "opus": "opus/48000/2"}


class Baresip:
    """`async with Baresip(660.0)` runs one that plays 660 Hz. `registered`: an address of record that it registers, with the
    user's name as password.
    """

    def __init__(
        self,
        frequency: float,
        *,
        codec: str = "PCMU",
        answer: bool = True,
        settings: str = "",
        registered: str | None = None,
        contact: str | None = None,
        edge: str | None = None,
    ) -> None:
        """`settings`: further lines of its configuration. `contact`: whom its command "message" writes to. `edge`: a proxy
        that it keeps a flow to (RFC 5626)."""
        self.settings = settings
        self.contact = contact
        self.frequency = frequency
        self.codec = codec
        self.answer = answer
        self.registered = registered
        self.edge = edge
        # baresip takes the port above its SIP port for TLS.
        self.port = free_ports(2)
        self.control = control_port()
        self.events: list[dict[str, str]] = []

    def uri(self, transport: str = "udp") -> str:
        suffix = "" if transport == "udp" else f";transport={transport}"
        return f"sip:baresip@{HOST}:{self.port + (transport == 'tls')}{suffix}"

    async def __aenter__(self) -> "Baresip":
        self.folder = Path(tempfile.mkdtemp(prefix="baresip-"))
        self.process: asyncio.subprocess.Process | None = None
        self.writer: asyncio.StreamWriter | None = None
        self._pump: asyncio.Task[None] | None = None
        self._tokens = itertools.count(1)
        self._answers: dict[str, asyncio.Future[dict[str, object]]] = {}
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _start(self) -> None:
        self._write_tone()
        rtp = free_ports(8)
        (self.folder / "config").write_text(
            CONFIG.format(
                host=HOST,
                port=self.port,
                folder=self.folder,
                rtp_low=rtp,
                rtp_high=rtp + 8,
                control=self.control,
            )
            + self.settings
        )
        mode = "auto" if self.answer else "manual"
        account = f"<sip:baresip@{HOST}:{self.port}>;regint=0"
        if self.registered is not None:
            user = self.registered.removeprefix("sip:").partition("@")[0]
            account = f"<{self.registered}>;regint=60;auth_user={user};auth_pass={user}"
        if self.edge is not None:
            account += f';sipnat=outbound;outbound="{self.edge}"'
        account += f";answermode={mode};audio_codecs={WIDE.get(self.codec, self.codec)}\n"
        (self.folder / "accounts").write_text(account)
        (self.folder / "contacts").write_text(f'"contact" <{self.contact}>\n' if self.contact else "")
        with (self.folder / "log").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *leashed("baresip", "-f", str(self.folder)), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        async with asyncio.timeout(30):
            while True:
                try:
                    reader, self.writer = await asyncio.open_connection("127.0.0.1", self.control)
                    break
                except OSError:
                    assert self.process.returncode is None, "baresip did not start:\n" + self.log()
                    await asyncio.sleep(0.05)
        self._pump = asyncio.create_task(self._read(reader))

    def _write_tone(self) -> None:
        with wave.open(str(self.folder / "tone.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(tone(self.frequency, 120).astype("<i2").tobytes())

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Netstrings of JSON: answers to commands, and events."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int((await reader.readuntil(b":"))[:-1])
                message = json.loads((await reader.readexactly(length + 1))[:-1])
                if message.get("event"):
                    self.events.append(message)
                elif (waiter := self._answers.pop(str(message.get("token")), None)) and not waiter.done():
                    waiter.set_result(message)

    async def command(self, command: str, parameters: str = "") -> None:
        """A command of its menu: "dial", "hangup", "hold", "resume", "sndcode" and the like."""
        assert self.writer is not None
        token = str(next(self._tokens))
        waiter = self._answers[token] = asyncio.get_running_loop().create_future()
        text = json.dumps({"command": command, "params": parameters, "token": token}).encode()
        self.writer.write(b"%d:%s," % (len(text), text))
        await self.writer.drain()
        answer = await asyncio.wait_for(waiter, 20)
        assert answer["ok"], f"baresip: {command} {parameters}: {answer}\n{self.log()}"

    def log(self) -> str:
        text = (self.folder / "log").read_text(errors="replace")
        # Without the line of figures that it draws over itself all the time.
        return re.sub(r"(\[[\d:]+\] audio=\S+ \(bit/s\)\s*)+", "\n", text)

    def event_types(self) -> list[str]:
        return [event.get("type", "") for event in self.events]

    def digits(self) -> str:
        """What it understood of telephone-events, so far."""
        return "".join(event.get("param", "") for event in self.events if event.get("type") == "CALL_DTMF_START")

    async def until_event(self, kind: str, count: int = 1) -> None:
        await until(lambda: self.event_types().count(kind) >= count, what=f"baresip's {kind} ({self.event_types()})")

    def heard(self) -> NDArray[np.int16]:
        """What it decoded so far, brought to 8,000 Hz, over all its calls."""
        parts = []
        for path in sorted(glob.glob(str(self.folder / "dump-*-dec.wav"))):
            raw = Path(path).read_bytes()
            if len(raw) < 44:
                continue
            channels, rate = struct.unpack_from("<HI", raw, 22)
            frame = 2 * channels
            # The header's length is only right once the call has ended.
            samples = np.frombuffer(raw[44 : 44 + (len(raw) - 44) // frame * frame], dtype="<i2")
            # Tones far below 4 kHz: nothing folds over.
            parts.append(samples[:: channels * (rate // 8000)])
        return np.concatenate(parts).astype(np.int16) if parts else np.zeros(0, dtype=np.int16)

    async def __aexit__(self, *_: object) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        if self.writer is not None:
            self.writer.close()
            with contextlib.suppress(OSError):
                await self.writer.wait_closed()
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 10)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
