//! What each request that cannot be worked with gets: RFC 3261 §8.2 and §12.2.2, one case a row.

use std::time::Duration;

use ringback_sip::StatusCode;
use ringback_ua::{Body, Config, Event, Reply};

use crate::common::{SDP, Solo, has_header, header, refusal_ack, request, request_with, to_tag};

/// The status line of what a request got, without the version; empty: nothing.
fn verdict(request: &str) -> (String, String) {
    let mut solo = Solo::new();
    solo.receive(request);
    let texts = solo.texts();
    assert!(texts.len() <= 1, "{texts:?}");
    let text = texts.into_iter().next().unwrap_or_default();
    let line = text.lines().next().unwrap_or_default().strip_prefix("SIP/2.0 ").unwrap_or_default().to_owned();
    if !line.is_empty() {
        assert!(solo.events.is_empty(), "answered and told: {request}");
        // The same request gets the same again, and nothing is kept of it.
        solo.receive(request);
        assert_eq!(solo.only_text(), text);
        solo.assert_nothing_left();
    }
    (line, text)
}

#[test]
fn what_bad_requests_get() {
    let plain = |method: &str, headers: &[&str], body: &str| request(method, 1, "", headers, body);
    let edited = |method: &str, from: &str, to: &str| {
        let text = plain(method, &[], "");
        assert!(text.contains(from), "{text}");
        text.replace(from, to)
    };
    let cases = [
        // §8.2.1
        (plain("SUBSCRIBE", &[], ""), "405", "Allow"),
        (plain("REGISTER", &[], ""), "405", "Allow"),
        (plain("REFER", &[], ""), "403", ""),
        (plain("NOTIFY", &[], ""), "481", ""),
        (plain("PUBLISH", &[], ""), "405", "Allow"),
        (plain("FOO", &[], ""), "501", ""),
        // §8.2.2.1
        (edited("INVITE", "sip:bob@192.0.2.1 SIP", "nobodyknows:bob@192.0.2.1 SIP"), "416", ""),
        // §8.2.2.3
        (plain("INVITE", &["Require: foo, bar"], SDP), "420", "Unsupported"),
        (plain("OPTIONS", &["Require: foo"], ""), "420", "Unsupported"),
        // §8.2.3
        (plain("INVITE", &["Content-Type: text/plain"], "hello"), "415", "Accept"),
        (
            plain("INVITE", &["Content-Type: application/sdp", "Content-Encoding: gzip"], "zip"),
            "415",
            "Accept-Encoding",
        ),
        (plain("INVITE", &["Content-Type: application/pkcs7-mime"], "x"), "493", ""),
        // Dialogs that are not there
        (request("BYE", 2, "gone", &[], ""), "481", ""),
        (request("INVITE", 2, "gone", &[], SDP), "481", ""),
        (request("INFO", 2, "gone", &[], ""), "481", ""),
        (request("OPTIONS", 2, "0123456789abcdef", &[], ""), "481", ""),
        (plain("BYE", &[], ""), "481", ""),
        (plain("INFO", &[], ""), "481", ""),
        (plain("CANCEL", &[], ""), "481", ""),
        // Never answered
        (request("ACK", 1, "gone", &[], ""), "", ""),
        (plain("ACK", &[], ""), "", ""),
        (edited("ACK", "CSeq: 1 ACK", "CSeq: x ACK"), "", ""),
        ("SIP/2.0 200 OK\r\n\r\n".to_owned(), "", ""),
        ("\r\n\r\n".to_owned(), "", ""),
        ("hello".to_owned(), "", ""),
        // What the parser says
        (edited("INVITE", "SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), "505", ""),
        (edited("INVITE", "CSeq: 1 INVITE", "CSeq: 1 BYE"), "400", ""),
        (edited("INVITE", "Call-ID: theirs@192.0.2.2\r\n", ""), "400", ""),
        (edited("OPTIONS", "From: \"P\" <sip:peer@192.0.2.2>", "From: \"P <sip:peer@192.0.2.2>"), "400", ""),
        (edited("INVITE", "Content-Length: 0", "Content-Length: 10"), "400", ""),
        // §8.1.1.8
        (edited("INVITE", "Contact: <sip:peer@192.0.2.2:5070>\r\n", ""), "400", ""),
        (edited("INVITE", "Contact: <sip:peer@192.0.2.2:5070>", "Contact: *"), "400", ""),
        // §11.2
        (plain("OPTIONS", &[], ""), "200", "Accept"),
        (plain("OPTIONS", &[], ""), "200", "Supported"),
    ];
    for (request, status, with) in cases {
        let (line, text) = verdict(&request);
        assert_eq!(line.split(' ').next().unwrap(), status, "{request}");
        assert!(with.is_empty() || has_header(&text, with), "{text}");
        if !text.is_empty() && has_header(&text, "To") {
            assert!(!to_tag(&text).is_empty(), "§8.2.6.2: a To tag in every response: {text}");
        }
    }
}

#[test]
fn unsupported_names_each_unknown_option() {
    let (_, text) = verdict(&request("INVITE", 1, "", &["Require: foo, bar"], SDP));
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Unsupported: ")).collect();
    assert_eq!(names, ["foo", "bar"]);
}

#[test]
fn bodies_an_invite_may_have() {
    for (headers, body) in [
        (&[][..], ""),
        (&["Content-Type: application/SDP;charset=utf-8"], SDP),
        (
            &["Content-Type: multipart/mixed;boundary=b"],
            "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b--\r\n",
        ),
        (&["Content-Type: text/plain", "Content-Disposition: render;handling=optional"], "hi"),
    ] {
        let mut solo = Solo::new();
        solo.receive(&request("INVITE", 1, "", headers, body));
        assert!(matches!(solo.event(), Event::Invite { .. }), "{headers:?}");
    }
}

#[test]
fn an_invite_by_two_paths_is_merged() {
    let mut solo = Solo::new();
    let call = solo.incoming();
    solo.receive(&request_with("INVITE", 1, "", "z9hG4bK-other", &[], SDP));
    assert!(solo.only_text().starts_with("SIP/2.0 482 "));
    assert!(solo.events.is_empty());
    solo.receive(&request_with("ACK", 1, "x", "z9hG4bK-other", &[], ""));
    // Also after the answer.
    solo.call(|ua, now| ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
    solo.texts();
    solo.receive(&request_with("INVITE", 1, "", "z9hG4bK-third", &[], SDP));
    assert!(solo.only_text().starts_with("SIP/2.0 482 "));
}

#[test]
fn a_lower_sequence_number_gets_500_and_the_call_goes_on() {
    let mut solo = Solo::new();
    let (_, tag) = solo.established();
    solo.receive(&request("INFO", 5, &tag, &[], ""));
    let Event::Request { key, .. } = solo.event() else { panic!() };
    solo.call(|ua, now| ua.answer_request(now, key, Reply::new(StatusCode::OK)));
    assert!(solo.only_text().starts_with("SIP/2.0 200 "));
    for method in ["INFO", "BYE", "INVITE", "OPTIONS"] {
        solo.receive(&request(method, 4, &tag, &[], ""));
        assert!(solo.only_text().starts_with("SIP/2.0 500 "), "{method}");
    }
    assert!(solo.events.is_empty());
    solo.receive(&request("BYE", 6, &tag, &[], ""));
    assert!(solo.only_text().starts_with("SIP/2.0 200 "));
    assert!(matches!(solo.event(), Event::Bye { .. }));
    assert!(matches!(solo.event(), Event::Released { .. }));
    // The same BYE again: the same answer, though the dialog is gone; another BYE: 481.
    solo.receive(&request("BYE", 6, &tag, &[], ""));
    assert!(solo.only_text().starts_with("SIP/2.0 200 "));
    solo.receive(&request("BYE", 7, &tag, &[], ""));
    assert!(solo.only_text().starts_with("SIP/2.0 481 "));
}

#[test]
fn what_is_refused_within_a_dialog() {
    for (method, headers, body, status) in [
        ("FOO", &[][..], "", "501"),
        ("SUBSCRIBE", &[], "", "405"),
        ("PUBLISH", &[], SDP, "405"),
        ("PRACK", &[], "", "400"),
        ("PRACK", &["RAck: 1 1 INVITE"], "", "481"),
        ("UPDATE", &[], "", "200"),
        ("UPDATE", &["Session-Expires: 10", "Supported: timer"], "", "422"),
        ("INFO", &["Require: foo"], "", "420"),
        ("INVITE", &["Require: foo"], SDP, "420"),
        ("INVITE", &["Content-Type: text/plain"], "x", "415"),
        ("INFO", &["Content-Type: text/plain", "Content-Encoding: gzip"], "x", "415"),
        ("OPTIONS", &[], "", "200"),
    ] {
        let mut solo = Solo::new();
        let (call, tag) = solo.established();
        solo.receive(&request(method, 2, &tag, headers, body));
        let text = solo.only_text();
        assert!(text.starts_with(&format!("SIP/2.0 {status} ")), "{method}: {text}");
        assert_eq!(to_tag(&text), tag);
        assert!(solo.events.is_empty());
        if method == "INVITE" {
            solo.receive(&refusal_ack(2, &tag));
        } else {
            solo.receive(&request(method, 2, &tag, headers, body));
            assert_eq!(solo.only_text(), text, "retransmitted");
        }
        solo.call(|ua, now| ua.bye(now, call, None));
        assert!(solo.only_text().starts_with("BYE "), "{method}: the call goes on");
    }
}

#[test]
fn other_identifiers_are_another_dialog() {
    let mut solo = Solo::new();
    let (_, tag) = solo.established();
    for (from, to) in [("tag=peer", "tag=else"), ("Call-ID: theirs", "Call-ID: others")] {
        let bye = request("BYE", 2, &tag, &[], "").replace(from, to);
        solo.receive(&bye);
        assert!(solo.only_text().starts_with("SIP/2.0 481 "), "{to}");
    }
    assert!(solo.events.is_empty());
}

#[test]
fn too_many_half_open_invites_are_refused_and_nothing_is_kept_of_them() {
    let mut solo = Solo::with(Config { half_open_invites: 10, ..Config::default() });
    for n in 0..1000 {
        let invite = request_with("INVITE", 1, "", &format!("z9hG4bK-{n}"), &[], SDP);
        solo.receive(&invite.replace("Call-ID: theirs", &format!("Call-ID: {n}")));
    }
    // One source gets no more than a part of them: `flood.rs`.
    let texts = solo.texts();
    assert_eq!(texts.len(), 994);
    for text in texts {
        assert!(text.starts_with("SIP/2.0 503 ") && header(&text, "Retry-After") == "5", "{text}");
    }
    let stats = solo.ua.stats();
    assert_eq!(
        (stats.overload, stats.live.half_open, stats.live.calls, stats.live.server_transactions),
        (994, 6, 6, 6)
    );
    // A call in progress is served all the same.
    let Event::Invite { call, .. } = solo.event() else { panic!() };
    solo.call(|ua, now| ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
    let answer = solo.only_text();
    assert!(answer.starts_with("SIP/2.0 200 "));
    assert_eq!(solo.ua.stats().live.half_open, 6, "until its ACK");
    solo.receive(&request("ACK", 1, &to_tag(&answer), &[], "").replace("Call-ID: theirs", "Call-ID: 0"));
    assert_eq!(solo.ua.stats().live.half_open, 5);
    solo.receive(&request_with("INVITE", 1, "", "z9hG4bK-new", &[], SDP).replace("Call-ID: theirs", "Call-ID: new"));
    assert!(matches!(solo.events.last(), Some(Event::Invite { .. })));
}

#[test]
fn refused_invites_that_are_never_acked_count_as_half_open() {
    let mut solo = Solo::with(Config { half_open_invites: 3, ..Config::default() });
    for n in 0..5 {
        let invite = request_with("INVITE", 1, "", &format!("z9hG4bK-{n}"), &[], SDP);
        solo.receive(&invite.replace("Call-ID: theirs", &format!("Call-ID: {n}")));
        if let Some(Event::Invite { call, .. }) = solo.events.pop() {
            solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::BUSY_HERE)).unwrap());
        }
    }
    let lines = solo.lines();
    assert_eq!(lines.iter().filter(|line| line.contains(" 486 ")).count(), 3);
    assert_eq!(lines.iter().filter(|line| line.contains(" 503 ")).count(), 2);
    solo.wait(Duration::from_secs(40));
    solo.assert_nothing_left();
}

#[test]
fn accepted_invites_that_are_never_acked_count_as_half_open_until_they_are_given_up() {
    let mut solo = Solo::with(Config { half_open_invites: 3, ..Config::default() });
    let flood = |solo: &mut Solo, batch: u32| {
        for n in 0..5 {
            let invite = request_with("INVITE", 1, "", &format!("z9hG4bK-{batch}-{n}"), &[], SDP);
            solo.receive(&invite.replace("Call-ID: theirs", &format!("Call-ID: {batch}-{n}")));
            if let Some(Event::Invite { call, .. }) = solo.events.pop() {
                let accepted = Reply::with_body(StatusCode::OK, Body::sdp(SDP));
                solo.call(|ua, now| ua.respond(now, call, accepted).unwrap());
                // One is given up by the program: its 2xx still waits for the ACK.
                if n == 0 {
                    solo.call(|ua, now| ua.bye(now, call, None));
                }
            }
        }
        let lines = solo.lines();
        assert_eq!(lines.iter().filter(|line| line.contains(" 200 ")).count(), 3);
        assert_eq!(lines.iter().filter(|line| line.contains(" 503 ")).count(), 2);
        assert_eq!(solo.ua.stats().live.half_open, 3);
    };
    flood(&mut solo, 1);
    // RFC 3261 §13.3.1.4: 64*T1.
    solo.wait(Duration::from_secs(33));
    assert_eq!(solo.ua.stats().live.half_open, 0);
    solo.texts();
    solo.events.clear();
    flood(&mut solo, 2);
    solo.assert_nothing_left();
}

#[test]
fn a_message_that_is_too_long_gets_513() {
    let mut solo = Solo::with(Config { message_bytes: 2000, ..Config::default() });
    let long = format!("Subject: {}", "x".repeat(2000));
    solo.receive(&request("INVITE", 1, "", &[&long], SDP));
    assert!(solo.only_text().starts_with("SIP/2.0 513 "));
    assert!(solo.events.is_empty());
}
