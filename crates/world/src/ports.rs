//! Media ports without sockets: a counter and a list of those that are free.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use ringback_media_api::{LegId, MediaPort, MediaPorts};
use ringback_time::Now;

/// The engine holds one end of it, the system that stands around it the other.
#[derive(Clone, Debug)]
pub(crate) struct Ports(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    address: IpAddr,
    /// RTP ports, oldest first.
    free: VecDeque<u16>,
    by_leg: BTreeMap<LegId, Socket>,
    by_port: BTreeMap<u16, LegId>,
    serial: u64,
    /// Media threads.
    threads: u8,
    /// Sockets can be connected; where not, whatever arrives is handed over.
    connects: bool,
}

#[derive(Clone, Copy, Debug)]
struct Socket {
    port: u16,
    /// The socket is connected: the kernel takes packets from nobody else.
    only_from: Option<SocketAddr>,
}

impl Ports {
    pub(crate) fn new(address: IpAddr, (low, high): (u16, u16), threads: u8) -> Self {
        let free = (low..high).filter(|port| port % 2 == 0).collect();
        let table = Table {
            address,
            free,
            by_leg: BTreeMap::new(),
            by_port: BTreeMap::new(),
            serial: 0,
            threads: threads.max(1),
            connects: true,
        };
        Ports(Arc::new(Mutex::new(table)))
    }

    pub(crate) fn in_use(&self) -> usize {
        self.0.lock().by_leg.len()
    }

    /// The leg whose RTP port this is.
    pub(crate) fn leg_at(&self, port: u16) -> Option<LegId> {
        self.0.lock().by_port.get(&port).copied()
    }

    pub(crate) fn port_of(&self, leg: LegId) -> Option<u16> {
        self.0.lock().by_leg.get(&leg).map(|socket| socket.port)
    }

    pub(crate) fn accept_from(&self, leg: LegId, remote: Option<SocketAddr>) {
        if let Some(socket) = self.0.lock().by_leg.get_mut(&leg) {
            socket.only_from = remote;
        }
    }

    /// Whether the leg's RTP socket takes a packet from there.
    pub(crate) fn takes(&self, leg: LegId, from: SocketAddr) -> bool {
        let table = self.0.lock();
        let fits = |socket: &Socket| !table.connects || socket.only_from.is_none_or(|only| only == from);
        table.by_leg.get(&leg).is_some_and(fits)
    }

    pub(crate) fn set_connects(&self, connects: bool) {
        self.0.lock().connects = connects;
    }

    pub(crate) fn free(&self, leg: LegId) {
        let mut table = self.0.lock();
        if let Some(socket) = table.by_leg.remove(&leg) {
            table.by_port.remove(&socket.port);
            table.free.push_back(socket.port);
        }
    }
}

impl MediaPorts for Ports {
    fn allocate(&mut self, _now: Now, _local: IpAddr, _beside: Option<u8>) -> Option<MediaPort> {
        let mut table = self.0.lock();
        let port = table.free.pop_front()?;
        table.serial += 1;
        // One after the other, whoever it is beside, so that they have to move where they are connected.
        let thread = (table.serial % u64::from(table.threads)) as u8;
        let leg = LegId::new(thread, table.serial);
        table.by_leg.insert(leg, Socket { port, only_from: None });
        table.by_port.insert(port, leg);
        Some(MediaPort { leg, thread, rtp: SocketAddr::new(table.address, port) })
    }

    fn release(&mut self, _now: Now, leg: LegId, _told: bool) {
        self.free(leg);
    }
}
