//! Keeping a connection alive: RFC 5626 §4.4.1 where we opened it, WebSocket pings (RFC 7118 §6) on both sides. A peer that has answered
//! once has to go on answering; one that never did is not asked to.

use std::time::Duration;

use tokio::time::Instant;

use super::Limits;
use super::locate::random;

/// How long a connection is kept for the sake of keep-alives alone: longer than the usual registration.
const KEPT: Duration = Duration::from_secs(7200);

/// RFC 5626 §4.4.1: at random between 80 % and all of the time, each time anew, so that not all come at once.
fn part() -> f64 {
    0.8 + 0.2 * f64::from(random(1 << 16)) / f64::from(1 << 16)
}

#[derive(Debug)]
pub(super) struct KeepAlive {
    /// Whether pings are ours to send.
    sends: bool,
    /// Whether the peer is known to answer.
    answers: bool,
    /// The last one sent or answered, or message that came.
    last: Instant,
    waiting: Option<Instant>,
    /// The last message that came.
    spoken: Instant,
    answered: Option<Instant>,
    /// RFC 5626 §4.4.1: the longest silence that the peer wants, and the part of it that passes before the next ping.
    flow_timer: Option<(Duration, f64)>,
}

impl KeepAlive {
    /// `framed`: RFC 6455 §5.5.2 has each side answer pings.
    pub(super) fn new(now: Instant, opened: bool, framed: bool) -> Self {
        KeepAlive {
            sends: opened || framed,
            answers: framed,
            last: now,
            waiting: None,
            spoken: now,
            answered: None,
            flow_timer: None,
        }
    }

    /// Flow-Timer: the peer wants pings, and so answers them.
    pub(super) fn set_flow_timer(&mut self, longest: Duration) {
        self.flow_timer = Some((longest, part()));
        self.answers |= self.sends;
    }

    fn silence(&self, limits: &Limits) -> Duration {
        self.flow_timer.map_or(limits.ping, |(longest, part)| longest.mul_f64(part).min(limits.ping))
    }

    pub(super) fn is_due(&self, now: Instant, limits: &Limits) -> bool {
        self.sends && self.waiting.is_none() && now >= self.last + self.silence(limits)
    }

    pub(super) fn sent(&mut self, now: Instant) {
        self.last = now;
        self.flow_timer = self.flow_timer.map(|(longest, _)| (longest, part()));
        self.waiting = self.answers.then_some(now);
    }

    pub(super) fn answered(&mut self, now: Instant) {
        if self.sends {
            (self.answers, self.waiting, self.last, self.answered) = (true, None, now, Some(now));
        }
    }

    /// A message shows as well that the peer is there.
    pub(super) fn heard(&mut self, now: Instant) {
        (self.last, self.spoken, self.waiting) = (now, now, None);
    }

    pub(super) fn is_overdue(&self, now: Instant, limits: &Limits) -> bool {
        self.waiting.is_some_and(|since| now >= since + limits.pong)
    }

    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        match self.waiting {
            Some(since) => Some(since + limits.pong),
            None => self.sends.then(|| self.last + self.silence(limits)),
        }
    }

    /// From when on the connection counts as idle.
    pub(super) fn last_use(&self, used: Instant) -> Instant {
        self.answered.map_or(used, |answered| used.max(answered.min(self.spoken + KEPT)))
    }
}
