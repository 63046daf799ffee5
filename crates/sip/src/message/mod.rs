//! A parsed message: what came, an index of it, and typed values on demand.
//!
//! [`Message::parse`] checks what concerns lines: the start line, that each header line has a name, and how long the body
//! is. A typed accessor parses its header field each time it is called and takes copies, so that what is kept of a
//! message does not keep the message. [`crate::validate`] checks everything a user agent relies on without copies.

mod parse;
mod typed;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::headers::Headers;
use crate::method::Method;
use crate::name::{HeaderName, Kind};
use crate::status::StatusCode;
use crate::uri::Uri;
use crate::via::Via;

/// The first line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine {
    Request {
        method: Method,
        uri: Uri,
    },
    /// The reason phrase is as it is written; it may be empty.
    Response {
        status: StatusCode,
        reason: Box<str>,
    },
}

/// A message, immutable. Clones share it.
#[derive(Clone)]
pub struct Message {
    inner: Arc<Inner>,
}

struct Inner {
    start: StartLine,
    headers: Headers,
    body: Range<usize>,
}

impl Message {
    /// A datagram, or one message as [`crate::StreamFramer`] cut it out.
    ///
    /// Bytes after the body that Content-Length promises are ignored (RFC 3261 §18.3), and so are line breaks before the
    /// start line. A lone LF counts as a line's end.
    pub fn parse(raw: Bytes) -> Result<Message, crate::ParseError> {
        parse::parse(raw)
    }

    pub fn start(&self) -> &StartLine {
        &self.inner.start
    }

    pub fn is_request(&self) -> bool {
        matches!(self.inner.start, StartLine::Request { .. })
    }

    pub fn is_response(&self) -> bool {
        !self.is_request()
    }

    /// The method of a request; a response's is in its CSeq.
    pub fn method(&self) -> Option<&Method> {
        match &self.inner.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    pub fn request_uri(&self) -> Option<&Uri> {
        match &self.inner.start {
            StartLine::Request { uri, .. } => Some(uri),
            StartLine::Response { .. } => None,
        }
    }

    pub fn status(&self) -> Option<StatusCode> {
        match self.inner.start {
            StartLine::Response { status, .. } => Some(status),
            StartLine::Request { .. } => None,
        }
    }

    /// The reason phrase of a response as it is written.
    pub fn reason(&self) -> Option<&str> {
        match &self.inner.start {
            StartLine::Response { reason, .. } => Some(reason),
            StartLine::Request { .. } => None,
        }
    }

    pub fn headers(&self) -> &Headers {
        &self.inner.headers
    }

    /// The body, as long as Content-Length says, or to the end where there is none. Shares the message's bytes.
    pub fn body(&self) -> Bytes {
        if self.inner.body.end > self.raw().len() { Bytes::new() } else { self.raw().slice(self.inner.body.clone()) }
    }

    /// What came, every byte of it.
    pub fn raw(&self) -> &Bytes {
        &self.inner.headers.raw
    }

    /// The topmost Via, or as much of it as can be read where [`Message::top_via`] fails: to answer a malformed request.
    pub fn reply_via(&self) -> Option<Via> {
        let value = self.headers().values(&HeaderName::Via).next()?;
        Via::parse(value).ok().or_else(|| Via::salvage(value))
    }

    /// Whether an error response can be given: to a request but ACK (RFC 3261 §17.1.1.3) whose way back is known.
    pub(crate) fn is_answerable(&self) -> bool {
        self.method().is_some_and(|method| *method != Method::Ack) && self.reply_via().is_some()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.start() {
            StartLine::Request { method, uri } => write!(f, "Message({method} {uri}")?,
            StartLine::Response { status, reason } => write!(f, "Message({status} {reason}")?,
        }
        write!(f, ", Call-ID {:?}, {} bytes)", self.call_id().unwrap_or(""), self.raw().len())
    }
}

/// The whole text, for a log: credentials are not shown, nor is what cannot be printed.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.start() {
            StartLine::Request { method, uri } => writeln!(f, "{method} {uri} SIP/2.0")?,
            StartLine::Response { status, reason } => writeln!(f, "SIP/2.0 {status} {reason}")?,
        }
        let headers = self.headers();
        for ((name, _, value), line) in headers.iter().zip(&headers.lines) {
            let secret = matches!(line.kind, Kind::Authorization | Kind::ProxyAuthorization | Kind::AuthenticationInfo);
            writeln!(f, "{name}: {}", if secret { "<hidden>" } else { value })?;
        }
        let body = self.body();
        if body.is_empty() {
            return Ok(());
        }
        match std::str::from_utf8(&body) {
            Ok(text) => write!(f, "\n{}", text.trim_end()),
            Err(_) => write!(f, "\n<{} bytes>", body.len()),
        }
    }
}
