//! What a peer's RTCP says, as Python values.

use pyo3::prelude::*;
use ringback_media_api::{RemoteMetrics, VoipMetrics};

use crate::names::Names;
use crate::reply::dataclass;

pub(crate) fn remote<'py>(
    names: &'static Names,
    py: Python<'py>,
    remote: &RemoteMetrics,
) -> PyResult<Bound<'py, PyAny>> {
    let reported = remote.reported;
    dataclass!(py, names.remote_metrics, {
        packet_loss_percent: reported.map(|reported| reported.loss_percent),
        packets_lost: reported.map(|reported| reported.packets_lost),
        jitter_ms: reported.map(|reported| reported.jitter_ms),
        voip: remote.voip.as_ref().map(|metrics| voip(names, py, metrics)).transpose()?,
    })
}

fn voip<'py>(names: &'static Names, py: Python<'py>, voip: &VoipMetrics) -> PyResult<Bound<'py, PyAny>> {
    // MOS is told in tenths, which no f32 is.
    let mos = |mos: Option<f32>| mos.map(|mos| (f64::from(mos) * 10.0).round() / 10.0);
    dataclass!(py, names.voip_metrics, {
        packet_loss_percent: voip.loss_percent,
        discard_percent: voip.discard_percent,
        burst_density_percent: voip.burst_density_percent,
        gap_density_percent: voip.gap_density_percent,
        burst_duration_ms: voip.burst_duration_ms,
        gap_duration_ms: voip.gap_duration_ms,
        round_trip_ms: voip.round_trip_ms,
        end_system_delay_ms: voip.end_system_delay_ms,
        signal_level_dbm0: voip.signal_level_dbm0,
        noise_level_dbm0: voip.noise_level_dbm0,
        echo_return_loss_db: voip.echo_return_loss_db,
        r_factor: voip.r_factor,
        external_r_factor: voip.external_r_factor,
        mos_lq: mos(voip.mos_lq),
        mos_cq: mos(voip.mos_cq),
        conceals_loss: voip.conceals,
        adaptive_jitter_buffer: voip.adaptive_jitter_buffer,
        jitter_buffer_nominal_ms: voip.jitter_buffer_nominal_ms,
        jitter_buffer_maximum_ms: voip.jitter_buffer_maximum_ms,
        jitter_buffer_absolute_maximum_ms: voip.jitter_buffer_absolute_maximum_ms,
    })
}
