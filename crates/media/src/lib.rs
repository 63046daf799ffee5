//! The media engine: legs, relay, playout, statistics; without I/O.
