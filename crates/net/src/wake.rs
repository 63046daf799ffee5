//! Wakes a thread that sleeps in epoll, and costs nothing while it is awake.
//!
//! Invariant: whoever has pushed to a queue of the sleeper calls `wake` afterwards; the sleeper calls `prepare`, then looks at all its
//! queues once more, and only then sleeps. One of the two always sees the other (both sides have a sequentially consistent fence).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crate::sys::EventFd;

#[derive(Debug)]
pub(crate) struct Waker {
    fd: EventFd,
    asleep: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Waker { fd: EventFd::new()?, asleep: AtomicBool::new(false) })
    }

    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            self.fd.notify();
        }
    }

    /// The sleeper is about to look at its queues for the last time.
    pub(crate) fn prepare(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The sleeper is up again.
    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// After epoll found it readable.
    pub(crate) fn clear(&self) {
        self.fd.clear();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
