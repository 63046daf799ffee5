//! Who is connected with whom: accepts, connects, reuses, limits.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use ringback_ua::{ConnectionId, Flow, Transport};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time;

use super::connection::{self, Connection};
use super::counters::{Counters, Overdue, count};
use super::handshake;
use super::locate::{Locator, Question};
use super::lookup::Lookups;
use super::seats::{Seat, Seats};
use super::wire::Wire;
use super::{Limits, News, Outlet, Parts, Request};
use crate::listen::Listener;
use crate::log;
use crate::os_thread::{self, Thread};
use crate::queue::Producer;
use crate::tls::Tls;

/// Never used again within a process.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
/// Look-ups block a thread each, in the C library.
const LOOKUP_THREADS: usize = 32;
/// Of the tables, when most connections have gone.
const ROOM_KEPT: usize = 1024;
/// Names that one connection is found by.
const PEERS_MOST: usize = 8;
/// After accepting failed for want of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

pub(super) fn spawn(
    requests: mpsc::UnboundedReceiver<Request>,
    parts: Parts,
    outlet: Outlet,
    producer: Producer,
) -> io::Result<Thread> {
    let producer = Arc::new(producer);
    let parking = Arc::clone(&producer);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(LOOKUP_THREADS)
        .thread_name("rb-lookup")
        // It has log records to tell of, and no deadline of its own to come back by.
        .on_thread_park(move || parking.wake_at_once())
        .build()?;
    os_thread::spawn("rb-streams".into(), move || {
        let _log = tracing::dispatcher::set_default(&log::dispatcher(&producer));
        runtime.block_on(run(requests, parts, outlet));
        // A look-up that hangs in the C library keeps its thread, not us.
        runtime.shutdown_background();
    })
}

/// Whom a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Peer {
    transport: Transport,
    remote: SocketAddr,
    /// The name that its certificate was checked for; `None`: whoever is there.
    domain: Option<Arc<str>>,
}

/// One connection as the hub sees it. When the sender goes, the connection's task closes it at once.
struct Entry {
    /// Its keys in `Table::by_peer`, if no later connection has taken them.
    peers: Vec<Peer>,
    send: mpsc::UnboundedSender<Bytes>,
    queued: Arc<AtomicUsize>,
    /// Milliseconds that `Request::KeepAlive` named; 0: none.
    flow_timer: Arc<AtomicU64>,
}

/// Messages that wait for a connection to be made.
#[derive(Default)]
struct Waiting {
    messages: Vec<Bytes>,
    bytes: usize,
}

#[derive(Default)]
struct Table {
    connections: HashMap<ConnectionId, Entry, foldhash::fast::RandomState>,
    by_peer: HashMap<Peer, ConnectionId, foldhash::quality::RandomState>,
    connecting: HashMap<Peer, Waiting, foldhash::quality::RandomState>,
}

struct Listening {
    transport: Transport,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
}

pub(super) struct Hub {
    table: Mutex<Table>,
    seats: Seats,
    pub(super) counters: Arc<Counters>,
    pub(super) limits: Limits,
    pub(super) outlet: Outlet,
    listening: Vec<Listening>,
    /// What all connections read into, one at a time.
    pub(super) scratch: Mutex<Box<[u8]>>,
    lookups: Lookups,
}

