use super::*;

const RELIABLE: &str = "Require: 100rel\r\nRSeq: 1\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n";

/// A phone that is called by node A with these options; its INVITE is returned.
fn calls_phone(net: &mut Net, options: CallOptions) -> (Phone, Arc<Session>, String) {
    let mut phone = Phone::new(A);
    let command = |token| match create(token, "sip:phone@10.9.0.1") {
        Command::CreateCall { token, from, to, sdp, headers, send, .. } => {
            Command::CreateCall { token, from, to, sdp, headers, send, options }
        }
        other => other,
    };
    let Some(Ok(Reply::Session(session))) = net.ask(A, command) else { panic!("no call") };
    let invite = phone.receive(net, "INVITE ");
    (phone, session, invite)
}

fn late() -> CallOptions {
    CallOptions { late_offer: true, ..CallOptions::default() }
}

fn remote_port(net: &Net, node: usize) -> Option<u16> {
    net.nodes[node].config().and_then(|config| config.remote_rtp).map(|remote| remote.port())
}

/// The phone's next response is another fork's.
fn as_fork(response: &str, tag: &str) -> String {
    response.replace(";tag=phone", &format!(";tag={tag}"))
}

#[test]
fn early_media_comes_from_the_fork_that_spoke_last_and_the_answer_decides() {
    let mut net = pair();
    let (mut phone, session, invite) = calls_phone(&mut net, CallOptions::default());
    let forked =
        |tag: &str| as_fork(&invite.replace("To: <sip:phone@10.9.0.1>", "To: <sip:phone@10.9.0.1>;tag=phone"), tag);
    for (tag, port) in [("one", 4001), ("two", 4002), ("one", 4001), ("two", 4002)] {
        phone.reply(&mut net, &forked(tag), "180 Ringing", "", "");
        phone.reply(&mut net, &forked(tag), "183 Session Progress", "", &sdp(port, 1, "sendrecv"));
    }
    assert_eq!(remote_port(&net, A), Some(4002));
    // RFC 6228: the last one is gone; RFC 3261 §13.2.2.4: the other answers, without saying it all again.
    phone.reply(&mut net, &forked("two"), "199 Early Dialog Terminated", "", "");
    assert_eq!(session.state(), State::Ringing);
    phone.reply(&mut net, &forked("one"), "200 OK", "", "");
    assert_eq!((session.state(), remote_port(&net, A)), (State::Active, Some(4001)));
    phone.receive(&mut net, "ACK ");
    let progress: Vec<String> = story(&net, A, session.id).into_iter().filter(|name| name.contains("199")).collect();
    assert!(progress.is_empty());
}

#[test]
fn an_answer_that_arrived_is_not_read_again() {
    let mut net = pair();
    let (mut phone, session, invite) = calls_phone(&mut net, CallOptions::default());
    phone.reply(&mut net, &invite, "183 Session Progress", RELIABLE, &sdp(4001, 1, "sendrecv"));
    let prack = phone.receive(&mut net, "PRACK ");
    phone.reply(&mut net, &prack, "200 OK", "", "");
    // The peer moves its early media.
    phone.request(&mut net, "UPDATE", "", &sdp(4002, 2, "sendrecv"), "application/sdp");
    let answer = phone.receive(&mut net, "SIP/2.0 200");
    assert!(body(&answer).contains("m=audio"));
    assert_eq!(remote_port(&net, A), Some(4002));
    phone.reply(&mut net, &invite, "200 OK", "", &sdp(4001, 1, "sendrecv"));
    assert_eq!((session.state(), remote_port(&net, A)), (State::Active, Some(4002)));
}

