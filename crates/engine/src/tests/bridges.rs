use super::*;
use crate::api::{BridgeId, BridgeInfo};

/// Two answered calls of node B with A, and node B's sessions of them.
fn two(net: &mut Net) -> (Arc<Session>, Arc<Session>) {
    let (_, one) = answered(net);
    let (_, two) = answered(net);
    (one, two)
}

fn bridge(net: &mut Net, a: &Session, b: &Session) -> Result<BridgeId, Error> {
    let (first, second) = (a.id, b.id);
    match net.ask(B, |token| Command::Bridge { token, first, second }) {
        Some(Ok(Reply::Bridge(bridge))) => Ok(bridge),
        Some(Err(error)) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn list(net: &mut Net) -> Vec<BridgeInfo> {
    match net.ask(B, |token| Command::ListBridges { token }) {
        Some(Ok(Reply::Bridges(list))) => list,
        other => panic!("{other:?}"),
    }
}

fn bridge_of(net: &mut Net, session: &Session) -> Option<BridgeId> {
    let id = session.id;
    match net.ask(B, |token| Command::SessionBridge { token, session: id }) {
        Some(Ok(Reply::SessionBridge(bridge))) => bridge,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_calls_are_bridged_and_let_go() {
    let mut net = pair();
    let (one, two) = two(&mut net);
    let id = bridge(&mut net, &one, &two).expect("bridged");
    assert_eq!(net.nodes[B].legs.bridged.len(), 2);
    assert_eq!((bridge_of(&mut net, &one), bridge_of(&mut net, &two)), (Some(id), Some(id)));
    let all = list(&mut net);
    assert_eq!(all.len(), 1);
    assert_eq!(
        (all[0].id, all[0].name.clone(), all[0].sessions.clone(), all[0].locked),
        (id, None, vec![one.id, two.id], false)
    );
    net.ask(B, |token| Command::DestroyBridge { token, bridge: id }).expect("at once").expect("done");
    assert!(net.nodes[B].legs.bridged.is_empty());
    assert_eq!((one.state(), two.state()), (State::Active, State::Active), "the calls stay up");
    assert_eq!((bridge_of(&mut net, &one), list(&mut net)), (None, vec![]));
    let again = net.ask(B, |token| Command::DestroyBridge { token, bridge: id });
    assert!(matches!(again, Some(Err(Error::BridgeNotFound(missing))) if missing == id));
    assert!(matches!(net.ask(B, |token| Command::GetBridge { token, bridge: id }), Some(Ok(Reply::BridgeInfo(None)))));
    bridge(&mut net, &two, &one).expect("and again");
}

#[test]
fn the_end_of_one_frees_the_other() {
    let mut net = pair();
    let (one, two) = two(&mut net);
    bridge(&mut net, &one, &two).expect("bridged");
    hang_up(&mut net, B, &one);
    assert_eq!((two.state(), bridge_of(&mut net, &two)), (State::Active, None));
    assert_eq!((list(&mut net).len(), net.nodes[B].legs.bridged.len()), (0, 0));
    let (_, three) = answered(&mut net);
    bridge(&mut net, &two, &three).expect("the next");
    let ended = bridge_of(&mut net, &one);
    assert_eq!(ended, None, "an ended call is in none");
}

#[test]
fn what_cannot_be_bridged() {
    let mut net = pair();
    let (one, two) = two(&mut net);
    assert!(matches!(bridge(&mut net, &one, &one), Err(Error::BadValue(_))));
    let (_, ringing) = ringing(&mut net);
    assert!(matches!(bridge(&mut net, &one, &ringing), Err(Error::InvalidState { state: State::Initiating, .. })));
    let external = Decision::Accept { sdp: Some(sdp(4000, 1, "sendrecv")), headers: no_headers() };
    decide(&mut net, B, &ringing, external).expect("accepted");
    assert!(matches!(bridge(&mut net, &one, &ringing), Err(Error::Media(_))));
    bridge(&mut net, &one, &two).expect("bridged");
    let (_, three) = answered(&mut net);
    assert!(matches!(bridge(&mut net, &three, &one), Err(Error::InvalidState { state: State::Active, .. })));
    let id = SessionId::from_u128(5);
    let first = one.id;
    let unknown = net.ask(B, |token| Command::Bridge { token, first, second: id });
    assert!(matches!(unknown, Some(Err(Error::SessionNotFound(missing))) if missing == id));
    hang_up(&mut net, B, &three);
    assert!(matches!(bridge(&mut net, &one, &three), Err(Error::InvalidState { state: State::Terminated, .. })));
}
