//! Real-time priority, given up by a thread that has too much to do: one that never sleeps would take its core from everything else.

use std::time::Duration;

use ringback_time::Mono;

/// Overrun ticks beyond those kept, after which priority goes.
const OVERRUNS: u32 = 50;
/// A tick.
const TICK: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Pace {
    overruns: u32,
    last: Mono,
}

impl Pace {
    /// After the work of a turn: `due` is the engine's next deadline. True when the thread has fallen behind for good.
    pub(super) fn turned(&mut self, now: Mono, due: Option<Mono>) -> bool {
        if now.since(self.last) < TICK {
            // One verdict a tick, however many packets woke the thread in between.
            return false;
        }
        self.last = now;
        if due.is_some_and(|due| now.since(due) >= TICK) {
            self.overruns += 1;
        } else {
            self.overruns = self.overruns.saturating_sub(1);
        }
        self.overruns >= OVERRUNS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    #[test]
    fn a_stall_is_forgiven_and_a_thread_that_never_catches_up_is_not() {
        let mut pace = Pace::default();
        for tick in 0..40 {
            assert!(!pace.turned(at(tick), Some(at(tick) - Duration::from_millis(5))), "a stall");
        }
        for tick in 40..100 {
            assert!(!pace.turned(at(tick), Some(at(tick + 1))), "in time again");
        }
        let lost = (100..200).find(|tick| pace.turned(at(*tick), Some(at(*tick) - Duration::from_millis(5))));
        assert_eq!(lost, Some(149));
    }

    #[test]
    fn a_parked_thread_is_not_behind() {
        let mut pace = Pace::default();
        assert!((0..1000).all(|tick| !pace.turned(at(tick), None)));
    }
}
