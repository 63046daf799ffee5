//! Extended reports (RFC 3611) between legs: what one end measures is what the other is told, and nothing that was not measured.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests.

mod common;

use std::sync::Arc;

use common::*;
use ringback_media_api::{AudioPort, Codec, Command, LegConfig, LegId, RemoteMetrics, Statistics, VoipMetrics};
use ringback_rtp::emodel;
use ringback_rtp::rtcp::{self, Extended, ExtendedBlock};

fn extended(remote: LegId) -> LegConfig {
    LegConfig { xr_voip: true, xr_reference_time: true, ..config(remote) }
}

/// Two legs that report to each other, of which the second is listened to.
fn reporting_call(seed: u64) -> (World, LegId, LegId) {
    let mut world = World::new(2, seed);
    let (a, b) = (leg(0, 1), leg(1, 1));
    world.open(a, extended(b));
    world.open(b, extended(a));
    world.command(Command::OpenAudio { leg: b, port: Arc::new(AudioPort::new(8000, 20, 1_000_000)) });
    (world, a, b)
}

fn voip(statistics: &Statistics) -> VoipMetrics {
    statistics.remote.and_then(|remote| remote.voip).unwrap_or_else(|| panic!("no VoIP metrics: {statistics:?}"))
}

/// Runs until just after `leg` has sent its next report.
fn until_report(world: &mut World, leg: LegId) {
    let reports = |world: &World| world.out.rtcp.iter().filter(|(_, from, ..)| *from == leg).count();
    let before = reports(world);
    for _ in 0..10_000 {
        if reports(world) > before {
            return;
        }
        world.run(ms(1));
    }
    panic!("no report");
}

fn blocks(bytes: &[u8]) -> Vec<ExtendedBlock<'_>> {
    let packets = rtcp::parse(bytes).unwrap().packets();
    let extended = packets.filter_map(|packet| match packet {
        rtcp::Packet::ExtendedReport { blocks, .. } => Some(blocks),
        _ => None,
    });
    extended.flatten().collect()
}

#[test]
fn the_far_end_is_told_what_was_measured_here() {
    for (seed, loss_percent) in [(1, 0.0), (2, 2.0), (3, 10.0)] {
        let (mut world, a, b) = reporting_call(seed);
        world.link = Link { delay: ms(40), jitter: ms(10), loss_percent, ..Link::default() };
        world.run(ms(300_000));
        // The report that arrives last, however many were lost.
        let (there, here) = loop {
            until_report(&mut world, b);
            let here = world.statistics(b);
            let before = world.statistics(a).remote;
            world.run(ms(60));
            let there = world.statistics(a);
            if there.remote != before {
                break (there, here);
            }
        };
        let (said, quality) = (voip(&there), here.quality.unwrap());
        assert!((said.loss_percent - quality.loss_percent.unwrap()).abs() <= 0.4, "{said:?} {quality:?}");
        assert!((f32::from(said.r_factor.unwrap()) - quality.r_factor.unwrap()).abs() <= 0.51);
        assert!((said.mos_cq.unwrap() - quality.mos.unwrap()).abs() <= 0.051);
        assert_eq!(said.mos_lq, said.mos_cq, "the delay is short");
        assert!((f32::from(said.round_trip_ms.unwrap()) - quality.round_trip_ms.unwrap()).abs() <= 1.0);
        assert!((80..=100).contains(&said.round_trip_ms.unwrap()));
        // Packets of 20 ms, and a playout buffer that fits a jitter of 10 ms.
        assert!((40..=100).contains(&said.end_system_delay_ms.unwrap()), "{said:?}");
        assert_eq!(said.end_system_delay_ms, Some(said.jitter_buffer_nominal_ms + 20));
        assert_eq!((said.conceals, said.adaptive_jitter_buffer), (Some(true), Some(true)));
        assert_eq!((said.signal_level_dbm0, said.noise_level_dbm0, said.echo_return_loss_db), (None, None, None));
        let reported = there.remote.unwrap().reported.unwrap();
        let lost = i64::from(reported.packets_lost) - here.packets_lost as i64;
        assert!((-2..=2).contains(&lost), "{reported:?} {here:?}");
        assert!((reported.jitter_ms - quality.jitter_ms.unwrap()).abs() < 0.5);
        if loss_percent == 0.0 {
            assert_eq!((said.burst_density_percent, said.gap_density_percent), (0.0, 0.0));
            assert_eq!(said.burst_duration_ms, 0);
            assert_eq!(said.gap_duration_ms, u16::MAX, "more than five minutes do not fit");
        } else {
            // In bursts every other packet or so is lost, between them every seventeenth at most.
            assert!(said.burst_density_percent > 2.0 * said.gap_density_percent, "{said:?}");
            assert!(said.gap_density_percent < 100.0 / 17.0, "{said:?}");
            assert!((40..3_000).contains(&said.burst_duration_ms), "{said:?}");
            assert!((320..30_000).contains(&said.gap_duration_ms), "{said:?}");
        }
    }
}

