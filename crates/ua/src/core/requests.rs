//! Requests: retransmissions find their transaction, the rest is inspected in the order of RFC 3261 §8.2, and goes to the call it
//! belongs to or becomes one.

use ringback_sip::{HeaderName, Message, Method, Scheme, StatusCode};
use ringback_time::Now;

use crate::api::Flow;
use crate::arena::Index;
use crate::core::client::class_of;
use crate::core::compose::{Automatic, unsupported};
use crate::core::guard::Verdict;
use crate::core::server::{Machine, NewServer, Path, Server};
use crate::core::share::Hold;
use crate::core::{Transaction, Ua};
use crate::transaction::key::{Key, parse_hex};
use crate::transaction::linger::Past;
use crate::transaction::{server_invite, server_request};
use crate::wire::body::{self, BodyFault};
use crate::wire::echo::{Echo, Tag};
use crate::wire::tags::{from_tag, to_tag};
use crate::wire::via::TopVia;

/// A request on its way through the checks.
pub(super) struct Incoming<'a> {
    pub(super) request: &'a Message,
    pub(super) method: &'a Method,
    pub(super) via: &'a TopVia<'a>,
    pub(super) flow: &'a Flow,
    pub(super) key: Key,
    pub(super) cseq: u32,
}

impl Ua {
    pub(super) fn request_received(&mut self, now: Now, flow: &Flow, request: &Message, via: &TopVia<'_>) {
        let (Some(method), Ok(cseq)) = (request.method(), request.cseq().map(|cseq| cseq.number)) else { return };
        let class = class_of(method);
        let key = self.server_key(request, via, class);
        let incoming = Incoming { request, method, via, flow, key, cseq };
        match method {
            Method::Ack => self.ack_received(now, &incoming),
            Method::Cancel => self.cancel_received(now, &incoming),
            _ if self.is_retransmission(now, &incoming) => self.counters.retransmissions_received += 1,
            _ => self.new_request(now, &incoming),
        }
    }

    /// §17.2: what came before gets what it got before.
    fn is_retransmission(&mut self, now: Now, incoming: &Incoming<'_>) -> bool {
        match self.transactions.get(&incoming.key).copied() {
            Some(Transaction::Server(index)) => {
                match self.servers.get(index).map(|server| server.machine) {
                    Some(Machine::Invite(_)) => {
                        self.drive_server_invite(now, index, server_invite::Input::Invite, None);
                    }
                    Some(Machine::Request(_)) => {
                        self.drive_server_request(now, index, server_request::Input::Request, None);
                    }
                    None => {}
                }
                return true;
            }
            Some(Transaction::Client(_)) => return false,
            None => {}
        }
        match self.linger.get(incoming.key) {
            // Completed: the response is written again from the request.
            Some(Past::ServerCompleted(status)) => {
                if let Some(status) = StatusCode::new(status) {
                    self.counters.retransmissions_sent += 1;
                    let Incoming { request, via, flow, key, .. } = *incoming;
                    let tag = Tag::Add(self.keys.stateless_tag(key, flow.remote.ip()));
                    self.answer_automatically(request, via, flow, tag, status, None);
                }
                true
            }
            // Accepted, Confirmed: absorbed.
            Some(Past::ServerAccepted | Past::ServerConfirmed) => true,
            _ => false,
        }
    }

    /// §17.2.1 for the ACK to a refusal, §13.3.1.4 for the ACK to a 2xx. Never answered.
    fn ack_received(&mut self, now: Now, incoming: &Incoming<'_>) {
        let Incoming { request, flow, key, .. } = *incoming;
        if let Some(Transaction::Server(index)) = self.transactions.get(&key).copied() {
            let known = |server: &Server| to_tag(request).and_then(parse_hex) == Some(server.tag);
            let held = self.servers.get(index).filter(|server| known(server)).and_then(|server| server.held.as_ref());
            if let Some(source) = held.map(Hold::source) {
                self.prove(now, flow, source);
            }
            self.drive_server_invite(now, index, server_invite::Input::Ack, None);
            return;
        }
        if self.linger.get(key) == Some(Past::ServerConfirmed) {
            return;
        }
        match self.find_call(request) {
            Some(index) => self.acknowledged(now, index, incoming),
            None if self.prove_stateless(now, request, flow, key) => {}
            None => self.counters.dropped += 1,
        }
    }

