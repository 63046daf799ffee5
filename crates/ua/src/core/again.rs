//! The INVITE of a call sent anew, with a change: to another place (3xx, RFC 3261 §8.1.3.4), or with what a refusal asked for (422).
//! Call-ID, From, To and tag stay, the number is one higher. To the program it is one call, of which it sees the last refusal.

use std::collections::VecDeque;

use ringback_sip::{HeaderName, Message, StatusCode, Uri};
use ringback_time::Now;
use tracing::debug;

use crate::api::Transport;
use crate::arena::Index;
use crate::core::Ua;
use crate::core::call::{Call, Cancelling, Stage};
use crate::core::client::{Launch, Owner, Tried};
use crate::target::Destination;
use crate::transaction::key::Class;

/// Places of one redirection that are looked at.
const MAX_CONTACTS: usize = 10;

/// Where a call may still go.
pub(super) struct Redirects {
    /// How many more places are tried.
    left: u8,
    /// Request-URIs that were tried: RFC 3261 §8.1.3.4 forbids to try one again.
    tried: Vec<String>,
    rest: VecDeque<Uri>,
}

impl Redirects {
    pub(super) fn new(left: u8, first: &Uri) -> Redirects {
        Redirects { left, tried: vec![first.as_str().to_owned()], rest: VecDeque::new() }
    }

    /// §8.1.3.4: the contacts by their q, those of equal q in their order.
    fn add(&mut self, response: &Message) {
        let mut contacts: Vec<(u16, Uri)> = response
            .contacts()
            .unwrap_or_default()
            .into_iter()
            .take(MAX_CONTACTS)
            .map(|contact| {
                let q = contact.params.get("q").flatten().and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
                ((q.clamp(0.0, 1.0) * 1000.0) as u16, contact.uri.request_uri())
            })
            .collect();
        contacts.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
        for (_, uri) in contacts.into_iter().rev() {
            self.rest.push_front(uri);
        }
        self.rest.truncate(MAX_CONTACTS);
    }

    /// The next place that was not tried and that a request can go to.
    fn next(&mut self, configured: &[Transport]) -> Option<(Uri, Destination)> {
        while self.left > 0 {
            let uri = self.rest.pop_front()?;
            let known = self.tried.iter().any(|tried| tried == uri.as_str());
            // RFC 3261 §8.1.3.4: who was called by `sips` is not looked for by anything less.
            let secure = |uri: &str| uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"));
            let less = self.tried.first().is_some_and(|first| secure(first)) && !secure(uri.as_str());
            if let (false, false, Ok(destination)) = (known, less, Destination::of(&uri, configured, false)) {
                self.left -= 1;
                self.tried.push(uri.as_str().to_owned());
                return Some((uri, destination));
            }
        }
        None
    }
}

impl Call {
    /// The place that was called has sent us to another.
    pub(super) fn is_redirected(&self) -> bool {
        self.redirects.as_ref().is_some_and(|redirects| redirects.tried.len() > 1)
    }
}

impl Ua {
    /// Whether an INVITE that was refused has gone out anew.
    pub(super) fn tried_again(&mut self, now: Now, index: Index, tried: &Tried, response: &Message) -> bool {
        let Some(status) = response.status() else { return false };
        let Some(call) = self.calls.get_mut(index) else { return false };
        if !matches!(&call.stage, Stage::Calling { cancelling: Cancelling::No, .. }) {
            return false;
        }
        // RFC 4028 §7.3.
        if status == StatusCode::SESSION_INTERVAL_TOO_SMALL {
            if self.config.session_expires.is_none() || !self.longer_session(index, response) {
                return false;
            }
            let headers = self.session_headers(index, false);
            self.send_anew(now, index, tried, None, &headers);
            return true;
        }
        let Some(redirects) = &mut call.redirects else { return false };
        match status.class() {
            3 => redirects.add(response),
            // §8.1.3.4: another failure, and the next of those that are left. 6xx is an answer for all of them.
            4 | 5 => {}
            _ => return false,
        }
        self.next_place(now, index, tried)
    }

    /// The same for one that was not answered at all.
    pub(super) fn tried_elsewhere(&mut self, now: Now, index: Index, tried: &Tried) -> bool {
        match self.calls.get(index).map(|call| &call.stage) {
            Some(Stage::Calling { cancelling: Cancelling::No, .. }) => self.next_place(now, index, tried),
            _ => false,
        }
    }

    fn next_place(&mut self, now: Now, index: Index, tried: &Tried) -> bool {
        let redirects = self.calls.get_mut(index).and_then(|call| call.redirects.as_mut());
        let configured = &self.config.transports;
        let Some((uri, destination)) = redirects.and_then(|redirects| redirects.next(configured)) else { return false };
        debug!(target: "ringback.dialog", "redirected to {}", uri.as_str());
        self.send_anew(now, index, tried, Some((uri, destination)), &[]);
        true
    }

    fn send_anew(
        &mut self,
        now: Now,
        index: Index,
        tried: &Tried,
        place: Option<(Uri, Destination)>,
        headers: &[(String, String)],
    ) {
        let cseq = tried.cseq.saturating_add(1);
        let mut draft = tried.draft.again(cseq, place.as_ref().map(|(uri, _)| uri.as_str()), headers);
        // A preloaded route decides where it goes, whatever the Request-URI.
        let (hop, destination) = match place {
            Some((_, destination)) if !draft.has(&HeaderName::Route) => (None, Some(destination)),
            _ => (tried.target, None),
        };
        let Some(call) = self.calls.get_mut(index) else { return };
        call.early = Vec::new();
        call.prack_due = None;
        let own = call.identity.as_ref().and_then(|identity| identity.own());
        let authorizing = self.preauthorize(&mut draft, own, None);
        let launch = Launch {
            draft,
            class: Class::Invite,
            owner: Owner::Invite(index),
            cseq,
            hop,
            domain: None,
            destination,
            branch: None,
            authorizing,
        };
        let client = self.launch(now, launch);
        if let Some(call) = self.calls.get_mut(index)
            && self.clients.contains(client)
            && let Stage::Calling { client: place, .. } = &mut call.stage
        {
            *place = client;
        }
    }
}
