//! Operations on a call's media: commands and the futures of their answers.

use pyo3::prelude::*;
use ringback_engine::api::Command;
use ringback_media_api::{Token, Tone};

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

#[pyfunction]
fn stop_playing<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::StopPlaying { token, session })
}

/// As `stop_playing`, for a player that was cancelled: nobody waits for an answer.
#[pyfunction]
fn give_up_playing(coordinator: &Bound<'_, Coordinator>, session_id: SessionId) {
    coordinator.get().tell(Command::StopPlaying { token: Token::default(), session: session_id.0 });
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(generate_offer, module)?)?;
    module.add_function(wrap_pyfunction!(generate_answer, module)?)?;
    module.add_function(wrap_pyfunction!(establish_media_flow, module)?)?;
    module.add_function(wrap_pyfunction!(set_transmitting, module)?)?;
    module.add_function(wrap_pyfunction!(media_statistics, module)?)?;
    module.add_function(wrap_pyfunction!(monitor_statistics, module)?)?;
    module.add_function(wrap_pyfunction!(media_info, module)?)?;
    module.add_function(wrap_pyfunction!(echo, module)?)?;
    module.add_function(wrap_pyfunction!(play_tone, module)?)?;
    module.add_function(wrap_pyfunction!(stop_playing, module)?)?;
    module.add_function(wrap_pyfunction!(give_up_playing, module)?)
}
