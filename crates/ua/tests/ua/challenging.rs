//! Whom we let in: what is asked of whom, what is good once, and what an answer costs.

use std::time::Duration;

use bytes::Bytes;
use ringback_sip::digest::{Algorithm, Answer, Challenge, Qop, ha1};
use ringback_sip::{HeaderName, Message, Method};
use ringback_ua::fuzz::pair::{Conditions, Pair, authenticated};
use ringback_ua::{Authenticator, Config, Event, Live, Password, PasswordKey, Passwords, Reply, Transport};

use crate::common::{SDP, Solo, has_header, header, request_with};

const SECOND: Duration = Duration::from_secs(1);

fn table() -> Passwords {
    Passwords::table([("peer".to_owned(), "secret".to_owned())])
}

fn solo(passwords: Passwords, trusted: &[&str]) -> Solo {
    let trusted = trusted.iter().map(|network| network.parse().unwrap()).collect();
    let authenticator = Authenticator { trusted, ..Authenticator::new("192.0.2.2", passwords) };
    let requests = vec![Method::Register, Method::Message, Method::Subscribe, Method::Publish];
    Solo::with(Config { authenticator: Some(authenticator), requests, ..Config::default() })
}

/// A request of `peer@192.0.2.2`.
fn plain(method: &str, branch: &str) -> String {
    let body = if method == "INVITE" { SDP } else { "" };
    let contact: &[&str] = if method == "SUBSCRIBE" { &["Contact: <sip:peer@192.0.2.2:5070>"] } else { &[] };
    request_with(method, 1, "", branch, contact, body).replace("To: <sip:bob@192.0.2.1>", "To: <sip:peer@192.0.2.2>")
}

fn challenges(response: &str) -> Vec<Challenge> {
    let message = Message::parse(Bytes::from(response.to_owned())).unwrap();
    message.challenges(&HeaderName::WwwAuthenticate)
}

struct Given<'a> {
    username: &'a str,
    password: &'a str,
    nc: u32,
    uri: &'a str,
    algorithm: Algorithm,
}

const GOOD: Given<'_> =
    Given { username: "peer", password: "secret", nc: 1, uri: "sip:bob@192.0.2.1", algorithm: Algorithm::Sha256 };

/// The request with credentials for the nonce.
fn with(request: &str, nonce: &str, given: &Given<'_>) -> String {
    with_qop(request, nonce, given, Qop::Auth)
}

fn with_qop(request: &str, nonce: &str, given: &Given<'_>, qop: Qop) -> String {
    let message = Message::parse(Bytes::from(request.to_owned())).unwrap();
    let challenge = Challenge::new("192.0.2.2", nonce, given.algorithm, qop, false);
    let answer = Answer {
        challenge: &challenge,
        username: given.username,
        ha1: &ha1(given.algorithm, given.username, "192.0.2.2", given.password),
        cnonce: "c",
        nc: given.nc,
        method: message.method().unwrap().as_str(),
        uri: given.uri,
        body: &message.body(),
    };
    let line = format!("Authorization: {}\r\nMax-Forwards", answer.response().unwrap());
    request.replace("Max-Forwards", &line)
}

/// Asks for a nonce.
fn nonce(solo: &mut Solo) -> String {
    solo.receive(&plain("OPTIONS", "z9hG4bK-ask"));
    challenges(&solo.only_text())[0].nonce().to_owned()
}

fn status(solo: &mut Solo) -> String {
    let text = solo.only_text();
    let stale = text.contains("stale=true");
    let status = text.split(' ').nth(1).unwrap().to_owned();
    if stale { format!("{status} stale") } else { status }
}

