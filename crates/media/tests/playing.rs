//! Sounds that are filled from elsewhere.

mod common;

use std::sync::Arc;

use common::{World, assert_continuous, ms};
use ringback_audio::pcmu_decode;
use ringback_media_api::{Command, Event, LegId, Sound, Token};

fn sound() -> Arc<Sound> {
    Arc::new(Sound::new(|| {}))
}

fn play(world: &mut World, leg: LegId, sound: &Arc<Sound>, token: u64) {
    world.command(Command::Play { leg, sound: Arc::clone(sound), token: Token(token) });
}

fn heard(world: &World, leg: LegId) -> Vec<i16> {
    let payloads: Vec<u8> = world.sent_by(leg).into_iter().flat_map(|sent| sent.payload).collect();
    let mut samples = vec![0; payloads.len()];
    pcmu_decode(&payloads, &mut samples);
    samples
}

fn ended(world: &World) -> Vec<(u64, bool)> {
    let ended = |event| match event {
        Event::PlayEnded { token, completed, .. } => Some((token.0, completed)),
        _ => None,
    };
    world.events().into_iter().filter_map(ended).collect()
}

#[test]
fn a_sound_is_sent_sample_by_sample_and_answered_with_its_last_packet() {
    let (mut world, a, _) = World::call(1);
    let wanted = sound();
    play(&mut world, a, &wanted, 7);
    assert_eq!(wanted.rate(), Some(8000));
    for _ in 0..5 {
        wanted.push(vec![8316; 800].into()).expect("room");
    }
    wanted.finish();
    world.run(ms(480));
    assert!(ended(&world).is_empty());
    world.run(ms(60));
    assert_eq!(ended(&world), [(7, true)]);
    let heard = heard(&world, a);
    assert_eq!(heard.iter().filter(|sample| **sample == 8316).count(), 4000);
    assert_continuous(&world.sent_by(a), 160);
}

#[test]
fn what_is_late_holds_its_place() {
    let (mut world, a, _) = World::call(2);
    let slow = sound();
    play(&mut world, a, &slow, 1);
    world.run(ms(200));
    assert!(ended(&world).is_empty());
    slow.push(vec![8316; 800].into()).expect("room");
    world.run(ms(300));
    assert!(ended(&world).is_empty());
    slow.push(vec![-8316; 160].into()).expect("room");
    slow.finish();
    world.run(ms(60));
    assert_eq!(ended(&world), [(1, true)]);
    let heard = heard(&world, a);
    assert_eq!(heard.iter().filter(|sample| **sample == 8316).count(), 800);
    assert_eq!(heard.iter().filter(|sample| **sample == -8316).count(), 160);
    assert_continuous(&world.sent_by(a), 160);
}

#[test]
fn whatever_ends_it_falls_and_is_answered_once() {
    for how in 0..5 {
        let (mut world, a, _) = World::call(3 + how);
        let long = sound();
        while long.has_room() {
            long.push(vec![8316; 800].into()).expect("room");
        }
        play(&mut world, a, &long, 1);
        world.run(ms(100));
        match how {
            0 => world.command(Command::StopPlaying { leg: a }),
            1 => long.stop(),
            2 => play(&mut world, a, &Arc::new(Sound::of(8000, &[100; 80])), 2),
            3 => world.command(Command::Close { leg: a }),
            _ => long.fail("the disk is gone".into()),
        }
        world.run(ms(1200));
        let expected: &[(u64, bool)] = if how == 2 { &[(1, false), (2, true)] } else { &[(1, false)] };
        assert_eq!(ended(&world), expected, "{how}");
        assert!(long.is_stopped(), "{how}: whoever fills it need not go on");
        let heard = heard(&world, a);
        let loud = heard.iter().filter(|sample| **sample == 8316).count();
        assert!(if how == 4 { loud == 8000 } else { (600..1000).contains(&loud) }, "{how}: {loud}");
        if how < 2 {
            let steepest = heard.windows(2).map(|pair| pair[0].abs_diff(pair[1])).skip(400).max();
            assert!(steepest < Some(600), "{how}: a click of {steepest:?}");
        }
    }
}

#[test]
fn a_leg_that_is_not_there_answers_at_once() {
    let (mut world, a, _) = World::call(9);
    world.command(Command::Close { leg: a });
    let nobody = sound();
    play(&mut world, a, &nobody, 5);
    assert_eq!(ended(&world), [(5, false)]);
    assert!(nobody.is_stopped());
}
