//! Provisional responses that arrive: RFC 3262, from both sides.

use std::time::Duration;

use ringback_sip::StatusCode;
use ringback_ua::fuzz::pair::{Conditions, Pair};
use ringback_ua::{Body, CallKey, Event, Reply};

use crate::common::{SDP, Solo, has_header, header, invite, request, response, to_tag};

const BOB: &str = "sip:bob@192.0.2.2:5070";
const SECOND: Duration = Duration::from_secs(1);

fn progress(solo: &mut Solo, call: CallKey, body: bool) {
    let status = StatusCode::SESSION_PROGRESS;
    let reply = if body { Reply::with_body(status, Body::sdp(SDP)) } else { Reply::new(StatusCode::RINGING) };
    solo.call(|ua, now| ua.respond(now, call, reply).unwrap());
}

fn accept(solo: &mut Solo, call: CallKey) {
    solo.call(|ua, now| ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
}

/// An INVITE of the peer that says `option`.
fn asked(option: &str, body: &str) -> (Solo, CallKey) {
    let mut solo = Solo::new();
    solo.receive(&request("INVITE", 1, "", &[option], body));
    match solo.event() {
        Event::Invite { call, .. } => (solo, call),
        other => panic!("{other:?}"),
    }
}

fn prack(cseq: u32, of: &str, body: &str) -> String {
    let rack = format!("RAck: {} 1 INVITE", header(of, "RSeq"));
    request("PRACK", cseq, &to_tag(of), &[&rack], body)
}

#[test]
fn what_must_arrive_is_said_again_until_its_prack() {
    let (mut solo, call) = asked("Supported: timer, 100REL", SDP);
    progress(&mut solo, call, true);
    solo.wait(8 * SECOND);
    let times: Vec<f64> = solo.sent.iter().map(|(at, _)| at.as_secs_f64()).collect();
    assert_eq!(times, [0.0, 0.5, 1.5, 3.5, 7.5], "T1, doubled each time");
    let early = solo.texts().remove(0);
    assert_eq!(header(&early, "Require"), "100rel");
    solo.receive(&prack(2, &early, ""));
    assert!(solo.only_text().starts_with("SIP/2.0 200 "));
    solo.receive(&prack(2, &early, ""));
    assert!(solo.only_text().starts_with("SIP/2.0 200 "), "retransmitted");
    solo.receive(&prack(3, &early, ""));
    assert!(solo.only_text().starts_with("SIP/2.0 481 "), "once");
    solo.wait(60 * SECOND);
    assert!(solo.sent.is_empty() && solo.events.is_empty());
    accept(&mut solo, call);
    assert!(!has_header(&solo.only_text(), "RSeq"));
}

#[test]
fn one_at_a_time_in_order_and_the_answer_does_not_overtake_a_description() {
    let (mut solo, call) = asked("Require: 100rel", SDP);
    progress(&mut solo, call, false);
    let ringing = solo.only_text();
    assert_eq!(header(&ringing, "Require"), "100rel", "each of them, where it is required");
    progress(&mut solo, call, true);
    assert!(solo.sent.is_empty(), "it waits");
    solo.receive(&prack(2, &ringing, ""));
    let texts = solo.texts();
    accept(&mut solo, call);
    assert!(solo.sent.is_empty(), "it waits");
    assert!(solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::BUSY_HERE))).is_err(), "it is answered");
    assert!(texts[0].starts_with("SIP/2.0 200 ") && texts[1].starts_with("SIP/2.0 183 "), "{texts:?}");
    let number = |text: &str| header(text, "RSeq").parse::<u32>().unwrap();
    assert_eq!(number(&texts[1]), number(&ringing) + 1);
    solo.wait(SECOND);
    solo.texts();
    // A number that is not under way, another method, nonsense.
    for (n, (rack, status)) in (3..).zip([("7 1 INVITE", "481"), ("1 1 BYE", "481"), ("1 INVITE", "400"), ("x", "400")])
    {
        solo.receive(&request("PRACK", n, &to_tag(&ringing), &[&format!("RAck: {rack}")], ""));
        assert!(solo.only_text().starts_with(&format!("SIP/2.0 {status} ")), "{rack}");
    }
    solo.receive(&prack(30, &texts[1], ""));
    let texts = solo.texts();
    assert!(texts[0].starts_with("SIP/2.0 200 ") && header(&texts[0], "CSeq") == "30 PRACK");
    assert!(texts[1].starts_with("SIP/2.0 200 ") && header(&texts[1], "CSeq") == "1 INVITE");
    solo.receive(&request("ACK", 1, &to_tag(&ringing), &[], ""));
    assert!(matches!(solo.event(), Event::Acked { .. }));
    solo.call(|ua, now| ua.drop_call(now, call));
    solo.assert_nothing_left();
}

