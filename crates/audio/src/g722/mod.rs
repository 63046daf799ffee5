//! ITU-T G.722 in mode 1 (64 kbit/s): 16 kHz in two bands of 8 kHz, the lower in 6 bits a sample, the upper in 2.
//!
//! The arithmetic is the Recommendation's own, in 16 bits with saturation, so that an encoder and a decoder anywhere keep in step to
//! the last bit. Variables bear its names: `nb` (logarithmic scale), `det` (quantizer scale), `a`, `b` (predictor coefficients), `d`
//! (difference), `r` (reconstructed), `p` (partially reconstructed), `s` (predicted).
//!
//! Two samples are one octet: the upper band's bits above the lower's.

mod band;
mod tables;

use band::Band;
use tables::{QMF, QUANTIZER_6, QUANTIZER_HIGH};

/// Taps of the quadrature mirror filters.
const TAPS: usize = 24;
/// Pairs of samples filtered between two moves of the filter's memory.
const BLOCK: usize = 40;

/// One sent stream.
#[derive(Clone, Debug)]
pub struct G722Encoder {
    low: Band,
    high: Band,
    /// The last 22 samples, and room for a block.
    window: [i16; TAPS - 2 + 2 * BLOCK],
}

/// One received stream.
#[derive(Clone, Debug)]
pub struct G722Decoder {
    low: Band,
    high: Band,
    window: [i16; TAPS - 2 + 2 * BLOCK],
}

impl Default for G722Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for G722Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl G722Encoder {
    pub fn new() -> Self {
        G722Encoder { low: Band::low(), high: Band::high(), window: [0; TAPS - 2 + 2 * BLOCK] }
    }

    /// Appends an octet for each two samples; an odd last one is left out.
    pub fn encode(&mut self, samples: &[i16], to: &mut Vec<u8>) {
        to.reserve(samples.len() / 2);
        for block in samples.chunks(2 * BLOCK) {
            let pairs = block.len() / 2;
            let Some(new) = self.window.get_mut(TAPS - 2..TAPS - 2 + 2 * pairs) else { return };
            new.copy_from_slice(block.get(..2 * pairs).unwrap_or_default());
            for taps in self.window.windows(TAPS).step_by(2).take(pairs) {
                // §3.1: the transmit filters; the sums are 15 bits wide after the shift.
                let (even, odd) = filter(taps);
                let (low, high) = ((even + odd) >> 14, (odd - even) >> 14);
                to.push(self.high.quantize_high(high) << 6 | self.low.quantize_low(low));
            }
            self.window.copy_within(2 * pairs..2 * pairs + TAPS - 2, 0);
        }
    }
}

impl G722Encoder {
    /// Another encoder has sent these: predictors and scales become what the receiver's are by them.
    pub fn follow(&mut self, codes: &[u8]) {
        for &code in codes {
            self.low.follow_low(code & 0x3f);
            self.high.follow_high(code >> 6);
        }
    }
}

impl G722Decoder {
    pub fn new() -> Self {
        G722Decoder { low: Band::low(), high: Band::high(), window: [0; TAPS - 2 + 2 * BLOCK] }
    }

    /// Appends two samples for each octet.
    pub fn decode(&mut self, codes: &[u8], to: &mut Vec<i16>) {
        to.reserve(codes.len() * 2);
        for block in codes.chunks(BLOCK) {
            let new = self.window.iter_mut().skip(TAPS - 2);
            let mut new = new.take(2 * block.len());
            for &code in block {
                let low = self.low.reconstruct_low(code & 0x3f);
                let high = self.high.reconstruct_high(code >> 6);
                // Each is limited to 15 bits: the sums fit 16.
                if let (Some(sum), Some(difference)) = (new.next(), new.next()) {
                    *sum = (low + high) as i16;
                    *difference = (low - high) as i16;
                }
            }
            for taps in self.window.windows(TAPS).step_by(2).take(block.len()) {
                // §4.4: the receive filters.
                let (even, odd) = filter(taps);
                to.push(saturate(odd >> 11) as i16);
                to.push(saturate(even >> 11) as i16);
            }
            self.window.copy_within(2 * block.len()..2 * block.len() + TAPS - 2, 0);
        }
    }
}

/// The two halves of a quadrature mirror filter over 24 samples, oldest first.
#[inline(always)]
fn filter(taps: &[i16]) -> (i32, i32) {
    let (mut even, mut odd) = (0, 0);
    for ((pair, &c), &mirrored) in taps.chunks_exact(2).zip(&QMF).zip(QMF.iter().rev()) {
        if let [first, second] = pair {
            even += i32::from(*first) * c;
            odd += i32::from(*second) * mirrored;
        }
    }
    (even, odd)
}

#[inline(always)]
fn saturate(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

impl Band {
    /// §3.3, §3.5, §3.6: the lower band's 6 bits for a sample, after which the predictor has followed.
    #[inline]
    fn quantize_low(&mut self, sample: i32) -> u8 {
        let error = saturate(sample - self.s());
        let magnitude = if error >= 0 { error } else { -(error + 1) };
        let det = self.det();
        // The decision levels grow: the first above the magnitude tells the interval, of 1 to 30.
        let interval = QUANTIZER_6.partition_point(|&level| magnitude >= (level * det) >> 12) as u8 + 1;
        let code = match (error < 0, interval) {
            (true, 1 | 2) => 64 - interval,
            (true, _) => 34 - interval,
            (false, _) => 62 - interval,
        };
        self.follow_low(code);
        code
    }

    /// §4.1: the sample of 15 bits that 6 bits stand for.
    #[inline]
    fn reconstruct_low(&mut self, code: u8) -> i32 {
        let difference = (self.det() * tables::inverse_6(code)) >> 15;
        let sample = (self.s() + difference).clamp(-16_384, 16_383);
        self.follow_low(code);
        sample
    }

    #[inline]
    fn quantize_high(&mut self, sample: i32) -> u8 {
        let error = saturate(sample - self.s());
        let magnitude = if error >= 0 { error } else { -(error + 1) };
        let far = magnitude >= (QUANTIZER_HIGH * self.det()) >> 12;
        let code = match (error < 0, far) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        self.follow_high(code);
        code
    }

    #[inline]
    fn reconstruct_high(&mut self, code: u8) -> i32 {
        let s = self.s();
        let difference = self.follow_high(code);
        (s + difference).clamp(-16_384, 16_383)
    }
}

#[cfg(test)]
mod tests;
