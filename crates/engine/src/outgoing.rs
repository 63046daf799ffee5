//! Calls that go out: from the first check to the answer, the refusal or the failure.

use std::sync::Arc;

use ringback_media_api::Token;
use ringback_sip::{Message, NameAddr, Scheme, StatusCode, Uri};
use ringback_time::Now;
use ringback_ua::{Body, CallKey, Invite, Service, Transport};

use crate::api::{CallOptions, Direction, Error, Event, HeaderList, Session};
use crate::call::{Call, Ending, Link, Stage};
use crate::contacts::{Way, Whither};
use crate::content;
use crate::decide::ua_error;
use crate::engine::Engine;
use crate::headers;
use crate::limits;
use crate::media_flow::{Media, Plan, sdp_error};
use crate::states::Change;
use crate::table::Key;
use crate::timers::Timer;

/// What an INVITE will need, from `CreateCall` until it is sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) from: NameAddr,
    pub(crate) to: NameAddr,
    pub(crate) headers: HeaderList,
    pub(crate) max_forwards: u8,
    pub(crate) sdp: Option<String>,
    pub(crate) late_offer: bool,
    pub(crate) redirects: u8,
    /// `GenerateOffer` commands that wait until our own address is known.
    pub(crate) offers: Vec<Token>,
    /// The first hop, where that is not what To names.
    pub(crate) first_hop: Option<Uri>,
    pub(crate) found: Found,
}

/// Whether a shared store has said whom a call rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Found {
    #[default]
    Unasked,
    Asked,
    Known,
}

impl Outgoing {
    pub(crate) fn towards(&self) -> &Uri {
        self.first_hop.as_ref().unwrap_or(&self.to.uri)
    }
}

/// RFC 6228.
const EARLY_DIALOG_TERMINATED: u16 = 199;

/// RFC 3261 §8.1.1.6.
pub(crate) const MAX_FORWARDS: u8 = 70;

impl Engine {
    /// `Command::CreateCall`: checks, reserves media, and sends where that is wanted.
    #[expect(clippy::too_many_arguments, reason = "the fields of the command")]
    pub(crate) fn create_call(
        &mut self,
        now: Now,
        from: &str,
        to: &str,
        sdp: Option<String>,
        headers: HeaderList,
        send: bool,
        options: CallOptions,
    ) -> Result<Arc<Session>, Error> {
        if self.stop.is_stopping() {
            return Err(Error::NotRunning);
        }
        let from = self.with_user(parse_address(from)?);
        let to = parse_address(to)?;
        check_target(&to.uri, &self.config.transports)?;
        headers::check(&headers)?;
        if options.late_offer && sdp.is_some() {
            return Err(Error::BadValue("late_offer: the offer is the peer's, there is none to give".into()));
        }
        if let Some(sdp) = &sdp {
            ringback_sdp::check_offer(sdp).map_err(|error| sdp_error(&error))?;
        }
        let outgoing = Outgoing {
            from,
            to,
            headers,
            max_forwards: MAX_FORWARDS,
            sdp,
            late_offer: options.late_offer,
            redirects: options.max_redirects,
            offers: Vec::new(),
            first_hop: None,
            found: Found::Unasked,
        };
        let key = self.place(now, outgoing, None)?;
        self.current = Some(key);
        let Some(session) = self.calls.get(key).map(|call| Arc::clone(&call.session)) else {
            return Err(Error::NotRunning);
        };
        if send && options.held_back {
            if let Some(call) = self.calls.get_mut(key) {
                call.stage = Stage::HeldBack;
            }
        } else if send && let Err(error) = self.send_or_locate(now, key) {
            // Where nothing was sent, there is no session either way.
            self.finish(now, key, Ending::failed(None, error.to_string()));
            return Err(error);
        }
        Ok(session)
    }

    /// A new outgoing session with its media port; nothing is sent. `beside`: a call that it is likely to be connected with.
    pub(crate) fn place(&mut self, now: Now, mut outgoing: Outgoing, beside: Option<Key>) -> Result<Key, Error> {
        if self.calls.len() >= self.config.max_sessions {
            return Err(Error::ResourceExhausted("Maximum sessions reached"));
        }
        outgoing.first_hop = self.first_hop(now, &outgoing);
        let local = self.local_towards(outgoing.towards());
        // A description brought along means that media is elsewhere.
        let port = if outgoing.sdp.is_none() {
            let beside = beside.and_then(|key| self.thread_of(key));
            let port = self.reserve(now, local.unwrap_or(crate::locate::UNKNOWN), beside);
            Some(port.ok_or(Error::ResourceExhausted("No available RTP ports"))?)
        } else {
            None
        };
        let call_id = self.ua.new_call_id();
        let key = self.insert(|engine, id| {
            let from_uri = outgoing.from.uri.to_string();
            let to_uri = outgoing.to.uri.to_string();
            let session = Session::new(id, Direction::Outgoing, from_uri, to_uri, call_id, now.wall);
            let mut media = Media::new(local.unwrap_or(crate::locate::UNKNOWN), engine.session_number());
            media.port = port;
            media.external = port.is_none();
            let mut call = Call::new(now, Arc::new(session), Stage::Prepared, media);
            call.outgoing = Some(Box::new(outgoing));
            call
        });
        if local.is_none() {
            self.locate(key);
        }
        self.seek(key);
        Ok(key)
    }

