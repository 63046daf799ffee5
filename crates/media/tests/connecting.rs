//! Echo and bridges: what is relayed, how it is numbered, and what fills the gaps.

mod common;

use common::*;
use ringback_audio::{pcma_to_pcmu, pcmu_to_pcma};
use ringback_media_api::{Codec, Command, Event, LegConfig, LegId, ReceiveFormat, SendFormat, Token, Tone};

/// A and B are bridged; the test plays their peers.
struct Bridged {
    world: World,
    a: LegId,
    b: LegId,
}

const PEER_A: u8 = 101;
const PEER_B: u8 = 102;

fn pcma(ptime_ms: u8) -> Option<SendFormat> {
    Some(SendFormat { codec: Codec::Pcma, payload_type: 8, ptime_ms })
}

fn bridged(b_config: impl FnOnce(LegConfig) -> LegConfig) -> Bridged {
    let mut world = World::new(1, 11);
    let (a, b) = (leg(0, 1), leg(0, 2));
    world.open(a, config(leg(9, PEER_A)));
    world.open(b, b_config(config(leg(9, PEER_B))));
    world.run(ms(100));
    world.command(Command::Bridge { a, b });
    world.forget();
    Bridged { world, a, b }
}

impl Bridged {
    /// A's peer sends packet `n` now.
    fn peer_sends(&mut self, n: u16, payload: &[u8]) {
        let from = rtp_address(leg(9, PEER_A));
        let bytes =
            packet(0, 65_530_u16.wrapping_add(n), 0xffff_ff00_u32.wrapping_add(u32::from(n) * 160), 77, payload);
        self.world.deliver(from, self.a, &bytes);
    }
}

#[test]
fn equal_encodings_are_relayed_untouched_at_once() {
    let mut it = bridged(|c| c);
    for n in 0..200_u16 {
        let payload: Vec<u8> = (0..160).map(|i| (i as u16 + n) as u8).collect();
        let before = it.world.sent_by(it.b).len();
        it.peer_sends(n, &payload);
        let sent = it.world.sent_by(it.b);
        assert_eq!(sent.len(), before + 1, "within the call");
        let last = sent.last().unwrap();
        assert_eq!((last.payload.clone(), last.to), (payload, rtp_address(leg(9, PEER_B))));
        assert_ne!(last.header.ssrc, 77);
        it.world.run(ms(20));
    }
    let sent = it.world.sent_by(it.b);
    assert_eq!(sent.len(), 200, "and no silence beside it");
    assert_continuous(&sent, 160);
    // A hears silence: its peer's peer says nothing.
    assert_continuous(&it.world.sent_by(it.a), 160);
    assert!(it.world.sent_by(it.a).len() >= 199);
}

#[test]
fn order_loss_and_markers_of_the_near_end_are_seen_at_the_far_end() {
    let mut it = bridged(|c| c);
    for n in [0, 1, 3, 2, 6, 7] {
        it.peer_sends(n, &[n as u8; 160]);
        it.world.run(ms(15));
    }
    let from = rtp_address(leg(9, PEER_A));
    let mut marked = packet(0, 65_530_u16.wrapping_add(8), 0xffff_ff00_u32.wrapping_add(8 * 160), 77, &[8; 160]);
    marked[1] |= 0x80;
    it.world.deliver(from, it.a, &marked);
    it.world.deliver(from, it.a, &marked);
    let sent = it.world.sent_by(it.b);
    let first = &sent[0].header;
    let seen: Vec<_> = sent
        .iter()
        .map(|p| {
            (p.header.sequence.wrapping_sub(first.sequence), p.header.timestamp.wrapping_sub(first.timestamp) / 160)
        })
        .collect();
    assert_eq!(seen, [(0, 0), (1, 1), (3, 3), (2, 2), (6, 6), (7, 7), (8, 8)], "a repeated packet goes once");
    assert!(sent[6].header.marker && !sent[5].header.marker);
}

