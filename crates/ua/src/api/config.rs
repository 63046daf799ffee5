use std::sync::Arc;
use std::time::Duration;

use ringback_sip::Method;

use crate::api::{Authenticator, Credentials, Transport};

/// How much a single source may ask of what does not belong to a dialog. A source is an IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// One more is answered 503 with Retry-After, and twice as many not at all. `None`: no limit.
    pub requests_per_second: Option<u32>,
    /// Unreadable requests, scanners' and such with a wrong password: one more, and nothing of the source is read for `shut_out`. `None`: no
    /// limit.
    pub faults_per_minute: Option<u32>,
    pub shut_out: Duration,
    /// Requests whose User-Agent is that of a known scanning program are dropped.
    pub drop_scanners: bool,
}

impl Default for GuardConfig {
    fn default() -> Self {
        GuardConfig {
            requests_per_second: None,
            faults_per_minute: None,
            shut_out: Duration::from_secs(300),
            drop_scanners: true,
        }
    }
}

/// What one `Ua` is told at the start. `Default` has the standard's timers.
#[derive(Clone, Debug)]
pub struct Config {
    /// User part of Contact.
    pub user: String,
    /// Host for Via and Contact instead of the local address: behind static NAT.
    pub public_address: Option<String>,
    /// User-Agent and Server.
    pub user_agent: String,
    /// Round-trip estimate, RFC 3261 §17.1.1.1.
    pub t1: Duration,
    /// Longest interval between retransmissions of non-INVITE requests and of INVITE responses.
    pub t2: Duration,
    /// Longest time a message stays in the network.
    pub t4: Duration,
    /// An INVITE not answered so long gets 100 (§17.2.1).
    pub trying_after: Duration,
    /// Messages longer than this are refused with 513.
    pub message_bytes: usize,
    /// INVITEs that wait for our final response or for its ACK; one more is answered 503 without keeping anything of it. A single source gets
    /// three quarters of them at most, and the fewer are left, the less.
    pub half_open_invites: usize,
    /// Seconds: sessions of ours are to be refreshed so often (RFC 4028). `None`: as the peer wants it.
    pub session_expires: Option<u32>,
    /// Seconds: the peer's wish for less is refused (422). At least 90.
    pub min_session_expires: u32,
    /// What that 503's Retry-After says, seconds.
    pub retry_after: u32,
    /// Methods of requests outside of dialogs that the rooms above answer (`Event::OutOfDialog`).
    pub requests: Vec<Method>,
    /// Answers to 401 and 407, chosen by realm.
    pub credentials: Vec<Arc<Credentials>>,
    pub guard: GuardConfig,
    /// Who may send requests outside of dialogs; `None`: everybody.
    pub authenticator: Option<Authenticator>,
    /// The transports that there are, for URIs that name none (RFC 3263 §4.1). None: as if there were all.
    pub transports: Vec<Transport>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            user: "ringback".into(),
            public_address: None,
            user_agent: concat!("ringback/", env!("CARGO_PKG_VERSION")).into(),
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            trying_after: Duration::from_millis(200),
            message_bytes: 65_535,
            half_open_invites: 10_000,
            session_expires: None,
            min_session_expires: 90,
            retry_after: 5,
            requests: Vec::new(),
            credentials: Vec::new(),
            guard: GuardConfig::default(),
            authenticator: None,
            transports: Vec::new(),
        }
    }
}
