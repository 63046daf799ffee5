//! Conferences of many, and many of a few: phones that send G.711 packets at an engine, without engines of their own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringback_audio::{pcmu_decode, pcmu_encode, tone_level_dbm0};
use ringback_media::{MediaEngine, Out};
use ringback_media_api::{AudioPort, Codec, Command, Event, LegConfig, LegId, ReceiveFormat, Role, RoomId, SendFormat};
use ringback_rtp::header::HEADER_LEN;
use ringback_rtp::{Header, Packet};
use ringback_time::{Mono, Now};

#[derive(Default)]
struct Heard {
    /// Payloads by leg, and the millisecond in which each was sent.
    sent: BTreeMap<LegId, Vec<(u64, Vec<u8>)>>,
    talking: Vec<(LegId, bool)>,
    failed: bool,
    now_ms: u64,
}

impl Out for Heard {
    fn rtp(&mut self, leg: LegId, _: SocketAddr, packet: &[u8]) {
        assert!(Packet::parse(packet).is_ok());
        self.sent.entry(leg).or_default().push((self.now_ms, packet[HEADER_LEN..].to_vec()));
    }
    fn rtcp(&mut self, _: LegId, _: SocketAddr, _: &[u8]) {}
    fn event(&mut self, event: Event) {
        match event {
            Event::Talking { leg, talking } => self.talking.push((leg, talking)),
            Event::Failed { .. } => self.failed = true,
            _ => {}
        }
    }
    fn audio_ready(&mut self, _: &Arc<AudioPort>) {}
    fn accept_from(&mut self, _: LegId, _: Option<SocketAddr>) {}
}

struct Fixture {
    engine: MediaEngine,
    heard: Heard,
    now: Now,
    sent: u64,
}

fn id(n: usize) -> LegId {
    LegId::new(0, n as u64)
}

fn phone(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 4000))
}

/// Hz.
fn pitch(n: usize) -> f64 {
    400.0 + 150.0 * n as f64
}

impl Fixture {
    fn new(legs: usize) -> Self {
        let now = Now { mono: Mono::from_nanos(1_000_000_300_000), ..Now::default() };
        let engine = MediaEngine::new(0, ChaCha12Rng::seed_from_u64(5));
        let mut fixture = Fixture { engine, heard: Heard::default(), now, sent: 0 };
        for n in 0..legs {
            let config = LegConfig {
                remote_rtp: Some(phone(n)),
                send: Some(SendFormat { codec: Codec::Pcmu, payload_type: 0, ptime_ms: 20 }),
                receive: vec![ReceiveFormat { codec: Codec::Pcmu, payload_type: 0 }],
                may_send: true,
                may_receive: true,
                cname: "many".into(),
                ..LegConfig::default()
            };
            fixture.command(Command::Open { leg: id(n), config: Box::new(config) });
        }
        fixture
    }

    fn command(&mut self, command: Command) {
        self.engine.handle_command(self.now, command, &mut self.heard);
    }

    /// `frames` packet times, in which `talkers` speak.
    fn run(&mut self, frames: u64, talkers: &[usize]) {
        for _ in 0..frames {
            for &n in talkers {
                let start = self.sent * 160;
                let sine = |k| 2000.0 * (std::f64::consts::TAU * pitch(n % 5) * (start + k) as f64 / 8000.0).sin();
                let samples: Vec<i16> = (0..160).map(|k| sine(k) as i16).collect();
                let header =
                    Header { sequence: self.sent as u16, timestamp: start as u32, ssrc: n as u32, ..Header::default() };
                let mut packet = [0; HEADER_LEN + 160];
                packet[..HEADER_LEN].copy_from_slice(&header.to_bytes());
                pcmu_encode(&samples, &mut packet[HEADER_LEN..]);
                self.engine.handle_rtp(self.now, id(n), self.now.mono, phone(n), &mut packet, &mut self.heard);
            }
            self.sent += 1;
            for _ in 0..20 {
                self.now = self.now + Duration::from_millis(1);
                self.heard.now_ms += 1;
                self.engine.handle_timeout(self.now, &mut self.heard);
            }
        }
    }

    fn samples(&self, n: usize) -> Vec<i16> {
        let octets = self.heard.sent[&id(n)].iter().flat_map(|(_, payload)| payload.clone()).collect::<Vec<_>>();
        let mut samples = vec![0; octets.len()];
        pcmu_decode(&octets, &mut samples);
        samples
    }

