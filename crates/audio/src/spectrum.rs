//! Measuring tones: which frequency is the strongest, and how strong a given one is.
//!
//! For checks and demonstrations, not for the packet path: each call allocates and takes tens to hundreds of microseconds.

use std::f64::consts::TAU;

use crate::level::power_dbm0;

/// A longer piece of signal is measured by its beginning.
const MOST_SAMPLES: usize = 1 << 16;
const FEWEST_SAMPLES: usize = 64;
/// A tone stands out when it holds this share of the whole power, offset excluded; each half of a DTMF pair does.
const DOMINANT_SHARE: f64 = 0.2;
const FAINTEST_DBM0: f64 = -60.0;

/// The strongest frequency of `samples` in Hz, to about a tenth of the reciprocal of its duration for a clear tone (0.2 Hz in
/// half a second). `None` for silence (below -60 dBm0), noise, or fewer than 64 samples.
pub fn dominant_frequency(samples: &[i16], sample_rate: u32) -> Option<f64> {
    let samples = samples.get(..MOST_SAMPLES).unwrap_or(samples);
    if samples.len() < FEWEST_SAMPLES || sample_rate == 0 {
        return None;
    }
    let n = samples.len();
    let mean = mean(samples);
    let mean_square = samples.iter().map(|&s| (f64::from(s) - mean).powi(2)).sum::<f64>() / n as f64;
    if power_dbm0(mean_square) < FAINTEST_DBM0 {
        return None;
    }
    // Padded to at least twice its length, the spectrum is fine enough for a parabola through the peak's logarithms.
    let size = (2 * n).next_power_of_two();
    let mut spectrum = vec![(0.0, 0.0); size];
    for (i, (slot, &sample)) in spectrum.iter_mut().zip(samples).enumerate() {
        slot.0 = (f64::from(sample) - mean) * hann(i, n);
    }
    fourier_transform(&mut spectrum);
    let power: Vec<f64> = spectrum.iter().take(size / 2 + 1).map(|&(re, im)| re * re + im * im).collect();

    let (peak, &highest) = power.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    // The main lobe of the Hann window is two steps of the unpadded spectrum wide on either side.
    let lobe = (2 * size).div_ceil(n);
    let around = power.get(peak.saturating_sub(lobe)..(peak + lobe + 1).min(power.len()))?;
    if around.iter().sum::<f64>() < DOMINANT_SHARE * power.iter().sum::<f64>() {
        return None;
    }
    let neighbour = |i: Option<usize>| i.and_then(|i| power.get(i)).map_or(highest, |&p| p).max(f64::MIN_POSITIVE).ln();
    let (left, top, right) = (neighbour(peak.checked_sub(1)), highest.ln(), neighbour(peak.checked_add(1)));
    let curvature = left - 2.0 * top + right;
    let offset = if curvature < 0.0 { ((left - right) / (2.0 * curvature)).clamp(-0.5, 0.5) } else { 0.0 };
    Some((peak as f64 + offset) * f64::from(sample_rate) / size as f64)
}

/// The level of the component at `frequency`, in dBm0, as a sine of that frequency would have it. Components further away than
/// two reciprocals of the duration (40 Hz for 50 ms) leak into it with 31 dB less, and the less the further away they are. Minus
/// infinity for an empty slice.
pub fn tone_level_dbm0(samples: &[i16], sample_rate: u32, frequency: f64) -> f64 {
    let n = samples.len();
    let mean = mean(samples);
    let step = TAU * frequency / f64::from(sample_rate.max(1));
    let (mut re, mut im, mut weight) = (0.0, 0.0, 0.0);
    for (i, &sample) in samples.iter().enumerate() {
        let window = hann(i, n);
        let (sin, cos) = (step * i as f64).sin_cos();
        re += (f64::from(sample) - mean) * window * cos;
        im += (f64::from(sample) - mean) * window * sin;
        weight += window;
    }
    if weight == 0.0 {
        return f64::NEG_INFINITY;
    }
    // A sine of amplitude A gives A/2 times the window's sum; its power is A²/2.
    power_dbm0(2.0 * (re * re + im * im) / (weight * weight))
}

fn mean(samples: &[i16]) -> f64 {
    samples.iter().map(|&s| i64::from(s)).sum::<i64>() as f64 / samples.len().max(1) as f64
}

/// The Hann window, never zero at its ends.
fn hann(i: usize, n: usize) -> f64 {
    0.5 - 0.5 * (TAU * (i as f64 + 0.5) / n as f64).cos()
}

