//! Conferences: who hears whom, shown by spectra. Engine 0 has the conference's legs, engine 1 the phones; each phone plays a tone of its
//! own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;

use common::*;
use ringback_audio::{level_dbm0, pcma_decode, pcmu_decode, tone_level_dbm0};
use ringback_media_api::{
    Codec, Command, Event, LegConfig, LegId, ReceiveFormat, Role, RoomId, SendFormat, Sound, Tape, Token, Tone,
};

const ROOM: RoomId = RoomId::new(0, 1);

/// The tone of phone `n`: far from the others and their harmonics.
fn pitch(n: u8) -> f32 {
    350.0 + 137.0 * f32::from(n)
}

fn join(world: &mut World, n: u8, role: Role) {
    world.command(Command::Join { leg: leg(0, n), room: ROOM, role });
}

fn say(world: &mut World, n: u8, level_dbm0: f32) {
    let tone = Tone { frequencies: vec![pitch(n)], level_dbm0, duration: None };
    world.command(Command::PlayTone { leg: leg(1, n), tone, token: Token(u64::from(n)) });
}

fn hush(world: &mut World, n: u8) {
    world.command(Command::StopPlaying { leg: leg(1, n) });
}

fn calls(seed: u64, legs: u8) -> World {
    let mut world = World::new(2, seed);
    for n in 1..=legs {
        world.open(leg(0, n), config(leg(1, n)));
        world.open(leg(1, n), config(leg(0, n)));
    }
    world
}

/// `legs` phones in a conference, each with its tone.
fn conference(seed: u64, legs: u8, level_dbm0: f32) -> World {
    let mut world = calls(seed, legs);
    for n in 1..=legs {
        join(&mut world, n, Role::Member);
        say(&mut world, n, level_dbm0);
    }
    world
}

/// What phone `n` was sent since the world was last told to forget.
fn heard(world: &World, n: u8) -> Vec<i16> {
    let mut all = Vec::new();
    for sent in world.sent_by(leg(0, n)) {
        let mut samples = vec![0; sent.payload.len()];
        match sent.header.payload_type {
            0 => pcmu_decode(&sent.payload, &mut samples),
            8 => pcma_decode(&sent.payload, &mut samples),
            _ => continue,
        }
        all.extend(samples);
    }
    all
}

fn level(samples: &[i16], n: u8) -> f64 {
    tone_level_dbm0(samples, 8000, f64::from(pitch(n)))
}

/// Phone `n` hears just `others`, each at `at` dBm0.
fn assert_hears(world: &World, n: u8, others: &[u8], among: u8, at: f64) {
    let samples = heard(world, n);
    for other in 1..=among {
        let level = level(&samples, other);
        if others.contains(&other) {
            assert!((level - at).abs() < 1.0, "{n} hears {other} at {level:.1}");
        } else {
            assert!(level < at - 25.0, "{n} hears {other} at {level:.1}, and should not");
        }
    }
}

fn others(n: u8, of: u8) -> Vec<u8> {
    (1..=of).filter(|other| *other != n).collect()
}

fn talking(world: &World) -> Vec<(LegId, bool)> {
    let talk = |event: Event| match event {
        Event::Talking { leg, talking } => Some((leg, talking)),
        _ => None,
    };
    world.events().into_iter().filter_map(talk).collect()
}

#[test]
fn each_hears_all_but_itself() {
    for legs in [2, 3, 10] {
        let mut world = conference(1, legs, -25.0);
        world.run(ms(500));
        world.forget();
        world.run(ms(1000));
        for n in 1..=legs {
            assert_hears(&world, n, &others(n, legs), legs, -25.0);
            assert_continuous(&world.sent_by(leg(0, n)), 160);
        }
    }
}

#[test]
fn a_lossy_path_spoils_what_comes_by_it_and_no_more() {
    let mut world = conference(2, 3, -20.0);
    world.link = Link { delay: ms(20), jitter: ms(30), loss_percent: 5.0, duplicate_percent: 5.0 };
    world.run(ms(500));
    world.forget();
    world.run(ms(3000));
    for n in 1..=3 {
        let samples = heard(&world, n);
        for other in others(n, 3) {
            assert!((level(&samples, other) + 20.0).abs() < 2.0, "{:.1}", level(&samples, other));
        }
        assert_continuous(&world.sent_by(leg(0, n)), 160);
    }
}

