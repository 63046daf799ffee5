use super::*;
use crate::api::EndCause;
use ringback_ua::Transport;

/// A phone that is called by node A; its INVITE is returned.
fn calls_phone(net: &mut Net) -> (Phone, Arc<Session>, String) {
    let mut phone = Phone::new(A);
    let session = dial(net, A, "sip:phone@10.9.0.1");
    let invite = phone.receive(net, "INVITE ");
    (phone, session, invite)
}

#[test]
fn a_call_is_prepared_and_sent_later() {
    let mut net = pair();
    let command = |token| Command::CreateCall {
        token,
        from: "sip:alice@example.com".into(),
        to: format!("\"Bob\" <{};transport=udp>;tag=7", uri(B)),
        sdp: None,
        headers: vec![("X-Campaign".into(), "9".into())],
        send: false,
        options: CallOptions::default(),
    };
    let Some(Ok(Reply::Session(session))) = net.ask(A, command) else { panic!("no call") };
    assert_eq!((session.state(), &*session.to_uri), (State::Initiating, &*format!("{};transport=udp", uri(B))));
    assert!(net.nodes[A].sent.is_empty(), "nothing is sent");
    assert_eq!(net.nodes[A].engine.directory().active(), [session.id]);
    let id = session.id;
    let Some(Ok(Reply::Text(offer))) = net.ask(A, |token| Command::GenerateOffer { token, session: id }) else {
        panic!("no offer")
    };
    let edited = offer.clone() + "a=x-note:1\r\n";
    let sdp = Some(edited.clone());
    net.ask(A, |token| Command::SendPrepared { token, session: id, sdp }).expect("at once").expect("sent");
    let invite = sent(&net, A, "INVITE")[0];
    assert_eq!((header(invite, "X-Campaign"), body(invite)), (Some("9"), &*edited));
    let again = net.ask(A, |token| Command::SendPrepared { token, session: id, sdp: None });
    assert!(matches!(again, Some(Err(Error::InvalidState { state: State::Initiating, .. }))), "{again:?}");
    let called = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &called, accept()).expect("accepted");
    assert!(net.nodes[A].config().is_some(), "an edited offer is still ours");
    hang_up(&mut net, A, &session);
    net.assert_idle();
}

#[test]
fn a_prepared_call_is_given_up_without_a_word() {
    let mut net = pair();
    let command = |token| match create(token, &uri(B)) {
        Command::CreateCall { token, from, to, sdp, headers, .. } => {
            Command::CreateCall { token, from, to, sdp, headers, send: false, options: CallOptions::default() }
        }
        other => other,
    };
    let Some(Ok(Reply::Session(session))) = net.ask(A, command) else { panic!("no call") };
    hang_up(&mut net, A, &session);
    assert_eq!(end_of(&session), (State::Cancelled, "cancelled".into()));
    assert!(net.nodes[A].sent.is_empty());
    net.assert_idle();
}

/// A call that is created, and goes out upon `Launch`.
fn held_back(net: &mut Net, to: &str) -> Arc<Session> {
    let command = |token| match create(token, to) {
        Command::CreateCall { token, from, to, sdp, headers, send, .. } => {
            let options = CallOptions { held_back: true, ..CallOptions::default() };
            Command::CreateCall { token, from, to, sdp, headers, send, options }
        }
        other => other,
    };
    match net.ask(A, command) {
        Some(Ok(Reply::Session(session))) => session,
        other => panic!("no call: {other:?}"),
    }
}

fn launch(net: &mut Net, session: &Session) {
    let id = session.id;
    let result = net.ask(A, |token| Command::Launch { token, session: id });
    assert!(matches!(result, Some(Ok(Reply::Unit))), "{result:?}");
}

