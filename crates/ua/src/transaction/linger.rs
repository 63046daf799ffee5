//! Finished transactions. What RFC 3261 keeps them for is to recognise what comes again, and for that a key, a deadline and a status are
//! enough: a response that is a function of its request is written again from the retransmitted request. A row has 24
//! bytes, and 5 to 12 more in the index; at 3,000 calls/s some 200,000 rows live at a time.
//!
//! There are two lengths (T4 and 64*T1), each with a FIFO queue. The index holds a row's number in its queue.
//!
//! Invariant: rows leave a queue only at its front, so a row's place is its number minus the front's.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashTable;
use ringback_time::Mono;

use crate::transaction::key::Key;

/// Rows beyond this push the oldest out: a flood cannot grow memory without bound. 72 MB at most.
const MAX_ROWS: usize = 1 << 21;
/// A queue that has become empty gives its memory back when it had more room than this.
const KEEP: usize = 256;

/// Which machine and state a row stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Past {
    /// INVITE server transaction, Accepted: until L.
    ServerAccepted,
    /// INVITE server transaction, Confirmed: until I.
    ServerConfirmed,
    /// Non-INVITE server transaction, Completed: until J. The status that was answered.
    ServerCompleted(u16),
    /// INVITE client transaction, Accepted: until M.
    ClientAccepted,
    /// Non-INVITE client transaction, Completed: until K.
    ClientCompleted,
    /// No transaction, but what one outside of dialogs is recognised by when it comes by another path (RFC 3261 §8.2.2.2). Some bits
    /// of its key.
    Merged(u16),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    /// T4: I and K.
    Short,
    /// 64*T1: J, L and M.
    Long,
}

struct Row {
    key: Key,
    /// Milliseconds, the low bits: rows live for far less than the 24 days after which that is ambiguous.
    deadline: u32,
    past: Past,
}

#[derive(Default)]
struct Queue {
    rows: VecDeque<Row>,
    /// The number of the front row; only `NUMBER` bits of it.
    front: u32,
}

/// An index entry is a row's number and, in the top bit, its queue.
const NUMBER: u32 = (1 << 31) - 1;
const LONG: u32 = 1 << 31;

pub(crate) struct Linger {
    short: Queue,
    long: Queue,
    index: HashTable<u32>,
    short_ms: u64,
    long_ms: u64,
    /// The latest time seen, from which `deadline`s are read.
    now_ms: u64,
}

fn row(short: &Queue, long: &Queue, entry: u32) -> Option<(usize, bool)> {
    let is_long = entry & LONG != 0;
    let queue = if is_long { long } else { short };
    let place = (entry & NUMBER).wrapping_sub(queue.front) & NUMBER;
    ((place as usize) < queue.rows.len()).then_some((place as usize, is_long))
}

impl Linger {
    pub(crate) fn new(short: Duration, long: Duration) -> Self {
        // 12 days: see `Row::deadline`.
        let ms = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 30);
        Linger {
            short: Queue::default(),
            long: Queue::default(),
            index: HashTable::new(),
            short_ms: ms(short),
            long_ms: ms(long),
            now_ms: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.short.rows.len() + self.long.rows.len()
    }

    /// What all rows take, with queues and index.
    pub(crate) fn bytes(&self) -> usize {
        (self.short.rows.capacity() + self.long.rows.capacity()) * size_of::<Row>() + self.index.allocation_size()
    }

    pub(crate) fn get(&self, key: Key) -> Option<Past> {
        let entry = self.index.find(key.hashed(), |entry| self.key_of(*entry) == Some(key))?;
        let (place, is_long) = row(&self.short, &self.long, *entry)?;
        let queue = if is_long { &self.long } else { &self.short };
        queue.rows.get(place).map(|row| row.past)
    }

    /// Keeps `key` from now on for `length`. A key that is there already stays as it is.
    pub(crate) fn insert(&mut self, now: Mono, length: Length, key: Key, past: Past) {
        self.expire(now);
        if self.get(key).is_some() {
            return;
        }
        let long = length == Length::Long;
        if self.len() >= MAX_ROWS {
            self.pop(long && !self.long.rows.is_empty() || self.short.rows.is_empty());
        }
        let length_ms = if long { self.long_ms } else { self.short_ms };
        // Rounded up: never early.
        let deadline = now.as_nanos().div_ceil(1_000_000).max(self.now_ms) + length_ms;
        let queue = if long { &mut self.long } else { &mut self.short };
        let number = queue.front.wrapping_add(queue.rows.len() as u32) & NUMBER;
        queue.rows.push_back(Row { key, deadline: deadline as u32, past });
        let entry = if long { number | LONG } else { number };
        let Linger { short, long, index, .. } = self;
        index.insert_unique(key.hashed(), entry, |entry| {
            row(short, long, *entry)
                .and_then(|(place, is_long)| if is_long { long.rows.get(place) } else { short.rows.get(place) })
                .map_or(0, |row| row.key.hashed())
        });
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        let first = |queue: &Queue| queue.rows.front().map(|row| self.deadline_ms(row));
        let ms = match (first(&self.short), first(&self.long)) {
            (Some(short), Some(long)) => short.min(long),
            (short, long) => short.or(long)?,
        };
        Some(Mono::from_nanos(ms.saturating_mul(1_000_000)))
    }

