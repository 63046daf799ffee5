//! The table of addresses and their bindings.

use std::collections::HashMap;
use std::sync::Arc;

use ringback_sip::{HeaderName, Message, StatusCode, Uri};
use ringback_time::{Mono, Now};
use ringback_ua::{ConnectionId, Flow};
use slab::Slab;

use crate::aor::{address_of_record, same_host};
use crate::binding::{Binding, BindingKey, Locals, Record, Source};
use crate::config::Config;
use crate::expiry::{Expiry, Slot};
use crate::gruu::{GruuKey, Mint, is_temporary};
use crate::plan::{Plan, Refusal, Write};
use crate::request::{Asked, Contacts, Wanted, read};

/// One address of record with at least one binding.
#[derive(Debug)]
struct Address {
    aor: Arc<str>,
    bindings: Vec<Binding>,
    /// When its entry in the expiry queue comes up.
    queued: Mono,
    generation: u32,
}

/// The bindings of one registrar. See the crate's documentation.
#[derive(Debug)]
pub struct Registrar {
    config: Config,
    mint: Mint,
    by_aor: HashMap<Arc<str>, u32, foldhash::quality::RandomState>,
    addresses: Slab<Address>,
    /// Addresses that have a binding by that connection.
    by_connection: HashMap<ConnectionId, Vec<u32>, foldhash::fast::RandomState>,
    expiry: Expiry,
    locals: Locals,
    bindings: usize,
    generation: u32,
}

impl Registrar {
    pub fn new(config: Config) -> Registrar {
        Registrar {
            mint: Mint::new(&config.gruu_key),
            config,
            by_aor: HashMap::default(),
            addresses: Slab::new(),
            by_connection: HashMap::default(),
            expiry: Expiry::default(),
            locals: Locals::default(),
            bindings: 0,
            generation: 0,
        }
    }

    /// Bindings in all.
    pub fn len(&self) -> usize {
        self.bindings
    }

    pub fn is_empty(&self) -> bool {
        self.bindings == 0
    }

    /// Whether the host of a URI is one that addresses of record have here.
    pub fn serves(&self, uri: &Uri) -> bool {
        same_host(uri, &self.config.domains)
    }

    /// Those that were sealed with another one lead nowhere from now on.
    pub fn set_gruu_key(&mut self, key: GruuKey) {
        self.mint = Mint::new(&key);
        self.config.gruu_key = key;
    }

    /// The key of an address of record that is kept here; that of a temporary GRUU is its owner's.
    pub fn key(&self, uri: &Uri) -> Option<String> {
        if !self.serves(uri) {
            return None;
        }
        self.mint.open(uri).map(|meant| meant.aor).or_else(|| address_of_record(uri))
    }

    /// The key of the address that a REGISTER is about, without checking the rest.
    pub fn key_of(&self, request: &Message) -> Option<String> {
        self.key(&request.to().ok()?.uri)
    }

    // ---- REGISTER

    /// What a REGISTER would change (RFC 3261 §10.3). Changes nothing.
    pub fn plan(&self, now: Now, request: &Message, flow: &Flow) -> Result<Plan, Refusal> {
        let asked = read(&self.config, request, flow)?;
        let bound = self.bound(&asked.aor);
        let mut write = Write { aor: asked.aor.clone(), ..Write::default() };
        match &asked.contacts {
            Contacts::Query => {}
            Contacts::All => {
                for binding in bound {
                    in_order(binding, &asked)?;
                    write.deleted.push(binding.key());
                    write.all = true;
                }
            }
            Contacts::Some(wanted) => self.change(now, flow, &asked, wanted, bound, &mut write)?,
        }
        let Asked { supports_path, supports_gruu, path, outbound, .. } = asked;
        Ok(Plan { write, supports_path, supports_gruu, path, outbound })
    }

