//! Bytes of a file, in pieces of any length, to samples.

use super::{Encoding, Format};
use crate::round::to_sample;
use crate::{pcma_decode, pcmu_decode};

/// The longest frame: two floats of 64 bits.
const FRAME_MOST: usize = 16;

/// Makes mono samples of a file's bytes; two channels become their mean.
#[derive(Clone, Debug)]
pub struct Mono {
    format: Format,
    /// The beginning of a frame whose end has not come yet.
    partial: Vec<u8>,
}

impl Mono {
    pub fn new(format: Format) -> Self {
        Mono { format, partial: Vec::with_capacity(FRAME_MOST) }
    }

    /// Appends the samples of all frames that are whole now.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<i16>) {
        let frame = self.format.frame_bytes();
        if !self.partial.is_empty() {
            let missing = (frame - self.partial.len()).min(bytes.len());
            let (now, after) = bytes.split_at(missing);
            self.partial.extend_from_slice(now);
            bytes = after;
            if self.partial.len() < frame {
                return;
            }
            let partial = std::mem::take(&mut self.partial);
            self.frames(&partial, out);
            self.partial = partial;
            self.partial.clear();
        }
        let whole = bytes.len() / frame * frame;
        let (frames, rest) = bytes.split_at(whole);
        self.frames(frames, out);
        self.partial.extend_from_slice(rest);
    }

    fn frames(&self, bytes: &[u8], out: &mut Vec<i16>) {
        let encoding = self.format.encoding;
        out.reserve(bytes.len() / self.format.frame_bytes());
        if self.format.channels == 1 {
            out.extend(bytes.chunks_exact(encoding.bytes()).map(|bytes| sample(encoding, bytes)));
            return;
        }
        for frame in bytes.chunks_exact(self.format.frame_bytes()) {
            let (left, right) = frame.split_at(encoding.bytes());
            let sum = i32::from(sample(encoding, left)) + i32::from(sample(encoding, right));
            out.push((sum / 2) as i16);
        }
    }
}

#[inline]
fn sample(encoding: Encoding, bytes: &[u8]) -> i16 {
    match (encoding, bytes) {
        (Encoding::Unsigned8, &[byte]) => (i16::from(byte) - 128) << 8,
        (Encoding::Signed16, &[low, high]) => i16::from_le_bytes([low, high]),
        // The 16 upper bits.
        (Encoding::Signed24, &[_, low, high]) | (Encoding::Signed32, &[_, _, low, high]) => {
            i16::from_le_bytes([low, high])
        }
        (Encoding::Float32, bytes) => bytes.try_into().map_or(0, |bytes| from_float(f32::from_le_bytes(bytes))),
        (Encoding::Float64, bytes) => bytes.try_into().map_or(0, |bytes| from_float(f64::from_le_bytes(bytes) as f32)),
        (Encoding::ALaw, bytes) => decoded(pcma_decode, bytes),
        (Encoding::MuLaw, bytes) => decoded(pcmu_decode, bytes),
        _ => 0,
    }
}

fn decoded(decode: fn(&[u8], &mut [i16]), bytes: &[u8]) -> i16 {
    let mut sample = [0];
    decode(bytes, &mut sample);
    let [sample] = sample;
    sample
}

/// -1 to 1 as full scale; beyond is clipped, what is no number is silence.
fn from_float(sample: f32) -> i16 {
    if sample.is_nan() { 0 } else { to_sample(sample * 32_767.0) }
}
