//! How much later than the quickest the packets of a stream arrive, as a distribution, and the delay that lets nearly all of them play.
//!
//! An arrival is given as "packet's timestamp less the playout clock": the same for every packet of a perfect path, less for one that
//! is late. The quickest of the last seconds is what lateness counts from, so that a slow drift of the sender's clock, and a path
//! that has become longer, are no lateness.
//!
//! What is later than the present delay weighs more than what is not: the delay is learned quickly and forgotten slowly.

use crate::sequence::distance32;

/// Milliseconds a class of lateness is wide, and how many there are: up to 320 ms.
const CLASS_MS: u32 = 5;
const CLASSES: usize = 64;
/// So many of all packets are to be in time.
const IN_TIME: f32 = 0.97;
/// On top of the lateness: half a packet, for the playout works in pieces.
const SAFETY_MS: u32 = 15;
/// Weight of an arrival that is later than the delay allows for, and of any other: two in a second count, and are remembered for eight.
const LATE_WEIGHT: f32 = 1.0 / 48.0;
const WEIGHT: f32 = 1.0 / 400.0;
/// A part of the whole that is less is none: after some ten minutes it would be a subnormal number, for ever, and each sum of those costs a
/// processor a hundred cycles.
const NOTHING: f32 = 1e-9;
/// Packets after which the older half of the quickest is forgotten.
const WINDOW: u32 = 64;

#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    units_per_ms: u32,
    least: u32,
    most: u32,
    /// Parts of the whole.
    classes: [f32; CLASSES],
    /// Of this and the last window.
    quickest: [Option<u32>; 2],
    counted: u32,
    target: u32,
}

impl Arrivals {
    /// All in timestamp units. `start`: the delay until something is known.
    pub(super) fn new(units_per_ms: u32, start: u32, least: u32, most: u32) -> Self {
        let mut classes = [0.0; CLASSES];
        let late_ms = (start / units_per_ms.max(1)).saturating_sub(SAFETY_MS);
        if let Some(class) = classes.get_mut((late_ms / CLASS_MS).saturating_sub(1) as usize) {
            *class = 1.0;
        }
        let units_per_ms = units_per_ms.max(1);
        Arrivals { units_per_ms, least, most, classes, quickest: [None; 2], counted: 0, target: start }
    }

    /// Takes an arrival.
    pub(super) fn count(&mut self, arrival: u32) {
        if self.quickest().is_some_and(|quickest| distance32(quickest, arrival) > self.most as i32) {
            // No delay would do: that is another timeline, or lost.
            return;
        }
        self.counted += 1;
        if self.counted >= WINDOW {
            self.counted = 0;
            let [now, _] = self.quickest;
            self.quickest = [None, now];
        }
        let [now, _] = &mut self.quickest;
        *now = Some(now.map_or(arrival, |quickest| later_of(quickest, arrival)));
        let late = self.quickest().map_or(0, |quickest| distance32(quickest, arrival).max(0).unsigned_abs());
        let class = ((late / self.units_per_ms / CLASS_MS) as usize).min(CLASSES - 1);
        let weight = if late + SAFETY_MS * self.units_per_ms > self.target { LATE_WEIGHT } else { WEIGHT };
        for (index, share) in self.classes.iter_mut().enumerate() {
            let kept = *share * (1.0 - weight);
            *share = if kept < NOTHING { 0.0 } else { kept };
            if index == class {
                *share += weight;
            }
        }
        let mut sum = 0.0;
        let within = self.classes.iter().position(|share| {
            sum += share;
            sum >= IN_TIME
        });
        let late_ms = (within.unwrap_or(CLASSES - 1) as u32 + 1) * CLASS_MS;
        self.target = ((late_ms + SAFETY_MS) * self.units_per_ms).clamp(self.least, self.most);
    }

    #[inline]
    pub(super) fn look_ahead(&self) -> u64 {
        // A cache line of them each.
        let lines = self.classes.iter().step_by(16).fold(0, |bits, share| bits ^ share.to_bits());
        u64::from(lines ^ self.counted)
    }

    /// The delay that nearly all packets need, counted from the quickest.
    pub(super) fn target(&self) -> u32 {
        self.target
    }

    /// `None` before the first.
    pub(super) fn quickest(&self) -> Option<u32> {
        self.quickest.into_iter().flatten().reduce(later_of)
    }

    /// Arrivals count from anew; the distribution stays.
    pub(super) fn rebase(&mut self) {
        self.quickest = [None; 2];
        self.counted = 0;
    }
}

fn later_of(a: u32, b: u32) -> u32 {
    if distance32(b, a) > 0 { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals() -> Arrivals {
        Arrivals::new(8, 60 * 8, 25 * 8, 240 * 8)
    }

    #[test]
    fn a_smooth_path_needs_little_and_is_believed_slowly() {
        let mut all = arrivals();
        assert_eq!(all.target(), 480);
        for _ in 0..100 {
            all.count(7000);
        }
        assert!(all.target() > 400, "{}", all.target());
        for _ in 0..2000 {
            all.count(7000);
        }
        assert_eq!(all.target(), 25 * 8);
    }

    #[test]
    fn what_was_long_ago_is_forgotten_for_good() {
        let mut all = arrivals();
        for n in 0..64 {
            all.count(7000 - n * 4 * 8);
        }
        // Half an hour.
        for _ in 0..90_000 {
            all.count(7000);
        }
        assert_eq!(all.classes.iter().filter(|share| **share != 0.0).count(), 1, "{:?}", all.classes);
        assert!((all.classes.iter().sum::<f32>() - 1.0).abs() < 1e-3);
    }

    #[test]
    fn two_that_are_late_are_believed_at_once() {
        let mut all = arrivals();
        for n in 0..2000 {
            all.count(7000 + n % 2);
        }
        for _ in 0..2 {
            all.count(7000 - 100 * 8);
        }
        assert!(all.target() >= 100 * 8, "{}", all.target());
    }

    #[test]
    fn drift_and_a_longer_path_are_no_lateness() {
        let mut all = arrivals();
        let mut arrival = u32::MAX - 500;
        for n in 0..5000_u32 {
            // 200 parts in a million, over the wrap.
            arrival = arrival.wrapping_add(u32::from(n % 31 == 0));
            all.count(arrival);
        }
        assert_eq!(all.target(), 200);
        for _ in 0..6000 {
            all.count(arrival.wrapping_sub(100 * 8));
        }
        assert_eq!(all.target(), 200);
    }
}
