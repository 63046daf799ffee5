//! Commands on their way from the program to the signalling thread, first come, first served.
//!
//! Invariant: what was accepted is either handled or answered by `close`, so that no command goes without its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use ringback_engine::api::{Command, Error, Event};
use ringback_media_api::Token;

use crate::wake::Waker;

#[derive(Debug)]
pub(crate) struct Inbox {
    /// `None`: closed.
    commands: Mutex<Option<Vec<Command>>>,
    waiting: AtomicBool,
    /// The system is to end.
    leave: AtomicBool,
    waker: Arc<Waker>,
}

impl Inbox {
    /// Closed at first.
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Inbox { commands: Mutex::new(None), waiting: AtomicBool::new(false), leave: AtomicBool::new(false), waker }
    }

    pub(crate) fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    pub(crate) fn open(&self) {
        self.leave.store(false, Ordering::SeqCst);
        self.commands.lock().get_or_insert_default();
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
        self.leave.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    pub(crate) fn must_leave(&self) -> bool {
        self.leave.load(Ordering::SeqCst)
    }
}
