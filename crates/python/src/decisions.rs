//! `CallDecision` and its four kinds: plain frozen values, so that a decision can be made once, compared, matched on and reused.

use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString, PyTuple};
use ringback_engine::api;

use crate::convert::{self, Whole};

/// What a handler answers about an incoming call: one of `CallDecision.Accept`, `.Reject`, `.Defer`, `.Forward`.
#[pyclass(frozen, subclass, module = "ringback")]
pub(crate) struct CallDecision;

/// Answer the call.
///
/// `sdp` None: the answer is generated. Else what `MediaControl.generate_sdp_answer` gave (its attributes may have been edited),
/// or that of external media: the engine then opens no RTP, hold rewrites direction and version only, digits go by INFO, statistics are
/// None, and bridging and playing raise `MediaError`. `SdpError`, before any response, where it does not answer the offer (RFC 3264). For a
/// late offer (`IncomingCall.sdp is None`) it is an offer. `headers` go into the 200 (`InvalidHeader`).
#[pyclass(frozen, extends = CallDecision, module = "ringback")]
pub(crate) struct Accept {
    pub(crate) sdp: Option<String>,
    pub(crate) headers: api::HeaderList,
}

/// Refuse the call with a final response, `status` 400 to 699 (RFC 3261 §21; else `ValueError`), and a reason phrase of one line.
#[pyclass(frozen, extends = CallDecision, module = "ringback")]
pub(crate) struct Reject {
    pub(crate) reason: String,
    pub(crate) status: u16,
    pub(crate) headers: api::HeaderList,
}

/// Let it ring: 180 now and every 60 s; the call waits for `accept`, `reject`, `forward` or `progress`, or the answer timeout.
#[pyclass(frozen, extends = CallDecision, module = "ringback")]
pub(crate) struct Defer;

/// Connect the caller with `target`: a second leg is placed and bridged, or, with `redirect`, the caller is told to call the
/// targets itself (302, RFC 3261 §21.3.3).
///
/// The second leg is an OUTGOING session of the same handler, counted like any other; `peer_id` links the two, and the end of one ends
/// the other. Early media, failures and hold pass between them. Several targets are tried one after the other, each for `ring_seconds`, or
/// all at once (`parallel`), and the first answer wins. An address of record of the system's registrar rings all its contacts. A target that
/// is no URI is the handler's fault: `InvalidUri` goes to `on_error`, and the caller gets 500.
#[pyclass(frozen, extends = CallDecision, module = "ringback")]
pub(crate) struct Forward {
    pub(crate) targets: Vec<String>,
    pub(crate) redirect: bool,
    pub(crate) parallel: bool,
    pub(crate) ring: Duration,
}

fn header_dict<'py>(py: Python<'py>, headers: &api::HeaderList) -> PyResult<Option<Bound<'py, PyDict>>> {
    if headers.is_empty() {
        return Ok(None);
    }
    let dict = PyDict::new(py);
    for (name, value) in headers {
        dict.set_item(name, value)?;
    }
    Ok(Some(dict))
}

fn repr(value: &str, py: Python<'_>) -> PyResult<String> {
    Ok(PyString::new(py, value).repr()?.to_string())
}

#[pymethods]
impl Accept {
    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["sdp"])
    }

    #[new]
    #[pyo3(signature = (sdp = None, *, headers = None))]
    fn new(sdp: Option<String>, headers: Option<&Bound<'_, PyMapping>>) -> PyResult<PyClassInitializer<Self>> {
        let headers = convert::headers(headers)?;
        Ok(PyClassInitializer::from(CallDecision).add_subclass(Accept { sdp, headers }))
    }

    #[getter]
    fn sdp(&self) -> Option<&str> {
        self.sdp.as_deref()
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        header_dict(py, &self.headers)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut inside = match &self.sdp {
            Some(sdp) => repr(sdp, py)?,
            None => String::new(),
        };
        push_headers(py, &mut inside, &self.headers)?;
        Ok(format!("CallDecision.Accept({inside})"))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| {
            let other = other.get();
            self.sdp == other.sdp && self.headers == other.headers
        })
    }

    fn __hash__(&self) -> u64 {
        convert::hash(&("accept", &self.sdp, &self.headers))
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let keywords = PyDict::new(py);
        keywords.set_item("headers", header_dict(py, &self.headers)?)?;
        Ok((PyTuple::new(py, [&self.sdp])?, keywords))
    }
}