    /// `Command::SendPrepared`.
    pub(crate) fn send_prepared(&mut self, now: Now, key: Key, sdp: Option<String>) -> Result<(), Error> {
        if !self.is_at(key, Stage::Prepared) {
            return Err(self.unfit(key, "sending a prepared call"));
        }
        if self.stop.is_stopping() {
            return Err(Error::NotRunning);
        }
        if let Some(sdp) = sdp {
            ringback_sdp::check_offer(&sdp).map_err(|error| sdp_error(&error))?;
            if let Some(outgoing) = self.calls.get_mut(key).and_then(|call| call.outgoing.as_mut()) {
                outgoing.sdp = Some(sdp);
            }
        }
        self.send_or_locate(now, key)
    }

    /// `Command::Launch`. A stop that drains does not keep it from going out: the call was there before.
    pub(crate) fn launch(&mut self, now: Now, key: Key) {
        if self.is_at(key, Stage::HeldBack)
            && let Err(error) = self.send_or_locate(now, key)
        {
            self.finish(now, key, Ending::failed(None, error.to_string()));
        }
    }

    /// Sends now, or as soon as our own address towards the peer is known.
    pub(crate) fn send_or_locate(&mut self, now: Now, key: Key) -> Result<(), Error> {
        if self.is_located(key) {
            return self.send(now, key);
        }
        if let Some(call) = self.calls.get_mut(key) {
            call.stage = Stage::Locating;
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, now: Now, key: Key) -> Result<(), Error> {
        if self.waits_for_server(now, key) {
            return Ok(());
        }
        if self.registry.is_some() && self.waits_for_store(now, key) {
            return Ok(());
        }
        let Some(call) = self.calls.get_mut(key) else { return Ok(()) };
        let Some(outgoing) = call.outgoing.take() else { return Ok(()) };
        let session = Arc::clone(&call.session);
        let plan = if outgoing.late_offer { Ok(Plan::Settled) } else { self.plan_offer(key, outgoing.sdp.clone()) };
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                // The program may try again with another description.
                if let Some(call) = self.calls.get_mut(key) {
                    call.outgoing = Some(Box::new(Outgoing { sdp: None, ..*outgoing }));
                }
                return Err(error);
            }
        };
        let whither = self.whither(now, &outgoing);
        let Outgoing { from, to, headers, max_forwards, late_offer, redirects, .. } = *outgoing;
        let invite = Invite {
            from,
            request_uri: to.uri.request_uri(),
            to,
            call_id: session.call_id.to_string(),
            headers,
            body: (!late_offer).then(|| Body::sdp(plan.sdp().to_owned())),
            max_forwards,
            contact: None,
            flow: None,
            redirects,
            credentials: None,
        };
        let begun = match whither {
            Whither::Nobody => {
                let status = Some(StatusCode::TEMPORARILY_UNAVAILABLE.as_u16());
                self.finish(now, key, Ending::failed(status, "nobody is registered").silent());
                return Ok(());
            }
            Whither::Contacts(ways) => {
                let any = self.fork(now, key, ways, &invite);
                any.then_some(()).ok_or(Error::Unreachable("no contact can be called".into()))
            }
            Whither::One(way) => self.invite_by(now, key, way, invite),
        };
        if let Err(error) = begun {
            self.finish(now, key, Ending::failed(None, error.to_string()).silent());
            return Err(error);
        }
        if let Some(call) = self.calls.get_mut(key) {
            call.stage = Stage::Calling;
            call.late_offer = late_offer;
        }
        self.arm(key, Timer::Silence, now.mono + limits::RINGING_MOST);
        self.carry_out(now, key, plan);
        Ok(())
    }

    fn invite_by(&mut self, now: Now, key: Key, way: Way, mut invite: Invite) -> Result<(), Error> {
        way.apply(&mut invite);
        let ua = self.ua.invite(now, invite).map_err(|error| ua_error(error, crate::api::State::Initiating))?;
        self.by_ua.insert(ua, key);
        if let Some(call) = self.calls.get_mut(key) {
            call.ua = Some(ua);
        }
        Ok(())
    }

    /// Whether the registrar's store has to say whom a call rings; it is asked then, and `found_contacts` follows.
    fn waits_for_store(&mut self, now: Now, key: Key) -> bool {
        let Some(outgoing) = self.calls.get(key).and_then(|call| call.outgoing.as_ref()) else { return false };
        match outgoing.found {
            Found::Known => return false,
            Found::Asked => return true,
            Found::Unasked => {}
        }
        let to = outgoing.to.uri.clone();
        let Some(aor) = self.own_address_of_record(&to).filter(|_| self.shares_store()) else { return false };
        if let Some(call) = self.calls.get_mut(key) {
            call.stage = Stage::Locating;
            if let Some(outgoing) = &mut call.outgoing {
                outgoing.found = Found::Asked;
            }
        }
        self.ask_for_contacts(now, key, aor);
        true
    }

    /// The store has said whom a call rings.
    pub(crate) fn found_contacts(&mut self, now: Now, key: Key) {
        self.current = Some(key);
        let Some(outgoing) = self.calls.get_mut(key).and_then(|call| call.outgoing.as_mut()) else { return };
        outgoing.found = Found::Known;
        if self.is_at(key, Stage::Locating)
            && self.is_located(key)
            && let Err(error) = self.send(now, key)
        {
            self.finish(now, key, Ending::failed(None, error.to_string()));
        }
    }

    /// 101-199.
    pub(crate) fn provisional(&mut self, now: Now, key: Key, response: &Message, offered_by: Option<CallKey>) {
        let (status, phrase) = status_line(response);
        if status <= 100 || !self.is_at(key, Stage::Calling) {
            return;
        }
        // RFC 6228: one of several early dialogs has ended. The others, and what is heard of them, go on.
        if status == EARLY_DIALOG_TERMINATED {
            self.take_fork_alone(key, response);
            return;
        }
        self.arm(key, Timer::Silence, now.mono + limits::RINGING_MOST);
        self.change(key, Change::Ring);
        let sdp = content::session_description(response);
        if let Some(sdp) = &sdp {
            let call = self.calls.get(key);
            let known = call.is_some_and(|call| call.media.remote_sdp.as_ref() == Some(sdp));
            let late = call.is_some_and(|call| call.late_offer);
            self.remember_fork(key, response, sdp);
            if let Some(ua) = offered_by {
                self.offered_early(now, key, ua, sdp.clone());
            } else if !known
                && !late
                && let Err(error) = self.accept_answer(now, key, sdp, false)
            {
                tracing::info!(target: "ringback.session", call_id = self.call_id(key), "early description not used: {error}");
            }
        }
        let Some(call) = self.calls.get_mut(key) else { return };
        let (caller, referred) = match call.link {
            Link::Target(caller) => (Some(caller), None),
            Link::Referral(referred) => (None, Some(referred)),
            _ => (None, None),
        };
        if self.config.interest.progress {
            if call.progress_bucket.take(now.mono) {
                let session = Arc::clone(&call.session);
                self.emit(Event::Progress { session, status, sdp });
            } else {
                self.counters.events_dropped += 1;
            }
        }
        if let Some(referred) = referred {
            self.referral_rings(now, referred, status, &phrase);
        }
        if let Some(caller) = caller {
            self.target_rings(now, caller, key, status, &phrase);
        }
    }

    /// The first 2xx.
    pub(crate) fn answered_by_peer(&mut self, now: Now, key: Key, response: &Message, settled: bool) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(ua) = call.ua else { return };
        call.stage = Stage::Confirmed;
        let late = call.late_offer;
        self.answered_during_update(key, settled);
        let Some(call) = self.calls.get_mut(key) else { return };
        let in_force = call.media.remote_sdp.clone();
        self.disarm(key, Timer::Silence);
        let said = content::session_description(response);
        let fork = self.take_fork(key, response);
        let result = if late && !settled {
            self.answer_in_ack(now, key, said)
        } else {
            // RFC 3261 §13.2.2.4: whatever is wrong with the answer, the 2xx is acknowledged first.
            self.ua.ack(now, ua, None);
            match said.filter(|_| !settled).or(fork) {
                // Of several early dialogs this is the one that was heard last, and it is not heard anew.
                Some(sdp) if settled && Some(&sdp) == in_force.as_ref() => Ok(()),
                Some(_) if late => Ok(()),
                Some(sdp) => self.accept_answer(now, key, &sdp, true),
                // The answer came by UPDATE.
                None if settled && in_force.is_some() => Ok(()),
                None => Err(Error::Sdp("the 2xx has no answer to our offer".into())),
            }
        };
        if let Err(error) = result {
            self.finish(now, key, Ending::failed(Some(488), error.to_string()));
            return;
        }
        if let Some(call) = self.calls.get_mut(key)
            && call.reinvite.is_none()
        {
            call.media.local_offer = None;
        }
        self.answered(now, key);
        match self.calls.get(key).map(|call| &call.link) {
            Some(Link::Target(caller)) => {
                let caller = *caller;
                self.target_answered(now, caller, key);
            }
            Some(Link::Referral(referred)) => {
                let referred = *referred;
                self.referral_answered(now, referred, key);
            }
            // The call that was referred has ended meanwhile.
            Some(Link::Peer(_)) => self.bridge_peers(now, key),
            _ => {}
        }
    }

    /// `Timer::Silence`: it rings, or is only said to be tried (100), and nobody has spoken for minutes.
    pub(crate) fn never_answered(&mut self, now: Now, key: Key) {
        self.finish(now, key, Ending::failed(Some(StatusCode::REQUEST_TIMEOUT.as_u16()), "no answer from the network"));
    }

    /// From needs a user; where the program gave none it is our own.
    pub(crate) fn with_user(&self, from: NameAddr) -> NameAddr {
        if from.uri.raw_user().is_some() {
            return from;
        }
        let Some(rest) = from.uri.as_str().split_once(':').map(|(_, rest)| rest) else { return from };
        let Ok(named) = Uri::parse(&format!("{}:{}@{rest}", from.uri.scheme_str(), self.config.user)) else {
            return from;
        };
        NameAddr { uri: named, ..from }
    }
}