#[test]
fn the_laws_are_exchanged_and_payload_types_mapped() {
    let mut it = bridged(|c| LegConfig { send: Some(SendFormat { payload_type: 97, ..pcma(20).unwrap() }), ..c });
    let payload: Vec<u8> = (0..160).map(|i| i as u8).collect();
    it.peer_sends(0, &payload);
    let mut expected = payload.clone();
    pcmu_to_pcma(&mut expected);
    let sent = it.world.sent_by(it.b).pop().unwrap();
    assert_eq!((sent.header.payload_type, sent.payload), (97, expected));
    // And the other way: B's peer sends A-law, A sends mu-law.
    let from = rtp_address(leg(9, PEER_B));
    it.world.deliver(from, it.b, &packet(8, 1, 1, 5, &payload));
    let mut expected = payload;
    pcma_to_pcmu(&mut expected);
    let sent = it.world.sent_by(it.a).pop().unwrap();
    assert_eq!((sent.header.payload_type, sent.payload), (0, expected));
}

#[test]
fn other_packet_times_are_cut_and_joined() {
    for (ptime_ms, total) in [(10_u8, 400), (30, 133), (40, 100), (60, 66)] {
        let mut it = bridged(|c| LegConfig { send: pcma(ptime_ms), ..c });
        it.world.run(ms(60));
        it.world.forget();
        let mut expected: Vec<u8> = Vec::new();
        for n in 0..200_u16 {
            let payload: Vec<u8> = (0..160).map(|i| (i as u16 * 7 + n) as u8).collect();
            it.peer_sends(n, &payload);
            expected.extend(payload);
            it.world.run(ms(20));
        }
        pcmu_to_pcma(&mut expected);
        let sent: Vec<_> =
            it.world.sent_by(it.b).into_iter().filter(|p| p.payload != vec![0xd5; p.payload.len()]).collect();
        assert_eq!(sent.len(), total, "{ptime_ms}");
        assert_continuous(&sent, u32::from(ptime_ms) * 8);
        let octets: Vec<u8> = sent.into_iter().flat_map(|p| p.payload).collect();
        assert_eq!(octets, expected[..octets.len()]);
    }
}

#[test]
fn a_quiet_source_is_filled_in_and_comes_back_on_the_same_clock() {
    let mut it = bridged(|c| c);
    let mut n = 0;
    for _ in 0..20 {
        for _ in 0..25 {
            it.peer_sends(n, &[1; 160]);
            it.world.run(ms(20));
            n += 1;
        }
        // Half a second of nothing, in which the peer's own clock goes on.
        it.world.run(ms(500));
        n += 25;
    }
    let sent = it.world.sent_by(it.b);
    let silent = sent.iter().filter(|p| p.payload == [0xff; 160]).count();
    let heard = sent.iter().filter(|p| p.payload == [1; 160]).count();
    assert!((20 * 20..=20 * 25).contains(&silent), "{silent}");
    assert!(heard >= 500 - 40, "{heard}");
    let first = &sent[0];
    for pair in sent.windows(2) {
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
        assert!((160..=160 * 6).contains(&step), "forward, and never by more than the filling waits: {step}");
    }
    // Nothing accumulates over twenty changes.
    for packet in &sent {
        let passed = ((packet.at.as_nanos() - first.at.as_nanos()) / 125_000) as i64;
        let clock = i64::from(packet.header.timestamp.wrapping_sub(first.header.timestamp));
        assert!((passed - clock).abs() <= 480, "{passed} against {clock}");
    }
}

#[test]
fn a_path_that_becomes_slower_is_heard_again() {
    let mut it = bridged(|c| c);
    for n in 0..50 {
        it.peer_sends(n, &[1; 160]);
        it.world.run(ms(20));
    }
    it.world.run(ms(400));
    it.world.forget();
    for n in 50..100 {
        it.peer_sends(n, &[1; 160]);
        it.world.run(ms(20));
    }
    let heard = it.world.sent_by(it.b).iter().filter(|p| p.payload == [1; 160]).count();
    // What was filled in cannot be said again; the rest is heard.
    assert!(heard >= 28, "{heard}");
}

