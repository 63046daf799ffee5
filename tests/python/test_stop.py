"""Starting and stopping, in any state of calls and handlers."""

import asyncio

import pytest
from support import Recorder, Systems, until

from ringback import (
    BindError,
    BridgeId,
    CallCancelled,
    CallDecision,
    CallFailed,
    CallHandler,
    CallRejected,
    CallState,
    MediaControl,
    NotRunningError,
    Registrar,
    SessionControl,
    SessionId,
    SessionManagerBuilder,
)  # fmt: skip

# What `end_reason` says where `stop` ended the call.
STOPPED = {"hangup", "shutdown"}

EVERY_OPERATION = [
    lambda c, s, b: SessionControl.prepare_outgoing_call(c, "sip:a@example.com", "sip:b@example.com"),
    lambda c, s, b: SessionControl.create_outgoing_call(c, "sip:a@example.com", "sip:b@example.com"),
    lambda c, s, b: SessionControl.send_prepared_call(c, s),
    lambda c, s, b: SessionControl.wait_for_answer(c, s, 1),
    lambda c, s, b: SessionControl.terminate_session(c, s),
    lambda c, s, b: SessionControl.hold_session(c, s),
    lambda c, s, b: SessionControl.resume_session(c, s),
    lambda c, s, b: SessionControl.send_dtmf(c, s, "1"),
    lambda c, s, b: SessionControl.set_audio_muted(c, s, True),
    lambda c, s, b: SessionControl.update_media(c, s),
    lambda c, s, b: SessionControl.list_active_sessions(c),
    lambda c, s, b: MediaControl.generate_sdp_offer(c, s),
    lambda c, s, b: MediaControl.generate_sdp_answer(c, s, "v=0"),
    lambda c, s, b: MediaControl.establish_media_flow(c, s, "127.0.0.1:4000"),
    lambda c, s, b: MediaControl.start_audio_transmission(c, s),
    lambda c, s, b: MediaControl.stop_audio_transmission(c, s),
    lambda c, s, b: MediaControl.get_media_statistics(c, s),
    lambda c, s, b: MediaControl.start_statistics_monitoring(c, s, 1),
    lambda c, s, b: MediaControl.stop_statistics_monitoring(c, s),
    lambda c, s, b: MediaControl.play_tone(c, s, [440.0], duration=1),
    lambda c, s, b: MediaControl.echo(c, s),
    lambda c, s, b: MediaControl.stop_playing(c, s),
    lambda c, s, b: MediaControl.get_media_info(c, s),
    lambda c, s, b: MediaControl.open_audio(c, s),
    lambda c, s, b: c.bridge_sessions(s, s),
    lambda c, s, b: c.destroy_bridge(b),
    lambda c, s, b: c.get_bridge(b),
    lambda c, s, b: c.list_bridges(),
    lambda c, s, b: c.get_session_bridge(s),
]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_operations_need_a_running_coordinator(when):
    coordinator = await Systems.builder("alice").build()
    if when == "after":
        async with coordinator:
            pass
    assert not coordinator.is_running()
    for operation in EVERY_OPERATION:
        with pytest.raises(NotRunningError):
            await operation(coordinator, SessionId(), BridgeId())


