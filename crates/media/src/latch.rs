//! Whom a leg listens to, and where it sends.
//!
//! Without `symmetric` that is the negotiated address and no other. With it the address that packets really come from is learned
//! once, and then held as strictly (the kernel drops strangers): the negotiated address itself is believed at its first packet; another
//! port of the same host after two packets in a row; any other host after four in a row, and only if nothing of the negotiated host came
//! before; both only if they keep the pace that their timestamps say, which a flood does not. A re-offer, or silence for [`RELEARN_AFTER`] where sound is due, begins anew; until
//! then, and where the address that was told is still the same, it is sent to where the source was, which is believed as the negotiated one
//! is. While nothing is due (the peer is on hold) nothing is learned: whoever sends then is not the peer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringback_rtp::Header;
use ringback_rtp::sequence::distance32;
use ringback_time::Mono;

/// A locked source that sends nothing for so long may have moved.
pub(crate) const RELEARN_AFTER: Duration = Duration::from_secs(5);
/// Candidates watched at a time; the one not heard for longest makes room.
const CANDIDATES: usize = 4;
const SAME_HOST_PACKETS: u8 = 2;
const OTHER_HOST_PACKETS: u8 = 4;

#[derive(Debug)]
pub(crate) struct Latch {
    negotiated: Option<SocketAddr>,
    /// The negotiated address is not sent to.
    waits: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The negotiated address alone.
    Fixed,
    Learning(Box<Learning>),
    Locked(SocketAddr),
}

#[derive(Debug, Default)]
struct Learning {
    candidates: Vec<Candidate>,
    /// Where the source was until it is learned anew.
    before: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    next: u16,
    packets: u8,
    first_timestamp: u32,
    first_arrival: Mono,
    last_arrival: Mono,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    /// Accept it, and from now on nothing from elsewhere.
    Locked(SocketAddr),
    Reject,
}

impl Latch {
    pub(crate) fn new(negotiated: Option<SocketAddr>, symmetric: bool) -> Self {
        let state = if symmetric { State::Learning(Box::default()) } else { State::Fixed };
        Latch { negotiated, waits: false, state }
    }

    /// Sends nothing until the source is learned: the peer sends first, and the address that it gave is good for nothing.
    pub(crate) fn waiting(self) -> Self {
        Latch { waits: matches!(self.state, State::Learning(_)), ..self }
    }

    #[inline]
    /// `clock_rate`: of the packet's payload type, asked for while the source is learned.
    pub(crate) fn judge(
        &mut self,
        from: SocketAddr,
        header: &Header,
        arrival: Mono,
        clock_rate: impl FnOnce() -> u32,
    ) -> Verdict {
        match &self.state {
            State::Fixed => accept_if(self.negotiated.is_some_and(|address| same(address, from))),
            State::Locked(address) => accept_if(same(*address, from)),
            State::Learning(_) => self.learn(from, header, arrival, clock_rate()),
        }
    }

    #[cold]
    fn learn(&mut self, from: SocketAddr, header: &Header, arrival: Mono, clock_rate: u32) -> Verdict {
        let State::Learning(learning) = &mut self.state else { return Verdict::Reject };
        let Learning { candidates, before } = &mut **learning;
        // No address negotiated: neither way.
        let Some(negotiated) = self.negotiated else { return Verdict::Reject };
        let before = *before;
        let is_known =
            |from: SocketAddr| from.ip() == negotiated.ip() || before.is_some_and(|before| from.ip() == before.ip());
        let same_host = is_known(from);
        let known = candidates.iter_mut().find(|c| same(c.from, from));
        let candidate = match known {
            Some(candidate) if candidate.ssrc == header.ssrc && candidate.next == header.sequence => {
                candidate.packets = candidate.packets.saturating_add(1);
                candidate.next = header.sequence.wrapping_add(1);
                candidate.last_arrival = arrival;
                *candidate
            }
            known => {
                let fresh = Candidate {
                    from,
                    ssrc: header.ssrc,
                    next: header.sequence.wrapping_add(1),
                    packets: 1,
                    first_timestamp: header.timestamp,
                    first_arrival: arrival,
                    last_arrival: arrival,
                };
                match known {
                    Some(candidate) => *candidate = fresh,
                    None => {
                        if candidates.len() >= CANDIDATES {
                            let stalest = candidates.iter().enumerate().min_by_key(|(_, c)| {
                                // A stranger never pushes out the negotiated host.
                                (is_known(c.from), c.last_arrival)
                            });
                            if let Some((index, _)) = stalest {
                                candidates.swap_remove(index);
                            }
                        }
                        candidates.push(fresh);
                    }
                }
                fresh
            }
        };
        let believed = if same(from, negotiated) || before.is_some_and(|before| same(from, before)) {
            true
        } else if same_host {
            candidate.packets >= SAME_HOST_PACKETS && candidate.keeps_pace(header, clock_rate)
        } else {
            candidate.packets >= OTHER_HOST_PACKETS
                && candidate.keeps_pace(header, clock_rate)
                && !candidates.iter().any(|c| is_known(c.from))
        };
        if believed {
            self.state = State::Locked(from);
            Verdict::Locked(from)
        } else {
            Verdict::Reject
        }
    }

