//! STUN on the socket of SIP (RFC 5626 §4.4.2, §8): Binding requests of peers are answered; flows of ours over UDP are kept alive; and a STUN
//! server is asked where others see that socket.
//!
//! A flow is watched from its registration on. While its edge answers, a flow that falls silent, or whose mapping changes, has failed, and is
//! registered anew at once. An edge that never answered is not waited for: it knows no STUN, and what remains to be done is to keep the NAT's
//! door open, by what is no message (§3.5.1). The same is done for a registration that is no flow, where a NAT is between.
//!
//! Invariant: each entry of `watches` has one in `due`, and one in `by_transaction` exactly while it asks.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use rand_core::RngCore;
use ringback_nat::{Asked, Probe};
use ringback_time::{Mono, Now};
use ringback_ua::{Flow, Routes as _, Transmit, Transport};

use crate::api::RegistrationState;
use crate::call::Stage;
use crate::engine::{Engine, Output};
use crate::limits::{self, Bucket};
use crate::table::Key;

/// RFC 5626 §4.4.2: how long after the last one the next keep-alive goes out, at random, in seconds.
const EVERY: (f64, f64) = (24.0, 29.0);
/// RFC 5626 §4.4.1: of Flow-Timer.
const PART: (f64, f64) = (0.8, 1.0);
/// A STUN server that did not answer is asked again so much later.
const RETRY: Duration = Duration::from_secs(30);
/// How long a registration, or a call that goes out, waits at the start for what a STUN server says: its Contact is where others see us.
const FIRST_MOST: Duration = Duration::from_secs(1);
/// RFC 5626 §3.5.1.
const CRLF_CRLF: &[u8] = b"\r\n\r\n";

/// Who is asked, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Purpose {
    /// The STUN server: where others see us.
    Server,
    /// The account with that number: whether its flow stands.
    Flow(u64),
}

#[derive(Debug)]
struct Watch {
    local: SocketAddr,
    remote: SocketAddr,
    /// Else it is only kept open.
    asks: bool,
    /// It has been answered.
    answers: bool,
    mapped: Option<SocketAddr>,
    probe: Option<(u128, Probe)>,
    /// Seconds until the next one.
    every: (f64, f64),
    at: Mono,
}

/// Sources share these by chance, so that they are bounded and one that floods is alone with few others.
const BUCKETS: usize = 1024;

#[derive(Debug, Default)]
struct Buckets {
    all: Option<Bucket<{ limits::STUN_A_SECOND }>>,
    each: Vec<Bucket<{ limits::STUN_A_SOURCE }>>,
    by: foldhash::fast::RandomState,
}

impl Buckets {
    fn take(&mut self, now: Mono, from: IpAddr) -> bool {
        // As many as an IPv6 site can take its addresses from count as one.
        let from = match from.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
            ip => ip,
        };
        if self.each.is_empty() {
            self.each = vec![Bucket::new(now); BUCKETS];
        }
        let place = self.by.hash_one(from) as usize % BUCKETS;
        let own = self.each.get_mut(place).is_some_and(|bucket| bucket.take(now));
        own && self.all.get_or_insert_with(|| Bucket::new(now)).take(now)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Stun {
    watches: HashMap<Purpose, Watch, foldhash::fast::RandomState>,
    by_transaction: HashMap<u128, Purpose, foldhash::quality::RandomState>,
    due: BTreeSet<(Mono, Purpose)>,
    buckets: Buckets,
    /// The server has answered, or had its time.
    settled: bool,
    /// It did not answer last time.
    silent: bool,
    /// Calls that wait with their INVITE until it has answered, and no longer than until then.
    held: Vec<Key>,
    held_until: Option<Mono>,
}

impl Stun {
    pub(crate) fn new(config: &crate::api::Config) -> Stun {
        let mut stun = Stun::default();
        if config.stun.is_some() && config.public_address.is_none() {
            // With the first input.
            stun.due.insert((Mono::ZERO, Purpose::Server));
        }
        stun
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        let released = self.held_until.filter(|_| !self.held.is_empty());
        self.due.first().map(|(at, _)| *at).into_iter().chain(released).min()
    }

