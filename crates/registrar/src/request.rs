//! What a REGISTER says, apart from what is bound: RFC 3261 §10.3, 1-6, RFC 3327 §5.3, RFC 5626 §6.

use std::time::Duration;

use ringback_sip::{HeaderName, Host, Message, NameAddr, StatusCode, Uri};
use ringback_ua::Flow;

use crate::aor::{address_of_record, same_host};
use crate::binding::{Binding, BindingKey, Q_MOST, Record, TEXT_MOST};
use crate::config::Config;
use crate::plan::Refusal;

/// One Contact value.
pub(crate) struct Wanted {
    pub(crate) contact: String,
    pub(crate) uri: Uri,
    /// Zero: to be removed.
    pub(crate) expires: Duration,
    pub(crate) q: u16,
    pub(crate) instance: Option<String>,
    pub(crate) reg_id: Option<u32>,
    pub(crate) natted: bool,
}

impl Wanted {
    pub(crate) fn key(&self) -> BindingKey {
        BindingKey { contact: self.contact.clone(), flow: self.instance.clone().zip(self.reg_id) }
    }

    /// Whether this one takes the place of what is bound.
    pub(crate) fn replaces(&self, binding: &Binding) -> bool {
        self.is_binding(binding.flow_key(), binding.instance(), |contact, uri| binding.is_of(contact, uri))
    }

    /// ... of what the same request is about to bind.
    pub(crate) fn is_same(&self, saved: &Record) -> bool {
        let instance = saved.instance.as_deref().unwrap_or_default();
        let flow = saved.instance.as_deref().zip(saved.reg_id);
        let same_uri =
            |contact: &str, uri: &Uri| saved.contact == contact || saved.uri().is_some_and(|own| own.equals(uri));
        self.is_binding(flow, instance, same_uri)
    }

    fn is_binding(&self, flow: Option<(&str, u32)>, of: &str, is_of: impl Fn(&str, &Uri) -> bool) -> bool {
        let instance = self.instance.as_deref();
        match (instance.zip(self.reg_id), flow) {
            // RFC 5626 §6: a flow is the same one by instance and reg-id, whatever its URI is now, and the same URI says nothing: another
            // flow of the telephone, or another telephone behind the same kind of NAT, may have it too.
            (Some(own), Some(other)) => own == other,
            // One telephone that begins, or ceases, to speak of flows: its URI is not to ring twice.
            (Some((own, _)), None) => (of.is_empty() || of == own) && is_of(&self.contact, &self.uri),
            (None, Some((other, _))) => instance.is_none_or(|own| own == other) && is_of(&self.contact, &self.uri),
            // RFC 3261 §10.3, 7.
            (None, None) => is_of(&self.contact, &self.uri),
        }
    }
}

pub(crate) enum Contacts {
    /// No Contact: what is bound is asked for.
    Query,
    /// `*`
    All,
    Some(Vec<Wanted>),
}

pub(crate) struct Asked {
    pub(crate) aor: String,
    pub(crate) contacts: Contacts,
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
    pub(crate) user_agent: Option<String>,
    pub(crate) path: String,
    /// The peer understands Path (RFC 3327 §5.3).
    pub(crate) supports_path: bool,
    /// ... and GRUUs (RFC 5627 §4.2).
    pub(crate) supports_gruu: bool,
    /// One of the contacts is a flow (RFC 5626 §6).
    pub(crate) outbound: bool,
}

/// A name that programs give themselves is kept up to this length.
const USER_AGENT_MOST: usize = 128;
const CALL_ID_MOST: usize = 512;
const INSTANCE_MOST: usize = 256;
/// Contact values of one request.
const CONTACTS_MOST: usize = 64;
/// RFC 5626 §4.2.
const REG_ID_MOST: u32 = (1 << 31) - 1;
/// RFC 3261 §10.2.1.1: what a malformed `expires` is taken for.
const MALFORMED_EXPIRES: u32 = 3600;

fn bad(reason: &'static str) -> Refusal {
    Refusal::with_reason(StatusCode::BAD_REQUEST, reason)
}

