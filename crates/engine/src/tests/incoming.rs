use super::*;
use crate::api::EndCause;

#[test]
fn a_call_is_accepted_and_ended_by_the_caller() {
    let mut net = pair();
    let (caller, called) = ringing(&mut net);
    assert_eq!(
        (called.state(), &*called.from_uri, &*called.to_uri),
        (State::Initiating, "sip:alice@example.com", &*uri(B))
    );
    assert_eq!(caller.call_id, called.call_id);
    let Some(Event::Incoming(call)) = net.nodes[B].events.first() else { panic!("no event") };
    assert_eq!((call.from_name.as_deref(), call.transport, call.source), (Some("Alice"), "udp", address(A)));
    assert!(call.sdp.as_ref().is_some_and(|sdp| sdp.contains("m=audio")));
    decide(&mut net, B, &called, accept()).expect("accepted");
    for (node, other) in [(A, B), (B, A)] {
        let config = net.nodes[node].config().expect("a leg");
        assert_eq!(config.remote_rtp.map(|remote| remote.ip()), Some(address(other).ip()));
        assert!(config.may_send && config.may_receive && config.dtmf_send.is_some());
    }
    assert_eq!(story(&net, B, called.id), ["incoming", "active", "established"]);
    assert!(caller.answered_at().is_some() && called.answered_at().is_some());

    net.advance(10 * SECOND);
    hang_up(&mut net, A, &caller);
    assert_eq!(end_of(&caller), (State::Terminated, "hangup".into()));
    assert_eq!(end_of(&called), (State::Terminated, "remote hangup".into()));
    assert_eq!(story(&net, B, called.id), ["incoming", "active", "established", "terminated", "ended"]);
    let stats = net.nodes[B].engine.directory().stats();
    assert_eq!((stats.active_sessions, stats.total_sessions, stats.average_duration), (0, 1, Some(10.0)));
    net.assert_idle();
}

#[test]
fn counters_have_changed_before_the_end_is_told() {
    let mut net = pair();
    let (_, called) = answered(&mut net);
    let before = net.nodes[B].events.len();
    let now = net.now;
    let command = Command::Hangup { token: Token(0), session: called.id, reason: None };
    net.nodes[B].engine.handle_command(now, command);
    assert_eq!(net.nodes[B].events.len(), before, "not even drained");
    assert_eq!(net.nodes[B].engine.directory().stats().active_sessions, 0);
    assert!(called.state().is_final());
}

#[test]
fn an_auto_answered_call_makes_no_event_but_the_answer() {
    let interest = Interest { established: true, ended: true, ..Interest::default() };
    let mut net = with(Config { origin: Origin::Accept, interest, ..config() });
    let caller = dial(&mut net, A, &uri(B));
    assert_eq!(caller.state(), State::Active);
    hang_up(&mut net, A, &caller);
    assert!(matches!(net.nodes[B].events[..], [Event::Established { .. }, Event::Ended { .. }]));
    net.assert_idle();
}

#[test]
fn only_what_is_wanted_is_told_and_what_is_watched() {
    for watched in [false, true] {
        let mut net = with(Config { interest: Interest::default(), ..config() });
        let (caller, called) = ringing(&mut net);
        if watched {
            called.watch();
        }
        decide(&mut net, B, &called, accept()).expect("accepted");
        hang_up(&mut net, A, &caller);
        let expected: &[&str] = if watched { &["incoming", "established", "ended"] } else { &["incoming"] };
        assert_eq!(story(&net, B, called.id), expected);
    }
}

