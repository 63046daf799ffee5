//! Audio to and from a program: frames at each rate, nothing lost before it was opened, exact counts of what was sent.

mod common;

use std::sync::Arc;

use common::*;
use ringback_audio::{dominant_frequency, pcmu_decode};
use ringback_media_api::{AudioPort, Command, LegConfig, LegId, Token, Tone};

fn open(world: &mut World, leg: LegId, sample_rate: u32, frame_ms: u32) -> Arc<AudioPort> {
    let port = Arc::new(AudioPort::new(sample_rate, frame_ms, 1000));
    world.command(Command::OpenAudio { leg, port: port.clone() });
    port
}

fn read_all(port: &AudioPort) -> Vec<Box<[i16]>> {
    std::iter::from_fn(|| port.read()).collect()
}

fn tone(leg: LegId, frequency: f32) -> Command {
    let tone = Tone { frequencies: vec![frequency], level_dbm0: -10.0, duration: None };
    Command::PlayTone { leg, tone, token: Token(0) }
}

/// What the far end would hear, of packets that `leg` sent.
fn heard(world: &World, leg: LegId) -> Vec<i16> {
    let octets: Vec<u8> = world.sent_by(leg).into_iter().flat_map(|p| p.payload).collect();
    let mut samples = vec![0; octets.len()];
    pcmu_decode(&octets, &mut samples);
    samples
}

#[test]
fn frames_come_on_time_at_each_rate_and_sound_right() {
    for rate in [8000, 16_000, 24_000, 48_000] {
        for frame_ms in [10, 20, 30, 60] {
            let (mut world, a, b) = World::call(41);
            world.link = Link { delay: ms(25), jitter: ms(30), ..Link::default() };
            let port = open(&mut world, b, rate, frame_ms);
            world.command(tone(a, 1000.0));
            world.forget();
            // The first frames come with a leg's first turn, a packet time at most from here.
            world.run(ms(1220));
            let times: Vec<_> = world.out.ready.iter().map(|(at, _)| *at).collect();
            let whole = |run_ms: u64| (run_ms / u64::from(frame_ms)) as usize;
            assert!((whole(1200)..=whole(1220) + 1).contains(&times.len()), "{}", times.len());
            assert!(times.windows(2).all(|p| p[1].since(p[0]) == ms(u64::from(frame_ms))));
            let frames = read_all(&port);
            assert_eq!(frames.len(), times.len());
            assert!(frames.iter().all(|f| f.len() == (rate * frame_ms / 1000) as usize));
            let samples: Vec<i16> = frames.concat();
            assert!(samples[..(rate / 50) as usize].iter().all(|s| *s == 0), "zeros where nothing came");
            // Past the path, the first turn and the buffer: no gap, though packets overtake each other.
            let steady = &samples[(rate / 5) as usize..(rate + rate / 10) as usize];
            let frequency = dominant_frequency(steady, rate).unwrap();
            assert!((frequency - 1000.0).abs() < 1.0, "{frequency} at {rate}");
            let quiet = steady.chunks((rate / 250) as usize).any(|c| c.iter().all(|s| s.abs() < 500));
            assert!(!quiet, "a gap at {rate} Hz, {frame_ms} ms");
        }
    }
}

#[test]
fn what_came_before_the_port_was_opened_comes_first_and_goes_on_seamlessly() {
    for (wait, expected_ms) in [(700, 640), (5000, 1940)] {
        let (mut world, a, b) = World::call(42);
        world.command(tone(a, 500.0));
        world.run(ms(wait));
        let port = open(&mut world, b, 16_000, 20);
        let at_once = read_all(&port);
        let retained_ms = at_once.len() * 20;
        assert!((expected_ms - 60..=expected_ms + 60).contains(&retained_ms), "{retained_ms}");
        world.run(ms(1000));
        let samples: Vec<i16> = [at_once, read_all(&port)].concat().concat();
        // One sine from the first to the last sample, without a jump of the phase: it fits what it was a period ago.
        let period = 16_000 / 500;
        let off = samples[320..].windows(period + 1).filter(|w| w[0].abs_diff(w[period]) > 1200).count();
        assert_eq!(off, 0, "of {}", samples.len());
    }
}

