//! The place of one call in a bridge for another that takes it over: it is the same party's, with its role and its gain, and with whoever
//! whispers to it.

use ringback_media_api::{Command as MediaCommand, LegId};
use ringback_time::Now;
use smallvec::SmallVec;

use crate::api::{BridgeId, BridgeRole};
use crate::call::Transfer;
use crate::engine::{Engine, Output};
use crate::table::Key;

/// What a call is in its bridge.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    bridge: BridgeId,
    leg: LegId,
    role: BridgeRole,
    beside: Option<Key>,
    gain_db: f32,
    /// Those who whisper to it.
    whisperers: SmallVec<[Key; 1]>,
}

/// The place that a call is to have.
#[derive(Clone, Debug)]
pub(crate) struct Joins {
    seat: Seat,
    /// The other one in a bridge that is of two; it is made anew for the two of them.
    other: Option<(Key, Seat)>,
}

impl Engine {
    fn seat_of(&self, key: Key) -> Option<Seat> {
        let id = self.calls.get(key)?.bridge?;
        let members = &self.bridges.table.get(&id)?.members;
        let member = members.iter().find(|member| member.key == key)?;
        let beside = members.iter().find(|other| Some(other.leg) == member.beside).map(|other| other.key);
        let whisperers = members.iter().filter(|other| other.beside == Some(member.leg)).map(|other| other.key);
        Some(Seat {
            bridge: id,
            leg: member.leg,
            role: member.role,
            beside,
            gain_db: member.gain_db,
            whisperers: whisperers.collect(),
        })
    }

    /// `new`, which is answered, takes the place of `old` in its bridge, whatever the lock of that says; where its media waits for the ACK,
    /// then.
    pub(crate) fn succeed(&mut self, now: Now, old: Key, new: Key) {
        let Some(seat) = self.seat_of(old) else { return };
        let other = self.bridged_with(old).and_then(|other| Some((other, self.seat_of(other)?)));
        if other.is_some() {
            self.unbridge(old);
        }
        let joins = Joins { seat, other };
        if !self.sit_down(now, new, &joins)
            && let Some(call) = self.calls.get_mut(new)
            && call.transfer.is_none()
        {
            call.transfer = Some(Box::new(Transfer::Joins(joins)));
        }
    }

    /// The media of a call is there.
    pub(crate) fn join_late(&mut self, now: Now, key: Key) {
        if !matches!(self.calls.get(key).and_then(|call| call.transfer.as_deref()), Some(Transfer::Joins(_))) {
            return;
        }
        let Some(Transfer::Joins(joins)) = self.take_transfer(key) else { return };
        let free = |other: Key| self.is_up(other) && self.calls.get(other).is_some_and(|call| call.bridge.is_none());
        if joins.other.as_ref().is_none_or(|(other, _)| free(*other)) {
            self.sit_down(now, key, &joins);
        }
    }

    /// False where the call has no media yet.
    fn sit_down(&mut self, now: Now, key: Key, joins: &Joins) -> bool {
        let call = self.calls.get(key).filter(|call| call.bridge.is_none());
        let Some(leg) = call.and_then(|call| call.media.leg()) else { return false };
        let Some((other, theirs)) = &joins.other else {
            self.join_room(joins.seat.bridge, key, leg, Some(&joins.seat));
            return true;
        };
        let Some(id) = self.connect(now, key, *other) else { return false };
        self.take_seat(id, *other, theirs);
        self.take_seat(id, key, &joins.seat);
        let members = self.bridges.table.get(&id).map(|bridge| bridge.members.clone()).unwrap_or_default();
        if members.iter().any(|member| !member.is_plain()) {
            self.mix(id);
            for member in members.iter().filter(|member| member.gain_db != 0.0) {
                let (leg, gain_db) = (member.leg, member.gain_db);
                self.output.push_back(Output::Media(MediaCommand::SetGain { leg, gain_db }));
            }
        }
        true
    }

    /// Notes a member as what `seat` says; who whispered to the one who had it whispers to this one.
    pub(crate) fn take_seat(&mut self, id: BridgeId, key: Key, seat: &Seat) {
        let Some(bridge) = self.bridges.table.get_mut(&id) else { return };
        let beside = bridge.members.iter().find(|member| Some(member.key) == seat.beside).map(|member| member.leg);
        let Some(member) = bridge.members.iter_mut().find(|member| member.key == key) else { return };
        (member.role, member.beside, member.gain_db) = (seat.role, beside, seat.gain_db);
        let leg = member.leg;
        for member in bridge.members.iter_mut().filter(|member| seat.whisperers.contains(&member.key)) {
            // Unless it has been told something else meanwhile.
            if member.role == BridgeRole::Whisper && member.beside.is_none_or(|beside| beside == seat.leg) {
                member.beside = Some(leg);
                if bridge.room.is_some() {
                    let (leg, role) = (member.leg, member.role());
                    self.output.push_back(Output::Media(MediaCommand::SetRole { leg, role }));
                }
            }
        }
    }
}
