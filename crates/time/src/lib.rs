//! Time as a value. Engines never read a clock: every input carries a [`Now`], so that a whole system can run under a
//! virtual clock. `Mono` orders and measures; `Wall` is for what people and peers read (NTP timestamps, `received_at`).

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Nanoseconds on a clock that only goes forward, from an origin that means nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

impl Mono {
    pub const ZERO: Mono = Mono(0);

    pub const fn from_nanos(nanos: u64) -> Self {
        Mono(nanos)
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since `earlier`, or zero where `earlier` is later.
    pub const fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;

    fn add(self, rhs: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Mono {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;

    fn sub(self, rhs: Duration) -> Mono {
        Mono(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Nanoseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(u64);

impl Wall {
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Wall(nanos)
    }

    pub const fn unix_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the Unix epoch, as Python's `datetime.fromtimestamp` takes them.
    pub fn unix_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The 64-bit NTP timestamp of RTCP sender reports: seconds since 1900 and a binary fraction (RFC 3550 §4).
    pub const fn ntp(self) -> u64 {
        const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
        let seconds = self.0 / 1_000_000_000 + SECONDS_1900_TO_1970;
        let fraction = ((self.0 % 1_000_000_000) << 32) / 1_000_000_000;
        (seconds << 32) | fraction
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// What every input of an engine carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub mono: Mono,
    pub wall: Wall,
}

impl Add<Duration> for Now {
    type Output = Now;

    fn add(self, rhs: Duration) -> Now {
        let nanos = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Now { mono: self.mono + rhs, wall: Wall(self.wall.0.saturating_add(nanos)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_counts_from_1900_with_a_binary_fraction() {
        let half_a_second_past_the_epoch = Wall::from_unix_nanos(500_000_000);
        assert_eq!(half_a_second_past_the_epoch.ntp(), (2_208_988_800 << 32) | 0x8000_0000);
    }

    #[test]
    fn differences_never_go_below_zero() {
        assert_eq!(Mono::from_nanos(5).since(Mono::from_nanos(9)), Duration::ZERO);
        assert_eq!(Mono::from_nanos(5) - Duration::from_secs(1), Mono::ZERO);
    }
}
