//! The Python binding: native halves of `ringback`'s classes, the drain from the event queue to handlers and futures, and the mapping of
//! errors. The only crate that sees PyO3.
//!
//! What users see is `python/ringback`; the module made here, `ringback._ringback`, is its private kernel: a class `XBase` here is
//! the base of `X` there, which adds the `async def` methods, and a function here gives the engine a command and returns the future of
//! its answer. One file a feature, the same names in `stubs/_ringback.pyi`.
//!
//! Rust's own threads never attach to the interpreter (DESIGN 4): they fill the queue, whose descriptor wakes the loop.
#![allow(clippy::disallowed_methods, reason = "the reaper of a dropped coordinator is a thread")]

mod accounts;
mod audio;
mod authentication;
mod batches;
mod bridges;
mod calls;
mod convert;
mod coordinator;
mod counters;
mod decisions;
mod dispatch;
mod errors;
mod handling;
mod ids;
mod incoming;
mod logs;
mod media;
mod messages;
mod names;
mod options;
mod pending;
mod questions;
mod recording;
mod registrar;
mod reply;
mod reports;
mod seed;
mod session;
mod settings;
mod subscriptions;
mod uri;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _ringback(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    ids::register(module)?;
    decisions::register(module)?;
    uri::register(module)?;
    settings::register(module)?;
    coordinator::register(module)?;
    counters::register(module)?;
    handling::register(module)?;
    incoming::register(module)?;
    session::register(module)?;
    calls::register(module)?;
    media::register(module)?;
    recording::register(module)?;
    bridges::register(module)?;
    options::register(module)?;
    messages::register(module)?;
    questions::register(module)?;
    registrar::register(module)?;
    authentication::register(module)?;
    accounts::register(module)?;
    subscriptions::register(module)?;
    audio::register(module)?;
    batches::register(module)?;
    logs::register(module)?;
    // What is public is said in `ringback/__init__.py`.
    module.delattr("__all__")
}