async def test_what_goes_on_working_after_stop(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    assert caller.uptime() > 0
    call = await systems.answered(caller, called)
    waiter = asyncio.create_task(call.wait_ended())
    await asyncio.sleep(0)
    address = caller.local_address
    await SessionControl.stop(caller)
    assert await asyncio.wait_for(waiter, 1) == call.end_reason and call.end_reason in STOPPED
    assert not caller.is_running() and caller.local_address == address
    uptime = caller.uptime()
    await asyncio.sleep(0.02)
    assert caller.uptime() == uptime > 0
    assert call.state is CallState.TERMINATED and call.answered_at and call.call_id and call.coordinator is caller
    assert await SessionControl.get_session(caller, call.id) == call
    stats = await SessionControl.get_stats(caller)
    assert (stats.active_sessions, stats.total_sessions) == (0, 1) and stats.uptime == uptime
    assert await call.wait_ended() in STOPPED
    async with call:
        pass
    with pytest.raises(NotRunningError):
        await call.hangup()


async def test_uptime_is_zero_before_the_start():
    coordinator = await Systems.builder("alice").build()
    assert coordinator.uptime() == 0.0
    assert (await SessionControl.get_stats(coordinator)).uptime == 0.0


async def test_starting_and_stopping_twice(systems):
    caller = await systems.start("alice")
    await SessionControl.start(caller)
    await SessionControl.stop(caller)
    await SessionControl.stop(caller)
    unstarted = await Systems.builder("bob").build()
    await SessionControl.stop(unstarted)
    assert not unstarted.is_running()


async def test_a_stopped_coordinator_can_be_started_again(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    address = called.local_address
    for _ in range(3):
        call = await systems.answered(caller, called)
        await SessionControl.stop(called)
        assert await asyncio.wait_for(call.wait_ended(), 2) == "remote hangup"
        await SessionControl.start(called)
        assert called.local_address == address and called.uptime() < 5
    await systems.answered(caller, called)
    assert len(bob.of("incoming")) == 4


async def test_a_port_that_was_taken_meanwhile(systems):
    called = await systems.start("bob", Recorder())
    await SessionControl.stop(called)
    port = int(called.local_address.rpartition(":")[2])
    async with await SessionManagerBuilder().with_local_address("sip:x@127.0.0.1").with_sip_port(port).build():
        with pytest.raises(BindError, match=f"Failed to bind SIP port {port}"):
            await SessionControl.start(called)
        assert not called.is_running()
    await SessionControl.start(called)
    assert called.is_running()


async def test_stop_in_every_state_of_a_call(systems, peer):
    alice, bob = Recorder(), Recorder(lambda call: decisions[call.from_uri.partition(":")[2].partition("@")[0]])
    decisions = {"answered": CallDecision.Accept(), "held": CallDecision.Accept(), "ringing": CallDecision.Defer()}
    decisions["undecided"] = asyncio.Event().wait()
    called, caller = await systems.start("bob", bob), await systems.start("alice", alice)
    calls = {}
    for name in ("answered", "held", "ringing", "undecided"):
        calls[name] = await SessionControl.create_outgoing_call(caller, f"sip:{name}@example.com", called.local_address)
    for name in ("answered", "held"):
        await calls[name].wait_for_answer(5)
    await calls["held"].hold()
    calls["silent"] = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
    calls["prepared"] = await SessionControl.prepare_outgoing_call(caller, caller.local_address, peer.uri)
    calls["unresolved"] = await SessionControl.create_outgoing_call(
        caller, caller.local_address, "sip:x@example.invalid"
    )
    waiters = [asyncio.create_task(call.wait_ended()) for call in calls.values()]
    waiters += [asyncio.create_task(calls[name].wait_for_answer(60)) for name in ("ringing", "silent", "undecided")]
    waiters += [asyncio.create_task(calls["answered"].send_dtmf("1,,,,,,,,,2"))]
    await until(lambda: len(bob.of("incoming")) == 4)

    loop = asyncio.get_running_loop()
    before = loop.time()
    await SessionControl.stop(caller)
    assert loop.time() - before < 2
    assert all(call.state.is_final for call in calls.values()), calls
    _, pending = await asyncio.wait(waiters, timeout=1)
    assert not pending
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert all(isinstance(each, str) for each in results[:7])
    assert all(isinstance(each, CallCancelled | CallFailed | CallRejected) for each in results[7:10]), results
    assert len(alice.of("ended")) == 7
    await until(lambda: len(bob.of("ended")) == 4)


async def test_the_called_side_stops(systems):
    bob = Recorder(lambda call: asyncio.Event().wait() if "undecided" in call.from_uri else decisions.pop(0))
    decisions = [CallDecision.Accept(), CallDecision.Defer()]
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    answered = await systems.answered(caller, called)
    ringing = await systems.call(caller, called)
    undecided = await SessionControl.create_outgoing_call(caller, "sip:undecided@example.com", called.local_address)
    await until(lambda: len(bob.of("incoming")) == 3)
    await SessionControl.stop(called)
    assert await asyncio.wait_for(answered.wait_ended(), 2) == "remote hangup"
    for call in (ringing, undecided):
        with pytest.raises(CallRejected) as caught:
            await call.wait_for_answer(2)
        assert caught.value.status == 503
    assert len(bob.of("ended")) == 3


async def test_a_peer_that_says_nothing_does_not_hold_the_stop(systems, peer):
    caller = await systems.start("alice")
    call = await SessionControl.create_outgoing_call(caller, caller.local_address, peer.uri)
    invite = await peer.receive("INVITE")
    peer.respond(invite, "180 Ringing")
    await until(lambda: call.state is CallState.RINGING)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await SessionControl.stop(caller)
    assert loop.time() - before < 2 and call.state is CallState.CANCELLED
    await peer.receive("CANCEL")


async def test_draining_lets_calls_go_on_and_refuses_new_ones(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    stopping = asyncio.create_task(SessionControl.stop(called, drain=30))
    await asyncio.sleep(0.1)
    assert called.is_running() and call.state is CallState.ACTIVE
    with pytest.raises(CallRejected) as caught:
        await (await systems.call(caller, called)).wait_for_answer(5)
    assert caught.value.status == 503
    await call.send_dtmf("1")
    await bob.wait("dtmf")
    await call.hangup()
    await asyncio.wait_for(stopping, 3)
    assert not called.is_running()


async def test_the_end_of_the_drain_ends_the_calls(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    call = await systems.answered(caller, called)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await SessionControl.stop(called, drain=0.3)
    assert 0.25 < loop.time() - before < 2.3
    assert await asyncio.wait_for(call.wait_ended(), 1) == "remote hangup"


async def test_a_second_stop_cuts_the_drain_short(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    await systems.answered(caller, called)
    draining = asyncio.create_task(SessionControl.stop(called, drain=60))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(SessionControl.stop(called), 2)
    await asyncio.wait_for(draining, 1)


@pytest.mark.parametrize("wrong", [-1, float("nan"), "1", None])
async def test_wrong_drains(systems, wrong):
    caller = await systems.start("alice")
    with pytest.raises((ValueError, TypeError)):
        await SessionControl.stop(caller, drain=wrong)
    assert caller.is_running()


async def test_everybody_may_stop_at_once(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    await systems.answered(caller, called)
    await asyncio.wait_for(asyncio.gather(*(SessionControl.stop(caller) for _ in range(5))), 2)


async def test_a_cancelled_stop_still_stops(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    call = await systems.answered(caller, called)
    stopping = asyncio.create_task(SessionControl.stop(caller))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert await asyncio.wait_for(call.wait_ended(), 2) in STOPPED
    await until(lambda: not caller.is_running(), timeout=2)
    await SessionControl.stop(caller)
    await SessionControl.start(caller)
    await systems.answered(caller, called)


async def test_a_handler_may_stop_its_own_system(systems):
    class Quitter(Recorder):
        async def on_dtmf(self, call, digit, duration_ms):
            await SessionControl.stop(call.coordinator)
            self.events.append(("stopped", ()))

    bob = Quitter()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    sending = asyncio.create_task(call.send_dtmf("0"))
    assert await asyncio.wait_for(call.wait_ended(), 5) == "remote hangup"
    await bob.wait("stopped")
    assert not called.is_running()
    await asyncio.wait({sending})
    sending.exception()


async def test_handlers_that_never_return_are_cancelled(systems):
    outcome = []

    class Forever(Recorder):
        async def on_call_established(self, call, local_sdp, remote_sdp):
            self.events.append(("established", (call, local_sdp, remote_sdp)))
            try:
                await asyncio.Event().wait()
            finally:
                outcome.append("cancelled")

    bob = Forever()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    await systems.answered(caller, called)
    await bob.wait("established")
    before = asyncio.get_running_loop().time()
    await SessionControl.stop(called)
    assert outcome == ["cancelled"] and asyncio.get_running_loop().time() - before < 2


async def test_handlers_of_the_last_events_may_finish(systems):
    written = []

    class Recording(CallHandler):
        def on_incoming_call(self, call):
            return CallDecision.Accept()

        async def on_call_ended(self, call, reason):
            await asyncio.sleep(0.2)
            written.append(reason)

    called, caller = await systems.start("bob", Recording()), await systems.start("alice")
    await systems.answered(caller, called)
    await SessionControl.stop(called)
    assert len(written) == 1 and written[0] in STOPPED


async def test_no_task_or_thread_is_left(systems):
    import threading

    async with Systems() as others:
        called, caller = await others.start("bob", Recorder()), await others.start("alice", Recorder())
        for _ in range(5):
            await others.answered(caller, called)
        tasks, threads = len(asyncio.all_tasks()), threading.active_count()
    await until(lambda: len(asyncio.all_tasks()) <= tasks and threading.active_count() <= threads)


async def slow_start(tmp_path):
    """One that reads a file in a thread of its own."""
    registrar = Registrar(domains=["example.com"], store=str(tmp_path / "bindings.db"))
    return await Systems.builder("pbx").with_registrar(registrar).build()


async def test_a_start_that_is_cancelled_leaves_nothing_running(tmp_path):
    coordinator = await slow_start(tmp_path)
    for _ in range(3):
        starting = asyncio.create_task(SessionControl.start(coordinator))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        # One that comes at once starts anew.
        await asyncio.wait_for(SessionControl.start(coordinator), 5)
        assert coordinator.is_running()
        await coordinator.create_bridge()
        await SessionControl.stop(coordinator)
    starting = asyncio.create_task(SessionControl.start(coordinator))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait((starting,))
    await until(lambda: all("ringback" not in task.get_name() for task in asyncio.all_tasks()))
    assert not coordinator.is_running()


async def test_a_start_that_is_cancelled_when_it_is_done_is_undone(systems):
    coordinator, caller = await Systems.builder("pbx", Recorder()).build(), await systems.start("alice")

    async def serve():
        async with coordinator:
            await asyncio.sleep(10)

    serving = asyncio.create_task(serve())
    await asyncio.sleep(0)
    serving.cancel()
    await asyncio.wait((serving,))
    assert serving.cancelled() and not coordinator.is_running()
    call = await systems.call(caller, coordinator)
    with pytest.raises(CallFailed):
        await call.wait_for_answer(5)


async def test_a_cancelled_start_does_not_stop_what_another_was_told_of():
    coordinator = await Systems.builder("pbx").build()
    tasks = []

    async def first():
        await SessionControl.start(coordinator)
        tasks[1].cancel()

    tasks += [asyncio.create_task(first()), asyncio.create_task(SessionControl.start(coordinator))]
    await asyncio.wait(tasks)
    assert tasks[1].cancelled() and coordinator.is_running()
    starting = asyncio.create_task(SessionControl.start(coordinator))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait((starting,))
    assert coordinator.is_running()
    await SessionControl.stop(coordinator)


async def test_a_start_goes_on_while_one_waits_for_it(tmp_path):
    coordinator = await slow_start(tmp_path)
    first, second = (asyncio.create_task(SessionControl.start(coordinator)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait_for(second, 5)
    assert coordinator.is_running() and first.cancelled()
    await SessionControl.stop(coordinator)


async def test_a_stop_stops_what_is_about_to_start(tmp_path):
    coordinator = await slow_start(tmp_path)
    starting = asyncio.create_task(SessionControl.start(coordinator))
    await asyncio.sleep(0)
    await asyncio.wait_for(SessionControl.stop(coordinator), 5)
    await starting
    assert not coordinator.is_running()
