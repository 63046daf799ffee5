use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use ringback_engine::Output;
use ringback_engine::api::{CallOptions, Command, Config, Directory, Error, Event, Reply, Session};
use ringback_media::MediaEngine;
use ringback_media_api::{AudioPort, Command as MediaCommand, Event as MediaEvent, LegId, Token};
use ringback_netsim::{Conditions, Network};
use ringback_time::{Mono, Now, Wall};
use ringback_ua::{ConnectionId, Flow, ResolveId, Transmit, Transport};

use crate::handler::{Actions, Handler};
use crate::streams::End;
use crate::system::{Collect, System, Travelling};
use crate::{Kind, Live, Logged, Packet, Stuck, Traffic};

/// Where every system listens for SIP.
pub const SIP_PORT: u16 = 5060;

/// More at one instant is no progress.
const STEPS_AN_INSTANT: u64 = 200_000;
/// More within a second of virtual time is a storm, whatever the systems talk about.
const STEPS_A_SECOND: u64 = 20_000_000;
/// A name that is looked up is answered after this.
const LOOK_UP: Duration = Duration::from_millis(20);
/// A connection that nobody answers fails after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A leg is under way from one media thread to another so long.
const TRAVEL: Duration = Duration::from_micros(2_700);
/// 2026-01-01T00:00:00Z: where the wall clock starts.
const START: u64 = 1_767_225_600_000_000_000;

/// One system of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemId(usize);

/// Something that happens at a time of its own.
#[derive(Debug)]
enum Job {
    Command(Box<Command>),
    Resolved(ResolveId, Result<Vec<SocketAddr>, String>),
    Connected(ConnectionId),
    ConnectFailed(SocketAddr, String),
    /// A leg has come to another media thread.
    Arrived(LegId),
}

type Tap = Box<dyn FnMut(Mono, &Packet)>;

/// See the crate's documentation.
pub struct World {
    now: Now,
    rng: ChaCha12Rng,
    systems: Vec<System>,
    network: Network<IpAddr, Packet>,
    /// Due time and order, with what is to be done.
    agenda: BinaryHeap<Reverse<(Mono, u64)>>,
    jobs: BTreeMap<u64, (usize, Job)>,
    next_job: u64,
    names: BTreeMap<String, Vec<IpAddr>>,
    outcomes: BTreeMap<Token, Result<Reply, Error>>,
    next_token: u64,
    next_connection: u64,
    outside: Vec<Packet>,
    tap: Option<Tap>,
    /// Steps since the clock moved last, and since the second began.
    steps_now: u64,
    second: (u64, u64),
}

