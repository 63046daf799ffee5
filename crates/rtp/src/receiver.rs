//! What one receiver knows of the stream it gets: RFC 3550 A.1 (sequence numbers), A.3 (loss) and A.8 (jitter).
//!
//! Two things differ from the appendix, for a receiver whose source was negotiated: the first packet is believed (no probation),
//! and a packet that was already seen is told apart, so that it neither plays twice nor hides a loss.
//!
//! Invariant: `highest` is the extended number of the newest packet, and bit `i` of `seen` says whether `highest - i` came.

mod fates;

use ringback_time::Mono;

use crate::sequence::distance32;

use fates::Fates;
pub use fates::{BurstsAndGaps, GMIN, Stretches};

/// RFC 3550 A.1: a gap of so many packets is still loss.
const MAX_DROPOUT: u16 = 3000;
/// RFC 3550 A.1: a packet so far behind is still reordered. Less than the bits of `seen`.
const MAX_MISORDER: u16 = 100;
/// Packets in a row from an SSRC just left behind before it is believed to be the stream again.
const RETURN_PACKETS: u8 = 3;
/// Extended numbers start here, so that a packet from before the first has one too.
const FIRST_CYCLE: u64 = 1 << 16;
/// Bits of `seen`.
const WINDOW: u64 = 128;
/// A change of transit time beyond this is a new timeline and not jitter.
const MAX_TRANSIT_CHANGE_NANOS: u64 = 2_000_000_000;

/// What a packet is to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Not seen before: the next, one after a gap, or one that was overtaken. The number is extended over wraps.
    New(u64),
    /// The first of a stream: of all, after a change of SSRC, or after a jump that lasted. What was kept of the earlier is void.
    First(u64),
    /// Seen before.
    Duplicate,
    /// Out of range, or from an SSRC that was just left; not counted.
    Ignored,
}

/// One received stream, over changes of its SSRC.
#[derive(Clone, Debug, Default)]
pub struct ReceiverState {
    ssrc: Option<u32>,
    previous_ssrc: Option<u32>,
    previous_ssrc_packets: u8,
    /// RFC 3550 A.1 `bad_seq`: the number that would confirm a jump.
    jump_to: Option<u16>,
    base: u64,
    highest: u64,
    seen: u128,
    /// Of those, what came and was not played.
    discarded: u128,
    /// What became of the packets before `settled`, which is final.
    fates: Fates,
    settled: u64,
    /// Packets of this stream, repeated ones included (RFC 3550 A.3).
    received: u64,
    unique: u64,
    /// Runs of lost packets, over all streams.
    bursts: u64,
    /// Expected and unique packets of the streams before.
    past_expected: u64,
    past_unique: u64,
    prior_expected: u64,
    prior_received: u64,
    last_arrival: Mono,
    last_timestamp: Option<u32>,
    /// Nanoseconds times 16. Of the stream before until there is one of this stream.
    jitter_16: u64,
    /// Of this stream.
    has_jitter: bool,
    /// Of any.
    had_jitter: bool,
}

/// Loss and jitter for an RTCP report block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    pub fraction_lost: u8,
    /// Clamped to 24 bits with sign.
    pub cumulative_lost: i32,
    pub extended_highest: u32,
}

impl ReceiverState {
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a packet of the stream.
    #[inline]
    pub fn packet(&mut self, ssrc: u32, sequence: u16) -> Arrival {
        if self.ssrc != Some(ssrc) {
            return self.other_ssrc(ssrc, sequence);
        }
        self.previous_ssrc_packets = 0;
        let delta = sequence.wrapping_sub(self.highest as u16);
        if delta == 1 {
            // The most frequent by far.
            self.settle(1);
            self.highest += 1;
            self.seen = (self.seen << 1) | 1;
        } else if delta == 0 {
            self.received += 1;
            return Arrival::Duplicate;
        } else if delta < MAX_DROPOUT {
            self.settle(u64::from(delta));
            self.highest += u64::from(delta);
            self.bursts += 1;
            self.seen = self.seen.checked_shl(u32::from(delta)).unwrap_or(0) | 1;
        } else if delta <= u16::MAX - MAX_MISORDER {
            // RFC 3550 A.1: two packets in a row make the other side's restart believable.
            if self.jump_to == Some(sequence) {
                return self.begin(ssrc, sequence);
            }
            self.jump_to = Some(sequence.wrapping_add(1));
            return Arrival::Ignored;
        } else {
            return self.overtaken(delta.wrapping_neg());
        }
        self.jump_to = None;
        self.received += 1;
        self.unique += 1;
        Arrival::New(self.highest)
    }

