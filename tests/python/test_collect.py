"""Collecting digits, however they come."""

import asyncio
import math
from datetime import timedelta

import pytest
from support import Recorder, until

from ringback import CallDecision, DtmfMethod, InvalidState, MediaControl, SessionControl, SessionId


async def connected(systems, configure=lambda builder: None):
    bob = Recorder()
    called, caller = await systems.start("bob", bob, configure), await systems.start("alice")
    call = await systems.answered(caller, called)
    other = (await bob.wait("established"))[0]
    return caller, call, called, other, bob


@pytest.mark.parametrize("method", [DtmfMethod.RTP_EVENT, DtmfMethod.INFO, DtmfMethod.INBAND])
async def test_digits_by_each_method(systems, method):
    caller, call, called, other, bob = await connected(systems, lambda builder: builder.with_inband_dtmf(True))
    collecting = asyncio.create_task(MediaControl.collect_dtmf(called, other.id, max_digits=10))
    await asyncio.sleep(0.05)
    await SessionControl.send_dtmf(caller, call.id, "12*#", method=method, duration_ms=60, gap_ms=60)
    assert await asyncio.wait_for(collecting, 5) == "12*"
    await until(lambda: len(bob.of("dtmf")) == 4)


async def test_it_ends_with_the_last_digit_wanted_or_with_the_pause(systems):
    caller, call, called, other, bob = await connected(systems)
    await SessionControl.send_dtmf(caller, call.id, "99", duration_ms=40, gap_ms=40)
    await until(lambda: len(bob.of("dtmf")) == 2)
    two, some, none = (
        asyncio.create_task(MediaControl.collect_dtmf(called, other.id, max_digits=most, terminator=end, timeout=1.0))
        for most, end in ((2, "#"), (10, ""), (10, "4#"))
    )
    await asyncio.sleep(0.05)
    await SessionControl.send_dtmf(caller, call.id, "4#56", duration_ms=40, gap_ms=40)
    assert await asyncio.wait_for(two, 5) == "4"
    assert await asyncio.wait_for(none, 5) == ""
    assert not some.done()
    assert await asyncio.wait_for(some, 5) == "4#56"
    loop = asyncio.get_running_loop()
    before = loop.time()
    assert await MediaControl.collect_dtmf(called, other.id, max_digits=1, timeout=timedelta(milliseconds=300)) == ""
    assert 0.25 < loop.time() - before < 2


async def test_nobody_needs_to_handle_digits(systems):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    call = await systems.answered(caller, called)
    sessions = await SessionControl.list_active_sessions(called)
    collecting = asyncio.create_task(MediaControl.collect_dtmf(caller, call.id, max_digits=3, timeout=math.inf))
    await asyncio.sleep(0.05)
    await SessionControl.send_dtmf(called, sessions[0], "731", duration_ms=40, gap_ms=40)
    assert await asyncio.wait_for(collecting, 5) == "731"


async def test_cancelling_and_the_end_of_the_call(systems):
    _, call, called, other, _ = await connected(systems)
    given_up = asyncio.create_task(MediaControl.collect_dtmf(called, other.id, max_digits=3))
    await asyncio.sleep(0.05)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    collecting = asyncio.create_task(MediaControl.collect_dtmf(called, other.id, max_digits=3))
    await asyncio.sleep(0.05)
    await call.send_dtmf("8")
    await call.hangup()
    assert await asyncio.wait_for(collecting, 5) == "8"
    with pytest.raises(InvalidState):
        await MediaControl.collect_dtmf(called, other.id, max_digits=3)
    with pytest.raises(LookupError):
        await MediaControl.collect_dtmf(called, SessionId(), max_digits=3)


async def test_stopping_the_system(systems):
    _, _, called, other, _ = await connected(systems)
    collecting = asyncio.create_task(MediaControl.collect_dtmf(called, other.id, max_digits=3, timeout=60))
    await asyncio.sleep(0.05)
    await SessionControl.stop(called)
    assert await asyncio.wait_for(collecting, 5) == ""


@pytest.mark.parametrize(
    "wrong", [{"max_digits": 0}, {"max_digits": -1}, {"max_digits": 1025}, {"terminator": "x"}, {"timeout": math.nan}]
)
async def test_wrong_arguments(systems, wrong):
    caller, call, _, _, _ = await connected(systems)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        await MediaControl.collect_dtmf(caller, call.id, **{"max_digits": 1, **wrong})


async def test_before_the_answer(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.call(caller, called)
    await bob.wait("incoming")
    with pytest.raises(InvalidState):
        await MediaControl.collect_dtmf(caller, call.id, max_digits=1)
