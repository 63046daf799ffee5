//! Subscriptions of peers (RFC 6665 §4.2): to the calls of a user (`dialog`, RFC 4235) and to its mailbox (`message-summary`, RFC 3842).
//!
//! Invariant: one NOTIFY of a watch is under way at a time, and two of them are a second apart; what changes meanwhile is told by the next.
//! A watch whose NOTIFY fails, or whose time is over, is gone. Without watches none of this costs a call anything.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ringback_sip::{HeaderName, Message, Method, StatusCode, Uri};
use ringback_time::{Mono, Now};
use ringback_ua::{Body, FailCause, Reply as Answer, RequestKey, UsageKey};

use crate::api::{Error, Event, Session};
use crate::dialog_info::{self, Dialogs};
use crate::engine::Engine;
use crate::incoming::unavailable;
use crate::limits;
use crate::package::event_of;

/// A program that has not decided after this has refused: the peer's transaction lasts 32 s.
const DECISION_MOST: Duration = Duration::from_secs(20);
/// Seconds that a subscription lasts, where the peer does not say, and at most.
const EXPIRES: u32 = 3600;
/// RFC 6665 §4.2.1.1: less is refused with 423.
const EXPIRES_LEAST: u32 = 60;
/// RFC 4235 §3.10.
const APART: Duration = Duration::from_secs(1);
const SUMMARY: &str = "application/simple-message-summary";
const ALLOW_EVENTS: &str = "dialog, message-summary";

/// Whom a watch is about: user and host, as far as they count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entity(Box<str>);

impl Entity {
    pub(crate) fn of(uri: &Uri) -> Entity {
        let host = uri.host().map(|host| host.to_string().to_ascii_lowercase()).unwrap_or_default();
        Entity(format!("{}@{host}", uri.user().unwrap_or_default()).into())
    }

    pub(crate) fn parse(text: &str) -> Option<Entity> {
        Uri::parse(text).ok().map(|uri| Entity::of(&uri))
    }
}

#[derive(Debug)]
enum Package {
    Dialog(Dialogs),
    Summary,
}

impl Package {
    const fn name(&self) -> &'static str {
        match self {
            Package::Dialog(_) => "dialog",
            Package::Summary => "message-summary",
        }
    }
}

#[derive(Debug)]
struct Watch {
    package: Package,
    entity: Entity,
    /// The To URI, as the peer wrote it.
    uri: String,
    /// Of the Event header.
    id: Option<String>,
    /// Until the decision.
    request: Option<RequestKey>,
    expires: u32,
    expires_at: Mono,
    in_flight: Option<RequestKey>,
    /// Something has changed since the last NOTIFY.
    changed: bool,
    /// The next NOTIFY is a full one.
    full: bool,
    /// Not before.
    next_at: Mono,
    at: Option<Mono>,
}

/// New and old messages of a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Summary {
    new: u32,
    old: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Notifier {
    watches: HashMap<UsageKey, Watch, foldhash::fast::RandomState>,
    by_entity: HashMap<Entity, Vec<UsageKey>, foldhash::fast::RandomState>,
    deadlines: BTreeSet<(Mono, UsageKey)>,
    summaries: HashMap<Entity, Summary, foldhash::fast::RandomState>,
    /// Watches of calls.
    of_dialogs: usize,
    /// Sessions whose state has changed while there are any.
    changed: Vec<Arc<Session>>,
}

impl Notifier {
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.watches.is_empty() && self.by_entity.is_empty() && self.deadlines.is_empty() && self.of_dialogs == 0
    }

    /// A session has begun, changed its state, or ended.
    pub(crate) fn sees(&mut self, session: &Arc<Session>) {
        if self.of_dialogs != 0 {
            self.changed.push(Arc::clone(session));
        }
    }

    fn wait(&mut self, usage: UsageKey, at: Mono) {
        let Some(watch) = self.watches.get_mut(&usage) else { return };
        if let Some(before) = watch.at.replace(at) {
            self.deadlines.remove(&(before, usage));
        }
        self.deadlines.insert((at, usage));
    }

    fn remove(&mut self, usage: UsageKey) -> Option<Watch> {
        let watch = self.watches.remove(&usage)?;
        if let Some(at) = watch.at {
            self.deadlines.remove(&(at, usage));
        }
        if let Some(list) = self.by_entity.get_mut(&watch.entity) {
            list.retain(|other| *other != usage);
            if list.is_empty() {
                self.by_entity.remove(&watch.entity);
            }
        }
        self.of_dialogs -= usize::from(matches!(watch.package, Package::Dialog(_)));
        Some(watch)
    }
}

