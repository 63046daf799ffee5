use crate::{Coding, Decoder, Encoder, OpusSettings, ToneGenerator, level_dbm0, tone_level_dbm0};

/// Speech-like: a buzz whose level and pitch change.
fn voice(rate: u32, ms: usize) -> Vec<i16> {
    let mut phase = 0.0_f64;
    (0..rate as usize * ms / 1000)
        .map(|i| {
            let t = i as f64 / f64::from(rate);
            phase += (110.0 + 40.0 * (t * 5.0).sin()) / f64::from(rate);
            let harmonics: f64 =
                (1..20).map(|h| (std::f64::consts::TAU * phase * f64::from(h)).sin() / f64::from(h)).sum();
            (6_000.0 * harmonics * (0.6 + 0.4 * (t * 9.0).sin())) as i16
        })
        .collect()
}

/// The level of what differs from the loss-free decoding, dB below it, when every 5th packet is lost and `recovered`.
fn damage(recovered: bool) -> f64 {
    let settings = OpusSettings { loss_percent: 20, bitrate: 24_000, ..OpusSettings::default() };
    let mut encoder = Encoder::with(Coding::Opus, 16_000, &settings);
    let packets: Vec<Vec<u8>> = voice(16_000, 4_000)
        .chunks_exact(320)
        .map(|frame| {
            let mut packet = Vec::new();
            encoder.encode(frame, &mut packet);
            packet
        })
        .collect();
    let (mut whole, mut lossy) = (Vec::new(), Vec::new());
    let mut decoder = Decoder::at(Coding::Opus, 16_000);
    for packet in &packets {
        decoder.decode(packet, &mut whole);
    }
    let mut decoder = Decoder::at(Coding::Opus, 16_000);
    for (n, packet) in packets.iter().enumerate() {
        match packets.get(n + 1) {
            Some(next) if n % 5 == 4 && recovered => decoder.recover(320, next, &mut lossy),
            _ if n % 5 == 4 => decoder.conceal(320, &mut lossy),
            _ => {
                decoder.decode(packet, &mut lossy);
            }
        }
    }
    assert_eq!(whole.len(), lossy.len());
    let difference: Vec<i16> = whole.iter().zip(&lossy).map(|(a, b)| a.saturating_sub(*b)).collect();
    level_dbm0(&difference) - level_dbm0(&whole)
}

#[test]
fn the_copy_in_the_next_packet_repairs_a_loss_better_than_concealment() {
    let (recovered, concealed) = (damage(true), damage(false));
    assert!(recovered < concealed - 3.0, "{recovered} dB with the copy, {concealed} dB without");
}

#[test]
fn any_rate_at_either_end() {
    for from in [8_000, 16_000, 24_000, 48_000] {
        for to in [8_000, 16_000, 24_000, 48_000] {
            let mut encoder = Encoder::with(Coding::Opus, from, &OpusSettings::default());
            let mut decoder = Decoder::at(Coding::Opus, to);
            let mut samples = vec![0; from as usize];
            ToneGenerator::new(from, &[1_000.0], -10.0).expect("a tone").fill(&mut samples);
            let mut out = Vec::new();
            for frame in samples.chunks_exact(from as usize / 50) {
                let mut packet = Vec::new();
                encoder.encode(frame, &mut packet);
                assert_eq!(Coding::Opus.samples_in(&packet), 960);
                assert_eq!(decoder.decode(&packet, &mut out), to as usize / 50);
            }
            let level = tone_level_dbm0(&out[out.len() / 2..], to, 1_000.0);
            assert!((level + 10.0).abs() < 1.0, "{from} to {to}: {level}");
        }
    }
}

#[test]
fn nothing_is_sent_that_the_receiver_cannot_play_and_no_more_than_it_wants() {
    let mut noise = 1_u32;
    let samples: Vec<i16> = (0..96_000)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 18) as i16
        })
        .collect();
    for (bitrate, playback_rate) in [(64_000, 48_000), (64_000, 8_000), (12_000, 16_000)] {
        let settings = OpusSettings { bitrate, playback_rate, ..OpusSettings::default() };
        let mut encoder = Encoder::with(Coding::Opus, 48_000, &settings);
        let (mut octets, mut out) = (0, Vec::new());
        let mut decoder = Decoder::new(Coding::Opus);
        for frame in samples.chunks_exact(960) {
            let mut packet = Vec::new();
            encoder.encode(frame, &mut packet);
            octets += packet.len();
            decoder.decode(&packet, &mut out);
        }
        assert!((octets * 4) < bitrate as usize * 5 / 4, "{octets} octets in 2 s at {bitrate}");
        let high: f64 = [10_000.0, 13_000.0, 16_000.0]
            .map(|hertz| tone_level_dbm0(&out[48_000..], 48_000, hertz))
            .into_iter()
            .fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(high > -70.0, playback_rate == 48_000, "{playback_rate}: {high}");
    }
}

#[test]
fn pauses_of_a_sender_that_saves_packets_are_quiet_and_speech_comes_back() {
    let settings = OpusSettings { dtx: true, ..OpusSettings::default() };
    let mut encoder = Encoder::with(Coding::Opus, 16_000, &settings);
    let mut decoder = Decoder::at(Coding::Opus, 16_000);
    let mut signal = voice(16_000, 1_000);
    signal.extend(vec![0; 32_000]);
    signal.extend(voice(16_000, 1_000));
    let (mut out, mut saved) = (Vec::new(), 0);
    for frame in signal.chunks_exact(320) {
        let mut packet = Vec::new();
        encoder.encode(frame, &mut packet);
        // RFC 6716 §2.1.9: such a packet need not be sent.
        if packet.len() <= 2 {
            saved += 1;
            decoder.conceal(320, &mut out);
        } else {
            decoder.decode(&packet, &mut out);
        }
    }
    assert!(saved > 50, "{saved}");
    assert_eq!(out.len(), signal.len());
    assert!(level_dbm0(&out[30_000..44_000]) < -60.0);
    assert!(level_dbm0(&out[52_000..]) > -20.0);
}

#[test]
fn malformed_packets_have_no_samples() {
    for packet in [&[][..], &[3], &[3, 0], &[0xff, 49], &[0x1b, 3], &[0x1b, 63, 1]] {
        assert_eq!(Coding::Opus.samples_in(packet), 0, "{packet:?}");
        assert_eq!(Decoder::new(Coding::Opus).decode(packet, &mut Vec::new()), 0);
    }
    assert_eq!(Coding::Opus.samples_in(&[0x1a]), 5760);
    assert_eq!(Coding::Opus.samples_in(&[30 << 3]), 480);
}

#[test]
fn each_complexity_is_another_search_with_the_same_sound() {
    let said = voice(16_000, 1_000);
    let at = |complexity| {
        let mut encoder = Encoder::with(Coding::Opus, 16_000, &OpusSettings { complexity, ..OpusSettings::default() });
        let mut decoder = Decoder::at(Coding::Opus, 16_000);
        let (mut packets, mut heard) = (Vec::new(), Vec::new());
        for frame in said.chunks_exact(320) {
            let mut packet = Vec::new();
            encoder.encode(frame, &mut packet);
            decoder.decode(&packet, &mut heard);
            packets.push(packet);
        }
        assert!((level_dbm0(&heard) - level_dbm0(&said)).abs() < 1.0, "{complexity}");
        packets
    };
    let made = [0, 5, 10].map(at);
    assert!(made[0] != made[1] && made[1] != made[2]);
}
