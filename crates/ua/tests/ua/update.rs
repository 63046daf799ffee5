//! UPDATE from both sides: RFC 3311.

use std::time::Duration;

use ringback_sip::StatusCode;
use ringback_ua::fuzz::pair::{Conditions, Pair};
use ringback_ua::{Body, CallKey, Event, Live, Reply};

use crate::common::{SDP, Solo, has_header, header, incoming, invite, request, response, to_tag};

const BOB: &str = "sip:bob@192.0.2.2:5070";
const SECOND: Duration = Duration::from_secs(1);
const TAKES_IT: &[&str] = &["Contact: <sip:bob@192.0.2.2:5070>", "Allow: INVITE, UPDATE"];

fn answer(solo: &mut Solo, sdp: &'static str) -> String {
    let Event::Offer { key, .. } = solo.event() else { panic!("no offer") };
    solo.call(|ua, now| ua.answer_request(now, key, Reply::with_body(StatusCode::OK, Body::sdp(sdp))));
    solo.only_text()
}

/// A call of ours to a peer that takes UPDATE, answered.
fn called() -> (Solo, CallKey, String) {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, Some(SDP));
    solo.receive(&response(&invite, "200 OK", "peer", TAKES_IT, SDP));
    assert!(matches!(solo.event(), Event::Answered { .. }));
    solo.call(|ua, now| ua.ack(now, call, None));
    solo.texts();
    (solo, call, invite)
}

#[test]
fn without_an_offer_it_moves_the_target() {
    let mut solo = Solo::new();
    let (call, tag) = solo.established();
    let update = request("UPDATE", 2, &tag, &["Contact: <sip:moved@192.0.2.9:5090>"], "");
    solo.receive(&update);
    let text = solo.only_text();
    assert!(text.starts_with("SIP/2.0 200 ") && header(&text, "Contact") == "<sip:ringback@192.0.2.1:5060>");
    solo.receive(&update);
    assert_eq!(solo.only_text(), text, "retransmitted");
    assert!(solo.events.is_empty());
    solo.call(|ua, now| ua.bye(now, call, None));
    assert!(solo.only_text().starts_with("BYE sip:moved@192.0.2.9:5090 "));
}

#[test]
fn with_an_offer_the_program_answers() {
    let mut solo = Solo::new();
    let (call, tag) = solo.established();
    let update = request("UPDATE", 2, &tag, &["Contact: <sip:peer@192.0.2.2:5070>"], SDP);
    solo.receive(&update);
    // §5.2: another before its answer.
    solo.receive(&request("UPDATE", 3, &tag, &[], SDP));
    let busy = solo.only_text();
    assert!(busy.starts_with("SIP/2.0 500 ") && header(&busy, "Retry-After").parse::<u32>().unwrap() <= 10);
    solo.receive(&request("INVITE", 4, &tag, &[], SDP));
    assert!(solo.only_text().starts_with("SIP/2.0 500 "));
    let text = answer(&mut solo, "v=0\r\ns=answer\r\n");
    assert!(text.starts_with("SIP/2.0 200 ") && text.ends_with("s=answer\r\n") && has_header(&text, "Contact"));
    solo.receive(&update);
    assert_eq!(solo.only_text(), text, "retransmitted");
    // Refused: nothing changes.
    solo.receive(&request("UPDATE", 5, &tag, &["Contact: <sip:moved@192.0.2.9>"], SDP));
    let Event::Offer { key, .. } = solo.event() else { panic!("no offer") };
    solo.call(|ua, now| ua.answer_request(now, key, Reply::new(StatusCode::NOT_ACCEPTABLE_HERE)));
    assert!(solo.only_text().starts_with("SIP/2.0 488 "));
    // At the end the one that waits is answered.
    solo.receive(&request("UPDATE", 6, &tag, &[], SDP));
    solo.event();
    solo.call(|ua, now| ua.bye(now, call, None));
    let lines = solo.lines();
    assert!(lines[0].starts_with("SIP/2.0 487 ") && lines[1].starts_with("BYE sip:peer@"), "{lines:?}");
    solo.assert_nothing_left();
}

