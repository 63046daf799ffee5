//! What a caller hears of a call's progress where nobody speaks: ringing tone, busy tone, congestion tone, as national networks have
//! them.
//!
//! ITU-T E.180/Q.35 recommends frequencies and cadences (§4.2, §5, §6) and a level of -10 dBm0 (§8); its Supplement 2 and the national
//! standards list what is in use. Of tones that are modulated the carriers are played.

use crate::ToneGenerator;

/// ITU-T E.180 §8.
const LEVEL_DBM0: f32 = -10.0;

/// A signal of a call's progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The called party is being alerted (ringing tone, "ringback").
    RingBack,
    /// The called party is engaged.
    Busy,
    /// No way there is free.
    Congestion,
}

/// Two frequencies in Hz (the second 0: one alone), and the milliseconds for which they sound and then do not.
type Part = (u16, u16, u32, u32);

struct Network {
    /// ISO 3166-1, in lower case.
    country: &'static str,
    ring_back: &'static [Part],
    busy: &'static [Part],
    congestion: &'static [Part],
}

const fn network(
    country: &'static str,
    ring_back: &'static [Part],
    busy: &'static [Part],
    congestion: &'static [Part],
) -> Network {
    Network { country, ring_back, busy, congestion }
}

/// What E.180 recommends: 425 Hz; ringing tone 0.67 to 1.5 s in 3 to 5 s, busy and congestion tone of equal halves, the latter faster.
const RECOMMENDED: Network = network("", &[(425, 0, 1000, 4000)], &[(425, 0, 500, 500)], &[(425, 0, 250, 250)]);

/// By country.
#[rustfmt::skip] // A table.
const NETWORKS: &[Network] = &[
    network("at", &[(420, 0, 1000, 5000)], &[(420, 0, 400, 400)], &[(420, 0, 200, 200)]),
    network("au", &[(413, 438, 400, 200), (413, 438, 400, 2000)], &[(425, 0, 375, 375)], &[(425, 0, 375, 375)]),
    network("be", &[(425, 0, 1000, 3000)], &[(425, 0, 500, 500)], &[(425, 0, 167, 167)]),
    network("bg", &[(425, 0, 1000, 4000)], &[(425, 0, 500, 500)], &[(425, 0, 250, 250)]),
    network("br", &[(425, 0, 1000, 4000)], &[(425, 0, 250, 250)], &[(425, 0, 250, 250), (425, 0, 750, 250)]),
    network("ca", &[(440, 480, 2000, 4000)], &[(480, 620, 500, 500)], &[(480, 620, 250, 250)]),
    network("ch", &[(425, 0, 1000, 4000)], &[(425, 0, 500, 500)], &[(425, 0, 200, 200)]),
    network("cl", &[(400, 0, 1000, 3000)], &[(400, 0, 500, 500)], &[(400, 0, 200, 200)]),
    network("cn", &[(450, 0, 1000, 4000)], &[(450, 0, 350, 350)], &[(450, 0, 700, 700)]),
    network("cz", &[(425, 0, 1000, 4000)], &[(425, 0, 330, 330)], &[(425, 0, 165, 165)]),
    network("de", &[(425, 0, 1000, 4000)], &[(425, 0, 480, 480)], &[(425, 0, 240, 240)]),
    network("dk", &[(425, 0, 1000, 4000)], &[(425, 0, 500, 500)], &[(425, 0, 200, 200)]),
    network("ee", &[(425, 0, 1000, 4000)], &[(425, 0, 300, 300)], &[(425, 0, 200, 200)]),
    network("es", &[(425, 0, 1500, 3000)], &[(425, 0, 200, 200)], &[(425, 0, 200, 200), (425, 0, 200, 200), (425, 0, 200, 600)]),
    network("fi", &[(425, 0, 1000, 4000)], &[(425, 0, 300, 300)], &[(425, 0, 200, 200)]),
    network("fr", &[(440, 0, 1500, 3500)], &[(440, 0, 500, 500)], &[(440, 0, 250, 250)]),
    network("gb", &[(400, 450, 400, 200), (400, 450, 400, 2000)], &[(400, 0, 375, 375)], &[(400, 0, 400, 350), (400, 0, 225, 525)]),
    network("gr", &[(425, 0, 1000, 4000)], &[(425, 0, 300, 300)], &[(425, 0, 200, 200)]),
    network("hu", &[(425, 0, 1250, 3750)], &[(425, 0, 300, 300)], &[(425, 0, 300, 300)]),
    network("id", &[(425, 0, 1000, 4000)], &[(425, 0, 500, 500)], &[(425, 0, 250, 250)]),
    network("il", &[(414, 0, 1000, 3000)], &[(414, 0, 500, 500)], &[(414, 0, 250, 250)]),
    network("in", &[(400, 0, 400, 200), (400, 0, 400, 2000)], &[(400, 0, 750, 750)], &[(400, 0, 250, 250)]),
    network("it", &[(425, 0, 1000, 4000)], &[(425, 0, 500, 500)], &[(425, 0, 200, 200)]),
    network("jp", &[(400, 0, 1000, 2000)], &[(400, 0, 500, 500)], &[(400, 0, 500, 500)]),
    network("lt", &[(425, 0, 1000, 4000)], &[(425, 0, 350, 350)], &[(425, 0, 200, 200)]),
    network("mx", &[(425, 0, 1000, 4000)], &[(425, 0, 250, 250)], &[(425, 0, 250, 250)]),
    network("my", &[(425, 0, 400, 200), (425, 0, 400, 2000)], &[(425, 0, 500, 500)], &[(425, 0, 500, 500)]),
    network("nl", &[(425, 0, 1000, 4000)], &[(425, 0, 500, 500)], &[(425, 0, 250, 250)]),
    network("no", &[(425, 0, 1000, 4000)], &[(425, 0, 500, 500)], &[(425, 0, 200, 200)]),
    network("nz", &[(400, 450, 400, 200), (400, 450, 400, 2000)], &[(400, 0, 500, 500)], &[(400, 0, 250, 250)]),
    network("ph", &[(425, 480, 1000, 4000)], &[(480, 620, 500, 500)], &[(480, 620, 250, 250)]),
    network("pl", &[(425, 0, 1000, 4000)], &[(425, 0, 500, 500)], &[(425, 0, 500, 500)]),
    network("pt", &[(425, 0, 1000, 5000)], &[(425, 0, 500, 500)], &[(425, 0, 200, 200)]),
    network("ru", &[(425, 0, 1000, 4000)], &[(425, 0, 350, 350)], &[(425, 0, 175, 175)]),
    network("se", &[(425, 0, 1000, 5000)], &[(425, 0, 250, 250)], &[(425, 0, 250, 750)]),
    network("sg", &[(425, 0, 400, 200), (425, 0, 400, 2000)], &[(425, 0, 750, 750)], &[(425, 0, 250, 250)]),
    network("th", &[(420, 0, 1000, 5000)], &[(400, 0, 500, 500)], &[(400, 0, 300, 300)]),
    network("tw", &[(440, 480, 1000, 2000)], &[(480, 620, 500, 500)], &[(480, 620, 250, 250)]),
    network("us", &[(440, 480, 2000, 4000)], &[(480, 620, 500, 500)], &[(480, 620, 250, 250)]),
    network("ve", &[(425, 0, 1000, 4000)], &[(425, 0, 500, 500)], &[(425, 0, 250, 250)]),
    network("za", &[(383, 417, 400, 200), (383, 417, 400, 2000)], &[(400, 0, 500, 500)], &[(400, 0, 250, 250)]),
];

