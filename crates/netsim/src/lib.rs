//! A seeded lossy link for tests.