#[test]
fn a_call_goes_out_when_whoever_asked_has_it() {
    let mut net = pair();
    let session = held_back(&mut net, &uri(B));
    net.advance(100 * SECOND);
    assert!(session.state() == State::Initiating && net.nodes[A].sent.is_empty());
    let id = session.id;
    let prepared = net.ask(A, |token| Command::SendPrepared { token, session: id, sdp: None });
    assert!(matches!(prepared, Some(Err(Error::InvalidState { .. }))), "it is no prepared call: {prepared:?}");
    launch(&mut net, &session);
    let called = net.nodes[B].incoming().expect("it arrived");
    launch(&mut net, &session);
    assert_eq!(sent(&net, A, "INVITE").len(), 1, "once");
    decide(&mut net, B, &called, accept()).expect("accepted");
    hang_up(&mut net, A, &session);
    launch(&mut net, &session);
    net.assert_idle();
}

#[test]
fn a_call_given_up_before_it_went_out_sends_nothing() {
    let mut net = pair();
    for to in [uri(B), "sip:bob@slow.example".to_owned()] {
        let session = held_back(&mut net, &to);
        hang_up(&mut net, A, &session);
        launch(&mut net, &session);
        assert_eq!(end_of(&session), (State::Cancelled, "cancelled".into()));
    }
    assert!(net.nodes[A].sent.is_empty());
    net.assert_idle();
}

#[test]
fn a_stop_that_drains_lets_a_created_call_out_and_one_that_does_not_ends_it() {
    let mut net = pair();
    let session = held_back(&mut net, &uri(B));
    let draining = net.command(A, |token| Command::Stop { token, drain: 60 * SECOND });
    launch(&mut net, &session);
    let called = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &called, accept()).expect("accepted");
    hang_up(&mut net, A, &session);
    assert!(net.result(A, draining).is_some());

    let mut net = pair();
    let session = held_back(&mut net, &uri(B));
    net.command(A, |token| Command::Stop { token, drain: Duration::ZERO });
    launch(&mut net, &session);
    assert_eq!((session.state(), net.nodes[A].sent.len()), (State::Cancelled, 0));
}

#[test]
fn addresses_are_checked_and_the_error_names_what_is_wrong() {
    let mut net = pair();
    for bad in [
        "",
        "bob",
        "sip:",
        "sip:bob@",
        "http://example.com",
        "mailto:a@b",
        "sips:bob@10.0.0.2",
        "tel:+49123",
        "sip:bob@10.0.0.2:0",
        "sip:bob@10.0.0.2:99999",
        "sip:bob@10.0.0.2;transport=carrier-pigeon",
        "sip:bob@10.0.0.2\r\nVia: x",
        "sip:bob@10.0.0.2\0",
        "<sip:bob@10.0.0.2",
        "\"x <sip:bob@10.0.0.2>",
    ] {
        let result = net.ask(A, |token| create(token, bad));
        assert!(matches!(&result, Some(Err(Error::InvalidUri { why, .. })) if !why.is_empty()), "{bad:?}: {result:?}");
        let from = net.ask(A, |token| Command::CreateCall {
            token,
            from: if bad.starts_with("sips") || bad.starts_with("tel") || bad.contains(";tr") || bad.ends_with(":0") {
                "bad".into()
            } else {
                bad.into()
            },
            to: uri(B),
            sdp: None,
            headers: Vec::new(),
            send: true,
            options: CallOptions::default(),
        });
        assert!(matches!(from, Some(Err(Error::InvalidUri { .. }))), "{bad:?}: {from:?}");
    }
    let headers = vec![("Route".to_owned(), "<sip:evil@x;lr>".to_owned())];
    let smuggled = net.ask(A, |token| match create(token, &uri(B)) {
        Command::CreateCall { token, from, to, sdp, send, .. } => {
            Command::CreateCall { token, from, to, sdp, headers, send, options: CallOptions::default() }
        }
        other => other,
    });
    assert!(matches!(smuggled, Some(Err(Error::InvalidHeader(_)))));
    assert_eq!(net.nodes[A].engine.directory().stats().total_sessions, 0);
    net.assert_idle();
}

