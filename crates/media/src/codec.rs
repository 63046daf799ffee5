//! What the engine needs of an encoding, for each that there is.

use ringback_audio::{self as audio, Coding};
use ringback_media_api::Codec;

/// The arithmetic behind a codec.
pub(crate) const fn coding(codec: Codec) -> Coding {
    match codec {
        Codec::Pcma => Coding::Pcma,
        // `Codec` is open to additions; each comes with an arm here.
        _ => Coding::Pcmu,
    }
}

/// Timestamp units that a payload lasts.
pub(crate) fn units(codec: Codec, payload: &[u8]) -> u32 {
    let samples = coding(codec).samples_in(payload) as u64;
    u32::try_from(samples * u64::from(codec.clock_rate()) / u64::from(codec.sample_rate())).unwrap_or(u32::MAX)
}

/// Timestamp units a millisecond.
pub(crate) const fn units_per_ms(codec: Codec) -> u32 {
    codec.clock_rate() / 1000
}

/// Samples of decoded audio a millisecond.
pub(crate) const fn samples_per_ms(codec: Codec) -> usize {
    codec.sample_rate() as usize / 1000
}

/// Turns a payload of one encoding into one of another, in place.
pub(crate) fn transcode(from: Codec, to: Codec, payload: &mut [u8]) {
    match (from, to) {
        (Codec::Pcmu, Codec::Pcma) => audio::pcmu_to_pcma(payload),
        (Codec::Pcma, Codec::Pcmu) => audio::pcma_to_pcmu(payload),
        _ => {}
    }
}

/// The octet that a receiver hears as nothing.
pub(crate) const fn silence(codec: Codec) -> u8 {
    match codec {
        Codec::Pcma => audio::PCMA_SILENCE,
        _ => audio::PCMU_SILENCE,
    }
}

/// The playout buffer's tag of an encoding.
pub(crate) fn tag(codec: Codec) -> u8 {
    Codec::ALL.iter().position(|known| *known == codec).unwrap_or(0) as u8
}

pub(crate) fn of_tag(tag: u8) -> Codec {
    Codec::ALL.get(usize::from(tag)).copied().unwrap_or(Codec::Pcmu)
}
