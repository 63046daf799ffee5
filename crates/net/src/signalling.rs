//! The signalling thread: owns the UDP sockets and the engine, and is where everything meets. A turn: sleep until something comes or
//! is due; commands, news of streams, events of media, datagrams, timers; after each of them what the engine wants done.
//!
//! Nothing here waits: datagrams that the kernel has no room for are lost (SIP sends again), streams and look-ups are another thread's
//! business, media commands that find a full ring wait in a list.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_queue::SegQueue;
use parking_lot::Mutex;
use ringback_engine::api::{Command, Event, Record};
use ringback_engine::{Engine, Output};
use ringback_media_api::{self as media_api, LegId, Token};
use ringback_time::{Mono, Now};
use ringback_ua::{Flow, Transmit, Transport};
use socket2::Socket;

use crate::clock;
use crate::inbox::Inbox;
use crate::media::{FromMedia, Links, ToMedia};
use crate::memory::Ebb;
use crate::ports::{Opened, Order, Pair, SharedPool};
use crate::queue::Producer;
use crate::store::Store;
use crate::streams::{News, Request, Streams};
use crate::sys::{self, Batch, Epoll};
use crate::totals::Totals;

const WAKE_KEY: u64 = u64::MAX - 1;
/// Datagrams in one call to the kernel, and calls a socket a turn.
const DATAGRAMS: usize = 64;
const RECEIVES: usize = 4;
/// The largest a UDP datagram can be.
const DATAGRAM_BYTES: usize = 65_535;
/// News of streams, and events of media, a turn.
const NEWS: usize = 256;
const MEDIA_EVENTS: usize = 2048;
/// While a media ring is full, and after a panic.
const PAUSE: Duration = Duration::from_millis(1);
/// Events are handed over in batches, but none waits for more than this many inputs.
const EVENTS_BATCH: usize = 32;

/// How long what the protocol still owes may take when the system ends, the media threads after that, and the streams.
const OWED_MOST: Duration = Duration::from_millis(450);
const MEDIA_MOST: Duration = Duration::from_millis(150);
const STREAMS_MOST: Duration = Duration::from_millis(200);
const STORE_MOST: Duration = Duration::from_millis(100);
/// Sum of the above, and a little.
pub(crate) const LEAVE_MOST: Duration = Duration::from_millis(1000);

pub(crate) struct UdpSocket {
    socket: Socket,
    bound: SocketAddr,
}

impl UdpSocket {
    pub(crate) fn new(socket: Socket, bound: SocketAddr) -> Self {
        UdpSocket { socket, bound }
    }

    fn is_wildcard(&self) -> bool {
        self.bound.ip().is_unspecified()
    }
}

pub(crate) struct Signalling {
    pub(crate) engine: Engine,
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) epoll: Epoll,
    pub(crate) inbox: Arc<Inbox>,
    /// The inbox's number for this thread.
    pub(crate) run: u64,
    pub(crate) producer: Arc<Producer>,
    pub(crate) media: Links,
    pub(crate) from_media: Arc<SegQueue<FromMedia>>,
    pub(crate) pool: SharedPool,
    pub(crate) crosses_nat: bool,
    pub(crate) streams: Streams,
    pub(crate) store: Option<Store>,
    pub(crate) totals: Arc<Mutex<Totals>>,
    /// Bindings that only memory has, when this thread has ended.
    pub(crate) bindings: Arc<Mutex<Vec<Record>>>,
    pub(crate) work: Work,
}

/// Room that is used again each turn.
pub(crate) struct Work {
    batch: Batch,
    commands: Vec<Command>,
    events: Vec<Event>,
    ready: Vec<u64>,
    /// Peers that could not be sent to, for the engine.
    failures: Vec<(Transport, SocketAddr, String)>,
    inputs: usize,
    /// Datagrams that the kernel had no room for.
    unsent: u64,
    ebb: Ebb,
    /// When spare media ports are closed.
    spares_at: Option<Mono>,
    panicked: bool,
}

