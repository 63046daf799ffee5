//! The registrar: what a program asks of it, and the way to a binding store of the program's own (`ringback._stores`).

use std::net::SocketAddr;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use ringback_engine::api::{Command, GruuKey, Record, RegistrarConfig, Source, StoreKind, StoreRequest, StoreWork};
use ringback_time::Wall;
use ringback_ua::Transport;

use crate::convert;
use crate::coordinator::Coordinator;
use crate::names::{Names, names};
use crate::pending::Undo;
use crate::reply::dataclass;

type Future<'py> = PyResult<Bound<'py, PyAny>>;

/// What `with_registrar` gives: (domains, least and longest life in seconds, contacts, kind of store, key of temporary GRUUs).
pub(crate) type Wanted = (Vec<String>, f64, f64, usize, String, [u8; 32]);

pub(crate) fn config((domains, min, max, max_contacts, store, key): Wanted) -> PyResult<RegistrarConfig> {
    let store = match store.as_str() {
        "memory" => StoreKind::Memory,
        "own" => StoreKind::Own,
        "shared" => StoreKind::Shared,
        other => return Err(PyValueError::new_err(format!("no kind of store: {other:?}"))),
    };
    let (min_expires, max_expires) = (convert::duration(min), convert::duration(max));
    Ok(RegistrarConfig { domains, min_expires, max_expires, max_contacts, gruu_key: Some(GruuKey(key)), store })
}

/// The future of a list of `ringback.Binding`, best first.
#[pyfunction]
fn lookup_bindings<'py>(coordinator: &Bound<'py, Coordinator>, aor: String) -> Future<'py> {
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::Lookup { token, aor })
}

#[pyfunction]
fn remove_bindings<'py>(coordinator: &Bound<'py, Coordinator>, aor: String) -> Future<'py> {
    coordinator.get().ask(coordinator.py(), Undo::Nothing, |token| Command::Unbind { token, aor })
}

/// A store has done its work: what `find` found, or why not.
#[pyfunction]
#[pyo3(signature = (coordinator, request, error, found))]
fn stored(
    coordinator: &Bound<'_, Coordinator>,
    request: u64,
    error: Option<String>,
    found: Vec<Bound<'_, PyAny>>,
) -> PyResult<()> {
    let result = match error {
        Some(why) => Err(why),
        None => found.iter().map(from_python).collect::<PyResult<Vec<_>>>().map_err(|error| error.to_string()),
    };
    coordinator.get().tell(Command::Stored { id: request, result });
    Ok(())
}

/// `Event::Store`: `ringback._stores.begin(coordinator, request, aor, work)`.
pub(crate) fn store(slf: &Bound<'_, Coordinator>, names: &'static Names, request: StoreRequest) -> PyResult<()> {
    let py = slf.py();
    let (aor, work) = match request.work {
        StoreWork::Find { aor } => (aor, None),
        StoreWork::Write(write) => {
            let saved = write.saved.iter().map(|record| to_python(names, py, record)).collect::<PyResult<Vec<_>>>()?;
            let deleted: Vec<_> = write.deleted.into_iter().map(|gone| (gone.contact, gone.flow)).collect();
            (write.aor, Some((saved, deleted, write.all)))
        }
    };
    names.begin_store.bind(py).call1((slf, request.id, aor, work))?;
    Ok(())
}

/// A `ringback.Binding`.
pub(crate) fn to_python<'py>(names: &'static Names, py: Python<'py>, record: &Record) -> PyResult<Bound<'py, PyAny>> {
    dataclass!(py, names.binding, {
        aor: record.aor.as_str(),
        contact: record.contact.as_str(),
        expires_at: convert::datetime(names, py, record.expires)?,
        user_agent: record.user_agent.as_deref(),
        received_from: record.source.remote.to_string(),
        transport: names.transport.bind(py).call1((record.source.transport.as_param(),))?,
        q: f64::from(record.q) / 1000.0,
        call_id: record.call_id.as_str(),
        cseq: record.cseq,
        path: record.path.as_str(),
        instance: record.instance.as_deref(),
        reg_id: record.reg_id,
        natted: record.natted,
        received_to: record.source.local.map(|local| local.to_string()),
    })
}

fn from_python(binding: &Bound<'_, PyAny>) -> PyResult<Record> {
    let py = binding.py();
    let text = |name: &Bound<'_, PyString>| binding.getattr(name)?.extract::<String>();
    let some = |name: &Bound<'_, PyString>| binding.getattr(name)?.extract::<Option<String>>();
    let expires: f64 = binding.getattr(intern!(py, "expires_at"))?.call_method0(intern!(py, "timestamp"))?.extract()?;
    let expires = if expires.is_finite() { expires.clamp(0.0, 1e10) } else { 0.0 };
    let expires = u64::try_from(Duration::from_secs_f64(expires).as_nanos()).unwrap_or(u64::MAX);
    let received = text(intern!(py, "received_from"))?;
    let remote: SocketAddr = received
        .parse()
        .map_err(|_| PyValueError::new_err(format!("Binding.received_from must be \"ip:port\", not {received:?}")))?;
    let q: f64 = binding.getattr(intern!(py, "q"))?.extract()?;
    let transport = text(intern!(py, "transport"))?;
    Ok(Record {
        aor: text(intern!(py, "aor"))?,
        contact: text(intern!(py, "contact"))?,
        expires: Wall::from_unix_nanos(expires),
        q: (q.clamp(0.0, 1.0) * 1000.0).round() as u16,
        call_id: text(intern!(py, "call_id"))?,
        cseq: binding.getattr(intern!(py, "cseq"))?.extract()?,
        user_agent: some(intern!(py, "user_agent"))?,
        path: text(intern!(py, "path"))?,
        instance: some(intern!(py, "instance"))?,
        reg_id: binding.getattr(intern!(py, "reg_id"))?.extract()?,
        source: Source {
            transport: Transport::from_param(&transport).unwrap_or(Transport::Udp),
            remote,
            connection: None,
            local: some(intern!(py, "received_to"))?.and_then(|local| local.parse().ok()),
        },
        natted: binding.getattr(intern!(py, "natted"))?.is_truthy()?,
    })
}

pub(crate) fn list<'py>(py: Python<'py>, records: &[Record]) -> PyResult<Bound<'py, PyAny>> {
    let names = names(py)?;
    let list = records.iter().map(|record| to_python(names, py, record)).collect::<PyResult<Vec<_>>>()?;
    Ok(list.into_pyobject(py)?.into_any())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(lookup_bindings, module)?)?;
    module.add_function(wrap_pyfunction!(remove_bindings, module)?)?;
    module.add_function(wrap_pyfunction!(stored, module)?)
}
