//! Who is connected with whom: accepts, connects, reuses, limits.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use ringback_ua::{ConnectionId, Transport};
use socket2::Socket;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time;

use super::connection::{self, Connection};
use super::lookup::Lookups;
use super::{Limits, News, Outlet, Request};
use crate::log;
use crate::os_thread::{self, Thread};
use crate::queue::Producer;

/// Never used again within a process.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
/// Look-ups block a thread each, in the C library.
const LOOKUP_THREADS: usize = 32;
/// After accepting failed for want of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

pub(super) fn spawn(
    requests: mpsc::UnboundedReceiver<Request>,
    listeners: Vec<(Socket, SocketAddr)>,
    limits: Limits,
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
        runtime.block_on(run(requests, listeners, limits, outlet));
        // A look-up that hangs in the C library keeps its thread, not us.
        runtime.shutdown_background();
    })
}

/// One connection as the hub sees it. When the sender goes, the connection's task closes it at once.
struct Entry {
    remote: SocketAddr,
    send: mpsc::UnboundedSender<Bytes>,
    queued: Arc<AtomicUsize>,
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
    by_remote: HashMap<SocketAddr, ConnectionId, foldhash::quality::RandomState>,
    connecting: HashMap<SocketAddr, Waiting, foldhash::quality::RandomState>,
}

pub(super) struct Hub {
    table: Mutex<Table>,
    pub(super) limits: Limits,
    pub(super) outlet: Outlet,
    listening: Vec<SocketAddr>,
    /// What all connections read into, one at a time.
    pub(super) scratch: Mutex<Box<[u8]>>,
    lookups: Lookups,
}

async fn run(
    mut requests: mpsc::UnboundedReceiver<Request>,
    listeners: Vec<(Socket, SocketAddr)>,
    limits: Limits,
    outlet: Outlet,
) {
    let hub = Arc::new(Hub {
        table: Mutex::new(Table::default()),
        lookups: Lookups::new(limits, outlet.clone()),
        limits,
        outlet,
        listening: listeners.iter().map(|(_, address)| *address).collect(),
        scratch: Mutex::new(vec![0; 64 * 1024].into()),
    });
    for (socket, address) in listeners {
        match TcpListener::from_std(socket.into()) {
            Ok(listener) => drop(tokio::spawn(accept(Arc::clone(&hub), listener))),
            Err(error) => tracing::error!(target: "ringback.net", %address, %error, "cannot listen"),
        }
    }
    while let Some(request) = requests.recv().await {
        match request {
            Request::Send { transport, local, remote, connection, bytes } => {
                hub.send(transport, local, remote, connection, bytes);
            }
            Request::Resolve { id, host, port } => hub.lookups.resolve(id, host, port),
            Request::Leave { within } => {
                let _ = time::timeout(within, hub.written()).await;
                break;
            }
        }
    }
}

