//! Subscriptions of ours (RFC 6665 §4.1): made, refreshed before they expire, made anew where the notifier has lost them, ended.
//!
//! Invariant: a subscription's deadline is in `Subscriptions::deadlines` exactly when `at` has it, and each state that waits for a peer
//! has one. `SubscriptionOver` is the last that is told of one, once.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use ringback_media_api::Token;
use ringback_sip::{HeaderName, Message, Method, NameAddr, StatusCode};
use ringback_time::{Mono, Now};
use ringback_ua::{FailCause, Reply as Answer, Request, RequestKey, StandaloneKey, UsageKey};

use crate::api::{Error, Event, Reply, State};
use crate::commands;
use crate::decide::ua_error;
use crate::engine::Engine;
use crate::limits;
use crate::outgoing::{MAX_FORWARDS, check_target, contacts, parse_address, status_line};
use crate::package::{event_of, state_of};

/// Refreshed so long before the end, or at half of the time where that is less.
const AHEAD: Duration = Duration::from_secs(40);
/// Without a Retry-After a subscription that was refused or lost is made anew after this.
const LATER: Duration = Duration::from_secs(30);
/// Longest that a Retry-After is obeyed, and that a subscription lasts.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How often a subscription is made anew without a NOTIFY between.
const TRIES_MOST: u8 = 8;

/// What its deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// RFC 6665 §4.1.2.4, timer N: no NOTIFY came.
    Notify,
    Refresh,
    /// It is to be made anew.
    Anew,
    /// It was ended by us, and the notifier's last word has not come.
    Gone,
}

#[derive(Debug)]
struct Subscription {
    from: NameAddr,
    to: NameAddr,
    event: String,
    expires: Duration,
    usage: Option<UsageKey>,
    /// The SUBSCRIBE that makes the dialog, without a final response.
    first: Option<StandaloneKey>,
    request: Option<RequestKey>,
    /// Whoever waits for it to be there.
    token: Token,
    notified: bool,
    tries: u8,
    /// The program has ended it.
    leaving: bool,
    at: Option<Mono>,
    due: Due,
    expires_at: Mono,
}

#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    last: u64,
    all: HashMap<u64, Subscription, foldhash::fast::RandomState>,
    by_usage: HashMap<UsageKey, u64, foldhash::fast::RandomState>,
    by_request: HashMap<StandaloneKey, u64, foldhash::fast::RandomState>,
    deadlines: BTreeSet<(Mono, u64)>,
}

impl Subscriptions {
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.by_usage.is_empty() && self.by_request.is_empty() && self.deadlines.is_empty()
    }

    pub(crate) fn has_request(&self, key: StandaloneKey) -> bool {
        self.by_request.contains_key(&key)
    }

    pub(crate) fn has_usage(&self, usage: UsageKey) -> bool {
        self.by_usage.contains_key(&usage)
    }

    fn wait(&mut self, id: u64, due: Due, at: Mono) {
        let Some(subscription) = self.all.get_mut(&id) else { return };
        if let Some(before) = subscription.at.replace(at) {
            self.deadlines.remove(&(before, id));
        }
        subscription.due = due;
        self.deadlines.insert((at, id));
    }
}

/// What is accepted in NOTIFYs of the packages that are known; of others whatever comes.
fn accept(event: &str) -> Option<&'static str> {
    match event {
        "message-summary" => Some("application/simple-message-summary"),
        "dialog" => Some("application/dialog-info+xml"),
        "presence" => Some("application/pidf+xml"),
        _ => None,
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&c))
}

fn seconds(message: &Message, name: &HeaderName) -> Option<Duration> {
    let value = message.headers().get(name)?;
    let digits = value.trim_start().split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()).min(LONGEST))
}

