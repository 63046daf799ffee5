//! One connection: reads, cuts into messages, hands over, writes what is queued, and ends when the peer breaks the rules of time and
//! size. One task does it all, so that each side waits for the other only where it must: a peer that does not read is still read from
//! (until its queue is too long), and while the signalling thread is behind nothing more is read, but what is queued is written.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf as _, Bytes};
use ringback_sip::{Frame, FrameErrorKind, StreamFramer};
use ringback_ua::{ConnectionId, Flow, Transport};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::hub::Hub;
use super::{Limits, News, refusal};

pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) transport: Transport,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) accepted: bool,
    pub(super) stream: TcpStream,
    pub(super) receive: mpsc::UnboundedReceiver<Bytes>,
    /// Bytes sent to `receive` that the peer has not taken yet.
    pub(super) queued: Arc<AtomicUsize>,
}

/// A line break that is no whole keep-alive yet may wait between messages.
const BETWEEN: usize = 2;
const PONG: &[u8] = b"\r\n";

struct State {
    framer: StreamFramer,
    /// For the signalling thread.
    messages: VecDeque<Bytes>,
    /// For the peer.
    out: VecDeque<Bytes>,
    /// A message of the peer is incomplete since.
    partial: Option<Instant>,
    /// Bytes have been queued, and none taken, since.
    stalled: Option<Instant>,
    opened: Instant,
    used: Instant,
    heard: bool,
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
        partial: None,
        stalled: None,
        opened: now,
        used: now,
        heard: !connection.accepted,
        last_words: false,
    };
    let cause = state.turns(hub, &mut connection, &limits).await;
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
        loop {
            let deadline = self.deadline(limits);
            tokio::select! {
                biased;
                more = connection.receive.recv() => match more {
                    Some(bytes) => self.put(bytes),
                    None => return "the peer does not read",
                },
                written = connection.stream.writable(), if !self.out.is_empty() => {
                    if let Err(cause) = written.and_then(|()| self.write(&connection.stream, &connection.queued)) {
                        return reason(&cause);
                    }
                    if self.last_words && self.out.is_empty() {
                        return "the peer's bytes cannot be read as SIP";
                    }
                }
                slot = hub.outlet.news.reserve(), if !self.messages.is_empty() => {
                    match (slot, self.messages.pop_front()) {
                        (Ok(slot), Some(bytes)) => {
                            slot.send(News::Message { flow, bytes });
                            hub.outlet.signalling.wake();
                        }
                        // The system ends: what is queued is written still.
                        _ => self.messages.clear(),
                    }
                }
                readable = connection.stream.readable(), if self.messages.is_empty() && !self.last_words => {
                    if let Err(cause) = readable.and_then(|()| self.read(hub, connection)) {
                        return reason(&cause);
                    }
                }
                () = sleep_until(deadline) => {
                    if let Some(cause) = self.overdue(Instant::now(), limits) {
                        return cause;
                    }
                }
            }
        }
    }

    fn put(&mut self, bytes: Bytes) {
        self.stalled.get_or_insert_with(Instant::now);
        self.out.push_back(bytes);
    }

    /// What we say without being told to by the signalling thread.
    fn answer(&mut self, connection: &Connection, bytes: Bytes) {
        connection.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        self.put(bytes);
    }

    fn write(&mut self, stream: &TcpStream, queued: &AtomicUsize) -> io::Result<()> {
        while let Some(bytes) = self.out.front_mut() {
            let count = match stream.try_write(bytes) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            (self.used, self.stalled) = (now, Some(now));
            bytes.advance(count);
            queued.fetch_sub(count, Ordering::Relaxed);
            if bytes.is_empty() {
                self.out.pop_front();
            }
        }
        self.stalled = None;
        Ok(())
    }

    fn read(&mut self, hub: &Hub, connection: &Connection) -> io::Result<()> {
        let mut scratch = hub.scratch.lock();
        let count = match connection.stream.try_read(&mut scratch) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        self.used = now;
        self.framer.push(scratch.get(..count).unwrap_or_default());
        drop(scratch);
        let mut complete = false;
        while let Some(frame) = self.framer.next() {
            complete = true;
            match frame {
                Ok(Frame::Message(bytes)) => self.messages.push_back(bytes),
                // RFC 5626 §4.4.1. One answer waiting is answer enough for a peer that pings faster than it reads.
                Ok(Frame::KeepAlivePing) if self.out.len() < 16 => self.answer(connection, Bytes::from_static(PONG)),
                Ok(_) => {}
                Err(error) => {
                    let remote = connection.remote;
                    tracing::warn!(target: "ringback.sip", %remote, %error, "a stream cannot be read any further");
                    // RFC 3261 §18.3: a request without a usable Content-Length is answered 400 before the end.
                    let answer = (error.kind != FrameErrorKind::NotSip).then(|| refusal::write(&error.error)).flatten();
                    let Some(answer) = answer else { return Err(io::ErrorKind::InvalidData.into()) };
                    self.answer(connection, answer);
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

    fn deadline(&self, limits: &Limits) -> Instant {
        // Never while something is being written: `stalled` has its own.
        let mut deadline = if self.out.is_empty() { self.used + limits.idle } else { Instant::now() + limits.idle };
        if !self.heard {
            deadline = deadline.min(self.opened + limits.partial);
        }
        if let Some(since) = self.partial.filter(|_| self.messages.is_empty()) {
            deadline = deadline.min(since + limits.partial);
        }
        if let Some(since) = self.stalled {
            deadline = deadline.min(since + limits.stalled);
        }
        deadline
    }

    fn overdue(&self, now: Instant, limits: &Limits) -> Option<&'static str> {
        if self.stalled.is_some_and(|since| now >= since + limits.stalled) {
            Some("the peer does not read")
        } else if self.partial.is_some_and(|since| now >= since + limits.partial) && self.messages.is_empty() {
            Some("a message was not completed in time")
        } else if !self.heard && now >= self.opened + limits.partial {
            Some("no message came")
        } else if now >= self.used + limits.idle && self.out.is_empty() {
            Some("idle")
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
