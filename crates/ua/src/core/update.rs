//! UPDATE, both ways: RFC 3311. With an offer it is negotiation like a re-INVITE, also before the answer; without, it refreshes the
//! target and the session (RFC 4028). An offer in a PRACK (RFC 3262 §5) passes the same way up.

use ringback_sip::{Message, Method, StatusCode};
use ringback_time::Now;

use crate::api::{Body, CallKey, Event, FailCause, Reply, RequestKey, UaError};
use crate::arena::Index;
use crate::core::Ua;
use crate::core::call::{Acknowledged, Call, OwnInvite, Stage};
use crate::core::client::Owner;
use crate::core::compose::{check_body, put_headers};
use crate::core::requests::Incoming;
use crate::core::server::{Machine, NewServer, Path};
use crate::core::within::Place;
use crate::dialog::contact_of;
use crate::transaction::linger::{Length, Past};
use crate::transaction::server_request;
use crate::wire::body::session_description;
use crate::wire::echo::{Echo, Tag};
use crate::wire::writer::Writer;

/// RFC 3311 §5.2: whether a message says that its sender takes UPDATE.
pub(super) fn allows_update(message: &Message) -> bool {
    message.allow().any(|method| method == "UPDATE")
}

impl Call {
    /// We have offered, and no answer has come.
    fn has_offered(&self) -> bool {
        let own = self.own_invite.as_ref().is_some_and(|own| own.client.is_some() && own.body.is_some());
        let calling = match &self.stage {
            // RFC 3262 §5: an answer counts in a response that arrived.
            Stage::Calling { .. } => !self.late_offer && !self.early.iter().any(|dialog| dialog.described),
            _ => false,
        };
        own || calling
            || self.accepted.as_ref().is_some_and(|accepted| accepted.offers)
            || self.reliable.as_ref().is_some_and(|reliable| reliable.offers())
    }

    /// The peer has offered, and has no answer.
    fn owes_answer(&self) -> bool {
        let incoming = match &self.stage {
            Stage::Incoming { .. } => !self.late_offer && !self.reliable.as_ref().is_some_and(|it| it.has_answered()),
            _ => false,
        };
        let late = self.prack_due.is_some() || matches!(self.acknowledged, Acknowledged::Due { .. });
        incoming || late || self.peer_offer.is_some() || self.peer_invite.is_some()
    }

    /// Where an UPDATE of ours goes now.
    fn update_place(&self) -> Option<Place> {
        match &self.stage {
            Stage::Confirmed => Some(Place::Call),
            // RFC 3311 §5.1: not before the PRACK.
            Stage::Incoming { .. } => self.reliable.as_ref().is_some_and(|it| it.has_arrived()).then_some(Place::Call),
            Stage::Calling { .. } => self.early.iter().rposition(|dialog| dialog.described).map(Place::Early),
            _ => None,
        }
    }
}

impl Ua {
    /// An UPDATE of the peer.
    pub(super) fn update_received(&mut self, now: Now, index: Index, incoming: &Incoming<'_>) {
        let request = incoming.request;
        let offer = session_description(request).is_some();
        let Some(call) = self.calls.get_mut(index) else { return };
        call.allows_update |= allows_update(request);
        // §5.2.
        if call.peer_offer.is_some() || (offer && call.owes_answer()) {
            return self.refuse_within(now, incoming, StatusCode::SERVER_INTERNAL_ERROR);
        }
        if offer && call.has_offered() {
            return self.refuse_within(now, incoming, StatusCode::REQUEST_PENDING);
        }
        if let Err(status) = self.judge_session(index, request) {
            return self.refuse_within(now, incoming, status);
        }
        if offer {
            return self.offer_received(now, index, incoming);
        }
        let Some(call) = self.calls.get_mut(index) else { return };
        let (call_id, tag) = (request.call_id().unwrap_or_default(), request.from_tag().unwrap_or_default());
        if let Some(dialog) = call.dialog_mut(call_id, tag) {
            dialog.refresh_target(request);
        }
        self.start_session(now, index);
        self.finish_within(now, incoming, StatusCode::OK);
    }

    /// An offer that the program answers.
    pub(super) fn offer_received(&mut self, now: Now, index: Index, incoming: &Incoming<'_>) {
        let Incoming { request, via, flow, key, cseq, .. } = *incoming;
        let Some(call) = self.calls.get_mut(index) else { return };
        if call.quiet || call.peer_offer.is_some() {
            return self.refuse_within(now, incoming, StatusCode::SERVER_INTERNAL_ERROR);
        }
        let tag = call.tag;
        // Of those that were answered the last one alone is kept whole for its retransmissions: the peer sends the next when it has
        // the answer.
        let before = call.answered_offer.take();
        if let Some(before) = before {
            self.close_server(now, before, Some((Length::Long, Past::ServerCompleted(200))));
        }
        let contact = contact_of(request).unwrap_or_default();
        let new = NewServer {
            key,
            machine: Machine::Request(server_request::State::Trying),
            path: Path::of(via, flow),
            echo: Echo::of(request, via, flow, Tag::Keep, contact),
            owner: Some(index),
            tag,
            cseq,
            late_offer: false,
            held: None,
        };
        let server = self.open_server(now, new);
        if let Some(call) = self.calls.get_mut(index) {
            call.pending.push(server);
            call.peer_offer = Some(server);
        }
        let key = RequestKey::new(server);
        self.call_event(index, Event::Offer { call: CallKey::new(index), key, request: request.clone() });
    }