#[test]
fn a_second_port_gets_no_retained_audio_closes_the_first_and_outlives_its_end() {
    let (mut world, a, b) = World::call(43);
    world.command(tone(a, 500.0));
    world.run(ms(500));
    let first = open(&mut world, b, 8000, 20);
    world.run(ms(500));
    world.forget();
    let second = open(&mut world, b, 8000, 20);
    assert!(first.is_closed() && !second.is_closed());
    assert!(world.out.ready.iter().any(|(_, port)| Arc::ptr_eq(port, &first)), "its holder is told");
    assert!(!second.has_frames());
    // Whoever held the first lets go of it only now.
    world.command(Command::CloseAudio { leg: b, port: first });
    assert!(!second.is_closed());
    world.run(ms(100));
    assert_eq!(read_all(&second).len(), 5);
    world.forget();
    world.command(Command::CloseAudio { leg: b, port: second.clone() });
    assert!(second.is_closed());
    assert_eq!(world.out.ready.len(), 1);
    assert_eq!(second.write(&[1; 100]), 0);
    let third = open(&mut world, b, 8000, 20);
    world.command(Command::Close { leg: b });
    assert!(third.is_closed());
    let none = open(&mut world, b, 8000, 20);
    assert!(none.is_closed(), "no such leg");
}

#[test]
fn what_the_program_writes_is_what_the_leg_sends() {
    for rate in [8000, 16_000, 24_000, 48_000_u32] {
        let (mut world, a, _) = World::call(44);
        let port = open(&mut world, a, rate, 20);
        world.run(ms(100));
        world.forget();
        let samples: Vec<i16> = (0..rate / 2)
            .map(|n| (8000.0 * (std::f64::consts::TAU * 700.0 * f64::from(n) / f64::from(rate)).sin()) as i16)
            .collect();
        assert_eq!(port.write(&samples), samples.len());
        world.run(ms(1000));
        assert_eq!((port.played_samples(), port.queued_samples()), (u64::from(rate / 2), 0));
        let sent = world.sent_by(a);
        assert_continuous(&sent, 160);
        let heard = heard(&world, a);
        let frequency = dominant_frequency(&heard[400..3600], 8000).unwrap();
        assert!((frequency - 700.0).abs() < 2.0, "{frequency}");
        assert!(heard[..4000].chunks(16).skip(4).all(|c| c.iter().any(|s| s.abs() > 1000)), "no gap");
        assert!(heard[4160..].iter().all(|s| s.abs() <= 8), "then silence");
    }
}

#[test]
fn clear_is_exact_to_the_packet() {
    let (mut world, a, _) = World::call(45);
    let port = open(&mut world, a, 8000, 20);
    world.run(ms(100));
    let (mut told, mut written) = (0, 0);
    for round in 0..50_u64 {
        world.forget();
        // Chunks that do not fit packets.
        for _ in 0..3 + round % 5 {
            written += port.write(&[8000; 333]);
        }
        world.run(ms(7 + round * 3));
        let sent_before = heard(&world, a).iter().filter(|s| s.abs() > 4000).count();
        let cleared = port.clear();
        assert_eq!(cleared, sent_before as u64, "round {round}");
        told += cleared;
        world.forget();
        world.run(ms(60));
        assert!(heard(&world, a).iter().all(|s| s.abs() < 4000), "nothing of it is sent after that");
        assert_eq!(port.queued_samples(), 0);
    }
    assert_eq!(port.played_samples(), told);
    assert!(told < written as u64);
}