#[test]
fn every_request_outside_of_a_dialog_is_asked_and_let_in_with_the_right_password() {
    for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
        for method in ["INVITE", "OPTIONS", "REGISTER", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER"] {
            let mut solo = solo(table(), &[]);
            let first = plain(method, "z9hG4bK-1");
            solo.receive(&first);
            let refusal = solo.only_text();
            assert!(refusal.starts_with("SIP/2.0 401 Unauthorized\r\n"), "{refusal}");
            assert!(solo.events.is_empty() && solo.ua.stats().live == Live::default(), "nothing is kept");
            let asked = challenges(&refusal);
            let told: Vec<_> = asked.iter().map(|one| (one.realm(), one.get("algorithm"), one.get("qop"))).collect();
            let expected = ["SHA-256", "MD5"].map(|name| ("192.0.2.2", Some(name), Some("auth")));
            assert_eq!(told, expected, "RFC 8760 §2.3: strongest first");
            assert!(asked.iter().all(|one| !one.is_stale()));
            let given = Given { algorithm, ..GOOD };
            solo.receive(&with(&plain(method, "z9hG4bK-2"), asked[0].nonce(), &given));
            match (method, solo.events.pop()) {
                ("INVITE", Some(Event::Invite { .. })) => {}
                ("OPTIONS", None) => assert_eq!(status(&mut solo), "200"),
                ("REFER", None) => assert_eq!(status(&mut solo), "403"),
                ("REGISTER" | "MESSAGE" | "PUBLISH", Some(Event::OutOfDialog { .. })) => {}
                ("SUBSCRIBE", Some(Event::Subscribe { .. })) => {}
                (_, event) => panic!("{method}: {event:?}"),
            }
        }
    }
}

/// RFC 3261 §8.2: "starting with authentication, then inspecting the method". What is served here is nobody's business who is not let in.
#[test]
fn who_sends_is_asked_before_what_is_sent() {
    for (method, refusal) in [("REGISTER", "405"), ("PUBLISH", "405"), ("BREW", "501")] {
        for table in [table(), Passwords::Ask] {
            let asks = matches!(table, Passwords::Ask);
            let authenticator = Authenticator::new("192.0.2.2", table);
            let mut solo = Solo::with(Config { authenticator: Some(authenticator), ..Config::default() });
            solo.receive(&plain(method, "z9hG4bK-1"));
            let asked = solo.only_text();
            assert!(asked.starts_with("SIP/2.0 401 ") && !has_header(&asked, "Allow"), "{method}: {asked}");
            let request = with(&plain(method, "z9hG4bK-2"), challenges(&asked)[0].nonce(), &GOOD);
            solo.receive(&request);
            if asks {
                let Some(Event::Password { key, .. }) = solo.events.pop() else { panic!("nobody is asked") };
                solo.ua.password(solo.now, key, Password::Known("secret".into()));
                solo.drain();
            }
            assert_eq!(status(&mut solo), refusal, "{method}");
            solo.receive(&request);
            assert_eq!(status(&mut solo), refusal, "{method}: sent again, it is no replay");
        }
    }
    // What is trusted is refused at once.
    let trusted = vec!["192.0.2.0/24".parse().unwrap()];
    let authenticator = Authenticator { trusted, ..Authenticator::new("192.0.2.2", table()) };
    let mut solo = Solo::with(Config { authenticator: Some(authenticator), ..Config::default() });
    solo.receive(&plain("BREW", "z9hG4bK-1"));
    assert_eq!(status(&mut solo), "501");
}

/// RFC 7616 §3.3, §3.4.3: where bodies are to be signed, one that was changed on the way is refused, and so is who signs none.
#[test]
fn a_body_that_was_changed_on_the_way_is_refused_where_it_is_signed() {
    let changed = |text: String| text.replace("\r\n\r\nv=0", "\r\n\r\nv=1");
    for (integrity, qop, is_changed, let_in) in [
        (true, Qop::AuthInt, false, true),
        (true, Qop::AuthInt, true, false),
        (true, Qop::Auth, false, false),
        // By itself.
        (false, Qop::AuthInt, false, true),
        (false, Qop::AuthInt, true, false),
        (false, Qop::Auth, true, true),
    ] {
        let authenticator = Authenticator { integrity, ..Authenticator::new("192.0.2.2", table()) };
        let mut solo = Solo::with(Config { authenticator: Some(authenticator), ..Config::default() });
        solo.receive(&plain("INVITE", "z9hG4bK-1"));
        let asked = challenges(&solo.only_text());
        let wanted = if integrity { "auth-int" } else { "auth" };
        assert!(asked.iter().all(|one| one.get("qop") == Some(wanted)), "{asked:?}");
        let signed = with_qop(&plain("INVITE", "z9hG4bK-2"), asked[0].nonce(), &GOOD, qop);
        let sent = if is_changed { changed(signed.clone()) } else { signed.clone() };
        assert_eq!(sent != signed, is_changed, "{signed}");
        solo.receive(&sent);
        let came = solo.events.iter().any(|event| matches!(event, Event::Invite { .. }));
        assert_eq!(came, let_in, "{wanted}, {qop:?}, changed: {is_changed}");
    }
}

