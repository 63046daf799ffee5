"""`Recording`: a call's audio on its way into a file."""

from ringback._ringback import RecordingBase
from ringback.errors import NotRunningError


class Recording(RecordingBase):
    """A WAV file of 16-bit samples that a call is recorded to, at the sample rate of its codec; made by
    `MediaControl.record`.

    It goes on until `stop`, or until the call ends, whether or not the program keeps this object. The file can be played
    at any time: what a crash leaves behind is at most a second short. Where the disk is too slow by more than five
    seconds, silence takes the place of what was lost.
    """

    __slots__ = ()

    async def stop(self) -> float:
        """Ends the recording and returns the seconds written; the file is complete then. Idempotent, also after the
        end of the call.

        Raises `MediaError` where the file could not be written to its end (the disk is full): as far as it came it can
        be played.
        """
        try:
            complete = self._stop()
            if complete is not None:
                await complete
        except NotRunningError:
            # A system that stops completes its files.
            pass
        self._check()
        return self._written
