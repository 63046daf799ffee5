use super::*;

fn at(ms: u64) -> Mono {
    Mono::from_nanos(ms * 1_000_000)
}

fn target(n: u64) -> Target {
    Target { kind: Kind::Retry, owner: Index::from_bits(n) }
}

fn timers() -> Timers {
    Timers::new([500, 1000, 500, 32_000].map(Duration::from_millis))
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines_whatever_queue_they_are_in() {
    let mut timers = timers();
    assert_eq!(timers.queues.len(), 3, "equal lengths share a queue");
    timers.set(at(0), Duration::from_millis(1000), target(1));
    timers.set(at(10), Duration::from_millis(500), target(2));
    timers.set(at(20), Duration::from_millis(730), target(3));
    timers.set(at(600), Duration::from_millis(500), target(4));
    let mut fired = Vec::new();
    let mut order = Vec::new();
    while let Some(deadline) = timers.next() {
        assert!(timers.pop(deadline - Duration::from_nanos(1)).is_none());
        let (_, target) = timers.pop(deadline).unwrap();
        fired.push(deadline);
        order.push(target.owner.to_bits());
    }
    assert_eq!(order, [2, 3, 1, 4]);
    assert_eq!(fired, [at(510), at(750), at(1000), at(1100)]);
    assert_eq!(timers.len(), 0);
}

#[test]
fn a_cancelled_timer_leaves_nothing() {
    let mut timers = timers();
    let length = Duration::from_millis(500);
    let ids: Vec<TimerId> = (0..5).map(|n| timers.set(at(n), length, target(n))).collect();
    let odd = timers.set(at(0), Duration::from_millis(3), target(99));
    for n in [2, 0, 4] {
        timers.cancel(ids[n]);
    }
    timers.cancel(odd);
    timers.cancel(odd);
    assert_eq!(timers.len(), 2);
    assert_eq!(timers.next(), Some(at(501)));
    assert_eq!(timers.pop(at(9999)).unwrap().1, target(1));
    assert_eq!(timers.pop(at(9999)).unwrap().1, target(3));
    assert!(timers.pop(at(9999)).is_none());
    assert_eq!(timers.next(), None);
}

#[test]
fn a_clock_set_back_does_not_break_the_order() {
    let mut timers = timers();
    let length = Duration::from_millis(500);
    timers.set(at(1000), length, target(1));
    timers.set(at(200), length, target(2));
    timers.set(at(1001), length, target(3));
    let order: Vec<u64> =
        std::iter::from_fn(|| timers.pop(at(9999))).map(|(_, target)| target.owner.to_bits()).collect();
    assert_eq!(order, [2, 1, 3]);
}

#[test]
fn a_model_agrees() {
    use rand_core::{RngCore, SeedableRng};
    let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(7);
    let mut timers = timers();
    let mut model: Vec<(Mono, TimerId, u64)> = Vec::new();
    let mut now = at(0);
    for n in 0..20_000u64 {
        now += Duration::from_millis(u64::from(rng.next_u32() % 40));
        if n % 97 == 0 {
            timers.shrink();
        }
        match rng.next_u32() % 4 {
            0 | 1 => {
                let length = Duration::from_millis([500, 1000, 32_000, 77][rng.next_u32() as usize % 4]);
                let id = timers.set(now, length, target(n));
                model.push((now + length, id, n));
            }
            2 if !model.is_empty() => {
                let (_, id, _) = model.swap_remove(rng.next_u32() as usize % model.len());
                timers.cancel(id);
            }
            _ => {
                while let Some((id, target)) = timers.pop(now) {
                    let earliest = model.iter().map(|(deadline, ..)| *deadline).min().unwrap();
                    let place = model.iter().position(|(_, known, _)| *known == id).unwrap();
                    let (deadline, _, owner) = model.swap_remove(place);
                    assert_eq!((deadline, owner), (earliest, target.owner.to_bits()));
                }
                assert!(model.iter().all(|(deadline, ..)| *deadline > now));
            }
        }
        assert_eq!(timers.len(), model.len());
        assert_eq!(timers.next(), model.iter().map(|(deadline, ..)| *deadline).min());
    }
}

#[test]
fn memory_of_a_burst_is_given_back_though_a_timer_runs() {
    let mut timers = timers();
    let burst: Vec<TimerId> = (0..1000).map(|n| timers.set(at(0), Duration::from_secs(32), target(n))).collect();
    for id in burst.iter().skip(1) {
        timers.cancel(*id);
    }
    timers.shrink();
    assert!(timers.nodes.len() == 1 && timers.nodes.capacity() <= 64);
    timers.cancel(burst[999]);
    let next = timers.set(at(1), Duration::from_secs(32), target(2000));
    assert!(timers.len() == 2 && burst.iter().all(|id| *id != next));
    assert_eq!(timers.pop(at(40_000)).map(|(id, _)| id), Some(burst[0]));
    assert_eq!(timers.pop(at(40_000)).map(|(id, _)| id), Some(next));
}
