//! STUN on SIP's own socket (RFC 5626 §4.4.2, §8): requests and answers, lost and forged ones too.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use ringback_nat::{Asked, Probe, answer, is_stun, transaction};
use ringback_time::Mono;
use stun_types::attribute::{ErrorCode, Software, UnknownAttributes, Username};
use stun_types::message::{BINDING, Message, MessageClass, MessageType, MessageWriteVec, Method, TransactionId};
use stun_types::prelude::{MessageWrite as _, MessageWriteExt as _};

const EDGE: &str = "192.0.2.9:5060";
const MAPPED: [&str; 2] = ["203.0.113.5:50001", "[2001:db8::7]:50001"];

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ms(ms: u64) -> Mono {
    Mono::from_nanos(ms * 1_000_000)
}

fn asked(id: u128) -> (Probe, Vec<u8>) {
    let mut first = Vec::new();
    let probe = Probe::new(ms(0), at("10.0.0.1:5060"), at(EDGE), id, |bytes| first = bytes);
    (probe, first)
}

#[test]
fn a_request_is_answered_with_where_it_came_from() {
    for mapped in MAPPED {
        let (mut probe, request) = asked(77);
        assert!(is_stun(&request));
        assert_eq!((transaction(&request), request.len()), (Some(77), 20));
        let response = answer(&request, at(mapped)).unwrap();
        assert!(is_stun(&response) && response.len() < 3 * request.len(), "{}", response.len());
        assert_eq!(probe.outcome(), None);
        // Somebody else knows the transaction, or it is another one.
        probe.handle(ms(10), at("192.0.2.66:5060"), &response);
        probe.handle(ms(10), at(EDGE), &answer(&asked(78).1, at(mapped)).unwrap());
        assert_eq!(probe.outcome(), None);
        probe.handle(ms(20), at(EDGE), &response);
        assert_eq!(probe.outcome(), Some(Asked::Mapped(at(mapped))));
        assert_eq!(probe.poll_timeout(), None);
    }
}

#[test]
fn it_is_repeated_seven_times_and_then_given_up() {
    let (mut probe, _) = asked(77);
    let mut sent = vec![0];
    let mut now = ms(0);
    while let Some(next) = probe.poll_timeout() {
        assert!(next > now, "no progress");
        now = next;
        probe.handle_timeout(now, |_| sent.push(now.as_nanos() / 1_000_000));
    }
    assert_eq!(sent, [0, 500, 1500, 3500, 7500, 11500, 15500]);
    assert_eq!((probe.outcome(), now), (Some(Asked::Silent), ms(19_500)));
}

#[test]
fn an_answer_to_the_last_request_counts() {
    let (mut probe, request) = asked(77);
    for time in [500, 1500, 3500, 7500, 11500, 15500] {
        probe.handle_timeout(ms(time), |_| {});
    }
    probe.handle(ms(19_000), at(EDGE), &answer(&request, at(MAPPED[0])).unwrap());
    assert_eq!(probe.outcome(), Some(Asked::Mapped(at(MAPPED[0]))));
}

#[test]
fn what_is_not_understood_is_refused_and_no_louder() {
    let mut request = Message::builder_request(BINDING, MessageWriteVec::new());
    request.add_attribute(&Username::new("a:b").unwrap()).unwrap();
    let request = request.finish();
    let refusal = answer(&request, at(MAPPED[0])).unwrap();
    assert!(refusal.len() < 3 * request.len(), "{} {}", refusal.len(), request.len());
    let refusal = Message::from_bytes(&refusal).unwrap();
    assert_eq!((refusal.class(), refusal.attribute::<ErrorCode>().unwrap().code()), (MessageClass::Error, 420));
    assert!(refusal.attribute::<UnknownAttributes>().is_ok());
    // Optional ones are passed over.
    let mut request = Message::builder_request(BINDING, MessageWriteVec::new());
    request.add_attribute(&Software::new("phone").unwrap()).unwrap();
    let response = answer(&request.finish(), at(MAPPED[0])).unwrap();
    assert_eq!(Message::from_bytes(&response).unwrap().class(), MessageClass::Success);
    // Whoever is refused is not gone.
    let (mut probe, request) = asked(5);
    let request = Message::from_bytes(&request).unwrap();
    probe.handle(ms(1), at(EDGE), &Message::unknown_attributes(&request, &[], MessageWriteVec::new()).finish());
    assert!(matches!(probe.outcome(), Some(Asked::Refused(_))), "{:?}", probe.outcome());
}

#[test]
fn nothing_else_is_answered() {
    let (_, request) = asked(77);
    let answers = |bytes: &[u8]| answer(bytes, at(MAPPED[0])).is_some();
    assert!(answers(&request));
    for class in [MessageClass::Indication, MessageClass::Success, MessageClass::Error] {
        let kind = MessageType::from_class_method(class, BINDING);
        let message = Message::builder(kind, TransactionId::from(1_u128), MessageWriteVec::new()).finish();
        assert!(is_stun(&message) && !answers(&message), "{class:?}");
    }
    // TURN's Allocate.
    let allocate = MessageType::from_class_method(MessageClass::Request, Method::new(3));
    assert!(!answers(&Message::builder(allocate, TransactionId::from(1_u128), MessageWriteVec::new()).finish()));
    for length in 0..request.len() {
        assert!(!answers(&request[..length]));
    }
    assert!(!is_stun(b"OPTIONS sip:a SIP/2.0\r\n") && !is_stun(b"\r\n\r\n") && !is_stun(&[0; 20]) && !is_stun(&[]));
    assert!(!is_stun(&request[..7]));
    for place in 0..request.len() {
        for bit in 0..8 {
            let mut bytes = request.clone();
            bytes[place] ^= 1 << bit;
            let answered = answer(&bytes, at(MAPPED[0]));
            assert!(answered.is_none_or(|answered| answered.len() < 3 * bytes.len()));
        }
    }
}
