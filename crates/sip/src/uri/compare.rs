//! URI comparison (RFC 3261 §19.1.4, RFC 3966 §5).

use super::{Scheme, Uri};
use crate::grammar;

/// `reserved` (RFC 3261 §25.1): an escaped one is not the same as a plain one.
const fn is_reserved(byte: u8) -> bool {
    matches!(byte, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',')
}

/// The bytes of a text with its escapes undone, each with a mark on escaped reserved ones.
struct Plain<'a> {
    bytes: &'a [u8],
}

impl Iterator for Plain<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        if let Some(byte) = grammar::escape(self.bytes) {
            self.bytes = self.bytes.get(3..)?;
            return Some((byte, is_reserved(byte)));
        }
        let (&byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some((byte, false))
    }
}

fn plain(text: &str) -> Plain<'_> {
    Plain { bytes: text.as_bytes() }
}

/// Equal with escapes undone and without regard to case.
pub(super) fn same_text(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
        || (memchr::memchr(b'%', a.as_bytes()).is_some() || memchr::memchr(b'%', b.as_bytes()).is_some())
            && plain(a)
                .map(|(b, mark)| (b.to_ascii_lowercase(), mark))
                .eq(plain(b).map(|(b, mark)| (b.to_ascii_lowercase(), mark)))
}

/// Equal with escapes undone, case counts.
fn same_exact(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a == b || plain(a).eq(plain(b)),
        _ => false,
    }
}

pub(super) fn equals(a: &Uri, b: &Uri) -> bool {
    // "A SIP and SIPS URI are never equivalent."
    if a.scheme() != b.scheme() {
        return false;
    }
    match a.scheme() {
        Scheme::Sip | Scheme::Sips => equal_sip(a, b),
        Scheme::Tel => equal_tel(a, b),
        // RFC 3986 §6.2.2.1: of an unknown scheme, only its name is known to be without case.
        Scheme::Other => {
            a.scheme_str().eq_ignore_ascii_case(b.scheme_str())
                && a.as_str().get(a.scheme_str().len()..) == b.as_str().get(b.scheme_str().len()..)
        }
    }
}

fn equal_sip(a: &Uri, b: &Uri) -> bool {
    // The userinfo is compared with case; an omitted component is not equal to one with the default value.
    same_exact(a.raw_user(), b.raw_user())
        && same_exact(a.raw_password(), b.raw_password())
        && a.host() == b.host()
        && a.port() == b.port()
        && params_match(a, b)
        && params_match(b, a)
        && headers_match(a, b)
}

/// One direction: each parameter of `a` that `b` has too must match, and these must not be in only one of both.
fn params_match(a: &Uri, b: &Uri) -> bool {
    const ALWAYS: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
    a.params().all(|(name, value)| match b.param(name) {
        Some(other) => match (value, other) {
            (Some(value), Some(other)) => same_text(value, other),
            (None, None) => true,
            _ => false,
        },
        None => !ALWAYS.iter().any(|always| same_text(name, always)),
    })
}

/// "URI header components are never ignored": the same ones in both, in any order.
fn headers_match(a: &Uri, b: &Uri) -> bool {
    let (Some(one), Some(other)) = (a.raw_headers(), b.raw_headers()) else {
        return a.raw_headers().is_none() == b.raw_headers().is_none();
    };
    let count = |text: &str, header: &str| text.split('&').filter(|h| same_header(h, header)).count();
    one.split('&').count() == other.split('&').count()
        && one.split('&').all(|header| count(one, header) == count(other, header))
}

fn same_header(a: &str, b: &str) -> bool {
    match (a.split_once('='), b.split_once('=')) {
        (Some((a, x)), Some((b, y))) => same_text(a, b) && same_exact(Some(x), Some(y)),
        _ => false,
    }
}

/// RFC 3966 §5: visual separators do not count, nor does case; parameters must all be the same.
fn equal_tel(a: &Uri, b: &Uri) -> bool {
    fn number(text: &str) -> impl Iterator<Item = u8> {
        text.bytes().filter(|b| !matches!(b, b'-' | b'.' | b'(' | b')')).map(|b| b.to_ascii_lowercase())
    }
    let same = |x: &str, y: &str| number(x).eq(number(y));
    let within = |a: &Uri, b: &Uri| {
        a.params().all(|(name, value)| match (value, b.param(name)) {
            (Some(value), Some(Some(other))) => same_text(value, other) || same(value, other),
            (None, Some(None)) => true,
            _ => false,
        })
    };
    same(a.raw_user().unwrap_or(""), b.raw_user().unwrap_or("")) && within(a, b) && within(b, a)
}
