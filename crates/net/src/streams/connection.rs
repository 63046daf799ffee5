//! One connection: reads, cuts into messages, hands over, writes what is queued, and ends when the peer breaks the rules of time and
//! size. One task does it all, so that each side waits for the other only where it must: a peer that does not read is still read from
//! (until its queue is too long), and while the signalling thread is behind nothing more is read, but what is queued is written.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ringback_sip::{Frame, FrameErrorKind, StreamFramer};
use ringback_ua::{ConnectionId, Flow, Transport};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::counters::Overdue;
use super::hub::Hub;
use super::keep_alive::KeepAlive;
use super::wire::{Input, Wire};
use super::{Limits, News, alias, refusal};

pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) transport: Transport,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) accepted: bool,
    pub(super) wire: Wire,
    pub(super) receive: mpsc::UnboundedReceiver<Bytes>,
    /// Bytes sent to `receive` that the peer has not taken yet.
    pub(super) queued: Arc<AtomicUsize>,
    /// Milliseconds in which the peer wants to hear something; 0: it has not said so.
    pub(super) flow_timer: Arc<AtomicU64>,
}

/// A line break that is no whole keep-alive yet may wait between messages.
const BETWEEN: usize = 2;
const PONG: &[u8] = b"\r\n";
/// Answers to keep-alives that may wait: a peer that pings faster than it reads gets no more.
const PONGS_MOST: usize = 16;
/// Frames taken from a WebSocket while it does not take ours: each may be a ping, whose answer would wait.
const FRAMES_MOST: usize = 16;

struct State {
    framer: StreamFramer,
    /// For the signalling thread.
    messages: VecDeque<Bytes>,
    /// For the peer.
    out: VecDeque<Bytes>,
    /// Handed to the wire, which may still hold some of it.
    unflushed: bool,
    /// WebSocket frames that came while `unflushed`.
    frames: usize,
    /// `Wire::received` when the last whole message had come.
    whole: u64,
    /// A message of the peer is incomplete since.
    partial: Option<Instant>,
    /// Bytes have been queued, and none taken, since.
    stalled: Option<Instant>,
    opened: Instant,
    /// The last message, either way, or keep-alive of the peer.
    used: Instant,
    keep_alive: KeepAlive,
    heard: bool,
    /// Of an accepted connection whose peer has shown a certificate: RFC 5923.
    domains: Vec<String>,
    /// The last name that it may be reached by, so that one that repeats itself costs nothing.
    alias: Option<(String, u16)>,
    /// Close once `out` is written: what came cannot be read any further.
    last_words: bool,
}

/// Runs until it is over, and says why.
pub(super) async fn run(hub: &Hub, mut connection: Connection) -> &'static str {
    let limits = hub.limits;
    let now = Instant::now();
    let sizes = ringback_sip::Limits { message: limits.message_bytes, ..ringback_sip::Limits::default() };
    let mut state = State {
        framer: StreamFramer::new(sizes),
        messages: VecDeque::new(),
        out: VecDeque::new(),
        unflushed: false,
        frames: 0,
        whole: connection.wire.received(),
        partial: None,
        stalled: None,
        opened: now,
        used: now,
        keep_alive: KeepAlive::new(now, !connection.accepted, connection.wire.is_framed()),
        heard: !connection.accepted,
        domains: if connection.accepted { connection.wire.domains() } else { Vec::new() },
        alias: None,
        last_words: false,
    };
    let cause = state.turns(hub, &mut connection, &limits).await;
    poll_fn(|cx| {
        connection.wire.close(cx);
        Poll::Ready(())
    })
    .await;
    // Whole messages that came before the end still count.
    let flow = connection.flow();
    for bytes in state.messages {
        hub.outlet.send(News::Message { flow, bytes }).await;
    }
    cause
}

impl Connection {
    fn flow(&self) -> Flow {
        Flow { transport: self.transport, local: self.local, remote: self.remote, connection: Some(self.id) }
    }
}

