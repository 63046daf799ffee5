//! Whom a call really rings, and by which way: the contacts of an address of record that our registrar knows, all at once, as forks of one
//! outgoing session; or the one place that a URI names.
//!
//! Invariant: a call whose forks ring has `Call::forks` and no `Call::ua`; each of its branches, and nothing else of it, is in
//! `Engine::by_ua`. The first branch that answers becomes `Call::ua`, and the others are cancelled; when the last one has failed, the call ends
//! as the best of their answers says.

use std::sync::Arc;
use std::time::Duration;

use ringback_registrar::Record;
use ringback_sip::{Host, Message, NameAddr, StatusCode, Uri};
use ringback_time::{Mono, Now};
use ringback_ua::{CallKey, CancelReason, ContactForm, Credentials, Event, Flow, Invite};
use smallvec::SmallVec;

use crate::account::is_private;
use crate::api::EndCause;
use crate::call::{Call, Ending, Wire};
use crate::end::{ELSEWHERE, reason_of, rejected};
use crate::engine::Engine;
use crate::forward::{MAX_BREADTH, breadth_of};
use crate::locate::ANYWHERE;
use crate::outgoing::{Outgoing, contacts, status_line};
use crate::states::Change;
use crate::table::Key;
use crate::timers::Timer;

/// One way that an INVITE may take.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) request_uri: Uri,
    /// The preloaded route set: the value of Route.
    pub(crate) route: Option<String>,
    /// The only connection or address to use.
    pub(crate) flow: Option<Flow>,
    /// RFC 5626 §7: of several flows to one instance, one at a time is tried.
    instance: Option<String>,
    pub(crate) contact: Option<Box<ContactForm>>,
    /// Those of the account that it goes by.
    pub(crate) credentials: Option<Arc<Credentials>>,
}

impl Way {
    pub(crate) fn to(uri: &Uri) -> Way {
        Way {
            request_uri: uri.request_uri(),
            route: None,
            flow: None,
            instance: None,
            contact: None,
            credentials: None,
        }
    }

    /// `None`: what was bound cannot be called.
    fn of(record: &Record) -> Option<Way> {
        let request_uri = Uri::parse(&record.contact).ok()?.request_uri();
        let route = Some(&record.path).filter(|path| !path.is_empty()).cloned();
        let instance = record.instance.clone().filter(|_| record.reg_id.is_some());
        let way = Way { request_uri, route, flow: record.flow(), instance, contact: None, credentials: None };
        // A flow leads there whatever the URI says (RFC 7118: `something.invalid`).
        (way.flow.is_some() || way.next_hop().is_some()).then_some(way)
    }

    /// Has an INVITE go this way.
    pub(crate) fn apply(self, invite: &mut Invite) {
        invite.request_uri = self.request_uri;
        if let Some(route) = self.route {
            invite.headers.insert(0, ("Route".into(), route));
        }
        invite.flow = self.flow;
        invite.contact = self.contact;
        if self.credentials.is_some() {
            invite.credentials = self.credentials;
        }
    }

    /// The URI that the request goes to first; none where that is no SIP URI.
    pub(crate) fn next_hop(&self) -> Option<Uri> {
        let Some(route) = &self.route else {
            let known = crate::outgoing::check_target(&self.request_uri, &ringback_ua::Transport::ALL);
            return known.is_ok().then(|| self.request_uri.clone());
        };
        let first = ringback_sip::list_values(route).next()?;
        NameAddr::parse(first).ok().map(|address| address.uri)
    }
}

/// How long a flow may be silent before the next one to the same telephone is tried. RFC 3261 §17.2.1 has whoever is there say 100 within 200 ms, and
/// over UDP the INVITE has gone out four times by then. §16.10 allows to give up a branch at any time; timer B (32 s) is longer than most
/// callers wait. Where there is no other flow, nothing is gained by giving up, and timer B it is (RFC 3263 §4.3).
const HEARD_BY: Duration = Duration::from_secs(4);

#[derive(Debug)]
struct Branch {
    ua: CallKey,
    instance: Option<String>,
    begun: Mono,
}

/// The branches of one outgoing session.
#[derive(Debug, Default)]
pub(crate) struct Forks {
    ringing: SmallVec<[Branch; 4]>,
    /// Further flows to instances that ring, best first.
    later: Vec<Way>,
    best: Option<Outcome>,
}

