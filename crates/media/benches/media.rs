//! What the engine's own work costs, without sockets: nanoseconds a packet or frame, over legs enough that they do not
//! all stay in the nearest cache. `cargo bench -p ringback-media [legs]`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::unwrap_used)] // A bench prints, and reads a clock.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringback_media::{MediaEngine, Out};
use ringback_media_api::{
    AudioPort, Codec, Command, Detection, Event, EventFormat, LegConfig, LegId, ReceiveFormat, SendFormat,
};
use ringback_rtp::Header;
use ringback_time::{Mono, Now};

/// Counts, and lets nothing be optimised away.
#[derive(Default)]
struct Sink {
    packets: u64,
    octets: u64,
}

impl Out for Sink {
    fn rtp(&mut self, _: LegId, _: SocketAddr, packet: &[u8]) {
        self.packets += 1;
        self.octets += black_box(packet).len() as u64;
    }
    fn rtcp(&mut self, _: LegId, _: SocketAddr, packet: &[u8]) {
        black_box(packet);
    }
    fn event(&mut self, event: Event) {
        black_box(event);
    }
    fn audio_ready(&mut self, port: &Arc<AudioPort>) {
        port.unflag();
    }
    fn accept_from(&mut self, _: LegId, _: Option<SocketAddr>) {}
}

fn peer(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 4000))
}

fn id(n: usize) -> LegId {
    LegId::new(0, n as u64)
}

fn engine(legs: usize, codec: impl Fn(usize) -> (Codec, u8)) -> (MediaEngine, Sink, Now) {
    let mut engine = MediaEngine::new(0, ChaCha12Rng::seed_from_u64(1));
    let mut out = Sink::default();
    let now = Now { mono: Mono::from_nanos(1_000_000_000_000), ..Now::default() };
    for n in 0..legs {
        let (codec, payload_type) = codec(n);
        let config = LegConfig {
            remote_rtp: Some(peer(n)),
            remote_rtcp: None,
            send: Some(SendFormat { codec, payload_type, ptime_ms: 20 }),
            receive: vec![
                ReceiveFormat { codec: Codec::Pcmu, payload_type: 0 },
                ReceiveFormat { codec: Codec::Pcma, payload_type: 8 },
            ],
            dtmf_send: Some(EventFormat::narrow(101)),
            dtmf_receive: vec![EventFormat::narrow(101)],
            may_send: true,
            may_receive: true,
            cname: "bench".into(),
            ..LegConfig::default()
        };
        engine.handle_command(now, Command::Open { leg: id(n), config: Box::new(config) }, &mut out);
    }
    (engine, out, now)
}

/// The work of the fastest tenth of all rounds: what it costs when nobody else has the core.
fn fastest(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    let tenth = (rounds.len() / 10).max(1);
    rounds.iter().take(tenth).sum::<f64>() / tenth as f64
}

/// Round after round of one packet to each leg, 20 ms apart. Returns nanoseconds a packet.
fn receive(engine: &mut MediaEngine, out: &mut Sink, now: &mut Now, legs: usize, rounds: u32, turns: bool) -> f64 {
    let mut packet = [0x55; 172];
    let mut all = Vec::new();
    for sequence in 0..rounds {
        *now = *now + Duration::from_millis(20);
        let start = Instant::now();
        for n in 0..legs {
            let header =
                Header { sequence: sequence as u16, timestamp: sequence * 160, ssrc: n as u32, ..Header::default() };
            packet[..12].copy_from_slice(&header.to_bytes());
            engine.handle_rtp(*now, id(n), now.mono, peer(n), &mut packet, out);
        }
        if turns {
            engine.handle_timeout(*now, out);
        }
        all.push(start.elapsed().as_nanos() as f64 / legs as f64);
        if !turns {
            engine.handle_timeout(*now, out);
        }
    }
    fastest(all)
}

fn show(what: &str, nanos: f64) {
    println!("{what:<58} {nanos:>8.1} ns");
}

