//! INVITEs that nobody acknowledges: what they leave to others.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringback_sip::StatusCode;
use ringback_ua::{Authenticator, Body, Config, ConnectionId, Event, Flow, Passwords, Reply, Transport};

use crate::common::{HERE, SDP, Solo, header, request_with, to_tag};

const MOST: usize = 100;

fn flow(source: &str, transport: Transport) -> Flow {
    let remote = SocketAddr::new(source.parse().unwrap(), 5070);
    let connection = transport.is_reliable().then_some(ConnectionId(1));
    Flow { transport, local: HERE.parse().unwrap(), remote, connection }
}

fn udp(source: &str) -> Flow {
    flow(source, Transport::Udp)
}

fn numbered(method: &str, name: &str, tag: &str, branch: &str) -> String {
    let body = if method == "INVITE" { SDP } else { "" };
    let text = request_with(method, 1, tag, &format!("z9hG4bK-{branch}"), &[], body);
    text.replace("Call-ID: theirs", &format!("Call-ID: {name}"))
}

/// Address `n` of a flood.
fn forged(n: usize) -> String {
    IpAddr::from((0x0a00_0000 + n as u32).to_be_bytes()).to_string()
}

struct Server(Solo);

impl Server {
    fn new() -> Server {
        Server::with(Config::default())
    }

    fn with(config: Config) -> Server {
        Server(Solo::with(Config { half_open_invites: MOST, ..config }))
    }

    /// The response to an INVITE of that peer; each is accepted.
    fn invite(&mut self, from: Flow, name: &str) -> String {
        self.0.receive_on(from, &numbered("INVITE", name, "", name));
        if let Some(Event::Invite { call, .. }) = self.0.events.pop() {
            let accepted = Reply::with_body(StatusCode::OK, Body::sdp(SDP));
            self.0.call(|ua, now| ua.respond(now, call, accepted).unwrap());
        }
        let text = self.0.only_text();
        assert!(text.starts_with("SIP/2.0 200 ") || text.starts_with("SIP/2.0 503 "), "{text}");
        text
    }

    fn is_let_in(&mut self, from: Flow, name: &str) -> bool {
        self.invite(from, name).starts_with("SIP/2.0 200 ")
    }

    /// How many of so many INVITEs are let in; the n-th comes from `source(n)`.
    fn flood(&mut self, count: usize, source: impl Fn(usize) -> Flow) -> usize {
        (0..count).filter(|n| self.is_let_in(source(*n), &format!("flood-{n}"))).count()
    }

    fn ack(&mut self, from: Flow, name: &str, answer: &str) {
        // The ACK to a refusal has the branch of its INVITE.
        let branch = if answer.starts_with("SIP/2.0 2") { format!("{name}-ack") } else { name.to_owned() };
        self.0.receive_on(from, &numbered("ACK", name, &to_tag(answer), &branch));
        self.0.events.clear();
    }

    /// A call of somebody who means it.
    fn call(&mut self, from: Flow, name: &str) -> bool {
        let answer = self.invite(from, name);
        self.ack(from, name, &answer);
        answer.starts_with("SIP/2.0 200 ")
    }

    fn half_open(&self) -> usize {
        self.0.ua.stats().live.half_open
    }
}

#[test]
fn one_source_that_floods_leaves_room_for_others() {
    let mut server = Server::new();
    assert_eq!(server.flood(1000, |_| udp("198.51.100.1")), 57);
    assert_eq!(server.half_open(), 57);
    for n in 0..1000 {
        assert!(server.call(udp("203.0.113.1"), &format!("call-{n}")), "{n}");
    }
    assert_eq!(server.half_open(), 57);
    // RFC 3261 §13.3.1.4: and after 64*T1 all is as it was.
    server.0.wait(Duration::from_secs(33));
    assert_eq!(server.half_open(), 0);
    server.0.texts();
    server.0.events.clear();
    assert!(server.is_let_in(udp("198.51.100.1"), "again"));
}

