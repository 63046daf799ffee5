//! What one incoming call costs the signalling engine: INVITE, decision, 200, ACK, BYE, with SDP negotiated and media commands
//! issued, transactions included, sockets and Python not. `cargo bench -p ringback-engine`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a bench reads the clock and prints"
)]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringback_engine::api::{Command, Config, Decision, Event, Interest, Origin};
use ringback_engine::{Engine, Output};
use ringback_media_api::{LegId, MediaPort, MediaPorts, Token};
use ringback_time::{Mono, Now, Wall};
use ringback_ua::{Flow, Routes, Transport};

struct Here(SocketAddr);

impl Routes for Here {
    fn local_address(&mut self, _: Transport, _: SocketAddr) -> Option<SocketAddr> {
        Some(self.0)
    }
}

struct Counter(u64);

impl MediaPorts for Counter {
    fn allocate(&mut self, _: Now, local: IpAddr, _: Option<u8>) -> Option<MediaPort> {
        self.0 += 1;
        Some(MediaPort {
            thread: 0,
            leg: LegId::new(0, self.0),
            rtp: SocketAddr::new(local, 10_000 + (self.0 % 10_000) as u16 * 2),
        })
    }

    fn release(&mut self, _: Now, _: LegId, _: bool) {}
}

const SDP: &str = "v=0\r\no=user1 53655765 2353687637 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                   m=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n";

fn request(method: &str, n: u32, cseq: u32, to_tag: &str, body: &str) -> Bytes {
    let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    Bytes::from(format!(
        "{method} sip:service@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-{n}-{cseq}-{method}\r\n\
         From: sipp <sip:sipp@127.0.0.1:5070>;tag=sipp{n}\r\nTo: service <sip:service@127.0.0.1:5060>{to_tag}\r\n\
         Call-ID: {n}-1234@127.0.0.1\r\nCSeq: {cseq} {method}\r\nContact: sip:sipp@127.0.0.1:5070\r\nMax-Forwards: 70\r\n\
         Subject: Performance Test\r\n{content}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// Nanoseconds that this thread has had of a processor (Linux), or of the day elsewhere.
fn spent(since: Instant) -> u64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let on_cpu = statistics.and_then(|text| text.split(' ').next()?.parse().ok());
    on_cpu.unwrap_or_else(|| since.elapsed().as_nanos() as u64)
}

const BATCH: u32 = 250;

fn main() {
    let here: SocketAddr = "127.0.0.1:5060".parse().expect("an address");
    let there: SocketAddr = "127.0.0.1:5070".parse().expect("an address");
    let flow = Flow { transport: Transport::Udp, local: here, remote: there, connection: None };
    let batches: u32 = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(800);
    let began = Instant::now();
    for (name, interest) in [("no events", Interest::default()), ("all events", Interest::ALL)] {
        let config = Config { origin: Origin::Ask, interest, ..Config::default() };
        let rng = ChaCha12Rng::seed_from_u64(1);
        let mut engine = Engine::new(config, Box::new(Here(here)), Box::new(Counter(0)), rng);
        let mut now = Now { mono: Mono::from_nanos(1), wall: Wall::from_unix_nanos(1_700_000_000_000_000_000) };
        let mut nanos = 0;
        let mut answered = 0;
        for batch in 0..batches {
            // 3,000 calls a second: transactions linger as they do in service.
            now = now + Duration::from_nanos(u64::from(BATCH) * 333_333);
            let numbers = batch * BATCH..(batch + 1) * BATCH;
            let invites: Vec<Bytes> = numbers.clone().map(|n| request("INVITE", n, 1, "", SDP)).collect();
            let mut responses = Vec::with_capacity(invites.len());
            let start = spent(began);
            for invite in invites {
                let mut session = None;
                engine.handle_message(now, flow, invite);
                while let Some(output) = engine.poll_output() {
                    if let Output::Event(Event::Incoming(call)) = output {
                        session = Some(call.session.id);
                    }
                }
                let session = session.expect("a call");
                let decision = Decision::Accept { sdp: None, headers: Vec::new() };
                engine.handle_command(now, Command::Decide { token: Token(0), session, decision });
                while let Some(output) = engine.poll_output() {
                    if let Output::Transmit(transmit) = output {
                        responses.push(transmit.bytes);
                    }
                }
            }
            nanos += spent(began) - start;
            let rest: Vec<[Bytes; 2]> = numbers
                .zip(&responses)
                .map(|(n, response)| {
                    let text = std::str::from_utf8(response).expect("text");
                    let to = text.lines().find(|line| line.starts_with("To:")).expect("a To");
                    let tag = &to[to.rfind(";tag=").expect("a tag")..];
                    [request("ACK", n, 1, tag, ""), request("BYE", n, 2, tag, "")]
                })
                .collect();
            let start = spent(began);
            for message in rest.into_iter().flatten() {
                engine.handle_message(now, flow, message);
                while let Some(output) = engine.poll_output() {
                    answered += u32::from(matches!(output, Output::Transmit(_)));
                }
            }
            if engine.poll_timeout().is_some_and(|at| at <= now.mono) {
                engine.handle_timeout(now);
                while engine.poll_output().is_some() {}
            }
            nanos += spent(began) - start;
        }
        let calls = batches * BATCH;
        assert!(answered == calls && engine.counters().panics == 0, "every call was answered");
        println!("{name}: {:.2} us of CPU a call ({calls} calls)", nanos as f64 / 1e3 / f64::from(calls));
    }
}
