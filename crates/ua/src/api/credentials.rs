use std::fmt;

/// Who we say we are where a peer asks (RFC 3261 §22.1). The password shows in no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
    /// `None`: any realm, but only of the host that the request went to: not of what is behind a proxy, unless that host has been
    /// answered in this realm before.
    pub realm: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Credentials { username, password: _, realm } = self;
        f.debug_struct("Credentials").field("username", username).field("realm", realm).finish_non_exhaustive()
    }
}
