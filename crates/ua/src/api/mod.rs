//! What the rooms above see: identities, what goes in, what comes out.

mod authenticator;
mod config;
mod credentials;
mod error;
mod event;
mod flow;
mod id;
mod password_table;
mod request;
mod stats;

pub use authenticator::{Authenticator, Network, NetworkError, Password, Passwords};
pub use config::{Config, GuardConfig};
pub use credentials::Credentials;
pub use error::{FailCause, UaError};
pub use event::{Answer, Event, Output, Transmit};
pub use flow::{ConnectionId, Flow, Home, Place, Routes, Service, Transport};
pub use id::{CallKey, DialogId, PasswordKey, RequestKey, ResolveId, StandaloneKey, UsageKey};
pub use password_table::{Found, PasswordTable};
pub use request::{Body, CancelReason, ContactForm, Invite, Reply, Request};
pub use stats::{Live, Stats};
