//! From the event queue to handlers and futures: one bounded drain a wake, on the loop's thread.
//!
//! A handler's method is called here. What it gives back decides at once where it can; a coroutine becomes a task (`handling.rs`).
//! Handlers of one call start in the order of its events: with eager tasks (3.12+) they have started when the task
//! is made; without, plain methods queue up behind the tasks made before them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use ringback_engine::api::{Command, Decision, Error, Event, Reply, Session};
use ringback_media_api::Token;
use ringback_net::Notice;

use crate::accounts::RegistrationView;
use crate::coordinator::{Coordinator, Method, Running};
use crate::handling::Handling;
use crate::incoming::IncomingCallBase;
use crate::names::{Names, names};
use crate::pending::{Undo, Waiting};
use crate::questions::{Asks, Question};
use crate::subscriptions::{self, Told};
use crate::{audio, convert, decisions, errors, logs, messages, registrar, reply, seed};

/// Notices taken from the queue in one go.
const BATCH: usize = 256;

/// Longest time that a drain keeps the loop from its other work, handlers included; one handler may take longer.
const LONGEST: Duration = Duration::from_millis(5);

pub(crate) fn drain(slf: &Bound<'_, Coordinator>) -> PyResult<()> {
    let coordinator = slf.get();
    let Some(running) = coordinator.running().filter(|_| !coordinator.is_forked()) else { return Ok(()) };
    if coordinator.backlog.lock().is_empty() {
        let mut batch = Vec::with_capacity(32);
        coordinator.queue().drain(&mut batch, BATCH);
        coordinator.backlog.lock().extend(batch);
    }
    let names = names(slf.py())?;
    let since = ringback_net::clock::mono();
    let mut result = Ok(());
    while let Some(notice) = next(coordinator) {
        result = dispatch(slf, names, &running, notice);
        if result.is_err() || ringback_net::clock::mono().since(since) > LONGEST {
            break;
        }
    }
    finish(slf, &running, result.is_ok())?;
    result
}

fn next(coordinator: &Coordinator) -> Option<Notice> {
    coordinator.backlog.lock().pop_front()
}

/// After a batch: what is left is taken up again after the loop's other work.
fn finish(slf: &Bound<'_, Coordinator>, running: &Running, orderly: bool) -> PyResult<()> {
    let py = slf.py();
    let more = !slf.get().backlog.lock().is_empty();
    if more {
        let again = slf.getattr(intern!(py, "_drain"))?;
        match running.attached.call_soon.bind(py).call1((again,)) {
            // A loop that is being torn down takes nothing any more; the first error is the one to tell.
            Err(_) if !orderly => {}
            other => {
                other?;
            }
        }
    }
    Ok(())
}

/// An error that leaves this is not an `Exception` (`KeyboardInterrupt`, `SystemExit`): the loop's to handle.
fn dispatch(slf: &Bound<'_, Coordinator>, names: &'static Names, running: &Running, notice: Notice) -> PyResult<()> {
    let py = slf.py();
    let outcome = match notice {
        Notice::Event(event) => dispatch_event(slf, names, running, event),
        Notice::Audio(port) => {
            audio::wake(slf, &port, Some(&running.attached.event_loop));
            Ok(())
        }
        Notice::Log(record) => logs::emit(py, &record),
    };
    outcome.or_else(|error| report(py, running, error))
}

/// An error that is not a handler's (a filter of `logging` that raised): the loop is told, and what comes behind goes on.
fn report(py: Python<'_>, running: &Running, error: PyErr) -> PyResult<()> {
    if !error.is_instance_of::<PyException>(py) {
        return Err(error);
    }
    let context = PyDict::new(py);
    context.set_item("message", "an event of ringback could not be delivered")?;
    context.set_item("exception", error.into_value(py))?;
    running.attached.event_loop.bind(py).call_method1(intern!(py, "call_exception_handler"), (context,))?;
    Ok(())
}

