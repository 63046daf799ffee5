//! Whom to ask, and what came of it.

use std::fmt;
use std::net::SocketAddr;

/// The servers that are asked for each pair of ports. Those of another address family than the ports are passed over.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    pub stun: Option<SocketAddr>,
    pub turn: Option<TurnServer>,
}

#[derive(Clone)]
pub struct TurnServer {
    pub address: SocketAddr,
    pub username: String,
    pub password: String,
}

impl fmt::Debug for TurnServer {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnServer").field("address", &self.address).field("username", &self.username).finish()
    }
}

/// One of the two sockets of a pair of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    Rtp,
    Rtcp,
}

/// Where others reach a pair of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Public {
    pub rtp: SocketAddr,
    pub rtcp: SocketAddr,
    /// By a TURN server; otherwise a NAT translates.
    pub relayed: bool,
}

/// What became of asking one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is none, or none for these ports.
    Unasked,
    Given,
    /// Why there is no address.
    Failed(String),
}

/// What is known once both servers have answered or had their time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `None`: packets go and come directly, by the local address.
    pub public: Option<Public>,
    pub stun: Answer,
    pub turn: Answer,
}
