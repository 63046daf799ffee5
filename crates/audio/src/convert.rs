//! Conversion between any two sample rates, as a stream, where there is time for it: files at 11.025 or 44.1 kHz.
//!
//! [`crate::Resampler`] has a filter made for each pair of the telephone's rates. Here there is one filter, a windowed sinc in a
//! table, between whose entries is interpolated; it costs some ten times as much, and no memory for each pair. Pass band and stop band
//! are the same: 0 to 0.425 of the lower rate is flat, from half the lower rate on everything is down by 70 dB.
//!
//! Invariant: after n samples in and `finish`, ⌈n · to / from⌉ have come out, the first at the time of the first.

use std::f64::consts::PI;
use std::sync::OnceLock;

use crate::kaiser::kaiser;
use crate::round::to_sample;

/// Half the length of the filter, in samples of the lower rate.
const HALF: usize = 32;
/// Entries of the table a sample. Linear interpolation between them is off by less than -90 dB.
const STEPS: usize = 256;
/// Middle of the transition, in parts of the lower rate.
const CUT: f64 = 0.4625;
/// Kaiser window: 75 dB.
const BETA: f64 = 7.3;

/// One stream's conversion.
#[derive(Clone, Debug)]
pub struct RateConverter {
    from: u64,
    to: u64,
    /// Input samples that are still needed; `base` is the number of the first.
    window: Vec<f32>,
    base: i64,
    /// Number of the next output sample.
    next: u64,
    received: u64,
}

impl RateConverter {
    /// Rates in Hz; zero counts as one.
    pub fn new(from: u32, to: u32) -> Self {
        RateConverter {
            from: u64::from(from.max(1)),
            to: u64::from(to.max(1)),
            window: Vec::new(),
            base: 0,
            next: 0,
            received: 0,
        }
    }

    /// Input samples that the filter reaches to each side.
    fn reach(&self) -> i64 {
        (HALF as u64 * self.from.div_ceil(self.to).max(1)) as i64 + 1
    }

    /// Appends what follows from the next `samples`.
    pub fn process(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        if self.from == self.to {
            out.extend_from_slice(samples);
            return;
        }
        self.window.extend(samples.iter().map(|&sample| f32::from(sample)));
        self.received += samples.len() as u64;
        let reach = self.reach();
        loop {
            let position = self.next * self.from / self.to;
            if position as i64 + reach >= self.received as i64 {
                break;
            }
            out.push(self.at(self.next));
            self.next += 1;
        }
        let needed = (self.next * self.from / self.to) as i64 - reach;
        if needed > self.base {
            let unused = ((needed - self.base) as usize).min(self.window.len());
            self.window.drain(..unused);
            self.base += unused as i64;
        }
    }

    /// Appends the rest: the input has ended.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        if self.from == self.to {
            return;
        }
        let end = (self.received * self.to).div_ceil(self.from);
        while self.next < end {
            out.push(self.at(self.next));
            self.next += 1;
        }
    }

    fn at(&self, output: u64) -> i16 {
        let table = table();
        let place = output * self.from;
        let (whole, fraction) = ((place / self.to) as i64, (place % self.to) as f64 / self.to as f64);
        // The filter is stretched where the output has the lower rate.
        let scale = (self.to as f64 / self.from as f64).min(1.0);
        let reach = self.reach();
        let mut sum = 0.0_f64;
        for input in whole - reach..=whole + reach {
            let Some(&sample) = usize::try_from(input - self.base).ok().and_then(|index| self.window.get(index)) else {
                continue;
            };
            let distance = ((input - whole) as f64 - fraction).abs() * scale * STEPS as f64;
            let index = distance as usize;
            let (Some(&a), Some(&b)) = (table.get(index), table.get(index + 1)) else { continue };
            sum += f64::from(sample) * (a + (b - a) * (distance - index as f64));
        }
        to_sample((sum * scale) as f32)
    }
}

/// The right half of the filter, the lower rate being 1.
fn table() -> &'static [f64] {
    static TABLE: OnceLock<Box<[f64]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        (0..=HALF * STEPS + 1)
            .map(|i| {
                let t = i as f64 / STEPS as f64;
                let sinc = if i == 0 { 2.0 * CUT } else { (2.0 * PI * CUT * t).sin() / (PI * t) };
                if t > HALF as f64 { 0.0 } else { sinc * kaiser(BETA, t / HALF as f64) }
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::tone_level_dbm0;

    fn sine(rate: u32, hz: f64) -> Vec<i16> {
        let samples = rate as usize / 2;
        (0..samples).map(|i| (20_000.0 * (TAU * hz * i as f64 / f64::from(rate)).sin()).round() as i16).collect()
    }

    fn converted(from: u32, to: u32, samples: &[i16]) -> Vec<i16> {
        let mut converter = RateConverter::new(from, to);
        let mut out = Vec::new();
        for piece in samples.chunks(321) {
            converter.process(piece, &mut out);
        }
        converter.finish(&mut out);
        out
    }

    const PAIRS: [(u32, u32); 8] = [
        (44_100, 8_000),
        (44_100, 48_000),
        (11_025, 8_000),
        (22_050, 16_000),
        (32_000, 48_000),
        (12_000, 8_000),
        (11_025, 48_000),
        (8_000, 16_000),
    ];

    #[test]
    fn the_pass_band_is_flat_and_the_length_is_kept() {
        for (from, to) in PAIRS {
            let low = f64::from(from.min(to));
            for part in [0.02, 0.1, 0.3, 0.4, 0.42] {
                let samples = sine(from, part * low);
                let out = converted(from, to, &samples);
                assert_eq!(out.len() as u64, (samples.len() as u64 * u64::from(to)).div_ceil(u64::from(from)));
                let settled = &out[out.len() / 4..out.len() * 3 / 4];
                let gain = tone_level_dbm0(settled, to, part * low)
                    - tone_level_dbm0(&samples[samples.len() / 4..samples.len() * 3 / 4], from, part * low);
                assert!(gain.abs() < 0.1, "{from} to {to}: {gain} dB at {part}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_the_lower_rate_does_not_fold_back() {
        for (from, to) in PAIRS.into_iter().filter(|(from, to)| from > to) {
            let hz = f64::from(to) * 0.53;
            let out = converted(from, to, &sine(from, hz));
            let settled = &out[out.len() / 4..out.len() * 3 / 4];
            let level = tone_level_dbm0(settled, to, f64::from(to) - hz);
            assert!(level < -65.0, "{from} to {to}: {level} dBm0");
        }
    }

    #[test]
    fn the_first_sample_stays_the_first() {
        let mut samples = vec![0; 4000];
        samples[0] = 20_000;
        let out = converted(44_100, 48_000, &samples);
        let peak = out.iter().enumerate().max_by_key(|(_, sample)| sample.unsigned_abs()).map(|(at, _)| at);
        assert_eq!(peak, Some(0));
    }
}
