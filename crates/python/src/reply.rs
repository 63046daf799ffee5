//! Good ends of commands as Python values.

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use ringback_engine::api::{self, Reply};
use ringback_media_api::Statistics;

use crate::convert;
use crate::coordinator::Coordinator;
use crate::ids::{BridgeId, SessionId};
use crate::names::{Names, names};
use crate::registrar;
use crate::reports;
use crate::seed;

/// `class(**fields)`: the dataclasses take keywords only.
macro_rules! dataclass {
    ($py:expr, $class:expr, { $($field:ident: $value:expr),* $(,)? }) => {{
        let keywords = pyo3::types::PyDict::new($py);
        $(keywords.set_item(pyo3::intern!($py, stringify!($field)), $value)?;)*
        $class.bind($py).call((), Some(&keywords))
    }};
}
pub(crate) use dataclass;

pub(crate) fn statistics<'py>(
    names: &'static Names,
    py: Python<'py>,
    statistics: &Statistics,
) -> PyResult<Bound<'py, PyAny>> {
    // Loss and jitter are never None there: without them there are no metrics, though the round trip may be known.
    let measured =
        statistics.quality.as_ref().and_then(|quality| Some((quality, quality.loss_percent?, quality.jitter_ms?)));
    let quality = match measured {
        None => None,
        Some((quality, loss_percent, jitter_ms)) => Some(dataclass!(py, names.quality_metrics, {
            mos_score: quality.mos,
            r_factor: quality.r_factor,
            packet_loss_percent: loss_percent,
            jitter_ms: jitter_ms,
            round_trip_ms: quality.round_trip_ms,
        })?),
    };
    dataclass!(py, names.media_statistics, {
        codec: statistics.codec.map(|codec| codec.name()),
        packets_sent: statistics.packets_sent,
        packets_received: statistics.packets_received,
        bytes_sent: statistics.bytes_sent,
        bytes_received: statistics.bytes_received,
        packets_lost: statistics.packets_lost,
        packets_discarded: statistics.packets_discarded,
        quality_metrics: quality,
        remote: statistics.remote.as_ref().map(|remote| reports::remote(names, py, remote)).transpose()?,
    })
}

fn media_info<'py>(names: &'static Names, py: Python<'py>, info: &api::MediaInfo) -> PyResult<Bound<'py, PyAny>> {
    dataclass!(py, names.media_info, {
        local_sdp: info.local_sdp.as_deref(),
        remote_sdp: info.remote_sdp.as_deref(),
        local_address: info.local_address.map(|address| address.to_string()),
        remote_address: info.remote_address.map(|address| address.to_string()),
        codec: info.codec,
        sample_rate: info.sample_rate,
    })
}

fn bridge_info<'py>(names: &'static Names, py: Python<'py>, info: &api::BridgeInfo) -> PyResult<Bound<'py, PyAny>> {
    let ids = |ids: &[api::SessionId]| PyTuple::new(py, ids.iter().copied().map(SessionId));
    dataclass!(py, names.bridge_info, {
        id: BridgeId(info.id),
        name: info.name.as_deref(),
        sessions: ids(&info.sessions)?,
        participant_count: info.sessions.len(),
        talking: ids(&info.talking)?,
        locked: info.locked,
        created_at: convert::datetime(names, py, info.created_at)?,
    })
}

pub(crate) fn to_python<'py>(coordinator: &Bound<'py, Coordinator>, reply: Reply) -> PyResult<Bound<'py, PyAny>> {
    let py = coordinator.py();
    let names = names(py)?;
    let none = || py.None().into_bound(py);
    match reply {
        Reply::Session(session) => seed::session(coordinator, &session),
        Reply::Text(text) => Ok(PyString::new(py, &text).into_any()),
        Reply::Statistics(None) | Reply::MediaInfo(None) | Reply::BridgeInfo(None) | Reply::SessionBridge(None) => {
            Ok(none())
        }
        Reply::Statistics(Some(of)) => statistics(names, py, &of),
        Reply::MediaInfo(Some(info)) => media_info(names, py, &info),
        Reply::Bridge(id) | Reply::SessionBridge(Some(id)) => Ok(Bound::new(py, BridgeId(id))?.into_any()),
        Reply::BridgeInfo(Some(info)) => bridge_info(names, py, &info),
        Reply::Bridges(infos) => {
            let list = infos.iter().map(|info| bridge_info(names, py, info)).collect::<PyResult<Vec<_>>>()?;
            Ok(list.into_pyobject(py)?.into_any())
        }
        Reply::Registration(registration) => {
            Ok(Bound::new(py, crate::accounts::RegistrationView(registration))?.into_any())
        }
        Reply::Bindings(records) => registrar::list(py, &records),
        Reply::Subscription(id) => crate::subscriptions::new(coordinator, id),
        Reply::Options { status, round_trip, allow, user_agent } => dataclass!(py, names.options_reply, {
            status: status,
            round_trip_ms: round_trip.as_secs_f64() * 1000.0,
            allow: PyTuple::new(py, allow)?,
            user_agent: user_agent,
        }),
        _ => Ok(none()),
    }
}
