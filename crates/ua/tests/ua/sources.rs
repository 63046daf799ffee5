//! What sources get that ask too much, and how large what anybody gets may be.

use std::time::Duration;

use ringback_ua::{Config, GuardConfig};

use crate::common::{Solo, has_header, request, request_with};

fn guarded(guard: GuardConfig) -> Solo {
    Solo::with(Config { guard, ..Config::default() })
}

/// A request outside of a dialog that is not the same as those with other numbers.
fn numbered(method: &str, number: usize, headers: &[&str], body: &str) -> String {
    let text = request_with(method, 1, "", &format!("z9hG4bK-{number}"), headers, body);
    text.replace("Call-ID: theirs", &format!("Call-ID: {number}"))
}

#[test]
fn a_source_that_asks_too_often_is_refused_and_then_not_answered() {
    let mut solo = guarded(GuardConfig { requests_per_second: Some(5), ..GuardConfig::default() });
    let (mut served, mut refused) = (0, 0);
    for number in 0..40 {
        solo.receive(&numbered("OPTIONS", number, &[], ""));
        for text in solo.texts() {
            if text.starts_with("SIP/2.0 200") {
                served += 1;
            } else {
                assert!(text.starts_with("SIP/2.0 503"), "{text}");
                assert!(has_header(&text, "Retry-After"));
                refused += 1;
            }
        }
    }
    assert_eq!((served, refused), (5, 5));
    let stats = solo.ua.stats();
    assert_eq!((stats.limited, stats.shut_out), (5, 30));
    solo.wait(Duration::from_secs(1));
    solo.receive(&numbered("OPTIONS", 100, &[], ""));
    assert!(solo.only_text().starts_with("SIP/2.0 200"));
}

#[test]
fn a_call_that_stands_can_always_be_ended() {
    let mut solo = guarded(GuardConfig { requests_per_second: Some(1), ..GuardConfig::default() });
    let (_, tag) = solo.established();
    for number in 0..20 {
        solo.receive(&numbered("OPTIONS", number, &[], ""));
    }
    solo.texts();
    solo.receive(&request("BYE", 2, &tag, &[], ""));
    assert!(solo.only_text().starts_with("SIP/2.0 200"));
}

#[test]
fn scanners_get_nothing() {
    let scanner = ["User-Agent: friendly-scanner"];
    let mut solo = Solo::new();
    for number in 0..3 {
        solo.receive(&numbered("OPTIONS", number, &scanner, ""));
    }
    assert!(solo.texts().is_empty());
    assert_eq!(solo.ua.stats().scanners, 3);
    solo.receive(&numbered("OPTIONS", 9, &["User-Agent: Telephone 1.0"], ""));
    assert!(solo.only_text().starts_with("SIP/2.0 200"), "the address is not shut out by default");

    let mut solo = guarded(GuardConfig { drop_scanners: false, ..GuardConfig::default() });
    solo.receive(&numbered("OPTIONS", 1, &scanner, ""));
    assert!(solo.only_text().starts_with("SIP/2.0 200"));
}

#[test]
fn who_sends_nothing_sensible_is_not_listened_to_for_a_while() {
    let shut_out = Duration::from_secs(60);
    let mut solo = guarded(GuardConfig { faults_per_minute: Some(2), shut_out, ..GuardConfig::default() });
    for number in 0..3 {
        let broken = numbered("OPTIONS", number, &[], "").replace("CSeq: 1 OPTIONS", "CSeq: one");
        solo.receive(&broken);
        assert!(solo.only_text().starts_with("SIP/2.0 400"));
    }
    solo.receive(&numbered("OPTIONS", 10, &[], ""));
    assert!(solo.texts().is_empty());
    assert_eq!(solo.ua.stats().shut_out, 1);
    solo.wait(shut_out);
    solo.receive(&numbered("OPTIONS", 11, &[], ""));
    assert!(solo.only_text().starts_with("SIP/2.0 200"));
}

/// A forged source address must not make us the louder one.
#[test]
fn no_answer_is_larger_than_three_times_the_request() {
    let smallest = |method: &str, extra: &str| {
        format!(
            "{method} sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bK1\r\nf:<sip:a>;tag=1\r\nt:<sip:a>\r\ni:1\r\nCSeq:1 {method}\r\n{extra}\r\n"
        )
    };
    for method in
        ["INVITE", "OPTIONS", "BYE", "MESSAGE", "REGISTER", "SUBSCRIBE", "REFER", "INFO", "PRACK", "UPDATE", "FOO"]
    {
        for extra in ["", "m:<sip:a>\r\n", "Require:a\r\n", "c:a/b\r\nl:1\r\n\r\nx", "l:9\r\n", "Max-Forwards:x\r\n"] {
            let request = smallest(method, extra);
            let mut solo = Solo::new();
            solo.receive(&request);
            for text in solo.texts() {
                assert!(
                    text.len() <= 3 * request.len(),
                    "{} octets for {}:\n{request}\n{text}",
                    text.len(),
                    request.len()
                );
            }
        }
    }
}
