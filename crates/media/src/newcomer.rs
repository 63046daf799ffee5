//! Whether a packet of another SSRC begins another stream.
//!
//! RFC 3550 A.1 takes packets of types that are known only, and has a source on probation until packets in a row have come. Here that is for one
//! that comes while another stream runs: a stray packet would cut it. The first packet is kept, and goes before the second.

use std::time::Duration;

use ringback_rtp::Header;
use ringback_time::Mono;

/// A stream of which nothing came for longer does not run.
const RUNS: Duration = Duration::from_millis(200);
/// What is longer is not kept.
const LONGEST: usize = 1500;

/// The first packet of what may be a stream.
#[derive(Debug)]
pub(crate) struct Newcomer {
    ssrc: u32,
    next: u16,
    came: Mono,
    /// By the kernel's time.
    pub(crate) arrival: Mono,
    pub(crate) packet: Vec<u8>,
}

#[derive(Debug)]
pub(crate) enum Admission {
    Refused,
    Admitted,
    /// After the packet that came first.
    After(Box<Newcomer>),
}

/// `last`: when the last packet of the present stream came.
#[cold]
pub(crate) fn admit(
    waiting: &mut Option<Box<Newcomer>>,
    last: Option<Mono>,
    now: Mono,
    arrival: Mono,
    header: &Header,
    packet: &[u8],
) -> Admission {
    let runs = |since: Mono| now.since(since) < RUNS;
    let expected = |first: &Newcomer| first.ssrc == header.ssrc && first.next == header.sequence;
    match waiting.take() {
        Some(first) if expected(&first) && runs(first.came) => Admission::After(first),
        _ if !last.is_some_and(runs) => Admission::Admitted,
        Some(first) if expected(&first) => Admission::Admitted,
        room => {
            let mut bytes = room.map(|old| old.packet).unwrap_or_default();
            bytes.clear();
            if packet.len() <= LONGEST {
                bytes.extend_from_slice(packet);
            }
            let next = header.sequence.wrapping_add(1);
            *waiting = Some(Box::new(Newcomer { ssrc: header.ssrc, next, came: now, arrival, packet: bytes }));
            Admission::Refused
        }
    }
}
