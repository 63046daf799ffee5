//! Dialogs without a call: subscriptions of either side (RFC 6665). What is in them is the program's business; here it is which dialog a
//! request belongs to, in which order they come, and where ours go.
//!
//! Invariant: `usage_tags` names each usage by our tag, and nothing else. The subscriber's dialog is the one of the first NOTIFY (RFC 6665
//! §4.1.2.4), which may overtake the 2xx; NOTIFYs of other forks find nothing and get 481.

use std::sync::Arc;

use ringback_sip::{Message, Method, StatusCode};
use ringback_time::Now;
use smallvec::SmallVec;

use crate::api::{
    Body, ContactForm, Credentials, Event, FailCause, Reply, Request, RequestKey, StandaloneKey, UaError, UsageKey,
};
use crate::arena::Index;
use crate::core::Ua;
use crate::core::client::{Launch, Owner, class_of};
use crate::core::compose::{check_body, check_headers, parts, put_headers};
use crate::core::requests::{Incoming, inspect};
use crate::core::server::{Machine, NewServer, Path};
use crate::core::way::DialogWay;
use crate::dialog::{Dialog, MAX_ROUTES, contact_of};
use crate::timer::{Kind, Target as Wake};
use crate::transaction::key::{hex, parse_hex};
use crate::transaction::server_request;
use crate::wire::echo::{Echo, Tag};
use crate::wire::request::Draft;
use crate::wire::tags::{from_tag, to_tag};
use crate::wire::writer::Writer;

/// Usages; one more of a peer's is answered 503.
const USAGES_MOST: usize = 65_536;
/// Requests of the peer in one usage that wait for the program.
const PENDING_MOST: usize = 4;
/// Where the sequence numbers of a subscriber's dialog go on: the first SUBSCRIBE may have taken some to answer challenges.
const SECOND_CSEQ: u32 = 100;

pub(super) struct Usage {
    tag: u64,
    call_id: Box<str>,
    /// `None`: a SUBSCRIBE of ours that no NOTIFY has followed yet.
    pub(super) dialog: Option<Dialog>,
    /// The peer's requests that the program has to answer.
    pending: SmallVec<[Index; 1]>,
    /// Ours without a final response.
    requests: SmallVec<[Index; 1]>,
    /// What the subscriber's later requests say about it, as the first one did.
    own: Option<Arc<Credentials>>,
    form: Option<Box<ContactForm>>,
}

impl Usage {
    fn new(tag: u64, call_id: Box<str>) -> Usage {
        Usage { tag, call_id, dialog: None, pending: SmallVec::new(), requests: SmallVec::new(), own: None, form: None }
    }
}

impl Ua {
    /// Sends a SUBSCRIBE that is to make a dialog. What becomes of the request is `Event::Standalone`, of the dialog `Event::UsageRequest`.
    pub fn subscribe(&mut self, now: Now, request: Request) -> Result<(UsageKey, StandaloneKey), UaError> {
        if self.usages.len() >= USAGES_MOST {
            return Err(UaError::TooMany("too many subscriptions"));
        }
        let tag = self.new_tag();
        let call_id = request.call_id.as_str().into();
        let text = String::from_utf8_lossy(&hex(tag)).into_owned();
        let from = request.from.clone().with_tag(&text);
        let (own, form) = (request.credentials.clone(), request.contact_form.clone());
        let request = self.send(now, Request { from, ..request })?;
        let usage = Usage { own, form, ..Usage::new(tag, call_id) };
        let index = self.usages.insert(usage);
        self.usage_tags.insert(tag, index);
        Ok((UsageKey::new(index), request))
    }

