//! Encodings: what a format number of a media line stands for, and when two of them are the same.

use std::borrow::Cow;

pub(crate) const TELEPHONE_EVENT: &str = "telephone-event";
/// RFC 3389, at the clock rate that its number 13 stands for.
pub(crate) const COMFORT_NOISE: Encoding<'static> = Encoding { name: "CN", clock_rate: 8000, channels: 1 };
pub(crate) const COMFORT_NOISE_NUMBER: u8 = 13;

/// The first of the payload types that are given out as needed (RFC 3551 §6).
pub(crate) const FIRST_DYNAMIC: u8 = 96;
pub(crate) const LAST_PAYLOAD_TYPE: u8 = 127;
/// The number that most of the world uses for telephone-event.
pub(crate) const USUAL_TELEPHONE_EVENT: u8 = 101;

/// An encoding that we can send and receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCodec {
    /// As the RTP registry writes it: "PCMU".
    pub name: Cow<'static, str>,
    pub clock_rate: u32,
    pub channels: u8,
    /// Its number where RFC 3551 gives it one; else one is chosen from 96 on.
    pub static_payload_type: Option<u8>,
    /// What we say in `a=fmtp` about what we receive.
    pub fmtp: Option<String>,
}

impl Default for LocalCodec {
    fn default() -> Self {
        LocalCodec { name: Cow::Borrowed(""), clock_rate: 8000, channels: 1, static_payload_type: None, fmtp: None }
    }
}

impl LocalCodec {
    pub fn new(name: impl Into<Cow<'static, str>>, clock_rate: u32, static_payload_type: Option<u8>) -> Self {
        LocalCodec { name: name.into(), clock_rate, static_payload_type, ..LocalCodec::default() }
    }

    pub fn pcmu() -> Self {
        LocalCodec::new("PCMU", 8000, Some(0))
    }

    pub fn pcma() -> Self {
        LocalCodec::new("PCMA", 8000, Some(8))
    }

    /// RFC 7587 §7: two channels and 48 kHz in SDP, whatever is sent. We use the copies that a sender puts in for lost packets. `dtx`: we
    /// would rather not get silence.
    pub fn opus(dtx: bool) -> Self {
        let fmtp = Some(if dtx { "useinbandfec=1;usedtx=1" } else { "useinbandfec=1" }.to_owned());
        LocalCodec { channels: 2, fmtp, ..LocalCodec::new("opus", 48_000, None) }
    }

    pub(crate) fn encoding(&self) -> Encoding<'_> {
        Encoding { name: &self.name, clock_rate: self.clock_rate, channels: self.channels }
    }
}

/// An encoding in use, with the number that stands for it on the wire in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioCodec {
    /// As [`LocalCodec::name`] has it, however the peer writes it.
    pub name: Cow<'static, str>,
    pub clock_rate: u32,
    pub channels: u8,
    pub payload_type: u8,
    /// The receiver's format parameters.
    pub fmtp: Option<String>,
}

/// Telephone-event (RFC 4733) under one payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType {
    pub payload_type: u8,
    pub clock_rate: u32,
}

/// What `a=rtpmap` says of a payload type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoding<'a> {
    pub(crate) name: &'a str,
    pub(crate) clock_rate: u32,
    pub(crate) channels: u8,
}

impl Encoding<'_> {
    /// RFC 8866 §6.6 with RFC 4855 §3: encoding names are case-insensitive.
    pub(crate) fn is(&self, other: &Encoding<'_>) -> bool {
        self.clock_rate == other.clock_rate
            && self.channels == other.channels
            && self.name.eq_ignore_ascii_case(other.name)
    }
}

/// RFC 3551 §6, table 4: the audio encodings that need no `a=rtpmap`.
pub(crate) const fn static_encoding(payload_type: u8) -> Option<Encoding<'static>> {
    let (name, clock_rate, channels) = match payload_type {
        0 => ("PCMU", 8000, 1),
        3 => ("GSM", 8000, 1),
        4 => ("G723", 8000, 1),
        5 => ("DVI4", 8000, 1),
        6 => ("DVI4", 16000, 1),
        7 => ("LPC", 8000, 1),
        8 => ("PCMA", 8000, 1),
        9 => ("G722", 8000, 1),
        10 => ("L16", 44100, 2),
        11 => ("L16", 44100, 1),
        12 => ("QCELP", 8000, 1),
        13 => ("CN", 8000, 1),
        14 => ("MPA", 90000, 1),
        15 => ("G728", 8000, 1),
        16 => ("DVI4", 11025, 1),
        17 => ("DVI4", 22050, 1),
        18 => ("G729", 8000, 1),
        _ => return None,
    };
    Some(Encoding { name, clock_rate, channels })
}
