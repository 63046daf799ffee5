//! A playout buffer that adapts: packets in as they come, pieces out in the order of their timestamps.
//!
//! The cursor is the timestamp that plays next. The first packet puts it a delay before itself, every piece that is taken moves it
//! on, and what arrives behind it is late. The delay follows the distribution of arrivals ([`arrivals`]):
//! - it grows at once, by a gap: when a packet is late and nothing after it was played, it is played all the same; and when
//!   the packets that were overtaken by the playout are too many;
//! - it shrinks in silence, which only the caller knows: it leaves out up to [`JitterBuffer::excess`] units of what says nothing, and
//!   tells so by [`JitterBuffer::left_out`];
//! - it is between [`Settings::least`] and [`Settings::most`].
//!
//! It finds its way back by itself: when nothing was there to play for [`Settings::idle_units`] the next packet sets the cursor
//! anew (a pause of the sender, a path that became slower); a packet too far ahead or behind does it at once (the sender's timeline
//! jumped, or so much is queued that the delay would be heard), and so does the second late one in a row if nothing else waits.
//!
//! Invariant: at most [`SLOTS`] packets are kept, each no longer than [`MAX_PAYLOAD`], whatever comes.

mod arrivals;

use crate::sequence::distance32;
use arrivals::Arrivals;

/// Packets kept at most; a power of two.
pub const SLOTS: usize = 64;
/// Longer payloads are refused: 20 ms of L16 at 48 kHz, more than a frame of Ethernet carries.
pub const MAX_PAYLOAD: usize = 1920;

const NEVER: u64 = u64::MAX;

/// All in timestamp units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a packet waits that comes when it should, until the path is known.
    pub depth: u32,
    /// The shortest wait.
    pub least: u32,
    /// More than this ahead of the cursor is skipped to.
    pub most: u32,
    /// Nothing to play for so long: the next packet begins anew.
    pub idle_units: u32,
    /// Behind the cursor by so much is no late packet but another timeline.
    pub jump: u32,
}

impl Settings {
    /// 60 ms at first: three packets of 20 ms, which is more than the jitter of a wired path or a good wireless one, and with the
    /// packet time itself well below the 150 ms one way that ITU-T G.114 finds transparent. 80 ms until idle, so that sound is back
    /// within 200 ms of any upset (what was queued, the wait, the depth).
    pub const fn for_clock_rate(clock_rate: u32) -> Self {
        let ms = clock_rate / 1000;
        Settings { depth: 60 * ms, least: 25 * ms, most: 240 * ms, idle_units: 80 * ms, jump: 2000 * ms }
    }
}

impl Settings {
    /// `idle_units` are 80 ms.
    const fn unit_per_ms(&self) -> u32 {
        self.idle_units / 80
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Stored,
    /// Its time to play is over.
    Late,
    Duplicate,
    /// Empty or longer than [`MAX_PAYLOAD`].
    Refused,
}

/// The next piece to play.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    Packet {
        /// As given to `push`.
        format: u8,
        payload: &'a [u8],
        /// Units at its beginning that were played already, by a packet it overlaps.
        skip: u32,
    },
    /// Nothing is there for so many units: lost, not yet come, or nothing is being sent.
    Gap(u32),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Came after their time.
    pub late: u64,
    pub duplicate: u64,
    /// Were overtaken, and came in time all the same.
    pub reordered: u64,
    /// Dropped in time, because too much was queued.
    pub skipped: u64,
}

/// See the module.
#[derive(Debug)]
pub struct JitterBuffer {
    settings: Settings,
    slots: Box<[Slot]>,
    /// Payloads, as many as were ever kept at a time; the one that was freed last is used first, so that few are touched.
    buffers: Vec<Vec<u8>>,
    free: Vec<u8>,
    /// Bit `i`: slot `i` holds a packet to play.
    filled: u64,
    cursor: u32,
    /// The cursor means nothing: the next packet sets it.
    idle: bool,
    /// Units for which nothing was there to play.
    empty_units: u32,
    highest: u64,
    /// Units that were given out, gaps included: the clock that arrivals are compared with.
    clock: u32,
    arrivals: Arrivals,
    /// The end of the last packet that was played.
    played: Option<u32>,
    /// Packets in a row that came after their time.
    late_run: u8,
    /// Units by which the playout is to wait, so that the delay becomes longer.
    hold: u32,
    /// Units by which it may wait until something is there, and then waits on.
    expected: Option<(u32, u32)>,
    counters: Counters,
}

