//! Instant messages: `SessionControl.send_message`, and what `on_message` is given.

use pyo3::prelude::*;
use ringback_engine::api::{Command, TextMessage};
use ringback_media_api::Token;

use crate::coordinator::Coordinator;
use crate::names::Names;
use crate::pending::Undo;
use crate::reply::dataclass;

/// The future of the peer's 2xx, and the request's number for `give_up_message`.
#[pyfunction]
fn send_message<'py>(
    coordinator: &Bound<'py, Coordinator>,
    from_uri: String,
    to_uri: String,
    body: String,
    content_type: String,
) -> PyResult<(Bound<'py, PyAny>, u64)> {
    let mut request = Token::default();
    let future = coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| {
        request = token;
        Command::SendMessage { token, from: from_uri, to: to_uri, content_type, body }
    })?;
    Ok((future, request.0))
}

/// Whoever sent it was cancelled: it is not sent again.
#[pyfunction]
fn give_up_message(coordinator: &Bound<'_, Coordinator>, request: u64) {
    coordinator.get().tell(Command::GiveUp { token: Token::default(), request: Token(request) });
}

/// A `ringback.Message`.
pub(crate) fn to_python<'py>(
    names: &'static Names,
    py: Python<'py>,
    message: &TextMessage,
) -> PyResult<Bound<'py, PyAny>> {
    dataclass!(py, names.message, {
        from_uri: message.from.as_str(),
        to_uri: message.to.as_str(),
        content_type: message.content_type.as_str(),
        body: message.body.as_str(),
    })
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(send_message, module)?)?;
    module.add_function(wrap_pyfunction!(give_up_message, module)?)
}
