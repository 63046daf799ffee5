//! Encodings as streams: an [`Encoder`] makes payloads of samples, a [`Decoder`] samples of payloads and something in place of those
//! that were lost. One of either for each direction of a call, made only where audio is really decoded or encoded.
//!
//! Each works at [`Coding::sample_rate`], Opus at any of its rates where that is asked for (`at`), which saves the resampling.
//!
//! Invariant: a decoder that was asked for n concealed samples gives n, and one that is given a payload gives the samples of it, or
//! none if the payload is not of its coding.

mod decoder;
mod encoder;
#[doc(hidden)]
pub mod fuzz;
mod opus;

pub use decoder::Decoder;
pub use encoder::{Encoder, Memory};
pub use opus::OpusSettings;

/// An audio encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coding {
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// ITU-T G.722 at 64 kbit/s.
    G722,
    /// RFC 3551 §4.5.11 at so many samples a second: 16 bits, most significant octet first.
    L16(u32),
    /// RFC 6716, mono.
    Opus,
}

impl Coding {
    /// Samples a second that it is made for.
    pub const fn sample_rate(self) -> u32 {
        match self {
            Coding::Pcmu | Coding::Pcma => 8_000,
            Coding::G722 => 16_000,
            Coding::L16(rate) => rate,
            Coding::Opus => 48_000,
        }
    }

    /// Samples at [`Coding::sample_rate`] that a payload holds. 0: it is not of this coding.
    pub fn samples_in(self, payload: &[u8]) -> usize {
        match self {
            Coding::Pcmu | Coding::Pcma => payload.len(),
            Coding::G722 => payload.len() * 2,
            Coding::L16(_) => payload.len() / 2,
            Coding::Opus => opus::samples_in(payload),
        }
    }

    /// The longest packet time, in whole tens of milliseconds up to `ms`, that one packet can have.
    pub const fn packet_ms(self, ms: u8) -> u8 {
        match (self, ms / 10 * 10) {
            (_, 0) => 10,
            // RFC 6716 §2.1.4: frames of 10, 20, 40 and 60 ms.
            (Coding::Opus, 30) => 20,
            (Coding::Opus, 50) => 40,
            // No IP fragments: at 48 kHz a packet of 20 ms would be longer than a frame of Ethernet.
            (Coding::L16(rate), ms) => {
                let fit = LONGEST_L16 / 2 / (rate as usize / 100);
                let most = if fit < 1 {
                    1
                } else if fit > 6 {
                    6
                } else {
                    fit as u8
                };
                if ms / 10 < most { ms } else { most * 10 }
            }
            (_, 60..) => 60,
            (_, ms) => ms,
        }
    }
}

/// Octets of L16 that a packet has at most: what surely passes everywhere with its headers (IPv6's least MTU is 1280, and 1280 octets
/// are 40 ms of 16 kHz, which Ethernet carries).
const LONGEST_L16: usize = 1280;

#[cfg(test)]
mod tests;
