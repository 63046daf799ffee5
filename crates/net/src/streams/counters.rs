//! What has become of connections since the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a connection was closed by us: its peer broke a rule of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It does not take what is queued for it.
    Stalled,
    /// A message was begun and not completed.
    Partial,
    /// It was opened, and nothing came.
    Silent,
    KeepAlive,
    Idle,
}

impl Overdue {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Overdue::Stalled => "the peer does not read",
            Overdue::Partial => "a message was not completed in time",
            Overdue::Silent => "no message came",
            Overdue::KeepAlive => "the peer does not answer keep-alives",
            Overdue::Idle => "idle",
        }
    }
}

/// Written by the streams' thread, read by any.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(super) open: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) made: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) handshakes: AtomicU64,
    pub(super) slow: AtomicU64,
    pub(super) idle: AtomicU64,
    pub(super) unanswered: AtomicU64,
}

/// Connections: how many there are, and what has become of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounters {
    pub open: u64,
    pub accepted: u64,
    /// Opened by us.
    pub made: u64,
    /// That we could not open, for want of a seat too.
    pub failed: u64,
    /// Not accepted, because there are too many in all or of one source.
    pub refused: u64,
    /// Accepted, but TLS or WebSocket was not completed.
    pub handshakes: u64,
    /// Closed because the peer did not read, did not complete a message, or sent none.
    pub slow: u64,
    /// Closed because nothing was said for long.
    pub idle: u64,
    /// Closed because keep-alives were not answered.
    pub unanswered: u64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn open(&self) -> usize {
        usize::try_from(self.open.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    pub(super) fn overdue(&self, why: Overdue) {
        count(match why {
            Overdue::Stalled | Overdue::Partial | Overdue::Silent => &self.slow,
            Overdue::KeepAlive => &self.unanswered,
            Overdue::Idle => &self.idle,
        });
    }

    pub(crate) fn read(&self) -> ConnectionCounters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ConnectionCounters {
            open: of(&self.open),
            accepted: of(&self.accepted),
            made: of(&self.made),
            failed: of(&self.failed),
            refused: of(&self.refused),
            handshakes: of(&self.handshakes),
            slow: of(&self.slow),
            idle: of(&self.idle),
            unanswered: of(&self.unanswered),
        }
    }
}
