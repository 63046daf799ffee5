//! Two systems that renegotiate their call in any order, both at once, over a network that loses, doubles and reorders: holding, resuming,
//! new offers, transfers, other codecs, late offers, early media. Whatever happens, every operation comes to its end, both sides say the same
//! of their call when it is quiet again, and nothing is left.

use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use ringback_engine::api::{
    CallOptions, Command, Config, Decision, Direction, Event, MediaInfo, Reply, Session, State, TransferTarget,
};
use ringback_media_api::{Codec, Token};
use ringback_netsim::Conditions;
use ringback_world::{Actions, SystemId, World};

use crate::common::{
    MILLISECOND, PORTS, QUIET, SECOND, accept_all, check_log, check_nothing_left, config, idle, seeds, session_of,
};

const STEPS: u32 = 30;
/// A transaction lasts 64*T1 and an offer that meets another is tried for half a minute: by then all has been said.
const PATIENCE: Duration = Duration::from_secs(90);

struct Dice(ChaCha12Rng);

impl Dice {
    fn below(&mut self, most: u32) -> u32 {
        self.0.next_u32() % most
    }

    fn one_in(&mut self, most: u32) -> bool {
        self.below(most) == 0
    }

    fn codecs(&mut self) -> Vec<Codec> {
        let mut codecs = vec![Codec::Pcmu];
        for codec in [Codec::Pcma, Codec::G722, Codec::Opus] {
            if self.one_in(2) {
                let place = self.below(codecs.len() as u32 + 1) as usize;
                codecs.insert(place, codec);
            }
        }
        codecs
    }
}

fn bad(dice: &mut Dice) -> Conditions {
    let conditions = Conditions { delay: 20 * MILLISECOND, ..Conditions::PERFECT };
    match dice.below(4) {
        0 => conditions,
        1 => conditions.with_loss(0.2).with_duplication(0.1),
        2 => conditions.with_reordering(0.3, 700 * MILLISECOND),
        _ => conditions.with_loss(0.1).with_duplication(0.2).with_reordering(0.2, 300 * MILLISECOND),
    }
}

/// Lets peers transfer their calls, and leaves the rest to the test.
fn lets_transfer(event: &Event, actions: &mut Actions) {
    if let Event::TransferRequest { session, .. } = event {
        let session = session.id;
        actions.run(|token| Command::DecideTransfer { token, session, accept: true });
    }
}

struct Run {
    seed: u64,
    dice: Dice,
    world: World,
    alice: SystemId,
    bob: SystemId,
    carol: SystemId,
    /// Of what was asked: what it was, and whether a refusal of it is one of the expected.
    tokens: Vec<(Token, &'static str)>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut dice = Dice(ChaCha12Rng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15));
        let mut world = World::new(seed, bad(&mut dice));
        let mut with_codecs = || Config { codecs: dice.codecs(), ..config() };
        let alice = world.add(with_codecs(), PORTS, lets_transfer);
        let bob = world.add(with_codecs(), PORTS, lets_transfer);
        let carol = world.add(config(), PORTS, accept_all);
        Run { seed, dice, world, alice, bob, carol, tokens: Vec::new() }
    }

    fn ask(&mut self, system: SystemId, what: &'static str, make: impl FnOnce(Token) -> Command) -> Token {
        let token = self.world.command(system, make).unwrap_or_else(|stuck| panic!("seed {}: {stuck}", self.seed));
        self.tokens.push((token, what));
        token
    }

    fn wait(&mut self, time: Duration) {
        self.world.run_for(time).unwrap_or_else(|stuck| panic!("seed {}: {stuck}", self.seed));
    }

    fn until(&mut self, most: Duration, what: &str, done: impl FnMut(&World) -> bool) {
        let result = self.world.run_until(most, done);
        assert!(matches!(result, Ok(true)), "seed {}: {what}: {result:?}", self.seed);
    }

    /// A call from Alice to Bob, with or without an offer, early media, and new offers before the answer.
    fn call(&mut self) -> Option<(Arc<Session>, Arc<Session>)> {
        let (from, to) = (self.world.uri(self.alice, "alice"), self.world.uri(self.bob, "bob"));
        let options = CallOptions { late_offer: self.dice.one_in(4), ..CallOptions::default() };
        let create =
            |token| Command::CreateCall { token, from, to, sdp: None, headers: Vec::new(), send: true, options };
        let token = self.ask(self.alice, "a call", create);
        let ours = match self.world.outcome(token) {
            Some(Ok(Reply::Session(session))) => Arc::clone(session),
            other => panic!("seed {}: {other:?}", self.seed),
        };
        let (bob, call_id) = (self.bob, ours.call_id.clone());
        let arrived = |world: &World| session_of(world, bob, &call_id, Direction::Incoming).is_some();
        self.until(40 * SECOND, "the call arrives", arrived);
        let theirs = session_of(&self.world, bob, &call_id, Direction::Incoming)?;
        let id = theirs.id;
        // What is heard is not the matter here.
        for (system, session) in [(self.alice, ours.id), (bob, id)] {
            self.ask(system, "silence", |token| Command::SetTransmitting { token, session, on: false });
        }
        if self.dice.one_in(2) {
            let decision = if self.dice.one_in(3) { Decision::Defer } else { Decision::Progress { sdp: None } };
            self.ask(bob, "ringing", |token| Command::Decide { token, session: id, decision });
            for _ in 0..self.dice.below(4) {
                let pause = self.dice.below(1500);
                self.wait(pause * MILLISECOND);
                let (system, session) = if self.dice.one_in(2) { (self.alice, ours.id) } else { (bob, id) };
                self.ask(system, "an early offer", |token| Command::Reoffer { token, session, sdp: None });
            }
        }
        let decision = Decision::Accept { sdp: None, headers: Vec::new() };
        self.ask(bob, "the answer", |token| Command::Decide { token, session: id, decision });
        let done = |session: &Session| session.state().is_final() || session.state() == State::Active;
        let (a, b) = (Arc::clone(&ours), Arc::clone(&theirs));
        self.until(120 * SECOND, "the call is up or over", move |_| done(&a) && done(&b));
        Some((ours, theirs))
    }