#[test]
fn a_burst_after_the_gap_was_filled_is_not_said_twice() {
    let mut it = bridged(|c| c);
    for n in 0..20 {
        it.peer_sends(n, &[1; 160]);
        it.world.run(ms(20));
    }
    it.world.run(ms(300));
    it.world.forget();
    for n in 20..36 {
        it.peer_sends(n, &[1; 160]);
    }
    for n in 36..50 {
        it.peer_sends(n, &[1; 160]);
        it.world.run(ms(20));
    }
    let sent = it.world.sent_by(it.b);
    assert!(sent.len() < 24, "{}", sent.len());
    assert!(sent.windows(2).all(|p| p[1].header.timestamp.wrapping_sub(p[0].header.timestamp) == 160));
}

#[test]
fn a_sender_that_starts_over_is_relayed_on() {
    let mut it = bridged(|c| c);
    for n in 0..10 {
        it.peer_sends(n, &[1; 160]);
        it.world.run(ms(20));
    }
    let from = rtp_address(leg(9, PEER_A));
    for n in 0..10_u16 {
        it.world.deliver(from, it.a, &packet(0, 40_000 + n, 5_000_000 + u32::from(n) * 160, 78, &[2; 160]));
        it.world.run(ms(20));
    }
    for n in 10..20_u16 {
        // The same SSRC, but the timestamps jump.
        it.world.deliver(from, it.a, &packet(0, 40_000 + n, 0x9000_0000 + u32::from(n) * 160, 78, &[3; 160]));
        it.world.run(ms(20));
    }
    let sent = it.world.sent_by(it.b);
    assert_eq!(sent.len(), 30);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].header.ssrc, pair[0].header.ssrc);
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        assert!(pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp) <= 320);
    }
}

#[test]
fn a_sender_with_another_clock_is_followed() {
    // 300 ppm fast for ten minutes: 180 ms. Then silence, which must not step back or leap.
    let mut it = bridged(|c| c);
    let start = it.world.now.mono;
    for n in 0..30_000_u32 {
        let at = start + std::time::Duration::from_nanos(u64::from(n) * 19_994_000);
        let wait = at.since(it.world.now.mono);
        it.world.run(wait);
        let from = rtp_address(leg(9, PEER_A));
        it.world.deliver(from, it.a, &packet(0, n as u16, n * 160, 77, &[1; 160]));
        if n % 1000 == 0 {
            it.world.forget();
        }
    }
    it.world.forget();
    it.world.run(ms(1000));
    let sent = it.world.sent_by(it.b);
    assert_continuous(&sent, 160);
    assert!(sent.len() > 40);
}

#[test]
fn extensions_csrcs_and_padding_stay_behind() {
    let mut it = bridged(|c| c);
    let mut bytes = packet(0, 1, 1, 9, &[]);
    bytes[0] |= 0x20 | 0x10 | 1;
    bytes.extend([0, 0, 0, 9]);
    bytes.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
    bytes.extend([5; 160]);
    bytes.extend([0, 0, 0, 4]);
    it.world.deliver(rtp_address(leg(9, PEER_A)), it.a, &bytes);
    assert_eq!(it.world.sent_by(it.b).pop().unwrap().payload, [5; 160]);
}

