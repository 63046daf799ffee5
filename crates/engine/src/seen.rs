//! What NATs make of the address of the SIP socket, and to whom that is told: to a registrar, and whoever else is at its address, what its own
//! answers say (RFC 3581); to the rest of the world what a STUN server has said; to those on our side of the NAT nothing.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::limits;

#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// By our own address and the peer's.
    by_peer: HashMap<(SocketAddr, IpAddr), SocketAddr, foldhash::quality::RandomState>,
    by_server: Option<(SocketAddr, SocketAddr)>,
}

impl Seen {
    /// `None`: the local address is the right one, as far as is known.
    pub(crate) fn of(&self, local: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
        let told = || self.by_server.filter(|(asked, _)| *asked == local && is_global(remote.ip()));
        let known = self.by_peer.get(&(local, remote.ip())).copied();
        known.or_else(|| told().map(|(_, mapped)| mapped)).filter(|seen| *seen != local)
    }

    /// A peer has said where our packets come from. True: it is to be told something else from now on.
    pub(crate) fn learn(&mut self, local: SocketAddr, remote: SocketAddr, seen: SocketAddr) -> bool {
        let before = self.of(local, remote);
        if self.by_peer.len() >= limits::ACCOUNTS_MOST {
            self.by_peer.clear();
        }
        self.by_peer.insert((local, remote.ip()), seen);
        before != self.of(local, remote)
    }

    /// A STUN server has said it. True: it is another one than before.
    pub(crate) fn set(&mut self, local: SocketAddr, mapped: SocketAddr) -> bool {
        let before = self.by_server.replace((local, mapped)).unwrap_or((local, local));
        before != (local, mapped)
    }
}

/// Whether an address is none of a site's own, so that who has it is on the other side of a NAT (RFC 6890).
fn is_global(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            // RFC 6598: between a provider's NAT and its customers.
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared)
        }
        IpAddr::V6(ip) => {
            let local = ip.is_unique_local() || ip.is_unicast_link_local();
            !(local || ip.is_loopback() || ip.is_unspecified())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_peer_is_told_what_holds_for_it() {
        let (local, other) = (at("10.0.0.5:5060"), at("10.0.0.6:5060"));
        let (far, registrar, near) = (at("192.0.2.1:5060"), at("192.0.2.9:5070"), at("10.9.9.9:5060"));
        let mut seen = Seen::default();
        assert_eq!(seen.of(local, far), None);
        assert!(seen.set(local, at("203.0.113.5:40000")));
        assert!(!seen.set(local, at("203.0.113.5:40000")));
        assert_eq!(seen.of(local, far), Some(at("203.0.113.5:40000")));
        for near in [near, at("127.0.0.1:5060"), at("100.64.0.1:5060"), at("169.254.1.1:5060"), at("192.168.7.7:5060")]
        {
            assert_eq!(seen.of(local, near), None, "{near} is on our side");
        }
        assert_eq!(seen.of(other, far), None, "it was not asked from there");
        // A NAT that takes another port towards each peer.
        assert!(seen.learn(local, registrar, at("203.0.113.5:40001")));
        assert!(!seen.learn(local, registrar, at("203.0.113.5:40001")));
        assert_eq!(seen.of(local, at("192.0.2.9:5060")), Some(at("203.0.113.5:40001")), "its proxy, too");
        assert_eq!(seen.of(local, far), Some(at("203.0.113.5:40000")));
        // None between.
        assert!(seen.learn(local, registrar, local));
        assert_eq!(seen.of(local, registrar), None);
        // One on our side that sees another address all the same.
        assert!(seen.learn(local, near, at("10.8.0.1:5060")));
        assert_eq!(seen.of(local, near), Some(at("10.8.0.1:5060")));
    }

    #[test]
    fn no_nat_is_no_change() {
        let (local, far) = (at("198.51.100.1:5060"), at("192.0.2.1:5060"));
        let mut seen = Seen::default();
        assert!(!seen.set(local, local));
        assert!(!seen.learn(local, far, local));
        assert_eq!(seen.of(local, far), None);
        assert!(is_global("2001:db8::1".parse().unwrap()) && !is_global("fd00::1".parse().unwrap()));
        assert!(!is_global("::ffff:10.0.0.1".parse().unwrap()) && !is_global("fe80::1".parse().unwrap()));
    }
}
