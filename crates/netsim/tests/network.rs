use std::time::Duration;

use ringback_netsim::{Conditions, Network};
use ringback_time::Mono;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Sends `count` numbered packets, one a millisecond, and returns what arrives, with the time of arrival.
fn run(seed: u64, conditions: Conditions, count: u32) -> (Vec<(Mono, u32)>, Network<u8, u32>) {
    let mut network = Network::new(seed, conditions);
    let mut arrived = Vec::new();
    let mut now = Mono::ZERO;
    for number in 0..count {
        network.send(now, &1, &2, number);
        now += MILLISECOND;
        while let Some(packet) = network.poll(now) {
            arrived.push((now, packet));
        }
    }
    while let Some(due) = network.poll_timeout() {
        arrived.extend(network.poll(due).map(|packet| (due, packet)));
    }
    (arrived, network)
}

#[test]
fn a_perfect_path_changes_nothing() {
    let (arrived, network) = run(1, Conditions::PERFECT, 1000);
    assert_eq!(arrived.iter().map(|(_, number)| *number).collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());
    assert_eq!(network.counters().delivered, 1000);
    assert_eq!(network.under_way(), 0);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_another() {
    let rough = Conditions::LAN.with_loss(0.1).with_duplication(0.1).with_reordering(0.1, 5 * MILLISECOND);
    let rough = rough.with_delay(3 * MILLISECOND, 4 * MILLISECOND);
    assert_eq!(run(7, rough, 500).0, run(7, rough, 500).0);
    assert_ne!(run(7, rough, 500).0, run(8, rough, 500).0);
}

#[test]
fn loss_and_duplication_have_the_probability_that_was_asked_for() {
    for probability in [0.05, 0.3] {
        let (arrived, network) = run(3, Conditions::LAN.with_loss(probability), 20_000);
        let lost = 1.0 - arrived.len() as f64 / 20_000.0;
        assert!((lost - probability).abs() < 0.015, "{lost} for {probability}");
        assert_eq!(network.counters().lost as usize + arrived.len(), 20_000);

        let (arrived, network) = run(4, Conditions::LAN.with_duplication(probability), 20_000);
        let more = arrived.len() as f64 / 20_000.0 - 1.0;
        assert!((more - probability).abs() < 0.015, "{more} for {probability}");
        assert_eq!(network.counters().duplicated as usize + 20_000, arrived.len());
    }
    assert!(run(5, Conditions::CUT, 100).0.is_empty());
}

#[test]
fn delay_and_jitter_keep_their_bounds() {
    let conditions = Conditions::PERFECT.with_delay(10 * MILLISECOND, 5 * MILLISECOND);
    let mut network = Network::new(9, conditions);
    let mut spread = (Duration::MAX, Duration::ZERO);
    for _ in 0..2000 {
        network.send(Mono::ZERO, &1, &2, ());
        let took = network.poll_timeout().expect("under way").since(Mono::ZERO);
        spread = (spread.0.min(took), spread.1.max(took));
        assert_eq!(network.poll(Mono::ZERO), None, "not before its time");
        assert!(network.poll(Mono::ZERO + took).is_some());
    }
    assert!(spread.0 >= 10 * MILLISECOND && spread.0 < Duration::from_micros(10_100), "{spread:?}");
    assert!(spread.1 < 15 * MILLISECOND && spread.1 > Duration::from_micros(14_900), "{spread:?}");
}

#[test]
fn reordering_lets_later_packets_overtake() {
    let (arrived, network) = run(2, Conditions::LAN.with_reordering(0.1, 3 * MILLISECOND), 1000);
    assert_eq!(arrived.len(), 1000, "nothing is lost");
    let overtaken = arrived.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
    assert!((50..=150).contains(&overtaken), "{overtaken}");
    assert!((70..=130).contains(&network.counters().held_back));
}

#[test]
fn streams_are_late_but_whole_and_in_order() {
    let rough = Conditions::LAN.with_loss(0.3).with_duplication(0.3).with_delay(MILLISECOND, 50 * MILLISECOND);
    let mut network = Network::new(6, rough);
    for number in 0..500_u32 {
        network.send_stream(Mono::ZERO + MILLISECOND * number, &1, &2, number);
    }
    let mut arrived = Vec::new();
    while let Some(due) = network.poll_timeout() {
        arrived.extend(network.poll(due));
    }
    assert_eq!(arrived, (0..500).collect::<Vec<_>>());
    network.set_conditions(Conditions::CUT);
    network.send_stream(Mono::ZERO, &1, &2, 0);
    assert_eq!(network.under_way(), 0);
}

#[test]
fn a_path_may_have_conditions_of_its_own_in_one_direction() {
    let mut network = Network::new(1, Conditions::PERFECT);
    network.set_path(1, 2, Some(Conditions::CUT));
    network.send(Mono::ZERO, &1, &2, "there");
    network.send(Mono::ZERO, &2, &1, "back");
    assert_eq!(network.poll(Mono::ZERO), Some("back"));
    assert_eq!(network.poll(Mono::ZERO), None);
    network.set_path(1, 2, None);
    network.send(Mono::ZERO, &1, &2, "there");
    assert_eq!(network.poll(Mono::ZERO), Some("there"));
}