pub(crate) fn read(config: &Config, request: &Message, flow: &Flow) -> Result<Asked, Refusal> {
    // §10.3, 1: a request for another domain is not ours; one for our address by its number is.
    let request_uri = request.request_uri().ok_or_else(|| bad("No Request-URI"))?;
    if matches!(request_uri.host(), Some(Host::Domain(_))) && !same_host(request_uri, &config.domains) {
        return Err(Refusal::new(StatusCode::NOT_FOUND));
    }
    let to = request.to().map_err(|_| bad("Bad To"))?;
    // §10.3, 5.
    if !same_host(&to.uri, &config.domains) {
        return Err(Refusal::new(StatusCode::NOT_FOUND));
    }
    // RFC 5627 §5.1: what leads to an instance is no address that could be registered.
    let is_gruu = to.uri.param("gr").is_some();
    let aor = address_of_record(&to.uri).filter(|_| !is_gruu).ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND))?;
    let call_id = request.call_id().unwrap_or_default();
    let cseq = request.cseq().map_err(|_| bad("Bad CSeq"))?.number;
    if call_id.len() > CALL_ID_MOST {
        return Err(bad("Call-ID Too Long"));
    }
    let path = request.headers().get_all(&HeaderName::Path).collect::<Vec<_>>().join(", ");
    let user_agent = request.headers().get(&HeaderName::UserAgent).map(|text| clip(text, USER_AGENT_MOST).to_owned());
    let mut asked = Asked {
        aor,
        contacts: Contacts::Query,
        call_id: call_id.to_owned(),
        cseq,
        user_agent: user_agent.filter(|text| !text.is_empty()),
        supports_path: request.supports("path"),
        supports_gruu: request.supports("gruu"),
        outbound: false,
        path,
    };
    if request.headers().values(&HeaderName::Path).any(|value| NameAddr::parse(value).is_err()) {
        return Err(bad("Bad Path"));
    }
    // §10.3, 6.
    let values: Vec<&str> = request.headers().values(&HeaderName::Contact).collect();
    if values.contains(&"*") {
        if values.len() > 1 || request.headers().get(&HeaderName::Expires).map(str::trim) != Some("0") {
            return Err(bad("Contact * Needs Expires 0 and No Other Contact"));
        }
        asked.contacts = Contacts::All;
        return Ok(asked);
    }
    if values.is_empty() {
        return Ok(asked);
    }
    if values.len() > CONTACTS_MOST {
        return Err(bad("Too Many Contacts"));
    }
    let mut wanted = Vec::with_capacity(values.len());
    for value in values {
        wanted.push(one(config, request, flow, value)?);
    }
    outbound(request, &mut asked, &mut wanted)?;
    let octets = |one: &Wanted| {
        let texts = [&one.contact, &asked.call_id, &asked.path];
        texts.iter().map(|text| text.len()).sum::<usize>() + USER_AGENT_MOST + INSTANCE_MOST
    };
    if wanted.iter().any(|one| octets(one) > TEXT_MOST) {
        return Err(Refusal::new(StatusCode::MESSAGE_TOO_LARGE));
    }
    asked.contacts = Contacts::Some(wanted);
    Ok(asked)
}

