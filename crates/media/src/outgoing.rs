//! One leg's outgoing RTP stream: one SSRC, sequence numbers without a gap, and timestamps on one clock, whoever feeds it.
//!
//! What the engine makes itself (silence, tones, a program's samples, telephone-events) is stamped by the leg's clock. What is relayed
//! keeps its own timing: sequence numbers and timestamps are moved by an offset, so that the far end sees the loss, order and jitter
//! of the near one and can deal with them. The two take turns:
//! - own after relayed: it goes on where the relayed ended, or at the clock if that is later by a packet or more (the marker says so);
//! - relayed after own: sequence numbers get a new offset; the timestamp offset stays as long as it fits the clock. A packet whose
//!   time was filled meanwhile is late and is dropped; where the next is late too, and comes no sooner than it lasts, the path has become slower,
//!   and all goes on from there.
//!
//! Invariant: `sequence` is the number after the highest that was sent, `next_timestamp` the end of the latest that was sent.

use ringback_rtp::Header;
use ringback_rtp::sequence::distance32;
use ringback_time::Mono;

/// Timestamps of a relayed stream that are off the clock by more get a new offset, in milliseconds.
const RELAYED_OFF_MS: u32 = 1000;
/// A relayed stream that leaves out more packets than this goes on without the gap.
const RELAYED_GAP: u64 = 100;
/// No echo takes longer.
const ECHO_PACKETS: u16 = 1000;
const ECHO_MS: u32 = 20_000;

#[derive(Debug)]
pub(crate) struct Outgoing {
    ssrc: u32,
    sequence: u16,
    next_timestamp: u32,
    started: bool,
    /// The clock: this timestamp belongs to that millisecond.
    anchor_timestamp: u32,
    anchor_ms: u64,
    /// The clock's units a millisecond.
    units_per_ms: u32,
    relayed: Relayed,
    /// The telephone-event that is being passed on from another clock: its stream and timestamp there, its timestamp here.
    event: Option<(u32, u32, u32)>,
    pub(crate) packets: u64,
    pub(crate) octets: u64,
    pub(crate) last_sent: Option<Mono>,
    /// When the relay or echo last brought something, and how long after that nothing is to be filled in.
    fed_ms: Option<u64>,
    fed_for_ms: u64,
    /// What was relayed last is all that is sent as long as it lasts: something else takes over.
    lasting: bool,
    quiet: Quiet,
}

/// Of a sender of Opus that saves packets (DTX).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quiet {
    No,
    /// A packet of silence was sent.
    Begins,
    /// The packet that says so was sent at this millisecond.
    Since(u64),
}

/// How numbers of the stream that is relayed become ours.
#[derive(Debug, Default)]
struct Relayed {
    /// Which stream: another number is another stream.
    stream: u32,
    timestamp_offset: Option<u32>,
    sequence_offset: Option<u16>,
    /// Extended numbers: the first that may go out under this offset, and the highest that did.
    base: u64,
    highest: u64,
    /// When the last one was dropped because it was late, if that was the last one.
    late_ms: Option<u64>,
}

/// A packet about to be relayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    pub(crate) stream: u32,
    pub(crate) extended: u64,
    pub(crate) timestamp: u32,
    pub(crate) units: u32,
    pub(crate) marker: bool,
    /// A telephone-event: its timestamp is that of its start and so no sign of lateness.
    pub(crate) event: bool,
}

