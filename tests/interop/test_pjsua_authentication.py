"""PJSIP proves who it is, by the strongest algorithm that it is asked for."""

import pytest
from network import HOST
from pjsua_peer import Pjsua
from systems import Recorder, builder, host_port, soon, until_received

from ringback import Authenticator

pytestmark = pytest.mark.peer("pjsua2")
EXPECTED = ("sip", "sdp", "rtp", "udp")


async def test_pjsua_is_let_in_by_sha_256() -> None:
    handler = Recorder()
    authenticator = Authenticator(HOST, {"pjsua": "secret"})
    async with await builder(handler).with_authenticator(authenticator).build() as server:
        async with Pjsua(520.0, username="pjsua", password="secret") as peer:
            await peer.do("call", uri=f"sip:service@{host_port(server)}")
            call = await soon(handler.incoming)
            assert "algorithm=SHA-256" in call.headers["Authorization"]
            # The capture is to hold some of its media.
            await until_received(await soon(handler.established), 1)
            await peer.do("hangup")
            assert (await soon(handler.ended))[1] == "remote hangup"


async def test_pjsua_is_not_let_in_with_a_wrong_password() -> None:
    handler = Recorder()
    authenticator = Authenticator(HOST, {"pjsua": "secret"})
    async with await builder(handler).with_authenticator(authenticator).build() as server:
        async with Pjsua(520.0, username="pjsua", password="wrong") as peer:
            await peer.do("call", uri=f"sip:service@{host_port(server)}")
            assert (await peer.until_state("disconnected"))["code"] == 401
    assert handler.incoming.empty()
