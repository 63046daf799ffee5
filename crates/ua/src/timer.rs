//! Deadlines. Nearly all timers of RFC 3261 have one of a dozen fixed lengths (T1 doubled up to 64*T1, T2, T4): each length has a
//! FIFO queue in which the earliest deadline is the first entry, so that setting, cancelling and finding the next one cost the same
//! however many there are. The few odd lengths (random retry delays) go to an ordered set. Cancelling removes: nothing stale
//! wakes anybody or holds memory.
//!
//! Invariant: within a queue deadlines never decrease, because time never does.

use std::collections::BTreeSet;
use std::time::Duration;

use ringback_time::Mono;

use crate::arena::Index;

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A or E: a client transaction sends its request again.
    ClientRetransmit,
    /// B or F: a client transaction gives up. The same timer is D after a refused INVITE.
    ClientEnd,
    /// 200 ms without a response to an INVITE.
    Trying,
    /// G: a server transaction sends its refusal of an INVITE again.
    ServerRetransmit,
    /// H: no ACK came to a refusal.
    ServerEnd,
    /// RFC 3261 §13.3.1.4: the UAS core sends its 2xx again.
    Accepted,
    /// §14.1: a re-INVITE refused with 491 is tried again.
    Retry,
    /// Nobody said a password.
    Password,
    /// The time that was given to a request outside of a dialog is over.
    GiveUp,
    /// RFC 4028 §10: a session is to be refreshed, or is over.
    Session,
    /// RFC 3262 §3: the UAS core sends a provisional response again.
    Reliable,
    /// §9.1: a cancelled INVITE got no final response in 64*T1.
    CancelEnd,
}

/// Whom a timer wakes: `owner` is an index of the arena that `kind` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) owner: Index,
}

/// A timer that runs. Its owner must cancel it before going away; once the timer has fired the name is void, and harmless.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerId {
    node: u32,
    serial: u32,
}

const NONE: u32 = u32::MAX;
/// `Node::queue` of a timer in the ordered set, and of an unused node.
const ODD: u8 = u8::MAX;
const UNUSED: u8 = u8::MAX - 1;

struct Node {
    deadline: Mono,
    owner: Index,
    next: u32,
    previous: u32,
    serial: u32,
    kind: Kind,
    queue: u8,
}

struct Queue {
    length: Duration,
    first: u32,
    last: u32,
}

pub(crate) struct Timers {
    nodes: Vec<Node>,
    /// Unused nodes, chained by `next`.
    free: u32,
    len: usize,
    serial: u32,
    queues: Vec<Queue>,
    odd: BTreeSet<(Mono, u32)>,
}

