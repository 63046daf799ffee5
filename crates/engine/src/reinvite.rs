//! Offers within an answered call, both ways: hold, resume, re-offer, and what the peer asks for.
//!
//! One offer of ours at a time: a second operation while one is under way fails with `InvalidState` (it would change what the first
//! is still negotiating). A refused offer leaves everything as it was (RFC 3261 §14.1).

use ringback_media_api::Token;
use ringback_sdp::{Description, Direction, MediaHost};
use ringback_sip::{Message, StatusCode};
use ringback_time::Now;
use ringback_ua::{Body, Reply as Answer};

use crate::api::{Error, Reply, SessionId, State};
use crate::call::{Stage, Transfer};
use crate::commands;
use crate::content;
use crate::decide::ua_error;
use crate::engine::Engine;
use crate::media_flow::{Plan, hears, peer_sends, sdp_error, usable};
use crate::states::Change;
use crate::table::Key;

/// What an offer of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Hold,
    Resume,
    Reoffer,
}

impl Wanted {
    fn what(self) -> &'static str {
        match self {
            Wanted::Hold => "hold",
            Wanted::Resume => "resume",
            Wanted::Reoffer => "a re-offer",
        }
    }

    fn fits(self, state: State) -> bool {
        match self {
            Wanted::Hold => state == State::Active,
            Wanted::Resume => state == State::OnHold,
            Wanted::Reoffer => matches!(state, State::Active | State::OnHold),
        }
    }
}

/// The re-INVITE of ours that is under way; the offer itself is `Media::local_offer`.
#[derive(Debug)]
pub(crate) struct Reinvite {
    pub(crate) token: Token,
    wanted: Wanted,
    /// `Media::direction` as it was.
    before: Direction,
    /// The program moves the media elsewhere.
    leaves: bool,
    /// What the program gave for it.
    own: Option<String>,
    /// RFC 4028: nobody has asked for it.
    refresh: bool,
    /// It waits, and `Media::local_offer` is what we said to a re-INVITE of the peer that had no offer.
    yields: bool,
    /// It is an UPDATE before the answer. The INVITE's own offer is still open then: another early dialog may answer it.
    pub(crate) first_offer: Option<String>,
}

impl Reinvite {
    /// A new offer before the answer.
    pub(crate) fn early(token: Token, before: Direction, own: Option<String>, first_offer: Option<String>) -> Reinvite {
        Reinvite { token, own, first_offer, refresh: false, ..Reinvite::refresh(before) }
    }

    /// The session is refreshed by what is in force.
    pub(crate) fn refresh(before: Direction) -> Reinvite {
        Reinvite {
            token: Token::default(),
            wanted: Wanted::Reoffer,
            before,
            leaves: false,
            own: None,
            refresh: true,
            yields: false,
            first_offer: None,
        }
    }
}

/// What waits until a refresh is over.
#[derive(Debug)]
pub(crate) struct Postponed {
    pub(crate) token: Token,
    wanted: Wanted,
    own: Option<String>,
}

