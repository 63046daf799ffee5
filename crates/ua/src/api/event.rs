use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringback_sip::Message;

use crate::api::{
    Body, CallKey, ConnectionId, FailCause, Flow, PasswordKey, RequestKey, ResolveId, Service, StandaloneKey,
    Transport, UsageKey,
};

/// One message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    pub transport: Transport,
    /// The address to send from; `None`: as the route says.
    pub local: Option<SocketAddr>,
    pub remote: SocketAddr,
    /// The stream to use; when it is gone, as `None`. `None` with a stream transport: whoever owns the sockets opens or reuses one to
    /// `remote`, and says `handle_connected` or `handle_connect_failed`. (A response names the stream its request came by, and in
    /// `remote` where RFC 3261 §18.2.2 has a new one opened.)
    pub connection: Option<ConnectionId>,
    /// The host that the peer's certificate must be of, where the way to `remote` began with a name (RFC 5922 §7.3: the one before any
    /// look-up); also the `Host` of a WebSocket handshake.
    pub domain: Option<Arc<str>>,
    pub bytes: Bytes,
}

/// What `poll_output` gives, in the order in which it came about.
#[derive(Clone, Debug)]
pub enum Output {
    Transmit(Transmit),
    /// The way to `host` is wanted: RFC 3263 §4, answered by `handle_located`; or its addresses only, with `port`, by `handle_resolved`.
    Resolve {
        id: ResolveId,
        host: String,
        port: u16,
        service: Service,
    },
    Event(Event),
}

/// The final response to a request outside of a dialog.
#[derive(Clone, Debug)]
pub struct Answer {
    pub response: Message,
    /// From the first transmission of the request, to the address that answered, until the response: retransmissions of what was lost are
    /// within, look-ups, addresses that failed and the opening of a stream are not.
    pub round_trip: Duration,
    /// The path that the response came by.
    pub flow: Flow,
}

