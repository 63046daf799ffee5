//! How late the turns of the media threads are: what a listener's buffer must bear beside the network's own jitter.
//!
//! Always on, because it costs a subtraction and two atomic operations a tick, and what was late is not seen afterwards otherwise. Buckets
//! are eighths of powers of two, so a quantile is right within 12.5 %.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Of the shortest bucket: 128 ns.
const UNIT_BITS: u32 = 7;
/// Up to some 18 minutes.
const BUCKETS: usize = 256;

#[derive(Debug)]
pub(crate) struct Lateness {
    ticks: [AtomicU64; BUCKETS],
    longest: AtomicU64,
}

/// What [`crate::System::take_tick_lateness`] tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TickLateness {
    /// Turns that were taken.
    pub ticks: u64,
    /// Half of them, and 99 of 100, were not later than this.
    pub median: Duration,
    pub p99: Duration,
    pub longest: Duration,
}

fn bucket(late: Duration) -> usize {
    let units = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX) >> UNIT_BITS;
    let shift = units.checked_ilog2().unwrap_or(0).saturating_sub(3);
    (8 * shift as usize + (units >> shift) as usize).min(BUCKETS - 1)
}

/// The end of a bucket.
fn end(bucket: usize) -> Duration {
    let shift = (bucket / 8).saturating_sub(1);
    let units = (bucket - 8 * shift + 1) as u64;
    Duration::from_nanos((units << shift) << UNIT_BITS)
}

impl Default for Lateness {
    fn default() -> Self {
        Lateness { ticks: [const { AtomicU64::new(0) }; BUCKETS], longest: AtomicU64::new(0) }
    }
}

impl Lateness {
    pub(crate) fn record(&self, late: Duration) {
        if let Some(ticks) = self.ticks.get(bucket(late)) {
            ticks.fetch_add(1, Ordering::Relaxed);
        }
        self.longest.fetch_max(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Since it was taken last.
    pub(crate) fn take(&self) -> TickLateness {
        let ticks = self.ticks.each_ref().map(|ticks| ticks.swap(0, Ordering::Relaxed));
        let all: u64 = ticks.iter().sum();
        let longest = Duration::from_nanos(self.longest.swap(0, Ordering::Relaxed));
        let quantile = |percent: u64| {
            let mut left = (all * percent).div_ceil(100);
            let reached = ticks.iter().position(|ticks| {
                left = left.saturating_sub(*ticks);
                left == 0
            });
            reached.filter(|_| all > 0).map_or(Duration::ZERO, |bucket| end(bucket).min(longest))
        };
        TickLateness { ticks: all, median: quantile(50), p99: quantile(99), longest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_is_in_the_bucket_that_ends_after_it_within_an_eighth() {
        let mut before = 0;
        for nanos in
            (0..64_u32).flat_map(|bits| [1_u64 << bits, (1 << bits) + (1 << bits) / 3]).filter(|n| *n < 1 << 39)
        {
            let late = Duration::from_nanos(nanos);
            let bucket = bucket(late);
            assert!(end(bucket) > late, "{late:?} in {bucket}");
            assert!(end(bucket) <= late + late / 8 + Duration::from_nanos(128), "{late:?} in {bucket}");
            assert!(bucket >= before, "{late:?}");
            before = bucket;
        }
        assert_eq!(super::bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_of_what_was_recorded_since_they_were_taken_last() {
        let lateness = Lateness::default();
        assert_eq!(lateness.take(), TickLateness::default());
        for late in 1..=1000 {
            lateness.record(Duration::from_micros(late));
        }
        let taken = lateness.take();
        assert_eq!((taken.ticks, taken.longest), (1000, Duration::from_millis(1)));
        let near = |found: Duration, micros: u64| {
            let wanted = Duration::from_micros(micros);
            found >= wanted && found <= wanted + wanted / 8
        };
        assert!(near(taken.median, 500), "{taken:?}");
        assert!(taken.p99 >= Duration::from_micros(990) && taken.p99 <= taken.longest, "{taken:?}");
        assert_eq!(lateness.take(), TickLateness::default());
    }
}
