//! Whether somebody speaks, from the audio alone: a small neural network (earshot) judges each 16 ms, and what it takes for a
//! voice counts as one where it is neither a tone nor a sound that stays as loud as it is.
//!
//! The network knows voices from most noises, but takes some dial tones and loud low noises for one. No voice is made of two sines
//! ([`tone`]), and none keeps its level for a second ([`steady`]). Music is not told from speech with any certainty.
//!
//! Invariant: `speaking` changes to true after `onset` of voice at the earliest, and to false after `hangover` without any: changes are
//! bounded in number by the shortest that [`SpeechSettings`] may have, whatever comes.

mod steady;
mod tone;
mod voice;

use earshot::Detector;

use steady::Steady;
#[doc(hidden)]
pub use voice::voice;

/// Samples of a frame, at 16 kHz: 16 ms.
const FRAME: usize = 256;
const FRAME_MS: u32 = 16;
/// What the network says of a voice, at least.
const VOICE: f32 = 0.5;
/// Frames of voice in a row that end a pause: a single one among noise does not.
const RESUMES: u32 = 2;

/// How quickly it is believed, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeechSettings {
    /// So much voice begins speech: 20 to 2,000.
    pub onset_ms: u32,
    /// So long without a voice ends it: 100 to 10,000.
    pub hangover_ms: u32,
}

impl SpeechSettings {
    pub const ONSET_MS: std::ops::RangeInclusive<u32> = 20..=2000;
    pub const HANGOVER_MS: std::ops::RangeInclusive<u32> = 100..=10_000;
}

impl Default for SpeechSettings {
    /// A click is no word, and between words nobody is silent.
    fn default() -> Self {
        SpeechSettings { onset_ms: 80, hangover_ms: 500 }
    }
}

/// Listens to one stream of audio.
pub struct SpeechDetector {
    network: Box<Detector>,
    /// The present frame as far as it came, behind the one before.
    samples: Vec<i16>,
    steady: Steady,
    speaking: bool,
    /// Frames that speak for a change: of voice while nobody speaks, without one while somebody does.
    against: u32,
    /// Frames of voice in a row.
    voices: u32,
    onset: u32,
    hangover: u32,
}

impl SpeechDetector {
    /// Of the samples that it listens to, Hz.
    pub const RATE: u32 = 16_000;

    pub fn new(settings: SpeechSettings) -> Self {
        let mut detector = SpeechDetector {
            network: Detector::default_boxed(),
            samples: vec![0; FRAME],
            steady: Steady::new(),
            speaking: false,
            against: 0,
            voices: 0,
            onset: 0,
            hangover: 0,
        };
        detector.set(settings);
        detector
    }

    /// From now on it is believed otherwise.
    pub fn set(&mut self, settings: SpeechSettings) {
        let SpeechSettings { onset_ms, hangover_ms } = settings;
        let (shortest, longest) = SpeechSettings::ONSET_MS.into_inner();
        self.onset = onset_ms.clamp(shortest, longest).div_ceil(FRAME_MS);
        let (shortest, longest) = SpeechSettings::HANGOVER_MS.into_inner();
        self.hangover = hangover_ms.clamp(shortest, longest).div_ceil(FRAME_MS);
    }

    pub fn is_speaking(&self) -> bool {
        self.speaking
    }

    /// Listens to the next samples. `changed`: somebody has begun to speak, or stopped.
    pub fn push(&mut self, samples: &[i16], mut changed: impl FnMut(bool)) {
        let mut rest = samples;
        while !rest.is_empty() {
            let (taken, left) = rest.split_at(rest.len().min(2 * FRAME - self.samples.len()));
            self.samples.extend_from_slice(taken);
            rest = left;
            if self.samples.len() < 2 * FRAME {
                return;
            }
            let voice = self.hear();
            self.samples.drain(..FRAME);
            if self.judge(voice) {
                changed(self.speaking);
            }
        }
    }

    /// The stream is over, and with it what was said.
    pub fn reset(&mut self) {
        self.network.reset();
        self.samples.clear();
        self.samples.resize(FRAME, 0);
        self.steady = Steady::new();
        (self.speaking, self.against, self.voices) = (false, 0, 0);
    }

    /// Whether the frame that is complete is of a voice.
    fn hear(&mut self) -> bool {
        let frame = self.samples.get(FRAME..).unwrap_or_default();
        let score = self.network.predict_i16(frame);
        // Both look at every frame, the costlier only where it matters.
        let steady = self.steady.hear(frame);
        score >= VOICE && !steady && !tone::is_tone(&self.samples)
    }

    fn judge(&mut self, voice: bool) -> bool {
        self.voices = if voice { self.voices + 1 } else { 0 };
        if !self.speaking {
            // A frame that was misjudged does not undo the others.
            self.against = if voice { self.against + 1 } else { self.against.saturating_sub(1) };
        } else if self.voices >= RESUMES {
            self.against = 0;
        } else {
            self.against += 1;
        }
        if self.against < if self.speaking { self.hangover } else { self.onset } {
            return false;
        }
        self.against = 0;
        self.speaking = !self.speaking;
        true
    }
}

#[cfg(test)]
mod tests;
