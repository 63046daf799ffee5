//! DTMF digits by their tones in 8 kHz audio: ITU-T Q.23 frequencies within the limits of Q.24.
//!
//! Blocks of 102 samples (12.75 ms), each correlated with the eight frequencies: a filter 78 Hz wide, which lets ±1.5 % pass. A digit
//! needs two blocks in a row that show the same pair, which 40 ms of tone always have, and in them and beside them the energy of 30 ms;
//! it ends with three that do not show it, so that an interruption of 10 ms does not make two of one, and a pause of 40 ms does.
//!
//! Against speech (talk-off): both tones together hold nine tenths of the power of a block; none else of their group comes within 8 dB;
//! the levels of the two blocks agree; the phases between the two put each tone within 2 % of its frequency; and the high tone has no
//! second harmonic, which a voice has and a keypad has not. (That of the low one lies among the high tones.)

use std::f32::consts::TAU;

/// Samples of a block.
const BLOCK: usize = 102;
const RATE: f32 = 8000.0;
const FREQUENCIES: [f32; 8] = [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0];
const KEYS: [[char; 4]; 4] = [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
/// Q.24 table A-1: the high tone may be 4 dB stronger (administrations accept 4 to 8), or 8 dB weaker. A margin of 1 dB for the edges
/// of the filter.
const HIGH_STRONGER: f32 = 3.2;
const LOW_STRONGER: f32 = 8.0;
/// The next strongest of a group is below by 8 dB.
const STANDS_OUT: f32 = 6.3;
/// Share of the block's power, as it shows; and with what the filter takes from tones off its middle.
const SHARE_SEEN: f32 = 0.72;
const SHARE: f32 = 0.89;
/// Mean square of the weaker tone, -33 dBm0: Q.24 has -29 dBm at the faintest that is accepted.
const FAINTEST: f32 = 12_000.0;
/// Of the powers of two blocks of one digit.
const STEADY: f32 = 1.8;
/// Off the nominal frequency: ±1.5 % is accepted, ±3.5 % is not.
const OFF: f32 = 0.02;
/// The second harmonic's share of its fundamental's power.
const HARMONIC: f32 = 0.03;
/// Blocks of a digit's level that its energy must be worth: 30 ms.
const WORTH: f32 = 2.4;
/// Blocks without the digit after which it is over.
const OVER: u32 = 3;

/// A digit that was heard from its beginning to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardDigit {
    pub digit: char,
    pub duration_ms: u32,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct DtmfDetector {
    block: Vec<f32>,
    before: Option<Hit>,
    /// Of the last two blocks.
    energies: [f32; 2],
    sounding: Option<Sounding>,
}

/// A digit that has begun.
#[derive(Clone, Copy, Debug)]
struct Sounding {
    digit: char,
    /// Blocks in a row that have not shown it.
    misses: u32,
    /// Of all its blocks and those beside it; of the loudest that showed it.
    energy: f32,
    loudest: f32,
}

/// What a block showed.
#[derive(Clone, Copy, Debug)]
struct Hit {
    low: usize,
    high: usize,
    /// Sum of squares.
    energy: f32,
    /// Correlations with the two tones, and their mean squares.
    sums: [Complex; 2],
    powers: [f32; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Complex {
    re: f32,
    im: f32,
}

impl Complex {
    fn power(self) -> f32 {
        self.re * self.re + self.im * self.im
    }
}

impl Default for DtmfDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl DtmfDetector {
    pub fn new() -> Self {
        DtmfDetector { block: Vec::with_capacity(BLOCK), before: None, energies: [0.0; 2], sounding: None }
    }

    /// Listens to the next `samples`, at 8 kHz. Digits are told when they are over.
    pub fn push(&mut self, samples: &[i16], mut heard: impl FnMut(HeardDigit)) {
        for &sample in samples {
            self.block.push(f32::from(sample));
            if self.block.len() == BLOCK {
                let energy: f32 = self.block.iter().map(|sample| sample * sample).sum();
                let hit = look(&self.block, energy);
                self.step(hit, energy, &mut heard);
                self.block.clear();
            }
        }
    }

    /// Nothing follows: the digit that sounds is over.
    pub fn finish(&mut self, mut heard: impl FnMut(HeardDigit)) {
        self.end(&mut heard);
        (self.before, self.energies) = (None, [0.0; 2]);
        self.block.clear();
    }

    fn step(&mut self, hit: Option<Hit>, energy: f32, heard: &mut impl FnMut(HeardDigit)) {
        let before = std::mem::replace(&mut self.before, hit);
        let [beside, last] = self.energies;
        self.energies = [last, energy];
        let now = hit.and_then(|hit| KEYS.get(hit.low)?.get(hit.high).copied());
        if let Some(sounding) = &mut self.sounding {
            if now == Some(sounding.digit) {
                sounding.misses = 0;
                sounding.loudest = sounding.loudest.max(energy);
                sounding.energy += energy;
                return;
            }
            sounding.misses += 1;
            if sounding.misses == 1 {
                sounding.energy += energy.min(sounding.loudest);
            }
            if sounding.misses >= OVER {
                self.end(heard);
            }
        }
        let (Some(before), Some(hit), Some(digit)) = (before, hit, now) else { return };
        if before.low == hit.low && before.high == hit.high && agree(&before, &hit) {
            // Another digit follows without a pause.
            self.end(heard);
            let loudest = before.energy.max(hit.energy);
            let energy = beside.min(loudest) + before.energy + hit.energy;
            self.sounding = Some(Sounding { digit, misses: 0, energy, loudest });
        }
    }

    fn end(&mut self, heard: &mut impl FnMut(HeardDigit)) {
        let Some(Sounding { digit, energy, loudest, .. }) = self.sounding.take() else { return };
        let blocks = energy / loudest;
        if blocks >= WORTH {
            // Finer than in blocks: those at both ends are there in part.
            heard(HeardDigit { digit, duration_ms: (blocks * BLOCK as f32 / 8.0).round() as u32 });
        }
    }
}

/// The pair that a block shows, if it shows one and little else.
fn look(block: &[f32], energy: f32) -> Option<Hit> {
    if energy < 2.0 * FAINTEST * BLOCK as f32 {
        return None;
    }
    let sums = FREQUENCIES.map(|hz| correlate(block, hz));
    let [a, b, c, d, e, f, g, h] = sums.map(Complex::power);
    let low = strongest([a, b, c, d])?;
    let high = strongest([e, f, g, h])?;
    let (low_sum, high_sum) = (*sums.get(low)?, *sums.get(high + 4)?);
    // |sum|² of a sine is its mean square times n² / 2.
    let scale = 2.0 / (BLOCK * BLOCK) as f32;
    let (low_power, high_power) = (low_sum.power() * scale, high_sum.power() * scale);
    let fits = low_power.min(high_power) >= FAINTEST * 0.6
        && high_power <= low_power * HIGH_STRONGER
        && low_power <= high_power * LOW_STRONGER
        && (low_power + high_power) * BLOCK as f32 >= SHARE_SEEN * energy;
    if !fits {
        return None;
    }
    if correlate(block, 2.0 * FREQUENCIES.get(high + 4)?).power() * scale > HARMONIC * high_power {
        return None;
    }
    Some(Hit { low, high, energy, sums: [low_sum, high_sum], powers: [low_power, high_power] })
}

/// The one of a group that stands out.
fn strongest(powers: [f32; 4]) -> Option<usize> {
    let (best, power) = powers.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let alone = powers.iter().enumerate().all(|(index, other)| index == best || other * STANDS_OUT < power);
    alone.then_some(best)
}

/// Whether two blocks in a row are of one digit: equally loud, with the phases that its frequencies have after a block, and of little
/// else than these.
fn agree(before: &Hit, hit: &Hit) -> bool {
    if before.energy > hit.energy * STEADY || hit.energy > before.energy * STEADY {
        return false;
    }
    let (mut seen_before, mut seen) = (0.0, 0.0);
    for (index, which) in [(before.low, 0), (before.high + 4, 1)] {
        let (Some(&hz), Some(&a), Some(&b)) = (FREQUENCIES.get(index), before.sums.get(which), hit.sums.get(which))
        else {
            return false;
        };
        // Each block is correlated from its own beginning: between them lies the phase of a block's length.
        let turned = (b.im.atan2(b.re) - a.im.atan2(a.re)) / TAU;
        let off = turned - hz * BLOCK as f32 / RATE;
        // In parts of the filter's width.
        let off = off - off.round();
        if (off * RATE / BLOCK as f32).abs() > OFF * hz {
            return false;
        }
        let angle = (std::f32::consts::PI * off).abs().max(1e-3);
        let passed = (angle.sin() / angle).powi(2);
        seen_before += before.powers.get(which).copied().unwrap_or(0.0) / passed;
        seen += hit.powers.get(which).copied().unwrap_or(0.0) / passed;
    }
    seen_before * BLOCK as f32 >= SHARE * before.energy && seen * BLOCK as f32 >= SHARE * hit.energy
}

/// The correlation of the block with a frequency.
fn correlate(block: &[f32], hz: f32) -> Complex {
    let (turn_im, turn_re) = (TAU * hz / RATE).sin_cos();
    let (mut re, mut im) = (1.0_f32, 0.0_f32);
    let mut sum = Complex::default();
    for &sample in block {
        sum.re += sample * re;
        // e^(-iwt), so that the phase of the sum is the signal's.
        sum.im -= sample * im;
        (re, im) = (re * turn_re - im * turn_im, re * turn_im + im * turn_re);
    }
    sum
}

#[cfg(test)]
mod tests;
