//! What handlers are asked beside calls that come in: whether a peer may transfer its call, or watch somebody. The answer is a bool; whatever else comes of a
//! handler (an exception, a cancellation) is a no, so that no peer waits for ever.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use ringback_engine::api::{self, Command};
use ringback_media_api::Token;

use crate::coordinator::Coordinator;

/// What is asked.
#[derive(Clone, Copy)]
pub(crate) enum Asks {
    Transfer(api::SessionId),
    /// By the number of the request.
    Subscribe(u64),
}

/// Stands for the question where the dispatch keeps what a handler was called about.
#[pyclass(frozen, module = "ringback._ringback")]
pub(crate) struct Question {
    coordinator: Py<Coordinator>,
    /// The `CallSession` that it is about, if any.
    call: Py<PyAny>,
    asks: Asks,
    answered: AtomicBool,
}

impl Question {
    pub(crate) fn new<'py>(
        coordinator: &Bound<'py, Coordinator>,
        call: Bound<'py, PyAny>,
        asks: Asks,
    ) -> PyResult<Bound<'py, Question>> {
        let py = coordinator.py();
        let answered = AtomicBool::new(false);
        Bound::new(py, Question { coordinator: coordinator.clone().unbind(), call: call.unbind(), asks, answered })
    }

    fn tell(&self, py: Python<'_>, yes: bool) {
        if self.answered.swap(true, Ordering::Relaxed) {
            return;
        }
        let token = Token::default();
        self.coordinator.bind(py).get().tell(match self.asks {
            Asks::Transfer(session) => Command::DecideTransfer { token, session, accept: yes },
            Asks::Subscribe(request) => Command::DecideSubscribe { token, request, accept: yes },
        });
    }

    /// What the handler came to.
    pub(crate) fn answer(&self, result: &Bound<'_, PyAny>) -> PyResult<()> {
        let yes = match result.is_none() {
            true => false,
            false => result.extract::<bool>().map_err(|_| {
                let name = result.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
                PyTypeError::new_err(format!("a handler that is asked must give a bool, not {name}"))
            })?,
        };
        self.tell(result.py(), yes);
        Ok(())
    }
}

#[pymethods]
impl Question {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.coordinator)?;
        visit.call(&self.call)
    }

    /// The call that it is about.
    #[getter]
    fn call(&self, py: Python<'_>) -> Py<PyAny> {
        self.call.clone_ref(py)
    }

    /// No answer came.
    pub(crate) fn refuse(&self, py: Python<'_>) {
        self.tell(py, false);
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Question>()
}