#[test]
fn without_room_a_call_gets_503_and_when_to_come_back() {
    type Prepare = fn(&mut Net);
    let cases: [(&str, Config, Prepare); 4] = [
        ("sessions", Config { max_sessions: 0, ..config() }, |_| {}),
        ("ports", config(), |net| net.nodes[B].ports().most = 0),
        ("backlog", config(), |net| {
            let now = net.now;
            net.nodes[B].engine.handle_backlog(now, Some(Duration::from_millis(2001)));
        }),
        ("stopping", config(), |net| {
            let (_, called) = answered(net);
            net.command(B, |token| Command::Stop { token, drain: 60 * SECOND });
            assert_eq!(called.state(), State::Active);
        }),
    ];
    for (what, called, prepare) in cases {
        let mut net = with(called);
        prepare(&mut net);
        let arrived = net.nodes[B].incoming().map(|session| session.id);
        let caller = dial(&mut net, A, &uri(B));
        assert_eq!(end_of(&caller), (State::Rejected, "rejected 503 Service Unavailable".into()), "{what}");
        let response = *sent(&net, B, "SIP/2.0 503").last().expect("a 503");
        assert_eq!(header(response, "Retry-After"), Some("10"), "{what}");
        assert_eq!(net.nodes[B].incoming().map(|session| session.id), arrived, "{what}: nobody was asked");
        let counters = net.nodes[B].engine.counters();
        let counted =
            [counters.refused_full, counters.refused_ports, counters.refused_backlog, counters.refused_stopping];
        assert_eq!(counted.iter().sum::<u64>(), 1, "{what}");
    }
}

#[test]
fn without_a_handler_a_call_gets_480() {
    let mut net = with(Config { origin: Origin::NoHandler, ..config() });
    let caller = dial(&mut net, A, &uri(B));
    assert_eq!(end_of(&caller).1, "rejected 480 Temporarily Unavailable");
    assert_eq!(net.nodes[B].engine.counters().unhandled, 1);
    net.assert_idle();
}

#[test]
fn a_rejection_reaches_the_caller_with_status_reason_and_headers() {
    let mut net = pair();
    let (caller, called) = ringing(&mut net);
    let headers = vec![("X-Why".to_owned(), "sleeping".to_owned())];
    let decision = Decision::Reject { status: 486, reason: "In a meeting".into(), headers };
    decide(&mut net, B, &called, decision).expect("rejected");
    assert_eq!(end_of(&caller), (State::Rejected, "rejected 486 In a meeting".into()));
    assert_eq!(end_of(&called), (State::Rejected, "rejected 486 In a meeting".into()));
    assert_eq!(header(sent(&net, B, "SIP/2.0 486")[0], "X-Why"), Some("sleeping"));
    assert!(matches!(
        &caller.end().expect("an end").cause,
        EndCause::Rejected { status: 486, reason, .. } if reason == "In a meeting"
    ));
    assert_eq!(story(&net, B, called.id), ["incoming", "rejected", "ended"]);
    net.assert_idle();
}

/// Ports that a peer was told of rest before they are used again; those of a refused call need not.
#[test]
fn ports_are_told_only_with_a_description() {
    let mut net = pair();
    let untold = |net: &Net, node: usize| net.nodes[node].ports().untold;
    let (_, called) = ringing(&mut net);
    decide(&mut net, B, &called, Decision::Defer).expect("deferred");
    decide(&mut net, B, &called, reject(486, "Busy")).expect("rejected");
    assert_eq!((untold(&net, A), untold(&net, B)), (0, 1), "the caller's offer names its port");
    let (caller, _) = ringing(&mut net);
    hang_up(&mut net, A, &caller);
    // 100, and then CANCEL.
    net.advance(SECOND);
    assert_eq!((untold(&net, A), untold(&net, B)), (0, 2));
    // An offer that was made for the program may be with the peer already.
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "", "");
    let called = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &called, Decision::Defer).expect("deferred");
    let id = called.id;
    assert!(matches!(net.ask(B, |token| Command::GenerateOffer { token, session: id }), Some(Ok(Reply::Text(_)))));
    decide(&mut net, B, &called, reject(486, "Busy")).expect("rejected");
    assert_eq!(untold(&net, B), 2);
    let (caller, _) = answered(&mut net);
    hang_up(&mut net, A, &caller);
    assert_eq!(untold(&net, B), 2, "it was open, and closed");
}

