"""What baresip recorded of us, and we of it, by its spectrum: each tone as loud as it was said, and nothing else."""

import asyncio
import wave
from pathlib import Path

import numpy as np
import pytest
from baresip_peer import Baresip
from numpy.typing import NDArray
from systems import Recorder, dial, soon, system, tone, until

from ringback import AudioStream, CallSession, MediaControl

pytestmark = [pytest.mark.peer("baresip"), pytest.mark.timeout(120)]
EXPECTED = ("sip", "sdp", "rtp", "rtcp", "udp")
RATE = 8000
# What we say to the one, and what the peers of the conference play.
CHORD = (430.0, 1150.0, 2300.0)
PITCHES = (520.0, 710.0, 930.0)


def spectrum(samples: NDArray[np.int16], rate: int = RATE) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies, and the amplitude of a sine at each."""
    window = np.hanning(samples.size)
    return np.fft.rfftfreq(samples.size, 1 / rate), np.abs(np.fft.rfft(samples * window)) * 2 / window.sum()


def level(samples: NDArray[np.int16], hz: float, rate: int = RATE) -> float:
    """dB of what is around `hz`, against the tones that are said."""
    frequencies, amplitudes = spectrum(samples, rate)
    near = np.abs(frequencies - hz) < 12
    return float(20 * np.log10(amplitudes[near].max() / 8000 + 1e-9))


def others(samples: NDArray[np.int16], tones: tuple[float, ...], rate: int = RATE) -> float:
    """dB of the strongest that is none of `tones`."""
    frequencies, amplitudes = spectrum(samples, rate)
    for hz in tones:
        amplitudes = np.where(np.abs(frequencies - hz) < 25, 0, amplitudes)
    return float(20 * np.log10(amplitudes.max() / 8000 + 1e-9))


async def until_recorded(peer: Baresip, expected: dict[float, float], absent: tuple[float, ...]) -> None:
    """Until half a second of what the peer recorded has the tones of `expected` within 3 dB of their levels, and at least 30 dB less
    of those that are `absent` and of anything else.
    """
    start, seen = peer.heard().size, ""

    def right() -> bool:
        nonlocal seen
        part = peer.heard()[start:][-RATE // 2 :]
        if part.size < RATE // 2:
            return False
        found = {hz: level(part, hz) for hz in expected}
        rest = others(part, tuple(expected))
        wrong = {hz: level(part, hz) for hz in absent}
        seen = f"{found}, absent {wrong}, the rest {rest:.1f} dB"
        loud = min(expected.values())
        return (
            all(abs(found[hz] - expected[hz]) < 3 for hz in expected)
            and all(is_ < loud - 30 for is_ in wrong.values())
            and rest < loud - 25
        )

    try:
        await until(right, 30, "the tones in baresip's recording")
    except AssertionError:
        raise AssertionError(f"baresip recorded {seen}, and not {expected}") from None


async def say(stream: AudioStream) -> None:
    chord = sum(tone(hz, 1.0).astype(np.int32) // 4 for hz in CHORD)
    while True:
        # A whole number of periods a second: no seam is heard.
        await stream.write(chord.astype(np.int16))


@pytest.mark.parametrize("codec", ["PCMA", "G722", "opus"])
async def test_a_call_is_recorded_alike_at_both_ends(codec: str, tmp_path: Path) -> None:
    """Three tones of ours at baresip, its one at ours; our own recording has both, one a channel."""
    async with Baresip(660.0, codec=codec) as peer, await system(Recorder()) as ours:
        call = await dial(ours, peer.uri())
        await call.wait_for_answer(20)
        stream = await MediaControl.open_audio(ours, call.id, sample_rate=RATE)
        saying = asyncio.create_task(say(stream))
        try:
            # A quarter of the amplitude each.
            await until_recorded(peer, dict.fromkeys(CHORD, -12.0), (660.0,))
            path = tmp_path / "call.wav"
            recording = await MediaControl.record(ours, call.id, str(path), stereo=True)
            await until(lambda: recording.duration > 3, what="three seconds of a recording")
            assert await recording.stop() > 2.5
        finally:
            saying.cancel()
            await asyncio.gather(saying, return_exceptions=True)
    with wave.open(str(path)) as file:
        rate, channels = file.getframerate(), file.getnchannels()
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, channels)
    assert channels == 2 and rate == {"PCMA": 8000, "G722": 16_000, "opus": 48_000}[codec]
    received, sent = (channel_part(samples[:, channel], rate) for channel in range(2))
    assert abs(level(received, 660.0, rate)) < 3
    assert all(level(received, hz, rate) < -35 for hz in CHORD)
    assert all(abs(level(sent, hz, rate) + 12) < 3 for hz in CHORD)
    assert level(sent, 660.0, rate) < -40


def channel_part(channel: NDArray[np.int16], rate: int) -> NDArray[np.int16]:
    """A second, past the beginning in which the playout buffers fill."""
    return channel[rate : 2 * rate]


async def test_a_conference_of_mixed_codecs() -> None:
    """Each hears the others as loud as they are, whatever they speak, and itself not at all."""
    handler = Recorder()
    async with (
        await system(handler) as server,
        Baresip(PITCHES[0], codec="opus") as wide,
        Baresip(PITCHES[1], codec="G722") as middle,
        Baresip(PITCHES[2], codec="PCMA") as narrow,
    ):
        bridge = await server.create_bridge("mixed")
        calls: list[CallSession] = []
        for peer, codec in ((wide, "opus"), (middle, "G722"), (narrow, "PCMA")):
            await peer.command("dial", server.local_address)
            call = await soon(handler.established)
            info = await MediaControl.get_media_info(server, call.id)
            assert info is not None and info.codec == codec
            await server.add_session_to_bridge(bridge, call.id)
            calls.append(call)
        for place, peer in enumerate((wide, middle, narrow)):
            heard = {hz: 0.0 for n, hz in enumerate(PITCHES) if n != place}
            await until_recorded(peer, heard, (PITCHES[place],))
        await server.destroy_bridge(bridge)
        for call in calls:
            await call.hangup()
