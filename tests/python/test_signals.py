import asyncio

import numpy as np
import pytest
from support import Recorder
from support.tones import listen, strongest

from ringback import MediaControl, Signal

RATE = 8000


async def call_of(systems):
    handler = Recorder()
    called = await systems.start("called", handler)
    caller = await systems.start("caller")
    call = await systems.answered(caller, called)
    at_called = (await handler.wait("established"))[0]
    return caller, call, called, at_called


def sounding(samples):
    """For each 20 ms whether there is sound."""
    return [bool(np.abs(piece).max() > 500) for piece in samples[: len(samples) // 160 * 160].reshape(-1, 160)]


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
    samples = await asyncio.wait_for(listen(stream, 2 * (on + off) / 1000), 10)
    assert abs(strongest(samples[: on * 6], RATE) - pitch) < 10
    heard = sounding(samples)
    for start, length, expected in ((0, on, True), (on, off, False), (on + off, on, True)):
        # Away from the edges, which a packet or two may hide.
        within = heard[start // 20 + 3 : (start + length) // 20 - 3]
        assert within.count(expected) >= len(within) - 1
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
