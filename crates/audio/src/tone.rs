//! Tones: one or more sines of equal level, started and stopped without clicks.

use std::error::Error;
use std::f64::consts::{PI, TAU};
use std::fmt;

use crate::level::{FULL_SCALE_SINE_DBM0, amplitude};
use crate::round::to_sample;

/// The most sines in one tone.
pub const MAX_FREQUENCIES: usize = 16;

/// Rise and fall take so long, by half a period of a cosine: what a switched tone sprays over the band is then inaudible.
const RAMP_MS: u32 = 5;

/// The two frequencies of a DTMF digit (`0-9`, `*`, `#`, `A-D` in either case) in Hz, the low group first: ITU-T Q.23.
pub fn dtmf_frequencies(digit: char) -> Option<[f32; 2]> {
    const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
    const HIGH: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
    const KEYS: [[char; 4]; 4] =
        [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
    let digit = digit.to_ascii_uppercase();
    for (low, row) in LOW.into_iter().zip(KEYS) {
        for (high, key) in HIGH.into_iter().zip(row) {
            if key == digit {
                return Some([low, high]);
            }
        }
    }
    None
}

/// Why a tone cannot be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ToneError {
    /// None, or more than [`MAX_FREQUENCIES`].
    Count(usize),
    /// Not above 0 and below half the sample rate.
    Frequency(f32),
    /// Not a number, or above the loudest sine, [`FULL_SCALE_SINE_DBM0`].
    Level(f32),
}

impl fmt::Display for ToneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToneError::Count(count) => write!(f, "a tone has 1 to {MAX_FREQUENCIES} frequencies, not {count}"),
            ToneError::Frequency(hz) => write!(f, "{hz} Hz is not between 0 and half the sample rate"),
            ToneError::Level(level) => write!(f, "{level} dBm0 is not a level up to {FULL_SCALE_SINE_DBM0}"),
        }
    }
}

impl Error for ToneError {}

/// A phasor turned by a fixed angle every sample.
#[derive(Clone, Copy, Debug)]
struct Oscillator {
    re: f64,
    im: f64,
    turn_re: f64,
    turn_im: f64,
}

impl Oscillator {
    fn new(radians_a_sample: f64) -> Self {
        Oscillator { re: 1.0, im: 0.0, turn_re: radians_a_sample.cos(), turn_im: radians_a_sample.sin() }
    }

    #[inline(always)]
    fn next(&mut self) -> f64 {
        let sine = self.im;
        (self.re, self.im) =
            (self.re * self.turn_re - self.im * self.turn_im, self.re * self.turn_im + self.im * self.turn_re);
        sine
    }

    /// Takes back what rounding has added to or taken from the length.
    fn normalise(&mut self) {
        let length = self.re.hypot(self.im);
        self.re /= length;
        self.im /= length;
    }
}

/// Produces a tone piece by piece; the phase goes on from one piece to the next. It begins and ends with a ramp of 5 ms.
#[derive(Clone, Debug)]
pub struct ToneGenerator {
    oscillators: Box<[Oscillator]>,
    amplitude: f64,
    ramp: Box<[f32]>,
    position: u64,
    /// Where the tone has ended, ramp included.
    end: Option<u64>,
}

impl ToneGenerator {
    /// A tone that lasts until it is stopped. `level_dbm0` is the level of the sum, to which all `frequencies` (Hz) contribute
    /// equally; peaks of a sum that do not fit 16 bits are clipped.
    pub fn new(sample_rate: u32, frequencies: &[f32], level_dbm0: f32) -> Result<Self, ToneError> {
        if frequencies.is_empty() || frequencies.len() > MAX_FREQUENCIES {
            return Err(ToneError::Count(frequencies.len()));
        }
        if let Some(&bad) = frequencies.iter().find(|&&hz| !(hz > 0.0 && f64::from(hz) < f64::from(sample_rate) / 2.0))
        {
            return Err(ToneError::Frequency(bad));
        }
        let level = f64::from(level_dbm0);
        // Compared as the caller wrote it: 3.14 as a float of 32 bits lies above 3.14 as one of 64.
        if level_dbm0.is_nan() || level_dbm0 > FULL_SCALE_SINE_DBM0 as f32 {
            return Err(ToneError::Level(level_dbm0));
        }
        let each = level - 10.0 * (frequencies.len() as f64).log10();
        let ramp = (sample_rate * RAMP_MS / 1000).max(1);
        Ok(ToneGenerator {
            oscillators: frequencies
                .iter()
                .map(|&hz| Oscillator::new(TAU * f64::from(hz) / f64::from(sample_rate)))
                .collect(),
            amplitude: amplitude(each),
            ramp: (0..ramp).map(|i| (0.5 - 0.5 * (PI * (f64::from(i) + 0.5) / f64::from(ramp)).cos()) as f32).collect(),
            position: 0,
            end: None,
        })
    }

    /// Ends the tone by itself after `samples`, the ramps included. Called before the first `fill`.
    pub fn lasting(mut self, samples: u64) -> Self {
        self.end = Some(samples);
        self
    }

    /// Lets the tone fall from now on: it is over after the length of a ramp, or earlier if it was to end before that.
    pub fn stop(&mut self) {
        let over = self.position.saturating_add(self.ramp.len() as u64);
        self.end = Some(self.end.map_or(over, |end| end.min(over)));
    }

    /// True when nothing but silence is left.
    pub fn is_finished(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }

    /// Writes the next piece of the tone over all of `out`, zeros once it is over. Returns how many samples were of the tone.
    pub fn fill(&mut self, out: &mut [i16]) -> usize {
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.position));
        let sounding = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let (tone, silence) = out.split_at_mut(sounding);
        for (sample, offset) in tone.iter_mut().zip(self.position..) {
            let sines: f64 = self.oscillators.iter_mut().map(Oscillator::next).sum();
            let gain = self.ramp_at(offset) * self.end.map_or(1.0, |end| self.ramp_at(end - 1 - offset));
            *sample = to_sample((self.amplitude * sines) as f32 * gain);
        }
        silence.fill(0);
        self.oscillators.iter_mut().for_each(Oscillator::normalise);
        self.position = self.position.saturating_add(sounding as u64);
        sounding
    }

    /// The gain `distance` samples from a beginning or an end.
    #[inline]
    fn ramp_at(&self, distance: u64) -> f32 {
        usize::try_from(distance).ok().and_then(|i| self.ramp.get(i)).copied().unwrap_or(1.0)
    }
}

#[cfg(test)]
mod tests;
