//! Each timer of RFC 3261 §17 and RFC 6026, and those of the user agent core, by the clock.

use std::time::Duration;

use ringback_sip::StatusCode;
use ringback_ua::{Body, Event, FailCause, Reply, Transport};

use crate::common::{SDP, Solo, refusal_ack, request, response, to_tag};

const BOB: &str = "sip:bob@192.0.2.2:5070";

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn a_doubles_until_b() {
    let mut solo = Solo::new();
    solo.place(BOB, Some(SDP));
    solo.wait(seconds(100.0));
    assert_eq!(solo.times(), [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]);
    assert!(matches!(solo.event(), Event::Failed { status: Some(408), cause: FailCause::Timeout, .. }));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

#[test]
fn b_ends_at_64_t1_and_a_provisional_response_ends_both() {
    let mut solo = Solo::new();
    solo.place(BOB, Some(SDP));
    solo.wait(seconds(31.999));
    assert!(solo.events.is_empty());
    solo.wait(seconds(0.001));
    assert_eq!(solo.events.len(), 2);

    let mut solo = Solo::new();
    let (_, invite) = solo.calling(BOB, Some(SDP));
    solo.receive(&response(&invite, "100 Trying", "", &[], ""));
    solo.wait(seconds(500.0));
    assert!(solo.sent.is_empty() && solo.events.is_empty());
    assert_eq!(solo.ua.stats().live.timers, 0);
}

#[test]
fn d_keeps_acking_a_refusal_for_32_seconds() {
    let mut solo = Solo::new();
    let (_, invite) = solo.calling(BOB, Some(SDP));
    let busy = response(&invite, "486 Busy Here", "peer", &[], "");
    solo.receive(&busy);
    let ack = solo.only_text();
    assert!(ack.starts_with("ACK sip:bob@192.0.2.2:5070 SIP/2.0"));
    assert_eq!(to_tag(&ack), "peer");
    assert!(matches!(solo.event(), Event::Rejected { .. }));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.wait(seconds(31.9));
    solo.receive(&busy);
    assert_eq!(solo.only_text(), ack);
    solo.wait(seconds(0.2));
    solo.receive(&busy);
    assert!(solo.texts().is_empty() && solo.events.is_empty());
    solo.assert_nothing_left();
}

#[test]
fn e_doubles_up_to_t2_until_f() {
    let mut solo = Solo::new();
    let (call, _) = solo.called(BOB);
    solo.call(|ua, now| ua.bye(now, call, None));
    solo.wait(seconds(100.0));
    assert_eq!(solo.times(), [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]);
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

#[test]
fn a_provisional_response_makes_e_t2() {
    let mut solo = Solo::new();
    let (call, _) = solo.called(BOB);
    solo.call(|ua, now| ua.bye(now, call, None));
    let bye = solo.only_text();
    solo.receive(&response(&bye, "100 Trying", "", &[], ""));
    solo.wait(seconds(10.0));
    assert_eq!(solo.times(), [0.5, 4.5, 8.5]);
    // K absorbs the final response for T4.
    solo.receive(&response(&bye, "200 OK", "", &[], ""));
    assert!(matches!(solo.event(), Event::Released { .. }));
    let lingering = solo.ua.stats().live.lingering;
    solo.wait(seconds(4.9));
    assert_eq!(solo.ua.stats().live.lingering, lingering);
    solo.wait(seconds(0.2));
    assert_eq!(solo.ua.stats().live.lingering, lingering - 1);
}

#[test]
fn g_doubles_up_to_t2_until_h() {
    let mut solo = Solo::new();
    let call = solo.incoming();
    solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::BUSY_HERE)).unwrap());
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.wait(seconds(100.0));
    assert_eq!(solo.times(), [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]);
    solo.assert_nothing_left();
}

#[test]
fn an_ack_ends_g_and_i_absorbs_more_of_them() {
    let mut solo = Solo::new();
    let call = solo.incoming();
    solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::BUSY_HERE)).unwrap());
    let tag = to_tag(&solo.only_text());
    solo.receive(&refusal_ack(1, &tag));
    assert_eq!((solo.ua.stats().live.server_transactions, solo.ua.stats().live.lingering), (0, 1));
    solo.wait(seconds(4.9));
    solo.receive(&refusal_ack(1, &tag));
    solo.receive(&request("INVITE", 1, "", &[], SDP));
    assert!(solo.sent.is_empty());
    assert_eq!(solo.ua.stats().dropped, 0);
    solo.wait(seconds(0.1));
    assert_eq!(solo.ua.stats().live.lingering, 0);
}

#[test]
fn a_lost_refusal_goes_out_again_for_each_invite_that_comes_again() {
    let mut solo = Solo::new();
    let call = solo.incoming();
    solo.receive(&request("INVITE", 1, "", &[], SDP));
    assert!(solo.sent.is_empty(), "nothing has been said yet");
    solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::RINGING)).unwrap());
    let ringing = solo.only_text();
    solo.receive(&request("INVITE", 1, "", &[], SDP));
    assert_eq!(solo.only_text(), ringing);
    solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::BUSY_HERE)).unwrap());
    let busy = solo.only_text();
    solo.receive(&request("INVITE", 1, "", &[], SDP));
    assert_eq!(solo.only_text(), busy);
    assert_eq!(solo.ua.stats().retransmissions_received, 3);
}

