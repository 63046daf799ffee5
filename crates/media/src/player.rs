//! What a leg plays in place of what feeds it otherwise: a tone that is made here, or a sound that is filled elsewhere.
//!
//! A sound that is not filled in time is heard as silence and goes on when more comes; one that is stopped falls within a few
//! milliseconds, as a tone does, so that there is no click.

use std::sync::Arc;

use ringback_audio::{Resampler, ToneGenerator};
use ringback_media_api::Sound;

/// A sound that is stopped falls within so long.
const FALL_MS: u32 = 5;

pub(crate) enum Player {
    Tone(ToneGenerator),
    Sound(Box<SoundPlayer>),
}

impl Player {
    pub(crate) fn sound(sound: Arc<Sound>, rate: u32) -> Self {
        sound.begin(rate);
        Player::Sound(Box::new(SoundPlayer { sound, chunk: Box::default(), at: 0, resampled: None, falling: None }))
    }

    /// Writes the next piece over all of `out`, which is at `rate`, zeros once it is over. Returns how many samples were of it.
    pub(crate) fn fill(&mut self, rate: u32, out: &mut [i16]) -> usize {
        match self {
            Player::Tone(tone) => tone.fill(out),
            Player::Sound(player) => player.fill(rate, out),
        }
    }

    /// Lets it fall from now on.
    pub(crate) fn stop(&mut self) {
        match self {
            Player::Tone(tone) => tone.stop(),
            Player::Sound(player) => player.falling = player.falling.or(Some(0)),
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Player::Tone(tone) => tone.is_finished(),
            Player::Sound(player) => player.is_finished(),
        }
    }

    /// It ended before its end: stopped from outside, or it could not be filled.
    pub(crate) fn was_cut_short(&self) -> bool {
        match self {
            Player::Tone(_) => false,
            Player::Sound(player) => player.falling.is_some() || player.sound.failure().is_some(),
        }
    }
}

pub(crate) struct SoundPlayer {
    sound: Arc<Sound>,
    chunk: Box<[i16]>,
    /// How much of the chunk was played.
    at: usize,
    /// Where the sound's rate is not the leg's, because the codec has changed since it began.
    resampled: Option<Resampled>,
    /// Samples that it has fallen already.
    falling: Option<u32>,
}

struct Resampled {
    resampler: Resampler,
    input: Vec<i16>,
    output: Vec<i16>,
}

impl SoundPlayer {
    fn is_finished(&self) -> bool {
        match self.falling {
            Some(fallen) => fallen >= self.fall(),
            None => self.at >= self.chunk.len() && self.sound.is_over(),
        }
    }

    fn fall(&self) -> u32 {
        self.sound.rate().unwrap_or(8000) * FALL_MS / 1000
    }

    fn fill(&mut self, rate: u32, out: &mut [i16]) -> usize {
        if self.sound.is_stopped() {
            // Whoever stopped it need not tell the leg.
            self.falling = self.falling.or(Some(0));
        }
        let own = self.sound.rate().unwrap_or(rate);
        if own == rate {
            self.resampled = None;
            return self.take(out);
        }
        let mut resampled = match self.resampled.take() {
            Some(resampled) if resampled.resampler.to_rate() == rate => resampled,
            _ => match Resampler::new(own, rate) {
                Ok(resampler) => Resampled { resampler, input: Vec::new(), output: Vec::new() },
                // No codec has such a rate.
                Err(_) => return self.take(out),
            },
        };
        let want = (out.len() as u64 * u64::from(own) / u64::from(rate.max(1))) as usize;
        resampled.input.clear();
        resampled.input.resize(want, 0);
        let sounding = self.take(&mut resampled.input);
        resampled.resampler.process(&resampled.input, &mut resampled.output);
        let ready = resampled.output.len().min(out.len());
        for (sample, made) in out.iter_mut().zip(resampled.output.drain(..ready)) {
            *sample = made;
        }
        if let Some(rest) = out.get_mut(ready..) {
            rest.fill(0);
        }
        self.resampled = Some(resampled);
        if sounding > 0 { out.len() } else { 0 }
    }

    /// The next samples, at the sound's own rate. What is not there yet counts as sounding.
    fn take(&mut self, out: &mut [i16]) -> usize {
        let mut filled = 0;
        while filled < out.len() {
            if self.at >= self.chunk.len() {
                match self.sound.take() {
                    Some(chunk) => (self.chunk, self.at) = (chunk, 0),
                    None => break,
                }
            }
            let rest = self.chunk.get(self.at..).unwrap_or_default();
            let count = rest.len().min(out.len() - filled);
            if let Some(slot) = out.get_mut(filled..filled + count) {
                slot.copy_from_slice(rest.get(..count).unwrap_or_default());
            }
            filled += count;
            self.at += count;
        }
        if let Some(silence) = out.get_mut(filled..) {
            silence.fill(0);
        }
        let fall = self.fall();
        if let Some(fallen) = &mut self.falling {
            for sample in out.iter_mut() {
                let left = fall.saturating_sub(*fallen);
                *sample = (i64::from(*sample) * i64::from(left) / i64::from(fall.max(1))) as i16;
                *fallen = fallen.saturating_add(1);
            }
            return out.len().min(filled.max(1));
        }
        // Late, not over: it holds its place.
        if self.sound.is_over() { filled } else { out.len() }
    }
}

impl Drop for SoundPlayer {
    /// Whoever fills it need not go on.
    fn drop(&mut self) {
        self.sound.stop();
    }
}