    fn change(
        &self,
        now: Now,
        flow: &Flow,
        asked: &Asked,
        wanted: &[Wanted],
        bound: &[Binding],
        write: &mut Write,
    ) -> Result<(), Refusal> {
        for one in wanted {
            let key = one.key();
            for binding in bound.iter().filter(|binding| one.replaces(binding)) {
                in_order(binding, asked)?;
                let replaced = one.expires.is_zero() || binding.contact() != one.contact || !binding.is(&key);
                if replaced && !write.deleted.iter().any(|gone| binding.is(gone)) {
                    write.deleted.push(binding.key());
                }
            }
            // The same contact twice in one request, in whatever spelling: the later counts.
            write.saved.retain(|saved: &Record| !one.is_same(saved));
            if one.expires.is_zero() {
                continue;
            }
            write.saved.push(Record {
                aor: asked.aor.clone(),
                contact: one.contact.clone(),
                expires: (now + one.expires).wall,
                q: one.q,
                call_id: asked.call_id.clone(),
                cseq: asked.cseq,
                user_agent: asked.user_agent.clone(),
                path: asked.path.clone(),
                instance: one.instance.clone(),
                reg_id: one.reg_id,
                source: Source::of(flow),
                natted: one.natted,
            });
        }
        let stays = |binding: &&Binding| {
            !write.deleted.iter().any(|gone| binding.is(gone))
                && !write.saved.iter().any(|saved| binding.is(&saved.key()))
        };
        let kept = bound.iter().filter(stays).count();
        let after = kept + write.saved.len();
        if after > self.config.max_contacts && after > bound.len() {
            return Err(Refusal::with_reason(StatusCode::FORBIDDEN, "Too Many Contacts"));
        }
        if after > bound.len() && self.bindings + (after - bound.len()) > self.config.max_bindings {
            return Err(Refusal::with_reason(StatusCode::SERVICE_UNAVAILABLE, "Too Many Bindings"));
        }
        Ok(())
    }

    /// Carries out what `plan` gave.
    pub fn commit(&mut self, now: Now, write: &Write) {
        if write.all {
            self.unbind(&write.aor, |_| true);
        }
        for gone in &write.deleted {
            self.unbind(&write.aor, |binding| binding.is(gone));
        }
        for record in &write.saved {
            self.bind(now, record);
        }
    }

    /// The header lines of the 200 to a REGISTER that was carried out (RFC 3261 §10.3, 8). `random` is asked for each GRUU that is new.
    pub fn reply(&self, now: Now, plan: &Plan, mut random: impl FnMut() -> [u8; 12]) -> Vec<(String, String)> {
        let line = |name: HeaderName, value: String| (name.as_str().to_owned(), value);
        let mut headers: Vec<(String, String)> = Vec::new();
        for record in self.lookup(now, &plan.write.aor) {
            let mut listed = record.listed(now);
            // RFC 5627 §5.2.
            if let Some(gruu) = record.public_gruu().filter(|_| plan.supports_gruu) {
                listed.push_str(&format!(";pub-gruu=\"{gruu}\""));
                let instance = record.instance.as_deref().unwrap_or_default();
                if let Some(gruu) = self.mint.mint(&record.aor, instance, &record.call_id, random()) {
                    listed.push_str(&format!(";temp-gruu=\"{gruu}\""));
                }
            }
            headers.push(line(HeaderName::Contact, listed));
        }
        if plan.supports_path && !plan.path.is_empty() {
            // RFC 3327 §5.3.
            headers.push(line(HeaderName::Path, plan.path.clone()));
        }
        if plan.outbound {
            // RFC 5626 §6.
            headers.push(line(HeaderName::Require, "outbound".into()));
        }
        headers.push(line(HeaderName::Supported, "path, outbound, gruu".into()));
        headers
    }

    // ---- the table

    /// Contacts of an address, best first: by q, and of the same q the latest registered.
    pub fn lookup(&self, now: Now, aor: &str) -> Vec<Record> {
        let alive = self.bound(aor).iter().filter(|binding| binding.expires > now.mono);
        let mut records: Vec<Record> = alive.map(|binding| binding.record(now, aor, &self.locals)).collect();
        records.reverse();
        records.sort_by_key(|record| std::cmp::Reverse(record.q));
        records
    }

