//! Operations on calls: each checks its arguments, gives the engine a command, and returns the future of its answer.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyMapping;
use ringback_engine::api::{CallOptions, Command, Decision, DtmfMethod, TransferTarget};
use ringback_media_api::Token;

use crate::convert::{self, Whole};
use crate::coordinator::Coordinator;
use crate::decisions;
use crate::errors;
use crate::ids::SessionId;
use crate::incoming::IncomingCallBase;
use crate::names::names;
use crate::pending::Undo;
use crate::reply::dataclass;
use crate::seed;

/// More places than this one call is not sent on to.
const MAX_REDIRECTS: u8 = 70;

type Future<'py> = PyResult<Bound<'py, PyAny>>;

/// The future of an INITIATING `CallSession`; `send`: the INVITE follows upon `launch`, and the call is held for that.
#[pyfunction]
#[pyo3(signature = (coordinator, from_uri, to_uri, sdp, headers, send, late_offer=false, max_redirects=Whole(0)),
       text_signature = "(coordinator, from_uri, to_uri, sdp, headers, send, late_offer=False, max_redirects=0)")]
#[expect(clippy::too_many_arguments, reason = "those of the Python function")]
fn create_call<'py>(
    coordinator: &Bound<'py, Coordinator>,
    from_uri: String,
    to_uri: String,
    sdp: Option<String>,
    headers: Option<&Bound<'py, PyMapping>>,
    send: bool,
    late_offer: bool,
    max_redirects: Whole,
) -> Future<'py> {
    let headers = convert::headers(headers)?;
    let max_redirects =
        u8::try_from(max_redirects.0).ok().filter(|places| *places <= MAX_REDIRECTS).ok_or_else(|| {
            PyValueError::new_err(format!("max_redirects must be 0 to {MAX_REDIRECTS}, not {max_redirects}"))
        })?;
    let options = CallOptions { held_back: true, late_offer, max_redirects };
    let make = |token| Command::CreateCall { token, from: from_uri, to: to_uri, sdp, headers, send, options };
    coordinator.get().ask(coordinator.py(), Undo::Hangup, make)
}

/// Sends the INVITE of a call that was created with `send`; nothing happens where that is over.
#[pyfunction]
fn launch(coordinator: &Bound<'_, Coordinator>, session_id: SessionId) {
    coordinator.get().tell(Command::Launch { token: Token::default(), session: session_id.0 });
}

/// Ends a call that nobody has taken.
#[pyfunction]
fn discard(coordinator: &Bound<'_, Coordinator>, session_id: SessionId) {
    coordinator.get().tell(Command::Hangup { token: Token::default(), session: session_id.0, reason: None });
}

#[pyfunction]
#[pyo3(signature = (coordinator, session_id, sdp))]
fn send_prepared<'py>(
    coordinator: &Bound<'py, Coordinator>,
    session_id: SessionId,
    sdp: Option<String>,
) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::SendPrepared { token, session, sdp })
}

fn decide<'py>(
    coordinator: &Bound<'py, Coordinator>,
    call: &Bound<'py, IncomingCallBase>,
    decision: Decision,
) -> Future<'py> {
    let py = coordinator.py();
    coordinator.get().check_running(py)?;
    let Some((incoming, _)) = call.get().network() else {
        let message = "this IncomingCall was made by the program, not received: there is nobody to answer";
        return Err(errors::invalid_state(py, message, ringback_engine::api::State::Initiating));
    };
    let session = incoming.session.id;
    coordinator.get().ask(py, Undo::Nothing, |token| Command::Decide { token, session, decision })
}

#[pyfunction]
#[pyo3(signature = (coordinator, call, sdp))]
fn accept<'py>(
    coordinator: &Bound<'py, Coordinator>,
    call: &Bound<'py, IncomingCallBase>,
    sdp: Option<String>,
) -> Future<'py> {
    decide(coordinator, call, Decision::Accept { sdp, headers: Vec::new() })
}

#[pyfunction]
#[pyo3(signature = (coordinator, call, sdp))]
fn progress<'py>(
    coordinator: &Bound<'py, Coordinator>,
    call: &Bound<'py, IncomingCallBase>,
    sdp: Option<String>,
) -> Future<'py> {
    decide(coordinator, call, Decision::Progress { sdp })
}

#[pyfunction]
fn reject<'py>(
    coordinator: &Bound<'py, Coordinator>,
    call: &Bound<'py, IncomingCallBase>,
    reason: String,
    status: Whole,
) -> Future<'py> {
    let status = convert::refusal(status)?;
    decide(coordinator, call, Decision::Reject { status, reason, headers: Vec::new() })
}

