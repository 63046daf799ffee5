//! The native half of `AudioStream`: frames out as numpy arrays, samples in from arrays or bytes, and who waits for either.
//!
//! Waiting: register a future, lower the port's flag, look again, and only then wait. The port raises its flag once after that, which
//! comes here as `wake`; whoever waits looks for himself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use numpy::ndarray::Axis;
use numpy::{PyArray1, PyReadonlyArray1, PyUntypedArray, PyUntypedArrayMethods};
use parking_lot::Mutex;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyWeakrefMethods, PyWeakrefReference};
use ringback_engine::api::Command;
use ringback_media_api::{AudioPort, Token};

use crate::convert::{Whole, aligned};
use crate::coordinator::Coordinator;
use crate::ids::SessionId;
use crate::pending::{Undo, Waiter};

/// Audio held for a slow reader, beside the two seconds from before the stream was opened, and accepted ahead of time from a fast
/// writer.
const QUEUE_MS: u32 = 2000;

const SAMPLE_RATES: [u32; 4] = [8000, 16_000, 24_000, 48_000];

#[pyclass(frozen, subclass, weakref, module = "ringback._ringback")]
pub(crate) struct AudioStreamBase {
    port: Arc<AudioPort>,
    coordinator: Py<Coordinator>,
    session: SessionId,
    opened: AtomicBool,
    waiters: Mutex<Vec<Waiter>>,
}

impl AudioStreamBase {
    fn key(&self) -> usize {
        Arc::as_ptr(&self.port) as usize
    }

    fn wake(&self, py: Python<'_>, here: Option<&Py<PyAny>>) {
        let (waiters, held) = {
            let mut waiters = self.waiters.lock();
            (std::mem::take(&mut *waiters), self.let_go())
        };
        drop(held);
        for waiter in waiters {
            waiter.settle(py, here, Ok(py.None().into_bound(py)));
        }
    }

    /// Nobody waits: the stream is kept by those who hold it. What is returned is dropped outside of the locks.
    fn let_go(&self) -> Option<Py<PyAny>> {
        self.coordinator.get().awaited.lock().remove(&self.key())
    }

    /// The port closes, and the engine is told where it does not know.
    fn shut(&self) {
        let was_closed = self.port.is_closed();
        self.port.close();
        let coordinator = self.coordinator.get();
        let weak = coordinator.audio.lock().remove(&self.key());
        drop(weak);
        if !was_closed && self.opened.load(Ordering::Acquire) {
            let (session, port) = (self.session.0, Arc::clone(&self.port));
            coordinator.tell(Command::CloseAudio { token: Token::default(), session, port });
        }
    }
}

