//! Operations on a call's media: commands and the futures of their answers.

use std::sync::Arc;

use numpy::{PyReadonlyArray1, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use ringback_engine::api::Command;
use ringback_media_api::{Detection, Sound, Token, Tone};
use ringback_net::{Signal, Source};

use crate::convert;
use crate::coordinator::Coordinator;
use crate::ids::SessionId;
use crate::pending::Undo;

type Future<'py> = PyResult<Bound<'py, PyAny>>;

#[pyfunction]
fn generate_offer<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::GenerateOffer { token, session })
}

#[pyfunction]
fn generate_answer<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId, offer: String) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::GenerateAnswer { token, session, offer })
}

#[pyfunction]
fn establish_media_flow<'py>(
    coordinator: &Bound<'py, Coordinator>,
    session_id: SessionId,
    remote: &str,
) -> Future<'py> {
    let (session, remote) = (session_id.0, convert::address(remote)?);
    let make = |token| Command::EstablishMediaFlow { token, session, remote };
    coordinator.get().ask(coordinator.py(), Undo::Nothing, make)
}

#[pyfunction]
fn set_transmitting<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId, on: bool) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::SetTransmitting { token, session, on })
}

#[pyfunction]
fn media_statistics<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::MediaStatistics { token, session })
}

/// `interval` in seconds; None ends it.
#[pyfunction]
#[pyo3(signature = (coordinator, session_id, interval))]
fn monitor_statistics<'py>(
    coordinator: &Bound<'py, Coordinator>,
    session_id: SessionId,
    interval: Option<f64>,
) -> Future<'py> {
    let (session, interval) = (session_id.0, interval.map(convert::duration));
    let make = |token| Command::MonitorStatistics { token, session, interval };
    coordinator.get().ask(coordinator.py(), Undo::Nothing, make)
}

/// `onset` and `hangover` in seconds; with `enabled` false nobody listens any more.
#[pyfunction]
fn detect_voice<'py>(
    coordinator: &Bound<'py, Coordinator>,
    session_id: SessionId,
    enabled: bool,
    onset: f64,
    hangover: f64,
) -> Future<'py> {
    let session = session_id.0;
    let ms = |seconds: f64| (seconds * 1000.0).round() as u32;
    let detection = enabled.then(|| Detection { onset_ms: ms(onset), hangover_ms: ms(hangover) });
    let make = |token| Command::DetectSpeech { token, session, detection };
    coordinator.get().ask(coordinator.py(), Undo::Nothing, make)
}

#[pyfunction]
fn media_info<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::MediaInfo { token, session })
}

#[pyfunction]
fn echo<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId, on: bool) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::Echo { token, session, on })
}

/// Frequencies in Hz, `duration` in seconds. The future is done when the tone has been played, or was stopped.
#[pyfunction]
fn play_tone<'py>(
    coordinator: &Bound<'py, Coordinator>,
    session_id: SessionId,
    frequencies: Vec<f32>,
    duration: f64,
    level_dbm0: f32,
) -> Future<'py> {
    let session = session_id.0;
    let tone = Tone { frequencies, level_dbm0, duration: Some(convert::duration(duration)) };
    let make = |token| Command::PlayTone { token, session, tone };
    coordinator.get().ask(coordinator.py(), Undo::Nothing, make)
}

/// What `play` has begun.
#[pyclass(frozen, module = "ringback._ringback")]
pub(crate) struct Playback(Arc<Sound>);

impl Playback {
    pub(crate) fn new(sound: Arc<Sound>) -> Self {
        Playback(sound)
    }
}

#[pymethods]
impl Playback {
    /// Ends it, wherever it is.
    fn stop(&self) {
        self.0.stop();
    }

    /// Why it could not be played to its end.
    fn failure(&self) -> Option<&str> {
        self.0.failure()
    }
}

/// `source`: the path of a WAV file, or an int16 array at `sample_rate`. The future is done when it was played, or was stopped.
#[pyfunction]
#[pyo3(signature = (coordinator, session_id, source, sample_rate, looped))]
fn play<'py>(
    coordinator: &Bound<'py, Coordinator>,
    session_id: SessionId,
    source: &Bound<'py, PyAny>,
    sample_rate: Option<convert::Whole>,
    looped: bool,
) -> PyResult<(Bound<'py, PyAny>, Playback)> {
    let py = coordinator.py();
    let source = sound_source(source, sample_rate)?;
    let session = session_id.0;
    let sound = coordinator.get().files().sound();
    let playback = Playback(Arc::clone(&sound));
    let future = coordinator.get().ask_files(py, |files, token| {
        files.play(source, looped, Arc::clone(&sound), Command::Play { token, session, sound });
    })?;
    Ok((future, playback))
}

