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
}

impl Target {
    pub(crate) fn of_flow(flow: &Flow) -> Target {
        Target { transport: flow.transport, address: flow.remote, connection: flow.connection }
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
    pub(crate) fn of(uri: &Uri) -> Result<Destination, Unreachable> {
        let service = Service::of(uri).ok_or(Unreachable)?;
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
            Some(ip) => Destination::Known(Target { transport, address: SocketAddr::new(ip, port), connection: None }),
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
            let found = Destination::of(&Uri::parse(uri).unwrap()).ok().map(|destination| match destination {
                Destination::Known(target) => format!("{} {}", target.transport, target.address),
                Destination::Named { host, port, service } => format!("{} name {host}:{port}", service.transport),
            });
            assert_eq!(found.as_deref(), expected, "{uri}");
        }
    }
}
