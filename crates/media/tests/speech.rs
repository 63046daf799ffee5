//! Who speaks: detected in whatever a leg receives, and whatever else becomes of it.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests.

mod common;

use std::sync::Arc;

use common::*;
use ringback_audio::{Coding, Encoder, Resampler, ToneGenerator, voice};
use ringback_media_api::{
    AudioPort, Codec, Command, Detection, Event, LegConfig, LegId, ReceiveFormat, Role, RoomId, SendFormat,
};

const DETECTION: Detection = Detection { onset_ms: 80, hangover_ms: 500 };

fn of_codec(codec: Codec, remote: LegId) -> LegConfig {
    let (coding, payload_type) = (codec, if codec == Codec::Pcmu { 0 } else { 96 });
    LegConfig {
        send: Some(SendFormat { codec: coding, payload_type, ptime_ms: 20 }),
        receive: vec![ReceiveFormat { codec, payload_type }],
        ..config(remote)
    }
}

fn coding(codec: Codec) -> Coding {
    match codec {
        Codec::Opus => Coding::Opus,
        Codec::G722 => Coding::G722,
        _ => Coding::Pcmu,
    }
}

/// Silence, a voice, silence: a second, two, and one and a half, in packets of 20 ms.
fn packets(codec: Codec) -> Vec<Vec<u8>> {
    let mut said = vec![0; 16_000];
    said.extend(voice(16_000, 2.0, 120.0));
    said.extend(vec![0; 24_000]);
    encoded(codec, &said)
}

fn encoded(codec: Codec, at_16k: &[i16]) -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    Resampler::new(16_000, codec.sample_rate()).unwrap().process(at_16k, &mut samples);
    let mut encoder = Encoder::new(coding(codec));
    let frames = samples.chunks_exact(codec.sample_rate() as usize / 50);
    frames
        .map(|frame| {
            let mut payload = Vec::new();
            encoder.encode(frame, &mut payload);
            payload
        })
        .collect()
}

/// A peer that sends packet `n` now.
fn send(world: &mut World, to: LegId, peer: u8, codec: Codec, n: usize, payload: &[u8]) {
    let payload_type = if codec == Codec::Pcmu { 0 } else { 96 };
    let timestamp = (n as u32).wrapping_mul(codec.clock_rate() / 50).wrapping_sub(7777);
    let bytes = packet(payload_type, (n as u16).wrapping_sub(20), timestamp, 5, payload);
    world.deliver(rtp_address(leg(9, peer)), to, &bytes);
}

/// Milliseconds from `start` at which each change was told.
fn changes(world: &World, of: LegId, start: ringback_time::Mono) -> Vec<(u64, bool)> {
    let speech = world.out.events.iter().filter_map(|(at, event)| match event {
        Event::Speech { leg, speaking } if *leg == of => Some((at.since(start).as_millis() as u64, *speaking)),
        _ => None,
    });
    speech.collect()
}

fn is_right(changes: &[(u64, bool)]) -> bool {
    matches!(changes, [(1000..1450, true), (3350..3800, false)])
}

#[test]
fn a_voice_is_told_in_a_leg_alone_in_a_bridge_in_a_conference_and_beside_a_program() {
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        for place in ["alone", "relayed", "transcoded", "conference", "program", "recorded"] {
            let mut world = World::new(1, 3);
            let (a, b) = (leg(0, 1), leg(0, 2));
            world.open(a, of_codec(codec, leg(9, 1)));
            let other = if place == "transcoded" && codec == Codec::Pcmu { Codec::G722 } else { Codec::Pcmu };
            world.open(b, of_codec(if place == "transcoded" { other } else { codec }, leg(9, 2)));
            let port = Arc::new(AudioPort::new(16_000, 20, 200));
            match place {
                "relayed" | "transcoded" => world.command(Command::Bridge { a, b }),
                "conference" => {
                    for leg in [a, b] {
                        world.command(Command::Join { leg, room: RoomId::new(0, 1), role: Role::Member });
                    }
                }
                "program" => world.command(Command::OpenAudio { leg: a, port: port.clone() }),
                _ => {}
            }
            world.command(Command::Detect { leg: a, detection: Some(DETECTION) });
            world.run(ms(40));
            world.forget();
            let start = world.now.mono;
            for (n, payload) in packets(codec).iter().enumerate() {
                let before = world.sent_by(b).len();
                send(&mut world, a, 1, codec, n, payload);
                if place == "relayed" {
                    assert_eq!(world.sent_by(b).len(), before + 1, "it is relayed all the same");
                    assert_eq!(world.sent_by(b).last().unwrap().payload, *payload);
                }
                world.run(ms(20));
            }
            let changes = changes(&world, a, start);
            assert!(is_right(&changes), "{codec:?} {place}: {changes:?}");
        }
    }
}