    /// A registration at the start says where we are, once that is known.
    fn is_first(&self) -> bool {
        !self.settled && self.due.iter().any(|(_, purpose)| *purpose == Purpose::Server)
    }

    fn arm(&mut self, purpose: Purpose, at: Mono) {
        let Some(watch) = self.watches.get_mut(&purpose) else { return };
        self.due.remove(&(watch.at, purpose));
        watch.at = at;
        self.due.insert((at, purpose));
    }

    pub(crate) fn forget_flow(&mut self, id: u64) {
        self.forget(Purpose::Flow(id));
    }

    fn forget(&mut self, purpose: Purpose) {
        let Some(watch) = self.watches.remove(&purpose) else { return };
        self.due.remove(&(watch.at, purpose));
        if let Some((id, _)) = watch.probe {
            self.by_transaction.remove(&id);
        }
    }
}

impl Engine {
    /// A datagram on the SIP socket that is STUN.
    pub(crate) fn stun_received(&mut self, now: Now, flow: Flow, bytes: &[u8]) {
        let known = ringback_nat::transaction(bytes).and_then(|id| self.stun.by_transaction.get(&id)).copied();
        if let Some(purpose) = known {
            let Some(watch) = self.stun.watches.get_mut(&purpose) else { return };
            let Some((_, probe)) = &mut watch.probe else { return };
            probe.handle(now.mono, flow.remote, bytes);
            if let Some(outcome) = probe.outcome() {
                self.stun_concluded(now, purpose, outcome);
            }
            return;
        }
        if self.ua.shuts_out(now, flow.remote.ip()) || !self.stun.buckets.take(now.mono, flow.remote.ip()) {
            self.counters.stun_limited += 1;
            return;
        }
        match ringback_nat::answer(bytes, flow.remote) {
            Some(answer) => {
                self.counters.stun_answered += 1;
                self.send_datagram(flow.local, flow.remote, answer.into());
            }
            None => self.counters.stun_dropped += 1,
        }
    }

    fn send_datagram(&mut self, local: SocketAddr, remote: SocketAddr, bytes: Bytes) {
        let transport = Transport::Udp;
        let transmit = Transmit { transport, local: Some(local), remote, connection: None, domain: None, bytes };
        self.output.push_back(Output::Transmit(transmit));
    }

    /// What is due.
    pub(crate) fn stun_due(&mut self, now: Now) {
        if self.stun.held_until.is_some_and(|until| until <= now.mono) {
            self.release_calls(now);
        }
        while let Some((at, purpose)) = self.stun.due.first().copied().filter(|(at, _)| *at <= now.mono) {
            let Some(watch) = self.stun.watches.get_mut(&purpose) else {
                self.stun.due.remove(&(at, purpose));
                self.ask_server(now);
                continue;
            };
            let (local, remote) = (watch.local, watch.remote);
            let Some((_, probe)) = &mut watch.probe else {
                self.keep_alive(now, purpose);
                continue;
            };
            let mut again = Vec::new();
            probe.handle_timeout(now.mono, |bytes| again.push(bytes));
            match (probe.outcome(), probe.poll_timeout()) {
                (None, Some(next)) => self.stun.arm(purpose, next),
                (outcome, _) => self.stun_concluded(now, purpose, outcome.unwrap_or(Asked::Silent)),
            }
            for bytes in again {
                self.send_datagram(local, remote, bytes.into());
            }
        }
    }

