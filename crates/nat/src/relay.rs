//! One allocation on a TURN server (RFC 8656), for one socket.

use std::net::SocketAddr;
use std::time::Duration;

use ringback_time::Mono;
use smallvec::SmallVec;
use stun_types::attribute::ErrorCode;
use stun_types::message::{Message, MessageClass};
use stun_types::{AddressFamily, TransportType};
use turn_client_proto::api::{Transmit, TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet};
use turn_client_proto::prelude::{DelayedTransmitBuild as _, TurnClientApi as _};
use turn_client_proto::udp::TurnClientUdp;
use turn_types::TurnCredentials;
use turn_types::message::ALLOCATE;

use crate::binding::{looks_like_stun, refusal};
use crate::clock::{instant, mono};
use crate::servers::TurnServer;

/// A request is sent at 0, 200, 600 and 1,400 ms and given up after two seconds and a half.
const RTO: Duration = Duration::from_millis(200);
const LONGEST_RTO: Duration = Duration::from_millis(800);
const SENT_MOST: u32 = 4;
const LAST_WAIT: Duration = Duration::from_millis(1100);
/// Peers of one allocation: what a call's descriptions can make us ask for is bounded.
const PEERS_MOST: usize = 16;
/// Steps of the client's machine in one go.
const STEPS_MOST: usize = 64;
/// RFC 8489 §14.8.
const UNAUTHENTICATED: u16 = 401;
/// RFC 8656 §12.4: the header of ChannelData.
const CHANNEL_HEADER: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Asking,
    Relayed(SocketAddr),
    Failed(String),
    /// Deleted, or about to be.
    Leaving,
    Closed,
}

#[derive(Debug)]
pub(crate) struct Relay {
    client: TurnClientUdp,
    server: SocketAddr,
    state: State,
    /// What the server said last against allocating.
    refused: Option<String>,
    challenges: u8,
    /// Those that a permission and a channel was asked for.
    peers: SmallVec<[SocketAddr; 2]>,
    complained: bool,
    next: Option<Mono>,
}

/// Something inside a datagram from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    /// The server's own matters, dealt with.
    Nothing,
    /// From `peer`, at these octets of the datagram.
    Data { peer: SocketAddr, start: usize, length: usize },
    /// It was not for us.
    Unknown,
}

