//! From bytes to a [`Message`]: one pass over the head that finds lines, names and values; then the start line and the
//! length of the body. A fault does not end the pass, because an answer needs the header fields that follow it.

use bytes::Bytes;

use super::{Inner, Message, StartLine};
use crate::error::{ErrorKind, ParseError};
use crate::grammar::{self, is_space};
use crate::headers::{Headers, Line, Lines, MAX_HEADER_LINES};
use crate::method::Method;
use crate::name::Kind;
use crate::status::StatusCode;
use crate::uri::{MAX_URI_LEN, Uri, UriError};

/// Longer messages are refused (513); offsets in the index have 32 bits.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// What the pass over the head found.
struct Head {
    start_line: (usize, usize),
    lines: Lines,
    /// First byte of the body.
    end: usize,
    /// Whether folds or lone carriage returns are in it.
    uneven: bool,
    fault: Option<ParseError>,
}

/// The end of the line that begins at `from`, without its line break, and where the next one begins.
/// A carriage return elsewhere than before a line feed sets `lone`.
#[inline]
fn line_end(bytes: &[u8], from: usize, lone: &mut bool) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        at += memchr::memchr2(b'\r', b'\n', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'\n') {
            return Some((at, at + 1));
        }
        if bytes.get(at + 1) == Some(&b'\n') {
            return Some((at, at + 2));
        }
        *lone = true;
        at += 1;
    }
}

/// Where the start line begins: RFC 3261 §7.5 ignores line breaks before it.
fn skip_breaks(bytes: &[u8]) -> usize {
    grammar::span(bytes, |b| matches!(b, b'\r' | b'\n'))
}

fn scan_head(bytes: &[u8]) -> Result<Head, ParseError> {
    let begin = skip_breaks(bytes);
    let mut lone = false;
    let Some((end, next)) = line_end(bytes, begin, &mut lone) else {
        return Err(ParseError::new(ErrorKind::StartLine, "Not a SIP Message"));
    };
    let mut head = Head { start_line: (begin, end), lines: Lines::new(), end: next, uneven: lone, fault: None };
    let mut from = next;
    loop {
        let Some((mut end, mut next)) = line_end(bytes, from, &mut lone) else {
            // What follows the last line break is no line.
            head.end = bytes.len();
            head.fail(ErrorKind::HeaderLine, "Header Section Without End");
            break;
        };
        if end == from {
            head.end = next;
            break;
        }
        // RFC 3261 §7.3.1: a line that begins with white space continues the one before.
        while matches!(bytes.get(next), Some(b' ' | b'\t')) {
            head.uneven = true;
            match line_end(bytes, next, &mut lone) {
                Some((more, after)) => (end, next) = (more, after),
                None => break,
            }
        }
        if head.lines.len() == MAX_HEADER_LINES {
            head.end = bytes.len();
            head.fail(ErrorKind::TooLarge, "Too Many Header Fields");
            break;
        }
        match scan_line(bytes, from, end) {
            Some(line) => head.lines.push(line),
            None => head.fail(ErrorKind::HeaderLine, "Malformed Header Line"),
        }
        from = next;
    }
    if lone {
        head.uneven = true;
        head.fail(ErrorKind::HeaderLine, "Carriage Return Within Line");
    }
    Ok(head)
}

impl Head {
    /// The first fault counts.
    fn fail(&mut self, kind: ErrorKind, reason: &'static str) {
        self.fault.get_or_insert_with(|| ParseError::new(kind, reason));
    }
}

/// `field-name HCOLON value`, with white space before the colon (RFC 3261 §25.1).
#[inline]
fn scan_line(bytes: &[u8], from: usize, end: usize) -> Option<Line> {
    let line = bytes.get(from..end)?;
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
    let name_len = name.len() - name.iter().rev().take_while(|&&b| is_space(b)).count();
    let name = name.get(..name_len)?;
    let kind = Kind::find(name);
    if kind == Kind::Other && !grammar::is_token(name) {
        return None;
    }
    let leading = grammar::span(value, is_space);
    let trailing = value.get(leading..)?.iter().rev().take_while(|&&b| is_space(b)).count();
    let value_start = from + colon + 1 + leading;
    Some(Line {
        kind,
        name_start: from as u32,
        name_end: (from + name_len) as u32,
        value_start: value_start as u32,
        value_end: (end - trailing) as u32,
    })
}

/// The head with folds and lone carriage returns as spaces, and what is no UTF-8 as question marks.
fn even_out(head: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(head.len());
    for chunk in head.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        text.resize(text.len() + chunk.invalid().len(), b'?');
    }
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| memchr::memchr2(b'\r', b'\n', rest)) {
        let here = at + found;
        let after = match (text.get(here), text.get(here + 1)) {
            (Some(b'\r'), Some(b'\n')) => here + 2,
            _ => here + 1,
        };
        let lone = after == here + 1 && text.get(here) == Some(&b'\r');
        if lone || matches!(text.get(after), Some(b' ' | b'\t')) {
            text.iter_mut().take(after).skip(here).for_each(|b| *b = b' ');
        }
        at = after;
    }
    text
}

