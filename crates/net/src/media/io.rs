//! The sockets of one thread's open legs: what the media engine's outputs mean to the operating system.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_queue::SegQueue;
use ringback_media::Out;
use ringback_media_api::{AudioPort, Event, LegId};
use ringback_nat::Component;
use ringback_time::Mono;

use super::crossing::{Crossing, Crossings};
use super::gauges::Gauges;
use super::link::FromMedia;
use crate::ports::{Pair, Sockets};
use crate::queue::Producer;
use crate::sys;
use crate::wake::Waker;

/// An open leg, or one to come. What a packet needs stands first, in one cache line, which nobody has touched since the leg's last packet.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Open {
    pub(super) leg: LegId,
    /// Of `pair`, which keeps them open.
    rtp: RawFd,
    rtcp: RawFd,
    /// Whom the RTP socket is connected to.
    pub(super) connected: Option<SocketAddr>,
    /// Where a NAT is to be crossed.
    pub(super) crossing: Option<Box<Crossing>>,
    pub(super) pair: Pair,
}

impl Open {
    fn new(leg: LegId, pair: Pair) -> Self {
        let [rtp, rtcp] = [&pair.sockets.rtp, &pair.sockets.rtcp].map(|socket| socket.as_raw_fd());
        Open { leg, rtp, rtcp, connected: None, crossing: None, pair }
    }

    /// In the epoll set of its thread.
    pub(super) fn is_watched(&self) -> bool {
        self.crossing.as_ref().is_none_or(|crossing| crossing.is_watched())
    }
}

/// What became of the pair of a number.
#[derive(Debug)]
pub(super) enum Slot {
    /// No leg of this thread has had it yet.
    Unknown,
    Open(Box<Open>),
    /// Its leg is gone, and the pair in the pool, or on its way there or to the next leg.
    Left(Weak<Sockets>),
}

pub(super) struct MediaIo {
    thread: u8,
    /// By the pair's number, which is also in the epoll key.
    pub(super) slots: Vec<Slot>,
    pub(super) numbers: HashMap<LegId, u32, foldhash::fast::RandomState>,
    pub(super) events: Arc<SegQueue<FromMedia>>,
    signalling: Arc<Waker>,
    producer: Arc<Producer>,
    /// Something was pushed to `events` since the last `tell`.
    pub(super) news: bool,
    pub(super) crossings: Option<Box<Crossings>>,
    gauges: Arc<Gauges>,
    stray_at: Mono,
}

const STRAY_INTERVAL: Duration = Duration::from_millis(2);

impl MediaIo {
    pub(super) fn new(
        thread: u8,
        events: Arc<SegQueue<FromMedia>>,
        signalling: Arc<Waker>,
        producer: Arc<Producer>,
        gauges: Arc<Gauges>,
    ) -> Self {
        MediaIo {
            thread,
            slots: Vec::new(),
            numbers: HashMap::default(),
            events,
            signalling,
            producer,
            news: false,
            crossings: None,
            gauges,
            stray_at: Mono::ZERO,
        }
    }

    pub(super) fn insert(&mut self, leg: LegId, pair: Pair) {
        self.put_in(Box::new(Open::new(leg, pair)));
    }

    fn put_in(&mut self, open: Box<Open>) {
        let index = open.pair.id as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || Slot::Unknown);
        }
        self.numbers.insert(open.leg, open.pair.id);
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Slot::Open(open);
        }
    }

    /// The leg of another thread is one of this from now on.
    pub(super) fn take_in(&mut self, now: Mono, open: Box<Open>) {
        let number = open.pair.id;
        self.put_in(open);
        self.cross_on(now, number);
    }

    pub(super) fn thread(&self) -> u8 {
        self.thread
    }

    pub(super) fn legs(&self) -> Vec<LegId> {
        self.numbers.keys().copied().collect()
    }

    /// Whose socket an epoll key means, and whether it is the RTCP one.
    pub(super) fn socket(&self, key: u64) -> Option<(LegId, RawFd, bool)> {
        let Slot::Open(open) = self.slots.get(usize::try_from(key / 2).ok()?)? else { return None };
        let rtcp = key % 2 == 1;
        Some((open.leg, if rtcp { open.rtcp } else { open.rtp }, rtcp))
    }

    /// A socket is ready that no leg has: whoever sends there meets a closed door from now on.
    pub(super) fn stray(&mut self, now: Mono, key: u64) {
        let slot = usize::try_from(key / 2).ok().and_then(|index| self.slots.get(index));
        if let Some(Slot::Left(sockets)) = slot
            && let Some(sockets) = sockets.upgrade()
        {
            sockets.shut(self.thread);
            return;
        }
        // Only the pool has it, and until it is shut there this thread finds it ready. Told often enough.
        if now.since(self.stray_at) >= STRAY_INTERVAL
            && let Ok(number) = u32::try_from(key / 2)
        {
            self.stray_at = now;
            self.events.push(FromMedia::Stray(number));
            self.signalling.wake();
        }
    }

    pub(super) fn leg(&mut self, leg: LegId) -> Option<&mut Open> {
        let index = *self.numbers.get(&leg)?;
        match self.slots.get_mut(index as usize)? {
            Slot::Open(open) => Some(open),
            _ => None,
        }
    }

    /// Wakes the signalling thread if there is something for it; once a turn.
    pub(super) fn tell(&mut self) {
        if std::mem::take(&mut self.news) {
            self.signalling.wake();
        }
    }

    pub(super) fn note(&mut self, leg: LegId, result: std::io::Result<()>) {
        let Err(error) = result else { return };
        self.gauges.count_unsent();
        // A full buffer or an unreachable network is loss like any other; statistics of the far end tell of it.
        tracing::debug!(target: "ringback.media", ?leg, %error, "a packet was not sent");
    }
}

