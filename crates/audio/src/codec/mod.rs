//! Encodings as streams: an [`Encoder`] makes payloads of samples, a [`Decoder`] samples of payloads and something in place of those
//! that were lost. One of either for each direction of a call, made only where audio is really decoded or encoded.
//!
//! Invariant: a decoder that was asked for n concealed samples gives n, and one that is given a payload gives
//! [`Coding::samples_in`] samples of it (at its own rate), or none if the payload is not of its coding.

mod decoder;
mod encoder;

pub use decoder::Decoder;
pub use encoder::Encoder;

/// An audio encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coding {
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Coding {
    /// Samples a second that it is made for.
    pub const fn sample_rate(self) -> u32 {
        match self {
            Coding::Pcmu | Coding::Pcma => 8_000,
        }
    }

    /// Samples at [`Coding::sample_rate`] that a payload holds.
    pub fn samples_in(self, payload: &[u8]) -> usize {
        match self {
            Coding::Pcmu | Coding::Pcma => payload.len(),
        }
    }
}

#[cfg(test)]
mod tests;
