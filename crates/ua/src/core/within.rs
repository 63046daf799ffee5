//! Requests within a dialog, of the peer and of ours: RFC 3261 §12.2 and §15.

use std::time::Duration;

use ringback_sip::{Message, Method, StatusCode};
use ringback_time::Now;
use tracing::debug;

use crate::api::{Body, CallKey, Event, FailCause, Flow, Reply, RequestKey, UaError};
use crate::arena::Index;
use crate::core::Ua;
use crate::core::call::{Acknowledged, MAX_PENDING, Stage};
use crate::core::client::{Launch, Owner, class_of};
use crate::core::compose::{check_body, check_headers, check_outside_reply, check_reply, parts, put_headers};
use crate::core::requests::{Incoming, check_method, inspect};
use crate::core::server::{Machine, NewServer, Path};
use crate::core::way::DialogWay;
use crate::transaction::linger::{Length, Past};
use crate::transaction::server_request;
use crate::wire::echo::{Echo, Tag};
use crate::wire::request::Draft;
use crate::wire::tags::from_tag;
use crate::wire::writer::Writer;

/// Which dialog of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// The one of the 2xx, or of the INVITE that came.
    Call,
    Early(usize),
}

/// The body of a message, for the rooms above.
pub(super) fn body_of(message: &Message) -> Option<Body> {
    let bytes = message.body();
    let content_type = message.content_type()?;
    (!bytes.is_empty()).then(|| Body { content_type: content_type.to_owned(), bytes })
}

impl Ua {
    /// A request of the peer that names a dialog of ours.
    pub(super) fn request_within(&mut self, now: Now, index: Index, incoming: &Incoming<'_>) {
        let Incoming { request, method, cseq, .. } = *incoming;
        let Some(call) = self.calls.get_mut(index) else { return };
        let from_tag = from_tag(request).unwrap_or_default();
        let Some(dialog) = call.dialog_mut(request.call_id().unwrap_or_default(), from_tag) else { return };
        // §12.2.2: out of order.
        if !dialog.accept_cseq(cseq) {
            return match method {
                Method::Invite => self.refuse_invite(now, incoming, StatusCode::SERVER_INTERNAL_ERROR, None),
                _ => self.refuse_within(now, incoming, StatusCode::SERVER_INTERNAL_ERROR),
            };
        }
        if *method == Method::Bye {
            return self.bye_received(now, index, incoming);
        }
        // After our BYE the dialog is over but for a BYE that crosses it.
        if call.stage == Stage::Ending {
            return match method {
                Method::Invite => self.refuse_invite(now, incoming, StatusCode::CALL_DOES_NOT_EXIST, None),
                _ => self.refuse_within(now, incoming, StatusCode::CALL_DOES_NOT_EXIST),
            };
        }
        // MESSAGE is the one request that may come either way.
        let served = *method == Method::Message && self.config.requests.contains(method);
        let known = if served { Ok(()) } else { check_method(method) };
        if let Err(status) = known.and_then(|()| inspect(incoming)) {
            return match method {
                Method::Invite => self.refuse_invite(now, incoming, status, None),
                _ => self.refuse_within(now, incoming, status),
            };
        }
        match method {
            Method::Invite => self.reinvite_received(now, index, incoming),
            Method::Info | Method::Message | Method::Refer | Method::Notify => {
                self.request_for_program(now, index, incoming);
            }
            Method::Prack => self.prack_received(now, index, incoming),
            Method::Update => self.update_received(now, index, incoming),
            // OPTIONS.
            _ => self.finish_within(now, incoming, StatusCode::OK),
        }
    }

    /// Answers a non-INVITE request at once; a row remembers the status for its retransmissions.
    pub(super) fn finish_within(&mut self, now: Now, incoming: &Incoming<'_>, status: StatusCode) {
        let Incoming { request, via, flow, key, .. } = *incoming;
        self.answer_automatically(request, via, flow, Tag::Keep, status, None);
        // §17.2.2: J is zero over a reliable transport.
        if !flow.transport.is_reliable() {
            self.retire(now, key, Length::Long, Past::ServerCompleted(status.as_u16()));
        }
    }

