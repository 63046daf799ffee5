//! Client transactions: the data behind the tables of `transaction::client_invite` and `transaction::client_request`, and the way of a
//! request to an address that takes it (look-up, TCP for what is too large, the next address when one fails).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringback_sip::{Message, Method, StatusCode};
use ringback_time::{Mono, Now};
use tracing::debug;

use crate::api::{ConnectionId, FailCause, Output, Place, ResolveId, Transport};
use crate::arena::Index;
use crate::core::answering::Authorizing;
use crate::core::server::Path;
use crate::core::{Transaction, Ua};
use crate::target::{Destination, MAX_TARGETS, Target, Targets};
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
    /// When the request went to `current` for the first time.
    begun: Mono,
}

impl Client {
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

/// A name look-up under way, and for what.
pub(super) enum Resolution {
    Client(Index, Transport),
    /// The ACK to a 2xx, of this call.
    Ack(Index, Transport, Option<Arc<str>>),
}

/// What is to be told after an input.
#[derive(Default)]
struct Outcome {
    deliver: bool,
    stray: bool,
    timeout: bool,
    transport_error: bool,
    ack: bool,
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
        let Launch { draft, class, owner, cseq, hop, destination, branch, authorizing } = launch;
        let machine = match class {
            Class::Invite => Machine::Invite(client_invite::State::Calling),
            _ => Machine::Request(client_request::State::Trying),
        };
        let index = self.clients.insert(Client {
            pinned: hop.is_some() && destination.is_none(),
            class,
            machine,
            owner,
            branch: None,
            fixed_branch: branch,
            draft,
            targets: hop.into_iter().collect(),
            later: destination,
            current: None,
            local: None,
            domain: None,
            moved: false,
            keep_udp: false,
            resolution: None,
            interval: self.config.t1,
            retransmit: None,
            end: None,
            ack: None,
            cseq,
            authorizing,
            begun: now.mono,
        });
        self.try_next(now, index, None);
        index
    }

    /// CANCEL goes exactly where its INVITE went, with the INVITE's branch (RFC 3261 §9.1).
    pub(super) fn launch_cancel(&mut self, now: Now, invite: Index, extra: &[u8]) {
        let Some(client) = self.clients.get(invite) else { return };
        let (Some(bytes), Some(branch)) = (client.draft.cancel(extra), client.branch) else { return };
        let (Some(target), Some(path), cseq) = (client.current, client.path(), client.cseq) else { return };
        let index = self.clients.insert(Client {
            pinned: false,
            class: Class::Cancel,
            machine: Machine::Request(client_request::State::Trying),
            owner: Owner::Nobody,
            branch: Some(branch),
            fixed_branch: None,
            draft: Draft::new(bytes, 0, false),
            targets: Targets::new(),
            later: None,
            current: Some(target),
            local: Some(path.local),
            domain: None,
            moved: false,
            keep_udp: false,
            resolution: None,
            interval: self.config.t1,
            retransmit: None,
            end: None,
            ack: None,
            cseq,
            authorizing: None,
            begun: now.mono,
        });
        self.transactions.insert(Key::of_client(branch, Class::Cancel), Transaction::Client(index));
        self.begin(now, index);
    }

