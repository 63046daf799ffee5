//! Our own address towards a peer, which our descriptions have to name. Where the peer is a host name and we listen on all
//! interfaces, it is not known before the name is looked up: the call waits for that, and then goes its way whatever came of it
//! (`ua` looks names up for itself, and is the one to say that there is no way). It waits in the same way for what a NAT makes of that
//! address (`reach`).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use ringback_media_api::Token;
use ringback_registrar::Registrar;
use ringback_sip::{Host, Uri};
use ringback_time::Now;
use ringback_ua::{Home, ResolveId, Routes, Service, Transport};

use crate::api::Reply;
use crate::call::{Ending, Stage};
use crate::commands::Answer;
use crate::engine::{Engine, Output};
use crate::seen::Seen;
use crate::table::Key;

/// Stands for an address that is not known.
pub(crate) const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// RFC 5737: an address that every default route leads to, asked about where a name has none.
pub(crate) const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

const DEFAULT_PORT: u16 = 5060;

/// `GenerateOffer` commands of one call that wait.
const OFFERS_MOST: usize = 8;

/// The driver's routes, asked by `ua` and by the engine.
#[derive(Clone)]
pub(crate) struct SharedRoutes {
    routes: Arc<Mutex<Box<dyn Routes>>>,
    /// What NATs make of them.
    seen: Arc<Mutex<Seen>>,
    /// Who knows where the instances are that have GRUUs of ours.
    registrar: Arc<OnceLock<Arc<Mutex<Registrar>>>>,
}

impl SharedRoutes {
    pub(crate) fn new(routes: Box<dyn Routes>) -> Self {
        SharedRoutes { routes: Arc::new(Mutex::new(routes)), seen: Arc::default(), registrar: Arc::default() }
    }

    pub(crate) fn set_registrar(&self, registrar: &Arc<Mutex<Registrar>>) {
        let _ = self.registrar.set(Arc::clone(registrar));
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }
}

impl Routes for SharedRoutes {
    fn local_address(&mut self, transport: Transport, remote: SocketAddr) -> Option<SocketAddr> {
        self.routes.lock().local_address(transport, remote)
    }

    fn leaves_by(&mut self, local: SocketAddr, remote: SocketAddr) -> bool {
        self.routes.lock().leaves_by(local, remote)
    }

    fn public_address(&self, local: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
        self.seen.lock().of(local, remote)
    }

    fn home(&self, gruu: &Uri) -> Option<Home> {
        // None that we have given out has a port. Who is at work with the table asks nothing of `ua` meanwhile.
        let registrar = self.registrar.get().filter(|_| gruu.port().is_none())?;
        let record = registrar.try_lock()?.home(gruu)?;
        match record.flow() {
            Some(flow) => Some(Home::Flow(flow)),
            // Behind a Path there is a route to it, which a dialog has of its own.
            None if record.path.is_empty() => Uri::parse(&record.contact).ok().map(Home::Contact),
            None => None,
        }
    }
}

/// Look-ups under way.
#[derive(Debug, Default)]
pub(crate) struct Locating {
    waiting: HashMap<u64, Key, foldhash::fast::RandomState>,
    next: u32,
}

impl Locating {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Engine {
    /// The address that packets to a URI leave by, where that can be told without a look-up.
    pub(crate) fn local_towards(&mut self, uri: &Uri) -> Option<IpAddr> {
        if let Some(address) = self.config.media_address.filter(|address| !address.is_unspecified()) {
            return Some(address);
        }
        let host = match uri.maddr() {
            Some(maddr) => Host::parse(maddr)?,
            None => uri.host()?,
        };
        let remote = SocketAddr::new(host.ip()?, uri.port().unwrap_or(DEFAULT_PORT));
        // No route: the call will fail for that, and the description does not matter.
        Some(self.route_to(uri, remote).unwrap_or(UNKNOWN))
    }

    fn route_to(&mut self, uri: &Uri, remote: SocketAddr) -> Option<IpAddr> {
        self.address_to(uri, remote).map(|address| address.ip())
    }

    fn address_to(&mut self, uri: &Uri, remote: SocketAddr) -> Option<SocketAddr> {
        let transport = Service::of(uri, &self.config.transports).map_or(Transport::Udp, |service| service.transport);
        let local = self.routes.local_address(transport, remote);
        local.or_else(|| self.routes.local_address(Transport::Tcp, remote))
    }