#[test]
fn the_sum_saturates_and_never_wraps() {
    let mut world = conference(3, 4, 3.0);
    for (n, pitch) in [(2, 210.0), (3, 270.0), (4, 330.0)] {
        let tone = Tone { frequencies: vec![pitch], level_dbm0: 3.0, duration: None };
        world.command(Command::PlayTone { leg: leg(1, n), tone, token: Token(0) });
    }
    world.run(ms(500));
    world.forget();
    world.run(ms(1000));
    let samples = heard(&world, 1);
    assert!(samples.iter().any(|s| s.unsigned_abs() > 32_000), "it is loud");
    // Three full sines together move by less than 22,000 a sample.
    let worst = samples.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap();
    assert!(worst < 25_000, "a jump by {worst}");
    for pitch in [210.0, 270.0, 330.0] {
        assert!(tone_level_dbm0(&samples, 8000, pitch) > -5.0);
    }
}

#[test]
fn of_many_the_loudest_are_heard() {
    let mut world = calls(4, 21);
    for n in 1..=20 {
        join(&mut world, n, Role::Member);
        say(&mut world, n, if n <= 12 { -28.0 } else { -40.0 });
    }
    join(&mut world, 21, Role::Listener);
    world.run(ms(1000));
    world.forget();
    world.run(ms(2000));
    assert_hears(&world, 21, &(1..=12).collect::<Vec<_>>(), 20, -28.0);
    // Not by their place in the room: another twelve.
    for n in 1..=8 {
        hush(&mut world, n);
    }
    world.run(ms(500));
    world.forget();
    world.run(ms(2000));
    let samples = heard(&world, 21);
    for n in 9..=20 {
        let expected = if n <= 12 { -28.0 } else { -40.0 };
        assert!((level(&samples, n) - expected).abs() < 1.5, "{n}: {:.1}", level(&samples, n));
    }
}

/// The power above 2 kHz in the loudest 20 ms, dBm0, of signals below 1 kHz.
fn splatter(samples: &[i16]) -> f64 {
    let high = |window: &[i16]| {
        let powers = (0..38).map(|n| 10_f64.powf(tone_level_dbm0(window, 8000, 2050.0 + 50.0 * f64::from(n)) / 10.0));
        10.0 * powers.sum::<f64>().log10()
    };
    let windows = samples.windows(160).step_by(40).filter(|w| level_dbm0(w).is_finite());
    windows.map(high).fold(f64::NEG_INFINITY, f64::max)
}

#[test]
fn joining_and_leaving_make_no_click() {
    let mut world = conference(5, 3, -12.0);
    world.run(ms(500));
    world.forget();
    world.run(ms(500));
    let steady: Vec<f64> = (1..=3).map(|n| splatter(&heard(&world, n)) + 8.0).collect();
    let assert_no_click = |world: &World, n: u8| {
        let (found, most) = (splatter(&heard(world, n)), steady[usize::from(n) - 1]);
        assert!(found < most, "{n}: {found:.1} above {most:.1}");
    };
    // In the middle of its tone.
    for leave in [Command::Unbridge { leg: leg(0, 3) }, Command::SetRole { leg: leg(0, 3), role: Role::Listener }] {
        world.forget();
        world.command(leave);
        world.run(ms(500));
        assert_hears(&world, 2, &[1], 1, -12.0);
        assert!(level(&heard(&world, 1)[1600..], 3) < -50.0);
        for n in [1, 2, 3] {
            assert_no_click(&world, n);
        }
        world.forget();
        join(&mut world, 3, Role::Member);
        world.run(ms(500));
        for n in [1, 2, 3] {
            assert_no_click(&world, n);
        }
        world.forget();
        world.run(ms(500));
        assert_hears(&world, 3, &[1, 2], 3, -12.0);
    }
    // One whose call ends.
    world.forget();
    world.command(Command::Close { leg: leg(0, 3) });
    world.run(ms(500));
    for n in [1, 2] {
        assert_no_click(&world, n);
        assert!(level(&heard(&world, n)[1600..], 3) < -50.0);
    }
}

