//! The libraries' time and ours.

use ringback_time::Mono;
use stun_proto::Instant;

pub(crate) fn instant(at: Mono) -> Instant {
    Instant::from_nanos(i64::try_from(at.as_nanos()).unwrap_or(i64::MAX))
}

pub(crate) fn mono(at: Instant) -> Mono {
    Mono::from_nanos(u64::try_from(at.as_nanos()).unwrap_or(0))
}
