//! Accounts of ours with other registrars: registered, refreshed, registered anew after failures, unregistered.
//!
//! Invariant: an account has a request under way, or a time when the next one is due, or it has ended and is gone. Each account's state
//! changes in `turn`, which tells the program so.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand_core::RngCore;
use ringback_media_api::Token;
use ringback_sip::Uri;
use ringback_time::{Mono, Now, Wall};
use ringback_ua::{Answer, ConnectionId, FailCause, Flow, Request, Routes as _, StandaloneKey, Transport};

use crate::account::{Account, Verdict, is_private};
use crate::api::{AccountConfig, Error, Event, Registration, RegistrationState, Reply};
use crate::commands;
use crate::decide::ua_error;
use crate::engine::{Engine, Output};
use crate::limits;

#[derive(Debug, Default)]
pub(crate) struct Accounts {
    table: HashMap<u64, Account, foldhash::fast::RandomState>,
    by_request: HashMap<StandaloneKey, u64, foldhash::fast::RandomState>,
    /// The latest account of each address of record.
    by_aor: HashMap<String, u64, foldhash::quality::RandomState>,
    due: BTreeSet<(Mono, u64)>,
    /// Further flows that were begun.
    flows: u64,
    /// Unregistering at the end may take until then.
    leave_by: Option<Mono>,
}

/// Refreshes come at a random point of this part of a registration's life.
const REFRESH_FROM: f64 = 0.5;
const REFRESH_TO: f64 = 0.9;

/// How long a stop waits for registrars.
const LEAVE_MOST: Duration = Duration::from_millis(800);

impl Accounts {
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Account> {
        self.table.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Account> {
        self.table.get_mut(&id)
    }

    pub(crate) fn insert(&mut self, id: u64, account: Account) {
        self.table.insert(id, account);
    }

    pub(crate) fn next_flow(&mut self) -> u64 {
        self.flows += 1;
        self.flows
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        let due = self.due.first().map(|(at, _)| *at);
        [due, self.leave_by].into_iter().flatten().min()
    }

    fn arm(&mut self, id: u64, at: Option<Mono>) {
        let Some(account) = self.table.get_mut(&id) else { return };
        if let Some(before) = std::mem::replace(&mut account.due, at) {
            self.due.remove(&(before, id));
        }
        if let Some(at) = at {
            self.due.insert((at, id));
        }
    }
}

impl Engine {
    /// `Command::Register`.
    pub(crate) fn register_account(
        &mut self,
        now: Now,
        id: u64,
        config: AccountConfig,
    ) -> Result<Arc<Registration>, Error> {
        if self.stop.is_stopping() {
            return Err(Error::NotRunning);
        }
        if self.accounts.table.contains_key(&id) {
            return Err(Error::BadValue(format!("there is an account {id}")));
        }
        if self.accounts.table.len() >= limits::ACCOUNTS_MOST {
            return Err(Error::ResourceExhausted("Too many accounts"));
        }
        let registration = Arc::new(Registration::new(id));
        let call_id = self.ua.new_call_id();
        let spare = self.further_flows(&config, &registration)?;
        let mut account = Account::new(config, Arc::clone(&registration), call_id, &self.config.transports)?;
        account.spare = spare;
        self.accounts.by_aor.insert(account.key.clone(), id);
        self.accounts.table.insert(id, account);
        self.emit(Event::Registration {
            registration: Arc::clone(&registration),
            state: RegistrationState::Registering,
        });
        match self.settles_by(now) {
            Some(at) => self.accounts.arm(id, Some(at)),
            None => self.send_register(now, id),
        }
        Ok(registration)
    }

    /// `Command::Unregister`: answered when the registrar has answered, or cannot be reached.
    pub(crate) fn unregister_account(&mut self, now: Now, token: Token, id: u64) -> commands::Answer {
        let Some(account) = self.accounts.table.get_mut(&id) else { return Ok(Some(Reply::Unit)) };
        if token != Token::default() {
            account.leaving.push(token);
        }
        for flow in account.flows.clone() {
            let _ = self.unregister_account(now, Token::default(), flow);
        }
        // The end of its last flow may have been its own.
        let Some(account) = self.accounts.table.get_mut(&id) else { return Ok(None) };
        let first = std::mem::replace(&mut account.wanted, false);
        let bound = account.state == RegistrationState::Registered;
        let under_way = account.request.is_some();
        match (first, under_way) {
            // It may be bound when the answer comes: then it is undone.
            (_, true) | (false, false) => {}
            (true, false) if bound => self.send_register(now, id),
            (true, false) => self.account_ended(id),
        }
        Ok(None)
    }

