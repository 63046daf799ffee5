//! The native half of `Recording`.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use ringback_engine::api::Command;
use ringback_media_api::Tape;

use crate::coordinator::Coordinator;
use crate::errors;
use crate::ids::{BridgeId, SessionId};

#[pyclass(frozen, subclass, weakref, module = "ringback._ringback")]
pub(crate) struct RecordingBase {
    tape: Arc<Tape>,
    path: String,
    coordinator: Py<Coordinator>,
}

#[pymethods]
impl RecordingBase {
    #[new]
    #[pyo3(signature = (coordinator, path, stereo, /), text_signature = None)]
    fn new(coordinator: &Bound<'_, Coordinator>, path: &Bound<'_, PyAny>, stereo: bool) -> PyResult<Self> {
        let Ok(path) = path.cast::<PyString>() else {
            let kind = path.get_type().name()?;
            return Err(PyTypeError::new_err(format!("path must be a str, not {kind}")));
        };
        let path = path.to_str()?.to_owned();
        if path.contains('\0') {
            return Err(PyValueError::new_err("a path has no NUL"));
        }
        let tape = coordinator.get().files().tape(stereo);
        Ok(RecordingBase { tape, path, coordinator: coordinator.clone().unbind() })
    }

    fn __traverse__(&self, visit: pyo3::gc::PyVisit<'_>) -> Result<(), pyo3::gc::PyTraverseError> {
        visit.call(&self.coordinator)
    }

    /// The WAV file.
    #[getter]
    fn path(&self) -> &str {
        &self.path
    }

    /// Seconds recorded so far.
    #[getter]
    fn duration(&self) -> f64 {
        self.tape.recorded_seconds()
    }

    /// Seconds in the file.
    #[getter]
    fn _written(&self) -> f64 {
        self.tape.written_seconds()
    }

    /// `MediaError` where the file could not be written to its end.
    fn _check(&self, py: Python<'_>) -> PyResult<()> {
        self.tape.failure().map_or(Ok(()), |why| Err(errors::plain(py, "MediaError", why)))
    }

    /// Ends it; nobody waits.
    fn _give_up(&self) {
        self.tape.stop();
    }

    /// Ends it: a future that is done when the file is complete, or None where it is already.
    fn _stop<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.tape.is_complete() {
            return Ok(None);
        }
        let tape = Arc::clone(&self.tape);
        let asked = self.coordinator.get().ask_files(py, |files, token| files.finish(tape, token));
        // Where the system does not run, too.
        self.tape.stop();
        asked.map(Some)
    }
}

/// Records a call on the recording's tape; the future is done when it has begun.
#[pyfunction]
fn record<'py>(recording: &Bound<'py, RecordingBase>, session_id: SessionId) -> PyResult<Bound<'py, PyAny>> {
    let RecordingBase { tape, path, coordinator } = recording.get();
    let session = session_id.0;
    let (tape, path) = (Arc::clone(tape), path.into());
    coordinator.get().ask_files(recording.py(), |files, token| {
        files.record(path, Arc::clone(&tape), Command::Record { token, session, tape });
    })
}

/// The same for all of a bridge.
#[pyfunction]
fn record_bridge<'py>(recording: &Bound<'py, RecordingBase>, bridge: BridgeId) -> PyResult<Bound<'py, PyAny>> {
    let RecordingBase { tape, path, coordinator } = recording.get();
    let bridge = bridge.0;
    let (tape, path) = (Arc::clone(tape), path.into());
    coordinator.get().ask_files(recording.py(), |files, token| {
        files.record(path, Arc::clone(&tape), Command::RecordBridge { token, bridge, tape });
    })
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RecordingBase>()?;
    module.add_function(wrap_pyfunction!(record, module)?)?;
    module.add_function(wrap_pyfunction!(record_bridge, module)?)
}
