//! The queues between one leg and one program: frames of received audio one way, chunks of samples to send the other. Both ends
//! may work at once and neither ever waits for the other: what does not fit is the program's loss, counted, and nobody else's.
//!
//! Invariant: `progress` holds the clear-generation and the samples sent in it as one value, so that `clear` is exact: the media
//! engine commits a frame under the generation it was written in, or not at all.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_queue::{ArrayQueue, SegQueue};
use parking_lot::Mutex;

const SENT_BITS: u32 = 48;
const SENT_MASK: u64 = (1 << SENT_BITS) - 1;

/// Samples written by the program in one go, and the clear-generation that they belong to.
#[derive(Debug)]
pub struct Playout {
    generation: u64,
    pub samples: Box<[i16]>,
}

/// One `AudioStream`. All samples are mono, at `sample_rate`.
#[derive(Debug)]
pub struct AudioPort {
    sample_rate: u32,
    frame_ms: u32,
    received: ArrayQueue<Box<[i16]>>,
    dropped: AtomicU64,
    to_send: SegQueue<Playout>,
    /// Samples in `to_send`, plus what the media engine has taken of it but not yet sent.
    queued: AtomicUsize,
    capacity: usize,
    /// Generation in the top 16 bits, samples sent in that generation below.
    progress: AtomicU64,
    /// Samples sent over all generations.
    played: AtomicU64,
    /// Serialises writers with `clear`, never taken by the media engine.
    writer: Mutex<()>,
    /// Set while the program has been told and has not looked yet.
    flagged: AtomicBool,
    closed: AtomicBool,
    live: bool,
}

impl AudioPort {
    /// `frame_ms` 10 to 60; `sample_rate` 8000, 16000, 24000 or 48000 (checked by the engine). `queue_ms` bounds what is to be sent, and, with
    /// two seconds more, what was received.
    pub fn new(sample_rate: u32, frame_ms: u32, queue_ms: u32) -> Self {
        // The retained audio (2 s) arrives at once, so the queue of received frames holds that much beside its own bound.
        let frames = ((queue_ms + 2000) / frame_ms.max(1)).max(2) as usize;
        AudioPort {
            sample_rate,
            frame_ms,
            received: ArrayQueue::new(frames),
            dropped: AtomicU64::new(0),
            to_send: SegQueue::new(),
            queued: AtomicUsize::new(0),
            capacity: (sample_rate as usize / 1000) * queue_ms as usize,
            progress: AtomicU64::new(0),
            played: AtomicU64::new(0),
            writer: Mutex::new(()),
            flagged: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            live: false,
        }
    }

