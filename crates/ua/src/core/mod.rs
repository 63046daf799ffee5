//! The user agent itself: it owns every transaction, dialog and call, takes inputs and commands, and queues outputs.
//!
//! How a request passes: [`receive`] parses and logs it, [`requests`] finds its transaction or decides what it is and refuses what
//! RFC 3261 §8.2 refuses, [`server`] runs server transactions; what is for the user goes on, past [`challenging`], to [`uas`] (new calls), [`within`]
//! (requests in a dialog) and out as an event. A response goes from [`receive`] to [`client`] (client transactions) and on to
//! [`uac`], [`within`] or [`standalone`] (requests of ours outside of dialogs), unless [`answering`] sends the request again with
//! credentials. Commands enter at these and at [`uas`], and end in
//! [`client`] or [`server`].
//!
//! Invariant: after each input or command everything that follows from it is in `output`; nothing is pending but timers, name
//! look-ups and peers.

mod again;
mod answering;
mod call;
mod challenging;
mod client;
mod compose;
mod deadlines;
mod early_end;
mod fork;
mod guard;
mod identify;
mod log;
mod outside;
mod proven;
mod receive;
mod reinvite;
mod release;
mod reliable;
mod requests;
mod resting;
mod room;
mod server;
mod session;
mod share;
mod standalone;
mod uac;
mod uas;
mod update;
mod usage;
mod way;
mod within;

use std::collections::VecDeque;

use rand_chacha::ChaCha12Rng;
use rand_core::RngCore;
use ringback_time::{Mono, Now};

use crate::api::{Config, Event, Live, Output, Routes, Stats};
use crate::arena::{Arena, Index};
use crate::core::call::Call;
use crate::core::challenging::Waiting;
use crate::core::client::{Client, Resolution};
use crate::core::compose::Texts;
use crate::core::proven::Proven;
use crate::core::server::Server;
use crate::core::share::Share;
use crate::core::standalone::Standalone;
use crate::core::usage::Usage;
use crate::gate::Gate;
use crate::nonces::Nonces;
use crate::timer::Timers;
use crate::transaction::key::{IdentityMap, Key, Keys};
use crate::transaction::linger::Linger;

/// A transaction that is more than a row of `Linger`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transaction {
    Client(Index),
    Server(Index),
}

/// One SIP user agent: both roles, any number of calls, no I/O.
///
/// After every input or command drain [`Ua::poll_output`] until `None`, and ask [`Ua::poll_timeout`] when to call
/// [`Ua::handle_timeout`].
pub struct Ua {
    config: Config,
    routes: Box<dyn Routes>,
    rng: ChaCha12Rng,
    keys: Keys,
    texts: Texts,
    timers: Timers,
    linger: Linger,
    transactions: IdentityMap<Key, Transaction>,
    servers: Arena<Server>,
    clients: Arena<Client>,
    calls: Arena<Call>,
    standalone: Arena<Standalone>,
    usages: Arena<Usage>,
    usage_tags: IdentityMap<u64, Index>,
    /// Calls by our tag.
    tags: IdentityMap<u64, Index>,
    /// RFC 3261 §8.2.2.2: what the first requests of calls are recognised by when they come by another path.
    merged: IdentityMap<u64, Index>,
    resolutions: Arena<Resolution>,
    resting: resting::Resting,
    nonces: Nonces,
    gate: Option<Box<Gate>>,
    waiting: Waiting,
    output: VecDeque<Output>,
    counters: Stats,
    guard: guard::Guard,
    /// INVITEs of peers that wait for an answer or its ACK, whatever the answer is.
    half_open: Share,
    /// Of those, the ones with a 2xx.
    unacknowledged: Share,
    proven: Proven,
    /// Server transactions of requests outside of dialogs.
    outside: usize,
    /// Client transactions over streams.
    streams: usize,
    /// BYEs to forks nobody waits for.
    fork_byes: usize,
}