    /// A SUBSCRIBE outside of a dialog, for the program: its 2xx makes one.
    pub(super) fn subscribe_received(&mut self, now: Now, incoming: &Incoming<'_>) {
        let Incoming { request, via, flow, cseq, .. } = *incoming;
        if let Err(status) = inspect(incoming) {
            return self.refuse(request, via, flow, status, None);
        }
        if self.is_merged(now, incoming) {
            return self.refuse(request, via, flow, StatusCode::LOOP_DETECTED, None);
        }
        if self.usages.len() >= USAGES_MOST {
            self.counters.overload += 1;
            return self.refuse(request, via, flow, StatusCode::SERVICE_UNAVAILABLE, None);
        }
        // RFC 6665 §8.2.
        let Some(contact) = contact_of(request) else {
            return self.refuse(request, via, flow, StatusCode::BAD_REQUEST, Some("Missing Contact"));
        };
        let tag = self.new_tag();
        let echo = Echo::of(request, via, flow, Tag::Add(tag), contact);
        if echo.routes.len() > MAX_ROUTES {
            let why = Some("Too Many Record-Route Header Fields");
            return self.refuse(request, via, flow, StatusCode::BAD_REQUEST, why);
        }
        let dialog = Some(Dialog::of_uas(&echo, cseq, flow));
        let usage = Usage { dialog, ..Usage::new(tag, request.call_id().unwrap_or_default().into()) };
        let index = self.usages.insert(usage);
        self.usage_tags.insert(tag, index);
        let server = self.open_usage_server(now, index, incoming, echo, tag);
        let (usage, key) = (UsageKey::new(index), RequestKey::new(server));
        self.event(Event::Subscribe { usage, key, request: request.clone(), flow: *flow });
    }

    fn open_usage_server(&mut self, now: Now, usage: Index, incoming: &Incoming<'_>, echo: Echo, tag: u64) -> Index {
        let Incoming { method, via, flow, key, cseq, .. } = *incoming;
        let machine = Machine::Request(server_request::State::Trying);
        let path = Path::of(via, flow);
        let new = NewServer { key, machine, path, echo, owner: None, tag, cseq, late_offer: false, held: None };
        let index = self.open_server(now, new);
        let end = self.timers.set(now.mono, self.config.t1 * 64, Wake { kind: Kind::ServerEnd, owner: index });
        if let Some(server) = self.servers.get_mut(index) {
            server.end = Some(end);
            server.refreshes = *method == Method::Subscribe;
        }
        if let Some(usage) = self.usages.get_mut(usage) {
            usage.pending.push(index);
        }
        index
    }

    /// The usage that a request names: as `find_call`.
    pub(super) fn find_usage(&self, request: &Message) -> Option<Index> {
        if self.usage_tags.is_empty() {
            return None;
        }
        let index = *self.usage_tags.get(&parse_hex(to_tag(request)?)?)?;
        let usage = self.usages.get(index)?;
        if request.call_id() != Some(&usage.call_id) {
            return None;
        }
        let peer = from_tag(request).unwrap_or_default();
        match &usage.dialog {
            Some(dialog) => (dialog.remote_tag() == peer).then_some(index),
            None => (request.method() == Some(&Method::Notify)).then_some(index),
        }
    }

    pub(super) fn usage_request_received(&mut self, now: Now, index: Index, incoming: &Incoming<'_>) {
        let Incoming { request, method, via, flow, cseq, .. } = *incoming;
        let Some(usage) = self.usages.get_mut(index) else { return };
        let contact = contact_of(request).unwrap_or_default();
        let echo = Echo::of(request, via, flow, Tag::Keep, contact);
        match &mut usage.dialog {
            Some(dialog) => {
                if !dialog.accept_cseq(cseq) {
                    return self.refuse(request, via, flow, StatusCode::SERVER_INTERNAL_ERROR, None);
                }
                dialog.refresh_target(request);
            }
            None if contact.is_empty() || echo.routes.len() > MAX_ROUTES => {
                return self.refuse(request, via, flow, StatusCode::BAD_REQUEST, Some("Missing Contact"));
            }
            None => {
                let mut dialog = Dialog::of_uas(&echo, cseq, flow);
                dialog.local_cseq = SECOND_CSEQ;
                usage.dialog = Some(dialog);
            }
        }
        usage.pending.retain(|pending| self.servers.get(*pending).is_some_and(|server| server.echo.is_some()));
        let (tag, waiting) = (usage.tag, usage.pending.len());
        if !matches!(method, Method::Subscribe | Method::Notify) {
            return self.refuse(request, via, flow, StatusCode::METHOD_NOT_ALLOWED, None);
        }
        if let Err(status) = inspect(incoming) {
            return self.refuse(request, via, flow, status, None);
        }
        if waiting >= PENDING_MOST {
            return self.refuse(request, via, flow, StatusCode::SERVICE_UNAVAILABLE, None);
        }
        let server = self.open_usage_server(now, index, incoming, echo, tag);
        let (usage, key) = (UsageKey::new(index), RequestKey::new(server));
        self.event(Event::UsageRequest { usage, key, request: request.clone() });
    }

