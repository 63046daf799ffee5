//! Server transactions: the data behind the tables of `transaction::server_invite` and `transaction::server_request`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringback_time::Now;
use tracing::debug;

use crate::api::{ConnectionId, Flow, Output, Transmit, Transport};
use crate::arena::Index;
use crate::core::share::Hold;
use crate::core::{Transaction, Ua, log};
use crate::timer::{Kind, Target as Wake, TimerId};
use crate::transaction::key::Key;
use crate::transaction::linger::{Length, Past};
use crate::transaction::{server_invite, server_request};
use crate::wire::echo::Echo;
use crate::wire::via::TopVia;

/// Where responses go: RFC 3261 §18.2.2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) transport: Transport,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) connection: Option<ConnectionId>,
}

impl Path {
    pub(super) fn of(via: &TopVia<'_>, flow: &Flow) -> Path {
        Path {
            transport: flow.transport,
            local: flow.local,
            remote: via.reply_address(flow),
            connection: flow.connection,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Machine {
    Invite(server_invite::State),
    Request(server_request::State),
}

/// One server transaction that waits for the user or for an ACK.
pub(super) struct Server {
    key: Key,
    pub(super) machine: Machine,
    pub(super) path: Path,
    /// Until the final response is composed.
    pub(super) echo: Option<Echo>,
    last: Option<Bytes>,
    /// The call it is for; it may have ended.
    pub(super) owner: Option<Index>,
    /// Its 2xx has a Contact.
    pub(super) refreshes: bool,
    /// Our tag in its responses.
    pub(super) tag: u64,
    pub(super) cseq: u32,
    /// Whether the INVITE had no body: its 2xx carries the offer.
    pub(super) late_offer: bool,
    /// What it counts as while it is half open.
    pub(super) held: Option<Hold>,
    interval: Duration,
    trying: Option<TimerId>,
    retransmit: Option<TimerId>,
    pub(super) end: Option<TimerId>,
}

impl Server {
    /// Answered, and kept for retransmissions of the request alone.
    pub(super) fn is_answered(&self) -> bool {
        self.machine == Machine::Request(server_request::State::Completed)
    }
}

/// What a new server transaction is about.
pub(super) struct NewServer {
    pub(super) key: Key,
    pub(super) machine: Machine,
    pub(super) path: Path,
    pub(super) echo: Echo,
    pub(super) owner: Option<Index>,
    pub(super) tag: u64,
    pub(super) cseq: u32,
    pub(super) late_offer: bool,
    pub(super) held: Option<Hold>,
}

impl Ua {
    pub(super) fn transmit(&mut self, path: &Path, bytes: Bytes) {
        self.transmit_to(path, None, bytes);
    }

    pub(super) fn transmit_to(&mut self, path: &Path, domain: Option<Arc<str>>, bytes: Bytes) {
        log::sent(path.transport, path.remote, &bytes);
        self.counters.messages_sent += 1;
        self.output.push_back(Output::Transmit(Transmit {
            transport: path.transport,
            local: (path.transport == Transport::Udp).then_some(path.local),
            remote: path.remote,
            connection: path.connection,
            domain,
            bytes,
        }));
    }

    pub(super) fn open_server(&mut self, now: Now, new: NewServer) -> Index {
        let NewServer { key, machine, path, echo, owner, tag, cseq, late_offer, held } = new;
        let invite = matches!(machine, Machine::Invite(_));
        let index = self.servers.insert(Server {
            key,
            machine,
            path,
            echo: Some(echo),
            last: None,
            owner,
            refreshes: false,
            tag,
            cseq,
            late_offer,
            held,
            interval: self.config.t1,
            trying: None,
            retransmit: None,
            end: None,
        });
        self.transactions.insert(key, Transaction::Server(index));
        if !invite && owner.is_none() {
            self.outside += 1;
        }
        if invite {
            // §17.2.1: 100 unless the user answers within 200 ms.
            let trying = self.timers.set(now.mono, self.config.trying_after, Wake { kind: Kind::Trying, owner: index });
            if let Some(server) = self.servers.get_mut(index) {
                server.trying = Some(trying);
            }
        }
        index
    }

    /// Forgets a server transaction; with `past`, but for a row.
    pub(super) fn close_server(&mut self, now: Now, index: Index, past: Option<(Length, Past)>) {
        let Some(mut server) = self.servers.remove(index) else { return };
        self.timers.stop(&mut server.trying);
        self.timers.stop(&mut server.retransmit);
        self.timers.stop(&mut server.end);
        if matches!(server.machine, Machine::Request(_)) && server.owner.is_none() {
            self.outside -= 1;
        }
        match past {
            Some((length, past)) => self.retire(now, server.key, length, past),
            None => {
                self.transactions.remove(&server.key);
            }
        }
    }

    fn send_response(&mut self, index: Index, path: &Path, response: Option<&Bytes>) {
        if let (Some(bytes), Some(server)) = (response, self.servers.get_mut(index)) {
            server.last = Some(bytes.clone());
            self.transmit(path, bytes.clone());
        }
    }

    /// What was sent last, once more.
    fn send_last(&mut self, index: Index, path: &Path) {
        if let Some(bytes) = self.servers.get(index).and_then(|server| server.last.clone()) {
            self.counters.retransmissions_sent += 1;
            self.transmit(path, bytes);
        }
    }

    /// One input of an INVITE server transaction. `false`: the table leaves it out.
    pub(super) fn drive_server_invite(
        &mut self,
        now: Now,
        index: Index,
        input: server_invite::Input,
        response: Option<Bytes>,
    ) -> bool {
        use server_invite::{Action, State};
        let Some(server) = self.servers.get_mut(index) else { return false };
        let Machine::Invite(state) = server.machine else { return false };
        let Some((next, actions)) = server_invite::step(state, input) else { return false };
        server.machine = Machine::Invite(next);
        if next != state {
            debug!(target: "ringback.transaction", "INVITE server {}: {state:?} -> {next:?}", server.tag);
        }
        let path = server.path;
        let reliable = path.transport.is_reliable();
        for action in actions {
            match action {
                Action::Send => self.send_response(index, &path, response.as_ref()),
                Action::SendAgain => self.send_last(index, &path),
                Action::Retransmit => {
                    let Some(server) = self.servers.get_mut(index) else { return true };
                    server.interval = (server.interval * 2).min(self.config.t2);
                    let wake = Wake { kind: Kind::ServerRetransmit, owner: index };
                    server.retransmit = Some(self.timers.set(now.mono, server.interval, wake));
                    self.send_last(index, &path);
                }
                Action::StopTrying => {
                    if let Some(server) = self.servers.get_mut(index) {
                        self.timers.stop(&mut server.trying);
                    }
                }
                Action::StartGH => {
                    let Some(server) = self.servers.get_mut(index) else { return true };
                    server.echo = None;
                    if !reliable {
                        let wake = Wake { kind: Kind::ServerRetransmit, owner: index };
                        server.retransmit = Some(self.timers.set(now.mono, self.config.t1, wake));
                    }
                    let wake = Wake { kind: Kind::ServerEnd, owner: index };
                    server.end = Some(self.timers.set(now.mono, self.config.t1 * 64, wake));
                }
                Action::StopTimers => {
                    if let Some(server) = self.servers.get_mut(index) {
                        self.timers.stop(&mut server.retransmit);
                        self.timers.stop(&mut server.end);
                    }
                }
                // §17.2.1: I is zero over a reliable transport.
                Action::StartI => {
                    self.close_server(now, index, (!reliable).then_some((Length::Short, Past::ServerConfirmed)));
                }
                Action::StartL => self.close_server(now, index, Some((Length::Long, Past::ServerAccepted))),
                // The core finds the dialog of an ACK by itself.
                Action::DeliverAck => {}
            }
        }
        if next == State::Terminated {
            self.close_server(now, index, None);
        }
        true
    }

    /// One input of a non-INVITE server transaction that waits for the user. `simple`: the response is a function of the request.
    pub(super) fn drive_server_request(
        &mut self,
        now: Now,
        index: Index,
        input: server_request::Input,
        response: Option<(Bytes, Option<u16>)>,
    ) -> bool {
        use server_request::{Action, State};
        let Some(server) = self.servers.get_mut(index) else { return false };
        let Machine::Request(state) = server.machine else { return false };
        let Some((next, actions)) = server_request::step(state, input) else { return false };
        server.machine = Machine::Request(next);
        if next != state {
            debug!(target: "ringback.transaction", "request server {}: {state:?} -> {next:?}", server.tag);
        }
        let path = server.path;
        for action in actions {
            match action {
                Action::Send => self.send_response(index, &path, response.as_ref().map(|(bytes, _)| bytes)),
                Action::SendAgain => self.send_last(index, &path),
                Action::StartJ => {
                    // §17.2.2: J is zero over a reliable transport.
                    if path.transport.is_reliable() {
                        self.close_server(now, index, None);
                    } else if let Some((_, Some(status))) = &response {
                        self.close_server(now, index, Some((Length::Long, Past::ServerCompleted(*status))));
                    } else if let Some(server) = self.servers.get_mut(index) {
                        // What the user put into the response cannot be made again: it is kept.
                        server.echo = None;
                        let wake = Wake { kind: Kind::ServerEnd, owner: index };
                        server.end = Some(self.timers.set(now.mono, self.config.t1 * 64, wake));
                    }
                }
            }
        }
        if next == State::Terminated {
            self.close_server(now, index, None);
        }
        true
    }

    /// A timer of a server transaction fired.
    pub(super) fn server_timer(&mut self, now: Now, index: Index, kind: Kind) {
        let Some(server) = self.servers.get_mut(index) else { return };
        match (kind, server.machine) {
            (Kind::Trying, Machine::Invite(_)) => {
                server.trying = None;
                self.send_trying(now, index);
            }
            (Kind::ServerRetransmit, Machine::Invite(_)) => {
                server.retransmit = None;
                self.drive_server_invite(now, index, server_invite::Input::TimerG, None);
            }
            (Kind::ServerEnd, Machine::Invite(_)) => {
                server.end = None;
                self.drive_server_invite(now, index, server_invite::Input::TimerH, None);
            }
            (Kind::ServerEnd, Machine::Request(_)) => {
                server.end = None;
                if !self.drive_server_request(now, index, server_request::Input::TimerJ, None) {
                    // Nobody has answered it.
                    self.close_server(now, index, None);
                }
            }
            _ => {}
        }
    }

    fn send_trying(&mut self, now: Now, index: Index) {
        let Some(echo) = self.servers.get(index).and_then(|server| server.echo.as_ref()) else { return };
        let reply = crate::api::Reply::new(ringback_sip::StatusCode::TRYING);
        let bytes = self.compose_response(echo, &reply);
        self.drive_server_invite(now, index, server_invite::Input::Provisional, Some(bytes));
    }
}