#[test]
fn before_the_answer_it_waits_for_the_first_offer_to_be_answered() {
    let mut solo = Solo::new();
    solo.receive(&request("INVITE", 1, "", &["Supported: 100rel", "Allow: UPDATE"], SDP));
    let Event::Invite { call, .. } = solo.event() else { panic!("no call") };
    solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::RINGING)).unwrap());
    let tag = to_tag(&solo.only_text());
    // §5.2: we owe an answer.
    solo.receive(&request("UPDATE", 2, &tag, &[], SDP));
    assert!(solo.only_text().starts_with("SIP/2.0 500 "));
    assert!(!solo.ua.can_update(call));
    let early = Reply::with_body(StatusCode::SESSION_PROGRESS, Body::sdp(SDP));
    solo.call(|ua, now| ua.respond(now, call, early).unwrap());
    let text = solo.only_text();
    // RFC 3311 §5.1: our answer may not have arrived yet.
    assert!(!solo.ua.can_update(call));
    assert!(solo.call(|ua, now| ua.update(now, call, Some(Body::sdp(SDP)))).is_err());
    solo.receive(&request("PRACK", 3, &tag, &[&format!("RAck: {} 1 INVITE", header(&text, "RSeq"))], ""));
    solo.only_text();
    assert!(solo.ua.can_update(call));
    solo.receive(&request("UPDATE", 4, &tag, &[], SDP));
    assert!(answer(&mut solo, SDP).starts_with("SIP/2.0 200 "));
    // And ours to the caller.
    solo.call(|ua, now| ua.update(now, call, Some(Body::sdp(SDP))).unwrap());
    let ours = solo.only_text();
    assert!(ours.starts_with("UPDATE sip:peer@192.0.2.2:5070 ") && has_header(&ours, "Contact"));
    // Glare.
    solo.receive(&request("UPDATE", 5, &tag, &[], SDP));
    assert!(solo.only_text().starts_with("SIP/2.0 491 "));
    solo.receive(&response(&ours, "200 OK", "", &["Contact: <sip:peer@192.0.2.2:5070>"], SDP));
    assert!(matches!(solo.event(), Event::ReinviteAnswered { .. }));
}

#[test]
fn a_caller_updates_the_early_dialog_that_has_answered_and_is_updated() {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, Some(SDP));
    let early = |tag: &str, headers: &[&str], body: &str| {
        response(&invite, "183 Session Progress", tag, &[TAKES_IT, headers].concat(), body)
    };
    solo.receive(&early("one", &[], SDP));
    assert!(!solo.ua.can_update(call), "an answer that need not arrive counts for nothing");
    solo.receive(&request("UPDATE", 7, "x", &[], SDP));
    solo.texts();
    solo.receive(&early("two", &["Require: 100rel", "RSeq: 1"], SDP));
    let prack = solo.only_text();
    solo.receive(&response(&prack, "200 OK", "", &[], ""));
    assert!(solo.ua.can_update(call));
    solo.call(|ua, now| ua.update(now, call, Some(Body::sdp(SDP))).unwrap());
    let update = solo.only_text();
    assert_eq!((to_tag(&update).as_str(), header(&update, "CSeq")), ("two", "3 UPDATE"));
    solo.events.clear();
    solo.receive(&response(&update, "200 OK", "", TAKES_IT, SDP));
    assert!(matches!(solo.event(), Event::ReinviteAnswered { .. }));
    // The peer's.
    let own = header(&invite, "From").rsplit_once(";tag=").unwrap().1.to_owned();
    let theirs = request("UPDATE", 1, &own, &[], SDP)
        .replace("tag=peer", "tag=two")
        .replace("Call-ID: theirs@192.0.2.2", "Call-ID: ours@192.0.2.1");
    solo.receive(&theirs);
    assert!(answer(&mut solo, SDP).starts_with("SIP/2.0 200 "));
    solo.receive(&response(&invite, "200 OK", "two", TAKES_IT, ""));
    assert!(matches!(solo.event(), Event::Answered { settled: true, .. }));
    solo.call(|ua, now| ua.bye(now, call, None));
    solo.assert_nothing_left();
}

