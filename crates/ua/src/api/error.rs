use std::fmt;

/// The program's own misuse. What a peer does wrong never ends here: it is answered, or becomes an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UaError {
    #[error("no such call")]
    UnknownCall,
    #[error("{0}")]
    InvalidState(&'static str),
    #[error("header {0:?} is not allowed here or has a forbidden character")]
    InvalidHeader(String),
    #[error("cannot send to {0:?}")]
    InvalidUri(String),
    #[error("{0}")]
    TooMany(&'static str),
}

/// Why a request of ours got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailCause {
    /// Timer B or F: nobody answered (RFC 3261 §8.1.3.1: as 408).
    Timeout,
    /// Nothing could be sent, or the peer's host says that nobody listens (§8.1.3.1: as 503).
    Transport(String),
    /// The host name has no usable address.
    Unresolved(String),
    /// We gave up before an answer: `cancel`, whatever the peer answered to it.
    Cancelled,
    /// The dialog ended meanwhile.
    Ended,
}

impl fmt::Display for FailCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FailCause::Timeout => f.write_str("no answer from the network"),
            FailCause::Transport(why) => write!(f, "transport error: {why}"),
            FailCause::Unresolved(why) => write!(f, "host not found: {why}"),
            FailCause::Cancelled => f.write_str("cancelled"),
            FailCause::Ended => f.write_str("the call ended"),
        }
    }
}