impl Work {
    pub(crate) fn new() -> Self {
        Work {
            batch: Batch::new(DATAGRAMS, DATAGRAM_BYTES),
            commands: Vec::new(),
            events: Vec::new(),
            ready: Vec::new(),
            failures: Vec::new(),
            inputs: 0,
            unsent: 0,
            ebb: Ebb::default(),
            spares_at: None,
            panicked: false,
        }
    }
}

impl Signalling {
    /// Puts the sockets into the epoll set: what can fail is done before the thread starts.
    pub(crate) fn watch(&self) -> std::io::Result<()> {
        self.epoll.add(self.inbox.waker().as_fd(), WAKE_KEY)?;
        for (index, udp) in self.udp.iter().enumerate() {
            self.epoll.add(udp.socket.as_fd(), index as u64)?;
        }
        Ok(())
    }

    pub(crate) fn work(mut self) {
        while !self.inbox.must_leave(self.run) {
            self.guarded(|this| this.turn(None));
        }
        self.leave();
    }

    /// The engine catches what goes wrong in a call. Whatever is left must not end the thread.
    fn guarded(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            tracing::error!(target: "ringback.net", "the signalling thread caught a panic outside of any call");
            self.work.panicked = true;
        }
    }

    fn turn(&mut self, most: Option<Mono>) {
        self.sleep(most);
        let now = clock::now();
        self.engine.handle_backlog(now, self.producer.queue().backlog(now.mono));
        self.take_commands();
        self.take_media();
        self.take_news();
        self.take_stored();
        self.receive();
        let now = clock::now();
        if self.engine.poll_timeout().is_some_and(|due| due <= now.mono) {
            self.engine.handle_timeout(now);
            self.act(now);
        }
        if self.work.spares_at.is_none_or(|at| at <= now.mono) {
            self.work.spares_at = self.pool.0.lock().close_spares(now.mono);
        }
        if self.work.ebb.is_low(now.mono, self.engine.entries() + self.streams.open()) {
            self.engine.shrink();
            sys::give_back();
        }
        self.hand_over(now);
    }

    /// Until something comes, or is due, or `most`.
    fn sleep(&mut self, most: Option<Mono>) {
        let now = clock::mono();
        let mut crowded = std::mem::take(&mut self.work.panicked);
        crowded |= self.media.flush(now);
        let pause = crowded.then(|| now + PAUSE);
        let held = self.producer.wake(now);
        let due = if crowded { None } else { self.engine.poll_timeout() };
        let until = [due, held, pause, most, self.work.ebb.due(), self.work.spares_at].into_iter().flatten().min();

        let waker = self.inbox.waker();
        waker.prepare();
        let busy = self.inbox.has_some()
            || self.inbox.must_leave(self.run)
            || !self.from_media.is_empty()
            || self.streams.has_news()
            || self.store.as_ref().is_some_and(Store::has_answers);
        let timeout = if busy && !crowded { Some(Duration::ZERO) } else { until.map(|until| until.since(now)) };
        let ready = self.epoll.wait(timeout);
        waker.awake();
        self.work.ready.clear();
        match ready {
            Ok(ready) => {
                for ready in ready {
                    match ready.key {
                        WAKE_KEY => waker.clear(),
                        key => self.work.ready.push(key << 1 | u64::from(ready.error)),
                    }
                }
            }
            Err(error) => {
                tracing::error!(target: "ringback.net", %error, "epoll failed");
                self.work.panicked = true;
            }
        }
    }

    fn take_commands(&mut self) {
        let mut commands = std::mem::take(&mut self.work.commands);
        self.inbox.take(&mut commands);
        for command in commands.drain(..) {
            let now = clock::now();
            self.engine.handle_command(now, command);
            self.act(now);
        }
        if commands.capacity() > 4096 {
            commands.shrink_to(0);
        }
        self.work.commands = commands;
    }

    fn take_media(&mut self) {
        for _ in 0..MEDIA_EVENTS {
            let Some(news) = self.from_media.pop() else { break };
            let now = clock::now();
            match news {
                FromMedia::Event(event) => self.engine.handle_media_event(now, event),
                FromMedia::Closed(event, pair) => {
                    // First the pair: what the engine does next may need it.
                    let heir = self.pool.0.lock().take_back(now.mono, event.leg(), pair);
                    if let Some((leg, pair)) = heir {
                        self.supply(leg, pair);
                    }
                    self.engine.handle_media_event(now, event);
                }
                FromMedia::Returned(leg, pair) => {
                    let heir = self.pool.0.lock().take_back(now.mono, leg, pair);
                    if let Some((leg, pair)) = heir {
                        self.supply(leg, pair);
                    }
                }
                FromMedia::Departed(leg) => self.media.departed(leg),
                FromMedia::Stray(number) => self.pool.0.lock().shut(number),
            }
            self.act(now);
        }
    }

    fn take_news(&mut self) {
        for _ in 0..NEWS {
            let Some(news) = self.streams.next() else { break };
            let now = clock::now();
            let engine = &mut self.engine;
            match news {
                News::Message { flow, bytes } => engine.handle_message(now, flow, bytes),
                News::Connected { transport, remote, domain, connection } => {
                    engine.handle_connected(now, transport, remote, domain.as_deref(), connection);
                }
                News::ConnectFailed { transport, remote, domain, cause } => {
                    engine.handle_connect_failed(now, transport, remote, domain.as_deref(), &cause);
                }
                News::Closed { connection } => engine.handle_closed(now, connection),
                News::Resolved { id, result } => engine.handle_located(now, id, result),
            }
            self.act(now);
        }
    }

    fn take_stored(&mut self) {
        for _ in 0..NEWS {
            let Some((id, result)) = self.store.as_ref().and_then(Store::next) else { break };
            let now = clock::now();
            self.engine.handle_stored(now, id, result);
            self.act(now);
        }
    }

    fn receive(&mut self) {
        let ready = std::mem::take(&mut self.work.ready);
        for key in &ready {
            let index = (key >> 1) as usize;
            if key & 1 == 1 {
                self.take_failures(index);
            }
            for _ in 0..RECEIVES {
                if !self.receive_batch(index) {
                    break;
                }
            }
        }
        self.work.ready = ready;
    }

    /// True when there may be more.
    fn receive_batch(&mut self, index: usize) -> bool {
        let Some(udp) = self.udp.get(index) else { return false };
        let bound = udp.bound;
        let count = match self.work.batch.receive(udp.socket.as_fd()) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => {
                // Mostly an ICMP error that came between; it is in the error queue too.
                tracing::debug!(target: "ringback.net", address = %bound, %error, "receiving failed");
                self.take_failures(index);
                return false;
            }
        };
        for number in 0..count {
            let Some(datagram) = self.work.batch.get(number) else { continue };
            // RFC 5626 §3.5: what keeps a NAT's door open is no message.
            if datagram.bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                continue;
            }
            let local = SocketAddr::new(datagram.to.unwrap_or(bound.ip()), bound.port());
            let flow = Flow { transport: Transport::Udp, local, remote: datagram.from, connection: None };
            let bytes = Bytes::copy_from_slice(datagram.bytes);
            let now = clock::now();
            self.engine.handle_message(now, flow, bytes);
            self.act(now);
        }
        count == self.work.batch.capacity()
    }

    /// Passes on what the port pool wants of media threads.
    fn pass_orders(&mut self) {
        while let Some(order) = { self.pool.0.lock().next_order() } {
            self.media.send(match order {
                Order::Seek(leg, pair) => ToMedia::Seek(leg, pair),
                Order::Release(leg) => ToMedia::Release(leg),
            });
        }
    }

    /// Does what the engine wants done.
    fn act(&mut self, now: Now) {
        if self.crosses_nat {
            self.pass_orders();
        }
        loop {
            while let Some(output) = self.engine.poll_output() {
                match output {
                    Output::Transmit(transmit) => self.transmit(now, transmit),
                    // Where there is no thread, there is no connection either.
                    Output::KeepAlive { connection, every } => {
                        self.streams.request(Request::KeepAlive { connection, every });
                    }
                    Output::Media(command) => self.media(now, command),
                    Output::Event(event) => self.work.events.push(event),
                    Output::Store(request) => match &self.store {
                        Some(store) => store.request(request),
                        None => self.work.events.push(Event::Store(Box::new(request))),
                    },
                    Output::Resolve { id, host, port, service } => {
                        let request = Request::Resolve { id, host: host.clone(), port, service };
                        if !self.streams.request(request) {
                            self.engine.handle_resolved(now, id, Err(format!("{host} cannot be looked up")));
                        }
                    }
                }
            }
            let Some((transport, remote, cause)) = self.work.failures.pop() else { break };
            self.engine.handle_send_failed(now, transport, remote, &cause);
        }
        self.work.inputs += 1;
        if self.work.inputs >= EVENTS_BATCH {
            self.hand_over(now);
        }
    }

    /// Gives events to the program, and wakes it if that is due.
    fn hand_over(&mut self, now: Now) {
        self.work.inputs = 0;
        // First these: who is told of something finds it counted.
        *self.totals.lock() = Totals {
            signalling: self.engine.ua_counters(),
            sessions: self.engine.counters(),
            datagrams_lost: self.work.unsent,
            ..Totals::default()
        };
        if !self.work.events.is_empty() {
            self.producer.events(now.mono, &mut self.work.events);
            // If it is not due, `sleep` gets the time to come back by.
            self.producer.wake(now.mono);
        }
    }

    fn transmit(&mut self, now: Now, transmit: Transmit) {
        let Transmit { transport, local, remote, connection, domain, bytes } = transmit;
        match transport {
            Transport::Udp => self.send(local, remote, &bytes),
            _ => {
                let request = Request::Send { transport, local, remote, connection, domain: domain.clone(), bytes };
                if !self.streams.request(request) {
                    let domain = domain.as_deref();
                    self.engine.handle_connect_failed(now, transport, remote, domain, "no thread for streams");
                }
            }
        }
    }

    fn send(&mut self, local: Option<SocketAddr>, remote: SocketAddr, bytes: &[u8]) {
        let fits = |udp: &UdpSocket| {
            udp.bound.is_ipv4() == remote.is_ipv4()
                && local.is_none_or(|local| {
                    local.port() == udp.bound.port() && (udp.is_wildcard() || local.ip() == udp.bound.ip())
                })
        };
        let same_family = |udp: &UdpSocket| udp.bound.is_ipv4() == remote.is_ipv4();
        let found = self.udp.iter().position(fits).or_else(|| self.udp.iter().position(same_family));
        let Some((index, udp)) = found.and_then(|index| Some((index, self.udp.get(index)?))) else {
            self.work.failures.push((Transport::Udp, remote, "no socket of that address family".into()));
            return;
        };
        // A response leaves from the address that the request was sent to (RFC 3581 §4), whatever the routing table prefers.
        let source: Option<IpAddr> = local
            .map(|local| local.ip())
            .filter(|ip| udp.is_wildcard() && !ip.is_unspecified() && ip.is_ipv4() == remote.is_ipv4());
        let once = |udp: &UdpSocket| match source {
            Some(source) => sys::send_from(udp.socket.as_fd(), bytes, &remote, source),
            None => sys::send_to(udp.socket.as_fd(), bytes, &remote),
        };
        let mut result = once(udp);
        // An error may be that of an earlier datagram to somebody else, which the socket reports to whoever calls next.
        for _ in 0..4 {
            match &result {
                Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock) && error.raw_os_error().is_some() => {
                    self.take_failures(index);
                    let Some(udp) = self.udp.get(index) else { return };
                    result = once(udp);
                }
                _ => break,
            }
        }
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS) => {
                self.work.unsent += 1;
                let unsent = self.work.unsent;
                tracing::warn!(target: "ringback.net", %remote, unsent, "no room to send: a datagram is lost");
            }
            Err(error) => {
                tracing::debug!(target: "ringback.net", %remote, %error, "cannot send");
                self.work.failures.push((Transport::Udp, remote, error.to_string()));
            }
        }
    }

    /// ICMP errors of what was sent.
    fn take_failures(&mut self, index: usize) {
        let Some(udp) = self.udp.get(index) else { return };
        // What is left after so many waits for the next turn.
        for _ in 0..256 {
            let Some(failure) = sys::receive_failure(udp.socket.as_fd()) else { break };
            let error = std::io::Error::from_raw_os_error(failure.errno);
            tracing::debug!(target: "ringback.net", remote = %failure.remote, %error, "came back");
            self.work.failures.push((Transport::Udp, failure.remote, error.to_string()));
        }
    }

    fn media(&mut self, now: Now, command: media_api::Command) {
        let leg = command.leg();
        let opened = match &command {
            // As the media engine will want it: unless the source is to be learned, only the negotiated one is let in.
            media_api::Command::Open { config, .. } => {
                self.pool.0.lock().open(leg, config.remote_rtp.filter(|_| !config.symmetric))
            }
            _ => {
                if matches!(command, media_api::Command::Close { .. }) {
                    self.pool.0.lock().closing(leg);
                }
                return self.media.send(ToMedia::Command(command));
            }
        };
        match opened {
            Opened::There => self.media.send(ToMedia::Command(command)),
            Opened::Pair(pair) => self.media.send(ToMedia::Open(pair, command)),
            Opened::Awaited => self.media.send(ToMedia::OpenLater(command)),
            Opened::Unknown => {
                tracing::error!(target: "ringback.net", ?leg, "media was opened on ports that were not allocated");
                let cause = "no media ports";
                self.engine.handle_media_event(now, media_api::Event::Failed { leg, cause });
            }
        }
    }

    /// Gives a leg that waits for it the pair that another has left.
    fn supply(&mut self, leg: LegId, pair: Pair) {
        if self.media.supply(leg, pair).is_some() {
            tracing::error!(target: "ringback.net", ?leg, "nobody waits for these ports");
        }
    }

    // ---- the end

    /// Ends the threads that were started, where one more could not be.
    pub(crate) fn abandon(mut self) {
        self.media.leave();
        self.media.flush(clock::mono());
        self.media.join_within(MEDIA_MOST);
        self.streams.leave(STREAMS_MOST);
        if let Some(store) = &mut self.store {
            store.leave(STORE_MOST);
        }
    }

    /// Ends every call, gives the protocol a little time for what it owes, then ends the other threads.
    fn leave(mut self) {
        let end = clock::mono() + OWED_MOST;
        self.guarded(|this| {
            let now = clock::now();
            let stop = Command::Stop { token: Token::default(), drain: Duration::ZERO };
            this.engine.handle_command(now, stop);
            this.act(now);
        });
        while clock::mono() < end && self.owes() {
            self.guarded(|this| this.turn(Some(end)));
        }

        // The legs are closed by now, or are closed here; what they have counted is still taken.
        let media_end = clock::mono() + MEDIA_MOST;
        // First whatever is under way: legs to another thread, ports from one leg to the next.
        while (self.media.flush(clock::mono()) || !self.media.is_settled()) && clock::mono() < media_end {
            let _ = self.epoll.wait(Some(PAUSE));
            self.guarded(Self::take_media);
        }
        self.media.leave();
        while self.media.flush(clock::mono()) && clock::mono() < media_end {
            let _ = self.epoll.wait(Some(PAUSE));
        }
        for _ in 0..self.media.join(media_end) {
            tracing::error!(target: "ringback.net", "a media thread did not end in time");
        }
        self.guarded(|this| this.take_media());
        if !self.streams.leave(STREAMS_MOST) {
            tracing::error!(target: "ringback.net", "the thread for streams did not end in time");
        }
        if let Some(store) = &mut self.store
            && !store.leave(STORE_MOST)
        {
            tracing::error!(target: "ringback.net", "the binding store did not end in time");
        }

        *self.bindings.lock() = self.engine.bindings(clock::now());
        self.work.events.extend(self.inbox.close_run(self.run));
        self.hand_over(clock::now());
        self.producer.wake_at_once();
    }

    /// Whether something is still to come of what the protocol asks for: a final response acknowledged, a BYE answered.
    fn owes(&self) -> bool {
        let live = self.engine.ua_stats().live;
        live.calls + live.server_transactions + live.client_transactions > 0
    }
}
