//! The conferences of one media thread: who is in which, and whose turn it is.
//!
//! Invariant: a leg's `member` names a room in the slab that lists the leg, and every key that a room lists is such a leg's.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use foldhash::fast::FixedState;
use ringback_media_api::{Event, LegId, Role, RoomId, Sound, Tape, Token};
use ringback_time::Now;
use slab::Slab;

use crate::leg::{Leg, Retention, millis};
use crate::room::{Leaving, Member, Room};
use crate::wheel::Entry;
use crate::{MediaEngine, Out};

/// Marks the keys of rooms among the wheel's entries.
pub(crate) const ROOM: u32 = 1 << 31;

#[derive(Default)]
pub(crate) struct Rooms {
    slab: Slab<Box<Room>>,
    // Room ids are our own, never a peer's.
    index: HashMap<RoomId, u32, FixedState>,
}

impl Rooms {
    pub(crate) fn of(&mut self, leg: &Leg) -> Option<&mut Room> {
        let member = leg.member.as_ref()?;
        self.slab.get_mut(member.room as usize).map(|room| &mut **room)
    }

    pub(crate) fn at(&mut self, place: u32) -> Option<&mut Room> {
        self.slab.get_mut(place as usize).map(|room| &mut **room)
    }

    /// A member has sent its packet.
    pub(crate) fn after_turn(&mut self, leg: &mut Leg) {
        let Some(member) = &mut leg.member else { return };
        let Some(room) = self.slab.get_mut(member.room as usize) else { return };
        if member.leaving == Leaving::Mixed {
            if let Some(member) = leg.member.take() {
                room.remove(member);
            }
        } else if !room.is_together() && member.role != Role::Listener {
            // On the leg's own phase, so that the room's has the less to do.
            member.pull(0);
        }
    }
}

impl MediaEngine {
    /// Conferences that have members.
    pub fn live_rooms(&self) -> usize {
        self.rooms.slab.len()
    }

    pub(crate) fn join(&mut self, now: Now, leg: LegId, id: RoomId, role: Role) {
        let Some(&key) = self.index.get(&leg) else {
            tracing::debug!(target: "ringback.media", ?leg, ?id, "no such leg to join a conference");
            return;
        };
        let now_ms = millis(now.mono);
        let peer = self.legs.get(key as usize).and_then(|leg| self.legs.get(leg.peer? as usize));
        let peer_rate = peer.map_or(0, |peer| peer.codec().sample_rate());
        self.part(now_ms, key);
        self.detach(key);
        let Some(leg) = self.legs.get(key as usize) else { return };
        let (due_ms, codec) = (leg.due_ms, leg.codec());
        let place = match self.rooms.index.get(&id) {
            Some(place) => *place,
            None => self.open_room(now_ms, id, due_ms, codec.sample_rate().max(peer_rate)),
        };
        let Some(room) = self.rooms.slab.get_mut(place as usize) else { return };
        let Some(leg) = self.legs.get_mut(key as usize) else { return };
        // What it sends need not be what it is sent.
        let comes = leg.incoming.codec.unwrap_or(codec);
        let Ok(member) = Member::new(place, key, role, comes, room.rate()) else { return };
        let mut member = Box::new(member);
        room.insert(&mut member);
        leg.unfeed();
        MediaEngine::take_over(leg, &mut member, now_ms, room.rate());
        leg.member = Some(member);
        // Its audio goes to the others: nothing is kept for a program that did not ask in time.
        leg.incoming.retained = Retention::Over;
        if room.is_together() {
            // The last of the room's turns until its own: what comes early harms nobody's playout buffer.
            let early = (due_ms + FRAME - room.due_ms % FRAME) % FRAME;
            let due_ms = due_ms - early;
            let due_ms = if due_ms > now_ms { due_ms } else { due_ms + FRAME };
            if early > 0 {
                self.rephase(now_ms, key, due_ms);
            }
        }
    }

    /// With its first member due at `due_ms`; mixed at `rate`.
    fn open_room(&mut self, now_ms: u64, id: RoomId, due_ms: u64, rate: u32) -> u32 {
        let epoch = self.next_epoch();
        let due_ms = due_ms.max(now_ms + 1);
        let due_ms = due_ms - (due_ms - now_ms - 1) / FRAME * FRAME;
        let place = self.rooms.slab.insert(Box::new(Room::new(id, due_ms, epoch, rate))) as u32;
        self.rooms.index.insert(id, place);
        self.wheel.insert(now_ms, due_ms, Entry { key: place | ROOM, epoch });
        place
    }

    /// Asks a member to leave with its next frame.
    pub(crate) fn leave(&mut self, key: u32) {
        if let Some(member) = self.legs.get_mut(key as usize).and_then(|leg| leg.member.as_mut())
            && member.leaving == Leaving::No
        {
            member.leaving = Leaving::Asked;
            if let Some(room) = self.rooms.slab.get_mut(member.room as usize) {
                room.list(member);
            }
        }
    }

