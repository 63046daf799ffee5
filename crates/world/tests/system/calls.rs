//! Hundreds of calls between systems that decide at random, over networks that lose, double, delay and reorder packets. Whatever
//! happens, both sides of a call end in the same state, and nothing is left of it once its timers have run out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use ringback_engine::api::{Command, Decision, Direction, EndCause, Event, Session, SessionId, State};
use ringback_media_api::Token;
use ringback_netsim::Conditions;
use ringback_world::{Actions, Handler, SystemId, World};

use crate::common::{MILLISECOND, PORTS, QUIET, SECOND, check_log, check_nothing_left, config, seeds, sessions};

/// A program that decides by dice.
struct Dice {
    rng: ChaCha12Rng,
    /// Where calls are forwarded to.
    elsewhere: String,
    /// Calls that are up, to be bridged with the next one.
    waiting: Option<SessionId>,
}

impl Dice {
    fn new(seed: u64, elsewhere: String) -> Self {
        Dice { rng: ChaCha12Rng::seed_from_u64(seed), elsewhere, waiting: None }
    }

    fn below(&mut self, most: u64) -> u64 {
        self.rng.next_u64() % most
    }

    fn soon(&mut self, most: Duration) -> Duration {
        MILLISECOND * u32::try_from(self.below(most.as_millis() as u64)).unwrap_or(0)
    }

    fn incoming(&mut self, session: SessionId, actions: &mut Actions) {
        let decide = |decision| move |token| Command::Decide { token, session, decision };
        let accept = || Decision::Accept { sdp: None, headers: Vec::new() };
        let busy = || Decision::Reject { status: 486, reason: "Busy Here".into(), headers: Vec::new() };
        let later = self.soon(8 * SECOND);
        match self.below(10) {
            0..=3 => {
                actions.run(decide(accept()));
            }
            4 => {
                actions.run_after(later, decide(accept()));
            }
            5 => {
                actions.run(decide(Decision::Defer));
                actions.run_after(later, decide(accept()));
            }
            6 => {
                actions.run(decide(Decision::Progress { sdp: None }));
                actions.run_after(later, decide(if later > 4 * SECOND { accept() } else { busy() }));
            }
            7 => {
                actions.run_after(later / 4, decide(busy()));
            }
            8 => {
                let targets = vec![self.elsewhere.clone()];
                let (redirect, ring) = (self.below(4) == 0, 20 * SECOND);
                actions.run(decide(Decision::Forward { targets, redirect, parallel: false, ring }));
            }
            // Nobody ever decides: the caller gives up, or the answer timeout comes.
            _ => {
                actions.run(decide(Decision::Defer));
            }
        }
    }

    fn established(&mut self, session: SessionId, actions: &mut Actions) {
        // Both sides may do the same at the same time: that is what glare is for.
        if self.below(3) == 0 {
            let held = self.soon(4 * SECOND);
            actions.run_after(held, |token| Command::Hold { token, session });
            actions.run_after(held + self.soon(4 * SECOND), |token| Command::Resume { token, session });
        }
        if self.below(4) == 0 {
            actions.run_after(self.soon(3 * SECOND), |token| Command::Reoffer { token, session, sdp: None });
        }
        match self.waiting.take() {
            Some(first) => {
                actions.run(|token| Command::Bridge { token, first, second: session });
            }
            None if self.below(3) == 0 => self.waiting = Some(session),
            None => {}
        }
        let end = self.soon(20 * SECOND);
        actions.run_after(end, |token| Command::Hangup { token, session, reason: None });
    }
}

impl Handler for Dice {
    fn handle(&mut self, event: &Event, actions: &mut Actions) {
        match event {
            Event::Incoming(call) => self.incoming(call.session.id, actions),
            Event::Established { session, .. } => self.established(session.id, actions),
            _ => {}
        }
    }
}

