//! Calls over real sockets, from the first INVITE to the last RTP packet.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real sockets are what is tested")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{LOCALHOST, PATIENCE, Phone, address, free_ports, running, settings, wait_for, wait_for_event};
use ringback_engine::api::{CallOptions, Command, Decision, Event, Origin, Reply, Session, SessionId, State};
use ringback_media_api::{Statistics, Token};
use ringback_net::{Level, Listen, Notice, System};
use ringback_ua::Transport;

fn established(system: &System) -> Arc<Session> {
    wait_for_event(system, |event| match event {
        Event::Established { session, .. } => Some(session),
        _ => None,
    })
}

fn ended(system: &System, id: SessionId) -> Arc<Session> {
    wait_for_event(system, |event| match event {
        Event::Ended { session } if session.id == id => Some(session),
        _ => None,
    })
}

fn run(system: &System, command: Command) -> Reply {
    let wanted = command.token();
    system.command(command).expect("running");
    wait_for_event(system, |event| match event {
        Event::Completed { token, result } if token == wanted => Some(result.expect("it works")),
        _ => None,
    })
}

fn statistics(system: &System, session: SessionId) -> Statistics {
    match run(system, Command::MediaStatistics { token: Token(901), session }) {
        Reply::Statistics(Some(statistics)) => statistics,
        other => panic!("{other:?}"),
    }
}

/// Places a call, hears silence, then itself; hangs up.
fn talk(system: &System, mut phone: Phone) {
    let response = phone.call();
    assert_eq!(response.status, 200, "{}", response.text);
    let session = established(system);
    assert_eq!(phone.receive_rtp().1, response.media());
    run(system, Command::Echo { token: Token(902), session: session.id, on: true });
    let end = Instant::now() + PATIENCE;
    let mut sequence = 0;
    // Each packet heard paces one sent.
    while phone.receive_rtp().0 != [0x2a; 160] {
        phone.send_rtp(response.media(), sequence, 0x2a);
        sequence += 1;
        assert!(Instant::now() < end, "no echo");
    }
    phone.hang_up();
    assert_eq!(ended(system, session.id).state(), State::Terminated);
}

#[test]
fn a_udp_call_is_answered_and_heard() {
    let system = running(settings(free_ports(4)));
    talk(&system, Phone::udp(address(&system)));
}

#[test]
fn a_tcp_call_is_answered_and_heard() {
    let system = running(settings(free_ports(4)));
    talk(&system, Phone::tcp(address(&system)));
}

#[test]
fn a_wildcard_system_answers_from_the_address_that_was_called() {
    let mut wildcard = settings(free_ports(8));
    let any = |transport| Listen::new(transport, "0.0.0.0:0".parse().expect("an address"));
    wildcard.listen = vec![any(Transport::Udp), any(Transport::Tcp)];
    let system = running(wildcard);
    let called: SocketAddr = format!("127.0.0.3:{}", address(&system).port()).parse().expect("an address");
    let mut phone = Phone::udp(called);
    let response = phone.call();
    assert_eq!(response.status, 200, "{}", response.text);
    assert!(response.header("Contact").contains("127.0.0."), "{}", response.text);
    let session = established(&system);
    assert_eq!(phone.receive_rtp().1, response.media());
    phone.hang_up();
    assert_eq!(phone.answered_from(), Some(called));
    ended(&system, session.id);
    talk(&system, Phone::tcp(SocketAddr::new(LOCALHOST, called.port())));
}

#[test]
fn a_strangers_packets_are_not_heard() {
    let system = running(settings(free_ports(4)));
    let mut phone = Phone::udp(address(&system));
    let media = phone.call().media();
    let session = established(&system).id;
    let stranger = Phone::udp(address(&system));
    phone.receive_rtp();
    for sequence in 0..30 {
        stranger.send_rtp(media, sequence, 0x11);
        phone.send_rtp(media, sequence, 0x2a);
    }
    let end = Instant::now() + PATIENCE;
    while statistics(&system, session).packets_received < 30 {
        assert!(Instant::now() < end, "not all came");
    }
    // Anything of the stranger's that was let in would be counted by now: it was sent before.
    assert_eq!(statistics(&system, session).packets_received, 30);
    phone.hang_up();
}

