//! The native half of `AudioBatches`: the ports of many calls, read and written together. Nobody is woken for a single port: the program
//! comes by itself once a frame.
//!
//! Rows: each call has a port of its own, which is let to have two frames before the first is taken, so that one which comes a
//! little late is no gap.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use numpy::{IntoPyArray as _, PyArray2, PyArrayMethods as _, PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods};
use parking_lot::Mutex;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use ringback_engine::api::{self, Command, State};
use ringback_media_api::{AudioPort, Token};

use crate::audio::{check_frame, check_rate};
use crate::convert::{Whole, aligned};
use crate::coordinator::Coordinator;
use crate::errors;
use crate::ids::SessionId;

/// Audio held for a slow reader, and accepted ahead of time from a fast writer, of each call.
const QUEUE_MS: u32 = 1000;
/// Frames that a port has before the first is taken.
const PRIMED: usize = 2;
/// Calls that are not looked at any more, before those that are over are forgotten.
const LEFT_MOST: usize = 1024;

#[pyclass(frozen, subclass, weakref, module = "ringback._ringback")]
pub(crate) struct AudioBatchesBase {
    coordinator: Py<Coordinator>,
    sample_rate: u32,
    frame_ms: u32,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// `None`: every active call.
    wanted: Option<Vec<api::SessionId>>,
    rows: Vec<Row>,
    /// Where in `rows` a call is.
    index: HashMap<api::SessionId, usize, foldhash::fast::RandomState>,
    /// Calls that have ended, have no media of ours, or whose audio was opened by somebody else.
    left: HashSet<api::SessionId, foldhash::fast::RandomState>,
    /// The rows' identities, until they change.
    names: Option<Py<PyTuple>>,
    closed: bool,
}

struct Row {
    session: api::SessionId,
    port: Arc<AudioPort>,
    /// Frames are taken from it.
    primed: bool,
}

impl Row {
    /// The frame of this tick, if there is one.
    fn take(&mut self) -> Option<Box<[i16]>> {
        if !self.primed {
            // What was kept from before is not for those who are in real time.
            while self.port.waiting_frames() > PRIMED {
                self.port.read();
            }
            // One that has ended gives what is left.
            if self.port.waiting_frames() < PRIMED && !self.port.is_closed() {
                return None;
            }
            self.primed = true;
        }
        let frame = self.port.read();
        self.primed = frame.is_some();
        frame
    }
}

impl AudioBatchesBase {
    /// Opens the audio of calls that have become active, and forgets those that are over.
    fn admit(&self, inner: &mut Inner) {
        let coordinator = self.coordinator.get();
        let mut changed = false;
        let Inner { rows, left, wanted, .. } = inner;
        rows.retain(|row| {
            let over = row.port.is_closed() && !row.port.has_frames();
            if over {
                left.insert(row.session);
                changed = true;
            }
            !over
        });
        if changed {
            inner.index = rows.iter().enumerate().map(|(at, row)| (row.session, at)).collect();
        }
        let candidates = match wanted {
            Some(wanted) => wanted.clone(),
            None => {
                let active = coordinator.directory().active();
                if left.len() > LEFT_MOST {
                    let active: HashSet<_> = active.iter().copied().collect();
                    left.retain(|session| active.contains(session));
                }
                active
            }
        };
        for session in candidates {
            if inner.index.contains_key(&session) || left.contains(&session) {
                continue;
            }
            match coordinator.directory().get(session).map(|call| call.state()) {
                Some(State::Active | State::OnHold) => {
                    let port = Arc::new(AudioPort::new(self.sample_rate, self.frame_ms, QUEUE_MS).live());
                    // Raised for ever: nobody is told of this port.
                    port.flag();
                    let command = Command::OpenAudio { token: Token::default(), session, port: Arc::clone(&port) };
                    coordinator.tell(command);
                    inner.index.insert(session, rows.len());
                    rows.push(Row { session, port, primed: false });
                    changed = true;
                }
                Some(state) if !state.is_final() => {}
                _ => {
                    left.insert(session);
                }
            }
        }
        if changed {
            inner.names = None;
        }
    }

    fn is_over(&self, inner: &Inner) -> bool {
        let all_left = |wanted: &Vec<_>| inner.rows.is_empty() && wanted.iter().all(|id| inner.left.contains(id));
        inner.closed || inner.wanted.as_ref().is_some_and(all_left) || !self.coordinator.get().is_up()
    }
}