impl Ua {
    /// `rng` makes tags, branches, Call-IDs and hash seeds: peers must not be able to guess them.
    pub fn new(config: Config, routes: Box<dyn Routes>, mut rng: ChaCha12Rng) -> Ua {
        let (t1, t2, t4) = (config.t1, config.t2, config.t4);
        let doubled = (0..=6).map(|power| t1 * (1 << power));
        let guard = guard::Guard::new(config.guard);
        let lengths = doubled.chain([t2, t4, config.trying_after, challenging::PASSWORD_WAIT]);
        let gate = config.authenticator.clone().map(|config| Box::new(Gate::new(config, &mut rng)));
        Ua {
            keys: Keys::new(&mut rng),
            texts: Texts::new(&config),
            timers: Timers::new(lengths),
            linger: Linger::new(t4, t1 * 64),
            config,
            routes,
            rng,
            transactions: IdentityMap::default(),
            servers: Arena::default(),
            clients: Arena::default(),
            calls: Arena::default(),
            standalone: Arena::default(),
            usages: Arena::default(),
            usage_tags: IdentityMap::default(),
            tags: IdentityMap::default(),
            merged: IdentityMap::default(),
            resolutions: Arena::default(),
            resting: resting::Resting::default(),
            nonces: Nonces::default(),
            gate,
            waiting: Waiting::default(),
            output: VecDeque::new(),
            counters: Stats::default(),
            guard,
            half_open: Share::new(),
            unacknowledged: Share::new(),
            proven: Proven::default(),
            outside: 0,
            streams: 0,
            fork_byes: 0,
        }
    }

    /// The next thing to do, in order; `None`: wait for the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When `handle_timeout` is due next.
    pub fn poll_timeout(&self) -> Option<Mono> {
        match (self.timers.next(), self.linger.next()) {
            (Some(timer), Some(row)) => Some(timer.min(row)),
            (timer, row) => timer.or(row),
        }
    }

    /// A Call-ID that nobody can guess: 128 random bits.
    pub fn new_call_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64())
    }

    /// The counters, and of what is there now `half_open` alone: at no cost, however much is under way.
    pub fn counters(&self) -> Stats {
        Stats { live: Live { half_open: self.half_open.len(), ..Live::default() }, ..self.counters }
    }

    /// Calls and transactions that are kept, finished ones too. Costs nothing to ask.
    pub fn entries(&self) -> usize {
        self.calls.len() + self.servers.len() + self.clients.len() + self.linger.len()
    }

    /// Whether what comes from there is dropped unread, for whoever reads other things than SIP from the same socket.
    pub fn shuts_out(&self, now: Now, from: std::net::IpAddr) -> bool {
        self.guard.shuts_out(now.mono, from)
    }

    /// Gives memory back that a burst needed: tables keep their room until then.
    pub fn shrink(&mut self) {
        self.transactions.shrink_to(2 * self.transactions.len());
        self.tags.shrink_to(2 * self.tags.len());
        self.merged.shrink_to(2 * self.merged.len());
        self.output.shrink_to(2 * self.output.len());
        self.calls.shrink();
        self.servers.shrink();
        self.clients.shrink();
        self.timers.shrink();
        self.half_open.shrink();
        self.unacknowledged.shrink();
    }

    pub fn stats(&self) -> Stats {
        let answered = self.servers.iter().filter(|(_, server)| server.is_answered()).count();
        Stats {
            live: Live {
                calls: self.calls.len(),
                dialogs: self.calls.iter().map(|(_, call)| call.dialogs()).sum(),
                server_transactions: self.servers.len() - answered,
                half_open: self.half_open.len(),
                client_transactions: self.clients.len(),
                lingering: self.linger.len() + answered,
                standalone: self.standalone.len(),
                passwords: self.waiting.len(),
                usages: self.usages.len(),
                resolutions: self.resolutions.len(),
                timers: self.timers.len(),
            },
            lingering_bytes: self.linger.bytes(),
            ..self.counters
        }
    }

    fn event(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }

    /// Keeps the row of a transaction that has just finished.
    fn retire(
        &mut self,
        now: Now,
        key: Key,
        length: crate::transaction::linger::Length,
        past: crate::transaction::linger::Past,
    ) {
        self.transactions.remove(&key);
        self.linger.insert(now.mono, length, key, past);
    }

    /// A number below `bound`, for delays.
    fn random_below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.rng.next_u32()) * u64::from(bound)) >> 32) as u32
    }
}