#[test]
fn a_rejection_is_a_4xx_5xx_or_6xx() {
    let mut net = pair();
    let (_, called) = ringing(&mut net);
    for status in [0, 99, 100, 180, 200, 302, 399, 700, u16::MAX] {
        assert!(matches!(decide(&mut net, B, &called, reject(status, "x")), Err(Error::BadValue(_))), "{status}");
    }
    assert_eq!(called.state(), State::Initiating);
    assert!(sent(&net, B, "SIP/2.0 [2-6]").is_empty());
    decide(&mut net, B, &called, reject(699, "")).expect("rejected");
    assert_eq!(end_of(&called).1, "rejected 699 Global Failure");
}

#[test]
fn nothing_is_smuggled_into_a_response() {
    let mut net = pair();
    let (caller, called) = ringing(&mut net);
    let bad = [
        ("X-A", "1\r\nVia: x"),
        ("X-A", "a\nb"),
        ("X-A", "\0"),
        ("Contact", "<sip:evil@x>"),
        ("l", "0"),
        ("X\r\nA", "1"),
        ("", "1"),
    ];
    for (name, value) in bad {
        let headers = vec![(name.to_owned(), value.to_owned())];
        for decision in [
            Decision::Accept { sdp: None, headers: headers.clone() },
            Decision::Reject { status: 486, reason: "No".into(), headers: headers.clone() },
        ] {
            let result = decide(&mut net, B, &called, decision);
            assert!(matches!(result, Err(Error::InvalidHeader(_))), "{name:?}: {value:?}");
        }
    }
    assert!(matches!(decide(&mut net, B, &called, reject(486, "No\r\nX: y")), Err(Error::InvalidHeader(_))));
    assert_eq!((caller.state(), called.state()), (State::Initiating, State::Initiating), "nothing was said");
    let headers = vec![("X-Queue".to_owned(), "7".to_owned())];
    decide(&mut net, B, &called, Decision::Accept { sdp: None, headers }).expect("accepted");
    assert_eq!(header(sent(&net, B, "SIP/2.0 200")[0], "X-Queue"), Some("7"));
}

#[test]
fn a_deferred_call_rings_each_minute_until_it_is_decided() {
    let mut net = with(Config { answer_timeout: None, ..config() });
    let (caller, called) = ringing(&mut net);
    decide(&mut net, B, &called, Decision::Defer).expect("deferred");
    assert_eq!((caller.state(), called.state()), (State::Ringing, State::Ringing));
    assert_eq!(sent(&net, B, "SIP/2.0 180").len(), 1);
    net.advance(200 * SECOND);
    assert_eq!(sent(&net, B, "SIP/2.0 180").len(), 4);
    assert_eq!(called.state(), State::Ringing);
    decide(&mut net, B, &called, accept()).expect("accepted");
    assert_eq!((caller.state(), called.state()), (State::Active, State::Active));
    net.advance(200 * SECOND);
    assert_eq!(sent(&net, B, "SIP/2.0 180").len(), 4, "an answered call rings no more");
    assert!(matches!(decide(&mut net, B, &called, accept()), Err(Error::InvalidState { state: State::Active, .. })));
    hang_up(&mut net, B, &called);
    net.assert_idle();
}

#[test]
fn a_call_that_nobody_decides_gets_480() {
    for defer in [false, true] {
        let mut net = with(Config { answer_timeout: Some(30 * SECOND), ..config() });
        let (caller, called) = ringing(&mut net);
        if defer {
            decide(&mut net, B, &called, Decision::Defer).expect("deferred");
        }
        net.advance(29 * SECOND);
        assert!(!called.state().is_final());
        net.advance(2 * SECOND);
        assert_eq!(end_of(&caller).1, "rejected 480 Temporarily Unavailable");
        assert_eq!(end_of(&called).0, State::Rejected);
        assert!(story(&net, B, called.id).contains(&"over".to_owned()));
        let late = decide(&mut net, B, &called, accept());
        assert!(matches!(late, Err(Error::InvalidState { state: State::Rejected, .. })));
        net.assert_idle();
    }
}

