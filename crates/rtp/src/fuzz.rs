//! Bodies of the fuzz targets: each takes any bytes, and fails only by panicking.

use std::time::Duration;

use ringback_time::Mono;

use crate::dtmf::EventReceiver;
use crate::jitter::{JitterBuffer, Next, SLOTS, Settings};
use crate::{Arrival, Header, Packet, ReceiverState, rtcp};

/// Parsing of one packet, and writing of what was read.
pub fn header(bytes: &[u8]) {
    if let Ok(packet) = Packet::parse(bytes) {
        assert!(packet.payload.start >= 12 && packet.payload.end <= bytes.len());
        let again = Packet::parse(&packet.header.to_bytes()).map(|p| p.header);
        assert_eq!(again, Ok(packet.header));
    }
}

/// Parsing of one compound packet, down to each item.
pub fn rtcp(bytes: &[u8]) {
    let Ok(compound) = rtcp::parse(bytes) else { return };
    let mut packets = 0;
    for packet in compound.packets() {
        packets += 1;
        match packet {
            rtcp::Packet::SenderReport { blocks, .. } | rtcp::Packet::ReceiverReport { blocks, .. } => {
                assert!(blocks.count() <= 31);
            }
            rtcp::Packet::SourceDescription(chunks) => assert!(chunks.count() <= 31),
            rtcp::Packet::Goodbye(goodbye) => assert!(goodbye.ssrcs().count() <= 31),
            rtcp::Packet::ExtendedReport { ssrc, blocks } => {
                for block in blocks {
                    extended(ssrc, block, bytes.len());
                }
            }
            rtcp::Packet::Unknown { .. } => {}
        }
    }
    assert!(packets * 4 <= bytes.len());
}

/// Ratings are in their range or absent, and what was read is written as it was.
fn extended(ssrc: u32, block: rtcp::ExtendedBlock<'_>, most: usize) {
    let mut extended = rtcp::Extended::default();
    match block {
        rtcp::ExtendedBlock::ReferenceTime(time) => extended.reference_time = Some(time),
        rtcp::ExtendedBlock::Delays(delays) => {
            assert!(delays.count() * 12 <= most);
            extended.delay = delays.last();
        }
        rtcp::ExtendedBlock::VoipMetrics(voip) => {
            assert!([voip.mos_lq, voip.mos_cq].into_iter().flatten().all(|mos| (10..=50).contains(&mos)));
            assert!([voip.r_factor, voip.external_r_factor].into_iter().flatten().all(|r| r <= 100));
            extended.voip = Some(voip);
        }
        rtcp::ExtendedBlock::Unknown { content, .. } => assert!(content.len() <= most),
    }
    let mut written = Vec::new();
    rtcp::write(&rtcp::Report { ssrc, extended, ..rtcp::Report::default() }, &mut written);
    let again = rtcp::parse(&written).map(|compound| {
        compound.packets().find_map(|packet| match packet {
            rtcp::Packet::ExtendedReport { ssrc, blocks } => Some((ssrc, blocks.last())),
            _ => None,
        })
    });
    match again {
        Ok(Some((again, Some(rtcp::ExtendedBlock::VoipMetrics(voip))))) => {
            assert_eq!((again, Some(voip)), (ssrc, extended.voip));
        }
        Ok(Some((_, Some(rtcp::ExtendedBlock::ReferenceTime(time))))) => {
            assert_eq!(Some(time), extended.reference_time)
        }
        Ok(Some((_, Some(rtcp::ExtendedBlock::Delays(mut delays))))) => assert_eq!(delays.next(), extended.delay),
        other => assert!(extended.is_empty() && matches!(other, Ok(None)), "{other:?}"),
    }
}

/// A stream of packets (8 octets each: kind, sequence, timestamp) through reception, playout and telephone-events.
pub fn stream(bytes: &[u8]) {
    let mut state = ReceiverState::new();
    let mut buffer = JitterBuffer::new(Settings::for_clock_rate(8000));
    let mut events = EventReceiver::new();
    let mut now = Mono::ZERO;
    for step in bytes.chunks_exact(8) {
        let &[kind, ssrc, s0, s1, t0, t1, t2, t3] = step else { continue };
        let header = Header {
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from(ssrc & 3),
            ..Header::default()
        };
        now += Duration::from_millis(u64::from(kind >> 3));
        match state.packet(header.ssrc, header.sequence) {
            Arrival::First(extended) | Arrival::New(extended) => {
                state.timing(header.timestamp, 8000, now);
                if kind & 1 == 0 {
                    buffer.push(extended, header.timestamp, u32::from(t3) + 1, kind, &[0; 80]);
                } else {
                    events.packet(header.timestamp, step, now, |_| {});
                }
            }
            Arrival::Duplicate | Arrival::Ignored => {}
        }
        if kind & 2 != 0 {
            match buffer.next(160) {
                Next::Gap(units) => assert!(units <= 160),
                Next::Packet { payload, .. } => assert_eq!(payload.len(), 80),
            }
        }
        if kind & 4 != 0 {
            events.expire(now, |_| {});
            let _ = state.report();
        }
        assert!(buffer.len() <= SLOTS);
        assert!(state.unique() <= state.expected());
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha12Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    /// A receiver report before an extended one whose blocks have the right lengths, more often than noise has.
    fn extended(noise: &[u8]) {
        let mut bytes = vec![0x80, 201, 0, 1, 0, 0, 0, 1, 0x80, 207, 0, 0, 0, 0, 0, 2];
        for block in noise.chunks(40) {
            let Some((&kind, content)) = block.split_first() else { continue };
            let (kind, words) = [(4, 2), (5, 3), (5, 6), (7, 8), (9, 1)][usize::from(kind) % 5];
            bytes.extend([kind, 0, 0, words]);
            bytes.extend(content.iter().chain(&[0; 32]).take(usize::from(words) * 4));
        }
        bytes[11] = ((bytes.len() - 8) / 4 - 1) as u8;
        assert!(crate::rtcp::parse(&bytes).is_ok());
        super::rtcp(&bytes);
    }

    #[test]
    fn random_bytes_do_no_harm() {
        let mut rng = ChaCha12Rng::seed_from_u64(7);
        let mut bytes = [0; 1024];
        for _ in 0..20_000 {
            let length = rng.next_u32() as usize % 200;
            let bytes = &mut bytes[..length];
            rng.fill_bytes(bytes);
            super::header(bytes);
            if let [first, second, ..] = bytes {
                *first = 0x80 | (*first & 0x3f);
                *second = 200 + (*second & 7);
                super::header(bytes);
            }
            extended(bytes);
            // Lengths that fit are rare in noise.
            if let [_, _, l0, l1, ..] = bytes {
                (*l0, *l1) = (0, *l1 & 15);
            }
            super::rtcp(bytes);
        }
        for _ in 0..500 {
            rng.fill_bytes(&mut bytes);
            super::stream(&bytes);
        }
    }
}
