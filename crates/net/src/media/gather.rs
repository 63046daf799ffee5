//! Where many packets come, each would wake the thread, and to be woken costs as much as the packet. So they gather until the
//! next whole millisecond, on which turns are due anyway: a thousand wakes a second at most, however many packets come.
//!
//! The price is delay: half a millisecond in the mean for what is relayed, one at most. Where few packets come each wakes the thread.

use std::time::Duration;

use ringback_time::Mono;

/// Packets are counted for so long, a packet time of most phones, before it is decided anew.
const WINDOW: Duration = Duration::from_millis(20);
/// So many packets a window, two a millisecond, are worth it; below three in two it ends.
const BEGINS: u64 = 40;
const ENDS: u64 = 30;
const MILLISECOND: u64 = 1_000_000;

#[derive(Debug, Default)]
pub(super) struct Gather {
    gathering: bool,
    packets: u64,
    since: Mono,
    /// The last wait is over, and what has gathered is yet to be received.
    slept: bool,
}

impl Gather {
    /// So many packets were received.
    pub(super) fn received(&mut self, packets: usize) {
        self.packets += packets as u64;
    }

    /// Until when to sleep, whatever comes meanwhile. `None`: what has come, or comes first, is received now.
    pub(super) fn until(&mut self, now: Mono) -> Option<Mono> {
        let passed = now.since(self.since);
        if passed >= WINDOW {
            // A wait without any packet is longer than the window.
            let windows = (passed.as_nanos() / WINDOW.as_nanos()).max(1) as u64;
            self.gathering = self.packets / windows >= if self.gathering { ENDS } else { BEGINS };
            (self.packets, self.since) = (0, now);
        }
        let sleeps = self.gathering && !self.slept;
        self.slept = sleeps;
        sleeps.then(|| Mono::from_nanos((now.as_nanos() / MILLISECOND + 1) * MILLISECOND))
    }

    /// There was more than could be taken in one go.
    pub(super) fn goes_on(&mut self) {
        self.slept = true;
    }

    pub(super) fn is_on(&self) -> bool {
        self.gathering
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Mono {
        Mono::from_nanos(1_000_000_000 + micros * 1000)
    }

    /// Packets evenly spread, `a_millisecond` each, for `millis`: how often the thread was up, and the longest that a packet has waited.
    fn run(gather: &mut Gather, start: u64, millis: u64, a_millisecond: u64) -> (u64, Duration) {
        let (mut ups, mut longest) = (0, Duration::ZERO);
        let arrivals: Vec<u64> = (0..millis * a_millisecond).map(|n| start + n * 1000 / a_millisecond).collect();
        let mut waiting = arrivals.iter().copied().peekable();
        while let Some(&next) = waiting.peek() {
            // Woken by a packet where it does not gather.
            let mut now = at(next);
            ups += 1;
            if let Some(until) = gather.until(now) {
                now = until;
                assert_eq!(now.as_nanos() % MILLISECOND, 0);
                assert_eq!(gather.until(now), None, "what has gathered is received first");
            }
            let mut count = 0;
            while let Some(arrival) = waiting.next_if(|arrival| at(*arrival) <= now) {
                longest = longest.max(now.since(at(arrival)));
                count += 1;
            }
            gather.received(count);
        }
        (ups, longest)
    }

    #[test]
    fn many_packets_wake_the_thread_once_a_millisecond_and_wait_no_longer() {
        let mut gather = Gather::default();
        run(&mut gather, 0, 60, 50);
        let (ups, longest) = run(&mut gather, 60_000, 1000, 50);
        assert!(ups <= 1001, "{ups}");
        assert!(longest <= Duration::from_millis(1), "{longest:?}");
    }

    #[test]
    fn few_packets_are_received_as_they_come() {
        let mut gather = Gather::default();
        let (ups, longest) = run(&mut gather, 0, 1000, 1);
        assert_eq!((ups, longest), (1000, Duration::ZERO));
        assert!(!gather.is_on());
    }

    #[test]
    fn it_ends_with_the_packets() {
        let mut gather = Gather::default();
        run(&mut gather, 0, 60, 50);
        assert!(gather.is_on());
        assert_eq!(gather.until(at(5_000_000)), None, "nothing came for seconds");
        assert!(!gather.is_on());
    }
}
