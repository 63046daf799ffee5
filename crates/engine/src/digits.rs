//! Sending digits: as telephone-events by the media engine, or by INFO one request a digit. The commands of one call take turns, so
//! that digits arrive in the order in which they were asked for.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ringback_media_api::{Command as MediaCommand, Event as MediaEvent, Token};
use ringback_sip::{HeaderName, Message, Method, StatusCode};
use ringback_time::{Mono, Now};
use ringback_ua::{Body, FailCause, Reply as Answer, RequestKey};

use crate::api::{DtmfMethod, Error, Reply, State};
use crate::call::Call;
use crate::commands;
use crate::engine::{Engine, Output};
use crate::info::{self, Info};
use crate::limits;
use crate::outgoing::status_line;
use crate::table::Key;
use crate::timers::Timer;

/// How long `,` lasts.
const PAUSE: Duration = Duration::from_secs(1);

const DURATION_MS: std::ops::RangeInclusive<u32> = 40..=8_000;
const GAP_MS: std::ops::RangeInclusive<u32> = 0..=8_000;

/// The `SendDtmf` commands of a call; the first is being carried out.
#[derive(Debug, Default)]
pub(crate) struct Digits {
    jobs: VecDeque<Job>,
}

#[derive(Debug)]
struct Job {
    token: Token,
    digits: String,
    duration_ms: u32,
    gap_ms: u32,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Events,
    Tones,
    Info {
        /// Index of the digit that is next, or in flight.
        next: usize,
        in_flight: Option<RequestKey>,
        /// When the digit after it may start.
        due: Mono,
    },
}

impl Digits {
    /// Takes the command that the media engine is carrying out.
    pub(crate) fn take_given(&mut self) -> Option<Token> {
        self.jobs.front().filter(|job| matches!(job.way, Way::Events | Way::Tones))?;
        self.jobs.pop_front().map(|job| job.token)
    }

    /// The tokens of all that was not finished.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Token> + '_ {
        self.jobs.drain(..).map(|job| job.token)
    }
}

impl Engine {
    /// `Command::SendDtmf`.
    #[allow(clippy::too_many_arguments, reason = "the fields of one command")]
    pub(crate) fn send_digits(
        &mut self,
        now: Now,
        key: Key,
        token: Token,
        digits: String,
        method: DtmfMethod,
        duration_ms: u32,
        gap_ms: u32,
    ) -> commands::Answer {
        check(&digits, duration_ms, gap_ms)?;
        if !self.is_up(key) {
            return Err(self.unfit(key, "sending digits"));
        }
        let Some(call) = self.calls.get_mut(key) else { return Ok(Some(Reply::Unit)) };
        let events = call.media.has_dtmf_events();
        let way = match method {
            DtmfMethod::RtpEvent if !events => {
                return Err(Error::Media("telephone-event was not negotiated".into()));
            }
            DtmfMethod::RtpEvent => Way::Events,
            DtmfMethod::Inband => {
                self.leg_for(key, "sending tones")?;
                Way::Tones
            }
            DtmfMethod::Auto if events => Way::Events,
            DtmfMethod::Auto | DtmfMethod::Info => Way::Info { next: 0, in_flight: None, due: now.mono },
        };
        if digits.is_empty() {
            return Ok(Some(Reply::Unit));
        }
        let Some(call) = self.calls.get_mut(key) else { return Ok(Some(Reply::Unit)) };
        if call.digits.jobs.len() >= limits::DIGIT_JOBS_MOST {
            return Err(Error::ResourceExhausted("Too many digits are waiting to be sent"));
        }
        call.digits.jobs.push_back(Job { token, digits, duration_ms, gap_ms, way });
        if call.digits.jobs.len() == 1 {
            self.start_digits(now, key);
        }
        Ok(None)
    }