#[pyfunction]
fn forward<'py>(
    coordinator: &Bound<'py, Coordinator>,
    call: &Bound<'py, IncomingCallBase>,
    target: String,
    others: Vec<String>,
    redirect: bool,
    parallel: bool,
) -> Future<'py> {
    let forward = decisions::forward(target, others, redirect, parallel, 30.0)?;
    decide(coordinator, call, forward.decision())
}

#[pyfunction]
#[pyo3(signature = (coordinator, session_id, reason))]
fn hangup<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId, reason: Option<String>) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::Hangup { token, session, reason })
}

#[pyfunction]
fn hold<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::Hold { token, session })
}

#[pyfunction]
fn resume<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::Resume { token, session })
}

#[pyfunction]
#[pyo3(signature = (coordinator, session_id, sdp))]
fn reoffer<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId, sdp: Option<String>) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::Reoffer { token, session, sdp })
}

/// `method`: "auto", "rtp_event", "info" or "inband".
#[pyfunction]
fn send_dtmf<'py>(
    coordinator: &Bound<'py, Coordinator>,
    session_id: SessionId,
    digits: String,
    method: &str,
    duration_ms: Whole,
    gap_ms: Whole,
) -> Future<'py> {
    if let Some(wrong) = digits.chars().find(|c| !matches!(c, '0'..='9' | '*' | '#' | 'A'..='D' | ',')) {
        return Err(PyValueError::new_err(format!("not a DTMF digit (0-9 * # A-D, \",\" to pause): {wrong:?}")));
    }
    let within = |name: &str, value: Whole, least: u32| match u32::try_from(value.0) {
        Ok(value) if (least..=8000).contains(&value) => Ok(value),
        _ => Err(PyValueError::new_err(format!("{name} must be {least} to 8000, not {value}"))),
    };
    let duration_ms = within("duration_ms", duration_ms, 40)?;
    let gap_ms = within("gap_ms", gap_ms, 0)?;
    let method = match method {
        "auto" => DtmfMethod::Auto,
        "rtp_event" => DtmfMethod::RtpEvent,
        "info" => DtmfMethod::Info,
        "inband" => DtmfMethod::Inband,
        _ => return Err(PyValueError::new_err(format!("no way to send digits: {method:?}"))),
    };
    let session = session_id.0;
    let make = |token| Command::SendDtmf { token, session, digits, method, duration_ms, gap_ms };
    coordinator.get().ask(coordinator.py(), Undo::Nothing, make)
}

/// `sending`, a future of `send_dtmf`, was cancelled: what is left of its digits is not sent.
#[pyfunction]
fn give_up_dtmf(coordinator: &Bound<'_, Coordinator>, session_id: SessionId, sending: &Bound<'_, PyAny>) {
    let coordinator = coordinator.get();
    let sending = coordinator.pending.lock().token_of(sending);
    if let Some(sending) = sending {
        coordinator.tell(Command::StopDtmf { token: Token::default(), session: session_id.0, sending });
    }
}

/// Digits from now on; `timeout` in seconds between two. The future's result is a str.
#[pyfunction]
fn collect_dtmf<'py>(
    coordinator: &Bound<'py, Coordinator>,
    session_id: SessionId,
    max_digits: Whole,
    terminator: String,
    timeout: f64,
) -> Future<'py> {
    let Ok(max) = usize::try_from(max_digits.0) else {
        return Err(PyValueError::new_err(format!("max_digits must be 1 to 1024, not {max_digits}")));
    };
    let (session, timeout) = (session_id.0, convert::duration(timeout));
    let make = |token| Command::CollectDtmf { token, session, max, terminators: terminator, timeout };
    coordinator.get().ask(coordinator.py(), Undo::Nothing, make)
}

/// `collecting`, a future of `collect_dtmf`, was cancelled.
#[pyfunction]
fn give_up_collecting(coordinator: &Bound<'_, Coordinator>, session_id: SessionId, collecting: &Bound<'_, PyAny>) {
    let coordinator = coordinator.get();
    let collecting = coordinator.pending.lock().token_of(collecting);
    if let Some(collecting) = collecting {
        coordinator.tell(Command::StopCollecting { token: Token::default(), session: session_id.0, collecting });
    }
}

#[pyfunction]
fn set_muted<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId, muted: bool) -> Future<'py> {
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::SetMuted { token, session, muted })
}

