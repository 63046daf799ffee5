"""JsSIP, as it runs in browsers, over WebSocket and WebSocket over TLS."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from jssip_peer import Jssip
from network import HOST, MEDIA, free_ports
from systems import Recorder, soon, until

from ringback import Authenticator, Registrar, SessionControl, SessionCoordinator, SessionManagerBuilder, Transport

pytestmark = pytest.mark.peer("jssip")
# A capture shows nothing: WebSocket masks what clients send, and TLS everything.
EXPECTED: tuple[str, ...] = ()

DOMAIN = "ringback.example"


AOR = f"sip:alice@{DOMAIN}"


@asynccontextmanager
async def browser_of(
    transport: Transport, place: Path, handler: Recorder, registrar: Registrar
) -> AsyncIterator[tuple[SessionCoordinator, Jssip]]:
    """A system of ours and a browser that has registered with it."""
    ca = trustme.CA()
    root, certificate = str(place / "ca.pem"), str(place / "both.pem")
    ca.cert_pem.write_to_path(root)
    ca.issue_cert("localhost", HOST).private_key_and_cert_chain_pem.write_to_path(certificate)
    port = free_ports()
    builder = SessionManagerBuilder().with_local_address(f"sip:ringback@{HOST}").with_handler(handler)
    builder.with_media_ports(MEDIA.start, MEDIA.stop - 1).with_registrar(registrar)
    builder.with_authenticator(Authenticator(DOMAIN, {"alice": "wonderland"}))
    if transport is Transport.WSS:
        builder.with_transport(transport, port=port, certificate=certificate)
    else:
        builder.with_transport(transport, port=port)
    url = f"{transport.value}://{'localhost' if transport is Transport.WSS else HOST}:{port}"
    async with await builder.build() as coordinator, Jssip(url, AOR, "wonderland", ca=root) as browser:
        assert (await browser.until_event("registered"))["code"] == 200
        yield coordinator, browser


BOTH = pytest.mark.parametrize("transport", [Transport.WS, Transport.WSS])


@BOTH
async def test_a_browser_registers_and_sends_a_message(transport: Transport, tmp_path: Path) -> None:
    """Its Contact is a name that nobody can look up (RFC 7118 §5): all goes by its connection."""
    handler, registrar = Recorder(), Registrar(domains=[DOMAIN])
    async with browser_of(transport, tmp_path, handler, registrar) as (_, browser):
        (binding,) = await registrar.lookup(AOR)
        assert ".invalid" in binding.contact
        await browser.do("message", uri=f"sip:desk@{DOMAIN}", text="Grüße from the browser")
        message = await soon(handler.messages)
        assert (message.body, message.from_uri) == ("Grüße from the browser", AOR)
        await browser.until_event("message sent")
        await browser.leave()
        assert await registrar.lookup(AOR) == [], "it takes its leave"


@BOTH
async def test_a_browser_calls(transport: Transport, tmp_path: Path) -> None:
    """Signalling alone: INVITE with digest, hold by re-INVITE, a digit by INFO, BYE."""
    handler = Recorder()
    async with browser_of(transport, tmp_path, handler, Registrar(domains=[DOMAIN])) as (_, browser):
        await browser.do("call", uri=f"sip:desk@{DOMAIN}")
        incoming = await soon(handler.incoming)
        assert (incoming.from_uri, incoming.transport) == (AOR, transport)
        call = await soon(handler.established)
        await browser.until_event("confirmed")
        await browser.do("hold")
        await until(lambda: call.remote_hold, what="being held")
        # Our answer is there; before it JsSIP does not offer again, and says nothing.
        await browser.until_event("held")
        await browser.do("unhold")
        await until(lambda: not call.remote_hold, what="being resumed")
        await browser.do("digits", digits="5")
        assert await soon(handler.digits) == "5"
        await browser.do("hangup")
        assert (await soon(handler.ended))[1] == "remote hangup"
        await browser.until_event("ended")


@BOTH
async def test_a_browser_is_called_by_its_address_of_record(transport: Transport, tmp_path: Path) -> None:
    handler = Recorder()
    async with browser_of(transport, tmp_path, handler, Registrar(domains=[DOMAIN])) as (ours, browser):
        call = await SessionControl.create_outgoing_call(ours, f"sip:desk@{DOMAIN}", AOR)
        await call.wait_for_answer(20)
        assert (await browser.until_event("incoming"))["from"] == f"sip:desk@{DOMAIN}"
        await browser.until_event("confirmed")
        await call.hold()
        await browser.until_event("hold")
        await call.resume()
        await browser.until_event("unhold")
        await call.hangup()
        await browser.until_event("ended")


async def test_a_wrong_password_registers_nobody() -> None:
    registrar, port = Registrar(domains=[DOMAIN]), free_ports()
    builder = SessionManagerBuilder().with_local_address(f"sip:ringback@{HOST}").with_registrar(registrar)
    builder.with_authenticator(Authenticator(DOMAIN, {"alice": "wonderland"})).with_transport(Transport.WS, port=port)
    async with await builder.build(), Jssip(f"ws://{HOST}:{port}", f"sip:alice@{DOMAIN}", "guess") as browser:
        assert (await browser.until_event("registration failed"))["code"] == 401
        assert await registrar.lookup(f"sip:alice@{DOMAIN}") == []
