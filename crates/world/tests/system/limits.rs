//! What is bounded: ports, sessions, time. And the end of a whole system.

use std::time::Duration;

use ringback_engine::api::{Command, Config, Decision, Direction, EndCause, Error, Event, Session, State};
use ringback_netsim::Conditions;
use ringback_world::{Actions, SystemId, World};

use crate::common::{
    MILLISECOND, PORTS, QUIET, SECOND, accept_all, check_log, check_nothing_left, config, establish, idle, place,
    session_of,
};

fn finish(mut world: World, systems: &[SystemId]) {
    assert_eq!(world.run_until_idle(QUIET), Ok(()));
    check_nothing_left(&world, systems, "");
    for system in systems {
        check_log(&world, *system, "");
    }
}

fn status(session: &Session) -> Option<u16> {
    match &session.end()?.cause {
        EndCause::Rejected { status, .. } => Some(*status),
        EndCause::Failed { status, .. } => *status,
        _ => None,
    }
}

fn run(world: &mut World, time: Duration) {
    if let Err(stuck) = world.run_for(time) {
        panic!("{stuck}");
    }
}

#[test]
fn without_ports_calls_are_refused_and_with_them_again_taken() {
    let mut world = World::new(1, Conditions::LAN);
    let a = world.add(config(), PORTS, idle);
    let b = world.add(config(), (30_000, 30_003), accept_all);
    let first = establish(&mut world, a, b);
    let _second = establish(&mut world, a, b);
    let uri = world.uri(b, "bob");
    let third = place(&mut world, a, &uri);
    run(&mut world, 2 * SECOND);
    assert_eq!((third.state(), status(&third)), (State::Rejected, Some(503)));
    // Going out the program is told at once.
    let outgoing = world.call(b, "sip:b@10.0.0.2", "sip:a@10.0.0.1");
    assert!(matches!(outgoing, Ok(Err(Error::ResourceExhausted(_)))), "{outgoing:?}");
    let session = first.0.id;
    assert!(world.command(a, |token| Command::Hangup { token, session, reason: None }).is_ok());
    run(&mut world, SECOND);
    let fourth = establish(&mut world, a, b);
    for session in [_second.0.id, fourth.0.id] {
        assert!(world.command(a, |token| Command::Hangup { token, session, reason: None }).is_ok());
    }
    finish(world, &[a, b]);
}

#[test]
fn one_session_more_than_there_may_be_is_refused() {
    let mut world = World::new(2, Conditions::LAN);
    let a = world.add(config(), PORTS, idle);
    let b = world.add(Config { max_sessions: 3, ..config() }, PORTS, accept_all);
    let up: Vec<_> = (0..3).map(|_| establish(&mut world, a, b).0.id).collect();
    let uri = world.uri(b, "bob");
    let more = place(&mut world, a, &uri);
    run(&mut world, 2 * SECOND);
    assert_eq!((more.state(), status(&more)), (State::Rejected, Some(503)));
    assert_eq!(world.live(b).sessions, 3);
    for session in up {
        assert!(world.command(a, |token| Command::Hangup { token, session, reason: None }).is_ok());
    }
    finish(world, &[a, b]);
}

#[test]
fn an_undecided_call_gets_480_after_the_answer_timeout() {
    let mut world = World::new(3, Conditions::LAN);
    let a = world.add(config(), PORTS, idle);
    let b = world.add(Config { answer_timeout: Some(20 * SECOND), ..config() }, PORTS, idle);
    let uri = world.uri(b, "bob");
    let session = place(&mut world, a, &uri);
    run(&mut world, 19 * SECOND);
    assert!(!session.state().is_final(), "still undecided: {}", session.state());
    run(&mut world, 2 * SECOND);
    assert_eq!((session.state(), status(&session)), (State::Rejected, Some(480)));
    let over = world.log(b).iter().filter(|logged| matches!(logged.event, Event::IncomingOver { .. })).count();
    assert_eq!(over, 1, "a pending decision is called off");
    finish(world, &[a, b]);
}

#[test]
fn the_longest_life_of_a_call_ends_in_bye() {
    let mut world = World::new(4, Conditions::LAN);
    let a = world.add(Config { session_timeout: Some(30 * SECOND), ..config() }, PORTS, idle);
    let b = world.add(config(), PORTS, accept_all);
    let (ours, theirs) = establish(&mut world, a, b);
    run(&mut world, 31 * SECOND);
    assert_eq!((ours.state(), theirs.state()), (State::Terminated, State::Terminated));
    let reason = |session: &Session| session.end().map(|end| end.reason.clone());
    assert_eq!((reason(&ours).as_deref(), reason(&theirs).as_deref()), (Some("timeout"), Some("remote hangup")));
    finish(world, &[a, b]);
}