/// `signal`: "ringback", "busy" or "congestion", as `country` has it. The future is done when it was stopped.
#[pyfunction]
fn play_signal<'py>(
    coordinator: &Bound<'py, Coordinator>,
    session_id: SessionId,
    signal: &str,
    country: Option<&str>,
) -> PyResult<(Bound<'py, PyAny>, Playback)> {
    let kind = match signal {
        "ringback" => Signal::RingBack,
        "busy" => Signal::Busy,
        "congestion" => Signal::Congestion,
        _ => return Err(PyValueError::new_err(format!("no signal {signal:?}"))),
    };
    let Some(period) = kind.period(country, 8000) else {
        let known: Vec<&str> = Signal::countries().collect();
        let country = country.unwrap_or_default();
        return Err(PyValueError::new_err(format!(
            "no signals of {country:?} are known; there are {}",
            known.join(", ")
        )));
    };
    let session = session_id.0;
    let source = Source::Samples { samples: period.into(), rate: 8000 };
    let sound = coordinator.get().files().sound();
    let playback = Playback(Arc::clone(&sound));
    let future = coordinator.get().ask_files(coordinator.py(), |files, token| {
        files.play(source, true, Arc::clone(&sound), Command::Play { token, session, sound });
    })?;
    Ok((future, playback))
}

/// Something to be played, as a program gives it: `ValueError` and `TypeError` for what is no such thing.
pub(crate) fn sound_source(source: &Bound<'_, PyAny>, sample_rate: Option<convert::Whole>) -> PyResult<Source> {
    if let Ok(path) = source.cast::<PyString>() {
        if sample_rate.is_some() {
            return Err(PyValueError::new_err("sample_rate goes with samples; a WAV file says its own"));
        }
        let path = path.to_str()?;
        if path.contains('\0') {
            return Err(PyValueError::new_err("a path has no NUL"));
        }
        return Ok(Source::File(path.into()));
    }
    let array = match source.extract::<PyReadonlyArray1<'_, i16>>() {
        Ok(array) => convert::aligned(array)?,
        Err(_) => {
            let message = match source.cast::<PyUntypedArray>() {
                Ok(array) if array.ndim() != 1 => {
                    let dimensions = array.ndim();
                    let message = format!("source must be a one-dimensional array, not {dimensions}-D");
                    return Err(PyValueError::new_err(message));
                }
                Ok(array) => format!("source must be an int16 array, not {}", array.dtype()),
                Err(_) => {
                    let kind = source.get_type().name()?;
                    format!("source must be the path of a WAV file or an int16 array, not {kind}")
                }
            };
            return Err(PyTypeError::new_err(message));
        }
    };
    let rate = match sample_rate {
        Some(convert::Whole(rate @ 8000..=48_000)) => rate as u32,
        Some(rate) => return Err(PyValueError::new_err(format!("sample_rate must be 8000 to 48000, not {rate}"))),
        None => return Err(PyValueError::new_err("samples need a sample_rate")),
    };
    let samples = match array.as_slice() {
        Ok(samples) => samples.into(),
        Err(_) => array.as_array().iter().copied().collect(),
    };
    Ok(Source::Samples { samples, rate })
}

#[pyfunction]
fn stop_playing<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId) -> Future<'py> {
    let session = session_id.0;
    // What plays ends at once; what is still being opened, when its own command has come.
    coordinator.get().tell(Command::StopPlaying { token: Token::default(), session });
    coordinator.get().ask_files(coordinator.py(), |files, token| files.after(Command::StopPlaying { token, session }))
}

/// `playing`, a future of `play_tone`, was cancelled: its tone ends, and nothing that has replaced it.
#[pyfunction]
fn give_up_playing(coordinator: &Bound<'_, Coordinator>, session_id: SessionId, playing: &Bound<'_, PyAny>) {
    let coordinator = coordinator.get();
    let playing = coordinator.pending.lock().token_of(playing);
    if let Some(playing) = playing {
        coordinator.tell(Command::GiveUpPlaying { token: Token::default(), session: session_id.0, playing });
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(generate_offer, module)?)?;
    module.add_function(wrap_pyfunction!(generate_answer, module)?)?;
    module.add_function(wrap_pyfunction!(establish_media_flow, module)?)?;
    module.add_function(wrap_pyfunction!(set_transmitting, module)?)?;
    module.add_function(wrap_pyfunction!(media_statistics, module)?)?;
    module.add_function(wrap_pyfunction!(monitor_statistics, module)?)?;
    module.add_function(wrap_pyfunction!(detect_voice, module)?)?;
    module.add_function(wrap_pyfunction!(media_info, module)?)?;
    module.add_function(wrap_pyfunction!(echo, module)?)?;
    module.add_function(wrap_pyfunction!(play_tone, module)?)?;
    module.add_class::<Playback>()?;
    module.add_function(wrap_pyfunction!(play, module)?)?;
    module.add_function(wrap_pyfunction!(play_signal, module)?)?;
    module.add_function(wrap_pyfunction!(stop_playing, module)?)?;
    module.add_function(wrap_pyfunction!(give_up_playing, module)?)
}
