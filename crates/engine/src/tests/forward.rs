use super::*;
use crate::api::{Direction, EndCause};
use ringback_media_api::{Command as MediaCommand, Event as MediaEvent};

/// Node B forwards; C is called.
fn three() -> Net {
    let mut net = pair();
    net.add(config());
    net
}

/// A call from A that B has forwarded to C, where it rings: the four sessions along the way.
fn forwarded(net: &mut Net) -> (Arc<Session>, Arc<Session>, Arc<Session>, Arc<Session>) {
    let (caller, first) = ringing(net);
    decide(net, B, &first, forward(&[&uri(C)])).expect("forwarded");
    let second = net.nodes[B].engine.directory().get(first.peer().expect("a peer")).expect("a second leg");
    let called = net.nodes[C].incoming().expect("it arrived");
    (caller, first, second, called)
}

/// ... and answered.
fn connected(net: &mut Net) -> (Arc<Session>, Arc<Session>, Arc<Session>, Arc<Session>) {
    let sessions = forwarded(net);
    decide(net, C, &sessions.3, accept()).expect("accepted");
    sessions
}

#[test]
fn a_forwarded_call_lives_and_ends_as_one() {
    for who_ends in 0..4 {
        let mut net = three();
        let (caller, first, second, called) = forwarded(&mut net);
        assert_eq!((second.direction, second.peer()), (Direction::Outgoing, Some(first.id)));
        assert_eq!(&*second.from_uri, "sip:alice@example.com", "the target sees the caller");
        assert_eq!(net.nodes[B].engine.directory().stats().active_sessions, 2);
        assert!(sent(&net, B, "INVITE")[0].contains("Max-Forwards: 69\r\n"));

        decide(&mut net, C, &called, Decision::Defer).expect("ringing");
        assert_eq!((caller.state(), first.state(), second.state()), (State::Ringing, State::Ringing, State::Ringing));
        assert!(!sent(&net, B, "SIP/2.0 180").is_empty());
        decide(&mut net, C, &called, accept()).expect("accepted");
        for session in [&caller, &first, &second, &called] {
            assert_eq!(session.state(), State::Active);
        }
        assert_eq!(net.nodes[B].legs.bridged.len(), 2, "both hear each other");
        assert_eq!(story(&net, B, second.id), ["ringing", "progress 180", "active", "established"]);
        assert_eq!(story(&net, B, first.id), ["incoming", "ringing", "active", "established"]);
        let id = first.id;
        let reply = net.ask(B, |token| Command::SessionBridge { token, session: id });
        let Some(Ok(Reply::SessionBridge(Some(bridge)))) = reply else { panic!("{reply:?}") };
        let Some(Ok(Reply::BridgeInfo(Some(info)))) = net.ask(B, |token| Command::GetBridge { token, bridge }) else {
            panic!("no bridge")
        };
        assert_eq!(info.sessions, [first.id, second.id]);

        match who_ends {
            0 => hang_up(&mut net, A, &caller),
            1 => hang_up(&mut net, B, &first),
            2 => hang_up(&mut net, B, &second),
            _ => hang_up(&mut net, C, &called),
        }
        for session in [&caller, &first, &second, &called] {
            assert_eq!(session.state(), State::Terminated, "{who_ends}");
        }
        net.assert_idle();
    }
}

#[test]
fn the_caller_gives_up_and_so_does_the_second_leg() {
    let mut net = three();
    let (caller, first, second, called) = forwarded(&mut net);
    decide(&mut net, C, &called, Decision::Defer).expect("ringing");
    hang_up(&mut net, A, &caller);
    for session in [&caller, &first, &second, &called] {
        assert_eq!(end_of(session), (State::Cancelled, "cancelled".into()));
    }
    net.assert_idle();
}

#[test]
fn a_refusal_is_passed_back() {
    for (status, reason, seen) in
        [(486, "In a meeting", 486), (603, "", 603), (404, "Gone away", 404), (503, "", 500), (401, "", 403)]
    {
        let mut net = three();
        let (caller, first, second, called) = forwarded(&mut net);
        decide(&mut net, C, &called, reject(status, reason)).expect("rejected");
        assert!(
            matches!(&caller.end().expect("an end").cause, EndCause::Rejected { status, .. } if *status == seen),
            "{status}"
        );
        assert_eq!((first.state(), second.state()), (State::Rejected, State::Rejected));
        if status == seen && !reason.is_empty() {
            assert_eq!(end_of(&caller).1, format!("rejected {status} {reason}"));
        }
        net.assert_idle();
    }
}

