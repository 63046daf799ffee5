//! NATs between a leg and its peer: the `Traversal` of each pair of ports, from the moment that a call reserves it until nothing of it is
//! left on any server. It lives where the sockets do.
//!
//! A pair whose leg is to come is watched for what servers say. Once STUN has answered it is not, so that what a peer sends at once
//! stays in the sockets until the leg is open; a relay lets nobody in before that.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use rand_core::RngCore as _;
use ringback_media_api::{Command, Event, LegId, PublicAddress};
use ringback_nat::{Component, Outcome, Received, Traversal};
use ringback_time::Mono;

use super::io::{MediaIo, Open, Slot, again};
use super::link::FromMedia;
use crate::nat::Nat;
use crate::ports::Pair;
use crate::sys::{self, Handle};

/// What the pairs of one thread share.
pub(super) struct Crossings {
    nat: Arc<Nat>,
    ids: ChaCha12Rng,
    epoll: Handle,
    /// When which slot has something to do; entries that no longer hold are passed over.
    due: BinaryHeap<Reverse<(Mono, u32)>>,
    /// The time of the input that is being worked on.
    now: Mono,
    /// Room for a packet with what a relay wants around it.
    room: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Crossing {
    traversal: Traversal,
    /// Its entry in `Crossings::due` that holds.
    due: Option<Mono>,
    /// The leg is open.
    open: bool,
    /// In the epoll set.
    watched: bool,
}

impl Crossing {
    #[inline]
    pub(super) fn is_relayed(&self) -> bool {
        self.traversal.is_relayed()
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched
    }

    #[inline]
    pub(super) fn sent(&mut self, component: Component) {
        self.traversal.sent(component);
    }
}

impl Crossings {
    fn watch(&self, pair: &Pair, crossing: &mut Crossing, on: bool) {
        if std::mem::replace(&mut crossing.watched, on) == on {
            return;
        }
        let key = u64::from(pair.id) * 2;
        for (socket, key) in [(&pair.sockets.rtp, key), (&pair.sockets.rtcp, key + 1)] {
            let result = if on { self.epoll.add(socket.as_fd(), key) } else { self.epoll.remove(socket.as_fd()) };
            if let Err(error) = result {
                tracing::error!(target: "ringback.net", address = %pair.local, %error, "cannot watch a media socket");
            }
        }
    }

    fn schedule(&mut self, number: u32, crossing: &mut Crossing) {
        let next = crossing.traversal.poll_timeout();
        if let Some(at) = next
            && crossing.due.is_none_or(|due| at < due)
        {
            crossing.due = Some(at);
            self.due.push(Reverse((at, number)));
        }
    }
}

fn sockets_of(pair: &Pair, component: Component) -> std::os::fd::BorrowedFd<'_> {
    match component {
        Component::Rtp => pair.sockets.rtp.as_fd(),
        Component::Rtcp => pair.sockets.rtcp.as_fd(),
    }
}

impl MediaIo {
    pub(super) fn with_crossings(mut self, nat: Option<Arc<Nat>>, ids: ChaCha12Rng, epoll: Handle) -> Self {
        self.crossings = nat.map(|nat| {
            Box::new(Crossings { nat, ids, epoll, due: BinaryHeap::new(), now: Mono::ZERO, room: Vec::new() })
        });
        self
    }

    /// A call has reserved a pair: where do others reach it?
    pub(super) fn seek(&mut self, now: Mono, leg: LegId, pair: Pair) {
        let Some(crossings) = &mut self.crossings else { return };
        crossings.now = now;
        let servers = crossings.nat.servers(now);
        let id = u128::from(crossings.ids.next_u64()) << 64 | u128::from(crossings.ids.next_u64());
        let traversal = Traversal::new(now, pair.local, &servers, id);
        let number = pair.id;
        self.insert(leg, pair);
        if let Some(Slot::Open(open)) = self.slots.get_mut(number as usize) {
            open.crossing = Some(Box::new(Crossing { traversal, due: None, open: false, watched: true }));
        }
        self.attend(number);
    }

