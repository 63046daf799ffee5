//! The coroutine of a handler's task: wraps what an `async def` method returned, so that its result and its failure reach the dispatch
//! without a callback, which on asyncio costs as much as the handler itself.
//!
//! A task drives it like any coroutine (`send`, `throw`, `close`), so `asyncio.timeout`, `current_task` and cancellation work as they
//! do without it; whatever else is asked of it (`cr_frame`, `__qualname__`: tracebacks and task lists) the method's own coroutine answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyIterator, PyString, PyTuple};

use crate::coordinator::Coordinator;
use crate::dispatch;
use crate::incoming::IncomingCallBase;
use crate::questions::Question;

#[pyclass(frozen, weakref, module = "ringback._ringback")]
pub(crate) struct Handling {
    coordinator: Py<Coordinator>,
    /// The `IncomingCall` or `CallSession` that the handler was called about.
    subject: Py<PyAny>,
    awaitable: Py<PyAny>,
    iterator: Py<PyIterator>,
    /// Of the task in the coordinator's tables.
    key: u64,
    ended: AtomicBool,
    /// This task is among those that `unstarted` counts.
    waits: AtomicBool,
    unstarted: Arc<AtomicUsize>,
}

impl Handling {
    pub(crate) fn new(
        coordinator: &Bound<'_, Coordinator>,
        subject: &Bound<'_, PyAny>,
        awaitable: Bound<'_, PyAny>,
        unstarted: &Arc<AtomicUsize>,
    ) -> PyResult<Self> {
        let py = coordinator.py();
        let iterator = awaitable.call_method0(intern!(py, "__await__"))?.cast_into::<PyIterator>()?;
        Ok(Handling {
            coordinator: coordinator.clone().unbind(),
            subject: subject.clone().unbind(),
            awaitable: awaitable.unbind(),
            iterator: iterator.unbind(),
            key: coordinator.get().new_task_key(),
            ended: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            unstarted: Arc::clone(unstarted),
        })
    }

    /// Counts this task among those whose first step is still to come.
    pub(crate) fn wait_to_start(&self) {
        if !self.waits.swap(true, Ordering::Relaxed) {
            self.unstarted.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn begin(&self) {
        if self.waits.swap(false, Ordering::Relaxed) {
            self.unstarted.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// What one step of the method's coroutine came to. `None`: it has ended, and so has the task, well.
    fn stepped<'py>(&self, py: Python<'py>, step: PyResult<PySendResult<'py>>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let coordinator = self.coordinator.bind(py);
        let subject = self.subject.bind(py);
        let result = match step {
            Ok(PySendResult::Next(value)) => return Ok(Some(value)),
            Ok(PySendResult::Return(value)) => Ok(value),
            Err(error) => Err(error),
        };
        self.ended.store(true, Ordering::Relaxed);
        let incoming = subject.cast::<IncomingCallBase>().ok();
        coordinator.get().task_done(self.key, incoming);
        match (result, incoming) {
            (Ok(value), Some(_)) => dispatch::decide(coordinator, subject, &value)?,
            (Ok(value), None) if subject.is_instance_of::<Question>() => {
                dispatch::answer(coordinator, subject, &value)?
            }
            (Ok(_), None) => {}
            (Err(error), _) if error.is_instance_of::<PyException>(py) => {
                dispatch::failed(coordinator, subject, error)?
            }
            (Err(error), incoming) => {
                // Cancelled: by the INVITE's end, and then this does nothing, or by someone who leaves the call to nobody.
                if let Some(call) = incoming {
                    coordinator.get()._undecided(call);
                }
                if let Ok(question) = subject.cast::<Question>() {
                    question.get().refuse(py);
                }
                return Err(error);
            }
        }
        Ok(None)
    }
}

#[pymethods]
impl Handling {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.coordinator)?;
        visit.call(&self.subject)?;
        visit.call(&self.awaitable)?;
        visit.call(&self.iterator)
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.begin();
        self.stepped(py, self.iterator.bind(py).send(py.None().bind(py)))
    }

    fn send<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = value.py();
        self.begin();
        let next = self.stepped(py, self.iterator.bind(py).send(value))?;
        next.ok_or_else(|| pyo3::exceptions::PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (*error))]
    fn throw<'py>(&self, error: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let py = error.py();
        self.begin();
        let iterator = self.iterator.bind(py);
        let step = match iterator.getattr_opt(intern!(py, "throw"))? {
            Some(throw) => throw.call1(error).map(PySendResult::Next),
            // An awaitable of the program's own that cannot be interrupted: it ends where it is.
            None => Err(PyErr::from_value(error.get_item(0)?)),
        };
        let step = step.or_else(|error| match error.is_instance_of::<pyo3::exceptions::PyStopIteration>(py) {
            true => Ok(PySendResult::Return(error.value(py).getattr(intern!(py, "value"))?)),
            false => Err(error),
        });
        self.stepped(py, step)?.ok_or_else(|| pyo3::exceptions::PyStopIteration::new_err(()))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.begin();
        if !self.ended.swap(true, Ordering::Relaxed) {
            let incoming = self.subject.bind(py).cast::<IncomingCallBase>().ok();
            self.coordinator.bind(py).get().task_done(self.key, incoming);
        }
        match self.iterator.bind(py).getattr_opt(intern!(py, "close"))? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }

    /// Name and frame are those of the method's coroutine.
    fn __getattr__<'py>(&self, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        self.awaitable.bind(name.py()).getattr(name)
    }
}

/// A task that was dropped before its first step does not hold the others up.
impl Drop for Handling {
    fn drop(&mut self) {
        self.begin();
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Handling>()
}
