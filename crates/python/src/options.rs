//! Asking peers outside of calls: `SessionControl.send_options`.

use pyo3::prelude::*;
use ringback_engine::api::Command;
use ringback_media_api::Token;

use crate::convert;
use crate::coordinator::Coordinator;
use crate::pending::Undo;

/// The future of an `OptionsReply`, and the request's number for `give_up_options`. `timeout`: seconds, `None` for as long as the protocol
/// waits.
#[pyfunction]
#[pyo3(signature = (coordinator, from_uri, to_uri, timeout))]
fn send_options<'py>(
    coordinator: &Bound<'py, Coordinator>,
    from_uri: Option<String>,
    to_uri: String,
    timeout: Option<f64>,
) -> PyResult<(Bound<'py, PyAny>, u64)> {
    let timeout = timeout.map(convert::duration);
    let mut request = Token::default();
    let future = coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| {
        request = token;
        Command::SendOptions { token, from: from_uri, to: to_uri, timeout }
    })?;
    Ok((future, request.0))
}

/// Whoever asked was cancelled: nothing more is sent, and no answer kept.
#[pyfunction]
fn give_up_options(coordinator: &Bound<'_, Coordinator>, request: u64) {
    coordinator.get().tell(Command::GiveUp { token: Token::default(), request: Token(request) });
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(send_options, module)?)?;
    module.add_function(wrap_pyfunction!(give_up_options, module)?)
}
