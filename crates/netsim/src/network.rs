use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use ringback_time::Mono;

use crate::Conditions;

/// What has become of the packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub sent: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub held_back: u64,
    pub delivered: u64,
    /// Lost because too much was under way.
    pub overflowed: u64,
}

/// Paths between nodes `N` (addresses, say) that carry packets `P`.
#[derive(Debug)]
pub struct Network<N, P> {
    rng: ChaCha12Rng,
    conditions: Conditions,
    paths: BTreeMap<(N, N), Conditions>,
    /// When the latest stream message of a path is due.
    streams: BTreeMap<(N, N), Mono>,
    under_way: BinaryHeap<Reverse<UnderWay<P>>>,
    sent: u64,
    counters: Counters,
}

#[derive(Debug)]
struct UnderWay<P> {
    due: Mono,
    order: u64,
    packet: P,
}

impl<N: Ord + Clone, P: Clone> Network<N, P> {
    /// Packets under way at most; more are lost and counted.
    pub const CAPACITY: usize = 1 << 20;

    pub fn new(seed: u64, conditions: Conditions) -> Self {
        Network {
            rng: ChaCha12Rng::seed_from_u64(seed),
            conditions,
            paths: BTreeMap::new(),
            streams: BTreeMap::new(),
            under_way: BinaryHeap::new(),
            sent: 0,
            counters: Counters::default(),
        }
    }

    /// For all paths that have no conditions of their own; what is under way stays as it is.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// For the path from one node to another, in this direction. `None`: those of all others again.
    pub fn set_path(&mut self, from: N, to: N, conditions: Option<Conditions>) {
        match conditions {
            Some(conditions) => {
                self.paths.insert((from, to), conditions);
            }
            None => {
                self.paths.remove(&(from, to));
            }
        }
    }

    pub fn conditions(&self, from: &N, to: &N) -> Conditions {
        if self.paths.is_empty() {
            return self.conditions;
        }
        self.paths.get(&(from.clone(), to.clone())).copied().unwrap_or(self.conditions)
    }

    /// A packet that the network may do everything to.
    pub fn send(&mut self, now: Mono, from: &N, to: &N, packet: P) {
        let conditions = self.conditions(from, to);
        self.counters.sent += 1;
        if self.happens(conditions.loss) {
            self.counters.lost += 1;
            return;
        }
        if self.happens(conditions.duplication) {
            self.counters.duplicated += 1;
            let due = self.arrival(now, &conditions);
            self.push(due, packet.clone());
        }
        let due = self.arrival(now, &conditions);
        self.push(due, packet);
    }

    /// A message of a connection: late, but whole and in order. While the path is cut (`loss` 1.0) it is lost like all else.
    pub fn send_stream(&mut self, now: Mono, from: &N, to: &N, packet: P) {
        let conditions = self.conditions(from, to);
        self.counters.sent += 1;
        if conditions.loss >= 1.0 {
            self.counters.lost += 1;
            return;
        }
        let due = now + conditions.delay + self.part_of(conditions.jitter);
        let latest = self.streams.entry((from.clone(), to.clone())).or_default();
        *latest = due.max(*latest);
        let due = *latest;
        self.push(due, packet);
    }

    /// When the next packet is due.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.under_way.peek().map(|Reverse(next)| next.due)
    }

    /// The next packet that is due by `now`.
    pub fn poll(&mut self, now: Mono) -> Option<P> {
        if self.poll_timeout()? > now {
            return None;
        }
        let Reverse(next) = self.under_way.pop()?;
        self.counters.delivered += 1;
        Some(next.packet)
    }

    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn push(&mut self, due: Mono, packet: P) {
        if self.under_way.len() >= Self::CAPACITY {
            self.counters.overflowed += 1;
            return;
        }
        self.sent += 1;
        self.under_way.push(Reverse(UnderWay { due, order: self.sent, packet }));
    }

    fn arrival(&mut self, now: Mono, conditions: &Conditions) -> Mono {
        let mut due = now + conditions.delay + self.part_of(conditions.jitter);
        if self.happens(conditions.reordering) {
            self.counters.held_back += 1;
            due += conditions.held_back;
        }
        due
    }

    fn happens(&mut self, probability: f64) -> bool {
        // 53 bits are all that a double holds. Nothing is drawn where nothing is to be decided, so that a perfect path stays the
        // same whatever the seed.
        probability > 0.0 && ((self.rng.next_u64() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    fn part_of(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        if nanos == 0 { Duration::ZERO } else { Duration::from_nanos(self.rng.next_u64() % nanos) }
    }
}

impl<P> PartialEq for UnderWay<P> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<P> Eq for UnderWay<P> {}

impl<P> PartialOrd for UnderWay<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> Ord for UnderWay<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}
