//! Cuts messages out of a byte stream (RFC 3261 §18.3), and finds the keep-alives between them (RFC 5626 §3.5.1).
//!
//! Bytes go in by [`StreamFramer::push`], frames come out of [`StreamFramer::next`] until it has none. The head is searched
//! for its end only in bytes that are new, and the body is only counted, so the cost is linear in the bytes however they
//! are cut. What is buffered is bounded by [`Limits`]; each message comes in a buffer of its own, so that keeping it does
//! not keep its neighbours.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::{ErrorKind, ParseError};
use crate::grammar;
use crate::message::Message;
use crate::name::Kind;
use crate::status::StatusCode;

/// How much of a peer's message is buffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of start line and header fields.
    pub head: usize,
    /// Bytes of a whole message.
    pub message: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { head: 32 * 1024, message: 256 * 1024 }
    }
}

/// What a stream holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One message from its start line to the end of its body; goes to [`Message::parse`].
    Message(Bytes),
    /// The peer's CRLF CRLF: answer with CRLF.
    KeepAlivePing,
    /// A lone CRLF: the answer to ours.
    KeepAlivePong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameErrorKind {
    /// The first line is no SIP start line.
    NotSip,
    /// RFC 3261 §18.3: a stream's message has a Content-Length.
    MissingContentLength,
    /// It is no number, or there are different ones.
    BadContentLength,
    /// The head or the message is longer than the limits allow.
    TooLarge,
}

/// The stream cannot be read any further. Answer with what `error` says where it has a message, then close the connection.
#[derive(Clone, Debug)]
pub struct FrameError {
    pub kind: FrameErrorKind,
    pub error: ParseError,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for FrameError {}

enum State {
    /// Between messages.
    Idle,
    /// Within a head: the line that is not complete begins at `line`, and was searched up to `searched`.
    Head { line: usize, searched: usize },
    /// The head is known, and with it the length of the whole message.
    Body { total: usize },
    /// After an error: nothing more comes.
    Dead,
}

/// Cuts messages out of a stream. Push what was read, then call [`StreamFramer::next`] until it has nothing.
///
/// The cost is linear in the bytes however they are cut, and what is buffered is bounded by [`Limits`].
pub struct StreamFramer {
    buffer: BytesMut,
    state: State,
    limits: Limits,
    /// Pings of ours that were not answered.
    pings: u32,
}

impl Default for StreamFramer {
    fn default() -> StreamFramer {
        StreamFramer::new(Limits::default())
    }
}

impl StreamFramer {
    pub fn new(limits: Limits) -> StreamFramer {
        StreamFramer { buffer: BytesMut::new(), state: State::Idle, limits, pings: 0 }
    }

    /// Takes what was read. Call [`StreamFramer::next`] until it has nothing before the next push.
    pub fn push(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Dead) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Says that a CRLF CRLF was sent: the next lone CRLF is its answer, without waiting for what follows it.
    pub fn ping_sent(&mut self) {
        self.pings = self.pings.saturating_add(1);
    }

    /// Bytes that are waiting for the rest of their message.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next frame, or `None` until more bytes come. After an error always `None`.
    #[allow(clippy::should_implement_trait)] // Not an iterator: `None` is not the end.
    pub fn next(&mut self) -> Option<Result<Frame, FrameError>> {
        loop {
            match self.state {
                State::Idle => match self.between()? {
                    Some(frame) => return Some(Ok(frame)),
                    None => self.state = State::Head { line: 0, searched: 0 },
                },
                State::Head { line, searched } => match self.head(line, searched) {
                    Ok(Some(total)) => self.state = State::Body { total },
                    Ok(None) => return None,
                    Err(error) => return Some(Err(self.die(error))),
                },
                State::Body { total } => {
                    let message = Bytes::copy_from_slice(self.buffer.get(..total)?);
                    self.buffer.advance(total);
                    self.state = State::Idle;
                    return Some(Ok(Frame::Message(message)));
                }
                State::Dead => return None,
            }
        }
    }

    fn die(&mut self, error: FrameError) -> FrameError {
        self.state = State::Dead;
        self.buffer = BytesMut::new();
        error
    }

