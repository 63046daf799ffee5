//! Whatever a sender or its path does: sound is back within 200 ms of the first packet after it, and the counts are true.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::sync::Arc;

use common::*;
use ringback_audio::{Coding, Encoder, ToneGenerator};
use ringback_media_api::{AudioPort, Command, LegConfig, LegId, Statistics};

const PEER: u8 = 101;
/// Packets of 20 ms before the upset, and after it.
const BEFORE: u32 = 100;
const AFTER: u32 = 100;

/// How a packet goes out: numbers, SSRC, and by how much it is late.
#[derive(Clone, Copy)]
struct Packet {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    late_ms: u32,
}

/// What becomes of packet `n`, which is `packet` on an even path; `None`: it is lost, or was not sent.
type Upset = fn(n: u32, packet: Packet) -> Option<Packet>;

struct Row {
    what: &'static str,
    upset: Upset,
    /// Packets that the receiver must find missing.
    lost: u64,
}

const UPSETS: [Row; 11] = [
    Row { what: "nothing", upset: |_, packet| Some(packet), lost: 0 },
    Row { what: "another SSRC", upset: |_, packet| Some(Packet { ssrc: 78, ..packet }), lost: 0 },
    Row {
        what: "another SSRC and other numbers",
        upset: |_, packet| {
            let (sequence, timestamp) =
                (packet.sequence.wrapping_add(30_000), packet.timestamp.wrapping_sub(5_000_000));
            Some(Packet { ssrc: 78, sequence, timestamp, ..packet })
        },
        lost: 0,
    },
    Row {
        what: "timestamps jump ahead",
        upset: |_, packet| Some(Packet { timestamp: packet.timestamp.wrapping_add(0x4000_0000), ..packet }),
        lost: 0,
    },
    Row {
        what: "timestamps jump back",
        upset: |_, packet| Some(Packet { timestamp: packet.timestamp.wrapping_sub(4_000), ..packet }),
        lost: 0,
    },
    Row {
        what: "sequence numbers jump",
        // RFC 3550 A.1: the second packet in a row is believed; nothing of that is loss.
        upset: |_, packet| Some(Packet { sequence: packet.sequence.wrapping_add(20_000), ..packet }),
        lost: 0,
    },
    Row {
        what: "sequence numbers jump back",
        upset: |_, packet| Some(Packet { sequence: packet.sequence.wrapping_sub(5_000), ..packet }),
        lost: 0,
    },
    Row {
        what: "a sender that starts over",
        upset: |n, packet| {
            Some(Packet { sequence: (n - BEFORE) as u16 + 40_000, timestamp: (n - BEFORE) * 160, ..packet })
        },
        lost: 0,
    },
    Row {
        what: "the path becomes slower by 150 ms",
        upset: |_, packet| Some(Packet { late_ms: 150, ..packet }),
        lost: 0,
    },
    Row { what: "half a second is lost", upset: |n, packet| (n >= BEFORE + 25).then_some(packet), lost: 25 },
    Row {
        what: "a pause of half a second",
        upset: |n, packet| {
            let sequence = packet.sequence.wrapping_sub(25);
            (n >= BEFORE + 25).then_some(Packet { sequence, ..packet })
        },
        lost: 0,
    },
];

struct Heard {
    statistics: Statistics,
    /// Of each 10 ms of the program's audio, whether the tone is in it, by the time at which it was read.
    sounds: Vec<(u64, bool)>,
    /// When the first packet after the upset came.
    back_ms: u64,
    began_ms: u64,
}

/// A leg whose peer sends a tone, and is upset halfway; `first`: its first numbers.
fn hear(upset: Upset, first: (u16, u32)) -> Heard {
    let mut world = World::new(1, 40);
    let a: LegId = leg(0, 1);
    world.open(a, LegConfig { ..config(leg(9, PEER)) });
    let port = Arc::new(AudioPort::new(8000, 10, 100_000));
    world.command(Command::OpenAudio { leg: a, port: port.clone() });
    let mut encoder = Encoder::new(Coding::Pcmu);
    let mut tone = ToneGenerator::new(8000, &[400.0], -10.0).unwrap();
    let mut samples = vec![0; 160];
    let began_ms = world.now.mono.as_nanos() / 1_000_000;
    let mut waiting: Vec<(u32, Vec<u8>)> = Vec::new();
    let (mut sounds, mut back_ms) = (Vec::new(), 0);
    for ms_passed in 0..(BEFORE + AFTER) * 20 {
        if ms_passed % 20 == 0 {
            let n = ms_passed / 20;
            samples.fill(0);
            tone.fill(&mut samples);
            let mut payload = Vec::new();
            encoder.encode(&samples, &mut payload);
            let even = Packet {
                sequence: first.0.wrapping_add(n as u16),
                timestamp: first.1.wrapping_add(n * 160),
                ssrc: 77,
                late_ms: 0,
            };
            let goes = if n < BEFORE { Some(even) } else { upset(n, even) };
            if let Some(goes) = goes {
                let bytes = packet(0, goes.sequence, goes.timestamp, goes.ssrc, &payload);
                waiting.push((ms_passed + goes.late_ms, bytes));
                if n >= BEFORE && back_ms == 0 {
                    back_ms = began_ms + u64::from(ms_passed + goes.late_ms);
                }
            }
        }
        for (_, bytes) in waiting.extract_if(.., |(due, _)| *due <= ms_passed) {
            world.deliver(rtp_address(leg(9, PEER)), a, &bytes);
        }
        world.run(ms(1));
        while let Some(frame) = port.read() {
            let loud = frame.iter().any(|sample| sample.unsigned_abs() > 3000);
            sounds.push((world.now.mono.as_nanos() / 1_000_000, loud));
        }
    }
    Heard { statistics: world.statistics(a), sounds, back_ms, began_ms }
}

