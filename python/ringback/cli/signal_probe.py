"""Measures a tone in received audio: the proof that sound arrived, and not only packets."""

import asyncio

import numpy as np
from numpy.typing import NDArray

from ringback import AudioStream


def dominant_frequency(samples: NDArray[np.int16], sample_rate: int) -> float | None:
    """Hz of the strongest component, to about a tenth of the FFT's bin by parabolic interpolation; `None` for silence."""
    if samples.size < 256 or int(np.abs(samples.astype(np.int32)).max()) < 64:
        return None
    windowed = samples.astype(np.float64) * np.hanning(samples.size)
    spectrum = np.log(np.abs(np.fft.rfft(windowed)) + 1e-9)
    peak = int(np.argmax(spectrum[1:-1])) + 1
    before, at, after = (float(spectrum[i]) for i in (peak - 1, peak, peak + 1))
    bend = before - 2 * at + after
    offset = 0.0 if bend == 0 else 0.5 * (before - after) / bend
    return (peak + offset) * sample_rate / samples.size


def tone(frequency: float, seconds: float, sample_rate: int) -> NDArray[np.int16]:
    """A sine at a quarter of full scale, shape (seconds * sample_rate,)."""
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    return (8192 * np.sin(2 * np.pi * frequency * time)).astype(np.int16)


async def listen(stream: AudioStream, seconds: float) -> NDArray[np.int16]:
    """The next `seconds` of sound, leading silence left out, one second of waiting at the most."""
    frames: list[NDArray[np.int16]] = []
    wanted = int(seconds * stream.sample_rate)
    waited = 0
    async for frame in stream:
        if not frames and waited < stream.sample_rate and not frame.any():
            waited += frame.size
            await asyncio.sleep(0)
            continue
        frames.append(frame)
        if sum(part.size for part in frames) >= wanted:
            break
    return np.concatenate(frames) if frames else np.zeros(0, dtype=np.int16)