    /// Takes a leg out of its room at once.
    pub(crate) fn detach(&mut self, key: u32) {
        let Some(leg) = self.legs.get_mut(key as usize) else { return };
        let Some(member) = leg.member.take() else { return };
        leg.incoming.discarded += member.discarded();
        // What it heard was not faded, unless it has had its last frame. What was sent in place of the room goes on.
        if !leg.is_overridden() {
            leg.joint.meet();
        }
        if let Some(room) = self.rooms.slab.get_mut(member.room as usize) {
            room.remove(member);
        }
    }

    pub(crate) fn play_to_room<O: Out + ?Sized>(
        &mut self,
        now: Now,
        id: RoomId,
        sound: Arc<Sound>,
        token: Token,
        out: &mut O,
    ) {
        let now_ms = millis(now.mono);
        let place = match self.rooms.index.get(&id) {
            Some(place) => *place,
            None => self.open_room(now_ms, id, now_ms + 1, 8_000),
        };
        if let Some(room) = self.rooms.slab.get_mut(place as usize) {
            room.play(sound, token, out);
        }
    }

    pub(crate) fn record_room(&mut self, now: Now, id: RoomId, tape: Arc<Tape>) {
        let now_ms = millis(now.mono);
        let place = match self.rooms.index.get(&id) {
            Some(place) => *place,
            None => self.open_room(now_ms, id, now_ms + 1, 8_000),
        };
        if let Some(room) = self.rooms.slab.get_mut(place as usize) {
            room.start_recording(tape);
        }
    }

    /// A member's codec may have changed.
    pub(crate) fn recount(&mut self, leg: LegId) {
        let leg = self.index.get(&leg).and_then(|key| self.legs.get(*key as usize));
        if let Some(room) = leg.and_then(|leg| self.rooms.of(leg)) {
            room.recount = true;
        }
    }

    pub(crate) fn close_room<O: Out + ?Sized>(&mut self, id: RoomId, out: &mut O) {
        let Some(place) = self.rooms.index.remove(&id) else { return };
        let Some(room) = self.rooms.slab.get_mut(place as usize) else { return };
        room.stop_playing(out);
        room.stop_recording();
        for key in room.members().to_vec() {
            self.leave(key);
        }
    }

    pub(crate) fn set_role<O: Out + ?Sized>(&mut self, id: LegId, role: Role, out: &mut O) {
        let Some(leg) = self.index.get(&id).and_then(|key| self.legs.get_mut(*key as usize)) else { return };
        let Some(member) = &mut leg.member else { return };
        let before = std::mem::replace(&mut member.role, role);
        if before == Role::Listener && role != before {
            // What was there is long over.
            member.begin_stream();
        }
        if role == Role::Listener && member.voice.end() {
            out.event(Event::Talking { leg: id, talking: false });
        }
        if let Some(room) = self.rooms.slab.get_mut(member.room as usize) {
            room.list(member);
        }
    }

    /// A room's own turn, for which one of its members' may have come first.
    pub(crate) fn room_turn<O: Out + ?Sized>(&mut self, now_ms: u64, entry: Entry, out: &mut O) {
        let place = entry.key & !ROOM;
        let Some(room) = self.rooms.slab.get(place as usize).filter(|room| room.epoch == entry.epoch) else { return };
        if room.is_empty() {
            let id = room.id;
            self.rooms.slab.remove(place as usize);
            if self.rooms.index.get(&id) == Some(&place) {
                self.rooms.index.remove(&id);
            }
            return;
        }
        self.mix(now_ms, place, out);
        if let Some(room) = self.rooms.slab.get(place as usize) {
            self.wheel.insert(now_ms, room.due_ms, entry);
        }
    }

    /// What a leg is about to send must have been mixed.
    #[inline]
    pub(crate) fn mix_for<O: Out + ?Sized>(&mut self, now_ms: u64, key: u32, out: &mut O) {
        if let Some(member) = self.legs.get(key as usize).and_then(|leg| leg.member.as_ref()) {
            let room = member.room;
            self.mix(now_ms, room, out);
        }
    }

    fn mix<O: Out + ?Sized>(&mut self, now_ms: u64, place: u32, out: &mut O) {
        if self.rooms.slab.get(place as usize).is_none_or(|room| room.due_ms > now_ms) || self.pair_at_last(place) {
            return;
        }
        let Some(room) = self.rooms.slab.get_mut(place as usize) else { return };
        let legs = &mut self.legs;
        if catch_unwind(AssertUnwindSafe(|| room.mix(legs, now_ms, out))).is_ok() {
            return;
        }
        // The frame is lost for all, and the member whose work it was leaves.
        let guilty = room.current.take().and_then(|key| legs.get(key as usize)).map(|leg| leg.id);
        match guilty {
            Some(leg) => self.fail(leg, out),
            None => {
                let id = room.id;
                self.close_room(id, out);
            }
        }
    }
}

const FRAME: u64 = crate::room::FRAME_MS;
