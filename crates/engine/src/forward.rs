//! Forwarded calls: a second leg, or several, placed for a caller who waits. Each leg negotiates its own media with its own peer;
//! what comes in on one goes out on the other. While targets ring, what they say about it is passed to the caller; the first that
//! answers gets the call; when the last one has failed, the caller is told how.
//!
//! Invariant: `Link::Caller` of a call and `Link::Target` of its legs name each other; a leg that ends leaves the list first.

use std::collections::VecDeque;
use std::time::Duration;

use ringback_sip::{HeaderName, Message, NameAddr, StatusCode, Uri};
use ringback_time::Now;
use ringback_ua::Transport;
use smallvec::SmallVec;

use crate::api::{EndCause, Error, HeaderList};
use crate::call::{Call, Ending, Link, Stage};
use crate::end::{ELSEWHERE, reason_to_pass};
use crate::engine::Engine;
use crate::headers;
use crate::limits;
use crate::media_flow::Plan;
use crate::outgoing::{Found, MAX_FORWARDS, Outgoing, check_target, parse_address};
use crate::table::Key;
use crate::timers::Timer;

/// A caller whose targets ring.
#[derive(Debug)]
pub(crate) struct Forward {
    /// Not yet tried.
    targets: VecDeque<NameAddr>,
    /// Ringing now.
    pub(crate) legs: SmallVec<[Key; 1]>,
    /// How long one target may ring.
    ring: Duration,
    /// The caller's From, which the targets see.
    from: NameAddr,
    max_forwards: u8,
    /// What each target may branch out into at a time: RFC 5393 §5.
    breadth: u32,
    /// Those of the caller's headers that are passed on (`Config::forwarded_headers`).
    headers: HeaderList,
    /// The answer for the caller; `None` after a late offer, where it is made when it is needed.
    plan: Option<Plan>,
    /// The target whose early media the caller hears.
    early: Option<Key>,
    /// What the caller is told when nothing is left.
    worst: Option<Outcome>,
}

/// How a target failed.
#[derive(Clone, Debug)]
struct Outcome {
    status: u16,
    phrase: String,
    targets: Vec<String>,
    /// The value of its Reason header.
    reason: Option<String>,
}

pub(crate) const MAX_BREADTH: &str = "Max-Breadth";
const BREADTH: u32 = 60;

/// A call that comes back to us is followed so far.
const CHAIN_MOST: usize = 70;

const RING_MOST: Duration = Duration::from_secs(24 * 3600);

/// The targets of a `Forward`; `callable` by these transports where they are to be called rather than named in a 302.
pub(crate) fn parse_targets(targets: &[String], callable: Option<&[Transport]>) -> Result<Vec<NameAddr>, Error> {
    if targets.is_empty() {
        return Err(Error::BadValue("forwarding needs a target".into()));
    }
    if targets.len() > limits::TARGETS_MOST {
        return Err(Error::BadValue(format!("{} targets: at most {}", targets.len(), limits::TARGETS_MOST)));
    }
    targets
        .iter()
        .map(|target| {
            let address = parse_address(target)?;
            if let Some(transports) = callable {
                check_target(&address.uri, transports)?;
            }
            Ok(address)
        })
        .collect()
}

