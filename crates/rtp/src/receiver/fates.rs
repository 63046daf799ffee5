//! Bursts and gaps (RFC 3611 §4.7.2): where what was lost or discarded lies close together, and where it does not.
//!
//! A burst begins and ends with a packet that was not played, and holds no [`GMIN`] played ones in a row; a single packet that was not
//! played, with as many played ones on either side, belongs to the gap. The RFC's appendix estimates both from a Markov model; here they
//! are counted.

/// RFC 3611 §4.7.2: the recommended Gmin.
pub const GMIN: u32 = 16;

/// Packets are given in the order of their sequence numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Fates {
    bursts: Stretches,
    gaps: Stretches,
    /// The last packet of the gaps is the one before.
    in_gap: bool,
    /// What may become a burst: packets from the first that was not played to the last, and how many of them were not.
    open: u64,
    open_bad: u64,
    /// Played ones since then, less than `GMIN`.
    good: u32,
}

/// All bursts, or all gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretches {
    pub count: u64,
    pub packets: u64,
    /// Of the packets, those lost or discarded.
    pub bad: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BurstsAndGaps {
    pub bursts: Stretches,
    pub gaps: Stretches,
}

impl Stretches {
    /// The part that was lost or discarded; `None` where there are no packets.
    pub fn density(&self) -> Option<f64> {
        (self.packets > 0).then(|| self.bad as f64 / self.packets as f64)
    }

    /// Packets of one, on average.
    pub fn mean_packets(&self) -> Option<f64> {
        (self.count > 0).then(|| self.packets as f64 / self.count as f64)
    }
}

impl Fates {
    #[inline]
    pub(super) fn count(&mut self, good: bool) {
        if !good {
            self.count_bad(1);
        } else if self.open == 0 {
            self.extend_gap(1, 0);
        } else {
            self.good += 1;
            if self.good == GMIN {
                self.close();
            }
        }
    }

    /// `packets` in a row that were not played.
    pub(super) fn count_bad(&mut self, packets: u64) {
        self.open += u64::from(self.good) + packets;
        self.open_bad += packets;
        self.good = 0;
    }

    pub(super) fn finish(mut self) -> BurstsAndGaps {
        self.close();
        BurstsAndGaps { bursts: self.bursts, gaps: self.gaps }
    }

    /// What was open is known for what it is; the played ones after it begin or continue a gap.
    fn close(&mut self) {
        let (open, bad) = (std::mem::take(&mut self.open), std::mem::take(&mut self.open_bad));
        match bad {
            0 => {}
            1 => self.extend_gap(1, 1),
            _ => {
                self.bursts.count += 1;
                self.bursts.packets += open;
                self.bursts.bad += bad;
                self.in_gap = false;
            }
        }
        let good = std::mem::take(&mut self.good);
        if good > 0 {
            self.extend_gap(good.into(), 0);
        }
    }

    fn extend_gap(&mut self, packets: u64, bad: u64) {
        self.gaps.count += u64::from(!self.in_gap);
        self.in_gap = true;
        self.gaps.packets += packets;
        self.gaps.bad += bad;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `.` played, `x` not.
    fn of(pattern: &str) -> BurstsAndGaps {
        let mut fates = Fates::default();
        pattern.chars().for_each(|packet| fates.count(packet == '.'));
        fates.finish()
    }

    fn stretches(count: u64, packets: u64, bad: u64) -> Stretches {
        Stretches { count, packets, bad }
    }

    #[test]
    fn bursts_are_told_from_single_losses() {
        let clean = ".".repeat(16);
        let rows = [
            (String::new(), stretches(0, 0, 0), stretches(0, 0, 0)),
            (".".repeat(100), stretches(0, 0, 0), stretches(1, 100, 0)),
            ("x".into(), stretches(0, 0, 0), stretches(1, 1, 1)),
            ("xx".into(), stretches(1, 2, 2), stretches(0, 0, 0)),
            // Sixteen between them: two of a gap. Fifteen: a burst of seventeen.
            (format!("x{clean}x"), stretches(0, 0, 0), stretches(1, 18, 2)),
            (format!("x{}x", ".".repeat(15)), stretches(1, 17, 2), stretches(0, 0, 0)),
            (format!("{clean}xx.x{clean}x..."), stretches(1, 4, 3), stretches(2, 36, 1)),
            (format!("...xx{clean}{clean}xxx..xx"), stretches(2, 9, 7), stretches(2, 35, 0)),
            (format!("xx{clean}xx{clean}xx"), stretches(3, 6, 6), stretches(2, 32, 0)),
        ];
        for (pattern, bursts, gaps) in rows {
            assert_eq!(of(&pattern), BurstsAndGaps { bursts, gaps }, "{pattern}");
        }
    }
}
