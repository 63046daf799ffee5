//! What a leg makes of what it gets: sources, statistics, RTCP, digits, silence; and how it ends.

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use common::*;
use ringback_media_api::{Codec, Command, Event, LegConfig, LegId, Statistics, Token, Tone};
use ringback_rtp::rtcp;
use ringback_time::Mono;

#[test]
fn loss_makes_the_score_that_the_e_model_says() {
    for (loss_percent, mos) in [(0.0, 4.41), (5.0, 3.92), (2.0, 4.23)] {
        let (mut world, _, b) = World::call(21);
        world.link = Link { delay: ms(30), loss_percent, ..Link::default() };
        world.run(ms(1_200_000));
        let statistics = world.statistics(b);
        let quality = statistics.quality.unwrap();
        assert!((quality.mos.unwrap() - mos).abs() < 0.05, "{quality:?} for {loss_percent} %");
        assert!((f64::from(quality.loss_percent.unwrap()) - loss_percent).abs() < 0.2);
        assert_eq!(statistics.codec, Some(Codec::Pcmu));
        assert!((59_990..=60_000).contains(&(statistics.packets_received + statistics.packets_lost)));
        assert_eq!(statistics.bytes_received, statistics.packets_received * 160);
        assert_eq!(statistics.packets_sent, 60_000);
        assert_eq!(statistics.bytes_sent, 60_000 * 160);
        world.forget();
    }
}

#[test]
fn what_was_not_measured_is_not_there() {
    let (mut world, a, _) = World::call(22);
    assert_eq!(world.statistics(a), Statistics { codec: Some(Codec::Pcmu), ..Statistics::default() });
    world.run(ms(1000));
    let quality = world.statistics(a).quality.unwrap();
    assert_eq!((quality.round_trip_ms, quality.loss_percent), (None, Some(0.0)), "no report came back yet");
    assert_eq!(quality.jitter_ms, Some(0.0));
}

/// What cannot be played, and what came but once, says nothing of how it sounds; a report says how long the path is and nothing else.
#[test]
fn there_is_no_quality_of_what_was_not_heard() {
    let mut world = World::new(2, 33);
    let (a, b) = (leg(0, 1), leg(1, 1));
    let peer = rtp_address(b);
    let quality = |world: &mut World| world.statistics(a).quality;
    let playable = (0, &[0xff; 160][..]);
    let kinds =
        [(3, 50, &[0; 33][..]), (101, 3, &[5, 0x8a, 3, 0x20][..]), (0, 50, &[][..]), (playable.0, 1, playable.1)];
    for (payload_type, packets, payload) in kinds {
        world.open(a, config(b));
        for n in 0..packets {
            world.deliver(peer, a, &packet(payload_type, n, u32::from(n) * 160, 1, payload));
            world.run(ms(20));
        }
        assert_eq!(quality(&mut world), None, "{packets} packets of type {payload_type}");
        world.command(Command::Close { leg: a });
        world.run(ms(20));
    }
    world.open(a, config(b));
    for n in 0..2 {
        world.deliver(peer, a, &packet(playable.0, n, u32::from(n) * 160, 1, playable.1));
        world.run(ms(20));
    }
    let said = quality(&mut world).unwrap();
    assert_eq!((said.loss_percent, said.jitter_ms, said.round_trip_ms), (Some(0.0), Some(0.0), None));
    assert!(said.mos.is_some_and(|mos| mos > 4.4) && said.r_factor.is_some());
    world.command(Command::Close { leg: a });

    // Both send; only reports get through to the first.
    world.open(a, LegConfig { receive: Vec::new(), ..config(b) });
    world.open(b, config(a));
    world.run(ms(15_000));
    let said = quality(&mut world).unwrap();
    assert!(said.round_trip_ms.is_some());
    assert_eq!((said.loss_percent, said.jitter_ms, said.mos, said.r_factor), (None, None, None, None));
}