impl Outgoing {
    /// RFC 3550 §5.1: all three start at random.
    pub(crate) fn new(ssrc: u32, sequence: u16, timestamp: u32, now_ms: u64) -> Self {
        // Any codec's clock will do until one is known.
        let units_per_ms = 8;
        Outgoing {
            ssrc,
            // In the lower half, so that the first wrap is far (SRTP's roll-over counter starts at zero, RFC 3711 §3.3.1).
            sequence: sequence & 0x7fff,
            next_timestamp: timestamp,
            started: false,
            anchor_timestamp: timestamp,
            anchor_ms: now_ms,
            units_per_ms,
            relayed: Relayed::default(),
            event: None,
            packets: 0,
            octets: 0,
            last_sent: None,
            fed_ms: None,
            fed_for_ms: 0,
            lasting: false,
            quiet: Quiet::No,
        }
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Goes on under another SSRC.
    pub(crate) fn set_ssrc(&mut self, ssrc: u32) {
        self.ssrc = ssrc;
    }

    /// Whether a packet with our SSRC is one that was sent here, and came back.
    pub(crate) fn is_echo(&self, header: &Header) -> bool {
        let behind = self.sequence.wrapping_sub(header.sequence);
        let before = distance32(self.next_timestamp, header.timestamp);
        (1..=ECHO_PACKETS).contains(&behind) && (0..=(ECHO_MS * self.units_per_ms) as i32).contains(&before)
    }

    /// Counts by another codec's clock from `ms` on. RFC 7160 §4.1 would have another SSRC where the rate changes; peers take that for
    /// another call. So the timestamp goes on from where it stands, in the new units.
    pub(crate) fn set_clock(&mut self, ms: u64, units_per_ms: u32) {
        if self.units_per_ms == units_per_ms {
            return;
        }
        let clock = self.clock(ms);
        self.anchor_timestamp =
            if self.started && distance32(self.next_timestamp, clock) > 0 { self.next_timestamp } else { clock };
        self.anchor_ms = ms;
        self.units_per_ms = units_per_ms;
        self.relayed = Relayed::default();
        self.event = None;
    }

    /// The clock at a millisecond.
    pub(crate) fn clock(&self, ms: u64) -> u32 {
        let passed = ms.wrapping_sub(self.anchor_ms) as u32;
        self.anchor_timestamp.wrapping_add(passed.wrapping_mul(self.units_per_ms))
    }

    /// The header of a packet of an event that comes from another clock, of which `units` of ours are over.
    #[allow(clippy::too_many_arguments)] // One packet's numbers.
    pub(crate) fn pass_event(
        &mut self,
        stream: u32,
        timestamp: u32,
        payload_type: u8,
        units: u32,
        octets: usize,
        now: Mono,
        now_ms: u64,
    ) -> Header {
        let (ours, first) = match self.event {
            Some((known, there, here)) if (known, there) == (stream, timestamp) => (here, false),
            _ => (self.own_timestamp(now_ms, 1).0, true),
        };
        self.event = Some((stream, timestamp, ours));
        // What is sent next begins after it.
        let ahead = distance32(self.next_timestamp, ours.wrapping_add(units)).max(0).unsigned_abs();
        self.own(payload_type, ours, first, units.wrapping_add(ahead), octets, now)
    }

    /// The timestamp of an own packet of `units` that is due at `due_ms`, and whether there is a gap before it.
    pub(crate) fn own_timestamp(&self, due_ms: u64, units: u32) -> (u32, bool) {
        let clock = self.clock(due_ms);
        // Ahead of the clock, or behind by less than a packet: what came before was relayed, and its timing not ours.
        if self.started && distance32(clock, self.next_timestamp) < units as i32 {
            (self.next_timestamp, false)
        } else {
            (clock, true)
        }
    }

    /// The header of an own packet, which is thereby counted as sent. `units`: from its timestamp to its end.
    pub(crate) fn own(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        marker: bool,
        units: u32,
        octets: usize,
        now: Mono,
    ) -> Header {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.next_timestamp = timestamp.wrapping_add(units);
        self.lasting = false;
        self.quiet = Quiet::No;
        // What is relayed after this gets numbers after this.
        self.relayed.sequence_offset = None;
        self.count(octets, now);
        Header { marker, payload_type, sequence, timestamp, ssrc: self.ssrc }
    }

    /// The header of a relayed packet; `None`: it is too late for it.
    #[inline]
    pub(crate) fn relay(
        &mut self,
        packet: Incoming,
        payload_type: u8,
        octets: usize,
        now: Mono,
        now_ms: u64,
    ) -> Option<Header> {
        let clock = self.clock(now_ms);
        let most_off = RELAYED_OFF_MS * self.units_per_ms;
        if self.relayed.stream != packet.stream {
            self.relayed = Relayed { stream: packet.stream, ..Relayed::default() };
        }
        let fits = |offset: &u32| {
            let timestamp = packet.timestamp.wrapping_add(*offset);
            distance32(timestamp, clock).unsigned_abs() <= most_off || packet.event
        };
        let mut gap = false;
        let fitting = self.relayed.timestamp_offset.filter(fits);
        let offset = match fitting.filter(|offset| !self.is_slower(&packet, *offset, now_ms)) {
            Some(offset) => offset,
            None => {
                let continued = self.started && distance32(self.next_timestamp, clock) > -(packet.units as i32);
                let start = if continued { self.next_timestamp } else { clock };
                gap = !continued;
                let offset = start.wrapping_sub(packet.timestamp);
                self.relayed.timestamp_offset = Some(offset);
                self.relayed.sequence_offset = None;
                offset
            }
        };
        let timestamp = packet.timestamp.wrapping_add(offset);
        let sequence_offset = match self.relayed.sequence_offset {
            Some(_) if packet.extended < self.relayed.base => return None,
            Some(offset) if packet.extended <= self.relayed.highest + RELAYED_GAP => offset,
            _ => {
                let ahead = distance32(timestamp, self.next_timestamp);
                if self.started && ahead < 0 && !packet.event {
                    self.relayed.late_ms = Some(now_ms);
                    return None;
                }
                gap |= ahead != 0 && !packet.event;
                let offset = self.sequence.wrapping_sub(packet.extended as u16);
                self.relayed.sequence_offset = Some(offset);
                self.relayed.base = packet.extended;
                self.relayed.highest = packet.extended;
                offset
            }
        };
        self.relayed.late_ms = None;
        let sequence = sequence_offset.wrapping_add(packet.extended as u16);
        if packet.extended >= self.relayed.highest {
            self.relayed.highest = packet.extended;
            self.sequence = sequence.wrapping_add(1);
        }
        let end = timestamp.wrapping_add(packet.units);
        if !self.started || distance32(end, self.next_timestamp) > 0 {
            self.next_timestamp = end;
        }
        if !packet.event {
            // The clock follows the relayed stream's own, by one unit a packet: more than any oscillator is off, and less than jitter.
            let off = distance32(timestamp, clock).signum();
            self.anchor_timestamp = self.anchor_timestamp.wrapping_add(off as u32);
        }
        self.count(octets, now);
        Some(Header { marker: packet.marker || gap, payload_type, sequence, timestamp, ssrc: self.ssrc })
    }

    /// Late like the one before it, and not because both were held up and come at once.
    fn is_slower(&self, packet: &Incoming, offset: u32, now_ms: u64) -> bool {
        let late = distance32(packet.timestamp.wrapping_add(offset), self.next_timestamp) < 0;
        // The kernel and we are not exact to the millisecond.
        let lasts_ms = u64::from(packet.units / self.units_per_ms.max(1)) * 3 / 4;
        let since_ms = self.relayed.late_ms.map(|before| now_ms.saturating_sub(before));
        late && !packet.event
            && self.relayed.sequence_offset.is_none()
            && packet.units > 0
            && since_ms >= Some(lasts_ms)
    }

    /// Something came from the relay or the echo, that lasts so long: until twice that and 40 ms have passed nothing is filled in.
    #[inline]
    pub(crate) fn fed(&mut self, now_ms: u64, lasts_ms: u64) {
        self.fed_ms = Some(now_ms);
        self.fed_for_ms = 40 + 2 * lasts_ms.min(100);
    }

    /// The sender of what is relayed has said that it pauses: nothing is filled in for so long, unless it comes back before.
    pub(crate) fn pause(&mut self, now_ms: u64, most_ms: u64) {
        self.fed_ms = Some(now_ms);
        self.fed_for_ms = most_ms;
    }

    pub(crate) fn is_fed(&self, now_ms: u64) -> bool {
        self.fed_ms.is_some_and(|fed| now_ms < fed + self.fed_for_ms)
    }

    /// No turn before this has to send anything in place of what is relayed.
    #[inline]
    pub(crate) fn fed_until(&self) -> u64 {
        self.fed_ms.filter(|_| !self.lasting).map_or(0, |fed| fed + self.fed_for_ms)
    }

    /// The timestamp, as its sender counts, of what follows the packet of `stream` that was sent last; `None` where the last was not one.
    pub(crate) fn relayed_until(&self, stream: u32) -> Option<u32> {
        let offset = self.relayed.timestamp_offset.filter(|_| self.relayed.stream == stream)?;
        self.relayed.sequence_offset?;
        Some(self.next_timestamp.wrapping_sub(offset))
    }

    pub(crate) fn quiet(&self) -> Quiet {
        self.quiet
    }

    /// After `own`, of a packet that is part of a pause.
    pub(crate) fn set_quiet(&mut self, quiet: Quiet) {
        self.quiet = quiet;
    }

    /// No silence is to follow what was sent, until it is over.
    pub(crate) fn lasts(&mut self) {
        self.lasting = true;
    }

    /// Whether what was sent ends later than a packet of `units` before `due_ms`, and something else takes over.
    pub(crate) fn is_lasting(&mut self, due_ms: u64, units: u32) -> bool {
        self.lasting &= distance32(self.clock(due_ms), self.next_timestamp) < units as i32;
        self.lasting
    }

    /// Where what takes over comes a packet after the end of what was sent, the clock waits: nothing is missing. True: it did.
    pub(crate) fn wait(&mut self, due_ms: u64, units: u32) -> bool {
        let late = distance32(self.clock(due_ms), self.next_timestamp);
        let waits = self.lasting && (units as i32..2 * units as i32).contains(&late);
        if waits {
            self.anchor_timestamp = self.anchor_timestamp.wrapping_sub(late.unsigned_abs());
        }
        waits
    }

    /// The extended numbers of what is relayed count something else from now on.
    pub(crate) fn unnumber(&mut self) {
        self.relayed.sequence_offset = None;
    }

    /// What is relayed from now on is another stream, or nothing.
    pub(crate) fn unfeed(&mut self) {
        self.relayed = Relayed::default();
        self.fed_ms = None;
    }

    fn count(&mut self, octets: usize, now: Mono) {
        self.started = true;
        self.packets += 1;
        self.octets += octets as u64;
        self.last_sent = Some(now);
    }
}
