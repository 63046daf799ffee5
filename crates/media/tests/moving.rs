//! Legs that go from one media thread to another. What a leg does is told twice, by a world in which it stays and by one in which it moves
//! again and again: nobody outside can tell them apart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use ringback_audio::{dominant_frequency, pcmu_decode, pcmu_encode, tone_level_dbm0};
use ringback_media_api::{AudioPort, Command, Detection, Event, LegId, Role, RoomId, Sound, Tape, Token, Tone};
use ringback_time::Mono;

const PHONE: LegId = LegId::new(7, 9);
/// Milliseconds of a story.
const LENGTH: u64 = 3000;

/// How often a leg moves, and how long each time.
#[derive(Clone, Copy)]
struct Moves {
    each_ms: u64,
    travel: Duration,
}

const NEVER: Moves = Moves { each_ms: u64::MAX, travel: Duration::ZERO };

/// What others see of one leg.
#[derive(Debug, PartialEq)]
struct Story {
    /// Header but for the SSRC, and payload.
    sent: Vec<(u16, u32, bool, u8, Vec<u8>)>,
    events: Vec<Event>,
    /// What a program has heard, and what was recorded.
    heard: Vec<i16>,
    recorded: Vec<i16>,
    received: u64,
    lost: u64,
}

/// A leg with a scripted peer whose packets are lost, late and out of order in the same way each time.
struct Stage {
    world: World,
    leg: LegId,
    moves: Moves,
    tape: Option<Arc<Tape>>,
    port: Option<Arc<AudioPort>>,
    heard: Vec<i16>,
}

impl Stage {
    fn new(moves: Moves) -> Stage {
        let mut world = World::new(3, 11);
        world.travel = moves.travel;
        let leg = leg(0, 1);
        world.open(leg, config(PHONE));
        Stage { world, leg, moves, tape: None, port: None, heard: Vec::new() }
    }

    /// The peer's packet of number `n`: a voice of 600 Hz with pauses, and now and then an event.
    fn says(n: u64) -> Vec<u8> {
        let sequence = 65_000_u16.wrapping_add(n as u16);
        if (90..100).contains(&(n % 150)) {
            let end = n % 150 >= 97;
            let duration = (160 * (n % 150 - 89)) as u16;
            let payload = [5, u8::from(end) << 7 | 10, (duration >> 8) as u8, duration as u8];
            return packet(DTMF, sequence, (160 * (n / 150 * 150 + 90)) as u32, 77, &payload);
        }
        let on = n % 80 < 60;
        let sample = |i: u64| (f64::from(i as u32) * 600.0 * std::f64::consts::TAU / 8000.0).sin() * 8000.0;
        let samples: Vec<i16> = (n * 160..(n + 1) * 160).map(|i| if on { sample(i) as i16 } else { 0 }).collect();
        let mut payload = vec![0; 160];
        pcmu_encode(&samples, &mut payload);
        packet(0, sequence, (160 * n) as u32, 77, &payload)
    }

    /// Runs for the length of a story; `act` is called each millisecond.
    fn run(&mut self, mut act: impl FnMut(&mut Stage, u64)) {
        let mut random = ChaCha12Rng::seed_from_u64(3);
        let mut due: Vec<(u64, u64)> = Vec::new();
        for n in 0..LENGTH / 20 {
            if random.next_u32() % 100 >= 5 {
                due.push((n * 20 + 3 + u64::from(random.next_u32() % 30), n));
            }
        }
        for ms_now in 0..LENGTH {
            act(self, ms_now);
            if ms_now % self.moves.each_ms == 7 {
                let to = (self.world.place(self.leg) as u8 + 1 + (ms_now % 2) as u8) % 3;
                self.world.move_to(self.leg, to);
            }
            for (_, n) in due.iter().filter(|(at, _)| *at == ms_now) {
                self.world.deliver(rtp_address(PHONE), self.leg, &Stage::says(*n));
            }
            self.world.run(ms(1));
            if let Some(port) = &self.port {
                while let Some(frame) = port.read() {
                    self.heard.extend(frame.iter());
                }
            }
        }
        // Whoever is on its way arrives.
        self.world.run(ms(10));
    }

