"""Coordinators and calls that nobody holds any more."""

import asyncio
import gc
import os
import sys
import warnings
import weakref

import pytest
from support import Recorder, Systems, until

from ringback import AutoAnswerHandler, CallDecision, CallHandler, SessionControl


def sockets():
    return len(os.listdir("/proc/self/fd"))


async def test_an_unstarted_coordinator_goes_away():
    coordinator = await Systems.builder("bob", Recorder()).build()
    reference = weakref.ref(coordinator)
    before = sockets()
    del coordinator
    gc.collect()
    assert reference() is None
    await until(lambda: sockets() < before)


async def test_a_started_one_that_is_dropped_ends_its_calls_with_a_warning(systems):
    called = await systems.start("bob", AutoAnswerHandler())

    async def leave():
        caller = await Systems.builder("alice", Recorder()).build()
        await SessionControl.start(caller)
        await systems.answered(caller, called)
        return weakref.ref(caller)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reference = await leave()
        await asyncio.sleep(0.05)
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning] and "never stopped" in str(caught[0].message)
    # A warning that is recorded holds its source.
    caught.clear()
    gc.collect()
    assert reference() is None
    async with asyncio.timeout(5):
        while await SessionControl.list_active_sessions(called):
            await asyncio.sleep(0.01)


async def test_a_handler_that_knows_its_coordinator_is_no_leak():
    class Knows(CallHandler):
        coordinator = None
        calls: list[object]

        async def on_call_established(self, call, local_sdp, remote_sdp):
            self.calls.append(call)

        def on_incoming_call(self, call):
            self.calls.append(call)
            return CallDecision.Accept()

    async def run():
        handler = Knows()
        handler.calls = []
        handler.coordinator = called = await Systems.builder("bob", handler).build()
        caller = await Systems.builder("alice").build()
        async with called, caller:
            call = await SessionControl.create_outgoing_call(caller, caller.local_address, called.local_address)
            await call.wait_for_answer(5)
            await until(lambda: len(handler.calls) == 2)
        return weakref.ref(called), weakref.ref(handler), weakref.ref(call)

    references = await run()
    await asyncio.sleep(0)
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


async def test_calls_and_handles_leave_no_objects(systems):
    called, caller = (
        await systems.start("bob", Recorder(lambda call: CallDecision.Accept())),
        await systems.start("alice"),
    )

    async def round_of_calls(count):
        for _ in range(count):
            await (await systems.answered(caller, called)).hangup()
        await asyncio.sleep(0.05)

    def kept() -> int:
        """Objects of ours, tasks and futures. (asyncio keeps cancelled timers for a while: they do not count.)"""
        gc.collect()
        ours = (asyncio.Future, asyncio.Task)
        return sum(str(type(o).__module__).startswith("ringback") or isinstance(o, ours) for o in gc.get_objects())

    await round_of_calls(20)
    called_events = called._on_error.__self__.events
    called_events.clear()
    before = kept()
    await round_of_calls(100)
    called_events.clear()
    assert kept() - before < 20


async def test_a_handle_keeps_its_coordinator_and_nothing_breaks_without_it(systems):
    called = await systems.start("bob", AutoAnswerHandler())
    caller = await Systems.builder("alice").build()
    async with caller:
        call = await systems.answered(caller, called)
    del caller
    gc.collect()
    assert call.coordinator.local_address.startswith("sip:alice@") and call.end_reason


async def test_one_system_after_the_other_leaks_nothing():
    async def one_round():
        async with Systems() as systems:
            called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
            await systems.answered(caller, called)

    for _ in range(3):
        await one_round()
    gc.collect()
    descriptors, threads = sockets(), len(os.listdir("/proc/self/task"))
    for _ in range(15):
        await one_round()
    gc.collect()
    await until(lambda: sockets() <= descriptors + 1 and len(os.listdir("/proc/self/task")) <= threads + 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_forked_child_leaves_the_parents_system_alone(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    call = await systems.answered(caller, called)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            caller._drain()
            gc.collect()
            status = 0 if not caller.is_running() else 2
        finally:
            os._exit(status)
    async with asyncio.timeout(10):
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):  # noqa: ASYNC222 - does not wait
            await asyncio.sleep(0.01)
    assert ended[1] == 0
    await call.hold()
    await call.hangup()