/// A session that is alive, or ended less than a minute ago.
#[pyfunction]
fn get_session<'py>(
    coordinator: &Bound<'py, Coordinator>,
    session_id: SessionId,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let session = coordinator.get().directory().get(session_id.0);
    session.map(|session| seed::session(coordinator, &session)).transpose()
}

/// As `get_session`; `NotRunningError`, `SessionNotFound`.
#[pyfunction]
fn require_session<'py>(coordinator: &Bound<'py, Coordinator>, session_id: SessionId) -> PyResult<Bound<'py, PyAny>> {
    let py = coordinator.py();
    coordinator.get().check_running(py)?;
    get_session(coordinator, session_id)?.ok_or_else(|| errors::session_not_found(py, session_id))
}

#[pyfunction]
fn list_active(coordinator: &Bound<'_, Coordinator>) -> PyResult<Vec<SessionId>> {
    coordinator.get().check_running(coordinator.py())?;
    Ok(coordinator.get().directory().active().into_iter().map(SessionId).collect())
}

#[pyfunction]
fn get_stats<'py>(coordinator: &Bound<'py, Coordinator>) -> PyResult<Bound<'py, PyAny>> {
    let py = coordinator.py();
    let stats = coordinator.get().directory().stats();
    dataclass!(py, names(py)?.session_stats, {
        active_sessions: stats.active_sessions,
        total_sessions: stats.total_sessions,
        failed_sessions: stats.failed_sessions,
        average_duration: stats.average_duration,
        uptime: coordinator.get().up_seconds(),
    })
}

/// Takes the next handler out of the queue's count; False: tasks have to start first.
#[pyfunction]
fn next_turn(coordinator: &Bound<'_, Coordinator>) -> bool {
    crate::dispatch::next_turn(coordinator)
}

/// A handler method was called when its turn came; see `dispatch`.
#[pyfunction]
fn plain_result(
    coordinator: &Bound<'_, Coordinator>,
    subject: &Bound<'_, PyAny>,
    result: Bound<'_, PyAny>,
) -> PyResult<()> {
    crate::dispatch::plain_result(coordinator, subject, result)
}

/// `target`: a URI, or the session whose peer is the target.
#[pyfunction]
fn transfer<'py>(
    coordinator: &Bound<'py, Coordinator>,
    session_id: SessionId,
    target: &Bound<'py, PyAny>,
) -> Future<'py> {
    let target = match target.extract::<SessionId>() {
        Ok(SessionId(other)) => TransferTarget::Session(other),
        Err(_) => TransferTarget::Uri(target.extract::<String>().map_err(|_| {
            let name = target.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
            PyTypeError::new_err(format!("target must be a URI or a SessionId, not {name}"))
        })?),
    };
    let session = session_id.0;
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::Transfer { token, session, target })
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(create_call, module)?)?;
    module.add_function(wrap_pyfunction!(launch, module)?)?;
    module.add_function(wrap_pyfunction!(discard, module)?)?;
    module.add_function(wrap_pyfunction!(send_prepared, module)?)?;
    module.add_function(wrap_pyfunction!(accept, module)?)?;
    module.add_function(wrap_pyfunction!(progress, module)?)?;
    module.add_function(wrap_pyfunction!(reject, module)?)?;
    module.add_function(wrap_pyfunction!(forward, module)?)?;
    module.add_function(wrap_pyfunction!(hangup, module)?)?;
    module.add_function(wrap_pyfunction!(hold, module)?)?;
    module.add_function(wrap_pyfunction!(resume, module)?)?;
    module.add_function(wrap_pyfunction!(transfer, module)?)?;
    module.add_function(wrap_pyfunction!(reoffer, module)?)?;
    module.add_function(wrap_pyfunction!(send_dtmf, module)?)?;
    module.add_function(wrap_pyfunction!(give_up_dtmf, module)?)?;
    module.add_function(wrap_pyfunction!(collect_dtmf, module)?)?;
    module.add_function(wrap_pyfunction!(give_up_collecting, module)?)?;
    module.add_function(wrap_pyfunction!(set_muted, module)?)?;
    module.add_function(wrap_pyfunction!(get_session, module)?)?;
    module.add_function(wrap_pyfunction!(require_session, module)?)?;
    module.add_function(wrap_pyfunction!(list_active, module)?)?;
    module.add_function(wrap_pyfunction!(get_stats, module)?)?;
    module.add_function(wrap_pyfunction!(next_turn, module)?)?;
    module.add_function(wrap_pyfunction!(plain_result, module)?)
}
