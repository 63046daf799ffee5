//! Writes messages. A [`Builder`] appends to one buffer; what has a line break or NUL in it is refused, never written, so
//! that no value, wherever it comes from, can smuggle a header field or a second message in.

use std::fmt::{Display, Write};

use bytes::{BufMut, Bytes, BytesMut};

use crate::grammar;
use crate::message::Message;
use crate::method::Method;
use crate::name::{HeaderName, Kind};
use crate::status::StatusCode;
use crate::uri::Uri;

/// Whether a header field of this name and value can be written: the name is a token, and the value has no CR, LF or NUL.
pub fn is_valid_header_text(name: &str, value: &str) -> bool {
    grammar::is_token(name.as_bytes()) && is_clean(value.as_bytes())
}

fn is_clean(value: &[u8]) -> bool {
    memchr::memchr3(b'\r', b'\n', 0, value).is_none()
}

/// No line break, and NUL only where RFC 3261 §25.1 has it: as a quoted pair within quotes (RFC 4475 §3.1.1.2 does that).
fn is_clean_typed(value: &[u8]) -> bool {
    if memchr::memchr2(b'\r', b'\n', value).is_some() {
        return false;
    }
    let mut rest = value;
    while let Some(at) = memchr::memchr2(0, b'"', rest) {
        if rest.get(at) == Some(&0) {
            return false;
        }
        let Some(quoted) = rest.get(at..) else { return false };
        let Some(len) = grammar::quoted_len(quoted) else { return memchr::memchr(0, quoted).is_none() };
        if !grammar::is_quoted_text(quoted.get(1..len - 1).unwrap_or_default()) {
            return memchr::memchr(0, value).is_none();
        }
        rest = quoted.get(len..).unwrap_or_default();
    }
    true
}

/// A header field, start line or body type that was refused because it would not be one line of SIP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not valid in a SIP message")]
pub struct BuildError(pub String);

/// A message in the making.
///
/// ```
/// use ringback_sip::{Builder, HeaderName, Method, Uri};
/// let uri = Uri::parse("sip:bob@biloxi.example").unwrap();
/// let bytes = Builder::request(&Method::Options, &uri)
///     .header(&HeaderName::MaxForwards, 70)
///     .raw_header("X-Note", "as you like")
///     .finish();
/// assert!(bytes.ends_with(b"X-Note: as you like\r\nContent-Length: 0\r\n\r\n"));
/// ```
#[derive(Debug)]
pub struct Builder {
    out: BytesMut,
    body: Bytes,
    /// The start line was refused: there is nothing to send.
    void: bool,
    error: Option<BuildError>,
}

impl Builder {
    fn new() -> Builder {
        Builder { out: BytesMut::with_capacity(1024), body: Bytes::new(), void: false, error: None }
    }

    pub fn request(method: &Method, uri: &Uri) -> Builder {
        let mut builder = Builder::new();
        let (name, uri) = (method.as_str(), uri.as_str());
        // A `Uri` that parsed has no such bytes; the one of a refused message may.
        if grammar::is_token(name.as_bytes()) && !uri.bytes().any(|b| b <= b' ') {
            for part in [name, " ", uri, " SIP/2.0\r\n"] {
                builder.out.put_slice(part.as_bytes());
            }
        } else {
            builder.void = true;
            builder.refuse("request line");
        }
        builder
    }

    /// Without a reason phrase, or with one that is not a line, the code's own is written.
    pub fn response(status: StatusCode, reason: Option<&str>) -> Builder {
        let mut builder = Builder::new();
        let reason = match reason {
            Some(reason) if is_clean(reason.as_bytes()) => reason,
            Some(_) => {
                builder.refuse("reason phrase");
                status.reason()
            }
            None => status.reason(),
        };
        // Writing to a buffer that grows cannot fail.
        let _ = write!(builder.out, "SIP/2.0 {} {reason}\r\n", status.as_u16());
        builder
    }