    pub(crate) fn expire(&mut self, now: Mono) {
        // Deadlines are read from the last time seen, not from now: that may be weeks later (a machine that slept).
        let now_ms = now.as_nanos() / 1_000_000;
        for long in [false, true] {
            loop {
                let queue = if long { &self.long } else { &self.short };
                match queue.rows.front() {
                    Some(row) if self.deadline_ms(row) <= now_ms => self.pop(long),
                    _ => break,
                }
            }
        }
        if self.index.is_empty() && self.index.capacity() > KEEP {
            self.index = HashTable::new();
        }
        self.now_ms = self.now_ms.max(now_ms);
    }

    fn deadline_ms(&self, row: &Row) -> u64 {
        let ahead = row.deadline.wrapping_sub(self.now_ms as u32) as i32;
        self.now_ms.saturating_add_signed(i64::from(ahead))
    }

    fn key_of(&self, entry: u32) -> Option<Key> {
        let (place, is_long) = row(&self.short, &self.long, entry)?;
        let queue = if is_long { &self.long } else { &self.short };
        queue.rows.get(place).map(|row| row.key)
    }

    fn pop(&mut self, long: bool) {
        let queue = if long { &mut self.long } else { &mut self.short };
        let Some(row) = queue.rows.pop_front() else { return };
        let entry = if long { queue.front | LONG } else { queue.front };
        queue.front = queue.front.wrapping_add(1) & NUMBER;
        if queue.rows.is_empty() && queue.rows.capacity() > KEEP {
            queue.rows = VecDeque::new();
        }
        if let Ok(found) = self.index.find_entry(row.key.hashed(), |known| *known == entry) {
            found.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T4: Duration = Duration::from_secs(5);
    const L: Duration = Duration::from_secs(32);

    fn at(ms: u64) -> Mono {
        Mono::from_nanos(ms * 1_000_000)
    }

    fn key(n: u64) -> Key {
        Key::from_parts(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n)
    }

    #[test]
    fn rows_are_found_until_their_deadline_and_not_after() {
        let mut linger = Linger::new(T4, L);
        linger.insert(at(0), Length::Long, key(1), Past::ServerAccepted);
        linger.insert(at(10), Length::Short, key(2), Past::ServerConfirmed);
        linger.insert(at(20), Length::Long, key(3), Past::ServerCompleted(200));
        assert_eq!(linger.next(), Some(at(5010)));
        linger.expire(at(5009));
        assert_eq!(linger.get(key(2)), Some(Past::ServerConfirmed));
        linger.expire(at(5010));
        assert_eq!(linger.get(key(2)), None);
        assert_eq!(linger.next(), Some(at(32_000)));
        linger.expire(at(32_000));
        assert_eq!((linger.get(key(1)), linger.get(key(3))), (None, Some(Past::ServerCompleted(200))));
        linger.expire(at(32_020));
        assert_eq!((linger.len(), linger.next()), (0, None));
    }

    #[test]
    fn a_key_keeps_its_first_row() {
        let mut linger = Linger::new(T4, L);
        linger.insert(at(0), Length::Long, key(1), Past::ServerCompleted(200));
        linger.insert(at(0), Length::Short, key(1), Past::ServerConfirmed);
        assert_eq!((linger.len(), linger.get(key(1))), (1, Some(Past::ServerCompleted(200))));
    }

    #[test]
    fn two_hundred_thousand_rows_take_64_bytes_each_at_most_and_give_them_back() {
        let mut linger = Linger::new(T4, L);
        for n in 0..200_000 {
            linger.insert(
                at(n / 10),
                if n % 3 == 0 { Length::Short } else { Length::Long },
                key(n),
                Past::ServerAccepted,
            );
            linger.expire(at(n / 10));
        }
        assert!(linger.bytes() <= 64 * linger.len(), "{} bytes for {} rows", linger.bytes(), linger.len());
        assert!(size_of::<Row>() <= 24);
        // The clock passes the point where 32 bits of milliseconds wrap, and rows are still found in time.
        linger.expire(at(1 << 33));
        assert_eq!((linger.len(), linger.bytes()), (0, 0));
        linger.insert(at((1 << 33) - 5), Length::Short, key(1), Past::ClientCompleted);
        let wrapped = at((1 << 33) + 5000);
        assert_eq!(linger.next(), Some(wrapped));
    }

    #[test]
    fn deadlines_survive_the_wrap_of_their_milliseconds() {
        let mut linger = Linger::new(T4, L);
        let before = (1u64 << 32) - 1000;
        linger.insert(at(before), Length::Short, key(1), Past::ClientCompleted);
        assert_eq!(linger.next(), Some(at(before + 5000)));
        linger.expire(at(before + 4999));
        assert_eq!(linger.len(), 1);
        linger.expire(at(before + 5000));
        assert_eq!(linger.len(), 0);
    }
}