impl Signal {
    /// One period of the signal, to be repeated: samples at `rate` Hz. `country` is of ISO 3166-1, two letters in either case; without it what
    /// E.180 recommends. `None`: the country is not in the table.
    pub fn period(self, country: Option<&str>, rate: u32) -> Option<Vec<i16>> {
        let network = match country {
            None => &RECOMMENDED,
            Some(country) => NETWORKS.iter().find(|network| network.country.eq_ignore_ascii_case(country))?,
        };
        let parts = match self {
            Signal::RingBack => network.ring_back,
            Signal::Busy => network.busy,
            Signal::Congestion => network.congestion,
        };
        let mut samples = Vec::new();
        for &(first, second, on_ms, off_ms) in parts {
            let frequencies = [f32::from(first), f32::from(second)];
            let frequencies = if second == 0 { &frequencies[..1] } else { &frequencies[..] };
            let count = (on_ms * rate / 1000) as usize;
            let mut tone = ToneGenerator::new(rate, frequencies, LEVEL_DBM0).ok()?.lasting(count as u64);
            let start = samples.len();
            samples.resize(start + count + (off_ms * rate / 1000) as usize, 0);
            tone.fill(samples.get_mut(start..start + count)?);
        }
        Some(samples)
    }

    /// The countries whose signals are known.
    pub fn countries() -> impl Iterator<Item = &'static str> {
        NETWORKS.iter().map(|network| network.country)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{level_dbm0, tone_level_dbm0};

    const ALL: [Signal; 3] = [Signal::RingBack, Signal::Busy, Signal::Congestion];

    #[test]
    fn all_countries_have_all_signals_at_all_rates() {
        assert!(Signal::countries().count() >= 20);
        assert!(Signal::countries().collect::<Vec<_>>().is_sorted(), "each once, and easily found");
        for country in Signal::countries().map(Some).chain([None]) {
            for signal in ALL {
                for rate in [8_000, 16_000, 48_000] {
                    let period = signal.period(country, rate).expect("known");
                    let seconds = period.len() as f64 / f64::from(rate);
                    // E.180 §4.2: the period of the ringing tone; §5 and §6: 0.3 to 1.1 s, which some networks leave.
                    let range = if signal == Signal::RingBack { 2.9..=6.1 } else { 0.3..=2.0 };
                    assert!(range.contains(&seconds), "{country:?} {signal:?}: {seconds} s");
                    assert!(period[period.len() - 8..].iter().all(|s| *s == 0), "a pause at the end");
                    let sounding: Vec<i16> = period.iter().copied().take(rate as usize / 8).collect();
                    assert!((level_dbm0(&sounding) + 10.0).abs() < 1.0, "{country:?} {signal:?}");
                }
            }
        }
        assert_eq!(Signal::Busy.period(Some("xx"), 8_000), None);
    }

    #[test]
    fn signals_sound_as_the_networks_have_them() {
        let us = Signal::RingBack.period(Some("US"), 8_000).expect("known");
        assert_eq!(us.len(), 48_000);
        for hz in [440.0, 480.0] {
            assert!((tone_level_dbm0(&us[..16_000], 8_000, hz) + 13.0).abs() < 0.2);
        }
        assert!(us[16_000..].iter().all(|s| *s == 0));
        let gb = Signal::RingBack.period(Some("gb"), 8_000).expect("known");
        let sounds: Vec<bool> = gb.chunks(1_600).map(|piece| level_dbm0(piece) > -20.0).collect();
        let expected = [[true, true, false, true, true].as_slice(), &[false; 10]].concat();
        assert_eq!(sounds, expected);
        let de = Signal::Busy.period(Some("de"), 8_000).expect("known");
        assert_eq!(de.len(), 960 * 8);
        assert!((tone_level_dbm0(&de[..3_840], 8_000, 425.0) + 10.0).abs() < 0.2);
    }
}
