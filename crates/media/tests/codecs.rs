//! Codecs on the wire: every pair of them bridged, other packet times, changes in mid-call, telephone-events beside them, comfort noise.

#![allow(clippy::expect_used)] // It is a test.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::*;
use ringback_audio::{Coding, Decoder, Encoder, ToneGenerator, level_dbm0, tone_level_dbm0};
use ringback_media_api::{AudioPort, Codec, Command, EventFormat, LegConfig, LegId, ReceiveFormat, SendFormat};

const PEER_A: u8 = 101;
const PEER_B: u8 = 102;

fn coding(codec: Codec) -> Coding {
    match codec {
        Codec::Opus => Coding::Opus,
        Codec::G722 => Coding::G722,
        Codec::L16At8 | Codec::L16At16 | Codec::L16At24 | Codec::L16At48 => Coding::L16(codec.sample_rate()),
        Codec::Pcma => Coding::Pcma,
        _ => Coding::Pcmu,
    }
}

fn payload_type(codec: Codec) -> u8 {
    codec.static_payload_type().unwrap_or(match codec {
        Codec::Opus => 96,
        Codec::L16At8 => 97,
        Codec::L16At16 => 98,
        Codec::L16At24 => 99,
        _ => 100,
    })
}

fn event_format(codec: Codec) -> EventFormat {
    let clock_rate = codec.clock_rate();
    EventFormat { payload_type: if clock_rate == 8000 { 101 } else { 102 }, clock_rate }
}

/// A leg that sends one codec and takes all.
fn with_codec(remote: LegId, codec: Codec, ptime_ms: u8) -> LegConfig {
    LegConfig {
        send: Some(SendFormat { codec, payload_type: payload_type(codec), ptime_ms }),
        receive: Codec::ALL.map(|codec| ReceiveFormat { codec, payload_type: payload_type(codec) }).to_vec(),
        dtmf_send: Some(event_format(codec)),
        dtmf_receive: vec![EventFormat::narrow(101), EventFormat { payload_type: 102, clock_rate: 48_000 }],
        comfort_noise: Some(13),
        ..config(remote)
    }
}

/// The far end of a leg: sends what it is given in its codec, packet for packet.
struct Peer {
    number: u8,
    codec: Codec,
    encoder: Encoder,
    sequence: u16,
    timestamp: u32,
}

impl Peer {
    fn new(number: u8, codec: Codec) -> Self {
        // Both wrap in the first seconds.
        Peer { number, codec, encoder: Encoder::new(coding(codec)), sequence: 65_500, timestamp: 0xffff_f000 }
    }

    fn encode(&mut self, samples: &[i16]) -> Vec<u8> {
        let mut payload = Vec::new();
        self.encoder.encode(samples, &mut payload);
        self.number_packet(payload_type(self.codec), &payload, samples.len())
    }

    fn number_packet(&mut self, payload_type: u8, payload: &[u8], samples: usize) -> Vec<u8> {
        let bytes = packet(payload_type, self.sequence, self.timestamp, 77, payload);
        self.sequence = self.sequence.wrapping_add(1);
        let units = samples as u64 * u64::from(self.codec.clock_rate()) / u64::from(self.codec.sample_rate());
        self.timestamp = self.timestamp.wrapping_add(units as u32);
        bytes
    }

    fn sends(&mut self, world: &mut World, to: LegId, samples: &[i16]) {
        let bytes = self.encode(samples);
        world.deliver(rtp_address(leg(9, self.number)), to, &bytes);
    }
}

fn tone(rate: u32, frequency: f32, samples: usize) -> Vec<i16> {
    let mut tone = vec![0; samples];
    ToneGenerator::new(rate, &[frequency], -10.0).expect("a tone").fill(&mut tone);
    tone
}

/// What a leg sent, decoded; every packet is to be of the codec, and last as long as the next one's timestamp says.
fn decoded(sent: &[Sent], codec: Codec) -> Vec<i16> {
    let mut decoder = Decoder::new(coding(codec));
    let mut samples = Vec::new();
    for sent in sent {
        assert_eq!(sent.header.payload_type, payload_type(codec));
        decoder.decode(&sent.payload, &mut samples);
    }
    samples
}

