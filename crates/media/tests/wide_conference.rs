//! Conferences of mixed codecs: wide audio reaches those who can hear it, whoever else is there. Engine 0 has the conference's legs,
//! engine 1 the phones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;

use common::*;
use ringback_audio::{Coding, Decoder, level_dbm0, tone_level_dbm0};
use ringback_media_api::{
    Codec, Command, LegConfig, LegId, ReceiveFormat, Role, RoomId, SendFormat, Tape, Token, Tone,
};

const ROOM: RoomId = RoomId::new(0, 1);

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

fn with_codec(remote: LegId, codec: Codec, ptime_ms: u8) -> LegConfig {
    LegConfig {
        send: Some(SendFormat { codec, payload_type: payload_type(codec), ptime_ms }),
        receive: Codec::ALL.map(|codec| ReceiveFormat { codec, payload_type: payload_type(codec) }).to_vec(),
        ..config(remote)
    }
}

fn call(world: &mut World, n: u8, codec: Codec, ptime_ms: u8) {
    world.open(leg(0, n), with_codec(leg(1, n), codec, ptime_ms));
    world.open(leg(1, n), with_codec(leg(0, n), codec, ptime_ms));
}

fn join(world: &mut World, n: u8, role: Role) {
    world.command(Command::Join { leg: leg(0, n), room: ROOM, role });
}

fn say(world: &mut World, n: u8, pitch: f32) {
    let tone = Tone { frequencies: vec![pitch], level_dbm0: -20.0, duration: None };
    world.command(Command::PlayTone { leg: leg(1, n), tone, token: Token(u64::from(n)) });
}

/// What phone `n` hears, at its codec's rate.
fn heard(world: &World, n: u8, codec: Codec) -> Vec<i16> {
    let mut decoder = Decoder::new(coding(codec));
    let mut samples = Vec::new();
    for sent in world.sent_by(leg(0, n)) {
        assert_eq!(sent.header.payload_type, payload_type(codec));
        assert!(decoder.decode(&sent.payload, &mut samples) > 0);
    }
    samples
}

fn assert_hears(world: &World, n: u8, codec: Codec, pitches: &[(f64, bool)]) {
    let rate = codec.sample_rate();
    let samples = heard(world, n, codec);
    // Past what a decoder begins with.
    let samples = &samples[rate as usize / 10..];
    for &(pitch, expected) in pitches {
        let level = tone_level_dbm0(samples, rate, pitch);
        if expected {
            assert!((level + 20.0).abs() < 3.0, "{n} ({codec:?}) hears {pitch} Hz at {level:.1}");
        } else {
            assert!(level < -45.0, "{n} ({codec:?}) hears {pitch} Hz at {level:.1}, and should not");
        }
    }
    let gap = samples.chunks(rate as usize / 200).any(|chunk| level_dbm0(chunk) < -35.0);
    assert!(!gap, "{n} ({codec:?}): a gap");
}

#[test]
fn each_hears_the_others_as_wide_as_it_can() {
    for ptimes in [[20, 20, 20, 20], [40, 20, 30, 10]] {
        let mut world = World::new(2, 1);
        let members =
            [(1, Codec::Opus, 9000.0), (2, Codec::G722, 5000.0), (3, Codec::Pcmu, 700.0), (4, Codec::Pcma, 1100.0)];
        for ((n, codec, pitch), ptime) in members.into_iter().zip(ptimes) {
            call(&mut world, n, codec, ptime);
            join(&mut world, n, Role::Member);
            say(&mut world, n, pitch);
        }
        // The room was narrow at first; nobody pauses.
        world.run(ms(2500));
        world.forget();
        world.run(ms(1000));
        for (n, codec, own) in members {
            let audible = |pitch: f32| pitch != own && pitch < 0.45 * codec.sample_rate() as f32;
            let expected: Vec<_> = members.iter().map(|&(_, _, pitch)| (f64::from(pitch), audible(pitch))).collect();
            assert_hears(&world, n, codec, &expected);
        }
    }
}

