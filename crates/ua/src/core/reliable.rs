//! Provisional responses that arrive: RFC 3262, both ways.
//!
//! As called side ([`Reliable`]): one response at a time is under way, sent again until its PRACK comes; those behind it wait, a 2xx too
//! where what is under way carries a description (§3). As calling side: each response is acknowledged once and in order, in
//! the early dialog that it belongs to (§4); `Dialog::reliable` has the last one.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ringback_sip::{HeaderName, Message, Method, StatusCode};
use ringback_time::{Mono, Now};
use tracing::debug;

use crate::api::{Body, CallKey, Event, Reply};
use crate::arena::Index;
use crate::core::Ua;
use crate::core::call::{Early, Stage};
use crate::core::client::Owner;
use crate::core::compose::check_body;
use crate::core::requests::Incoming;
use crate::core::server::Path;
use crate::core::update::allows_update;
use crate::core::within::{Place, body_of};
use crate::timer::{Kind, Target as Wake, TimerId};
use crate::wire::body::session_description;

pub(super) const OPTION: &str = "100rel";
/// Responses of ours that wait behind one under way. A program that says more in the 64*T1 that a PRACK may take repeats itself.
const MAX_WAITING: usize = 8;

/// What an INVITE says of reliability.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Wanted {
    #[default]
    No,
    /// Supported: where there is something that must arrive.
    Possible,
    /// Require: each of them.
    Required,
}

impl Wanted {
    pub(super) fn of(invite: &Message) -> Wanted {
        let names = |mut options: Box<dyn Iterator<Item = &str> + '_>| options.any(|o| o.eq_ignore_ascii_case(OPTION));
        if names(Box::new(invite.require())) {
            Wanted::Required
        } else if names(Box::new(invite.supported())) {
            Wanted::Possible
        } else {
            Wanted::No
        }
    }
}

/// A provisional response without its PRACK.
struct Outstanding {
    bytes: Bytes,
    path: Path,
    interval: Duration,
    deadline: Mono,
    timer: Option<TimerId>,
    described: bool,
}

/// The reliable responses to one INVITE.
#[derive(Default)]
pub(super) struct Reliable {
    /// Of the response sent last. §3: 1 to 2**31 - 1, and one more each time.
    rseq: u32,
    outstanding: Option<Outstanding>,
    waiting: VecDeque<Reply>,
    /// The first description of this dialog is in one of them: whether it is an offer.
    described: Option<bool>,
}

impl Reliable {
    /// Our answer to the INVITE's offer is out, in a way that arrives.
    pub(super) fn has_answered(&self) -> bool {
        self.described == Some(false)
    }

    /// ... and has arrived: the peer has said so.
    pub(super) fn has_arrived(&self) -> bool {
        self.has_answered() && !self.outstanding.as_ref().is_some_and(|outstanding| outstanding.described)
    }

    /// A final response waits: nothing follows it.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.back().is_some_and(|last| last.status.is_final())
    }

    /// Our offer is out, and no answer has come.
    pub(super) fn offers(&self) -> bool {
        self.described == Some(true) && self.outstanding.as_ref().is_some_and(|outstanding| outstanding.described)
    }
}

impl Ua {
    // ---- as called side

    /// Whether a response goes out reliably, or waits behind one that does; then that has been seen to.
    pub(super) fn respond_reliably(&mut self, now: Now, index: Index, server: Index, reply: &Reply) -> bool {
        let Some(call) = self.calls.get_mut(index) else { return false };
        let status = reply.status.as_u16();
        let has_body = reply.body.as_ref().is_some_and(|body| !body.bytes.is_empty());
        let wanted = match (call.reliability, status) {
            // RFC 3261 §13.3.1.1: 100 is hop by hop.
            (Wanted::No, _) | (_, 100 | 300..) => false,
            (Wanted::Required, ..200) => true,
            (_, ..200) => has_body,
            (_, 200..) => false,
        };
        let Some(reliable) = &mut call.reliable else {
            if wanted {
                call.reliable = Some(Box::default());
                self.send_reliable(now, index, server, reply);
            }
            return wanted;
        };
        match &reliable.outstanding {
            // §3: a 2xx must not overtake a description.
            Some(outstanding) if wanted || (reply.status.is_success() && outstanding.described) => {
                let full = reliable.waiting.len() >= MAX_WAITING && !reply.status.is_final();
                if !full {
                    reliable.waiting.push_back(reply.clone());
                }
                true
            }
            _ if wanted => {
                self.send_reliable(now, index, server, reply);
                true
            }
            _ => false,
        }
    }

