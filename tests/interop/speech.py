"""Speech from espeak-ng, in several voices."""

import asyncio
import io
import shutil
import wave

import numpy as np
from numpy.typing import NDArray

HERE = shutil.which("espeak-ng") is not None

TEXT = (
    "Good morning. You have reached the service desk, and all of our agents are busy at the moment. ",
    "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. ",
    "It is easy to tell the depth of a well. These days a chicken leg is a rare dish. ",
    "Rice is often served in round bowls. The juice of lemons makes fine punch. ",
    "The box was thrown beside the parked truck. The hogs were fed chopped corn and garbage. ",
    "Four hours of steady work faced us. A large size in stockings is hard to sell. ",
)


async def speak(text: str, *, rate: int, voice: str = "en", words_per_minute: int = 160) -> NDArray[np.int16]:
    """`text` at `rate` Hz, its loudest sample at half of full scale."""
    process = await asyncio.create_subprocess_exec(
        "espeak-ng", "-v", voice, "-s", str(words_per_minute), "--stdout",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate(text.encode())
    assert process.returncode == 0
    with wave.open(io.BytesIO(said)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        made, frames = file.getframerate(), np.frombuffer(said[44:], dtype="<i2")
    return resample(frames, made, rate)


def resample(samples: NDArray[np.int16], rate: int, wanted: int) -> NDArray[np.int16]:
    """By its spectrum: of the whole at once, nothing is missing and nothing folds over."""
    size = round(samples.size * wanted / rate)
    spectrum = np.fft.rfft(samples.astype(np.float64))
    kept = np.zeros(size // 2 + 1, dtype=complex)
    most = min(kept.size, spectrum.size)
    kept[:most] = spectrum[:most]
    made = np.fft.irfft(kept, size)
    return (made / np.abs(made).max() * 16_000).astype(np.int16)