#[test]
fn without_a_prack_the_call_is_refused() {
    let (mut solo, call) = asked("Supported: 100rel", SDP);
    progress(&mut solo, call, true);
    accept(&mut solo, call);
    solo.wait(33 * SECOND);
    assert!(solo.lines().iter().any(|line| line == "SIP/2.0 504 Server Time-out"));
    assert!(matches!(solo.event(), Event::Gone { status: 504, .. }));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

#[test]
fn an_end_meanwhile_stops_it() {
    // The caller cancels, we refuse, the caller hangs up.
    for way in 0..3 {
        let (mut solo, call) = asked("Supported: 100rel", SDP);
        progress(&mut solo, call, true);
        let early = solo.only_text();
        match way {
            0 => solo.receive(&request("CANCEL", 1, "", &[], "")),
            1 => solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::BUSY_HERE)).unwrap()),
            _ => solo.receive(&request("BYE", 2, &to_tag(&early), &[], "")),
        }
        solo.texts();
        solo.wait(40 * SECOND);
        assert!(solo.lines().iter().all(|line| !line.contains("183")), "{way}");
        solo.assert_nothing_left();
    }
}

#[test]
fn nothing_is_reliable_for_a_caller_who_does_not_know_it() {
    let (mut solo, call) = asked("Supported: timer", SDP);
    progress(&mut solo, call, true);
    let early = solo.only_text();
    assert!(!has_header(&early, "RSeq") && !has_header(&early, "Require"));
    solo.wait(40 * SECOND);
    assert!(solo.sent.is_empty());
    // Where it can be had, a response that says little goes as ever.
    let (mut solo, call) = asked("Supported: 100rel", SDP);
    progress(&mut solo, call, false);
    assert!(!has_header(&solo.only_text(), "RSeq"));
}

#[test]
fn a_late_offer_is_made_in_the_response_and_answered_in_the_prack() {
    let (mut solo, call) = asked("Supported: 100rel", "");
    progress(&mut solo, call, true);
    let early = solo.only_text();
    solo.receive(&prack(2, &early, "v=0\r\ns=answer\r\n"));
    assert!(solo.only_text().starts_with("SIP/2.0 200 "));
    match solo.event() {
        Event::Pracked { body: Some(body), .. } => assert_eq!(&body.bytes[..], b"v=0\r\ns=answer\r\n"),
        other => panic!("{other:?}"),
    }
    solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::OK)).unwrap());
    solo.only_text();
    // The ACK has nothing to bring: a re-INVITE may follow.
    solo.receive(&request("ACK", 1, &to_tag(&early), &[], ""));
    assert!(matches!(solo.event(), Event::Acked { body: None, .. }));
}

#[test]
fn a_further_offer_in_a_prack_is_answered_in_its_2xx() {
    let (mut solo, call) = asked("Supported: 100rel", SDP);
    progress(&mut solo, call, true);
    let early = solo.only_text();
    solo.receive(&prack(2, &early, SDP));
    let Event::Offer { key, .. } = solo.event() else { panic!("no offer") };
    solo.call(|ua, now| ua.answer_request(now, key, Reply::with_body(StatusCode::OK, Body::sdp("v=0\r\ns=2\r\n"))));
    let answer = solo.only_text();
    assert!(answer.ends_with("v=0\r\ns=2\r\n") && header(&answer, "CSeq") == "2 PRACK");
    solo.receive(&prack(2, &early, SDP));
    assert_eq!(solo.only_text(), answer, "retransmitted");
    solo.call(|ua, now| ua.drop_call(now, call));
    solo.assert_nothing_left();
}

// ---- as caller

fn early(invite: &str, status: &str, tag: &str, rseq: u32, body: &str) -> String {
    let rseq = format!("RSeq: {rseq}");
    response(invite, status, tag, &["Contact: <sip:bob@192.0.2.2:5070>", "Require: 100rel", &rseq], body)
}