impl Engine {
    /// `Command::Subscribe`.
    pub(crate) fn subscribe(
        &mut self,
        now: Now,
        token: Token,
        from: &str,
        to: &str,
        event: String,
        expires: Duration,
    ) -> commands::Answer {
        if self.stop.is_stopping() {
            return Err(Error::NotRunning);
        }
        if self.subscriptions.all.len() >= limits::SUBSCRIPTIONS_MOST {
            return Err(Error::ResourceExhausted("Too many subscriptions"));
        }
        let from = self.with_user(parse_address(from)?);
        let to = parse_address(to)?;
        check_target(&to.uri, &self.config.transports)?;
        if !is_token(&event) {
            return Err(Error::BadValue(format!("event {event:?}: the name of an event package")));
        }
        if expires < Duration::from_secs(1) {
            return Err(Error::BadValue("expires: a second at least".into()));
        }
        self.subscriptions.last += 1;
        let id = self.subscriptions.last;
        let subscription = Subscription {
            from,
            to,
            event,
            expires: expires.min(LONGEST),
            usage: None,
            first: None,
            request: None,
            token,
            notified: false,
            tries: 0,
            leaving: false,
            at: None,
            due: Due::Anew,
            expires_at: now.mono,
        };
        self.subscriptions.all.insert(id, subscription);
        if let Err(error) = self.subscribe_anew(now, id) {
            self.forget_subscription(now, id);
            return Err(error);
        }
        Ok(None)
    }

    /// A SUBSCRIBE that makes a dialog of its own.
    fn subscribe_anew(&mut self, now: Now, id: u64) -> Result<(), Error> {
        self.leave_usage(now, id);
        let call_id = self.ua.new_call_id();
        let Some(subscription) = self.subscriptions.all.get_mut(&id) else { return Ok(()) };
        subscription.tries += 1;
        subscription.notified = false;
        let mut headers = vec![
            (HeaderName::Event.as_str().to_owned(), subscription.event.clone()),
            (HeaderName::Expires.as_str().to_owned(), subscription.expires.as_secs().to_string()),
        ];
        if let Some(accept) = accept(&subscription.event) {
            headers.push((HeaderName::Accept.as_str().to_owned(), accept.to_owned()));
        }
        let mut request = Request {
            method: Method::Subscribe,
            request_uri: subscription.to.uri.request_uri(),
            from: subscription.from.clone(),
            to: subscription.to.clone(),
            call_id,
            cseq: 1,
            headers,
            contact: true,
            contact_form: None,
            body: None,
            max_forwards: MAX_FORWARDS,
            flow: None,
            give_up_after: None,
            credentials: None,
        };
        self.as_account(&mut request);
        let (usage, first) = self.ua.subscribe(now, request).map_err(|error| ua_error(error, State::Initiating))?;
        let Some(subscription) = self.subscriptions.all.get_mut(&id) else { return Ok(()) };
        (subscription.usage, subscription.first) = (Some(usage), Some(first));
        self.subscriptions.by_usage.insert(usage, id);
        self.subscriptions.by_request.insert(first, id);
        // Whatever becomes of the request: timer F, then timer N.
        self.subscriptions.wait(id, Due::Notify, now.mono + self.config.t1 * 128);
        Ok(())
    }

    fn leave_usage(&mut self, now: Now, id: u64) {
        let Some(subscription) = self.subscriptions.all.get_mut(&id) else { return };
        subscription.request = None;
        let (usage, first) = (subscription.usage.take(), subscription.first.take());
        if let Some(first) = first {
            self.subscriptions.by_request.remove(&first);
            self.ua.forget(now, first);
        }
        if let Some(usage) = usage {
            self.subscriptions.by_usage.remove(&usage);
            self.ua.close_usage(now, usage);
        }
    }

    fn forget_subscription(&mut self, now: Now, id: u64) -> Option<Subscription> {
        self.leave_usage(now, id);
        let subscription = self.subscriptions.all.remove(&id)?;
        if let Some(at) = subscription.at {
            self.subscriptions.deadlines.remove(&(at, id));
        }
        Some(subscription)
    }