fn bridged(a: Codec, b: Codec, ptime_ms: u8) -> (World, LegId, LegId) {
    let mut world = World::new(1, 12);
    let (leg_a, leg_b) = (leg(0, 1), leg(0, 2));
    world.open(leg_a, with_codec(leg(9, PEER_A), a, 20));
    world.open(leg_b, with_codec(leg(9, PEER_B), b, ptime_ms));
    world.run(ms(100));
    world.command(Command::Bridge { a: leg_a, b: leg_b });
    world.forget();
    (world, leg_a, leg_b)
}

#[test]
fn every_pair_of_codecs_is_connected_both_ways() {
    for from in Codec::ALL {
        for to in Codec::ALL {
            let (mut world, a, b) = bridged(from, to, 20);
            let (mut peer_a, mut peer_b) = (Peer::new(PEER_A, from), Peer::new(PEER_B, to));
            let there = tone(from.sample_rate(), 1_000.0, from.sample_rate() as usize * 2);
            let back = tone(to.sample_rate(), 600.0, to.sample_rate() as usize * 2);
            let frames = there
                .chunks_exact(from.sample_rate() as usize / 50)
                .zip(back.chunks_exact(to.sample_rate() as usize / 50));
            for (there, back) in frames {
                peer_a.sends(&mut world, a, there);
                peer_b.sends(&mut world, b, back);
                world.run(ms(20));
            }
            for (leg, codec, frequency) in [(b, to, 1_000.0), (a, from, 600.0)] {
                let sent = world.sent_by(leg);
                // 20 ms of L16 at 48 kHz would be too much for a packet.
                let ptime = coding(codec).packet_ms(20);
                assert_eq!(ptime, if codec == Codec::L16At48 { 10 } else { 20 });
                let packets = sent.len() * usize::from(ptime) / 20;
                assert!((99..=102).contains(&packets), "{from:?} {to:?}: {packets}");
                assert!(sent.iter().all(|packet| packet.payload.len() <= 1280), "{from:?} {to:?}: fragments");
                assert_continuous(&sent, codec.clock_rate() / 1000 * u32::from(ptime));
                let heard = decoded(&sent, codec);
                let (_, heard) = heard.split_at(heard.len() / 2);
                let level = tone_level_dbm0(heard, codec.sample_rate(), frequency);
                assert!((level + 10.0).abs() < 1.0, "{from:?} {to:?}: {level} dBm0 at {frequency} Hz");
                assert!((level_dbm0(heard) - level).abs() < 0.5, "{from:?} {to:?}: and nothing beside it");
            }
        }
    }
}

#[test]
fn packet_times_are_each_sides_own() {
    for (from, to) in [(Codec::G722, Codec::Pcmu), (Codec::Pcma, Codec::Opus), (Codec::G722, Codec::G722)] {
        for ptime_ms in [10_u8, 30, 40, 60] {
            let (mut world, a, b) = bridged(from, to, ptime_ms);
            let mut peer = Peer::new(PEER_A, from);
            let there = tone(from.sample_rate(), 1_000.0, from.sample_rate() as usize * 2);
            for there in there.chunks_exact(from.sample_rate() as usize / 50) {
                peer.sends(&mut world, a, there);
                world.run(ms(20));
            }
            let sent = world.sent_by(b);
            let ptime = if (to, ptime_ms) == (Codec::Opus, 30) { 20 } else { u32::from(ptime_ms) };
            assert_continuous(&sent[1..], to.clock_rate() / 1000 * ptime);
            let heard = decoded(&sent, to);
            let level = tone_level_dbm0(&heard[heard.len() / 2..], to.sample_rate(), 1_000.0);
            assert!((level + 10.0).abs() < 1.0, "{from:?} {to:?} {ptime_ms}: {level}");
        }
    }
}

