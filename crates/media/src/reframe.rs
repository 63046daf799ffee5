//! Payloads of one length into payloads of another, where the two sides of a relay send at different packet times.
//!
//! Octets are cut and joined, nothing is decoded: G.711, G.722 and L16 have no frames of their own. There is no buffer against jitter: a packet leaves
//! as soon as its last octet is there.

use ringback_media_api::Codec;
use ringback_rtp::sequence::distance32;

use crate::codec;

/// Octets of the longest packet that is made: 40 ms of L16 at 16 kHz.
pub(crate) const LONGEST_FRAME: usize = 1280;
/// What may wait for its remainder: one such packet, and the longest that can come on top.
const MOST: usize = LONGEST_FRAME + ringback_rtp::jitter::MAX_PAYLOAD;

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
        Reframe { stream, codec, timestamp: 0, octets: Vec::new(), made: 1 << 16 }
    }

    pub(crate) fn fits(&self, stream: u32, codec: Codec) -> bool {
        self.stream == stream && self.codec == codec
    }

    /// Adds a payload of the codec that goes out. What is older than what was added before is dropped.
    pub(crate) fn push(&mut self, timestamp: u32, payload: &[u8]) {
        if payload.len() > MOST - LONGEST_FRAME {
            return;
        }
        let end = self.timestamp.wrapping_add(codec::units(self.codec, &self.octets));
        let ahead = distance32(timestamp, end);
        if self.octets.is_empty() || !(0..=codec::units_per_ms(self.codec) as i32 * 60).contains(&ahead) {
            if !self.octets.is_empty() && (-(self.codec.clock_rate() as i32)..0).contains(&ahead) {
                return;
            }
            // A new beginning; what waited for its remainder is less than a packet.
            self.octets.clear();
            self.timestamp = timestamp;
        } else if ahead > 0 {
            // A short gap keeps the cutting points.
            let octets = ahead as usize * codec::octets_per_unit(self.codec).unwrap_or(1);
            self.octets.resize(self.octets.len() + octets, codec::silence(self.codec));
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
