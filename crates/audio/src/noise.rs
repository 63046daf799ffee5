//! Comfort noise (RFC 3389): noise of the level and, where the sender gave it, the spectrum of what the far end is silent with.

/// RFC 3389 §3.2 leaves the model order to the sender; more than this adds nothing that is heard.
const ORDER: usize = 12;
/// 0 dBov: a square at full scale.
const OVERLOAD: f32 = 32_768.0;

/// One pause.
#[derive(Clone, Debug)]
pub struct ComfortNoise {
    /// Of the uniform excitation.
    amplitude: f32,
    reflection: [f32; ORDER],
    /// Of the all-pole lattice, the backward predictions.
    memory: [f32; ORDER + 1],
    random: u32,
}

impl ComfortNoise {
    /// From the payload: a level, then reflection coefficients. `None`: it is empty.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (&level, coefficients) = payload.split_first()?;
        // RFC 3389 §3.1: -dBov in 7 bits; the other is 0.
        let level = OVERLOAD * 10_f32.powf(-f32::from(level & 0x7f) / 20.0);
        let mut reflection = [0.0; ORDER];
        let mut gain = 1.0_f32;
        for (k, &quantized) in reflection.iter_mut().zip(coefficients) {
            // RFC 3389 §3.2: 0 to 254 stand for -1 to 1; kept where the filter is stable.
            *k = ((f32::from(quantized) - 127.0) / 127.0).clamp(-0.99, 0.99);
            gain *= 1.0 - *k * *k;
        }
        // A uniform distribution has a third of its peak's power; the filter adds what its poles amplify.
        let amplitude = (level * level * 3.0 * gain).sqrt();
        Some(ComfortNoise { amplitude, reflection, memory: [0.0; ORDER + 1], random: 0x2545_f491 })
    }

    /// Takes another packet's level and spectrum, without a break in the noise.
    pub fn update(&mut self, next: ComfortNoise) {
        self.amplitude = next.amplitude;
        self.reflection = next.reflection;
    }

    /// Overwrites `samples`.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for sample in samples {
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut forward = self.amplitude * (self.random as i32 as f32 / 2_147_483_648.0);
            for i in (0..ORDER).rev() {
                let (Some(&k), Some(&backward)) = (self.reflection.get(i), self.memory.get(i)) else { return };
                forward -= k * backward;
                if let Some(next) = self.memory.get_mut(i + 1) {
                    *next = backward + k * forward;
                }
            }
            self.memory[0] = forward;
            *sample = crate::round::to_sample(forward);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{level_dbm0, tone_level_dbm0};

    /// dBov of a sine at full scale is -3.01, and +3.14 dBm0.
    const DBM0_OF_DBOV: f64 = crate::FULL_SCALE_SINE_DBM0 + 3.01;

    fn noise(payload: &[u8]) -> Vec<i16> {
        let mut samples = vec![0; 16_000];
        ComfortNoise::parse(payload).expect("a level").fill(&mut samples);
        samples
    }

    #[test]
    fn the_level_is_as_asked_with_and_without_a_spectrum() {
        for level in [30, 45, 60] {
            for spectrum in [&[][..], &[127; 5], &[40], &[220, 60, 150], &[0; 20], &[255; 20]] {
                let payload: Vec<u8> = [level].iter().chain(spectrum).copied().collect();
                let heard = level_dbm0(&noise(&payload)) - DBM0_OF_DBOV;
                // Near the limit of stability the level settles slowly.
                let slack = if spectrum.len() == 20 { 25.0 } else { 1.5 };
                assert!((heard + f64::from(level)).abs() < slack, "{payload:?}: {heard} dBov");
            }
        }
        assert!(ComfortNoise::parse(&[]).is_none());
        assert!(level_dbm0(&noise(&[127])) < -90.0);
    }

    #[test]
    fn coefficients_shape_the_spectrum() {
        let low = noise(&[30, 10]);
        let level = |hertz| (0..8).map(|i| tone_level_dbm0(&low, 8_000, hertz + 7.0 * f64::from(i))).sum::<f64>() / 8.0;
        assert!(level(300.0) > level(3_500.0) + 12.0, "{} {}", level(300.0), level(3_500.0));
    }
}
