//! 199 (RFC 6228): the end of an early dialog of ours, told at once. The refusal that follows may be held back for long by a proxy that
//! waits for other branches (RFC 3261 §16.7, 5), and until then the caller keeps media for a dialog that is over.

use ringback_sip::{Message, StatusCode};
use ringback_time::Now;

use crate::api::Reply;
use crate::arena::Index;
use crate::core::Ua;
use crate::core::reliable::Wanted;
use crate::transaction::server_invite;

const OPTION: &str = "199";

/// Whether the end of the early dialog with a caller is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EarlyEnd {
    /// It does not want to know, or has been told.
    Untold,
    /// It does, and there is no early dialog yet.
    Wanted,
    /// There is one.
    Due,
}

impl EarlyEnd {
    /// RFC 6228 §5: who wants to know says so. Where each provisional response has to arrive (Require: 100rel) nothing is told: it would hold
    /// the refusal back until its PRACK.
    pub(super) fn of(invite: &Message, reliability: Wanted) -> EarlyEnd {
        let wants = invite.supported().any(|option| option == OPTION);
        if wants && reliability != Wanted::Required { EarlyEnd::Wanted } else { EarlyEnd::Untold }
    }
}

impl Ua {
    /// A provisional response to an INVITE went out.
    pub(super) fn early_dialog_begun(&mut self, index: Index, status: StatusCode) {
        // RFC 3261 §12.1: 100 makes no dialog.
        if let Some(call) = self.calls.get_mut(index)
            && call.early_end == EarlyEnd::Wanted
            && status.as_u16() > 100
        {
            call.early_end = EarlyEnd::Due;
        }
    }

    /// A final response is about to be sent: before a refusal 199 says so, with its cause (RFC 3326), once.
    pub(super) fn tell_early_end(&mut self, now: Now, index: Index, server: Index, last: &Reply) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let before = std::mem::replace(&mut call.early_end, EarlyEnd::Untold);
        // A caller that cancelled knows.
        let refused = last.status.class() >= 3 && last.status != StatusCode::REQUEST_TERMINATED;
        if before != EarlyEnd::Due || !refused {
            return;
        }
        let cause = format!("SIP;cause={};text=\"{}\"", last.status.as_u16(), last.status.reason());
        let mut reply = Reply::new(StatusCode::EARLY_DIALOG_TERMINATED);
        reply.headers.push(("Reason".into(), cause));
        if let Some((_, bytes)) = self.compose_invite_reply(server, &reply) {
            self.drive_server_invite(now, server, server_invite::Input::Provisional, Some(bytes));
        }
    }
}
