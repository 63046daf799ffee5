import asyncio
import gc
import wave

import numpy as np
import pytest
from support import Recorder, until
from support.tones import sine

from ringback import (
    BridgeEventKind,
    BridgeId,
    BridgeNotFound,
    BridgeRole,
    CallState,
    InvalidState,
    MediaControl,
    MediaError,
    NotRunningError,
    ResourceExhausted,
    SessionControl,
    SessionId,
    SessionNotFound,
)

RATE = 8000
PITCHES = (500.0, 850.0, 1300.0)


class Room:
    """A conference server, parties that have called it, and their calls at either end."""

    def __init__(self, server, handler):
        self.server = server
        self.handler = handler
        self.parties = []
        self.calls = []
        self.at_server = []
        self.streams = []

    async def add(self, systems, name):
        party = await systems.start(name)
        call = await systems.answered(party, self.server)
        self.parties.append(party)
        self.calls.append(call)
        self.at_server.append((await self.handler.wait("established", len(self.parties)))[0])
        return call

    async def sing(self):
        """Each party sends its pitch and keeps what it hears."""
        for party, call, pitch in zip(self.parties, self.calls, PITCHES, strict=False):
            stream = await MediaControl.open_audio(party, call.id, sample_rate=RATE)
            self.streams.append(stream)
            await stream.write(sine(pitch, 1.9, RATE, peak=3000))

    async def hear(self, index, sings=True):
        """Levels of all pitches in 0.4 s of what one party hears from now on, relative to full pitch."""
        stream, frames = self.streams[index], []
        tone = sine(PITCHES[index], 0.02, RATE, peak=3000)
        async for frame in stream:
            # Its own goes on; whole periods of each pitch in 20 ms.
            if sings:
                await stream.write(tone)
            frames.append(frame)
            if len(frames) == 20:
                break
        samples = np.concatenate(frames)
        time = np.arange(len(samples)) / RATE
        return [2 * abs(np.mean(samples * np.exp(-2j * np.pi * pitch * time))) / 3000 for pitch in PITCHES]

    async def until_hears(self, index, expected, sings=True):
        """Until a party hears just the pitches of `expected`."""
        for _ in range(50):
            levels = await self.hear(index, sings)
            if all(
                (level > 0.7) == (n in expected) and (n in expected or level < 0.1) for n, level in enumerate(levels)
            ):
                return
        raise AssertionError(f"party {index} hears {levels}, not just {expected}")


async def room_of(systems, count):
    handler = Recorder()
    room = Room(await systems.start("conference", handler), handler)
    for n in range(count):
        await room.add(systems, f"party{n}")
    return room


async def joined(room, **keywords):
    bridge = await room.server.create_bridge("weekly", **keywords)
    for session in room.at_server:
        await room.server.add_session_to_bridge(bridge, session.id)
    return bridge


async def test_each_hears_all_but_itself(systems):
    room = await room_of(systems, 3)
    bridge = await joined(room)
    assert isinstance(bridge, BridgeId)
    await room.sing()
    for index, others in enumerate([{1, 2}, {0, 2}, {0, 1}]):
        await room.until_hears(index, others)
    await room.server.remove_session_from_bridge(bridge, room.at_server[2].id)
    for index, others in enumerate([{1}, {0}, set()]):
        await room.until_hears(index, others)
    assert room.at_server[2].state is CallState.ACTIVE
    await room.server.destroy_bridge(bridge)
    await room.until_hears(0, set())
    assert all(call.state is CallState.ACTIVE for call in room.calls)


async def test_roles(systems):
    room = await room_of(systems, 3)
    bridge = await joined(room)
    first, second, third = (session.id for session in room.at_server)
    await room.sing()
    await room.server.set_bridge_role(bridge, third, BridgeRole.LISTENER)
    for index, others in enumerate([{1}, {0}, {0, 1}]):
        await room.until_hears(index, others)
    await room.server.set_bridge_role(bridge, third, BridgeRole.WHISPER, beside=second)
    for index, others in enumerate([{1}, {0, 2}, {0, 1}]):
        await room.until_hears(index, others)
    await room.server.set_bridge_role(bridge, third, BridgeRole.MEMBER)
    await room.until_hears(0, {1, 2})
    with pytest.raises(ValueError):
        await room.server.set_bridge_role(bridge, third, BridgeRole.WHISPER)
    with pytest.raises(ValueError):
        await room.server.set_bridge_role(bridge, third, BridgeRole.MEMBER, beside=first)
    with pytest.raises(ValueError):
        await room.server.set_bridge_role(bridge, third, "chairman")
    await room.server.remove_session_from_bridge(bridge, second)
    with pytest.raises(InvalidState):
        await room.server.set_bridge_role(bridge, second, BridgeRole.LISTENER)
    with pytest.raises(InvalidState):
        await room.server.set_bridge_role(bridge, third, BridgeRole.WHISPER, beside=second)
    with pytest.raises(SessionNotFound):
        await room.server.set_bridge_role(bridge, SessionId(), BridgeRole.LISTENER)