    /// The end of a subscription: `error` for whoever still waits for its beginning.
    fn end_subscription(&mut self, now: Now, id: u64, error: Error) {
        let Some(subscription) = self.forget_subscription(now, id) else { return };
        if subscription.token != Token::default() {
            self.complete(subscription.token, Err(error));
        } else if !subscription.leaving {
            self.emit(Event::SubscriptionOver { subscription: id });
        }
    }

    /// It is there.
    fn subscription_begun(&mut self, id: u64) {
        let Some(subscription) = self.subscriptions.all.get_mut(&id) else { return };
        let token = std::mem::take(&mut subscription.token);
        self.complete(token, Ok(Reply::Subscription(id)));
    }

    /// When it is refreshed, for a life of `expires` from now.
    fn schedule_refresh(&mut self, now: Now, id: u64, expires: Duration) {
        let Some(subscription) = self.subscriptions.all.get_mut(&id) else { return };
        subscription.expires_at = now.mono + expires;
        if subscription.leaving {
            return;
        }
        let ahead = AHEAD.min(expires / 2);
        let refresh = now.mono + (expires - ahead);
        let (due, at) = match subscription.notified {
            true => (Due::Refresh, refresh),
            // A refresh needs the dialog of the first NOTIFY.
            false => (Due::Notify, now.mono + self.config.t1 * 64),
        };
        self.subscriptions.wait(id, due, at);
    }

    fn retry_later(&mut self, now: Now, id: u64, after: Option<Duration>, error: Error) {
        let Some(subscription) = self.subscriptions.all.get(&id) else { return };
        let waited = subscription.token != Token::default();
        if waited || subscription.leaving || subscription.tries >= TRIES_MOST || self.stop.is_stopping() {
            return self.end_subscription(now, id, error);
        }
        self.leave_usage(now, id);
        self.subscriptions.wait(id, Due::Anew, now.mono + after.unwrap_or(LATER).min(LONGEST));
    }

    /// The final response to the SUBSCRIBE that makes the dialog.
    pub(crate) fn subscribe_answered(
        &mut self,
        now: Now,
        key: StandaloneKey,
        outcome: Result<ringback_ua::Answer, FailCause>,
    ) {
        let Some(id) = self.subscriptions.by_request.remove(&key) else { return };
        let Some(subscription) = self.subscriptions.all.get_mut(&id) else { return };
        subscription.first = None;
        let response = match outcome {
            Ok(answer) => answer.response,
            Err(FailCause::Timeout) => {
                let error = Error::Failed { status: Some(408), cause: FailCause::Timeout.to_string() };
                return self.retry_later(now, id, None, error);
            }
            Err(cause) => return self.retry_later(now, id, None, Error::Unreachable(cause.to_string())),
        };
        let (status, reason) = status_line(&response);
        if status / 100 == 2 {
            // RFC 6665 §4.1.2.1: it may be less than what was asked for.
            let granted = seconds(&response, &HeaderName::Expires).unwrap_or(subscription.expires);
            self.subscription_begun(id);
            // A NOTIFY may have come before, and said more.
            if self.subscriptions.all.get(&id).is_some_and(|subscription| !subscription.notified) {
                self.schedule_refresh(now, id, granted.max(Duration::from_secs(1)));
            }
            return;
        }
        // §4.1.2.1 and RFC 3261 §21.4.17.
        let wanted = seconds(&response, &HeaderName::MinExpires).filter(|least| *least > subscription.expires);
        if let (423, Some(least)) = (status, wanted) {
            subscription.expires = least;
            if let Err(error) = self.subscribe_anew(now, id) {
                self.end_subscription(now, id, error);
            }
            return;
        }
        let after = seconds(&response, &HeaderName::RetryAfter);
        let targets = if status / 100 == 3 { contacts(&response) } else { Vec::new() };
        let error = Error::Rejected { status, reason, targets };
        match (status, after) {
            // What may be different another time.
            (408 | 480 | 500..=599, _) | (_, Some(_)) => self.retry_later(now, id, after, error),
            _ => self.end_subscription(now, id, error),
        }
    }

