//! Several whole systems (a session engine and a media engine each) under one virtual clock, joined by a seeded lossy network.
//!
//! Nothing here waits: a [`World`] looks for the earliest deadline of all (a packet that is due, a timer of an engine, a command
//! that was put off), sets the clock to it and lets it happen. A minute of two systems talking takes well under a second, and the
//! same seed gives the same minute.
//!
//! Invariant: between two steps every engine has been drained; what it said has been sent, logged or handed to its media engine,
//! and the [`Handler`] of its system has answered the events. A world that makes no progress (one instant that never ends, or far
//! too much happening a second) ends with [`Stuck`] instead of running for ever.
//!
//! How data passes: the systems have the addresses 10.0.0.1, 10.0.0.2, ... and listen for SIP on port 5060 by UDP and TCP. Their
//! media ports are a counter instead of sockets. A packet goes through [`ringback_netsim::Network`] under the conditions of the
//! path from one address to the other. What is sent to an address that is no system's can be looked at with
//! [`World::take_outside`], and [`World::send_raw`] speaks for such an address.
//!
//! It stands in for `ringback-net`: what that crate does with sockets and threads is done here with queues, by the same calls.

mod check;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod handler;
mod packet;
mod ports;
mod streams;
mod system;
mod world;

pub use check::{check_log, session_of};
pub use error::Stuck;
pub use handler::{Actions, Handler};
pub use packet::{Kind, Packet};
pub use system::{Live, Logged, Traffic};
pub use world::{SIP_PORT, SystemId, World};
