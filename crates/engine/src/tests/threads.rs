//! Calls whose legs are on different media threads: they move where they meet.

use ringback_media_api::{Command as MediaCommand, LegId};

use super::*;
use crate::api::BridgeId;

/// Node B has three media threads, and each call's leg is on another than the one before.
fn spread() -> Net {
    let net = pair();
    net.nodes[B].ports().more_threads = 2;
    net
}

fn calls(net: &mut Net, count: usize) -> (Vec<Arc<Session>>, Vec<LegId>) {
    let one = |_| {
        let session = answered(net).1;
        (session, net.nodes[B].legs.open.keys().copied().max_by_key(|leg| leg.serial()).expect("a leg"))
    };
    (0..count).map(one).unzip()
}

fn bridge(net: &mut Net, a: &Session, b: &Session) -> BridgeId {
    let (first, second) = (a.id, b.id);
    match net.ask(B, |token| Command::Bridge { token, first, second }) {
        Some(Ok(Reply::Bridge(bridge))) => bridge,
        other => panic!("{other:?}"),
    }
}

fn add(net: &mut Net, bridge: BridgeId, session: &Session) {
    let session = session.id;
    let added = net.ask(B, |token| Command::AddToBridge { token, bridge, session });
    assert!(matches!(added, Some(Ok(Reply::Unit))), "{added:?}");
}

/// Legs that had to move, and where to.
fn moves(net: &Net) -> Vec<(LegId, u8)> {
    let moved = |command: &MediaCommand| match command {
        MediaCommand::Move { leg, to } => Some((*leg, *to)),
        _ => None,
    };
    net.nodes[B].legs.log.iter().filter_map(moved).collect()
}

#[test]
fn two_calls_meet_on_the_thread_that_has_less_to_do() {
    let mut net = spread();
    let (calls, legs) = calls(&mut net, 4);
    assert_eq!(legs.iter().map(|leg| leg.thread()).collect::<Vec<_>>(), [1, 2, 0, 1]);
    let id = bridge(&mut net, &calls[0], &calls[1]);
    assert_eq!(moves(&net), [(legs[0], 2)]);
    assert_eq!(net.nodes[B].legs.bridged.get(&legs[0]), Some(&legs[1]));
    net.ask(B, |token| Command::DestroyBridge { token, bridge: id });
    assert_eq!(moves(&net).len(), 1, "it stays where it is");
    bridge(&mut net, &calls[3], &calls[0]);
    assert_eq!(moves(&net)[1..], [(legs[3], 2)]);
    hang_up(&mut net, B, &calls[3]);
    bridge(&mut net, &calls[0], &calls[1]);
    assert_eq!(moves(&net).len(), 2, "they are together");
}

#[test]
fn members_move_to_their_room() {
    let mut net = spread();
    let (calls, legs) = calls(&mut net, 6);
    let Some(Ok(Reply::Bridge(id))) =
        net.ask(B, |token| Command::CreateBridge { token, name: None, max_sessions: None })
    else {
        panic!("no bridge")
    };
    calls.iter().for_each(|call| add(&mut net, id, call));
    let room = net.nodes[B].legs.rooms[&legs[0]].0;
    let moved = moves(&net);
    let expected: Vec<_> =
        legs.iter().filter(|leg| leg.thread() != room.thread()).map(|leg| (*leg, room.thread())).collect();
    assert_eq!(moved, expected);
    // A third in a bridge of two goes where those are.
    let session = calls[0].id;
    net.ask(B, |token| Command::RemoveFromBridge { token, bridge: id, session });
    let (more, others) = self::calls(&mut net, 2);
    let pair = bridge(&mut net, &more[0], &more[1]);
    add(&mut net, pair, &calls[0]);
    let rooms = &net.nodes[B].legs.rooms;
    assert_eq!(rooms[&others[0]].0, rooms[&legs[0]].0);
    assert_eq!((rooms.len(), net.nodes[B].legs.bridged.len()), (8, 0));
}

#[test]
fn who_replaces_a_call_moves_to_whom_that_was_connected_with() {
    let mut net = spread();
    let (calls, legs) = calls(&mut net, 2);
    bridge(&mut net, &calls[0], &calls[1]);
    assert_eq!(moves(&net), [(legs[0], 2)]);
    // On the third thread there is a call for its place.
    let mut phone = Phone::new(B);
    let tag = |value: Option<&str>| value.and_then(|value| value.split("tag=").nth(1)).expect("a tag").to_owned();
    let invite = sent(&net, A, "INVITE")[0].to_owned();
    let answer = sent(&net, B, "SIP/2.0 200")[0].to_owned();
    let replaces = format!(
        "Replaces: {};to-tag={};from-tag={}\r\n",
        calls[0].call_id,
        tag(header(&answer, "To")),
        tag(header(&invite, "From")),
    );
    phone.invite(&mut net, &replaces, &sdp(4000, 1, "sendrecv"));
    phone.receive(&mut net, "SIP/2.0 200");
    phone.ack(&mut net, "");
    let bridged = &net.nodes[B].legs.bridged;
    let other = bridged.get(&legs[1]).copied().expect("it is connected again");
    assert_eq!((bridged.len(), other.thread()), (2, 0));
    assert_eq!(moves(&net)[1..], [(other, 2)]);
    assert!(calls[0].state().is_final() && calls[1].state() == State::Active);
}