impl Timers {
    /// `lengths`: those that get a queue.
    pub(crate) fn new(lengths: impl IntoIterator<Item = Duration>) -> Self {
        let mut queues: Vec<Queue> = Vec::new();
        for length in lengths {
            if queues.len() < UNUSED as usize && !queues.iter().any(|queue| queue.length == length) {
                queues.push(Queue { length, first: NONE, last: NONE });
            }
        }
        Timers { nodes: Vec::new(), free: NONE, len: 0, serial: 0, queues, odd: BTreeSet::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn set(&mut self, now: Mono, after: Duration, target: Target) -> TimerId {
        let deadline = now + after;
        let queue = self.queues.iter().position(|queue| queue.length == after);
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let id = self.allocate(Node {
            deadline,
            owner: target.owner,
            next: NONE,
            previous: NONE,
            serial,
            kind: target.kind,
            queue: queue.map_or(ODD, |queue| queue as u8),
        });
        // A clock that was set back (a driver's fault) must not break the order of a queue.
        let in_order =
            |timers: &Timers, last: u32| timers.nodes.get(last as usize).is_none_or(|node| node.deadline <= deadline);
        match queue.and_then(|n| self.queues.get(n)).map(|queue| queue.last) {
            Some(last) if in_order(self, last) => {
                if let Some(node) = self.nodes.get_mut(last as usize) {
                    node.next = id;
                }
                if let Some(node) = self.nodes.get_mut(id as usize) {
                    node.previous = last;
                }
                if let Some(queue) = queue.and_then(|n| self.queues.get_mut(n)) {
                    queue.last = id;
                    if queue.first == NONE {
                        queue.first = id;
                    }
                }
            }
            _ => {
                if let Some(node) = self.nodes.get_mut(id as usize) {
                    node.queue = ODD;
                }
                self.odd.insert((deadline, id));
            }
        }
        TimerId { node: id, serial }
    }

    pub(crate) fn cancel(&mut self, timer: TimerId) {
        if self.nodes.get(timer.node as usize).is_some_and(|node| node.serial == timer.serial) {
            self.unlink(timer.node);
        }
    }

    /// Cancels and forgets.
    pub(crate) fn stop(&mut self, timer: &mut Option<TimerId>) {
        if let Some(timer) = timer.take() {
            self.cancel(timer);
        }
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        let firsts =
            self.queues.iter().filter_map(|queue| self.nodes.get(queue.first as usize)).map(|node| node.deadline);
        firsts.chain(self.odd.first().map(|(deadline, _)| *deadline)).min()
    }

    /// The timer whose deadline passed longest ago; it is gone then.
    pub(crate) fn pop(&mut self, now: Mono) -> Option<(TimerId, Target)> {
        let mut due: Option<(Mono, u32)> = self.odd.first().copied();
        for queue in &self.queues {
            if let Some(node) = self.nodes.get(queue.first as usize)
                && due.is_none_or(|(deadline, _)| node.deadline < deadline)
            {
                due = Some((node.deadline, queue.first));
            }
        }
        let (deadline, id) = due?;
        if deadline > now {
            return None;
        }
        let node = self.nodes.get(id as usize)?;
        let target = Target { kind: node.kind, owner: node.owner };
        let timer = TimerId { node: id, serial: node.serial };
        self.unlink(id);
        Some((timer, target))
    }

    /// Gives back what a burst needed. From now on the lowest nodes are used first, so that next time more of them can be given back.
    pub(crate) fn shrink(&mut self) {
        let used = self.nodes.iter().rposition(|node| node.queue != UNUSED).map_or(0, |last| last + 1);
        self.nodes.truncate(used);
        self.nodes.shrink_to(64);
        self.free = NONE;
        for (id, node) in self.nodes.iter_mut().enumerate().rev().filter(|(_, node)| node.queue == UNUSED) {
            node.next = self.free;
            self.free = id as u32;
        }
    }

    fn allocate(&mut self, node: Node) -> u32 {
        self.len += 1;
        if let Some(unused) = self.nodes.get_mut(self.free as usize) {
            let id = self.free;
            self.free = unused.next;
            *unused = node;
            return id;
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    fn unlink(&mut self, id: u32) {
        let Some(node) = self.nodes.get_mut(id as usize) else { return };
        let (next, previous, deadline) = (node.next, node.previous, node.deadline);
        match node.queue {
            UNUSED => return,
            ODD => {
                self.odd.remove(&(deadline, id));
            }
            queue => {
                let queue = usize::from(queue);
                match self.nodes.get_mut(previous as usize) {
                    Some(node) => node.next = next,
                    None => {
                        if let Some(queue) = self.queues.get_mut(queue) {
                            queue.first = next;
                        }
                    }
                }
                match self.nodes.get_mut(next as usize) {
                    Some(node) => node.previous = previous,
                    None => {
                        if let Some(queue) = self.queues.get_mut(queue) {
                            queue.last = previous;
                        }
                    }
                }
            }
        }
        self.len -= 1;
        if self.len == 0 {
            // What a burst needed is given back.
            self.nodes.clear();
            self.nodes.shrink_to(64);
            self.free = NONE;
        } else if let Some(node) = self.nodes.get_mut(id as usize) {
            node.queue = UNUSED;
            node.next = self.free;
            self.free = id;
        }
    }
}

#[cfg(test)]
mod tests;
