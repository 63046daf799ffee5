"""How handlers are called: plain and `async def`, in order, never waiting for each other; what happens when they fail."""

import asyncio
import contextvars
import logging
from unittest.mock import AsyncMock, Mock

import pytest
from support import Recorder, until

from ringback import (
    CallDecision,
    CallHandler,
    CallRejected,
    CallState,
    InvalidHeader,
    InvalidState,
    SdpError,
    SessionControl,
)


async def test_plain_and_async_methods_decide(systems):
    class Plain(CallHandler):
        def on_incoming_call(self, call):
            return CallDecision.Accept()

    class Async(CallHandler):
        async def on_incoming_call(self, call):
            await asyncio.sleep(0.01)
            return CallDecision.Accept()

    class Awaitable(CallHandler):
        def on_incoming_call(self, call):
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.01, future.set_result, CallDecision.Accept())
            return future

    caller = await systems.start("alice")
    for handler in (Plain(), Async(), Awaitable()):
        await systems.answered(caller, await systems.start("bob", handler))


async def test_methods_set_on_the_instance_and_mocks(systems):
    handler = CallHandler()
    handler.on_incoming_call = Mock(return_value=CallDecision.Accept())
    handler.on_call_established = AsyncMock(return_value=None)
    handler.on_call_ended = Mock(return_value=None)
    called, caller = await systems.start("bob", handler), await systems.start("alice")
    call = await systems.answered(caller, called)
    await call.hangup()
    await until(lambda: handler.on_call_ended.called)
    handler.on_incoming_call.assert_called_once()
    handler.on_call_established.assert_awaited_once()
    assert handler.on_call_ended.call_args.args[1] == "remote hangup"


async def test_handlers_start_in_order_and_do_not_wait(systems):
    started = []
    release = asyncio.Event()

    class Slow(Recorder):
        async def on_incoming_call(self, call):
            started.append("incoming")
            return CallDecision.Accept()

        async def on_call_established(self, call, local_sdp, remote_sdp):
            started.append("established")
            await release.wait()
            started.append("established ends")

        def on_call_state_changed(self, call, old, new):
            started.append(f"state {new}")

        def on_dtmf(self, call, digit, duration_ms):
            started.append(f"dtmf {digit}")

        async def on_call_ended(self, call, reason):
            started.append("ended")

    called, caller = await systems.start("bob", Slow()), await systems.start("alice")
    call = await systems.answered(caller, called)
    await call.send_dtmf("12")
    await call.hangup()
    await until(lambda: "ended" in started)
    assert started == ["incoming", "state active", "established", "dtmf 1", "dtmf 2", "state terminated", "ended"]
    release.set()
    await until(lambda: "established ends" in started)


async def test_an_ivr_gets_digits_while_it_waits_for_them(systems):
    digits: asyncio.Queue[str] = asyncio.Queue()
    heard = []

    class Ivr(CallHandler):
        async def on_incoming_call(self, call):
            return CallDecision.Accept()

        async def on_call_established(self, call, local_sdp, remote_sdp):
            while len(heard) < 3:
                heard.append(await digits.get())
            await call.hangup()

        async def on_dtmf(self, call, digit, duration_ms):
            digits.put_nowait(digit)

    called, caller = await systems.start("bob", Ivr()), await systems.start("alice")
    call = await systems.answered(caller, called)
    sending = asyncio.create_task(call.send_dtmf("1#A9"))
    assert await asyncio.wait_for(call.wait_ended(), 5) == "remote hangup" and heard == ["1", "#", "A"]
    with pytest.raises(InvalidState, match="remote hangup"):
        await sending


async def test_other_handlers_run_beside_one_that_never_returns(systems):
    bob = Recorder(lambda call: asyncio.Event().wait() if "slow" in call.from_uri else CallDecision.Accept())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    slow = await SessionControl.create_outgoing_call(caller, "sip:slow@example.com", called.local_address)
    await bob.wait("incoming")
    quick = await systems.answered(caller, called)
    assert quick.state is CallState.ACTIVE and not slow.state.is_final
    await slow.hangup()
    assert (await bob.wait("ended"))[0].state is CallState.CANCELLED


