use std::fmt;
use std::net::SocketAddr;

/// How messages travel. TLS, WS and WSS come later.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    /// As Via spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        }
    }

    /// As the `transport` URI parameter spells it.
    pub const fn as_param(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        }
    }

    /// RFC 3261 §17: over a reliable transport requests are not retransmitted and completed transactions do not linger.
    pub const fn is_reliable(self) -> bool {
        match self {
            Transport::Udp => false,
            Transport::Tcp => true,
        }
    }

    /// The value of a `transport` URI parameter, which is case-insensitive.
    pub const fn from_param(value: &str) -> Option<Transport> {
        if value.eq_ignore_ascii_case("udp") {
            Some(Transport::Udp)
        } else if value.eq_ignore_ascii_case("tcp") {
            Some(Transport::Tcp)
        } else {
            None
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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

/// Which of our addresses packets to a peer leave by.
pub trait Routes: Send {
    /// The address, with the listening port, that `remote` sees packets of `transport` come from; `None`: not reachable by it.
    fn local_address(&mut self, transport: Transport, remote: SocketAddr) -> Option<SocketAddr>;
}