    pub(crate) fn send_register(&mut self, now: Now, id: u64) {
        self.accounts.arm(id, None);
        let Some(account) = self.accounts.table.get_mut(&id) else { return };
        let request = account.request();
        match self.ua.send(now, request) {
            Ok(key) => {
                account.request = Some(key);
                self.accounts.by_request.insert(key, id);
            }
            Err(error) => {
                let why = ua_error(error, crate::api::State::Initiating).to_string();
                self.account_failed(now, id, None, &why, None);
            }
        }
    }

    /// `Event::Standalone`; false: it was not for an account.
    pub(crate) fn register_answered(
        &mut self,
        now: Now,
        key: StandaloneKey,
        outcome: &Result<Answer, FailCause>,
    ) -> bool {
        let Some(id) = self.accounts.by_request.remove(&key) else { return false };
        let Some(account) = self.accounts.table.get_mut(&id) else { return true };
        account.request = None;
        if outcome.is_ok() {
            account.lost = false;
        }
        match outcome {
            Ok(answer) => match account.judge(&answer.response, answer.flow) {
                Verdict::Again => self.send_register(now, id),
                Verdict::Granted(seconds) if self.learn_address(answer) => self.account_corrected(now, id, seconds),
                Verdict::Granted(seconds) => self.account_granted(now, id, seconds),
                Verdict::Refused { status, phrase, after } => {
                    let why = format!("{status} {phrase}");
                    self.account_failed(now, id, Some(status), why.trim_end(), after);
                }
            },
            Err(cause) => {
                // The next try makes a connection of its own: at once where it was the old one that failed, which says nothing of the
                // registrar (RFC 5626 §4.5).
                let by_old = account.flow.take().is_some() | std::mem::take(&mut account.lost);
                let again = by_old && account.wanted;
                self.stun.forget_flow(id);
                if again {
                    self.register_soon(now, id);
                } else {
                    self.account_failed(now, id, None, &cause.to_string(), None);
                }
            }
        }
        true
    }

    fn account_granted(&mut self, now: Now, id: u64, seconds: u64) {
        let random = self.random();
        let Some(account) = self.accounts.table.get_mut(&id) else { return };
        account.failures = 0;
        if !account.wanted {
            // The answer to what was sent before: it is bound, and to be undone; or it is undone.
            return if account.undoing { self.account_ended(id) } else { self.send_register(now, id) };
        }
        let life = Duration::from_secs(seconds);
        let refresh = life.mul_f64(REFRESH_FROM + (REFRESH_TO - REFRESH_FROM) * random);
        let expires_at = (now + life).wall;
        if let (Some(Flow { connection: Some(connection), .. }), Some(seconds)) = (account.flow, account.flow_timer) {
            self.output.push_back(Output::KeepAlive { connection, every: Duration::from_secs(seconds) });
        }
        account.corrected = false;
        self.accounts.arm(id, Some(now.mono + refresh));
        self.turn(id, RegistrationState::Registered, Some(expires_at));
        self.watch_flow(now, id);
        self.open_further_flows(now, id);
    }

    fn account_failed(&mut self, now: Now, id: u64, status: Option<u16>, why: &str, after: Option<Duration>) {
        let random = self.random();
        let Some(account) = self.accounts.table.get_mut(&id) else { return };
        if !account.wanted {
            return self.account_ended(id);
        }
        account.failures = account.failures.saturating_add(1);
        account.registration.set_failure(status, why);
        account.forget();
        self.stun.forget_flow(id);
        // By the next proxy at once, until all have failed; what a registrar decides, it decides by each of them.
        let proxies = account.spare.len() as u32 + 1;
        let broken = status.is_none_or(|status| status >= 500 || matches!(status, 408 | 430));
        if broken && account.turn_proxy() && !account.failures.is_multiple_of(proxies) {
            tracing::info!(target: "ringback.registration", "{}: {why}; by the next proxy", account.key);
            return self.register_soon(now, id);
        }
        let pause = account.pause(random, after);
        tracing::warn!(target: "ringback.registration", "{} is not registered: {why}; again in {} s", account.key, pause.as_secs());
        self.accounts.arm(id, Some(now.mono + pause));
        self.turn(id, RegistrationState::Failed, None);
    }

