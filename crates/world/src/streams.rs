//! Connections between systems. They carry whole messages: framing is `ringback-net`'s, and tested there.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use ringback_ua::ConnectionId;

/// One end of a connection, at the system it belongs to.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Its number at the other end.
    pub(crate) peer: ConnectionId,
    /// What waits until it is open. `None`: it is.
    pub(crate) waiting: Option<Vec<Bytes>>,
}

/// The connections of one system.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    ends: BTreeMap<ConnectionId, End>,
}

impl Streams {
    pub(crate) fn insert(&mut self, id: ConnectionId, end: End) {
        self.ends.insert(id, end);
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut End> {
        self.ends.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<End> {
        self.ends.remove(&id)
    }

    /// One that we have to there, whoever opened it.
    pub(crate) fn to(&self, remote: SocketAddr) -> Option<ConnectionId> {
        self.ends.iter().find(|(_, end)| end.remote == remote).map(|(id, _)| *id)
    }

    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        self.ends.keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}