#[test]
fn the_program_is_told_of_room_and_of_the_end() {
    let (mut world, a, _) = World::call(46);
    // Frames of 60 ms, so that what is told of room can be told from what is told of frames.
    let port = open(&mut world, a, 8000, 60);
    world.command(Command::Transmit { leg: a, on: true });
    world.run(ms(60));
    let mut total = 0;
    while port.write(&[100; 500]) > 0 {
        total += 500;
    }
    assert_eq!(total, 8000);
    read_all(&port);
    let mut room = Vec::new();
    for _ in 0..60 {
        world.forget();
        world.run(ms(20));
        let (told, frame) = (!world.out.ready.is_empty(), port.read().is_some());
        let queued = port.queued_samples();
        // Half of what there was, each time, and the end.
        let expected = [4000, 1920, 960, 480, 160, 0].contains(&queued) && !room.contains(&queued);
        assert_eq!(told, frame || expected, "{queued} are left");
        room.push(queued);
    }
    assert_eq!(room.last(), Some(&0));
}

#[test]
fn a_pause_of_the_path_fades_to_zeros_and_frames_go_on() {
    let (mut world, a, b) = World::call(47);
    let port = open(&mut world, b, 8000, 20);
    world.command(tone(a, 500.0));
    world.run(ms(1000));
    world.link.loss_percent = 100.0;
    world.run(ms(1000));
    world.link.loss_percent = 0.0;
    world.run(ms(1000));
    let frames = read_all(&port);
    assert_eq!(frames.len(), 150);
    let silent: Vec<bool> = frames.iter().map(|f| f.iter().all(|s| *s == 0)).collect();
    // What was on its way, and 60 ms that fade.
    assert!(silent[58..100].iter().all(|s| *s) && !silent[10..48].iter().any(|s| *s));
    assert!(!silent[110..].iter().any(|s| *s), "back within 200 ms");
}

#[test]
fn a_stalled_engine_catches_up_with_the_frames_it_owes() {
    let (mut world, a, b) = World::call(48);
    let port = open(&mut world, b, 8000, 20);
    world.command(tone(a, 500.0));
    world.run(ms(1000));
    read_all(&port);
    world.stall(ms(300));
    world.run(ms(700));
    assert_eq!(read_all(&port).len(), 50);
}

#[test]
fn a_slow_reader_loses_its_oldest_frames_alone() {
    let (mut world, _, b) = World::call(49);
    let port = open(&mut world, b, 8000, 20);
    world.run(ms(10_000));
    assert_eq!(port.dropped_frames(), 500 - 150);
    assert_eq!(read_all(&port).len(), 150);
}

#[test]
fn muted_samples_count_as_sent() {
    let (mut world, a, _) = World::call(50);
    let port = open(&mut world, a, 8000, 20);
    world.command(Command::Mute { leg: a, on: true });
    port.write(&[8000; 1600]);
    world.run(ms(400));
    assert_eq!(port.played_samples(), 1600);
    assert!(heard(&world, a).iter().all(|s| s.abs() < 100));
}

#[test]
fn a_port_that_the_program_closed_is_let_go() {
    let (mut world, a, _) = World::call(51);
    let port = open(&mut world, a, 8000, 20);
    world.run(ms(100));
    port.close();
    world.run(ms(100));
    assert_eq!(Arc::strong_count(&port), 1 + world.out.ready.len());
}

