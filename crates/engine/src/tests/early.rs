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

fn reoffer(net: &mut Net, node: usize, session: &Session) -> Token {
    let id = session.id;
    net.command(node, |token| Command::Reoffer { token, session: id, sdp: None })
}

fn refused(net: &mut Net, node: usize, session: &Session) -> Option<Result<Reply, Error>> {
    let token = reoffer(net, node, session);
    net.result(node, token)
}

fn is_unfit(result: Option<Result<Reply, Error>>) -> bool {
    matches!(result, Some(Err(Error::InvalidState { .. })))
}

/// Node A has called the phone, which has answered the offer in a response that arrived.
fn early_call(net: &mut Net, headers: &str) -> (Phone, Arc<Session>, String) {
    let (mut phone, session, invite) = calls_phone(net, CallOptions::default());
    assert!(is_unfit(refused(net, A, &session)), "nothing is settled yet");
    phone.reply(net, &invite, "183 Session Progress", headers, &sdp(4001, 1, "sendrecv"));
    if headers.contains("100rel") {
        let prack = phone.receive(net, "PRACK ");
        phone.reply(net, &prack, "200 OK", "", "");
    }
    (phone, session, invite)
}

#[test]
fn a_caller_offers_anew_before_the_answer_by_update() {
    // How the UPDATE ends, and what the 200 to the INVITE says.
    for (status, port, last) in [("200 OK", 4002, ""), ("488 No", 4001, ""), ("200 OK", 4002, "old")] {
        let mut net = pair();
        let (mut phone, session, invite) = early_call(&mut net, RELIABLE);
        let token = reoffer(&mut net, A, &session);
        let update = phone.receive(&mut net, "UPDATE ");
        assert!(body(&update).contains("m=audio"));
        assert!(is_unfit(refused(&mut net, A, &session)), "one at a time");
        let answer = if status == "200 OK" { sdp(4002, 2, "sendrecv") } else { String::new() };
        phone.reply(&mut net, &update, status, "", &answer);
        match net.result(A, token) {
            Some(Ok(Reply::Unit)) => assert_eq!(status, "200 OK"),
            Some(Err(Error::Refused { status: 488, .. })) => assert_eq!(status, "488 No"),
            other => panic!("{other:?}"),
        }
        assert_eq!(remote_port(&net, A), Some(port));
        let said = if last == "old" { sdp(4001, 1, "sendrecv") } else { String::new() };
        phone.reply(&mut net, &invite, "200 OK", "", &said);
        phone.receive(&mut net, "ACK ");
        assert_eq!((session.state(), remote_port(&net, A)), (State::Active, Some(port)), "{status} {last}");
        // The next one is a re-INVITE.
        reoffer(&mut net, A, &session);
        phone.receive(&mut net, "INVITE ");
    }
}

#[test]
fn an_update_that_the_answer_overtakes_comes_to_its_end() {
    for other_fork in [false, true] {
        let mut net = pair();
        let (mut phone, session, invite) = early_call(&mut net, RELIABLE);
        let token = reoffer(&mut net, A, &session);
        let update = phone.receive(&mut net, "UPDATE ");
        if other_fork {
            let forked =
                as_fork(&invite.replace("To: <sip:phone@10.9.0.1>", "To: <sip:phone@10.9.0.1>;tag=phone"), "two");
            phone.reply(&mut net, &forked, "200 OK", "", &sdp(4009, 1, "sendrecv"));
            assert!(matches!(net.result(A, token), Some(Err(Error::Refused { status: 481, .. }))));
            assert_eq!(remote_port(&net, A), Some(4009));
        } else {
            phone.reply(&mut net, &invite, "200 OK", "", "");
            assert!(net.result(A, token).is_none());
            phone.reply(&mut net, &update, "200 OK", "", &sdp(4002, 2, "sendrecv"));
            assert!(matches!(net.result(A, token), Some(Ok(Reply::Unit))));
            assert_eq!(remote_port(&net, A), Some(4002));
        }
        assert_eq!(session.state(), State::Active);
        hang_up(&mut net, A, &session);
        while let Some((to, message)) = net.outside.pop_front() {
            if to == phone.address && message.starts_with("BYE ") {
                phone.reply(&mut net, &message, "200 OK", "", "");
            }
        }
        net.assert_idle();
    }
}