    fn operate(&mut self, ours: &Session, theirs: &Session) {
        for _ in 0..STEPS {
            let (system, session) = match self.dice.one_in(2) {
                true => (self.alice, ours.id),
                false => (self.bob, theirs.id),
            };
            match self.dice.below(12) {
                0..=3 => self.ask(system, "hold", |token| Command::Hold { token, session }),
                4..=6 => self.ask(system, "resume", |token| Command::Resume { token, session }),
                7..=10 => self.ask(system, "a new offer", |token| Command::Reoffer { token, session, sdp: None }),
                // Nobody is there: it fails, and the call goes on as it was.
                _ => {
                    let target = TransferTarget::Uri("sip:nobody@nowhere.example".into());
                    self.ask(system, "a transfer", |token| Command::Transfer { token, session, target })
                }
            };
            let pause = match self.dice.below(3) {
                0 => 0,
                1 => self.dice.below(60),
                _ => self.dice.below(3000),
            };
            self.wait(pause * MILLISECOND);
            if self.dice.one_in(10) {
                let conditions = bad(&mut self.dice);
                self.world.network_mut().set_conditions(conditions);
            }
        }
    }

    fn info(&mut self, system: SystemId, session: &Session) -> Option<MediaInfo> {
        let session = session.id;
        let token = self.ask(system, "media information", |token| Command::MediaInfo { token, session });
        match self.world.outcome(token) {
            Some(Ok(Reply::MediaInfo(info))) => info.as_deref().cloned(),
            _ => None,
        }
    }

    /// Both sides of a call that is up say the same of it.
    fn agree(&mut self, ours: &Session, theirs: &Session) {
        let seed = self.seed;
        let up = |session: &Session| matches!(session.state(), State::Active | State::OnHold);
        assert!(
            up(ours) == up(theirs) && up(ours) != ours.state().is_final(),
            "seed {seed}: {} and {}",
            ours.state(),
            theirs.state()
        );
        if !up(ours) {
            return;
        }
        for (one, other) in [(ours, theirs), (theirs, ours)] {
            assert_eq!(one.state() == State::OnHold, other.remote_hold(), "seed {seed}: who holds");
        }
        let (alice, bob) = (self.alice, self.bob);
        let (Some(a), Some(b)) = (self.info(alice, ours), self.info(bob, theirs)) else {
            panic!("seed {seed}: no media")
        };
        assert_eq!((&a.local_sdp, &a.remote_sdp), (&b.remote_sdp, &b.local_sdp), "seed {seed}: the descriptions");
        assert_eq!((a.local_address, a.remote_address), (b.remote_address, b.local_address), "seed {seed}");
        if ours.state() == State::Active && theirs.state() == State::Active {
            assert_eq!(a.codec, b.codec, "seed {seed}: the codec");
        }
    }

    fn all_answered(&mut self) {
        let tokens: Vec<Token> = self.tokens.iter().map(|(token, _)| *token).collect();
        let done = move |world: &World| tokens.iter().all(|token| world.outcome(*token).is_some());
        let result = self.world.run_until(PATIENCE, done);
        let stuck: Vec<&str> = self
            .tokens
            .iter()
            .filter(|(token, _)| self.world.outcome(*token).is_none())
            .map(|(_, what)| *what)
            .collect();
        assert!(matches!(result, Ok(true)), "seed {}: stuck: {stuck:?}", self.seed);
    }

    fn finish(mut self) {
        let systems = [self.alice, self.bob, self.carol];
        for system in systems {
            self.ask(system, "a stop", |token| Command::Stop { token, drain: Duration::ZERO });
        }
        self.wait(QUIET);
        self.all_answered();
        let label = format!("seed {}", self.seed);
        check_nothing_left(&self.world, &systems, &label);
        for system in systems {
            check_log(&self.world, system, &label);
        }
    }
}