    /// Sends a request in the dialog of a usage (SUBSCRIBE, NOTIFY). The outcome is `Event::UsageResponse`.
    pub fn usage_request(
        &mut self,
        now: Now,
        usage: UsageKey,
        method: &Method,
        headers: &[(String, String)],
        body: Option<&Body>,
    ) -> Result<RequestKey, UaError> {
        let index = usage.index();
        check_headers(headers, false, false)?;
        check_body(body)?;
        let entry = self.usages.get_mut(index).ok_or(UaError::UnknownCall)?;
        let Some(dialog) = &mut entry.dialog else { return Err(UaError::InvalidState("there is no dialog yet")) };
        let cseq = dialog.next_cseq();
        let mut out = Writer::with_capacity(512 + body.map_or(0, |body| body.bytes.len()));
        let line_end = dialog.write_request(&mut out, method, cseq, 70);
        let dialog = self.usages.get(index).and_then(|usage| usage.dialog.as_ref()).ok_or(UaError::UnknownCall)?;
        let DialogWay { hop, domain, destination } = self.dialog_way(dialog);
        self.put_user_agent(&mut out);
        put_headers(&mut out, headers);
        let usage = self.usages.get(index).ok_or(UaError::UnknownCall)?;
        let (own, form) = (usage.own.clone(), usage.form.clone());
        let mut draft = Draft::new(out.body(parts(body)), line_end, true).with_form(form);
        let authorizing = self.preauthorize(&mut draft, own, None);
        let (class, owner) = (class_of(method), Owner::Usage(index));
        let launch = Launch { draft, class, owner, cseq, hop, domain, destination, branch: None, authorizing };
        let client = self.launch(now, launch);
        if let Some(usage) = self.usages.get_mut(index)
            && self.clients.contains(client)
        {
            usage.requests.push(client);
        }
        Ok(RequestKey::of_client(client))
    }

    /// The outcome of a request in a usage.
    pub(super) fn usage_answered(&mut self, index: Index, client: Index, response: Result<Message, FailCause>) {
        let Some(usage) = self.usages.get_mut(index) else { return };
        usage.requests.retain(|request| *request != client);
        if let (Ok(response), Some(dialog)) = (&response, &mut usage.dialog)
            && response.status().is_some_and(StatusCode::is_success)
        {
            dialog.refresh_target(response);
        }
        let key = RequestKey::of_client(client);
        self.event(Event::UsageResponse { usage: UsageKey::new(index), key, response });
    }

    /// Forgets a usage. What is under way for it ends by itself; what the peer still waits for gets 481.
    pub fn close_usage(&mut self, now: Now, usage: UsageKey) {
        let Some(usage) = self.usages.remove(usage.index()) else { return };
        self.usage_tags.remove(&usage.tag);
        for client in usage.requests {
            if let Some(client) = self.clients.get_mut(client) {
                client.owner = Owner::Nobody;
            }
        }
        for server in usage.pending {
            self.answer_request(now, RequestKey::new(server), Reply::new(StatusCode::CALL_DOES_NOT_EXIST));
        }
    }
}
