//! Allocations under a virtual clock, on a server that is a machine without I/O too.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use ringback_nat::{Answer, Component, Outcome, Received, Servers, Transmit, Traversal, TurnServer};
use ringback_time::Mono;
use stun_proto::Instant;
use stun_proto::agent::Transmit as Packet;
use stun_types::TransportType;
use stun_types::message::Message;
use turn_server_proto::api::{TurnServerApi as _, TurnServerPollRet};
use turn_server_proto::server::TurnServer as Machine;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

const LOCAL: &str = "10.0.0.1:4000";
const SERVER: &str = "192.0.2.9:3478";
const PEER: &str = "198.51.100.1:7000";
const PEER_RTCP: &str = "198.51.100.1:7001";

/// Client and server, and the time. What is sent arrives at once, unless it is lost.
struct World {
    now: Mono,
    traversal: Traversal,
    server: Machine,
    next_port: u16,
    /// How many of the next datagrams to the server are lost; `u32::MAX`: all.
    lose: u32,
    /// To peers, by the relayed address.
    relayed: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// Octets that wrapped a peer's packet on its way to the client.
    received: Vec<(Component, SocketAddr, Vec<u8>)>,
    sent: Vec<Transmit>,
    outcome: Option<Outcome>,
}

fn instant(at: Mono) -> Instant {
    Instant::from_nanos(at.as_nanos() as i64)
}

impl World {
    fn new(password: &str) -> World {
        World::losing(password, 0)
    }

    fn losing(password: &str, lose: u32) -> World {
        let now = Mono::from_nanos(1_000_000_000);
        let mut server = Machine::new(TransportType::Udp, at(SERVER), "realm".into());
        server.add_user("alice".into(), "secret".into());
        let turn = TurnServer { address: at(SERVER), username: "alice".into(), password: password.into() };
        let servers = Servers { stun: None, turn: Some(turn) };
        let traversal = Traversal::new(now, at(LOCAL), &servers, 5);
        let mut world = World {
            now,
            traversal,
            server,
            next_port: 49_152,
            lose,
            relayed: Vec::new(),
            received: Vec::new(),
            sent: Vec::new(),
            outcome: None,
        };
        world.settle();
        world
    }

    fn client(component: Component) -> SocketAddr {
        let rtp = at(LOCAL);
        SocketAddr::new(rtp.ip(), rtp.port() + u16::from(component == Component::Rtcp))
    }

