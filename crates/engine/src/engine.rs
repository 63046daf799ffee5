//! The engine as its driver sees it: inputs, outputs, the next deadline. What inputs do stands in the files beside.
//!
//! Invariant: an input is one change; after it everything that it caused inside (events of `ua`, ends of other calls) has happened
//! and stands in the output queue. The driver drains `poll_output` until `None`, then asks `poll_timeout`.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use ringback_media_api::{Command as MediaCommand, Event as MediaEvent, LegId, MediaPorts, Token};
use ringback_sdp::{LocalCodec, LocalMedia, MediaHost};
use ringback_sip::Method;
use ringback_time::{Mono, Now};
use ringback_ua::{CallKey, ConnectionId, Flow, Place, ResolveId, Routes, Service, Transmit, Transport, Ua};

use crate::accounts::Accounts;
use crate::api::{Command, Config, Directory, Error, Event, Record, Reply, SessionId, StoreRequest};
use crate::bridge::Bridges;
use crate::call::Call;
use crate::ended::EndedDialogs;
use crate::limits;
use crate::locate::{Locating, SharedRoutes};
use crate::media_flow::local_codec;
use crate::notifier::Notifier;
use crate::options::Asking;
use crate::registry::Registry;
use crate::stop::Stop;
use crate::stun::Stun;
use crate::subscribe::Subscriptions;
use crate::table::{Calls, Key};
use crate::timers::{Timer, TimerQueue};

/// What leaves the engine, in the order in which it came about.
#[derive(Clone, Debug)]
pub enum Output {
    Transmit(Transmit),
    /// The way to `host` is wanted: RFC 3263, answered by `Engine::handle_located`; or its addresses only, by `Engine::handle_resolved`.
    Resolve {
        id: ResolveId,
        host: String,
        port: u16,
        service: Service,
    },
    /// RFC 5626 §4.4.1: whoever is at the other end of the connection wants to hear something at least so often.
    KeepAlive {
        connection: ConnectionId,
        every: Duration,
    },
    Media(MediaCommand),
    Event(Event),
    /// Work for the registrar's store; only where there is one (`RegistrarConfig::store`).
    Store(StoreRequest),
}

/// Counts since the start that are not calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Panics that were caught; the call being worked on ended each time.
    pub panics: u64,
    /// INVITEs answered 503 because all sessions are taken.
    pub refused_full: u64,
    /// ... because the program does not take its events.
    pub refused_backlog: u64,
    /// ... because the system stops.
    pub refused_stopping: u64,
    /// ... because no media port is left.
    pub refused_ports: u64,
    /// INVITEs answered 480 because there is no handler.
    pub unhandled: u64,
    /// INVITEs answered 482 because we had forwarded them to ourselves.
    pub loops: u64,
    /// STUN Binding requests on the SIP socket that were answered.
    pub stun_answered: u64,
    /// STUN packets there that were dropped because too many come, or because their source is shut out.
    pub stun_limited: u64,
    /// ... because they are no Binding request, or answer nothing that was asked.
    pub stun_dropped: u64,
    /// Progress and DTMF events that came faster than they are reported.
    pub events_dropped: u64,
}

pub(crate) type Legs = HashMap<LegId, Key, foldhash::fast::RandomState>;

/// The sessions of one signalling thread. See the crate's documentation.
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) directory: Arc<Directory>,
    pub(crate) ua: Ua,
    pub(crate) routes: SharedRoutes,
    pub(crate) ports: Box<dyn MediaPorts>,
    pub(crate) rng: ChaCha12Rng,
    pub(crate) calls: Calls,
    pub(crate) by_ua: HashMap<CallKey, Key, foldhash::fast::RandomState>,
    pub(crate) legs: Legs,
    /// Legs that are being closed while they sent digits: the command, and its error where not all were sent.
    pub(crate) last_digits: HashMap<LegId, (Token, Error)>,
    /// Call-IDs of the targets of forwarded calls, to know our own when they come back.
    pub(crate) forwarded: HashMap<Box<str>, Key, foldhash::quality::RandomState>,
    pub(crate) bridges: Bridges,
    pub(crate) timers: TimerQueue,
    pub(crate) output: VecDeque<Output>,
    pub(crate) locating: Locating,
    pub(crate) asking: Asking,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) notifier: Notifier,
    pub(crate) message_bucket: limits::Bucket<{ limits::MESSAGES_A_SECOND }>,
    pub(crate) registry: Option<Box<Registry>>,
    pub(crate) accounts: Accounts,
    pub(crate) stun: Stun,
    pub(crate) stop: Stop,
    /// The program is too slow for its events.
    pub(crate) overdue: bool,
    /// When ended sessions are forgotten next.
    forget_at: Option<Mono>,
    pub(crate) ended_dialogs: EndedDialogs,
    pub(crate) counters: Counters,
    pub(crate) template: LocalMedia,
    /// What the program prefers, in its order.
    pub(crate) codecs: Vec<LocalCodec>,
    /// The template has the order of one call.
    pub(crate) reordered: bool,
    pub(crate) public_host: Option<MediaHost>,
    pub(crate) cname: Arc<str>,
    /// What is being worked on, for the one who catches a panic.
    pub(crate) current: Option<Key>,
    current_token: Token,
    /// Where the message came from that is being worked on.
    pub(crate) heard_from: Option<IpAddr>,
}

