//! One account: what its REGISTER says, and what the answers mean (RFC 3261 §10.2, RFC 3327, RFC 3608, RFC 5626, RFC 5627). Who sends when
//! is `accounts`.

use std::sync::Arc;
use std::time::Duration;

use ringback_media_api::Token;
use ringback_registrar::address_of_record;
use ringback_sip::{HeaderName, Message, Method, NameAddr, Uri};
use ringback_time::{Mono, Wall};
use ringback_ua::{ContactForm, Flow, Request, StandaloneKey, Transport};

use crate::api::{AccountConfig, Error, Registration, RegistrationState};
use crate::outgoing::{MAX_FORWARDS, check_target, parse_address};

/// RFC 5626 §4.5, where all flows have failed: base and longest of the pauses between tries.
const BASE: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(1800);

/// Answers of one try that are followed at once (423, 439, 3xx).
const FOLLOWED_MOST: u8 = 5;

#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) config: AccountConfig,
    pub(crate) registration: Arc<Registration>,
    /// Its key, by which calls find it.
    pub(crate) key: String,
    aor: NameAddr,
    /// As configured, and where a 3xx has led.
    home: Uri,
    registrar: Uri,
    proxy: Option<Uri>,
    call_id: String,
    cseq: u32,
    /// Seconds asked for.
    expires: u64,
    /// RFC 5626: until a registrar says 439.
    outbound: bool,
    /// The registrar has said that it knows flows.
    pub(crate) outbound_accepted: bool,
    /// RFC 5626 §4.2: which of the account's flows this is.
    pub(crate) reg_id: u32,
    /// Of a further flow: the first.
    pub(crate) first: Option<u64>,
    /// Of the first: the further ones, and those that have not been begun.
    pub(crate) flows: Vec<u64>,
    pub(crate) spare: Vec<Account>,
    /// Of the first: it has ended, and waits for the others.
    pub(crate) over: bool,
    /// Of this flow alone.
    pub(crate) state: RegistrationState,
    pub(crate) until: Option<Wall>,
    followed: u8,
    pub(crate) failures: u32,
    /// False: it is being unregistered.
    pub(crate) wanted: bool,
    /// The request under way, or the last one, asks for no binding.
    pub(crate) undoing: bool,
    pub(crate) request: Option<StandaloneKey>,
    pub(crate) due: Option<Mono>,
    /// `Unregister` commands that wait.
    pub(crate) leaving: Vec<Token>,
    /// What the registration came by, where what goes on is to go by that as well.
    pub(crate) flow: Option<Flow>,
    /// ... and in any case.
    pub(crate) path: Option<Flow>,
    /// Our contact as the registrar had it.
    bound: Option<Uri>,
    /// One of before, which the next request takes back.
    stale: Option<Uri>,
    /// The last registration was only to say where we really are.
    pub(crate) corrected: bool,
    /// It has closed while a request was under way by it.
    pub(crate) lost: bool,
    /// RFC 5626 §4.4.1: how often, at least, the edge wants to hear something by that connection. Seconds.
    pub(crate) flow_timer: Option<u64>,
    /// RFC 3608.
    service_route: Option<String>,
    /// RFC 5627.
    gruu: Option<Uri>,
    /// The latest of those that do not tell whose they are.
    temp_gruu: Option<Uri>,
}

/// What an answer to a REGISTER means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Bound for so many seconds.
    Granted(u64),
    /// Send again at once: something has been changed.
    Again,
    Refused {
        status: u16,
        phrase: String,
        /// Retry-After.
        after: Option<Duration>,
    },
}

impl Account {
    pub(crate) fn new(
        config: AccountConfig,
        registration: Arc<Registration>,
        call_id: String,
        configured: &[Transport],
    ) -> Result<Account, Error> {
        let invalid = |uri: &str, why: &str| Error::InvalidUri { uri: uri.to_owned(), why: why.to_owned() };
        let aor = parse_address(&config.aor)?;
        let key = address_of_record(&aor.uri)
            .ok_or_else(|| invalid(&config.aor, "an address of record has user and host"))?;
        let registrar = match &config.registrar {
            Some(text) => hop(text)?,
            None => {
                let host = aor.uri.host().map(|host| host.to_owned());
                let host = host.ok_or_else(|| invalid(&config.aor, "no host"))?;
                Uri::sip(None, host, aor.uri.port()).map_err(|error| invalid(&config.aor, &error.to_string()))?
            }
        };
        let proxy = config.proxy.as_deref().map(hop).transpose()?;
        let by = |uri: Uri| match config.transport {
            Some(transport) if uri.transport().is_none() && transport != Transport::Udp => {
                uri.with_param("transport", Some(transport.as_param()))
            }
            _ => uri,
        };
        // The first hop is what a transport is chosen for.
        let (registrar, proxy) = match proxy {
            Some(proxy) => (registrar, Some(by(proxy))),
            None => (by(registrar), None),
        };
        let first_hop = proxy.as_ref().unwrap_or(&registrar);
        check_target(first_hop, configured)?;
        Ok(Account {
            expires: config.expires.as_secs().max(1),
            config,
            registration,
            key,
            aor,
            home: registrar.clone(),
            registrar,
            proxy,
            call_id,
            cseq: 0,
            outbound: true,
            outbound_accepted: false,
            reg_id: 1,
            first: None,
            flows: Vec::new(),
            spare: Vec::new(),
            over: false,
            state: RegistrationState::Registering,
            until: None,
            followed: 0,
            failures: 0,
            wanted: true,
            undoing: false,
            request: None,
            due: None,
            leaving: Vec::new(),
            flow: None,
            path: None,
            bound: None,
            stale: None,
            corrected: false,
            lost: false,
            flow_timer: None,
            service_route: None,
            gruu: None,
            temp_gruu: None,
        })
    }

