//! Which of our addresses a packet to some peer leaves by: a throw-away UDP socket is connected to the peer (no packet is sent) and
//! asked for its own address. Answers are kept for a few seconds, so that a call costs one look into a table.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::time::Duration;

use ringback_time::Mono;
use ringback_ua::{Routes, Transport};
use socket2::{Domain, Socket, Type};

use crate::clock;
use crate::sys;

const KEPT: Duration = Duration::from_secs(10);
const FAILURE_KEPT: Duration = Duration::from_secs(1);
/// Peers choose the keys of the table.
const ENTRIES_MOST: usize = 4096;

pub(crate) struct RouteTable {
    listening: Vec<(Transport, SocketAddr)>,
    known: HashMap<SocketAddr, Known, foldhash::quality::RandomState>,
    probe_v4: Option<Socket>,
    probe_v6: Option<Socket>,
    /// Addresses of datagrams that came once, and whether they are still ours.
    own: HashMap<IpAddr, (Mono, bool), foldhash::quality::RandomState>,
}

struct Known {
    until: Mono,
    local: Option<SocketAddr>,
}

impl RouteTable {
    /// `listening`: what is really bound.
    pub(crate) fn new(listening: Vec<(Transport, SocketAddr)>) -> Self {
        RouteTable { listening, known: HashMap::default(), probe_v4: None, probe_v6: None, own: HashMap::default() }
    }

    fn route(&mut self, now: Mono, remote: SocketAddr) -> Option<SocketAddr> {
        let mut key = remote;
        // The port does not matter, but connecting to port 0 is refused.
        key.set_port(5060);
        if let Some(known) = self.known.get(&key).filter(|known| known.until > now) {
            return known.local;
        }
        let local = self.probe(key);
        if self.known.len() >= ENTRIES_MOST {
            self.known.retain(|_, known| known.until > now);
            if self.known.len() >= ENTRIES_MOST {
                self.known.clear();
            }
        }
        let kept = if local.is_some() { KEPT } else { FAILURE_KEPT };
        self.known.insert(key, Known { until: now + kept, local });
        local
    }

    /// Whether an interface has that address.
    fn is_own(&mut self, now: Mono, ip: IpAddr) -> bool {
        if let Some((_, own)) = self.own.get(&ip).filter(|(until, _)| *until > now) {
            return *own;
        }
        let any = SocketAddr::new(ip, 0);
        let socket = Socket::new(Domain::for_address(any), Type::DGRAM.cloexec(), None);
        let own = socket.is_ok_and(|socket| socket.bind(&any.into()).is_ok()) && !ip.is_multicast();
        if self.own.len() >= ENTRIES_MOST {
            self.own.clear();
        }
        self.own.insert(ip, (now + KEPT, own));
        own
    }

    fn probe(&mut self, remote: SocketAddr) -> Option<SocketAddr> {
        let slot = if remote.is_ipv6() { &mut self.probe_v6 } else { &mut self.probe_v4 };
        let socket = match slot {
            Some(socket) => socket,
            None => {
                slot.insert(Socket::new(Domain::for_address(remote), Type::DGRAM.nonblocking().cloexec(), None).ok()?)
            }
        };
        // Without a dissolved earlier connection the earlier source address would stay.
        let _ = sys::disconnect(socket.as_fd());
        sys::connect(socket.as_fd(), &remote).ok()?;
        let local = socket.local_addr().ok()?.as_socket()?;
        (!local.ip().is_unspecified()).then_some(local)
    }
}