/// Frames of different levels, so that each can be found again.
#[test]
fn changing_between_relay_and_transcoding_loses_a_frame_at_most() {
    let (mut world, a, b) = bridged(Codec::L16At16, Codec::Pcmu, 20);
    let mut peer = Peer::new(PEER_A, Codec::L16At16);
    let level = |n: usize| (200.0 * 1.2_f64.powi(n as i32 % 25)) as i16;
    let mut heard: Vec<(Codec, Vec<Sent>)> = Vec::new();
    let mut codec = Codec::Pcmu;
    for n in 0..500 {
        if n % 50 == 25 {
            // Ten re-INVITEs: to L16, which is relayed, and back.
            let next = if codec == Codec::Pcmu { Codec::L16At16 } else { Codec::Pcmu };
            heard.push((codec, world.sent_by(b)));
            world.forget();
            codec = next;
            world.configure(b, with_codec(leg(9, PEER_B), codec, 20));
        }
        peer.sends(&mut world, a, &[level(n); 320]);
        world.run(ms(20));
    }
    heard.push((codec, world.sent_by(b)));
    let all: Vec<Sent> = heard.iter().flat_map(|(_, sent)| sent.clone()).collect();
    for pair in all.windows(2) {
        let (one, next) = (&pair[0].header, &pair[1].header);
        assert_eq!((next.ssrc, next.sequence), (one.ssrc, one.sequence.wrapping_add(1)));
        assert!((next.timestamp.wrapping_sub(one.timestamp) as i32) > 0, "time goes on");
    }
    let mut lost = 0;
    let mut seen: Vec<usize> = Vec::new();
    for (codec, sent) in &heard {
        let mut decoder = Decoder::new(coding(*codec));
        for sent in sent {
            let mut samples = Vec::new();
            decoder.decode(&sent.payload, &mut samples);
            for half in samples.chunks_exact(samples.len() / 4) {
                let place = (f64::from(half[half.len() / 2]) / 200.0).log(1.2);
                let n = place.round();
                if (0.0..25.0).contains(&n) && (place - n).abs() < 0.25 && seen.last() != Some(&(n as usize)) {
                    seen.push(n as usize);
                }
            }
        }
    }
    for pair in seen.windows(2) {
        lost += (pair[1] + 25 - pair[0]) % 25 - 1;
    }
    assert!(lost <= 10, "{lost} frames for ten changes: {seen:?}");
    assert!(seen.len() > 450 && seen.iter().collect::<BTreeSet<_>>().len() == 25, "{seen:?}");
}

#[test]
fn a_change_of_the_clock_goes_on_with_the_same_stream_in_the_new_units() {
    let (mut world, a, _) = World::call(31);
    for (codec, next) in [(Codec::Pcmu, Codec::Opus), (Codec::Opus, Codec::Pcmu), (Codec::G722, Codec::L16At16)] {
        world.configure(a, with_codec(leg(1, 1), codec, 20));
        world.run(ms(200));
        world.forget();
        world.run(ms(200));
        let before = world.sent_by(a);
        world.configure(a, with_codec(leg(1, 1), next, 20));
        world.forget();
        world.run(ms(200));
        let after = world.sent_by(a);
        assert_continuous(&before, codec.clock_rate() / 50);
        assert_continuous(&after, next.clock_rate() / 50);
        let (last, first) = (before.last().unwrap(), after.first().unwrap());
        assert_eq!(
            (first.header.ssrc, first.header.sequence),
            (last.header.ssrc, last.header.sequence.wrapping_add(1))
        );
        assert_eq!(first.header.timestamp, last.header.timestamp.wrapping_add(codec.clock_rate() / 50));
        assert_eq!(first.at.since(last.at).as_millis(), 20, "without a gap");
    }
}