#[test]
fn who_stops_sending_has_stopped_speaking() {
    let mut world = World::new(1, 3);
    let a = leg(0, 1);
    world.open(a, config(leg(9, 1)));
    world.command(Command::Detect { leg: a, detection: Some(DETECTION) });
    let start = world.now.mono;
    let all = packets(Codec::Pcmu);
    for (n, payload) in all.iter().enumerate().take(120) {
        send(&mut world, a, 1, Codec::Pcmu, n, payload);
        world.run(ms(20));
    }
    world.run(ms(3000));
    let told = changes(&world, a, start);
    assert!(matches!(told[..], [(1000..1450, true), (2850..3300, false)]), "{told:?}");
    // And who is put on hold while speaking.
    world.forget();
    let again = world.now.mono;
    for (n, payload) in all.iter().enumerate().skip(50).take(60) {
        send(&mut world, a, 1, Codec::Pcmu, n + 300, payload);
        world.run(ms(20));
    }
    world.configure(a, LegConfig { may_receive: false, may_send: false, ..config(leg(9, 1)) });
    for (n, payload) in all.iter().enumerate().skip(60).take(60) {
        send(&mut world, a, 1, Codec::Pcmu, n + 400, payload);
        world.run(ms(20));
    }
    let told = changes(&world, a, again);
    assert!(matches!(told[..], [(0..500, true), (1600..2100, false)]), "{told:?}");
}

#[test]
fn loss_disorder_and_duplicates_do_not_cut_a_voice_up() {
    let mut world = World::new(2, 8);
    let (a, b) = (leg(0, 1), leg(1, 1));
    world.open(a, config(b));
    world.open(b, config(a));
    let port = Arc::new(AudioPort::new(16_000, 20, 5000));
    world.command(Command::OpenAudio { leg: b, port: port.clone() });
    world.command(Command::Detect { leg: a, detection: Some(DETECTION) });
    world.link = Link { delay: ms(30), jitter: ms(30), loss_percent: 10.0, duplicate_percent: 5.0 };
    let start = world.now.mono;
    world.run(ms(1000));
    assert_eq!(port.write(&voice(16_000, 4.0, 180.0)), 64_000);
    world.run(ms(6000));
    let told = changes(&world, a, start);
    assert!(matches!(told[..], [(1000..1500, true), (5300..6000, false)]), "{told:?}");
}

#[test]
fn it_is_off_until_it_is_asked_for_and_can_be_switched_off() {
    let mut world = World::new(1, 3);
    let a = leg(0, 1);
    world.open(a, config(leg(9, 1)));
    let all = packets(Codec::Pcmu);
    for (n, payload) in all.iter().enumerate() {
        send(&mut world, a, 1, Codec::Pcmu, n, payload);
        world.run(ms(20));
    }
    assert_eq!(world.events(), []);
    world.command(Command::Detect { leg: a, detection: Some(DETECTION) });
    for (n, payload) in all.iter().enumerate().skip(50).take(50) {
        send(&mut world, a, 1, Codec::Pcmu, n + 300, payload);
        world.run(ms(20));
    }
    assert_eq!(world.events(), [Event::Speech { leg: a, speaking: true }]);
    world.command(Command::Detect { leg: a, detection: None });
    world.run(ms(2000));
    assert_eq!(world.events().len(), 1, "no word at the end");
}

#[test]
fn a_tone_is_no_voice() {
    let mut world = World::new(1, 3);
    let a = leg(0, 1);
    world.open(a, config(leg(9, 1)));
    world.command(Command::Detect { leg: a, detection: Some(DETECTION) });
    let mut tone = vec![0; 80_000];
    ToneGenerator::new(16_000, &[350.0, 440.0], -13.0).unwrap().fill(&mut tone);
    for (n, payload) in encoded(Codec::Pcmu, &tone).iter().enumerate() {
        send(&mut world, a, 1, Codec::Pcmu, n, payload);
        world.run(ms(20));
    }
    assert_eq!(world.events(), []);
}