    /// The call whose dialog a request names (§12.2.2): our tag finds it, Call-ID and the peer's tag must agree.
    pub(super) fn find_call(&mut self, request: &Message) -> Option<Index> {
        let index = *self.tags.get(&parse_hex(to_tag(request)?)?)?;
        let call = self.calls.get_mut(index)?;
        call.dialog_mut(request.call_id()?, from_tag(request).unwrap_or_default()).map(|_| index)
    }

    /// Whether a request that belongs to no dialog is looked at any further.
    fn admits(&mut self, now: Now, incoming: &Incoming<'_>) -> bool {
        let Incoming { request, via, flow, .. } = *incoming;
        let from = flow.remote.ip();
        if self.guard.is_scanner(request) {
            self.counters.scanners += 1;
            self.guard.fault(now.mono, from);
            return false;
        }
        match self.guard.weigh(now.mono, from) {
            Verdict::Admit => true,
            Verdict::Refuse => {
                self.counters.limited += 1;
                self.refuse(request, via, flow, StatusCode::SERVICE_UNAVAILABLE, None);
                false
            }
            Verdict::Drop => {
                self.counters.shut_out += 1;
                false
            }
        }
    }

    fn new_request(&mut self, now: Now, incoming: &Incoming<'_>) {
        let Incoming { request, method, via, flow, .. } = *incoming;
        let in_dialog = to_tag(request).is_some();
        let insecure = is_insecure(incoming);
        // §12.2.2 before all: in a dialog, each request takes its sequence number, refused or not.
        if in_dialog
            && !insecure
            && let Some(index) = self.find_call(request)
        {
            return self.request_within(now, index, incoming);
        }
        if in_dialog
            && !insecure
            && let Some(index) = self.find_usage(request)
        {
            return self.usage_request_received(now, index, incoming);
        }
        if !self.admits(now, incoming) {
            return;
        }
        // §26.2.2: 403, since the same request is not let in by any other transport than TLS, and `sip` is for the sender to choose.
        if insecure {
            return self.refuse(request, via, flow, StatusCode::FORBIDDEN, Some("SIPS Needs TLS"));
        }
        // §12.2.2; also what cannot be but in a dialog.
        if in_dialog || matches!(method, Method::Bye | Method::Info | Method::Notify | Method::Prack | Method::Update) {
            let status = self.check_method(method).err().unwrap_or(StatusCode::CALL_DOES_NOT_EXIST);
            return self.refuse(request, via, flow, status, None);
        }
        // §22.2. §8.2: before the method is looked at. Nor do strangers learn what there is here.
        if self.is_let_in(now, incoming) {
            self.admit(now, incoming);
        }
    }

    /// §8.2.1: methods that are known and not for us get 405, others 501.
    fn check_method(&self, method: &Method) -> Result<(), StatusCode> {
        match method {
            _ if self.config.requests.contains(method) => Ok(()),
            method => check_method(method),
        }
    }