#[test]
fn events_pass_a_bridge_with_the_type_mapped_and_are_told() {
    let mut it = bridged(|c| LegConfig { dtmf_send: Some(ringback_media_api::EventFormat::narrow(96)), ..c });
    let from = rtp_address(leg(9, PEER_A));
    let mut sequence = 100;
    let mut send = |it: &mut Bridged, payload_type, timestamp, payload: &[u8]| {
        it.world.deliver(from, it.a, &packet(payload_type, sequence, timestamp, 77, payload));
        it.world.run(ms(20));
        sequence += 1;
    };
    for n in 0..5 {
        send(&mut it, 0, n * 160, &[1; 160]);
    }
    for duration in [160_u16, 320, 480] {
        let [d0, d1] = duration.to_be_bytes();
        send(&mut it, DTMF, 800, &[7, 10, d0, d1]);
    }
    for _ in 0..3 {
        send(&mut it, DTMF, 800, &[7, 0x8a, 0x02, 0x80]);
    }
    for n in 11..16 {
        send(&mut it, 0, n * 160, &[1; 160]);
    }
    let sent = it.world.sent_by(it.b);
    let types: Vec<u8> = sent.iter().map(|p| p.header.payload_type).collect();
    assert_eq!(types, [[0; 5].as_slice(), &[96; 6], &[0; 5]].concat());
    let clock: Vec<u32> = sent.iter().map(|p| p.header.timestamp.wrapping_sub(sent[0].header.timestamp)).collect();
    assert_eq!(clock[5..11], [800; 6]);
    assert_eq!(clock[11], 11 * 160);
    assert!(sent.windows(2).all(|p| p[1].header.sequence == p[0].header.sequence.wrapping_add(1)));
    let told = [Event::KeyDown { leg: it.a }, Event::Dtmf { leg: it.a, digit: '7', duration_ms: 80 }];
    assert_eq!(it.world.events(), told);

    // Where the other side has no telephone-event nothing of it goes out.
    let mut it = bridged(|c| LegConfig { dtmf_send: None, ..c });
    it.world.deliver(from, it.a, &packet(DTMF, 1, 1, 77, &[7, 0x8a, 0x02, 0x80]));
    assert!(it.world.sent_by(it.b).is_empty());
    assert_eq!(it.world.events().len(), 1);
}

#[test]
fn what_the_engine_plays_goes_before_what_is_relayed() {
    let mut it = bridged(|c| c);
    let tone = Tone { frequencies: vec![400.0], level_dbm0: -10.0, duration: Some(ms(200)) };
    let mut n = 0;
    let mut talk = |it: &mut Bridged, count| {
        for _ in 0..count {
            it.peer_sends(n, &[1; 160]);
            it.world.run(ms(20));
            n += 1;
        }
    };
    talk(&mut it, 10);
    it.world.command(Command::PlayTone { leg: it.b, tone, token: Token(1) });
    talk(&mut it, 20);
    it.world.command(Command::Mute { leg: it.b, on: true });
    talk(&mut it, 20);
    it.world.command(Command::Mute { leg: it.b, on: false });
    talk(&mut it, 10);
    it.world.command(Command::SendDtmf { leg: it.b, digits: "5".into(), duration_ms: 60, gap_ms: 60, token: Token(2) });
    talk(&mut it, 20);
    let sent = it.world.sent_by(it.b);
    let kinds: Vec<char> = sent
        .iter()
        .map(|p| match (p.header.payload_type, p.payload[0]) {
            (DTMF, _) => 'd',
            (_, 1) => 'r',
            (_, 0xff) if p.payload == [0xff; 160] => 's',
            _ => 't',
        })
        .collect();
    let count = |kind| kinds.iter().filter(|k| **k == kind).count();
    assert_eq!((count('t'), count('d')), (10, 5));
    assert!((18..=21).contains(&count('s')), "{kinds:?}");
    assert!((40..=47).contains(&count('r')), "{kinds:?}");
    for pair in sent.windows(2) {
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        assert!((pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp) as i32) >= 0);
    }
}

