//! The engine's own side of a session: what the shared view ([`crate::api::Session`]) does not show.

use std::sync::Arc;

use ringback_media_api::Token;
use ringback_sip::{Message, StatusCode, Uri};
use ringback_time::Now;
use ringback_ua::{CallKey, Invite};
use smallvec::SmallVec;

use crate::api::{BridgeId, EndCause, Session};
use crate::collect::Collector;
use crate::contacts::Forks;
use crate::digits::Digits;
use crate::early::Fork;
use crate::forward::Forward;
use crate::incoming::Arrival;
use crate::limits::Bucket;
use crate::media_flow::Media;
use crate::outgoing::Outgoing;
use crate::refer::Asked;
use crate::referred::Referral;
use crate::reinvite::{Postponed, Reinvite};
use crate::seat::Joins;
use crate::table::Key;
use crate::timers::Timers;

/// Where a call is, finer than its public state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Incoming, and nothing is decided.
    Undecided,
    /// Incoming, `Defer` or `Progress` was decided: another decision follows.
    Deferred,
    /// Incoming, and its targets ring.
    Forwarding,
    /// Outgoing, and nothing was sent.
    Prepared,
    /// Outgoing, the INVITE waits for `Command::Launch`.
    HeldBack,
    /// Outgoing, the INVITE is to be sent as soon as our own address is known.
    Locating,
    /// Outgoing, the INVITE is out.
    Calling,
    /// Incoming, answered with an offer: the answer is due in the ACK.
    AwaitingAck,
    /// Answered.
    Confirmed,
}

impl Stage {
    /// Incoming and open to a decision.
    pub(crate) const fn is_decidable(self) -> bool {
        matches!(self, Stage::Undecided | Stage::Deferred)
    }

    pub(crate) const fn is_answered(self) -> bool {
        matches!(self, Stage::AwaitingAck | Stage::Confirmed)
    }
}

/// How a call hangs together with another.
#[derive(Debug)]
pub(crate) enum Link {
    None,
    /// This one is forwarded; its targets ring.
    Caller(Box<Forward>),
    /// This one was placed for the call with that key, which waits for it.
    Target(Key),
    /// The end of one ends the other. Both are answered, or one was referred to a target that rings.
    Peer(Key),
    /// This one was placed because the call with that key was referred, and waits for it.
    Referral(Key),
}

/// What changes whom the peer of an answered call talks to.
#[derive(Debug)]
pub(crate) enum Transfer {
    /// We have asked the peer to call somebody else.
    Asked(Asked),
    /// The peer has asked us.
    Wanted(Referral),
    /// The peer's other call has taken its place, and it is about to be ended.
    Replaced,
    /// It is to have that place in a bridge once its media is there.
    Joins(Joins),
}

/// A command that waits for the media engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaReply {
    Played,
    Statistics,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) session: Arc<Session>,
    pub(crate) stage: Stage,
    /// `None` before the INVITE of an outgoing call.
    pub(crate) ua: Option<CallKey>,
    /// Several contacts ring, and the INVITE that each of them got but for its way.
    pub(crate) forks: Option<Box<(Forks, Invite)>>,
    /// What an outgoing call still has to send.
    pub(crate) outgoing: Option<Box<Outgoing>>,
    /// An incoming call that the program is not told of yet.
    pub(crate) arrival: Option<Box<Arrival>>,
    /// The INVITE of an incoming call, until it is decided.
    pub(crate) request: Option<Message>,
    pub(crate) media: Media,
    pub(crate) timers: Timers,
    pub(crate) link: Link,
    /// The Request-URI that a forwarded call came with, to know it again.
    pub(crate) forwarded_from: Option<Uri>,
    pub(crate) bridge: Option<BridgeId>,
    /// On hold because the other leg of the forwarded call is held (`pass`).
    pub(crate) held_for_peer: bool,
    /// The peer has referred us before: further NOTIFYs have to say which REFER they are about.
    pub(crate) referred: bool,
    pub(crate) transfer: Option<Box<Transfer>>,
    /// The re-INVITE of ours that is under way.
    pub(crate) reinvite: Option<Reinvite>,
    /// An operation that waits for a refresh of the session to be over.
    pub(crate) postponed: Option<Box<Postponed>>,
    /// Of an outgoing call: what its early dialogs have said of their media.
    pub(crate) early_dialogs: Vec<Fork>,
    /// Of an outgoing call: the offer is the peer's.
    pub(crate) late_offer: bool,
    pub(crate) digits: Digits,
    pub(crate) collecting: Vec<Collector>,
    pub(crate) waiting: SmallVec<[(Token, MediaReply); 2]>,
    /// Bound on `Event::Progress` and `Event::Dtmf`.
    pub(crate) progress_bucket: Bucket,
    pub(crate) dtmf_bucket: Bucket,
    /// The provisional response last sent, for its repetition.
    pub(crate) provisional: u16,
    /// The INVITE's own `Expires` is what `Timer::Decide` waits for.
    pub(crate) expires: bool,
}

impl Call {
    pub(crate) fn new(now: Now, session: Arc<Session>, stage: Stage, media: Media) -> Self {
        Call {
            session,
            stage,
            ua: None,
            forks: None,
            outgoing: None,
            arrival: None,
            request: None,
            media,
            timers: Timers::default(),
            link: Link::None,
            forwarded_from: None,
            bridge: None,
            held_for_peer: false,
            referred: false,
            transfer: None,
            reinvite: None,
            postponed: None,
            early_dialogs: Vec::new(),
            late_offer: false,
            digits: Digits::default(),
            collecting: Vec::new(),
            waiting: SmallVec::new(),
            progress_bucket: Bucket::new(now.mono),
            dtmf_bucket: Bucket::new(now.mono),
            provisional: 0,
            expires: false,
        }
    }
}

/// How a call ends, as told to `Engine::finish`.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) change: crate::states::Change,
    pub(crate) reason: String,
    pub(crate) cause: EndCause,
    /// What the protocol still has to say.
    pub(crate) wire: Wire,
    /// A pending `on_incoming_call` is to be cancelled.
    pub(crate) over: bool,
    /// `End::remote_reason`.
    pub(crate) remote_reason: Option<Box<str>>,
}

/// The message that ends a call.
#[derive(Debug)]
pub(crate) enum Wire {
    /// The peer or the network ended it.
    Nothing,
    /// CANCEL, BYE or a final response, whichever the stage needs.
    HangUp {
        /// The value of a Reason header (RFC 3326).
        reason: Option<String>,
        /// Final response to an unanswered incoming call.
        status: StatusCode,
        phrase: Option<String>,
        headers: Vec<(String, String)>,
    },
}
