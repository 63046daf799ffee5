//! Decisions about incoming calls. Everything is checked before the first response: a decision that fails has said nothing to the
//! caller and leaves the call open to another.

use std::sync::Arc;

use ringback_sdp::Description;
use ringback_sip::{HeaderName, StatusCode};
use ringback_time::Now;
use ringback_ua::{Body, Reply as Answer, UaError};

use crate::api::{Decision, EndCause, Error, Event, HeaderList, SessionId, State};
use crate::call::{Ending, Stage};
use crate::early::Reliability;
use crate::engine::Engine;
use crate::forward::parse_targets;
use crate::headers;
use crate::incoming::unavailable;
use crate::media_flow::Plan;
use crate::states::Change;
use crate::table::Key;
use crate::timers::Timer;

impl Engine {
    pub(crate) fn decide(&mut self, now: Now, session: SessionId, decision: Decision) -> Result<(), Error> {
        let key = self.at(session, "a decision")?;
        if !self.calls.get(key).is_some_and(|call| call.stage.is_decidable()) {
            return Err(self.unfit(key, "a decision"));
        }
        match decision {
            Decision::Accept { sdp, headers } => {
                headers::check(&headers)?;
                self.accept(now, key, sdp, headers)
            }
            Decision::Reject { status, reason, headers } => self.reject(now, key, status, reason, headers),
            Decision::Defer => {
                self.defer(now, key, StatusCode::RINGING);
                Ok(())
            }
            Decision::Progress { sdp } => self.progress(now, key, sdp),
            Decision::Forward { targets, redirect: true, .. } => self.redirect(now, key, &targets),
            Decision::Forward { targets, redirect: false, parallel, ring } => {
                self.forward(now, key, &targets, parallel, ring)
            }
        }
    }

    /// A decision nobody waits for has failed: the call is not left ringing until the answer timeout.
    pub(crate) fn decision_failed(&mut self, now: Now, session: SessionId, error: &Error) {
        let Some(key) = self.live(session) else { return };
        if !self.calls.get(key).is_some_and(|call| call.stage.is_decidable()) {
            return;
        }
        tracing::warn!(target: "ringback.session", call_id = self.call_id(key), session = %session, "the decision cannot be carried out: {error}");
        let ending = match error {
            Error::Sdp(_) => Ending::refused(StatusCode::NOT_ACCEPTABLE_HERE, None, Vec::new()),
            Error::ResourceExhausted(_) => {
                Ending::refused(StatusCode::SERVICE_UNAVAILABLE, None, unavailable().headers)
            }
            _ => Ending::refused(StatusCode::SERVER_INTERNAL_ERROR, None, Vec::new()),
        };
        self.finish(now, key, ending);
    }

    /// 200, with the answer (or an offer, where the caller made none). A description of the program's own that does not fit leaves the
    /// call undecided; where a generated answer is impossible the caller is refused.
    pub(crate) fn accept(&mut self, now: Now, key: Key, sdp: Option<String>, headers: HeaderList) -> Result<(), Error> {
        let generated = sdp.is_none();
        match self.plan_answer(key, sdp) {
            Ok(plan) => self.answer(now, key, plan, headers),
            Err(error) => {
                if generated {
                    self.refuse_offer(now, key);
                }
                Err(error)
            }
        }
    }

    /// The caller's offer cannot be met on any terms of ours, and that is the end of it: 488, or 400 where it cannot even be read.
    pub(crate) fn refuse_offer(&mut self, now: Now, key: Key) {
        let offer = self.calls.get(key).and_then(|call| call.media.remote_offer.as_deref());
        let readable = offer.is_none_or(|offer| Description::parse(offer).is_ok());
        let status = if readable { StatusCode::NOT_ACCEPTABLE_HERE } else { StatusCode::BAD_REQUEST };
        self.finish(now, key, Ending::refused(status, None, Vec::new()));
    }

    /// Sends the 200 and puts `plan` into force.
    pub(crate) fn answer(&mut self, now: Now, key: Key, plan: Plan, headers: HeaderList) -> Result<(), Error> {
        let Some(call) = self.calls.get_mut(key) else { return Ok(()) };
        let Some(ua) = call.ua else { return Ok(()) };
        let body = Some(plan.sdp()).filter(|sdp| !sdp.is_empty()).map(|sdp| Body::sdp(sdp.to_owned()));
        let answer = Answer { status: StatusCode::OK, reason: None, headers, body };
        self.ua.respond(now, ua, answer).map_err(|error| ua_error(error, call.session.state()))?;

        call.request = None;
        let is_offer = matches!(plan, Plan::Offer(_) | Plan::External { is_offer: true, .. });
        call.stage = if is_offer { Stage::AwaitingAck } else { Stage::Confirmed };
        let early = call.media.early.take().is_some();
        self.disarm(key, Timer::Decide);
        self.disarm(key, Timer::Refresh);
        if !early {
            self.carry_out(now, key, plan);
        }
        self.answered(now, key);
        Ok(())
    }