#[test]
fn a_cut_tone_would_be_a_click() {
    // What the measure above is worth.
    let mut samples: Vec<i16> =
        (0..4000).map(|n| (8000.0 * (std::f64::consts::TAU * 487.0 * f64::from(n) / 8000.0).cos()) as i16).collect();
    let steady = splatter(&samples);
    samples[2000..].fill(0);
    assert!(splatter(&samples) > steady + 20.0, "{} {steady}", splatter(&samples));
}

#[test]
fn talking_is_told_when_it_begins_and_when_it_is_over() {
    let mut world = calls(6, 3);
    for n in 1..=3 {
        join(&mut world, n, Role::Member);
    }
    world.run(ms(1000));
    assert_eq!(talking(&world), []);
    say(&mut world, 2, -20.0);
    world.run(ms(400));
    assert_eq!(talking(&world), [(leg(0, 2), true)]);
    hush(&mut world, 2);
    world.run(ms(300));
    say(&mut world, 2, -20.0);
    world.run(ms(400));
    assert_eq!(talking(&world).len(), 1, "a pause between words");
    hush(&mut world, 2);
    world.run(ms(1000));
    assert_eq!(talking(&world), [(leg(0, 2), true), (leg(0, 2), false)]);
    // A call that sends nothing any more is silent too.
    say(&mut world, 3, -20.0);
    world.run(ms(400));
    world.command(Command::Transmit { leg: leg(1, 3), on: false });
    world.run(ms(1000));
    assert_eq!(talking(&world)[2..], [(leg(0, 3), true), (leg(0, 3), false)]);
    // And so is one that may not speak.
    world.command(Command::Transmit { leg: leg(1, 3), on: true });
    world.run(ms(400));
    world.command(Command::SetRole { leg: leg(0, 3), role: Role::Listener });
    world.run(ms(400));
    assert_eq!(talking(&world)[4..], [(leg(0, 3), true), (leg(0, 3), false)]);
}

#[test]
fn who_becomes_a_listener_while_speaking_does_not_hear_itself() {
    let mut world = conference(17, 3, -22.0);
    world.run(ms(500));
    world.command(Command::SetRole { leg: leg(0, 3), role: Role::Listener });
    world.run(ms(200));
    world.forget();
    world.run(ms(500));
    for (n, others) in [(1, vec![2]), (2, vec![1]), (3, vec![1, 2])] {
        assert_hears(&world, n, &others, 3, -22.0);
    }
    // Nor is anything left of it when nobody else speaks.
    hush(&mut world, 1);
    hush(&mut world, 2);
    world.run(ms(300));
    world.forget();
    world.run(ms(500));
    let left = level_dbm0(&heard(&world, 3));
    assert!(left < -60.0, "{left:.1}");
}

#[test]
fn listeners_hear_and_whispers_reach_one() {
    let mut world = conference(7, 4, -22.0);
    world.command(Command::SetRole { leg: leg(0, 3), role: Role::Listener });
    world.command(Command::SetRole { leg: leg(0, 4), role: Role::Whisper { beside: leg(0, 1) } });
    world.run(ms(500));
    world.forget();
    world.run(ms(1000));
    let of = [(1, vec![2, 4]), (2, vec![1]), (3, vec![1, 2]), (4, vec![1, 2])];
    for (n, others) in &of {
        assert_hears(&world, *n, others, 4, -22.0);
    }
    // The one beside leaves: nobody hears the whisper. It comes back: it does.
    world.command(Command::Unbridge { leg: leg(0, 1) });
    world.run(ms(200));
    world.forget();
    world.run(ms(500));
    for (n, others) in [(2, vec![]), (3, vec![2]), (4, vec![2])] {
        assert_hears(&world, n, &others, 4, -22.0);
    }
    join(&mut world, 1, Role::Member);
    world.run(ms(500));
    world.forget();
    world.run(ms(500));
    for (n, others) in &of {
        assert_hears(&world, *n, others, 4, -22.0);
    }
    // To another, to all, to a listener.
    for (role, of) in [
        (Role::Whisper { beside: leg(0, 2) }, [(1, vec![2]), (2, vec![1, 4]), (3, vec![1, 2])]),
        (Role::Member, [(1, vec![2, 4]), (2, vec![1, 4]), (3, vec![1, 2, 4])]),
        (Role::Whisper { beside: leg(0, 3) }, [(1, vec![2]), (2, vec![1]), (3, vec![1, 2, 4])]),
    ] {
        world.command(Command::SetRole { leg: leg(0, 4), role });
        world.run(ms(200));
        world.forget();
        world.run(ms(500));
        for (n, others) in of {
            assert_hears(&world, n, &others, 4, -22.0);
        }
        assert_hears(&world, 4, &[1, 2], 4, -22.0);
    }
}

