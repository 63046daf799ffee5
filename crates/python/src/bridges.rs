//! Connecting calls: commands and the futures of their answers.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use ringback_engine::api::{self, BridgeEventKind, Command};
use ringback_media_api::Token;

use crate::convert::Whole;
use crate::coordinator::Coordinator;
use crate::ids::{BridgeId, SessionId};
use crate::media::{Playback, sound_source};
use crate::names::names;
use crate::pending::Undo;

type Future<'py> = PyResult<Bound<'py, PyAny>>;

#[pyfunction]
fn bridge<'py>(coordinator: &Bound<'py, Coordinator>, first: SessionId, second: SessionId) -> Future<'py> {
    let (first, second) = (first.0, second.0);
    coordinator.get().ask(coordinator.py(), Undo::Unbridge, |token| Command::Bridge { token, first, second })
}

#[pyfunction]
fn destroy_bridge<'py>(coordinator: &Bound<'py, Coordinator>, bridge: BridgeId) -> Future<'py> {
    let bridge = bridge.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::DestroyBridge { token, bridge })
}

#[pyfunction]
fn get_bridge<'py>(coordinator: &Bound<'py, Coordinator>, bridge: BridgeId) -> Future<'py> {
    let bridge = bridge.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::GetBridge { token, bridge })
}

#[pyfunction]
fn list_bridges<'py>(coordinator: &Bound<'py, Coordinator>) -> Future<'py> {
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::ListBridges { token })
}

#[pyfunction]
fn session_bridge<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::SessionBridge { token, session })
}

#[pyfunction]
fn create_bridge<'py>(
    coordinator: &Bound<'py, Coordinator>,
    name: Option<String>,
    max_sessions: Option<Whole>,
) -> Future<'py> {
    let max_sessions = match max_sessions.map(|most| usize::try_from(most.0)) {
        Some(Ok(0) | Err(_)) => return Err(PyValueError::new_err("max_sessions must be at least 1")),
        Some(Ok(most)) => Some(most),
        None => None,
    };
    let make = |token| Command::CreateBridge { token, name, max_sessions };
    coordinator.get().ask(coordinator.py(), Undo::Unbridge, make)
}

#[pyfunction]
fn add_to_bridge<'py>(coordinator: &Bound<'py, Coordinator>, bridge: BridgeId, session: SessionId) -> Future<'py> {
    let (bridge, session) = (bridge.0, session.0);
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::AddToBridge { token, bridge, session })
}

#[pyfunction]
fn remove_from_bridge<'py>(coordinator: &Bound<'py, Coordinator>, bridge: BridgeId, session: SessionId) -> Future<'py> {
    let (bridge, session) = (bridge.0, session.0);
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::RemoveFromBridge { token, bridge, session })
}

/// `role`: "member", "listener" or "whisper".
#[pyfunction]
fn set_bridge_role<'py>(
    coordinator: &Bound<'py, Coordinator>,
    bridge: BridgeId,
    session: SessionId,
    role: &str,
    beside: Option<SessionId>,
) -> Future<'py> {
    let role = match role {
        "member" => api::BridgeRole::Member,
        "listener" => api::BridgeRole::Listener,
        "whisper" => api::BridgeRole::Whisper,
        _ => return Err(PyValueError::new_err(format!("no role in a bridge: {role:?}"))),
    };
    let (bridge, session, beside) = (bridge.0, session.0, beside.map(|beside| beside.0));
    let make = |token| Command::SetBridgeRole { token, bridge, session, role, beside };
    coordinator.get().ask(coordinator.py(), Undo::Nothing, make)
}

#[pyfunction]
fn set_bridge_gain<'py>(
    coordinator: &Bound<'py, Coordinator>,
    bridge: BridgeId,
    session: SessionId,
    gain_db: f32,
) -> Future<'py> {
    let (bridge, session) = (bridge.0, session.0);
    let make = |token| Command::SetBridgeGain { token, bridge, session, gain_db };
    coordinator.get().ask(coordinator.py(), Undo::Nothing, make)
}

#[pyfunction]
fn lock_bridge<'py>(coordinator: &Bound<'py, Coordinator>, bridge: BridgeId, locked: bool) -> Future<'py> {
    let bridge = bridge.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::LockBridge { token, bridge, locked })
}

/// As `media.play`, for all that are in a bridge.
#[pyfunction]
fn play_to_bridge<'py>(
    coordinator: &Bound<'py, Coordinator>,
    bridge: BridgeId,
    source: &Bound<'py, PyAny>,
    sample_rate: Option<Whole>,
) -> PyResult<(Bound<'py, PyAny>, Playback)> {
    let source = sound_source(source, sample_rate)?;
    let bridge = bridge.0;
    let sound = coordinator.get().files().sound();
    let playback = Playback::new(Arc::clone(&sound));
    let future = coordinator.get().ask_files(coordinator.py(), |files, token| {
        files.play(source, false, Arc::clone(&sound), Command::PlayToBridge { token, bridge, sound });
    })?;
    Ok((future, playback))
}

/// Events of the bridge come from now on, to `ringback.bridges.deliver`.
#[pyfunction]
fn watch_bridge<'py>(coordinator: &Bound<'py, Coordinator>, bridge: BridgeId) -> Future<'py> {
    let bridge = bridge.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::WatchBridge { token, bridge })
}

/// Ends one `watch_bridge`; nobody waits for an answer.
#[pyfunction]
fn unwatch_bridge(coordinator: &Bound<'_, Coordinator>, bridge: BridgeId) {
    coordinator.get().tell(Command::UnwatchBridge { token: Token::default(), bridge: bridge.0 });
}

/// Hands an event to those who iterate over the events of its bridge.
pub(crate) fn deliver(
    coordinator: &Bound<'_, Coordinator>,
    bridge: api::BridgeId,
    kind: BridgeEventKind,
    session: Option<api::SessionId>,
) -> PyResult<()> {
    let kind = match kind {
        BridgeEventKind::Joined => "joined",
        BridgeEventKind::Left => "left",
        BridgeEventKind::Talking => "talking",
        BridgeEventKind::Silent => "silent",
        BridgeEventKind::Destroyed => "destroyed",
    };
    let deliver = names(coordinator.py())?.deliver_bridge_event.bind(coordinator.py());
    deliver.call1((coordinator, BridgeId(bridge), kind, session.map(SessionId)))?;
    Ok(())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(bridge, module)?)?;
    module.add_function(wrap_pyfunction!(destroy_bridge, module)?)?;
    module.add_function(wrap_pyfunction!(get_bridge, module)?)?;
    module.add_function(wrap_pyfunction!(list_bridges, module)?)?;
    module.add_function(wrap_pyfunction!(create_bridge, module)?)?;
    module.add_function(wrap_pyfunction!(add_to_bridge, module)?)?;
    module.add_function(wrap_pyfunction!(remove_from_bridge, module)?)?;
    module.add_function(wrap_pyfunction!(set_bridge_role, module)?)?;
    module.add_function(wrap_pyfunction!(set_bridge_gain, module)?)?;
    module.add_function(wrap_pyfunction!(lock_bridge, module)?)?;
    module.add_function(wrap_pyfunction!(play_to_bridge, module)?)?;
    module.add_function(wrap_pyfunction!(watch_bridge, module)?)?;
    module.add_function(wrap_pyfunction!(unwatch_bridge, module)?)?;
    module.add_function(wrap_pyfunction!(session_bridge, module)?)
}
