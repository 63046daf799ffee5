//! Temporary GRUUs (RFC 5627 §3.2): URIs that lead to one instance and tell nobody else whose it is. They are minted without being kept, as
//! Appendix A.2 has it: what one stands for is inside, sealed by a key that the registrar alone has, with a nonce of its own, so that no two
//! of them can be told to be of the same telephone. One is good as long as the instance is registered with the Call-ID that it was
//! minted for (§5.4).

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringback_sip::Uri;

use crate::aor::address_of_record;

/// What a registrar seals temporary GRUUs with. Those of one key are nothing to another.
#[derive(Clone, PartialEq, Eq)]
pub struct GruuKey(pub [u8; 32]);

impl std::fmt::Debug for GruuKey {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GruuKey")
    }
}

/// How the user part of each begins.
const PREFIX: &str = "tgruu.";
/// The user parts of addresses are so long at most; a longer one gets none.
const USER_MOST: usize = 200;
/// Lengths are rounded up to a multiple of this, so that they tell little.
const BLOCK: usize = 32;
const HASH: usize = 8;

/// What one leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    pub(crate) aor: String,
    instance: [u8; HASH],
    call_id: [u8; HASH],
}

pub(crate) struct Mint {
    seal: Option<LessSafeKey>,
    hash: hmac::Key,
}

impl std::fmt::Debug for Mint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mint")
    }
}

impl Mint {
    pub(crate) fn new(key: &GruuKey) -> Mint {
        // A key for each use.
        let root = hmac::Key::new(hmac::HMAC_SHA256, &key.0);
        let derived = |label: &[u8]| hmac::sign(&root, label);
        let seal = UnboundKey::new(&AES_256_GCM_SIV, derived(b"temp-gruu seal").as_ref()).ok();
        let hash = hmac::Key::new(hmac::HMAC_SHA256, derived(b"temp-gruu hash").as_ref());
        Mint { seal: seal.map(LessSafeKey::new), hash }
    }

