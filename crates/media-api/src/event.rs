use std::time::Duration;

use crate::{Codec, LegId, RoomId, Token};

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
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// MOS-CQ by ITU-T G.107; `None` while nothing was received.
    pub mos: Option<f32>,
    pub r_factor: Option<f32>,
    pub loss_percent: f32,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter_ms: f32,
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
    /// The same, by its tones in the audio.
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
            | Event::InbandDtmf { leg, .. }
            | Event::DtmfSent { leg, .. }
            | Event::PlayEnded { leg, .. }
            | Event::Statistics { leg, .. }
            | Event::Quality { leg, .. }
            | Event::Silent { leg, .. }
            | Event::Talking { leg, .. }
            | Event::Speech { leg, .. }
            | Event::Closed { leg, .. }
            | Event::Failed { leg, .. } => *leg,
            Event::RoomPlayed { room, .. } | Event::RoomRecorded { room } => room.place(),
        }
    }
}
