use std::time::Duration;

use ringback_time::Mono;

use super::ReportBlock;

/// Reports remembered: the peer answers the latest it has, and may be a few behind.
const REMEMBERED: usize = 4;
/// No path takes longer; a block that says so is wrong.
const LONGEST: Duration = Duration::from_secs(60);

/// A peer's delay may be rounded up by so much: some clocks tick each 4 ms.
const ROUNDING: Duration = Duration::from_millis(5);

/// Round trip from our reports and the blocks that answer them: LSR and DLSR (RFC 3550 §6.4.1), LRR and DLRR (RFC 3611 §4.5).
///
/// The block names our report by its NTP time, and the time passed is taken from the monotonic clock, so that neither a stepped
/// wall clock nor an invented LSR makes a figure.
#[derive(Clone, Debug, Default)]
pub struct RoundTrip {
    sent: [(u32, Mono); REMEMBERED],
    next: usize,
    last: Option<Duration>,
}

impl RoundTrip {
    pub fn new() -> Self {
        Self::default()
    }

    /// A report with an NTP time left at `now`: a sender's, or a receiver's reference time (RFC 3611 §4.4).
    pub fn sent(&mut self, ntp: u64, now: Mono) {
        if let Some(slot) = self.sent.get_mut(self.next % REMEMBERED) {
            *slot = ((ntp >> 16) as u32, now);
        }
        self.next = self.next.wrapping_add(1);
    }

    /// A block about our stream came.
    pub fn received(&mut self, block: &ReportBlock, now: Mono) {
        self.answered(block.last_sr, block.delay_since_last_sr, now);
    }

    /// An answer came to the report whose NTP time has these middle bits, held back for so many 1/65536 s.
    pub fn answered(&mut self, middle: u32, delay: u32, now: Mono) {
        // RFC 3550 §6.4.1, RFC 3611 §4.5: zero where the peer got no such report.
        if middle == 0 {
            return;
        }
        let Some((_, sent)) = self.sent.iter().find(|(ntp, _)| *ntp == middle) else { return };
        let held = Duration::from_nanos((u64::from(delay) * 1_000_000_000) >> 16);
        // The peer may round its delay up by as much as it has resolution; then the path is as good as nothing.
        let Some(trip) = (now.since(*sent) + ROUNDING).checked_sub(held) else { return };
        let trip = trip.saturating_sub(ROUNDING);
        if trip <= LONGEST {
            self.last = Some(trip);
        }
    }

    /// The latest measurement.
    pub fn latest(&self) -> Option<Duration> {
        self.last
    }
}
