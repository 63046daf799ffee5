//! The media engine: legs, relay, playout, statistics; without I/O.

mod engine;
mod out;

pub use engine::MediaEngine;
pub use out::Out;