    /// Unregistered, as far as that can be told: nothing is kept.
    fn account_ended(&mut self, id: u64) {
        self.accounts.arm(id, None);
        let Some(account) = self.accounts.table.get_mut(&id) else { return };
        (account.state, account.until, account.over, account.flow) =
            (RegistrationState::Unregistered, None, true, None);
        self.stun.forget_flow(id);
        if let Some(key) = account.request.take() {
            self.accounts.by_request.remove(&key);
        }
        let first = account.first.unwrap_or(id);
        if first != id {
            self.accounts.table.remove(&id);
            if let Some(account) = self.accounts.table.get_mut(&first) {
                account.flows.retain(|flow| *flow != id);
            }
        }
        // One registration: it ends with its last flow.
        let Some(account) = self.accounts.table.get(&first) else { return };
        if !account.over || !account.flows.is_empty() {
            return self.tell_state(first);
        }
        self.tell_state(first);
        let Some(account) = self.accounts.table.remove(&first) else { return };
        if self.accounts.by_aor.get(&account.key) == Some(&first) {
            self.accounts.by_aor.remove(&account.key);
        }
        for token in account.leaving {
            self.complete(token, Ok(Reply::Unit));
        }
    }

    pub(crate) fn turn(&mut self, id: u64, state: RegistrationState, until: Option<Wall>) {
        let Some(account) = self.accounts.table.get_mut(&id) else { return };
        (account.state, account.until) = (state, until);
        let first = account.first.unwrap_or(id);
        self.tell_state(first);
    }

    /// Tells the program what has become of a registration.
    fn tell_state(&mut self, first: u64) {
        let (state, expires_at) = self.state_of_all(first);
        let Some(account) = self.accounts.table.get(&first) else { return };
        let registration = Arc::clone(&account.registration);
        let before = registration.state();
        registration.set(state, expires_at);
        if before != state {
            tracing::info!(target: "ringback.registration", "{}: {before} -> {state}", account.key);
            self.emit(Event::Registration { registration, state });
        }
    }

    /// What is due.
    pub(crate) fn accounts_due(&mut self, now: Now) {
        while let Some((at, id)) = self.accounts.due.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.accounts.due.remove(&(at, id));
            if let Some(account) = self.accounts.table.get_mut(&id) {
                account.due = None;
            }
            self.send_register(now, id);
        }
        if self.accounts.leave_by.is_some_and(|by| by <= now.mono) {
            let left: Vec<u64> = self.accounts.table.keys().copied().collect();
            for id in left {
                if let Some(key) = self.accounts.table.get(&id).and_then(|account| account.request) {
                    self.ua.forget(now, key);
                }
                self.account_ended(id);
            }
            self.accounts.leave_by = None;
        }
    }

    /// A connection is gone: what was registered by it is not to be reached any more (RFC 5626 §4.5), so it is registered anew, at a random
    /// moment of the next second, since many may have lost theirs.
    pub(crate) fn accounts_closed(&mut self, now: Now, connection: ConnectionId) {
        if self.accounts.is_empty() {
            return;
        }
        let by_it = |account: &Account| account.flow.is_some_and(|flow| flow.connection == Some(connection));
        let lost: Vec<u64> =
            self.accounts.table.iter().filter(|(_, account)| by_it(account)).map(|(id, _)| *id).collect();
        for id in lost {
            let Some(account) = self.accounts.table.get_mut(&id) else { continue };
            account.flow = None;
            // A request by it fails, too; then it is time.
            account.lost = account.request.is_some();
            if !account.lost && account.wanted {
                self.register_soon(now, id);
            }
        }
    }

    pub(crate) fn register_soon(&mut self, now: Now, id: u64) {
        let pause = Duration::from_secs_f64(self.random());
        self.accounts.arm(id, Some(now.mono + pause));
        self.turn(id, RegistrationState::Registering, None);
    }