    /// Goes on with what another thread has begun.
    pub(super) fn cross_on(&mut self, now: Mono, number: u32) {
        let (Some(crossings), Some(Slot::Open(open))) = (&mut self.crossings, self.slots.get_mut(number as usize))
        else {
            return;
        };
        let Some(crossing) = &mut open.crossing else { return };
        crossings.now = now;
        // Where it was due is the other's list; here it is watched in any case.
        (crossing.due, crossing.watched) = (None, true);
        crossings.schedule(number, crossing);
    }

    /// The leg of a pair will not come.
    pub(super) fn release(&mut self, now: Mono, leg: LegId) {
        if let Some(crossings) = &mut self.crossings {
            crossings.now = now;
        }
        self.part_with(leg);
    }

    pub(super) fn release_all(&mut self, now: Mono) {
        if self.crossings.is_some() {
            for leg in self.numbers.keys().copied().collect::<Vec<_>>() {
                self.release(now, leg);
            }
        }
    }

    /// What a command for the leg means for its way through the NAT.
    pub(super) fn heed(&mut self, now: Mono, command: &Command) {
        let (leg, config, opens) = match command {
            Command::Open { leg, config } => (leg, config, true),
            Command::Configure { leg, config } => (leg, config, false),
            _ => return,
        };
        let Some(number) = self.crossing_number(*leg) else { return };
        let (Some(crossings), Some(Slot::Open(open))) = (&mut self.crossings, self.slots.get_mut(number as usize))
        else {
            return;
        };
        crossings.now = now;
        let Open { pair, crossing: Some(crossing), .. } = &mut **open else { return };
        crossing.open |= opens;
        crossings.watch(pair, crossing, true);
        // RFC 5761: where RTCP goes by the port of RTP, its own has no peer.
        let rtcp = config.remote_rtcp.filter(|_| !config.rtcp_mux);
        crossing.traversal.set_peer(now, config.remote_rtp, rtcp);
        self.attend(number);
    }

    /// The media engine has learned, or settled, whom RTP comes from. True: that is no matter of the sockets.
    pub(super) fn turn_to(&mut self, leg: LegId, remote: Option<SocketAddr>) -> bool {
        let Some(number) = self.crossing_number(leg) else { return false };
        let (Some(crossings), Some(Slot::Open(open))) = (&mut self.crossings, self.slots.get_mut(number as usize))
        else {
            return false;
        };
        let Some(crossing) = &mut open.crossing else { return false };
        let relayed = crossing.is_relayed();
        if let Some(remote) = remote {
            crossing.traversal.set_peer(crossings.now, Some(remote), None);
            self.attend(number);
        }
        relayed
    }

    fn crossing_number(&self, leg: LegId) -> Option<u32> {
        self.crossings.as_ref()?;
        self.numbers.get(&leg).copied()
    }

    /// Whether datagrams of that socket have to go through [`MediaIo::cross`].
    pub(super) fn crosses(&self, key: u64) -> bool {
        self.crossings.is_some()
            && matches!(self.slots.get((key / 2) as usize), Some(Slot::Open(open)) if open.crossing.is_some())
    }

