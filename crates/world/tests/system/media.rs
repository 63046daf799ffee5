//! Audio between systems: what one plays the other hears, counts are true, quality is what ITU-T G.107 says, digits come once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringback_audio::dominant_frequency;
use ringback_engine::api::{
    Command, Config, Decision, Direction, DtmfMethod, Event, MediaInfo, Reply, Session, SessionId, State,
};
use ringback_media_api::{AudioPort, Codec, Statistics, Token, Tone};
use ringback_netsim::Conditions;
use ringback_world::{Actions, Kind, SystemId, World};

use crate::common::{
    MILLISECOND, PORTS, QUIET, SECOND, accept_all, check_log, check_nothing_left, config, establish, idle, pair, place,
    sessions,
};

fn run(world: &mut World, time: Duration) {
    if let Err(stuck) = world.run_for(time) {
        panic!("{stuck}");
    }
}

fn tell(world: &mut World, system: SystemId, make: impl FnOnce(Token) -> Command) -> Token {
    match world.command(system, make) {
        Ok(token) => token,
        Err(stuck) => panic!("{stuck}"),
    }
}

/// Gives a command and waits for its good end.
fn ask(world: &mut World, system: SystemId, make: impl FnOnce(Token) -> Command) -> Reply {
    let token = tell(world, system, make);
    assert_eq!(world.run_until(10 * SECOND, |world| world.outcome(token).is_some()), Ok(true), "no answer");
    match world.outcome(token) {
        Some(Ok(reply)) => reply.clone(),
        other => panic!("{other:?}"),
    }
}

fn play(world: &mut World, system: SystemId, session: SessionId, frequency: f32) {
    let tone = Tone { frequencies: vec![frequency], level_dbm0: -10.0, duration: None };
    tell(world, system, |token| Command::PlayTone { token, session, tone });
}

fn open_audio(world: &mut World, system: SystemId, session: SessionId, rate: u32) -> Arc<AudioPort> {
    let port = Arc::new(AudioPort::new(rate, 20, 10_000));
    let ours = Arc::clone(&port);
    ask(world, system, |token| Command::OpenAudio { token, session, port: ours });
    port
}

/// All frames that have come so far, one after the other.
fn heard(port: &AudioPort) -> Vec<i16> {
    let mut samples = Vec::new();
    while let Some(frame) = port.read() {
        assert_eq!(frame.len(), port.frame_samples());
        samples.extend_from_slice(&frame);
    }
    samples
}

/// The middle of what was heard: without the first moments before sound arrives.
fn frequency(samples: &[i16], rate: u32) -> f64 {
    let settled = &samples[samples.len() / 2..];
    match dominant_frequency(settled, rate) {
        Some(frequency) => frequency,
        None => panic!("silence, {} samples", samples.len()),
    }
}

fn statistics(world: &mut World, system: SystemId, session: SessionId) -> Statistics {
    match ask(world, system, |token| Command::MediaStatistics { token, session }) {
        Reply::Statistics(Some(statistics)) => statistics,
        other => panic!("{other:?}"),
    }
}

fn media_info(world: &mut World, system: SystemId, session: SessionId) -> MediaInfo {
    match ask(world, system, |token| Command::MediaInfo { token, session }) {
        Reply::MediaInfo(Some(info)) => *info,
        other => panic!("{other:?}"),
    }
}

fn hang_up_and_check(mut world: World, systems: &[SystemId], from: SystemId, session: SessionId) {
    tell(&mut world, from, |token| Command::Hangup { token, session, reason: None });
    run(&mut world, SECOND);
    for system in systems {
        let live = world.live(*system);
        assert_eq!((live.sessions, live.legs, live.ports), (0, 0, 0), "released at once, not when timers run out");
    }
    assert_eq!(world.run_until_idle(QUIET), Ok(()));
    check_nothing_left(&world, systems, "");
    for system in systems {
        check_log(&world, *system, "");
    }
}