fn expires_header(seconds: u32) -> Vec<(String, String)> {
    vec![(HeaderName::Expires.as_str().to_owned(), seconds.to_string())]
}

fn bad_event() -> Answer {
    let headers = vec![(HeaderName::AllowEvents.as_str().to_owned(), ALLOW_EVENTS.to_owned())];
    Answer { headers, ..Answer::new(StatusCode::BAD_EVENT) }
}

impl Engine {
    /// A SUBSCRIBE that is to make a dialog.
    pub(crate) fn subscribed(&mut self, now: Now, usage: UsageKey, key: RequestKey, request: &Message) {
        match self.check_subscribe(now, key, request) {
            Ok((watch, subscriber)) => {
                let (event, to) = (watch.package.name().to_owned(), watch.uri.clone());
                self.notifier.of_dialogs += usize::from(matches!(watch.package, Package::Dialog(_)));
                self.notifier.by_entity.entry(watch.entity.clone()).or_default().push(usage);
                self.notifier.watches.insert(usage, watch);
                self.notifier.wait(usage, now.mono + DECISION_MOST);
                self.emit(Event::SubscribeRequest { request: usage.as_u64(), subscriber, to, event });
            }
            Err(answer) => {
                self.ua.answer_request(now, key, answer);
                self.ua.close_usage(now, usage);
            }
        }
    }

    fn check_subscribe(&self, now: Now, key: RequestKey, request: &Message) -> Result<(Watch, String), Answer> {
        let event = event_of(request).ok_or_else(bad_event)?;
        let package = match event.package.to_ascii_lowercase().as_str() {
            "dialog" => Package::Dialog(Dialogs::default()),
            "message-summary" => Package::Summary,
            _ => return Err(bad_event()),
        };
        if !self.config.interest.subscribe {
            return Err(Answer::new(StatusCode::FORBIDDEN));
        }
        if self.stop.is_stopping() || self.overdue || self.notifier.watches.len() >= limits::SUBSCRIPTIONS_MOST {
            return Err(unavailable());
        }
        let (Ok(from), Ok(to)) = (request.from(), request.to()) else {
            return Err(Answer::new(StatusCode::BAD_REQUEST));
        };
        let expires = asked_expires(request)?;
        let watch = Watch {
            package,
            entity: Entity::of(&to.uri),
            uri: to.uri.to_string(),
            id: event.id.map(str::to_owned),
            request: Some(key),
            expires,
            expires_at: now.mono,
            in_flight: None,
            changed: false,
            full: true,
            next_at: now.mono,
            at: None,
        };
        Ok((watch, from.uri.to_string()))
    }

    /// `Command::DecideSubscribe`. What comes too late is ignored.
    pub(crate) fn decide_subscribe(&mut self, now: Now, request: u64, accept: bool) {
        let usage = UsageKey::from_u64(request);
        let Some(watch) = self.notifier.watches.get_mut(&usage) else { return };
        let Some(key) = watch.request.take() else { return };
        if !accept || self.stop.is_stopping() {
            self.ua.answer_request(now, key, Answer::new(StatusCode::FORBIDDEN));
            return self.end_watch(now, usage);
        }
        self.answer_subscribe(now, usage, key);
    }

    /// 200, and the state of things at once (RFC 6665 §4.2.1.2).
    fn answer_subscribe(&mut self, now: Now, usage: UsageKey, key: RequestKey) {
        let Some(watch) = self.notifier.watches.get_mut(&usage) else { return };
        let expires = watch.expires;
        watch.expires_at = now.mono + Duration::from_secs(expires.into());
        (watch.full, watch.changed) = (true, true);
        if let Package::Dialog(dialogs) = &mut watch.package {
            *dialogs = dialogs.anew();
            for id in self.calls.keys() {
                if let Some(call) = self.calls.get(id) {
                    let dialog = call.ua.and_then(|ua| self.ua.dialog_id(ua));
                    dialogs.see(&watch.entity, &call.session, dialog.as_ref());
                }
            }
        }
        self.ua.answer_request(now, key, Answer { headers: expires_header(expires), ..Answer::new(StatusCode::OK) });
        if expires == 0 {
            return self.say_last(now, usage, "timeout");
        }
        self.tell_watcher(now, usage);
    }