#[test]
fn from_without_a_user_gets_ours() {
    let mut net = pair();
    let command = |token| Command::CreateCall {
        token,
        from: "\"Desk\" <sip:example.com>".into(),
        to: uri(B),
        sdp: None,
        headers: Vec::new(),
        send: true,
        options: CallOptions::default(),
    };
    let Some(Ok(Reply::Session(session))) = net.ask(A, command) else { panic!("no call") };
    assert_eq!(&*session.from_uri, "sip:ringback@example.com");
    assert_eq!(net.nodes[B].incoming().map(|called| called.from_uri.to_string()), Some(session.from_uri.to_string()));
}

#[test]
fn used_up_resources_are_an_error_going_out() {
    let mut net = pair();
    net.nodes[A].ports().most = 1;
    dial(&mut net, A, &uri(B));
    let result = net.ask(A, |token| create(token, &uri(B)));
    assert!(matches!(result, Some(Err(Error::ResourceExhausted("No available RTP ports")))), "{result:?}");

    let mut net = Net::default();
    net.add(Config { max_sessions: 1, ..config() });
    net.add(config());
    dial(&mut net, A, &uri(B));
    let result = net.ask(A, |token| create(token, &uri(B)));
    assert!(matches!(result, Some(Err(Error::ResourceExhausted("Maximum sessions reached")))), "{result:?}");
}

#[test]
fn progress_is_told_with_its_description_but_not_without_bound() {
    let mut net = pair();
    let (mut phone, session, invite) = calls_phone(&mut net);
    phone.reply(&mut net, &invite, "100 Trying", "", "");
    assert_eq!(session.state(), State::Initiating, "100 says nothing");
    phone.reply(&mut net, &invite, "180 Ringing", "", "");
    phone.reply(&mut net, &invite, "183 Session Progress", "", &sdp(4000, 1, "sendrecv"));
    assert_eq!(story(&net, A, session.id), ["ringing", "progress 180", "progress 183 sdp"]);
    assert!(net.nodes[A].config().is_some(), "early media");
    for n in 0..1000 {
        phone.reply(&mut net, &invite, &format!("180 Ringing {n}"), "", "");
    }
    assert!(story(&net, A, session.id).len() <= 40, "a flood is thinned");
    phone.reply(&mut net, &invite, "200 OK", "", "");
    assert_eq!(session.state(), State::Active, "the answer was in the 183");
    phone.receive(&mut net, "ACK ");
    hang_up(&mut net, A, &session);
}

#[test]
fn an_early_leg_follows_the_last_description() {
    let mut net = pair();
    let (mut phone, _, invite) = calls_phone(&mut net);
    phone.reply(&mut net, &invite, "183 Session Progress", "", &sdp(4000, 1, "sendrecv"));
    phone.reply(&mut net, &invite, "183 Session Progress", "", &sdp(4002, 2, "sendrecv"));
    let remote = |net: &Net| net.nodes[A].config().and_then(|config| config.remote_rtp).map(|remote| remote.port());
    assert_eq!(remote(&net), Some(4002));
    phone.reply(&mut net, &invite, "200 OK", "", &sdp(4004, 3, "sendrecv"));
    assert_eq!(remote(&net), Some(4004));
}

#[test]
fn a_bad_answer_is_acknowledged_and_ended() {
    for answer in ["", "v=0\r\nnonsense", &sdp(0, 1, "sendrecv"), &sdp(4000, 1, "sendrecv").replace("0 8 101", "18")] {
        let mut net = pair();
        let (mut phone, session, invite) = calls_phone(&mut net);
        phone.reply(&mut net, &invite, "200 OK", "", answer);
        phone.receive(&mut net, "ACK ");
        let bye = phone.receive(&mut net, "BYE ");
        phone.reply(&mut net, &bye, "200 OK", "", "");
        assert_eq!(session.state(), State::Failed, "{answer:?}");
        assert_eq!(story(&net, A, session.id), ["failed", "ended"]);
        net.assert_idle();
    }
}

