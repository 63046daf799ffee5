"""The ready-made handlers, without a network and with one."""

import asyncio
import re

import pytest
from support import Recorder, until

from ringback import (
    AutoAnswerHandler,
    CallDecision,
    CallHandler,
    CallRejected,
    CallState,
    CompositeHandler,
    IncomingCall,
    MediaControl,
    QueueHandler,
    RoutingHandler,
    SessionControl,
    SessionId,
)  # fmt: skip


def made_up(user="100", from_uri="sip:a@example.com"):
    return IncomingCall(id=SessionId(), from_uri=from_uri, to_uri=f"sip:{user}@example.com")


# ---- AutoAnswerHandler


def test_auto_answer_accepts():
    assert AutoAnswerHandler().on_incoming_call(made_up()) == CallDecision.Accept()


async def test_auto_answer_on_the_wire(systems):
    class Announce(AutoAnswerHandler):
        async def on_call_established(self, call, local_sdp, remote_sdp):
            await MediaControl.play_tone(call.coordinator, call.id, [440.0], duration=0.1)
            await call.hangup("announced")

    for handler, ended in ((AutoAnswerHandler(), None), (Announce(), "remote hangup")):
        called, caller = await systems.start("bob", handler), await systems.start("alice")
        call = await systems.answered(caller, called)
        if ended:
            assert await asyncio.wait_for(call.wait_ended(), 5) == ended
        else:
            assert call.state is CallState.ACTIVE


async def test_auto_answer_may_be_overridden(systems):
    class Choosy(AutoAnswerHandler):
        async def on_incoming_call(self, call):
            return CallDecision.Reject("no", status=486) if "bad" in call.from_uri else super().on_incoming_call(call)

    called, caller = await systems.start("bob", Choosy()), await systems.start("alice")
    await systems.answered(caller, called)
    call = await SessionControl.create_outgoing_call(caller, "sip:bad@example.com", called.local_address)
    with pytest.raises(CallRejected):
        await call.wait_for_answer(5)


# ---- QueueHandler


async def test_the_queue_yields_calls_in_order():
    queue = QueueHandler()
    calls = [made_up() for _ in range(5)]
    for call in calls[:3]:
        assert queue.on_incoming_call(call) == CallDecision.Defer()
    assert len(queue) == 3
    taken = []

    async def take():
        async for call in queue:
            taken.append(call)

    worker = asyncio.create_task(take())
    await until(lambda: len(taken) == 3)
    for call in calls[3:]:
        queue.on_incoming_call(call)
    await until(lambda: len(taken) == 5)
    assert taken == calls and len(queue) == 0
    worker.cancel()


def test_a_full_queue_is_busy():
    queue = QueueHandler(max_size=2)
    decisions = [queue.on_incoming_call(made_up()) for _ in range(3)]
    assert decisions[:2] == [CallDecision.Defer()] * 2
    assert isinstance(decisions[2], CallDecision.Reject) and decisions[2].status == 486


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), ("2", TypeError), (True, TypeError)])
def test_wrong_sizes(size, error):
    with pytest.raises(error, match="max_size"):
        QueueHandler(size)


async def test_several_workers_share_the_queue_and_a_cancelled_one_loses_nothing():
    queue = QueueHandler()
    taken = []

    async def take():
        async for call in queue:
            taken.append(call)
            await asyncio.sleep(0)

    workers = [asyncio.create_task(take()) for _ in range(4)]
    await asyncio.sleep(0.01)
    calls = [made_up() for _ in range(20)]
    for index, call in enumerate(calls):
        queue.on_incoming_call(call)
        if index % 5 == 0:
            workers.pop().cancel()
            workers.append(asyncio.create_task(take()))
            await asyncio.sleep(0)
    await until(lambda: len(taken) == 20)
    assert sorted(call.id for call in taken) == sorted(call.id for call in calls)
    for worker in workers:
        worker.cancel()


