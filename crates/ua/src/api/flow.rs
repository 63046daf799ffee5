use std::fmt;
use std::net::SocketAddr;

use ringback_sip::{Scheme, Uri};

/// How messages travel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    /// WebSocket, RFC 7118.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Transport {
    /// All of them, in the order in which they are preferred where nothing else decides.
    pub const ALL: [Transport; 5] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

    /// As Via spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// As the `transport` URI parameter spells it. (RFC 7118 has only `ws`, and `sips` for WSS; everybody takes `wss` as well.)
    pub const fn as_param(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }

    /// RFC 3261 §17: over a reliable transport requests are not retransmitted and completed transactions do not linger.
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// Whether it runs over TLS.
    pub const fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    pub const fn is_websocket(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    /// RFC 3261 §19.1.2, RFC 7118 §5.5: where a URI has no port.
    pub const fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }

    /// The value of a `transport` URI parameter, which is case-insensitive.
    pub fn from_param(value: &str) -> Option<Transport> {
        Transport::ALL.into_iter().find(|transport| value.eq_ignore_ascii_case(transport.as_param()))
    }

    /// RFC 3261 §26.2.2: what takes the place of this transport on the way to a `sips` URI; `None`: nothing does.
    pub const fn secured(self) -> Option<Transport> {
        match self {
            Transport::Udp => None,
            Transport::Tcp | Transport::Tls => Some(Transport::Tls),
            Transport::Ws | Transport::Wss => Some(Transport::Wss),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a URI with a host name says about the way there: RFC 3263 §4.1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Service {
    /// The transport that the URI names, or the one that is used where nothing says otherwise.
    pub transport: Transport,
    pub transport_named: bool,
    /// Then the name is that of a host, and only its addresses are looked up.
    pub port_named: bool,
    /// Only what is secured will do.
    pub sips: bool,
}

impl Service {
    /// `configured`: the transports that there are; none: as if there were all. `None`: the URI leads nowhere.
    pub fn of(uri: &Uri, configured: &[Transport]) -> Option<Service> {
        Service::of_target(uri, configured, false)
    }

    /// `sips`: the resource is a `sips` one, whatever URI says where to go (RFC 3261 §8.1.2).
    pub(crate) fn of_target(uri: &Uri, configured: &[Transport], sips: bool) -> Option<Service> {
        let sips = match uri.scheme() {
            Scheme::Sip => sips,
            Scheme::Sips => true,
            _ => return None,
        };
        let named = match uri.transport() {
            Some(name) => Some(Transport::from_param(name)?),
            None => None,
        };
        // RFC 3263 §4.1: UDP where nothing says otherwise, for sips TLS; another transport where that one is not there.
        let usual = || {
            let usable = |transport: &Transport| {
                (configured.is_empty() || configured.contains(transport)) && (!sips || transport.is_secure())
            };
            let first = Transport::ALL.into_iter().find(usable);
            first.unwrap_or(if sips { Transport::Tls } else { Transport::Udp })
        };
        let transport = match named {
            Some(transport) if sips => transport.secured()?,
            Some(transport) => transport,
            None => usual(),
        };
        Some(Service { transport, transport_named: named.is_some(), port_named: uri.port().is_some(), sips })
    }
}

/// Where a peer may be reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    pub transport: Transport,
    pub address: SocketAddr,
}

/// One stream, as whoever owns the sockets numbers them. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// The path a message came by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    pub transport: Transport,
    /// The address it really arrived at: bound or chosen by route, never unspecified.
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub connection: Option<ConnectionId>,
}

/// Where an instance is that has a GRUU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Home {
    /// Reached by this way alone.
    Flow(Flow),
    /// By its own address.
    Contact(Uri),
}

/// Which of our addresses packets to a peer leave by.
pub trait Routes: Send {
    /// The address, with the listening port, that `remote` sees packets of `transport` come from; `None`: not reachable by it.
    fn local_address(&mut self, transport: Transport, remote: SocketAddr) -> Option<SocketAddr>;

    /// Whether datagrams to `remote` can leave from `local`, port and all: it was ours once, when a flow began there.
    fn leaves_by(&mut self, _local: SocketAddr, _remote: SocketAddr) -> bool {
        false
    }

    /// What a NAT makes of `local` on the way to `remote`, for datagrams: what Contact says instead. `None`: as it is, as far as is known.
    fn public_address(&self, _local: SocketAddr, _remote: SocketAddr) -> Option<SocketAddr> {
        None
    }

    /// Where a GRUU that was given out here (RFC 5627) leads to now. `None`: it is none of ours, or nobody is there.
    fn home(&self, _gruu: &Uri) -> Option<Home> {
        None
    }
}
