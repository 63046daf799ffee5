//! The bodies of the fuzz targets: they take any bytes and panic where an invariant does not hold. The default test run
//! calls them too, over mutated vectors (`tests/smoke.rs`).

#![allow(clippy::panic, clippy::expect_used)] // A broken invariant is reported by a panic; nothing else calls these.

use bytes::Bytes;

use crate::builder::Builder;
use crate::digest::{Answer, Authorization, Challenge, Qop, ha1};
use crate::framer::{Frame, Limits, StreamFramer};
use crate::message::{Message, StartLine};
use crate::name::HeaderName;
use crate::name_addr::{self, NameAddr};
use crate::params::Params;
use crate::uri::Uri;
use crate::validate::validate;
use crate::via::{self, Via};

/// A datagram: parses, reads everything, writes it again and compares.
pub fn message(data: &[u8]) {
    let raw = Bytes::copy_from_slice(data);
    let (message, whole) = match Message::parse(raw.clone()) {
        Ok(message) => (message, true),
        Err(error) => match error.partial {
            Some(partial) => {
                assert!(partial.is_request() && partial.reply_via().is_some());
                (*partial, false)
            }
            None => return,
        },
    };
    assert_eq!(*message.raw(), raw);
    assert_eq!(Message::parse(raw).is_ok(), whole);
    read_all(&message);
    match validate(&message) {
        Ok(()) => assert!(
            message.top_via().is_ok() && message.from().is_ok() && message.to().is_ok() && message.cseq().is_ok()
        ),
        Err(error) => assert!(error.partial.is_none_or(|partial| partial.is_request())),
    }
    if whole {
        rewrite(&message);
    }
}

/// Calls every accessor; values that parse must survive being written.
fn read_all(message: &Message) {
    let _ = (message.to_string(), format!("{message:?}"), message.body(), message.reply_via());
    let _ = (message.top_via(), message.from(), message.to(), message.cseq(), message.call_id(), message.contact());
    let _ = (message.from_tag(), message.to_tag(), message.max_forwards(), message.expires(), message.content_length());
    let _ = (message.supported().count(), message.require().count(), message.allow().count());
    let _ = (message.is_content_type("application/sdp"), message.is_contact_wildcard());
    let _ = (message.contacts(), message.routes(), message.record_routes());
    for (name, known, value) in message.headers().iter() {
        assert!(message.headers().get_str(name).is_some());
        assert!(message.headers().get(&known).is_some());
        assert_eq!(HeaderName::parse(name), known);
        assert!(message.headers().get_all_bytes(&known).any(|bytes| bytes.len() == value.len()));
        value_round_trip(value);
        message.headers().values(&known).for_each(value_round_trip);
    }
    if let Ok(vias) = message.vias() {
        assert_eq!(vias.first(), message.top_via().ok().as_ref());
    }
}

fn value_round_trip(text: &str) {
    let parsed = NameAddr::parse(text);
    assert_eq!(parsed.is_ok(), name_addr::check(text).is_ok());
    if let Ok(value) = parsed {
        assert_eq!(NameAddr::parse(&value.to_string()).as_ref(), Ok(&value));
        assert_eq!(name_addr::tag(text), value.tag());
        assert_eq!(Uri::parse(value.uri.as_str()).as_ref(), Ok(&value.uri));
    }
    let parsed = Via::parse(text);
    assert_eq!(parsed.is_ok(), via::check(text).is_ok());
    if let Ok(value) = parsed {
        assert_eq!(Via::parse(&value.to_string()).as_ref(), Ok(&value));
        assert_eq!(Via::salvage(text).as_ref(), Some(&value));
    } else if let Some(value) = Via::salvage(text) {
        assert_eq!(Via::parse(&value.to_string()), Ok(value));
    }
    if let Ok(value) = Params::parse(text) {
        assert_eq!(Params::parse(value.as_str()), Ok(value));
    }
}

/// Writes the message anew: same start line, same header fields, same body.
fn rewrite(message: &Message) {
    let mut builder = match message.start() {
        StartLine::Request { method, uri } => Builder::request(method, uri),
        StartLine::Response { status, reason } => Builder::response(*status, Some(reason)),
    };
    let mut written = Vec::new();
    for (name, known, value) in message.headers().iter() {
        if known != HeaderName::ContentLength && crate::is_valid_header_text(name, value) {
            builder.raw_header(name, value);
            written.push((name, known, value));
        }
    }
    if !message.body().is_empty() {
        builder.body("application/octet-stream", &message.body());
        written.push(("Content-Type", HeaderName::ContentType, "application/octet-stream"));
    }
    assert_eq!(builder.error(), None);
    if written.len() >= crate::MAX_HEADER_LINES {
        return;
    }
    let again = match Message::parse(builder.finish()) {
        Ok(again) => again,
        Err(error) => panic!("what was written is refused: {error}"),
    };
    assert_eq!(again.start(), message.start());
    assert_eq!(again.body(), message.body());
    let read: Vec<_> = again.headers().iter().collect();
    let (length, rest) = read.split_last().expect("Content-Length is always written");
    assert_eq!(length.1, HeaderName::ContentLength);
    assert_eq!(rest, written);
}