#[test]
fn an_invite_may_say_how_long_it_is_worth_waiting() {
    let mut net = pair();
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "Expires: 20\r\n", &sdp(4000, 1, "sendrecv"));
    let session = net.nodes[B].incoming().expect("it arrived");
    net.advance(21 * SECOND);
    phone.receive(&mut net, "SIP/2.0 487");
    assert_eq!(end_of(&session), (State::Cancelled, "cancelled".into()));
}

#[test]
fn a_cancelled_call_is_over_for_its_handler() {
    for defer in [false, true] {
        let mut net = pair();
        let (caller, called) = ringing(&mut net);
        if defer {
            decide(&mut net, B, &called, Decision::Defer).expect("deferred");
        }
        net.advance(SECOND);
        hang_up(&mut net, A, &caller);
        assert_eq!(end_of(&caller), (State::Cancelled, "cancelled".into()));
        assert_eq!(end_of(&called), (State::Cancelled, "cancelled".into()));
        assert!(story(&net, B, called.id).ends_with(&["over".to_owned(), "cancelled".to_owned(), "ended".to_owned()]));
        net.assert_idle();
    }
}

#[test]
fn a_call_is_hung_up_before_its_decision() {
    let mut net = pair();
    let (caller, called) = ringing(&mut net);
    let id = called.id;
    let reason = Some("Not now".to_owned());
    net.ask(B, |token| Command::Hangup { token, session: id, reason }).expect("at once").expect("done");
    assert_eq!(end_of(&caller), (State::Rejected, "rejected 603 Not now".into()));
    assert_eq!(story(&net, B, id), ["incoming", "rejected", "ended"], "its handler goes on");
    net.assert_idle();
}

#[test]
fn early_media_opens_the_leg_and_the_answer_says_the_same() {
    let mut net = pair();
    let (caller, called) = ringing(&mut net);
    decide(&mut net, B, &called, Decision::Progress { sdp: None }).expect("progress");
    assert_eq!((caller.state(), called.state()), (State::Ringing, State::Ringing));
    assert!(net.nodes[A].config().is_some() && net.nodes[B].config().is_some(), "both hear");
    assert_eq!(story(&net, A, caller.id), ["ringing", "progress 183 sdp"]);
    let early = body(sent(&net, B, "SIP/2.0 183")[0]).to_owned();
    net.advance(90 * SECOND);
    assert_eq!(body(sent(&net, B, "SIP/2.0 183")[1]), early, "repeated with its description");
    let other = Decision::Accept { sdp: Some(sdp(9, 1, "sendrecv")), headers: no_headers() };
    assert!(matches!(decide(&mut net, B, &called, other), Err(Error::Sdp(_))));
    decide(&mut net, B, &called, accept()).expect("accepted");
    let answers = sent(&net, B, "SIP/2.0 200");
    let answer = answers.iter().find(|answer| header(answer, "CSeq") == Some("1 INVITE")).expect("an answer");
    assert_eq!(body(answer), early);
    assert_eq!(
        net.nodes[B].legs.log.iter().filter(|c| matches!(c, ringback_media_api::Command::Open { .. })).count(),
        1
    );
    hang_up(&mut net, B, &called);
    net.assert_idle();
}

#[test]
fn early_media_needs_an_offer() {
    let mut net = pair();
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "", "");
    let session = net.nodes[B].incoming().expect("it arrived");
    let own = Decision::Progress { sdp: Some(sdp(9, 1, "sendrecv")) };
    assert!(matches!(decide(&mut net, B, &session, own), Err(Error::Sdp(_))));
    decide(&mut net, B, &session, Decision::Progress { sdp: None }).expect("a plain 183");
    assert_eq!(body(&phone.receive(&mut net, "SIP/2.0 183")), "");
}

