//! Digest authentication as SIP has it (RFC 3261 §22, RFC 7616, RFC 8760): the four header fields, and what is computed.
//!
//! * [`Challenge`] is one value of WWW-Authenticate or Proxy-Authenticate, [`Authorization`] one of Authorization or Proxy-Authorization.
//!   [`crate::Message::challenges`] and [`crate::Message::authorizations`] read them, however many stand in however many lines.
//! * [`ha1`] is what a user name and a password become; [`Answer::response`] is the proof that is sent, [`Authorization::proves`] its check,
//!   in a time that does not depend on where two digests differ.
//! * Who answers whom, how often, and which nonces are good is a user agent's business, not this module's.
//!
//! Invariant: a value that parses has all that its kind must have, no control characters, and `parse(emit(x)) == x`. What is
//! not understood is kept.

mod algorithm;
mod authorization;
mod challenge;
mod info;
mod list;

#[cfg(test)]
mod tests;

pub use algorithm::{Algorithm, Digest, Qop, ha1, hash};
pub use authorization::{Answer, Authorization};
pub use challenge::Challenge;
pub use info::AuthenticationInfo;

use crate::message::Message;
use crate::name::HeaderName;

/// More challenges, or credentials, in one message than this are not looked at.
pub const MAX_VALUES: usize = 16;

impl Message {
    /// The digest challenges of `WWW-Authenticate` or `Proxy-Authenticate`, topmost first: other schemes and what cannot be read are left
    /// out.
    pub fn challenges(&self, name: &HeaderName) -> Vec<Challenge> {
        list::read(self.headers().get_all(name)).filter_map(Challenge::of).take(MAX_VALUES).collect()
    }

    /// The digest credentials of `Authorization` or `Proxy-Authorization`, in their order.
    pub fn authorizations(&self, name: &HeaderName) -> Vec<Authorization> {
        list::read(self.headers().get_all(name)).filter_map(Authorization::of).take(MAX_VALUES).collect()
    }
}