#[test]
fn a_tone_is_heard_at_the_far_end_and_its_echo_at_the_near_one() {
    let (mut world, a, b) = pair(1, Conditions::LAN.with_delay(20 * MILLISECOND, 5 * MILLISECOND));
    let (ours, theirs) = establish(&mut world, a, b);
    play(&mut world, a, ours.id, 1000.0);
    ask(&mut world, b, |token| Command::Echo { token, session: theirs.id, on: true });
    let (near, far) = (open_audio(&mut world, a, ours.id, 16_000), open_audio(&mut world, b, theirs.id, 8_000));
    run(&mut world, 2 * SECOND);
    for (port, rate) in [(&near, 16_000), (&far, 8_000)] {
        let samples = heard(port);
        let seconds = samples.len() as f64 / f64::from(rate);
        assert!((1.7..=2.4).contains(&seconds), "{seconds} s of audio in 2 s");
        let heard = frequency(&samples, rate);
        assert!((heard - 1000.0).abs() < 5.0, "{heard} Hz at {rate}");
        assert_eq!(port.dropped_frames(), 0);
    }
    hang_up_and_check(world, &[a, b], a, ours.id);
}

#[test]
fn what_a_program_writes_is_heard_at_all_four_rates() {
    for rate in [8_000_u32, 16_000, 24_000, 48_000] {
        let (mut world, a, b) = pair(2, Conditions::LAN);
        let (ours, theirs) = establish(&mut world, a, b);
        let (near, far) = (open_audio(&mut world, a, ours.id, rate), open_audio(&mut world, b, theirs.id, rate));
        let step = std::f64::consts::TAU * 700.0 / f64::from(rate);
        let samples: Vec<i16> = (0..rate * 2).map(|n| (8000.0 * (step * f64::from(n)).sin()) as i16).collect();
        assert_eq!(near.write(&samples), samples.len());
        run(&mut world, 1500 * MILLISECOND);
        let measured = frequency(&heard(&far), rate);
        assert!((measured - 700.0).abs() < 5.0, "{measured} Hz at {rate}");
        let played = near.played_samples() as f64 / f64::from(rate);
        assert!((1.4..=1.56).contains(&played), "{played} s sent in 1.5 s");
        hang_up_and_check(world, &[a, b], b, theirs.id);
    }
}

/// MOS of G.711 without concealment at a loss of so many percent, from ITU-T G.107 (2015) with the default values and no delay:
/// R = 93.2 - Ie,eff, Ie = 0, Bpl = 4.3 (G.113 appendix I).
fn expected_mos(loss_percent: f64, bpl: f64) -> f64 {
    let r = 93.2 - 95.0 * loss_percent / (loss_percent + bpl);
    1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6
}

/// A pair of systems with G.711 alone.
fn narrow_pair(seed: u64, conditions: Conditions) -> (World, SystemId, SystemId) {
    let config = Config { codecs: vec![Codec::Pcmu], ..config() };
    let mut world = World::new(seed, conditions);
    let caller = world.add(config.clone(), PORTS, idle);
    let callee = world.add(config, PORTS, accept_all);
    (world, caller, callee)
}

#[test]
fn a_clean_call_has_a_mos_of_4_41_and_true_counts() {
    let (mut world, a, b) = narrow_pair(3, Conditions::LAN);
    let (ours, theirs) = establish(&mut world, a, b);
    run(&mut world, 30 * SECOND);
    let sent = world.traffic(a).rtp_sent;
    for (system, session) in [(a, ours.id), (b, theirs.id)] {
        let statistics = statistics(&mut world, system, session);
        assert!((1495..=1510).contains(&statistics.packets_sent), "50 a second: {statistics:?}");
        assert!((1490..=1510).contains(&statistics.packets_received), "{statistics:?}");
        assert_eq!(statistics.bytes_sent, statistics.packets_sent * 160);
        assert_eq!(statistics.bytes_received, statistics.packets_received * 160);
        assert_eq!((statistics.packets_lost, statistics.packets_discarded), (0, 0));
        let quality = statistics.quality.expect("measured");
        let mos = f64::from(quality.mos.expect("something was received"));
        assert!((mos - 4.41).abs() < 0.01, "{mos}");
        assert!(quality.loss_percent == Some(0.0) && quality.jitter_ms.unwrap() < 0.5, "{quality:?}");
        let round_trip = quality.round_trip_ms.expect("RTCP has been exchanged");
        assert!((1.5..=3.0).contains(&round_trip), "{round_trip} ms over two paths of 1 ms");
    }
    assert!((1495..=1510).contains(&sent), "{sent} packets on the wire");
    hang_up_and_check(world, &[a, b], a, ours.id);
}

