//! Values on their way between Python and the engine, checked where Python hands them in.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::net::SocketAddr;
use std::time::Duration;

use numpy::ndarray::Dimension;
use numpy::{Element, PyArrayMethods as _, PyReadonlyArray, PyUntypedArrayMethods as _};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyMapping, PyString};
use ringback_engine::api::{Direction, HeaderList, State};
use ringback_time::Wall;

use crate::names::Names;

/// Longest duration that is taken: ten years. What is longer is a mistake, and would overflow clocks.
pub(crate) const SECONDS_MOST: f64 = 10.0 * 366.0 * 86_400.0;

/// A number of seconds that Python has checked already (`_seconds.py`).
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::from_secs_f64(if seconds.is_finite() { seconds.clamp(0.0, SECONDS_MOST) } else { 0.0 })
}

/// Extra headers, in the mapping's order. Their text is checked by the engine (`InvalidHeader`).
pub(crate) fn headers(mapping: Option<&Bound<'_, PyMapping>>) -> PyResult<HeaderList> {
    let Some(mapping) = mapping else { return Ok(Vec::new()) };
    let mut list = Vec::new();
    for item in mapping.items()? {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        let (Ok(name), Ok(value)) = (name.cast::<PyString>(), value.cast::<PyString>()) else {
            return Err(PyTypeError::new_err(format!(
                "headers must map str to str, not {} to {}",
                name.get_type().name()?,
                value.get_type().name()?
            )));
        };
        list.push((name.to_str()?.to_owned(), value.to_str()?.to_owned()));
    }
    Ok(list)
}

/// A status that refuses a call.
pub(crate) fn refusal(status: Whole) -> PyResult<u16> {
    match u16::try_from(status.0) {
        Ok(status) if (400..=699).contains(&status) => Ok(status),
        _ => Err(PyValueError::new_err(format!("status must be 400 to 699, not {status}"))),
    }
}

/// An int of a program, which may have any size: what is beyond these is out of every range that there is here, and its `ValueError` is
/// to be that of the range.
#[derive(Clone, Copy)]
pub(crate) struct Whole(pub(crate) i64);

impl<'py> FromPyObject<'_, 'py> for Whole {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match value.extract::<i64>() {
            Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
                Ok(Whole(if value.lt(0)? { i64::MIN } else { i64::MAX }))
            }
            found => found.map(Whole),
        }
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            i64::MAX => formatter.write_str("so large a number"),
            i64::MIN => formatter.write_str("so small a number"),
            number => number.fmt(formatter),
        }
    }
}

/// An array whose items Rust can look at: `np.frombuffer` with an odd offset, for one, gives items at odd addresses, and those are copied.
pub(crate) fn aligned<'py, T: Element, D: Dimension>(
    array: PyReadonlyArray<'py, T, D>,
) -> PyResult<PyReadonlyArray<'py, T, D>> {
    let align = std::mem::align_of::<T>();
    let steps_fit = array.strides().iter().all(|stride| stride.unsigned_abs().is_multiple_of(align));
    if (array.data() as usize).is_multiple_of(align) && steps_fit {
        return Ok(array);
    }
    array.call_method0(intern!(array.py(), "copy"))?.extract()
}

pub(crate) fn hash(value: &impl Hash) -> u64 {
    foldhash::fast::FixedState::default().hash_one(value)
}

/// An aware `datetime`, UTC.
pub(crate) fn datetime<'py>(names: &'static Names, py: Python<'py>, at: Wall) -> PyResult<Bound<'py, PyAny>> {
    names.datetime_from_timestamp.bind(py).call1((at.unix_seconds(), names.utc.bind(py)))
}

pub(crate) fn state<'py>(names: &'static Names, py: Python<'py>, state: State) -> Bound<'py, PyAny> {
    let index = match state {
        State::Initiating => 0,
        State::Ringing => 1,
        State::Active => 2,
        State::OnHold => 3,
        State::Transferring => 4,
        State::Terminated => 5,
        State::Cancelled => 6,
        State::Rejected => 7,
        State::Failed => 8,
    };
    names.states[index].bind(py).clone()
}

pub(crate) fn direction<'py>(names: &'static Names, py: Python<'py>, direction: Direction) -> Bound<'py, PyAny> {
    match direction {
        Direction::Incoming => names.incoming_direction.bind(py).clone(),
        Direction::Outgoing => names.outgoing_direction.bind(py).clone(),
    }
}

/// "192.0.2.1:4000", "[2001:db8::1]:4000".
pub(crate) fn address(text: &str) -> PyResult<SocketAddr> {
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    address.ok_or_else(|| {
        PyValueError::new_err(format!("not an address with a port (\"ip:port\", \"[v6]:port\"): {text:?}"))
    })
}
