//! Listens to what a leg receives for whether somebody speaks.
//!
//! Packets are heard as they come, without a playout buffer, whatever else becomes of them: what is overtaken is passed over, what is
//! missing is concealed. While nothing comes there is silence, by the leg's own turns: who stops sending has stopped speaking.

use ringback_audio::{SpeechDetector, SpeechSettings};
use ringback_media_api::{Codec, Detection};

use crate::codec;
use crate::hearing::Decoding;

/// A longer gap between packets is no loss, but a pause of the sender.
const MOST_CONCEALED: u64 = 5;
/// What comes this late is a pause from here on.
const LATE_MS: u64 = 100;

pub(crate) struct Ear {
    decoding: Decoding,
    detector: SpeechDetector,
    /// Stream, and extended number of the last packet heard.
    last: Option<(u32, u64)>,
    /// Until when it has heard something, silence included.
    heard_ms: u64,
    samples: Vec<i16>,
}

impl Ear {
    pub(crate) fn new(detection: Detection) -> Self {
        Ear {
            decoding: Decoding::new(SpeechDetector::RATE),
            detector: SpeechDetector::new(settings(detection)),
            last: None,
            heard_ms: 0,
            samples: Vec::new(),
        }
    }

    pub(crate) fn set(&mut self, detection: Detection) {
        self.detector.set(settings(detection));
    }

    /// `Some`: somebody has begun to speak, or stopped.
    pub(crate) fn hear(
        &mut self,
        stream: u32,
        extended: u64,
        codec: Codec,
        payload: &[u8],
        now_ms: u64,
    ) -> Option<bool> {
        self.samples.clear();
        match self.last {
            Some((before, last)) if before == stream && extended <= last => return None,
            Some((before, last)) if before == stream && extended - last - 1 <= MOST_CONCEALED => {
                let units = u64::from(codec::units(codec, payload)) * (extended - last - 1);
                let missing = units * u64::from(SpeechDetector::RATE) / u64::from(codec.clock_rate().max(1));
                self.decoding.conceal(missing as usize, Some((codec, payload)), &mut self.samples);
            }
            _ => {}
        }
        self.last = Some((stream, extended));
        self.heard_ms = self.heard_ms.max(now_ms);
        self.decoding.decode(codec, payload, 0, &mut self.samples);
        self.listen()
    }

    /// Nothing need have come.
    #[inline]
    pub(crate) fn turn(&mut self, now_ms: u64) -> Option<bool> {
        if !self.detector.is_speaking() || now_ms < self.heard_ms + LATE_MS {
            return None;
        }
        let silent_ms = (now_ms - self.heard_ms).min(1000);
        self.heard_ms = now_ms;
        self.samples.clear();
        self.samples.resize(silent_ms as usize * (SpeechDetector::RATE / 1000) as usize, 0);
        self.listen()
    }

    fn listen(&mut self) -> Option<bool> {
        let before = self.detector.is_speaking();
        self.detector.push(&self.samples, |_| {});
        let speaking = self.detector.is_speaking();
        (speaking != before).then_some(speaking)
    }
}

fn settings(detection: Detection) -> SpeechSettings {
    SpeechSettings { onset_ms: detection.onset_ms, hangover_ms: detection.hangover_ms }
}