#[test]
fn a_redirection_tells_its_targets() {
    let mut net = pair();
    let (mut phone, session, invite) = calls_phone(&mut net);
    let contacts = "Contact: <sip:a@10.9.0.3>;q=0.5, \"B\" <sip:b@10.9.0.4>\r\n";
    let reply = format!(
        "SIP/2.0 302 Moved Temporarily\r\n{}\r\nFrom: {}\r\nTo: {};tag=x\r\nCall-ID: {}\r\nCSeq: 1 INVITE\r\n{contacts}Content-Length: 0\r\n\r\n",
        invite.lines().find(|line| line.starts_with("Via:")).expect("a Via"),
        header(&invite, "From").expect("a From"),
        header(&invite, "To").expect("a To"),
        header(&invite, "Call-ID").expect("a Call-ID"),
    );
    net.inject(A, phone.address, &reply);
    phone.receive(&mut net, "ACK ");
    let end = session.end().expect("an end");
    assert_eq!(end.reason, "rejected 302 Moved Temporarily");
    let EndCause::Rejected { status: 302, targets, .. } = &end.cause else { panic!("{:?}", end.cause) };
    assert_eq!(*targets, ["sip:a@10.9.0.3", "sip:b@10.9.0.4"]);
}

#[test]
fn nobody_answers() {
    let mut net = pair();
    let session = dial(&mut net, A, "sip:nobody@10.9.9.9");
    net.advance(31 * SECOND);
    assert_eq!(session.state(), State::Initiating);
    net.advance(2 * SECOND);
    assert_eq!(session.state(), State::Failed);
    let EndCause::Failed { status, .. } = &session.end().expect("an end").cause else { panic!("not failed") };
    assert_eq!(*status, Some(408));
    assert_eq!(story(&net, A, session.id), ["failed", "ended"]);
    net.assert_idle();
}

#[test]
fn a_host_that_refuses_is_a_failure_at_once() {
    let mut net = pair();
    let session = dial(&mut net, A, "sip:x@10.9.9.9");
    let now = net.now;
    let remote = "10.9.9.9:5060".parse().expect("an address");
    net.nodes[A].engine.handle_send_failed(now, Transport::Udp, remote, "connection refused");
    net.run();
    assert_eq!(session.state(), State::Failed);
    assert!(end_of(&session).1.contains("connection refused"), "{}", end_of(&session).1);
    net.assert_idle();
}

#[test]
fn it_rings_and_nobody_ever_speaks() {
    let mut net = pair();
    let (mut phone, session, invite) = calls_phone(&mut net);
    phone.reply(&mut net, &invite, "180 Ringing", "", "");
    net.advance(190 * SECOND);
    phone.reply(&mut net, &invite, "180 Still ringing", "", "");
    net.advance(190 * SECOND);
    assert_eq!(session.state(), State::Ringing);
    net.advance(20 * SECOND);
    assert_eq!(session.state(), State::Failed);
    phone.receive(&mut net, "CANCEL ");
    net.advance(64 * SECOND);
    net.assert_idle();
}

#[test]
fn a_call_that_is_only_tried_is_given_up() {
    let mut net = pair();
    let (mut phone, session, invite) = calls_phone(&mut net);
    phone.reply(&mut net, &invite, "100 Trying", "", "");
    net.advance(199 * SECOND);
    assert_eq!(session.state(), State::Initiating);
    net.advance(2 * SECOND);
    assert_eq!(session.state(), State::Failed);
    phone.receive(&mut net, "CANCEL ");
    net.advance(64 * SECOND);
    net.assert_idle();
}

