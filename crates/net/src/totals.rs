//! What has been counted since the start, for anyone to read while the signalling thread goes on, and after it has ended.

use ringback_engine::Counters;
use ringback_ua::Stats;

pub use crate::streams::ConnectionCounters;

/// All counters of one system. (Those of connections are kept by their thread, and read there.) They begin anew with each start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Of `live` only `half_open`.
    pub signalling: Stats,
    pub sessions: Counters,
    pub connections: ConnectionCounters,
    /// That the kernel had no room for.
    pub datagrams_lost: u64,
    /// RTP and RTCP packets that the system did not take, for whatever reason. (Read where their threads count them.)
    pub media_unsent: u64,
}
