//! What a leg received before a program opened its audio: the payloads of the last two seconds, as they came.
//!
//! Invariant: no more than two seconds of playing time are held, and nothing older than two seconds; in octets, no more than the widest
//! encoding has in that time. Memory is taken as it is needed: two seconds of G.711 are 16,000 octets.

use std::collections::VecDeque;

use ringback_media_api::Codec;
use ringback_rtp::jitter::MAX_PAYLOAD;
use ringback_rtp::sequence::distance32;

use crate::codec;
use crate::hearing::Decoding;

const RETAINED_MS: u64 = 2000;
/// Two seconds of L16 at 48 kHz. Opus has two thirds of that at most (RFC 6716 §2.1.1: 510 kbit/s).
const OCTETS: usize = 192_000;
/// Two seconds of packets of 2.5 ms, the shortest of Opus.
const PACKETS: usize = 800;
/// Doubled as often as needed: to 16,000 octets, and 128 packets, for G.711.
const FIRST_OCTETS: usize = 4000;
const FIRST_PACKETS: usize = 32;

#[derive(Debug)]
pub(crate) struct Retained {
    octets: VecDeque<u8>,
    packets: VecDeque<Kept>,
    /// Playing time of all packets.
    length_us: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// Counts up with each new stream of packets.
    pub(crate) stream: u32,
    pub(crate) extended: u64,
    pub(crate) timestamp: u32,
    pub(crate) codec: Codec,
    arrival_ms: u64,
    length_us: u32,
    octets: u16,
}

/// What was retained, put in order.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// To be heard at once.
    pub(crate) samples: Vec<i16>,
    /// The newest, still to pass through the playout buffer, in order.
    pub(crate) rest: Vec<(Kept, Vec<u8>)>,
}

impl Retained {
    pub(crate) fn new() -> Self {
        Retained {
            octets: VecDeque::with_capacity(FIRST_OCTETS),
            packets: VecDeque::with_capacity(FIRST_PACKETS),
            length_us: 0,
        }
    }

    pub(crate) fn push(
        &mut self,
        stream: u32,
        extended: u64,
        timestamp: u32,
        codec: Codec,
        now_ms: u64,
        payload: &[u8],
    ) {
        let length_us = u64::from(codec::units(codec, payload)) * 1000 / u64::from(codec::units_per_ms(codec).max(1));
        if payload.is_empty() || length_us == 0 || payload.len() > MAX_PAYLOAD {
            return;
        }
        self.forget(now_ms);
        while (self.octets.len() + payload.len() > OCTETS
            || self.length_us + length_us > RETAINED_MS * 1000
            || self.packets.len() >= PACKETS)
            && self.drop_oldest()
        {}
        let needed = self.octets.len() + payload.len();
        if needed > self.octets.capacity() {
            let capacity = (self.octets.capacity() * 2).clamp(needed, OCTETS);
            self.octets.reserve_exact(capacity - self.octets.len());
        }
        self.octets.extend(payload);
        self.length_us += length_us;
        let (octets, length_us) = (payload.len() as u16, length_us as u32);
        self.packets.push_back(Kept { stream, extended, timestamp, codec, arrival_ms: now_ms, length_us, octets });
    }

    /// False: there was none.
    fn drop_oldest(&mut self) -> bool {
        let Some(kept) = self.packets.pop_front() else { return false };
        self.octets.drain(..usize::from(kept.octets).min(self.octets.len()));
        self.length_us -= u64::from(kept.length_us);
        true
    }

    /// What came more than two seconds ago is not wanted any more.
    fn forget(&mut self, now_ms: u64) {
        while self.packets.front().is_some_and(|kept| kept.arrival_ms + RETAINED_MS < now_ms) {
            self.drop_oldest();
        }
    }

