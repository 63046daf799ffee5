//! Alone in its process, because it counts what the process has.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real sockets are what is tested")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use common::{Phone, address, free_ports, settings, until, wait_for_event};
use ringback_engine::api::{Command, Event, Reply, SessionId};
use ringback_media_api::Token;
use ringback_net::{Settings, System};

fn count(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}")).expect("procfs").count()
}

#[test]
fn cycles_leave_no_descriptor_and_no_thread() {
    let range = free_ports(50);
    let cycle = || {
        let system = System::bind(settings(range)).expect("bound");
        system.start().expect("started");
        let mut phone = Phone::udp(address(&system));
        assert_eq!(phone.call().status, 200);
        phone.hang_up();
        let mut phone = Phone::tcp(address(&system));
        assert_eq!(phone.call().status, 200);
        phone.hang_up();
        system.shutdown();
        system.start().expect("started again");
    };
    cycle();
    let (files, threads) = (count("fd"), count("task"));
    for _ in 0..200 {
        cycle();
    }
    until("threads are left", || count("task") <= threads);
    assert!(count("fd") <= files, "{} descriptors, before {files}", count("fd"));
    calls_that_move_leave_nothing(range);
}

/// Calls on two media threads are bridged again and again, and the system ends in the middle of it.
fn calls_that_move_leave_nothing(range: (u16, u16)) {
    let (files, threads) = (count("fd"), count("task"));
    for _ in 0..5 {
        let system = System::bind(Settings { media_threads: 2, ..settings(range) }).expect("bound");
        system.start().expect("started");
        // Eight come to the first thread.
        let mut phones: Vec<Phone> = (0..12).map(|_| Phone::udp(address(&system))).collect();
        let sessions: Vec<SessionId> = phones
            .iter_mut()
            .map(|phone| {
                assert_eq!(phone.call().status, 200);
                wait_for_event(&system, |event| match event {
                    Event::Established { session, .. } => Some(session.id),
                    _ => None,
                })
            })
            .collect();
        let bridge = |token: u64, a: usize, b: usize| {
            let (token, first, second) = (Token(token), sessions[a], sessions[b]);
            system.command(Command::Bridge { token, first, second }).expect("it runs");
        };
        for round in 1..100_u64 {
            bridge(round, (round % 8) as usize, 8 + (round % 4) as usize);
            let id = wait_for_event(&system, |event| match event {
                Event::Completed { token, result: Ok(Reply::Bridge(id)) } if token == Token(round) => Some(id),
                Event::Completed { result: Err(error), .. } => panic!("{error}"),
                _ => None,
            });
            system.command(Command::DestroyBridge { token: Token(1000 + round), bridge: id }).expect("it runs");
        }
        phones.iter_mut().take(6).for_each(Phone::hang_up);
        bridge(2001, 6, 8);
        bridge(2002, 7, 9);
        system.shutdown();
        assert!(!system.is_running());
    }
    until("threads are left", || count("task") <= threads);
    assert!(count("fd") <= files, "{} descriptors, before {files}", count("fd"));
}
