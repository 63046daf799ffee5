//! Concealment of lost audio after ITU-T G.711 Appendix I, at any sample rate: the last pitch period goes on.
//!
//! The first 10 ms repeat one pitch period, the next two and three of them, lest a repeated period sounds like a buzzer; from 10 ms
//! on every 10 ms take a fifth of the level away, and after 60 ms there is silence. Where sound comes back, both are faded into
//! each other.
//!
//! Unlike the Appendix there is no delay of 3.75 ms for the sake of the first joint: what the last sample differs by from the one a
//! period before it is added to what follows, and fades away.

/// Samples a millisecond at the rate that the figures of the Appendix are given for.
const PER_MS: usize = 8;
/// 5 ms to 15 ms: voices from 200 Hz down to 66 Hz.
const SHORTEST_PITCH: usize = 40;
const LONGEST_PITCH: usize = 120;
/// Three pitch periods, and a quarter of one to fade.
const HISTORY: usize = 3 * LONGEST_PITCH + LONGEST_PITCH / 4;
/// So many multiples of that are kept before what is older is thrown away, all in one go: nothing is moved with each packet.
const KEPT: usize = 3;
/// What is compared with what was a pitch period before: 20 ms.
const WINDOW: usize = 160;
/// 10 ms: the step in which level and number of periods change.
const STEP: usize = 80;
/// Steps after which nothing is left.
const STEPS: usize = 6;
/// What a step takes from the level, but for the first.
const ATTENUATION: f32 = 0.2;
/// Fading back takes a quarter period, and 4 ms more for each step after the first, 10 ms at most.
const FADE_MORE: usize = 32;

/// One stream's concealment. It is shown every sample that is played, and asked for those that are not there.
#[derive(Clone, Debug)]
pub struct Concealer {
    /// The sample rate in multiples of 8 kHz.
    scale: usize,
    /// What was played, oldest first, of which the end is looked at (`past`). Empty until the first: nobody knows whether there will be any.
    history: Vec<i16>,
    /// While concealing: the history as it was, its end faded so that it can be repeated.
    periods: Vec<i16>,
    pitch: usize,
    /// How many periods are repeated.
    repeated: usize,
    /// Where in them the next sample is.
    offset: usize,
    /// Samples concealed since the last real one.
    missing: usize,
}

impl Concealer {
    /// `sample_rate`: a multiple of 8 kHz up to 48 kHz; another is taken for the next below.
    pub fn new(sample_rate: u32) -> Self {
        Concealer {
            scale: (sample_rate as usize / 1000 / PER_MS).clamp(1, 6),
            history: Vec::new(),
            periods: Vec::new(),
            pitch: 0,
            repeated: 1,
            offset: 0,
            missing: 0,
        }
    }