fn dispatch_event(
    slf: &Bound<'_, Coordinator>,
    names: &'static Names,
    running: &Running,
    event: Event,
) -> PyResult<()> {
    let py = slf.py();
    let handlers = &running.handlers;
    let text = |text: Option<String>| text.map(|text| pyo3::types::PyString::new(py, &text));
    match event {
        Event::Incoming(call) => incoming(slf, names, running, call),
        Event::IncomingOver { session } => {
            let task = slf.get().tasks.lock().incoming.get(&session.id).map(|(_, task)| task.clone_ref(py));
            if let Some(task) = task {
                task.bind(py).call_method0(intern!(py, "cancel"))?;
            }
            Ok(())
        }
        Event::Progress { session, status, sdp } => match &handlers.progress {
            Some(method) => {
                call(slf, names, running, method, &session, |call| (call, status, text(sdp)).into_pyobject(py))
            }
            None => Ok(()),
        },
        Event::Established { session, local_sdp, remote_sdp } => {
            let waiters = slf.get().pending.lock().answered(session.id);
            for waiter in waiters {
                waiter.settle(py, Some(&running.attached.event_loop), Ok(py.None().into_bound(py)));
            }
            match &handlers.established {
                Some(method) => call(slf, names, running, method, &session, |call| {
                    (call, text(local_sdp), text(remote_sdp)).into_pyobject(py)
                }),
                None => Ok(()),
            }
        }
        Event::Ended { session } => {
            ended(slf, running, &session);
            match &handlers.ended {
                Some(method) => call(slf, names, running, method, &session, |call| {
                    (call, session.end().map_or("", |end| end.reason.as_str())).into_pyobject(py)
                }),
                None => Ok(()),
            }
        }
        Event::StateChanged { session, old, new } => match &handlers.state_changed {
            Some(method) => call(slf, names, running, method, &session, |call| {
                (call, convert::state(names, py, old), convert::state(names, py, new)).into_pyobject(py)
            }),
            None => Ok(()),
        },
        Event::Dtmf { session, digit, duration_ms } => match &handlers.dtmf {
            Some(method) => {
                call(slf, names, running, method, &session, |call| (call, digit, duration_ms).into_pyobject(py))
            }
            None => Ok(()),
        },
        Event::MediaQuality { session, statistics } => match &handlers.media_quality {
            Some(method) => {
                let statistics = reply::statistics(names, py, &statistics)?;
                call(slf, names, running, method, &session, |call| (call, statistics).into_pyobject(py))
            }
            None => Ok(()),
        },
        Event::MediaTimeout { session, silent_seconds } => match &handlers.media_timeout {
            Some(method) => {
                call(slf, names, running, method, &session, |call| (call, silent_seconds).into_pyobject(py))
            }
            None => Ok(()),
        },
        Event::VoiceActivity { session, speaking } => match &handlers.voice_activity {
            Some(method) => call(slf, names, running, method, &session, |call| (call, speaking).into_pyobject(py)),
            None => Ok(()),
        },
        Event::TransferRequest { session, target } => {
            let call = seed::session(slf, &session)?;
            let question = Question::new(slf, call.clone(), Asks::Transfer(session.id))?;
            match &handlers.transfer_request {
                Some(method) => ask(slf, names, running, method, &question, (call, target).into_pyobject(py)?),
                None => {
                    question.get().refuse(py);
                    Ok(())
                }
            }
        }
        Event::SubscribeRequest { request, subscriber, to, event } => {
            let question = Question::new(slf, py.None().into_bound(py), Asks::Subscribe(request))?;
            match &handlers.subscribe {
                Some(method) => ask(slf, names, running, method, &question, (subscriber, to, event).into_pyobject(py)?),
                None => {
                    question.get().refuse(py);
                    Ok(())
                }
            }
        }
        Event::Notification { subscription, event, content_type, body, state } => {
            subscriptions::notified(slf, names, subscription, &Told { event, content_type, body, state })
        }
        Event::SubscriptionOver { subscription } => subscriptions::over(slf, subscription),
        Event::Message(message) => match &handlers.message {
            Some(method) => {
                let message = messages::to_python(names, py, &message)?;
                notify(slf, names, running, method, (message,).into_pyobject(py)?)
            }
            None => Ok(()),
        },
        Event::Password { key, username, realm } => match &handlers.password {
            Some(method) => {
                let arguments = (slf, key.as_u64(), username, realm).into_pyobject(py)?;
                notify(slf, names, running, method, arguments)
            }
            None => Ok(()),
        },
        Event::Registration { registration, state } => {
            let view = Bound::new(py, RegistrationView(Arc::clone(&registration)))?;
            let known = names.registration_changed.bind(py).call1((slf, registration.id, view, state.to_string()))?;
            match &handlers.registration {
                Some(method) if !known.is_none() => notify(slf, names, running, method, (known,).into_pyobject(py)?),
                _ => Ok(()),
            }
        }
        Event::Store(request) => registrar::store(slf, names, *request),
        Event::Bridge { bridge, kind, session } => crate::bridges::deliver(slf, bridge, kind, session),
        Event::Completed { token, result } => completed(slf, running, token, result),
        _ => Ok(()),
    }
}