#[test]
fn round_trip_and_jitter_are_those_of_the_path() {
    let (mut world, a, b) = World::call(23);
    world.link = Link { delay: ms(70), jitter: ms(15), ..Link::default() };
    world.run(ms(60_000));
    for leg in [a, b] {
        let quality = world.statistics(leg).quality.unwrap();
        let trip = quality.round_trip_ms.unwrap();
        assert!((140.0..171.0).contains(&trip), "{trip}");
        // Of a uniform spread over 15 ms the mean difference is a third.
        let jitter = quality.jitter_ms.unwrap();
        assert!((4.0..6.5).contains(&jitter), "{jitter}");
        assert_eq!(quality.loss_percent, Some(0.0), "reordering is no loss");
    }
    // Three reports or so on each side, none empty, all well formed.
    let reports: Vec<_> = world.out.rtcp.iter().filter(|(_, leg, ..)| *leg == a).collect();
    assert!((8..=30).contains(&reports.len()), "{}", reports.len());
    assert!(reports.iter().all(|(.., to, bytes)| *to == rtcp_address(b) && rtcp::parse(bytes).is_ok()));
    let gaps: BTreeSet<u64> = reports.windows(2).map(|p| (p[1].0.since(p[0].0)).as_millis() as u64).collect();
    assert!(gaps.first().unwrap() >= &2000 && gaps.last().unwrap() <= &6200, "{gaps:?}");
    assert!(gaps.len() > 5, "random");
}

#[test]
fn long_delay_lowers_the_score_once_it_is_measured() {
    let (mut world, a, _) = World::call(24);
    world.link = Link { delay: ms(300), ..Link::default() };
    world.run(ms(1500));
    let before = world.statistics(a).quality.unwrap();
    assert!((before.mos.unwrap() - 4.41).abs() < 0.01);
    world.run(ms(30_000));
    let after = world.statistics(a).quality.unwrap();
    assert!((after.mos.unwrap() - 3.96).abs() < 0.02, "{after:?}");
}

#[test]
fn reports_from_strangers_are_not_believed() {
    let (mut world, a, _) = World::call(25);
    world.run(ms(20_000));
    // A report that answers our last one, as if it had taken half a second; but from elsewhere.
    let (_, _, _, ours) = world.out.rtcp.iter().rev().find(|(_, leg, ..)| *leg == a).unwrap().clone();
    let last_sr = u32::from_be_bytes([ours[10], ours[11], ours[12], ours[13]]);
    let ssrc = u32::from_be_bytes([ours[4], ours[5], ours[6], ours[7]]);
    let block = rtcp::ReportBlock { ssrc, last_sr, ..rtcp::ReportBlock::default() };
    let mut forged = Vec::new();
    let report = rtcp::Report { ssrc: 1, block: Some(block), cname: "x", goodbye: true, ..rtcp::Report::default() };
    rtcp::write(&report, &mut forged);
    world.run(ms(500));
    let trip = world.statistics(a).quality.unwrap().round_trip_ms;
    world.deliver_rtcp(rtcp_address(leg(9, 9)), a, &forged);
    world.deliver_rtcp(rtp_address(leg(1, 1)), a, &forged);
    assert_eq!(world.statistics(a).quality.unwrap().round_trip_ms, trip);
    world.deliver_rtcp(rtcp_address(leg(1, 1)), a, &forged);
    assert_ne!(world.statistics(a).quality.unwrap().round_trip_ms, trip, "the forgery itself is sound");
    for garbage in [&[][..], &[0x80], &[0; 100], &[0x81, 200, 0xff, 0xff, 1, 2, 3, 4]] {
        world.deliver_rtcp(rtcp_address(leg(1, 1)), a, garbage);
    }
}

#[test]
fn media_is_taken_from_the_negotiated_address_only() {
    let mut world = World::new(1, 26);
    let a = leg(0, 1);
    let peer = rtp_address(leg(9, 1));
    world.open(a, config(leg(9, 1)));
    assert_eq!(world.out.accepted, [(a, Some(peer))]);
    for n in 0..20 {
        world.deliver(rtp_address(leg(9, 2)), a, &packet(0, n, 0, 1, &[0; 160]));
        world.deliver(rtcp_address(leg(9, 1)), a, &packet(0, n, 0, 1, &[0; 160]));
    }
    assert_eq!(world.statistics(a).packets_received, 0);
    world.deliver(peer, a, &packet(0, 1, 0, 1, &[0; 160]));
    assert_eq!(world.statistics(a).packets_received, 1);
    world.configure(a, config(leg(9, 3)));
    assert_eq!(world.out.accepted.last(), Some(&(a, Some(rtp_address(leg(9, 3))))));
    world.configure(a, config(leg(9, 3)));
    assert_eq!(world.out.accepted.len(), 2, "nothing new is not told");
}

