//! Client transactions: the data behind the tables of `transaction::client_invite` and `transaction::client_request`, from the launch
//! of a request to the end of its transaction. [`drive`] moves them on, [`route`] finds addresses for them, [`anew`] sends them again
//! with a change, [`overtaken`] with another number, [`transports`] hears of streams and of addresses that cannot be reached.

mod anew;
mod drive;
mod overtaken;
mod route;
mod transports;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringback_sip::Method;
use ringback_time::{Mono, Now};

use crate::api::{FailCause, Transport};
use crate::arena::Index;
use crate::core::answering::Authorizing;
pub(super) use crate::core::client::route::Resolution;
use crate::core::server::Path;
use crate::core::{Transaction, Ua};
use crate::target::{Destination, Target, Targets};
use crate::timer::{Kind, Target as Wake, TimerId};
use crate::transaction::key::{Branch, Class, Key};
use crate::transaction::linger::{Length, Past};
use crate::transaction::{client_invite, client_request};
use crate::wire::request::Draft;

/// RFC 3261 §18.1.1: a longer request must not go over UDP, when another way can be had.
pub(super) const LONGEST_DATAGRAM: usize = 1300;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Machine {
    Invite(client_invite::State),
    Request(client_request::State),
}

/// Whom the response is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// The call has ended, or nobody waits (CANCEL).
    Nobody,
    Invite(Index),
    Reinvite(Index),
    Bye(Index),
    Update(Index),
    Request(Index),
    /// Within a call's dialog, but not of the call itself: RFC 5057.
    Aside(Index),
    /// Nobody waits for what becomes of it, but the peer does for the request.
    Prack(Index),
    Standalone(Index),
    Usage(Index),
    /// The BYE to a fork.
    Fork,
}

/// One client transaction, from the command until its final response, and of a refused INVITE until D.
pub(super) struct Client {
    /// It has one way and no other (RFC 5626 §5.3).
    pub(super) pinned: bool,
    class: Class,
    pub(super) machine: Machine,
    pub(super) owner: Owner,
    /// `None` until an address is tried.
    branch: Option<Branch>,
    /// The branch that the first attempt has to take.
    fixed_branch: Option<Branch>,
    pub(super) draft: Draft,
    targets: Targets,
    /// What to try when `targets` are used up.
    later: Option<Destination>,
    pub(super) current: Option<Target>,
    local: Option<SocketAddr>,
    /// The name that led to the addresses: `Transmit::domain`.
    domain: Option<Arc<str>>,
    /// Went to TCP for its size: may come back to UDP.
    moved: bool,
    /// The next attempt stays on UDP whatever its size.
    keep_udp: bool,
    resolution: Option<Index>,
    interval: Duration,
    retransmit: Option<TimerId>,
    end: Option<TimerId>,
    /// The ACK to a refusal, sent again for each retransmission of it.
    ack: Option<Bytes>,
    pub(super) cseq: u32,
    /// Who it says it is from.
    pub(super) authorizing: Option<Box<Authorizing>>,
    /// How often it has got another number because a later request had overtaken it.
    renumbered: u8,
    /// When the request went to `current` for the first time.
    begun: Mono,
}

impl Client {
    /// Nobody's, and addressed to nowhere yet.
    fn new(now: Now, class: Class, machine: Machine, draft: Draft, cseq: u32, interval: Duration) -> Client {
        Client {
            pinned: false,
            class,
            machine,
            owner: Owner::Nobody,
            branch: None,
            fixed_branch: None,
            draft,
            targets: Targets::new(),
            later: None,
            current: None,
            local: None,
            domain: None,
            moved: false,
            keep_udp: false,
            resolution: None,
            interval,
            retransmit: None,
            end: None,
            ack: None,
            cseq,
            authorizing: None,
            renumbered: 0,
            begun: now.mono,
        }
    }

    /// Whether a request has been handed out.
    pub(super) fn is_sent(&self) -> bool {
        self.current.is_some()
    }

    /// RFC 3261 §9.1: whether a provisional response came, so that CANCEL may go.
    pub(super) fn is_proceeding(&self) -> bool {
        self.machine == Machine::Invite(client_invite::State::Proceeding)
    }

    fn is_waiting(&self) -> bool {
        matches!(
            self.machine,
            Machine::Invite(client_invite::State::Calling) | Machine::Request(client_request::State::Trying)
        )
    }

    /// Whether it waits for a stream to be opened. Two names may lead to one address: their streams have been checked for different
    /// certificates (RFC 5922 §7.2), and one is not for the requests of the other. Over TCP nothing tells names apart.
    fn waits_for(&self, transport: Transport, remote: SocketAddr, domain: Option<&str>) -> bool {
        let named = transport.is_secure() || transport.is_websocket();
        self.current.is_some_and(|current| {
            current.transport == transport && current.address == remote && current.connection.is_none()
        }) && (!named || self.domain.as_deref() == domain)
    }

    /// The next attempt goes where this one went: what went over UDP against its size goes there again.
    fn keep_on(&mut self, current: Target) {
        self.keep_udp = !current.transport.is_reliable() && self.draft.bytes.len() > LONGEST_DATAGRAM;
    }

    /// Whether there are addresses that have not been tried.
    fn has_more(&self) -> bool {
        !self.targets.is_empty() || self.later.is_some()
    }

    pub(super) fn path(&self) -> Option<Path> {
        let target = self.current?;
        Some(Path {
            transport: target.transport,
            local: self.local?,
            remote: target.address,
            connection: target.connection,
        })
    }
}