    #[cold]
    fn overtaken(&mut self, behind: u16) -> Arrival {
        let bit = 1_u128 << (behind & 127);
        self.received += 1;
        if self.seen & bit != 0 {
            return Arrival::Duplicate;
        }
        self.seen |= bit;
        self.unique += 1;
        let extended = self.highest - u64::from(behind);
        if extended >= self.base {
            // A run of losses becomes shorter, none, or two.
            let lost =
                |number: u64| number >= self.base && self.seen & (1_u128 << (self.highest - number).min(127)) == 0;
            match (lost(extended - 1), lost(extended + 1)) {
                (false, false) => self.bursts = self.bursts.saturating_sub(1),
                (true, true) => self.bursts += 1,
                _ => {}
            }
        } else if extended + 1 < self.base {
            // Those between it and what was the first are lost, unless they come yet.
            self.bursts += 1;
        }
        // One from before the first one that was seen moves the beginning back.
        if extended < self.base {
            // Then nothing is settled yet: that comes later than anything can be overtaken.
            (self.base, self.settled) = (extended, extended);
        }
        Arrival::New(extended)
    }

    /// `highest` is about to move by `by`: what falls out of the window is what it is for good.
    #[inline]
    fn settle(&mut self, by: u64) {
        if self.discarded != 0 || self.highest + by - self.settled >= WINDOW {
            self.settle_some(by);
        }
    }

    fn settle_some(&mut self, by: u64) {
        let until = (self.highest + by).saturating_sub(WINDOW - 1);
        while self.settled < until.min(self.highest + 1) {
            self.fates.count(self.is_good(self.settled));
            self.settled += 1;
        }
        if self.settled < until {
            // Fell out before it came in.
            self.fates.count_bad(until - self.settled);
            self.settled = until;
        }
        self.discarded = self.discarded.checked_shl(u32::try_from(by).unwrap_or(u32::MAX)).unwrap_or(0);
    }

    /// Whether a packet within the window came and was not discarded.
    fn is_good(&self, extended: u64) -> bool {
        let bit = 1_u128 << (self.highest - extended).min(WINDOW - 1);
        self.seen & !self.discarded & bit != 0
    }

    /// A packet that came is not played. Has no effect on one that came long ago.
    pub fn discard(&mut self, extended: u64) {
        if let Some(behind) = self.highest.checked_sub(extended).filter(|behind| *behind < WINDOW) {
            self.discarded |= 1 << behind;
        }
    }

    /// Bursts and gaps of the present stream so far (RFC 3611 §4.7.2).
    pub fn bursts_and_gaps(&self) -> BurstsAndGaps {
        let mut fates = self.fates.clone();
        if self.ssrc.is_some() {
            for extended in self.settled..=self.highest {
                fates.count(self.is_good(extended));
            }
        }
        fates.finish()
    }

    /// Packets that should have come, and that came, of the present stream.
    pub fn present(&self) -> (u64, u64) {
        (if self.ssrc.is_some() { self.highest - self.base + 1 } else { 0 }, self.unique)
    }

    #[cold]
    fn other_ssrc(&mut self, ssrc: u32, sequence: u16) -> Arrival {
        // What is still on its way from the SSRC before must not throw the new stream over.
        if self.previous_ssrc == Some(ssrc) {
            self.previous_ssrc_packets += 1;
            if self.previous_ssrc_packets < RETURN_PACKETS {
                return Arrival::Ignored;
            }
        }
        self.begin(ssrc, sequence)
    }