#[test]
fn a_target_that_is_not_there_is_a_failure_for_the_caller() {
    let mut net = three();
    let (caller, first) = ringing(&mut net);
    decide(
        &mut net,
        B,
        &first,
        Decision::Forward {
            targets: vec!["sip:nobody@10.9.9.9".into()],
            redirect: false,
            parallel: false,
            ring: 60 * SECOND,
        },
    )
    .expect("forwarded");
    let second = net.nodes[B].engine.directory().get(first.peer().expect("a peer")).expect("a second leg");
    net.advance(33 * SECOND);
    assert_eq!(second.state(), State::Failed);
    assert_eq!(end_of(&caller).1, "rejected 408 Request Timeout");
    net.assert_idle();
}

#[test]
fn a_target_rings_only_so_long_and_the_next_has_its_turn() {
    let mut net = three();
    net.add(config());
    let (caller, first) = ringing(&mut net);
    decide(&mut net, B, &first, forward(&[&uri(C), &uri(3)])).expect("forwarded");
    let at_c = net.nodes[C].incoming().expect("it arrived");
    decide(&mut net, C, &at_c, Decision::Defer).expect("ringing");
    let one = first.peer();
    net.advance(31 * SECOND);
    assert_eq!(end_of(&at_c), (State::Cancelled, "cancelled".into()));
    let at_d = net.nodes[3].incoming().expect("the next is called");
    assert_ne!(first.peer(), one);
    assert_eq!(caller.state(), State::Ringing);
    decide(&mut net, 3, &at_d, accept()).expect("accepted");
    assert_eq!(caller.state(), State::Active);
    hang_up(&mut net, A, &caller);
    net.assert_idle();

    let (caller, first) = ringing(&mut net);
    decide(&mut net, B, &first, forward(&[&uri(C), &uri(3)])).expect("forwarded");
    net.advance(61 * SECOND);
    assert_eq!(end_of(&caller).1, "rejected 480 Temporarily Unavailable");
    net.assert_idle();
}

#[test]
fn the_next_target_is_called_when_one_refuses() {
    let mut net = three();
    net.add(config());
    let (caller, first) = ringing(&mut net);
    decide(&mut net, B, &first, forward(&[&uri(C), &uri(3)])).expect("forwarded");
    let at_c = net.nodes[C].incoming().expect("it arrived");
    decide(&mut net, C, &at_c, reject(486, "")).expect("rejected");
    let at_d = net.nodes[3].incoming().expect("the next is called");
    decide(&mut net, 3, &at_d, reject(603, "")).expect("rejected");
    assert_eq!(end_of(&caller).1, "rejected 486 Busy Here", "the lowest class tells most");
    net.assert_idle();
}

