//! SIP transactions (RFC 3261 §17, RFC 6026), dialogs (§12) and INVITE usages (§13-15) for both roles, without I/O.
//!
//! [`Ua`] is one user agent. Messages, resolved names, what became of streams and the time go in by `handle_*`; commands are plain verbs
//! ([`Ua::invite`], [`Ua::respond`], [`Ua::bye`], ...); [`Ua::poll_output`] gives what to send, which names to look up and what to tell
//! the rooms above; [`Ua::poll_timeout`] says when [`Ua::handle_timeout`] is due. Invariant: after each input or command, drain
//! `poll_output` until `None`, then arm the timeout.
//!
//! * `transaction`: the four machines as tables, the keys by which messages find theirs, and the rows that finished ones leave.
//! * `timer`: deadlines, a FIFO queue a length.
//! * `dialog`, `target`: where requests go, and in which order they come.
//! * `wire`: reading in place and composing into one buffer.
//! * `gate`: whom we let in.
//! * `nonces`: what peers gave us to prove who we are.
//! * `core`: the user agent, one file a concern; its first lines say how a message passes.
//!
//! What a peer does wrong is answered here (400, 405, 415, 420, 481, 482, 491, 493, 500, 501, 503, 513 and what the parser says) or dropped,
//! and never becomes an error above. Everything a peer can make grow is bounded; what remains of a finished call is two rows of 24
//! bytes for 32 s.

mod api;
mod arena;
mod core;
mod dialog;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod nonces;
mod target;
mod timer;
mod transaction;
mod wire;

pub use api::*;
pub use core::Ua;
pub use wire::body::session_description;
