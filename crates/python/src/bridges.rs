//! Connecting calls: commands and the futures of their answers.

use pyo3::prelude::*;
use ringback_engine::api::Command;

use crate::coordinator::Coordinator;
use crate::ids::{BridgeId, SessionId};
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

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(bridge, module)?)?;
    module.add_function(wrap_pyfunction!(destroy_bridge, module)?)?;
    module.add_function(wrap_pyfunction!(get_bridge, module)?)?;
    module.add_function(wrap_pyfunction!(list_bridges, module)?)?;
    module.add_function(wrap_pyfunction!(session_bridge, module)?)
}
