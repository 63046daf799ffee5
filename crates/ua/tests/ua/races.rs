//! What crosses on the way: CANCEL, BYE, forks, re-INVITEs.

use std::time::Duration;

use ringback_sip::StatusCode;
use ringback_ua::{Body, CancelReason, Event, FailCause, Reply};

use crate::common::{SDP, Solo, has_header, header, refusal_ack, request, response, to_tag};

const BOB: &str = "sip:bob@192.0.2.2:5070";
const CONTACT: &[&str] = &["Contact: <sip:bob@192.0.2.2:5070>"];

fn ok(solo: &mut Solo, call: ringback_ua::CallKey) -> String {
    solo.call(|ua, now| ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
    solo.only_text()
}

#[test]
fn cancel_waits_for_a_provisional_response() {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, Some(SDP));
    let reason = CancelReason("SIP;cause=200;text=\"Call completed elsewhere\"".into());
    solo.call(|ua, now| ua.cancel(now, call, Some(reason)));
    assert!(solo.sent.is_empty() && solo.events.is_empty());
    solo.receive(&response(&invite, "180 Ringing", "peer", CONTACT, ""));
    let cancel = solo.only_text();
    assert!(cancel.starts_with("CANCEL sip:bob@192.0.2.2:5070 SIP/2.0\r\n"));
    // §9.1: the INVITE's Via, From, To without tag, Call-ID and number.
    for name in ["Via", "From", "To", "Call-ID"] {
        assert_eq!(header(&cancel, name), header(&invite, name));
    }
    assert_eq!(header(&cancel, "CSeq"), "1 CANCEL");
    assert!(header(&cancel, "Reason").starts_with("SIP;cause=200"));
    assert!(solo.events.is_empty(), "nothing is told of what was cancelled");
    solo.receive(&response(&cancel, "200 OK", "peer", &[], ""));
    solo.receive(&response(&invite, "487 Request Terminated", "peer", &[], ""));
    assert!(solo.only_text().starts_with("ACK "));
    assert!(matches!(solo.event(), Event::Rejected { .. }));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

#[test]
fn a_cancelled_invite_that_nobody_answers_ends_too() {
    // Neither a provisional response: B.
    let mut solo = Solo::new();
    let (call, _) = solo.calling(BOB, Some(SDP));
    solo.call(|ua, now| ua.cancel(now, call, None));
    solo.wait(Duration::from_secs(33));
    assert!(matches!(solo.event(), Event::Failed { status: Some(487), cause: FailCause::Cancelled, .. }));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
    // Nor a final one: §9.1, 64*T1 after CANCEL.
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, Some(SDP));
    solo.receive(&response(&invite, "180 Ringing", "peer", CONTACT, ""));
    solo.event();
    solo.wait(Duration::from_secs(100));
    solo.call(|ua, now| ua.cancel(now, call, None));
    solo.wait(Duration::from_secs(33));
    assert!(matches!(solo.event(), Event::Failed { status: Some(487), cause: FailCause::Cancelled, .. }));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

#[test]
fn a_success_that_crosses_cancel_is_acked_and_byed() {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, Some(SDP));
    solo.receive(&response(&invite, "180 Ringing", "peer", CONTACT, ""));
    solo.event();
    solo.call(|ua, now| ua.cancel(now, call, None));
    solo.texts();
    solo.receive(&response(&invite, "200 OK", "peer", CONTACT, SDP));
    assert_eq!(solo.lines(), ["ACK sip:bob@192.0.2.2:5070 SIP/2.0", "BYE sip:bob@192.0.2.2:5070 SIP/2.0"]);
    assert!(matches!(solo.event(), Event::Failed { status: Some(487), cause: FailCause::Cancelled, .. }));
    solo.wait(Duration::from_secs(40));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

#[test]
fn the_peers_cancel_before_and_after_our_answer() {
    let mut solo = Solo::new();
    solo.incoming();
    solo.receive(&request("CANCEL", 1, "", &[], ""));
    let texts = solo.texts();
    assert!(texts[0].starts_with("SIP/2.0 200 OK") && header(&texts[0], "CSeq") == "1 CANCEL");
    assert!(texts[1].starts_with("SIP/2.0 487 ") && header(&texts[1], "CSeq") == "1 INVITE");
    assert_eq!(to_tag(&texts[0]), to_tag(&texts[1]), "§9.2");
    assert!(matches!(solo.event(), Event::Cancelled { .. }));
    assert!(matches!(solo.event(), Event::Released { .. }));
    // CANCEL again, then the ACK, then CANCEL again.
    solo.receive(&request("CANCEL", 1, "", &[], ""));
    assert_eq!(solo.lines(), ["SIP/2.0 200 OK"]);
    solo.receive(&refusal_ack(1, &to_tag(&texts[1])));
    solo.receive(&request("CANCEL", 1, "", &[], ""));
    assert_eq!(solo.lines(), ["SIP/2.0 200 OK"]);
    assert!(solo.events.is_empty());
    solo.assert_nothing_left();

    let mut solo = Solo::new();
    let call = solo.incoming();
    let answer = ok(&mut solo, call);
    solo.receive(&request("CANCEL", 1, "", &[], ""));
    assert_eq!(solo.lines(), ["SIP/2.0 200 OK"], "no effect");
    assert!(solo.events.is_empty());
    solo.receive(&request("ACK", 1, &to_tag(&answer), &[], ""));
    assert!(matches!(solo.event(), Event::Acked { .. }));
}

#[test]
fn forks_beside_the_first_answer_are_acked_and_byed_and_retransmissions_acked_again() {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, Some(SDP));
    for tag in ["one", "two", "three"] {
        solo.receive(&response(&invite, "180 Ringing", tag, CONTACT, ""));
        assert!(matches!(solo.event(), Event::Provisional { .. }));
    }
    assert_eq!(solo.ua.stats().live.dialogs, 3);
    let answer = |tag: &str, contact: &str| {
        response(&invite, "200 OK", tag, &[&format!("Contact: <sip:{contact}@192.0.2.2:5070>")], SDP)
    };
    solo.receive(&answer("two", "second"));
    assert!(matches!(solo.event(), Event::Answered { .. }));
    assert_eq!(solo.ua.stats().live.dialogs, 1);
    // Its retransmission before the program has said what goes into the ACK.
    solo.receive(&answer("two", "second"));
    assert!(solo.sent.is_empty() && solo.events.is_empty());
    solo.call(|ua, now| ua.ack(now, call, None));
    let ack = solo.only_text();
    assert_eq!((to_tag(&ack).as_str(), header(&ack, "CSeq")), ("two", "1 ACK"));
    solo.receive(&answer("two", "second"));
    assert_eq!(solo.only_text(), ack);
    // Another fork, and again.
    solo.receive(&answer("one", "first"));
    assert_eq!(solo.lines(), ["ACK sip:first@192.0.2.2:5070 SIP/2.0", "BYE sip:first@192.0.2.2:5070 SIP/2.0"]);
    solo.receive(&answer("one", "first"));
    assert_eq!(solo.lines(), ["ACK sip:first@192.0.2.2:5070 SIP/2.0"], "one BYE is enough");
    assert!(solo.events.is_empty(), "the program does not hear of it");
    // The call goes on.
    solo.call(|ua, now| ua.bye(now, call, None));
    let bye = solo.texts().pop().unwrap();
    assert_eq!((to_tag(&bye).as_str(), header(&bye, "CSeq")), ("two", "2 BYE"));
}