#[test]
fn linear_audio_of_every_rate_meets_in_one_room() {
    let members =
        [(1, Codec::L16At24, 9000.0), (2, Codec::L16At16, 5000.0), (3, Codec::L16At8, 700.0), (4, Codec::Pcma, 1100.0)];
    // The room is mixed at the rate of the widest member.
    for first in [members.first().copied(), Some((1, Codec::L16At48, 15_000.0))].into_iter().flatten() {
        let mut members = members;
        members[0] = first;
        let mut world = World::new(2, 5);
        for (n, codec, pitch) in members {
            call(&mut world, n, codec, 20);
            join(&mut world, n, Role::Member);
            say(&mut world, n, pitch);
        }
        world.run(ms(2500));
        world.forget();
        world.run(ms(1000));
        for (n, codec, own) in members {
            let audible = |pitch: f32| pitch != own && pitch < 0.425 * codec.sample_rate() as f32;
            let expected: Vec<_> = members.iter().map(|&(_, _, pitch)| (f64::from(pitch), audible(pitch))).collect();
            assert_hears(&world, n, codec, &expected);
        }
    }
}

#[test]
fn a_wide_member_that_comes_and_goes_makes_no_click_for_the_others() {
    let mut world = World::new(2, 2);
    for (n, codec) in [(1, Codec::Pcmu), (2, Codec::Pcmu), (3, Codec::G722), (4, Codec::G722)] {
        call(&mut world, n, codec, 20);
    }
    join(&mut world, 1, Role::Member);
    join(&mut world, 2, Role::Member);
    say(&mut world, 1, 400.0);
    world.run(ms(500));
    world.forget();
    world.run(ms(1000));
    let splatter = |world: &World| {
        let samples = heard(world, 2, Codec::Pcmu);
        let high = |window: &[i16]| {
            let bins = (0..30).map(|n| tone_level_dbm0(window, 8000, 2050.0 + 50.0 * f64::from(n)));
            10.0 * bins.map(|level| 10_f64.powf(level / 10.0)).sum::<f64>().log10()
        };
        samples.windows(160).step_by(40).filter(|w| level_dbm0(w).is_finite()).map(high).fold(f64::MIN, f64::max)
    };
    let most = splatter(&world) + 8.0;
    world.forget();
    join(&mut world, 3, Role::Member);
    join(&mut world, 4, Role::Member);
    world.run(ms(2000));
    assert!(splatter(&world) < most, "{} above {most}", splatter(&world));
    say(&mut world, 3, 5000.0);
    world.run(ms(500));
    world.forget();
    world.run(ms(500));
    assert_hears(&world, 4, Codec::G722, &[(400.0, true), (5000.0, true)]);
    assert_hears(&world, 3, Codec::G722, &[(400.0, true), (5000.0, false)]);
    world.forget();
    for n in [3, 4] {
        world.command(Command::Unbridge { leg: leg(0, n) });
    }
    world.run(ms(2000));
    assert!(splatter(&world) < most, "{} above {most}", splatter(&world));
    world.forget();
    world.run(ms(500));
    assert_hears(&world, 2, Codec::Pcmu, &[(400.0, true)]);
}

#[test]
fn silent_members_of_a_codec_with_a_memory_share_its_encoder() {
    for codec in [Codec::G722, Codec::Opus] {
        let mut world = World::new(2, 3);
        for n in 1..=5 {
            call(&mut world, n, codec, 20);
            join(&mut world, n, if n > 3 { Role::Listener } else { Role::Member });
        }
        say(&mut world, 1, 600.0);
        world.run(ms(2500));
        world.forget();
        world.run(ms(500));
        let payloads = |n| world.sent_by(leg(0, n)).into_iter().map(|sent| sent.payload).collect::<Vec<_>>();
        for n in 3..=5 {
            assert!(payloads(n) == payloads(2), "{codec:?}");
        }
        // One begins to speak, and stops: what it hears goes on without a gap, in its own packets for as long.
        say(&mut world, 2, 900.0);
        world.forget();
        world.run(ms(1000));
        assert!(world.sent_by(leg(0, 2))[20].payload != world.sent_by(leg(0, 4))[20].payload);
        assert_hears(&world, 2, codec, &[(600.0, true), (900.0, false)]);
        assert_hears(&world, 4, codec, &[(600.0, true), (900.0, true)]);
        world.command(Command::StopPlaying { leg: leg(1, 2) });
        world.run(ms(300));
        world.forget();
        world.run(ms(2500));
        assert_hears(&world, 2, codec, &[(600.0, true), (900.0, false)]);
        assert!(world.sent_by(leg(0, 2))[120].payload == world.sent_by(leg(0, 4))[120].payload);
    }
}

