//! Session timers: RFC 4028, both refreshers, both roles.

use std::time::Duration;

use ringback_sip::StatusCode;
use ringback_ua::fuzz::pair::{Conditions, Pair};
use ringback_ua::{Body, CallKey, Config, Event, Live, Reply};

use crate::common::{SDP, Solo, has_header, header, incoming, invite, request, response, to_tag};

const BOB: &str = "sip:bob@192.0.2.2:5070";
const SECOND: Duration = Duration::from_secs(1);
const PLAIN: &str = "Contact: <sip:bob@192.0.2.2:5070>";
const TAKES_UPDATE: &str = "Allow: INVITE, ACK, BYE, UPDATE";

fn asks(seconds: u32) -> Config {
    Config { session_expires: Some(seconds), ..Config::default() }
}

/// A call of the peer with these headers, answered and acknowledged; our 200.
fn received(solo: &mut Solo, headers: &[&str]) -> (CallKey, String) {
    solo.receive(&request("INVITE", 1, "", headers, SDP));
    let Event::Invite { call, .. } = solo.event() else { panic!("no call") };
    solo.call(|ua, now| ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
    let ok = solo.only_text();
    solo.receive(&request("ACK", 1, &to_tag(&ok), &[], ""));
    assert!(matches!(solo.event(), Event::Acked { .. }));
    (call, ok)
}

/// A call of ours, answered with these headers.
fn placed(config: Config, headers: &[&str]) -> (Solo, CallKey, String) {
    let mut solo = Solo::with(config);
    let (call, invite) = solo.calling(BOB, Some(SDP));
    solo.receive(&response(&invite, "200 OK", "peer", &[&[PLAIN], headers].concat(), SDP));
    assert!(matches!(solo.event(), Event::Answered { .. }));
    solo.call(|ua, now| ua.ack(now, call, None));
    solo.texts();
    (solo, call, invite)
}

#[test]
fn nothing_is_asked_for_unless_it_is_wanted() {
    let (mut solo, _, invite) = placed(Config::default(), &[]);
    assert!(header(&invite, "Supported").contains("timer") && !has_header(&invite, "Session-Expires"));
    solo.wait(100_000 * SECOND);
    assert!(solo.sent.is_empty() && solo.events.is_empty());
    let mut solo = Solo::new();
    let (_, ok) = received(&mut solo, &["Supported: timer"]);
    assert!(!has_header(&ok, "Session-Expires"));
}

#[test]
fn who_refreshes_is_answered_as_the_table_says() {
    // RFC 4028 §9, table 2.
    for (headers, expires, required) in [
        (&["Supported: timer", "Session-Expires: 1800"][..], "1800;refresher=uac", true),
        (&["Supported: timer", "x: 1800;refresher=uac"], "1800;refresher=uac", true),
        (&["Supported: timer", "Session-Expires: 1800 ; refresher = UAS"], "1800;refresher=uas", false),
        (&["Session-Expires: 1800"], "1800;refresher=uas", false),
        (&["Supported: timer", "Session-Expires: 100", "Min-SE: 200"], "200;refresher=uac", true),
    ] {
        let mut solo = Solo::new();
        let (_, ok) = received(&mut solo, headers);
        assert_eq!(header(&ok, "Session-Expires"), expires, "{headers:?}");
        assert_eq!(has_header(&ok, "Require"), required, "{headers:?}");
    }
    let mut solo = Solo::with(asks(600));
    let (_, ok) = received(&mut solo, &["Supported: timer"]);
    assert_eq!(header(&ok, "Session-Expires"), "600;refresher=uac");
    let mut solo = Solo::with(asks(600));
    let (_, ok) = received(&mut solo, &[]);
    assert_eq!(header(&ok, "Session-Expires"), "600;refresher=uas", "we do it for a peer that does not");
}

#[test]
fn too_short_an_interval_is_refused() {
    let mut solo = Solo::with(Config { min_session_expires: 300, ..Config::default() });
    solo.receive(&request("INVITE", 1, "", &["Supported: timer", "Session-Expires: 299"], SDP));
    let refusal = solo.only_text();
    assert!(refusal.starts_with("SIP/2.0 422 ") && header(&refusal, "Min-SE") == "300");
    assert!(solo.events.is_empty());
    solo.assert_nothing_left();
    // Within a dialog too; and where the peer itself could not do better, no refusal.
    let mut solo = Solo::with(Config { min_session_expires: 300, ..Config::default() });
    let (_, ok) = received(&mut solo, &["Session-Expires: 100"]);
    assert_eq!(header(&ok, "Session-Expires"), "300;refresher=uas");
    let update = request("UPDATE", 2, &to_tag(&ok), &["Supported: timer", "Session-Expires: 100"], "");
    solo.receive(&update);
    assert!(solo.only_text().starts_with("SIP/2.0 422 "));
}

#[test]
fn a_peer_that_refreshes_keeps_the_call_and_one_that_stops_loses_it() {
    let mut solo = Solo::new();
    let (_, ok) = received(&mut solo, &["Supported: timer", "Session-Expires: 120;refresher=uac", TAKES_UPDATE]);
    let tag = to_tag(&ok);
    for cseq in 2..10 {
        solo.wait(60 * SECOND);
        let headers = ["Supported: timer", "Session-Expires: 120;refresher=uac", "Contact: <sip:peer@192.0.2.2:5070>"];
        solo.receive(&request("UPDATE", cseq, &tag, &headers, ""));
        let text = solo.only_text();
        assert_eq!(header(&text, "Session-Expires"), "120;refresher=uac");
        assert_eq!(header(&text, "Require"), "timer");
    }
    // §10: 32 s or a third before the end.
    solo.wait(87 * SECOND);
    assert!(solo.sent.is_empty() && solo.events.is_empty());
    solo.wait(2 * SECOND);
    let bye = solo.texts().remove(0);
    assert!(bye.starts_with("BYE ") && header(&bye, "Reason").contains("cause=408"));
    assert!(matches!(solo.event(), Event::Expired { .. }));
    solo.receive(&response(&bye, "200 OK", "", &[], ""));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

#[test]
fn a_refresh_that_no_longer_asks_ends_the_timer() {
    let mut solo = Solo::new();
    let (call, ok) = received(&mut solo, &["Supported: timer", "Session-Expires: 120;refresher=uac"]);
    solo.receive(&request("INVITE", 2, &to_tag(&ok), &[], SDP));
    solo.event();
    solo.call(|ua, now| ua.answer_reinvite(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))));
    let text = solo.only_text();
    assert!(!has_header(&text, "Session-Expires"));
    solo.receive(&request("ACK", 2, &to_tag(&ok), &[], ""));
    solo.events.clear();
    solo.wait(1000 * SECOND);
    assert!(solo.sent.is_empty() && solo.events.is_empty());
}

