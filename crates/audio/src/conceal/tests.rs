use std::f64::consts::TAU;

use super::*;
use crate::level_dbm0;

/// A buzz of 125 Hz with formants, as a voice is.
fn voice(rate: u32, samples: usize) -> Vec<i16> {
    (0..samples)
        .map(|i| {
            let t = i as f64 / f64::from(rate);
            let harmonics = (1..=20).map(|h| (TAU * 125.0 * f64::from(h) * t).sin() / f64::from(h));
            (6_000.0 * harmonics.sum::<f64>()) as i16
        })
        .collect()
}

/// Plays `signal` in frames of 10 ms, of which those in `lost` are concealed.
fn played(rate: u32, signal: &[i16], lost: &[usize]) -> Vec<i16> {
    let mut concealer = Concealer::new(rate);
    let mut out = signal.to_vec();
    for (n, frame) in out.chunks_mut(rate as usize / 100).enumerate() {
        if lost.contains(&n) {
            concealer.conceal(frame);
        } else {
            concealer.heard(frame);
        }
    }
    out
}

fn error_db(signal: &[i16], out: &[i16]) -> f64 {
    let difference: Vec<i16> = signal.iter().zip(out).map(|(a, b)| a.saturating_sub(*b)).collect();
    level_dbm0(&difference) - level_dbm0(signal)
}

#[test]
fn a_periodic_signal_goes_on_as_if_nothing_were_lost() {
    for rate in [8_000, 16_000, 48_000] {
        let frame = rate as usize / 100;
        let signal = voice(rate, frame * 40);
        let out = played(rate, &signal, &[20]);
        let gap = 20 * frame..22 * frame;
        let error = error_db(&signal[gap.clone()], &out[gap]);
        assert!(error < -20.0, "{rate}: {error} dB");
        assert_eq!(out[..20 * frame], signal[..20 * frame], "what was heard is played as it is");
        assert_eq!(out[22 * frame..], signal[22 * frame..]);
    }
}

#[test]
fn no_joint_clicks() {
    for rate in [8_000, 16_000] {
        let frame = rate as usize / 100;
        let signal = voice(rate, frame * 60);
        let steepest = |s: &[i16]| s.windows(2).map(|w| w[0].abs_diff(w[1])).max().unwrap_or(0);
        for lost in [&[20][..], &[20, 21], &[20, 21, 22, 23], &[20, 22, 24]] {
            let out = played(rate, &signal, lost);
            assert!(steepest(&out) <= steepest(&signal) + steepest(&signal) / 4, "{rate}: {lost:?}");
        }
    }
}

#[test]
fn a_long_gap_fades_and_ends_in_silence_after_60_ms() {
    let signal = voice(8_000, 80 * 60);
    let lost: Vec<usize> = (20..40).collect();
    let out = played(8_000, &signal, &lost);
    let levels: Vec<f64> = (20..30).map(|n| level_dbm0(&out[n * 80..(n + 1) * 80]) - level_dbm0(&signal)).collect();
    assert!(levels[0] > -2.0, "{levels:?}");
    assert!(levels[3] < -3.0 && levels[3] > -9.0, "{levels:?}");
    assert!(levels[5] < -12.0, "{levels:?}");
    assert!(levels[6..].iter().all(|level| *level == f64::NEG_INFINITY), "{levels:?}");
    assert_eq!(out[41 * 80..], signal[41 * 80..], "back within 10 ms");
}

#[test]
fn pieces_of_any_length_are_concealed_alike() {
    let signal = voice(8_000, 80 * 20);
    let mut whole = Concealer::new(8_000);
    whole.heard(&mut signal.clone());
    let mut pieces = whole.clone();
    let (mut a, mut b) = ([0; 640], [0; 640]);
    whole.conceal(&mut a);
    let (first, rest) = b.split_at_mut(320);
    pieces.conceal(first);
    pieces.conceal(rest);
    assert_eq!(a, b);
}

#[test]
fn nothing_heard_nothing_to_conceal_and_no_state_is_a_panic() {
    let mut concealer = Concealer::new(8_000);
    let mut frame = [7; 160];
    concealer.conceal(&mut frame);
    assert_eq!(frame, [0; 160]);
    let lengths = [1, 0, 3, 79, 80, 81, 500, 2, 1000, 5];
    for (i, length) in lengths.into_iter().cycle().take(200).enumerate() {
        let mut samples = vec![if i % 2 == 0 { i16::MIN } else { i16::MAX }; length];
        if i % 3 == 0 {
            concealer.conceal(&mut samples);
        } else {
            concealer.heard(&mut samples);
        }
    }
    concealer.reset();
    concealer.conceal(&mut frame);
    assert_eq!(frame, [0; 160]);
}