#[test]
fn calls_are_refused_when_ports_are_used_up_and_taken_when_they_come_back() {
    let range = free_ports(2);
    let system = running(settings(range));
    let mut phones: Vec<Phone> = (0..3).map(|_| Phone::udp(address(&system))).collect();
    let mut ports = Vec::new();
    for phone in &mut phones[..2] {
        let response = phone.call();
        assert_eq!(response.status, 200, "{}", response.text);
        ports.push(response.media().port());
        established(&system);
    }
    ports.sort_unstable();
    assert_eq!(ports, [range.0, range.0 + 2]);
    let refused = phones[2].call();
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(!refused.header("Retry-After").is_empty());
    phones[0].hang_up();
    let end = Instant::now() + PATIENCE;
    loop {
        let mut phone = Phone::udp(address(&system));
        let response = phone.call();
        if response.status == 200 {
            assert!(ports.contains(&response.media().port()));
            phone.hang_up();
            break;
        }
        assert!(Instant::now() < end, "the ports never came back");
    }
}

#[test]
fn the_end_of_a_system_says_good_bye_and_a_new_start_takes_calls() {
    let system = running(settings(free_ports(4)));
    let mut phone = Phone::udp(address(&system));
    let response = phone.call();
    assert_eq!(response.status, 200);
    let session = established(&system);
    let before = Instant::now();
    system.shutdown();
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert!(phone.read_request().starts_with("BYE "));
    assert!(session.end().is_some());
    ended(&system, session.id);
    assert!(UdpSocket::bind(response.media()).is_ok(), "media ports are closed too");
    assert!(system.directory().get(session.id).is_some(), "still known");
    system.start().expect("started again");
    talk(&system, Phone::udp(address(&system)));
}

#[test]
fn systems_call_each_other_by_name_and_hear_each_other() {
    let mut asking = settings(free_ports(4));
    asking.engine.origin = Origin::Ask;
    let callee = running(asking);
    let caller = running(settings(free_ports(4)));
    let create = Command::CreateCall {
        token: Token(1),
        from: "sip:a@127.0.0.1".into(),
        to: format!("sip:b@localhost:{}", address(&callee).port()),
        sdp: None,
        headers: Vec::new(),
        send: true,
        options: CallOptions::default(),
    };
    let Reply::Session(outgoing) = run(&caller, create) else { panic!("no session") };
    let call = wait_for_event(&callee, |event| match event {
        Event::Incoming(call) => Some(call),
        _ => None,
    });
    assert_eq!(call.transport, "udp");
    let decision = Decision::Accept { sdp: None, headers: Vec::new() };
    callee.command(Command::Decide { token: Token(2), session: call.session.id, decision }).expect("running");
    established(&callee);
    established(&caller);
    for (system, session) in [(&caller, outgoing.id), (&callee, call.session.id)] {
        let end = Instant::now() + PATIENCE;
        while statistics(system, session).packets_received < 5 {
            assert!(Instant::now() < end, "nothing is heard");
            std::thread::yield_now();
        }
    }
    caller.command(Command::Hangup { token: Token(3), session: outgoing.id, reason: None }).expect("running");
    ended(&caller, outgoing.id);
    ended(&callee, call.session.id);
}