#[test]
fn the_end_of_the_call_ends_an_update_of_before() {
    for by_us in [false, true] {
        let mut net = pair();
        let (mut phone, session, invite) = early_call(&mut net, RELIABLE);
        let token = reoffer(&mut net, A, &session);
        if by_us {
            hang_up(&mut net, A, &session);
        } else {
            phone.reply(&mut net, &invite, "486 Busy Here", "", "");
        }
        assert!(matches!(net.result(A, token), Some(Err(Error::Ended(_)))), "{by_us}");
        assert!(session.state().is_final());
        net.advance(200 * SECOND);
        net.assert_idle();
    }
}

#[test]
fn without_an_answer_that_arrived_or_a_peer_that_takes_update_there_is_no_offer_before_the_answer() {
    for headers in ["", "Allow: INVITE, UPDATE\r\n", "Require: 100rel\r\nRSeq: 1\r\nAllow: INVITE\r\n"] {
        let mut net = pair();
        let (_, session, _) = early_call(&mut net, headers);
        assert!(is_unfit(refused(&mut net, A, &session)), "{headers}");
        let id = session.id;
        assert!(is_unfit(net.ask(A, |token| Command::Hold { token, session: id })));
    }
}

#[test]
fn the_called_side_offers_anew_before_its_answer() {
    let mut net = pair();
    let mut phone = Phone::new(B);
    let allow = "Supported: 100rel\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n";
    phone.invite(&mut net, allow, &sdp(4001, 1, "sendrecv"));
    let session = net.nodes[B].incoming().expect("it arrived");
    assert!(is_unfit(refused(&mut net, B, &session)), "nothing is said yet");
    decide(&mut net, B, &session, Decision::Progress { sdp: None }).expect("progress");
    let early = phone.receive(&mut net, "SIP/2.0 183");
    let rack = format!("RAck: {} 1 INVITE\r\n", header(&early, "RSeq").expect("reliable"));
    phone.request(&mut net, "PRACK", &rack, "", "");
    phone.receive(&mut net, "SIP/2.0 200");
    let token = reoffer(&mut net, B, &session);
    let update = phone.receive(&mut net, "UPDATE ");
    assert!(body(&update).contains("m=audio"));
    phone.reply(&mut net, &update, "200 OK", "", &sdp(4002, 2, "sendrecv"));
    assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))));
    assert_eq!(remote_port(&net, B), Some(4002));
    decide(&mut net, B, &session, accept()).expect("accepted");
    let ok = phone.receive(&mut net, "SIP/2.0 200");
    assert_eq!((header(&ok, "CSeq"), body(&ok)), (Some("1 INVITE"), ""));
    assert_eq!((session.state(), remote_port(&net, B)), (State::Active, Some(4002)));
}

#[test]
fn an_update_before_the_answer_that_nobody_answers_harms_no_call_of_ours() {
    let mut net = pair();
    let (mut phone, session, invite) = early_call(&mut net, RELIABLE);
    let token = reoffer(&mut net, A, &session);
    net.advance(33 * SECOND);
    assert!(matches!(net.result(A, token), Some(Err(Error::Refused { status: 408, .. }))));
    assert_eq!(session.state(), State::Ringing, "another may answer");
    assert!(phone.nothing(&net, "BYE ") && phone.nothing(&net, "CANCEL "));
    phone.reply(&mut net, &invite, "200 OK", "", "");
    assert_eq!((session.state(), remote_port(&net, A)), (State::Active, Some(4001)));
    hang_up(&mut net, A, &session);
    net.advance(200 * SECOND);
    net.assert_idle();

    // The caller that says nothing within its dialog has gone.
    let mut net = pair();
    let mut phone = Phone::new(B);
    let allow = "Supported: 100rel\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n";
    phone.invite(&mut net, allow, &sdp(4001, 1, "sendrecv"));
    let session = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &session, Decision::Progress { sdp: None }).expect("progress");
    let early = phone.receive(&mut net, "SIP/2.0 183");
    let rack = format!("RAck: {} 1 INVITE\r\n", header(&early, "RSeq").expect("reliable"));
    phone.request(&mut net, "PRACK", &rack, "", "");
    reoffer(&mut net, B, &session);
    net.advance(33 * SECOND);
    assert_eq!(session.state(), State::Failed);
    phone.receive(&mut net, "SIP/2.0 487");
    assert!(phone.nothing(&net, "BYE "), "RFC 3261 §15");
    net.advance(200 * SECOND);
    net.assert_idle();
}