#[test]
fn all_targets_ring_at_once_and_the_first_answer_wins() {
    let mut net = three();
    net.add(config());
    let (caller, first) = ringing(&mut net);
    let decision = Decision::Forward {
        targets: vec![uri(C), uri(3), "sip:nobody@10.9.9.9".into()],
        redirect: false,
        parallel: true,
        ring: 30 * SECOND,
    };
    decide(&mut net, B, &first, decision).expect("forwarded");
    let at_c = net.nodes[C].incoming().expect("it arrived");
    let at_d = net.nodes[3].incoming().expect("it arrived");
    assert_eq!(net.nodes[B].engine.directory().stats().active_sessions, 4);
    decide(&mut net, C, &at_c, Decision::Defer).expect("ringing");
    decide(&mut net, 3, &at_d, accept()).expect("accepted");
    assert_eq!((caller.state(), first.state()), (State::Active, State::Active));
    assert_eq!(end_of(&at_c), (State::Cancelled, "cancelled".into()));
    let cancel = sent(&net, B, "CANCEL")[0];
    assert_eq!(header(cancel, "Reason"), Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    let winner = net.nodes[B].engine.directory().get(first.peer().expect("a peer")).expect("it is there");
    assert_eq!(winner.state(), State::Active);
    assert_eq!(net.nodes[B].legs.bridged.len(), 2);
    hang_up(&mut net, 3, &at_d);
    assert_eq!(end_of(&caller).1, "remote hangup");
    net.assert_idle();
}

#[test]
fn early_media_passes_and_the_same_answer_follows() {
    let mut net = three();
    let (caller, first, second, called) = forwarded(&mut net);
    decide(&mut net, C, &called, Decision::Progress { sdp: None }).expect("progress");
    assert_eq!(net.nodes[B].legs.bridged.len(), 2, "bridged before the answer");
    let early = body(sent(&net, B, "SIP/2.0 183")[0]).to_owned();
    assert!(early.contains("m=audio"));
    assert_eq!(story(&net, A, caller.id), ["ringing", "progress 183 sdp"]);
    decide(&mut net, C, &called, accept()).expect("accepted");
    assert_eq!(body(sent(&net, B, "SIP/2.0 200").iter().find(|m| body(m).contains("m=audio")).expect("a 200")), early);
    assert_eq!(net.nodes[B].legs.bridged.len(), 2);
    assert_eq!((first.state(), second.state()), (State::Active, State::Active));
    hang_up(&mut net, C, &called);
    net.assert_idle();
}

#[test]
fn early_media_of_one_target_gives_way_to_the_next() {
    let mut net = three();
    net.add(config());
    let (caller, first) = ringing(&mut net);
    decide(&mut net, B, &first, forward(&[&uri(C), &uri(3)])).expect("forwarded");
    let at_c = net.nodes[C].incoming().expect("it arrived");
    decide(&mut net, C, &at_c, Decision::Progress { sdp: None }).expect("progress");
    assert_eq!(net.nodes[B].legs.bridged.len(), 2);
    decide(&mut net, C, &at_c, reject(486, "")).expect("rejected");
    assert_eq!(net.nodes[B].legs.bridged.len(), 0);
    let at_d = net.nodes[3].incoming().expect("the next is called");
    decide(&mut net, 3, &at_d, Decision::Progress { sdp: None }).expect("progress");
    assert_eq!(net.nodes[B].legs.bridged.len(), 2);
    decide(&mut net, 3, &at_d, accept()).expect("accepted");
    assert_eq!(net.nodes[B].legs.bridged.len(), 2);
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn a_late_offer_is_forwarded() {
    let mut net = three();
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "", "");
    let first = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &first, forward(&[&uri(C)])).expect("forwarded");
    let called = net.nodes[C].incoming().expect("it arrived");
    decide(&mut net, C, &called, accept()).expect("accepted");
    assert!(body(&phone.receive(&mut net, "SIP/2.0 200")).contains("m=audio"));
    assert!(net.nodes[B].legs.bridged.is_empty());
    phone.ack(&mut net, &sdp(4000, 1, "sendrecv"));
    assert_eq!(net.nodes[B].legs.bridged.len(), 2);
    phone.request(&mut net, "BYE", "", "", "");
    assert_eq!(end_of(&called).1, "remote hangup");
    net.assert_idle();
}

#[test]
fn a_redirect_names_all_targets() {
    let mut net = three();
    let (caller, first) = ringing(&mut net);
    let decision = Decision::Forward {
        targets: vec!["sip:a@10.9.0.3;transport=tcp".into(), "\"B\" <sips:b@example.com>".into()],
        redirect: true,
        parallel: false,
        ring: 30 * SECOND,
    };
    decide(&mut net, B, &first, decision).expect("redirected");
    let end = caller.end().expect("an end");
    let EndCause::Rejected { status: 302, targets, .. } = &end.cause else { panic!("{:?}", end.cause) };
    assert_eq!(*targets, ["sip:a@10.9.0.3;transport=tcp", "sips:b@example.com"]);
    assert_eq!(end_of(&first), (State::Rejected, "rejected 302 Moved Temporarily".into()));
    net.assert_idle();
}

#[test]
fn targets_are_checked_before_anything_is_said() {
    let mut net = three();
    let (caller, first) = ringing(&mut net);
    for (targets, redirect) in [
        (vec![], false),
        (vec![], true),
        (vec!["bob"], false),
        (vec!["tel:+491"], false),
        (vec!["sip:a@b\r\nX: y"], true),
        (vec!["sip:ok@10.9.9.9", "?"], false),
    ] {
        let targets: Vec<String> = targets.into_iter().map(str::to_owned).collect();
        let decision = Decision::Forward { targets: targets.clone(), redirect, parallel: false, ring: 30 * SECOND };
        let result = decide(&mut net, B, &first, decision);
        assert!(matches!(result, Err(Error::InvalidUri { .. } | Error::BadValue(_))), "{targets:?}: {result:?}");
    }
    let zero = Decision::Forward { targets: vec![uri(C)], redirect: false, parallel: false, ring: Duration::ZERO };
    assert!(matches!(decide(&mut net, B, &first, zero), Err(Error::BadValue(_))));
    assert!(sent(&net, B, "INVITE").is_empty());
    assert_eq!(caller.state(), State::Initiating);
    decide(&mut net, B, &first, forward(&[&uri(C)])).expect("still open");
}

