use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::{AudioPort, LegId, Role, RoomId, Sound, Tape};

/// Carried by a command that is answered, and by its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// An audio encoding on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// RFC 6716, RFC 7587; mono.
    Opus,
    /// ITU-T G.722 at 64 kbit/s.
    G722,
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// RFC 3551 §4.5.11 at 8, 16, 24 and 48 kHz. Not at 44.1 kHz (payload types 10 and 11): that is no whole number of samples a millisecond,
    /// by which media is counted.
    L16At8,
    L16At16,
    L16At24,
    L16At48,
}

impl Codec {
    /// All that there are.
    pub const ALL: [Codec; 8] = [
        Codec::Opus,
        Codec::G722,
        Codec::Pcmu,
        Codec::Pcma,
        Codec::L16At16,
        Codec::L16At8,
        Codec::L16At24,
        Codec::L16At48,
    ];
    /// What is offered where nothing else is asked for, by preference.
    pub const DEFAULT: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

    /// Whether its payloads need no decoding to become those of `other`: one law is the other by a table.
    pub fn passes_as(self, other: Codec) -> bool {
        self == other || matches!((self, other), (Codec::Pcmu, Codec::Pcma) | (Codec::Pcma, Codec::Pcmu))
    }

    /// The encoding name of the RTP registry, as SDP's `rtpmap` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::G722 => "G722",
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::L16At8 | Codec::L16At16 | Codec::L16At24 | Codec::L16At48 => "L16",
        }
    }

    /// The name that a program asks for it by: no other codec has it.
    pub const fn label(self) -> &'static str {
        match self {
            Codec::L16At8 => "L16/8000",
            Codec::L16At24 => "L16/24000",
            Codec::L16At48 => "L16/48000",
            other => other.name(),
        }
    }

    /// RTP timestamp units a second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            // RFC 3551 §4.5.2: G722 has 16,000 samples a second and, by an old mistake that is kept, a clock of 8000.
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 8000,
            _ => self.sample_rate(),
        }
    }

    /// Samples a second of the decoded audio (not the clock rate for G.722).
    pub const fn sample_rate(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::L16At8 => 8000,
            Codec::G722 | Codec::L16At16 => 16_000,
            Codec::L16At24 => 24_000,
            Codec::Opus | Codec::L16At48 => 48_000,
        }
    }

    /// As `rtpmap` has it. RFC 7587 §7: always two for Opus, whatever is sent.
    pub const fn channels(self) -> u8 {
        match self {
            Codec::Opus => 2,
            _ => 1,
        }
    }

    /// RFC 3551 §6, table 4.
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Codec::Pcmu => Some(0),
            Codec::Pcma => Some(8),
            Codec::G722 => Some(9),
            Codec::Opus | Codec::L16At8 | Codec::L16At16 | Codec::L16At24 | Codec::L16At48 => None,
        }
    }
}

/// How Opus is sent: what we choose, and what the peer's parameters (RFC 7587 §6.1) leave of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusSend {
    /// Bits a second, 6,000 to 510,000.
    pub bitrate: u32,
    /// 0 (least work) to 10.
    pub complexity: u8,
    /// Forward error correction in band.
    pub fec: bool,
    /// Silence is hardly sent.
    pub dtx: bool,
    /// The highest sample rate that the peer plays, Hz.
    pub playback_rate: u32,
}

impl Default for OpusSend {
    fn default() -> Self {
        OpusSend { bitrate: 32_000, complexity: 5, fec: true, dtx: false, playback_rate: 48_000 }
    }
}

/// How speech is looked for, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detection {
    /// So much voice begins speech: 20 to 2,000.
    pub onset_ms: u32,
    /// So long without a voice ends it: 100 to 10,000.
    pub hangover_ms: u32,
}

/// Telephone-event (RFC 4733) under one payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFormat {
    pub payload_type: u8,
    /// Units of durations, and of timestamps if the audio has the same.
    pub clock_rate: u32,
}