    /// RFC 3550 A.1 `init_seq`.
    fn begin(&mut self, ssrc: u32, sequence: u16) -> Arrival {
        let previous_ssrc = if self.ssrc == Some(ssrc) { self.previous_ssrc } else { self.ssrc };
        let first = FIRST_CYCLE + u64::from(sequence);
        *self = ReceiverState {
            ssrc: Some(ssrc),
            previous_ssrc,
            base: first,
            highest: first,
            settled: first,
            seen: 1,
            received: 1,
            unique: 1,
            past_expected: self.expected(),
            past_unique: self.unique(),
            bursts: self.bursts,
            jitter_16: self.jitter_16,
            had_jitter: self.had_jitter,
            ..ReceiverState::default()
        };
        Arrival::First(first)
    }

    /// RFC 3550 A.8, from the time of arrival that the kernel noted. Not for telephone-events, whose timestamp stands still.
    #[inline]
    pub fn timing(&mut self, timestamp: u32, clock_rate: u32, arrival: Mono) {
        if let Some(last) = self.last_timestamp {
            let apart = arrival.as_nanos() as i64 - self.last_arrival.as_nanos() as i64;
            let meant = i64::from(distance32(timestamp, last)) * 1_000_000_000 / i64::from(clock_rate.max(1));
            let change = apart.abs_diff(meant);
            if change <= MAX_TRANSIT_CHANGE_NANOS {
                if !self.has_jitter {
                    (self.jitter_16, self.has_jitter, self.had_jitter) = (0, true, true);
                }
                self.jitter_16 = self.jitter_16 + change - ((self.jitter_16 + 8) >> 4);
            }
        }
        self.last_timestamp = Some(timestamp);
        self.last_arrival = arrival;
    }

    pub fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    /// The SSRC before the present one, whose stragglers are told apart here.
    pub fn previous_ssrc(&self) -> Option<u32> {
        self.previous_ssrc
    }

    /// Packets that should have come, over all streams.
    pub fn expected(&self) -> u64 {
        self.past_expected + if self.ssrc.is_some() { self.highest - self.base + 1 } else { 0 }
    }

    /// Different packets that came, over all streams.
    pub fn unique(&self) -> u64 {
        self.past_unique + self.unique
    }

    /// Packets that never came, over all streams.
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.unique())
    }

    /// ITU-T G.107 §7.5, BurstR: how long the runs of lost packets are, compared with those of random loss. `None` before the first.
    pub fn burst_ratio(&self) -> Option<f64> {
        let lost = self.lost();
        if lost == 0 || self.bursts == 0 {
            return None;
        }
        let received = self.unique() as f64 / self.expected().max(1) as f64;
        Some(lost as f64 / self.bursts as f64 * received)
    }

    /// Whether two packets came that say when they were sent: without them there is no jitter, and no stream to be rated.
    pub fn is_measured(&self) -> bool {
        self.had_jitter
    }

    pub fn jitter_nanos(&self) -> u64 {
        self.jitter_16 >> 4
    }

    /// Interarrival jitter of the present stream in timestamp units, as RTCP reports it.
    pub fn jitter_units(&self, clock_rate: u32) -> u32 {
        let nanos = if self.has_jitter { self.jitter_nanos() } else { 0 };
        u32::try_from(u128::from(nanos) * u128::from(clock_rate) / 1_000_000_000).unwrap_or(u32::MAX)
    }

    /// RFC 3550 A.3: what a report block says; the fraction is since the call before. `None` before the first packet.
    pub fn report(&mut self) -> Option<Reception> {
        self.ssrc?;
        let expected = self.highest - self.base + 1;
        let lost = expected as i64 - self.received as i64;
        let expected_interval = expected.saturating_sub(self.prior_expected);
        let received_interval = self.received - self.prior_received;
        self.prior_expected = expected;
        self.prior_received = self.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction_lost = (lost_interval << 8).checked_div(expected_interval).unwrap_or(0).min(255) as u8;
        Some(Reception {
            fraction_lost,
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            extended_highest: (self.highest - FIRST_CYCLE) as u32,
        })
    }
}

#[cfg(test)]
mod tests;
