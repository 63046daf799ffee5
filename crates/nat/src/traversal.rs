//! Both sockets of a pair of ports, from the first question to the last goodbye.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use ringback_time::Mono;

use crate::binding::{self, BRISK, Binding, indication, looks_like_stun};
use crate::relay::{self, Inside, Relay};
use crate::servers::{Answer, Component, Outcome, Public, Servers};

/// RFC 6263 §4: no NAT may forget a UDP mapping in less than two minutes, and many do after 30 s.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A call waits no longer for an address.
pub const GATHER_MOST: Duration = Duration::from_secs(3);
/// An allocation that the server does not confirm to be gone is left to its lifetime.
pub const CLOSE_MOST: Duration = Duration::from_secs(2);

/// A datagram to be sent; an empty one is meant to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    pub component: Component,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// What a received datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A server's own matters, dealt with; or something that must not be there, dropped.
    Consumed,
    /// A peer's packet that came by the relay: these octets of the datagram.
    Relayed { from: SocketAddr, start: usize, length: usize },
    /// From whoever sent it, for the leg to judge.
    Direct,
}

/// The two sockets' questions and allocations. After each `handle_*` and verb: `poll_transmit` until it is empty, `poll_outcome`,
/// and `poll_timeout` for the next deadline.
#[derive(Debug)]
pub struct Traversal {
    rtp: Side,
    rtcp: Side,
    ids: u128,
    out: VecDeque<Transmit>,
    progress: Progress,
    keep_alive: Mono,
    /// Where the leg's packets go, once it is open.
    peer: Option<SocketAddr>,
}

#[derive(Debug)]
struct Side {
    binding: Option<Binding>,
    relay: Option<Relay>,
    /// Something was sent since keep-alives were looked at last.
    sent: bool,
}

#[derive(Debug)]
enum Progress {
    Gathering {
        until: Mono,
    },
    /// Not told yet.
    Found(Outcome),
    InUse(Option<Public>),
    Closing {
        until: Mono,
    },
    Closed,
}

impl Side {
    fn new(
        now: Mono,
        local: SocketAddr,
        servers: &Servers,
        id: u128,
        component: Component,
        out: &mut VecDeque<Transmit>,
    ) -> Self {
        let fits = |server: &SocketAddr| server.is_ipv4() == local.is_ipv4();
        let binding = servers.stun.filter(fits).map(|server| {
            let send = |bytes| out.push_back(Transmit { component, to: server, bytes });
            Binding::new(now, local, server, id, BRISK, send)
        });
        let turn = servers.turn.as_ref().filter(|turn| fits(&turn.address));
        let relay = turn.map(|turn| Relay::new(now, local, turn));
        Side { binding, relay, sent: true }
    }

    fn handle_timeout(&mut self, now: Mono, component: Component, out: &mut VecDeque<Transmit>) {
        if let Some(binding) = &mut self.binding {
            let to = binding.server();
            binding.handle_timeout(now, |bytes| out.push_back(Transmit { component, to, bytes }));
        }
        if let Some(relay) = &mut self.relay {
            let to = relay.server();
            relay.handle_timeout(now, |bytes| out.push_back(Transmit { component, to, bytes }));
        }
    }

    fn poll_timeout(&self) -> Option<Mono> {
        let binding = self.binding.as_ref().and_then(Binding::poll_timeout);
        let relay = self.relay.as_ref().and_then(Relay::poll_timeout);
        [binding, relay].into_iter().flatten().min()
    }

    fn is_closed(&self) -> bool {
        self.relay.as_ref().is_none_or(Relay::is_closed)
    }
}

impl Traversal {
    /// Asks at once. `local`: what the RTP socket is bound to. `id`: random, so that nobody who is not on the way can answer.
    pub fn new(now: Mono, local: SocketAddr, servers: &Servers, id: u128) -> Self {
        let above = SocketAddr::new(local.ip(), local.port() | 1);
        let mut out = VecDeque::new();
        let rtp = Side::new(now, local, servers, id, Component::Rtp, &mut out);
        let rtcp = Side::new(now, above, servers, !id, Component::Rtcp, &mut out);
        let mut traversal = Traversal {
            rtp,
            rtcp,
            ids: id.wrapping_add(1),
            out,
            progress: Progress::Gathering { until: now + GATHER_MOST },
            keep_alive: now + KEEP_ALIVE,
            peer: None,
        };
        traversal.drive(now);
        traversal
    }

