use std::slice::ChunksExact;

use thiserror::Error;

use super::extended::Blocks;
use super::{
    EXTENDED_REPORT, GOODBYE, ITEM_CNAME, ITEM_END, RECEIVER_REPORT, ReportBlock, SENDER_REPORT, SOURCE_DESCRIPTION,
    SenderInfo,
};

const BLOCK_LEN: usize = 24;
const COUNT_BITS: u8 = 0x1f;
const PADDING: u8 = 0x20;

/// Why bytes are not an RTCP compound packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RtcpError {
    #[error("shorter than its header or its own length says")]
    Short,
    #[error("not RTCP version 2")]
    Version,
    #[error("does not begin with a report")]
    NoReport,
    #[error("padding where none may be, or longer than its packet")]
    Padding,
    #[error("counts more than it holds")]
    Count,
}

/// A compound packet whose structure was checked.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    bytes: &'a [u8],
}

/// Checks a compound packet (RFC 3550 A.2).
pub fn parse(bytes: &[u8]) -> Result<Compound<'_>, RtcpError> {
    let mut rest = bytes;
    // RFC 3550 §6.1: the first packet is always a report.
    match rest {
        [_, SENDER_REPORT | RECEIVER_REPORT, ..] => {}
        [_, _, ..] => return Err(RtcpError::NoReport),
        _ => return Err(RtcpError::Short),
    }
    while !rest.is_empty() {
        let (raw, after) = Raw::split(rest)?;
        // RFC 3550 §6.4.1: only the last packet of a compound one may be padded.
        if raw.padded && !after.is_empty() {
            return Err(RtcpError::Padding);
        }
        Packet::read(raw)?;
        rest = after;
    }
    Ok(Compound { bytes })
}

impl<'a> Compound<'a> {
    pub fn packets(&self) -> Packets<'a> {
        Packets { rest: self.bytes }
    }
}

/// The packets of a compound packet, in order.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let (raw, after) = Raw::split(self.rest).ok()?;
        self.rest = after;
        Packet::read(raw).ok()
    }
}

#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Packet<'a> {
    SenderReport {
        ssrc: u32,
        info: SenderInfo,
        blocks: ReportBlocks<'a>,
    },
    ReceiverReport {
        ssrc: u32,
        blocks: ReportBlocks<'a>,
    },
    SourceDescription(Chunks<'a>),
    Goodbye(Goodbye<'a>),
    /// RFC 3611.
    ExtendedReport {
        ssrc: u32,
        blocks: Blocks<'a>,
    },
    /// A type that is not known here: its number and its content after the four octets of the header.
    Unknown {
        packet_type: u8,
        content: &'a [u8],
    },
}

/// One packet, cut out but not yet looked into.
struct Raw<'a> {
    count: usize,
    packet_type: u8,
    padded: bool,
    content: &'a [u8],
}

impl<'a> Raw<'a> {
    fn split(bytes: &'a [u8]) -> Result<(Raw<'a>, &'a [u8]), RtcpError> {
        let Some((&[first, packet_type, l0, l1], rest)) = bytes.split_first_chunk() else {
            return Err(RtcpError::Short);
        };
        if first >> 6 != 2 {
            return Err(RtcpError::Version);
        }
        let length = usize::from(u16::from_be_bytes([l0, l1])) * 4;
        let (mut content, after) = rest.split_at_checked(length).ok_or(RtcpError::Short)?;
        let padded = first & PADDING != 0;
        if padded {
            // RFC 3550 §6.4.1: the count includes itself and is a multiple of four.
            let count = usize::from(content.last().copied().unwrap_or(0));
            let kept = content.len().checked_sub(count).ok_or(RtcpError::Padding)?;
            if count == 0 || count % 4 != 0 {
                return Err(RtcpError::Padding);
            }
            content = content.get(..kept).unwrap_or_default();
        }
        Ok((Raw { count: usize::from(first & COUNT_BITS), packet_type, padded, content }, after))
    }
}

