//! An account that we register elsewhere, and the view of it that every thread may read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ringback_time::Wall;
use ringback_ua::{Credentials, Transport};

/// What to register, and by which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountConfig {
    /// Address of record, a URI or name-addr.
    pub aor: String,
    /// `None`: the host of the address of record.
    pub registrar: Option<String>,
    /// Outbound proxy, a URI: the first hop of registrations and calls.
    pub proxy: Option<String>,
    /// More of them: a flow by each where the registrar knows flows (RFC 5626 §4.2), else what is tried when one fails.
    pub further_proxies: Vec<String>,
    pub credentials: Option<Arc<Credentials>>,
    /// What is asked for.
    pub expires: Duration,
    pub transport: Option<Transport>,
    /// `+sip.instance` (RFC 5626 §4.1): a URN that is the same after a restart.
    pub instance: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RegistrationState {
    Registering = 0,
    Registered = 1,
    Failed = 2,
    Unregistered = 3,
}

impl fmt::Display for RegistrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RegistrationState::Registering => "registering",
            RegistrationState::Registered => "registered",
            RegistrationState::Failed => "failed",
            RegistrationState::Unregistered => "unregistered",
        })
    }
}

#[derive(Debug)]
pub struct Registration {
    pub id: u64,
    state: AtomicU8,
    /// Unix nanoseconds; 0: not registered.
    expires_at: AtomicU64,
    /// 0: no response.
    status: AtomicU16,
    /// Why it failed, in words.
    cause: Mutex<String>,
}

impl Registration {
    pub(crate) fn new(id: u64) -> Registration {
        Registration {
            id,
            state: AtomicU8::new(RegistrationState::Registering as u8),
            expires_at: AtomicU64::new(0),
            status: AtomicU16::new(0),
            cause: Mutex::default(),
        }
    }

    pub fn state(&self) -> RegistrationState {
        match self.state.load(Ordering::SeqCst) {
            0 => RegistrationState::Registering,
            1 => RegistrationState::Registered,
            2 => RegistrationState::Failed,
            _ => RegistrationState::Unregistered,
        }
    }

    /// `None` unless it is registered.
    pub fn expires_at(&self) -> Option<Wall> {
        match self.expires_at.load(Ordering::SeqCst) {
            0 => None,
            nanos => Some(Wall::from_unix_nanos(nanos)),
        }
    }

    /// Status and cause of the last failure; no status where there was no response.
    pub fn failure(&self) -> (Option<u16>, String) {
        (Some(self.status.load(Ordering::SeqCst)).filter(|status| *status != 0), self.cause.lock().clone())
    }

    // ---- for the engine

    pub(crate) fn set(&self, state: RegistrationState, expires_at: Option<Wall>) {
        self.expires_at.store(expires_at.map_or(0, |at| at.unix_nanos().max(1)), Ordering::SeqCst);
        self.state.store(state as u8, Ordering::SeqCst);
    }

    pub(crate) fn set_failure(&self, status: Option<u16>, cause: &str) {
        self.status.store(status.unwrap_or(0), Ordering::SeqCst);
        cause.clone_into(&mut self.cause.lock());
    }
}