    /// Takes the next address; when there is none left, fails with `cause`.
    fn try_next(&mut self, now: Now, index: Index, mut cause: Option<FailCause>) {
        loop {
            let Some(client) = self.clients.get_mut(index) else { return };
            if client.targets.is_empty() {
                match client.later.take() {
                    Some(Destination::Known(target)) => client.targets.push(target),
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
        let unreachable = || {
            let why = match target.transport {
                Transport::Udp | Transport::Tcp => format!("no route to {}", target.address),
                transport => format!("no {transport} to {}: not configured, or no route", target.address),
            };
            FailCause::Transport(why)
        };
        let mut local = self.routes.local_address(target.transport, target.address).ok_or_else(unreachable)?;
        let random = Branch(rand_core::RngCore::next_u64(&mut self.rng));
        let Some(client) = self.clients.get_mut(index) else { return Err(FailCause::Ended) };
        let keep_udp = std::mem::take(&mut client.keep_udp);
        let branch = client.fixed_branch.take().unwrap_or(random);
        let sips = target.transport.is_secure() && client.draft.is_sips();
        // Contact depends on the transport, so the request is written before its size is known.
        let sender = |transport, local| crate::wire::request::Sender {
            transport,
            local,
            public_address: self.texts.public_address.as_deref(),
            user: &self.config.user,
            sips,
        };
        client.draft.address(&sender(target.transport, local), branch);
        client.moved = false;
        // RFC 3261 §18.1.1.
        if target.transport == Transport::Udp
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

    fn drive_client(&mut self, now: Now, index: Index, input: Input) -> Option<Outcome> {
        let mut outcome = Outcome::default();
        let client = self.clients.get_mut(index)?;
        let t1 = self.config.t1;
        match (client.machine, input) {
            (Machine::Invite(state), Input::Invite(input)) => {
                use client_invite::{Action, State};
                let (next, actions) = client_invite::step(state, input)?;
                client.machine = Machine::Invite(next);
                if next != state {
                    debug!(target: "ringback.transaction", "INVITE client {:?}: {state:?} -> {next:?}", client.branch);
                }
                for action in actions {
                    match action {
                        // §17.1.1.2: A doubles without bound but B.
                        Action::Retransmit => self.retransmit_client(now, index, |interval, _| interval * 2),
                        Action::StopTimers => self.stop_client_timers(index),
                        Action::Deliver => outcome.deliver = true,
                        Action::DeliverStray => outcome.stray = true,
                        Action::Ack => outcome.ack = true,
                        Action::StartD => {
                            let Some(client) = self.clients.get_mut(index) else { continue };
                            let wake = Wake { kind: Kind::ClientEnd, owner: index };
                            client.end = Some(self.timers.set(now.mono, t1 * 64, wake));
                        }
                        // The caller closes: it needs what is in the transaction.
                        Action::StartM => {}
                        Action::ReportTimeout => outcome.timeout = true,
                        Action::ReportTransportError => outcome.transport_error = true,
                    }
                }
                if next == State::Terminated && !outcome.timeout && !outcome.transport_error {
                    self.close_client(now, index, None);
                }
            }
            (Machine::Request(state), Input::Request(input)) => {
                use client_request::{Action, State};
                let (next, actions) = client_request::step(state, input)?;
                client.machine = Machine::Request(next);
                if next != state {
                    debug!(target: "ringback.transaction", "request client {:?}: {state:?} -> {next:?}", client.branch);
                }
                for action in actions {
                    match action {
                        Action::Retransmit => self.retransmit_client(now, index, |interval, t2| (interval * 2).min(t2)),
                        Action::RetransmitSlowly => self.retransmit_client(now, index, |_, t2| t2),
                        Action::StopTimers => self.stop_client_timers(index),
                        Action::Deliver => outcome.deliver = true,
                        Action::StartK => {}
                        Action::ReportTimeout => outcome.timeout = true,
                        Action::ReportTransportError => outcome.transport_error = true,
                    }
                }
                if next == State::Terminated && !outcome.timeout && !outcome.transport_error {
                    self.close_client(now, index, None);
                }
            }
            _ => return None,
        }
        Some(outcome)
    }

    fn stop_client_timers(&mut self, index: Index) {
        if let Some(client) = self.clients.get_mut(index) {
            self.timers.stop(&mut client.retransmit);
            self.timers.stop(&mut client.end);
        }
    }

    fn retransmit_client(&mut self, now: Now, index: Index, next: impl Fn(Duration, Duration) -> Duration) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let Some(path) = client.path() else { return };
        client.interval = next(client.interval, self.config.t2);
        let wake = Wake { kind: Kind::ClientRetransmit, owner: index };
        client.retransmit = Some(self.timers.set(now.mono, client.interval, wake));
        let bytes = client.draft.bytes.clone();
        self.counters.retransmissions_sent += 1;
        self.transmit(&path, bytes);
    }

    /// A timer of a client transaction fired.
    pub(super) fn client_timer(&mut self, now: Now, index: Index, kind: Kind) {
        let Some(client) = self.clients.get_mut(index) else { return };
        // RFC 3263 §4.3: an address that never says a word has failed, and the next one is tried. What is within a dialog has waited too
        // long by then.
        let (owner, silent) = (client.owner, client.is_waiting() && client.has_more());
        if kind == Kind::ClientEnd && silent && self.may_move(owner) {
            if let Some(client) = self.clients.get_mut(index) {
                client.end = None;
                self.timers.stop(&mut client.retransmit);
            }
            return self.try_next(now, index, Some(FailCause::Timeout));
        }
        let Some(client) = self.clients.get_mut(index) else { return };
        let input = match (kind, client.machine) {
            (Kind::ClientRetransmit, machine) => {
                client.retransmit = None;
                match machine {
                    Machine::Invite(_) => Input::Invite(client_invite::Input::TimerA),
                    Machine::Request(_) => Input::Request(client_request::Input::TimerE),
                }
            }
            (_, machine) => {
                client.end = None;
                match machine {
                    Machine::Invite(client_invite::State::Completed) => Input::Invite(client_invite::Input::TimerD),
                    // Only an orphan has a deadline there.
                    Machine::Invite(client_invite::State::Proceeding) => {
                        self.close_client(now, index, None);
                        return;
                    }
                    Machine::Invite(_) => Input::Invite(client_invite::Input::TimerB),
                    Machine::Request(_) => Input::Request(client_request::Input::TimerF),
                }
            }
        };
        if let Some(outcome) = self.drive_client(now, index, input)
            && outcome.timeout
        {
            self.fail_client(now, index, FailCause::Timeout);
        }
    }

    /// A response that found its transaction.
    pub(super) fn client_response(&mut self, now: Now, index: Index, response: &Message, flow: &crate::api::Flow) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let Some(status) = response.status() else { return };
        // RFC 3261 §17.1.1.2: what comes by a stream keeps to it.
        if flow.transport.is_reliable()
            && let Some(current) = &mut client.current
            && current.transport == flow.transport
        {
            current.connection = flow.connection;
        }
        let input = match (client.machine, status.class()) {
            (Machine::Invite(_), 1) => Input::Invite(client_invite::Input::Provisional),
            (Machine::Invite(_), 2) => Input::Invite(client_invite::Input::Success),
            (Machine::Invite(_), _) => Input::Invite(client_invite::Input::Refusal),
            (Machine::Request(_), 1) => Input::Request(client_request::Input::Provisional),
            (Machine::Request(_), _) => Input::Request(client_request::Input::Final),
        };
        let owner = client.owner;
        let Some(outcome) = self.drive_client(now, index, input) else {
            self.counters.dropped += 1;
            return;
        };
        if outcome.ack {
            self.ack_refusal(index, response);
        }
        if outcome.stray {
            let branch = self.clients.get(index).and_then(|client| client.branch);
            return self.stray_success(now, branch, response, flow);
        }
        if !outcome.deliver {
            return;
        }
        let machine = self.clients.get(index).map(|client| client.machine);
        let over = matches!(
            machine,
            Some(Machine::Invite(client_invite::State::Completed) | Machine::Request(client_request::State::Completed))
        );
        if over && self.fails_over(index, status) {
            return self.begin_anew(now, index, |_, _| ());
        }
        // RFC 3261 §22: asked who we are.
        if over && self.answer_challenge(now, index, response) {
            return;
        }
        match machine {
            Some(Machine::Invite(client_invite::State::Accepted)) => {
                let branch = self.clients.get(index).and_then(|client| client.branch);
                if let Some(client) = self.close_client(now, index, Some((Length::Long, Past::ClientAccepted))) {
                    self.take_next_nonce(client.authorizing.as_deref(), response);
                    self.invite_accepted(now, owner, &client, branch, response, flow);
                }
            }
            Some(Machine::Invite(client_invite::State::Completed)) => {
                let tried = self.clients.get(index).map(|client| Tried {
                    draft: client.draft.clone(),
                    target: client.current,
                    cseq: client.cseq,
                });
                // D: what stays is the ACK (§17.1.1.2; over a reliable transport D is zero).
                let reliable =
                    self.clients.get(index).and_then(Client::path).is_some_and(|path| path.transport.is_reliable());
                if reliable {
                    self.close_client(now, index, None);
                } else if let Some(client) = self.clients.get_mut(index) {
                    client.owner = Owner::Nobody;
                    client.draft.bytes = Bytes::new();
                    client.targets = Targets::new();
                    client.later = None;
                }
                self.invite_refused(now, owner, index, tried, response);
            }
            Some(Machine::Request(client_request::State::Completed)) => {
                // §17.1.2.2: K is zero over a reliable transport.
                let reliable =
                    self.clients.get(index).and_then(Client::path).is_some_and(|path| path.transport.is_reliable());
                let past = (!reliable).then_some((Length::Short, Past::ClientCompleted));
                let closed = self.close_client(now, index, past);
                self.take_next_nonce(closed.as_ref().and_then(|client| client.authorizing.as_deref()), response);
                let round_trip = closed.map_or(Duration::ZERO, |client| now.mono.since(client.begun));
                self.request_answered(now, owner, index, response, round_trip, flow);
            }
            Some(Machine::Invite(_)) => self.invite_progress(now, owner, index, response),
            _ => {}
        }
    }

    /// The request once more, as another transaction with its own CSeq and branch, to where the first one went.
    pub(super) fn send_again(&mut self, now: Now, index: Index, cseq: u32, lines: &str, authorizing: Box<Authorizing>) {
        self.begin_anew(now, index, |client, current| {
            // What went over UDP against its size goes there again.
            client.keep_udp = !current.transport.is_reliable() && client.draft.bytes.len() > LONGEST_DATAGRAM;
            client.draft.authorize(Some(cseq), lines);
            client.cseq = cseq;
            client.authorizing = Some(authorizing);
            client.targets.insert(0, current);
        });
    }

    /// RFC 3263 §4.3: whether a 503 has the next address tried instead of being the answer.
    fn fails_over(&self, index: Index, status: StatusCode) -> bool {
        let Some(client) = self.clients.get(index) else { return false };
        status == StatusCode::SERVICE_UNAVAILABLE && client.has_more() && self.may_move(client.owner)
    }

    /// What belongs to no dialog yet, and is still wanted.
    fn may_move(&self, owner: Owner) -> bool {
        match owner {
            Owner::Standalone(_) => true,
            Owner::Invite(call) => !self.is_cancelling(call),
            _ => false,
        }
    }

    /// Lets go of a transaction that has its final response, and begins the next one for the same owner with what `change` makes of it. The
    /// old one stays for its retransmitted responses, as far as its machine wants that.
    fn begin_anew(&mut self, now: Now, index: Index, change: impl FnOnce(&mut Client, Target)) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let (Some(branch), Some(current)) = (client.branch.take(), client.current) else { return };
        self.timers.stop(&mut client.retransmit);
        self.timers.stop(&mut client.end);
        let old = Key::of_client(branch, client.class);
        let reliable = current.transport.is_reliable();
        let (class, local, ack, old_cseq) = (client.class, client.local, client.ack.take(), client.cseq);
        change(client, current);
        let rest = match client.machine {
            Machine::Invite(_) => {
                client.machine = Machine::Invite(client_invite::State::Calling);
                Machine::Invite(client_invite::State::Completed)
            }
            Machine::Request(_) => {
                client.machine = Machine::Request(client_request::State::Trying);
                Machine::Request(client_request::State::Completed)
            }
        };
        match rest {
            // §17.1.1.2, §17.1.2.2: D and K are zero over a reliable transport.
            _ if reliable => {
                self.transactions.remove(&old);
            }
            Machine::Request(_) => self.retire(now, old, Length::Short, Past::ClientCompleted),
            Machine::Invite(_) => {
                let rest = self.clients.insert(Client {
                    pinned: false,
                    class,
                    machine: rest,
                    owner: Owner::Nobody,
                    branch: Some(branch),
                    fixed_branch: None,
                    draft: Draft::new(Bytes::new(), 0, false),
                    targets: Targets::new(),
                    later: None,
                    current: Some(current),
                    local,
                    domain: None,
                    moved: false,
                    keep_udp: false,
                    resolution: None,
                    interval: self.config.t1,
                    retransmit: None,
                    end: None,
                    ack,
                    cseq: old_cseq,
                    authorizing: None,
                    begun: now.mono,
                });
                self.transactions.insert(old, Transaction::Client(rest));
                let wake = Wake { kind: Kind::ClientEnd, owner: rest };
                let end = self.timers.set(now.mono, self.config.t1 * 64, wake);
                if let Some(client) = self.clients.get_mut(rest) {
                    client.end = Some(end);
                }
            }
        }
        self.try_next(now, index, None);
    }

    /// §17.1.1.3: the ACK to a refusal goes where the INVITE went.
    fn ack_refusal(&mut self, index: Index, response: &Message) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let Some(path) = client.path() else { return };
        if client.ack.is_none() {
            client.ack = client.draft.ack(response);
        } else {
            self.counters.retransmissions_sent += 1;
        }
        if let Some(bytes) = client.ack.clone() {
            self.transmit(&path, bytes);
        }
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
        let targets = |places: Vec<Place>| -> Targets {
            let usable = |place: &Place| !place.address.ip().is_unspecified() && place.address.port() != 0;
            let target = |Place { transport, address }| Target { transport, address, connection: None };
            places.into_iter().filter(usable).take(MAX_TARGETS).map(target).collect()
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

    /// A stream that `Transmit` without connection asked for is open.
    pub fn handle_connected(&mut self, now: Now, transport: Transport, remote: SocketAddr, connection: ConnectionId) {
        if self.streams == 0 {
            return;
        }
        for client in self.clients.iter_mut() {
            if let Some(current) = &mut client.current
                && current.transport == transport
                && current.address == remote
                && current.connection.is_none()
            {
                current.connection = Some(connection);
                client.begun = now.mono;
            }
        }
    }

    /// A stream could not be opened: requests that wait for it go to their next address, or fail.
    pub fn handle_connect_failed(&mut self, now: Now, transport: Transport, remote: SocketAddr, cause: &str) {
        self.target_failed(now, transport, remote, None, cause);
    }

    /// Something sent to `remote` did not get there (ICMP port unreachable, no route, message too long).
    pub fn handle_send_failed(&mut self, now: Now, transport: Transport, remote: SocketAddr, cause: &str) {
        self.target_failed(now, transport, remote, None, cause);
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

    fn target_failed(
        &mut self,
        now: Now,
        transport: Transport,
        remote: SocketAddr,
        connection: Option<ConnectionId>,
        cause: &str,
    ) {
        // Rare, and the peer must have been sent something: a walk over what is unanswered is cheaper than an index of all of it.
        let failed: Vec<Index> = self
            .clients
            .iter()
            .filter(|(_, client)| {
                client.is_waiting()
                    && client.current.is_some_and(|current| {
                        current.transport == transport
                            && current.address == remote
                            && (connection.is_none() || current.connection == connection)
                    })
            })
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

/// An input of either machine.
#[derive(Clone, Copy)]
enum Input {
    Invite(client_invite::Input),
    Request(client_request::Input),
}