    /// The contacts that a URI is for: those of its address of record or, where it is a GRUU, those of its instance alone (RFC 5627 §5.4).
    pub fn targets(&self, now: Now, aor: &str, uri: &Uri) -> Vec<Record> {
        let mut records = self.lookup(now, aor);
        if is_temporary(uri) {
            // RFC 5627 §5.4: good as long as the instance is registered with the Call-ID of then; by which of its flows does not matter.
            let Some(meant) = self.mint.open(uri).filter(|meant| meant.aor == aor) else { return Vec::new() };
            records.retain(|record| {
                record.instance.as_deref().is_some_and(|instance| self.mint.is_instance(&meant, instance))
            });
            if !records.iter().any(|record| self.mint.is_call_id(&meant, &record.call_id)) {
                records.clear();
            }
            return records;
        }
        if let Some(instance) = uri.param_unescaped("gr") {
            let same = |known: &String| known.eq_ignore_ascii_case(&instance);
            records.retain(|record| record.instance.as_ref().is_some_and(same));
        }
        records
    }

    /// The binding by which the instance of a GRUU is reached at present: of its flows that stand, the latest registered.
    pub fn home(&self, gruu: &Uri) -> Option<Record> {
        gruu.param("gr")?;
        let aor = self.key(gruu)?;
        // Those whose time is over are gone, to within what the queue is behind.
        self.targets(Now::default(), &aor, gruu).into_iter().find(Record::is_reachable)
    }

    /// All that is bound, for the one who goes on with it after connections have ended (`restore`). Of one address in the order in which they
    /// were registered.
    pub fn records(&self, now: Now) -> Vec<Record> {
        let of_address = |(_, address): (usize, &Address)| {
            let alive = address.bindings.iter().filter(|binding| binding.expires > now.mono);
            let record = |binding: &Binding| {
                let mut record = binding.record(now, &address.aor, &self.locals);
                record.source.connection = None;
                record
            };
            alive.map(record).collect::<Vec<_>>()
        };
        self.addresses.iter().flat_map(of_address).collect()
    }

    pub fn knows(&self, aor: &str) -> bool {
        !self.bound(aor).is_empty()
    }

    /// What removing all bindings of an address takes; nothing has changed yet.
    pub fn removal(&self, aor: &str) -> Write {
        let deleted = self.bound(aor).iter().map(Binding::key).collect();
        Write { aor: aor.to_owned(), all: true, deleted, saved: Vec::new() }
    }

    /// What a store kept. One whose time is over is left out.
    pub fn restore(&mut self, now: Now, record: &Record) {
        if record.expires > now.wall && self.bindings < self.config.max_bindings {
            self.bind(now, record);
        }
    }

    /// What a shared store says about an address now. Of bindings that are known here, what it does not keep (Call-ID, flow, q) stays.
    pub fn adopt(&mut self, now: Now, aor: &str, records: &[Record]) {
        let bound = self.bound(aor);
        let mut merged: Vec<(usize, Record)> = records
            .iter()
            .map(|record| match self.known(aor, record).and_then(|place| Some((place, bound.get(place)?))) {
                Some((place, own))
                    if record.call_id.is_empty() || own.call_id() == record.call_id && own.cseq() >= record.cseq =>
                {
                    (place, Record { expires: record.expires, ..own.record(now, aor, &self.locals) })
                }
                // It has been registered elsewhere meanwhile.
                _ => (usize::MAX, Record { aor: aor.to_owned(), ..record.clone() }),
            })
            .collect();
        // A store has no order; the latest registered stands last.
        merged.sort_by_key(|(place, record)| (*place, record.expires));
        self.unbind(aor, |binding| !merged.iter().any(|(_, record)| binding.is(&record.key())));
        for (_, record) in &merged {
            self.restore(now, record);
        }
    }

