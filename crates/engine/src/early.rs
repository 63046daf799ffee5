//! Offers and answers at other times than INVITE and its 2xx: in reliable provisional responses and their PRACK (RFC 3262), in UPDATE
//! (RFC 3311), and what several early dialogs of one call have said (RFC 3261 §13.2.2.4, RFC 6337 §2).

use ringback_media_api::Token;
use ringback_sip::{Message, StatusCode};
use ringback_time::Now;
use ringback_ua::{Body, CallKey, Reply as Answer, RequestKey};

use crate::api::{Error, Reply};
use crate::call::{Call, Ending, Stage};
use crate::content;
use crate::decide::ua_error;
use crate::engine::Engine;
use crate::media_flow::{Plan, peer_sends};
use crate::reinvite::Reinvite;
use crate::table::Key;

/// Early dialogs of one call whose description is kept. `ua` keeps as many.
const FORKS_MOST: usize = 16;

/// What an early dialog has said of its media.
#[derive(Debug)]
pub(crate) struct Fork {
    tag: Box<str>,
    sdp: String,
}

/// What an INVITE wants of provisional responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reliability {
    No,
    Possible,
    Required,
}

impl Reliability {
    pub(crate) fn of(invite: &Message) -> Reliability {
        if invite.require().any(|option| option.eq_ignore_ascii_case("100rel")) {
            Reliability::Required
        } else if invite.supports("100rel") {
            Reliability::Possible
        } else {
            Reliability::No
        }
    }
}

impl Engine {
    /// Remembers an early description, of the dialog that it came in. The last one is what is heard.
    pub(crate) fn remember_fork(&mut self, key: Key, response: &Message, sdp: &str) {
        let (Some(call), Some(tag)) = (self.calls.get_mut(key), response.to_tag()) else { return };
        match call.early_dialogs.iter_mut().find(|fork| &*fork.tag == tag) {
            Some(fork) => sdp.clone_into(&mut fork.sdp),
            None => {
                call.early_dialogs.push(Fork { tag: tag.into(), sdp: sdp.to_owned() });
                call.early_dialogs.truncate(FORKS_MOST);
            }
        }
    }

    /// 199: that dialog says nothing any more.
    pub(crate) fn take_fork_alone(&mut self, key: Key, response: &Message) {
        if let Some(call) = self.calls.get_mut(key) {
            call.early_dialogs.retain(|fork| Some(&*fork.tag) != response.to_tag());
        }
    }

    /// What the dialog of a 2xx has said before.
    pub(crate) fn take_fork(&mut self, key: Key, response: &Message) -> Option<String> {
        let call = self.calls.get_mut(key)?;
        let tag = response.to_tag().unwrap_or_default();
        let place = call.early_dialogs.iter().position(|fork| &*fork.tag == tag);
        let fork = place.map(|place| call.early_dialogs.swap_remove(place).sdp);
        call.early_dialogs = Vec::new();
        fork
    }

    /// `Event::Offer`: in an UPDATE or a PRACK, at any time.
    pub(crate) fn offered(&mut self, now: Now, key: Key, request_key: RequestKey, request: &Message) {
        let offer = content::session_description(request);
        let busy = self.calls.get(key).is_none() || self.has_offered(key);
        let answer = match &offer {
            // `ua` sees to this; here it keeps two offers apart whatever comes.
            _ if busy => Answer::new(StatusCode::REQUEST_PENDING),
            Some(offer) => self.answer_offer(now, key, offer),
            None => Answer::new(StatusCode::OK),
        };
        let accepted = answer.status.is_success();
        if accepted && let Some(call) = self.calls.get_mut(key) {
            // RFC 6337 §3.1: offer and answer of the INVITE are done; its 2xx says nothing more of media.
            if call.media.early.is_some() {
                call.media.early = Some(Plan::Settled);
            }
            let tag = request.from_tag().unwrap_or_default();
            if let (Some(offer), Some(dialog)) = (&offer, call.early_dialogs.iter_mut().find(|it| &*it.tag == tag)) {
                dialog.sdp.clone_from(offer);
            }
        }
        self.ua.answer_request(now, request_key, answer);
        if let Some(offer) = offer.filter(|_| accepted) {
            self.plan_anew(now, key, peer_sends(&offer));
        }
    }

    /// `Event::Pracked`: the answer to the offer of our provisional response.
    pub(crate) fn pracked(&mut self, now: Now, key: Key, body: Option<&Body>) {
        let result = match content::of_body(body) {
            Some(sdp) => self.accept_answer(now, key, &sdp, true),
            None => Err(Error::Sdp("the PRACK has no answer to our offer".into())),
        };
        match result {
            Ok(()) => {
                if let Some(call) = self.calls.get_mut(key) {
                    call.media.early = Some(Plan::Settled);
                }
            }
            Err(error) => {
                let mut ending = Ending::refused(StatusCode::NOT_ACCEPTABLE_HERE, None, Vec::new()).over(true);
                ending.reason = format!("failed: {error}");
                self.finish(now, key, ending);
            }
        }
    }