async fn run(mut requests: mpsc::UnboundedReceiver<Request>, parts: Parts, outlet: Outlet) {
    let Parts { listeners, limits, naming, counters } = parts;
    let listening = |listener: &Listener| Listening {
        transport: listener.transport,
        address: listener.address,
        tls: listener.tls.clone(),
    };
    let hub = Arc::new(Hub {
        table: Mutex::new(Table::default()),
        seats: Seats::new(&limits),
        counters,
        lookups: Lookups::new(limits, Locator::new(naming), outlet.clone()),
        limits,
        outlet,
        listening: listeners.iter().map(listening).collect(),
        scratch: Mutex::new(vec![0; 64 * 1024].into()),
    });
    for (index, Listener { socket, address, .. }) in listeners.into_iter().enumerate() {
        match TcpListener::from_std(socket.into()) {
            Ok(listener) => drop(tokio::spawn(accept(Arc::clone(&hub), listener, index))),
            Err(error) => tracing::error!(target: "ringback.net", %address, %error, "cannot listen"),
        }
    }
    while let Some(request) = requests.recv().await {
        match request {
            Request::Send { transport, local, remote, connection, domain, bytes } => {
                // Over TCP nothing tells one name from another.
                let domain = domain.filter(|_| transport.is_secure() || transport.is_websocket());
                hub.send(Peer { transport, remote, domain }, local, connection, bytes);
            }
            Request::KeepAlive { connection, every } => hub.keep_alive(connection, every),
            Request::Resolve { id, host, port, service } => hub.lookups.resolve(id, Question { host, port, service }),
            Request::Leave { within } => {
                let _ = time::timeout(within, hub.end()).await;
                break;
            }
        }
    }
}

