//! Two user agents, or one and a test that plays the peer, under a virtual clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answering;
mod calls;
mod challenging;
mod common;
mod early_end;
mod flood;
mod fuzzed;
mod lossy;
mod outside;
mod overtaken;
mod races;
mod redirects;
mod refusals;
mod reliable;
mod routes;
mod secure;
mod sessions;
mod sources;
mod standalone;
mod timers;
mod update;
