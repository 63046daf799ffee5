//! How messages find their transaction: RFC 3261 §17.1.3 and §17.2.3.
//!
//! A key is 128 bits. A server transaction's are two independently seeded hashes of what the standard compares (branch, sent-by,
//! method), so that a row of a finished transaction need not keep the text; the seeds are random, peers can not aim at a collision. A
//! client transaction's are the 64 random bits of the branch that we made, and the method.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::IpAddr;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use hashbrown::HashMap;
use rand_core::RngCore;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key(u64, u64);

impl Key {
    /// What tables hash by.
    pub(crate) const fn hashed(self) -> u64 {
        self.0
    }

    #[cfg(test)]
    pub(crate) const fn from_parts(high: u64, low: u64) -> Self {
        Key(high, low)
    }

    /// The key of one of our own requests. An ACK or CANCEL never asks for its INVITE by this: responses carry their own method in
    /// CSeq (§17.1.3).
    pub(crate) const fn of_client(branch: Branch, class: Class) -> Self {
        Key(branch.0, class as u64)
    }
}

/// Methods as far as transactions tell them apart: an ACK belongs to its INVITE (§17.2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Class {
    Invite = 1,
    Bye = 2,
    Cancel = 3,
    Options = 4,
    Info = 5,
    /// Any other: two of them never share a branch, which is unique for each request.
    Other = 6,
}

/// The branch of a request of ours: the magic cookie and these bits as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Branch(pub(crate) u64);

/// RFC 3261 §8.1.1.7: marks branches that are unique across space and time.
pub(crate) const COOKIE: &str = "z9hG4bK";

impl Branch {
    /// Reads back the branch of a response; `None`: not one of ours.
    pub(crate) fn parse(text: &str) -> Option<Branch> {
        let (cookie, digits) = text.split_at_checked(COOKIE.len())?;
        if !cookie.eq_ignore_ascii_case(COOKIE) {
            return None;
        }
        parse_hex(digits).map(Branch)
    }
}

/// Exactly 16 hexadecimal digits.
pub(crate) fn parse_hex(digits: &str) -> Option<u64> {
    if digits.len() != 16 {
        return None;
    }
    let mut value = 0u64;
    for digit in digits.bytes() {
        value = value << 4 | u64::from((digit as char).to_digit(16)?);
    }
    Some(value)
}

/// The lower-case hexadecimal digits of `value`.
pub(crate) fn hex(value: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|place| DIGITS[(value >> (60 - 4 * place)) as usize & 15])
}

/// What identifies a request whose branch has no magic cookie (§17.2.3, second list; that is RFC 2543).
pub(crate) struct OldStyle<'a> {
    pub(crate) request_uri: &'a str,
    pub(crate) from_tag: &'a str,
    pub(crate) call_id: &'a str,
    pub(crate) cseq: u32,
    /// The whole top Via.
    pub(crate) via: &'a str,
}

/// Makes the keys of what peers send.
pub(crate) struct Keys {
    shared: [SharedSeed; 2],
    own: [u64; 3],
}

impl Keys {
    pub(crate) fn new(rng: &mut impl RngCore) -> Keys {
        Keys {
            shared: [SharedSeed::from_u64(rng.next_u64()), SharedSeed::from_u64(rng.next_u64())],
            own: [rng.next_u64(), rng.next_u64(), rng.next_u64()],
        }
    }

    /// §17.2.3: branch, sent-by and method.
    pub(crate) fn of_server(&self, branch: &str, sent_by_host: &str, sent_by_port: Option<u16>, class: Class) -> Key {
        self.of(|hasher| {
            hasher.write(branch.as_bytes());
            hasher.write(sent_by_host.as_bytes());
            hasher.write_u32(sent_by_port.map_or(u32::MAX, u32::from));
            hasher.write_u8(class as u8);
        })
    }

    /// §17.2.3 for peers that speak RFC 2543. The To tag is left out, so that the ACK finds its INVITE.
    pub(crate) fn of_old_style(&self, request: &OldStyle<'_>, class: Class) -> Key {
        self.of(|hasher| {
            for part in [request.request_uri, request.from_tag, request.call_id, request.via] {
                hasher.write(part.as_bytes());
            }
            hasher.write_u32(request.cseq);
            hasher.write_u8(class as u8);
        })
    }

