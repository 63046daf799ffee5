//! A pair that is relayed, transcoded, mixed, tapped, and relayed again: what each hears of the other, sample by sample.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests.

mod common;

use std::sync::Arc;

use common::*;
use ringback_audio::{Coding, Decoder, Encoder, Resampler};
use ringback_media_api::{
    AudioPort, Codec, Command, LegConfig, LegId, ReceiveFormat, Role, RoomId, SendFormat, Sound, Tape, Token,
};

/// Of the tones that the peers of A and B say: no whole number of periods in any packet.
const HZ: [f64; 2] = [437.0, 391.0];
const AMPLITUDE: f64 = 8000.0;

/// A peer that says a tone for ever, in packets of 20 ms.
struct Talker {
    codec: Codec,
    hz: f64,
    encoder: Encoder,
    resampler: Resampler,
    said: u64,
    sequence: u16,
    /// Milliseconds after the beginning of every 20 at which it sends.
    phase: u64,
}

fn coding(codec: Codec) -> Coding {
    match codec {
        Codec::Pcma => Coding::Pcma,
        Codec::G722 => Coding::G722,
        Codec::Opus => Coding::Opus,
        _ => Coding::Pcmu,
    }
}

fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        _ => 96,
    }
}

fn sends(codec: Codec, remote: LegId) -> LegConfig {
    let all = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];
    LegConfig {
        send: Some(SendFormat { codec, payload_type: payload_type(codec), ptime_ms: 20 }),
        receive: all.map(|codec| ReceiveFormat { codec, payload_type: payload_type(codec) }).into(),
        ..config(remote)
    }
}

impl Talker {
    fn new(codec: Codec, hz: f64, phase: u64) -> Self {
        let encoder = Encoder::new(coding(codec));
        let resampler = Resampler::new(48_000, codec.sample_rate()).unwrap();
        Talker { codec, hz, encoder, resampler, said: 0, sequence: 40_000, phase }
    }

    fn packet(&mut self) -> Vec<u8> {
        let frame: Vec<i16> = (0..960)
            .map(|n| {
                let t = (self.said * 960 + n) as f64 / 48_000.0;
                (AMPLITUDE * (t * self.hz * std::f64::consts::TAU).sin()) as i16
            })
            .collect();
        let (mut samples, mut payload) = (Vec::new(), Vec::new());
        self.resampler.process(&frame, &mut samples);
        self.encoder.encode(&samples, &mut payload);
        let timestamp = (self.said as u32).wrapping_mul(self.codec.clock_rate() / 50).wrapping_sub(12_345);
        let bytes = packet(payload_type(self.codec), self.sequence, timestamp, 99, &payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.said += 1;
        bytes
    }
}

/// Two calls of one engine, and their peers.
struct Pair {
    world: World,
    legs: [LegId; 2],
    talkers: [Talker; 2],
    ms: u64,
}

impl Pair {
    fn new(codecs: [Codec; 2], phases: [u64; 2]) -> Self {
        let mut world = World::new(1, 5);
        let legs = [leg(0, 1), leg(0, 2)];
        for (n, leg_) in legs.iter().enumerate() {
            world.open(*leg_, sends(codecs[n], leg(9, n as u8 + 1)));
        }
        let talkers = [0, 1].map(|n| Talker::new(codecs[n], HZ[n], phases[n]));
        Pair { world, legs, talkers, ms: 0 }
    }

    fn run(&mut self, duration: u64) {
        for _ in 0..duration {
            for n in 0..2 {
                if self.ms % 20 == self.talkers[n].phase {
                    let bytes = self.talkers[n].packet();
                    self.world.deliver(rtp_address(leg(9, n as u8 + 1)), self.legs[n], &bytes);
                }
            }
            self.world.run(ms(1));
            self.ms += 1;
        }
    }

    fn relay(&mut self) {
        self.world.command(Command::Bridge { a: self.legs[0], b: self.legs[1] });
    }

    fn join(&mut self, leg: LegId, room: u64) {
        self.world.command(Command::Join { leg, room: RoomId::new(0, room), role: Role::Member });
    }

    fn mix(&mut self, room: u64) {
        for leg in self.legs {
            self.join(leg, room);
        }
    }

