"""Files and samples played into calls, as the far end hears them."""

import asyncio
import struct
import wave

import numpy as np
import pytest
from support import Recorder, until
from support.tones import listen, sine, strongest

from ringback import CallDecision, InvalidState, MediaControl, MediaError, SessionControl, SessionId

EXTERNAL = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


async def connected(systems):
    bob = Recorder()
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    call = await systems.answered(caller, called)
    other = (await bob.wait("established"))[0]
    return caller, call, called, other


def write_wav(path, samples, rate, *, channels=1, width=2):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples)
    return str(path)


def level(samples, rate, hz, *, seconds=0.05):
    """RMS of one frequency, in samples: that of most pieces of so many seconds. What a busy machine has late shifts what follows."""
    piece = round(rate * seconds)
    turning = np.exp(-2j * np.pi * hz * np.arange(piece) / rate)
    pieces = samples[: len(samples) // piece * piece].reshape(-1, piece)
    return np.median(np.abs((pieces * turning).mean(axis=1))) * np.sqrt(2)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000])
async def test_a_file_of_each_rate_sounds_the_same(systems, tmp_path, rate):
    caller, call, called, other = await connected(systems)
    path = write_wav(tmp_path / "tone.wav", sine(1000, 1.0, rate), rate)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    loop = asyncio.get_running_loop()
    before = loop.time()
    playing = asyncio.create_task(MediaControl.play(caller, call.id, path))
    heard = await asyncio.wait_for(listen(hear, 0.6), 10)
    await asyncio.wait_for(playing, 5)
    assert 0.7 < loop.time() - before < 3
    assert abs(strongest(heard, 8000) - 1000) < 10
    assert level(heard[800:4000], 8000, 1000) == pytest.approx(8000 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
async def test_two_channels_of_each_width_are_mixed(systems, tmp_path, width):
    caller, call, called, other = await connected(systems)
    both = np.stack([sine(500, 0.5, 16000), sine(1500, 0.5, 16000)], axis=1).reshape(-1).astype(np.int64)
    if width == 1:
        data = ((both >> 8) + 128).astype(np.uint8).tobytes()
    else:
        data = b"".join(struct.pack("<q", int(sample) << (8 * (width - 2)))[:width] for sample in both)
    path = write_wav(tmp_path / "stereo.wav", data, 16000, channels=2, width=width)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    playing = asyncio.create_task(MediaControl.play(caller, call.id, path))
    heard = await asyncio.wait_for(listen(hear, 0.3), 10)
    for hz in (500, 1500):
        assert level(heard[800:2400], 8000, hz) == pytest.approx(4000 / np.sqrt(2), rel=0.1)
    await asyncio.wait_for(playing, 5)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
async def test_samples(systems, rate):
    caller, call, called, other = await connected(systems)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    samples = np.repeat(sine(700, 0.5, rate), 2)[::2]  # not contiguous
    playing = asyncio.create_task(MediaControl.play(caller, call.id, samples, sample_rate=rate))
    heard = await asyncio.wait_for(listen(hear, 0.3), 10)
    assert abs(strongest(heard, 8000) - 700) < 10
    await asyncio.wait_for(playing, 5)
    await MediaControl.play(caller, call.id, np.zeros(0, np.int16), sample_rate=rate)


async def test_a_loop_goes_on_without_a_gap_until_it_is_stopped(systems):
    caller, call, called, other = await connected(systems)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    playing = asyncio.create_task(MediaControl.play(caller, call.id, sine(500, 0.1, 8000), sample_rate=8000, loop=True))
    async with asyncio.timeout(20):
        # Of a gap no second is free.
        while True:
            heard = await listen(hear, 1.0)
            if level(heard[400:], 8000, 500, seconds=0.9) == pytest.approx(8000 / np.sqrt(2), rel=0.05):
                break
    assert not playing.done()
    await MediaControl.stop_playing(caller, call.id)
    await asyncio.wait_for(playing, 5)
    async with asyncio.timeout(5):
        async for frame in hear:
            if np.abs(frame).max() < 100:
                break
    await MediaControl.stop_playing(caller, call.id)


async def test_cancelling_stops_it_alone(systems):
    caller, call, called, other = await connected(systems)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    first = asyncio.create_task(MediaControl.play(caller, call.id, sine(500, 30, 8000), sample_rate=8000))
    await asyncio.wait_for(listen(hear, 0.1), 5)
    second = asyncio.create_task(MediaControl.play(caller, call.id, sine(900, 30, 8000), sample_rate=8000))
    await asyncio.wait_for(first, 5)
    first.cancel()
    heard = await asyncio.wait_for(listen(hear, 0.5), 5)
    assert abs(strongest(heard[2000:], 8000) - 900) < 10
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    async with asyncio.timeout(5):
        async for frame in hear:
            if np.abs(frame).max() < 100:
                break


async def test_cancelled_before_it_begins_it_never_does(systems):
    caller, call, called, other = await connected(systems)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    for _ in range(20):
        playing = asyncio.create_task(MediaControl.play(caller, call.id, sine(500, 30, 8000), sample_rate=8000))
        await asyncio.sleep(0)
        playing.cancel()
        await asyncio.wait({playing})
    frames = 0
    async with asyncio.timeout(5):
        async for frame in hear:
            frames = frames + 1 if np.abs(frame).max() < 100 else 0
            if frames > 15:
                break


async def test_a_long_file_is_not_held_in_memory(systems, tmp_path):
    caller, call, _, _ = await connected(systems)
    path = tmp_path / "hour.wav"
    write_wav(path, b"", 48000)
    with path.open("r+b") as file:
        length = 3600 * 48000 * 2
        file.seek(40)
        file.write(struct.pack("<I", length))
        file.truncate(44 + length)

    def resident():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    before = resident()
    playing = asyncio.create_task(MediaControl.play(caller, call.id, str(path)))
    await asyncio.sleep(1.0)
    assert resident() - before < 20_000_000
    assert not playing.done()
    playing.cancel()
    await asyncio.wait({playing})


async def test_files_that_cannot_be_played(systems, tmp_path):
    caller, call, _, _ = await connected(systems)
    text = tmp_path / "text.wav"
    text.write_text("hello")
    six = write_wav(tmp_path / "six.wav", bytes(12), 8000, channels=6)
    fast = write_wav(tmp_path / "fast.wav", bytes(12), 96000)
    for path, why in [
        (tmp_path / "missing.wav", "missing.wav: No such file"),
        (tmp_path, "not a regular file"),
        (text, "text.wav: not a WAV file"),
        (six, "6 channels"),
        (fast, "96000 Hz"),
    ]:
        with pytest.raises(MediaError, match=why):
            await MediaControl.play(caller, call.id, str(path))
    # A truncated file plays as far as it goes.
    cut = tmp_path / "cut.wav"
    write_wav(cut, sine(500, 1.0, 8000), 8000)
    cut.write_bytes(cut.read_bytes()[:1644])
    await asyncio.wait_for(MediaControl.play(caller, call.id, str(cut)), 5)


@pytest.mark.parametrize(
    ("source", "rate", "error"),
    [
        (np.zeros(10, np.int32), 8000, TypeError),
        (np.zeros(10, np.float32), 8000, TypeError),
        (np.zeros((2, 10), np.int16), 8000, ValueError),
        (np.zeros(10, np.int16), None, ValueError),
        (np.zeros(10, np.int16), 7999, ValueError),
        (np.zeros(10, np.int16), 48001, ValueError),
        (b"bytes", 8000, TypeError),
        (None, None, TypeError),
        ("x.wav", 8000, ValueError),
        ("x\0.wav", None, ValueError),
    ],
)
async def test_wrong_sources(systems, source, rate, error):
    caller, call, _, _ = await connected(systems)
    with pytest.raises(error):
        await MediaControl.play(caller, call.id, source, sample_rate=rate)


async def test_the_end_of_the_call_ends_it(systems):
    caller, call, _, _ = await connected(systems)
    playing = asyncio.create_task(MediaControl.play(caller, call.id, sine(500, 30, 8000), sample_rate=8000))
    await asyncio.sleep(0.1)
    await call.hangup()
    with pytest.raises(InvalidState):
        await asyncio.wait_for(playing, 5)
    with pytest.raises(InvalidState):
        await MediaControl.play(caller, call.id, sine(500, 1, 8000), sample_rate=8000)
    with pytest.raises(LookupError):
        await MediaControl.play(caller, SessionId(), sine(500, 1, 8000), sample_rate=8000)


async def test_stopping_the_system_ends_it(systems):
    caller, call, _, _ = await connected(systems)
    playing = asyncio.create_task(MediaControl.play(caller, call.id, sine(500, 30, 8000), sample_rate=8000, loop=True))
    await asyncio.sleep(0.1)
    await SessionControl.stop(caller)
    await asyncio.wait({playing}, timeout=5)
    assert isinstance(playing.exception(), InvalidState)
    await SessionControl.start(caller)


async def test_a_tone_and_a_sound_replace_each_other(systems):
    caller, call, called, other = await connected(systems)
    hear = await MediaControl.open_audio(called, other.id, sample_rate=8000)
    tone = asyncio.create_task(MediaControl.play_tone(caller, call.id, [400.0], duration=20))
    await asyncio.wait_for(listen(hear, 0.1), 5)
    sound = asyncio.create_task(MediaControl.play(caller, call.id, sine(800, 20, 8000), sample_rate=8000))
    await asyncio.wait_for(tone, 5)
    assert abs(strongest((await asyncio.wait_for(listen(hear, 0.5), 5))[2000:], 8000) - 800) < 10
    tone = asyncio.create_task(MediaControl.play_tone(caller, call.id, [400.0], duration=0.2))
    await asyncio.wait_for(asyncio.gather(sound, tone), 5)


async def test_external_media(systems):
    bob = Recorder(CallDecision.Accept(EXTERNAL))
    called, caller = await systems.start("bob", bob), await systems.start("alice")
    await systems.answered(caller, called)
    other = (await bob.wait("established"))[0]
    await until(lambda: other.answered_at is not None)
    with pytest.raises(MediaError, match="external"):
        await MediaControl.play(called, other.id, sine(500, 1, 8000), sample_rate=8000)
