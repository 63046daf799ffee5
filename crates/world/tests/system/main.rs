//! Whole systems against each other: signalling and media, with loss, delay, duplication and reordering, under a virtual clock.

mod calls;
mod common;
mod limits;
mod media;
mod paths;
