//! The allocator's unused pages.

/// Gives what the allocator keeps unused back to the system, where it can be asked to.
pub(crate) fn give_back() {
    // SAFETY: takes an integer, and touches unused memory alone, under the allocator's own locks.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}
