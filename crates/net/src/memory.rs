//! When memory is given back to the system. After a flood the allocator would keep most of it for good: what lives longer stands between.

use std::time::Duration;

use ringback_time::Mono;

/// Fewer entries than this leave nothing that is worth it.
const WORTH: usize = 2_000;
/// Sunk to this part of what it was.
const PART: usize = 4;
/// Ended calls stay known to the program for a minute. What they leave is given back then.
const AGAIN_AFTER: Duration = Duration::from_secs(75);

/// Watches how much is kept.
#[derive(Debug, Default)]
pub(crate) struct Ebb {
    most: usize,
    again: Option<Mono>,
}

impl Ebb {
    /// So many calls, transactions and connections are kept now. True: it has been many more.
    pub(crate) fn is_low(&mut self, now: Mono, entries: usize) -> bool {
        self.most = self.most.max(entries);
        if self.most >= WORTH && entries <= self.most / PART {
            self.most = entries;
            self.again = Some(now + AGAIN_AFTER);
            return true;
        }
        self.again.take_if(|at| *at <= now).is_some()
    }

    /// When to ask again, though nothing comes.
    pub(crate) fn due(&self) -> Option<Mono> {
        self.again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn memory_is_given_back_after_a_flood_and_once_more_when_it_is_forgotten() {
        let mut ebb = Ebb::default();
        for entries in [0, 1_999, 100, 0] {
            assert!(!ebb.is_low(at(0), entries), "an ordinary evening");
        }
        assert!(!ebb.is_low(at(10), 100_000) && ebb.due().is_none());
        assert!(!ebb.is_low(at(40), 25_001));
        assert!(ebb.is_low(at(41), 25_000));
        assert!(!ebb.is_low(at(42), 24_000));
        assert!(ebb.is_low(at(43), 500));
        assert_eq!(ebb.due(), Some(at(118)));
        assert!(!ebb.is_low(at(117), 3));
        assert!(ebb.is_low(at(118), 3));
        assert!(!ebb.is_low(at(119), 3) && ebb.due().is_none());
    }
}