    /// The next request, or what stands for it.
    fn keep_alive(&mut self, now: Now, purpose: Purpose) {
        if purpose == Purpose::Server && self.stop.is_stopping() {
            return self.stun.forget(purpose);
        }
        let Some(watch) = self.stun.watches.get_mut(&purpose) else { return };
        let (local, remote) = (watch.local, watch.remote);
        if !watch.asks {
            self.send_datagram(local, remote, Bytes::from_static(CRLF_CRLF));
            return self.rest(now, purpose);
        }
        let id = u128::from(self.rng.next_u32()) << 64 | u128::from(self.rng.next_u64());
        let mut first = Vec::new();
        let probe = Probe::new(now.mono, local, remote, id, |bytes| first = bytes);
        let next = probe.poll_timeout().unwrap_or(now.mono + RETRY);
        watch.probe = Some((id, probe));
        self.stun.by_transaction.insert(id, purpose);
        self.stun.arm(purpose, next);
        self.send_datagram(local, remote, first.into());
    }

    /// Until the next one.
    fn rest(&mut self, now: Now, purpose: Purpose) {
        let chance = self.random();
        let Some(watch) = self.stun.watches.get(&purpose) else { return };
        let (from, to) = watch.every;
        self.stun.arm(purpose, now.mono + Duration::from_secs_f64(from + (to - from) * chance));
    }

    fn stun_concluded(&mut self, now: Now, purpose: Purpose, outcome: Asked) {
        let Some(watch) = self.stun.watches.get_mut(&purpose) else { return };
        if let Some((id, _)) = watch.probe.take() {
            self.stun.by_transaction.remove(&id);
        }
        let answered = std::mem::replace(&mut watch.answers, true);
        match (purpose, outcome) {
            (Purpose::Server, outcome) => return self.server_said(now, outcome),
            (Purpose::Flow(id), Asked::Mapped(mapped)) => {
                let before = watch.mapped.replace(mapped);
                // RFC 5626 §4.4.2: by another mapping, the edge does not reach us.
                if before.is_some_and(|before| before != mapped) {
                    tracing::info!(target: "ringback.registration", "a NAT has moved us to {mapped}");
                    return self.flow_failed(now, id, true);
                }
            }
            (Purpose::Flow(id), Asked::Silent) if answered => {
                tracing::info!(target: "ringback.registration", "{} is silent", watch.remote);
                return self.flow_failed(now, id, false);
            }
            // It knows no STUN.
            (Purpose::Flow(_), Asked::Silent | Asked::Refused(_)) => watch.asks = false,
        }
        self.rest(now, purpose);
    }

    // ---- flows

    /// An account is registered: its flow, or what it is reached by through a NAT, is kept up.
    pub(crate) fn watch_flow(&mut self, now: Now, id: u64) {
        let purpose = Purpose::Flow(id);
        let Some(account) = self.accounts.get(id) else { return self.stun.forget(purpose) };
        let Some(path) = account.path.filter(|path| path.transport == Transport::Udp) else {
            return self.stun.forget(purpose);
        };
        let asks = account.outbound_accepted;
        let natted = self.routes.public_address(path.local, path.remote).is_some();
        if !asks && !natted {
            return self.stun.forget(purpose);
        }
        let every = account.flow_timer.map_or(EVERY, |seconds| (seconds as f64 * PART.0, seconds as f64 * PART.1));
        let same = |watch: &Watch| (watch.local, watch.remote) == (path.local, path.remote);
        if let Some(watch) = self.stun.watches.get_mut(&purpose).filter(|watch| same(watch)) {
            watch.every = every;
            return;
        }
        self.stun.forget(purpose);
        let watch = Watch {
            local: path.local,
            remote: path.remote,
            asks,
            answers: false,
            mapped: None,
            probe: None,
            every,
            at: now.mono,
        };
        self.stun.watches.insert(purpose, watch);
        if asks {
            // At once: so it is known whether the edge answers, and what the mapping is that must not change.
            self.keep_alive(now, purpose);
        } else {
            self.rest(now, purpose);
        }
    }