    fn send_reliable(&mut self, now: Now, index: Index, server: Index, reply: &Reply) {
        let first = 1 + self.random_below(1 << 30);
        let Some(late_offer) = self.servers.get(server).map(|server| server.late_offer) else { return };
        let Some(reliable) = self.calls.get_mut(index).and_then(|call| call.reliable.as_mut()) else { return };
        reliable.rseq = if reliable.rseq == 0 { first } else { reliable.rseq + 1 };
        let described = reply.body.as_ref().is_some_and(|body| !body.bytes.is_empty());
        if described {
            reliable.described.get_or_insert(late_offer);
        }
        let mut reply = reply.clone();
        reply.headers.push(("Require".into(), OPTION.into()));
        reply.headers.push(("RSeq".into(), reliable.rseq.to_string()));
        let Some((path, bytes)) = self.compose_invite_reply(server, &reply) else { return };
        let wake = Wake { kind: Kind::Reliable, owner: index };
        let timer = self.timers.set(now.mono, self.config.t1, wake);
        let outstanding = Outstanding {
            bytes: bytes.clone(),
            path,
            interval: self.config.t1,
            deadline: now.mono + self.config.t1 * 64,
            timer: Some(timer),
            described,
        };
        if let Some(reliable) = self.calls.get_mut(index).and_then(|call| call.reliable.as_mut()) {
            reliable.outstanding = Some(outstanding);
        }
        let input = crate::transaction::server_invite::Input::Provisional;
        self.drive_server_invite(now, server, input, Some(bytes));
        self.early_dialog_begun(index, reply.status);
    }

