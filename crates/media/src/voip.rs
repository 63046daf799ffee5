//! The quality of a call as one end tells it to the other (RFC 3611 §4.7), from what was measured.

use ringback_media_api::{Reported, VoipMetrics};
use ringback_rtp::emodel;
use ringback_rtp::receiver::GMIN;
use ringback_rtp::rtcp::{self, Concealment, JitterBufferKind, ReportBlock};

use crate::leg::Leg;
use crate::statistics::{self, PlayoutDelay};

/// What is said of the stream that the leg gets. `None`: it gets none, or too little to say anything.
pub(crate) fn metrics(leg: &Leg) -> Option<rtcp::VoipMetrics> {
    let state = &leg.incoming.state;
    let ssrc = state.ssrc().filter(|_| state.is_measured())?;
    let (expected, unique) = state.present();
    let found = state.bursts_and_gaps();
    let discarded = statistics::discarded(leg).saturating_sub(leg.incoming.discarded_before);
    let packet_ms = f64::from(leg.incoming.packet_ms);
    let milliseconds = |packets: Option<f64>| packets.map_or(0, |packets| rounded(packets * packet_ms));
    let playout = statistics::playout(leg);
    let rating = statistics::rate(leg);
    Some(rtcp::VoipMetrics {
        ssrc,
        loss_rate: parts(expected.saturating_sub(unique) as f64 / expected.max(1) as f64),
        discard_rate: parts(discarded as f64 / expected.max(1) as f64),
        burst_density: found.bursts.density().map_or(0, parts),
        gap_density: found.gaps.density().map_or(0, parts),
        burst_duration_ms: milliseconds(found.bursts.mean_packets()),
        gap_duration_ms: milliseconds(found.gaps.mean_packets()),
        round_trip_ms: leg.control.round_trip.latest().map(|trip| rounded(trip.as_secs_f64() * 1e3).max(1)),
        // RFC 3611 §4.7.3: gathering of the samples that are sent, and playout of those that come. Who only relays has no ends.
        end_system_delay_ms: playout.map(|playout| rounded(f64::from(playout.delay_ms) + leg.ptime_ms() as f64)),
        // Levels are not measured here.
        signal_level: None,
        noise_level: None,
        echo_return_loss: None,
        gmin: GMIN as u8,
        r_factor: rating.map(|rating| rating.conversational.round() as u8),
        external_r_factor: None,
        mos_lq: rating.map(|rating| tenths(rating.listening)),
        mos_cq: rating.map(|rating| tenths(rating.conversational)),
        concealment: if leg.relays() { Concealment::Unspecified } else { Concealment::Enhanced },
        jitter_buffer: if playout.is_some() { JitterBufferKind::Adaptive } else { JitterBufferKind::Unknown },
        jitter_buffer_rate: 0,
        jitter_buffer_nominal_ms: playout.map_or(0, |playout| rounded(playout.delay_ms.into())),
        jitter_buffer_maximum_ms: playout.map_or(0, |playout| rounded(playout.most_ms.into())),
        jitter_buffer_absolute_maximum_ms: playout.map_or(0, |PlayoutDelay { most_ms, .. }| rounded(most_ms.into())),
    })
}

/// Parts of 256. All of it does not fit, and is said as nearly all.
fn parts(part: f64) -> u8 {
    (part * 256.0).clamp(0.0, 255.0) as u8
}

fn rounded(number: f64) -> u16 {
    number.round().clamp(0.0, f64::from(u16::MAX)) as u16
}

/// MOS of a rating, in tenths.
fn tenths(r: f64) -> u8 {
    (emodel::mos(r) * 10.0).round() as u8
}

/// What the peer says in its report blocks. `clock_rate`: of what we send.
pub(crate) fn reported(block: &ReportBlock, clock_rate: u32) -> Reported {
    Reported {
        loss_percent: f32::from(block.fraction_lost) / 2.56,
        packets_lost: block.cumulative_lost,
        jitter_ms: (f64::from(block.jitter) * 1e3 / f64::from(clock_rate.max(1))) as f32,
    }
}

/// The same of its extended reports.
pub(crate) fn received(metrics: &rtcp::VoipMetrics) -> VoipMetrics {
    let percent = |parts: u8| f32::from(parts) / 2.56;
    let mos = |tenths: Option<u8>| tenths.map(|tenths| f32::from(tenths) / 10.0);
    VoipMetrics {
        loss_percent: percent(metrics.loss_rate),
        discard_percent: percent(metrics.discard_rate),
        burst_density_percent: percent(metrics.burst_density),
        gap_density_percent: percent(metrics.gap_density),
        burst_duration_ms: metrics.burst_duration_ms,
        gap_duration_ms: metrics.gap_duration_ms,
        round_trip_ms: metrics.round_trip_ms,
        end_system_delay_ms: metrics.end_system_delay_ms,
        signal_level_dbm0: metrics.signal_level,
        noise_level_dbm0: metrics.noise_level,
        echo_return_loss_db: metrics.echo_return_loss,
        r_factor: metrics.r_factor,
        external_r_factor: metrics.external_r_factor,
        mos_lq: mos(metrics.mos_lq),
        mos_cq: mos(metrics.mos_cq),
        conceals: match metrics.concealment {
            Concealment::Unspecified => None,
            other => Some(other != Concealment::Disabled),
        },
        adaptive_jitter_buffer: match metrics.jitter_buffer {
            JitterBufferKind::Unknown => None,
            other => Some(other == JitterBufferKind::Adaptive),
        },
        jitter_buffer_nominal_ms: metrics.jitter_buffer_nominal_ms,
        jitter_buffer_maximum_ms: metrics.jitter_buffer_maximum_ms,
        jitter_buffer_absolute_maximum_ms: metrics.jitter_buffer_absolute_maximum_ms,
    }
}