fn push_headers(py: Python<'_>, text: &mut String, headers: &api::HeaderList) -> PyResult<()> {
    if let Some(dict) = header_dict(py, headers)? {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str("headers=");
        text.push_str(&dict.repr()?.to_string());
    }
    Ok(())
}

#[pymethods]
impl Reject {
    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["reason", "status"])
    }

    #[new]
    #[pyo3(signature = (reason, *, status = Whole(603), headers = None), text_signature = "(reason, *, status=603, headers=None)")]
    fn new(
        reason: String,
        status: Whole,
        headers: Option<&Bound<'_, PyMapping>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let status = convert::refusal(status)?;
        let headers = convert::headers(headers)?;
        Ok(PyClassInitializer::from(CallDecision).add_subclass(Reject { reason, status, headers }))
    }

    #[getter]
    fn reason(&self) -> &str {
        &self.reason
    }

    #[getter]
    fn status(&self) -> u16 {
        self.status
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        header_dict(py, &self.headers)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut inside = format!("{}, status={}", repr(&self.reason, py)?, self.status);
        push_headers(py, &mut inside, &self.headers)?;
        Ok(format!("CallDecision.Reject({inside})"))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| {
            let other = other.get();
            (&self.reason, self.status, &self.headers) == (&other.reason, other.status, &other.headers)
        })
    }

    fn __hash__(&self) -> u64 {
        convert::hash(&("reject", &self.reason, self.status, &self.headers))
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let keywords = PyDict::new(py);
        keywords.set_item("status", self.status)?;
        keywords.set_item("headers", header_dict(py, &self.headers)?)?;
        Ok((PyTuple::new(py, [&self.reason])?, keywords))
    }
}

#[pymethods]
impl Defer {
    #[classattr]
    fn __match_args__(py: Python<'_>) -> Bound<'_, PyTuple> {
        PyTuple::empty(py)
    }

    #[new]
    fn new() -> PyClassInitializer<Self> {
        PyClassInitializer::from(CallDecision).add_subclass(Defer)
    }

    fn __repr__(&self) -> &'static str {
        "CallDecision.Defer()"
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.is_instance_of::<Self>()
    }

    fn __hash__(&self) -> u64 {
        convert::hash(&"defer")
    }

    fn __getnewargs__<'py>(&self, py: Python<'py>) -> Bound<'py, PyTuple> {
        PyTuple::empty(py)
    }
}

