//! From the signalling thread to all media threads: which of them has a leg, and that everything that concerns it comes there in order,
//! though it moves, or waits for its sockets.
//!
//! A leg moves when the thread that has it hands it to the other ([`ToMedia::Depart`], answered by [`FromMedia::Departed`]). Until then what
//! concerns it, its room there or the leg it is to be bridged with waits here ([`Order`]); everything else goes on.
//!
//! [`FromMedia::Departed`]: super::FromMedia::Departed

use std::collections::HashMap;
use std::time::Duration;

use ringback_media_api::{Command, LegId, Order};
use ringback_time::Mono;

use super::link::{Link, ToMedia};
use crate::clock;
use crate::os_thread::Thread;
use crate::ports::Pair;

#[derive(Debug, Default)]
pub(crate) struct Links {
    links: Vec<(Link, Option<Thread>)>,
    /// Legs that are not, or not for long, on the thread that they were opened on.
    moved: HashMap<LegId, u8, foldhash::fast::RandomState>,
    order: Order<ToMedia>,
    /// `Command::Open` of legs whose sockets are still to come.
    awaiting: HashMap<LegId, Command, foldhash::fast::RandomState>,
}

impl Links {
    pub(crate) fn add(&mut self, link: Link, thread: Thread) {
        self.links.push((link, Some(thread)));
    }

    pub(crate) fn send(&mut self, message: ToMedia) {
        let touches = message.touches();
        let lasts = matches!(message, ToMedia::Command(Command::Move { .. }) | ToMedia::OpenLater(_));
        if let Some(message) = self.order.pass(touches, lasts, message) {
            self.go(message);
        }
    }

    fn thread_of(&self, leg: LegId) -> u8 {
        if self.moved.is_empty() {
            return leg.thread();
        }
        self.moved.get(&leg).copied().unwrap_or(leg.thread())
    }

    /// The turn of a message has come.
    fn go(&mut self, message: ToMedia) {
        let Some(leg) = message.touches()[0] else { return };
        let thread = self.thread_of(leg);
        let message = match message {
            ToMedia::Command(Command::Move { to, .. }) => {
                if to == thread || usize::from(to) >= self.links.len() {
                    return self.done(leg);
                }
                self.moved.insert(leg, to);
                return self.put(thread, ToMedia::Depart(leg, to));
            }
            ToMedia::OpenLater(command) => {
                self.awaiting.insert(leg, command);
                return;
            }
            other => other,
        };
        if matches!(message, ToMedia::Command(Command::Close { .. })) {
            self.moved.remove(&leg);
        }
        self.put(thread, message);
    }

    fn put(&mut self, thread: u8, message: ToMedia) {
        if let Some((link, _)) = self.links.get_mut(usize::from(thread)) {
            link.send(message);
        }
    }

    /// What was under way with a leg is done: what has waited for it goes on.
    fn done(&mut self, leg: LegId) {
        self.order.done(leg);
        while let Some(message) = self.order.poll() {
            self.go(message);
        }
    }

    /// A leg has left its thread for the other.
    pub(crate) fn departed(&mut self, leg: LegId) {
        self.done(leg);
    }

    /// The sockets of a leg that was opened without. Gives them back where that leg is not waited for.
    pub(crate) fn supply(&mut self, leg: LegId, pair: Pair) -> Option<Pair> {
        let Some(command) = self.awaiting.remove(&leg) else { return Some(pair) };
        self.put(self.thread_of(leg), ToMedia::Open(pair, command));
        self.done(leg);
        None
    }

    /// Passes on what waits for room, and sees to it that the threads will look. True when something still waits for room: come back in a
    /// millisecond.
    pub(crate) fn flush(&mut self, now: Mono) -> bool {
        self.links.iter_mut().fold(false, |more, (link, _)| link.flush(now) || more)
    }

    /// No leg is between two threads, or waits for its sockets.
    pub(crate) fn is_settled(&self) -> bool {
        self.order.is_idle()
    }

    /// The threads are to end once they have done all that was sent.
    pub(crate) fn leave(&mut self) {
        for (link, _) in &mut self.links {
            link.send(ToMedia::Leave);
        }
    }

    /// Waits for the end of all threads until then; how many are left to themselves.
    pub(crate) fn join(&mut self, until: Mono) -> usize {
        let threads = self.links.iter_mut().filter_map(|(_, thread)| thread.take());
        threads.filter_map(|thread| (!thread.join(until.since(clock::mono()))).then_some(())).count()
    }

    /// As [`Links::join`], from now on.
    pub(crate) fn join_within(&mut self, most: Duration) -> usize {
        self.join(clock::mono() + most)
    }
}
