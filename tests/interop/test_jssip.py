"""JsSIP, as it runs in browsers, over WebSocket and WebSocket over TLS."""

import asyncio
from pathlib import Path

import pytest
import trustme
from jssip_peer import Jssip
from network import HOST, MEDIA, free_ports
from systems import Recorder, soon

from ringback import Authenticator, Message, Registrar, SessionManagerBuilder, Transport

pytestmark = pytest.mark.peer("jssip")
# A capture shows nothing: WebSocket masks what clients send, and TLS everything.
EXPECTED: tuple[str, ...] = ()

DOMAIN = "ringback.example"


class Messages(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.messages: asyncio.Queue[Message] = asyncio.Queue()

    def on_message(self, message: Message) -> None:
        self.messages.put_nowait(message)


@pytest.mark.parametrize("transport", [Transport.WS, Transport.WSS])
async def test_a_browser_registers_and_sends_a_message(transport: Transport, tmp_path: Path) -> None:
    """Its Contact is a name that nobody can look up (RFC 7118 §5): all goes by its connection."""
    ca = trustme.CA()
    root, certificate = str(tmp_path / "ca.pem"), str(tmp_path / "both.pem")
    ca.cert_pem.write_to_path(root)
    ca.issue_cert("localhost", HOST).private_key_and_cert_chain_pem.write_to_path(certificate)
    handler, port = Messages(), free_ports()
    registrar = Registrar(domains=[DOMAIN])
    builder = SessionManagerBuilder().with_local_address(f"sip:ringback@{HOST}").with_handler(handler)
    builder.with_media_ports(MEDIA.start, MEDIA.stop - 1).with_registrar(registrar)
    builder.with_authenticator(Authenticator(DOMAIN, {"alice": "wonderland"}))
    if transport is Transport.WSS:
        builder.with_transport(transport, port=port, certificate=certificate)
    else:
        builder.with_transport(transport, port=port)
    url = f"{transport.value}://{'localhost' if transport is Transport.WSS else HOST}:{port}"
    aor = f"sip:alice@{DOMAIN}"
    async with await builder.build():
        async with Jssip(url, aor, "wonderland", ca=root) as browser:
            assert (await browser.until_event("registered"))["code"] == 200
            (binding,) = await registrar.lookup(aor)
            assert ".invalid" in binding.contact
            await browser.do("message", uri=f"sip:desk@{DOMAIN}", text="Grüße from the browser")
            message = await soon(handler.messages)
            assert (message.body, message.from_uri) == ("Grüße from the browser", aor)
            await browser.until_event("message sent")
        assert await registrar.lookup(aor) == [], "it takes its leave"


async def test_a_wrong_password_registers_nobody() -> None:
    registrar, port = Registrar(domains=[DOMAIN]), free_ports()
    builder = SessionManagerBuilder().with_local_address(f"sip:ringback@{HOST}").with_registrar(registrar)
    builder.with_authenticator(Authenticator(DOMAIN, {"alice": "wonderland"})).with_transport(Transport.WS, port=port)
    async with await builder.build(), Jssip(f"ws://{HOST}:{port}", f"sip:alice@{DOMAIN}", "guess") as browser:
        assert (await browser.until_event("registration failed"))["code"] == 401
        assert await registrar.lookup(f"sip:alice@{DOMAIN}") == []
