//! How what peers can make us keep is shared out among them: half-open INVITEs, and sessions of those that never acknowledge.
//!
//! A source may hold three times as much as is still free. One that floods gets three quarters of all and finds the rest free for
//! others, two of them get three sevenths each, and so on: somebody who holds nothing is turned away only when thousands share the
//! place. Below that nobody is held back, a trunk that sends everything from one address neither. (Dynamic thresholds, as switches
//! share a buffer among queues: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6 (2), 1998.)
//!
//! The sender of a datagram is easily forged. Those who have not proven to receive what is sent to them (`core/proven`) therefore share
//! three quarters of all by the same rule, and the last quarter is for those who have.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// So many times what is free may be one's own.
const TIMES: usize = 3;
/// So many sources are remembered before those that hold nothing are looked for.
const SWEEP_FROM: usize = 64;

/// One of what is counted, until it is dropped, whatever drops it.
#[derive(Debug)]
pub(super) struct Hold {
    source: IpAddr,
    _all: Arc<()>,
    _of_source: Arc<()>,
    _unproven: Option<Arc<()>>,
}

impl Hold {
    pub(super) const fn source(&self) -> IpAddr {
        self.source
    }

    pub(super) const fn is_proven(&self) -> bool {
        self._unproven.is_none()
    }
}

/// Who holds how much. What is held is counted by clones, for a `Hold` ends with whatever it is part of.
#[derive(Debug)]
pub(super) struct Share {
    all: Arc<()>,
    unproven: Arc<()>,
    sources: HashMap<IpAddr, Arc<()>, foldhash::fast::RandomState>,
    sweep_at: usize,
}

impl Share {
    pub(super) fn new() -> Share {
        Share { all: Arc::new(()), unproven: Arc::new(()), sources: HashMap::default(), sweep_at: SWEEP_FROM }
    }

    /// How much is held by all.
    pub(super) fn len(&self) -> usize {
        held(&self.all)
    }

    /// Whether that source may hold one more, where so much is free.
    pub(super) fn leaves_room(&self, source: IpAddr, proven: bool, free: usize) -> bool {
        let free = match proven {
            true => free,
            false => {
                let theirs = (self.len().saturating_add(free)).saturating_mul(TIMES).div_ceil(TIMES + 1);
                free.min(theirs.saturating_sub(held(&self.unproven)))
            }
        };
        self.sources.get(&source).map_or(0, held) < free.saturating_mul(TIMES)
    }

    pub(super) fn shrink(&mut self) {
        self.sources.retain(|_, own| held(own) > 0);
        self.sources.shrink_to(2 * self.sources.len());
        self.sweep_at = SWEEP_FROM.max(2 * self.sources.len());
    }

    pub(super) fn hold(&mut self, source: IpAddr, proven: bool) -> Hold {
        if self.sources.len() >= self.sweep_at {
            self.sources.retain(|_, own| held(own) > 0);
            self.sweep_at = SWEEP_FROM.max(2 * self.sources.len());
        }
        let of_source = Arc::clone(self.sources.entry(source).or_default());
        let unproven = (!proven).then(|| Arc::clone(&self.unproven));
        Hold { source, _all: Arc::clone(&self.all), _of_source: of_source, _unproven: unproven }
    }
}

fn held(counted: &Arc<()>) -> usize {
    Arc::strong_count(counted) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 10_000;

    fn ip(n: usize) -> IpAddr {
        IpAddr::from((n as u32).to_be_bytes())
    }

    /// Each of so many sources, one after the other, takes one more until none gets any.
    fn flood(share: &mut Share, sources: usize, proven: bool) -> Vec<Hold> {
        let mut holds = Vec::new();
        loop {
            let before = holds.len();
            for n in 0..sources {
                let free = MOST - share.len();
                if free > 0 && share.leaves_room(ip(n), proven, free) {
                    holds.push(share.hold(ip(n), proven));
                }
            }
            if holds.len() == before {
                return holds;
            }
        }
    }

    #[test]
    fn who_floods_leaves_room_for_others() {
        for (sources, most) in [(1, 7500), (2, 8572), (100, 9967), (2500, 9999)] {
            let mut share = Share::new();
            let holds = flood(&mut share, sources, true);
            assert_eq!(holds.len(), most, "{sources}");
            assert!(share.leaves_room(ip(1 << 24), true, MOST - share.len()), "{sources}");
        }
    }

    #[test]
    fn the_last_quarter_is_for_those_who_have_proven_where_they_are() {
        for (sources, most) in [(1, 5625), (10, 7259), (50_000, 7500)] {
            let mut share = Share::new();
            let holds = flood(&mut share, sources, false);
            assert_eq!(holds.len(), most, "{sources}");
            assert_eq!(share.leaves_room(ip(1 << 24), false, MOST - share.len()), sources < 50_000);
            let others = flood(&mut share, 1, true);
            assert!(others.len() > 1800, "{}", others.len());
            drop(holds);
            assert!(share.leaves_room(ip(1 << 24), false, MOST - share.len()));
        }
    }

    #[test]
    fn what_is_too_little_to_be_shared_is_not() {
        for most in 1..=3 {
            let mut share = Share::new();
            let mut holds = Vec::new();
            while share.leaves_room(ip(1), false, most - share.len()) {
                holds.push(share.hold(ip(1), false));
            }
            assert_eq!(holds.len(), most);
        }
    }

    #[test]
    fn a_source_that_holds_nothing_is_forgotten() {
        let mut share = Share::new();
        for n in 0..100_000 {
            drop(share.hold(ip(n), true));
            assert!(share.sources.len() <= SWEEP_FROM);
        }
        let holds: Vec<Hold> = (0..1000).map(|n| share.hold(ip(n), true)).collect();
        assert_eq!((share.len(), share.sources.len()), (1000, 1000));
        drop(holds);
        assert_eq!(share.len(), 0);
        for n in 0..2000 {
            drop(share.hold(ip(n), true));
        }
        assert!(share.sources.len() <= SWEEP_FROM, "{}", share.sources.len());
    }
}
