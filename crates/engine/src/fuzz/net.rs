//! Engines joined by a perfect link under a virtual clock, each with a media engine that only keeps books. What the books do not
//! allow is a panic: a leg opened twice, a command to a closed one, a port given back twice.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringback_media_api::{
    Command as MediaCommand, Event as MediaEvent, LegConfig, LegId, MediaPort, MediaPorts, Role, RoomId, Statistics,
    Token,
};
use ringback_time::{Mono, Now, Wall};
use ringback_ua::{Flow, Routes, Transport};

use crate::api::{Command, Config, Directory, Error, Event, Reply, Session};
use crate::{Engine, Output};

/// The address of the node with that number.
pub fn address(node: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, node as u8 + 1)), 5060)
}

/// The port of a second socket of each node, by which no route leads.
pub const SECOND_PORT: u16 = 5070;

/// Two sockets of one address, and the one that the route prefers.
struct TwoPorts(Arc<Mutex<SocketAddr>>);

impl Routes for TwoPorts {
    fn local_address(&mut self, _: Transport, _: SocketAddr) -> Option<SocketAddr> {
        Some(*self.0.lock())
    }

    fn leaves_by(&mut self, local: SocketAddr, _: SocketAddr) -> bool {
        local.ip() == self.0.lock().ip() && matches!(local.port(), 5060 | SECOND_PORT)
    }
}

/// The ports of one node: who has which.
#[derive(Debug, Default)]
pub struct Ports {
    pub most: usize,
    pub out: HashMap<LegId, u16>,
    serial: u64,
    /// Given back before anybody was told of them.
    pub untold: usize,
    /// A fault to be met: the next call to the pool panics.
    pub broken: bool,
    /// It has to be asked where others reach them; the test answers (`Event::Located`).
    pub seeking: bool,
    /// Media threads beside the first: ports are of one after the other, whatever is asked for.
    pub more_threads: u8,
}

#[derive(Clone, Default)]
struct SharedPorts(Arc<Mutex<Ports>>);

impl MediaPorts for SharedPorts {
    fn allocate(&mut self, _: Now, local: IpAddr, beside: Option<u8>) -> Option<MediaPort> {
        let mut ports = self.0.lock();
        assert!(!ports.broken, "the pool is broken");
        if ports.out.len() >= ports.most {
            return None;
        }
        ports.serial += 1;
        let thread = match ports.more_threads {
            0 => beside.unwrap_or_default(),
            more => (ports.serial % (u64::from(more) + 1)) as u8,
        };
        let leg = LegId::new(thread, ports.serial);
        let port = 10_000 + (ports.serial % 10_000) as u16 * 2;
        ports.out.insert(leg, port);
        Some(MediaPort { leg, thread, rtp: SocketAddr::new(local, port) })
    }

    fn lighter(&self, a: u8, b: u8) -> u8 {
        a.max(b)
    }

    fn roomy(&self, near: u8) -> u8 {
        let ports = self.0.lock();
        (near + (ports.serial % 2) as u8).min(ports.more_threads)
    }

    fn is_seeking(&self, _: LegId) -> bool {
        self.0.lock().seeking
    }

    fn release(&mut self, _: Now, leg: LegId, told: bool) {
        let mut ports = self.0.lock();
        ports.untold += usize::from(!told);
        assert!(!ports.broken, "the pool is broken");
        assert!(ports.out.remove(&leg).is_some(), "{leg:?} given back twice");
    }
}

/// The media engine's books.
#[derive(Debug, Default)]
pub struct Legs {
    pub open: HashMap<LegId, LegConfig>,
    pub bridged: HashMap<LegId, LegId>,
    pub rooms: HashMap<LegId, (RoomId, Role)>,
    /// The threads of legs that have moved.
    pub moved: HashMap<LegId, u8>,
    announced: HashMap<RoomId, Token>,
    /// Every command, in order.
    pub log: Vec<MediaCommand>,
    due: BTreeMap<(Mono, u64), MediaEvent>,
    serial: u64,
    playing: HashMap<LegId, Token>,
    /// What a leg says of its digits where it is closed before they are over.
    pub sent_at_close: bool,
}