    /// NOTIFY in the dialog of a subscription.
    pub(crate) fn notified(&mut self, now: Now, usage: UsageKey, key: RequestKey, request: &Message) {
        let Some(&id) = self.subscriptions.by_usage.get(&usage) else { return };
        let Some(subscription) = self.subscriptions.all.get_mut(&id) else { return };
        let known = event_of(request).is_some_and(|event| event.package.eq_ignore_ascii_case(&subscription.event));
        if request.method() != Some(&Method::Notify) || !known {
            return self.ua.answer_request(now, key, Answer::new(StatusCode::BAD_EVENT));
        }
        let Some(state) = state_of(request) else {
            return self.ua.answer_request(now, key, Answer::new(StatusCode::BAD_REQUEST));
        };
        self.ua.answer_request(now, key, Answer::new(StatusCode::OK));
        subscription.notified = true;
        subscription.tries = 0;
        let (leaving, event) = (subscription.leaving, subscription.event.clone());
        let left = subscription.expires_at.since(now.mono);
        let expires = state.expires.unwrap_or(if left.is_zero() { subscription.expires } else { left });
        // RFC 6665 §4.1.3: what may be had again, and when.
        let again = match state.reason.as_deref() {
            Some("deactivated" | "timeout") => Some(Duration::ZERO),
            Some("probation" | "giveup") => Some(state.retry_after.unwrap_or(LATER)),
            Some("rejected" | "noresource" | "invariant") => None,
            _ => Some(state.retry_after.unwrap_or(LATER)),
        };
        let over = state.is_terminated();
        let again = again.filter(|_| over && !leaving && !self.stop.is_stopping());
        self.subscription_begun(id);
        let body = request.body();
        let is_news = !body.is_empty() || again.is_none();
        if is_news && !leaving {
            self.emit(Event::Notification {
                subscription: id,
                event,
                content_type: request.content_type().filter(|_| !body.is_empty()).map(str::to_owned),
                body: String::from_utf8_lossy(&body).into_owned(),
                // Where it will be made anew, it is not over for the program.
                state: if again.is_some() { "pending".to_owned() } else { state.state },
            });
        }
        match (over, again) {
            (false, _) if leaving => {}
            (false, _) => self.schedule_refresh(now, id, expires.max(Duration::from_secs(1))),
            (true, Some(after)) => {
                self.leave_usage(now, id);
                self.subscriptions.wait(id, Due::Anew, now.mono + after.min(LONGEST));
            }
            (true, None) => self.end_subscription(now, id, Error::Ended("the subscription has ended".into())),
        }
    }

    /// The final response to a SUBSCRIBE of ours within the dialog.
    pub(crate) fn refresh_answered(
        &mut self,
        now: Now,
        usage: UsageKey,
        key: RequestKey,
        response: &Result<Message, FailCause>,
    ) {
        let Some(&id) = self.subscriptions.by_usage.get(&usage) else { return };
        let Some(subscription) = self.subscriptions.all.get_mut(&id) else { return };
        if subscription.request != Some(key) {
            return;
        }
        subscription.request = None;
        let status = response.as_ref().map_or(408, |response| status_line(response).0);
        if subscription.leaving {
            if status / 100 != 2 {
                self.forget_subscription(now, id);
            }
            return;
        }
        let header = |name| response.as_ref().ok().and_then(|response| seconds(response, &name));
        match status {
            200..=299 => {
                let granted = header(HeaderName::Expires).unwrap_or(subscription.expires);
                self.schedule_refresh(now, id, granted.max(Duration::from_secs(1)));
            }
            423 if header(HeaderName::MinExpires).is_some_and(|least| least > subscription.expires) => {
                subscription.expires = header(HeaderName::MinExpires).unwrap_or(subscription.expires);
                self.resubscribe(now, id);
            }
            // RFC 6665 §4.1.2.2: the notifier knows it no more.
            481 => self.subscriptions.wait(id, Due::Anew, now.mono),
            _ => {
                // It still lives as long as it did.
                let left = subscription.expires_at.since(now.mono);
                let after = header(HeaderName::RetryAfter);
                match after.unwrap_or(left / 2) {
                    after if after < left && left > Duration::from_secs(2) => {
                        self.subscriptions.wait(id, Due::Refresh, now.mono + after);
                    }
                    after => self.subscriptions.wait(id, Due::Anew, now.mono + after.max(left)),
                }
            }
        }
    }