#[test]
fn early_media_of_ours_is_updated_and_the_200_says_nothing_more() {
    let mut net = pair();
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "Supported: 100rel\r\n", &sdp(4001, 1, "sendrecv"));
    let session = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &session, Decision::Progress { sdp: None }).expect("progress");
    let early = phone.receive(&mut net, "SIP/2.0 183");
    let rack = format!("RAck: {} 1 INVITE\r\n", header(&early, "RSeq").expect("reliable"));
    phone.request(&mut net, "PRACK", &rack, "", "");
    phone.receive(&mut net, "SIP/2.0 200");
    phone.request(&mut net, "UPDATE", "", &sdp(4002, 2, "sendonly"), "application/sdp");
    let answer = phone.receive(&mut net, "SIP/2.0 200");
    assert!(body(&answer).contains("a=recvonly") && session.remote_hold());
    assert_eq!(remote_port(&net, B), Some(4002));
    decide(&mut net, B, &session, accept()).expect("accepted");
    let ok = phone.receive(&mut net, "SIP/2.0 200");
    assert_eq!((header(&ok, "CSeq"), body(&ok)), (Some("1 INVITE"), ""));
    assert_eq!(session.state(), State::Active);
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut net = pair();
    let (mut phone, session, invite) = calls_phone(&mut net, late());
    assert_eq!(body(&invite), "");
    phone.reply(&mut net, &invite, "180 Ringing", "", "");
    phone.reply(&mut net, &invite, "200 OK", "", &sdp(4001, 1, "sendrecv"));
    let ack = phone.receive(&mut net, "ACK ");
    assert!(body(&ack).contains("m=audio") && body(&ack).contains("RTP/AVP 0 8 101"));
    assert_eq!((session.state(), remote_port(&net, A)), (State::Active, Some(4001)));
    assert_eq!(story(&net, A, session.id), ["ringing", "progress 180", "active", "established"]);
    // The other way round it is a call as any.
    hang_up(&mut net, A, &session);
    let bye = phone.receive(&mut net, "BYE ");
    phone.reply(&mut net, &bye, "200 OK", "", "");
    net.assert_idle();

    let mut net = pair();
    let command = |token| match create(token, &uri(B)) {
        Command::CreateCall { token, from, to, sdp, headers, send, .. } => {
            Command::CreateCall { token, from, to, sdp, headers, send, options: late() }
        }
        other => other,
    };
    let Some(Ok(Reply::Session(session))) = net.ask(A, command) else { panic!("no call") };
    let called = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &called, accept()).expect("accepted");
    assert_eq!((session.state(), called.state()), (State::Active, State::Active));
    assert!(net.nodes[A].config().is_some_and(|config| config.may_send && config.may_receive));
    assert!(net.nodes[B].config().is_some_and(|config| config.may_send && config.may_receive));
}

#[test]
fn a_late_offer_that_cannot_be_met_ends_the_call() {
    for offer in ["", "nonsense", &sdp(4001, 1, "sendrecv").replace("RTP/AVP 0 8 101", "RTP/AVP 18")] {
        let mut net = pair();
        let (mut phone, session, invite) = calls_phone(&mut net, late());
        phone.reply(&mut net, &invite, "200 OK", "", offer);
        phone.receive(&mut net, "ACK ");
        phone.receive(&mut net, "BYE ");
        assert_eq!(session.state(), State::Failed, "{offer}");
    }
    let mut net = pair();
    let both = net.ask(A, |token| Command::CreateCall {
        token,
        from: "sip:a@example.com".into(),
        to: uri(B),
        sdp: Some(sdp(4000, 1, "sendrecv")),
        headers: Vec::new(),
        send: true,
        options: late(),
    });
    assert!(matches!(both, Some(Err(Error::BadValue(_)))));
}

#[test]
fn a_late_offer_in_a_provisional_response_is_answered_in_the_prack() {
    let mut net = pair();
    let (mut phone, session, invite) = calls_phone(&mut net, late());
    phone.reply(&mut net, &invite, "183 Session Progress", RELIABLE, &sdp(4001, 1, "sendrecv"));
    let prack = phone.receive(&mut net, "PRACK ");
    assert!(body(&prack).contains("m=audio"));
    assert_eq!(remote_port(&net, A), Some(4001), "early media is heard");
    phone.reply(&mut net, &prack, "200 OK", "", "");
    phone.reply(&mut net, &invite, "200 OK", "", "");
    assert_eq!(body(&phone.receive(&mut net, "ACK ")), "");
    assert_eq!(session.state(), State::Active);

    // Ours, where the INVITE had none.
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "Supported: 100rel\r\n", "");
    let session = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &session, Decision::Progress { sdp: None }).expect("progress");
    let early = phone.receive(&mut net, "SIP/2.0 183");
    assert!(body(&early).contains("m=audio"));
    let rack = format!("RAck: {} 1 INVITE\r\n", header(&early, "RSeq").expect("reliable"));
    phone.request(&mut net, "PRACK", &rack, &sdp(4007, 1, "sendrecv"), "application/sdp");
    assert_eq!(remote_port(&net, B), Some(4007));
    phone.receive(&mut net, "SIP/2.0 200");
    decide(&mut net, B, &session, accept()).expect("accepted");
    assert_eq!(body(&phone.receive(&mut net, "SIP/2.0 200")), "");
    phone.ack(&mut net, "");
    assert_eq!(session.state(), State::Active);
}