    /// Where RTP goes: to where it comes from once that is known.
    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Locked(address) => Some(*address),
            State::Fixed => self.negotiated,
            State::Learning(learning) => learning.before.or(self.negotiated.filter(|_| !self.waits)),
        }
    }

    /// Whether nothing is sent yet.
    pub(crate) fn waits(&self) -> bool {
        self.waits && matches!(&self.state, State::Learning(learning) if learning.before.is_none())
    }

    /// Whether RTCP that came by the port of RTP is the peer's. It is not learned from: reports have no pace.
    pub(crate) fn accepts_control(&self, from: SocketAddr) -> bool {
        let source = match &self.state {
            State::Locked(address) => Some(*address),
            State::Fixed => self.negotiated,
            State::Learning(learning) => learning.before.or(self.negotiated),
        };
        source.is_some_and(|address| same(address, from))
    }

    /// The only source from which packets are taken; `None`: it is being learned.
    pub(crate) fn source(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Fixed => self.negotiated,
            State::Learning(_) => None,
            State::Locked(address) => Some(*address),
        }
    }

    /// The host behind a translator from which RTCP may come too.
    pub(crate) fn locked_host(&self) -> Option<IpAddr> {
        match &self.state {
            State::Locked(address) => Some(address.ip()),
            _ => None,
        }
    }

    pub(crate) fn is_learning(&self) -> bool {
        matches!(self.state, State::Learning(_))
    }

    pub(crate) fn is_locked(&self) -> bool {
        matches!(self.state, State::Locked(_))
    }

    /// Forgets the source that was learned; packets go on to where they went.
    pub(crate) fn relearn(&mut self) {
        if let State::Locked(address) = self.state {
            self.state = State::Learning(Box::new(Learning { before: Some(address), ..Learning::default() }));
        }
    }

    /// For a new description that names the same address, what an earlier latch has learned.
    pub(crate) fn succeeding(mut self, old: &Latch) -> Self {
        if let State::Learning(learning) = &mut self.state {
            learning.before = match &old.state {
                State::Locked(address) => Some(*address),
                State::Learning(old) => old.before,
                State::Fixed => None,
            };
        }
        self
    }
}

impl Candidate {
    /// A stream that plays as it comes: four packets take three packet times. Half of that is allowed for jitter.
    fn keeps_pace(&self, header: &Header, clock_rate: u32) -> bool {
        let meant_us =
            i64::from(distance32(header.timestamp, self.first_timestamp)) * 1_000_000 / i64::from(clock_rate.max(1));
        let took_us = self.last_arrival.since(self.first_arrival).as_micros() as i64;
        meant_us > 0 && took_us * 2 >= meant_us && took_us <= meant_us * 3
    }
}

/// Whether it is the same address, whatever the scope and flow label of IPv6 say.
pub(crate) fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.ip() == b.ip()
}

