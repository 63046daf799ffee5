//! Whole systems against each other: signalling and media, with loss, delay, duplication and reordering, under a virtual clock.

#![allow(clippy::panic, clippy::expect_used, reason = "a test's helpers are tests, too")]

mod calls;
mod common;
mod flows;
mod groups;
mod limits;
mod media;
mod paths;
mod renegotiation;
mod threads;
mod transfers;