impl Engine {
    /// `Command::Hold`, `Resume`, `Reoffer`.
    pub(crate) fn reinvite(
        &mut self,
        now: Now,
        session: SessionId,
        token: Token,
        wanted: Wanted,
        own: Option<String>,
    ) -> commands::Answer {
        let key = self.at(session, wanted.what())?;
        if !self.is_up(key) && wanted == Wanted::Reoffer {
            return self.update_early(now, key, token, own);
        }
        if !self.is_up(key) {
            return Err(self.unfit(key, wanted.what()));
        }
        let Some(call) = self.calls.get_mut(key) else { return Ok(Some(Reply::Unit)) };
        if !wanted.fits(call.session.state()) {
            return Err(self.unfit(key, wanted.what()));
        }
        if call.reinvite.as_ref().is_some_and(|under_way| under_way.refresh) && call.postponed.is_none() {
            call.postponed = Some(Box::new(Postponed { token, wanted, own }));
            return Ok(None);
        }
        if call.reinvite.is_some() {
            return Err(self.unfit(key, "a second re-INVITE while one is under way"));
        }
        let Some(ua) = call.ua else { return Ok(Some(Reply::Unit)) };
        let before = call.media.direction;
        let offered = self.plan_wanted(key, wanted, own.clone()).and_then(|plan| {
            let body = Body::sdp(plan.sdp().to_owned());
            self.ua.reinvite(now, ua, Some(body)).map_err(|error| ua_error(error, State::Active)).map(|()| plan)
        });
        let Some(call) = self.calls.get_mut(key) else { return Ok(Some(Reply::Unit)) };
        match offered {
            Ok(plan) => {
                let leaves = matches!(plan, Plan::External { .. }) && !call.media.external;
                call.media.generated = None;
                // Until the peer's ACK brings the answer to an offer of ours in a 2xx, this one waits.
                let yields = call.media.local_offer.is_some();
                if !yields {
                    call.media.local_offer = Some(plan.sdp().to_owned());
                }
                let reinvite =
                    Reinvite { token, wanted, leaves, own, refresh: false, yields, ..Reinvite::refresh(before) };
                call.reinvite = Some(reinvite);
                Ok(None)
            }
            Err(Error::InvalidState { what, .. }) => {
                call.media.direction = before;
                Err(self.unfit(key, what))
            }
            Err(error) => {
                call.media.direction = before;
                Err(error)
            }
        }
    }

    /// What an offer for that says; what we wish is in force from then on.
    fn plan_wanted(&mut self, key: Key, wanted: Wanted, own: Option<String>) -> Result<Plan, Error> {
        let Some(call) = self.calls.get_mut(key) else { return Err(Error::Sdp("the call is over".into())) };
        let held = call.session.remote_hold();
        let wish = match wanted {
            Wanted::Hold => Direction::SendOnly,
            Wanted::Resume => Direction::SendRecv,
            Wanted::Reoffer => call.media.direction,
        };
        // RFC 3264 §8.4: a stream that we only receive is held by `inactive`. That is what this offer says; what we wish, and say to the
        // peer's offers from then on, is to send and not to hear.
        call.media.direction = if wanted == Wanted::Hold && held { Direction::Inactive } else { wish };
        let plan = self.plan_reoffer(key, own);
        if let Some(call) = self.calls.get_mut(key) {
            call.media.direction = wish;
        }
        plan
    }

    /// What a later offer says.
    pub(crate) fn plan_reoffer(&mut self, key: Key, own: Option<String>) -> Result<Plan, Error> {
        let Some(call) = self.calls.get(key) else { return Err(Error::Sdp("the call is over".into())) };
        if own.is_none() && call.media.external {
            let sdp = redirect(call.media.local_sdp.as_deref().unwrap_or_default(), call.media.direction)?;
            return Ok(Plan::External { sdp, is_offer: true });
        }
        let plan = self.plan_offer(key, own)?;
        let Plan::External { sdp, is_offer } = plan else { return Ok(plan) };
        let previous = self.calls.get(key).and_then(|call| call.media.local_sdp.as_deref());
        let sdp = match previous {
            Some(previous) => ringback_sdp::succeeding(previous, sdp),
            None => sdp,
        };
        Ok(Plan::External { sdp, is_offer })
    }

