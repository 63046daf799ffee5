//! One binding: as the registrar keeps it, in few bytes, and as the rooms above and the stores see it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ringback_sip::{Params, Uri};
use ringback_time::{Mono, Now, Wall};
use ringback_ua::{ConnectionId, Flow, Transport};

/// Where a REGISTER came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    pub transport: Transport,
    pub remote: SocketAddr,
    /// `None`: a datagram, or the connection is closed.
    pub connection: Option<ConnectionId>,
    /// Of a datagram, where that is known: the address of ours that it came to.
    pub local: Option<SocketAddr>,
}

impl Source {
    pub(crate) fn of(flow: &Flow) -> Source {
        let local = Some(flow.local).filter(|_| !flow.transport.is_reliable());
        Source { transport: flow.transport, remote: flow.remote, connection: flow.connection, local }
    }

    /// The way back.
    pub fn flow(&self) -> Flow {
        let local = self.local.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
        Flow { transport: self.transport, local, remote: self.remote, connection: self.connection }
    }
}

/// What tells a binding from the others of its address: where it is a flow, instance and reg-id (RFC 5626 §6), whatever its URI is by now, and
/// else the URI (RFC 3261 §10.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BindingKey {
    pub contact: String,
    pub flow: Option<(String, u32)>,
}

impl BindingKey {
    pub fn is_same(&self, other: &BindingKey) -> bool {
        match (&self.flow, &other.flow) {
            (Some(flow), Some(other)) => flow == other,
            (None, None) => self.contact == other.contact,
            _ => false,
        }
    }

    /// One text for it. That of a flow begins with a digit, as no URI does.
    pub fn text(&self) -> String {
        match &self.flow {
            Some((instance, reg_id)) => format!("{reg_id} {instance}"),
            None => self.contact.clone(),
        }
    }
}

/// A binding with all that a store has to keep of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// As `address_of_record` writes it.
    pub aor: String,
    /// The URI, without the parameters of the header field.
    pub contact: String,
    pub expires: Wall,
    /// Thousandths: RFC 3261 §20.10.
    pub q: u16,
    pub call_id: String,
    pub cseq: u32,
    pub user_agent: Option<String>,
    /// RFC 3327: the values of Path in their order, comma-separated; empty: none.
    pub path: String,
    /// RFC 5626 §4.1: the URN, without quotes and angle brackets.
    pub instance: Option<String>,
    /// RFC 5626 §4.2. Then the binding is one flow, and reached by nothing else.
    pub reg_id: Option<u32>,
    pub source: Source,
    /// The contact's own address is not where its packets come from (RFC 3581): it is reached at `source`.
    pub natted: bool,
}

impl Record {
    pub fn key(&self) -> BindingKey {
        let flow = self.instance.as_ref().zip(self.reg_id).map(|(instance, reg_id)| (instance.clone(), reg_id));
        BindingKey { contact: self.contact.clone(), flow }
    }

    /// RFC 5626 §5.3, RFC 3581: the way that leads to the contact where its URI does not. `None`: the URI, behind its Path, does.
    pub fn flow(&self) -> Option<Flow> {
        // A Path names the proxy that knows the way.
        if !self.path.is_empty() {
            return None;
        }
        let by_stream = self.source.transport.is_reliable();
        if by_stream {
            // The connection is the best way as long as it is there.
            return self.source.connection.map(|_| self.source.flow());
        }
        (self.reg_id.is_some() || self.natted).then(|| self.source.flow())
    }

    /// RFC 5626 §5.3: a flow over a connection that is gone leads nowhere.
    pub fn is_reachable(&self) -> bool {
        let bound = self.reg_id.is_some() && self.path.is_empty();
        !(bound && self.source.transport.is_reliable() && self.source.connection.is_none())
    }

    /// RFC 3261 §10.3, 8: the value in the Contact of a 200, with the seconds that are left.
    pub(crate) fn listed(&self, now: Now) -> String {
        let left = self.expires.unix_nanos().saturating_sub(now.wall.unix_nanos());
        // A binding that lives for part of a second still lives.
        let seconds = left.div_ceil(1_000_000_000);
        let mut text = format!("<{}>;expires={seconds}", self.contact);
        if self.q != Q_MOST {
            text.push_str(&format!(";q={}.{:03}", self.q / 1000, self.q % 1000));
        }
        if let Some(instance) = &self.instance {
            let mut params = Params::default();
            if params.set("+sip.instance", Some(&format!("<{instance}>"))) {
                text.push_str(params.as_str());
            }
        }
        if let Some(reg_id) = self.reg_id {
            text.push_str(&format!(";reg-id={reg_id}"));
        }
        text
    }

    /// RFC 5627 §4.2, §5.2: the address of record with its instance, which leads to this one wherever it is.
    pub(crate) fn public_gruu(&self) -> Option<Uri> {
        let instance = self.instance.as_deref()?;
        Uri::parse(&self.aor).ok().map(|aor| aor.with_param("gr", Some(instance)))
    }

    pub(crate) fn uri(&self) -> Option<Uri> {
        Uri::parse(&self.contact).ok()
    }
}

/// q=1, which is also what a contact without q has.
pub(crate) const Q_MOST: u16 = 1000;

