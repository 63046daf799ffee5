use super::*;
use crate::{dominant_frequency, level_dbm0, tone_level_dbm0};

fn tone(rate: u32, frequencies: &[f32], level: f32) -> ToneGenerator {
    ToneGenerator::new(rate, frequencies, level).expect("a valid tone")
}

#[test]
fn frequency_and_level_are_as_asked_at_every_rate() {
    for rate in [8_000, 16_000, 24_000, 48_000] {
        let mut samples = vec![0; rate as usize];
        assert_eq!(tone(rate, &[440.0], -10.0).fill(&mut samples), samples.len());
        let steady = &samples[rate as usize / 10..];
        assert!((level_dbm0(steady) + 10.0).abs() < 0.05, "{}", level_dbm0(steady));
        assert!((dominant_frequency(steady, rate).expect("a tone") - 440.0).abs() < 0.1);
    }
}

#[test]
fn the_level_is_that_of_the_sum() {
    let mut samples = [0; 8_000];
    tone(8_000, &[350.0, 440.0], -13.0).fill(&mut samples);
    let steady = &samples[800..];
    assert!((level_dbm0(steady) + 13.0).abs() < 0.05);
    for frequency in [350.0, 440.0] {
        assert!((tone_level_dbm0(steady, 8_000, frequency) + 16.01).abs() < 0.05);
    }
}

#[test]
fn pieces_of_any_length_join_to_the_same_tone() {
    let mut whole = [0; 4_000];
    tone(8_000, &[1_004.5, 2_000.0], -6.0).fill(&mut whole);
    let mut generator = tone(8_000, &[1_004.5, 2_000.0], -6.0);
    let mut pieces = [0; 4_000];
    let mut rest = &mut pieces[..];
    for length in (1..).map(|i| i * 7 % 161) {
        let (piece, after) = rest.split_at_mut(length.min(rest.len()));
        generator.fill(piece);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let worst = whole.iter().zip(pieces).map(|(a, b)| (a - b).abs()).max();
    assert!(worst <= Some(1), "{worst:?}");
}

#[test]
fn phase_and_level_hold_for_an_hour() {
    let mut generator = tone(8_000, &[1_000.3], -10.0);
    let mut frame = [0; 160];
    for _ in 0..180_000 {
        generator.fill(&mut frame);
    }
    // Sample 28,799,840 onwards, against the sine itself.
    for (i, &sample) in (28_799_840_u32..).zip(&frame) {
        let exact = amplitude(-10.0) * (TAU * (f64::from(1_000.3_f32) / 8_000.0 * f64::from(i)).fract()).sin();
        assert!((f64::from(sample) - exact).abs() < 1.0, "{i}: {sample}, not {exact}");
    }
}

#[test]
fn begins_and_ends_without_a_click_after_the_asked_length() {
    let mut generator = tone(8_000, &[1_000.0], 0.0).lasting(1_000);
    let mut samples = [77; 1_200];
    assert_eq!(generator.fill(&mut samples), 1_000);
    assert!(generator.is_finished());
    assert!(samples[1_000..].iter().all(|&s| s == 0));
    assert!(samples[..4].iter().chain(&samples[996..1_000]).all(|s| s.abs() < 1_000), "{:?}", &samples[990..1_000]);
    // What lies three octaves away from the tone is at least 50 dB below it, which a tone switched hard is not.
    assert!(tone_level_dbm0(&samples[..400], 8_000, 3_500.0) < -50.0);
    assert_eq!(generator.fill(&mut samples), 0);
    assert!(samples.iter().all(|&s| s == 0));
}

#[test]
fn stopping_takes_one_ramp_and_never_makes_it_longer() {
    let mut generator = tone(8_000, &[1_000.0], -3.0);
    let mut frame = [0; 160];
    generator.fill(&mut frame);
    generator.stop();
    assert!(!generator.is_finished());
    assert_eq!(generator.fill(&mut frame), 40);
    assert!(generator.is_finished());
    generator.stop();
    assert_eq!(generator.fill(&mut frame), 0);

    let mut short = tone(8_000, &[1_000.0], -3.0).lasting(10);
    short.stop();
    assert_eq!(short.fill(&mut frame), 10);
}

#[test]
fn what_is_no_tone_is_refused() {
    assert_eq!(ToneGenerator::new(8_000, &[], 0.0).err(), Some(ToneError::Count(0)));
    assert_eq!(ToneGenerator::new(8_000, &[440.0; 17], 0.0).err(), Some(ToneError::Count(17)));
    for bad in [0.0, -1.0, 4_000.0, f32::INFINITY] {
        assert_eq!(ToneGenerator::new(8_000, &[bad], 0.0).err(), Some(ToneError::Frequency(bad)));
    }
    assert!(matches!(ToneGenerator::new(8_000, &[f32::NAN], 0.0), Err(ToneError::Frequency(_))));
    assert_eq!(ToneGenerator::new(8_000, &[440.0], 3.2).err(), Some(ToneError::Level(3.2)));
    assert!(matches!(ToneGenerator::new(8_000, &[440.0], f32::NAN), Err(ToneError::Level(_))));
    assert!(ToneGenerator::new(8_000, &[440.0], FULL_SCALE_SINE_DBM0 as f32).is_ok());
    assert!(ToneGenerator::new(0, &[440.0], 0.0).is_err());
}

#[test]
fn a_level_of_minus_infinity_is_silence() {
    let mut frame = [9; 160];
    tone(8_000, &[440.0], f32::NEG_INFINITY).fill(&mut frame);
    assert_eq!(frame, [0; 160]);
}

#[test]
fn dtmf_digits_have_the_frequencies_of_q23() {
    for (digit, pair) in [
        ('1', [697.0, 1209.0]),
        ('5', [770.0, 1336.0]),
        ('9', [852.0, 1477.0]),
        ('0', [941.0, 1336.0]),
        ('*', [941.0, 1209.0]),
        ('#', [941.0, 1477.0]),
        ('d', [941.0, 1633.0]),
        ('A', [697.0, 1633.0]),
    ] {
        assert_eq!(dtmf_frequencies(digit), Some(pair), "{digit}");
    }
    let mut pairs: Vec<_> =
        "0123456789*#ABCD".chars().filter_map(dtmf_frequencies).map(|[l, h]| l * 10_000.0 + h).collect();
    pairs.sort_by(f32::total_cmp);
    pairs.dedup();
    assert_eq!(pairs.len(), 16);
    for other in ['E', ' ', ',', '\u{664}'] {
        assert_eq!(dtmf_frequencies(other), None);
    }
}
