//! Challenges to peers: RFC 3261 §22.2, RFC 8760 §2.3. A request outside of a dialog proves who sends it before anybody above sees it; what is
//! within a dialog was let in with its first request, and ACK and CANCEL cannot be asked (§22.1).
//!
//! A 401 is answered without a transaction and leaves nothing behind. Where the program knows the passwords, a request waits here for its answer.
//!
//! Invariant: what waits has a deadline, and is bounded in number and in bytes; one more request is answered 503.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use rand_core::RngCore;
use ringback_sip::digest::Authorization;
use ringback_sip::{HeaderName, Host, Message, Method, StatusCode};
use ringback_time::Now;
use tracing::{debug, info};

use crate::api::{Event, Flow, Found, Password, PasswordKey, Passwords};
use crate::arena::{Arena, Index};
use crate::core::Ua;
use crate::core::client::class_of;
use crate::core::requests::Incoming;
use crate::core::server::Path;
use crate::gate::{self, Verdict};
use crate::timer::{Kind, Target as Wake, TimerId};
use crate::transaction::key::{IdentityMap, Key};
use crate::transaction::linger::{Length, Past};
use crate::wire::echo::{Echo, Tag};
use crate::wire::via::TopVia;
use crate::wire::writer::Writer;

/// How long a password may take. A client has given up its request after 32 s, and sends it again until then.
pub(super) const PASSWORD_WAIT: Duration = Duration::from_secs(5);
/// Requests that wait for a password.
const WAITING_MOST: usize = 1024;
/// Their bytes together.
const WAITING_BYTES: usize = 8 << 20;
/// No single response to somebody unknown is larger than so many times the request: who forges its sender gains little.
const AMPLIFICATION: usize = 3;

struct Waits {
    key: Key,
    request: Message,
    flow: Flow,
    given: Authorization,
    timer: Option<TimerId>,
}

/// Requests that wait for a password.
#[derive(Default)]
pub(super) struct Waiting {
    requests: Arena<Waits>,
    by_key: IdentityMap<Key, Index>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    fn take(&mut self, index: Index) -> Option<Waits> {
        let waits = self.requests.remove(index)?;
        self.by_key.remove(&waits.key);
        self.bytes -= waits.request.raw().len();
        Some(waits)
    }
}

impl Ua {
    /// Whether a request may go on. Where not, it has been answered, or waits for a password.
    pub(super) fn is_let_in(&mut self, now: Now, incoming: &Incoming<'_>) -> bool {
        let Incoming { request, flow, key, .. } = *incoming;
        let Some(gate) = &self.gate else { return true };
        if gate.is_trusted(flow.remote.ip()) {
            return true;
        }
        if self.waiting.by_key.contains_key(&key) {
            self.counters.retransmissions_received += 1;
            return false;
        }
        let Some(given) = gate.find(request.authorizations(&HeaderName::Authorization)) else {
            self.challenge(now, incoming, false);
            return false;
        };
        let table = match &gate.config.passwords {
            Passwords::Table(table) => Arc::clone(table),
            // Only what was made for a nonce of ours is worth the program's time.
            Passwords::Ask if gate.is_ours(given.nonce()) => {
                self.ask_password(now, incoming, given);
                return false;
            }
            Passwords::Ask => {
                self.challenge(now, incoming, false);
                return false;
            }
        };
        let username = given.username().unwrap_or(Cow::Borrowed(""));
        self.judge(now, incoming, &given, table.find(&username))
    }

    fn judge(&mut self, now: Now, incoming: &Incoming<'_>, given: &Authorization, found: Option<Found<'_>>) -> bool {
        let Incoming { request, flow, .. } = *incoming;
        let Some(gate) = &mut self.gate else { return true };
        match gate.judge(now.mono, given, request, found) {
            Verdict::Good => {}
            Verdict::Stale => {
                self.challenge(now, incoming, true);
                return false;
            }
            Verdict::Wrong => {
                self.counters.wrong_credentials += 1;
                self.guard.fault(now.mono, flow.remote.ip());
                info!(target: "ringback.sip", "wrong credentials from {} {}", flow.transport, flow.remote);
                self.challenge(now, incoming, false);
                return false;
            }
        }
        // RFC 7616 §3.4.6.
        if !gate::is_for(given, request) {
            self.refuse_known(now, incoming, StatusCode::BAD_REQUEST);
            return false;
        }
        let username = given.username().unwrap_or(Cow::Borrowed(""));
        let local = flow.local.ip().to_canonical().to_string();
        let ours = [Host::parse(&local), self.texts.public_address.as_deref().and_then(Host::parse)];
        // RFC 3261 §22.4, 8 and §10.3, 4: who has proven to be one is not somebody else.
        let to = (incoming.method == &Method::Register).then(|| request.to());
        let own = [Some(request.from()), to]
            .into_iter()
            .flatten()
            .all(|address| address.is_ok_and(|address| gate.is_own(&username, &address.uri, &ours)));
        if !own {
            self.refuse_known(now, incoming, StatusCode::FORBIDDEN);
            return false;
        }
        debug!(target: "ringback.sip", call_id = request.call_id().unwrap_or_default(), "{} from {username:?}", incoming.method);
        true
    }

    /// Refuses what somebody known sent. Its nonce is used up: what comes again must be recognised.
    fn refuse_known(&mut self, now: Now, incoming: &Incoming<'_>, status: StatusCode) {
        let Incoming { request, via, flow, .. } = *incoming;
        if *incoming.method == Method::Invite {
            return self.refuse_invite(now, incoming, status, None);
        }
        self.refuse(request, via, flow, status, None);
        self.remember_answered(now, incoming, status);
    }