#[test]
fn ours_is_tried_again_after_491_and_when_the_peer_says_so() {
    let (mut solo, call, _) = called();
    solo.call(|ua, now| ua.update(now, call, Some(Body::sdp(SDP))).unwrap());
    assert!(solo.call(|ua, now| ua.reinvite(now, call, None)).is_err(), "one at a time");
    let first = solo.only_text();
    solo.receive(&response(&first, "491 Request Pending", "", &[], ""));
    solo.wait(2 * SECOND);
    assert!(solo.sent.is_empty(), "RFC 3261 §14.1: 2.1 s at least");
    solo.wait(3 * SECOND);
    let second = solo.texts().remove(0);
    solo.receive(&response(&second, "500 Server Internal Error", "", &["Retry-After: 7 (busy)"], ""));
    solo.wait(6 * SECOND);
    assert!(solo.sent.is_empty());
    solo.wait(SECOND + SECOND / 10);
    let third = solo.texts().remove(0);
    assert_eq!(header(&third, "CSeq"), "4 UPDATE");
    solo.receive(&response(&third, "488 Not Acceptable Here", "", &[], ""));
    assert!(matches!(solo.event(), Event::ReinviteFailed { status: 488, .. }));
    // 481 ends the call.
    solo.call(|ua, now| ua.update(now, call, None).unwrap());
    let last = solo.only_text();
    solo.receive(&response(&last, "481 Call/Transaction Does Not Exist", "", &[], ""));
    assert!(matches!(solo.event(), Event::ReinviteFailed { status: 481, .. }));
    assert!(matches!(solo.event(), Event::Gone { status: 481, .. }));
    solo.assert_nothing_left();
}

#[test]
fn a_peer_that_does_not_take_it_gets_none() {
    let mut solo = Solo::new();
    let (call, _) = solo.called(BOB);
    assert!(!solo.ua.can_update(call));
    assert!(solo.call(|ua, now| ua.update(now, call, None)).is_err());
    let (mut solo, call, _) = called();
    solo.call(|ua, now| ua.update(now, call, None).unwrap());
    let update = solo.only_text();
    solo.receive(&response(&update, "405 Method Not Allowed", "", &[], ""));
    assert!(matches!(solo.event(), Event::ReinviteFailed { status: 405, .. }));
    assert!(!solo.ua.can_update(call), "it knows now");
}

#[test]
fn a_flood_of_offers_keeps_one() {
    let mut solo = Solo::new();
    let (_, tag) = solo.established();
    for cseq in 2..500 {
        solo.receive(&request("UPDATE", cseq, &tag, &[], SDP));
        answer(&mut solo, SDP);
    }
    // Of the answered ones the last is kept whole, the others are rows.
    let live = solo.ua.stats().live;
    assert_eq!((live.server_transactions, live.lingering), (0, 499));
}

#[test]
fn glare_through_a_bad_network_is_resolved() {
    for seed in 0..40 {
        let conditions =
            Conditions { loss: 250, duplication: 100, jitter: Duration::from_millis(50), ..Conditions::PERFECT };
        let mut pair = Pair::new(seed, Conditions::PERFECT);
        let caller = invite(&mut pair, 0, Some(SDP));
        let called = incoming(&mut pair, 1);
        pair.with(1, |ua, now| ua.respond(now, called, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
        pair.run(SECOND);
        pair.with(0, |ua, now| ua.ack(now, caller, None));
        pair.run(SECOND);
        pair.conditions = conditions;
        let calls = [caller, called];
        for side in [0, 1] {
            pair.take_events(side);
            let update = |ua: &mut ringback_ua::Ua, now| match seed % 2 {
                0 => ua.update(now, calls[side], Some(Body::sdp(SDP))),
                _ => ua.reinvite(now, calls[side], Some(Body::sdp(SDP))),
            };
            pair.with(side, update).unwrap();
        }
        let mut answered = [false, false];
        while answered != [true, true] {
            assert!(pair.step(pair.now.mono + 60 * SECOND), "{seed}: {answered:?}");
            for side in [0, 1] {
                for event in pair.take_events(side) {
                    match event {
                        Event::Offer { key, .. } => {
                            let reply = Reply::with_body(StatusCode::OK, Body::sdp(SDP));
                            pair.with(side, |ua, now| ua.answer_request(now, key, reply));
                        }
                        Event::Reinvite { call, .. } => {
                            let reply = Reply::with_body(StatusCode::OK, Body::sdp(SDP));
                            pair.with(side, |ua, now| ua.answer_reinvite(now, call, reply));
                        }
                        Event::ReinviteAnswered { .. } => answered[side] = true,
                        Event::ReinviteAcked { .. } => {}
                        other => panic!("{seed}: {other:?}"),
                    }
                }
            }
        }
        pair.run(40 * SECOND);
        pair.with(0, |ua, now| ua.bye(now, caller, None));
        pair.settle();
        assert_eq!((pair.ends[0].ua.stats().live, pair.ends[1].ua.stats().live), (Live::default(), Live::default()));
    }
}
