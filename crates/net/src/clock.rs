//! The only place that reads a clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringback_time::{Mono, Now, Wall};

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// So that `Mono - Duration` near the start of the process does not hit zero.
const HEAD_START: Duration = Duration::from_secs(3600);

/// Nanoseconds since an origin that all systems of this process share.
pub fn mono() -> Mono {
    let now = Instant::now();
    let since = now.saturating_duration_since(*ORIGIN.get_or_init(|| now));
    Mono::ZERO + HEAD_START + since
}

pub fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall::from_unix_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Both clocks, as every input of an engine carries them.
pub fn now() -> Now {
    Now { mono: mono(), wall: wall() }
}

/// The moment on the monotonic clock at which the kernel stamped a packet with the wall clock. Never later than `now`, and never
/// more than a second earlier: a wall clock that was set in between must not look like a second of jitter for long.
pub(crate) fn arrival(now: Now, stamp: Option<Wall>) -> Mono {
    let Some(stamp) = stamp else { return now.mono };
    let age = now.wall.unix_nanos().saturating_sub(stamp.unix_nanos());
    if age > 1_000_000_000 { now.mono } else { now.mono - Duration::from_nanos(age) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrival_is_as_old_as_the_stamp_and_a_clock_that_jumped_is_ignored() {
        let now = Now { mono: Mono::from_nanos(5_000_000_000), wall: Wall::from_unix_nanos(90_000_000_000) };
        let at = |nanos| arrival(now, Some(Wall::from_unix_nanos(nanos)));
        assert_eq!(at(89_999_000_000), Mono::from_nanos(4_999_000_000));
        assert_eq!(at(90_500_000_000), now.mono, "stamped in the future");
        assert_eq!(at(10), now.mono, "stamped before the clock was set");
        assert_eq!(arrival(now, None), now.mono);
    }

    #[test]
    fn the_monotonic_clock_goes_forward() {
        let first = mono();
        assert!(mono() >= first && first > Mono::ZERO);
    }
}
