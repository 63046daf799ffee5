//! Opus (RFC 6716) by libopus: settings, and what can be told of a packet without decoding it.

use opus::{Application, Bandwidth, Bitrate, Channels};

/// Gaps are concealed so long; silence after that. A sender that is silent on purpose (DTX) sends a packet each 400 ms.
pub(super) const CONCEALED_MS: usize = 1000;

/// The most that a packet of ours has: it fits any path.
pub(super) const MOST_OCTETS: usize = 1275;

/// RFC 6716 §3.2.5: no packet is longer than 120 ms. At 48 kHz.
const LONGEST: usize = 5760;

/// How an encoder works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusSettings {
    /// Bits a second, 6,000 to 510,000.
    pub bitrate: u32,
    /// 0 (least work) to 10.
    pub complexity: u8,
    /// Packets carry a copy of the one before, as good as `loss_percent` makes worth while.
    pub fec: bool,
    pub loss_percent: u8,
    /// Silence is hardly sent.
    pub dtx: bool,
    /// What the receiver can play, Hz: nothing above half of it is sent.
    pub playback_rate: u32,
}

impl Default for OpusSettings {
    /// RFC 7587 §3.1.1: 28 to 40 kbit/s for full-band speech.
    fn default() -> Self {
        OpusSettings { bitrate: 32_000, complexity: 5, fec: true, loss_percent: 5, dtx: false, playback_rate: 48_000 }
    }
}

/// `None`: libopus has no memory, or knows no such rate.
pub(super) fn encoder(rate: u32, settings: &OpusSettings) -> Option<opus::Encoder> {
    let mut encoder = opus::Encoder::new(rate, Channels::Mono, Application::Voip).ok()?;
    encoder.set_bitrate(Bitrate::Bits(settings.bitrate.clamp(6_000, 510_000) as i32)).ok()?;
    encoder.set_complexity(settings.complexity.min(10).into()).ok()?;
    encoder.set_inband_fec(settings.fec).ok()?;
    encoder.set_packet_loss_perc(settings.loss_percent.min(100).into()).ok()?;
    encoder.set_dtx(settings.dtx).ok()?;
    let bandwidth = match settings.playback_rate {
        ..=8_000 => Bandwidth::Narrowband,
        8_001..=12_000 => Bandwidth::Mediumband,
        12_001..=16_000 => Bandwidth::Wideband,
        16_001..=24_000 => Bandwidth::Superwideband,
        _ => Bandwidth::Fullband,
    };
    encoder.set_max_bandwidth(bandwidth).ok()?;
    Some(encoder)
}

pub(super) fn decoder(rate: u32) -> Option<opus::Decoder> {
    opus::Decoder::new(rate, Channels::Mono).ok()
}

/// Samples at 48 kHz by the table of contents (RFC 6716 §3.1). 0: no packet.
pub(super) fn samples_in(packet: &[u8]) -> usize {
    let Some(&toc) = packet.first() else { return 0 };
    let config = toc >> 3;
    let frame = match config {
        0..12 => [480, 960, 1920, 2880].get(usize::from(config % 4)).copied().unwrap_or(0),
        12..16 => 480 << (config % 2),
        _ => 120 << (config % 4),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(0, |count| usize::from(count & 0x3f)),
    };
    // Longer ones are malformed.
    Some(frame * frames).filter(|samples| *samples <= LONGEST).unwrap_or(0)
}

/// Appends a packet of silence of 10, 20, 40 or 60 ms: one frame of CELT that says so, or two, or three of 20 ms.
pub(super) fn silence(ms: usize, to: &mut Vec<u8>) {
    const SILENT: [u8; 2] = [0xff, 0xfe];
    match ms {
        ..=10 => to.push(30 << 3),
        11..=20 => to.push(31 << 3),
        // Two frames of equal length.
        21..=40 => {
            to.push(31 << 3 | 1);
            to.extend(SILENT);
        }
        // Three, all of equal length.
        _ => {
            to.extend([31 << 3 | 3, 3]);
            to.extend(SILENT);
            to.extend(SILENT);
        }
    }
    to.extend(SILENT);
}

/// RFC 7587 §3.1.3: the octet of a packet without a frame, by which a sender says that it pauses.
pub(super) const fn pause(ms: usize) -> u8 {
    if ms <= 10 { 30 << 3 } else { 31 << 3 }
}

#[cfg(test)]
mod tests;
