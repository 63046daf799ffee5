//! When bindings end: a heap with one entry an address.
//!
//! Invariant: an address that has bindings has an entry whose time is `queued` of it, and that is not after its first binding's end. Entries
//! with another time, or of an address that is gone, mean nothing and are dropped when they come up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ringback_time::Mono;

/// A place among the addresses, and which of those that have been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Expiry {
    heap: BinaryHeap<Reverse<(Mono, Slot)>>,
}

impl Expiry {
    pub(crate) fn push(&mut self, at: Mono, slot: Slot) {
        self.heap.push(Reverse((at, slot)));
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(crate) fn pop(&mut self, now: Mono) -> Option<(Mono, Slot)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Drops what means nothing: a peer that registers for less and less leaves such entries.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Mono, Slot) -> bool) {
        self.heap.retain(|Reverse((at, slot))| keep(*at, *slot));
    }
}
