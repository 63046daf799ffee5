use std::f64::consts::TAU;

use super::*;
use crate::tone_level_dbm0;

const RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

fn pairs() -> impl Iterator<Item = (u32, u32)> {
    RATES.into_iter().flat_map(|from| RATES.into_iter().map(move |to| (from, to)))
}

fn sine(rate: u32, frequency: f64, amplitude: f64, samples: usize) -> Vec<i16> {
    (0..samples).map(|i| (amplitude * (TAU * frequency * i as f64 / f64::from(rate)).sin()).round() as i16).collect()
}

fn converted(from: u32, to: u32, samples: &[i16]) -> Vec<i16> {
    let mut out = Vec::new();
    Resampler::new(from, to).expect("a known pair").process(samples, &mut out);
    out
}

/// The output in the steady state for a loud sine of 0.15 s.
fn steady(from: u32, to: u32, frequency: f64) -> Vec<i16> {
    let mut out = converted(from, to, &sine(from, frequency, 30_000.0, from as usize * 3 / 20));
    let settled = out.len() / 3;
    out.drain(..settled);
    out
}

/// dBm0 of the sine that `steady` feeds.
fn fed() -> f64 {
    20.0 * (30_000.0_f64 / 32_768.0).log10() + crate::FULL_SCALE_SINE_DBM0
}

#[test]
fn the_pass_band_is_flat_to_a_tenth_of_a_decibel() {
    for (from, to) in pairs() {
        let low = f64::from(from.min(to));
        for part in [0.01, 0.0375, 0.1, 0.2, 0.25, 0.333, 0.4, 0.415, 0.425] {
            let gain = tone_level_dbm0(&steady(from, to, part * low), to, part * low) - fed();
            assert!(gain.abs() < 0.1, "{from} to {to}: {gain} dB at {part} of the lower rate");
        }
    }
}

#[test]
fn images_stay_70_db_below_the_signal() {
    for (from, to) in pairs().filter(|(from, to)| from < to) {
        for part in [0.01, 0.123, 0.2, 0.31, 0.4, 0.425, 0.45, 0.47, 0.49, 0.499] {
            let frequency = part * f64::from(from);
            let out = steady(from, to, frequency);
            for image in images(from, to, frequency) {
                let level = tone_level_dbm0(&out, to, image) - fed();
                assert!(level < -70.0, "{from} to {to}: {frequency} Hz has an image of {level} dB at {image} Hz");
            }
        }
    }
}

/// Where a frequency of a signal sampled at `from` shows again below half of `to`.
fn images(from: u32, to: u32, frequency: f64) -> Vec<f64> {
    let (from, half) = (f64::from(from), f64::from(to) / 2.0);
    let all = (1..=6).flat_map(|k| [f64::from(k) * from - frequency, f64::from(k) * from + frequency]);
    all.filter(|&image| image < half - 1.0).collect()
}

#[test]
fn aliases_stay_70_db_below_the_signal() {
    for (from, to) in pairs().filter(|(from, to)| from > to) {
        let (nyquist, low) = (f64::from(from) / 2.0, f64::from(to));
        let mut frequency = 0.501 * low;
        while frequency < nyquist {
            let out = steady(from, to, frequency);
            // All that is left of it, wherever it folded to: the level of the whole output.
            let level = crate::level_dbm0(&out) - fed();
            assert!(level < -70.0, "{from} to {to}: {frequency} Hz is left over with {level} dB");
            frequency += 0.037 * low;
        }
    }
}

#[test]
fn noise_of_the_conversion_is_that_of_rounding() {
    for (from, to) in pairs() {
        let low = f64::from(from.min(to));
        let out = steady(from, to, 0.125 * low);
        // The output is periodic with 8 samples of the lower rate; what is not the sine itself is the error.
        let step = TAU * 0.125 * low / f64::from(to);
        let (mut a, mut b) = (0.0, 0.0);
        let whole = out.len() - out.len() % 48;
        for (i, &s) in out[..whole].iter().enumerate() {
            a += f64::from(s) * (step * i as f64).cos() * 2.0 / whole as f64;
            b += f64::from(s) * (step * i as f64).sin() * 2.0 / whole as f64;
        }
        let error =
            |(i, &s): (usize, &i16)| (f64::from(s) - a * (step * i as f64).cos() - b * (step * i as f64).sin()).powi(2);
        let mean_square = out[..whole].iter().enumerate().map(error).sum::<f64>() / whole as f64;
        assert!(mean_square.sqrt() < 2.5, "{from} to {to}: {} steps", mean_square.sqrt());
    }
}

