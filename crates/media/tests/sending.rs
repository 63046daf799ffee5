//! What a leg sends by itself: silence, tones, digits; its clock through stalls, holds and new configurations.

mod common;

use std::collections::BTreeSet;

use common::*;
use ringback_audio::{dominant_frequency, pcma_decode, pcmu_decode};
use ringback_media_api::{Codec, Command, Event, SendFormat, Token, Tone};
use ringback_time::Mono;

fn one_leg() -> (World, ringback_media_api::LegId) {
    let mut world = World::new(1, 5);
    let a = leg(0, 1);
    world.open(a, config(leg(9, 9)));
    (world, a)
}

#[test]
fn silence_goes_out_from_the_start_each_packet_time() {
    for (codec, payload_type, octet) in [(Codec::Pcmu, 0, 0xff), (Codec::Pcma, 8, 0xd5)] {
        for ptime_ms in [10_u8, 20, 30, 40, 60] {
            let mut world = World::new(1, 1);
            let a = leg(0, 1);
            let send = Some(SendFormat { codec, payload_type, ptime_ms });
            world.open(a, ringback_media_api::LegConfig { send, ..config(leg(9, 9)) });
            world.run(ms(6000));
            let sent = world.sent_by(a);
            assert_eq!(sent.len(), 6000 / usize::from(ptime_ms));
            assert!(sent[0].at.since(Mono::from_nanos(7_000_000_123_457)) <= ms(20));
            assert_continuous(&sent, u32::from(ptime_ms) * 8);
            for (n, packet) in sent.iter().enumerate() {
                assert_eq!(packet.header.payload_type, payload_type);
                assert_eq!(packet.header.marker, n == 0, "RFC 3551 §4.1");
                assert_eq!(packet.payload, vec![octet; usize::from(ptime_ms) * 8]);
                assert_eq!(packet.to, rtp_address(leg(9, 9)));
            }
        }
    }
}

#[test]
fn legs_are_spread_over_the_phases_and_no_legs_means_no_deadline() {
    let mut world = World::new(1, 2);
    assert_eq!(world.engines[0].poll_timeout(), None);
    let phases = |world: &mut World| {
        world.run(ms(200));
        world.forget();
        world.run(ms(20));
        let mut phases = std::collections::BTreeMap::new();
        for sent in &world.out.rtp {
            *phases.entry(sent.at.as_nanos() / 1_000_000 % 20).or_insert(0) += 1;
        }
        phases.into_values().collect::<Vec<_>>()
    };
    for n in 0..40 {
        world.open(leg(0, n), config(leg(9, n)));
    }
    assert_eq!(phases(&mut world), [8; 5], "a few share a phase");
    for n in 40..240 {
        world.open(leg(0, n), config(leg(9, n)));
    }
    assert_eq!(phases(&mut world), [12; 20]);
    let ssrcs: BTreeSet<u32> = world.out.rtp.iter().map(|sent| sent.header.ssrc).collect();
    assert_eq!(ssrcs.len(), 240);
    for n in 0..240 {
        world.command(Command::Close { leg: leg(0, n) });
    }
    world.run(ms(100));
    assert_eq!((world.engines[0].live_legs(), world.engines[0].poll_timeout()), (0, None));
}

#[test]
fn after_a_stall_one_packet_goes_out_and_says_what_time_it_is() {
    let (mut world, a) = one_leg();
    world.run(ms(1000));
    let before = world.sent_by(a).pop().unwrap();
    world.forget();
    for stall in [50, 500, 7000] {
        let sent = world.sent_by(a).len();
        world.stall(ms(stall));
        world.run(ms(0));
        assert_eq!(world.sent_by(a).len(), sent + 1, "no burst");
        world.run(ms(200));
    }
    let sent = world.sent_by(a);
    for packet in &sent {
        // The clock is kept: the timestamp is that of the turn, of which a stalled one came late.
        let passed = (packet.at.as_nanos() - before.at.as_nanos()) / 1_000_000;
        let clock = packet.header.timestamp.wrapping_sub(before.header.timestamp) / 8;
        assert!(u64::from(clock) <= passed && passed < u64::from(clock) + 20, "{clock} ms against {passed} ms");
    }
    assert!(sent.windows(2).all(|p| p[1].header.sequence == p[0].header.sequence.wrapping_add(1)));
    assert_eq!(sent.iter().filter(|p| p.header.marker).count(), 3, "each gap is marked");
}

