//! What `ua` reports, and where it goes.

use ringback_sip::{Message, Method, StatusCode};
use ringback_time::Now;
use ringback_ua::{DialogId, Event, FailCause, Flow, Reply as Answer, RequestKey};

use crate::api::Reply;
use crate::call::{Ending, Stage};
use crate::end::{reason_of, rejected};
use crate::engine::Engine;
use crate::outgoing::{contacts, status_line};
use crate::states::Change;
use crate::table::Key;

impl Engine {
    pub(crate) fn signal(&mut self, now: Now, event: Event) {
        if let Event::Invite { call, request, flow } = event {
            self.current = None;
            self.invited(now, call, request, flow);
            return;
        }
        if let Event::Standalone { key, outcome } = event {
            self.current = None;
            if self.subscriptions.has_request(key) {
                return self.subscribe_answered(now, key, outcome);
            }
            if self.accounts.is_empty() || !self.register_answered(now, key, &outcome) {
                self.asked(now, key, outcome);
            }
            return;
        }
        if let Event::Password { key, username, realm } = event {
            self.current = None;
            self.emit(crate::api::Event::Password { key, username, realm });
            return;
        }
        let event = match event {
            Event::Subscribe { usage, key, request, .. } => {
                self.current = None;
                return self.subscribed(now, usage, key, &request);
            }
            Event::UsageRequest { usage, key, request } => {
                self.current = None;
                return match self.subscriptions.has_usage(usage) {
                    true => self.notified(now, usage, key, &request),
                    false => self.watch_refreshed(now, usage, key, &request),
                };
            }
            Event::UsageResponse { usage, key, response } => {
                self.current = None;
                return match self.subscriptions.has_usage(usage) {
                    true => self.refresh_answered(now, usage, key, &response),
                    false => self.watcher_told(now, usage, key, &response),
                };
            }
            event => event,
        };
        if let Event::OutOfDialog { key, request, flow } = event {
            self.current = None;
            self.out_of_dialog(now, key, request, flow);
            return;
        }
        let Some(&key) = event.call().and_then(|call| self.by_ua.get(&call)) else {
            self.left_over(now, event);
            return;
        };
        self.current = Some(key);
        if let Some(from) = self.heard_from
            && let Some(call) = self.calls.get_mut(key)
        {
            call.media.signalling = Some(from);
        }
        if let Some(ua) = event.call()
            && self.calls.get(key).is_some_and(|call| call.forks.is_some())
        {
            return self.branch(now, key, ua, event);
        }
        let renegotiated = matches!(
            event,
            Event::Reinvite { .. }
                | Event::ReinviteAcked { .. }
                | Event::ReinviteAnswered { .. }
                | Event::ReinviteFailed { .. }
                | Event::Offer { .. }
        );
        match event {
            Event::Invite { .. } => {}
            Event::Cancelled { request, .. } => {
                self.finish(now, key, Ending::cancelled("cancelled").silent().over(true).told_by(&request));
            }
            Event::Provisional { call, response, offers } => {
                self.provisional(now, key, &response, offers.then_some(call));
            }
            Event::Answered { response, settled, .. } => self.answered_by_peer(now, key, &response, settled),
            Event::Rejected { response, .. } => self.rejected_by_peer(now, key, &response),
            Event::Failed { status, cause, .. } => self.call_failed(now, key, status, &cause),
            Event::Acked { body, .. } => self.acked(now, key, body),
            Event::Reinvite { request, .. } => self.reinvited(now, key, &request),
            Event::ReinviteCancelled { .. } => self.reinvite_withdrawn(now, key),
            Event::ReinviteAcked { body, .. } => self.reinvite_acked(now, key, body),
            Event::ReinviteAnswered { response, .. } => self.reinvite_answered(now, key, &response),
            Event::ReinviteFailed { status, reason, .. } => self.reinvite_failed(now, key, status, reason),
            Event::Bye { request, .. } => self.bye_received(now, key, &request),
            // RFC 3261 §12.2.1.2: 481 within a dialog tells that it is over at the peer. As a rule its BYE crossed with our request,
            // or was lost and is yet to come: the call has ended as that BYE says, not failed.
            Event::Gone { status: 481, .. } => {
                self.finish(now, key, Ending::hung_up("remote hangup").silent().over(true));
            }
            Event::Gone { status, .. } => {
                self.finish(now, key, Ending::failed(Some(status), "the peer does not answer").silent());
            }
            Event::Request { key: request_key, request, .. } => match request.method() {
                Some(Method::Message) => {
                    let answer = self.message_received(now, &request);
                    self.ua.answer_request(now, request_key, answer);
                }
                Some(Method::Refer) => self.refer_received(now, key, request_key, &request),
                Some(Method::Notify) => self.refer_notified(now, key, request_key, &request),
                _ => self.info(now, key, request_key, &request),
            },
            Event::Response { key: request_key, response, .. } => {
                let taken = self.refer_answered(now, key, request_key, &response)
                    || self.referrer_told(now, key, request_key, &response);
                if !taken {
                    self.info_answered(now, key, request_key, response);
                }
            }
            Event::Offer { key: request_key, request, .. } => self.offered(now, key, request_key, &request),
            Event::Pracked { body, .. } => self.pracked(now, key, body.as_ref()),
            Event::Refresh { .. } => self.refresh(now, key),
            // RFC 4028 §10.
            Event::Expired { .. } => self.finish(now, key, Ending::hung_up("timeout").silent().over(true)),
            Event::Released { .. } => {
                self.finish(now, key, Ending::failed(None, "the dialog is gone").silent());
            }
            _ => {}
        }
        if renegotiated {
            self.pass_hold(now, key);
        }
    }