/// How a branch failed.
#[derive(Debug)]
struct Outcome {
    status: Option<u16>,
    phrase: String,
    targets: Vec<String>,
    reason: Option<Box<str>>,
}

impl Forks {
    pub(crate) fn branches(&self) -> impl Iterator<Item = CallKey> + '_ {
        self.ringing.iter().map(|branch| branch.ua)
    }

    /// Branches whose telephone has another flow to be tried.
    fn replaceable(&self) -> impl Iterator<Item = &Branch> {
        let has_more = |branch: &&Branch| self.later.iter().any(|way| way.instance == branch.instance);
        self.ringing.iter().filter(has_more)
    }

    /// RFC 3261 §16.7, 6: a 6xx above all, else the lowest class; what is no answer counts least.
    fn failed(&mut self, outcome: Outcome) {
        let rank = |outcome: &Outcome| match outcome.status.map(|status| status / 100) {
            Some(6) => 0,
            Some(class) => class,
            None => 9,
        };
        if self.best.as_ref().is_none_or(|known| rank(&outcome) <= rank(known)) {
            self.best = Some(outcome);
        }
    }
}

/// Where a call goes.
pub(crate) enum Whither {
    One(Way),
    Contacts(Vec<Way>),
    /// An address of record of ours that nobody is registered for.
    Nobody,
}

impl Engine {
    /// Where a call goes. RFC 3261 §16.5: we are responsible for our domains; what nobody is registered for is asked of nobody else, who would
    /// be ourselves again.
    pub(crate) fn whither(&mut self, now: Now, outgoing: &Outgoing) -> Whither {
        let to = &outgoing.to.uri;
        if self.registry.is_some() {
            if let Some(ways) = self.contact_ways(now, to) {
                return Whither::Contacts(ways);
            }
            let named = matches!(to.host(), Some(Host::Domain(_)));
            if let Some(aor) = self.own_address_of_record(to) {
                // RFC 5627 §5.4: nobody but us knows the instances of our domains. Nor where those are whose every flow is dead.
                let bound = self.registry.as_ref().is_some_and(|registry| registry.registrar.lock().knows(&aor));
                if named || to.param("gr").is_some() || bound {
                    return Whither::Nobody;
                }
            }
        }
        let mut way = Way::to(to);
        if let Some(account) = self.account_of(&outgoing.from.uri) {
            way.route = account.route();
            way.flow = account.flow;
            way.contact = Some(account.contact(is_private(&outgoing.headers)));
            way.credentials.clone_from(&account.config.credentials);
        }
        Whither::One(way)
    }

    /// The first hop of a call, by which our own address is chosen; `None`: its To names it.
    pub(crate) fn first_hop(&mut self, now: Now, outgoing: &Outgoing) -> Option<Uri> {
        if self.registry.is_none() && self.accounts.is_empty() {
            return None;
        }
        // Nobody is there, or whom it rings is not known yet: most likely somebody whom the way to everybody leads to.
        let anywhere = Some(Uri::from_address(None, (ANYWHERE, 5060).into()));
        if self.shares_store() && self.own_address_of_record(&outgoing.to.uri).is_some() {
            return anywhere;
        }
        let way = match self.whither(now, outgoing) {
            Whither::One(way) => way,
            Whither::Contacts(ways) => ways.into_iter().next()?,
            Whither::Nobody => return anywhere,
        };
        match way.flow {
            Some(flow) => {
                let uri = Uri::from_address(None, flow.remote);
                Some(uri.with_param("transport", Some(flow.transport.as_param())))
            }
            None => way.next_hop().filter(|uri| *uri != outgoing.to.uri),
        }
    }

    /// The contacts of an address of record of ours, as ways; `None`: it has none, or is none.
    pub(crate) fn contact_ways(&mut self, now: Now, to: &Uri) -> Option<Vec<Way>> {
        let aor = self.own_address_of_record(to)?;
        let records = self.registry.as_ref()?.registrar.lock().targets(now, &aor, to);
        let ways: Vec<Way> = records.iter().filter(|record| record.is_reachable()).filter_map(Way::of).collect();
        Some(ways).filter(|ways| !ways.is_empty())
    }

