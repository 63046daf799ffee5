//! Hosts: a domain name, an IPv4 address, or an IPv6 reference in brackets (RFC 3261 §25.1, RFC 3986 §3.2.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::grammar::{self, HOST};

/// A host as a view of the text that it stands in.
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    Domain(&'a str),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// A host that owns its name.
#[derive(Clone, Debug)]
pub enum HostOwned {
    Domain(Box<str>),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// A whole text as a host. IPv6 with or without its brackets.
    pub fn parse(text: &'a str) -> Option<Host<'a>> {
        if !text.starts_with('[') && memchr::memchr(b':', text.as_bytes()).is_some() {
            return text.parse().ok().map(Host::V6);
        }
        match Host::take(text) {
            Some((host, "")) => Some(host),
            _ => None,
        }
    }

    /// Splits the host that `text` begins with off.
    pub(crate) fn take(text: &'a str) -> Option<(Host<'a>, &'a str)> {
        if let Some(inner) = text.strip_prefix('[') {
            let (address, rest) = grammar::split_once(inner, b']')?;
            return Some((Host::V6(address.parse().ok()?), rest));
        }
        let (name, rest) = grammar::take(text, HOST);
        let host = match ipv4(name) {
            Some(address) => Host::V4(address),
            None if is_domain(name) => Host::Domain(name),
            None => return None,
        };
        Some((host, rest))
    }

    /// Where it is to be reached. RFC 5118 §4.9: an IPv4 address mapped into IPv6 by IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        match *self {
            Host::Domain(_) => None,
            Host::V4(address) => Some(IpAddr::V4(address)),
            Host::V6(address) => Some(IpAddr::V6(address).to_canonical()),
        }
    }

    pub fn to_owned(&self) -> HostOwned {
        match *self {
            Host::Domain(name) => HostOwned::Domain(name.into()),
            Host::V4(address) => HostOwned::V4(address),
            Host::V6(address) => HostOwned::V6(address),
        }
    }
}

/// RFC 3261 §25.1: four times one to three decimal digits; leading zeros are legal there, and decimal.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    if !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let mut octets = [0u8; 4];
    let mut parts = text.as_bytes().split(|&b| b == b'.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.len() > 3 {
            return None;
        }
        *octet = grammar::decimal(part, 255)? as u8;
    }
    parts.next().is_none().then(|| octets.into())
}

/// Labels are not empty but for a root's dot, and the last one does not look like a part of an address
/// (RFC 3261 §25.1: `toplabel` begins with a letter).
fn is_domain(name: &str) -> bool {
    let name = name.as_bytes();
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.is_empty() || name.len() > 253 {
        return false;
    }
    let mut empty = true;
    let mut digits = true;
    for &b in name {
        if b != b'.' {
            empty = false;
            digits &= b.is_ascii_digit();
        } else if empty {
            return false;
        } else {
            (empty, digits) = (true, true);
        }
    }
    !empty && !digits
}

impl HostOwned {
    pub fn as_host(&self) -> Host<'_> {
        match self {
            HostOwned::Domain(name) => Host::Domain(name),
            HostOwned::V4(address) => Host::V4(*address),
            HostOwned::V6(address) => Host::V6(*address),
        }
    }

    pub fn ip(&self) -> Option<IpAddr> {
        self.as_host().ip()
    }
}

impl From<IpAddr> for HostOwned {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => HostOwned::V4(address),
            IpAddr::V6(address) => HostOwned::V6(address),
        }
    }
}

/// An address where the text is one, otherwise a name, which is not checked here but where it is used.
impl From<&str> for HostOwned {
    fn from(text: &str) -> Self {
        Host::parse(text).map_or_else(|| HostOwned::Domain(text.into()), |host| host.to_owned())
    }
}

impl From<Host<'_>> for HostOwned {
    fn from(host: Host<'_>) -> Self {
        host.to_owned()
    }
}

/// Names compare without regard to case.
impl PartialEq for Host<'_> {
    fn eq(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Host::Domain(a), Host::Domain(b)) => a.eq_ignore_ascii_case(b),
            (Host::V4(a), Host::V4(b)) => a == b,
            (Host::V6(a), Host::V6(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

impl PartialEq for HostOwned {
    fn eq(&self, other: &HostOwned) -> bool {
        self.as_host() == other.as_host()
    }
}

impl Eq for HostOwned {}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Domain(name) => f.write_str(name),
            Host::V4(address) => address.fmt(f),
            Host::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for HostOwned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_host().fmt(f)
    }
}