impl Engine {
    pub(crate) fn forward(
        &mut self,
        now: Now,
        caller: Key,
        targets: &[String],
        parallel: bool,
        ring: Duration,
    ) -> Result<(), Error> {
        let targets = parse_targets(targets, Some(&self.config.transports))?;
        if ring.is_zero() {
            return Err(Error::BadValue("ring_seconds is more than 0".into()));
        }
        let Some(call) = self.calls.get(caller) else { return Ok(()) };
        if call.media.external {
            return Err(Error::Media("forwarding: the call's media is external".into()));
        }
        let has_offer = call.media.remote_offer.is_some() || call.media.early.is_some();
        let Some(request) = &call.request else { return Err(self.unfit(caller, "forwarding")) };
        let from = request.from().map_err(|error| Error::InvalidUri { uri: String::new(), why: error.to_string() })?;
        let hops = max_forwards(request);
        let request_breadth = max_breadth(request);
        let request_uri = request.request_uri().cloned();
        let passed = headers::passed(request, &self.config.forwarded_headers);
        // A caller that we have nothing in common with is told so before anybody's telephone rings.
        let plan = match has_offer.then(|| self.plan_answer(caller, None)).transpose() {
            Ok(plan) => plan,
            Err(error) => {
                self.refuse_offer(now, caller);
                return Err(error);
            }
        };
        // RFC 3261 §16.3, 3.
        if hops == 0 {
            self.finish(now, caller, Ending::refused(StatusCode::TOO_MANY_HOPS, None, Vec::new()));
            let reason = StatusCode::TOO_MANY_HOPS.reason().to_owned();
            return Err(Error::Refused { status: StatusCode::TOO_MANY_HOPS.as_u16(), reason });
        }
        // RFC 5393 §5.3.3: what the caller leaves us is divided among those that ring at the same time. Max-Forwards alone does not bound how
        // calls multiply where systems fork to each other.
        let breadth = breadth_of(request_breadth, if parallel { targets.len() } else { 1 });
        let Some(breadth) = breadth else {
            self.finish(now, caller, Ending::refused(StatusCode::MAX_BREADTH_EXCEEDED, None, Vec::new()));
            let reason = StatusCode::MAX_BREADTH_EXCEEDED.reason().to_owned();
            return Err(Error::Refused { status: StatusCode::MAX_BREADTH_EXCEEDED.as_u16(), reason });
        };
        let mut forward = Forward {
            targets: targets.into(),
            legs: SmallVec::new(),
            ring: ring.min(RING_MOST),
            from: NameAddr { params: Default::default(), ..from },
            max_forwards: hops - 1,
            breadth,
            headers: passed,
            plan,
            early: None,
            worst: None,
        };
        // The first leg has to find room, or nothing has happened.
        let Some(first) = forward.targets.pop_front() else { return Ok(()) };
        let leg = self.place(now, forward.outgoing(first), Some(caller))?;
        if let Some(call) = self.calls.get_mut(caller) {
            call.stage = Stage::Forwarding;
            call.forwarded_from = request_uri;
            call.link = Link::Caller(Box::new(forward));
        }
        self.disarm(caller, Timer::Decide);
        self.send_to_target(now, caller, leg);
        if parallel {
            while self.try_next(now, caller) {}
        }
        Ok(())
    }

    /// The forward of a caller that still waits.
    fn forward_of(&mut self, caller: Key) -> Option<&mut Forward> {
        match &mut self.calls.get_mut(caller)?.link {
            Link::Caller(forward) => Some(forward),
            _ => None,
        }
    }

    /// Calls the next target. False where there is none, or no room for it.
    fn try_next(&mut self, now: Now, caller: Key) -> bool {
        let Some(forward) = self.forward_of(caller) else { return false };
        let Some(target) = forward.targets.pop_front() else { return false };
        let outgoing = forward.outgoing(target);
        match self.place(now, outgoing, Some(caller)) {
            Ok(leg) => {
                self.send_to_target(now, caller, leg);
                true
            }
            Err(error) => {
                tracing::warn!(target: "ringback.session", call_id = self.call_id(caller), "a target is not called: {error}");
                if let Some(forward) = self.forward_of(caller) {
                    forward.failed(Outcome::new(StatusCode::SERVICE_UNAVAILABLE));
                    forward.targets.clear();
                }
                false
            }
        }
    }

    fn send_to_target(&mut self, now: Now, caller: Key, leg: Key) {
        let Some(forward) = self.forward_of(caller) else { return };
        forward.legs.push(leg);
        let plan = forward.plan.clone();
        let deadline = now.mono + forward.ring;
        self.arm(caller, Timer::Ring, deadline);
        self.offer_like(leg, plan.as_ref());
        self.link_peers(caller, leg);
        if let Some(call) = self.calls.get_mut(leg) {
            call.link = Link::Target(caller);
            self.forwarded.insert(call.session.call_id.clone(), leg);
        }
        // Where it cannot be sent the leg has ended, and with it its turn.
        if let Err(error) = self.send_or_locate(now, leg) {
            tracing::info!(target: "ringback.session", call_id = self.call_id(caller), "a target cannot be called: {error}");
        }
    }

    /// Each session names the other.
    pub(crate) fn link_peers(&mut self, a: Key, b: Key) {
        let (Some(first), Some(second)) = (self.calls.get(a), self.calls.get(b)) else { return };
        first.session.set_peer(Some(second.session.id));
        second.session.set_peer(Some(first.session.id));
    }

    /// A target rings, or plays early media: so does the caller's.
    pub(crate) fn target_rings(&mut self, now: Now, caller: Key, leg: Key, status: u16, phrase: &str) {
        let has_media = self.calls.get(leg).is_some_and(|call| call.media.open);
        let ringing = self.calls.get(caller).map_or(0, |call| call.provisional);
        let Some(forward) = self.forward_of(caller) else { return };
        if has_media && forward.early.is_none() && forward.plan.is_some() {
            forward.early = Some(leg);
            let plan = forward.plan.clone();
            if let Some(plan) = self.plan_like(caller, leg).or(plan) {
                self.open_early(now, caller, plan);
            }
            self.connect(now, caller, leg);
            self.ring(now, caller, StatusCode::SESSION_PROGRESS.as_u16());
            return;
        }
        // RFC 6228: 199 is about one of several early dialogs, and there are none of them towards the caller.
        if status == StatusCode::EARLY_DIALOG_TERMINATED.as_u16() || status == ringing {
            return;
        }
        tracing::debug!(target: "ringback.session", call_id = self.call_id(caller), "passing {status} {phrase} to the caller");
        self.ring(now, caller, status);
    }

