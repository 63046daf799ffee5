//! Placing calls: RFC 3261 §13.2 and §9.1.

use std::sync::Arc;

use ringback_sip::{Message, Method};
use ringback_time::Now;
use tracing::debug;

use crate::api::{Body, CallKey, CancelReason, Event, FailCause, Flow, Invite, Transport, UaError};
use crate::arena::Index;
use crate::core::Ua;
use crate::core::again::Redirects;
use crate::core::call::{Acknowledged, Call, Cancelling, MAX_EARLY, Stage};
use crate::core::client::{Client, LONGEST_DATAGRAM, Launch, Owner, Resolution, Tried};
use crate::core::compose::{check_body, check_call_id, check_form, check_headers, parts, put_headers};
use crate::core::update::allows_update;
use crate::core::way::DialogWay;
use crate::core::within::Place;
use crate::dialog::Dialog;
use crate::target::{Destination, Target};
use crate::timer::{Kind, Target as Wake};
use crate::transaction::key::{Branch, Class};
use crate::wire::request::Draft;
use crate::wire::tags::to_tag;
use crate::wire::writer::Writer;

/// The first sequence number of a dialog: RFC 3261 §8.1.1.5 leaves it open.
const FIRST_CSEQ: u32 = 1;

impl Ua {
    /// Places a call. What becomes of it comes as events; an error means that nothing was begun.
    pub fn invite(&mut self, now: Now, invite: Invite) -> Result<CallKey, UaError> {
        check_headers(&invite.headers, false, true)?;
        check_body(invite.body.as_ref())?;
        check_call_id(&invite.call_id)?;
        check_form(invite.contact.as_deref())?;
        let (hop, destination) = self.way(invite.flow, &invite.headers, &invite.request_uri)?;
        let tag = self.new_tag();
        let mut from = invite.from;
        let mut to = invite.to;
        from.params.remove("tag");
        to.params.remove("tag");
        let request_uri = invite.request_uri.request_uri();
        let mut out = Writer::with_capacity(768 + invite.body.as_ref().map_or(0, |body| body.bytes.len()));
        out.text("INVITE ").text(request_uri.as_str()).text(" SIP/2.0\r\n");
        let line_end = out.len();
        out.text("Max-Forwards: ").number(invite.max_forwards.into()).text("\r\n");
        out.text("From: ").text(&from.to_string()).text(";tag=").hex(tag).text("\r\n");
        out.header("To", &to.to_string()).header("Call-ID", &invite.call_id);
        out.text("CSeq: ").number(FIRST_CSEQ.into()).text(" INVITE\r\n");
        self.put_abilities(&mut out);
        self.put_user_agent(&mut out);
        put_headers(&mut out, &self.session_headers(Index::from_bits(0), false));
        put_headers(&mut out, &invite.headers);
        let mut draft = Draft::new(out.body(parts(invite.body.as_ref())), line_end, true).with_form(invite.contact);
        let identity = self.call_identity(invite.credentials.clone());
        let authorizing = self.preauthorize(&mut draft, invite.credentials, None);
        // The client transaction is begun with the call's name, and the call needs the client's: the call comes first.
        let stage = Stage::Calling { client: Index::from_bits(0), cancelling: Cancelling::No };
        let mut call = Call { identity, ..Call::new(stage, true, tag) };
        call.late_offer = invite.body.is_none();
        call.redirects = (invite.redirects > 0).then(|| Box::new(Redirects::new(invite.redirects, &request_uri)));
        let index = self.calls.insert(call);
        self.tags.insert(tag, index);
        debug!(target: "ringback.dialog", call_id = invite.call_id.as_str(), "calling {}", request_uri.as_str());
        let launch = Launch {
            draft,
            class: Class::Invite,
            owner: Owner::Invite(index),
            cseq: FIRST_CSEQ,
            hop,
            domain: None,
            destination,
            branch: None,
            authorizing,
        };
        let client = self.launch(now, launch);
        // It may have failed, and been sent to another place, by now.
        if self.clients.contains(client)
            && let Some(call) = self.calls.get_mut(index)
            && let Stage::Calling { client: place, .. } = &mut call.stage
        {
            *place = client;
        }
        Ok(CallKey::new(index))
    }

    /// Whether the INVITE of a call that is being placed has been answered at all: whoever is asked says 100 within 200 ms (RFC 3261 §17.2.1).
    pub fn is_heard(&self, call: CallKey) -> bool {
        let Some(call) = self.calls.get(call.index()) else { return false };
        match call.stage {
            Stage::Calling { client, .. } => self.clients.get(client).is_some_and(Client::is_proceeding),
            _ => true,
        }
    }

