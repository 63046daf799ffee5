//! Transfers that a peer asks for: a REFER that came in a call (RFC 3515). The program decides; then a new session is placed to the target, and
//! how it goes is told by NOTIFY. When the target answers it gets the other side of the call, and the call that was referred ends.
//!
//! Invariant: the session that was placed has `Link::Referral` of the call until it answers or ends, or until that call has gone; the call's
//! `Referral::new` names it as long.

use std::time::Duration;

use ringback_sip::{HeaderName, Message, Method, NameAddr, StatusCode, Uri};
use ringback_time::Now;
use ringback_ua::{Body, FailCause, Reply as Answer, RequestKey};

use crate::api::{EndCause, Error, Event, SessionId, State};
use crate::call::{Call, Ending, Link, Transfer};
use crate::engine::Engine;
use crate::outgoing::{Found, MAX_FORWARDS, Outgoing, check_target};
use crate::package::{SIPFRAG, fragment};
use crate::refer::{TRANSFERRED, refer_to};
use crate::states::Change;
use crate::table::Key;
use crate::timers::Timer;

/// A program that has not decided after this has refused: the peer's transaction lasts 32 s.
const DECISION_MOST: Duration = Duration::from_secs(20);
/// What a NOTIFY says the subscription will last: longer than any target rings.
const EXPIRES: u32 = 300;
/// How often a NOTIFY is tried again.
const TOLD_MOST: u8 = 5;
const REFER_SUB: &str = "Refer-Sub";

/// A REFER of the peer.
#[derive(Debug)]
pub(crate) struct Referral {
    /// Until the decision.
    request: Option<RequestKey>,
    target: NameAddr,
    /// Headers for the INVITE: Replaces, Referred-By.
    headers: Vec<(String, String)>,
    /// What a NOTIFY names it by; `None` for the first of a dialog.
    id: Option<u32>,
    /// RFC 4488: no NOTIFY is wanted, or the subscription is gone.
    quiet: bool,
    /// The call was on hold.
    pub(crate) held: bool,
    /// The call had another leg.
    linked: bool,
    pub(crate) new: Option<Key>,
    in_flight: Option<RequestKey>,
    /// What is to be told next.
    due: Option<(u16, String)>,
    /// What the NOTIFY under way tells, and how often it was told in vain.
    told: (u16, String),
    refused: u8,
    /// The target has answered: the call ends when that is told.
    answered: bool,
}

impl Engine {
    fn referral(&mut self, key: Key) -> Option<&mut Referral> {
        match self.calls.get_mut(key)?.transfer.as_deref_mut()? {
            Transfer::Wanted(referral) => Some(referral),
            _ => None,
        }
    }

    /// REFER within a call.
    pub(crate) fn refer_received(&mut self, now: Now, key: Key, request_key: RequestKey, request: &Message) {
        match self.check_referral(key, request_key, request) {
            Ok(referral) => {
                let target = referral.target.uri.to_string();
                let Some(call) = self.calls.get_mut(key) else { return };
                call.transfer = Some(Box::new(Transfer::Wanted(referral)));
                let session = std::sync::Arc::clone(&call.session);
                self.arm(key, Timer::Ring, now.mono + DECISION_MOST);
                self.emit(Event::TransferRequest { session, target });
            }
            Err(status) => self.ua.answer_request(now, request_key, Answer::new(status)),
        }
    }