async def test_gain(systems):
    room = await room_of(systems, 2)
    bridge = await joined(room)
    await room.sing()
    await room.until_hears(1, {0})
    await room.server.set_bridge_gain(bridge, room.at_server[0].id, 6.0)
    for _ in range(50):
        if abs((await room.hear(1))[0] - 2.0) < 0.2:
            break
    else:
        raise AssertionError("it is not twice as loud")
    with pytest.raises(ValueError):
        await room.server.set_bridge_gain(bridge, room.at_server[0].id, float("nan"))


async def test_a_third_joins_a_bridge_of_two(systems):
    room = await room_of(systems, 3)
    first, second, third = (session.id for session in room.at_server)
    bridge = await room.server.bridge_sessions(first, second)
    await room.server.add_session_to_bridge(bridge, third)
    await room.sing()
    await room.until_hears(0, {1, 2})
    await room.until_hears(2, {0, 1})
    await room.server.remove_session_from_bridge(bridge, third)
    assert (await room.server.get_bridge(bridge)).participant_count == 2
    # Relayed again.
    await room.until_hears(0, {1})
    await room.until_hears(1, {0})
    await room.server.remove_session_from_bridge(bridge, second)
    assert await room.server.get_bridge(bridge) is None and await room.server.get_session_bridge(first) is None


async def test_what_is_told_about_conferences(systems):
    room = await room_of(systems, 2)
    server = room.server
    bridge = await server.create_bridge("weekly", max_sessions=2)
    empty = await server.get_bridge(bridge)
    assert (empty.name, empty.sessions, empty.participant_count, empty.talking) == ("weekly", (), 0, ())
    first, second = (session.id for session in room.at_server)
    await server.add_session_to_bridge(bridge, first)
    await server.add_session_to_bridge(bridge, first)
    await server.lock_bridge(bridge)
    assert (await server.get_bridge(bridge)).locked
    with pytest.raises(InvalidState):
        await server.add_session_to_bridge(bridge, second)
    await server.lock_bridge(bridge, False)
    await server.add_session_to_bridge(bridge, second)
    info = await server.get_bridge(bridge)
    assert (info.sessions, info.participant_count, info.locked) == ((first, second), 2, False)
    assert await server.list_bridges() == [info] and await server.get_session_bridge(second) == bridge
    await room.add(systems, "late")
    with pytest.raises(ResourceExhausted):
        await server.add_session_to_bridge(bridge, room.at_server[2].id)
    other = await server.create_bridge()
    assert (await server.get_bridge(other)).name is None
    with pytest.raises(InvalidState):
        await server.add_session_to_bridge(other, first)
    await room.calls[0].hangup()
    await until(lambda: room.at_server[0].state is CallState.TERMINATED)
    assert (await server.get_bridge(bridge)).sessions == (second,)
    await server.remove_session_from_bridge(bridge, first)
    with pytest.raises(InvalidState):
        await server.add_session_to_bridge(bridge, first)


async def test_what_cannot_be(systems):
    room = await room_of(systems, 1)
    server, session = room.server, room.at_server[0].id
    for wrong in (0, -1):
        with pytest.raises(ValueError):
            await server.create_bridge(max_sessions=wrong)
    with pytest.raises(TypeError):
        await server.create_bridge(7)
    bridge = await server.create_bridge()
    with pytest.raises(SessionNotFound):
        await server.add_session_to_bridge(bridge, SessionId())
    with pytest.raises(TypeError):
        await server.add_session_to_bridge(session, bridge)
    with pytest.raises(InvalidState):
        await server.remove_session_from_bridge(bridge, session)
    await server.destroy_bridge(bridge)
    for operation in (
        server.add_session_to_bridge(bridge, session),
        server.remove_session_from_bridge(bridge, session),
        server.set_bridge_role(bridge, session, BridgeRole.LISTENER),
        server.lock_bridge(bridge),
        server.play_to_bridge(bridge, sine(500, 0.1, RATE), sample_rate=RATE),
        server.destroy_bridge(bridge),
    ):
        with pytest.raises(BridgeNotFound):
            await operation


