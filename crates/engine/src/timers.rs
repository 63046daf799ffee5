//! Deadlines of calls. Each call has at most one of each kind; only the earliest of a call stands in the queue.
//!
//! Invariant: `(at, key)` is in the queue exactly when `at` is `Timers::armed` of the call with that key, and `armed` is the
//! minimum of its deadlines.

use std::collections::BTreeSet;

use ringback_time::Mono;

use crate::table::Key;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// No decision came (`answer_timeout`), or the INVITE's own `Expires` ran out.
    Decide,
    /// The provisional response is due again.
    Refresh,
    /// A target of a forwarded call rang long enough; or, of an answered call, a transfer is over its time.
    Ring,
    /// The call has lived as long as it may (`session_timeout`).
    Life,
    /// An outgoing call rings and nobody speaks.
    Silence,
    /// The next digit is due by INFO.
    Digit,
    /// Who collects digits has waited long enough.
    Collect,
    /// A flow to a telephone that has others is silent.
    Unheard,
}

const KINDS: [Timer; 8] = [
    Timer::Decide,
    Timer::Refresh,
    Timer::Ring,
    Timer::Life,
    Timer::Silence,
    Timer::Digit,
    Timer::Collect,
    Timer::Unheard,
];

const NEVER: Mono = Mono::from_nanos(u64::MAX);

#[derive(Debug)]
pub(crate) struct Timers {
    at: [Mono; KINDS.len()],
    armed: Mono,
}

impl Default for Timers {
    fn default() -> Self {
        Timers { at: [NEVER; KINDS.len()], armed: NEVER }
    }
}

/// The deadlines of all calls.
#[derive(Debug, Default)]
pub(crate) struct TimerQueue {
    queue: BTreeSet<(Mono, Key)>,
}

impl TimerQueue {
    pub(crate) fn set(&mut self, key: Key, timers: &mut Timers, kind: Timer, at: Mono) {
        timers.at[kind as usize] = at;
        self.rearm(key, timers);
    }

    pub(crate) fn clear(&mut self, key: Key, timers: &mut Timers, kind: Timer) {
        if timers.at[kind as usize] != NEVER {
            self.set(key, timers, kind, NEVER);
        }
    }

    pub(crate) fn clear_all(&mut self, key: Key, timers: &mut Timers) {
        timers.at = [NEVER; KINDS.len()];
        self.rearm(key, timers);
    }

    fn rearm(&mut self, key: Key, timers: &mut Timers) {
        let earliest = timers.at.iter().copied().min().unwrap_or(NEVER);
        if earliest == timers.armed {
            return;
        }
        if timers.armed != NEVER {
            self.queue.remove(&(timers.armed, key));
        }
        if earliest != NEVER {
            self.queue.insert((earliest, key));
        }
        timers.armed = earliest;
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.queue.first().map(|&(at, _)| at)
    }

    /// The call whose deadline has passed, if any.
    pub(crate) fn due(&self, now: Mono) -> Option<Key> {
        self.queue.first().filter(|&&(at, _)| at <= now).map(|&(_, key)| key)
    }

    /// Takes one passed deadline of the call.
    pub(crate) fn expire(&mut self, key: Key, timers: &mut Timers, now: Mono) -> Option<Timer> {
        let kind = KINDS.into_iter().find(|&kind| timers.at[kind as usize] <= now)?;
        self.clear(key, timers, kind);
        Some(kind)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Drops an entry whose call is gone; there is none as long as the invariant holds.
    pub(crate) fn discard(&mut self, key: Key, now: Mono) {
        self.queue.retain(|&(at, other)| at > now || other != key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_earliest_deadline_of_a_call_is_queued() {
        let mut queue = TimerQueue::default();
        let mut timers = Timers::default();
        let key = Key::new(7, 1);
        let at = Mono::from_nanos;
        queue.set(key, &mut timers, Timer::Life, at(50));
        queue.set(key, &mut timers, Timer::Refresh, at(20));
        queue.set(key, &mut timers, Timer::Refresh, at(30));
        assert_eq!(queue.next(), Some(at(30)));
        assert_eq!(queue.due(at(29)), None);
        assert_eq!(queue.due(at(60)), Some(key));
        assert_eq!(queue.expire(key, &mut timers, at(60)), Some(Timer::Refresh));
        assert_eq!(queue.expire(key, &mut timers, at(60)), Some(Timer::Life));
        assert_eq!(queue.expire(key, &mut timers, at(60)), None);
        assert!(queue.is_empty());
    }
}