#[test]
fn before_anything_is_measured_there_is_no_quality() {
    let (mut world, a, b) = pair(4, Conditions::LAN);
    let (ours, _) = establish(&mut world, a, b);
    // Nothing comes from there from now on, and nothing has come yet.
    let (here, there) = (world.address(a), world.address(b));
    world.network_mut().set_path(there, here, Some(Conditions::CUT));
    let statistics = statistics(&mut world, a, ours.id);
    if statistics.packets_received == 0 {
        let mos = statistics.quality.and_then(|quality| quality.mos);
        assert_eq!(mos, None, "not measured is None");
    }
    assert_eq!(statistics.quality.and_then(|quality| quality.round_trip_ms), None);
}

/// ITU-T G.113 Appendix I: Bpl of G.711 with the concealment of its own Appendix I, which whoever listens to a leg gets.
#[test]
fn g711_under_random_loss_has_the_mos_of_a_receiver_that_conceals() {
    for (seed, percent, mos) in [(5, 0.0, 4.41), (51, 1.0, 4.33), (52, 2.0, 4.23), (53, 5.0, 3.92), (54, 10.0, 3.41)] {
        let (mut world, a, b) = narrow_pair(seed, Conditions::LAN.with_loss(0.0));
        let (ours, theirs) = establish(&mut world, a, b);
        world.network_mut().set_conditions(Conditions::LAN.with_loss(percent / 100.0));
        run(&mut world, 300 * SECOND);
        for (system, session) in [(a, ours.id), (b, theirs.id)] {
            let statistics = statistics(&mut world, system, session);
            let quality = statistics.quality.expect("measured");
            let due = statistics.packets_received + statistics.packets_lost;
            let lost = 100.0 * statistics.packets_lost as f64 / due as f64;
            assert!((lost - percent).abs() < 0.8, "{lost} % of {due}");
            assert!((f64::from(quality.loss_percent.unwrap()) - lost).abs() < 0.1, "{quality:?} against {lost}");
            let measured = f64::from(quality.mos.expect("something was received"));
            assert!((measured - expected_mos(lost, 25.1)).abs() < 0.02, "{measured} at {lost} %");
            // The random loss itself is off by some tenths.
            assert!((expected_mos(percent, 25.1) - mos).abs() < 0.006, "{mos}");
            assert!((measured - mos).abs() < 0.05, "{measured} for {mos} at {lost} %");
        }
    }
}

/// What is only passed on is concealed by nobody here: Bpl of G.711 without concealment.
#[test]
fn a_leg_that_only_relays_has_the_mos_of_a_receiver_without_concealment() {
    let (mut world, a, b) = narrow_pair(6, Conditions::LAN.with_loss(0.0));
    let (ours, theirs) = establish(&mut world, a, b);
    ask(&mut world, b, |token| Command::Echo { token, session: theirs.id, on: true });
    world.network_mut().set_conditions(Conditions::LAN.with_loss(0.05));
    run(&mut world, 300 * SECOND);
    let relaying = statistics(&mut world, b, theirs.id);
    let lost = 100.0 * relaying.packets_lost as f64 / (relaying.packets_received + relaying.packets_lost) as f64;
    let measured = f64::from(relaying.quality.and_then(|quality| quality.mos).expect("measured"));
    assert!((measured - expected_mos(lost, 4.3)).abs() < 0.03, "{measured} at {lost} %");
    assert!((measured - 2.17).abs() < 0.15, "{measured}");
    hang_up_and_check(world, &[a, b], a, ours.id);
}