    /// One datagram that came to a socket.
    pub fn handle(&mut self, now: Mono, component: Component, from: SocketAddr, bytes: &[u8]) -> Received {
        let relayed = self.is_relayed();
        let gathering = matches!(self.progress, Progress::Gathering { .. });
        let side = match component {
            Component::Rtp => &mut self.rtp,
            Component::Rtcp => &mut self.rtcp,
        };
        let mut received = if relayed { Received::Consumed } else { Received::Direct };
        if let Some(relay) = side.relay.as_mut()
            && (relayed || gathering || looks_like_stun(bytes))
        {
            match relay.handle(now, from, bytes) {
                Inside::Data { peer, start, length } if relayed => {
                    return Received::Relayed { from: peer, start, length };
                }
                Inside::Data { .. } | Inside::Nothing => received = Received::Consumed,
                Inside::Unknown => {}
            }
        }
        if looks_like_stun(bytes) {
            // A STUN message that is nobody's is no media either.
            received = Received::Consumed;
            if let Some(binding) = &mut side.binding {
                binding.handle(now, from, bytes);
            }
        }
        if received == Received::Consumed {
            self.drive(now);
        }
        received
    }

    pub fn handle_timeout(&mut self, now: Mono) {
        self.drive(now);
    }

    fn drive(&mut self, now: Mono) {
        self.rtp.handle_timeout(now, Component::Rtp, &mut self.out);
        self.rtcp.handle_timeout(now, Component::Rtcp, &mut self.out);
        match &self.progress {
            Progress::Gathering { until } => {
                if let Some(outcome) = self.settle(now >= *until) {
                    self.adopt(now, &outcome);
                    self.progress = Progress::Found(outcome);
                }
            }
            Progress::Closing { until } if now >= *until || (self.rtp.is_closed() && self.rtcp.is_closed()) => {
                self.progress = Progress::Closed;
            }
            _ => {}
        }
        if now >= self.keep_alive && !matches!(self.progress, Progress::Closing { .. } | Progress::Closed) {
            self.keep_alive = now + KEEP_ALIVE;
            self.refresh_mapping(Component::Rtp);
            self.refresh_mapping(Component::Rtcp);
        }
    }

    /// What is known; `None` while it is worth waiting. The relay comes first where one is asked for.
    fn settle(&self, late: bool) -> Option<Outcome> {
        let turn = match (&self.rtp.relay, &self.rtcp.relay) {
            (Some(rtp), Some(rtcp)) => match (rtp.state(), rtcp.state()) {
                (relay::State::Relayed(rtp), relay::State::Relayed(rtcp)) => Ok(Some((*rtp, *rtcp))),
                (relay::State::Failed(cause), _) | (_, relay::State::Failed(cause)) => Err(cause.clone()),
                (relay::State::Asking, _) if late => Err(rtp.cause()),
                _ if late => Err(rtcp.cause()),
                _ => return None,
            },
            _ => Ok(None),
        };
        if let Ok(Some((rtp, rtcp))) = turn {
            let public = Some(Public { rtp, rtcp, relayed: true });
            return Some(Outcome { public, stun: Answer::Unasked, turn: Answer::Given });
        }
        let stun = match (&self.rtp.binding, &self.rtcp.binding) {
            (Some(rtp), Some(rtcp)) => match (rtp.state(), rtcp.state()) {
                (binding::State::Known(rtp), binding::State::Known(rtcp)) => Ok(Some((*rtp, *rtcp))),
                (binding::State::Failed(cause), _) | (_, binding::State::Failed(cause)) => Err(cause.clone()),
                (binding::State::Silent, _) | (_, binding::State::Silent) => Err("no answer".into()),
                _ if late => Err("no answer".into()),
                _ => return None,
            },
            _ => Ok(None),
        };
        let answer = |result: &Result<Option<_>, String>| match result {
            Ok(Some(_)) => Answer::Given,
            Ok(None) => Answer::Unasked,
            Err(cause) => Answer::Failed(cause.clone()),
        };
        let (stun_answer, turn_answer) = (answer(&stun), answer(&turn));
        let public = stun.ok().flatten().map(|(rtp, rtcp)| Public { rtp, rtcp, relayed: false });
        Some(Outcome { public, stun: stun_answer, turn: turn_answer })
    }

    /// What is not used is given back: one half of a pair of allocations, where the other failed.
    fn adopt(&mut self, now: Mono, outcome: &Outcome) {
        if outcome.public.is_none_or(|public| !public.relayed) {
            for side in [&mut self.rtp, &mut self.rtcp] {
                if let Some(relay) = &mut side.relay {
                    relay.close(now);
                }
            }
            self.rtp.handle_timeout(now, Component::Rtp, &mut self.out);
            self.rtcp.handle_timeout(now, Component::Rtcp, &mut self.out);
        }
        self.rtp.sent = true;
        self.rtcp.sent = true;
        self.keep_alive = now + KEEP_ALIVE;
    }

