//! Subscriptions: `SessionControl.subscribe`, what comes of them, and what our own watchers are told.
//!
//! The table holds the inbox of each (`ringback.subscriptions.Inbox`) until nothing more will come; a program holds the `Subscription`, which
//! ends it when it is dropped.

use pyo3::intern;
use pyo3::prelude::*;
use ringback_engine::api::Command;
use ringback_media_api::Token;

use crate::convert;
use crate::coordinator::Coordinator;
use crate::names::{Names, names};
use crate::pending::Undo;
use crate::reply::dataclass;

/// The future of a `Subscription`.
#[pyfunction]
fn subscribe<'py>(
    coordinator: &Bound<'py, Coordinator>,
    from_uri: String,
    to_uri: String,
    event: String,
    expires: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let expires = convert::duration(expires);
    coordinator.get().ask(coordinator.py(), Undo::Unsubscribe, |token| Command::Subscribe {
        token,
        from: from_uri,
        to: to_uri,
        event,
        expires,
    })
}

#[pyfunction]
fn unsubscribe<'py>(coordinator: &Bound<'py, Coordinator>, subscription: u64) -> PyResult<Bound<'py, PyAny>> {
    let make = |token| Command::Unsubscribe { token, subscription };
    coordinator.get().ask(coordinator.py(), Undo::Nothing, make)
}

/// The same, without waiting for anything: nobody holds it any longer.
#[pyfunction]
fn drop_subscription(coordinator: &Bound<'_, Coordinator>, subscription: u64) {
    coordinator.get().tell(Command::Unsubscribe { token: Token::default(), subscription });
}

#[pyfunction]
fn publish_summary<'py>(
    coordinator: &Bound<'py, Coordinator>,
    aor: String,
    new: u32,
    old: u32,
) -> PyResult<Bound<'py, PyAny>> {
    let make = |token| Command::PublishSummary { token, aor, new, old };
    coordinator.get().ask(coordinator.py(), Undo::Nothing, make)
}

/// A `ringback.Subscription`, with its inbox in the table.
pub(crate) fn new<'py>(coordinator: &Bound<'py, Coordinator>, id: u64) -> PyResult<Bound<'py, PyAny>> {
    let py = coordinator.py();
    let made = names(py)?.new_subscription.bind(py).call1((coordinator, id))?;
    let (subscription, inbox): (Bound<'py, PyAny>, Py<PyAny>) = made.extract()?;
    let before = coordinator.get().subscriptions.lock().insert(id, inbox);
    drop(before);
    Ok(subscription)
}

/// What one NOTIFY says.
pub(crate) struct Told {
    pub(crate) event: String,
    pub(crate) content_type: Option<String>,
    pub(crate) body: String,
    pub(crate) state: String,
}

pub(crate) fn notified(
    coordinator: &Bound<'_, Coordinator>,
    names: &'static Names,
    id: u64,
    told: &Told,
) -> PyResult<()> {
    let py = coordinator.py();
    let inbox = coordinator.get().subscriptions.lock().get(&id).map(|inbox| inbox.clone_ref(py));
    let Some(inbox) = inbox else { return Ok(()) };
    let notification = dataclass!(py, names.notification, {
        event: told.event.as_str(),
        content_type: told.content_type.as_deref(),
        body: told.body.as_str(),
        state: told.state.as_str(),
    })?;
    inbox.bind(py).call_method1(intern!(py, "put"), (notification,)).map(drop)
}

pub(crate) fn over(coordinator: &Bound<'_, Coordinator>, id: u64) -> PyResult<()> {
    let py = coordinator.py();
    let inbox = coordinator.get().subscriptions.lock().remove(&id);
    match inbox {
        Some(inbox) => inbox.bind(py).call_method0(intern!(py, "end")).map(drop),
        None => Ok(()),
    }
}

/// The system has stopped.
pub(crate) fn end_all(coordinator: &Bound<'_, Coordinator>) {
    let py = coordinator.py();
    let all = std::mem::take(&mut *coordinator.get().subscriptions.lock());
    for inbox in all.into_values() {
        if let Err(error) = inbox.bind(py).call_method0(intern!(py, "end")) {
            error.write_unraisable(py, None);
        }
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(subscribe, module)?)?;
    module.add_function(wrap_pyfunction!(unsubscribe, module)?)?;
    module.add_function(wrap_pyfunction!(drop_subscription, module)?)?;
    module.add_function(wrap_pyfunction!(publish_summary, module)?)
}
