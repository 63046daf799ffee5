//! Payloads of one length into payloads of another, where the two sides of a relay send at different packet times.
//!
//! Octets are cut and joined, nothing is decoded: G.711 has no frames of its own. There is no buffer against jitter: a packet leaves
//! as soon as its last octet is there.

use ringback_media_api::Codec;
use ringback_rtp::sequence::distance32;

use crate::codec;

/// What may wait for its remainder: one packet of 60 ms, and the longest that can come on top.
const MOST: usize = 480 + ringback_rtp::jitter::MAX_PAYLOAD;

#[derive(Debug)]
pub(crate) struct Reframe {
    /// Which stream, in which encoding.
    stream: u32,
    codec: Codec,
    /// Of the first octet.
    timestamp: u32,
    octets: Vec<u8>,
    /// Counts packets made.
    made: u64,
}

impl Reframe {
    pub(crate) fn new(stream: u32, codec: Codec) -> Self {
        // The count stands for a sequence number and starts above zero as those do.
        Reframe { stream, codec, timestamp: 0, octets: Vec::with_capacity(MOST), made: 1 << 16 }
    }

    pub(crate) fn fits(&self, stream: u32, codec: Codec) -> bool {
        self.stream == stream && self.codec == codec
    }

    /// Adds a payload of the codec that goes out. What is older than what was added before is dropped.
    pub(crate) fn push(&mut self, timestamp: u32, payload: &[u8], frame: usize) {
        if payload.len() > MOST - 480 {
            return;
        }
        let end = self.timestamp.wrapping_add(codec::units(self.codec, &self.octets));
        let ahead = distance32(timestamp, end);
        if self.octets.is_empty() || !(0..=frame as i32).contains(&ahead) {
            if !self.octets.is_empty() && (-8000..0).contains(&ahead) {
                return;
            }
            // A new beginning; what waited for its remainder is less than a packet.
            self.octets.clear();
            self.timestamp = timestamp;
        } else if ahead > 0 {
            // A short gap keeps the cutting points.
            self.octets.resize(self.octets.len() + ahead as usize, codec::silence(self.codec));
        }
        self.octets.extend_from_slice(payload);
    }

    /// The next whole packet: its number, its timestamp, and its octets into `to`.
    pub(crate) fn pop(&mut self, frame: usize, to: &mut [u8]) -> Option<(u64, u32)> {
        to.get_mut(..frame)?.copy_from_slice(self.octets.get(..frame)?);
        let units = codec::units(self.codec, self.octets.get(..frame)?);
        self.octets.drain(..frame);
        let made = (self.made, self.timestamp);
        self.made += 1;
        self.timestamp = self.timestamp.wrapping_add(units);
        Some(made)
    }
}
