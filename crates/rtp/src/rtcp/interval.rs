use std::time::Duration;

use rand_core::RngCore;

/// RFC 3550 §6.2: the least interval, halved before the first report.
const MINIMUM: f64 = 5.0;
/// RFC 3550 §6.2: the part of the control traffic that senders share.
const SENDER_FRACTION: f64 = 0.25;
/// RFC 3550 §6.3.1: e - 3/2, which makes up for timer reconsideration converging below the intended average.
const COMPENSATION: f64 = std::f64::consts::E - 1.5;

/// What the interval is calculated from (RFC 3550 §6.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub members: u32,
    pub senders: u32,
    pub we_sent: bool,
    /// No report was sent yet.
    pub initial: bool,
    /// Octets a second for RTCP, 5 % of the session's.
    pub bandwidth: f64,
    /// Average size of a compound packet with UDP and IP headers, octets.
    pub average_size: f64,
}

/// The time to the next report (RFC 3550 §6.3.1, A.7), random over half to one and a half times the calculated one.
pub fn interval(of: &Interval, rng: &mut impl RngCore) -> Duration {
    let minimum = if of.initial { MINIMUM / 2.0 } else { MINIMUM };
    let (members, senders) = (f64::from(of.members.max(1)), f64::from(of.senders));
    let (share, bandwidth) = if senders <= members * SENDER_FRACTION {
        if of.we_sent {
            (senders.max(1.0), of.bandwidth * SENDER_FRACTION)
        } else {
            (members - senders, of.bandwidth * (1.0 - SENDER_FRACTION))
        }
    } else {
        (members, of.bandwidth)
    };
    let calculated = (of.average_size * share / bandwidth.max(1.0)).max(minimum);
    let random = f64::from(rng.next_u32()) / (f64::from(u32::MAX) + 1.0) + 0.5;
    Duration::try_from_secs_f64(calculated * random / COMPENSATION).unwrap_or(Duration::from_secs(5))
}
