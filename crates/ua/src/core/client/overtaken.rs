//! Requests of one dialog that a later one has overtaken: the first was lost, the next was not, and when the first comes again the peer has to
//! refuse it with 500 (RFC 3261 §12.2.2). That says nothing about what was asked: it is asked again under the dialog's next number.

use ringback_sip::{HeaderName, Message, StatusCode};
use ringback_time::Now;

use crate::arena::Index;
use crate::core::Ua;
use crate::core::client::Owner;

/// How often one request gets another number.
const RENUMBERED_MOST: u8 = 3;

impl Ua {
    /// A final response to a request that may have been overtaken. `true`: it goes out again, and the response is nobody's business.
    pub(super) fn renumber_overtaken(&mut self, now: Now, index: Index, response: &Message) -> bool {
        // With Retry-After it is about what was asked (RFC 3261 §14.2, RFC 3311 §5.2).
        let refused = response.status() == Some(StatusCode::SERVER_INTERNAL_ERROR)
            && !response.headers().contains(&HeaderName::RetryAfter);
        let Some(client) = self.clients.get(index).filter(|client| refused && client.renumbered < RENUMBERED_MOST)
        else {
            return false;
        };
        let (owner, cseq) = (client.owner, client.cseq);
        let call = match owner {
            Owner::Reinvite(call)
            | Owner::Update(call)
            | Owner::Request(call)
            | Owner::Aside(call)
            | Owner::Prack(call) => Some(call),
            _ => None,
        };
        let Some(call) = call.filter(|_| self.is_wanted(index, owner)) else { return false };
        let (call_id, tag) = (response.call_id().unwrap_or_default(), response.to_tag().unwrap_or_default());
        let dialog = self.calls.get_mut(call).and_then(|call| call.dialog_mut(call_id, tag));
        let Some(dialog) = dialog.filter(|dialog| dialog.has_sent_after(cseq)) else { return false };
        let next = dialog.next_cseq();
        let lines = self.credentials_again(index);
        self.begin_anew(now, index, |client, current| {
            client.keep_on(current);
            client.draft.authorize(Some(next), &lines);
            client.cseq = next;
            client.renumbered += 1;
            client.targets.insert(0, current);
        });
        true
    }
}