    pub(super) fn refuse_within(&mut self, now: Now, incoming: &Incoming<'_>, status: StatusCode) {
        self.counters.refused += 1;
        self.finish_within(now, incoming, status);
    }

    /// §15.1.2.
    fn bye_received(&mut self, now: Now, index: Index, incoming: &Incoming<'_>) {
        self.finish_within(now, incoming, StatusCode::OK);
        let call = CallKey::new(index);
        match self.calls.get(index).map(|call| &call.stage) {
            // It crossed ours, which the peer answers; the call is over when that is done.
            Some(Stage::Ending) => {}
            // §15: a caller may BYE an early dialog; our final response is then 487.
            Some(_) => {
                self.call_event(index, Event::Bye { call, request: incoming.request.clone() });
                self.release(now, index);
            }
            None => {}
        }
    }

    /// INFO and its like: the program answers it.
    fn request_for_program(&mut self, now: Now, index: Index, incoming: &Incoming<'_>) {
        let Incoming { request, via, flow, key, cseq, .. } = *incoming;
        let Some(call) = self.calls.get(index) else { return };
        // A program that does not answer must not make us keep more and more.
        if call.pending.len() >= MAX_PENDING || call.quiet {
            return self.refuse_within(now, incoming, StatusCode::SERVICE_UNAVAILABLE);
        }
        let new = NewServer {
            key,
            machine: Machine::Request(server_request::State::Trying),
            path: Path::of(via, flow),
            echo: Echo::of(request, via, flow, Tag::Keep, ""),
            owner: Some(index),
            tag: call.tag,
            cseq,
            late_offer: false,
            held: None,
        };
        let server = self.open_server(now, new);
        if *incoming.method == Method::Refer
            && let Some(server) = self.servers.get_mut(server)
        {
            server.refreshes = true;
        }
        if let Some(call) = self.calls.get_mut(index) {
            call.pending.push(server);
        }
        let key = RequestKey::new(server);
        self.call_event(index, Event::Request { call: CallKey::new(index), key, request: request.clone() });
    }

    /// Answers the request of `Event::Request` or `Event::OutOfDialog`. Nothing happens when it has been answered, or its call is over.
    /// Headers that may not go out are left out.
    pub fn answer_request(&mut self, now: Now, key: RequestKey, mut reply: Reply) {
        let index = key.index();
        let Some(server) = self.servers.get(index) else { return };
        let (Some(echo), owner, Machine::Request(_)) = (&server.echo, server.owner, server.machine) else { return };
        let checked = match owner {
            Some(_) => check_reply(&reply),
            None => check_outside_reply(&reply),
        };
        if checked.is_err() {
            reply = Reply::new(reply.status);
        }
        let offer = owner.filter(|owner| self.calls.get(*owner).is_some_and(|call| call.peer_offer == Some(index)));
        if let Some(call) = offer {
            return self.answer_offer(now, call, index, reply);
        }
        let refreshes = server.refreshes && reply.status.is_success();
        let bytes = match refreshes {
            true => {
                let path = server.path;
                let local = self.routes.local_address(path.transport, path.remote).unwrap_or(path.local);
                self.compose_dialog_response(echo, &self.sender(path.transport, local, path.remote), &reply)
            }
            false => self.compose_response(echo, &reply),
        };
        let simple = reply.reason.is_none() && reply.headers.is_empty() && reply.body.is_none() && !refreshes;
        let status = reply.status;
        if !status.is_final() {
            self.drive_server_request(now, index, server_request::Input::Provisional, Some((bytes, None)));
            return;
        }
        let again = simple.then_some(status.as_u16());
        let Some(owner) = owner else { return self.answer_outside(now, index, bytes, again) };
        self.drive_server_request(now, index, server_request::Input::Final, Some((bytes, again)));
        if let Some(call) = self.calls.get_mut(owner) {
            call.pending.retain(|pending| *pending != index);
        }
    }