#[test]
fn jitter_is_measured() {
    // Uniform over 20 ms: two transit times differ by a third of that on average, which is what RFC 3550 §6.4.1 converges to.
    let (mut world, a, b) = pair(6, Conditions::PERFECT.with_delay(30 * MILLISECOND, 20 * MILLISECOND));
    let (ours, _) = establish(&mut world, a, b);
    run(&mut world, 60 * SECOND);
    let quality = statistics(&mut world, a, ours.id).quality.expect("measured");
    assert!((4.5..=9.0).contains(&quality.jitter_ms.unwrap()), "{quality:?}");
    let round_trip = quality.round_trip_ms.expect("RTCP has been exchanged");
    assert!((60.0..=100.0).contains(&round_trip), "{round_trip}");
}

const DIGITS: &str = "0123456789*#ABCD0011##";

#[test]
fn every_digit_is_received_once_and_in_order_over_lossy_networks() {
    let networks = [
        Conditions::LAN,
        Conditions::LAN.with_loss(0.1),
        Conditions::LAN.with_loss(0.2).with_duplication(0.2),
        Conditions::LAN.with_reordering(0.3, 30 * MILLISECOND).with_duplication(0.3),
        Conditions::LAN
            .with_loss(0.1)
            .with_reordering(0.2, 45 * MILLISECOND)
            .with_delay(50 * MILLISECOND, 25 * MILLISECOND),
    ];
    for (number, conditions) in networks.into_iter().enumerate() {
        for seed in 0..4 {
            let label = format!("network {number}, seed {seed}");
            let (mut world, a, b) = pair(seed, Conditions::LAN);
            let (ours, theirs) = establish(&mut world, a, b);
            world.network_mut().set_conditions(conditions);
            let session = ours.id;
            let method = DtmfMethod::RtpEvent;
            let token = tell(&mut world, a, |token| Command::SendDtmf {
                token,
                session,
                digits: DIGITS.into(),
                method,
                duration_ms: 100,
                gap_ms: 100,
            });
            run(&mut world, 6 * SECOND);
            assert!(matches!(world.outcome(token), Some(Ok(_))), "{label}: {:?}", world.outcome(token));
            let mut received = String::new();
            for logged in world.log(b) {
                if let Event::Dtmf { session, digit, duration_ms } = &logged.event {
                    assert_eq!(session.id, theirs.id);
                    assert!((40..=200).contains(duration_ms), "{label}: {duration_ms} ms");
                    received.push(*digit);
                }
            }
            assert_eq!(received, DIGITS, "{label}");
        }
    }
}

#[test]
fn digits_go_both_ways_at_once_beside_audio() {
    let (mut world, a, b) = pair(7, Conditions::LAN.with_loss(0.05));
    let (ours, theirs) = establish(&mut world, a, b);
    play(&mut world, a, ours.id, 440.0);
    for (system, session, digits) in [(a, ours.id, "12,3"), (b, theirs.id, "987")] {
        let method = DtmfMethod::Auto;
        tell(&mut world, system, |token| Command::SendDtmf {
            token,
            session,
            digits: digits.into(),
            method,
            duration_ms: 80,
            gap_ms: 50,
        });
    }
    run(&mut world, 4 * SECOND);
    let received = |system| -> String {
        let digits = world.log(system).iter().filter_map(|logged| match logged.event {
            Event::Dtmf { digit, .. } => Some(digit),
            _ => None,
        });
        digits.collect()
    };
    assert_eq!((received(a).as_str(), received(b).as_str()), ("987", "123"));
}

/// RTP of a call in progress, as anyone on the path could have seen it, sent from elsewhere.
#[test]
fn a_strangers_packets_are_ignored() {
    for kernel_drops_them in [true, false] {
        strangers(kernel_drops_them);
    }
}