    /// SUBSCRIBE within the dialog of a watch: it goes on, or ends.
    pub(crate) fn watch_refreshed(&mut self, now: Now, usage: UsageKey, key: RequestKey, request: &Message) {
        let Some(watch) = self.notifier.watches.get_mut(&usage) else {
            return self.ua.answer_request(now, key, Answer::new(StatusCode::CALL_DOES_NOT_EXIST));
        };
        let event = event_of(request);
        let same = event.is_some_and(|event| {
            event.package.eq_ignore_ascii_case(watch.package.name()) && event.id == watch.id.as_deref()
        });
        if request.method() != Some(&Method::Subscribe) || !same || watch.request.is_some() {
            return self.ua.answer_request(now, key, bad_event());
        }
        match asked_expires(request) {
            Ok(expires) => {
                watch.expires = expires;
                self.answer_subscribe(now, usage, key);
            }
            Err(answer) => self.ua.answer_request(now, key, answer),
        }
    }

    /// A NOTIFY, as soon as one may go.
    fn tell_watcher(&mut self, now: Now, usage: UsageKey) {
        let Some(watch) = self.notifier.watches.get_mut(&usage) else { return };
        if !watch.changed || watch.in_flight.is_some() || watch.request.is_some() {
            return self.notifier_wait(now, usage);
        }
        if watch.next_at > now.mono && !watch.full {
            return self.notifier_wait(now, usage);
        }
        let left = watch.expires_at.since(now.mono).as_secs();
        self.notify(now, usage, format!("active;expires={left}"));
        self.notifier_wait(now, usage);
    }

    /// When something is to be done about a watch next.
    fn notifier_wait(&mut self, now: Now, usage: UsageKey) {
        let Some(watch) = self.notifier.watches.get(&usage) else { return };
        let at = match watch.changed && watch.in_flight.is_none() {
            true => watch.next_at.max(now.mono).min(watch.expires_at),
            false => watch.expires_at,
        };
        self.notifier.wait(usage, at);
    }

    fn notify(&mut self, now: Now, usage: UsageKey, state: String) {
        let Some(watch) = self.notifier.watches.get_mut(&usage) else { return };
        let full = std::mem::take(&mut watch.full);
        watch.changed = false;
        watch.next_at = now.mono + APART;
        let (content_type, text) = match &mut watch.package {
            Package::Dialog(dialogs) => (dialog_info::CONTENT_TYPE, dialogs.document(&watch.uri, full)),
            Package::Summary => {
                let summary = self.notifier.summaries.get(&watch.entity).copied().unwrap_or_default();
                (SUMMARY, summary_text(&watch.uri, summary))
            }
        };
        let id = watch.id.as_deref().map_or_else(String::new, |id| format!(";id={id}"));
        let headers = [
            (HeaderName::Event.as_str().to_owned(), format!("{}{id}", watch.package.name())),
            (HeaderName::SubscriptionState.as_str().to_owned(), state),
        ];
        let body = Body { content_type: content_type.to_owned(), bytes: text.into() };
        match self.ua.usage_request(now, usage, &Method::Notify, &headers, Some(&body)) {
            Ok(request) => watch.in_flight = Some(request),
            Err(error) => {
                tracing::info!(target: "ringback.session", "no NOTIFY: {error}");
                self.end_watch(now, usage);
            }
        }
    }

    /// The last NOTIFY of a watch, which nobody waits for.
    fn say_last(&mut self, now: Now, usage: UsageKey, reason: &str) {
        if let Some(watch) = self.notifier.watches.get_mut(&usage) {
            watch.full = true;
        }
        self.notify(now, usage, format!("terminated;reason={reason}"));
        self.end_watch(now, usage);
    }

    fn end_watch(&mut self, now: Now, usage: UsageKey) {
        self.notifier.remove(usage);
        self.ua.close_usage(now, usage);
    }

    /// The final response to a NOTIFY of ours. RFC 6665 §4.2.2: a subscriber that refuses it, or says nothing, is gone.
    pub(crate) fn watcher_told(
        &mut self,
        now: Now,
        usage: UsageKey,
        key: RequestKey,
        response: &Result<Message, FailCause>,
    ) {
        let Some(watch) = self.notifier.watches.get_mut(&usage) else { return };
        if watch.in_flight != Some(key) {
            return;
        }
        watch.in_flight = None;
        let taken = response.as_ref().is_ok_and(|response| response.status().is_some_and(StatusCode::is_success));
        if taken { self.tell_watcher(now, usage) } else { self.end_watch(now, usage) }
    }