impl Routes for RouteTable {
    fn local_address(&mut self, transport: Transport, remote: SocketAddr) -> Option<SocketAddr> {
        let fits =
            |(kind, address): &(Transport, SocketAddr)| *kind == transport && address.is_ipv4() == remote.is_ipv4();
        let mut candidates = self.listening.iter().filter(|listening| fits(listening)).map(|(_, address)| *address);
        let first = candidates.next()?;
        if candidates.next().is_none() && !first.ip().is_unspecified() {
            return Some(first);
        }
        let routed = self.route(clock::mono(), remote);
        let listening = self.listening.iter().filter(|listening| fits(listening)).map(|(_, address)| *address);
        let (mut any, mut named) = (None, None);
        for address in listening {
            if routed.is_some_and(|routed| routed.ip() == address.ip()) {
                return Some(address);
            }
            if address.ip().is_unspecified() {
                any.get_or_insert(address);
            } else {
                named.get_or_insert(address);
            }
        }
        match (any, routed) {
            (Some(any), Some(mut routed)) => {
                routed.set_port(any.port());
                Some(routed)
            }
            _ => named,
        }
    }

    fn leaves_by(&mut self, local: SocketAddr, remote: SocketAddr) -> bool {
        if local.is_ipv4() != remote.is_ipv4() {
            return false;
        }
        let udp = self.listening.iter().filter(|(kind, _)| *kind == Transport::Udp).map(|(_, address)| *address);
        let (mut bound, mut any) = (false, false);
        for address in udp {
            bound |= address == local;
            any |=
                address.ip().is_unspecified() && address.is_ipv4() == local.is_ipv4() && address.port() == local.port();
        }
        bound || any && self.is_own(clock::mono(), local.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_wildcard_becomes_the_address_of_the_route() {
        let mut routes =
            RouteTable::new(vec![(Transport::Udp, at("0.0.0.0:5070")), (Transport::Tcp, at("0.0.0.0:5080"))]);
        let remote = at("127.0.0.1:9");
        assert_eq!(routes.local_address(Transport::Udp, remote), Some(at("127.0.0.1:5070")));
        assert_eq!(routes.local_address(Transport::Tcp, remote), Some(at("127.0.0.1:5080")));
        assert_eq!(routes.local_address(Transport::Udp, at("[::1]:9")), None, "no v6 socket");
        assert_eq!(routes.known.len(), 1);
    }

    #[test]
    fn a_named_address_stays_and_a_transport_not_listened_on_has_none() {
        let mut routes = RouteTable::new(vec![(Transport::Udp, at("127.0.0.7:5070"))]);
        assert_eq!(routes.local_address(Transport::Udp, at("127.0.0.1:9")), Some(at("127.0.0.7:5070")));
        assert_eq!(routes.local_address(Transport::Tcp, at("127.0.0.1:9")), None);
    }

    #[test]
    fn datagrams_leave_by_what_is_bound_and_ours() {
        let listening = ["127.0.0.1:5070", "127.0.0.2:5070", "0.0.0.0:5072", "[::1]:5074"];
        let udp = listening.iter().map(|address| (Transport::Udp, at(address)));
        let mut routes = RouteTable::new(udp.chain([(Transport::Tcp, at("127.0.0.1:5080"))]).collect());
        for (local, remote, leaves) in [
            ("127.0.0.1:5070", "192.0.2.1:9", true),
            ("127.0.0.2:5070", "192.0.2.1:9", true),
            ("127.0.0.3:5070", "192.0.2.1:9", false),
            ("127.0.0.1:5072", "192.0.2.1:9", true),
            ("198.51.100.7:5072", "192.0.2.1:9", false),
            ("224.0.1.75:5072", "192.0.2.1:9", false),
            ("127.0.0.1:5080", "192.0.2.1:9", false),
            ("127.0.0.1:5070", "[2001:db8::1]:9", false),
            ("[::1]:5074", "[2001:db8::1]:9", true),
        ] {
            assert_eq!(routes.leaves_by(at(local), at(remote)), leaves, "{local} to {remote}");
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let mut routes = RouteTable::new(vec![(Transport::Udp, at("0.0.0.0:5070"))]);
        for number in 0..ENTRIES_MOST as u32 + 10 {
            let ip = std::net::Ipv4Addr::from(0x7f00_0001 + number);
            routes.route(Mono::from_nanos(1), SocketAddr::new(ip.into(), 9));
        }
        assert!(routes.known.len() <= ENTRIES_MOST);
    }
}
