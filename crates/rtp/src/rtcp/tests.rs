use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use ringback_time::{Mono, Wall};

use super::*;

const BLOCK: ReportBlock = ReportBlock {
    ssrc: 0x0102_0304,
    fraction_lost: 12,
    cumulative_lost: -5,
    extended_highest: 0x0001_8000,
    jitter: 77,
    last_sr: 0xb44d_b705,
    delay_since_last_sr: 0x0001_0000,
};
const INFO: SenderInfo = SenderInfo { ntp: 0xb44d_b705_2000_0000, timestamp: 4711, packets: 3, octets: 480 };

fn written(report: &Report<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(report, &mut bytes);
    bytes
}

#[test]
fn a_sender_report_stands_as_the_rfc_draws_it() {
    let bytes = written(&Report {
        ssrc: 0xaabb_ccdd,
        sender: Some(INFO),
        block: Some(BLOCK),
        cname: "ab",
        goodbye: true,
        ..Report::default()
    });
    #[rustfmt::skip]
    let expected = [
        0x81, 200, 0, 12, 0xaa, 0xbb, 0xcc, 0xdd,
        0xb4, 0x4d, 0xb7, 0x05, 0x20, 0, 0, 0, 0, 0, 0x12, 0x67, 0, 0, 0, 3, 0, 0, 1, 0xe0,
        1, 2, 3, 4, 12, 0xff, 0xff, 0xfb, 0, 1, 0x80, 0, 0, 0, 0, 77, 0xb4, 0x4d, 0xb7, 0x05, 0, 1, 0, 0,
        0x81, 202, 0, 3, 0xaa, 0xbb, 0xcc, 0xdd, 1, 2, b'a', b'b', 0, 0, 0, 0,
        0x81, 203, 0, 1, 0xaa, 0xbb, 0xcc, 0xdd,
    ];
    assert_eq!(bytes, expected);
}

#[test]
fn what_is_written_is_read_back() {
    for cname in ["", "a", "ab", "abc", "ringback@192.0.2.1", &"x".repeat(300)] {
        let bytes = written(&Report { ssrc: 9, block: Some(BLOCK), cname, goodbye: true, ..Report::default() });
        let mut packets = parse(&bytes).unwrap().packets();
        let Some(Packet::ReceiverReport { ssrc: 9, mut blocks }) = packets.next() else { panic!("a receiver report") };
        assert_eq!((blocks.next(), blocks.next()), (Some(BLOCK), None));
        let Some(Packet::SourceDescription(mut chunks)) = packets.next() else { panic!("a description") };
        let name = &cname.as_bytes()[..cname.len().min(255)];
        assert_eq!((chunks.next(), chunks.next()), (Some(Chunk { ssrc: 9, cname: Some(name) }), None));
        let Some(Packet::Goodbye(goodbye)) = packets.next() else { panic!("a goodbye") };
        assert_eq!((goodbye.ssrcs().collect::<Vec<_>>(), goodbye.reason), (vec![9], None));
        assert!(packets.next().is_none());
    }
}

#[test]
fn unknown_types_and_extensions_are_passed_over() {
    let mut bytes = vec![0x80, 201, 0, 2, 0, 0, 0, 1, 9, 9, 9, 9];
    bytes.extend([0x85, 208, 0, 1, 1, 2, 3, 4]);
    bytes.extend([0xa1, 203, 0, 3, 0, 0, 0, 1, 3, b'b', b'y', b'e', 0, 0, 0, 4]);
    let kinds: Vec<_> = parse(&bytes).unwrap().packets().collect();
    assert!(matches!(kinds[0], Packet::ReceiverReport { ssrc: 1, .. }));
    assert!(matches!(kinds[1], Packet::Unknown { packet_type: 208, content: [1, 2, 3, 4] }));
    assert!(matches!(&kinds[2], Packet::Goodbye(g) if g.reason == Some(b"bye")));
}

