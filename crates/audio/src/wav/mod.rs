//! RIFF/WAVE files without I/O: where the samples stand and what they are like ([`Scan`]), bytes to mono samples and back.
//!
//! Read are PCM of 8, 16, 24 and 32 bits, floats of 32 and 64 bits, A-law and mu-law, plain or "extensible", one or two channels,
//! 8 to 48 kHz. A file that was cut off, or whose writer never came to fill in the lengths, plays as far as it goes.

mod samples;
mod scan;

use std::error::Error;
use std::fmt;

pub use samples::Mono;
pub use scan::{STEP_MOST, Scan};

/// Length of the header that [`header`] writes.
pub const HEADER_LEN: usize = 44;

/// How one sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Unsigned8,
    Signed16,
    Signed24,
    Signed32,
    Float32,
    Float64,
    ALaw,
    MuLaw,
}

impl Encoding {
    /// Bytes a sample.
    pub const fn bytes(self) -> usize {
        match self {
            Encoding::Unsigned8 | Encoding::ALaw | Encoding::MuLaw => 1,
            Encoding::Signed16 => 2,
            Encoding::Signed24 => 3,
            Encoding::Signed32 | Encoding::Float32 => 4,
            Encoding::Float64 => 8,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub encoding: Encoding,
    /// 1 or 2.
    pub channels: u16,
    /// Hz, 8000 to 48000.
    pub sample_rate: u32,
}

impl Format {
    /// Bytes of one sample of each channel.
    pub const fn frame_bytes(&self) -> usize {
        self.encoding.bytes() * self.channels as usize
    }
}

/// Where the samples stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub format: Format,
    /// The first byte of the samples.
    pub offset: u64,
    /// Their bytes; `None`: the rest of the file (its writer did not say).
    pub length: Option<u64>,
}

/// Why a file cannot be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WavError {
    NotWav,
    /// Ends before the samples, or there is no format before them.
    Incomplete,
    /// What is not supported, in words.
    Unsupported(String),
}

impl fmt::Display for WavError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WavError::NotWav => f.write_str("not a WAV file"),
            WavError::Incomplete => f.write_str("a WAV file without format or samples"),
            WavError::Unsupported(what) => f.write_str(what),
        }
    }
}

impl Error for WavError {}

/// What the beginning of a file says. `Ok(None)`: more of it is needed.
pub fn parse(head: &[u8]) -> Result<Option<Layout>, WavError> {
    let mut scan = Scan::default();
    loop {
        let at = scan.at();
        let rest = usize::try_from(at).ok().and_then(|at| head.get(at..)).unwrap_or_default();
        let layout = scan.take(rest)?;
        if layout.is_some() || scan.at() == at {
            return Ok(layout);
        }
    }
}

/// The header of a file with `data` bytes of 16-bit samples. Lengths that do not fit 32 bits are written as "to the end".
pub fn header(channels: u16, sample_rate: u32, data: u64) -> [u8; HEADER_LEN] {
    let length = u32::try_from(data).unwrap_or(u32::MAX);
    let frame = channels * 2;
    let mut bytes = [0; HEADER_LEN];
    let mut at = 0;
    let mut put = |field: &[u8]| {
        if let Some(slot) = bytes.get_mut(at..at + field.len()) {
            slot.copy_from_slice(field);
        }
        at += field.len();
    };
    put(b"RIFF");
    put(&length.saturating_add(HEADER_LEN as u32 - 8).to_le_bytes());
    put(b"WAVEfmt ");
    put(&16_u32.to_le_bytes());
    put(&1_u16.to_le_bytes());
    put(&channels.to_le_bytes());
    put(&sample_rate.to_le_bytes());
    put(&(sample_rate * u32::from(frame)).to_le_bytes());
    put(&frame.to_le_bytes());
    put(&16_u16.to_le_bytes());
    put(b"data");
    put(&length.to_le_bytes());
    bytes
}

/// Body of the fuzz target: any bytes as a file; fails only by panicking.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    if let Ok(Some(layout)) = parse(bytes) {
        assert!(layout.offset <= bytes.len() as u64);
        let body = bytes.get(layout.offset as usize..).unwrap_or_default();
        let mut mono = Mono::new(layout.format);
        let mut out = Vec::new();
        for piece in body.chunks(7) {
            mono.push(piece, &mut out);
        }
        assert_eq!(out.len(), body.len() / layout.format.frame_bytes());
    }
}

#[cfg(test)]
mod tests;
