//! Answers to challenges: RFC 3261 §22.2 and §22.3, RFC 7616 §3.4, RFC 8760.
//!
//! A request that is refused with 401 or 407 is sent again, with a higher CSeq and a new branch, when there are [`Credentials`] for a realm
//! that was named and not yet answered. To its owner that is one request: the client transaction keeps its name, and what is told is
//! the response that counted. Nonces are remembered by host, realm and user name, so that later requests, those within a dialog too, bring their
//! credentials along.
//!
//! Where a server proves in return that it knows the password (`rspauth`, RFC 7616 §3.5) and the proof is wrong, the response counts all the
//! same: it came by the way that the request took, nothing has to prove anything (the header field may be left out), and a proxy that
//! rewrites the one or the other must not end calls. But what such a server says besides is not believed: its `nextnonce` is not
//! used, its nonce is forgotten, so that the next request has to be asked again, and it is counted and logged.
//!
//! Invariant: a request is sent `MAX_ROUNDS` times more at most. A realm is answered once, and once more where our answer was made with an old
//! nonce: brought along from an earlier request, or said to be stale. To a realm without credentials nothing is sent.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use ringback_sip::digest::{Answer, AuthenticationInfo, Challenge, ha1};
use ringback_sip::{HeaderName, Host, Message, Method, StatusCode, Uri};
use ringback_time::Now;
use smallvec::SmallVec;
use tracing::{debug, warn};

use crate::api::Credentials;
use crate::arena::Index;
use crate::core::Ua;
use crate::core::call::{Call, Cancelling, Stage};
use crate::core::client::{Client, Owner};
use crate::nonces::{Nonce, Space};
use crate::wire::request::Draft;

/// How often one request is answered 401 or 407 and sent again. Proxies on the way ask one after the other; more than a few do not happen.
const MAX_ROUNDS: u8 = 6;
/// Realms that one request carries credentials for.
const MAX_REALMS: usize = 4;

/// A realm for which a request carries credentials.
#[derive(Clone, Debug)]
struct Given {
    space: Space,
    realm: Box<str>,
    proxy: bool,
    nonce: Box<str>,
    /// Made for a challenge to this very request.
    fresh: bool,
    /// Made for a challenge that said that the one before was stale.
    again: bool,
}

/// What one request of ours says about who sends it.
#[derive(Default, Debug)]
pub(super) struct Authorizing {
    own: Option<Arc<Credentials>>,
    given: SmallVec<[Given; 1]>,
    rounds: u8,
}

/// What a call knows of who it was answered as. Only calls that have credentials have it.
#[derive(Default, Debug)]
pub(super) struct CallIdentity {
    own: Option<Arc<Credentials>>,
    /// Where our INVITE went.
    host: Option<IpAddr>,
    /// What its requests bring along.
    given: SmallVec<[(Space, Box<str>, bool); 1]>,
    /// The credentials of the INVITE that was accepted last: RFC 3261 §22.1 has them in its ACK.
    pub(super) ack: Box<[u8]>,
}

/// Where a request goes, as far as it matters for who asks.
struct Way {
    hop: String,
    uri_host: Box<str>,
    /// To the host of the Request-URI itself, not through a proxy.
    direct: bool,
}

fn host_port(uri: &Uri) -> Option<String> {
    let host = uri.maddr().and_then(Host::parse).or_else(|| uri.host())?;
    let mut text = host.to_string().to_ascii_lowercase();
    let _ = write!(text, ":{}", uri.port().unwrap_or(5060));
    Some(text)
}

impl Way {
    fn of(request: &Message) -> Option<Way> {
        let uri = request.request_uri()?;
        let uri_host = host_port(uri).unwrap_or_default();
        let route = request.headers().get(&HeaderName::Route);
        let route = match route {
            Some(_) => Some(request.routes().ok()?.into_iter().next()?.uri),
            None => None,
        };
        let hop = route.as_ref().and_then(host_port).or_else(|| host_port(uri))?;
        Some(Way { direct: hop == uri_host, hop, uri_host: uri_host.into() })
    }
}

