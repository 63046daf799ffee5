"""SIP peers over streams that say exactly what a test wants: TCP, TLS, and WebSocket (RFC 7118) made by hand."""

import asyncio
import base64
import contextlib
import hashlib
import os
import re
import ssl
import struct
import uuid
from typing import ClassVar, Self

from support.peer import SDP, finish, header


class StreamPeer:
    """One connection. `receive` gives the next message, `send` writes one."""

    transport = "TCP"
    opened: ClassVar[list["StreamPeer"]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.opened.append(self)
        host, port = writer.get_extra_info("sockname")[:2]
        self.host = f"[{host}]" if ":" in host else host
        self.port: int = port
        self.tag = uuid.uuid4().hex[:8]
        self.contact = f"<sip:peer@{self.host}:{self.port};transport={self.transport.lower()}>"

    @classmethod
    async def connect(cls, host: str, port: int, tls: ssl.SSLContext | None = None, name: str = "localhost") -> Self:
        names = {"server_hostname": name} if tls is not None else {}
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, **names)  # type: ignore[arg-type]
        peer = cls(reader, writer)
        await peer.begin()
        return peer

    async def begin(self) -> None:
        """What comes before the first message."""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(1):
                await self.writer.wait_closed()

    @classmethod
    async def close_all(cls) -> None:
        """At the end of a test."""
        while cls.opened:
            await cls.opened.pop().close()

    async def send(self, text: str) -> None:
        self.writer.write(text.encode())
        await self.writer.drain()

    async def receive(self, start: str = "", *, timeout: float = 5.0) -> str:
        """The next message whose first line starts with `start`; others are passed over."""
        async with asyncio.timeout(timeout):
            while True:
                message = await self.next()
                if message.startswith(start):
                    return message

    async def next(self) -> str:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        if not head.strip():
            return head
        return head + (await self.reader.readexactly(int(header(head, "Content-Length")))).decode()

    async def ended(self, *, timeout: float = 5.0) -> bool:
        """Waits for the other side to close."""
        async with asyncio.timeout(timeout):
            try:
                while await self.reader.read(4096):
                    pass
            except (ConnectionError, ssl.SSLError):
                pass
            return True

    @property
    def sent_by(self) -> str:
        return f"{self.host}:{self.port}"

    def compose(self, method: str, uri: str, *, cseq: int = 1, headers: str = "", body: str = "", to: str = "",
                call_id: str = "") -> str:  # fmt: skip
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{self.transport} {self.sent_by};branch=z9hG4bK{uuid.uuid4().hex}",
            f"From: <sip:peer@example.com>;tag={self.tag}",
            f"To: {to or f'<{uri}>'}",
            f"Call-ID: {call_id or uuid.uuid4().hex}",
            f"CSeq: {cseq} {method}",
            "Max-Forwards: 70",
            f"Contact: {self.contact}",
        ]
        return finish(lines, headers, body)

    async def call(self, uri: str) -> str:
        """Calls and acknowledges; the 200."""
        invite = self.compose("INVITE", uri, body=SDP.format(port=40000))
        await self.send(invite)
        ok = await self.receive("SIP/2.0 200")
        await self.send(self.compose("ACK", uri, to=header(ok, "To"), call_id=header(ok, "Call-ID")))
        return ok

    async def respond(self, request: str, status: str, *, headers: str = "", body: str = "") -> None:
        copied = [line for line in request.split("\r\n") if re.match(r"(Via|From|Call-ID|CSeq|Record-Route):", line)]
        to = header(request, "To")
        if ";tag=" not in to and not status.startswith("100"):
            to += f";tag={self.tag}"
        await self.send(finish([f"SIP/2.0 {status}", *copied, f"To: {to}", f"Contact: {self.contact}"], headers, body))


class TlsPeer(StreamPeer):
    transport = "TLS"


_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocketPeer(StreamPeer):
    """As a browser has it: its address is nobody's."""

    transport = "WS"
    protocols = "sip"

    @property
    def sent_by(self) -> str:
        return "df7jal23ls0d.invalid"

    async def begin(self) -> None:
        self.contact = "<sip:peer@df7jal23ls0d.invalid;transport=ws>"
        key = base64.b64encode(os.urandom(16)).decode()
        protocol = f"Sec-WebSocket-Protocol: {self.protocols}\r\n" if self.protocols else ""
        self.writer.write(
            f"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            f"Origin: http://example.com\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n".encode()
        )
        self.response = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        accept = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
        assert accept in self.response, self.response

    async def send(self, text: str, *, opcode: int = 1) -> None:
        await self.send_frame(opcode, text.encode())

    async def send_frame(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        length = (
            struct.pack("!B", 0x80 | len(payload))
            if len(payload) < 126
            else struct.pack("!BH", 0x80 | 126, len(payload))
        )
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.writer.write(bytes([0x80 | opcode]) + length + mask + masked)
        await self.writer.drain()

    async def next_frame(self) -> tuple[int, bytes]:
        first, length = await self.reader.readexactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        assert first & 0x80, "a message in one frame"
        return first & 15, await self.reader.readexactly(length)

    async def next(self) -> str:
        while True:
            opcode, payload = await self.next_frame()
            if opcode in (1, 2):
                return payload.decode()


class SecureWebSocketPeer(WebSocketPeer):
    transport = "WSS"