/// Everyone who waits for anything of a session is told how it ended.
fn ended(slf: &Bound<'_, Coordinator>, running: &Running, session: &Session) {
    let py = slf.py();
    let here = Some(&running.attached.event_loop);
    let waiters = slf.get().pending.lock().ended(session.id);
    for (for_answer, waiter) in waiters {
        if !for_answer {
            let reason = session.end().map_or("", |end| end.reason.as_str());
            waiter.settle(py, here, Ok(pyo3::types::PyString::new(py, reason).into_any()));
        } else if session.answered_at().is_some() {
            waiter.settle(py, here, Ok(py.None().into_bound(py)));
        } else {
            waiter.settle(py, here, Err(errors::end(py, session)));
        }
    }
}

fn completed(
    slf: &Bound<'_, Coordinator>,
    running: &Running,
    token: Token,
    result: Result<Reply, Error>,
) -> PyResult<()> {
    let py = slf.py();
    let Some(waiting) = slf.get().pending.lock().remove(token) else { return Ok(()) };
    match waiting {
        Waiting::Future(waiter, undo) => {
            let undone = match (&result, undo) {
                (Ok(Reply::Session(session)), Undo::Hangup) => {
                    let (token, session) = (Token::default(), session.id);
                    Some(Command::Hangup { token, session, reason: None })
                }
                (Ok(Reply::Bridge(bridge)), Undo::Unbridge) => {
                    Some(Command::DestroyBridge { token: Token::default(), bridge: *bridge })
                }
                (Ok(Reply::Subscription(id)), Undo::Unsubscribe) => {
                    Some(Command::Unsubscribe { token: Token::default(), subscription: *id })
                }
                _ => None,
            };
            let value = match result {
                Ok(answer) => reply::to_python(slf, answer),
                Err(error) => Err(errors::engine(py, error)),
            };
            if !waiter.settle(py, Some(&running.attached.event_loop), value) {
                // Cancelled while the engine was at it: what came of it belongs to nobody.
                if let Some(command) = undone {
                    slf.get().tell(command);
                }
            }
            Ok(())
        }
        Waiting::Decision(call) => match result {
            // Decided by someone else, or over: what the handler said is ignored.
            Ok(_)
            | Err(Error::InvalidState { .. } | Error::SessionNotFound(_) | Error::NotRunning | Error::Ended(_)) => {
                Ok(())
            }
            Err(error) => decision_failed(slf, call.bind(py), error),
        },
    }
}

/// A handler's decision could not be carried out. Its fault goes to `on_error`; what is nobody's fault, or the caller's, does not.
fn decision_failed(slf: &Bound<'_, Coordinator>, subject: &Bound<'_, PyAny>, error: Error) -> PyResult<()> {
    let Some((call, _)) = subject.cast::<IncomingCallBase>()?.get().network() else { return Ok(()) };
    if call.session.state().is_final() {
        // The engine has refused the caller already: no codec in common, too many hops.
        return Ok(());
    }
    if matches!(error, Error::ResourceExhausted(_)) {
        let headers = vec![("Retry-After".to_owned(), "10".to_owned())];
        let decision = Decision::Reject { status: 503, reason: "Service Unavailable".into(), headers };
        slf.get().tell(Command::Decide { token: Token::default(), session: call.session.id, decision });
        return Ok(());
    }
    failed(slf, subject, errors::engine(slf.py(), error))
}

// ---- handlers

/// A handler raised: `ringback._dispatch.failed` logs, asks `on_error`, and refuses an undecided call.
pub(crate) fn failed(slf: &Bound<'_, Coordinator>, subject: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
    let py = slf.py();
    if !error.is_instance_of::<PyException>(py) {
        if let Ok(call) = subject.cast::<IncomingCallBase>() {
            slf.get()._undecided(call);
        }
        if let Ok(question) = subject.cast::<Question>() {
            question.get().refuse(py);
        }
        return Err(error);
    }
    names(py)?.failed.bind(py).call1((slf, subject, error.into_value(py)))?;
    Ok(())
}

fn incoming(
    slf: &Bound<'_, Coordinator>,
    names: &'static Names,
    running: &Running,
    call: Box<ringback_engine::api::IncomingCall>,
) -> PyResult<()> {
    let py = slf.py();
    let session = Arc::clone(&call.session);
    let Some(method) = &running.handlers.incoming else {
        let decision = Decision::Reject { status: 480, reason: "Temporarily Unavailable".into(), headers: Vec::new() };
        slf.get().tell(Command::Decide { token: Token::default(), session: session.id, decision });
        return Ok(());
    };
    let subject = seed::incoming(slf, call)?;
    let arguments = (&subject,).into_pyobject(py)?;
    // An `async def` is the first of its call: nothing has to start before it.
    if !method.is_async && wait_for_turn(slf, names, running, &subject, method, &arguments)? {
        return Ok(());
    }
    match method.call.bind(py).call1(arguments) {
        Ok(result) => incoming_result(slf, running, &session, &subject, result),
        Err(error) => failed(slf, &subject, error),
    }
}