    /// Gives an INVITE up (RFC 3261 §9.1): CANCEL goes out once a provisional response came. Ends with `Rejected` (487, or whatever the
    /// peer says) or `Failed`. A 2xx that comes all the same is ACKed and BYEd. Of a call that was answered already it is `bye`.
    pub fn cancel(&mut self, now: Now, call: CallKey, reason: Option<CancelReason>) {
        let index = call.index();
        let Some(entry) = self.calls.get_mut(index) else { return };
        let Stage::Calling { client, cancelling } = &mut entry.stage else {
            if !matches!(entry.stage, Stage::Incoming { .. }) {
                self.bye(now, call, None);
            }
            return;
        };
        if *cancelling != Cancelling::No {
            return;
        }
        let reason = reason.filter(|reason| ringback_sip::is_valid_header_text("Reason", &reason.0));
        let client = *client;
        *cancelling = Cancelling::Wanted(reason);
        match self.clients.get(client) {
            Some(known) if known.is_proceeding() => self.send_cancel(now, index),
            Some(known) if known.is_sent() => {}
            // Nothing went out: nothing to cancel.
            _ => {
                self.close_client(now, client, None);
                self.give_up(now, index);
            }
        }
    }

    fn send_cancel(&mut self, now: Now, index: Index) {
        let Some(call) = self.calls.get_mut(index) else { return };
        let Stage::Calling { client, cancelling } = &mut call.stage else { return };
        let Cancelling::Wanted(reason) = std::mem::replace(cancelling, Cancelling::Sent) else { return };
        let client = *client;
        let mut extra = Writer::default();
        if let Some(reason) = reason {
            extra.header("Reason", &reason.0);
        }
        let wake = Wake { kind: Kind::CancelEnd, owner: index };
        call.cancel_end = Some(self.timers.set(now.mono, self.config.t1 * 64, wake));
        self.put_user_agent(&mut extra);
        self.launch_cancel(now, client, &extra.finish());
    }

    /// §9.1: 64*T1 after CANCEL without a final response the INVITE counts as cancelled.
    pub(super) fn cancel_timed_out(&mut self, now: Now, index: Index) {
        let Some(call) = self.calls.get_mut(index) else { return };
        call.cancel_end = None;
        if let Stage::Calling { client, .. } = call.stage {
            self.close_client(now, client, None);
            self.give_up(now, index);
        }
    }

    /// The end of a cancelled call without a response to show.
    fn give_up(&mut self, now: Now, index: Index) {
        let call = CallKey::new(index);
        self.call_event(index, Event::Failed { call, status: Some(487), cause: FailCause::Cancelled });
        self.release(now, index);
    }

    pub(super) fn is_cancelling(&self, index: Index) -> bool {
        self.calls.get(index).is_some_and(
            |call| matches!(&call.stage, Stage::Calling { cancelling, .. } if *cancelling != Cancelling::No),
        )
    }

    /// 1xx to an INVITE.
    pub(super) fn invite_progress(&mut self, now: Now, owner: Owner, client: Index, response: &Message, flow: &Flow) {
        let index = match owner {
            Owner::Invite(index) => index,
            Owner::Nobody => return self.orphan_client(now, client),
            Owner::Reinvite(index) => {
                self.acknowledge_provisional(now, index, Place::Call, response);
                return;
            }
            _ => return,
        };
        let cseq = self.clients.get(client).map_or(FIRST_CSEQ, |client| client.cseq);
        let Some(call) = self.calls.get_mut(index) else { return };
        if matches!(&call.stage, Stage::Calling { cancelling: Cancelling::Wanted(_), .. }) {
            self.send_cancel(now, index);
        }
        let Some(call) = self.calls.get_mut(index) else { return };
        if response.status().is_some_and(|status| status.as_u16() == 100) {
            return;
        }
        // §12.1.2: one early dialog for each To tag; the latest response says where it is.
        let due = call.prack_due.as_ref().map(|due| due.rseq);
        if let Some(tag) = to_tag(response) {
            let known = call.early.iter().position(|dialog| dialog.remote_tag() == tag);
            let place = match known {
                Some(place) => {
                    if let Some(dialog) = call.early.get_mut(place) {
                        dialog.refresh_target(response);
                    }
                    Some(place)
                }
                None if call.early.len() < MAX_EARLY => {
                    call.early.push(Dialog::of_uac(response, cseq, None));
                    Some(call.early.len() - 1)
                }
                None => None,
            };
            if let (Some(place), Some(client)) = (place, self.clients.get(client))
                && let Some(dialog) = call.early.get_mut(place)
            {
                dialog.keep_to(flow, client.pinned, client.draft.request_uri());
            }
            if let Some(place) = place
                && !self.acknowledge_provisional(now, index, Place::Early(place), response)
            {
                return;
            }
        }
        // RFC 6228 §4: that early dialog is over.
        if response.status().is_some_and(|status| status.as_u16() == 199)
            && let Some(call) = self.calls.get_mut(index)
        {
            call.early.retain(|dialog| Some(dialog.remote_tag()) != to_tag(response));
        }
        if !self.is_cancelling(index) {
            let offers = due.is_none() && self.calls.get(index).is_some_and(|call| call.prack_due.is_some());
            let call = CallKey::new(index);
            self.call_event(index, Event::Provisional { call, response: response.clone(), offers });
        }
    }

