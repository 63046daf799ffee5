use super::*;
use crate::api::Directory;

#[test]
fn a_panic_ends_one_call_and_no_other() {
    let mut net = pair();
    let (_, bystander) = answered(&mut net);
    let (caller, victim) = ringing(&mut net);
    net.nodes[B].ports().broken = true;
    let id = victim.id;
    // Giving the port back panics.
    let external = Decision::Accept { sdp: Some(sdp(4000, 1, "sendrecv")), headers: no_headers() };
    let token = net.command(B, |token| Command::Decide { token, session: id, decision: external });
    net.nodes[B].ports().broken = false;
    assert!(matches!(net.result(B, token), Some(Err(Error::Ended(_)))));
    assert_eq!(victim.state(), State::Failed);
    assert_eq!(net.nodes[B].engine.counters().panics, 1);
    assert_eq!(story(&net, B, id).last().map(String::as_str), Some("ended"));
    assert_eq!(bystander.state(), State::Active);
    assert_eq!(net.nodes[B].engine.directory().active(), [bystander.id]);
    // The others go on.
    let third = dial(&mut net, A, &uri(B));
    let called = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &called, accept()).expect("accepted");
    assert_eq!(third.state(), State::Active);
    hang_up(&mut net, A, &caller);
}

#[test]
fn a_panic_while_a_call_ends_does_not_keep_it() {
    let mut net = pair();
    net.add(config());
    let (_, first) = ringing(&mut net);
    decide(&mut net, B, &first, super::forward(&[&uri(C)])).expect("forwarded");
    let second = net.nodes[B].engine.directory().get(first.peer().expect("a peer")).expect("a second leg");
    net.nodes[B].ports().broken = true;
    let id = first.id;
    net.ask(B, |token| Command::Hangup { token, session: id, reason: None }).expect("at once").expect("done");
    net.nodes[B].ports().broken = false;
    assert_eq!(net.nodes[B].engine.counters().panics, 2, "one for each leg's port");
    for session in [&first, &second] {
        assert!(session.state().is_final());
        assert_eq!(story(&net, B, session.id).last().map(String::as_str), Some("ended"));
    }
    net.nodes[B].engine.assert_empty();
}

#[test]
fn a_panic_outside_of_a_call_is_survived() {
    let mut net = pair();
    net.nodes[B].ports().broken = true;
    let caller = dial(&mut net, A, &uri(B));
    net.nodes[B].ports().broken = false;
    assert_eq!(net.nodes[B].engine.counters().panics, 1);
    assert_eq!(caller.state(), State::Initiating, "no answer, as from a peer that is not there");
    let next = dial(&mut net, A, &uri(B));
    assert!(net.nodes[B].incoming().is_some());
    for session in [&caller, &next] {
        hang_up(&mut net, A, session);
    }
}

#[test]
fn ended_sessions_stay_known_for_a_minute() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    hang_up(&mut net, A, &caller);
    let directory = net.nodes[B].engine.directory();
    assert!(directory.get(called.id).is_some());
    net.advance(59 * SECOND);
    assert!(directory.get(called.id).is_some());
    net.advance(10 * SECOND);
    assert!(directory.get(called.id).is_none());
    assert!(net.nodes[B].engine.poll_timeout().is_none(), "nothing is left to wait for");
    let id = called.id;
    let result = net.ask(B, |token| Command::Hangup { token, session: id, reason: None });
    assert!(matches!(result, Some(Err(Error::SessionNotFound(_)))));
    assert_eq!(called.state(), State::Terminated, "a held session stays readable");
}

#[test]
fn an_ended_session_is_small() {
    // Beside its strings: the shared view with its counts, its end, and what the directory keeps to find it.
    let arc = 2 * size_of::<usize>();
    let ended = size_of::<Session>() + arc + size_of::<crate::api::End>();
    assert!(ended <= 256, "{ended} bytes");
    assert_eq!(Directory::ENDED_MOST, 65_536);
}

#[test]
fn a_directory_goes_on_with_the_next_engine() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    hang_up(&mut net, A, &caller);
    let directory = net.nodes[B].engine.directory();
    let mut second = Net::default();
    second.add_with(config(), Some(Arc::clone(&directory)));
    assert!(second.nodes[0].engine.directory().get(called.id).is_some());
    assert_eq!(second.nodes[0].engine.directory().stats().total_sessions, 1);
}

#[test]
fn sessions_have_identities_that_nobody_guesses() {
    let mut net = pair();
    let (one, _) = answered(&mut net);
    let (two, _) = answered(&mut net);
    assert_ne!(one.id, two.id);
    assert_eq!(one.id.as_u128() >> 120, 0, "the number of the engine");
    let forged = SessionId::from_u128(one.id.as_u128() ^ (1 << 64));
    let result = net.ask(A, |token| Command::Hangup { token, session: forged, reason: None });
    assert!(matches!(result, Some(Err(Error::SessionNotFound(_)))));
}
