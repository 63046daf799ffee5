//! Where a request goes: RFC 3261 §8.1.2 and §18.1.1, with the parts of RFC 3263 that need no NAPTR or SRV.

use std::net::SocketAddr;

use ringback_sip::Uri;
use smallvec::SmallVec;

use crate::api::{ConnectionId, Flow, Service, Transport};

/// One address to try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
    pub(crate) connection: Option<ConnectionId>,
    /// Of a flow of datagrams: our own end of it.
    pub(crate) local: Option<SocketAddr>,
}

impl Target {
    pub(crate) fn of_flow(flow: &Flow) -> Target {
        let local = Some(flow.local).filter(|local| !flow.transport.is_reliable() && !local.ip().is_unspecified());
        Target { transport: flow.transport, address: flow.remote, connection: flow.connection, local }
    }

    pub(crate) fn at(transport: Transport, address: SocketAddr) -> Target {
        Target { transport, address, connection: None, local: None }
    }

    /// RFC 3261 §18.1.1: whether a stream is to be tried where a request is too long for a datagram. Not in place of a flow (RFC 5626 §5.3), which
    /// leads through a NAT that a connection of ours does not.
    pub(crate) fn gives_way_to_stream(&self) -> bool {
        self.transport == Transport::Udp && self.local.is_none()
    }

    /// Whether trying both is trying one place twice.
    pub(crate) fn is_same(&self, other: &Target) -> bool {
        *self == Target { local: self.local, ..*other }
    }

    /// RFC 3261 §26.2.2: whether a request to a `sips` URI may go there. A proxy of the same host, that a Route names, is behind no wire that
    /// somebody could listen on.
    pub(crate) fn is_fit_for_sips(&self, routed: bool) -> bool {
        self.transport.is_secure() || routed && self.address.ip().is_loopback()
    }
}

/// Addresses in the order in which they are tried.
pub(crate) type Targets = SmallVec<[Target; 2]>;

/// No more addresses of a name than this are tried.
pub(crate) const MAX_TARGETS: usize = 8;

/// What a URI says about where to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Destination {
    Known(Target),
    /// A host name to look up first.
    Named {
        host: String,
        port: u16,
        service: Service,
    },
}

/// Why a URI leads nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unreachable;

impl Destination {
    /// `configured`, `sips`: as `Service::of_target` has them.
    pub(crate) fn of(uri: &Uri, configured: &[Transport], sips: bool) -> Result<Destination, Unreachable> {
        let service = Service::of_target(uri, configured, sips).ok_or(Unreachable)?;
        let transport = service.transport;
        let port = uri.port().unwrap_or(transport.default_port());
        if port == 0 {
            return Err(Unreachable);
        }
        // RFC 3261 §19.1.1: maddr overrides the host.
        let named = match uri.maddr() {
            Some(maddr) => ringback_sip::Host::parse(maddr).ok_or(Unreachable)?,
            None => uri.host().ok_or(Unreachable)?,
        };
        Ok(match named.ip() {
            Some(ip) => Destination::Known(Target::at(transport, SocketAddr::new(ip, port))),
            None => Destination::Named { host: named.to_string(), port, service },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_uris_lead() {
        for (uri, expected) in [
            ("sip:a@192.0.2.1", Some("UDP 192.0.2.1:5060")),
            ("sip:a@192.0.2.1:5070;transport=TCP", Some("TCP 192.0.2.1:5070")),
            ("sip:a@[2001:db8::1]", Some("UDP [2001:db8::1]:5060")),
            ("sip:a@x.example;transport=tcp", Some("TCP name x.example:5060")),
            ("sip:a@x.example;maddr=192.0.2.7", Some("UDP 192.0.2.7:5060")),
            ("sip:a@192.0.2.1;transport=sctp", None),
            ("sip:a@192.0.2.1;transport=tls", Some("TLS 192.0.2.1:5061")),
            ("sip:a@192.0.2.1:5080;transport=tls", Some("TLS 192.0.2.1:5080")),
            ("sip:a@192.0.2.1;transport=ws", Some("WS 192.0.2.1:80")),
            ("sip:a@192.0.2.1;transport=wss", Some("WSS 192.0.2.1:443")),
            ("sips:a@192.0.2.1", Some("TLS 192.0.2.1:5061")),
            ("sips:a@x.example;transport=tcp", Some("TLS name x.example:5061")),
            ("sips:a@192.0.2.1;transport=ws", Some("WSS 192.0.2.1:443")),
            ("sips:a@192.0.2.1;transport=udp", None),
            ("tel:+1234", None),
        ] {
            assert_eq!(found(uri, &[], false).as_deref(), expected, "{uri}");
        }
    }

    fn found(uri: &str, configured: &[Transport], sips: bool) -> Option<String> {
        let destination = Destination::of(&Uri::parse(uri).unwrap(), configured, sips).ok()?;
        Some(match destination {
            Destination::Known(target) => format!("{} {}", target.transport, target.address),
            Destination::Named { host, port, service } => format!("{} name {host}:{port}", service.transport),
        })
    }

    #[test]
    fn what_is_configured_decides_where_nothing_else_does() {
        use Transport::{Tcp, Tls, Udp, Ws, Wss};
        for (uri, configured, sips, expected) in [
            ("sip:a@192.0.2.1", &[Tcp][..], false, Some("TCP 192.0.2.1:5060")),
            ("sip:a@192.0.2.1", &[Tls, Tcp], false, Some("TCP 192.0.2.1:5060")),
            ("sip:a@192.0.2.1", &[Tcp, Udp], false, Some("UDP 192.0.2.1:5060")),
            ("sip:a@192.0.2.1", &[Tls], false, Some("TLS 192.0.2.1:5061")),
            ("sip:a@192.0.2.1:5070", &[Tls], false, Some("TLS 192.0.2.1:5070")),
            ("sip:a@192.0.2.1", &[Ws], false, Some("WS 192.0.2.1:80")),
            ("sip:a@x.example:5070", &[Wss], false, Some("WSS name x.example:5070")),
            // What is named is not exchanged for something else.
            ("sip:a@192.0.2.1;transport=udp", &[Tcp], false, Some("UDP 192.0.2.1:5060")),
            ("sips:a@192.0.2.1", &[Udp, Wss], false, Some("WSS 192.0.2.1:443")),
            ("sips:a@192.0.2.1", &[Udp], false, Some("TLS 192.0.2.1:5061")),
            // RFC 3261 §8.1.2: the route to a sips resource.
            ("sip:192.0.2.1;lr", &[Udp, Tcp, Tls], true, Some("TLS 192.0.2.1:5061")),
            ("sip:192.0.2.1;transport=tcp;lr", &[Udp, Tcp, Tls], true, Some("TLS 192.0.2.1:5061")),
            ("sip:192.0.2.1;transport=udp;lr", &[Udp, Tcp, Tls], true, None),
        ] {
            assert_eq!(found(uri, configured, sips).as_deref(), expected, "{uri} {configured:?} {sips}");
        }
    }
}
