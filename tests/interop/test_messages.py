"""Instant messages (RFC 3428) with baresip, both ways; with PJSIP and JsSIP: `test_pjsua.py`, `test_jssip.py`."""

import asyncio

import pytest
from baresip_peer import Baresip
from network import HOST
from systems import Recorder, host_port, soon, system

from ringback import SessionControl

pytestmark = pytest.mark.peer("baresip")
EXPECTED = ("sip", "udp")


async def test_baresip_takes_a_message() -> None:
    async with Baresip(660.0) as peer, await system() as coordinator:
        await asyncio.wait_for(SessionControl.send_message(coordinator, f"sip:us@{HOST}", peer.uri(), "hello"), 10)


async def test_baresip_sends_a_message() -> None:
    handler = Recorder()
    async with await system(handler) as coordinator:
        async with Baresip(660.0, contact=f"sip:desk@{host_port(coordinator)}") as peer:
            await peer.command("message", "how do you do")
            message = await soon(handler.messages)
            assert (message.body, message.content_type.partition(";")[0]) == ("how do you do", "text/plain")
            assert message.from_uri == peer.uri() and message.to_uri.startswith("sip:desk@")
