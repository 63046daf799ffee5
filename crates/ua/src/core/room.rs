//! Who may have one more INVITE half open: what the limit leaves (`core/share`), to whom it has been proven that it is them
//! (`core/proven`).

use std::net::IpAddr;

use ringback_sip::Message;
use ringback_time::Now;

use crate::api::Flow;
use crate::core::Ua;
use crate::core::guard::network;
use crate::core::share::Hold;
use crate::transaction::key::{Key, parse_hex};
use crate::wire::tags::to_tag;

impl Ua {
    /// Whether one more INVITE of that peer may be kept.
    pub(super) fn has_room(&self, flow: &Flow) -> bool {
        let free = self.config.half_open_invites.saturating_sub(self.half_open.len());
        free > 0 && self.half_open.leaves_room(network(flow.remote.ip()), self.is_proven(flow), free)
    }

    /// Counts an INVITE of that peer as half open.
    pub(super) fn hold_open(&mut self, flow: &Flow) -> Hold {
        let proven = self.is_proven(flow);
        self.half_open.hold(network(flow.remote.ip()), proven)
    }

    /// Of what an INVITE takes above here (sessions) so much is free: whether the peer of this one leaves enough of it to others. What it
    /// has been accepted and has not acknowledged is held against it; what rings or stands is not.
    pub fn leaves_room(&self, flow: &Flow, free: usize) -> bool {
        self.unacknowledged.leaves_room(network(flow.remote.ip()), self.is_proven(flow), free)
    }

    /// Whether the sender is known to be at that address: by the handshake of its stream, by a nonce that it has had from us, or by what it
    /// has acknowledged. Who is let in without credentials has had none.
    fn is_proven(&self, flow: &Flow) -> bool {
        let from = flow.remote.ip();
        flow.transport.is_reliable()
            || self.gate.as_ref().is_some_and(|gate| !gate.is_trusted(from))
            || self.proven.contains(network(from))
    }

    /// An ACK that names our tag: whoever the INVITE was from and the ACK is from, has read our response.
    pub(super) fn prove(&mut self, now: Now, ack: &Flow, invite: IpAddr) {
        let source = network(ack.remote.ip());
        if source == invite && !ack.transport.is_reliable() {
            self.proven.insert(now.mono, source);
        }
    }

    /// An ACK to a response that left nothing behind. `false`: it is none.
    pub(super) fn prove_stateless(&mut self, now: Now, ack: &Message, flow: &Flow, key: Key) -> bool {
        let source = flow.remote.ip();
        let ours = to_tag(ack).and_then(parse_hex) == Some(self.keys.stateless_tag(key, source));
        if ours {
            self.prove(now, flow, network(source));
        }
        ours
    }
}