    /// Whose packet a datagram is, and where in it; `None`: nobody's, or not for a leg.
    pub(super) fn cross(
        &mut self,
        now: Mono,
        key: u64,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Option<(SocketAddr, usize, usize)> {
        let number = u32::try_from(key / 2).ok()?;
        let component = if key % 2 == 1 { Component::Rtcp } else { Component::Rtp };
        if let Some(crossings) = &mut self.crossings {
            crossings.now = now;
        }
        let Some(Slot::Open(open)) = self.slots.get_mut(number as usize) else { return None };
        let crossing = open.crossing.as_mut()?;
        match crossing.traversal.handle(now, component, from, bytes) {
            Received::Relayed { from, start, length } => Some((from, start, length)),
            Received::Direct => Some((from, 0, bytes.len())),
            Received::Consumed => {
                self.attend(number);
                None
            }
        }
    }

    /// A packet of a leg that goes by a relay.
    pub(super) fn relay(&mut self, leg: LegId, component: Component, to: SocketAddr, packet: &[u8]) {
        let Some(number) = self.crossing_number(leg) else { return };
        let (Some(crossings), Some(Slot::Open(open))) = (&mut self.crossings, self.slots.get_mut(number as usize))
        else {
            return;
        };
        let Open { pair, crossing: Some(crossing), connected, .. } = &mut **open else { return };
        let now = crossings.now;
        let Some((server, wrapped)) = crossing.traversal.wrap(now, component, to, packet, &mut crossings.room) else {
            // The peer may be a new one, that has to be let in first.
            crossings.schedule(number, crossing);
            return;
        };
        let fd = sockets_of(pair, component);
        let connected = component == Component::Rtp && *connected == Some(server);
        let result = again(|| if connected { sys::send(fd, wrapped) } else { sys::send_to(fd, wrapped, &server) });
        self.note(leg, result);
    }

    /// The leg's ports have something to give back first.
    pub(super) fn leaves_late(&self, leg: LegId) -> bool {
        let Some(number) = self.crossing_number(leg) else { return false };
        matches!(self.slots.get(number as usize), Some(Slot::Open(open)) if open.crossing.is_some())
    }

    /// No leg has the pair any more; it goes back to the pool when the servers have nothing of it either.
    pub(super) fn part_with(&mut self, leg: LegId) {
        let Some(number) = self.numbers.remove(&leg) else { return };
        let (Some(crossings), Some(Slot::Open(open))) = (&mut self.crossings, self.slots.get_mut(number as usize))
        else {
            return;
        };
        let Open { pair, crossing: Some(crossing), .. } = &mut **open else { return };
        crossings.watch(pair, crossing, true);
        crossing.open = false;
        crossing.traversal.close(crossings.now);
        self.attend(number);
    }

    /// Does what a traversal wants done.
    fn attend(&mut self, number: u32) {
        let (Some(crossings), Some(slot)) = (&mut self.crossings, self.slots.get_mut(number as usize)) else { return };
        let Slot::Open(open) = slot else { return };
        let Open { leg, pair, connected, crossing: Some(crossing), .. } = &mut **open else { return };
        let leg = *leg;
        while let Some(transmit) = crossing.traversal.poll_transmit() {
            let fd = sockets_of(pair, transmit.component);
            // One that is lost is sent again; one that cannot be sent shows as no answer.
            if let Err(error) = again(|| sys::send_to(fd, &transmit.bytes, &transmit.to)) {
                tracing::debug!(target: "ringback.net", to = %transmit.to, %error, "cannot send");
            }
        }
        if let Some(Outcome { public, stun, turn }) = crossing.traversal.poll_outcome() {
            crossings.nat.note(crossings.now, &stun, &turn);
            tracing::debug!(target: "ringback.net", address = %pair.local, ?public, "media address");
            if let Some(server) = crossing.traversal.relay_server() {
                // Nothing else is heard any more: strangers are dropped in the kernel.
                match pair.sockets.accept_from(Some(server)) {
                    Ok(done) => *connected = done.then_some(server),
                    Err(error) => tracing::debug!(target: "ringback.media", ?leg, %server, %error, "cannot connect"),
                }
            } else if !crossing.open {
                crossings.watch(pair, crossing, false);
            }
            let public = public.map(|public| PublicAddress { rtp: public.rtp, rtcp: public.rtcp });
            self.events.push(FromMedia::Event(Event::Located { leg, public }));
            self.news = true;
        }
        if !crossing.traversal.is_closed() {
            crossings.schedule(number, crossing);
            return;
        }
        pair.sockets.leave();
        let left = Slot::Left(Arc::downgrade(&pair.sockets));
        if let Slot::Open(open) = std::mem::replace(slot, left) {
            self.events.push(FromMedia::Returned(leg, open.pair));
            self.news = true;
        }
    }

    /// When something has to be done for a traversal next.
    pub(super) fn crossing_due(&self) -> Option<Mono> {
        self.crossings.as_ref()?.due.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn cross_due(&mut self, now: Mono) {
        let Some(crossings) = &mut self.crossings else { return };
        crossings.now = now;
        while let Some(Reverse((at, number))) = self.crossings.as_mut().and_then(|crossings| {
            let due = crossings.due.peek().is_some_and(|Reverse((at, _))| *at <= now);
            if due { crossings.due.pop() } else { None }
        }) {
            let Some(Slot::Open(open)) = self.slots.get_mut(number as usize) else { continue };
            let Some(crossing) = open.crossing.as_mut().filter(|crossing| crossing.due == Some(at)) else { continue };
            crossing.due = None;
            crossing.traversal.handle_timeout(now);
            self.attend(number);
        }
    }
}