    /// The binding here that a shared store's record is about.
    fn known(&self, aor: &str, record: &Record) -> Option<usize> {
        let (bound, key) = (self.bound(aor), record.key());
        let same = bound.iter().position(|binding| binding.is(&key));
        // A store that keeps the URI alone does not know that it is a flow.
        let bare = record.call_id.is_empty() && record.instance.is_none();
        same.or_else(|| bound.iter().rposition(|binding| bare && binding.contact() == record.contact))
    }

    fn bound(&self, aor: &str) -> &[Binding] {
        let address = self.by_aor.get(aor).and_then(|index| self.addresses.get(*index as usize));
        address.map_or(&[], |address| &address.bindings)
    }

    fn bind(&mut self, now: Now, record: &Record) {
        let local = self.locals.number(record.source.local);
        let (binding, key) = (Binding::new(now, record, local), record.key());
        let expires = binding.expires;
        let index = match self.by_aor.get(record.aor.as_str()) {
            Some(index) => *index,
            None => {
                self.generation = self.generation.wrapping_add(1);
                let aor: Arc<str> = record.aor.as_str().into();
                let address = Address {
                    aor: Arc::clone(&aor),
                    bindings: Vec::with_capacity(1),
                    queued: Mono::from_nanos(u64::MAX),
                    generation: self.generation,
                };
                // Bounded by `Config::max_bindings`.
                let index = self.addresses.insert(address) as u32;
                self.by_aor.insert(aor, index);
                index
            }
        };
        self.link(record.source.connection, index);
        let Some(address) = self.addresses.get_mut(index as usize) else { return };
        let before = address.bindings.iter().position(|bound| bound.is(&key));
        let replaced = before.map(|place| address.bindings.remove(place));
        self.bindings += usize::from(replaced.is_none());
        // The latest registered stands last.
        address.bindings.push(binding);
        if expires < address.queued {
            address.queued = expires;
            self.expiry.push(expires, Slot { index, generation: address.generation });
        }
        if let Some(replaced) = replaced {
            self.unlink(replaced.connection(), index);
        }
        self.tidy();
    }

    fn unbind(&mut self, aor: &str, which: impl Fn(&Binding) -> bool) {
        let Some(index) = self.by_aor.get(aor).copied() else { return };
        let Some(address) = self.addresses.get_mut(index as usize) else { return };
        let (out, left): (Vec<Binding>, Vec<Binding>) =
            std::mem::take(&mut address.bindings).into_iter().partition(which);
        address.bindings = left;
        self.bindings -= out.len();
        if address.bindings.is_empty() {
            self.by_aor.remove(aor);
            self.addresses.remove(index as usize);
        }
        for binding in &out {
            self.unlink(binding.connection(), index);
        }
        self.tidy();
    }

    // ---- connections

    fn link(&mut self, connection: Option<ConnectionId>, index: u32) {
        let Some(connection) = connection else { return };
        let users = self.by_connection.entry(connection).or_default();
        if !users.contains(&index) {
            users.push(index);
        }
    }

    /// A binding by that connection has gone; another one of the same address may be left.
    fn unlink(&mut self, connection: Option<ConnectionId>, index: u32) {
        let Some(connection) = connection else { return };
        let left = self
            .addresses
            .get(index as usize)
            .is_some_and(|address| address.bindings.iter().any(|binding| binding.connection() == Some(connection)));
        if left {
            return;
        }
        if let Some(users) = self.by_connection.get_mut(&connection) {
            users.retain(|user| *user != index);
            if users.is_empty() {
                self.by_connection.remove(&connection);
            }
        }
    }

    /// A connection is gone: what was bound to it is reached by its URI, or, where it was a flow, not at all until it registers again.
    pub fn handle_closed(&mut self, connection: ConnectionId) {
        for index in self.by_connection.remove(&connection).unwrap_or_default() {
            let Some(address) = self.addresses.get_mut(index as usize) else { continue };
            for binding in address.bindings.iter_mut().filter(|binding| binding.connection() == Some(connection)) {
                binding.forget_connection();
            }
        }
    }

    // ---- time

