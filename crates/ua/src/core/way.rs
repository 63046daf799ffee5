//! Where requests go: RFC 3261 §8.1.2 outside of dialogs, §12.2.1.1 within them.
//!
//! Invariant: a request to a `sips` URI goes by nothing that is not secured (§26.2.2). What leads elsewhere is left out here, and
//! `Ua::address_client` refuses what a look-up or a flow still has to offer.

use std::net::SocketAddr;
use std::sync::Arc;

use ringback_sip::{HeaderName, NameAddr, Scheme, Uri};

use crate::api::{Flow, Home, UaError};
use crate::core::Ua;
use crate::dialog::{Dialog, is_gruu};
use crate::target::{Destination, Target};

/// The way of a request in a dialog.
pub(super) struct DialogWay {
    /// Tried first: the stream that the peer uses, or what its name led to.
    pub(super) hop: Option<Target>,
    /// The name that led to `hop`.
    pub(super) domain: Option<Arc<str>>,
    pub(super) destination: Option<Destination>,
}

impl Ua {
    /// The address of ours that a request to `target` leaves by.
    pub(super) fn local_for(&mut self, target: &Target) -> Option<SocketAddr> {
        // RFC 5626 §5.3: by a flow, from where its datagrams come to. Nothing else passes the NAT that it was opened through.
        let datagram = !target.transport.is_reliable();
        let own = target.local.filter(|local| datagram && self.routes.leaves_by(*local, target.address));
        own.or_else(|| self.routes.local_address(target.transport, target.address))
    }

    /// `sips`: the resource that the request is for is a `sips` one.
    fn destination(&self, uri: &Uri, sips: bool, routed: bool) -> Option<Destination> {
        let here = routed && uri.host().and_then(|host| host.ip()).is_some_and(|ip| ip.is_loopback());
        Destination::of(uri, &self.config.transports, sips && !here).ok()
    }

    /// RFC 3261 §8.1.2: where a request outside of a dialog goes. A preloaded route decides it.
    fn first_hop(&self, headers: &[(String, String)], request_uri: &Uri) -> Result<Destination, UaError> {
        let sips = request_uri.scheme() == Scheme::Sips;
        let invalid = |uri: &Uri| UaError::InvalidUri(uri.as_str().to_owned());
        let preloaded = headers.iter().find(|(name, _)| HeaderName::parse(name) == HeaderName::Route);
        let Some((name, route)) = preloaded else {
            return self.destination(request_uri, sips, false).ok_or_else(|| invalid(request_uri));
        };
        let first = crate::wire::echo::values(route).next().and_then(|(start, end)| route.get(start..end));
        let first = first.and_then(|first| NameAddr::parse(first).ok());
        let first = first.ok_or_else(|| UaError::InvalidHeader(name.clone()))?.uri;
        self.destination(&first, sips, true).ok_or_else(|| invalid(&first))
    }

    /// Where a request outside of a dialog is tried first, and then: its flow and nothing else, or where RFC 3261 §8.1.2 leads.
    pub(super) fn way(
        &self,
        flow: Option<Flow>,
        headers: &[(String, String)],
        request_uri: &Uri,
    ) -> Result<(Option<Target>, Option<Destination>), UaError> {
        match flow {
            Some(flow) => Ok((Some(Target::of_flow(&flow)), None)),
            None => Ok((None, Some(self.first_hop(headers, request_uri)?))),
        }
    }

    fn home(&self, gruu: &str, sips: bool) -> Option<DialogWay> {
        let way = |hop, destination| DialogWay { hop, domain: None, destination };
        match self.routes.home(&Uri::parse(gruu).ok()?)? {
            Home::Flow(flow) => {
                let hop = Some(Target::of_flow(&flow)).filter(|hop| !sips || hop.is_fit_for_sips(false))?;
                Some(way(Some(hop), None))
            }
            Home::Contact(contact) => Some(way(None, Some(self.destination(&contact, sips, false)?))),
        }
    }

    pub(super) fn dialog_way(&self, dialog: &Dialog) -> DialogWay {
        let (sips, routed) = (dialog.is_sips(), !dialog.is_direct());
        // RFC 5627 §5.4: a GRUU leads to where its instance is now, request by request. Ours to say where no proxy is between.
        let home = if !routed && is_gruu(dialog.target()) { self.home(dialog.target(), sips) } else { None };
        if let Some(way) = home {
            return way;
        }
        let hop = dialog.hop.filter(|hop| !sips || hop.is_fit_for_sips(routed));
        let destination = dialog.next_hop().and_then(|uri| self.destination(&uri, sips, routed));
        let known = |destination: &Destination| matches!((destination, hop), (Destination::Known(known), Some(hop)) if known.is_same(&hop));
        DialogWay { hop, domain: dialog.hop_domain.clone(), destination: destination.filter(|found| !known(found)) }
    }
}
