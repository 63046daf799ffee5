//! RTCP (RFC 3550 §6, RFC 3611): reading and writing compound packets, when the next is due, and the round trip.
//!
//! Reading checks the whole compound packet (A.2) before anything of it is looked at; types that are not known are skipped.

mod extended;
mod interval;
mod read;
mod round_trip;
mod write;

pub use extended::{
    Block as ExtendedBlock, Blocks as ExtendedBlocks, Concealment, DelaySinceLast, Delays, Extended, JitterBufferKind,
    VoipMetrics,
};
pub use interval::{Interval, interval};
pub use read::{Chunk, Chunks, Compound, Goodbye, Packet, Packets, ReportBlocks, RtcpError, parse};
pub use round_trip::RoundTrip;
pub use write::{Report, write};

/// Packet types (RFC 3550 §12.1).
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
/// RFC 3611 §2.
const EXTENDED_REPORT: u8 = 207;
/// SDES item: end of the list, and the canonical name.
const ITEM_END: u8 = 0;
const ITEM_CNAME: u8 = 1;

/// RFC 3550 §6.4.1: what a sender says of its own stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// 64-bit NTP time of the report.
    pub ntp: u64,
    /// The same instant in the stream's timestamps.
    pub timestamp: u32,
    pub packets: u32,
    pub octets: u32,
}

/// RFC 3550 §6.4.1: what a receiver says of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    pub ssrc: u32,
    /// Of 256, since the report before.
    pub fraction_lost: u8,
    /// 24 bits with sign.
    pub cumulative_lost: i32,
    pub extended_highest: u32,
    /// Timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report; 0: none came.
    pub last_sr: u32,
    /// Since that came, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

#[cfg(test)]
mod tests;