    /// Begins with the first command of the queue.
    fn start_digits(&mut self, now: Now, key: Key) {
        let Some(call) = self.calls.get(key) else { return };
        let Some(job) = call.digits.jobs.front() else { return };
        match (&job.way, call.media.leg()) {
            (Way::Events, Some(leg)) => {
                let (digits, token) = (job.digits.clone(), job.token);
                let (duration_ms, gap_ms) = (job.duration_ms, job.gap_ms);
                let command = MediaCommand::SendDtmf { leg, digits, duration_ms, gap_ms, token };
                self.output.push_back(Output::Media(command));
            }
            (Way::Tones, Some(leg)) => {
                let (digits, token) = (job.digits.clone(), job.token);
                let (duration_ms, gap_ms) = (job.duration_ms, job.gap_ms);
                let command = MediaCommand::SendTones { leg, digits, duration_ms, gap_ms, token };
                self.output.push_back(Output::Media(command));
            }
            (Way::Events | Way::Tones, None) => {
                self.digits_done(now, key, Err(Error::Media("the call has no media".into())))
            }
            (Way::Info { .. }, _) => self.next_digit(now, key),
        }
    }

    /// `Command::StopDtmf`.
    pub(crate) fn stop_digits(&mut self, key: Key, sending: Token) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let leg = call.media.leg();
        let jobs = &mut call.digits.jobs;
        let Some(index) = jobs.iter().position(|job| job.token == sending) else { return };
        if index > 0 {
            jobs.remove(index);
            self.complete(sending, Ok(Reply::Unit));
            return;
        }
        let Some(job) = jobs.front_mut() else { return };
        match &job.way {
            // `digits_sent` follows.
            Way::Events | Way::Tones => {
                self.output.extend(leg.map(|leg| Output::Media(MediaCommand::StopDtmf { leg })))
            }
            // The answer, or the timer, finds nothing left.
            Way::Info { next, in_flight, .. } => {
                let most = *next + usize::from(in_flight.is_some());
                job.digits.truncate(most);
            }
        }
    }

    /// The first command is over; the next begins.
    fn digits_done(&mut self, now: Now, key: Key, result: Result<(), Error>) {
        let Some(job) = self.calls.get_mut(key).and_then(|call| call.digits.jobs.pop_front()) else { return };
        self.complete(job.token, result.map(|()| Reply::Unit));
        self.start_digits(now, key);
    }

    /// The media engine has sent the digits that it was given.
    pub(crate) fn digits_sent(&mut self, now: Now, key: Key, completed: bool) {
        let job = self.calls.get(key).and_then(|call| call.digits.jobs.front());
        if !job.is_some_and(|job| matches!(job.way, Way::Events | Way::Tones)) {
            return;
        }
        let held = |call: &Call| {
            let silenced = call.media.config.as_ref().is_some_and(|config| !config.may_send);
            silenced && (call.session.remote_hold() || call.session.state() == State::OnHold)
        };
        let result = if completed {
            Ok(())
        } else if self.calls.get(key).is_some_and(held) {
            Err(Error::Media("digits cannot be sent while the call is on hold".into()))
        } else {
            Err(Error::Media("sending digits was interrupted".into()))
        };
        self.digits_done(now, key, result);
    }

    /// A leg whose call has ended says whether the digits that it was given had been sent: one who hangs up upon the last has heard it.
    pub(crate) fn last_digits(&mut self, event: &MediaEvent) {
        let completed = match event {
            MediaEvent::DtmfSent { completed, .. } => *completed,
            MediaEvent::Closed { .. } | MediaEvent::Failed { .. } => false,
            _ => return,
        };
        let Some((token, ended)) = self.last_digits.remove(&event.leg()) else { return };
        self.complete(token, if completed { Ok(Reply::Unit) } else { Err(ended) });
    }

    /// The leg is gone while the call goes on: what was to be sent by it never will be.
    pub(crate) fn events_impossible(&mut self, now: Now, key: Key) {
        let job = self.calls.get(key).and_then(|call| call.digits.jobs.front());
        if job.is_some_and(|job| matches!(job.way, Way::Events | Way::Tones)) {
            self.digits_done(now, key, Err(Error::Media("the call's media is external now".into())));
        }
    }

    /// `Timer::Digit`, or the turn of a new command: the next digit goes out by INFO.
    pub(crate) fn next_digit(&mut self, now: Now, key: Key) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(ua) = call.ua else { return };
        let Some(job) = call.digits.jobs.front_mut() else { return };
        let Way::Info { next, in_flight, due } = &mut job.way else { return };
        if in_flight.is_some() {
            return;
        }
        match job.digits.get(*next..).and_then(|rest| rest.chars().next()) {
            None => self.digits_done(now, key, Ok(())),
            Some(',') => {
                *next += 1;
                self.arm(key, Timer::Digit, now.mono + PAUSE);
            }
            Some(digit) => {
                *due = now.mono + Duration::from_millis(u64::from(job.duration_ms) + u64::from(job.gap_ms));
                let bytes = Bytes::from(info::write(digit, job.duration_ms));
                let body = Body { content_type: info::RELAY.into(), bytes };
                match self.ua.request(now, ua, Method::Info, Vec::new(), Some(body)) {
                    Ok(request) => *in_flight = Some(request),
                    Err(error) => {
                        self.digits_done(now, key, Err(Error::Media(format!("INFO cannot be sent: {error}"))));
                    }
                }
            }
        }
    }

    /// The peer has answered an INFO of ours.
    pub(crate) fn info_answered(
        &mut self,
        now: Now,
        key: Key,
        request: RequestKey,
        response: Result<Message, FailCause>,
    ) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(job) = call.digits.jobs.front_mut() else { return };
        let Way::Info { next, in_flight, due } = &mut job.way else { return };
        if *in_flight != Some(request) {
            return;
        }
        *in_flight = None;
        let (status, reason) = match &response {
            Ok(response) => status_line(response),
            Err(cause) => (StatusCode::REQUEST_TIMEOUT.as_u16(), cause.to_string()),
        };
        if status / 100 != 2 {
            self.digits_done(now, key, Err(Error::Refused { status, reason }));
            return;
        }
        *next += 1;
        let (at, last) = (*due, *next >= job.digits.len());
        if last {
            self.digits_done(now, key, Ok(()));
        } else if at <= now.mono {
            self.next_digit(now, key);
        } else {
            self.arm(key, Timer::Digit, at);
        }
    }

    /// A request of the peer within the call.
    pub(crate) fn info(&mut self, now: Now, key: Key, request_key: RequestKey, request: &Message) {
        let body = request.body();
        let content_type = request.headers().get(&HeaderName::ContentType).unwrap_or_default();
        let answer = if request.method() != Some(&Method::Info) {
            Answer::new(StatusCode::NOT_IMPLEMENTED)
        } else if body.is_empty() {
            // An INFO without a body is a way to ask whether the call is there (RFC 2976 §2.2).
            Answer::new(StatusCode::OK)
        } else {
            match info::parse(content_type, &body) {
                Info::Digit { digit, duration_ms } => {
                    self.report_digit(now, key, digit, duration_ms);
                    self.pass_digit(now, key, digit, duration_ms, true);
                    Answer::new(StatusCode::OK)
                }
                Info::Garbage => Answer::new(StatusCode::BAD_REQUEST),
                Info::Other => {
                    let accept = format!("{}, {}", info::RELAY, info::PLAIN);
                    let headers = vec![(HeaderName::Accept.as_str().to_owned(), accept)];
                    Answer { headers, ..Answer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE) }
                }
            }
        };
        self.ua.answer_request(now, request_key, answer);
    }
}

fn check(digits: &str, duration_ms: u32, gap_ms: u32) -> Result<(), Error> {
    if let Some(bad) = digits.chars().find(|c| !matches!(c, '0'..='9' | '*' | '#' | 'A'..='D' | ',')) {
        return Err(Error::BadValue(format!("{bad:?} is not a digit: 0-9 * # A-D and ',' for a pause")));
    }
    if digits.len() > limits::DIGITS_MOST {
        return Err(Error::BadValue(format!("{} digits: at most {}", digits.len(), limits::DIGITS_MOST)));
    }
    if !DURATION_MS.contains(&duration_ms) {
        return Err(Error::BadValue(format!("duration_ms {duration_ms}: 40 to 8000")));
    }
    if !GAP_MS.contains(&gap_ms) {
        return Err(Error::BadValue(format!("gap_ms {gap_ms}: 0 to 8000")));
    }
    Ok(())
}