impl CallIdentity {
    pub(super) fn own(&self) -> Option<Arc<Credentials>> {
        self.own.clone()
    }
}

impl Authorizing {
    pub(super) fn of(own: Option<Arc<Credentials>>) -> Option<Box<Authorizing>> {
        own.map(|own| Box::new(Authorizing { own: Some(own), ..Authorizing::default() }))
    }
}

fn given_of(authorizing: &Authorizing) -> SmallVec<[(Space, Box<str>, bool); 1]> {
    authorizing.given.iter().map(|given| (given.space.clone(), given.realm.clone(), given.proxy)).collect()
}

/// The topmost challenge of each realm that can be answered: RFC 8760 §2.4, RFC 3261 §22.3.
fn challenges(response: &Message) -> SmallVec<[(Challenge, bool); 2]> {
    let mut chosen: SmallVec<[(Challenge, bool); 2]> = SmallVec::new();
    for (name, proxy) in [(HeaderName::WwwAuthenticate, false), (HeaderName::ProxyAuthenticate, true)] {
        for challenge in response.challenges(&name) {
            let same = |(other, of_proxy): &(Challenge, bool)| *of_proxy == proxy && other.realm() == challenge.realm();
            if challenge.is_supported() && chosen.len() < MAX_REALMS && !chosen.iter().any(same) {
                chosen.push((challenge, proxy));
            }
        }
    }
    chosen
}

impl Ua {
    /// A call of ours can be asked who places it.
    pub(super) fn call_identity(&self, own: Option<Arc<Credentials>>) -> Option<Box<CallIdentity>> {
        let any = own.is_some() || !self.config.credentials.is_empty();
        any.then(|| Box::new(CallIdentity { own, ..CallIdentity::default() }))
    }

    /// Puts credentials for nonces that are known into a request that has not been sent.
    pub(super) fn preauthorize(
        &mut self,
        draft: &mut Draft,
        own: Option<Arc<Credentials>>,
        call: Option<Index>,
    ) -> Option<Box<Authorizing>> {
        let identity = call.and_then(|index| self.calls.get(index)).and_then(|call| call.identity.as_deref());
        let own = own.or_else(|| identity.and_then(|identity| identity.own.clone()));
        if self.nonces.is_empty() || (own.is_none() && self.config.credentials.is_empty()) {
            return Authorizing::of(own);
        }
        let Some(request) = draft.parsed() else { return Authorizing::of(own) };
        let by_hand = |name| request.headers().contains(&name);
        if by_hand(HeaderName::Authorization) || by_hand(HeaderName::ProxyAuthorization) {
            return Authorizing::of(own);
        }
        let mut given: SmallVec<[Given; 1]> = SmallVec::new();
        let mut add = |space: &Space, nonce: &Nonce| {
            if given.len() < MAX_REALMS {
                given.push(Given {
                    space: space.clone(),
                    realm: nonce.challenge.realm().into(),
                    proxy: nonce.proxy,
                    nonce: nonce.challenge.nonce().into(),
                    fresh: false,
                    again: false,
                });
            }
        };
        if call.is_some() {
            // §22.2: within the dialog, as its INVITE was.
            for (space, realm, proxy) in identity.iter().flat_map(|identity| &identity.given) {
                if let Some(nonce) = self.nonces.find(space, realm, *proxy) {
                    add(space, nonce);
                }
            }
        } else if let Some(way) = Way::of(&request) {
            let names = match &own {
                Some(own) => std::slice::from_ref(own),
                None => &self.config.credentials,
            };
            for (place, credentials) in names.iter().enumerate() {
                if names.iter().take(place).any(|before| before.username == credentials.username) {
                    continue;
                }
                let space = Space::new(&way.hop, &credentials.username);
                for nonce in self.nonces.of(&space) {
                    if nonce.proxy || nonce.uri_host == way.uri_host {
                        add(&space, nonce);
                    }
                }
            }
        }
        if given.is_empty() {
            return Authorizing::of(own);
        }
        let mut authorizing = Box::new(Authorizing { own, given, rounds: 0 });
        let lines = self.credentials_of(&request, &mut authorizing);
        draft.authorize(None, &lines);
        Some(authorizing)
    }