    fn story(mut self) -> (Story, Vec<Mono>) {
        let statistics = self.world.statistics(self.leg);
        let sent = self.world.sent_by(self.leg);
        let head = |sent: &Sent| {
            let header = &sent.header;
            (header.sequence, header.timestamp, header.marker, header.payload_type, sent.payload.clone())
        };
        let recorded = self.tape.iter().flat_map(|tape| std::iter::from_fn(|| tape.take()));
        let story = Story {
            events: self.world.events(),
            heard: self.heard,
            recorded: recorded.flat_map(|block| block.samples.into_vec()).collect(),
            received: statistics.packets_received,
            lost: statistics.packets_lost,
            sent: sent.iter().map(head).collect(),
        };
        assert!(sent.windows(2).all(|pair| pair[0].header.ssrc == pair[1].header.ssrc), "one SSRC");
        (story, sent.iter().map(|sent| sent.at).collect())
    }
}

/// The same story by a leg that stays, and by one that moves; and that each packet leaves at most `late` after it should.
fn told_twice(tell: impl Fn(&mut Stage)) -> Story {
    let tell = |moves| {
        let mut stage = Stage::new(moves);
        tell(&mut stage);
        stage.story()
    };
    let (stays, on_time) = tell(NEVER);
    assert!(stays.sent.len() >= (LENGTH / 20) as usize - 2, "{} packets", stays.sent.len());
    for moves in [
        Moves { each_ms: 50, travel: Duration::ZERO },
        Moves { each_ms: 31, travel: Duration::from_micros(700) },
        Moves { each_ms: 97, travel: Duration::from_millis(6) },
    ] {
        let (moves_on, times) = tell(moves);
        assert_eq!(moves_on.events, stays.events, "{:?}", moves.travel);
        assert_eq!(moves_on, stays, "{:?}", moves.travel);
        for (at, should) in times.iter().zip(&on_time) {
            assert!(*at <= *should + moves.travel, "{:?} late", at.since(*should));
        }
    }
    stays
}

#[test]
fn a_sound_and_digits_that_are_sent_go_on_sample_by_sample() {
    let story = told_twice(|stage| {
        stage.run(|stage, now| {
            let leg = stage.leg;
            match now {
                100 => {
                    let samples: Vec<i16> = (0..16_000_u32).map(|i| ((i * 37) % 9000) as i16 - 4500).collect();
                    let sound = Arc::new(Sound::of(16_000, &samples));
                    stage.world.command(Command::Play { leg, sound, token: Token(1) });
                }
                1300 => {
                    let digits = "12#".to_owned();
                    let (duration_ms, gap_ms, token) = (100, 60, Token(2));
                    stage.world.command(Command::SendDtmf { leg, digits, duration_ms, gap_ms, token });
                }
                2000 => {
                    let digits = "47".to_owned();
                    let (duration_ms, gap_ms, token) = (90, 50, Token(3));
                    stage.world.command(Command::SendTones { leg, digits, duration_ms, gap_ms, token });
                }
                _ => {}
            }
        });
    });
    let done = |event: &&Event| matches!(event, Event::PlayEnded { .. } | Event::DtmfSent { .. });
    assert_eq!(story.events.iter().filter(done).count(), 3);
}

#[test]
fn what_comes_is_heard_recorded_and_told_as_if_nothing_had_been() {
    let story = told_twice(|stage| {
        let leg = stage.leg;
        let tape = Arc::new(Tape::new(true, || {}));
        stage.world.command(Command::Record { leg, tape: Arc::clone(&tape) });
        let port = Arc::new(AudioPort::new(16_000, 30, 1000));
        stage.world.command(Command::OpenAudio { leg, port: Arc::clone(&port) });
        let detection = Some(Detection { onset_ms: 60, hangover_ms: 200 });
        stage.world.command(Command::Detect { leg, detection });
        stage.world.command(Command::Monitor { leg, interval: Some(ms(500)) });
        (stage.tape, stage.port) = (Some(tape), Some(Arc::clone(&port)));
        stage.run(|_, now| {
            if now % 40 == 0 {
                let samples: Vec<i16> = (0..640_u64).map(|i| ((now * 16 + i) % 5000) as i16).collect();
                assert_eq!(port.write(&samples), 640);
            }
        });
    });
    assert!(story.received > 130 && story.lost > 0, "{} {}", story.received, story.lost);
    assert!(story.heard.len() > 40_000 && story.recorded.len() > 40_000);
    let digits = story.events.iter().filter(|event| matches!(event, Event::Dtmf { digit: '5', .. })).count();
    assert_eq!(digits, 1);
}