#[pymethods]
impl AudioStreamBase {
    #[new]
    #[pyo3(signature = (coordinator, session_id, sample_rate, frame_ms, /), text_signature = None)]
    fn new(
        coordinator: &Bound<'_, Coordinator>,
        session_id: SessionId,
        sample_rate: Whole,
        frame_ms: Whole,
    ) -> PyResult<Self> {
        let (sample_rate, frame_ms) = (check_rate(sample_rate)?, check_frame(frame_ms)?);
        Ok(AudioStreamBase {
            port: Arc::new(AudioPort::new(sample_rate, frame_ms, QUEUE_MS)),
            coordinator: coordinator.clone().unbind(),
            session: session_id,
            opened: AtomicBool::new(false),
            waiters: Mutex::default(),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.coordinator)?;
        if let Some(waiters) = self.waiters.try_lock() {
            for waiter in waiters.iter() {
                waiter.visit(visit)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let waiters = std::mem::take(&mut *self.waiters.lock());
        drop(waiters);
    }

    /// Samples a second, Hz, both ways.
    #[getter]
    fn sample_rate(&self) -> u32 {
        self.port.sample_rate()
    }

    /// Length of a received frame, milliseconds.
    #[getter]
    fn frame_ms(&self) -> u32 {
        self.port.frame_ms()
    }

    /// Samples written that have been sent, exact to the RTP packet, since the stream was opened.
    #[getter]
    fn played_samples(&self) -> u64 {
        self.port.played_samples()
    }

    /// Received frames that were lost because the reader was too slow.
    #[getter]
    fn dropped_frames(&self) -> u64 {
        self.port.dropped_frames()
    }

    /// Drops what was written and not yet sent (barge-in), the rest of a `write` that still waits for room included. Returns the samples
    /// sent since the last clear, exactly.
    fn clear(&self) -> u64 {
        self.port.clear()
    }

    /// Another after each clear.
    #[getter]
    fn _generation(&self) -> u64 {
        self.port.generation()
    }

    #[getter]
    fn _is_closed(&self) -> bool {
        self.port.is_closed()
    }

    /// Samples written and not yet sent.
    #[getter]
    fn _queued(&self) -> usize {
        self.port.queued_samples()
    }

    /// The next received frame.
    fn _read<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<i16>>> {
        self.port.read().map(|frame| PyArray1::from_vec(py, frame.into_vec()))
    }

    /// Queues samples from `offset` on; returns (samples taken, samples in all).
    fn _write(&self, samples: &Bound<'_, PyAny>, offset: usize) -> PyResult<(usize, usize)> {
        // What there is no room for is not converted: it would be again and again.
        let some = |all: usize| offset.min(all)..offset.saturating_add(self.port.room()).min(all);
        if let Ok(array) = samples.extract::<PyReadonlyArray1<'_, i16>>() {
            let array = aligned(array)?;
            let all = array.len();
            let taken = match array.as_slice() {
                Ok(slice) => self.port.write(slice.get(offset..).unwrap_or_default()),
                Err(_) => self.port.write(&array.as_array().slice_axis(Axis(0), some(all).into()).to_vec()),
            };
            return Ok((taken, all));
        }
        if let Ok(array) = samples.extract::<PyReadonlyArray1<'_, f32>>() {
            let array = aligned(array)?;
            let all = array.len();
            let view = array.as_array();
            let copy: Vec<i16> =
                view.slice_axis(Axis(0), some(all).into()).iter().map(|sample| from_float(*sample)).collect();
            return Ok((self.port.write(&copy), all));
        }
        if let Ok(bytes) = samples.cast::<PyBytes>() {
            let bytes = bytes.as_bytes();
            if bytes.len() % 2 != 0 {
                return Err(PyValueError::new_err(format!(
                    "{} bytes are no whole number of 16-bit samples",
                    bytes.len()
                )));
            }
            let (pairs, _) = bytes.as_chunks::<2>();
            let some = pairs.get(some(pairs.len())).unwrap_or_default();
            let copy: Vec<i16> = some.iter().map(|pair| i16::from_le_bytes(*pair)).collect();
            return Ok((self.port.write(&copy), pairs.len()));
        }
        if let Ok(array) = samples.cast::<PyUntypedArray>() {
            if array.ndim() != 1 {
                return Err(PyValueError::new_err(format!(
                    "samples must be a one-dimensional array, not {}-D",
                    array.ndim()
                )));
            }
            let dtype = array.dtype();
            return Err(PyTypeError::new_err(format!("samples must be int16 or float32, not {dtype}")));
        }
        let kind = samples.get_type().name()?;
        Err(PyTypeError::new_err(format!("samples must be an int16 or float32 array or bytes, not {kind}")))
    }

    /// A future that is done when something has changed. Look again before waiting for it. As long as it is waited for, the coordinator
    /// holds the stream, and by that the task that waits.
    fn _watch<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let stream = slf.get();
        let waiter = Waiter::new(py)?;
        let future = waiter.future(py);
        let held = {
            let mut waiters = stream.waiters.lock();
            waiters.push(waiter);
            stream.coordinator.get().awaited.lock().insert(stream.key(), slf.clone().into_any().unbind())
        };
        drop(held);
        stream.port.unflag();
        Ok(future)
    }

