//! A short run of what the fuzz target does for long: the same seeds each time.

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use ringback_world::fuzz;

#[test]
fn random_operations_leave_nothing_behind() {
    for seed in 0..150 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut data = vec![0; 40 + (rng.next_u32() % 360) as usize];
        rng.fill_bytes(&mut data);
        if let Err(what) = fuzz::operations(&data) {
            panic!("seed {seed}: {what}");
        }
    }
}
