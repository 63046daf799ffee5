"""A voice made of formulas."""

import numpy as np
from numpy.typing import NDArray

_VOWELS = ((730, 1090, 2440), (530, 1840, 2480), (390, 1990, 2550), (570, 840, 2410), (440, 1020, 2240))
_BANDWIDTHS = (90, 110, 170)


def speech(seconds: float, *, rate: int = 16000, pitch: float = 120.0) -> NDArray[np.int16]:
    """`seconds` of vowels in syllables of a quarter of a second: a buzz of moving pitch through their resonances."""
    syllable = rate // 4
    t = np.arange(syllable) / rate
    loud = np.sqrt(np.sin(np.pi * np.clip((t * 4 - 0.1) / 0.75, 0, 1)))
    spectrum = np.fft.rfftfreq(2 * syllable, 1 / rate)
    whole = []
    for n in range(round(seconds * 4) or 1):
        turns = np.cumsum(pitch * (1 + 0.1 * np.sin(n * 1.3 + 4 * t) - 0.1 * t * 4) / rate)
        buzz = np.diff(np.floor(turns), prepend=0.0)
        shape = 1 / (1 + spectrum / 500)
        for formant, width in zip(_VOWELS[n * 3 % 5], _BANDWIDTHS, strict=True):
            shape = shape * formant**2 / np.sqrt((formant**2 - spectrum**2) ** 2 + (width * spectrum) ** 2 + 1)
        made = np.fft.irfft(np.fft.rfft(buzz, 2 * syllable) * shape)[:syllable] * loud
        whole.append(made / np.abs(made).max() * 12_000)
    return np.concatenate(whole).astype(np.int16)
