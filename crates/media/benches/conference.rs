//! What a conference costs, without sockets: nanoseconds a participant a frame of 20 ms, everything included that happens to a G.711
//! packet on its way in, to the mix, and on the way out. `cargo bench -p ringback-media --bench conference`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used)] // A bench prints, and reads a clock.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringback_media::{MediaEngine, Out};
use ringback_media_api::{AudioPort, Codec, Command, Event, LegConfig, LegId, ReceiveFormat, Role, RoomId, SendFormat};
use ringback_rtp::Header;
use ringback_time::{Mono, Now};

/// Counts, and lets nothing be optimised away.
#[derive(Default)]
struct Sink {
    packets: u64,
}

impl Out for Sink {
    fn rtp(&mut self, _: LegId, _: SocketAddr, packet: &[u8]) {
        self.packets += 1;
        black_box(packet);
    }
    fn rtcp(&mut self, _: LegId, _: SocketAddr, packet: &[u8]) {
        black_box(packet);
    }
    fn event(&mut self, event: Event) {
        black_box(event);
    }
    fn audio_ready(&mut self, _: &Arc<AudioPort>) {}
    fn accept_from(&mut self, _: LegId, _: Option<SocketAddr>) {}
}

fn id(n: usize) -> LegId {
    LegId::new(0, n as u64)
}

fn phone(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 4000))
}

/// `rooms` of `size`, of whom all but `talkers` listen and all send. Returns nanoseconds a participant a frame.
fn cost(rooms: usize, size: usize, talkers: usize, rounds: u32) -> f64 {
    let legs = rooms * size;
    let mut engine = MediaEngine::new(0, ChaCha12Rng::seed_from_u64(1));
    let mut out = Sink::default();
    let mut now = Now { mono: Mono::from_nanos(1_000_000_000_000), ..Now::default() };
    for n in 0..legs {
        let config = LegConfig {
            remote_rtp: Some(phone(n)),
            send: Some(SendFormat { codec: Codec::Pcmu, payload_type: 0, ptime_ms: 20 }),
            receive: vec![ReceiveFormat { codec: Codec::Pcmu, payload_type: 0 }],
            may_send: true,
            may_receive: true,
            cname: "bench".into(),
            ..LegConfig::default()
        };
        engine.handle_command(now, Command::Open { leg: id(n), config: Box::new(config) }, &mut out);
        let role = if n % size < talkers { Role::Member } else { Role::Listener };
        engine.handle_command(
            now,
            Command::Join { leg: id(n), room: RoomId::new(0, (n / size) as u64), role },
            &mut out,
        );
    }
    let mut packet = [0; 172];
    let mut noise = 12_345_u32;
    let mut all = Vec::new();
    for sequence in 0..rounds {
        let mut spent = Duration::ZERO;
        for octet in &mut packet[12..] {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *octet = (noise >> 24) as u8;
        }
        for n in 0..legs {
            let header =
                Header { sequence: sequence as u16, timestamp: sequence * 160, ssrc: n as u32, ..Header::default() };
            packet[..12].copy_from_slice(&header.to_bytes());
            let start = Instant::now();
            engine.handle_rtp(now, id(n), now.mono, phone(n), &mut packet, &mut out);
            spent += start.elapsed();
        }
        for _ in 0..20 {
            now = now + Duration::from_millis(1);
            let start = Instant::now();
            engine.handle_timeout(now, &mut out);
            spent += start.elapsed();
        }
        all.push(spent.as_nanos() as f64 / legs as f64);
    }
    // The fastest tenth: what it costs when nobody else has the core.
    all.sort_by(f64::total_cmp);
    let tenth = (all.len() / 10).max(1);
    all.iter().take(tenth).sum::<f64>() / tenth as f64
}

fn main() {
    // `cargo test --benches` runs this without `--bench`: then a few rounds show that it works.
    let frames = if std::env::args().any(|a| a == "--bench") { 2_000_000 } else { 5_000 };
    for (rooms, size, talkers) in [
        (1, 3, 3),
        (1, 10, 10),
        (1, 100, 100),
        (1, 1000, 1000),
        (1, 1000, 5),
        (300, 3, 3),
        (100, 10, 10),
        (10, 100, 100),
    ] {
        let rounds = (frames / (rooms * size)).clamp(5, 20_000) as u32;
        let what = format!("{rooms:>4} x {size:>4}, {talkers:>4} of them talk");
        println!("{what:<40} {:>8.1} ns a participant a frame", cost(rooms, size, talkers, rounds));
    }
}