#[test]
fn all_who_hear_the_same_share_one_encoding() {
    let mut world = calls(8, 9);
    for n in 1..=9 {
        join(&mut world, n, if n > 3 { Role::Listener } else { Role::Member });
    }
    say(&mut world, 1, -20.0);
    say(&mut world, 2, -20.0);
    world.run(ms(300));
    world.forget();
    world.run(ms(400));
    let payloads = |n| world.sent_by(leg(0, n)).into_iter().map(|sent| sent.payload).collect::<Vec<_>>();
    // The third may speak, and does not.
    for n in 4..=9 {
        assert_eq!(payloads(n), payloads(3));
    }
    assert_ne!(payloads(1), payloads(3));
}

#[test]
fn packet_times_and_laws_may_differ() {
    for (a, b, c) in [(10, 20, 30), (40, 30, 20), (60, 10, 50), (30, 30, 30)] {
        let mut world = World::new(2, 9);
        let with = |remote: LegId, codec, ptime_ms| LegConfig {
            send: Some(SendFormat { codec, payload_type: if codec == Codec::Pcma { 8 } else { 0 }, ptime_ms }),
            ..config(remote)
        };
        for (n, codec, ptime) in [(1, Codec::Pcmu, a), (2, Codec::Pcma, b), (3, Codec::Pcma, c)] {
            world.open(leg(0, n), with(leg(1, n), codec, ptime));
            world.open(leg(1, n), with(leg(0, n), codec, ptime));
            join(&mut world, n, Role::Member);
            say(&mut world, n, -20.0);
        }
        world.run(ms(600));
        world.forget();
        world.run(ms(1200));
        for (n, ptime) in [(1, a), (2, b), (3, c)] {
            assert_hears(&world, n, &others(n, 3), 3, -20.0);
            let sent = world.sent_by(leg(0, n));
            assert_continuous(&sent, u32::from(ptime) * 8);
            let gap = heard(&world, n).chunks(40).any(|c| level_dbm0(c) < -35.0);
            assert!(!gap, "a gap in packets of {ptime} ms");
        }
    }
}

#[test]
fn a_law_changed_in_a_conference_makes_no_gap() {
    let mut world = conference(10, 3, -20.0);
    world.run(ms(500));
    world.forget();
    let pcma = |remote| LegConfig {
        send: Some(SendFormat { codec: Codec::Pcma, payload_type: 8, ptime_ms: 20 }),
        receive: vec![
            ReceiveFormat { codec: Codec::Pcma, payload_type: 8 },
            ReceiveFormat { codec: Codec::Pcmu, payload_type: 0 },
        ],
        ..config(remote)
    };
    world.configure(leg(0, 1), pcma(leg(1, 1)));
    world.configure(leg(1, 1), pcma(leg(0, 1)));
    world.run(ms(1000));
    for n in 1..=3 {
        assert_hears(&world, n, &others(n, 3), 3, -20.0);
        assert!(splatter(&heard(&world, n)) < -45.0, "{n}: {:.1}", splatter(&heard(&world, n)));
    }
    assert!(world.sent_by(leg(0, 1)).iter().all(|sent| sent.header.payload_type == 8));
}