#[test]
fn sound_is_back_within_200_ms_of_any_upset() {
    for Row { what, upset, lost } in UPSETS {
        // Both numbers wrap before the upset, and neither does.
        for first in [(65_500, 0xffff_f000), (7, 7)] {
            let heard = hear(upset, first);
            let before =
                heard.sounds.iter().filter(|(at, _)| (heard.began_ms + 300..heard.began_ms + 1990).contains(at));
            assert!(before.clone().all(|(_, loud)| *loud), "{what}: a gap over the wrap");
            assert!(before.count() > 160);
            let after: Vec<_> = heard.sounds.iter().filter(|(at, _)| *at >= heard.back_ms + 200).collect();
            assert!(after.len() > 100, "{what}: {}", after.len());
            assert!(after.iter().all(|(_, loud)| *loud), "{what}: {:?}", after.iter().position(|(_, loud)| !loud));
            assert_eq!(heard.statistics.packets_lost, lost, "{what}: {:?}", heard.statistics);
            let sent = u64::from(BEFORE + AFTER) - if heard.back_ms > heard.began_ms + 2300 { 25 } else { 0 };
            let came = heard.statistics.packets_received;
            // What is on its way yet, or was the first of a jump that could have been noise.
            assert!((sent - 9..=sent).contains(&came), "{what}: {came} of {sent}");
        }
    }
}

/// 200 parts in a million, more than any two telephones are apart, for twenty minutes: nothing is lost, discarded, or heard as a gap.
#[test]
fn a_clock_that_drifts_costs_nothing() {
    for ppm in [-200_i64, 200] {
        let mut world = World::new(1, 41);
        let a = leg(0, 1);
        world.open(a, config(leg(9, PEER)));
        let port = Arc::new(AudioPort::new(8000, 20, 1_000_000));
        world.command(Command::OpenAudio { leg: a, port: port.clone() });
        // Speech: a second of tone, a second of near silence, in which the delay is put right.
        let mut encoder = Encoder::new(Coding::Pcmu);
        let (mut loud, mut quiet) = (Vec::new(), Vec::new());
        let mut samples = vec![0; 160];
        ToneGenerator::new(8000, &[400.0], -10.0).unwrap().fill(&mut samples);
        encoder.encode(&samples, &mut loud);
        encoder.encode(&[0; 160], &mut quiet);
        let (mut sent, mut gaps) = (0_u64, 0);
        let period_ns = (20_000_000 * (1_000_000 + ppm) / 1_000_000) as u64;
        let began = world.now.mono.as_nanos();
        while sent < 60_000 {
            let due = began + sent * period_ns;
            let now = world.now.mono.as_nanos();
            if due > now {
                world.run(std::time::Duration::from_nanos(due - now));
            }
            let payload = if sent / 50 % 2 == 0 { &loud } else { &quiet };
            world.deliver(rtp_address(leg(9, PEER)), a, &packet(0, sent as u16, sent as u32 * 160, 77, payload));
            sent += 1;
            while let Some(frame) = port.read() {
                // The middle of a second of tone, some delay after it was sent.
                let part = sent.saturating_sub(8) % 100;
                gaps += u32::from((10..35).contains(&part) && frame.iter().all(|sample| sample.unsigned_abs() < 1000));
            }
        }
        let statistics = world.statistics(a);
        assert_eq!((statistics.packets_lost, statistics.packets_received), (0, 60_000), "{ppm} ppm");
        assert!(statistics.packets_discarded <= 2, "{ppm} ppm: {statistics:?}");
        assert!(gaps <= 2, "{ppm} ppm: {gaps} gaps");
        assert!(statistics.quality.unwrap().jitter_ms < 0.1, "{statistics:?}");
    }
}
