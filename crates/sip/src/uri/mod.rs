//! URIs: `sip:`, `sips:` and `tel:` taken apart, any other scheme kept as it is.
//!
//! A [`Uri`] is the text as it came, behind a reference count, and the places in it that matter; so it is cheap to
//! clone, and what is forwarded is what came. It can only be had by parsing, and therefore never holds a space, a quote,
//! an angle bracket or a control character: writing it into a header field is always safe.

mod compare;
mod scan;

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use crate::grammar;
use crate::host::{Host, HostOwned};
pub(crate) use scan::{HostKind, Parts, scan};

/// Longer URIs are refused; a Request-URI that is longer asks for a 414.
pub const MAX_URI_LEN: usize = 8192;

/// What comes before the first colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    /// Anything else; the text is in [`Uri::scheme_str`].
    Other,
}

/// Why a text is not a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    #[error("URI too long")]
    TooLong,
    #[error("no URI scheme")]
    Scheme,
    #[error("character not allowed in URI")]
    Character,
    #[error("bad escape in URI")]
    Escape,
    #[error("empty user in URI")]
    User,
    #[error("bad host in URI")]
    Host,
    #[error("bad port in URI")]
    Port,
    #[error("bad URI parameter")]
    Parameter,
    #[error("bad URI header")]
    Header,
}

/// A URI that parsed. Equality and hash are of the text; [`Uri::equals`] compares as RFC 3261 §19.1.4 says.
#[derive(Clone)]
pub struct Uri {
    text: Arc<str>,
    parts: Parts,
}

impl Uri {
    pub fn parse(text: &str) -> Result<Uri, UriError> {
        let parts = scan(text)?;
        Ok(Uri { text: text.into(), parts })
    }

    /// A text whose parts were found before.
    pub(crate) fn from_scanned(text: &str, parts: Parts) -> Uri {
        Uri { text: text.into(), parts }
    }

    /// What stands where a Request-URI should be: a text without parts, only inside of a message that was refused.
    pub(crate) fn malformed(text: &str) -> Uri {
        Uri { text: text.into(), parts: Parts::opaque(text, 0) }
    }

    /// `sip:user@host:port`. The user is escaped as needed; the host is checked.
    pub fn sip(user: Option<&str>, host: impl Into<HostOwned>, port: Option<u16>) -> Result<Uri, UriError> {
        Uri::parse(&sip_text(user, &host.into(), port))
    }

    /// `sip:user@address:port`, which cannot fail but by a user of thousands of characters: that one is left out.
    pub fn from_address(user: Option<&str>, address: SocketAddr) -> Uri {
        let host = HostOwned::from(address.ip());
        let user = user.filter(|user| !user.is_empty() && user.len() <= MAX_URI_LEN / 4);
        let text = sip_text(user, &host, Some(address.port()));
        let parts = scan(&text).unwrap_or_else(|_| Parts::opaque(&text, 3));
        Uri { text: text.into(), parts }
    }

    fn slice(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or("")
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    pub fn scheme_str(&self) -> &str {
        self.slice(0..self.parts.scheme_end())
    }

    /// The user part without its escapes, without password. The number of a `tel:` URI as it is written.
    /// May hold any character, control characters too: `%00` is legal.
    pub fn user(&self) -> Option<Cow<'_, str>> {
        self.raw_user().map(grammar::unescape)
    }

    /// The user part as it is written.
    pub fn raw_user(&self) -> Option<&str> {
        self.parts.user().map(|range| self.slice(range))
    }

    /// The password as it is written.
    pub fn raw_password(&self) -> Option<&str> {
        self.parts.password().map(|range| self.slice(range))
    }

