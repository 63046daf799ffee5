use super::extended::Extended;
use super::{
    GOODBYE, ITEM_CNAME, ITEM_END, RECEIVER_REPORT, ReportBlock, SENDER_REPORT, SOURCE_DESCRIPTION, SenderInfo,
};

const VERSION_BITS: u8 = 2 << 6;

/// One compound packet to write: a report, the canonical name, an extended report, and a goodbye where we leave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report<'a> {
    pub ssrc: u32,
    /// `Some`: a sender report. `None`: we have not sent lately, a receiver report (RFC 3550 §6.4).
    pub sender: Option<SenderInfo>,
    pub block: Option<ReportBlock>,
    /// Cut at 255 octets.
    pub cname: &'a str,
    /// Left out where it is empty.
    pub extended: Extended,
    pub goodbye: bool,
}

/// Appends the compound packet.
pub fn write(report: &Report<'_>, to: &mut Vec<u8>) {
    let packet_type = if report.sender.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
    packet(to, u8::from(report.block.is_some()), packet_type, |to| {
        to.extend(report.ssrc.to_be_bytes());
        if let Some(info) = &report.sender {
            to.extend(info.ntp.to_be_bytes());
            to.extend(info.timestamp.to_be_bytes());
            to.extend(info.packets.to_be_bytes());
            to.extend(info.octets.to_be_bytes());
        }
        if let Some(block) = &report.block {
            to.extend(block.ssrc.to_be_bytes());
            let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
            to.extend(((u32::from(block.fraction_lost) << 24) | lost).to_be_bytes());
            to.extend(block.extended_highest.to_be_bytes());
            to.extend(block.jitter.to_be_bytes());
            to.extend(block.last_sr.to_be_bytes());
            to.extend(block.delay_since_last_sr.to_be_bytes());
        }
    });
    // RFC 3550 §6.1: every compound packet holds a CNAME.
    packet(to, 1, SOURCE_DESCRIPTION, |to| {
        to.extend(report.ssrc.to_be_bytes());
        let name = report.cname.as_bytes();
        let name = name.get(..usize::from(u8::MAX)).unwrap_or(name);
        to.extend([ITEM_CNAME, name.len() as u8]);
        to.extend(name);
        to.push(ITEM_END);
    });
    if !report.extended.is_empty() {
        report.extended.write(report.ssrc, to);
    }
    if report.goodbye {
        packet(to, 1, GOODBYE, |to| to.extend(report.ssrc.to_be_bytes()));
    }
}

/// One packet: header, content, zeros to a multiple of four, and then the length that it came to.
pub(super) fn packet(to: &mut Vec<u8>, count: u8, packet_type: u8, content: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend([VERSION_BITS | count, packet_type, 0, 0]);
    content(to);
    let length = (to.len() - start).next_multiple_of(4);
    to.resize(start + length, 0);
    let words = (length / 4 - 1) as u16;
    if let Some(field) = to.get_mut(start + 2..start + 4) {
        field.copy_from_slice(&words.to_be_bytes());
    }
}