/// Values of the header fields of digest authentication, a line each: what is read is written and read again, every challenge that can be
/// answered is, and the answer is proof to those who know the password, and to nobody else.
pub fn digest(data: &[u8]) {
    let lines: String = String::from_utf8_lossy(data).lines().take(8).fold(String::new(), |mut lines, line| {
        for name in ["WWW-Authenticate", "Authorization"] {
            lines.extend([name, ": ", line, "\r\n"]);
        }
        lines
    });
    let message = Bytes::from(format!("SIP/2.0 401 Unauthorized\r\n{lines}\r\n"));
    let Ok(message) = Message::parse(message) else { return };
    for read in message.authorizations(&HeaderName::Authorization) {
        assert_eq!(Authorization::parse(&read.to_string()).as_ref(), Some(&read));
        assert!(!read.to_string().chars().any(char::is_control));
        let username = read.username().map(|name| name.into_owned()).unwrap_or_default();
        if let Some(algorithm) = read.algorithm() {
            let _ = read.proves(&ha1(algorithm, &username, read.realm(), "password"), "INVITE", data);
        }
    }
    for challenge in message.challenges(&HeaderName::WwwAuthenticate) {
        assert_eq!(Challenge::parse(&challenge.to_string()).as_ref(), Some(&challenge));
        assert!(!challenge.to_string().chars().any(char::is_control));
        let algorithm = challenge.algorithm().unwrap_or(crate::digest::Algorithm::Md5);
        let good = ha1(algorithm, "user", challenge.realm(), "password");
        let answer = Answer {
            challenge: &challenge,
            username: "user",
            ha1: &good,
            cnonce: "cnonce",
            nc: 1,
            method: "INVITE",
            uri: "sip:a@b",
            body: data,
        };
        let Some(answer) = answer.response() else {
            assert!(!challenge.is_supported());
            continue;
        };
        assert_eq!(Authorization::parse(&answer.to_string()).as_ref(), Some(&answer));
        assert!(answer.proves(&good, "INVITE", data) && !answer.proves(&good, "BYE", data));
        assert!(!answer.proves(&ha1(algorithm, "user", challenge.realm(), "passwore"), "INVITE", data));
        let integrity = answer.qop() == Some(Some(Qop::AuthInt));
        assert_eq!(answer.proves(&good, "INVITE", b"another body, longer than any"), !integrity);
    }
}

/// Texts for the value parsers, and pairs of URIs to compare. A line break separates two texts.
pub fn uri(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut uris = Vec::new();
    for line in text.split('\n').take(8) {
        value_round_trip(line);
        let Ok(uri) = Uri::parse(line) else { continue };
        assert_eq!(uri.as_str(), line);
        assert!(!line.bytes().any(|b| b <= b' ' || matches!(b, b'<' | b'>' | b'"' | 0x7f)));
        let _ =
            (uri.user(), uri.host(), uri.params().count(), uri.headers().count(), uri.scheme_str(), uri.raw_password());
        assert!(uri.equals(&uri));
        assert_eq!(uri.request_uri(), uri.request_uri().request_uri());
        if matches!(uri.scheme(), crate::Scheme::Sip | crate::Scheme::Sips) {
            let again = uri.request_uri();
            assert_eq!((again.raw_user(), again.host(), again.port()), (uri.raw_user(), uri.host(), uri.port()));
            assert_eq!(again.raw_headers(), None);
            assert_eq!(uri.without_param("lr").param("lr"), None);
            // The user without escapes, escaped again, is the same user.
            if let (Some(user), Some(host), None) = (uri.user(), uri.host(), uri.raw_password())
                && !user.contains('\u{fffd}')
                && let Ok(built) = Uri::sip(Some(&user), host, uri.port())
            {
                assert_eq!(built.user(), Some(user));
            }
        }
        uris.push(uri);
    }
    for a in &uris {
        for b in &uris {
            assert_eq!(a.equals(b), b.equals(a), "{a} {b}");
        }
    }
}

/// A stream: the first byte says how it is cut. However it is cut, the same frames come out.
pub fn stream(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else { return };
    let limits = Limits { head: 4096, message: 8192 };
    let whole = frames(data, usize::MAX, limits);
    let pieces = frames(data, usize::from(cut).max(1), limits);
    assert_eq!(whole, pieces);
    let bytes: usize = whole.iter().flatten().map(Bytes::len).sum();
    assert!(bytes <= data.len());
    for frame in whole.into_iter().flatten() {
        message(&frame);
    }
}

/// Messages as `Some`, an error as `None`. Keep-alives are left out: a ping that is cut in two is still one ping, but what
/// surrounds it may be told apart only later.
fn frames(data: &[u8], cut: usize, limits: Limits) -> Vec<Option<Bytes>> {
    let mut framer = StreamFramer::new(limits);
    let mut out = Vec::new();
    for piece in data.chunks(cut.min(data.len()).max(1)) {
        framer.push(piece);
        while let Some(frame) = framer.next() {
            match frame {
                Ok(Frame::Message(bytes)) => {
                    assert!(bytes.len() <= limits.message);
                    out.push(Some(bytes));
                }
                Ok(Frame::KeepAlivePing | Frame::KeepAlivePong) => {}
                Err(error) => {
                    assert!(error.error.partial.is_none_or(|partial| partial.is_request()));
                    out.push(None);
                    assert!(framer.next().is_none());
                    return out;
                }
            }
        }
        assert!(framer.buffered() <= limits.message + piece.len());
    }
    out
}