/// As it is kept: the texts in one piece, numbers beside them.
#[derive(Debug)]
pub(crate) struct Binding {
    /// Contact, Call-ID, User-Agent, Path, instance.
    text: Box<str>,
    ends: [u16; 4],
    cseq: u32,
    /// 0: none (RFC 5626 §4.2 begins at 1).
    reg_id: u32,
    q: u16,
    natted: bool,
    transport: Transport,
    remote: SocketAddr,
    local: LocalNumber,
    /// 0: none.
    connection: u64,
    pub(crate) expires: Mono,
}

/// Of an address of `Locals`; 0: of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LocalNumber(u8);

/// Our own addresses that REGISTERs came to. They are few, and a binding has no room for one.
#[derive(Debug, Default)]
pub(crate) struct Locals(Vec<SocketAddr>);

impl Locals {
    /// Of more than there are numbers for, the route says by which one its contacts are reached.
    pub(crate) fn number(&mut self, local: Option<SocketAddr>) -> LocalNumber {
        let Some(local) = local else { return LocalNumber::default() };
        let known = self.0.iter().position(|known| *known == local);
        let place = known.unwrap_or(self.0.len());
        let Ok(number) = u8::try_from(place + 1) else { return LocalNumber::default() };
        if known.is_none() {
            self.0.push(local);
        }
        LocalNumber(number)
    }

    fn get(&self, number: LocalNumber) -> Option<SocketAddr> {
        self.0.get(usize::from(number.0.checked_sub(1)?)).copied()
    }
}

/// Octets of the texts of one binding.
pub(crate) const TEXT_MOST: usize = 16_384;

impl Binding {
    /// `local`: the number of `record.source.local`.
    pub(crate) fn new(now: Now, record: &Record, local: LocalNumber) -> Binding {
        let parts = [
            record.contact.as_str(),
            &record.call_id,
            record.user_agent.as_deref().unwrap_or_default(),
            &record.path,
            record.instance.as_deref().unwrap_or_default(),
        ];
        let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        let mut ends = [0; 4];
        for (index, part) in parts.into_iter().enumerate() {
            text.push_str(part);
            if let Some(end) = ends.get_mut(index) {
                *end = u16::try_from(text.len()).unwrap_or(u16::MAX);
            }
        }
        let left = record.expires.unix_nanos().saturating_sub(now.wall.unix_nanos());
        Binding {
            text: text.into(),
            ends,
            cseq: record.cseq,
            reg_id: record.reg_id.unwrap_or_default(),
            q: record.q,
            natted: record.natted,
            transport: record.source.transport,
            remote: record.source.remote,
            local,
            connection: record.source.connection.map_or(0, |connection| connection.0.wrapping_add(1)),
            expires: now.mono + Duration::from_nanos(left),
        }
    }

    fn part(&self, index: usize) -> &str {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        let end = self.ends.get(index).map_or(self.text.len(), |end| usize::from(*end));
        self.text.get(usize::from(start)..end).unwrap_or_default()
    }

    pub(crate) fn contact(&self) -> &str {
        self.part(0)
    }

    pub(crate) fn call_id(&self) -> &str {
        self.part(1)
    }

    pub(crate) fn cseq(&self) -> u32 {
        self.cseq
    }

    pub(crate) fn instance(&self) -> &str {
        self.part(4)
    }

    pub(crate) fn reg_id(&self) -> Option<u32> {
        Some(self.reg_id).filter(|reg_id| *reg_id != 0)
    }

    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.connection.checked_sub(1).map(ConnectionId)
    }

    pub(crate) fn forget_connection(&mut self) {
        self.connection = 0;
    }

    pub(crate) fn is_of(&self, contact: &str, uri: &Uri) -> bool {
        self.contact() == contact || Uri::parse(self.contact()).is_ok_and(|own| own.equals(uri))
    }

    pub(crate) fn key(&self) -> BindingKey {
        let flow = self.flow_key().map(|(instance, reg_id)| (instance.to_owned(), reg_id));
        BindingKey { contact: self.contact().to_owned(), flow }
    }

    /// Instance and reg-id of a flow.
    pub(crate) fn flow_key(&self) -> Option<(&str, u32)> {
        self.reg_id().map(|reg_id| (self.instance(), reg_id)).filter(|(instance, _)| !instance.is_empty())
    }

    pub(crate) fn is(&self, key: &BindingKey) -> bool {
        match (self.flow_key(), &key.flow) {
            (Some(own), Some((instance, reg_id))) => own == (instance.as_str(), *reg_id),
            (None, None) => self.contact() == key.contact,
            _ => false,
        }
    }

    pub(crate) fn record(&self, now: Now, aor: &str, locals: &Locals) -> Record {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Record {
            aor: aor.to_owned(),
            contact: self.contact().to_owned(),
            expires: (now + self.expires.since(now.mono)).wall,
            q: self.q,
            call_id: self.call_id().to_owned(),
            cseq: self.cseq,
            user_agent: some(self.part(2)),
            path: self.part(3).to_owned(),
            instance: some(self.instance()),
            reg_id: self.reg_id(),
            source: Source {
                transport: self.transport,
                remote: self.remote,
                connection: self.connection(),
                local: locals.get(self.local),
            },
            natted: self.natted,
        }
    }

    /// Bytes, for figures.
    pub(crate) fn heap(&self) -> usize {
        self.text.len()
    }
}
