//! Commands on their way from the program to the signalling thread, first come, first served.
//!
//! Invariant: what was accepted is either handled or answered by `close`, so that no command goes without its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use ringback_engine::api::{Command, Error, Event};
use ringback_media_api::Token;

use crate::wake::Waker;

#[derive(Debug)]
pub(crate) struct Inbox {
    /// `None`: closed.
    commands: Mutex<Option<Vec<Command>>>,
    waiting: AtomicBool,
    /// Counts starts and ends: the number that a thread was started with holds until it is to leave. A thread that was given up as stuck
    /// and comes back finds another one, and leaves its successor's commands alone.
    run: AtomicU64,
    waker: Arc<Waker>,
}

impl Inbox {
    /// Closed at first.
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Inbox { commands: Mutex::new(None), waiting: AtomicBool::new(false), run: AtomicU64::new(0), waker }
    }

    pub(crate) fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// For a new thread: the number of its run.
    pub(crate) fn open(&self) -> u64 {
        self.commands.lock().get_or_insert_default();
        self.run.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Takes no more, and returns the answers to what was not handled.
    pub(crate) fn close(&self) -> Vec<Event> {
        self.waiting.store(false, Ordering::SeqCst);
        let left = self.commands.lock().take().unwrap_or_default();
        let tokens = left.iter().map(Command::token).filter(|token| *token != Token::default());
        tokens.map(|token| Event::Completed { token, result: Err(Error::NotRunning) }).collect()
    }

    /// False, and the command is gone, when closed.
    pub(crate) fn push(&self, command: Command) -> bool {
        {
            let mut commands = self.commands.lock();
            let Some(commands) = commands.as_mut() else { return false };
            commands.push(command);
            self.waiting.store(true, Ordering::SeqCst);
        }
        self.waker.wake();
        true
    }

    pub(crate) fn has_some(&self) -> bool {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Swaps what is there for the empty `into`.
    pub(crate) fn take(&self, into: &mut Vec<Command>) {
        if !self.has_some() {
            return;
        }
        let mut commands = self.commands.lock();
        self.waiting.store(false, Ordering::SeqCst);
        if let Some(commands) = commands.as_mut() {
            std::mem::swap(commands, into);
        }
    }

    pub(crate) fn ask_to_leave(&self) {
        self.run.fetch_add(1, Ordering::SeqCst);
        self.waker.wake();
    }

    pub(crate) fn must_leave(&self, run: u64) -> bool {
        self.run.load(Ordering::SeqCst) != run
    }

    /// As `close`, by the thread of `run`; nothing when another run has begun.
    pub(crate) fn close_run(&self, run: u64) -> Vec<Event> {
        if self.run.load(Ordering::SeqCst) == run + 1 { self.close() } else { Vec::new() }
    }
}
