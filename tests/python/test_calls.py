"""Calls between two systems, from both sides: `CallSession`, `SessionControl`, the order of events."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from support import Recorder, media_ports, until

from ringback import (
    CallCancelled,
    CallDecision,
    CallDirection,
    CallFailed,
    CallRejected,
    CallSession,
    CallState,
    InvalidHeader,
    InvalidState,
    InvalidUri,
    ResourceExhausted,
    SdpError,
    SessionControl,
    SessionId,
    SessionNotFound,
    _ringback,
)  # fmt: skip
from ringback.control import _created


async def test_a_call_from_start_to_end(systems):
    bob, alice = Recorder(), Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice", alice)
    before = datetime.now(UTC)
    call = await SessionControl.create_outgoing_call(caller, '"Alice" <sip:alice@example.com>', called.local_address)
    assert isinstance(call, CallSession)
    assert (call.direction, call.end_reason) == (CallDirection.OUTGOING, None)
    assert (call.from_uri, call.to_uri) == ("sip:alice@example.com", called.local_address)
    assert call.coordinator is caller and before - timedelta(seconds=1) < call.started_at < before + timedelta(
        seconds=5
    )
    assert (call.remote_hold, call.peer_id) == (False, None) and call.call_id

    await call.wait_for_answer(5)
    assert call.state is CallState.ACTIVE and call.started_at <= call.answered_at
    await bob.wait("established")
    incoming = bob.incoming
    assert (incoming.from_uri, incoming.to_uri, incoming.from_name) == (call.from_uri, call.to_uri, "Alice")
    assert incoming.sdp.startswith("v=0") and incoming.source.startswith("127.0.0.1:")
    assert incoming.headers["Call-ID"] == call.call_id and incoming.transport == "udp"
    established = (await alice.wait("established")), (await bob.wait("established"))
    assert established[0][1:] == tuple(reversed(established[1][1:]))

    await call.hangup()
    assert (call.state, call.end_reason, await call.wait_ended()) == (CallState.TERMINATED, "hangup", "hangup")
    assert await bob.wait("ended") == (established[1][0], "remote hangup")
    assert await alice.wait("ended") == (call, "hangup")
    assert [name for name in alice.names if name != "progress"] == ["state", "established", "state", "ended"]
    assert bob.names == ["incoming", "state", "established", "state", "ended"]
    assert [event[1:] for event in bob.of("state")] == [
        (CallState.INITIATING, CallState.ACTIVE), (CallState.ACTIVE, CallState.TERMINATED),
    ]  # fmt: skip


async def test_the_called_side_hangs_up(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    waiter = asyncio.create_task(call.wait_ended())
    session = (await bob.wait("established"))[0]
    assert session.direction is CallDirection.INCOMING
    await session.hangup("shop closes")
    assert session.end_reason == "shop closes"
    assert await asyncio.wait_for(waiter, 5) == call.end_reason == "remote hangup"


async def test_handles_of_one_call_are_equal(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    again = await SessionControl.get_session(caller, call.id)
    assert again == call and again is not call and hash(again) == hash(call) and {call, again} == {call}
    assert call != (await bob.wait("established"))[0] and call != call.id
    assert str(call.id) in repr(call)
    with pytest.raises(AttributeError):
        call.state = CallState.FAILED
    with pytest.raises(TypeError):
        CallSession()


async def test_refusals_have_status_and_reason(systems):
    bob, alice = Recorder(CallDecision.Reject("Gone fishing", status=486)), Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice", alice)
    call = await systems.call(caller, called)
    with pytest.raises(CallRejected) as caught:
        await call.wait_for_answer(5)
    assert (caught.value.status, caught.value.reason, tuple(caught.value.targets)) == (486, "Gone fishing", ())
    assert (call.state, call.end_reason) == (CallState.REJECTED, "rejected 486 Gone fishing")
    assert (await bob.wait("ended"))[0].state is CallState.REJECTED
    assert (await alice.wait("ended"))[1] == "rejected 486 Gone fishing"
    with pytest.raises(CallRejected):
        await call.wait_for_answer(5)


async def test_none_and_no_handler_are_480(systems):
    undecided = await systems.start("bob", Recorder(lambda call: None))
    nobody = await systems.start("carol")
    caller = await systems.start("alice")
    for called in (undecided, nobody):
        with pytest.raises(CallRejected) as caught:
            await (await systems.call(caller, called)).wait_for_answer(5)
        assert caught.value.status == 480
    assert (await SessionControl.get_stats(nobody)).total_sessions == 0


async def test_a_call_is_cancelled_while_it_rings(systems):
    bob, alice = Recorder(CallDecision.Defer()), Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice", alice)
    call = await systems.call(caller, called)
    assert (await alice.wait("progress"))[1] == 180
    assert call.state is CallState.RINGING
    waiter = asyncio.create_task(call.wait_for_answer(10))
    await asyncio.sleep(0)
    await SessionControl.terminate_session(caller, call.id)
    assert (call.state, call.end_reason) == (CallState.CANCELLED, "cancelled")
    with pytest.raises(CallCancelled):
        await asyncio.wait_for(waiter, 5)
    assert (await bob.wait("ended"))[0].state is CallState.CANCELLED
    assert await SessionControl.list_active_sessions(caller) == []


async def test_on_return_of_terminate_the_call_is_gone(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    call = await systems.answered(caller, called)
    assert await SessionControl.list_active_sessions(caller) == [call.id]
    await SessionControl.terminate_session(caller, call.id, "enough")
    assert call.state.is_final and call.end_reason == "enough"
    assert await SessionControl.list_active_sessions(caller) == []
    assert (await SessionControl.get_stats(caller)).active_sessions == 0
    await SessionControl.terminate_session(caller, call.id)
    await call.hangup()
    assert call.end_reason == "enough"


async def test_ended_calls_stay_known(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    call = await systems.answered(caller, called)
    await call.hangup()
    found = await SessionControl.get_session(caller, call.id)
    assert found == call and found.end_reason == "hangup"
    assert await SessionControl.get_session(caller, SessionId()) is None


async def test_statistics_of_calls(systems):
    bob = Recorder(lambda call: CallDecision.Accept() if "yes" in call.from_uri else CallDecision.Reject("no"))
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    assert (await SessionControl.get_stats(caller)).average_duration is None
    kept = await SessionControl.create_outgoing_call(caller, "sip:yes@example.com", called.local_address)
    await kept.wait_for_answer(5)
    short = await SessionControl.create_outgoing_call(caller, "sip:yes@example.com", called.local_address)
    await short.wait_for_answer(5)
    await short.hangup()
    refused = await SessionControl.create_outgoing_call(caller, "sip:x@example.com", called.local_address)
    with pytest.raises(CallRejected):
        await refused.wait_for_answer(5)
    failed = await SessionControl.create_outgoing_call(caller, "sip:x@example.com", "sip:x@no-such-host.invalid")
    with pytest.raises(CallFailed):
        await failed.wait_for_answer(10)
    stats = await SessionControl.get_stats(caller)
    assert (stats.active_sessions, stats.total_sessions, stats.failed_sessions) == (1, 4, 1)
    assert 0 < stats.average_duration < 5 and 0 < stats.uptime < 60


async def test_a_call_to_nowhere_fails(systems):
    alice = Recorder()
    caller = await systems.start("alice", alice)
    call = await SessionControl.create_outgoing_call(caller, "sip:a@example.com", "sip:x@no-such-host.invalid")
    with pytest.raises(CallFailed) as caught:
        await call.wait_for_answer(10)
    assert caught.value.cause and call.state is CallState.FAILED
    assert (await alice.wait("ended"))[0] == call and call.end_reason


async def test_wrong_uris_and_headers_are_told_before_anything_is_sent(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    for wrong in ("", "bob", "sip:", "tel:+49123", "sip:bob@host\r\nX: y", "<sip:bob@host"):
        with pytest.raises(InvalidUri) as caught:
            await SessionControl.create_outgoing_call(caller, caller.local_address, wrong)
        assert caught.value.uri == wrong
    with pytest.raises(InvalidUri):
        await SessionControl.create_outgoing_call(caller, "not a uri", called.local_address)
    for headers in ({"X-A": "b\r\nInjected: yes"}, {"X A": "b"}, {"Via": "b"}, {"X": "a\0b"}, {"": "x"}):
        with pytest.raises(InvalidHeader):
            await systems.call(caller, called, headers=headers)
    with pytest.raises(TypeError):
        await systems.call(caller, called, headers={"X": 1})
    with pytest.raises(TypeError):
        await SessionControl.create_outgoing_call(caller, None, called.local_address)
    with pytest.raises(SdpError):
        await systems.call(caller, called, sdp="this is no SDP")
    assert (await SessionControl.get_stats(caller)).total_sessions == 0


async def test_headers_arrive(systems):
    bob = Recorder(CallDecision.Accept(headers={"X-Answer": "42"}))
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.call(caller, called, headers={"X-Account": "7; a=b", "Subject": "Über"})
    await call.wait_for_answer(5)
    assert bob.incoming.headers["x-account"] == "7; a=b" and bob.incoming.headers["s"] == "Über"


async def test_an_unknown_session_is_not_found(systems):
    caller = await systems.start("alice")
    stranger = SessionId()
    for operation in (
        SessionControl.terminate_session(caller, stranger),
        SessionControl.hold_session(caller, stranger),
        SessionControl.wait_for_answer(caller, stranger, 1),
        SessionControl.send_dtmf(caller, stranger, "1"),
        SessionControl.send_prepared_call(caller, stranger),
    ):
        with pytest.raises(SessionNotFound) as caught:
            await operation
        assert caught.value.session_id == stranger
    with pytest.raises(TypeError):
        await SessionControl.hold_session(caller, str(stranger))


async def test_the_handle_of_a_call_that_the_system_has_forgotten_still_says_that_it_is_over(systems, monkeypatch):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    call = await systems.answered(caller, called)
    await call.hangup()
    # A minute after its end the system knows a call no more; another one never did.
    monkeypatch.setattr(CallSession, "_coordinator", called)
    with pytest.raises(SessionNotFound):
        await SessionControl.terminate_session(called, call.id)
    await call.hangup("again")
    for operation in (call.hold(), call.resume(), call.transfer("sip:a@example.com"), call.send_dtmf("1")):
        with pytest.raises(InvalidState) as caught:
            await operation
        assert caught.value.state is CallState.TERMINATED
    await call.wait_for_answer(1)
    assert await call.wait_ended() == "hangup"


async def test_what_does_not_fit_the_state_is_told(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.call(caller, called)
    with pytest.raises(InvalidState) as caught:
        await call.hold()
    assert caught.value.state in (CallState.INITIATING, CallState.RINGING)
    await call.hangup()
    with pytest.raises(InvalidState) as caught:
        await call.resume()
    assert caught.value.state is CallState.CANCELLED


async def test_too_many_calls(systems):
    limited = lambda builder: builder.with_max_sessions(2)  # noqa: E731
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice", None, limited)
    for _ in range(2):
        await systems.answered(caller, called)
    with pytest.raises(ResourceExhausted, match="Maximum sessions reached"):
        await systems.call(caller, called)
    small = await systems.start("carol", Recorder(), limited)
    many = await systems.start("dave")
    for _ in range(2):
        await systems.answered(many, small)
    with pytest.raises(CallRejected) as caught:
        await (await systems.call(many, small)).wait_for_answer(5)
    assert caught.value.status == 503


async def test_no_media_port_is_left(systems):
    def one_pair(builder):
        return builder.with_media_ports(*media_ports(1))

    called, caller = await systems.start("bob", Recorder()), await systems.start("alice", None, one_pair)
    call = await systems.answered(caller, called)
    with pytest.raises(ResourceExhausted, match="No available RTP ports"):
        await systems.call(caller, called)
    await call.hangup()
    other = await systems.start("carol", Recorder(), one_pair)
    many = await systems.start("dave")
    await systems.answered(many, other)
    with pytest.raises(CallRejected) as caught:
        await (await systems.call(many, other)).wait_for_answer(5)
    assert caught.value.status == 503


async def test_a_prepared_call_sends_nothing_until_it_is_told(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await SessionControl.prepare_outgoing_call(
        caller, caller.local_address, called.local_address, headers={"X-Prepared": "yes"}
    )
    assert call.state is CallState.INITIATING
    await asyncio.sleep(0.1)
    assert bob.events == [] and await SessionControl.list_active_sessions(caller) == [call.id]
    await SessionControl.send_prepared_call(caller, call.id)
    await call.wait_for_answer(5)
    assert bob.incoming.headers["X-Prepared"] == "yes"
    with pytest.raises(InvalidState):
        await SessionControl.send_prepared_call(caller, call.id)


async def test_a_prepared_call_can_be_given_up(systems):
    alice = Recorder()
    caller = await systems.start("alice", alice)
    call = await SessionControl.prepare_outgoing_call(caller, caller.local_address, "sip:x@127.0.0.1:9")
    await call.hangup()
    assert call.state is CallState.CANCELLED
    assert (await alice.wait("ended"))[0] == call


async def test_a_new_call_is_initiating_for_whoever_awaits_it(systems):
    bob, alice = Recorder(), Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice", alice)
    for _ in range(20):
        call = await systems.call(caller, called)
        assert call.state is CallState.INITIATING
        time.sleep(0.002)  # noqa: ASYNC251 - the engine's threads have all the time they need
        assert call.state is CallState.INITIATING and alice.of("progress") == []
        await call.wait_for_answer(5)
        await call.hangup()
    await alice.wait("ended", 20)


async def test_a_call_hung_up_at_once_is_never_sent(systems, peer):
    alice = Recorder()
    caller = await systems.start("alice", alice)
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
    await call.hangup()
    assert (call.state, call.end_reason) == (CallState.CANCELLED, "cancelled")
    assert (await alice.wait("ended"))[0] == call
    # What had been sent would be there before what is sent now.
    reply = asyncio.create_task(SessionControl.send_options(caller, peer.uri))
    assert (await peer.receive("")).startswith("OPTIONS")
    reply.cancel()


async def test_creating_a_call_may_be_cancelled_at_any_point(systems, peer):
    caller = await systems.start("alice")
    creating = lambda: SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)  # noqa: E731
    task = asyncio.create_task(creating())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The answer is there, and the task has not gone on yet.
    future = _ringback.create_call(caller, caller.local_address, peer.uri, None, None, True)
    task = asyncio.create_task(_created(caller, future))
    future.add_done_callback(lambda _: task.cancel())
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not _ringback.list_active(caller))
    assert (await SessionControl.get_stats(caller)).total_sessions == 2
    reply = asyncio.create_task(SessionControl.send_options(caller, peer.uri))
    assert (await peer.receive("")).startswith("OPTIONS"), "no INVITE was sent"
    reply.cancel()


async def test_a_stop_ends_a_call_that_has_not_gone_out(systems, peer):
    alice = Recorder()
    caller = await systems.start("alice", alice)
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
    await SessionControl.stop(caller)
    assert call.state is CallState.CANCELLED and (await alice.wait("ended"))[0] == call


async def test_the_session_guard_hangs_up(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    with pytest.raises(RuntimeError, match="oops"):
        async with await systems.call(caller, called) as call:
            await call.wait_for_answer(5)
            raise RuntimeError("oops")
    assert call.state is CallState.TERMINATED
    async with await systems.answered(caller, called) as call:
        await call.hangup("by hand")
    assert call.end_reason == "by hand"
    await bob.wait("ended", 2)


async def test_a_call_lives_no_longer_than_allowed(systems):
    bob = Recorder()
    called = await systems.start("bob", bob, lambda builder: builder.with_session_timeout(0.2))
    caller = await systems.start("alice")
    call = await systems.answered(caller, called)
    assert await asyncio.wait_for(call.wait_ended(), 5) == "remote hangup"
    assert (await bob.wait("ended"))[1] == "timeout"


async def test_a_call_nobody_answers_in_time(systems):
    bob = Recorder(lambda call: asyncio.Event().wait())
    called = await systems.start("bob", bob, lambda builder: builder.with_answer_timeout(timedelta(milliseconds=200)))
    caller = await systems.start("alice")
    call = await systems.call(caller, called)
    with pytest.raises(CallRejected) as caught:
        await call.wait_for_answer(5)
    assert caught.value.status == 480
    assert (await bob.wait("ended"))[0].state is CallState.REJECTED


async def test_calls_over_tcp(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await SessionControl.create_outgoing_call(
        caller, caller.local_address, called.local_address + ";transport=tcp"
    )
    await call.wait_for_answer(5)
    assert bob.incoming.transport == "tcp"
    await call.hangup()
    assert (await bob.wait("ended"))[1] == "remote hangup"


async def test_many_calls_at_once(systems):
    bob, alice = Recorder(), Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice", alice)

    async def one():
        async with await systems.call(caller, called) as call:
            await call.wait_for_answer(20)
            await asyncio.sleep(0.05)
        return call

    calls = await asyncio.gather(*(one() for _ in range(200)))
    assert {call.end_reason for call in calls} == {"hangup"}
    await until(lambda: len(bob.of("ended")) == 200 and len(alice.of("ended")) == 200)
    for events in (bob, alice):
        for session in {event[0] for event in events.of("established")}:
            mine = [name for name, arguments in events.events if arguments[0] == session and name != "progress"]
            assert mine == ["state", "established", "state", "ended"]
    stats = await SessionControl.get_stats(called)
    assert (stats.active_sessions, stats.total_sessions, stats.failed_sessions) == (0, 200, 0)


async def test_counters_have_changed_before_the_end_is_told(systems):
    seen = []

    class Watch(Recorder):
        def on_call_ended(self, call, reason):
            seen.append(asyncio.create_task(self.look(call)))

        async def look(self, call):
            stats = await SessionControl.get_stats(call.coordinator)
            return stats.active_sessions, await SessionControl.list_active_sessions(call.coordinator), call.state

    called, caller = await systems.start("bob", Watch()), await systems.start("alice")
    call = await systems.answered(caller, called)
    await call.hangup()
    await until(lambda: seen)
    assert await seen[0] == (0, [], CallState.TERMINATED)


async def test_several_systems_on_one_loop(systems):
    everyone = [await systems.start(f"user{i}", Recorder()) for i in range(5)]
    calls = [
        await systems.answered(caller, called) for caller in everyone for called in everyone if caller is not called
    ]
    assert all(call.state is CallState.ACTIVE for call in calls)
    assert [len(await SessionControl.list_active_sessions(each)) for each in everyone] == [8] * 5
