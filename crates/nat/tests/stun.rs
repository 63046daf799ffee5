//! Binding requests under a virtual clock: lost, answered late, by the wrong one, or not at all; and mappings kept alive.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;
use std::time::Duration;

use ringback_nat::{Answer, Component, KEEP_ALIVE, Outcome, Public, Received, Servers, Transmit, Traversal};
use ringback_time::Mono;
use stun_types::attribute::{ErrorCode, XorMappedAddress};
use stun_types::message::{BINDING, Message, MessageClass, MessageWriteVec};
use stun_types::prelude::{MessageWrite, MessageWriteExt};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ms(ms: u64) -> Mono {
    Mono::from_nanos(ms * 1_000_000)
}

const LOCAL: &str = "10.0.0.1:4000";
const SERVER: &str = "192.0.2.9:3478";
const MAPPED: [&str; 2] = ["203.0.113.5:50001", "203.0.113.5:50377"];

fn servers() -> Servers {
    Servers { stun: Some(at(SERVER)), turn: None }
}

fn asked(now: Mono) -> Traversal {
    Traversal::new(now, at(LOCAL), &servers(), 77)
}

fn drain(traversal: &mut Traversal) -> Vec<Transmit> {
    std::iter::from_fn(|| traversal.poll_transmit()).collect()
}

/// The server's answer to a request, as it is or spoiled.
fn response(request: &Transmit, spoil: bool) -> Vec<u8> {
    let asked = Message::from_bytes(&request.bytes).unwrap();
    let mapped = at(MAPPED[usize::from(request.component == Component::Rtcp)]);
    let mut message = Message::builder_success(&asked, MessageWriteVec::new());
    message.add_attribute(&XorMappedAddress::new(mapped, asked.transaction_id())).unwrap();
    let mut bytes = message.finish();
    if spoil {
        // Within the transaction.
        bytes[19] ^= 1;
    }
    bytes
}

fn refused(request: &Transmit, code: u16) -> Vec<u8> {
    let asked = Message::from_bytes(&request.bytes).unwrap();
    let mut message = Message::builder_error(&asked, MessageWriteVec::new());
    message.add_attribute(&ErrorCode::new(code, "Go\naway").unwrap()).unwrap();
    message.finish()
}

fn found() -> Outcome {
    let public = Public { rtp: at(MAPPED[0]), rtcp: at(MAPPED[1]), relayed: false };
    Outcome { public: Some(public), stun: Answer::Given, turn: Answer::Unasked }
}

#[test]
fn both_sockets_learn_their_addresses_in_one_round_trip() {
    let mut traversal = asked(ms(0));
    let requests = drain(&mut traversal);
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.to == at(SERVER)));
    for request in &requests {
        assert_eq!(traversal.poll_outcome(), None);
        let received = traversal.handle(ms(40), request.component, at(SERVER), &response(request, false));
        assert_eq!(received, Received::Consumed);
    }
    assert_eq!(traversal.poll_outcome(), Some(found()));
    assert_eq!(traversal.poll_outcome(), None, "told once");
}

#[test]
fn what_is_lost_is_asked_again() {
    let mut traversal = asked(ms(0));
    drain(&mut traversal);
    let mut sent_at = Vec::new();
    let mut last = Vec::new();
    while let Some(due) = traversal.poll_timeout().filter(|due| *due < ms(720)) {
        traversal.handle_timeout(due);
        let again = drain(&mut traversal);
        if !again.is_empty() {
            sent_at.push(due.as_nanos() / 1_000_000);
            last = again;
        }
    }
    assert_eq!(sent_at, [100, 300, 700]);
    for request in &last {
        traversal.handle(ms(740), request.component, at(SERVER), &response(request, false));
    }
    assert_eq!(traversal.poll_outcome(), Some(found()));
}

#[test]
fn a_silent_server_costs_a_second() {
    let mut traversal = asked(ms(0));
    let mut ended = None;
    for _ in 0..20 {
        let Some(due) = traversal.poll_timeout() else { break };
        traversal.handle_timeout(due);
        if let Some(outcome) = traversal.poll_outcome() {
            ended = Some((due, outcome));
            break;
        }
    }
    let nothing = Outcome { public: None, stun: Answer::Failed("no answer".into()), turn: Answer::Unasked };
    assert_eq!(ended, Some((ms(1000), nothing)));
}

