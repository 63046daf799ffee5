//! The fuzz target's body, over inputs that are the same each time.

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use ringback_ua::fuzz::operations;

#[test]
fn anything_in_any_order_does_no_harm() {
    let mut rng = ChaCha12Rng::seed_from_u64(11);
    for _ in 0..300 {
        let mut input = vec![0; 50 + rng.next_u32() as usize % 600];
        rng.fill_bytes(&mut input);
        operations(&input);
    }
    operations(&[]);
}
