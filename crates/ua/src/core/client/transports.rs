//! What the transports say of client transactions: streams opened and closed, addresses that cannot be reached.

use std::net::SocketAddr;

use ringback_time::Now;

use crate::api::{ConnectionId, FailCause, Transport};
use crate::arena::Index;
use crate::core::Ua;
use crate::core::client::drive::Input;
use crate::core::client::{Client, Machine};
use crate::target::Target;
use crate::transaction::{client_invite, client_request};

impl Ua {
    /// A stream that `Transmit` without connection asked for is open. `domain`: the one of that `Transmit`.
    pub fn handle_connected(
        &mut self,
        now: Now,
        transport: Transport,
        remote: SocketAddr,
        domain: Option<&str>,
        connection: ConnectionId,
    ) {
        if self.streams == 0 {
            return;
        }
        for client in self.clients.iter_mut() {
            if client.waits_for(transport, remote, domain)
                && let Some(current) = &mut client.current
            {
                current.connection = Some(connection);
                client.begun = now.mono;
            }
        }
    }

    /// A stream could not be opened: requests that wait for it go to their next address, or fail.
    pub fn handle_connect_failed(
        &mut self,
        now: Now,
        transport: Transport,
        remote: SocketAddr,
        domain: Option<&str>,
        cause: &str,
    ) {
        self.target_failed(now, cause, |client| client.waits_for(transport, remote, domain));
    }

    /// Something sent to `remote` did not get there (ICMP port unreachable, no route, message too long).
    pub fn handle_send_failed(&mut self, now: Now, transport: Transport, remote: SocketAddr, cause: &str) {
        self.target_failed(now, cause, |client| {
            client.current.is_some_and(|current| current.transport == transport && current.address == remote)
        });
    }

    /// A stream was closed, by whomever. A request that has been answered provisionally goes on waiting: the final response may come by
    /// another stream (RFC 3261 §18.2.2).
    pub fn handle_closed(&mut self, now: Now, connection: ConnectionId) {
        if self.streams == 0 {
            return;
        }
        let waiting: Vec<Index> = self
            .clients
            .iter()
            .filter(|(_, client)| client.current.is_some_and(|current| current.connection == Some(connection)))
            .map(|(index, _)| index)
            .collect();
        for index in waiting {
            let Some(client) = self.clients.get_mut(index) else { continue };
            if let Some(current) = &mut client.current {
                current.connection = None;
            }
            if client.is_waiting() {
                self.transport_error(now, index, "connection closed");
            }
        }
    }

    fn target_failed(&mut self, now: Now, cause: &str, concerned: impl Fn(&Client) -> bool) {
        // Rare, and the peer must have been sent something: a walk over what is unanswered is cheaper than an index of all of it.
        let failed: Vec<Index> = self
            .clients
            .iter()
            .filter(|(_, client)| client.is_waiting() && concerned(client))
            .map(|(index, _)| index)
            .collect();
        for index in failed {
            self.transport_error(now, index, cause);
        }
    }

    fn transport_error(&mut self, now: Now, index: Index, cause: &str) {
        let Some(client) = self.clients.get_mut(index) else { return };
        if client.moved
            && let Some(current) = client.current
        {
            // RFC 3261 §18.1.1: back to UDP when the stream cannot be had.
            client.moved = false;
            client.keep_udp = true;
            client.targets.insert(0, Target { transport: Transport::Udp, connection: None, ..current });
        }
        let cause = FailCause::Transport(cause.into());
        if client.has_more() {
            self.timers.stop(&mut client.retransmit);
            self.timers.stop(&mut client.end);
            return self.try_next(now, index, Some(cause));
        }
        let input = match client.machine {
            Machine::Invite(_) => Input::Invite(client_invite::Input::TransportError),
            Machine::Request(_) => Input::Request(client_request::Input::TransportError),
        };
        if let Some(outcome) = self.drive_client(now, index, input)
            && outcome.transport_error
        {
            self.fail_client(now, index, cause);
        }
    }
}