#[test]
fn trying_goes_out_after_200_ms_unless_something_was_said() {
    let mut solo = Solo::new();
    solo.incoming();
    solo.wait(seconds(0.199));
    assert!(solo.sent.is_empty());
    solo.wait(seconds(0.001));
    assert!(solo.only_text().starts_with("SIP/2.0 100 Trying"));

    let mut solo = Solo::new();
    let call = solo.incoming();
    solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::RINGING)).unwrap());
    solo.texts();
    solo.wait(seconds(10.0));
    assert!(solo.sent.is_empty());
}

#[test]
fn a_success_goes_out_again_until_its_ack_or_64_t1() {
    let mut solo = Solo::new();
    let call = solo.incoming();
    solo.call(|ua, now| ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
    solo.wait(seconds(31.9));
    assert_eq!(solo.times(), [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]);
    // RFC 6026: the INVITE is absorbed meanwhile.
    solo.receive(&request("INVITE", 1, "", &[], SDP));
    assert!(solo.sent.is_empty());
    solo.wait(seconds(0.2));
    assert!(solo.only_text().starts_with("BYE "), "§13.3.1.4");
    assert!(matches!(solo.event(), Event::Gone { status: 408, .. }));
    assert!(solo.events.is_empty());
    solo.wait(seconds(33.0));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

#[test]
fn l_keeps_the_row_of_an_answered_invite_for_64_t1() {
    let mut solo = Solo::new();
    let (call, tag) = solo.established();
    assert_eq!(solo.ua.stats().live.lingering, 1);
    // A retransmitted INVITE and ACK change nothing.
    solo.receive(&request("INVITE", 1, "", &[], SDP));
    solo.receive(&request("ACK", 1, &tag, &[], ""));
    assert!(solo.sent.is_empty() && solo.events.is_empty());
    solo.wait(seconds(31.9));
    assert_eq!(solo.ua.stats().live.lingering, 1);
    solo.wait(seconds(0.2));
    let live = solo.ua.stats().live;
    assert_eq!((live.lingering, live.timers, live.calls), (0, 0, 1), "an established call holds no timer");
    solo.call(|ua, now| ua.bye(now, call, None));
}

#[test]
fn j_answers_a_bye_again_for_64_t1_from_nothing_but_a_row() {
    let mut solo = Solo::new();
    let (_, tag) = solo.established();
    let bye = request("BYE", 2, &tag, &[], "");
    solo.receive(&bye);
    let ok = solo.only_text();
    assert_eq!(solo.ua.stats().live.server_transactions, 0);
    solo.wait(seconds(31.9));
    solo.receive(&bye);
    assert_eq!(solo.only_text(), ok);
    solo.wait(seconds(0.2));
    solo.receive(&bye);
    assert!(solo.only_text().starts_with("SIP/2.0 481 "));
}

#[test]
fn a_reliable_transport_needs_no_retransmissions_and_no_rows() {
    let mut solo = Solo::new();
    let tcp = |text: &str| text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    solo.receive_by(Transport::Tcp, Some(7), &tcp(&request("INVITE", 1, "", &[], SDP)));
    let Event::Invite { call, .. } = solo.event() else { panic!() };
    solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::BUSY_HERE)).unwrap());
    solo.wait(seconds(20.0));
    assert_eq!(solo.times(), [0.0], "G is for UDP");
    solo.receive_by(Transport::Tcp, Some(7), &tcp(&refusal_ack(1, "x")));
    assert_eq!(solo.ua.stats().live, ringback_ua::Live::default(), "I is zero");

    let mut solo = Solo::new();
    solo.place("sip:bob@192.0.2.2:5070;transport=tcp", Some(SDP));
    solo.wait(seconds(40.0));
    assert_eq!(solo.times(), [0.0], "A is for UDP");
    assert!(matches!(solo.event(), Event::Failed { status: Some(408), .. }), "B is for all");
}

#[test]
fn m_lets_forks_in_for_64_t1() {
    let mut solo = Solo::new();
    let (_, invite) = solo.called(BOB);
    let fork = |tag: &str| response(&invite, "200 OK", tag, &["Contact: <sip:fork@192.0.2.2:5070>"], SDP);
    solo.wait(seconds(31.9));
    solo.receive(&fork("late"));
    assert_eq!(solo.lines(), ["ACK sip:fork@192.0.2.2:5070 SIP/2.0", "BYE sip:fork@192.0.2.2:5070 SIP/2.0"]);
    solo.wait(seconds(40.0));
    solo.texts();
    let dropped = solo.ua.stats().dropped;
    solo.receive(&fork("later"));
    assert!(solo.sent.is_empty());
    assert_eq!(solo.ua.stats().dropped, dropped + 1);
}
