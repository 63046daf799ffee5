"""The audio of many calls as one array a tick."""

import asyncio
import time

import numpy as np
import pytest
from support import Recorder, until
from support.tones import listen, sine, strongest

from ringback import AudioBatch, MediaControl, MediaError, NotRunningError, SessionControl, SessionId

TONES = (500.0, 900.0, 1400.0)


async def calls(systems, count):
    """A system with so many calls, and for each the far end's coordinator and session."""
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    made = [await systems.answered(caller, called) for _ in range(count)]
    await until(lambda: len(bob.of("established")) == count)
    by_call_id = {session.call_id: session for session, *_ in bob.of("established")}
    return caller, made, called, [by_call_id[call.call_id] for call in made]


def hold_the_loop(seconds):
    """As a program does that computes for too long."""
    time.sleep(seconds)


async def take(batches, count):
    taken = []
    async with asyncio.timeout(20):
        async for batch in batches:
            taken.append(batch)
            if len(taken) == count:
                return taken
    return taken


def row(batches, session):
    return np.concatenate([batch.samples[list(batch.sessions).index(session)] for batch in batches])


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
async def test_each_row_is_its_call(systems, rate):
    caller, made, called, others = await calls(systems, 3)
    for other, hz in zip(others, TONES, strict=True):
        tone = MediaControl.play(called, other.id, sine(hz, 5, 8000), sample_rate=8000)
        asyncio.get_running_loop().call_soon(asyncio.ensure_future, tone)
    ids = [call.id for call in made]
    async with caller.audio_batches(ids, sample_rate=rate) as batches:
        taken = (await take(batches, 60))[25:]
        assert all(isinstance(batch, AudioBatch) for batch in taken)
        assert all(list(batch.sessions) == ids and batch.samples.shape == (3, rate // 50) for batch in taken)
        assert all(batch.samples.dtype == np.int16 for batch in taken)
        assert [batch.tick for batch in taken] == list(range(25, 60))
        for call, hz in zip(made, TONES, strict=True):
            assert abs(strongest(row(taken, call.id), rate) - hz) < 10
    for other in others:
        await MediaControl.stop_playing(called, other.id)


async def test_what_is_written_reaches_each_call(systems):
    caller, made, called, others = await calls(systems, 3)
    ids = [call.id for call in made]
    batches = caller.audio_batches(ids, sample_rate=16000)
    await take(batches, 5)
    hear = [await MediaControl.open_audio(called, other.id, sample_rate=8000) for other in others]
    writing = asyncio.create_task(batches.write(ids, np.stack([sine(hz, 2.0, 16000) for hz in TONES])))
    heard = await asyncio.gather(*(asyncio.wait_for(listen(stream, 0.5), 10) for stream in hear))
    for samples, hz in zip(heard, TONES, strict=True):
        assert abs(strongest(samples, 8000) - hz) < 10
    await asyncio.wait_for(writing, 5)
    # In another order, to some of them.
    await batches.write(ids[::-1][:2], np.zeros((2, 320), np.int16))
    await batches.close()


async def test_echo_of_all_calls(systems):
    caller, _made, called, others = await calls(systems, 3)
    batches = caller.audio_batches(sample_rate=8000)

    async def echo():
        async for batch in batches:
            await batches.write(batch.sessions, batch.samples)

    echoing = asyncio.create_task(echo())
    for other, hz in zip(others, TONES, strict=True):
        stream = await MediaControl.open_audio(called, other.id, sample_rate=8000)
        await stream.write(sine(hz, 1.5, 8000))
        assert abs(strongest(await asyncio.wait_for(listen(stream, 0.5), 10), 8000) - hz) < 10
    await batches.close()
    await asyncio.wait_for(echoing, 5)


async def test_every_active_call_is_in_and_ended_ones_are_out(systems):
    caller, made, called, _ = await calls(systems, 2)
    batches = caller.audio_batches()
    assert {call.id for call in made} == set((await take(batches, 3))[-1].sessions)
    more = await systems.answered(caller, called)
    async with asyncio.timeout(5):
        async for batch in batches:
            if more.id in batch.sessions:
                break
    await made[0].hangup()
    async with asyncio.timeout(5):
        async for batch in batches:
            if made[0].id not in batch.sessions:
                break
    assert set(batch.sessions) == {made[1].id, more.id} and batch.samples.shape == (2, 320)
    # Its row is dropped, the others' are not.
    await batches.write([made[0].id, more.id], np.zeros((2, 320), np.int16))
    for call in (made[1], more):
        await call.hangup()
    async with asyncio.timeout(5):
        async for batch in batches:
            if not batch.sessions:
                break
    assert batch.samples.shape == (0, 320)
    await SessionControl.stop(caller)
    assert [batch async for batch in batches] == []


async def test_the_iteration_ends_with_the_calls_that_were_named(systems):
    caller, made, _, _ = await calls(systems, 2)
    batches = caller.audio_batches([made[0].id])
    await take(batches, 2)
    await made[0].hangup()
    async with asyncio.timeout(5):
        async for batch in batches:
            assert made[1].id not in batch.sessions


async def test_a_reader_that_is_too_slow_loses_ticks(systems):
    caller, _made, _, _ = await calls(systems, 1)
    batches = caller.audio_batches()
    first = (await take(batches, 5))[-1].tick
    assert first == 4
    hold_the_loop(0.1)
    assert [batch.tick for batch in await take(batches, 5)] == [5, 6, 7, 8, 9], "a little late is made up for"
    hold_the_loop(0.6)
    after = (await take(batches, 1))[0].tick
    assert after > 30
    assert [batch.tick for batch in await take(batches, 3)] == [after + 1, after + 2, after + 3]


async def test_one_stream_a_call(systems):
    caller, made, _, _ = await calls(systems, 2)
    stream = await MediaControl.open_audio(caller, made[0].id)
    batches = caller.audio_batches([call.id for call in made])
    await take(batches, 3)
    async with asyncio.timeout(5):
        async for _ in stream:
            pass
    again = await MediaControl.open_audio(caller, made[0].id)
    async with asyncio.timeout(5):
        async for batch in batches:
            if made[0].id not in batch.sessions:
                break
    await again.close()


async def test_a_row_outlives_the_end_of_the_stream_that_it_took_over_from(systems):
    caller, made, _, _ = await calls(systems, 1)
    for _ in range(20):
        stream = await MediaControl.open_audio(caller, made[0].id)
        batches = caller.audio_batches([made[0].id], frame_ms=10)
        await take(batches, 1)
        del stream
        assert [batch.sessions for batch in await take(batches, 5)] == [(made[0].id,)] * 5
        await batches.close()


async def test_closing_ends_the_wait(systems):
    caller, made, _, _ = await calls(systems, 1)
    batches = caller.audio_batches(frame_ms=60)

    async def read():
        return [batch async for batch in batches]

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.1)
    await batches.close()
    await batches.close()
    await asyncio.wait_for(reading, 5)
    with pytest.raises(MediaError):
        await batches.write([made[0].id], np.zeros((1, 10), np.int16))


async def test_wrong_arguments(systems):
    caller, made, _, _ = await calls(systems, 1)
    for wrong in ({"sample_rate": 44100}, {"frame_ms": 9}, {"frame_ms": 61}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            caller.audio_batches(**wrong)
    with pytest.raises(LookupError):
        caller.audio_batches([SessionId()])
    with pytest.raises(ValueError, match="twice"):
        caller.audio_batches([made[0].id, made[0].id])
    batches = caller.audio_batches()
    await take(batches, 1)
    for samples, error in (
        (np.zeros((2, 10), np.int16), ValueError),
        (np.zeros(10, np.int16), ValueError),
        (np.zeros((1, 10), np.float32), TypeError),
        ([[1, 2]], TypeError),
    ):
        with pytest.raises(error):
            await batches.write([made[0].id], samples)
    await SessionControl.stop(caller)
    with pytest.raises(NotRunningError):
        caller.audio_batches()


async def test_a_row_is_sent_before_the_first_tick_and_after_a_late_answer(systems):
    caller, made, called, others = await calls(systems, 1)
    batches = caller.audio_batches(sample_rate=8000)
    hear = await MediaControl.open_audio(called, others[0].id, sample_rate=8000)
    await batches.write([made[0].id], sine(900, 0.6, 8000).reshape(1, -1))
    assert abs(strongest(await asyncio.wait_for(listen(hear, 0.4), 5), 8000) - 900) < 20
    await batches.close()


@pytest.mark.parametrize("what", ["held", "stopped", "played to"])
async def test_one_call_that_cannot_be_sent_to_holds_up_no_other(systems, what):
    caller, made, called, others = await calls(systems, 2)
    one, other = made[0].id, others[1].id
    hear = await MediaControl.open_audio(called, other, sample_rate=8000)
    batches = caller.audio_batches(sample_rate=8000)
    if what == "held":
        await SessionControl.hold_session(called, others[0].id)
    elif what == "stopped":
        await MediaControl.stop_audio_transmission(caller, one)
    else:
        music = asyncio.create_task(MediaControl.play(caller, one, sine(700, 1, 8000), sample_rate=8000, loop=True))
    rows = np.tile(sine(900, 0.1, 8000), (2, 1))

    async def write():
        for _ in range(40):
            await batches.write([call.id for call in made], rows)

    # Four seconds, and each call has room for one.
    await asyncio.wait_for(write(), 20)
    assert abs(strongest(await asyncio.wait_for(listen(hear, 0.4), 5), 8000) - 900) < 20
    if what == "played to":
        await MediaControl.stop_playing(caller, one)
        await music
    await batches.close()
