"""`AudioStream`: a call's audio as arrays of samples."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ringback._ringback import AudioStreamBase
from ringback.errors import MediaError


class AudioStream(AudioStreamBase):
    """Both directions of one call's audio, mono int16, resampled to `sample_rate`; made by `MediaControl.open_audio`.

    A frame comes every `frame_ms`, zeros where nothing arrived; what came between the answer and `open_audio` (2 s at
    most) comes first, faster than real time. Four seconds are kept for a reader that is too slow, what came before included;
    then its oldest frames go, counted in `dropped_frames`. Two seconds may be written ahead of time.

    Iterate it for the frames; one task reads, another may write. As a context manager it closes itself.
    """

    __slots__ = ("_overtaken",)

    _overtaken: bool

    def __aiter__(self) -> AsyncIterator[NDArray[np.int16]]:
        """Frames of shape `(sample_rate * frame_ms // 1000,)`, int16, until the call or the stream ends."""
        return self

    async def __anext__(self) -> NDArray[np.int16]:
        """The next frame, shape `(sample_rate * frame_ms // 1000,)`. The iteration ends with the call."""
        while True:
            frame = self._read()
            if frame is not None:
                return frame
            change = self._watch()
            try:
                # What came before the watch was set is not told: look again.
                frame = self._read()
                if frame is not None:
                    return frame
                if self._is_closed:
                    raise StopAsyncIteration
                await change
            finally:
                self._forget(change)

    async def write(self, samples: NDArray[np.int16] | NDArray[np.float32] | bytes | bytearray | memoryview) -> None:
        """Sends `samples`, shape `(n,)`: int16, float32 within -1 to 1 (beyond is clipped), or bytes (`bytearray` and
        `memoryview` too) of little-endian int16.

        Faster than real time is fine: waits while two seconds are queued. A `clear` ends the wait, and the rest is dropped. A
        write that the call's end overtakes is dropped too, the next one raises `MediaError`. `TypeError` or `ValueError` for
        other dtypes and shapes.

        While nothing may be sent (the call is held, or `stop_audio_transmission`), what was written goes by unheard as time
        passes, and does not count as played.
        """
        if isinstance(samples, bytearray | memoryview):
            samples = bytes(samples)
        generation = self._generation
        offset, total = self._write(samples, 0)
        while offset < total:
            change = self._watch()
            try:
                if self._generation != generation:
                    # Cleared: the rest is dropped with what was queued.
                    return None
                taken, total = self._write(samples, offset)
                offset += taken
                if taken:
                    continue
                if self._is_closed:
                    return self._write_after_end()
                await change
            finally:
                self._forget(change)

    def _write_after_end(self) -> None:
        if getattr(self, "_overtaken", False):
            raise MediaError("the audio stream is closed")
        self._overtaken = True

    async def flush(self) -> None:
        """Waits until all that was written has been sent, or the call has ended."""
        while self._queued and not self._is_closed:
            change = self._watch()
            try:
                if self._queued and not self._is_closed:
                    await change
            finally:
                self._forget(change)

    async def close(self) -> None:
        """Ends the stream; the call goes on, sending silence. What was not sent yet is dropped. Idempotent."""
        self._overtaken = True
        self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
