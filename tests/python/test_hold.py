import asyncio

import pytest
from support import Recorder, until
from support.peer import SDP

from ringback import CallDecision, CallRejected, CallState, InvalidState, MediaControl, SdpError, SessionControl


async def test_hold_and_resume(systems):
    bob, alice = Recorder(), Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice", alice)
    call = await systems.answered(caller, called)
    other = (await bob.wait("established"))[0]
    await call.hold()
    assert call.state is CallState.ON_HOLD and not call.remote_hold
    await until(lambda: other.remote_hold)
    assert other.state is CallState.ACTIVE
    assert "a=sendonly" in (await MediaControl.get_media_info(caller, call.id)).local_sdp
    await SessionControl.resume_session(caller, call.id)
    assert call.state is CallState.ACTIVE
    await until(lambda: not other.remote_hold)
    assert [new for _, _, new in alice.of("state")] == ["active", "on_hold", "active"]


async def test_both_sides_hold(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    other = (await bob.wait("established"))[0]
    await call.hold()
    await other.hold()
    assert (call.state, other.state) == (CallState.ON_HOLD, CallState.ON_HOLD)
    await until(lambda: call.remote_hold)
    await call.resume()
    assert (call.state, other.state) == (CallState.ACTIVE, CallState.ON_HOLD)
    await until(lambda: call.remote_hold and not other.remote_hold)
    await other.resume()
    await until(lambda: not call.remote_hold)
    assert (call.state, other.state) == (CallState.ACTIVE, CallState.ACTIVE)


async def test_holding_a_call_that_is_over(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    call = await systems.answered(caller, called)
    await call.hangup()
    with pytest.raises(InvalidState) as caught:
        await SessionControl.hold_session(caller, call.id)
    assert caught.value.state is CallState.TERMINATED


async def connected_peer(systems, peer):
    alice = Recorder()
    caller = await systems.start("alice", alice)
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
    invite = await peer.receive("INVITE")
    peer.respond(invite, "200 OK", body=SDP.format(port=40000))
    await call.wait_for_answer(5)
    await peer.receive("ACK")
    return alice, caller, call


async def test_a_peer_that_refuses_to_be_held(systems, peer):
    _, _, call = await connected_peer(systems, peer)
    holding = asyncio.create_task(call.hold())
    peer.respond(await peer.receive("INVITE"), "488 Not Acceptable Here")
    with pytest.raises(CallRejected) as caught:
        await holding
    assert caught.value.status == 488 and call.state is CallState.ACTIVE


async def test_a_call_that_ends_while_it_is_held(systems, peer):
    _, _, call = await connected_peer(systems, peer)
    holding = asyncio.create_task(call.hold())
    await peer.receive("INVITE")
    await call.hangup()
    with pytest.raises(InvalidState, match="ended"):
        await asyncio.wait_for(holding, 5)


async def test_update_media(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    offer = await MediaControl.generate_sdp_offer(caller, call.id)
    await SessionControl.update_media(caller, call.id, offer)
    await SessionControl.update_media(caller, call.id)
    with pytest.raises(SdpError):
        await SessionControl.update_media(caller, call.id, "no SDP")
    assert call.state is CallState.ACTIVE


async def test_update_media_before_the_answer(systems):
    """By UPDATE (RFC 3311), once the first offer has an answer that arrived; there is no hold before the answer."""
    desk = Recorder(CallDecision.Defer())
    system, caller = await systems.start("desk", desk), await systems.start("alice")
    call = await systems.call(caller, system)
    (incoming,) = await desk.wait("incoming")
    with pytest.raises(InvalidState):
        await SessionControl.update_media(caller, call.id)
    at_desk = await SessionControl.progress_incoming_call(system, incoming)
    await until(lambda: call.state is CallState.RINGING)

    async def updated(coordinator, session):
        # The called side may offer once the caller's PRACK has come.
        async with asyncio.timeout(10):
            while True:
                try:
                    return await SessionControl.update_media(coordinator, session)
                except (InvalidState, CallRejected):
                    await asyncio.sleep(0.01)

    await updated(caller, call.id)
    await updated(system, at_desk.id)
    for coordinator, session in [(caller, call), (system, at_desk)]:
        with pytest.raises(InvalidState):
            await SessionControl.hold_session(coordinator, session.id)
    assert (call.state, at_desk.state) == (CallState.RINGING, CallState.RINGING)
    await incoming.accept()
    await call.wait_for_answer(5)
    await SessionControl.update_media(caller, call.id)
    assert call.state is CallState.ACTIVE