fn invalid(uri: &str, why: impl Into<String>) -> Error {
    Error::InvalidUri { uri: uri.chars().take(256).collect(), why: why.into() }
}

/// A URI as a program gives it: `"Alice" <sip:alice@example.com>`, or the URI alone, whose parameters are then its own.
pub(crate) fn parse_address(text: &str) -> Result<NameAddr, Error> {
    if text.chars().any(char::is_control) {
        return Err(invalid(text, "a URI has no control characters"));
    }
    let address = if text.contains('<') {
        NameAddr::parse(text).map_err(|error| invalid(text, error.to_string()))?
    } else {
        let uri = Uri::parse(text.trim()).map_err(|error| invalid(text, error.to_string()))?;
        NameAddr { display_name: None, uri, params: Default::default() }
    };
    match address.uri.scheme() {
        Scheme::Sip | Scheme::Sips | Scheme::Tel => {}
        _ => return Err(invalid(text, "not a SIP URI")),
    }
    if address.uri.scheme() != Scheme::Tel && address.uri.host().is_none() {
        return Err(invalid(text, "no host"));
    }
    Ok(NameAddr { params: Default::default(), ..address })
}

/// Can a request be sent there? `configured`: the transports that there are.
pub(crate) fn check_target(uri: &Uri, configured: &[Transport]) -> Result<(), Error> {
    let named = uri.transport().map(|name| (name, Transport::from_param(name)));
    match uri.scheme() {
        Scheme::Sip => {}
        // RFC 3261 §26.2.2: each hop is secured, ours before all.
        Scheme::Sips => match Service::of(uri, configured).map(|service| service.transport) {
            Some(secured) if configured.contains(&secured) => {}
            Some(secured) => {
                return Err(invalid(uri.as_str(), format!("sips needs {secured}, which is not configured")));
            }
            None => return Err(invalid(uri.as_str(), "sips does not go by that transport")),
        },
        _ => return Err(invalid(uri.as_str(), "only sip and sips URIs can be called")),
    }
    if uri.port() == Some(0) {
        return Err(invalid(uri.as_str(), "port 0"));
    }
    // Whether there is a way by UDP or TCP shows when it is tried.
    let usable =
        |transport: Transport| matches!(transport, Transport::Udp | Transport::Tcp) || configured.contains(&transport);
    match named {
        Some((name, transport)) if uri.scheme() == Scheme::Sip && !transport.is_some_and(usable) => {
            Err(invalid(uri.as_str(), format!("transport {name:?} is not configured")))
        }
        _ => Ok(()),
    }
}

/// Status and phrase of a response.
pub(crate) fn status_line(response: &Message) -> (u16, String) {
    match response.start() {
        ringback_sip::StartLine::Response { status, reason, .. } => (status.as_u16(), reason.to_string()),
        ringback_sip::StartLine::Request { .. } => (0, String::new()),
    }
}

/// The addresses of all contacts, in their order.
pub(crate) fn contacts(response: &Message) -> Vec<String> {
    let contacts = response.contacts().unwrap_or_default();
    contacts.iter().take(limits::TARGETS_MOST).map(|contact| contact.uri.to_string()).collect()
}