async def test_a_cancelled_invite_cancels_the_pending_decision(systems):
    outcome = []

    async def decide(call):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            outcome.append("cancelled")
            raise

    bob = Recorder(decide)
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.call(caller, called)
    await bob.wait("incoming")
    await call.hangup()
    await until(lambda: outcome)
    assert outcome == ["cancelled"]
    await bob.wait("ended")
    assert bob.of("error") == []


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_decision_that_raises_is_500(systems, caplog, is_async):
    class Broken(Recorder):
        if is_async:

            async def on_incoming_call(self, call):
                await asyncio.sleep(0)
                raise KeyError("lost")
        else:

            def on_incoming_call(self, call):
                raise KeyError("lost")

    bob = Broken()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    with caplog.at_level(logging.ERROR, "ringback"):
        call = await systems.call(caller, called)
        with pytest.raises(CallRejected) as caught:
            await call.wait_for_answer(5)
        assert caught.value.status == 500
        session, error = await bob.wait("error")
    assert isinstance(error, KeyError) and session.call_id == call.call_id
    record = next(record for record in caplog.records if record.name == "ringback.handler")
    assert record.exc_info[1] is error and record.call_id == call.call_id
    assert (await bob.wait("ended"))[1] == "rejected 500 Server Internal Error"


async def test_errors_go_to_the_log_by_default(systems, caplog):
    class Broken(CallHandler):
        def on_incoming_call(self, call):
            return CallDecision.Accept()

        async def on_call_established(self, call, local_sdp, remote_sdp):
            raise ValueError("oops")

    called, caller = await systems.start("bob", Broken()), await systems.start("alice")
    with caplog.at_level(logging.ERROR, "ringback"):
        call = await systems.answered(caller, called)
        await until(lambda: caplog.records)
        await asyncio.sleep(0.05)
    assert len(caplog.records) == 1 and isinstance(caplog.records[0].exc_info[1], ValueError)
    assert call.state is CallState.ACTIVE


@pytest.mark.parametrize("result", ["yes", 200, True, CallDecision.Accept, object()])
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_is_no_decision_is_a_type_error_and_500(systems, result, is_async):
    async def later(call):
        return result

    class Wrong(Recorder):
        def on_incoming_call(self, call):
            return later(call) if is_async else result

    bob = Wrong()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    with pytest.raises(CallRejected) as caught:
        await (await systems.call(caller, called)).wait_for_answer(5)
    assert caught.value.status == 500
    assert isinstance((await bob.wait("error"))[1], TypeError)


@pytest.mark.parametrize(
    ("decision", "error"),
    [
        (CallDecision.Accept("this is no SDP"), SdpError),
        (CallDecision.Accept(headers={"X": "a\r\nb"}), InvalidHeader),
        (CallDecision.Reject("no\r\nInjected: yes", status=486), InvalidHeader),
        (CallDecision.Reject("no", headers={"Contact": "x"}), InvalidHeader),
        (CallDecision.Forward("nowhere"), ValueError),
        (CallDecision.Forward("nowhere", redirect=True), ValueError),
    ],
)
async def test_a_decision_that_cannot_be_carried_out_is_an_error_and_500(systems, decision, error):
    bob = Recorder(decision)
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    with pytest.raises(CallRejected) as caught:
        await (await systems.call(caller, called)).wait_for_answer(5)
    assert caught.value.status == 500
    session, raised = await bob.wait("error")
    assert isinstance(raised, error) and session is not None


async def test_an_awaitable_that_is_none_is_an_error(systems):
    class Wrong(Recorder):
        def on_call_established(self, call, local_sdp, remote_sdp):
            return "not awaitable"

    bob = Wrong()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    await systems.answered(caller, called)
    assert isinstance((await bob.wait("error"))[1], TypeError)


