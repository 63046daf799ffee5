//! A leg with its sockets on the way from one media thread to another. What arrives meanwhile waits in the sockets.
//!
//! It goes from hand to hand: signalling may be late on a busy machine, and then nobody would hear the leg. Its events stay in order, because
//! those of the first thread are in the common queue before the second one has the leg.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_queue::SegQueue;
use ringback_media::{MediaEngine, Out as _, Traveller};
use ringback_media_api::{Event, LegId};
use ringback_time::{Mono, Now};

use super::io::{MediaIo, Open, Slot};
use super::link::{Bed, FromMedia};
use crate::ports::Pair;
use crate::sys::{Epoll, Handle};

/// All that a media thread has of a leg.
#[derive(Debug)]
pub(crate) struct Luggage {
    leg: LegId,
    /// `None`: the sockets are with nobody any more, or with the pool.
    open: Option<Box<Open>>,
    /// `None`: its work has failed.
    traveller: Option<Traveller>,
}

/// Where others put legs down for a thread.
#[derive(Debug)]
pub(crate) struct Dock {
    arrivals: SegQueue<Box<Luggage>>,
    bed: Arc<Bed>,
}

impl Dock {
    pub(super) fn new(bed: Arc<Bed>) -> Self {
        Dock { arrivals: SegQueue::new(), bed }
    }

    fn put_down(&self, now: Mono, luggage: Luggage) {
        self.arrivals.push(Box::new(luggage));
        self.bed.call(now, Duration::ZERO);
    }

    pub(super) fn take(&self) -> Option<Luggage> {
        self.arrivals.pop().map(|luggage| *luggage)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }
}

fn sockets(pair: &Pair) -> [(std::os::fd::BorrowedFd<'_>, u64); 2] {
    let key = u64::from(pair.id) * 2;
    [(pair.sockets.rtp.as_fd(), key), (pair.sockets.rtcp.as_fd(), key + 1)]
}

impl MediaIo {
    /// Lets a leg go.
    pub(super) fn depart(&mut self, now: Now, leg: LegId, engine: &mut MediaEngine, epoll: &Handle, to: &Dock) {
        let traveller = engine.depart(now, leg, self);
        let slot = self.numbers.remove(&leg).and_then(|number| self.slots.get_mut(number as usize));
        let open = match slot.map(|slot| std::mem::replace(slot, Slot::Unknown)) {
            Some(Slot::Open(open)) => Some(open),
            _ => None,
        };
        for (socket, _) in open.iter().filter(|open| open.is_watched()).flat_map(|open| sockets(&open.pair)) {
            if let Err(error) = epoll.remove(socket) {
                tracing::error!(target: "ringback.net", ?leg, %error, "cannot let go of a media socket");
            }
        }
        // In this order: what signalling sends when it knows finds the leg.
        to.put_down(now.mono, Luggage { leg, open, traveller });
        self.events.push(FromMedia::Departed(leg));
        self.news = true;
    }

    /// Takes in a leg that another thread has let go.
    pub(super) fn arrive(&mut self, now: Now, luggage: Luggage, engine: &mut MediaEngine, epoll: &Epoll) {
        let Luggage { leg, open, traveller } = luggage;
        let mut deaf = None;
        if let Some(mut open) = open {
            open.pair.give_to(self.thread());
            for (socket, key) in sockets(&open.pair) {
                deaf = epoll.add(socket, key).err().or(deaf);
            }
            self.take_in(now.mono, open);
        }
        if let Some(traveller) = traveller {
            engine.arrive(now, traveller, self);
        }
        if let Some(error) = deaf {
            tracing::error!(target: "ringback.net", ?leg, %error, "cannot watch a media socket");
            self.event(Event::Failed { leg, cause: "a media socket cannot be watched" });
        }
    }
}