/// Three systems with `calls` calls among them, begun over a while; run to the end and checked.
fn run(seed: u64, calls: u32, conditions: Conditions) {
    let label = format!("seed {seed}, {conditions:?}");
    let mut world = World::new(seed, conditions);
    let mut dice = ChaCha12Rng::seed_from_u64(seed ^ 0x5eed);
    let systems: Vec<SystemId> = (0..3_u64)
        .map(|number| {
            let elsewhere = format!("sip:carol@10.0.0.{}", (number + 1) % 3 + 1);
            world.add(config(), PORTS, Dice::new(seed * 3 + number, elsewhere))
        })
        .collect();
    let mut tokens = Vec::new();
    for _ in 0..calls {
        let from = systems[(dice.next_u32() % 3) as usize];
        let to = systems[(dice.next_u32() % 3) as usize];
        if from == to {
            continue;
        }
        let (own, uri) = (world.uri(from, "alice"), world.uri(to, "bob"));
        let session = match world.call(from, &own, &uri) {
            Ok(Ok(session)) => session.id,
            other => panic!("{label}: {other:?}"),
        };
        // Some are given up, at any moment of their life.
        if dice.next_u32() % 4 == 0 {
            let after = MILLISECOND * (dice.next_u32() % 6000);
            tokens.push(world.command_after(after, from, |token| Command::Hangup { token, session, reason: None }));
        }
        if let Err(stuck) = world.run_for(MILLISECOND * (dice.next_u32() % 300)) {
            panic!("{label}: {stuck}");
        }
    }
    let over = |world: &World| systems.iter().all(|system| world.live(*system).sessions == 0);
    // Undecided calls end after the answer timeout of three minutes.
    match world.run_until(400 * SECOND, over) {
        Ok(true) => {}
        other => panic!("{label}: {other:?} {:?}", systems.iter().map(|s| world.live(*s)).collect::<Vec<_>>()),
    }
    if let Err(stuck) = world.run_for(QUIET).and_then(|()| world.run_until_idle(SECOND)) {
        panic!("{label}: {stuck}");
    }
    for token in tokens {
        assert!(world.outcome(token).is_some(), "{label}: {token:?} was never answered");
    }
    check_nothing_left(&world, &systems, &label);
    for system in &systems {
        check_log(&world, *system, &label);
    }
    check_both_sides(&world, &systems, &label, conditions.loss);
}

/// The two sessions of each SIP call against each other.
fn check_both_sides(world: &World, systems: &[SystemId], label: &str, loss: f64) {
    let mut callers: BTreeMap<Box<str>, Arc<Session>> = BTreeMap::new();
    let mut callees: BTreeMap<Box<str>, Arc<Session>> = BTreeMap::new();
    for system in systems {
        for session in sessions(world, *system).into_values() {
            let side = match session.direction {
                Direction::Outgoing => &mut callers,
                Direction::Incoming => &mut callees,
            };
            let before = side.insert(session.call_id.clone(), session);
            assert!(before.is_none(), "{label}: the same call twice on one side: {before:?}");
        }
    }
    let mut seen = BTreeSet::new();
    for (call_id, caller) in &callers {
        let callee = callees.remove(call_id);
        let pair = (caller.state(), callee.as_ref().map(|session| session.state()));
        seen.insert(format!("{pair:?}"));
        let fits = match pair {
            (State::Terminated, Some(State::Terminated))
            | (State::Rejected, Some(State::Rejected))
            | (State::Cancelled, Some(State::Cancelled)) => true,
            // The CANCEL crossed with the final response: the caller had given up by then (RFC 3261 §9.1), and what the callee
            // decided is what it knows.
            (State::Cancelled, Some(State::Terminated | State::Rejected)) => true,
            // The INVITE was given up before it arrived.
            (State::Cancelled, None) => true,
            // Nothing came back in 64*T1 (§17.1.1.2, §17.1.2.2): the callee may not know of the call, have given it up by itself
            // (no ACK), or go by the BYE of the caller.
            (State::Failed, _) => loss > 0.0 && ended_with(Some(caller), 408),
            // The callee got no ACK in 64*T1 (§13.3.1.4), or no answer to a re-INVITE of its own.
            (State::Cancelled | State::Terminated, Some(State::Failed)) if ended_with(callee.as_ref(), 408) => {
                loss > 0.0
            }
            _ => false,
        };
        assert!(fits, "{label}: {pair:?}\n{caller:?}\n{callee:?}");
    }
    assert!(callees.is_empty(), "{label}: calls without a caller: {callees:?}");
    assert!(callers.len() < 20 || seen.len() > 1, "{label}: the dice make calls of every kind: {seen:?}");
}

