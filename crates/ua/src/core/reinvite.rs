//! re-INVITE, both ways: RFC 3261 §14.

use std::time::Duration;

use ringback_sip::{HeaderName, Message, Method, StatusCode};
use ringback_time::Now;
use tracing::debug;

use crate::api::{Body, CallKey, Event, FailCause, Reply, UaError};
use crate::arena::Index;
use crate::core::Ua;
use crate::core::call::{Acknowledged, Call, OwnInvite, Stage};
use crate::core::client::{Client, Owner};
use crate::core::compose::{check_body, check_reply};
use crate::core::requests::Incoming;
use crate::core::server::{Machine, NewServer, Path};
use crate::core::update::allows_update;
use crate::dialog::contact_of;
use crate::timer::{Kind, Target as Wake};
use crate::transaction::server_invite;
use crate::wire::echo::{Echo, Tag};

/// Seconds of Retry-After: whoever asks for a longer pause has refused.
const LONGEST_RETRY_AFTER: u32 = 32;

/// RFC 3261 §20.33, its comment and parameters apart.
fn retry_after(response: &Message) -> Option<u32> {
    let value = response.headers().get(&HeaderName::RetryAfter)?;
    value.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// How often a re-INVITE is tried when it meets one of the peer's: with delays of up to 4 s half a minute.
const MAX_TRIES: u8 = 8;

impl Call {
    /// §14.1: whether an INVITE is under way in either direction, so that another must wait.
    fn is_negotiating(&self) -> bool {
        self.peer_invite.is_some()
            || self.peer_offer.is_some()
            || self.accepted.is_some()
            || matches!(self.acknowledged, Acknowledged::Due { .. })
    }
}

impl Ua {
    /// Offers a new session, or with `None` asks the peer for an offer. While another INVITE is under way it waits; 491 is tried again.
    /// The outcome is `ReinviteAnswered` or `ReinviteFailed`.
    pub fn reinvite(&mut self, now: Now, call: CallKey, body: Option<Body>) -> Result<(), UaError> {
        let index = call.index();
        let entry = self.calls.get_mut(index).ok_or(UaError::UnknownCall)?;
        if entry.stage != Stage::Confirmed {
            return Err(UaError::InvalidState("the call is not established"));
        }
        if entry.own_invite.is_some() {
            return Err(UaError::InvalidState("a re-INVITE is under way"));
        }
        check_body(body.as_ref())?;
        let body = body.filter(|body| !body.bytes.is_empty());
        self.begin_own(now, index, OwnInvite { body, ..OwnInvite::default() });
        Ok(())
    }

    /// Whether the re-INVITE or UPDATE of `reinvite` or `update` waits to be sent: after 491, or because another was under way. An offer of
    /// the peer may come meanwhile.
    pub fn reinvite_waits(&self, call: CallKey) -> bool {
        let own = self.calls.get(call.index()).and_then(|call| call.own_invite.as_ref());
        own.is_some_and(|own| own.retry.is_some() && !own.refresh)
    }

    /// Another offer for the one that waits, because the peer's own was answered meanwhile; it goes out when the first would have. `None`
    /// gives it up, and no event tells of it.
    pub fn revise_reinvite(&mut self, call: CallKey, body: Option<Body>) -> Result<(), UaError> {
        if !self.reinvite_waits(call) {
            return Err(UaError::InvalidState("no re-INVITE waits"));
        }
        check_body(body.as_ref())?;
        let Some(entry) = self.calls.get_mut(call.index()) else { return Err(UaError::UnknownCall) };
        match (body, &mut entry.own_invite) {
            (Some(body), Some(own)) => own.body = Some(body),
            (_, own) => {
                if let Some(mut own) = own.take() {
                    self.timers.stop(&mut own.retry);
                }
            }
        }
        Ok(())
    }

    /// Sends a re-INVITE or UPDATE, at once where nothing is under way that it could meet.
    pub(super) fn begin_own(&mut self, now: Now, index: Index, own: OwnInvite) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let waits = (!own.update || own.body.is_some()) && call.is_negotiating();
        call.own_invite = Some(own);
        if waits {
            self.postpone_reinvite(now, index, None);
        } else {
            self.send_reinvite(now, index);
        }
    }

    fn send_reinvite(&mut self, now: Now, index: Index) {
        let Some(own) = self.calls.get(index).and_then(|call| call.own_invite.as_ref()) else { return };
        let (body, update) = (own.body.clone(), own.update);
        let client = if update {
            self.send_update(now, index, body.as_ref())
        } else {
            let headers = self.session_headers(index, true);
            self.send_within(now, index, &Method::Invite, &headers, body.as_ref(), Owner::Reinvite(index))
        };
        if client.is_none() && update {
            return self.reinvite_over(index, 500, "the peer takes no UPDATE now".into());
        }
        // When nothing could be sent, the failure has been told already.
        if let Some(own) = self.calls.get_mut(index).and_then(|call| call.own_invite.as_mut())
            && own.retry.is_none()
        {
            own.client = client;
        }
    }

    /// §14.1: who made the Call-ID waits 2.1 to 4 s, the other side 0 to 2 s, in steps of 10 ms; or as the peer has asked.
    fn postpone_reinvite(&mut self, now: Now, index: Index, retry_after: Option<Duration>) {
        let steps = match self.calls.get(index) {
            Some(call) if call.caller => 210 + self.random_below(191),
            Some(_) => self.random_below(201),
            None => return,
        };
        let Some(own) = self.calls.get_mut(index).and_then(|call| call.own_invite.as_mut()) else { return };
        own.client = None;
        own.refused += 1;
        if own.refused > MAX_TRIES {
            return self.reinvite_over(index, 491, StatusCode::REQUEST_PENDING.reason().to_owned());
        }
        let wait = retry_after.unwrap_or(Duration::from_millis(u64::from(steps) * 10));
        let wake = Wake { kind: Kind::Retry, owner: index };
        own.retry = Some(self.timers.set(now.mono, wait, wake));
    }

    pub(super) fn retry_reinvite(&mut self, now: Now, index: Index) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let negotiating = call.is_negotiating();
        let Some(own) = &mut call.own_invite else { return };
        own.retry = None;
        if negotiating && (!own.update || own.body.is_some()) {
            self.postpone_reinvite(now, index, None);
        } else {
            self.send_reinvite(now, index);
        }
    }

    fn reinvite_over(&mut self, index: Index, status: u16, reason: String) {
        let own = self.calls.get_mut(index).and_then(|call| call.own_invite.take());
        if own.is_some_and(|own| own.refresh) {
            return;
        }
        self.call_event(index, Event::ReinviteFailed { call: CallKey::new(index), status, reason });
    }

    /// 2xx to our re-INVITE.
    pub(super) fn reinvite_accepted(&mut self, now: Now, index: Index, client: &Client, response: &Message) {
        self.invite_authorized(index, client);
        let Some(call) = self.calls.get_mut(index) else { return };
        let own = call.own_invite.take();
        if let Some(dialog) = &mut call.dialog {
            dialog.refresh_target(response);
        }
        call.acknowledged = Acknowledged::Due { cseq: client.cseq };
        call.allows_update |= allows_update(response);
        debug!(target: "ringback.dialog", call_id = response.call_id().unwrap_or_default(), "re-INVITE accepted");
        // After our BYE, or with our offer inside, the ACK has nothing to say.
        if call.stage != Stage::Confirmed || own.is_none_or(|own| own.body.is_some()) {
            self.acknowledge(now, index, client.cseq, None);
        }
        self.session_answered(now, index, response);
        self.call_event(index, Event::ReinviteAnswered { call: CallKey::new(index), response: response.clone() });
    }

    /// 300-699 to our re-INVITE.
    pub(super) fn reinvite_refused(&mut self, now: Now, index: Index, client: Index, response: &Message) {
        let Some(own) = self.calls.get(index).and_then(|call| call.own_invite.as_ref()) else { return };
        if own.client != Some(client) {
            return;
        }
        let Some(status) = response.status() else { return };
        self.own_refused(now, index, status, response);
    }

    /// 300-699 to our re-INVITE or UPDATE.
    pub(super) fn own_refused(&mut self, now: Now, index: Index, status: StatusCode, response: &Message) {
        if status == StatusCode::REQUEST_PENDING {
            return self.postpone_reinvite(now, index, None);
        }
        // RFC 3311 §5.3, RFC 3261 §20.33: the peer says when it can be tried again.
        if let Some(seconds) = retry_after(response).filter(|seconds| *seconds <= LONGEST_RETRY_AFTER)
            && matches!(status.as_u16(), 500 | 503)
        {
            return self.postpone_reinvite(now, index, Some(Duration::from_secs(seconds.into())));
        }
        if status == StatusCode::SESSION_INTERVAL_TOO_SMALL && self.longer_session(index, response) {
            return self.send_reinvite(now, index);
        }
        let reason = match response.reason() {
            Some(reason) if !reason.is_empty() => reason.to_owned(),
            _ => status.reason().to_owned(),
        };
        self.reinvite_over(index, status.as_u16(), reason);
        // §14.1 and §12.2.1.2.
        match status.as_u16() {
            481 => self.gone(now, index, 481),
            408 => self.gone(now, index, 408),
            _ => {}
        }
    }

    pub(super) fn reinvite_failed(&mut self, now: Now, index: Index, cause: FailCause) {
        if self.calls.get(index).is_none_or(|call| call.own_invite.is_none()) {
            return;
        }
        // §8.1.3.1.
        let timeout = cause == FailCause::Timeout;
        let status = if timeout { 408 } else { 503 };
        self.reinvite_over(index, status, cause.to_string());
        if timeout {
            self.gone(now, index, 408);
        }
    }

    /// A re-INVITE of the peer: §14.2.
    pub(super) fn reinvite_received(&mut self, now: Now, index: Index, incoming: &Incoming<'_>) {
        let Incoming { request, via, flow, key, cseq, .. } = *incoming;
        let Some(call) = self.calls.get(index) else { return };
        // An UPDATE without an offer is no negotiation.
        let is_offer = |own: &OwnInvite| own.client.is_some() && (!own.update || own.body.is_some());
        let own = call.own_invite.as_ref().is_some_and(is_offer);
        let due = matches!(call.acknowledged, Acknowledged::Due { .. });
        if own || due || matches!(call.stage, Stage::Calling { .. }) {
            return self.refuse_invite(now, incoming, StatusCode::REQUEST_PENDING, None);
        }
        if call.peer_invite.is_some() || call.peer_offer.is_some() || matches!(call.stage, Stage::Incoming { .. }) {
            let seconds = self.random_below(11);
            return self.refuse_invite(now, incoming, StatusCode::SERVER_INTERNAL_ERROR, Some(seconds));
        }
        match &call.accepted {
            // Our offer has no answer yet: RFC 3264 §4 has no room for another.
            Some(accepted) if accepted.offers => {
                return self.refuse_invite(now, incoming, StatusCode::REQUEST_PENDING, None);
            }
            // The peer may not send this without having had our 2xx: its ACK is late or lost.
            Some(_) => self.take_acknowledged(now, index, None),
            None => {}
        }
        let Some(call) = self.calls.get(index) else { return };
        if call.stage != Stage::Confirmed || call.quiet {
            return self.refuse_invite(now, incoming, StatusCode::CALL_DOES_NOT_EXIST, None);
        }
        let tag = call.tag;
        if let Err(status) = self.judge_session(index, request) {
            return self.refuse_invite(now, incoming, status, None);
        }
        if let Some(call) = self.calls.get_mut(index) {
            call.allows_update |= allows_update(request);
        }
        let contact = contact_of(request).unwrap_or_default();
        let new = NewServer {
            key,
            machine: Machine::Invite(server_invite::State::Proceeding),
            path: Path::of(via, flow),
            echo: Echo::of(request, via, flow, Tag::Keep, contact),
            owner: Some(index),
            tag,
            cseq,
            late_offer: request.body().is_empty(),
            held: None,
        };
        let server = self.open_server(now, new);
        if let Some(call) = self.calls.get_mut(index) {
            call.peer_invite = Some(server);
        }
        self.call_event(index, Event::Reinvite { call: CallKey::new(index), request: request.clone() });
    }

    /// Answers the re-INVITE of `Event::Reinvite`. Nothing happens when there is none any more. Headers that may not go out are left out.
    pub fn answer_reinvite(&mut self, now: Now, call: CallKey, mut reply: Reply) {
        let index = call.index();
        let Some(server) = self.calls.get(index).and_then(|call| call.peer_invite) else { return };
        if check_reply(&reply).is_err() {
            reply = Reply { headers: Vec::new(), reason: None, ..reply };
        }
        self.reply_to_invite(now, index, server, &reply, false);
    }
}
