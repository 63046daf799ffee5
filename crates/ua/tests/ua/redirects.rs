//! Calls that are sent to another place: RFC 3261 §8.1.3.4, and addresses that fail (RFC 3263 §4.3).

use std::time::Duration;

use ringback_sip::{NameAddr, Uri};
use ringback_ua::{Body, CallKey, Event, FailCause, Invite};

use crate::common::{SDP, Solo, header, response};

const BOB: &str = "sip:bob@192.0.2.2:5070";
const SECOND: Duration = Duration::from_secs(1);

fn calling(redirects: u8) -> (Solo, CallKey, String) {
    calling_to(BOB, redirects)
}

fn calling_to(uri: &str, redirects: u8) -> (Solo, CallKey, String) {
    let mut solo = Solo::new();
    let invite = Invite {
        from: NameAddr::parse("<sip:alice@192.0.2.1>").unwrap(),
        to: NameAddr::parse(&format!("<{uri}>")).unwrap(),
        request_uri: Uri::parse(uri).unwrap(),
        call_id: "ours@192.0.2.1".into(),
        headers: vec![("X-Note".into(), "kept".into())],
        body: Some(Body::sdp(SDP)),
        max_forwards: 70,
        contact: None,
        flow: None,
        credentials: None,
        redirects,
    };
    let call = solo.call(|ua, now| ua.invite(now, invite).unwrap());
    let text = solo.only_text();
    (solo, call, text)
}

/// The next INVITE, and where it went.
fn next(solo: &mut Solo) -> (String, String) {
    let sent = solo.sent.drain(..).map(|(_, sent)| (sent.remote.to_string(), sent.bytes));
    let mut texts = sent.map(|(to, bytes)| (to, String::from_utf8(bytes.to_vec()).unwrap()));
    texts.find(|(_, text)| text.starts_with("INVITE ")).unwrap_or_else(|| panic!("no INVITE"))
}

