"""rtpengine as the peer for relaying: Debian's `rtpengine-daemon` in user space, asked by its ng protocol."""

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Self

from callbench.process import Peer, PeerError
from callbench.sipp import free_port
from callbench.systems import NotHere

from .setting import FLOOR_PORTS, Setting

READY_SECONDS = 10.0
ANSWER_SECONDS = 2.0
TRIES = 3

Bencoded = str | int | list["Bencoded"] | dict[str, "Bencoded"]


def bencode(value: Bencoded) -> bytes:
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        octets = value.encode()
        return b"%d:%s" % (len(octets), octets)
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    return b"d" + b"".join(bencode(key) + bencode(one) for key, one in sorted(value.items())) + b"e"


def bdecode(octets: bytes) -> Bencoded:
    value, _ = _bdecode(octets, 0)
    return value


def _bdecode(octets: bytes, at: int) -> tuple[Bencoded, int]:
    kind = octets[at : at + 1]
    if kind == b"i":
        end = octets.index(b"e", at)
        return int(octets[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        at, found = at + 1, list[Bencoded]()
        while octets[at : at + 1] != b"e":
            one, at = _bdecode(octets, at)
            found.append(one)
        if kind == b"l":
            return found, at + 1
        return {str(key): one for key, one in zip(found[::2], found[1::2], strict=True)}, at + 1
    colon = octets.index(b":", at)
    end = colon + 1 + int(octets[at:colon])
    return octets[colon + 1 : end].decode(), end


def find(setting: Setting, install: Callable[[str], None]) -> str:
    """The path of rtpengine; Debian's package is installed where there is none and the user may."""
    if not shutil.which("rtpengine") and os.geteuid() == 0 and shutil.which("apt-get"):
        install("rtpengine-daemon")
    found = shutil.which("rtpengine")
    if found is None:
        raise NotHere("it is not installed: `apt-get install rtpengine-daemon` (Debian, Ubuntu)")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    setting.versions["rtpengine"] = (version.stdout + version.stderr).split()[-1]
    return found


def sdp(port: int) -> str:
    lines = [
        "v=0", "o=phone 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0",
        f"m=audio {port} RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendrecv",
    ]  # fmt: skip
    return "".join(f"{line}\r\n" for line in lines)


def port_of(text: Bencoded) -> int:
    return next(int(line.split()[1]) for line in str(text).splitlines() if line.startswith("m=audio "))


class Rtpengine(Peer):
    """A daemon of our own, with a control socket of its own, that knows of no kernel module."""

    def __init__(self, setting: Setting, program: str) -> None:
        self._control = free_port()
        low, high = FLOOR_PORTS
        command = [
            program, "--foreground", "--log-stderr", "--log-level=4", "--table=-1", "--interface=127.0.0.1",
            f"--listen-ng=127.0.0.1:{self._control}", f"--port-min={low}", f"--port-max={high}",
            "--config-file=none", f"--pidfile={setting.directory / 'rtpengine.pid'}",
        ]  # fmt: skip
        super().__init__(command, setting.log("rtpengine"), setting.pin_tested)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", self._control))

    def __enter__(self) -> Self:
        try:
            self._wait_until_ready()
        except BaseException:
            self.end()
            raise
        return self

    def _wait_until_ready(self) -> None:
        give_up = time.monotonic() + READY_SECONDS
        while True:
            self.check()
            try:
                self.ng({"command": "ping"}, 0.2)
                self.port = self._control
                return
            except PeerError:
                if time.monotonic() > give_up:
                    raise

    def ng(self, request: dict[str, Bencoded], seconds: float = ANSWER_SECONDS) -> dict[str, Bencoded]:
        """The answer to a request."""
        cookie = f"{random.getrandbits(48):x}".encode()
        for _ in range(TRIES):
            try:
                self._socket.send(cookie + b" " + bencode(request))
                self._socket.settimeout(seconds)
                while True:
                    answered, _, body = self._socket.recv(65_536).partition(b" ")
                    if answered == cookie:
                        break
            except OSError:
                time.sleep(0.05)
                continue
            answer = bdecode(body)
            if not isinstance(answer, dict) or answer.get("result") not in ("ok", "pong"):
                raise PeerError(f"rtpengine refuses {request['command']}: {answer}")
            return answer
        raise PeerError(f"rtpengine does not answer: {self.last_words()}")

    def bridge(self, number: int, first: int, second: int) -> tuple[int, int]:
        """A call between phones on two ports; to which port each is to send."""
        call: dict[str, Bencoded] = {"call-id": f"bench-{number}", "from-tag": f"a{number}"}
        more: dict[str, Bencoded] = {"replace": ["origin"], "ICE": "remove"}
        offered = self.ng({"command": "offer", "sdp": sdp(first), **call, **more})
        answered = self.ng({"command": "answer", "sdp": sdp(second), "to-tag": f"b{number}", **call, **more})
        return port_of(answered["sdp"]), port_of(offered["sdp"])

    def end(self) -> None:
        self._socket.close()
        super().end()