#[test]
fn a_request_too_large_for_udp_goes_by_tcp() {
    let mut asking = settings(free_ports(4));
    asking.engine.origin = Origin::Ask;
    let callee = running(asking);
    let caller = running(settings(free_ports(4)));
    let create = Command::CreateCall {
        token: Token(1),
        from: "sip:a@127.0.0.1".into(),
        to: format!("sip:b@{}", address(&callee)),
        sdp: None,
        headers: vec![("X-Large".into(), "x".repeat(2000))],
        send: true,
        options: CallOptions::default(),
    };
    run(&caller, create);
    let call = wait_for_event(&callee, |event| match event {
        Event::Incoming(call) => Some(call),
        _ => None,
    });
    assert_eq!(call.transport, "tcp");
}

#[test]
fn a_port_where_nobody_is_fails_the_call_at_once() {
    let system = running(settings(free_ports(4)));
    let nobody = UdpSocket::bind((LOCALHOST, 0)).and_then(|socket| socket.local_addr()).expect("an address");
    let create = Command::CreateCall {
        token: Token(1),
        from: "sip:a@127.0.0.1".into(),
        to: format!("sip:b@{nobody}"),
        sdp: None,
        headers: Vec::new(),
        send: true,
        options: CallOptions::default(),
    };
    let Reply::Session(session) = run(&system, create) else { panic!("no session") };
    // Timer B would take 32 s; the refusal comes back by ICMP.
    assert_eq!(ended(&system, session.id).state(), State::Failed);
}

#[test]
fn a_program_that_does_not_take_its_events_gets_no_more_calls() {
    let system = running(settings(free_ports(400)));
    let end = Instant::now() + PATIENCE;
    let call = |wanted: u16| loop {
        let mut phone = Phone::udp(address(&system));
        let response = phone.call();
        if response.status == 200 {
            // Paces the calls: some 20 ms each.
            phone.receive_rtp();
            phone.hang_up();
        }
        if response.status == wanted {
            break;
        }
        assert!(Instant::now() < end, "{wanted} never came");
    };
    call(503);
    let mut notices = Vec::new();
    while system.queue().drain(&mut notices, 1000) {}
    assert!(notices.len() > 50, "nothing was lost");
    call(200);
}

#[test]
fn one_call_can_be_followed_in_the_log() {
    let system = running(settings(free_ports(4)));
    assert!(system.queue().log_levels().set("ringback.sip", Some(Level::DEBUG)));
    let mut phone = Phone::udp(address(&system));
    assert_eq!(phone.call().status, 200);
    let (mut invite, mut answer) = (false, false);
    wait_for(&system, |notice| {
        if let Notice::Log(record) = notice
            && record.call_id.as_deref() == Some(phone.call_id())
        {
            assert_eq!(record.target, "ringback.sip");
            invite |= record.message.contains("INVITE sip:anyone");
            answer |= record.message.contains("SIP/2.0 200 OK");
        }
        (invite && answer).then_some(())
    });
}

#[test]
fn many_connections_are_served_at_once() {
    let system = running(settings(free_ports(4)));
    let mut phones: Vec<Phone> = (0..150).map(|_| Phone::tcp(address(&system))).collect();
    for phone in &mut phones {
        phone.request("OPTIONS", "");
    }
    for phone in &mut phones {
        assert_eq!(phone.response().status, 200);
    }
}

#[test]
fn both_address_families_are_served_side_by_side() {
    let mut both = settings(free_ports(4));
    let any = |transport, address: &str| Listen::new(transport, address.parse().expect("an address"));
    both.listen = vec![
        any(Transport::Udp, "0.0.0.0:0"),
        any(Transport::Tcp, "0.0.0.0:0"),
        any(Transport::Udp, "[::]:0"),
        any(Transport::Tcp, "[::]:0"),
    ];
    let system = running(both);
    let port = address(&system).port();
    assert!(system.addresses().iter().all(|(_, address)| address.port() == port), "one port for all");
    for host in ["127.0.0.1", "::1"] {
        let remote = SocketAddr::new(host.parse().expect("an address"), port);
        for mut phone in [Phone::udp(remote), Phone::tcp(remote)] {
            phone.request("OPTIONS", "");
            assert_eq!(phone.response().status, 200);
        }
    }
}