    /// Tells those who watch of the sessions that have changed. False: there were none.
    pub(crate) fn see_sessions(&mut self, now: Now) -> bool {
        if self.notifier.changed.is_empty() {
            return false;
        }
        for session in std::mem::take(&mut self.notifier.changed) {
            self.see_session(now, &session);
        }
        true
    }

    fn see_session(&mut self, now: Now, session: &Session) {
        let mut told: Vec<UsageKey> = Vec::new();
        let ua = self.live(session.id).and_then(|key| self.calls.get(key)?.ua);
        let dialog = ua.and_then(|ua| self.ua.dialog_id(ua));
        for uri in [&session.from_uri, &session.to_uri] {
            let Some(entity) = Entity::parse(uri) else { continue };
            for usage in self.notifier.by_entity.get(&entity).into_iter().flatten() {
                if told.contains(usage) {
                    continue;
                }
                let Some(watch) = self.notifier.watches.get_mut(usage) else { continue };
                if let Package::Dialog(dialogs) = &mut watch.package
                    && watch.request.is_none()
                    && dialogs.see(&entity, session, dialog.as_ref())
                {
                    watch.changed = true;
                    told.push(*usage);
                }
            }
        }
        for usage in told {
            self.tell_watcher(now, usage);
        }
    }

    /// `Command::PublishSummary`.
    pub(crate) fn publish_summary(&mut self, now: Now, aor: &str, new: u32, old: u32) -> Result<(), Error> {
        let uri = crate::outgoing::parse_address(aor)?.uri;
        let entity = Entity::of(&uri);
        let known = self.notifier.summaries.contains_key(&entity);
        if !known && self.notifier.summaries.len() >= limits::SUMMARIES_MOST {
            return Err(Error::ResourceExhausted("Too many mailboxes"));
        }
        if self.notifier.summaries.insert(entity.clone(), Summary { new, old }) == Some(Summary { new, old }) {
            return Ok(());
        }
        for usage in self.notifier.by_entity.get(&entity).cloned().unwrap_or_default() {
            if let Some(watch) = self.notifier.watches.get_mut(&usage)
                && matches!(watch.package, Package::Summary)
            {
                watch.changed = true;
                self.tell_watcher(now, usage);
            }
        }
        Ok(())
    }

    /// Everything whose time has come.
    pub(crate) fn watches_due(&mut self, now: Now) {
        while let Some((at, usage)) = self.notifier.deadlines.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.notifier.deadlines.remove(&(at, usage));
            let Some(watch) = self.notifier.watches.get_mut(&usage) else { continue };
            watch.at = None;
            if watch.request.is_some() {
                self.decide_subscribe(now, usage.as_u64(), false);
            } else if watch.expires_at <= now.mono {
                // RFC 6665 §4.2.2.
                self.say_last(now, usage, "timeout");
            } else {
                self.tell_watcher(now, usage);
            }
        }
    }

    /// The system stops.
    pub(crate) fn end_watches(&mut self, now: Now) {
        let mut all: Vec<UsageKey> = self.notifier.watches.keys().copied().collect();
        all.sort_unstable();
        for usage in all {
            match self.notifier.watches.get(&usage).map(|watch| watch.request.is_some()) {
                Some(true) => self.decide_subscribe(now, usage.as_u64(), false),
                _ => self.say_last(now, usage, "deactivated"),
            }
        }
    }
}

/// RFC 6665 §4.2.1.1.
fn asked_expires(request: &Message) -> Result<u32, Answer> {
    let asked = request.expires().unwrap_or(EXPIRES).min(EXPIRES);
    if asked > 0 && asked < EXPIRES_LEAST {
        let headers = vec![(HeaderName::MinExpires.as_str().to_owned(), EXPIRES_LEAST.to_string())];
        return Err(Answer { headers, ..Answer::new(StatusCode::INTERVAL_TOO_BRIEF) });
    }
    Ok(asked)
}

/// RFC 3842 §3.5.
fn summary_text(account: &str, Summary { new, old }: Summary) -> String {
    let waiting = if new > 0 { "yes" } else { "no" };
    format!("Messages-Waiting: {waiting}\r\nMessage-Account: {account}\r\nVoice-Message: {new}/{old} (0/0)\r\n")
}
