//! `Credentials` and `Authenticator`: what the builder hands over, and the answers to `Event::Password`.

use std::collections::HashMap;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use ringback_engine::api::Command;
use ringback_sip::digest::Algorithm;
use ringback_ua::{Authenticator, Credentials, Password, PasswordKey, Passwords};

use crate::coordinator::Coordinator;

/// (user name, password, realm).
pub(crate) type CredentialTuple = (String, String, Option<String>);
/// (realm, passwords or `None` to ask for each, networks, algorithms, whether bodies are signed, life of a nonce in seconds).
pub(crate) type AuthenticatorTuple = (String, Option<HashMap<String, String>>, Vec<String>, Vec<String>, bool, f64);

pub(crate) fn credentials(given: Vec<CredentialTuple>) -> Vec<Arc<Credentials>> {
    let make = |(username, password, realm)| Arc::new(Credentials { username, password, realm });
    given.into_iter().map(make).collect()
}

pub(crate) fn authenticator(given: AuthenticatorTuple) -> PyResult<Authenticator> {
    let (realm, passwords, trusted, algorithms, integrity, nonce_life) = given;
    let trusted = trusted.iter().map(|network| {
        network.parse().map_err(|error: ringback_ua::NetworkError| PyValueError::new_err(error.to_string()))
    });
    let algorithms = algorithms.iter().map(|name| {
        Algorithm::parse(name).ok_or_else(|| PyValueError::new_err(format!("no digest algorithm {name:?}")))
    });
    let passwords = passwords.map_or(Passwords::Ask, Passwords::table);
    Ok(Authenticator {
        trusted: trusted.collect::<PyResult<_>>()?,
        algorithms: algorithms.collect::<PyResult<_>>()?,
        integrity,
        nonce_life: crate::convert::duration(nonce_life),
        ..Authenticator::new(realm, passwords)
    })
}

/// Answers a question for a password: `None`: there is no such user. `failed`: nobody can say.
#[pyfunction]
fn answer_password(coordinator: &Bound<'_, Coordinator>, key: u64, password: Option<String>, failed: bool) {
    let password = match password {
        _ if failed => Password::Failed,
        Some(password) => Password::Known(password),
        None => Password::Unknown,
    };
    coordinator.get().tell(Command::Password { key: PasswordKey::from_u64(key), password });
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(answer_password, module)?)
}
