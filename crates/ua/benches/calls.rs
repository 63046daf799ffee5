//! CPU time of one call, INVITE/180/200/ACK/BYE/200, on the called and on the calling side: all that this crate does, from bytes to bytes. The peer's
//! messages are made beforehand. And the bytes that stay behind for each finished call.
//!
//! `cargo bench -p ringback-ua`
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringback_sip::{NameAddr, StatusCode, Uri};
use ringback_time::{Mono, Now, Wall};
use ringback_ua::{Body, Config, Event, Flow, Invite, Output, Reply, Routes, Transport, Ua};

const SDP: &str = "v=0\r\no=user1 53655765 2353687637 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                   m=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
                   a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

struct Here(SocketAddr);

impl Routes for Here {
    fn local_address(&mut self, _: Transport, _: SocketAddr) -> Option<SocketAddr> {
        Some(self.0)
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn flow() -> Flow {
    let (local, remote) = (address("127.0.0.1:5060"), address("127.0.0.1:5061"));
    Flow { transport: Transport::Udp, local, remote, connection: None }
}

fn at(ns: u64) -> Now {
    Now { mono: Mono::from_nanos(ns), wall: Wall::from_unix_nanos(ns) }
}

fn ua() -> Ua {
    Ua::new(Config::default(), Box::new(Here(address("127.0.0.1:5060"))), ChaCha12Rng::seed_from_u64(1))
}

/// What SIPp's `uac` scenario sends.
fn request(n: usize, method: &str, cseq: u32, to_tag: &str, body: &str) -> Bytes {
    let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    let content = if body.is_empty() { String::new() } else { "Content-Type: application/sdp\r\n".into() };
    format!(
        "{method} sip:service@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bK-{n}-{cseq}-{}\r\n\
         From: sipp <sip:sipp@127.0.0.1:5061>;tag=tag-{n}\r\nTo: service <sip:service@127.0.0.1:5060>{to_tag}\r\n\
         Call-ID: {n}-12345@127.0.0.1\r\nCSeq: {cseq} {method}\r\nContact: sip:sipp@127.0.0.1:5061\r\nMax-Forwards: 70\r\n\
         Subject: Performance Test\r\n{content}Content-Length: {}\r\n\r\n{body}",
        method.len(),
        body.len()
    )
    .into()
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap()
}

/// The peer's response to a request of ours.
fn response(request: &str, status: &str, contact: bool, body: &str) -> Bytes {
    let to = header(request, "To");
    let to_tag = if to.contains(";tag=") { "" } else { ";tag=peer" };
    let contact = if contact { "Contact: <sip:127.0.0.1:5061;transport=UDP>\r\n" } else { "" };
    let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{to_tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{contact}{content}Content-Length: {}\r\n\r\n{body}",
        header(request, "Via"),
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
        body.len()
    )
    .into()
}

/// Calls at a time: as many as 3,000 calls/s of a third of a second are.
const CHUNK: usize = 1000;
const CHUNKS: usize = 100;

fn drain(ua: &mut Ua, sent: &mut Vec<Bytes>, events: &mut Vec<Event>) {
    while let Some(output) = ua.poll_output() {
        match output {
            Output::Transmit(transmit) => sent.push(transmit.bytes),
            Output::Event(event) => events.push(event),
            Output::Resolve { .. } => {}
        }
    }
}

/// CPU time of this thread: the machine is shared, a wall clock says nothing. It advances by ticks, which even out over the chunks.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn mean(times: Vec<Duration>) -> f64 {
    let calls = (times.len() * CHUNK) as f64;
    times.into_iter().sum::<Duration>().as_nanos() as f64 / 1000.0 / calls
}

fn called_side() {
    let mut ua = ua();
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    let mut clock = 1_000_000_000u64;
    for chunk in 0..CHUNKS {
        let numbers = chunk * CHUNK..(chunk + 1) * CHUNK;
        let invites: Vec<Bytes> = numbers.clone().map(|n| request(n, "INVITE", 1, "", SDP)).collect();
        sent.clear();
        let mut took = [Duration::ZERO; 3];
        let start = cpu();
        for invite in invites {
            clock += 100_000;
            let now = at(clock);
            ua.handle_message(now, flow(), invite);
            drain(&mut ua, &mut sent, &mut events);
            let Some(Event::Invite { call, .. }) = events.pop() else { panic!("no call") };
            ua.respond(now, call, Reply::new(StatusCode::RINGING)).unwrap();
            drain(&mut ua, &mut sent, &mut events);
            ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap();
            drain(&mut ua, &mut sent, &mut events);
        }
        took[0] = cpu().saturating_sub(start);
        let tags: Vec<String> = sent
            .iter()
            .filter(|bytes| bytes.starts_with(b"SIP/2.0 200"))
            .map(|bytes| {
                let text = std::str::from_utf8(bytes).unwrap();
                header(text, "To").rsplit_once("tag=").unwrap().1.to_owned()
            })
            .collect();
        assert_eq!(tags.len(), CHUNK);
        for (place, method, cseq) in [(1, "ACK", 1), (2, "BYE", 2)] {
            let messages: Vec<Bytes> =
                numbers.clone().zip(&tags).map(|(n, tag)| request(n, method, cseq, tag, "")).collect();
            events.clear();
            let start = cpu();
            for message in messages {
                clock += 50_000;
                ua.handle_message(at(clock), flow(), message);
                drain(&mut ua, &mut sent, &mut events);
            }
            took[place] = cpu().saturating_sub(start);
            assert_eq!(events.len(), if method == "ACK" { CHUNK } else { 2 * CHUNK });
        }
        for (times, took) in times.iter_mut().zip(took) {
            times.push(took);
        }
    }
    let stats = ua.stats();
    assert_eq!(stats.live.calls, 0);
    let [invite, ack, bye] = times.map(mean);
    println!(
        "called side:  {:6.2} us a call (INVITE+180+200 {invite:.2}, ACK {ack:.2}, BYE+200 {bye:.2})",
        invite + ack + bye
    );
    println!(
        "lingering:    {:6.1} bytes a finished call, {:.1} a transaction",
        stats.lingering_bytes as f64 / (CHUNK * CHUNKS) as f64,
        stats.lingering_bytes as f64 / stats.live.lingering as f64
    );
}

fn calling_side() {
    let mut ua = ua();
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    let mut clock = 1_000_000_000u64;
    let to = "sip:service@127.0.0.1:5061";
    for _ in 0..CHUNKS {
        let mut took = [Duration::ZERO; 3];
        let mut calls = Vec::new();
        sent.clear();
        let start = cpu();
        for _ in 0..CHUNK {
            clock += 100_000;
            let call_id = ua.new_call_id();
            let invite = Invite {
                from: NameAddr::parse("<sip:ringback@127.0.0.1:5060>").unwrap(),
                to: NameAddr::parse("<sip:service@127.0.0.1:5061>").unwrap(),
                request_uri: Uri::parse(to).unwrap(),
                call_id,
                headers: Vec::new(),
                body: Some(Body::sdp(SDP)),
                max_forwards: 70,
                contact: None,
                flow: None,
                credentials: None,
                redirects: 0,
            };
            calls.push(ua.invite(at(clock), invite).unwrap());
            drain(&mut ua, &mut sent, &mut events);
        }
        took[0] = cpu().saturating_sub(start);
        let answers: Vec<[Bytes; 2]> = sent
            .iter()
            .map(|invite| {
                let text = std::str::from_utf8(invite).unwrap();
                [response(text, "180 Ringing", true, ""), response(text, "200 OK", true, SDP)]
            })
            .collect();
        sent.clear();
        let start = cpu();
        for ([ringing, ok], call) in answers.into_iter().zip(&calls) {
            clock += 50_000;
            ua.handle_message(at(clock), flow(), ringing);
            drain(&mut ua, &mut sent, &mut events);
            ua.handle_message(at(clock), flow(), ok);
            drain(&mut ua, &mut sent, &mut events);
            ua.ack(at(clock), *call, None);
            drain(&mut ua, &mut sent, &mut events);
        }
        took[1] = cpu().saturating_sub(start);
        sent.clear();
        let start = cpu();
        for call in &calls {
            ua.bye(at(clock), *call, None);
            drain(&mut ua, &mut sent, &mut events);
        }
        took[2] = cpu().saturating_sub(start);
        let answers: Vec<Bytes> =
            sent.iter().map(|bye| response(std::str::from_utf8(bye).unwrap(), "200 OK", false, "")).collect();
        assert_eq!(answers.len(), CHUNK);
        events.clear();
        let start = cpu();
        for answer in answers {
            ua.handle_message(at(clock), flow(), answer);
            drain(&mut ua, &mut sent, &mut events);
        }
        took[2] += cpu().saturating_sub(start);
        assert_eq!(events.len(), CHUNK);
        events.clear();
        for (times, took) in times.iter_mut().zip(took) {
            times.push(took);
        }
    }
    let [invite, answer, bye] = times.map(mean);
    println!(
        "calling side: {:6.2} us a call (INVITE {invite:.2}, 180+200+ACK {answer:.2}, BYE+200 {bye:.2})",
        invite + answer + bye
    );
}

fn main() {
    called_side();
    calling_side();
}