#[test]
fn a_nonce_and_its_count_are_good_once_and_for_five_minutes() {
    let mut solo = solo(table(), &[]);
    let nonce = nonce(&mut solo);
    let mut branch = 0;
    let mut ask = |solo: &mut Solo, given: Given<'_>| {
        branch += 1;
        solo.receive(&with(&plain("OPTIONS", &format!("z9hG4bK-{branch}")), &nonce, &given));
        status(solo)
    };
    assert_eq!(ask(&mut solo, Given { nc: 1, ..GOOD }), "200");
    assert_eq!(ask(&mut solo, Given { nc: 1, ..GOOD }), "401 stale");
    assert_eq!(ask(&mut solo, Given { nc: 5, ..GOOD }), "200");
    assert_eq!(ask(&mut solo, Given { nc: 3, ..GOOD }), "200", "requests overtake each other");
    assert_eq!(ask(&mut solo, Given { nc: 3, ..GOOD }), "401 stale");
    solo.wait(299 * SECOND);
    assert_eq!(ask(&mut solo, Given { nc: 6, ..GOOD }), "200");
    solo.wait(SECOND);
    assert_eq!(ask(&mut solo, Given { nc: 7, ..GOOD }), "401 stale");
    assert_eq!(ask(&mut solo, Given { nc: 7, password: "wrong", ..GOOD }), "401");
    assert_eq!(solo.ua.stats().wrong_credentials, 1);
    solo.assert_nothing_left();
}

#[test]
fn a_retransmission_is_no_replay() {
    let mut solo = solo(table(), &[]);
    let nonce = nonce(&mut solo);
    let options = with(&plain("OPTIONS", "z9hG4bK-1"), &nonce, &GOOD);
    for _ in 0..3 {
        solo.receive(&options);
        assert_eq!(status(&mut solo), "200");
    }
    let invite = with(&plain("INVITE", "z9hG4bK-2"), &nonce, &Given { nc: 2, ..GOOD });
    solo.receive(&invite);
    solo.receive(&invite);
    assert!(matches!(solo.events[..], [Event::Invite { .. }]));
    solo.texts();
    let forbidden = invite.replace("sip:peer@", "sip:other@").replace("-2;", "-3;").replace("-2\r", "-3\r");
    let message = with(&plain("MESSAGE", "z9hG4bK-4"), &nonce, &Given { nc: 4, ..GOOD });
    for text in [&message.replace("<sip:peer@192.0.2.2>;tag", "<sip:other@192.0.2.2>;tag"), &forbidden] {
        solo.receive(text);
        let first = status(&mut solo);
        solo.receive(text);
        let again = status(&mut solo);
        assert_eq!(first, again);
    }
}

#[test]
fn a_wrong_user_looks_like_a_wrong_password() {
    let mut texts = Vec::new();
    for given in [
        Given { password: "wrong", ..GOOD },
        Given { username: "nobody", ..GOOD },
        Given { username: "nobody", password: "wrong", ..GOOD },
        Given { username: "", ..GOOD },
    ] {
        let mut solo = solo(table(), &[]);
        let nonce = nonce(&mut solo);
        solo.receive(&with(&plain("INVITE", "z9hG4bK-1"), &nonce, &given));
        assert!(solo.events.is_empty());
        texts.push(solo.only_text());
    }
    // The generator is seeded: even the nonces are alike.
    assert!(texts.iter().all(|text| *text == texts[0] && text.starts_with("SIP/2.0 401 ")), "{texts:?}");
}

