//! RIFF/WAVE files without I/O: where the samples stand and what they are like ([`parse`]), bytes to mono samples and back.
//!
//! Read are PCM of 8, 16, 24 and 32 bits, floats of 32 and 64 bits, A-law and mu-law, plain or "extensible", one or two channels,
//! 8 to 48 kHz. A file that was cut off, or whose writer never came to fill in the lengths, plays as far as it goes.

mod samples;

use std::error::Error;
use std::fmt;

pub use samples::Mono;

/// Chunks before the samples (lists, broadcast information) may be so long together.
pub const HEADER_MOST: usize = 1 << 20;
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

/// What the beginning of a file says. `Ok(None)`: more of it is needed (up to [`HEADER_MOST`]; a file that ends before that is
/// [`WavError::Incomplete`]).
pub fn parse(head: &[u8]) -> Result<Option<Layout>, WavError> {
    let Some((riff, mut rest)) = head.split_first_chunk::<12>() else {
        return Ok(None);
    };
    if !riff.starts_with(b"RIFF") || !riff.ends_with(b"WAVE") {
        return Err(WavError::NotWav);
    }
    let mut offset = riff.len() as u64;
    let mut format = None;
    while let Some((&[a, b, c, d, l0, l1, l2, l3], after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        offset += 8;
        if [a, b, c, d] == *b"data" {
            let format = format.ok_or(WavError::Incomplete)?;
            // Nobody filled it in: written to a pipe, or cut off.
            let length = (length != 0 && length != u32::MAX).then_some(u64::from(length));
            return Ok(Some(Layout { format, offset, length }));
        }
        // Chunks are padded to an even length.
        let padded = u64::from(length) + u64::from(length & 1);
        if offset + padded > HEADER_MOST as u64 {
            return Err(WavError::Incomplete);
        }
        let Some((content, after)) = after.split_at_checked(padded as usize) else {
            return Ok(None);
        };
        if [a, b, c, d] == *b"fmt " {
            format = Some(read_format(content)?);
        }
        offset += padded;
        rest = after;
    }
    Ok(None)
}

fn read_format(content: &[u8]) -> Result<Format, WavError> {
    let word = |at: usize| match content.get(at..at + 2) {
        Some(&[low, high]) => Ok(u16::from_le_bytes([low, high])),
        _ => Err(WavError::Incomplete),
    };
    let mut tag = word(0)?;
    if tag == 0xfffe {
        // WAVE_FORMAT_EXTENSIBLE: the tag is the beginning of the sub-format's GUID.
        tag = word(24)?;
    }
    let bits = word(14)?;
    let encoding = match (tag, bits) {
        (1, 8) => Encoding::Unsigned8,
        (1, 16) => Encoding::Signed16,
        (1, 24) => Encoding::Signed24,
        (1, 32) => Encoding::Signed32,
        (3, 32) => Encoding::Float32,
        (3, 64) => Encoding::Float64,
        (6, 8) => Encoding::ALaw,
        (7, 8) => Encoding::MuLaw,
        _ => return Err(WavError::Unsupported(format!("WAV encoding {tag} of {bits} bits is not supported"))),
    };
    let channels = word(2)?;
    if !(1..=2).contains(&channels) {
        return Err(WavError::Unsupported(format!("{channels} channels: only mono and stereo are supported")));
    }
    let sample_rate = u32::from(word(4)?) | u32::from(word(6)?) << 16;
    if !(8_000..=48_000).contains(&sample_rate) {
        return Err(WavError::Unsupported(format!("{sample_rate} Hz: only 8000 to 48000 Hz are supported")));
    }
    Ok(Format { encoding, channels, sample_rate })
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