    /// The program's answer to an offer.
    pub(super) fn answer_offer(&mut self, now: Now, index: Index, server: Index, mut reply: Reply) {
        let status = reply.status;
        if !status.is_final() {
            return;
        }
        let target = self.servers.get(server).and_then(|server| server.echo.as_ref());
        let target = target.map(|echo| echo.more.of(&echo.buffer).to_owned()).unwrap_or_default();
        let Some(call) = self.calls.get_mut(index) else { return };
        call.peer_offer = None;
        call.answered_offer = Some(server);
        call.pending.retain(|pending| *pending != server);
        if status.is_success() {
            // RFC 3311 §5.2.
            if let Some(dialog) = &mut call.dialog {
                dialog.set_target(&target);
            }
            self.start_session(now, index);
            reply.headers.extend(self.session_reply_headers(index));
        }
        let Some((_, bytes)) = self.compose_invite_reply(server, &reply) else { return };
        self.drive_server_request(now, server, server_request::Input::Final, Some((bytes, None)));
    }

    /// What an automatic response says besides. It is made again for each retransmission, from what is in force by then.
    pub(super) fn automatic_headers(&mut self, request: &Message, path: &Path, status: StatusCode) -> Vec<u8> {
        if request.method() != Some(&Method::Update) {
            return Vec::new();
        }
        let mut out = Writer::default();
        if status == StatusCode::SERVER_INTERNAL_ERROR {
            // §5.2: 0 to 10 s, by chance; the same each time that it is said again.
            let chance = request.cseq().map_or(0, |cseq| cseq.number) % 11;
            out.text("Retry-After: ").number(chance.into()).text("\r\n");
        }
        if status.is_success()
            && let Some(index) = self.find_call(request)
        {
            let local = self.routes.local_address(path.transport, path.remote).unwrap_or(path.local);
            let local = if path.transport.is_reliable() { local } else { path.local };
            self.sender(path.transport, local, path.remote).write_contact(&mut out);
            self.put_abilities(&mut out);
            put_headers(&mut out, &self.session_reply_headers(index));
        }
        out.finish().to_vec()
    }

    /// Offers a new session by UPDATE, which also an unanswered call may do once its first offer has an answer that arrived
    /// (RFC 3311 §5.1); without a body it refreshes. The outcome is `ReinviteAnswered` or `ReinviteFailed`.
    pub fn update(&mut self, now: Now, call: CallKey, body: Option<Body>) -> Result<(), UaError> {
        let index = call.index();
        check_body(body.as_ref())?;
        let entry = self.calls.get(index).ok_or(UaError::UnknownCall)?;
        if !self.can_update(call) {
            return Err(UaError::InvalidState("the peer takes no UPDATE now"));
        }
        if entry.own_invite.is_some() {
            return Err(UaError::InvalidState("a re-INVITE is under way"));
        }
        let body = body.filter(|body| !body.bytes.is_empty());
        self.begin_own(now, index, OwnInvite { body, update: true, ..OwnInvite::default() });
        Ok(())
    }

    /// Whether `update` can be called: the peer has said that it takes UPDATE, and the dialog is so far.
    pub fn can_update(&self, call: CallKey) -> bool {
        self.calls.get(call.index()).is_some_and(|call| call.allows_update && call.update_place().is_some())
    }

    /// The UPDATE itself.
    pub(super) fn send_update(&mut self, now: Now, index: Index, body: Option<&Body>) -> Option<Index> {
        let place = self.calls.get(index).and_then(Call::update_place)?;
        let headers = self.session_headers(index, true);
        self.send_in(now, index, place, &Method::Update, &headers, body, Owner::Update(index))
    }

    /// The final response to an UPDATE of ours.
    pub(super) fn update_answered(&mut self, now: Now, index: Index, client: Index, response: &Message) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let Some(own) = call.own_invite.as_ref().filter(|own| own.client == Some(client)) else { return };
        let Some(status) = response.status() else { return };
        if !status.is_success() {
            if matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) {
                call.allows_update = false;
            }
            return self.own_refused(now, index, status, response);
        }
        let refresh = own.refresh;
        call.own_invite = None;
        let (call_id, tag) = (response.call_id().unwrap_or_default(), response.to_tag().unwrap_or_default());
        if let Some(dialog) = call.dialog_mut(call_id, tag) {
            dialog.refresh_target(response);
        }
        self.session_answered(now, index, response);
        if !refresh {
            self.call_event(index, Event::ReinviteAnswered { call: CallKey::new(index), response: response.clone() });
        }
    }

    pub(super) fn update_failed(&mut self, now: Now, index: Index, client: Index, cause: FailCause) {
        let own = self.calls.get(index).and_then(|call| call.own_invite.as_ref());
        if own.is_some_and(|own| own.client == Some(client)) {
            self.reinvite_failed(now, index, cause);
        }
    }
}