#[test]
fn who_has_proven_to_be_one_is_not_somebody_else() {
    for (find, put, expected) in [
        ("", "", "200"),
        ("<sip:peer@192.0.2.2>;tag", "<sip:other@192.0.2.2>;tag", "403"),
        ("<sip:peer@192.0.2.2>;tag", "<sip:peer@198.51.100.1>;tag", "403"),
        ("<sip:peer@192.0.2.2>;tag", "<sip:peer@192.0.2.1:5099>;tag", "200"),
        ("<sip:peer@192.0.2.2>;tag", "<tel:+4930123>;tag", "403"),
        ("<sip:peer@192.0.2.2>;tag", "<sip:anonymous@anonymous.invalid>;tag", "403"),
        // Made for somebody else's extension.
        ("OPTIONS sip:bob@192.0.2.1", "OPTIONS sip:expensive@192.0.2.1", "400"),
        ("OPTIONS sip:bob@192.0.2.1", "OPTIONS sip:bob@10.0.0.7:5080", "200"),
    ] {
        let mut solo = solo(table(), &[]);
        let nonce = nonce(&mut solo);
        let request = with(&plain("OPTIONS", "z9hG4bK-1"), &nonce, &GOOD);
        solo.receive(&request.replace(find, put));
        assert_eq!(status(&mut solo), expected, "{put}");
    }
    // RFC 3261 §10.3: for whom one registers is in To.
    let mut solo = solo(table(), &[]);
    let nonce = nonce(&mut solo);
    let register = with(&plain("REGISTER", "z9hG4bK-1"), &nonce, &GOOD);
    solo.receive(&register.replace("To: <sip:peer@", "To: <sip:other@"));
    assert_eq!(status(&mut solo), "403");
}

#[test]
fn trusted_networks_are_let_in_and_others_not() {
    for (trusted, let_in) in [(&["192.0.2.0/24"][..], true), (&["10.0.0.0/8", "2001:db8::/32"], false), (&[], false)] {
        let mut solo = solo(table(), trusted);
        solo.receive(&plain("INVITE", "z9hG4bK-1"));
        assert_eq!(matches!(solo.events[..], [Event::Invite { .. }]), let_in);
        assert_eq!(solo.sent.len(), usize::from(!let_in));
    }
}

#[test]
fn what_is_within_a_dialog_is_not_asked() {
    let mut solo = solo(table(), &[]);
    let nonce = nonce(&mut solo);
    let invite = with(&request_with("INVITE", 1, "", "z9hG4bK-INVITE-1", &[], SDP), &nonce, &GOOD);
    solo.receive(&invite);
    let Event::Invite { call, .. } = solo.event() else { panic!() };
    solo.call(|ua, now| {
        let body = ringback_ua::Body::sdp(SDP);
        ua.respond(now, call, Reply::with_body(ringback_sip::StatusCode::OK, body)).unwrap();
    });
    let tag = crate::common::to_tag(&solo.only_text());
    solo.receive(&crate::common::request("ACK", 1, &tag, &[], ""));
    assert!(matches!(solo.event(), Event::Acked { .. }));
    solo.receive(&crate::common::request("BYE", 2, &tag, &[], ""));
    assert_eq!(status(&mut solo), "200");
    // A To tag that names no dialog opens no door.
    for method in ["INVITE", "OPTIONS", "MESSAGE"] {
        solo.receive(&request_with(method, 3, "0123456789abcdef", &format!("z9hG4bK-x{method}"), &[], ""));
        assert_eq!(status(&mut solo), "481");
    }
}

#[test]
fn credentials_that_cannot_be_read_are_none() {
    let mut solo = solo(table(), &[]);
    let nonce = nonce(&mut solo);
    let good = with(&plain("OPTIONS", "z9hG4bK-1"), &nonce, &GOOD);
    for (find, put) in [
        ("Authorization: Digest", "Authorization: Basic"),
        ("realm=\"192.0.2.2\"", "realm=\"other\""),
        ("algorithm=SHA-256", "algorithm=SHA-512-256"),
        ("algorithm=SHA-256", "algorithm=MD5"),
        ("qop=auth", "qop=new"),
        ("nc=00000001", "nc=1"),
        ("nc=00000001", "nc=00000002"),
        ("Authorization:", "Proxy-Authorization:"),
        ("response=\"", "response=\"0"),
    ] {
        solo.receive(&good.replace(find, put));
        assert_eq!(status(&mut solo), "401", "{put}");
    }
    // A nonce that is not ours, with the right password: a client that knew us before we started anew.
    for forged in ["", "0000000000000000ffffffffffffffff", "x"] {
        solo.receive(&with(&plain("OPTIONS", "z9hG4bK-2"), forged, &GOOD));
        assert_eq!(status(&mut solo), "401 stale");
    }
    solo.receive(&good);
    assert_eq!(status(&mut solo), "200");
}

