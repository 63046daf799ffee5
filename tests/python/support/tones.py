"""Tones, made and measured."""

import numpy as np
from numpy.typing import NDArray

from ringback import AudioStream


def sine(frequency: float, seconds: float, sample_rate: int, *, peak: float = 8000) -> NDArray[np.int16]:
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    return (peak * np.sin(2 * np.pi * frequency * time)).astype(np.int16)


def strongest(samples: NDArray[np.int16], sample_rate: int) -> float:
    """Hz of the strongest frequency."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * sample_rate / len(samples))


async def listen(stream: AudioStream, seconds: float) -> NDArray[np.int16]:
    """So much of what comes, from the first frame with sound on."""
    frames: list[NDArray[np.int16]] = []
    async for frame in stream:
        if frames or np.abs(frame).max() > 1000:
            frames.append(frame)
        if len(frames) * stream.frame_ms >= seconds * 1000:
            break
    return np.concatenate(frames)
