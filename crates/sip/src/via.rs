//! The Via header field's values (RFC 3261 §20.42, RFC 3581).

use std::fmt;
use std::net::IpAddr;

use crate::grammar::{self, TOKEN};
use crate::host::{Host, HostOwned};
use crate::params::{self, Params};

/// The transport of a Via. Names compare without regard to case; unknown ones are kept (RFC 4475 §3.1.1.10).
#[derive(Clone, Debug)]
pub enum ViaTransport {
    Udp,
    Tcp,
    Tls,
    Sctp,
    Ws,
    Wss,
    Other(Box<str>),
}

impl ViaTransport {
    /// What is no token becomes `Other` all the same; a [`crate::Builder`] refuses line breaks in it.
    pub fn parse(name: &str) -> ViaTransport {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is("WS") => ViaTransport::Ws,
            3 if is("UDP") => ViaTransport::Udp,
            3 if is("TCP") => ViaTransport::Tcp,
            3 if is("TLS") => ViaTransport::Tls,
            3 if is("WSS") => ViaTransport::Wss,
            4 if is("SCTP") => ViaTransport::Sctp,
            _ => ViaTransport::Other(name.into()),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            ViaTransport::Udp => "UDP",
            ViaTransport::Tcp => "TCP",
            ViaTransport::Tls => "TLS",
            ViaTransport::Sctp => "SCTP",
            ViaTransport::Ws => "WS",
            ViaTransport::Wss => "WSS",
            ViaTransport::Other(name) => name,
        }
    }

    /// RFC 3261 §18: the port where none is written, RFC 7118 §5.5 for WebSocket.
    pub fn default_port(&self) -> u16 {
        match self {
            ViaTransport::Tls => 5061,
            ViaTransport::Ws => 80,
            ViaTransport::Wss => 443,
            _ => 5060,
        }
    }
}

impl PartialEq for ViaTransport {
    fn eq(&self, other: &ViaTransport) -> bool {
        self.as_str().eq_ignore_ascii_case(other.as_str())
    }
}

impl Eq for ViaTransport {}

impl fmt::Display for ViaTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One value of a Via header field: `SIP/2.0/transport host:port;params`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    pub transport: ViaTransport,
    pub host: HostOwned,
    pub port: Option<u16>,
    pub params: Params,
}

/// Why a text is not a Via value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ViaError {
    #[error("malformed sent-protocol")]
    Protocol,
    #[error("malformed sent-by")]
    SentBy,
    #[error("malformed parameter")]
    Params,
}

struct Scanned<'a> {
    transport: &'a str,
    host: Host<'a>,
    port: Option<u16>,
    params: &'a str,
}

/// RFC 3261 §25.1: `sent-protocol LWS sent-by *( SEMI via-params )`, with white space around each separator.
fn scan(text: &str) -> Result<Scanned<'_>, ViaError> {
    let rest = grammar::trim(text);
    let (name, rest) = grammar::take(rest, TOKEN);
    if !name.eq_ignore_ascii_case("SIP") {
        return Err(ViaError::Protocol);
    }
    // Any version: of a message in another one, the Via must be readable to answer 505 (RFC 4475 §3.1.2.16).
    let (_version, rest) = take_part(rest)?;
    let (transport, rest) = take_part(rest)?;
    let by = grammar::trim_start(rest);
    if by.len() == rest.len() {
        return Err(ViaError::SentBy);
    }
    let (host, rest) = Host::take(by).ok_or(ViaError::SentBy)?;
    let mut params = grammar::trim_start(rest);
    let mut port = None;
    if let Some(rest) = params.strip_prefix(':') {
        let rest = grammar::trim_start(rest);
        let (digits, rest) = rest.split_at(grammar::span(rest.as_bytes(), |b| b.is_ascii_digit()));
        port = Some(grammar::decimal(digits.as_bytes(), u16::MAX.into()).ok_or(ViaError::SentBy)? as u16);
        params = grammar::trim_start(rest);
    }
    if !params.is_empty() && !params.starts_with(';') {
        return Err(ViaError::SentBy);
    }
    Ok(Scanned { transport, host, port, params })
}

/// A slash and a token, with white space around both.
fn take_part(text: &str) -> Result<(&str, &str), ViaError> {
    let rest = grammar::trim_start(text).strip_prefix('/').ok_or(ViaError::Protocol)?;
    match grammar::take(grammar::trim_start(rest), TOKEN) {
        ("", _) => Err(ViaError::Protocol),
        part => Ok(part),
    }
}

/// Whether the text would parse, without taking copies.
pub(crate) fn check(text: &str) -> Result<(), ViaError> {
    params::scan(scan(text)?.params, |_, _| {}).map_err(|_| ViaError::Params)
}

impl Via {
    pub fn parse(text: &str) -> Result<Via, ViaError> {
        let scanned = scan(text)?;
        Ok(Via {
            transport: ViaTransport::parse(scanned.transport),
            host: scanned.host.to_owned(),
            port: scanned.port,
            params: Params::parse(scanned.params).map_err(|_| ViaError::Params)?,
        })
    }

