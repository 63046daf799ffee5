"""Deferred calls: decided later, by the call's own methods or `SessionControl`; early media."""

import asyncio

import pytest
from support import Recorder
from support.peer import SDP, body_of, header

from ringback import (
    CallCancelled,
    CallDecision,
    CallRejected,
    CallState,
    InvalidState,
    MediaControl,
    MediaError,
    SdpError,
    SessionControl,
)  # fmt: skip


async def deferred(systems):
    bob, alice = Recorder(CallDecision.Defer()), Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice", alice)
    call = await systems.call(caller, called)
    await alice.wait("progress")
    return bob, alice, called, caller, call


async def test_a_deferred_call_rings_until_it_is_accepted(systems):
    bob, alice, called, _, call = await deferred(systems)
    assert alice.of("progress") == [(call, 180, None)] and call.state is CallState.RINGING
    session = await bob.incoming.accept()
    assert session.id == bob.incoming.id and session.state is CallState.ACTIVE and session.coordinator is called
    await call.wait_for_answer(5)
    with pytest.raises(InvalidState):
        await bob.incoming.accept()
    with pytest.raises(InvalidState):
        await SessionControl.reject_incoming_call(called, bob.incoming, "too late")


async def test_accepting_through_the_control(systems):
    bob, _, called, _, call = await deferred(systems)
    session = await SessionControl.accept_incoming_call(called, bob.incoming)
    assert session == await SessionControl.get_session(called, bob.incoming.id)
    await call.wait_for_answer(5)


@pytest.mark.parametrize("through_control", [False, True])
async def test_rejecting_later(systems, through_control):
    bob, _, called, _, call = await deferred(systems)
    if through_control:
        await SessionControl.reject_incoming_call(called, bob.incoming, "Not now", status=480)
    else:
        await bob.incoming.reject("Not now", status=480)
    with pytest.raises(CallRejected) as caught:
        await call.wait_for_answer(5)
    assert (caught.value.status, caught.value.reason) == (480, "Not now")


async def test_wrong_refusals(systems):
    bob, _, _, _, call = await deferred(systems)
    for status in (200, 180, 302, 700):
        with pytest.raises(ValueError, match="status"):
            await bob.incoming.reject("x", status=status)
    assert call.state is CallState.RINGING
    await bob.incoming.reject("x")
    with pytest.raises(CallRejected) as caught:
        await call.wait_for_answer(5)
    assert caught.value.status == 603


async def test_a_caller_who_gave_up_cannot_be_accepted(systems):
    bob, _, _, _, call = await deferred(systems)
    await call.hangup()
    await bob.wait("ended")
    with pytest.raises(InvalidState) as caught:
        await bob.incoming.accept()
    assert caught.value.state is CallState.CANCELLED
    with pytest.raises(CallCancelled):
        await call.wait_for_answer(1)


async def test_early_media_before_the_answer(systems):
    bob, alice, called, caller, call = await deferred(systems)
    session = await SessionControl.progress_incoming_call(called, bob.incoming)
    _, status, sdp = await alice.wait("progress", 2)
    assert status == 183 and sdp.startswith("v=0") and session.state is CallState.RINGING
    tone = asyncio.create_task(MediaControl.play_tone(called, session.id, [440.0], duration=5))
    async with asyncio.timeout(5):
        while True:
            statistics = await MediaControl.get_media_statistics(caller, call.id)
            if statistics is not None and statistics.packets_received > 5:
                break
            await asyncio.sleep(0.02)
    tone.cancel()
    await bob.incoming.accept()
    await call.wait_for_answer(5)


async def test_an_answer_of_the_programs_own_making(systems):
    bob, alice, called, _, call = await deferred(systems)
    incoming = bob.incoming
    answer = await MediaControl.generate_sdp_answer(called, incoming.id, incoming.sdp)
    assert answer.startswith("v=0") and "RTP/AVP" in answer
    await incoming.accept(answer + "a=x-mine:1\r\n")
    _, _, remote_sdp = await alice.wait("established")
    assert "a=x-mine:1" in remote_sdp
    await call.hangup()