#[test]
fn a_late_offer_is_ours_and_the_ack_has_the_answer() {
    let mut net = pair();
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "", "");
    let session = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &session, accept()).expect("accepted");
    let offer = phone.receive(&mut net, "SIP/2.0 200");
    assert!(body(&offer).contains("m=audio"));
    assert_eq!(session.state(), State::Active);
    assert!(net.nodes[B].config().is_none(), "nothing is settled yet");
    phone.ack(&mut net, &sdp(4000, 1, "sendrecv"));
    assert_eq!(
        net.nodes[B].config().and_then(|config| config.remote_rtp),
        Some("10.9.0.1:4000".parse().expect("an address"))
    );
    assert_eq!(story(&net, B, session.id), ["incoming", "active", "established"]);
    phone.request(&mut net, "BYE", "", "", "");
    assert_eq!(end_of(&session).1, "remote hangup");
    net.assert_idle();
}

#[test]
fn a_late_offer_without_an_answer_ends_the_call() {
    for answer in ["", "v=0\r\nnonsense"] {
        let mut net = pair();
        let mut phone = Phone::new(B);
        phone.invite(&mut net, "", "");
        let session = net.nodes[B].incoming().expect("it arrived");
        decide(&mut net, B, &session, accept()).expect("accepted");
        phone.receive(&mut net, "SIP/2.0 200");
        phone.ack(&mut net, answer);
        assert_eq!(session.state(), State::Failed, "{answer:?}");
        let bye = phone.receive(&mut net, "BYE ");
        phone.reply(&mut net, &bye, "200 OK", "", "");
        net.assert_idle();
    }
}

#[test]
fn an_offer_that_no_answer_fits_is_refused() {
    let nothing_in_common = sdp(4000, 1, "sendrecv").replace("RTP/AVP 0 8 101", "RTP/AVP 18");
    let decisions: [fn() -> Decision; 2] = [accept, || super::forward(&["sip:nobody@10.9.9.9"])];
    let other_family = sdp(4000, 1, "sendrecv").replace("IN IP4 10.9.0.1", "IN IP6 2001:db8::1");
    let broadcast = sdp(4000, 1, "sendrecv").replace("c=IN IP4 10.9.0.1", "c=IN IP4 255.255.255.255");
    for (offer, status) in [
        (&*nothing_in_common, "SIP/2.0 488"),
        (&*other_family, "SIP/2.0 488"),
        (&*broadcast, "SIP/2.0 488"),
        ("v=0\r\nnonsense\r\n", "SIP/2.0 400"),
    ] {
        for decision in decisions {
            let mut net = pair();
            let mut phone = Phone::new(B);
            phone.invite(&mut net, "", offer);
            let session = net.nodes[B].incoming().expect("it arrived");
            assert!(matches!(decide(&mut net, B, &session, decision()), Err(Error::Sdp(_))));
            phone.receive(&mut net, status);
            assert_eq!(session.state(), State::Rejected);
            assert!(sent(&net, B, "INVITE").is_empty());
        }
    }
}