#[test]
fn a_program_hears_a_change_of_codec_without_a_gap() {
    let mut world = World::new(1, 33);
    let a = leg(0, 1);
    world.open(a, with_codec(leg(9, PEER_A), Codec::Pcmu, 20));
    let port = Arc::new(AudioPort::new(16_000, 20, 5_000));
    world.command(Command::OpenAudio { leg: a, port: port.clone() });
    let mut peer = Peer::new(PEER_A, Codec::Pcmu);
    for codec in [Codec::Pcmu, Codec::Opus, Codec::G722, Codec::L16At16, Codec::Pcma, Codec::Opus] {
        peer = Peer { encoder: Encoder::new(coding(codec)), codec, ..peer };
        let rate = codec.sample_rate();
        for frame in tone(rate, 500.0, rate as usize).chunks_exact(rate as usize / 50) {
            peer.sends(&mut world, a, frame);
            world.run(ms(20));
        }
    }
    let mut quiet = 0;
    let mut frames = 0;
    while let Some(frame) = port.read() {
        frames += 1;
        quiet += usize::from(frames > 10 && level_dbm0(&frame) < -20.0);
    }
    assert!((298..=301).contains(&frames), "{frames}");
    assert!(quiet <= 1, "{quiet} quiet frames");
}

#[test]
fn loss_is_concealed_whatever_the_codec() {
    for codec in Codec::ALL {
        let mut world = World::new(1, 34);
        let a = leg(0, 1);
        world.open(a, with_codec(leg(9, PEER_A), codec, 20));
        let port = Arc::new(AudioPort::new(16_000, 20, 10_000));
        world.command(Command::OpenAudio { leg: a, port: port.clone() });
        let mut peer = Peer::new(PEER_A, codec);
        let rate = codec.sample_rate();
        for (n, frame) in tone(rate, 440.0, rate as usize * 4).chunks_exact(rate as usize / 50).enumerate() {
            let bytes = peer.encode(frame);
            if n % 10 != 9 {
                world.deliver(rtp_address(leg(9, PEER_A)), a, &bytes);
            }
            world.run(ms(20));
        }
        let (mut levels, mut heard) = (Vec::new(), Vec::new());
        while let Some(frame) = port.read() {
            levels.push(level_dbm0(&frame));
            heard.extend_from_slice(&frame);
        }
        // What is not the tone: of silence in place of what is lost it would be a tenth of it, 10 dB below. (Opus makes other waves than it was
        // given, the more so of a copy of few bits.)
        let heard = heard.get(16_000 / 2..).unwrap_or_default();
        let power = |dbm0: f64| 10_f64.powf(dbm0 / 10.0);
        let pure = tone_level_dbm0(heard, 16_000, 440.0);
        let rest = 10.0 * ((power(level_dbm0(heard)) - power(pure)) / power(pure)).log10();
        assert!(rest < -16.0 || codec == Codec::Opus, "{codec:?}: {rest:.1} dB beside the tone");
        let lowest = levels[20..].iter().copied().fold(f64::INFINITY, f64::min);
        // The copy in an Opus packet has fewer bits, which a lasting tone suffers from the most.
        let least = if codec == Codec::Opus { -25.0 } else { -16.0 };
        assert!(lowest > least, "{codec:?}: a frame of {lowest} dBm0");
    }
}