/// `index`: of what is listened on.
async fn accept(hub: Arc<Hub>, listener: TcpListener, index: usize) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => hub.admit(stream, remote, index),
            Err(error) => {
                // ECONNABORTED and the like concern one connection; EMFILE and ENOMEM pass.
                tracing::warn!(target: "ringback.net", %error, "cannot accept a connection");
                time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

impl Hub {
    fn admit(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr, index: usize) {
        let Some(Listening { transport, tls, .. }) = self.listening.get(index) else { return };
        let seat = match self.seats.take(Some(remote.ip())) {
            Ok(seat) => seat,
            Err(cause) => {
                // Closed by being dropped.
                count(&self.counters.refused);
                tracing::warn!(target: "ringback.net", %remote, cause, "a connection is refused");
                return;
            }
        };
        let Some(local) = prepare(&stream, remote) else { return };
        let peer = Peer { transport: *transport, remote, domain: None };
        if peer.transport == Transport::Tcp {
            return self.adopt(Wire::Bytes(stream.into()), local, peer, seat, true, Vec::new());
        }
        let (hub, tls) = (Arc::clone(self), tls.clone());
        tokio::spawn(async move {
            let shaken = handshake::accept(stream, peer.transport, tls.as_deref(), hub.limits.message_bytes);
            let shaken = time::timeout(hub.limits.handshake, shaken).await;
            match shaken.unwrap_or_else(|_| Err("it was not completed in time".into())) {
                Ok(wire) => hub.adopt(wire, local, peer, seat, true, Vec::new()),
                Err(cause) => {
                    count(&hub.counters.handshakes);
                    tracing::warn!(target: "ringback.net", %remote, transport = %peer.transport, cause, "a handshake failed");
                }
            }
        });
    }

    /// Brings a connection to life; `first` are messages that waited for it.
    fn adopt(
        self: &Arc<Self>,
        wire: Wire,
        local: SocketAddr,
        peer: Peer,
        seat: Seat,
        accepted: bool,
        first: Vec<Bytes>,
    ) {
        let (transport, remote, domain) = (peer.transport, peer.remote, peer.domain.clone());
        let id = ConnectionId(CONNECTIONS.fetch_add(1, Ordering::Relaxed));
        let (send, receive) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let flow_timer = Arc::new(AtomicU64::new(0));
        for bytes in first {
            queued.fetch_add(bytes.len(), Ordering::Relaxed);
            let _ = send.send(bytes);
        }
        // RFC 5923 §5: what goes to the very address may use it as well, whatever name led there: a peer's Contact is often an address
        // that no certificate names.
        let anyone = Peer { domain: None, ..peer.clone() };
        let peers = if peer.domain.is_some() { vec![peer, anyone] } else { vec![peer] };
        {
            let mut table = self.table.lock();
            for peer in &peers {
                table.by_peer.insert(peer.clone(), id);
            }
            let entry = Entry { peers, send, queued: Arc::clone(&queued), flow_timer: Arc::clone(&flow_timer) };
            table.connections.insert(id, entry);
        }
        tracing::debug!(target: "ringback.net", connection = id.0, %transport, %remote, accepted, "connected");
        let local = self.shown(transport, local);
        count(if accepted { &self.counters.accepted } else { &self.counters.made });
        self.counters.open.fetch_add(1, Ordering::Relaxed);
        let connection = Connection { id, transport, local, remote, accepted, wire, receive, queued, flow_timer };
        let hub = Arc::clone(self);
        tokio::spawn(async move {
            if !accepted {
                hub.outlet.send(News::Connected { transport, remote, domain, connection: id }).await;
            }
            let cause = connection::run(&hub, connection).await;
            tracing::debug!(target: "ringback.net", connection = id.0, %remote, cause, "closed");
            hub.forget(id);
            drop(seat);
            hub.counters.open.fetch_sub(1, Ordering::Relaxed);
            hub.outlet.send(News::Closed { connection: id }).await;
        });
    }

    /// The address that peers can reach us at: a connection that we made has a port of its own, but what is said of us in messages
    /// is where we listen.
    fn shown(&self, transport: Transport, local: SocketAddr) -> SocketAddr {
        let mut port = None;
        for listening in self.listening.iter().filter(|listening| listening.transport == transport) {
            let address = listening.address;
            if address.ip() == local.ip() {
                return SocketAddr::new(local.ip(), address.port());
            }
            if address.is_ipv4() == local.is_ipv4() && address.ip().is_unspecified() {
                port.get_or_insert(address.port());
            }
        }
        SocketAddr::new(local.ip(), port.unwrap_or(local.port()))
    }

    /// The settings to connect with.
    fn tls(&self, transport: Transport, remote: SocketAddr) -> Option<Arc<Tls>> {
        let mut fitting = self.listening.iter().filter(|listening| listening.transport == transport);
        let first = fitting.clone().next();
        let same_family = fitting.find(|listening| listening.address.is_ipv4() == remote.is_ipv4());
        same_family.or(first).and_then(|listening| listening.tls.clone())
    }

    /// From now on `host` and `port` are reached by this connection, unless there is one already.
    pub(super) fn add_alias(&self, flow: Flow, host: &str, port: u16) {
        let Some(id) = flow.connection else { return };
        let remote = SocketAddr::new(flow.remote.ip(), port);
        let mut table = self.table.lock();
        for domain in [Some(Arc::from(host)), None] {
            let peer = Peer { transport: flow.transport, remote, domain };
            if table.by_peer.contains_key(&peer) {
                continue;
            }
            // A peer may go on naming other ports: the first few are enough.
            let Some(entry) = table.connections.get_mut(&id).filter(|entry| entry.peers.len() < PEERS_MOST) else {
                return;
            };
            entry.peers.push(peer.clone());
            table.by_peer.insert(peer, id);
        }
    }

    fn keep_alive(&self, id: ConnectionId, every: Duration) {
        let table = self.table.lock();
        let Some(entry) = table.connections.get(&id) else { return };
        let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
        if entry.flow_timer.swap(every, Ordering::Relaxed) != every {
            // Nothing to write: its task looks at its deadlines anew.
            let _ = entry.send.send(Bytes::new());
        }
    }

    fn forget(&self, id: ConnectionId) {
        let mut table = self.table.lock();
        let Some(entry) = table.connections.remove(&id) else { return };
        for peer in entry.peers {
            if table.by_peer.get(&peer) == Some(&id) {
                table.by_peer.remove(&peer);
            }
        }
        if table.connections.capacity() > ROOM_KEPT.max(8 * table.connections.len()) {
            table.connections.shrink_to(ROOM_KEPT);
            table.by_peer.shrink_to(ROOM_KEPT);
        }
    }

    fn send(self: &Arc<Self>, peer: Peer, local: Option<SocketAddr>, connection: Option<ConnectionId>, bytes: Bytes) {
        let (transport, remote) = (peer.transport, peer.remote);
        let mut table = self.table.lock();
        let known = connection.or_else(|| table.by_peer.get(&peer).copied());
        if let Some(id) = known {
            let slow = match table.connections.get(&id) {
                Some(entry) => {
                    let queued = entry.queued.fetch_add(bytes.len(), Ordering::Relaxed);
                    if queued <= self.limits.queued_bytes && entry.send.send(bytes).is_ok() {
                        return;
                    }
                    true
                }
                None => false,
            };
            drop(table);
            if slow {
                self.counters.overdue(Overdue::Stalled);
                // Its task sees the sender go, closes at once and tells.
                tracing::warn!(target: "ringback.net", connection = id.0, %remote, "closed: the peer does not read");
                self.forget(id);
            } else {
                self.tell(News::Closed { connection: id });
            }
            return;
        }
        if let Some(waiting) = table.connecting.get_mut(&peer) {
            waiting.bytes += bytes.len();
            if waiting.bytes <= self.limits.queued_bytes {
                waiting.messages.push(bytes);
            }
            return;
        }
        match self.seats.take(None) {
            Ok(seat) => {
                let waiting = Waiting { bytes: bytes.len(), messages: vec![bytes] };
                table.connecting.insert(peer.clone(), waiting);
                drop(table);
                tokio::spawn(Arc::clone(self).connect(peer, local, seat));
            }
            Err(cause) => {
                drop(table);
                count(&self.counters.failed);
                self.tell(News::ConnectFailed { transport, remote, domain: peer.domain, cause: cause.into() });
            }
        }
    }

    async fn connect(self: Arc<Self>, peer: Peer, local: Option<SocketAddr>, seat: Seat) {
        let (transport, remote) = (peer.transport, peer.remote);
        let outcome = time::timeout(self.limits.connect, self.open(&peer, local)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let waiting = self.table.lock().connecting.remove(&peer).unwrap_or_default();
        match outcome {
            Ok((wire, local)) => self.adopt(wire, local, peer, seat, false, waiting.messages),
            Err(error) => {
                drop(seat);
                count(&self.counters.failed);
                tracing::debug!(target: "ringback.net", %transport, %remote, %error, "cannot connect");
                let (domain, cause) = (peer.domain, error.to_string());
                self.outlet.send(News::ConnectFailed { transport, remote, domain, cause }).await;
            }
        }
    }

    async fn open(&self, peer: &Peer, local: Option<SocketAddr>) -> io::Result<(Wire, SocketAddr)> {
        let Peer { transport, remote, domain } = peer;
        let stream = open(local, *remote).await?;
        let local = prepare(&stream, *remote).ok_or(io::ErrorKind::NotConnected)?;
        let tls = self.tls(*transport, *remote);
        let bytes = self.limits.message_bytes;
        let wire = handshake::connect(stream, *transport, *remote, domain.as_deref(), tls.as_deref(), bytes).await?;
        Ok((wire, local))
    }

    /// From where nothing may wait.
    fn tell(&self, news: News) {
        let outlet = self.outlet.clone();
        tokio::spawn(async move { outlet.send(news).await });
    }

    /// Writes what is queued, and takes leave of every peer.
    async fn end(&self) {
        self.written().await;
        // Their tasks see the senders go.
        self.table.lock().connections.clear();
        while self.seats.are_taken() {
            time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Until every connection has written what is queued for it.
    async fn written(&self) {
        while self.table.lock().connections.values().any(|entry| entry.queued.load(Ordering::Relaxed) > 0) {
            time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Our own address; `None`: it was gone at once.
fn prepare(stream: &TcpStream, remote: SocketAddr) -> Option<SocketAddr> {
    let local = match stream.local_addr() {
        Ok(local) => local,
        Err(error) => {
            tracing::debug!(target: "ringback.net", %remote, %error, "a connection was gone at once");
            return None;
        }
    };
    // SIP messages are whole when written; waiting for more of them only delays.
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(
        &socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10)),
    );
    Some(local)
}

async fn open(local: Option<SocketAddr>, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(local) = local.filter(|local| local.is_ipv4() == remote.is_ipv4() && !local.ip().is_unspecified()) {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    socket.connect(remote).await
}
