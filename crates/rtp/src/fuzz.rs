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
            rtcp::Packet::Unknown { .. } => {}
        }
    }
    assert!(packets * 4 <= bytes.len());
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