    /// Sends the INVITE by each way at once, whatever the contacts' q: RFC 3261 §16.6 leaves it to policy whether those of a lower q ring at the
    /// same time or after the others, and a telephone that does not ring because another one with a higher q rang for half a minute
    /// in an empty room is a call missed. q orders who is tried first among flows to one telephone, and what `lookup` gives. False where not
    /// one could be begun.
    pub(crate) fn fork(&mut self, now: Now, key: Key, ways: Vec<Way>, invite: &Invite) -> bool {
        let mut forks = Forks::default();
        let (ways, invite) = &share_breadth(ways, invite.clone());
        for way in ways.iter().cloned() {
            let rings =
                |instance: &str| forks.ringing.iter().any(|branch| branch.instance.as_deref() == Some(instance));
            if way.instance.as_deref().is_some_and(rings) {
                forks.later.push(way);
            } else if let Some(ua) = self.begin_branch(now, key, &way, invite) {
                forks.ringing.push(Branch { ua, instance: way.instance, begun: now.mono });
            }
        }
        if forks.ringing.is_empty() {
            return false;
        }
        if let Some(call) = self.calls.get_mut(key) {
            if let ([branch], true) = (&forks.ringing[..], forks.later.is_empty()) {
                call.ua = Some(branch.ua);
            } else {
                call.forks = Some(Box::new((forks, invite.clone())));
            }
        }
        self.listen(key);
        true
    }

    /// Sets when a silent flow is given up for the next.
    fn listen(&mut self, key: Key) {
        let forks = self.calls.get(key).and_then(|call| call.forks.as_deref());
        let silent = |branch: &&Branch| !self.ua.is_heard(branch.ua);
        let begun = forks.and_then(|(forks, _)| forks.replaceable().filter(silent).map(|branch| branch.begun).min());
        match begun {
            Some(begun) => self.arm(key, Timer::Unheard, begun + HEARD_BY),
            None => self.disarm(key, Timer::Unheard),
        }
    }

    /// `Timer::Unheard`. What still comes of a branch that is given up is cancelled, or ended by BYE.
    pub(crate) fn unheard(&mut self, now: Now, key: Key) {
        let forks = self.calls.get(key).and_then(|call| call.forks.as_deref());
        let over = |branch: &&Branch| branch.begun + HEARD_BY <= now.mono && !self.ua.is_heard(branch.ua);
        let silent: SmallVec<[CallKey; 4]> = forks
            .map(|(forks, _)| forks.replaceable().filter(over).map(|branch| branch.ua).collect())
            .unwrap_or_default();
        for ua in silent {
            self.cancel_branches(now, std::iter::once(ua), None);
            // RFC 3261 §16.8: as if 408 had come.
            let status = StatusCode::REQUEST_TIMEOUT;
            let phrase = status.reason().to_owned();
            let outcome = Outcome { status: Some(status.as_u16()), phrase, targets: Vec::new(), reason: None };
            self.branch_failed(now, key, ua, outcome);
        }
        self.listen(key);
    }

    fn begin_branch(&mut self, now: Now, key: Key, way: &Way, invite: &Invite) -> Option<CallKey> {
        let mut invite = invite.clone();
        way.clone().apply(&mut invite);
        match self.ua.invite(now, invite) {
            Ok(ua) => {
                self.by_ua.insert(ua, key);
                Some(ua)
            }
            Err(error) => {
                tracing::info!(
                    target: "ringback.session", call_id = self.call_id(key), "{} is not called: {error}", way.request_uri
                );
                None
            }
        }
    }

    /// What `ua` reports about a branch of a call whose forks ring.
    pub(crate) fn branch(&mut self, now: Now, key: Key, ua: CallKey, event: Event) {
        match event {
            Event::Provisional { response, offers, .. } => {
                self.provisional(now, key, &response, offers.then_some(ua));
            }
            Event::Offer { key: request_key, request, .. } => self.offered(now, key, request_key, &request),
            Event::Answered { response, settled, .. } => self.branch_answered(now, key, ua, &response, settled),
            Event::Rejected { response, .. } => {
                let (status, phrase) = status_line(&response);
                let targets = if status / 100 == 3 { contacts(&response) } else { Vec::new() };
                let reason = reason_of(&response);
                self.branch_failed(now, key, ua, Outcome { status: Some(status), phrase, targets, reason });
            }
            Event::Failed { status, cause, .. } => {
                let outcome = Outcome { status: None, phrase: cause.to_string(), targets: Vec::new(), reason: None };
                let status = status.filter(|status| *status == StatusCode::REQUEST_TIMEOUT.as_u16());
                self.branch_failed(now, key, ua, Outcome { status, ..outcome });
            }
            Event::Released { .. } => {
                let phrase = "the dialog is gone".to_owned();
                self.branch_failed(now, key, ua, Outcome { status: None, phrase, targets: Vec::new(), reason: None });
            }
            _ => {}
        }
    }