async def test_cancelled_callers_leave_the_queue(systems):
    queue = QueueHandler(max_size=2)
    called, caller = await systems.start("bob", queue), await systems.start("alice")
    first = await systems.call(caller, called)
    await until(lambda: len(queue) == 1)
    second = await systems.call(caller, called)
    await until(lambda: len(queue) == 2)
    third = await systems.call(caller, called)
    with pytest.raises(CallRejected) as caught:
        await third.wait_for_answer(5)
    assert caught.value.status == 486
    await first.hangup()
    await until(lambda: len(queue) == 1)
    call = await asyncio.wait_for(anext(aiter(queue)), 5)
    assert call.headers["Call-ID"] == second.call_id
    await call.accept()
    await second.wait_for_answer(5)


async def collect(queue, taken):
    async for call in queue:
        taken.append(call)


async def test_an_iteration_ends_when_the_system_stops(systems):
    queue = QueueHandler()
    taken = []
    workers = [asyncio.create_task(collect(queue, taken)) for _ in range(3)]
    called, caller = await systems.start("bob", queue), await systems.start("alice")
    call = await systems.call(caller, called)
    await until(lambda: taken)
    assert not any(worker.done() for worker in workers)
    await SessionControl.stop(called)
    await asyncio.wait_for(asyncio.gather(*workers), 5)
    assert [one.headers["Call-ID"] for one in taken] == [call.call_id]


async def test_a_worker_that_is_at_a_call_when_the_system_stops_ends_behind_it(systems):
    queue, at_work, finish = QueueHandler(), asyncio.Event(), asyncio.Event()

    async def work():
        async for _ in queue:
            at_work.set()
            await finish.wait()

    called, caller = await systems.start("bob", queue), await systems.start("alice")
    worker = asyncio.create_task(work())
    await systems.call(caller, called)
    await asyncio.wait_for(at_work.wait(), 5)
    await SessionControl.stop(called)
    assert not worker.done()
    finish.set()
    await asyncio.wait_for(worker, 5)


async def test_a_system_that_starts_again_has_its_calls_taken_by_new_iterations(systems):
    queue, first, second = QueueHandler(), [], []
    called, caller = await systems.start("bob", queue), await systems.start("alice")
    idle = aiter(queue)
    await SessionControl.stop(called)
    worker = asyncio.create_task(collect(queue, second))
    await asyncio.sleep(0)
    await SessionControl.start(called)
    call = await systems.call(caller, called)
    await until(lambda: second)
    assert second[0].headers["Call-ID"] == call.call_id
    waiting = await systems.call(caller, called)
    await until(lambda: len(second) == 2)
    assert second[1].headers["Call-ID"] == waiting.call_id
    await asyncio.wait_for(collect(idle, first), 5)
    assert not first, "it had ended before"
    await SessionControl.stop(called)
    await asyncio.wait_for(worker, 5)


@pytest.mark.parametrize(
    "wrap",
    [lambda queue: queue, CompositeHandler, lambda queue: RoutingHandler(CallDecision.Defer()).route(".*", queue)],
)
async def test_a_handler_of_two_systems_goes_on_until_both_have_stopped(systems, wrap):
    queue, taken = QueueHandler(), []
    handler = wrap(queue)
    first, second = await systems.start("bob", handler), await systems.start("carol", handler)
    caller = await systems.start("alice")
    worker = asyncio.create_task(collect(queue, taken))
    await systems.call(caller, first)
    await until(lambda: len(taken) == 1)
    await SessionControl.stop(first)
    await systems.call(caller, second)
    await until(lambda: len(taken) == 2)
    assert not worker.done()
    await SessionControl.stop(second)
    await asyncio.wait_for(worker, 5)


