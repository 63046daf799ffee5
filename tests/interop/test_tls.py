"""Calls with baresip over TLS, each side checking the other's certificate."""

import pytest
from authority import Authority
from baresip_peer import Baresip
from systems import Recorder, dial, host_port, soon
from test_baresip import exchange_tones

from ringback import SessionCoordinator, Transport

pytestmark = pytest.mark.peer("baresip")
# A capture shows nothing: the descriptions that say what the media is are within TLS.
EXPECTED: tuple[str, ...] = ()


async def secured(authority: Authority, handler: Recorder) -> SessionCoordinator:
    return await authority.builder(handler).build()


def baresip(authority: Authority, frequency: float) -> Baresip:
    return Baresip(frequency, settings=f"sip_certificate {authority.both}\nsip_cafile {authority.root}\n")


async def test_we_call_baresip_over_tls(authority: Authority) -> None:
    async with baresip(authority, 660.0) as peer, await secured(authority, Recorder()) as caller:
        call = await dial(caller, peer.uri("tls"))
        await call.wait_for_answer(20)
        await exchange_tones(call, peer, 450.0)
        await call.hangup()
        await peer.until_event("CALL_CLOSED")


async def test_baresip_calls_us_over_tls(authority: Authority) -> None:
    handler = Recorder()
    async with await secured(authority, handler) as server, baresip(authority, 520.0) as peer:
        await peer.command("dial", f"sip:service@{host_port(server)};transport=tls")
        incoming = await soon(handler.incoming)
        assert incoming.transport is Transport.TLS
        call = await soon(handler.established)
        await exchange_tones(call, peer, 880.0)
        # By the connection that it has opened.
        await call.hangup()
        await peer.until_event("CALL_CLOSED")
