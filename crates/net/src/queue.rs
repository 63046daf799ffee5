//! What a program is told: one queue a system, drained by the program's own loop when the descriptor becomes readable.
//!
//! Nothing here ever waits for the program, and the program never waits for a media thread: events and log records are behind two
//! locks held for the time of a push, audio readiness is lock-free. No lifecycle event is ever lost. What a peer can multiply while
//! the program sleeps is bounded: audio by its ports (each is queued once until the program looks at it), log records by count and
//! size (the oldest go, counted), other events by [`EVENTS_MOST`] (then only those go on that begin, answer, or end something).
//!
//! The descriptor is written at once after idle, then at most every [`WAKE_INTERVAL`]. A wake that must wait is the duty of the thread
//! that pushed: its [`Producer`] tells it when.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::time::Duration;

use crossbeam_queue::SegQueue;
use parking_lot::Mutex;
use ringback_engine::api::{BridgeEventKind, Event};
use ringback_media_api::AudioPort;
use ringback_time::Mono;

use crate::clock;
use crate::log::{LogLevels, LogRecord, LogRing};
use crate::sys::EventFd;

/// Between two wakes of a busy program.
pub const WAKE_INTERVAL: Duration = Duration::from_micros(500);

/// Undelivered events beyond which those are dropped, and counted, that a peer or a timer can repeat at will.
const EVENTS_MOST: usize = 262_144;

/// One thing that a program is told.
#[derive(Clone, Debug)]
pub enum Notice {
    Event(Event),
    /// The port has frames to read, or room to write, or was closed. Call `unflag` before looking.
    Audio(Arc<AudioPort>),
    Log(LogRecord),
}

#[derive(Debug)]
pub struct EventQueue {
    fd: EventFd,
    events: Mutex<VecDeque<(Mono, Event)>>,
    audio: SegQueue<Arc<AudioPort>>,
    logs: Mutex<LogRing>,
    levels: LogLevels,
    /// All that is undelivered.
    pending: AtomicUsize,
    /// The descriptor was written and the program has not drained since.
    signalled: AtomicBool,
    last_wake: AtomicU64,
    /// When the oldest undelivered event was pushed, 0: none.
    oldest: AtomicU64,
    dropped: AtomicU64,
    /// The process that made it: a forked child shares the descriptor and must not eat its parent's wakes.
    pid: u32,
}

impl EventQueue {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(EventQueue {
            fd: EventFd::new()?,
            events: Mutex::new(VecDeque::new()),
            audio: SegQueue::new(),
            logs: Mutex::new(LogRing::default()),
            levels: LogLevels::default(),
            pending: AtomicUsize::new(0),
            signalled: AtomicBool::new(false),
            last_wake: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            pid: std::process::id(),
        })
    }

    /// Readable when there is something to drain. Non-blocking, close-on-exec, owned by the queue: wait for it, do nothing else.
    pub fn fd(&self) -> RawFd {
        self.fd.as_fd().as_raw_fd()
    }

    /// Which log records are made. Shared with all threads of the system.
    pub fn log_levels(&self) -> &LogLevels {
        &self.levels
    }

    /// Events that were dropped because the program did not drain (never one that begins, answers, or ends something).
    pub fn dropped_events(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Moves up to `most` notices into `into`; true when more is left, for which the descriptor is readable already. Events of one
    /// session keep their order.
    pub fn drain(&self, into: &mut Vec<Notice>, most: usize) -> bool {
        if std::process::id() != self.pid {
            return false;
        }
        self.fd.clear();
        self.signalled.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);

        let before = into.len();
        // A program flooded with events still sees its log.
        let for_logs = self.logs.lock().len().min(most / 8);
        {
            let mut events = self.events.lock();
            let taken = events.len().min(most - for_logs);
            into.extend(events.drain(..taken).map(|(_, event)| Notice::Event(event)));
            self.note_oldest(&events);
            if events.is_empty() && events.capacity() > 4096 {
                events.shrink_to(1024);
            }
        }
        while into.len() - before < most - for_logs {
            let Some(port) = self.audio.pop() else { break };
            into.push(Notice::Audio(port));
        }
        self.pending.fetch_sub(into.len() - before, Ordering::AcqRel);
        let left = most - (into.len() - before);
        let (records, removed) = self.logs.lock().take(left);
        self.pending.fetch_sub(removed, Ordering::AcqRel);
        into.extend(records.into_iter().map(Notice::Log));

        let more = self.pending.load(Ordering::Acquire) > 0;
        if more && !self.signalled.swap(true, Ordering::SeqCst) {
            self.fd.notify();
        }
        more
    }

    /// How long the oldest undelivered event has waited.
    pub fn backlog(&self, now: Mono) -> Option<Duration> {
        match self.oldest.load(Ordering::Acquire) {
            0 => None,
            since => Some(now.since(Mono::from_nanos(since))),
        }
    }

    fn note_oldest(&self, events: &VecDeque<(Mono, Event)>) {
        self.oldest.store(events.front().map_or(0, |(at, _)| at.as_nanos().max(1)), Ordering::Release);
    }

    /// In one lock a batch.
    pub(crate) fn push_events(&self, now: Mono, batch: &mut Vec<Event>) {
        if batch.is_empty() {
            return;
        }
        let mut events = self.events.lock();
        let before = events.len();
        for event in batch.drain(..) {
            if events.len() >= EVENTS_MOST && is_repeatable(&event) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            } else {
                events.push_back((now, event));
            }
        }
        self.pending.fetch_add(events.len() - before, Ordering::AcqRel);
        self.note_oldest(&events);
    }

    pub(crate) fn push_audio(&self, port: Arc<AudioPort>) {
        self.pending.fetch_add(1, Ordering::AcqRel);
        self.audio.push(port);
    }

    pub(crate) fn push_log(&self, record: LogRecord) {
        let mut logs = self.logs.lock();
        let before = logs.len();
        logs.push(record);
        // What the ring dropped for it is not pending any more.
        let after = logs.len();
        if after >= before {
            self.pending.fetch_add(after - before, Ordering::AcqRel);
        } else {
            self.pending.fetch_sub(before - after, Ordering::AcqRel);
        }
    }

    /// Writes the descriptor if that is due: `None`, or not yet: when.
    fn wake(&self, now: Mono) -> Option<Mono> {
        fence(Ordering::SeqCst);
        if self.signalled.load(Ordering::Relaxed) || self.pending.load(Ordering::Acquire) == 0 {
            return None;
        }
        let due = Mono::from_nanos(self.last_wake.load(Ordering::Acquire)) + WAKE_INTERVAL;
        if now < due {
            return Some(due);
        }
        self.wake_at_once(now);
        None
    }

    fn wake_at_once(&self, now: Mono) {
        if !self.signalled.swap(true, Ordering::SeqCst) {
            self.last_wake.store(now.as_nanos(), Ordering::Release);
            self.fd.notify();
        }
    }
}