#[test]
fn an_address_of_the_other_family_is_taken_where_there_is_a_way_or_none_is_needed() {
    let plain = sdp(4000, 1, "sendrecv").replace("IN IP4 10.9.0.1", "IN IP6 2001:db8::1");
    let learned = Config { symmetric_rtp: true, ..config() };
    let translated = Config { public_address: Some("2001:db8::7".into()), ..config() };
    let own = || Decision::Accept { sdp: Some(sdp(4000, 1, "sendrecv")), headers: no_headers() };
    for (config, offer, decision, remote) in [
        (learned, plain.clone(), accept(), Some("[2001:db8::1]:4000")),
        (translated, plain.clone(), accept(), Some("[2001:db8::1]:4000")),
        (config(), format!("{plain}a=direction:active\r\n"), accept(), Some("[2001:db8::1]:4000")),
        (config(), plain.replace("2001:db8::1", "::ffff:10.9.0.1"), accept(), Some("10.9.0.1:4000")),
        (config(), plain.replace("2001:db8::1", "::"), accept(), None),
        // The program has its media elsewhere.
        (config(), plain.clone(), own(), None),
        (
            Config { media_address: Some("2001:db8::2".parse().expect("one")), ..config() },
            plain,
            accept(),
            Some("[2001:db8::1]:4000"),
        ),
    ] {
        let mut net = with(config);
        let mut phone = Phone::new(B);
        phone.invite(&mut net, "", &offer);
        let session = net.nodes[B].incoming().expect("it arrived");
        decide(&mut net, B, &session, decision).expect("it is accepted");
        phone.receive(&mut net, "SIP/2.0 200");
        let seen = net.nodes[B].config().and_then(|config| config.remote_rtp);
        assert_eq!(seen, remote.map(|remote| remote.parse().expect("an address")), "{offer}");
    }
}

#[test]
fn a_decision_nobody_waits_for_leaves_no_call_behind_when_it_fails() {
    let own = || Decision::Accept { sdp: Some("nonsense".into()), headers: no_headers() };
    let header = || Decision::Accept { sdp: None, headers: vec![("Via".into(), "x".into())] };
    let cases: [(Decision, &str); 4] = [
        (own(), "SIP/2.0 488"),
        (header(), "SIP/2.0 500"),
        (reject(200, ""), "SIP/2.0 500"),
        (super::forward(&["?"]), "SIP/2.0 500"),
    ];
    for (decision, status) in cases {
        let mut net = pair();
        let mut phone = Phone::new(B);
        phone.invite(&mut net, "", &sdp(4000, 1, "sendrecv"));
        let session = net.nodes[B].incoming().expect("it arrived");
        let now = net.now;
        net.nodes[B].engine.handle_command(now, Command::Decide { token: Token(0), session: session.id, decision });
        net.run();
        phone.receive(&mut net, status);
        assert_eq!(session.state(), State::Rejected);
    }
}

#[test]
fn an_auto_answer_refuses_what_it_cannot_speak() {
    let mut net = with(Config { origin: Origin::Accept, ..config() });
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "", &sdp(4000, 1, "sendrecv").replace("RTP/AVP 0 8 101", "RTP/AVP 18"));
    phone.receive(&mut net, "SIP/2.0 488");
    assert_eq!(net.nodes[B].engine.directory().stats().active_sessions, 0);
}