    /// Nothing has been sent for it.
    pub(crate) fn is_new(&self) -> bool {
        self.cseq == 0
    }

    fn proxy_route(&self) -> Option<String> {
        self.proxy.as_ref().map(|proxy| {
            let proxy = if proxy.is_loose_router() { proxy.clone() } else { proxy.with_param("lr", None) };
            format!("<{proxy}>")
        })
    }

    /// The next REGISTER.
    pub(crate) fn request(&mut self) -> Request {
        self.cseq += 1;
        self.undoing = !self.wanted;
        let seconds = if self.wanted { self.expires } else { 0 };
        let mut headers = vec![
            ("Expires".to_owned(), seconds.to_string()),
            // RFC 3327 §5.1, RFC 5626 §4.2, RFC 5627 §4.2.
            ("Supported".to_owned(), "path, outbound, gruu".to_owned()),
        ];
        headers.extend(self.proxy_route().map(|route| ("Route".to_owned(), route)));
        let mut params = format!(";+sip.instance=\"<{}>\"", self.config.instance);
        if self.outbound {
            params.push_str(&format!(";reg-id={}", self.reg_id));
        }
        // RFC 3261 §10.2.2: the one that nobody reaches goes with the same request.
        if let Some(stale) = self.stale.take().filter(|_| self.wanted) {
            params.push_str(&format!(", <{stale}>;expires=0"));
        }
        let user = self.aor.uri.raw_user().map(str::to_owned);
        // Flows from one place differ in nothing else, and some registrars know a binding by its URI alone.
        let several = self.outbound && !self.config.further_proxies.is_empty();
        let uri_params = if several { format!(";flow={}", self.reg_id) } else { String::new() };
        Request {
            method: Method::Register,
            request_uri: self.registrar.clone(),
            from: self.aor.clone(),
            to: self.aor.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            headers,
            contact: true,
            contact_form: Some(Box::new(ContactForm { user, uri: None, uri_params, params })),
            body: None,
            max_forwards: MAX_FORWARDS,
            flow: self.flow,
            credentials: self.config.credentials.clone(),
            give_up_after: None,
        }
    }

    /// Reads a final response, and remembers what it brings.
    pub(crate) fn judge(&mut self, response: &Message, flow: Flow) -> Verdict {
        // Answers to challenges have taken numbers of their own.
        self.cseq = self.cseq.max(response.cseq().map_or(0, |cseq| cseq.number));
        let (status, phrase) = crate::outgoing::status_line(response);
        let seconds = |name: HeaderName| {
            let text = response.headers().get(&name)?;
            text.split([';', ' ', '(']).next()?.trim().parse::<u64>().ok()
        };
        if (200..300).contains(&status) {
            self.followed = 0;
            self.outbound_accepted =
                self.outbound && response.require().any(|tag| tag.eq_ignore_ascii_case("outbound"));
            // RFC 5626 §4.3: a connection is kept to in any case, the address of a server that does not speak of flows is not.
            self.flow = (flow.transport.is_reliable() || self.outbound_accepted).then_some(flow);
            self.path = Some(flow);
            self.flow_timer = seconds(HeaderName::FlowTimer).filter(|seconds| *seconds > 0);
            let routes: Vec<&str> = response.headers().get_all(&HeaderName::ServiceRoute).collect();
            self.service_route = Some(routes.join(", ")).filter(|routes| is_route(routes));
            return Verdict::Granted(self.granted(response).unwrap_or(self.expires));
        }
        self.followed += 1;
        let follow = self.followed <= FOLLOWED_MOST;
        match status {
            // RFC 3261 §10.2.8.
            423 if follow => {
                if let Some(least) = seconds(HeaderName::MinExpires).filter(|least| *least > self.expires) {
                    self.expires = least.min(u64::from(u32::MAX));
                    return Verdict::Again;
                }
            }
            // RFC 5626 §4.2.1: without flows, then.
            439 if follow && self.outbound => {
                self.outbound = false;
                return Verdict::Again;
            }
            300..=399 if follow => {
                let target = response.contacts().unwrap_or_default().into_iter().next().map(|contact| contact.uri);
                if let Some(target) = target.filter(|target| target.host().is_some() && *target != self.registrar) {
                    let target = target.request_uri();
                    // What its first hop is to be reached by, where it does not say so itself.
                    let unsaid = self.proxy.is_none() && target.transport().is_none();
                    let by = self.config.transport.filter(|transport| unsaid && *transport != Transport::Udp);
                    self.registrar = match by {
                        Some(transport) => target.with_param("transport", Some(transport.as_param())),
                        None => target,
                    };
                    self.flow = None;
                    return Verdict::Again;
                }
            }
            _ => {}
        }
        self.followed = 0;
        let after = seconds(HeaderName::RetryAfter).map(Duration::from_secs);
        Verdict::Refused { status, phrase, after }
    }