    /// Passes everything on until nothing is left to be done now.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let mut moved = false;
            if self.traversal.poll_timeout().is_some_and(|due| due <= self.now) {
                self.traversal.handle_timeout(self.now);
            }
            while let Some(transmit) = self.traversal.poll_transmit() {
                moved = true;
                self.server_gets(World::client(transmit.component), &transmit.bytes.clone());
                self.sent.push(transmit);
            }
            moved |= self.serve();
            if let Some(outcome) = self.traversal.poll_outcome() {
                self.outcome = Some(outcome);
                moved = true;
            }
            if !moved {
                return;
            }
        }
        panic!("a livelock");
    }

    fn serve(&mut self) -> bool {
        let mut moved = false;
        loop {
            match self.server.poll(instant(self.now)) {
                TurnServerPollRet::AllocateSocket {
                    transport,
                    listen_addr,
                    client_addr,
                    allocation_transport,
                    family,
                } => {
                    let relayed = SocketAddr::new(at(SERVER).ip(), self.next_port);
                    self.next_port += 1;
                    self.server.allocated_socket(
                        transport,
                        listen_addr,
                        client_addr,
                        allocation_transport,
                        family,
                        Ok(relayed),
                        instant(self.now),
                    );
                    moved = true;
                }
                TurnServerPollRet::SocketClose { .. } => moved = true,
                _ => break,
            }
        }
        while let Some(transmit) = self.server.poll_transmit(instant(self.now)) {
            moved = true;
            self.client_gets(transmit.to, &transmit.data);
        }
        moved
    }

    fn server_gets(&mut self, from: SocketAddr, bytes: &[u8]) {
        if self.lose > 0 {
            self.lose = self.lose.saturating_sub(u32::from(self.lose != u32::MAX));
            return;
        }
        let packet = Packet::new(bytes.to_vec(), TransportType::Udp, from, at(SERVER));
        if let Some(transmit) = self.server.recv(packet, instant(self.now)) {
            let built = transmit.build();
            self.deliver(built.from, built.to, &built.data);
        }
    }

    /// What the server sends: to the client, or from a relayed address to a peer.
    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if to.ip() == at(LOCAL).ip() {
            self.client_gets(to, bytes);
        } else {
            self.relayed.push((from, to, bytes.to_vec()));
        }
    }

    fn client_gets(&mut self, to: SocketAddr, bytes: &[u8]) {
        let component = if to.port() == at(LOCAL).port() { Component::Rtp } else { Component::Rtcp };
        if let Received::Relayed { from, start, length } = self.traversal.handle(self.now, component, at(SERVER), bytes)
        {
            self.received.push((component, from, bytes[start..start + length].to_vec()));
        }
    }

    /// A peer sends to a relayed address.
    fn peer_sends(&mut self, from: &str, to: SocketAddr, bytes: &[u8]) {
        let packet = Packet::new(bytes.to_vec(), TransportType::Udp, at(from), to);
        if let Some(transmit) = self.server.recv(packet, instant(self.now)) {
            let built = transmit.build();
            self.deliver(built.from, built.to, &built.data);
        }
    }

    /// The client sends to a peer; false: it had to be dropped.
    fn peer_gets(&mut self, component: Component, to: &str, bytes: &[u8]) -> Option<usize> {
        let mut room = Vec::new();
        let (server, wrapped) = self.traversal.wrap(self.now, component, at(to), bytes, &mut room)?;
        assert_eq!(server, at(SERVER));
        let (length, wrapped) = (wrapped.len(), wrapped.to_vec());
        self.server_gets(World::client(component), &wrapped);
        Some(length)
    }

    /// Lets time pass, from deadline to deadline.
    fn pass(&mut self, seconds: u64) {
        let end = self.now + std::time::Duration::from_secs(seconds);
        for _ in 0..20_000 {
            let due = self.traversal.poll_timeout().filter(|due| *due <= end);
            self.now = due.unwrap_or(end).max(self.now);
            self.settle();
            if due.is_none() {
                return;
            }
        }
        panic!("a livelock");
    }

    fn public(&self) -> ringback_nat::Public {
        self.outcome.as_ref().unwrap().public.unwrap()
    }

    /// With a peer that was let in.
    fn connected() -> World {
        let mut world = World::new("secret");
        world.pass(1);
        let now = world.now;
        world.traversal.set_peer(now, Some(at(PEER)), Some(at(PEER_RTCP)));
        world.settle();
        world.pass(1);
        world
    }
}

#[test]
fn both_sockets_have_an_allocation_each() {
    let mut world = World::new("secret");
    world.pass(1);
    let outcome = world.outcome.clone().unwrap();
    assert_eq!((outcome.turn, outcome.stun), (Answer::Given, Answer::Unasked));
    let public = world.public();
    assert!(public.relayed && public.rtp != public.rtcp);
    assert_eq!(world.traversal.relay_server(), Some(at(SERVER)));
}

#[test]
fn media_goes_by_channels_both_ways() {
    let mut world = World::connected();
    let public = world.public();
    assert_eq!(world.peer_gets(Component::Rtp, PEER, b"0123456789ab"), Some(16), "four octets for the channel");
    assert_eq!(world.peer_gets(Component::Rtcp, PEER_RTCP, b"rtcp"), Some(8));
    let expected = [(public.rtp, at(PEER), b"0123456789ab".to_vec()), (public.rtcp, at(PEER_RTCP), b"rtcp".to_vec())];
    assert_eq!(world.relayed, expected);

    world.peer_sends(PEER, public.rtp, b"sound");
    world.peer_sends(PEER_RTCP, public.rtcp, b"report");
    // Another port of the same host has the permission and no channel: its address is told as it is, for the leg to judge.
    world.peer_sends("198.51.100.1:9", public.rtp, b"other");
    world.peer_sends("203.0.113.66:7000", public.rtp, b"stranger");
    let expected = [
        (Component::Rtp, at(PEER), b"sound".to_vec()),
        (Component::Rtcp, at(PEER_RTCP), b"report".to_vec()),
        (Component::Rtp, at("198.51.100.1:9"), b"other".to_vec()),
    ];
    assert_eq!(world.received, expected);
}

