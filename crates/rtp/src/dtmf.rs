//! Telephone-events (RFC 4733) as state machines: one event going out packet by packet, and digits put together from what comes.
//!
//! An event is known by its timestamp, which all its packets share. That is what makes a digit count once, however many of its
//! packets were lost, repeated or overtaken.

mod receiver;
mod sender;

pub use receiver::{Digit, EventReceiver};
pub use sender::{EventPacket, EventSender};

use crate::sequence::distance32;

/// The longest that one packet can say; longer events go on as further segments (RFC 4733 §2.5.1.3).
const SEGMENT_UNITS: u32 = 0xffff;
/// RFC 4733 §2.5.1.4: the last packet is sent three times in all.
const END_PACKETS: u8 = 3;
const END: u8 = 0x80;
const VOLUME: u8 = 0x3f;

/// The payload: one event (RFC 4733 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub code: u8,
    pub end: bool,
    /// -dBm0, 0 to 63.
    pub volume: u8,
    /// Since the packet's timestamp, in its units.
    pub duration: u16,
}

impl Event {
    pub fn to_bytes(self) -> [u8; 4] {
        let [d0, d1] = self.duration.to_be_bytes();
        [self.code, (self.volume & VOLUME) | if self.end { END } else { 0 }, d0, d1]
    }

    /// `None`: cut short.
    pub fn parse(payload: &[u8]) -> Option<Event> {
        let &[code, flags, d0, d1] = payload.first_chunk()?;
        let duration = u16::from_be_bytes([d0, d1]);
        Some(Event { code, end: flags & END != 0, volume: flags & VOLUME, duration })
    }
}

/// RFC 4733 §3.2: the event code of a key.
pub fn code_of(digit: char) -> Option<u8> {
    Some(match digit.to_ascii_uppercase() {
        d @ '0'..='9' => d as u8 - b'0',
        '*' => 10,
        '#' => 11,
        d @ 'A'..='D' => d as u8 - b'A' + 12,
        _ => return None,
    })
}

/// The key of an event code; `None` for what is no key (flash, modem and line tones).
pub fn digit_of(code: u8) -> Option<char> {
    b"0123456789*#ABCD".get(usize::from(code)).map(|&d| char::from(d))
}

#[cfg(test)]
mod tests;