fn strangers(kernel_drops_them: bool) {
    let (mut world, a, b) = pair(8, Conditions::LAN);
    world.set_connected_sockets(b, kernel_drops_them);
    let (ours, theirs) = establish(&mut world, a, b);
    run(&mut world, SECOND);
    let before = statistics(&mut world, b, theirs.id);
    let info = media_info(&mut world, b, theirs.id);
    let target: SocketAddr = info.local_address.expect("an address");
    let far = open_audio(&mut world, b, theirs.id, 8_000);
    // Another host, and the right host from another port.
    let strangers = ["203.0.113.9:4000".to_owned(), format!("{}:4000", world.address(a))];
    for number in 0..200_u16 {
        for from in &strangers {
            let mut packet = vec![0x80, 0];
            packet.extend_from_slice(&number.to_be_bytes());
            packet.extend_from_slice(&(u32::from(number) * 160).to_be_bytes());
            packet.extend_from_slice(&[1, 2, 3, 4]);
            packet.extend_from_slice(&[0x10; 160]);
            world.send_raw(from.parse().expect("an address"), target, packet);
        }
        run(&mut world, 20 * MILLISECOND);
    }
    let after = statistics(&mut world, b, theirs.id);
    let received = after.packets_received - before.packets_received;
    assert!((195..=205).contains(&received), "only the peer's {received} packets in 4 s count");
    assert_eq!(after.packets_lost, 0);
    assert_eq!(world.traffic(b).refused, if kernel_drops_them { 400 } else { 0 });
    let loudest = heard(&far).iter().map(|sample| sample.unsigned_abs()).max();
    assert!(loudest.is_some_and(|loudest| loudest < 100), "the peer is silent, so are we: {loudest:?}");
    hang_up_and_check(world, &[a, b], a, ours.id);
}

#[test]
fn hold_stops_the_held_side_and_resume_starts_it_again() {
    let (mut world, a, b) = pair(9, Conditions::LAN);
    let (ours, theirs) = establish(&mut world, a, b);
    run(&mut world, SECOND);
    ask(&mut world, a, |token| Command::Hold { token, session: ours.id });
    run(&mut world, 100 * MILLISECOND);
    assert!(theirs.remote_hold() && !ours.remote_hold());
    let held = (world.traffic(a).rtp_sent, world.traffic(b).rtp_sent);
    run(&mut world, 2 * SECOND);
    assert_eq!(world.traffic(b).rtp_sent, held.1, "the held side sends nothing");
    assert!(world.traffic(a).rtp_sent >= held.0 + 95, "who holds goes on (music, silence)");
    ask(&mut world, a, |token| Command::Resume { token, session: ours.id });
    run(&mut world, 2 * SECOND);
    assert!(!theirs.remote_hold());
    assert!(world.traffic(b).rtp_sent >= held.1 + 95, "and speaks again");

    // Both hold: nobody sends.
    ask(&mut world, a, |token| Command::Hold { token, session: ours.id });
    ask(&mut world, b, |token| Command::Hold { token, session: theirs.id });
    run(&mut world, 100 * MILLISECOND);
    let held = (world.traffic(a).rtp_sent, world.traffic(b).rtp_sent);
    run(&mut world, SECOND);
    assert_eq!((world.traffic(a).rtp_sent, world.traffic(b).rtp_sent), held);
    hang_up_and_check(world, &[a, b], b, theirs.id);
}

#[test]
fn transmission_stops_and_starts_by_command() {
    let (mut world, a, b) = pair(10, Conditions::LAN);
    let (ours, _) = establish(&mut world, a, b);
    ask(&mut world, a, |token| Command::SetTransmitting { token, session: ours.id, on: false });
    run(&mut world, 100 * MILLISECOND);
    let stopped = world.traffic(a).rtp_sent;
    run(&mut world, SECOND);
    assert_eq!(world.traffic(a).rtp_sent, stopped);
    ask(&mut world, a, |token| Command::SetTransmitting { token, session: ours.id, on: true });
    run(&mut world, SECOND);
    assert!(world.traffic(a).rtp_sent >= stopped + 45);
    hang_up_and_check(world, &[a, b], a, ours.id);
}

