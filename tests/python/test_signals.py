import asyncio

import numpy as np
import pytest
from support import Recorder
from support.tones import strongest

from ringback import MediaControl, Signal

RATE = 8000


async def call_of(systems):
    handler = Recorder()
    called = await systems.start("called", handler)
    caller = await systems.start("caller")
    call = await systems.answered(caller, called)
    at_called = (await handler.wait("established"))[0]
    return caller, call, called, at_called


async def heard(stream, pitch, on, off):
    """Waits for one whole tone of that pitch and length, and the pause after it: a busy machine may spoil some."""
    frames, runs = [], []
    try:
        async with asyncio.timeout(15):
            async for frame in stream:
                frames.append(frame)
                sounds = bool(np.abs(frame).max() > 500)
                if runs and runs[-1][0] is sounds:
                    runs[-1][1] += 20
                    continue
                runs.append([sounds, 20])
                # The first may have begun before, the last has only begun.
                if len(runs) < 4 or not sounds:
                    continue
                tone, pause = runs[-3][1], runs[-2][1]
                # A packet or two may be hidden by the edges.
                if abs(tone - on) <= 40 and abs(pause - off) <= 40:
                    end = len(frames) - 1 - pause // 20
                    samples = np.concatenate(frames[end - tone // 20 : end])
                    assert abs(strongest(samples, RATE) - pitch) < 10
                    return
    except TimeoutError:
        raise AssertionError(f"no {on} ms of a tone and {off} ms of a pause in {runs}") from None


@pytest.mark.parametrize(
    ("signal", "country", "pitch", "on", "off"),
    [
        (Signal.BUSY, "de", 425, 480, 480),
        (Signal.CONGESTION, "FR", 440, 250, 250),
        (Signal.BUSY, None, 425, 500, 500),
    ],
)
async def test_signals_are_heard_with_their_cadence(systems, signal, country, pitch, on, off):
    caller, call, called, at_called = await call_of(systems)
    stream = await MediaControl.open_audio(caller, call.id, sample_rate=RATE)
    playing = asyncio.create_task(MediaControl.play_signal(called, at_called.id, signal, country=country))
    await heard(stream, pitch, on, off)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing


async def test_a_signal_may_have_its_time(systems):
    _, _, called, at_called = await call_of(systems)
    await asyncio.wait_for(
        MediaControl.play_signal(called, at_called.id, Signal.RINGBACK, country="gb", duration=0.3), 5
    )
    playing = asyncio.create_task(MediaControl.play_signal(called, at_called.id, Signal.RINGBACK, country="us"))
    await asyncio.sleep(0)  # It has asked, and nothing sounds yet.
    await MediaControl.stop_playing(called, at_called.id)
    await asyncio.wait_for(playing, 5)


async def test_what_is_no_signal(systems):
    _, _, called, at_called = await call_of(systems)
    with pytest.raises(ValueError, match="xx"):
        await MediaControl.play_signal(called, at_called.id, Signal.BUSY, country="xx")
    with pytest.raises(ValueError):
        await MediaControl.play_signal(called, at_called.id, "dial")
    with pytest.raises(ValueError):
        await MediaControl.play_signal(called, at_called.id, Signal.BUSY, duration=0)