#[test]
fn what_is_not_known_is_not_said() {
    let mut world = World::new(2, 4);
    let (a, b) = (leg(0, 1), leg(1, 1));
    world.open(a, extended(b));
    world.open(b, extended(a));
    assert_eq!(world.statistics(a).remote, None);
    until_report(&mut world, b);
    let (.., bytes) = world.out.rtcp.iter().find(|(_, leg, ..)| *leg == b).unwrap();
    let Some(ExtendedBlock::VoipMetrics(said)) = blocks(bytes).pop() else { panic!("{:?}", blocks(bytes)) };
    assert_eq!((said.round_trip_ms, said.end_system_delay_ms), (None, None), "nobody listens, no report came back");
    assert_eq!((said.jitter_buffer, said.jitter_buffer_nominal_ms), (rtcp::JitterBufferKind::Unknown, 0));
    assert_eq!(said.gmin, 16);
    world.run(ms(1));
    let remote = world.statistics(a).remote.unwrap();
    assert_eq!((voip(&world.statistics(a)).round_trip_ms, remote.reported.unwrap().loss_percent), (None, 0.0));

    // A leg that got no stream has nothing to say of one.
    let (c, d) = (leg(0, 2), leg(1, 2));
    world.open(c, extended(d));
    world.forget();
    until_report(&mut world, c);
    let (.., bytes) = world.out.rtcp.iter().find(|(_, leg, ..)| *leg == c).unwrap();
    assert!(blocks(bytes).is_empty());

    // Who was not asked says nothing.
    let (mut plain, a, _) = World::call(5);
    plain.run(ms(20_000));
    assert!(plain.out.rtcp.iter().all(|(.., bytes)| blocks(bytes).is_empty()));
    let remote = plain.statistics(a).remote.unwrap();
    assert!(remote.voip.is_none() && remote.reported.is_some());
}

#[test]
fn who_only_listens_knows_the_round_trip_by_its_reference_time() {
    let mut world = World::new(2, 6);
    let (a, b) = (leg(0, 1), leg(1, 1));
    world.link = Link { delay: ms(70), ..Link::default() };
    world.open(a, LegConfig { may_receive: false, ..extended(b) });
    world.open(b, LegConfig { may_send: false, ..extended(a) });
    world.run(ms(30_000));
    for leg in [a, b] {
        let trip = world.statistics(leg).quality.unwrap().round_trip_ms.unwrap();
        assert!((139.0..142.0).contains(&trip), "{trip} of {leg:?}");
    }
    assert!(world.sent_by(b).is_empty());
    let sent =
        |leg: LegId| world.out.rtcp.iter().filter(move |(_, from, ..)| *from == leg).map(|(.., bytes)| blocks(bytes));
    assert!(sent(b).all(|blocks| matches!(blocks.first(), Some(ExtendedBlock::ReferenceTime(_)))));
    assert!(sent(a).flatten().all(|block| !matches!(block, ExtendedBlock::ReferenceTime(_))), "its sender reports do");
    assert!(sent(a).flatten().any(|block| matches!(block, ExtendedBlock::Delays(_))));
}

