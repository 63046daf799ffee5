//! Looking ahead: what a leg's packet or turn will need is read a little before, for some legs in one go.
//!
//! Nobody has touched a leg for a packet time, and what the kernel does for the packets of all the others has driven it out of the caches. Its
//! work then waits for memory a dozen times, one line after the other, for each address is known only from the line before. Reads for several
//! legs do not wait for each other. Nothing is changed, and what is read means nothing.

use std::hint::black_box;

use ringback_media_api::LegId;
use slab::Slab;

use crate::MediaEngine;
use crate::leg::Leg;
use crate::room::Member;
use crate::wheel::Entry;

/// Legs looked ahead at in one go: what is read of them stays in the first cache until they have had their turns.
pub(crate) const LEGS: usize = 8;

impl MediaEngine {
    /// How many legs are best looked ahead at.
    pub const AHEAD: usize = LEGS;

    /// Packets of these legs, [`AHEAD`](Self::AHEAD) at most, are about to come.
    pub fn look_ahead(&self, legs: impl Iterator<Item = LegId> + Clone) {
        let keys = legs.filter_map(|leg| self.index.get(&leg));
        let legs = keys.filter_map(|key| self.legs.get(*key as usize));
        let members = legs.clone().filter_map(|leg| leg.member.as_ref());
        let peers = legs.clone().filter_map(|leg| self.legs.get(leg.peer? as usize));
        // What one read leads to is read when all of those are under way.
        read(legs.map(|leg| leg.look_ahead_at_packet()));
        read(peers.map(|leg| leg.look_ahead_at_sending()));
        read(members.clone().map(|member| member.look_ahead()));
        read(members.map(|member| member.hearing.look_ahead_at_push()));
    }

    /// Turns of these are about to come.
    pub(crate) fn look_ahead_at_turns(&self, entries: &[Entry], due_ms: u64, now_ms: u64) {
        let busy = entries.iter().filter(|entry| self.calms.passes(**entry, due_ms, now_ms).is_none());
        look_ahead_at_turns(&self.legs, busy.map(|entry| entry.key));
    }
}

/// The same for the legs with these keys.
pub(crate) fn look_ahead_at_turns(legs: &Slab<Box<Leg>>, keys: impl Iterator<Item = u32> + Clone) {
    let legs = keys.filter_map(|key| legs.get(key as usize));
    let members = legs.clone().filter_map(|leg| leg.member.as_ref());
    read(legs.map(|leg| leg.look_ahead_at_turn()));
    read(members.clone().map(|member| member.look_ahead()));
    read(members.map(|member| member.hearing.look_ahead_at_pull()));
}

/// Keeps the compiler from leaving out what has no effect that it knows.
#[inline]
fn read(bits: impl Iterator<Item = u64>) {
    black_box(bits.fold(0, |all, bits| all ^ bits));
}

/// A bit of each cache line that is needed.
impl Leg {
    #[inline]
    fn look_ahead_at_packet(&self) -> u64 {
        let incoming = &self.incoming;
        let stream = u64::from(incoming.stream) ^ incoming.state.unique() ^ incoming.state.jitter_nanos();
        u64::from(self.epoch) ^ u64::from(self.latch.has_learned()) ^ incoming.octets ^ incoming.discarded ^ stream
    }

    #[inline]
    fn look_ahead_at_turn(&self) -> u64 {
        self.look_ahead_at_sending() ^ self.due_ms ^ u64::from(self.encoder.is_some())
    }

    #[inline]
    fn look_ahead_at_sending(&self) -> u64 {
        u64::from(self.target.is_some()) ^ u64::from(self.epoch) ^ self.outgoing.packets
    }
}

impl Member {
    #[inline]
    fn look_ahead(&self) -> u64 {
        u64::from(self.room) ^ self.own.len() as u64 ^ self.hearing.look_ahead()
    }
}
