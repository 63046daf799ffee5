//! The end of a call: the one place where a session becomes final. In this order: out of the tables, final for every reader, out of
//! lists and counters, waiting commands answered, events made, said to the peer, media released, and then the calls that hang
//! together with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ringback_sip::{HeaderName, Message, Reason, StatusCode, is_valid_header_text};
use ringback_time::Now;
use ringback_ua::{CancelReason, Reply as Answer};

use crate::api::{End, EndCause, Error, Event, Reply};
use crate::call::{Call, Ending, Link, MediaReply, Stage, Transfer, Wire};
use crate::engine::Engine;
use crate::states::{self, Change};
use crate::table::Key;

impl Ending {
    /// Refused with a final response, by us.
    pub(crate) fn refused(status: StatusCode, phrase: Option<String>, headers: Vec<(String, String)>) -> Ending {
        let reason = phrase.clone().unwrap_or_else(|| status.reason().to_owned());
        Ending {
            change: Change::Reject,
            reason: rejected(status.as_u16(), &reason),
            cause: EndCause::Rejected { status: status.as_u16(), reason, targets: Vec::new() },
            wire: Wire::HangUp { reason: None, status, phrase, headers },
            over: false,
            remote_reason: None,
        }
    }

    /// Given up by us before an answer of the peer.
    pub(crate) fn cancelled(reason: impl Into<String>) -> Ending {
        Ending {
            change: Change::Cancel,
            reason: reason.into(),
            cause: EndCause::Cancelled,
            wire: Wire::hang_up(None),
            over: false,
            remote_reason: None,
        }
    }

    /// An answered call, ended by us.
    pub(crate) fn hung_up(reason: impl Into<String>) -> Ending {
        Ending {
            change: Change::Terminate,
            reason: reason.into(),
            cause: EndCause::Normal,
            wire: Wire::hang_up(None),
            over: false,
            remote_reason: None,
        }
    }

    /// Failed; what is left of the call is told so.
    pub(crate) fn failed(status: Option<u16>, cause: impl Into<String>) -> Ending {
        let cause = cause.into();
        Ending {
            change: Change::Fail,
            reason: format!("failed: {cause}"),
            cause: EndCause::Failed { status, cause },
            wire: Wire::HangUp {
                reason: None,
                status: StatusCode::SERVER_INTERNAL_ERROR,
                phrase: None,
                headers: Vec::new(),
            },
            over: true,
            remote_reason: None,
        }
    }

    /// The same, where nothing is left to be said.
    pub(crate) fn silent(self) -> Ending {
        Ending { wire: Wire::Nothing, ..self }
    }

    pub(crate) fn over(self, over: bool) -> Ending {
        Ending { over, ..self }
    }

    /// It was `message`, of the peer, that ended the call.
    pub(crate) fn told_by(self, message: &Message) -> Ending {
        Ending { remote_reason: reason_of(message), ..self }
    }

    /// The same, where something is to be said: with that Reason header.
    pub(crate) fn because(self, reason: Option<String>) -> Ending {
        Ending { wire: Wire::hang_up(reason), ..self }
    }
}

impl Wire {
    pub(crate) fn hang_up(reason: Option<String>) -> Wire {
        Wire::HangUp { reason, status: StatusCode::DECLINE, phrase: None, headers: Vec::new() }
    }
}

/// How `end_reason` names a final response.
pub(crate) fn rejected(status: u16, reason: &str) -> String {
    if reason.is_empty() { format!("rejected {status}") } else { format!("rejected {status} {reason}") }
}

/// RFC 3326 §3.1: why telephones that ring are cancelled when another has answered.
pub(crate) const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// Octets of the Reason header fields of one message that are kept.
const REASON_MOST: usize = 1024;

/// What a message says of why it was sent, as far as it can be read and said again.
pub(crate) fn reason_of(message: &Message) -> Option<Box<str>> {
    let mut out = String::new();
    for value in message.headers().values(&HeaderName::Reason) {
        let fits = out.len() + value.len() + 2 <= REASON_MOST;
        if fits && Reason::parse(value).is_some() && is_valid_header_text("Reason", value) {
            if !out.is_empty() {
                out.push_str(", ");
            }
            out.push_str(value);
        }
    }
    (!out.is_empty()).then(|| out.into())
}

/// What the peer of an ended call has said of why, for the peer of the other leg.
pub(crate) fn reason_to_pass(call: &Call) -> Option<String> {
    call.session.end().and_then(|end| end.remote_reason.as_deref()).map(str::to_owned)
}

