//! Bridges of two calls: each hears the other.
//!
//! Invariant: a call's `bridge` names a room that has the call, and every room has two calls that name it. When one leaves, the
//! room is gone and the other is free for the next.

use std::collections::HashMap;

use rand_core::RngCore;
use ringback_media_api::Command as MediaCommand;
use ringback_time::{Now, Wall};

use crate::api::{BridgeId, BridgeInfo, Error, SessionId};
use crate::call::Call;
use crate::engine::{Engine, Output};
use crate::table::Key;

#[derive(Debug)]
struct Room {
    members: [Key; 2],
    created_at: Wall,
}

#[derive(Debug, Default)]
pub(crate) struct Bridges {
    rooms: HashMap<BridgeId, Room, foldhash::fast::RandomState>,
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
        for key in [a, b] {
            let Some(call) = self.calls.get(key) else { continue };
            if call.media.external {
                return Err(Error::Media("bridging: the call's media is external".into()));
            }
            if !self.is_up(key) {
                return Err(self.unfit(key, WHAT));
            }
            if call.bridge.is_some() {
                return Err(self.unfit(key, "bridging a second time"));
            }
        }
        let (Some(leg), Some(other)) = (self.leg_of(a), self.leg_of(b)) else {
            return Err(Error::Media("bridging: a call without media".into()));
        };
        if leg.thread() != other.thread() {
            return Err(Error::Media("bridging: the calls' media is on different threads".into()));
        }
        self.connect(now, a, b).ok_or_else(|| Error::Media("bridging: a call without media".into()))
    }

    fn leg_of(&self, key: Key) -> Option<ringback_media_api::LegId> {
        self.calls.get(key)?.media.leg()
    }

    /// Puts two legs with media into a room of their own. `None` where one has no media, or they cannot reach each other.
    pub(crate) fn connect(&mut self, now: Now, a: Key, b: Key) -> Option<BridgeId> {
        let (leg, other) = (self.leg_of(a)?, self.leg_of(b)?);
        if leg.thread() != other.thread() {
            tracing::error!(target: "ringback.session", "{leg:?} and {other:?} are on different media threads");
            return None;
        }
        for key in [a, b] {
            self.unbridge(key);
        }
        let random = (u128::from(self.rng.next_u64()) << 64) | u128::from(self.rng.next_u64());
        let id = BridgeId::from_u128(random);
        for key in [a, b] {
            if let Some(call) = self.calls.get_mut(key) {
                call.bridge = Some(id);
            }
        }
        self.bridges.rooms.insert(id, Room { members: [a, b], created_at: now.wall });
        self.output.push_back(Output::Media(MediaCommand::Bridge { a: leg, b: other }));
        Some(id)
    }

    /// The other call in the bridge of one.
    pub(crate) fn bridged_with(&self, key: Key) -> Option<Key> {
        let room = self.bridges.rooms.get(&self.calls.get(key)?.bridge?)?;
        room.members.into_iter().find(|other| *other != key)
    }

    /// Ends the bridge that a live call is in, if it is in one.
    pub(crate) fn unbridge(&mut self, key: Key) {
        if let Some(id) = self.calls.get(key).and_then(|call| call.bridge) {
            // It is there as long as a call names it.
            let _ = self.destroy_bridge(id);
        }
    }

    /// `Command::DestroyBridge`: the calls stay up.
    pub(crate) fn destroy_bridge(&mut self, id: BridgeId) -> Result<(), Error> {
        let room = self.bridges.rooms.remove(&id).ok_or(Error::BridgeNotFound)?;
        let mut told = false;
        for key in room.members {
            let Some(call) = self.calls.get_mut(key) else { continue };
            call.bridge = None;
            if let Some(leg) = call.media.leg().filter(|_| !told) {
                told = true;
                self.output.push_back(Output::Media(MediaCommand::Unbridge { leg }));
            }
        }
        Ok(())
    }

    /// A call that ends (and is out of the table already) leaves its bridge.
    pub(crate) fn leave_bridge(&mut self, key: Key, call: &mut Call) {
        let Some(room) = call.bridge.take().and_then(|id| self.bridges.rooms.remove(&id)) else { return };
        if let Some(leg) = call.media.leg() {
            self.output.push_back(Output::Media(MediaCommand::Unbridge { leg }));
        }
        for other in room.members.into_iter().filter(|other| *other != key) {
            if let Some(call) = self.calls.get_mut(other) {
                call.bridge = None;
            }
        }
    }

    pub(crate) fn bridge_info(&self, id: BridgeId) -> Option<BridgeInfo> {
        let room = self.bridges.rooms.get(&id)?;
        let session = |key: &Key| self.calls.get(*key).map(|call| call.session.id);
        Some(BridgeInfo {
            id,
            name: None,
            sessions: room.members.iter().filter_map(session).collect(),
            // Talking is measured where a conference is mixed; a bridge of two relays.
            talking: Vec::new(),
            locked: false,
            created_at: room.created_at,
        })
    }

    /// Oldest first.
    pub(crate) fn list_bridges(&self) -> Vec<BridgeInfo> {
        let mut list: Vec<BridgeInfo> = self.bridges.rooms.keys().filter_map(|id| self.bridge_info(*id)).collect();
        list.sort_by_key(|bridge| (bridge.created_at, bridge.id));
        list
    }

    pub(crate) fn bridge_count(&self) -> usize {
        self.bridges.rooms.len()
    }
}
