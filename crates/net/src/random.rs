use rand_core::{OsRng, TryRngCore as _};

/// From the operating system, for identities that a program makes itself.
pub fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    // The kernel's generator does not fail once the machine is up; a clock reading is still no repetition.
    if OsRng.try_fill_bytes(&mut bytes).is_err() {
        bytes[..8].copy_from_slice(&crate::clock::wall().unix_nanos().to_ne_bytes());
    }
    u128::from_ne_bytes(bytes)
}
