//! Recordings: what comes and what goes, side by side.

mod common;

use std::sync::Arc;

use common::{World, config, leg, ms};
use ringback_audio::tone_level_dbm0;
use ringback_media_api::{Command, LegId, Tape, Token, Tone};

fn record(world: &mut World, leg: LegId, stereo: bool) -> Arc<Tape> {
    let tape = Arc::new(Tape::new(stereo, || {}));
    world.command(Command::Record { leg, tape: Arc::clone(&tape) });
    tape
}

fn tone(world: &mut World, leg: LegId, hz: f32) {
    let tone = Tone { frequencies: vec![hz], level_dbm0: -10.0, duration: None };
    world.command(Command::PlayTone { leg, tone, token: Token(1) });
}

/// What is on the tape, by channel.
fn heard(tape: &Tape) -> Vec<Vec<i16>> {
    let channels = usize::from(tape.channels());
    let all: Vec<i16> = std::iter::from_fn(|| tape.take()).flat_map(|block| block.samples.into_vec()).collect();
    (0..channels).map(|channel| all.iter().skip(channel).step_by(channels).copied().collect()).collect()
}

fn level(samples: &[i16], hz: f64) -> f64 {
    tone_level_dbm0(&samples[samples.len() / 3..samples.len() * 2 / 3], 8000, hz)
}

#[test]
fn both_directions_stand_side_by_side() {
    let (mut world, a, b) = World::call(1);
    world.link.delay = ms(30);
    world.link.jitter = ms(25);
    tone(&mut world, a, 1000.0);
    tone(&mut world, b, 400.0);
    let tape = record(&mut world, a, true);
    world.run(ms(3000));
    world.command(Command::Close { leg: a });
    assert!(tape.is_ended());
    let channels = heard(&tape);
    assert_eq!(channels[0].len(), channels[1].len());
    assert!((2.9..3.2).contains(&tape.recorded_seconds()), "{}", tape.recorded_seconds());
    assert!((level(&channels[0], 400.0) + 10.0).abs() < 0.5 && level(&channels[0], 1000.0) < -45.0);
    assert!((level(&channels[1], 1000.0) + 10.0).abs() < 0.5 && level(&channels[1], 400.0) < -45.0);
}

#[test]
fn a_mixed_recording_has_both() {
    let (mut world, a, b) = World::call(2);
    tone(&mut world, a, 1000.0);
    tone(&mut world, b, 400.0);
    let tape = record(&mut world, a, false);
    world.run(ms(2000));
    tape.stop();
    world.run(ms(100));
    assert!(tape.is_ended());
    let channels = heard(&tape);
    assert!((level(&channels[0], 400.0) + 10.0).abs() < 0.5 && (level(&channels[0], 1000.0) + 10.0).abs() < 0.5);
}

#[test]
fn what_is_relayed_is_recorded_as_it_leaves() {
    // a - (c bridged with d) - b
    let mut world = World::new(2, 3);
    let (a, b, c, d) = (leg(0, 1), leg(0, 2), leg(1, 1), leg(1, 2));
    for (leg, remote) in [(a, c), (c, a), (b, d), (d, b)] {
        world.open(leg, config(remote));
    }
    world.command(Command::Bridge { a: c, b: d });
    tone(&mut world, a, 1000.0);
    tone(&mut world, b, 400.0);
    let tape = record(&mut world, c, true);
    world.run(ms(2000));
    world.command(Command::Close { leg: c });
    let channels = heard(&tape);
    assert!((level(&channels[0], 1000.0) + 10.0).abs() < 0.5 && level(&channels[0], 400.0) < -45.0);
    assert!((level(&channels[1], 400.0) + 10.0).abs() < 0.5 && level(&channels[1], 1000.0) < -45.0);
}

#[test]
fn another_tape_ends_the_one_before_and_a_missing_leg_stops_it() {
    let (mut world, a, _) = World::call(4);
    let first = record(&mut world, a, false);
    world.run(ms(500));
    let second = record(&mut world, a, true);
    assert!(first.is_ended() && !second.is_ended());
    world.run(ms(500));
    world.command(Command::Close { leg: a });
    assert!(second.is_ended());
    let third = record(&mut world, a, true);
    assert!(third.is_stopped() && third.rate().is_none());
}

#[test]
fn a_stall_is_made_up_for() {
    let (mut world, a, b) = World::call(5);
    tone(&mut world, b, 400.0);
    let tape = record(&mut world, a, false);
    world.run(ms(500));
    world.stall(ms(700));
    world.run(ms(800));
    assert!((1.9..2.1).contains(&tape.recorded_seconds()), "{}", tape.recorded_seconds());
}
