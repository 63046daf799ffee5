use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::*;

/// 20 ms at 8 kHz.
const FRAME: u32 = 160;

fn buffer() -> JitterBuffer {
    JitterBuffer::new(Settings::for_clock_rate(8000))
}

/// Packet `n` of a stream that began at `start`: all its octets are `n`.
fn push(buffer: &mut JitterBuffer, start: u32, n: u32) -> Pushed {
    buffer.push(0x1_0000 + u64::from(n), start.wrapping_add(n * FRAME), FRAME, 0, &[n as u8; FRAME as usize])
}

/// One frame as a list of (octet, units); `None` is a gap.
fn frame(buffer: &mut JitterBuffer) -> Vec<(Option<u8>, u32)> {
    let mut left = FRAME;
    let mut all = Vec::new();
    while left > 0 {
        match buffer.next(left) {
            Next::Packet { payload, skip, .. } => {
                all.push((Some(payload[0]), payload.len() as u32 - skip));
                left = left.saturating_sub(payload.len() as u32 - skip);
            }
            Next::Gap(units) => {
                all.push((None, units));
                left -= units;
            }
        }
    }
    all
}

#[test]
fn the_first_packet_waits_for_the_depth_and_then_all_play_in_order() {
    let mut jb = buffer();
    assert_eq!(frame(&mut jb), [(None, FRAME)], "nothing came yet");
    let start = 0xffff_ff00;
    let mut heard = Vec::new();
    for n in 0..20 {
        assert_eq!(push(&mut jb, start, n), Pushed::Stored);
        heard.extend(frame(&mut jb).into_iter().map(|(octet, _)| octet));
    }
    assert_eq!(heard[..3], [None; 3]);
    assert_eq!(heard[3..], (0..17).map(Some).collect::<Vec<_>>());
}

#[test]
fn order_is_restored_and_repeats_play_once() {
    let mut jb = buffer();
    let mut heard = Vec::new();
    for (tick, arrivals) in [&[0][..], &[2], &[1, 1], &[3, 0], &[5, 4, 4], &[], &[6], &[7, 3]].iter().enumerate() {
        for &n in *arrivals {
            push(&mut jb, 1000, n);
        }
        heard.extend(frame(&mut jb).into_iter().filter_map(|(octet, _)| octet));
        assert!(heard.len() <= tick + 1);
    }
    assert_eq!(heard, [0, 1, 2, 3, 4]);
    assert_eq!(jb.counters(), Counters { late: 0, duplicate: 4, reordered: 2, skipped: 0 });
}

#[test]
fn late_packets_are_counted_and_their_time_is_a_gap() {
    let mut jb = buffer();
    let mut heard = Vec::new();
    for n in 0..10 {
        if n != 2 {
            push(&mut jb, 0, n);
        }
        if n == 7 {
            assert_eq!(push(&mut jb, 0, 2), Pushed::Late);
            assert_eq!(push(&mut jb, 0, 2), Pushed::Duplicate, "and once only");
        }
        heard.extend(frame(&mut jb));
    }
    assert_eq!(heard[3..7], [(Some(0), FRAME), (Some(1), FRAME), (None, FRAME), (Some(3), FRAME)]);
    assert_eq!(jb.counters().late, 1);
}

#[test]
fn packets_of_any_length_play_gapless() {
    let mut jb = buffer();
    let lengths = [80, 240, 160, 480, 80, 80, 320];
    let mut timestamp = 77_u32;
    for (n, length) in lengths.into_iter().enumerate() {
        jb.push(100 + n as u64, timestamp, length, 0, &vec![n as u8; length as usize]);
        timestamp += length;
    }
    let (mut units, mut gaps) = (0, Vec::new());
    while !jb.is_empty() {
        match jb.next(FRAME) {
            Next::Packet { payload, skip, .. } => units += payload.len() as u32 - skip,
            Next::Gap(gap) => gaps.push(gap),
        }
    }
    assert_eq!(units, lengths.iter().sum::<u32>());
    assert_eq!(gaps, [160, 160, 160], "the depth and nothing else");
}

#[test]
fn an_overlap_is_played_once() {
    let mut jb = buffer();
    jb.start_at(0);
    jb.push(1, 0, 160, 0, &[1; 160]);
    jb.push(2, 80, 160, 0, &[2; 160]);
    assert_eq!(frame(&mut jb), [(Some(1), 160)]);
    assert_eq!(frame(&mut jb), [(Some(2), 80), (None, 80)]);
}