#[test]
fn bridged_callers_hear_each_other() {
    let mut world = World::new(11, Conditions::LAN);
    let first = world.add(config(), PORTS, idle);
    let pbx = world.add(config(), PORTS, crate::common::accept_all);
    let second = world.add(config(), PORTS, idle);
    let (near, near_leg) = establish(&mut world, first, pbx);
    let (far, far_leg) = establish(&mut world, second, pbx);
    let bridge = match ask(&mut world, pbx, |token| Command::Bridge { token, first: near_leg.id, second: far_leg.id }) {
        Reply::Bridge(bridge) => bridge,
        other => panic!("{other:?}"),
    };
    play(&mut world, first, near.id, 620.0);
    play(&mut world, second, far.id, 1700.0);
    let ports = (open_audio(&mut world, first, near.id, 16_000), open_audio(&mut world, second, far.id, 16_000));
    run(&mut world, 3 * SECOND);
    let tones = (frequency(&heard(&ports.0), 16_000), frequency(&heard(&ports.1), 16_000));
    assert!((tones.0 - 1700.0).abs() < 5.0 && (tones.1 - 620.0).abs() < 5.0, "{tones:?}");

    // Unbridged they are still up, and hear nothing.
    ask(&mut world, pbx, |token| Command::DestroyBridge { token, bridge });
    run(&mut world, SECOND);
    heard(&ports.0);
    run(&mut world, SECOND);
    let loudest = heard(&ports.0).iter().map(|sample| sample.unsigned_abs()).max();
    assert!(loudest.is_some_and(|loudest| loudest < 100), "{loudest:?}");

    let session = near.id;
    tell(&mut world, first, |token| Command::Hangup { token, session, reason: None });
    run(&mut world, SECOND);
    hang_up_and_check(world, &[first, pbx, second], second, far.id);
}

/// What was said between the answer and `open_audio` is not lost.
#[test]
fn audio_from_before_the_port_was_opened_comes_first() {
    let (mut world, a, b) = pair(12, Conditions::LAN);
    let (ours, theirs) = establish(&mut world, a, b);
    play(&mut world, a, ours.id, 900.0);
    run(&mut world, SECOND);
    let far = open_audio(&mut world, b, theirs.id, 8_000);
    run(&mut world, 40 * MILLISECOND);
    let samples = heard(&far);
    let seconds = samples.len() as f64 / 8000.0;
    assert!((0.8..=1.3).contains(&seconds), "{seconds} s at once");
    let measured = frequency(&samples, 8_000);
    assert!((measured - 900.0).abs() < 5.0, "{measured}");
}

#[test]
fn silence_is_reported() {
    let mut world = World::new(13, Conditions::LAN);
    let impatient = ringback_engine::api::Config { media_timeout: 5 * SECOND, ..config() };
    let a = world.add(impatient, PORTS, idle);
    let b = world.add(config(), PORTS, crate::common::accept_all);
    let (ours, theirs) = establish(&mut world, a, b);
    run(&mut world, 10 * SECOND);
    let reported =
        |world: &World| world.log(a).iter().filter(|logged| matches!(logged.event, Event::MediaTimeout { .. })).count();
    assert_eq!(reported(&world), 0);
    ask(&mut world, b, |token| Command::SetTransmitting { token, session: theirs.id, on: false });
    run(&mut world, 20 * SECOND);
    assert_eq!(reported(&world), 1, "once for each silence");
    hang_up_and_check(world, &[a, b], a, ours.id);
}

/// No packet leaves before the call is answered, none after it has ended, and RTCP says goodbye.
#[test]
fn media_begins_and_ends_with_the_call() {
    let (mut world, a, b) = pair(14, Conditions::LAN);
    let (ours, _) = establish(&mut world, a, b);
    run(&mut world, 5 * SECOND);
    let session = ours.id;
    tell(&mut world, a, |token| Command::Hangup { token, session, reason: None });
    run(&mut world, SECOND);
    let goodbyes = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = std::rc::Rc::clone(&goodbyes);
    world.set_tap(move |_, packet| {
        if matches!(packet.kind, Kind::Rtp | Kind::Rtcp) {
            count.set(count.get() + 1);
        }
    });
    run(&mut world, 60 * SECOND);
    assert_eq!(goodbyes.get(), 0, "nothing of the media goes on after the call");
}