    /// The seconds that our contact got. A registrar lists the contacts of others too; ours is known by its instance.
    fn granted(&mut self, response: &Message) -> Option<u64> {
        let contacts = response.contacts().unwrap_or_default();
        let instance = format!("<{}>", self.config.instance);
        let ours = contacts.iter().find(|contact| {
            contact.params.get_unquoted("+sip.instance").is_some_and(|text| text.eq_ignore_ascii_case(&instance))
        });
        let ours = ours.or_else(|| if contacts.len() == 1 { contacts.first() } else { None });
        self.bound = ours.map(|contact| contact.uri.clone());
        let gruu = |name| Uri::parse(&ours?.params.get_unquoted(name)?).ok();
        (self.gruu, self.temp_gruu) = (gruu("pub-gruu"), gruu("temp-gruu"));
        let own = ours.and_then(|contact| contact.params.get("expires")??.parse::<u64>().ok());
        own.or_else(|| response.expires().map(u64::from)).filter(|seconds| *seconds > 0)
    }

    /// RFC 5626 §4.5: how long to wait after so many failures in a row. `random`: 0 to 1.
    pub(crate) fn pause(&self, random: f64, after: Option<Duration>) -> Duration {
        let rounds = self.failures.div_ceil(self.spare.len() as u32 + 1);
        let doubled = BASE.saturating_mul(1 << rounds.saturating_sub(1).min(6)).min(LONGEST);
        let pause = doubled.mul_f64(0.5 + random / 2.0);
        after.map_or(pause, |after| after.min(LONGEST * 2).max(Duration::from_secs(1)))
    }

    /// How a call from this address of record goes: route set, connection, Contact.
    pub(crate) fn route(&self) -> Option<String> {
        self.service_route.clone().or_else(|| self.proxy_route())
    }

    /// `private`: RFC 5627 §3.2, that it may not say who we are. Where there is no temporary GRUU, nor may the other one be told.
    pub(crate) fn contact(&self, private: bool) -> Box<ContactForm> {
        let gruu = if private { &self.temp_gruu } else { &self.gruu };
        let user = self.aor.uri.raw_user().filter(|_| !private).map(str::to_owned);
        // RFC 5626 §4.3: the dialog keeps to the flow.
        let uri_params = if self.flow.is_some() && gruu.is_none() { ";ob".to_owned() } else { String::new() };
        Box::new(ContactForm { user, uri: gruu.clone(), uri_params, params: String::new() })
    }

    /// A Contact with another address is about to be registered. False: it is not worth it, since what is bound is a flow (RFC 5626 §6).
    pub(crate) fn move_contact(&mut self) -> bool {
        let bound = !self.outbound_accepted && self.state == RegistrationState::Registered && self.wanted;
        if bound {
            self.stale = self.bound.take();
        }
        bound
    }

    /// The next proxy, where there is one registration by one of several.
    pub(crate) fn turn_proxy(&mut self) -> bool {
        let Some(next) = self.spare.first_mut() else { return false };
        std::mem::swap(&mut self.proxy, &mut next.proxy);
        self.spare.rotate_left(1);
        true
    }

    /// What was learned from a registrar does not hold without one.
    pub(crate) fn forget(&mut self) {
        // RFC 3261 §21.3.3: another place is not for ever; who asked there asks again.
        self.registrar = self.home.clone();
        self.service_route = None;
        (self.gruu, self.temp_gruu) = (None, None);
        self.flow = None;
        self.path = None;
        self.bound = None;
        self.stale = None;
        self.flow_timer = None;
    }
}

/// A proxy or registrar: a SIP URI, or a host with or without port.
fn hop(text: &str) -> Result<Uri, Error> {
    let has_scheme =
        text.split_once(':').is_some_and(|(scheme, _)| matches!(scheme.trim(), "sip" | "sips" | "SIP" | "SIPS"));
    let text = if has_scheme || text.contains('<') { text.to_owned() } else { format!("sip:{text}") };
    parse_address(&text).map(|address| address.uri)
}

/// RFC 3323 §4.2, RFC 3325 §9.3: whether the program wants it unknown who calls.
pub(crate) fn is_private(headers: &[(String, String)]) -> bool {
    let privacy = headers.iter().filter(|(name, _)| HeaderName::parse(name) == HeaderName::parse("Privacy"));
    let mut values = privacy.flat_map(|(_, value)| value.split([';', ',']));
    values.any(|value| !value.trim().is_empty() && !value.trim().eq_ignore_ascii_case("none"))
}

fn is_route(text: &str) -> bool {
    !text.is_empty() && ringback_sip::list_values(text).all(|value| NameAddr::parse(value).is_ok())
}