#[test]
fn after_a_pause_the_next_packet_begins_anew() {
    let mut jb = buffer();
    for n in 0..5 {
        push(&mut jb, 0, n);
        frame(&mut jb);
    }
    for _ in 0..50 {
        frame(&mut jb);
    }
    // The sender went on counting: this is at its right time, and waits for the depth all the same.
    push(&mut jb, 0, 53);
    let heard: Vec<_> = (0..4).flat_map(|_| frame(&mut jb)).map(|(octet, _)| octet).collect();
    assert_eq!(heard, [None, None, None, Some(53)]);
    assert_eq!(jb.counters().late, 0);
}

#[test]
fn sound_is_back_within_200_ms_of_any_upset() {
    // What happens to packet n: (ticks by which it is late, timestamp offset, sequence offset).
    type Upset = fn(u32) -> (u32, u32, u64);
    let upsets: [(&str, Upset); 6] = [
        ("the path becomes 100 ms slower", |n| if n < 20 { (0, 0, 0) } else { (5, 0, 0) }),
        ("the path becomes 500 ms slower", |n| if n < 20 { (0, 0, 0) } else { (25, 0, 0) }),
        ("timestamps jump ahead", |n| if n < 20 { (0, 0, 0) } else { (0, 0x4000_0000, 0) }),
        ("timestamps jump back", |n| if n < 20 { (0, 0, 0) } else { (0, 0xfff0_0000, 0) }),
        (
            "timestamps jump back by half a second",
            |n| if n < 20 { (0, 0, 0) } else { (0, 0_u32.wrapping_sub(4000), 0) },
        ),
        ("sequence numbers jump", |n| if n < 20 { (0, 0, 0) } else { (0, 0, 5000) }),
    ];
    for (what, upset) in upsets {
        let mut jb = buffer();
        let mut heard = Vec::new();
        for tick in 0..100_u32 {
            for n in 0..100 {
                let (late, ahead, numbers) = upset(n);
                if n + late == tick {
                    let timestamp = (n * FRAME).wrapping_add(ahead);
                    jb.push(0x1_0000 + u64::from(n) + numbers, timestamp, FRAME, 0, &[n as u8; FRAME as usize]);
                }
            }
            heard.push(frame(&mut jb)[0].0);
        }
        // The first tick at which a packet from after the upset was there.
        let back = 20 + upset(20).0 as usize;
        let silent = heard[back..].iter().position(|h| h.is_some_and(|n| n >= 20)).expect(what);
        assert!(silent <= 10, "{what}: {} ms", silent * 20);
        assert!(heard[back + 12..].iter().all(Option::is_some), "{what}: {heard:?}");
    }
}

#[test]
fn a_burst_is_cut_to_the_depth() {
    let mut jb = buffer();
    for n in 0..40 {
        assert_eq!(push(&mut jb, 0, n), Pushed::Stored);
    }
    assert!(jb.len() <= 12);
    assert!(jb.counters().skipped >= 28);
    let heard: Vec<_> = (0..12).flat_map(|_| frame(&mut jb)).filter_map(|(octet, _)| octet).collect();
    assert_eq!(heard.last(), Some(&39));
    assert!(heard.is_sorted());
}

#[test]
fn in_the_steady_state_a_few_buffers_do() {
    let mut jb = buffer();
    for n in 0..1000 {
        push(&mut jb, 0, n);
        frame(&mut jb);
    }
    assert!(jb.buffers.len() <= 5, "{}", jb.buffers.len());
}

#[test]
fn a_sender_whose_clock_is_fast_or_slow_is_followed() {
    for ppm in [-500_i64, 500] {
        let mut jb = buffer();
        let (mut sent, mut heard) = (0_u32, 0);
        for tick in 0..100_000_u64 {
            while i64::from(sent) * 1_000_000 <= tick as i64 * (1_000_000 + ppm) {
                push(&mut jb, 0, sent);
                sent += 1;
            }
            heard += u32::from(frame(&mut jb)[0].0.is_some());
            assert!(jb.len() <= 13);
        }
        assert!(heard > 99_000, "{heard} at {ppm} ppm");
    }
}

#[test]
fn a_new_stream_plays_whatever_its_numbers() {
    let mut jb = buffer();
    for n in 0..5 {
        push(&mut jb, 0, n);
    }
    jb.reset();
    jb.push(3, 2_000_000_000, FRAME, 8, &[42; 160]);
    let heard: Vec<_> = (0..4).flat_map(|_| frame(&mut jb)).collect();
    assert_eq!(heard[3], (Some(42), FRAME));
}

#[test]
fn what_cannot_be_played_is_refused() {
    let mut jb = buffer();
    assert_eq!(jb.push(1, 0, 0, 0, &[]), Pushed::Refused);
    assert_eq!(jb.push(1, 0, 4000, 0, &[0; MAX_PAYLOAD + 1]), Pushed::Refused);
}

