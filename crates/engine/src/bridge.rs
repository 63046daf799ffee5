//! Bridges: who hears whom. One of two calls relays; a conference, and whatever more than two or one of its features are wanted for, is
//! mixed by the media engine. What a program does with a bridge once it is there stands in `conference`.
//!
//! Invariant: a call's `bridge` names a bridge that has the call among its members, and every member's call names the bridge. One that was
//! made of two calls is gone when one of them is left; one that was created stays until it is destroyed.

use std::collections::HashMap;
use std::sync::Weak;

use rand_core::RngCore;
use ringback_media_api::{Command as MediaCommand, LegId, Role, RoomId, Tape, Token};
use ringback_time::{Now, Wall};

use crate::api::{BridgeEventKind, BridgeId, BridgeInfo, BridgeRole, Error, Event, Reply, SessionId};
use crate::call::Call;
use crate::engine::{Engine, Output};
use crate::table::Key;

#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) name: Option<String>,
    pub(crate) members: Vec<Member>,
    pub(crate) most: Option<usize>,
    pub(crate) locked: bool,
    /// Ends when fewer than two are left.
    pub(crate) of_two: bool,
    /// Where it is mixed; `None`: relayed, or nobody was ever in.
    pub(crate) room: Option<RoomId>,
    /// Programs that want its events.
    pub(crate) watchers: usize,
    /// Sounds that were begun and have not ended.
    pub(crate) playing: Vec<Token>,
    /// On which it is recorded, if it is.
    pub(crate) tape: Weak<Tape>,
    pub(crate) created_at: Wall,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) key: Key,
    pub(crate) id: SessionId,
    pub(crate) leg: LegId,
    pub(crate) role: BridgeRole,
    pub(crate) beside: Option<LegId>,
    pub(crate) gain_db: f32,
    pub(crate) talking: bool,
}

impl Member {
    /// Heard by all, as it comes.
    pub(crate) fn is_plain(&self) -> bool {
        self.role == BridgeRole::Member && self.gain_db == 0.0
    }

