"""Forwarded and redirected calls."""

import asyncio

import pytest
from support import Recorder, until
from support.tones import listen, strongest

from ringback import (
    CallCancelled,
    CallDecision,
    CallDirection,
    CallRejected,
    CallState,
    DtmfMethod,
    InvalidHeader,
    InvalidState,
    InvalidUri,
    MediaControl,
    SessionControl,
    SessionManagerBuilder,
)  # fmt: skip


async def test_a_forwarded_call_is_two_linked_legs(systems):
    desk = Recorder()
    target = await systems.start("desk", desk)
    office = Recorder(CallDecision.Forward(target.local_address))
    switch, caller = await systems.start("office", office), await systems.start("alice")
    call = await SessionControl.create_outgoing_call(caller, '"Alice" <sip:alice@example.com>', switch.local_address)
    await call.wait_for_answer(5)
    await desk.wait("established")
    assert desk.incoming.from_uri == "sip:alice@example.com" and desk.incoming.from_name == "Alice"
    legs = [await SessionControl.get_session(switch, id) for id in await SessionControl.list_active_sessions(switch)]
    inbound = next(leg for leg in legs if leg.direction is CallDirection.INCOMING)
    outbound = next(leg for leg in legs if leg.direction is CallDirection.OUTGOING)
    assert (inbound.peer_id, outbound.peer_id) == (outbound.id, inbound.id)
    assert inbound.id == office.incoming.id and outbound.to_uri == target.local_address
    await until(lambda: len(office.of("established")) == 2)
    assert (await SessionControl.get_stats(switch)).active_sessions == 2
    info = await switch.list_bridges()
    assert [sorted(each.sessions) for each in info] == [sorted([inbound.id, outbound.id])]

    tone = asyncio.create_task(MediaControl.play_tone(caller, call.id, [650.0], duration=10))
    hear = await MediaControl.open_audio(target, desk.incoming.id, sample_rate=8000)
    assert abs(strongest(await asyncio.wait_for(listen(hear, 0.4), 5), 8000) - 650) < 15
    tone.cancel()

    await call.hangup()
    assert (await desk.wait("ended"))[1] == "remote hangup"
    await until(lambda: len(office.of("ended")) == 2)
    assert {leg.state for leg in legs} == {CallState.TERMINATED}


async def test_the_end_of_the_target_ends_the_caller(systems):
    desk = Recorder()
    target = await systems.start("desk", desk)
    switch = await systems.start("office", Recorder(CallDecision.Forward(target.local_address)))
    caller = await systems.start("alice")
    call = await systems.answered(caller, switch)
    await (await desk.wait("established"))[0].hangup()
    assert await asyncio.wait_for(call.wait_ended(), 5) == "remote hangup"


async def test_a_caller_who_gives_up_cancels_the_target(systems):
    desk = Recorder(CallDecision.Defer())
    target = await systems.start("desk", desk)
    switch = await systems.start("office", Recorder(CallDecision.Forward(target.local_address)))
    caller = await systems.start("alice")
    call = await systems.call(caller, switch)
    await desk.wait("incoming")
    await call.hangup()
    assert (await desk.wait("ended"))[0].state is CallState.CANCELLED
    with pytest.raises(CallCancelled):
        await call.wait_for_answer(1)


async def test_a_refusal_of_the_target_reaches_the_caller(systems):
    target = await systems.start("desk", Recorder(CallDecision.Reject("Busy Here", status=486)))
    switch = await systems.start("office", Recorder(CallDecision.Forward(target.local_address)))
    caller = await systems.start("alice")
    with pytest.raises(CallRejected) as caught:
        await (await systems.call(caller, switch)).wait_for_answer(5)
    assert caught.value.status == 486


async def test_a_target_that_rings_too_long(systems):
    desk = Recorder(CallDecision.Defer())
    target = await systems.start("desk", desk)
    switch = await systems.start("office", Recorder(CallDecision.Forward(target.local_address, ring_seconds=0.3)))
    caller = await systems.start("alice")
    with pytest.raises(CallRejected):
        await (await systems.call(caller, switch)).wait_for_answer(5)
    assert (await desk.wait("ended"))[0].state is CallState.CANCELLED


async def test_targets_one_after_the_other(systems):
    first, second = Recorder(CallDecision.Reject("Busy Here", status=486)), Recorder()
    targets = [await systems.start("one", first), await systems.start("two", second)]
    decision = CallDecision.Forward(*(target.local_address for target in targets))
    switch, caller = await systems.start("office", Recorder(decision)), await systems.start("alice")
    call = await systems.answered(caller, switch)
    assert second.of("incoming") and call.state is CallState.ACTIVE
    # It is told by a system of its own.
    await until(lambda: first.of("ended"))


async def test_targets_all_at_once(systems):
    slow, quick = Recorder(CallDecision.Defer()), Recorder()
    targets = [await systems.start("slow", slow), await systems.start("quick", quick)]
    decision = CallDecision.Forward(*(target.local_address for target in targets), parallel=True)
    switch, caller = await systems.start("office", Recorder(decision)), await systems.start("alice")
    call = await systems.answered(caller, switch)
    assert (await slow.wait("ended"))[0].state is CallState.CANCELLED
    assert call.state is CallState.ACTIVE and quick.of("ended") == []


async def test_forwarding_a_deferred_call(systems):
    target = await systems.start("desk", Recorder())
    for through_control in (False, True):
        office = Recorder(CallDecision.Defer())
        switch, caller = await systems.start("office", office), await systems.start("alice")
        call = await systems.call(caller, switch)
        await office.wait("incoming")
        with pytest.raises(InvalidUri):
            await office.incoming.forward("nowhere")
        if through_control:
            await SessionControl.forward_incoming_call(switch, office.incoming, target.local_address)
        else:
            await office.incoming.forward(target.local_address)
        await call.wait_for_answer(5)
        with pytest.raises(InvalidState):
            await office.incoming.forward(target.local_address)