    /// The header lines for all realms that a request carries credentials for. Each use of a nonce counts.
    fn credentials_of(&mut self, request: &Message, authorizing: &mut Authorizing) -> String {
        let mut lines = String::new();
        let (Some(method), Some(uri)) = (request.method(), request.request_uri()) else { return lines };
        let body = request.body();
        authorizing.given.retain(|given| {
            let Some(nonce) = self.nonces.find(&given.space, &given.realm, given.proxy) else { return false };
            given.nonce = nonce.challenge.nonce().into();
            nonce.nc = nonce.nc.saturating_add(1);
            let answer = Answer {
                challenge: &nonce.challenge,
                username: &nonce.username,
                ha1: &nonce.ha1,
                cnonce: &format!("{:016x}", nonce.cnonce),
                nc: nonce.nc,
                method: method.as_str(),
                uri: uri.as_str(),
                body: &body,
            };
            let Some(credentials) = answer.response() else { return false };
            let name = if given.proxy { "Proxy-Authorization" } else { "Authorization" };
            let _ = write!(lines, "{name}: {credentials}\r\n");
            true
        });
        lines
    }

    /// The credentials of a request that is sent again under another number, as header lines.
    pub(super) fn credentials_again(&mut self, index: Index) -> String {
        let Some(client) = self.clients.get_mut(index) else { return String::new() };
        let (Some(mut authorizing), Some(request)) = (client.authorizing.take(), client.draft.parsed()) else {
            return String::new();
        };
        let lines = self.credentials_of(&request, &mut authorizing);
        if let Some(client) = self.clients.get_mut(index) {
            client.authorizing = Some(authorizing);
        }
        lines
    }

    /// Which credentials are for a realm. `anyone`: whether those for no realm in particular count.
    fn credentials_for(
        &self,
        own: Option<&Arc<Credentials>>,
        realm: &str,
        anyone: impl Fn(&Credentials) -> bool,
    ) -> Option<Arc<Credentials>> {
        let named = |known: &&Arc<Credentials>| known.realm.as_deref() == Some(realm);
        let of_any = |known: &&Arc<Credentials>| known.realm.is_none() && anyone(known);
        let all = &self.config.credentials;
        // What the request has of its own comes first: it is who it is from.
        let own = own.filter(|own| named(own) || of_any(own));
        own.or_else(|| all.iter().find(named)).or_else(|| all.iter().find(of_any)).cloned()
    }

    /// Whether the owner of a client transaction still wants its request.
    pub(super) fn is_wanted(&self, index: Index, owner: Owner) -> bool {
        let stage = |call: Index| self.calls.get(call).map(|call| &call.stage);
        match owner {
            Owner::Invite(call) => matches!(stage(call), Some(Stage::Calling { cancelling: Cancelling::No, .. })),
            Owner::Reinvite(call) | Owner::Update(call) => self.calls.get(call).is_some_and(|call| {
                (call.stage == Stage::Confirmed || matches!(owner, Owner::Update(_)))
                    && call.own_invite.as_ref().is_some_and(|own| own.client == Some(index))
            }),
            Owner::Bye(call) | Owner::Request(call) | Owner::Aside(call) | Owner::Prack(call) => {
                self.calls.contains(call)
            }
            Owner::Standalone(request) => self.standalone.get(request).is_some(),
            Owner::Usage(usage) => self.usages.contains(usage),
            Owner::Fork => true,
            Owner::Nobody => false,
        }
    }