#[test]
fn whatever_comes_it_stays_bounded() {
    for seed in 0..50 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut jb = buffer();
        for _ in 0..2000 {
            let length = 1 + rng.next_u32() % 300;
            let (extended, timestamp) = match rng.next_u32() % 3 {
                0 => (rng.next_u64(), rng.next_u32()),
                _ => (u64::from(rng.next_u32() % 500), rng.next_u32() % 80_000),
            };
            jb.push(extended, timestamp, length, 0, &vec![0; length as usize]);
            assert!(jb.len() <= SLOTS && jb.buffers.len() <= SLOTS);
            assert_eq!(jb.free.len() + jb.len(), jb.buffers.len());
            if rng.next_u32() % 2 == 0 {
                frame(&mut jb);
            }
        }
    }
}

/// Plays packets that arrive as late as `late` says (in milliseconds, by number), one a 20 ms; leaves out what is too much where
/// `silent`. Returns the buffer, the numbers heard, and the delay when the last was sent, in milliseconds.
fn play(packets: u32, late: impl Fn(u32) -> u32, silent: impl Fn(u32) -> bool) -> (JitterBuffer, Vec<u32>, u32) {
    let (mut jb, mut delay) = (buffer(), 0);
    let mut heard = Vec::new();
    let mut arrivals: Vec<(u32, u32)> = (0..packets).map(|n| (n * 20 + late(n), n)).collect();
    arrivals.sort();
    let mut next = arrivals.into_iter().peekable();
    let mut left = 0_i64;
    for tick in 0..packets + 30 {
        while let Some(&(_, n)) = next.peek().filter(|(at, _)| *at <= tick * 20) {
            next.next();
            jb.push(0x1_0000 + u64::from(n), n * FRAME, FRAME, 0, &n.to_be_bytes());
        }
        if tick == packets - 1 {
            delay = jb.delay() / 8;
        }
        left += i64::from(FRAME);
        while left > 0 {
            match jb.next(left as u32) {
                Next::Gap(units) => left -= i64::from(units),
                Next::Packet { payload, skip, .. } => {
                    let n = u32::from_be_bytes(payload.try_into().expect("a number"));
                    heard.push(n);
                    left -= i64::from(FRAME - skip);
                    if silent(n) {
                        let units = jb.excess().min(FRAME);
                        jb.left_out(units);
                        left += i64::from(units);
                    }
                }
            }
        }
    }
    (jb, heard, delay)
}

fn random(n: u32, most: u32) -> u32 {
    ChaCha12Rng::seed_from_u64(u64::from(n)).next_u32() % (most + 1)
}

#[test]
fn jitter_beyond_the_first_depth_is_learned() {
    let (jb, heard, delay) = play(3000, |n| random(n, 120), |_| false);
    let lost = 3000 - heard.len();
    assert!(lost < 30, "{lost} of 3000 at 120 ms of jitter");
    assert_eq!(jb.counters().late as usize, lost);
    assert!((100..=170).contains(&delay), "{delay} ms");
    assert!(heard.is_sorted());
}

#[test]
fn a_path_that_becomes_slower_costs_no_packet() {
    for more in [30, 80, 150] {
        let (jb, heard, _) = play(200, |n| if n < 50 { 0 } else { more }, |_| false);
        assert_eq!((heard.len(), jb.counters().late), (200, 0), "{more} ms");
    }
}

#[test]
fn the_delay_shrinks_in_silence_and_only_there() {
    let late = |n: u32| if n < 500 { random(n, 120) } else { 0 };
    let (_, _, delay) = play(3000, late, |_| false);
    assert!(delay > 90, "{delay} ms");
    let (_, heard, delay) = play(3000, late, |n| n % 50 < 10);
    assert!(delay <= 45, "{delay} ms");
    assert!(heard.len() > 2950);
}

#[test]
fn a_smooth_path_comes_to_a_short_delay_without_losing_anything() {
    let (_, heard, delay) = play(3000, |n| random(n, 3), |_| true);
    assert_eq!(heard.len(), 3000);
    assert!(delay <= 40, "{delay} ms");
}

#[test]
fn single_outliers_do_not_make_it_longer() {
    let (jb, heard, _) = play(2000, |n| if n % 400 == 399 { 150 } else { 0 }, |_| true);
    assert!(heard.len() >= 1995 && jb.delay() <= 60 * 8, "{} heard, {} ms", heard.len(), jb.delay() / 8);
}

#[test]
fn the_delay_is_bounded() {
    let (_, _, delay) = play(3000, |n| random(n, 1000), |_| false);
    // The most, and the packet itself.
    assert!(delay <= 260, "{delay} ms");
}
