//! An INVITE arrives: whether it is let in, and what becomes of it until it is decided.

use std::sync::Arc;
use std::time::Duration;

use ringback_sip::{HeaderName, Message, StatusCode};
use ringback_time::{Now, Wall};
use ringback_ua::{Body, CallKey, Flow, Reply as Answer};

use crate::api::{Direction, EndCause, Event, IncomingCall, Origin, Session};
use crate::call::{Call, Ending, Stage};
use crate::content;
use crate::early::Reliability;
use crate::engine::Engine;
use crate::limits;
use crate::media_flow::{Media, Plan};
use crate::table::Key;
use crate::timers::Timer;

impl Engine {
    /// `ua` has checked what RFC 3261 §8.2 wants checked, the body's type included; here it is about room.
    pub(crate) fn invited(&mut self, now: Now, ua: CallKey, request: Message, flow: Flow) {
        if let Some(refusal) = self.refusal(&flow) {
            return self.refuse(now, ua, refusal);
        }
        let replaced = match self.replaced(&request) {
            Ok(replaced) => replaced,
            Err(status) => return self.refuse(now, ua, Answer::new(status)),
        };
        let offer = content::session_description(&request);
        let (Ok(from), Ok(to), Some(call_id)) = (request.from(), request.to(), request.call_id()) else {
            // `ua` has checked them; without them there is nothing to be called.
            return self.refuse(now, ua, Answer::new(StatusCode::BAD_REQUEST));
        };
        if self.is_loop(call_id, &request) {
            self.counters.loops += 1;
            return self.refuse(now, ua, Answer::new(StatusCode::LOOP_DETECTED));
        }
        let beside = replaced.and_then(|old| self.partner(old).or(Some(old)));
        let beside = beside.and_then(|key| self.thread_of(key));
        let Some(port) = self.reserve(now, flow.local.ip(), beside) else {
            self.counters.refused_ports += 1;
            return self.refuse(now, ua, unavailable());
        };
        let (from_uri, to_uri, call_id) = (from.uri.to_string(), to.uri.to_string(), call_id.to_owned());
        let expires = request.expires().map(|seconds| Duration::from_secs(seconds.into()));
        let from_name = from.display_name;
        let local = self.config.media_address.unwrap_or(flow.local.ip());
        let key = self.insert(|engine, id| {
            let session = Session::new(id, Direction::Incoming, from_uri, to_uri, call_id, now.wall);
            let mut media = Media::new(local, engine.session_number());
            media.port = Some(port);
            media.remote_offer = offer;
            media.signalling = Some(flow.remote.ip().to_canonical());
            Call::new(now, Arc::new(session), Stage::Undecided, media)
        });
        self.current = Some(key);
        self.by_ua.insert(ua, key);
        let Some(call) = self.calls.get_mut(key) else { return };
        call.ua = Some(ua);
        let session = Arc::clone(&call.session);
        tracing::debug!(
            target: "ringback.session", call_id = %session.call_id, session = %session.id, "incoming from {} to {}",
            session.from_uri, session.to_uri
        );
        let arrival = Arrival { request, from_name, flow, received_at: now.wall, expires, replaced };
        self.seek(key);
        match self.calls.get_mut(key).filter(|call| call.media.seeking) {
            Some(call) => call.arrival = Some(Box::new(arrival)),
            None => self.arrived(now, key, arrival),
        }
    }

    /// The call can be answered from here on.
    pub(crate) fn arrived(&mut self, now: Now, key: Key, arrival: Arrival) {
        if let Some(old) = arrival.replaced {
            return self.replace(now, key, old);
        }
        if self.config.origin != Origin::Ask {
            // `AutoAnswerHandler`: nobody has to be asked.
            if let Err(error) = self.accept(now, key, None, Vec::new()) {
                tracing::info!(target: "ringback.session", call_id = self.call_id(key), "a call cannot be answered: {error}");
            }
            return;
        }
        self.arm_decision(now, key, arrival.expires);
        let Some(call) = self.calls.get_mut(key) else { return };
        let event = arrival.event(call);
        call.request = Some(arrival.request);
        self.emit(event);
    }

    /// RFC 3261 §13.3.1: an INVITE may itself say how long it is worth waiting.
    fn arm_decision(&mut self, now: Now, key: Key, expires: Option<Duration>) {
        let patience = self.config.answer_timeout;
        let Some(wait) = [patience, expires].into_iter().flatten().min() else { return };
        if let Some(call) = self.calls.get_mut(key) {
            call.expires = expires == Some(wait) && patience != Some(wait);
        }
        self.arm(key, Timer::Decide, now.mono + wait);
    }

