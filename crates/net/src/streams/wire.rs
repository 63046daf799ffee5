//! What a connection's bytes go through: nothing, TLS, or WebSocket frames over either (RFC 7118).

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures_core::Stream as _;
use futures_sink::Sink as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tokio_websockets::{Message, WebSocketStream};

/// A stream of bytes. Counts what comes, and takes no more than it is allowed: a WebSocket handshake is not bounded otherwise.
pub(super) struct Line {
    kind: Kind,
    pub(super) received: u64,
    pub(super) allowance: Option<u64>,
}

enum Kind {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<TcpStream> for Line {
    fn from(stream: TcpStream) -> Line {
        Line { kind: Kind::Plain(stream), received: 0, allowance: None }
    }
}

impl<T: Into<TlsStream<TcpStream>>> From<Box<T>> for Line {
    fn from(stream: Box<T>) -> Line {
        Line { kind: Kind::Tls(Box::new((*stream).into())), received: 0, allowance: None }
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(match &mut this.kind {
            Kind::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Kind::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        })?;
        this.received += (buffer.filled().len() - before) as u64;
        Poll::Ready(match this.allowance {
            Some(most) if this.received > most => Err(io::ErrorKind::InvalidData.into()),
            _ => Ok(()),
        })
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().kind {
            Kind::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Kind::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Kind::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Kind::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

pub(super) enum Wire {
    Bytes(Line),
    Frames(Box<WebSocketStream<Line>>),
}

/// What the peer sent.
pub(super) enum Input {
    /// So many bytes, in the room that was given.
    Bytes(usize),
    /// RFC 7118 §5: one SIP message, or a keep-alive of RFC 5626.
    Message(Bytes),
    /// A frame that carries nothing.
    Ping,
    Pong,
}

impl Line {
    /// The domains of the certificate that the peer has shown, and that was verified; none without TLS.
    fn domains(&self) -> Vec<String> {
        match &self.kind {
            Kind::Plain(_) => Vec::new(),
            Kind::Tls(stream) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                shown.map(crate::tls::domains).unwrap_or_default()
            }
        }
    }
}

impl Wire {
    /// The domains that the peer has shown to be of.
    pub(super) fn domains(&self) -> Vec<String> {
        match self {
            Wire::Bytes(line) => line.domains(),
            Wire::Frames(_) => Vec::new(),
        }
    }

    /// Hands over the front of `out`; `Ok(0)`: what was handed over before is on its way, all of it. `Pending`: the peer does not read.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut VecDeque<Bytes>) -> Poll<io::Result<usize>> {
        match self {
            Wire::Bytes(line) => {
                let Some(bytes) = out.front_mut() else {
                    return Pin::new(line).poll_flush(cx).map_ok(|()| 0);
                };
                let count = ready!(Pin::new(line).poll_write(cx, bytes))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                bytes.advance(count);
                if bytes.is_empty() {
                    out.pop_front();
                }
                Poll::Ready(Ok(count))
            }
            Wire::Frames(socket) => {
                let mut socket = Pin::new(&mut **socket);
                if out.is_empty() {
                    return socket.poll_flush(cx).map_ok(|()| 0).map_err(io_error);
                }
                ready!(socket.as_mut().poll_ready(cx)).map_err(io_error)?;
                let Some(bytes) = out.pop_front() else { return Poll::Ready(Ok(0)) };
                let count = bytes.len();
                // RFC 7118 §4.2: a text frame where it is text.
                let frame = match std::str::from_utf8(&bytes) {
                    Ok(_) => Message::text(bytes),
                    Err(_) => Message::binary(bytes),
                };
                socket.start_send(frame).map_err(io_error)?;
                Poll::Ready(Ok(count))
            }
        }
    }

    /// A frame that the peer has to answer: RFC 6455 §5.5.2. `false`: bytes have none.
    pub(super) fn ping(&mut self) -> bool {
        match self {
            Wire::Bytes(_) => false,
            Wire::Frames(socket) => Pin::new(&mut **socket).start_send(Message::ping(Bytes::new())).is_ok(),
        }
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<Input>> {
        match self {
            Wire::Bytes(line) => {
                let mut buffer = ReadBuf::new(room);
                ready!(Pin::new(line).poll_read(cx, &mut buffer))?;
                match buffer.filled().len() {
                    0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    count => Poll::Ready(Ok(Input::Bytes(count))),
                }
            }
            Wire::Frames(socket) => {
                let message = match ready!(Pin::new(&mut **socket).poll_next(cx)) {
                    Some(message) => message.map_err(io_error)?,
                    None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                };
                Poll::Ready(Ok(if message.is_ping() {
                    Input::Ping
                } else if message.is_pong() {
                    Input::Pong
                } else if message.is_close() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                } else {
                    Input::Message(message.into_payload().into())
                }))
            }
        }
    }

    pub(super) fn is_framed(&self) -> bool {
        matches!(self, Wire::Frames(_))
    }

    /// All bytes that ever came.
    pub(super) fn received(&self) -> u64 {
        match self {
            Wire::Bytes(line) => line.received,
            Wire::Frames(socket) => socket.get_ref().received,
        }
    }

    /// Says good-bye (a Close frame, TLS's `close_notify`), as far as that goes without waiting.
    pub(super) fn close(&mut self, cx: &mut Context<'_>) {
        match self {
            Wire::Bytes(line) => drop(Pin::new(line).poll_shutdown(cx)),
            Wire::Frames(socket) => drop(Pin::new(&mut **socket).poll_close(cx)),
        }
    }
}

fn io_error(error: tokio_websockets::Error) -> io::Error {
    match error {
        tokio_websockets::Error::Io(error) => error,
        tokio_websockets::Error::AlreadyClosed => io::ErrorKind::UnexpectedEof.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}
