//! What a registrar with 100,000 bindings costs: processor time of a REGISTER (read, checked, bound, answered) when it is new and when it is a
//! refresh, of a look-up, and the bytes of a binding. Transactions, sockets and stores are not in it. `cargo bench -p ringback-registrar`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a bench reads the clock and prints"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringback_registrar::{Config, Registrar};
use ringback_sip::Message;
use ringback_time::{Mono, Now, Wall};
use ringback_ua::{Flow, Transport};

const BINDINGS: u32 = 100_000;

fn request(number: u32, cseq: u32) -> Vec<u8> {
    let [_, a, b, c] = number.to_be_bytes();
    format!(
        "REGISTER sip:pbx.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.{a}.{b}.{c}:5060;branch=z9hG4bK{number:x}-{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:user{number}@pbx.example>;tag={number:08x}\r\nTo: <sip:user{number}@pbx.example>\r\n\
         Call-ID: {number:032x}\r\nCSeq: {cseq} REGISTER\r\nUser-Agent: Desk telephone 4.2.1\r\n\
         Contact: <sip:user{number}@10.{a}.{b}.{c}:5060>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn each(what: &str, mut work: impl FnMut(u32)) {
    let since = Instant::now();
    for number in 0..BINDINGS {
        work(number);
    }
    let nanos = since.elapsed().as_nanos() as f64 / f64::from(BINDINGS);
    println!("{what:<28} {nanos:>8.0} ns   {:>9.0} a second", 1e9 / nanos);
}

fn main() {
    let mut registrar = Registrar::new(Config { domains: vec!["pbx.example".into()], ..Config::default() });
    let mut now = Now { mono: Mono::from_nanos(1), wall: Wall::from_unix_nanos(1_700_000_000_000_000_000) };
    for (cseq, what) in [(1, "REGISTER, new"), (2, "REGISTER, a refresh")] {
        each(what, |number| {
            now = now + Duration::from_micros(10);
            let remote = SocketAddr::from(([10, 0, 0, 1], 5060));
            let flow = Flow { transport: Transport::Udp, local: remote, remote, connection: None };
            let message = Message::parse(request(number, cseq).into()).expect("a message");
            let plan = registrar.plan(now, &message, &flow).expect("accepted");
            registrar.commit(now, &plan.write);
            assert!(!registrar.reply(now, &plan, || [0; 12]).is_empty());
        });
    }
    each("look-up", |number| {
        assert_eq!(registrar.lookup(now, &format!("sip:user{number}@pbx.example")).len(), 1);
    });
    println!("{} bindings, {} bytes each", registrar.len(), registrar.bytes() / registrar.len());
    let since = Instant::now();
    let ended = registrar.handle_timeout(now + Duration::from_secs(3600)).len();
    println!("{ended} ended in {} ms", since.elapsed().as_millis());
}