#[test]
fn a_leg_that_only_passes_on_does_what_it_is_told_in_its_next_turn() {
    // At each millisecond of a packet time.
    for late in 0..20 {
        let mut it = bridged(|c| c);
        for n in 0..50 {
            it.peer_sends(n, &[0x55; 160]);
            it.world.run(ms(20));
        }
        let b = it.b;
        it.world.run(ms(late));
        let before = it.world.sent_by(b).len();
        let tone = Tone { frequencies: vec![440.0], level_dbm0: -10.0, duration: None };
        it.world.command(Command::PlayTone { leg: b, tone, token: Token(1) });
        it.world.run(ms(20));
        let sent = it.world.sent_by(b);
        assert_eq!(sent.len(), before + 1, "{late} ms");
        assert!(sent.last().is_some_and(|sent| sent.payload.iter().any(|octet| *octet != 0x55)), "{late} ms");
        it.world.run(ms(1000));
        let sent = it.world.sent_by(b);
        assert_eq!(sent.len(), before + 51, "{late} ms");
        assert_continuous(sent.get(before + 1..).unwrap_or_default(), 160);
    }
}

#[test]
fn digits_are_over_in_time_while_audio_passes() {
    let mut it = bridged(|c| c);
    for n in 0..20 {
        it.peer_sends(n, &[0x55; 160]);
        it.world.run(ms(20));
    }
    // The end of it is lost.
    let event = packet(101, 65_530_u16.wrapping_add(20), 0xffff_ff00_u32.wrapping_add(20 * 160), 77, &[5, 10, 1, 64]);
    it.world.deliver(rtp_address(leg(9, PEER_A)), it.a, &event);
    for back in 0..50 {
        // The other side speaks on, so that the leg has nothing to send by itself.
        let bytes = packet(0, back, u32::from(back) * 160, 78, &[0x33; 160]);
        it.world.deliver(rtp_address(leg(9, PEER_B)), it.b, &bytes);
        it.world.run(ms(20));
    }
    let digits = it.world.events().iter().filter(|event| matches!(event, Event::Dtmf { digit: '5', .. })).count();
    assert_eq!(digits, 1, "{:?}", it.world.events());
}

#[test]
fn bridges_come_and_go_without_a_break() {
    let mut it = bridged(|c| c);
    let mut n = 0;
    for round in 0..6 {
        for _ in 0..10 {
            it.peer_sends(n, &[1; 160]);
            it.world.run(ms(20));
            n += 1;
        }
        match round % 2 {
            0 => it.world.command(Command::Unbridge { leg: if round == 0 { it.a } else { it.b } }),
            _ => it.world.command(Command::Bridge { a: it.b, b: it.a }),
        }
    }
    for (who, least) in [(it.a, 58), (it.b, 55)] {
        let sent = it.world.sent_by(who);
        assert!(sent.len() >= least, "{}", sent.len());
        for pair in sent.windows(2) {
            assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
            assert!((160..=480).contains(&pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp)));
        }
    }
    let heard = it.world.sent_by(it.b).iter().filter(|p| p.payload == [1; 160]).count();
    assert!((28..=30).contains(&heard), "{heard}");
    // A third leg takes one of the two away.
    let c = leg(0, 3);
    it.world.open(c, config(leg(9, 103)));
    it.world.command(Command::Bridge { a: it.a, b: it.b });
    it.world.command(Command::Bridge { a: it.a, b: c });
    it.world.forget();
    it.peer_sends(n, &[4; 160]);
    assert_eq!(it.world.out.rtp.iter().map(|p| p.leg).collect::<Vec<_>>(), [c]);
    it.world.command(Command::Close { leg: it.a });
    it.world.run(ms(100));
    assert!(it.world.sent_by(c).len() >= 4, "silence goes on");
}