#[test]
fn reports_of_other_streams_and_impossible_ones_change_nothing() {
    let (mut world, a, b) = reporting_call(7);
    world.run(ms(20_000));
    let (.., ours) = world.out.rtcp.iter().rev().find(|(_, leg, ..)| *leg == a).unwrap().clone();
    let ssrc = u32::from_be_bytes([ours[4], ours[5], ours[6], ours[7]]);
    let before: Option<RemoteMetrics> = world.statistics(a).remote;
    let trip = world.statistics(a).quality.unwrap().round_trip_ms;
    let told = |world: &mut World, from, extended| {
        let mut bytes = Vec::new();
        rtcp::write(&rtcp::Report { ssrc: 9, cname: "x", extended, ..rtcp::Report::default() }, &mut bytes);
        world.deliver_rtcp(from, a, &bytes);
        world.statistics(a)
    };
    let bad = |ssrc| rtcp::VoipMetrics { ssrc, loss_rate: 255, r_factor: Some(1), ..rtcp::VoipMetrics::default() };
    let of = |ssrc| Extended { voip: Some(bad(ssrc)), ..Extended::default() };
    assert_eq!(told(&mut world, rtcp_address(b), of(ssrc ^ 1)).remote, before, "of another stream");
    assert_eq!(told(&mut world, rtcp_address(leg(9, 9)), of(ssrc)).remote, before, "from a stranger");
    // An answer to a report that was never sent, and one from before it was.
    for last_rr in [0, 1, 0xffff_ffff] {
        let delay = rtcp::DelaySinceLast { ssrc, last_rr, delay: u32::MAX };
        let statistics = told(&mut world, rtcp_address(b), Extended { delay: Some(delay), ..Extended::default() });
        assert_eq!(statistics.quality.unwrap().round_trip_ms, trip);
    }
    assert_eq!(voip(&told(&mut world, rtcp_address(b), of(ssrc))).r_factor, Some(1), "the forgery itself is sound");
}

/// Packets that come too late for who listens are as good as lost, in what is told here and there.
#[test]
fn late_packets_are_discarded_and_rated_as_lost() {
    let (mut world, a, b) = reporting_call(8);
    world.run(ms(20_000));
    // Now and then the path holds packets back for longer than any playout buffer waits.
    for _ in 0..60 {
        world.run(ms(960));
        world.link = Link { delay: ms(400), ..Link::default() };
        world.run(ms(40));
        world.link = Link::default();
    }
    world.run(ms(1000));
    until_report(&mut world, b);
    world.run(ms(1));
    let (here, said) = (world.statistics(b), voip(&world.statistics(a)));
    assert_eq!(here.packets_lost, 0);
    assert!((100..=125).contains(&here.packets_discarded), "{here:?}");
    let expected = here.packets_received as f64;
    let discarded = 100.0 * here.packets_discarded as f64 / expected;
    assert!((f64::from(said.discard_percent) - discarded).abs() < 0.4, "{said:?} {discarded}");
    let r = emodel::rating(emodel::Impairment::G711_CONCEALED, discarded, None, None);
    assert!((f64::from(here.quality.unwrap().r_factor.unwrap()) - r).abs() < 0.1, "{here:?} {r}");
    // Two at a time: each pair is a burst.
    assert_eq!(said.burst_density_percent.round(), 100.0, "{said:?}");
    assert!((38..=42).contains(&said.burst_duration_ms), "{said:?}");
    assert_eq!(here.codec, Some(Codec::Pcmu));
}

