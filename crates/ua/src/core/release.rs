//! The ends of calls.

use ringback_sip::StatusCode;
use ringback_time::Now;
use tracing::debug;

use crate::api::{CallKey, Event, FailCause, Reply, RequestKey};
use crate::arena::Index;
use crate::core::Ua;
use crate::core::call::Stage;
use crate::core::client::Owner;
use crate::transaction::{server_invite, server_request};

impl Ua {
    /// An event of a call, unless nobody wants it any more.
    pub(super) fn call_event(&mut self, index: Index, event: Event) {
        if self.calls.get(index).is_some_and(|call| !call.quiet) {
            self.event(event);
        }
    }

    /// The dialog died: tells so, and sends BYE. A peer that said 481 will say it again; but when our request had overtaken the 2xx, it is the
    /// BYE that ends the call over there.
    pub(super) fn gone(&mut self, now: Now, index: Index, status: u16) {
        let Some(call) = self.calls.get(index) else { return };
        // An early dialog of ours is no more than a part of the INVITE: another may answer, and the INVITE has an end of its own.
        if matches!(call.stage, Stage::Ending | Stage::Calling { .. }) {
            return;
        }
        // A request of ours may overtake our 2xx: until its ACK the peer need not know the dialog. The 2xx's own deadline decides then.
        if call.accepted.as_ref().is_some_and(|accepted| accepted.first) {
            return;
        }
        self.call_event(index, Event::Gone { call: CallKey::new(index), status });
        self.end_requests(index);
        let Some(call) = self.calls.get_mut(index) else { return };
        call.quiet = true;
        if matches!(call.stage, Stage::Incoming { .. }) {
            // RFC 3261 §15: the called side has no BYE before its answer. The INVITE is refused.
            return self.release(now, index);
        }
        self.send_bye(now, index, None);
    }

    /// Forgets a call. What is still under way for it ends by itself: transactions answer for themselves, the peer's unanswered requests
    /// get 487 (RFC 3261 §15.1.2).
    pub(super) fn release(&mut self, now: Now, index: Index) {
        self.end_pending(now, index);
        self.end_requests(index);
        self.abandon_reinvite(now, index);
        self.stop_reliable(index);
        self.stop_session(index);
        let Some(mut call) = self.calls.remove(index) else { return };
        self.tags.remove(&call.tag);
        if let Some(merged) = call.merged {
            self.merged.remove(&merged);
        }
        if let Some(accepted) = &mut call.accepted {
            self.timers.stop(&mut accepted.timer);
        }
        self.timers.stop(&mut call.cancel_end);
        if let Stage::Calling { client, .. } = call.stage {
            self.orphan_client(now, client);
        }
        let key = CallKey::new(index);
        debug!(target: "ringback.dialog", "call {key:?}: over");
        self.event(Event::Released { call: key });
    }

    /// Tells that requests of ours will have no answer, and waits for none.
    fn end_requests(&mut self, index: Index) {
        let Some(call) = self.calls.get_mut(index) else { return };
        for request in std::mem::take(&mut call.requests) {
            let key = RequestKey::of_client(request);
            self.call_event(index, Event::Response { call: CallKey::new(index), key, response: Err(FailCause::Ended) });
        }
    }

    /// A re-INVITE of ours that the end of the call leaves without meaning. It stays to ACK what comes, but not for ever: the peer need not
    /// answer it once it has seen our BYE.
    pub(super) fn abandon_reinvite(&mut self, now: Now, index: Index) {
        let Some(mut own) = self.calls.get_mut(index).and_then(|call| call.own_invite.take()) else { return };
        self.timers.stop(&mut own.retry);
        if let Some(client) = own.client {
            self.orphan_client(now, client);
        }
    }

    /// Answers what the peer still waits for within a call that ends.
    pub(super) fn end_pending(&mut self, now: Now, index: Index) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let invite = call.peer_invite.take();
        let pending = std::mem::take(&mut call.pending);
        let terminated = Reply::new(StatusCode::REQUEST_TERMINATED);
        let incoming = match call.stage {
            Stage::Incoming { server } => Some(server),
            _ => None,
        };
        for server in invite.into_iter().chain(incoming) {
            let Some(echo) = self.servers.get(server).and_then(|server| server.echo.as_ref()) else { continue };
            let bytes = self.compose_response(echo, &terminated);
            self.drive_server_invite(now, server, server_invite::Input::Refusal, Some(bytes));
        }
        for server in pending {
            let Some(echo) = self.servers.get(server).and_then(|server| server.echo.as_ref()) else { continue };
            let bytes = self.compose_response(echo, &terminated);
            let status = Some(terminated.status.as_u16());
            self.drive_server_request(now, server, server_request::Input::Final, Some((bytes, status)));
        }
    }

    /// The program has no more interest in a call, whatever its state: it ends as decently as it can. Only `Released` follows.
    pub fn drop_call(&mut self, now: Now, call: CallKey) {
        if let Some(entry) = self.calls.get_mut(call.index()) {
            entry.quiet = true;
            self.bye(now, call, None);
        }
    }

    /// A client transaction ended without a response.
    pub(super) fn client_failed(&mut self, now: Now, client: Index, owner: Owner, cause: FailCause) {
        match owner {
            Owner::Invite(index) => self.invite_failed(now, index, cause),
            Owner::Reinvite(index) => self.reinvite_failed(now, index, cause),
            Owner::Bye(index) => self.release(now, index),
            Owner::Update(index) => self.update_failed(now, index, client, cause),
            Owner::Request(index) => self.request_failed(now, index, client, cause, true),
            Owner::Aside(index) => self.request_failed(now, index, client, cause, false),
            Owner::Standalone(index) => self.standalone_failed(index, cause),
            Owner::Usage(index) => self.usage_answered(index, client, Err(cause)),
            Owner::Nobody | Owner::Fork | Owner::Prack(_) => {}
        }
    }
}