/// Ended sessions are looked through this often.
const FORGET_EVERY: Duration = Duration::from_secs(5);

impl Engine {
    pub fn new(config: Config, routes: Box<dyn Routes>, ports: Box<dyn MediaPorts>, rng: ChaCha12Rng) -> Engine {
        Engine::with_directory(config, routes, ports, rng, Arc::new(Directory::default()))
    }

    /// Goes on with the sessions list of an engine that was stopped.
    pub fn with_directory(
        config: Config,
        routes: Box<dyn Routes>,
        ports: Box<dyn MediaPorts>,
        mut rng: ChaCha12Rng,
        directory: Arc<Directory>,
    ) -> Engine {
        let routes = SharedRoutes::new(routes);
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let ua = Ua::new(ua_config(&config), Box::new(routes.clone()), ChaCha12Rng::from_seed(seed));
        let template = LocalMedia {
            codecs: config.codecs.iter().map(|codec| local_codec(*codec, &config.opus)).collect(),
            dtmf: true,
            comfort_noise: true,
            rtcp_xr: true,
            rtcp_mux: config.rtcp_mux,
            ..LocalMedia::default()
        };
        // RFC 7022 §4.2: a short-term persistent CNAME is random, so that it names nobody.
        let cname = format!("{:016x}", rng.next_u64()).into();
        let registry = config.registrar.as_ref().map(|config| {
            let mut key = [0; 32];
            rng.fill_bytes(&mut key);
            Box::new(Registry::new(config, key))
        });
        if let Some(registry) = &registry {
            routes.set_registrar(&registry.registrar);
        }
        Engine {
            public_host: config.public_address.as_deref().map(MediaHost::from),
            directory,
            ua,
            routes,
            ports,
            rng,
            calls: Calls::default(),
            by_ua: HashMap::default(),
            legs: HashMap::default(),
            last_digits: HashMap::new(),
            forwarded: HashMap::default(),
            bridges: Bridges::default(),
            timers: TimerQueue::default(),
            output: VecDeque::new(),
            locating: Locating::default(),
            asking: Asking::default(),
            subscriptions: Subscriptions::default(),
            notifier: Notifier::default(),
            message_bucket: limits::Bucket::new(Mono::ZERO),
            accounts: Accounts::default(),
            stun: Stun::new(&config),
            registry,
            stop: Stop::default(),
            overdue: false,
            forget_at: None,
            ended_dialogs: EndedDialogs::default(),
            counters: Counters::default(),
            codecs: template.codecs.clone(),
            reordered: false,
            template,
            cname,
            current: None,
            current_token: Token::default(),
            heard_from: None,
            config,
        }
    }

    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// Calls and transactions that are kept, finished ones too: what its memory goes by. Costs nothing to ask.
    pub fn entries(&self) -> usize {
        self.calls.len() + self.ua.entries()
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub fn ua_counters(&self) -> ringback_ua::Stats {
        self.ua.counters()
    }

    pub fn ua_stats(&self) -> ringback_ua::Stats {
        self.ua.stats()
    }

    // ---- inputs

    /// One datagram, or one framed message of a stream.
    pub fn handle_message(&mut self, now: Now, flow: Flow, bytes: Bytes) {
        // RFC 5626 §8: both come to one socket.
        if flow.transport == Transport::Udp && ringback_nat::is_stun(&bytes) {
            return self.guarded(now, |engine| engine.stun_received(now, flow, &bytes));
        }
        self.heard_from = Some(flow.remote.ip().to_canonical());
        self.guarded(now, |engine| engine.ua.handle_message(now, flow, bytes));
        self.heard_from = None;
    }

    pub fn handle_resolved(&mut self, now: Now, id: ResolveId, result: Result<Vec<SocketAddr>, String>) {
        self.guarded(now, |engine| {
            if !Self::is_own_lookup(id) {
                return engine.ua.handle_resolved(now, id, result);
            }
            let first = result.ok().and_then(|addresses| addresses.first().copied());
            engine.located(now, id, first.map(|address| (None, address)));
        });
    }

    pub fn handle_located(&mut self, now: Now, id: ResolveId, result: Result<Vec<Place>, String>) {
        self.guarded(now, |engine| {
            if !Self::is_own_lookup(id) {
                return engine.ua.handle_located(now, id, result);
            }
            let first = result.ok().and_then(|places| places.first().copied());
            engine.located(now, id, first.map(|place| (Some(place.transport), place.address)));
        });
    }

    /// `domain`: as `Transmit` had it.
    pub fn handle_connected(
        &mut self,
        now: Now,
        transport: Transport,
        remote: SocketAddr,
        domain: Option<&str>,
        connection: ConnectionId,
    ) {
        self.guarded(now, |engine| engine.ua.handle_connected(now, transport, remote, domain, connection));
    }

    /// `domain`: as `Transmit` had it.
    pub fn handle_connect_failed(
        &mut self,
        now: Now,
        transport: Transport,
        remote: SocketAddr,
        domain: Option<&str>,
        cause: &str,
    ) {
        self.guarded(now, |engine| engine.ua.handle_connect_failed(now, transport, remote, domain, cause));
    }

    pub fn handle_closed(&mut self, now: Now, connection: ConnectionId) {
        self.guarded(now, |engine| {
            engine.ua.handle_closed(now, connection);
            engine.registry_closed(connection);
            engine.accounts_closed(now, connection);
        });
    }

    pub fn handle_send_failed(&mut self, now: Now, transport: Transport, remote: SocketAddr, cause: &str) {
        self.guarded(now, |engine| engine.ua.handle_send_failed(now, transport, remote, cause));
    }

    pub fn handle_command(&mut self, now: Now, command: Command) {
        let token = command.token();
        self.current_token = token;
        self.guarded(now, |engine| {
            let answer = engine.run(now, command);
            match answer {
                // Somebody keeps the token and answers later.
                Ok(None) => engine.current_token = Token::default(),
                Ok(Some(reply)) => engine.complete(token, Ok(reply)),
                Err(error) => engine.complete(token, Err(error)),
            }
        });
    }

    /// The answer to a `StoreRequest`: what `Find` found, nothing for a `Write`, or what went wrong.
    pub fn handle_stored(&mut self, now: Now, id: u64, result: Result<Vec<Record>, String>) {
        self.guarded(now, |engine| engine.stored(now, id, result));
    }

    pub fn handle_media_event(&mut self, now: Now, event: MediaEvent) {
        self.guarded(now, |engine| engine.media_event(now, event));
    }

    /// How long the oldest event that the program has not yet taken has been waiting.
    pub fn handle_backlog(&mut self, _now: Now, oldest_undelivered: Option<Duration>) {
        self.overdue = oldest_undelivered.is_some_and(|age| age > limits::BACKLOG_MOST);
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.guarded(now, |engine| engine.ua.handle_timeout(now));
        while let Some(key) = self.timers.due(now.mono) {
            self.guarded(now, |engine| engine.expire(now, key));
        }
        if self.subscriptions.deadline().is_some_and(|at| at <= now.mono) {
            self.guarded(now, |engine| engine.subscriptions_due(now));
        }
        if self.notifier.deadline().is_some_and(|at| at <= now.mono) {
            self.guarded(now, |engine| engine.watches_due(now));
        }
        self.guarded(now, |engine| engine.stop_timeout(now));
        if self.accounts.next().is_some_and(|at| at <= now.mono) {
            self.guarded(now, |engine| engine.accounts_due(now));
        }
        if self.stun.next().is_some_and(|at| at <= now.mono) {
            self.guarded(now, |engine| engine.stun_due(now));
        }
        if self.registry.as_ref().and_then(|registry| registry.poll_timeout()).is_some_and(|at| at <= now.mono) {
            self.guarded(now, |engine| engine.bindings_ended(now));
        }
        if self.forget_at.is_some_and(|at| at <= now.mono) {
            self.directory.forget(now.mono);
            self.ended_dialogs.forget(now.mono);
            self.forget_at = self.directory.has_ended().then(|| now.mono + FORGET_EVERY);
        }
    }

    // ---- outputs

    pub fn poll_timeout(&self) -> Option<Mono> {
        let bindings = self.registry.as_ref().and_then(|registry| registry.poll_timeout());
        let own = [
            self.ua.poll_timeout(),
            self.timers.next(),
            self.stop.deadline(),
            self.forget_at,
            bindings,
            self.accounts.next(),
            self.stun.next(),
            self.subscriptions.deadline(),
            self.notifier.deadline(),
        ];
        own.into_iter().flatten().min()
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    // ---- within

    /// Runs one input and all that follows from it. A panic ends the call that was being worked on and nothing else.
    fn guarded(&mut self, now: Now, work: impl FnOnce(&mut Engine)) {
        self.current = None;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            work(self);
            self.pump(now);
        }));
        if outcome.is_err() {
            self.caught(now);
        }
    }

    fn caught(&mut self, now: Now) {
        self.counters.panics += 1;
        match self.current.take() {
            Some(key) => {
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    self.fail_inside(now, key);
                    self.pump(now);
                }));
                self.counters.panics += u64::from(outcome.is_err());
            }
            None => tracing::error!(target: "ringback.session", "a panic outside of any call"),
        }
        self.complete(self.current_token, Err(Error::Ended("internal error".into())));
    }

    /// Takes everything that `ua` has to say, and what that causes, until it is silent.
    pub(crate) fn pump(&mut self, now: Now) {
        self.drain_ua(now);
        while !self.bridges.changed.is_empty() {
            self.pass_holds(now);
            self.drain_ua(now);
        }
        while self.see_sessions(now) {
            self.drain_ua(now);
        }
        self.stop_if_empty(now);
    }

    pub(crate) fn drain_ua(&mut self, now: Now) {
        while let Some(output) = self.ua.poll_output() {
            match output {
                ringback_ua::Output::Transmit(transmit) => self.output.push_back(Output::Transmit(transmit)),
                ringback_ua::Output::Resolve { id, host, port, service } => {
                    self.output.push_back(Output::Resolve { id, host, port, service });
                }
                ringback_ua::Output::Event(event) => self.signal(now, event),
            }
        }
    }

    fn expire(&mut self, now: Now, key: Key) {
        self.current = Some(key);
        let Some(call) = self.calls.get_mut(key) else {
            self.timers.discard(key, now.mono);
            return;
        };
        match self.timers.expire(key, &mut call.timers, now.mono) {
            Some(Timer::Decide) => self.undecided(now, key),
            Some(Timer::Refresh) => self.repeat_provisional(now, key),
            Some(Timer::Ring) if self.calls.get(key).is_some_and(|call| call.transfer.is_some()) => {
                self.transfer_overdue(now, key);
            }
            Some(Timer::Ring) => self.target_silent(now, key),
            Some(Timer::Life) => self.lived(now, key),
            Some(Timer::Silence) => self.never_answered(now, key),
            Some(Timer::Digit) => self.next_digit(now, key),
            Some(Timer::Collect) => self.collected(now, key),
            Some(Timer::Unheard) => self.unheard(now, key),
            None => {}
        }
    }

    pub(crate) fn arm(&mut self, key: Key, timer: Timer, at: Mono) {
        if let Some(call) = self.calls.get_mut(key) {
            self.timers.set(key, &mut call.timers, timer, at);
        }
    }

    pub(crate) fn disarm(&mut self, key: Key, timer: Timer) {
        if let Some(call) = self.calls.get_mut(key) {
            self.timers.clear(key, &mut call.timers, timer);
        }
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }

    /// Answers a command that wants an answer.
    pub(crate) fn complete(&mut self, token: Token, result: Result<Reply, Error>) {
        if token != Token::default() {
            if token == self.current_token {
                self.current_token = Token::default();
            }
            self.emit(Event::Completed { token, result });
        }
    }

    /// The live call of a session. An ended one is `InvalidState`, an unknown one `SessionNotFound`.
    pub(crate) fn find(&self, id: SessionId, what: &'static str) -> Result<Key, Error> {
        if let Some(key) = self.live(id) {
            return Ok(key);
        }
        match self.directory.get(id) {
            Some(session) => Err(Error::InvalidState { what, state: session.state() }),
            None => Err(Error::SessionNotFound(id)),
        }
    }

    pub(crate) fn live(&self, id: SessionId) -> Option<Key> {
        let key = session_key(id);
        self.calls.get(key).filter(|call| call.session.id == id).map(|_| key)
    }

    /// For log lines.
    pub(crate) fn call_id(&self, key: Key) -> &str {
        self.calls.get(key).map_or("", |call| &call.session.call_id)
    }

    /// The error for a call whose state does not allow `what`.
    pub(crate) fn unfit(&self, key: Key, what: &'static str) -> Error {
        let state = self.calls.get(key).map_or(crate::api::State::Failed, |call| call.session.state());
        Error::InvalidState { what, state }
    }

    /// Puts a new call into the tables. Its session's identity holds its key, so that finding it needs no table.
    pub(crate) fn insert(&mut self, make: impl FnOnce(&mut Engine, SessionId) -> Call) -> Key {
        let key = self.calls.next_key();
        let random = u128::from(self.rng.next_u64() & RANDOM_MASK);
        let id = SessionId::from_u128(u128::from(SHARD) << 120 | random << 64 | u128::from(key.to_bits()));
        let call = make(self, id);
        self.notifier.sees(&call.session);
        self.directory.insert(Arc::clone(&call.session));
        self.calls.insert(key, call);
        key
    }

    pub(crate) fn retire(&mut self, now: Now, id: SessionId) {
        self.directory.retire(id, now.mono);
        self.forget_at.get_or_insert(now.mono + Directory::ENDED_KEPT);
    }
}