    /// RFC 3261 §8.2.2.2: what requests have in common that are one request by different paths.
    pub(crate) fn of_merged(&self, from_tag: &str, call_id: &str, cseq: u32, class: Class) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.own[0], &self.shared[0]);
        hasher.write(from_tag.as_bytes());
        hasher.write(call_id.as_bytes());
        hasher.write_u32(cseq);
        hasher.write_u8(class as u8);
        hasher.finish()
    }

    /// The same for a request that makes no call, as what a row stands for; no transaction has a key like it.
    pub(crate) fn of_merged_request(&self, from_tag: &str, call_id: &str, cseq: u32, method: &str) -> Key {
        let mut hasher = FoldHasher::with_seed(self.own[1], &self.shared[1]);
        hasher.write(method.as_bytes());
        Key(self.of_merged(from_tag, call_id, cseq, Class::Other), hasher.finish())
    }

    /// The To tag of a response that leaves no state behind: the same for each retransmission of the request (§8.2.7), and for each
    /// source another, so that it proves who has received it.
    pub(crate) fn stateless_tag(&self, key: Key, source: IpAddr) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.own[2], &self.shared[1]);
        hasher.write_u64(key.0);
        hasher.write_u64(key.1);
        hasher.write_u128(match source.to_canonical() {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        });
        hasher.finish()
    }

    /// The branch of the BYE to a fork nobody waits for: the same for each retransmission of the fork's 2xx.
    pub(crate) fn branch_for_fork(&self, invite: Branch, remote_tag: &str) -> Branch {
        let mut hasher = FoldHasher::with_seed(self.own[1], &self.shared[0]);
        hasher.write_u64(invite.0);
        hasher.write(remote_tag.as_bytes());
        Branch(hasher.finish())
    }

    fn of(&self, feed: impl Fn(&mut FoldHasher<'_>)) -> Key {
        let mut high = FoldHasher::with_seed(self.own[0], &self.shared[0]);
        let mut low = FoldHasher::with_seed(self.own[1], &self.shared[1]);
        feed(&mut high);
        feed(&mut low);
        Key(high.finish(), low.finish())
    }
}

/// For tables whose keys are random already.
#[derive(Clone, Copy, Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

pub(crate) type IdentityMap<K, V> = HashMap<K, V, BuildHasherDefault<Identity>>;

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    fn keys(seed: u64) -> Keys {
        Keys::new(&mut rand_chacha::ChaCha12Rng::seed_from_u64(seed))
    }

    #[test]
    fn what_the_standard_compares_makes_the_key_and_nothing_else() {
        let keys = keys(1);
        let key = keys.of_server("z9hG4bK1", "a.example", Some(5060), Class::Invite);
        assert_eq!(key, keys.of_server("z9hG4bK1", "a.example", Some(5060), Class::Invite));
        for other in [
            keys.of_server("z9hG4bK2", "a.example", Some(5060), Class::Invite),
            keys.of_server("z9hG4bK1", "b.example", Some(5060), Class::Invite),
            keys.of_server("z9hG4bK1", "a.example", None, Class::Invite),
            keys.of_server("z9hG4bK1", "a.example", Some(5060), Class::Bye),
            self::keys(2).of_server("z9hG4bK1", "a.example", Some(5060), Class::Invite),
        ] {
            assert_ne!(key.0, other.0);
            assert_ne!(key.1, other.1);
        }
    }

    #[test]
    fn our_branches_are_read_back_and_others_are_not_ours() {
        let branch = Branch(0x0123_4567_89ab_cdef);
        let text = format!("{COOKIE}{}", std::str::from_utf8(&hex(branch.0)).unwrap());
        assert_eq!(text, "z9hG4bK0123456789abcdef");
        assert_eq!(Branch::parse(&text), Some(branch));
        for other in
            ["", "z9hG4bK", "z9hG4bK0123456789abcde", "z9hG4bK0123456789abcdeg", "z9hG4bK0123456789abcdef0", "é"]
        {
            assert_eq!(Branch::parse(other), None, "{other}");
        }
    }
}
