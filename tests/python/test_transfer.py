"""Transfers: `transfer_session`, `CallSession.transfer`, `on_transfer_request`, and Replaces."""

import asyncio

import pytest
from support import Recorder, until
from support.peer import SDP, body_of, header

from ringback import (
    CallDecision,
    CallHandler,
    CallSession,
    CallState,
    CompositeHandler,
    InvalidState,
    InvalidUri,
    SessionControl,
    TransferFailed,
)


class Willing(Recorder):
    """Lets peers transfer their calls: `answer`, or what it gives for call and target."""

    def __init__(self, answer=True, decision=None):
        super().__init__(decision)
        self.answer = answer

    def on_transfer_request(self, call, target):
        self.events.append(("transfer", (call, target)))
        return self.answer(call, target) if callable(self.answer) else self.answer


async def three(systems, alice=None, carol=None):
    """Alice has a call with Bob, who may send her to Carol."""
    alice, carol = alice or Willing(), carol or Recorder()
    caller = await systems.start("alice", alice)
    bob = Recorder()
    called = await systems.start("bob", bob)
    target = await systems.start("carol", carol)
    call = await systems.answered(caller, called)
    (at_bob, *_) = await bob.wait("established")
    return caller, called, target, call, at_bob


async def ends(*sessions: CallSession) -> None:
    await until(lambda: all(session.state.is_final for session in sessions))


@pytest.mark.parametrize("plain", [True, False])
async def test_blind(systems, plain):
    async def later(call, target):
        await asyncio.sleep(0)
        return True

    alice, carol = Willing(True if plain else later), Recorder()
    caller, _, target, call, at_bob = await three(systems, alice, carol)
    await at_bob.transfer(target.local_address)
    assert (at_bob.state, at_bob.end_reason) == (CallState.TERMINATED, "transferred")
    await ends(call)
    assert alice.of("transfer") == [(call, target.local_address)]
    (at_carol, *_) = await carol.wait("established")
    [new] = await SessionControl.list_active_sessions(caller)
    assert new != call.id and at_carol.from_uri == call.from_uri
    states = [new for _, _, new in alice.of("state") if _ is not None]
    assert CallState.TRANSFERRING in states


async def test_attended(systems):
    carol = Recorder()
    caller, called, target, call, at_bob = await three(systems, carol=carol)
    consult = await systems.answered(called, target)
    (at_carol, *_) = await carol.wait("established")
    await SessionControl.transfer_session(called, at_bob.id, consult.id)
    await ends(call, at_bob, consult, at_carol)
    assert (at_bob.end_reason, at_carol.end_reason) == ("transferred", "replaced")
    assert len(carol.of("incoming")) == 1, "the call that replaces asks nobody"
    (new, *_) = await carol.wait("established", 2)
    assert new.state is CallState.ACTIVE and new.from_uri == call.from_uri
    assert await SessionControl.list_active_sessions(called) == []
    assert len(await SessionControl.list_active_sessions(caller)) == 1


async def test_the_target_refuses(systems):
    carol = Recorder(CallDecision.Reject("Busy", status=486))
    _, called, target, call, at_bob = await three(systems, carol=carol)
    await at_bob.hold()
    task = asyncio.create_task(at_bob.transfer(target.local_address))
    await until(lambda: at_bob.state is CallState.TRANSFERRING or task.done())
    with pytest.raises(TransferFailed, match="486 Busy") as caught:
        await task
    assert caught.value.status == 486
    assert at_bob.state is CallState.ON_HOLD
    await until(lambda: call.state is CallState.ACTIVE)
    await at_bob.resume()
    await SessionControl.terminate_session(called, at_bob.id)
    await ends(call)


def broken(call, target):
    raise RuntimeError("no")


async def late_and_broken(call, target):
    raise RuntimeError("no")


@pytest.mark.parametrize("answer", [False, None, "yes", broken, late_and_broken, lambda *_: asyncio.sleep(0)])
async def test_whoever_does_not_want_to_is_left_alone(systems, answer):
    alice = Willing(answer)
    _, _, target, call, at_bob = await three(systems, alice)
    with pytest.raises(TransferFailed) as caught:
        await at_bob.transfer(target.local_address)
    assert caught.value.status == 603
    assert call.state is at_bob.state is CallState.ACTIVE
    if answer not in (False, None) and answer not in (broken, late_and_broken) and not isinstance(answer, str):
        assert alice.of("error") == []
    elif answer in (broken, late_and_broken, "yes"):
        (about, error) = await alice.wait("error")
        assert about == call and isinstance(error, RuntimeError | TypeError)


async def test_without_the_method_it_is_refused(systems):
    _, _, target, call, at_bob = await three(systems, Recorder())
    with pytest.raises(TransferFailed, match="603"):
        await at_bob.transfer(target.local_address)
    assert call.state is CallState.ACTIVE


async def test_handlers_of_handlers(systems):
    first, second, third = Willing(False), Willing(lambda *_: asyncio.sleep(0, True)), Willing(True)
    alice = CompositeHandler(first, second, third)
    _, _, target, call, at_bob = await three(systems, alice)
    await at_bob.transfer(target.local_address)
    await ends(call)
    assert [len(handler.of("transfer")) for handler in (first, second, third)] == [1, 1, 0]


