//! 2xx beside the one that made the call: retransmissions, and forks nobody waits for (RFC 3261 §13.2.2.4). Everything needed to answer them is in
//! the response itself, so nothing is kept for them.

use ringback_sip::{Message, Method};
use ringback_time::Now;
use tracing::debug;

use crate::api::Flow;
use crate::arena::Index;
use crate::core::Ua;
use crate::core::call::Acknowledged;
use crate::core::client::{Launch, Owner};
use crate::core::server::Path;
use crate::dialog::Dialog;
use crate::target::{Destination, Target};
use crate::transaction::key::{Branch, Class, Key, parse_hex};
use crate::wire::request::Draft;
use crate::wire::tags::{from_tag, to_tag};
use crate::wire::writer::Writer;

/// BYEs to forks under way at a time; beyond that forks are ACKed only.
const MAX_FORK_BYES: usize = 1000;

impl Ua {
    /// A 2xx to an INVITE of ours (`branch`) that had a final response before, or that nobody waits for any more.
    pub(super) fn stray_success(&mut self, now: Now, branch: Option<Branch>, response: &Message, flow: &Flow) {
        let Ok(cseq) = response.cseq().map(|cseq| cseq.number) else { return };
        let call = from_tag(response).and_then(parse_hex).and_then(|tag| self.tags.get(&tag)).copied();
        let ours = call.and_then(|index| self.calls.get(index)).and_then(|call| {
            let dialog = call.dialog.as_ref()?;
            let same = Some(dialog.remote_tag()) == to_tag(response) || dialog.remote_tag().is_empty();
            (same && Some(dialog.call_id()) == response.call_id()).then(|| call.acknowledged.clone())
        });
        match (ours, call) {
            (Some(Acknowledged::Sent { cseq: acked, .. }), Some(index)) if acked == cseq => {
                // The ACK was lost.
                self.counters.retransmissions_sent += 1;
                self.send_ack(index);
            }
            // The program has not said yet what goes into the ACK.
            (Some(Acknowledged::Due { cseq: due }), _) if due == cseq => {}
            // An older INVITE of this dialog.
            (Some(_), _) => self.ack_stray(response, flow, cseq, call),
            (None, _) => {
                self.ack_stray(response, flow, cseq, call);
                self.bye_fork(now, branch, response, flow, cseq);
            }
        }
    }

    fn stray_target(&self, dialog: &Dialog, flow: &Flow) -> Target {
        match self.dialog_way(dialog).destination {
            Some(Destination::Known(target)) => target,
            // Whoever passed the 2xx on can pass this on as well.
            _ => Target::of_flow(flow),
        }
    }

    fn ack_stray(&mut self, response: &Message, flow: &Flow, cseq: u32, call: Option<Index>) {
        let dialog = Dialog::of_uac(response, cseq, None);
        if dialog.target().is_empty() {
            return;
        }
        let target = self.stray_target(&dialog, flow);
        // RFC 3261 §26.2.2.
        if dialog.is_sips() && !target.is_fit_for_sips(!dialog.is_direct()) {
            return;
        }
        let Some(local) = self.local_for(&target) else { return };
        let branch = Branch(rand_core::RngCore::next_u64(&mut self.rng));
        let mut out = Writer::with_capacity(512);
        let line_end = dialog.write_request(&mut out, &Method::Ack, cseq, 70);
        if let Some(identity) = call.and_then(|index| self.calls.get(index)).and_then(|call| call.identity.as_ref()) {
            out.raw(&identity.ack);
        }
        let mut draft = Draft::new(out.body(None), line_end, false);
        draft.address(&self.sender(target.transport, local, target.address), branch);
        let path = Path { transport: target.transport, local, remote: target.address, connection: target.connection };
        self.transmit(&path, draft.bytes);
    }

    fn bye_fork(&mut self, now: Now, branch: Option<Branch>, response: &Message, flow: &Flow, cseq: u32) {
        let (Some(invite), Some(remote_tag)) = (branch, to_tag(response)) else { return };
        let branch = self.keys.branch_for_fork(invite, remote_tag);
        let key = Key::of_client(branch, Class::Bye);
        let begun = self.transactions.contains_key(&key) || self.linger.get(key).is_some();
        if begun || self.fork_byes >= MAX_FORK_BYES {
            return;
        }
        let mut dialog = Dialog::of_uac(response, cseq, None);
        if dialog.target().is_empty() {
            return;
        }
        debug!(target: "ringback.dialog", call_id = dialog.call_id(), "fork {remote_tag} is not wanted: BYE");
        let target = self.stray_target(&dialog, flow);
        let cseq = dialog.next_cseq();
        let mut out = Writer::with_capacity(512);
        let line_end = dialog.write_request(&mut out, &Method::Bye, cseq, 70);
        self.put_user_agent(&mut out);
        let draft = Draft::new(out.body(None), line_end, false);
        self.fork_byes += 1;
        self.launch(
            now,
            Launch {
                draft,
                class: Class::Bye,
                owner: Owner::Fork,
                cseq,
                hop: Some(target),
                domain: None,
                destination: None,
                branch: Some(branch),
                authorizing: None,
            },
        );
    }
}
