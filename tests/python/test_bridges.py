import asyncio
from datetime import UTC, datetime

import pytest
from support import Recorder, until
from support.tones import listen, strongest

from ringback import BridgeId, BridgeNotFound, CallState, InvalidState, MediaControl, SessionId, SessionNotFound


async def two_calls(systems):
    """A switch that has called two parties: (switch, its calls, the parties and their sessions)."""
    switch = await systems.start("switch")
    sides = []
    for name in ("ann", "ben"):
        handler = Recorder()
        party = await systems.start(name, handler)
        call = await systems.answered(switch, party)
        sides.append((call, party, (await handler.wait("established"))[0]))
    return switch, sides


async def test_two_calls_hear_each_other(systems):
    switch, [(a, ann, at_ann), (b, ben, at_ben)] = await two_calls(systems)
    bridge = await switch.bridge_sessions(a.id, b.id)
    assert isinstance(bridge, BridgeId)
    tones = [
        asyncio.create_task(MediaControl.play_tone(ann, at_ann.id, [500.0], duration=10)),
        asyncio.create_task(MediaControl.play_tone(ben, at_ben.id, [1200.0], duration=10)),
    ]
    hear_ann = await MediaControl.open_audio(ben, at_ben.id, sample_rate=8000)
    hear_ben = await MediaControl.open_audio(ann, at_ann.id, sample_rate=8000)
    assert abs(strongest(await asyncio.wait_for(listen(hear_ann, 0.4), 5), 8000) - 500) < 15
    assert abs(strongest(await asyncio.wait_for(listen(hear_ben, 0.4), 5), 8000) - 1200) < 15
    for tone in tones:
        tone.cancel()


async def test_what_is_told_about_bridges(systems):
    switch, [(a, _, _), (b, _, _)] = await two_calls(systems)
    assert await switch.list_bridges() == [] and await switch.get_session_bridge(a.id) is None
    bridge = await switch.bridge_sessions(a.id, b.id)
    info = await switch.get_bridge(bridge)
    assert (info.id, info.participant_count, info.locked) == (bridge, 2, False)
    assert sorted(info.sessions) == sorted([a.id, b.id])
    assert abs((datetime.now(UTC) - info.created_at).total_seconds()) < 10
    assert await switch.list_bridges() == [info]
    assert await switch.get_session_bridge(a.id) == await switch.get_session_bridge(b.id) == bridge
    await switch.destroy_bridge(bridge)
    assert await switch.get_bridge(bridge) is None and await switch.list_bridges() == []
    assert await switch.get_session_bridge(a.id) is None
    assert (a.state, b.state) == (CallState.ACTIVE, CallState.ACTIVE)


async def test_a_bridge_ends_with_a_call_and_the_other_stays(systems):
    switch, [(a, _, _), (b, _, _)] = await two_calls(systems)
    bridge = await switch.bridge_sessions(a.id, b.id)
    await a.hangup()
    assert await switch.get_bridge(bridge) is None
    assert b.state is CallState.ACTIVE


async def test_unknown_bridges_and_sessions(systems):
    switch, [(a, _, _), (b, _, _)] = await two_calls(systems)
    assert await switch.get_bridge(BridgeId()) is None
    unknown = BridgeId()
    for method in (switch.destroy_bridge, switch.lock_bridge):
        with pytest.raises(BridgeNotFound, match=str(unknown)) as raised:
            await method(unknown)
        assert raised.value.bridge_id == unknown
    with pytest.raises(SessionNotFound):
        await switch.bridge_sessions(a.id, SessionId())
    with pytest.raises(SessionNotFound):
        await switch.get_session_bridge(SessionId())
    with pytest.raises((InvalidState, ValueError)):
        await switch.bridge_sessions(a.id, a.id)
    await b.hangup()
    with pytest.raises(InvalidState):
        await switch.bridge_sessions(a.id, b.id)
    with pytest.raises(TypeError):
        await switch.bridge_sessions(a, b)


async def test_bridged_calls_can_be_bridged_anew(systems):
    switch, [(a, _, _), (b, _, _)] = await two_calls(systems)
    third = await systems.answered(switch, await systems.start("cleo", Recorder()))
    await switch.bridge_sessions(a.id, b.id)
    try:
        again = await switch.bridge_sessions(a.id, third.id)
    except InvalidState:
        await switch.destroy_bridge(await switch.get_session_bridge(a.id))
        again = await switch.bridge_sessions(a.id, third.id)
    info = await switch.get_bridge(again)
    assert sorted(info.sessions) == sorted([a.id, third.id])
    await until(lambda: b.state is CallState.ACTIVE)
