//! Digits as tones in the audio.

mod common;

use common::{DTMF, World, assert_continuous, config, leg, ms, packet, rtp_address};
use ringback_media_api::{Codec, Command, Event, LegId, SendFormat, Token, Tone};
use ringback_rtp::dtmf::Event as Telephone;

/// Two legs of which the second listens.
fn call(seed: u64, codec: Codec) -> (World, LegId, LegId) {
    let mut world = World::new(2, seed);
    let (a, b) = (leg(0, 1), leg(1, 1));
    for (leg, remote) in [(a, b), (b, a)] {
        let mut config = config(remote);
        config.send = Some(SendFormat { codec, payload_type: if codec == Codec::Pcma { 8 } else { 0 }, ptime_ms: 20 });
        config.dtmf_inband = leg == b;
        world.open(leg, config);
    }
    (world, a, b)
}

fn tones(world: &mut World, leg: LegId, digits: &str, token: u64) {
    let digits = digits.to_owned();
    world.command(Command::SendTones { leg, digits, duration_ms: 60, gap_ms: 60, token: Token(token) });
}

fn heard(world: &World) -> String {
    let digit = |event| match event {
        Event::InbandDtmf { digit, .. } => Some(digit),
        _ => None,
    };
    world.events().into_iter().filter_map(digit).collect()
}

fn sent(world: &World) -> Vec<(u64, bool)> {
    let sent = |event| match event {
        Event::DtmfSent { token, completed, .. } => Some((token.0, completed)),
        _ => None,
    };
    world.events().into_iter().filter_map(sent).collect()
}

#[test]
fn digits_arrive_as_they_were_sent_in_one_stream() {
    for codec in [Codec::Pcmu, Codec::Pcma] {
        let (mut world, a, _) = call(1, codec);
        tones(&mut world, a, "0123456789*#ABCD", 7);
        world.run(ms(1800));
        assert!(sent(&world).is_empty());
        world.run(ms(300));
        assert_eq!((heard(&world).as_str(), sent(&world)), ("0123456789*#ABCD", vec![(7, true)]));
        assert_continuous(&world.sent_by(a), 160);
    }
}

#[test]
fn they_interrupt_what_plays_and_go_out_of_a_muted_leg() {
    let (mut world, a, b) = call(2, Codec::Pcmu);
    let tone = Tone { frequencies: vec![440.0], level_dbm0: -10.0, duration: None };
    world.command(Command::PlayTone { leg: a, tone, token: Token(1) });
    world.command(Command::Mute { leg: a, on: true });
    world.run(ms(200));
    tones(&mut world, a, "5", 2);
    world.run(ms(300));
    assert_eq!(heard(&world), "5");
    world.command(Command::StopDtmf { leg: a });
    tones(&mut world, a, "6789", 3);
    world.run(ms(70));
    world.command(Command::StopDtmf { leg: a });
    world.run(ms(500));
    assert_eq!(heard(&world), "56");
    tones(&mut world, a, "1234", 4);
    world.run(ms(30));
    world.command(Command::Close { leg: a });
    assert_eq!(sent(&world), [(2, true), (3, true), (4, false)]);
    let _ = b;
}

#[test]
fn loss_splits_no_digit_and_a_peer_that_sends_events_is_not_heard_twice() {
    for seed in 0..10 {
        let (mut world, a, b) = call(seed, Codec::Pcmu);
        world.command(Command::SendTones {
            leg: a,
            digits: "55".into(),
            duration_ms: 160,
            gap_ms: 160,
            token: Token(1),
        });
        world.link.loss_percent = 4.0;
        world.link.jitter = ms(5);
        world.run(ms(1000));
        assert!(heard(&world).len() <= 2, "{seed}: {}", heard(&world));
        world.forget();
        world.link.loss_percent = 0.0;
        let last = world.sent_by(a).last().map(|sent| sent.header);
        world.run(ms(100));
        let last = last.or_else(|| world.sent_by(a).last().map(|sent| sent.header)).expect("a packet");
        let event = Telephone { code: 1, end: true, volume: 10, duration: 800 }.to_bytes();
        let sequence = last.sequence.wrapping_add(20);
        let bytes = packet(DTMF, sequence, last.timestamp, last.ssrc, &event);
        world.deliver(rtp_address(a), b, &bytes);
        world.forget();
        tones(&mut world, a, "9", 2);
        world.run(ms(500));
        assert_eq!(heard(&world), "");
    }
}

#[test]
fn a_leg_that_does_not_look_for_digits_finds_none() {
    let (mut world, a, b) = World::call(3);
    tones(&mut world, a, "123", 1);
    world.run(ms(700));
    assert_eq!(heard(&world), "");
    let mut looks = config(a);
    looks.dtmf_inband = true;
    world.configure(b, looks);
    tones(&mut world, a, "123", 2);
    world.run(ms(700));
    assert_eq!(heard(&world), "123");
}
