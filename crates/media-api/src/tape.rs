//! Audio that is recorded: a queue between a media engine, which never waits, and whoever writes it to a file.
//!
//! The engine says the rate when it begins, pushes blocks, and ends it; the writer takes blocks and says what is on the disk. What the
//! writer is too slow for is lost and becomes silence of the same length, so that the recording keeps its time.
//!
//! Invariant: at most [`Tape::QUEUE_MS`] are held. `end` comes after the last block, `complete` after the file is closed.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

/// Wakes the one who writes.
type Wake = Box<dyn Fn() + Send + Sync>;

/// A piece of a recording: samples, interleaved where there are two channels.
#[derive(Debug)]
pub struct Block {
    /// Sample frames that were lost before it.
    pub lost: u64,
    pub samples: Box<[i16]>,
}

/// One recording.
pub struct Tape {
    stereo: bool,
    /// Hz; 0 until it begins.
    rate: AtomicU32,
    blocks: ArrayQueue<Block>,
    /// Sample frames that did not fit since the last block.
    lost: AtomicU64,
    /// Sample frames pushed or lost.
    recorded: AtomicU64,
    /// Sample frames in the file.
    written: AtomicU64,
    wake: Wake,
    woken: AtomicBool,
    stopped: AtomicBool,
    ended: AtomicBool,
    complete: AtomicBool,
    failure: OnceLock<String>,
}

impl Tape {
    /// Length of a block, by custom of the engines.
    pub const BLOCK_MS: u32 = 100;
    /// A disk may be away for so long.
    pub const QUEUE_MS: u32 = 5000;
    /// The writer is woken for so many blocks.
    const WORTHWHILE: usize = 3;

    pub fn new(stereo: bool, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Tape {
            stereo,
            rate: AtomicU32::new(0),
            blocks: ArrayQueue::new((Self::QUEUE_MS / Self::BLOCK_MS) as usize),
            lost: AtomicU64::new(0),
            recorded: AtomicU64::new(0),
            written: AtomicU64::new(0),
            wake: Box::new(wake),
            woken: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            complete: AtomicBool::new(false),
            failure: OnceLock::new(),
        }
    }

    /// Two channels: received left, sent right. Else one with both mixed.
    pub fn is_stereo(&self) -> bool {
        self.stereo
    }

    pub fn channels(&self) -> u16 {
        1 + u16::from(self.stereo)
    }

    /// Hz; `None` until it begins.
    pub fn rate(&self) -> Option<u32> {
        match self.rate.load(Ordering::Acquire) {
            0 => None,
            rate => Some(rate),
        }
    }

    // ---- the media engine's side

    /// The first block follows.
    pub fn begin(&self, rate: u32) {
        if self.rate.compare_exchange(0, rate, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.call();
        }
    }

    pub fn push(&self, samples: Box<[i16]>) {
        let frames = samples.len() as u64 / u64::from(self.channels());
        let lost = self.lost.swap(0, Ordering::AcqRel);
        if self.blocks.push(Block { lost, samples }).is_err() {
            self.lost.fetch_add(lost + frames, Ordering::AcqRel);
        }
        self.recorded.fetch_add(frames, Ordering::AcqRel);
        if self.blocks.len() >= Self::WORTHWHILE {
            self.call();
        }
    }

    /// Nothing follows.
    pub fn end(&self) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            self.call();
        }
    }

    /// Nobody wants more: the engine ends it.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    // ---- the writer's side

    /// The writer looks now: the next block wakes it anew.
    pub fn looked(&self) {
        self.woken.store(false, Ordering::SeqCst);
    }

    pub fn take(&self) -> Option<Block> {
        self.blocks.pop()
    }

    /// Sample frames lost at the very end, after the last block.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::AcqRel)
    }

    /// No block follows those that can be taken now.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// So many sample frames more are in the file.
    pub fn wrote(&self, frames: u64) {
        self.written.fetch_add(frames, Ordering::AcqRel);
    }

    /// It cannot be written any further.
    pub fn fail(&self, cause: String) {
        let _ = self.failure.set(cause);
        self.stop();
    }

    /// The file is closed.
    pub fn complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    // ---- the program's side

    pub fn stop(&self) {
        if !self.stopped.swap(true, Ordering::AcqRel) {
            self.call();
        }
    }

    /// Seconds recorded so far.
    pub fn recorded_seconds(&self) -> f64 {
        self.seconds(&self.recorded)
    }

    /// Seconds in the file.
    pub fn written_seconds(&self) -> f64 {
        self.seconds(&self.written)
    }

    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Why it could not be written to its end.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    fn seconds(&self, frames: &AtomicU64) -> f64 {
        self.rate().map_or(0.0, |rate| frames.load(Ordering::Acquire) as f64 / f64::from(rate))
    }

    fn call(&self) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            (self.wake)();
        }
    }
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape")
            .field("rate", &self.rate())
            .field("stereo", &self.stereo)
            .field("blocks", &self.blocks.len())
            .field("stopped", &self.stopped)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_where_it_is_missing() {
        let tape = Tape::new(true, || {});
        tape.begin(8000);
        for _ in 0..60 {
            tape.push(vec![0; 1600].into());
        }
        assert_eq!(tape.recorded_seconds(), 6.0);
        for _ in 0..50 {
            assert_eq!(tape.take().map(|block| block.lost), Some(0));
        }
        assert!(tape.take().is_none());
        tape.push(vec![0; 1600].into());
        assert_eq!(tape.take().map(|block| block.lost), Some(10 * 800));
        assert_eq!(tape.take_lost(), 0);
    }
}
