use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringback_media_api::{Statistics, Token};
use ringback_time::Wall;
use ringback_ua::PasswordKey;

use crate::api::{BridgeId, Error, Record, Registration, RegistrationState, Session, SessionId, State, StoreRequest};

/// An INVITE that waits for a decision. `message` is the whole request, from which headers are read on first use.
#[derive(Clone, Debug)]
pub struct IncomingCall {
    pub session: Arc<Session>,
    pub from_name: Option<String>,
    /// `None`: late offer.
    pub sdp: Option<String>,
    pub message: Bytes,
    pub received_at: Wall,
    pub source: SocketAddr,
    /// "udp", "tcp", ...
    pub transport: &'static str,
}

/// A MESSAGE as the program sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextMessage {
    pub from: String,
    pub to: String,
    pub content_type: String,
    pub body: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaInfo {
    pub local_sdp: Option<String>,
    pub remote_sdp: Option<String>,
    pub local_address: Option<SocketAddr>,
    pub remote_address: Option<SocketAddr>,
    /// Encoding name, as in SDP.
    pub codec: Option<&'static str>,
    pub sample_rate: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BridgeInfo {
    pub id: BridgeId,
    pub name: Option<String>,
    pub sessions: Vec<SessionId>,
    pub talking: Vec<SessionId>,
    pub locked: bool,
    pub created_at: Wall,
}

/// The good end of a command.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reply {
    Unit,
    Session(Arc<Session>),
    Text(String),
    Statistics(Option<Statistics>),
    MediaInfo(Option<Box<MediaInfo>>),
    Bridge(BridgeId),
    BridgeInfo(Option<Box<BridgeInfo>>),
    Bridges(Vec<BridgeInfo>),
    SessionBridge(Option<BridgeId>),
    Registration(Arc<Registration>),
    /// Best first.
    Bindings(Vec<Record>),
    Subscription(u64),
    /// A peer's answer to OPTIONS.
    Options {
        status: u16,
        /// See `ringback_ua::Answer::round_trip`.
        round_trip: Duration,
        /// Methods, as the peer lists them.
        allow: Vec<String>,
        /// What the peer calls itself.
        user_agent: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BridgeEventKind {
    Joined,
    Left,
    Talking,
    Silent,
    Destroyed,
}

/// What a program is told. Events of one session keep their order. Those that `Config::interest` leaves out are never made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    Incoming(Box<IncomingCall>),
    /// The INVITE of a call still undecided was cancelled or timed out: a pending `on_incoming_call` is cancelled.
    IncomingOver {
        session: Arc<Session>,
    },
    /// A 101-199 was received.
    Progress {
        session: Arc<Session>,
        status: u16,
        sdp: Option<String>,
    },
    Established {
        session: Arc<Session>,
        local_sdp: Option<String>,
        remote_sdp: Option<String>,
    },
    /// Once for every session, after its last other event; lists and counters have changed before.
    Ended {
        session: Arc<Session>,
    },
    StateChanged {
        session: Arc<Session>,
        old: State,
        new: State,
    },
    Dtmf {
        session: Arc<Session>,
        digit: char,
        duration_ms: u32,
    },
    MediaQuality {
        session: Arc<Session>,
        statistics: Statistics,
    },
    MediaTimeout {
        session: Arc<Session>,
        silent_seconds: f64,
    },
    /// Somebody has begun to speak at the other end, or stopped (`Command::DetectSpeech`).
    VoiceActivity {
        session: Arc<Session>,
        speaking: bool,
    },
    /// The peer wants the call to be continued with `target` (REFER); answered by `Command::DecideTransfer`, within 20 s.
    TransferRequest {
        session: Arc<Session>,
        target: String,
    },
    /// A peer wants to be told of `event` at `to`; answered by `Command::DecideSubscribe`, within 20 s.
    SubscribeRequest {
        request: u64,
        subscriber: String,
        to: String,
        event: String,
    },
    /// A NOTIFY of a subscription of ours.
    Notification {
        subscription: u64,
        event: String,
        content_type: Option<String>,
        body: String,
        /// "active", "pending", "terminated".
        state: String,
    },
    /// Nothing more will come of it.
    SubscriptionOver {
        subscription: u64,
    },
    /// A MESSAGE (RFC 3428); the peer has had its 200.
    Message(Arc<TextMessage>),
    /// A password is asked for (`ringback_ua::Passwords::Ask`), to be answered by `Command::Password` within 5 s.
    Password {
        key: PasswordKey,
        username: String,
        realm: String,
    },
    /// An account of ours has another state.
    Registration {
        registration: Arc<Registration>,
        state: RegistrationState,
    },
    /// Work for a binding store of the program's own, to be answered by `Command::Stored`.
    Store(Box<StoreRequest>),
    /// Of a bridge that is watched (`Command::WatchBridge`).
    Bridge {
        bridge: BridgeId,
        kind: BridgeEventKind,
        /// `None` where it is `Destroyed`, which is the last.
        session: Option<SessionId>,
    },
    Completed {
        token: Token,
        result: Result<Reply, Error>,
    },
}