async def test_a_redirect_names_all_targets(systems):
    office = Recorder(CallDecision.Forward("sip:a@example.com", "sip:b@example.com", redirect=True))
    switch, caller = await systems.start("office", office), await systems.start("alice")
    call = await systems.call(caller, switch)
    with pytest.raises(CallRejected) as caught:
        await call.wait_for_answer(5)
    assert caught.value.status == 302
    assert list(caught.value.targets) == ["sip:a@example.com", "sip:b@example.com"]
    assert (await office.wait("ended"))[0].state is CallState.REJECTED


async def test_redirecting_later(systems):
    office = Recorder(CallDecision.Defer())
    switch, caller = await systems.start("office", office), await systems.start("alice")
    call = await systems.call(caller, switch)
    await office.wait("incoming")
    await SessionControl.forward_incoming_call(switch, office.incoming, "sip:elsewhere@example.com", redirect=True)
    with pytest.raises(CallRejected) as caught:
        await call.wait_for_answer(5)
    assert (caught.value.status, list(caught.value.targets)) == (302, ["sip:elsewhere@example.com"])


async def test_early_media_of_the_target_is_heard_by_the_caller(systems):
    desk = Recorder(CallDecision.Defer())
    target = await systems.start("desk", desk)
    switch = await systems.start("office", Recorder(CallDecision.Forward(target.local_address)))
    alice = Recorder()
    caller = await systems.start("alice", alice)
    call = await systems.call(caller, switch)
    await desk.wait("incoming")
    session = await SessionControl.progress_incoming_call(target, desk.incoming)
    tone = asyncio.create_task(MediaControl.play_tone(target, session.id, [850.0], duration=10))
    await until(lambda: any(status == 183 for _, status, _ in alice.of("progress")))
    hear = await MediaControl.open_audio(caller, call.id, sample_rate=8000)
    assert abs(strongest(await asyncio.wait_for(listen(hear, 0.4), 5), 8000) - 850) < 15
    tone.cancel()


async def test_a_forward_without_room_is_503_and_no_error_of_the_handler(systems):
    target = await systems.start("desk", Recorder())
    office = Recorder(CallDecision.Forward(target.local_address))
    switch = await systems.start("office", office, lambda builder: builder.with_max_sessions(1))
    caller = await systems.start("alice")
    with pytest.raises(CallRejected) as caught:
        await (await systems.call(caller, switch)).wait_for_answer(5)
    assert caught.value.status == 503 and office.of("error") == []


async def test_a_forward_of_a_caller_with_no_codec_in_common_is_488_and_no_error_of_the_handler(systems):
    target = await systems.start("desk", Recorder())
    office = Recorder(CallDecision.Forward(target.local_address))
    switch = await systems.start("office", office, lambda builder: builder.with_codecs("PCMA"))
    caller = await systems.start("alice", None, lambda builder: builder.with_codecs("PCMU"))
    with pytest.raises(CallRejected) as caught:
        await (await systems.call(caller, switch)).wait_for_answer(5)
    assert caught.value.status == 488 and office.of("error") == []


async def test_holding_passes_between_the_legs(systems):
    desk = Recorder()
    target = await systems.start("desk", desk)
    switch = await systems.start("office", Recorder(CallDecision.Forward(target.local_address)))
    caller = await systems.start("alice")
    call = await systems.answered(caller, switch)
    called = (await desk.wait("established"))[0]
    await call.hold()
    await until(lambda: called.remote_hold)
    assert (called.state, call.state) == (CallState.ACTIVE, CallState.ON_HOLD)
    await call.resume()
    await until(lambda: not called.remote_hold)
    await called.hold()
    await until(lambda: call.remote_hold)
    await called.resume()
    await until(lambda: not call.remote_hold)
    await call.hangup()


async def test_digits_by_info_become_events_at_the_other_leg(systems):
    desk = Recorder()
    target = await systems.start("desk", desk)
    switch = await systems.start("office", Recorder(CallDecision.Forward(target.local_address)))
    caller = await systems.start("alice")
    call = await systems.answered(caller, switch)
    await desk.wait("established")
    await SessionControl.send_dtmf(caller, call.id, "4#", method=DtmfMethod.INFO)
    await until(lambda: len(desk.of("dtmf")) == 2)
    assert [digit for _, digit, _ in desk.of("dtmf")] == ["4", "#"]
    await call.hangup()


async def test_headers_pass_by_policy(systems):
    desk = Recorder()
    target = await systems.start("desk", desk)
    sent = {"Subject": "lunch", "P-Asserted-Identity": "<sip:boss@example.com>", "X-Account": "7"}
    for configure, passed in [
        (lambda builder: builder, ["Subject"]),
        (lambda builder: builder.with_forwarded_headers(), []),
        (
            lambda builder: builder.with_forwarded_headers("p-asserted-identity", "X-Account"),
            ["P-Asserted-Identity", "X-Account"],
        ),
    ]:
        switch = await systems.start("office", Recorder(CallDecision.Forward(target.local_address)), configure)
        caller = await systems.start("alice")
        call = await SessionControl.create_outgoing_call(
            caller, "sip:alice@example.com", switch.local_address, headers=sent
        )
        await call.wait_for_answer(5)
        assert [name for name in sent if name in desk.incoming.headers] == passed
        await call.hangup()
    with pytest.raises(InvalidHeader):
        SessionManagerBuilder().with_forwarded_headers("Via")
    with pytest.raises(InvalidHeader):
        SessionManagerBuilder().with_forwarded_headers("X\r\nY")