/// RFC 5761: reports by the port of RTP, told from packets by their type.
#[test]
fn reports_go_by_the_port_of_rtp_where_that_was_agreed() {
    let mut world = World::new(2, 9);
    let (a, b) = (leg(0, 1), leg(1, 1));
    world.link = Link { delay: ms(25), ..Link::default() };
    world.open(a, LegConfig { rtcp_mux: true, remote_rtcp: None, ..extended(b) });
    world.open(b, LegConfig { rtcp_mux: true, ..extended(a) });
    world.run(ms(30_000));
    assert!(world.out.rtcp.len() > 8);
    assert!(world.out.rtcp.iter().all(|(_, from, to, _)| *to == rtp_address(if *from == a { b } else { a })));
    for leg in [a, b] {
        let statistics = world.statistics(leg);
        let trip = statistics.quality.unwrap().round_trip_ms.unwrap();
        assert!((49.0..52.0).contains(&trip), "{trip}");
        assert_eq!((statistics.packets_lost, voip(&statistics).loss_percent), (0, 0.0), "reports are no packets");
        assert!((1495..=1500).contains(&statistics.packets_received));
    }
    // Neither from elsewhere, nor by the port that went unused.
    let (.., ours) = world.out.rtcp.iter().rev().find(|(_, leg, ..)| *leg == a).unwrap().clone();
    let ssrc = u32::from_be_bytes([ours[4], ours[5], ours[6], ours[7]]);
    let block = rtcp::ReportBlock { ssrc, fraction_lost: 200, ..rtcp::ReportBlock::default() };
    let mut forged = Vec::new();
    rtcp::write(&rtcp::Report { ssrc: 9, block: Some(block), ..rtcp::Report::default() }, &mut forged);
    let before = world.statistics(a).remote;
    world.deliver(rtp_address(leg(9, 9)), a, &forged);
    world.deliver_rtcp(rtcp_address(b), a, &forged);
    world.deliver_rtcp(rtp_address(b), a, &forged);
    assert_eq!(world.statistics(a).remote, before);
    world.deliver(rtp_address(b), a, &forged);
    assert_ne!(world.statistics(a).remote, before, "the forgery itself is sound");
    assert_eq!(world.statistics(a).packets_lost, 0);

    // Where it was not agreed nothing on that port is a report.
    let (mut plain, a, b) = World::call(10);
    plain.run(ms(200));
    let (ssrc, before) = (plain.sent_by(a)[0].header.ssrc, plain.statistics(a).remote);
    let mut report = Vec::new();
    let block = rtcp::ReportBlock { ssrc, ..block };
    rtcp::write(&rtcp::Report { ssrc: 9, block: Some(block), ..rtcp::Report::default() }, &mut report);
    plain.deliver(rtp_address(b), a, &report);
    assert_eq!(plain.statistics(a).remote, before);
}

/// Behind a translator: reports come from where media does, and from nowhere else.
#[test]
fn reports_on_one_port_follow_the_source_that_was_learned() {
    let mut world = World::new(1, 11);
    let a = leg(0, 1);
    world.open(a, LegConfig { rtcp_mux: true, symmetric: true, ..extended(leg(9, 1)) });
    world.run(ms(100));
    let ssrc = world.sent_by(a)[0].header.ssrc;
    let report = |lost| {
        let block = rtcp::ReportBlock { ssrc, fraction_lost: lost, ..rtcp::ReportBlock::default() };
        let mut bytes = Vec::new();
        rtcp::write(&rtcp::Report { ssrc: 9, block: Some(block), ..rtcp::Report::default() }, &mut bytes);
        bytes
    };
    let (translated, stranger) = ("10.0.9.1:60123".parse().unwrap(), "10.0.7.7:4000".parse().unwrap());
    let loss = |world: &mut World| world.statistics(a).remote.and_then(|r| r.reported).map(|r| r.loss_percent);
    // Reports teach no address, however many come.
    for _ in 0..50 {
        world.deliver(stranger, a, &report(64));
        world.run(ms(20));
    }
    assert_eq!(loss(&mut world), None);
    assert_eq!(world.sent_by(a).last().unwrap().to, rtp_address(leg(9, 1)));
    for n in 0..4 {
        world.deliver(translated, a, &packet(0, n, u32::from(n) * 160, 1, &[0; 160]));
        world.run(ms(20));
    }
    world.deliver(stranger, a, &report(64));
    world.deliver(rtp_address(leg(9, 1)), a, &report(64));
    assert_eq!(loss(&mut world), None);
    world.deliver(translated, a, &report(128));
    assert_eq!(loss(&mut world), Some(50.0));
    world.forget();
    until_report(&mut world, a);
    assert!(world.out.rtcp.iter().all(|(_, _, to, _)| *to == translated));
}