#[test]
fn gain_and_mute() {
    let mut world = conference(11, 3, -25.0);
    world.command(Command::SetGain { leg: leg(0, 1), gain_db: 10.0 });
    world.command(Command::Mute { leg: leg(0, 2), on: true });
    world.run(ms(500));
    world.forget();
    world.run(ms(500));
    let samples = heard(&world, 3);
    assert!((level(&samples, 1) + 15.0).abs() < 0.5 && (level(&samples, 2) + 25.0).abs() < 0.5);
    assert!(heard(&world, 2).iter().all(|s| *s == 0), "a muted leg is sent silence");
}

#[test]
fn what_a_leg_plays_is_what_it_sends() {
    let mut world = conference(12, 3, -25.0);
    world.run(ms(500));
    world.forget();
    let tone = Tone { frequencies: vec![2000.0], level_dbm0: -15.0, duration: None };
    world.command(Command::PlayTone { leg: leg(0, 1), tone, token: Token(99) });
    world.run(ms(500));
    assert!((tone_level_dbm0(&heard(&world, 1), 8000, 2000.0) + 15.0).abs() < 0.5);
    assert!(level(&heard(&world, 1)[400..], 2) < -55.0);
    assert_hears(&world, 2, &[1, 3], 3, -25.0);
    assert!(tone_level_dbm0(&heard(&world, 2), 8000, 2000.0) < -60.0, "an announcement to one");
}

#[test]
fn an_announcement_is_heard_by_all_and_mixed() {
    let mut world = conference(18, 3, -25.0);
    world.command(Command::SetRole { leg: leg(0, 3), role: Role::Listener });
    world.run(ms(500));
    let samples = |hz: f64| -> Vec<i16> {
        (0..8000).map(|n| (3000.0 * (std::f64::consts::TAU * hz * f64::from(n) / 8000.0).sin()) as i16).collect()
    };
    let play = |world: &mut World, hz, token| {
        let sound = Arc::new(Sound::of(8000, &samples(hz)));
        world.command(Command::PlayToRoom { room: ROOM, sound, token: Token(token) });
    };
    let played = |world: &World| {
        let events = world.events().into_iter();
        let played = |event| match event {
            Event::RoomPlayed { token, completed, .. } => Some((token.0, completed)),
            _ => None,
        };
        events.filter_map(played).collect::<Vec<_>>()
    };
    play(&mut world, 2000.0, 50);
    world.forget();
    world.run(ms(900));
    for (n, others) in [(1, vec![2]), (2, vec![1]), (3, vec![1, 2])] {
        assert_hears(&world, n, &others, 3, -25.0);
        let level = tone_level_dbm0(&heard(&world, n), 8000, 2000.0);
        assert!((level + 17.6).abs() < 1.0, "{n}: {level:.1}");
    }
    assert_eq!(played(&world), []);
    world.run(ms(200));
    assert_eq!(played(&world), [(50, true)]);
    // Another takes its place; the end of the room ends it.
    world.forget();
    play(&mut world, 2000.0, 51);
    world.run(ms(100));
    play(&mut world, 2200.0, 52);
    world.run(ms(100));
    assert_eq!(played(&world), [(51, false)]);
    world.command(Command::CloseRoom { room: ROOM });
    assert_eq!(played(&world), [(51, false), (52, false)]);
    // Nobody is there to hear it, and its time passes.
    world.run(ms(100));
    world.forget();
    play(&mut world, 2000.0, 53);
    world.run(ms(500));
    assert_eq!(played(&world), []);
    world.run(ms(600));
    assert_eq!(played(&world), [(53, true)]);
    world.run(ms(100));
    assert_eq!(world.engines[0].live_rooms(), 0);
}

