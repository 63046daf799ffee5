"""Audio to and from programs, over real calls."""

import asyncio
import gc
import time
import weakref

import numpy as np
import pytest
from support import Recorder, until
from support.tones import listen, sine, strongest

from ringback import (
    AudioStream,
    CallDecision,
    InvalidState,
    MediaControl,
    MediaError,
    NotRunningError,
    SessionControl,
    SessionId,
)

RATES = [8000, 16000, 24000, 48000]


async def connected(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    return caller, call, called, (await bob.wait("established"))[0]


@pytest.mark.parametrize("rate", RATES)
async def test_a_tone_arrives_at_each_rate(systems, rate):
    caller, call, called, other = await connected(systems)
    talk = await MediaControl.open_audio(caller, call.id, sample_rate=rate)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=rate)
    assert (talk.sample_rate, talk.frame_ms, hear.frame_ms) == (rate, 20, 20)
    await talk.write(sine(1000, 1.0, rate))
    heard = await asyncio.wait_for(listen(hear, 0.5), 10)
    assert heard.dtype == np.int16 and heard.shape == (rate // 2,)
    assert abs(strongest(heard, rate) - 1000) < 10
    assert 4000 < np.abs(heard[rate // 10 :]).max() < 16000


@pytest.mark.parametrize("frame_ms", [10, 20, 30, 60])
async def test_frames_have_their_length_and_pace(systems, frame_ms):
    caller, call, _, _ = await connected(systems)
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=16000, frame_ms=frame_ms)
    loop = asyncio.get_running_loop()
    frames = aiter(stream)
    for _ in range(5):
        assert (await anext(frames)).shape == (16 * frame_ms,)
    # What had come before the stream was opened comes at once; then the pace is real time.
    while loop.time() and stream._read() is not None:
        pass
    before = loop.time()
    for _ in range(10):
        await anext(frames)
    assert 0.5 < (loop.time() - before) / (10 * frame_ms / 1000) < 2


async def test_int16_float32_and_bytes_are_the_same(systems):
    caller, call, called, other = await connected(systems)
    talk = await MediaControl.open_audio(caller, call.id, sample_rate=8000)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    whole = sine(500, 0.3, 8000)
    await talk.write(whole)
    await talk.write((whole / 32767).astype(np.float32))
    await talk.write(whole.tobytes())
    await talk.write(np.repeat(whole, 2)[::2])  # not contiguous
    heard = await asyncio.wait_for(listen(hear, 1.1), 10)
    for part in np.split(heard[800:8000], 9):
        assert abs(strongest(part, 8000) - 500) < 15 and 5000 < np.abs(part).max() < 11000


@pytest.mark.parametrize(
    ("samples", "error"),
    [
        (np.zeros(10, np.int32), TypeError),
        (np.zeros(10, np.float64), TypeError),
        (np.zeros((2, 10), np.int16), ValueError),
        (b"odd", ValueError),
        ([1, 2, 3], TypeError),
        (None, TypeError),
        ("text", TypeError),
    ],
)
async def test_other_samples(systems, samples, error):
    caller, call, _, _ = await connected(systems)
    stream = await MediaControl.open_audio(caller, call.id)
    with pytest.raises(error):
        await stream.write(samples)


async def test_writing_waits_when_full(systems):
    caller, call, _, _ = await connected(systems)
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=16000)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await stream.write(np.zeros(16000, np.int16))
    assert loop.time() - before < 0.5, "a second fits at once"
    await stream.write(np.zeros(3 * 16000, np.int16))
    waited = loop.time() - before
    assert 1.2 < waited < 4
    assert stream.played_samples >= 16000
    written = asyncio.create_task(stream.write(np.zeros(16000 * 60, np.int16)))
    await asyncio.sleep(0.1)
    assert not written.done()
    written.cancel()
    with pytest.raises(asyncio.CancelledError):
        await written


async def test_flush_and_the_count_of_what_was_played(systems):
    caller, call, _, _ = await connected(systems)
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=8000)
    loop = asyncio.get_running_loop()
    await stream.flush()
    before = loop.time()
    await stream.write(np.ones(4000, np.int16))
    assert stream.played_samples < 4000
    await stream.flush()
    assert 0.3 < loop.time() - before < 1.5 and stream.played_samples == 4000


