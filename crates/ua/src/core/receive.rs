//! Messages as they arrive: read, checked, logged, and handed to their transaction.

use bytes::Bytes;
use ringback_sip::{Message, Method, ParseError, StatusCode, validate};
use ringback_time::Now;

use crate::api::Flow;
use crate::core::compose::Automatic;
use crate::core::guard::Verdict;
use crate::core::server::Path;
use crate::core::{Transaction, Ua, log};
use crate::transaction::key::{Branch, COOKIE, Class, Key, OldStyle};
use crate::transaction::linger::Past;
use crate::wire::echo::{Echo, Tag};
use crate::wire::tags::from_tag;
use crate::wire::via::TopVia;

impl Ua {
    /// One datagram, or one message cut out of a stream.
    pub fn handle_message(&mut self, now: Now, flow: Flow, bytes: Bytes) {
        // RFC 5626 §4.4.1: keep-alives are not messages.
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return;
        }
        if self.guard.shuts_out(now.mono, flow.remote.ip()) && !bytes.starts_with(b"SIP/2.0 ") {
            self.counters.shut_out += 1;
            return;
        }
        log::received(flow.transport, flow.remote, &bytes);
        let message = match Message::parse(bytes.clone()).and_then(|message| validate(&message).map(|()| message)) {
            Ok(message) => message,
            Err(error) => {
                self.counters.parse_errors += 1;
                log::unreadable(flow.transport, flow.remote, &bytes, &error);
                return self.refuse_unreadable(now, &flow, error);
            }
        };
        if message.is_response() {
            self.counters.responses_received += 1;
            return self.response(now, &flow, &message);
        }
        self.counters.requests_received += 1;
        let Some(via) = message.headers().get(&ringback_sip::HeaderName::Via).and_then(TopVia::parse) else {
            self.counters.dropped += 1;
            return;
        };
        if message.raw().len() > self.config.message_bytes && message.method() != Some(&Method::Ack) {
            return self.refuse(&message, &via, &flow, StatusCode::MESSAGE_TOO_LARGE, None);
        }
        self.request_received(now, &flow, &message, &via);
    }

    /// RFC 3261 §8.2.7: what cannot be worked with is answered without a transaction, if it can be answered at all.
    fn refuse_unreadable(&mut self, now: Now, flow: &Flow, error: ParseError) {
        if error.partial.as_ref().is_none_or(|partial| partial.is_request()) {
            self.guard.fault(now.mono, flow.remote.ip());
            if self.guard.weigh(now.mono, flow.remote.ip()) != Verdict::Admit {
                self.counters.shut_out += 1;
                return;
            }
        }
        let Some(partial) = error.partial else {
            self.counters.dropped += 1;
            return;
        };
        let via = partial.headers().get(&ringback_sip::HeaderName::Via).and_then(TopVia::parse);
        match via {
            Some(via) if partial.is_request() && partial.method() != Some(&Method::Ack) => {
                self.refuse(&partial, &via, flow, error.status, Some(error.reason));
            }
            _ => self.counters.dropped += 1,
        }
    }

    /// Answers without keeping anything. The same request gets the same response again.
    pub(super) fn refuse(
        &mut self,
        request: &Message,
        via: &TopVia<'_>,
        flow: &Flow,
        status: StatusCode,
        reason: Option<&str>,
    ) {
        self.counters.refused += 1;
        let class = request.method().map_or(Class::Other, super::client::class_of);
        let key = self.server_key(request, via, class);
        let tag = Tag::Add(self.keys.stateless_tag(key, flow.remote.ip()));
        self.answer_automatically(request, via, flow, tag, status, reason);
    }

    pub(super) fn answer_automatically(
        &mut self,
        request: &Message,
        via: &TopVia<'_>,
        flow: &Flow,
        tag: Tag,
        status: StatusCode,
        reason: Option<&str>,
    ) {
        let echo = Echo::of(request, via, flow, tag, "");
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(self.config.retry_after);
        let path = Path::of(via, flow);
        let more = self.automatic_headers(request, &path, status);
        let bytes = self.compose_automatic(request, &echo, Automatic { status, reason, retry_after, more });
        self.transmit(&path, bytes);
    }

    /// RFC 3261 §17.2.3: by branch, sent-by and method; without the magic cookie by what RFC 2543 had.
    pub(super) fn server_key(&self, request: &Message, via: &TopVia<'_>, class: Class) -> Key {
        let magic = |branch: &&str| branch.get(..COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(COOKIE));
        match via.branch.filter(magic).filter(|branch| branch.len() > COOKIE.len()) {
            Some(branch) => self.keys.of_server(branch, via.host, via.port, class),
            None => self.keys.of_old_style(
                &OldStyle {
                    request_uri: request.request_uri().map_or("", |uri| uri.as_str()),
                    from_tag: from_tag(request).unwrap_or_default(),
                    call_id: request.call_id().unwrap_or_default(),
                    cseq: request.cseq().map_or(0, |cseq| cseq.number),
                    via: via.text,
                },
                class,
            ),
        }
    }

    /// RFC 3261 §17.1.3 and §18.1.2.
    fn response(&mut self, now: Now, flow: &Flow, response: &Message) {
        let transaction =
            self.response_key(response).map(|(branch, class)| (branch, Key::of_client(branch, class), class));
        let Some((branch, key, class)) = transaction else {
            self.counters.dropped += 1;
            return;
        };
        match (self.transactions.get(&key), self.linger.get(key)) {
            (Some(Transaction::Client(index)), _) => {
                let index = *index;
                self.client_response(now, index, response, flow);
            }
            // RFC 6026 §8.4: in Accepted each 2xx goes to the core.
            (None, Some(Past::ClientAccepted))
                if class == Class::Invite && response.status().is_some_and(|status| status.is_success()) =>
            {
                self.stray_success(now, Some(branch), response, flow);
            }
            // A retransmission that has been dealt with.
            (None, Some(Past::ClientAccepted | Past::ClientCompleted)) => {}
            _ => self.counters.dropped += 1,
        }
    }

    fn response_key(&self, response: &Message) -> Option<(Branch, Class)> {
        let line = response.headers().get(&ringback_sip::HeaderName::Via)?;
        let via = TopVia::parse(line)?;
        // §8.1.3.3: a response with another Via than ours was misrouted.
        if via.more || response.headers().count(&ringback_sip::HeaderName::Via) > 1 {
            return None;
        }
        let branch = Branch::parse(via.branch?)?;
        let method = response.cseq().ok()?.method;
        Some((branch, super::client::class_of(&method)))
    }
}