    fn refuse(&mut self, what: &str) {
        self.error.get_or_insert_with(|| BuildError(what.to_owned()));
    }

    /// Appends a header field. Refused where the value writes a line break; Content-Length is the builder's own business.
    pub fn header(&mut self, name: &HeaderName, value: impl Display) -> &mut Builder {
        let before = self.out.len();
        if !name.is_valid() || name.kind() == Kind::ContentLength {
            self.refuse(name.as_str());
            return self;
        }
        self.out.put_slice(name.as_str().as_bytes());
        self.out.put_slice(b": ");
        let start = self.out.len();
        let written = write!(self.out, "{value}").is_ok();
        if !written || !self.out.get(start..).is_some_and(is_clean_typed) {
            self.out.truncate(before);
            self.refuse(name.as_str());
            return self;
        }
        self.out.put_slice(b"\r\n");
        self
    }

    /// Appends a header field by its text. Refused where [`is_valid_header_text`] is false; a Content-Length, too.
    pub fn raw_header(&mut self, name: &str, value: &str) -> &mut Builder {
        if !is_valid_header_text(name, value) || Kind::find(name.as_bytes()) == Kind::ContentLength {
            self.refuse(name);
            return self;
        }
        self.put(name.as_bytes(), value.as_bytes(), b"");
        self
    }

    fn put(&mut self, name: &[u8], value: &[u8], suffix: &[u8]) {
        self.out.reserve(name.len() + value.len() + suffix.len() + 4);
        for part in [name, b": ", value, suffix, b"\r\n"] {
            self.out.put_slice(part);
        }
    }

    /// Appends all header fields of this name of a parsed message, byte for byte but for folds.
    pub fn copy_headers(&mut self, message: &Message, name: &HeaderName) -> &mut Builder {
        self.copy(message, name, "")
    }

    /// As [`Builder::copy_headers`], with `;tag=` appended: for the To of a response that begins a dialog or that must
    /// have a tag (RFC 3261 §8.2.6.2). Call it only where the field has no tag yet.
    pub fn copy_header_with_tag(&mut self, message: &Message, name: &HeaderName, tag: &str) -> &mut Builder {
        if !grammar::is_token(tag.as_bytes()) {
            self.refuse("tag");
            return self;
        }
        self.copy(message, name, &format!(";tag={tag}"))
    }

    fn copy(&mut self, message: &Message, name: &HeaderName, suffix: &str) -> &mut Builder {
        if name.kind() == Kind::ContentLength || !name.is_valid() {
            self.refuse(name.as_str());
            return self;
        }
        let headers = message.headers();
        for (value, text) in headers.get_all_bytes(name).zip(headers.get_all(name)) {
            // With a fold, the text without it; otherwise the very bytes.
            let value = if memchr::memchr2(b'\r', b'\n', value).is_some() { text.as_bytes() } else { value };
            self.put(name.as_str().as_bytes(), value, suffix.as_bytes());
        }
        self
    }

    /// The body and its type. Call it once; `finish` writes the type, the length and the body.
    pub fn body(&mut self, content_type: &str, body: &[u8]) -> &mut Builder {
        self.raw_header(HeaderName::ContentType.as_str(), content_type);
        self.body = Bytes::copy_from_slice(body);
        self
    }

    /// What was refused first, if anything was.
    pub fn error(&self) -> Option<&BuildError> {
        self.error.as_ref()
    }

    /// The message, with its Content-Length, without the header fields that were refused; empty where the request line was.
    /// To know, ask [`Builder::error`] before, or use [`Builder::try_finish`].
    pub fn finish(&mut self) -> Bytes {
        if self.void {
            return Bytes::new();
        }
        let body = std::mem::take(&mut self.body);
        let _ = write!(self.out, "Content-Length: {}\r\n\r\n", body.len());
        self.out.extend_from_slice(&body);
        self.out.split().freeze()
    }

    /// The message, or what was refused in it.
    pub fn try_finish(&mut self) -> Result<Bytes, BuildError> {
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(self.finish()),
        }
    }
}
