//! A system with several media threads: calls are connected whichever of them they are on, while packets flow and are lost.

use std::sync::Arc;

use ringback_audio::tone_level_dbm0;
use ringback_engine::api::{BridgeId, Command, Direction, Event, Reply, Session, SessionId, State, TransferTarget};
use ringback_media_api::{AudioPort, Token, Tone};
use ringback_netsim::Conditions;
use ringback_world::{Actions, SystemId, World};

use crate::common::{
    MILLISECOND, PORTS, QUIET, SECOND, accept_all, check_log, check_nothing_left, config, establish, idle, seeds,
    sessions,
};

const RATE: u32 = 8000;

fn pitch(n: usize) -> f32 {
    450.0 + 170.0 * n as f32
}

fn ask(world: &mut World, system: SystemId, make: impl FnOnce(Token) -> Command) -> Reply {
    let token = world.command(system, make).expect("it runs");
    assert_eq!(world.run_until(10 * SECOND, |world| world.outcome(token).is_some()), Ok(true), "no answer");
    match world.outcome(token) {
        Some(Ok(reply)) => reply.clone(),
        other => panic!("{other:?}"),
    }
}

/// A call, its session at the server, and what its caller hears.
struct Party {
    session: Arc<Session>,
    at_server: SessionId,
    port: Arc<AudioPort>,
}

/// Calls of one system to a server with three media threads; each caller says a tone of its own.
fn parties(world: &mut World, caller: SystemId, server: SystemId, count: usize) -> Vec<Party> {
    let party = |n: usize| {
        let (session, theirs) = establish(world, caller, server);
        let (id, port) = (session.id, Arc::new(AudioPort::new(RATE, 20, 10_000)));
        let ours = Arc::clone(&port);
        ask(world, caller, |token| Command::OpenAudio { token, session: id, port: ours });
        let tone = Tone { frequencies: vec![pitch(n)], level_dbm0: -20.0, duration: None };
        world.command(caller, |token| Command::PlayTone { token, session: id, tone }).expect("it runs");
        Party { session, at_server: theirs.id, port }
    };
    (0..count).map(party).collect()
}

/// Who is heard by each within the last second.
fn heard(world: &mut World, parties: &[Party]) -> Vec<Vec<usize>> {
    let take = |party: &Party| -> Vec<i16> {
        std::iter::from_fn(|| party.port.read()).flat_map(|frame| frame.into_vec()).collect()
    };
    parties.iter().for_each(|party| drop(take(party)));
    world.run_for(SECOND).expect("it runs");
    let among = |samples: &[i16]| -> Vec<usize> {
        (0..parties.len()).filter(|n| tone_level_dbm0(samples, RATE, f64::from(pitch(*n))) > -28.0).collect()
    };
    parties.iter().map(|party| among(&take(party))).collect()
}

fn bridge(world: &mut World, server: SystemId, a: &Party, b: &Party) -> BridgeId {
    let (first, second) = (a.at_server, b.at_server);
    match ask(world, server, |token| Command::Bridge { token, first, second }) {
        Reply::Bridge(bridge) => bridge,
        other => panic!("{other:?}"),
    }
}

/// A program that accepts calls and lets itself be transferred.
fn willing(event: &Event, actions: &mut Actions) {
    if let Event::TransferRequest { session, .. } = event {
        let session = session.id;
        actions.run(|token| Command::DecideTransfer { token, session, accept: true });
    }
    accept_all(event, actions);
}

fn end(world: &mut World, systems: &[SystemId], label: &str) {
    world.network_mut().set_conditions(Conditions::PERFECT);
    for system in systems {
        world.command(*system, |token| Command::Stop { token, drain: std::time::Duration::ZERO }).expect("it runs");
    }
    world.run_for(QUIET).expect("it runs");
    for system in systems {
        check_log(world, *system, label);
    }
    check_nothing_left(world, systems, label);
}