    fn flow_failed(&mut self, now: Now, id: u64, moved: bool) {
        self.stun.forget_flow(id);
        let Some(account) = self.accounts.get_mut(id) else { return };
        account.flow = None;
        // A request by it fails, too; then it is time.
        account.lost = account.request.is_some();
        if account.lost || !account.wanted {
            return;
        }
        if moved {
            // Nobody else has lost anything.
            self.turn(id, RegistrationState::Registering, None);
            return self.send_register(now, id);
        }
        self.register_soon(now, id);
    }

    // ---- where others see us

    fn ask_server(&mut self, now: Now) {
        let Some(server) = self.config.stun.filter(|_| !self.stop.is_stopping()) else { return };
        // The socket that packets to it leave by, as to the rest of the world.
        let local = self.routes.local_address(Transport::Udp, server);
        let local = local.filter(|local| local.is_ipv4() == server.is_ipv4());
        let Some(local) = local else {
            self.stun.due.insert((now.mono + RETRY, Purpose::Server));
            return self.settled(now);
        };
        let watch = Watch {
            local,
            remote: server,
            asks: true,
            answers: false,
            mapped: None,
            probe: None,
            every: EVERY,
            at: now.mono,
        };
        self.stun.watches.insert(Purpose::Server, watch);
        self.stun.held_until.get_or_insert(now.mono + FIRST_MOST);
        self.keep_alive(now, Purpose::Server);
    }

    fn server_said(&mut self, now: Now, outcome: Asked) {
        let Some(watch) = self.stun.watches.get(&Purpose::Server) else { return };
        let (local, server) = (watch.local, watch.remote);
        let silent = !matches!(outcome, Asked::Mapped(_));
        let before = std::mem::replace(&mut self.stun.silent, silent);
        match outcome {
            Asked::Mapped(mapped) => {
                let contacts = self.contacts();
                if self.routes.seen().set(local, mapped) {
                    tracing::info!(target: "ringback.net", "{server} sees {local} as {mapped}");
                    self.contacts_moved(now, &contacts);
                }
                // Another interface may be the way by now.
                let moved = self.routes.local_address(Transport::Udp, server) != Some(local);
                if moved {
                    self.stun.forget(Purpose::Server);
                    self.stun.due.insert((now.mono, Purpose::Server));
                } else {
                    self.rest(now, Purpose::Server);
                }
            }
            // What was known before is still the best guess.
            Asked::Silent | Asked::Refused(_) => {
                if !before {
                    let why = "does not say where others see the SIP socket; Contact is as far as that is known";
                    tracing::warn!(target: "ringback.net", "{server} {why}");
                }
                self.stun.forget(Purpose::Server);
                self.stun.due.insert((now.mono + RETRY, Purpose::Server));
            }
        }
        self.settled(now);
    }

    /// Until when a first registration waits for the STUN server.
    pub(crate) fn settles_by(&self, now: Now) -> Option<Mono> {
        self.stun.is_first().then(|| now.mono + FIRST_MOST)
    }

    fn settled(&mut self, now: Now) {
        if !std::mem::replace(&mut self.stun.settled, true) {
            self.register_waiting(now);
            self.release_calls(now);
        }
    }

    /// Whether a call has to wait with its INVITE for what the STUN server says first: by a Contact that names our side of the NAT the
    /// callee could not even hang up.
    pub(crate) fn waits_for_server(&mut self, now: Now, key: Key) -> bool {
        if !self.stun.is_first() || *self.stun.held_until.get_or_insert(now.mono + FIRST_MOST) <= now.mono {
            return false;
        }
        if let Some(call) = self.calls.get_mut(key) {
            call.stage = Stage::Locating;
            self.stun.held.push(key);
        }
        true
    }

    fn release_calls(&mut self, now: Now) {
        for key in std::mem::take(&mut self.stun.held) {
            self.current = Some(key);
            self.go_out(now, key);
        }
    }
}
