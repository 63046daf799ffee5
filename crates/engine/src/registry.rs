//! The registrar at work: REGISTER requests, look-ups and the store (RFC 3261 §10). What a request changes, and how it is answered, is
//! `ringback-registrar`'s; here it is about the order of things.
//!
//! Invariant: work for one address is done one after the other. An address is in `Registry::busy` exactly as long as the store has something to
//! do for it, and what comes meanwhile waits there. A REGISTER is answered with 200 when what it changes is durable, and the engine's own
//! table changes then, never before; where the store fails nothing has changed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use rand_core::RngCore as _;
use ringback_media_api::Token;
use ringback_registrar::{GruuKey, Plan, Record, Refusal, Registrar, Write};
use ringback_sip::{HeaderName, Message, StatusCode, Uri};
use ringback_time::{Mono, Now};
use ringback_ua::{ConnectionId, Flow, Reply as Response, RequestKey};

use crate::api::{Error, RegistrarConfig, Reply, StoreKind, StoreRequest, StoreWork};
use crate::commands::Answer;
use crate::engine::{Engine, Output};
use crate::incoming::unavailable;
use crate::limits;
use crate::outgoing::parse_address;
use crate::table::Key;

/// Work for one address.
#[derive(Debug)]
enum Job {
    Register {
        key: RequestKey,
        request: Box<Message>,
        flow: Flow,
    },
    Lookup(Token),
    Unbind(Token),
    /// A call that waits to know whom it rings.
    Call(Key),
}

impl Job {
    /// A connection is gone.
    fn forget(&mut self, connection: ConnectionId) {
        if let Job::Register { flow, .. } = self
            && flow.connection == Some(connection)
        {
            flow.connection = None;
        }
    }
}

/// What the store is at.
#[derive(Debug)]
enum Asked {
    Find(Job),
    Write(Job, Box<Plan>),
    Remove(Job, Write),
    /// Bindings that have ended: whatever comes of it, they are not there any more.
    Forget,
}

#[derive(Debug)]
pub(crate) struct Registry {
    /// Shared with `ua`, which asks for whom a GRUU leads to (`SharedRoutes::home`).
    pub(crate) registrar: Arc<Mutex<Registrar>>,
    pub(crate) store: StoreKind,
    last: u64,
    asked: HashMap<u64, (String, Asked), foldhash::fast::RandomState>,
    busy: HashMap<String, Lane, foldhash::quality::RandomState>,
}

/// One address that the store is at work for.
#[derive(Debug, Default)]
struct Lane {
    asked: bool,
    waiting: VecDeque<Job>,
}