#[test]
fn a_fork_that_comes_when_the_call_is_over_is_still_sent_away() {
    let mut solo = Solo::new();
    let (call, invite) = solo.called(BOB);
    solo.call(|ua, now| ua.bye(now, call, None));
    let bye = solo.only_text();
    solo.receive(&response(&bye, "200 OK", "", &[], ""));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.receive(&response(&invite, "200 OK", "fork", CONTACT, SDP));
    assert_eq!(solo.lines().len(), 2);
    solo.assert_nothing_left();
}

#[test]
fn byes_that_cross_are_both_answered() {
    let mut solo = Solo::new();
    let (call, tag) = solo.established();
    solo.call(|ua, now| ua.bye(now, call, None));
    let bye = solo.only_text();
    solo.receive(&request("BYE", 2, &tag, &[], ""));
    assert_eq!(solo.lines(), ["SIP/2.0 200 OK"]);
    solo.receive(&response(&bye, "481 Gone", "", &[], ""));
    assert!(matches!(solo.event(), Event::Released { .. }));
    assert!(solo.events.is_empty());
    solo.assert_nothing_left();
}

#[test]
fn bye_waits_for_the_ack_to_our_answer() {
    let mut solo = Solo::new();
    let call = solo.incoming();
    let answer = ok(&mut solo, call);
    solo.call(|ua, now| ua.bye(now, call, None));
    assert!(solo.sent.is_empty(), "§15");
    solo.receive(&request("ACK", 1, &to_tag(&answer), &[], ""));
    assert!(solo.only_text().starts_with("BYE sip:peer@192.0.2.2:5070 SIP/2.0"));
    assert!(solo.events.is_empty());
    // Or until 64*T1.
    let mut solo = Solo::new();
    let call = solo.incoming();
    ok(&mut solo, call);
    solo.call(|ua, now| ua.bye(now, call, None));
    solo.wait(Duration::from_secs_f64(32.1));
    assert!(solo.lines().last().unwrap().starts_with("BYE "));
    solo.wait(Duration::from_secs(40));
    assert!(matches!(&solo.events[..], [Event::Released { .. }]));
    solo.assert_nothing_left();
}