async fn accept(hub: Arc<Hub>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => hub.admit(stream, remote),
            Err(error) => {
                // ECONNABORTED and the like concern one connection; EMFILE and ENOMEM pass.
                tracing::warn!(target: "ringback.net", %error, "cannot accept a connection");
                time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

impl Hub {
    fn admit(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr) {
        if self.is_full() {
            // Closed by being dropped.
            tracing::warn!(target: "ringback.net", %remote, "too many connections: one is refused");
            return;
        }
        self.adopt(stream, remote, true, Vec::new());
    }

    fn is_full(&self) -> bool {
        let table = self.table.lock();
        table.connections.len() + table.connecting.len() >= self.limits.connections
    }

    /// Brings a stream to life; `first` are messages that waited for it.
    fn adopt(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr, accepted: bool, first: Vec<Bytes>) {
        let local = match stream.local_addr() {
            Ok(local) => local,
            Err(error) => {
                tracing::debug!(target: "ringback.net", %remote, %error, "a connection was gone at once");
                return;
            }
        };
        // SIP messages are whole when written; waiting for more of them only delays.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(
            &socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10)),
        );
        let id = ConnectionId(CONNECTIONS.fetch_add(1, Ordering::Relaxed));
        let (send, receive) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        for bytes in first {
            queued.fetch_add(bytes.len(), Ordering::Relaxed);
            let _ = send.send(bytes);
        }
        {
            let mut table = self.table.lock();
            table.connections.insert(id, Entry { remote, send, queued: Arc::clone(&queued) });
            table.by_remote.insert(remote, id);
        }
        tracing::debug!(target: "ringback.net", connection = id.0, %remote, accepted, "connected");
        let connection = Connection {
            id,
            transport: Transport::Tcp,
            local: self.shown(local),
            remote,
            accepted,
            stream,
            receive,
            queued,
        };
        let hub = Arc::clone(self);
        tokio::spawn(async move {
            if !accepted {
                let transport = Transport::Tcp;
                hub.outlet.send(News::Connected { transport, remote, connection: id }).await;
            }
            let cause = connection::run(&hub, connection).await;
            tracing::debug!(target: "ringback.net", connection = id.0, %remote, cause, "closed");
            hub.forget(id);
            hub.outlet.send(News::Closed { connection: id }).await;
        });
    }

    /// The address that peers can reach us at: a connection that we made has a port of its own, but what is said of us in messages
    /// is where we listen.
    fn shown(&self, local: SocketAddr) -> SocketAddr {
        let same_ip = |listening: &&SocketAddr| listening.ip() == local.ip();
        let any = |listening: &&SocketAddr| listening.is_ipv4() == local.is_ipv4() && listening.ip().is_unspecified();
        let listening = self.listening.iter().find(same_ip).or_else(|| self.listening.iter().find(any));
        SocketAddr::new(local.ip(), listening.map_or(local.port(), SocketAddr::port))
    }

    fn forget(&self, id: ConnectionId) {
        let mut table = self.table.lock();
        if let Some(entry) = table.connections.remove(&id)
            && table.by_remote.get(&entry.remote) == Some(&id)
        {
            table.by_remote.remove(&entry.remote);
        }
    }

    fn send(
        self: &Arc<Self>,
        transport: Transport,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        connection: Option<ConnectionId>,
        bytes: Bytes,
    ) {
        let mut table = self.table.lock();
        let known = connection.or_else(|| table.by_remote.get(&remote).copied());
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
                // Its task sees the sender go, closes at once and tells.
                tracing::warn!(target: "ringback.net", connection = id.0, %remote, "closed: the peer does not read");
                self.forget(id);
            } else {
                self.tell(News::Closed { connection: id });
            }
            return;
        }
        let full = table.connections.len() + table.connecting.len() >= self.limits.connections;
        if let Some(waiting) = table.connecting.get_mut(&remote) {
            waiting.bytes += bytes.len();
            if waiting.bytes <= self.limits.queued_bytes {
                waiting.messages.push(bytes);
            }
        } else if full {
            drop(table);
            self.tell(News::ConnectFailed { transport, remote, cause: "too many connections".into() });
        } else {
            let waiting = Waiting { bytes: bytes.len(), messages: vec![bytes] };
            table.connecting.insert(remote, waiting);
            drop(table);
            tokio::spawn(Arc::clone(self).connect(transport, local, remote));
        }
    }

    async fn connect(self: Arc<Self>, transport: Transport, local: Option<SocketAddr>, remote: SocketAddr) {
        let outcome = match time::timeout(self.limits.connect, open(local, remote)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let waiting = self.table.lock().connecting.remove(&remote).unwrap_or_default();
        match outcome {
            Ok(stream) => self.adopt(stream, remote, false, waiting.messages),
            Err(error) => {
                tracing::debug!(target: "ringback.net", %remote, %error, "cannot connect");
                self.outlet.send(News::ConnectFailed { transport, remote, cause: error.to_string() }).await;
            }
        }
    }

    /// From where nothing may wait.
    fn tell(&self, news: News) {
        let outlet = self.outlet.clone();
        tokio::spawn(async move { outlet.send(news).await });
    }

    /// Until every connection has written what is queued for it.
    async fn written(&self) {
        while self.table.lock().connections.values().any(|entry| entry.queued.load(Ordering::Relaxed) > 0) {
            time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn open(local: Option<SocketAddr>, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(local) = local.filter(|local| local.is_ipv4() == remote.is_ipv4() && !local.ip().is_unspecified()) {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    socket.connect(remote).await
}