/// RFC 3550 A.1: beside a stream that runs, two packets in a row make another. The first of them is not lost for that.
#[test]
fn another_stream_takes_over_with_its_second_packet() {
    let mut world = World::new(1, 34);
    let (a, b) = (leg(0, 1), leg(0, 2));
    world.open(a, config(leg(9, 1)));
    world.open(b, config(leg(9, 2)));
    world.command(Command::Bridge { a, b });
    let peer = rtp_address(leg(9, 1));
    let mut sent = Vec::new();
    let mut send = |world: &mut World, payload_type, ssrc, sequence: u16, is_heard| {
        let payload = [sent.len() as u8; 160];
        world.deliver(peer, a, &packet(payload_type, sequence, u32::from(sequence) * 160, ssrc, &payload));
        if is_heard {
            sent.push(payload.to_vec());
        }
        // Silence is made while nothing comes.
        let passed = world.sent_by(b).into_iter().map(|sent| sent.payload).filter(|payload| payload[0] != 0xff);
        let passed: Vec<_> = passed.collect();
        let count = passed.len();
        assert!(count + 1 >= sent.len() && passed[..] == sent[..count], "{count} of {}", sent.len());
        world.run(ms(20));
        count == sent.len()
    };
    // Nothing runs yet, and what cannot be played does not begin anything.
    assert!(send(&mut world, 55, 4, 9, false));
    assert_eq!(world.statistics(a).packets_received, 0);
    world.forget();
    for n in 0..10 {
        assert!(send(&mut world, 0, 1, n, true));
    }
    assert!(!send(&mut world, 0, 2, 500, true), "it could be anything");
    for n in 501..510 {
        assert!(send(&mut world, 0, 2, n, true), "now both");
    }
    assert_eq!((world.statistics(a).packets_received, world.statistics(a).packets_lost), (20, 0));
    // After silence the first is enough, and what was kept for long is not heard any more.
    assert!(send(&mut world, 0, 3, 70, false));
    world.run(ms(500));
    world.forget();
    let before = world.statistics(a).packets_received;
    world.deliver(peer, a, &packet(0, 71, 71 * 160, 3, &[1; 160]));
    assert_eq!(world.sent_by(b).last().unwrap().payload, [1; 160]);
    assert_eq!(world.statistics(a).packets_received, before + 1);
}

/// Sends one stream to a leg, so many packets more of it from one address or another.
fn stream_to(leg: LegId) -> impl FnMut(&mut World, SocketAddr, usize) {
    let mut n = 0_u16;
    move |world, from, count| {
        for _ in 0..count {
            world.deliver(from, leg, &packet(0, n, u32::from(n) * 160, 1, &[0; 160]));
            world.run(ms(20));
            n += 1;
        }
    }
}