fn one(config: &Config, request: &Message, flow: &Flow, value: &str) -> Result<Wanted, Refusal> {
    let address = NameAddr::parse(value).map_err(|_| bad("Bad Contact"))?;
    let expires = match address.params.get("expires") {
        Some(text) => text.and_then(|text| text.parse().ok()).unwrap_or(MALFORMED_EXPIRES),
        None => match request.headers().get(&HeaderName::Expires) {
            Some(_) => request.expires().unwrap_or(MALFORMED_EXPIRES),
            None => u32::MAX,
        },
    };
    // RFC 5627 §5.1: a GRUU of ours leads to contacts, it is none.
    if address.uri.param("gr").is_some() && same_host(&address.uri, &config.domains) {
        return Err(Refusal::with_reason(StatusCode::FORBIDDEN, "Contact Is a GRUU"));
    }
    let mut expires = Duration::from_secs(expires.into());
    // §10.3, 7: never longer than we like; shorter only where we say so.
    if !expires.is_zero() && expires < config.min_expires.min(config.max_expires) {
        return Err(Refusal {
            headers: vec![(
                HeaderName::MinExpires.as_str().to_owned(),
                ceil_seconds(config.min_expires.min(config.max_expires)).to_string(),
            )],
            ..Refusal::new(StatusCode::INTERVAL_TOO_BRIEF)
        });
    }
    expires = expires.min(config.max_expires);
    let q = match address.params.get("q") {
        Some(text) => text.and_then(thousandths).ok_or_else(|| bad("Bad q"))?,
        None => Q_MOST,
    };
    let instance = address.params.get_unquoted("+sip.instance").map(|text| {
        let text = text.trim();
        text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text).to_owned()
    });
    let instance = instance.filter(|text| !text.is_empty() && text.len() <= INSTANCE_MOST);
    let reg_id = address.params.get("reg-id").flatten().and_then(|text| text.parse::<u32>().ok());
    let reg_id = reg_id.filter(|id| (1..=REG_ID_MOST).contains(id));
    Ok(Wanted {
        contact: address.uri.to_string(),
        natted: is_natted(request, flow, &address.uri),
        uri: address.uri,
        expires,
        q,
        // RFC 5626 §6: without an instance there is no flow to speak of.
        reg_id: reg_id.filter(|_| instance.is_some()),
        instance,
    })
}

/// RFC 5626 §6: whether the contact is a flow, and whether the way here keeps it.
fn outbound(request: &Message, asked: &mut Asked, wanted: &mut [Wanted]) -> Result<(), Refusal> {
    if !request.supports("outbound") {
        wanted.iter_mut().for_each(|one| one.reg_id = None);
        return Ok(());
    }
    if wanted.iter().all(|one| one.reg_id.is_none()) {
        return Ok(());
    }
    if wanted.iter().filter(|one| !one.expires.is_zero()).count() > 1 {
        return Err(bad("One Contact With reg-id"));
    }
    let through_proxy = request.headers().values(&HeaderName::Via).count() > 1;
    if through_proxy {
        // RFC 3327 §5.2: each proxy puts its value above those that are there, so that the first hop's is the last.
        let first = request.headers().values(&HeaderName::Path).last().and_then(|value| NameAddr::parse(value).ok());
        if first.is_none_or(|first| first.uri.param("ob").is_none()) {
            return Err(Refusal::new(StatusCode::FIRST_HOP_LACKS_OUTBOUND_SUPPORT));
        }
    }
    asked.outbound = true;
    Ok(())
}

/// RFC 3581: the contact names the place that the sender takes itself to be at, and packets come from another one.
fn is_natted(request: &Message, flow: &Flow, contact: &Uri) -> bool {
    if flow.transport.is_reliable() || request.headers().values(&HeaderName::Via).count() != 1 {
        return false;
    }
    let Ok(via) = request.top_via() else { return false };
    let own = (via.host.ip(), via.port.unwrap_or(5060));
    let Some(own_ip) = own.0 else { return false };
    let contact_ip = contact.host().and_then(|host| host.ip());
    let contact = (contact_ip, contact.port().unwrap_or(5060));
    let rport = via.params.contains("rport");
    let elsewhere = own_ip != flow.remote.ip() || (rport && own.1 != flow.remote.port());
    contact == own && elsewhere
}

fn ceil_seconds(length: Duration) -> u64 {
    length.as_secs() + u64::from(length.subsec_nanos() > 0)
}

/// `qvalue` (RFC 3261 §25.1).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" | "" => Some(fraction),
        "1" if fraction == 0 => Some(Q_MOST),
        _ => None,
    }
}

fn clip(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text.get(..end).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qvalues() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("1.0", Some(1000)),
            ("1.000", Some(1000)),
            ("0", Some(0)),
            ("0.5", Some(500)),
            ("0.05", Some(50)),
            ("0.123", Some(123)),
            (".7", Some(700)),
            ("1.1", None),
            ("2", None),
            ("0.1234", None),
            ("-1", None),
            ("0.x", None),
        ] {
            assert_eq!(thousandths(text), expected, "{text}");
        }
        assert_eq!(clip("äöü", 3), "ä");
    }
}
