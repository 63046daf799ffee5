//! Digits that a program waits for (`Command::CollectDtmf`): all that come from the command on, by whichever way they come. Several
//! may wait at a time, and each gets every digit; whoever is told of digits otherwise is told all the same.
//!
//! Invariant: `Timer::Collect` is armed for the earliest deadline of a call's collectors, while there are any.

use std::time::Duration;

use ringback_media_api::Token;
use ringback_time::{Mono, Now};

use crate::api::{Error, Reply};
use crate::commands::Answer;
use crate::engine::Engine;
use crate::limits;
use crate::table::Key;
use crate::timers::Timer;

/// A key that is held for longer is not waited for.
const HELD_MOST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) token: Token,
    pub(crate) digits: String,
    max: usize,
    terminators: String,
    timeout: Duration,
    /// No digit until then, and no key that is down: it is over.
    due: Mono,
}

impl Engine {
    pub(crate) fn collect(
        &mut self,
        now: Now,
        key: Key,
        token: Token,
        max: usize,
        terminators: String,
        timeout: Duration,
    ) -> Answer {
        if max == 0 || max > limits::DIGITS_MOST {
            return Err(Error::BadValue(format!("max_digits {max}: 1 to {}", limits::DIGITS_MOST)));
        }
        if let Some(bad) = terminators.chars().find(|c| !matches!(c, '0'..='9' | '*' | '#' | 'A'..='D')) {
            return Err(Error::BadValue(format!("terminator {bad:?} is not a digit: 0-9 * # A-D")));
        }
        // Early media carries digits too.
        if !self.is_up(key) {
            self.leg_for(key, "collecting digits")?;
        }
        let Some(call) = self.calls.get_mut(key) else { return Ok(Some(Reply::Text(String::new()))) };
        if call.collecting.len() >= limits::COLLECTORS_MOST {
            return Err(Error::ResourceExhausted("Too many collect one call's digits"));
        }
        let due = now.mono + timeout;
        call.collecting.push(Collector { token, digits: String::new(), max, terminators, timeout, due });
        self.arm_collecting(key);
        Ok(None)
    }

    pub(crate) fn stop_collecting(&mut self, key: Key, collecting: Token) {
        if let Some(call) = self.calls.get_mut(key) {
            let index = call.collecting.iter().position(|collector| collector.token == collecting);
            if let Some(collector) = index.map(|index| call.collecting.remove(index)) {
                self.complete(collector.token, Ok(Reply::Text(collector.digits)));
            }
            self.arm_collecting(key);
        }
    }

    /// A digit came.
    pub(crate) fn collect_digit(&mut self, now: Now, key: Key, digit: char) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.collecting.is_empty() {
            return;
        }
        for collector in &mut call.collecting {
            if collector.terminators.contains(digit) {
                collector.due = Mono::ZERO;
                continue;
            }
            collector.digits.push(digit);
            let full = collector.digits.len() >= collector.max;
            collector.due = if full { Mono::ZERO } else { now.mono + collector.timeout };
        }
        self.collected(now, key);
    }

    /// A key was pressed in time: nobody's time ends before it is let go, which is when its digit comes.
    pub(crate) fn key_is_down(&mut self, now: Now, key: Key) {
        let Some(call) = self.calls.get_mut(key) else { return };
        for collector in &mut call.collecting {
            collector.due = collector.due.max(now.mono + HELD_MOST);
        }
        self.arm_collecting(key);
    }

    /// Answers those that are over.
    pub(crate) fn collected(&mut self, now: Now, key: Key) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let (over, left) = std::mem::take(&mut call.collecting).into_iter().partition(|each| each.due <= now.mono);
        call.collecting = left;
        let over: Vec<Collector> = over;
        for collector in over {
            self.complete(collector.token, Ok(Reply::Text(collector.digits)));
        }
        self.arm_collecting(key);
    }

    fn arm_collecting(&mut self, key: Key) {
        let due = self.calls.get(key).and_then(|call| call.collecting.iter().map(|collector| collector.due).min());
        match due {
            Some(due) => self.arm(key, Timer::Collect, due),
            None => self.disarm(key, Timer::Collect),
        }
    }
}
