//! How many connections there may be, in all and of one source. A seat is taken before anything is done for a connection, handshakes
//! included, and given back when it is dropped.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Limits;

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Of accepted connections, where there is a limit to them.
    by_source: HashMap<IpAddr, usize, foldhash::quality::RandomState>,
}

#[derive(Debug)]
pub(super) struct Seats {
    taken: Arc<Mutex<Taken>>,
    all: usize,
    of_source: Option<usize>,
}

/// The right to be connected.
#[derive(Debug)]
pub(super) struct Seat {
    taken: Arc<Mutex<Taken>>,
    source: Option<IpAddr>,
}

/// Whoever has one address of an IPv6 network's /64 has all of them.
fn source(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

impl Seats {
    pub(super) fn new(limits: &Limits) -> Self {
        Seats { taken: Arc::default(), all: limits.connections, of_source: limits.connections_per_source }
    }

    pub(super) fn are_taken(&self) -> bool {
        self.taken.lock().all > 0
    }

    /// For a connection that comes from `from`, or that we make. `Err`: why there is none.
    pub(super) fn take(&self, from: Option<IpAddr>) -> Result<Seat, &'static str> {
        let mut taken = self.taken.lock();
        if taken.all >= self.all {
            return Err("too many connections");
        }
        let mut counted = None;
        if let (Some(most), Some(ip)) = (self.of_source, from) {
            let source = source(ip);
            let count = taken.by_source.entry(source).or_default();
            if *count >= most {
                return Err("too many connections from one source");
            }
            *count += 1;
            counted = Some(source);
        }
        taken.all += 1;
        Ok(Seat { taken: Arc::clone(&self.taken), source: counted })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.all -= 1;
        if let Some(source) = self.source
            && let Some(count) = taken.by_source.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_source.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_in_all_and_by_source_and_come_back() {
        let limits = Limits { connections_per_source: Some(2), ..Limits::new(3, 0) };
        let seats = Seats::new(&limits);
        let ip = |text: &str| Some(text.parse().expect("an address"));
        let first = seats.take(ip("2001:db8::1")).expect("free");
        let _second = seats.take(ip("2001:db8::2")).expect("free");
        assert_eq!(
            seats.take(ip("2001:db8::3")).expect_err("the same network"),
            "too many connections from one source"
        );
        let _other = seats.take(ip("2001:db8:1::3")).expect("another network");
        assert_eq!(seats.take(None).expect_err("full"), "too many connections");
        drop(first);
        let own = seats.take(None).expect("free again");
        assert!(seats.take(ip("192.0.2.1")).is_err());
        drop(own);
        seats.take(ip("192.0.2.1")).expect("free again");
        assert_eq!(seats.taken.lock().by_source.len(), 2, "a source that has gone is forgotten");
    }
}
