//! Text in and out: reading of the few parts a user agent needs on each message, and composing of messages straight into one buffer.

pub(crate) mod body;
pub(crate) mod echo;
pub(crate) mod request;
pub(crate) mod tags;
pub(crate) mod via;
pub(crate) mod writer;