#[test]
fn an_edited_answer_is_ours_and_any_other_is_external() {
    let mut net = pair();
    let (caller, called) = ringing(&mut net);
    let id = called.id;
    let offer = match &net.nodes[B].events[0] {
        Event::Incoming(call) => call.sdp.clone().expect("an offer"),
        other => panic!("{other:?}"),
    };
    let generated = net.ask(B, |token| Command::GenerateAnswer { token, session: id, offer });
    let Some(Ok(Reply::Text(answer))) = generated else { panic!("{generated:?}") };
    let edited = answer.replace("a=sendrecv", "a=sendonly") + "a=x-note:1\r\n";
    assert_ne!(edited, answer);
    decide(&mut net, B, &called, Decision::Accept { sdp: Some(edited.clone()), headers: no_headers() })
        .expect("accepted");
    assert_eq!(body(sent(&net, B, "SIP/2.0 200")[0]), edited);
    let config = net.nodes[B].config().expect("media is here");
    assert!(config.may_send && !config.may_receive);
    assert!(net.nodes[A].config().is_some_and(|config| !config.may_send));
    assert!(caller.remote_hold(), "it may not send");
    hang_up(&mut net, A, &caller);

    let (caller, called) = ringing(&mut net);
    let external = sdp(4000, 1, "sendrecv");
    decide(&mut net, B, &called, Decision::Accept { sdp: Some(external.clone()), headers: no_headers() })
        .expect("accepted");
    assert_eq!(body(sent(&net, B, "SIP/2.0 200").last().expect("a 200")), external);
    assert!(net.nodes[B].config().is_none() && net.nodes[B].ports().out.is_empty(), "no media here");
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn an_answer_that_does_not_fit_the_offer_is_refused_before_any_response() {
    let mut net = pair();
    let (caller, called) = ringing(&mut net);
    for wrong in ["", "v=0", "nonsense", &sdp(4000, 1, "sendrecv").replace("m=audio", "m=video")] {
        let result = decide(&mut net, B, &called, Decision::Accept { sdp: Some(wrong.into()), headers: no_headers() });
        assert!(matches!(result, Err(Error::Sdp(_))), "{wrong:?}");
    }
    assert_eq!(caller.state(), State::Initiating);
    decide(&mut net, B, &called, accept()).expect("still open");
    assert_eq!(caller.state(), State::Active);
}

#[test]
fn a_call_that_is_never_acknowledged_fails() {
    let mut net = pair();
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "", &sdp(4000, 1, "sendrecv"));
    let session = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &session, accept()).expect("accepted");
    net.advance(40 * SECOND);
    assert_eq!(session.state(), State::Failed);
    assert_eq!(net.nodes[B].engine.directory().stats().failed_sessions, 1);
    phone.receive(&mut net, "BYE ");
    net.assert_idle();
}

#[test]
fn a_long_call_ends_when_its_time_is_over() {
    let mut net = with(Config { session_timeout: Some(300 * SECOND), ..config() });
    let (caller, called) = answered(&mut net);
    net.advance(299 * SECOND);
    assert_eq!(called.state(), State::Active);
    net.advance(2 * SECOND);
    assert_eq!(end_of(&called), (State::Terminated, "timeout".into()));
    assert_eq!(end_of(&caller), (State::Terminated, "remote hangup".into()));
    net.assert_idle();
}

#[test]
fn calls_that_nobody_acknowledges_leave_sessions_to_others() {
    let mut net = with(Config { origin: Origin::Accept, max_sessions: 20, ..config() });
    let flooding = SocketAddr::from(([10, 9, 0, 7], 5060));
    let flood = |net: &mut Net, round: u32| {
        for n in 0..100 {
            let text = format!(
                "INVITE {} SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.0.7;branch=z9hG4bK-{round}-{n}\r\nMax-Forwards: 70\r\nFrom: <sip:a@10.9.0.7>;tag=a\r\n\
                 To: <{}>\r\nCall-ID: {round}-{n}\r\nCSeq: 1 INVITE\r\nContact: <sip:a@10.9.0.7>\r\nContent-Length: 0\r\n\r\n",
                uri(B),
                uri(B)
            );
            net.inject(B, flooding, &text);
        }
        net.nodes[B].engine.directory().stats().active_sessions
    };
    assert_eq!(flood(&mut net, 1), 12);
    let callers: Vec<_> = (0..8).map(|_| dial(&mut net, A, &uri(B))).collect();
    assert!(callers.iter().all(|caller| caller.state() == State::Active));
    assert_eq!(end_of(&dial(&mut net, A, &uri(B))).1, "rejected 503 Service Unavailable", "all are taken");
    assert_eq!(net.nodes[B].engine.counters().refused_full, 100 - 12 + 1);
    // RFC 3261 §13.3.1.4: after 64*T1 they are ended.
    net.advance(33 * SECOND);
    assert_eq!(net.nodes[B].engine.directory().stats().active_sessions, 8);
    assert_eq!(flood(&mut net, 2), 8 + 7);
    assert_eq!(dial(&mut net, A, &uri(B)).state(), State::Active);
}
