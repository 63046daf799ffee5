//! Transfers, messages and subscriptions over networks that lose and double: whatever is lost, each comes to its end, and nothing is
//! left of it.

use std::time::Duration;

use ringback_engine::api::{Command, Event, Reply, State, TransferTarget};
use ringback_netsim::Conditions;
use ringback_world::{Actions, World};

use crate::common::{MILLISECOND, PORTS, QUIET, SECOND, accept_all, config, establish, idle, seeds};

/// A program that accepts calls, and lets peers transfer them and watch.
fn willing(event: &Event, actions: &mut Actions) {
    match event {
        Event::TransferRequest { session, .. } => {
            let session = session.id;
            actions.run(|token| Command::DecideTransfer { token, session, accept: true });
        }
        Event::SubscribeRequest { request, .. } => {
            let request = *request;
            actions.run(|token| Command::DecideSubscribe { token, request, accept: true });
        }
        event => accept_all(event, actions),
    }
}

/// A fifth of all packets is lost, some come twice.
fn bad() -> Conditions {
    Conditions { loss: 0.2, duplication: 0.1, delay: 20 * MILLISECOND, ..Conditions::PERFECT }
}

#[test]
fn blind_transfers_come_to_an_end() {
    let mut transferred = 0;
    for seed in seeds(0..20) {
        let mut world = World::new(seed, Conditions::PERFECT);
        let alice = world.add(config(), PORTS, willing);
        let bob = world.add(config(), PORTS, willing);
        let carol = world.add(config(), PORTS, willing);
        let (ours, theirs) = establish(&mut world, alice, bob);
        world.network_mut().set_conditions(bad());
        let (session, target) = (theirs.id, TransferTarget::Uri(world.uri(carol, "carol")));
        let token = world.command(bob, |token| Command::Transfer { token, session, target }).expect("it runs");
        assert_eq!(world.run_until(300 * SECOND, |world| world.outcome(token).is_some()), Ok(true), "seed {seed}");
        let well = matches!(world.outcome(token), Some(Ok(Reply::Unit)));
        if well {
            transferred += 1;
            assert_eq!(theirs.state(), State::Terminated, "seed {seed}");
        } else {
            assert!(theirs.state() == State::Active || theirs.state().is_final(), "seed {seed}");
        }
        assert_eq!(world.run_until(100 * SECOND, |_| ours.state().is_final() || !well), Ok(true), "seed {seed}");
        world.network_mut().set_conditions(Conditions::PERFECT);
        for system in [alice, bob, carol] {
            world.command(system, |token| Command::Stop { token, drain: Duration::ZERO }).expect("it runs");
        }
        world.run_for(QUIET).expect("it runs");
        for system in [alice, bob, carol] {
            assert!(world.live(system).is_nothing(), "seed {seed}: {:?}", world.live(system));
        }
    }
    assert!(transferred > 10, "{transferred} of 20");
}

#[test]
fn messages_and_watchers_get_what_was_sent() {
    for seed in seeds(0..20) {
        let mut world = World::new(seed, Conditions { delay: 20 * MILLISECOND, ..bad() });
        let alice = world.add(config(), PORTS, idle);
        let bob = world.add(config(), PORTS, willing);
        let to = world.uri(bob, "bob");
        let (from, aor) = ("sip:alice@example.com".to_owned(), to.clone());
        let subscribe = {
            let (from, to) = (from.clone(), to.clone());
            let event = "message-summary".to_owned();
            world.command(alice, |token| Command::Subscribe { token, from, to, event, expires: 3600 * SECOND })
        };
        let subscribe = subscribe.expect("it runs");
        let message = world.command(alice, |token| Command::SendMessage {
            token,
            from,
            to,
            content_type: "text/plain".into(),
            body: "hello".into(),
        });
        let message = message.expect("it runs");
        world.run_for(40 * SECOND).expect("it runs");
        assert!(matches!(world.outcome(message), Some(Ok(Reply::Unit))), "seed {seed}: {:?}", world.outcome(message));
        let heard = world.log(bob).iter().filter(|logged| matches!(logged.event, Event::Message(_))).count();
        assert_eq!(heard, 1, "seed {seed}: once, whatever was repeated");
        let Some(Ok(Reply::Subscription(_))) = world.outcome(subscribe) else {
            panic!("seed {seed}: {:?}", world.outcome(subscribe))
        };
        world.command(bob, |token| Command::PublishSummary { token, aor, new: 7, old: 1 }).expect("it runs");
        let told = |world: &World| {
            world.log(alice).iter().any(
                |logged| matches!(&logged.event, Event::Notification { body, .. } if body.contains("Voice-Message: 7/1")),
            )
        };
        assert_eq!(world.run_until(100 * SECOND, told), Ok(true), "seed {seed}");
        world.network_mut().set_conditions(Conditions::PERFECT);
        for system in [alice, bob] {
            world.command(system, |token| Command::Stop { token, drain: Duration::ZERO }).expect("it runs");
        }
        world.run_for(QUIET).expect("it runs");
        for system in [alice, bob] {
            assert!(world.live(system).is_nothing(), "seed {seed}: {:?}", world.live(system));
        }
    }
}
