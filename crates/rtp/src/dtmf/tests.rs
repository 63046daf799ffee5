use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use ringback_time::Mono;

use super::*;

fn at(ms: u64) -> Mono {
    Mono::from_nanos(ms * 1_000_000)
}

fn packets(mut sender: EventSender, step: u32) -> Vec<EventPacket> {
    std::iter::from_fn(|| sender.next(step)).take(100_000).collect()
}

fn digits(packets: &[EventPacket]) -> Vec<Digit> {
    let mut receiver = EventReceiver::new();
    let mut all = Vec::new();
    for (n, packet) in packets.iter().enumerate() {
        receiver.packet(packet.timestamp, &packet.event.to_bytes(), at(n as u64 * 20), |d| all.push(d));
    }
    receiver.expire(at(packets.len() as u64 * 20 + 200), |d| all.push(d));
    all
}

#[test]
fn an_event_goes_out_as_the_rfc_describes() {
    // 100 ms of "5" in packets of 20 ms.
    let rows: Vec<_> = packets(EventSender::new(5, 10, 1000, 800), 160)
        .iter()
        .map(|p| (p.marker, p.timestamp, p.event.end, p.event.duration))
        .collect();
    assert_eq!(
        rows,
        [
            (true, 1000, false, 160),
            (false, 1000, false, 320),
            (false, 1000, false, 480),
            (false, 1000, false, 640),
            (false, 1000, true, 800),
            (false, 1000, true, 800),
            (false, 1000, true, 800),
        ]
    );
    assert_eq!(Event { code: 11, end: true, volume: 10, duration: 800 }.to_bytes(), [11, 0x8a, 0x03, 0x20]);
}

#[test]
fn a_duration_that_is_no_multiple_of_the_step_is_exact() {
    let rows: Vec<_> = packets(EventSender::new(1, 10, 0, 400), 240).iter().map(|p| p.event.duration).collect();
    assert_eq!(rows, [240, 400, 400, 400]);
}

#[test]
fn a_long_event_goes_on_in_segments() {
    let all = packets(EventSender::new(9, 10, 0xffff_ff00, 150_000), 160);
    assert_eq!(all.iter().filter(|p| p.marker).count(), 1);
    assert_eq!(all.iter().filter(|p| p.event.end).count(), 3);
    let full: Vec<_> = all.iter().filter(|p| p.event.duration == 0xffff).map(|p| p.timestamp).collect();
    assert_eq!(full, [0xffff_ff00, 0xfeff]);
    let last = all.last().unwrap();
    assert_eq!((last.timestamp, last.event.duration), (0x1_fefe, (150_000 - 2 * 0xffff) as u16));
    assert_eq!(digits(&all), [Digit { digit: '9', units: 150_000 }]);
    let mut receiver = EventReceiver::new();
    let mut held: Vec<_> = (all.iter().enumerate())
        .map(|(n, packet)| {
            receiver.packet(packet.timestamp, &packet.event.to_bytes(), at(n as u64 * 20), |_| {});
            receiver.held()
        })
        .collect();
    held.dedup();
    assert_eq!(held, [Some(0xffff_ff00), None], "one key over all segments");
    // The same with the last report of each segment lost.
    let without: Vec<_> = all.into_iter().filter(|p| p.event.duration != 0xffff).collect();
    assert_eq!(digits(&without), [Digit { digit: '9', units: 150_000 }]);
}

#[test]
fn any_packet_that_arrives_makes_the_digit_once() {
    let all = packets(EventSender::new(11, 10, 5, 800), 160);
    for keep in 1_u32..1 << all.len() {
        let kept: Vec<_> = (0..all.len()).filter(|i| keep >> i & 1 == 1).map(|i| all[i]).collect();
        let units = u32::from(kept.iter().map(|p| p.event.duration).max().unwrap());
        assert_eq!(digits(&kept), [Digit { digit: '#', units }], "{keep:b}");
    }
}

#[test]
fn lost_ends_are_made_up_for_by_the_next_event_or_by_silence() {
    let first = packets(EventSender::new(1, 10, 0, 800), 160);
    let second = packets(EventSender::new(1, 10, 1600, 800), 160);
    let mut receiver = EventReceiver::new();
    let mut all = Vec::new();
    for packet in first[..4].iter().chain(&second[..2]) {
        receiver.packet(packet.timestamp, &packet.event.to_bytes(), at(0), |d| all.push(d));
    }
    assert_eq!(all, [Digit { digit: '1', units: 640 }], "the first, when the second began");
    assert_eq!(receiver.held(), Some(1600));
    receiver.expire(at(199), |d| all.push(d));
    assert_eq!(all.len(), 1);
    receiver.expire(at(200), |d| all.push(d));
    assert_eq!((all.len(), receiver.held()), (2, None));
    // What comes of them after that is nothing new.
    for packet in first.iter().chain(&second) {
        receiver.packet(packet.timestamp, &packet.event.to_bytes(), at(210), |d| all.push(d));
    }
    receiver.expire(at(1000), |d| all.push(d));
    assert_eq!(all.len(), 2);
}

#[test]
fn what_is_no_key_is_no_digit() {
    assert_eq!(digits(&packets(EventSender::new(16, 10, 0, 800), 160)), [], "flash");
    let mut receiver = EventReceiver::new();
    for payload in [&[][..], &[1], &[1, 2, 3]] {
        receiver.packet(0, payload, at(0), |d| panic!("{d:?}"));
    }
    for digit in "0123456789*#ABCD".chars() {
        assert_eq!(code_of(digit).and_then(digit_of), Some(digit));
    }
    assert_eq!((code_of('a'), code_of('E'), code_of(',')), (Some(12), None, None));
}

#[test]
fn digits_come_once_and_in_order_through_loss_reordering_and_duplication() {
    for seed in 0..300 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let dialled: Vec<char> = (0..12).filter_map(|_| digit_of(rng.next_u32() as u8 & 15)).collect();
        let start = rng.next_u32();
        let mut wire = Vec::new();
        for (n, digit) in dialled.iter().enumerate() {
            let timestamp = start.wrapping_add(n as u32 * 1600);
            for (k, packet) in
                packets(EventSender::new(code_of(*digit).unwrap(), 10, timestamp, 800), 160).iter().enumerate()
            {
                let sent = n as u64 * 200 + k as u64 * 20;
                for _ in 0..1 + u32::from(rng.next_u32() % 5 == 0) {
                    if rng.next_u32() % 100 >= 30 {
                        wire.push((sent + u64::from(rng.next_u32() % 60), n, *packet));
                    }
                }
            }
        }
        wire.sort_by_key(|(arrival, ..)| *arrival);
        let expected: Vec<char> =
            (0..dialled.len()).filter(|n| wire.iter().any(|(_, of, _)| of == n)).map(|n| dialled[n]).collect();
        let mut receiver = EventReceiver::new();
        let mut all = String::new();
        for (arrival, _, packet) in &wire {
            receiver.expire(at(*arrival), |d| all.push(d.digit));
            receiver.packet(packet.timestamp, &packet.event.to_bytes(), at(*arrival), |d| all.push(d.digit));
        }
        receiver.expire(at(0) + Duration::from_secs(60), |d| all.push(d.digit));
        assert_eq!(all, expected.into_iter().collect::<String>(), "seed {seed}");
    }
}