#[test]
fn events_pass_between_codecs_in_the_far_ends_units() {
    for (from, to) in [(Codec::Opus, Codec::Pcmu), (Codec::Pcmu, Codec::Opus), (Codec::G722, Codec::Pcmu)] {
        let (mut world, a, b) = bridged(from, to, 20);
        let mut peer = Peer::new(PEER_A, from);
        let rate = from.sample_rate();
        let frame = tone(rate, 1_000.0, rate as usize / 50);
        let format = event_format(from);
        for _ in 0..50 {
            peer.sends(&mut world, a, &frame);
            world.run(ms(20));
        }
        world.forget();
        let began = peer.timestamp;
        for n in 1..=7_u32 {
            let units = (n.min(5) * format.clock_rate / 50) as u16;
            let payload = [5, if n >= 5 { 0x8a } else { 0x0a }, (units >> 8) as u8, units as u8];
            let bytes = packet(format.payload_type, peer.sequence, began, 77, &payload);
            peer.sequence = peer.sequence.wrapping_add(1);
            world.deliver(rtp_address(leg(9, PEER_A)), a, &bytes);
            world.run(ms(20));
        }
        peer.timestamp = began.wrapping_add(7 * format.clock_rate / 50);
        for _ in 0..20 {
            peer.sends(&mut world, a, &frame);
            world.run(ms(20));
        }
        let wanted = event_format(to);
        let sent = world.sent_by(b);
        let events: Vec<&Sent> = sent.iter().filter(|s| s.header.payload_type == wanted.payload_type).collect();
        assert_eq!(events.len(), 7, "{from:?} {to:?}");
        assert!(events.iter().all(|s| s.header.timestamp == events[0].header.timestamp), "all of one event");
        assert!(events[0].header.marker);
        let durations: Vec<u32> =
            events.iter().map(|s| u32::from(s.payload[2]) << 8 | u32::from(s.payload[3])).collect();
        assert_eq!(durations, [1, 2, 3, 4, 5, 5, 5].map(|n| n * wanted.clock_rate / 50), "{from:?} {to:?}");
        for pair in sent.windows(2) {
            let (one, next) = (&pair[0].header, &pair[1].header);
            assert_eq!(next.sequence, one.sequence.wrapping_add(1));
            assert!((next.timestamp.wrapping_sub(one.timestamp) as i32) >= 0, "{from:?} {to:?}");
        }
        assert!(decoded_level(&sent, to) > -12.0, "and sound is back");
        let told = world
            .events()
            .iter()
            .filter(|e| matches!(e, ringback_media_api::Event::Dtmf { digit: '5', duration_ms: 100, .. }))
            .count();
        assert_eq!(told, 1, "{:?}", world.events());
    }
}

/// The level of the last 100 ms of audio.
fn decoded_level(sent: &[Sent], codec: Codec) -> f64 {
    let audio: Vec<Sent> = sent.iter().filter(|s| s.header.payload_type == payload_type(codec)).cloned().collect();
    let samples = decoded(&audio, codec);
    level_dbm0(&samples[samples.len() - codec.sample_rate() as usize / 10..])
}

#[test]
fn comfort_noise_fills_a_pause_until_speech_comes_back() {
    for listens in [true, false] {
        // Heard by a program, and through a bridge that transcodes.
        let (mut world, a, b) = bridged(Codec::Pcmu, Codec::G722, 20);
        let port = Arc::new(AudioPort::new(8_000, 20, 10_000));
        if listens {
            world.command(Command::OpenAudio { leg: a, port: port.clone() });
        }
        let mut peer = Peer::new(PEER_A, Codec::Pcmu);
        let speech = tone(8_000, 1_000.0, 160);
        for n in 0..200 {
            match n {
                100 => {
                    // RFC 3389 §3: 40 dB below overload, white.
                    let bytes = peer.number_packet(13, &[40], 160);
                    world.deliver(rtp_address(leg(9, PEER_A)), a, &bytes);
                }
                101..150 => peer.timestamp = peer.timestamp.wrapping_add(160),
                _ => peer.sends(&mut world, a, &speech),
            }
            world.run(ms(20));
        }
        let (samples, rate) = if listens {
            (std::iter::from_fn(|| port.read()).flatten().collect::<Vec<i16>>(), 8_000)
        } else {
            (decoded(&world.sent_by(b), Codec::G722), 16_000)
        };
        let second =
            |from: f64, to: f64| level_dbm0(&samples[(from * rate as f64) as usize..(to * rate as f64) as usize]);
        assert!((second(1.0, 1.9) + 10.0).abs() < 1.2, "{}", second(1.0, 1.9));
        // A narrow band of it remains narrow: what is above 3.4 kHz is lost in the conversion.
        let noise = second(2.2, 2.9);
        assert!((noise + 40.0 - 6.15).abs() < 2.0, "{noise}");
        assert!((second(3.2, 3.8) + 10.0).abs() < 1.2, "{}", second(3.2, 3.8));
    }
}
