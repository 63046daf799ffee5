use super::{END_PACKETS, Event, SEGMENT_UNITS};

/// One event on its way out.
#[derive(Clone, Debug)]
pub struct EventSender {
    code: u8,
    volume: u8,
    /// Timestamp of the segment.
    timestamp: u32,
    /// Of the segment, so far.
    units: u32,
    /// Of the whole event, still to come.
    left: u32,
    first: bool,
    ends_left: u8,
}

/// What to put into an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// RFC 4733 §2.2.1: on the first packet of an event alone.
    pub marker: bool,
    pub timestamp: u32,
    pub event: Event,
}

impl EventSender {
    /// An event that starts at `timestamp` and lasts `units`.
    pub fn new(code: u8, volume: u8, timestamp: u32, units: u32) -> Self {
        EventSender { code, volume, timestamp, units: 0, left: units.max(1), first: true, ends_left: END_PACKETS }
    }

    /// The next packet, `step` units after the one before; `None` once the last was given out.
    pub fn next(&mut self, step: u32) -> Option<EventPacket> {
        if self.ends_left == 0 {
            return None;
        }
        if self.left > 0 {
            let step = step.clamp(1, self.left);
            self.left -= step;
            self.units += step;
        }
        let timestamp = self.timestamp;
        let (duration, end) = if self.units > SEGMENT_UNITS {
            // RFC 4733 §2.5.1.3: the segment ends with the longest duration and without the E bit; the next one's timestamp is
            // where it ended.
            self.timestamp = timestamp.wrapping_add(SEGMENT_UNITS);
            self.units -= SEGMENT_UNITS;
            (u16::MAX, false)
        } else {
            // RFC 4733 §2.5.1.4: the end packets repeat the final duration.
            (self.units as u16, self.left == 0)
        };
        self.ends_left -= u8::from(end);
        let marker = std::mem::take(&mut self.first);
        Some(EventPacket { marker, timestamp, event: Event { code: self.code, end, volume: self.volume, duration } })
    }

    /// Whether the event itself is over: only repetitions of its end may be left.
    pub fn is_over(&self) -> bool {
        self.ends_left < END_PACKETS
    }

    pub fn is_done(&self) -> bool {
        self.ends_left == 0
    }

    /// Where the timestamps of what follows may start.
    pub fn end_timestamp(&self) -> u32 {
        self.timestamp.wrapping_add(self.units)
    }
}
