//! Inputs to client transactions, timers and responses, and what follows from the tables of `transaction::client_invite` and
//! `transaction::client_request`.

use std::time::Duration;

use bytes::Bytes;
use ringback_sip::{Message, StatusCode};
use ringback_time::Now;
use tracing::debug;

use crate::api::{FailCause, Flow};
use crate::arena::Index;
use crate::core::Ua;
use crate::core::client::{Client, Machine, Owner, Tried};
use crate::target::Targets;
use crate::timer::{Kind, Target as Wake};
use crate::transaction::linger::{Length, Past};
use crate::transaction::{client_invite, client_request};
/// What is to be told after an input.
#[derive(Default)]
pub(super) struct Outcome {
    deliver: bool,
    stray: bool,
    timeout: bool,
    pub(super) transport_error: bool,
    ack: bool,
}

/// An input of either machine.
#[derive(Clone, Copy)]
pub(super) enum Input {
    Invite(client_invite::Input),
    Request(client_request::Input),
}

impl Ua {
    pub(super) fn drive_client(&mut self, now: Now, index: Index, input: Input) -> Option<Outcome> {
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
    pub(in crate::core) fn client_timer(&mut self, now: Now, index: Index, kind: Kind) {
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
    pub(in crate::core) fn client_response(&mut self, now: Now, index: Index, response: &Message, flow: &Flow) {
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
        if over && status == StatusCode::SERVICE_UNAVAILABLE {
            self.take_retry_after(now, index, response);
        }
        if over && self.fails_over(index, status) {
            return self.begin_anew(now, index, |_, _| ());
        }
        if over && self.renumber_overtaken(now, index, response) {
            return;
        }
        // RFC 3261 §22: asked who we are.
        if over && self.answer_challenge(now, index, response) {
            return;
        }
        match machine {
            Some(Machine::Invite(client_invite::State::Accepted)) => {
                let branch = self.clients.get(index).and_then(|client| client.branch);
                if let Some(client) = self.close_client(now, index, Some((Length::Long, Past::ClientAccepted))) {
                    self.take_authentication_info(&client, response);
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
                if let Some(client) = &closed {
                    self.take_authentication_info(client, response);
                }
                let round_trip = closed.map_or(Duration::ZERO, |client| now.mono.since(client.begun));
                self.request_answered(now, owner, index, response, round_trip, flow);
            }
            Some(Machine::Invite(_)) => self.invite_progress(now, owner, index, response, flow),
            _ => {}
        }
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
}