impl EventFormat {
    /// At 8 kHz, as nearly everybody has it.
    pub const fn narrow(payload_type: u8) -> Self {
        EventFormat { payload_type, clock_rate: 8000 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendFormat {
    pub codec: Codec,
    pub payload_type: u8,
    /// Milliseconds of audio a packet, 10 to 60.
    pub ptime_ms: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveFormat {
    pub codec: Codec,
    pub payload_type: u8,
}

/// What offer and answer settled for a leg. A new one replaces the whole; what stays equal goes on without a gap (same SSRC,
/// sequence numbers and timestamps).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegConfig {
    /// Where RTP goes, and the only source it is accepted from unless `symmetric`. `None`: neither way.
    pub remote_rtp: Option<SocketAddr>,
    pub remote_rtcp: Option<SocketAddr>,
    pub send: Option<SendFormat>,
    pub receive: Vec<ReceiveFormat>,
    /// Telephone-event towards the peer, where negotiated.
    pub dtmf_send: Option<EventFormat>,
    /// Telephone-event as the peer may send it to us, one for each clock rate.
    pub dtmf_receive: Vec<EventFormat>,
    /// Payload type of comfort noise (RFC 3389), where the peer may send it; it is never made here.
    pub comfort_noise: Option<u8>,
    /// The same towards the peer, for what a bridge passes on.
    pub comfort_noise_send: Option<u8>,
    pub opus: OpusSend,
    /// RTCP goes and comes by the port of RTP (RFC 5761).
    pub rtcp_mux: bool,
    /// The peer wants VoIP metrics in extended reports (RFC 3611 §4.7).
    pub xr_voip: bool,
    /// Both sides measure the round trip by receiver reference times (RFC 3611 §4.4) where one sends nothing.
    pub xr_reference_time: bool,
    /// Digits are looked for in the received audio too.
    pub dtmf_inband: bool,
    /// False while the direction attribute forbids (`a=recvonly` or `inactive` on our side): nothing is sent but RTCP.
    pub may_send: bool,
    pub may_receive: bool,
    /// Learn the source from the packets: a short window, then locked.
    pub symmetric: bool,
    /// With `symmetric`: nothing is sent before the source is learned for the first time, `remote_rtp` being no good.
    pub sends_first: bool,
    /// The host that the peer's signalling comes from, where known. With `symmetric`: its media may come from there too, and from a third one only
    /// if this and that of `remote_rtp` differ, for else there is no NAT or proxy between, late, and not for good.
    pub signalling: Option<IpAddr>,
    /// Raised by the engine whenever learning must start anew (re-offer, `establish_media_flow`).
    pub latch_generation: u32,
    /// CNAME of RTCP SDES, the same for all legs of a system.
    pub cname: Arc<str>,
}

/// A continuous tone of one or more frequencies.
#[derive(Clone, Debug, PartialEq)]
pub struct Tone {
    /// Hz, each below half the codec's sample rate.
    pub frequencies: Vec<f32>,
    /// Level of the sum, dBm0.
    pub level_dbm0: f32,
    /// `None`: until stopped.
    pub duration: Option<Duration>,
}

#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Brings the leg to life on the sockets of its [`crate::MediaPort`]. It sends (silence unless fed) as `config` allows.
    Open {
        leg: LegId,
        config: Box<LegConfig>,
    },
    Configure {
        leg: LegId,
        config: Box<LegConfig>,
    },
    /// Ends the leg (RTCP BYE); answered by `Event::Closed` with the last statistics, after which its ports are free.
    Close {
        leg: LegId,
    },
    /// Connects two legs of one media thread: each hears the other. Relayed untouched where the codecs agree.
    Bridge {
        a: LegId,
        b: LegId,
    },
    /// Ends whatever bridge the leg is in, or takes it out of its room; it goes back to silence or to what feeds it.
    Unbridge {
        leg: LegId,
    },
    /// Puts a leg into a room of its media thread, which is opened with its first member: it hears all others, and they hear it as
    /// its role allows. It leaves the bridge or room that it is in.
    Join {
        leg: LegId,
        room: RoomId,
        role: Role,
    },
    /// Another media thread has the leg from now on, with all that belongs to it: to be in a bridge or a room there. It leaves those that it is
    /// in. Whoever drives the engines carries it out ([`crate::Order`]).
    Move {
        leg: LegId,
        to: u8,
    },
    /// Another role for a member of a room.
    SetRole {
        leg: LegId,
        role: Role,
    },
    /// How much louder the others of its room hear it, in dB (-60 to 20); zero when it joins.
    SetGain {
        leg: LegId,
        gain_db: f32,
    },
    /// Ends a room: its members go back to silence or to what feeds them.
    CloseRoom {
        room: RoomId,
    },
    /// What all hear of a room goes on a tape of one channel, until that is stopped or the room is closed; in place of one on which it
    /// goes already. Without members it is silence.
    RecordRoom {
        room: RoomId,
        tape: Arc<Tape>,
    },
    /// All members of a room hear a sound, in place of one that plays there already; without members it passes unheard. Answered by
    /// `Event::RoomPlayed`.
    PlayToRoom {
        room: RoomId,
        sound: Arc<Sound>,
        token: Token,
    },
    /// Sends back what comes.
    Echo {
        leg: LegId,
        on: bool,
    },
    /// Answered by `Event::PlayEnded { completed }`: when played to the end, or when replaced or stopped.
    PlayTone {
        leg: LegId,
        tone: Tone,
        token: Token,
    },
    /// As `PlayTone`. Ends early where somebody else stops the sound.
    Play {
        leg: LegId,
        sound: Arc<Sound>,
        token: Token,
    },
    StopPlaying {
        leg: LegId,
    },
    /// As `StopPlaying`, where what plays was begun with this token: what has replaced it goes on.
    GiveUpPlaying {
        leg: LegId,
        token: Token,
    },
    /// RFC 4733 events, `,` pauses 1 s; answered by `Event::DtmfSent` after the last end packet, or where the leg can send no
    /// more, `completed` if the first end packet of the last digit was out. Digits are checked by the engine; `duration_ms` is 40 to 8000.
    SendDtmf {
        leg: LegId,
        digits: String,
        duration_ms: u32,
        gap_ms: u32,
        token: Token,
    },
    /// The same as tones in the audio, in place of whatever is sent otherwise. The leg's earlier digits by tones must be over.
    SendTones {
        leg: LegId,
        digits: String,
        duration_ms: u32,
        gap_ms: u32,
        token: Token,
    },
    /// What is left of the oldest `SendDtmf` or `SendTones` is not sent; the event under way is ended as it should be, and `DtmfSent` follows.
    StopDtmf {
        leg: LegId,
    },
    /// Replaces what is sent by silence; packets go on.
    Mute {
        leg: LegId,
        on: bool,
    },
    /// False: no RTP leaves (`stop_audio_transmission`). RTCP goes on.
    Transmit {
        leg: LegId,
        on: bool,
    },
    /// Answered by `Event::Statistics`.
    Statistics {
        leg: LegId,
        token: Token,
    },
    /// `Event::Quality` each `interval`; `None` ends it.
    Monitor {
        leg: LegId,
        interval: Option<Duration>,
    },
    /// `Event::Speech` whenever somebody begins to speak in what is received, or stops, whatever else becomes of it. `None` ends it without a word.
    Detect {
        leg: LegId,
        detection: Option<Detection>,
    },
    /// `Event::Silent` once when no RTP came for so long while it was due, and again each time after sound had returned.
    WatchSilence {
        leg: LegId,
        after: Option<Duration>,
    },
    /// Both directions of the leg's audio go through `port` (which replaces an earlier one, closing it). While the port plays, its samples are
    /// what the leg sends.
    OpenAudio {
        leg: LegId,
        port: Arc<AudioPort>,
    },
    /// Ends `OpenAudio` with this port. One that was opened after it goes on.
    CloseAudio {
        leg: LegId,
        port: Arc<AudioPort>,
    },
    /// Records both directions until the tape is stopped or the leg is closed. Another tape ends the one before.
    Record {
        leg: LegId,
        tape: Arc<Tape>,
    },
}

impl Command {
    /// The leg that it is for; a room's place where it is for a whole room.
    pub fn leg(&self) -> LegId {
        match self {
            Command::Open { leg, .. }
            | Command::Configure { leg, .. }
            | Command::Close { leg }
            | Command::Bridge { a: leg, .. }
            | Command::Unbridge { leg }
            | Command::Join { leg, .. }
            | Command::Move { leg, .. }
            | Command::SetRole { leg, .. }
            | Command::SetGain { leg, .. }
            | Command::Echo { leg, .. }
            | Command::PlayTone { leg, .. }
            | Command::Play { leg, .. }
            | Command::StopPlaying { leg }
            | Command::GiveUpPlaying { leg, .. }
            | Command::SendDtmf { leg, .. }
            | Command::SendTones { leg, .. }
            | Command::StopDtmf { leg }
            | Command::Mute { leg, .. }
            | Command::Transmit { leg, .. }
            | Command::Statistics { leg, .. }
            | Command::Monitor { leg, .. }
            | Command::Detect { leg, .. }
            | Command::WatchSilence { leg, .. }
            | Command::OpenAudio { leg, .. }
            | Command::CloseAudio { leg, .. }
            | Command::Record { leg, .. } => *leg,
            Command::CloseRoom { room } | Command::PlayToRoom { room, .. } | Command::RecordRoom { room, .. } => {
                room.place()
            }
        }
    }
    /// The legs and rooms that it concerns: commands that share one of them are carried out in their order.
    pub fn touches(&self) -> [Option<LegId>; 2] {
        let second = match self {
            Command::Bridge { b, .. } => Some(*b),
            Command::Join { room, .. } => Some(room.place()),
            _ => None,
        };
        [Some(self.leg()), second]
    }
}
