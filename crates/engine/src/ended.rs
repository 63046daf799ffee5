//! Dialogs that have ended not long ago, so that whoever comes to take their place can be told that they are over (RFC 3891 §3). A row is a
//! number: what identifies a dialog, hashed with a key of our own.

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;

use ringback_time::Mono;
use ringback_ua::DialogId;

use crate::api::Directory;

#[derive(Debug, Default)]
pub(crate) struct EndedDialogs {
    hasher: foldhash::fast::RandomState,
    known: HashSet<u64, foldhash::fast::RandomState>,
    /// Oldest first, with the time each is forgotten.
    order: VecDeque<(Mono, u64)>,
}

impl EndedDialogs {
    pub(crate) fn remember(&mut self, now: Mono, dialog: &DialogId) {
        self.forget(now);
        if self.order.len() >= Directory::ENDED_MOST
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        let row = self.row(dialog);
        if self.known.insert(row) {
            self.order.push_back((now + Directory::ENDED_KEPT, row));
        }
    }

    pub(crate) fn has(&self, dialog: &DialogId) -> bool {
        self.known.contains(&self.row(dialog))
    }

    pub(crate) fn forget(&mut self, now: Mono) {
        while let Some(&(at, row)) = self.order.front()
            && at <= now
        {
            self.order.pop_front();
            self.known.remove(&row);
        }
        if self.order.is_empty() && self.order.capacity() > 256 {
            (self.order, self.known) = Default::default();
        }
    }

    fn row(&self, dialog: &DialogId) -> u64 {
        self.hasher.hash_one((&dialog.call_id, &dialog.local_tag, &dialog.remote_tag))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn dialog(n: usize) -> DialogId {
        DialogId { call_id: format!("c{n}"), local_tag: "l".into(), remote_tag: "r".into() }
    }

    #[test]
    fn each_is_known_for_a_minute_and_of_a_flood_the_latest() {
        let mut ended = EndedDialogs::default();
        ended.remember(Mono::ZERO, &dialog(0));
        ended.remember(Mono::ZERO + Duration::from_secs(30), &dialog(1));
        ended.forget(Mono::ZERO + Duration::from_secs(60));
        assert!(!ended.has(&dialog(0)) && ended.has(&dialog(1)));
        assert!(!ended.has(&DialogId { remote_tag: "x".into(), ..dialog(1) }));
        let later = Mono::ZERO + Duration::from_secs(61);
        for n in 2..Directory::ENDED_MOST + 3 {
            ended.remember(later, &dialog(n));
        }
        assert!(!ended.has(&dialog(1)) && !ended.has(&dialog(2)) && ended.has(&dialog(3)));
        ended.forget(later + Directory::ENDED_KEPT);
        assert!(ended.order.is_empty() && ended.known.is_empty());
    }
}
