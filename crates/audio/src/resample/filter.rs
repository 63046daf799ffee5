//! The low-pass filters of the resampler, as polyphase banks, one for each ratio and made once.

use std::f64::consts::PI;
use std::sync::OnceLock;

use crate::kaiser::kaiser;

/// Half the length of the filter in samples of the lower rate. With it go the width of the transition (0.075 of the lower rate) and
/// the attenuation, by Kaiser's formula; 31 gives 74.7 dB, 30 gives 72.6.
const fn half_length(up: usize, down: usize) -> usize {
    match (up, down) {
        // 16 and 24 kHz: the delay is a whole number of samples of both rates only where 2 and 3 divide the length.
        (3, 2) | (2, 3) => 30,
        _ => 31,
    }
}

/// Edges of the pass band and the stop band, in parts of the lower rate: the telephone band of 8 kHz ends at 3.4 kHz, and
/// nothing from half the lower rate on may fold back or be mirrored.
const PASS: f64 = 0.425;
const STOP: f64 = 0.5;

/// A low-pass filter at `up` times the input rate, cut into `up` phases.
#[derive(Debug)]
pub(super) struct Bank {
    /// Coefficients of each phase for the oldest sample first, filled with zeros in front to the same number.
    phases: Vec<Box<[f32]>>,
    pub(super) up: usize,
    pub(super) down: usize,
    pub(super) taps: usize,
    /// Samples of the output that a signal comes later by.
    pub(super) latency: usize,
}

impl Bank {
    /// The bank for `up`/`down`, in lowest terms; `None` where the resampler has no use for it.
    pub(super) fn of(up: usize, down: usize) -> Option<&'static Bank> {
        static BANKS: [OnceLock<Bank>; 8] = [const { OnceLock::new() }; 8];
        let slot = match (up, down) {
            (2, 1) => 0,
            (3, 1) => 1,
            (6, 1) => 2,
            (1, 2) => 3,
            (1, 3) => 4,
            (1, 6) => 5,
            (3, 2) => 6,
            (2, 3) => 7,
            _ => return None,
        };
        BANKS.get(slot).map(|bank| bank.get_or_init(|| Bank::new(up, down)))
    }

    pub(super) fn phase(&self, index: usize) -> Option<&[f32]> {
        self.phases.get(index).map(AsRef::as_ref)
    }

    fn new(up: usize, down: usize) -> Self {
        // The filter runs at `up` times the input rate, which is `wide` times the lower of the two rates.
        let wide = up.max(down);
        let centre = half_length(up, down) * wide;
        let prototype = low_pass(centre, wide as f64);
        let taps = prototype.len().div_ceil(up);
        let phases = (0..up)
            .map(|phase| {
                let mut coefficients: Vec<f64> = prototype.iter().skip(phase).step_by(up).copied().collect();
                // Each phase passes a constant unchanged, so that a constant has no images at all.
                let sum: f64 = coefficients.iter().sum();
                coefficients.iter_mut().for_each(|c| *c /= sum);
                coefficients.resize(taps, 0.0);
                coefficients.iter().rev().map(|&c| c as f32).collect()
            })
            .collect();
        Bank { phases, up, down, taps, latency: centre / down }
    }
}

/// A sinc under a Kaiser window, `centre` coefficients on either side of the middle one, at `wide` times the lower rate.
fn low_pass(centre: usize, wide: f64) -> Vec<f64> {
    let transition = (STOP - PASS) / wide;
    // Kaiser: attenuation = 7.95 + 14.36 · order · transition; the window's parameter follows from it.
    let attenuation = 7.95 + 14.36 * (2 * centre) as f64 * transition;
    let beta = 0.1102 * (attenuation - 8.7);
    let cut = (PASS + STOP) / wide;
    (0..=2 * centre)
        .map(|i| {
            let t = i as f64 - centre as f64;
            let sinc = if i == centre { cut } else { (PI * cut * t).sin() / (PI * t) };
            sinc * kaiser(beta, t / (centre as f64 + 0.5))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_whole_in_samples_of_both_rates() {
        for (up, down) in [(2, 1), (3, 1), (6, 1), (1, 2), (1, 3), (1, 6), (3, 2), (2, 3)] {
            let centre = half_length(up, down) * up.max(down);
            assert_eq!((centre % up, centre % down), (0, 0), "{up}/{down}");
            assert_eq!(Bank::of(up, down).map(|bank| bank.latency * down), Some(centre));
        }
    }
}