impl Legs {
    fn handle(&mut self, now: Now, command: MediaCommand) -> Vec<MediaEvent> {
        self.log.push(command.clone());
        let leg = command.leg();
        if let MediaCommand::Open { config, .. } = command {
            assert!(self.open.insert(leg, *config).is_none(), "{leg:?} opened twice");
            return Vec::new();
        }
        match command {
            MediaCommand::CloseRoom { room } => {
                self.rooms.retain(|_, (of, _)| *of != room);
                let ended = |token| MediaEvent::RoomPlayed { room, token, completed: false };
                return self.announced.remove(&room).map(ended).into_iter().collect();
            }
            MediaCommand::PlayToRoom { room, token, .. } => {
                let ended = |token| MediaEvent::RoomPlayed { room, token, completed: false };
                return self.announced.insert(room, token).map(ended).into_iter().collect();
            }
            MediaCommand::RecordRoom { .. } => return Vec::new(),
            _ => {}
        }
        assert!(self.open.contains_key(&leg), "{command:?} for a leg that is not open");
        match command {
            MediaCommand::Configure { config, .. } => {
                self.open.insert(leg, *config);
            }
            MediaCommand::Close { .. } => {
                self.open.remove(&leg);
                self.moved.remove(&leg);
                self.unbridge(leg);
                let mut last = Vec::new();
                self.due.retain(|_, event| {
                    if let MediaEvent::DtmfSent { leg: of, token, .. } = *event
                        && of == leg
                    {
                        last.push(MediaEvent::DtmfSent { leg, token, completed: self.sent_at_close });
                    }
                    event.leg() != leg
                });
                last.push(MediaEvent::Closed { leg, statistics: Statistics::default() });
                return last;
            }
            MediaCommand::Bridge { b, .. } => {
                assert!(self.open.contains_key(&b) && b != leg, "{b:?} is not open");
                assert_eq!(self.thread_of(leg), self.thread_of(b), "{leg:?} and {b:?} are not on one thread");
                // The last two of a room are relayed again.
                for member in [leg, b] {
                    self.rooms.remove(&member);
                }
                assert!(
                    self.bridged.insert(leg, b).is_none() && self.bridged.insert(b, leg).is_none(),
                    "bridged twice"
                );
            }
            MediaCommand::Unbridge { .. } => self.unbridge(leg),
            MediaCommand::Join { room, role, .. } => {
                assert_eq!(self.thread_of(leg), room.thread(), "{leg:?} is not on the thread of {room:?}");
                self.unbridge(leg);
                self.rooms.insert(leg, (room, role));
            }
            MediaCommand::Move { to, .. } => {
                assert_ne!(self.thread_of(leg), to, "{leg:?} is there");
                let connected = self.bridged.contains_key(&leg) || self.rooms.contains_key(&leg);
                assert!(!connected, "{leg:?} is torn out of its bridge");
                self.moved.insert(leg, to);
            }
            MediaCommand::SetRole { role, .. } => {
                let Some(member) = self.rooms.get_mut(&leg) else { panic!("{leg:?} is in no room") };
                member.1 = role;
            }
            MediaCommand::SetGain { .. } => assert!(self.rooms.contains_key(&leg), "{leg:?} is in no room"),
            MediaCommand::Statistics { token, .. } => {
                return vec![MediaEvent::Statistics { leg, token, statistics: Statistics::default() }];
            }
            MediaCommand::SendDtmf { digits, duration_ms, gap_ms, token, .. }
            | MediaCommand::SendTones { digits, duration_ms, gap_ms, token, .. } => {
                let each = u64::from(duration_ms + gap_ms);
                let length = Duration::from_millis(each * digits.len() as u64);
                self.later(now, length, MediaEvent::DtmfSent { leg, token, completed: true });
            }
            MediaCommand::StopDtmf { .. } => {
                let sent = |event: &MediaEvent| matches!(event, MediaEvent::DtmfSent { .. }) && event.leg() == leg;
                let keys: Vec<_> = self.due.iter().filter(|(_, event)| sent(event)).map(|(key, _)| *key).collect();
                return keys.iter().filter_map(|key| self.due.remove(key)).collect();
            }
            MediaCommand::PlayTone { token, tone, .. } => {
                let replaced = self.stop_playing(leg);
                self.playing.insert(leg, token);
                if let Some(duration) = tone.duration {
                    self.later(now, duration, MediaEvent::PlayEnded { leg, token, completed: true });
                }
                return replaced;
            }
            MediaCommand::StopPlaying { .. } => return self.stop_playing(leg),
            MediaCommand::GiveUpPlaying { token, .. } if self.playing.get(&leg) == Some(&token) => {
                return self.stop_playing(leg);
            }
            _ => {}
        }
        Vec::new()
    }