    /// What the peer of `legs[n]` hears: samples at the codec's rate where packets say they belong; `None` where there are none.
    fn heard(&self, n: usize) -> (u32, Vec<Option<i16>>) {
        let sent = self.world.sent_by(self.legs[n]);
        let codec = match sent.last().unwrap().header.payload_type {
            0 => Codec::Pcmu,
            8 => Codec::Pcma,
            9 => Codec::G722,
            _ => Codec::Opus,
        };
        let mut decoder = Decoder::new(coding(codec));
        let (mut line, first) = (Vec::new(), sent[0].header.timestamp);
        for pair in sent.windows(2) {
            assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        }
        let per_unit =
            |units: u32| (units as u64 * u64::from(codec.sample_rate()) / u64::from(codec.clock_rate())) as usize;
        for packet in &sent {
            assert_eq!(packet.header.payload_type, payload_type(codec));
            let mut samples = Vec::new();
            decoder.decode(&packet.payload, &mut samples);
            let at = per_unit(packet.header.timestamp.wrapping_sub(first));
            assert!(at >= line.len(), "nothing is said twice: {at} after {}", line.len());
            line.resize(at, None);
            line.extend(samples.into_iter().map(Some));
        }
        (codec.sample_rate(), line)
    }

    /// The longest time in milliseconds, from `from_ms` on, in which the tone of the other was not heard, and the largest step between two
    /// samples as a part of what the tone itself makes.
    fn judge(&self, n: usize, from_ms: usize) -> (usize, f64) {
        let (rate, line) = self.heard(n);
        let ms = rate as usize / 1000;
        let (mut longest, mut quiet, mut step) = (0, 0, 0.0_f64);
        let slope = AMPLITUDE * std::f64::consts::TAU * HZ[1 - n] / f64::from(rate);
        let line = &line[from_ms * ms..];
        for (n, sample) in line.iter().enumerate() {
            let loud = sample.is_some_and(|sample| f64::from(sample).abs() > AMPLITUDE / 8.0);
            quiet = if loud { 0 } else { quiet + 1 };
            longest = longest.max(quiet);
            if let Some(before) = n.checked_sub(1) {
                let (now, before) = (f64::from(sample.unwrap_or(0)), f64::from(line[before].unwrap_or(0)));
                step = step.max((now - before).abs() / slope);
            }
        }
        (longest / ms, step)
    }