/// What a request needs to go out.
pub(super) struct Launch {
    pub(super) draft: Draft,
    pub(super) class: Class,
    pub(super) owner: Owner,
    pub(super) cseq: u32,
    /// Tried first: the stream a peer uses.
    pub(super) hop: Option<Target>,
    /// The name that led to `hop`.
    pub(super) domain: Option<Arc<str>>,
    pub(super) destination: Option<Destination>,
    pub(super) branch: Option<Branch>,
    pub(super) authorizing: Option<Box<Authorizing>>,
}

/// What was sent in vain, for whoever sends it again with a change.
pub(super) struct Tried {
    pub(super) draft: Draft,
    pub(super) target: Option<Target>,
    pub(super) cseq: u32,
}

pub(super) fn class_of(method: &Method) -> Class {
    match method {
        Method::Invite | Method::Ack => Class::Invite,
        Method::Bye => Class::Bye,
        Method::Cancel => Class::Cancel,
        Method::Options => Class::Options,
        Method::Info => Class::Info,
        _ => Class::Other,
    }
}

impl Ua {
    /// Sends a request by the first address that takes it. The outcome comes as an event, even when nothing can be sent at all.
    pub(super) fn launch(&mut self, now: Now, launch: Launch) -> Index {
        let Launch { draft, class, owner, cseq, hop, domain, destination, branch, authorizing } = launch;
        let machine = match class {
            Class::Invite => Machine::Invite(client_invite::State::Calling),
            _ => Machine::Request(client_request::State::Trying),
        };
        let index = self.clients.insert(Client {
            pinned: hop.is_some() && destination.is_none(),
            owner,
            fixed_branch: branch,
            targets: hop.into_iter().collect(),
            later: destination,
            domain,
            authorizing,
            ..Client::new(now, class, machine, draft, cseq, self.config.t1)
        });
        self.try_next(now, index, None);
        index
    }

    /// CANCEL goes exactly where its INVITE went, with the INVITE's branch (RFC 3261 §9.1).
    pub(super) fn launch_cancel(&mut self, now: Now, invite: Index, extra: &[u8]) {
        let Some(client) = self.clients.get(invite) else { return };
        let (Some(bytes), Some(branch)) = (client.draft.cancel(extra), client.branch) else { return };
        let (Some(target), Some(path), cseq) = (client.current, client.path(), client.cseq) else { return };
        let machine = Machine::Request(client_request::State::Trying);
        let draft = Draft::new(bytes, 0, false);
        let index = self.clients.insert(Client {
            branch: Some(branch),
            current: Some(target),
            local: Some(path.local),
            ..Client::new(now, Class::Cancel, machine, draft, cseq, self.config.t1)
        });
        self.transactions.insert(Key::of_client(branch, Class::Cancel), Transaction::Client(index));
        self.begin(now, index);
    }

    /// Sends the request for the first time and starts its timers.
    fn begin(&mut self, now: Now, index: Index) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let Some(path) = client.path() else { return };
        let (bytes, domain) = (client.draft.bytes.clone(), client.domain.clone());
        client.begun = now.mono;
        self.timers.stop(&mut client.retransmit);
        self.timers.stop(&mut client.end);
        if path.transport.is_reliable() {
            self.streams += 1;
        } else {
            let wake = Wake { kind: Kind::ClientRetransmit, owner: index };
            client.retransmit = Some(self.timers.set(now.mono, self.config.t1, wake));
        }
        client.end = Some(self.timers.set(now.mono, self.config.t1 * 64, Wake { kind: Kind::ClientEnd, owner: index }));
        self.transmit_to(&path, domain, bytes);
    }

    /// Forgets a client transaction; with `past`, but for a row.
    pub(super) fn close_client(&mut self, now: Now, index: Index, past: Option<(Length, Past)>) -> Option<Client> {
        let mut client = self.clients.remove(index)?;
        self.timers.stop(&mut client.retransmit);
        self.timers.stop(&mut client.end);
        if client.current.is_some_and(|current| current.transport.is_reliable()) {
            self.streams -= 1;
        }
        if client.owner == Owner::Fork {
            self.fork_byes -= 1;
        }
        if let Some(resolution) = client.resolution.take() {
            self.resolutions.remove(resolution);
        }
        if let Some(branch) = client.branch {
            let key = Key::of_client(branch, client.class);
            match past {
                Some((length, past)) => self.retire(now, key, length, past),
                None => {
                    self.transactions.remove(&key);
                }
            }
        }
        Some(client)
    }

    /// Nothing could be sent, or nobody answers: tells the owner and forgets.
    fn fail_client(&mut self, now: Now, index: Index, cause: FailCause) {
        if let Some(client) = self.close_client(now, index, None) {
            if let Owner::Invite(call) = client.owner {
                let (draft, target, cseq) = (client.draft.clone(), client.current, client.cseq);
                if self.tried_elsewhere(now, call, &Tried { draft, target, cseq }) {
                    return;
                }
            }
            self.client_failed(now, index, client.owner, cause);
        }
    }

    /// Nobody waits for an INVITE any more. RFC 3261 §17.1.1.2 gives one that has been answered provisionally all the time of the world;
    /// this one gets what §9.1 gives a cancelled one.
    pub(super) fn orphan_client(&mut self, now: Now, index: Index) {
        let Some(client) = self.clients.get_mut(index) else { return };
        client.owner = Owner::Nobody;
        if client.end.is_none() {
            let wake = Wake { kind: Kind::ClientEnd, owner: index };
            client.end = Some(self.timers.set(now.mono, self.config.t1 * 64, wake));
        }
    }
}