impl State {
    async fn turns(&mut self, hub: &Hub, connection: &mut Connection, limits: &Limits) -> &'static str {
        let flow = connection.flow();
        let Connection { wire, receive, queued, flow_timer, .. } = connection;
        loop {
            let deadline = self.deadline(limits);
            let busy = !self.messages.is_empty();
            tokio::select! {
                biased;
                more = receive.recv() => match more {
                    Some(bytes) if bytes.is_empty() => {
                        let every = Duration::from_millis(flow_timer.load(Ordering::Relaxed));
                        self.keep_alive.set_flow_timer(every);
                    }
                    Some(bytes) => {
                        self.used = Instant::now();
                        self.put(bytes);
                    }
                    // Too much was queued, or the system ends.
                    None => return "the peer does not read, or nobody needs it any more",
                },
                moved = poll_fn(|cx| self.poll_wire(cx, wire, hub, queued, flow)) => {
                    if let Err(cause) = moved {
                        return reason(&cause);
                    }
                    if self.last_words && !self.is_writing() {
                        return "the peer's bytes cannot be read as SIP";
                    }
                }
                slot = hub.outlet.news.reserve(), if busy => {
                    match (slot, self.messages.pop_front()) {
                        (Ok(slot), Some(bytes)) => {
                            slot.send(News::Message { flow, bytes });
                            hub.outlet.signalling.wake();
                        }
                        // The system ends: what is queued is written still.
                        _ => self.messages.clear(),
                    }
                }
                () = sleep_until(deadline) => {
                    let now = Instant::now();
                    if let Some(why) = self.overdue(now, limits) {
                        hub.counters.overdue(why);
                        return why.as_str();
                    }
                    if self.keep_alive.is_due(now, limits) {
                        self.ping(now, wire, queued);
                    }
                }
            }
        }
    }

    fn put(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.stalled.get_or_insert_with(Instant::now);
        self.out.push_back(bytes);
    }

    /// What we say without being told to by the signalling thread.
    fn answer(&mut self, queued: &AtomicUsize, bytes: Bytes) {
        queued.fetch_add(bytes.len(), Ordering::Relaxed);
        self.put(bytes);
    }

    fn ping(&mut self, now: Instant, wire: &mut Wire, queued: &AtomicUsize) {
        if wire.ping() {
            self.unflushed = true;
            self.stalled.get_or_insert(now);
        } else {
            // RFC 5626 §4.4.1.
            self.framer.ping_sent();
            self.answer(queued, Bytes::from_static(b"\r\n\r\n"));
        }
        self.keep_alive.sent(now);
    }

    fn is_writing(&self) -> bool {
        !self.out.is_empty() || self.unflushed
    }

    /// Writes and reads what can be; ready when something was.
    fn poll_wire(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
        hub: &Hub,
        queued: &AtomicUsize,
        flow: Flow,
    ) -> Poll<io::Result<()>> {
        let mut moved = false;
        while self.is_writing() {
            match wire.poll_write(cx, &mut self.out)? {
                Poll::Ready(0) => {
                    (self.unflushed, self.stalled, self.frames) = (false, None, 0);
                    moved = true;
                }
                Poll::Ready(count) => {
                    queued.fetch_sub(count, Ordering::Relaxed);
                    (self.unflushed, self.stalled) = (true, Some(Instant::now()));
                    moved = true;
                }
                Poll::Pending => break,
            }
        }
        let flooded = wire.is_framed() && self.unflushed && self.frames >= FRAMES_MOST;
        if self.messages.is_empty() && !self.last_words && !flooded {
            let mut scratch = hub.scratch.lock();
            match wire.poll_read(cx, &mut scratch)? {
                Poll::Ready(Input::Bytes(count)) => {
                    self.framer.push(scratch.get(..count).unwrap_or_default());
                    drop(scratch);
                    self.cut(hub, queued, flow)?;
                    moved = true;
                }
                Poll::Ready(input) => {
                    self.frame(input, wire.received(), queued);
                    moved = true;
                }
                Poll::Pending if wire.is_framed() && wire.received() > self.whole && self.partial.is_none() => {
                    // So that its deadline counts.
                    self.partial = Some(Instant::now());
                    moved = true;
                }
                Poll::Pending => {}
            }
        }
        if moved { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// RFC 3261 §18.3: messages by their length.
    fn cut(&mut self, hub: &Hub, queued: &AtomicUsize, flow: Flow) -> io::Result<()> {
        let now = Instant::now();
        let mut complete = false;
        while let Some(frame) = self.framer.next() {
            complete = true;
            match frame {
                Ok(Frame::Message(bytes)) => {
                    self.learn_alias(hub, flow, &bytes);
                    self.message(now, bytes);
                }
                Ok(Frame::KeepAlivePing) => self.pinged(now, queued),
                Ok(Frame::KeepAlivePong) => self.keep_alive.answered(now),
                Err(error) => {
                    tracing::warn!(target: "ringback.sip", remote = %flow.remote, %error, "a stream cannot be read any further");
                    // RFC 3261 §18.3: a request without a usable Content-Length is answered 400 before the end.
                    let answer = (error.kind != FrameErrorKind::NotSip).then(|| refusal::write(&error.error)).flatten();
                    let Some(answer) = answer else { return Err(io::ErrorKind::InvalidData.into()) };
                    self.answer(queued, answer);
                    self.last_words = true;
                }
            }
        }
        self.heard |= complete;
        self.partial = match self.framer.buffered() > BETWEEN {
            true if complete => Some(now),
            true => self.partial.or(Some(now)),
            false => None,
        };
        Ok(())
    }

    /// RFC 7118 §5: a message a WebSocket message.
    fn frame(&mut self, input: Input, received: u64, queued: &AtomicUsize) {
        let now = Instant::now();
        (self.whole, self.partial, self.heard) = (received, None, true);
        self.frames += 1;
        match input {
            Input::Message(bytes) if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => match bytes.len() {
                // RFC 7118 §6: the keep-alive of RFC 5626 §4.4.1, each in a message.
                4.. => self.pinged(now, queued),
                _ => self.keep_alive.answered(now),
            },
            Input::Message(bytes) => self.message(now, bytes),
            Input::Ping => self.used = now,
            Input::Pong => self.keep_alive.answered(now),
            Input::Bytes(_) => {}
        }
        // The answer to a ping waits in the wire.
        self.unflushed = true;
        self.stalled.get_or_insert(now);
    }

    /// RFC 5923 §8: a peer that is whom its Via says may be sent requests by its own connection. (Only with a certificate: over TCP anyone
    /// could have what is somebody else's.)
    fn learn_alias(&mut self, hub: &Hub, flow: Flow, bytes: &Bytes) {
        if self.domains.is_empty() {
            return;
        }
        let Some((host, port)) = alias::of(bytes) else { return };
        let known = self.alias.as_ref().is_some_and(|(known, at)| *known == host && *at == port);
        if !known && self.domains.iter().any(|domain| domain.eq_ignore_ascii_case(&host)) {
            hub.add_alias(flow, &host, port);
            self.alias = Some((host, port));
        }
    }

    fn message(&mut self, now: Instant, bytes: Bytes) {
        self.used = now;
        self.keep_alive.heard(now);
        self.messages.push_back(bytes);
    }

    /// RFC 5626 §4.4.1.
    fn pinged(&mut self, now: Instant, queued: &AtomicUsize) {
        self.used = now;
        if self.out.len() < PONGS_MOST {
            self.answer(queued, Bytes::from_static(PONG));
        }
    }

    fn deadline(&self, limits: &Limits) -> Instant {
        // Never while something is being written: `stalled` has its own.
        let idle = if self.is_writing() { Instant::now() } else { self.keep_alive.last_use(self.used) };
        let mut deadline = idle + limits.idle;
        if !self.heard {
            deadline = deadline.min(self.opened + limits.partial);
        }
        if let Some(since) = self.partial.filter(|_| self.messages.is_empty()) {
            deadline = deadline.min(since + limits.partial);
        }
        if let Some(since) = self.stalled {
            deadline = deadline.min(since + limits.stalled);
        }
        if let Some(due) = self.keep_alive.deadline(limits) {
            deadline = deadline.min(due);
        }
        deadline
    }

    fn overdue(&self, now: Instant, limits: &Limits) -> Option<Overdue> {
        if self.stalled.is_some_and(|since| now >= since + limits.stalled) {
            Some(Overdue::Stalled)
        } else if self.partial.is_some_and(|since| now >= since + limits.partial) && self.messages.is_empty() {
            Some(Overdue::Partial)
        } else if !self.heard && now >= self.opened + limits.partial {
            Some(Overdue::Silent)
        } else if self.keep_alive.is_overdue(now, limits) {
            Some(Overdue::KeepAlive)
        } else if now >= self.keep_alive.last_use(self.used) + limits.idle && !self.is_writing() {
            Some(Overdue::Idle)
        } else {
            None
        }
    }
}

fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "closed by the peer",
        io::ErrorKind::ConnectionReset => "reset by the peer",
        io::ErrorKind::InvalidData => "the peer's bytes cannot be read as SIP",
        io::ErrorKind::TimedOut => "the peer does not answer",
        _ => "failed",
    }
}