    /// All that came in the last two seconds. What lies within `hold_ms` of its end is left to the playout buffer, where what is
    /// on its way can still join it in order.
    pub(crate) fn replay(mut self, now_ms: u64, hold_ms: u32, decoding: &mut Decoding) -> Replay {
        self.forget(now_ms);
        let octets = self.octets.make_contiguous();
        let mut at = 0;
        let mut all: Vec<(Kept, &[u8])> = Vec::with_capacity(self.packets.len());
        for kept in &self.packets {
            let end = at + usize::from(kept.octets);
            all.push((*kept, octets.get(at..end).unwrap_or_default()));
            at = end;
        }
        all.sort_by_key(|(kept, _)| (kept.stream, kept.extended));

        let mut replay = Replay::default();
        let Some(&(last, payload)) = all.last() else { return replay };
        let end = end_of(&last, payload);
        let hold_from = end.wrapping_sub(hold_ms * codec::units_per_ms(last.codec));
        let most = RETAINED_MS as usize * decoding.rate() as usize / 1000;
        // The timeline that is being put together, and where it has come to.
        let mut reached: Option<(Timeline, u32)> = None;
        for (kept, payload) in all {
            let same = Timeline::of(&kept) == Timeline::of(&last);
            if same && distance32(kept.timestamp, hold_from) >= 0 || !replay.rest.is_empty() {
                replay.rest.push((kept, payload.to_vec()));
                continue;
            }
            let skip = fill_gap(reached, &kept, Some(payload), decoding, &mut replay.samples);
            if skip < codec::units(kept.codec, payload) {
                decoding.decode(kept.codec, payload, skip, &mut replay.samples);
            }
            reached = Some((Timeline::of(&kept), end_of(&kept, payload)));
            keep_last(&mut replay.samples, most);
        }
        if let Some((first, _)) = replay.rest.first() {
            fill_gap(reached, first, None, decoding, &mut replay.samples);
        }
        keep_last(&mut replay.samples, most);
        replay
    }
}

/// Timestamps can be compared within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timeline {
    stream: u32,
    clock_rate: u32,
}

impl Timeline {
    fn of(kept: &Kept) -> Self {
        Timeline { stream: kept.stream, clock_rate: kept.codec.clock_rate() }
    }
}

/// What was lost or not sent before `kept` is concealed. Returns how many units of it are over already.
fn fill_gap(
    reached: Option<(Timeline, u32)>,
    kept: &Kept,
    payload: Option<&[u8]>,
    decoding: &mut Decoding,
    samples: &mut Vec<i16>,
) -> u32 {
    let Some((_, at)) = reached.filter(|(timeline, _)| *timeline == Timeline::of(kept)) else { return 0 };
    let ahead = distance32(kept.timestamp, at);
    let longest = RETAINED_MS as u32 * codec::units_per_ms(kept.codec);
    if ahead.unsigned_abs() > longest {
        return 0;
    }
    if ahead > 0 {
        let lost = u64::from(ahead.unsigned_abs()) * u64::from(decoding.rate()) / u64::from(kept.codec.clock_rate());
        decoding.conceal(lost as usize, payload.map(|payload| (kept.codec, payload)), samples);
        return 0;
    }
    ahead.unsigned_abs()
}

fn end_of(kept: &Kept, payload: &[u8]) -> u32 {
    kept.timestamp.wrapping_add(codec::units(kept.codec, payload))
}

