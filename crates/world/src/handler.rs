use std::time::Duration;

use ringback_engine::api::{Command, Decision, Event, SessionId};
use ringback_media_api::Token;
use ringback_time::Now;

/// The program of one system: it is shown every event and answers with commands.
pub trait Handler {
    fn handle(&mut self, event: &Event, actions: &mut Actions);
}

impl<F: FnMut(&Event, &mut Actions)> Handler for F {
    fn handle(&mut self, event: &Event, actions: &mut Actions) {
        self(event, actions);
    }
}

/// What a handler asks for; done when it returns, or later.
#[derive(Debug)]
pub struct Actions {
    now: Now,
    next_token: u64,
    pub(crate) commands: Vec<(Duration, Command)>,
}

impl Actions {
    pub(crate) fn new(now: Now, next_token: u64) -> Self {
        Actions { now, next_token, commands: Vec::new() }
    }

    pub(crate) fn next_token(&self) -> u64 {
        self.next_token
    }

    pub fn now(&self) -> Now {
        self.now
    }

    /// Gives the command that `make` makes with a token of its own.
    pub fn run(&mut self, make: impl FnOnce(Token) -> Command) -> Token {
        self.run_after(Duration::ZERO, make)
    }

    pub fn run_after(&mut self, delay: Duration, make: impl FnOnce(Token) -> Command) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.commands.push((delay, make(token)));
        token
    }

    pub fn decide(&mut self, session: SessionId, decision: Decision) -> Token {
        self.run(|token| Command::Decide { token, session, decision })
    }

    pub fn accept(&mut self, session: SessionId) -> Token {
        self.decide(session, Decision::Accept { sdp: None, headers: Vec::new() })
    }

    pub fn reject(&mut self, session: SessionId, status: u16) -> Token {
        self.decide(session, Decision::Reject { status, reason: "No".into(), headers: Vec::new() })
    }
}
