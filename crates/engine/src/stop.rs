//! Stopping: no new calls, then, after the time that was given to those in progress, an end to each of the rest.

use std::time::Duration;

use ringback_media_api::Token;
use ringback_sip::StatusCode;
use ringback_time::{Mono, Now};

use crate::api::Reply;
use crate::call::{Ending, Stage};
use crate::engine::Engine;
use crate::incoming::unavailable;

#[derive(Debug, Default)]
pub(crate) struct Stop {
    stopping: bool,
    /// When the rest is ended; `None` where that has been done.
    deadline: Option<Mono>,
    /// `Stop` commands that wait.
    tokens: Vec<Token>,
}

impl Stop {
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.deadline
    }
}

/// `end_reason` of an answered call that is ended by a stop.
const SHUTDOWN: &str = "shutdown";

impl Engine {
    /// `Command::Stop`. A second one may shorten the time, never lengthen it.
    pub(crate) fn stop(&mut self, now: Now, token: Token, drain: Duration) {
        let at = now.mono + drain;
        let earlier = !self.stop.stopping || self.stop.deadline.is_some_and(|deadline| at < deadline);
        self.stop.stopping = true;
        self.stop.tokens.push(token);
        if earlier {
            self.stop.deadline = Some(at);
        }
        // Whoever would call us by a registrar is told at once that we are not there any more.
        self.unregister_all(now);
        self.stop_timeout(now);
    }

    /// Ends what is left when its time is over.
    pub(crate) fn stop_timeout(&mut self, now: Now) {
        if self.stop.deadline.is_none_or(|deadline| deadline > now.mono) {
            return;
        }
        self.stop.deadline = None;
        for key in self.calls.keys() {
            self.current = Some(key);
            let Some(call) = self.calls.get(key) else { continue };
            let ending = match call.stage {
                Stage::Undecided | Stage::Deferred | Stage::Forwarding => {
                    Ending::refused(StatusCode::SERVICE_UNAVAILABLE, None, unavailable().headers).over(true)
                }
                Stage::Prepared | Stage::HeldBack | Stage::Locating | Stage::Calling => Ending::cancelled("cancelled"),
                Stage::AwaitingAck | Stage::Confirmed => Ending::hung_up(SHUTDOWN),
            };
            self.finish(now, key, ending);
        }
    }

    /// Tells those who wait for the stop when the last call has ended.
    pub(crate) fn stop_if_empty(&mut self, now: Now) {
        if self.stop.tokens.is_empty() || !self.calls.is_empty() || self.is_unregistering() {
            return;
        }
        self.stop.deadline = None;
        self.give_up_all(now);
        self.destroy_all_bridges();
        self.end_subscriptions(now);
        self.end_watches(now);
        self.drain_ua(now);
        for token in std::mem::take(&mut self.stop.tokens) {
            self.complete(token, Ok(Reply::Unit));
        }
    }
}
