use super::*;

fn hold(net: &mut Net, node: usize, session: &Session) -> Option<Result<Reply, Error>> {
    let id = session.id;
    net.ask(node, |token| Command::Hold { token, session: id })
}

fn resume(net: &mut Net, node: usize, session: &Session) -> Option<Result<Reply, Error>> {
    let id = session.id;
    net.ask(node, |token| Command::Resume { token, session: id })
}

fn version(sdp: &str) -> u64 {
    let origin = sdp.lines().find_map(|line| line.strip_prefix("o=")).expect("an origin");
    origin.split(' ').nth(2).and_then(|version| version.parse().ok()).expect("a version")
}

#[test]
fn a_call_is_held_and_resumed() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    assert!(matches!(hold(&mut net, A, &caller), Some(Ok(Reply::Unit))));
    assert_eq!((caller.state(), called.state()), (State::OnHold, State::Active));
    assert_eq!((caller.remote_hold(), called.remote_hold()), (false, true));
    let (ours, theirs) = (net.nodes[A].config().expect("a leg"), net.nodes[B].config().expect("a leg"));
    assert!(
        (ours.may_send, ours.may_receive) == (true, false) && (theirs.may_send, theirs.may_receive) == (false, true)
    );
    let offers = sent(&net, A, "INVITE");
    assert!(body(offers[1]).contains("a=sendonly"));
    assert_eq!(version(body(offers[1])), version(body(offers[0])) + 1, "RFC 3264 §8");
    assert!(matches!(hold(&mut net, A, &caller), Some(Err(Error::InvalidState { state: State::OnHold, .. }))));

    assert!(matches!(resume(&mut net, A, &caller), Some(Ok(Reply::Unit))));
    assert_eq!((caller.state(), called.remote_hold()), (State::Active, false));
    assert!(net.nodes[B].config().is_some_and(|config| config.may_send && config.may_receive));
    assert!(matches!(resume(&mut net, A, &caller), Some(Err(Error::InvalidState { state: State::Active, .. }))));
    assert_eq!(story(&net, A, caller.id), ["active", "established", "on hold", "active"]);
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn both_sides_hold() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    hold(&mut net, A, &caller).expect("answered").expect("held");
    hold(&mut net, B, &called).expect("answered").expect("held");
    assert!(body(sent(&net, B, "INVITE")[0]).contains("a=inactive"), "RFC 3264 §8.4");
    assert_eq!((caller.state(), called.state()), (State::OnHold, State::OnHold));
    assert_eq!((caller.remote_hold(), called.remote_hold()), (true, true));
    resume(&mut net, A, &caller).expect("answered").expect("resumed");
    assert_eq!((caller.state(), caller.remote_hold()), (State::Active, true), "the other still holds");
    resume(&mut net, B, &called).expect("answered").expect("resumed");
    for node in [A, B] {
        assert!(net.nodes[node].config().is_some_and(|config| config.may_send && config.may_receive));
    }
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn any_order_of_holding_and_resuming_is_known_on_both_sides() {
    // Each number is a program of eight moves: who moves, and the state says what there is to do.
    for program in 0..256_u32 {
        for external in [false, true] {
            let mut net = pair();
            let (caller, called) = ringing(&mut net);
            let own = external.then(|| sdp(4000, 1, "sendrecv"));
            decide(&mut net, B, &called, Decision::Accept { sdp: own, headers: no_headers() }).expect("accepted");
            let mut holds = [false, false];
            for step in 0..8 {
                let node = (program >> step & 1) as usize;
                let session = [&caller, &called][node];
                let result = if holds[node] { resume(&mut net, node, session) } else { hold(&mut net, node, session) };
                assert!(matches!(result, Some(Ok(Reply::Unit))), "{result:?}");
                holds[node] = !holds[node];
                let expected = |node: usize| (if holds[node] { State::OnHold } else { State::Active }, holds[1 - node]);
                for (node, session) in [(A, &caller), (B, &called)] {
                    let seen = (session.state(), session.remote_hold());
                    assert_eq!(seen, expected(node), "{program:08b} {external}, step {step}: node {node}");
                    if let Some(config) = net.nodes[node].config() {
                        let flows = (config.may_send, config.may_receive);
                        assert_eq!(flows, (!holds[1 - node], !holds[node]), "{program:08b}, step {step}: node {node}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_re_offer_of_whoever_is_held_or_holds_changes_nothing() {
    for holders in [&[A][..], &[B], &[A, B], &[B, A]] {
        let mut net = pair();
        let (caller, called) = answered(&mut net);
        for node in holders {
            hold(&mut net, *node, [&caller, &called][*node]).expect("answered").expect("held");
        }
        let seen = |net: &Net| {
            let flows = [A, B].map(|node| net.nodes[node].config().map(|config| (config.may_send, config.may_receive)));
            (caller.state(), caller.remote_hold(), called.state(), called.remote_hold(), flows)
        };
        let before = seen(&net);
        for (node, session) in [(A, &caller), (B, &called), (A, &caller)] {
            let id = session.id;
            net.ask(node, |token| Command::Reoffer { token, session: id, sdp: None })
                .expect("answered")
                .expect("agreed");
            assert_eq!(seen(&net), before, "{holders:?}");
        }
    }
}

#[test]
fn one_operation_at_a_time_and_the_end_answers_the_one_that_waits() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    net.deaf.push(B);
    let id = caller.id;
    let waiting = net.command(A, |token| Command::Hold { token, session: id });
    assert!(net.result(A, waiting).is_none());
    for second in [
        net.ask(A, |token| Command::Hold { token, session: id }),
        net.ask(A, |token| Command::Reoffer { token, session: id, sdp: None }),
        net.ask(A, |token| Command::GenerateOffer { token, session: id }),
    ] {
        assert!(matches!(second, Some(Err(Error::InvalidState { state: State::Active, .. }))), "{second:?}");
    }
    hang_up(&mut net, A, &caller);
    assert!(matches!(net.result(A, waiting), Some(Err(Error::Ended(reason))) if reason == "hangup"));
    net.deaf.clear();
    hang_up(&mut net, B, &called);
    net.assert_idle();
}

#[test]
fn a_refused_hold_changes_nothing() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    let before = net.nodes[B].config().cloned();
    let id = session.id;
    let token = net.command(B, |token| Command::Hold { token, session: id });
    let invite = phone.receive(&mut net, "INVITE ");
    phone.reply(&mut net, &invite, "488 Not Acceptable Here", "", "");
    phone.receive(&mut net, "ACK ");
    assert!(matches!(net.result(B, token), Some(Err(Error::Refused { status: 488, .. }))));
    assert_eq!((session.state(), net.nodes[B].config().cloned()), (State::Active, before));
    // The next attempt is a plain hold again.
    let token = net.command(B, |token| Command::Hold { token, session: id });
    let invite = phone.receive(&mut net, "INVITE ");
    assert!(body(&invite).contains("a=sendonly"));
    phone.reply(&mut net, &invite, "200 OK", "", &sdp(4000, 2, "recvonly"));
    phone.receive(&mut net, "ACK ");
    assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))));
    assert_eq!(session.state(), State::OnHold);
}