pub(super) fn parse(raw: Bytes) -> Result<Message, ParseError> {
    if raw.len() > MAX_MESSAGE {
        return Err(ParseError::new(ErrorKind::TooLarge, "Message Too Large"));
    }
    let Head { start_line, lines, end, uneven, mut fault } = scan_head(&raw)?;
    let head = raw.get(..end).unwrap_or_default();
    let text = if uneven || std::str::from_utf8(head).is_err() { even_out(head).into() } else { raw.clone() };
    let headers = Headers { raw, text, end, lines };

    let line = headers.text.get(start_line.0..start_line.1).and_then(|line| std::str::from_utf8(line).ok());
    // Bytes that are no UTF-8 were question marks by now, and `?` means something in a URI.
    let same = headers.text.get(start_line.0..start_line.1) == headers.raw.get(start_line.0..start_line.1);
    let (start, start_fault) = scan_start(line.unwrap_or(""), same)?;
    // The start line's fault is the more telling one, a wrong version before all.
    fault = start_fault.or(fault);

    let available = headers.raw.len() - end;
    let body = match content_length(&headers) {
        Ok(None) => end..headers.raw.len(),
        Ok(Some(length)) if length <= available as u64 => end..end + length as usize,
        // RFC 3261 §18.3: in a datagram, more than there is asks for a 400 (or the response is dropped).
        Ok(Some(_)) => {
            fault = fault.or(Some(ParseError::new(ErrorKind::ContentLength, "Content-Length Larger Than Message")));
            end..headers.raw.len()
        }
        Err(error) => {
            fault = fault.or(Some(error));
            end..headers.raw.len()
        }
    };
    let message = Message { inner: std::sync::Arc::new(Inner { start, headers, body }) };
    match fault {
        None => Ok(message),
        Some(error) => Err(error.about(message)),
    }
}

/// Several equal values are one; different ones make the end of the message unknown (RFC 4475 §3.3.9).
fn content_length(headers: &Headers) -> Result<Option<u64>, ParseError> {
    let mut length = None;
    for line in headers.lines.iter().filter(|line| line.kind == Kind::ContentLength) {
        let value = headers.raw.get(line.value_start as usize..line.value_end as usize).unwrap_or_default();
        let Some(value) = grammar::decimal(value, u32::MAX.into()) else {
            return Err(ParseError::new(ErrorKind::ContentLength, "Malformed Content-Length"));
        };
        if length.is_some_and(|length| length != value) {
            return Err(ParseError::new(ErrorKind::ContentLength, "Conflicting Content-Length Values"));
        }
        length = Some(value);
    }
    Ok(length)
}

/// `same` says that the line is the bytes that came. An error in the middle is one without start line: nothing to answer.
fn scan_start(line: &str, same: bool) -> Result<(StartLine, Option<ParseError>), ParseError> {
    if line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("SIP/")) {
        return scan_status_line(line).map(|start| (start, None));
    }
    scan_request_line(line, same).ok_or(ParseError::new(ErrorKind::StartLine, "Malformed Start Line"))
}

/// RFC 3261 §7.2: `SIP-Version SP Status-Code SP Reason-Phrase`; the second space may be missing (RFC 4475 §3.1.1.13).
fn scan_status_line(line: &str) -> Result<StartLine, ParseError> {
    let malformed = || ParseError::new(ErrorKind::StartLine, "Malformed Status Line");
    let (version, rest) = grammar::split_once(line, b' ').ok_or_else(malformed)?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(ParseError::new(ErrorKind::Version, "Version Not Supported"));
    }
    let (code, reason) = grammar::split_once(rest, b' ').unwrap_or((rest, ""));
    if code.len() != 3 || reason.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
        return Err(malformed());
    }
    let status = grammar::decimal(code.as_bytes(), 699).and_then(|code| StatusCode::new(code as u16));
    Ok(StartLine::Response { status: status.ok_or_else(malformed)?, reason: reason.into() })
}

/// RFC 3261 §7.1: `Method SP Request-URI SP SIP-Version`, one space each, none elsewhere. `None` where there is not even
/// a method.
fn scan_request_line(line: &str, same: bool) -> Option<(StartLine, Option<ParseError>)> {
    let (method, rest) = grammar::split_once(line, b' ')?;
    let method = Method::parse(method.as_bytes())?;
    let (target, version) = grammar::rsplit_once(rest, b' ').unwrap_or((rest, ""));
    let (uri, fault) = scan_target(rest, target, version, same);
    Some((StartLine::Request { method, uri }, fault))
}

fn scan_target(rest: &str, target: &str, version: &str, same: bool) -> (Uri, Option<ParseError>) {
    let fail = |target: &str, kind, reason| (Uri::malformed(target), Some(ParseError::new(kind, reason)));
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        if !is_version(version) {
            return fail(rest, ErrorKind::StartLine, "Malformed Request Line");
        }
        return fail(target, ErrorKind::Version, "Version Not Supported");
    }
    if !same {
        return fail(target, ErrorKind::RequestUri, "Malformed Request-URI");
    }
    match Uri::parse(target) {
        Ok(uri) => (uri, None),
        Err(UriError::TooLong) => {
            let head =
                target.char_indices().nth(MAX_URI_LEN / 4).map_or(target, |(at, _)| target.get(..at).unwrap_or(""));
            fail(head, ErrorKind::RequestUriTooLong, "Request-URI Too Long")
        }
        Err(_) => fail(target, ErrorKind::RequestUri, "Malformed Request-URI"),
    }
}

/// `SIP/digits.digits`.
fn is_version(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('/') {
        Some((name, version)) => {
            name.eq_ignore_ascii_case("SIP") && version.split_once('.').is_some_and(|(a, b)| digits(a) && digits(b))
        }
        None => false,
    }
}
