//! Whom a leg listens to, and where it sends.
//!
//! Without `symmetric` that is the negotiated address and no other. With it the address that packets really come from is learned once, in
//! a short window, and then held as strictly (the kernel drops strangers). How much a source is believed goes by what is known of it:
//! - the negotiated address itself, and the one that was learned before: at its first packet, for good;
//! - another port of those hosts, or of the host that signalling comes from: after two packets in a row;
//! - any other host after four in a row, where signalling comes from elsewhere than media was to, so that there is a NAT or a proxy between,
//!   and only if nothing came from a host of the former kinds.
//!
//! The latter two count only if they keep the pace that their timestamps say, which a flood does not, and for a while ([`PROBATION`]) make way for
//! whoever is to be believed more: a stranger who was there before the peer's first packet is not kept for it.
//!
//! A re-offer begins anew, and so does silence for [`RELEARN_AFTER`] where sound is due, though then from no further hosts: who changes hosts in a
//! call has to say so. Until then, and where the address that was told is still the same, it is sent to where the source was. While nothing is
//! due (the peer is on hold) nothing is learned: whoever sends then is not the peer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringback_rtp::Header;
use ringback_rtp::sequence::distance32;
use ringback_time::Mono;

/// A source that sends nothing for so long may have moved.
pub(crate) const RELEARN_AFTER: Duration = Duration::from_secs(5);
/// For so long a source that is not the negotiated address makes way for one that is to be believed more.
const PROBATION: Duration = Duration::from_secs(3);
/// Candidates watched at a time; the one not heard for longest makes room.
const CANDIDATES: usize = 4;
const SAME_HOST_PACKETS: u8 = 2;
const OTHER_HOST_PACKETS: u8 = 4;

#[derive(Debug)]
pub(crate) struct Latch {
    negotiated: Option<SocketAddr>,
    /// Where the peer's signalling comes from.
    signalling: Option<IpAddr>,
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
    /// It was silent, and nothing was said.
    silent: bool,
    /// Who is believed for the time being.
    chosen: Option<Chosen>,
}

#[derive(Clone, Copy, Debug)]
struct Chosen {
    from: SocketAddr,
    belief: Belief,
    since: Mono,
}

/// How much a source is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Belief {
    /// Anybody's.
    Strange,
    /// Of a host that is known.
    Host,
    /// The very address.
    Address,
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
    /// Accept it, and send there.
    Learned(SocketAddr),
    /// Accept it, send there, and from now on nothing is accepted from elsewhere.
    Locked(SocketAddr),
    Reject,
}

impl Latch {
    pub(crate) fn new(negotiated: Option<SocketAddr>, symmetric: bool, signalling: Option<IpAddr>) -> Self {
        let state = if symmetric { State::Learning(Box::default()) } else { State::Fixed };
        Latch { negotiated, signalling, waits: false, state }
    }

    /// Sends nothing until the source is learned: the peer sends first, and the address that it gave is good for nothing.
    pub(crate) fn waiting(self) -> Self {
        Latch { waits: matches!(self.state, State::Learning(_)), ..self }
    }