    pub(crate) fn role(&self) -> Role {
        match (self.role, self.beside) {
            (BridgeRole::Member, _) => Role::Member,
            (BridgeRole::Whisper, Some(beside)) => Role::Whisper { beside },
            (BridgeRole::Listener | BridgeRole::Whisper, _) => Role::Listener,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Bridges {
    pub(crate) table: HashMap<BridgeId, Bridge, foldhash::fast::RandomState>,
    /// Calls that were alone with another in a bridge, or are now (`pass`).
    pub(crate) changed: Vec<Key>,
    rooms: u64,
}

impl Bridges {
    /// One that was never used before.
    pub(crate) fn next_room(&mut self, thread: u8) -> RoomId {
        self.rooms += 1;
        RoomId::new(thread, self.rooms)
    }
}

impl Engine {
    /// `Command::Bridge`.
    pub(crate) fn bridge(&mut self, now: Now, first: SessionId, second: SessionId) -> Result<BridgeId, Error> {
        const WHAT: &str = "bridging";
        let a = self.at(first, WHAT)?;
        let b = self.at(second, WHAT)?;
        if a == b {
            return Err(Error::BadValue("a call is not bridged with itself".into()));
        }
        self.bridgeable(a, WHAT)?;
        self.bridgeable(b, WHAT)?;
        for key in [a, b] {
            if self.calls.get(key).is_some_and(|call| call.bridge.is_some()) {
                return Err(self.unfit(key, "bridging a second time"));
            }
        }
        self.connect(now, a, b).ok_or_else(|| Error::Media("bridging: a call without media".into()))
    }

    /// The leg of a call that may be put into a bridge.
    pub(crate) fn bridgeable(&self, key: Key, what: &'static str) -> Result<LegId, Error> {
        if self.calls.get(key).is_some_and(|call| call.media.external) {
            return Err(Error::Media(format!("{what}: the call's media is external")));
        }
        if !self.is_up(key) {
            return Err(self.unfit(key, what));
        }
        self.leg_of(key).ok_or_else(|| Error::Media(format!("{what}: a call without media")))
    }

    fn leg_of(&self, key: Key) -> Option<LegId> {
        self.calls.get(key)?.media.leg()
    }

    pub(crate) fn new_bridge(&mut self, now: Now, bridge: impl FnOnce(Wall) -> Bridge) -> BridgeId {
        let random = (u128::from(self.rng.next_u64()) << 64) | u128::from(self.rng.next_u64());
        let id = BridgeId::from_u128(random);
        self.bridges.table.insert(id, bridge(now.wall));
        id
    }

    /// Puts two legs with media into a bridge of their own. `None` where one has no media.
    pub(crate) fn connect(&mut self, now: Now, a: Key, b: Key) -> Option<BridgeId> {
        let (leg, other) = (self.leg_of(a)?, self.leg_of(b)?);
        for key in [a, b] {
            self.unbridge(key);
        }
        let id = self.new_bridge(now, |created_at| Bridge { of_two: true, ..Bridge::new(None, None, created_at) });
        for (key, leg) in [(a, leg), (b, other)] {
            self.enter(id, key, leg);
        }
        self.meet(a, b);
        self.output.push_back(Output::Media(MediaCommand::Bridge { a: leg, b: other }));
        Some(id)
    }

    /// Sees to it that two legs, of which none is in a bridge or room, are on one media thread.
    fn meet(&mut self, a: Key, b: Key) {
        let (Some(of_a), Some(of_b)) = (self.thread_of(a), self.thread_of(b)) else { return };
        if of_a != of_b {
            let to = self.ports.lighter(of_a, of_b);
            self.move_to(if to == of_a { b } else { a }, to);
        }
    }

    /// The media thread of a call's leg, once all that was asked for is done.
    pub(crate) fn thread_of(&self, key: Key) -> Option<u8> {
        Some(self.calls.get(key)?.media.port?.thread)
    }

    /// Has a call's leg move to a media thread, unless it is there.
    pub(crate) fn move_to(&mut self, key: Key, to: u8) {
        let Some(media) = self.calls.get_mut(key).map(|call| &mut call.media).filter(|media| media.open) else {
            return;
        };
        let Some(port) = media.port.as_mut().filter(|port| port.thread != to) else { return };
        let from = std::mem::replace(&mut port.thread, to);
        let leg = port.leg;
        self.ports.moved(from, to);
        self.output.push_back(Output::Media(MediaCommand::Move { leg, to }));
    }

    /// The other call in the bridge of one, where there are two.
    pub(crate) fn bridged_with(&self, key: Key) -> Option<Key> {
        let bridge = self.bridges.table.get(&self.calls.get(key)?.bridge?)?;
        let others = bridge.members.iter().filter(|member| member.key != key);
        others.map(|member| member.key).next().filter(|_| bridge.of_two && bridge.members.len() == 2)
    }

    /// Notes a call as a member.
    pub(crate) fn enter(&mut self, id: BridgeId, key: Key, leg: LegId) {
        let Some(bridge) = self.bridges.table.get_mut(&id) else { return };
        let Some(call) = self.calls.get_mut(key) else { return };
        call.bridge = Some(id);
        let (role, session) = (BridgeRole::Member, call.session.id);
        let (beside, gain_db, talking) = (None, 0.0, false);
        bridge.members.push(Member { key, id: session, leg, role, beside, gain_db, talking });
        if bridge.members.len() <= 3 {
            self.bridges.changed.extend(bridge.members.iter().map(|member| member.key));
        }
        self.tell_bridge(id, BridgeEventKind::Joined, Some(session));
    }

    /// Ends the bridge that a live call is in, if it is of two, or takes the call out.
    pub(crate) fn unbridge(&mut self, key: Key) {
        if let Some(id) = self.calls.get_mut(key).and_then(|call| call.bridge.take()) {
            self.leave(id, key);
        }
    }

    /// A call that ends (and is out of the table already) leaves its bridge.
    pub(crate) fn leave_bridge(&mut self, key: Key, call: &mut Call) {
        if let Some(id) = call.bridge.take() {
            self.leave(id, key);
        }
    }

    /// Takes a call out that does not name the bridge any more.
    pub(crate) fn leave(&mut self, id: BridgeId, key: Key) {
        let Some(bridge) = self.bridges.table.get_mut(&id) else { return };
        let Some(place) = bridge.members.iter().position(|member| member.key == key) else { return };
        let gone = bridge.members.remove(place);
        if bridge.members.len() <= 2 {
            self.bridges.changed.push(gone.key);
            self.bridges.changed.extend(bridge.members.iter().map(|member| member.key));
        }
        for member in &mut bridge.members {
            // A whisper to one who left is for nobody, whoever gets that leg's number.
            member.beside = member.beside.filter(|beside| *beside != gone.leg);
        }
        let ends = bridge.of_two && bridge.members.len() < 2;
        if self.legs.contains_key(&gone.leg) {
            self.output.push_back(Output::Media(MediaCommand::Unbridge { leg: gone.leg }));
        }
        self.tell_bridge(id, BridgeEventKind::Left, Some(gone.id));
        if ends {
            let _ = self.destroy_bridge(id);
        } else {
            self.relax(id);
        }
    }

    /// `Command::DestroyBridge`: the calls stay up.
    pub(crate) fn destroy_bridge(&mut self, id: BridgeId) -> Result<(), Error> {
        let bridge = self.bridges.table.get_mut(&id).ok_or(Error::BridgeNotFound(id))?;
        let members = std::mem::take(&mut bridge.members);
        let room = bridge.room;
        let playing = std::mem::take(&mut bridge.playing);
        if members.len() <= 2 {
            self.bridges.changed.extend(members.iter().map(|member| member.key));
        }
        for member in &members {
            if let Some(call) = self.calls.get_mut(member.key) {
                call.bridge = None;
            }
            self.tell_bridge(id, BridgeEventKind::Left, Some(member.id));
        }
        if let Some(room) = room {
            self.output.push_back(Output::Media(MediaCommand::CloseRoom { room }));
        } else if let Some(member) = members.iter().find(|member| self.legs.contains_key(&member.leg)) {
            // Of two that are relayed, the one lets go of the other.
            self.output.push_back(Output::Media(MediaCommand::Unbridge { leg: member.leg }));
        }
        for token in playing {
            self.complete(token, Ok(Reply::Unit));
        }
        self.tell_bridge(id, BridgeEventKind::Destroyed, None);
        self.bridges.table.remove(&id);
        Ok(())
    }

    /// The system ends, and every bridge with it.
    pub(crate) fn destroy_all_bridges(&mut self) {
        let mut ids: Vec<BridgeId> = self.bridges.table.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let _ = self.destroy_bridge(id);
        }
    }

    pub(crate) fn tell_bridge(&mut self, bridge: BridgeId, kind: BridgeEventKind, session: Option<SessionId>) {
        if self.bridges.table.get(&bridge).is_some_and(|of| of.watchers > 0) {
            self.emit(Event::Bridge { bridge, kind, session });
        }
    }

    pub(crate) fn bridge_info(&self, id: BridgeId) -> Option<BridgeInfo> {
        let bridge = self.bridges.table.get(&id)?;
        Some(BridgeInfo {
            id,
            name: bridge.name.clone(),
            sessions: bridge.members.iter().map(|member| member.id).collect(),
            // Talking is measured where it is mixed; a bridge of two relays.
            talking: bridge.members.iter().filter(|member| member.talking).map(|member| member.id).collect(),
            locked: bridge.locked,
            created_at: bridge.created_at,
        })
    }

    /// Oldest first.
    pub(crate) fn list_bridges(&self) -> Vec<BridgeInfo> {
        let mut list: Vec<BridgeInfo> = self.bridges.table.keys().filter_map(|id| self.bridge_info(*id)).collect();
        list.sort_by_key(|bridge| (bridge.created_at, bridge.id));
        list
    }

    pub(crate) fn bridge_count(&self) -> usize {
        self.bridges.table.len()
    }
}

impl Bridge {
    pub(crate) fn new(name: Option<String>, most: Option<usize>, created_at: Wall) -> Self {
        Bridge {
            name,
            members: Vec::new(),
            most,
            locked: false,
            of_two: false,
            room: None,
            watchers: 0,
            playing: Vec::new(),
            tape: Weak::new(),
            created_at,
        }
    }
}