/// RFC 3326: why we end a call that nobody refuses.
fn reason_header(text: &str) -> String {
    let mut header = String::with_capacity(text.len() + 24);
    header.push_str("Q.850;cause=16;text=\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            header.push('\\');
        }
        header.push(c);
    }
    header.push('"');
    header
}

impl Engine {
    /// Ends a call, once; nothing where it is gone already.
    pub(crate) fn finish(&mut self, now: Now, key: Key, ending: Ending) {
        let Some(mut call) = self.calls.remove(key) else { return };
        let Ending { change, reason, cause, wire, over, remote_reason } = ending;
        self.timers.clear_all(key, &mut call.timers);
        if let Some(ua) = call.ua {
            self.by_ua.remove(&ua);
        }
        if !self.forwarded.is_empty() {
            self.forwarded.remove(&call.session.call_id);
        }
        self.forget_location(key);

        let old = call.session.state();
        let new = states::last(old, change);
        if let Some(dialog) = call.ua.and_then(|ua| self.ua.dialog_id(ua)) {
            self.ended_dialogs.remember(now.mono, &dialog);
        }
        call.session.finish(new, End { reason, cause, at: now.wall, remote_reason });
        self.retire(now, call.session.id);
        self.notifier.sees(&call.session);
        let reason = call.session.end().map_or("", |end| end.reason.as_str());
        tracing::debug!(
            target: "ringback.session", call_id = %call.session.call_id, session = %call.session.id, "{old} -> {new}: {reason}"
        );

        self.answer_waiting(&mut call);
        self.report_end(&call, old, over);
        // From here on the call is over for everybody above, whatever a fault below leaves undone.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.drop_branches(now, &mut call, &wire);
            self.say_goodbye(now, &call, wire);
            self.leave_bridge(key, &mut call);
            // What comes in and is refused has told its peer nothing.
            let silent = matches!(call.stage, Stage::Undecided | Stage::Deferred | Stage::Forwarding)
                && call.media.early.is_none()
                && call.media.generated.is_none();
            self.close_media(now, &mut call.media, !silent);
        }));
        self.counters.panics += u64::from(outcome.is_err());
        self.end_linked(now, key, call);
    }

    fn say_goodbye(&mut self, now: Now, call: &Call, wire: Wire) {
        let Some(ua) = call.ua else { return };
        if let Wire::HangUp { reason, status, phrase, headers } = wire {
            match call.stage {
                Stage::Undecided | Stage::Deferred | Stage::Forwarding => {
                    let answer = Answer { status, reason: phrase, headers, body: None };
                    if let Err(error) = self.ua.respond(now, ua, answer) {
                        tracing::warn!(target: "ringback.session", call_id = %call.session.call_id, "no final response: {error}");
                    }
                }
                Stage::Prepared | Stage::HeldBack | Stage::Locating => {}
                Stage::Calling => {
                    self.ua.cancel(now, ua, reason.map(CancelReason));
                }
                Stage::AwaitingAck | Stage::Confirmed => {
                    self.ua.bye(now, ua, reason);
                }
            }
        }
        self.ua.drop_call(now, ua);
    }

    /// Every command that waited for this call is answered now.
    fn answer_waiting(&mut self, call: &mut Call) {
        let ended = || Error::Ended(call.session.end().map_or_else(String::new, |end| end.reason.clone()));
        let mut tokens: Vec<(ringback_media_api::Token, Result<Reply, Error>)> = Vec::new();
        if let Some(reinvite) = call.reinvite.take() {
            tokens.push((reinvite.token, Err(ended())));
        }
        if let Some(Transfer::Asked(asked)) = call.transfer.as_deref() {
            let cause = format!(
                "the call ended before an outcome was told: {}",
                call.session.end().map_or("", |end| &end.reason)
            );
            tokens.push((asked.token(), Err(Error::Transfer { status: None, cause })));
        }
        if let Some(postponed) = call.postponed.take() {
            tokens.push((postponed.token, Err(ended())));
        }
        if let Some(outgoing) = call.outgoing.as_mut() {
            tokens.extend(outgoing.offers.drain(..).map(|token| (token, Err(ended()))));
        }
        // The leg knows how far it came, and says so when it is closed. A stop does not wait for it.
        if let Some(leg) = call.media.leg().filter(|_| !self.stop.is_stopping())
            && let Some(token) = call.digits.take_given()
        {
            self.last_digits.insert(leg, (token, ended()));
        }
        tokens.extend(call.digits.drain().map(|token| (token, Err(ended()))));
        for collector in call.collecting.drain(..) {
            tokens.push((collector.token, Ok(Reply::Text(collector.digits))));
        }
        for (token, wait) in call.waiting.drain(..) {
            tokens.push((
                token,
                match wait {
                    MediaReply::Played => Err(ended()),
                    MediaReply::Statistics => Ok(Reply::Statistics(None)),
                },
            ));
        }
        for (token, result) in tokens {
            self.complete(token, result);
        }
    }

    fn report_end(&mut self, call: &Call, old: crate::api::State, over: bool) {
        let session = &call.session;
        // Its end would be the first that the program hears of it.
        if let Some(arrival) = call.arrival.as_ref().filter(|arrival| arrival.is_asked_for())
            && self.config.origin == crate::api::Origin::Ask
        {
            self.emit(arrival.event(call));
        }
        if over && call.stage.is_decidable() && self.config.origin == crate::api::Origin::Ask {
            self.emit(Event::IncomingOver { session: Arc::clone(session) });
        }
        if self.config.interest.state_changed {
            self.emit(Event::StateChanged { session: Arc::clone(session), old, new: session.state() });
        }
        if self.config.interest.ended || session.is_watched() {
            self.emit(Event::Ended { session: Arc::clone(session) });
        }
    }

    /// What hangs together with an ended call follows it.
    fn end_linked(&mut self, now: Now, key: Key, mut call: Box<Call>) {
        self.referrer_gone(now, &mut call);
        match std::mem::replace(&mut call.link, Link::None) {
            Link::None => {}
            Link::Caller(forward) => {
                // "Call completed elsewhere" above all: else the targets have missed a call.
                for leg in forward.legs {
                    self.unlink(leg);
                    self.finish(now, leg, Ending::cancelled("cancelled").because(reason_to_pass(&call)));
                }
            }
            Link::Target(caller) => self.target_ended(now, caller, key, &call),
            Link::Referral(referred) => self.referral_ended(now, referred, &call),
            Link::Peer(other) => {
                self.unlink(other);
                if self.calls.get(other).is_some_and(|call| !call.stage.is_answered()) {
                    return self.hang_up(now, other, None);
                }
                let reason = match call.session.end().map(|end| end.reason.as_str()) {
                    Some("timeout") => "timeout",
                    _ => "hangup",
                };
                self.finish(now, other, Ending::hung_up(reason).because(reason_to_pass(&call)));
            }
        }
    }

    pub(crate) fn unlink(&mut self, key: Key) {
        if let Some(call) = self.calls.get_mut(key) {
            call.link = Link::None;
        }
    }

    /// A step of a live call through the table of states.
    pub(crate) fn change(&mut self, key: Key, change: Change) {
        let Some(call) = self.calls.get(key) else { return };
        let old = call.session.state();
        let Some(new) = states::next(old, change) else {
            tracing::error!(target: "ringback.session", call_id = %call.session.call_id, "{change:?} does not fit a call that is {old}");
            return;
        };
        if old == new {
            return;
        }
        call.session.set_state(new);
        self.notifier.sees(&call.session);
        tracing::debug!(target: "ringback.session", call_id = %call.session.call_id, session = %call.session.id, "{old} -> {new}");
        if self.config.interest.state_changed {
            let session = Arc::clone(&call.session);
            self.emit(Event::StateChanged { session, old, new });
        }
    }

    /// Ends the call in whose work a panic was caught.
    pub(crate) fn fail_inside(&mut self, now: Now, key: Key) {
        self.finish(now, key, Ending::failed(Some(500), "internal error"));
    }

    /// `Timer::Life`: the longest life of a call is over.
    pub(crate) fn lived(&mut self, now: Now, key: Key) {
        self.finish(now, key, Ending::hung_up("timeout"));
    }

    /// `Command::Hangup`. The reason, where the program gives one, is `end_reason` and goes into a Reason header (RFC 3326); for an
    /// incoming call that is not answered it is the phrase of the 603.
    pub(crate) fn hang_up(&mut self, now: Now, key: Key, reason: Option<String>) {
        let Some(call) = self.calls.get(key) else { return };
        let ending = match call.stage {
            Stage::Undecided | Stage::Deferred | Stage::Forwarding => {
                Ending::refused(StatusCode::DECLINE, reason, Vec::new())
            }
            Stage::Prepared | Stage::HeldBack | Stage::Locating | Stage::Calling => Ending {
                wire: Wire::hang_up(reason.as_deref().map(reason_header)),
                ..Ending::cancelled(reason.unwrap_or_else(|| "cancelled".into()))
            },
            Stage::AwaitingAck | Stage::Confirmed => Ending {
                wire: Wire::hang_up(reason.as_deref().map(reason_header)),
                ..Ending::hung_up(reason.unwrap_or_else(|| "hangup".into()))
            },
        };
        self.finish(now, key, ending);
    }
}
