//! One call: an INVITE usage with its dialog or, while it is placed, its early dialogs.

use std::time::Duration;

use bytes::Bytes;
use ringback_time::Mono;
use smallvec::SmallVec;

use crate::api::{Body, CancelReason};
use crate::arena::Index;
use crate::core::again::Redirects;
use crate::core::answering::CallIdentity;
use crate::core::early_end::EarlyEnd;
use crate::core::reliable::{Reliable, Wanted};
use crate::core::server::Path;
use crate::core::session::Session;
use crate::core::share::Hold;
use crate::core::within::Place;
use crate::dialog::Dialog;
use crate::timer::TimerId;
use crate::transaction::key::Branch;

/// Early dialogs of one INVITE beyond this are not kept: forks that many do not happen, forgeries do.
pub(super) const MAX_EARLY: usize = 16;
/// Requests of the peer within one call that wait for the program, and of the program that wait for the peer.
pub(super) const MAX_PENDING: usize = 16;

/// Whether an INVITE of ours is being given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cancelling {
    No,
    /// RFC 3261 §9.1: CANCEL waits for a provisional response.
    Wanted(Option<CancelReason>),
    Sent,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Our INVITE has no final response.
    Calling {
        client: Index,
        cancelling: Cancelling,
    },
    /// The peer's INVITE has no final response.
    Incoming {
        server: Index,
    },
    Confirmed,
    /// RFC 3261 §15: BYE is wanted and waits for the ACK to our 2xx.
    Leaving {
        reason: Option<String>,
    },
    /// Our BYE is out; the session is over.
    Ending,
}

/// Our 2xx that has no ACK yet: RFC 3261 §13.3.1.4.
pub(super) struct Accepted {
    pub(super) bytes: Bytes,
    pub(super) path: Path,
    pub(super) cseq: u32,
    pub(super) interval: Duration,
    pub(super) deadline: Mono,
    pub(super) timer: Option<TimerId>,
    /// The call's first INVITE, not a re-INVITE.
    pub(super) first: bool,
    /// What that INVITE counts as until its ACK: half open, and unacknowledged.
    pub(super) held: Option<[Hold; 2]>,
    /// It carries an offer: the ACK must bring the answer.
    pub(super) offers: bool,
}

/// The ACK to the peer's last 2xx.
#[derive(Clone)]
pub(super) enum Acknowledged {
    /// No 2xx has come yet.
    Nothing,
    /// The program has to say what is in it.
    Due {
        cseq: u32,
    },
    Sent {
        cseq: u32,
        branch: Branch,
        body: Option<Body>,
    },
}

/// A re-INVITE or UPDATE of ours.
#[derive(Default)]
pub(super) struct OwnInvite {
    /// `None`: waits to be tried again.
    pub(super) client: Option<Index>,
    pub(super) body: Option<Body>,
    /// How often it was put off.
    pub(super) refused: u8,
    pub(super) retry: Option<TimerId>,
    pub(super) update: bool,
    /// RFC 4028: nobody above has asked for it.
    pub(super) refresh: bool,
}

/// A reliable provisional response that the program has to acknowledge.
pub(super) struct Early {
    pub(super) tag: String,
    pub(super) rseq: u32,
    pub(super) cseq: u32,
}

pub(super) struct Call {
    pub(super) stage: Stage,
    /// Whether the Call-ID is ours: RFC 3261 §14.1.
    pub(super) caller: bool,
    pub(super) tag: u64,
    /// The called side's from the INVITE on, the calling side's from the 2xx on.
    pub(super) dialog: Option<Dialog>,
    /// Of the calling side, by To tag.
    pub(super) early: Vec<Dialog>,
    pub(super) merged: Option<u64>,
    pub(super) accepted: Option<Accepted>,
    pub(super) acknowledged: Acknowledged,
    pub(super) own_invite: Option<OwnInvite>,
    /// The peer's re-INVITE that the program has to answer.
    pub(super) peer_invite: Option<Index>,
    /// The peer's requests that the program has to answer.
    pub(super) pending: SmallVec<[Index; 1]>,
    /// Our requests without a final response.
    pub(super) requests: SmallVec<[Index; 1]>,
    pub(super) cancel_end: Option<TimerId>,
    /// There where requests of ours may be asked who sends them.
    pub(super) identity: Option<Box<CallIdentity>>,
    /// Of the called side: what the INVITE says of reliable provisional responses, and those that were sent.
    pub(super) reliability: Wanted,
    pub(super) reliable: Option<Box<Reliable>>,
    /// Of the called side: the end of its early dialog, where there is one, may be told by 199.
    pub(super) early_end: EarlyEnd,
    /// The first INVITE has no offer.
    pub(super) late_offer: bool,
    /// The peer has said that it takes UPDATE.
    pub(super) allows_update: bool,
    /// An offer of the peer, in an UPDATE or a PRACK, that the program has to answer, and the last one that it has answered.
    pub(super) peer_offer: Option<Index>,
    pub(super) answered_offer: Option<Index>,
    pub(super) session: Option<Box<Session>>,
    /// Where the call may go by 3xx.
    pub(super) redirects: Option<Box<Redirects>>,
    /// Of the calling side: the response whose PRACK brings the answer to the offer in it.
    pub(super) prack_due: Option<Box<Early>>,
    /// Nobody above wants to hear more than `Released`.
    pub(super) quiet: bool,
}

impl Call {
    pub(super) fn new(stage: Stage, caller: bool, tag: u64) -> Call {
        Call {
            stage,
            caller,
            tag,
            dialog: None,
            early: Vec::new(),
            merged: None,
            accepted: None,
            acknowledged: Acknowledged::Nothing,
            own_invite: None,
            peer_invite: None,
            pending: SmallVec::new(),
            requests: SmallVec::new(),
            cancel_end: None,
            identity: None,
            reliability: Wanted::No,
            reliable: None,
            early_end: EarlyEnd::Untold,
            late_offer: false,
            allows_update: false,
            peer_offer: None,
            answered_offer: None,
            session: None,
            redirects: None,
            prack_due: None,
            quiet: false,
        }
    }

    pub(super) fn dialogs(&self) -> usize {
        self.early.len() + usize::from(self.dialog.is_some())
    }

    pub(super) fn at(&self, place: Place) -> Option<&Dialog> {
        match place {
            Place::Call => self.dialog.as_ref(),
            Place::Early(place) => self.early.get(place),
        }
    }

    pub(super) fn at_mut(&mut self, place: Place) -> Option<&mut Dialog> {
        match place {
            Place::Call => self.dialog.as_mut(),
            Place::Early(place) => self.early.get_mut(place),
        }
    }

    /// RFC 3261 §12.2.2: the dialog of a request with these identifiers.
    pub(super) fn dialog_mut(&mut self, call_id: &str, remote_tag: &str) -> Option<&mut Dialog> {
        self.dialog
            .iter_mut()
            .chain(self.early.iter_mut())
            .find(|dialog| dialog.remote_tag() == remote_tag && dialog.call_id() == call_id)
    }
}
