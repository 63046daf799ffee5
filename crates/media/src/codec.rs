//! What the engine needs of an encoding, for each that there is.

use ringback_audio::{self as audio, Coding, Encoder, OpusSettings};
use ringback_media_api::{Codec, OpusSend};

/// The arithmetic behind a codec.
pub(crate) const fn coding(codec: Codec) -> Coding {
    match codec {
        Codec::Opus => Coding::Opus,
        Codec::G722 => Coding::G722,
        Codec::L16At8 | Codec::L16At16 | Codec::L16At24 | Codec::L16At48 => Coding::L16(codec.sample_rate()),
        Codec::Pcma => Coding::Pcma,
        // `Codec` is open to additions; each comes with an arm here.
        _ => Coding::Pcmu,
    }
}

/// Timestamp units that a payload lasts; 0 where it is none of the codec.
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

/// The packet time that is sent where `ptime_ms` is wanted.
pub(crate) const fn packet_ms(codec: Codec, ptime_ms: u8) -> u8 {
    coding(codec).packet_ms(ptime_ms)
}

/// Octets a timestamp unit, where payloads can be cut and joined anywhere.
pub(crate) const fn octets_per_unit(codec: Codec) -> Option<usize> {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 => Some(1),
        Codec::L16At8 | Codec::L16At16 | Codec::L16At24 | Codec::L16At48 => Some(2),
        // Frames of its own.
        _ => None,
    }
}

/// Turns a payload of one law into one of the other, in place.
pub(crate) fn exchange_laws(from: Codec, to: Codec, payload: &mut [u8]) {
    match (from, to) {
        (Codec::Pcmu, Codec::Pcma) => audio::pcmu_to_pcma(payload),
        (Codec::Pcma, Codec::Pcmu) => audio::pcma_to_pcmu(payload),
        _ => {}
    }
}

/// The octet that fills a short gap of a stream that is not decoded.
pub(crate) const fn silence(codec: Codec) -> u8 {
    match codec {
        Codec::Pcma => audio::PCMA_SILENCE,
        Codec::Pcmu => audio::PCMU_SILENCE,
        // The smallest differences of both bands.
        Codec::G722 => 0xfd,
        _ => 0,
    }
}

/// `loss_percent`: what the peer reports, if it has.
pub(crate) fn encoder(codec: Codec, opus: &OpusSend, loss_percent: Option<u8>) -> Encoder {
    let before = OpusSettings::default();
    let settings = OpusSettings {
        bitrate: opus.bitrate,
        complexity: opus.complexity,
        fec: opus.fec,
        loss_percent: loss_percent.unwrap_or(before.loss_percent),
        dtx: opus.dtx,
        playback_rate: opus.playback_rate,
    };
    Encoder::with(coding(codec), codec.sample_rate(), &settings)
}

/// The playout buffer's tag of an encoding.
pub(crate) fn tag(codec: Codec) -> u8 {
    Codec::ALL.iter().position(|known| *known == codec).unwrap_or(0) as u8
}

/// `None`: it is the tag of comfort noise.
pub(crate) fn of_tag(tag: u8) -> Option<Codec> {
    Codec::ALL.get(usize::from(tag)).copied()
}

/// The playout buffer's tag of comfort noise (RFC 3389).
pub(crate) const COMFORT_NOISE: u8 = u8::MAX;

/// RFC 7587 §3.1.3: a packet of Opus by which its sender says that it pauses has one octet, or two.
pub(crate) const OPUS_PAUSE_OCTETS: usize = 2;
/// RFC 6716 §2.1.9: so often something is sent in a pause.
pub(crate) const OPUS_PAUSE_REPEATED_MS: u64 = 400;

/// Whether each packet stands for itself, so that packets of several encoders may follow each other.
pub(crate) const fn is_stateless(codec: Codec) -> bool {
    matches!(coding(codec), Coding::Pcmu | Coding::Pcma | Coding::L16(_))
}
