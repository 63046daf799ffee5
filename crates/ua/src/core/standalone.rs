//! Requests of ours outside of dialogs: OPTIONS, MESSAGE, REGISTER and their like (RFC 3261 §8.1, §17.1.2).
//!
//! One such request may be several client transactions, one for each address that is tried. Invariant: `send` that gave a key is followed by
//! exactly one `Event::Standalone` with it, unless `forget` comes first; then by none.

use std::time::Duration;

use ringback_sip::{Message, Method, NameAddr};
use ringback_time::Now;

use crate::api::{Answer, Event, FailCause, Flow, Request, StandaloneKey, UaError};
use crate::arena::Index;
use crate::core::Ua;
use crate::core::client::{Launch, Owner, class_of};
use crate::core::compose::{check_body, check_call_id, check_form, check_headers, parts, put_headers};
use crate::timer::{Kind, Target as Wake, TimerId};
use crate::wire::request::Draft;
use crate::wire::writer::Writer;

/// A request whose outcome has not been told.
pub(super) struct Standalone {
    client: Option<Index>,
    end: Option<TimerId>,
}

/// RFC 3261 §12.2, RFC 3262 §5, RFC 3311 §5, RFC 6086 §4.2: these make a dialog, or are nothing without one.
fn check_method(method: &Method) -> Result<(), UaError> {
    match method {
        Method::Invite | Method::Ack | Method::Bye | Method::Cancel | Method::Prack | Method::Update | Method::Info => {
            Err(UaError::InvalidState("not a request outside of a dialog"))
        }
        method if ringback_sip::is_valid_header_text(method.as_str(), "") => Ok(()),
        _ => Err(UaError::InvalidState("a method is a token")),
    }
}

impl Ua {
    /// Sends a request outside of a dialog by the first address that takes it. The outcome comes as `Event::Standalone`, even when nothing
    /// can be sent at all; an error means that nothing was begun.
    pub fn send(&mut self, now: Now, request: Request) -> Result<StandaloneKey, UaError> {
        let Request { method, from, to, headers, body, .. } = &request;
        check_method(method)?;
        check_headers(headers, !request.contact, true)?;
        check_body(body.as_ref())?;
        check_call_id(&request.call_id)?;
        check_form(request.contact_form.as_deref())?;
        let (hop, destination) = self.way(request.flow, headers, &request.request_uri)?;
        let mut out = Writer::with_capacity(512 + body.as_ref().map_or(0, |body| body.bytes.len()));
        let (method_name, request_uri) = (method.as_str(), request.request_uri.request_uri());
        out.text(method_name).text(" ").text(request_uri.as_str()).text(" SIP/2.0\r\n");
        let line_end = out.len();
        out.text("Max-Forwards: ").number(request.max_forwards.into()).text("\r\n");
        out.text("From: ").text(&from.to_string());
        if from.tag().is_none() {
            // §8.1.1.3.
            out.text(";tag=").hex(self.new_tag());
        }
        let mut to: NameAddr = to.clone();
        to.params.remove("tag");
        out.text("\r\n").header("To", &to.to_string()).header("Call-ID", &request.call_id);
        out.text("CSeq: ").number(request.cseq.into()).text(" ").text(method_name).text("\r\n");
        self.put_user_agent(&mut out);
        put_headers(&mut out, headers);
        let index = self.standalone.insert(Standalone { client: None, end: None });
        if let Some(length) = request.give_up_after
            && let Some(entry) = self.standalone.get_mut(index)
        {
            entry.end = Some(self.timers.set(now.mono, length, Wake { kind: Kind::GiveUp, owner: index }));
        }
        let class = class_of(method);
        let draft = Draft::new(out.body(parts(body.as_ref())), line_end, request.contact);
        let mut draft = draft.with_form(request.contact_form);
        let authorizing = self.preauthorize(&mut draft, request.credentials, None);
        let launch = Launch {
            draft,
            class,
            owner: Owner::Standalone(index),
            cseq: request.cseq,
            hop,
            domain: None,
            destination,
            branch: None,
            authorizing,
        };
        let client = self.launch(now, launch);
        // It may have failed already.
        if let Some(entry) = self.standalone.get_mut(index) {
            entry.client = Some(client);
        }
        Ok(StandaloneKey::new(index))
    }

    /// Forgets a request: nothing more is sent, and nothing told. What still comes of it is dropped.
    pub fn forget(&mut self, now: Now, key: StandaloneKey) {
        self.close_standalone(now, key.index());
    }

    /// `Request::give_up_after` is over.
    pub(super) fn standalone_overdue(&mut self, now: Now, index: Index) {
        if self.close_standalone(now, index) {
            self.event(Event::Standalone { key: StandaloneKey::new(index), outcome: Err(FailCause::Timeout) });
        }
    }

    fn close_standalone(&mut self, now: Now, index: Index) -> bool {
        let Some(mut entry) = self.standalone.remove(index) else { return false };
        self.timers.stop(&mut entry.end);
        if let Some(client) = entry.client {
            self.close_client(now, client, None);
        }
        true
    }

    pub(super) fn standalone_answered(&mut self, index: Index, response: &Message, round_trip: Duration, flow: Flow) {
        self.standalone_ended(index, Ok(Answer { response: response.clone(), round_trip, flow }));
    }

    pub(super) fn standalone_failed(&mut self, index: Index, cause: FailCause) {
        self.standalone_ended(index, Err(cause));
    }

    /// Its last transaction has ended.
    fn standalone_ended(&mut self, index: Index, outcome: Result<Answer, FailCause>) {
        let Some(mut entry) = self.standalone.remove(index) else { return };
        self.timers.stop(&mut entry.end);
        self.event(Event::Standalone { key: StandaloneKey::new(index), outcome });
    }
}