    /// 2xx to our re-INVITE.
    pub(crate) fn reinvite_answered(&mut self, now: Now, key: Key, response: &Message) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(reinvite) = call.reinvite.take() else { return };
        let external_before = call.media.external;
        if reinvite.leaves {
            call.media.external = true;
        }
        let result = match content::session_description(response) {
            Some(sdp) => self.accept_answer(now, key, &sdp, true),
            None => Err(Error::Sdp("the 2xx has no answer to our offer".into())),
        };
        match result {
            Ok(()) => {
                self.updated_early(key, response, reinvite.first_offer);
                if reinvite.leaves {
                    self.leave_media(now, key);
                }
                self.agreed_on(key, reinvite.wanted);
                self.complete(reinvite.token, Ok(Reply::Unit));
            }
            Err(error) => {
                if let Some(call) = self.calls.get_mut(key) {
                    call.media.external = external_before;
                    call.media.direction = reinvite.before;
                    call.media.local_offer = reinvite.first_offer;
                }
                self.complete(reinvite.token, Err(error));
            }
        }
        self.take_up(now, key);
    }

    fn agreed_on(&mut self, key: Key, wanted: Wanted) {
        match wanted {
            Wanted::Hold => self.agreed(key, true),
            Wanted::Resume => self.agreed(key, false),
            Wanted::Reoffer => {}
        }
    }

    /// The peer has agreed that we hold, or hold no more. A REFER of the peer may have come meanwhile: then it shows when the transfer has come
    /// to nothing.
    fn agreed(&mut self, key: Key, held: bool) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.session.state() == State::Transferring {
            match call.transfer.as_deref_mut() {
                Some(Transfer::Wanted(referral)) => referral.held = held,
                Some(Transfer::Asked(asked)) => asked.held = held,
                _ => {}
            }
            return;
        }
        self.change(key, if held { Change::Hold } else { Change::Resume });
    }

    /// What waited for a refresh to be over.
    fn take_up(&mut self, now: Now, key: Key) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(postponed) = call.postponed.take() else { return };
        let (session, Postponed { token, wanted, own }) = (call.session.id, *postponed);
        if let Err(error) = self.reinvite(now, session, token, wanted, own) {
            self.complete(token, Err(error));
        }
    }

    pub(crate) fn reinvite_failed(&mut self, now: Now, key: Key, status: u16, reason: String) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(reinvite) = call.reinvite.take() else { return };
        call.media.direction = reinvite.before;
        call.media.local_offer = reinvite.first_offer;
        self.complete(reinvite.token, Err(Error::Refused { status, reason }));
        self.take_up(now, key);
    }

    /// The media goes elsewhere while the call goes on.
    fn leave_media(&mut self, now: Now, key: Key) {
        self.unbridge(key);
        self.release_port(now, key);
        self.events_impossible(now, key);
        let Some(call) = self.calls.get_mut(key) else { return };
        let waiting = std::mem::take(&mut call.waiting);
        for (token, wait) in waiting {
            let result = match wait {
                crate::call::MediaReply::Played => Err(Error::Media("the call's media is external now".into())),
                crate::call::MediaReply::Statistics => Ok(Reply::Statistics(None)),
            };
            self.complete(token, result);
        }
    }

    /// A re-INVITE of the peer: its offer is answered, or ours is made where it has none.
    pub(crate) fn reinvited(&mut self, now: Now, key: Key, request: &Message) {
        let Some(call) = self.calls.get(key) else { return };
        let Some(ua) = call.ua else { return };
        if self.has_offered(key) || !call.stage.is_answered() {
            // RFC 3261 §14.2. `ua` sees to this itself; here it keeps two offers apart whatever comes.
            return self.ua.answer_reinvite(now, ua, Answer::new(StatusCode::REQUEST_PENDING));
        }
        let Some(offer) = content::session_description(request) else {
            let offered = self.offer_again(key);
            return self.ua.answer_reinvite(now, ua, offered);
        };
        let answer = self.answer_offer(now, key, &offer);
        let accepted = answer.status.is_success();
        self.ua.answer_reinvite(now, ua, answer);
        if accepted {
            self.plan_anew(now, key, peer_sends(&offer));
        }
    }

    /// A re-INVITE or UPDATE of ours is out, and has no answer. One that waits to be tried again is not.
    pub(crate) fn has_offered(&self, key: Key) -> bool {
        let Some(call) = self.calls.get(key) else { return false };
        call.reinvite.is_some() && !call.ua.is_some_and(|ua| self.ua.reinvite_waits(ua))
    }

    /// The peer has got through with its offer while ours waited (RFC 3261 §14.1): ours goes on from what is in force now, unless that says
    /// it already. `tells`: our description told the peer whether we hear it.
    pub(crate) fn plan_anew(&mut self, now: Now, key: Key, tells: bool) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let (Some(ua), Some(reinvite)) = (call.ua, &mut call.reinvite) else { return };
        reinvite.yields = false;
        let (wanted, refresh, own) = (reinvite.wanted, reinvite.refresh, reinvite.own.clone());
        let hears = call.media.local_sdp.as_deref().is_some_and(hears);
        let said = match wanted {
            Wanted::Hold => tells && !hears,
            Wanted::Resume => tells && hears,
            // RFC 4028 §7.4: the peer's refreshes the session as well.
            Wanted::Reoffer => refresh,
        };
        if said {
            let _ = self.ua.revise_reinvite(ua, None);
            let Some(reinvite) = call.reinvite.take() else { return };
            call.media.local_offer = reinvite.first_offer;
            self.agreed_on(key, wanted);
            self.complete(reinvite.token, Ok(Reply::Unit));
            return self.take_up(now, key);
        }
        let is_own = own.is_some();
        let planned = self.plan_wanted(key, wanted, own).and_then(|plan| {
            let previous = self.calls.get(key).and_then(|call| call.media.local_sdp.as_deref());
            let plan = match (plan, previous) {
                // Our answer may have taken the version that the program knew of as the next.
                (Plan::Offer(sdp), Some(previous)) if is_own => Plan::Offer(ringback_sdp::succeeding(previous, sdp)),
                (plan, _) => plan,
            };
            let body = Body::sdp(plan.sdp().to_owned());
            self.ua.revise_reinvite(ua, Some(body)).map_err(|error| ua_error(error, State::Active)).map(|()| plan)
        });
        let Some(call) = self.calls.get_mut(key) else { return };
        match planned {
            Ok(plan) => {
                if let Some(reinvite) = &mut call.reinvite {
                    reinvite.leaves = matches!(plan, Plan::External { .. }) && !call.media.external;
                }
                call.media.local_offer = Some(plan.sdp().to_owned());
            }
            Err(error) => {
                let _ = self.ua.revise_reinvite(ua, None);
                let Some(reinvite) = call.reinvite.take() else { return };
                call.media.direction = reinvite.before;
                call.media.local_offer = reinvite.first_offer;
                self.complete(reinvite.token, Err(error));
                self.take_up(now, key);
            }
        }
    }

    pub(crate) fn answer_offer(&mut self, now: Now, key: Key, offer: &str) -> Answer {
        let result = if self.calls.get(key).is_some_and(|call| call.media.external) {
            self.answer_for_external(key, offer)
        } else {
            let answered = ringback_sdp::answer(offer, self.wishes(key));
            answered.map_err(|error| (error.status(), sdp_error(&error))).and_then(|negotiated| {
                let negotiated = usable(negotiated).map_err(|error| (488, error))?;
                let sdp = negotiated.local_sdp.clone();
                self.settle(now, key, *negotiated, Some(offer.to_owned()));
                Ok(sdp)
            })
        };
        match result {
            Ok(sdp) => Answer::with_body(StatusCode::OK, Body::sdp(sdp)),
            Err((status, error)) => {
                tracing::info!(target: "ringback.session", call_id = self.call_id(key), "an offer is refused: {error}");
                Answer::new(StatusCode::new(status).unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE))
            }
        }
    }

    /// External media: the program's description again, with the direction that the offer leaves.
    fn answer_for_external(&mut self, key: Key, offer: &str) -> Result<String, (u16, Error)> {
        let Some(call) = self.calls.get_mut(key) else {
            return Err((481, Error::Sdp("the call is over".into())));
        };
        let refuse = |error: ringback_sdp::SdpError| (error.status(), sdp_error(&error));
        let offered = Description::parse(offer).map_err(refuse)?;
        let audio = offered.media().iter().find(|media| media.is_audio() && media.port() != 0);
        let asked = audio.map_or(Direction::Inactive, |media| {
            let null = matches!(offered.host_of(media), Some(MediaHost::Ip(ip)) if ip.is_unspecified());
            let direction = offered.direction_of(media);
            if null { direction.and(Direction::SendOnly) } else { direction }
        });
        let direction = call.media.direction.and(asked.mirrored());
        let own = call.media.local_sdp.as_deref().unwrap_or_default();
        let answer = redirect(own, direction).map_err(|error| (488, error))?;
        ringback_sdp::check_answer(offer, &answer).map_err(refuse)?;
        call.session.set_remote_hold(!asked.receives());
        call.media.remote_sdp = Some(offer.to_owned());
        call.media.local_sdp = Some(answer.clone());
        Ok(answer)
    }

    /// RFC 3261 §14.2: a re-INVITE without an offer gets ours, as for a new call.
    fn offer_again(&mut self, key: Key) -> Answer {
        let sdp = match self.plan_reoffer(key, None) {
            Ok(plan) => plan.sdp().to_owned(),
            Err(error) => {
                tracing::warn!(target: "ringback.session", call_id = self.call_id(key), "no offer for a re-INVITE: {error}");
                return Answer::new(StatusCode::NOT_ACCEPTABLE_HERE);
            }
        };
        if let Some(call) = self.calls.get_mut(key) {
            call.media.local_offer = Some(sdp.clone());
            if let Some(reinvite) = &mut call.reinvite {
                reinvite.yields = true;
            }
        }
        Answer::with_body(StatusCode::OK, Body::sdp(sdp))
    }

    /// The ACK to our 2xx; after a re-INVITE without an offer the answer to ours is in it.
    pub(crate) fn reinvite_acked(&mut self, now: Now, key: Key, body: Option<Body>) {
        if !self.is_at(key, Stage::Confirmed) {
            return;
        }
        let Some(call) = self.calls.get(key) else { return };
        if call.media.local_offer.is_none() || call.reinvite.as_ref().is_some_and(|reinvite| !reinvite.yields) {
            return;
        }
        let result = match content::of_body(body.as_ref()) {
            Some(sdp) => self.accept_answer(now, key, &sdp, true),
            None => Err(Error::Sdp("the ACK has no answer to our offer".into())),
        };
        match result {
            Ok(()) => self.plan_anew(now, key, true),
            Err(error) => {
                // The descriptions before it stay in force.
                tracing::warn!(target: "ringback.session", call_id = self.call_id(key), "a re-INVITE came to nothing: {error}");
                self.reinvite_withdrawn(now, key);
            }
        }
    }

    /// The peer gave its re-INVITE up.
    pub(crate) fn reinvite_withdrawn(&mut self, now: Now, key: Key) {
        let Some(call) = self.calls.get_mut(key) else { return };
        match &call.reinvite {
            None => call.media.local_offer = None,
            Some(reinvite) if reinvite.yields => self.plan_anew(now, key, false),
            Some(_) => {}
        }
    }
}

/// The program's description with another direction, and the next version where that changes anything (RFC 3264 §8).
fn redirect(own: &str, direction: Direction) -> Result<String, Error> {
    let description = Description::parse(own).map_err(|error| sdp_error(&error))?;
    let version = description.origin().version;
    let same = ringback_sdp::redirected(own, direction, version).map_err(|error| sdp_error(&error))?;
    if same == own {
        return Ok(same);
    }
    ringback_sdp::redirected(own, direction, version.wrapping_add(1)).map_err(|error| sdp_error(&error))
}
