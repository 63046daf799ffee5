//! Dialogs by what identifies them: RFC 3261 §12, as Replaces (RFC 3891) and dialog information (RFC 4235) name them.

use crate::api::{CallKey, DialogId, RequestKey};
use crate::core::Ua;
use crate::core::call::Stage;
use crate::transaction::key::{hex, parse_hex};

impl Ua {
    /// What identifies the dialog of a call; `None` before there is one.
    pub fn dialog_id(&self, call: CallKey) -> Option<DialogId> {
        let call = self.calls.get(call.index())?;
        let dialog = call.dialog.as_ref().or_else(|| call.early.last())?;
        Some(DialogId {
            call_id: dialog.call_id().to_owned(),
            local_tag: String::from_utf8_lossy(&hex(call.tag)).into_owned(),
            remote_tag: dialog.remote_tag().to_owned(),
        })
    }

    /// Where the peer of a call is: its Contact (RFC 3261 §12.1).
    pub fn remote_target(&self, call: CallKey) -> Option<&str> {
        let call = self.calls.get(call.index())?;
        Some(call.dialog.as_ref().or_else(|| call.early.last())?.target()).filter(|target| !target.is_empty())
    }

    /// The call that has this dialog, early ones included.
    pub fn find_dialog(&self, dialog: &DialogId) -> Option<CallKey> {
        let index = *self.tags.get(&parse_hex(&dialog.local_tag)?)?;
        let call = self.calls.get(index)?;
        // RFC 3891 §3: a dialog that has ended is none. A peer of RFC 2543 has no tag; "0" stands for it.
        if matches!(call.stage, Stage::Leaving { .. } | Stage::Ending) {
            return None;
        }
        let same = |tag: &str| tag == dialog.remote_tag || (tag.is_empty() && dialog.remote_tag == "0");
        let known = call.dialog.iter().chain(&call.early);
        let mut known = known.filter(|known| known.call_id() == dialog.call_id && same(known.remote_tag()));
        known.next().map(|_| CallKey::new(index))
    }

    /// The sequence number of a request of ours that has no final response yet.
    pub fn request_cseq(&self, key: RequestKey) -> Option<u32> {
        self.clients.get(key.client()?).map(|client| client.cseq)
    }
}