async def test_events_reach_every_reader(systems):
    room = await room_of(systems, 2)
    server = room.server
    first, second = (session.id for session in room.at_server)
    bridge = await server.create_bridge()

    async def read(events):
        return [event async for event in events]

    readers = [asyncio.create_task(read(server.bridge_events(bridge))) for _ in range(2)]
    await asyncio.sleep(0)
    third = server.bridge_events(bridge)
    await server.add_session_to_bridge(bridge, first)
    await server.add_session_to_bridge(bridge, second)
    assert (await anext(third)).session == first
    await third.aclose()
    await room.sing()
    infos = []
    while not infos or set(infos[-1].talking) != {first, second}:
        infos.append(await server.get_bridge(bridge))
        await asyncio.sleep(0.01)
    for stream in room.streams:
        stream.clear()
    while infos[-1].talking:
        infos.append(await server.get_bridge(bridge))
        await asyncio.sleep(0.01)
    await room.calls[0].hangup()
    await until(lambda: room.at_server[0].state is CallState.TERMINATED)
    await server.destroy_bridge(bridge)
    one, two = [await asyncio.wait_for(reader, 5) for reader in readers]
    assert one == two
    joins = [(event.kind, event.session) for event in one[:2]]
    assert joins == [(BridgeEventKind.JOINED, first), (BridgeEventKind.JOINED, second)]
    talks = [(event.kind, event.session) for event in one[2:6]]
    assert sorted(talks[:2]) == sorted((BridgeEventKind.TALKING, session) for session in (first, second))
    assert sorted(talks[2:]) == sorted((BridgeEventKind.SILENT, session) for session in (first, second))
    ends = [(event.kind, event.session) for event in one[6:]]
    left, destroyed = BridgeEventKind.LEFT, BridgeEventKind.DESTROYED
    assert ends == [(left, first), (left, second), (destroyed, None)]
    assert [event async for event in third] == []


async def test_events_end_with_the_system(systems):
    room = await room_of(systems, 1)
    server = room.server
    bridge = await joined(room)
    events = server.bridge_events(bridge)
    unread = server.bridge_events(bridge)
    step = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    del unread
    gc.collect()
    await SessionControl.stop(server)
    assert (await asyncio.wait_for(step, 5)).kind is BridgeEventKind.LEFT
    assert [event.kind async for event in events] == [BridgeEventKind.DESTROYED]
    with pytest.raises(NotRunningError):
        server.bridge_events(bridge)
    with pytest.raises(NotRunningError):
        await server.create_bridge()


async def test_events_of_no_bridge(systems):
    server = await systems.start("conference")
    events = server.bridge_events(BridgeId())
    with pytest.raises(BridgeNotFound):
        await anext(events)
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_an_announcement_to_all(systems, tmp_path):
    room = await room_of(systems, 2)
    server = room.server
    bridge = await joined(room)
    for party, call in zip(room.parties, room.calls, strict=True):
        room.streams.append(await MediaControl.open_audio(party, call.id, sample_rate=RATE))
    playing = asyncio.create_task(
        server.play_to_bridge(bridge, sine(PITCHES[2], 3, 16_000, peak=3000), sample_rate=16_000)
    )
    await asyncio.gather(room.until_hears(0, {2}, False), room.until_hears(1, {2}, False))
    await asyncio.wait_for(playing, 5)
    # Cancelled, it is over for all.
    playing = asyncio.create_task(server.play_to_bridge(bridge, sine(500, 100, RATE), sample_rate=RATE))
    await asyncio.sleep(0.1)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    playing = asyncio.create_task(server.play_to_bridge(bridge, sine(500, 100, RATE), sample_rate=RATE))
    await asyncio.sleep(0.1)
    await server.destroy_bridge(bridge)
    await asyncio.wait_for(playing, 5)
    bridge = await server.create_bridge()
    with pytest.raises(MediaError):
        await server.play_to_bridge(bridge, str(tmp_path / "none.wav"))
    with pytest.raises(ValueError):
        await server.play_to_bridge(bridge, sine(500, 0.1, RATE))


async def test_a_recording_of_all(systems, tmp_path):
    room = await room_of(systems, 2)
    server = room.server
    bridge = await joined(room)
    path = tmp_path / "weekly.wav"
    recording = await server.record_bridge(bridge, str(path))
    with pytest.raises(MediaError):
        await server.record_bridge(bridge, str(tmp_path / "another.wav"))
    await room.sing()
    await room.until_hears(0, {1})
    await room.until_hears(1, {0})
    await until(lambda: recording.duration > 1.5)
    written = await recording.stop()
    assert written > 1.4
    with wave.open(str(path)) as file:
        assert file.getnchannels() == 1
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert abs(len(samples) / rate - written) < 0.01
    for pitch in PITCHES[:2]:
        time = np.arange(len(samples)) / rate
        assert 2 * abs(np.mean(samples * np.exp(-2j * np.pi * pitch * time))) > 500
    # The end of the bridge ends it too; nobody need be in it.
    empty = await server.create_bridge()
    recording = await server.record_bridge(empty, str(path))
    await until(lambda: recording.duration > 0.2)
    await server.destroy_bridge(empty)
    assert await recording.stop() > 0.1
    with pytest.raises(BridgeNotFound):
        await server.record_bridge(empty, str(path))