    fn branch_answered(&mut self, now: Now, key: Key, ua: CallKey, response: &Message, settled: bool) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(forks) = call.forks.take() else { return };
        call.ua = Some(ua);
        self.cancel_branches(now, forks.0.branches().filter(|other| *other != ua), Some(ELSEWHERE));
        self.answered_by_peer(now, key, response, settled);
    }

    pub(crate) fn cancel_branches(&mut self, now: Now, branches: impl Iterator<Item = CallKey>, reason: Option<&str>) {
        for ua in branches {
            self.by_ua.remove(&ua);
            self.ua.cancel(now, ua, reason.map(|reason| CancelReason(reason.to_owned())));
            self.ua.drop_call(now, ua);
        }
    }

    fn branch_failed(&mut self, now: Now, key: Key, ua: CallKey, outcome: Outcome) {
        self.by_ua.remove(&ua);
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(mut held) = call.forks.take() else { return };
        let (forks, invite) = &mut *held;
        let place = forks.ringing.iter().position(|branch| branch.ua == ua);
        let instance = place.map(|place| forks.ringing.remove(place)).and_then(|branch| branch.instance);
        // RFC 5626 §7: another flow to the same telephone, where it is the flow that failed (430) or nothing came by it (408).
        let broken = matches!(outcome.status, None | Some(408 | 430));
        let global = outcome.status.is_some_and(|status| status >= 600);
        forks.failed(outcome);
        if broken && instance.is_some() {
            while let Some(next) = forks.later.iter().position(|way| way.instance == instance) {
                let way = forks.later.remove(next);
                if let Some(ua) = self.begin_branch(now, key, &way, invite) {
                    forks.ringing.push(Branch { ua, instance: way.instance, begun: now.mono });
                    break;
                }
            }
        }
        // RFC 3261 §16.7, 5: a 6xx speaks for all.
        if !forks.ringing.is_empty() && !global {
            if let Some(call) = self.calls.get_mut(key) {
                call.forks = Some(held);
            }
            self.listen(key);
            return;
        }
        let best = forks.best.take();
        self.cancel_branches(now, forks.branches(), None);
        self.finish(now, key, ending(best));
    }

    /// The branches of a call that ends.
    pub(crate) fn drop_branches(&mut self, now: Now, call: &mut Call, wire: &Wire) {
        if let Some(forks) = call.forks.take() {
            let reason = match wire {
                Wire::HangUp { reason, .. } => reason.clone(),
                Wire::Nothing => None,
            };
            self.cancel_branches(now, forks.0.branches(), reason.as_deref());
        }
    }
}

/// RFC 5393 §5.3.3: a forwarded call's Max-Breadth is divided among the contacts; there are no more of them than it allows.
fn share_breadth(mut ways: Vec<Way>, mut invite: Invite) -> (Vec<Way>, Invite) {
    let said = invite.headers.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(MAX_BREADTH));
    if let Some((_, value)) = said
        && let Ok(all) = value.parse::<u32>()
    {
        ways.truncate(all.max(1) as usize);
        *value = breadth_of(all, ways.len()).unwrap_or(1).to_string();
    }
    (ways, invite)
}

fn ending(best: Option<Outcome>) -> Ending {
    // RFC 5626 §5.3.1: that a flow has failed is between us and the flow; whoever calls hears that nobody is to be had.
    let best = best.map(|outcome| match outcome.status {
        Some(430) => {
            let status = StatusCode::TEMPORARILY_UNAVAILABLE;
            Outcome { status: Some(status.as_u16()), phrase: status.reason().to_owned(), ..outcome }
        }
        _ => outcome,
    });
    match best {
        Some(Outcome { status: Some(status), phrase, targets, reason })
            if status != StatusCode::REQUEST_TIMEOUT.as_u16() =>
        {
            Ending {
                change: Change::Reject,
                reason: rejected(status, &phrase),
                cause: EndCause::Rejected { status, reason: phrase, targets },
                wire: Wire::Nothing,
                over: false,
                remote_reason: reason,
            }
        }
        Some(Outcome { status, phrase, .. }) => Ending::failed(status, phrase).silent(),
        None => Ending::failed(None, "no contact can be called").silent(),
    }
}