    /// `clock_rate`: of the packet's payload type, asked for while the source is learned.
    #[inline]
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
        let signalling = self.signalling;
        let State::Learning(learning) = &mut self.state else { return Verdict::Reject };
        // No address negotiated: neither way.
        let Some(negotiated) = self.negotiated else { return Verdict::Reject };
        let before = learning.before;
        let belief = |from: SocketAddr| {
            if same(from, negotiated) || before.is_some_and(|before| same(from, before)) {
                Belief::Address
            } else if [Some(negotiated.ip()), before.map(|before| before.ip()), signalling].contains(&Some(from.ip())) {
                Belief::Host
            } else {
                Belief::Strange
            }
        };
        let believed = belief(from);
        if let Some(chosen) = learning.chosen {
            let over = arrival.since(chosen.since) >= PROBATION;
            if same(chosen.from, from) {
                if over {
                    self.state = State::Locked(from);
                    return Verdict::Locked(from);
                }
                return Verdict::Accept;
            }
            if over || believed <= chosen.belief {
                return Verdict::Reject;
            }
        }
        if believed == Belief::Address {
            self.state = State::Locked(from);
            return Verdict::Locked(from);
        }
        if believed == Belief::Strange && (learning.silent || signalling == Some(negotiated.ip())) {
            return Verdict::Reject;
        }
        let candidate = learning.follow(from, header, arrival, |from| belief(from) > Belief::Strange);
        let is_it = candidate.keeps_pace(header, clock_rate)
            && match believed {
                Belief::Strange => {
                    candidate.packets >= OTHER_HOST_PACKETS
                        && !learning.candidates.iter().any(|candidate| belief(candidate.from) > Belief::Strange)
                }
                _ => candidate.packets >= SAME_HOST_PACKETS,
            };
        if !is_it {
            return Verdict::Reject;
        }
        // Who made way is a stranger from now on, and has no part in what comes.
        learning.candidates.clear();
        learning.chosen = Some(Chosen { from, belief: believed, since: arrival });
        Verdict::Learned(from)
    }

    /// Where RTP goes: to where it comes from once that is known.
    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Fixed => self.negotiated,
            _ => self.known().or(self.negotiated.filter(|_| !self.waits)),
        }
    }

    /// Whether nothing is sent yet.
    pub(crate) fn waits(&self) -> bool {
        self.waits && self.known().is_none()
    }

    /// Whether RTCP that came by the port of RTP is the peer's. It is not learned from: reports have no pace.
    pub(crate) fn accepts_control(&self, from: SocketAddr) -> bool {
        self.known().or(self.negotiated).is_some_and(|address| same(address, from))
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
    pub(crate) fn learned_host(&self) -> Option<IpAddr> {
        self.learned().map(|address| address.ip())
    }

    /// Whether something would be learned from a packet of `from`.
    pub(crate) fn learns_from(&self, from: SocketAddr) -> bool {
        matches!(self.state, State::Learning(_)) && !self.learned().is_some_and(|learned| same(learned, from))
    }

    pub(crate) fn has_learned(&self) -> bool {
        self.learned().is_some()
    }

    /// Where packets come from.
    fn learned(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Fixed => None,
            State::Learning(learning) => learning.chosen.map(|chosen| chosen.from),
            State::Locked(address) => Some(*address),
        }
    }

    /// Where they come from or came from.
    fn known(&self) -> Option<SocketAddr> {
        let before = || match &self.state {
            State::Learning(learning) => learning.before,
            _ => None,
        };
        self.learned().or_else(before)
    }

    /// The source that was learned has fallen silent: packets go on to where they went.
    pub(crate) fn relearn(&mut self) {
        if let Some(address) = self.learned() {
            let learning = Learning { before: Some(address), silent: true, ..Learning::default() };
            self.state = State::Learning(Box::new(learning));
        }
    }

    /// For a new description that names the same address, what an earlier latch has learned.
    pub(crate) fn succeeding(mut self, old: &Latch) -> Self {
        if let State::Learning(learning) = &mut self.state {
            learning.before = old.known();
        }
        self
    }
}