    /// §3: again after T1, doubled each time without bound but 64*T1; then the INVITE is refused.
    pub(super) fn reliable_timer(&mut self, now: Now, index: Index) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let stage = &call.stage;
        let Some(outstanding) = call.reliable.as_mut().and_then(|reliable| reliable.outstanding.as_mut()) else {
            return;
        };
        outstanding.timer = None;
        let Stage::Incoming { server } = *stage else { return };
        if now.mono >= outstanding.deadline {
            debug!(target: "ringback.dialog", "call {:?}: no PRACK came", CallKey::new(index));
            self.call_event(index, Event::Gone { call: CallKey::new(index), status: 504 });
            return self.reply_to_invite(now, index, server, &Reply::new(StatusCode::SERVER_TIME_OUT), true);
        }
        outstanding.interval *= 2;
        let wait = outstanding.interval.min(outstanding.deadline.since(now.mono));
        outstanding.timer = Some(self.timers.set(now.mono, wait, Wake { kind: Kind::Reliable, owner: index }));
        let (path, bytes) = (outstanding.path, outstanding.bytes.clone());
        self.counters.retransmissions_sent += 1;
        self.transmit(&path, bytes);
    }

    /// A final response is out, or the call is over: nothing is sent again. §3: a PRACK that is under way is still taken.
    pub(super) fn stop_reliable(&mut self, index: Index) {
        let Some(reliable) = self.calls.get_mut(index).and_then(|call| call.reliable.as_mut()) else { return };
        reliable.waiting.clear();
        if let Some(outstanding) = &mut reliable.outstanding {
            self.timers.stop(&mut outstanding.timer);
        }
    }

    /// §3: the PRACK to a response of ours. One that fits nothing under way gets 481.
    pub(super) fn prack_received(&mut self, now: Now, index: Index, incoming: &Incoming<'_>) {
        let request = incoming.request;
        let Some(acknowledges) = RAck::of(request) else {
            return self.refuse_within(now, incoming, StatusCode::BAD_REQUEST);
        };
        let invite = match self.calls.get(index).map(|call| &call.stage) {
            Some(Stage::Incoming { server }) => self.servers.get(*server).map(|server| server.cseq),
            // §3: it crossed our final response.
            Some(_) => Some(acknowledges.cseq),
            None => None,
        };
        let Some(call) = self.calls.get_mut(index) else { return };
        let fits = |reliable: &&mut Box<Reliable>| {
            reliable.outstanding.is_some()
                && reliable.rseq == acknowledges.rseq
                && Some(acknowledges.cseq) == invite
                && acknowledges.is_invite
        };
        let Some(reliable) = call.reliable.as_mut().filter(fits) else {
            return self.refuse_within(now, incoming, StatusCode::CALL_DOES_NOT_EXIST);
        };
        let offered = reliable.offers();
        let Some(mut outstanding) = reliable.outstanding.take() else { return };
        self.timers.stop(&mut outstanding.timer);
        let described = session_description(request).is_some();
        if offered {
            self.finish_within(now, incoming, StatusCode::OK);
            self.call_event(index, Event::Pracked { call: CallKey::new(index), body: body_of(request) });
        } else if described {
            // §5: a further offer; its answer is in the 2xx to the PRACK.
            self.offer_received(now, index, incoming);
        } else {
            self.finish_within(now, incoming, StatusCode::OK);
        }
        self.send_waiting(now, index);
    }

    /// What waited for a PRACK goes out.
    fn send_waiting(&mut self, now: Now, index: Index) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let Stage::Incoming { server } = call.stage else { return };
        let Some(reply) = call.reliable.as_mut().and_then(|reliable| reliable.waiting.pop_front()) else { return };
        if reply.status.is_final() {
            self.reply_to_invite(now, index, server, &reply, true);
        } else {
            self.send_reliable(now, index, server, &reply);
        }
    }

    // ---- as calling side

    /// §4: acknowledges a provisional response that asks for it. `false`: it came before, or before its turn, and is not for the program.
    pub(super) fn acknowledge_provisional(&mut self, now: Now, index: Index, place: Place, response: &Message) -> bool {
        if !response.require().any(|option| option.eq_ignore_ascii_case(OPTION)) {
            return true;
        }
        let (Some(rseq), Ok(cseq)) = (rseq_of(response), response.cseq().map(|cseq| cseq.number)) else { return true };
        let Some(call) = self.calls.get_mut(index) else { return true };
        call.allows_update |= allows_update(response);
        let late = call.late_offer && place != Place::Call;
        let Some(dialog) = call.at_mut(place) else { return true };
        match dialog.reliable {
            // §4: one is missing before it; it comes again when that has come.
            Some((of, last)) if of == cseq && rseq != last.wrapping_add(1) => return false,
            _ => {}
        }
        dialog.reliable = Some((cseq, rseq));
        if session_description(response).is_some() {
            if late && !dialog.described {
                // §5: it is an offer, and the PRACK has the answer.
                dialog.described = true;
                if let Some(call) = self.calls.get_mut(index) {
                    let tag = crate::wire::tags::to_tag(response).unwrap_or_default().to_owned();
                    call.prack_due = Some(Box::new(Early { tag, rseq, cseq }));
                }
                return true;
            }
            dialog.described = true;
        }
        self.send_prack(now, index, place, rseq, cseq, None);
        true
    }

    fn send_prack(&mut self, now: Now, index: Index, place: Place, rseq: u32, cseq: u32, body: Option<&Body>) {
        let headers = [("RAck".to_owned(), format!("{rseq} {cseq} INVITE"))];
        // Whatever is answered, the INVITE's own end is what counts.
        self.send_in(now, index, place, &Method::Prack, &headers, body, Owner::Prack(index));
    }

    /// The PRACK to the offer of `Event::Provisional` with `offers`. `body`: the answer. When none is due, nothing happens.
    pub fn prack(&mut self, now: Now, call: CallKey, body: Option<Body>) {
        let index = call.index();
        let Some(entry) = self.calls.get_mut(index) else { return };
        let Some(due) = entry.prack_due.take() else { return };
        let Some(place) = entry.early.iter().position(|dialog| dialog.remote_tag() == due.tag) else { return };
        let body = body.filter(|body| check_body(Some(body)).is_ok());
        self.send_prack(now, index, Place::Early(place), due.rseq, due.cseq, body.as_ref());
    }
}

fn rseq_of(response: &Message) -> Option<u32> {
    let value = response.headers().get(&HeaderName::RSeq)?;
    value.parse().ok().filter(|rseq| (1..1 << 31).contains(rseq))
}

/// §7.2: `response-num CSeq-num Method`.
struct RAck {
    rseq: u32,
    cseq: u32,
    is_invite: bool,
}

impl RAck {
    fn of(request: &Message) -> Option<RAck> {
        let mut parts = request.headers().get(&HeaderName::RAck)?.split_ascii_whitespace();
        let (rseq, cseq, method) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none();
        let rack = RAck { rseq: rseq.parse().ok()?, cseq: cseq.parse().ok()?, is_invite: method == "INVITE" };
        whole.then_some(rack)
    }
}
