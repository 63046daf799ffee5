//! Connections and name look-ups, on a thread of their own with a tokio runtime: what is slow there delays nothing else. It is
//! started when a stream transport is listened on, or when something is to be connected to or looked up for the first time.
//!
//! Requests go in by an unbounded channel that the hub empties at once; what a peer may make grow behind it is bounded: bytes queued a
//! connection, connections, look-ups. News come back by a bounded channel: while it is full, streams are not read.
//!
//! * `hub`: who is connected with whom; accepts, connects, reuses.
//! * `seats`: how many connections there may be.
//! * `handshake`, `wire`: TLS and WebSocket, between a TCP connection and messages.
//! * `connection`, `keep_alive`: the life of one connection.
//! * `lookup`, `locate`: from names to addresses (RFC 3263).

mod alias;
mod connection;
mod counters;
mod handshake;
mod hub;
mod keep_alive;
mod locate;
mod lookup;
mod refusal;
mod seats;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringback_ua::{ConnectionId, Flow, Place, ResolveId, Service, Transport};
use tokio::sync::mpsc;

pub use counters::ConnectionCounters;

pub(crate) use counters::Counters;

use crate::listen::Listener;
use crate::os_thread::Thread;
use crate::queue::{EventQueue, Producer};
use crate::wake::Waker;

/// Messages and other news that wait for the signalling thread.
const NEWS: usize = 512;

/// For the streams' thread.
#[derive(Debug)]
pub(crate) enum Request {
    Send {
        transport: Transport,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        /// `None`: whichever there is, or a new one.
        connection: Option<ConnectionId>,
        /// Whose certificate it has to be.
        domain: Option<Arc<str>>,
        bytes: Bytes,
    },
    /// RFC 5626 §4.4.1: how often the peer wants to hear something.
    KeepAlive {
        connection: ConnectionId,
        every: Duration,
    },
    Resolve {
        id: ResolveId,
        host: String,
        port: u16,
        service: Service,
    },
    /// Write what is queued, not longer than `within`, then end.
    Leave {
        within: Duration,
    },
}

/// For the signalling thread.
#[derive(Debug)]
pub(crate) enum News {
    Message { flow: Flow, bytes: Bytes },
    Connected { transport: Transport, remote: SocketAddr, domain: Option<Arc<str>>, connection: ConnectionId },
    ConnectFailed { transport: Transport, remote: SocketAddr, domain: Option<Arc<str>>, cause: String },
    Closed { connection: ConnectionId },
    Resolved { id: ResolveId, result: Result<Vec<Place>, String> },
}

/// Sends news and wakes the reader.
#[derive(Clone, Debug)]
struct Outlet {
    news: mpsc::Sender<News>,
    signalling: Arc<Waker>,
}

impl Outlet {
    async fn send(&self, news: News) {
        // It fails only when the signalling thread is gone: then nobody wants it.
        if self.news.send(news).await.is_ok() {
            self.signalling.wake();
        }
    }
}

/// Times and sizes. Tests make them small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    /// Accepted ones of one address (of IPv6, of one /64).
    pub(crate) connections_per_source: Option<usize>,
    pub(crate) message_bytes: usize,
    /// Bytes queued for a peer that does not read.
    pub(crate) queued_bytes: usize,
    /// TLS and WebSocket handshakes included.
    pub(crate) connect: Duration,
    /// Of those, for an accepted connection.
    pub(crate) handshake: Duration,
    /// Silence after which the peer is asked whether it is there, and the time it has to answer.
    pub(crate) ping: Duration,
    pub(crate) pong: Duration,
    /// From the first byte of a message to its last; also from a connection's beginning to its first message.
    pub(crate) partial: Duration,
    /// Without one byte taken by the peer while some are queued.
    pub(crate) stalled: Duration,
    pub(crate) idle: Duration,
    pub(crate) lookup: Duration,
    pub(crate) lookups: usize,
    pub(crate) lookups_waiting: usize,
}

