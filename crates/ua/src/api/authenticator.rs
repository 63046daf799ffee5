use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ringback_sip::digest::Algorithm;

use crate::api::PasswordTable;

/// Whom to let in: requests of peers outside of dialogs have to prove who sends them (RFC 3261 §22.2, RFC 8760).
#[derive(Clone, Debug)]
pub struct Authenticator {
    pub realm: String,
    pub passwords: Passwords,
    /// Networks that are let in without.
    pub trusted: Vec<Network>,
    /// Hosts that an address of record of ours may name, beside the realm and our own addresses.
    pub domains: Vec<String>,
    /// What is asked for, the preferred one first (RFC 8760 §2.3). None of the `-sess` ones.
    pub algorithms: Vec<Algorithm>,
    /// The body has to be what was signed, too (RFC 7616 §3.3, `qop=auth-int`). Whoever says so by itself is believed in any case.
    pub integrity: bool,
    /// A nonce is good for so long. Then a client with the right password is told that it is stale, and nobody is asked again.
    pub nonce_life: Duration,
}

impl Authenticator {
    /// Asks for SHA-256, and for MD5 where a peer knows nothing better.
    pub fn new(realm: impl Into<String>, passwords: Passwords) -> Authenticator {
        let algorithms = vec![Algorithm::Sha256, Algorithm::Md5];
        Authenticator {
            realm: realm.into(),
            passwords,
            trusted: Vec::new(),
            domains: Vec::new(),
            algorithms,
            integrity: false,
            nonce_life: Duration::from_secs(300),
        }
    }
}

/// Where passwords are known.
#[derive(Clone)]
pub enum Passwords {
    /// By user name.
    Table(Arc<PasswordTable>),
    /// Each is asked for by `Event::Password`. How long the answer takes shows in when the request is answered.
    Ask,
}

impl Passwords {
    pub fn table(users: impl IntoIterator<Item = (String, String)>) -> Passwords {
        Passwords::Table(Arc::new(users.into_iter().collect()))
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Passwords::Table(table) => write!(f, "Table({} users)", table.len()),
            Passwords::Ask => f.write_str("Ask"),
        }
    }
}

/// What is said to `Event::Password`.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    Known(String),
    /// There is no such user: as if the password were wrong.
    Unknown,
    /// Nobody can say: 500.
    Failed,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Password::Known(_) => "Known(..)",
            Password::Unknown => "Unknown",
            Password::Failed => "Failed",
        })
    }
}

/// A network in CIDR form (RFC 4632, RFC 4291 §2.3), or one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network: {text:?}: {why}")]
pub struct NetworkError {
    pub text: String,
    pub why: &'static str,
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address as the leftmost bits of a number.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        // An IPv4 peer of a socket for both.
        let address = address.to_canonical();
        width(address) == width(self.address) && (bits(address) ^ bits(self.address)) & mask(self.prefix) == 0
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let fault = |why| NetworkError { text: text.chars().take(64).collect(), why };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| fault("no IP address"))?;
        let prefix = match prefix {
            None => width(address),
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= width(address)).ok_or(fault("prefix too long"))?
            }
            Some(_) => return Err(fault("the prefix is no number")),
        };
        if bits(address) & !mask(prefix) != 0 {
            return Err(fault("bits are set behind the prefix"));
        }
        Ok(Network { address, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_what_is_in_them() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network}");
        }
        for bad in ["", "x", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/+8", "192.0.2.1/24", "::/129", "192.0.2.0/24/1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