async def test_on_error_may_be_async_and_may_fail_itself(systems, caplog):
    told = []

    class Broken(CallHandler):
        def on_incoming_call(self, call):
            raise ValueError("first")

        async def on_error(self, call, error):
            await asyncio.sleep(0)
            told.append(error)
            raise RuntimeError("second")

    called, caller = await systems.start("bob", Broken()), await systems.start("alice")
    with caplog.at_level(logging.ERROR, "ringback"):
        with pytest.raises(CallRejected):
            await (await systems.call(caller, called)).wait_for_answer(5)
        await until(lambda: len(caplog.records) == 2)
    assert [str(each) for each in told] == ["first"]


async def test_a_task_that_is_cancelled_by_others_leaves_no_call_undecided(systems):
    class Suicidal(CallHandler):
        async def on_incoming_call(self, call):
            asyncio.current_task().cancel()
            await asyncio.sleep(10)

    called, caller = await systems.start("bob", Suicidal()), await systems.start("alice")
    with pytest.raises(CallRejected) as caught:
        await (await systems.call(caller, called)).wait_for_answer(5)
    assert caught.value.status == 500


async def test_asyncio_timeout_works_in_handlers(systems):
    class Patient(CallHandler):
        async def on_incoming_call(self, call):
            try:
                async with asyncio.timeout(0.05):
                    await asyncio.Event().wait()
            except TimeoutError:
                return CallDecision.Reject("Too slow", status=408)

    called, caller = await systems.start("bob", Patient()), await systems.start("alice")
    with pytest.raises(CallRejected) as caught:
        await (await systems.call(caller, called)).wait_for_answer(5)
    assert caught.value.status == 408


async def test_what_comes_after_another_decision_is_ignored(systems):
    class Both(Recorder):
        async def on_incoming_call(self, call):
            await call.accept()
            return CallDecision.Reject("never mind")

    bob = Both()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    await asyncio.sleep(0.1)
    assert call.state is CallState.ACTIVE and bob.of("error") == []


async def test_handlers_use_the_api_from_where_they_are(systems):
    class Transferrer(Recorder):
        async def on_call_established(self, call, local_sdp, remote_sdp):
            await call.hold()
            await call.resume()
            await call.hangup("done")

    alice = Transferrer()
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice", alice)
    call = await systems.call(caller, called)
    assert await asyncio.wait_for(call.wait_ended(), 5) == "done"
    assert [new for _, _, new in alice.of("state")] == ["active", "on_hold", "active", "terminated"]


async def test_the_context_of_the_start_is_the_handlers_context(systems):
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    class Look(CallHandler):
        async def on_incoming_call(self, call):
            seen.append(variable.get())
            return CallDecision.Accept()

    variable.set("mine")
    called, caller = await systems.start("bob", Look()), await systems.start("alice")
    await systems.answered(caller, called)
    assert seen == ["mine"]


async def test_a_blocked_loop_loses_no_event(systems):
    import time

    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    calls = [await systems.call(caller, called) for _ in range(10)]
    time.sleep(0.5)  # noqa: ASYNC251 - the point of the test
    for call in calls:
        await call.wait_for_answer(5)
        await call.hangup()
    await until(lambda: len(bob.of("ended")) == 10)
    assert len(bob.of("established")) == 10


async def test_the_order_holds_among_many_calls(systems):
    """Plain and async methods by turns: those that wait for a task of another call keep the order of their own."""

    class Mixed(CallHandler):
        def __init__(self):
            self.started = {}

        def note(self, call, name):
            self.started.setdefault(call.id, []).append(name)

        async def on_incoming_call(self, call):
            return CallDecision.Accept()

        def on_call_state_changed(self, call, old, new):
            self.note(call, new.name)

        async def on_call_established(self, call, local_sdp, remote_sdp):
            self.note(call, "established")
            await asyncio.sleep(0.01)

        def on_call_ended(self, call, reason):
            async def later():
                self.note(call, "ended")

            return later()

    bob = Mixed()
    called, caller = await systems.start("bob", bob), await systems.start("alice")

    async def one():
        async with await systems.call(caller, called) as call:
            await call.wait_for_answer(10)

    await asyncio.gather(*(one() for _ in range(150)))
    await until(lambda: sum("ended" in names for names in bob.started.values()) == 150)
    orders = {tuple(names) for names in bob.started.values()}
    assert orders == {("ACTIVE", "established", "TERMINATED", "ended")}