impl Learning {
    /// Where `from` stands with this packet. `is_known`: is never made to go for others.
    fn follow(
        &mut self,
        from: SocketAddr,
        header: &Header,
        arrival: Mono,
        is_known: impl Fn(SocketAddr) -> bool,
    ) -> Candidate {
        let fresh = Candidate {
            from,
            ssrc: header.ssrc,
            next: header.sequence.wrapping_add(1),
            packets: 1,
            first_timestamp: header.timestamp,
            first_arrival: arrival,
            last_arrival: arrival,
        };
        match self.candidates.iter_mut().find(|candidate| same(candidate.from, from)) {
            Some(candidate) if candidate.ssrc == header.ssrc && candidate.next == header.sequence => {
                candidate.packets = candidate.packets.saturating_add(1);
                candidate.next = header.sequence.wrapping_add(1);
                candidate.last_arrival = arrival;
                *candidate
            }
            Some(candidate) => {
                *candidate = fresh;
                fresh
            }
            None => {
                if self.candidates.len() >= CANDIDATES {
                    let candidates = self.candidates.iter().enumerate();
                    let stalest =
                        candidates.min_by_key(|(_, candidate)| (is_known(candidate.from), candidate.last_arrival));
                    if let Some((index, _)) = stalest {
                        self.candidates.swap_remove(index);
                    }
                }
                self.candidates.push(fresh);
                fresh
            }
        }
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
    const STRANGER: &str = "203.0.113.66:6000";
    const PROXY: &str = "192.0.2.99";

    /// Learns; signalling comes from `signalling`.
    fn learning(signalling: &str) -> Latch {
        Latch::new(Some(address(PEER)), true, Some(signalling.parse().unwrap()))
    }

    fn learned(at: &str) -> Verdict {
        Verdict::Learned(address(at))
    }

    fn locked(at: &str) -> Verdict {
        Verdict::Locked(address(at))
    }

    #[test]
    fn without_learning_only_the_negotiated_address_counts() {
        let mut latch = Latch::new(Some(address(PEER)), false, None);
        assert_eq!(feed(&mut latch, OTHER, 0..10), [Verdict::Reject; 10]);
        assert_eq!(feed(&mut latch, NATTED, 0..10), [Verdict::Reject; 10]);
        assert_eq!(feed(&mut latch, PEER, 0..2), [Verdict::Accept; 2]);
        let mut neither = Latch::new(None, false, None);
        assert_eq!(feed(&mut neither, PEER, 0..2), [Verdict::Reject; 2]);
    }

    #[test]
    fn the_negotiated_address_is_believed_at_once() {
        let mut latch = learning(PROXY);
        assert_eq!(latch.source(), None);
        assert_eq!(feed(&mut latch, OTHER, 0..2), [Verdict::Reject; 2]);
        assert_eq!(feed(&mut latch, PEER, [9]), [locked(PEER)]);
        assert_eq!(feed(&mut latch, OTHER, 2..9), [Verdict::Reject; 7]);
        assert_eq!(latch.source(), Some(address(PEER)));
    }

    #[test]
    fn another_port_of_the_host_is_believed_after_two_in_a_row_and_held_for_good_after_a_while() {
        let mut latch = learning(PROXY);
        assert_eq!(feed(&mut latch, NATTED, [5, 7]), [Verdict::Reject; 2], "not in a row");
        assert_eq!(feed(&mut latch, NATTED, [8]), [learned(NATTED)]);
        assert_eq!((latch.destination(), latch.source()), (Some(address(NATTED)), None));
        assert_eq!(feed(&mut latch, NATTED, 9..158), [Verdict::Accept; 149]);
        assert_eq!(feed(&mut latch, NATTED, [158]), [locked(NATTED)]);
        assert_eq!((latch.destination(), latch.source()), (Some(address(NATTED)), Some(address(NATTED))));
        assert_eq!(feed(&mut latch, PEER, [159]), [Verdict::Reject], "the window is over");
    }

    #[test]
    fn another_host_needs_four_in_a_row_at_the_right_pace() {
        let mut latch = learning(PROXY);
        assert_eq!(feed(&mut latch, OTHER, 0..3), [Verdict::Reject; 3]);
        assert_eq!(feed(&mut latch, OTHER, [3]), [learned(OTHER)]);

        let mut flooded = learning(PROXY);
        for n in 0..1000 {
            for stranger in [OTHER, NATTED] {
                let verdict = flooded.judge(address(stranger), &header(n), at(1), || 8000);
                assert_eq!(verdict, Verdict::Reject, "a flood keeps no pace");
            }
        }
        assert_eq!(feed(&mut flooded, PEER, [0]), [locked(PEER)]);
    }

    /// No NAT and no proxy is between: who is neither has no business here.
    #[test]
    fn a_third_host_is_never_believed_where_media_and_signalling_have_the_same() {
        let mut latch = learning("192.0.2.1");
        assert_eq!(feed(&mut latch, OTHER, 0..500), [Verdict::Reject; 500]);
        assert_eq!(feed(&mut latch, NATTED, 0..2), [Verdict::Reject, learned(NATTED)]);
    }

    /// A telephone behind a NAT says a private address, and signals from the public one.
    #[test]
    fn the_host_of_signalling_is_as_good_as_the_negotiated_one() {
        let mut latch = learning("198.51.100.7");
        assert_eq!(feed(&mut latch, OTHER, 0..2), [Verdict::Reject, learned(OTHER)]);
    }

    #[test]
    fn who_was_there_first_makes_way_for_who_is_believed_more() {
        let signalling = "198.51.100.7";
        // Whom a stranger makes way for, and after how many packets.
        for (peer, packets) in [(PEER, 1), (NATTED, 2), (OTHER, 2)] {
            let mut latch = learning(signalling);
            assert_eq!(feed(&mut latch, STRANGER, 0..4)[3], learned(STRANGER));
            assert_eq!(feed(&mut latch, STRANGER, 4..20), [Verdict::Accept; 16]);
            let verdicts = feed(&mut latch, peer, 20..20 + packets);
            let believed = if peer == PEER { locked(peer) } else { learned(peer) };
            assert_eq!(verdicts.last(), Some(&believed));
            assert_eq!(latch.destination(), Some(address(peer)));
            assert_eq!(feed(&mut latch, STRANGER, 24..200), [Verdict::Reject; 176], "for good");
        }
        // And another port for the very address, but not for a second port.
        let mut latch = learning(signalling);
        feed(&mut latch, NATTED, 0..2);
        assert_eq!(feed(&mut latch, OTHER, 2..9), [Verdict::Reject; 7]);
        assert_eq!(feed(&mut latch, PEER, [9]), [locked(PEER)]);
    }

    /// Whatever the codec's clock and packet time, and where the first packets come in one go, as out of a queue.
    #[test]
    fn pace_is_told_by_the_codecs_clock() {
        for (clock_rate, packet_ms) in [(48_000, 20), (48_000, 60), (16_000, 10), (8000, 30), (44_100, 20)] {
            for (from, at_most) in [(OTHER, 8), (NATTED, 6)] {
                let mut latch = learning(PROXY);
                let units = clock_rate * packet_ms / 1000;
                let needed = (0..20_u16).find(|n| {
                    let header = Header { timestamp: u32::from(*n) * units, ..header(*n) };
                    let arrival = at(u64::from(n.saturating_sub(2)) * u64::from(packet_ms));
                    latch.judge(address(from), &header, arrival, || clock_rate) == learned(from)
                });
                assert!(needed.is_some_and(|n| n < at_most), "{clock_rate} Hz, {packet_ms} ms: {needed:?}");
            }
        }
    }

    #[test]
    fn a_stranger_cannot_win_over_the_negotiated_host() {
        let mut latch = learning(PROXY);
        feed(&mut latch, NATTED, [40]);
        for n in 0..8 {
            let from = format!("198.51.100.{n}:5000");
            assert_eq!(feed(&mut latch, &from, 0..6), [Verdict::Reject; 6]);
        }
        assert_eq!(feed(&mut latch, NATTED, [41]), [learned(NATTED)]);
    }

    #[test]
    fn silence_lets_the_peer_move_to_another_port_and_nobody_take_its_place() {
        let mut latch = learning(PROXY);
        feed(&mut latch, OTHER, 0..200);
        latch.relearn();
        assert_eq!((latch.source(), latch.destination()), (None, Some(address(OTHER))));
        assert_eq!(feed(&mut latch, STRANGER, 0..500), [Verdict::Reject; 500]);
        let moved = "198.51.100.7:5002";
        assert_eq!(feed(&mut latch, moved, 500..502), [Verdict::Reject, learned(moved)]);
        assert_eq!(feed(&mut latch, OTHER, [502]), [locked(OTHER)], "it is back");
    }
}
