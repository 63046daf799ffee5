"""What `create_outgoing_call` and the builder can be asked for besides: late offers, redirections, session timers."""

import asyncio
from datetime import timedelta

import pytest
from support import Recorder
from support.peer import SDP, body_of, header

from ringback import CallDecision, CallRejected, CallState, SessionControl, SessionManagerBuilder


async def test_the_peer_makes_the_offer(systems, peer):
    caller = await systems.start("alice")
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri, late_offer=True)
    invite = await peer.receive("INVITE")
    assert body_of(invite) == "" and "Content-Type" not in invite
    peer.respond(invite, "200 OK", body=SDP.format(port=40000))
    ack = await peer.receive("ACK")
    assert "m=audio" in body_of(ack)
    await call.wait_for_answer(5)

    called = await systems.start("bob", Recorder())
    call = await systems.call(caller, called, late_offer=True)
    await call.wait_for_answer(5)
    assert call.state is CallState.ACTIVE
    with pytest.raises(ValueError, match="late_offer"):
        await systems.call(caller, called, sdp=SDP.format(port=40000), late_offer=True)


async def test_redirections_are_followed_to_a_bound(systems, peer):
    bob, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    moved = await systems.start("old", Recorder(CallDecision.Forward(bob.local_address, redirect=True)))
    call = await systems.call(caller, moved, max_redirects=1)
    await call.wait_for_answer(5)
    assert call.to_uri == moved.local_address
    with pytest.raises(CallRejected) as caught:
        await (await systems.call(caller, moved)).wait_for_answer(5)
    assert (caught.value.status, list(caught.value.targets)) == (302, [bob.local_address])
    for bad in (-1, 71):
        with pytest.raises(ValueError, match="max_redirects"):
            await systems.call(caller, moved, max_redirects=bad)


async def test_a_session_timer_is_asked_for(systems, peer):
    timed = lambda builder: builder.with_session_timer(timedelta(minutes=30), min_expires=120)  # noqa: E731
    caller = await systems.start("alice", None, timed)
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
    invite = await peer.receive("INVITE")
    assert (header(invite, "Session-Expires"), header(invite, "Min-SE")) == ("1800", "120")
    # A peer that wants more is met.
    peer.respond(invite, "422 Session Interval Too Small", headers="Min-SE: 2000")
    invite = await peer.receive("INVITE")
    assert (header(invite, "Session-Expires"), header(invite, "Min-SE")) == ("2000", "2000")
    await call.hangup()

    plain = await systems.start("bob", Recorder())
    call = await systems.call(plain, caller)
    await asyncio.wait_for(call.wait_ended(), 5)  # no handler there


async def test_a_peer_that_wants_it_too_often_is_refused(systems, peer):
    called = await systems.start("bob", Recorder(), lambda builder: builder.with_session_timer(None, min_expires=300))
    peer.invite(called.local_address, headers="Supported: timer\nSession-Expires: 299")
    refusal = await peer.receive("SIP/2.0 422")
    assert header(refusal, "Min-SE") == "300"


def test_what_a_session_timer_may_be():
    builder = SessionManagerBuilder()
    assert builder.with_session_timer(90) is builder.with_session_timer(None)
    for wrong, keywords in [(89, {}), (100, {"min_expires": 200}), (100, {"min_expires": 10}), (0, {}), (-1, {})]:
        with pytest.raises(ValueError):
            builder.with_session_timer(wrong, **keywords)
