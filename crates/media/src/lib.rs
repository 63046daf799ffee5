//! The media engine: legs, relay, playout, statistics; without I/O.
//!
//! One [`MediaEngine`] a media thread. Packets, commands and the time come in by `handle_*`, everything that leaves goes at once through the
//! driver's [`Out`]; [`MediaEngine::poll_timeout`] says when there is work without input. The engine reads no clock and owns no socket.
//!
//! How data passes:
//! - a received packet is checked for its source (`latch`) and stream (`newcomer`) and counted (`ringback_rtp::ReceiverState`); then, within the same call,
//!   it is sent on by the leg it is bridged with, or by its own leg where that echoes (`receive`), put into the playout buffer of a
//!   program's port (`audio`), or retained for one (`retained`), and recorded (`recorder`); digits
//!   (`keypad`) and speech (`ear`) are listened for where that is wanted;
//! - each leg has a turn every packet time, on one of 20 phases of 1 ms (`wheel`, `turn`): it sends an event, a tone or sound, a program's
//!   samples, or silence, unless relayed packets are coming, which need no turn;
//! - in a conference the packet goes into the member's own playout buffer, and what the leg sends on its turn is the room's (`room`);
//! - a leg may go to another engine, between two inputs, and what it was doing goes on there (`travel`);
//! - while relayed packets come, turns are passed over without a look at the leg (`calm`);
//! - what the next legs' packets and turns will need is read for several of them in one go (`ahead`);
//! - whoever feeds it, a leg's stream keeps one SSRC (another if the peer has the same), sequence numbers without a gap, and one clock (`outgoing`).
//!
//! Decisions:
//! - The echo and the bridge use no playout buffer: the far end sees the near end's order, loss and jitter, and has a buffer of its
//!   own. Equal encodings pass untouched, G.711 laws are exchanged octet by octet, other packet times are cut and joined (`reframe`).
//! - Telephone-events pass a bridge with the payload type mapped, and never an echo.
//! - A relayed source that is quiet for longer than two of its packets and 40 ms is filled in with silence, unless it has said that it pauses
//!   (comfort noise, Opus' DTX).
//! - A bridged leg retains nothing for a program to come: a relayed packet touches no other memory.
//! - While a leg may not send, tones run on unheard, digits are given up, and a program's samples wait.
//!
//! Invariant: work on one leg is done under `catch_unwind`; a panic costs that leg alone.

mod ahead;
mod audio;
mod calm;
mod codec;
mod control;
mod dial;
mod ear;
mod engine;
mod follow;
#[doc(hidden)]
pub mod fuzz;
mod handover;
mod hearing;
mod keypad;
mod latch;
mod leg;
mod newcomer;
mod out;
mod outgoing;
mod player;
mod receive;
mod recorder;
mod reframe;
mod retained;
mod room;
mod rooms;
mod statistics;
mod transcode;
mod travel;
mod turn;
mod voip;
mod wheel;

pub use engine::MediaEngine;
pub use out::Out;
pub use travel::Traveller;

#[cfg(test)]
const _: () = {
    const fn goes_to_another_thread<T: Send>() {}
    goes_to_another_thread::<Traveller>();
};
