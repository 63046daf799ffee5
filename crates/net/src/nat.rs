//! The STUN and TURN servers of a system, and whether they answer: a call does not wait for one that did not answer the call before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringback_nat::{Answer, Servers};
use ringback_time::Mono;

/// A server that failed is tried again so much later, by one call.
const RETRY: Duration = Duration::from_secs(30);

/// Shared by the media threads.
#[derive(Debug)]
pub(crate) struct Nat {
    servers: Servers,
    stun: Health,
    turn: Health,
}

/// Zero: it answers, as far as is known. Otherwise when it is tried again, in nanoseconds.
#[derive(Debug, Default)]
struct Health(AtomicU64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Failed,
    Recovered,
}

impl Health {
    /// Whether a call may ask. Of those that come after a failure one does, each [`RETRY`].
    fn may_ask(&self, now: Mono) -> bool {
        let at = self.0.load(Ordering::Relaxed);
        if at == 0 {
            return true;
        }
        let next = (now + RETRY).as_nanos();
        now.as_nanos() >= at && self.0.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// What a change is, if it is one.
    fn note(&self, now: Mono, answer: &Answer) -> Option<Change> {
        match answer {
            Answer::Unasked => None,
            Answer::Given => (self.0.swap(0, Ordering::Relaxed) != 0).then_some(Change::Recovered),
            Answer::Failed(_) => {
                let before = self.0.swap((now + RETRY).as_nanos(), Ordering::Relaxed);
                (before == 0).then_some(Change::Failed)
            }
        }
    }
}

impl Nat {
    /// `None` where nobody is to be asked.
    pub(crate) fn new(servers: Servers) -> Option<Nat> {
        let any = servers.stun.is_some() || servers.turn.is_some();
        any.then(|| Nat { servers, stun: Health::default(), turn: Health::default() })
    }

    /// Whom a call asks now.
    pub(crate) fn servers(&self, now: Mono) -> Servers {
        Servers {
            stun: self.servers.stun.filter(|_| self.stun.may_ask(now)),
            turn: self.servers.turn.as_ref().filter(|_| self.turn.may_ask(now)).cloned(),
        }
    }

    /// What came of asking. Told to the log when it changes, not for each call.
    pub(crate) fn note(&self, now: Mono, stun: &Answer, turn: &Answer) {
        let stun_server = self.servers.stun;
        let turn_server = self.servers.turn.as_ref().map(|turn| turn.address);
        for (kind, server, health, answer) in
            [("STUN", stun_server, &self.stun, stun), ("TURN", turn_server, &self.turn, turn)]
        {
            let (Some(server), Some(change)) = (server, health.note(now, answer)) else { continue };
            match (change, answer) {
                (Change::Failed, Answer::Failed(cause)) => tracing::warn!(
                    target: "ringback.net",
                    "no media address from the {kind} server {server}: {cause}; calls go without, one each {} s asks again",
                    RETRY.as_secs()
                ),
                _ => tracing::info!(target: "ringback.net", "the {kind} server {server} answers again"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    fn nat() -> Nat {
        Nat::new(Servers { stun: "192.0.2.1:3478".parse().ok(), turn: None }).expect("a server")
    }

    fn failed() -> Answer {
        Answer::Failed("no answer".into())
    }

    #[test]
    fn without_servers_there_is_nothing() {
        assert!(Nat::new(Servers::default()).is_none());
    }

    #[test]
    fn after_a_failure_one_call_each_interval_asks() {
        let nat = nat();
        assert!(nat.servers(at(1)).stun.is_some() && nat.servers(at(1)).stun.is_some());
        nat.note(at(2), &failed(), &Answer::Unasked);
        assert!(nat.servers(at(3)).stun.is_none() && nat.servers(at(31)).stun.is_none());
        assert!(nat.servers(at(32)).stun.is_some());
        assert!(nat.servers(at(33)).stun.is_none(), "the one that asks is under way");
        nat.note(at(33), &Answer::Given, &Answer::Unasked);
        assert!(nat.servers(at(34)).stun.is_some());
    }

    #[test]
    fn a_change_is_told_once() {
        let health = Health::default();
        assert_eq!(health.note(at(1), &Answer::Given), None);
        assert_eq!(health.note(at(1), &failed()), Some(Change::Failed));
        assert_eq!(health.note(at(2), &failed()), None);
        assert_eq!(health.note(at(3), &Answer::Unasked), None);
        assert_eq!(health.note(at(4), &Answer::Given), Some(Change::Recovered));
    }
}