    /// What is written is of this moment: it goes by unheard where something else is sent, instead of waiting. Who writes to many calls at once
    /// must not be held up by one of them.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.live = true;
        self
    }

    pub fn is_live(&self) -> bool {
        self.live
    }

    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    pub fn frame_ms(&self) -> u32 {
        self.frame_ms
    }

    /// Samples in a frame of `frame_ms`.
    pub fn frame_samples(&self) -> usize {
        (self.sample_rate as usize * self.frame_ms as usize) / 1000
    }

    // ---- the program's side

    /// The next received frame.
    pub fn read(&self) -> Option<Box<[i16]>> {
        self.received.pop()
    }

    pub fn has_frames(&self) -> bool {
        !self.received.is_empty()
    }

    /// Received frames that wait to be read.
    pub fn waiting_frames(&self) -> usize {
        self.received.len()
    }

    /// Received frames that the program was too slow for.
    pub fn dropped_frames(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Queues as many samples as there is room for and returns how many that was. Zero: full, wait to be woken.
    pub fn write(&self, samples: &[i16]) -> usize {
        let _writer = self.writer.lock();
        if self.is_closed() {
            return 0;
        }
        let taken = self.room().min(samples.len());
        if taken > 0 {
            let generation = self.progress.load(Ordering::Acquire) >> SENT_BITS;
            self.queued.fetch_add(taken, Ordering::AcqRel);
            self.to_send.push(Playout { generation, samples: samples[..taken].into() });
        }
        taken
    }

    /// How many samples `write` would take now.
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.queued.load(Ordering::Acquire))
    }

    /// Drops what is not yet sent; returns the samples sent since the last clear.
    pub fn clear(&self) -> u64 {
        let _writer = self.writer.lock();
        let next = |p: u64| Some(((p >> SENT_BITS).wrapping_add(1) & 0xffff) << SENT_BITS);
        let before = self.progress.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).unwrap_or_else(|p| p);
        before & SENT_MASK
    }

    /// Another after each clear, so that who is still handing over what was to be said before knows.
    pub fn generation(&self) -> u64 {
        self.progress.load(Ordering::Acquire) >> SENT_BITS
    }

    /// Samples sent since the port was opened, exact to the RTP packet.
    pub fn played_samples(&self) -> u64 {
        self.played.load(Ordering::Acquire)
    }

    /// Samples written and not yet sent (what was cleared counts until the media engine passes over it, within a frame).
    pub fn queued_samples(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    /// The program looks at the port now: the next change flags it anew.
    pub fn unflag(&self) {
        self.flagged.store(false, Ordering::Release);
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends the port from either side. Frames already received can still be read.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    // ---- the media engine's side

    /// Hands a received frame over; the oldest goes where the program is too slow.
    pub fn push_received(&self, frame: Box<[i16]>) {
        if self.received.force_push(frame).is_some() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The next chunk to send that was not cleared.
    pub fn take(&self) -> Option<Playout> {
        loop {
            let chunk = self.to_send.pop()?;
            if self.is_current(&chunk) {
                return Some(chunk);
            }
            self.discard(chunk.samples.len());
        }
    }

    /// False once `clear` was called after the chunk was written: drop what is left of it and call `discard` with that count.
    pub fn is_current(&self, chunk: &Playout) -> bool {
        self.progress.load(Ordering::Acquire) >> SENT_BITS == chunk.generation
    }

    pub fn discard(&self, samples: usize) {
        self.queued.fetch_sub(samples, Ordering::AcqRel);
    }

    /// Commits `samples` of `chunk` to the packet about to be sent. False: they were cleared in this very moment and must not be
    /// sent (and are discarded here).
    pub fn commit(&self, chunk: &Playout, samples: usize) -> bool {
        let sent = |p: u64| (p >> SENT_BITS == chunk.generation).then(|| p + samples as u64);
        let committed = self.progress.fetch_update(Ordering::AcqRel, Ordering::Acquire, sent).is_ok();
        if committed {
            self.played.fetch_add(samples as u64, Ordering::AcqRel);
        }
        self.discard(samples);
        committed
    }

    /// True when the program must be told (it was not already): frames came, room came, or the port closed.
    pub fn flag(&self) -> bool {
        !self.flagged.swap(true, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_tells_what_was_sent_and_drops_the_rest() {
        let port = AudioPort::new(8000, 20, 100);
        assert_eq!(port.write(&[7; 1000]), 800, "bounded by 100 ms");
        let chunk = port.take().expect("a chunk");
        assert!(port.commit(&chunk, 160));
        let before = port.generation();
        assert_eq!(port.clear(), 160);
        assert_ne!(port.generation(), before);
        assert!(!port.is_current(&chunk));
        assert!(!port.commit(&chunk, 160), "cleared samples are never sent");
        assert_eq!(port.played_samples(), 160);
        assert_eq!(port.clear(), 0);
    }

    #[test]
    fn a_slow_reader_loses_its_oldest_frames_and_they_are_counted() {
        let port = AudioPort::new(8000, 20, 20);
        for i in 0..200_i16 {
            port.push_received(vec![i; 160].into());
        }
        assert_eq!(port.dropped_frames(), 200 - 101);
        assert_eq!(port.read().expect("a frame")[0], 99);
    }

    #[test]
    fn the_program_is_told_once_until_it_looks() {
        let port = AudioPort::new(16000, 20, 100);
        assert!(port.flag());
        assert!(!port.flag());
        port.unflag();
        assert!(port.flag());
    }
}