/// Ended as failed, for this status.
fn ended_with(session: Option<&Arc<Session>>, wanted: u16) -> bool {
    let cause = session.and_then(|session| session.end()).map(|end| &end.cause);
    matches!(cause, Some(EndCause::Failed { status: Some(status), .. }) if *status == wanted)
}

fn rough(seed: u64) -> Conditions {
    let mut dice = ChaCha12Rng::seed_from_u64(seed);
    let mut part = |most: f64| most * f64::from(dice.next_u32()) / f64::from(u32::MAX);
    Conditions::PERFECT
        .with_loss(part(0.3))
        .with_duplication(part(0.2))
        .with_reordering(part(0.2), Duration::from_millis(250))
        .with_delay(Duration::from_secs_f64(part(0.1)), Duration::from_secs_f64(part(0.1)))
}

#[test]
fn calls_over_a_quiet_network() {
    for seed in seeds(0..4) {
        run(seed, 60, Conditions::LAN);
    }
}

#[test]
fn calls_over_slow_networks_that_lose_nothing() {
    for seed in seeds(10..14) {
        let slow = Conditions::PERFECT.with_delay(150 * MILLISECOND, 300 * MILLISECOND);
        run(seed, 60, slow.with_duplication(0.3).with_reordering(0.3, 400 * MILLISECOND));
    }
}

#[test]
fn calls_over_lossy_networks() {
    for seed in seeds(20..24) {
        for loss in [0.02, 0.1, 0.2, 0.3] {
            run(seed, 30, Conditions::LAN.with_loss(loss));
        }
    }
}

#[test]
fn calls_over_rough_networks() {
    for seed in seeds(30..38) {
        run(seed, 40, rough(seed));
    }
}

/// The same seed gives the same run, to the nanosecond: what a failure prints can be run again.
#[test]
fn runs_can_be_repeated() {
    let trace = |seed: u64| {
        let mut world = World::new(seed, rough(seed));
        let a = world.add(config(), PORTS, Dice::new(1, "sip:x@10.0.0.2".into()));
        let b = world.add(config(), PORTS, Dice::new(2, "sip:x@10.0.0.1".into()));
        for _ in 0..10 {
            let uri = world.uri(b, "bob");
            assert!(matches!(world.call(a, "sip:alice@10.0.0.1", &uri), Ok(Ok(_))));
        }
        assert_eq!(world.run_for(60 * SECOND), Ok(()));
        let events = |system| -> Vec<String> {
            world.log(system).iter().map(|logged| format!("{:?} {:?}", logged.at, logged.event)).collect()
        };
        (events(a), events(b), world.network().counters(), world.traffic(a))
    };
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5).2, trace(6).2);
}

/// Tokens are answered even where nobody is left to ask.
#[test]
fn commands_on_ended_calls_are_answered() {
    let (mut world, a, b) = crate::common::pair(1, Conditions::LAN);
    let (ours, _) = crate::common::establish(&mut world, a, b);
    let session = ours.id;
    let hang_up = |token: Token| Command::Hangup { token, session, reason: None };
    assert!(world.command(a, hang_up).is_ok());
    let again = world.command(a, hang_up).expect("no livelock");
    assert!(matches!(world.outcome(again), Some(Ok(_))), "hanging up twice is no error");
    let hold = world.command(a, |token| Command::Hold { token, session }).expect("no livelock");
    assert!(matches!(world.outcome(hold), Some(Err(_))));
    assert_eq!(world.run_until_idle(QUIET), Ok(()));
    check_nothing_left(&world, &[a, b], "");
}