    /// Keep-alives and stray line breaks (RFC 3261 §7.5). `None`: more bytes are needed; `Some(None)`: a message begins.
    fn between(&mut self) -> Option<Option<Frame>> {
        let bytes: &[u8] = &self.buffer;
        match bytes {
            [] | [b'\r'] => None,
            [b'\r', b'\n', ..] if self.pings > 0 => {
                self.pings -= 1;
                self.buffer.advance(2);
                Some(Some(Frame::KeepAlivePong))
            }
            [b'\r', b'\n', b'\r', b'\n', ..] => {
                self.buffer.advance(4);
                Some(Some(Frame::KeepAlivePing))
            }
            // One line break may be the first half of a ping.
            [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => None,
            [b'\r', b'\n', ..] => {
                self.buffer.advance(2);
                Some(Some(Frame::KeepAlivePong))
            }
            [b'\r' | b'\n', ..] => {
                self.buffer.advance(1);
                self.between()
            }
            _ => Some(None),
        }
    }

    /// Searches on for the empty line that ends the head. The same lines as in [`Message::parse`]: LF ends one, CR LF too.
    fn head(&mut self, mut line: usize, mut searched: usize) -> Result<Option<usize>, FrameError> {
        while let Some(found) = self.buffer.get(searched..).and_then(|new| memchr::memchr(b'\n', new)) {
            let feed = searched + found;
            let text = self.buffer.get(line..feed).unwrap_or_default();
            let empty = matches!(text, [] | [b'\r']);
            if line == 0 && !looks_like_start(text) {
                return Err(self.fail(FrameErrorKind::NotSip, "Not a SIP Message", 0));
            }
            (line, searched) = (feed + 1, feed + 1);
            if searched > self.limits.head {
                break;
            }
            if empty {
                return self.total(searched).map(Some);
            }
        }
        if searched.max(self.buffer.len()) > self.limits.head {
            return Err(self.fail(FrameErrorKind::TooLarge, "Message Too Large", line));
        }
        self.state = State::Head { line, searched: self.buffer.len() };
        Ok(None)
    }

    /// The length of the message whose head has `head` bytes.
    fn total(&mut self, head: usize) -> Result<usize, FrameError> {
        match length(self.buffer.get(..head).unwrap_or_default()) {
            Ok(Some(body)) => match head.checked_add(body).filter(|total| *total <= self.limits.message) {
                Some(total) => Ok(total),
                None => Err(self.fail(FrameErrorKind::TooLarge, "Message Too Large", head)),
            },
            Ok(None) => Err(self.fail(FrameErrorKind::MissingContentLength, "Missing Content-Length", head)),
            Err(()) => Err(self.fail(FrameErrorKind::BadContentLength, "Malformed Content-Length", head)),
        }
    }

    /// An error about the message of which `head` bytes are whole lines.
    fn fail(&self, kind: FrameErrorKind, reason: &'static str, head: usize) -> FrameError {
        let (error_kind, status) = match kind {
            FrameErrorKind::TooLarge => (ErrorKind::TooLarge, StatusCode::MESSAGE_TOO_LARGE),
            FrameErrorKind::NotSip => (ErrorKind::StartLine, StatusCode::BAD_REQUEST),
            _ => (ErrorKind::ContentLength, StatusCode::BAD_REQUEST),
        };
        let mut error = ParseError::new(error_kind, reason).with_status(status);
        // Whatever else is wrong with the message: this is what it is refused for.
        let head = Bytes::copy_from_slice(self.buffer.get(..head).unwrap_or_default());
        error = match Message::parse(head) {
            Ok(message) => error.about(message),
            Err(ParseError { partial: Some(message), .. }) => error.about(*message),
            Err(_) => error,
        };
        FrameError { kind, error }
    }
}

/// Early notice of a peer that talks something else: a start line has `SIP/` in it.
fn looks_like_start(line: &[u8]) -> bool {
    line.windows(4).any(|window| window.eq_ignore_ascii_case(b"SIP/"))
}

/// The Content-Length of a whole head: `Ok(None)` where it has none.
fn length(head: &[u8]) -> Result<Option<usize>, ()> {
    let mut length = None;
    let mut lines = head.split(|&b| b == b'\n').skip(1).peekable();
    while let Some(line) = lines.next() {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = line.split_at(colon);
        if matches!(name.first(), None | Some(b' ' | b'\t')) || Kind::find(name.trim_ascii_end()) != Kind::ContentLength
        {
            continue;
        }
        // A fold may put the number on the next line.
        let mut value = value.get(1..).unwrap_or_default().trim_ascii();
        while let Some(more) = lines.next_if(|line| matches!(line.first(), Some(b' ' | b'\t'))) {
            match (value.is_empty(), more.trim_ascii()) {
                (_, b"") => {}
                (true, more) => value = more,
                (false, _) => return Err(()),
            }
        }
        let value = grammar::decimal(value, u32::MAX.into()).ok_or(())? as usize;
        if length.is_some_and(|length| length != value) {
            return Err(());
        }
        length = Some(value);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte of a head is searched once, however the stream is cut: the cost is linear.
    #[test]
    fn nothing_is_searched_twice() {
        let head = format!("OPTIONS sip:a@b SIP/2.0\r\nX: {}\r\nl: 3\r\n\r\n", "y".repeat(1000));
        let mut framer = StreamFramer::default();
        for &byte in head.as_bytes().iter().take(head.len() - 1) {
            framer.push(&[byte]);
            assert!(framer.next().is_none());
            assert!(matches!(framer.state, State::Head { searched, .. } if searched == framer.buffer.len()));
        }
        framer.push(b"\nab");
        assert!(framer.next().is_none());
        assert!(matches!(framer.state, State::Body { total } if total == head.len() + 3));
        framer.push(b"c\r\n");
        assert!(matches!(framer.next(), Some(Ok(Frame::Message(bytes))) if bytes.len() == head.len() + 3));
        assert_eq!(framer.buffered(), 2);
    }
}
