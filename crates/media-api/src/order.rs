//! Messages in their order, where some take longer than others: what concerns a leg that is on its way from one media thread to another
//! waits until it is there, and so does what concerns whatever that in turn concerns. All else goes on.
//!
//! Each leg and room that somebody waits for has a queue of the messages that concern it. A message's turn comes when it is the first in
//! each of its queues, and it leaves them at once, unless it lasts: then with [`Order::done`].
//!
//! Invariant: of two messages with a leg or room in common, the one that came first goes first. Since a message waits for earlier ones only,
//! none waits for ever while those that last are done.

use std::collections::{HashMap, VecDeque};

use crate::LegId;

#[derive(Debug)]
pub struct Order<M> {
    queues: HashMap<LegId, VecDeque<u64>>,
    waiting: HashMap<u64, Waiting<M>>,
    ready: VecDeque<M>,
    serial: u64,
}

#[derive(Debug)]
struct Waiting<M> {
    touches: [Option<LegId>; 2],
    lasts: bool,
    /// Queues in which it is not the first.
    behind: usize,
    /// `None`: it has gone, and lasts.
    message: Option<M>,
}

impl<M> Default for Order<M> {
    fn default() -> Self {
        Order { queues: HashMap::new(), waiting: HashMap::new(), ready: VecDeque::new(), serial: 0 }
    }
}

impl<M> Order<M> {
    /// Nothing waits, and nothing that lasts is under way.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.ready.is_empty()
    }

    /// Gives the message back where its turn is now; otherwise `poll` gives it later. `touches`: what it concerns. `lasts`: those behind
    /// it wait for [`Order::done`] of the first of these.
    pub fn pass(&mut self, touches: [Option<LegId>; 2], lasts: bool, message: M) -> Option<M> {
        if self.is_idle() && !lasts {
            return Some(message);
        }
        let [first, second] = touches;
        let touches = [first, second.filter(|second| Some(*second) != first)];
        let ids = || touches.into_iter().flatten();
        let behind = ids().filter(|id| self.queues.contains_key(id)).count();
        let free = behind == 0 && self.ready.is_empty();
        if free && !lasts {
            return Some(message);
        }
        self.serial += 1;
        for id in ids() {
            self.queues.entry(id).or_default().push_back(self.serial);
        }
        let (now, later) = if free { (Some(message), None) } else { (None, Some(message)) };
        self.waiting.insert(self.serial, Waiting { touches, lasts, behind, message: later });
        if !free && behind == 0 {
            self.go(self.serial);
        }
        now
    }

    /// What was under way with this leg has come to its end. Everything that `poll` then has is to be taken.
    pub fn done(&mut self, leg: LegId) {
        let Some(&first) = self.queues.get(&leg).and_then(VecDeque::front) else { return };
        if self.waiting.get(&first).is_some_and(|waiting| waiting.message.is_none()) {
            self.leave(first);
        }
    }

    /// A message whose turn has come.
    pub fn poll(&mut self) -> Option<M> {
        self.ready.pop_front()
    }

    fn go(&mut self, serial: u64) {
        let Some(waiting) = self.waiting.get_mut(&serial) else { return };
        let lasts = waiting.lasts;
        self.ready.extend(waiting.message.take());
        if !lasts {
            self.leave(serial);
        }
    }

    /// Takes a message out of its queues, and lets those go that are the first now.
    fn leave(&mut self, serial: u64) {
        let mut gone = vec![serial];
        while let Some(serial) = gone.pop() {
            let Some(waiting) = self.waiting.remove(&serial) else { continue };
            for id in waiting.touches.into_iter().flatten() {
                let Some(queue) = self.queues.get_mut(&id) else { continue };
                queue.pop_front();
                let Some(&first) = queue.front() else {
                    self.queues.remove(&id);
                    continue;
                };
                let Some(next) = self.waiting.get_mut(&first) else { continue };
                next.behind -= 1;
                if next.behind == 0 {
                    self.ready.extend(next.message.take());
                    if !next.lasts {
                        gone.push(first);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a message concerns, whether it lasts, and its number.
    type Sent = ([Option<LegId>; 2], bool, usize);

    fn leg(serial: u64) -> LegId {
        LegId::new(0, serial)
    }

    #[test]
    fn what_concerns_nobody_on_the_way_goes_at_once() {
        let mut order = Order::default();
        assert_eq!(order.pass([Some(leg(1)), None], false, 'a'), Some('a'));
        assert_eq!(order.pass([Some(leg(1)), None], true, 'm'), Some('m'));
        assert_eq!(order.pass([Some(leg(1)), Some(leg(2))], false, 'b'), None);
        assert_eq!(order.pass([Some(leg(2)), None], false, 'c'), None, "it concerns what `b` concerns");
        assert_eq!(order.pass([Some(leg(3)), None], false, 'd'), Some('d'));
        assert!(!order.is_idle() && order.poll().is_none());
        order.done(leg(2));
        assert!(order.poll().is_none(), "2 is not on its way");
        order.done(leg(1));
        assert_eq!([order.poll(), order.poll(), order.poll()], [Some('b'), Some('c'), None]);
        assert!(order.is_idle());
    }

    #[test]
    fn who_moves_on_before_it_arrived_moves_twice() {
        let mut order = Order::default();
        let touches = [Some(leg(1)), None];
        assert_eq!(order.pass(touches, true, 1), Some(1));
        assert_eq!(order.pass(touches, true, 2), None);
        assert_eq!(order.pass(touches, false, 3), None);
        order.done(leg(1));
        assert_eq!((order.poll(), order.poll()), (Some(2), None));
        order.done(leg(1));
        assert_eq!((order.poll(), order.poll()), (Some(3), None));
        assert!(order.is_idle());
        order.done(leg(1));
        assert!(order.is_idle());
    }

    /// Whatever comes and in whatever order things are done: nothing is lost, and what has something in common keeps its order.
    #[test]
    fn a_random_stream_keeps_its_order_and_ends() {
        for seed in 1..200_u64 {
            let mut random = seed;
            let mut below = |most: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % most
            };
            let mut order: Order<Sent> = Order::default();
            let mut under_way: Vec<LegId> = Vec::new();
            let mut went: Vec<Sent> = Vec::new();
            let mut go = |sent: Sent, under_way: &mut Vec<LegId>| {
                let [first, second] = sent.0;
                for id in [first, second].into_iter().flatten() {
                    assert!(!under_way.contains(&id), "{sent:?} while {under_way:?} are under way");
                }
                if sent.1 {
                    under_way.extend(first);
                }
                went.push(sent);
            };
            let mut number = 0;
            while number < 300 || !under_way.is_empty() {
                if number < 300 && below(3) > 0 {
                    let second = (below(2) == 0).then(|| leg(below(8)));
                    let sent = ([Some(leg(below(8))), second], below(4) == 0 && second.is_none(), number);
                    number += 1;
                    if let Some(sent) = order.pass(sent.0, sent.1, sent) {
                        go(sent, &mut under_way);
                    }
                } else if !under_way.is_empty() {
                    let arrived = under_way.swap_remove(below(under_way.len() as u64) as usize);
                    order.done(arrived);
                    while let Some(sent) = order.poll() {
                        go(sent, &mut under_way);
                    }
                }
            }
            assert!(order.is_idle());
            assert_eq!(went.len(), 300);
            for id in (0..8).map(leg) {
                let of = went.iter().filter(|(touches, ..)| touches.contains(&Some(id))).map(|(_, _, number)| *number);
                assert!(of.clone().is_sorted(), "{id:?}: {:?}", of.collect::<Vec<_>>());
            }
        }
    }
}