/// The number of this engine. One signalling thread is enough so far.
const SHARD: u8 = 0;
/// Below the number of the engine and above the key: 56 bits.
const RANDOM_MASK: u64 = u64::MAX >> 8;

fn session_key(id: SessionId) -> Key {
    Key::from_bits(id.as_u128() as u64)
}

/// RFC 4028 §4: delta-seconds, of 32 bits.
fn whole_seconds(length: Duration) -> u32 {
    u32::try_from(length.as_secs()).unwrap_or(u32::MAX)
}

/// Addresses of record are in the registrar's domains too.
fn authenticator(config: &Config) -> Option<ringback_ua::Authenticator> {
    let mut authenticator = config.authenticator.clone()?;
    authenticator.domains.extend(config.registrar.iter().flat_map(|registrar| registrar.domains.iter().cloned()));
    Some(authenticator)
}

fn ua_config(config: &Config) -> ringback_ua::Config {
    let mut requests = Vec::new();
    if config.interest.message {
        requests.push(Method::Message);
    }
    requests.push(Method::Subscribe);
    requests.extend(config.registrar.iter().map(|_| Method::Register));
    ringback_ua::Config {
        requests,
        user: config.user.clone(),
        public_address: config.public_address.clone(),
        user_agent: config.user_agent.clone(),
        t1: config.t1,
        t2: config.t2,
        t4: config.t4,
        message_bytes: config.limits.message_bytes,
        half_open_invites: config.limits.half_open_invites,
        session_expires: config.session_expires.map(whole_seconds),
        min_session_expires: whole_seconds(config.min_session_expires),
        credentials: config.credentials.clone(),
        authenticator: authenticator(config),
        guard: config.limits.sources,
        transports: config.transports.clone(),
        ..ringback_ua::Config::default()
    }
}

