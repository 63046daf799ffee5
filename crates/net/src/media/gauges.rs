//! What the media threads count for anyone to read.

use std::sync::atomic::{AtomicU64, Ordering};

use super::lateness::Lateness;

#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) lateness: Lateness,
    unsent: AtomicU64,
}

impl Gauges {
    /// A packet that the system did not take.
    pub(super) fn count_unsent(&self) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// A system starts, or starts again.
    pub(crate) fn begin(&self) {
        self.unsent.store(0, Ordering::Relaxed);
    }
}
