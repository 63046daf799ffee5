//! WWW-Authenticate and Proxy-Authenticate: RFC 7616 §3.3.

use std::fmt;

use crate::digest::list::{self, List};
use crate::digest::{Algorithm, Qop};

/// One digest challenge. It has a realm and a nonce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    params: List,
}

impl Challenge {
    pub(super) fn of(params: List) -> Option<Challenge> {
        (params.get("realm").is_some() && params.get("nonce").is_some()).then_some(Challenge { params })
    }

    /// One challenge. `None` also where more than one stands in the text.
    pub fn parse(text: &str) -> Option<Challenge> {
        let mut found = list::read(std::iter::once(text)).filter_map(Challenge::of);
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Neither text may have control characters.
    pub fn new(realm: &str, nonce: &str, algorithm: Algorithm, qop: Qop, stale: bool) -> Challenge {
        let params = List::default().quoted("realm", realm).quoted("nonce", nonce);
        let params = if stale { params.token("stale", "true") } else { params };
        Challenge { params: params.token("algorithm", algorithm.as_str()).quoted("qop", qop.as_str()) }
    }

    pub fn realm(&self) -> &str {
        self.get("realm").unwrap_or_default()
    }

    pub fn nonce(&self) -> &str {
        self.get("nonce").unwrap_or_default()
    }

    pub fn opaque(&self) -> Option<&str> {
        self.get("opaque")
    }

    /// URIs that the same credentials are good for (§3.3), as they are written.
    pub fn domain(&self) -> Option<&str> {
        self.get("domain")
    }

    /// The answer was good but for its nonce.
    pub fn is_stale(&self) -> bool {
        self.get("stale").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// `None`: one that is not known here, so that the challenge must be ignored. MD5 is meant where none is given.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.get("algorithm").map_or(Some(Algorithm::Md5), Algorithm::parse)
    }

    /// Whether there is a `qop`: without one, RFC 2069 counts.
    pub fn has_qop(&self) -> bool {
        self.get("qop").is_some()
    }

    pub fn offers(&self, qop: Qop) -> bool {
        self.get("qop").is_some_and(|list| list.split(',').any(|token| Qop::parse(token.trim()) == Some(qop)))
    }

    /// Whether it can be answered: a known algorithm, and a known `qop` or none.
    pub fn is_supported(&self) -> bool {
        self.algorithm().is_some() && (!self.has_qop() || self.offers(Qop::Auth) || self.offers(Qop::AuthInt))
    }

    /// The same with another nonce (§3.5, `nextnonce`).
    pub fn with_nonce(&self, nonce: &str) -> Challenge {
        let mut params = List::default();
        for (name, value, quoted) in self.params.iter() {
            params = match name {
                _ if name.eq_ignore_ascii_case("nonce") => params.quoted(name, nonce),
                _ if name.eq_ignore_ascii_case("stale") => params,
                _ if quoted => params.quoted(name, value),
                _ => params.token(name, value),
            };
        }
        Challenge { params }
    }

    /// Any parameter, by its name in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.params.fmt(f)
    }
}
