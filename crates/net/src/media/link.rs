//! From the signalling thread to one media thread.
//!
//! Invariant: nothing blocks and nothing is lost. What the ring has no room for waits, in order, on the signalling side.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use ringback_media_api::{Command, Event, LegId};
use ringback_time::Mono;

use crate::ports::Pair;
use crate::sys::EventFd;

/// Commands on their way: some 500 calls set up within one millisecond.
pub(crate) const RING: usize = 4096;
/// Several threads share that, as far as each has some.
const SMALL_RING: usize = 512;
/// A thread that is up again this soon needs no wake: what a peer sends meanwhile is kept by the leg's sockets, which are open already,
/// and what is told of a leg shows in its next packet, which is rarely due before.
pub(crate) const SOON: Duration = Duration::from_millis(4);

/// Room for what is on its way to each of so many threads.
pub(crate) fn ring_for(threads: usize) -> usize {
    (RING / threads.max(1)).max(SMALL_RING)
}

#[derive(Debug)]
pub(crate) enum ToMedia {
    Command(Command),
    /// `Command::Open`, with the leg's sockets.
    Open(Pair, Command),
    /// `Command::Open` of a leg whose sockets come by [`super::Links::supply`]; never in the ring.
    OpenLater(Command),
    /// Let a leg go to that thread. Answered by `FromMedia::Departed`.
    Depart(LegId, u8),
    /// The pair of a leg to come: it is to be asked where others reach it. Answered by `Event::Located`; `Open` follows as a command.
    Seek(LegId, Pair),
    /// The leg that it was for does not come. Answered by `FromMedia::Returned`.
    Release(LegId),
    /// Close every leg and end.
    Leave,
}

impl ToMedia {
    /// The legs and rooms that it concerns; none: the whole thread.
    pub(crate) fn touches(&self) -> [Option<LegId>; 2] {
        match self {
            ToMedia::Command(command) | ToMedia::Open(_, command) | ToMedia::OpenLater(command) => command.touches(),
            ToMedia::Depart(leg, _) | ToMedia::Seek(leg, _) | ToMedia::Release(leg) => [Some(*leg), None],
            ToMedia::Leave => [None, None],
        }
    }
}

/// What a media thread tells.
#[derive(Debug)]
pub(crate) enum FromMedia {
    Event(Event),
    /// `Event::Closed`, with the leg's sockets.
    Closed(Event, Pair),
    /// The other thread has the leg, or will have it before it looks at what is sent to it from now on.
    Departed(LegId),
    /// The sockets of a leg that was closed before, or never opened.
    Returned(LegId, Pair),
    /// The pair of this number is ready though no leg of this thread has had it yet.
    Stray(u32),
}

/// Lets the thread sleep and be woken.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) wake: EventFd,
    /// When it will be up by itself; 0 while it is.
    until: AtomicU64,
}

impl Bed {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Bed { wake: EventFd::new()?, until: AtomicU64::new(0) })
    }

    /// The thread is about to sleep; it looks at its ring once more after this.
    pub(crate) fn lie_down(&self, until: Option<Mono>) {
        self.until.store(until.map_or(u64::MAX, Mono::as_nanos), Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn get_up(&self) {
        self.until.store(0, Ordering::SeqCst);
    }

    /// Wakes the thread if it would sleep on for longer than `soon`.
    pub(crate) fn call(&self, now: Mono, soon: Duration) {
        fence(Ordering::SeqCst);
        let until = self.until.load(Ordering::Relaxed);
        if until > (now + soon).as_nanos() && self.until.swap(0, Ordering::SeqCst) != 0 {
            self.wake.notify();
        }
    }
}

#[derive(Debug)]
pub(crate) struct Link {
    ring: rtrb::Producer<ToMedia>,
    waiting: VecDeque<ToMedia>,
    bed: Arc<Bed>,
    dirty: bool,
    /// Others wait for it.
    urgent: bool,
}

impl Link {
    pub(crate) fn new(capacity: usize, bed: Arc<Bed>) -> (Link, rtrb::Consumer<ToMedia>) {
        let (ring, consumer) = rtrb::RingBuffer::new(capacity);
        (Link { ring, waiting: VecDeque::new(), bed, dirty: false, urgent: false }, consumer)
    }

    pub(crate) fn send(&mut self, message: ToMedia) {
        self.dirty = true;
        self.urgent |= matches!(message, ToMedia::Depart(..));
        if !self.waiting.is_empty() {
            self.waiting.push_back(message);
        } else if let Err(rtrb::PushError::Full(message)) = self.ring.push(message) {
            self.waiting.push_back(message);
        }
    }

    /// Passes on what waits, and sees to it that the thread will look. True when something still waits: come back in a millisecond.
    pub(crate) fn flush(&mut self, now: Mono) -> bool {
        while let Some(message) = self.waiting.pop_front() {
            self.dirty = true;
            if let Err(rtrb::PushError::Full(message)) = self.ring.push(message) {
                self.waiting.push_front(message);
                break;
            }
        }
        let soon = if std::mem::take(&mut self.urgent) { Duration::ZERO } else { SOON };
        if std::mem::take(&mut self.dirty) {
            self.bed.call(now, soon);
        }
        if self.waiting.is_empty() && self.waiting.capacity() > RING {
            self.waiting.shrink_to(0);
        }
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Epoll;
    use std::os::fd::AsFd as _;

    fn close(serial: u64) -> ToMedia {
        ToMedia::Command(Command::Close { leg: LegId::new(0, serial) })
    }

    fn serial(message: &ToMedia) -> u64 {
        match message {
            ToMedia::Command(command) => command.leg().serial(),
            _ => u64::MAX,
        }
    }

    fn rung(bed: &Bed) -> bool {
        let mut epoll = Epoll::new(1).expect("an epoll");
        epoll.add(bed.wake.as_fd(), 0).expect("added");
        let rung = !epoll.wait(Some(Duration::ZERO)).expect("a wait").is_empty();
        bed.wake.clear();
        rung
    }

    #[test]
    fn an_overflowing_ring_loses_nothing_and_keeps_the_order() {
        let bed = Arc::new(Bed::new().expect("a bed"));
        let (mut link, mut ring) = Link::new(8, bed);
        let mut seen = Vec::new();
        for number in 0..100 {
            link.send(close(number));
            if number % 7 == 0 {
                seen.extend(ring.pop().ok().map(|message| serial(&message)));
                link.flush(Mono::ZERO);
            }
        }
        while link.flush(Mono::ZERO) {
            while let Ok(message) = ring.pop() {
                seen.push(serial(&message));
            }
        }
        while let Ok(message) = ring.pop() {
            seen.push(serial(&message));
        }
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn only_a_thread_that_would_sleep_on_is_woken() {
        let bed = Arc::new(Bed::new().expect("a bed"));
        let (mut link, _ring) = Link::new(64, Arc::clone(&bed));
        let now = Mono::from_nanos(1_000_000_000);
        let mut send = |now| {
            link.send(close(1));
            link.flush(now);
        };
        send(now);
        assert!(!rung(&bed), "it is up");
        bed.lie_down(Some(now + Duration::from_micros(900)));
        send(now);
        assert!(!rung(&bed), "it will be soon");
        bed.lie_down(Some(now + Duration::from_millis(20)));
        send(now);
        assert!(rung(&bed));
        send(now);
        assert!(!rung(&bed), "once is enough");
        bed.lie_down(None);
        send(now);
        assert!(rung(&bed), "parked");
    }
}