impl Registry {
    /// `random`: where no key is given.
    pub(crate) fn new(config: &RegistrarConfig, random: [u8; 32]) -> Registry {
        let own = ringback_registrar::Config {
            domains: config.domains.clone(),
            min_expires: config.min_expires,
            max_expires: config.max_expires,
            max_contacts: config.max_contacts,
            gruu_key: config.gruu_key.clone().unwrap_or(GruuKey(random)),
            ..ringback_registrar::Config::default()
        };
        Registry {
            registrar: Arc::new(Mutex::new(Registrar::new(own))),
            store: config.store,
            last: 0,
            asked: HashMap::default(),
            busy: HashMap::default(),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Mono> {
        self.registrar.lock().poll_timeout()
    }

    fn ask(&mut self, aor: &str, asked: Asked, work: StoreWork) -> Output {
        self.last += 1;
        self.asked.insert(self.last, (aor.to_owned(), asked));
        self.busy.entry(aor.to_owned()).or_default().asked = true;
        Output::Store(StoreRequest { id: self.last, work })
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.busy.is_empty()
    }
}

impl Engine {
    /// A binding that a store kept, before the first input.
    pub fn restore(&mut self, now: Now, record: &Record) {
        if let Some(registry) = &mut self.registry {
            registry.registrar.lock().restore(now, record);
        }
    }

    /// The key of temporary GRUUs that a store kept.
    pub fn set_gruu_key(&mut self, key: GruuKey) {
        if let Some(registry) = &mut self.registry {
            registry.registrar.lock().set_gruu_key(key);
        }
    }

    /// What is bound in memory alone, for `restore` of the engine that comes after this one: its connections are gone then.
    pub fn bindings(&self, now: Now) -> Vec<Record> {
        let in_memory = self.registry.as_ref().filter(|registry| registry.store == StoreKind::Memory);
        in_memory.map(|registry| registry.registrar.lock().records(now)).unwrap_or_default()
    }

    /// `Event::OutOfDialog` with a REGISTER.
    pub(crate) fn registered(&mut self, now: Now, key: RequestKey, request: Message, flow: Flow) {
        if self.stop.is_stopping() {
            return self.ua.answer_request(now, key, unavailable());
        }
        let Some(registry) = &self.registry else {
            return self.ua.answer_request(now, key, Response::new(StatusCode::NOT_IMPLEMENTED));
        };
        let aor = registry.registrar.lock().key_of(&request);
        match aor {
            Some(aor) => self.work(now, aor, Job::Register { key, request: Box::new(request), flow }),
            None => {
                // Whatever else is wrong with it, it is not for an address of ours.
                let refusal = registry.registrar.lock().plan(now, &request, &flow).err();
                self.refuse_register(now, key, refusal);
            }
        }
    }

    /// Begins a piece of work, or lets it wait for those before it.
    fn work(&mut self, now: Now, aor: String, job: Job) {
        let Some(registry) = &mut self.registry else { return };
        if let Some(lane) = registry.busy.get_mut(&aor) {
            if lane.waiting.len() < limits::ADDRESS_JOBS_MOST {
                lane.waiting.push_back(job);
            } else {
                self.overloaded(now, job);
            }
            return;
        }
        if registry.busy.len() >= limits::STORE_WORK_MOST {
            return self.overloaded(now, job);
        }
        self.begin(now, &aor, job);
    }

    fn begin(&mut self, now: Now, aor: &str, job: Job) {
        let Some(registry) = &mut self.registry else { return };
        if registry.store == StoreKind::Shared {
            let output = registry.ask(aor, Asked::Find(job), StoreWork::Find { aor: aor.to_owned() });
            self.output.push_back(output);
        } else {
            self.carry_out_job(now, aor, job);
        }
    }

    /// The table is up to date: does what was asked, as far as that goes without the store.
    fn carry_out_job(&mut self, now: Now, aor: &str, job: Job) {
        let Some(registry) = &mut self.registry else { return };
        match job {
            Job::Register { key, ref request, flow } => {
                let planned = registry.registrar.lock().plan(now, request, &flow);
                match planned {
                    Err(refusal) => self.refuse_register(now, key, Some(refusal)),
                    Ok(plan) if plan.write.is_empty() => self.confirm(now, key, &plan),
                    Ok(plan) if registry.store == StoreKind::Memory => {
                        registry.registrar.lock().commit(now, &plan.write);
                        self.confirm(now, key, &plan);
                    }
                    Ok(plan) => {
                        let work = StoreWork::Write(plan.write.clone());
                        let output = registry.ask(aor, Asked::Write(job, Box::new(plan)), work);
                        self.output.push_back(output);
                    }
                }
            }
            Job::Lookup(token) => {
                let found = registry.registrar.lock().lookup(now, aor);
                self.complete(token, Ok(Reply::Bindings(found)));
            }
            Job::Unbind(token) => {
                let write = registry.registrar.lock().removal(aor);
                // What a shared store has beside ours goes too.
                if registry.store == StoreKind::Memory || write.is_empty() {
                    registry.registrar.lock().commit(now, &write);
                    self.complete(token, Ok(Reply::Unit));
                    return;
                }
                let work = StoreWork::Write(write.clone());
                let output = registry.ask(aor, Asked::Remove(job, write), work);
                self.output.push_back(output);
            }
            Job::Call(key) => self.found_contacts(now, key),
        }
    }

    /// The store has answered.
    pub(crate) fn stored(&mut self, now: Now, id: u64, result: Result<Vec<Record>, String>) {
        let Some(registry) = &mut self.registry else { return };
        let Some((aor, asked)) = registry.asked.remove(&id) else { return };
        if let Some(lane) = registry.busy.get_mut(&aor) {
            lane.asked = false;
        }
        match (asked, result) {
            (Asked::Find(job), Ok(records)) => {
                registry.registrar.lock().adopt(now, &aor, &records);
                self.carry_out_job(now, &aor, job);
            }
            (Asked::Write(Job::Register { key, .. }, plan), Ok(_)) => {
                registry.registrar.lock().commit(now, &plan.write);
                self.confirm(now, key, &plan);
            }
            (Asked::Remove(Job::Unbind(token), write), Ok(_)) => {
                registry.registrar.lock().commit(now, &write);
                self.complete(token, Ok(Reply::Unit));
            }
            (Asked::Write(..) | Asked::Remove(..) | Asked::Forget, Ok(_)) => {}
            (Asked::Forget, Err(why)) => {
                tracing::warn!(target: "ringback.registrar", "the binding store keeps what has ended for {aor}: {why}");
            }
            (Asked::Find(job) | Asked::Write(job, _) | Asked::Remove(job, _), Err(why)) => {
                tracing::error!(target: "ringback.registrar", "the binding store failed for {aor}: {why}");
                self.store_failed(now, job, why);
            }
        }
        self.next_job(now, &aor);
    }

    /// Nobody is at work for the address any more, unless what was done goes on with the store.
    fn next_job(&mut self, now: Now, aor: &str) {
        loop {
            let Some(registry) = &mut self.registry else { return };
            let Some(lane) = registry.busy.get_mut(aor).filter(|lane| !lane.asked) else { return };
            match lane.waiting.pop_front() {
                Some(job) => self.begin(now, aor, job),
                None => {
                    registry.busy.remove(aor);
                    return;
                }
            }
        }
    }

    fn store_failed(&mut self, now: Now, job: Job, why: String) {
        match job {
            Job::Register { key, .. } => self.ua.answer_request(now, key, unavailable()),
            Job::Lookup(token) | Job::Unbind(token) => self.complete(token, Err(Error::Store(why))),
            // What is known here is better than nothing.
            Job::Call(key) => self.found_contacts(now, key),
        }
    }

    fn overloaded(&mut self, now: Now, job: Job) {
        match job {
            Job::Register { key, .. } => self.ua.answer_request(now, key, unavailable()),
            Job::Lookup(token) | Job::Unbind(token) => {
                let why = "Too much is waiting for the binding store";
                self.complete(token, Err(Error::ResourceExhausted(why)));
            }
            Job::Call(key) => self.found_contacts(now, key),
        }
    }

    fn confirm(&mut self, now: Now, key: RequestKey, plan: &Plan) {
        let Some(registry) = &self.registry else { return };
        let rng = &mut self.rng;
        let random = || {
            let mut nonce = [0; 12];
            rng.fill_bytes(&mut nonce);
            nonce
        };
        let mut headers = registry.registrar.lock().reply(now, plan, random);
        // RFC 3261 §10.3, 8: so that who has no clock learns the time.
        headers.push((HeaderName::Date.as_str().to_owned(), date(now)));
        self.ua.answer_request(now, key, Response { headers, ..Response::new(StatusCode::OK) });
    }

    fn refuse_register(&mut self, now: Now, key: RequestKey, refusal: Option<Refusal>) {
        let Some(Refusal { status, reason, mut headers }) = refusal else {
            return self.ua.answer_request(now, key, Response::new(StatusCode::NOT_FOUND));
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.extend(unavailable().headers);
        }
        let reason = reason.map(str::to_owned);
        self.ua.answer_request(now, key, Response { reason, headers, ..Response::new(status) });
    }

    /// `Command::Lookup`.
    pub(crate) fn look_up(&mut self, now: Now, token: Token, aor: &str) -> Answer {
        let aor = self.own_aor(aor)?;
        self.work(now, aor, Job::Lookup(token));
        Ok(None)
    }

    /// `Command::Unbind`.
    pub(crate) fn unbind(&mut self, now: Now, token: Token, aor: &str) -> Answer {
        let aor = self.own_aor(aor)?;
        self.work(now, aor, Job::Unbind(token));
        Ok(None)
    }

    fn own_aor(&self, text: &str) -> Result<String, Error> {
        let Some(registry) = &self.registry else { return Err(Error::BadValue("there is no registrar".into())) };
        let uri = parse_address(text)?.uri;
        let why = "not an address of record of this registrar";
        registry.registrar.lock().key(&uri).ok_or_else(|| Error::InvalidUri { uri: text.to_owned(), why: why.into() })
    }

    /// Bindings have ended; a store may forget them.
    pub(crate) fn bindings_ended(&mut self, now: Now) {
        let Some(registry) = &mut self.registry else { return };
        let ended = registry.registrar.lock().handle_timeout(now);
        if registry.store == StoreKind::Memory {
            return;
        }
        for write in ended {
            // One that is being registered anew is not to be deleted behind that; a row whose time is over does no harm.
            if !registry.busy.contains_key(&write.aor) && registry.busy.len() < limits::STORE_WORK_MOST {
                let aor = write.aor.clone();
                let output = registry.ask(&aor, Asked::Forget, StoreWork::Write(write));
                self.output.push_back(output);
            }
        }
    }

    pub(crate) fn registry_closed(&mut self, connection: ConnectionId) {
        let Some(registry) = &mut self.registry else { return };
        registry.registrar.lock().handle_closed(connection);
        // What is about to be bound to it, too.
        for (_, asked) in registry.asked.values_mut() {
            match asked {
                Asked::Find(job) => job.forget(connection),
                Asked::Write(_, plan) => {
                    let sources = plan.write.saved.iter_mut().map(|record| &mut record.source.connection);
                    sources.filter(|known| **known == Some(connection)).for_each(|known| *known = None);
                }
                Asked::Remove(..) | Asked::Forget => {}
            }
        }
        let waiting = registry.busy.values_mut().flat_map(|lane| &mut lane.waiting);
        waiting.for_each(|job| job.forget(connection));
    }

    /// The address of record that a call goes to, where it is one of ours: by its domain, and without a port or with the one we listen on.
    pub(crate) fn own_address_of_record(&mut self, uri: &Uri) -> Option<String> {
        let aor = self.registry.as_ref()?.registrar.lock().key(uri)?;
        let here = match uri.port() {
            None => true,
            Some(port) => self.own_address(uri).is_some_and(|own| own.port() == port),
        };
        here.then_some(aor)
    }

    /// Whether others write the store too, so that it has to be asked before each call.
    pub(crate) fn shares_store(&self) -> bool {
        self.registry.as_ref().is_some_and(|registry| registry.store == StoreKind::Shared)
    }

    /// `found_contacts` follows, whatever the store says.
    pub(crate) fn ask_for_contacts(&mut self, now: Now, key: Key, aor: String) {
        self.work(now, aor, Job::Call(key));
    }
}

/// RFC 3261 §20.17, as RFC 1123 has it.
fn date(now: Now) -> String {
    let seconds = now.wall.unix_nanos() / 1_000_000_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days as i64);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(days % 7) as usize];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.get(month as usize - 1).copied().unwrap_or("Jan");
    format!("{weekday}, {day:02} {month} {year} {:02}:{:02}:{:02} GMT", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a number of days since 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringback_time::Wall;

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_700_000_000, "Tue, 14 Nov 2023 22:13:20 GMT"),
        ] {
            let now = Now { wall: Wall::from_unix_nanos(seconds * 1_000_000_000), ..Now::default() };
            assert_eq!(date(now), expected);
        }
    }
}