#[test]
fn symmetric_media_is_learned_locked_and_learned_anew() {
    let mut world = World::new(1, 27);
    let a = leg(0, 1);
    let symmetric = LegConfig { symmetric: true, ..config(leg(9, 1)) };
    world.open(a, symmetric.clone());
    assert_eq!(world.out.accepted, [(a, None)]);
    let translated = "10.0.9.1:60123".parse().unwrap();
    let mut send = stream_to(a);
    send(&mut world, translated, 5);
    assert_eq!(world.statistics(a).packets_received, 4);
    assert_eq!(world.sent_by(a).last().unwrap().to, translated, "and that is where it sends");
    let elsewhere = "10.0.9.2:4000".parse().unwrap();
    send(&mut world, elsewhere, 5);
    // After three seconds for good.
    send(&mut world, translated, 160);
    assert_eq!(world.out.accepted.last(), Some(&(a, Some(translated))));
    send(&mut world, elsewhere, 100);
    assert_eq!(world.statistics(a).packets_received, 164);
    // RTCP from the same host is taken from whatever port, and answered there.
    let mut report = Vec::new();
    rtcp::write(&rtcp::Report { ssrc: 1, cname: "x", ..rtcp::Report::default() }, &mut report);
    world.deliver_rtcp("10.0.9.2:4001".parse().unwrap(), a, &report);
    world.deliver_rtcp("10.0.9.1:61111".parse().unwrap(), a, &report);
    world.forget();
    world.run(ms(8000));
    // Silence for five seconds: the source may have moved.
    assert_eq!(world.out.accepted, [(a, None)]);
    assert!(world.out.rtcp.iter().all(|(_, _, to, _)| *to == "10.0.9.1:61111".parse().unwrap()));
    assert!(!world.out.rtcp.is_empty());
    // To another port, not to another host: who changes that says so.
    let moved = "10.0.9.1:60125".parse().unwrap();
    world.forget();
    send(&mut world, elsewhere, 50);
    assert!(world.sent_by(a).iter().all(|sent| sent.to == translated));
    send(&mut world, moved, 165);
    assert_eq!(world.sent_by(a).last().unwrap().to, moved);
    // A re-offer begins anew.
    world.configure(a, LegConfig { latch_generation: 1, ..symmetric });
    assert_eq!(world.out.accepted.last(), Some(&(a, None)));
    let negotiated = rtp_address(leg(9, 1));
    send(&mut world, negotiated, 1);
    assert_eq!(world.out.accepted.last(), Some(&(a, Some(negotiated))));
}

/// At the pace of a call and beside it, from before its first packet: what it says is not heard for long, and what it is sent is nothing.
#[test]
fn a_stranger_that_is_there_before_the_peer_makes_way_for_it() {
    let mut world = World::new(1, 30);
    let (a, peer) = (leg(0, 1), rtp_address(leg(9, 1)));
    let signalling = |host: &str| Some(host.parse().unwrap());
    let stranger = rtp_address(leg(9, 7));
    // Where there may be a proxy between it is heard after 2 s, until the peer comes, whenever that is.
    for (host, packets, heard) in
        [("10.0.9.1", 400, false), ("10.0.9.2", 95, false), ("10.0.9.2", 110, true), ("10.0.9.2", 400, true)]
    {
        let what = format!("{packets} packets, signalling from {host}");
        world.open(a, LegConfig { symmetric: true, signalling: signalling(host), ..config(leg(9, 1)) });
        stream_to(a)(&mut world, stranger, packets);
        assert_eq!(world.statistics(a).packets_received > 0, heard, "{what}");
        assert_eq!(world.sent_by(a).iter().any(|sent| sent.to == stranger), heard, "{what}");
        assert_eq!(world.out.accepted.last(), Some(&(a, None)), "{what}: the peer can come in");
        let mut report = Vec::new();
        rtcp::write(&rtcp::Report { ssrc: 1, cname: "x", ..rtcp::Report::default() }, &mut report);
        world.deliver_rtcp(rtcp_address(leg(9, 7)), a, &report);
        stream_to(a)(&mut world, peer, 1);
        assert_eq!(world.out.accepted.last(), Some(&(a, Some(peer))), "{what}");
        world.forget();
        let received = world.statistics(a).packets_received;
        stream_to(a)(&mut world, stranger, 350);
        assert!(world.sent_by(a).iter().all(|sent| sent.to == peer), "{what}");
        assert!(world.out.rtcp.iter().all(|(_, _, to, _)| to.ip() == peer.ip()), "{what}");
        assert_eq!((world.statistics(a).packets_received, world.out.accepted.len()), (received, 1), "{what}");
        world.command(Command::Close { leg: a });
    }
}

