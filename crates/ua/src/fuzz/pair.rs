//! Two user agents with a virtual clock and a seeded bad network between them, for tests. Everything is driven to the earliest deadline;
//! a bound on the number of steps makes a livelock fail.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use ringback_sip::Method;
use ringback_time::{Mono, Now, Wall};

use crate::api::{
    Authenticator, Config, ConnectionId, Credentials, Event, Flow, Output, Passwords, ResolveId, Routes, Transmit,
    Transport,
};
use crate::core::Ua;

/// What the network does to datagrams. Streams are delayed only.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Per thousand.
    pub loss: u32,
    /// Per thousand.
    pub duplication: u32,
    pub delay: Duration,
    /// Up to so much longer, at random: what reorders.
    pub jitter: Duration,
    /// The same datagram is lost at most so many times in a row: without a bound any transaction fails now and then, as it should, and
    /// nothing could be said about how calls end.
    pub losses_in_a_row: u8,
}

impl Conditions {
    pub const PERFECT: Conditions = Conditions {
        loss: 0,
        duplication: 0,
        delay: Duration::from_millis(5),
        jitter: Duration::ZERO,
        losses_in_a_row: 4,
    };
}

/// Our address is what was bound.
struct Here(SocketAddr);

impl Routes for Here {
    fn local_address(&mut self, _: Transport, _: SocketAddr) -> Option<SocketAddr> {
        Some(self.0)
    }
}

pub struct Endpoint {
    pub ua: Ua,
    pub address: SocketAddr,
    pub events: VecDeque<Event>,
    /// What it sent, with the time, when `Pair::record` is on.
    pub sent: Vec<(Mono, Transmit)>,
}

enum Arrival {
    Message { flow: Flow, bytes: Bytes },
    Resolved { id: ResolveId, result: Result<Vec<SocketAddr>, String> },
    Connected { remote: SocketAddr, connection: ConnectionId },
    ConnectFailed { remote: SocketAddr },
    SendFailed { remote: SocketAddr },
}

pub struct Pair {
    pub now: Now,
    pub ends: [Endpoint; 2],
    pub conditions: Conditions,
    pub rng: ChaCha12Rng,
    pub record: bool,
    /// Whether a closed port answers (ICMP, TCP reset).
    pub refuses: bool,
    /// What `pbx.test` resolves to.
    pub names: HashMap<String, Vec<SocketAddr>>,
    arrivals: BTreeMap<(Mono, u64), (usize, Arrival)>,
    count: u64,
    losses: HashMap<u64, u8>,
    /// The stream of each end to the other, by the end that opened it.
    streams: [Option<(ConnectionId, ConnectionId)>; 2],
}

/// More steps than any scenario needs.
const MAX_STEPS: usize = 2_000_000;

/// Two ends that ask each other for the same password.
pub fn authenticated(passwords: Passwords) -> Config {
    let authenticator = Authenticator::new("pair", passwords);
    let credentials = Credentials { username: "alice".into(), password: "secret".into(), realm: Some("pair".into()) };
    Config { authenticator: Some(authenticator), credentials: vec![Arc::new(credentials)], ..Config::default() }
}

impl Pair {
    pub fn new(seed: u64, conditions: Conditions) -> Pair {
        let requests = vec![Method::Register, Method::Message];
        Pair::with_config(seed, conditions, Config { requests, ..Config::default() })
    }

    /// With two seeds of three the ends have to prove to each other who they are.
    pub fn asking(seed: u64, conditions: Conditions) -> Pair {
        let requests = vec![Method::Register, Method::Message];
        let passwords = match seed % 3 {
            0 => None,
            1 => Some(Passwords::table([("alice".to_owned(), "secret".to_owned())])),
            _ => Some(Passwords::Ask),
        };
        let config = match passwords {
            None => Config { requests, ..Config::default() },
            Some(passwords) => Config { requests, ..authenticated(passwords) },
        };
        Pair::with_config(seed, conditions, config)
    }