/// What became of a call, or of a request outside of one. The last one of a call is `Released`; until then its key is valid.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A new call. Already checked (what RFC 3261 §8.2 refuses has been refused); 100 goes out by itself after 200 ms.
    Invite { call: CallKey, request: Message, flow: Flow },
    /// The caller gave up: its CANCEL (`request`) and its INVITE (487) have been answered. `Released` follows.
    Cancelled { call: CallKey, request: Message },
    /// 101-199 to our INVITE. A peer that repeats itself is told each time, but for what RFC 3262 has it repeat. `offers`: our INVITE
    /// had no offer, the description is the peer's, and `Ua::prack` is due.
    Provisional { call: CallKey, response: Message, offers: bool },
    /// The first 2xx to our INVITE; `Ua::ack` is due. Other forks are ACKed and BYEd by themselves. `settled`: offer and answer are done in
    /// this dialog already (RFC 3262 §5), what it says of media says nothing new.
    Answered { call: CallKey, response: Message, settled: bool },
    /// 3xx-6xx to our INVITE, ACKed. `Released` follows.
    Rejected { call: CallKey, response: Message },
    /// Our INVITE got no answer, or we cancelled it (`FailCause::Cancelled`, 487). `Released` follows.
    Failed { call: CallKey, status: Option<u16>, cause: FailCause },
    /// The ACK to our 2xx to the first INVITE; the answer of a late offer is inside.
    Acked { call: CallKey, body: Option<Body> },
    /// A re-INVITE of the peer, to be answered by `Ua::answer_reinvite`.
    Reinvite { call: CallKey, request: Message },
    /// The peer cancelled its re-INVITE; it has been answered 487, the call goes on as it was.
    ReinviteCancelled { call: CallKey },
    /// The ACK to our 2xx to a re-INVITE.
    ReinviteAcked { call: CallKey, body: Option<Body> },
    /// 2xx to our re-INVITE: already ACKed when it carried an offer; after one without (late offer), `Ua::ack` is due.
    ReinviteAnswered { call: CallKey, response: Message },
    /// Our re-INVITE was refused for good (491 has been retried); the session goes on as it was, unless `Gone` follows.
    ReinviteFailed { call: CallKey, status: u16, reason: String },
    /// The peer's BYE, answered 200. `Released` follows.
    Bye { call: CallKey, request: Message },
    /// The dialog died by itself: 481 or 408 within it, or no ACK to our 2xx (408; a BYE goes out). `Released` follows.
    Gone { call: CallKey, status: u16 },
    /// A request of the peer within the dialog (INFO), to be answered by `Ua::answer_request`.
    Request { call: CallKey, key: RequestKey, request: Message },
    /// An offer of the peer in an UPDATE (RFC 3311) or a PRACK (RFC 3262 §5), to be answered by `Ua::answer_request`, at any time from the
    /// INVITE on.
    Offer { call: CallKey, key: RequestKey, request: Message },
    /// The PRACK to a provisional response of ours that had an offer: the answer is inside.
    Pracked { call: CallKey, body: Option<Body> },
    /// The session is to be refreshed (RFC 4028), and the peer takes no UPDATE: `Ua::reinvite` with the description in force is due.
    Refresh { call: CallKey },
    /// Nobody refreshed the session; a BYE goes out. `Released` follows.
    Expired { call: CallKey },
    /// The final response to a request of ours within the dialog.
    Response { call: CallKey, key: RequestKey, response: Result<Message, FailCause> },
    /// A request of a peer outside of a dialog, of one of `Config::requests`, to be answered by `Ua::answer_request`. Already checked
    /// (RFC 3261 §8.2); one that is not answered in 64*T1 is forgotten.
    OutOfDialog { key: RequestKey, request: Message, flow: Flow },
    /// A password is asked for (`Passwords::Ask`), to be answered by `Ua::password`. The request waits for it, for 5 s at most.
    Password { key: PasswordKey, username: String, realm: String },
    /// A SUBSCRIBE of a peer outside of a dialog (where `Config::requests` has it), to be answered by `Ua::answer_request`: a 2xx makes the
    /// dialog, and after anything else the usage is to be closed.
    Subscribe { usage: UsageKey, key: RequestKey, request: Message, flow: Flow },
    /// A request of the peer in the dialog of a usage (SUBSCRIBE, NOTIFY), to be answered by `Ua::answer_request`.
    UsageRequest { usage: UsageKey, key: RequestKey, request: Message },
    /// The final response to a request of ours in the dialog of a usage.
    UsageResponse { usage: UsageKey, key: RequestKey, response: Result<Message, FailCause> },
    /// What became of `Ua::send`'s request. The key is invalid from here on.
    Standalone { key: StandaloneKey, outcome: Result<Answer, FailCause> },
    /// Nothing of the call is left but what answers retransmissions. The key is invalid from here on.
    Released { call: CallKey },
}

impl Event {
    /// The call that it is about.
    pub fn call(&self) -> Option<CallKey> {
        match self {
            Event::Standalone { .. }
            | Event::OutOfDialog { .. }
            | Event::Subscribe { .. }
            | Event::UsageRequest { .. }
            | Event::Password { .. }
            | Event::UsageResponse { .. } => None,
            Event::Invite { call, .. }
            | Event::Cancelled { call, .. }
            | Event::Provisional { call, .. }
            | Event::Answered { call, .. }
            | Event::Rejected { call, .. }
            | Event::Failed { call, .. }
            | Event::Acked { call, .. }
            | Event::Reinvite { call, .. }
            | Event::ReinviteCancelled { call }
            | Event::ReinviteAcked { call, .. }
            | Event::ReinviteAnswered { call, .. }
            | Event::ReinviteFailed { call, .. }
            | Event::Bye { call, .. }
            | Event::Gone { call, .. }
            | Event::Request { call, .. }
            | Event::Offer { call, .. }
            | Event::Pracked { call, .. }
            | Event::Refresh { call }
            | Event::Expired { call }
            | Event::Response { call, .. }
            | Event::Released { call } => Some(*call),
        }
    }
}
