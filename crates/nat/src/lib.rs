//! Addresses that others can send to: what a NAT makes of ours, learned by STUN (RFC 8489), or a relay's, by TURN (RFC 8656).
//! Without I/O; the wire formats, the signatures and the state of an allocation are those of `stun-proto` and `turn-client-proto`.
//!
//! For SIP's own socket there are [`Probe`] and [`answer`] (RFC 5626 §4.4.2, §8). For media, one [`Traversal`] a pair of ports. It asks for both sockets at once ([`Traversal::new`]), tells what came of it
//! ([`Traversal::poll_outcome`]), keeps mappings and allocations alive for as long as the ports are in use, carries a relayed leg's
//! packets ([`Traversal::wrap`], [`Traversal::handle`]) and gives back what was allocated ([`Traversal::close`]).
//!
//! Decisions:
//! - RTP and RTCP have an allocation each, made at the same time, rather than one of two adjacent ports (EVEN-PORT) made one after the
//!   other: `a=rtcp` (RFC 3605) says where RTCP is.
//! - A response counts only from the server that was asked, with the transaction that was asked by; what comes by a relay carries its
//!   peer's address, which the leg judges as it judges a direct one.
//! - One half of a pair is nothing: where RTP has an address and RTCP has none, neither has.
//! - With both servers, both are asked at once; the relay's address is taken if there is one, else STUN's.

mod binding;
mod clock;
#[doc(hidden)]
pub mod fuzz;
mod relay;
mod servers;
mod signalling;
mod traversal;

pub use servers::{Answer, Component, Outcome, Public, Servers, TurnServer};
pub use signalling::{Asked, Probe, answer, is_stun, transaction};
pub use traversal::{CLOSE_MOST, GATHER_MOST, KEEP_ALIVE, Received, Transmit, Traversal};
