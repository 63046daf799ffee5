//! RTP, RTCP, telephone-events and reception statistics, without I/O.
//!
//! Nothing here reads a clock, allocates for a packet, or trusts a peer: every parser takes bytes and returns a checked view or an
//! error, every counter wraps as its RFC says, and every store has a bound.
//!
//! | module | what | source |
//! |---|---|---|
//! | [`header`] | the fixed header, and a view of a packet's payload | RFC 3550 §5.1, A.1 |
//! | [`sequence`] | comparison of numbers that wrap | RFC 1982 |
//! | [`receiver`] | sequence numbers, loss and jitter of one received stream | RFC 3550 A.1, A.3, A.8 |
//! | [`rtcp`] | reports, and when to send them | RFC 3550 §6 |
//! | [`dtmf`] | telephone-events | RFC 4733 |
//! | [`jitter`] | playout buffer that adapts to the arrivals | |
//! | [`emodel`] | what a listener thinks of it | ITU-T G.107 |

pub mod dtmf;
pub mod emodel;
#[doc(hidden)]
pub mod fuzz;
pub mod header;
pub mod jitter;
pub mod receiver;
pub mod rtcp;
pub mod sequence;

pub use header::{Header, HeaderError, Packet};
pub use receiver::{Arrival, ReceiverState};
