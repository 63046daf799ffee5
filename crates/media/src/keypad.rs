//! Digits as tones in the audio, both ways: the sender of a job of digits, and the listener in what is received.
//!
//! The listener hears packets as they come, without a playout buffer: what is overtaken is passed over, and what is missing is
//! concealed, so that a lost packet does not make two digits of one. Once the peer has sent a telephone-event it listens no more:
//! nobody's digit counts twice.

use std::collections::VecDeque;

use ringback_audio::{DtmfDetector, HeardDigit, ToneGenerator, dtmf_frequencies};
use ringback_media_api::{Codec, Token};

use crate::codec;
use crate::hearing::Decoding;

/// A comma.
const PAUSE_MS: u32 = 1000;
/// Of both tones together.
const LEVEL_DBM0: f32 = -6.0;
/// A longer gap between packets is no loss, but a pause of the sender.
const MOST_CONCEALED: u64 = 5;
/// What the detector works at.
const RATE: u32 = 8000;

/// A job of digits that goes out as tones.
pub(crate) struct Keypad {
    digits: VecDeque<char>,
    duration_ms: u32,
    gap_ms: u32,
    pub(crate) token: Token,
    tone: Option<ToneGenerator>,
    /// Milliseconds, in samples of the present rate, until the next may begin.
    quiet: u64,
}

impl Keypad {
    pub(crate) fn new(digits: &str, duration_ms: u32, gap_ms: u32, token: Token) -> Self {
        Keypad { digits: digits.chars().collect(), duration_ms, gap_ms, token, tone: None, quiet: 0 }
    }

    /// The rest is not sent. What sounds is brought to its end.
    pub(crate) fn cut_short(&mut self) {
        self.digits.clear();
        if self.tone.is_none() {
            self.quiet = 0;
        }
    }

    /// Writes the next piece over all of `out`. False: the last tone is over.
    pub(crate) fn fill(&mut self, rate: u32, out: &mut [i16]) -> bool {
        let mut filled = 0;
        while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            if let Some(tone) = &mut self.tone {
                filled += tone.fill(rest);
                if tone.is_finished() {
                    self.tone = None;
                    if self.digits.is_empty() {
                        break;
                    }
                    self.quiet = samples(self.gap_ms, rate);
                }
                continue;
            }
            let quiet = usize::try_from(self.quiet).unwrap_or(usize::MAX).min(rest.len());
            rest.iter_mut().take(quiet).for_each(|sample| *sample = 0);
            filled += quiet;
            self.quiet -= quiet as u64;
            if self.quiet > 0 {
                continue;
            }
            match self.digits.pop_front() {
                None => break,
                Some(',') => self.quiet = samples(PAUSE_MS, rate),
                // The session engine has checked the digits.
                Some(digit) => {
                    self.tone = dtmf_frequencies(digit)
                        .and_then(|pair| ToneGenerator::new(rate, &pair, LEVEL_DBM0).ok())
                        .map(|tone| tone.lasting(samples(self.duration_ms, rate)));
                }
            }
        }
        if let Some(rest) = out.get_mut(filled..) {
            rest.fill(0);
        }
        !(self.tone.is_none() && self.digits.is_empty() && self.quiet == 0)
    }
}

fn samples(ms: u32, rate: u32) -> u64 {
    u64::from(ms) * u64::from(rate) / 1000
}

/// Listens for digits.
pub(crate) struct Listener {
    decoding: Decoding,
    detector: DtmfDetector,
    /// Stream, and extended number of the last packet heard.
    last: Option<(u32, u64)>,
    samples: Vec<i16>,
}

impl Listener {
    pub(crate) fn new() -> Self {
        let (detector, samples) = (DtmfDetector::new(), Vec::new());
        Listener { decoding: Decoding::new(RATE), detector, last: None, samples }
    }

    pub(crate) fn hear(
        &mut self,
        stream: u32,
        extended: u64,
        codec: Codec,
        payload: &[u8],
        heard: impl FnMut(HeardDigit),
    ) {
        self.samples.clear();
        match self.last {
            Some((before, last)) if before == stream && extended <= last => return,
            Some((before, last)) if before == stream && extended - last - 1 <= MOST_CONCEALED => {
                let units = u64::from(codec::units(codec, payload)) * (extended - last - 1);
                let missing = units * u64::from(RATE) / u64::from(codec.clock_rate().max(1));
                self.decoding.conceal(missing as usize, Some((codec, payload)), &mut self.samples);
            }
            Some(_) => self.samples.resize(3 * RATE as usize / 50, 0),
            None => {}
        }
        self.last = Some((stream, extended));
        self.decoding.decode(codec, payload, 0, &mut self.samples);
        self.detector.push(&self.samples, heard);
    }

    /// The stream is over.
    pub(crate) fn finish(&mut self, heard: impl FnMut(HeardDigit)) {
        self.detector.finish(heard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_last_and_pause_as_long_as_they_should() {
        for rate in [8000, 16_000, 48_000] {
            let mut keypad = Keypad::new("1,#", 60, 40, Token(1));
            let mut all = Vec::new();
            let mut more = true;
            while more {
                let mut frame = vec![7; rate as usize / 50];
                more = keypad.fill(rate, &mut frame);
                all.extend(frame);
            }
            let ms = rate as usize / 1000;
            let loud = |from: usize, to: usize| all[from * ms..to * ms].iter().any(|sample| sample.abs() > 1000);
            assert!(loud(0, 60) && !loud(60, 1100) && loud(1100, 1160), "{rate}");
            assert_eq!(all.len(), 1160 * ms);
        }
    }
}