#[test]
fn an_answer_that_is_none_fails_the_hold_and_keeps_the_call() {
    for answer in ["", "v=0\r\nnonsense", &sdp(0, 2, "recvonly")] {
        let mut net = pair();
        let (mut phone, session) = phone_calls(&mut net);
        let id = session.id;
        let token = net.command(B, |token| Command::Hold { token, session: id });
        let invite = phone.receive(&mut net, "INVITE ");
        phone.reply(&mut net, &invite, "200 OK", "", answer);
        phone.receive(&mut net, "ACK ");
        assert!(matches!(net.result(B, token), Some(Err(Error::Sdp(_)))), "{answer:?}");
        assert_eq!(session.state(), State::Active);
        assert!(net.nodes[B].config().is_some_and(|config| config.may_send && config.may_receive));
    }
}

#[test]
fn a_peer_that_forgot_the_call_ends_it() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    let id = session.id;
    let token = net.command(B, |token| Command::Hold { token, session: id });
    let invite = phone.receive(&mut net, "INVITE ");
    phone.reply(&mut net, &invite, "481 Call/Transaction Does Not Exist", "", "");
    assert!(matches!(net.result(B, token), Some(Err(Error::Refused { status: 481, .. } | Error::Ended(_)))));
    assert_eq!(session.state(), State::Terminated);
    assert_eq!(session.end().map(|end| end.reason.as_str()), Some("remote hangup"));
    net.advance(64 * SECOND);
    net.assert_idle();
}

