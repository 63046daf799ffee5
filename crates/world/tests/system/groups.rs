//! A group of telephones that have registered, each with its password, and a caller who has to prove itself: over networks that lose and double, one
//! of them answers, whoever else is rung lets it go, and nothing is left of it.

use std::sync::Arc;
use std::time::Duration;

use ringback_engine::api::{
    AccountConfig, Command, Config, Decision, Event, RegistrarConfig, Registration, RegistrationState, Reply, Session,
    State, StoreKind,
};
use ringback_netsim::Conditions;
use ringback_ua::{Authenticator, Credentials, Passwords};
use ringback_world::{Actions, SystemId, World};

use crate::common::{MILLISECOND, PORTS, QUIET, SECOND, check_log, check_nothing_left, config, idle, seeds, sessions};

/// Of the system that has the registrar: the first address that is given.
const DOMAIN: &str = "10.0.0.1";
const USERS: [&str; 4] = ["refuses", "silent", "answers", "caller"];

fn aor(user: &str) -> String {
    format!("sip:{user}@{DOMAIN}")
}

/// Forwards each call to the group, and is its registrar.
fn exchange(parallel: bool) -> (Config, impl FnMut(&Event, &mut Actions)) {
    let passwords = USERS.map(|user| (user.to_owned(), format!("secret of {user}")));
    let registrar = RegistrarConfig {
        domains: vec![DOMAIN.into()],
        min_expires: 60 * SECOND,
        max_expires: 3600 * SECOND,
        max_contacts: 10,
        gruu_key: None,
        store: StoreKind::Memory,
    };
    let authenticator = Authenticator::new(DOMAIN, Passwords::table(passwords));
    let config = Config { registrar: Some(registrar), authenticator: Some(authenticator), ..config() };
    let handler = move |event: &Event, actions: &mut Actions| {
        if let Event::Incoming(call) = event {
            let targets = USERS[..3].iter().map(|user| aor(user)).collect();
            actions
                .decide(call.session.id, Decision::Forward { targets, redirect: false, parallel, ring: 10 * SECOND });
        }
    };
    (config, handler)
}

/// A telephone that does what its name says.
fn phone(user: &'static str) -> impl FnMut(&Event, &mut Actions) {
    move |event, actions| {
        if let Event::Incoming(call) = event {
            let session = call.session.id;
            actions.decide(session, Decision::Defer);
            let decision = match user {
                "refuses" => Decision::Reject { status: 486, reason: "Busy Here".into(), headers: Vec::new() },
                "answers" => Decision::Accept { sdp: None, headers: Vec::new() },
                _ => return,
            };
            actions.run_after(1500 * MILLISECOND, |token| Command::Decide { token, session, decision });
        }
    }
}

fn register(world: &mut World, system: SystemId, user: &str) -> Arc<Registration> {
    let credentials =
        Credentials { username: user.into(), password: format!("secret of {user}"), realm: Some(DOMAIN.into()) };
    let account = AccountConfig {
        aor: aor(user),
        registrar: None,
        proxy: None,
        further_proxies: Vec::new(),
        credentials: Some(Arc::new(credentials)),
        expires: 3600 * SECOND,
        transport: None,
        instance: format!("urn:uuid:00000000-0000-0000-0000-{:0>12}", user.len()),
    };
    let command = |token| Command::Register { token, id: 1, account: Box::new(account) };
    let token = world.command(system, command).expect("it runs");
    match world.outcome(token) {
        Some(Ok(Reply::Registration(registration))) => Arc::clone(registration),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_is_rung_until_one_of_it_answers() {
    for seed in seeds(0..24) {
        let (parallel, caller_ends) = (seed % 2 == 0, seed % 4 < 2);
        let label = format!("seed {seed}");
        let mut world = World::new(
            seed,
            Conditions { loss: 0.2, duplication: 0.1, delay: 20 * MILLISECOND, ..Conditions::PERFECT },
        );
        let (config_of_exchange, handler) = exchange(parallel);
        let mut systems = vec![world.add(config_of_exchange, PORTS, handler)];
        systems.extend(USERS[..3].iter().map(|user| world.add(config(), PORTS, phone(user))));
        systems.push(world.add(config(), PORTS, idle));
        let registrations: Vec<_> =
            systems[1..].iter().zip(USERS).map(|(system, user)| register(&mut world, *system, user)).collect();
        let up = |_: &World| registrations.iter().all(|one| one.state() == RegistrationState::Registered);
        assert_eq!(world.run_until(300 * SECOND, up), Ok(true), "{label}: all have proven themselves");

        let call = world.call(systems[4], &aor("caller"), &aor("group")).expect("it runs").expect("placed");
        assert_eq!(world.run_until(120 * SECOND, |_| call.state() == State::Active), Ok(true), "{label}: {call:?}");
        assert_eq!(world.engine(systems[0]).ua_counters().wrong_credentials, 0, "{label}");
        // The losers hear of it in the time that lost CANCELs take.
        assert_eq!(world.run_for(70 * SECOND), Ok(()), "{label}");
        let of = |world: &World, place: usize| -> Vec<Arc<Session>> {
            sessions(world, systems[place]).into_values().collect()
        };
        let active = |world: &World, place: usize| {
            of(world, place).into_iter().filter(|session| session.state() == State::Active).collect::<Vec<_>>()
        };
        assert_eq!([1, 2, 3].map(|place| active(&world, place).len()), [0, 0, 1], "{label}");
        assert!((1..=3).all(|place| !of(&world, place).is_empty()), "{label}: each was rung");
        let (system, session) = match caller_ends {
            true => (systems[4], call.id),
            false => (systems[3], active(&world, 3)[0].id),
        };
        world.command(system, |token| Command::Hangup { token, session, reason: None }).expect("it runs");
        let over =
            |world: &World| (0..5).all(|place| of(world, place).iter().all(|session| session.state().is_final()));
        assert_eq!(world.run_until(70 * SECOND, over), Ok(true), "{label}: the end comes through");
        world.network_mut().set_conditions(Conditions::PERFECT);
        for system in &systems {
            world.command(*system, |token| Command::Stop { token, drain: Duration::ZERO }).expect("it runs");
        }
        world.run_for(QUIET).expect("it runs");
        for system in &systems {
            check_log(&world, *system, &label);
        }
        check_nothing_left(&world, &systems, &label);
    }
}
