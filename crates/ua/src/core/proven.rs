//! Which sources receive what is sent to them. A datagram's sender is easily forged; who names the tag of our response in an ACK has
//! read that response, at the address that it went to. One proof holds for an hour or two.
//!
//! Invariant: at most twice `MOST` sources are remembered.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use ringback_time::Mono;

/// With as many of the hour before, some 4 MB.
const MOST: usize = 65_536;
const RENEWED_EVERY: Duration = Duration::from_secs(3600);

type Sources = HashSet<IpAddr, foldhash::fast::RandomState>;

/// Two generations, so that forgetting costs nothing.
#[derive(Debug, Default)]
pub(super) struct Proven {
    recent: Sources,
    older: Sources,
    renew_at: Option<Mono>,
}

impl Proven {
    pub(super) fn contains(&self, source: IpAddr) -> bool {
        self.recent.contains(&source) || self.older.contains(&source)
    }

    pub(super) fn insert(&mut self, now: Mono, source: IpAddr) {
        let over = self.renew_at.is_none_or(|at| at <= now);
        if over || (self.recent.len() >= MOST && !self.recent.contains(&source)) {
            self.older = std::mem::take(&mut self.recent);
            self.renew_at = Some(now + RENEWED_EVERY);
        }
        self.recent.insert(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn a_proof_is_forgotten_unless_it_is_given_again() {
        let mut proven = Proven::default();
        let at = |minutes: u64| Mono::ZERO + Duration::from_secs(60 * minutes);
        for n in [1, 2] {
            proven.insert(at(0), ip(n));
        }
        proven.insert(at(61), ip(1));
        assert!(proven.contains(ip(1)) && proven.contains(ip(2)) && !proven.contains(ip(3)));
        proven.insert(at(122), ip(3));
        assert!(proven.contains(ip(1)) && !proven.contains(ip(2)) && proven.contains(ip(3)));
    }

    #[test]
    fn sources_are_bounded_and_the_oldest_go_first() {
        let mut proven = Proven::default();
        for n in 0..3 * MOST as u32 {
            proven.insert(Mono::ZERO, ip(n));
            assert!(proven.recent.len() + proven.older.len() <= 2 * MOST);
        }
        assert!(!proven.contains(ip(0)) && proven.contains(ip(2 * MOST as u32)));
    }
}