async def test_a_cancelled_worker_keeps_no_other_from_ending(systems):
    queue, taken = QueueHandler(), []
    called = await systems.start("bob", queue)
    workers = [asyncio.create_task(collect(queue, taken)) for _ in range(3)]
    await asyncio.sleep(0)
    stop = asyncio.create_task(SessionControl.stop(called))
    workers[0].cancel()
    await stop
    ends = await asyncio.wait_for(asyncio.gather(*workers, return_exceptions=True), 5)
    assert isinstance(ends[0], asyncio.CancelledError) and ends[1:] == [None, None]


async def test_a_system_that_did_not_start_ends_no_iteration(systems):
    queue, taken = QueueHandler(), []
    worker = asyncio.create_task(collect(queue, taken))
    called = await systems.builder("bob", queue).build()
    await SessionControl.stop(called)
    called, caller = await systems.start("bob", queue), await systems.start("alice")
    await systems.call(caller, called)
    await until(lambda: taken)
    await SessionControl.stop(called)
    await asyncio.wait_for(worker, 5)


async def test_a_worker_may_have_a_loop_of_its_own(systems):
    queue, taken = QueueHandler(), []
    called, caller = await systems.start("bob", queue), await systems.start("alice")
    elsewhere = asyncio.create_task(asyncio.to_thread(asyncio.run, asyncio.wait_for(collect(queue, taken), 10)))
    await until(lambda: queue._takers)
    await systems.call(caller, called)
    await until(lambda: taken)
    await SessionControl.stop(called)
    await asyncio.wait_for(elsewhere, 5)


# ---- RoutingHandler


def test_the_first_rule_that_matches_the_whole_user_part_decides():
    sales, night = CallDecision.Forward("sip:sales@example.com"), CallDecision.Reject("closed", status=480)
    handler = RoutingHandler(night).route("1..", sales).route(re.compile("[a-z]+", re.IGNORECASE), AutoAnswerHandler())
    handler.route("100", CallDecision.Defer())
    decide = lambda user: handler.on_incoming_call(made_up(user))  # noqa: E731
    assert decide("100") is sales and decide("199") is sales
    assert decide("1000") is night and decide("") is night and decide("0199") is night
    assert decide("Support") == CallDecision.Accept()
    assert handler.on_incoming_call(IncomingCall(id=SessionId(), from_uri="", to_uri="sip:%31%30%31@x")) is sales


@pytest.mark.parametrize(
    ("to_uri", "user"),
    [
        # RFC 3261 §19.1.6.
        ("sip:+358-555-1234567;postd=pp22@foo.com;user=phone", "+358-555-1234567;postd=pp22"),
        ("sip:100,5@example.com", "100,5"),
        ("sip:a?b@example.com", "a?b"),
        ("<sip:100;x=1@example.com;p=2>", "100;x=1"),
        ('"A" <sip:100@example.com>;p=2', "100"),
        ("sip:example.com;p=a@b", "example.com;p=a"),
        ("sip:example.com;p=2", ""),
    ],
)
def test_a_user_part_may_hold_what_separates_elsewhere(to_uri, user):
    right = CallDecision.Accept()
    handler = RoutingHandler(CallDecision.Reject("default", status=404)).route(re.escape(user), right)
    assert handler.on_incoming_call(IncomingCall(id=SessionId(), from_uri="", to_uri=to_uri)) is right


@pytest.mark.parametrize(
    ("add", "error"),
    [
        (lambda handler: handler.route("(", CallDecision.Accept()), ValueError),
        (lambda handler: handler.route(7, CallDecision.Accept()), TypeError),
        (lambda handler: handler.route("x", "accept"), TypeError),
        (lambda handler: RoutingHandler("accept"), TypeError),
    ],
)
def test_wrong_rules(add, error):
    with pytest.raises(error):
        add(RoutingHandler(CallDecision.Accept()))