/// What `on_incoming_call` returned: a decision, or something that will give one.
fn incoming_result(
    slf: &Bound<'_, Coordinator>,
    running: &Running,
    session: &Session,
    subject: &Bound<'_, PyAny>,
    result: Bound<'_, PyAny>,
) -> PyResult<()> {
    if is_awaitable(&result)? {
        return spawn(slf, running, subject, Some(session), result);
    }
    decide(slf, subject, &result)
}

fn is_awaitable(result: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(!result.is_none() && result.hasattr(intern!(result.py(), "__await__"))?)
}

/// Carries out what `on_incoming_call` came to.
pub(crate) fn decide(
    slf: &Bound<'_, Coordinator>,
    subject: &Bound<'_, PyAny>,
    result: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let py = slf.py();
    let coordinator = slf.get();
    let Some((call, _)) = subject.cast::<IncomingCallBase>()?.get().network() else { return Ok(()) };
    let session = call.session.id;
    let (decision, fallible) = match decisions::from_handler(result) {
        Ok(decision) => decision,
        Err(error) => return failed(slf, subject, error),
    };
    if !coordinator.is_up() {
        return Ok(());
    }
    if fallible {
        let waiting = Waiting::Decision(subject.clone().unbind());
        return coordinator.submit(py, waiting, |token| Command::Decide { token, session, decision });
    }
    coordinator.tell(Command::Decide { token: Token::default(), session, decision });
    Ok(())
}

/// Calls one handler method about `session`.
fn call<'py>(
    slf: &Bound<'py, Coordinator>,
    names: &'static Names,
    running: &Running,
    method: &Method,
    session: &Arc<Session>,
    arguments: impl FnOnce(Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>>,
) -> PyResult<()> {
    let py = slf.py();
    let subject = seed::session(slf, session)?;
    let arguments = arguments(subject.clone())?;
    if wait_for_turn(slf, names, running, &subject, method, &arguments)? {
        return Ok(());
    }
    match method.call.bind(py).call1(arguments) {
        Ok(result) => event_result(slf, running, &subject, result),
        Err(error) => failed(slf, &subject, error),
    }
}

/// Calls one handler method about what is no call's.
fn notify<'py>(
    slf: &Bound<'py, Coordinator>,
    names: &'static Names,
    running: &Running,
    method: &Method,
    arguments: Bound<'py, PyTuple>,
) -> PyResult<()> {
    let py = slf.py();
    let subject = py.None().into_bound(py);
    if wait_for_turn(slf, names, running, &subject, method, &arguments)? {
        return Ok(());
    }
    match method.call.bind(py).call1(arguments) {
        Ok(result) => event_result(slf, running, &subject, result),
        Err(error) => failed(slf, &subject, error),
    }
}

/// Calls one handler method that answers a question.
fn ask<'py>(
    slf: &Bound<'py, Coordinator>,
    names: &'static Names,
    running: &Running,
    method: &Method,
    question: &Bound<'py, Question>,
    arguments: Bound<'py, PyTuple>,
) -> PyResult<()> {
    let subject = question.as_any();
    if wait_for_turn(slf, names, running, subject, method, &arguments)? {
        return Ok(());
    }
    match method.call.bind(slf.py()).call1(arguments) {
        Ok(result) => event_result(slf, running, subject, result),
        Err(error) => failed(slf, subject, error),
    }
}

/// What a handler that was asked came to.
pub(crate) fn answer(
    slf: &Bound<'_, Coordinator>,
    subject: &Bound<'_, PyAny>,
    result: &Bound<'_, PyAny>,
) -> PyResult<()> {
    match subject.cast::<Question>()?.get().answer(result) {
        Ok(()) => Ok(()),
        Err(error) => failed(slf, subject, error),
    }
}

fn event_result(
    slf: &Bound<'_, Coordinator>,
    running: &Running,
    subject: &Bound<'_, PyAny>,
    result: Bound<'_, PyAny>,
) -> PyResult<()> {
    let asked = subject.is_instance_of::<Question>();
    if result.is_none() && !asked {
        return Ok(());
    }
    if !is_awaitable(&result)? {
        if asked {
            return answer(slf, subject, &result);
        }
        let message = format!("a handler must give None or an awaitable, not {}", result.get_type().name()?);
        return failed(slf, subject, PyTypeError::new_err(message));
    }
    spawn(slf, running, subject, None, result)
}

