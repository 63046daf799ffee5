//! Requests of peers outside of dialogs that the program answers.

use std::time::Duration;

use ringback_sip::{Method, StatusCode};
use ringback_ua::{Config, Event, Live, Reply, RequestKey, Transport};

use crate::common::{Solo, header};

const SECOND: Duration = Duration::from_secs(1);

fn registrar() -> Solo {
    Solo::with(Config { requests: vec![Method::Register], ..Config::default() })
}

fn register(branch: &str, more: &str) -> String {
    format!(
        "REGISTER sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5070;branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:a@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:a@192.0.2.2:5070>\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

fn asked(solo: &mut Solo) -> RequestKey {
    match solo.event() {
        Event::OutOfDialog { key, request, flow } => {
            assert_eq!((request.method(), flow.transport), (Some(&Method::Register), Transport::Udp));
            key
        }
        other => panic!("{other:?}"),
    }
}

fn listing() -> Reply {
    let contact = ("Contact".to_owned(), "<sip:a@192.0.2.2:5070>;expires=60".to_owned());
    Reply { headers: vec![contact], ..Reply::new(StatusCode::OK) }
}

#[test]
fn the_program_answers_once_and_retransmissions_get_the_same() {
    let mut solo = registrar();
    solo.receive(&register("1", ""));
    let key = asked(&mut solo);
    solo.receive(&register("1", ""));
    assert!(solo.events.is_empty() && solo.sent.is_empty(), "a retransmission before the answer is absorbed");
    solo.call(|ua, now| ua.answer_request(now, key, listing()));
    let first = solo.only_text();
    assert!(first.starts_with("SIP/2.0 200 OK\r\n"));
    assert_eq!(header(&first, "Contact"), "<sip:a@192.0.2.2:5070>;expires=60");
    assert!(header(&first, "To").contains(";tag="));
    solo.call(|ua, now| ua.answer_request(now, key, Reply::new(StatusCode::FORBIDDEN)));
    assert!(solo.sent.is_empty(), "answered once");
    solo.receive(&register("1", ""));
    assert_eq!(solo.only_text(), first);
    solo.wait(33 * SECOND);
    assert_eq!(solo.ua.stats().live, Live::default());
}

#[test]
fn other_methods_and_bad_requests_never_reach_it() {
    let mut solo = registrar();
    for (text, line) in [
        (register("2", "").replace("REGISTER", "MESSAGE"), "SIP/2.0 405 Method Not Allowed"),
        (register("3", "Require: nonsense\r\n"), "SIP/2.0 420 Bad Extension"),
        (
            register("4", "").replace("To: <sip:a@192.0.2.1>", "To: <sip:a@192.0.2.1>;tag=x"),
            "SIP/2.0 481 Call/Transaction Does Not Exist",
        ),
    ] {
        solo.receive(&text);
        let answer = solo.only_text();
        assert_eq!(answer.lines().next(), Some(line));
        if line.contains("405") {
            assert_eq!(
                header(&answer, "Allow"),
                "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, REFER, NOTIFY, REGISTER"
            );
        }
        assert!(solo.events.is_empty());
    }
    // RFC 3327 and RFC 5626: what a registration may require.
    solo.receive(&register("5", "Require: path, outbound\r\n"));
    asked(&mut solo);
}

#[test]
fn one_that_nobody_answers_is_forgotten() {
    let mut solo = registrar();
    solo.receive(&register("6", ""));
    let key = asked(&mut solo);
    solo.wait(33 * SECOND);
    assert_eq!(solo.ua.stats().live, Live::default());
    solo.call(|ua, now| ua.answer_request(now, key, listing()));
    assert!(solo.sent.is_empty());
}

#[test]
fn requests_without_answers_are_bounded() {
    let mut solo = registrar();
    for number in 0..40_000 {
        solo.receive(&register(&format!("x{number}"), ""));
    }
    assert_eq!(solo.ua.stats().live.server_transactions, 32_768);
    assert!(solo.lines().iter().all(|line| line == "SIP/2.0 503 Service Unavailable"));
    assert_eq!(solo.ua.stats().overload, 40_000 - 32_768);
}

#[test]
fn the_same_request_by_another_path_is_a_loop() {
    for (method, more) in [("MESSAGE", ""), ("SUBSCRIBE", "Contact: <sip:a@192.0.2.2:5070>\r\nEvent: dialog\r\n")] {
        let requests = vec![Method::Message, Method::Subscribe, Method::Register];
        let mut solo = Solo::with(Config { requests, ..Config::default() });
        let send = |solo: &mut Solo, branch: &str, cseq: u32| {
            solo.receive(&format!(
                "{method} sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5070;branch=z9hG4bK{branch};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:a@192.0.2.2>;tag=1\r\nTo: <sip:b@192.0.2.1>\r\nCall-ID: c\r\n\
                 CSeq: {cseq} {method}\r\n{more}Content-Length: 0\r\n\r\n"
            ));
        };
        let answer = |solo: &mut Solo| {
            let key = match solo.event() {
                Event::OutOfDialog { key, .. } | Event::Subscribe { key, .. } => key,
                other => panic!("{other:?}"),
            };
            solo.call(|ua, now| ua.answer_request(now, key, Reply::new(StatusCode::ACCEPTED)));
            assert!(solo.only_text().starts_with("SIP/2.0 202 "));
        };
        // RFC 3261 §8.2.2.2: while it waits for the answer, and as long as it is remembered.
        send(&mut solo, "one", 1);
        send(&mut solo, "two", 1);
        assert!(solo.only_text().starts_with("SIP/2.0 482 Loop Detected"), "{method}");
        answer(&mut solo);
        for branch in ["two", "three"] {
            send(&mut solo, branch, 1);
            assert!(solo.only_text().starts_with("SIP/2.0 482 "), "{method}");
        }
        // Its own retransmission, the next request, and the same much later.
        send(&mut solo, "one", 1);
        assert!(solo.only_text().starts_with("SIP/2.0 202 "), "{method}");
        send(&mut solo, "four", 2);
        answer(&mut solo);
        solo.wait(33 * SECOND);
        send(&mut solo, "two", 1);
        answer(&mut solo);
        assert!(solo.events.is_empty());
    }
    // A registrar orders by Call-ID and CSeq itself, and who tries another way must not be turned away.
    let mut solo = registrar();
    solo.receive(&register("1", ""));
    solo.receive(&register("2", ""));
    assert_eq!(solo.events.len(), 2);
}