    /// Why no call can be taken now, if so.
    fn refusal(&mut self, flow: &Flow) -> Option<Answer> {
        let free = self.config.max_sessions.saturating_sub(self.calls.len());
        let counters = &mut self.counters;
        let counter = if self.stop.is_stopping() {
            &mut counters.refused_stopping
        } else if self.config.origin == Origin::NoHandler {
            counters.unhandled += 1;
            return Some(Answer::new(StatusCode::TEMPORARILY_UNAVAILABLE));
        } else if free == 0 || !self.ua.leaves_room(flow, free) {
            &mut counters.refused_full
        } else if self.overdue {
            &mut counters.refused_backlog
        } else {
            return None;
        };
        *counter += 1;
        Some(unavailable())
    }

    /// Answers an INVITE of which nothing is kept.
    fn refuse(&mut self, now: Now, ua: CallKey, answer: Answer) {
        if let Err(error) = self.ua.respond(now, ua, answer) {
            tracing::warn!(target: "ringback.session", "no refusal: {error}");
        }
        self.ua.drop_call(now, ua);
    }

    /// The `o=` line's number: RFC 8866 §5.2 wants it unique; random does it.
    pub(crate) fn session_number(&mut self) -> u64 {
        use rand_core::RngCore;
        u64::from(self.rng.next_u32())
    }

    /// `Timer::Decide`: nobody decided in time.
    pub(crate) fn undecided(&mut self, now: Now, key: Key) {
        let Some(call) = self.calls.get(key) else { return };
        let (status, cause) = if call.expires {
            (StatusCode::REQUEST_TERMINATED, Some(EndCause::Cancelled))
        } else {
            (StatusCode::TEMPORARILY_UNAVAILABLE, None)
        };
        let mut ending = Ending::refused(status, None, Vec::new()).over(true);
        if let Some(cause) = cause {
            ending.change = crate::states::Change::Cancel;
            ending.reason = "cancelled".into();
            ending.cause = cause;
        }
        self.finish(now, key, ending);
    }

    /// `Timer::Refresh`: RFC 3261 §13.3.1.1, so that no proxy on the way gives up.
    pub(crate) fn repeat_provisional(&mut self, now: Now, key: Key) {
        let Some(call) = self.calls.get(key) else { return };
        if !matches!(call.stage, Stage::Deferred | Stage::Forwarding) {
            return;
        }
        let status = call.provisional;
        self.ring(now, key, status);
    }

    /// Sends a provisional response, with the early answer where there is one, and sees to its repetition.
    pub(crate) fn ring(&mut self, now: Now, key: Key, status: u16) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let (Some(ua), Some(code)) = (call.ua, StatusCode::new(status)) else { return };
        call.provisional = status;
        // RFC 3262 §5: where each of them must arrive, and the INVITE has no offer, the first has ours.
        let required = call.request.as_ref().map(Reliability::of) == Some(Reliability::Required);
        if required && call.media.remote_offer.is_none() && call.media.early.is_none() {
            match self.plan_answer(key, None) {
                Ok(plan) => self.open_early(now, key, plan),
                Err(error) => {
                    tracing::info!(target: "ringback.session", call_id = self.call_id(key), "no early offer: {error}");
                }
            }
        }
        let Some(call) = self.calls.get_mut(key) else { return };
        let says = |plan: &&Plan| match plan {
            Plan::Offer(_) => true,
            _ => status != StatusCode::RINGING.as_u16(),
        };
        let early = call.media.early.as_ref().filter(says).map(Plan::sdp).filter(|sdp| !sdp.is_empty());
        let body = early.map(|sdp| Body::sdp(sdp.to_owned()));
        if let Err(error) = self.ua.respond(now, ua, Answer { status: code, reason: None, headers: Vec::new(), body }) {
            tracing::warn!(target: "ringback.session", call_id = self.call_id(key), "no provisional response: {error}");
            return;
        }
        self.change(key, crate::states::Change::Ring);
        self.arm(key, Timer::Refresh, now.mono + limits::RINGING_REFRESH);
    }
}

/// What an INVITE brought that the program is to be told, if it is to be asked.
#[derive(Debug)]
pub(crate) struct Arrival {
    request: Message,
    from_name: Option<String>,
    flow: Flow,
    received_at: Wall,
    expires: Option<Duration>,
    replaced: Option<Key>,
}

impl Arrival {
    pub(crate) fn event(&self, call: &Call) -> Event {
        Event::Incoming(Box::new(IncomingCall {
            session: Arc::clone(&call.session),
            from_name: self.from_name.clone(),
            sdp: call.media.remote_offer.clone(),
            message: self.request.raw().clone(),
            received_at: self.received_at,
            source: self.flow.remote,
            transport: self.flow.transport.as_param(),
        }))
    }

    /// Whether the program would have been asked.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.replaced.is_none()
    }
}

pub(crate) fn unavailable() -> Answer {
    let retry_after = (HeaderName::RetryAfter.as_str().to_owned(), limits::RETRY_AFTER.to_owned());
    Answer { headers: vec![retry_after], ..Answer::new(StatusCode::SERVICE_UNAVAILABLE) }
}
