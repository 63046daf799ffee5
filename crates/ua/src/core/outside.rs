//! Requests of peers outside of dialogs that the rooms above answer: REGISTER and its like (RFC 3261 §8.2, §17.2.2).
//!
//! Invariant: `Ua::outside` counts the server transactions without a call that are no INVITE's; each of them has a deadline, so that a
//! program that never answers keeps nothing.

use bytes::Bytes;
use ringback_sip::{Method, StatusCode};
use ringback_time::Now;

use crate::api::{Event, RequestKey};
use crate::arena::Index;
use crate::core::Ua;
use crate::core::requests::{Incoming, inspect};
use crate::core::server::{Machine, NewServer, Path};
use crate::timer::{Kind, Target as Wake};
use crate::transaction::linger::{Length, Past};
use crate::transaction::server_request;
use crate::wire::echo::{Echo, Tag};
use crate::wire::tags::from_tag;

/// Such requests that wait for an answer, and answers kept for retransmissions, together; one more request is answered 503.
const OUTSIDE_MOST: usize = 32_768;
/// Where so many answers are kept, one more is not: its retransmission is answered anew.
const KEPT_MOST: usize = 16_384;

impl Ua {
    pub(super) fn outside_received(&mut self, now: Now, incoming: &Incoming<'_>) {
        let Incoming { request, via, flow, key, cseq, .. } = *incoming;
        if let Err(status) = inspect(incoming) {
            return self.refuse(request, via, flow, status, None);
        }
        if self.is_merged(now, incoming) {
            return self.refuse(request, via, flow, StatusCode::LOOP_DETECTED, None);
        }
        if self.outside >= OUTSIDE_MOST {
            self.counters.overload += 1;
            return self.refuse(request, via, flow, StatusCode::SERVICE_UNAVAILABLE, None);
        }
        let tag = self.keys.stateless_tag(key, flow.remote.ip());
        let new = NewServer {
            key,
            machine: Machine::Request(server_request::State::Trying),
            path: Path::of(via, flow),
            echo: Echo::of(request, via, flow, Tag::Add(tag), ""),
            owner: None,
            tag,
            cseq,
            late_offer: false,
            held: None,
        };
        let index = self.open_server(now, new);
        let wake = Wake { kind: Kind::ServerEnd, owner: index };
        let end = self.timers.set(now.mono, self.config.t1 * 64, wake);
        if let Some(server) = self.servers.get_mut(index) {
            server.end = Some(end);
        }
        self.event(Event::OutOfDialog { key: RequestKey::new(index), request: request.clone(), flow: *flow });
    }

    /// RFC 3261 §8.2.2.2: whether it is a request that has come before, by another path; if not, its own copies will be. What needs no
    /// transaction (OPTIONS) is answered each time, and a registrar keeps the order of what it gets by itself (§10.3, 7).
    pub(super) fn is_merged(&mut self, now: Now, incoming: &Incoming<'_>) -> bool {
        let Incoming { request, method, key, cseq, .. } = *incoming;
        let Some(from_tag) = from_tag(request).filter(|_| *method != Method::Register) else { return false };
        let call_id = request.call_id().unwrap_or_default();
        let merged = self.keys.of_merged_request(from_tag, call_id, cseq, method.as_str());
        let own = Past::Merged(key.hashed() as u16);
        let known = self.linger.get(merged);
        if known.is_none() {
            self.linger.insert(now.mono, Length::Long, merged, own);
        }
        known.is_some_and(|known| known != own)
    }

    /// The final response, by the user. `again`: the status, where the response is a function of the request.
    pub(super) fn answer_outside(&mut self, now: Now, index: Index, bytes: Bytes, again: Option<u16>) {
        if let Some(server) = self.servers.get_mut(index) {
            self.timers.stop(&mut server.end);
        }
        self.drive_server_request(now, index, server_request::Input::Final, Some((bytes, again)));
        if self.outside > KEPT_MOST {
            self.close_server(now, index, None);
        }
    }
}
