//! What was counted and measured of a leg, and how it sounds by ITU-T G.107.
//!
//! The rating knows whether losses came alone or in runs (BurstR), and assumes no echo. What is lost is concealed for whoever listens here; a leg that only
//! relays passes the loss on, and is rated as for a far end without concealment.
//! Delay counts only once a round trip was measured: half of it, and the playout buffer where there is one.

use ringback_media_api::{Quality, Statistics};
use ringback_rtp::emodel::{self, Impairment};

use crate::leg::Leg;

pub(crate) fn statistics(leg: &Leg) -> Statistics {
    let state = &leg.incoming.state;
    let discarded = leg.incoming.discarded
        + leg.audio.as_ref().map_or(0, |audio| audio.discarded())
        + leg.member.as_ref().map_or(0, |member| member.discarded());
    Statistics {
        codec: leg.config.send.map(|format| format.codec).or(leg.incoming.codec),
        packets_sent: leg.outgoing.packets,
        packets_received: state.unique(),
        bytes_sent: leg.outgoing.octets,
        bytes_received: leg.incoming.octets,
        packets_lost: state.lost(),
        packets_discarded: discarded,
        quality: quality(leg, discarded),
    }
}

fn quality(leg: &Leg, discarded: u64) -> Option<Quality> {
    let state = &leg.incoming.state;
    let round_trip_ms = leg.control.round_trip.latest().map(|trip| trip.as_secs_f64() * 1e3);
    let (expected, heard) = (state.expected(), state.unique());
    if heard == 0 && round_trip_ms.is_none() {
        return None;
    }
    let percent = |count: u64| 100.0 * count as f64 / expected.max(1) as f64;
    let loss = percent(state.lost());
    let rating = (heard > 0).then(|| {
        let buffered_ms = leg.audio.as_ref().map_or(0, |audio| audio.hearing.depth_ms());
        let one_way_ms = round_trip_ms.map(|trip| trip / 2.0 + f64::from(buffered_ms));
        // What came too late was as good as lost.
        emodel::rating(impairment(leg.relays()), percent(state.lost() + discarded), state.burst_ratio(), one_way_ms)
    });
    Some(Quality {
        mos: rating.map(|r| emodel::mos(r) as f32),
        r_factor: rating.map(|r| r as f32),
        loss_percent: loss as f32,
        jitter_ms: (state.jitter_nanos() as f64 / 1e6) as f32,
        round_trip_ms: round_trip_ms.map(|ms| ms as f32),
    })
}

/// ITU-T G.113 Appendix I, for whether the loss is concealed.
///
/// G.107's scale is that of narrowband, and ends with G.711. The wideband codecs are rated on it as what they are at least: no more impaired
/// than G.711 (Ie 0), their loss concealed as well as its. G.107.1 has a longer scale for them (G.722: Ie,wb 13 of 129; Opus has no figure
/// at all), by which G.711 itself has a MOS of 3.7: two calls with different codecs could not be compared.
fn impairment(relays: bool) -> Impairment {
    if relays { Impairment::G711 } else { Impairment::G711_CONCEALED }
}
