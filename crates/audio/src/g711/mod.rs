//! ITU-T G.711: mu-law (PCMU) and A-law (PCMA), to and from 16-bit linear samples, and into each other.
//!
//! Linear samples are left justified, as everywhere: mu-law's 14 bits and A-law's 13 stand in the upper bits of 16, so that the
//! largest values are 32,124 and 32,256. On the way to a code word G.711 §3.6 leaves the treatment of values that are exactly a
//! decision value to the implementation; here it is that of the ITU's own code (G.191, and the COMPRESS block of G.721):
//! negative samples are complemented, not negated.
//!
//! The loops are plain and branch-free in 16-bit lanes, for the compiler to vectorise: a segment number is found, or a shift by
//! one done, in three steps of a binary search instead of by a table, which would be one load a sample.

mod transcode;

pub use transcode::{pcma_to_pcmu, pcmu_to_pcma};

/// The mu-law code word of 0.
pub const PCMU_SILENCE: u8 = 0xff;
/// The A-law code word of the smallest positive value (there is no 0): 8.
pub const PCMA_SILENCE: u8 = 0xd5;

/// Decodes as many code words as both slices have room for.
pub fn pcmu_decode(codes: &[u8], samples: &mut [i16]) {
    for (sample, &code) in samples.iter_mut().zip(codes) {
        *sample = mu_to_linear(code);
    }
}

/// Encodes as many samples as both slices have room for.
pub fn pcmu_encode(samples: &[i16], codes: &mut [u8]) {
    for (code, &sample) in codes.iter_mut().zip(samples) {
        *code = linear_to_mu(sample);
    }
}

/// Decodes as many code words as both slices have room for.
pub fn pcma_decode(codes: &[u8], samples: &mut [i16]) {
    for (sample, &code) in samples.iter_mut().zip(codes) {
        *sample = a_to_linear(code);
    }
}

/// Encodes as many samples as both slices have room for.
pub fn pcma_encode(samples: &[i16], codes: &mut [u8]) {
    for (code, &sample) in codes.iter_mut().zip(samples) {
        *code = linear_to_a(sample);
    }
}

/// The distance between the decision values of mu-law's segments, on the 16-bit scale: 33 of 14 bits.
const MU_BIAS: u16 = 33 << 2;

/// ITU-T G.711 Table 2, column 7: 0, 2 .. 30, 33 .. 8031, times 4.
#[inline(always)]
fn mu_to_linear(code: u8) -> i16 {
    let word = u16::from(!code);
    let magnitude = shift_left_by_segment((word & 0x0f) << 3 | 0x84, word >> 4) - MU_BIAS;
    with_sign(magnitude, word & 0x80 != 0)
}

/// ITU-T G.711 Table 1, column 7: 1, 3 .. 63, 66 .. 4032, times 8.
#[inline(always)]
fn a_to_linear(code: u8) -> i16 {
    let word = u16::from(code ^ 0x55);
    let segment = (word >> 4) & 7;
    // The first two segments have the same step, and all but the first an implied leading bit.
    let mantissa = (word & 0x0f) << 4 | 8 | if segment == 0 { 0 } else { 0x100 };
    with_sign(shift_left_by_segment(mantissa, segment.saturating_sub(1)), word & 0x80 == 0)
}

#[inline(always)]
fn linear_to_mu(sample: i16) -> u8 {
    let magnitude = (complemented(sample) + MU_BIAS).min(0x7fff);
    let (segment, shifted) = segment_of(magnitude);
    let word = (segment << 4) as u8 | (shifted >> 3 & 0x0f) as u8;
    (!word & 0x7f) | positive_bit(sample)
}

#[inline(always)]
fn linear_to_a(sample: i16) -> u8 {
    let magnitude = complemented(sample);
    let (segment, shifted) = segment_of(magnitude);
    // Below 256 the steps are 16 wide as they are from 256 on, so that segment 0 is the plain quotient.
    let word = if magnitude < 0x100 { magnitude >> 4 } else { segment << 4 | (shifted >> 3 & 0x0f) };
    (word as u8 | positive_bit(sample)) ^ 0x55
}

/// The magnitude, negative samples complemented: 0 ..= 32767.
#[inline(always)]
fn complemented(sample: i16) -> u16 {
    (sample ^ (sample >> 15)) as u16
}

/// Bit 1 of a code word: set for positive values.
#[inline(always)]
fn positive_bit(sample: i16) -> u8 {
    if sample < 0 { 0 } else { 0x80 }
}

#[inline(always)]
fn with_sign(magnitude: u16, negative: bool) -> i16 {
    let value = magnitude as i16;
    if negative { -value } else { value }
}

#[inline(always)]
fn shift_left_by_segment(mut value: u16, segment: u16) -> u16 {
    value = if segment & 4 == 0 { value } else { value << 4 };
    value = if segment & 2 == 0 { value } else { value << 2 };
    if segment & 1 == 0 { value } else { value << 1 }
}

/// The segment 0 ..= 7 of a magnitude below 32768, and the magnitude shifted right by it: below 256, and from 128 on where it was.
#[inline(always)]
fn segment_of(magnitude: u16) -> (u16, u16) {
    let (mut segment, mut shifted) = (0, magnitude);
    (segment, shifted) = if shifted < 0x800 { (segment, shifted) } else { (segment + 4, shifted >> 4) };
    (segment, shifted) = if shifted < 0x200 { (segment, shifted) } else { (segment + 2, shifted >> 2) };
    if shifted < 0x100 { (segment, shifted) } else { (segment + 1, shifted >> 1) }
}

#[cfg(test)]
mod tests;