    /// A final response that may ask who we are. `true`: the request goes out again, and the response is nobody's business.
    pub(super) fn answer_challenge(&mut self, now: Now, index: Index, response: &Message) -> bool {
        let Some(status) = response.status() else { return false };
        if status != StatusCode::UNAUTHORIZED && status != StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return false;
        }
        let Some(client) = self.clients.get_mut(index) else { return false };
        let owner = client.owner;
        let mut authorizing = client.authorizing.take().unwrap_or_default();
        if self.config.credentials.is_empty() && authorizing.own.is_none() || !self.is_wanted(index, owner) {
            return false;
        }
        let Some(client) = self.clients.get(index) else { return false };
        let (Some(request), Some(path)) = (client.draft.parsed(), client.path()) else { return false };
        let Some(way) = Way::of(&request) else { return false };
        let call = match owner {
            Owner::Invite(call)
            | Owner::Reinvite(call)
            | Owner::Update(call)
            | Owner::Bye(call)
            | Owner::Request(call)
            | Owner::Prack(call)
            | Owner::Aside(call) => Some(call),
            _ => None,
        };
        // Who is only named by a 3xx is not whom the credentials were given for.
        let redirected = call.and_then(|call| self.calls.get(call)).is_some_and(Call::is_redirected);
        let initial = matches!(owner, Owner::Invite(_) | Owner::Standalone(_)) && !redirected;
        let registers = request.method() == Some(&Method::Register);
        let mut answered = false;
        for (challenge, proxy) in challenges(response) {
            let realm = challenge.realm();
            let place = authorizing.given.iter().position(|given| given.proxy == proxy && *given.realm == *realm);
            let before = place.and_then(|place| authorizing.given.get(place));
            let again = match before {
                None => false,
                // Brought along: the nonce has been replaced since.
                Some(given) if !given.fresh && (challenge.is_stale() || *given.nonce != *challenge.nonce()) => false,
                Some(given) if given.fresh && challenge.is_stale() && !given.again => true,
                // RFC 3261 §22.2: what was refused once is not tried again.
                Some(given) => {
                    let space = given.space.clone();
                    self.nonces.remove(&space, realm, proxy);
                    debug!(target: "ringback.sip", call_id = response.call_id().unwrap_or_default(), "credentials refused by {realm:?}");
                    return false;
                }
            };
            let identity = call.and_then(|call| self.calls.get(call)).and_then(|call| call.identity.as_deref());
            // Within a dialog: only who was asked for the call, or what our INVITE itself went to.
            let host_asks = match (initial, identity) {
                (true, _) => way.direct || proxy || (registers && authorizing.own.is_some()),
                (false, Some(identity)) => {
                    identity.host == Some(path.remote.ip()) && (way.direct || proxy)
                        || identity.given.iter().any(|(_, known, _)| **known == *realm)
                }
                (false, None) => false,
            };
            let known = |ua: &mut Ua, credentials: &Credentials| {
                ua.nonces
                    .of(&Space::new(&way.hop, &credentials.username))
                    .iter()
                    .any(|nonce| nonce.challenge.realm() == realm)
            };
            let mut found = self.credentials_for(authorizing.own.as_ref(), realm, |_| host_asks);
            if found.is_none() && !host_asks {
                let loose = self.credentials_for(authorizing.own.as_ref(), realm, |_| true);
                found = loose.filter(|credentials| known(self, credentials));
            }
            let Some(credentials) = found else { continue };
            let Some(algorithm) = challenge.algorithm() else { continue };
            if place.is_none() && authorizing.given.len() >= MAX_REALMS {
                continue;
            }
            let space = Space::new(&way.hop, &credentials.username);
            let given = Given {
                space: space.clone(),
                realm: realm.into(),
                proxy,
                nonce: challenge.nonce().into(),
                fresh: true,
                again,
            };
            match place.and_then(|place| authorizing.given.get_mut(place)) {
                Some(place) => *place = given,
                None => authorizing.given.push(given),
            }
            let nonce = Nonce {
                ha1: ha1(algorithm, &credentials.username, realm, &credentials.password),
                username: credentials.username.as_str().into(),
                cnonce: rand_core::RngCore::next_u64(&mut self.rng),
                nc: 0,
                proxy,
                uri_host: way.uri_host.clone(),
                challenge,
            };
            self.nonces.insert(&space, nonce);
            answered = true;
        }
        if !answered || authorizing.rounds >= MAX_ROUNDS {
            return false;
        }
        authorizing.rounds += 1;
        let lines = self.credentials_of(&request, &mut authorizing);
        // RFC 3261 §22.2: a higher CSeq.
        let early = matches!(owner, Owner::Update(_) | Owner::Prack(_)).then(|| response.to_tag()).flatten();
        let dialog = match owner {
            Owner::Usage(usage) => self.usages.get_mut(usage).and_then(|usage| usage.dialog.as_mut()),
            _ => call.and_then(|call| self.calls.get_mut(call)).and_then(|call| match early {
                Some(tag) if call.dialog.is_none() => call.early.iter_mut().find(|dialog| dialog.remote_tag() == tag),
                _ => call.dialog.as_mut(),
            }),
        };
        let cseq = match dialog {
            Some(dialog) => dialog.next_cseq(),
            None => self.clients.get(index).map_or(1, |client| client.cseq).saturating_add(1),
        };
        if let Some(call) = call {
            self.remember_given(call, owner, path.remote.ip(), &authorizing);
        }
        debug!(target: "ringback.sip", call_id = response.call_id().unwrap_or_default(), "{} is answered with credentials", status.as_u16());
        self.send_again(now, index, cseq, &lines, authorizing);
        true
    }

    /// The dialog's later requests bring along what this one does.
    fn remember_given(&mut self, call: Index, owner: Owner, host: IpAddr, authorizing: &Authorizing) {
        let Some(call) = self.calls.get_mut(call) else { return };
        let identity = call.identity.get_or_insert_default();
        if matches!(owner, Owner::Invite(_)) {
            identity.host = Some(host);
            // The early dialogs ended with the refusal.
            call.early = Vec::new();
        }
        identity.given = given_of(authorizing);
    }

    /// A (re-)INVITE was accepted: its ACK, and the requests within the dialog, know what it was sent with, and where.
    pub(super) fn invite_authorized(&mut self, call: Index, client: &Client) {
        let Some(identity) = self.calls.get_mut(call).and_then(|call| call.identity.as_deref_mut()) else { return };
        identity.host = identity.host.or(client.current.map(|target| target.address.ip()));
        identity.ack = client.draft.authorization().into();
        if let Some(authorizing) = &client.authorizing {
            identity.given = given_of(authorizing);
        }
    }

    /// RFC 7616 §3.5: what the server says of the credentials that it has taken: a proof that it knows the password too, and the nonce to
    /// use from now on.
    pub(super) fn take_authentication_info(&mut self, client: &Client, response: &Message) {
        let Some(authorizing) = &client.authorizing else { return };
        for (name, header, proxy) in [
            ("Authentication-Info", HeaderName::Authorization, false),
            ("Proxy-Authentication-Info", HeaderName::ProxyAuthorization, true),
        ] {
            let Some(info) = response.headers().get_str(name).and_then(AuthenticationInfo::parse) else { continue };
            // The realm is not said: it is the only one there is.
            let mut of_kind = authorizing.given.iter().filter(|given| given.proxy == proxy);
            let (Some(given), None) = (of_kind.next(), of_kind.next()) else { continue };
            let Some(nonce) = self.nonces.find(&given.space, &given.realm, proxy) else { continue };
            // Another request may have been told another one meanwhile.
            if *given.nonce != *nonce.challenge.nonce() {
                continue;
            }
            let sent = client.draft.parsed().and_then(|request| request.authorizations(&header).into_iter().next());
            if sent.and_then(|sent| info.proves(&sent, &nonce.ha1, &response.body())) == Some(false) {
                self.counters.wrong_rspauth += 1;
                self.nonces.remove(&given.space, &given.realm, proxy);
                warn!(
                    target: "ringback.sip",
                    call_id = response.call_id().unwrap_or_default(),
                    "{name} of {:?} does not prove that it knows the password", given.realm
                );
                continue;
            }
            if let Some(next) = info.next_nonce() {
                nonce.challenge = nonce.challenge.with_nonce(next);
                nonce.nc = 0;
            }
        }
    }
}