/// A stranger sends at the pace of a call, beside one that was heard, is described once more and is silent. Then the call is held and goes on.
#[test]
fn a_stranger_gets_nothing_of_a_call_that_is_described_once_more() {
    let mut world = World::new(1, 31);
    let a = leg(0, 1);
    let active = LegConfig { symmetric: true, signalling: "10.0.9.2".parse().ok(), ..config(leg(9, 1)) };
    world.open(a, active.clone());
    let (translated, stranger) = ("10.0.9.2:60123".parse().unwrap(), rtp_address(leg(9, 7)));
    let mut send = stream_to(a);
    send(&mut world, translated, 50);
    let received = world.statistics(a).packets_received;
    world.forget();
    for (latch_generation, may_receive) in [(1, true), (2, false), (3, true)] {
        world.configure(a, LegConfig { latch_generation, may_receive, ..active.clone() });
        send(&mut world, stranger, 200);
    }
    assert!(world.sent_by(a).len() > 590 && world.sent_by(a).iter().all(|sent| sent.to == translated));
    assert_eq!(world.statistics(a).packets_received, received);
    send(&mut world, translated, 50);
    assert_eq!(world.statistics(a).packets_received, received + 50);
}

/// A stranger has taken the place of a peer that was silent, and the call is held: the peer need not wait for its end to come in.
#[test]
fn the_peer_sends_a_stranger_away_on_hold_too() {
    let mut world = World::new(1, 32);
    let (a, peer) = (leg(0, 1), rtp_address(leg(9, 1)));
    let active = LegConfig { symmetric: true, signalling: "10.0.9.2".parse().ok(), ..config(leg(9, 1)) };
    world.open(a, active.clone());
    let mut send = stream_to(a);
    send(&mut world, rtp_address(leg(9, 7)), 150);
    world.configure(a, LegConfig { latch_generation: 1, may_receive: false, ..active });
    send(&mut world, peer, 1);
    world.forget();
    send(&mut world, rtp_address(leg(9, 7)), 50);
    assert!(world.sent_by(a).len() > 40 && world.sent_by(a).iter().all(|sent| sent.to == peer));
}

/// A peer behind a NAT is held and resumes. Meanwhile it sends nothing, and strangers at the pace of a call do: they get and give nothing.
#[test]
fn a_held_peer_is_sent_to_where_it_was_and_nobody_takes_its_place() {
    for sends_first in [false, true] {
        let mut world = World::new(1, 29);
        let a = leg(0, 1);
        let translated: SocketAddr = "198.51.100.1:60123".parse().unwrap();
        let signalling = Some(translated.ip());
        let active = LegConfig { symmetric: true, sends_first, signalling, ..config(leg(9, 1)) };
        world.open(a, active.clone());
        let stranger = rtp_address(leg(9, 7));
        let mut send = stream_to(a);
        send(&mut world, translated, 10);
        let generation = |latch_generation, may_receive| LegConfig { latch_generation, may_receive, ..active.clone() };
        world.configure(a, generation(1, false));
        world.forget();
        send(&mut world, stranger, 500);
        assert!(world.sent_by(a).len() > 490 && world.sent_by(a).iter().all(|sent| sent.to == translated));
        assert!(!world.out.rtcp.iter().any(|(_, _, to, _)| to.ip() == stranger.ip()));
        // It resumes, and is where it was; a packet of its is enough.
        let received = world.statistics(a).packets_received;
        world.configure(a, generation(2, true));
        world.forget();
        world.run(ms(40));
        assert!(world.sent_by(a).iter().all(|sent| sent.to == translated));
        send(&mut world, translated, 1);
        assert_eq!(world.out.accepted.last(), Some(&(a, Some(translated))));
        send(&mut world, stranger, 100);
        assert_eq!(world.statistics(a).packets_received, received + 1);
        // What it says is another address: that one, then.
        world.configure(a, LegConfig { remote_rtp: Some(rtp_address(leg(9, 3))), ..generation(3, true) });
        world.forget();
        world.run(ms(40));
        let to: BTreeSet<_> = world.sent_by(a).iter().map(|sent| sent.to).collect();
        assert_eq!(to, if sends_first { BTreeSet::new() } else { BTreeSet::from([rtp_address(leg(9, 3))]) });
    }
}

