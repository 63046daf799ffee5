//! Several systems under one virtual clock.
