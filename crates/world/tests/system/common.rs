//! What the tests share: simple programs, and the rules that every log of events keeps.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ringback_engine::api::{Config, Direction, Event, Interest, Origin, Session, SessionId, State};
use ringback_netsim::Conditions;
use ringback_world::{Actions, SystemId, World};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);
pub(crate) const PORTS: (u16, u16) = (20_000, 29_999);

/// After this long nothing of an ended call is left: 64*T1 for a 200 that nobody acknowledges, 64*T1 for the BYE that follows,
/// 64*T1 in which the answer to it lingers, and the minute for which ended sessions stay known.
pub(crate) const QUIET: Duration = Duration::from_secs(200);

/// The seeds that a test runs with. A longer search: `RINGBACK_SEEDS=1000..2000 cargo test -p ringback-world`.
pub(crate) fn seeds(usual: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("RINGBACK_SEEDS") else { return usual };
    match text.split_once("..").map(|(from, to)| (from.parse(), to.parse())) {
        Some((Ok(from), Ok(to))) => from..to,
        _ => panic!("RINGBACK_SEEDS is to be two numbers, as in 0..100, not {text:?}"),
    }
}

pub(crate) fn config() -> Config {
    Config { origin: Origin::Ask, interest: Interest::ALL, ..Config::default() }
}

/// A program that accepts every call.
pub(crate) fn accept_all(event: &Event, actions: &mut Actions) {
    if let Event::Incoming(call) = event {
        actions.accept(call.session.id);
    }
}

/// A program that does nothing.
pub(crate) fn idle(_: &Event, _: &mut Actions) {}

/// Two systems: one that places calls, one that accepts them.
pub(crate) fn pair(seed: u64, conditions: Conditions) -> (World, SystemId, SystemId) {
    let mut world = World::new(seed, conditions);
    let caller = world.add(config(), PORTS, idle);
    let callee = world.add(config(), PORTS, accept_all);
    (world, caller, callee)
}

/// Places a call from one system to the other and runs until it is up on both sides.
pub(crate) fn establish(world: &mut World, from: SystemId, to: SystemId) -> (Arc<Session>, Arc<Session>) {
    let uri = world.uri(to, "bob");
    let ours = place(world, from, &uri);
    let call_id = ours.call_id.clone();
    let is_up = |world: &World| {
        let theirs = session_of(world, to, &call_id, Direction::Incoming);
        ours.state() == State::Active && theirs.is_some_and(|session| session.state() == State::Active)
    };
    assert_eq!(world.run_until(30 * SECOND, is_up), Ok(true), "the call is up, it is {}", ours.state());
    let theirs = session_of(world, to, &call_id, Direction::Incoming);
    match theirs {
        Some(theirs) => (ours, theirs),
        None => panic!("no session at the other side"),
    }
}

pub(crate) fn place(world: &mut World, from: SystemId, to: &str) -> Arc<Session> {
    let own = world.uri(from, "alice");
    match world.call(from, &own, to) {
        Ok(Ok(session)) => session,
        other => panic!("the call was not placed: {other:?}"),
    }
}

/// The session of a SIP call, as its Call-ID has it, in one system.
pub(crate) fn session_of(world: &World, system: SystemId, call_id: &str, direction: Direction) -> Option<Arc<Session>> {
    sessions(world, system).into_values().find(|session| &*session.call_id == call_id && session.direction == direction)
}

/// Every session that the events of a system speak of.
pub(crate) fn sessions(world: &World, system: SystemId) -> BTreeMap<SessionId, Arc<Session>> {
    let about = world.log(system).iter().filter_map(|logged| ringback_world::session_of(&logged.event));
    about.map(|session| (session.id, Arc::clone(session))).collect()
}

/// See `ringback_world::check_log`; and the list of active sessions is empty.
pub(crate) fn check_log(world: &World, system: SystemId, label: &str) {
    if let Err(what) = ringback_world::check_log(world.log(system)) {
        panic!("{label}: {system:?}: {what}");
    }
    assert_eq!(world.directory(system).active(), Vec::new(), "{label}: sessions are left");
}

/// Nothing is left of any call, in any system.
pub(crate) fn check_nothing_left(world: &World, systems: &[SystemId], label: &str) {
    for system in systems {
        let live = world.live(*system);
        assert!(live.is_nothing(), "{label}: {system:?} still has {live:?}");
        assert_eq!(world.engine(*system).counters().panics, 0, "{label}: a panic was caught in {system:?}");
    }
    assert_eq!(world.network().under_way(), 0, "{label}: packets are under way");
}
