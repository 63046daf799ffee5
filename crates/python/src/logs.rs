//! Log records and levels: Python's numbers on one side, `tracing`'s on the other.

use pyo3::prelude::*;
use ringback_net::{EventQueue, LOG_TARGETS, Level, LogRecord};

use crate::names::names;

/// Python's number of a level. TRACE has none of its own there: half of DEBUG.
fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

/// Makes records of `target` from `level` on; None: none at all.
pub(crate) fn set(queue: &EventQueue, target: &str, level: Option<u8>) {
    let level = level.map(|number| match number {
        0..=5 => Level::TRACE,
        6..=10 => Level::DEBUG,
        11..=20 => Level::INFO,
        21..=30 => Level::WARN,
        _ => Level::ERROR,
    });
    queue.log_levels().set(target, level);
}

/// Hands a record to Python's `logging`.
pub(crate) fn emit(py: Python<'_>, record: &LogRecord) -> PyResult<()> {
    let LogRecord { target, level, message, call_id, at, .. } = record;
    names(py)?.emit_log.bind(py).call1((target, number(*level), message, call_id.as_deref(), at.unix_seconds()))?;
    Ok(())
}

/// Names of the loggers.
#[pyfunction]
fn log_targets() -> Vec<&'static str> {
    LOG_TARGETS.to_vec()
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(log_targets, module)?)
}