#[test]
fn the_echo_sends_back_what_comes_but_no_events() {
    let mut world = World::new(1, 4);
    let a = leg(0, 1);
    world.open(a, LegConfig { send: pcma(20), ..config(leg(9, 1)) });
    world.command(Command::Echo { leg: a, on: true });
    world.run(ms(100));
    world.forget();
    let from = rtp_address(leg(9, 1));
    for n in 0..50_u16 {
        world.deliver(from, a, &packet(8, n, u32::from(n) * 160, 1, &[n as u8; 160]));
        world.run(ms(20));
    }
    let sent = world.sent_by(a);
    assert_eq!(sent.len(), 50);
    assert_continuous(&sent, 160);
    assert!(sent.iter().enumerate().all(|(n, p)| p.payload == vec![n as u8; 160] && p.header.payload_type == 8));
    world.forget();
    world.deliver(from, a, &packet(DTMF, 50, 50 * 160, 1, &[1, 0x8a, 2, 0x80]));
    assert!(world.sent_by(a).is_empty());
    assert_eq!(world.events().len(), 1);
    // The other law comes back in ours.
    world.deliver(from, a, &packet(0, 51, 55 * 160, 1, &[0x10; 160]));
    let mut expected = [0x10; 160];
    pcmu_to_pcma(&mut expected);
    assert_eq!(world.sent_by(a).pop().unwrap().payload, expected);
    world.command(Command::Echo { leg: a, on: false });
    world.forget();
    world.deliver(from, a, &packet(8, 52, 56 * 160, 1, &[9; 160]));
    world.run(ms(100));
    assert!(world.sent_by(a).iter().all(|p| p.payload == [0xd5; 160]));
}

#[test]
fn nothing_is_relayed_where_a_direction_is_closed() {
    let mut it = bridged(|c| LegConfig { may_send: false, ..c });
    it.peer_sends(0, &[1; 160]);
    it.world.run(ms(50));
    assert!(it.world.sent_by(it.b).is_empty());
    let mut it = bridged(|c| c);
    it.world.configure(it.a, LegConfig { may_receive: false, ..config(leg(9, PEER_A)) });
    it.peer_sends(0, &[1; 160]);
    it.world.run(ms(50));
    assert!(it.world.sent_by(it.b).iter().all(|p| p.payload == [0xff; 160]));
    it.world.command(Command::Transmit { leg: it.b, on: false });
    it.world.configure(it.a, config(leg(9, PEER_A)));
    it.world.forget();
    it.peer_sends(1, &[1; 160]);
    assert!(it.world.sent_by(it.b).is_empty());
}

/// A hold of a moment, by either side, and whatever else the far end does not get: it sees the pause by the timestamps, and no loss.
#[test]
fn what_is_withheld_is_no_loss_at_the_far_end() {
    let receives_not = |it: &mut Bridged, on: bool| {
        it.world.configure(it.a, LegConfig { may_receive: on, ..config(leg(9, PEER_A)) });
    };
    let sends_not = |it: &mut Bridged, on: bool| {
        it.world.configure(it.b, LegConfig { may_send: on, dtmf_send: None, ..config(leg(9, PEER_B)) });
    };
    for hold in [receives_not as fn(&mut Bridged, bool), sends_not] {
        let mut it = bridged(|config| LegConfig { dtmf_send: None, ..config });
        for n in 0..30 {
            if let Some(on) = (n % 10 == 5).then_some(false).or((n % 10 == 6).then_some(true)) {
                hold(&mut it, on);
            }
            it.peer_sends(n, &[1; 160]);
            it.world.run(ms(20));
        }
        // A digit that B's peer has not agreed to, and a payload type that nobody has: in packets of the same stream.
        let from = rtp_address(leg(9, PEER_A));
        for (payload_type, n) in [(0, 30), (DTMF, 31), (0, 32), (77, 33), (0, 34)] {
            let payload = if payload_type == 0 { vec![1; 160] } else { vec![7, 0x8a, 0x02, 0x80] };
            let timestamp = 0xffff_ff00_u32.wrapping_add(u32::from(n) * 160);
            let sequence = 65_530_u16.wrapping_add(n);
            it.world.deliver(from, it.a, &packet(payload_type, sequence, timestamp, 77, &payload));
            it.world.run(ms(20));
        }
        let sent = it.world.sent_by(it.b);
        let relayed = sent.iter().filter(|packet| packet.payload == [1; 160]).count();
        assert_eq!(relayed, 27 + 3);
        for pair in sent.windows(2) {
            assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
            let ticks = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
            assert!(ticks == 160 || ticks == 320 && pair[1].header.marker, "{ticks}");
        }
    }
}