#[test]
fn a_forwarded_call_is_heard_through() {
    let mut world = World::new(15, Conditions::LAN);
    let caller = world.add(config(), PORTS, idle);
    let forward = |event: &Event, actions: &mut Actions| {
        if let Event::Incoming(call) = event {
            let targets = vec!["sip:carol@10.0.0.3".to_owned()];
            actions.decide(
                call.session.id,
                Decision::Forward { targets, redirect: false, parallel: false, ring: 30 * SECOND },
            );
        }
    };
    let pbx = world.add(config(), PORTS, forward);
    let target = world.add(config(), PORTS, crate::common::accept_all);
    let (ours, theirs) = establish(&mut world, caller, pbx);
    let carols = session_at(&world, target, Direction::Incoming);
    let second = session_at(&world, pbx, Direction::Outgoing);
    assert_eq!((theirs.peer(), second.peer()), (Some(second.id), Some(theirs.id)));
    play(&mut world, caller, ours.id, 620.0);
    play(&mut world, target, carols.id, 1700.0);
    let near = open_audio(&mut world, caller, ours.id, 8_000);
    let far = open_audio(&mut world, target, carols.id, 8_000);
    run(&mut world, 2 * SECOND);
    let tones = (frequency(&heard(&near), 8_000), frequency(&heard(&far), 8_000));
    assert!((tones.0 - 1700.0).abs() < 5.0 && (tones.1 - 620.0).abs() < 5.0, "{tones:?}");
    // The end of one ends the other.
    hang_up_and_check(world, &[caller, pbx, target], target, carols.id);
    assert!(ours.state() == State::Terminated && theirs.state() == State::Terminated);
}

/// An announcement before the answer: queue music, and nothing that was played is billed.
#[test]
fn early_media_is_heard_before_the_answer() {
    let mut world = World::new(16, Conditions::LAN);
    let caller = world.add(config(), PORTS, idle);
    let announce = |event: &Event, actions: &mut Actions| {
        if let Event::Incoming(call) = event {
            let session = call.session.id;
            actions.decide(session, Decision::Progress { sdp: None });
            let tone = Tone { frequencies: vec![850.0], level_dbm0: -10.0, duration: None };
            actions.run(|token| Command::PlayTone { token, session, tone });
            actions.run_after(3 * SECOND, |token| {
                let decision = Decision::Accept { sdp: None, headers: Vec::new() };
                Command::Decide { token, session, decision }
            });
        }
    };
    let pbx = world.add(config(), PORTS, announce);
    let uri = world.uri(pbx, "queue");
    let ours = place(&mut world, caller, &uri);
    run(&mut world, SECOND);
    assert_eq!(ours.state(), State::Ringing);
    let near = open_audio(&mut world, caller, ours.id, 8_000);
    run(&mut world, SECOND);
    let measured = frequency(&heard(&near), 8_000);
    assert!((measured - 850.0).abs() < 5.0, "{measured}");
    assert_eq!(ours.answered_at(), None);
    run(&mut world, 2 * SECOND);
    assert_eq!(ours.state(), State::Active);
    let measured = frequency(&heard(&near), 8_000);
    assert!((measured - 850.0).abs() < 5.0, "it goes on through the answer: {measured}");
    hang_up_and_check(world, &[caller, pbx], caller, ours.id);
}

fn session_at(world: &World, system: SystemId, direction: Direction) -> Arc<Session> {
    let mut all = sessions(world, system).into_values().filter(|session| session.direction == direction);
    match (all.next(), all.next()) {
        (Some(session), None) => session,
        other => panic!("one session was expected: {other:?}"),
    }
}
