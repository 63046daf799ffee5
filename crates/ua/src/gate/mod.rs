//! Who may come in: nonces that we make, and whether credentials for one of them are good (RFC 7616 §3.3, §5.4, §5.5).
//!
//! A nonce is a time, a few random bits and a keyed hash of both: none is kept, so that whoever asks without credentials costs no memory. Only
//! what a password has been proven with leaves something behind, the counts that its nonce was used with, so that it cannot be
//! replayed.
//!
//! Invariant: a pair of nonce and count passes once at most.

mod replay;

use std::net::IpAddr;

use aws_lc_rs::hmac;
use rand_core::RngCore;
use ringback_sip::digest::{Algorithm, Authorization, Challenge, Qop, ha1};
use ringback_sip::{HeaderName, Host, Message, Method, Uri};
use ringback_time::Mono;

use crate::api::{Authenticator, Found};
use crate::gate::replay::Replays;
use crate::transaction::key::{hex, parse_hex};

/// User agents that give a request up when they see a challenge by anything but MD5, instead of ignoring it as RFC 8760 §2.4 wants.
const MD5_ALONE: [&str; 2] = ["baresip v0.", "baresip v1."];

/// What credentials are worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Good,
    /// The right password, but a nonce that is old, was used before, or is not ours: RFC 7616 §3.3, `stale`.
    Stale,
    /// No such user, or a wrong password: nobody may know which.
    Wrong,
}

/// A nonce of ours.
struct Nonce {
    /// Seconds.
    made: u32,
    bits: u64,
}

pub(crate) struct Gate {
    pub(crate) config: Authenticator,
    key: hmac::Key,
    /// What is hashed where there is no password at all, so that this takes as long.
    dummy: String,
    replays: Replays,
}

fn seconds(now: Mono) -> u32 {
    (now.as_nanos() / 1_000_000_000) as u32
}

impl Gate {
    pub(crate) fn new(config: Authenticator, rng: &mut impl RngCore) -> Gate {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        Gate {
            config,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            dummy: format!("{:016x}", rng.next_u64()),
            replays: Replays::default(),
        }
    }

    pub(crate) fn is_trusted(&self, address: IpAddr) -> bool {
        self.config.trusted.iter().any(|network| network.contains(address))
    }