/// A trunk sends everything from one address.
#[test]
fn one_source_may_have_three_quarters_half_open() {
    for trunk in [udp("203.0.113.1"), flow("203.0.113.1", Transport::Tcp)] {
        let mut server = Server::new();
        assert!(server.call(trunk, "first"));
        assert_eq!(server.flood(MOST, |_| trunk), 75);
    }
}

#[test]
fn forged_sources_leave_room_for_those_who_are_known() {
    let mut server = Server::new();
    let known = udp("203.0.113.1");
    assert!(server.call(known, "before"));
    assert_eq!(server.flood(1000, |n| udp(&forged(n))), 75);
    for n in 0..1000 {
        assert!(server.call(known, &format!("call-{n}")), "{n}");
    }
    assert!(server.call(flow("203.0.113.2", Transport::Tcp), "stream"), "its handshake proves it");
}

/// A network that needs no credentials gets no nonce that it could have read: its addresses are as easily forged.
#[test]
fn a_trusted_network_proves_nothing() {
    let passwords = Passwords::table([("peer".to_owned(), "secret".to_owned())]);
    let trusted = vec!["10.0.0.0/8".parse().unwrap()];
    let authenticator = Authenticator { trusted, ..Authenticator::new("pbx.example", passwords) };
    let mut server = Server::with(Config { authenticator: Some(authenticator), ..Config::default() });
    assert_eq!(server.flood(1000, |n| udp(&forged(n))), 75);
    assert!(server.call(flow("10.255.0.1", Transport::Tcp), "stream"));
}

/// Who comes for the first time during such a flood is told to come again, and let in when it does.
#[test]
fn who_acknowledges_a_refusal_is_known() {
    let mut server = Server::new();
    server.flood(1000, |n| udp(&forged(n)));
    let new = udp("203.0.113.9");
    let refusal = server.invite(new, "new");
    assert!(refusal.starts_with("SIP/2.0 503 ") && !header(&refusal, "Retry-After").is_empty());
    // The tag of that response is of no use to others, nor any other to this one.
    for (from, answer) in
        [(udp("203.0.113.10"), refusal.clone()), (new, refusal.replace(&to_tag(&refusal), "0123456789abcdef"))]
    {
        server.ack(from, "new", &answer);
        assert!(!server.is_let_in(from, "again"), "{answer}");
    }
    server.ack(new, "new", &refusal);
    assert!(server.is_let_in(new, "later"));
}

/// Somebody who can receive at one address can not make a forged one known: the ACK has to come from where the INVITE came from.
#[test]
fn nobody_proves_anything_for_somebody_else() {
    let mut server = Server::new();
    let (own, victim) = (udp("198.51.100.1"), udp("203.0.113.1"));
    let answer = server.invite(own, "own");
    server.ack(victim, "own", &answer);
    server.flood(1000, |n| udp(&forged(n)));
    assert!(!server.is_let_in(victim, "call"));

    let mut server = Server::new();
    server.0.receive_on(own, &numbered("INVITE", "own", "", "own"));
    let Some(Event::Invite { call, .. }) = server.0.events.pop() else { panic!() };
    server.0.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::BUSY_HERE)).unwrap());
    let refusal = server.0.only_text();
    server.ack(victim, "own", &refusal);
    server.flood(1000, |n| udp(&forged(n)));
    assert!(!server.is_let_in(victim, "call"));
}

/// What is above has sessions, and not as many of them.
#[test]
fn what_was_accepted_and_is_not_acknowledged_leaves_room_too() {
    let mut server = Server::new();
    let (flooding, other) = (udp("198.51.100.1"), flow("203.0.113.1", Transport::Tcp));
    for name in ["a", "b", "c"] {
        server.invite(flooding, name);
    }
    assert!(server.0.ua.leaves_room(&flooding, 3));
    assert!(!server.0.ua.leaves_room(&flooding, 1));
    assert!(server.0.ua.leaves_room(&other, 1));
    // What waits for an answer is not held against anybody.
    let mut server = Server::new();
    for n in 0..20 {
        server.0.receive_on(flooding, &numbered("INVITE", &n.to_string(), "", &n.to_string()));
    }
    assert_eq!(server.half_open(), 20);
    assert!(server.0.ua.leaves_room(&flooding, 1));
}
