//! The view of a session that every thread may read while the engine writes it: state in atomics, what never changes in plain
//! fields, what is set once in `OnceLock`s. The engine is the only writer.

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;
use ringback_sip::Reason;
use ringback_time::{Mono, Wall};

use crate::api::SessionId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Incoming,
    Outgoing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    Initiating = 0,
    Ringing = 1,
    Active = 2,
    /// We hold; being held is `remote_hold`.
    OnHold = 3,
    Transferring = 4,
    Terminated = 5,
    /// Given up before an answer.
    Cancelled = 6,
    /// Refused with a final response.
    Rejected = 7,
    /// No way to the peer, no answer from the network, transport or media error.
    Failed = 8,
}

impl State {
    const ALL: [State; 9] = [
        State::Initiating,
        State::Ringing,
        State::Active,
        State::OnHold,
        State::Transferring,
        State::Terminated,
        State::Cancelled,
        State::Rejected,
        State::Failed,
    ];

    pub const fn is_final(self) -> bool {
        matches!(self, State::Terminated | State::Cancelled | State::Rejected | State::Failed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Initiating => "initiating",
            State::Ringing => "ringing",
            State::Active => "active",
            State::OnHold => "on hold",
            State::Transferring => "transferring",
            State::Terminated => "terminated",
            State::Cancelled => "cancelled",
            State::Rejected => "rejected",
            State::Failed => "failed",
        })
    }
}

/// Why a call ended: what `wait_for_answer` raises is made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// BYE either way, or a timeout after the answer.
    Normal,
    Cancelled,
    /// The peer's final response, or ours. `targets` are the contacts of a 3xx.
    Rejected {
        status: u16,
        reason: String,
        targets: Vec<String>,
    },
    Failed {
        status: Option<u16>,
        cause: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// "hangup", "remote hangup", "cancelled", "rejected 486 Busy Here", "timeout", ...
    pub reason: String,
    pub cause: EndCause,
    pub at: Wall,
    /// What the peer's BYE, CANCEL or final response said of why (RFC 3326): the Reason header's values.
    pub remote_reason: Option<Box<str>>,
}

impl End {
    /// The caller gave up because the call was answered on another telephone (RFC 3326 §3.1): nobody has missed it.
    pub fn completed_elsewhere(&self) -> bool {
        let reasons = self.remote_reason.as_deref().unwrap_or_default();
        self.cause == EndCause::Cancelled && Reason::parse_all(reasons).any(|reason| reason.is_completed_elsewhere())
    }
}

#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    pub direction: Direction,
    pub from_uri: Box<str>,
    pub to_uri: Box<str>,
    pub call_id: Box<str>,
    pub started_at: Wall,
    state: AtomicU8,
    remote_hold: AtomicBool,
    /// Someone waits for the answer or the end: `Event::Established` and `Event::Ended` are wanted whatever `Interest` says.
    watched: AtomicBool,
    /// Unix nanoseconds, 0 while unanswered.
    answered_at: AtomicU64,
    /// `SessionId`, as bytes: without its alignment a session is 32 bytes smaller.
    peer: Mutex<Option<[u8; 16]>>,
    end: OnceLock<Box<End>>,
}

impl Session {
    pub fn new(
        id: SessionId,
        direction: Direction,
        from_uri: impl Into<Box<str>>,
        to_uri: impl Into<Box<str>>,
        call_id: impl Into<Box<str>>,
        started_at: Wall,
    ) -> Self {
        Session {
            id,
            direction,
            from_uri: from_uri.into(),
            to_uri: to_uri.into(),
            call_id: call_id.into(),
            started_at,
            state: AtomicU8::new(State::Initiating as u8),
            remote_hold: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            answered_at: AtomicU64::new(0),
            peer: Mutex::new(None),
            end: OnceLock::new(),
        }
    }

    /// Who we are in this call.
    pub fn local_uri(&self) -> &str {
        match self.direction {
            Direction::Incoming => &self.to_uri,
            Direction::Outgoing => &self.from_uri,
        }
    }

    pub fn state(&self) -> State {
        let raw = self.state.load(Ordering::SeqCst);
        State::ALL.get(raw as usize).copied().unwrap_or(State::Failed)
    }

    pub fn remote_hold(&self) -> bool {
        self.remote_hold.load(Ordering::Relaxed)
    }

    pub fn answered_at(&self) -> Option<Wall> {
        match self.answered_at.load(Ordering::SeqCst) {
            0 => None,
            nanos => Some(Wall::from_unix_nanos(nanos)),
        }
    }