#[test]
fn a_peer_holds_moves_and_changes_its_codec() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    let first = body(sent(&net, B, "SIP/2.0 200")[0]).to_owned();
    let reoffer = |net: &mut Net, phone: &mut Phone, offer: &str| {
        phone.invite(net, "", offer);
        let answer = phone.receive(net, "SIP/2.0 200");
        phone.ack(net, "");
        body(&answer).to_owned()
    };
    let same = reoffer(&mut net, &mut phone, &sdp(4000, 1, "sendrecv"));
    assert_eq!(same, first, "nothing changed, nor does the version");

    let held = reoffer(&mut net, &mut phone, &sdp(4000, 2, "sendonly"));
    assert!(held.contains("a=recvonly") && version(&held) == version(&first) + 1);
    assert!(session.remote_hold());
    assert!(net.nodes[B].config().is_some_and(|config| !config.may_send && config.may_receive));

    let moved = sdp(4444, 3, "sendrecv").replace("c=IN IP4 10.9.0.1", "c=IN IP4 10.9.0.77");
    let before = net.nodes[B].config().expect("a leg").latch_generation;
    reoffer(&mut net, &mut phone, &moved);
    let config = net.nodes[B].config().expect("a leg");
    assert_eq!(config.remote_rtp, Some("10.9.0.77:4444".parse().expect("an address")));
    assert_eq!(config.remote_rtcp, Some("10.9.0.77:4445".parse().expect("an address")));
    assert!(config.may_send && config.latch_generation > before);
    assert!(!session.remote_hold());

    reoffer(&mut net, &mut phone, &sdp(4444, 4, "sendrecv").replace("RTP/AVP 0 8 101", "RTP/AVP 8"));
    let config = net.nodes[B].config().expect("a leg");
    assert_eq!(config.send.map(|send| send.codec), Some(ringback_media_api::Codec::Pcma));
    assert_eq!(config.dtmf_send, None);

    // The old way to hold.
    let null = sdp(4444, 5, "sendrecv").replace("c=IN IP4 10.9.0.1", "c=IN IP4 0.0.0.0");
    reoffer(&mut net, &mut phone, &null);
    assert!(session.remote_hold());
    assert!(net.nodes[B].config().is_some_and(|config| !config.may_send));
    assert_eq!(session.state(), State::Active, "being held is no state of ours");
    phone.request(&mut net, "BYE", "", "", "");
    net.assert_idle();
}

#[test]
fn a_hold_of_ours_outlives_the_peer_s_re_invite() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    hold(&mut net, A, &caller).expect("answered").expect("held");
    let id = called.id;
    net.ask(B, |token| Command::Reoffer { token, session: id, sdp: None }).expect("answered").expect("re-offered");
    assert_eq!(caller.state(), State::OnHold);
    assert!(net.nodes[A].config().is_some_and(|config| config.may_send && !config.may_receive));
    assert!(called.remote_hold());
}

#[test]
fn an_offer_that_cannot_be_met_is_refused_and_the_call_goes_on() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    let before = net.nodes[B].config().cloned();
    for (offer, status) in [
        (sdp(4000, 2, "sendrecv").replace("RTP/AVP 0 8 101", "RTP/AVP 18"), "SIP/2.0 488"),
        ("v=0\r\nnonsense\r\n".to_owned(), "SIP/2.0 400"),
        (sdp(4000, 2, "sendrecv").replace("c=IN IP4 10.9.0.1", "c=IN IP4 media.example"), "SIP/2.0 488"),
        (sdp(4000, 2, "sendrecv").replace("c=IN IP4 10.9.0.1", "c=IN IP6 2001:db8::1"), "SIP/2.0 488"),
    ] {
        phone.invite(&mut net, "", &offer);
        phone.receive(&mut net, status);
        phone.ack(&mut net, "");
        assert_eq!((session.state(), net.nodes[B].config().cloned()), (State::Active, before.clone()), "{offer}");
    }
}

#[test]
fn a_re_invite_without_an_offer_gets_ours() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    phone.invite(&mut net, "", "");
    let offer = phone.receive(&mut net, "SIP/2.0 200");
    assert!(body(&offer).contains("m=audio"));
    phone.ack(&mut net, &sdp(4848, 2, "sendrecv"));
    let remote = |net: &Net| net.nodes[B].config().and_then(|config| config.remote_rtp).map(|remote| remote.port());
    assert_eq!(remote(&net), Some(4848));
    // Without an answer in the ACK all stays as it was.
    phone.invite(&mut net, "", "");
    phone.receive(&mut net, "SIP/2.0 200");
    phone.ack(&mut net, "");
    assert_eq!((remote(&net), session.state()), (Some(4848), State::Active));
    assert!(matches!(hold_with(&mut net, &mut phone, &session), Some(Ok(Reply::Unit))));
}

fn hold_with(net: &mut Net, phone: &mut Phone, session: &Session) -> Option<Result<Reply, Error>> {
    let id = session.id;
    let token = net.command(B, |token| Command::Hold { token, session: id });
    let invite = phone.receive(net, "INVITE ");
    phone.reply(net, &invite, "200 OK", "", &sdp(4848, 9, "recvonly"));
    net.result(B, token)
}