    /// Nobody waits for this future any more.
    fn _forget(&self, future: &Bound<'_, PyAny>) {
        let mut waiters = self.waiters.lock();
        let at = waiters.iter().position(|waiter| waiter.is(future));
        let waiter = at.map(|at| waiters.swap_remove(at));
        let held = if waiters.is_empty() { self.let_go() } else { None };
        drop(waiters);
        drop((waiter, held));
    }

    fn _close(slf: &Bound<'_, Self>) {
        let stream = slf.get();
        stream.shut();
        let here = stream.coordinator.get().running().map(|running| running.attached.event_loop.clone_ref(slf.py()));
        stream.wake(slf.py(), here.as_ref());
    }
}

impl Drop for AudioStreamBase {
    /// A stream that nobody holds is closed.
    fn drop(&mut self) {
        self.shut();
    }
}

/// One of the rates that audio is exchanged at.
pub(crate) fn check_rate(sample_rate: Whole) -> PyResult<u32> {
    SAMPLE_RATES.into_iter().find(|rate| i64::from(*rate) == sample_rate.0).ok_or_else(|| {
        PyValueError::new_err(format!("sample_rate must be 8000, 16000, 24000 or 48000, not {sample_rate}"))
    })
}

pub(crate) fn check_frame(frame_ms: Whole) -> PyResult<u32> {
    match u32::try_from(frame_ms.0) {
        Ok(ms) if (10..=60).contains(&ms) => Ok(ms),
        _ => Err(PyValueError::new_err(format!("frame_ms must be 10 to 60, not {frame_ms}"))),
    }
}

/// -1 to 1 as full scale; beyond is clipped, NaN is silence.
fn from_float(sample: f32) -> i16 {
    (sample * 32_767.0).round() as i16
}

/// Puts the stream's port between the call and the program; the future is done when it is there.
#[pyfunction]
fn open_audio<'py>(stream: &Bound<'py, AudioStreamBase>) -> PyResult<Bound<'py, PyAny>> {
    let py = stream.py();
    let AudioStreamBase { port, coordinator, session, opened, .. } = stream.get();
    let coordinator = coordinator.get();
    let weak = PyWeakrefReference::new(stream)?.unbind();
    let (session, port) = (session.0, Arc::clone(port));
    coordinator.audio.lock().insert(Arc::as_ptr(&port) as usize, weak);
    let future = coordinator.ask(py, Undo::Nothing, |token| Command::OpenAudio { token, session, port })?;
    opened.store(true, Ordering::Release);
    Ok(future)
}

/// The port's flag was raised.
pub(crate) fn wake(coordinator: &Bound<'_, Coordinator>, port: &Arc<AudioPort>, here: Option<&Py<PyAny>>) {
    let py = coordinator.py();
    let key = Arc::as_ptr(port) as usize;
    let mut audio = coordinator.get().audio.lock();
    let weak = if port.is_closed() { audio.remove(&key) } else { audio.get(&key).map(|weak| weak.clone_ref(py)) };
    drop(audio);
    let stream = weak.and_then(|weak| weak.bind(py).upgrade_as::<AudioStreamBase>().ok().flatten());
    if let Some(stream) = stream {
        stream.get().wake(py, here);
    }
}

/// The system has stopped: no stream goes on.
pub(crate) fn end_all(coordinator: &Bound<'_, Coordinator>, here: Option<&Py<PyAny>>) {
    let py = coordinator.py();
    let streams: Vec<_> = coordinator.get().audio.lock().drain().map(|(_, weak)| weak).collect();
    for weak in streams {
        if let Ok(Some(stream)) = weak.bind(py).upgrade_as::<AudioStreamBase>() {
            stream.get().port.close();
            stream.get().wake(py, here);
        }
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<AudioStreamBase>()?;
    module.add_function(wrap_pyfunction!(open_audio, module)?)
}