impl Engine {
    /// Gives memory back that a burst needed: tables keep their room until then.
    pub fn shrink(&mut self) {
        self.ua.shrink();
        self.calls.shrink();
        self.by_ua.shrink_to(2 * self.by_ua.len());
        self.legs.shrink_to(2 * self.legs.len());
        self.forwarded.shrink_to(2 * self.forwarded.len());
        self.output.shrink_to(2 * self.output.len());
        self.directory.shrink();
    }

    /// For tests: nothing is kept of any call.
    #[doc(hidden)]
    pub fn assert_empty(&self) {
        assert!(self.calls.is_empty(), "calls are left");
        assert!(self.by_ua.is_empty() && self.legs.is_empty() && self.forwarded.is_empty(), "tables keep something");
        assert!(self.asking.is_empty(), "requests wait for an answer");
        assert!(self.last_digits.is_empty(), "digits wait for their leg");
        assert!(self.subscriptions.is_empty() && self.notifier.is_empty(), "subscriptions are left");
        assert!(self.timers.next().is_none(), "a timer is armed");
        assert_eq!(self.bridge_count(), 0, "bridges are left");
        assert!(self.locating.is_empty(), "look-ups are left");
        assert!(self.accounts.is_empty(), "accounts are left");
        assert!(self.registry.as_ref().is_none_or(|registry| registry.is_idle()), "the store is at work");
    }
}