    fn resubscribe(&mut self, now: Now, id: u64) {
        let Some(subscription) = self.subscriptions.all.get_mut(&id) else { return };
        let (Some(usage), None) = (subscription.usage, subscription.request) else { return };
        let expires = if subscription.leaving { Duration::ZERO } else { subscription.expires };
        let headers = [
            (HeaderName::Event.as_str().to_owned(), subscription.event.clone()),
            (HeaderName::Expires.as_str().to_owned(), expires.as_secs().to_string()),
        ];
        match self.ua.usage_request(now, usage, &Method::Subscribe, &headers, None) {
            Ok(request) => {
                subscription.request = Some(request);
                // The transaction has its own end; this one is for what must not happen.
                self.subscriptions.wait(id, Due::Gone, now.mono + self.config.t1 * 128);
            }
            Err(_) => self.subscriptions.wait(id, Due::Gone, now.mono),
        }
    }

    /// `Command::Unsubscribe`. Nothing more is told of it; the notifier is.
    pub(crate) fn unsubscribe(&mut self, now: Now, id: u64) {
        let Some(subscription) = self.subscriptions.all.get_mut(&id) else { return };
        if subscription.leaving {
            return;
        }
        subscription.leaving = true;
        subscription.request = None;
        let (notified, token) = (subscription.notified, std::mem::take(&mut subscription.token));
        self.complete(token, Err(Error::Ended("given up".into())));
        self.emit(Event::SubscriptionOver { subscription: id });
        if notified && self.subscriptions.all.get(&id).is_some_and(|subscription| subscription.usage.is_some()) {
            self.resubscribe(now, id);
        } else {
            // There is no dialog to say it in: the notifier's first NOTIFY gets 481, which ends it (RFC 6665 §4.2.2).
            self.forget_subscription(now, id);
        }
    }

    /// Everything whose time has come.
    pub(crate) fn subscriptions_due(&mut self, now: Now) {
        while let Some((at, id)) = self.subscriptions.deadlines.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.subscriptions.deadlines.remove(&(at, id));
            let Some(subscription) = self.subscriptions.all.get_mut(&id) else { continue };
            subscription.at = None;
            match subscription.due {
                Due::Notify => {
                    let error = Error::Failed { status: Some(408), cause: "no NOTIFY came".into() };
                    self.retry_later(now, id, None, error);
                }
                Due::Refresh => self.resubscribe(now, id),
                Due::Anew => {
                    if let Err(error) = self.subscribe_anew(now, id) {
                        self.end_subscription(now, id, error);
                    }
                }
                Due::Gone => self.end_subscription(now, id, Error::Ended("the subscription has ended".into())),
            }
        }
    }

    /// The system stops: each notifier is told, nobody is waited for.
    pub(crate) fn end_subscriptions(&mut self, now: Now) {
        let mut all: Vec<u64> = self.subscriptions.all.keys().copied().collect();
        all.sort_unstable();
        for id in all {
            if let Some(subscription) = self.subscriptions.all.get_mut(&id) {
                let token = std::mem::take(&mut subscription.token);
                self.complete(token, Err(Error::NotRunning));
            }
            self.unsubscribe(now, id);
            self.forget_subscription(now, id);
        }
    }
}