    /// As [`Via::parse`], but stops at the first malformed parameter: enough to send an error response back by
    /// (RFC 4475 §3.1.2.1).
    pub fn salvage(text: &str) -> Option<Via> {
        let scanned = scan(text).ok()?;
        Some(Via {
            transport: ViaTransport::parse(scanned.transport),
            host: scanned.host.to_owned(),
            port: scanned.port,
            params: Params::salvage(scanned.params),
        })
    }

    pub fn new(transport: ViaTransport, host: impl Into<HostOwned>, port: Option<u16>) -> Via {
        Via { transport, host: host.into(), port, params: Params::default() }
    }

    pub fn with_branch(mut self, branch: &str) -> Via {
        self.params.set("branch", Some(branch));
        self
    }

    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch")?
    }

    /// The `received` parameter as it is written.
    pub fn received(&self) -> Option<&str> {
        self.params.get("received")?
    }

    /// The `received` parameter as an address, IPv6 with or without brackets.
    pub fn received_ip(&self) -> Option<IpAddr> {
        Host::parse(self.received()?)?.ip()
    }

    /// RFC 3581 §3: `Some(None)` where the client asks for the port, `Some(Some(port))` where it was filled in.
    /// A value that is no port counts as none.
    pub fn rport(&self) -> Option<Option<u16>> {
        let value = self.params.get("rport")?;
        Some(value.and_then(|v| grammar::decimal(v.as_bytes(), u16::MAX.into())).map(|port| port as u16))
    }

    pub fn maddr(&self) -> Option<&str> {
        self.params.get("maddr")?
    }

    pub fn ttl(&self) -> Option<u8> {
        let value = self.params.get("ttl")??;
        grammar::decimal(value.as_bytes(), u8::MAX.into()).map(|ttl| ttl as u8)
    }

    /// Host and port as they are written: `sent-by` of RFC 3261 §17.2.3.
    pub fn sent_by(&self) -> SentBy<'_> {
        SentBy { host: self.host.as_host(), port: self.port }
    }
}

/// Host and port of a Via. Names compare without regard to case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentBy<'a> {
    pub host: Host<'a>,
    pub port: Option<u16>,
}

impl fmt::Display for SentBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Via {
    type Err = ViaError;

    fn from_str(text: &str) -> Result<Via, ViaError> {
        Via::parse(text)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}{}", self.transport, self.sent_by(), self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let v = Via::parse(
            "SIP / 2.0 / udp  first.example.com : 4000 ;ttl=16 ;maddr=224.2.0.1 ;branch = z9hG4bKa7c6a8dlze.1",
        )
        .unwrap();
        assert_eq!(v.transport, ViaTransport::Udp);
        assert_eq!(v.host, HostOwned::from("FIRST.example.com"));
        assert_eq!((v.port, v.ttl(), v.maddr()), (Some(4000), Some(16), Some("224.2.0.1")));
        assert_eq!(v.branch(), Some("z9hG4bKa7c6a8dlze.1"));
        assert_eq!(
            v.to_string(),
            "SIP/2.0/UDP first.example.com:4000;ttl=16;maddr=224.2.0.1;branch=z9hG4bKa7c6a8dlze.1"
        );
        let v = Via::parse("SIP/2.0/TLS [2001:db8::9:1];received=[2001:db8::9:255];rport;branch=z").unwrap();
        assert_eq!(v.received_ip(), Some("2001:db8::9:255".parse().unwrap()));
        assert_eq!((v.rport(), v.port), (Some(None), None));
        let v = Via::parse("SIP/2.0/QUIC h;received=2001:db8::1;rport=5061").unwrap();
        assert_eq!(v.received_ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(v.rport(), Some(Some(5061)));
        assert_eq!(v.transport.as_str(), "QUIC");
        assert_eq!(v.branch(), None);
        let v = Via::new(ViaTransport::Tcp, "::1", Some(5060)).with_branch("z9hG4bKx");
        assert_eq!(v.to_string(), "SIP/2.0/TCP [::1]:5060;branch=z9hG4bKx");
    }

    #[test]
    fn refused() {
        for (text, error) in [
            ("", ViaError::Protocol),
            ("HTTP/1.1/TCP h", ViaError::Protocol),
            ("SIP/2.0 h", ViaError::Protocol),
            ("SIP/2.0/ h", ViaError::SentBy),
            ("SIP/2.0/UDP", ViaError::SentBy),
            ("SIP/2.0/UDP ;branch=x", ViaError::SentBy),
            ("SIP/2.0/UDP h:", ViaError::SentBy),
            ("SIP/2.0/UDP h:99999", ViaError::SentBy),
            ("SIP/2.0/UDP h x", ViaError::SentBy),
            ("SIP/2.0/UDP 192.0.2.15;;", ViaError::Params),
        ] {
            assert_eq!(Via::parse(text).err(), Some(error), "{text}");
            assert!(check(text).is_err());
        }
        let v = Via::salvage("SIP/2.0/UDP 192.0.2.15;branch=x;;rport").unwrap();
        assert_eq!(v.to_string(), "SIP/2.0/UDP 192.0.2.15;branch=x");
        assert!(Via::salvage("SIP/2.0/UDP").is_none());
    }
}