/// Stands at its extended sequence number modulo [`SLOTS`], and keeps the number after it was played, to tell a duplicate.
#[derive(Clone, Copy, Debug)]
struct Slot {
    extended: u64,
    timestamp: u32,
    units: u32,
    format: u8,
    /// Which of the buffers, while it holds a packet.
    buffer: u8,
}

impl JitterBuffer {
    pub fn new(settings: Settings) -> Self {
        let empty = Slot { extended: NEVER, timestamp: 0, units: 0, format: 0, buffer: 0 };
        JitterBuffer {
            settings,
            slots: vec![empty; SLOTS].into(),
            buffers: Vec::new(),
            free: Vec::new(),
            filled: 0,
            cursor: 0,
            idle: true,
            empty_units: 0,
            highest: 0,
            clock: 0,
            arrivals: Arrivals::new(settings.unit_per_ms(), settings.depth, settings.least, settings.most),
            played: None,
            late_run: 0,
            hold: 0,
            expected: None,
            counters: Counters::default(),
        }
    }

    /// Takes a packet of `units`. `extended`: its sequence number over wraps. `format` is the caller's, given back with it.
    pub fn push(&mut self, extended: u64, timestamp: u32, units: u32, format: u8, payload: &[u8]) -> Pushed {
        if payload.is_empty() || payload.len() > MAX_PAYLOAD || units == 0 {
            return Pushed::Refused;
        }
        let index = extended as usize % SLOTS;
        if self.slots.get(index).is_some_and(|slot| slot.extended == extended) {
            self.counters.duplicate += 1;
            return Pushed::Duplicate;
        }
        if self.idle {
            // Who begins anew may have taken another path.
            self.arrivals.rebase();
        }
        self.arrivals.count(timestamp.wrapping_sub(self.clock));
        let delay = self.arrivals.target();
        if self.idle {
            self.start_at(timestamp.wrapping_sub(delay));
        }
        let behind = distance32(self.cursor, timestamp);
        if behind > 0 && self.grows(timestamp, behind.unsigned_abs()) {
            // Concealed already, and not overtaken: everything is heard so much later from now on.
            self.cursor = timestamp;
        }
        let ahead = distance32(timestamp.wrapping_add(units), self.cursor);
        if ahead <= 0 {
            // Where nothing else waits, a second one in a row is all that there is to play.
            let alone = self.filled == 0 && self.late_run > 0;
            if ahead.unsigned_abs() < self.settings.jump && !alone {
                self.counters.late += 1;
                self.late_run = self.late_run.saturating_add(1);
                self.remember(index, extended);
                // Two in a second are more than chance.
                self.hold = delay.saturating_sub(self.delay()).min(self.settings.most);
                return Pushed::Late;
            }
            self.arrivals.rebase();
            self.drop_all();
            self.start_at(timestamp.wrapping_sub(delay));
        } else if ahead.unsigned_abs() > self.settings.most.max(delay + units) {
            self.arrivals.rebase();
            self.skip_to(timestamp.wrapping_sub(delay));
        }
        if extended < self.highest {
            self.counters.reordered += 1;
        }
        self.highest = self.highest.max(extended);
        self.empty_units = 0;
        self.late_run = 0;
        if self.filled & (1 << index) != 0 {
            self.counters.skipped += 1;
            self.release(index);
        }
        let buffer = self.free.pop().unwrap_or_else(|| {
            // As many as there are slots at most, each of which has one.
            self.buffers.push(Vec::new());
            (self.buffers.len() - 1) as u8
        });
        if let (Some(slot), Some(octets)) = (self.slots.get_mut(index), self.buffers.get_mut(usize::from(buffer))) {
            octets.clear();
            octets.extend_from_slice(payload);
            *slot = Slot { extended, timestamp, units, format, buffer };
            self.filled |= 1 << index;
        }
        Pushed::Stored
    }