#[test]
fn a_whisper_and_its_hearer_may_have_other_codecs_than_the_room() {
    let mut world = World::new(2, 4);
    for (n, codec, pitch) in [(1, Codec::Pcmu, 500.0), (2, Codec::Pcmu, 900.0), (3, Codec::G722, 1300.0)] {
        call(&mut world, n, codec, 20);
        join(&mut world, n, if n == 2 { Role::Whisper { beside: leg(0, 1) } } else { Role::Member });
        say(&mut world, n, pitch);
    }
    world.run(ms(2000));
    world.forget();
    world.run(ms(700));
    assert_hears(&world, 1, Codec::Pcmu, &[(500.0, false), (900.0, true), (1300.0, true)]);
    assert_hears(&world, 2, Codec::Pcmu, &[(500.0, true), (900.0, false), (1300.0, true)]);
    assert_hears(&world, 3, Codec::G722, &[(500.0, true), (900.0, false), (1300.0, false)]);
}

#[test]
fn a_recording_holds_what_all_say_at_the_rate_it_began_with() {
    let mut world = World::new(2, 5);
    for (n, codec, pitch) in [(1, Codec::Pcmu, 500.0), (2, Codec::Pcmu, 900.0), (3, Codec::G722, 5000.0)] {
        call(&mut world, n, codec, 20);
        say(&mut world, n, pitch);
    }
    join(&mut world, 1, Role::Member);
    join(&mut world, 2, Role::Member);
    world.run(ms(500));
    let tape = Arc::new(Tape::new(false, || {}));
    world.command(Command::RecordRoom { room: ROOM, tape: tape.clone() });
    world.run(ms(1000));
    join(&mut world, 3, Role::Member);
    world.run(ms(2000));
    world.command(Command::CloseRoom { room: ROOM });
    world.run(ms(100));
    assert!(tape.is_ended());
    assert_eq!(tape.rate(), Some(8000));
    let mut samples = Vec::new();
    while let Some(block) = tape.take() {
        assert_eq!(block.lost, 0);
        samples.extend(block.samples);
    }
    assert!((23_500..=24_500).contains(&samples.len()), "{}", samples.len());
    for piece in [&samples[800..8000], &samples[20_000..]] {
        for pitch in [500.0, 900.0] {
            assert!((tone_level_dbm0(piece, 8000, pitch) + 20.0).abs() < 1.5);
        }
    }
}

/// The loudest sample that phone `n` hears, its decoder having heard the whole call.
fn loudest(world: &World, n: u8, codec: Codec) -> u16 {
    heard(world, n, codec).iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0)
}

/// Whose packets come from the room's encoder and whose from its own changes: its decoder must be able to follow each time.
#[test]
fn going_over_from_one_encoder_to_another_makes_no_burst() {
    for codec in [Codec::G722, Codec::Opus] {
        // A tone of -20 dBm0 peaks at some 2,300.
        let most = 4_500;
        let calls = |seed| {
            let mut world = World::new(2, seed);
            for n in 1..=3 {
                call(&mut world, n, codec, 20);
            }
            world
        };
        // Comes into a room where somebody speaks.
        let mut world = calls(6);
        join(&mut world, 1, Role::Member);
        join(&mut world, 2, Role::Member);
        say(&mut world, 1, 610.0);
        world.run(ms(3000));
        join(&mut world, 3, Role::Member);
        world.run(ms(3000));
        assert!(loudest(&world, 3, codec) < most, "{codec:?}: joins: {}", loudest(&world, 3, codec));
        // Has been silent for long, and does what makes its packets its own.
        for what in ["is silent", "speaks", "leaves", "is played to", "is whispered to", "loses the room"] {
            let mut world = calls(7);
            for n in 1..=3 {
                join(&mut world, n, Role::Member);
            }
            world.run(ms(2000));
            say(&mut world, 1, 610.0);
            world.run(ms(2000));
            match what {
                "speaks" => say(&mut world, 3, 1130.0),
                "leaves" => world.command(Command::Unbridge { leg: leg(0, 3) }),
                "is played to" => {
                    let tone = Tone { frequencies: vec![770.0], level_dbm0: -20.0, duration: None };
                    world.command(Command::PlayTone { leg: leg(0, 3), tone, token: Token(9) });
                }
                "is whispered to" => {
                    let role = Role::Whisper { beside: leg(0, 3) };
                    world.command(Command::SetRole { leg: leg(0, 2), role });
                }
                "loses the room" => world.command(Command::CloseRoom { room: ROOM }),
                _ => {}
            }
            world.run(ms(1500));
            let peak = loudest(&world, 3, codec);
            assert!((1_500..most).contains(&peak), "{codec:?}: {what}: {peak}");
        }
    }
}

