//! The native half of `IncomingCall`. What is rarely looked at (headers, time of arrival) is built when it is.

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyMapping, PyTuple};
use ringback_engine::api;

use crate::convert;
use crate::coordinator::Coordinator;
use crate::ids::SessionId;
use crate::names::names;
use crate::seed::{self, Grain, Seed};

enum Origin {
    Network {
        call: Box<api::IncomingCall>,
        coordinator: Py<Coordinator>,
    },
    /// By a program, for a test.
    Built(Box<Built>),
}

struct Built {
    id: api::SessionId,
    from_uri: String,
    to_uri: String,
    from_name: Option<String>,
    sdp: Option<String>,
    source: Option<String>,
    transport: Option<Py<PyAny>>,
}

/// An INVITE that waits for a decision.
#[pyclass(frozen, subclass, weakref, module = "ringback._ringback")]
pub(crate) struct IncomingCallBase {
    origin: Origin,
    headers: PyOnceLock<Py<PyAny>>,
    received_at: PyOnceLock<Py<PyAny>>,
}

impl IncomingCallBase {
    /// The session and its coordinator, for a call that came from the network.
    pub(crate) fn network(&self) -> Option<(&api::IncomingCall, &Py<Coordinator>)> {
        match &self.origin {
            Origin::Network { call, coordinator } => Some((call, coordinator)),
            Origin::Built(_) => None,
        }
    }

    fn built(py: Python<'_>, keywords: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut built = Built {
            id: api::SessionId::from_u128(0),
            from_uri: String::new(),
            to_uri: String::new(),
            from_name: None,
            sdp: None,
            source: None,
            transport: None,
        };
        let (mut headers, mut received_at) = (None, None);
        let mut missing = vec!["id", "from_uri", "to_uri"];
        for (name, value) in keywords.into_iter().flatten() {
            let name: String = name.extract()?;
            missing.retain(|needed| *needed != name);
            let wrong = |kind: &str| -> PyResult<PyErr> {
                let actual = value.get_type().name()?;
                Ok(PyTypeError::new_err(format!("{name} must be {kind}, not {actual}")))
            };
            let text = || value.extract::<String>().or_else(|_| Err(wrong("str")?));
            let optional = || value.extract::<Option<String>>().or_else(|_| Err(wrong("str or None")?));
            match name.as_str() {
                "id" => built.id = value.extract::<SessionId>().or_else(|_| Err(wrong("a SessionId")?))?.0,
                "from_uri" => built.from_uri = text()?,
                "to_uri" => built.to_uri = text()?,
                "from_name" => built.from_name = optional()?,
                "sdp" => built.sdp = optional()?,
                "source" => built.source = optional()?,
                "transport" => built.transport = Some(value.clone().unbind()).filter(|value| !value.is_none(py)),
                "received_at" => received_at = Some(value.clone()).filter(|value| !value.is_none()),
                "headers" if value.is_none() => {}
                "headers" => match value.cast::<PyMapping>() {
                    Ok(mapping) => headers = Some(convert::headers(Some(mapping))?),
                    Err(_) => return Err(wrong("a mapping")?),
                },
                _ => {
                    return Err(PyTypeError::new_err(format!(
                        "IncomingCall() got an unexpected keyword argument '{name}'"
                    )));
                }
            }
        }
        if let Some(first) = missing.first() {
            return Err(PyTypeError::new_err(format!("IncomingCall() needs the keyword argument '{first}'")));
        }
        let call = IncomingCallBase {
            origin: Origin::Built(Box::new(built)),
            headers: PyOnceLock::new(),
            received_at: PyOnceLock::new(),
        };
        let headers = names(py)?.headers.bind(py).call1((headers.unwrap_or_default(),))?;
        let _ = call.headers.set(py, headers.unbind());
        let received_at = match received_at {
            Some(given) => given,
            None => convert::datetime(names(py)?, py, ringback_net::clock::wall())?,
        };
        let _ = call.received_at.set(py, received_at.unbind());
        Ok(call)
    }
}

