//! Sources that ask too much, or nothing sensible: how often each may ask, and who is not listened to for a while.
//!
//! Only what does not belong to a dialog of ours is weighed, so that a call that stands can always be ended. A source is an IPv4
//! address, or the /64 network that an IPv6 host can take its addresses from. All limits but the dropping of scanners are off by
//! default: a trunk sends everything from one address.
//!
//! Invariant: at most `SOURCES_MOST` sources are remembered, and one of which nothing is to be remembered is forgotten.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ringback_sip::{HeaderName, Message};
use ringback_time::Mono;

use crate::api::GuardConfig;

/// Bytes of the table: some 6 MB.
const SOURCES_MOST: usize = 65_536;
/// How often a full table is searched for sources to forget.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// What a source may ask at once: a second's worth.
const BURST: Duration = Duration::from_secs(1);
/// Faults are counted over so long.
const FAULTS_OVER: Duration = Duration::from_secs(60);

/// How well-known scanning programs call themselves in User-Agent, in lower case. Legitimate programs that scanners abuse are not
/// among them.
const SCANNERS: [&str; 9] = [
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sundayddr",
    "sip-scan",
    "siparmyknife",
    "sivus",
    "iwar",
    "pplsip",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admit,
    /// 503 with Retry-After.
    Refuse,
    /// Not even that: refusals would be a stream of their own.
    Drop,
}

/// What is known of a source. The first two are the virtual scheduling form of a token bucket (ITU-T I.371, Annex A): the time at
/// which the bucket is full again.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    asked: Option<Mono>,
    refused: Option<Mono>,
    faults: u32,
    /// The end of the minute that `faults` counts.
    counted_until: Option<Mono>,
    shut_out_until: Option<Mono>,
}

impl Source {
    fn is_idle(&self, now: Mono) -> bool {
        [self.asked, self.refused, self.counted_until, self.shut_out_until].into_iter().flatten().all(|at| at <= now)
    }
}

pub(super) struct Guard {
    config: GuardConfig,
    sources: HashMap<IpAddr, Source, foldhash::fast::RandomState>,
    /// Those with `shut_out_until`, expired or not.
    shut_out: usize,
    sweep_at: Mono,
}

impl Guard {
    pub(super) fn new(config: GuardConfig) -> Guard {
        Guard { config, sources: HashMap::default(), shut_out: 0, sweep_at: Mono::ZERO }
    }

    /// Whether what comes from there is dropped unread.
    pub(super) fn shuts_out(&self, now: Mono, from: IpAddr) -> bool {
        self.shut_out > 0
            && self.sources.get(&network(from)).is_some_and(|source| source.shut_out_until.is_some_and(|at| at > now))
    }

    /// One more request of that source.
    pub(super) fn weigh(&mut self, now: Mono, from: IpAddr) -> Verdict {
        let Some(rate) = self.config.requests_per_second.filter(|rate| *rate > 0) else { return Verdict::Admit };
        let step = Duration::from_secs(1) / rate;
        // A full table limits nobody new: whoever fills it with made-up addresses is not to lock all others out.
        let Some(source) = self.source(now, from) else { return Verdict::Admit };
        if take(&mut source.asked, now, step) {
            Verdict::Admit
        } else if take(&mut source.refused, now, step) {
            Verdict::Refuse
        } else {
            Verdict::Drop
        }
    }

    /// A request that cannot be read, or that only a scanner sends, or with a wrong password. True: from now on the source is shut out.
    pub(super) fn fault(&mut self, now: Mono, from: IpAddr) -> bool {
        let Some(most) = self.config.faults_per_minute else { return false };
        let shut_out_for = self.config.shut_out;
        let Some(source) = self.source(now, from) else { return false };
        if source.counted_until.is_none_or(|until| until <= now) {
            source.faults = 0;
            source.counted_until = Some(now + FAULTS_OVER);
        }
        source.faults = source.faults.saturating_add(1);
        if source.faults <= most {
            return false;
        }
        let fresh = source.shut_out_until.is_none();
        source.shut_out_until = Some(now + shut_out_for);
        source.faults = 0;
        self.shut_out += usize::from(fresh);
        true
    }

    /// Whether the request names a scanning program as its sender.
    pub(super) fn is_scanner(&self, request: &Message) -> bool {
        self.config.drop_scanners
            && request.headers().get(&HeaderName::UserAgent).is_some_and(|agent| {
                let agent = agent.as_bytes();
                SCANNERS.iter().any(|name| contains(agent, name.as_bytes()))
            })
    }

