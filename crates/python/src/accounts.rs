//! Accounts with other registrars: `SessionCoordinator.register`, `Registration`.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use ringback_engine::api::{AccountConfig, Command, Registration};
use ringback_media_api::Token;
use ringback_ua::{Credentials, Transport};

use crate::convert;
use crate::coordinator::Coordinator;
use crate::names::names;
use crate::pending::Undo;

/// The native half of a `Registration`.
#[pyclass(frozen, module = "ringback._ringback")]
pub(crate) struct RegistrationView(pub(crate) Arc<Registration>);

#[pymethods]
impl RegistrationView {
    /// "registering", "registered", "failed" or "unregistered".
    fn state(&self) -> String {
        self.0.state().to_string()
    }

    fn expires_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.expires_at().map(|at| convert::datetime(names(py)?, py, at)).transpose()
    }

    /// Status and cause of the last failure.
    fn failure(&self) -> (Option<u16>, String) {
        self.0.failure()
    }
}

/// The future of a `RegistrationView`. `credentials`: (username, password, realm).
#[pyfunction]
#[pyo3(signature = (coordinator, id, aor, registrar, proxies, credentials, expires, transport, instance))]
#[expect(clippy::too_many_arguments, reason = "the fields of an account")]
fn register_account<'py>(
    coordinator: &Bound<'py, Coordinator>,
    id: u64,
    aor: String,
    registrar: Option<String>,
    proxies: Vec<String>,
    credentials: Option<(String, String, Option<String>)>,
    expires: f64,
    transport: Option<&str>,
    instance: String,
) -> PyResult<Bound<'py, PyAny>> {
    let transport = match transport {
        None => None,
        Some(name) => {
            let known = Transport::from_param(name);
            Some(known.ok_or_else(|| PyValueError::new_err(format!("no transport {name:?}")))?)
        }
    };
    let credentials =
        credentials.map(|(username, password, realm)| Arc::new(Credentials { username, password, realm }));
    let expires = convert::duration(expires);
    let mut proxies = proxies.into_iter();
    let (proxy, further_proxies) = (proxies.next(), proxies.collect());
    let account = AccountConfig { aor, registrar, proxy, further_proxies, credentials, expires, transport, instance };
    let account = Box::new(account);
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::Register { token, id, account })
}

/// The future of the registrar's answer.
#[pyfunction]
fn unregister_account<'py>(coordinator: &Bound<'py, Coordinator>, id: u64) -> PyResult<Bound<'py, PyAny>> {
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::Unregister { token, id })
}

/// Nobody waits for the account any more.
#[pyfunction]
fn drop_account(coordinator: &Bound<'_, Coordinator>, id: u64) {
    coordinator.get().tell(Command::Unregister { token: Token::default(), id });
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RegistrationView>()?;
    module.add_function(wrap_pyfunction!(register_account, module)?)?;
    module.add_function(wrap_pyfunction!(unregister_account, module)?)?;
    module.add_function(wrap_pyfunction!(drop_account, module)?)
}