#[test]
fn any_order_of_renegotiations_ends_in_agreement() {
    let (mut up, mut runs, mut done, mut all) = (0, 0, 0, 0);
    for seed in seeds(0..60) {
        runs += 1;
        let mut run = Run::new(seed);
        let Some((ours, theirs)) = run.call() else { panic!("seed {seed}: no call") };
        run.operate(&ours, &theirs);
        run.world.network_mut().set_conditions(Conditions { delay: 20 * MILLISECOND, ..Conditions::PERFECT });
        run.all_answered();
        // What one side has heard of, and the other not yet: an ACK, a BYE, holding.
        run.wait(PATIENCE);
        run.agree(&ours, &theirs);
        up += usize::from(!ours.state().is_final());
        let outcomes = run.tokens.iter().filter_map(|(token, _)| run.world.outcome(*token));
        for outcome in outcomes {
            all += 1;
            done += usize::from(outcome.is_ok());
        }
        run.finish();
    }
    assert!(up * 3 > runs * 2, "{up} of {runs} calls are up at the end");
    assert!(done > all / 4, "{done} of {all} operations came to something");
}

#[test]
fn a_transfer_amidst_renegotiations_leaves_one_call() {
    for seed in seeds(0..20) {
        let mut run = Run::new(seed);
        let Some((ours, theirs)) = run.call() else { panic!("seed {seed}: no call") };
        let target = run.world.uri(run.carol, "carol");
        for _ in 0..run.dice.below(4) {
            let session = ours.id;
            let alice = run.alice;
            run.ask(alice, "a new offer", |token| Command::Reoffer { token, session, sdp: None });
            let pause = run.dice.below(800);
            run.wait(pause * MILLISECOND);
        }
        let session = theirs.id;
        let bob = run.bob;
        let token = run.ask(bob, "a transfer", |token| Command::Transfer {
            token,
            session,
            target: TransferTarget::Uri(target),
        });
        for _ in 0..run.dice.below(4) {
            let pause = run.dice.below(200);
            run.wait(pause * MILLISECOND);
            let (alice, session) = (run.alice, ours.id);
            run.ask(alice, "hold", |token| Command::Hold { token, session });
        }
        run.world.network_mut().set_conditions(Conditions { delay: 20 * MILLISECOND, ..Conditions::PERFECT });
        // A referral may be followed for minutes.
        run.until(400 * SECOND, "the transfer ends", |world| world.outcome(token).is_some());
        run.all_answered();
        run.wait(PATIENCE);
        let transferred = matches!(run.world.outcome(token), Some(Ok(_)));
        if transferred {
            assert!(ours.state().is_final() && theirs.state().is_final(), "seed {seed}");
        } else {
            run.agree(&ours, &theirs);
        }
        run.finish();
    }
}

/// Forwards each call to the same places.
fn forwards(targets: Vec<String>, parallel: bool) -> impl FnMut(&Event, &mut Actions) {
    move |event, actions| {
        if let Event::Incoming(call) = event {
            let targets = targets.clone();
            let decision = Decision::Forward { targets, redirect: false, parallel, ring: 30 * SECOND };
            actions.decide(call.session.id, decision);
        }
    }
}

#[test]
fn systems_that_forward_to_each_other_stop_soon() {
    // Each with one target, then with several at once: the calls would double at each hop (RFC 5393).
    for (count, parallel) in [(1, false), (2, true), (3, true)] {
        let mut world = World::new(7, Conditions { delay: MILLISECOND, ..Conditions::PERFECT });
        // Addresses are given in order.
        let uri = |system: u32, user: usize| format!("sip:{user}@10.0.0.{system}");
        let to = |system| (0..count).map(|user| uri(system, user)).collect::<Vec<_>>();
        let first = world.add(config(), PORTS, forwards(to(2), parallel));
        let second = world.add(config(), PORTS, forwards(to(1), parallel));
        let caller = world.add(config(), PORTS, idle);
        let target = world.uri(first, "0");
        let from = world.uri(caller, "alice");
        let session = world.call(caller, &from, &target).expect("it runs").expect("placed");
        let over = world.run_until(20 * SECOND, |_| session.state().is_final());
        assert_eq!(over, Ok(true), "{count}: it is {}", session.state());
        let reason = session.end().map(|end| end.reason.clone()).unwrap_or_default();
        assert!(
            ["rejected 483", "rejected 440", "rejected 482"].iter().any(|start| reason.starts_with(start)),
            "{reason}"
        );
        let messages: u64 = [first, second].iter().map(|system| world.traffic(*system).sip_received).sum();
        assert!(messages < 40_000, "{count}: {messages} messages");
        for system in [first, second] {
            let stats = world.directory(system).stats();
            assert!(stats.total_sessions < 5_000, "{count}: {} sessions", stats.total_sessions);
        }
        for system in [first, second, caller] {
            world.command(system, |token| Command::Stop { token, drain: Duration::ZERO }).expect("it runs");
        }
        world.run_for(QUIET).expect("it runs");
        check_nothing_left(&world, &[first, second, caller], &format!("{count}"));
    }
}
