//! Body of a fuzz target: whatever a peer sends as a payload, the decoders keep their word.

use super::{Coding, Decoder, Encoder};

const CODINGS: [Coding; 8] = [
    Coding::Pcmu,
    Coding::Pcma,
    Coding::G722,
    Coding::L16(16_000),
    Coding::Opus,
    Coding::L16(8_000),
    Coding::L16(24_000),
    Coding::L16(48_000),
];
const RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

/// `data`: which coding and rate, then payloads, each after its length; an empty one is lost.
pub fn payloads(data: &[u8]) {
    let Some((&which, mut rest)) = data.split_first() else { return };
    let Some(&coding) = CODINGS.get(usize::from(which) % CODINGS.len()) else { return };
    let Some(&rate) = RATES.get(usize::from(which >> 4) % RATES.len()) else { return };
    let mut decoder = Decoder::at(coding, rate);
    let mut out = Vec::new();
    while let Some((&length, after)) = rest.split_first() {
        let (payload, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        out.clear();
        if payload.is_empty() {
            let lost = usize::from(length) * 7 + 1;
            decoder.recover(lost, rest, &mut out);
            assert_eq!(out.len(), lost, "{coding:?}");
            continue;
        }
        let samples = decoder.decode(payload, &mut out);
        let meant = coding.samples_in(payload) * decoder.sample_rate() as usize / coding.sample_rate() as usize;
        assert_eq!(samples, out.len());
        assert!(samples == 0 || samples == meant, "{coding:?}: {samples} of {meant}");
        let mut payload = Vec::new();
        Encoder::new(coding).silence(20, &mut payload);
        assert_eq!(coding.samples_in(&payload), coding.sample_rate() as usize / 50);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn random_payloads_do_no_harm() {
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for _ in 0..300 {
            let mut data = vec![random()];
            for _ in 0..20 {
                let length = random() % 90;
                data.push(length);
                data.extend((0..length).map(|_| random()));
                // Lost.
                data.push(0);
            }
            super::payloads(&data);
        }
    }
}
