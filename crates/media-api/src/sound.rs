//! Audio that is played from elsewhere (a file, a program's array): a queue between whoever fills it at leisure and a media engine that
//! never waits.
//!
//! The engine says at which rate it wants the samples when it begins ([`Sound::begin`]), takes chunks as it sends them, and has the filler
//! woken whenever half the queue is free. Either side may end it: the filler by `finish` or `fail`, everyone else by `stop`.
//!
//! Invariant: at most [`Sound::QUEUE_MS`] are held, however long the source is.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crossbeam_queue::ArrayQueue;

/// Wakes the one who fills.
type Wake = Box<dyn Fn() + Send + Sync>;

/// One thing to be played, once. Mono samples.
pub struct Sound {
    /// Hz; 0 until it begins.
    rate: AtomicU32,
    chunks: ArrayQueue<Box<[i16]>>,
    wake: Wake,
    /// The filler was woken and has not looked yet.
    woken: AtomicBool,
    /// No more chunks will come.
    finished: AtomicBool,
    /// No more chunks are wanted.
    stopped: AtomicBool,
    failure: OnceLock<String>,
}

impl Sound {
    /// Length of a chunk, by custom of the fillers, and how much is held at most.
    pub const CHUNK_MS: u32 = 100;
    pub const QUEUE_MS: u32 = 1000;

    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Sound {
            rate: AtomicU32::new(0),
            chunks: ArrayQueue::new((Self::QUEUE_MS / Self::CHUNK_MS) as usize),
            wake: Box::new(wake),
            woken: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            failure: OnceLock::new(),
        }
    }

    /// All of a short sound at once, which nobody needs to fill.
    pub fn of(rate: u32, samples: &[i16]) -> Self {
        let sound = Sound { chunks: ArrayQueue::new(1), ..Sound::new(|| {}) };
        sound.rate.store(rate, Ordering::Release);
        if !samples.is_empty() {
            sound.chunks.force_push(samples.into());
        }
        sound.finish();
        sound
    }

    // ---- who plays it

    /// The samples are wanted now, at `rate` Hz. The first rate stays.
    pub fn begin(&self, rate: u32) {
        if self.rate.compare_exchange(0, rate, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.call();
        }
    }

    /// The next chunk; `None`: none is ready, which is the end only where [`Sound::is_over`] says so.
    pub fn take(&self) -> Option<Box<[i16]>> {
        let chunk = self.chunks.pop();
        if self.chunks.len() <= self.chunks.capacity() / 2 && !self.finished.load(Ordering::Acquire) {
            self.call();
        }
        chunk
    }

    /// Nothing is left to play.
    pub fn is_over(&self) -> bool {
        // In this order: what was pushed before the end is seen.
        self.is_stopped() || (self.finished.load(Ordering::Acquire) && self.chunks.is_empty())
    }

    // ---- who fills it

    /// Hz; `None` until it begins.
    pub fn rate(&self) -> Option<u32> {
        match self.rate.load(Ordering::Acquire) {
            0 => None,
            rate => Some(rate),
        }
    }

    /// The filler looks now: the next that is wanted wakes it anew.
    pub fn looked(&self) {
        self.woken.store(false, Ordering::SeqCst);
    }

    /// Room for another chunk.
    pub fn has_room(&self) -> bool {
        !self.chunks.is_full()
    }

    /// Hands a chunk over; gives it back where there is no room.
    pub fn push(&self, chunk: Box<[i16]>) -> Result<(), Box<[i16]>> {
        self.chunks.push(chunk)
    }

    /// What was pushed is all.
    pub fn finish(&self) {
        self.finished.store(true, Ordering::Release);
    }

    /// It cannot be filled any further. What was pushed is still played.
    pub fn fail(&self, cause: String) {
        let _ = self.failure.set(cause);
        self.finish();
    }

    // ---- anyone

    /// Ends it: nothing more is filled in, nor played.
    pub fn stop(&self) {
        if !self.stopped.swap(true, Ordering::AcqRel) && !self.finished.load(Ordering::Acquire) {
            self.call();
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Why it could not be filled to its end.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    fn call(&self) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            (self.wake)();
        }
    }
}

impl fmt::Debug for Sound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sound")
            .field("rate", &self.rate())
            .field("chunks", &self.chunks.len())
            .field("finished", &self.finished)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn the_filler_is_woken_once_until_it_looks() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&wakes);
        let sound = Sound::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        sound.begin(8000);
        sound.begin(16_000);
        assert_eq!((sound.rate(), wakes.load(Ordering::SeqCst)), (Some(8000), 1));
        sound.looked();
        while sound.has_room() {
            sound.push(vec![1; 800].into()).expect("room");
        }
        assert!(sound.push(vec![2].into()).is_err());
        for _ in 0..4 {
            assert!(sound.take().is_some());
        }
        assert_eq!(wakes.load(Ordering::SeqCst), 1, "more than half is there");
        for _ in 0..6 {
            assert!(sound.take().is_some());
        }
        assert_eq!(wakes.load(Ordering::SeqCst), 2);
        assert!(sound.take().is_none() && !sound.is_over());
        sound.fail("the disk is gone".into());
        assert!(sound.is_over());
        assert_eq!(sound.failure(), Some("the disk is gone"));
    }

    #[test]
    fn a_short_sound_is_all_there() {
        let sound = Sound::of(8000, &[1, 2, 3]);
        assert!(!sound.is_over());
        assert_eq!(sound.take().as_deref(), Some(&[1, 2, 3][..]));
        assert!(sound.is_over() && Sound::of(8000, &[]).is_over());
        let stopped = Sound::of(8000, &[1]);
        stopped.stop();
        assert!(stopped.is_over());
    }
}
