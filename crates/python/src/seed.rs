//! How Rust makes instances of Python subclasses: it calls the class with a `Seed`, out of which the native base takes what it is made
//! from. Python code has no seeds, so a program cannot make a session that does not exist.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use ringback_engine::api::{self, Session};

use crate::coordinator::Coordinator;
use crate::names::names;

pub(crate) enum Grain {
    Session(Arc<Session>, Py<Coordinator>),
    Incoming(Box<api::IncomingCall>, Py<Coordinator>),
}

#[pyclass(frozen, module = "ringback._ringback")]
pub(crate) struct Seed(Mutex<Option<Grain>>);

impl Seed {
    pub(crate) fn take(value: Option<&Bound<'_, PyAny>>, class: &str) -> PyResult<Grain> {
        let grain = value.and_then(|value| value.cast::<Seed>().ok()).and_then(|seed| seed.get().0.lock().take());
        grain.ok_or_else(|| PyTypeError::new_err(format!("{class} objects are made by ringback, not by programs")))
    }

    fn sow<'py>(py: Python<'py>, class: &Py<PyAny>, grain: Grain) -> PyResult<Bound<'py, PyAny>> {
        class.bind(py).call1((Bound::new(py, Seed(Mutex::new(Some(grain))))?,))
    }
}

/// A `ringback.CallSession`.
pub(crate) fn session<'py>(
    coordinator: &Bound<'py, Coordinator>,
    session: &Arc<Session>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = coordinator.py();
    Seed::sow(py, &names(py)?.call_session, Grain::Session(Arc::clone(session), coordinator.clone().unbind()))
}

/// A `ringback.IncomingCall`.
pub(crate) fn incoming<'py>(
    coordinator: &Bound<'py, Coordinator>,
    call: Box<api::IncomingCall>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = coordinator.py();
    Seed::sow(py, &names(py)?.incoming_call, Grain::Incoming(call, coordinator.clone().unbind()))
}
