//! Media engines on a seeded, lossy network under a virtual clock. A leg's address is `10.0.<engine>.<leg>:4000`, its RTCP one above.
#![allow(dead_code, clippy::panic, clippy::expect_used)] // Each test file uses its part; and it is a test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use ringback_media::{MediaEngine, Out, Traveller};
use ringback_media_api::{
    AudioPort, Codec, Command, Event, EventFormat, LegConfig, LegId, Order, ReceiveFormat, SendFormat, Statistics,
    Token,
};
use ringback_rtp::{Header, Packet};
use ringback_time::{Mono, Now, Wall};

pub(crate) const DTMF: u8 = 101;

/// One RTP packet as it left a leg.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Mono,
    pub(crate) leg: LegId,
    pub(crate) to: SocketAddr,
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
}

/// What leaves the engines.
#[derive(Default)]
pub(crate) struct Outputs {
    pub(crate) rtp: Vec<Sent>,
    pub(crate) rtcp: Vec<(Mono, LegId, SocketAddr, Vec<u8>)>,
    pub(crate) events: Vec<(Mono, Event)>,
    pub(crate) ready: Vec<(Mono, Arc<AudioPort>)>,
    pub(crate) accepted: Vec<(LegId, Option<SocketAddr>)>,
    /// Sending from this leg panics.
    pub(crate) explosive: Option<LegId>,
    at: Mono,
    wire: Vec<(LegId, bool, SocketAddr, Vec<u8>)>,
}

impl Out for Outputs {
    fn rtp(&mut self, leg: LegId, to: SocketAddr, packet: &[u8]) {
        assert_ne!(self.explosive, Some(leg), "as the test wants it");
        let parsed = Packet::parse(packet).expect("a packet of ours");
        let payload = parsed.payload_of(packet).to_vec();
        self.rtp.push(Sent { at: self.at, leg, to, header: parsed.header, payload });
        self.wire.push((leg, false, to, packet.to_vec()));
    }

    fn rtcp(&mut self, leg: LegId, to: SocketAddr, packet: &[u8]) {
        self.rtcp.push((self.at, leg, to, packet.to_vec()));
        self.wire.push((leg, true, to, packet.to_vec()));
    }

    fn muxed_rtcp(&mut self, leg: LegId, to: SocketAddr, packet: &[u8]) {
        self.rtcp.push((self.at, leg, to, packet.to_vec()));
        self.wire.push((leg, false, to, packet.to_vec()));
    }

    fn event(&mut self, event: Event) {
        self.events.push((self.at, event));
    }

    fn audio_ready(&mut self, port: &Arc<AudioPort>) {
        port.unflag();
        self.ready.push((self.at, port.clone()));
    }

    fn accept_from(&mut self, leg: LegId, remote: Option<SocketAddr>) {
        self.accepted.push((leg, remote));
    }
}

/// What the network does to a packet.
#[derive(Clone, Copy, Default)]
pub(crate) struct Link {
    pub(crate) delay: Duration,
    /// Random on top of the delay, up to this: reorders.
    pub(crate) jitter: Duration,
    pub(crate) loss_percent: f64,
    pub(crate) duplicate_percent: f64,
}

struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// A leg between two engines, and what its sockets keep meanwhile.
struct Travelling {
    until: Mono,
    traveller: Option<Traveller>,
    received: Vec<(Mono, Datagram)>,
}

pub(crate) struct World {
    pub(crate) now: Now,
    /// Between two engines.
    pub(crate) travel: Duration,
    moved: BTreeMap<LegId, u8>,
    travelling: BTreeMap<LegId, Travelling>,
    order: Order<Command>,
    pub(crate) engines: Vec<MediaEngine>,
    pub(crate) out: Outputs,
    pub(crate) link: Link,
    rng: ChaCha12Rng,
    wire: BTreeMap<(Mono, u64), Datagram>,
    serial: u64,
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn leg(engine: u8, number: u8) -> LegId {
    LegId::new(engine, u64::from(number))
}

pub(crate) fn rtp_address(leg: LegId) -> SocketAddr {
    SocketAddr::from(([10, 0, leg.thread(), leg.serial() as u8], 4000))
}

pub(crate) fn rtcp_address(leg: LegId) -> SocketAddr {
    SocketAddr::from((rtp_address(leg).ip(), 4001))
}

pub(crate) fn config(remote: LegId) -> LegConfig {
    LegConfig {
        remote_rtp: Some(rtp_address(remote)),
        remote_rtcp: Some(rtcp_address(remote)),
        send: Some(SendFormat { codec: Codec::Pcmu, payload_type: 0, ptime_ms: 20 }),
        receive: vec![
            ReceiveFormat { codec: Codec::Pcmu, payload_type: 0 },
            ReceiveFormat { codec: Codec::Pcma, payload_type: 8 },
        ],
        dtmf_send: Some(EventFormat::narrow(DTMF)),
        dtmf_receive: vec![EventFormat::narrow(DTMF)],
        may_send: true,
        may_receive: true,
        symmetric: false,
        latch_generation: 0,
        cname: "ringback@10.0.0.1".into(),
        ..LegConfig::default()
    }
}

impl World {
    pub(crate) fn new(engines: u8, seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let engines = (0..engines).map(|n| MediaEngine::new(n, ChaCha12Rng::seed_from_u64(rng.next_u64()))).collect();
        // Not on a whole millisecond: nothing may depend on that.
        let now =
            Now { mono: Mono::from_nanos(7_000_000_123_457), wall: Wall::from_unix_nanos(1_790_000_000_000_000_000) };
        let mut out = Outputs { at: now.mono, ..Outputs::default() };
        out.at = now.mono;
        World {
            now,
            engines,
            out,
            link: Link::default(),
            rng,
            wire: BTreeMap::new(),
            serial: 0,
            travel: Duration::ZERO,
            moved: BTreeMap::new(),
            travelling: BTreeMap::new(),
            order: Order::default(),
        }
    }

