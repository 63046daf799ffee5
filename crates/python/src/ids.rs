//! Identities of sessions and bridges as Python values.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use ringback_engine::api;

/// 128 random bits below an empty shard number: an identity that no running engine has given out.
fn random() -> PyResult<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes[1..]).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(u128::from_be_bytes(bytes))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $text:literal) => {
        $(#[$doc])*
        #[pyclass(frozen, eq, ord, module = "ringback", from_py_object)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(pub(crate) api::$name);

        #[pymethods]
        impl $name {
            #[new]
            #[pyo3(signature = (text = None))]
            fn new(text: Option<&str>) -> PyResult<Self> {
                match text {
                    None => Ok($name(api::$name::from_u128(random()?))),
                    Some(text) => match text.parse() {
                        Ok(id) => Ok($name(id)),
                        Err(_) => Err(PyValueError::new_err(format!(
                            concat!("not ", $text, " (32 hexadecimal digits): {:?}"),
                            text.chars().take(64).collect::<String>()
                        ))),
                    },
                }
            }

            fn __str__(&self) -> String {
                self.0.to_string()
            }

            fn __repr__(&self) -> String {
                format!(concat!(stringify!($name), "('{}')"), self.0)
            }

            fn __hash__(&self) -> u64 {
                let bits = self.0.as_u128();
                (bits >> 64) as u64 ^ bits as u64
            }

            fn __getnewargs__(&self) -> (String,) {
                (self.0.to_string(),)
            }

            fn __copy__(slf: Py<Self>) -> Py<Self> {
                slf
            }

            fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
                slf
            }
        }
    };
}

id! {
    /// Identity of one session: one leg of a call with one peer.
    ///
    /// Hashable, ordered, picklable. `str()` gives 32 hexadecimal digits, for logs; `SessionId(text)` reads them back
    /// (`ValueError` where they are none), `SessionId()` makes a new identity, for tests.
    SessionId, "a session id"
}
id! {
    /// Identity of a bridge of sessions. Hashable, ordered, picklable; `str()` and `BridgeId(text)` as for `SessionId`.
    BridgeId, "a bridge id"
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<SessionId>()?;
    module.add_class::<BridgeId>()
}