#[test]
fn what_was_cleared_is_over_within_40_ms() {
    use ringback_audio::{Coding, Decoder, level_dbm0};
    use ringback_media_api::{Codec, LegConfig, SendFormat};

    for (codec, coding) in [(Codec::Pcmu, Coding::Pcmu), (Codec::G722, Coding::G722), (Codec::Opus, Coding::Opus)] {
        for rate in [8000, 16_000, 24_000, 48_000_u32] {
            let mut world = World::new(1, 48);
            let a = leg(0, 1);
            let send = Some(SendFormat { codec, payload_type: 96, ptime_ms: 20 });
            world.open(a, LegConfig { send, ..config(leg(9, 1)) });
            let port = open(&mut world, a, rate, 20);
            let loud: Vec<i16> = (0..rate)
                .map(|n| (8000.0 * (std::f64::consts::TAU * 600.0 * f64::from(n) / f64::from(rate)).sin()) as i16)
                .collect();
            for round in 0..20 {
                world.forget();
                // However much waits to be sent, and wherever in the packet time it comes.
                port.write(&loud);
                world.run(ms(300 + round));
                let sent: u64 = world.sent_by(a).len() as u64;
                let counted = port.clear();
                let cleared_at = world.now.mono;
                world.run(ms(300));
                assert!(
                    counted <= sent * u64::from(rate / 50)
                        && counted + u64::from(rate / 10) > sent * u64::from(rate / 50)
                );
                assert_eq!(port.clear(), 0, "nothing of it was sent after");
                // What a filter and Opus' look-ahead still held goes out in the first packet after it, and a little of the second.
                let mut decoder = Decoder::new(coding);
                let mut loud_ms = 0;
                for packet in world.sent_by(a) {
                    let mut samples = Vec::new();
                    decoder.decode(&packet.payload, &mut samples);
                    if packet.at > cleared_at {
                        let loud = samples.chunks(samples.len() / 20).filter(|ms| level_dbm0(ms) > -45.0).count();
                        assert!(loud == 0 || packet.at.since(cleared_at) < ms(40));
                        loud_ms += loud;
                    }
                }
                assert!(loud_ms <= 30, "{codec:?}, {rate} Hz: {loud_ms} ms of it");
            }
        }
    }
}

#[test]
fn what_is_written_during_a_hold_goes_by_unheard() {
    let (mut world, a, b) = World::call(45);
    let port = open(&mut world, a, 16_000, 20);
    let second = [500; 16_000];
    for hold in [true, false] {
        match hold {
            true => world.configure(a, LegConfig { may_send: false, ..config(b) }),
            false => world.command(Command::Transmit { leg: a, on: false }),
        }
        let played = port.played_samples();
        assert_eq!([port.write(&second), port.write(&second)], [16_000, 0]);
        world.run(ms(500));
        assert!((7_500..=8_500).contains(&port.queued_samples()), "{}", port.queued_samples());
        port.clear();
        port.write(&second[..8000]);
        world.run(ms(520));
        assert_eq!((port.queued_samples(), port.played_samples()), (0, played), "gone, and heard by nobody");
        world.configure(a, config(b));
        world.command(Command::Transmit { leg: a, on: true });
        assert_eq!(port.write(&second), 16_000);
        world.run(ms(1100));
        assert_eq!(port.played_samples(), played + 16_000);
    }
}

#[test]
fn a_greeting_waits_a_second_for_a_peer_that_is_to_be_learned() {
    let mut world = World::new(1, 51);
    let (a, b) = (leg(0, 1), leg(1, 1));
    world.open(a, LegConfig { remote_rtp: None, remote_rtcp: None, symmetric: true, ..config(b) });
    let port = open(&mut world, a, 8000, 20);
    port.write(&[500; 8000]);
    world.run(ms(1000));
    assert_eq!(port.queued_samples(), 8000);
    world.run(ms(500));
    assert!((3_800..=4_300).contains(&port.queued_samples()), "{}", port.queued_samples());
    assert_eq!(port.played_samples(), 0);
}

#[test]
fn what_is_of_this_moment_waits_for_nothing_that_sounds_instead() {
    for live in [true, false] {
        let (mut world, a, _) = World::call(52);
        let port = AudioPort::new(8000, 20, 1000);
        let port = Arc::new(if live { port.live() } else { port });
        world.command(Command::OpenAudio { leg: a, port: port.clone() });
        world.command(tone(a, 700.0));
        port.write(&[500; 8000]);
        world.run(ms(520));
        let left = port.queued_samples();
        assert!(if live { (3_700..=4_100).contains(&left) } else { left == 8000 }, "{left}");
        assert_eq!(port.played_samples(), 0);
        world.command(Command::StopPlaying { leg: a });
        world.run(ms(1100));
        assert_eq!(port.queued_samples(), 0);
        assert!(port.played_samples() > 3_000);
    }
}
