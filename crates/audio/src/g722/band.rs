//! One band's adaptive part: the scale that follows the signal's level, and the predictor of two poles and six zeros. Encoder and
//! decoder run the same one over the same codes.

use super::saturate;
use super::tables::{SCALE, inverse_2, inverse_4, log_step_high, log_step_low};

#[derive(Clone, Debug)]
pub(super) struct Band {
    /// Logarithmic quantizer scale, its upper limit, and what it stands for.
    nb: i32,
    det: i32,
    /// Predicted sample, and the zeros' part of it.
    s: i32,
    sz: i32,
    /// The poles' coefficients, and the last two values of what they work on.
    a: [i32; 2],
    r: [i32; 2],
    p: [i32; 2],
    /// The zeros' coefficients, and the last six differences, newest first.
    b: [i32; 6],
    d: [i32; 6],
}

impl Band {
    pub(super) fn low() -> Self {
        Band { nb: 0, det: 32, s: 0, sz: 0, a: [0; 2], r: [0; 2], p: [0; 2], b: [0; 6], d: [0; 6] }
    }

    pub(super) fn high() -> Self {
        Band { det: 8, ..Band::low() }
    }

    #[inline(always)]
    pub(super) fn s(&self) -> i32 {
        self.s
    }

    #[inline(always)]
    pub(super) fn det(&self) -> i32 {
        self.det
    }

    /// Follows the lower band: only its upper four bits count, so that the other two may be lost on the way (modes 2 and 3).
    #[inline]
    pub(super) fn follow_low(&mut self, code: u8) {
        let code = code >> 2;
        let difference = (self.det * inverse_4(code)) >> 15;
        self.scale(log_step_low(code), 18_432, 8);
        self.predict(difference);
    }

    /// Follows the upper band and returns the difference that the two bits stand for.
    #[inline]
    pub(super) fn follow_high(&mut self, code: u8) -> i32 {
        let difference = (self.det * inverse_2(code)) >> 15;
        self.scale(log_step_high(code), 22_528, 10);
        self.predict(difference);
        difference
    }

    /// §3.5 (LOGSCL, SCALEL and their like): leaks, takes the step, and looks the scale up.
    #[inline]
    fn scale(&mut self, step: i32, limit: i32, exponent: i32) {
        self.nb = (((self.nb * 127) >> 7) + step).clamp(0, limit);
        let mantissa = SCALE.get((self.nb >> 6 & 31) as usize).copied().unwrap_or(0);
        let shift = exponent - (self.nb >> 11);
        let scale = if shift < 0 { mantissa << -shift } else { mantissa >> shift };
        self.det = scale << 2;
    }

    /// §3.6: adapts the predictor by the difference, and predicts the next sample.
    #[inline]
    fn predict(&mut self, d: i32) {
        let r = saturate(self.s + d);
        let p = saturate(self.sz + d);
        let [a1, a2] = self.a;
        let [p1, p2] = self.p;
        let agrees = |with: i32| (p < 0) == (with < 0);

        // UPPOL2, UPPOL1: the poles, kept where the filter is stable.
        let first = saturate(a1 << 2);
        let turned = if agrees(p1) { (-first).min(32_767) } else { first };
        let a2 = ((turned >> 7) + if agrees(p2) { 128 } else { -128 } + ((a2 * 32_512) >> 15)).clamp(-12_288, 12_288);
        let most = saturate(15_360 - a2);
        let a1 = saturate(if agrees(p1) { 192 } else { -192 } + ((a1 * 32_640) >> 15)).clamp(-most, most);

        // UPZERO, FILTEZ: the zeros, and what they predict once the differences have moved on.
        let step = if d == 0 { 0 } else { 128 };
        for (b, &old) in self.b.iter_mut().zip(&self.d) {
            let by = if (old < 0) == (d < 0) { step } else { -step };
            *b = saturate(by + ((*b * 32_640) >> 15));
        }
        self.d.copy_within(..5, 1);
        self.d[0] = d;
        let sum: i32 = self.b.iter().zip(&self.d).map(|(b, d)| (b * saturate(d + d)) >> 15).sum();
        self.sz = saturate(sum);

        // FILTEP: the poles' part.
        let poles = ((a1 * saturate(r + r)) >> 15) + ((a2 * saturate(self.r[0] + self.r[0])) >> 15);
        self.s = saturate(saturate(poles) + self.sz);
        self.a = [a1, a2];
        self.r = [r, self.r[0]];
        self.p = [p, p1];
    }
}