    /// RFC 6263: a mapping by which nothing was sent is kept alive.
    fn refresh_mapping(&mut self, component: Component) {
        let side = match component {
            Component::Rtp => &mut self.rtp,
            Component::Rtcp => &mut self.rtcp,
        };
        if std::mem::take(&mut side.sent) {
            return;
        }
        self.ids = self.ids.wrapping_add(1);
        let relayed = matches!(&self.progress, Progress::InUse(Some(public)) | Progress::Found(Outcome { public: Some(public), .. }) if public.relayed);
        let relay = side.relay.as_ref().filter(|_| relayed).map(Relay::server);
        if let Some(to) = relay {
            // RFC 8656 §2.1: a TURN server is a STUN server.
            self.out.push_back(Transmit { component, to, bytes: indication(self.ids) });
            return;
        }
        match (self.peer, component) {
            // RFC 6263 §4.1, an empty datagram: a peer without ICE need not know STUN. RTCP's mapping lives by its reports.
            (Some(to), Component::Rtp) => self.out.push_back(Transmit { component, to, bytes: Vec::new() }),
            (Some(_), Component::Rtcp) => {}
            (None, _) => {
                if let Some(to) = side.binding.as_ref().map(Binding::server) {
                    self.out.push_back(Transmit { component, to, bytes: indication(self.ids) });
                }
            }
        }
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Mono> {
        let own = match &self.progress {
            Progress::Gathering { until } | Progress::Closing { until } => Some(*until),
            Progress::Found(_) | Progress::InUse(_) => Some(self.keep_alive),
            Progress::Closed => return None,
        };
        [own, self.rtp.poll_timeout(), self.rtcp.poll_timeout()].into_iter().flatten().min()
    }

    /// What came of asking, once.
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        let Progress::Found(outcome) = &self.progress else { return None };
        let outcome = outcome.clone();
        self.progress = Progress::InUse(outcome.public);
        Some(outcome)
    }

    /// Packets go and come by a TURN server.
    pub fn is_relayed(&self) -> bool {
        match &self.progress {
            Progress::Found(outcome) => outcome.public.is_some_and(|public| public.relayed),
            Progress::InUse(public) => public.is_some_and(|public| public.relayed),
            _ => false,
        }
    }

    /// The TURN server that all packets go by, where one does.
    pub fn relay_server(&self) -> Option<SocketAddr> {
        self.rtp.relay.as_ref().filter(|_| self.is_relayed()).map(Relay::server)
    }

    /// The leg's peer: what it sends is let in by the relay, and the mapping towards it is kept alive.
    pub fn set_peer(&mut self, now: Mono, rtp: Option<SocketAddr>, rtcp: Option<SocketAddr>) {
        self.peer = rtp;
        if !self.is_relayed() {
            return;
        }
        for (side, peer) in [(&mut self.rtp, rtp), (&mut self.rtcp, rtcp)] {
            if let (Some(relay), Some(peer)) = (&mut side.relay, peer)
                && !relay.allow(now, peer)
            {
                tracing::warn!(target: "ringback.net", %peer, "too many addresses of one call: not let in by the relay");
            }
        }
        self.drive(now);
    }

    /// A packet of the leg was sent directly.
    #[inline]
    pub fn sent(&mut self, component: Component) {
        match component {
            Component::Rtp => self.rtp.sent = true,
            Component::Rtcp => self.rtcp.sent = true,
        }
    }

    /// What has to go to the relay so that `to` gets `packet`, written into `room`, and where that is. `None` until the server has let
    /// the peer in, a round trip after it was first named.
    pub fn wrap<'a>(
        &mut self,
        now: Mono,
        component: Component,
        to: SocketAddr,
        packet: &[u8],
        room: &'a mut Vec<u8>,
    ) -> Option<(SocketAddr, &'a [u8])> {
        self.sent(component);
        let side = match component {
            Component::Rtp => &mut self.rtp,
            Component::Rtcp => &mut self.rtcp,
        };
        let relay = side.relay.as_mut()?;
        let server = relay.server();
        relay.wrap(now, to, packet, room).map(|wrapped| (server, wrapped))
    }

    /// Gives back what was allocated; `is_closed` when that is done, within [`CLOSE_MOST`].
    pub fn close(&mut self, now: Mono) {
        if matches!(self.progress, Progress::Closing { .. } | Progress::Closed) {
            return;
        }
        self.progress = Progress::Closing { until: now + CLOSE_MOST };
        for side in [&mut self.rtp, &mut self.rtcp] {
            if let Some(relay) = &mut side.relay {
                relay.close(now);
            }
        }
        self.drive(now);
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.progress, Progress::Closed)
    }
}
