//! What was counted and measured of a leg, and how it sounds by ITU-T G.107.
//!
//! The rating knows whether losses came alone or in runs (BurstR), and assumes no echo. What is lost is concealed for whoever listens here; a leg that only
//! relays passes the loss on, and is rated as for a far end without concealment.
//! Nothing is rated, and no loss and jitter told, before two packets came that could be played. Delay counts only once a round trip was measured: half of it, and the playout buffer where there is one.

use ringback_media_api::{Quality, Statistics};
use ringback_rtp::emodel::{self, Impairment};

use crate::leg::Leg;

pub(crate) fn statistics(leg: &Leg) -> Statistics {
    let state = &leg.incoming.state;
    Statistics {
        codec: leg.config.send.map(|format| format.codec).or(leg.incoming.codec),
        packets_sent: leg.outgoing.packets,
        packets_received: state.unique(),
        bytes_sent: leg.outgoing.octets,
        bytes_received: leg.incoming.octets,
        packets_lost: state.lost(),
        packets_discarded: discarded(leg),
        quality: quality(leg),
        remote: leg.control.remote.as_deref().copied(),
    }
}

/// Packets that came, and were not played.
pub(crate) fn discarded(leg: &Leg) -> u64 {
    leg.incoming.discarded
        + leg.audio.as_ref().map_or(0, |audio| audio.discarded())
        + leg.member.as_ref().map_or(0, |member| member.discarded())
}

/// The wait before what comes is heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlayoutDelay {
    /// Of a packet that comes when it should, at present, and the longest that there is.
    pub(crate) delay_ms: u32,
    pub(crate) most_ms: u32,
}

/// `None`: what comes waits nowhere.
pub(crate) fn playout(leg: &Leg) -> Option<PlayoutDelay> {
    let audio = leg.audio.as_ref().map(|audio| audio.hearing.playout());
    audio.or_else(|| leg.member.as_ref().map(|member| member.playout())).or(leg.incoming.transcoded)
}

/// The same stream, rated without and with the delay of a conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rating {
    pub(crate) listening: f64,
    pub(crate) conversational: f64,
}

/// R by ITU-T G.107; `None` before there is anything to rate.
pub(crate) fn rate(leg: &Leg) -> Option<Rating> {
    let state = &leg.incoming.state;
    if !state.is_measured() {
        return None;
    }
    // What came too late was as good as lost.
    let loss = 100.0 * (state.lost() + discarded(leg)) as f64 / state.expected().max(1) as f64;
    let buffered_ms = playout(leg).map_or(0, |playout| playout.delay_ms);
    let one_way_ms =
        leg.control.round_trip.latest().map(|trip| trip.as_secs_f64() * 1e3 / 2.0 + f64::from(buffered_ms));
    let rating = |one_way_ms| emodel::rating(impairment(leg.relays()), loss, state.burst_ratio(), one_way_ms);
    Some(Rating { listening: rating(None), conversational: rating(one_way_ms) })
}

fn quality(leg: &Leg) -> Option<Quality> {
    let state = &leg.incoming.state;
    let round_trip = leg.control.round_trip.latest();
    let is_measured = state.is_measured();
    if !is_measured && round_trip.is_none() {
        return None;
    }
    let r = rate(leg).map(|rating| rating.conversational);
    Some(Quality {
        mos: r.map(|r| emodel::mos(r) as f32),
        r_factor: r.map(|r| r as f32),
        loss_percent: is_measured.then(|| (100.0 * state.lost() as f64 / state.expected().max(1) as f64) as f32),
        jitter_ms: is_measured.then(|| (state.jitter_nanos() as f64 / 1e6) as f32),
        round_trip_ms: round_trip.map(|trip| (trip.as_secs_f64() * 1e3) as f32),
    })
}

/// ITU-T G.113 Appendix I, for whether the loss is concealed.
///
/// G.107's scale is that of narrowband, and ends with G.711. The wideband codecs are rated on it as what they are at least: no more impaired
/// than G.711 (Ie 0), their loss concealed as well as its. G.107.1 and G.107.2 have longer scales of their own, on which the same call of
/// G.711 scores less than here, so that calls with different codecs could not be compared; and for Opus no factor of theirs has been
/// published.
fn impairment(relays: bool) -> Impairment {
    if relays { Impairment::G711 } else { Impairment::G711_CONCEALED }
}