#[test]
fn what_does_not_come_from_the_server_is_not_heard() {
    let mut world = World::connected();
    let now = world.now;
    let channel = b"\x40\x00\x00\x04evil";
    for from in ["198.51.100.1:7000", "203.0.113.66:1", "192.0.2.9:3479"] {
        assert_eq!(world.traversal.handle(now, Component::Rtp, at(from), channel), Received::Consumed);
        let rtp = [0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(world.traversal.handle(now, Component::Rtp, at(from), &rtp), Received::Consumed, "not by the relay");
    }
}

#[test]
fn allocation_permission_and_channel_outlive_hours() {
    let mut world = World::connected();
    let public = world.public();
    world.server.set_nonce_expiry_duration(std::time::Duration::from_secs(120));
    world.sent.clear();
    // Nonces get stale meanwhile (438), many times.
    world.pass(3 * 3600);
    let kinds: HashMap<u16, usize> = world.sent.iter().fold(HashMap::new(), |mut kinds, transmit| {
        if let Ok(message) = Message::from_bytes(&transmit.bytes) {
            *kinds.entry(message.method().value()).or_default() += 1;
        }
        kinds
    });
    // Refresh, CreatePermission or ChannelBind, Binding indications towards the NAT.
    assert!(kinds.contains_key(&4) && kinds.contains_key(&1) && kinds.contains_key(&9), "{kinds:?}");
    world.relayed.clear();
    assert_eq!(world.peer_gets(Component::Rtp, PEER, b"still here"), Some(14));
    assert_eq!(world.relayed, [(public.rtp, at(PEER), b"still here".to_vec())]);
    world.peer_sends(PEER, public.rtp, b"and there");
    assert_eq!(world.received.last().unwrap().2, b"and there");
}

#[test]
fn lost_requests_are_sent_again() {
    let mut world = World::losing("secret", 3);
    assert_eq!(world.outcome, None);
    world.pass(3);
    assert_eq!(world.outcome.clone().unwrap().turn, Answer::Given);
}

#[test]
fn a_silent_server_is_given_up_in_time() {
    let mut world = World::losing("secret", u32::MAX);
    world.pass(3);
    let outcome = world.outcome.clone().unwrap();
    assert_eq!((outcome.public, outcome.turn), (None, Answer::Failed("no answer".into())));
    assert!(!world.traversal.is_relayed());
}

#[test]
fn a_wrong_password_is_told_by_its_code() {
    let mut world = World::new("wrong");
    world.pass(3);
    let outcome = world.outcome.clone().unwrap();
    assert_eq!(outcome.public, None);
    assert!(matches!(&outcome.turn, Answer::Failed(cause) if cause.starts_with("refused: 401")), "{outcome:?}");
}

#[test]
fn an_allocation_is_given_back() {
    let mut world = World::connected();
    let public = world.public();
    let now = world.now;
    world.traversal.close(now);
    assert!(!world.traversal.is_closed(), "the server has to say so");
    world.settle();
    world.pass(1);
    assert!(world.traversal.is_closed());
    world.received.clear();
    world.peer_sends(PEER, public.rtp, b"too late");
    assert!(world.received.is_empty());
    assert_eq!(world.peer_gets(Component::Rtp, PEER, b"too late"), None);
}

#[test]
fn a_goodbye_that_nobody_answers_ends_too() {
    let mut world = World::connected();
    world.lose = u32::MAX;
    let now = world.now;
    world.traversal.close(now);
    world.settle();
    world.pass(3);
    assert!(world.traversal.is_closed());
    assert_eq!(world.traversal.poll_timeout(), None);
}

#[test]
fn an_allocation_that_the_server_forgets_ends_without_a_livelock() {
    let mut world = World::connected();
    world.lose = u32::MAX;
    world.pass(4000);
    assert_eq!(world.peer_gets(Component::Rtp, PEER, b"nowhere"), None);
    let now = world.now;
    world.traversal.close(now);
    world.settle();
    world.pass(3);
    assert!(world.traversal.is_closed());
}

#[test]
fn peers_are_bounded() {
    let mut world = World::connected();
    world.sent.clear();
    for number in 0..200 {
        let now = world.now;
        world.traversal.set_peer(now, Some(at(&format!("198.51.100.{number}:5000"))), None);
        world.settle();
    }
    world.pass(20);
    let asked = world.sent.iter().filter_map(|transmit| Message::from_bytes(&transmit.bytes).ok());
    let bound: HashSet<_> =
        asked.filter(|message| message.method().value() == 9).map(|message| message.transaction_id()).collect();
    assert_eq!(bound.len(), 15, "sixteen with the first");
}

#[test]
fn the_password_is_not_shown() {
    let turn = TurnServer { address: at(SERVER), username: "alice".into(), password: "hush".into() };
    let shown = format!("{:?}", Servers { stun: None, turn: Some(turn) });
    assert!(shown.contains("alice") && !shown.contains("hush"), "{shown}");
}