#[test]
fn a_new_configuration_goes_on_without_a_gap() {
    let (mut world, a) = one_leg();
    world.run(ms(500));
    let mut new = config(leg(9, 8));
    new.send = Some(SendFormat { codec: Codec::Pcma, payload_type: 8, ptime_ms: 20 });
    world.configure(a, new.clone());
    world.run(ms(500));
    let sent = world.sent_by(a);
    assert_continuous(&sent, 160);
    assert_eq!(
        (sent.len(), sent[49].header.payload_type, sent[49].payload[0], sent[49].to.ip()),
        (50, 8, 0xd5, rtp_address(leg(9, 8)).ip())
    );
    new.send = Some(SendFormat { codec: Codec::Pcma, payload_type: 8, ptime_ms: 30 });
    world.configure(a, new);
    world.forget();
    world.run(ms(900));
    let sent = world.sent_by(a);
    assert_continuous(&sent[1..], 240);
    assert!((29..=31).contains(&sent.len()));
}

#[test]
fn hold_and_stopped_transmission_stop_packets_and_not_the_clock() {
    let (mut world, a) = one_leg();
    world.run(ms(200));
    let held = ringback_media_api::LegConfig { may_send: false, ..config(leg(9, 9)) };
    type Step = Box<dyn Fn(&mut World)>;
    let steps: [(Step, Step); 2] = [
        (
            Box::new(move |w| w.command(Command::Transmit { leg: a, on: false })),
            Box::new(move |w| w.command(Command::Transmit { leg: a, on: true })),
        ),
        (Box::new(move |w| w.configure(a, held.clone())), Box::new(move |w| w.configure(a, config(leg(9, 9))))),
    ];
    for (stop, go) in steps {
        stop(&mut world);
        let before = world.sent_by(a).pop().unwrap();
        world.forget();
        world.run(ms(10_000));
        assert_eq!(world.sent_by(a).len(), 0);
        assert!(!world.out.rtcp.is_empty(), "RTCP goes on");
        go(&mut world);
        world.run(ms(200));
        let sent = world.sent_by(a);
        let first = &sent[0];
        assert_eq!(first.header.sequence, before.header.sequence.wrapping_add(1));
        let passed = (first.at.as_nanos() - before.at.as_nanos()) / 125_000;
        assert_eq!(u64::from(first.header.timestamp.wrapping_sub(before.header.timestamp)), passed);
        assert!(first.header.marker);
        assert_continuous(&sent, 160);
    }
}

fn tone(frequency: f32, duration: Option<u64>) -> Tone {
    Tone { frequencies: vec![frequency], level_dbm0: -10.0, duration: duration.map(ms) }
}

#[test]
fn a_tone_is_heard_and_its_end_is_told() {
    for (codec, payload_type) in [(Codec::Pcmu, 0), (Codec::Pcma, 8)] {
        let mut world = World::new(1, 3);
        let a = leg(0, 1);
        let send = Some(SendFormat { codec, payload_type, ptime_ms: 20 });
        world.open(a, ringback_media_api::LegConfig { send, ..config(leg(9, 9)) });
        world.run(ms(100));
        world.forget();
        world.command(Command::PlayTone { leg: a, tone: tone(1234.0, Some(1000)), token: Token(4) });
        world.run(ms(1200));
        let sent = world.sent_by(a);
        assert_continuous(&sent, 160);
        let octets: Vec<u8> = sent.iter().flat_map(|p| p.payload.clone()).collect();
        let mut samples = vec![0; octets.len()];
        match codec {
            Codec::Pcma => pcma_decode(&octets, &mut samples),
            _ => pcmu_decode(&octets, &mut samples),
        }
        let frequency = dominant_frequency(&samples[400..7600], 8000).unwrap();
        assert!((frequency - 1234.0).abs() < 2.0, "{frequency}");
        assert!(samples[8200..].iter().all(|s| s.abs() <= 8), "silence after it");
        let (at, event) = world.out.events.pop().unwrap();
        assert_eq!(event, Event::PlayEnded { leg: a, token: Token(4), completed: true });
        assert_eq!(at, sent[49].at, "with its last packet");
    }
}

#[test]
fn replaced_stopped_and_impossible_tones_are_answered_too() {
    let (mut world, a) = one_leg();
    let play = |frequency, token| Command::PlayTone { leg: a, tone: tone(frequency, None), token: Token(token) };
    let ended = |token| Event::PlayEnded { leg: a, token: Token(token), completed: false };
    world.command(play(400.0, 1));
    world.run(ms(100));
    world.command(play(500.0, 2));
    assert_eq!(world.events(), [ended(1)]);
    // Whoever waited for the first one gives up only now.
    world.command(Command::GiveUpPlaying { leg: a, token: Token(1) });
    assert_eq!(world.events(), [ended(1)]);
    world.command(Command::GiveUpPlaying { leg: a, token: Token(2) });
    assert_eq!(world.events(), [ended(1), ended(2)]);
    world.run(ms(100));
    world.forget();
    world.run(ms(100));
    assert!(world.sent_by(a).iter().all(|p| p.payload == [0xff; 160]));
    world.command(play(5000.0, 3));
    world.command(play(600.0, 4));
    world.command(Command::Close { leg: a });
    world.command(play(600.0, 5));
    assert_eq!(world.events()[..2], [ended(3), ended(4)]);
    assert_eq!(world.events()[3..], [ended(5)]);
}

