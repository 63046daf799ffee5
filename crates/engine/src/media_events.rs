//! What the media engine reports.

use std::sync::Arc;

use ringback_media_api::{Event as MediaEvent, Token};
use ringback_time::Now;

use crate::api::{Event, Reply};
use crate::call::{Ending, MediaReply};
use crate::engine::Engine;
use crate::table::Key;

impl Engine {
    pub(crate) fn media_event(&mut self, now: Now, event: MediaEvent) {
        if let MediaEvent::RoomPlayed { token, .. } = event {
            self.played_to_bridge(token);
            return;
        }
        if let MediaEvent::RoomRecorded { room } = event {
            self.recorded_bridge(room);
            return;
        }
        // A leg that was closed may still have something on the way.
        let Some(&key) = self.legs.get(&event.leg()) else { return self.last_digits(&event) };
        self.current = Some(key);
        match event {
            MediaEvent::Dtmf { digit, duration_ms, .. } => {
                self.report_digit(now, key, digit, duration_ms);
                self.pass_digit(now, key, digit, duration_ms, false);
            }
            MediaEvent::KeyDown { .. } => self.key_is_down(now, key),
            // Its tones pass between connected calls by themselves.
            MediaEvent::InbandDtmf { digit, duration_ms, .. } => self.report_digit(now, key, digit, duration_ms),
            MediaEvent::DtmfSent { completed, .. } => self.digits_sent(now, key, completed),
            MediaEvent::PlayEnded { token, .. } => self.media_reply(key, token, MediaReply::Played, Reply::Unit),
            MediaEvent::Statistics { token, statistics, .. } => {
                self.media_reply(key, token, MediaReply::Statistics, Reply::Statistics(Some(statistics)));
            }
            MediaEvent::Quality { statistics, .. } => {
                let Some(call) = self.calls.get(key) else { return };
                if self.config.interest.media_quality {
                    let session = Arc::clone(&call.session);
                    self.emit(Event::MediaQuality { session, statistics });
                }
            }
            MediaEvent::Silent { silent_for, .. } => {
                let Some(call) = self.calls.get(key) else { return };
                if self.config.interest.media_timeout {
                    let session = Arc::clone(&call.session);
                    self.emit(Event::MediaTimeout { session, silent_seconds: silent_for.as_secs_f64() });
                }
            }
            MediaEvent::Speech { speaking, .. } => self.speaks(key, speaking),
            MediaEvent::Located { public, .. } => self.reached(now, key, public),
            MediaEvent::Talking { talking, .. } => self.talks(key, talking),
            MediaEvent::Closed { .. } => self.media_failed(now, key, "the leg closed by itself"),
            MediaEvent::Failed { cause, .. } => self.media_failed(now, key, cause),
            _ => {}
        }
    }

    fn media_failed(&mut self, now: Now, key: Key, cause: &str) {
        self.finish(now, key, Ending::failed(None, format!("media: {cause}")));
    }

    fn media_reply(&mut self, key: Key, token: Token, wait: MediaReply, reply: Reply) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if let Some(index) = call.waiting.iter().position(|waiting| *waiting == (token, wait)) {
            call.waiting.remove(index);
            self.complete(token, Ok(reply));
        }
    }

    /// A digit came, in RTP, by INFO, or by its tones.
    pub(crate) fn report_digit(&mut self, now: Now, key: Key, digit: char, duration_ms: u32) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if !self.config.interest.dtmf && call.collecting.is_empty() {
            return;
        }
        if call.dtmf_bucket.take(now.mono) {
            self.collect_digit(now, key, digit);
            let Some(call) = self.calls.get(key).filter(|_| self.config.interest.dtmf) else { return };
            let session = Arc::clone(&call.session);
            self.emit(Event::Dtmf { session, digit, duration_ms });
        } else {
            self.counters.events_dropped += 1;
        }
    }
}
