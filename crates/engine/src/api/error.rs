use std::time::Duration;

use crate::api::{BridgeId, SessionId, State};

/// Everything that a command can fail with. `crates/python` maps each variant to one exception class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("the system is not running")]
    NotRunning,
    #[error("no session {0}")]
    SessionNotFound(SessionId),
    #[error("{what} does not fit a call that is {state}")]
    InvalidState { what: &'static str, state: State },
    /// The message is the one users see; it names what was wrong.
    #[error("{why}: {uri:?}")]
    InvalidUri { uri: String, why: String },
    #[error("{0}")]
    InvalidHeader(String),
    #[error("{0}")]
    Sdp(String),
    #[error("{0}")]
    ResourceExhausted(&'static str),
    #[error("{0}")]
    Media(String),
    /// An argument outside its range; Python's `ValueError`.
    #[error("{0}")]
    BadValue(String),
    #[error("not an identity: {0:?}")]
    BadId(String),
    #[error("no bridge {0}")]
    BridgeNotFound(BridgeId),
    /// The peer refused an in-dialog request (hold, re-offer).
    #[error("{status} {reason}")]
    Refused { status: u16, reason: String },
    /// The peer's final response to a request outside of a call that it refuses. `targets`: the contacts of a 3xx.
    #[error("{status} {reason}")]
    Rejected { status: u16, reason: String, targets: Vec<String> },
    /// What was asked of a peer has failed for want of an answer; `status` is what a response would have said.
    #[error("{cause}")]
    Failed { status: Option<u16>, cause: String },
    /// A transfer has failed; the call is as it was, or over. `status` is the target's final response, or the peer's to our wish.
    #[error("the transfer failed: {}{cause}", status.map_or_else(String::new, |status| format!("{status} ")))]
    Transfer { status: Option<u16>, cause: String },
    /// Nobody answered a request outside of a call in the time it was given.
    #[error("no answer within {} s", .0.as_secs_f64())]
    NoAnswer(Duration),
    /// There is no way to the peer of a request outside of a call.
    #[error("{0}")]
    Unreachable(String),
    /// The registrar's store has failed.
    #[error("the binding store failed: {0}")]
    Store(String),
    /// The call ended while the operation waited for the peer.
    #[error("the call ended: {0}")]
    Ended(String),
}
