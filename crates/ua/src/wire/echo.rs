//! What every response to a request repeats of it (RFC 3261 §8.2.6.2), written once into one buffer that then serves each response, the dialog
//! and its requests: header lines go out as they came in, nothing is formatted again.

use bytes::Bytes;
use ringback_sip::{HeaderName, Message};
use smallvec::SmallVec;

use crate::api::Flow;
use crate::dialog::{is_sips, uri_of};
use crate::wire::tags::{from_tag, to_tag};
use crate::wire::via::TopVia;
use crate::wire::writer::Writer;

/// A part of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    pub(crate) fn of(self, buffer: &[u8]) -> &str {
        let bytes = buffer.get(self.start as usize..self.end as usize).unwrap_or_default();
        // The parser hands out `str` only, and spans lie on its boundaries.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    pub(crate) fn bytes(self, buffer: &[u8]) -> &[u8] {
        buffer.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

pub(crate) type Spans = SmallVec<[Span; 2]>;

/// The To tag of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tag {
    /// As the request has it, or none.
    Keep,
    /// Ours, where the request has none.
    Add(u64),
}

/// The repeated header lines of one request.
#[derive(Clone, Debug)]
pub(crate) struct Echo {
    /// Via lines, From, To, Call-ID, CSeq; Record-Route lines; what `write` was given as `more`.
    pub(crate) buffer: Bytes,
    lines: u32,
    record_routes: Span,
    pub(crate) from: Span,
    pub(crate) from_tag: Span,
    pub(crate) to: Span,
    pub(crate) call_id: Span,
    /// Values of Record-Route, in the order of the message.
    pub(crate) routes: Spans,
    pub(crate) more: Span,
    /// How many Via values there are: one means that the peer itself sent this to us.
    pub(crate) hops: u32,
}

fn put(out: &mut Writer, name: &str, value: &[u8]) -> Span {
    out.text(name).text(": ");
    let start = out.len();
    out.raw(value);
    let span = Span::new(start, out.len());
    out.text("\r\n");
    span
}

impl Echo {
    /// `more` is kept behind the lines that are sent: the remote target, in dialogs.
    pub(crate) fn of(request: &Message, via: &TopVia<'_>, flow: &Flow, tag: Tag, more: &str) -> Echo {
        let mut out = Writer::with_capacity(request_head_len(request) + more.len());
        let mut echo = Echo {
            buffer: Bytes::new(),
            lines: 0,
            record_routes: Span::default(),
            from: Span::default(),
            from_tag: Span::default(),
            to: Span::default(),
            call_id: Span::default(),
            routes: Spans::new(),
            more: Span::default(),
            hops: 0,
        };
        let headers = request.headers();
        for value in headers.get_all(&HeaderName::Via) {
            if echo.hops == 0 {
                out.text("Via: ");
                via.write_received(&mut out, flow);
                out.text(via.rest).text("\r\n");
            } else {
                out.header("Via", value);
            }
            echo.hops += values(value).count() as u32;
        }
        if let Some(value) = verbatim(request, &HeaderName::From) {
            echo.from = put(&mut out, "From", value);
            if let Some(tag) = from_tag(request) {
                echo.from_tag = part_of(headers.get(&HeaderName::From).unwrap_or_default(), tag, echo.from.start);
            }
        }
        if let Some(value) = verbatim(request, &HeaderName::To) {
            out.text("To: ");
            let start = out.len();
            out.raw(value);
            if let Tag::Add(tag) = tag
                && to_tag(request).is_none()
            {
                out.text(";tag=").hex(tag);
            }
            echo.to = Span::new(start, out.len());
            out.text("\r\n");
        }
        if let Some(value) = headers.get(&HeaderName::CallId) {
            echo.call_id = put(&mut out, "Call-ID", value.as_bytes());
        }
        if let Some(value) = headers.get(&HeaderName::CSeq) {
            put(&mut out, "CSeq", value.as_bytes());
        }
        echo.lines = out.len() as u32;
        for value in headers.get_all(&HeaderName::RecordRoute) {
            let line = put(&mut out, "Record-Route", value.as_bytes());
            let at = line.start as usize;
            echo.routes.extend(values(value).map(|(start, end)| Span::new(at + start, at + end)));
        }
        echo.record_routes = Span::new(echo.lines as usize, out.len());
        if !more.is_empty() {
            let start = out.len();
            out.text(more);
            echo.more = Span::new(start, out.len());
        }
        echo.buffer = out.finish();
        echo
    }

