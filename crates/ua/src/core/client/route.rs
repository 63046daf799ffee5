//! The way of a request to an address that takes it (RFC 3263): look-up, Via and Contact for each attempt, TCP for what is too large.

use std::net::SocketAddr;
use std::sync::Arc;

use ringback_sip::HeaderName;
use ringback_time::Now;

use crate::api::{FailCause, Output, Place, ResolveId, Transport};
use crate::arena::Index;
use crate::core::client::LONGEST_DATAGRAM;
use crate::core::{Transaction, Ua};
use crate::target::{Destination, MAX_TARGETS, Target, Targets};
use crate::transaction::key::{Branch, Key};
/// A name look-up under way, and for what.
pub(in crate::core) enum Resolution {
    Client(Index, Transport),
    /// The ACK to a 2xx, of this call.
    Ack(Index, Transport, Option<Arc<str>>),
}

impl Ua {
    /// Takes the next address; when there is none left, fails with `cause`.
    pub(super) fn try_next(&mut self, now: Now, index: Index, mut cause: Option<FailCause>) {
        loop {
            let Some(client) = self.clients.get_mut(index) else { return };
            if client.targets.is_empty() {
                match client.later.take() {
                    Some(Destination::Known(target)) => {
                        client.domain = None;
                        client.targets.push(target);
                    }
                    Some(Destination::Named { host, port, service }) => {
                        let resolution = self.resolutions.insert(Resolution::Client(index, service.transport));
                        client.resolution = Some(resolution);
                        client.domain = Some(Arc::from(host.as_str()));
                        // What is said about the last address does not concern the next.
                        if client.current.take().is_some_and(|current| current.transport.is_reliable()) {
                            self.streams -= 1;
                        }
                        self.output.push_back(Output::Resolve { id: ResolveId::new(resolution), host, port, service });
                        return;
                    }
                    None => {
                        let cause = cause.unwrap_or_else(|| FailCause::Transport("no way to the peer".into()));
                        return self.fail_client(now, index, cause);
                    }
                }
            }
            let target = client.targets.remove(0);
            match self.address_client(index, target) {
                Ok(()) => return self.begin(now, index),
                // An address that we have no way to says less than one that failed.
                Err(why) => {
                    cause.get_or_insert(why);
                }
            }
        }
    }

    /// Writes Via and Contact for one address, with a new branch: each attempt is a transaction of its own (RFC 3263 §4.3).
    fn address_client(&mut self, index: Index, mut target: Target) -> Result<(), FailCause> {
        if let Some(client) = self.clients.get(index)
            && client.draft.is_sips()
            && !target.is_fit_for_sips(client.draft.has(&HeaderName::Route))
        {
            // RFC 3261 §26.2.2.
            let why = format!("sips does not go by {} to {}", target.transport, target.address);
            return Err(FailCause::Transport(why));
        }
        let local = self.local_for(&target);
        let configured = &self.config.transports;
        let unreachable = || {
            let Target { transport, address, .. } = target;
            let why = match transport {
                _ if !configured.is_empty() && !configured.contains(&transport) => {
                    format!("no {transport} to {address}: it is not configured")
                }
                Transport::Udp | Transport::Tcp => format!("no route to {address}"),
                _ => format!("no {transport} to {address}: not configured, or no route"),
            };
            FailCause::Transport(why)
        };
        let mut local = local.ok_or_else(unreachable)?;
        let random = Branch(rand_core::RngCore::next_u64(&mut self.rng));
        let mapped = self.mapped(target.transport, local, target.address);
        let Some(client) = self.clients.get_mut(index) else { return Err(FailCause::Ended) };
        let keep_udp = std::mem::take(&mut client.keep_udp);
        let branch = client.fixed_branch.take().unwrap_or(random);
        let sips = target.transport.is_secure() && client.draft.is_sips();
        // Contact depends on the transport, so the request is written before its size is known.
        let sender = |transport: Transport, local| crate::wire::request::Sender {
            transport,
            local,
            public_address: self.texts.public_address.as_deref(),
            mapped: mapped.filter(|_| transport == Transport::Udp),
            user: &self.config.user,
            sips,
        };
        client.draft.address(&sender(target.transport, local), branch);
        client.moved = false;
        // RFC 3261 §18.1.1.
        if target.gives_way_to_stream()
            && !keep_udp
            && client.draft.bytes.len() > LONGEST_DATAGRAM
            && let Some(stream_local) = self.routes.local_address(Transport::Tcp, target.address)
        {
            local = stream_local;
            target.transport = Transport::Tcp;
            client.moved = true;
            client.draft.address(&sender(target.transport, local), branch);
        }
        let old = client.branch.replace(branch);
        let was_stream = client.current.is_some_and(|current| current.transport.is_reliable());
        client.current = Some(target);
        client.local = Some(local);
        client.interval = self.config.t1;
        let class = client.class;
        if was_stream {
            self.streams -= 1;
        }
        if let Some(old) = old {
            self.transactions.remove(&Key::of_client(old, class));
        }
        self.transactions.insert(Key::of_client(branch, class), Transaction::Client(index));
        Ok(())
    }

    /// A look-up ended that found addresses only: they are reached by the transport that was asked for.
    pub fn handle_resolved(&mut self, now: Now, id: ResolveId, result: Result<Vec<SocketAddr>, String>) {
        let transport = match self.resolutions.get(id.index()) {
            Some(Resolution::Client(_, transport) | Resolution::Ack(_, transport, _)) => *transport,
            None => return,
        };
        let place = |address| Place { transport, address };
        self.handle_located(now, id, result.map(|addresses| addresses.into_iter().map(place).collect()));
    }

    /// A look-up ended: where the peer may be, best first (RFC 3263 §4). The result of one that nobody waits for any more is ignored.
    pub fn handle_located(&mut self, now: Now, id: ResolveId, result: Result<Vec<Place>, String>) {
        let Some(resolution) = self.resolutions.remove(id.index()) else { return };
        let resting = &self.resting;
        let targets = |mut places: Vec<Place>| -> Targets {
            places.retain(|place| !place.address.ip().is_unspecified() && place.address.port() != 0);
            resting.leave_out(now.mono, &mut places);
            let target = |Place { transport, address }| Target::at(transport, address);
            places.into_iter().take(MAX_TARGETS).map(target).collect()
        };
        match resolution {
            Resolution::Client(index, _) => {
                let Some(client) = self.clients.get_mut(index) else { return };
                client.resolution = None;
                let cause = match result {
                    Ok(addresses) => {
                        client.targets = targets(addresses);
                        FailCause::Unresolved("no usable address".into())
                    }
                    Err(why) => FailCause::Unresolved(why),
                };
                self.try_next(now, index, Some(cause));
            }
            Resolution::Ack(call, _, domain) => {
                if let Ok(addresses) = result
                    && let Some(target) = targets(addresses).first().copied()
                {
                    self.ack_resolved(call, target, domain);
                }
            }
        }
    }
}
