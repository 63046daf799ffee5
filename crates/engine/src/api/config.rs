use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ringback_media_api::{Codec, OpusSend};
use ringback_sip::HeaderName;
use ringback_ua::{Authenticator, Credentials, GuardConfig, Transport};

use crate::api::RegistrarConfig;

/// Which events a program wants: computed from the handler methods that are overridden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    pub progress: bool,
    pub established: bool,
    pub ended: bool,
    pub state_changed: bool,
    pub dtmf: bool,
    pub media_quality: bool,
    pub media_timeout: bool,
    pub voice_activity: bool,
    pub message: bool,
    pub transfer: bool,
    pub subscribe: bool,
}

impl Interest {
    pub const ALL: Interest = Interest {
        progress: true,
        established: true,
        ended: true,
        state_changed: true,
        dtmf: true,
        media_quality: true,
        media_timeout: true,
        voice_activity: true,
        message: true,
        transfer: true,
        subscribe: true,
    };
}

/// What becomes of an INVITE that passed all checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// No handler: 480.
    #[default]
    NoHandler,
    /// `Event::Incoming`, then a `Command::Decide`.
    Ask,
    /// Accepted without asking (`AutoAnswerHandler`).
    Accept,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub half_open_invites: usize,
    pub message_bytes: usize,
    /// Streams in all.
    pub connections: usize,
    /// What a single source may ask.
    pub sources: GuardConfig,
    /// Of those, accepted from one address; `None`: as many as there may be.
    pub connections_per_source: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            half_open_invites: 10_000,
            message_bytes: 65_535,
            connections: 10_000,
            connections_per_source: None,
            sources: GuardConfig::default(),
        }
    }
}

/// What a caller says about the call that is neither about the way of the message nor a claim that only a trusted network may make
/// (P-Asserted-Identity, RFC 3325 §6, is one).
const FORWARDED: [&str; 8] =
    ["Subject", "Priority", "Organization", "Accept-Language", "Privacy", "User-to-User", "Diversion", "History-Info"];

/// Whether digits are looked for in received audio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InbandDtmf {
    #[default]
    Never,
    /// Where telephone-event was not negotiated.
    WithoutEvents,
    Always,
}

#[derive(Clone, Debug)]
pub struct Config {
    /// User part of Contact, and of From where the program gave none.
    pub user: String,
    /// Host for SDP and Contact instead of the local address (`with_public_address`).
    pub public_address: Option<String>,
    /// Asked, from the SIP socket, where others see it; not where there is a `public_address`.
    pub stun: Option<SocketAddr>,
    /// The address that was asked for (`with_local_address`), `None`: chosen by route.
    pub media_address: Option<IpAddr>,
    /// What can be listened and connected by.
    pub transports: Vec<Transport>,
    pub user_agent: String,
    pub origin: Origin,
    pub interest: Interest,
    /// By preference; telephone-event always.
    pub codecs: Vec<Codec>,
    /// How Opus is sent where the peer's parameters allow.
    pub opus: OpusSend,
    pub max_sessions: usize,
    /// Headers of a caller that the targets of a forwarded call see. Names that the engine owns never pass.
    pub forwarded_headers: Vec<HeaderName>,
    /// Longest life of a call, from the answer; then BYE, reason "timeout".
    pub session_timeout: Option<Duration>,
    /// How often sessions are refreshed, or ended as gone (RFC 4028): what we ask for. `None`: as the peer wants it.
    pub session_expires: Option<Duration>,
    /// A peer that wants it more often than this is refused (422). At least 90 s.
    pub min_session_expires: Duration,
    /// Undecided or deferred so long: 480.
    pub answer_timeout: Option<Duration>,
    pub symmetric_rtp: bool,
    /// RTCP on the port of RTP (RFC 5761) is offered; it is answered in any case.
    pub rtcp_mux: bool,
    pub inband_dtmf: InbandDtmf,
    /// `on_media_timeout` after so long without RTP.
    pub media_timeout: Duration,
    pub limits: Limits,
    /// Answers to 401 and 407, chosen by realm.
    pub credentials: Vec<Arc<Credentials>>,
    /// Who may send requests outside of dialogs; `None`: everybody.
    pub authenticator: Option<Authenticator>,
    /// `None`: REGISTER is not served.
    pub registrar: Option<RegistrarConfig>,
    /// RFC 3261 timers.
    pub t1: Duration,
    pub t2: Duration,
    pub t4: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            user: "ringback".into(),
            public_address: None,
            stun: None,
            media_address: None,
            transports: vec![Transport::Udp, Transport::Tcp],
            user_agent: concat!("ringback/", env!("CARGO_PKG_VERSION")).into(),
            origin: Origin::NoHandler,
            interest: Interest::default(),
            codecs: Codec::DEFAULT.to_vec(),
            opus: OpusSend::default(),
            max_sessions: 1000,
            forwarded_headers: FORWARDED.iter().map(|name| HeaderName::parse(name)).collect(),
            session_timeout: None,
            session_expires: None,
            min_session_expires: Duration::from_secs(90),
            answer_timeout: Some(Duration::from_secs(180)),
            symmetric_rtp: false,
            rtcp_mux: false,
            inband_dtmf: InbandDtmf::Never,
            media_timeout: Duration::from_secs(30),
            limits: Limits::default(),
            credentials: Vec::new(),
            authenticator: None,
            registrar: None,
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}