#[test]
fn a_challenge_is_no_amplifier() {
    let small = "OPTIONS sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bK1\r\nf:<sip:a>;tag=1\r\nt:<sip:a>\r\ni:1\r\nCSeq:1 OPTIONS\r\n";
    for padding in 0..60 {
        let mut solo = solo(table(), &[]);
        let request = format!("{small}X:{}\r\n\r\n", "x".repeat(padding * 4));
        solo.receive(&request);
        let sent: usize = solo.sent.iter().map(|(_, sent)| sent.bytes.len()).sum();
        assert!(sent <= 3 * request.len(), "{sent} for {}", request.len());
        if request.len() > 190 {
            assert!(
                sent > 0 && challenges(&solo.only_text())[0].get("algorithm") == Some("SHA-256"),
                "{}",
                request.len()
            );
        }
    }
    // A usual one gets all of it.
    let mut solo = solo(table(), &[]);
    solo.receive(&plain("OPTIONS", "z9hG4bK-1"));
    assert_eq!(challenges(&solo.only_text()).len(), 2);
}

#[test]
fn old_user_agents_are_asked_for_what_they_know() {
    for (agent, expected) in [
        ("baresip v1.0.0 (x86_64/linux)", &["MD5"][..]),
        ("Baresip v0.6.5", &["MD5"]),
        ("baresip v3.10.0 (x86_64/Linux)", &["SHA-256", "MD5"]),
        ("baresip", &["SHA-256", "MD5"]),
    ] {
        let mut solo = solo(table(), &[]);
        let request =
            plain("OPTIONS", "z9hG4bK-1").replace("Max-Forwards", &format!("User-Agent: {agent}\r\nMax-Forwards"));
        solo.receive(&request);
        let asked: Vec<_> =
            challenges(&solo.only_text()).iter().map(|one| one.algorithm().unwrap().to_string()).collect();
        assert_eq!(asked, expected, "{agent}");
    }
}

#[test]
fn a_flood_without_credentials_costs_no_memory() {
    let mut solo = solo(table(), &[]);
    let nonce = nonce(&mut solo);
    for n in 0..5000 {
        solo.receive(&plain("INVITE", &format!("z9hG4bK-{n}")));
        let wrong = Given { password: "wrong", nc: n + 2, ..GOOD };
        solo.receive(&with(&plain("INVITE", &format!("z9hG4bK-w{n}")), &nonce, &wrong));
    }
    let stats = solo.ua.stats();
    assert_eq!((stats.live, stats.lingering_bytes), (Live::default(), 0));
    assert_eq!((stats.challenged, stats.wrong_credentials), (10_001, 5000));
}

