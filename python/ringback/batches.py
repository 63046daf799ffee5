"""`AudioBatches`: the audio of many calls as one array a tick."""
# pyright: reportPrivateUsage=false

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ringback._ringback import AudioBatchesBase, SessionId
from ringback.errors import MediaError

# Ticks that a reader may be late without losing any.
_BACKLOG = 10


@dataclass(frozen=True, kw_only=True)
class AudioBatch:
    """One frame of each call."""

    sessions: Sequence[SessionId]
    """Row i of `samples` is `sessions[i]`."""
    samples: NDArray[np.int16]
    """Shape `(len(sessions), sample_rate * frame_ms // 1000)`; zeros where nothing arrived."""
    tick: int
    """Counts frames; a gap is an overrun of the reader."""


class AudioBatches(AudioBatchesBase):
    """The audio of many calls as one array a tick, for inference over all of them at once; made by
    `SessionCoordinator.audio_batches`. Mono int16, resampled to `sample_rate`.

    Iterate it for one `AudioBatch` every `frame_ms`. A call has a row from its answer, or from when it is first seen, to its
    end; its frames are in real time, one frame late. The iteration ends when all calls that were named have ended, when it is
    closed, and when the system stops. A reader may be ten ticks late; beyond that frames are lost, which shows as a gap of
    `tick`.

    A call has one stream of audio: its `AudioStream` ends when it becomes part of batches, and it leaves the batches when
    its audio is opened otherwise. As a context manager it closes itself.
    """

    __slots__ = ("_start", "_tick", "_timer", "_waiting")

    _start: float | None
    _tick: int
    _waiting: "asyncio.Future[None] | None"
    _timer: asyncio.TimerHandle | None

    def __aiter__(self) -> AsyncIterator[AudioBatch]:
        """One `AudioBatch` every `frame_ms`."""
        return self

    async def __anext__(self) -> AudioBatch:
        """The batch of the next tick."""
        loop = asyncio.get_running_loop()
        frame = self.frame_ms / 1000
        start: float | None = getattr(self, "_start", None)
        if start is None:
            self._tick = -1
            self._waiting = self._timer = None
            start = self._start = loop.time()
        due = start + (self._tick + 1) * frame
        if loop.time() < due:
            await self._sleep(loop, due)
        late = int((loop.time() - due) / frame)
        if late > _BACKLOG:
            self._skip(late)
            self._tick += late
        self._tick += 1
        collected = self._collect()
        if collected is None:
            raise StopAsyncIteration
        sessions, samples = collected
        return AudioBatch(sessions=sessions, samples=samples, tick=self._tick)

    async def _sleep(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        waiting = self._waiting = loop.create_future()
        timer = loop.call_at(until, _wake, waiting)
        try:
            await waiting
        finally:
            timer.cancel()
            self._waiting = None

    async def write(self, sessions: Sequence[SessionId], samples: NDArray[np.int16]) -> None:
        """Sends row i of `samples`, shape `(len(sessions), n)`, int16, to `sessions[i]`.

        Faster than real time is fine: waits while a second of any of them is queued. Rows of calls that have ended are
        dropped; those of calls on hold, or that something else is sent to, go by unheard. `TypeError` or `ValueError` for other
        dtypes and shapes, `MediaError` after `close`.
        """
        if self._is_closed:
            raise MediaError("the batches are closed")
        sessions = list(sessions)
        offsets = self._write(sessions, samples, [])
        while any(offset < samples.shape[1] for offset in offsets):
            await asyncio.sleep(self.frame_ms / 1000)
            offsets = self._write(sessions, samples, offsets)

    async def close(self) -> None:
        """Ends the iteration; the calls go on, sending silence. What was not sent yet is dropped. Idempotent."""
        self._close()
        waiting: asyncio.Future[None] | None = getattr(self, "_waiting", None)
        if waiting is not None:
            _wake(waiting)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