    /// A request was answered without a transaction. Where its credentials are used up with that, a row answers its retransmissions.
    pub(super) fn remember_answered(&mut self, now: Now, incoming: &Incoming<'_>, status: StatusCode) {
        let Incoming { method, flow, key, .. } = *incoming;
        let asked = self.gate.as_ref().is_some_and(|gate| !gate.is_trusted(flow.remote.ip()));
        if asked && *method != Method::Invite && !flow.transport.is_reliable() {
            self.retire(now, key, Length::Long, Past::ServerCompleted(status.as_u16()));
        }
    }

    /// 401, without keeping anything.
    fn challenge(&mut self, now: Now, incoming: &Incoming<'_>, stale: bool) {
        let Incoming { request, via, flow, key, .. } = *incoming;
        let random = self.rng.next_u32();
        let Some(gate) = &self.gate else { return };
        let nonce = gate.nonce(now.mono, random);
        let echo = Echo::of(request, via, flow, Tag::Add(self.keys.stateless_tag(key, flow.remote.ip())), "");
        let mut out = Writer::with_capacity(echo.buffer.len() + 512);
        out.status_line(StatusCode::UNAUTHORIZED, None).raw(echo.lines());
        self.put_server(&mut out);
        let most = if flow.transport.is_reliable() { usize::MAX } else { request.raw().len() * AMPLIFICATION };
        // What `Writer::body` appends.
        const END: usize = "Content-Length: 0\r\n\r\n".len();
        for (place, challenge) in gate.challenges(request, &nonce, stale).enumerate() {
            let line = challenge.to_string();
            if place == 0 || out.len() + "WWW-Authenticate: \r\n".len() + line.len() + END <= most {
                out.header("WWW-Authenticate", &line);
            }
        }
        let bytes = out.body(None);
        if bytes.len() > most {
            self.counters.dropped += 1;
            return;
        }
        self.counters.challenged += 1;
        self.transmit(&Path::of(via, flow), bytes);
    }

    fn ask_password(&mut self, now: Now, incoming: &Incoming<'_>, given: Authorization) {
        let Incoming { request, via, flow, key, .. } = *incoming;
        let bytes = request.raw().len();
        if self.waiting.len() >= WAITING_MOST || self.waiting.bytes + bytes > WAITING_BYTES {
            self.counters.overload += 1;
            return self.refuse(request, via, flow, StatusCode::SERVICE_UNAVAILABLE, None);
        }
        let username = given.username().unwrap_or(Cow::Borrowed("")).into_owned();
        let realm = given.realm().to_owned();
        let waits = Waits { key, request: request.clone(), flow: *flow, given, timer: None };
        let index = self.waiting.requests.insert(waits);
        let timer = self.timers.set(now.mono, PASSWORD_WAIT, Wake { kind: Kind::Password, owner: index });
        if let Some(waits) = self.waiting.requests.get_mut(index) {
            waits.timer = Some(timer);
        }
        self.waiting.by_key.insert(key, index);
        self.waiting.bytes += bytes;
        self.event(Event::Password { key: PasswordKey::new(index), username, realm });
    }

    /// Answers `Event::Password`. Nothing happens when its request has been answered already.
    pub fn password(&mut self, now: Now, key: PasswordKey, password: Password) {
        self.resume(key.index(), |ua, incoming, given| {
            let password = match &password {
                Password::Known(password) => Some(Found { password, known: true }),
                Password::Unknown => None,
                Password::Failed => {
                    let Incoming { request, via, flow, .. } = *incoming;
                    return ua.refuse(request, via, flow, StatusCode::SERVER_INTERNAL_ERROR, None);
                }
            };
            if ua.judge(now, incoming, given, password) {
                ua.admit(now, incoming);
            }
        });
    }

    /// `PASSWORD_WAIT` is over.
    pub(super) fn password_overdue(&mut self, index: Index) {
        self.resume(index, |ua, incoming, _| {
            let Incoming { request, via, flow, .. } = *incoming;
            ua.counters.overload += 1;
            ua.refuse(request, via, flow, StatusCode::SERVICE_UNAVAILABLE, None);
        });
    }

    /// A CANCEL for an INVITE that waits: RFC 3261 §9.2. `false`: none does.
    pub(super) fn cancel_waiting(&mut self, cancel: &Incoming<'_>, invite: Key) -> bool {
        let Some(index) = self.waiting.by_key.get(&invite).copied() else { return false };
        let Incoming { request, via, flow, .. } = *cancel;
        let tag = Tag::Add(self.keys.stateless_tag(invite, flow.remote.ip()));
        self.answer_automatically(request, via, flow, tag, StatusCode::OK, None);
        self.resume(index, |ua, incoming, _| {
            // Nobody has proven anything: no transaction.
            let Incoming { request, via, flow, .. } = *incoming;
            ua.refuse(request, via, flow, StatusCode::REQUEST_TERMINATED, None);
        });
        true
    }

    /// Goes on with a request that waited.
    fn resume(&mut self, index: Index, go_on: impl FnOnce(&mut Ua, &Incoming<'_>, &Authorization)) {
        let Some(mut waits) = self.waiting.take(index) else { return };
        self.timers.stop(&mut waits.timer);
        let Waits { key, request, flow, given, .. } = &waits;
        let via = request.headers().get(&HeaderName::Via).and_then(TopVia::parse);
        let (Some(method), Some(via), Ok(cseq)) = (request.method(), via, request.cseq()) else { return };
        debug_assert_eq!(*key, self.server_key(request, &via, class_of(method)));
        let incoming = Incoming { request, method, via: &via, flow, key: *key, cseq: cseq.number };
        go_on(self, &incoming, given);
    }
}
