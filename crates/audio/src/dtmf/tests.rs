use std::f64::consts::TAU;

use super::*;
use crate::{amplitude, dtmf_frequencies};

const DIGITS: &str = "123A456B789C*0#D";

/// Both tones with a level each (dBm0) and a factor on their frequencies.
fn tones(digit: char, ms: f64, low_dbm0: f64, high_dbm0: f64, off: f64) -> Vec<i16> {
    let [low, high] = dtmf_frequencies(digit).expect("a digit").map(f64::from);
    let (a, b) = (amplitude(low_dbm0), amplitude(high_dbm0));
    (0..(ms * 8.0) as usize)
        .map(|i| {
            let t = i as f64 / 8000.0;
            (a * (TAU * low * off * t).sin() + b * (TAU * high * off * t).sin()).clamp(-32_768.0, 32_767.0) as i16
        })
        .collect()
}

fn silence(ms: f64) -> Vec<i16> {
    vec![0; (ms * 8.0) as usize]
}

fn heard(samples: &[i16]) -> Vec<HeardDigit> {
    let mut detector = DtmfDetector::new();
    let mut all = Vec::new();
    for piece in samples.chunks(160) {
        detector.push(piece, |digit| all.push(digit));
    }
    detector.finish(|digit| all.push(digit));
    all
}

fn digits(samples: &[i16]) -> String {
    heard(samples).iter().map(|heard| heard.digit).collect()
}

/// A generator of noise: standard deviation one.
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed | 1;
    move || {
        (0..12)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 11) as f64 / (1_u64 << 53) as f64
            })
            .sum::<f64>()
            - 6.0
    }
}

#[test]
fn each_digit_of_40_ms_after_a_pause_of_40_ms_wherever_the_blocks_begin() {
    for shift in 0..26 {
        let mut samples = silence(20.0 + f64::from(shift) / 2.0);
        for digit in DIGITS.chars() {
            samples.extend(tones(digit, 40.0, -10.0, -10.0, 1.0));
            samples.extend(silence(40.0));
        }
        assert_eq!(digits(&samples), DIGITS, "shifted by {shift} half milliseconds");
    }
}

#[test]
fn the_same_digit_twice_is_two_and_an_interruption_of_10_ms_is_none() {
    for shift in 0..26 {
        let mut twice = silence(20.0 + f64::from(shift) / 2.0);
        for _ in 0..2 {
            twice.extend(tones('5', 60.0, -10.0, -10.0, 1.0));
            twice.extend(silence(40.0));
        }
        assert_eq!(digits(&twice), "55", "{shift}");
        let mut interrupted = silence(20.0 + f64::from(shift) / 2.0);
        let whole = tones('5', 150.0, -10.0, -10.0, 1.0);
        interrupted.extend(&whole);
        let gap = interrupted.len() - 640;
        interrupted[gap..gap + 80].fill(0);
        interrupted.extend(silence(100.0));
        assert_eq!(digits(&interrupted), "5", "{shift}");
    }
}

#[test]
fn levels_and_twist_of_q24() {
    for digit in DIGITS.chars() {
        for (low, high, expected) in [
            (-3.0, -3.0, true),
            (-25.0, -25.0, true),
            (-29.0, -29.0, true),
            (-10.0, -6.0, true),
            (-6.0, -14.0, true),
            (-45.0, -45.0, false),
            (-20.0, -10.0, false),
            (-5.0, -18.0, false),
        ] {
            let mut samples = silence(33.0);
            samples.extend(tones(digit, 70.0, low, high, 1.0));
            samples.extend(silence(60.0));
            assert_eq!(digits(&samples) == digit.to_string(), expected, "{digit} at {low} and {high} dBm0");
        }
    }
}

#[test]
fn frequencies_of_q24() {
    for digit in DIGITS.chars() {
        for (off, expected) in [(1.015, true), (0.985, true), (1.035, false), (0.965, false)] {
            let mut samples = silence(33.0);
            samples.extend(tones(digit, 80.0, -10.0, -10.0, off));
            samples.extend(silence(60.0));
            assert_eq!(digits(&samples) == digit.to_string(), expected, "{digit} at {off}");
        }
    }
}