    pub fn poll_timeout(&self) -> Option<Mono> {
        self.expiry.next()
    }

    /// Lets go what has ended, and says what: a store need not keep it either.
    pub fn handle_timeout(&mut self, now: Now) -> Vec<Write> {
        let mut ended = Vec::new();
        while let Some((at, slot)) = self.expiry.pop(now.mono) {
            let Some(address) = self.addresses.get_mut(slot.index as usize) else { continue };
            if address.generation != slot.generation || address.queued != at {
                continue;
            }
            let aor = Arc::clone(&address.aor);
            let over = |binding: &Binding| binding.expires <= now.mono;
            let deleted: Vec<BindingKey> =
                address.bindings.iter().filter(|binding| over(binding)).map(Binding::key).collect();
            // The next one to end; the address goes with its last.
            let next = address.bindings.iter().filter(|binding| !over(binding)).map(|binding| binding.expires).min();
            if let Some(next) = next {
                address.queued = next;
                self.expiry.push(next, slot);
            }
            if !deleted.is_empty() {
                self.unbind(&aor, over);
                ended.push(Write { aor: aor.to_string(), all: false, deleted, saved: Vec::new() });
            }
        }
        ended
    }

    fn tidy(&mut self) {
        if self.expiry.len() > 2 * self.addresses.len() + 64 {
            let addresses = &self.addresses;
            self.expiry.retain(|at, slot| {
                let address = addresses.get(slot.index as usize);
                address.is_some_and(|address| address.generation == slot.generation && address.queued == at)
            });
        }
    }

    // ---- figures and checks

    /// Bytes that the table takes, without the allocator's own: for figures.
    pub fn bytes(&self) -> usize {
        let map = self.by_aor.capacity() * (size_of::<(Arc<str>, u32)>() + 1) * 8 / 7;
        let slab = self.addresses.capacity() * (size_of::<Address>() + 8);
        let heap = self.expiry.len() * size_of::<(Mono, Slot)>();
        let each = self.addresses.iter().map(|(_, address)| {
            let texts: usize = address.bindings.iter().map(Binding::heap).sum();
            address.aor.len() + 16 + address.bindings.capacity() * size_of::<Binding>() + texts
        });
        map + slab + heap + each.sum::<usize>()
    }

    /// For tests: the invariants hold.
    #[doc(hidden)]
    #[expect(clippy::panic, reason = "a check for tests")]
    pub fn assert_consistent(&self) {
        let count: usize = self.addresses.iter().map(|(_, address)| address.bindings.len()).sum();
        assert_eq!(count, self.bindings, "bindings are counted");
        assert_eq!(self.by_aor.len(), self.addresses.len());
        for (index, address) in &self.addresses {
            assert_eq!(self.by_aor.get(&address.aor).map(|known| *known as usize), Some(index));
            let Some(first) = address.bindings.iter().map(|binding| binding.expires).min() else {
                panic!("an address without bindings");
            };
            assert!(address.queued <= first, "it would end too late");
            assert!(address.bindings.len() <= self.config.max_contacts.max(1));
            for (place, binding) in address.bindings.iter().enumerate() {
                let twins = address.bindings.iter().skip(place + 1);
                assert!(twins.clone().all(|other| !other.is(&binding.key())), "one binding twice");
                let by = binding.connection();
                assert!(
                    by.is_none_or(|by| self.by_connection.get(&by).is_some_and(|who| who.contains(&(index as u32))))
                );
            }
        }
        assert!(self.expiry.len() <= 2 * self.addresses.len() + 65, "stale entries are bounded");
    }
}

/// RFC 3261 §10.3, 7: within one Call-ID, only what is newer changes a binding.
fn in_order(binding: &Binding, asked: &Asked) -> Result<(), Refusal> {
    if binding.call_id() == asked.call_id && asked.cseq <= binding.cseq() {
        return Err(Refusal::with_reason(StatusCode::SERVER_INTERNAL_ERROR, "CSeq Out Of Order"));
    }
    Ok(())
}