impl Relay {
    pub(crate) fn new(now: Mono, local: SocketAddr, server: &TurnServer) -> Self {
        let mut config = TurnConfig::new(TurnCredentials::new(&server.username, &server.password));
        config.set_request_retransmits(RTO, LONGEST_RTO, SENT_MOST, LAST_WAIT);
        if local.is_ipv6() {
            config.set_address_family(AddressFamily::IPV6);
        }
        Relay {
            client: TurnClientUdp::allocate(local, server.address, config),
            server: server.address,
            state: State::Asking,
            refused: None,
            challenges: 0,
            peers: SmallVec::new(),
            complained: false,
            next: Some(now),
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn server(&self) -> SocketAddr {
        self.server
    }

    pub(crate) fn poll_timeout(&self) -> Option<Mono> {
        self.next
    }

    /// Takes a datagram; nothing is allocated for one with a peer's data in it.
    pub(crate) fn handle(&mut self, now: Mono, from: SocketAddr, bytes: &[u8]) -> Inside {
        if from != self.server || matches!(self.state, State::Failed(_) | State::Closed) {
            return Inside::Unknown;
        }
        let transmit = Transmit::new(bytes, TransportType::Udp, from, self.client.local_addr());
        match self.client.recv(transmit, instant(now)) {
            TurnRecvRet::Handled => {
                self.next = Some(now);
                if self.state == State::Asking && looks_like_stun(bytes) {
                    self.note_refusal(bytes);
                }
                Inside::Nothing
            }
            TurnRecvRet::PeerData(data) => {
                let inside = data.data();
                let start = inside.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
                match bytes.get(start..start.saturating_add(inside.len())) {
                    Some(_) if self.state != State::Leaving => {
                        Inside::Data { peer: data.peer, start, length: inside.len() }
                    }
                    _ => Inside::Nothing,
                }
            }
            TurnRecvRet::PeerIcmp { .. } => Inside::Nothing,
            TurnRecvRet::Ignored(_) => Inside::Unknown,
        }
    }

    /// The library tells that an allocation failed, and not why.
    fn note_refusal(&mut self, bytes: &[u8]) {
        if let Ok(message) = Message::from_bytes(bytes)
            && message.has_class(MessageClass::Error)
            && message.has_method(ALLOCATE)
        {
            let unauthenticated = message.attribute::<ErrorCode>().is_ok_and(|error| error.code() == UNAUTHENTICATED);
            self.refused = Some(refusal(&message));
            // RFC 8489 §9.2.5: the first asks for credentials, the second says that they are wrong.
            self.challenges += u8::from(unauthenticated);
            if self.challenges > 1 {
                self.fail();
            }
        }
    }

    /// Why there is no address, where time is up.
    pub(crate) fn cause(&self) -> String {
        match (&self.state, &self.refused) {
            (State::Failed(cause), _) | (_, Some(cause)) => cause.clone(),
            _ => "no answer".into(),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Mono, mut send: impl FnMut(Vec<u8>)) {
        if self.state == State::Closed || self.next.is_none_or(|next| next > now) {
            return;
        }
        for _ in 0..STEPS_MOST {
            let mut moved = false;
            while let Some(event) = self.client.poll_event() {
                self.take(event);
                moved = true;
            }
            while let Some(transmit) = self.client.poll_transmit(instant(now)) {
                send(transmit.data.to_vec());
                moved = true;
            }
            match self.client.poll(instant(now)) {
                TurnPollRet::WaitUntil(until) if mono(until) > now => {
                    self.next = Some(mono(until));
                    return;
                }
                TurnPollRet::Closed => return self.closed(),
                _ if moved => {}
                // It is due and has nothing to do: not at full speed.
                _ => break,
            }
        }
        self.next = Some(now + Duration::from_millis(5));
    }

    fn take(&mut self, event: TurnEvent) {
        match event {
            TurnEvent::AllocationCreated(_, address) if self.state == State::Asking => {
                self.state = if address.ip().is_unspecified() || address.port() == 0 {
                    State::Failed(format!("the server relays by {address}, which is no address"))
                } else {
                    State::Relayed(address)
                };
            }
            TurnEvent::AllocationCreateFailed(_) => self.fail(),
            TurnEvent::PermissionCreateFailed(_, peer) if !std::mem::replace(&mut self.complained, true) => {
                tracing::warn!(
                    target: "ringback.net", server = %self.server, %peer, "the TURN server does not relay to this peer"
                );
            }
            _ => {}
        }
    }

    fn fail(&mut self) {
        if self.state == State::Asking {
            self.state = State::Failed(self.refused.take().unwrap_or_else(|| "no answer".into()));
        }
    }

    /// The client's machine has come to its end.
    fn closed(&mut self) {
        self.next = None;
        match &self.state {
            State::Asking => self.fail(),
            State::Relayed(_) => {
                tracing::warn!(
                    target: "ringback.net", server = %self.server, "the TURN server has given up an allocation in use"
                );
                self.state = State::Closed;
            }
            State::Failed(_) => {}
            State::Leaving | State::Closed => self.state = State::Closed,
        }
    }

    /// Lets `peer` in, and gives it a channel. False: too many have one.
    pub(crate) fn allow(&mut self, now: Mono, peer: SocketAddr) -> bool {
        let State::Relayed(relayed) = &self.state else { return true };
        if self.peers.contains(&peer) || peer.is_ipv4() != relayed.is_ipv4() || peer.port() == 0 {
            return true;
        }
        if self.peers.len() >= PEERS_MOST {
            return false;
        }
        self.peers.push(peer);
        // RFC 8656 §12.2: binding a channel installs a permission too.
        if self.client.bind_channel(TransportType::Udp, peer, instant(now)).is_ok() {
            self.next = Some(now);
        }
        true
    }

    /// What has to be sent to the server so that `peer` gets `packet`, written into `room`: ChannelData, or a Send indication until
    /// there is a channel. `None` while the server has no permission for the peer.
    pub(crate) fn wrap<'a>(
        &mut self,
        now: Mono,
        peer: SocketAddr,
        packet: &[u8],
        room: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        if !matches!(self.state, State::Relayed(_)) {
            return None;
        }
        if !self.peers.contains(&peer) {
            self.allow(now, peer);
        }
        let transmit = self.client.send_to(TransportType::Udp, peer, packet, instant(now)).ok()??;
        room.resize(transmit.data.len().max(CHANNEL_HEADER + packet.len()), 0);
        let written = transmit.write_into(room).data.len();
        room.get(..written)
    }

    /// Gives the allocation back (RFC 8656 §7.1: a Refresh with a lifetime of zero).
    pub(crate) fn close(&mut self, now: Mono) {
        match self.state {
            State::Relayed(_) if self.client.delete(instant(now)).is_ok() => {
                self.state = State::Leaving;
                self.next = Some(now);
            }
            State::Leaving => {}
            _ => {
                self.state = State::Closed;
                self.next = None;
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }
}