    /// The address with the listening port that a peer sees requests come from; where the peer's name would have to be looked up first, the one
    /// that most others see.
    pub(crate) fn own_address(&mut self, towards: &Uri) -> Option<SocketAddr> {
        let host = match towards.maddr() {
            Some(maddr) => Host::parse(maddr),
            None => towards.host(),
        };
        let ip = host.and_then(|host| host.ip()).unwrap_or(ANYWHERE);
        let remote = SocketAddr::new(ip, towards.port().unwrap_or(DEFAULT_PORT));
        self.address_to(towards, remote)
    }

    /// Starts the look-up that a call's descriptions have to wait for.
    pub(crate) fn locate(&mut self, key: Key) {
        let Some(outgoing) = self.calls.get(key).and_then(|call| call.outgoing.as_ref()) else { return };
        let uri = outgoing.towards();
        let Some(host) = uri.maddr().map(str::to_owned).or_else(|| uri.host().map(|host| host.to_string())) else {
            return;
        };
        let Some(service) = Service::of(uri, &self.config.transports) else { return };
        let port = uri.port().unwrap_or(service.transport.default_port());
        // `ua` never uses generation 0, the upper half of its identities, so that these are told from its own.
        self.locating.next = self.locating.next.wrapping_add(1);
        let id = u64::from(self.locating.next);
        self.locating.waiting.insert(id, key);
        self.output.push_back(Output::Resolve { id: ResolveId::from_u64(id), host, port, service });
    }

    /// Our descriptions can be written.
    pub(crate) fn is_located(&self, key: Key) -> bool {
        let looked_up = self.locating.waiting.is_empty() || !self.locating.waiting.values().any(|other| *other == key);
        looked_up && !self.is_seeking(key)
    }

    pub(crate) fn forget_location(&mut self, key: Key) {
        if !self.locating.waiting.is_empty() {
            self.locating.waiting.retain(|_, other| *other != key);
        }
    }

    pub(crate) fn wait_for_location(&mut self, key: Key, token: Token) -> Answer {
        if let Some(outgoing) = self.calls.get_mut(key).and_then(|call| call.outgoing.as_mut()) {
            if outgoing.offers.len() >= OFFERS_MOST {
                return Err(crate::api::Error::ResourceExhausted("Too many offers are waiting"));
            }
            outgoing.offers.push(token);
        }
        Ok(None)
    }

    /// Whether a look-up is one of ours, not of `ua`.
    pub(crate) fn is_own_lookup(id: ResolveId) -> bool {
        id.as_u64() <= u64::from(u32::MAX)
    }

    /// A look-up of ours has come back: the first address, and by which transport where that was found too.
    pub(crate) fn located(
        &mut self,
        now: Now,
        id: ResolveId,
        found: Option<(Option<Transport>, SocketAddr)>,
    ) -> Option<()> {
        let key = self.locating.waiting.remove(&id.as_u64())?;
        self.current = Some(key);
        let uri = self.calls.get(key)?.outgoing.as_ref()?.towards().clone();
        let local = match found {
            Some((Some(transport), remote)) => self.routes.local_address(transport, remote).map(|address| address.ip()),
            Some((None, remote)) => self.route_to(&uri, remote),
            None => self.route_to(&uri, SocketAddr::new(ANYWHERE, DEFAULT_PORT)),
        };
        let call = self.calls.get_mut(key)?;
        call.media.local = local.unwrap_or(UNKNOWN);
        self.go_out(now, key);
        None
    }

    /// With what waited for the address that our descriptions name, once it is known.
    pub(crate) fn go_out(&mut self, now: Now, key: Key) {
        if !self.is_located(key) {
            return;
        }
        let Some(call) = self.calls.get_mut(key) else { return };
        let offers = call.outgoing.as_mut().map(|outgoing| std::mem::take(&mut outgoing.offers)).unwrap_or_default();
        for token in offers {
            let sdp = self.make_offer(key);
            self.complete(token, Ok(Reply::Text(sdp)));
        }
        if self.is_at(key, Stage::Locating)
            && let Err(error) = self.send(now, key)
        {
            self.finish(now, key, Ending::failed(None, error.to_string()));
        }
    }
}
