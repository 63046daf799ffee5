//! Real-time priority, given up by a thread that has too much to do: one that never sleeps would take its core from everything else. It
//! takes it back when it has had less to do for some seconds, each time later than the last, so that it does not flap.

use std::time::Duration;

use ringback_time::Mono;

/// Overrun ticks beyond those kept, after which priority goes.
const OVERRUNS: u32 = 50;
/// A tick.
const TICK: Duration = Duration::from_millis(1);
/// Without priority, a thread's work is measured over so long.
const WINDOW: Duration = Duration::from_secs(1);
/// It has to be less than this part of the time. Being late does not count then: others may have the core.
const SHARE_PERCENT: u32 = 75;
/// For so long, the first time; twice as long each further time.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_MOST: Duration = Duration::from_secs(640);
/// Who has kept priority for so long begins anew.
const FORGIVEN: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// The thread has fallen behind for good.
    GiveUp,
    /// It has had time to spare.
    TakeBack,
}

#[derive(Debug, Default)]
pub(super) struct Pace {
    overruns: u32,
    last: Mono,
    /// When priority was taken back.
    taken: Mono,
    /// For how long there has to be time to spare before it is.
    patience: Duration,
    without: Option<Without>,
}

/// No priority.
#[derive(Debug)]
struct Without {
    /// There has been time to spare since.
    calm: Mono,
    /// Where the window began, and the thread's own time then.
    window: Mono,
    used: Duration,
}

impl Pace {
    /// After the work of a turn: `due` is the engine's next deadline, `used` the CPU time of this thread.
    pub(super) fn turned(&mut self, now: Mono, due: Option<Mono>, used: impl FnOnce() -> Duration) -> Verdict {
        if let Some(without) = &mut self.without {
            let passed = now.since(without.window);
            if passed < WINDOW {
                return Verdict::Keep;
            }
            let used = used();
            if used.saturating_sub(without.used) * 100 >= passed * SHARE_PERCENT {
                without.calm = now;
            }
            (without.window, without.used) = (now, used);
            if now.since(without.calm) < self.patience {
                return Verdict::Keep;
            }
            self.without = None;
            (self.overruns, self.last, self.taken) = (0, now, now);
            return Verdict::TakeBack;
        }
        if now.since(self.last) < TICK {
            // One verdict a tick, however many packets woke the thread in between.
            return Verdict::Keep;
        }
        self.last = now;
        if due.is_some_and(|due| now.since(due) >= TICK) {
            self.overruns += 1;
        } else {
            self.overruns = self.overruns.saturating_sub(1);
        }
        if self.overruns < OVERRUNS {
            return Verdict::Keep;
        }
        let forgiven = self.patience.is_zero() || now.since(self.taken) >= FORGIVEN;
        self.patience = if forgiven { PATIENCE } else { (self.patience * 2).min(PATIENCE_MOST) };
        self.without = Some(Without { calm: now, window: now, used: used() });
        Verdict::GiveUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    /// A thread, and the CPU time that it has had.
    #[derive(Default)]
    struct Worker {
        pace: Pace,
        used: Duration,
    }

    impl Worker {
        /// It works for so many per cent of its time, late or in time, from one millisecond to another, or until it is told something: what, and
        /// when.
        fn run(&mut self, mut millis: std::ops::Range<u64>, late: bool, percent: u32) -> Option<(u64, Verdict)> {
            millis.find_map(|tick| {
                let due = if late { at(tick) - Duration::from_millis(5) } else { at(tick + 1) };
                self.used += TICK * percent / 100;
                let verdict = self.pace.turned(at(tick), Some(due), || self.used);
                (verdict != Verdict::Keep).then_some((tick, verdict))
            })
        }
    }

    #[test]
    fn a_stall_is_forgiven_and_a_thread_that_never_catches_up_is_not() {
        let mut worker = Worker::default();
        assert_eq!(worker.run(0..40, true, 100), None, "a stall");
        assert_eq!(worker.run(40..100, false, 10), None, "in time again");
        assert_eq!(worker.run(100..200, true, 100), Some((149, Verdict::GiveUp)));
    }

    #[test]
    fn a_parked_thread_is_not_behind() {
        let mut pace = Pace::default();
        assert!((0..1000).all(|tick| pace.turned(at(tick), None, || Duration::ZERO) == Verdict::Keep));
    }

    #[test]
    fn who_has_time_to_spare_for_some_seconds_takes_it_back_though_others_make_it_late() {
        let mut worker = Worker::default();
        assert_eq!(worker.run(0..50, true, 100), Some((49, Verdict::GiveUp)));
        assert_eq!(worker.run(50..20_000, true, 90), None, "as much to do as before");
        let taken = worker.run(20_000..27_000, true, 60);
        assert!(matches!(taken, Some((24_500..26_500, Verdict::TakeBack))), "{taken:?}");
        // Seconds in a row.
        let mut worker = Worker::default();
        worker.run(0..50, true, 100);
        for begin in (50..30_000).step_by(4000) {
            assert_eq!(worker.run(begin..begin + 2000, false, 30), None);
            assert_eq!(worker.run(begin + 2000..begin + 4000, true, 100), None);
        }
    }

    #[test]
    fn who_has_slept_meanwhile_takes_it_back_at_once() {
        let mut worker = Worker::default();
        worker.run(0..50, true, 100);
        assert_eq!(worker.run(60_000..60_001, false, 10), Some((60_000, Verdict::TakeBack)));
    }

    #[test]
    fn who_loses_it_again_waits_longer_each_time_up_to_a_bound_and_begins_anew_after_a_good_while() {
        let mut worker = Worker::default();
        // Loses it, and takes it back: when, and after how many seconds.
        let lose = |worker: &mut Worker, now| {
            assert_eq!(worker.run(now..now + 50, true, 100), Some((now + 49, Verdict::GiveUp)));
            let Some((taken, Verdict::TakeBack)) = worker.run(now + 50..now + 700_000, false, 50) else {
                panic!("never again")
            };
            (taken + 1, (taken - now) / 1000)
        };
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..9 {
            let wait;
            (now, wait) = lose(&mut worker, now);
            waits.push(wait);
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 640]);
        assert_eq!(worker.run(now..now + 600_000, false, 50), None);
        assert_eq!(lose(&mut worker, now + 600_000).1, 5);
    }
}
