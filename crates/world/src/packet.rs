use std::net::SocketAddr;

use bytes::Bytes;
use ringback_ua::ConnectionId;

/// One datagram, or one framed message of a stream, as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub kind: Kind,
    pub bytes: Bytes,
}

/// What the sender meant it to be; the receiver goes by the port alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Sip,
    Rtp,
    Rtcp,
    /// From outside, see `World::send_raw`.
    Raw,
    /// A SIP message on a connection, by the number it has at the receiver.
    Stream(ConnectionId),
}
