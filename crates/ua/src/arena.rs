//! Entries that are named by an index and a generation: a name outlives its entry harmlessly, which is what lets timers, events and
//! the rooms above keep names without telling anybody.

use std::mem;

/// Where an entry is, and which of the entries that have been there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Index {
    slot: u32,
    generation: u32,
}

impl Index {
    pub(crate) const fn to_bits(self) -> u64 {
        ((self.generation as u64) << 32) | self.slot as u64
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Index { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

enum Slot<T> {
    Full {
        generation: u32,
        value: T,
    },
    /// `next`: the next empty slot.
    Empty {
        next: u32,
    },
}

const NONE: u32 = u32::MAX;
/// An arena that has become empty gives its memory back when it had more slots than this.
const KEEP: usize = 64;

/// A slab with generations. Empty slots are used again, last freed first: they are warm. Generations are counted for the whole
/// arena, so that slots can be given back.
pub(crate) struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    len: usize,
    generation: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena { slots: Vec::new(), free: NONE, len: 0, generation: 0 }
    }
}

impl<T> Arena<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> Index {
        self.len += 1;
        // Generation 0 is never used: an all-zero name is never valid.
        // The top bit is left to those who keep names of two arenas in one place.
        self.generation = (self.generation + 1) & (u32::MAX >> 1);
        self.generation = self.generation.max(1);
        let generation = self.generation;
        if let Some(entry) = self.slots.get_mut(self.free as usize)
            && let Slot::Empty { next } = *entry
        {
            let slot = mem::replace(&mut self.free, next);
            *entry = Slot::Full { generation, value };
            return Index { slot, generation };
        }
        let slot = self.slots.len() as u32;
        self.slots.push(Slot::Full { generation, value });
        Index { slot, generation }
    }

    pub(crate) fn remove(&mut self, index: Index) -> Option<T> {
        let entry = self.slots.get_mut(index.slot as usize)?;
        match entry {
            Slot::Full { generation, .. } if *generation == index.generation => {}
            _ => return None,
        }
        let removed = mem::replace(entry, Slot::Empty { next: self.free });
        self.free = index.slot;
        self.len -= 1;
        if self.len == 0 && self.slots.len() > KEEP {
            self.slots = Vec::new();
            self.free = NONE;
        }
        match removed {
            Slot::Full { value, .. } => Some(value),
            Slot::Empty { .. } => None,
        }
    }

    /// Gives back what a burst needed. From now on the lowest slots are used first, so that next time more of them can be given back.
    pub(crate) fn shrink(&mut self) {
        let used = self.slots.iter().rposition(|slot| matches!(slot, Slot::Full { .. })).map_or(0, |last| last + 1);
        self.slots.truncate(used);
        self.slots.shrink_to(KEEP);
        self.free = NONE;
        for (place, slot) in self.slots.iter_mut().enumerate().rev() {
            if matches!(slot, Slot::Empty { .. }) {
                *slot = Slot::Empty { next: self.free };
                self.free = place as u32;
            }
        }
    }

    pub(crate) fn get(&self, index: Index) -> Option<&T> {
        match self.slots.get(index.slot as usize)? {
            Slot::Full { generation, value } if *generation == index.generation => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, index: Index) -> Option<&mut T> {
        match self.slots.get_mut(index.slot as usize)? {
            Slot::Full { generation, value } if *generation == index.generation => Some(value),
            _ => None,
        }
    }

    pub(crate) fn contains(&self, index: Index) -> bool {
        self.get(index).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Index, &T)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| match entry {
            Slot::Full { generation, value } => Some((Index { slot: slot as u32, generation: *generation }, value)),
            Slot::Empty { .. } => None,
        })
    }
}

impl<T> Arena<T> {
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|entry| match entry {
            Slot::Full { value, .. } => Some(value),
            Slot::Empty { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_outlives_its_entry_harmlessly() {
        let mut arena = Arena::default();
        let first = arena.insert("first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!(second.slot, first.slot, "the slot is used again");
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"second"));
        assert_eq!(Index::from_bits(second.to_bits()), second);
        assert!(!arena.contains(Index::from_bits(0)));
    }

    #[test]
    fn memory_of_a_burst_is_given_back_and_old_names_stay_invalid() {
        let mut arena = Arena::default();
        let names: Vec<Index> = (0..1000).map(|n| arena.insert(n)).collect();
        for name in &names {
            assert!(arena.remove(*name).is_some());
        }
        assert_eq!(arena.len(), 0);
        assert_eq!(arena.slots.capacity(), 0);
        let again = arena.insert(7);
        assert!(names.iter().all(|name| *name != again && arena.get(*name).is_none()));
        assert_eq!(arena.iter().count(), 1);
    }

    #[test]
    fn what_is_left_of_a_burst_keeps_its_names_and_moves_down_in_time() {
        let mut arena = Arena::default();
        let names: Vec<Index> = (0..1000).map(|n| arena.insert(n)).collect();
        let (low, high) = (names[10], names[500]);
        for name in names.iter().filter(|name| ![low, high].contains(name)) {
            arena.remove(*name);
        }
        arena.shrink();
        assert!(arena.slots.len() == 501 && arena.slots.capacity() < 600);
        assert!(arena.get(low) == Some(&10) && arena.get(high) == Some(&500) && arena.len() == 2);
        let more: Vec<Index> = (0..498).map(|n| arena.insert(2000 + n)).collect();
        assert!(more[0].slot == 0 && more.iter().all(|name| name.slot < 500), "the lowest first");
        arena.remove(high);
        more.iter().skip(5).for_each(|name| assert!(arena.remove(*name).is_some()));
        arena.shrink();
        assert_eq!(arena.slots.len(), 11);
        assert!(names.iter().filter(|name| **name != low).all(|name| arena.get(*name).is_none()));
        arena.remove(low);
        more.iter().take(5).for_each(|name| assert!(arena.remove(*name).is_some()));
        arena.shrink();
        assert!(arena.slots.is_empty());
        let last = arena.insert(1);
        assert_eq!(arena.get(last), Some(&1));
    }
}
