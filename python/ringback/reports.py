"""What the peer reports of the stream that it gets from us: RTCP (RFC 3550) and its extended reports (RFC 3611)."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class VoipMetrics:
    """The VoIP metrics of a peer's extended report (RFC 3611 §4.7): how the call is at the far end. What was not measured there is
    None."""

    packet_loss_percent: float
    """Never came; since the beginning, in steps of 1/256."""
    discard_percent: float
    """Came too late or too early to be played."""
    burst_density_percent: float
    """Lost or discarded in bursts: stretches without 16 played packets in a row."""
    gap_density_percent: float
    """The same between bursts."""
    burst_duration_ms: int
    """Of a burst, on average."""
    gap_duration_ms: int
    """Between two, on average."""
    round_trip_ms: int | None
    end_system_delay_ms: int | None
    """In the peer alone: gathering samples for a packet, and its jitter buffer."""
    signal_level_dbm0: int | None
    """Of speech as the peer gets it."""
    noise_level_dbm0: int | None
    """Between speech."""
    echo_return_loss_db: int | None
    """Residual echo return loss: how much of our speech comes back."""
    r_factor: int | None
    """0 to 100, ITU-T G.107."""
    external_r_factor: int | None
    """Of a network behind the peer."""
    mos_lq: float | None
    """Listening quality, 1 to 5."""
    mos_cq: float | None
    """Conversational quality, 1 to 5."""
    conceals_loss: bool | None
    adaptive_jitter_buffer: bool | None
    jitter_buffer_nominal_ms: int
    """Wait of a packet that comes when it should; 0 where there is no jitter buffer."""
    jitter_buffer_maximum_ms: int
    """The longest wait at present."""
    jitter_buffer_absolute_maximum_ms: int
    """The longest that the buffer may come to."""


@dataclass(frozen=True, kw_only=True)
class RemoteMetrics:
    """The latest that the peer has reported of our stream. What it has not is None."""

    packet_loss_percent: float | None
    """Between its last two reports."""
    packets_lost: int | None
    """Since the beginning; below 0 where packets were duplicated on their way."""
    jitter_ms: float | None
    """Interarrival jitter, RFC 3550 §6.4.1."""
    voip: VoipMetrics | None
    """From peers that know extended reports; asked for by `a=rtcp-xr` in every description of ours that may."""