#[test]
fn a_bye_before_our_answer_ends_the_invite_with_487() {
    let mut solo = Solo::new();
    let call = solo.incoming();
    solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::RINGING)).unwrap());
    let tag = to_tag(&solo.only_text());
    solo.receive(&request("BYE", 2, &tag, &[], ""));
    assert_eq!(solo.lines(), ["SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]);
    assert!(matches!(solo.event(), Event::Bye { .. }));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

#[test]
fn reinvites_that_meet_get_491_and_ours_is_tried_again_later() {
    let mut solo = Solo::new();
    let (call, tag) = solo.established();
    solo.call(|ua, now| ua.reinvite(now, call, Some(Body::sdp(SDP))).unwrap());
    let ours = solo.only_text();
    assert!(has_header(&ours, "Contact") && header(&ours, "CSeq") == "1 INVITE");
    solo.receive(&request("INVITE", 2, &tag, &[], SDP));
    assert_eq!(solo.lines(), ["SIP/2.0 491 Request Pending"]);
    solo.receive(&refusal_ack(2, &tag));
    let start = solo.now.mono;
    solo.receive(&response(&ours, "491 Request Pending", "", &[], ""));
    assert!(solo.only_text().starts_with("ACK "));
    assert!(solo.events.is_empty());
    // §14.1: 0 to 2 s for the side that did not make the Call-ID.
    while solo.sent.is_empty() {
        let next = solo.ua.poll_timeout().unwrap();
        solo.wait(next.since(solo.now.mono));
    }
    assert!(solo.now.mono.since(start) <= Duration::from_secs(2));
    let again = solo.only_text();
    assert_eq!(header(&again, "CSeq"), "2 INVITE");
    solo.receive(&response(&again, "200 OK", "", CONTACT, SDP));
    assert!(
        solo.only_text().starts_with("ACK sip:bob@192.0.2.2:5070"),
        "the target was refreshed, the ACK goes by itself"
    );
    assert!(matches!(solo.event(), Event::ReinviteAnswered { .. }));
}

#[test]
fn a_reinvite_that_only_meets_others_is_given_up() {
    let mut solo = Solo::new();
    let (call, _) = solo.called(BOB);
    let mut tries = 0;
    let mut waits = Vec::new();
    solo.call(|ua, now| ua.reinvite(now, call, None).unwrap());
    loop {
        let invite = solo.texts().into_iter().find(|text| text.starts_with("INVITE "));
        if let Some(invite) = invite {
            tries += 1;
            solo.receive(&response(&invite, "491 Request Pending", "", &[], ""));
            waits.push(solo.now.mono);
        }
        if !solo.events.is_empty() {
            break;
        }
        let next = solo.ua.poll_timeout().unwrap();
        solo.wait(next.since(solo.now.mono));
        assert!(tries < 50);
    }
    assert!(matches!(solo.event(), Event::ReinviteFailed { status: 491, .. }));
    assert_eq!(tries, 9);
    for pair in waits.windows(2) {
        let wait = pair[1].since(pair[0]);
        assert!(wait >= Duration::from_millis(2100) && wait <= Duration::from_secs(4), "{wait:?}");
    }
}

#[test]
fn a_reinvite_while_one_waits_for_the_program_gets_500_with_retry_after() {
    let mut solo = Solo::new();
    let (call, tag) = solo.established();
    solo.receive(&request("INVITE", 2, &tag, &[], SDP));
    assert!(matches!(solo.event(), Event::Reinvite { .. }));
    solo.receive(&request("INVITE", 3, &tag, &[], SDP));
    let text = solo.only_text();
    assert!(text.starts_with("SIP/2.0 500 "));
    assert!(header(&text, "Retry-After").parse::<u32>().unwrap() <= 10);
    solo.receive(&refusal_ack(3, &tag));
    // The first can still be answered, or cancelled.
    solo.receive(&request("CANCEL", 2, "", &[], ""));
    assert_eq!(solo.lines(), ["SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]);
    assert!(matches!(solo.event(), Event::ReinviteCancelled { .. }));
    solo.receive(&refusal_ack(2, &tag));
    solo.receive(&request("INVITE", 4, &tag, &["Contact: <sip:moved@192.0.2.2:5090>"], SDP));
    assert!(matches!(solo.event(), Event::Reinvite { .. }));
    solo.call(|ua, now| ua.answer_reinvite(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))));
    assert!(solo.only_text().starts_with("SIP/2.0 200 "));
    solo.receive(&request("ACK", 4, &tag, &[], ""));
    assert!(matches!(solo.event(), Event::ReinviteAcked { .. }));
    solo.call(|ua, now| ua.bye(now, call, None));
    assert!(solo.only_text().starts_with("BYE sip:moved@192.0.2.2:5090 SIP/2.0"), "target refresh");
}

#[test]
fn a_reinvite_that_overtakes_the_ack_stands_for_it() {
    let mut solo = Solo::new();
    let call = solo.incoming();
    let tag = to_tag(&ok(&mut solo, call));
    solo.receive(&request("INVITE", 2, &tag, &[], SDP));
    assert!(matches!(solo.event(), Event::Acked { body: None, .. }));
    assert!(matches!(solo.event(), Event::Reinvite { .. }));
    solo.receive(&request("ACK", 1, &tag, &[], ""));
    assert!(solo.events.is_empty());
    // But not when it should have brought an answer.
    let mut solo = Solo::new();
    solo.receive(&request("INVITE", 1, "", &[], ""));
    let Event::Invite { call, .. } = solo.event() else { panic!() };
    let tag = to_tag(&ok(&mut solo, call));
    solo.receive(&request("INVITE", 2, &tag, &[], SDP));
    assert_eq!(solo.lines(), ["SIP/2.0 491 Request Pending"]);
    assert!(solo.events.is_empty());
    solo.receive(&request("ACK", 1, &tag, &[], SDP));
    assert!(matches!(solo.event(), Event::Acked { body: Some(_), .. }));
}

#[test]
fn a_dialog_the_peer_does_not_know_is_over() {
    for (status, event) in [("481 Gone", 481), ("408 Timeout", 408)] {
        let mut solo = Solo::new();
        let (call, _) = solo.established();
        solo.call(|ua, now| ua.reinvite(now, call, Some(Body::sdp(SDP))).unwrap());
        let invite = solo.only_text();
        solo.receive(&response(&invite, status, "", &[], ""));
        let lines = solo.lines();
        assert!(lines[0].starts_with("ACK ") && lines[1].starts_with("BYE "));
        assert!(matches!(solo.event(), Event::ReinviteFailed { .. }));
        assert!(matches!(solo.event(), Event::Gone { status, .. } if status == event));
        solo.wait(Duration::from_secs(40));
        assert!(matches!(solo.event(), Event::Released { .. }));
        solo.assert_nothing_left();
    }
    // Any other refusal leaves the session as it was.
    let mut solo = Solo::new();
    let (call, _) = solo.established();
    solo.call(|ua, now| ua.reinvite(now, call, Some(Body::sdp(SDP))).unwrap());
    let invite = solo.only_text();
    solo.receive(&response(&invite, "488 Not Acceptable Here", "", &[], ""));
    assert!(matches!(solo.event(), Event::ReinviteFailed { status: 488, .. }));
    assert!(solo.events.is_empty());
    solo.texts();
    solo.call(|ua, now| ua.reinvite(now, call, None).unwrap());
    let invite = solo.only_text();
    solo.receive(&response(&invite, "200 OK", "", CONTACT, SDP));
    assert!(matches!(solo.event(), Event::ReinviteAnswered { .. }));
    assert!(solo.sent.is_empty(), "the answer of a late offer is the program's");
    solo.call(|ua, now| ua.ack(now, call, Some(Body::sdp("v=0 answer"))));
    assert!(solo.only_text().ends_with("v=0 answer"));
}

#[test]
fn dropping_a_call_in_any_state_leaves_nothing() {
    let mut solo = Solo::new();
    let call = solo.incoming();
    solo.call(|ua, now| ua.drop_call(now, call));
    assert!(solo.lines()[0].starts_with("SIP/2.0 480 "));
    assert!(matches!(&solo.events[..], [Event::Released { .. }]));
    solo.assert_nothing_left();
    for answered in [false, true] {
        let mut solo = Solo::new();
        let call = match answered {
            true => solo.called(BOB).0,
            false => solo.calling(BOB, None).0,
        };
        solo.call(|ua, now| ua.drop_call(now, call));
        solo.wait(Duration::from_secs(100));
        assert!(matches!(&solo.events[..], [Event::Released { .. }]));
        solo.assert_nothing_left();
    }
}