fn accept_if(yes: bool) -> Verdict {
    if yes { Verdict::Accept } else { Verdict::Reject }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn header(sequence: u16) -> Header {
        Header { sequence, timestamp: u32::from(sequence) * 160, ssrc: 1, ..Header::default() }
    }

    fn at(ms: u64) -> Mono {
        Mono::from_nanos(ms * 1_000_000)
    }

    /// Packets `n` from `from`, 20 ms apart.
    fn feed(latch: &mut Latch, from: &str, numbers: impl IntoIterator<Item = u16>) -> Vec<Verdict> {
        numbers.into_iter().map(|n| latch.judge(address(from), &header(n), at(u64::from(n) * 20), || 8000)).collect()
    }

    const PEER: &str = "192.0.2.1:4000";
    const NATTED: &str = "192.0.2.1:61000";
    const OTHER: &str = "198.51.100.7:5000";

    #[test]
    fn without_learning_only_the_negotiated_address_counts() {
        let mut latch = Latch::new(Some(address(PEER)), false);
        assert_eq!(feed(&mut latch, OTHER, 0..10), [Verdict::Reject; 10]);
        assert_eq!(feed(&mut latch, NATTED, 0..10), [Verdict::Reject; 10]);
        assert_eq!(feed(&mut latch, PEER, 0..2), [Verdict::Accept; 2]);
        let mut neither = Latch::new(None, false);
        assert_eq!(feed(&mut neither, PEER, 0..2), [Verdict::Reject; 2]);
    }

    #[test]
    fn the_negotiated_address_is_believed_at_once() {
        let mut latch = Latch::new(Some(address(PEER)), true);
        assert_eq!(latch.source(), None);
        assert_eq!(feed(&mut latch, OTHER, 0..2), [Verdict::Reject; 2]);
        assert_eq!(feed(&mut latch, PEER, [9]), [Verdict::Locked(address(PEER))]);
        assert_eq!(feed(&mut latch, OTHER, 2..9), [Verdict::Reject; 7]);
        assert_eq!(latch.source(), Some(address(PEER)));
    }

    #[test]
    fn another_port_of_the_host_is_believed_after_two_in_a_row() {
        let mut latch = Latch::new(Some(address(PEER)), true);
        assert_eq!(feed(&mut latch, NATTED, [5, 7]), [Verdict::Reject; 2], "not in a row");
        assert_eq!(feed(&mut latch, NATTED, [8]), [Verdict::Locked(address(NATTED))]);
        assert_eq!(latch.destination(), Some(address(NATTED)));
    }

    #[test]
    fn another_host_needs_four_in_a_row_at_the_right_pace() {
        let mut latch = Latch::new(Some(address(PEER)), true);
        assert_eq!(feed(&mut latch, OTHER, 0..3), [Verdict::Reject; 3]);
        assert_eq!(feed(&mut latch, OTHER, [3]), [Verdict::Locked(address(OTHER))]);

        let mut flooded = Latch::new(Some(address(PEER)), true);
        for n in 0..1000 {
            for stranger in [OTHER, NATTED] {
                let verdict = flooded.judge(address(stranger), &header(n), at(1), || 8000);
                assert_eq!(verdict, Verdict::Reject, "a flood keeps no pace");
            }
        }
        assert_eq!(feed(&mut flooded, PEER, [0]), [Verdict::Locked(address(PEER))]);
    }

    /// Whatever the codec's clock and packet time, and where the first packets come in one go, as out of a queue.
    #[test]
    fn pace_is_told_by_the_codecs_clock() {
        for (clock_rate, packet_ms) in [(48_000, 20), (48_000, 60), (16_000, 10), (8000, 30), (44_100, 20)] {
            for (from, at_most) in [(OTHER, 8), (NATTED, 6)] {
                let mut latch = Latch::new(Some(address(PEER)), true);
                let units = clock_rate * packet_ms / 1000;
                let needed = (0..20_u16).find(|n| {
                    let header = Header { timestamp: u32::from(*n) * units, ..header(*n) };
                    let arrival = at(u64::from(n.saturating_sub(2)) * u64::from(packet_ms));
                    latch.judge(address(from), &header, arrival, || clock_rate) == Verdict::Locked(address(from))
                });
                assert!(needed.is_some_and(|n| n < at_most), "{clock_rate} Hz, {packet_ms} ms: {needed:?}");
            }
        }
    }

    #[test]
    fn a_stranger_cannot_win_over_the_negotiated_host() {
        let mut latch = Latch::new(Some(address(PEER)), true);
        feed(&mut latch, NATTED, [40]);
        for n in 0..8 {
            let from = format!("198.51.100.{n}:5000");
            assert_eq!(feed(&mut latch, &from, 0..6), [Verdict::Reject; 6]);
        }
        assert_eq!(feed(&mut latch, NATTED, [41]), [Verdict::Locked(address(NATTED))]);
    }

    #[test]
    fn learning_anew_keeps_the_destination() {
        let mut latch = Latch::new(Some(address(PEER)), true);
        feed(&mut latch, NATTED, 0..2);
        latch.relearn();
        assert_eq!((latch.source(), latch.destination()), (None, Some(address(NATTED))));
        assert_eq!(feed(&mut latch, OTHER, 0..4)[3], Verdict::Locked(address(OTHER)));
    }
}