#[test]
fn calls_of_all_threads_meet_in_pairs_and_conferences_and_part_again() {
    for seed in seeds(0..3) {
        let label = format!("seed {seed}");
        let mut world = World::new(seed, Conditions::PERFECT);
        let caller = world.add(config(), PORTS, idle);
        let server = world.add_with_threads(config(), PORTS, 3, accept_all);
        let parties = parties(&mut world, caller, server, 6);
        let lossy = Conditions { loss: 0.02, delay: 15 * MILLISECOND, jitter: 10 * MILLISECOND, ..Conditions::PERFECT };
        world.network_mut().set_conditions(lossy);
        for (a, b) in [(0, 1), (2, 5), (3, 4)] {
            bridge(&mut world, server, &parties[a], &parties[b]);
        }
        world.run_for(SECOND / 2).expect("it runs");
        assert_eq!(heard(&mut world, &parties), [[1], [0], [5], [4], [3], [2]], "{label}");

        // All of it at one moment: everybody is torn out of his pair, and joins.
        let Reply::Bridge(id) =
            ask(&mut world, server, |token| Command::CreateBridge { token, name: None, max_sessions: None })
        else {
            panic!("{label}: no bridge")
        };
        let Reply::Bridges(pairs) = ask(&mut world, server, |token| Command::ListBridges { token }) else {
            panic!("{label}: no list")
        };
        for pair in pairs.iter().filter(|bridge| bridge.id != id) {
            world.command(server, |token| Command::DestroyBridge { token, bridge: pair.id }).expect("it runs");
        }
        for party in &parties {
            let session = party.at_server;
            world.command(server, |token| Command::AddToBridge { token, bridge: id, session }).expect("it runs");
        }
        world.run_for(SECOND / 2).expect("it runs");
        let all: Vec<Vec<usize>> = (0..6).map(|n| (0..6).filter(|other| *other != n).collect()).collect();
        assert_eq!(heard(&mut world, &parties), all, "{label}");

        // Two of them go into a pair of their own; one of the others is hung up while it is joining a second conference.
        for party in &parties[..2] {
            let session = party.at_server;
            world.command(server, |token| Command::RemoveFromBridge { token, bridge: id, session }).expect("it runs");
        }
        bridge(&mut world, server, &parties[1], &parties[0]);
        let session = parties[5].at_server;
        world.command(server, |token| Command::RemoveFromBridge { token, bridge: id, session }).expect("it runs");
        world
            .command(server, |token| Command::CreateBridge { token, name: None, max_sessions: None })
            .expect("it runs");
        world.command(server, |token| Command::Hangup { token, session, reason: None }).expect("it runs");
        world.run_for(SECOND).expect("it runs");
        let rest = heard(&mut world, &parties[..5]);
        assert_eq!(rest, [vec![1], vec![0], vec![3, 4], vec![2, 4], vec![2, 3]], "{label}");
        end(&mut world, &[caller, server], &label);
    }
}

#[test]
fn who_comes_by_an_attended_transfer_meets_a_call_of_another_thread() {
    let mut world = World::new(3, Conditions::LAN);
    let caller = world.add(config(), PORTS, idle);
    let server = world.add_with_threads(config(), PORTS, 3, accept_all);
    let friend = world.add(config(), PORTS, willing);
    let parties = parties(&mut world, caller, server, 2);
    bridge(&mut world, server, &parties[0], &parties[1]);
    let (consulting, _) = establish(&mut world, caller, friend);
    world.run_for(SECOND / 2).expect("it runs");
    // The friend takes the place of the first party.
    let (session, target) = (consulting.id, TransferTarget::Session(parties[0].session.id));
    let token = world.command(caller, |token| Command::Transfer { token, session, target }).expect("it runs");
    world.run_for(3 * SECOND).expect("it runs");
    assert!(matches!(world.outcome(token), Some(Ok(Reply::Unit))), "{:?}", world.outcome(token));
    assert!(parties[0].session.state().is_final() && parties[1].session.state() == State::Active);
    let placed = sessions(&world, friend).into_values().find(|session| session.direction == Direction::Outgoing);
    let id = placed.expect("it calls the server").id;
    let tone = Tone { frequencies: vec![pitch(0)], level_dbm0: -20.0, duration: None };
    world.command(friend, |token| Command::PlayTone { token, session: id, tone }).expect("it runs");
    world.run_for(SECOND / 2).expect("it runs");
    assert_eq!(heard(&mut world, &parties)[1], [0], "the friend");
    end(&mut world, &[caller, server, friend], "a transfer");
}