#[test]
fn where_it_is_required_the_first_response_has_our_offer() {
    let mut net = pair();
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "Require: 100rel\r\n", "");
    let session = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &session, Decision::Defer).expect("deferred");
    let ringing = phone.receive(&mut net, "SIP/2.0 180");
    assert!(body(&ringing).contains("m=audio"), "RFC 3262 §5");
    // A PRACK without the answer ends it.
    let rack = format!("RAck: {} 1 INVITE\r\n", header(&ringing, "RSeq").expect("reliable"));
    phone.request(&mut net, "PRACK", &rack, "", "");
    phone.receive(&mut net, "SIP/2.0 488");
    assert_eq!(session.state(), State::Rejected);
}

#[test]
fn without_a_prack_the_caller_is_refused_and_the_call_has_failed() {
    let mut net = pair();
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "Supported: 100rel\r\n", &sdp(4001, 1, "sendrecv"));
    let session = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &session, Decision::Progress { sdp: None }).expect("progress");
    net.advance(33 * SECOND);
    phone.receive(&mut net, "SIP/2.0 504");
    assert_eq!(session.state(), State::Failed);
    assert_eq!(story(&net, B, session.id), ["incoming", "ringing", "over", "failed", "ended"]);
}

#[test]
fn a_session_that_nobody_refreshes_ends_as_a_timeout() {
    let mut net = pair();
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "Supported: timer\r\nSession-Expires: 90\r\n", &sdp(4001, 1, "sendrecv"));
    let session = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &session, accept()).expect("accepted");
    let ok = phone.receive(&mut net, "SIP/2.0 200");
    assert_eq!(header(&ok, "Session-Expires"), Some("90;refresher=uac"));
    phone.ack(&mut net, "");
    net.advance(91 * SECOND);
    phone.receive(&mut net, "BYE ");
    assert_eq!(end_of(&session), (State::Terminated, "timeout".into()));
}

#[test]
fn a_refresh_by_re_invite_changes_nothing_and_a_hold_waits_for_it() {
    let mut net = with(Config { session_expires: Some(100 * SECOND), ..config() });
    let (mut phone, session) = phone_calls(&mut net);
    let before = body(sent(&net, B, "SIP/2.0 200")[0]).to_owned();
    net.advance(51 * SECOND);
    let invite = phone.receive(&mut net, "INVITE ");
    assert_eq!(body(&invite), before, "RFC 4028 §7.4: the same description, the same version");
    let id = session.id;
    let hold = net.command(B, |token| Command::Hold { token, session: id });
    assert!(net.result(B, hold).is_none());
    let second = net.ask(B, |token| Command::Hold { token, session: id });
    assert!(matches!(second, Some(Err(Error::InvalidState { .. }))));
    phone.reply(&mut net, &invite, "200 OK", "", &sdp(4000, 1, "sendrecv"));
    phone.receive(&mut net, "ACK ");
    let invite = phone.receive(&mut net, "INVITE ");
    assert!(body(&invite).contains("a=sendonly"));
    phone.reply(&mut net, &invite, "200 OK", "", &sdp(4000, 2, "recvonly"));
    assert!(matches!(net.result(B, hold), Some(Ok(Reply::Unit))));
    assert_eq!(session.state(), State::OnHold);
}

#[test]
fn a_redirection_is_followed_where_that_is_asked_for() {
    let mut net = pair();
    let options = CallOptions { max_redirects: 2, ..CallOptions::default() };
    let (mut phone, session, invite) = calls_phone(&mut net, options);
    let contact = format!("Contact: <{}>\r\n", uri(B));
    let response = "302 Moved Temporarily";
    phone.reply(&mut net, &invite, response, &contact, "");
    // The phone names itself first, with a port this time, and is not there; then the other.
    let again = phone.receive(&mut net, "INVITE ");
    assert_eq!(header(&again, "CSeq"), Some("2 INVITE"));
    phone.reply(&mut net, &again, "404 Not Found", "", "");
    let called = net.nodes[B].incoming().expect("it arrived there");
    decide(&mut net, B, &called, accept()).expect("accepted");
    assert_eq!(session.state(), State::Active);
    assert_eq!(called.call_id, session.call_id);
    hang_up(&mut net, A, &session);
    assert_eq!(called.state(), State::Terminated);
}
