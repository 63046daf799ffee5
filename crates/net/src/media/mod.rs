//! The media threads: each owns one `MediaEngine` and the sockets of its open legs.
//!
//! Commands come by a bounded ring a thread ([`links::Links`], [`link::Link`]), read whenever the thread is up: at the next turn of a leg, and while calls come and
//! go every few milliseconds; it is woken only when it would sleep on for longer. Events go back by a queue and the signalling thread's
//! waker; audio readiness goes straight to the program's queue. Legs that are to be connected move to one thread ([`travel`]).

mod crossing;
mod gather;
mod gauges;
mod io;
mod lateness;
mod link;
mod links;
mod pace;
mod thread;
mod travel;

pub(crate) use gauges::Gauges;
pub use lateness::TickLateness;
pub(crate) use link::{FromMedia, ToMedia, ring_for};
pub(crate) use links::Links;
pub(crate) use thread::{Parts, spawn};

#[cfg(test)]
mod tests;
