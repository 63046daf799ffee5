//! A flow over UDP between a user agent and a registrar of ours (RFC 5626 §4.4.2), with loss.

use std::sync::Arc;
use std::time::Duration;

use ringback_engine::api::{
    AccountConfig, Command, Config, Record, RegistrarConfig, Registration, RegistrationState, Reply, State, StoreKind,
};
use ringback_netsim::Conditions;
use ringback_world::{SystemId, World};

use crate::common::{MILLISECOND, PORTS, SECOND, accept_all, config, idle, place, seeds};

const AOR: &str = "sip:alice@10.0.0.1";

/// The registrar, and a user agent that registers with it.
fn flow(seed: u64, conditions: Conditions) -> (World, SystemId, SystemId, Arc<Registration>) {
    let mut world = World::new(seed, conditions);
    let registrar = RegistrarConfig {
        domains: vec!["10.0.0.1".into()],
        min_expires: 60 * SECOND,
        max_expires: 3600 * SECOND,
        max_contacts: 10,
        gruu_key: None,
        store: StoreKind::Memory,
    };
    let pbx = world.add(Config { registrar: Some(registrar), ..config() }, PORTS, idle);
    let phone = world.add(config(), PORTS, accept_all);
    let account = AccountConfig {
        aor: AOR.into(),
        registrar: None,
        proxy: None,
        further_proxies: Vec::new(),
        credentials: None,
        expires: 3600 * SECOND,
        transport: None,
        instance: "urn:uuid:00000000-0000-0000-0000-000000000001".into(),
    };
    let command = |token| Command::Register { token, id: 1, account: Box::new(account) };
    let token = world.command(phone, command).expect("it runs");
    let registration = match world.outcome(token) {
        Some(Ok(Reply::Registration(registration))) => Arc::clone(registration),
        other => panic!("{other:?}"),
    };
    let is_up = |_: &World| registration.state() == RegistrationState::Registered;
    assert_eq!(world.run_until(120 * SECOND, is_up), Ok(true), "seed {seed}");
    (world, pbx, phone, registration)
}

fn bound(world: &mut World, pbx: SystemId) -> Vec<Record> {
    let token = world.command(pbx, |token| Command::Lookup { token, aor: AOR.into() }).expect("it runs");
    match world.outcome(token) {
        Some(Ok(Reply::Bindings(records))) => records.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flow_stands_through_loss() {
    for seed in seeds(0..20) {
        let (mut world, pbx, phone, registration) =
            flow(seed, Conditions::LAN.with_delay(40 * MILLISECOND, 20 * MILLISECOND).with_loss(0.2));
        let before = world.traffic(phone).sip_sent;
        for _ in 0..60 {
            assert_eq!(world.run_for(60 * SECOND), Ok(()));
            assert_eq!(registration.state(), RegistrationState::Registered, "seed {seed}");
        }
        let sent = world.traffic(phone).sip_sent - before;
        assert!((125..400).contains(&sent), "an hour, one each 24 to 29 s and what was lost: {sent}");
        let flows = bound(&mut world, pbx);
        assert_eq!(flows.iter().map(|record| record.reg_id).collect::<Vec<_>>(), [Some(1)], "seed {seed}");
        assert!(flows[0].flow().is_some(), "it is reached where it came from");
        // A call to the address of record comes by it.
        let call = place(&mut world, pbx, AOR);
        assert_eq!(world.run_until(60 * SECOND, |_| call.state() == State::Active), Ok(true), "seed {seed}");
    }
}

#[test]
fn a_flow_that_is_cut_is_known_to_be_and_registered_anew() {
    for seed in seeds(0..20) {
        let (mut world, pbx, phone, registration) = flow(seed, Conditions::LAN);
        assert_eq!(world.run_for(60 * SECOND), Ok(()));
        let (here, there) = (world.address(phone), world.address(pbx));
        for (from, to) in [(here, there), (there, here)] {
            world.network_mut().set_path(from, to, Some(Conditions::CUT));
        }
        // 29 s until the next request, 19.5 s for it, and one at most until all begins anew.
        let lost = |_: &World| registration.state() != RegistrationState::Registered;
        assert_eq!(world.run_until(Duration::from_millis(49_600), lost), Ok(true), "seed {seed}");
        for (from, to) in [(here, there), (there, here)] {
            world.network_mut().set_path(from, to, None);
        }
        let back = |_: &World| registration.state() == RegistrationState::Registered;
        assert_eq!(world.run_until(6 * SECOND, back), Ok(true), "seed {seed}");
        assert_eq!(bound(&mut world, pbx).len(), 1, "the same flow");
    }
}