#[test]
fn what_does_not_add_up_is_refused() {
    let rows: [(&[u8], RtcpError); 14] = [
        (&[], RtcpError::Short),
        (&[0x80, 200], RtcpError::Short),
        (&[0x80, 202, 0, 0], RtcpError::NoReport),
        (&[0x40, 201, 0, 1, 0, 0, 0, 1], RtcpError::Version),
        (&[0x80, 201, 0, 2, 0, 0, 0, 1], RtcpError::Short),
        (&[0x80, 201, 0, 0], RtcpError::Count),
        (&[0x81, 201, 0, 1, 0, 0, 0, 1], RtcpError::Count),
        (&[0x80, 200, 0, 1, 0, 0, 0, 1], RtcpError::Count),
        (&[0xa0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4, 0x80, 201, 0, 1, 0, 0, 0, 1], RtcpError::Padding),
        (&[0xa0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3], RtcpError::Padding),
        (&[0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 202, 0, 2, 0, 0, 0, 1, 1, 3, b'a', b'b'], RtcpError::Count),
        (&[0x80, 201, 0, 1, 0, 0, 0, 1, 0x82, 203, 0, 1, 0, 0, 0, 1], RtcpError::Count),
        (&[0x80, 201, 0, 1, 0, 0, 0, 1, 0x80, 207, 0, 0], RtcpError::Count),
        (&[0x80, 201, 0, 1, 0, 0, 0, 1, 0x80, 207, 0, 2, 0, 0, 0, 1, 4, 0, 0, 2], RtcpError::Count),
    ];
    for (bytes, error) in rows {
        assert_eq!(parse(bytes).err(), Some(error), "{bytes:?}");
    }
}

#[test]
fn intervals_lie_where_the_rfc_puts_them() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let call =
        Interval { members: 2, senders: 2, we_sent: true, initial: false, bandwidth: 400.0, average_size: 120.0 };
    let mut sum = 0.0;
    for _ in 0..10_000 {
        let seconds = interval(&call, &mut rng).as_secs_f64();
        assert!((2.5 / 1.2183..7.5 / 1.2182).contains(&seconds), "{seconds}");
        sum += seconds;
        let first = interval(&Interval { initial: true, ..call }, &mut rng).as_secs_f64();
        assert!((1.25 / 1.2183..3.75 / 1.2182).contains(&first), "{first}");
    }
    assert!((sum / 10_000.0 - 5.0 / 1.21828).abs() < 0.05, "{}", sum / 10_000.0);
    // RFC 3550 §6.2: with many members the bandwidth decides.
    let crowd = Interval { members: 1000, senders: 1, we_sent: false, ..call };
    let seconds = interval(&crowd, &mut rng).as_secs_f64();
    assert!((164.0..493.0).contains(&seconds), "{seconds}");
}

#[test]
fn the_round_trip_of_the_rfc_s_figure_2() {
    // RFC 3550 §6.4.1: SR sent at 0xb44db705:20000000, held 5.25 s, answered at 0xb710:8000 (seconds:fraction) - 6.125 s.
    let mut trip = RoundTrip::new();
    let sent = Mono::from_nanos(1_000_000_000);
    trip.sent(0xb44d_b705_2000_0000, sent);
    let block = ReportBlock { last_sr: 0xb705_2000, delay_since_last_sr: 0x0005_4000, ..BLOCK };
    trip.received(&block, sent + Duration::from_millis(11_375));
    assert_eq!(trip.latest(), Some(Duration::from_millis(6125)));
}

#[test]
fn only_a_report_of_ours_makes_a_round_trip() {
    let mut trip = RoundTrip::new();
    let at = |ms: u64| Mono::from_nanos(ms * 1_000_000);
    trip.received(&ReportBlock { last_sr: 0, ..BLOCK }, at(100));
    trip.received(&BLOCK, at(100));
    assert_eq!(trip.latest(), None);
    let ntp = Wall::from_unix_nanos(1_700_000_000_123_456_789).ntp();
    trip.sent(ntp, at(0));
    let answer = ReportBlock { last_sr: (ntp >> 16) as u32, delay_since_last_sr: 65_536 / 10, ..BLOCK };
    trip.received(&answer, at(99));
    assert_eq!(trip.latest(), Some(Duration::ZERO), "a delay rounded up is not negative time");
    let mut trip = RoundTrip::new();
    trip.sent(ntp, at(0));
    for delay in [65_536 / 8, 65_536 * 3600, u32::MAX] {
        trip.received(&ReportBlock { delay_since_last_sr: delay, ..answer }, at(99));
        assert_eq!(trip.latest(), None, "nobody holds a report back for longer than it exists");
    }
    trip.received(&answer, at(150));
    assert!(trip.latest().unwrap().abs_diff(Duration::from_millis(50)) < Duration::from_micros(20));
}

