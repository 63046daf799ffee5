//! Legs whose turns have nothing to do: what is relayed goes out as it comes, and while it does, the leg need not be looked at.
//!
//! That matters because a leg is some twenty cache lines, which nobody has touched for a packet time. What is needed to pass a turn over stands
//! here, in a fourth of a line.
//!
//! Invariant: a turn that is passed over would have sent nothing and told nothing. Whatever could change that ends the calm: any command for
//! the leg or its peer, and each packet says anew until when there is any.

use crate::leg::{Leg, millis};
use crate::wheel::Entry;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calm {
    /// No turn before this has anything to do. 0: every turn is taken.
    until_ms: u64,
    epoch: u32,
    ptime_ms: u32,
}

/// By the legs' places in the slab.
#[derive(Debug, Default)]
pub(crate) struct Calms(Vec<Calm>);

impl Calms {
    #[inline]
    pub(crate) fn set(&mut self, key: u32, calm: Calm) {
        let place = key as usize;
        if let Some(known) = self.0.get_mut(place) {
            // What it was tells that turns may have been passed over.
            *known = if calm.until_ms > 0 { calm } else { Calm { until_ms: 0, ..*known } };
        } else if calm.until_ms > 0 {
            self.0.resize(place + 1, Calm::default());
            self.set(key, calm);
        }
    }

    /// It lasts no longer than this.
    #[inline]
    pub(crate) fn shorten(&mut self, key: u32, until_ms: u64) {
        if let Some(known) = self.0.get_mut(key as usize) {
            known.until_ms = known.until_ms.min(until_ms);
        }
    }

    /// True where turns may have been passed over since it last ended.
    pub(crate) fn end(&mut self, key: u32) -> bool {
        self.0.get_mut(key as usize).is_some_and(|known| std::mem::take(known).ptime_ms > 0)
    }

    /// When the turn after that of `due_ms` is due, where the latter has nothing to do.
    #[inline]
    pub(crate) fn passes(&self, entry: Entry, due_ms: u64, now_ms: u64) -> Option<u64> {
        let calm = self.0.get(entry.key as usize)?;
        // What is late is late for the leg, too.
        let is_calm = calm.epoch == entry.epoch && now_ms.max(due_ms) < calm.until_ms;
        let ptime_ms = u64::from(calm.ptime_ms).max(1);
        is_calm.then(|| due_ms + (now_ms.saturating_sub(due_ms) / ptime_ms + 1) * ptime_ms)
    }
}

impl Leg {
    /// Until when its turns would find nothing to do, should nothing happen but that it is fed by what is relayed.
    #[inline]
    pub(crate) fn calm(&self) -> Calm {
        let Some(target) = self.target else { return Calm::default() };
        let busy = self.muted
            || self.dial.is_some()
            || self.keypad.is_some()
            || self.playing.is_some()
            || self.audio.is_some()
            || self.member.is_some()
            || self.transcode.is_some();
        if busy || self.is_listening() {
            return Calm::default();
        }
        let until_ms = self.outgoing.fed_until().min(millis(self.deadline));
        Calm { until_ms, epoch: self.epoch, ptime_ms: target.format.ptime_ms.into() }
    }

    /// Something of what it has received is waited for, turn after turn.
    #[inline]
    pub(crate) fn is_listening(&self) -> bool {
        self.incoming.ear.is_some() || self.incoming.events.is_active()
    }

    /// Turns may have been passed over: when the next is due, on the phase that they have.
    pub(crate) fn catch_up(&mut self, now_ms: u64) {
        let ptime_ms = self.ptime_ms();
        self.due_ms += now_ms.saturating_sub(self.due_ms).div_ceil(ptime_ms) * ptime_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry = Entry { key: 3, epoch: 7 };

    #[test]
    fn turns_are_passed_over_on_their_phase_until_the_calm_is_over() {
        let mut calms = Calms::default();
        assert_eq!(calms.passes(ENTRY, 1000, 1000), None);
        calms.set(3, Calm { until_ms: 1080, epoch: 7, ptime_ms: 20 });
        assert_eq!(calms.passes(ENTRY, 1000, 1000), Some(1020));
        assert_eq!(calms.passes(ENTRY, 1000, 1045), Some(1060), "after a stall");
        assert_eq!(calms.passes(ENTRY, 1060, 1079), Some(1080));
        assert_eq!(calms.passes(ENTRY, 1080, 1080), None);
        assert_eq!(calms.passes(ENTRY, 1060, 1080), None, "late");
        assert_eq!(calms.passes(Entry { epoch: 8, ..ENTRY }, 1000, 1000), None, "another leg's");
        assert_eq!(calms.passes(Entry { key: 2, ..ENTRY }, 1000, 1000), None);
        calms.shorten(3, 1010);
        assert_eq!((calms.passes(ENTRY, 1000, 1000), calms.passes(ENTRY, 1010, 1010)), (Some(1020), None));
        assert!(calms.end(3) && !calms.end(3) && !calms.end(9));
        assert_eq!(calms.passes(ENTRY, 1000, 1000), None);
    }
}
