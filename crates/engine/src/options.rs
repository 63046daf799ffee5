//! Requests outside of calls whose answer somebody waits for: `SendOptions` (RFC 3261 §11), `SendMessage`. Whoever asks waits with its token until a peer has answered, its time is over, or
//! the system stops.

use std::collections::HashMap;
use std::time::Duration;

use ringback_media_api::Token;
use ringback_sip::{HeaderName, Message, Method, NameAddr, Uri};
use ringback_time::{Mono, Now};
use ringback_ua::{FailCause, Request, StandaloneKey};

use crate::api::{Error, Reply, State};
use crate::commands::Answer;
use crate::decide::ua_error;
use crate::engine::Engine;
use crate::limits;
use crate::outgoing::{MAX_FORWARDS, check_target, contacts, parse_address, status_line};

/// What was asked, and so what the answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Any final response is the answer.
    Options,
    /// Only a 2xx is one.
    Message,
}

#[derive(Debug)]
struct Waiting {
    token: Token,
    what: What,
    since: Mono,
    given: Option<Duration>,
}

/// Requests whose outcome has not been told.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    waiting: HashMap<StandaloneKey, Waiting, foldhash::fast::RandomState>,
    by_token: HashMap<Token, StandaloneKey, foldhash::fast::RandomState>,
}

impl Asking {
    fn insert(&mut self, key: StandaloneKey, waiting: Waiting) {
        if waiting.token != Token::default() {
            self.by_token.insert(waiting.token, key);
        }
        self.waiting.insert(key, waiting);
    }

    fn take(&mut self, key: StandaloneKey) -> Option<Waiting> {
        let waiting = self.waiting.remove(&key)?;
        self.by_token.remove(&waiting.token);
        Some(waiting)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.by_token.is_empty()
    }
}

impl Engine {
    /// `Command::SendOptions`.
    pub(crate) fn send_options(
        &mut self,
        now: Now,
        token: Token,
        from: Option<&str>,
        to: &str,
        given: Option<Duration>,
    ) -> Answer {
        self.check_asking()?;
        let to = parse_address(to)?;
        check_target(&to.uri, &self.config.transports)?;
        let from = match from {
            Some(from) => self.with_user(parse_address(from)?),
            None => NameAddr::new(self.own_uri(&to.uri)),
        };
        let mut request = Request {
            method: Method::Options,
            request_uri: to.uri.request_uri(),
            from,
            to,
            call_id: self.ua.new_call_id(),
            cseq: 1,
            // RFC 3261 §11.1.
            headers: vec![("Accept".to_owned(), "application/sdp".to_owned())],
            contact: true,
            body: None,
            max_forwards: MAX_FORWARDS,
            contact_form: None,
            flow: None,
            credentials: None,
            give_up_after: given,
        };
        self.as_account(&mut request);
        let key = self.ua.send(now, request).map_err(|error| ua_error(error, State::Initiating))?;
        self.wait_for(now, key, token, What::Options, given);
        Ok(None)
    }

    /// Whether one more request may be asked.
    pub(crate) fn check_asking(&self) -> Result<(), Error> {
        if self.stop.is_stopping() {
            return Err(Error::NotRunning);
        }
        if self.asking.waiting.len() >= limits::REQUESTS_MOST {
            return Err(Error::ResourceExhausted("Too many requests are waiting for an answer"));
        }
        Ok(())
    }

    pub(crate) fn wait_for(&mut self, now: Now, key: StandaloneKey, token: Token, what: What, given: Option<Duration>) {
        self.asking.insert(key, Waiting { token, what, since: now.mono, given });
    }

    /// `Command::GiveUp`.
    pub(crate) fn give_up(&mut self, now: Now, token: Token) {
        let Some(key) = self.asking.by_token.get(&token).copied() else { return };
        self.ua.forget(now, key);
        if self.asking.take(key).is_some() {
            self.complete(token, Err(Error::Ended("given up".into())));
        }
    }

    /// Nobody waits any longer: the system stops.
    pub(crate) fn give_up_all(&mut self, now: Now) {
        self.asking.by_token.clear();
        for (key, waiting) in std::mem::take(&mut self.asking.waiting) {
            self.ua.forget(now, key);
            self.complete(waiting.token, Err(Error::NotRunning));
        }
    }

    /// `Event::Standalone`.
    pub(crate) fn asked(&mut self, now: Now, key: StandaloneKey, outcome: Result<ringback_ua::Answer, FailCause>) {
        let Some(Waiting { token, what, since, given }) = self.asking.take(key) else { return };
        let result = match outcome {
            Ok(answer) if what == What::Options => Ok(reply(&answer.response, answer.round_trip)),
            Ok(answer) => accepted(&answer.response),
            // RFC 3261 §8.1.3.1.
            Err(FailCause::Timeout) if what == What::Message => {
                Err(Error::Failed { status: Some(408), cause: FailCause::Timeout.to_string() })
            }
            Err(FailCause::Timeout) => {
                let waited = now.mono.since(since);
                let waited = given.filter(|given| *given <= waited).unwrap_or(waited);
                Err(Error::NoAnswer(Duration::from_millis(waited.as_millis() as u64)))
            }
            Err(cause) => Err(Error::Unreachable(cause.to_string())),
        };
        self.complete(token, result);
    }

    /// Who we are, for From: where there is no call, there is nobody else to speak for.
    fn own_uri(&mut self, towards: &Uri) -> Uri {
        let address = self.own_address(towards);
        let user = Some(self.config.user.as_str()).filter(|user| !user.is_empty());
        let public = self.config.public_address.as_deref().and_then(|host| Uri::sip(user, host, None).ok());
        if let Some(public) = public {
            return public;
        }
        match address {
            Some(address) => Uri::from_address(user, address),
            // No way there, as will be told. §8.1.1.3: what names nobody.
            None => Uri::parse("sip:anonymous@anonymous.invalid").unwrap_or_else(|_| towards.clone()),
        }
    }
}

/// A 2xx, or what the peer says instead.
fn accepted(response: &Message) -> Result<Reply, Error> {
    let (status, phrase) = status_line(response);
    match status / 100 {
        2 => Ok(Reply::Unit),
        3 => Err(Error::Rejected { status, reason: phrase, targets: contacts(response) }),
        _ => Err(Error::Rejected { status, reason: phrase, targets: Vec::new() }),
    }
}

fn reply(response: &Message, round_trip: Duration) -> Reply {
    let text = |name| response.headers().get(&name).map(|value| value.trim().to_owned());
    Reply::Options {
        status: status_line(response).0,
        round_trip,
        allow: response.allow().map(str::to_owned).collect(),
        // §20.35: responses have Server; many say User-Agent there too.
        user_agent: text(HeaderName::Server).or_else(|| text(HeaderName::UserAgent)).filter(|text| !text.is_empty()),
    }
}
