//! The full check of a message that a user agent is to work with.

use crate::cseq;
use crate::error::{ErrorKind, HeaderError, ParseError, repeated_reason};
use crate::grammar::{self, CALL_ID, Commas};
use crate::message::{Message, StartLine};
use crate::method::Method;
use crate::name::{HeaderName, Kind};
use crate::name_addr;
use crate::status::StatusCode;
use crate::uri::Scheme;
use crate::via;

/// Checks the mandatory header fields and the typed values that a user agent relies on, without taking copies.
///
/// Faults are told in this order: mandatory header fields (400), the rest of them (400), the method in CSeq (400, or 501
/// where the method is unknown: RFC 4475 §3.1.2.18), the Request-URI (400 with headers in it: RFC 4475 §3.1.2.11; 416 for
/// an unknown scheme). A response with a fault is to be dropped. What is not checked here: which methods, extensions and
/// bodies the user agent accepts (405, 420, 415), and whether a tag or a branch is present (RFC 2543 peers send none).
pub fn validate(message: &Message) -> Result<(), ParseError> {
    check(message).map_err(|error| error.about(message.clone()))
}

fn check(message: &Message) -> Result<(), ParseError> {
    check_lines(message)?;
    let headers = message.headers();
    let cseq = headers.get_kind(Kind::CSeq).and_then(cseq::scan);
    let StartLine::Request { method, uri } = message.start() else { return Ok(()) };
    if cseq.is_none_or(|(_, name)| name != method.as_str()) {
        return Err(match method {
            Method::Other(_) => {
                let status = StatusCode::NOT_IMPLEMENTED;
                ParseError::new(ErrorKind::MethodMismatch, status.reason()).with_status(status)
            }
            _ => ParseError::new(ErrorKind::MethodMismatch, "CSeq Method Does Not Match"),
        });
    }
    match uri.scheme() {
        // RFC 3261 §19.1.1, table 1: no headers in a Request-URI.
        Scheme::Sip | Scheme::Sips if uri.raw_headers().is_some() => {
            Err(ParseError::new(ErrorKind::RequestUri, "Headers in Request-URI"))
        }
        Scheme::Sip | Scheme::Sips | Scheme::Tel => Ok(()),
        // RFC 3261 §8.2.2.1.
        Scheme::Other => Err(ParseError::new(ErrorKind::RequestUriScheme, "Unsupported URI Scheme")),
    }
}

/// One pass over the header lines: each is checked, and counted where it is mandatory or may be there only once.
fn check_lines(message: &Message) -> Result<(), ParseError> {
    const MANDATORY: [(Kind, HeaderName); 5] = [
        (Kind::Via, HeaderName::Via),
        (Kind::From, HeaderName::From),
        (Kind::To, HeaderName::To),
        (Kind::CallId, HeaderName::CallId),
        (Kind::CSeq, HeaderName::CSeq),
    ];
    let headers = message.headers();
    let present = headers.lines.iter().fold(0, |bits, line| bits | bit(line.kind));
    for (kind, name) in MANDATORY {
        if present & bit(kind) == 0 {
            return Err(HeaderError::missing(&name).into());
        }
    }
    let mut seen = 0;
    let head = headers.head();
    for line in &headers.lines {
        let value = line.of(head);
        let addresses = || Commas::new(value).all(|value| name_addr::check(value).is_ok());
        let (legal, single) = match line.kind {
            Kind::Via => (Commas::new(value).all(|value| via::check(value).is_ok()), false),
            Kind::From | Kind::To => (name_addr::check(value).is_ok(), true),
            Kind::CallId => (!value.is_empty() && grammar::all(value.as_bytes(), CALL_ID), true),
            Kind::CSeq => (cseq::scan(value).is_some(), true),
            // RFC 4475 §3.1.2.4: a number above 255 may count as absent; what is no number may not.
            Kind::MaxForwards => (!value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()), true),
            // RFC 3261 §10.2.2: `*` stands alone.
            Kind::Contact => (value == "*" || addresses(), false),
            Kind::Route | Kind::RecordRoute => (addresses(), false),
            Kind::ReferTo | Kind::ReferredBy | Kind::ReplyTo => (name_addr::check(value).is_ok(), false),
            Kind::ContentType => (is_media_type(value), true),
            _ => continue,
        };
        let name = || HeaderName::from_kind(line.kind, "");
        if !legal {
            return Err(HeaderError::malformed(&name()).into());
        }
        if single && seen & bit(line.kind) != 0 {
            return Err(ParseError::new(ErrorKind::Repeated, repeated_reason(&name())));
        }
        seen |= bit(line.kind);
    }
    Ok(())
}

/// A set of kinds has a bit for each: there are fewer than 128.
fn bit(kind: Kind) -> u128 {
    1 << (kind as u8)
}

/// RFC 3261 §25.1: `m-type SLASH m-subtype *( SEMI m-parameter )`; the parameters are the reader's business.
fn is_media_type(value: &str) -> bool {
    let value = grammar::split_once(value, b';').map_or(value, |(value, _)| value);
    grammar::split_once(value, b'/').is_some_and(|(a, b)| {
        grammar::is_token(grammar::trim(a).as_bytes()) && grammar::is_token(grammar::trim(b).as_bytes())
    })
}
