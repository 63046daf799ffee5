//! Whom a leg listens to, and where it sends.
//!
//! Without `symmetric` that is the negotiated address and no other. With it the address that packets really come from is learned once, in
//! a short window, and then held as strictly (the kernel drops strangers). How much a source is believed goes by what is known of it:
//! - the negotiated address itself, and the one that was learned before: at its first packet, for good;
//! - another port of those hosts, or of the host that signalling comes from: after two packets in a row;
//! - a third host as the last resort: where signalling comes from elsewhere than media was to, so that there is a NAT or a proxy between, where
//!   no source was known before, and after [`GRACE`] without a packet of the former kinds.
//!
//! The latter two count only if they keep the pace that their timestamps say, which a flood does not. Another port makes way for the very address
//! for a while ([`PROBATION`]). A third host is never locked, and makes way for whoever is to be believed more at any time: it may be the peer's
//! media relay, or a stranger who was there before the peer's first packet.
//!
//! A re-offer begins anew, and so does silence for [`RELEARN_AFTER`] where sound is due. Where a source was known by then, and the address that was
//! told is still the same, it is sent to where the source was, and no further hosts are learned: who changes hosts in a call has to say so. While
//! nothing is due (the peer is on hold) nothing is learned: whoever sends then is not the peer, unless a third host is in its place.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringback_rtp::Header;
use ringback_rtp::sequence::distance32;
use ringback_time::Mono;

/// A source that sends nothing for so long may have moved.
pub(crate) const RELEARN_AFTER: Duration = Duration::from_secs(5);
/// For so long a source that is not the negotiated address makes way for one that is to be believed more.
const PROBATION: Duration = Duration::from_secs(3);
/// So long nothing came from where media should come, since the first packet of a third host, before that one is believed.
const GRACE: Duration = Duration::from_secs(2);
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
    before: Option<Known>,
    /// The last packet of who is believed more than a third host, or the first of one.
    quiet_since: Option<Mono>,
    /// Who is believed for the time being, and since when.
    chosen: Option<(Known, Mono)>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    from: SocketAddr,
    belief: Belief,
}

