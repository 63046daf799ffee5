//! Whether somebody speaks: frames of 20 ms against a threshold that stands above their own noise, with hysteresis in time.

/// Mean magnitudes, some -51, -42 and -40 dBm0: below the first nobody speaks, above the last somebody does however noisy it is.
const LEAST: u32 = 40;
const NOISY: u32 = 110;
const MOST: u32 = 145;
/// Speech stands so many times above the noise: 12 dB.
const ABOVE: u32 = 4;
/// A click is no word: 60 ms.
const FRAMES_TO_BEGIN: u8 = 3;
/// Between words nobody is silent: 500 ms.
const FRAMES_TO_END: u8 = 25;
/// The noise floor rises by a 64th a frame, 3 dB in half a second, and falls at once.
const RISE: u32 = 64;

#[derive(Debug)]
pub(crate) struct Voice {
    talking: bool,
    /// Frames in a row that speak against `talking`.
    against: u8,
    /// Of the noise, in 64ths of the magnitude.
    floor: u32,
}

impl Voice {
    pub(crate) fn new() -> Self {
        Voice { talking: false, against: 0, floor: LEAST * RISE }
    }

    /// Takes the mean magnitude of the next frame. `Some`: that has changed whether it is speech.
    pub(crate) fn judge(&mut self, magnitude: u32) -> Option<bool> {
        let threshold = (self.floor / RISE * ABOVE).clamp(LEAST, MOST);
        let rising = self.floor + (self.floor / RISE).max(1);
        // What is louder than any noise is none.
        self.floor = magnitude.saturating_mul(RISE).min(rising).min(NOISY * RISE);
        if (magnitude > threshold) == self.talking {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let enough = if self.talking { FRAMES_TO_END } else { FRAMES_TO_BEGIN };
        if self.against < enough {
            return None;
        }
        self.against = 0;
        self.talking = !self.talking;
        Some(self.talking)
    }

    /// Nobody listens any more. True: it was speech.
    pub(crate) fn end(&mut self) -> bool {
        self.against = 0;
        std::mem::take(&mut self.talking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(voice: &mut Voice, frames: impl IntoIterator<Item = u32>) -> Vec<(usize, bool)> {
        frames.into_iter().enumerate().filter_map(|(n, level)| Some((n, voice.judge(level)?))).collect()
    }

    #[test]
    fn words_with_pauses_are_one_speech_and_clicks_are_none() {
        let mut voice = Voice::new();
        let mut frames = vec![10; 50];
        frames.extend([5000, 5000]);
        frames.extend([10; 30]);
        for _ in 0..10 {
            frames.extend([2000; 8]);
            frames.extend([10; 15]);
        }
        frames.extend([10; 30]);
        assert_eq!(changes(&mut voice, frames), [(84, true), (321, false)]);
    }

    #[test]
    fn noise_is_no_speech_and_a_lasting_tone_is_one() {
        let mut voice = Voice::new();
        assert_eq!(changes(&mut voice, [100; 500]), []);
        assert_eq!(changes(&mut voice, [1000; 5000]), [(2, true)]);
        assert!(voice.end() && !voice.end());
    }
}