#[test]
fn every_digit_is_told_once_through_loss_reordering_and_duplication() {
    let (mut told, mut dialled) = (0, 0);
    for seed in 0..60 {
        let (mut world, a, b) = World::call(seed);
        world.link = Link { delay: ms(20), jitter: ms(50), loss_percent: seed as f64 / 2.0, duplicate_percent: 20.0 };
        let digits = "0123456789*#ABCD1122";
        world.command(Command::SendDtmf {
            leg: a,
            digits: digits.into(),
            duration_ms: 100,
            gap_ms: 100,
            token: Token(1),
        });
        world.run(ms(8000));
        let heard: String = world
            .events()
            .iter()
            .filter_map(|event| match event {
                Event::Dtmf { leg, digit, duration_ms } => {
                    assert_eq!(*leg, b);
                    assert!((20..=100).contains(duration_ms));
                    Some(*digit)
                }
                _ => None,
            })
            .collect();
        // All seven packets of a digit lost: once in some thousands at 30 %. Then it is missing, and nothing else is.
        let mut rest = digits.chars();
        assert!(heard.chars().all(|digit| rest.any(|d| d == digit)), "seed {seed}: {heard}");
        told += heard.len();
        dialled += digits.len();
    }
    assert!(dialled - told <= 1, "{told} of {dialled}");
}

#[test]
fn a_key_is_told_to_be_down_while_it_is_held() {
    let (mut world, a, b) = World::call(27);
    let (digits, duration_ms, gap_ms) = ("5".into(), 1000, 100);
    world.command(Command::SendDtmf { leg: a, digits, duration_ms, gap_ms, token: Token(1) });
    world.run(ms(500));
    assert_eq!(world.events(), [Event::KeyDown { leg: b }]);
    world.run(ms(1000));
    let events: Vec<_> = world.events().into_iter().filter(|event| event.leg() == b).collect();
    assert_eq!(events, [Event::KeyDown { leg: b }, Event::Dtmf { leg: b, digit: '5', duration_ms: 1000 }]);
}

#[test]
fn a_monitor_reports_each_interval_until_it_is_ended() {
    let (mut world, a, b) = World::call(28);
    world.run(ms(300));
    world.forget();
    world.command(Command::Monitor { leg: b, interval: Some(ms(500)) });
    world.run(ms(5100));
    let times: Vec<Mono> = world.out.events.iter().map(|(at, _)| *at).collect();
    assert_eq!(times.len(), 10);
    for pair in times.windows(2) {
        assert!((480..=520).contains(&pair[1].since(pair[0]).as_millis()));
    }
    let Event::Quality { leg, statistics } = world.events()[9].clone() else { panic!("quality") };
    assert_eq!(leg, b);
    assert!(statistics.packets_received > 240 && statistics.quality.unwrap().mos.unwrap() > 4.4);
    world.command(Command::Monitor { leg: b, interval: None });
    world.forget();
    world.run(ms(2000));
    assert!(world.events().is_empty());
    let _ = a;
}

#[test]
fn silence_is_told_once_and_again_after_sound() {
    let (mut world, a, b) = World::call(29);
    world.command(Command::WatchSilence { leg: b, after: Some(ms(1000)) });
    let silences = |world: &mut World| {
        let count = world.events().iter().filter(|e| matches!(e, Event::Silent { leg, .. } if *leg == b)).count();
        world.forget();
        count
    };
    world.run(ms(5000));
    assert_eq!(silences(&mut world), 0);
    for _ in 0..3 {
        world.command(Command::Transmit { leg: a, on: false });
        world.run(ms(950));
        assert_eq!(silences(&mut world), 0);
        world.run(ms(5000));
        assert_eq!(silences(&mut world), 1);
        world.command(Command::Transmit { leg: a, on: true });
        world.run(ms(500));
    }
    // On hold nothing is due, and the time counts from when it is again.
    world.command(Command::Transmit { leg: a, on: false });
    world.configure(b, LegConfig { may_receive: false, ..config(a) });
    world.run(ms(5000));
    assert_eq!(silences(&mut world), 0);
    world.configure(b, config(a));
    world.run(ms(950));
    assert_eq!(silences(&mut world), 0);
    world.run(ms(100));
    assert_eq!(silences(&mut world), 1);
    world.command(Command::WatchSilence { leg: b, after: None });
    world.run(ms(5000));
    assert_eq!(silences(&mut world), 0);
}