/// Timestamps that leap may ask for any number of zeros: never more than is wanted is held.
fn keep_last(samples: &mut Vec<i16>, most: usize) {
    let excess = samples.len().saturating_sub(most);
    samples.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The decoded sample in the middle of each 20 ms, as the mu-law octet that it came from.
    fn octets(samples: &[i16]) -> Vec<u8> {
        let mut all = vec![0; samples.len()];
        ringback_audio::pcmu_encode(samples, &mut all);
        all.chunks_exact(160).map(|frame| frame[80]).collect()
    }

    #[test]
    fn the_last_two_seconds_come_in_order_with_gaps_concealed_and_the_newest_held_back() {
        let mut retained = Retained::new();
        for n in 0..200_u32 {
            // 150 is lost, 160 and 161 are swapped.
            let n = match n {
                150 => continue,
                160 => 161,
                161 => 160,
                n => n,
            };
            retained.push(1, u64::from(n), n * 160, Codec::Pcmu, u64::from(n) * 20, &[0x80 + (n % 100) as u8; 160]);
        }
        let replay = retained.replay(199 * 20, 60, &mut Decoding::new(8000));
        let heard = octets(&replay.samples);
        let expected: Vec<u8> =
            (99..197).map(|n| if n == 150 { 149 } else { n }).map(|n| 0x80 + (n % 100) as u8).collect();
        assert_eq!(heard[heard.len() - expected.len()..], expected);
        assert!(heard.len() <= 100);
        assert_eq!(replay.rest.iter().map(|(kept, _)| kept.extended).collect::<Vec<_>>(), [197, 198, 199]);
    }

    #[test]
    fn what_is_older_than_two_seconds_is_gone() {
        let mut retained = Retained::new();
        retained.push(1, 1, 0, Codec::Pcma, 0, &[1; 160]);
        retained.push(1, 2, 160, Codec::Pcma, 3000, &[2; 160]);
        let replay = retained.replay(4000, 60, &mut Decoding::new(8000));
        assert!(replay.samples.is_empty());
        assert_eq!(replay.rest.len(), 1);
        assert!(Retained::new().replay(0, 60, &mut Decoding::new(8000)).rest.is_empty());
    }

    /// Opus of one frame of 20 ms (RFC 6716 §3.1), as long as it can be: 510 kbit/s.
    fn opus(n: u32) -> Vec<u8> {
        let mut payload = vec![n as u8; 1276];
        payload[0] = 31 << 3;
        payload
    }

    #[test]
    fn two_seconds_of_each_encoding_are_kept() {
        for (codec, packet_ms, octets) in [
            (Codec::Pcmu, 20, 160),
            (Codec::G722, 5, 40),
            (Codec::L16At16, 5, 160),
            (Codec::L16At48, 20, 1920),
            (Codec::L16At48, 5, 480),
            (Codec::Opus, 20, 1276),
        ] {
            let mut retained = Retained::new();
            let count = 3000 / packet_ms;
            for n in 0..count {
                let payload = if codec == Codec::Opus { opus(n) } else { vec![n as u8; octets] };
                let timestamp = n * packet_ms * codec::units_per_ms(codec);
                retained.push(1, u64::from(n), timestamp, codec, u64::from(n * packet_ms), &payload);
            }
            let mut decoding = Decoding::new(codec.sample_rate());
            let replay = retained.replay(3000, 60, &mut decoding);
            let heard_ms = replay.samples.len() as u32 * 1000 / codec.sample_rate();
            let kept_ms = heard_ms + replay.rest.len() as u32 * packet_ms;
            assert!((2000 - packet_ms..=2000).contains(&kept_ms), "{kept_ms} ms of {codec:?}, {packet_ms} ms a packet");
        }
    }

    #[test]
    fn memory_is_bounded_and_small_for_a_small_encoding() {
        let mut retained = Retained::new();
        for n in 0..1000_u32 {
            // They come in bursts.
            let now_ms = u64::from(n / 10) * 200;
            retained.push(1, u64::from(n), n * 160, Codec::Pcmu, now_ms, &[0; 160]);
        }
        assert_eq!((retained.octets.capacity(), retained.packets.capacity()), (16_000, 128));
        for codec in Codec::ALL {
            for n in 0..10_000_u32 {
                // As a stream of Opus too: any length of one frame of 2.5 ms.
                let mut payload = vec![0; 1 + n as usize % 1600];
                payload[0] = 28 << 3;
                retained.push(1, u64::from(n), n, codec, u64::from(n), &payload);
            }
            assert!(retained.octets.capacity() <= OCTETS, "{codec:?}");
            assert!(retained.packets.len() <= PACKETS, "{codec:?}");
            let length_us: u64 = retained.packets.iter().map(|kept| u64::from(kept.length_us)).sum();
            assert_eq!(retained.length_us, length_us);
            assert!(length_us <= RETAINED_MS * 1000, "{codec:?}");
        }
    }
}