    /// Two engines, one leg each, that talk to each other.
    pub(crate) fn call(seed: u64) -> (World, LegId, LegId) {
        let mut world = World::new(2, seed);
        let (a, b) = (leg(0, 1), leg(1, 1));
        world.open(a, config(b));
        world.open(b, config(a));
        (world, a, b)
    }

    pub(crate) fn command(&mut self, command: Command) {
        let lasts = matches!(command, Command::Move { .. });
        if let Some(command) = self.order.pass(command.touches(), lasts, command) {
            self.carry_out(command);
        }
        self.carry();
    }

    fn carry_out(&mut self, command: Command) {
        let leg = command.leg();
        let engine = self.place(leg);
        let Command::Move { to, .. } = command else {
            self.engines[engine].handle_command(self.now, command, &mut self.out);
            return;
        };
        let traveller = self.engines[engine].depart(self.now, leg, &mut self.out);
        self.moved.insert(leg, to);
        let until = self.now.mono + self.travel;
        self.travelling.insert(leg, Travelling { until, traveller, received: Vec::new() });
        self.arrive_at_engines();
    }

    pub(crate) fn move_to(&mut self, leg: LegId, to: u8) {
        self.command(Command::Move { leg, to });
    }

    /// The engine that has a leg, or will have.
    pub(crate) fn place(&self, leg: LegId) -> usize {
        usize::from(self.moved.get(&leg).copied().unwrap_or(leg.thread()))
    }

    /// Lets those arrive whose time it is.
    fn arrive_at_engines(&mut self) {
        let now = self.now.mono;
        let due = |(leg, travelling): (&LegId, &Travelling)| (travelling.until <= now).then_some(*leg);
        while let Some(leg) = self.travelling.iter().find_map(due) {
            let Some(Travelling { traveller, received, .. }) = self.travelling.remove(&leg) else { return };
            let engine = self.place(leg);
            if let Some(traveller) = traveller {
                self.engines[engine].arrive(self.now, traveller, &mut self.out);
            }
            self.order.done(leg);
            while let Some(command) = self.order.poll() {
                self.carry_out(command);
            }
            for (arrival, datagram) in received {
                self.arrive(arrival, datagram);
            }
        }
    }

    pub(crate) fn open(&mut self, leg: LegId, config: LegConfig) {
        self.command(Command::Open { leg, config: Box::new(config) });
    }

    pub(crate) fn configure(&mut self, leg: LegId, config: LegConfig) {
        self.command(Command::Configure { leg, config: Box::new(config) });
    }

    /// A datagram that arrives now.
    pub(crate) fn deliver(&mut self, from: SocketAddr, to: LegId, packet: &[u8]) {
        let datagram = Datagram { from, to: rtp_address(to), bytes: packet.to_vec() };
        self.arrive(self.now.mono, datagram);
        self.carry();
    }

    pub(crate) fn deliver_rtcp(&mut self, from: SocketAddr, to: LegId, packet: &[u8]) {
        let engine = self.place(to);
        self.engines[engine].handle_rtcp(self.now, to, from, packet, &mut self.out);
        self.carry();
    }