#[test]
fn a_leg_that_never_hears_anything_is_told_silent_too() {
    let mut world = World::new(1, 30);
    let a = leg(0, 1);
    world.open(a, config(leg(9, 9)));
    world.command(Command::WatchSilence { leg: a, after: Some(ms(3000)) });
    world.run(ms(10_000));
    let Some(Event::Silent { leg, silent_for }) = world.events().pop() else { panic!("silent") };
    assert_eq!(leg, a);
    assert!((3000..3050).contains(&silent_for.as_millis()));
}

#[test]
fn closing_says_goodbye_and_tells_the_last_figures() {
    let (mut world, a, b) = World::call(31);
    world.run(ms(1010));
    world.command(Command::PlayTone {
        leg: a,
        tone: Tone { frequencies: vec![400.0], level_dbm0: -10.0, duration: None },
        token: Token(5),
    });
    world.command(Command::SendDtmf { leg: a, digits: "12".into(), duration_ms: 100, gap_ms: 100, token: Token(6) });
    world.run(ms(20));
    world.forget();
    world.command(Command::Close { leg: a });
    let (_, _, to, bytes) = world.out.rtcp.last().unwrap();
    assert_eq!(*to, rtcp_address(b));
    let packets: Vec<_> = rtcp::parse(bytes).unwrap().packets().collect();
    assert!(matches!(packets[0], rtcp::Packet::SenderReport { .. }));
    assert!(matches!(packets[1], rtcp::Packet::SourceDescription(_)));
    assert!(matches!(packets[2], rtcp::Packet::Goodbye(_)));
    let [
        Event::PlayEnded { token: Token(5), completed: false, .. },
        Event::DtmfSent { token: Token(6), completed: false, .. },
        Event::Closed { leg: closed, statistics },
    ] = world.events()[..]
    else {
        panic!("{:?}", world.events());
    };
    assert_eq!((closed, statistics.packets_sent), (a, 51));
    world.forget();
    world.command(Command::Close { leg: a });
    assert_eq!(world.events(), [Event::Closed { leg: a, statistics: Statistics::default() }], "its ports are freed");
    // Who never sent anything leaves without a word (RFC 3550 §6.3.7).
    let c = leg(0, 7);
    world.open(c, config(b));
    world.forget();
    world.command(Command::Close { leg: c });
    assert!(world.out.rtcp.is_empty());
}

#[test]
fn a_panic_ends_its_leg_and_no_other() {
    let mut world = World::new(1, 32);
    for n in 1..=3 {
        world.open(leg(0, n), config(leg(9, n)));
    }
    world.command(Command::Bridge { a: leg(0, 1), b: leg(0, 2) });
    world.run(ms(100));
    world.forget();
    world.out.explosive = Some(leg(0, 2));
    world.run(ms(100));
    assert_eq!(world.events(), [Event::Failed { leg: leg(0, 2), cause: "a panic in the media engine" }]);
    assert_eq!(world.engines[0].live_legs(), 2);
    world.forget();
    world.run(ms(100));
    assert_eq!((world.sent_by(leg(0, 1)).len(), world.sent_by(leg(0, 3)).len()), (5, 5));
    world.command(Command::Close { leg: leg(0, 2) });
    assert_eq!(world.events().len(), 1);
}

#[test]
fn garbage_is_passed_over() {
    let (mut world, a, b) = World::call(33);
    world.run(ms(100));
    let from = rtp_address(b);
    let good = packet(0, 1, 1, 1, &[0; 160]);
    for length in 0..good.len() {
        world.deliver(from, a, &good[..length]);
    }
    for first in 0..=255 {
        let mut bad = good.clone();
        bad[0] = first;
        world.deliver(from, a, &bad);
    }
    for length in [1500, 9000, 65_507] {
        world.deliver(from, a, &packet(0, 9, 9, 9, &vec![0; length - 12]));
    }
    world.run(ms(100));
    assert!(!world.events().iter().any(|event| matches!(event, Event::Failed { .. })));
    world.deliver(from, leg(0, 200), &good);
}
