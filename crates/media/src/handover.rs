//! From relaying to mixing and back: what the one was playing the other goes on with, so that who is in a pair hears no more of the
//! change than a frame.
//!
//! - A leg whose packets were relayed joins a room: the room plays from the packet after the last that was relayed on, at once, and
//!   waits for it. What its peer sends until then is nothing, for what was relayed last still lasts.
//! - Where it was transcoded, the playout buffer goes along, and so it does when the last two of a room are a pair again: what
//!   waits in it goes out before what is relayed, as it does when a codec changes.
//! - Who goes on being heard does not fade, nor does what he hears.

use ringback_media_api::Codec;

use crate::MediaEngine;
use crate::follow::Follow;
use crate::hearing::Hearing;
use crate::leg::Leg;
use crate::room::{Leaving, Member};
use crate::transcode::Transcode;

/// Until the packet that is due has come, whatever its packet time; then the gap is one.
const WAIT_MS: u32 = 100;
/// Of a path whose packets come evenly, milliseconds of jitter, and the longest that is waited for on one that does not.
const EVEN_MS: u32 = 3;
const MOST_MS: u32 = 40;
/// A leg that does not join the same room by then has left the pair for something else.
const AT_ONCE_MS: u64 = 20;

/// What a leg of a pair takes into a room.
pub(crate) struct Handover {
    at_ms: u64,
    says: Says,
    /// Something was sent to its peer from the other.
    hears: bool,
}

enum Says {
    Nothing,
    /// Its packets were relayed up to this timestamp of its own; the last of them, where a decoder has to know them.
    Relayed(u32, Vec<u8>),
    Decoded(Box<Hearing>),
}

impl Handover {
    /// What `from` said went out by `to`.
    fn take(from: &mut Leg, to: &mut Leg) -> Says {
        let stream = from.incoming.stream;
        match to.transcode.take() {
            Some(transcode) => {
                transcode.into_hearing(stream).map_or(Says::Nothing, |hearing| Says::Decoded(Box::new(hearing)))
            }
            None => to.outgoing.relayed_until(stream).map_or(Says::Nothing, |until| {
                Says::Relayed(until, to.follow.as_ref().map(Follow::payloads).unwrap_or_default().to_vec())
            }),
        }
    }
}

/// Where two sources of what a leg sends meet: the second begins where the first ended.
#[derive(Debug, Default)]
pub(crate) struct Joint {
    /// The sample that was sent last, of what was encoded on this thread.
    last: Option<i16>,
    meets: bool,
}

impl Joint {
    /// What is sent next is of another source.
    pub(crate) fn meet(&mut self) {
        self.meets = true;
    }

    /// Nothing is to be sent next, which would be a step.
    pub(crate) fn falls(&self) -> bool {
        self.meets && self.last.is_some_and(|last| last != 0)
    }

    /// Something else was sent.
    pub(crate) fn forget(&mut self) {
        *self = Joint::default();
    }

    /// What was sent ends with `last`, and is nobody's to change.
    pub(crate) fn passed(&mut self, last: i16) {
        *self = Joint { last: Some(last), meets: false };
    }

    /// `samples` are sent; the step that leads to them is spread over the first `over`.
    pub(crate) fn pass(&mut self, samples: &mut [i16], over: usize) {
        if std::mem::take(&mut self.meets)
            && let (Some(last), Some(&first)) = (self.last, samples.first())
        {
            let step = i32::from(last) - i32::from(first);
            for (n, sample) in samples.iter_mut().take(over).enumerate() {
                let made = i32::from(*sample) + step * (over - n) as i32 / over as i32;
                *sample = made.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
            }
        }
        self.last = samples.last().copied();
    }
}

impl Member {
    /// Goes on with what was heard of the leg, `jitter_ms` being that of its packets, and with what it heard.
    fn take_over(&mut self, handover: Handover, jitter_ms: u32, rate: u32, hears_at: u32) {
        // A filter that begins takes some milliseconds, which want to be faded.
        self.fresh &= !(handover.hears && hears_at == rate);
        match handover.says {
            Says::Nothing => {}
            Says::Relayed(timestamp, payloads) => {
                if !payloads.is_empty() {
                    self.hearing.decoding().go_on_after(Codec::G722, &payloads);
                }
                let late_ms = if jitter_ms <= EVEN_MS { 0 } else { (2 * jitter_ms).min(MOST_MS) };
                self.hearing.expect(timestamp, WAIT_MS, late_ms);
                self.continuing = true;
            }
            Says::Decoded(mut hearing) => {
                self.continuing = hearing.decoding().rate() == rate;
                hearing.change_rate(rate);
                self.hearing = *hearing;
            }
        }
    }
}