    fn mac(&self, bits: u64) -> u64 {
        let tag = hmac::sign(&self.key, &bits.to_be_bytes());
        tag.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// `random`: the number that tells it from others of the same second.
    pub(crate) fn nonce(&self, now: Mono, random: u32) -> String {
        let bits = u64::from(seconds(now)) << 32 | u64::from(random);
        let (bits, mac) = (hex(bits), hex(self.mac(bits)));
        [bits, mac].into_iter().flatten().map(char::from).collect()
    }

    fn read(&self, nonce: &str) -> Option<Nonce> {
        let (bits, mac) = nonce.split_at_checked(16)?;
        let (bits, mac) = (parse_hex(bits)?, parse_hex(mac)?);
        let own = self.mac(bits).to_be_bytes();
        aws_lc_rs::constant_time::verify_slices_are_equal(&own, &mac.to_be_bytes()).ok()?;
        Some(Nonce { made: (bits >> 32) as u32, bits })
    }

    /// Whether we made it, however long ago.
    pub(crate) fn is_ours(&self, nonce: &str) -> bool {
        self.read(nonce).is_some()
    }

    /// The credentials for our realm, of those that a request has.
    pub(crate) fn find(&self, given: Vec<Authorization>) -> Option<Authorization> {
        given.into_iter().find(|one| {
            one.realm() == self.config.realm
                && one.algorithm().is_some_and(|algorithm| self.config.algorithms.contains(&algorithm))
                && one.qop().is_some_and(|qop| !self.config.integrity || qop == Some(Qop::AuthInt))
        })
    }

    /// Of a nonce, in seconds.
    fn lifetime(&self) -> u32 {
        u32::try_from(self.config.nonce_life.as_secs()).unwrap_or(u32::MAX).max(1)
    }

    /// What the credentials of a request are worth, when this is the user's password. Takes as long where it is somebody else's, or none.
    pub(crate) fn judge(
        &mut self,
        now: Mono,
        given: &Authorization,
        request: &Message,
        found: Option<Found<'_>>,
    ) -> Verdict {
        let (Some(algorithm), Some(username)) = (given.algorithm(), given.username()) else { return Verdict::Wrong };
        let method = request.method().map_or("", Method::as_str);
        let Found { password, known } = found.unwrap_or(Found { password: &self.dummy, known: false });
        let ha1 = ha1(algorithm, &username, &self.config.realm, password);
        if !(given.proves(&ha1, method, &request.body()) & known) {
            return Verdict::Wrong;
        }
        let Some(nonce) = self.read(given.nonce()) else { return Verdict::Stale };
        let now = seconds(now);
        if now.saturating_sub(nonce.made) >= self.lifetime() {
            return Verdict::Stale;
        }
        // RFC 2069 has no count, and its response covers none that stands there all the same: such a nonce is good once.
        let count = if given.qop().flatten().is_some() { given.nc().unwrap_or(1) } else { 1 };
        let lifetime = self.lifetime();
        match self.replays.take(now, lifetime, nonce.bits, nonce.made, count) {
            true => Verdict::Good,
            false => Verdict::Stale,
        }
    }

    /// RFC 8760 §2.3: a challenge for each algorithm, with one nonce.
    pub(crate) fn challenges(&self, request: &Message, nonce: &str, stale: bool) -> impl Iterator<Item = Challenge> {
        let agent = request.headers().get(&HeaderName::UserAgent).unwrap_or_default();
        let md5_alone = self.config.algorithms.contains(&Algorithm::Md5)
            && MD5_ALONE
                .iter()
                .any(|name| agent.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)));
        let algorithms =
            self.config.algorithms.iter().filter(move |algorithm| !md5_alone || **algorithm == Algorithm::Md5);
        let qop = if self.config.integrity { Qop::AuthInt } else { Qop::Auth };
        algorithms.map(move |algorithm| Challenge::new(&self.config.realm, nonce, *algorithm, qop, stale))
    }

    /// Whether an address of record is the user's own: `ours` are addresses of ours beside the realm and the domains.
    pub(crate) fn is_own(&self, username: &str, uri: &Uri, ours: &[Option<Host<'_>>]) -> bool {
        let (Some(user), Some(host)) = (uri.user(), uri.host()) else { return false };
        // Some give the whole address as user name.
        let (name, at) = match username.rsplit_once('@') {
            Some((name, domain)) => (name, Host::parse(domain)),
            None => (username, None),
        };
        if user != name && user != username {
            return false;
        }
        if at.is_some_and(|at| at != host) {
            return false;
        }
        let realm = Host::parse(&self.config.realm).filter(|_| self.config.realm.contains(['.', ':']));
        let domains = self.config.domains.iter().map(|domain| Host::parse(domain));
        let mut all = domains.chain(ours.iter().copied()).chain([realm]).flatten();
        // A realm that is no domain, and no domains, do not say what ours are.
        (realm.is_none() && self.config.domains.is_empty()) || all.any(|known| known == host)
    }

    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.replays.len()
    }
}

/// RFC 7616 §3.4.6: whether the credentials were made for this Request-URI. Its host may have been changed by proxies on the way; whom it names
/// must not have been.
pub(crate) fn is_for(given: &Authorization, request: &Message) -> bool {
    let (Ok(meant), Some(uri)) = (Uri::parse(given.uri()), request.request_uri()) else { return false };
    match (meant.user(), uri.user()) {
        (Some(meant), Some(user)) => meant == user,
        // A few telephones write the domain alone.
        _ => true,
    }
}

#[cfg(test)]
mod tests;