    /// The system stops: all are unregistered, within bounds.
    pub(crate) fn unregister_all(&mut self, now: Now) {
        if self.accounts.is_empty() || self.accounts.leave_by.is_some() {
            return;
        }
        self.accounts.leave_by = Some(now.mono + LEAVE_MOST);
        let ids: Vec<u64> = self.accounts.table.keys().copied().collect();
        for id in ids {
            let _ = self.unregister_account(now, Token::default(), id);
        }
    }

    /// Whether a stop still waits for registrars.
    pub(crate) fn is_unregistering(&mut self) -> bool {
        if self.accounts.is_empty() {
            self.accounts.leave_by = None;
        }
        self.accounts.leave_by.is_some()
    }

    /// The account that a call from this address is one of.
    pub(crate) fn account_of(&self, from: &Uri) -> Option<&Account> {
        if self.accounts.is_empty() {
            return None;
        }
        let key = ringback_registrar::address_of_record(from)?;
        self.best_flow(*self.accounts.by_aor.get(&key)?)
    }

    /// Has a request outside of calls go as a call from the same address would: by the account's proxy, connection and credentials.
    pub(crate) fn as_account(&self, request: &mut Request) {
        let Some(account) = self.account_of(&request.from.uri) else { return };
        if let Some(route) = account.route() {
            request.headers.insert(0, ("Route".to_owned(), route));
        }
        request.flow = account.flow;
        request.credentials.clone_from(&account.config.credentials);
        if request.contact {
            request.contact_form = Some(account.contact(is_private(&request.headers)));
        }
    }

    // ---- NATs

    /// RFC 3581 §4: where a registrar that we have reached over UDP sees us. True: what our Contact has to say to it has changed.
    fn learn_address(&mut self, answer: &Answer) -> bool {
        if answer.flow.transport != Transport::Udp || self.config.public_address.is_some() {
            return false;
        }
        let Ok(via) = answer.response.top_via() else { return false };
        let ip = via.received_ip().or_else(|| via.host.ip());
        let (Some(ip), Some(port)) = (ip, via.rport().flatten().filter(|port| *port != 0)) else { return false };
        let Flow { local, remote, .. } = answer.flow;
        if ip.is_ipv4() != local.is_ipv4() || ip.is_unspecified() {
            return false;
        }
        self.routes.seen().learn(local, remote, SocketAddr::new(ip, port))
    }

    /// A registration names an address that its registrar does not see: once more, with the right one. Not more than once, whatever the
    /// registrar says then; the next refresh may try again.
    fn account_corrected(&mut self, now: Now, id: u64, seconds: u64) {
        let Some(account) = self.accounts.table.get_mut(&id) else { return };
        let again = !std::mem::replace(&mut account.corrected, true);
        self.account_granted(now, id, seconds);
        let Some(account) = self.accounts.table.get_mut(&id) else { return };
        if again && account.move_contact() {
            account.corrected = true;
            self.send_register(now, id);
        }
    }

    /// What Contact says to the registrars that are reached over UDP.
    pub(crate) fn contacts(&self) -> Vec<(u64, Option<SocketAddr>)> {
        let of = |(id, account): (&u64, &Account)| {
            let path = account.path.filter(|path| path.transport == Transport::Udp)?;
            Some((*id, self.routes.public_address(path.local, path.remote)))
        };
        self.accounts.table.iter().filter_map(of).collect()
    }

    /// Our address is another one; those registrars are told that had been told something else.
    pub(crate) fn contacts_moved(&mut self, now: Now, before: &[(u64, Option<SocketAddr>)]) {
        let now_said = self.contacts();
        for (id, _) in now_said.iter().filter(|said| !before.contains(said)) {
            let Some(account) = self.accounts.table.get_mut(id) else { continue };
            // One that is being refreshed says it next time.
            if account.request.is_none() && account.move_contact() {
                self.send_register(now, *id);
            }
        }
    }

    /// Those that have waited for our address.
    pub(crate) fn register_waiting(&mut self, now: Now) {
        let waiting: Vec<u64> =
            self.accounts.table.iter().filter(|(_, account)| account.is_new()).map(|(id, _)| *id).collect();
        for id in waiting {
            self.accounts.arm(id, Some(now.mono));
        }
    }

    /// 0 to 1.
    pub(crate) fn random(&mut self) -> f64 {
        f64::from(self.rng.next_u32()) / f64::from(u32::MAX)
    }
}
