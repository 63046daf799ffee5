//! 199 (RFC 6228): the end of an early dialog, told by the called side.

use std::time::Duration;

use ringback_sip::StatusCode;
use ringback_ua::fuzz::pair::{Conditions, Pair};
use ringback_ua::{Body, CallKey, Event, Live, Reply};

use crate::common::{SDP, Solo, header, invite, request, to_tag};

const SECOND: Duration = Duration::from_secs(1);

fn asked(headers: &[&str]) -> (Solo, CallKey) {
    let mut solo = Solo::new();
    solo.receive(&request("INVITE", 1, "", headers, SDP));
    match solo.event() {
        Event::Invite { call, .. } => (solo, call),
        other => panic!("{other:?}"),
    }
}

fn say(solo: &mut Solo, call: CallKey, status: StatusCode) {
    solo.call(|ua, now| ua.respond(now, call, Reply::new(status)).unwrap());
}

#[test]
fn a_refusal_after_ringing_is_announced_to_whom_wants_to_know() {
    const RINGING: Option<StatusCode> = Some(StatusCode::RINGING);
    // What the INVITE says, what came before the refusal, whether 199 does.
    for (headers, before, told) in [
        (&["Supported: timer, 199"][..], RINGING, true),
        (&["Supported: 199"], Some(StatusCode::TRYING), false),
        (&["Supported: 199"], None, false),
        (&["Supported: 100rel"], RINGING, false),
        // RFC 6228 §5: it would have to arrive first.
        (&["Supported: 199", "Require: 100rel"], RINGING, false),
    ] {
        let (mut solo, call) = asked(headers);
        if let Some(status) = before {
            say(&mut solo, call, status);
        }
        let ringing = solo.texts().pop();
        say(&mut solo, call, StatusCode::BUSY_HERE);
        let mut texts = solo.texts();
        assert!(texts.pop().unwrap().starts_with("SIP/2.0 486 "), "{headers:?}");
        assert_eq!(texts.len(), usize::from(told), "{headers:?} {before:?} {texts:?}");
        if let Some(ended) = texts.pop() {
            assert!(ended.starts_with("SIP/2.0 199 Early Dialog Terminated\r\n"));
            assert_eq!(to_tag(&ended), to_tag(&ringing.unwrap()), "that dialog");
            assert_eq!(header(&ended, "Reason"), "SIP;cause=486;text=\"Busy Here\"");
            assert_eq!(header(&ended, "Content-Length"), "0");
        }
    }
}

#[test]
fn nothing_is_announced_to_a_caller_who_gives_up_or_is_answered() {
    let (mut solo, call) = asked(&["Supported: 199"]);
    say(&mut solo, call, StatusCode::RINGING);
    solo.receive(&request("CANCEL", 1, "", &[], ""));
    assert_eq!(solo.lines(), ["SIP/2.0 180 Ringing", "SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]);
    let (mut solo, call) = asked(&["Supported: 199"]);
    say(&mut solo, call, StatusCode::RINGING);
    solo.call(|ua, now| ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
    assert_eq!(solo.lines(), ["SIP/2.0 180 Ringing", "SIP/2.0 200 OK"]);
}

#[test]
fn a_caller_of_ours_hears_the_refusal_whatever_is_lost() {
    let mut announced = 0;
    for seed in 0..40 {
        let conditions =
            Conditions { loss: 300, duplication: 100, jitter: Duration::from_millis(80), ..Conditions::PERFECT };
        let mut pair = Pair::new(seed, conditions);
        invite(&mut pair, 0, Some(SDP));
        let mut rejected = false;
        let mut answered = false;
        for _ in 0..200 {
            pair.run(SECOND);
            for event in pair.take_events(1) {
                if let Event::Invite { call, .. } = event {
                    answered = true;
                    pair.with(1, |ua, now| ua.respond(now, call, Reply::new(StatusCode::RINGING)).unwrap());
                    pair.with(1, |ua, now| ua.respond(now, call, Reply::new(StatusCode::BUSY_HERE)).unwrap());
                }
            }
            for event in pair.take_events(0) {
                match event {
                    Event::Provisional { response, .. } => {
                        announced += usize::from(response.status() == Some(StatusCode::EARLY_DIALOG_TERMINATED));
                    }
                    Event::Rejected { response, .. } => rejected = response.status() == Some(StatusCode::BUSY_HERE),
                    _ => {}
                }
            }
        }
        assert!(answered && rejected, "{seed}");
        pair.settle();
        for end in &pair.ends {
            assert_eq!(end.ua.stats().live, Live::default(), "{seed}");
        }
    }
    assert!(announced > 10, "{announced} of 40");
}