impl MediaEngine {
    /// A leg leaves the pair that it is in for a room. Its peer, which may follow, is given its part of it too.
    pub(crate) fn part(&mut self, now_ms: u64, key: u32) {
        let Some(peer) = self.legs.get(key as usize).and_then(|leg| leg.peer) else { return };
        if let Some((leg, peer)) = self.legs.get2_mut(key as usize, peer as usize) {
            let (said, heard) = (Handover::take(leg, peer), Handover::take(peer, leg));
            let (says, hears) = (!matches!(said, Says::Nothing), !matches!(heard, Says::Nothing));
            leg.handover = Some(Box::new(Handover { at_ms: now_ms, says: said, hears }));
            peer.handover = Some(Box::new(Handover { at_ms: now_ms, says: heard, hears: says }));
        }
        self.unbridge(key);
    }

    /// A new member takes over what its leg has kept from a pair.
    pub(crate) fn take_over(leg: &mut Leg, member: &mut Member, now_ms: u64, rate: u32) {
        let Some(handover) = leg.handover.take().filter(|kept| now_ms <= kept.at_ms + AT_ONCE_MS) else { return };
        let jitter_ms = (leg.incoming.state.jitter_nanos() / 1_000_000) as u32;
        member.take_over(*handover, jitter_ms, rate, leg.codec().sample_rate());
        leg.outgoing.lasts();
        leg.joint.meet();
    }

    /// Two members of one room are to be a pair again. False: they are not.
    pub(crate) fn pair_of_room(&mut self, a: u32, b: u32) -> bool {
        let room_of = |key: u32| {
            let member = self.legs.get(key as usize)?.member.as_ref()?;
            (member.leaving == Leaving::No).then_some(member.room)
        };
        let Some(place) = room_of(a).filter(|room| room_of(b) == Some(*room)) else { return false };
        let legs = [a, b].map(|key| self.legs.get(key as usize).map(|leg| leg.id));
        let [Some(leg), Some(other)] = legs else { return false };
        let Some(room) = self.rooms.at(place) else { return false };
        if room.is_pair() {
            self.pair(a, b);
            return true;
        }
        let others = room.members().iter().filter(|key| ![a, b].contains(key)).copied().collect::<Vec<_>>();
        let stays = |key: &u32| {
            let member = self.legs.get(*key as usize).and_then(|leg| leg.member.as_ref());
            member.is_some_and(|member| member.leaving == Leaving::No)
        };
        if others.iter().any(stays) {
            return false;
        }
        if let Some(room) = self.rooms.at(place) {
            // Whoever else was in it has a last frame to say.
            room.pair = Some([leg, other]);
        }
        true
    }

    /// The room has nobody but two who are to be a pair: then they are one, and nothing is mixed.
    pub(crate) fn pair_at_last(&mut self, place: u32) -> bool {
        let Some(room) = self.rooms.at(place) else { return false };
        let Some(pair) = room.pair.filter(|_| room.is_pair()) else { return false };
        room.pair = None;
        let [Some(&a), Some(&b)] = pair.map(|leg| self.index.get(&leg)) else { return false };
        let stay = |key: u32| {
            let member = self.legs.get(key as usize).and_then(|leg| leg.member.as_ref());
            member.is_some_and(|member| member.room == place && member.leaving == Leaving::No)
        };
        if !stay(a) || !stay(b) {
            return false;
        }
        self.pair(a, b);
        true
    }

    fn pair(&mut self, a: u32, b: u32) {
        let [from_a, from_b] = [a, b].map(|key| self.take_out(key));
        self.couple(a, b);
        for (to, from) in [(b, from_a), (a, from_b)] {
            if let (Some(leg), Some((stream, hearing))) = (self.legs.get_mut(to as usize), from) {
                leg.transcode = Some(Box::new(Transcode::going_on(stream, leg.codec(), hearing)));
                leg.joint.meet();
            }
        }
    }

    /// Takes a leg out of its room without a last frame, and with what waits to be heard of it.
    fn take_out(&mut self, key: u32) -> Option<(u32, Hearing)> {
        let leg = self.legs.get_mut(key as usize)?;
        let mut member = leg.member.take()?;
        leg.incoming.discarded += member.discarded();
        member.heard = false;
        let hearing = member.take_hearing(leg.codec());
        if let Some(room) = self.rooms.at(member.room) {
            room.remove(member);
        }
        Some((leg.incoming.stream, hearing?))
    }
}