/// How much a source is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Belief {
    /// Of a third host.
    Strange,
    /// Of a host that is known.
    Host,
    /// The very address.
    Address,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    belief: Belief,
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

    fn belief(&self, from: SocketAddr) -> Belief {
        // Who was a third host before is none the better for it.
        let before = self.before().filter(|before| before.belief > Belief::Strange).map(|before| before.from);
        let mut addresses = [self.negotiated, before].into_iter().flatten();
        if addresses.clone().any(|address| same(address, from)) {
            Belief::Address
        } else if self.signalling == Some(from.ip()) || addresses.any(|address| address.ip() == from.ip()) {
            Belief::Host
        } else {
            Belief::Strange
        }
    }

    /// How many packets in a row of a third host are enough, with the one at `arrival`; `None`: no number is.
    fn strangers_packets(&self, from: SocketAddr, arrival: Mono) -> Option<u8> {
        let State::Learning(learning) = &self.state else { return None };
        let is_between = self.signalling != self.negotiated.map(|address| address.ip());
        match learning.before {
            // It was heard already.
            Some(before) if before.belief == Belief::Strange && before.from.ip() == from.ip() => {
                Some(SAME_HOST_PACKETS)
            }
            Some(_) => None,
            None => (is_between && learning.quiet_since.is_some_and(|since| arrival.since(since) >= GRACE))
                .then_some(OTHER_HOST_PACKETS),
        }
    }

    #[cold]
    fn learn(&mut self, from: SocketAddr, header: &Header, arrival: Mono, clock_rate: u32) -> Verdict {
        // No address negotiated: neither way.
        if self.negotiated.is_none() {
            return Verdict::Reject;
        }
        let believed = self.belief(from);
        let State::Learning(learning) = &mut self.state else { return Verdict::Reject };
        if believed > Belief::Strange || learning.quiet_since.is_none() {
            learning.quiet_since = Some(arrival);
        }
        if let Some((chosen, since)) = learning.chosen {
            let over = chosen.belief > Belief::Strange && arrival.since(since) >= PROBATION;
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
        let candidate = learning.follow(from, believed, header, arrival);
        let needed = match believed {
            Belief::Strange => self.strangers_packets(from, arrival),
            _ => Some(SAME_HOST_PACKETS),
        };
        if !(candidate.keeps_pace(header, clock_rate) && needed.is_some_and(|needed| candidate.packets >= needed)) {
            return Verdict::Reject;
        }
        if let State::Learning(learning) = &mut self.state {
            // Who made way is a stranger from now on, and has no part in what comes.
            learning.candidates.clear();
            learning.chosen = Some((Known { from, belief: believed }, arrival));
        }
        Verdict::Learned(from)
    }

    /// Where RTP goes: to where it comes from once that is known.
    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Fixed => self.negotiated,
            _ => self.known().map(|known| known.from).or(self.negotiated.filter(|_| !self.waits)),
        }
    }

    /// Whether nothing is sent yet.
    pub(crate) fn waits(&self) -> bool {
        self.waits && self.known().is_none()
    }

    /// Whether RTCP that came by the port of RTP is the peer's. It is not learned from: reports have no pace.
    pub(crate) fn accepts_control(&self, from: SocketAddr) -> bool {
        self.known().map(|known| known.from).or(self.negotiated).is_some_and(|address| same(address, from))
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
        self.learned().map(|learned| learned.from.ip())
    }

    /// Whether something would be learned from a packet of `from` that need not be learned: one that sends a third host away is none.
    pub(crate) fn learns_from(&self, from: SocketAddr) -> bool {
        let sends_away =
            || self.known().is_some_and(|known| known.belief == Belief::Strange) && self.belief(from) > Belief::Strange;
        matches!(self.state, State::Learning(_))
            && !self.learned().is_some_and(|learned| same(learned.from, from))
            && !sends_away()
    }

    pub(crate) fn has_learned(&self) -> bool {
        self.learned().is_some()
    }

    /// Where packets come from.
    fn learned(&self) -> Option<Known> {
        match &self.state {
            State::Fixed => None,
            State::Learning(learning) => learning.chosen.map(|(chosen, _)| chosen),
            State::Locked(address) => Some(Known { from: *address, belief: Belief::Address }),
        }
    }

    fn before(&self) -> Option<Known> {
        match &self.state {
            State::Learning(learning) => learning.before,
            _ => None,
        }
    }

    /// Where they come from or came from.
    fn known(&self) -> Option<Known> {
        self.learned().or_else(|| self.before())
    }

    /// The source that was learned has fallen silent: packets go on to where they went.
    pub(crate) fn relearn(&mut self) {
        if let Some(known) = self.learned() {
            self.state = State::Learning(Box::new(Learning { before: Some(known), ..Learning::default() }));
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
    /// Where `from` stands with this packet. Who is believed more is never made to go for strangers.
    fn follow(&mut self, from: SocketAddr, belief: Belief, header: &Header, arrival: Mono) -> Candidate {
        let fresh = Candidate {
            from,
            belief,
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
                    let stalest = candidates.min_by_key(|(_, candidate)| (candidate.belief, candidate.last_arrival));
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
    const PROXY_MEDIA: &str = "192.0.2.99:7000";

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

    /// 100 packets are 2 s.
    #[test]
    fn a_third_host_is_believed_after_two_seconds_without_anybody_else_and_never_for_good() {
        let mut latch = learning(PROXY);
        assert_eq!(feed(&mut latch, OTHER, 0..100), [Verdict::Reject; 100]);
        assert_eq!(latch.destination(), Some(address(PEER)));
        assert_eq!(feed(&mut latch, OTHER, [100]), [learned(OTHER)]);
        assert_eq!(latch.destination(), Some(address(OTHER)));
        assert_eq!(feed(&mut latch, OTHER, 101..1000), [Verdict::Accept; 899]);
        assert_eq!(latch.source(), None, "others can come in yet");
        assert_eq!(feed(&mut latch, STRANGER, 1000..1500), [Verdict::Reject; 500], "one is enough");
        assert_eq!(feed(&mut latch, NATTED, 1500..1502), [Verdict::Reject, learned(NATTED)]);
        assert_eq!(feed(&mut latch, OTHER, 1502..1800), [Verdict::Reject; 298]);

        // A packet of the peer's host begins the two seconds anew, though it is not learned.
        let mut latch = learning(PROXY);
        feed(&mut latch, OTHER, 0..90);
        feed(&mut latch, PROXY_MEDIA, [90]);
        assert_eq!(feed(&mut latch, OTHER, 90..190), [Verdict::Reject; 100]);
        assert_eq!(feed(&mut latch, OTHER, [190]), [learned(OTHER)]);

        // The right pace, four in a row, as ever.
        let mut latch = learning(PROXY);
        feed(&mut latch, OTHER, [0]);
        assert_eq!(feed(&mut latch, OTHER, 120..123), [Verdict::Reject; 3]);
        assert_eq!(feed(&mut latch, OTHER, [123]), [learned(OTHER)]);
    }

    /// The media relay of a peer, on a host of its own: it comes back as it was, and nobody takes its place.
    #[test]
    fn a_third_host_that_was_silent_or_was_offered_anew_is_heard_again_and_still_makes_way() {
        let moved = "198.51.100.7:5002";
        for back in [OTHER, moved] {
            for again in [
                |old: Latch| learning(PROXY).succeeding(&old),
                |mut old: Latch| {
                    old.relearn();
                    old
                },
            ] {
                let mut latch = learning(PROXY);
                feed(&mut latch, OTHER, 0..200);
                let mut latch = again(latch);
                assert_eq!((latch.source(), latch.destination()), (None, Some(address(OTHER))));
                assert_eq!(feed(&mut latch, STRANGER, 200..500), [Verdict::Reject; 300]);
                assert_eq!(feed(&mut latch, back, 500..502), [Verdict::Reject, learned(back)]);
                assert_eq!(feed(&mut latch, back, 502..1000), [Verdict::Accept; 498]);
                assert_eq!(latch.source(), None);
                assert!(!latch.learns_from(address(PEER)) && latch.learns_from(address(STRANGER)));
                assert_eq!(feed(&mut latch, PEER, [1000]), [locked(PEER)]);
            }
        }
    }

    /// Neither silence nor the same description once more makes room for a third host.
    #[test]
    fn nobody_takes_the_place_of_a_peer_that_was_heard() {
        for at in [PEER, NATTED, PROXY_MEDIA] {
            let mut latch = learning(PROXY);
            feed(&mut latch, at, 0..10);
            let mut latch = learning(PROXY).succeeding(&latch);
            assert_eq!(feed(&mut latch, STRANGER, 10..500), [Verdict::Reject; 490]);
            assert_eq!(latch.destination(), Some(address(at)));
            assert_eq!(feed(&mut latch, at, [500]), [locked(at)]);
        }
    }

    #[test]
    fn a_flood_keeps_no_pace_and_is_not_believed() {
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
        assert_eq!(feed(&mut latch, NATTED, 500..502), [Verdict::Reject, learned(NATTED)]);
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
            assert_eq!(feed(&mut latch, STRANGER, 0..101)[100], learned(STRANGER));
            assert_eq!(feed(&mut latch, STRANGER, 101..300), [Verdict::Accept; 199]);
            let verdicts = feed(&mut latch, peer, 300..300 + packets);
            let believed = if peer == PEER { locked(peer) } else { learned(peer) };
            assert_eq!(verdicts.last(), Some(&believed));
            assert_eq!(latch.destination(), Some(address(peer)));
            assert_eq!(feed(&mut latch, STRANGER, 304..480), [Verdict::Reject; 176], "for good");
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
            // And 2 s later where it is a third host.
            let grace = 2000 / packet_ms as u16;
            for (from, at_most) in [(OTHER, 8 + grace), (NATTED, 6)] {
                let mut latch = learning(PROXY);
                let units = clock_rate * packet_ms / 1000;
                let needed = (0..250_u16).find(|n| {
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
        let mut latch = learning("198.51.100.7");
        feed(&mut latch, OTHER, 0..200);
        latch.relearn();
        assert_eq!((latch.source(), latch.destination()), (None, Some(address(OTHER))));
        assert_eq!(feed(&mut latch, STRANGER, 0..500), [Verdict::Reject; 500]);
        let moved = "198.51.100.7:5002";
        assert_eq!(feed(&mut latch, moved, 500..502), [Verdict::Reject, learned(moved)]);
        assert_eq!(feed(&mut latch, OTHER, [502]), [locked(OTHER)], "it is back");
    }
}
