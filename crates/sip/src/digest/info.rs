//! Authentication-Info and Proxy-Authentication-Info: RFC 7616 §3.5, RFC 3261 §20.6.

use crate::digest::authorization::{Parts, compute};
use crate::digest::list::{self, List};
use crate::digest::{Authorization, Digest, Qop};

/// What a server says about the credentials that it has accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthenticationInfo {
    params: List,
}

impl AuthenticationInfo {
    /// The value of the header field, which names no scheme.
    pub fn parse(text: &str) -> Option<AuthenticationInfo> {
        let text = format!("Digest {text}");
        list::read(std::iter::once(text.as_str())).next().map(|params| AuthenticationInfo { params })
    }

    /// The nonce to use from now on.
    pub fn next_nonce(&self) -> Option<&str> {
        self.params.get("nextnonce").filter(|nonce| !nonce.is_empty())
    }

    /// Whether `rspauth` is what someone who knows the password (`ha1`) makes of the credentials that were `sent`, and of the `body` of the
    /// response. `None`: there is none, or one to credentials that have no proof in return (RFC 2069).
    pub fn proves(&self, sent: &Authorization, ha1: &Digest, body: &[u8]) -> Option<bool> {
        let rspauth = self.params.get("rspauth")?;
        let qop = match self.params.get("qop") {
            Some(token) => Qop::parse(token),
            None => sent.qop().flatten(),
        };
        let (Some(qop), Some(algorithm)) = (qop.or(sent.qop().flatten()), sent.algorithm()) else { return None };
        let of = |name| sent.get(name).unwrap_or_default();
        // It has to speak of these very credentials.
        let same = |name| self.params.get(name).is_none_or(|said| said.eq_ignore_ascii_case(of(name)));
        let parts =
            Parts { nonce: sent.nonce(), nc: of("nc"), cnonce: of("cnonce"), method: "", uri: sent.uri(), body };
        let proved = compute(algorithm, ha1, Some(qop), parts).matches(rspauth);
        Some(proved && same("nc") && self.params.get("cnonce").is_none_or(|said| said == of("cnonce")))
    }
}
