//! Servers that have said 503 with Retry-After: RFC 3261 §21.5.4. As long as they asked for, they are left out of what look-ups find
//! (RFC 3263 §4.3), in favour of the others of their name.
//!
//! Where no other is left they are asked all the same: a name with one server would be out of reach for as long as that server, or whoever
//! speaks for it, cares to say, for calls that have nothing to do with the one that it refused.
//!
//! Invariant: at most `MOST` servers rest, none longer than `LONGEST`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use ringback_time::Mono;

use crate::api::{Place, Transport};

const MOST: usize = 1024;
/// Whatever a server says.
const LONGEST: Duration = Duration::from_secs(1800);

#[derive(Default)]
pub(super) struct Resting {
    until: HashMap<(Transport, SocketAddr), Mono, foldhash::quality::RandomState>,
}

impl Resting {
    /// A server wants to be left alone so long.
    pub(super) fn rest(&mut self, now: Mono, transport: Transport, address: SocketAddr, length: Duration) {
        if self.until.len() >= MOST && !self.until.contains_key(&(transport, address)) {
            self.until.retain(|_, until| *until > now);
            // So many at once: those that are known stay.
            if self.until.len() >= MOST {
                return;
            }
        }
        self.until.insert((transport, address), now + length.min(LONGEST));
    }

    /// Leaves out those that rest, unless all do.
    pub(super) fn leave_out(&self, now: Mono, places: &mut Vec<Place>) {
        let rests = |place: &Place| self.until.get(&(place.transport, place.address)).is_some_and(|until| *until > now);
        if !self.until.is_empty() && !places.iter().all(rests) {
            places.retain(|place| !rests(place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u16) -> Place {
        Place { transport: Transport::Tcp, address: SocketAddr::from(([192, 0, 2, 1], number)) }
    }

    fn left(resting: &Resting, at: u64, numbers: &[u16]) -> Vec<u16> {
        let mut places: Vec<Place> = numbers.iter().copied().map(place).collect();
        resting.leave_out(Mono::ZERO + Duration::from_secs(at), &mut places);
        places.iter().map(|place| place.address.port()).collect()
    }

    #[test]
    fn they_are_left_out_for_their_time_and_the_last_one_never() {
        let mut resting = Resting::default();
        let rest = |resting: &mut Resting, number, seconds| {
            resting.rest(Mono::ZERO, Transport::Tcp, place(number).address, Duration::from_secs(seconds));
        };
        assert_eq!(left(&resting, 0, &[1, 2]), [1, 2]);
        rest(&mut resting, 1, 10);
        assert_eq!(left(&resting, 9, &[1, 2]), [2]);
        assert_eq!(left(&resting, 9, &[1]), [1]);
        assert_eq!(left(&resting, 10, &[1, 2]), [1, 2]);
        rest(&mut resting, 2, u64::MAX);
        assert_eq!(left(&resting, 5, &[1, 2, 3]), [3]);
        assert_eq!(left(&resting, 5, &[1, 2]), [1, 2]);
        assert_eq!(left(&resting, 1799, &[2, 3]), [3]);
        assert_eq!(left(&resting, 1800, &[2, 3]), [2, 3]);
    }

    #[test]
    fn they_are_bounded() {
        let mut resting = Resting::default();
        for number in 0..4 * MOST as u16 {
            resting.rest(Mono::ZERO, Transport::Tcp, place(number).address, Duration::from_secs(5));
            assert!(resting.until.len() <= MOST);
        }
        assert_eq!(left(&resting, 1, &[0, 4000]), [4000], "the first stay");
        let later = Mono::ZERO + Duration::from_secs(5);
        resting.rest(later, Transport::Tcp, place(4000).address, Duration::from_secs(5));
        assert_eq!(resting.until.len(), 1);
    }
}