const VOIP: VoipMetrics = VoipMetrics {
    ssrc: 0x0102_0304,
    loss_rate: 13,
    discard_rate: 2,
    burst_density: 128,
    gap_density: 3,
    burst_duration_ms: 400,
    gap_duration_ms: 9000,
    round_trip_ms: Some(120),
    end_system_delay_ms: Some(65),
    signal_level: Some(-18),
    noise_level: None,
    echo_return_loss: None,
    gmin: 16,
    r_factor: Some(88),
    external_r_factor: None,
    mos_lq: Some(42),
    mos_cq: Some(41),
    concealment: Concealment::Standard,
    jitter_buffer: JitterBufferKind::Adaptive,
    jitter_buffer_rate: 0,
    jitter_buffer_nominal_ms: 60,
    jitter_buffer_maximum_ms: 240,
    jitter_buffer_absolute_maximum_ms: 300,
};

#[test]
fn extended_blocks_stand_as_the_rfc_draws_them() {
    let delay = DelaySinceLast { ssrc: 0x0a0b_0c0d, last_rr: 0xb705_2000, delay: 0x0005_4000 };
    let extended = Extended { reference_time: Some(0xb44d_b705_2000_0000), delay: Some(delay), voip: Some(VOIP) };
    let bytes = written(&Report { ssrc: 0xaabb_ccdd, extended, ..Report::default() });
    #[rustfmt::skip]
    let expected = [
        0x80, 207, 0, 17, 0xaa, 0xbb, 0xcc, 0xdd,
        4, 0, 0, 2, 0xb4, 0x4d, 0xb7, 0x05, 0x20, 0, 0, 0,
        5, 0, 0, 3, 0x0a, 0x0b, 0x0c, 0x0d, 0xb7, 0x05, 0x20, 0, 0, 5, 0x40, 0,
        7, 0, 0, 8, 1, 2, 3, 4, 13, 2, 128, 3, 1, 0x90, 0x23, 0x28, 0, 120, 0, 65,
        0xee, 127, 127, 16, 88, 127, 42, 41, 0xf0, 0, 0, 60, 0, 240, 1, 0x2c,
    ];
    assert_eq!(&bytes[bytes.len() - expected.len()..], expected);
    let Some(Packet::ExtendedReport { ssrc: 0xaabb_ccdd, blocks }) = parse(&bytes).unwrap().packets().last() else {
        panic!("an extended report");
    };
    let blocks: Vec<_> = blocks.collect();
    assert!(matches!(blocks[0], ExtendedBlock::ReferenceTime(0xb44d_b705_2000_0000)));
    assert!(matches!(blocks[1], ExtendedBlock::Delays(delays) if delays.eq([delay])));
    assert!(matches!(blocks[2], ExtendedBlock::VoipMetrics(VOIP)));
    assert_eq!(blocks.len(), 3);
}

#[test]
fn what_is_not_known_is_absent_both_ways() {
    let nothing = VoipMetrics { ssrc: 5, gmin: 16, ..VoipMetrics::default() };
    let extended = Extended { voip: Some(nothing), ..Extended::default() };
    let mut bytes = written(&Report { ssrc: 1, extended, ..Report::default() });
    let read = |bytes: &[u8]| match parse(bytes).unwrap().packets().last() {
        Some(Packet::ExtendedReport { mut blocks, .. }) => match blocks.next() {
            Some(ExtendedBlock::VoipMetrics(voip)) => voip,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&bytes), nothing);
    // Ratings beyond their scales have no meaning: R of 101, MOS of 0.9 and 5.1.
    let end = bytes.len();
    for (at, octet) in [(12, 101), (11, 255), (10, 9), (9, 51)] {
        bytes[end - at] = octet;
    }
    assert_eq!(read(&bytes), nothing);
    // A block of another length than its type has is passed over.
    bytes[end - 36 + 3] = 7;
    bytes.truncate(end - 4);
    bytes[end - 36 - 8 + 3] -= 1;
    let Some(Packet::ExtendedReport { mut blocks, .. }) = parse(&bytes).unwrap().packets().last() else {
        panic!("one")
    };
    assert!(matches!(blocks.next(), Some(ExtendedBlock::Unknown { block_type: 7, .. })));
}
