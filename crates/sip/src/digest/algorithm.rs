//! Hashes: RFC 7616 §3.3, RFC 8760 §2.1.

use std::fmt;

use aws_lc_rs::digest as lc;
use md5::Digest as _;

/// How a digest is made. The `-sess` variants mix the nonces into A1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    Md5,
    Md5Sess,
    Sha256,
    Sha256Sess,
    Sha512_256,
    Sha512_256Sess,
}

impl Algorithm {
    pub const ALL: [Algorithm; 6] = [
        Algorithm::Md5,
        Algorithm::Md5Sess,
        Algorithm::Sha256,
        Algorithm::Sha256Sess,
        Algorithm::Sha512_256,
        Algorithm::Sha512_256Sess,
    ];

    /// The token of the `algorithm` parameter, in any case.
    pub fn parse(token: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(token))
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Md5Sess => "MD5-sess",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha256Sess => "SHA-256-sess",
            Algorithm::Sha512_256 => "SHA-512-256",
            Algorithm::Sha512_256Sess => "SHA-512-256-sess",
        }
    }

    pub const fn is_session(self) -> bool {
        matches!(self, Algorithm::Md5Sess | Algorithm::Sha256Sess | Algorithm::Sha512_256Sess)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Quality of protection: RFC 7616 §3.4.3.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Qop {
    /// Method and URI are protected.
    Auth,
    /// The body as well.
    AuthInt,
}

impl Qop {
    pub fn parse(token: &str) -> Option<Qop> {
        [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| qop.as_str().eq_ignore_ascii_case(token))
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
        }
    }
}

const LONGEST: usize = 64;

/// A hash in lower-case hexadecimal digits, which is how one goes into the next. Its `Debug` does not show it: A1 is as good as a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    digits: [u8; LONGEST],
    len: u8,
}

impl Digest {
    fn of(bytes: &[u8]) -> Digest {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; LONGEST];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        Digest { digits, len: (bytes.len() * 2).min(LONGEST) as u8 }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Whether `text` says the same, in a time that depends on its length alone. Upper-case digits count as lower-case ones.
    pub fn matches(&self, text: &str) -> bool {
        let (own, other) = (self.as_bytes(), text.as_bytes());
        if own.len() != other.len() {
            return false;
        }
        let mut lowered = [0u8; LONGEST];
        for (place, byte) in lowered.iter_mut().zip(other) {
            // Digits have the bit already.
            *place = byte | 0x20;
        }
        aws_lc_rs::constant_time::verify_slices_are_equal(own, lowered.get(..own.len()).unwrap_or_default()).is_ok()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// The hash of the parts, joined by colons.
pub fn hash(algorithm: Algorithm, parts: &[&[u8]]) -> Digest {
    match algorithm {
        Algorithm::Md5 | Algorithm::Md5Sess => {
            let mut context = md5::Md5::new();
            for (place, part) in parts.iter().enumerate() {
                if place > 0 {
                    context.update(b":");
                }
                context.update(part);
            }
            Digest::of(&context.finalize())
        }
        Algorithm::Sha256 | Algorithm::Sha256Sess => joined(&lc::SHA256, parts),
        Algorithm::Sha512_256 | Algorithm::Sha512_256Sess => joined(&lc::SHA512_256, parts),
    }
}

fn joined(algorithm: &'static lc::Algorithm, parts: &[&[u8]]) -> Digest {
    let mut context = lc::Context::new(algorithm);
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            context.update(b":");
        }
        context.update(part);
    }
    Digest::of(context.finish().as_ref())
}

/// RFC 7616 §3.4.2: the hash of user name, realm and password. What of A1 does not change with the nonce; for `-sess` algorithms the rest is
/// mixed in by whoever has the nonces.
pub fn ha1(algorithm: Algorithm, username: &str, realm: &str, password: &str) -> Digest {
    hash(algorithm, &[username.as_bytes(), realm.as_bytes(), password.as_bytes()])
}