impl World {
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        World {
            // Not zero: a deadline that was forgotten shows.
            now: Now { mono: Mono::from_nanos(1_000_000_000), wall: Wall::from_unix_nanos(START) },
            network: Network::new(rng.next_u64(), conditions),
            rng,
            systems: Vec::new(),
            agenda: BinaryHeap::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            names: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            next_token: 1,
            next_connection: 1,
            outside: Vec::new(),
            tap: None,
            steps_now: 0,
            second: (0, 0),
        }
    }

    // ---- what there is

    /// Adds a system at the next address. `Config::media_address` is set to it. `media_ports`: as `with_media_ports`, inclusive.
    pub fn add(&mut self, config: Config, media_ports: (u16, u16), handler: impl Handler + 'static) -> SystemId {
        self.add_with_threads(config, media_ports, 1, handler)
    }

    /// The same with several media threads. Legs come to them one after the other.
    pub fn add_with_threads(
        &mut self,
        config: Config,
        media_ports: (u16, u16),
        media_threads: u8,
        handler: impl Handler + 'static,
    ) -> SystemId {
        let number = u32::try_from(self.systems.len() + 1).unwrap_or(u32::MAX);
        let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | number));
        let config = Config { media_address: Some(address), ..config };
        let signalling = self.child_rng();
        let media = (0..media_threads.max(1)).map(|_| self.child_rng()).collect();
        let system = System::new(address, config, media_ports, Box::new(handler), signalling, media);
        self.systems.push(system);
        SystemId(self.systems.len() - 1)
    }

    pub fn now(&self) -> Now {
        self.now
    }

    pub fn address(&self, system: SystemId) -> IpAddr {
        self.system(system).address
    }

    /// `sip:user@10.0.0.x`
    pub fn uri(&self, system: SystemId, user: &str) -> String {
        format!("sip:{user}@{}", self.address(system))
    }

    pub fn directory(&self, system: SystemId) -> Arc<Directory> {
        self.system(system).engine.directory()
    }

    pub fn engine(&self, system: SystemId) -> &ringback_engine::Engine {
        &self.system(system).engine
    }

    /// Every event of a system, in order.
    pub fn log(&self, system: SystemId) -> &[Logged] {
        &self.system(system).log
    }

    pub fn take_log(&mut self, system: SystemId) -> Vec<Logged> {
        std::mem::take(&mut self.system_mut(system).log)
    }

    pub fn traffic(&self, system: SystemId) -> Traffic {
        self.system(system).traffic
    }

    pub fn live(&self, system: SystemId) -> Live {
        self.system(system).live()
    }

    /// Ports whose program was told to look at them.
    pub fn take_audio_ready(&mut self, system: SystemId) -> Vec<Arc<AudioPort>> {
        std::mem::take(&mut self.system_mut(system).audio_ready)
    }

    /// How a command ended, once it did.
    pub fn outcome(&self, token: Token) -> Option<&Result<Reply, Error>> {
        self.outcomes.get(&token)
    }

    pub fn network(&self) -> &Network<IpAddr, Packet> {
        &self.network
    }

    pub fn network_mut(&mut self) -> &mut Network<IpAddr, Packet> {
        &mut self.network
    }

    // ---- what may be done to it

    /// What a name look-up of any system finds; other names are not found.
    pub fn set_name(&mut self, name: &str, addresses: Vec<IpAddr>) {
        self.names.insert(name.to_ascii_lowercase(), addresses);
    }

    /// Shows every packet as it is sent, lost ones too.
    pub fn set_tap(&mut self, tap: impl FnMut(Mono, &Packet) + 'static) {
        self.tap = Some(Box::new(tap));
    }

    /// Whether the media sockets of a system can be connected, so that strangers' packets go no further than the kernel. They can
    /// until this says otherwise; then it is the media engine that has to tell.
    pub fn set_connected_sockets(&mut self, system: SystemId, connected: bool) {
        self.system(system).ports.set_connects(connected);
    }

    /// A datagram from any address, known or not, under the conditions of its path.
    pub fn send_raw(&mut self, from: SocketAddr, to: SocketAddr, bytes: impl Into<Bytes>) {
        self.send(Packet { from, to, kind: Kind::Raw, bytes: bytes.into() });
    }

    /// What arrived at addresses that are no system's, the latest 65,536 at most.
    pub fn take_outside(&mut self) -> Vec<Packet> {
        std::mem::take(&mut self.outside)
    }

    /// Gives the command that `make` makes with a token of its own, now.
    pub fn command(&mut self, system: SystemId, make: impl FnOnce(Token) -> Command) -> Result<Token, Stuck> {
        let token = self.token();
        let now = self.now;
        self.count(|| "a command".into())?;
        self.system_mut(system).engine.handle_command(now, make(token));
        self.drain(system.0)?;
        Ok(token)
    }

    /// The same, later.
    pub fn command_after(&mut self, delay: Duration, system: SystemId, make: impl FnOnce(Token) -> Command) -> Token {
        let token = self.token();
        let command = make(token);
        self.put_off(self.now.mono + delay, system.0, Job::Command(Box::new(command)));
        token
    }

    /// Places a call. Errors are those of `Command::CreateCall`.
    pub fn call(&mut self, system: SystemId, from: &str, to: &str) -> Result<Result<Arc<Session>, Error>, Stuck> {
        let (from, to) = (from.to_owned(), to.to_owned());
        let create = |token| Command::CreateCall {
            token,
            from,
            to,
            sdp: None,
            headers: Vec::new(),
            send: true,
            options: CallOptions::default(),
        };
        let token = self.command(system, create)?;
        match self.outcomes.get(&token) {
            Some(Ok(Reply::Session(session))) => Ok(Ok(Arc::clone(session))),
            Some(Err(error)) => Ok(Err(error.clone())),
            other => Err(Stuck::Busy { what: format!("CreateCall was answered with {other:?}") }),
        }
    }

    /// Ends every connection of a system, as a crash of its peer or a middlebox would. Both ends are told.
    pub fn break_streams(&mut self, system: SystemId) -> Result<(), Stuck> {
        for id in self.system(system).streams.ids() {
            let Some(end) = self.system_mut(system).streams.remove(id) else { continue };
            let now = self.now;
            self.system_mut(system).engine.handle_closed(now, id);
            self.drain(system.0)?;
            if let Some(peer) = self.index_at(end.remote.ip())
                && let Some(system) = self.systems.get_mut(peer)
                && system.streams.remove(end.peer).is_some()
            {
                system.engine.handle_closed(now, end.peer);
                self.drain(peer)?;
            }
        }
        Ok(())
    }

    /// Connections of a system.
    pub fn streams(&self, system: SystemId) -> usize {
        self.system(system).streams.len()
    }

    // ---- time

    /// When something happens next. `None`: never, the world is idle.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let engines = self.systems.iter().filter_map(System::poll_timeout);
        let agenda = self.agenda.peek().map(|Reverse((at, _))| *at);
        engines.chain(agenda).chain(self.network.poll_timeout()).min()
    }

    /// Lets everything happen that is due within `time`, and sets the clock to its end.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Stuck> {
        let end = self.now + time;
        while self.poll_timeout().is_some_and(|at| at <= end.mono) {
            self.step()?;
        }
        if end.mono > self.now.mono {
            self.now = end;
        }
        Ok(())
    }

    /// Runs until `done` says so, `most` at the longest; false if it did not.
    pub fn run_until(&mut self, most: Duration, mut done: impl FnMut(&World) -> bool) -> Result<bool, Stuck> {
        let end = self.now + most;
        loop {
            if done(self) {
                return Ok(true);
            }
            if self.poll_timeout().is_none_or(|at| at > end.mono) {
                self.now = if end.mono > self.now.mono { end } else { self.now };
                return Ok(done(self));
            }
            self.step()?;
        }
    }

    /// Runs until nothing is left to happen: no packet under way, no timer running. [`Stuck::Busy`] after `most`.
    pub fn run_until_idle(&mut self, most: Duration) -> Result<(), Stuck> {
        let end = self.now.mono + most;
        while let Some(at) = self.poll_timeout() {
            if at > end {
                let live: Vec<Live> = self.systems.iter().map(System::live).collect();
                let what = format!("next at {at:?}, {} packets under way, {live:?}", self.network.under_way());
                return Err(Stuck::Busy { what });
            }
            self.step()?;
        }
        Ok(())
    }

    /// Sets the clock to the earliest deadline and lets what is due then happen. False: the world is idle.
    pub fn step(&mut self) -> Result<bool, Stuck> {
        let Some(at) = self.poll_timeout() else { return Ok(false) };
        if at > self.now.mono {
            self.now = self.now + at.since(self.now.mono);
            self.steps_now = 0;
        }
        while let Some(packet) = self.network.poll(self.now.mono) {
            self.count(|| format!("{:?} from {} to {}", packet.kind, packet.from, packet.to))?;
            self.deliver(packet)?;
        }
        while let Some((system, job)) = self.due_job() {
            self.count(|| format!("{job:?}"))?;
            self.work(system, job)?;
        }
        for index in 0..self.systems.len() {
            self.timeouts(index)?;
        }
        Ok(true)
    }

    fn timeouts(&mut self, index: usize) -> Result<(), Stuck> {
        let now = self.now;
        let Some(system) = self.systems.get_mut(index) else { return Ok(()) };
        let signalling = system.engine.poll_timeout().is_some_and(|at| at <= now.mono);
        let due = |media: &MediaEngine| media.poll_timeout().is_some_and(|at| at <= now.mono);
        let media: Vec<u8> = system.media.iter().filter(|media| due(media)).map(MediaEngine::thread).collect();
        if signalling {
            system.engine.handle_timeout(now);
            self.count(|| format!("a timer of system {index}"))?;
        }
        for thread in &media {
            self.with_media(index, *thread, |media, out| media.handle_timeout(now, out));
            self.count(|| format!("a media timer of system {index}"))?;
        }
        if signalling || !media.is_empty() { self.drain(index) } else { Ok(()) }
    }

    // ---- packets

    fn send(&mut self, packet: Packet) {
        if let Some(tap) = &mut self.tap {
            tap(self.now.mono, &packet);
        }
        let (from, to) = (packet.from.ip(), packet.to.ip());
        match packet.kind {
            Kind::Stream(_) => self.network.send_stream(self.now.mono, &from, &to, packet),
            Kind::Sip | Kind::Rtp | Kind::Rtcp | Kind::Raw => self.network.send(self.now.mono, &from, &to, packet),
        }
    }

    fn deliver(&mut self, packet: Packet) -> Result<(), Stuck> {
        const OUTSIDE_MOST: usize = 65_536;
        let now = self.now;
        let Some(index) = self.index_at(packet.to.ip()) else {
            if self.outside.len() < OUTSIDE_MOST {
                self.outside.push(packet);
            }
            return Ok(());
        };
        let Some(system) = self.systems.get_mut(index) else { return Ok(()) };
        if let Kind::Stream(id) = packet.kind {
            // A message may come by a connection that is closed meanwhile.
            if let Some(end) = system.streams.get_mut(id) {
                system.traffic.sip_received += 1;
                let (local, remote) = (end.local, end.remote);
                let flow = Flow { transport: Transport::Tcp, local, remote, connection: Some(id) };
                system.engine.handle_message(now, flow, packet.bytes);
            }
        } else if packet.to.port() == SIP_PORT {
            system.traffic.sip_received += 1;
            let local = system.sip_address();
            let flow = Flow { transport: Transport::Udp, local, remote: packet.from, connection: None };
            system.engine.handle_message(now, flow, packet.bytes);
        } else {
            self.deliver_media(index, packet);
        }
        self.drain(index)
    }

    fn deliver_media(&mut self, index: usize, packet: Packet) {
        self.deliver_media_of(index, self.now, packet);
    }

    /// `arrival`: when it came to the leg's sockets.
    fn deliver_media_of(&mut self, index: usize, arrival: Now, packet: Packet) {
        let now = self.now;
        let Some(system) = self.systems.get_mut(index) else { return };
        let port = packet.to.port();
        let is_rtcp = port % 2 == 1;
        let Some(leg) = system.ports.leg_at(if is_rtcp { port - 1 } else { port }) else {
            system.traffic.unreachable += 1;
            return;
        };
        let thread = system.thread_of(leg);
        if let Some(travelling) = system.travelling.get_mut(&leg) {
            travelling.received.push((arrival, packet));
        } else if is_rtcp {
            system.traffic.rtcp_received += 1;
            self.with_media(index, thread, |media, out| media.handle_rtcp(now, leg, packet.from, &packet.bytes, out));
        } else if system.ports.takes(leg, packet.from) {
            system.traffic.rtp_received += 1;
            let mut bytes = packet.bytes.to_vec();
            let from = packet.from;
            self.with_media(index, thread, |media, out| {
                media.handle_rtp(now, leg, arrival.mono, from, &mut bytes, out);
            });
        } else {
            system.traffic.refused += 1;
        }
    }

    // ---- one system

    /// Runs one input of a media engine and sends what it says; its events wait for the caller's `drain`.
    fn with_media(&mut self, index: usize, thread: u8, input: impl FnOnce(&mut MediaEngine, &mut Collect<'_>)) {
        let now = self.now;
        let (mut packets, mut events) = (Vec::new(), Vec::new());
        let Some(system) = self.systems.get_mut(index) else { return };
        let System { address, media, ports, traffic, audio_ready, .. } = system;
        let mut out =
            Collect { address: *address, ports, traffic, audio_ready, packets: &mut packets, events: &mut events };
        let Some(media) = media.get_mut(usize::from(thread)) else { return };
        input(media, &mut out);
        for event in events {
            if let MediaEvent::Closed { leg, .. } = event {
                system.ports.free(leg);
            }
            system.engine.handle_media_event(now, event);
        }
        for packet in packets {
            self.send(packet);
        }
    }

    /// Takes everything that an engine has to say, and what its handler answers, until both are silent.
    fn drain(&mut self, index: usize) -> Result<(), Stuck> {
        let now = self.now;
        while let Some(output) = self.systems.get_mut(index).and_then(|system| system.engine.poll_output()) {
            self.count(|| format!("an output of system {index}: {output:?}"))?;
            match output {
                Output::Transmit(transmit) => self.transmit(index, transmit),
                Output::Resolve { id, host, port, .. } => {
                    let found = self.names.get(&host.to_ascii_lowercase());
                    let addresses = found.map(|all| all.iter().map(|ip| SocketAddr::new(*ip, port)).collect());
                    let result = addresses.ok_or_else(|| "no such host".to_owned());
                    self.put_off(now.mono + LOOK_UP, index, Job::Resolved(id, result));
                }
                Output::KeepAlive { .. } => {}
                Output::Media(command) => self.media(index, command),
                Output::Event(event) => self.tell(index, event),
                // A store that never fails, and keeps nothing but what the engine knows.
                Output::Store(request) => {
                    let now = self.now();
                    if let Some(system) = self.systems.get_mut(index) {
                        system.engine.handle_stored(now, request.id, Ok(Vec::new()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Carries a command out in its turn.
    fn media(&mut self, index: usize, command: MediaCommand) {
        let lasts = matches!(command, MediaCommand::Move { .. });
        let Some(system) = self.systems.get_mut(index) else { return };
        if let Some(command) = system.order.pass(command.touches(), lasts, command) {
            self.carry_out(index, command);
        }
    }

    fn carry_out(&mut self, index: usize, command: MediaCommand) {
        let now = self.now;
        let leg = command.leg();
        let Some(system) = self.systems.get_mut(index) else { return };
        let thread = system.thread_of(leg);
        if matches!(command, MediaCommand::Close { .. }) {
            system.moved.remove(&leg);
        }
        let MediaCommand::Move { to, .. } = command else {
            self.with_media(index, thread, |media, out| media.handle_command(now, command, out));
            return;
        };
        system.moved.insert(leg, to);
        let mut traveller = None;
        self.with_media(index, thread, |media, out| traveller = media.depart(now, leg, out));
        if let Some(system) = self.systems.get_mut(index) {
            system.travelling.insert(leg, Travelling { traveller, received: Vec::new() });
        }
        self.put_off(now.mono + TRAVEL, index, Job::Arrived(leg));
    }

    fn arrive(&mut self, index: usize, leg: LegId) {
        let now = self.now;
        let Some(system) = self.systems.get_mut(index) else { return };
        let Some(Travelling { traveller, received }) = system.travelling.remove(&leg) else { return };
        let thread = system.thread_of(leg);
        if let Some(traveller) = traveller {
            self.with_media(index, thread, |media, out| media.arrive(now, traveller, out));
        }
        if let Some(system) = self.systems.get_mut(index) {
            system.order.done(leg);
        }
        while let Some(command) = self.systems.get_mut(index).and_then(|system| system.order.poll()) {
            self.carry_out(index, command);
        }
        for (arrival, packet) in received {
            self.deliver_media_of(index, arrival, packet);
        }
    }

    fn tell(&mut self, index: usize, event: Event) {
        let now = self.now;
        if let Event::Completed { token, result } = &event {
            self.outcomes.insert(*token, result.clone());
        }
        let Some(system) = self.systems.get_mut(index) else { return };
        let Some(mut handler) = system.handler.take() else { return };
        let mut actions = Actions::new(now, self.next_token);
        handler.handle(&event, &mut actions);
        self.next_token = actions.next_token();
        system.handler = Some(handler);
        system.log.push(Logged { at: now.mono, event });
        for (delay, command) in actions.commands {
            if delay == Duration::ZERO {
                // Its outputs queue behind those that are being drained.
                if let Some(system) = self.systems.get_mut(index) {
                    system.engine.handle_command(now, command);
                }
            } else {
                self.put_off(now.mono + delay, index, Job::Command(Box::new(command)));
            }
        }
    }

    fn transmit(&mut self, index: usize, transmit: Transmit) {
        let Some(system) = self.systems.get_mut(index) else { return };
        system.traffic.sip_sent += 1;
        let from = transmit.local.unwrap_or_else(|| system.sip_address());
        match transmit.transport {
            Transport::Udp => self.send(Packet { from, to: transmit.remote, kind: Kind::Sip, bytes: transmit.bytes }),
            _ => self.transmit_stream(index, transmit),
        }
    }

    fn transmit_stream(&mut self, index: usize, transmit: Transmit) {
        let Some(system) = self.systems.get_mut(index) else { return };
        let known = match transmit.connection {
            Some(id) => Some(id),
            None => system.streams.to(transmit.remote),
        };
        match known {
            Some(id) => match system.streams.get_mut(id) {
                Some(End { waiting: Some(waiting), .. }) => waiting.push(transmit.bytes),
                Some(end) => {
                    let packet =
                        Packet { from: end.local, to: end.remote, kind: Kind::Stream(end.peer), bytes: transmit.bytes };
                    self.send(packet);
                }
                // Closed meanwhile, and told so.
                None => {}
            },
            None => self.connect(index, transmit),
        }
    }

    fn connect(&mut self, index: usize, transmit: Transmit) {
        let Some(local) = self.systems.get(index).map(|system| system.address) else { return };
        let remote = transmit.remote;
        let there = self.network.conditions(&local, &remote.ip());
        let back = self.network.conditions(&remote.ip(), &local);
        let round_trip = there.delay + there.jitter + back.delay + back.jitter;
        let peer = self.index_at(remote.ip()).filter(|_| remote.port() == SIP_PORT);
        let Some(peer) = peer.filter(|_| there.loss < 1.0 && back.loss < 1.0) else {
            let (after, cause) = match peer {
                Some(_) => (CONNECT_TIMEOUT, "timed out"),
                None => (round_trip, "connection refused"),
            };
            self.put_off(self.now.mono + after, index, Job::ConnectFailed(remote, cause.into()));
            return;
        };
        let (ours, theirs) = (ConnectionId(self.next_connection), ConnectionId(self.next_connection + 1));
        self.next_connection += 2;
        let port = 32_768 + u16::try_from(ours.0 % 28_000).unwrap_or(0);
        let local = SocketAddr::new(local, port);
        if let Some(system) = self.systems.get_mut(index) {
            system.streams.insert(ours, End { local, remote, peer: theirs, waiting: Some(vec![transmit.bytes]) });
        }
        if let Some(system) = self.systems.get_mut(peer) {
            system.streams.insert(theirs, End { local: remote, remote: local, peer: ours, waiting: None });
        }
        self.put_off(self.now.mono + round_trip, index, Job::Connected(ours));
    }

    // ---- the agenda

    fn put_off(&mut self, at: Mono, system: usize, job: Job) {
        self.next_job += 1;
        self.agenda.push(Reverse((at, self.next_job)));
        self.jobs.insert(self.next_job, (system, job));
    }

    fn due_job(&mut self) -> Option<(usize, Job)> {
        let Reverse((at, number)) = *self.agenda.peek()?;
        if at > self.now.mono {
            return None;
        }
        self.agenda.pop();
        self.jobs.remove(&number)
    }

    fn work(&mut self, index: usize, job: Job) -> Result<(), Stuck> {
        let now = self.now;
        let Some(system) = self.systems.get_mut(index) else { return Ok(()) };
        match job {
            Job::Command(command) => system.engine.handle_command(now, *command),
            Job::Resolved(id, result) => system.engine.handle_resolved(now, id, result),
            Job::ConnectFailed(remote, cause) => {
                system.engine.handle_connect_failed(now, Transport::Tcp, remote, None, &cause);
            }
            Job::Arrived(leg) => self.arrive(index, leg),
            Job::Connected(id) => {
                let Some(end) = system.streams.get_mut(id) else { return Ok(()) };
                let (from, to, peer) = (end.local, end.remote, end.peer);
                let waiting = end.waiting.take().unwrap_or_default();
                system.engine.handle_connected(now, Transport::Tcp, to, None, id);
                for bytes in waiting {
                    self.send(Packet { from, to, kind: Kind::Stream(peer), bytes });
                }
            }
        }
        self.drain(index)
    }

    // ---- small things

    fn count(&mut self, last: impl FnOnce() -> String) -> Result<(), Stuck> {
        self.steps_now += 1;
        let at = self.now.mono;
        let second = at.as_nanos() / 1_000_000_000;
        self.second = if self.second.0 == second { (second, self.second.1 + 1) } else { (second, 1) };
        if self.steps_now > STEPS_AN_INSTANT {
            return Err(Stuck::Livelock { at, steps: STEPS_AN_INSTANT, last: last() });
        }
        if self.second.1 > STEPS_A_SECOND {
            return Err(Stuck::Storm { at, steps: STEPS_A_SECOND, last: last() });
        }
        Ok(())
    }

    fn token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        token
    }

    fn child_rng(&mut self) -> ChaCha12Rng {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        ChaCha12Rng::from_seed(seed)
    }

    fn index_at(&self, address: IpAddr) -> Option<usize> {
        self.systems.iter().position(|system| system.address == address)
    }

    /// A `SystemId` comes from `add` of this world; one of another world is a mistake in the test that shows at once.
    #[expect(clippy::indexing_slicing, reason = "a test's mistake, not a peer's")]
    fn system(&self, id: SystemId) -> &System {
        &self.systems[id.0]
    }

    #[expect(clippy::indexing_slicing, reason = "a test's mistake, not a peer's")]
    fn system_mut(&mut self, id: SystemId) -> &mut System {
        &mut self.systems[id.0]
    }
}