    /// The call is answered, by us or by the peer.
    pub(crate) fn answered(&mut self, now: Now, key: Key) {
        let Some(call) = self.calls.get(key) else { return };
        call.session.set_answered(now.wall);
        self.change(key, Change::Answer);
        if let Some(life) = self.config.session_timeout {
            self.arm(key, Timer::Life, now.mono + life);
        }
        if self.is_at(key, Stage::Confirmed) {
            self.establish(key);
        }
    }

    /// Both descriptions are known.
    pub(crate) fn establish(&mut self, key: Key) {
        let Some(call) = self.calls.get(key) else { return };
        if self.config.interest.established || call.session.is_watched() {
            let event = Event::Established {
                session: Arc::clone(&call.session),
                local_sdp: call.media.local_sdp.clone(),
                remote_sdp: call.media.remote_sdp.clone(),
            };
            self.emit(event);
        }
    }

    /// The ACK to our 200. After a late offer the answer is in it.
    pub(crate) fn acked(&mut self, now: Now, key: Key, body: Option<Body>) {
        if !self.is_at(key, Stage::AwaitingAck) {
            self.agree_on_codec(now, key);
            return;
        }
        let result = match crate::content::of_body(body.as_ref()) {
            Some(sdp) => self.accept_answer(now, key, &sdp, true),
            None => Err(Error::Sdp("the ACK has no answer to our offer".into())),
        };
        if let Err(error) = result {
            // RFC 3261 §13.2.1: without an answer there is no session; BYE is all that is left.
            self.finish(now, key, Ending::failed(Some(488), error.to_string()));
            return;
        }
        if let Some(call) = self.calls.get_mut(key) {
            call.stage = Stage::Confirmed;
        }
        self.establish(key);
        self.join_late(now, key);
        self.bridge_peers(now, key);
    }

    fn reject(&mut self, now: Now, key: Key, status: u16, reason: String, headers: HeaderList) -> Result<(), Error> {
        let code = StatusCode::new(status)
            .filter(|code| (4..=6).contains(&code.class()))
            .ok_or_else(|| Error::BadValue(format!("status {status}: a call is rejected with 400 to 699")))?;
        headers::check_phrase(&reason)?;
        headers::check(&headers)?;
        let phrase = Some(reason).filter(|reason| !reason.is_empty());
        self.finish(now, key, Ending::refused(code, phrase, headers));
        Ok(())
    }

    fn defer(&mut self, now: Now, key: Key, status: StatusCode) {
        if let Some(call) = self.calls.get_mut(key) {
            call.stage = Stage::Deferred;
        }
        self.ring(now, key, status.as_u16());
    }

    /// 183 with early media: the leg opens now, and the 200 will say the same.
    fn progress(&mut self, now: Now, key: Key, sdp: Option<String>) -> Result<(), Error> {
        let Some(call) = self.calls.get(key) else { return Ok(()) };
        let reliable = call.request.as_ref().is_some_and(|request| Reliability::of(request) != Reliability::No);
        if call.media.remote_offer.is_none() && call.media.early.is_none() && !reliable {
            // RFC 3261 §13.2.1: where the INVITE has no offer, ours comes in a reliable response.
            if sdp.is_some() {
                return Err(Error::Sdp("early media needs an offer in the INVITE".into()));
            }
        } else {
            let plan = self.plan_answer(key, sdp)?;
            self.open_early(now, key, plan);
        }
        self.defer(now, key, StatusCode::SESSION_PROGRESS);
        Ok(())
    }

    /// Puts an answer into force before the call is answered.
    pub(crate) fn open_early(&mut self, now: Now, key: Key, plan: Plan) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.media.early.is_none() {
            call.media.early = Some(plan.clone());
            self.carry_out(now, key, plan);
        }
    }

    /// 302 with all targets (RFC 3261 §21.3.3).
    fn redirect(&mut self, now: Now, key: Key, targets: &[String]) -> Result<(), Error> {
        let targets = parse_targets(targets, None)?;
        let contacts: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let headers = contacts.iter().map(|target| (HeaderName::Contact.as_str().to_owned(), target.clone())).collect();
        let mut ending = Ending::refused(StatusCode::MOVED_TEMPORARILY, None, headers);
        if let EndCause::Rejected { targets: list, .. } = &mut ending.cause {
            *list = targets.iter().map(|target| target.uri.to_string()).collect();
        }
        self.finish(now, key, ending);
        Ok(())
    }
}

/// What `ua` finds wrong that was not seen before.
pub(crate) fn ua_error(error: UaError, state: State) -> Error {
    match error {
        UaError::InvalidHeader(name) => Error::InvalidHeader(name),
        UaError::InvalidUri(uri) => Error::InvalidUri { uri, why: "cannot be sent to".into() },
        UaError::TooMany(what) => Error::ResourceExhausted(what),
        UaError::InvalidState(what) => Error::InvalidState { what, state },
        _ => Error::InvalidState { what: "the operation", state },
    }
}