/// In place, radix 2. `values` has a power of two as its length.
fn fourier_transform(values: &mut [(f64, f64)]) {
    let n = values.len();
    let bits = n.trailing_zeros();
    if bits == 0 {
        return;
    }
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            values.swap(i, j);
        }
    }
    let mut half = 1;
    while half < n {
        let angle = -TAU / (2 * half) as f64;
        let twiddles: Vec<(f64, f64)> = (0..half).map(|k| (angle * k as f64).sin_cos()).map(|(s, c)| (c, s)).collect();
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((a, b), &(c, s)) in low.iter_mut().zip(high).zip(&twiddles) {
                let turned = (b.0 * c - b.1 * s, b.0 * s + b.1 * c);
                *b = (a.0 - turned.0, a.1 - turned.1);
                *a = (a.0 + turned.0, a.1 + turned.1);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{amplitude, pcmu_decode, pcmu_encode};

    fn sines(rate: u32, samples: usize, parts: &[(f64, f64)]) -> Vec<i16> {
        let at = |i: usize| {
            let t = i as f64 / f64::from(rate);
            parts.iter().map(|&(f, a)| a * (TAU * f * t + 0.7).sin()).sum::<f64>()
        };
        (0..samples).map(|i| at(i).round() as i16).collect()
    }

    /// A linear congruential sequence: noise that is the same in every run.
    fn noise(samples: usize, amplitude: i16) -> Vec<i16> {
        let mut state = 12_345_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) as i32 * i32::from(amplitude) / 32_768 - i32::from(amplitude)) as i16
        };
        (0..samples).map(|_| next()).collect()
    }

    #[test]
    fn a_clear_tone_is_measured_to_a_fraction_of_a_hertz_at_every_rate() {
        for rate in [8_000, 16_000, 24_000, 48_000] {
            for frequency in [55.3, 301.7, 440.0, 1_000.25, 2_713.9, 3_899.1] {
                let samples = sines(rate, rate as usize / 2, &[(frequency, 8_000.0)]);
                let found = dominant_frequency(&samples, rate).expect("a tone");
                assert!((found - frequency).abs() < 0.2, "{frequency} Hz at {rate} measured as {found}");
            }
        }
    }

    #[test]
    fn g711_noise_and_gaps_do_not_move_it_by_a_hertz() {
        let mut samples = sines(8_000, 4_000, &[(425.0, 3_000.0)]);
        for (sample, noise) in samples.iter_mut().zip(noise(4_000, 1_500)) {
            *sample += noise;
        }
        for lost in [800..960, 2_400..2_560] {
            samples[lost].fill(0);
        }
        let mut codes = vec![0; 4_000];
        pcmu_encode(&samples, &mut codes);
        pcmu_decode(&codes, &mut samples);
        let found = dominant_frequency(&samples, 8_000).expect("a tone");
        assert!((found - 425.0).abs() < 1.0, "{found}");
    }

    #[test]
    fn of_two_tones_the_louder_is_found() {
        let samples = sines(8_000, 4_000, &[(697.0, 6_000.0), (1_209.0, 7_000.0)]);
        let found = dominant_frequency(&samples, 8_000).expect("a tone");
        assert!((found - 1_209.0).abs() < 0.2, "{found}");
    }

    #[test]
    fn silence_noise_offset_and_too_little_are_no_tone() {
        assert_eq!(dominant_frequency(&[0; 4_000], 8_000), None);
        assert_eq!(dominant_frequency(&[8; 4_000], 8_000), None, "an offset");
        assert_eq!(dominant_frequency(&noise(4_000, 10_000), 8_000), None);
        assert_eq!(dominant_frequency(&[1_000; 63], 8_000), None);
        assert_eq!(dominant_frequency(&[], 8_000), None);
        assert_eq!(dominant_frequency(&sines(8_000, 4_000, &[(440.0, 100.0)]), 0), None);
    }

    #[test]
    fn levels_of_components_are_told_apart() {
        let (low, high) = (amplitude(-9.0), amplitude(-7.0));
        let samples = sines(8_000, 800, &[(770.0, low), (1_336.0, high)]);
        assert!((tone_level_dbm0(&samples, 8_000, 770.0) + 9.0).abs() < 0.05);
        assert!((tone_level_dbm0(&samples, 8_000, 1_336.0) + 7.0).abs() < 0.05);
        assert!(tone_level_dbm0(&samples, 8_000, 941.0) < -45.0);
        assert_eq!(tone_level_dbm0(&[], 8_000, 941.0), f64::NEG_INFINITY);
    }
}