impl AsFd for EventQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Events that a peer or a timer can make any number of within one call.
fn is_repeatable(event: &Event) -> bool {
    matches!(
        event,
        Event::Progress { .. }
            | Event::StateChanged { .. }
            | Event::Dtmf { .. }
            | Event::MediaQuality { .. }
            | Event::MediaTimeout { .. }
            | Event::VoiceActivity { .. }
            | Event::Bridge { kind: BridgeEventKind::Talking | BridgeEventKind::Silent, .. }
    )
}

/// One thread's hand on the queue. After a thread has pushed, and before it sleeps, it calls [`Producer::wake`] and puts the moment
/// that it gets among its deadlines.
#[derive(Debug)]
pub(crate) struct Producer {
    queue: Arc<EventQueue>,
    dirty: AtomicBool,
}

impl Producer {
    pub(crate) fn new(queue: Arc<EventQueue>) -> Self {
        Producer { queue, dirty: AtomicBool::new(false) }
    }

    pub(crate) fn queue(&self) -> &EventQueue {
        &self.queue
    }

    pub(crate) fn events(&self, now: Mono, batch: &mut Vec<Event>) {
        if !batch.is_empty() {
            self.queue.push_events(now, batch);
            self.dirty.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn audio(&self, port: Arc<AudioPort>) {
        self.queue.push_audio(port);
        self.dirty.store(true, Ordering::Relaxed);
    }

    pub(crate) fn log(&self, record: LogRecord) {
        self.queue.push_log(record);
        self.dirty.store(true, Ordering::Relaxed);
    }

    /// Wakes the program if something was pushed here and it is due, or says when it will be.
    pub(crate) fn wake(&self, now: Mono) -> Option<Mono> {
        if !self.dirty.load(Ordering::Relaxed) {
            return None;
        }
        let due = self.queue.wake(now);
        if due.is_none() {
            self.dirty.store(false, Ordering::Relaxed);
        }
        due
    }

    /// For a thread that cannot come back later, because it ends or has no deadlines of its own.
    pub(crate) fn wake_at_once(&self) {
        if self.dirty.swap(false, Ordering::Relaxed) {
            fence(Ordering::SeqCst);
            if self.queue.pending.load(Ordering::Acquire) > 0 {
                self.queue.wake_at_once(clock::mono());
            }
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.wake_at_once();
    }
}

#[cfg(test)]
mod tests;