#[test]
fn contacts_are_tried_by_their_q_and_none_twice() {
    let (mut solo, call, first) = calling(5);
    let contacts =
        "Contact: <sip:low@192.0.2.7>;q=0.1, <sip:high@192.0.2.8:5080>;q=0.9, <mailto:bob@x>, <sip:bob@192.0.2.2:5070>";
    solo.receive(&response(&first, "302 Moved Temporarily", "a", &[contacts], ""));
    let (to, high) = next(&mut solo);
    assert!(to == "192.0.2.8:5080" && high.starts_with("INVITE sip:high@192.0.2.8:5080 SIP/2.0\r\n"), "{to} {high}");
    assert_eq!((header(&high, "CSeq"), header(&high, "X-Note")), ("2 INVITE", "kept"));
    for name in ["From", "To", "Call-ID"] {
        assert_eq!(header(&high, name), header(&first, name));
    }
    assert!(high.ends_with(SDP));
    // That place sends us back to where we were, and on to another.
    let loops = "Contact: <sip:bob@192.0.2.2:5070>, <sip:third@192.0.2.9>";
    solo.receive(&response(&high, "301 Moved Permanently", "b", &[loops], ""));
    let (to, third) = next(&mut solo);
    assert_eq!((to.as_str(), header(&third, "CSeq")), ("192.0.2.9:5060", "3 INVITE"));
    // A failure there: what is left of the first list.
    solo.receive(&response(&third, "480 Temporarily Unavailable", "c", &[], ""));
    let (to, low) = next(&mut solo);
    assert_eq!(to, "192.0.2.7:5060");
    assert!(solo.events.is_empty(), "to the program it is one call");
    solo.receive(&response(&low, "180 Ringing", "d", &["Contact: <sip:low@192.0.2.7>"], ""));
    assert!(matches!(solo.event(), Event::Provisional { .. }));
    solo.receive(&response(&low, "486 Busy Here", "d", &[], ""));
    match solo.event() {
        Event::Rejected { call: of, response } => {
            assert_eq!((of, response.status().map(|status| status.as_u16())), (call, Some(486)));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

#[test]
fn there_is_a_bound_and_without_it_a_redirection_is_a_refusal() {
    let (mut solo, _, invite) = calling(0);
    solo.receive(&response(&invite, "302 Moved Temporarily", "a", &["Contact: <sip:x@192.0.2.9>"], ""));
    assert!(matches!(solo.event(), Event::Rejected { .. }));
    // A chain without end.
    let (mut solo, _, mut invite) = calling(3);
    for n in 0..3 {
        let contact = format!("Contact: <sip:{n}@192.0.2.9>");
        solo.receive(&response(&invite, "302 Moved Temporarily", "a", &[&contact], ""));
        invite = next(&mut solo).1;
        assert!(invite.starts_with(&format!("INVITE sip:{n}@192.0.2.9 ")));
    }
    solo.receive(&response(&invite, "302 Moved Temporarily", "a", &["Contact: <sip:more@192.0.2.9>"], ""));
    assert!(matches!(solo.event(), Event::Rejected { .. }));
    // Everywhere is nowhere: 6xx.
    let (mut solo, _, invite) = calling(3);
    solo.receive(&response(&invite, "302 Moved", "a", &["Contact: <sip:x@192.0.2.9>, <sip:y@192.0.2.9>"], ""));
    let (_, second) = next(&mut solo);
    solo.receive(&response(&second, "603 Decline", "a", &[], ""));
    assert!(matches!(solo.event(), Event::Rejected { .. }));
    solo.assert_nothing_left();
}

#[test]
fn who_was_called_securely_is_not_looked_for_by_anything_less() {
    let (mut solo, _, invite) = calling_to("sips:bob@192.0.2.2:5071", 3);
    let moved = response(&invite, "302 Moved", "a", &["Contact: <sip:x@192.0.2.8>, <sips:y@192.0.2.9>"], "");
    solo.receive_by(ringback_ua::Transport::Tls, Some(1), &moved);
    let (to, second) = next(&mut solo);
    assert!(to == "192.0.2.9:5061" && second.starts_with("INVITE sips:y@192.0.2.9 "), "{to} {second}");
}

#[test]
fn a_call_given_up_goes_nowhere_else() {
    let (mut solo, call, invite) = calling(3);
    solo.receive(&response(&invite, "180 Ringing", "a", &["Contact: <sip:x@192.0.2.9>"], ""));
    solo.call(|ua, now| ua.cancel(now, call, None));
    solo.texts();
    solo.receive(&response(&invite, "302 Moved", "a", &["Contact: <sip:x@192.0.2.9>"], ""));
    assert!(solo.lines().iter().all(|line| !line.starts_with("INVITE ")));
    solo.events.clear();
    solo.assert_nothing_left();
}

#[test]
fn a_place_that_says_nothing_is_left_for_the_next() {
    let (mut solo, _, invite) = calling(3);
    solo.receive(&response(&invite, "302 Moved", "a", &["Contact: <sip:x@192.0.2.8>, <sip:y@192.0.2.9>"], ""));
    assert_eq!(next(&mut solo).0, "192.0.2.8:5060");
    solo.wait(33 * SECOND);
    let sent: Vec<String> = solo.sent.iter().map(|(_, sent)| sent.remote.to_string()).collect();
    assert!(sent.iter().any(|to| to == "192.0.2.9:5060"), "{sent:?}");
    solo.wait(33 * SECOND);
    assert!(matches!(solo.event(), Event::Failed { cause: FailCause::Timeout, .. }));
    solo.events.clear();
    solo.assert_nothing_left();
}

#[test]
fn an_invite_goes_on_to_the_next_address_of_a_name_that_never_answers() {
    let mut solo = Solo::new();
    solo.place("sip:bob@pbx.test", Some(SDP));
    let (id, _, _) = solo.lookups.remove(0);
    let addresses = ["192.0.2.50:5060", "192.0.2.51:5060"].map(|text| text.parse().unwrap()).to_vec();
    solo.call(|ua, now| ua.handle_resolved(now, id, Ok(addresses)));
    solo.wait(33 * SECOND);
    let sent: Vec<(String, String)> = solo
        .sent
        .drain(..)
        .map(|(_, sent)| (sent.remote.to_string(), String::from_utf8(sent.bytes.to_vec()).unwrap()))
        .collect();
    let (first, last) = (&sent[0], sent.last().unwrap());
    assert_eq!((first.0.as_str(), last.0.as_str()), ("192.0.2.50:5060", "192.0.2.51:5060"));
    assert!(header(&first.1, "Via") != header(&last.1, "Via"), "a transaction of its own");
    assert!(solo.events.is_empty());
    solo.receive(&response(&last.1, "486 Busy Here", "x", &[], ""));
    assert!(matches!(solo.event(), Event::Rejected { .. }));
}

#[test]
fn a_large_ack_goes_by_tcp() {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, None);
    solo.receive(&response(&invite, "200 OK", "peer", &["Contact: <sip:bob@192.0.2.2:5070>"], SDP));
    solo.event();
    let answer = "a=".repeat(700);
    solo.call(|ua, now| ua.ack(now, call, Some(Body::sdp(answer))));
    let (_, ack) = solo.sent.remove(0);
    assert_eq!((ack.transport, ack.remote.to_string()), (ringback_ua::Transport::Tcp, "192.0.2.2:5070".into()));
    assert!(String::from_utf8_lossy(&ack.bytes).contains("Via: SIP/2.0/TCP"));
}
