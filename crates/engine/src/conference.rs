//! What a program does with a bridge: members in and out, roles, lock, announcements, events.
//!
//! A bridge is mixed from the moment that it needs to be: a created one with its first member; one of two calls, which is relayed, with
//! the third, or with the first role, gain, announcement or listener to its events, and as long as there is one.

use std::sync::Arc;

use ringback_media_api::{Command as MediaCommand, LegId, Role, RoomId, Sound, Tape, Token};
use ringback_time::Now;

use crate::api::{BridgeEventKind, BridgeId, BridgeRole, Error, Reply, SessionId};
use crate::bridge::Bridge;
use crate::commands::Answer;
use crate::engine::{Engine, Output};
use crate::limits;
use crate::seat::Seat;
use crate::table::Key;

const DONE: Answer = Ok(Some(Reply::Unit));

impl Engine {
    /// `Command::CreateBridge`.
    pub(crate) fn create_bridge(&mut self, now: Now, name: Option<String>, most: Option<usize>) -> Answer {
        if most == Some(0) {
            return Err(Error::BadValue("max_sessions must be at least 1".into()));
        }
        if self.stop.is_stopping() {
            return Err(Error::NotRunning);
        }
        if self.bridge_count() >= limits::BRIDGES_MOST {
            return Err(Error::ResourceExhausted("Maximum bridges reached"));
        }
        let id = self.new_bridge(now, |created_at| Bridge::new(name, most, created_at));
        Ok(Some(Reply::Bridge(id)))
    }

    /// `Command::AddToBridge`. No-op where the call is in it already.
    pub(crate) fn add_to_bridge(&mut self, id: BridgeId, session: SessionId) -> Answer {
        const WHAT: &str = "joining a bridge";
        let bridge = self.bridges.table.get(&id).ok_or(Error::BridgeNotFound(id))?;
        let (locked, full) = (bridge.locked, bridge.most.is_some_and(|most| bridge.members.len() >= most));
        let key = self.at(session, WHAT)?;
        let leg = self.bridgeable(key, WHAT)?;
        match self.calls.get(key).and_then(|call| call.bridge) {
            Some(other) if other == id => return DONE,
            Some(_) => return Err(self.unfit(key, "joining a second bridge")),
            None => {}
        }
        if locked {
            return Err(self.unfit(key, "joining a locked bridge"));
        }
        if full {
            return Err(Error::ResourceExhausted("Maximum sessions of the bridge reached"));
        }
        self.join_room(id, key, leg, None);
        DONE
    }

    /// Puts a call into a bridge that is mixed. `seat`: what another was there, whose place it takes.
    pub(crate) fn join_room(&mut self, id: BridgeId, key: Key, leg: LegId, seat: Option<&Seat>) {
        if !self.bridges.table.contains_key(&id) {
            return;
        }
        self.mix(id);
        self.enter(id, key, leg);
        if let Some(seat) = seat {
            self.take_seat(id, key, seat);
        }
        let room = match self.bridges.table.get(&id).and_then(|bridge| bridge.room) {
            Some(room) => room,
            None => {
                let thread = self.ports.roomy(self.thread_of(key).unwrap_or_default());
                self.bridges_room(id, thread)
            }
        };
        self.move_to(key, room.thread());
        let bridge = self.bridges.table.get(&id);
        let member = bridge.and_then(|bridge| bridge.members.iter().find(|member| member.key == key));
        let (role, gain_db) = member.map_or((Role::Member, 0.0), |member| (member.role(), member.gain_db));
        self.output.push_back(Output::Media(MediaCommand::Join { leg, room, role }));
        if gain_db != 0.0 {
            self.output.push_back(Output::Media(MediaCommand::SetGain { leg, gain_db }));
        }
    }

    /// `Command::RemoveFromBridge`. No-op where the call has ended.
    pub(crate) fn remove_from_bridge(&mut self, id: BridgeId, session: SessionId) -> Answer {
        const WHAT: &str = "leaving a bridge that it is not in";
        if !self.bridges.table.contains_key(&id) {
            return Err(Error::BridgeNotFound(id));
        }
        let Some(key) = self.live(session) else {
            return match self.directory.get(session) {
                Some(_) => DONE,
                None => Err(Error::SessionNotFound(session)),
            };
        };
        self.current = Some(key);
        if self.calls.get(key).is_none_or(|call| call.bridge != Some(id)) {
            return Err(self.unfit(key, WHAT));
        }
        self.unbridge(key);
        DONE
    }