    /// The entry of a source; `None`: the table is full of sources of which something is to be remembered.
    fn source(&mut self, now: Mono, from: IpAddr) -> Option<&mut Source> {
        let from = network(from);
        if self.sources.len() >= SOURCES_MOST && !self.sources.contains_key(&from) {
            self.sweep(now);
            if self.sources.len() >= SOURCES_MOST {
                return None;
            }
        }
        Some(self.sources.entry(from).or_default())
    }

    fn sweep(&mut self, now: Mono) {
        if now < self.sweep_at {
            return;
        }
        self.sweep_at = now + SWEEP_EVERY;
        let shut_out = &mut self.shut_out;
        self.sources.retain(|_, source| {
            let keep = !source.is_idle(now);
            if !keep && source.shut_out_until.is_some() {
                *shut_out -= 1;
            }
            keep
        });
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.sources.len()
    }
}

/// Takes one from the bucket that is full again at `full`.
fn take(full: &mut Option<Mono>, now: Mono, step: Duration) -> bool {
    let next = full.map_or(now, |at| at.max(now)) + step;
    if next.since(now) > BURST.max(step) {
        return false;
    }
    *full = Some(next);
    true
}

/// RFC 6177 §2: an IPv6 site has a /64 at the least, and each host of it any address there.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// `needle` is in lower case.
fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(requests_per_second: Option<u32>, faults_per_minute: Option<u32>) -> Guard {
        Guard::new(GuardConfig { requests_per_second, faults_per_minute, ..GuardConfig::default() })
    }

    fn at(ms: u64) -> Mono {
        Mono::ZERO + Duration::from_millis(ms)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_second_s_worth_at_once_then_the_rate_then_refusals_then_nothing() {
        let mut guard = guard(Some(10), None);
        let here = ip("192.0.2.1");
        let count = |guard: &mut Guard, ms| {
            let verdicts: Vec<Verdict> = (0..50).map(|_| guard.weigh(at(ms), here)).collect();
            let of = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
            (of(Verdict::Admit), of(Verdict::Refuse), of(Verdict::Drop))
        };
        assert_eq!(count(&mut guard, 0), (10, 10, 30));
        assert_eq!(count(&mut guard, 500), (5, 5, 40));
        assert_eq!(count(&mut guard, 10_000), (10, 10, 30));
        assert_eq!(guard.weigh(at(10_000), ip("192.0.2.2")), Verdict::Admit, "others are not concerned");
    }

    #[test]
    fn without_a_limit_nobody_is_remembered() {
        let mut guard = guard(None, None);
        for last in 0..=255_u8 {
            assert_eq!(guard.weigh(at(0), IpAddr::from([10, 0, 0, last])), Verdict::Admit);
            assert!(!guard.fault(at(0), IpAddr::from([10, 0, 0, last])));
        }
        assert_eq!(guard.len(), 0);
    }

    #[test]
    fn who_only_makes_faults_is_shut_out_for_a_while() {
        let mut guard = guard(None, Some(3));
        let here = ip("2001:db8::1");
        for ms in [0, 1, 2] {
            assert!(!guard.fault(at(ms), here));
        }
        // The minute is over: the count begins anew.
        for ms in [61_000, 61_001, 61_002] {
            assert!(!guard.fault(at(ms), here));
        }
        assert!(!guard.shuts_out(at(61_002), here));
        assert!(guard.fault(at(61_003), here));
        assert!(guard.shuts_out(at(61_004), ip("2001:db8::ffff")), "the same network");
        assert!(!guard.shuts_out(at(61_004), ip("2001:db8:0:1::1")));
        let over = 61_003 + GuardConfig::default().shut_out.as_millis() as u64;
        assert!(guard.shuts_out(at(over - 1), here) && !guard.shuts_out(at(over), here));
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let mut guard = guard(Some(1), None);
        let source = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..SOURCES_MOST as u32 {
            assert_eq!(guard.weigh(at(0), source(n)), Verdict::Admit);
        }
        for _ in 0..3 {
            assert_eq!(guard.weigh(at(1), source(u32::MAX)), Verdict::Admit, "full");
        }
        assert_eq!(guard.len(), SOURCES_MOST);
        assert_eq!(guard.weigh(at(1001), source(u32::MAX)), Verdict::Admit, "those that rest are forgotten");
        assert_eq!(guard.len(), 1);
    }
}