impl Limits {
    pub(crate) fn new(connections: usize, message_bytes: usize) -> Self {
        Limits {
            connections,
            connections_per_source: None,
            message_bytes,
            queued_bytes: 1 << 20,
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            // RFC 5626 §4.4.1: 95 to 120 s, and 10 s.
            ping: Duration::from_secs(100),
            pong: Duration::from_secs(10),
            // With a handshake before it, 30 s.
            partial: Duration::from_secs(20),
            stalled: Duration::from_secs(20),
            idle: Duration::from_secs(600),
            lookup: Duration::from_secs(5),
            lookups: 64,
            lookups_waiting: 4096,
        }
    }
}

/// What look-ups need to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naming {
    /// Asked instead of the system's name servers.
    pub(crate) nameserver: Option<SocketAddr>,
    /// The transports that a server may be reached by.
    pub(crate) transports: Vec<Transport>,
}

/// What the streams' thread is made of.
struct Parts {
    listeners: Vec<Listener>,
    limits: Limits,
    naming: Naming,
    counters: Arc<Counters>,
}

/// The signalling thread's side.
#[derive(Debug)]
pub(crate) struct Streams {
    requests: Option<mpsc::UnboundedSender<Request>>,
    thread: Option<Thread>,
    news: mpsc::Receiver<News>,
    outlet: Outlet,
    listeners: Vec<Listener>,
    limits: Limits,
    naming: Naming,
    queue: Arc<EventQueue>,
    counters: Arc<Counters>,
}

impl Streams {
    pub(crate) fn new(
        listeners: Vec<Listener>,
        limits: Limits,
        naming: Naming,
        signalling: Arc<Waker>,
        queue: Arc<EventQueue>,
        counters: Arc<Counters>,
    ) -> Self {
        let (sender, news) = mpsc::channel(NEWS);
        let outlet = Outlet { news: sender, signalling };
        Streams { requests: None, thread: None, news, outlet, listeners, limits, naming, queue, counters }
    }

    /// Starts the thread if something is listened on.
    pub(crate) fn listen(&mut self) -> io::Result<()> {
        if self.listeners.is_empty() { Ok(()) } else { self.start() }
    }

    fn start(&mut self) -> io::Result<()> {
        if self.requests.is_some() {
            return Ok(());
        }
        let (requests, receiver) = mpsc::unbounded_channel();
        let producer = Producer::new(Arc::clone(&self.queue));
        let listeners = std::mem::take(&mut self.listeners);
        let counters = Arc::clone(&self.counters);
        let parts = Parts { listeners, limits: self.limits, naming: self.naming.clone(), counters };
        self.thread = Some(hub::spawn(receiver, parts, self.outlet.clone(), producer)?);
        self.requests = Some(requests);
        Ok(())
    }

    /// False: the thread cannot be started, or is gone.
    pub(crate) fn request(&mut self, request: Request) -> bool {
        if let Err(error) = self.start() {
            tracing::error!(target: "ringback.net", %error, "cannot start the thread for streams");
            return false;
        }
        self.requests.as_ref().is_some_and(|requests| requests.send(request).is_ok())
    }

    pub(crate) fn next(&mut self) -> Option<News> {
        self.news.try_recv().ok()
    }

    /// Connections that there are.
    pub(crate) fn open(&self) -> usize {
        self.counters.open()
    }

    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Ends the thread. False when it did not end in time; it is left to itself then.
    pub(crate) fn leave(&mut self, within: Duration) -> bool {
        if let Some(requests) = self.requests.take() {
            let _ = requests.send(Request::Leave { within: within / 2 });
        }
        // Nobody reads news any more; a task that waits to send one must not wait on.
        self.news.close();
        self.thread.take().is_none_or(|thread| thread.join(within))
    }
}

#[cfg(test)]
mod secure_tests;
#[cfg(test)]
mod tests;