#[test]
fn we_refresh_by_update_at_half_of_the_interval() {
    let (mut solo, call, invite) =
        placed(asks(600), &["Session-Expires: 400;refresher=uac", "Require: timer", TAKES_UPDATE]);
    assert_eq!(header(&invite, "Session-Expires"), "600");
    let mut interval = 400;
    for next in [400, 300, 200] {
        solo.wait(Duration::from_secs(interval / 2 - 1));
        assert!(solo.sent.is_empty());
        solo.wait(SECOND);
        let update = solo.only_text();
        assert!(update.starts_with("UPDATE "));
        assert_eq!(header(&update, "Session-Expires"), format!("{interval};refresher=uac"));
        let agreed = format!("Session-Expires: {next};refresher=uac");
        solo.receive(&response(&update, "200 OK", "", &[PLAIN, &agreed], ""));
        interval = next;
    }
    assert!(solo.events.is_empty(), "nobody is bothered with it");
    // Nobody answers any more: RFC 3261 §12.2.1.2 ends the dialog.
    solo.wait(200 * SECOND);
    assert!(matches!(solo.event(), Event::Gone { status: 408, .. }));
    assert!(solo.lines().iter().any(|line| line.starts_with("BYE ")));
    solo.call(|ua, now| ua.drop_call(now, call));
    solo.assert_nothing_left();
}

#[test]
fn we_refresh_by_re_invite_where_the_peer_takes_no_update() {
    for (config, answer) in [
        (asks(200), &["Session-Expires: 200;refresher=uac", "Require: timer"][..]),
        // A peer that knows nothing of timers.
        (asks(200), &[]),
        // It asked us, unasked.
        (Config::default(), &["Session-Expires: 200;refresher=uac"]),
    ] {
        let (mut solo, call, _) = placed(config, answer);
        solo.wait(101 * SECOND);
        assert!(matches!(solo.event(), Event::Refresh { .. }));
        solo.call(|ua, now| ua.reinvite(now, call, Some(Body::sdp(SDP))).unwrap());
        let again = solo.only_text();
        assert_eq!(header(&again, "Session-Expires"), "200;refresher=uac");
        solo.receive(&response(&again, "200 OK", "", &[&[PLAIN], answer].concat(), SDP));
        assert!(matches!(solo.event(), Event::ReinviteAnswered { .. }));
        solo.texts();
        solo.wait(101 * SECOND);
        assert!(matches!(solo.event(), Event::Refresh { .. }), "and so on");
        // A program that does not: the session is over.
        solo.wait(200 * SECOND);
        assert!(matches!(solo.event(), Event::Expired { .. }));
        solo.assert_nothing_left();
    }
}

