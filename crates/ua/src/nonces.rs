//! Nonces that peers gave us, so that later requests bring their credentials along (RFC 3261 §22.2, RFC 7616 §3.4).
//!
//! A nonce is known by the host it came from and the user name it was answered with. Invariant: there are never more than `MOST` of them;
//! those that have not been used for longest go first.

use std::collections::HashMap;

use ringback_sip::digest::{Challenge, Digest};
use smallvec::SmallVec;

/// Nonces kept. Some 500 bytes each.
const MOST: usize = 8192;
/// Of one host and user name: a host that names ever new realms pushes out its own.
const MOST_OF_ONE: usize = 4;

/// A nonce, and what it was answered with.
#[derive(Clone, Debug)]
pub(crate) struct Nonce {
    pub(crate) challenge: Challenge,
    pub(crate) username: Box<str>,
    pub(crate) ha1: Digest,
    /// RFC 7616 §3.4.2: it stays while the nonce does, for algorithms that make a session of the two.
    pub(crate) cnonce: u64,
    /// How often it has been used.
    pub(crate) nc: u32,
    /// Whether a proxy asked: 407.
    pub(crate) proxy: bool,
    /// The host of the Request-URI: what a server's realm is good for. A proxy's is good for all that goes through it.
    pub(crate) uri_host: Box<str>,
}

impl Nonce {
    pub(crate) fn is_of(&self, realm: &str, proxy: bool) -> bool {
        self.proxy == proxy && self.challenge.realm() == realm
    }
}

/// Where nonces are good: a host with its port, and a user name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Space(Box<str>);

impl Space {
    pub(crate) fn new(hop: &str, username: &str) -> Space {
        // No host has a line break.
        Space(format!("{hop}\n{username}").into())
    }
}

type Table = HashMap<Space, SmallVec<[Nonce; 1]>, foldhash::quality::RandomState>;

/// Two tables: what is used moves to the young one, and when that has half of the room, the old one is dropped.
#[derive(Default)]
pub(crate) struct Nonces {
    young: Table,
    old: Table,
    /// Nonces in `young`.
    count: usize,
}

impl Nonces {
    pub(crate) fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.values().chain(self.old.values()).map(SmallVec::len).sum()
    }

    /// All that are good there.
    pub(crate) fn of(&mut self, space: &Space) -> &mut [Nonce] {
        if let Some(nonces) = self.old.remove(space) {
            self.count += nonces.len();
            self.young.insert(space.clone(), nonces);
            self.turn();
        }
        self.young.get_mut(space).or_else(|| self.old.get_mut(space)).map_or(&mut [], |nonces| nonces.as_mut_slice())
    }

    pub(crate) fn find(&mut self, space: &Space, realm: &str, proxy: bool) -> Option<&mut Nonce> {
        self.of(space).iter_mut().find(|nonce| nonce.is_of(realm, proxy))
    }

    /// Keeps a nonce instead of the one that was there for its realm.
    pub(crate) fn insert(&mut self, space: &Space, nonce: Nonce) {
        self.remove(space, nonce.challenge.realm(), nonce.proxy);
        self.of(space);
        let nonces = match self.young.get_mut(space) {
            Some(nonces) => nonces,
            None => self.young.entry(space.clone()).or_default(),
        };
        if nonces.len() >= MOST_OF_ONE {
            nonces.remove(0);
            self.count -= 1;
        }
        nonces.push(nonce);
        self.count += 1;
        self.turn();
    }

    pub(crate) fn remove(&mut self, space: &Space, realm: &str, proxy: bool) {
        for (table, young) in [(&mut self.young, true), (&mut self.old, false)] {
            let Some(nonces) = table.get_mut(space) else { continue };
            let before = nonces.len();
            nonces.retain(|nonce| !nonce.is_of(realm, proxy));
            if young {
                self.count -= before - nonces.len();
            }
            if nonces.is_empty() {
                table.remove(space);
            }
        }
    }

    fn turn(&mut self) {
        if self.count >= MOST / 2 {
            self.old = std::mem::take(&mut self.young);
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use ringback_sip::digest::{Algorithm, Qop, ha1};

    use super::*;

    fn nonce(realm: &str, text: &str) -> Nonce {
        Nonce {
            challenge: Challenge::new(realm, text, Algorithm::Md5, Qop::Auth, false),
            username: "alice".into(),
            ha1: ha1(Algorithm::Md5, "alice", realm, "x"),
            cnonce: 1,
            nc: 0,
            proxy: false,
            uri_host: "pbx".into(),
        }
    }

    #[test]
    fn a_realm_has_one_nonce_and_a_host_a_few_realms() {
        let mut nonces = Nonces::default();
        let space = Space::new("pbx:5060", "alice");
        nonces.insert(&space, nonce("r", "1"));
        nonces.insert(&space, nonce("r", "2"));
        assert_eq!(nonces.find(&space, "r", false).unwrap().challenge.nonce(), "2");
        assert!(nonces.find(&space, "r", true).is_none() && nonces.find(&space, "s", false).is_none());
        for n in 0..20 {
            nonces.insert(&space, nonce(&format!("realm {n}"), "3"));
        }
        assert_eq!(nonces.of(&space).len(), MOST_OF_ONE);
        nonces.remove(&space, "realm 19", false);
        assert_eq!(nonces.of(&space).len(), MOST_OF_ONE - 1);
        assert!(nonces.of(&Space::new("pbx:5060", "bob")).is_empty());
    }

    #[test]
    fn a_flood_of_hosts_is_bounded_and_what_is_used_stays() {
        let mut nonces = Nonces::default();
        let used = Space::new("pbx:5060", "alice");
        nonces.insert(&used, nonce("r", "used"));
        for n in 0..5 * MOST {
            nonces.insert(&Space::new(&format!("host{n}:5060"), "alice"), nonce("r", "1"));
            if n % 1000 == 0 {
                assert_eq!(nonces.of(&used).len(), 1);
            }
            assert!(nonces.len() <= MOST);
        }
        for n in 0..5 * MOST {
            nonces.remove(&Space::new(&format!("host{n}:5060"), "alice"), "r", false);
        }
        nonces.remove(&used, "r", false);
        assert!(nonces.is_empty());
        assert_eq!(nonces.count, 0);
    }
}