    /// A target answered: it gets the caller, the others are cancelled.
    pub(crate) fn target_answered(&mut self, now: Now, caller: Key, leg: Key) {
        let Some(call) = self.calls.get_mut(caller) else { return };
        let forward = match std::mem::replace(&mut call.link, Link::Peer(leg)) {
            Link::Caller(forward) => forward,
            other => {
                call.link = other;
                return;
            }
        };
        self.disarm(caller, Timer::Ring);
        self.link_peers(caller, leg);
        if let Some(call) = self.calls.get_mut(leg) {
            call.link = Link::Peer(caller);
        }
        for other in forward.legs.iter().copied().filter(|other| *other != leg) {
            self.unlink(other);
            self.finish(now, other, Ending::cancelled("cancelled").because(Some(ELSEWHERE.into())));
        }
        if forward.early.is_some_and(|early| early != leg) {
            self.unbridge(caller);
        }
        let plan = match self.plan_like(caller, leg).or(forward.plan) {
            Some(plan) => Ok(plan),
            None => self.plan_answer(caller, None),
        };
        let result = plan.and_then(|plan| self.answer(now, caller, plan, Vec::new()));
        if let Err(error) = result {
            self.finish(now, caller, Ending::failed(Some(488), error.to_string()));
            return;
        }
        self.bridge_peers(now, caller);
    }

    /// The ringing leg `old` is answered by somebody else, as `new`.
    pub(crate) fn picked_up(&mut self, now: Now, caller: Key, old: Key, new: Key) {
        let Some(forward) = self.forward_of(caller) else { return };
        forward.legs.retain(|leg| *leg != old);
        forward.legs.push(new);
        if forward.early == Some(old) {
            forward.early = None;
            self.unbridge(caller);
        }
        if let Some(call) = self.calls.get_mut(new) {
            call.link = Link::Target(caller);
        }
        self.target_answered(now, caller, new);
    }

    /// Connects the media of two answered legs, as soon as both have some.
    pub(crate) fn bridge_peers(&mut self, now: Now, key: Key) {
        let Some(Link::Peer(other)) = self.calls.get(key).map(|call| &call.link) else { return };
        let other = *other;
        let ready = |call: Option<&Call>| call.is_some_and(|call| call.media.open && call.bridge.is_none());
        if ready(self.calls.get(key)) && ready(self.calls.get(other)) {
            self.connect(now, key, other);
        }
    }

    /// A target has ended before it answered.
    pub(crate) fn target_ended(&mut self, now: Now, caller: Key, leg: Key, call: &Call) {
        let Some(forward) = self.forward_of(caller) else { return };
        forward.legs.retain(|other| *other != leg);
        if forward.early == Some(leg) {
            forward.early = None;
        }
        let outcome = match call.session.end().map(|end| &end.cause) {
            Some(EndCause::Rejected { status, reason, targets }) => {
                Outcome::of_refusal(*status, reason, targets, reason_to_pass(call))
            }
            Some(EndCause::Failed { status: Some(408), .. }) => Outcome::new(StatusCode::REQUEST_TIMEOUT),
            Some(EndCause::Failed { .. }) => Outcome::new(StatusCode::TEMPORARILY_UNAVAILABLE),
            _ => {
                // The program gave this leg up: nobody else is tried.
                forward.targets.clear();
                Outcome::new(StatusCode::TEMPORARILY_UNAVAILABLE)
            }
        };
        forward.failed(outcome);
        self.go_on(now, caller);
    }

    /// The next target, or the end of the caller's hopes.
    fn go_on(&mut self, now: Now, caller: Key) {
        let Some(forward) = self.forward_of(caller) else { return };
        // Where all are to ring at once there are targets left only while they are being called, and one of them ended at once.
        if !forward.legs.is_empty() || self.try_next(now, caller) {
            return;
        }
        let Some(forward) = self.forward_of(caller) else { return };
        if !forward.legs.is_empty() {
            return;
        }
        let outcome = forward.worst.take().unwrap_or_else(|| Outcome::new(StatusCode::TEMPORARILY_UNAVAILABLE));
        self.finish(now, caller, outcome.into_ending());
    }