    /// Time passes, everything happens when it is due.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now.mono + duration;
        for _ in 0..50_000_000_u64 {
            let arrival = self.wire.first_key_value().map(|((at, _), _)| *at);
            let turn = self.engines.iter().filter_map(MediaEngine::poll_timeout).min();
            let there = self.travelling.values().map(|travelling| travelling.until).min();
            let Some(next) = arrival.into_iter().chain(turn).chain(there).min().filter(|next| *next <= end) else {
                self.advance(end);
                return;
            };
            self.advance(next);
            if there == Some(next) {
                self.arrive_at_engines();
            } else if arrival == Some(next) {
                if let Some((_, datagram)) = self.wire.pop_first() {
                    self.arrive(self.now.mono, datagram);
                }
            } else {
                for engine in &mut self.engines {
                    if engine.poll_timeout().is_some_and(|at| at <= self.now.mono) {
                        engine.handle_timeout(self.now, &mut self.out);
                    }
                }
            }
            self.carry();
        }
        panic!("a livelock");
    }

    /// The media threads get no time, while packets go on arriving at their sockets.
    pub(crate) fn stall(&mut self, duration: Duration) {
        self.advance(self.now.mono + duration);
        while self.wire.first_key_value().is_some_and(|((at, _), _)| *at <= self.now.mono) {
            if let Some((_, datagram)) = self.wire.pop_first() {
                self.arrive(self.now.mono, datagram);
            }
        }
    }

    fn advance(&mut self, to: Mono) {
        self.now = self.now + to.since(self.now.mono);
        self.out.at = self.now.mono;
    }

    /// `arrival`: at the leg's sockets.
    fn arrive(&mut self, arrival: Mono, datagram: Datagram) {
        let std::net::IpAddr::V4(ip) = datagram.to.ip() else { return };
        let [10, 0, thread, number] = ip.octets() else { return };
        let leg = leg(thread, number);
        if let Some(travelling) = self.travelling.get_mut(&leg) {
            travelling.received.push((arrival, datagram));
            return;
        }
        let engine = self.place(leg);
        let Some(engine) = self.engines.get_mut(engine) else { return };
        let Datagram { from, to, mut bytes } = datagram;
        if to.port() == 4000 {
            engine.handle_rtp(self.now, leg, arrival, from, &mut bytes, &mut self.out);
        } else {
            engine.handle_rtcp(self.now, leg, from, &bytes, &mut self.out);
        }
    }

    /// Puts what was sent on the wire.
    fn carry(&mut self) {
        for (leg, rtcp, to, bytes) in std::mem::take(&mut self.out.wire) {
            let from = if rtcp { rtcp_address(leg) } else { rtp_address(leg) };
            let copies = 1 + u32::from(self.chance(self.link.duplicate_percent));
            for _ in 0..copies {
                if self.chance(self.link.loss_percent) {
                    continue;
                }
                let jitter = match self.link.jitter.as_nanos() as u64 {
                    0 => 0,
                    most => self.rng.next_u64() % most,
                };
                let at = self.now.mono + self.link.delay + Duration::from_nanos(jitter);
                self.serial += 1;
                self.wire.insert((at, self.serial), Datagram { from, to, bytes: bytes.clone() });
            }
        }
    }

    fn chance(&mut self, percent: f64) -> bool {
        f64::from(self.rng.next_u32()) < percent / 100.0 * f64::from(u32::MAX)
    }

    // ---- what was seen

    pub(crate) fn sent_by(&self, leg: LegId) -> Vec<Sent> {
        self.out.rtp.iter().filter(|sent| sent.leg == leg).cloned().collect()
    }

    /// Forgets what was seen so far.
    pub(crate) fn forget(&mut self) {
        self.out.rtp.clear();
        self.out.rtcp.clear();
        self.out.events.clear();
        self.out.ready.clear();
        self.out.accepted.clear();
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.out.events.iter().map(|(_, event)| event.clone()).collect()
    }

    pub(crate) fn statistics(&mut self, leg: LegId) -> Statistics {
        self.command(Command::Statistics { leg, token: Token(u64::MAX) });
        match self.out.events.pop() {
            Some((_, Event::Statistics { statistics, .. })) => statistics,
            other => panic!("no statistics but {other:?}"),
        }
    }
}

/// Panics unless the packets have consecutive sequence numbers and timestamps, `units` apart.
pub(crate) fn assert_continuous(sent: &[Sent], units: u32) {
    for pair in sent.windows(2) {
        let (a, b) = (&pair[0].header, &pair[1].header);
        assert_eq!(b.ssrc, a.ssrc);
        assert_eq!(b.sequence, a.sequence.wrapping_add(1), "at {:?}", pair[1].at);
        assert_eq!(b.timestamp, a.timestamp.wrapping_add(units), "at {:?}", pair[1].at);
    }
}

/// A packet of someone who is no leg here.
pub(crate) fn packet(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header { marker: false, payload_type, sequence, timestamp, ssrc };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend(payload);
    bytes
}
