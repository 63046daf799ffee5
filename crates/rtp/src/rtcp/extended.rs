//! Extended reports (RFC 3611): the blocks by which a call's quality and the round trip of who only listens are told.
//!
//! A block whose length is not what its type has (§3: such are to be ignored), and one of another type, comes as [`Block::Unknown`].

use super::EXTENDED_REPORT;
use super::read::{RtcpError, take_u32};
use super::write::packet;

/// Block types (RFC 3611 §4.4, §4.5, §4.7).
const RECEIVER_REFERENCE_TIME: u8 = 4;
const DELAY_SINCE_LAST: u8 = 5;
const VOIP_METRICS: u8 = 7;
/// In words, without the block's own header.
const REFERENCE_WORDS: usize = 2;
const DELAY_WORDS: usize = 3;
const VOIP_WORDS: usize = 8;
/// RFC 3611 §4.7.4, §4.7.5: what could not be measured.
const UNAVAILABLE: u8 = 127;
/// RFC 3611 §4.7.5: MOS in tenths.
const MOS: std::ops::RangeInclusive<u8> = 10..=50;
const R_MOST: u8 = 100;

/// How a receiver plays what is lost (RFC 3611 §4.7.6, PLC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concealment {
    #[default]
    Unspecified,
    /// Silence.
    Disabled,
    Enhanced,
    Standard,
}

/// The kind of a receiver's jitter buffer (RFC 3611 §4.7.6, JBA).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JitterBufferKind {
    #[default]
    Unknown,
    Fixed,
    Adaptive,
}

/// RFC 3611 §4.7: what a receiver says of the quality of one stream. `None`: it could not be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VoipMetrics {
    pub ssrc: u32,
    /// The next four are parts of 256.
    pub loss_rate: u8,
    /// Came, and was not played.
    pub discard_rate: u8,
    /// Lost and discarded within bursts, and between them.
    pub burst_density: u8,
    pub gap_density: u8,
    /// Means, milliseconds.
    pub burst_duration_ms: u16,
    pub gap_duration_ms: u16,
    pub round_trip_ms: Option<u16>,
    pub end_system_delay_ms: Option<u16>,
    /// dBm0, as all levels.
    pub signal_level: Option<i8>,
    pub noise_level: Option<i8>,
    /// Residual echo return loss, dB.
    pub echo_return_loss: Option<u8>,
    /// Packets that came, one after the other, by which two bursts are told apart.
    pub gmin: u8,
    pub r_factor: Option<u8>,
    /// Of a network behind the receiver.
    pub external_r_factor: Option<u8>,
    /// Listening and conversational quality, tenths.
    pub mos_lq: Option<u8>,
    pub mos_cq: Option<u8>,
    pub concealment: Concealment,
    pub jitter_buffer: JitterBufferKind,
    /// How quickly the buffer adapts, 0 to 15.
    pub jitter_buffer_rate: u8,
    pub jitter_buffer_nominal_ms: u16,
    pub jitter_buffer_maximum_ms: u16,
    pub jitter_buffer_absolute_maximum_ms: u16,
}

/// RFC 3611 §4.5: the answer to one receiver's reference time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DelaySinceLast {
    /// Who sent the reference time.
    pub ssrc: u32,
    /// Middle 32 bits of its NTP time; 0: none came.
    pub last_rr: u32,
    /// Since that came, in 1/65536 s.
    pub delay: u32,
}

#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Block<'a> {
    /// RFC 3611 §4.4: 64-bit NTP time of who sends no sender reports.
    ReferenceTime(u64),
    /// At most as many as fit into a packet.
    Delays(Delays<'a>),
    VoipMetrics(VoipMetrics),
    Unknown {
        block_type: u8,
        content: &'a [u8],
    },
}

/// The blocks of one extended report, in order.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    rest: &'a [u8],
}

impl<'a> Blocks<'a> {
    /// Checks that each block ends within the packet.
    pub(super) fn cut(content: &'a [u8]) -> Result<Self, RtcpError> {
        let mut rest = content;
        while !rest.is_empty() {
            (_, _, rest) = split(rest).ok_or(RtcpError::Count)?;
        }
        Ok(Blocks { rest: content })
    }
}

/// One block's type, its content, and what follows it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[block_type, _, l0, l1], rest) = bytes.split_first_chunk()?;
    let (content, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])) * 4)?;
    Some((block_type, content, rest))
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let (block_type, content, rest) = split(self.rest)?;
        self.rest = rest;
        let words = content.len() / 4;
        let known = match block_type {
            RECEIVER_REFERENCE_TIME if words == REFERENCE_WORDS => {
                content.first_chunk().map(|time| Block::ReferenceTime(u64::from_be_bytes(*time)))
            }
            DELAY_SINCE_LAST if words.is_multiple_of(DELAY_WORDS) => Some(Block::Delays(Delays { rest: content })),
            VOIP_METRICS if words == VOIP_WORDS => VoipMetrics::read(content).map(Block::VoipMetrics),
            _ => None,
        };
        Some(known.unwrap_or(Block::Unknown { block_type, content }))
    }
}

/// The sub-blocks of a block of delays.
#[derive(Clone, Copy, Debug)]
pub struct Delays<'a> {
    rest: &'a [u8],
}

impl Iterator for Delays<'_> {
    type Item = DelaySinceLast;

    fn next(&mut self) -> Option<DelaySinceLast> {
        let mut word = || take_u32(&mut self.rest).ok();
        Some(DelaySinceLast { ssrc: word()?, last_rr: word()?, delay: word()? })
    }
}

