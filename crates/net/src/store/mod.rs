//! The registrar's own store: one SQLite file, written by one thread, so that signalling never waits for a disk.
//!
//! Group commit: whatever has come while the last transaction was written goes into the next one. An answer is given when its
//! transaction is durable (write-ahead log, synchronised in full), so that neither an end of the process nor one of the machine loses a
//! binding that was confirmed. A transaction that fails is rolled back, and all that was in it is answered so.

mod file;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use crossbeam_queue::SegQueue;
use ringback_engine::api::{Record, StoreRequest};
use ringback_time::Now;

use crate::clock;
use crate::os_thread::{self, Thread};
use crate::wake::Waker;
pub(crate) use file::File;

/// Requests in one transaction: what 10 ms of a fast disk take.
const BATCH_MOST: usize = 4096;
/// How often rows whose time is over are looked for: those that could not be deleted when it was, because the disk was full or too much else
/// was under way.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// An answer for `Engine::handle_stored`.
pub(crate) type Stored = (u64, Result<Vec<Record>, String>);

/// The signalling thread's hand on the store's.
#[derive(Debug)]
pub(crate) struct Store {
    requests: Option<Sender<StoreRequest>>,
    answers: Arc<SegQueue<Stored>>,
    thread: Option<Thread>,
}

impl Store {
    /// Starts the thread.
    pub(crate) fn start(file: File, waker: Arc<Waker>) -> io::Result<Store> {
        Store::start_by(clock::now, file, waker)
    }

    fn start_by(clock: impl Fn() -> Now + Send + 'static, file: File, waker: Arc<Waker>) -> io::Result<Store> {
        let (requests, work) = crossbeam_channel::unbounded();
        let answers = Arc::new(SegQueue::new());
        let told = Arc::clone(&answers);
        let thread = os_thread::spawn("rb-store".into(), move || run(clock, file, &work, &told, &waker))?;
        Ok(Store { requests: Some(requests), answers, thread: Some(thread) })
    }

    /// The engine bounds how much is under way.
    pub(crate) fn request(&self, request: StoreRequest) {
        let id = request.id;
        let refused = self.requests.as_ref().is_none_or(|requests| requests.send(request).is_err());
        if refused {
            self.answers.push((id, Err("the store's thread has ended".into())));
        }
    }

    pub(crate) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    pub(crate) fn next(&self) -> Option<Stored> {
        self.answers.pop()
    }

    /// Writes what was asked for and ends; false when that takes longer than `most`.
    pub(crate) fn leave(&mut self, most: Duration) -> bool {
        self.requests = None;
        self.thread.take().is_none_or(|thread| thread.join(most))
    }
}

fn run(
    clock: impl Fn() -> Now,
    mut file: File,
    work: &Receiver<StoreRequest>,
    answers: &SegQueue<Stored>,
    waker: &Waker,
) {
    let mut batch = Vec::new();
    let mut sweep_at = clock().mono + SWEEP_EVERY;
    while let Ok(first) = work.recv() {
        batch.push(first);
        batch.extend(work.try_iter().take(BATCH_MOST - 1));
        for (id, result) in file.carry_out(&mut batch) {
            answers.push((id, result));
        }
        waker.wake();
        let now = clock();
        if sweep_at <= now.mono {
            sweep_at = now.mono + SWEEP_EVERY;
            if let Err(error) = file.sweep(now) {
                tracing::warn!(target: "ringback.registrar", %error, "the binding store keeps what has ended");
            }
        }
    }
}

/// Opens a file, or makes it.
pub(crate) fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
