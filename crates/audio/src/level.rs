//! Levels in dBm0.
//!
//! ITU-T G.711 §4 fixes the scale by a sequence of eight code words, which decodes to a 1 kHz sine at 0 dBm0: the theoretical
//! load capacity, a sine that just reaches the end of the coding range, is then +3.14 dBm0 for A-law and +3.17 dBm0 for mu-law.
//! Decoded to 16 bits, that range ends at 32,768 (A-law) and 32,636 (mu-law), which makes 0 dBm0 the same to 0.07 dB; the A-law
//! figure is the one used here for linear samples.

/// The level of a sine with a peak of 32,768 (ITU-T G.711 §4).
#[allow(clippy::approx_constant, reason = "decibels, not pi")]
pub const FULL_SCALE_SINE_DBM0: f64 = 3.14;

const FULL_SCALE: f64 = 32_768.0;

/// The peak of a sine at `level_dbm0`, in sample units.
pub fn amplitude(level_dbm0: f64) -> f64 {
    FULL_SCALE * 10f64.powf((level_dbm0 - FULL_SCALE_SINE_DBM0) / 20.0)
}

/// The level of the mean power of `samples`, a constant offset included. Silence and an empty slice are minus infinity.
pub fn level_dbm0(samples: &[i16]) -> f64 {
    let energy: u64 = samples.iter().map(|&s| u64::from(s.unsigned_abs()).pow(2)).sum();
    power_dbm0(energy as f64 / samples.len().max(1) as f64)
}

/// `mean_square` in squared sample units.
pub(crate) fn power_dbm0(mean_square: f64) -> f64 {
    10.0 * (mean_square / (FULL_SCALE * FULL_SCALE / 2.0)).log10() + FULL_SCALE_SINE_DBM0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pcma_decode, pcmu_decode};

    /// ITU-T G.711 Tables 5 and 6: one period of 1 kHz at 0 dBm0.
    const MILLIWATT_A: [u8; 8] = [0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4];
    const MILLIWATT_MU: [u8; 8] = [0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e];

    #[test]
    fn the_digital_milliwatt_is_0_dbm0() {
        let mut samples = [0; 8];
        pcma_decode(&MILLIWATT_A, &mut samples);
        assert!(level_dbm0(&samples).abs() < 0.01, "{}", level_dbm0(&samples));
        pcmu_decode(&MILLIWATT_MU, &mut samples);
        assert!(level_dbm0(&samples).abs() < 0.08, "{}", level_dbm0(&samples));
    }

    #[test]
    fn silence_is_below_everything() {
        assert_eq!(level_dbm0(&[0; 160]), f64::NEG_INFINITY);
        assert_eq!(level_dbm0(&[]), f64::NEG_INFINITY);
    }

    #[test]
    fn the_loudest_signal_is_a_square_3_db_above_the_sine() {
        let square = [i16::MIN; 160];
        assert!((level_dbm0(&square) - (FULL_SCALE_SINE_DBM0 + 3.0103)).abs() < 1e-3);
        assert!((amplitude(FULL_SCALE_SINE_DBM0) - 32_768.0).abs() < 1e-9);
        assert!((amplitude(FULL_SCALE_SINE_DBM0 - 20.0) - 3_276.8).abs() < 1e-9);
    }
}