#[test]
fn each_response_is_acknowledged_once_and_in_order() {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, Some(SDP));
    assert!(header(&invite, "Supported").contains("100rel"));
    solo.receive(&early(&invite, "180 Ringing", "one", 71, ""));
    let first = solo.only_text();
    assert!(first.starts_with("PRACK sip:bob@192.0.2.2:5070 SIP/2.0\r\n"));
    assert_eq!((header(&first, "RAck"), header(&first, "CSeq")), ("71 1 INVITE", "2 PRACK"));
    assert_eq!(to_tag(&first), "one");
    assert!(matches!(solo.event(), Event::Provisional { offers: false, .. }));
    // Again, and one too early.
    solo.receive(&early(&invite, "180 Ringing", "one", 71, ""));
    solo.receive(&early(&invite, "183 Session Progress", "one", 73, SDP));
    assert!(solo.sent.is_empty() && solo.events.is_empty());
    solo.receive(&response(&first, "200 OK", "", &[], ""));
    solo.receive(&early(&invite, "183 Session Progress", "one", 72, SDP));
    let second = solo.only_text();
    assert_eq!((header(&second, "RAck"), header(&second, "CSeq")), ("72 1 INVITE", "3 PRACK"));
    assert!(matches!(solo.event(), Event::Provisional { .. }));
    solo.receive(&response(&second, "200 OK", "", &[], ""));
    // A fork counts for itself.
    solo.receive(&early(&invite, "180 Ringing", "two", 5, ""));
    let fork = solo.only_text();
    assert_eq!(
        (header(&fork, "RAck"), header(&fork, "CSeq"), to_tag(&fork).as_str()),
        ("5 1 INVITE", "2 PRACK", "two")
    );
    solo.receive(&response(&fork, "200 OK", "", &[], ""));
    solo.event();
    // The numbers go on in the dialog that is answered; what was said of media there counts.
    solo.receive(&response(&invite, "200 OK", "one", &["Contact: <sip:bob@192.0.2.2:5070>"], ""));
    assert!(matches!(solo.event(), Event::Answered { settled: true, .. }));
    solo.call(|ua, now| ua.ack(now, call, None));
    assert_eq!(header(&solo.only_text(), "CSeq"), "1 ACK");
    solo.call(|ua, now| ua.bye(now, call, None));
    assert_eq!(header(&solo.only_text(), "CSeq"), "4 BYE");
    solo.assert_nothing_left();
}

#[test]
fn a_late_offer_that_comes_early_is_answered_by_prack() {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, None);
    solo.receive(&early(&invite, "183 Session Progress", "one", 9, SDP));
    assert!(solo.sent.is_empty(), "the program has to say the answer");
    assert!(matches!(solo.event(), Event::Provisional { offers: true, .. }));
    solo.call(|ua, now| ua.prack(now, call, Some(Body::sdp("v=0\r\ns=mine\r\n"))));
    let prack = solo.only_text();
    assert!(header(&prack, "RAck") == "9 1 INVITE" && prack.ends_with("s=mine\r\n"));
    solo.call(|ua, now| ua.prack(now, call, None));
    assert!(solo.sent.is_empty(), "once");
    solo.receive(&response(&prack, "200 OK", "", &[], ""));
    solo.receive(&response(&invite, "200 OK", "one", &["Contact: <sip:bob@192.0.2.2:5070>"], ""));
    assert!(matches!(solo.event(), Event::Answered { settled: true, .. }));
}

#[test]
fn a_refusal_for_an_extension_is_a_refusal() {
    for status in ["420 Bad Extension", "421 Extension Required"] {
        let mut solo = Solo::new();
        let (_, invite) = solo.calling(BOB, Some(SDP));
        solo.receive(&response(&invite, status, "one", &["Unsupported: 100rel", "Require: foo"], ""));
        assert!(solo.only_text().starts_with("ACK "));
        assert!(matches!(solo.event(), Event::Rejected { .. }));
    }
}

#[test]
fn through_a_bad_network_each_response_arrives_in_order() {
    for seed in 0..40 {
        let conditions =
            Conditions { loss: 300, duplication: 100, jitter: Duration::from_millis(80), ..Conditions::PERFECT };
        let mut pair = Pair::new(seed, conditions);
        let caller = invite(&mut pair, 0, Some(SDP));
        until_called(&mut pair);
        let called = pair.take_events(1);
        let Some(Event::Invite { call, .. }) = called.first() else { panic!("{called:?}") };
        let call = *call;
        for _ in 0..2 {
            let reply = Reply::with_body(StatusCode::SESSION_PROGRESS, Body::sdp(SDP));
            pair.with(1, |ua, now| ua.respond(now, call, reply).unwrap());
        }
        pair.with(1, |ua, now| ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
        let mut names = Vec::new();
        while names.last() != Some(&"answered") {
            assert!(pair.step(pair.now.mono + 60 * SECOND), "{seed}: {names:?}");
            for event in pair.take_events(0) {
                match event {
                    Event::Provisional { response, .. } if has_rseq(&response) => names.push("early"),
                    Event::Provisional { .. } => {}
                    Event::Answered { settled: true, .. } => names.push("answered"),
                    other => panic!("{seed}: {other:?}"),
                }
            }
        }
        assert_eq!(names, ["early", "early", "answered"], "{seed}");
        pair.with(0, |ua, now| ua.ack(now, caller, None));
        pair.run(40 * SECOND);
        pair.with(0, |ua, now| ua.bye(now, caller, None));
        pair.settle();
        assert_eq!(pair.ends[0].ua.stats().live, ringback_ua::Live::default(), "{seed}");
        assert_eq!(pair.ends[1].ua.stats().live, ringback_ua::Live::default(), "{seed}");
    }
}

fn has_rseq(response: &ringback_sip::Message) -> bool {
    response.headers().contains(&ringback_sip::HeaderName::RSeq)
}

fn until_called(pair: &mut Pair) {
    for _ in 0..60 {
        if !pair.ends[1].events.is_empty() {
            return;
        }
        pair.run(SECOND);
    }
    panic!("no call came");
}
