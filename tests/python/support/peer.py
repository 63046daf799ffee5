"""A SIP peer that says exactly what a test wants it to: raw messages over one UDP socket."""

import asyncio
import re
import uuid

SDP = """\
v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio {port} RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""


class Peer(asyncio.DatagramProtocol):
    """`async with Peer() as peer`: `peer.uri` can be called; `receive` gives what came, `respond` and `request` answer."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[str] = asyncio.Queue()
        self.tag = uuid.uuid4().hex[:8]
        # All that ever came.
        self.received: list[str] = []
        self.remote: tuple[str, int] | None = None

    async def __aenter__(self) -> "Peer":
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port: int = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.remote = addr
        self.received.append(data.decode())
        self._messages.put_nowait(self.received[-1])

    @property
    def uri(self) -> str:
        return f"sip:peer@127.0.0.1:{self.port}"

    async def receive(self, start: str, *, timeout: float = 5.0) -> str:
        """The next message whose first line starts with `start`; others are passed over."""
        async with asyncio.timeout(timeout):
            while True:
                message = await self._messages.get()
                if message.startswith(start):
                    return message

    def send(self, text: str, to: tuple[str, int] | None = None) -> None:
        address = to or self.remote
        assert address is not None
        self._transport.sendto(text.encode(), address)

    def respond(self, request: str, status: str, *, headers: str = "", body: str = "") -> None:
        """A response to `request`; `headers` are whole lines."""
        copied = [line for line in request.split("\r\n") if re.match(r"(Via|From|Call-ID|CSeq|Record-Route):", line)]
        to = header(request, "To")
        if ";tag=" not in to and not status.startswith("100"):
            to += f";tag={self.tag}"
        lines = [f"SIP/2.0 {status}", *copied, f"To: {to}", f"Contact: <{self.uri}>"]
        self.send(finish(lines, headers, body))

    def invite(self, to_uri: str, *, headers: str = "", body: str | None = None, cseq: int = 1) -> str:
        """Sends an INVITE to a system and returns its text."""
        if body is None:
            body = SDP.format(port=40000)
        branch = "z9hG4bK" + uuid.uuid4().hex
        lines = [
            f"INVITE {to_uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch={branch};rport",
            f"From: <{self.uri}>;tag={self.tag}",
            f"To: <{to_uri}>",
            f"Call-ID: {uuid.uuid4().hex}",
            f"CSeq: {cseq} INVITE",
            "Max-Forwards: 70",
            f"Contact: <{self.uri}>",
        ]
        text = finish(lines, headers, body)
        self.send(text, address(to_uri))
        return text

    async def call(self, to_uri: str, *, body: str | None = None) -> tuple[str, str]:
        """A call to a system that answers it: the INVITE, and its 200, acknowledged."""
        invite = self.invite(to_uri, body=body)
        answer = await self.receive("SIP/2.0 200")
        self.follow(invite, "ACK", response=answer)
        return invite, answer

    def follow(
        self, invite: str, method: str, *, response: str | None = None, cseq: int = 1, headers: str = "", body: str = ""
    ) -> str:
        """Sends CANCEL, ACK or BYE, or another request of the dialog, for an INVITE of ours; `response` is what came to
        it, and names the dialog.
        """
        uri = invite.split(" ")[1]
        via = header(invite, "Via")
        if method not in ("CANCEL",) and not (method == "ACK" and response and not response.startswith("SIP/2.0 2")):
            via = re.sub(r"branch=\w+", "branch=z9hG4bK" + uuid.uuid4().hex, via)
        to = header(response, "To") if response else header(invite, "To")
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: {via}",
            f"From: {header(invite, 'From')}",
            f"To: {to}",
            f"Call-ID: {header(invite, 'Call-ID')}",
            f"CSeq: {cseq} {method}",
            "Max-Forwards: 70",
        ]
        text = finish(lines, headers, body)
        self.send(text, address(uri))
        return text


def finish(lines: list[str], headers: str, body: str) -> str:
    body = body.replace("\r\n", "\n").replace("\n", "\r\n")
    extra = [line for line in headers.splitlines() if line]
    if body:
        extra.append("Content-Type: application/sdp")
    return "\r\n".join([*lines, *extra, f"Content-Length: {len(body.encode())}", "", body])


def header(message: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(.*?)\r?$", message, re.MULTILINE | re.IGNORECASE)
    assert found is not None, f"no {name} in {message}"
    return found.group(1)


def body_of(message: str) -> str:
    return message.partition("\r\n\r\n")[2]


def address(uri: str) -> tuple[str, int]:
    found = re.search(r"@?([\d.]+):(\d+)", uri.partition("@")[2] or uri)
    assert found is not None
    return found.group(1), int(found.group(2))