    fn assert_hears(&self, n: usize, tones: &[usize]) {
        let samples = self.samples(n);
        for tone in 0..5 {
            let level = tone_level_dbm0(&samples, 8000, pitch(tone));
            assert_eq!(level > -24.0, tones.contains(&tone), "{n} hears {tone} at {level:.1}");
            assert!(!(-45.0..=-24.0).contains(&level), "{n} hears {tone} at {level:.1}");
        }
    }
}

#[test]
fn a_thousand_listeners_hear_five_talkers() {
    let mut fixture = Fixture::new(1005);
    let room = RoomId::new(0, 1);
    for n in 0..1005 {
        let role = if n < 5 { Role::Member } else { Role::Listener };
        fixture.command(Command::Join { leg: id(n), room, role });
    }
    // Listeners send as well, as phones do.
    let all: Vec<usize> = (0..1005).collect();
    fixture.run(20, &all);
    fixture.heard.sent.clear();
    fixture.run(30, &all);
    assert!(!fixture.heard.failed);
    for talker in 0..5 {
        let others: Vec<usize> = (0..5).filter(|n| *n != talker).collect();
        fixture.assert_hears(talker, &others);
    }
    fixture.assert_hears(5, &[0, 1, 2, 3, 4]);
    fixture.assert_hears(1004, &[0, 1, 2, 3, 4]);
    let payloads = |n: usize| fixture.heard.sent[&id(n)].iter().map(|(_, payload)| payload).collect::<Vec<_>>();
    // Nobody is forgotten. Those on a phase before the room's hear a frame that is one older.
    let first = payloads(5);
    for n in 5..1005 {
        let own = payloads(n);
        assert_eq!(own.len(), 30);
        assert!(own == first || own[1..] == first[..29] || own[..29] == first[1..], "{n}");
    }
    // No phase has more than its share.
    let mut phases = [0; 20];
    for sent in fixture.heard.sent.values() {
        phases[(sent[0].0 % 20) as usize] += 1;
    }
    assert!(phases.iter().all(|legs| *legs <= 100), "{phases:?}");
    let mut talking = fixture.heard.talking.clone();
    talking.sort_unstable();
    assert_eq!(talking, (0..5).map(|n| (id(n), true)).collect::<Vec<_>>());
    for n in 0..1005 {
        fixture.command(Command::Close { leg: id(n) });
    }
    fixture.run(2, &[]);
    assert_eq!((fixture.engine.live_legs(), fixture.engine.live_rooms()), (0, 0));
}

#[test]
fn members_beyond_fifty_keep_their_phases_and_hear_no_less() {
    let mut fixture = Fixture::new(120);
    let room = RoomId::new(0, 1);
    for n in 0..120 {
        fixture.command(Command::Join { leg: id(n), room, role: Role::Member });
    }
    // One of those that share the room's phase, and others that do not.
    let talkers = [10, 76, 117];
    fixture.run(20, &talkers);
    fixture.heard.sent.clear();
    fixture.run(30, &talkers);
    fixture.assert_hears(10, &[1, 2]);
    fixture.assert_hears(76, &[0, 2]);
    fixture.assert_hears(117, &[0, 1]);
    for n in [0, 49, 50, 75, 119] {
        fixture.assert_hears(n, &[0, 1, 2]);
    }
    // When most have left, the rest is still in conference.
    for n in (0..120).filter(|n| !talkers.contains(n)) {
        fixture.command(Command::Unbridge { leg: id(n) });
    }
    fixture.run(5, &talkers);
    fixture.heard.sent.clear();
    fixture.run(30, &talkers);
    fixture.assert_hears(10, &[1, 2]);
    fixture.assert_hears(76, &[0, 2]);
    fixture.assert_hears(119, &[]);
}

#[test]
fn three_hundred_rooms_of_three() {
    let mut fixture = Fixture::new(900);
    for n in 0..900 {
        fixture.command(Command::Join { leg: id(n), room: RoomId::new(0, n as u64 / 3), role: Role::Member });
    }
    assert_eq!(fixture.engine.live_rooms(), 300);
    // In each room the first and, where its tone differs, the second.
    let talkers: Vec<usize> = (0..900).filter(|n| n % 3 < 2).collect();
    fixture.run(20, &talkers);
    fixture.heard.sent.clear();
    fixture.run(25, &talkers);
    for n in (0..900).step_by(3) {
        fixture.assert_hears(n, &[(n + 1) % 5]);
        fixture.assert_hears(n + 1, &[n % 5]);
        fixture.assert_hears(n + 2, &[n % 5, (n + 1) % 5]);
    }
    assert!(!fixture.heard.failed);
}