    /// Takes note of what is to be played next. After a gap the beginning of it is changed so as to join.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if samples.is_empty() {
            return;
        }
        let length = HISTORY * self.scale;
        if self.history.is_empty() {
            self.history.reserve_exact(KEPT * length);
            self.history.resize(length, 0);
        } else if self.missing > 0 {
            self.join(samples);
        }
        self.missing = 0;
        let new = samples.get(samples.len().saturating_sub(length)..).unwrap_or_default();
        if self.history.len() + new.len() > KEPT * length {
            let stays = self.history.len().saturating_sub(length - new.len());
            self.history.copy_within(stays.., 0);
            self.history.truncate(length - new.len());
        }
        self.history.extend_from_slice(new);
    }

    /// The last samples played.
    pub(crate) fn past(&self) -> &[i16] {
        let start = self.history.len().saturating_sub(HISTORY * self.scale);
        self.history.get(start..).unwrap_or_default()
    }

    /// Fills `to` with what might have been there.
    pub fn conceal(&mut self, to: &mut [i16]) {
        if self.history.is_empty() || self.is_silent() {
            to.fill(0);
            self.missing = self.missing.saturating_add(to.len());
            return;
        }
        let step = STEP * self.scale;
        let mut rest = to;
        while !rest.is_empty() {
            let done = self.missing % step;
            let (now, after) = rest.split_at_mut(rest.len().min(step - done));
            self.conceal_within_step(now, done);
            rest = after;
        }
    }

    /// Forgets what was played: another stream begins.
    pub fn reset(&mut self) {
        self.history.clear();
        self.missing = 0;
    }

    fn is_silent(&self) -> bool {
        self.missing >= STEPS * STEP * self.scale
    }

    /// `done`: samples of the present step that are over.
    fn conceal_within_step(&mut self, to: &mut [i16], done: usize) {
        let step = STEP * self.scale;
        let nth = self.missing / step;
        match (nth, done) {
            (0, 0) => self.begin(to),
            (1 | 2, 0) => self.repeat_one_more(to),
            _ => self.synthesise(to),
        }
        if nth > 0 {
            let slope = ATTENUATION / step as f32;
            let mut gain = 1.0 - ATTENUATION * (nth - 1) as f32 - slope * done as f32;
            for sample in to.iter_mut() {
                *sample = (f32::from(*sample) * gain.max(0.0)) as i16;
                gain -= slope;
            }
        }
        self.missing += to.len();
    }

    fn begin(&mut self, to: &mut [i16]) {
        self.pitch = self.find_pitch();
        self.repeated = 1;
        self.offset = 0;
        self.fade_periods();
        self.synthesise(to);
        let quarter = self.pitch / 4;
        let past = self.past();
        let back = |n: usize| past.len().checked_sub(n).and_then(|at| past.get(at)).copied().unwrap_or(0);
        let step = i32::from(back(1)) - i32::from(back(1 + self.pitch));
        for (i, sample) in to.iter_mut().take(quarter).enumerate() {
            let rest = step as f32 * (1.0 - (i + 1) as f32 / (quarter + 1) as f32);
            *sample = (f32::from(*sample) + rest) as i16;
        }
    }

    fn repeat_one_more(&mut self, to: &mut [i16]) {
        // What would have come joins what comes.
        let quarter = (self.pitch / 4).min(to.len());
        let offset = self.offset;
        let mut before = [0; LONGEST_PITCH / 4 * 6];
        let before = before.get_mut(..quarter).unwrap_or_default();
        self.synthesise(before);
        self.offset = offset % self.pitch;
        self.repeated += 1;
        self.fade_periods();
        self.synthesise(to);
        for (i, (sample, old)) in to.iter_mut().zip(&*before).enumerate() {
            *sample = faded(*old, *sample, i, quarter);
        }
    }

    /// The last quarter of the last period becomes that before the first one, so that the end leads to the beginning.
    fn fade_periods(&mut self) {
        let mut periods = std::mem::take(&mut self.periods);
        periods.clear();
        let past = self.past();
        periods.extend_from_slice(past);
        let quarter = self.pitch / 4;
        let end = periods.len().saturating_sub(quarter);
        let before = end.saturating_sub(self.pitch * self.repeated);
        for (i, sample) in periods.iter_mut().skip(end).enumerate() {
            if let (Some(&old), Some(&new)) = (past.get(end + i), past.get(before + i)) {
                *sample = faded(old, new, i, quarter);
            }
        }
        self.periods = periods;
    }

    fn synthesise(&mut self, to: &mut [i16]) {
        let length = self.pitch * self.repeated;
        let periods = self.periods.get(self.periods.len().saturating_sub(length)..).unwrap_or_default();
        let mut rest = to;
        while !rest.is_empty() {
            let from = periods.get(self.offset..).unwrap_or_default();
            let count = from.len().min(rest.len());
            if count == 0 {
                if self.offset == 0 {
                    return;
                }
                self.offset = 0;
                continue;
            }
            let (now, after) = rest.split_at_mut(count);
            now.copy_from_slice(from.get(..count).unwrap_or_default());
            self.offset += count;
            rest = after;
        }
    }

    /// Fades from the synthetic sound into the real one.
    fn join(&mut self, samples: &mut [i16]) {
        if self.is_silent() {
            self.history.fill(0);
        }
        let step = STEP * self.scale;
        let steps = self.missing.div_ceil(step).max(1);
        let length = (self.pitch / 4 + (steps - 1) * FADE_MORE * self.scale).min(step).min(samples.len());
        let gain = if self.is_silent() { 0.0 } else { 1.0 - ATTENUATION * (steps - 1) as f32 };
        let mut synthetic = [0; STEP * 6];
        let synthetic = synthetic.get_mut(..length).unwrap_or_default();
        if gain > 0.0 {
            self.synthesise(synthetic);
        }
        for (i, (sample, old)) in samples.iter_mut().zip(&*synthetic).enumerate() {
            *sample = faded((f32::from(*old) * gain) as i16, *sample, i, length);
        }
    }

    /// The lag at which the last 20 ms resemble what was before them the most; first by every other sample at 8 kHz, then by all.
    fn find_pitch(&self) -> usize {
        let (shortest, longest) = (SHORTEST_PITCH * self.scale, LONGEST_PITCH * self.scale);
        let coarse = 2 * self.scale;
        let lag = self.best_lag(shortest, longest, coarse);
        self.best_lag(lag.saturating_sub(coarse - 1).max(shortest), (lag + coarse - 1).min(longest), 1)
    }

    /// `from` is a multiple of `step`.
    fn best_lag(&self, from: usize, to: usize, step: usize) -> usize {
        let window = WINDOW * self.scale;
        let past = self.past();
        let start = past.len().saturating_sub(window);
        // Every `step`th sample, side by side.
        let mut thinned = [0; HISTORY / 2];
        let samples = if step > 1 {
            for (slot, sample) in thinned.iter_mut().zip(past.iter().skip(start % step).step_by(step)) {
                *slot = *sample;
            }
            &thinned[..]
        } else {
            past
        };
        let now = samples.get(start / step..).and_then(|now| now.get(..window / step)).unwrap_or_default();
        let mut best = (from, f32::NEG_INFINITY);
        for lag in (from..=to).step_by(step) {
            let before = samples.get((start / step).saturating_sub(lag / step)..).unwrap_or_default();
            let (product, energy) = products(now, before);
            // Below a level of a few steps there is nothing to compare.
            let likeness = product / energy.max(100.0 * window as f32 / step as f32).sqrt();
            if likeness > best.1 {
                best = (lag, likeness);
            }
        }
        best.0
    }
}

/// The sums of a times b and of b times b, as far as `a` goes in eights: in as many lanes, for the compiler to vectorise.
fn products(a: &[i16], b: &[i16]) -> (f32, f32) {
    let (mut product, mut energy) = ([0.0_f32; 8], [0.0_f32; 8]);
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for (((a, b), product), energy) in a.iter().zip(b).zip(&mut product).zip(&mut energy) {
            let (a, b) = (f32::from(*a), f32::from(*b));
            *product += a * b;
            *energy += b * b;
        }
    }
    (product.iter().sum(), energy.iter().sum())
}

/// The `i`th of `length` samples on the way from `old` to `new`.
#[inline(always)]
fn faded(old: i16, new: i16, i: usize, length: usize) -> i16 {
    let weight = (i + 1) as f32 / (length + 1) as f32;
    (f32::from(old) * (1.0 - weight) + f32::from(new) * weight) as i16
}

#[cfg(test)]
mod tests;
