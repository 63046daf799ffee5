//! Authorization and Proxy-Authorization: RFC 7616 §3.4, RFC 3261 §22.4.

use std::borrow::Cow;
use std::fmt;

use crate::digest::list::{self, List};
use crate::digest::{Algorithm, Challenge, Digest, Qop, hash};
use crate::grammar;

/// One set of digest credentials. It has a user name, realm, nonce, URI and response, of which `Debug` hides the last.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    params: List,
}

impl Authorization {
    pub(super) fn of(params: List) -> Option<Authorization> {
        let found = Authorization { params };
        let whole = ["realm", "nonce", "uri", "response"].iter().all(|name| found.get(name).is_some());
        (whole && found.username().is_some()).then_some(found)
    }

    /// One set of credentials. `None` also where more than one stands in the text.
    pub fn parse(text: &str) -> Option<Authorization> {
        let mut found = list::read(std::iter::once(text)).filter_map(Authorization::of);
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// RFC 7616 §3.4.4: `username`, or `username*` where that is encoded (RFC 5987).
    pub fn username(&self) -> Option<Cow<'_, str>> {
        if let Some(name) = self.get("username") {
            return Some(Cow::Borrowed(name));
        }
        let (charset, rest) = self.get("username*")?.split_once('\'')?;
        let (_, encoded) = rest.split_once('\'')?;
        let name = grammar::unescape(encoded);
        let sound = charset.eq_ignore_ascii_case("UTF-8") && !name.chars().any(char::is_control);
        sound.then_some(name)
    }

    pub fn realm(&self) -> &str {
        self.get("realm").unwrap_or_default()
    }

    pub fn nonce(&self) -> &str {
        self.get("nonce").unwrap_or_default()
    }

    /// The Request-URI as the sender wrote it; proxies may have changed the request's since.
    pub fn uri(&self) -> &str {
        self.get("uri").unwrap_or_default()
    }

    pub fn response(&self) -> &str {
        self.get("response").unwrap_or_default()
    }

    pub fn cnonce(&self) -> Option<&str> {
        self.get("cnonce")
    }

    pub fn opaque(&self) -> Option<&str> {
        self.get("opaque")
    }

    /// `None`: one that is not known here.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.get("algorithm").map_or(Some(Algorithm::Md5), Algorithm::parse)
    }

    /// `Some(None)`: there is none, RFC 2069. `None`: one that is not known here.
    pub fn qop(&self) -> Option<Option<Qop>> {
        self.get("qop").map_or(Some(None), |token| Qop::parse(token).map(Some))
    }

    /// How often the nonce has been used, this time included: exactly eight hexadecimal digits.
    pub fn nc(&self) -> Option<u32> {
        let digits = self.get("nc").filter(|digits| digits.len() == 8 && !digits.starts_with('+'))?;
        u32::from_str_radix(digits, 16).ok()
    }

    /// Any parameter, by its name in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    /// Whether the response is what someone who knows the password (`ha1`, of this algorithm) makes of the rest.
    ///
    /// An algorithm, a `qop` or a count that cannot be read proves nothing. Whether nonce, count, URI and realm are the right ones is
    /// another question.
    pub fn proves(&self, ha1: &Digest, method: &str, body: &[u8]) -> bool {
        let (Some(algorithm), Some(qop)) = (self.algorithm(), self.qop()) else { return false };
        let nc = self.get("nc").unwrap_or_default();
        let cnonce = self.cnonce().unwrap_or_default();
        if qop.is_some() && (self.nc().is_none() || self.cnonce().is_none()) {
            return false;
        }
        compute(algorithm, ha1, qop, Parts { nonce: self.nonce(), nc, cnonce, method, uri: self.uri(), body })
            .matches(self.response())
    }
}

impl fmt::Display for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.params.fmt(f)
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.params.iter().map(|(name, value, _)| {
            let hidden = name.eq_ignore_ascii_case("response");
            (name, if hidden { "<hidden>" } else { value })
        });
        f.debug_map().entries(shown).finish()
    }
}

pub(super) struct Parts<'a> {
    pub(super) nonce: &'a str,
    pub(super) nc: &'a str,
    pub(super) cnonce: &'a str,
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) body: &'a [u8],
}

/// RFC 7616 §3.4.1.
pub(super) fn compute(algorithm: Algorithm, ha1: &Digest, qop: Option<Qop>, parts: Parts<'_>) -> Digest {
    let Parts { nonce, nc, cnonce, method, uri, body } = parts;
    let (nonce, nc, cnonce) = (nonce.as_bytes(), nc.as_bytes(), cnonce.as_bytes());
    // §3.4.2.
    let session = algorithm.is_session().then(|| hash(algorithm, &[ha1.as_bytes(), nonce, cnonce]));
    let a1 = session.as_ref().unwrap_or(ha1).as_bytes();
    // §3.4.3.
    let a2 = match qop {
        Some(Qop::AuthInt) => {
            let body = hash(algorithm, &[body]);
            hash(algorithm, &[method.as_bytes(), uri.as_bytes(), body.as_bytes()])
        }
        _ => hash(algorithm, &[method.as_bytes(), uri.as_bytes()]),
    };
    match qop {
        Some(qop) => hash(algorithm, &[a1, nonce, nc, cnonce, qop.as_str().as_bytes(), a2.as_bytes()]),
        // RFC 2069, which RFC 7616 §3.4 leaves to those who have to speak with it.
        None => hash(algorithm, &[a1, nonce, a2.as_bytes()]),
    }
}

/// What goes into the credentials of one request.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub challenge: &'a Challenge,
    pub username: &'a str,
    /// Of the challenge's algorithm.
    pub ha1: &'a Digest,
    /// Ours, not to be guessed before.
    pub cnonce: &'a str,
    /// How often the nonce has been used, this time included.
    pub nc: u32,
    pub method: &'a str,
    /// The Request-URI.
    pub uri: &'a str,
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The credentials; `None` where the challenge is not one that [`Challenge::is_supported`] holds for.
    pub fn response(&self) -> Option<Authorization> {
        let Answer { challenge, username, ha1, cnonce, nc, method, uri, body } = *self;
        if !challenge.is_supported() {
            return None;
        }
        let algorithm = challenge.algorithm()?;
        // Protecting the body is for those who ask for nothing less: what stands between may change it.
        let qop = [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| challenge.offers(*qop));
        let count = format!("{nc:08x}");
        let parts = Parts { nonce: challenge.nonce(), nc: &count, cnonce, method, uri, body };
        let response = compute(algorithm, ha1, qop, parts);
        let mut params = List::default()
            .quoted("username", username)
            .quoted("realm", challenge.realm())
            .quoted("nonce", challenge.nonce())
            .quoted("uri", uri)
            .quoted("response", response.as_str());
        if challenge.get("algorithm").is_some() {
            params = params.token("algorithm", algorithm.as_str());
        }
        if let Some(opaque) = challenge.opaque() {
            params = params.quoted("opaque", opaque);
        }
        match qop {
            Some(qop) => {
                params = params.token("qop", qop.as_str()).token("nc", &count).quoted("cnonce", cnonce);
            }
            None if algorithm.is_session() => params = params.quoted("cnonce", cnonce),
            None => {}
        }
        Authorization::of(params)
    }
}
