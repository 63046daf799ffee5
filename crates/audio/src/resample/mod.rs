//! Conversion between the sample rates 8, 16, 24 and 48 kHz, as a stream.
//!
//! A polyphase filter for each ratio: only the products that an output sample needs are computed. Pass band 0 to 0.425 of the lower
//! rate (3.4 kHz of 8 kHz, 6.8 of 16, 10.2 of 24) within 0.1 dB; from half the lower rate on everything is down by 70 dB and
//! more, so that neither images nor aliases are heard. The phase is linear: every frequency comes later by [`Resampler::latency`].
//!
//! Invariant: after n samples in, ⌈n · to / from⌉ have come out, however the n were cut into pieces. Output sample k belongs to the
//! time of input sample k · from / to, less the latency.

mod filter;

use std::error::Error;
use std::fmt;

use crate::round::to_sample;
use filter::Bank;

/// Input is taken in pieces of so many samples at most, so that the state has a fixed size.
const BLOCK: usize = 480;
/// Output samples that are made side by side.
const TILE: usize = 32;
/// The longest window, with its samples laid apart.
const APART: usize = 1152;

/// A sample rate other than 8000, 16000, 24000 and 48000 Hz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsupportedRate(pub u32);

impl fmt::Display for UnsupportedRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no conversion for {} Hz: 8000, 16000, 24000 and 48000 are known", self.0)
    }
}

impl Error for UnsupportedRate {}

/// One stream's conversion.
#[derive(Clone, Debug)]
pub struct Resampler {
    from: u32,
    to: u32,
    /// `None` where both rates are equal.
    state: Option<State>,
}

#[derive(Clone, Debug)]
struct State {
    bank: &'static Bank,
    /// The last `taps - 1` samples of before, room for a block, and for what a tile looks at beyond it.
    window: Box<[f32]>,
    /// Of the next output sample: where it is past the block's first sample, in parts of `1 / up` of one.
    time: usize,
}

impl Resampler {
    /// Fails where one of the rates is none of 8000, 16000, 24000 and 48000 Hz. Equal rates pass samples through.
    pub fn new(from: u32, to: u32) -> Result<Self, UnsupportedRate> {
        if let Some(&other) = [from, to].iter().find(|rate| !matches!(rate, 8_000 | 16_000 | 24_000 | 48_000)) {
            return Err(UnsupportedRate(other));
        }
        let common = greatest_common_divisor(from, to);
        let state = Bank::of((to / common) as usize, (from / common) as usize).map(State::new);
        Ok(Resampler { from, to, state })
    }

    /// The rate of the input, Hz.
    pub fn from_rate(&self) -> u32 {
        self.from
    }

    /// The rate of the output, Hz.
    pub fn to_rate(&self) -> u32 {
        self.to
    }

    /// The delay of the filter, in samples of the output.
    pub fn latency(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.bank.latency)
    }

    /// Appends to `out` what follows from the next `samples`, however many.
    pub fn process(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        match &mut self.state {
            None => out.extend_from_slice(samples),
            Some(state) => {
                out.reserve((samples.len() as u64 * u64::from(self.to) / u64::from(self.from)) as usize + 1);
                for block in samples.chunks(BLOCK) {
                    state.process(block, f32::from, to_sample, out);
                }
            }
        }
    }

    /// The same for the sum of many signals, which need not fit 16 bits. Equal rates pass it through.
    pub fn process_sum(&mut self, sum: &[i32], out: &mut Vec<i32>) {
        match &mut self.state {
            None => out.extend_from_slice(sum),
            Some(state) => {
                for block in sum.chunks(BLOCK) {
                    // A float's 24 bits hold the sum of some hundred loud signals exactly, and of more within a hundredth of a decibel.
                    state.process(block, |sum| sum as f32, |value| value as i32, out);
                }
            }
        }
    }

    /// Back to the state of a new one: what comes is a new signal.
    pub fn reset(&mut self) {
        if let Some(state) = &mut self.state {
            *state = State::new(state.bank);
        }
    }
}

impl State {
    fn new(bank: &'static Bank) -> Self {
        State { bank, window: vec![0.0; bank.taps - 1 + BLOCK + bank.down * TILE].into(), time: 0 }
    }

