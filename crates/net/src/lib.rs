//! Sockets, threads, clock and randomness: the only crate that does I/O.
//!
//! A [`System`] is one telephone system. Its threads, and what passes between them:
//!
//! * *signalling*: a plain epoll loop that owns the UDP sockets, the engine and all timers. Commands of the program come by the inbox, and
//!   what the program is told goes to the [`EventQueue`].
//! * *media*, one or more: epoll loops that own the sockets of open legs. Commands come by a ring; events go back by a queue.
//! * *files*, once a sound is played: reads and writes sound files for the media threads.
//! * *streams*: tokio, for TCP, TLS, WebSocket and name look-ups; messages come framed and by a bounded channel.
//!
//! No thread ever waits for another, for the program, or for a peer; whoever has pushed something wakes the one it is for.
//!
//! Linux only so far: `sys` and the wake-ups of the threads are epoll and eventfd; macOS needs their kqueue twins there.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the crate that does I/O")]

pub mod clock;
mod cpu_latency;
mod error;
mod files;
mod inbox;
mod listen;
mod log;
mod media;
mod memory;
mod nat;
mod os_thread;
mod ports;
mod queue;
mod random;
mod routes;
mod signalling;
mod store;
mod streams;
#[allow(unsafe_code, reason = "the one module with system calls; each block says why it is sound")]
mod sys;
mod system;
mod tls;
mod totals;
mod wake;

pub use error::NetError;
pub use files::{Files, Source};
pub use listen::Listen;
pub use log::{LOG_TARGETS, Level, LogLevels, LogRecord};
pub use media::TickLateness;
pub use queue::{EventQueue, Notice, WAKE_INTERVAL};
pub use random::random_u128;
pub use ringback_audio::Signal;
pub use ringback_nat::{Servers, TurnServer};
pub use system::{Settings, System, usual_media_threads};
pub use tls::TlsSettings;
pub use totals::{ConnectionCounters, Totals};