#[test]
fn an_offer_of_ours_keeps_the_roles_and_counts_as_a_refresh() {
    let (mut solo, call, _) = placed(Config::default(), &["Session-Expires: 200;refresher=uas"]);
    solo.wait(100 * SECOND);
    solo.call(|ua, now| ua.reinvite(now, call, Some(Body::sdp(SDP))).unwrap());
    let again = solo.only_text();
    assert_eq!(header(&again, "Session-Expires"), "200;refresher=uas");
    solo.receive(&response(&again, "200 OK", "", &[PLAIN, "Session-Expires: 200;refresher=uas"], SDP));
    solo.event();
    solo.texts();
    solo.wait(150 * SECOND);
    assert!(solo.events.is_empty());
    solo.wait(60 * SECOND);
    assert!(matches!(solo.event(), Event::Expired { .. }));
}

#[test]
fn a_refusal_for_a_short_interval_is_met() {
    let mut solo = Solo::with(asks(100));
    let (call, first) = solo.calling(BOB, Some(SDP));
    solo.receive(&response(&first, "422 Session Interval Too Small", "x", &["Min-SE: 500"], ""));
    let texts = solo.texts();
    assert!(texts[0].starts_with("ACK "));
    let second = &texts[1];
    assert_eq!((header(second, "Session-Expires"), header(second, "Min-SE")), ("500", "500"));
    assert_eq!(header(second, "CSeq"), "2 INVITE");
    for name in ["From", "To", "Call-ID", "Content-Type", "Contact"] {
        assert_eq!(header(second, name), header(&first, name));
    }
    assert!(header(second, "Via") != header(&first, "Via") && second.ends_with(SDP));
    assert!(solo.events.is_empty());
    // The same again is a refusal.
    solo.receive(&response(second, "422 Session Interval Too Small", "y", &["Min-SE: 500"], ""));
    assert!(matches!(solo.event(), Event::Rejected { .. }));
    assert!(matches!(solo.event(), Event::Released { .. }));
    let _ = call;
    solo.assert_nothing_left();
    // In a dialog.
    let (mut solo, call, _) = placed(asks(100), &["Session-Expires: 100;refresher=uac", TAKES_UPDATE]);
    solo.wait(50 * SECOND);
    let update = solo.only_text();
    solo.receive(&response(&update, "422 Session Interval Too Small", "", &["Min-SE: 500"], ""));
    let again = solo.only_text();
    assert_eq!((header(&again, "Session-Expires"), header(&again, "Min-SE")), ("500;refresher=uac", "500"));
    solo.call(|ua, now| ua.drop_call(now, call));
    solo.assert_nothing_left();
}

#[test]
fn a_peer_that_is_never_content_is_not_followed_for_ever() {
    let mut solo = Solo::with(asks(100));
    let (_, mut invite) = solo.calling(BOB, Some(SDP));
    let mut asked = 0;
    loop {
        let min_se = format!("Min-SE: {}", 500 + asked);
        solo.receive(&response(&invite, "422 Session Interval Too Small", "x", &[&min_se], ""));
        asked += 1;
        match solo.texts().get(1) {
            Some(again) => invite = again.clone(),
            None => break,
        }
        assert!(asked < 100, "it goes on for ever");
    }
    assert_eq!(asked, 6, "each proxy on the way may say so once");
    assert!(matches!(solo.event(), Event::Rejected { .. }));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

#[test]
fn through_a_bad_network_a_call_lives_as_long_as_both_are_there() {
    for seed in 0..20 {
        let config = Config { session_expires: Some(100), ..Config::default() };
        let mut pair = Pair::with_config(seed, Conditions::PERFECT, config);
        let caller = invite(&mut pair, 0, Some(SDP));
        let called = incoming(&mut pair, 1);
        pair.with(1, |ua, now| ua.respond(now, called, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
        pair.run(SECOND);
        pair.with(0, |ua, now| ua.ack(now, caller, None));
        pair.run(SECOND);
        pair.take_events(0);
        pair.take_events(1);
        pair.conditions = Conditions { loss: 150, duplication: 100, ..Conditions::PERFECT };
        pair.run(3600 * SECOND);
        assert!(pair.take_events(0).is_empty() && pair.take_events(1).is_empty(), "{seed}");
        // One side is gone without a word.
        pair.conditions = Conditions { loss: 1000, losses_in_a_row: 255, ..Conditions::PERFECT };
        pair.run(200 * SECOND);
        let ends = [pair.take_events(0), pair.take_events(1)];
        assert!(matches!(ends[0][..], [Event::Gone { status: 408, .. }, Event::Released { .. }]), "{seed}");
        assert!(matches!(ends[1][..], [Event::Expired { .. }, Event::Released { .. }]), "{seed}");
        pair.settle();
        assert_eq!((pair.ends[0].ua.stats().live, pair.ends[1].ua.stats().live), (Live::default(), Live::default()));
    }
}
