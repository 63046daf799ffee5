//! The E-model of ITU-T G.107: transmission rating R from loss and delay, and the mean opinion score of Annex B.
//!
//! What is not measured is taken from the Recommendation's defaults: R0 - Is = 93.2, no echo, advantage factor 0, and losses that
//! are random where their runs were not counted (BurstR = 1).

/// R0 - Is with all other parameters at their defaults (G.107 §7.7).
const R_DEFAULT: f64 = 93.2;

/// How a codec, with its way of concealing loss, suffers: ITU-T G.113 Appendix I.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// Equipment impairment factor.
    pub ie: f64,
    /// Packet-loss robustness factor.
    pub bpl: f64,
}

impl Impairment {
    /// G.711 whose gaps are played as silence.
    pub const G711: Impairment = Impairment { ie: 0.0, bpl: 4.3 };
    /// G.711 with the concealment of its Appendix I.
    pub const G711_CONCEALED: Impairment = Impairment { ie: 0.0, bpl: 25.1 };
}

/// G.107 §7.5: Ie-eff.
fn effective_impairment(codec: Impairment, loss_percent: f64, burst_ratio: f64) -> f64 {
    codec.ie + (95.0 - codec.ie) * loss_percent / (loss_percent / burst_ratio + codec.bpl)
}

/// G.107 §7.4: Idd, what a delay of `one_way_ms` takes away.
fn delay_impairment(one_way_ms: f64) -> f64 {
    if one_way_ms <= 100.0 {
        return 0.0;
    }
    let x = (one_way_ms / 100.0).log2();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

/// G.107 §7.5 knows losses that are random, 1, or come in runs, more. Longer runs than this are outages, for which the model was not made.
const BURST_RATIO_MOST: f64 = 8.0;

/// Transmission rating R, at most 93.2. `burst_ratio`: `None` while no loss was measured. `one_way_ms`: mouth to ear, `None` while it was not measured (then nothing is taken off).
pub fn rating(codec: Impairment, loss_percent: f64, burst_ratio: Option<f64>, one_way_ms: Option<f64>) -> f64 {
    let loss = loss_percent.clamp(0.0, 100.0);
    let delay = one_way_ms.map_or(0.0, delay_impairment);
    let burst_ratio = burst_ratio.unwrap_or(1.0).clamp(1.0, BURST_RATIO_MOST);
    (R_DEFAULT - effective_impairment(codec, loss, burst_ratio) - delay).max(0.0)
}

/// MOS-CQE of a rating (G.107 Annex B).
pub fn mos(r: f64) -> f64 {
    if r <= 0.0 {
        1.0
    } else if r >= 100.0 {
        4.5
    } else {
        // The cubic dips below 1 for very small R.
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(figure: f64, reference: f64) {
        assert!((figure - reference).abs() < 0.0051, "{figure} against {reference}");
    }

    #[test]
    fn loss_of_g711_as_the_reference_calculates_it() {
        let rows =
            [(0.0, 4.41), (0.5, 4.14), (1.0, 3.83), (2.0, 3.26), (3.0, 2.79), (5.0, 2.17), (10.0, 1.48), (20.0, 1.12)];
        for (loss, score) in rows {
            close(mos(rating(Impairment::G711, loss, None, None)), score);
        }
        for (loss, score) in [(0.0, 4.41), (1.0, 4.33), (2.0, 4.23), (5.0, 3.92), (10.0, 3.41), (20.0, 2.63)] {
            close(mos(rating(Impairment::G711_CONCEALED, loss, None, None)), score);
        }
    }

    #[test]
    fn delay_as_the_reference_calculates_it() {
        for (ms, score) in
            [(50.0, 4.41), (100.0, 4.41), (150.0, 4.41), (200.0, 4.34), (250.0, 4.18), (300.0, 3.96), (400.0, 3.56)]
        {
            close(mos(rating(Impairment::G711, 0.0, None, Some(ms))), score);
        }
    }

    #[test]
    fn losses_in_runs_sound_worse_than_single_ones() {
        let rated = |ratio| rating(Impairment::G711_CONCEALED, 5.0, Some(ratio), None);
        assert_eq!(rated(0.9), rated(1.0));
        // 95 * 5 / (5 / 2 + 25.1) = 17.2.
        assert!((rated(2.0) - (93.2 - 17.21)).abs() < 0.01, "{}", rated(2.0));
        assert!(rated(1000.0) > 70.0);
    }

    #[test]
    fn the_score_stays_within_its_scale() {
        for loss in 0..=100 {
            for ms in [0.0, 150.0, 1000.0, 1e6] {
                let score = mos(rating(Impairment::G711, f64::from(loss), None, Some(ms)));
                assert!((1.0..=4.5).contains(&score), "{loss} %, {ms} ms: {score}");
            }
        }
        assert_eq!(mos(-3.0), 1.0);
        assert_eq!(mos(120.0), 4.5);
    }
}