    /// A new one. `nonce`: random.
    pub(crate) fn mint(&self, aor: &str, instance: &str, call_id: &str, nonce: [u8; NONCE_LEN]) -> Option<Uri> {
        let uri = Uri::parse(aor).ok()?;
        let (user, domain) = (uri.raw_user()?, domain(&uri)?);
        if user.len() > USER_MOST {
            return None;
        }
        let mut sealed = vec![user.len() as u8];
        sealed.extend_from_slice(user.as_bytes());
        sealed.extend_from_slice(&self.hash(instance));
        sealed.extend_from_slice(&self.hash(call_id));
        sealed.resize(sealed.len().next_multiple_of(BLOCK), 0);
        let seal = self.seal.as_ref()?;
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        seal.seal_in_place_append_tag(nonce_used, Aad::from(domain.as_bytes()), &mut sealed).ok()?;
        let text = URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat());
        Uri::sip(Some(&format!("{PREFIX}{text}")), uri.host()?.to_owned(), None)
            .ok()
            .map(|uri| uri.with_param("gr", None))
    }

    /// Reads one; `None`: it is none, or none of ours.
    pub(crate) fn open(&self, uri: &Uri) -> Option<Meant> {
        if !is_temporary(uri) {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(uri.raw_user()?.strip_prefix(PREFIX)?).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let domain = domain(uri)?;
        let plain = self.seal.as_ref()?.open_in_place(nonce, Aad::from(domain.as_bytes()), sealed).ok()?;
        let (length, rest) = plain.split_first()?;
        let (user, rest) = rest.split_at_checked(usize::from(*length))?;
        let user = std::str::from_utf8(user).ok()?;
        let (instance, rest) = rest.split_first_chunk()?;
        let (call_id, _) = rest.split_first_chunk()?;
        let aor = address_of_record(&Uri::parse(&format!("sip:{user}@{domain}")).ok()?)?;
        Some(Meant { aor, instance: *instance, call_id: *call_id })
    }

    /// Whether a binding of that instance, or its Call-ID, is the one meant.
    pub(crate) fn is_instance(&self, meant: &Meant, instance: &str) -> bool {
        self.hash(instance) == meant.instance
    }

    pub(crate) fn is_call_id(&self, meant: &Meant, call_id: &str) -> bool {
        self.hash(call_id) == meant.call_id
    }

    fn hash(&self, text: &str) -> [u8; HASH] {
        let whole = hmac::sign(&self.hash, text.as_bytes());
        whole.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

/// By its looks: RFC 5627 §6.1.2 has `gr` without a value, and the name before it is ours to choose.
pub(crate) fn is_temporary(uri: &Uri) -> bool {
    uri.param("gr") == Some(None) && uri.raw_user().is_some_and(|user| user.starts_with(PREFIX))
}

fn domain(uri: &Uri) -> Option<String> {
    let host = uri.host()?.to_string().to_ascii_lowercase();
    Some(host.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn mint(key: u8) -> Mint {
        Mint::new(&GruuKey([key; 32]))
    }

    const AORS: [&str; 4] =
        ["sip:bob@example.com", "sip:a%20b@[2001:db8::1]", "sip:Alice@10.0.0.1", "sip:b@example.com"];

    #[test]
    fn what_is_minted_is_understood_by_the_same_key_alone() {
        for (number, aor) in AORS.into_iter().enumerate() {
            let gruu = mint(1).mint(aor, "urn:uuid:1", "call", [number as u8; 12]).unwrap();
            let text = gruu.to_string();
            assert!(text.starts_with("sip:tgruu.") && text.ends_with(";gr"), "{text}");
            assert!(text.len() < 130, "{text}");
            let again = Uri::parse(&text).unwrap();
            let meant = mint(1).open(&again).unwrap();
            assert_eq!(meant.aor, aor);
            assert!(mint(1).is_instance(&meant, "urn:uuid:1") && !mint(1).is_instance(&meant, "urn:uuid:2"));
            assert!(mint(1).is_call_id(&meant, "call") && !mint(1).is_call_id(&meant, "other"));
            assert_eq!(mint(2).open(&again), None);
        }
        assert_eq!(mint(1).mint(&format!("sip:{}@example.com", "x".repeat(201)), "i", "c", [0; 12]), None);
    }

    #[test]
    fn two_of_one_telephone_have_nothing_in_common() {
        let mut seen = HashSet::new();
        let mut lengths = HashSet::new();
        for (number, aor) in ["sip:bob@example.com", "sip:alice@example.com"].into_iter().cycle().take(200).enumerate()
        {
            // As a good source of chance would have it.
            let mut nonce = [0; 12];
            nonce.copy_from_slice(&mint(9).hash(&number.to_string()).repeat(2)[..12]);
            let gruu = mint(1).mint(aor, "urn:uuid:1", "call", nonce).unwrap();
            let user = gruu.raw_user().unwrap().to_owned();
            assert!(!user.contains("bob") && !user.contains("alice"));
            lengths.insert(user.len());
            // No stretch of eight characters, wherever, is ever the same.
            for place in PREFIX.len()..user.len() - 8 {
                assert!(seen.insert((place, user[place..place + 8].to_owned())), "{user}");
            }
        }
        assert_eq!(lengths.len(), 1, "nor does its length say anything");
    }

    #[test]
    fn none_can_be_forged() {
        let gruu = mint(1).mint("sip:bob@example.com", "urn:uuid:1", "call", [7; 12]).unwrap().to_string();
        let user = &gruu["sip:".len()..gruu.find('@').unwrap()];
        for place in PREFIX.len()..user.len() {
            let mut other = user.to_owned();
            let replacement = if other.as_bytes()[place] == b'A' { "B" } else { "A" };
            other.replace_range(place..=place, replacement);
            let uri = Uri::parse(&format!("sip:{other}@example.com;gr")).unwrap();
            assert_eq!(mint(1).open(&uri), None, "{place}");
        }
        for length in 0..user.len() {
            if let Ok(uri) = Uri::parse(&format!("sip:{}@example.com;gr", &user[..length])) {
                assert_eq!(mint(1).open(&uri), None, "{length}");
            }
        }
        for uri in [
            format!("sip:{user}@example.net;gr"),
            format!("sip:{user}@example.com"),
            format!("sip:{user}@example.com;gr=x"),
        ] {
            assert_eq!(mint(1).open(&Uri::parse(&uri).unwrap()), None, "{uri}");
        }
        assert!(mint(1).open(&Uri::parse(&gruu.replace("example.com", "EXAMPLE.com.")).unwrap()).is_some());
    }
}