    /// The host of a `sip:` or `sips:` URI.
    pub fn host(&self) -> Option<Host<'_>> {
        match self.parts.host {
            HostKind::None => None,
            HostKind::Domain => Some(Host::Domain(self.slice(self.parts.host_range()))),
            HostKind::V4(address) => Some(Host::V4(address)),
            HostKind::V6(address) => Some(Host::V6(address)),
        }
    }

    /// The port where one is written.
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// The parameters as they are written, first semicolon included; empty where there are none.
    pub fn raw_params(&self) -> &str {
        self.slice(self.parts.params())
    }

    /// Parameters in their order, as they are written.
    pub fn params(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.raw_params().split(';').skip(1).map(|param| match param.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (param, None),
        })
    }

    /// A parameter by its name, without regard to case and escapes: `Some(None)` where it has no value. The value is as
    /// it is written; [`Uri::param_unescaped`] undoes escapes.
    pub fn param(&self, name: &str) -> Option<Option<&str>> {
        if self.raw_params().is_empty() {
            return None;
        }
        self.params().find(|(key, _)| compare::same_text(key, name)).map(|(_, value)| value)
    }

    /// A parameter's value without its escapes.
    pub fn param_unescaped(&self, name: &str) -> Option<Cow<'_, str>> {
        self.param(name)?.map(grammar::unescape)
    }

    /// The `transport` parameter.
    pub fn transport(&self) -> Option<&str> {
        self.param("transport")?
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<&str> {
        self.param("maddr")?
    }

    /// RFC 3261 §19.1.1: an `lr` parameter, whatever its value (`lr=true` and `lr=on` are seen).
    pub fn is_loose_router(&self) -> bool {
        self.param("lr").is_some()
    }

    /// The header part as it is written, without its question mark.
    pub fn raw_headers(&self) -> Option<&str> {
        self.parts.headers().map(|range| self.slice(range))
    }

    /// Names and values of the header part without their escapes.
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.raw_headers().into_iter().flat_map(|text| text.split('&')).map(|header| {
            let (name, value) = header.split_once('=').unwrap_or((header, ""));
            (grammar::unescape(name), grammar::unescape(value))
        })
    }

    /// Whether both mean the same resource (RFC 3261 §19.1.4).
    pub fn equals(&self, other: &Uri) -> bool {
        self.text == other.text || compare::equals(self, other)
    }

    /// The URI as it may stand in a Request-URI: RFC 3261 §19.1.1, without headers and the `method` parameter.
    pub fn request_uri(&self) -> Uri {
        if !matches!(self.scheme(), Scheme::Sip | Scheme::Sips)
            || (self.raw_headers().is_none() && self.param("method").is_none())
        {
            return self.clone();
        }
        self.rebuild(|text, uri| {
            for (name, value) in uri.params().filter(|(name, _)| !compare::same_text(name, "method")) {
                push_param(text, name, value);
            }
        })
    }

    /// The URI without a parameter of this name.
    pub fn without_param(&self, name: &str) -> Uri {
        if self.param(name).is_none() {
            return self.clone();
        }
        self.rebuild(|text, uri| {
            for (key, value) in uri.params().filter(|(key, _)| !compare::same_text(key, name)) {
                push_param(text, key, value);
            }
            uri.raw_headers().inspect(|headers| text.extend(["?", headers]));
        })
    }

    /// The URI with the parameter put last, in place of one of the same name. Name and value are escaped as needed.
    pub fn with_param(&self, name: &str, value: Option<&str>) -> Uri {
        let base = self.without_param(name);
        base.rebuild(|text, uri| {
            text.push_str(uri.raw_params());
            text.push(';');
            push_escaped(text, name, PARAM_MARKS);
            if let Some(value) = value {
                text.push('=');
                push_escaped(text, value, PARAM_MARKS);
            }
            uri.raw_headers().inspect(|headers| text.extend(["?", headers]));
        })
    }

    /// The text up to the parameters, and then what `tail` appends. Where that is no URI (it grew too long), nothing changes.
    fn rebuild(&self, tail: impl FnOnce(&mut String, &Uri)) -> Uri {
        let mut text = String::with_capacity(self.text.len() + 16);
        text.push_str(self.slice(0..self.parts.params().start));
        tail(&mut text, self);
        Uri::parse(&text).unwrap_or_else(|_| self.clone())
    }
}

fn push_param(text: &mut String, name: &str, value: Option<&str>) {
    text.push(';');
    text.push_str(name);
    if let Some(value) = value {
        text.push('=');
        text.push_str(value);
    }
}

/// What RFC 3261 §25.1 has in a user part besides letters and digits.
const USER_MARKS: &[u8] = b"-_.!~*'()&=+$,;?/";
/// The same for names and values of URI parameters.
const PARAM_MARKS: &[u8] = b"-_.!~*'()[]/:&+$";

/// Escapes all but letters, digits and `marks`. What is written is within the grammar, though what is read may be wider.
fn push_escaped(out: &mut String, text: &str, marks: &[u8]) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for &b in text.as_bytes() {
        if b.is_ascii_alphanumeric() || marks.contains(&b) {
            out.push(b as char);
        } else {
            out.push('%');
            out.push(HEX[usize::from(b >> 4)]);
            out.push(HEX[usize::from(b & 15)]);
        }
    }
}

fn sip_text(user: Option<&str>, host: &HostOwned, port: Option<u16>) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(48);
    text.push_str("sip:");
    if let Some(user) = user {
        push_escaped(&mut text, user, USER_MARKS);
        text.push('@');
    }
    // Writing to a String cannot fail.
    let _ = write!(text, "{host}");
    if let Some(port) = port {
        let _ = write!(text, ":{port}");
    }
    text
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Uri, UriError> {
        Uri::parse(text)
    }
}

impl PartialEq for Uri {
    fn eq(&self, other: &Uri) -> bool {
        self.text == other.text
    }
}

impl Eq for Uri {}

impl Hash for Uri {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

#[cfg(test)]
mod tests;