    fn thread_of(&self, leg: LegId) -> u8 {
        self.moved.get(&leg).copied().unwrap_or(leg.thread())
    }

    fn stop_playing(&mut self, leg: LegId) -> Vec<MediaEvent> {
        let Some(token) = self.playing.remove(&leg) else { return Vec::new() };
        self.due.retain(|_, event| !matches!(event, MediaEvent::PlayEnded { token: other, .. } if *other == token));
        vec![MediaEvent::PlayEnded { leg, token, completed: false }]
    }

    fn unbridge(&mut self, leg: LegId) {
        self.rooms.remove(&leg);
        if let Some(other) = self.bridged.remove(&leg) {
            self.bridged.remove(&other);
        }
    }

    fn later(&mut self, now: Now, after: Duration, event: MediaEvent) {
        self.serial += 1;
        self.due.insert((now.mono + after, self.serial), event);
    }

    fn take_due(&mut self, now: Now) -> Option<MediaEvent> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now.mono)?;
        let event = entry.remove();
        if let MediaEvent::PlayEnded { leg, .. } = &event {
            self.playing.remove(leg);
        }
        Some(event)
    }
}

/// One system.
pub struct Node {
    pub engine: Engine,
    pub address: SocketAddr,
    pub legs: Legs,
    pub events: Vec<Event>,
    /// Messages that it sent, in order.
    pub sent: Vec<String>,
    /// ... and the address of ours that each left by, where it was a datagram, and where it went.
    pub ways: Vec<(Option<SocketAddr>, SocketAddr)>,
    /// The address that the route to everybody prefers.
    pub preferred: Arc<Mutex<SocketAddr>>,
    /// Look-ups that it asked for.
    pub resolves: Vec<(ringback_ua::ResolveId, String, u16)>,
    /// What its binding store was asked to do.
    pub store: Vec<crate::api::StoreRequest>,
    /// Connections that somebody wants to hear of, and how often.
    pub kept_alive: Vec<(ringback_ua::ConnectionId, Duration)>,
    ports: SharedPorts,
    completed: HashMap<Token, Result<Reply, Error>>,
}

impl Node {
    pub fn ports(&self) -> parking_lot::MutexGuard<'_, Ports> {
        self.ports.0.lock()
    }

    /// The session of the last `Incoming` event.
    pub fn incoming(&self) -> Option<Arc<Session>> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Incoming(call) => Some(Arc::clone(&call.session)),
            _ => None,
        })
    }

    /// The only open leg of a node that has one.
    pub fn config(&self) -> Option<&LegConfig> {
        self.legs.open.values().next()
    }

    /// Nothing is left but what the protocol keeps for retransmissions.
    pub fn assert_idle(&self) {
        let out = self.ports().out.len();
        let (open, bridged, rooms) = (self.legs.open.len(), self.legs.bridged.len(), self.legs.rooms.len());
        assert_eq!((out, open, bridged, rooms), (0, 0, 0, 0), "media is left");
        self.engine.assert_empty();
        assert_eq!(self.engine.directory().active(), []);
    }
}

/// Several systems, and addresses where nobody of ours is.
pub struct Net {
    pub now: Now,
    pub nodes: Vec<Node>,
    /// Messages to addresses without a node: what a scripted peer receives.
    pub outside: VecDeque<(SocketAddr, String)>,
    /// ... and datagrams to there that are no messages, with their time.
    pub datagrams: VecDeque<(Mono, SocketAddr, Bytes)>,
    /// What goes by streams comes to whoever is outside, instead of being refused.
    pub streams: bool,
    /// Nodes that do not hear anything.
    pub deaf: Vec<usize>,
    wire: VecDeque<(SocketAddr, SocketAddr, Bytes)>,
    next_token: u64,
    expected: Vec<(usize, Token)>,
}

