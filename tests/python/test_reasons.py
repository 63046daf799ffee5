"""`CallSession.remote_reason` and `completed_elsewhere`: what a peer says of why it ended a call (RFC 3326)."""

import pytest
from support import Peer, Recorder
from support.peer import header

from ringback import CallDecision, CallRejected, CallState, SessionControl

BUSY = 'Q.850;cause=17;text="User busy"'
ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'


async def test_of_a_bye(systems):
    desk = Recorder()
    system = await systems.start("desk", desk)
    async with Peer() as peer:
        invite, answer = await peer.call(system.local_address)
        (call, *_) = await desk.wait("established")
        assert (call.remote_reason, call.completed_elsewhere) == (None, False), "it has not ended"
        peer.follow(invite, "BYE", response=answer, cseq=2, headers=f"Reason: {BUSY}")
        ended, reason = await desk.wait("ended")
        assert (ended, reason) == (call, "remote hangup"), "end_reason stays what it is"
        assert (call.remote_reason, call.completed_elsewhere) == (BUSY, False)


async def test_of_a_refusal(systems):
    system = await systems.start("alice")
    async with Peer() as peer:
        call = await SessionControl.create_outgoing_call(system, "sip:alice@example.com", peer.uri)
        peer.respond(await peer.receive("INVITE"), "486 Busy Here", headers=f"Reason: SIP;cause=486\r\nReason: {BUSY}")
        with pytest.raises(CallRejected):
            await call.wait_for_answer(5)
        assert call.end_reason == "rejected 486 Busy Here"
        assert call.remote_reason == f"SIP;cause=486, {BUSY}"


@pytest.mark.parametrize(
    "reason, elsewhere",
    [(ELSEWHERE, True), ("SIP;cause=487", False), (None, False)],
    ids=["elsewhere", "other", "none"],
)
async def test_of_a_cancel_a_missed_call_or_not(systems, reason, elsewhere):
    desk = Recorder(CallDecision.Defer())
    system = await systems.start("desk", desk)
    async with Peer() as peer:
        invite = peer.invite(system.local_address)
        await peer.receive("SIP/2.0 180")
        peer.follow(invite, "CANCEL", headers="" if reason is None else f"Reason: {reason}")
        (call, text) = await desk.wait("ended")
        assert (call.state, text) == (CallState.CANCELLED, "cancelled")
        assert (call.remote_reason, call.completed_elsewhere) == (reason, elsewhere)


async def test_the_losers_of_a_parallel_forward_have_not_missed_the_call(systems):
    loser, winner = Recorder(CallDecision.Defer()), Recorder(CallDecision.Defer())
    first, second = await systems.start("first", loser), await systems.start("second", winner)
    decision = CallDecision.Forward(first.local_address, second.local_address, parallel=True)
    switch = await systems.start("switch", Recorder(decision))
    call = await systems.call(await systems.start("alice"), switch)
    await loser.wait("incoming")
    await winner.wait("incoming")
    await winner.incoming.accept()
    await call.wait_for_answer(5)
    (missed, _) = await loser.wait("ended")
    assert (missed.state, missed.completed_elsewhere, missed.remote_reason) == (CallState.CANCELLED, True, ELSEWHERE)


async def test_it_passes_through_a_forwarded_call(systems):
    desk = Recorder()
    target = await systems.start("desk", desk)
    switch = await systems.start("switch", Recorder(CallDecision.Forward(target.local_address)))
    async with Peer() as peer:
        invite, answer = await peer.call(switch.local_address)
        await desk.wait("established")
        peer.follow(invite, "BYE", response=answer, cseq=2, headers=f"Reason: {BUSY}")
        (call, _) = await desk.wait("ended")
        assert call.remote_reason == BUSY


async def test_the_end_of_an_early_dialog_is_told_before_the_refusal(systems):
    desk = Recorder(CallDecision.Defer())
    system = await systems.start("desk", desk)
    async with Peer() as peer:
        peer.invite(system.local_address, headers="Supported: 199")
        await peer.receive("SIP/2.0 180")
        (incoming,) = await desk.wait("incoming")
        await incoming.reject("Busy", status=486)
        ended = await peer.receive("SIP/2.0 199")
        assert header(ended, "Reason") == 'SIP;cause=486;text="Busy Here"'
        await peer.receive("SIP/2.0 486")
