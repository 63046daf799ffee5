//! Receiving calls: RFC 3261 §13.3, and the CANCEL of §9.2.

use bytes::Bytes;
use ringback_sip::StatusCode;
use ringback_time::Now;
use tracing::debug;

use crate::api::{CallKey, Event, Reply, UaError};
use crate::arena::Index;
use crate::core::call::{Accepted, Call, Stage};
use crate::core::compose::check_reply;
use crate::core::early_end::EarlyEnd;
use crate::core::reliable::Wanted;
use crate::core::requests::{Incoming, inspect};
use crate::core::server::{Machine, NewServer, Path};
use crate::core::update::allows_update;
use crate::core::{Transaction, Ua};
use crate::dialog::{Dialog, MAX_ROUTES, contact_of};
use crate::timer::{Kind, Target as Wake};
use crate::transaction::key::Class;
use crate::transaction::linger::Past;
use crate::transaction::server_invite;
use crate::wire::echo::{Echo, Tag};
use crate::wire::request::Sender;
use crate::wire::tags::from_tag;

impl Ua {
    /// An INVITE outside of a dialog.
    pub(super) fn invite_received(&mut self, now: Now, incoming: &Incoming<'_>) {
        let Incoming { request, via, flow, key, cseq, .. } = *incoming;
        // What would wait for us is bounded; beyond that nothing is kept.
        if !self.has_room(flow) {
            self.counters.overload += 1;
            return self.refuse(request, via, flow, StatusCode::SERVICE_UNAVAILABLE, None);
        }
        // §8.2.2.2: the same request by another path.
        let from_tag = from_tag(request).unwrap_or_default();
        let call_id = request.call_id().unwrap_or_default();
        let merged = self.keys.of_merged(from_tag, call_id, cseq, Class::Invite);
        if self.merged.contains_key(&merged) {
            return self.refuse_invite(now, incoming, StatusCode::LOOP_DETECTED, None);
        }
        if let Err(status) = inspect(incoming) {
            return self.refuse(request, via, flow, status, None);
        }
        // §8.1.1.8: without a Contact there is no dialog.
        let Some(contact) = contact_of(request) else {
            return self.refuse(request, via, flow, StatusCode::BAD_REQUEST, Some("Missing Contact"));
        };
        let tag = self.new_tag();
        let echo = Echo::of(request, via, flow, Tag::Add(tag), contact);
        if echo.routes.len() > MAX_ROUTES {
            return self.refuse(
                request,
                via,
                flow,
                StatusCode::BAD_REQUEST,
                Some("Too Many Record-Route Header Fields"),
            );
        }
        let dialog = Dialog::of_uas(&echo, cseq, flow);
        let stage = Stage::Incoming { server: Index::from_bits(0) };
        let mut call = Call::new(stage, false, tag);
        call.dialog = Some(dialog);
        call.merged = Some(merged);
        call.reliability = Wanted::of(request);
        call.early_end = EarlyEnd::of(request, call.reliability);
        call.allows_update = allows_update(request);
        call.late_offer = request.body().is_empty();
        let index = self.calls.insert(call);
        if let Err(status) = self.judge_session(index, request) {
            self.calls.remove(index);
            return self.refuse_invite(now, incoming, status, None);
        }
        self.tags.insert(tag, index);
        self.merged.insert(merged, index);
        let new = NewServer {
            key,
            machine: Machine::Invite(server_invite::State::Proceeding),
            path: Path::of(via, flow),
            echo,
            owner: Some(index),
            tag,
            cseq,
            late_offer: request.body().is_empty(),
            held: Some(self.hold_open(flow)),
        };
        let server = self.open_server(now, new);
        if let Some(call) = self.calls.get_mut(index) {
            call.stage = Stage::Incoming { server };
        }
        debug!(target: "ringback.dialog", call_id, "incoming call");
        self.event(Event::Invite { call: CallKey::new(index), request: request.clone(), flow: *flow });
    }

    /// Answers the INVITE of `Event::Invite`. Any number of 1xx, then one final response; a 2xx is sent again until its ACK.
    pub fn respond(&mut self, now: Now, call: CallKey, reply: Reply) -> Result<(), UaError> {
        let index = call.index();
        let entry = self.calls.get(index).ok_or(UaError::UnknownCall)?;
        let Stage::Incoming { server } = entry.stage else {
            return Err(UaError::InvalidState("the INVITE has been answered"));
        };
        if entry.reliable.as_ref().is_some_and(|reliable| reliable.is_closed()) {
            return Err(UaError::InvalidState("the INVITE has been answered"));
        }
        check_reply(&reply)?;
        if !self.respond_reliably(now, index, server, &reply) {
            self.reply_to_invite(now, index, server, &reply, true);
        }
        Ok(())
    }