/// An input may cause so much, and no more.
const STEPS_MOST: usize = 100_000;

impl Default for Net {
    fn default() -> Self {
        Net {
            now: Now { mono: Mono::from_nanos(1_000_000_000), wall: Wall::from_unix_nanos(1_700_000_000_000_000_000) },
            nodes: Vec::new(),
            outside: VecDeque::new(),
            datagrams: VecDeque::new(),
            streams: false,
            deaf: Vec::new(),
            wire: VecDeque::new(),
            next_token: 1,
            expected: Vec::new(),
        }
    }
}

impl Net {
    pub fn add(&mut self, config: Config) -> usize {
        self.add_with(config, None)
    }

    /// A node whose engine goes on with the sessions of another.
    pub fn add_with(&mut self, config: Config, directory: Option<Arc<Directory>>) -> usize {
        let node = self.nodes.len();
        let address = address(node);
        let ports = SharedPorts::default();
        ports.0.lock().most = 100;
        let rng = ChaCha12Rng::seed_from_u64(node as u64 + 1);
        let preferred = Arc::new(Mutex::new(address));
        let (routes, pool) = (Box::new(TwoPorts(Arc::clone(&preferred))), Box::new(ports.clone()));
        let engine = match directory {
            Some(directory) => Engine::with_directory(config, routes, pool, rng, directory),
            None => Engine::new(config, routes, pool, rng),
        };
        self.nodes.push(Node {
            engine,
            address,
            legs: Legs::default(),
            events: Vec::new(),
            sent: Vec::new(),
            ways: Vec::new(),
            preferred,
            resolves: Vec::new(),
            store: Vec::new(),
            kept_alive: Vec::new(),
            ports,
            completed: HashMap::new(),
        });
        node
    }