async def test_clear_drops_what_was_not_sent(systems):
    caller, call, _, _ = await connected(systems)
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=8000)
    await stream.write(np.ones(8000, np.int16))
    await until(lambda: stream.played_samples >= 800)
    sent = stream.clear()
    assert 800 <= sent <= 4000 and stream.played_samples == sent
    await stream.flush()
    assert stream.played_samples == sent and stream.clear() == 0
    await stream.write(np.ones(800, np.int16))
    await stream.flush()
    assert stream.clear() == 800


async def test_clear_ends_a_write_that_waits_for_room(systems):
    """Barge-in in the middle of a long answer: none of the rest of it is said."""
    caller, call, _, _ = await connected(systems)
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=8000)
    saying = asyncio.create_task(stream.write(sine(500, 30.0, 8000)))
    await until(lambda: stream.played_samples > 0, what="the first of it")
    sent = stream.clear()
    await asyncio.wait_for(saying, 10)
    await asyncio.wait_for(stream.flush(), 10)
    assert 0 < sent < 30 * 8000 and stream.played_samples == sent and stream.clear() == 0
    await stream.write(sine(500, 0.1, 8000))
    await asyncio.wait_for(stream.flush(), 10)
    assert stream.clear() == 800, "what is written afterwards is said"


async def test_what_came_before_the_stream_was_opened_comes_first(systems):
    caller, call, called, other = await connected(systems)
    tone = asyncio.create_task(MediaControl.play_tone(caller, call.id, [700.0], duration=1.0))
    await asyncio.sleep(1.0)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    loop = asyncio.get_running_loop()
    before = loop.time()
    heard = await asyncio.wait_for(listen(hear, 0.7), 5)
    assert loop.time() - before < 0.5, "faster than real time"
    assert abs(strongest(heard, 8000) - 700) < 10
    await tone


async def test_iteration_ends_with_the_call(systems):
    _, call, called, other = await connected(systems)
    hear = await MediaControl.open_audio(called, other.id)
    count = 0

    async def read():
        nonlocal count
        async for _ in hear:
            count += 1

    reader = asyncio.create_task(read())
    await until(lambda: count > 3)
    await call.hangup()
    await asyncio.wait_for(reader, 5)
    assert [frame async for frame in hear] == []
    await hear.write(np.zeros(160, np.int16))
    with pytest.raises(MediaError):
        await hear.write(np.zeros(160, np.int16))
    await hear.flush()
    await hear.close()


async def test_a_writer_is_released_by_the_end_of_the_call(systems):
    caller, call, _, _ = await connected(systems)
    stream = await MediaControl.open_audio(caller, call.id)
    writing = asyncio.create_task(stream.write(np.zeros(16000 * 60, np.int16)))
    flushing = asyncio.create_task(stream.flush())
    await asyncio.sleep(0.05)
    await call.hangup()
    await asyncio.wait_for(asyncio.gather(writing, flushing), 5)


async def test_close(systems):
    caller, call, called, other = await connected(systems)
    stream = await MediaControl.open_audio(caller, call.id)
    reader = asyncio.create_task(anext(aiter(stream)))
    await stream.close()
    await stream.close()
    await asyncio.wait({reader}, timeout=5)
    assert isinstance(reader.exception(), StopAsyncIteration) or reader.result() is not None
    with pytest.raises(MediaError):
        await stream.write(np.zeros(160, np.int16))
    again = await MediaControl.open_audio(caller, call.id)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    async with again:
        await again.write(sine(600, 0.5, 16000))
        assert abs(strongest(await asyncio.wait_for(listen(hear, 0.3), 5), 8000) - 600) < 15


async def test_another_stream_of_the_call_ends_the_one_before(systems):
    caller, call, _, _ = await connected(systems)
    first = await MediaControl.open_audio(caller, call.id)
    second = await MediaControl.open_audio(caller, call.id)

    async def drain(stream):
        return [frame async for frame in stream]

    await asyncio.wait_for(drain(first), 5)
    await first.close()
    assert (await asyncio.wait_for(anext(aiter(second)), 5)).shape == (320,)