#[test]
fn a_call_is_cancelled_once_it_rings() {
    let mut net = pair();
    let (mut phone, session, invite) = calls_phone(&mut net);
    let id = session.id;
    let reason = Some("Changed \"my\" mind".to_owned());
    net.ask(A, |token| Command::Hangup { token, session: id, reason }).expect("at once").expect("done");
    assert_eq!(end_of(&session), (State::Cancelled, "Changed \"my\" mind".into()));
    assert_eq!(net.nodes[A].engine.directory().stats().active_sessions, 0, "final at once");
    assert!(phone.nothing(&net, "CANCEL"), "RFC 3261 §9.1: not before a provisional response");
    phone.reply(&mut net, &invite, "180 Ringing", "", "");
    let cancel = phone.receive(&mut net, "CANCEL ");
    assert_eq!(header(&cancel, "Reason"), Some("Q.850;cause=16;text=\"Changed \\\"my\\\" mind\""));
    phone.reply(&mut net, &cancel, "200 OK", "", "");
    phone.reply(&mut net, &invite, "487 Request Terminated", "", "");
    phone.receive(&mut net, "ACK ");
    assert_eq!(story(&net, A, id), ["cancelled", "ended"], "nothing after the end");
    net.assert_idle();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut net = pair();
    let (mut phone, session, invite) = calls_phone(&mut net);
    phone.reply(&mut net, &invite, "180 Ringing", "", "");
    hang_up(&mut net, A, &session);
    phone.reply(&mut net, &invite, "200 OK", "", &sdp(4000, 1, "sendrecv"));
    phone.receive(&mut net, "ACK ");
    let bye = phone.receive(&mut net, "BYE ");
    phone.reply(&mut net, &bye, "200 OK", "", "");
    assert_eq!(end_of(&session), (State::Cancelled, "cancelled".into()));
    assert!(net.nodes[A].config().is_none(), "no leg came of it");
    net.assert_idle();
}

#[test]
fn hanging_up_twice_is_no_error() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    hang_up(&mut net, A, &caller);
    hang_up(&mut net, A, &caller);
    hang_up(&mut net, B, &called);
    let unknown = SessionId::from_u128(99);
    let result = net.ask(A, |token| Command::Hangup { token, session: unknown, reason: None });
    assert!(matches!(result, Some(Err(Error::SessionNotFound(id))) if id == unknown));
    net.assert_idle();
}

#[test]
fn a_reason_goes_into_the_bye() {
    let mut net = pair();
    let (caller, _) = answered(&mut net);
    let id = caller.id;
    net.ask(A, |token| Command::Hangup { token, session: id, reason: Some("Agent left".into()) });
    assert_eq!(end_of(&caller), (State::Terminated, "Agent left".into()));
    assert_eq!(header(sent(&net, A, "BYE")[0], "Reason"), Some("Q.850;cause=16;text=\"Agent left\""));
    let (caller, _) = answered(&mut net);
    let id = caller.id;
    let smuggled = net.ask(A, |token| Command::Hangup { token, session: id, reason: Some("a\r\nb".into()) });
    assert!(matches!(smuggled, Some(Err(Error::InvalidHeader(_)))));
    assert_eq!(caller.state(), State::Active);
}

#[test]
fn own_media_going_out() {
    let mut net = pair();
    let own = sdp(4000, 1, "sendrecv");
    let offer = own.clone();
    let command = |token| match create(token, &uri(B)) {
        Command::CreateCall { token, from, to, headers, send, .. } => {
            Command::CreateCall { token, from, to, sdp: Some(offer), headers, send, options: CallOptions::default() }
        }
        other => other,
    };
    let Some(Ok(Reply::Session(session))) = net.ask(A, command) else { panic!("no call") };
    assert!(net.nodes[A].ports().out.is_empty(), "no port is taken");
    assert_eq!(body(sent(&net, A, "INVITE")[0]), own);
    let called = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &called, accept()).expect("accepted");
    assert_eq!(session.state(), State::Active);
    assert!(net.nodes[A].config().is_none());
    let bad = net.ask(A, |token| Command::CreateCall {
        token,
        from: "sip:a@b.example".into(),
        to: uri(B),
        sdp: Some("nonsense".into()),
        headers: Vec::new(),
        send: true,
        options: CallOptions::default(),
    });
    assert!(matches!(bad, Some(Err(Error::Sdp(_)))));
    hang_up(&mut net, A, &session);
    net.assert_idle();
}