    /// A token whose completion is expected.
    pub fn token(&mut self, node: usize) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.expected.push((node, token));
        token
    }

    pub fn command(&mut self, node: usize, make: impl FnOnce(Token) -> Command) -> Token {
        let token = self.token(node);
        let now = self.now;
        self.nodes[node].engine.handle_command(now, make(token));
        self.run();
        token
    }

    /// Gives a command and its result, `None` while it waits for something.
    pub fn ask(&mut self, node: usize, make: impl FnOnce(Token) -> Command) -> Option<Result<Reply, Error>> {
        let token = self.command(node, make);
        self.result(node, token)
    }

    pub fn result(&self, node: usize, token: Token) -> Option<Result<Reply, Error>> {
        self.nodes[node].completed.get(&token).cloned()
    }

    /// Bytes from an address outside to a node.
    pub fn inject(&mut self, node: usize, from: SocketAddr, message: &str) {
        self.inject_datagram(node, from, message.as_bytes());
    }

    pub fn inject_datagram(&mut self, node: usize, from: SocketAddr, bytes: &[u8]) {
        let to = self.nodes[node].address;
        self.wire.push_back((from, to, Bytes::copy_from_slice(bytes)));
        self.run();
    }

    /// Bytes that come to a node by a connection.
    pub fn inject_by(&mut self, node: usize, flow: Flow, message: &str) {
        let now = self.now;
        self.nodes[node].engine.handle_message(now, flow, Bytes::copy_from_slice(message.as_bytes()));
        self.run();
    }

    pub fn media_event(&mut self, node: usize, event: MediaEvent) {
        let now = self.now;
        self.nodes[node].engine.handle_media_event(now, event);
        self.run();
    }

    /// Lets everything happen that happens at this moment.
    pub fn run(&mut self) {
        for _ in 0..STEPS_MOST {
            if !self.step() {
                return;
            }
        }
        panic!("no end of it");
    }

    fn step(&mut self) -> bool {
        let now = self.now;
        let mut progress = false;
        for index in 0..self.nodes.len() {
            while let Some(output) = self.nodes[index].engine.poll_output() {
                progress = true;
                self.output(index, output);
            }
            while let Some(event) = self.nodes[index].legs.take_due(now) {
                progress = true;
                self.nodes[index].engine.handle_media_event(now, event);
            }
        }
        if let Some((from, to, bytes)) = self.wire.pop_front() {
            progress = true;
            self.deliver(from, to, bytes);
        }
        progress
    }

    fn output(&mut self, index: usize, output: Output) {
        let now = self.now;
        let node = &mut self.nodes[index];
        match output {
            Output::Transmit(transmit) if transmit.transport.is_reliable() && self.streams => {
                let text = String::from_utf8_lossy(&transmit.bytes).into_owned();
                node.sent.push(text.clone());
                node.ways.push((transmit.local, transmit.remote));
                self.outside.push_back((transmit.remote, text));
            }
            Output::Transmit(transmit) if transmit.transport == Transport::Tcp => {
                node.engine.handle_connect_failed(now, Transport::Tcp, transmit.remote, None, "refused");
            }
            Output::Transmit(transmit) => {
                node.sent.push(String::from_utf8_lossy(&transmit.bytes).into_owned());
                node.ways.push((transmit.local, transmit.remote));
                self.wire.push_back((node.address, transmit.remote, transmit.bytes));
            }
            Output::Resolve { id, host, port, .. } => node.resolves.push((id, host, port)),
            Output::KeepAlive { connection, every } => node.kept_alive.push((connection, every)),
            Output::Media(command) => {
                let closes = matches!(command, MediaCommand::Close { .. });
                let leg = command.leg();
                let events = node.legs.handle(now, command);
                if closes {
                    assert!(node.ports().out.remove(&leg).is_some(), "{leg:?} closed without a port");
                }
                for event in events {
                    node.engine.handle_media_event(now, event);
                }
            }
            Output::Event(Event::Completed { token, result }) => {
                assert!(self.expected.contains(&(index, token)), "{token:?} was not asked for");
                let before = node.completed.insert(token, result);
                assert!(before.is_none(), "{token:?} completed twice: {before:?}");
            }
            Output::Event(event) => node.events.push(event),
            Output::Store(request) => node.store.push(request),
        }
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let now = self.now;
        match self.nodes.iter().position(|node| node.address == to) {
            Some(node) if self.deaf.contains(&node) => {}
            Some(node) => {
                let flow = Flow { transport: Transport::Udp, local: to, remote: from, connection: None };
                self.nodes[node].engine.handle_message(now, flow, bytes);
            }
            None if bytes.first().is_some_and(u8::is_ascii_alphabetic) => {
                self.outside.push_back((to, String::from_utf8_lossy(&bytes).into_owned()));
            }
            None => self.datagrams.push_back((now.mono, to, bytes)),
        }
    }

    fn next_deadline(&self) -> Option<Mono> {
        let of_node = |node: &Node| {
            let media = node.legs.due.keys().next().map(|(at, _)| *at);
            [node.engine.poll_timeout(), media].into_iter().flatten().min()
        };
        self.nodes.iter().filter_map(of_node).min()
    }

    /// Time passes, deadline by deadline.
    pub fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..STEPS_MOST {
            self.run();
            let Some(at) = self.next_deadline().filter(|at| *at <= end.mono) else {
                self.now = end;
                return;
            };
            self.now = self.now + at.since(self.now.mono);
            let now = self.now;
            for node in &mut self.nodes {
                if node.engine.poll_timeout().is_some_and(|at| at <= now.mono) {
                    node.engine.handle_timeout(now);
                }
            }
        }
        panic!("timers without end");
    }

    /// Every command that was given has been answered.
    pub fn assert_all_completed(&self) {
        for (node, token) in &self.expected {
            assert!(self.nodes[*node].completed.contains_key(token), "{token:?} of node {node} was never completed");
        }
    }

    /// After everything has ended: nothing is left anywhere.
    pub fn assert_idle(&mut self) {
        self.advance(Duration::from_secs(120));
        self.assert_all_completed();
        for node in &self.nodes {
            node.assert_idle();
            assert_eq!(node.engine.ua_stats().live, ringback_ua::Live::default(), "the protocol keeps something");
        }
    }
}
