use super::*;
use crate::api::{BridgeEventKind, BridgeId, BridgeInfo, BridgeRole};
use ringback_media_api::{LegId, Role, Sound, Tape};

fn done(reply: Option<Result<Reply, Error>>) -> Result<(), Error> {
    match reply {
        Some(Ok(Reply::Unit)) => Ok(()),
        Some(Err(error)) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn create(net: &mut Net, max_sessions: Option<usize>) -> Result<BridgeId, Error> {
    match net.ask(B, |token| Command::CreateBridge { token, name: Some("weekly".into()), max_sessions }) {
        Some(Ok(Reply::Bridge(bridge))) => Ok(bridge),
        Some(Err(error)) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn add(net: &mut Net, bridge: BridgeId, session: &Session) -> Result<(), Error> {
    let session = session.id;
    done(net.ask(B, |token| Command::AddToBridge { token, bridge, session }))
}

fn remove(net: &mut Net, bridge: BridgeId, session: &Session) -> Result<(), Error> {
    let session = session.id;
    done(net.ask(B, |token| Command::RemoveFromBridge { token, bridge, session }))
}

fn role(
    net: &mut Net,
    bridge: BridgeId,
    session: &Session,
    role: BridgeRole,
    beside: Option<&Session>,
) -> Result<(), Error> {
    let (session, beside) = (session.id, beside.map(|beside| beside.id));
    done(net.ask(B, |token| Command::SetBridgeRole { token, bridge, session, role, beside }))
}

fn info(net: &mut Net, bridge: BridgeId) -> Option<BridgeInfo> {
    match net.ask(B, |token| Command::GetBridge { token, bridge }) {
        Some(Ok(Reply::BridgeInfo(info))) => info.map(|info| *info),
        other => panic!("{other:?}"),
    }
}

fn destroy(net: &mut Net, bridge: BridgeId) -> Result<(), Error> {
    done(net.ask(B, |token| Command::DestroyBridge { token, bridge }))
}

fn watch(net: &mut Net, bridge: BridgeId) -> Result<(), Error> {
    done(net.ask(B, |token| Command::WatchBridge { token, bridge }))
}

fn pair_bridge(net: &mut Net, a: &Session, b: &Session) -> BridgeId {
    let (first, second) = (a.id, b.id);
    match net.ask(B, |token| Command::Bridge { token, first, second }) {
        Some(Ok(Reply::Bridge(bridge))) => bridge,
        other => panic!("{other:?}"),
    }
}

fn events(net: &Net) -> Vec<(BridgeEventKind, Option<SessionId>)> {
    let told = |event: &Event| match event {
        Event::Bridge { kind, session, .. } => Some((*kind, *session)),
        _ => None,
    };
    net.nodes[B].events.iter().filter_map(told).collect()
}

/// Node B's leg of the latest call.
fn latest_leg(net: &Net) -> LegId {
    *net.nodes[B].legs.open.keys().max().expect("a leg")
}

/// Answered calls of node B, and the legs of them.
fn calls(net: &mut Net, count: usize) -> (Vec<Arc<Session>>, Vec<LegId>) {
    (0..count).map(|_| (answered(net).1, latest_leg(net))).unzip()
}

fn ids(sessions: &[&Arc<Session>]) -> Vec<SessionId> {
    sessions.iter().map(|session| session.id).collect()
}

#[test]
fn calls_join_and_leave_a_conference() {
    let mut net = pair();
    let (calls, legs) = calls(&mut net, 3);
    let bridge = create(&mut net, None).expect("created");
    let empty = info(&mut net, bridge).expect("there");
    assert_eq!((empty.name.as_deref(), empty.sessions.len(), empty.locked), (Some("weekly"), 0, false));
    watch(&mut net, bridge).expect("there");
    for call in &calls {
        add(&mut net, bridge, call).expect("joined");
    }
    let rooms: Vec<_> = legs.iter().map(|leg| net.nodes[B].legs.rooms[leg]).collect();
    assert!(rooms.iter().all(|room| *room == (rooms[0].0, Role::Member)), "one room for all: {rooms:?}");
    assert_eq!(info(&mut net, bridge).expect("there").sessions, ids(&[&calls[0], &calls[1], &calls[2]]));
    add(&mut net, bridge, &calls[0]).expect("it is in already");
    remove(&mut net, bridge, &calls[1]).expect("left");
    assert!(matches!(remove(&mut net, bridge, &calls[1]), Err(Error::InvalidState { .. })), "it is not in it");
    hang_up(&mut net, B, &calls[0]);
    hang_up(&mut net, B, &calls[2]);
    assert_eq!(info(&mut net, bridge).expect("there").sessions, [], "who has ended has left");
    assert!(net.nodes[B].legs.rooms.is_empty());
    add(&mut net, bridge, &calls[1]).expect("and in again");
    destroy(&mut net, bridge).expect("destroyed");
    assert!(net.nodes[B].legs.rooms.is_empty());
    assert_eq!(calls[1].state(), State::Active, "the call stays up");
    assert_eq!(info(&mut net, bridge), None);
    use BridgeEventKind::{Destroyed, Joined, Left};
    let of = |kind, call: usize| (kind, Some(calls[call].id));
    assert_eq!(
        events(&net),
        [
            of(Joined, 0),
            of(Joined, 1),
            of(Joined, 2),
            of(Left, 1),
            of(Left, 0),
            of(Left, 2),
            of(Joined, 1),
            of(Left, 1),
            (Destroyed, None)
        ]
    );
}

#[test]
fn a_bridge_may_be_full_or_locked_and_a_call_in_one_alone() {
    let mut net = pair();
    let (calls, _) = calls(&mut net, 3);
    assert!(matches!(create(&mut net, Some(0)), Err(Error::BadValue(_))));
    let bridge = create(&mut net, Some(2)).expect("created");
    add(&mut net, bridge, &calls[0]).expect("joined");
    let other = create(&mut net, None).expect("created");
    assert!(matches!(add(&mut net, other, &calls[0]), Err(Error::InvalidState { state: State::Active, .. })));
    let lock = |net: &mut Net, locked| done(net.ask(B, |token| Command::LockBridge { token, bridge, locked }));
    lock(&mut net, true).expect("locked");
    assert!(info(&mut net, bridge).expect("there").locked);
    assert!(matches!(add(&mut net, bridge, &calls[1]), Err(Error::InvalidState { state: State::Active, .. })));
    lock(&mut net, false).expect("unlocked");
    add(&mut net, bridge, &calls[1]).expect("joined");
    assert!(matches!(add(&mut net, bridge, &calls[2]), Err(Error::ResourceExhausted(_))));
    remove(&mut net, bridge, &calls[0]).expect("left");
    add(&mut net, bridge, &calls[2]).expect("there is room again");
    destroy(&mut net, bridge).expect("destroyed");
    destroy(&mut net, other).expect("destroyed");
    for unknown in [
        add(&mut net, bridge, &calls[0]),
        remove(&mut net, bridge, &calls[0]),
        lock(&mut net, true),
        role(&mut net, bridge, &calls[0], BridgeRole::Listener, None),
        watch(&mut net, bridge),
    ] {
        assert!(matches!(unknown, Err(Error::BridgeNotFound(_))), "{unknown:?}");
    }
}

#[test]
fn what_may_not_join() {
    let mut net = pair();
    let bridge = create(&mut net, None).expect("created");
    let (_, ringing) = ringing(&mut net);
    assert!(matches!(add(&mut net, bridge, &ringing), Err(Error::InvalidState { state: State::Initiating, .. })));
    let external = Decision::Accept { sdp: Some(sdp(4000, 1, "sendrecv")), headers: no_headers() };
    decide(&mut net, B, &ringing, external).expect("accepted");
    assert!(matches!(add(&mut net, bridge, &ringing), Err(Error::Media(_))));
    let unknown = SessionId::from_u128(5);
    let missing = net.ask(B, |token| Command::AddToBridge { token, bridge, session: unknown });
    assert!(matches!(missing, Some(Err(Error::SessionNotFound(id))) if id == unknown));
    hang_up(&mut net, B, &ringing);
    assert!(matches!(add(&mut net, bridge, &ringing), Err(Error::InvalidState { state: State::Terminated, .. })));
    remove(&mut net, bridge, &ringing).expect("an ended call has left whatever it was in");
    destroy(&mut net, bridge).expect("destroyed");
}

#[test]
fn roles_and_gains_reach_the_media_engine() {
    let mut net = pair();
    let (calls, legs) = calls(&mut net, 3);
    let bridge = create(&mut net, None).expect("created");
    for call in &calls {
        add(&mut net, bridge, call).expect("joined");
    }
    let given = |net: &Net, of: usize| net.nodes[B].legs.rooms[&legs[of]].1;
    role(&mut net, bridge, &calls[0], BridgeRole::Listener, None).expect("a listener");
    role(&mut net, bridge, &calls[1], BridgeRole::Whisper, Some(&calls[2])).expect("a whisper");
    assert_eq!((given(&net, 0), given(&net, 1)), (Role::Listener, Role::Whisper { beside: legs[2] }));
    assert!(matches!(role(&mut net, bridge, &calls[1], BridgeRole::Whisper, None), Err(Error::BadValue(_))));
    assert!(matches!(role(&mut net, bridge, &calls[1], BridgeRole::Whisper, Some(&calls[1])), Err(Error::BadValue(_))));
    assert!(matches!(role(&mut net, bridge, &calls[1], BridgeRole::Member, Some(&calls[2])), Err(Error::BadValue(_))));
    let session = calls[0].id;
    let gain =
        |net: &mut Net, gain_db| done(net.ask(B, |token| Command::SetBridgeGain { token, bridge, session, gain_db }));
    gain(&mut net, 6.0).expect("louder");
    assert!(matches!(gain(&mut net, f32::NAN), Err(Error::BadValue(_))));
    assert!(matches!(gain(&mut net, 40.0), Err(Error::BadValue(_))));
    remove(&mut net, bridge, &calls[2]).expect("left");
    assert!(matches!(
        role(&mut net, bridge, &calls[1], BridgeRole::Whisper, Some(&calls[2])),
        Err(Error::InvalidState { .. })
    ));
    assert!(matches!(role(&mut net, bridge, &calls[2], BridgeRole::Member, None), Err(Error::InvalidState { .. })));
    // A new member begins as one, whatever it was before.
    add(&mut net, bridge, &calls[2]).expect("back");
    remove(&mut net, bridge, &calls[0]).expect("left");
    add(&mut net, bridge, &calls[0]).expect("back");
    assert_eq!((given(&net, 0), given(&net, 2)), (Role::Member, Role::Member));
    destroy(&mut net, bridge).expect("destroyed");
}

#[test]
fn a_bridge_of_two_is_mixed_once_it_has_to_be() {
    let mut net = pair();
    let (calls, legs) = calls(&mut net, 3);
    let bridge = pair_bridge(&mut net, &calls[0], &calls[1]);
    assert_eq!((net.nodes[B].legs.bridged.len(), net.nodes[B].legs.rooms.len()), (2, 0), "relayed");
    add(&mut net, bridge, &calls[2]).expect("a third");
    assert_eq!((net.nodes[B].legs.bridged.len(), net.nodes[B].legs.rooms.len()), (0, 3), "mixed");
    remove(&mut net, bridge, &calls[2]).expect("left");
    assert_eq!(info(&mut net, bridge).expect("there").sessions, ids(&[&calls[0], &calls[1]]));
    assert_eq!((net.nodes[B].legs.bridged.len(), net.nodes[B].legs.rooms.len()), (2, 0), "relayed again");
    // As any bridge of two, it is gone with one of them.
    hang_up(&mut net, B, &calls[0]);
    assert_eq!((info(&mut net, bridge), net.nodes[B].legs.rooms.len()), (None, 0));
    // A role, or somebody who wants to know who talks.
    let bridge = pair_bridge(&mut net, &calls[1], &calls[2]);
    role(&mut net, bridge, &calls[2], BridgeRole::Listener, None).expect("a listener");
    assert_eq!(net.nodes[B].legs.rooms[&legs[2]].1, Role::Listener);
    destroy(&mut net, bridge).expect("destroyed");
    let bridge = pair_bridge(&mut net, &calls[1], &calls[2]);
    watch(&mut net, bridge).expect("there");
    assert_eq!((net.nodes[B].legs.bridged.len(), net.nodes[B].legs.rooms.len()), (0, 2));
    hang_up(&mut net, B, &calls[1]);
    use BridgeEventKind::{Destroyed, Left};
    assert_eq!(events(&net), [(Left, Some(calls[1].id)), (Left, Some(calls[2].id)), (Destroyed, None)]);
}

#[test]
fn a_bridge_of_two_is_relayed_again_when_nothing_needs_it_mixed() {
    let mut net = pair();
    let (calls, legs) = calls(&mut net, 3);
    let bridge = pair_bridge(&mut net, &calls[0], &calls[1]);
    let is_relayed = |net: &Net| match (net.nodes[B].legs.bridged.len(), net.nodes[B].legs.rooms.len()) {
        (2, 0) => true,
        (0, 2 | 3) => false,
        other => panic!("{other:?}"),
    };
    let expect = |net: &Net, relayed: bool, what: &str| assert_eq!(is_relayed(net), relayed, "{what}");
    let session = calls[0].id;
    let gain = |net: &mut Net, gain_db| {
        done(net.ask(B, |token| Command::SetBridgeGain { token, bridge, session, gain_db })).expect("set");
    };
    role(&mut net, bridge, &calls[1], BridgeRole::Listener, None).expect("a listener");
    gain(&mut net, 3.0);
    role(&mut net, bridge, &calls[1], BridgeRole::Member, None).expect("a member");
    expect(&net, false, "the other is louder");
    gain(&mut net, 0.0);
    expect(&net, true, "no role, no gain");
    // Watched, and by two.
    for _ in 0..2 {
        watch(&mut net, bridge).expect("there");
    }
    let leg = legs[0];
    net.media_event(B, ringback_media_api::Event::Talking { leg, talking: true });
    done(net.ask(B, |token| Command::UnwatchBridge { token, bridge })).expect("one of two");
    expect(&net, false, "one still watches");
    done(net.ask(B, |token| Command::UnwatchBridge { token, bridge })).expect("the other");
    expect(&net, true, "nobody watches");
    assert_eq!(info(&mut net, bridge).expect("there").talking, [], "what is relayed is not listened to");
    // A sound, while a third comes and goes.
    let sound = Arc::new(Sound::of(8000, &[1; 80]));
    let playing = net.command(B, |token| Command::PlayToBridge { token, bridge, sound });
    add(&mut net, bridge, &calls[2]).expect("a third");
    remove(&mut net, bridge, &calls[2]).expect("left");
    expect(&net, false, "it plays");
    net.media_event(
        B,
        ringback_media_api::Event::RoomPlayed { room: last_room(&net), token: playing, completed: true },
    );
    assert!(matches!(net.result(B, playing), Some(Ok(Reply::Unit))));
    expect(&net, true, "it has played");
    // A recording.
    let tape = Arc::new(Tape::new(false, || {}));
    let recorded = Arc::clone(&tape);
    done(net.ask(B, |token| Command::RecordBridge { token, bridge, tape: recorded })).expect("it begins");
    expect(&net, false, "it is recorded");
    tape.stop();
    net.media_event(B, ringback_media_api::Event::RoomRecorded { room: last_room(&net) });
    expect(&net, true, "nobody records");
    // One that was created stays a conference.
    destroy(&mut net, bridge).expect("destroyed");
    let created = create(&mut net, None).expect("created");
    for call in &calls {
        add(&mut net, created, call).expect("joined");
    }
    remove(&mut net, created, &calls[2]).expect("left");
    expect(&net, false, "created");
    destroy(&mut net, created).expect("destroyed");
}

/// The one that was made last.
fn last_room(net: &Net) -> ringback_media_api::RoomId {
    let made = net.nodes[B].legs.log.iter().rev();
    let mut rooms = made.filter_map(|command| match command {
        ringback_media_api::Command::Join { room, .. } => Some(*room),
        _ => None,
    });
    rooms.next().expect("a room")
}

#[test]
fn who_talks_is_told_and_shown() {
    let mut net = pair();
    let (calls, legs) = calls(&mut net, 2);
    let bridge = create(&mut net, None).expect("created");
    for call in &calls {
        add(&mut net, bridge, call).expect("joined");
    }
    let talk = |net: &mut Net, of: usize, talking| {
        net.media_event(B, ringback_media_api::Event::Talking { leg: legs[of], talking });
    };
    talk(&mut net, 0, true);
    assert_eq!(events(&net), [], "nobody wants to know");
    assert_eq!(info(&mut net, bridge).expect("there").talking, [calls[0].id]);
    watch(&mut net, bridge).expect("there");
    watch(&mut net, bridge).expect("there");
    talk(&mut net, 1, true);
    talk(&mut net, 0, false);
    talk(&mut net, 0, false);
    use BridgeEventKind::{Silent, Talking};
    assert_eq!(events(&net), [(Talking, Some(calls[1].id)), (Silent, Some(calls[0].id))]);
    let unwatch = |net: &mut Net| done(net.ask(B, |token| Command::UnwatchBridge { token, bridge }));
    unwatch(&mut net).expect("one of two");
    talk(&mut net, 0, true);
    assert_eq!(events(&net).len(), 3);
    unwatch(&mut net).expect("the other");
    talk(&mut net, 0, false);
    assert_eq!(events(&net).len(), 3);
    destroy(&mut net, bridge).expect("destroyed");
    unwatch(&mut net).expect("nothing to do");
    talk(&mut net, 1, false);
}

#[test]
fn sounds_are_answered_when_they_end_or_their_bridge_does() {
    let mut net = pair();
    let (calls, _) = calls(&mut net, 1);
    let bridge = create(&mut net, None).expect("created");
    let play = |net: &mut Net| {
        let sound = Arc::new(Sound::of(8000, &[1; 80]));
        net.command(B, |token| Command::PlayToBridge { token, bridge, sound })
    };
    let first = play(&mut net);
    assert!(net.result(B, first).is_none(), "it plays, to nobody");
    add(&mut net, bridge, &calls[0]).expect("joined");
    let second = play(&mut net);
    assert!(matches!(net.result(B, first), Some(Ok(Reply::Unit))), "replaced");
    destroy(&mut net, bridge).expect("destroyed");
    assert!(matches!(net.result(B, second), Some(Ok(Reply::Unit))));
    let third = play(&mut net);
    assert!(matches!(net.result(B, third), Some(Err(Error::BridgeNotFound(_)))));
}

#[test]
fn a_bridge_is_recorded_on_one_tape_at_a_time() {
    let mut net = pair();
    let bridge = create(&mut net, None).expect("created");
    let record = |net: &mut Net, tape: &Arc<Tape>| {
        let tape = Arc::clone(tape);
        done(net.ask(B, |token| Command::RecordBridge { token, bridge, tape }))
    };
    let tapes = [(); 3].map(|()| Arc::new(Tape::new(false, || {})));
    record(&mut net, &tapes[0]).expect("it begins, with nobody there");
    assert!(matches!(record(&mut net, &tapes[1]), Err(Error::Media(_))));
    assert!(tapes[1].is_stopped() && !tapes[0].is_stopped());
    tapes[0].stop();
    record(&mut net, &tapes[2]).expect("the next");
    destroy(&mut net, bridge).expect("destroyed");
    assert!(matches!(record(&mut net, &tapes[2]), Err(Error::BridgeNotFound(_))));
}

#[test]
fn a_stop_destroys_what_was_created() {
    let mut net = pair();
    let (calls, _) = calls(&mut net, 1);
    let bridge = create(&mut net, None).expect("created");
    add(&mut net, bridge, &calls[0]).expect("joined");
    watch(&mut net, bridge).expect("there");
    net.command(B, |token| Command::Stop { token, drain: Duration::ZERO });
    use BridgeEventKind::{Destroyed, Left};
    assert_eq!(events(&net), [(Left, Some(calls[0].id)), (Destroyed, None)]);
    assert!(matches!(create(&mut net, None), Err(Error::NotRunning)));
    net.nodes[B].engine.assert_empty();
}