@pytest.mark.parametrize("ending", ["dropped", "closed"])
async def test_a_stream_that_is_opened_anew_outlives_the_one_before(systems, ending):
    caller, call, _, _ = await connected(systems)
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=8000)
    for _ in range(30):
        before, stream = stream, await MediaControl.open_audio(caller, call.id, sample_rate=8000)
        if ending == "closed":
            await before.close()
        del before
        async with asyncio.timeout(5):
            assert [len(await anext(stream)) for _ in range(2)] == [160, 160]


async def test_a_reader_that_is_too_slow_loses_its_own_frames_and_they_are_counted(systems):
    caller, call, called, other = await connected(systems)
    slow = await MediaControl.open_audio(called, other.id, frame_ms=10)
    quick = await MediaControl.open_audio(caller, call.id)
    count = 0

    async def read():
        nonlocal count
        async for _ in quick:
            count += 1

    reader = asyncio.create_task(read())
    await until(lambda: slow.dropped_frames > 10, timeout=15)
    assert count > 150 and quick.dropped_frames == 0
    reader.cancel()


async def test_a_stream_nobody_holds_is_closed(systems):
    caller, call, called, other = await connected(systems)
    await MediaControl.open_audio(caller, call.id)
    gc.collect()
    tone = asyncio.create_task(MediaControl.play_tone(caller, call.id, [700.0], duration=5.0))
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    assert abs(strongest(await asyncio.wait_for(listen(hear, 0.3), 5), 8000) - 700) < 15
    tone.cancel()


async def test_a_reading_task_that_nobody_holds_goes_on_until_the_call_ends(systems):
    caller, call, _, _ = await connected(systems)
    frames, streams, over = [], [], asyncio.Event()

    async def read():
        stream = await MediaControl.open_audio(caller, call.id)
        streams.append(weakref.ref(stream))
        async for frame in stream:
            frames.append(len(frame))
        over.set()

    asyncio.create_task(read())  # noqa: RUF006
    for _ in range(10):
        count = len(frames)
        await until(lambda: len(frames) > count + 2)  # noqa: B023
        gc.collect()
    await call.hangup()
    await asyncio.wait_for(over.wait(), 5)
    await asyncio.sleep(0)
    gc.collect()
    assert [stream() for stream in streams] == [None]


@pytest.mark.parametrize("wrong", [{"sample_rate": 44100}, {"sample_rate": 0}, {"frame_ms": 9}, {"frame_ms": 61}])
async def test_wrong_rates_and_frames(systems, wrong):
    caller, call, _, _ = await connected(systems)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        await MediaControl.open_audio(caller, call.id, **wrong)


async def test_calls_without_audio(systems):
    bob = Recorder(CallDecision.Defer())
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.call(caller, called)
    with pytest.raises((InvalidState, MediaError)):
        await MediaControl.open_audio(caller, call.id)
    with pytest.raises(LookupError):
        await MediaControl.open_audio(caller, SessionId())
    await SessionControl.stop(caller)
    with pytest.raises(NotRunningError):
        await MediaControl.open_audio(caller, call.id)
    with pytest.raises(TypeError):
        AudioStream()


async def test_echo_by_a_program(systems):
    caller, call, called, other = await connected(systems)
    mine = await MediaControl.open_audio(caller, call.id)
    theirs = await MediaControl.open_audio(called, other.id)

    async def echo():
        async for frame in theirs:
            await theirs.write(frame)

    echoing = asyncio.create_task(echo())
    await mine.write(sine(900, 1.5, 16000))
    assert abs(strongest(await asyncio.wait_for(listen(mine, 0.5), 5), 16000) - 900) < 10
    await call.hangup()
    await asyncio.wait_for(echoing, 5)