#[pymethods]
impl AudioBatchesBase {
    #[new]
    #[pyo3(signature = (coordinator, sessions, sample_rate, frame_ms, /), text_signature = None)]
    fn new(
        py: Python<'_>,
        coordinator: &Bound<'_, Coordinator>,
        sessions: Option<Vec<SessionId>>,
        sample_rate: Whole,
        frame_ms: Whole,
    ) -> PyResult<Self> {
        let (sample_rate, frame_ms) = (check_rate(sample_rate)?, check_frame(frame_ms)?);
        coordinator.get().check_running(py)?;
        let wanted = match sessions {
            None => None,
            Some(sessions) => {
                let mut wanted = Vec::new();
                for id in sessions {
                    if coordinator.get().directory().get(id.0).is_none() {
                        return Err(errors::session_not_found(py, id));
                    }
                    if wanted.contains(&id.0) {
                        return Err(PyValueError::new_err(format!("session {} is named twice", id.0)));
                    }
                    wanted.push(id.0);
                }
                Some(wanted)
            }
        };
        let inner = Mutex::new(Inner { wanted, ..Inner::default() });
        Ok(AudioBatchesBase { coordinator: coordinator.clone().unbind(), sample_rate, frame_ms, inner })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.coordinator)
    }

    /// Samples a second, Hz, both ways.
    #[getter]
    fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Length of a frame, milliseconds.
    #[getter]
    fn frame_ms(&self) -> u32 {
        self.frame_ms
    }

    /// The frames of this tick, and whose they are; None when nothing will come any more.
    #[allow(clippy::type_complexity, reason = "a pair of Python objects")]
    fn _collect<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyTuple>, Bound<'py, PyArray2<i16>>)>> {
        let samples = (self.sample_rate * self.frame_ms / 1000) as usize;
        let (ids, names, frames) = {
            let mut inner = self.inner.lock();
            self.admit(&mut inner);
            if self.is_over(&inner) {
                return Ok(None);
            }
            let mut frames = Vec::with_capacity(inner.rows.len() * samples);
            for row in &mut inner.rows {
                let end = frames.len() + samples;
                if let Some(frame) = row.take() {
                    frames.extend_from_slice(&frame);
                }
                frames.resize(end, 0);
            }
            let ids: Vec<_> = inner.rows.iter().map(|row| SessionId(row.session)).collect();
            (ids, inner.names.as_ref().map(|names| names.clone_ref(py)), frames)
        };
        let rows = ids.len();
        let names = match names {
            Some(names) => names.into_bound(py),
            None => {
                let names = PyTuple::new(py, ids)?;
                self.inner.lock().names = Some(names.clone().unbind());
                names
            }
        };
        Ok(Some((names, frames.into_pyarray(py).reshape([rows, samples])?)))
    }

    /// The reader was too slow for so many ticks: their frames are lost.
    fn _skip(&self, ticks: usize) {
        let mut inner = self.inner.lock();
        for row in &mut inner.rows {
            for _ in 0..ticks.min(row.port.waiting_frames().saturating_sub(PRIMED - 1)) {
                row.port.read();
            }
        }
    }

    /// Queues each row from its offset on, as far as there is room; returns where each has come to, which is the end for calls that
    /// are over.
    fn _write(
        &self,
        sessions: Vec<SessionId>,
        samples: &Bound<'_, PyAny>,
        offsets: Vec<usize>,
    ) -> PyResult<Vec<usize>> {
        let Ok(array) = samples.extract::<PyReadonlyArray2<'_, i16>>() else {
            return Err(match samples.cast::<PyUntypedArray>() {
                Ok(array) if array.ndim() != 2 => PyValueError::new_err(format!(
                    "samples must be a two-dimensional array, (len(sessions), n), not {}-D",
                    array.ndim()
                )),
                Ok(array) => PyTypeError::new_err(format!("samples must be int16, not {}", array.dtype())),
                Err(_) => {
                    let kind = samples.get_type().name()?;
                    PyTypeError::new_err(format!("samples must be an int16 array, not {kind}"))
                }
            });
        };
        let array = aligned(array)?;
        let array = array.as_array();
        let (rows, length) = array.dim();
        if rows != sessions.len() {
            return Err(PyValueError::new_err(format!("samples has {rows} rows for {} sessions", sessions.len())));
        }
        let mut inner = self.inner.lock();
        if offsets.is_empty() && sessions.iter().any(|session| !inner.index.contains_key(&session.0)) {
            // A call that was answered after the last tick, or before the first.
            self.admit(&mut inner);
        }
        let mut reached = Vec::with_capacity(rows);
        for (number, (session, row)) in sessions.iter().zip(array.rows()).enumerate() {
            let offset = offsets.get(number).copied().unwrap_or(0);
            let port = inner.index.get(&session.0).and_then(|at| inner.rows.get(*at)).map(|row| &row.port);
            let Some(port) = port.filter(|port| !port.is_closed()) else {
                reached.push(length);
                continue;
            };
            let taken = match row.as_slice() {
                Some(row) => port.write(row.get(offset..).unwrap_or_default()),
                None => port.write(&row.iter().skip(offset).copied().collect::<Vec<i16>>()),
            };
            reached.push(offset + taken);
        }
        Ok(reached)
    }

    #[getter]
    fn _is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// Ends it: the calls go on, sending silence.
    fn _close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.index.clear();
        for row in inner.rows.drain(..) {
            // The leg looks at its port at its next turn.
            row.port.close();
        }
    }
}

impl Drop for AudioBatchesBase {
    /// Batches that nobody holds are closed.
    fn drop(&mut self) {
        self._close();
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<AudioBatchesBase>()
}
