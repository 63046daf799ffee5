//! Finds the parts of a URI in its text, without taking a copy.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::{MAX_URI_LEN, Scheme, UriError};
use crate::grammar::{self, URI_ANY, URI_HEADER, URI_PARAM, USER};
use crate::host::Host;

/// Where the parts of a URI stand in its text. Offsets fit because of [`MAX_URI_LEN`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(super) scheme: Scheme,
    pub(super) host: HostKind,
    pub(super) port: Option<u16>,
    scheme_end: u16,
    has_user: bool,
    /// End of the user, and of the password where it is greater.
    user_end: u16,
    password_end: u16,
    host_start: u16,
    host_end: u16,
    params_start: u16,
    params_end: u16,
    end: u16,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum HostKind {
    None,
    Domain,
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl Parts {
    /// A text of which only the scheme is known.
    pub(super) fn opaque(text: &str, scheme_end: u16) -> Parts {
        let end = clamp(text.len());
        Parts {
            scheme: Scheme::Other,
            host: HostKind::None,
            port: None,
            scheme_end,
            has_user: false,
            user_end: 0,
            password_end: 0,
            host_start: 0,
            host_end: 0,
            params_start: end,
            params_end: end,
            end,
        }
    }

    pub(super) fn scheme_end(&self) -> usize {
        self.scheme_end.into()
    }

    pub(super) fn user(&self) -> Option<Range<usize>> {
        self.has_user.then(|| self.scheme_end() + 1..self.user_end.into())
    }

    pub(super) fn password(&self) -> Option<Range<usize>> {
        (self.password_end > self.user_end).then(|| usize::from(self.user_end) + 1..self.password_end.into())
    }

    pub(super) fn host_range(&self) -> Range<usize> {
        self.host_start.into()..self.host_end.into()
    }

    pub(super) fn params(&self) -> Range<usize> {
        self.params_start.into()..self.params_end.into()
    }

    pub(super) fn headers(&self) -> Option<Range<usize>> {
        (self.end > self.params_end).then(|| usize::from(self.params_end) + 1..self.end.into())
    }
}

fn clamp(offset: usize) -> u16 {
    u16::try_from(offset).unwrap_or(u16::MAX)
}

/// Checks a whole text and finds its parts.
pub(crate) fn scan(text: &str) -> Result<Parts, UriError> {
    if text.len() > MAX_URI_LEN {
        return Err(UriError::TooLong);
    }
    let bytes = text.as_bytes();
    let colon = grammar::span(bytes, |b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    // RFC 3986 §3.1: a scheme begins with a letter.
    if bytes.get(colon) != Some(&b':') || !bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        return Err(UriError::Scheme);
    }
    let (scheme, rest) = text.split_at(colon);
    let rest = rest.get(1..).unwrap_or("");
    let mut parts = Parts::opaque(text, clamp(colon));
    if scheme.eq_ignore_ascii_case("sip") {
        parts.scheme = Scheme::Sip;
    } else if scheme.eq_ignore_ascii_case("sips") {
        parts.scheme = Scheme::Sips;
    } else if scheme.eq_ignore_ascii_case("tel") {
        parts.scheme = Scheme::Tel;
        scan_tel(&mut parts, rest)?;
        return Ok(parts);
    } else {
        if rest.is_empty() || !grammar::all(rest.as_bytes(), URI_ANY) {
            return Err(UriError::Character);
        }
        return Ok(parts);
    }
    scan_sip(&mut parts, text, rest)?;
    Ok(parts)
}

/// RFC 3261 §25.1: `[ userinfo ] hostport uri-parameters [ headers ]`. An unescaped `@` can only end the userinfo.
fn scan_sip(parts: &mut Parts, text: &str, mut rest: &str) -> Result<(), UriError> {
    let offset = |rest: &str| clamp(text.len() - rest.len());
    if let Some(at) = memchr::memchr(b'@', rest.as_bytes()) {
        let (userinfo, tail) = rest.split_at(at);
        let user_len = memchr::memchr(b':', userinfo.as_bytes()).unwrap_or(at);
        let (user, password) = userinfo.split_at(user_len);
        if user.is_empty() {
            return Err(UriError::User);
        }
        let password = password.strip_prefix(':').unwrap_or("");
        if !grammar::all(user.as_bytes(), USER) || !grammar::all(password.as_bytes(), USER) {
            return Err(UriError::Character);
        }
        if !grammar::escapes_ok(userinfo.as_bytes()) {
            return Err(UriError::Escape);
        }
        parts.has_user = true;
        parts.user_end = parts.scheme_end + 1 + clamp(user_len);
        parts.password_end = offset(tail);
        rest = tail.get(1..).unwrap_or("");
    }
    parts.host_start = offset(rest);
    let (host, mut rest) = Host::take(rest).ok_or(UriError::Host)?;
    parts.host = match host {
        Host::Domain(_) => HostKind::Domain,
        Host::V4(address) => HostKind::V4(address),
        Host::V6(address) => HostKind::V6(address),
    };
    parts.host_end = offset(rest);
    if let Some(tail) = rest.strip_prefix(':') {
        let (port, tail) = tail.split_at(grammar::span(tail.as_bytes(), |b| b.is_ascii_digit()));
        let port = grammar::decimal(port.as_bytes(), u16::MAX.into()).ok_or(UriError::Port)?;
        parts.port = Some(port as u16);
        rest = tail;
    }
    parts.params_start = offset(rest);
    let (params, headers) = match memchr::memchr(b'?', rest.as_bytes()) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    parts.params_end = offset(headers);
    check_params(params)?;
    check_headers(headers)
}

/// `params` begins with a semicolon, or is empty.
fn check_params(params: &str) -> Result<(), UriError> {
    let Some((first, params)) = params.as_bytes().split_first() else { return Ok(()) };
    if *first != b';' {
        return Err(UriError::Character);
    }
    check_pairs(params, b';', URI_PARAM, false).ok_or(UriError::Parameter)?;
    if grammar::escapes_ok(params) { Ok(()) } else { Err(UriError::Escape) }
}

/// `headers` begins with the question mark, or is empty.
fn check_headers(headers: &str) -> Result<(), UriError> {
    let Some((_, headers)) = headers.as_bytes().split_first() else { return Ok(()) };
    check_pairs(headers, b'&', URI_HEADER, true).ok_or(UriError::Header)?;
    if grammar::escapes_ok(headers) { Ok(()) } else { Err(UriError::Escape) }
}

/// Names that are not empty, each with a value or, where that may be, without. A value may hold further equals signs.
fn check_pairs(text: &[u8], separator: u8, class: u8, need_value: bool) -> Option<()> {
    let mut name_len = 0;
    let mut value = false;
    for &b in text {
        if b == separator {
            if name_len == 0 || (need_value && !value) {
                return None;
            }
            (name_len, value) = (0, false);
        } else if b == b'=' && name_len > 0 {
            value = true;
        } else if grammar::is(b, class) {
            name_len += 1;
        } else {
            return None;
        }
    }
    (name_len > 0 && (value || !need_value)).then_some(())
}

/// RFC 3966 §3: a global number begins with `+`; a local one may also hold hexadecimal digits, `*` and `#`.
fn scan_tel(parts: &mut Parts, rest: &str) -> Result<(), UriError> {
    let end = memchr::memchr(b';', rest.as_bytes()).unwrap_or(rest.len());
    let (number, params) = rest.split_at(end);
    let digits = number.strip_prefix('+').unwrap_or(number);
    let legal = |b: u8| b.is_ascii_hexdigit() || matches!(b, b'-' | b'.' | b'(' | b')' | b'*' | b'#');
    if !digits.bytes().all(legal) {
        return Err(UriError::Character);
    }
    if !digits.bytes().any(|b| b.is_ascii_hexdigit() || matches!(b, b'*' | b'#')) {
        return Err(UriError::User);
    }
    check_params(params)?;
    parts.has_user = true;
    parts.user_end = parts.scheme_end + 1 + clamp(end);
    parts.password_end = parts.user_end;
    parts.params_start = parts.user_end;
    Ok(())
}
