//! Transfers that we ask for: a REFER in the call, and its implicit subscription followed to the end (RFC 3515, RFC 5589).
//!
//! Invariant: a call with `Transfer::Asked` is TRANSFERRING; it leaves that state by its end, which a transfer that succeeds is, or as it
//! was before. Each wait has a deadline (`Timer::Ring`, or the transaction's own).

use std::time::Duration;

use ringback_media_api::Token;
use ringback_sip::{HeaderName, Message, Method, NameAddr, StatusCode, Uri};
use ringback_time::Now;
use ringback_ua::{FailCause, Reply as Answer, RequestKey};

use crate::api::{Error, Reply, SessionId, State, TransferTarget};
use crate::call::{Ending, Transfer};
use crate::commands;
use crate::decide::ua_error;
use crate::engine::Engine;
use crate::outgoing::{parse_address, status_line};
use crate::package::{StateOf, event_of, fragment_status, state_of};
use crate::replaces;
use crate::states::Change;
use crate::table::Key;
use crate::timers::Timer;

/// A referral is followed so long after its last word (RFC 3261 Timer C is "more than three minutes").
const SILENCE_MOST: Duration = Duration::from_secs(200);
/// The replaced call of an attended transfer is ended by the transfer target (RFC 5589 §7.3), by us after this.
const REPLACED_AFTER: Duration = Duration::from_secs(5);
/// `end_reason` of a call whose peer talks to somebody else now.
pub(crate) const TRANSFERRED: &str = "transferred";

/// A REFER of ours.
#[derive(Debug)]
pub(crate) struct Asked {
    token: Token,
    /// Until its final response.
    request: Option<RequestKey>,
    cseq: Option<u32>,
    /// The call that is to be replaced.
    other: Option<SessionId>,
    /// The call was on hold.
    pub(crate) held: bool,
    /// A NOTIFY has come, and armed the timer; it may overtake the response.
    notified: bool,
}

impl Asked {
    pub(crate) const fn token(&self) -> Token {
        self.token
    }
}

impl Engine {
    /// `Command::Transfer`.
    pub(crate) fn transfer(
        &mut self,
        now: Now,
        session: SessionId,
        token: Token,
        target: TransferTarget,
    ) -> commands::Answer {
        const WHAT: &str = "a transfer";
        let key = self.at(session, WHAT)?;
        if !self.is_up(key) {
            return Err(self.unfit(key, WHAT));
        }
        let busy = self.calls.get(key).is_some_and(|call| call.transfer.is_some() || call.reinvite.is_some());
        if busy {
            return Err(self.unfit(key, "a transfer while another operation is under way"));
        }
        let (refer_to, other) = match target {
            TransferTarget::Uri(uri) => (parse_address(&uri)?.to_string(), None),
            TransferTarget::Session(other) => (self.refer_to_session(key, other)?, Some(other)),
        };
        let Some(call) = self.calls.get(key) else { return Ok(Some(Reply::Unit)) };
        let Some(ua) = call.ua else { return Ok(Some(Reply::Unit)) };
        let headers = vec![
            (HeaderName::ReferTo.as_str().to_owned(), refer_to),
            // RFC 3892.
            (HeaderName::ReferredBy.as_str().to_owned(), format!("<{}>", call.session.local_uri())),
        ];
        let request = self.ua.request(now, ua, Method::Refer, headers, None);
        let request = request.map_err(|error| ua_error(error, State::Active))?;
        let cseq = self.ua.request_cseq(request);
        if let Some(call) = self.calls.get_mut(key) {
            let held = call.session.state() == State::OnHold;
            call.transfer = Some(Box::new(Transfer::Asked(Asked {
                token,
                request: Some(request),
                cseq,
                other,
                held,
                notified: false,
            })));
        }
        self.change(key, Change::Transfer);
        Ok(None)
    }

