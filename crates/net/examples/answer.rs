//! Answers every call with silence, without Python: what a call costs up to the event queue. `answer PORT`, Ctrl-C ends it.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::disallowed_methods, reason = "a program for the terminal")]

use std::net::SocketAddr;

use ringback_engine::api::{Config, Interest, Origin};
use ringback_net::{Listen, Settings, System};
use ringback_ua::Transport;

fn main() {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(5060);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let engine = Config { origin: Origin::Accept, interest: Interest::ALL, max_sessions: 20_000, ..Config::default() };
    let system = System::bind(Settings {
        engine,
        listen: vec![Listen::new(Transport::Udp, address), Listen::new(Transport::Tcp, address)],
        media_ports: (20_000, 59_999),
        media_threads: 1,
        cpu_latency: None,
        binding_store: None,
        nat: Default::default(),
        nameserver: None,
    })
    .expect("the ports are free");
    system.start().expect("threads can be started");
    println!("answering on {address}");
    let (mut notices, mut total) = (Vec::new(), 0_u64);
    loop {
        while system.queue().drain(&mut notices, 1024) {
            total += notices.len() as u64;
            notices.clear();
        }
        total += notices.len() as u64;
        notices.clear();
        let stats = system.directory().stats();
        std::thread::sleep(std::time::Duration::from_millis(50));
        if total >= 30_000 {
            println!("{total} notices, {stats:?}");
            total = 0;
        }
    }
}