    /// Via, From, To, Call-ID and CSeq.
    pub(crate) fn lines(&self) -> &[u8] {
        self.buffer.get(..self.lines as usize).unwrap_or_default()
    }

    /// RFC 3261 §12.1.1: whether our Contact is a `sips` URI. (The Request-URI need not be asked: where that is one, the caller's Contact
    /// is too, §8.1.1.8.)
    pub(crate) fn wants_sips(&self) -> bool {
        match self.routes.first() {
            Some(first) => uri_of(first.of(&self.buffer)).is_some_and(is_sips),
            None => is_sips(self.more.of(&self.buffer)),
        }
    }

    /// RFC 3261 §12.1.1: in responses that make a dialog.
    pub(crate) fn record_routes(&self) -> &[u8] {
        self.record_routes.bytes(&self.buffer)
    }
}

/// A value byte for byte (display names need not be UTF-8), but without folds.
fn verbatim<'a>(request: &'a Message, name: &'static HeaderName) -> Option<&'a [u8]> {
    let bytes = request.headers().get_bytes(name)?;
    if memchr::memchr2(b'\r', b'\n', bytes).is_some() {
        return request.headers().get(name).map(str::as_bytes);
    }
    Some(bytes)
}

/// The span of `part`, a part of `whole`, when `whole` was written at `start`.
pub(crate) fn part_of(whole: &str, part: &str, start: u32) -> Span {
    let offset = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    if offset > whole.len() {
        return Span::default();
    }
    Span::new(start as usize + offset, start as usize + offset + part.len())
}

/// An upper bound that makes one allocation enough.
fn request_head_len(request: &Message) -> usize {
    request.raw().len().saturating_sub(request.body().len()) + 64
}

/// The comma-separated values of a line, each without the spaces around it, as places in it. Commas in quotes and angle brackets do not
/// separate.
pub(crate) fn values(line: &str) -> impl Iterator<Item = (usize, usize)> {
    let bytes = line.as_bytes();
    let mut place = 0;
    let mut done = bytes.is_empty();
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let start = place;
        if memchr::memchr2(b',', b'"', bytes.get(start..)?).is_none() {
            // The usual case: one value.
            done = true;
            let value = line.get(start..)?;
            let trimmed = value.trim_ascii_start();
            let start = start + (value.len() - trimmed.len());
            return Some((start, start + trimmed.trim_ascii_end().len()));
        }
        let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
        let mut end = bytes.len();
        for (at, byte) in bytes.iter().enumerate().skip(start) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'<' if !quoted => bracketed = true,
                b'>' if !quoted => bracketed = false,
                b',' if !quoted && !bracketed => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        done = end == bytes.len();
        place = end + 1;
        let value = line.get(start..end).unwrap_or_default();
        let trimmed = value.trim_start();
        let start = start + (value.len() - trimmed.len());
        Some((start, start + trimmed.trim_end().len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_only_outside_of_quotes_and_brackets() {
        let line = "<sip:a;x=1,2>;lr , \"q,\\\",\" <sip:b>,<sip:c>";
        let parts: Vec<&str> = values(line).map(|(start, end)| &line[start..end]).collect();
        assert_eq!(parts, ["<sip:a;x=1,2>;lr", "\"q,\\\",\" <sip:b>", "<sip:c>"]);
        assert_eq!(values("").count(), 0);
    }
}
