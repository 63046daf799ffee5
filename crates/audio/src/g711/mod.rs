//! ITU-T G.711: mu-law (PCMU) and A-law (PCMA), to and from 16-bit linear samples, and into each other.
//!
//! Linear samples are left justified, as everywhere: mu-law's 14 bits and A-law's 13 stand in the upper bits of 16, so that the
//! largest values are 32,124 and 32,256. On the way to a code word G.711 §3.6 leaves the treatment of values that are exactly a
//! decision value to the implementation; here it is that of the ITU's own code (G.191, and the COMPRESS block of G.721):
//! negative samples are complemented, not negated.
//!
//! Decoding looks words up in 512 bytes of table. Encoding is a plain loop without branches or look-ups, in 16-bit lanes, for the
//! compiler to vectorise; a table of all samples would be 64 KiB and drive everything else out of the first cache.

mod transcode;

pub use transcode::{pcma_to_pcmu, pcmu_to_pcma};

/// The mu-law code word of 0.
pub const PCMU_SILENCE: u8 = 0xff;
/// The A-law code word of the smallest positive value (there is no 0): 8.
pub const PCMA_SILENCE: u8 = 0xd5;

/// Decodes as many code words as both slices have room for.
pub fn pcmu_decode(codes: &[u8], samples: &mut [i16]) {
    for (sample, &code) in samples.iter_mut().zip(codes) {
        *sample = MU_TO_LINEAR[usize::from(code)];
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
        *sample = A_TO_LINEAR[usize::from(code)];
    }
}

/// Encodes as many samples as both slices have room for.
pub fn pcma_encode(samples: &[i16], codes: &mut [u8]) {
    for (code, &sample) in codes.iter_mut().zip(samples) {
        *code = linear_to_a(sample);
    }
}

/// What makes the ends of mu-law's segments powers of two, on the 16-bit scale: 33 of 14 bits.
const MU_BIAS: i16 = 33 << 2;

static MU_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = mu_to_linear(code as u8);
        code += 1;
    }
    table
};

static A_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = a_to_linear(code as u8);
        code += 1;
    }
    table
};

/// ITU-T G.711 Table 2, column 7: 0, 2 .. 30, 33 .. 8031, times 4.
const fn mu_to_linear(code: u8) -> i16 {
    let word = !code as i16;
    let magnitude = (((word & 0x0f) << 3 | 0x84) << (word >> 4 & 7)) - MU_BIAS;
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

/// ITU-T G.711 Table 1, column 7: 1, 3 .. 63, 66 .. 4032, times 8.
const fn a_to_linear(code: u8) -> i16 {
    let word = (code ^ 0x55) as i16;
    let step = (word & 0x0f) << 4 | 8;
    let magnitude = match word >> 4 & 7 {
        0 => step,
        segment => (step | 0x100) << (segment - 1),
    };
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

// Both laws are piecewise linear and concave: segment after segment the code word grows half as fast. Of the lines through all
// segments the one of the sample's own segment is therefore the lowest, and the word is a minimum over the lines (rounding down
// keeps their order).

#[inline(always)]
fn linear_to_mu(sample: i16) -> u8 {
    // Above the last decision value that fits 16 bits, the sum saturates.
    let m = complemented(sample).saturating_add(MU_BIAS);
    let word = (m >> 3)
        .min((m >> 4) + 16)
        .min((m >> 5) + 32)
        .min((m >> 6) + 48)
        .min((m >> 7) + 64)
        .min((m >> 8) + 80)
        .min((m >> 9) + 96)
        .min((m >> 10) + 112)
        - 16;
    (!word & 0x7f) as u8 | positive_bit(sample)
}

#[inline(always)]
fn linear_to_a(sample: i16) -> u8 {
    let m = complemented(sample);
    // The first two segments have the same step, hence lie on one line.
    let word = (m >> 4)
        .min((m >> 5) + 16)
        .min((m >> 6) + 32)
        .min((m >> 7) + 48)
        .min((m >> 8) + 64)
        .min((m >> 9) + 80)
        .min((m >> 10) + 96);
    (word as u8 | positive_bit(sample)) ^ 0x55
}

/// The magnitude, negative samples complemented: never negative.
#[inline(always)]
fn complemented(sample: i16) -> i16 {
    sample ^ (sample >> 15)
}

/// Bit 1 of a code word: set for positive values.
#[inline(always)]
fn positive_bit(sample: i16) -> u8 {
    if sample < 0 { 0 } else { 0x80 }
}

#[cfg(test)]
mod tests;