#[test]
fn without_room_for_a_second_leg_the_call_stays_open() {
    let mut net = with(Config { max_sessions: 1, ..config() });
    net.add(config());
    let (caller, first) = ringing(&mut net);
    let result = decide(&mut net, B, &first, forward(&[&uri(C)]));
    assert!(matches!(result, Err(Error::ResourceExhausted(_))), "{result:?}");
    assert_eq!(caller.state(), State::Initiating);
    decide(&mut net, B, &first, accept()).expect("still open");
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn a_forwarded_call_is_decided() {
    let mut net = three();
    let (_, first, second, _) = forwarded(&mut net);
    for decision in [accept(), reject(486, ""), Decision::Defer, forward(&[&uri(C)])] {
        assert!(matches!(decide(&mut net, B, &first, decision), Err(Error::InvalidState { .. })));
    }
    // Its target given up by the program: the caller is told.
    hang_up(&mut net, B, &second);
    assert_eq!(end_of(&first).1, "rejected 480 Temporarily Unavailable");
    net.assert_idle();
}

#[test]
fn hops_are_counted() {
    let mut net = three();
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "", &sdp(4000, 1, "sendrecv"));
    // The phone's requests say 70; this one is a copy that has used them up.
    let first = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &first, reject(486, "")).expect("rejected");
    let tired = "INVITE sip:bob@10.0.0.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.0.1:5060;branch=z9hG4bKtired\r\nMax-Forwards: 0\r\n\
                 From: <sip:phone@10.9.0.1>;tag=t\r\nTo: <sip:bob@10.0.0.2>\r\nCall-ID: tired\r\nCSeq: 1 INVITE\r\n\
                 Contact: <sip:phone@10.9.0.1:5060>\r\nContent-Length: 0\r\n\r\n";
    net.inject(B, phone.address, tired);
    let first = net.nodes[B].incoming().expect("it arrived");
    let result = decide(&mut net, B, &first, forward(&[&uri(C)]));
    assert!(matches!(result, Err(Error::Refused { status: 483, .. })), "{result:?}");
    assert_eq!(end_of(&first).1, "rejected 483 Too Many Hops");
    phone.receive(&mut net, "SIP/2.0 483");
    assert!(sent(&net, B, "INVITE").is_empty());
}