async def test_a_handler_that_blocks_the_loop_costs_the_calls_no_packet(systems):
    """Ten seconds, in which no program runs: RTP goes on, nothing is lost, and what came is there afterwards."""
    caller, call, called, other = await connected(systems)
    stream = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    playing = asyncio.create_task(MediaControl.play_tone(caller, call.id, [700.0], duration=60))
    await asyncio.wait_for(listen(stream, 0.2), 10)
    before = [await MediaControl.get_media_statistics(*end) for end in ((caller, call.id), (called, other.id))]
    time.sleep(10)  # noqa: ASYNC251 - the point of the test
    after = [await MediaControl.get_media_statistics(*end) for end in ((caller, call.id), (called, other.id))]
    for one, two in zip(before, after, strict=True):
        # 500 at least, and most of them however late a busy machine lets them be.
        assert two.packets_received - one.packets_received > 250
        assert two.packets_lost == 0
    # The frames of the last seconds, and the count of those that did not fit.
    assert stream.dropped_frames > 0
    heard = await asyncio.wait_for(listen(stream, 1.0), 10)
    assert abs(strongest(heard, 8000) - 700) < 10
    playing.cancel()


async def test_a_stream_is_kept_through_bridges(systems):
    bob = Recorder()
    server = await systems.start("bob", bob)
    callers = [await systems.start(name) for name in ("alice", "carol")]
    calls = [await systems.answered(caller, server) for caller in callers]
    await bob.wait("established", 2)
    ends = [call for call, *_ in bob.of("established")]
    stream = await MediaControl.open_audio(server, ends[0].id, sample_rate=8000)
    playing = asyncio.create_task(MediaControl.play_tone(callers[0], calls[0].id, [600.0], duration=60))
    for _ in range(2):
        bridge = await server.bridge_sessions(ends[0].id, ends[1].id)
        heard = await asyncio.wait_for(listen(stream, 0.5), 10)
        assert abs(strongest(heard, 8000) - 600) < 10
        await server.destroy_bridge(bridge)
        assert abs(strongest(await asyncio.wait_for(listen(stream, 0.5), 10), 8000) - 600) < 10
    await stream.write(sine(500, 0.2, 8000))
    await asyncio.wait_for(stream.flush(), 10)
    assert stream.played_samples == 1600
    playing.cancel()


def unaligned(count, dtype):
    """As `np.frombuffer` gives it for the payload of a packet with an odd header."""
    array = np.frombuffer(b"x" + bytes(count * np.dtype(dtype).itemsize), dtype=dtype, offset=1)
    assert not array.flags.aligned
    return array


async def test_arrays_and_buffers_of_any_layout_are_taken(systems):
    caller, call, _, _ = await connected(systems)
    stream = await MediaControl.open_audio(caller, call.id)
    samples = np.arange(320, dtype=np.int16)
    layouts = [
        samples[::2], samples[::-1], unaligned(160, np.int16), unaligned(160, np.float32), samples.tobytes(),
        bytearray(320), memoryview(bytes(320)), unaligned(320, np.int16)[::2],
    ]  # fmt: skip
    before = 0
    for layout in layouts:
        await stream.write(layout)
        assert stream._queued + stream.played_samples > before
        before = stream._queued + stream.played_samples
    await MediaControl.play(caller, call.id, unaligned(160, np.int16), sample_rate=8000)
    async with caller.audio_batches([call.id]) as batches:
        await batches.write([call.id], unaligned(320, np.int16).reshape(1, 320))


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
async def test_a_write_of_hours_leaves_the_loop_to_others(systems, dtype):
    caller, call, _, _ = await connected(systems)
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=8000)
    # A billion samples, 34 hours, in the memory of one.
    writing = asyncio.create_task(stream.write(np.broadcast_to(dtype(1), 10**9)))
    turns = 0
    while stream.played_samples < 8000:
        await asyncio.sleep(0.005)
        turns += 1
    assert turns > 10
    stream.clear()
    await asyncio.wait_for(writing, 20)


@pytest.mark.parametrize("name", ["sample_rate", "frame_ms"])
async def test_numbers_without_bounds_are_beyond_the_range(systems, name):
    caller, call, _, _ = await connected(systems)
    for number in (10**30, -(10**30)):
        with pytest.raises(ValueError, match=name):
            await MediaControl.open_audio(caller, call.id, **{name: number})
