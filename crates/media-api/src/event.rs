use std::time::Duration;

use crate::{Codec, LegId, PublicAddress, RoomId, Token};

/// Counts of a leg since it was opened. Lost and discarded are of what was received.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    pub codec: Option<Codec>,
    pub packets_sent: u64,
    pub packets_received: u64,
    /// RTP payload octets, without headers.
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub packets_lost: u64,
    /// Arrived too late for the jitter buffer.
    pub packets_discarded: u64,
    /// `None` until something was measured.
    pub quality: Option<Quality>,
    /// `None` until the peer has reported.
    pub remote: Option<RemoteMetrics>,
}

/// What the peer's RTCP says of the stream that we send; the latest of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RemoteMetrics {
    /// From sender and receiver reports.
    pub reported: Option<Reported>,
    /// From extended reports.
    pub voip: Option<VoipMetrics>,
}

/// RFC 3550 §6.4.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reported {
    /// Since the report before that.
    pub loss_percent: f32,
    /// Since the beginning; less than none where packets were duplicated.
    pub packets_lost: i32,
    pub jitter_ms: f32,
}

/// RFC 3611 §4.7, as its receiver measured it. `None`: not known there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VoipMetrics {
    pub loss_percent: f32,
    /// Came, and was not played.
    pub discard_percent: f32,
    /// Lost and discarded in bursts, and between them.
    pub burst_density_percent: f32,
    pub gap_density_percent: f32,
    /// Means.
    pub burst_duration_ms: u16,
    pub gap_duration_ms: u16,
    pub round_trip_ms: Option<u16>,
    pub end_system_delay_ms: Option<u16>,
    pub signal_level_dbm0: Option<i8>,
    pub noise_level_dbm0: Option<i8>,
    pub echo_return_loss_db: Option<u8>,
    pub r_factor: Option<u8>,
    pub external_r_factor: Option<u8>,
    pub mos_lq: Option<f32>,
    pub mos_cq: Option<f32>,
    /// `None`: not said. Else whether what is lost is concealed.
    pub conceals: Option<bool>,
    /// `None`: not said.
    pub adaptive_jitter_buffer: Option<bool>,
    pub jitter_buffer_nominal_ms: u16,
    pub jitter_buffer_maximum_ms: u16,
    pub jitter_buffer_absolute_maximum_ms: u16,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// MOS-CQ by ITU-T G.107. It and what follows: `None` before a second packet came that could be played.
    pub mos: Option<f32>,
    pub r_factor: Option<f32>,
    pub loss_percent: Option<f32>,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter_ms: Option<f32>,
    /// From RTCP; `None` before the first report came back.
    pub round_trip_ms: Option<f32>,
}

#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A whole digit was received, once. `digit` is one of `0-9*#A-D`.
    Dtmf {
        leg: LegId,
        digit: char,
        duration_ms: u32,
    },
    /// A key is down by its telephone-event: its `Dtmf` follows when it is let go.
    KeyDown {
        leg: LegId,
    },
    /// The same as `Dtmf`, by its tones in the audio.
    InbandDtmf {
        leg: LegId,
        digit: char,
        duration_ms: u32,
    },
    DtmfSent {
        leg: LegId,
        token: Token,
        completed: bool,
    },
    PlayEnded {
        leg: LegId,
        token: Token,
        completed: bool,
    },
    Statistics {
        leg: LegId,
        token: Token,
        statistics: Statistics,
    },
    Quality {
        leg: LegId,
        statistics: Statistics,
    },
    Silent {
        leg: LegId,
        silent_for: Duration,
    },
    /// Of a leg that may not be open yet: where others reach it, `None`: by its local address. Once, where `MediaPorts::is_seeking`.
    Located {
        leg: LegId,
        public: Option<PublicAddress>,
    },
    /// A member of a room has begun to speak, or has been silent for a while. One that leaves is silent without a word.
    Talking {
        leg: LegId,
        talking: bool,
    },
    /// Somebody has begun to speak in what the leg receives, or stopped (`Command::Detect`).
    Speech {
        leg: LegId,
        speaking: bool,
    },
    /// `completed`: to the end, and not replaced, stopped, or broken off.
    RoomPlayed {
        room: RoomId,
        token: Token,
        completed: bool,
    },
    /// A room is not recorded any more (`Command::RecordRoom`), because nobody wants it to be.
    RoomRecorded {
        room: RoomId,
    },
    /// The leg is no more; its ports may be reused.
    Closed {
        leg: LegId,
        statistics: Statistics,
    },
    /// The leg's work failed inside (a panic that was caught, a socket that broke); the call is to be ended.
    Failed {
        leg: LegId,
        cause: &'static str,
    },
}

impl Event {
    /// A room's place where it concerns a whole room.
    pub fn leg(&self) -> LegId {
        match self {
            Event::Dtmf { leg, .. }
            | Event::KeyDown { leg }
            | Event::InbandDtmf { leg, .. }
            | Event::DtmfSent { leg, .. }
            | Event::PlayEnded { leg, .. }
            | Event::Statistics { leg, .. }
            | Event::Quality { leg, .. }
            | Event::Silent { leg, .. }
            | Event::Talking { leg, .. }
            | Event::Speech { leg, .. }
            | Event::Located { leg, .. }
            | Event::Closed { leg, .. }
            | Event::Failed { leg, .. } => *leg,
            Event::RoomPlayed { room, .. } | Event::RoomRecorded { room } => room.place(),
        }
    }
}