#[test]
fn mute_sends_silence_while_the_tone_goes_on() {
    let (mut world, a) = one_leg();
    world.command(Command::Mute { leg: a, on: true });
    world.command(Command::PlayTone { leg: a, tone: tone(400.0, Some(500)), token: Token(1) });
    world.run(ms(1000));
    assert_eq!(world.sent_by(a).len(), 50);
    assert!(world.sent_by(a).iter().all(|p| p.payload == [0xff; 160]));
    assert_eq!(world.events().len(), 1);
}

#[test]
fn digits_are_sent_as_events_without_audio_and_the_clock_goes_on() {
    let (mut world, a) = one_leg();
    world.run(ms(100));
    world.command(Command::PlayTone { leg: a, tone: tone(400.0, None), token: Token(9) });
    world.forget();
    world.command(Command::SendDtmf { leg: a, digits: "1,#".into(), duration_ms: 100, gap_ms: 100, token: Token(1) });
    world.run(ms(2000));
    let sent = world.sent_by(a);
    let events: Vec<_> = sent.iter().filter(|p| p.header.payload_type == DTMF).collect();
    assert_eq!(events.len(), 14);
    for (n, digit) in [(0, 1), (7, 11)] {
        let digit_packets = &events[n..n + 7];
        assert!(digit_packets.iter().all(|p| p.header.timestamp == digit_packets[0].header.timestamp));
        let durations: Vec<u16> =
            digit_packets.iter().map(|p| u16::from_be_bytes([p.payload[2], p.payload[3]])).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
        let markers: Vec<bool> = digit_packets.iter().map(|p| p.header.marker).collect();
        assert_eq!(markers, [true, false, false, false, false, false, false]);
        let ends: Vec<bool> = digit_packets.iter().map(|p| p.payload[1] & 0x80 != 0).collect();
        assert_eq!(ends, [false, false, false, false, true, true, true]);
        assert!(digit_packets.iter().all(|p| p.payload[0] == digit));
        let span = digit_packets[6].at.since(digit_packets[0].at);
        let between = sent
            .iter()
            .filter(|p| p.header.payload_type == 0)
            .filter(|p| p.at > digit_packets[0].at && p.at < digit_packets[6].at)
            .count();
        assert_eq!((span, between), (ms(120), 0));
    }
    // 100 + 100 ms and the comma's second.
    assert_eq!(events[7].at.since(events[0].at), ms(1200));
    let (at, event) = &world.out.events[0];
    assert_eq!(*event, Event::DtmfSent { leg: a, token: Token(1), completed: true });
    assert_eq!(*at, events[13].at);
    // Every packet, of either kind, has the next number, and stands on one clock.
    assert!(sent.windows(2).all(|p| p[1].header.sequence == p[0].header.sequence.wrapping_add(1)));
    let first = &sent[0];
    for audio in sent.iter().filter(|p| p.header.payload_type == 0) {
        let passed = (audio.at.as_nanos() - first.at.as_nanos()) / 125_000;
        assert_eq!(u64::from(audio.header.timestamp.wrapping_sub(first.header.timestamp)), passed);
    }
}

#[test]
fn digits_that_cannot_be_sent_are_given_up() {
    let dial =
        |leg, token| Command::SendDtmf { leg, digits: "12".into(), duration_ms: 100, gap_ms: 100, token: Token(token) };
    let (mut world, a) = one_leg();
    world.configure(a, ringback_media_api::LegConfig { dtmf_send: None, ..config(leg(9, 9)) });
    world.command(dial(a, 1));
    world.run(ms(100));
    world.configure(a, config(leg(9, 9)));
    world.command(dial(a, 2));
    world.run(ms(250));
    world.command(Command::Transmit { leg: a, on: false });
    world.run(ms(100));
    world.command(dial(leg(0, 77), 3));
    let sent = |leg, token| Event::DtmfSent { leg, token: Token(token), completed: false };
    assert_eq!(world.events(), [sent(a, 1), sent(a, 2), sent(leg(0, 77), 3)]);
}
