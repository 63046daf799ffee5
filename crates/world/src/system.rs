//! One system: its two engines and what stands around them in place of sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use ringback_engine::Engine;
use ringback_engine::api::{Config, Event};
use ringback_media::{MediaEngine, Out, Traveller};
use ringback_media_api::{AudioPort, LegId, Order};
use ringback_time::{Mono, Now};
use ringback_ua::{Routes, Transport};

use crate::handler::Handler;
use crate::ports::Ports;
use crate::streams::Streams;
use crate::{Kind, Packet, SIP_PORT};

/// An event, and when it came.
#[derive(Clone, Debug)]
pub struct Logged {
    pub at: Mono,
    pub event: Event,
}

/// Packets of one system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub sip_sent: u64,
    pub sip_received: u64,
    pub rtp_sent: u64,
    pub rtp_received: u64,
    pub rtcp_sent: u64,
    pub rtcp_received: u64,
    /// RTP that a connected socket does not take.
    pub refused: u64,
    /// To a port that nobody has open.
    pub unreachable: u64,
}

/// What exists in one system. All of it is zero once every call has ended and its timers have run out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    pub sessions: u64,
    pub legs: usize,
    pub ports: usize,
    pub signalling: ringback_ua::Live,
}

impl Live {
    pub fn is_nothing(&self) -> bool {
        *self == Live::default()
    }
}

/// A leg between two media threads.
pub(crate) struct Travelling {
    /// `None`: its work has failed.
    pub(crate) traveller: Option<Traveller>,
    /// What its sockets keep meanwhile, and since when.
    pub(crate) received: Vec<(Now, Packet)>,
}

pub(crate) struct System {
    pub(crate) address: IpAddr,
    pub(crate) engine: Engine,
    /// One a media thread.
    pub(crate) media: Vec<MediaEngine>,
    /// Legs that are not on the thread that they were opened on.
    pub(crate) moved: BTreeMap<LegId, u8>,
    /// Commands to media.
    pub(crate) order: Order<ringback_media_api::Command>,
    /// Legs between two threads, and what arrives for them meanwhile.
    pub(crate) travelling: BTreeMap<LegId, Travelling>,
    pub(crate) ports: Ports,
    pub(crate) streams: Streams,
    pub(crate) handler: Option<Box<dyn Handler>>,
    pub(crate) log: Vec<Logged>,
    pub(crate) traffic: Traffic,
    pub(crate) audio_ready: Vec<Arc<AudioPort>>,
}

/// Packets leave by the one address that the system has.
struct OneAddress(IpAddr);

impl Routes for OneAddress {
    fn local_address(&mut self, _transport: Transport, _remote: SocketAddr) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.0, SIP_PORT))
    }
}

impl System {
    pub(crate) fn new(
        address: IpAddr,
        config: Config,
        media_ports: (u16, u16),
        handler: Box<dyn Handler>,
        signalling_rng: ChaCha12Rng,
        media_rngs: Vec<ChaCha12Rng>,
    ) -> Self {
        let threads = u8::try_from(media_rngs.len()).unwrap_or(u8::MAX);
        let ports = Ports::new(address, media_ports, threads);
        let engine = Engine::new(config, Box::new(OneAddress(address)), Box::new(ports.clone()), signalling_rng);
        System {
            address,
            engine,
            media: (0..threads).zip(media_rngs).map(|(number, rng)| MediaEngine::new(number, rng)).collect(),
            moved: BTreeMap::new(),
            order: Order::default(),
            travelling: BTreeMap::new(),
            ports,
            streams: Streams::default(),
            handler: Some(handler),
            log: Vec::new(),
            traffic: Traffic::default(),
            audio_ready: Vec::new(),
        }
    }

    pub(crate) fn sip_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, SIP_PORT)
    }

    pub(crate) fn live(&self) -> Live {
        Live {
            sessions: self.engine.directory().stats().active_sessions,
            legs: self.media.iter().map(MediaEngine::live_legs).sum::<usize>() + self.travelling.len(),
            ports: self.ports.in_use(),
            signalling: self.engine.ua_stats().live,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Mono> {
        let media = self.media.iter().filter_map(MediaEngine::poll_timeout);
        media.chain(self.engine.poll_timeout()).min()
    }

    /// The media thread that a leg is on, or on its way to.
    pub(crate) fn thread_of(&self, leg: LegId) -> u8 {
        self.moved.get(&leg).copied().unwrap_or(leg.thread())
    }
}

/// Collects what the media engine says during one input.
pub(crate) struct Collect<'a> {
    pub(crate) address: IpAddr,
    pub(crate) ports: &'a Ports,
    pub(crate) traffic: &'a mut Traffic,
    pub(crate) audio_ready: &'a mut Vec<Arc<AudioPort>>,
    pub(crate) packets: &'a mut Vec<Packet>,
    pub(crate) events: &'a mut Vec<ringback_media_api::Event>,
}

impl Collect<'_> {
    fn push(&mut self, from: u16, to: SocketAddr, kind: Kind, packet: &[u8]) {
        let from = SocketAddr::new(self.address, from);
        self.packets.push(Packet { from, to, kind, bytes: Bytes::copy_from_slice(packet) });
    }
}

impl Out for Collect<'_> {
    fn rtp(&mut self, leg: LegId, to: SocketAddr, packet: &[u8]) {
        if let Some(port) = self.ports.port_of(leg) {
            self.traffic.rtp_sent += 1;
            self.push(port, to, Kind::Rtp, packet);
        }
    }

    fn rtcp(&mut self, leg: LegId, to: SocketAddr, packet: &[u8]) {
        if let Some(port) = self.ports.port_of(leg) {
            self.traffic.rtcp_sent += 1;
            self.push(port + 1, to, Kind::Rtcp, packet);
        }
    }

    fn muxed_rtcp(&mut self, leg: LegId, to: SocketAddr, packet: &[u8]) {
        if let Some(port) = self.ports.port_of(leg) {
            self.traffic.rtcp_sent += 1;
            self.push(port, to, Kind::Rtcp, packet);
        }
    }

    fn event(&mut self, event: ringback_media_api::Event) {
        self.events.push(event);
    }

    fn audio_ready(&mut self, port: &Arc<AudioPort>) {
        self.audio_ready.push(Arc::clone(port));
    }

    fn accept_from(&mut self, leg: LegId, remote: Option<SocketAddr>) {
        self.ports.accept_from(leg, remote);
    }
}