    pub fn peer(&self) -> Option<SessionId> {
        self.peer.lock().map(|id| SessionId::from_u128(u128::from_ne_bytes(id)))
    }

    /// `Some` from the moment the state is final.
    pub fn end(&self) -> Option<&End> {
        self.end.get().map(|end| &**end)
    }

    /// Asks for the events of the answer and the end. The caller must look at the state again afterwards: what happened before
    /// is not reported.
    pub fn watch(&self) {
        self.watched.store(true, Ordering::SeqCst);
    }

    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::SeqCst)
    }

    // ---- for the engine

    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::SeqCst);
    }

    pub(crate) fn set_remote_hold(&self, held: bool) {
        self.remote_hold.store(held, Ordering::Relaxed);
    }

    pub(crate) fn set_answered(&self, at: Wall) {
        self.answered_at.store(at.unix_nanos().max(1), Ordering::SeqCst);
    }

    pub(crate) fn set_peer(&self, peer: Option<SessionId>) {
        *self.peer.lock() = peer.map(|id| id.as_u128().to_ne_bytes());
    }

    /// Sets the end, then the final state, in this order, so that whoever sees a final state finds its end.
    pub(crate) fn finish(&self, state: State, end: End) {
        if self.end.set(Box::new(end)).is_ok() {
            self.set_state(state);
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    pub active_sessions: u64,
    pub total_sessions: u64,
    pub failed_sessions: u64,
    /// Seconds, of answered and ended calls; `None` before the first.
    pub average_duration: Option<f64>,
}

/// All sessions of one system that are alive or ended less than a minute ago (the 65,536 latest at most). Read from any thread;
/// goes on answering after the system stopped.
#[derive(Debug, Default)]
pub struct Directory {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    live: std::collections::HashMap<SessionId, Arc<Session>, foldhash::fast::RandomState>,
    ended: std::collections::HashMap<SessionId, Arc<Session>, foldhash::fast::RandomState>,
    /// Oldest first, with the time each is forgotten.
    order: std::collections::VecDeque<(Mono, SessionId)>,
    total: u64,
    failed: u64,
    answered: u64,
    answered_seconds: f64,
}

impl Directory {
    pub const ENDED_MOST: usize = 65_536;
    pub const ENDED_KEPT: std::time::Duration = std::time::Duration::from_secs(60);

    pub fn get(&self, id: SessionId) -> Option<Arc<Session>> {
        let inner = self.inner.lock();
        inner.live.get(&id).or_else(|| inner.ended.get(&id)).cloned()
    }

    /// In no particular order.
    pub fn active(&self) -> Vec<SessionId> {
        self.inner.lock().live.keys().copied().collect()
    }

    pub fn stats(&self) -> Stats {
        let inner = self.inner.lock();
        Stats {
            active_sessions: inner.live.len() as u64,
            total_sessions: inner.total,
            failed_sessions: inner.failed,
            average_duration: (inner.answered > 0).then(|| inner.answered_seconds / inner.answered as f64),
        }
    }

    // ---- for the engine

    pub(crate) fn insert(&self, session: Arc<Session>) {
        let mut inner = self.inner.lock();
        inner.total += 1;
        inner.live.insert(session.id, session);
    }

    /// Moves a session that has reached a final state out of lists and counts.
    pub(crate) fn retire(&self, id: SessionId, now: Mono) {
        let mut inner = self.inner.lock();
        let Some(session) = inner.live.remove(&id) else { return };
        if session.state() == State::Failed {
            inner.failed += 1;
        }
        if let (Some(answered), Some(end)) = (session.answered_at(), session.end()) {
            inner.answered += 1;
            inner.answered_seconds += (end.at.unix_seconds() - answered.unix_seconds()).max(0.0);
        }
        inner.ended.insert(id, session);
        inner.order.push_back((now + Self::ENDED_KEPT, id));
        inner.forget(now);
    }

    pub(crate) fn forget(&self, now: Mono) {
        self.inner.lock().forget(now);
    }

    pub(crate) fn shrink(&self) {
        let Inner { live, ended, order, .. } = &mut *self.inner.lock();
        live.shrink_to(2 * live.len());
        ended.shrink_to(2 * ended.len());
        order.shrink_to(2 * order.len());
    }

    pub(crate) fn has_ended(&self) -> bool {
        !self.inner.lock().order.is_empty()
    }
}

impl Inner {
    fn forget(&mut self, now: Mono) {
        while let Some(&(at, id)) = self.order.front() {
            if at > now && self.order.len() <= Directory::ENDED_MOST {
                break;
            }
            self.order.pop_front();
            self.ended.remove(&id);
        }
    }
}