    /// A late offer in a provisional response (RFC 3262 §5): answered at once, in the PRACK.
    pub(crate) fn offered_early(&mut self, now: Now, key: Key, ua: CallKey, offer: String) {
        let Some(call) = self.calls.get_mut(key) else { return };
        call.media.remote_offer = Some(offer);
        match self.plan_answer(key, None) {
            Ok(plan) => {
                self.ua.prack(now, ua, Some(Body::sdp(plan.sdp().to_owned())));
                self.carry_out(now, key, plan);
            }
            Err(error) => {
                self.ua.prack(now, ua, None);
                self.finish(now, key, Ending::failed(Some(488), error.to_string()));
            }
        }
    }

    /// The answer to a late offer in the 2xx; the ACK takes it. Whatever is wrong with the offer, the 2xx is acknowledged.
    pub(crate) fn answer_in_ack(&mut self, now: Now, key: Key, offer: Option<String>) -> Result<(), Error> {
        let Some(call) = self.calls.get_mut(key) else { return Ok(()) };
        let Some(ua) = call.ua else { return Ok(()) };
        call.media.remote_offer = offer;
        let plan = if call.media.remote_offer.is_some() {
            self.plan_answer(key, None)
        } else {
            Err(Error::Sdp("the 2xx has no offer".into()))
        };
        let body = plan.as_ref().ok().map(|plan| Body::sdp(plan.sdp().to_owned()));
        self.ua.ack(now, ua, body);
        self.carry_out(now, key, plan?);
        Ok(())
    }

    /// `Command::Reoffer` before the answer: UPDATE, where the INVITE's offer has its answer in a provisional response that arrived (RFC 3311
    /// §5.1, RFC 3262 §5), and the peer takes it.
    pub(crate) fn update_early(
        &mut self,
        now: Now,
        key: Key,
        token: Token,
        own: Option<String>,
    ) -> crate::commands::Answer {
        const WHAT: &str = "a re-offer";
        let fits = |call: &&Call| matches!(call.stage, Stage::Calling | Stage::Deferred | Stage::Forwarding);
        let call = self.calls.get(key).filter(fits);
        let Some(ua) = call.and_then(|call| call.ua).filter(|ua| self.ua.can_update(*ua)) else {
            return Err(self.unfit(key, WHAT));
        };
        if call.is_some_and(|call| call.reinvite.is_some()) {
            return Err(self.unfit(key, "a second re-offer while one is under way"));
        }
        let plan = self.plan_reoffer(key, own.clone())?;
        let Some(call) = self.calls.get_mut(key) else { return Ok(Some(Reply::Unit)) };
        if call.media.external != matches!(plan, Plan::External { .. }) {
            return Err(Error::Media("before the answer media stays where it is".into()));
        }
        let body = Body::sdp(plan.sdp().to_owned());
        self.ua.update(now, ua, Some(body)).map_err(|error| ua_error(error, call.session.state()))?;
        let first_offer = call.media.local_offer.replace(plan.sdp().to_owned());
        call.media.generated = None;
        if call.media.early.is_some() {
            // RFC 6337 §3.1: the 2xx has nothing to add.
            call.media.early = Some(Plan::Settled);
        }
        call.reinvite = Some(Reinvite::early(token, call.media.direction, own, first_offer));
        Ok(None)
    }

    /// An UPDATE before the answer was accepted: that is what its early dialog says now.
    pub(crate) fn updated_early(&mut self, key: Key, response: &Message, first_offer: Option<String>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        call.media.local_offer = first_offer;
        let tag = response.to_tag().unwrap_or_default();
        if let Some(dialog) = call.early_dialogs.iter_mut().find(|fork| &*fork.tag == tag)
            && let Some(sdp) = &call.media.remote_sdp
        {
            dialog.sdp.clone_from(sdp);
        }
    }

    /// The call is answered while an UPDATE of before is under way. Where it is another early dialog that won, nobody will answer that.
    pub(crate) fn answered_during_update(&mut self, key: Key, settled: bool) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(reinvite) = &mut call.reinvite else { return };
        let Some(first_offer) = reinvite.first_offer.take() else { return };
        if !settled {
            call.media.local_offer = Some(first_offer);
            let token = call.reinvite.take().map(|reinvite| reinvite.token).unwrap_or_default();
            self.complete(token, Err(Error::Refused { status: 481, reason: "Answered by another".into() }));
        }
    }

    /// `Event::Refresh`: the description in force once more (RFC 4028 §7.4), by re-INVITE.
    pub(crate) fn refresh(&mut self, now: Now, key: Key) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let (Some(ua), Stage::Confirmed) = (call.ua, call.stage) else { return };
        if call.reinvite.is_some() {
            return;
        }
        let Some(sdp) = call.media.local_sdp.clone() else { return };
        if self.ua.reinvite(now, ua, Some(Body::sdp(sdp.clone()))).is_ok()
            && let Some(call) = self.calls.get_mut(key)
        {
            call.media.local_offer = Some(sdp);
            call.reinvite = Some(Reinvite::refresh(call.media.direction));
        }
    }
}