#[test]
fn from_a_bridge_into_a_conference_and_back() {
    let mut world = calls(13, 3);
    for n in 1..=3 {
        say(&mut world, n, -25.0);
    }
    world.command(Command::Bridge { a: leg(0, 1), b: leg(0, 2) });
    world.run(ms(500));
    world.forget();
    for n in 1..=3 {
        join(&mut world, n, Role::Member);
    }
    world.run(ms(1000));
    for n in 1..=3 {
        let silent = heard(&world, n).chunks(160).filter(|c| level_dbm0(c) < -50.0).count();
        assert!(n == 3 || silent <= 4, "{silent} frames of silence until the playout buffer is filled");
        assert_continuous(&world.sent_by(leg(0, n)), 160);
    }
    world.forget();
    world.run(ms(500));
    for n in 1..=3 {
        assert_hears(&world, n, &others(n, 3), 3, -25.0);
    }
    world.command(Command::Bridge { a: leg(0, 1), b: leg(0, 2) });
    world.run(ms(100));
    world.forget();
    world.run(ms(500));
    for (n, others) in [(1, vec![2]), (2, vec![1]), (3, vec![])] {
        assert_hears(&world, n, &others, 3, -25.0);
    }
}

#[test]
fn a_room_lives_as_long_as_it_has_members() {
    let mut world = conference(14, 3, -25.0);
    world.run(ms(300));
    assert_eq!(world.engines[0].live_rooms(), 1);
    world.command(Command::CloseRoom { room: ROOM });
    world.run(ms(100));
    world.forget();
    world.run(ms(300));
    assert_eq!(world.engines[0].live_rooms(), 0);
    for n in 1..=3 {
        assert_hears(&world, n, &[], 3, -25.0);
    }
    // The number may come back at once.
    for n in 1..=3 {
        join(&mut world, n, Role::Member);
    }
    world.command(Command::CloseRoom { room: ROOM });
    for n in 1..=3 {
        join(&mut world, n, Role::Member);
    }
    world.run(ms(300));
    assert_eq!(world.engines[0].live_rooms(), 1);
    for n in 1..=3 {
        world.command(Command::Close { leg: leg(0, n) });
    }
    world.run(ms(100));
    assert_eq!(world.engines[0].live_rooms(), 0);
}

#[test]
fn a_held_member_neither_hears_nor_is_heard() {
    let mut world = conference(15, 3, -25.0);
    world.configure(leg(0, 1), LegConfig { may_receive: false, may_send: false, ..config(leg(1, 1)) });
    world.run(ms(300));
    world.forget();
    world.run(ms(300));
    assert!(world.sent_by(leg(0, 1)).is_empty());
    assert_hears(&world, 2, &[3], 3, -25.0);
    world.configure(leg(0, 1), config(leg(1, 1)));
    world.run(ms(300));
    world.forget();
    world.run(ms(300));
    for n in 1..=3 {
        assert_hears(&world, n, &others(n, 3), 3, -25.0);
    }
}

#[test]
fn a_stall_costs_its_own_time_and_no_more() {
    let mut world = conference(16, 3, -25.0);
    world.run(ms(500));
    world.stall(ms(150));
    world.run(ms(250));
    world.forget();
    world.run(ms(1000));
    for n in 1..=3 {
        assert_hears(&world, n, &others(n, 3), 3, -25.0);
        assert_continuous(&world.sent_by(leg(0, n)), 160);
    }
}

#[test]
fn a_panic_in_one_member_leaves_the_others_in_conference() {
    let mut world = conference(17, 3, -25.0);
    world.run(ms(300));
    world.out.explosive = Some(leg(0, 1));
    world.run(ms(100));
    assert!(world.events().iter().any(|e| matches!(e, Event::Failed { leg: failed, .. } if *failed == leg(0, 1))));
    world.forget();
    world.run(ms(500));
    assert_hears(&world, 2, &[3], 3, -25.0);
    assert_hears(&world, 3, &[2], 3, -25.0);
}

/// The largest step between two samples.
fn largest_step(samples: &[i16]) -> i32 {
    samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap_or(0)
}

