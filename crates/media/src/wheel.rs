//! When whose turn is: 64 slots of 1 ms, of which each leg is in one (or two: sending, and handing frames to a program).
//!
//! Invariant: bit `i` of `occupied` is set when slot `i` may hold an entry, and all entries are due within 64 ms from `next`, the
//! first millisecond that was not yet looked at. An entry whose leg is gone or was moved is passed over when its turn comes.

const SLOTS: u64 = 64;

/// A leg's place in the slab, and the number that tells whether it is still meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: u32,
    pub(crate) epoch: u32,
}

#[derive(Debug)]
pub(crate) struct Wheel {
    slots: [Vec<Entry>; SLOTS as usize],
    occupied: u64,
    next: u64,
    spare: Vec<Entry>,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Wheel { slots: [const { Vec::new() }; SLOTS as usize], occupied: 0, next: 0, spare: Vec::new() }
    }

    /// Puts an entry where it is due, or as near before as there is a slot for: whoever takes it looks at the leg's own time.
    pub(crate) fn insert(&mut self, now: u64, due: u64, entry: Entry) {
        if self.occupied == 0 {
            self.next = self.next.max(now);
        }
        let due = due.clamp(self.next, self.next + SLOTS - 1);
        if let Some(slot) = self.slots.get_mut((due % SLOTS) as usize) {
            slot.push(entry);
            self.occupied |= 1 << (due % SLOTS);
        }
    }

    /// The first millisecond with an entry.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let ahead = self.occupied.rotate_right((self.next % SLOTS) as u32).trailing_zeros();
        (self.occupied != 0).then(|| self.next + u64::from(ahead))
    }

    /// The first millisecond that is due, and its entries; to be given back when they were seen to.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<(u64, Vec<Entry>)> {
        let due = self.next_due()?;
        if due > now {
            // Nothing until then: what is inserted meanwhile may be due from now on.
            self.next = self.next.max(now + 1).min(due);
            return None;
        }
        self.next = due + 1;
        self.occupied &= !(1 << (due % SLOTS));
        let slot = self.slots.get_mut((due % SLOTS) as usize)?;
        Some((due, std::mem::replace(slot, std::mem::take(&mut self.spare))))
    }

    pub(crate) fn give_back(&mut self, mut entries: Vec<Entry>) {
        entries.clear();
        self.spare = entries;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u32) -> Entry {
        Entry { key, epoch: 0 }
    }

    fn taken(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut keys = Vec::new();
        while let Some((_, entries)) = wheel.take_due(now) {
            keys.extend(entries.iter().map(|e| e.key));
            wheel.give_back(entries);
        }
        keys
    }

    #[test]
    fn entries_come_when_due_and_empty_slots_cost_nothing() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.next_due(), None);
        wheel.insert(1000, 1005, entry(1));
        wheel.insert(1000, 1060, entry(2));
        wheel.insert(1000, 1005, entry(3));
        assert_eq!(wheel.next_due(), Some(1005));
        assert_eq!(taken(&mut wheel, 1004), []);
        assert_eq!(taken(&mut wheel, 1005), [1, 3]);
        assert_eq!(wheel.next_due(), Some(1060));
        assert_eq!(taken(&mut wheel, 1100), [2]);
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn after_a_stall_all_come_once_in_order() {
        let mut wheel = Wheel::new();
        for key in 0..60 {
            wheel.insert(100, 100 + u64::from(59 - key), entry(key));
        }
        assert_eq!(taken(&mut wheel, 5000), (0..60).rev().collect::<Vec<_>>());
        wheel.insert(5000, 5001, entry(7));
        assert_eq!(wheel.next_due(), Some(5001));
    }

    #[test]
    fn what_is_due_beyond_the_last_slot_comes_early_and_not_never() {
        let mut wheel = Wheel::new();
        wheel.insert(0, 10, entry(1));
        wheel.insert(500, 520, entry(2));
        assert_eq!(taken(&mut wheel, 520), [1, 2]);
    }
}
