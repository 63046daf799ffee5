"""What the phones say: a speech-like sound in each codec, encoded by ringback itself and kept as payloads."""

import array
import math
import sys
import wave
from pathlib import Path

from callbench.process import PeerError

from .ringback import calls
from .setting import CODECS, Setting

RATE = 48_000
SECONDS = 4
HARMONICS = 24
# The vowels' formants, Hz, one after the other.
VOWELS = [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480)]


def speech() -> "array.array[int]":
    """A voice that glides through four vowels, four syllables a second; never silent, so that silence is told from it."""
    samples = array.array("h")
    phase = 0.0
    loudness = [0.0] * HARMONICS
    for n in range(RATE * SECONDS):
        if n % 480 == 0:
            at = n / RATE
            pitch = 120 + 40 * math.sin(2 * math.pi * 0.5 * at)
            formants = VOWELS[int(at * 4) % len(VOWELS)]
            syllable = 0.25 + 0.75 * math.sin(math.pi * (at * 4 % 1)) ** 2
            loudness = [
                syllable * sum(math.exp(-(((k * pitch - formant) / 140) ** 2)) / (1 + i) for i, formant in enumerate(formants))
                + 0.02 / k
                for k in range(1, HARMONICS + 1)
            ]  # fmt: skip
        phase += 2 * math.pi * pitch / RATE
        sample = sum(level * math.sin(k * phase) for k, level in enumerate(loudness, 1))
        samples.append(round(6_000 * math.tanh(sample)))
    return samples


def write_wave(path: Path) -> None:
    samples = speech()
    if sys.byteorder == "big":
        samples.byteswap()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


def prepare(setting: Setting) -> None:
    """Writes `setting.sounds`: one file a codec, as the phones read it. Kept from run to run."""
    if all((setting.sounds / name).exists() for name in CODECS):
        return
    setting.sounds.mkdir(parents=True, exist_ok=True)
    file = setting.sounds / "speech.wav"
    write_wave(file)
    names = list(CODECS)
    for name in names:
        # The phones must have something to send before they can hear.
        (setting.sounds / name).write_bytes(b"\x02\x00\x00\x00")
    frames = 50 * SECONDS
    try:
        with calls(setting, names, f"play {file}") as made:
            made.phones.order(f"keep {frames}")
            made.phones.wait_for(frames)
            for index, name in enumerate(names):
                made.phones.order(f"save {index} {setting.sounds / name}")
    except PeerError:
        for name in names:
            (setting.sounds / name).unlink(missing_ok=True)
        raise
