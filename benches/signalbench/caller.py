"""A caller that times single calls: INVITE to 200, then ACK and BYE. Over UDP it sends again as RFC 3261 has it."""

import itertools
import re
import socket
import time
from types import TracebackType
from typing import Self

from .setting import HOST

T1_SECONDS = 0.5
MOST_INTERVAL_SECONDS = 4.0
_LENGTH = re.compile(rb"^content-length\s*:\s*(\d+)|^l\s*:\s*(\d+)", re.IGNORECASE | re.MULTILINE)
SDP = f"v=0\r\no=caller 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"


class CallError(Exception):
    """The call did not come to be; says what came instead."""


class Caller:
    """`with Caller(port, "TCP") as caller`: `caller.call()` is the seconds from INVITE to 200."""

    def __init__(self, port: int, transport: str = "UDP", *, timeout: float = 10.0) -> None:
        self._transport = transport
        self._timeout = timeout
        kind = socket.SOCK_DGRAM if transport == "UDP" else socket.SOCK_STREAM
        self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.settimeout(timeout)
        self._socket.connect((HOST, port))
        if transport != "UDP":
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._to = f"sip:bench@{HOST}:{port}"
        self._own = f"{HOST}:{self._socket.getsockname()[1]}"
        self._numbers = itertools.count(1)
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def call(self) -> float:
        """Raises `CallError` where it is refused, or not answered in time."""
        number = next(self._numbers)
        started = time.monotonic()
        answer = self._ask(self._request("INVITE", number, 1, f"<{self._to}>", SDP), f"{number}-1", started)
        took = time.monotonic() - started
        to = re.search(r"^To\s*:\s*(.*?)\r?$", answer, re.MULTILINE | re.IGNORECASE)
        status = int(answer[8:11])
        ack_number = number if status < 300 else -number
        named = to[1] if to else f"<{self._to}>"
        self._socket.sendall(
            self._request("ACK", ack_number, 1, named, "", branch=f"{number}-{'ack' if status < 300 else 1}")
        )
        if status >= 300:
            raise CallError(answer.partition("\r\n")[0])
        ended = self._ask(self._request("BYE", number, 2, named, ""), f"{number}-2", time.monotonic())
        if not ended.startswith("SIP/2.0 200"):
            raise CallError(f"BYE: {ended.partition(chr(13))[0]}")
        return took

    def _request(self, method: str, number: int, cseq: int, to: str, body: str, *, branch: str | None = None) -> bytes:
        number = abs(number)
        lines = [
            f"{method} {self._to} SIP/2.0",
            f"Via: SIP/2.0/{self._transport} {self._own};branch=z9hG4bK-{self._own}-{branch or f'{number}-{cseq}'}",
            "Max-Forwards: 70",
            f"From: <sip:bench@{self._own}>;tag={number}",
            f"To: {to}",
            f"Call-ID: {number}@{self._own}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:bench@{self._own};transport={self._transport.lower()}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*lines, "", body]).encode()

    def _ask(self, request: bytes, branch: str, started: float) -> str:
        """The final response to it."""
        interval, due = T1_SECONDS, 0.0
        provisional = False
        while True:
            now = time.monotonic()
            if now - started > self._timeout:
                raise CallError("no answer")
            if now >= due and (due == 0.0 or (self._transport == "UDP" and not provisional)):
                self._socket.sendall(request)
                due, interval = now + interval, min(2 * interval, MOST_INTERVAL_SECONDS)
            waiting = started + self._timeout - now if self._transport != "UDP" or provisional else due - now
            self._socket.settimeout(max(0.001, min(waiting, started + self._timeout - now)))
            try:
                message = self._message()
            except TimeoutError:
                continue
            except OSError as error:
                raise CallError(str(error)) from None
            if not message.startswith("SIP/2.0 ") or f"-{branch}\r" not in message.replace(";received", "\r").replace(
                ";rport", "\r"
            ):
                continue
            if message[8] == "1":
                provisional = True
                continue
            return message

    def _message(self) -> str:
        """The next message that comes."""
        if self._transport == "UDP":
            return self._socket.recv(65_535).decode(errors="replace")
        while True:
            self._read = self._read.lstrip(b"\r\n")
            head, end, rest = self._read.partition(b"\r\n\r\n")
            if end:
                length = _LENGTH.search(head)
                body = int(length[1] or length[2]) if length else 0
                if len(rest) >= body:
                    self._read = rest[body:]
                    return (head + end + rest[:body]).decode(errors="replace")
            more = self._socket.recv(65_535)
            if not more:
                raise CallError("the connection was closed")
            self._read += more
