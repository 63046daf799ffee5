//! Sessions: calls and what is decided about them, holding, digits, bridges, forwarding, limits. Sans-IO.
//!
//! What it is for. [`Engine`] stands between a program and the protocol. Below it, `ringback-ua` knows transactions and dialogs and
//! carries descriptions as bytes, `ringback-sdp` is pure negotiation, and a media engine on another thread moves audio; the engine
//! joins the three and owns what none of them knows: that an INVITE, a pair of descriptions, a pair of ports and a program's
//! decision are one call. A session is one leg with one peer, incoming or outgoing.
//!
//! How data passes. The driver (`ringback-net`, or a test with a virtual clock) calls one `handle_*` for what arrived, drains
//! [`Engine::poll_output`] until `None`, and comes back at [`Engine::poll_timeout`]. Inside: bytes go to `ua`; what it reports is
//! dispatched by `signal`; commands of the program by `commands`; events of the media engine by `media_events`; deadlines by
//! `engine`. Each works on the call in question ([`call`](self) is its private side, [`api::Session`] the side every thread reads)
//! and appends to one output queue: transmits, media commands, events, look-ups. No input waits for anything: what needs an
//! answer of a peer or of the media engine keeps its token with the call.
//!
//! Invariants.
//! - A session's public state moves only through the table in `states`; a final state is never left, and a call reaches one only
//!   in `end`, which does everything that an end means: out of the tables, final, out of lists and counters, said to the peer,
//!   ports and bridge released, every waiting command answered, `Ended` reported, linked calls ended with it. What the protocol still owes
//!   (487, the ACK and BYE of a late 200, retransmissions) `ua` does behind.
//! - Every command with a token is completed exactly once: by its reply, or by the error of the end of its call or of the system.
//! - A decision is checked whole before the first response; one that fails has said nothing to the caller.
//! - A media port is in one place: reserved (given back by `release`), open (given back by `Close`), or gone.
//! - What a peer can grow is bounded: sessions, targets, queued digits, and events of one call, which a token bucket
//!   thins (32 at once, 32 a second; counted in [`Counters::events_dropped`]).
//! - A panic in the work for one call ends that call and is counted; the others never notice.
//!
//! How things end, as `end_reason` tells it: `hangup` or the reason that the program gave, `remote hangup`, `cancelled`,
//! `rejected 486 Busy Here` (refused by either side; an unanswered incoming call that the program hangs up is a 603),
//! `timeout` (the longest life), `shutdown` (an answered call at a stop), `failed: ...`.

pub mod api;

mod account;
mod account_flows;
mod accounts;
mod bridge;
mod call;
mod codecs;
mod collect;
mod commands;
mod conference;
mod contacts;
mod content;
mod decide;
mod dialog_info;
mod digits;
mod early;
mod end;
mod ended;
mod engine;
mod forward;
#[doc(hidden)]
pub mod fuzz;
mod headers;
mod incoming;
mod info;
mod limits;
mod locate;
mod media_events;
mod media_flow;
mod messages;
mod notifier;
mod options;
mod outgoing;
mod package;
mod pass;
mod reach;
mod refer;
mod referred;
mod registry;
mod reinvite;
mod replaces;
mod seat;
mod seen;
mod signal;
mod states;
mod stop;
mod stun;
mod subscribe;
mod table;
#[cfg(test)]
mod tests;
mod timers;
mod voice;

pub use engine::{Counters, Engine, Output};
