//! Futures that wait for the engine: answers to commands by token, answers and ends of calls by session. A future belongs to the loop it
//! was asked for on; one of another loop than the draining one is settled through that loop's `call_soon_threadsafe`.

use std::collections::HashMap;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use ringback_engine::api;
use ringback_media_api::Token;

use crate::names::names;

pub(crate) struct Waiter {
    future: Py<PyAny>,
    event_loop: Py<PyAny>,
}

impl Waiter {
    /// A future of the running loop.
    pub(crate) fn new(py: Python<'_>) -> PyResult<Waiter> {
        let event_loop = names(py)?.get_running_loop.bind(py).call0()?;
        let future = event_loop.call_method0(intern!(py, "create_future"))?;
        Ok(Waiter { future: future.unbind(), event_loop: event_loop.unbind() })
    }

    pub(crate) fn future<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.future.bind(py).clone()
    }

    /// Settles the future, unless it was cancelled; false: nobody took the result. `here`: the loop that is running this.
    pub(crate) fn settle(&self, py: Python<'_>, here: Option<&Py<PyAny>>, result: PyResult<Bound<'_, PyAny>>) -> bool {
        // A loop that was closed meanwhile has no one left to tell.
        self.try_settle(py, here, result).unwrap_or_default()
    }

    fn try_settle(
        &self,
        py: Python<'_>,
        here: Option<&Py<PyAny>>,
        result: PyResult<Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let future = self.future.bind(py);
        if future.call_method0(intern!(py, "done"))?.is_truthy()? {
            return Ok(false);
        }
        if here.is_some_and(|here| here.is(&self.event_loop)) {
            match result {
                Ok(value) => future.call_method1(intern!(py, "set_result"), (value,))?,
                Err(error) => future.call_method1(intern!(py, "set_exception"), (error.into_value(py),))?,
            };
            return Ok(true);
        }
        let (value, error) = match result {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error.into_value(py))),
        };
        let settle = &names(py)?.settle;
        self.event_loop.bind(py).call_method1(intern!(py, "call_soon_threadsafe"), (settle, future, value, error))?;
        Ok(true)
    }

    pub(crate) fn is(&self, future: &Bound<'_, PyAny>) -> bool {
        self.future.is(future)
    }

    pub(crate) fn visit(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.future)?;
        visit.call(&self.event_loop)
    }
}

/// What is owed when a result comes that nobody waits for any more.
#[derive(Clone, Copy)]
pub(crate) enum Undo {
    Nothing,
    Hangup,
    Unbridge,
    Unsubscribe,
}

pub(crate) enum Waiting {
    Future(Waiter, Undo),
    /// What a handler decided about this `IncomingCall`: a failure is the handler's.
    Decision(Py<PyAny>),
}

#[derive(Default)]
pub(crate) struct Pending {
    last: u64,
    waiting: HashMap<u64, Waiting, foldhash::fast::RandomState>,
    sessions: HashMap<api::SessionId, Vec<(bool, Waiter)>, foldhash::fast::RandomState>,
}

impl Pending {
    pub(crate) fn insert(&mut self, waiting: Waiting) -> Token {
        self.last += 1;
        self.waiting.insert(self.last, waiting);
        Token(self.last)
    }

    pub(crate) fn remove(&mut self, token: Token) -> Option<Waiting> {
        self.waiting.remove(&token.0)
    }

    /// The command whose answer `future` gets.
    pub(crate) fn token_of(&self, future: &Bound<'_, PyAny>) -> Option<Token> {
        let is_it = |waiting: &Waiting| matches!(waiting, Waiting::Future(waiter, _) if waiter.is(future));
        self.waiting.iter().find(|(_, waiting)| is_it(waiting)).map(|(token, _)| Token(*token))
    }

    /// `for_answer`: for the answer or the end, else for the end alone.
    pub(crate) fn watch(&mut self, session: api::SessionId, for_answer: bool, waiter: Waiter) {
        self.sessions.entry(session).or_default().push((for_answer, waiter));
    }

    pub(crate) fn unwatch(&mut self, session: api::SessionId, future: &Bound<'_, PyAny>) {
        if let Some(waiters) = self.sessions.get_mut(&session) {
            waiters.retain(|(_, waiter)| !waiter.is(future));
            if waiters.is_empty() {
                self.sessions.remove(&session);
            }
        }
    }

    /// Takes those who wait for the answer of a session.
    pub(crate) fn answered(&mut self, session: api::SessionId) -> Vec<Waiter> {
        let Some(waiters) = self.sessions.get_mut(&session) else { return Vec::new() };
        let (answer, end): (Vec<_>, Vec<_>) =
            std::mem::take(waiters).into_iter().partition(|(for_answer, _)| *for_answer);
        if end.is_empty() {
            self.sessions.remove(&session);
        } else {
            *waiters = end;
        }
        answer.into_iter().map(|(_, waiter)| waiter).collect()
    }

    /// Takes all who wait for anything of a session.
    pub(crate) fn ended(&mut self, session: api::SessionId) -> Vec<(bool, Waiter)> {
        self.sessions.remove(&session).unwrap_or_default()
    }

    pub(crate) fn watched(&self) -> Vec<api::SessionId> {
        self.sessions.keys().copied().collect()
    }

    /// Takes everything that waits for an answer to a command.
    pub(crate) fn take_all(&mut self) -> Vec<Waiting> {
        self.waiting.drain().map(|(_, waiting)| waiting).collect()
    }

    pub(crate) fn visit(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for waiting in self.waiting.values() {
            match waiting {
                Waiting::Future(waiter, _) => waiter.visit(visit)?,
                Waiting::Decision(call) => visit.call(call)?,
            }
        }
        for (_, waiter) in self.sessions.values().flatten() {
            waiter.visit(visit)?;
        }
        Ok(())
    }
}