    /// A request outside of a dialog whose sender may send it.
    pub(super) fn admit(&mut self, now: Now, incoming: &Incoming<'_>) {
        let Incoming { request, method, via, flow, .. } = *incoming;
        if let Err(status) = self.check_method(method) {
            self.refuse(request, via, flow, status, None);
            return self.remember_answered(now, incoming, status);
        }
        match method {
            Method::Invite => self.invite_received(now, incoming),
            Method::Subscribe if self.config.requests.contains(method) => self.subscribe_received(now, incoming),
            _ if self.config.requests.contains(method) => self.outside_received(now, incoming),
            // RFC 3515 lets it come without a call; here there is nothing then that could be transferred.
            Method::Refer => {
                self.refuse(request, via, flow, StatusCode::FORBIDDEN, None);
                self.remember_answered(now, incoming, StatusCode::FORBIDDEN);
            }
            _ => {
                let status = match inspect(incoming) {
                    Ok(()) => StatusCode::OK,
                    Err(status) => status,
                };
                if status == StatusCode::OK {
                    // §8.2.7: OPTIONS outside of a dialog needs no transaction.
                    let tag = Tag::Add(self.keys.stateless_tag(incoming.key, flow.remote.ip()));
                    self.answer_automatically(request, via, flow, tag, status, None);
                } else {
                    self.refuse(request, via, flow, status, None);
                }
                self.remember_answered(now, incoming, status);
            }
        }
    }

    /// Refuses an INVITE with a transaction of its own: where the same INVITE must not be judged anew when it comes again.
    pub(super) fn refuse_invite(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        status: StatusCode,
        retry_after: Option<u32>,
    ) {
        let Incoming { request, via, flow, key, cseq, .. } = *incoming;
        // Until its ACK it is kept like any other.
        if !self.has_room(flow) {
            return self.refuse(request, via, flow, status, None);
        }
        self.counters.refused += 1;
        let tag = self.keys.stateless_tag(key, flow.remote.ip());
        let echo = Echo::of(request, via, flow, Tag::Add(tag), "");
        let refusal = Automatic { status, reason: None, retry_after, more: Vec::new() };
        let bytes = self.compose_automatic(request, &echo, refusal);
        let new = NewServer {
            key,
            machine: Machine::Invite(server_invite::State::Proceeding),
            path: Path::of(via, flow),
            echo,
            owner: None,
            tag,
            cseq,
            late_offer: false,
            held: Some(self.hold_open(flow)),
        };
        let index = self.open_server(now, new);
        self.drive_server_invite(now, index, server_invite::Input::Refusal, Some(bytes));
    }
}

/// §26.2.2, RFC 5630 §5: a request to a `sips` URI that came by a transport without TLS. What a proxy on this very host hands over was on no
/// wire; how it came to the proxy is the proxy's to judge.
fn is_insecure(incoming: &Incoming<'_>) -> bool {
    let Incoming { request, via, flow, .. } = *incoming;
    let sips = request.request_uri().is_some_and(|uri| uri.scheme() == Scheme::Sips);
    let proxied = via.more || request.headers().count(&HeaderName::Via) > 1;
    sips && !flow.transport.is_secure() && !(proxied && flow.remote.ip().is_loopback())
}

/// Of the methods that are answered whatever the configuration serves; of others, 405 where they are known and 501 where they are not.
pub(super) fn check_method(method: &Method) -> Result<(), StatusCode> {
    match method {
        Method::Invite
        | Method::Ack
        | Method::Cancel
        | Method::Bye
        | Method::Options
        | Method::Info
        | Method::Refer
        | Method::Notify
        | Method::Prack
        | Method::Update => Ok(()),
        Method::Other(_) => Err(StatusCode::NOT_IMPLEMENTED),
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// §8.2.2.3 and §8.2.3: extensions and bodies.
pub(super) fn inspect(incoming: &Incoming<'_>) -> Result<(), StatusCode> {
    let Incoming { request, method, .. } = *incoming;
    if unsupported(request).next().is_some() {
        return Err(StatusCode::BAD_EXTENSION);
    }
    let fault = match method {
        Method::Invite | Method::Prack | Method::Update => body::check_invite(request),
        _ => body::check_encoding(request),
    };
    match fault {
        Ok(()) => Ok(()),
        Err(BodyFault::Undecipherable) => Err(StatusCode::UNDECIPHERABLE),
        Err(BodyFault::Type | BodyFault::Encoding) => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    }
}
