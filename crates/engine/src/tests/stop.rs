use super::*;

fn stop(net: &mut Net, node: usize, drain: Duration) -> Token {
    net.command(node, |token| Command::Stop { token, drain })
}

#[test]
fn a_stop_ends_calls_in_every_stage() {
    let mut net = pair();
    net.add(config());
    // Node B: answered, undecided, deferred, forwarded, prepared, calling, held.
    let (_, answered) = answered(&mut net);
    let undecided = ringing(&mut net).1;
    let deferred = ringing(&mut net).1;
    decide(&mut net, B, &deferred, Decision::Defer).expect("deferred");
    let forwarded = ringing(&mut net).1;
    decide(&mut net, B, &forwarded, super::forward(&[&uri(C)])).expect("forwarded");
    let held = super::answered(&mut net).1;
    let id = held.id;
    net.ask(B, |token| Command::Hold { token, session: id }).expect("answered").expect("held");
    let calling = dial(&mut net, B, "sip:nobody@10.9.9.9");
    let rings = dial(&mut net, B, &uri(C));
    let at_c = net.nodes[C].incoming().expect("it arrived");
    decide(&mut net, C, &at_c, Decision::Defer).expect("deferred");
    let prepared = net.ask(B, |token| match create(token, &uri(C)) {
        Command::CreateCall { token, from, to, sdp, headers, .. } => {
            Command::CreateCall { token, from, to, sdp, headers, send: false, options: CallOptions::default() }
        }
        other => other,
    });
    let Some(Ok(Reply::Session(prepared))) = prepared else { panic!("{prepared:?}") };
    let locating = dial(&mut net, B, "sip:x@slow.example");

    let token = stop(&mut net, B, Duration::ZERO);
    assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))), "at once");
    assert_eq!(net.nodes[B].engine.directory().active(), []);
    for (session, state, reason) in [
        (&answered, State::Terminated, "shutdown"),
        (&held, State::Terminated, "shutdown"),
        (&undecided, State::Rejected, "rejected 503 Service Unavailable"),
        (&deferred, State::Rejected, "rejected 503 Service Unavailable"),
        (&forwarded, State::Rejected, "rejected 503 Service Unavailable"),
        (&calling, State::Cancelled, "cancelled"),
        (&rings, State::Cancelled, "cancelled"),
        (&prepared, State::Cancelled, "cancelled"),
        (&locating, State::Cancelled, "cancelled"),
    ] {
        assert_eq!(end_of(session), (state, reason.into()));
        assert_eq!(story(&net, B, session.id).last().map(String::as_str), Some("ended"));
    }
    assert!(story(&net, B, undecided.id).contains(&"over".to_owned()));
    assert!(!sent(&net, B, "BYE").is_empty() && !sent(&net, B, "CANCEL").is_empty());
    for node in [A, C] {
        stop(&mut net, node, Duration::ZERO);
    }
    net.assert_idle();
}

#[test]
fn a_drain_lets_calls_go_on_and_takes_no_new_ones() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    let undecided = ringing(&mut net).1;
    let token = stop(&mut net, B, 30 * SECOND);
    let refused = dial(&mut net, A, &uri(B));
    assert_eq!(end_of(&refused).1, "rejected 503 Service Unavailable");
    assert!(matches!(net.ask(B, |token| create(token, &uri(A))), Some(Err(Error::NotRunning))));
    decide(&mut net, B, &undecided, accept()).expect("a call in progress goes on");
    net.advance(10 * SECOND);
    assert!(net.result(B, token).is_none());
    hang_up(&mut net, A, &caller);
    assert_eq!(end_of(&called).1, "remote hangup");
    net.advance(21 * SECOND);
    assert_eq!(end_of(&undecided), (State::Terminated, "shutdown".into()));
    assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))));
    net.assert_idle();
}

#[test]
fn a_drain_is_over_with_the_last_call_and_may_be_cut_short() {
    let mut net = pair();
    let (caller, _) = answered(&mut net);
    let token = stop(&mut net, B, 3600 * SECOND);
    hang_up(&mut net, A, &caller);
    assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))));
    assert!(net.nodes[B].engine.poll_timeout().is_none_or(|at| at.since(net.now.mono) < 3000 * SECOND));

    let mut net = pair();
    let (_, called) = answered(&mut net);
    let long = stop(&mut net, B, 3600 * SECOND);
    let longer = stop(&mut net, B, 7200 * SECOND);
    let short = stop(&mut net, B, Duration::ZERO);
    for token in [long, longer, short] {
        assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))));
    }
    assert_eq!(end_of(&called).1, "shutdown");
    let again = stop(&mut net, B, Duration::ZERO);
    assert!(matches!(net.result(B, again), Some(Ok(Reply::Unit))), "idempotent");
    net.assert_idle();
}

#[test]
fn a_stop_waits_for_nobody() {
    let mut net = pair();
    let (_, called) = answered(&mut net);
    net.deaf.push(A);
    let id = called.id;
    let hold = net.command(B, |token| Command::Hold { token, session: id });
    let token = stop(&mut net, B, Duration::ZERO);
    assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))), "whatever peers do");
    assert!(matches!(net.result(B, hold), Some(Err(Error::Ended(_)))));
    net.deaf.clear();
    stop(&mut net, A, Duration::ZERO);
    net.assert_idle();
}
