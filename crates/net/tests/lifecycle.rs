//! Binding, starting, stopping, starting again.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real sockets are what is tested")]

mod common;

use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use common::{LOCALHOST, address, free_ports, listen, running, settings, wait_for_event};
use ringback_engine::api::{Command, Error, Event};
use ringback_media_api::Token;
use ringback_net::{Listen, NetError, System};
use ringback_ua::Transport;

fn completed(wanted: u64) -> impl FnMut(Event) -> Option<Result<(), Error>> {
    move |event| match event {
        Event::Completed { token, result } if token == Token(wanted) => Some(result.map(|_| ())),
        _ => None,
    }
}

#[test]
fn udp_and_tcp_share_a_free_port_and_a_taken_one_is_named() {
    let system = System::bind(settings((20_000, 20_100))).expect("bound");
    let addresses = system.addresses();
    assert_eq!(addresses[0].1, addresses[1].1);
    let port = addresses[0].1.port();
    assert_ne!(port, 0);
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut again = settings((20_000, 20_100));
        again.listen = vec![Listen::new(transport, addresses[0].1)];
        let error = System::bind(again).expect_err("taken");
        assert!(matches!(&error, NetError::Bind { port: named, .. } if *named == port));
        assert!(error.to_string().starts_with(&format!("Failed to bind SIP port {port}: Address already in use")));
        assert!(error.to_string().contains(transport.as_str()));
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |change: &dyn Fn(&mut ringback_net::Settings)| {
        let mut settings = settings((20_000, 20_100));
        change(&mut settings);
        matches!(System::bind(settings), Err(NetError::BadSettings(_)))
    };
    assert!(refused(&|settings| settings.listen.clear()));
    assert!(refused(&|settings| settings.media_threads = 0));
    assert!(refused(&|settings| settings.media_ports = (20_001, 20_000)));
    assert!(!refused(&|_| ()));
}

#[test]
fn commands_are_taken_only_while_running_and_always_answered() {
    let system = System::bind(settings(free_ports(4))).expect("bound");
    let list = |token| Command::ListBridges { token: Token(token) };
    assert!(matches!(system.command(list(1)), Err(NetError::NotRunning)));
    system.start().expect("started");
    system.start().expect("nothing to do");
    system.command(list(2)).expect("taken");
    assert_eq!(wait_for_event(&system, completed(2)), Ok(()));

    // What is accepted in the moment of the end is answered too, one way or the other.
    let accepted = std::thread::scope(|scope| {
        let system = &system;
        let sender = scope.spawn(move || (100..).take_while(|token| system.command(list(*token)).is_ok()).last());
        // Well within the run of the sender.
        wait_for_event(system, completed(110)).expect("answered");
        system.shutdown();
        sender.join().expect("no panic")
    });
    let last = accepted.expect("some were accepted");
    let mut next = 111;
    while next <= last {
        wait_for_event(&system, completed(next)).ok();
        next += 1;
    }
    assert!(matches!(system.command(list(3)), Err(NetError::NotRunning)));
}

#[test]
fn a_system_stops_quickly_frees_its_ports_and_starts_again_on_them() {
    let system = running(settings(free_ports(4)));
    let address = address(&system);
    let (queue, directory) = (system.queue().fd(), system.directory());
    for _ in 0..3 {
        assert!(system.is_running());
        assert!(UdpSocket::bind(address).is_err() && TcpListener::bind(address).is_err(), "in use");
        let before = Instant::now();
        system.shutdown();
        system.shutdown();
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
        assert!(!system.is_running());
        drop(UdpSocket::bind(address).expect("free"));
        drop(TcpListener::bind(address).expect("free"));
        system.start().expect("started again");
        assert_eq!(system.addresses()[0].1, address);
    }
    assert_eq!(system.queue().fd(), queue);
    assert!(std::sync::Arc::ptr_eq(&system.directory(), &directory));
    system.shutdown();
    let taken = UdpSocket::bind(address).expect("free");
    assert!(matches!(system.start(), Err(NetError::Bind { .. })));
    drop(taken);
    system.start().expect("free again");
}

#[test]
fn what_was_never_started_lets_its_ports_go() {
    let system = System::bind(settings(free_ports(4))).expect("bound");
    let address = address(&system);
    system.shutdown();
    drop(UdpSocket::bind(address).expect("free"));
    system.start().expect("bound again");
    let mut other = settings(free_ports(4));
    other.listen = vec![listen(Transport::Udp)];
    drop(System::bind(other).expect("bound"));
}

#[test]
fn a_command_is_answered_soon_after_it_was_given() {
    let system = running(settings(free_ports(4)));
    let mut slowest = Duration::ZERO;
    for token in 1..=200 {
        let before = Instant::now();
        system.command(Command::ListBridges { token: Token(token) }).expect("taken");
        wait_for_event(&system, completed(token)).expect("answered");
        slowest = slowest.max(before.elapsed());
    }
    // Generous: the machine has other things to do. A lost wake would take for ever.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

#[test]
fn several_systems_live_side_by_side() {
    let range = free_ports(20);
    let systems: Vec<System> = (0..5).map(|_| running(settings(range))).collect();
    for (number, system) in systems.iter().enumerate() {
        system.command(Command::ListBridges { token: Token(number as u64 + 1) }).expect("taken");
        wait_for_event(system, completed(number as u64 + 1)).expect("answered");
    }
    assert!(systems.iter().all(|system| address(system).ip() == LOCALHOST));
}