    fn assert_whole(&self, what: &str, gap_ms: usize, step: f64) {
        for n in 0..2 {
            let (gap, largest) = self.judge(n, 400);
            assert!(gap <= gap_ms && largest <= step, "{what}, heard by {n}: {gap} ms, steps of {largest:.2}");
        }
    }
}

/// Where packets come within the frame, against the legs' own phases.
const PHASES: [[u64; 2]; 5] = [[0, 0], [3, 17], [10, 11], [19, 1], [14, 6]];

#[test]
fn a_relayed_pair_is_mixed_and_relayed_again_without_a_break() {
    for codecs in [[Codec::Pcmu; 2], [Codec::Pcmu, Codec::Pcma]] {
        for phases in PHASES {
            let mut pair = Pair::new(codecs, phases);
            pair.relay();
            pair.run(1007);
            for round in 0..4 {
                pair.mix(round);
                pair.run(503 + round);
                pair.relay();
                pair.run(509 + 3 * round);
            }
            pair.assert_whole(&format!("{codecs:?} at {phases:?}"), 2, 1.1);
            let late = pair.world.now.mono;
            for leg in pair.legs {
                let sent = pair.world.sent_by(leg);
                let (first, last) = (&sent[0], sent.last().unwrap());
                let clock = i64::from(last.header.timestamp.wrapping_sub(first.header.timestamp));
                let passed = (late.since(first.at).as_millis() * 8) as i64;
                assert!((clock - passed).abs() < 80 * 8, "nothing adds up: {clock} of {passed}");
            }
            assert_eq!(pair.world.engines[0].live_rooms(), 0);
        }
    }
}

#[test]
fn a_third_comes_and_goes_and_the_pair_is_relayed_again() {
    for phases in PHASES {
        let mut pair = Pair::new([Codec::Pcmu; 2], phases);
        let third = leg(0, 3);
        pair.world.open(third, config(leg(9, 3)));
        pair.relay();
        pair.run(1000);
        pair.mix(1);
        pair.join(third, 1);
        pair.run(700);
        pair.world.command(Command::Unbridge { leg: third });
        pair.relay();
        pair.run(700);
        pair.assert_whole(&format!("{phases:?}"), 2, 1.1);
        // It is relayed: the packets are the peer's own.
        pair.world.forget();
        pair.run(200);
        let relayed = pair.world.sent_by(pair.legs[1]).len();
        assert!((10..=11).contains(&relayed) && pair.world.engines[0].live_rooms() == 0);
        assert!(pair.world.sent_by(third).iter().all(|packet| packet.payload == [0xff; 160]));
    }
}

#[test]
fn a_third_who_speaks_fades_out_before_the_pair_is_relayed() {
    let mut pair = Pair::new([Codec::Pcmu; 2], [3, 8]);
    pair.relay();
    pair.run(1000);
    let third = leg(0, 3);
    pair.world.open(third, config(leg(9, 3)));
    let mut talker = Talker::new(Codec::Pcmu, 523.0, 0);
    pair.mix(1);
    pair.join(third, 1);
    for _ in 0..40 {
        let bytes = talker.packet();
        pair.world.deliver(rtp_address(leg(9, 3)), third, &bytes);
        pair.run(20);
    }
    pair.world.command(Command::Close { leg: third });
    pair.relay();
    pair.run(500);
    // Two tones at once have a larger slope: that of both.
    pair.assert_whole("three", 10, 1.1 * (1.0 + 523.0 / 391.0));
}

#[test]
fn a_transcoded_pair_is_mixed_and_transcoded_again() {
    for codecs in [[Codec::Pcmu, Codec::G722], [Codec::G722, Codec::Opus], [Codec::Opus, Codec::Pcma]] {
        let mut pair = Pair::new(codecs, [5, 12]);
        pair.relay();
        pair.run(1000);
        for round in 0..3 {
            pair.mix(round);
            pair.run(601);
            pair.relay();
            pair.run(607);
        }
        pair.assert_whole(&format!("{codecs:?}"), 20, 2.0);
    }
}

#[test]
fn pairs_of_codecs_with_a_memory_lose_no_more_than_a_frame() {
    for codec in [Codec::G722, Codec::Opus] {
        let mut pair = Pair::new([codec; 2], [5, 12]);
        pair.relay();
        pair.run(1000);
        for round in 0..3 {
            pair.mix(round);
            pair.run(601);
            pair.relay();
            pair.run(607);
        }
        pair.assert_whole(&format!("{codec:?}"), 20, 3.0);
    }
}

#[test]
fn what_is_relayed_is_transcoded_from_one_packet_to_the_next() {
    for phases in PHASES {
        let mut pair = Pair::new([Codec::Pcmu; 2], phases);
        pair.relay();
        pair.run(1000);
        // A's peer changes to another codec, and back, without a word.
        for codec in [Codec::G722, Codec::Pcmu, Codec::Opus, Codec::Pcma] {
            let said = pair.talkers[0].said;
            let sequence = pair.talkers[0].sequence;
            pair.talkers[0] = Talker { said, sequence, ..Talker::new(codec, HZ[0], phases[0]) };
            pair.run(600);
        }
        let (gap, step) = pair.judge(1, 400);
        // The new encoder of the peer begins with a step of its own.
        assert!(gap <= 20 && step < 3.5, "{phases:?}: {gap} ms, {step:.2}");
        let (gap, step) = pair.judge(0, 400);
        assert!(gap <= 2 && step <= 1.1, "{phases:?}, the other way: {gap} ms, {step:.2}");
    }
}

#[test]
fn taps_and_tapes_come_and_go_unheard() {
    let mut pair = Pair::new([Codec::Pcmu; 2], [3, 17]);
    pair.relay();
    pair.run(1000);
    for leg in pair.legs {
        let tape = Arc::new(Tape::new(true, || {}));
        let port = Arc::new(AudioPort::new(16_000, 20, 200));
        pair.world.command(Command::Record { leg, tape: tape.clone() });
        pair.run(300);
        pair.world.command(Command::OpenAudio { leg, port: port.clone() });
        pair.run(300);
        assert!(port.waiting_frames() > 10 && tape.recorded_seconds() > 0.2);
        pair.world.command(Command::CloseAudio { leg, port: port.clone() });
        pair.run(100);
        tape.stop();
        pair.run(300);
    }
    pair.assert_whole("tapped", 2, 1.1);
}

#[test]
fn after_a_sound_or_a_program_the_other_is_back_within_a_frame() {
    for phases in PHASES {
        let mut pair = Pair::new([Codec::Pcmu; 2], phases);
        pair.relay();
        pair.run(1000);
        let [a, _] = pair.legs;
        let loud: Vec<i16> = (0..3200).map(|n| (AMPLITUDE * (f64::from(n) * 0.3).sin()) as i16).collect();
        let sound = Arc::new(Sound::of(8000, &loud));
        pair.world.command(Command::Play { leg: a, sound, token: Token(1) });
        pair.run(800);
        let port = Arc::new(AudioPort::new(8000, 20, 1000));
        pair.world.command(Command::OpenAudio { leg: a, port: port.clone() });
        pair.run(300);
        assert_eq!(port.write(&loud), loud.len());
        pair.run(900);
        pair.world.command(Command::CloseAudio { leg: a, port: port.clone() });
        pair.run(300);
        let (gap, _) = pair.judge(0, 400);
        assert!(gap <= 42, "{phases:?}: {gap} ms");
        let (gap, step) = pair.judge(1, 400);
        assert!(gap <= 2 && step <= 1.1, "{phases:?}, the other way: {gap} ms, {step:.2}");
    }
}

#[test]
fn a_program_keeps_its_call_through_every_bridge() {
    let mut pair = Pair::new([Codec::Pcmu; 2], [3, 17]);
    let [a, b] = pair.legs;
    let port = Arc::new(AudioPort::new(8000, 20, 1000));
    pair.world.command(Command::OpenAudio { leg: a, port: port.clone() });
    pair.run(500);
    for round in 0..3 {
        pair.relay();
        pair.run(200);
        pair.mix(round);
        pair.run(200);
        if round == 1 {
            pair.relay();
            pair.run(100);
        }
        pair.world.command(Command::Unbridge { leg: a });
        pair.world.command(Command::Unbridge { leg: b });
        pair.run(100);
    }
    assert!(!port.is_closed());
    let heard: Vec<i16> = std::iter::from_fn(|| port.read()).flatten().collect();
    assert!((heard.len() as u64).abs_diff(pair.ms * 8) <= 320, "{} of {}", heard.len(), pair.ms * 8);
    // From the first of it on one tone, without a gap or a jump.
    let begin = heard.iter().position(|sample| sample.abs() > 500).unwrap() + 40;
    let turn = 2.0 * (std::f64::consts::TAU * HZ[0] / 8000.0).cos();
    let off = heard[begin..].windows(3).filter(|w| {
        let expected = turn * f64::from(w[1]) - f64::from(w[0]);
        (f64::from(w[2]) - expected).abs() > 700.0
    });
    assert_eq!(off.count(), 0);
    // And it still speaks to the call.
    pair.world.forget();
    assert_eq!(port.write(&[5000; 1600]), 1600);
    pair.run(400);
    assert_eq!(port.played_samples(), 1600);
}

#[test]
fn who_relays_passes_loss_on_and_who_decodes_conceals_it() {
    // One packet of ten is lost: with concealment the same loss is rated better.
    let rated = |setup: &dyn Fn(&mut Pair), codecs: [Codec; 2]| {
        let mut pair = Pair::new(codecs, [3, 17]);
        setup(&mut pair);
        for n in 0..1500 {
            if n % 200 == 0 {
                pair.talkers[0].packet();
                pair.talkers[1].packet();
            }
            pair.run(1);
        }
        [0, 1].map(|n| pair.world.statistics(pair.legs[n]).quality.unwrap().mos.unwrap())
    };
    let relay = |pair: &mut Pair| pair.relay();
    let tapped = |pair: &mut Pair| {
        pair.relay();
        let port = Arc::new(AudioPort::new(8000, 20, 5000));
        pair.world.command(Command::OpenAudio { leg: pair.legs[0], port });
    };
    let [relayed, other] = rated(&relay, [Codec::Pcmu; 2]);
    let transcoded = rated(&relay, [Codec::Pcmu, Codec::G722]);
    let mixed = rated(&|pair| pair.mix(1), [Codec::Pcmu; 2]);
    let [heard, not_heard] = rated(&tapped, [Codec::Pcmu; 2]);
    assert!((relayed - other).abs() < 0.1 && (heard - transcoded[0]).abs() < 0.1, "{relayed} {other} {heard}");
    for concealed in [transcoded[0], transcoded[1], mixed[0], mixed[1], heard] {
        assert!(concealed > relayed + 0.3, "{concealed} against {relayed}");
    }
    assert!((not_heard - other).abs() < 0.1, "a tap of the one says nothing of the other");
}