#[test]
fn external_media_is_held_by_rewriting_its_description() {
    let mut net = pair();
    let (caller, called) = ringing(&mut net);
    let own = sdp(4000, 7, "sendrecv") + "a=x-mine:1\r\n";
    decide(&mut net, B, &called, Decision::Accept { sdp: Some(own.clone()), headers: no_headers() }).expect("accepted");
    hold(&mut net, B, &called).expect("answered").expect("held");
    assert_eq!(body(sent(&net, B, "INVITE")[0]), own.replace("5 7 IN", "5 8 IN").replace("sendrecv", "sendonly"));
    assert_eq!((called.state(), caller.remote_hold()), (State::OnHold, true));
    resume(&mut net, B, &called).expect("answered").expect("resumed");
    assert_eq!(body(sent(&net, B, "INVITE")[1]), own.replace("5 7 IN", "5 9 IN"));
    // The program moves its media, and knows nothing of the versions in between.
    let moved = own.replace("4000", "4002");
    let id = called.id;
    for (given, seen) in
        [(moved.clone(), moved.replace("5 7 IN", "5 10 IN")), (own.clone(), own.replace("5 7 IN", "5 11 IN"))]
    {
        let sdp = Some(given);
        net.ask(B, |token| Command::Reoffer { token, session: id, sdp }).expect("answered").expect("agreed");
        assert_eq!(body(sent(&net, B, "INVITE").last().expect("offered")), seen);
    }
    let newer = own.replace("5 7 IN", "5 20 IN");
    let sdp = Some(newer.clone());
    net.ask(B, |token| Command::Reoffer { token, session: id, sdp }).expect("answered").expect("agreed");
    assert_eq!(body(sent(&net, B, "INVITE").last().expect("offered")), newer);
    // Held by the other side.
    hold(&mut net, A, &caller).expect("answered").expect("held");
    let answer = *sent(&net, B, "SIP/2.0 200").last().expect("an answer");
    assert_eq!(body(answer), own.replace("5 7 IN", "5 21 IN").replace("sendrecv", "recvonly"));
    assert!(called.remote_hold());
    for result in [
        net.ask(B, |token| Command::Echo { token, session: id, on: true }),
        net.ask(B, |token| Command::SetMuted { token, session: id, muted: true }),
        net.ask(B, |token| Command::GenerateOffer { token, session: id }),
        net.ask(B, |token| Command::MonitorStatistics { token, session: id, interval: Some(SECOND) }),
    ] {
        assert!(matches!(result, Some(Err(Error::Media(_)))), "{result:?}");
    }
    let statistics = net.ask(B, |token| Command::MediaStatistics { token, session: id });
    assert!(matches!(statistics, Some(Ok(Reply::Statistics(None)))));
    let Some(Ok(Reply::MediaInfo(Some(info)))) = net.ask(B, |token| Command::MediaInfo { token, session: id }) else {
        panic!("no information")
    };
    assert_eq!(info.local_address, Some("10.9.0.1:4000".parse().expect("an address")));
    assert_eq!((info.codec, info.remote_sdp.is_some()), (None, true));
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn a_re_offer_may_take_the_media_elsewhere() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    let id = called.id;
    net.command(B, |token| Command::PlayTone { token, session: id, tone: super::media::tone(None) });
    let statement = Some(sdp(4000, 1, "sendrecv"));
    net.ask(B, |token| Command::Reoffer { token, session: id, sdp: statement }).expect("answered").expect("moved");
    assert!(net.nodes[B].config().is_none() && net.nodes[B].ports().out.is_empty());
    assert_eq!(
        net.nodes[A].config().and_then(|config| config.remote_rtp),
        Some("10.9.0.1:4000".parse().expect("an address"))
    );
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn a_generated_re_offer_is_sent_edited() {
    let mut net = pair();
    let (caller, _) = answered(&mut net);
    let id = caller.id;
    let Some(Ok(Reply::Text(offer))) = net.ask(A, |token| Command::GenerateOffer { token, session: id }) else {
        panic!("no offer")
    };
    let edited = offer.replace("a=ptime:20", "a=ptime:40");
    let sdp = Some(edited.clone());
    net.ask(A, |token| Command::Reoffer { token, session: id, sdp }).expect("answered").expect("re-offered");
    assert_eq!(body(sent(&net, A, "INVITE")[1]), edited);
    assert_eq!(net.nodes[B].config().and_then(|config| config.send).map(|send| send.ptime_ms), Some(40));
    let bad = net.ask(A, |token| Command::Reoffer { token, session: id, sdp: Some("nonsense".into()) });
    assert!(matches!(bad, Some(Err(Error::Sdp(_)))));
    assert_eq!(caller.state(), State::Active);
}
