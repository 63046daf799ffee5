//! The calls of an engine. A [`Key`] names a place and which of the calls that have been there: one that was kept too long finds
//! nothing, never another call.

use slab::Slab;

use crate::call::Call;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    #[cfg(test)]
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Key { index, generation }
    }

    pub(crate) const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Key { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Calls {
    slab: Slab<(u32, Box<Call>)>,
    /// Counts calls; wraps after four thousand million of them.
    generation: u32,
}

impl Calls {
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Call> {
        self.slab
            .get(key.index as usize)
            .filter(|(generation, _)| *generation == key.generation)
            .map(|(_, call)| &**call)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Call> {
        let entry = self.slab.get_mut(key.index as usize);
        entry.filter(|(generation, _)| *generation == key.generation).map(|(_, call)| &mut **call)
    }

    /// The key that the next call will have.
    pub(crate) fn next_key(&mut self) -> Key {
        self.generation = self.generation.wrapping_add(1);
        // Bounded by `Config::max_sessions`.
        Key { index: self.slab.vacant_key() as u32, generation: self.generation }
    }

    /// `key` is from `next_key`, with no other insertion between.
    pub(crate) fn insert(&mut self, key: Key, call: Call) {
        let index = self.slab.insert((key.generation, Box::new(call)));
        debug_assert_eq!(index, key.index as usize);
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Box<Call>> {
        self.get(key)?;
        self.slab.try_remove(key.index as usize).map(|(_, call)| call)
    }

    pub(crate) fn shrink(&mut self) {
        self.slab.shrink_to_fit();
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        let key =
            |(index, (generation, _)): (usize, &(u32, Box<Call>))| Key { index: index as u32, generation: *generation };
        self.slab.iter().map(key).collect()
    }
}