/// True: handlers of earlier events have not started yet, and this one was put behind them.
fn wait_for_turn<'py>(
    slf: &Bound<'py, Coordinator>,
    names: &'static Names,
    running: &Running,
    subject: &Bound<'py, PyAny>,
    method: &Method,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<bool> {
    let attached = &running.attached;
    // A task stands behind those made before it anyhow.
    let tasks = !method.is_async && attached.unstarted.load(Ordering::Relaxed) > 0;
    if !tasks && attached.queued.load(Ordering::Relaxed) == 0 {
        return Ok(false);
    }
    let py = slf.py();
    let turn = (subject, method.call.bind(py), arguments);
    slf.getattr(intern!(py, "_turns"))?.call_method1(intern!(py, "append"), (turn,))?;
    if attached.queued.fetch_add(1, Ordering::Relaxed) == 0 {
        attached.call_soon.bind(py).call1((&names.take_turns, slf))?;
    }
    Ok(true)
}

/// From `_dispatch`, before the next handler in the queue has its turn. False: a task was made meanwhile, by one before it or for another
/// call, and has to start first.
pub(crate) fn next_turn(slf: &Bound<'_, Coordinator>) -> bool {
    let Some(running) = slf.get().running() else { return true };
    if running.attached.unstarted.load(Ordering::Relaxed) > 0 {
        return false;
    }
    // Those queued for a loop that is gone do not count here.
    let _ = running.attached.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |queued| queued.checked_sub(1));
    true
}

/// From `_dispatch`, when the turn of a plain method has come: it was called, and gave `result`.
pub(crate) fn plain_result(
    slf: &Bound<'_, Coordinator>,
    subject: &Bound<'_, PyAny>,
    result: Bound<'_, PyAny>,
) -> PyResult<()> {
    let Some(running) = slf.get().running() else { return Ok(()) };
    match subject.cast::<IncomingCallBase>().ok().and_then(|call| call.get().network()) {
        Some((call, _)) => incoming_result(slf, &running, &call.session, subject, result),
        None => event_result(slf, &running, subject, result),
    }
}

/// Makes a task of what a handler's method returned, and keeps it until it is done.
fn spawn(
    slf: &Bound<'_, Coordinator>,
    running: &Running,
    subject: &Bound<'_, PyAny>,
    incoming: Option<&Session>,
    awaitable: Bound<'_, PyAny>,
) -> PyResult<()> {
    let py = slf.py();
    let handling = match Handling::new(slf, subject, awaitable, &running.attached.unstarted) {
        Ok(handling) => Bound::new(py, handling)?,
        // Its `__await__` raised, or gave no iterator.
        Err(error) => return failed(slf, subject, error),
    };
    if !running.attached.eager {
        handling.get().wait_to_start();
    }
    let task = running.attached.create_task.bind(py).call1((&handling,))?;
    if handling.get().has_ended() {
        return Ok(());
    }
    let (key, task) = (handling.get().key(), task.unbind());
    let mut tasks = slf.get().tasks.lock();
    if let Some(session) = incoming {
        tasks.incoming.insert(session.id, (key, task.clone_ref(py)));
    }
    tasks.live.insert(key, task);
    Ok(())
}

/// The system has stopped and its last event was dispatched: nobody may wait any longer.
pub(crate) fn resolve_all(slf: &Bound<'_, Coordinator>) {
    let py = slf.py();
    let coordinator = slf.get();
    let running = coordinator.running();
    let here = running.as_ref().map(|running| &running.attached.event_loop);
    let waiting = coordinator.pending.lock().take_all();
    for waiting in waiting {
        if let Waiting::Future(waiter, _) = waiting {
            waiter.settle(py, here, Err(errors::not_running(py)));
        }
    }
    let watched = coordinator.pending.lock().watched();
    for id in watched {
        let session = coordinator.directory().get(id).filter(|session| session.end().is_some());
        match (session, &running) {
            (Some(session), Some(running)) => ended(slf, running, &session),
            _ => {
                let waiters = coordinator.pending.lock().ended(id);
                for (_, waiter) in waiters {
                    waiter.settle(py, here, Err(errors::not_running(py)));
                }
            }
        }
    }
    audio::end_all(slf, here);
    subscriptions::end_all(slf);
}