    /// `block` has at most [`BLOCK`] samples.
    #[inline(always)]
    fn process<T: Copy + Default>(
        &mut self,
        block: &[T],
        load: impl Fn(T) -> f32,
        store: impl Fn(f32) -> T,
        out: &mut Vec<T>,
    ) {
        let Bank { up, down, taps, .. } = *self.bank;
        let history = taps - 1;
        for (slot, &sample) in self.window.iter_mut().skip(history).zip(block) {
            *slot = load(sample);
        }
        let count = (block.len() * up).saturating_sub(self.time).div_ceil(down);
        let first = out.len();
        out.resize(first + count, T::default());
        let made = out.get_mut(first..).unwrap_or_default();
        if down == 1 {
            self.make(&self.window, self.window.len(), store, made);
        } else {
            // All output samples of one phase are `down` input samples apart: side by side, once every `down`th has been laid beside the other.
            let mut apart = [0.0; APART];
            let used = self.window.get(..history + block.len() + down * TILE).unwrap_or(&self.window);
            let stride = used.len().div_ceil(down);
            match down {
                2 => lay_apart::<2>(used, stride, &mut apart),
                3 => lay_apart::<3>(used, stride, &mut apart),
                _ => lay_apart::<6>(used, stride, &mut apart),
            }
            self.make(&apart, stride, store, made);
        }
        self.time = self.time + count * down - block.len() * up;
        self.window.copy_within(block.len()..block.len() + history, 0);
    }

    /// The output samples `made` of a block, of which every `down`th sample stands beside the other, in lanes of `stride`.
    #[inline(always)]
    fn make<T: Copy + Default>(&self, samples: &[f32], stride: usize, store: impl Fn(f32) -> T, made: &mut [T]) {
        let Bank { up, down, .. } = *self.bank;
        for turn in 0..up.min(made.len()) {
            let time = self.time + turn * down;
            let Some(coefficients) = self.bank.phase(time % up) else { break };
            let of_phase = made.get_mut(turn..).unwrap_or_default();
            // The taps of an output sample end with the input sample that it belongs to, hence begin `history` before it.
            let mut oldest = time / up;
            for tile in of_phase.chunks_mut(up * TILE) {
                let sums = convolve(coefficients, samples, oldest, down, stride);
                // Side by side as well, before they are put where they belong.
                let mut stored = [T::default(); TILE];
                for (slot, &sum) in stored.iter_mut().zip(&sums) {
                    *slot = store(sum);
                }
                for (slot, sample) in tile.iter_mut().step_by(up).zip(stored) {
                    *slot = sample;
                }
                oldest += TILE * down;
            }
        }
    }
}

/// Lays every `DOWN`th sample beside the other, in lanes of `stride`.
#[inline(always)]
fn lay_apart<const DOWN: usize>(samples: &[f32], stride: usize, apart: &mut [f32]) {
    let (groups, rest) = samples.as_chunks::<DOWN>();
    for (residue, lane) in apart.chunks_exact_mut(stride).take(DOWN).enumerate() {
        let (whole, last) = lane.split_at_mut(groups.len().min(lane.len()));
        for (slot, group) in whole.iter_mut().zip(groups) {
            *slot = group.get(residue).copied().unwrap_or_default();
        }
        if let (Some(slot), Some(&sample)) = (last.first_mut(), rest.get(residue)) {
            *slot = sample;
        }
    }
}

/// [`TILE`] output samples of a phase, the taps of the first beginning at `oldest`. They grow side by side, which leaves the compiler
/// free to use vectors, as a single sum does not: the order of additions of floats is part of the result.
#[multiversion::multiversion(targets("x86_64+avx2+fma", "x86_64+avx2"))]
fn convolve(coefficients: &[f32], samples: &[f32], oldest: usize, down: usize, stride: usize) -> [f32; TILE] {
    let mut sums = [0.0; TILE];
    let (mut residue, mut at) = (oldest % down, oldest / down);
    for &coefficient in coefficients {
        let Some(beside) = samples.get(residue * stride + at..).and_then(<[f32]>::first_chunk::<TILE>) else { break };
        for (sum, &sample) in sums.iter_mut().zip(beside) {
            // In one step, where the machine has that: without it `mul_add` is a library call.
            *sum = if multiversion::target::target_cfg_f!(target_feature = "fma") {
                coefficient.mul_add(sample, *sum)
            } else {
                *sum + coefficient * sample
            };
        }
        residue += 1;
        if residue == down {
            (residue, at) = (0, at + 1);
        }
    }
    sums
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests;
