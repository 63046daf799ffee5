"""`wait_for_answer` and `wait_ended`, and what becomes of those who wait."""

import asyncio
import gc
import weakref
from datetime import timedelta

import pytest
from support import Recorder, until

from ringback import AnswerTimeout, CallDecision, CallHandler, CallRejected, CallState, SessionControl


async def test_a_timeout_leaves_the_call_ringing(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.call(caller, called)
    with pytest.raises(AnswerTimeout) as caught:
        await call.wait_for_answer(0.15)
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(AnswerTimeout):
        await call.wait_for_answer(timedelta(0))
    with pytest.raises(AnswerTimeout):
        await SessionControl.wait_for_answer(caller, call.id, -1)
    assert call.state is CallState.RINGING
    await bob.incoming.accept()
    await call.wait_for_answer(5)
    assert call.state is CallState.ACTIVE


async def test_whoever_was_answered_once_returns_at_once(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    call = await systems.answered(caller, called)
    await call.hangup()
    await call.wait_for_answer(0)
    assert await SessionControl.wait_for_answer(caller, call.id, 0) == call


async def test_the_called_side_waits_too(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    await systems.call(caller, called)
    await bob.wait("incoming")
    session = await SessionControl.get_session(called, bob.incoming.id)
    waiter = asyncio.create_task(session.wait_for_answer(5))
    await asyncio.sleep(0)
    await bob.incoming.accept()
    await waiter


async def test_many_wait_for_one(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.call(caller, called)
    answer = [asyncio.create_task(call.wait_for_answer(5)) for _ in range(5)]
    end = [asyncio.create_task(call.wait_ended()) for _ in range(5)]
    await bob.wait("incoming")
    await bob.incoming.accept()
    await asyncio.gather(*answer)
    assert not any(task.done() for task in end)
    await call.hangup()
    assert await asyncio.gather(*end) == ["hangup"] * 5


async def test_a_refusal_reaches_all(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.call(caller, called)
    waiters = [asyncio.create_task(call.wait_for_answer(5)) for _ in range(3)]
    await bob.wait("incoming")
    await bob.incoming.reject("Busy Here", status=486)
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(each) for each in results] == [CallRejected] * 3
    assert await call.wait_ended() == "rejected 486 Busy Here"


async def test_waiting_works_without_a_handler_that_listens(systems):
    class Quiet(CallHandler):
        def on_incoming_call(self, call):
            return CallDecision.Accept()

    called, caller = await systems.start("bob", Quiet()), await systems.start("alice", CallHandler())
    call = await systems.answered(caller, called)
    waiter = asyncio.create_task(call.wait_ended())
    await asyncio.sleep(0)
    other = (await SessionControl.list_active_sessions(called))[0]
    await SessionControl.terminate_session(called, other)
    assert await asyncio.wait_for(waiter, 5) == "remote hangup"


async def test_a_cancelled_waiter_leaves_nothing(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.call(caller, called)

    async def wait_in_vain() -> list["weakref.ref[asyncio.Task[object]]"]:
        waiters: list[asyncio.Task[object]] = [asyncio.create_task(call.wait_for_answer(60)) for _ in range(50)]
        waiters += [asyncio.create_task(call.wait_ended()) for _ in range(50)]
        await asyncio.sleep(0.05)
        for waiter in waiters:
            waiter.cancel()
        await asyncio.wait(waiters)
        return [weakref.ref(waiter) for waiter in waiters]

    references = await wait_in_vain()
    await asyncio.sleep(0)
    gc.collect()
    assert not [reference for reference in references if reference() is not None]
    await bob.incoming.accept()
    await call.wait_for_answer(5)


async def test_asyncio_timeout_works_on_operations(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.call(caller, called)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await call.wait_ended()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call.wait_for_answer(60), 0.05)


async def test_a_cancelled_creation_leaves_no_call(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    for _ in range(20):
        task = asyncio.create_task(systems.call(caller, called))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for system in (caller, called):
        async with asyncio.timeout(5):
            while await SessionControl.list_active_sessions(system):
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("timeout", [float("nan"), "5", None, True])
async def test_wrong_timeouts(systems, timeout):
    called, caller = await systems.start("bob", Recorder(CallDecision.Defer())), await systems.start("alice")
    call = await systems.call(caller, called)
    with pytest.raises((ValueError, TypeError)):
        await call.wait_for_answer(timeout)


async def test_operations_are_coroutines(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(systems.answered(caller, called)) for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(task.result().hangup())
    await until(lambda: all(task.result().state.is_final for task in tasks))
