use super::*;
use crate::{ToneGenerator, level_dbm0, tone_level_dbm0};

const ALL: [Coding; 8] = [
    Coding::Pcmu,
    Coding::Pcma,
    Coding::G722,
    Coding::L16(16_000),
    Coding::Opus,
    Coding::L16(8_000),
    Coding::L16(24_000),
    Coding::L16(48_000),
];

fn tone(rate: u32, frequency: f32, ms: usize) -> Vec<i16> {
    let mut samples = vec![0; rate as usize * ms / 1000];
    ToneGenerator::new(rate, &[frequency], -10.0).expect("a tone").fill(&mut samples);
    samples
}

#[test]
fn every_packet_time_gives_back_the_tone_and_its_length() {
    for coding in ALL {
        for ms in [10, 20, 30, 40, 50, 60].map(|ms| usize::from(coding.packet_ms(ms))) {
            let (mut encoder, mut decoder) = (Encoder::new(coding), Decoder::new(coding));
            let rate = coding.sample_rate();
            let mut out = Vec::new();
            for frame in tone(rate, 1_000.0, 1_200).chunks_exact(rate as usize * ms / 1000) {
                let mut payload = Vec::new();
                encoder.encode(frame, &mut payload);
                assert_eq!(coding.samples_in(&payload), frame.len(), "{coding:?} {ms} ms");
                assert_eq!(decoder.decode(&payload, &mut out), frame.len());
            }
            let level = tone_level_dbm0(&out[out.len() / 2..], rate, 1_000.0);
            assert!((level + 10.0).abs() < 0.5, "{coding:?} {ms} ms: {level}");
        }
    }
}

#[test]
fn linear_packets_are_no_longer_than_every_path_carries() {
    for (rate, most) in [(8_000, 60), (16_000, 40), (24_000, 20), (48_000, 10)] {
        let coding = Coding::L16(rate);
        assert_eq!(coding.packet_ms(200), most);
        assert!(usize::from(most) * rate as usize / 1000 * 2 <= 1280);
        for ms in 0..=most {
            assert_eq!(coding.packet_ms(ms), (ms / 10 * 10).max(10), "{rate} Hz, {ms} ms");
        }
    }
}

#[test]
fn silence_is_silent_before_and_after_sound() {
    for coding in ALL {
        let (mut encoder, mut decoder) = (Encoder::new(coding), Decoder::new(coding));
        let rate = coding.sample_rate();
        let mut out = Vec::new();
        for round in 0..3 {
            for _ in 0..10 {
                let mut payload = Vec::new();
                encoder.silence(20, &mut payload);
                out.clear();
                assert_eq!(decoder.decode(&payload, &mut out), rate as usize / 50);
            }
            assert!(level_dbm0(&out) < -60.0, "{coding:?} {round}: {}", level_dbm0(&out));
            let mut payload = Vec::new();
            encoder.encode(&tone(rate, 440.0, 20), &mut payload);
            decoder.decode(&payload, &mut out);
        }
    }
}

#[test]
fn a_gap_is_filled_to_the_sample_and_not_silent() {
    for coding in ALL {
        let (mut encoder, mut decoder) = (Encoder::new(coding), Decoder::new(coding));
        let rate = coding.sample_rate();
        let mut out = Vec::new();
        for frame in tone(rate, 400.0, 200).chunks_exact(rate as usize / 50) {
            let mut payload = Vec::new();
            encoder.encode(frame, &mut payload);
            decoder.decode(&payload, &mut out);
        }
        let mut lost = Vec::new();
        decoder.conceal(rate as usize / 50, &mut lost);
        assert_eq!(lost.len(), rate as usize / 50);
        assert!(level_dbm0(&lost) > -16.0, "{coding:?}: {}", level_dbm0(&lost));
        decoder.reset();
        decoder.conceal(80, &mut lost);
        assert_eq!(lost.len(), rate as usize / 50 + 80);
    }
}

#[test]
fn what_is_not_of_the_coding_gives_no_sound_and_no_panic() {
    for coding in ALL {
        let mut decoder = Decoder::new(coding);
        let mut out = Vec::new();
        for length in 0..40 {
            let before = out.len();
            let payload: Vec<u8> = (0..length).map(|i| (i * 37 + length) as u8).collect();
            let count = decoder.decode(&payload, &mut out);
            assert_eq!(count, out.len() - before);
            assert!(count == 0 || count == coding.samples_in(&payload), "{coding:?} {length}");
        }
    }
}