    /// The ACK to a 2xx of ours.
    pub(super) fn acknowledged(&mut self, now: Now, index: Index, incoming: &Incoming<'_>) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let held = match &call.accepted {
            Some(accepted) if accepted.cseq == incoming.cseq => &accepted.held,
            // Retransmitted, or of an INVITE long past.
            _ => return,
        };
        if let Some([held, _]) = held {
            let source = held.source();
            self.prove(now, incoming.flow, source);
        }
        self.take_acknowledged(now, index, body_of(incoming.request));
    }

    /// The peer has our 2xx.
    pub(super) fn take_acknowledged(&mut self, now: Now, index: Index, body: Option<Body>) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let Some(mut accepted) = call.accepted.take() else { return };
        self.timers.stop(&mut accepted.timer);
        let key = CallKey::new(index);
        debug!(target: "ringback.dialog", "call {key:?}: ACK received");
        if let Stage::Leaving { reason } = &mut call.stage {
            // §15: now BYE may go.
            let reason = reason.take();
            return self.send_bye(now, index, reason);
        }
        let event = match accepted.first {
            true => Event::Acked { call: key, body },
            false => Event::ReinviteAcked { call: key, body },
        };
        self.call_event(index, event);
    }

    /// Ends a call, in any state: an INVITE of ours is cancelled, one of the peer's refused (480), an established call gets BYE, once the
    /// ACK to our 2xx is there (§15). Of what happens on the way nothing more is told; `Released` comes last.
    pub fn bye(&mut self, now: Now, call: CallKey, reason: Option<String>) {
        let index = call.index();
        let Some(entry) = self.calls.get_mut(index) else { return };
        entry.quiet = true;
        match &entry.stage {
            Stage::Calling { .. } => self.cancel(now, call, None),
            Stage::Incoming { server } => {
                let server = *server;
                self.reply_to_invite(now, index, server, &Reply::new(StatusCode::TEMPORARILY_UNAVAILABLE), true);
            }
            Stage::Confirmed => {
                if let Acknowledged::Due { cseq } = entry.acknowledged {
                    // §13.2.2.4: each 2xx is ACKed, wanted or not.
                    self.acknowledge(now, index, cseq, None);
                }
                let Some(entry) = self.calls.get_mut(index) else { return };
                if entry.accepted.is_some() {
                    entry.stage = Stage::Leaving { reason };
                } else {
                    self.send_bye(now, index, reason);
                }
            }
            Stage::Leaving { .. } | Stage::Ending => {}
        }
    }

    pub(super) fn send_bye(&mut self, now: Now, index: Index, reason: Option<String>) {
        self.end_pending(now, index);
        self.abandon_reinvite(now, index);
        let Some(call) = self.calls.get_mut(index) else { return };
        call.stage = Stage::Ending;
        if let Some(session) = &mut call.session {
            session.stop(&mut self.timers);
        }
        if let Some(accepted) = &mut call.accepted {
            self.timers.stop(&mut accepted.timer);
        }
        call.accepted = None;
        let reason = reason.filter(|reason| ringback_sip::is_valid_header_text("Reason", reason));
        let headers: Vec<(String, String)> = reason.map(|reason| ("Reason".to_owned(), reason)).into_iter().collect();
        if self.send_within(now, index, &Method::Bye, &headers, None, Owner::Bye(index)).is_none() {
            self.release(now, index);
        }
    }

    /// Sends a request by the dialog's route.
    pub(super) fn send_within(
        &mut self,
        now: Now,
        index: Index,
        method: &Method,
        headers: &[(String, String)],
        body: Option<&Body>,
        owner: Owner,
    ) -> Option<Index> {
        self.send_in(now, index, Place::Call, method, headers, body, owner)
    }

    /// The same, also in an early dialog.
    #[expect(clippy::too_many_arguments, reason = "what a request consists of")]
    pub(super) fn send_in(
        &mut self,
        now: Now,
        index: Index,
        place: Place,
        method: &Method,
        headers: &[(String, String)],
        body: Option<&Body>,
        owner: Owner,
    ) -> Option<Index> {
        // RFC 3311 §5.1: UPDATE refreshes the target as INVITE does.
        let invite = matches!(method, Method::Invite | Method::Update);
        // RFC 3261 §20 table 2, RFC 3515 §2.2, RFC 6665 §8.2: requests that make or refresh a dialog say where we are.
        let contact = invite || matches!(method, Method::Refer | Method::Notify);
        let dialog = self.calls.get_mut(index)?.at_mut(place)?;
        let cseq = dialog.next_cseq();
        let dialog = self.calls.get(index)?.at(place)?;
        let DialogWay { hop, domain, destination } = self.dialog_way(dialog);
        let mut out = Writer::with_capacity(512 + body.map_or(0, |body| body.bytes.len()));
        let line_end = dialog.write_request(&mut out, method, cseq, 70);
        if invite {
            self.put_abilities(&mut out);
        }
        self.put_user_agent(&mut out);
        put_headers(&mut out, headers);
        let mut draft = Draft::new(out.body(parts(body)), line_end, contact);
        let authorizing = self.preauthorize(&mut draft, None, Some(index));
        let class = class_of(method);
        let launch = Launch { draft, class, owner, cseq, hop, domain, destination, branch: None, authorizing };
        Some(self.launch(now, launch))
    }

    /// Sends a request within the dialog (INFO, REFER, NOTIFY). The outcome is `Event::Response`.
    pub fn request(
        &mut self,
        now: Now,
        call: CallKey,
        method: Method,
        headers: Vec<(String, String)>,
        body: Option<Body>,
    ) -> Result<RequestKey, UaError> {
        let index = call.index();
        let entry = self.calls.get(index).ok_or(UaError::UnknownCall)?;
        if entry.stage != Stage::Confirmed || matches!(entry.acknowledged, Acknowledged::Due { .. }) {
            return Err(UaError::InvalidState("the call is not established"));
        }
        // These have commands of their own.
        if matches!(
            method,
            Method::Invite | Method::Ack | Method::Bye | Method::Cancel | Method::Prack | Method::Update
        ) {
            return Err(UaError::InvalidState("not a request for an established call"));
        }
        if entry.requests.len() >= MAX_PENDING {
            return Err(UaError::TooMany("too many requests without an answer"));
        }
        check_headers(&headers, false, false)?;
        check_body(body.as_ref())?;
        // RFC 5057 §5.1: what has become of a REFER, of its subscription or of a message says nothing about the call.
        let owner = match method {
            Method::Refer | Method::Notify | Method::Message => Owner::Aside(index),
            _ => Owner::Request(index),
        };
        let client =
            self.send_within(now, index, &method, &headers, body.as_ref(), owner).ok_or(UaError::UnknownCall)?;
        if let Some(call) = self.calls.get_mut(index)
            && self.clients.contains(client)
        {
            call.requests.push(client);
        }
        Ok(RequestKey::of_client(client))
    }

    /// The final response to a request of ours that is no INVITE.
    pub(super) fn request_answered(
        &mut self,
        now: Now,
        owner: Owner,
        client: Index,
        response: &Message,
        round_trip: Duration,
        flow: &Flow,
    ) {
        match owner {
            Owner::Bye(index) => self.release(now, index),
            Owner::Update(index) => self.update_answered(now, index, client, response),
            Owner::Standalone(index) => self.standalone_answered(index, response, round_trip, *flow),
            Owner::Usage(index) => self.usage_answered(index, client, Ok(response.clone())),
            Owner::Request(index) | Owner::Aside(index) => {
                let Some(call) = self.calls.get_mut(index) else { return };
                let Some(place) = call.requests.iter().position(|request| *request == client) else { return };
                call.requests.remove(place);
                let key = RequestKey::of_client(client);
                let event = Event::Response { call: CallKey::new(index), key, response: Ok(response.clone()) };
                self.call_event(index, event);
                if matches!(owner, Owner::Aside(_)) {
                    return;
                }
                // §12.2.1.2: these end the dialog.
                match response.status().map(StatusCode::as_u16) {
                    Some(481) => self.gone(now, index, 481),
                    Some(408) => self.gone(now, index, 408),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    pub(super) fn request_failed(
        &mut self,
        now: Now,
        index: Index,
        client: Index,
        cause: FailCause,
        ends_dialog: bool,
    ) {
        let Some(call) = self.calls.get_mut(index) else { return };
        call.requests.retain(|request| *request != client);
        let key = RequestKey::of_client(client);
        let timeout = cause == FailCause::Timeout && ends_dialog;
        self.call_event(index, Event::Response { call: CallKey::new(index), key, response: Err(cause) });
        // §12.2.1.2: no response at all ends the dialog as 408 does.
        if timeout {
            self.gone(now, index, 408);
        }
    }
}