    /// `Command::SetBridgeRole`.
    pub(crate) fn set_bridge_role(
        &mut self,
        id: BridgeId,
        session: SessionId,
        role: BridgeRole,
        beside: Option<SessionId>,
    ) -> Answer {
        const WHAT: &str = "a role in a bridge that it is not in";
        let place = self.member_of(id, session, WHAT)?;
        let beside = match (role, beside) {
            (BridgeRole::Whisper, None) => {
                return Err(Error::BadValue("the role WHISPER needs `beside`: who is to hear it".into()));
            }
            (BridgeRole::Whisper, Some(beside)) if beside == session => {
                return Err(Error::BadValue("a call does not whisper to itself".into()));
            }
            (BridgeRole::Whisper, Some(beside)) => Some(self.member_of(id, beside, WHAT)?),
            (_, Some(_)) => return Err(Error::BadValue("`beside` goes with the role WHISPER alone".into())),
            (_, None) => None,
        };
        self.mix(id);
        let Some(bridge) = self.bridges.table.get_mut(&id) else { return DONE };
        let beside = beside.and_then(|beside| bridge.members.get(beside)).map(|member| member.leg);
        let Some(member) = bridge.members.get_mut(place) else { return DONE };
        (member.role, member.beside) = (role, beside);
        let (leg, role) = (member.leg, member.role());
        self.output.push_back(Output::Media(MediaCommand::SetRole { leg, role }));
        self.relax(id);
        DONE
    }

    /// `Command::SetBridgeGain`.
    pub(crate) fn set_bridge_gain(&mut self, id: BridgeId, session: SessionId, gain_db: f32) -> Answer {
        let place = self.member_of(id, session, "a gain in a bridge that it is not in")?;
        if !(-60.0..=20.0).contains(&gain_db) {
            return Err(Error::BadValue(format!("a gain of {gain_db} dB is not between -60 and 20")));
        }
        self.mix(id);
        let Some(bridge) = self.bridges.table.get_mut(&id) else { return DONE };
        let Some(member) = bridge.members.get_mut(place) else { return DONE };
        member.gain_db = gain_db;
        let leg = member.leg;
        self.output.push_back(Output::Media(MediaCommand::SetGain { leg, gain_db }));
        self.relax(id);
        DONE
    }

    /// `Command::LockBridge`: those who are in stay.
    pub(crate) fn lock_bridge(&mut self, id: BridgeId, locked: bool) -> Answer {
        self.bridges.table.get_mut(&id).ok_or(Error::BridgeNotFound(id))?.locked = locked;
        DONE
    }

    /// `Command::PlayToBridge`.
    pub(crate) fn play_to_bridge(&mut self, id: BridgeId, sound: Arc<Sound>, token: Token) -> Answer {
        let bridge = self.bridges.table.get_mut(&id).ok_or(Error::BridgeNotFound(id))?;
        if bridge.playing.len() >= limits::MEDIA_REPLIES_MOST {
            return Err(Error::ResourceExhausted("Too much is waiting to be played"));
        }
        let room = self.room_of(id);
        if let Some(bridge) = self.bridges.table.get_mut(&id) {
            bridge.playing.push(token);
        }
        self.output.push_back(Output::Media(MediaCommand::PlayToRoom { room, sound, token }));
        Ok(None)
    }

    /// `Command::RecordBridge`.
    pub(crate) fn record_bridge(&mut self, id: BridgeId, tape: &Arc<Tape>) -> Answer {
        let recorded = self.bridges.table.get(&id).map(|bridge| bridge.tape.upgrade());
        let refusal = match recorded {
            None => Some(Error::BridgeNotFound(id)),
            Some(Some(tape)) if !tape.is_stopped() && !tape.is_ended() => {
                Some(Error::Media("record: the bridge is being recorded already".into()))
            }
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            tape.stop();
            return Err(refusal);
        }
        let room = self.room_of(id);
        if let Some(bridge) = self.bridges.table.get_mut(&id) {
            bridge.tape = Arc::downgrade(tape);
        }
        self.output.push_back(Output::Media(MediaCommand::RecordRoom { room, tape: Arc::clone(tape) }));
        DONE
    }

    /// Where the bridge is mixed, from now on if it was not. Where nobody is in it yet, its time passes all the same.
    fn room_of(&mut self, id: BridgeId) -> RoomId {
        self.mix(id);
        match self.bridges.table.get(&id).and_then(|bridge| bridge.room) {
            Some(room) => room,
            None => {
                let thread = self.ports.roomy(0);
                self.bridges_room(id, thread)
            }
        }
    }

