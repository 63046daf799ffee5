//! The RTP fixed header (RFC 3550 §5.1), and a checked view of a whole packet.

use std::ops::Range;

use thiserror::Error;

/// Octets of the fixed header.
pub const HEADER_LEN: usize = 12;

const VERSION_BITS: u8 = 2 << 6;
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const CSRC_COUNT: u8 = 0x0f;
const MARKER: u8 = 0x80;

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    #[error("shorter than its header")]
    Short,
    #[error("not RTP version 2")]
    Version,
    #[error("an RTCP packet type")]
    Rtcp,
    #[error("padding longer than the payload")]
    Padding,
}

/// What the fixed header says, without CSRCs and extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

impl Header {
    /// The twelve octets: no padding, no extension, no CSRC.
    #[inline]
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [i0, i1, i2, i3] = self.ssrc.to_be_bytes();
        let second = (self.payload_type & 0x7f) | if self.marker { MARKER } else { 0 };
        [VERSION_BITS, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3]
    }
}

/// A packet that was found to be well formed: the header's values, and where the payload lies.
///
/// It borrows nothing, so that the same buffer can be rewritten for relaying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub header: Header,
    /// Range of the payload in the bytes that were parsed: after CSRCs and extension, before padding. Starts at 12 or later.
    pub payload: Range<usize>,
}

impl Packet {
    /// Checks what RFC 3550 A.1 lists, except for what depends on the session (payload type, sequence).
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Packet, HeaderError> {
        let Some((&[first, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3], rest)) = bytes.split_first_chunk() else {
            return Err(HeaderError::Short);
        };
        if first >> 6 != 2 {
            return Err(HeaderError::Version);
        }
        // RFC 5761 §4: payload types 64 to 95 are not used for RTP, because with the marker they read as RTCP's 192 to 223.
        if (192..=223).contains(&second) {
            return Err(HeaderError::Rtcp);
        }
        let header = Header {
            marker: second & MARKER != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
        };
        let mut payload = HEADER_LEN..bytes.len();
        if first & (PADDING | EXTENSION | CSRC_COUNT) != 0 {
            payload = Self::trimmed(bytes, rest, first)?;
        }
        Ok(Packet { header, payload })
    }

    /// The payload's range where CSRCs, an extension or padding surround it.
    #[cold]
    fn trimmed(bytes: &[u8], rest: &[u8], first: u8) -> Result<Range<usize>, HeaderError> {
        let mut skip = usize::from(first & CSRC_COUNT) * 4;
        if first & EXTENSION != 0 {
            // RFC 3550 §5.3.1: 16 bits defined by the profile, then the length in 32-bit words without these four octets.
            let Some(&[_, _, l0, l1]) = rest.get(skip..).and_then(|r| r.first_chunk()) else {
                return Err(HeaderError::Short);
            };
            skip += 4 + usize::from(u16::from_be_bytes([l0, l1])) * 4;
        }
        let length = rest.len().checked_sub(skip).ok_or(HeaderError::Short)?;
        let start = HEADER_LEN + skip;
        let padding = if first & PADDING != 0 {
            // RFC 3550 §5.1: the last octet counts the padding, itself included.
            match bytes.last() {
                Some(&count) if count > 0 && usize::from(count) <= length => usize::from(count),
                _ => return Err(HeaderError::Padding),
            }
        } else {
            0
        };
        Ok(start..bytes.len() - padding)
    }

    /// The payload within the bytes that this was parsed from.
    #[inline]
    pub fn payload_of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.payload.clone()).unwrap_or_default()
    }
}

/// RFC 5761 §4: whether a packet on a shared port is RTCP.
pub fn is_rtcp(bytes: &[u8]) -> bool {
    bytes.get(1).is_some_and(|second| (192..=223).contains(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header =
        Header { marker: true, payload_type: 8, sequence: 0x1234, timestamp: 0x5566_7788, ssrc: 0x99aa_bbcc };

    #[test]
    fn the_header_stands_as_the_rfc_draws_it() {
        let bytes = HEADER.to_bytes();
        assert_eq!(bytes, [0x80, 0x88, 0x12, 0x34, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc]);
        assert_eq!(Packet::parse(&bytes), Ok(Packet { header: HEADER, payload: 12..12 }));
    }

    #[test]
    fn csrcs_extension_and_padding_are_left_out_of_the_payload() {
        let mut bytes = HEADER.to_bytes().to_vec();
        bytes[0] |= 0x20 | 0x10 | 2;
        bytes.extend([0; 8]);
        bytes.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
        bytes.extend(*b"voice");
        bytes.extend([0, 0, 3]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.payload_of(&bytes), b"voice");
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        let good = HEADER.to_bytes();
        let with = |first: u8, more: &[u8]| {
            let mut bytes = good.to_vec();
            bytes[0] = first;
            bytes.extend(more);
            Packet::parse(&bytes)
        };
        assert_eq!(Packet::parse(&good[..11]), Err(HeaderError::Short));
        assert_eq!(Packet::parse(&[]), Err(HeaderError::Short));
        assert_eq!(with(0x40, &[]), Err(HeaderError::Version));
        assert_eq!(with(0x81, &[0, 0, 0]), Err(HeaderError::Short), "a CSRC cut off");
        assert_eq!(with(0x90, &[0, 0, 0]), Err(HeaderError::Short), "an extension header cut off");
        assert_eq!(with(0x90, &[0, 0, 0, 2, 0, 0, 0, 0]), Err(HeaderError::Short), "an extension cut off");
        assert_eq!(with(0xa0, &[]), Err(HeaderError::Padding), "the SSRC is no padding count");
        assert_eq!(with(0xa0, &[1, 0]), Err(HeaderError::Padding), "a count of zero");
        assert_eq!(with(0xa0, &[1, 3]), Err(HeaderError::Padding), "more padding than payload");
        assert_eq!(with(0xa0, &[1, 2]).unwrap().payload, 12..12, "nothing but padding");
        let mut report = good;
        report[1] = 200;
        assert_eq!(Packet::parse(&report), Err(HeaderError::Rtcp));
        assert!(is_rtcp(&report) && !is_rtcp(&good));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(marker: bool, payload_type in 0_u8..64, sequence: u16, timestamp: u32, ssrc: u32) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            proptest::prop_assert_eq!(Packet::parse(&header.to_bytes()).unwrap().header, header);
        }
    }
}