fn main() {
    let legs = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(2000_usize);
    let rounds = (1_000_000 / legs).clamp(50, 5000) as u32;
    println!("{legs} legs, the fastest tenth of {rounds} rounds");

    let (mut engine_, mut out, mut now) = engine(legs, |_| (Codec::Pcmu, 0));
    for n in (0..legs).step_by(2) {
        engine_.handle_command(now, Command::Bridge { a: id(n), b: id(n + 1) }, &mut out);
    }
    show("relay, equal codec: a packet", receive(&mut engine_, &mut out, &mut now, legs, rounds, false));

    let (mut engine_, mut out, mut now) =
        engine(legs, |n| if n % 2 == 0 { (Codec::Pcmu, 0) } else { (Codec::Pcma, 8) });
    for n in (0..legs).step_by(2) {
        engine_.handle_command(now, Command::Bridge { a: id(n), b: id(n + 1) }, &mut out);
    }
    show("relay, half of it mu-law to A-law: a packet", receive(&mut engine_, &mut out, &mut now, legs, rounds, false));

    let listened = legs.min(200);
    let (mut engine_, mut out, mut now) = engine(listened, |_| (Codec::Pcmu, 0));
    for n in (0..listened).step_by(2) {
        engine_.handle_command(now, Command::Bridge { a: id(n), b: id(n + 1) }, &mut out);
    }
    for n in 0..listened {
        let detection = Some(Detection { onset_ms: 80, hangover_ms: 500 });
        engine_.handle_command(now, Command::Detect { leg: id(n), detection }, &mut out);
    }
    let with_speech = receive(&mut engine_, &mut out, &mut now, listened, rounds.min(1000), false);
    show("relay, equal codec, listened to for speech: a packet", with_speech);

    let (mut engine_, mut out, mut now) = engine(legs, |_| (Codec::Pcmu, 0));
    for n in 0..legs {
        engine_.handle_command(now, Command::Echo { leg: id(n), on: true }, &mut out);
    }
    show("echo: a packet", receive(&mut engine_, &mut out, &mut now, legs, rounds, false));

    let (mut engine_, mut out, mut now) = engine(legs, |_| (Codec::Pcmu, 0));
    let mut all = Vec::new();
    for _ in 0..rounds * 20 {
        let (start, before) = (Instant::now(), out.packets);
        now = now + Duration::from_millis(1);
        engine_.handle_timeout(now, &mut out);
        all.push(start.elapsed().as_nanos() as f64 / (out.packets - before).max(1) as f64);
    }
    show("silence: a packet", fastest(all));

    // Fewer legs, so that a round ends within a time slice; what they keep is more.
    let legs = legs.min(100);
    for rate in [8000, 16_000, 48_000] {
        let (mut engine_, mut out, mut now) = engine(legs, |_| (Codec::Pcmu, 0));
        let ports: Vec<_> = (0..legs).map(|_| Arc::new(AudioPort::new(rate, 20, 200))).collect();
        for (n, port) in ports.iter().enumerate() {
            engine_.handle_command(now, Command::OpenAudio { leg: id(n), port: port.clone() }, &mut out);
        }
        let received = receive(&mut engine_, &mut out, &mut now, legs, rounds / 4 + 1, true);
        show(&format!("program at {rate} Hz: a frame received, and silence sent"), received);
        let chunk: Vec<i16> = (0..rate / 50).map(|n| (n as i16 % 40) * 200).collect();
        let mut all = Vec::new();
        for _ in 0..rounds / 4 + 1 {
            for port in &ports {
                while port.read().is_some() {}
                port.write(&chunk);
            }
            now = now + Duration::from_millis(20);
            let start = Instant::now();
            engine_.handle_timeout(now, &mut out);
            all.push(start.elapsed().as_nanos() as f64 / legs as f64);
        }
        show(&format!("program at {rate} Hz: a frame sent, and a frame of zeros"), fastest(all));
    }
    black_box(out.octets);
}