#[test]
fn an_echo_loses_nothing() {
    let echo = |moves: Moves| {
        let mut stage = Stage::new(moves);
        stage.world.command(Command::Echo { leg: stage.leg, on: true });
        stage.run(|_, _| {});
        stage.story().0
    };
    let stays = echo(NEVER);
    for travel in [0, 5] {
        let moves = echo(Moves { each_ms: 60, travel: ms(travel) });
        let payloads = |story: &Story| -> Vec<Vec<u8>> {
            let said = story.sent.iter().map(|sent| &sent.4);
            said.filter(|payload| payload.iter().any(|octet| *octet != 0xff)).cloned().collect()
        };
        assert_eq!(payloads(&moves), payloads(&stays));
        assert_eq!((moves.received, moves.lost), (stays.received, stays.lost));
        if travel == 0 {
            assert_eq!(moves.sent, stays.sent);
        }
    }
}

#[test]
fn a_command_that_follows_at_once_finds_the_leg_and_so_does_a_close() {
    let mut world = World::new(3, 5);
    world.travel = ms(8);
    let (a, b) = (leg(0, 1), leg(1, 1));
    for leg in [a, b] {
        world.open(leg, config(PHONE));
    }
    world.run(ms(100));
    world.forget();
    world.move_to(a, 2);
    world.command(Command::Statistics { leg: a, token: Token(1) });
    world.move_to(a, 1);
    world.command(Command::Bridge { a: b, b: a });
    world.command(Command::Statistics { leg: b, token: Token(2) });
    world.command(Command::Close { leg: a });
    world.run(ms(7));
    assert_eq!(world.events(), [], "all of it waits: it concerns who is on the way, or is bridged with it");
    world.run(ms(2));
    assert!(matches!(world.events()[..], [Event::Statistics { leg, token: Token(1), .. }] if leg == a));
    world.run(ms(8));
    let events = world.events();
    let [_, Event::Statistics { leg, .. }, Event::Closed { leg: closed, statistics }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((*leg, *closed, statistics.packets_sent), (b, a, 5));
    let legs: Vec<usize> = world.engines.iter().map(ringback_media::MediaEngine::live_legs).collect();
    assert_eq!(legs, [0, 1, 0]);
}

#[test]
fn a_leg_that_is_not_there_any_more_holds_nobody_up() {
    let mut world = World::new(2, 5);
    let (a, b) = (leg(0, 1), leg(1, 1));
    world.open(b, config(PHONE));
    world.move_to(a, 1);
    world.command(Command::Bridge { a, b });
    world.command(Command::Close { leg: a });
    assert!(matches!(world.events()[..], [Event::Closed { .. }]));
    assert!(world.statistics(b).codec.is_some(), "it is answered");
}

fn tone(hz: f32) -> Tone {
    Tone { frequencies: vec![hz], level_dbm0: -15.0, duration: None }
}

fn decoded(world: &World, leg: LegId) -> Vec<i16> {
    let octets: Vec<u8> = world.sent_by(leg).into_iter().flat_map(|sent| sent.payload).collect();
    let mut samples = vec![0; octets.len()];
    pcmu_decode(&octets, &mut samples);
    samples
}

/// Calls with a phone each on engine 2 that says a tone of its own; their legs are on engines 0 and 1.
fn calls(seed: u64, count: u8) -> (World, Vec<(LegId, LegId)>) {
    let mut world = World::new(3, seed);
    let pairs: Vec<_> = (1..=count).map(|n| (leg(n % 2, n), leg(2, n))).collect();
    for (n, (ours, phone)) in pairs.iter().enumerate() {
        world.open(*ours, config(*phone));
        world.open(*phone, config(*ours));
        world.command(Command::PlayTone { leg: *phone, tone: tone(400.0 + 150.0 * n as f32), token: Token(0) });
    }
    (world, pairs)
}

#[test]
fn members_from_two_threads_hear_each_other_and_go_on_where_they_are() {
    let (mut world, pairs) = calls(8, 6);
    world.travel = ms(3);
    world.link = Link { delay: ms(10), jitter: ms(10), loss_percent: 1.0, duplicate_percent: 1.0 };
    world.run(ms(300));
    let room = RoomId::new(1, 1);
    for (leg, _) in &pairs {
        world.move_to(*leg, 1);
        world.command(Command::Join { leg: *leg, room, role: Role::Member });
    }
    world.run(ms(500));
    world.forget();
    world.run(ms(1000));
    for (n, (leg, _)) in pairs.iter().enumerate() {
        let samples = decoded(&world, *leg);
        assert_continuous(&world.sent_by(*leg), 160);
        for other in 0..pairs.len() {
            let level = tone_level_dbm0(&samples, 8000, 400.0 + 150.0 * other as f64);
            assert_eq!(level > -20.0, other != n, "{n} hears {other} at {level:.1}");
        }
    }
    // One goes elsewhere, straight out of the room, and is bridged there with somebody.
    let ((gone, _), (other, _)) = (pairs[0], pairs[1]);
    world.move_to(gone, 0);
    world.move_to(other, 0);
    world.command(Command::Bridge { a: gone, b: other });
    world.run(ms(300));
    world.forget();
    world.run(ms(1000));
    assert_eq!(world.engines[1].live_rooms(), 1);
    let hears = |leg: LegId| dominant_frequency(&decoded(&world, leg)[..4000], 8000).expect("a tone");
    assert!((hears(gone) - 550.0).abs() < 2.0 && (hears(other) - 400.0).abs() < 2.0);
    let rest = decoded(&world, pairs[2].0);
    for hz in [400.0, 550.0] {
        assert!(tone_level_dbm0(&rest, 8000, hz) < -40.0, "who has left is not heard");
    }
}

#[test]
fn who_is_moved_out_of_a_room_hears_no_click() {
    // A listener has what others hear too, encoded once for all of them.
    let moves = [Role::Member, Role::Listener].into_iter().flat_map(|role| (0..12).map(move |frames| (role, frames)));
    let mut steps = Vec::new();
    for (role, frames) in moves {
        let (mut world, pairs) = calls(50 + frames, 2);
        let room = RoomId::new(1, 1);
        for (leg, phone) in &pairs {
            // No whole number of periods a frame: it is cut wherever it may be.
            world.command(Command::PlayTone { leg: *phone, tone: tone(437.0), token: Token(1) });
            world.move_to(*leg, 1);
            world.command(Command::Join { leg: *leg, room, role: Role::Member });
        }
        let gone = pairs[0].0;
        world.command(Command::SetRole { leg: gone, role });
        world.run(ms(500 + 20 * frames));
        world.forget();
        world.run(ms(100));
        world.move_to(gone, 0);
        world.run(ms(200));
        let heard = decoded(&world, gone);
        assert!(heard.iter().rev().take(800).all(|sample| sample.abs() < 10), "nothing is left");
        let loudest = heard.iter().map(|sample| i32::from(sample.abs())).max().expect("samples");
        let step = heard.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().expect("samples");
        steps.push(f64::from(step) / f64::from(loudest));
    }
    // By itself it steps by 0.35 of its peak, and cut off by all of it.
    assert!(steps.iter().all(|step| *step < 0.45), "{steps:.2?}");
}

#[test]
fn a_panic_in_a_leg_that_has_moved_is_its_own() {
    let (mut world, pairs) = calls(9, 4);
    let (guilty, other) = (pairs[0].0, pairs[2].0);
    world.move_to(guilty, 0);
    world.move_to(other, 0);
    world.run(ms(100));
    world.forget();
    world.out.explosive = Some(guilty);
    world.run(ms(50));
    let failed: Vec<Event> = world.events().into_iter().filter(|event| matches!(event, Event::Failed { .. })).collect();
    assert!(matches!(failed[..], [Event::Failed { leg, .. }] if leg == guilty), "{failed:?}");
    world.out.explosive = None;
    // Whoever asks for it to move and to be closed is answered.
    world.move_to(guilty, 1);
    world.forget();
    world.command(Command::Close { leg: guilty });
    assert!(matches!(world.events()[..], [Event::Closed { .. }]));
    world.run(ms(100));
    assert_continuous(&world.sent_by(other), 160);
    assert!(world.sent_by(other).len() >= 4);
}