#[pymethods]
impl IncomingCallBase {
    #[new]
    #[pyo3(
        signature = (*args, **kwargs),
        text_signature = "(*, id, from_uri, to_uri, sdp=None, headers=None, received_at=None, from_name=None, source=None, transport=None)"
    )]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        if args.is_empty() {
            return Self::built(args.py(), kwargs);
        }
        match Seed::take(args.get_item(0).ok().as_ref(), "IncomingCall") {
            Ok(Grain::Incoming(call, coordinator)) => Ok(IncomingCallBase {
                origin: Origin::Network { call, coordinator },
                headers: PyOnceLock::new(),
                received_at: PyOnceLock::new(),
            }),
            _ => Err(PyTypeError::new_err("IncomingCall() takes keyword arguments only")),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Origin::Network { coordinator, .. } = &self.origin {
            visit.call(coordinator)?;
        }
        Ok(())
    }

    /// Identity of the call's session.
    #[getter]
    fn id(&self) -> SessionId {
        SessionId(match &self.origin {
            Origin::Network { call, .. } => call.session.id,
            Origin::Built(built) => built.id,
        })
    }

    /// URI of the caller (From).
    #[getter]
    fn from_uri(&self) -> &str {
        match &self.origin {
            Origin::Network { call, .. } => &call.session.from_uri,
            Origin::Built(built) => &built.from_uri,
        }
    }

    /// URI of the called.
    #[getter]
    fn to_uri(&self) -> &str {
        match &self.origin {
            Origin::Network { call, .. } => &call.session.to_uri,
            Origin::Built(built) => &built.to_uri,
        }
    }

    /// The caller's display name.
    #[getter]
    fn from_name(&self) -> Option<&str> {
        match &self.origin {
            Origin::Network { call, .. } => call.from_name.as_deref(),
            Origin::Built(built) => built.from_name.as_deref(),
        }
    }

    /// The caller's offer; None: a late offer, it comes from us with the answer (RFC 3261 §13.2.1).
    #[getter]
    fn sdp(&self) -> Option<&str> {
        match &self.origin {
            Origin::Network { call, .. } => call.sdp.as_deref(),
            Origin::Built(built) => built.sdp.as_deref(),
        }
    }

    /// All headers of the INVITE: a case-insensitive mapping, long and compact names alike, repeats joined by ", ".
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let headers = self.headers.get_or_try_init(py, || {
            let pairs = match &self.origin {
                Origin::Network { call, .. } => crate::uri::header_lines(&call.message),
                Origin::Built(_) => Vec::new(),
            };
            names(py)?.headers.bind(py).call1((pairs,)).map(Bound::unbind)
        })?;
        Ok(headers.bind(py).clone())
    }

    /// When the INVITE came; aware, UTC.
    #[getter]
    fn received_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let at = self.received_at.get_or_try_init(py, || {
            let at = match &self.origin {
                Origin::Network { call, .. } => call.received_at,
                Origin::Built(_) => ringback_net::clock::wall(),
            };
            convert::datetime(names(py)?, py, at).map(Bound::unbind)
        })?;
        Ok(at.bind(py).clone())
    }

    /// Where it came from, "ip:port".
    #[getter]
    fn source(&self) -> Option<String> {
        match &self.origin {
            Origin::Network { call, .. } => Some(call.source.to_string()),
            Origin::Built(built) => built.source.clone(),
        }
    }

    /// What the INVITE came by.
    #[getter]
    fn transport(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match &self.origin {
            Origin::Network { call, .. } => {
                let names = names(py)?;
                let transport = match call.transport {
                    "tcp" => &names.transport_tcp,
                    "tls" => &names.transport_tls,
                    "ws" => &names.transport_ws,
                    "wss" => &names.transport_wss,
                    _ => &names.transport_udp,
                };
                Ok(Some(transport.clone_ref(py)))
            }
            Origin::Built(built) => Ok(built.transport.as_ref().map(|transport| transport.clone_ref(py))),
        }
    }

    #[getter]
    fn _coordinator(&self, py: Python<'_>) -> Option<Py<Coordinator>> {
        self.network().map(|(_, coordinator)| coordinator.clone_ref(py))
    }

    /// The `CallSession` of a call that came from the network.
    #[getter]
    fn _session<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some((call, coordinator)) = self.network() else { return Ok(None) };
        seed::session(coordinator.bind(py), &call.session).map(Some)
    }

    /// True for a call that is over: cancelled, timed out, or ended in any other way.
    #[getter]
    fn _is_over(&self) -> bool {
        self.network().is_some_and(|(call, _)| call.session.state().is_final())
    }

    fn __repr__(&self) -> String {
        format!("<IncomingCall {}: {} -> {}>", self.id().0, self.from_uri(), self.to_uri())
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<IncomingCallBase>()
}