    /// One response to an INVITE or re-INVITE of the peer.
    pub(super) fn reply_to_invite(&mut self, now: Now, index: Index, server: Index, reply: &Reply, first: bool) {
        let status = reply.status;
        if first && status.is_final() {
            self.stop_reliable(index);
            self.tell_early_end(now, index, server, reply);
        }
        let mut with_session = None;
        if status.is_success() {
            self.start_session(now, index);
            let headers = self.session_reply_headers(index);
            if !headers.is_empty() {
                with_session.get_or_insert_with(|| reply.clone()).headers.extend(headers);
            }
        }
        let reply = with_session.as_ref().unwrap_or(reply);
        let Some((path, bytes)) = self.compose_invite_reply(server, reply) else { return };
        let Some(entry) = self.servers.get(server) else { return };
        let Some(echo) = &entry.echo else { return };
        // An offer of ours that was in a provisional response has its answer by now.
        let described = self.calls.get(index).is_some_and(|call| call.reliable.is_some()) && reply.body.is_none();
        let (cseq, offers) = (entry.cseq, entry.late_offer && !described);
        let contact = (!first && status.is_success()).then(|| echo.more.of(&echo.buffer).to_owned());
        let input = match status.class() {
            1 => server_invite::Input::Provisional,
            2 => server_invite::Input::Success,
            _ => server_invite::Input::Refusal,
        };
        let accepted = first && status.is_success();
        let held = accepted.then(|| self.servers.get_mut(server)?.held.take()).flatten();
        self.drive_server_invite(now, server, input, Some(bytes.clone()));
        match status.class() {
            1 => self.early_dialog_begun(index, status),
            2 => {
                let wake = Wake { kind: Kind::Accepted, owner: index };
                let timer = self.timers.set(now.mono, self.config.t1, wake);
                let held = held.map(|held| {
                    let unacknowledged = self.unacknowledged.hold(held.source(), held.is_proven());
                    [held, unacknowledged]
                });
                let Some(call) = self.calls.get_mut(index) else { return };
                if first {
                    call.stage = Stage::Confirmed;
                } else {
                    call.peer_invite = None;
                }
                if let (Some(contact), Some(dialog)) = (contact, call.dialog.as_mut()) {
                    dialog.set_target(&contact);
                }
                call.accepted = Some(Accepted {
                    bytes,
                    path,
                    cseq,
                    interval: self.config.t1,
                    deadline: now.mono + self.config.t1 * 64,
                    timer: Some(timer),
                    first,
                    held,
                    offers,
                });
                debug!(target: "ringback.dialog", "call {:?}: {} sent, waits for ACK", CallKey::new(index), status.as_u16());
            }
            _ if first => self.release(now, index),
            _ => {
                if let Some(call) = self.calls.get_mut(index) {
                    call.peer_invite = None;
                }
            }
        }
    }

    /// A response to an INVITE or UPDATE as it will be sent, and by which way.
    pub(super) fn compose_invite_reply(&mut self, server: Index, reply: &Reply) -> Option<(Path, Bytes)> {
        let path = self.servers.get(server)?.path;
        let local = match path.transport.is_reliable() {
            // The stream may have been opened by us: its port is not the one we listen on.
            true => self.routes.local_address(path.transport, path.remote).unwrap_or(path.local),
            false => path.local,
        };
        let echo = self.servers.get(server)?.echo.as_ref()?;
        let sips = path.transport.is_secure() && echo.wants_sips();
        let contact = Sender { sips, ..self.sender(path.transport, local, path.remote) };
        Some((path, self.compose_invite_response(echo, &contact, reply)))
    }

    /// §13.3.1.4: the 2xx again, T1 doubled up to T2, for 64*T1; then the session is terminated.
    pub(super) fn accepted_timer(&mut self, now: Now, index: Index) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let Some(accepted) = &mut call.accepted else { return };
        accepted.timer = None;
        if now.mono >= accepted.deadline {
            call.accepted = None;
            return self.gone(now, index, 408);
        }
        accepted.interval = (accepted.interval * 2).min(self.config.t2);
        let until_deadline = accepted.deadline.since(now.mono);
        let wait = accepted.interval.min(until_deadline);
        accepted.timer = Some(self.timers.set(now.mono, wait, Wake { kind: Kind::Accepted, owner: index }));
        let (path, bytes) = (accepted.path, accepted.bytes.clone());
        self.counters.retransmissions_sent += 1;
        self.transmit(&path, bytes);
    }

    /// CANCEL: §9.2. Answered without a transaction; a retransmission finds the INVITE still there, or its row.
    pub(super) fn cancel_received(&mut self, now: Now, incoming: &Incoming<'_>) {
        let Incoming { request, via, flow, .. } = *incoming;
        let invite = self.server_key(request, via, Class::Invite);
        if self.cancel_waiting(incoming, invite) {
            return;
        }
        let server = match self.transactions.get(&invite) {
            Some(Transaction::Server(index)) => Some(*index),
            _ => None,
        };
        let known = self.linger.get(invite);
        let Some(server) = server else {
            return match known {
                Some(Past::ServerAccepted | Past::ServerConfirmed) => {
                    let tag = Tag::Add(self.keys.stateless_tag(invite, flow.remote.ip()));
                    self.answer_automatically(request, via, flow, tag, StatusCode::OK, None);
                }
                _ => self.refuse(request, via, flow, StatusCode::CALL_DOES_NOT_EXIST, None),
            };
        };
        let Some((tag, owner, machine)) =
            self.servers.get(server).map(|server| (server.tag, server.owner, server.machine))
        else {
            return;
        };
        self.answer_automatically(request, via, flow, Tag::Add(tag), StatusCode::OK, None);
        // §9.2: no effect once there is a final response.
        if machine != Machine::Invite(server_invite::State::Proceeding) {
            return;
        }
        let Some(index) = owner.filter(|index| self.calls.contains(*index)) else { return };
        let first = matches!(self.calls.get(index).map(|call| &call.stage), Some(Stage::Incoming { .. }));
        let call = CallKey::new(index);
        let terminated = Reply::new(StatusCode::REQUEST_TERMINATED);
        if first {
            self.call_event(index, Event::Cancelled { call, request: request.clone() });
        } else {
            self.call_event(index, Event::ReinviteCancelled { call });
        }
        self.reply_to_invite(now, index, server, &terminated, first);
    }
}