/// Sends, and once more if what was wrong may be an ICMP error that an earlier packet had brought back: a socket keeps one, and reporting clears
/// it. What says that there is no room, or that it is not allowed, is about this packet.
pub(super) fn again(mut send: impl FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
    use ErrorKind::{ConnectionRefused, HostUnreachable, Interrupted, NetworkUnreachable};
    match send() {
        Err(error)
            if matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | Interrupted) =>
        {
            send()
        }
        other => other,
    }
}

impl Out for MediaIo {
    fn rtp(&mut self, leg: LegId, to: SocketAddr, packet: &[u8]) {
        let Some(open) = self.leg(leg) else { return };
        if let Some(crossing) = &mut open.crossing {
            if crossing.is_relayed() {
                return self.relay(leg, Component::Rtp, to, packet);
            }
            crossing.sent(Component::Rtp);
        }
        let fd = open.rtp;
        let connected = open.connected == Some(to);
        let result = again(|| if connected { sys::send(fd, packet) } else { sys::send_to(fd, packet, &to) });
        if result.is_err() {
            self.note(leg, result);
        }
    }

    fn rtcp(&mut self, leg: LegId, to: SocketAddr, packet: &[u8]) {
        let Some(open) = self.leg(leg) else { return };
        if let Some(crossing) = &mut open.crossing {
            if crossing.is_relayed() {
                return self.relay(leg, Component::Rtcp, to, packet);
            }
            crossing.sent(Component::Rtcp);
        }
        let fd = open.rtcp;
        let result = again(|| sys::send_to(fd, packet, &to));
        if result.is_err() {
            self.note(leg, result);
        }
    }

    fn event(&mut self, event: Event) {
        if let Event::Closed { leg, .. } = &event
            && self.leaves_late(*leg)
        {
            // The session need not wait for what is still to be said to a relay; the ports have to.
            let leg = *leg;
            self.events.push(FromMedia::Event(event));
            self.news = true;
            return self.part_with(leg);
        }
        let mut news = None;
        if let Event::Closed { leg, .. } = &event
            && let Some(number) = self.numbers.remove(leg)
            && let Some(slot) = self.slots.get_mut(number as usize)
            && let Slot::Open(open) = std::mem::replace(slot, Slot::Unknown)
        {
            open.pair.sockets.leave();
            *slot = Slot::Left(Arc::downgrade(&open.pair.sockets));
            news = Some(open.pair);
        }
        self.events.push(match news {
            Some(pair) => FromMedia::Closed(event, pair),
            None => FromMedia::Event(event),
        });
        self.news = true;
    }

    fn audio_ready(&mut self, port: &Arc<AudioPort>) {
        self.producer.audio(Arc::clone(port));
    }

    fn accept_from(&mut self, leg: LegId, remote: Option<SocketAddr>) {
        let Some(open) = self.leg(leg) else { return };
        if open.crossing.is_some() && self.turn_to(leg, remote) {
            return;
        }
        let Some(open) = self.leg(leg) else { return };
        open.connected = None;
        match open.pair.sockets.accept_from(remote) {
            Ok(connected) => open.connected = remote.filter(|_| connected),
            // The engine's own check of each packet's source still stands.
            Err(error) => tracing::debug!(target: "ringback.media", ?leg, ?remote, %error, "cannot connect"),
        }
    }
}