    /// The first 2xx to an INVITE of ours.
    pub(super) fn invite_accepted(
        &mut self,
        now: Now,
        owner: Owner,
        client: &Client,
        branch: Option<Branch>,
        response: &Message,
        flow: &Flow,
    ) {
        match owner {
            Owner::Invite(index) if self.calls.contains(index) => {
                self.call_accepted(now, index, client, response, flow);
            }
            Owner::Reinvite(index) if self.calls.contains(index) => {
                self.reinvite_accepted(now, index, client, response)
            }
            // Whoever wanted it has gone.
            _ => self.stray_success(now, branch, response, flow),
        }
    }

    fn call_accepted(&mut self, now: Now, index: Index, client: &Client, response: &Message, flow: &Flow) {
        let cancelled = self.is_cancelling(index);
        let Some(call) = self.calls.get_mut(index) else { return };
        self.timers.stop(&mut call.cancel_end);
        let mut dialog = Dialog::of_uac(response, client.cseq, Some(&client.draft));
        // What the peer may have sent in the early dialog counts on.
        if let Some(early) = call.early.iter().find(|early| early.remote_tag() == dialog.remote_tag()) {
            dialog.remote_cseq = early.remote_cseq;
            // So does what we sent: PRACK and UPDATE.
            dialog.local_cseq = early.local_cseq.max(dialog.local_cseq);
            dialog.described = early.described;
        }
        dialog.keep_to(flow, client.pinned, client.draft.request_uri());
        call.dialog = Some(dialog);
        // §13.2.2.4: the other early dialogs have ended; what still comes of them is a fork.
        call.early = Vec::new();
        call.stage = Stage::Confirmed;
        call.allows_update |= allows_update(response);
        call.prack_due = None;
        call.acknowledged = Acknowledged::Due { cseq: client.cseq };
        self.invite_authorized(index, client);
        self.session_answered(now, index, response);
        debug!(target: "ringback.dialog", call_id = response.call_id().unwrap_or_default(), "confirmed");
        if cancelled {
            // §9.1, §15: the 2xx crossed our CANCEL.
            let call = CallKey::new(index);
            self.call_event(index, Event::Failed { call, status: Some(487), cause: FailCause::Cancelled });
            self.bye(now, call, None);
        } else {
            let settled = self.calls.get(index).and_then(|call| call.dialog.as_ref()).is_some_and(|it| it.described);
            let call = CallKey::new(index);
            self.call_event(index, Event::Answered { call, response: response.clone(), settled });
        }
    }

    /// 300-699 to an INVITE; the transaction has ACKed it.
    pub(super) fn invite_refused(
        &mut self,
        now: Now,
        owner: Owner,
        client: Index,
        tried: Option<Tried>,
        response: &Message,
    ) {
        match owner {
            Owner::Invite(index) if self.calls.contains(index) => {
                if tried.is_some_and(|tried| self.tried_again(now, index, &tried, response)) {
                    return;
                }
                self.call_event(index, Event::Rejected { call: CallKey::new(index), response: response.clone() });
                self.release(now, index);
            }
            Owner::Reinvite(index) => self.reinvite_refused(now, index, client, response),
            _ => {}
        }
    }

    /// No response to an INVITE.
    pub(super) fn invite_failed(&mut self, now: Now, index: Index, cause: FailCause) {
        let call = CallKey::new(index);
        let event = match cause {
            _ if self.is_cancelling(index) => Event::Failed { call, status: Some(487), cause: FailCause::Cancelled },
            // §8.1.3.1: a timeout is as a 408.
            FailCause::Timeout => Event::Failed { call, status: Some(408), cause },
            cause => Event::Failed { call, status: None, cause },
        };
        self.call_event(index, event);
        self.release(now, index);
    }

