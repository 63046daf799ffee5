//! A seeded lossy network for tests: what goes in comes out later, or not, or twice, or in another order.
//!
//! Invariant: a [`Network`] is a function of its seed and of the calls made to it. It reads no clock; time comes in with each call,
//! and [`Network::poll_timeout`] says when the next packet is due. Two packets due in the same nanosecond come out in the order in
//! which they were sent.
//!
//! How data passes: [`Network::send`] decides at once what becomes of a packet (lost, delivered once or twice, and when) under the
//! [`Conditions`] of its path; [`Network::poll`] hands over what is due. [`Network::send_stream`] is for what runs over a
//! connection: it is delayed, but never lost and never overtaken.

mod conditions;
mod network;

pub use conditions::Conditions;
pub use network::{Counters, Network};
