use std::net::{IpAddr, SocketAddr};

use ringback_time::Now;

use crate::LegId;

/// A pair of ports taken for a call: RTP on an even port, RTCP on the odd one above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaPort {
    pub leg: LegId,
    /// The media thread that has the leg.
    pub thread: u8,
    /// What the RTP socket is bound to; the address may be unspecified (0.0.0.0, [::]).
    pub rtp: SocketAddr,
}

/// Where others reach a leg's ports, where that is not the local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    pub rtp: SocketAddr,
    pub rtcp: SocketAddr,
}

/// Hands out media ports at once, without a word to a media thread. `net` has a pool of sockets behind it, a test a counter.
pub trait MediaPorts: Send {
    /// A pair for a call whose media goes by `local` (which may be unspecified), or `None` when the range is used up.
    /// `beside`: the media thread of a leg that this one is likely to be connected with.
    fn allocate(&mut self, now: Now, local: IpAddr, beside: Option<u8>) -> Option<MediaPort>;

    /// Of two media threads the one that has less to do: where legs of both are to be connected.
    fn lighter(&self, a: u8, _b: u8) -> u8 {
        a
    }

    /// Where a room is best opened whose first member is on the media thread `near`.
    fn roomy(&self, near: u8) -> u8 {
        near
    }

    /// A leg goes from one media thread to another ([`crate::Command::Move`]).
    fn moved(&mut self, _from: u8, _to: u8) {}

    /// Whether it is still being asked where others reach these ports (by STUN or TURN): [`crate::Event::Located`] follows soon, whatever
    /// comes of it, and until then no description can name them.
    fn is_seeking(&self, _leg: LegId) -> bool {
        false
    }

    /// Gives back a pair for which no [`crate::Command::Open`] was issued. After an `Open`, [`crate::Command::Close`] does. `told`: a peer may
    /// have been told of it, and send there; otherwise it is as good as never taken.
    fn release(&mut self, now: Now, leg: LegId, told: bool);
}