    /// The next piece, at most `want` units of gap or one whole packet, and moves on by it. The caller keeps what it did not need.
    pub fn next(&mut self, want: u32) -> Next<'_> {
        if self.idle {
            self.clock = self.clock.wrapping_add(want);
            return Next::Gap(want);
        }
        if let Some((wait, late)) = self.expected {
            if self.filled == 0 && wait > 0 {
                let gap = wait.min(want);
                self.expected = Some((wait - gap, late));
                self.clock = self.clock.wrapping_add(gap);
                return Next::Gap(gap);
            }
            self.expected = None;
            self.hold = late;
        }
        if self.hold > 0 {
            let gap = self.hold.min(want);
            self.hold -= gap;
            if self.filled == 0 {
                self.empty_units = self.empty_units.saturating_add(gap);
                self.idle = self.empty_units >= self.settings.idle_units;
            }
            self.clock = self.clock.wrapping_add(gap);
            return Next::Gap(gap);
        }
        let Some((index, ahead)) = self.earliest() else {
            self.clock = self.clock.wrapping_add(want);
            self.cursor = self.cursor.wrapping_add(want);
            self.empty_units = self.empty_units.saturating_add(want);
            self.idle = self.empty_units >= self.settings.idle_units;
            return Next::Gap(want);
        };
        if ahead > 0 {
            let gap = ahead.unsigned_abs().min(want);
            self.cursor = self.cursor.wrapping_add(gap);
            self.clock = self.clock.wrapping_add(gap);
            return Next::Gap(gap);
        }
        self.release(index);
        let Some(slot) = self.slots.get(index) else { return Next::Gap(want) };
        self.cursor = slot.timestamp.wrapping_add(slot.units);
        self.played = Some(self.cursor);
        self.clock = self.clock.wrapping_add(slot.units.saturating_sub(ahead.unsigned_abs()));
        // Free again, but untouched until the next packet comes.
        let payload = self.buffers.get(usize::from(slot.buffer)).map_or(&[][..], Vec::as_slice);
        Next::Packet { format: slot.format, payload, skip: ahead.unsigned_abs() }
    }

    /// Whether the delay may become `late` units longer for a packet that is late by so much: nothing after it was played, and it is
    /// not too long.
    fn grows(&self, timestamp: u32, late: u32) -> bool {
        self.played.is_some_and(|played| distance32(timestamp, played) >= 0)
            && self.delay().saturating_add(late) <= self.settings.most
    }

    /// How long the quickest packets wait at present.
    pub fn delay(&self) -> u32 {
        match self.arrivals.quickest() {
            Some(quickest) if !self.idle => {
                distance32(quickest, self.cursor.wrapping_sub(self.clock)).max(0).unsigned_abs()
            }
            _ => self.arrivals.target(),
        }
    }

    /// Units by which the delay is longer than it need be: so many of what says nothing may be left out.
    pub fn excess(&self) -> u32 {
        let (delay, target) = (self.delay(), self.arrivals.target());
        // What is more than the longest is no delay, but a playout that had stopped.
        if self.idle || self.hold > 0 || delay > self.settings.most {
            return 0;
        }
        delay.saturating_sub(target + target / 8)
    }

    /// So many units of what was given out were not played.
    pub fn left_out(&mut self, units: u32) {
        self.clock = self.clock.wrapping_sub(units);
    }

    /// What was pushed did not arrive just now: arrivals count from here on.
    pub fn rebase(&mut self) {
        self.arrivals.rebase();
    }

    /// After a gap: the packet that comes right after it, if it is there already.
    pub fn following(&self) -> Option<(u8, &[u8])> {
        let mut bits = if self.idle { 0 } else { self.filled };
        while bits != 0 {
            let index = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let slot = self.slots.get(index)?;
            if slot.timestamp == self.cursor {
                return Some((slot.format, self.buffers.get(usize::from(slot.buffer))?));
            }
        }
        None
    }

    /// The stream was replaced by another: nothing of it is played any more.
    pub fn reset(&mut self) {
        self.drop_all();
        self.arrivals.rebase();
        self.idle = true;
        self.highest = 0;
        for slot in &mut self.slots {
            slot.extended = NEVER;
        }
    }

    /// Plays from `timestamp` on as soon as something comes, and `late` units after that, but not before `wait` units have passed
    /// without.
    pub fn expect(&mut self, timestamp: u32, wait: u32, late: u32) {
        self.start_at(timestamp);
        self.expected = Some((wait, late));
    }

    /// Plays from `timestamp` on, whatever comes.
    pub fn start_at(&mut self, timestamp: u32) {
        self.cursor = timestamp;
        self.idle = false;
        self.empty_units = 0;
        self.hold = 0;
        self.expected = None;
        // What was played before was on another timeline.
        self.played = None;
    }

    /// Reads a bit of each part of it, so that a caller who has many buffers does not wait for the memory of each in turn. What is
    /// returned means nothing.
    #[inline]
    pub fn look_ahead(&self) -> u64 {
        self.arrivals.look_ahead() ^ self.counters.late ^ self.filled ^ u64::from(self.settings.depth)
    }

    /// The same for what the next `push` needs beyond that.
    #[inline]
    pub fn look_ahead_at_push(&self) -> u64 {
        let next = (self.highest as usize).wrapping_add(1) % SLOTS;
        self.slots.get(next).map_or(0, |slot| slot.extended)
    }

    /// The same for `next`.
    #[inline]
    pub fn look_ahead_at_next(&self) -> u64 {
        let first = self.slots.get(self.filled.trailing_zeros() as usize);
        let octets = first.and_then(|slot| self.buffers.get(usize::from(slot.buffer)));
        let octet = |at: usize| octets.and_then(|octets| octets.get(at)).map_or(0, |octet| u64::from(*octet));
        octet(0) ^ octet(64) ^ octet(128)
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Packets that wait to be played.
    pub fn len(&self) -> usize {
        self.filled.count_ones() as usize
    }

    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// The filled slot with the lowest timestamp, and how far that is ahead of the cursor. What is wholly behind is dropped.
    fn earliest(&mut self) -> Option<(usize, i32)> {
        let mut best: Option<(usize, i32)> = None;
        let mut bits = self.filled;
        while bits != 0 {
            let index = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let Some(slot) = self.slots.get(index) else { continue };
            let ahead = distance32(slot.timestamp, self.cursor);
            if ahead < 0 && ahead.unsigned_abs() >= slot.units {
                self.release(index);
                self.counters.skipped += 1;
            } else if best.is_none_or(|(_, least)| ahead < least) {
                best = Some((index, ahead));
            }
        }
        best
    }

    fn skip_to(&mut self, timestamp: u32) {
        self.start_at(timestamp);
        // Drops what is behind it, and counts that.
        self.earliest();
        // What is now beyond the horizon was on another timeline.
        let mut bits = self.filled;
        while bits != 0 {
            let index = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let far = self.slots.get(index).is_none_or(|slot| {
                distance32(slot.timestamp, timestamp).unsigned_abs() > self.settings.most + self.settings.jump
            });
            if far {
                self.release(index);
                self.counters.skipped += 1;
            }
        }
    }

    fn drop_all(&mut self) {
        self.counters.skipped += u64::from(self.filled.count_ones());
        while self.filled != 0 {
            self.release(self.filled.trailing_zeros() as usize);
        }
        self.empty_units = 0;
    }

    /// The slot's packet is not kept any longer.
    fn release(&mut self, index: usize) {
        self.filled &= !(1 << index);
        if let Some(slot) = self.slots.get(index) {
            self.free.push(slot.buffer);
        }
    }

    /// Notes that a packet came, though it is not kept. The slot's own packet, if it waits, goes first.
    fn remember(&mut self, index: usize, extended: u64) {
        if self.filled & (1 << index) == 0
            && let Some(slot) = self.slots.get_mut(index)
        {
            slot.extended = extended;
        }
    }
}

#[cfg(test)]
mod tests;