    /// A sound in a bridge has ended, or the bridge has.
    pub(crate) fn played_to_bridge(&mut self, token: Token) {
        for (id, bridge) in &mut self.bridges.table {
            // What played when its bridge was destroyed is answered already.
            if let Some(place) = bridge.playing.iter().position(|playing| *playing == token) {
                bridge.playing.remove(place);
                let id = *id;
                self.complete(token, Ok(Reply::Unit));
                self.relax(id);
                return;
            }
        }
    }

    /// Nobody records a bridge any more.
    pub(crate) fn recorded_bridge(&mut self, room: RoomId) {
        let of_room = |(id, bridge): (&BridgeId, &Bridge)| (bridge.room == Some(room)).then_some(*id);
        if let Some(id) = self.bridges.table.iter().find_map(of_room) {
            self.relax(id);
        }
    }

    /// `Command::WatchBridge`.
    pub(crate) fn watch_bridge(&mut self, id: BridgeId) -> Answer {
        self.bridges.table.get_mut(&id).ok_or(Error::BridgeNotFound(id))?.watchers += 1;
        // Who talks is not known of what is relayed.
        self.mix(id);
        DONE
    }

    /// `Command::UnwatchBridge`. No-op where the bridge is gone.
    pub(crate) fn unwatch_bridge(&mut self, id: BridgeId) -> Answer {
        if let Some(bridge) = self.bridges.table.get_mut(&id) {
            bridge.watchers = bridge.watchers.saturating_sub(1);
        }
        self.relax(id);
        DONE
    }

    /// The media engine has heard a member begin to speak, or fall silent.
    pub(crate) fn talks(&mut self, key: Key, talking: bool) {
        let Some(id) = self.calls.get(key).and_then(|call| call.bridge) else { return };
        let Some(bridge) = self.bridges.table.get_mut(&id) else { return };
        let Some(member) = bridge.members.iter_mut().find(|member| member.key == key) else { return };
        if std::mem::replace(&mut member.talking, talking) != talking {
            let kind = if talking { BridgeEventKind::Talking } else { BridgeEventKind::Silent };
            let session = Some(member.id);
            self.tell_bridge(id, kind, session);
        }
    }

    /// The place of a call among the members.
    fn member_of(&mut self, id: BridgeId, session: SessionId, what: &'static str) -> Result<usize, Error> {
        if !self.bridges.table.contains_key(&id) {
            return Err(Error::BridgeNotFound(id));
        }
        let key = self.at(session, what)?;
        let members = self.bridges.table.get(&id).map(|bridge| &bridge.members[..]).unwrap_or_default();
        members.iter().position(|member| member.key == key).ok_or_else(|| self.unfit(key, what))
    }

    fn bridges_room(&mut self, id: BridgeId, thread: u8) -> RoomId {
        let room = self.bridges.next_room(thread);
        if let Some(bridge) = self.bridges.table.get_mut(&id) {
            bridge.room = Some(room);
        }
        room
    }

    /// Two calls for which alone a bridge was made are relayed again, where nothing is left that needs them to be mixed.
    pub(crate) fn relax(&mut self, id: BridgeId) {
        let Some(bridge) = self.bridges.table.get_mut(&id) else { return };
        let [first, second] = &mut bridge.members[..] else { return };
        let recorded = bridge.tape.upgrade().is_some_and(|tape| !tape.is_stopped() && !tape.is_ended());
        let mixed = bridge.watchers > 0 || !bridge.playing.is_empty() || recorded;
        if !bridge.of_two || bridge.room.is_none() || mixed || !first.is_plain() || !second.is_plain() {
            return;
        }
        bridge.room = None;
        // Who talks is not known of what is relayed.
        (first.talking, second.talking) = (false, false);
        let (a, b) = (first.leg, second.leg);
        self.output.push_back(Output::Media(MediaCommand::Bridge { a, b }));
    }

    /// What was relayed so far is mixed from now on.
    pub(crate) fn mix(&mut self, id: BridgeId) {
        let Some(bridge) = self.bridges.table.get(&id) else { return };
        let Some(first) = bridge.members.first().filter(|_| bridge.room.is_none()) else { return };
        // Two that are relayed are on one thread.
        let thread = self.thread_of(first.key).unwrap_or_default();
        let room = self.bridges_room(id, thread);
        let Some(bridge) = self.bridges.table.get(&id) else { return };
        for member in &bridge.members {
            let (leg, role) = (member.leg, member.role());
            self.output.push_back(Output::Media(MediaCommand::Join { leg, room, role }));
        }
    }
}