    /// A request outside of a dialog, of one of the methods that `ua` was told to hand up (`Config::requests` of `ua`).
    fn out_of_dialog(&mut self, now: Now, key: RequestKey, request: Message, flow: Flow) {
        let answer = match request.method() {
            Some(Method::Register) => return self.registered(now, key, request, flow),
            Some(Method::Message) => self.message_received(now, &request),
            _ => Answer::new(StatusCode::NOT_IMPLEMENTED),
        };
        self.ua.answer_request(now, key, answer);
    }

    /// Something about a call that ended here before the peer knew.
    fn left_over(&mut self, now: Now, event: Event) {
        let gone = || Answer::new(StatusCode::CALL_DOES_NOT_EXIST);
        match event {
            Event::Reinvite { call, .. } => self.ua.answer_reinvite(now, call, gone()),
            Event::Request { key, .. } | Event::Offer { key, .. } => self.ua.answer_request(now, key, gone()),
            _ => {}
        }
    }

    /// `Event::Failed`: our INVITE got no answer, or the transaction of theirs broke.
    fn call_failed(&mut self, now: Now, key: Key, status: Option<u16>, cause: &FailCause) {
        let ending = match cause {
            FailCause::Cancelled => Ending::cancelled("cancelled"),
            other => Ending::failed(status, other.to_string()),
        };
        self.finish(now, key, ending.silent());
    }

    fn rejected_by_peer(&mut self, now: Now, key: Key, response: &Message) {
        let (status, phrase) = status_line(response);
        // RFC 3261 §21.3: the contacts of a redirection are where to try next.
        let targets = if status / 100 == 3 { contacts(response) } else { Vec::new() };
        let ending = Ending {
            change: Change::Reject,
            reason: rejected(status, &phrase),
            cause: crate::api::EndCause::Rejected { status, reason: phrase, targets },
            wire: crate::call::Wire::Nothing,
            over: false,
            remote_reason: reason_of(response),
        };
        self.remember_dialog(now, response, response.from_tag(), response.to_tag());
        self.finish(now, key, ending);
    }

    fn bye_received(&mut self, now: Now, key: Key, request: &Message) {
        self.remember_dialog(now, request, request.to_tag(), request.from_tag());
        let transferred = self.transferee_left(key);
        self.finish(now, key, Ending::hung_up("remote hangup").silent().over(true).told_by(request));
        self.complete(transferred, Ok(Reply::Unit));
    }

    /// A message that ends a dialog names it; by now `ua` has forgotten it.
    fn remember_dialog(&mut self, now: Now, message: &Message, local_tag: Option<&str>, remote_tag: Option<&str>) {
        if let (Some(call_id), Some(local_tag)) = (message.call_id(), local_tag) {
            let remote_tag = remote_tag.unwrap_or_default().to_owned();
            let dialog = DialogId { call_id: call_id.to_owned(), local_tag: local_tag.to_owned(), remote_tag };
            self.ended_dialogs.remember(now.mono, &dialog);
        }
    }

    /// The call that answers to `key`, if it is in that stage.
    pub(crate) fn is_at(&self, key: Key, stage: Stage) -> bool {
        self.calls.get(key).is_some_and(|call| call.stage == stage)
    }
}
