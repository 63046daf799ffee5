import asyncio

import pytest
from support import Recorder, until

from ringback import CallDecision, CallHandler, CallState, DtmfMethod, InvalidState, SessionControl


async def test_digits_both_ways(systems):
    bob, alice = Recorder(), Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice", alice)
    call = await systems.answered(caller, called)
    other = (await bob.wait("established"))[0]
    await asyncio.gather(
        SessionControl.send_dtmf(caller, call.id, "0123456789*#ABCD", duration_ms=50, gap_ms=50),
        other.send_dtmf("42"),
    )
    await until(lambda: len(bob.of("dtmf")) == 16 and len(alice.of("dtmf")) == 2)
    assert "".join(digit for _, digit, _ in bob.of("dtmf")) == "0123456789*#ABCD"
    assert "".join(digit for _, digit, _ in alice.of("dtmf")) == "42"
    assert all(session == other and 40 <= duration <= 80 for session, _, duration in bob.of("dtmf"))
    assert all(90 <= duration <= 140 for _, _, duration in alice.of("dtmf"))


async def test_sending_returns_when_the_last_digit_has_been_sent(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await SessionControl.send_dtmf(caller, call.id, "1,2", method=DtmfMethod.RTP_EVENT, duration_ms=100, gap_ms=100)
    took = loop.time() - before
    assert 1.1 < took < 2.5
    await until(lambda: len(bob.of("dtmf")) == 2, timeout=1)


async def test_one_who_hangs_up_upon_the_last_digit_has_been_sent_it(systems):
    class Menu(CallHandler):
        def on_incoming_call(self, call):
            return CallDecision.Accept()

        async def on_dtmf(self, call, digit, duration_ms):
            if digit == "#":
                await call.hangup()

    called, caller = await systems.start("bob", Menu()), await systems.start("alice")
    for digits in ("1#", "#,,,"):
        call = await systems.answered(caller, called)
        await SessionControl.send_dtmf(caller, call.id, digits, method=DtmfMethod.RTP_EVENT)
        await call.wait_ended()
    call = await systems.answered(caller, called)
    with pytest.raises(InvalidState):
        await SessionControl.send_dtmf(caller, call.id, "#1", method=DtmfMethod.RTP_EVENT)


async def test_commands_take_turns(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    await asyncio.gather(*(SessionControl.send_dtmf(caller, call.id, d, duration_ms=40, gap_ms=40) for d in "97531"))
    await until(lambda: len(bob.of("dtmf")) == 5)
    assert [digit for _, digit, _ in bob.of("dtmf")] == list("97531")


async def test_cancelling_leaves_the_rest_out(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    sending = asyncio.create_task(call.send_dtmf("1234567890"))
    await bob.wait("dtmf")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await asyncio.wait_for(call.send_dtmf("#"), 1.5)
    await until(lambda: bob.of("dtmf")[-1][1] == "#")
    digits = "".join(digit for _, digit, _ in bob.of("dtmf"))
    assert digits in ("1#", "12#", "123#")


@pytest.mark.parametrize("digits", ["x", "1 2", "a", "E", "1-2", "½"])
async def test_other_characters(systems, digits):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    call = await systems.answered(caller, called)
    with pytest.raises(ValueError, match="DTMF"):
        await call.send_dtmf(digits)


@pytest.mark.parametrize("wrong", [{"duration_ms": 39}, {"duration_ms": 8001}, {"gap_ms": -1}, {"method": "morse"}])
async def test_wrong_ways_to_send(systems, wrong):
    called, caller = await systems.start("bob", Recorder()), await systems.start("alice")
    call = await systems.answered(caller, called)
    with pytest.raises(ValueError, match=next(iter(wrong)).removesuffix("_ms") + "|DtmfMethod"):
        await SessionControl.send_dtmf(caller, call.id, "1", **wrong)


async def test_before_the_answer_and_after_the_end(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.call(caller, called)
    with pytest.raises(InvalidState):
        await call.send_dtmf("1")
    await bob.wait("incoming")
    await bob.incoming.accept()
    await call.wait_for_answer(5)
    sending = asyncio.create_task(call.send_dtmf("1,,,,,,2"))
    await bob.wait("dtmf")
    await call.hangup()
    with pytest.raises(InvalidState, match="ended") as caught:
        await asyncio.wait_for(sending, 5)
    assert caught.value.state is CallState.TERMINATED
