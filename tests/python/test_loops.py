"""Other loops than asyncio's own, other loops than the coordinator's, loops that go away; and all of it on uvloop."""

import asyncio
import threading

import pytest
import uvloop
from support import Recorder, Systems, until
from support.tones import listen, sine, strongest

from ringback import CallDecision, CallHandler, CallState, MediaControl, NotRunningError, SessionControl


class NoReaders(asyncio.SelectorEventLoop):
    """Like the loops of Windows and some frameworks."""

    def add_reader(self, fd, callback, *args):
        raise NotImplementedError

    def remove_reader(self, fd):
        raise NotImplementedError


LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop, NoReaders]


async def scenario():
    """A bit of everything."""
    bob, alice = Recorder(), Recorder()
    async with Systems() as systems:
        called, caller = await systems.start("bob", bob), await systems.start("alice", alice)
        calls = await asyncio.gather(*(systems.answered(caller, called) for _ in range(20)))
        call = calls[0]
        # The called side is told when the ACK is there.
        await until(lambda: len(bob.of("established")) == 20)
        other = next(event[0] for event in bob.of("established") if event[0].call_id == call.call_id)
        await call.hold()
        await call.resume()
        await call.send_dtmf("1")
        await bob.wait("dtmf")
        talk = await MediaControl.open_audio(caller, call.id, sample_rate=8000)
        hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
        await talk.write(sine(1000, 0.5, 8000))
        assert abs(strongest(await asyncio.wait_for(listen(hear, 0.3), 5), 8000) - 1000) < 20
        waiter = asyncio.create_task(calls[1].wait_ended())
        await asyncio.gather(*(each.hangup() for each in calls[:10]))
        assert await asyncio.wait_for(waiter, 5) == "hangup"
        await until(lambda: len(bob.of("ended")) == 10)
        await SessionControl.stop(caller)
        await SessionControl.start(caller)
        await systems.answered(caller, called)
    assert len(bob.of("ended")) == 21


@pytest.mark.parametrize("factory", LOOPS, ids=["asyncio", "uvloop", "without readers"])
@pytest.mark.parametrize("debug", [False, True])
def test_every_loop(factory, debug):
    threads = threading.active_count()
    with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
        runner.run(asyncio.wait_for(scenario(), 50))
    assert threading.active_count() <= threads


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="3.12 and up")
def test_eager_task_factory():
    async def eager():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await scenario()

    asyncio.run(asyncio.wait_for(eager(), 50))


def test_a_task_factory_of_the_programs_own_makes_the_handlers_tasks():
    made = []

    def make(loop, coroutine, **keywords):
        made.append(getattr(coroutine, "__qualname__", ""))
        return asyncio.Task(coroutine, loop=loop, **keywords)

    async def main():
        asyncio.get_running_loop().set_task_factory(make)
        await scenario()

    asyncio.run(main())
    assert "Recorder.on_incoming_call" in made and "Recorder.on_call_established" in made


async def test_operations_may_be_awaited_on_another_loop(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")

    async def elsewhere():
        call = await systems.call(caller, called)
        await until(lambda: bob.of("incoming"))
        accepting = asyncio.create_task(SessionControl.accept_incoming_call(called, bob.incoming))
        await call.wait_for_answer(5)
        await accepting
        ended = asyncio.create_task(call.wait_ended())
        await call.hangup()
        return await asyncio.wait_for(ended, 5)

    assert await asyncio.to_thread(asyncio.run, elsewhere()) == "hangup"
    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, SessionControl.start(called))
    assert called.is_running()


def test_a_coordinator_moves_on_when_its_loop_was_closed():
    bob = Recorder()
    loop = asyncio.new_event_loop()
    called = loop.run_until_complete(Systems.builder("bob", bob).build())
    loop.run_until_complete(SessionControl.start(called))
    caller = loop.run_until_complete(Systems.builder("alice").build())
    loop.run_until_complete(SessionControl.start(caller))
    call = loop.run_until_complete(
        SessionControl.create_outgoing_call(caller, caller.local_address, called.local_address)
    )
    loop.run_until_complete(call.wait_for_answer(5))
    # A handler that the loop has started and not stepped would be left behind for ever.
    loop.run_until_complete(bob.wait("established"))
    loop.close()

    async def later():
        assert caller.is_running() and call.state is CallState.ACTIVE
        await SessionControl.start(called)
        await SessionControl.stop(caller)
        await SessionControl.stop(called)
        assert call.state is CallState.TERMINATED
        with pytest.raises(NotRunningError):
            await call.hold()
        await bob.wait("ended")

    asyncio.run(later())


def test_futures_of_a_closed_loop_do_no_harm():
    async def leave(caller, called):
        task = asyncio.create_task(
            SessionControl.create_outgoing_call(caller, caller.local_address, called.local_address)
        )
        await asyncio.sleep(0)
        del task

    async def main():
        async with Systems() as systems:
            called, caller = await systems.start("bob", Recorder(CallDecision.Defer())), await systems.start("alice")
            for _ in range(10):
                await asyncio.to_thread(asyncio.run, leave(caller, called))
            await systems.call(caller, called)
            await until(lambda: True)

    asyncio.run(main())


@pytest.mark.parametrize("factory", LOOPS, ids=["asyncio", "uvloop", "without readers"])
def test_keyboard_interrupt_in_a_handler_reaches_the_program(factory):
    ended = []

    class Interrupting(CallHandler):
        def on_incoming_call(self, call):
            raise KeyboardInterrupt

    class Watch(CallHandler):
        def on_call_ended(self, call, reason):
            ended.append(reason)

    async def main():
        async with Systems() as systems:
            called, caller = await systems.start("bob", Interrupting()), await systems.start("alice", Watch())
            await systems.call(caller, called)
            await asyncio.sleep(5)

    with pytest.raises(KeyboardInterrupt), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert ended


async def test_stop_may_be_awaited_on_another_loop(systems):
    coordinator = await systems.start("bob", Recorder())

    def elsewhere():
        asyncio.run(asyncio.wait_for(SessionControl.stop(coordinator, drain=0.1), 5))
        return coordinator.is_running()

    assert not await asyncio.to_thread(elsewhere)
    await SessionControl.start(coordinator)


def test_what_is_asked_while_the_loop_is_gone_is_refused():
    with asyncio.Runner() as runner:
        coordinator = runner.run(Systems.builder("bob", Recorder()).build())
        runner.run(SessionControl.start(coordinator))

    async def later():
        for operation in (
            SessionControl.create_outgoing_call(coordinator, "sip:a@b", "sip:c@127.0.0.1:9"),
            coordinator.create_bridge(),
            SessionControl.send_options(coordinator, "sip:127.0.0.1:9"),
        ):
            with pytest.raises(NotRunningError, match=r"loop .* is closed"):
                await asyncio.wait_for(operation, 5)
        await SessionControl.start(coordinator)
        await coordinator.create_bridge()
        await SessionControl.stop(coordinator)

    asyncio.run(later())
