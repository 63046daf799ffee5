use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::*;

const SSRC: u32 = 0xdead_beef;

fn feed(state: &mut ReceiverState, numbers: impl IntoIterator<Item = u16>) -> Vec<Arrival> {
    numbers.into_iter().map(|n| state.packet(SSRC, n)).collect()
}

#[test]
fn the_first_packet_of_a_negotiated_source_is_believed() {
    let mut state = ReceiverState::new();
    assert_eq!(feed(&mut state, [7]), [Arrival::First(FIRST_CYCLE + 7)]);
    assert_eq!((state.expected(), state.unique(), state.lost()), (1, 1, 0));
}

#[test]
fn numbers_are_extended_over_wraps_and_reordering_across_one() {
    let mut state = ReceiverState::new();
    let base = FIRST_CYCLE + 0xfffe;
    assert_eq!(
        feed(&mut state, [0xfffe, 0, 0xffff, 1]),
        [Arrival::First(base), Arrival::New(base + 2), Arrival::New(base + 1), Arrival::New(base + 3)]
    );
    assert_eq!(state.lost(), 0);
    let report = state.report().unwrap();
    assert_eq!(report.extended_highest, 0x1_0001);
    assert_eq!(report.cumulative_lost, 0);
    for n in 2..200_000_u32 {
        state.packet(SSRC, n as u16);
    }
    assert_eq!(state.report().unwrap().extended_highest, 0x1_0000 + 199_999);
    assert_eq!(state.lost(), 0);
}

#[test]
fn loss_is_counted_and_duplicates_do_not_hide_it() {
    let mut state = ReceiverState::new();
    feed(&mut state, (0..10).filter(|n| n % 5 != 3));
    assert_eq!(state.lost(), 2);
    assert_eq!(feed(&mut state, [9, 7, 0]), [Arrival::Duplicate; 3]);
    assert_eq!((state.expected(), state.unique(), state.lost()), (10, 8, 2));
    // RFC 3550 A.3 counts repeated packets as received, so the report shows less than was lost.
    assert_eq!(state.report().unwrap().cumulative_lost, -1);
}

#[test]
fn the_fraction_is_of_the_interval() {
    let mut state = ReceiverState::new();
    feed(&mut state, 0..100);
    assert_eq!(state.report().unwrap().fraction_lost, 0);
    feed(&mut state, (100..200).filter(|n| n % 4 != 0 || *n == 196));
    assert_eq!(state.report().unwrap(), Reception { fraction_lost: 61, cumulative_lost: 24, extended_highest: 199 });
    assert_eq!(state.report().unwrap().fraction_lost, 0, "nothing was expected since");
}

#[test]
fn an_overtaken_packet_from_before_the_first_is_no_negative_loss() {
    let mut state = ReceiverState::new();
    feed(&mut state, [5, 4, 6]);
    assert_eq!((state.expected(), state.unique()), (3, 3));
}

#[test]
fn a_jump_is_believed_at_the_second_packet_in_a_row() {
    let mut state = ReceiverState::new();
    feed(&mut state, 0..10);
    assert_eq!(
        feed(&mut state, [30_000, 10, 40_000, 40_001, 40_002]),
        [
            Arrival::Ignored,
            Arrival::New(FIRST_CYCLE + 10),
            Arrival::Ignored,
            Arrival::First(FIRST_CYCLE + 40_001),
            Arrival::New(FIRST_CYCLE + 40_002)
        ]
    );
    assert_eq!((state.expected(), state.lost()), (13, 0), "the streams add up");
}

#[test]
fn a_gap_below_the_dropout_limit_is_loss() {
    let mut state = ReceiverState::new();
    feed(&mut state, [0, 2999]);
    assert_eq!(state.lost(), 2998);
    assert_eq!(feed(&mut state, [2998, 2900]), [Arrival::New(FIRST_CYCLE + 2998), Arrival::New(FIRST_CYCLE + 2900)]);
    assert_eq!(state.lost(), 2996);
}

#[test]
fn a_new_ssrc_takes_over_at_once_and_stragglers_of_the_old_are_ignored() {
    let mut state = ReceiverState::new();
    feed(&mut state, 0..10);
    assert_eq!(state.packet(1, 500), Arrival::First(FIRST_CYCLE + 500));
    assert_eq!(state.packet(SSRC, 10), Arrival::Ignored);
    assert_eq!(state.packet(1, 501), Arrival::New(FIRST_CYCLE + 501));
    assert_eq!(state.packet(SSRC, 11), Arrival::Ignored);
    assert_eq!(state.ssrc(), Some(1));
    assert_eq!((state.expected(), state.lost()), (12, 0));
    // It comes back for good.
    assert_eq!(state.packet(SSRC, 12), Arrival::Ignored);
    assert_eq!(state.packet(SSRC, 13), Arrival::First(FIRST_CYCLE + 13));
}

#[test]
fn jitter_follows_the_appendix() {
    // RFC 3550 A.8 in its own integer arithmetic, in timestamp units.
    let mut state = ReceiverState::new();
    let (mut transit, mut jitter) = (0_i64, 0_i64);
    for (n, late_ms) in [0_u64, 3, 0, 12, 5, 0, 0, 30, 2, 2, 7, 1].into_iter().cycle().take(500).enumerate() {
        let arrival = Mono::from_nanos(0) + Duration::from_millis(n as u64 * 20 + late_ms);
        let timestamp = 0xffff_ff00_u32.wrapping_add(n as u32 * 160);
        state.timing(timestamp, 8000, arrival);
        let now = (n as u64 * 160 + late_ms * 8) as i64 - n as i64 * 160;
        if n > 0 {
            jitter += (now - transit).abs() - ((jitter + 8) >> 4);
        }
        transit = now;
    }
    let reference = (jitter >> 4) as u32;
    assert!(reference > 50);
    assert!(state.jitter_units(8000).abs_diff(reference) <= 1, "{} against {reference}", state.jitter_units(8000));
}