impl<'a> Packet<'a> {
    fn read(raw: Raw<'a>) -> Result<Packet<'a>, RtcpError> {
        let mut content = raw.content;
        Ok(match raw.packet_type {
            SENDER_REPORT => {
                let ssrc = take_u32(&mut content)?;
                let ntp = (u64::from(take_u32(&mut content)?) << 32) | u64::from(take_u32(&mut content)?);
                let info = SenderInfo {
                    ntp,
                    timestamp: take_u32(&mut content)?,
                    packets: take_u32(&mut content)?,
                    octets: take_u32(&mut content)?,
                };
                Packet::SenderReport { ssrc, info, blocks: ReportBlocks::cut(content, raw.count)? }
            }
            RECEIVER_REPORT => {
                let ssrc = take_u32(&mut content)?;
                Packet::ReceiverReport { ssrc, blocks: ReportBlocks::cut(content, raw.count)? }
            }
            SOURCE_DESCRIPTION => {
                let chunks = Chunks { rest: content, left: raw.count };
                let mut check = chunks.clone();
                while check.left > 0 {
                    check.read()?;
                }
                Packet::SourceDescription(chunks)
            }
            GOODBYE => {
                let (ssrcs, after) = content.split_at_checked(raw.count * 4).ok_or(RtcpError::Count)?;
                let reason = match after.split_first() {
                    None => None,
                    Some((&length, text)) => Some(text.get(..usize::from(length)).ok_or(RtcpError::Count)?),
                };
                Packet::Goodbye(Goodbye { ssrcs, reason })
            }
            EXTENDED_REPORT => {
                let ssrc = take_u32(&mut content)?;
                Packet::ExtendedReport { ssrc, blocks: Blocks::cut(content)? }
            }
            packet_type => Packet::Unknown { packet_type, content },
        })
    }
}

pub(super) fn take_u32(bytes: &mut &[u8]) -> Result<u32, RtcpError> {
    let (first, rest) = bytes.split_first_chunk().ok_or(RtcpError::Count)?;
    *bytes = rest;
    Ok(u32::from_be_bytes(*first))
}

/// The report blocks of one report, at most 31.
#[derive(Clone, Debug)]
pub struct ReportBlocks<'a> {
    blocks: ChunksExact<'a, u8>,
}

impl<'a> ReportBlocks<'a> {
    /// What follows the blocks is a profile's extension (RFC 3550 §6.4.3) and is not looked at.
    fn cut(content: &'a [u8], count: usize) -> Result<Self, RtcpError> {
        let blocks = content.get(..count * BLOCK_LEN).ok_or(RtcpError::Count)?;
        Ok(ReportBlocks { blocks: blocks.chunks_exact(BLOCK_LEN) })
    }
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let mut content = self.blocks.next()?;
        let mut word = || take_u32(&mut content).ok();
        let (ssrc, loss, extended_highest, jitter) = (word()?, word()?, word()?, word()?);
        Some(ReportBlock {
            ssrc,
            fraction_lost: (loss >> 24) as u8,
            // 24 bits, sign extended.
            cumulative_lost: (loss << 8) as i32 >> 8,
            extended_highest,
            jitter,
            last_sr: word()?,
            delay_since_last_sr: word()?,
        })
    }
}

/// The chunks of a source description, at most 31.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    rest: &'a [u8],
    left: usize,
}

/// One source and its canonical name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    pub ssrc: u32,
    /// RFC 3550 §6.5.1; as it came, not necessarily UTF-8.
    pub cname: Option<&'a [u8]>,
}

impl<'a> Chunks<'a> {
    fn read(&mut self) -> Result<Chunk<'a>, RtcpError> {
        self.left = self.left.saturating_sub(1);
        let start = self.rest.len();
        let mut rest = self.rest;
        let ssrc = take_u32(&mut rest)?;
        let mut cname = None;
        loop {
            match rest.split_first() {
                None => return Err(RtcpError::Count),
                Some((&ITEM_END, after)) => {
                    // RFC 3550 §6.5: zeros to the next multiple of four, at least this one.
                    let used = start - after.len();
                    let fill = used.next_multiple_of(4) - used;
                    self.rest = after.get(fill..).ok_or(RtcpError::Count)?;
                    return Ok(Chunk { ssrc, cname });
                }
                Some((&item, after)) => {
                    let (&length, text) = after.split_first().ok_or(RtcpError::Count)?;
                    let (text, after) = text.split_at_checked(usize::from(length)).ok_or(RtcpError::Count)?;
                    if item == ITEM_CNAME {
                        cname = Some(text);
                    }
                    rest = after;
                }
            }
        }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        if self.left == 0 { None } else { self.read().ok() }
    }
}

/// RFC 3550 §6.6: sources that leave.
#[derive(Clone, Copy, Debug)]
pub struct Goodbye<'a> {
    ssrcs: &'a [u8],
    pub reason: Option<&'a [u8]>,
}

impl<'a> Goodbye<'a> {
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + 'a {
        self.ssrcs.chunks_exact(4).filter_map(|word| Some(u32::from_be_bytes(word.try_into().ok()?)))
    }
}