    /// Where the peer of another call of ours is, with the header that replaces it there: RFC 5589 §7, RFC 3891.
    fn refer_to_session(&mut self, key: Key, other: SessionId) -> Result<String, Error> {
        const WHAT: &str = "being the target of a transfer";
        let other = self.find(other, WHAT)?;
        if other == key {
            return Err(Error::BadValue("a call is not transferred to itself".into()));
        }
        if !self.is_up(other) {
            return Err(self.unfit(other, WHAT));
        }
        let ua = self.calls.get(other).and_then(|call| call.ua);
        let dialog = ua.and_then(|ua| self.ua.dialog_id(ua));
        let target = ua.and_then(|ua| self.ua.remote_target(ua)).and_then(|target| Uri::parse(target).ok());
        let (Some(dialog), Some(target)) = (dialog, target) else { return Err(self.unfit(other, WHAT)) };
        Ok(format!("<{}?Replaces={}>", target.request_uri(), replaces::escaped(&dialog)))
    }

    fn asked_of(&mut self, key: Key) -> Option<&mut Asked> {
        match self.calls.get_mut(key)?.transfer.as_deref_mut()? {
            Transfer::Asked(asked) => Some(asked),
            _ => None,
        }
    }

    /// The final response to a REFER of ours. False: it was none.
    pub(crate) fn refer_answered(
        &mut self,
        now: Now,
        key: Key,
        request: RequestKey,
        response: &Result<Message, FailCause>,
    ) -> bool {
        let patience = self.config.t1 * 64;
        let Some(asked) = self.asked_of(key).filter(|asked| asked.request == Some(request)) else { return false };
        asked.request = None;
        // It may have got another number on the way, with credentials or because another request had overtaken it.
        if let Some(cseq) = response.as_ref().ok().and_then(|response| response.cseq().ok()) {
            asked.cseq = Some(cseq.number);
        }
        match response {
            Ok(response) if response.status().is_some_and(StatusCode::is_success) => {
                // RFC 4488 §4: no subscription comes of it; that it was taken is all that will be said.
                let unsubscribed = response.headers().get(&HeaderName::ReferSub);
                if unsubscribed.is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("false")) {
                    self.transferred(now, key);
                } else if !asked.notified {
                    // RFC 6665 §4.1.2.4, timer N: a NOTIFY has to follow.
                    self.arm(key, Timer::Ring, now.mono + patience);
                }
            }
            Ok(response) => {
                let (status, phrase) = status_line(response);
                self.transfer_failed(now, key, Some(status), phrase);
            }
            Err(FailCause::Timeout) => self.transfer_failed(now, key, Some(408), FailCause::Timeout.to_string()),
            Err(cause) => self.transfer_failed(now, key, None, cause.to_string()),
        }
        true
    }

    /// NOTIFY within a call: how a referral goes. RFC 3515 §2.4.4.
    pub(crate) fn refer_notified(&mut self, now: Now, key: Key, request_key: RequestKey, request: &Message) {
        let state = match self.check_notified(key, request) {
            Ok(state) => state,
            Err(answer) => return self.ua.answer_request(now, request_key, answer),
        };
        // First of all: what it says may end the call.
        self.ua.answer_request(now, request_key, Answer::new(StatusCode::OK));
        match fragment_status(&request.body()) {
            Some((status, _)) if (200..300).contains(&status) => self.transferred(now, key),
            Some((status, phrase)) if status >= 300 => self.transfer_failed(now, key, Some(status), phrase),
            _ if state.is_terminated() => {
                let reason = state.reason.unwrap_or_else(|| "the subscription ended".into());
                self.transfer_failed(now, key, None, format!("no outcome was told: {reason}"));
            }
            _ => {
                let wait = state.expires.unwrap_or(SILENCE_MOST).min(SILENCE_MOST);
                self.arm(key, Timer::Ring, now.mono + wait.max(self.config.t1));
            }
        }
    }

    fn check_notified(&mut self, key: Key, request: &Message) -> Result<StateOf, Answer> {
        let event = event_of(request).filter(|event| event.package.eq_ignore_ascii_case("refer"));
        let Some(event) = event else {
            let headers = vec![(HeaderName::AllowEvents.as_str().to_owned(), "refer".to_owned())];
            return Err(Answer { headers, ..Answer::new(StatusCode::BAD_EVENT) });
        };
        let gone = || Answer::new(StatusCode::CALL_DOES_NOT_EXIST);
        let pending = self.asked_of(key).ok_or_else(gone)?.request;
        let number = pending.and_then(|request| self.ua.request_cseq(request));
        let asked = self.asked_of(key).ok_or_else(gone)?;
        asked.cseq = number.or(asked.cseq);
        // §2.4.6: with an id, it is the REFER's sequence number.
        let other = |id: &str| id.parse::<u32>().ok() != asked.cseq;
        if asked.cseq.is_some() && event.id.is_some_and(other) {
            return Err(gone());
        }
        let state = state_of(request).ok_or_else(|| Answer::new(StatusCode::BAD_REQUEST))?;
        asked.notified = true;
        Ok(state)
    }

    /// The peer talks to somebody else: this call is over, and the one that was replaced will be.
    fn transferred(&mut self, now: Now, key: Key) {
        let Some(Transfer::Asked(asked)) = self.take_transfer(key) else { return };
        if let Some(other) = asked.other.and_then(|other| self.live(other))
            && let Some(call) = self.calls.get_mut(other)
            && call.transfer.is_none()
        {
            call.transfer = Some(Box::new(Transfer::Replaced));
            self.arm(other, Timer::Ring, now.mono + REPLACED_AFTER);
        }
        self.finish(now, key, Ending::hung_up(TRANSFERRED));
        self.complete(asked.token, Ok(Reply::Unit));
    }

    /// The peer hangs up before it has told an outcome. One that has taken the REFER is where it was sent, as far as can be known: many
    /// telephones hang up right after the 202, and the BYE overtakes a last NOTIFY that was lost. RFC 5589 §6.1 has a transferee whose
    /// attempt fails say so and stay; what it says in the same breath as its BYE comes to a dialog that is gone. A call that was to be
    /// replaced is left to the target (§7.3), for it may be that nobody took its place. The token is to be completed.
    pub(crate) fn transferee_left(&mut self, key: Key) -> Token {
        let taken = self.asked_of(key).is_some_and(|asked| asked.request.is_none() || asked.notified);
        match taken.then(|| self.take_transfer(key)).flatten() {
            Some(Transfer::Asked(asked)) => asked.token,
            _ => Token::default(),
        }
    }

    fn transfer_failed(&mut self, now: Now, key: Key, status: Option<u16>, cause: String) {
        let Some(Transfer::Asked(asked)) = self.take_transfer(key) else { return };
        self.disarm(key, Timer::Ring);
        self.change(key, if asked.held { Change::KeepHeld } else { Change::Keep });
        self.complete(asked.token, Err(Error::Transfer { status, cause }));
        // What the other leg's peer has done meanwhile.
        self.pass_hold(now, key);
    }

    pub(crate) fn take_transfer(&mut self, key: Key) -> Option<Transfer> {
        self.calls.get_mut(key)?.transfer.take().map(|transfer| *transfer)
    }

    /// `Timer::Ring` of an answered call.
    pub(crate) fn transfer_overdue(&mut self, now: Now, key: Key) {
        match self.calls.get(key).and_then(|call| call.transfer.as_deref()) {
            Some(Transfer::Asked(_)) => self.transfer_failed(now, key, Some(408), "no outcome was told".into()),
            Some(Transfer::Wanted(_)) => self.referral_undecided(now, key),
            Some(Transfer::Replaced) => self.finish(now, key, Ending::hung_up(TRANSFERRED)),
            Some(Transfer::Joins(_)) | None => {}
        }
    }
}

/// The URI of a Refer-To, and what it wants to be in the request's headers.
pub(crate) fn refer_to(request: &Message) -> Option<NameAddr> {
    let mut values = request.headers().get_all(&HeaderName::ReferTo);
    // RFC 3515 §2.1: exactly one.
    let value = values.next().filter(|_| values.next().is_none())?;
    NameAddr::parse(value).ok()
}