async def test_an_sdp_that_does_not_answer_the_offer_is_refused_before_any_response(systems):
    bob, alice, _, _, call = await deferred(systems)
    two_streams = bob.incoming.sdp + "m=audio 4000 RTP/AVP 0\r\n"
    for wrong in ("", "nonsense", two_streams):
        with pytest.raises(SdpError):
            await bob.incoming.accept(wrong)
    assert call.state is CallState.RINGING and len(alice.of("progress")) == 1
    await bob.incoming.accept()
    await call.wait_for_answer(5)


async def test_an_offer_with_nothing_in_common(systems):
    bob, _, called, _, _ = await deferred(systems)
    offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18\r\n"
    with pytest.raises(SdpError):
        await MediaControl.generate_sdp_answer(called, bob.incoming.id, offer)


async def test_a_late_offer_is_answered_with_ours(systems, peer):
    bob = Recorder(CallDecision.Defer())
    called = await systems.start("bob", bob)
    invite = peer.invite(called.local_address, body="")
    await bob.wait("incoming")
    assert bob.incoming.sdp is None
    offer = await MediaControl.generate_sdp_offer(called, bob.incoming.id)
    await bob.incoming.accept(offer)
    ok = await peer.receive("SIP/2.0 200")
    assert body_of(ok).startswith("v=0")
    peer.follow(invite, "BYE", response=ok, cseq=2)


async def test_media_elsewhere_for_a_late_offer(systems, peer):
    """`Accept.sdp` is an offer where the INVITE has none; no RTP is opened for media that is not here."""
    own = SDP.format(port=41000)
    bob = Recorder(CallDecision.Accept(own, headers={"X-Desk": "7"}))
    called = await systems.start("bob", bob)
    invite = peer.invite(called.local_address, body="")
    ok = await peer.receive("SIP/2.0 200")
    assert body_of(ok).replace("\r\n", "\n") == own and header(ok, "X-Desk") == "7"
    peer.follow(invite, "ACK", response=ok, body=SDP.format(port=41002))
    call, local, remote = await bob.wait("established")
    assert "41000" in local and "41002" in remote
    assert await MediaControl.get_media_statistics(called, call.id) is None
    with pytest.raises(MediaError):
        await MediaControl.play_tone(called, call.id, [440.0], duration=1)


async def test_headers_as_they_came(systems, peer):
    bob = Recorder(CallDecision.Reject("no", status=486, headers={"Retry-After": "7"}))
    called = await systems.start("bob", bob)
    invite = peer.invite(
        called.local_address, headers="s: Compact\nX-Twice: one\nX-Twice: two, three\nUser-Agent: odd\n folded\n"
    )
    refusal = await peer.receive("SIP/2.0 486 no")
    assert "Retry-After: 7" in refusal
    peer.follow(invite, "ACK", response=refusal)
    headers = bob.incoming.headers
    assert headers["Subject"] == "Compact" and headers["x-twice"] == "one, two, three"
    assert bob.incoming.header_values("X-Twice") == ["one", "two, three"]
    assert headers["Call-ID"] and headers["v"] == headers["Via"] and "Contact" in headers
    assert headers["User-Agent"].split() == ["odd", "folded"]
    assert bob.incoming.source == f"127.0.0.1:{peer.port}"


async def test_a_cancel_from_the_wire(systems, peer):
    bob = Recorder(CallDecision.Defer())
    called = await systems.start("bob", bob)
    invite = peer.invite(called.local_address)
    await peer.receive("SIP/2.0 180")
    peer.follow(invite, "CANCEL")
    terminated = await peer.receive("SIP/2.0 487")
    peer.follow(invite, "ACK", response=terminated)
    assert (await bob.wait("ended"))[0].state is CallState.CANCELLED


async def test_redirects_name_their_targets(systems, peer):
    caller = await systems.start("alice")
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
    invite = await peer.receive("INVITE")
    peer.respond(invite, "302 Moved Temporarily", headers="Contact: <sip:a@example.com>;q=0.5, <sip:b@example.com>")
    with pytest.raises(CallRejected) as caught:
        await call.wait_for_answer(5)
    assert caught.value.status == 302
    assert [target for target in caught.value.targets if "example.com" in target] == [
        "sip:a@example.com", "sip:b@example.com",
    ]  # fmt: skip
