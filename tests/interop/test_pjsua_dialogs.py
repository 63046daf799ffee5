"""What PJSIP does beyond plain calls: PRACK and UPDATE, in both roles. (Session timers: `test_session_timers.py`.)"""

import pytest
from pjsua_peer import Pjsua
from systems import Recorder, dial, soon, system, until
from test_pjsua import exchange_tones

from ringback import CallDecision, CallState, SessionControl

pytestmark = pytest.mark.peer("pjsua2")
EXPECTED = ("sip", "sdp", "rtp", "rtcp", "udp")

CALLER, CALLED = 0, 1


@pytest.mark.parametrize("prack", ["optional", "mandatory"])
async def test_pjsua_acknowledges_our_provisional_responses(prack: str) -> None:
    """Each one where it requires 100rel, else the one with early media."""
    handler = Recorder(decision=CallDecision.Defer())
    async with await system(handler) as server, Pjsua(520.0, prack=prack) as peer:
        await peer.do("call", uri=server.local_address)
        incoming = await soon(handler.incoming)
        assert "100rel" in incoming.headers["Require" if prack == "mandatory" else "Supported"]
        await SessionControl.progress_incoming_call(server, incoming)
        acknowledged = 2 if prack == "mandatory" else 1
        await peer.until_event("transaction", count=acknowledged, method="PRACK", code=200, role=CALLER)
        await peer.until_event("media", status="active")
        call = await incoming.accept()
        await peer.until_state("confirmed")
        await exchange_tones(call, peer, 450.0)
        await call.hangup()


@pytest.mark.parametrize("prack", ["optional", "mandatory"])
@pytest.mark.parametrize("status", [180, 183])
async def test_we_acknowledge_what_pjsua_sends_before_its_answer(prack: str, status: int) -> None:
    handler = Recorder()
    async with await system(handler) as caller, Pjsua(660.0, prack=prack, answer=status) as peer:
        call = await dial(caller, peer.uri())
        await peer.until_event("transaction", method="PRACK", code=200, role=CALLED)
        told, sdp = await soon(handler.progress)
        assert told == status and (sdp is not None) == (status == 183)
        assert call.state is CallState.RINGING
        await peer.do("answer", code=200)
        await call.wait_for_answer(20)
        await exchange_tones(call, peer, 450.0)
        await call.hangup()


async def test_pjsua_updates_a_call() -> None:
    """With an offer, in a call that it placed and in one that we placed."""
    handler = Recorder()
    async with await system(handler) as ours, Pjsua(520.0) as peer:
        await peer.do("call", uri=ours.local_address)
        first = await soon(handler.established)
        await peer.until_state("confirmed")
        await peer.do("update")
        await peer.until_event("transaction", method="UPDATE", code=200, role=CALLER)
        await exchange_tones(first, peer, 450.0)
        await first.hangup()
        await peer.until_state("disconnected")
        second = await dial(ours, peer.uri())
        await second.wait_for_answer(20)
        await peer.until_state("confirmed", count=2)
        await peer.do("update")
        await peer.until_event("transaction", count=2, method="UPDATE", code=200, role=CALLER)
        assert second.state is CallState.ACTIVE
        await second.hangup()


async def test_a_call_with_prack_is_given_up_both_ways() -> None:
    """After a reliable 180: CANCEL, and no answer."""
    handler = Recorder(decision=CallDecision.Defer())
    async with await system(handler) as server, Pjsua(520.0, prack="mandatory", answer=180) as peer:
        await peer.do("call", uri=server.local_address)
        await peer.until_event("transaction", method="PRACK", code=200, role=CALLER)
        await peer.do("hangup")
        assert (await soon(handler.ended))[1] == "cancelled"
        ours = await dial(server, peer.uri())
        await peer.until_event("transaction", method="PRACK", code=200, role=CALLED)
        await until(lambda: ours.state is CallState.RINGING, what="180")
        await ours.hangup()
        await peer.until_state("disconnected", count=2)
