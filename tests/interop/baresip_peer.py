"""Runs baresip as a peer on loopback: it answers by itself, plays a tone and writes what it hears to a file."""

import asyncio
import glob
import json
import shutil
import tempfile
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sipp_peer import free_port

CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{port}
net_interface lo
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
jitter_buffer_delay 1-5
snd_path {folder}
module_path /usr/lib/baresip/modules
module g711.so
module aubridge.so
module aufile.so
module sndfile.so
module_tmp account.so
module_app menu.so
module ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
"""


class Baresip:
    """`async with Baresip(660.0)` runs one that plays 660 Hz."""

    def __init__(self, frequency: float, *, codec: str = "PCMU", transport: str = "udp") -> None:
        self.frequency = frequency
        self.codec = codec
        self.transport = transport
        # baresip takes the port above its SIP port for TLS.
        self.port = free_port() & ~1
        self.control = free_port()

    @property
    def uri(self) -> str:
        suffix = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"sip:baresip@127.0.0.1:{self.port}{suffix}"

    async def __aenter__(self) -> "Baresip":
        self.folder = Path(tempfile.mkdtemp(prefix="baresip-"))
        self._write_tone()
        rtp = 30000 + (self.port % 1000) * 20
        config = CONFIG.format(port=self.port, folder=self.folder, rtp_low=rtp, rtp_high=rtp + 18, control=self.control)
        (self.folder / "config").write_text(config)
        account = f"<sip:baresip@127.0.0.1:{self.port}>;regint=0;answermode=auto;audio_codecs={self.codec}\n"
        (self.folder / "accounts").write_text(account)
        (self.folder / "contacts").touch()
        self.log = open(self.folder / "log", "wb")  # noqa: SIM115 - closed in __aexit__
        self.process = await asyncio.create_subprocess_exec(
            "baresip", "-f", str(self.folder), stdin=asyncio.subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        async with asyncio.timeout(15):
            while True:
                try:
                    self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.control)
                    break
                except OSError:
                    if self.process.returncode is not None:
                        raise AssertionError("baresip did not start:\n" + self.log_text()) from None
                    await asyncio.sleep(0.05)
        self._pump = asyncio.create_task(self._drain())
        return self

    def _write_tone(self) -> None:
        time = np.arange(8000 * 60) / 8000
        samples = (8000 * np.sin(2 * np.pi * self.frequency * time)).astype("<i2")
        with wave.open(str(self.folder / "tone.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(samples.tobytes())

    async def _drain(self) -> None:
        while await self.reader.read(65536):
            pass

    async def command(self, command: str, parameters: str = "") -> None:
        """A menu command ("dial", "hangup", "hold", "resume", ...) through the control port (netstring of JSON)."""
        text = json.dumps({"command": command, "params": parameters, "token": "t"}).encode()
        self.writer.write(b"%d:%s," % (len(text), text))
        await self.writer.drain()

    def log_text(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def heard(self) -> NDArray[np.int16]:
        """What it decoded so far, 8,000 Hz, over all its calls."""
        parts = []
        for path in sorted(glob.glob(str(self.folder / "dump-*-dec.wav"))):
            raw = Path(path).read_bytes()[44:]  # the header's length is only right once the call has ended
            parts.append(np.frombuffer(raw[: len(raw) & ~1], dtype="<i2"))
        return np.concatenate(parts).astype(np.int16) if parts else np.zeros(0, dtype=np.int16)

    async def __aexit__(self, *_: object) -> None:
        self._pump.cancel()
        self.writer.close()
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 5)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
