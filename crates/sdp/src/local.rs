use std::borrow::Cow;
use std::net::SocketAddr;

use crate::{Direction, Families, LocalCodec, MediaHost};

/// What we want of a call's audio, and where we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalMedia {
    /// Where the peer is to send to.
    pub address: MediaHost,
    /// Where the peer may be.
    pub families: Families,
    /// The RTP port.
    pub port: u16,
    /// Where RTCP is to go; `None`: to the port above RTP.
    pub rtcp: Option<SocketAddr>,
    /// By preference.
    pub codecs: Vec<LocalCodec>,
    /// Whether telephone-event (RFC 4733) is wanted.
    pub dtmf: bool,
    /// Whether comfort noise (RFC 3389) is agreed to where it is offered.
    pub comfort_noise: bool,
    /// Whether it is offered.
    pub offer_comfort_noise: bool,
    /// Whether VoIP metrics (RFC 3611 §4.7) are asked for, and round trips by receiver reference times offered.
    pub rtcp_xr: bool,
    /// Whether RTCP on the port of RTP (RFC 5761) is offered. It is answered in any case.
    pub rtcp_mux: bool,
    /// Milliseconds of audio a packet, 10 to 60, where the peer has no wish of its own.
    pub ptime: u8,
    /// What we want; what is settled can be less.
    pub direction: Direction,
    /// The number in `o=` that names the session.
    pub session_id: u64,
    /// The version of the first description; later ones follow `previous`.
    pub version: u64,
    /// The user in `o=`; anything that is not one word becomes `-`.
    pub user: Cow<'static, str>,
    /// The last description that we sent in this session, offer or answer, generated here. The new one goes on from it.
    pub previous: Option<String>,
}

impl Default for LocalMedia {
    fn default() -> Self {
        LocalMedia {
            address: MediaHost::default(),
            families: Families::BOTH,
            port: 0,
            rtcp: None,
            codecs: vec![LocalCodec::pcmu(), LocalCodec::pcma()],
            dtmf: true,
            comfort_noise: false,
            offer_comfort_noise: false,
            rtcp_xr: false,
            rtcp_mux: false,
            ptime: 20,
            direction: Direction::SendRecv,
            session_id: 1,
            version: 1,
            user: Cow::Borrowed("-"),
            previous: None,
        }
    }
}
