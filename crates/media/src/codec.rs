//! What the engine needs of an encoding, for each that there is.

use ringback_audio as audio;
use ringback_media_api::Codec;

/// The octet that a receiver hears as nothing.
pub(crate) const fn silence(codec: Codec) -> u8 {
    match codec {
        Codec::Pcma => audio::PCMA_SILENCE,
        // `Codec` is open to additions; each comes with an arm here.
        _ => audio::PCMU_SILENCE,
    }
}

/// Timestamp units that a payload lasts.
pub(crate) fn units(codec: Codec, payload: usize) -> u32 {
    let _ = codec;
    u32::try_from(payload).unwrap_or(u32::MAX)
}

/// Timestamp units a millisecond.
pub(crate) const fn units_per_ms(codec: Codec) -> u32 {
    codec.clock_rate() / 1000
}

/// Samples of decoded audio a millisecond.
pub(crate) const fn samples_per_ms(codec: Codec) -> usize {
    codec.sample_rate() as usize / 1000
}

/// Appends what the payload says.
pub(crate) fn decode(codec: Codec, payload: &[u8], to: &mut Vec<i16>) {
    let start = to.len();
    to.resize(start + payload.len(), 0);
    let Some(samples) = to.get_mut(start..) else { return };
    match codec {
        Codec::Pcma => audio::pcma_decode(payload, samples),
        _ => audio::pcmu_decode(payload, samples),
    }
}

/// Encodes into a payload of as many octets as there are samples.
pub(crate) fn encode(codec: Codec, samples: &[i16], payload: &mut [u8]) {
    match codec {
        Codec::Pcma => audio::pcma_encode(samples, payload),
        _ => audio::pcmu_encode(samples, payload),
    }
}

/// Turns a payload of one encoding into one of another, in place.
pub(crate) fn transcode(from: Codec, to: Codec, payload: &mut [u8]) {
    match (from, to) {
        (Codec::Pcmu, Codec::Pcma) => audio::pcmu_to_pcma(payload),
        (Codec::Pcma, Codec::Pcmu) => audio::pcma_to_pcmu(payload),
        _ => {}
    }
}
