use super::voice::voice;
use super::*;
use crate::{Coding, Decoder, Encoder, Resampler, Signal, ToneGenerator, level_dbm0};

/// When it changed, in milliseconds, and to what.
fn changes(detector: &mut SpeechDetector, samples: &[i16]) -> Vec<(u32, bool)> {
    let mut all = Vec::new();
    for (n, piece) in samples.chunks(160).enumerate() {
        detector.push(piece, |speaking| all.push((n as u32 * 10 + 10, speaking)));
    }
    all
}

fn detector() -> SpeechDetector {
    SpeechDetector::new(SpeechSettings::default())
}

/// Milliseconds that it took for speech.
fn spoken(samples: &[i16]) -> u32 {
    let end = (samples.len() as u32 / 16, false);
    let mut all = changes(&mut detector(), samples);
    all.push(end);
    all.windows(2).map(|pair| if pair[0].1 { pair[1].0 - pair[0].0 } else { 0 }).sum()
}

fn silence(ms: usize) -> Vec<i16> {
    vec![0; ms * 16]
}

/// White noise, and its low part alone.
fn noise(amplitude: f32, low: bool) -> Vec<i16> {
    let (mut random, mut last) = (7_u32, 0.0);
    let made = (0..160_000).map(|_| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let white = (random >> 8) as f32 / (1 << 23) as f32 - 1.0;
        last = 0.9 * last + 0.44 * white;
        (amplitude * if low { last } else { white }) as i16
    });
    made.collect()
}

/// Through a codec and back to 16 kHz.
fn through(coding: Coding, samples: &[i16]) -> Vec<i16> {
    let rate = coding.sample_rate();
    let (mut down, mut up) = (Resampler::new(16_000, rate).unwrap(), Resampler::new(rate, 16_000).unwrap());
    let (mut encoder, mut decoder) = (Encoder::new(coding), Decoder::new(coding));
    let (mut out, mut there) = (Vec::new(), Vec::new());
    down.process(samples, &mut there);
    for frame in there.chunks_exact(rate as usize / 50) {
        let (mut payload, mut back) = (Vec::new(), Vec::new());
        encoder.encode(frame, &mut payload);
        decoder.decode(&payload, &mut back);
        up.process(&back, &mut out);
    }
    out
}

#[test]
fn a_voice_is_heard_in_every_codec_and_pauses_end_it() {
    for pitch in [95.0, 130.0, 210.0] {
        let mut said = silence(500);
        said.extend(voice(16_000, 3.0, pitch));
        said.extend(silence(1500));
        said.extend(voice(16_000, 2.0, pitch));
        said.extend(silence(1500));
        for coding in [Coding::Pcmu, Coding::Pcma, Coding::G722, Coding::Opus] {
            let all = changes(&mut detector(), &through(coding, &said));
            let states: Vec<bool> = all.iter().map(|(_, speaking)| *speaking).collect();
            assert_eq!(states, [true, false, true, false], "{pitch} Hz, {coding:?}: {all:?}");
            for ((at, _), right) in all.iter().zip([500..900, 3850..4250, 5000..5400, 7350..7750]) {
                assert!(right.contains(at), "{pitch} Hz, {coding:?}: {all:?}");
            }
        }
    }
}

#[test]
fn tones_are_no_voice_in_any_codec() {
    let pairs: [&[f32]; 13] = [
        &[200.0],
        &[350.0],
        &[400.0],
        &[425.0],
        &[440.0],
        &[1000.0],
        &[2100.0],
        &[350.0, 440.0],
        &[440.0, 480.0],
        &[480.0, 620.0],
        &[697.0, 1209.0],
        &[941.0, 1633.0],
        &[120.0, 240.0],
    ];
    for pair in pairs {
        let mut samples = vec![0; 80_000];
        ToneGenerator::new(16_000, pair, -10.0).unwrap().fill(&mut samples);
        for coding in [Coding::Pcmu, Coding::G722, Coding::Opus] {
            let ms = spoken(&through(coding, &samples));
            assert!(ms <= 1000, "{pair:?} Hz, {coding:?}: {ms} ms of it");
        }
    }
    for country in [None, Some("US"), Some("GB"), Some("FR"), Some("JP")] {
        for signal in [Signal::RingBack, Signal::Busy, Signal::Congestion] {
            let period = signal.period(country, 16_000).unwrap();
            let samples: Vec<i16> = period.iter().copied().cycle().take(80_000).collect();
            let ms = spoken(&through(Coding::Pcma, &samples));
            assert!(ms <= 1000, "{signal:?} of {country:?}: {ms} ms of it");
        }
    }
}

#[test]
fn noise_is_no_voice_for_long_however_loud() {
    for amplitude in [1.0, 20.0, 300.0, 3000.0, 10_000.0] {
        for low in [false, true] {
            let samples = noise(amplitude, low);
            let ms = spoken(&samples);
            assert!(ms <= 1700, "{amplitude}, {low}, {:?} dBm0: {ms} ms of it", level_dbm0(&samples));
        }
    }
    assert_eq!(spoken(&silence(10_000)), 0);
}

#[test]
fn a_voice_is_heard_among_noise() {
    let mut said = noise(300.0, true);
    for (sample, voice) in said.iter_mut().skip(48_000).zip(voice(16_000, 3.0, 120.0)) {
        *sample = sample.saturating_add(voice);
    }
    let all = changes(&mut detector(), &said);
    assert!(matches!(all[..], [(3000..3400, true), (6200..6900, false)]), "{all:?}");
}

#[test]
fn settings_say_how_quickly_it_is_believed() {
    let mut said = silence(500);
    said.extend(voice(16_000, 2.0, 110.0));
    said.extend(silence(3000));
    let when = |onset_ms, hangover_ms| {
        let all = changes(&mut SpeechDetector::new(SpeechSettings { onset_ms, hangover_ms }), &said);
        assert_eq!(all.len(), 2, "{onset_ms}, {hangover_ms}: {all:?}");
        (all[0].0, all[1].0)
    };
    let (quick, slow) = (when(20, 200), when(300, 2000));
    assert!(slow.0 - quick.0 >= 250, "{quick:?} {slow:?}");
    assert!((1700..=1900).contains(&(slow.1 - quick.1)), "{quick:?} {slow:?}");
}

#[test]
fn changes_are_bounded_whatever_comes() {
    let mut detector = SpeechDetector::new(SpeechSettings { onset_ms: 0, hangover_ms: 0 });
    let voice = voice(16_000, 2.0, 150.0);
    let mut choppy = Vec::new();
    for piece in voice.chunks(700).cycle().take(1000) {
        choppy.extend_from_slice(piece);
        choppy.extend(silence(130));
    }
    let seconds = choppy.len() / 16_000;
    let all = changes(&mut detector, &choppy);
    assert!(all.len() > 10 && all.len() <= seconds * 16, "{} in {seconds} s", all.len());
    detector.reset();
    assert!(!detector.is_speaking());
}
