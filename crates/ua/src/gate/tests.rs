use rand_core::SeedableRng;
use ringback_sip::digest::{Answer, Qop};

use super::*;
use crate::api::Passwords;

fn gate(realm: &str, domains: &[&str]) -> Gate {
    let config = Authenticator {
        trusted: vec!["10.0.0.0/8".parse().unwrap()],
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        ..Authenticator::new(realm, Passwords::Ask)
    };
    Gate::new(config, &mut rand_chacha::ChaCha12Rng::seed_from_u64(1))
}

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

fn own(password: &str) -> Found<'_> {
    Found { password, known: true }
}

fn request() -> Message {
    let text = "OPTIONS sip:100@pbx.example SIP/2.0\r\nFrom: <sip:alice@pbx.example>;tag=1\r\n\r\n";
    Message::parse(bytes::Bytes::from(text)).unwrap()
}

fn authorization(nonce: &str, password: &str, nc: u32) -> Authorization {
    let challenge = Challenge::new("pbx", nonce, Algorithm::Sha256, Qop::Auth, false);
    let ha1 = ha1(Algorithm::Sha256, "alice", "pbx", password);
    let answer = Answer {
        challenge: &challenge,
        username: "alice",
        ha1: &ha1,
        cnonce: "c",
        nc,
        method: "OPTIONS",
        uri: "sip:100@pbx.example",
        body: b"",
    };
    answer.response().unwrap()
}

#[test]
fn credentials_are_good_once_while_their_nonce_is_young() {
    let mut gate = gate("pbx", &[]);
    let request = request();
    let nonce = gate.nonce(at(1000), 7);
    let mut judge = |now, nonce: &str, password, nc, known: Option<&'static str>| {
        gate.judge(at(now), &authorization(nonce, password, nc), &request, known.map(own))
    };
    assert_eq!(judge(1000, &nonce, "secret", 1, Some("secret")), Verdict::Good);
    assert_eq!(judge(1000, &nonce, "secret", 1, Some("secret")), Verdict::Stale);
    assert_eq!(judge(1299, &nonce, "secret", 2, Some("secret")), Verdict::Good);
    assert_eq!(judge(1300, &nonce, "secret", 3, Some("secret")), Verdict::Stale);
    // Wrong is wrong, whatever the nonce.
    for (now, nonce) in [(1000, nonce.as_str()), (2000, &nonce), (1000, "forged")] {
        assert_eq!(judge(now, nonce, "wrong", 9, Some("secret")), Verdict::Wrong);
        assert_eq!(judge(now, nonce, "secret", 9, None), Verdict::Wrong);
    }
    // Not even with the password that is hashed in place of one.
    let else_s = Found { password: "secret", known: false };
    assert_eq!(gate.judge(at(1000), &authorization(&nonce, "secret", 9), &request, Some(else_s)), Verdict::Wrong);
    let mut judge = |now, nonce: &str, password, nc, known| {
        gate.judge(at(now), &authorization(nonce, password, nc), &request, known)
    };
    for forged in ["", "é", "00000000000000000000000000000000", &nonce[1..], &format!("{nonce}0")] {
        assert_eq!(judge(1000, forged, "secret", 1, Some(own("secret"))), Verdict::Stale, "{forged}");
    }
    let mut turned = nonce.clone().into_bytes();
    for place in 0..turned.len() {
        turned[place] = if turned[place] == b'0' { b'1' } else { b'0' };
        let text = String::from_utf8(turned.clone()).unwrap();
        assert!(!gate.is_ours(&text), "{text}");
        turned[place] = nonce.as_bytes()[place];
    }
    assert!(gate.is_ours(&nonce) && gate.is_ours(&nonce.to_uppercase()));
    assert_eq!(gate.kept(), 1);
}

#[test]
fn a_count_that_no_response_covers_makes_no_credentials_good_again() {
    let mut gate = gate("pbx", &[]);
    let request = request();
    let nonce = gate.nonce(at(1000), 7);
    // RFC 2069: without `qop`.
    let challenge = Challenge::parse(&format!("Digest realm=\"pbx\", nonce=\"{nonce}\"")).unwrap();
    let ha1 = ha1(Algorithm::Md5, "alice", "pbx", "secret");
    let answer = Answer {
        challenge: &challenge,
        username: "alice",
        ha1: &ha1,
        cnonce: "c",
        nc: 1,
        method: "OPTIONS",
        uri: "sip:100@pbx.example",
        body: b"",
    };
    let text = answer.response().unwrap().to_string();
    assert!(!text.contains("nc="), "{text}");
    for (number, expected) in [(1, Verdict::Good), (2, Verdict::Stale), (3, Verdict::Stale)] {
        let given = Authorization::parse(&format!("{text}, nc={number:08x}")).unwrap();
        assert_eq!(gate.judge(at(1000), &given, &request, Some(own("secret"))), expected, "{number}");
    }
}

#[test]
fn whose_address_it_is() {
    let named = gate("pbx.example", &["other.example"]);
    let plain = gate("Our PBX", &[]);
    let ours = [Host::parse("192.0.2.1"), Host::parse("public.example")];
    for (username, uri, by_name, by_plain) in [
        ("alice", "sip:alice@pbx.example", true, true),
        ("alice", "sips:alice@PBX.example:5070;x=y", true, true),
        ("alice", "sip:al%69ce@192.0.2.1", true, true),
        ("alice", "sip:alice@other.example", true, true),
        ("alice", "sip:alice@public.example", true, true),
        ("alice", "sip:alice@evil.example", false, true),
        ("alice", "sip:bob@pbx.example", false, false),
        ("alice", "sip:ALICE@pbx.example", false, false),
        ("alice", "sip:pbx.example", false, false),
        ("alice", "tel:+4930", false, false),
        ("alice@pbx.example", "sip:alice@pbx.example", true, true),
        ("alice@pbx.example", "sip:alice@other.example", false, false),
        ("alice@pbx.example", "sip:bob@pbx.example", false, false),
        ("", "sip:alice@pbx.example", false, false),
    ] {
        let uri = Uri::parse(uri).unwrap();
        assert_eq!(named.is_own(username, &uri, &ours), by_name, "{username} {uri}");
        assert_eq!(plain.is_own(username, &uri, &ours), by_plain, "{username} {uri}");
    }
}
