use super::*;

struct Vector {
    algorithm: Algorithm,
    username: &'static str,
    realm: &'static str,
    password: &'static str,
    nonce: &'static str,
    cnonce: &'static str,
    uri: &'static str,
    response: &'static str,
}

const RFC7616: (&str, &str, &str) =
    ("7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "/dir/index.html");

const VECTORS: &[Vector] = &[
    // RFC 2617 §3.5.
    Vector {
        algorithm: Algorithm::Md5,
        username: "Mufasa",
        realm: "testrealm@host.com",
        password: "Circle Of Life",
        nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        cnonce: "0a4f113b",
        uri: "/dir/index.html",
        response: "6629fae49393a05397450978507c4ef1",
    },
    // RFC 7616 §3.9.1.
    Vector {
        algorithm: Algorithm::Md5,
        username: "Mufasa",
        realm: "http-auth@example.org",
        password: "Circle of Life",
        nonce: RFC7616.0,
        cnonce: RFC7616.1,
        uri: RFC7616.2,
        response: "8ca523f5e9506fed4657c9700eebdbec",
    },
    Vector {
        algorithm: Algorithm::Sha256,
        username: "Mufasa",
        realm: "http-auth@example.org",
        password: "Circle of Life",
        nonce: RFC7616.0,
        cnonce: RFC7616.1,
        uri: RFC7616.2,
        response: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    },
    // RFC 7616 §3.9.2 as its erratum 4897 corrects it.
    Vector {
        algorithm: Algorithm::Sha512_256,
        username: "J\u{e4}s\u{f8}n Doe",
        realm: "api@example.org",
        password: "Secret, or not?",
        nonce: "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
        cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
        uri: "/doe.json",
        response: "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
    },
];

#[test]
fn vectors_of_the_standards() {
    for vector in VECTORS {
        let challenge = Challenge::new(vector.realm, vector.nonce, vector.algorithm, Qop::Auth, false);
        let ha1 = ha1(vector.algorithm, vector.username, vector.realm, vector.password);
        let answer = Answer {
            challenge: &challenge,
            username: vector.username,
            ha1: &ha1,
            cnonce: vector.cnonce,
            nc: 1,
            method: "GET",
            uri: vector.uri,
            body: b"",
        };
        let authorization = answer.response().unwrap();
        assert_eq!(authorization.response(), vector.response, "{}", vector.algorithm);
        assert!(authorization.proves(&ha1, "GET", b"whatever"));
        assert!(!authorization.proves(&ha1, "POST", b""));
        let read = Authorization::parse(&authorization.to_string()).unwrap();
        assert_eq!(read, authorization);
        assert!(read.proves(&ha1, "GET", b""));
        assert!(!format!("{read:?}").contains(vector.response));
    }
}

#[test]
fn every_algorithm_and_qop_proves_what_it_protects_and_nothing_else() {
    for algorithm in Algorithm::ALL {
        for qop in [None, Some("auth"), Some("auth-int"), Some("auth-int, auth"), Some("token, auth-int")] {
            let qop_text = qop.map_or(String::new(), |qop| format!(", qop=\"{qop}\""));
            let text = format!("Digest realm=\"r\", nonce=\"n\", algorithm={algorithm}, opaque=\"o\"{qop_text}");
            let challenge = Challenge::parse(&text).unwrap();
            assert!(challenge.is_supported());
            assert_eq!(challenge.to_string(), text);
            let good = ha1(algorithm, "u", "r", "p");
            let answer = Answer {
                challenge: &challenge,
                username: "u",
                ha1: &good,
                cnonce: "c",
                nc: 0x1f,
                method: "INVITE",
                uri: "sip:b@c",
                body: b"v=0",
            };
            let sent = answer.response().unwrap();
            assert_eq!(Authorization::parse(&sent.to_string()).unwrap(), sent);
            assert_eq!(sent.opaque(), Some("o"));
            assert_eq!(sent.nc(), qop.map(|_| 0x1f));
            assert_eq!(sent.cnonce().is_some(), qop.is_some() || algorithm.is_session());
            assert!(sent.proves(&good, "INVITE", b"v=0"), "{text}");
            assert!(!sent.proves(&good, "BYE", b"v=0"));
            assert!(!sent.proves(&ha1(algorithm, "u", "r", "q"), "INVITE", b"v=0"));
            let integrity = sent.qop() == Some(Some(Qop::AuthInt));
            assert_eq!(integrity, qop.is_some_and(|list| !list.split(", ").any(|token| token == "auth")));
            assert_eq!(sent.proves(&good, "INVITE", b"v=1"), !integrity);
        }
    }
}

#[test]
fn digests_are_compared_whole_and_in_any_case() {
    let digest = hash(Algorithm::Md5, &[b"a", b"b"]);
    assert_eq!(digest.as_str(), "d8160c9b3dc20d4e931aeb4f45262155");
    assert!(digest.matches("D8160C9B3DC20D4E931AEB4F45262155"));
    for other in ["", "d8", "d8160c9b3dc20d4e931aeb4f45262156", "e8160c9b3dc20d4e931aeb4f45262155", "é"] {
        assert!(!digest.matches(other), "{other}");
    }
}

fn realms(lines: &[&str]) -> Vec<String> {
    let headers: String = lines.iter().map(|line| format!("WWW-Authenticate: {line}\r\n")).collect();
    let text = format!("SIP/2.0 401 Unauthorized\r\n{headers}\r\n");
    let message = Message::parse(bytes::Bytes::from(text)).unwrap();
    message.challenges(&HeaderName::WwwAuthenticate).iter().map(|challenge| challenge.realm().to_owned()).collect()
}

#[test]
fn challenges_in_one_line_and_in_many() {
    let one = "Digest realm=\"a, b\", nonce=\"1\"";
    for (lines, expected) in [
        (&[one][..], &["a, b"][..]),
        (&[one, "digest  REALM = \"c\" ,NONCE=\"2\",x-new=y"], &["a, b", "c"]),
        (&["Digest realm=\"a\", nonce=\"1\", Digest realm=\"b\", nonce=\"2\""], &["a", "b"]),
        (&["Basic realm=\"x\", Digest realm=\"b\", nonce=\"2\", NTLM, Digest realm=\"c\",nonce=\"3\""], &["b", "c"]),
        (&["Negotiate YWJj==, Digest realm=\"b\", nonce=\"2\""], &["b"]),
        (&["Digest realm=\"q\\\"uote\\\\\", nonce=\"\""], &["q\"uote\\"]),
        // The tolerable: no quotes where they belong, quotes where they do not, an empty element.
        (&["Digest realm=plain, nonce=abc==, , stale=\"TRUE\", algorithm=\"md5\""], &["plain"]),
        // What has no realm or no nonce, says something twice, or does not end, is no challenge.
        (&["Digest realm=\"a\""], &[]),
        (&["Digest nonce=\"a\""], &[]),
        (&["Digest realm=\"a\", realm=\"b\", nonce=\"1\""], &[]),
        (&["Digest realm=\"a\" nonce=\"1\""], &[]),
        (&["Digest realm=\"a\", nonce=\"1"], &[]),
        (&["Digest", "", ",", "=", "Digest =\"a\""], &[]),
        (&["Digest realm=\"a\", \u{1}nonce=\"1\", Digest realm=\"b\", nonce=\"2\""], &["b"]),
    ] {
        assert_eq!(realms(lines), expected, "{lines:?}");
    }
    let many = vec![one; 40];
    assert_eq!(realms(&many).len(), MAX_VALUES);
    let long = format!("Digest realm=\"a\", nonce=\"1\"{}", (0..40).map(|n| format!(", p{n}=1")).collect::<String>());
    assert_eq!(realms(&[&long]), Vec::<String>::new());
}

#[test]
fn what_a_challenge_says() {
    let text = "Digest realm=\"biloxi.com\", qop=\"auth,auth-int\", nonce=\"dcd9\", opaque=\"5ccc\", \
                domain=\"sip:ss1.biloxi.com\", stale=TRUE, algorithm=sha-256, charset=UTF-8";
    let challenge = Challenge::parse(text).unwrap();
    assert_eq!((challenge.realm(), challenge.nonce(), challenge.opaque()), ("biloxi.com", "dcd9", Some("5ccc")));
    assert_eq!((challenge.domain(), challenge.is_stale()), (Some("sip:ss1.biloxi.com"), true));
    assert_eq!(challenge.algorithm(), Some(Algorithm::Sha256));
    assert!(challenge.offers(Qop::Auth) && challenge.offers(Qop::AuthInt) && challenge.is_supported());
    assert_eq!(challenge.get("Charset"), Some("UTF-8"));
    assert_eq!(Challenge::parse(&challenge.to_string()), Some(challenge));
    let next = Challenge::parse(text).unwrap().with_nonce("new");
    assert_eq!((next.nonce(), next.realm(), next.is_stale()), ("new", "biloxi.com", false));
    let plain = Challenge::parse("Digest realm=\"a\", nonce=\"b\"").unwrap();
    assert_eq!((plain.algorithm(), plain.is_stale(), plain.has_qop()), (Some(Algorithm::Md5), false, false));
    for unknown in ["algorithm=SHA-3", "qop=\"token\"", "qop=\"\"", "algorithm=AKAv1-MD5"] {
        let challenge = Challenge::parse(&format!("Digest realm=\"a\", nonce=\"b\", {unknown}")).unwrap();
        assert!(!challenge.is_supported(), "{unknown}");
    }
    assert_eq!(Challenge::parse("Digest realm=\"a\", nonce=\"1\", Digest realm=\"b\", nonce=\"2\""), None);
}

#[test]
fn a_server_proves_that_it_knows_the_password() {
    let challenge = Challenge::parse("Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256").unwrap();
    let key = ha1(Algorithm::Sha256, "bob", "r", "secret");
    let answer = Answer {
        challenge: &challenge,
        username: "bob",
        ha1: &key,
        cnonce: "Cc",
        nc: 1,
        method: "REGISTER",
        uri: "sip:r",
        body: b"",
    };
    let sent = answer.response().unwrap();
    // RFC 7616 §3.4.1 with the A2 of §3.5, `":" uri` and `":" uri ":" H(body)`, step by step.
    let a2 = hash(Algorithm::Sha256, &[b"", b"sip:r"]);
    let of = |qop: &str, a2: &Digest| {
        let parts = [key.as_bytes(), b"n", b"00000001", b"Cc", qop.as_bytes(), a2.as_bytes()];
        hash(Algorithm::Sha256, &parts).as_str().to_owned()
    };
    let right = of("auth", &a2);
    let body = hash(Algorithm::Sha256, &[b"v=0"]);
    let integrity = of("auth-int", &hash(Algorithm::Sha256, &[b"", b"sip:r", body.as_bytes()]));
    for (info, body, expected) in [
        (format!("qop=auth, rspauth=\"{right}\", cnonce=\"Cc\", nc=00000001"), "", Some(true)),
        (format!("rspauth=\"{}\"", right.to_uppercase()), "", Some(true)),
        (format!("rspauth=\"{right}\", nc=00000002"), "", Some(false)),
        (format!("rspauth=\"{right}\", cnonce=\"cc\""), "", Some(false)),
        (format!("rspauth=\"{}\"", right.replace(['0', '1'], "2")), "", Some(false)),
        ("rspauth=\"\"".into(), "", Some(false)),
        ("nextnonce=\"x\"".into(), "", None),
        (format!("qop=auth-int, rspauth=\"{integrity}\""), "v=0", Some(true)),
        (format!("qop=auth-int, rspauth=\"{integrity}\""), "v=1", Some(false)),
    ] {
        let info = AuthenticationInfo::parse(&info).unwrap();
        assert_eq!(info.proves(&sent, &key, body.as_bytes()), expected, "{info:?}");
    }
    let info = AuthenticationInfo::parse("nextnonce=\"new\", rspauth=\"00\"").unwrap();
    assert_eq!(info.next_nonce(), Some("new"));
    assert_eq!(AuthenticationInfo::parse("nextnonce=\"\"").unwrap().next_nonce(), None);
}

#[test]
fn what_credentials_must_have() {
    let whole = "Digest username=\"bob\", realm=\"r\", nonce=\"n\", uri=\"sip:r\", response=\"00\"";
    let read = Authorization::parse(whole).unwrap();
    assert_eq!((read.username().as_deref(), read.uri(), read.nc()), (Some("bob"), "sip:r", None));
    assert_eq!((read.algorithm(), read.qop()), (Some(Algorithm::Md5), Some(None)));
    for name in ["username", "realm", "nonce", "uri", "response"] {
        assert_eq!(Authorization::parse(&whole.replace(name, "x")), None, "{name}");
    }
    // RFC 7616 §3.9.2.
    let encoded = whole.replace("username=\"bob\"", "username*=UTF-8''J%C3%A4s%C3%B8n%20Doe");
    assert_eq!(Authorization::parse(&encoded).unwrap().username().as_deref(), Some("J\u{e4}s\u{f8}n Doe"));
    for bad in ["username*=ISO''a", "username*=UTF-8'a", "username*=UTF-8''%0D%0AX"] {
        assert_eq!(Authorization::parse(&whole.replace("username=\"bob\"", bad)), None, "{bad}");
    }
    for (count, expected) in [("00000001", Some(1)), ("ffffFFFF", Some(u32::MAX)), ("1", None), ("+0000001", None)] {
        let text = format!("{whole}, qop=auth, cnonce=\"c\", nc={count}");
        assert_eq!(Authorization::parse(&text).unwrap().nc(), expected, "{count}");
    }
    assert_eq!(Authorization::parse(&format!("{whole}, qop=new")).unwrap().qop(), None);
}