#[test]
fn a_name_is_looked_up_before_our_address_is_told() {
    let mut net = pair();
    let session = dial(&mut net, A, "sip:bob@pbx.example:5070");
    assert!(net.nodes[A].sent.is_empty());
    let answer = |net: &mut Net| {
        let (id, host, port) = net.nodes[A].resolves.pop().expect("a look-up");
        assert_eq!((&*host, port), ("pbx.example", 5070));
        let now = net.now;
        net.nodes[A].engine.handle_resolved(now, id, Ok(vec!["10.0.0.2:5060".parse().expect("an address")]));
        net.run();
    };
    answer(&mut net);
    // `ua` looks it up for itself.
    answer(&mut net);
    assert!(body(sent(&net, A, "INVITE")[0]).contains("c=IN IP4 10.0.0.1"));
    let called = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &called, accept()).expect("accepted");
    assert_eq!(session.state(), State::Active);
    hang_up(&mut net, A, &session);

    let session = dial(&mut net, A, "sip:bob@nowhere.example");
    for _ in 0..2 {
        let Some((id, _, _)) = net.nodes[A].resolves.pop() else { break };
        let now = net.now;
        net.nodes[A].engine.handle_resolved(now, id, Err("no such host".into()));
        net.run();
    }
    assert_eq!(session.state(), State::Failed);
    assert!(end_of(&session).1.contains("no such host"), "{}", end_of(&session).1);
    // Given up while its name is looked up.
    let session = dial(&mut net, A, "sip:bob@slow.example");
    hang_up(&mut net, A, &session);
    let (id, _, _) = net.nodes[A].resolves.pop().expect("a look-up");
    let now = net.now;
    net.nodes[A].engine.handle_resolved(now, id, Err("late".into()));
    net.assert_idle();
}

#[test]
fn an_offer_waits_for_the_look_up() {
    let mut net = pair();
    let command = |token| Command::CreateCall {
        token,
        from: "sip:a@b.example".into(),
        to: "sip:bob@pbx.example".into(),
        sdp: None,
        headers: Vec::new(),
        send: false,
        options: CallOptions::default(),
    };
    let Some(Ok(Reply::Session(session))) = net.ask(A, command) else { panic!("no call") };
    let id = session.id;
    let token = net.command(A, |token| Command::GenerateOffer { token, session: id });
    let dropped = net.command(A, |token| Command::GenerateOffer { token, session: id });
    assert!(net.result(A, token).is_none());
    let (resolve, _, _) = net.nodes[A].resolves.pop().expect("a look-up");
    let now = net.now;
    net.nodes[A].engine.handle_resolved(now, resolve, Ok(vec!["10.0.0.2:5060".parse().expect("an address")]));
    net.run();
    for token in [token, dropped] {
        let Some(Ok(Reply::Text(offer))) = net.result(A, token) else { panic!("no offer") };
        assert!(offer.contains("c=IN IP4 10.0.0.1"));
    }
    hang_up(&mut net, A, &session);
    net.assert_idle();
}

#[test]
fn an_answer_from_where_there_is_no_way_to_ends_the_call() {
    for address in ["IN IP6 2001:db8::1", "IN IP4 255.255.255.255", "IN IP4 224.2.1.1"] {
        let mut net = pair();
        let mut phone = Phone::new(B);
        let session = dial(&mut net, B, "sip:phone@10.9.0.1");
        let invite = phone.receive(&mut net, "INVITE ");
        let answer = sdp(4000, 1, "sendrecv").replace("c=IN IP4 10.9.0.1", &format!("c={address}"));
        phone.reply(&mut net, &invite, "200 OK", "", &answer);
        phone.receive(&mut net, "ACK ");
        let bye = phone.receive(&mut net, "BYE ");
        phone.reply(&mut net, &bye, "200 OK", "", "");
        assert_eq!(session.state(), State::Failed, "{address}");
        net.assert_idle();
    }
}
