use std::net::SocketAddr;
use std::sync::Arc;

use ringback_media_api::{AudioPort, Event, LegId};

/// Where the media engine's outputs go, at once and in order. The driver implements it; a test collects.
///
/// None of these may call back into the engine, and none is expected to block.
pub trait Out {
    /// Send one RTP packet from the leg's RTP socket.
    fn rtp(&mut self, leg: LegId, to: SocketAddr, packet: &[u8]);
    /// Send one RTCP packet from the leg's RTCP socket.
    fn rtcp(&mut self, leg: LegId, to: SocketAddr, packet: &[u8]);
    /// Send one RTCP packet from the leg's RTP socket (RFC 5761).
    fn muxed_rtcp(&mut self, leg: LegId, to: SocketAddr, packet: &[u8]) {
        self.rtp(leg, to, packet);
    }
    /// Tell the session engine.
    fn event(&mut self, event: Event);
    /// The program that holds `port` has something to look at (`port.flag()` was true).
    fn audio_ready(&mut self, port: &Arc<AudioPort>);
    /// From now on RTP of this leg is accepted from `remote` alone, so that the kernel may drop the rest (`connect`). `None`: the
    /// source is being learned, anything may arrive.
    fn accept_from(&mut self, leg: LegId, remote: Option<SocketAddr>);
}