#[test]
fn opus_is_shared_only_by_those_who_have_agreed_on_the_same() {
    let mut world = World::new(2, 8);
    for n in 1..=5 {
        let mut of = with_codec(leg(1, n), Codec::Opus, 20);
        if n >= 4 {
            of.opus.bitrate = 8_000;
        }
        world.open(leg(0, n), of);
        world.open(leg(1, n), with_codec(leg(0, n), Codec::Opus, 20));
        join(&mut world, n, Role::Member);
    }
    say(&mut world, 1, 610.0);
    world.run(ms(3000));
    world.forget();
    world.run(ms(1000));
    let payloads = |n| world.sent_by(leg(0, n)).into_iter().map(|sent| sent.payload).collect::<Vec<_>>();
    let octets = |n| payloads(n).iter().map(Vec::len).sum::<usize>();
    assert!(payloads(2) == payloads(3) && payloads(4) == payloads(5));
    assert!(octets(4) < 1_300 && octets(2) > 2_500, "{} and {}", octets(4), octets(2));
}

#[test]
fn a_whisper_is_clean_and_so_is_what_a_narrow_member_hears_once_it_may_not_speak() {
    let pure = |world: &World, n: u8, codec: Codec, pitches: &[f64]| {
        let samples = heard(world, n, codec);
        let samples = &samples[codec.sample_rate() as usize / 10..];
        let power = |level: f64| 10_f64.powf(level / 10.0);
        let tones: f64 = pitches.iter().map(|&pitch| power(tone_level_dbm0(samples, codec.sample_rate(), pitch))).sum();
        let all = power(level_dbm0(samples));
        assert!(
            (all - tones) / tones < 0.02,
            "{n}: {:.1} dB of something else",
            10.0 * ((all - tones) / tones).log10()
        );
    };
    let mut world = World::new(2, 9);
    for (n, codec) in [(1, Codec::L16At48), (2, Codec::L16At8), (3, Codec::L16At8), (4, Codec::L16At8)] {
        call(&mut world, n, codec, if codec == Codec::L16At48 { 10 } else { 20 });
        join(&mut world, n, Role::Member);
    }
    world.run(ms(500));
    say(&mut world, 1, 445.0);
    say(&mut world, 2, 1525.0);
    world.command(Command::SetRole { leg: leg(0, 1), role: Role::Whisper { beside: leg(0, 2) } });
    world.command(Command::SetRole { leg: leg(0, 3), role: Role::Listener });
    world.run(ms(500));
    world.forget();
    world.run(ms(1000));
    pure(&world, 2, Codec::L16At8, &[445.0]);
    pure(&world, 3, Codec::L16At8, &[1525.0]);
    // To a listener, and to nobody any more.
    world.command(Command::SetRole { leg: leg(0, 1), role: Role::Whisper { beside: leg(0, 3) } });
    world.run(ms(500));
    world.forget();
    world.run(ms(1000));
    pure(&world, 3, Codec::L16At8, &[445.0, 1525.0]);
    world.command(Command::SetRole { leg: leg(0, 1), role: Role::Listener });
    world.run(ms(500));
    world.forget();
    world.run(ms(1000));
    pure(&world, 3, Codec::L16At8, &[1525.0]);
    // Made a listener while it speaks and another does.
    world.command(Command::SetRole { leg: leg(0, 1), role: Role::Member });
    world.run(ms(500));
    world.command(Command::SetRole { leg: leg(0, 2), role: Role::Listener });
    world.run(ms(100));
    world.forget();
    world.run(ms(700));
    pure(&world, 2, Codec::L16At8, &[445.0]);
}

#[test]
fn a_sound_in_place_of_what_is_relayed_begins_without_a_burst() {
    for codec in [Codec::G722, Codec::Opus] {
        let mut world = World::new(2, 10);
        for n in 1..=2 {
            call(&mut world, n, codec, 20);
        }
        world.command(Command::Bridge { a: leg(0, 1), b: leg(0, 2) });
        say(&mut world, 1, 610.0);
        world.run(ms(2000));
        let tone = Tone { frequencies: vec![1130.0], level_dbm0: -40.0, duration: None };
        world.command(Command::PlayTone { leg: leg(0, 2), tone, token: Token(9) });
        world.run(ms(1000));
        // Past the beginning, where what is relayed comes from the middle of a stream.
        let samples = heard(&world, 2, codec);
        let peak = samples.iter().skip(samples.len() / 4).map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!((1_500..3_500).contains(&peak), "{codec:?}: {peak}");
    }
}