/// RFC 3550 §8.2. Of one that always has the SSRC that we have, or sends back what we send, no more is made than is needed.
#[test]
fn a_peer_that_has_our_ssrc_makes_us_take_another_once() {
    let mut world = World::new(1, 13);
    let a = leg(0, 1);
    let peer = rtp_address(leg(9, 1));
    world.open(a, config(leg(9, 1)));
    world.run(ms(8000));
    let ssrc_of = |world: &World| world.sent_by(a).last().unwrap().header.ssrc;
    let goodbyes = |world: &World| -> Vec<u32> {
        let packets = world.out.rtcp.iter().flat_map(|(.., bytes)| rtcp::parse(bytes).unwrap().packets());
        let chunks = packets.filter_map(|packet| match packet {
            rtcp::Packet::Goodbye(goodbye) => Some(goodbye.ssrcs().collect::<Vec<_>>()),
            _ => None,
        });
        chunks.flatten().collect()
    };
    let first = ssrc_of(&world);
    // An echo: our own packets, some later.
    for n in 0..50 {
        let sent = world.sent_by(a)[n].clone();
        let back = packet(0, sent.header.sequence, sent.header.timestamp, sent.header.ssrc, &sent.payload);
        world.deliver(peer, a, &back);
        world.run(ms(20));
    }
    assert_eq!((ssrc_of(&world), goodbyes(&world)), (first, Vec::new()));
    let mut n = 0_u16;
    let mut send = |world: &mut World, ssrc, count| {
        for _ in 0..count {
            world.deliver(peer, a, &packet(0, n, u32::from(n) * 160 + 7_000_000, ssrc, &[0; 160]));
            world.run(ms(20));
            n += 1;
        }
    };
    world.run(ms(1000));
    send(&mut world, first ^ 1, 20);
    send(&mut world, first, 20);
    let second = ssrc_of(&world);
    assert_ne!(second, first);
    assert_eq!(goodbyes(&world), [first], "the old one is no more");
    let sent = world.sent_by(a);
    assert!(sent.windows(2).all(|pair| pair[1].header.sequence == pair[0].header.sequence.wrapping_add(1)));
    send(&mut world, second, 500);
    assert_eq!((ssrc_of(&world), goodbyes(&world)), (second, vec![first]), "it has ours whatever we take");
    // What is counted is of the new one alone.
    until_report(&mut world, a);
    let (at, .., bytes) = world.out.rtcp.last().unwrap();
    let Some(rtcp::Packet::SenderReport { ssrc, info, .. }) = rtcp::parse(bytes).unwrap().packets().next() else {
        panic!("no sender report")
    };
    let sent = world.sent_by(a);
    let of_second = sent.iter().filter(|sent| sent.header.ssrc == second && sent.at < *at).count() as u32;
    assert_eq!((ssrc, info.packets, info.octets), (second, of_second, of_second * 160));
    assert!(of_second > 500);
}

/// `a=direction:active`: the address of the description gets nothing, that of the packets everything.
#[test]
fn a_peer_that_sends_first_is_answered_where_it_sends_from() {
    let mut world = World::new(1, 12);
    let a = leg(0, 1);
    let signalling = "198.51.100.4".parse().ok();
    let config = LegConfig { symmetric: true, sends_first: true, signalling, ..config(leg(9, 1)) };
    world.open(a, config.clone());
    world.run(ms(10_000));
    assert!(world.out.rtp.is_empty() && world.out.rtcp.is_empty(), "its address is good for nothing");
    let (translated, flooding) = ("198.51.100.4:7000".parse().unwrap(), "203.0.113.9:9".parse().unwrap());
    let mut n = 0;
    let mut send = |world: &mut World, count| {
        for _ in 0..count {
            // Someone off the path, at any rate and with numbers in a row, is not followed.
            for m in 0..20 {
                world.deliver(flooding, a, &packet(0, n * 20 + m, u32::from(n * 20 + m) * 160, 2, &[0; 160]));
            }
            world.deliver(translated, a, &packet(0, n, u32::from(n) * 160, 1, &[0; 160]));
            world.run(ms(20));
            n += 1;
        }
    };
    send(&mut world, 50);
    assert!(world.out.rtp.len() >= 45, "{}", world.out.rtp.len());
    assert!(world.out.rtp.iter().all(|sent| sent.to == translated));
    assert!((46..=49).contains(&world.statistics(a).packets_received));
    // Silence, and whoever comes then is learned anew; meanwhile it goes on to where it went.
    world.forget();
    world.run(ms(8000));
    assert!(world.out.rtp.len() > 390 && world.out.rtp.iter().all(|sent| sent.to == translated));
}