#[test]
fn sounds_that_are_replaced_or_stopped_do_not_click() {
    // A period of 73 samples is no part of a packet: cut off, it would step by thousands. By itself it steps by 517.
    let sine = |ms: i32| -> Vec<i16> {
        (0..ms * 8).map(|n| (6000.0 * (f64::from(n) / 73.0 * std::f64::consts::TAU).sin()) as i16).collect()
    };
    let mut world = calls(20, 2);
    for n in 1..=2 {
        join(&mut world, n, Role::Member);
    }
    world.run(ms(300));
    world.forget();
    for (token, wait) in [(1, 133), (2, 215), (3, 147)] {
        let sound = Arc::new(Sound::of(8000, &sine(1000)));
        world.command(Command::PlayToRoom { room: ROOM, sound, token: Token(token) });
        world.run(ms(wait));
    }
    world.command(Command::CloseRoom { room: ROOM });
    world.run(ms(200));
    let samples = heard(&world, 1);
    assert!(samples.iter().any(|sample| sample.abs() > 5000));
    assert!(largest_step(&samples) < 1000, "{}", largest_step(&samples));

    // The same for what one leg alone is played.
    let mut world = calls(21, 1);
    world.run(ms(100));
    world.forget();
    for (token, wait) in [(1, 133), (2, 215), (3, 147)] {
        let sound = Arc::new(Sound::of(8000, &sine(1000)));
        world.command(Command::Play { leg: leg(0, 1), sound, token: Token(token) });
        world.run(ms(wait));
    }
    world.command(Command::StopPlaying { leg: leg(0, 1) });
    world.run(ms(200));
    let samples = heard(&world, 1);
    assert!(samples.iter().any(|sample| sample.abs() > 5000));
    assert!(largest_step(&samples) < 1000, "{}", largest_step(&samples));
}

#[test]
fn a_recording_of_a_room_keeps_its_time_over_a_stall() {
    let mut world = conference(22, 3, -20.0);
    world.run(ms(300));
    let tape = Arc::new(Tape::new(false, || {}));
    world.command(Command::RecordRoom { room: ROOM, tape: tape.clone() });
    world.run(ms(1000));
    world.stall(ms(700));
    world.run(ms(1300));
    tape.stop();
    world.run(ms(100));
    let seconds = tape.recorded_seconds();
    assert!((2.9..=3.1).contains(&seconds), "{seconds} of three seconds");
    assert!(world.events().iter().any(|event| matches!(event, Event::RoomRecorded { room } if *room == ROOM)));
}

#[test]
fn of_many_who_are_made_listeners_none_goes_deaf() {
    let mut world = calls(20, 60);
    for n in 1..=60 {
        join(&mut world, n, Role::Member);
    }
    say(&mut world, 1, -20.0);
    say(&mut world, 2, -20.0);
    world.run(ms(500));
    for n in 3..=60 {
        world.command(Command::SetRole { leg: leg(0, n), role: Role::Listener });
        world.run(ms(7));
    }
    world.forget();
    world.run(ms(400));
    for n in 3..=60 {
        assert_hears(&world, n, &[1, 2], 2, -20.0);
    }
}

#[test]
fn a_sound_goes_on_unchanged_while_its_call_moves_from_room_to_room() {
    let mut world = conference(21, 3, -20.0);
    let tone = Tone { frequencies: vec![1525.0], level_dbm0: -10.0, duration: None };
    world.command(Command::PlayTone { leg: leg(0, 1), tone, token: Token(9) });
    world.run(ms(500));
    world.forget();
    world.run(ms(203));
    // What is left of a tone that goes on when each sample is foretold by the two before.
    let surprise = |samples: &[i16]| {
        let turn = 2.0 * (1525.0 * std::f64::consts::TAU / 8000.0).cos();
        let left = |of: &[i16]| (f64::from(of[2]) - turn * f64::from(of[1]) + f64::from(of[0])).abs();
        samples.windows(3).map(left).fold(0.0, f64::max)
    };
    let most = surprise(&heard(&world, 1));
    world.forget();
    for room in 2..8 {
        world.command(Command::Unbridge { leg: leg(0, 1) });
        world.command(Command::Join { leg: leg(0, 1), room: RoomId::new(0, room), role: Role::Member });
        world.run(ms(97));
    }
    let left = surprise(&heard(&world, 1));
    assert!(left <= 1.5 * most, "{left:.0} above {most:.0}");
}
