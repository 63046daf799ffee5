//! Voice activity: whether a program wants to know who speaks, and what the media engine heard of it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ringback_media_api::{Command as MediaCommand, Detection};

use crate::api::{Error, Event, Reply, SessionId};
use crate::commands::Answer;
use crate::engine::{Engine, Output};
use crate::table::Key;

const DONE: Answer = Ok(Some(Reply::Unit));
const ONSET_MS: RangeInclusive<u32> = 20..=2000;
const HANGOVER_MS: RangeInclusive<u32> = 100..=10_000;

impl Engine {
    /// `Command::DetectSpeech`, which may come before there is media.
    pub(crate) fn detect_speech(&mut self, session: SessionId, detection: Option<Detection>) -> Answer {
        const WHAT: &str = "voice detection";
        let Some(key) = self.live(session) else {
            return match detection {
                None => self.ended_or_unknown(session, Reply::Unit),
                Some(_) => Err(self.find(session, WHAT).err().unwrap_or(Error::SessionNotFound(session))),
            };
        };
        if let Some(Detection { onset_ms, hangover_ms }) = detection {
            if !ONSET_MS.contains(&onset_ms) {
                return Err(Error::BadValue(format!("an onset of {onset_ms} ms: 20 to 2000")));
            }
            if !HANGOVER_MS.contains(&hangover_ms) {
                return Err(Error::BadValue(format!("a hangover of {hangover_ms} ms: 100 to 10000")));
            }
        }
        let Some(call) = self.calls.get_mut(key) else { return DONE };
        if call.media.external {
            return Err(Error::Media(format!("{WHAT}: the call's media is external")));
        }
        // Nobody is told where no handler wants to know: then nobody need listen.
        let detection = detection.filter(|_| self.config.interest.voice_activity);
        let before = std::mem::replace(&mut call.media.detection, detection);
        match call.media.leg() {
            Some(leg) if before != detection => {
                self.output.push_back(Output::Media(MediaCommand::Detect { leg, detection }));
            }
            _ => {}
        }
        DONE
    }

    /// Somebody has begun to speak, or stopped.
    pub(crate) fn speaks(&mut self, key: Key, speaking: bool) {
        // What was on the way when it was switched off is not told any more.
        let Some(call) = self.calls.get(key).filter(|call| call.media.detection.is_some()) else { return };
        let session = Arc::clone(&call.session);
        self.emit(Event::VoiceActivity { session, speaking });
    }
}
