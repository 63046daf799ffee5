//! A short run of what the fuzz target does for long: the same seeds each time, or those of `RINGBACK_SEEDS` (as in `0..1000`).

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use ringback_world::fuzz;

#[test]
fn random_operations_leave_nothing_behind() {
    let seeds = std::env::var("RINGBACK_SEEDS").unwrap_or_else(|_| "0..100".into());
    let (from, to) = seeds.split_once("..").expect("two numbers");
    let (from, to): (u64, u64) = (from.parse().expect("a number"), to.parse().expect("a number"));
    for seed in from..to {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut data = vec![0; 40 + (rng.next_u32() % 360) as usize];
        rng.fill_bytes(&mut data);
        if let Err(what) = fuzz::operations(&data) {
            panic!("seed {seed}: {what}");
        }
    }
}