#[test]
fn a_call_forwarded_to_itself_is_a_loop_and_one_to_another_extension_is_not() {
    let mut net = pair();
    let (caller, first) = ringing(&mut net);
    decide(&mut net, B, &first, forward(&[&uri(B)])).expect("forwarded");
    assert_eq!(end_of(&caller).1, "rejected 482 Loop Detected");
    assert_eq!(net.nodes[B].engine.counters().loops, 1);
    net.assert_idle();

    // 100 -> 200 -> 100: the second visit of 100 is the loop.
    let (one, two) = (format!("sip:100@{}", address(B)), format!("sip:200@{}", address(B)));
    let caller = dial(&mut net, A, &one);
    let first = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &first, forward(&[&two])).expect("forwarded");
    let second = net.nodes[B].incoming().expect("it came back");
    assert_ne!(first.id, second.id, "another extension of ours is called like any other");
    decide(&mut net, B, &second, forward(&[&one])).expect("forwarded");
    assert_eq!(end_of(&caller).1, "rejected 482 Loop Detected");
    net.assert_idle();

    let caller = dial(&mut net, A, &one);
    let first = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &first, forward(&[&two])).expect("forwarded");
    let second = net.nodes[B].incoming().expect("it came back");
    decide(&mut net, B, &second, accept()).expect("accepted");
    assert_eq!(caller.state(), State::Active);
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn each_leg_answers_its_own_re_invites() {
    let mut net = three();
    let (caller, first, second, called) = connected(&mut net);
    let id = caller.id;
    net.ask(A, |token| Command::Hold { token, session: id }).expect("answered").expect("held");
    assert_eq!((caller.state(), first.remote_hold(), second.remote_hold()), (State::OnHold, true, false));
    assert_eq!((called.state(), first.state()), (State::Active, State::Active));
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn a_destroyed_bridge_leaves_the_legs_linked() {
    let mut net = three();
    let (caller, first, _, called) = connected(&mut net);
    part(&mut net, &first);
    assert!(net.nodes[B].legs.bridged.is_empty());
    assert_eq!((caller.state(), called.state()), (State::Active, State::Active));
    hang_up(&mut net, A, &caller);
    assert_eq!(called.state(), State::Terminated);
    net.assert_idle();
}

/// Ends the bridge that a leg of the switch is in.
fn part(net: &mut Net, leg: &Session) {
    let session = leg.id;
    let Some(Ok(Reply::SessionBridge(Some(bridge)))) = net.ask(B, |token| Command::SessionBridge { token, session })
    else {
        panic!("no bridge")
    };
    net.ask(B, |token| Command::DestroyBridge { token, bridge }).expect("at once").expect("done");
}

fn hold(net: &mut Net, node: usize, session: &Session, on: bool) {
    let session = session.id;
    let command = |token| if on { Command::Hold { token, session } } else { Command::Resume { token, session } };
    net.ask(node, command).expect("answered").expect("held or resumed");
}

#[test]
fn holding_passes_to_the_other_leg_and_back() {
    let mut net = three();
    let (caller, first, second, called) = connected(&mut net);
    for _ in 0..2 {
        hold(&mut net, A, &caller, true);
        net.advance(SECOND);
        assert_eq!((second.state(), called.remote_hold(), called.state()), (State::OnHold, true, State::Active));
        assert_eq!((first.state(), first.remote_hold()), (State::Active, true));
        hold(&mut net, A, &caller, false);
        net.advance(SECOND);
        assert_eq!((second.state(), called.remote_hold()), (State::Active, false));
        assert_eq!((first.remote_hold(), second.remote_hold()), (false, false));
    }
    // The called side holds as well, and each resumes for itself.
    hold(&mut net, C, &called, true);
    net.advance(SECOND);
    assert_eq!((first.state(), caller.remote_hold()), (State::OnHold, true));
    hold(&mut net, C, &called, false);
    net.advance(SECOND);
    assert_eq!((first.state(), caller.remote_hold()), (State::Active, false));
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn what_the_program_holds_stays_held() {
    let mut net = three();
    let (caller, first, second, _) = connected(&mut net);
    hold(&mut net, B, &second, true);
    hold(&mut net, A, &caller, true);
    net.advance(SECOND);
    hold(&mut net, A, &caller, false);
    net.advance(SECOND);
    assert_eq!((second.state(), first.state()), (State::OnHold, State::Active));
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn legs_that_the_program_has_parted_hold_for_themselves() {
    let mut net = three();
    let (caller, first, second, called) = connected(&mut net);
    part(&mut net, &first);
    hold(&mut net, A, &caller, true);
    net.advance(SECOND);
    assert_eq!((second.state(), called.remote_hold()), (State::Active, false));
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn a_leg_is_held_for_the_other_while_the_two_are_alone() {
    let mut net = three();
    let (caller, first, second, called) = connected(&mut net);
    let (_, third) = answered(&mut net);
    let id = first.id;
    let Some(Ok(Reply::SessionBridge(Some(bridge)))) =
        net.ask(B, |token| Command::SessionBridge { token, session: id })
    else {
        panic!("no bridge")
    };
    let (session, of_caller) = (third.id, first.id);
    let check = |net: &mut Net, held: bool, what: &str| {
        net.advance(4 * SECOND);
        let state = if held { State::OnHold } else { State::Active };
        assert_eq!((second.state(), called.remote_hold()), (state, held), "{what}");
    };
    for _ in 0..2 {
        hold(&mut net, A, &caller, true);
        check(&mut net, true, "alone with who holds");
        net.ask(B, |token| Command::AddToBridge { token, bridge, session }).expect("at once").expect("joined");
        check(&mut net, false, "a third is there to be heard");
        hold(&mut net, A, &caller, false);
        hold(&mut net, A, &caller, true);
        check(&mut net, false, "one of three holds");
        net.ask(B, |token| Command::RemoveFromBridge { token, bridge, session }).expect("at once").expect("left");
        check(&mut net, true, "alone again");
        hold(&mut net, A, &caller, false);
        check(&mut net, false, "resumed");
    }
    net.ask(B, |token| Command::AddToBridge { token, bridge, session }).expect("at once").expect("joined");
    hold(&mut net, A, &caller, true);
    let session = of_caller;
    net.ask(B, |token| Command::RemoveFromBridge { token, bridge, session }).expect("at once").expect("left");
    check(&mut net, false, "who holds is taken out");
    hang_up(&mut net, A, &caller);
    assert!(called.state().is_final());
}

#[test]
fn a_leg_that_was_held_for_the_other_is_resumed_when_they_are_parted() {
    for destroys in [false, true] {
        let mut net = three();
        let (caller, first, second, called) = connected(&mut net);
        hold(&mut net, A, &caller, true);
        net.advance(SECOND);
        assert_eq!(second.state(), State::OnHold);
        if destroys {
            part(&mut net, &first);
        } else {
            let id = first.id;
            let Some(Ok(Reply::SessionBridge(Some(bridge)))) =
                net.ask(B, |token| Command::SessionBridge { token, session: id })
            else {
                panic!("no bridge")
            };
            let remove = |token| Command::RemoveFromBridge { token, bridge, session: id };
            net.ask(B, remove).expect("at once").expect("left");
        }
        net.advance(SECOND);
        assert_eq!((second.state(), called.remote_hold()), (State::Active, false));
        assert!(first.remote_hold());
        hang_up(&mut net, A, &caller);
        assert!(called.state().is_final());
        net.assert_idle();
    }
}

#[test]
fn digits_reach_the_other_peer_in_the_way_that_it_knows() {
    let no_events = |sdp: &str| {
        sdp.replace(" 101\r\n", "\r\n").replace("a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n", "")
    };
    // (the caller knows telephone-events, the digit comes by INFO, what the caller gets)
    for (events, by_info, expected) in
        [(true, false, ""), (true, true, "event"), (false, false, "INFO"), (false, true, "INFO")]
    {
        let mut net = three();
        let mut phone = Phone::new(B);
        let offer = sdp(4000, 1, "sendrecv");
        phone.invite(&mut net, "", &if events { offer } else { no_events(&offer) });
        let first = net.nodes[B].incoming().expect("it arrived");
        decide(&mut net, B, &first, forward(&[&uri(C)])).expect("forwarded");
        let called = net.nodes[C].incoming().expect("it arrived");
        decide(&mut net, C, &called, accept()).expect("accepted");
        phone.receive(&mut net, "SIP/2.0 200");
        phone.ack(&mut net, "");
        if by_info {
            let (session, digits) = (called.id, "7".to_owned());
            let method = crate::api::DtmfMethod::Info;
            net.command(C, |token| Command::SendDtmf { token, session, digits, method, duration_ms: 100, gap_ms: 100 });
        } else {
            let to_phone = net.nodes[B]
                .legs
                .open
                .iter()
                .find(|(_, config)| config.remote_rtp == Some(SocketAddr::from(([10, 9, 0, 1], 4000))));
            let leg = net.nodes[B].legs.bridged[to_phone.expect("the phone's leg").0];
            net.media_event(B, MediaEvent::Dtmf { leg, digit: '7', duration_ms: 100 });
        }
        let given = net.nodes[B].legs.log.iter();
        let as_events = given.filter(|c| matches!(c, MediaCommand::SendDtmf { digits, .. } if digits == "7")).count();
        let seen = match (phone.nothing(&net, "INFO"), as_events) {
            (true, 0) => "",
            (true, 1) => "event",
            (false, 0) => "INFO",
            other => panic!("{other:?}"),
        };
        assert_eq!(seen, expected, "events {events}, INFO {by_info}");
    }
}

#[test]
fn the_targets_see_what_the_caller_may_tell_them_and_no_more() {
    let mut net = three();
    let caller = net.ask(A, |token| Command::CreateCall {
        token,
        from: "sip:alice@example.com".into(),
        to: uri(B),
        sdp: None,
        headers: vec![
            ("Subject".into(), "lunch".into()),
            ("User-to-User".into(), "56a390f3;encoding=hex".into()),
            ("Diversion".into(), "<sip:boss@example.com>;reason=no-answer".into()),
            ("Diversion".into(), "<sip:desk@example.com>;reason=user-busy".into()),
            ("P-Asserted-Identity".into(), "<sip:president@example.com>".into()),
            ("X-Secret".into(), "1".into()),
        ],
        send: true,
        options: Default::default(),
    });
    assert!(matches!(caller, Some(Ok(Reply::Session(_)))), "{caller:?}");
    let first = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &first, forward(&[&uri(C)])).expect("forwarded");
    let invite = sent(&net, B, "INVITE")[0];
    assert_eq!(header(invite, "Subject"), Some("lunch"));
    assert_eq!(header(invite, "User-to-User"), Some("56a390f3;encoding=hex"));
    assert_eq!(invite.matches("\r\nDiversion: ").count(), 2);
    assert!(!invite.contains("P-Asserted-Identity") && !invite.contains("X-Secret"));
}

/// What the legs of the switch send with.
fn codecs_in_use(net: &Net) -> Vec<ringback_media_api::Codec> {
    let legs = net.nodes[B].legs.open.values();
    let mut used: Vec<_> = legs.map(|config| config.send.expect("it sends").codec).collect();
    used.sort_by_key(|codec| codec.name());
    used
}

#[test]
fn both_legs_use_one_codec_where_both_peers_know_it() {
    use ringback_media_api::Codec::{G722, Pcma, Pcmu};
    // What the caller, the switch and the target know, by preference; what the legs of the switch send with.
    for (caller, switch, target, expected) in [
        (vec![Pcmu, Pcma], vec![Pcmu, Pcma], vec![Pcma], [Pcma, Pcma]),
        (vec![Pcma], vec![Pcmu, Pcma], vec![Pcma, Pcmu], [Pcma, Pcma]),
        (vec![Pcma, Pcmu], vec![G722, Pcmu, Pcma], vec![Pcma, G722], [Pcma, Pcma]),
        (vec![Pcmu], vec![Pcmu, Pcma], vec![Pcma], [Pcma, Pcmu]),
    ] {
        for early in [false, true] {
            let mut net = Net::default();
            for codecs in [&caller, &switch, &target] {
                net.add(Config { codecs: codecs.clone(), ..config() });
            }
            let (_, first, _, called) = forwarded(&mut net);
            if early {
                decide(&mut net, C, &called, Decision::Progress { sdp: None }).expect("early media");
            }
            decide(&mut net, C, &called, accept()).expect("accepted");
            assert_eq!(first.state(), State::Active);
            assert_eq!(codecs_in_use(&net), expected, "{caller:?} {switch:?} {target:?} {early}");
        }
    }
}

/// A caller hears early media of one target, in one codec, and is answered by the next, in another.
#[test]
fn who_was_answered_by_early_media_of_another_codec_is_offered_the_answers_codec() {
    use ringback_media_api::Codec::{G722, Opus, Pcma, Pcmu};
    // What the caller and both targets know; what the legs of the switch send with at last, and whether the caller was offered anything anew.
    for (caller, first, second, expected, anew) in [
        (vec![G722, Pcma], vec![G722], vec![Pcma], [Pcma, Pcma], true),
        (vec![Opus, G722], vec![Opus], vec![G722, Pcmu], [G722, G722], true),
        // It does not know the other.
        (vec![G722], vec![G722], vec![Pcma], [G722, Pcma], false),
        // One law is the other by a table.
        (vec![Pcmu, Pcma], vec![Pcmu], vec![Pcma], [Pcma, Pcmu], false),
        (vec![Pcma, G722], vec![Pcma], vec![Pcma], [Pcma, Pcma], false),
    ] {
        let mut net = Net::default();
        for codecs in [&caller, &vec![Opus, G722, Pcmu, Pcma], &first, &second] {
            net.add(Config { codecs: codecs.clone(), ..config() });
        }
        let (calls, incoming) = ringing(&mut net);
        decide(&mut net, B, &incoming, forward(&[&uri(C), &uri(3)])).expect("forwarded");
        let at_c = net.nodes[C].incoming().expect("it arrived");
        decide(&mut net, C, &at_c, Decision::Progress { sdp: None }).expect("early media");
        decide(&mut net, C, &at_c, reject(486, "")).expect("rejected");
        let at_d = net.nodes[3].incoming().expect("the next is called");
        decide(&mut net, 3, &at_d, accept()).expect("accepted");
        let what = format!("{caller:?} {first:?} {second:?}");
        assert_eq!(calls.state(), State::Active, "{what}");
        assert_eq!(codecs_in_use(&net), expected, "{what}");
        let offers = sent(&net, B, "INVITE").iter().filter(|it| header(it, "Call-ID") == Some(&*calls.call_id)).count();
        assert_eq!(offers, usize::from(anew), "{what}");
        // What the program asks for goes on as ever.
        hold(&mut net, B, &incoming, true);
        assert_eq!(incoming.state(), State::OnHold, "{what}");
        hang_up(&mut net, A, &calls);
        net.assert_idle();
    }
}

#[test]
fn what_a_call_may_branch_out_into_is_shared_by_those_that_ring_at_once() {
    // What the caller says, targets at a time, what each gets; none: 440 (RFC 5393 §5.3.3).
    for (said, targets, parallel, share) in [
        ("", 1, false, Some("60")),
        ("", 3, true, Some("20")),
        ("Max-Breadth: 7\r\n", 2, true, Some("3")),
        ("Max-Breadth: 7\r\n", 2, false, Some("7")),
        ("Max-Breadth: what\r\n", 2, true, Some("30")),
        ("Max-Breadth: 1\r\n", 2, true, None),
        ("Max-Breadth: 0\r\n", 1, false, None),
    ] {
        let mut net = three();
        let mut phone = Phone::new(B);
        phone.invite(&mut net, said, &sdp(4000, 1, "sendrecv"));
        let first = net.nodes[B].incoming().expect("it arrived");
        let targets = (0..targets).map(|n| format!("sip:{n}@{}", address(C))).collect();
        let decision = Decision::Forward { targets, redirect: false, parallel, ring: 30 * SECOND };
        let result = decide(&mut net, B, &first, decision);
        let invites = sent(&net, B, "INVITE");
        match share {
            Some(share) => {
                assert!(result.is_ok() && !invites.is_empty(), "{said}: {result:?}");
                assert!(
                    invites.iter().all(|invite| header(invite, "Max-Breadth") == Some(share)),
                    "{said} {invites:?}"
                );
            }
            None => {
                assert!(matches!(result, Err(Error::Refused { status: 440, .. })), "{said}: {result:?}");
                assert!(invites.is_empty());
                phone.receive(&mut net, "SIP/2.0 440");
            }
        }
    }
}

/// RFC 3389: a caller that tells its pauses may do so to the target too, if that agrees.
#[test]
fn comfort_noise_is_offered_to_the_target_of_a_caller_that_has_it() {
    for knows in [true, false] {
        let mut net = Net::default();
        for _ in [A, B, C] {
            net.add(Config { codecs: vec![ringback_media_api::Codec::Pcmu], ..config() });
        }
        let mut phone = Phone::new(B);
        let offer = sdp(4000, 1, "sendrecv");
        let offer = if knows { offer.replace("RTP/AVP 0", "RTP/AVP 0 13") } else { offer };
        assert_eq!(offer.contains(" 13"), knows);
        phone.invite(&mut net, "", &offer);
        let first = net.nodes[B].incoming().expect("it arrived");
        decide(&mut net, B, &first, forward(&[&uri(C)])).expect("forwarded");
        let media = body(sent(&net, B, "INVITE").first().expect("the target is called"));
        let formats = media.lines().find(|line| line.starts_with("m=audio")).expect("a media line");
        assert_eq!(formats.split(' ').any(|format| format == "13"), knows, "{formats}");
        let called = net.nodes[C].incoming().expect("it arrived");
        decide(&mut net, C, &called, accept()).expect("accepted");
        let sends: Vec<_> = net.nodes[B].legs.open.values().map(|config| config.comfort_noise_send).collect();
        assert_eq!(sends, [knows.then_some(13); 2]);
    }
}

/// Whom each leg may learn its source from: the host that its own peer's messages come from, though both are settled by one message.
#[test]
fn each_leg_of_a_forwarded_call_knows_the_host_of_its_own_peer() {
    let mut net = three();
    connected(&mut net);
    let hosts = |node: usize| -> Vec<_> {
        let log = net.nodes[node].legs.log.iter();
        let opened = log.filter_map(|command| match command {
            MediaCommand::Open { config, .. } => Some(config.signalling),
            _ => None,
        });
        opened.collect()
    };
    let mut of_b = hosts(B);
    of_b.sort();
    assert_eq!(of_b, [A, C].map(|node| Some(address(node).ip())));
    for node in [A, C] {
        assert_eq!(hosts(node), [Some(address(B).ip())]);
    }
}