#[test]
fn only_the_server_asked_with_the_transaction_asked_by_is_believed() {
    let mut traversal = asked(ms(0));
    let requests = drain(&mut traversal);
    for request in &requests {
        for (from, bytes) in [
            ("198.51.100.1:3478", response(request, false)),
            ("192.0.2.9:3479", response(request, false)),
            (SERVER, response(request, true)),
            (SERVER, request.bytes.clone()),
            (SERVER, b"\x01\x01\x00\x00".to_vec()),
        ] {
            assert_eq!(traversal.handle(ms(10), request.component, at(from), &bytes), Received::Consumed);
        }
        // The other socket's answer is not this one's.
        let other = requests.iter().find(|other| other.component != request.component).unwrap();
        traversal.handle(ms(11), request.component, at(SERVER), &response(other, false));
    }
    assert_eq!(traversal.poll_outcome(), None);
    for request in &requests {
        traversal.handle(ms(20), request.component, at(SERVER), &response(request, false));
        // What comes after the first answer changes nothing.
        traversal.handle(ms(21), request.component, at(SERVER), &refused(request, 500));
    }
    assert_eq!(traversal.poll_outcome(), Some(found()));
}

#[test]
fn a_refusal_is_told_in_one_line() {
    let mut traversal = asked(ms(0));
    let requests = drain(&mut traversal);
    traversal.handle(ms(10), requests[0].component, at(SERVER), &refused(&requests[0], 500));
    let outcome = traversal.poll_outcome().unwrap();
    assert_eq!(outcome.public, None, "one half of a pair is nothing");
    assert_eq!(outcome.stun, Answer::Failed("refused: 500 Goaway".into()));
}

#[test]
fn an_address_that_is_none_is_not_believed() {
    let mut traversal = asked(ms(0));
    let request = drain(&mut traversal).remove(0);
    let asked = Message::from_bytes(&request.bytes).unwrap();
    let mut message = Message::builder_success(&asked, MessageWriteVec::new());
    message.add_attribute(&XorMappedAddress::new(at("0.0.0.0:0"), asked.transaction_id())).unwrap();
    traversal.handle(ms(5), request.component, at(SERVER), &message.finish());
    assert!(matches!(traversal.poll_outcome().unwrap().stun, Answer::Failed(_)));
}

#[test]
fn media_is_left_to_the_leg() {
    let mut traversal = asked(ms(0));
    let rtp = [0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
    assert_eq!(traversal.handle(ms(5), Component::Rtp, at("198.51.100.1:9"), &rtp), Received::Direct);
}

#[test]
fn a_server_of_the_other_family_is_not_asked() {
    let mut traversal = Traversal::new(ms(0), at("[2001:db8::1]:4000"), &servers(), 1);
    assert!(drain(&mut traversal).is_empty());
    let outcome = traversal.poll_outcome().unwrap();
    assert_eq!(outcome, Outcome { public: None, stun: Answer::Unasked, turn: Answer::Unasked });
}

/// A traversal that has its addresses.
fn mapped() -> Traversal {
    let mut traversal = asked(ms(0));
    for request in drain(&mut traversal) {
        traversal.handle(ms(0), request.component, at(SERVER), &response(&request, false));
    }
    traversal.poll_outcome().unwrap();
    traversal
}

/// Lets a keep-alive interval pass.
fn idle(traversal: &mut Traversal) -> Vec<Transmit> {
    let due = traversal.poll_timeout().unwrap();
    traversal.handle_timeout(due);
    drain(traversal)
}

#[test]
fn mappings_are_kept_alive_where_nothing_is_sent() {
    let mut traversal = mapped();
    assert!(idle(&mut traversal).is_empty(), "the requests themselves were sent in that interval");
    // Nobody knows the peer yet: both mappings, by indications to the server (RFC 8489).
    let sent = idle(&mut traversal);
    assert_eq!(sent.len(), 2);
    for transmit in &sent {
        let message = Message::from_bytes(&transmit.bytes).unwrap();
        assert_eq!((transmit.to, message.class(), message.method()), (at(SERVER), MessageClass::Indication, BINDING));
    }
    assert_ne!(sent[0].bytes, sent[1].bytes, "each has a transaction of its own");

    // A call on hold: RFC 6263 §4.1.
    let peer = at("198.51.100.1:7000");
    traversal.set_peer(ms(40_000), Some(peer), Some(at("198.51.100.1:7001")));
    let sent = idle(&mut traversal);
    assert_eq!(sent, [Transmit { component: Component::Rtp, to: peer, bytes: Vec::new() }]);

    // Media is flowing.
    traversal.sent(Component::Rtp);
    assert!(idle(&mut traversal).is_empty());
    assert_eq!(idle(&mut traversal).len(), 1, "and has stopped");
    assert!(KEEP_ALIVE < Duration::from_secs(30), "many translators forget after that");
}

#[test]
fn what_is_closed_says_nothing_more() {
    let mut traversal = mapped();
    traversal.close(ms(100));
    assert!(traversal.is_closed(), "there is nothing to give back");
    assert_eq!(traversal.poll_timeout(), None);
}