#[test]
fn what_is_shorter_than_23_ms_is_no_digit_and_lengths_are_told() {
    for digit in DIGITS.chars() {
        for shift in 0..26 {
            let mut samples = silence(20.0 + f64::from(shift) / 2.0);
            samples.extend(tones(digit, 23.0, -10.0, -10.0, 1.0));
            samples.extend(silence(60.0));
            assert_eq!(digits(&samples), "", "{digit} {shift}");
        }
    }
    let mut samples = silence(30.0);
    samples.extend(tones('7', 300.0, -10.0, -10.0, 1.0));
    samples.extend(silence(60.0));
    let all = heard(&samples);
    assert_eq!(all.len(), 1);
    assert!((275..=305).contains(&all[0].duration_ms), "{all:?}");
}

#[test]
fn noise_15_db_below_and_g711_do_not_hide_it() {
    let mut random = noise(3);
    let deviation = amplitude(-10.0) / 2f64.sqrt() * 10f64.powf(-15.0 / 20.0);
    for digit in DIGITS.chars() {
        let mut samples = silence(33.0);
        samples.extend(tones(digit, 60.0, -10.0, -10.0, 1.0));
        samples.extend(silence(60.0));
        for sample in &mut samples {
            *sample = (f64::from(*sample) + deviation * random()) as i16;
        }
        let mut codes = vec![0; samples.len()];
        crate::pcma_encode(&samples, &mut codes);
        crate::pcma_decode(&codes, &mut samples);
        assert_eq!(digits(&samples), digit.to_string());
    }
}

#[test]
fn a_single_lost_packet_does_not_split_a_digit() {
    for lost in 2..6 {
        let mut samples = silence(20.0);
        samples.extend(tones('9', 160.0, -10.0, -10.0, 1.0));
        samples.extend(silence(100.0));
        // As a concealer fills it in: the period before goes on.
        let (from, to) = (lost * 160, lost * 160 + 160);
        for i in from..to {
            samples[i] = samples[i - 113];
        }
        assert_eq!(digits(&samples), "9", "{lost}");
    }
}

/// Voiced sounds of many pitches through moving formants, with pauses and hisses: what voices do to a detector of tones.
fn babble(seed: u64, seconds: usize) -> Vec<i16> {
    let mut random = noise(seed);
    let mut samples = Vec::with_capacity(seconds * 8000);
    let mut phase = 0.0;
    while samples.len() < seconds * 8000 {
        let uniform = |x: f64| ((x / 2.0).tanh() + 1.0) / 2.0;
        let length = (600.0 + 1800.0 * uniform(random())) as usize;
        let (mut pitch, glide) = (75.0 + 270.0 * uniform(random()), 0.02 * random());
        let formants =
            [250.0 + 750.0 * uniform(random()), 700.0 + 1500.0 * uniform(random()), 2200.0 + 900.0 * uniform(random())];
        let level = 9000.0 * uniform(random());
        let kind = uniform(random());
        let mut states = [[0.0; 2]; 3];
        let width = 30.0 + 90.0 * uniform(random());
        for _ in 0..length {
            pitch = (pitch + glide).clamp(60.0, 500.0);
            phase += pitch / 8000.0;
            let source = if kind > 0.85 {
                0.0
            } else if kind > 0.7 {
                0.3 * random()
            } else if phase >= 1.0 {
                phase -= 1.0;
                4.0
            } else {
                0.01 * random()
            };
            let mut out = 0.0;
            for (state, formant) in states.iter_mut().zip(formants) {
                let r = (-std::f64::consts::PI * width / 8000.0).exp();
                let y = source + 2.0 * r * (TAU * formant / 8000.0).cos() * state[0] - r * r * state[1];
                *state = [y, state[0]];
                out += y;
            }
            samples.push((level * out / 12.0).clamp(-32_768.0, 32_767.0) as i16);
        }
    }
    samples
}

#[test]
fn ten_minutes_of_what_voices_do_have_no_digit() {
    for seed in 1..=3 {
        assert_eq!(digits(&babble(seed, 600)), "", "seed {seed}");
    }
    let mut random = noise(9);
    let hiss: Vec<i16> = (0..600 * 8000).map(|_| (3000.0 * random()) as i16).collect();
    assert_eq!(digits(&hiss), "");
}