    fn check_referral(&self, key: Key, request_key: RequestKey, request: &Message) -> Result<Referral, StatusCode> {
        let mut wanted = refer_to(request).ok_or(StatusCode::BAD_REQUEST)?;
        if !self.config.interest.transfer || self.stop.is_stopping() || self.overdue {
            return Err(StatusCode::DECLINE);
        }
        let Some(call) = self.calls.get(key) else { return Err(StatusCode::CALL_DOES_NOT_EXIST) };
        if !self.is_up(key) || call.transfer.is_some() || call.media.external {
            return Err(if call.transfer.is_some() { StatusCode::REQUEST_PENDING } else { StatusCode::DECLINE });
        }
        // RFC 3515 §2.1: it may name any method; we are a telephone.
        if wanted.uri.param("method").flatten().is_some_and(|method| method != "INVITE") {
            return Err(StatusCode::DECLINE);
        }
        let mut headers = Vec::new();
        // RFC 3261 §19.1.5: of what a URI wants to be in the headers only what is known to do no harm.
        if let Some((_, replaces)) = wanted.uri.headers().find(|(name, _)| name.eq_ignore_ascii_case("Replaces")) {
            if !ringback_sip::is_valid_header_text("Replaces", &replaces) {
                return Err(StatusCode::BAD_REQUEST);
            }
            headers.push((HeaderName::Replaces.as_str().to_owned(), replaces.into_owned()));
        }
        if let Some(referred_by) = request.headers().get(&HeaderName::ReferredBy)
            && ringback_sip::is_valid_header_text("Referred-By", referred_by)
        {
            headers.push((HeaderName::ReferredBy.as_str().to_owned(), referred_by.to_owned()));
        }
        wanted.uri = wanted.uri.request_uri();
        check_target(&wanted.uri, &self.config.transports).map_err(|_| StatusCode::UNSUPPORTED_URI_SCHEME)?;
        let refer_sub = request.headers().get_str(REFER_SUB).unwrap_or_default().trim_start();
        Ok(Referral {
            request: Some(request_key),
            target: NameAddr { params: Default::default(), ..wanted },
            headers,
            // RFC 3515 §2.4.6.
            id: call.referred.then(|| request.cseq().map_or(0, |cseq| cseq.number)),
            quiet: refer_sub.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("false")),
            held: false,
            linked: matches!(call.link, Link::Peer(_)),
            new: None,
            in_flight: None,
            due: None,
            told: (0, String::new()),
            refused: 0,
            answered: false,
        })
    }

    /// `Command::DecideTransfer`. What comes too late is ignored.
    pub(crate) fn decide_transfer(&mut self, now: Now, session: SessionId, accept: bool) {
        let Some(key) = self.live(session) else { return };
        self.current = Some(key);
        let Some(request) = self.referral(key).and_then(|referral| referral.request.take()) else { return };
        self.disarm(key, Timer::Ring);
        if !accept || self.stop.is_stopping() || !self.is_up(key) {
            self.take_transfer(key);
            self.ua.answer_request(now, request, Answer::new(StatusCode::DECLINE));
            return;
        }
        // What was asked for since the REFER came may have changed it.
        let held = self.calls.get(key).is_some_and(|call| call.session.state() == State::OnHold);
        let Some(referral) = self.referral(key) else { return };
        referral.held = held;
        let headers = match referral.quiet {
            // RFC 4488 §4.
            true => vec![(REFER_SUB.to_owned(), "false".to_owned())],
            false => Vec::new(),
        };
        self.ua.answer_request(now, request, Answer { headers, ..Answer::new(StatusCode::ACCEPTED) });
        if let Some(call) = self.calls.get_mut(key) {
            call.referred = true;
        }
        self.change(key, Change::Transfer);
        // RFC 3515 §2.4.4: the first NOTIFY goes out at once.
        self.tell_referrer(now, key, StatusCode::TRYING.as_u16(), StatusCode::TRYING.reason());
        if let Err(error) = self.place_referred(now, key) {
            tracing::info!(target: "ringback.session", call_id = self.call_id(key), "the target of a transfer cannot be called: {error}");
            if self.referral(key).is_some_and(|referral| referral.new.is_none() && !referral.answered) {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                self.referral_failed(now, key, status.as_u16(), status.reason());
            }
        }
    }

    /// The session to the target. It speaks for the one whom the peer talks to: the other leg's caller or called, or this program.
    fn place_referred(&mut self, now: Now, key: Key) -> Result<(), Error> {
        let Some(call) = self.calls.get(key) else { return Ok(()) };
        let from = Uri::parse(call.session.local_uri());
        let from = from.map_err(|error| Error::InvalidUri { uri: String::new(), why: error.to_string() })?;
        let beside = self.partner(key).or(Some(key));
        let Some(referral) = self.referral(key) else { return Ok(()) };
        let outgoing = Outgoing {
            from: NameAddr::new(from),
            to: referral.target.clone(),
            headers: referral.headers.clone(),
            max_forwards: MAX_FORWARDS,
            sdp: None,
            late_offer: false,
            redirects: 0,
            offers: Vec::new(),
            first_hop: None,
            found: Found::Unasked,
        };
        let new = self.place(now, outgoing, beside)?;
        if let Some(referral) = self.referral(key) {
            referral.new = Some(new);
        }
        if let Some(call) = self.calls.get_mut(new) {
            call.link = Link::Referral(key);
        }
        // Where it cannot be sent, the session has ended, and that has been told.
        self.send_or_locate(now, new)
    }

    /// `Timer::Ring`: the program has not decided.
    pub(crate) fn referral_undecided(&mut self, now: Now, key: Key) {
        let Some(session) = self.calls.get(key).map(|call| call.session.id) else { return };
        self.decide_transfer(now, session, false);
    }

    /// The target rings.
    pub(crate) fn referral_rings(&mut self, now: Now, key: Key, status: u16, phrase: &str) {
        self.tell_referrer(now, key, status, phrase);
    }

    /// The target has answered.
    pub(crate) fn referral_answered(&mut self, now: Now, key: Key, new: Key) {
        let Some(referral) = self.referral(key) else { return };
        (referral.answered, referral.new) = (true, None);
        if let Some(call) = self.calls.get_mut(new) {
            call.link = Link::None;
        }
        self.take_over(now, key, new);
        self.tell_referrer(now, key, StatusCode::OK.as_u16(), StatusCode::OK.reason());
        self.end_referred(now, key);
    }

    /// The session to the target has ended before it was answered.
    pub(crate) fn referral_ended(&mut self, now: Now, key: Key, call: &Call) {
        let (status, phrase) = match call.session.end().map(|end| &end.cause) {
            Some(EndCause::Rejected { status, reason, .. }) => (*status, reason.clone()),
            Some(EndCause::Failed { status: Some(status), .. }) => (*status, String::new()),
            Some(EndCause::Failed { .. }) => (StatusCode::SERVICE_UNAVAILABLE.as_u16(), String::new()),
            _ => (StatusCode::REQUEST_TERMINATED.as_u16(), String::new()),
        };
        let known = StatusCode::new(status).map_or("", StatusCode::reason);
        self.referral_failed(now, key, status, if phrase.is_empty() { known } else { &phrase });
    }

    /// The call stays as it was.
    fn referral_failed(&mut self, now: Now, key: Key, status: u16, phrase: &str) {
        let Some(referral) = self.referral(key) else { return };
        referral.new = None;
        let held = referral.held;
        self.tell_referrer(now, key, status, phrase);
        self.change(key, if held { Change::KeepHeld } else { Change::Keep });
        self.end_referred(now, key);
        self.pass_hold(now, key);
    }

    /// A NOTIFY, now or when the one under way has been answered; what comes meanwhile replaces what waits.
    fn tell_referrer(&mut self, now: Now, key: Key, status: u16, phrase: &str) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(ua) = call.ua else { return };
        let Some(Transfer::Wanted(referral)) = call.transfer.as_deref_mut() else { return };
        if referral.quiet {
            return;
        }
        if referral.in_flight.is_some() {
            referral.due = Some((status, phrase.to_owned()));
            return;
        }
        let event = referral.id.map_or_else(|| "refer".to_owned(), |id| format!("refer;id={id}"));
        let state = match status {
            100..200 => format!("active;expires={EXPIRES}"),
            _ => "terminated;reason=noresource".to_owned(),
        };
        let headers = vec![
            (HeaderName::Event.as_str().to_owned(), event),
            (HeaderName::SubscriptionState.as_str().to_owned(), state),
        ];
        let body = Body { content_type: SIPFRAG.into(), bytes: fragment(status, phrase).into() };
        match self.ua.request(now, ua, Method::Notify, headers, Some(body)) {
            Ok(request) => {
                referral.in_flight = Some(request);
                referral.told = (status, phrase.to_owned());
            }
            Err(error) => {
                referral.quiet = true;
                tracing::info!(target: "ringback.session", call_id = self.call_id(key), "no NOTIFY: {error}");
            }
        }
    }

    /// The final response to a NOTIFY of ours. False: it was none.
    pub(crate) fn referrer_told(
        &mut self,
        now: Now,
        key: Key,
        request: RequestKey,
        response: &Result<Message, FailCause>,
    ) -> bool {
        let Some(referral) = self.referral(key).filter(|referral| referral.in_flight == Some(request)) else {
            return false;
        };
        referral.in_flight = None;
        let status = response.as_ref().ok().and_then(Message::status).map(StatusCode::as_u16);
        match status {
            Some(200..300) => referral.refused = 0,
            // RFC 5057 §5.1: these are about the request, not the subscription. Another request of the dialog may have overtaken it (RFC 3261
            // §12.2.2 has it refused with 500 then), and the outcome must not be lost by that.
            Some(491 | 500) if referral.refused < TOLD_MOST => {
                referral.refused += 1;
                let told = referral.told.clone();
                referral.due.get_or_insert(told);
            }
            // RFC 6665 §4.2.2: a subscription whose NOTIFY fails is gone.
            _ => {
                referral.quiet = true;
                referral.due = None;
            }
        }
        if let Some((status, phrase)) = referral.due.take() {
            self.tell_referrer(now, key, status, &phrase);
        }
        self.end_referred(now, key);
        true
    }

    /// All has been told: the call is over, or what it was.
    fn end_referred(&mut self, now: Now, key: Key) {
        let Some(referral) = self.referral(key) else { return };
        if referral.in_flight.is_some() || referral.new.is_some() || referral.request.is_some() {
            return;
        }
        let answered = referral.answered;
        self.take_transfer(key);
        if answered {
            self.finish(now, key, Ending::hung_up(TRANSFERRED));
        }
    }

    /// The call that was referred has ended while its target rings: most peers hang up at once. The other leg waits for the target.
    pub(crate) fn referrer_gone(&mut self, now: Now, call: &mut Call) {
        let Some(Transfer::Wanted(referral)) = call.transfer.take().map(|transfer| *transfer) else { return };
        let Some(new) = referral.new else { return };
        self.unlink(new);
        match call.link {
            Link::Peer(other) if self.calls.get(other).is_some() => {
                call.link = Link::None;
                self.link_peers(other, new);
                for (key, peer) in [(other, new), (new, other)] {
                    if let Some(call) = self.calls.get_mut(key) {
                        call.link = Link::Peer(peer);
                    }
                }
            }
            // Nobody is left whom the target could talk to.
            _ if referral.linked => self.hang_up(now, new, None),
            _ => {}
        }
    }
}
