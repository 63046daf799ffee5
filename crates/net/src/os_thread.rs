//! Threads that can be waited for with a limit.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::sys;

/// A running thread. Dropped, it goes on alone.
#[derive(Debug)]
pub(crate) struct Thread {
    handle: JoinHandle<()>,
    /// Closed by the thread as the last it does.
    ended: Receiver<()>,
}

/// Starts a thread that takes no signals.
pub(crate) fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
    let (running, ended) = channel::<()>();
    let handle = std::thread::Builder::new().name(name).spawn(move || {
        let _running = running;
        sys::block_signals();
        work();
    })?;
    Ok(Thread { handle, ended })
}

impl Thread {
    /// Waits for its end, no longer than `most`; false when it still runs, and is left to itself.
    pub(crate) fn join(self, most: Duration) -> bool {
        match self.ended.recv_timeout(most) {
            Err(RecvTimeoutError::Timeout) => false,
            // Ended or about to return; a panic is the thread's own affair and was logged there.
            _ => {
                let _ = self.handle.join();
                true
            }
        }
    }

    /// In a forked child there is no such thread: its handle must not be touched.
    pub(crate) fn forget(self) {
        std::mem::forget(self.handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_waited_for_but_not_for_ever() {
        assert!(spawn("quick".into(), || {}).expect("a thread").join(Duration::from_secs(20)));
        let (stop, stopped) = channel::<()>();
        let thread = spawn("slow".into(), move || {
            let _ = stopped.recv();
        })
        .expect("a thread");
        assert!(!thread.join(Duration::from_millis(1)));
        drop(stop);
    }

    #[test]
    fn a_panic_within_does_not_reach_the_one_who_waits() {
        let thread = spawn("broken".into(), || std::panic::resume_unwind(Box::new("broken"))).expect("a thread");
        assert!(thread.join(Duration::from_secs(20)));
    }
}