/// RFC 3389: a pause that is told passes the bridge as that, under the far end's payload type, and is filled in for who does not know of it.
#[test]
fn comfort_noise_passes_to_who_has_agreed_to_it() {
    for agreed in [true, false] {
        let mut it = bridged(|config| LegConfig { comfort_noise_send: agreed.then_some(19), ..config });
        it.world.configure(it.a, LegConfig { comfort_noise: Some(13), ..config(leg(9, PEER_A)) });
        let from = rtp_address(leg(9, PEER_A));
        let mut sequence = 10_u16;
        let mut sends = |it: &mut Bridged, n: u32, payload_type, marker: bool, payload: &[u8]| {
            let mut bytes = packet(payload_type, sequence, n * 160, 77, payload);
            bytes[1] |= u8::from(marker) << 7;
            it.world.deliver(from, it.a, &bytes);
            sequence += 1;
        };
        for n in 0..300 {
            match n {
                100 | 150 => sends(&mut it, n, 13, false, &[40]),
                101..200 => {}
                _ => sends(&mut it, n, 0, n == 200, &[1; 160]),
            }
            it.world.run(ms(20));
        }
        let sent = it.world.sent_by(it.b);
        let of = |payload_type: u8| sent.iter().filter(move |sent| sent.header.payload_type == payload_type);
        if !agreed {
            assert_eq!(of(19).count() + of(13).count(), 0);
            assert!((90..=100).contains(&sent.iter().filter(|sent| sent.payload == [0xff; 160]).count()));
            continue;
        }
        assert_eq!(of(19).map(|sent| sent.payload.as_slice()).collect::<Vec<_>>(), [[40], [40]]);
        assert_eq!(sent.len(), 202, "nothing is filled in");
        assert!(sent.windows(2).all(|pair| pair[1].header.sequence == pair[0].header.sequence.wrapping_add(1)));
        let speech = of(0).nth(100).unwrap().header;
        assert!(speech.marker, "as the near end has it");
        assert_eq!(speech.timestamp.wrapping_sub(sent[0].header.timestamp), 200 * 160, "the pause keeps its length");
        // A sender that does not come back is filled in for at last.
        it.world.forget();
        sends(&mut it, 300, 13, false, &[40]);
        it.world.run(ms(12_000));
        assert!((50..=110).contains(&(it.world.sent_by(it.b).len() - 1)), "{}", it.world.sent_by(it.b).len());
    }
}

/// A sender of Opus that pauses says so each 400 ms: in between nothing of ours is sent.
#[test]
fn pauses_of_opus_stay_pauses() {
    let opus = |config: LegConfig| LegConfig {
        send: Some(SendFormat { codec: Codec::Opus, payload_type: 96, ptime_ms: 20 }),
        receive: vec![ReceiveFormat { codec: Codec::Opus, payload_type: 96 }],
        ..config
    };
    let mut it = bridged(opus);
    it.world.configure(it.a, opus(config(leg(9, PEER_A))));
    it.world.forget();
    let from = rtp_address(leg(9, PEER_A));
    let (mut sequence, mut came) = (0_u16, 0);
    for n in 0..400_u32 {
        // 20 ms of CELT, of whatever content.
        let payload: &[u8] = if (100..300).contains(&n) { &[0xf8, 0xff] } else { &[0xf8; 40] };
        if !(100..300).contains(&n) || n % 20 == 0 {
            it.world.deliver(from, it.a, &packet(96, sequence, n * 960, 77, payload));
            sequence += 1;
            came += 1;
        }
        it.world.run(ms(20));
    }
    let sent = it.world.sent_by(it.b);
    assert_eq!(sent.len(), came);
    assert!(sent.windows(2).all(|pair| pair[1].header.sequence == pair[0].header.sequence.wrapping_add(1)));
}
