"""`MediaControl`: operations on the media of calls."""
# pyright: reportPrivateUsage=false

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ringback import _ringback
from ringback._ringback import SessionId
from ringback._seconds import TEN_YEARS, Seconds, seconds, wait_seconds
from ringback.errors import MediaError
from ringback.reports import RemoteMetrics
from ringback.states import Signal

if TYPE_CHECKING:
    from ringback.audio import AudioStream
    from ringback.coordinator import SessionCoordinator
    from ringback.recording import Recording


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What offer and answer settled."""

    local_sdp: str | None
    remote_sdp: str | None
    local_address: str | None
    """ "ip:port" of RTP."""
    remote_address: str | None
    codec: str | None
    """Encoding name, "PCMU"."""
    sample_rate: int | None
    """Hz, of the decoded audio."""


@dataclass(frozen=True, kw_only=True)
class QualityMetrics:
    """What was measured of the received stream. What was not is None."""

    mos_score: float | None
    """MOS-CQ, 1 to 4.5, ITU-T G.107: from the measured loss and delay, on the narrowband scale, whose best is G.711. Wideband
    codecs are rated as G.711 would be on the same path: at least as good as said."""
    r_factor: float | None
    """0 to 100, ITU-T G.107."""
    packet_loss_percent: float
    jitter_ms: float
    """Interarrival jitter, RFC 3550 §6.4.1."""
    round_trip_ms: float | None
    """From RTCP; None before the first report came back."""


@dataclass(frozen=True, kw_only=True)
class MediaStatistics:
    """Counts of one leg since its media began. Bytes are RTP payload."""

    codec: str | None
    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    packets_lost: int
    packets_discarded: int
    """By the jitter buffer, too late."""
    quality_metrics: QualityMetrics | None
    """None until two packets of the received stream came that could be played."""
    remote: RemoteMetrics | None = None
    """What the peer has reported of our stream; None before its first report."""


class MediaControl:
    """Media operations, as static methods whose first argument is the coordinator.

    All raise `NotRunningError`, `SessionNotFound`, and `InvalidState` where the operation does not fit the call's
    state; `MediaError` where the call's media is not ringback's (external SDP).
    """

    @staticmethod
    async def generate_sdp_offer(coordinator: "SessionCoordinator", session_id: SessionId) -> str:
        """An offer for a prepared call, a deferred call without an offer, or an answered call (re-offer); else
        `InvalidState`.
        """
        return await _ringback.generate_offer(coordinator, session_id)

    @staticmethod
    async def generate_sdp_answer(coordinator: "SessionCoordinator", session_id: SessionId, offer: str) -> str:
        """The answer to `offer`; `SdpError` where nothing in common is left."""
        return await _ringback.generate_answer(coordinator, session_id, offer)

    @staticmethod
    async def establish_media_flow(coordinator: "SessionCoordinator", session_id: SessionId, remote: str) -> None:
        """Replaces the destination of RTP, and the only source it is accepted from, by "ip:port" or "[v6]:port", until
        the next SDP changes the remote address. `ValueError` for what is no such address, and for one that the call's
        own has no way to (IPv6 from IPv4, and the reverse)."""
        await _ringback.establish_media_flow(coordinator, session_id, remote)

    @staticmethod
    async def start_audio_transmission(coordinator: "SessionCoordinator", session_id: SessionId) -> None:
        """Sends again after `stop_audio_transmission`."""
        await _ringback.set_transmitting(coordinator, session_id, True)

    @staticmethod
    async def stop_audio_transmission(coordinator: "SessionCoordinator", session_id: SessionId) -> None:
        """Sends no RTP, not even silence; RTCP goes on."""
        await _ringback.set_transmitting(coordinator, session_id, False)

    @staticmethod
    async def get_media_statistics(coordinator: "SessionCoordinator", session_id: SessionId) -> MediaStatistics | None:
        """Counts and quality so far; None where the call has no media of ours (yet)."""
        return await _ringback.media_statistics(coordinator, session_id)

    @staticmethod
    async def start_statistics_monitoring(
        coordinator: "SessionCoordinator", session_id: SessionId, interval: Seconds
    ) -> None:
        """Calls the handler's `on_media_quality` each `interval`."""
        await _ringback.monitor_statistics(coordinator, session_id, seconds(interval, "interval", zero=False))

    @staticmethod
    async def stop_statistics_monitoring(coordinator: "SessionCoordinator", session_id: SessionId) -> None:
        """Ends `start_statistics_monitoring`."""
        await _ringback.monitor_statistics(coordinator, session_id, None)

    @staticmethod
    async def play(
        coordinator: "SessionCoordinator",
        session_id: SessionId,
        source: str | os.PathLike[str] | NDArray[np.int16],
        *,
        sample_rate: int | None = None,
        loop: bool = False,
    ) -> None:
        """Plays a WAV file, or samples of shape `(n,)` at `sample_rate` Hz (8,000 to 48,000); returns when played,
        replaced by another, or stopped.

        A file is mono or stereo (whose channels are mixed), 8 to 48 kHz, of 8 to 32 bits, float, A-law or mu-law. It is
        read while it plays, off the loop. With `loop` it begins anew until it is stopped. Cancelling the wait stops it.

        Raises `MediaError` for a file that cannot be read or played, and where reading fails halfway; `ValueError` and
        `TypeError` for other arrays; `InvalidState` when the call ends meanwhile.
        """
        if isinstance(source, os.PathLike):
            source = os.fspath(source)
        played, playback = _ringback.play(coordinator, session_id, source, sample_rate, loop)
        try:
            await played
        finally:
            playback.stop()
        failure = playback.failure()
        if failure is not None:
            raise MediaError(failure)

    @staticmethod
    async def play_tone(
        coordinator: "SessionCoordinator",
        session_id: SessionId,
        frequencies: Sequence[float],
        *,
        duration: Seconds,
        level_dbm0: float = -10.0,
    ) -> None:
        """Plays the sum of `frequencies` (Hz) at `level_dbm0` (dBm0, of the sum); returns when played, replaced, or
        stopped.

        Cancelling the wait stops the tone.
        """
        length = seconds(duration, "duration", zero=False)
        played = _ringback.play_tone(coordinator, session_id, list(frequencies), length, level_dbm0)
        try:
            await played
        except asyncio.CancelledError:
            if played.cancelled():
                _ringback.give_up_playing(coordinator, session_id, played)
            raise

    @staticmethod
    async def play_signal(
        coordinator: "SessionCoordinator",
        session_id: SessionId,
        signal: Signal,
        *,
        country: str | None = None,
        duration: Seconds | None = None,
    ) -> None:
        """Plays ringing, busy or congestion tone with its cadence for `duration`, without one until stopped or replaced;
        returns then.

        `country`: two letters of ISO 3166-1, as in that country's network; None: as ITU-T E.180 recommends (425 Hz). The
        level is -10 dBm0. Cancelling the wait stops it. Raises `ValueError` for a country that is not known.
        """
        length = None if duration is None else seconds(duration, "duration", zero=False)
        played, playback = _ringback.play_signal(coordinator, session_id, Signal(signal).value, country)
        try:
            await asyncio.wait_for(played, length)
        except TimeoutError:
            pass
        finally:
            playback.stop()

    @staticmethod
    async def echo(coordinator: "SessionCoordinator", session_id: SessionId, enabled: bool = True) -> None:
        """Sends back what comes, or ends that."""
        await _ringback.echo(coordinator, session_id, enabled)

    @staticmethod
    async def stop_playing(coordinator: "SessionCoordinator", session_id: SessionId) -> None:
        """Ends what is being played. No-op where nothing is."""
        await _ringback.stop_playing(coordinator, session_id)

    @staticmethod
    async def detect_voice(
        coordinator: "SessionCoordinator",
        session_id: SessionId,
        enabled: bool = True,
        *,
        onset: Seconds = 0.08,
        hangover: Seconds = 0.5,
    ) -> None:
        """Calls the handler's `on_voice_activity` whenever the peer begins to speak, or stops; with `enabled` false no more.

        Off until it is asked for, per call; it may be asked for before the answer, and again with other times. Speech begins
        after `onset` seconds of voice (0.02 to 2) and ends `hangover` seconds (0.1 to 10) after the last of it, so that there
        are never more than two events in `onset + hangover`. Both are counted in what has arrived, without the playout delay of
        `open_audio`. A peer that sends nothing is silent. The call may be bridged, in a conference, held or read by an
        `AudioStream`: what comes is listened to besides.

        A neural network (earshot) judges each 16 ms; tones, and sounds that keep their level for a second, are no voice, whatever
        they sound like; music may be taken for one. Begun speech ends without a word where detection is switched off or
        the call ends. Raises `ValueError` for other times.

        Two uses in a voice bot. End-pointing: `speaking` false says that the caller's turn is over, `hangover` after the
        last word; shorter answers quicker and cuts into pauses. Barge-in: on `speaking` true, drop what is still to be said
        and learn how much of it was heard::

            def on_voice_activity(self, call: CallSession, speaking: bool) -> None:
                stream = self.streams[call.id]
                if speaking:
                    heard = stream.clear()  # samples since the last clear
        """
        begins, ends = seconds(onset, "onset"), seconds(hangover, "hangover")
        if not 0.02 <= begins <= 2:
            raise ValueError(f"onset must be 0.02 to 2 seconds, not {begins:g}")
        if not 0.1 <= ends <= 10:
            raise ValueError(f"hangover must be 0.1 to 10 seconds, not {ends:g}")
        await _ringback.detect_voice(coordinator, session_id, enabled, begins, ends)

    @staticmethod
    async def get_media_info(coordinator: "SessionCoordinator", session_id: SessionId) -> MediaInfo | None:
        """What was negotiated; None where there is no media (yet)."""
        return await _ringback.media_info(coordinator, session_id)

    @staticmethod
    async def record(
        coordinator: "SessionCoordinator", session_id: SessionId, path: str | os.PathLike[str], *, stereo: bool = False
    ) -> "Recording":
        """Records both directions of a call to a WAV file, from now on: mixed, or, `stereo`, what is received left and
        what is sent right. A file that was there is replaced.

        Raises `MediaError` for a path that cannot be written to, where the call is recorded already, and where its media
        is not ringback's. Once it has begun, a full disk ends the recording, not the call: see `Recording.stop`.
        """
        from ringback.recording import Recording

        recording = Recording(coordinator, os.fspath(path), stereo)
        try:
            await _ringback.record(recording, session_id)
        except BaseException:
            recording._give_up()
            raise
        return recording

    @staticmethod
    async def collect_dtmf(
        coordinator: "SessionCoordinator",
        session_id: SessionId,
        *,
        max_digits: int,
        terminator: str = "#",
        timeout: Seconds = 5.0,
    ) -> str:
        """Waits for digits of the peer, however it sends them, and returns them: `max_digits` of them (1 to 1,024), or
        what there is when `terminator` comes (which is left out), `timeout` has passed since the last one or the
        beginning, or the call ends. A key that is down by then is waited for, 10 s at most, where it is told by
        telephone-events (RFC 4733).

        Digits that came before do not count. `on_dtmf` is called all the same. `terminator` may be several digits, each of
        which ends it, or "" for none. Raises `ValueError`.
        """
        limit = wait_seconds(timeout, "timeout")
        collecting = _ringback.collect_dtmf(
            coordinator, session_id, max_digits, terminator, TEN_YEARS if limit is None else limit
        )
        try:
            return await collecting
        except asyncio.CancelledError:
            if collecting.cancelled():
                _ringback.give_up_collecting(coordinator, session_id, collecting)
            raise

    @staticmethod
    async def open_audio(
        coordinator: "SessionCoordinator", session_id: SessionId, *, sample_rate: int = 16000, frame_ms: int = 20
    ) -> "AudioStream":
        """Opens both directions of an answered call's audio to the program.

        `sample_rate` is 8000, 16000, 24000 or 48000 Hz, `frame_ms` 10 to 60; else `ValueError`. A call has one stream:
        opening another ends the one before. `MediaError` where the call has no media of ours.
        """
        from ringback.audio import AudioStream

        stream = AudioStream(coordinator, session_id, sample_rate, frame_ms)
        await _ringback.open_audio(stream)
        return stream