async def test_bad_input(systems):
    _, called, target, _, at_bob = await three(systems)
    with pytest.raises(InvalidUri):
        await at_bob.transfer("nonsense")
    with pytest.raises(TypeError):
        await at_bob.transfer(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        await at_bob.transfer(at_bob.id)
    await at_bob.hangup()
    with pytest.raises(InvalidState):
        await at_bob.transfer(target.local_address)
    assert called.is_running()


async def test_a_phone_is_referred(systems, peer):
    """The wire: REFER, 202, NOTIFY to the end, BYE."""
    bob = Recorder()
    called = await systems.start("bob", bob)
    invite, answer = await peer.call(called.local_address)
    (session, *_) = await bob.wait("established")
    task = asyncio.create_task(session.transfer("sip:carol@example.com"))
    refer = await peer.receive("REFER ")
    assert header(refer, "Refer-To") == "<sip:carol@example.com>"
    assert header(refer, "Referred-By") == f"<{called.local_address}>"
    assert "Contact: " in refer
    peer.respond(refer, "202 Accepted")
    notify = peer.follow(invite, "NOTIFY", response=answer, cseq=2)
    refused = await peer.receive("SIP/2.0 489")
    assert header(refused, "Call-ID") == header(notify, "Call-ID")
    assert session.state is CallState.TRANSFERRING
    await SessionControl.terminate_session(called, session.id)
    await peer.receive("BYE ")
    with pytest.raises(TransferFailed, match="hangup"):
        await task


@pytest.mark.parametrize("taken", [True, False], ids=["after the 202", "before it"])
async def test_a_phone_that_hangs_up_before_it_tells_the_outcome(systems, peer, taken):
    """One that has taken the REFER has gone to the target; one that has not has just hung up."""
    bob = Recorder()
    called = await systems.start("bob", bob)
    invite, answer = await peer.call(called.local_address)
    (session, *_) = await bob.wait("established")
    task = asyncio.create_task(session.transfer("sip:carol@example.com"))
    refer = await peer.receive("REFER ")
    if taken:
        peer.respond(refer, "202 Accepted")
    peer.follow(invite, "BYE", response=answer, cseq=2)
    if taken:
        await asyncio.wait_for(task, 5)
    else:
        with pytest.raises(TransferFailed, match="remote hangup"):
            await asyncio.wait_for(task, 5)
    assert (session.state, session.end_reason) == (CallState.TERMINATED, "remote hangup")
    with pytest.raises(InvalidState):
        await session.transfer("sip:carol@example.com")


async def test_a_call_that_is_over_cannot_be_replaced(systems, peer):
    bob = Recorder()
    called = await systems.start("bob", bob)
    _, answer = await peer.call(called.local_address)
    (old, *_) = await bob.wait("established")
    await old.hangup()
    peer.respond(await peer.receive("BYE "), "200 OK")
    tag = header(answer, "To").partition("tag=")[2]
    for from_tag, status in [(peer.tag, 603), ("x", 481)]:
        late = peer.invite(called.local_address, headers=f"Replaces: {old.call_id};to-tag={tag};from-tag={from_tag}")
        peer.follow(late, "ACK", response=await peer.receive(f"SIP/2.0 {status}"))


async def test_a_phone_refers_us(systems, peer):
    bob, carol = Willing(), Recorder(CallDecision.Defer())
    called, target = await systems.start("bob", bob), await systems.start("carol", carol)
    invite, answer = await peer.call(called.local_address)
    (session, *_) = await bob.wait("established")
    refer = peer.follow(invite, "REFER", response=answer, cseq=2)
    assert "SIP/2.0 400" in await peer.receive("SIP/2.0 400"), "it has no Refer-To"
    refer = refer.replace("CSeq: 2", "CSeq: 3").replace("z9hG4bK", "z9hG4bK1")
    peer.send(refer.replace("Max-Forwards", f"Refer-To: {target.local_address}\r\nMax-Forwards"))
    await peer.receive("SIP/2.0 202")
    told = []
    for _ in range(2):
        notify = await peer.receive("NOTIFY ")
        told.append((header(notify, "Subscription-State"), body_of(notify)))
        peer.respond(notify, "200 OK")
    assert told == [("active;expires=300", "SIP/2.0 100 Trying\r\n"), ("active;expires=300", "SIP/2.0 180 Ringing\r\n")]
    assert session.state is CallState.TRANSFERRING
    await carol.incoming.accept()
    notify = await peer.receive("NOTIFY ")
    assert (header(notify, "Subscription-State"), body_of(notify)) == (
        "terminated;reason=noresource",
        "SIP/2.0 200 OK\r\n",
    )
    assert not session.state.is_final, "it ends when that has arrived"
    peer.respond(notify, "200 OK")
    peer.respond(await peer.receive("BYE "), "200 OK")
    assert session.end_reason == "transferred"


async def test_a_replaced_call_and_its_bridge(systems, peer):
    """An INVITE with Replaces takes the place of a bridged call."""
    bob = Recorder()
    called, other = await systems.start("bob", bob), await systems.start("alice", Recorder())
    _, answer = await peer.call(called.local_address)
    (old, *_) = await bob.wait("established")
    partner = await systems.answered(called, other)
    await called.bridge_sessions(old.id, partner.id)
    tag = header(answer, "To").partition("tag=")[2]
    wrong = peer.invite(called.local_address, headers=f"Replaces: {old.call_id};to-tag={tag};from-tag=x")
    peer.follow(wrong, "ACK", response=await peer.receive("SIP/2.0 481"))
    replaces = f"Replaces: {old.call_id};to-tag={tag};from-tag={peer.tag}\r\nRequire: replaces"
    second = peer.invite(called.local_address, headers=replaces, body=SDP.format(port=40002))
    peer.follow(second, "ACK", response=await peer.receive("SIP/2.0 200"))
    peer.respond(await peer.receive("BYE "), "200 OK")
    assert old.end_reason == "replaced"
    (new, *_) = await bob.wait("established", 3)
    bridge = await called.get_session_bridge(new.id)
    assert bridge is not None and bridge == await called.get_session_bridge(partner.id)


def test_defaults():
    assert CallHandler().on_transfer_request(None, "sip:a@b") is False  # type: ignore[arg-type]
