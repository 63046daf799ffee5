use std::time::Duration;

use ringback_time::Mono;

use super::{Event, SEGMENT_UNITS, digit_of, distance32};

/// An event whose packets stop coming without an end is over (RFC 4733 §2.5.2.2): updates come each 50 ms at most, and a few of
/// them may be lost.
const SILENT: Duration = Duration::from_millis(200);
/// A timestamp so far behind is not late but on another timeline.
const OTHER_TIMELINE_UNITS: i32 = 8000 * 10;

/// A key that was pressed and let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    pub digit: char,
    /// Timestamp units, over all segments.
    pub units: u32,
}

/// Puts digits together from event packets.
///
/// Invariant: no event whose timestamp is at or before `newest` is begun, so none is reported twice.
#[derive(Clone, Debug, Default)]
pub struct EventReceiver {
    current: Option<Current>,
    /// Timestamp of the newest segment that was begun.
    newest: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    code: u8,
    /// Of the segments before this one.
    past_units: u32,
    units: u16,
    last_arrival: Mono,
}

impl EventReceiver {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the payload of an event packet. `report` is called for each digit that thereby is complete: the one before, if its
    /// end was lost, and this one, if this is its end.
    pub fn packet(&mut self, timestamp: u32, payload: &[u8], now: Mono, mut report: impl FnMut(Digit)) {
        let Some(event) = Event::parse(payload) else { return };
        let ahead = self.newest.map(|newest| distance32(timestamp, newest));
        match (ahead, &mut self.current) {
            (Some(0), Some(current)) if current.code == event.code => {
                current.units = current.units.max(event.duration);
                current.last_arrival = now;
            }
            // Repetitions of what was reported, and what was overtaken by the next event.
            (Some(OTHER_TIMELINE_NEGATIVE..=0), _) => return,
            // RFC 4733 §2.5.1.3: the next segment starts where the one before came to its longest.
            (Some(ahead), Some(current)) if ahead == SEGMENT_UNITS as i32 && current.code == event.code => {
                current.past_units += SEGMENT_UNITS;
                current.units = event.duration;
                current.last_arrival = now;
                self.newest = Some(timestamp);
            }
            _ => {
                self.finish(&mut report);
                self.newest = Some(timestamp);
                self.current =
                    Some(Current { code: event.code, past_units: 0, units: event.duration, last_arrival: now });
            }
        }
        if event.end {
            self.finish(report);
        }
    }

    /// Ends an event whose packets stopped coming.
    pub fn expire(&mut self, now: Mono, report: impl FnMut(Digit)) {
        if self.current.is_some_and(|current| now.since(current.last_arrival) >= SILENT) {
            self.finish(report);
        }
    }

    /// Whether an event is under way, so that `expire` has to be called.
    pub fn is_active(&self) -> bool {
        self.current.is_some()
    }

    /// The key that is down, by the timestamp at which it was pressed: the same over all segments.
    pub fn held(&self) -> Option<u32> {
        let current = self.current.filter(|current| digit_of(current.code).is_some())?;
        Some(self.newest?.wrapping_sub(current.past_units))
    }

    /// The stream was replaced by another with its own timestamps.
    pub fn reset(&mut self, report: impl FnMut(Digit)) {
        self.finish(report);
        self.newest = None;
    }

    fn finish(&mut self, mut report: impl FnMut(Digit)) {
        let Some(current) = self.current.take() else { return };
        if let Some(digit) = digit_of(current.code) {
            report(Digit { digit, units: current.past_units.saturating_add(u32::from(current.units)) });
        }
    }
}

const OTHER_TIMELINE_NEGATIVE: i32 = -OTHER_TIMELINE_UNITS;