#[test]
fn jitter_is_there_with_the_second_timed_packet_and_over_a_change_of_the_stream() {
    let mut state = ReceiverState::new();
    let at = |ms: u64| Mono::from_nanos(ms * 1_000_000);
    assert!(!state.is_measured());
    state.packet(1, 1);
    state.packet(1, 2);
    assert!(!state.is_measured(), "two packets that say no time, such as events");
    state.timing(160, 8000, at(0));
    assert!(!state.is_measured());
    state.timing(320, 8000, at(36));
    assert!(state.is_measured());
    assert_eq!(state.jitter_nanos(), 1_000_000);
    // Nothing is known of the new one yet: what was known last stands until there is.
    assert!(matches!(state.packet(2, 9), Arrival::First(_)));
    state.timing(160, 8000, at(40));
    assert_eq!((state.is_measured(), state.jitter_nanos(), state.jitter_units(8000)), (true, 1_000_000, 0));
    state.timing(320, 8000, at(60));
    assert_eq!((state.is_measured(), state.jitter_nanos(), state.jitter_units(8000)), (true, 0, 0));
}

#[test]
fn a_new_timeline_is_not_jitter() {
    let mut state = ReceiverState::new();
    for n in 0..50_u64 {
        let timestamp = if n < 25 { n as u32 * 160 } else { 0x8000_0000 + n as u32 * 160 };
        state.timing(timestamp, 8000, Mono::from_nanos(n * 20_000_000));
    }
    assert_eq!(state.jitter_nanos(), 0);
}

#[test]
fn runs_of_losses_are_told_from_single_ones() {
    let ratio = |lost: &dyn Fn(u16) -> bool| {
        let mut state = ReceiverState::new();
        for n in 0..10_000 {
            if !lost(n) {
                state.packet(1, n);
            }
        }
        state.burst_ratio()
    };
    assert_eq!(ratio(&|_| false), None);
    // Every tenth, and of every hundred ten in a row: the same loss.
    let single = ratio(&|n| n % 10 == 5).expect("a loss");
    assert!((single - 0.9).abs() < 0.01, "{single}");
    let runs = ratio(&|n| n % 100 >= 80 && n % 100 < 90).expect("a loss");
    assert!((runs - 9.0).abs() < 0.1, "{runs}");
}

#[test]
fn what_was_only_overtaken_is_no_run() {
    let mut state = ReceiverState::new();
    for n in [0, 1, 5, 2, 4, 3, 6, 9, 8, 10] {
        state.packet(1, n);
    }
    // 7 alone is lost.
    assert_eq!(state.lost(), 1);
    assert!((state.burst_ratio().expect("a loss") - 10.0 / 11.0).abs() < 1e-9);
    for n in [20, 22, 21, 7] {
        state.packet(1, n);
    }
    assert_eq!(state.lost(), 9);
    assert!((state.burst_ratio().expect("a run") - 9.0 * 14.0 / 23.0).abs() < 1e-9);
}

/// What came, with the number of each packet, and what the program of RFC 3611's definition makes of it: the window, the settled part
/// and reordering are not to be seen.
#[test]
fn bursts_and_gaps_are_those_of_the_whole_stream() {
    let mut rng = ChaCha12Rng::seed_from_u64(11);
    for round in 0..40_u64 {
        let mut state = ReceiverState::new();
        let mut fates = fates::Fates::default();
        let mut late: Vec<u16> = Vec::new();
        let count = 40 + round * 37;
        let first = 65_400_u16;
        let mut bad_left = 0;
        for n in 0..count {
            let number = first.wrapping_add(n as u16);
            if bad_left == 0 && n > 0 && n + 1 < count {
                bad_left = match rng.next_u32() % 64 {
                    // What is still on its way comes within a hundred packets.
                    0 if late.is_empty() => 1 + rng.next_u32() % 300,
                    1..4 => 1,
                    _ => 0,
                };
            }
            if bad_left > 0 && n + 1 < count {
                bad_left -= 1;
                fates.count(false);
                continue;
            }
            fates.count(true);
            if bad_left == 0 && rng.next_u32() % 5 == 0 && n > 0 && n + 1 < count {
                late.push(number);
                continue;
            }
            state.packet(7, number);
            for number in late.drain(..) {
                assert!(matches!(state.packet(7, number), Arrival::New(_)));
            }
        }
        assert_eq!(state.bursts_and_gaps(), fates.finish(), "round {round}");
        assert_eq!(state.present().0, count);
    }
}

#[test]
fn what_is_discarded_counts_as_a_loss_of_its_burst() {
    let mut state = ReceiverState::new();
    let mut numbers = Vec::new();
    for n in 0..400 {
        match state.packet(1, n) {
            Arrival::First(extended) | Arrival::New(extended) => numbers.push(extended),
            other => panic!("{other:?}"),
        }
        // Some are known to be late only when others have come.
        if n >= 3 && (100..103).contains(&(n - 3)) {
            state.discard(numbers[usize::from(n) - 3]);
        }
    }
    let found = state.bursts_and_gaps();
    assert_eq!(found.bursts, Stretches { count: 1, packets: 3, bad: 3 });
    assert_eq!(found.gaps, Stretches { count: 2, packets: 397, bad: 0 });
    assert_eq!(state.lost(), 0);
    // Too old, or not come yet: no effect.
    state.discard(numbers[0]);
    state.discard(numbers[399] + 5);
    assert_eq!(state.bursts_and_gaps(), found);
}