/// Calls in every state when the system stops: all final within two seconds, whatever the peers do.
#[test]
fn stopping_ends_every_call_in_whatever_state() {
    for reachable in [true, false] {
        let mut world = World::new(5, Conditions::LAN);
        let undecided = |event: &Event, actions: &mut Actions| {
            if let Event::Incoming(call) = event
                && call.session.to_uri.contains("accept")
            {
                actions.accept(call.session.id);
            }
        };
        let a = world.add(config(), PORTS, undecided);
        let b = world.add(config(), PORTS, undecided);
        for (from, to) in [(a, b), (b, a)] {
            for user in ["accept", "ring", "accept", "ring"] {
                let uri = world.uri(to, user);
                place(&mut world, from, &uri);
            }
        }
        let nobody = place(&mut world, a, "sip:x@10.99.0.1");
        run(&mut world, 3 * SECOND);
        place(&mut world, a, "sip:y@10.99.0.1");
        assert_eq!(world.live(a).sessions, 10);
        if !reachable {
            world.network_mut().set_conditions(Conditions::CUT);
        }
        let stop = match world.command(a, |token| Command::Stop { token, drain: Duration::ZERO }) {
            Ok(token) => token,
            Err(stuck) => panic!("{stuck}"),
        };
        run(&mut world, 2 * SECOND);
        assert!(matches!(world.outcome(stop), Some(Ok(_))), "{:?}", world.outcome(stop));
        assert_eq!(world.live(a).sessions, 0);
        assert!(nobody.state().is_final());
        assert_eq!(world.live(a).ports, 0, "the ports of all calls are given back");
        if reachable {
            run(&mut world, SECOND);
            assert_eq!(world.live(b).sessions, 0, "the peer knows of it");
            finish(world, &[a, b]);
        }
    }
}

#[test]
fn draining_lets_calls_go_on_and_takes_no_new_ones() {
    let mut world = World::new(6, Conditions::LAN);
    let a = world.add(config(), PORTS, idle);
    let b = world.add(config(), PORTS, accept_all);
    let (ours, _) = establish(&mut world, a, b);
    let stop = match world.command(b, |token| Command::Stop { token, drain: 10 * SECOND }) {
        Ok(token) => token,
        Err(stuck) => panic!("{stuck}"),
    };
    run(&mut world, 5 * SECOND);
    assert_eq!(ours.state(), State::Active);
    let uri = world.uri(b, "bob");
    let late = place(&mut world, a, &uri);
    run(&mut world, 2 * SECOND);
    assert_eq!(status(&late), Some(503));
    assert!(world.outcome(stop).is_none());
    run(&mut world, 5 * SECOND);
    assert!(world.outcome(stop).is_some());
    assert_eq!(ours.state(), State::Terminated);
    finish(world, &[a, b]);
}

/// The caller vanishes in the middle of a call: the other side learns of it when it wants to say something.
#[test]
fn a_vanished_peer_leaves_nothing_behind() {
    let mut world = World::new(7, Conditions::LAN);
    let a = world.add(config(), PORTS, idle);
    let b = world.add(config(), PORTS, accept_all);
    let (_, theirs) = establish(&mut world, a, b);
    let ringing = place(&mut world, a, "sip:x@10.0.0.2");
    world.network_mut().set_conditions(Conditions::CUT);
    run(&mut world, 40 * SECOND);
    assert_eq!((ringing.state(), status(&ringing)), (State::Failed, Some(408)));
    let session = theirs.id;
    assert!(world.command(b, |token| Command::Hangup { token, session, reason: None }).is_ok());
    assert_eq!(theirs.state(), State::Terminated, "final at once");
    for session in world.directory(a).active() {
        assert!(world.command(a, |token| Command::Hangup { token, session, reason: None }).is_ok());
    }
    finish(world, &[a, b]);
}

/// CANCEL and the answer cross on the wire: at the caller it is cancelled, at the callee it was answered and is hung up.
#[test]
fn a_cancel_that_crosses_with_the_answer() {
    for delay in [10, 200, 400] {
        for early in 0..20 {
            let delay = MILLISECOND * delay;
            let mut world = World::new(8, Conditions::PERFECT.with_delay(delay, Duration::ZERO));
            let a = world.add(config(), PORTS, idle);
            let ring = move |event: &Event, actions: &mut Actions| {
                if let Event::Incoming(call) = event {
                    let session = call.session.id;
                    let decide = |decision| move |token| Command::Decide { token, session, decision };
                    actions.run(decide(Decision::Defer));
                    let accept = Decision::Accept { sdp: None, headers: Vec::new() };
                    actions.run_after(SECOND, decide(accept));
                }
            };
            let b = world.add(config(), PORTS, ring);
            let uri = world.uri(b, "bob");
            let ours = place(&mut world, a, &uri);
            let session = ours.id;
            // Between well before the answer leaves and just before it arrives.
            let at = SECOND + delay * 2 - delay * 2 * early / 20 - MILLISECOND;
            world.command_after(at, a, |token| Command::Hangup { token, session, reason: None });
            run(&mut world, 10 * SECOND);
            let theirs = session_of(&world, b, &ours.call_id, Direction::Incoming).expect("a session");
            let crossed = theirs.state() == State::Terminated;
            assert_eq!(ours.state(), State::Cancelled);
            assert!(crossed || theirs.state() == State::Cancelled, "{delay:?} {early}: {}", theirs.state());
            assert_eq!(crossed, at + delay > SECOND + delay, "{delay:?} {early}: which was first at the callee");
            finish(world, &[a, b]);
        }
    }
}