impl VoipMetrics {
    fn read(content: &[u8]) -> Option<Self> {
        let (&[s0, s1, s2, s3], rest) = content.split_first_chunk()?;
        let (&[loss_rate, discard_rate, burst_density, gap_density], rest) = rest.split_first_chunk()?;
        let (&durations, rest) = rest.split_first_chunk::<8>()?;
        let (&[signal, noise, echo, gmin], rest) = rest.split_first_chunk()?;
        let (&[r, external_r, mos_lq, mos_cq], rest) = rest.split_first_chunk()?;
        let &[config, _, n0, n1, m0, m1, a0, a1] = rest.first_chunk()?;
        let [b0, b1, g0, g1, t0, t1, e0, e1] = durations;
        let delay = |high, low| Some(u16::from_be_bytes([high, low])).filter(|ms| *ms != 0);
        let level = |octet: u8| (octet != UNAVAILABLE).then_some(octet.cast_signed());
        // RFC 3611 §4.7.5: 127 where there is none; other values outside of the range have no meaning.
        let factor = |octet: u8| (octet <= R_MOST).then_some(octet);
        let mos = |octet: u8| MOS.contains(&octet).then_some(octet);
        Some(VoipMetrics {
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
            loss_rate,
            discard_rate,
            burst_density,
            gap_density,
            burst_duration_ms: u16::from_be_bytes([b0, b1]),
            gap_duration_ms: u16::from_be_bytes([g0, g1]),
            round_trip_ms: delay(t0, t1),
            end_system_delay_ms: delay(e0, e1),
            signal_level: level(signal),
            noise_level: level(noise),
            echo_return_loss: (echo != UNAVAILABLE).then_some(echo),
            gmin,
            r_factor: factor(r),
            external_r_factor: factor(external_r),
            mos_lq: mos(mos_lq),
            mos_cq: mos(mos_cq),
            concealment: match config >> 6 {
                1 => Concealment::Disabled,
                2 => Concealment::Enhanced,
                3 => Concealment::Standard,
                _ => Concealment::Unspecified,
            },
            jitter_buffer: match config >> 4 & 3 {
                2 => JitterBufferKind::Fixed,
                3 => JitterBufferKind::Adaptive,
                _ => JitterBufferKind::Unknown,
            },
            jitter_buffer_rate: config & 15,
            jitter_buffer_nominal_ms: u16::from_be_bytes([n0, n1]),
            jitter_buffer_maximum_ms: u16::from_be_bytes([m0, m1]),
            jitter_buffer_absolute_maximum_ms: u16::from_be_bytes([a0, a1]),
        })
    }

    fn write(&self, to: &mut Vec<u8>) {
        let level = |level: Option<i8>| level.map_or(UNAVAILABLE, i8::cast_unsigned);
        let rating = |rating: Option<u8>| rating.unwrap_or(UNAVAILABLE);
        block(to, VOIP_METRICS, VOIP_WORDS as u16);
        to.extend(self.ssrc.to_be_bytes());
        to.extend([self.loss_rate, self.discard_rate, self.burst_density, self.gap_density]);
        to.extend(self.burst_duration_ms.to_be_bytes());
        to.extend(self.gap_duration_ms.to_be_bytes());
        // RFC 3611 §4.7.3: zero until they are known.
        to.extend(self.round_trip_ms.unwrap_or(0).to_be_bytes());
        to.extend(self.end_system_delay_ms.unwrap_or(0).to_be_bytes());
        to.extend([level(self.signal_level), level(self.noise_level), rating(self.echo_return_loss), self.gmin]);
        to.extend([self.r_factor, self.external_r_factor, self.mos_lq, self.mos_cq].map(rating));
        let concealment = match self.concealment {
            Concealment::Unspecified => 0,
            Concealment::Disabled => 1,
            Concealment::Enhanced => 2,
            Concealment::Standard => 3,
        };
        let buffer = match self.jitter_buffer {
            JitterBufferKind::Unknown => 0,
            JitterBufferKind::Fixed => 2,
            JitterBufferKind::Adaptive => 3,
        };
        to.extend([(concealment << 6) | (buffer << 4) | (self.jitter_buffer_rate & 15), 0]);
        to.extend(self.jitter_buffer_nominal_ms.to_be_bytes());
        to.extend(self.jitter_buffer_maximum_ms.to_be_bytes());
        to.extend(self.jitter_buffer_absolute_maximum_ms.to_be_bytes());
    }
}

/// An extended report to write: of each block at most one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extended {
    /// 64-bit NTP time.
    pub reference_time: Option<u64>,
    pub delay: Option<DelaySinceLast>,
    pub voip: Option<VoipMetrics>,
}

impl Extended {
    pub fn is_empty(&self) -> bool {
        self.reference_time.is_none() && self.delay.is_none() && self.voip.is_none()
    }

    pub(super) fn write(&self, ssrc: u32, to: &mut Vec<u8>) {
        packet(to, 0, EXTENDED_REPORT, |to| {
            to.extend(ssrc.to_be_bytes());
            if let Some(time) = self.reference_time {
                block(to, RECEIVER_REFERENCE_TIME, REFERENCE_WORDS as u16);
                to.extend(time.to_be_bytes());
            }
            if let Some(DelaySinceLast { ssrc, last_rr, delay }) = self.delay {
                block(to, DELAY_SINCE_LAST, DELAY_WORDS as u16);
                to.extend([ssrc, last_rr, delay].map(u32::to_be_bytes).as_flattened());
            }
            if let Some(voip) = &self.voip {
                voip.write(to);
            }
        });
    }
}

fn block(to: &mut Vec<u8>, block_type: u8, words: u16) {
    let [l0, l1] = words.to_be_bytes();
    to.extend([block_type, 0, l0, l1]);
}
