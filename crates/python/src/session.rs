//! The native half of `CallSession`: the properties, read live from the view that the engine writes.

use std::sync::Arc;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use ringback_engine::api::{Direction, End, Session};

use crate::convert;
use crate::coordinator::Coordinator;
use crate::errors;
use crate::ids::SessionId;
use crate::names::names;
use crate::seed::{Grain, Seed};

/// One leg of a call with one peer, as a live handle: the properties read the present state from any thread, and stay readable after the
/// call's end and after `stop`.
#[pyclass(frozen, subclass, weakref, module = "ringback._ringback")]
pub(crate) struct CallSessionBase {
    pub(crate) session: Arc<Session>,
    pub(crate) coordinator: Py<Coordinator>,
}

#[pymethods]
impl CallSessionBase {
    #[new]
    #[pyo3(signature = (seed = None, /), text_signature = None)]
    fn new(seed: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        match Seed::take(seed, "CallSession")? {
            Grain::Session(session, coordinator) => Ok(CallSessionBase { session, coordinator }),
            Grain::Incoming(call, coordinator) => {
                Ok(CallSessionBase { session: Arc::clone(&call.session), coordinator })
            }
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.coordinator)
    }

    /// Identity of this leg, as in lists and in `SessionControl`.
    #[getter]
    fn id(&self) -> SessionId {
        SessionId(self.session.id)
    }

    /// The present state. Once final it never changes.
    #[getter]
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(convert::state(names(py)?, py, self.session.state()))
    }

    /// INCOMING where the peer placed the call, OUTGOING where this system did.
    #[getter]
    fn direction<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(convert::direction(names(py)?, py, self.session.direction))
    }

    /// URI of the caller.
    #[getter]
    fn from_uri(&self) -> &str {
        &self.session.from_uri
    }

    /// URI of the called.
    #[getter]
    fn to_uri(&self) -> &str {
        &self.session.to_uri
    }

    /// Call-ID of the SIP dialog (RFC 3261 §8.1.1.4): what to look for in logs.
    #[getter]
    fn call_id(&self) -> &str {
        &self.session.call_id
    }

    /// True while the peer holds us (its last SDP was sendonly or inactive, RFC 3264 §8.4).
    #[getter]
    fn remote_hold(&self) -> bool {
        self.session.remote_hold()
    }

    /// The other leg of a forwarded call.
    #[getter]
    fn peer_id(&self) -> Option<SessionId> {
        self.session.peer().map(SessionId)
    }

    /// Why the call ended: "hangup", "remote hangup", "cancelled", "rejected 486 Busy Here", "timeout", ... None until it has.
    #[getter]
    fn end_reason(&self) -> Option<&str> {
        self.session.end().map(|end| end.reason.as_str())
    }

    /// Why the peer ended the call, as its BYE, CANCEL or final response says: the values of its Reason header (RFC 3326), such as
    /// 'Q.850;cause=17;text="User busy"', several joined by ", ". None before the end, and where the peer gave none.
    #[getter]
    fn remote_reason(&self) -> Option<&str> {
        self.session.end().and_then(|end| end.remote_reason.as_deref())
    }

    /// True where the caller gave up because the call was answered on another telephone (RFC 3326 §3.1: SIP;cause=200): it was not missed.
    #[getter]
    fn completed_elsewhere(&self) -> bool {
        self.session.end().is_some_and(End::completed_elsewhere)
    }

    /// When the INVITE was made or came; aware, UTC.
    #[getter]
    fn started_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::datetime(names(py)?, py, self.session.started_at)
    }

    /// When the call was answered, or None; aware, UTC.
    #[getter]
    fn answered_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.session.answered_at().map(|at| convert::datetime(names(py)?, py, at)).transpose()
    }

    #[getter]
    fn _coordinator(&self, py: Python<'_>) -> Py<Coordinator> {
        self.coordinator.clone_ref(py)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<CallSessionBase>().is_ok_and(|other| other.get().session.id == self.session.id)
    }

    fn __hash__(&self) -> u64 {
        let bits = self.session.id.as_u128();
        (bits >> 64) as u64 ^ bits as u64
    }

    fn __repr__(&self) -> String {
        let direction = match self.session.direction {
            Direction::Incoming => "incoming",
            Direction::Outgoing => "outgoing",
        };
        let session = &self.session;
        format!(
            "<CallSession {} {direction} {}: {} -> {}>",
            session.id,
            session.state(),
            session.from_uri,
            session.to_uri
        )
    }
}

/// The answer of a call: None when it was answered already, else a future that becomes None, or the exception that ended the call.
#[pyfunction]
fn answer_future<'py>(call: &Bound<'py, CallSessionBase>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = call.py();
    let CallSessionBase { session, coordinator } = call.get();
    let coordinator = coordinator.bind(py);
    coordinator.get().check_running(py)?;
    if session.answered_at().is_some() {
        return Ok(None);
    }
    let waiter = coordinator.get().watch(py, session, true)?;
    // Looked at after `watch`: what happened in between is not reported.
    let answered = session.answered_at().is_some();
    if answered || session.end().is_some() {
        coordinator.get().unwatch(session.id, &waiter);
        return if session.answered_at().is_some() { Ok(None) } else { Err(errors::end(py, session)) };
    }
    Ok(Some(waiter))
}

/// The end of a call: the reason, or a future of it.
#[pyfunction]
fn end_future<'py>(call: &Bound<'py, CallSessionBase>) -> PyResult<(Option<String>, Option<Bound<'py, PyAny>>)> {
    let py = call.py();
    let CallSessionBase { session, coordinator } = call.get();
    let coordinator = coordinator.bind(py);
    if let Some(end) = session.end() {
        return Ok((Some(end.reason.clone()), None));
    }
    coordinator.get().check_running(py)?;
    let waiter = coordinator.get().watch(py, session, false)?;
    if let Some(end) = session.end() {
        coordinator.get().unwatch(session.id, &waiter);
        return Ok((Some(end.reason.clone()), None));
    }
    Ok((None, Some(waiter)))
}

/// Whoever waited on `future` has gone.
#[pyfunction]
fn forget_future(call: &Bound<'_, CallSessionBase>, future: &Bound<'_, PyAny>) {
    let CallSessionBase { session, coordinator } = call.get();
    coordinator.bind(call.py()).get().unwatch(session.id, future);
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<CallSessionBase>()?;
    module.add_function(wrap_pyfunction!(answer_future, module)?)?;
    module.add_function(wrap_pyfunction!(end_future, module)?)?;
    module.add_function(wrap_pyfunction!(forget_future, module)?)
}