#[test]
fn the_count_is_exact_and_pieces_of_any_length_give_the_same_stream() {
    let signal = sine(8_000, 440.0, 20_000.0, 5_000);
    for (from, to) in pairs() {
        let whole = converted(from, to, &signal);
        assert_eq!(whole.len(), (signal.len() * to as usize).div_ceil(from as usize), "{from} to {to}");

        let mut resampler = Resampler::new(from, to).expect("a known pair");
        let (mut pieces, mut rest) = (Vec::new(), &signal[..]);
        for length in (0..).map(|i| i * i % 701) {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            resampler.process(piece, &mut pieces);
            rest = after;
            let fed = signal.len() - rest.len();
            assert_eq!(pieces.len(), (fed * to as usize).div_ceil(from as usize));
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(pieces, whole, "{from} to {to}");
    }
}

#[test]
fn frames_of_20_ms_give_frames_of_20_ms() {
    for (from, to) in pairs() {
        let mut resampler = Resampler::new(from, to).expect("a known pair");
        for _ in 0..7 {
            let mut out = Vec::new();
            resampler.process(&vec![1; from as usize / 50], &mut out);
            assert_eq!(out.len(), to as usize / 50);
        }
    }
}

#[test]
fn a_pulse_comes_out_after_the_latency() {
    for (from, to) in pairs() {
        let mut signal = vec![0; 960];
        signal[0] = 30_000;
        let out = converted(from, to, &signal);
        let peak = (0..out.len()).max_by_key(|&i| out[i]);
        let latency = Resampler::new(from, to).expect("a known pair").latency();
        assert_eq!(peak, Some(latency), "{from} to {to}");
        assert!(latency as u32 * 1_000 <= 4 * to, "at most 4 ms");
    }
}

#[test]
fn a_constant_stays_what_it_is_and_extremes_saturate() {
    for (from, to) in pairs() {
        for level in [i16::MIN, -12_345, 1, i16::MAX] {
            let out = converted(from, to, &vec![level; from as usize / 10]);
            assert!(out[out.len() / 2..].iter().all(|&s| s == level), "{from} to {to}: {level}");
        }
        // A square wave at full scale overshoots; it must not wrap around.
        let square: Vec<i16> = (0..4_000).map(|i| if i / 20 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let out = converted(from, to, &square);
        assert!(out.contains(&i16::MAX) && out.contains(&i16::MIN), "{from} to {to}");
        let jumps = out.windows(2).filter(|w| w[0].abs_diff(w[1]) > 60_000).count();
        assert!(from >= to || jumps == 0, "{from} to {to}: wrapped around");
    }
}

#[test]
fn reset_forgets_everything() {
    for (from, to) in pairs() {
        let signal = sine(from, 300.0, 10_000.0, 1_001);
        let mut resampler = Resampler::new(from, to).expect("a known pair");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        resampler.process(&signal, &mut first);
        resampler.reset();
        resampler.process(&signal, &mut second);
        assert_eq!(first, second);
    }
}

#[test]
fn other_rates_are_refused() {
    assert_eq!(Resampler::new(44_100, 8_000).err(), Some(UnsupportedRate(44_100)));
    assert_eq!(Resampler::new(8_000, 0).err(), Some(UnsupportedRate(0)));
}

#[test]
fn a_sum_is_converted_as_its_parts_are() {
    let (mut of_sum, mut of_part) =
        (Resampler::new(48_000, 8_000).expect("known"), Resampler::new(48_000, 8_000).expect("known"));
    let part: Vec<i16> = (0..9_600).map(|n| (8_000.0 * (f64::from(n) * 0.05).sin()) as i16).collect();
    // Ten of it do not fit 16 bits.
    let sum: Vec<i32> = part.iter().map(|&sample| 10 * i32::from(sample)).collect();
    let (mut sums, mut parts) = (Vec::new(), Vec::new());
    for (sum, part) in sum.chunks(960).zip(part.chunks(960)) {
        of_sum.process_sum(sum, &mut sums);
        of_part.process(part, &mut parts);
    }
    assert_eq!(sums.len(), parts.len());
    assert!(sums.iter().zip(&parts).all(|(&sum, &part)| (sum - 10 * i32::from(part)).abs() <= 10));
    assert!(sums.iter().any(|sum| sum.abs() > 70_000));
}
