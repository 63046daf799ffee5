//! The one place where the engine's and the network's errors become Python exceptions. The classes are `ringback/errors.py`'s.

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use ringback_engine::api::{EndCause, Error, Session, State};
use ringback_net::NetError;

use crate::convert;
use crate::ids::{BridgeId, SessionId};
use crate::names::names;

/// `ringback.errors.<class>(message, **attributes)`.
fn raise(
    py: Python<'_>,
    class: &str,
    message: &str,
    attributes: impl FnOnce(&Bound<'_, PyDict>) -> PyResult<()>,
) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let keywords = PyDict::new(py);
        attributes(&keywords)?;
        let class = py.import("ringback.errors")?.getattr(class)?;
        Ok(PyErr::from_value(class.call((message,), Some(&keywords))?))
    };
    make().unwrap_or_else(|error| error)
}

pub(crate) fn plain(py: Python<'_>, class: &str, message: &str) -> PyErr {
    raise(py, class, message, |_| Ok(()))
}

pub(crate) fn not_running(py: Python<'_>) -> PyErr {
    plain(py, "NotRunningError", "the coordinator is not running")
}

pub(crate) fn invalid_uri(py: Python<'_>, uri: &str, why: &str) -> PyErr {
    raise(py, "InvalidUri", &format!("{why}: {uri:?}"), |attributes| attributes.set_item("uri", uri))
}

pub(crate) fn session_not_found(py: Python<'_>, id: SessionId) -> PyErr {
    raise(py, "SessionNotFound", &format!("no session {}", id.0), |attributes| attributes.set_item("session_id", id))
}

pub(crate) fn invalid_state(py: Python<'_>, message: &str, state: State) -> PyErr {
    raise(py, "InvalidState", message, |attributes| attributes.set_item("state", convert::state(names(py)?, py, state)))
}

pub(crate) fn engine(py: Python<'_>, error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::NotRunning => not_running(py),
        Error::SessionNotFound(id) => session_not_found(py, SessionId(id)),
        Error::InvalidState { state, .. } => invalid_state(py, &message, state),
        Error::InvalidUri { uri, .. } => {
            raise(py, "InvalidUri", &message, |attributes| attributes.set_item("uri", uri))
        }
        Error::InvalidHeader(_) => plain(py, "InvalidHeader", &message),
        Error::Sdp(_) => plain(py, "SdpError", &message),
        Error::ResourceExhausted(_) => plain(py, "ResourceExhausted", &message),
        Error::Media(_) => plain(py, "MediaError", &message),
        Error::Store(_) => plain(py, "SessionError", &message),
        Error::BadValue(_) | Error::BadId(_) => PyValueError::new_err(message),
        Error::NoAnswer(_) => plain(py, "AnswerTimeout", &message),
        Error::Unreachable(cause) => {
            raise(py, "CallFailed", &message, |attributes| attributes.set_item("cause", cause))
        }
        Error::BridgeNotFound(id) => {
            raise(py, "BridgeNotFound", &message, |attributes| attributes.set_item("bridge_id", BridgeId(id)))
        }
        Error::Refused { status, reason } => rejected(py, status, &reason, &[]),
        Error::Rejected { status, reason, targets } => rejected(py, status, &reason, &targets),
        Error::Failed { status, cause } => failed(py, status, &cause),
        Error::Transfer { status, .. } => {
            raise(py, "TransferFailed", &message, |attributes| attributes.set_item("status", status))
        }
        Error::Ended(_) => invalid_state(py, &message, State::Terminated),
        other => plain(py, "SessionError", &other.to_string()),
    }
}

fn rejected(py: Python<'_>, status: u16, reason: &str, targets: &[String]) -> PyErr {
    raise(py, "CallRejected", format!("{status} {reason}").trim_end(), |attributes| {
        attributes.set_item("status", status)?;
        attributes.set_item("reason", reason)?;
        attributes.set_item("targets", targets)
    })
}

fn failed(py: Python<'_>, status: Option<u16>, cause: &str) -> PyErr {
    raise(py, "CallFailed", cause, |attributes| {
        attributes.set_item("status", status)?;
        attributes.set_item("cause", cause)
    })
}

/// What `wait_for_answer` raises for a call that ended without an answer.
pub(crate) fn end(py: Python<'_>, session: &Session) -> PyErr {
    let Some(end) = session.end() else { return not_running(py) };
    match &end.cause {
        EndCause::Rejected { status, reason, targets } => rejected(py, *status, reason, targets),
        EndCause::Failed { status, cause } => failed(py, *status, cause),
        EndCause::Cancelled | EndCause::Normal => plain(py, "CallCancelled", &end.reason),
    }
}

pub(crate) fn net(py: Python<'_>, error: &NetError) -> PyErr {
    let message = error.to_string();
    match error {
        NetError::NotRunning => not_running(py),
        NetError::Bind { source, .. } | NetError::Unreadable { source, .. } => {
            let errno = source.raw_os_error();
            raise(py, "BindError", &message, |attributes| attributes.set_item("errno", errno))
        }
        // With its number it becomes a PermissionError or FileNotFoundError.
        NetError::CpuLatency { source, .. } => PyOSError::new_err((source.raw_os_error(), message)),
        NetError::Store { .. } | NetError::Start { .. } => PyOSError::new_err(message),
        NetError::BadSettings(_) | NetError::BadCertificate { .. } => PyValueError::new_err(message),
        _ => PyRuntimeError::new_err(message),
    }
}