    pub fn with_config(seed: u64, conditions: Conditions, config: Config) -> Pair {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut end = |last: u8| {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), 5060);
            let ua = Ua::new(config.clone(), Box::new(Here(address)), ChaCha12Rng::seed_from_u64(rng.next_u64()));
            Endpoint { ua, address, events: VecDeque::new(), sent: Vec::new() }
        };
        Pair {
            now: Now { mono: Mono::from_nanos(1_000_000_000), wall: Wall::from_unix_nanos(1_700_000_000_000_000_000) },
            ends: [end(1), end(2)],
            conditions,
            rng,
            record: false,
            refuses: true,
            names: HashMap::new(),
            arrivals: BTreeMap::new(),
            count: 0,
            losses: HashMap::new(),
            streams: [None, None],
        }
    }

    /// A number below `bound`.
    pub fn random(&mut self, bound: u32) -> u32 {
        self.rng.next_u32().checked_rem(bound).unwrap_or(0)
    }

    /// Puts a datagram of `from` (or of a third party) before an end, at once.
    pub fn inject(&mut self, to: usize, remote: SocketAddr, bytes: impl Into<Bytes>) {
        let Some(end) = self.ends.get_mut(to) else { return };
        let flow = Flow { transport: Transport::Udp, local: end.address, remote, connection: None };
        end.ua.handle_message(self.now, flow, bytes.into());
        self.drain(to);
    }

    /// Calls an end and takes what follows.
    pub fn with<T>(&mut self, side: usize, command: impl FnOnce(&mut Ua, Now) -> T) -> T {
        let now = self.now;
        let result = command(&mut self.ends[side].ua, now);
        self.drain(side);
        result
    }

    pub fn take_events(&mut self, side: usize) -> Vec<Event> {
        self.ends[side].events.drain(..).collect()
    }

    fn post(&mut self, side: usize, after: Duration, arrival: Arrival) {
        self.count += 1;
        self.arrivals.insert((self.now.mono + after, self.count), (side, arrival));
    }

    /// Takes all outputs of an end.
    pub fn drain(&mut self, side: usize) {
        let mut steps = 0;
        while let Some(output) = self.ends[side].ua.poll_output() {
            steps += 1;
            assert!(steps < 10_000, "outputs without end");
            match output {
                Output::Event(event) => self.ends[side].events.push_back(event),
                Output::Resolve { id, host, port, .. } => {
                    let known = self.names.get(&host).cloned();
                    let result = known.ok_or_else(|| format!("{host}: unknown")).map(|addresses| {
                        addresses.into_iter().map(|address| SocketAddr::new(address.ip(), port)).collect()
                    });
                    self.post(side, Duration::from_millis(20), Arrival::Resolved { id, result });
                }
                Output::Transmit(transmit) => {
                    if self.record {
                        self.ends[side].sent.push((self.now.mono, transmit.clone()));
                    }
                    match transmit.transport {
                        Transport::Udp => self.datagram(side, transmit),
                        _ => self.stream(side, transmit),
                    }
                }
            }
        }
    }

    fn datagram(&mut self, side: usize, transmit: Transmit) {
        let to = 1 - side;
        if transmit.remote != self.ends[to].address {
            if self.refuses {
                self.post(side, Duration::from_millis(1), Arrival::SendFailed { remote: transmit.remote });
            }
            return;
        }
        let mut hasher = DefaultHasher::new();
        (side, &transmit.bytes[..]).hash(&mut hasher);
        let lost = self.losses.entry(hasher.finish()).or_default();
        if self.rng.next_u32() % 1000 < self.conditions.loss && *lost < self.conditions.losses_in_a_row {
            *lost += 1;
            return;
        }
        *lost = 0;
        let copies = if self.rng.next_u32() % 1000 < self.conditions.duplication { 2 } else { 1 };
        let flow = Flow {
            transport: Transport::Udp,
            local: self.ends[to].address,
            remote: self.ends[side].address,
            connection: None,
        };
        for _ in 0..copies {
            let jitter = u32::try_from(self.conditions.jitter.as_micros()).unwrap_or(0);
            let jitter = Duration::from_micros(u64::from(self.random(jitter)));
            let arrival = Arrival::Message { flow, bytes: transmit.bytes.clone() };
            self.post(to, self.conditions.delay + jitter, arrival);
        }
    }

    fn stream(&mut self, side: usize, transmit: Transmit) {
        let to = 1 - side;
        let named = |connection: ConnectionId| {
            [0, 1].into_iter().find_map(|opener| {
                let (ours, theirs) = self.streams[opener]?;
                let (mine, other) = if opener == side { (ours, theirs) } else { (theirs, ours) };
                (mine == connection).then_some((opener, other))
            })
        };
        let delay = self.conditions.delay;
        let (opener, other) = match transmit.connection.and_then(named) {
            Some(found) => found,
            None if transmit.remote == self.ends[to].address => {
                let (_, theirs) = match self.streams[side] {
                    Some(open) => open,
                    None => {
                        self.count += 2;
                        let open = (ConnectionId(self.count), ConnectionId(self.count + 1));
                        self.count += 1;
                        self.streams[side] = Some(open);
                        let connected = Arrival::Connected { remote: transmit.remote, connection: open.0 };
                        self.post(side, delay, connected);
                        open
                    }
                };
                (side, theirs)
            }
            None => {
                if self.refuses {
                    self.post(side, Duration::from_millis(1), Arrival::ConnectFailed { remote: transmit.remote });
                }
                return;
            }
        };
        // An ephemeral port on the opener's side.
        let ephemeral = |address: SocketAddr, is_opener: bool| match is_opener {
            true => SocketAddr::new(address.ip(), 40_000),
            false => address,
        };
        let flow = Flow {
            transport: Transport::Tcp,
            local: ephemeral(self.ends[to].address, opener == to),
            remote: ephemeral(self.ends[side].address, opener == side),
            connection: Some(other),
        };
        self.post(to, delay, Arrival::Message { flow, bytes: transmit.bytes });
    }

    /// Closes the streams there are, and says so.
    pub fn close_streams(&mut self) {
        for opener in [0, 1] {
            if let Some((ours, theirs)) = self.streams[opener].take() {
                let now = self.now;
                self.ends[opener].ua.handle_closed(now, ours);
                self.ends[1 - opener].ua.handle_closed(now, theirs);
            }
        }
        self.drain(0);
        self.drain(1);
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        let arrival = self.arrivals.first_key_value().map(|((at, _), _)| *at);
        let timeouts = self.ends.iter().filter_map(|end| end.ua.poll_timeout());
        timeouts.chain(arrival).min()
    }

    /// Whether messages or look-ups are on their way.
    pub fn is_quiet(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// Goes to the earliest deadline and does what is due there. `false`: there is none before `until`; the clock stands there then.
    pub fn step(&mut self, until: Mono) -> bool {
        let Some(at) = self.next_deadline().filter(|at| *at <= until) else {
            self.advance_to(until);
            return false;
        };
        self.advance_to(at);
        while let Some(entry) = self.arrivals.first_entry()
            && entry.key().0 <= self.now.mono
        {
            let (side, arrival) = entry.remove();
            self.arrive(side, arrival);
        }
        for side in [0, 1] {
            let now = self.now;
            if self.ends[side].ua.poll_timeout().is_some_and(|deadline| deadline <= now.mono) {
                self.ends[side].ua.handle_timeout(now);
                let next = self.ends[side].ua.poll_timeout();
                assert!(next.is_none_or(|next| next > now.mono), "a deadline that is due was left");
                self.drain(side);
            }
        }
        true
    }

    fn advance_to(&mut self, at: Mono) {
        let by = at.since(self.now.mono);
        self.now = self.now + by;
    }

    fn arrive(&mut self, side: usize, arrival: Arrival) {
        let now = self.now;
        let ua = &mut self.ends[side].ua;
        match arrival {
            Arrival::Message { flow, bytes } => ua.handle_message(now, flow, bytes),
            Arrival::Resolved { id, result } => ua.handle_resolved(now, id, result),
            Arrival::Connected { remote, connection } => {
                ua.handle_connected(now, Transport::Tcp, remote, None, connection)
            }
            Arrival::ConnectFailed { remote } => ua.handle_connect_failed(now, Transport::Tcp, remote, None, "refused"),
            Arrival::SendFailed { remote } => ua.handle_send_failed(now, Transport::Udp, remote, "port unreachable"),
        }
        self.drain(side);
    }

    /// Runs for so long.
    pub fn run(&mut self, length: Duration) {
        let until = self.now.mono + length;
        let mut steps = 0;
        while self.step(until) {
            steps += 1;
            assert!(steps < MAX_STEPS, "livelock");
        }
    }

    /// Runs until nothing is left to happen; how long it took.
    pub fn settle(&mut self) -> Duration {
        let start = self.now.mono;
        let mut steps = 0;
        while self.next_deadline().is_some() {
            self.step(Mono::from_nanos(u64::MAX));
            steps += 1;
            assert!(steps < MAX_STEPS, "livelock");
        }
        self.now.mono.since(start)
    }
}