    /// The ACK to the 2xx of `Event::Answered`, or of `Event::ReinviteAnswered` after a late offer. `body`: the answer to the peer's
    /// offer. Retransmitted 2xx are ACKed again without being told. When none is due, nothing happens.
    pub fn ack(&mut self, now: Now, call: CallKey, body: Option<Body>) {
        let index = call.index();
        let Some(entry) = self.calls.get(index) else { return };
        let Acknowledged::Due { cseq } = entry.acknowledged else { return };
        let body = body.filter(|body| check_body(Some(body)).is_ok());
        self.acknowledge(now, index, cseq, body);
    }

    /// Sends the first ACK to a 2xx and remembers how to send it again.
    pub(super) fn acknowledge(&mut self, _now: Now, index: Index, cseq: u32, body: Option<Body>) {
        let branch = Branch(rand_core::RngCore::next_u64(&mut self.rng));
        if let Some(call) = self.calls.get_mut(index) {
            call.acknowledged = Acknowledged::Sent { cseq, branch, body };
        }
        self.send_ack(index);
    }

    /// §13.2.2.4: an ACK for each 2xx, by the route of the dialog.
    pub(super) fn send_ack(&mut self, index: Index) {
        let Some(dialog) = self.calls.get(index).and_then(|call| call.dialog.as_ref()) else { return };
        let DialogWay { hop, domain, destination } = self.dialog_way(dialog);
        match (hop, destination) {
            (Some(target), _) => self.send_ack_to(index, target, domain),
            (None, Some(Destination::Known(target))) => self.send_ack_to(index, target, None),
            (None, None) => {}
            (None, Some(Destination::Named { host, port, service })) => {
                let waiting =
                    self.resolutions.iter().any(|(_, known)| matches!(known, Resolution::Ack(of, ..) if *of == index));
                if !waiting {
                    let id = self.resolutions.insert(Resolution::Ack(
                        index,
                        service.transport,
                        Some(Arc::from(host.as_str())),
                    ));
                    self.output.push_back(crate::api::Output::Resolve {
                        id: crate::api::ResolveId::new(id),
                        host,
                        port,
                        service,
                    });
                }
            }
        }
    }

    /// The route's name has an address: it serves the dialog from now on.
    pub(super) fn ack_resolved(&mut self, index: Index, target: Target, domain: Option<Arc<str>>) {
        let Some(dialog) = self.calls.get_mut(index).and_then(|call| call.dialog.as_mut()) else { return };
        // RFC 3261 §26.2.2.
        if dialog.is_sips() && !target.is_fit_for_sips(!dialog.is_direct()) {
            return;
        }
        dialog.hop = Some(target);
        dialog.hop_domain.clone_from(&domain);
        self.send_ack_to(index, target, domain);
    }

    fn send_ack_to(&mut self, index: Index, target: Target, domain: Option<Arc<str>>) {
        let Some(local) = self.local_for(&target) else { return };
        let Some(call) = self.calls.get(index) else { return };
        let (Some(dialog), Acknowledged::Sent { cseq, branch, body }) = (&call.dialog, &call.acknowledged) else {
            return;
        };
        let mut out = Writer::with_capacity(512 + body.as_ref().map_or(0, |body| body.bytes.len()));
        let line_end = dialog.write_request(&mut out, &Method::Ack, *cseq, 70);
        // §22.1: an ACK cannot be challenged; it has the credentials of its INVITE.
        if let Some(identity) = &call.identity {
            out.raw(&identity.ack);
        }
        self.put_user_agent(&mut out);
        let mut draft = Draft::new(out.body(parts(body.as_ref())), line_end, false);
        draft.address(&self.sender(target.transport, local, target.address), *branch);
        let (mut target, mut local) = (target, local);
        // RFC 3261 §18.1.1. A retransmission of it goes by UDP where the stream cannot be had.
        if target.gives_way_to_stream()
            && draft.bytes.len() > LONGEST_DATAGRAM
            && let Some(stream_local) = self.routes.local_address(Transport::Tcp, target.address)
        {
            (target.transport, local) = (Transport::Tcp, stream_local);
            draft.address(&self.sender(target.transport, local, target.address), *branch);
        }
        let path = crate::core::server::Path {
            transport: target.transport,
            local,
            remote: target.address,
            connection: target.connection,
        };
        self.transmit_to(&path, domain, draft.bytes);
    }

    /// A tag that no call has: 64 random bits.
    pub(super) fn new_tag(&mut self) -> u64 {
        loop {
            let tag = rand_core::RngCore::next_u64(&mut self.rng);
            if tag != 0 && !self.tags.contains_key(&tag) && !self.usage_tags.contains_key(&tag) {
                return tag;
            }
        }
    }
}
