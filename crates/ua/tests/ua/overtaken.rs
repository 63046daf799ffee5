//! Requests of one dialog of which a later one arrives first: RFC 3261 §12.2.2, from the side of who sent them.

use ringback_sip::Method;
use ringback_ua::{Body, CallKey, Event, RequestKey};

use crate::common::{SDP, Solo, header, response};

const BOB: &str = "sip:bob@192.0.2.2:5070";

fn info(solo: &mut Solo, call: CallKey) -> (RequestKey, String) {
    let key = solo.call(|ua, now| ua.request(now, call, Method::Info, Vec::new(), None).unwrap());
    (key, solo.only_text())
}

fn number(text: &str) -> u32 {
    header(text, "CSeq").split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn it_is_asked_again_under_the_next_number_and_the_program_hears_the_answer_alone() {
    let mut solo = Solo::new();
    let (call, _) = solo.called(BOB);
    let (key, first) = info(&mut solo, call);
    let (_, second) = info(&mut solo, call);
    solo.receive(&response(&first, "500 Out Of Order", "peer", &[], ""));
    let again = solo.only_text();
    assert!(again.starts_with("INFO ") && number(&again) == number(&second) + 1, "{again}");
    assert_ne!(header(&again, "Via"), header(&first, "Via"), "another transaction");
    assert!(solo.events.is_empty());
    solo.receive(&response(&again, "200 OK", "peer", &[], ""));
    match solo.event() {
        Event::Response { key: of, response: Ok(response), .. } => {
            assert_eq!((of, response.status().unwrap().as_u16()), (key, 200));
        }
        other => panic!("{other:?}"),
    }
    // What nothing has overtaken was refused for itself; and with Retry-After it is about what was asked.
    let (_, last) = info(&mut solo, call);
    solo.receive(&response(&last, "500 No", "peer", &[], ""));
    assert!(matches!(solo.event(), Event::Response { .. }));
    let (_, first) = info(&mut solo, call);
    info(&mut solo, call);
    solo.receive(&response(&first, "500 No", "peer", &["Retry-After: 3"], ""));
    assert!(solo.sent.is_empty() && matches!(solo.event(), Event::Response { .. }));
}

#[test]
fn a_peer_that_always_says_so_is_not_asked_for_ever() {
    let mut solo = Solo::new();
    let (call, _) = solo.called(BOB);
    let (_, mut text) = info(&mut solo, call);
    let mut asked = 1;
    while solo.events.is_empty() {
        info(&mut solo, call);
        solo.receive(&response(&text, "500 No", "peer", &[], ""));
        let Some(again) = solo.texts().pop() else { break };
        text = again;
        asked += 1;
        assert!(asked < 10);
    }
    assert_eq!(asked, 4);
    assert!(matches!(solo.event(), Event::Response { .. }));
}

#[test]
fn a_re_invite_too() {
    let mut solo = Solo::new();
    let (call, _) = solo.called(BOB);
    solo.call(|ua, now| ua.reinvite(now, call, Some(Body::sdp(SDP))).unwrap());
    let first = solo.only_text();
    let (_, second) = info(&mut solo, call);
    solo.receive(&response(&first, "500 Out Of Order", "peer", &[], ""));
    let texts = solo.texts();
    assert!(texts[0].starts_with("ACK ") && number(&texts[0]) == number(&first), "{texts:?}");
    assert!(texts[1].starts_with("INVITE ") && number(&texts[1]) == number(&second) + 1, "{texts:?}");
    solo.receive(&response(&texts[1], "200 OK", "peer", &["Contact: <sip:bob@192.0.2.2:5070>"], SDP));
    assert!(matches!(solo.event(), Event::ReinviteAnswered { .. }));
    assert!(solo.only_text().starts_with("ACK "));
}

#[test]
fn a_prack_that_an_update_has_overtaken_is_acknowledged_all_the_same() {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, Some(SDP));
    let contact = "Contact: <sip:bob@192.0.2.2:5070>";
    let headers = [contact, "Require: 100rel", "RSeq: 7", "Allow: INVITE, UPDATE"];
    solo.receive(&response(&invite, "183 Session Progress", "peer", &headers, SDP));
    let prack = solo.only_text();
    assert!(matches!(solo.event(), Event::Provisional { .. }));
    solo.call(|ua, now| ua.update(now, call, Some(Body::sdp(SDP))).unwrap());
    let update = solo.only_text();
    solo.receive(&response(&prack, "500 Out Of Order", "peer", &[], ""));
    let again = solo.only_text();
    assert!(again.starts_with("PRACK ") && number(&again) == number(&update) + 1, "{again}");
    assert_eq!(header(&again, "RAck"), header(&prack, "RAck"));
    solo.receive(&response(&again, "200 OK", "peer", &[], ""));
    assert!(solo.sent.is_empty() && solo.events.is_empty());
}