#[pymethods]
impl Forward {
    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["target"])
    }

    #[new]
    #[pyo3(signature = (target, *others, redirect = false, parallel = false, ring_seconds = 30.0))]
    fn new(
        target: String,
        others: Vec<String>,
        redirect: bool,
        parallel: bool,
        ring_seconds: f64,
    ) -> PyResult<PyClassInitializer<Self>> {
        let forward = forward(target, others, redirect, parallel, ring_seconds)?;
        Ok(PyClassInitializer::from(CallDecision).add_subclass(forward))
    }

    #[getter]
    fn target(&self) -> Option<&str> {
        self.targets.first().map(String::as_str)
    }

    #[getter]
    fn targets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.targets)
    }

    #[getter]
    fn redirect(&self) -> bool {
        self.redirect
    }

    #[getter]
    fn parallel(&self) -> bool {
        self.parallel
    }

    #[getter]
    fn ring_seconds(&self) -> f64 {
        self.ring.as_secs_f64()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut inside = String::new();
        for target in &self.targets {
            if !inside.is_empty() {
                inside.push_str(", ");
            }
            inside.push_str(&repr(target, py)?);
        }
        if self.redirect {
            inside.push_str(", redirect=True");
        }
        if self.parallel {
            inside.push_str(", parallel=True");
        }
        if self.ring != Duration::from_secs(30) {
            inside.push_str(&format!(", ring_seconds={:?}", self.ring.as_secs_f64()));
        }
        Ok(format!("CallDecision.Forward({inside})"))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| {
            let other = other.get();
            (&self.targets, self.redirect, self.parallel, self.ring)
                == (&other.targets, other.redirect, other.parallel, other.ring)
        })
    }

    fn __hash__(&self) -> u64 {
        convert::hash(&("forward", &self.targets, self.redirect, self.parallel, self.ring))
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let keywords = PyDict::new(py);
        keywords.set_item("redirect", self.redirect)?;
        keywords.set_item("parallel", self.parallel)?;
        keywords.set_item("ring_seconds", self.ring.as_secs_f64())?;
        Ok((PyTuple::new(py, &self.targets)?, keywords))
    }
}

/// The checked parts of a forward, for the class and for `SessionControl.forward_incoming_call`.
pub(crate) fn forward(
    target: String,
    others: Vec<String>,
    redirect: bool,
    parallel: bool,
    ring_seconds: f64,
) -> PyResult<Forward> {
    if !(ring_seconds > 0.0 && ring_seconds <= convert::SECONDS_MOST) {
        return Err(PyValueError::new_err(format!("ring_seconds must be above zero, not {ring_seconds}")));
    }
    let mut targets = Vec::with_capacity(1 + others.len());
    targets.push(target);
    targets.extend(others);
    Ok(Forward { targets, redirect, parallel, ring: Duration::from_secs_f64(ring_seconds) })
}

impl Forward {
    pub(crate) fn decision(&self) -> api::Decision {
        api::Decision::Forward {
            targets: self.targets.clone(),
            redirect: self.redirect,
            parallel: self.parallel,
            ring: self.ring,
        }
    }
}

/// What the engine is told for what a handler returned, and whether that can fail for a fault of the program's.
pub(crate) fn from_handler(result: &Bound<'_, PyAny>) -> PyResult<(api::Decision, bool)> {
    if result.is_none() {
        // No opinion: 480, as without a handler.
        let reason = "Temporarily Unavailable".to_owned();
        return Ok((api::Decision::Reject { status: 480, reason, headers: Vec::new() }, false));
    }
    if let Ok(accept) = result.cast::<Accept>() {
        let accept = accept.get();
        let fallible = accept.sdp.is_some() || !accept.headers.is_empty();
        let decision = api::Decision::Accept { sdp: accept.sdp.clone(), headers: accept.headers.clone() };
        return Ok((decision, fallible));
    }
    if let Ok(reject) = result.cast::<Reject>() {
        let reject = reject.get();
        let (status, reason, headers) = (reject.status, reject.reason.clone(), reject.headers.clone());
        return Ok((api::Decision::Reject { status, reason, headers }, true));
    }
    if result.is_instance_of::<Defer>() {
        return Ok((api::Decision::Defer, false));
    }
    if let Ok(forward) = result.cast::<Forward>() {
        return Ok((forward.get().decision(), true));
    }
    Err(PyTypeError::new_err(format!(
        "on_incoming_call must give a CallDecision or None, not {}",
        result.get_type().name()?
    )))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<CallDecision>()?;
    let base = py.get_type::<CallDecision>();
    for (name, class) in [
        ("Accept", py.get_type::<Accept>()),
        ("Reject", py.get_type::<Reject>()),
        ("Defer", py.get_type::<Defer>()),
        ("Forward", py.get_type::<Forward>()),
    ] {
        class.setattr("__qualname__", format!("CallDecision.{name}"))?;
        base.setattr(name, class)?;
    }
    Ok(())
}