fn asked(solo: &mut Solo) -> PasswordKey {
    match solo.event() {
        Event::Password { key, username, realm } => {
            assert_eq!((username.as_str(), realm.as_str()), ("peer", "192.0.2.2"));
            key
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_waits_for_its_password() {
    let mut solo = solo(Passwords::Ask, &[]);
    let nonce = nonce(&mut solo);
    let known = |text: &str| Password::Known(text.to_owned());
    for (n, (password, expected)) in
        [(known("secret"), "200"), (known("wrong"), "401"), (Password::Unknown, "401"), (Password::Failed, "500")]
            .into_iter()
            .enumerate()
    {
        let nc = n as u32 + 1;
        let request = with(&plain("OPTIONS", &format!("z9hG4bK-{n}")), &nonce, &Given { nc, ..GOOD });
        solo.receive(&request);
        let key = asked(&mut solo);
        // It comes again meanwhile: nobody is asked twice.
        solo.receive(&request);
        assert!(solo.events.is_empty() && solo.sent.is_empty());
        assert_eq!(solo.ua.stats().live.passwords, 1);
        solo.call(|ua, now| ua.password(now, key, password.clone()));
        assert_eq!(status(&mut solo), expected);
        solo.call(|ua, now| ua.password(now, key, password));
        assert!(solo.sent.is_empty(), "once");
    }
    // A call.
    solo.receive(&with(&plain("INVITE", "z9hG4bK-call"), &nonce, &Given { nc: 9, ..GOOD }));
    let key = asked(&mut solo);
    solo.call(|ua, now| ua.password(now, key, known("secret")));
    assert!(matches!(solo.events[..], [Event::Invite { .. }]));
    // Whoever has no nonce of ours is not worth asking for.
    let mut solo = self::solo(Passwords::Ask, &[]);
    solo.receive(&with(&plain("OPTIONS", "z9hG4bK-1"), "forged", &GOOD));
    assert!(solo.events.is_empty());
    assert_eq!(status(&mut solo), "401");
}

#[test]
fn nobody_waits_for_ever() {
    let mut solo = solo(Passwords::Ask, &[]);
    let nonce = nonce(&mut solo);
    solo.receive(&with(&plain("INVITE", "z9hG4bK-1"), &nonce, &GOOD));
    let key = asked(&mut solo);
    solo.wait(Duration::from_millis(4999));
    assert!(solo.sent.is_empty());
    solo.wait(Duration::from_millis(1));
    let refusal = solo.only_text();
    assert!(refusal.starts_with("SIP/2.0 503 ") && header(&refusal, "Retry-After") == "5");
    solo.call(|ua, now| ua.password(now, key, Password::Known("secret".into())));
    assert!(solo.sent.is_empty() && solo.events.is_empty());
    // More than there is room for.
    for n in 0..1030 {
        let given = Given { nc: n + 10, ..GOOD };
        solo.receive(&with(&plain("MESSAGE", &format!("z9hG4bK-m{n}")), &nonce, &given));
    }
    assert_eq!((solo.ua.stats().live.passwords, solo.sent.len()), (1024, 6));
    solo.events.clear();
    solo.texts();
    solo.wait(5 * SECOND);
    assert_eq!(solo.lines().len(), 1024);
    solo.assert_nothing_left();
}

#[test]
fn a_call_can_be_given_up_while_it_waits() {
    let mut solo = solo(Passwords::Ask, &[]);
    let nonce = nonce(&mut solo);
    let invite = with(&request_with("INVITE", 1, "", "z9hG4bK-INVITE-1", &[], SDP), &nonce, &GOOD);
    solo.receive(&invite);
    let key = asked(&mut solo);
    solo.receive(&request_with("CANCEL", 1, "", "z9hG4bK-INVITE-1", &[], ""));
    let lines = solo.lines();
    assert_eq!(lines, ["SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]);
    solo.call(|ua, now| ua.password(now, key, Password::Known("secret".into())));
    assert!(solo.events.is_empty() && solo.sent.is_empty());
    solo.assert_nothing_left();
}

#[test]
fn over_a_stream_the_answer_goes_back_by_it() {
    let mut solo = solo(Passwords::Ask, &[]);
    let nonce = nonce(&mut solo);
    let request = with(&plain("OPTIONS", "z9hG4bK-1"), &nonce, &GOOD).replace("/UDP", "/TCP");
    solo.receive_by(Transport::Tcp, Some(3), &request);
    let key = asked(&mut solo);
    solo.call(|ua, now| ua.password(now, key, Password::Known("secret".into())));
    assert_eq!(solo.sent[0].1.connection.map(|connection| connection.0), Some(3));
    assert_eq!(status(&mut solo), "200");
}

#[test]
fn two_of_us_prove_to_each_other_who_they_are() {
    let passwords = Passwords::table([("alice".to_owned(), "secret".to_owned())]);
    let mut pair = Pair::with_config(3, Conditions::PERFECT, authenticated(passwords));
    let mut challenged = 0;
    for round in 0..3 {
        let call = crate::common::invite(&mut pair, 0, Some(SDP));
        let other = crate::common::incoming(&mut pair, 1);
        pair.with(1, |ua, now| ua.respond(now, other, Reply::new(ringback_sip::StatusCode::BUSY_HERE)).unwrap());
        pair.run(SECOND);
        assert!(
            pair.take_events(0).iter().any(|event| matches!(event, Event::Rejected { call: of, .. } if *of == call))
        );
        pair.take_events(1);
        // The first call is asked; later ones bring their credentials along until the nonce is old.
        challenged += u64::from(round != 1);
        assert_eq!(pair.ends[1].ua.stats().challenged, challenged);
        if round == 1 {
            pair.run(Duration::from_secs(300));
        }
    }
}