    /// `Timer::Ring`: the target, or all of them, rang long enough.
    pub(crate) fn target_silent(&mut self, now: Now, caller: Key) {
        let Some(forward) = self.forward_of(caller) else { return };
        forward.failed(Outcome::new(StatusCode::TEMPORARILY_UNAVAILABLE));
        forward.early = None;
        let legs = std::mem::take(&mut forward.legs);
        for leg in legs {
            self.unlink(leg);
            self.finish(now, leg, Ending::cancelled("cancelled"));
        }
        self.go_on(now, caller);
    }

    /// RFC 3261 §16.3, 4: is this a call that we forwarded, come back to where it was before? Legs to ourselves are fine (an
    /// extension that forwards to another), the same Request-URI twice in one chain is not.
    pub(crate) fn is_loop(&self, call_id: &str, request: &Message) -> bool {
        if self.forwarded.is_empty() {
            return false;
        }
        let Some(uri) = request.request_uri() else { return false };
        let mut call_id: Box<str> = call_id.into();
        for _ in 0..CHAIN_MOST {
            let Some(leg) = self.forwarded.get(&call_id).and_then(|leg| self.calls.get(*leg)) else {
                return false;
            };
            let (Link::Target(caller) | Link::Peer(caller)) = leg.link else { return false };
            let Some(caller) = self.calls.get(caller) else { return false };
            if caller.forwarded_from.as_ref().is_some_and(|seen: &Uri| seen.equals(uri)) {
                return true;
            }
            call_id = caller.session.call_id.clone();
        }
        true
    }
}

impl Forward {
    fn outgoing(&self, to: NameAddr) -> Outgoing {
        Outgoing {
            from: self.from.clone(),
            to,
            headers: {
                let breadth = (MAX_BREADTH.to_owned(), self.breadth.to_string());
                self.headers.iter().cloned().chain([breadth]).collect()
            },
            max_forwards: self.max_forwards,
            sdp: None,
            late_offer: false,
            redirects: 0,
            offers: Vec::new(),
            first_hop: None,
            found: Found::Unasked,
        }
    }

    /// Keeps the outcome that tells the caller most: RFC 3261 §16.7, 6, the lowest class; within a class the latest. A target's 6xx
    /// speaks for that target only.
    fn failed(&mut self, outcome: Outcome) {
        if self.worst.as_ref().is_none_or(|known| outcome.status / 100 <= known.status / 100) {
            self.worst = Some(outcome);
        }
    }
}

impl Outcome {
    fn new(status: StatusCode) -> Outcome {
        Outcome { status: status.as_u16(), phrase: String::new(), targets: Vec::new(), reason: None }
    }

    fn of_refusal(status: u16, phrase: &str, targets: &[String], reason: Option<String>) -> Outcome {
        match status {
            // A challenge was for us; the caller could not answer it.
            401 | 407 => Outcome::new(StatusCode::FORBIDDEN),
            // RFC 3261 §16.7, 6: it is the target that is overloaded, not we.
            503 => Outcome::new(StatusCode::SERVER_INTERNAL_ERROR),
            _ => Outcome { status, phrase: phrase.to_owned(), targets: targets.to_vec(), reason },
        }
    }

    fn into_ending(self) -> Ending {
        let status = StatusCode::new(self.status).unwrap_or(StatusCode::TEMPORARILY_UNAVAILABLE);
        // What a peer wrote is checked before it is written again.
        let phrase = Some(self.phrase).filter(|text| !text.is_empty() && crate::headers::check_phrase(text).is_ok());
        let contact = |target: &String| (HeaderName::Contact.as_str().to_owned(), format!("<{target}>"));
        let mut headers: HeaderList =
            if status.class() == 3 { self.targets.iter().map(contact).collect() } else { Vec::new() };
        headers.extend(self.reason.map(|reason| (HeaderName::Reason.as_str().to_owned(), reason)));
        let mut ending = Ending::refused(status, phrase, headers);
        if let EndCause::Rejected { targets, .. } = &mut ending.cause {
            *targets = self.targets;
        }
        ending
    }
}

/// RFC 5393 §5.3.3.1: 60 where the request says nothing that can be read.
fn max_breadth(request: &Message) -> u32 {
    let said = request.headers().get_str(MAX_BREADTH).and_then(|value| value.trim().parse().ok());
    said.unwrap_or(BREADTH)
}

/// The share of each of so many branches; `None`: there is not enough for each to have some.
pub(crate) fn breadth_of(all: u32, branches: usize) -> Option<u32> {
    let share = all.checked_div(u32::try_from(branches).ok()?)?;
    (share > 0).then_some(share)
}

/// RFC 3261 §16.6, 3: 70 where the request has none.
fn max_forwards(request: &Message) -> u8 {
    request.max_forwards().unwrap_or(MAX_FORWARDS)
}