async def test_events_go_to_the_handler_that_a_call_was_routed_to(systems):
    target = await systems.start("desk", Recorder())
    one, two = Recorder(), Recorder(CallDecision.Forward(target.local_address))
    routing = RoutingHandler(CallDecision.Reject("unknown", status=404)).route("1", one).route("2", two)
    called, caller = await systems.start("pbx", routing), await systems.start("alice")

    async def dial(user):
        uri = called.local_address.replace("sip:pbx@", f"sip:{user}@")
        call = await SessionControl.create_outgoing_call(caller, caller.local_address, uri)
        await call.wait_for_answer(5)
        return call

    await (await dial("1")).hangup()
    await one.wait("ended")
    assert two.events == [] and one.names == ["incoming", "state", "established", "state", "ended"]
    await (await dial("2")).hangup()
    await until(lambda: len(two.of("ended")) == 2)
    assert len(one.of("ended")) == 1 and len(two.of("established")) == 2
    with pytest.raises(CallRejected) as caught:
        await dial("3")
    assert caught.value.status == 404
    call = await SessionControl.create_outgoing_call(called, "sip:pbx@example.com", target.local_address)
    await call.wait_for_answer(5)
    await until(lambda: len(one.of("established")) == 2 and len(two.of("established")) == 3)


# ---- CompositeHandler


class Says(CallHandler):
    def __init__(self, decision, is_async=False):
        self.decision, self.is_async, self.asked = decision, is_async, 0

    def on_incoming_call(self, call):
        self.asked += 1
        return self.later() if self.is_async else self.decision

    async def later(self):
        await asyncio.sleep(0)
        return self.decision


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_first_that_does_not_answer_none_decides(is_async):
    handlers = [Says(None, is_async), Says(None), Says(CallDecision.Defer(), is_async), Says(CallDecision.Accept())]
    decision = CompositeHandler(*handlers).on_incoming_call(made_up())
    if is_async:
        decision = await decision
    assert decision == CallDecision.Defer() and [each.asked for each in handlers] == [1, 1, 1, 0]


def test_nobody_decides():
    assert CompositeHandler().on_incoming_call(made_up()) is None
    assert CompositeHandler(CallHandler(), Says(None)).on_incoming_call(made_up()) is None
    with pytest.raises(TypeError):
        CompositeHandler("handler")


async def test_all_see_every_other_event(systems, caplog):
    class Broken(CallHandler):
        def on_call_established(self, call, local_sdp, remote_sdp):
            raise ValueError("broken")

    one, two = Recorder(lambda call: None), Recorder()
    composite = CompositeHandler(one, Broken(), CompositeHandler(two))
    called, caller = await systems.start("bob", composite), await systems.start("alice")
    call = await systems.answered(caller, called)
    await call.send_dtmf("5")
    await call.hangup()
    for recorder in (one, two):
        await recorder.wait("ended")
        names = [name for name in recorder.names if name != "error"]
        assert names == ["incoming", "state", "established", "dtmf", "state", "ended"]
        assert [str(error) for _, error in recorder.of("error")] == ["broken"]


async def test_async_members_start_in_order_and_do_not_wait_for_each_other(systems):
    started = []

    class Slow(CallHandler):
        def __init__(self, name):
            self.name = name

        async def on_call_established(self, call, local_sdp, remote_sdp):
            started.append(self.name)
            await asyncio.sleep(0.3)
            started.append(self.name + " ends")

    composite = CompositeHandler(AutoAnswerHandler(), Slow("one"), Slow("two"))
    called, caller = await systems.start("bob", composite), await systems.start("alice")
    await systems.answered(caller, called)
    await until(lambda: len(started) == 4)
    assert started[:2] == ["one", "two"]


async def test_subclasses_of_composites_may_add_their_own(systems):
    seen = []

    class Mine(CompositeHandler):
        def on_call_ended(self, call, reason):
            seen.append(reason)
            return super().on_call_ended(call, reason)

    recorder = Recorder()
    called, caller = await systems.start("bob", Mine(recorder)), await systems.start("alice")
    await (await systems.answered(caller, called)).hangup()
    await recorder.wait("ended")
    assert seen == ["remote hangup"]
