//! 401 and 407: which requests go out again, with what, how often, and what never goes to anybody.

use std::sync::Arc;
use std::time::Duration;

use ringback_sip::digest::{Algorithm, Authorization, ha1, hash};
use ringback_sip::{HeaderName, Message, Method, NameAddr, Uri};
use ringback_ua::{Body, CallKey, Config, Credentials, Event, Live, Request};

use crate::common::{PEER as PEER_ADDRESS, SDP, Solo, has_header, header, response};

const PEER: &str = "sip:bob@192.0.2.2:5070";
const CONTACT: &str = "Contact: <sip:bob@192.0.2.2:5070>";

fn credentials(username: &str, password: &str, realm: Option<&str>) -> Arc<Credentials> {
    Arc::new(Credentials { username: username.into(), password: password.into(), realm: realm.map(str::to_owned) })
}

fn solo_with(all: &[(&str, &str, Option<&str>)]) -> Solo {
    let credentials = all.iter().map(|(username, password, realm)| credentials(username, password, *realm)).collect();
    Solo::with(Config { credentials, ..Config::default() })
}

fn solo() -> Solo {
    solo_with(&[("alice", "secret", Some("pbx"))])
}

fn challenge(realm: &str, nonce: &str, more: &str) -> String {
    format!("WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\"{more}")
}

fn refuse(request: &str, challenges: &[&str]) -> String {
    response(request, "401 Unauthorized", "uas", challenges, "")
}

fn refuse_by_proxy(request: &str, realm: &str, nonce: &str) -> String {
    let line = challenge(realm, nonce, "").replace("WWW-Authenticate", "Proxy-Authenticate");
    response(request, "407 Proxy Authentication Required", "proxy", &[&line], "")
}

/// The credentials in a request, each checked against the password.
fn given(request: &str, name: &HeaderName, password: &str) -> Vec<Authorization> {
    let message = Message::parse(bytes::Bytes::from(request.to_owned())).unwrap();
    let found = message.authorizations(name);
    for authorization in &found {
        let algorithm = authorization.algorithm().unwrap();
        let ha1 = ha1(algorithm, &authorization.username().unwrap(), authorization.realm(), password);
        let method = message.method().unwrap();
        assert!(authorization.proves(&ha1, method.as_str(), &message.body()), "{request}");
        assert_eq!(authorization.uri(), message.request_uri().unwrap().as_str());
    }
    found
}

fn given_once(request: &str) -> Authorization {
    let mut found = given(request, &HeaderName::Authorization, "secret");
    assert_eq!(found.len(), 1, "{request}");
    assert!(!has_header(request, "Proxy-Authorization"));
    found.remove(0)
}

fn requests(solo: &mut Solo, method: &str) -> Vec<String> {
    solo.texts().into_iter().filter(|text| text.starts_with(method)).collect()
}

fn next(solo: &mut Solo, method: &str) -> String {
    let mut found = requests(solo, method);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn branch(request: &str) -> String {
    header(request, "Via").split("branch=").nth(1).unwrap().split(';').next().unwrap().to_owned()
}

fn standalone(method: Method) -> Request {
    Request {
        method,
        request_uri: Uri::parse("sip:192.0.2.2:5070").unwrap(),
        from: NameAddr::parse("<sip:alice@192.0.2.1>").unwrap(),
        to: NameAddr::parse("<sip:alice@192.0.2.1>").unwrap(),
        call_id: "ours@192.0.2.1".into(),
        cseq: 1,
        headers: Vec::new(),
        contact: true,
        contact_form: None,
        body: None,
        max_forwards: 70,
        flow: None,
        credentials: None,
        give_up_after: None,
    }
}

/// A call that is asked once and then answered.
fn call(solo: &mut Solo) -> (CallKey, String, String) {
    let (call, first) = solo.calling(PEER, Some(SDP));
    solo.receive(&refuse(&first, &[&challenge("pbx", "n1", ", opaque=\"o\", algorithm=SHA-256")]));
    let texts = solo.texts();
    assert!(texts[0].starts_with("ACK ") && texts.len() == 2, "{texts:?}");
    (call, first, texts[1].clone())
}

fn answer(solo: &mut Solo, call: CallKey, invite: &str) -> String {
    solo.receive(&response(invite, "200 OK", "peer", &[CONTACT], SDP));
    assert!(matches!(solo.event(), Event::Answered { .. }));
    solo.call(|ua, now| ua.ack(now, call, None));
    solo.only_text()
}

#[test]
fn an_invite_that_is_asked_goes_out_again_and_its_ack_carries_the_same() {
    let mut solo = solo();
    let (call, first, second) = call(&mut solo);
    let answer_given = given_once(&second);
    assert_eq!((answer_given.realm(), answer_given.nonce(), answer_given.nc()), ("pbx", "n1", Some(1)));
    assert_eq!((answer_given.opaque(), answer_given.get("algorithm")), (Some("o"), Some("SHA-256")));
    // RFC 3261 §22.2: the same request but for CSeq and branch.
    for name in ["Call-ID", "From", "To", "Contact", "Content-Type", "Max-Forwards"] {
        assert_eq!(header(&first, name), header(&second, name), "{name}");
    }
    assert_eq!((header(&first, "CSeq"), header(&second, "CSeq")), ("1 INVITE", "2 INVITE"));
    assert_ne!(branch(&first), branch(&second));
    assert!(second.ends_with(SDP));
    assert!(solo.events.is_empty(), "nobody is told of the 401");
    // The 401 comes again: its ACK was lost.
    solo.receive(&refuse(&first, &[&challenge("pbx", "n1", "")]));
    assert!(solo.only_text().starts_with("ACK "));
    let ack = answer(&mut solo, call, &second);
    assert_eq!(header(&ack, "Authorization"), header(&second, "Authorization"), "RFC 3261 §22.1");
    assert_eq!(header(&ack, "CSeq"), "2 ACK");
    // The 2xx comes again.
    solo.receive(&response(&second, "200 OK", "peer", &[CONTACT], SDP));
    assert_eq!(header(&solo.only_text(), "Authorization"), header(&second, "Authorization"));
    solo.call(|ua, now| ua.bye(now, call, None));
    let bye = solo.only_text();
    assert_eq!((header(&bye, "CSeq"), given_once(&bye).nc()), ("3 BYE", Some(2)));
    solo.receive(&response(&bye, "200 OK", "", &[], ""));
    solo.assert_nothing_left();
}

#[test]
fn a_second_refusal_is_the_answer() {
    let mut solo = solo();
    let (_, _, second) = call(&mut solo);
    solo.receive(&refuse(&second, &[&challenge("pbx", "n2", ", algorithm=SHA-256")]));
    match solo.event() {
        Event::Rejected { response, .. } => assert_eq!(response.status().unwrap().as_u16(), 401),
        other => panic!("{other:?}"),
    }
    assert!(matches!(solo.event(), Event::Released { .. }));
    assert!(requests(&mut solo, "INVITE").is_empty());
    // The nonce is not brought along by the next one.
    let (_, third) = solo.calling(PEER, Some(SDP));
    assert!(!has_header(&third, "Authorization"));
}

#[test]
fn a_stale_nonce_is_replaced_once() {
    let mut solo = solo();
    let (_, _, second) = call(&mut solo);
    solo.receive(&refuse(&second, &[&challenge("pbx", "n2", ", stale=true")]));
    let third = next(&mut solo, "INVITE");
    let answer = given_once(&third);
    assert_eq!((answer.nonce(), answer.nc(), header(&third, "CSeq")), ("n2", Some(1), "3 INVITE"));
    solo.receive(&refuse(&third, &[&challenge("pbx", "n3", ", stale=true")]));
    assert!(matches!(solo.event(), Event::Rejected { .. }));
    assert!(requests(&mut solo, "INVITE").is_empty());
    solo.events.clear();
    solo.assert_nothing_left();
}

#[test]
fn whoever_asks_for_ever_is_asked_no_more() {
    let mut solo = solo_with(&[("alice", "secret", None)]);
    let (_, mut invite) = solo.calling(PEER, Some(SDP));
    let mut sent = 1;
    for n in 0..100 {
        solo.receive(&refuse(&invite, &[&challenge(&format!("realm {n}"), "n", ", stale=true")]));
        match requests(&mut solo, "INVITE").pop() {
            Some(again) => invite = again,
            None => break,
        }
        sent += 1;
    }
    assert!(sent <= 7, "{sent}");
    assert!(matches!(solo.event(), Event::Rejected { .. }));
}

#[test]
fn nothing_is_sent_to_a_realm_without_credentials() {
    let other = challenge("other", "n", "");
    let unknown = challenge("pbx", "n", ", algorithm=SHA-3");
    let cases: [&[&str]; 5] = [&[], &[&other], &[&unknown], &["WWW-Authenticate: Basic realm=\"pbx\""], &["X: y"]];
    for challenges in cases {
        let mut solo = solo();
        let (_, invite) = solo.calling(PEER, Some(SDP));
        solo.receive(&refuse(&invite, challenges));
        assert!(matches!(solo.event(), Event::Rejected { .. }), "{challenges:?}");
        assert!(requests(&mut solo, "INVITE").is_empty());
        let mut without = Solo::new();
        let (_, invite) = without.calling(PEER, Some(SDP));
        without.receive(&refuse(&invite, &[&challenge("pbx", "n", "")]));
        assert!(matches!(without.event(), Event::Rejected { .. }));
    }
}

#[test]
fn the_topmost_challenge_of_each_realm_that_is_understood_counts() {
    let mut solo = solo_with(&[("alice", "secret", Some("pbx")), ("bob", "secret", Some("edge"))]);
    let (_, invite) = solo.calling(PEER, Some(SDP));
    solo.receive(&refuse(
        &invite,
        &[
            &challenge("pbx", "sha3", ", algorithm=SHA-3"),
            &challenge("pbx", "sha512", ", algorithm=SHA-512-256"),
            &challenge("edge", "md5", ""),
            &challenge("pbx", "md5", ", algorithm=MD5"),
            &challenge("third", "none", ""),
        ],
    ));
    let again = next(&mut solo, "INVITE");
    let found = given(&again, &HeaderName::Authorization, "secret");
    let told: Vec<_> = found.iter().map(|one| (one.realm(), one.nonce(), one.username().unwrap())).collect();
    assert_eq!(told, [("pbx", "sha512", "alice".into()), ("edge", "md5", "bob".into())]);
}

#[test]
fn a_proxy_and_a_server_ask_in_turn() {
    let mut solo = solo_with(&[("alice", "secret", Some("pbx")), ("out", "secret", Some("proxy"))]);
    let (call, first) = solo.calling(PEER, Some(SDP));
    solo.receive(&refuse_by_proxy(&first, "proxy", "p1"));
    let second = next(&mut solo, "INVITE");
    assert!(!has_header(&second, "Authorization"));
    assert_eq!(given(&second, &HeaderName::ProxyAuthorization, "secret")[0].username().unwrap(), "out");
    solo.receive(&refuse(&second, &[&challenge("pbx", "s1", "")]));
    let third = next(&mut solo, "INVITE");
    let proxy = given(&third, &HeaderName::ProxyAuthorization, "secret");
    assert_eq!((proxy.len(), proxy[0].nc()), (1, Some(2)), "RFC 3261 §22.3: what was given stays");
    assert_eq!(given(&third, &HeaderName::Authorization, "secret")[0].nc(), Some(1));
    let ack = answer(&mut solo, call, &third);
    for name in ["Authorization", "Proxy-Authorization"] {
        assert_eq!(header(&ack, name), header(&third, name));
    }
    solo.call(|ua, now| ua.bye(now, call, None));
    let bye = solo.only_text();
    assert_eq!(given(&bye, &HeaderName::ProxyAuthorization, "secret")[0].nc(), Some(3));
    assert_eq!(given(&bye, &HeaderName::Authorization, "secret")[0].nc(), Some(2));
}

#[test]
fn later_requests_bring_their_credentials_along() {
    let mut solo = solo();
    let (first_call, _, invite) = call(&mut solo);
    answer(&mut solo, first_call, &invite);
    let (_, second) = solo.calling("sip:carol@192.0.2.2:5070", Some(SDP));
    assert_eq!((given_once(&second).nc(), header(&second, "CSeq")), (Some(2), "1 INVITE"));
    let options = solo.call(|ua, now| ua.send(now, standalone(Method::Options))).unwrap();
    let sent = solo.only_text();
    assert_eq!(given_once(&sent).nc(), Some(3));
    solo.receive(&response(&sent, "200 OK", "x", &["Authentication-Info: nextnonce=\"n9\", qop=auth"], ""));
    assert!(matches!(solo.event(), Event::Standalone { key, outcome: Ok(_) } if key == options));
    // RFC 7616 §3.5.
    let (_, fourth) = solo.calling(PEER, Some(SDP));
    let answer = given_once(&fourth);
    assert_eq!((answer.nonce(), answer.nc()), ("n9", Some(1)));
    // Its nonce has been replaced: that is no refusal, stale or not.
    solo.receive(&refuse(&fourth, &[&challenge("pbx", "n10", "")]));
    let fifth = next(&mut solo, "INVITE");
    assert_eq!((given_once(&fifth).nonce(), header(&fifth, "CSeq")), ("n10", "2 INVITE"));
    solo.receive(&refuse(&fifth, &[&challenge("pbx", "n11", "")]));
    assert!(requests(&mut solo, "INVITE").is_empty());
    // Other hosts are not told.
    let (_, other) = solo.calling("sip:bob@192.0.2.7", Some(SDP));
    assert!(!has_header(&other, "Authorization"));
}

#[test]
fn a_server_that_does_not_know_the_password_is_not_believed() {
    for (good, challenged) in [(true, true), (false, true), (false, false)] {
        let mut solo = solo();
        let (first_call, _, invite) = call(&mut solo);
        answer(&mut solo, first_call, &invite);
        solo.call(|ua, now| ua.send(now, standalone(Method::Options))).unwrap();
        let sent = solo.only_text();
        let given = given_once(&sent);
        let key = ha1(Algorithm::Sha256, "alice", "pbx", "secret");
        let a2 = hash(Algorithm::Sha256, &[b"", given.uri().as_bytes()]);
        let (nc, cnonce) = (given.get("nc").unwrap(), given.cnonce().unwrap());
        let parts = [key.as_bytes(), b"n1", nc.as_bytes(), cnonce.as_bytes(), b"auth", a2.as_bytes()];
        let mut rspauth = hash(Algorithm::Sha256, &parts).as_str().to_owned();
        if !good {
            rspauth = rspauth.chars().rev().collect();
        }
        let next_nonce = if challenged { "nextnonce=\"n9\", " } else { "" };
        let info =
            format!("Authentication-Info: {next_nonce}qop=auth, rspauth=\"{rspauth}\", cnonce=\"{cnonce}\", nc={nc}");
        solo.receive(&response(&sent, "200 OK", "x", &[&info], ""));
        assert!(matches!(solo.event(), Event::Standalone { outcome: Ok(_), .. }), "the response is what it is");
        assert_eq!(solo.ua.stats().wrong_rspauth, u64::from(!good));
        solo.call(|ua, now| ua.send(now, standalone(Method::Options))).unwrap();
        let later = solo.only_text();
        if good {
            assert_eq!((given_once(&later).nonce(), given_once(&later).nc()), ("n9", Some(1)));
        } else {
            assert!(!has_header(&later, "Authorization"), "it has to ask again");
        }
    }
}

#[test]
fn requests_outside_of_dialogs_are_answered_alike() {
    for method in [Method::Options, Method::Message, Method::Register, Method::Subscribe, Method::Publish] {
        let mut solo = solo();
        let name = method.as_str().to_owned();
        let body = Some(Body { content_type: "text/plain".into(), bytes: "hi".into() });
        let key = solo.call(|ua, now| ua.send(now, Request { body, cseq: 7, ..standalone(method) })).unwrap();
        let first = solo.only_text();
        solo.wait(Duration::from_millis(30));
        solo.receive(&refuse(&first, &[&challenge("pbx", "n", "").replace("\"auth\"", "\"auth-int\"")]));
        let second = solo.only_text();
        assert_eq!(header(&second, "CSeq"), format!("8 {name}"));
        assert_eq!(given_once(&second).get("qop"), Some("auth-int"));
        // It is lost, and sent again as it was; the old 401 comes again, and is nobody's.
        solo.wait(Duration::from_millis(510));
        assert_eq!(solo.only_text(), second);
        solo.receive(&refuse(&first, &[&challenge("pbx", "n", "")]));
        assert!(solo.sent.is_empty() && solo.events.is_empty());
        solo.receive(&response(&second, "200 OK", "x", &[], ""));
        match solo.event() {
            Event::Standalone { key: told, outcome: Ok(answer) } => {
                assert_eq!((told, answer.response.cseq().unwrap().number), (key, 8));
                assert_eq!(answer.round_trip, Duration::from_millis(510));
            }
            other => panic!("{other:?}"),
        }
        solo.assert_nothing_left();
    }
}

#[test]
fn a_request_may_have_credentials_of_its_own() {
    let mut solo = solo();
    let own = Some(credentials("carol", "hers", None));
    let request = Request { credentials: own.clone(), ..standalone(Method::Register) };
    solo.call(|ua, now| ua.send(now, request.clone())).unwrap();
    let first = solo.only_text();
    solo.receive(&refuse(&first, &[&challenge("pbx", "n", "")]));
    let second = solo.only_text();
    assert_eq!(given(&second, &HeaderName::Authorization, "hers")[0].username().unwrap(), "carol", "who it is from");
    solo.receive(&response(&second, "200 OK", "x", &[], ""));
    let mut solo = Solo::new();
    for (cseq, nc) in [(1, 1), (3, 2)] {
        solo.call(|ua, now| ua.send(now, Request { cseq, ..request.clone() })).unwrap();
        let mut sent = solo.only_text();
        if cseq == 1 {
            solo.receive(&refuse(&sent, &[&challenge("any", "n", "")]));
            sent = solo.only_text();
        }
        let found = given(&sent, &HeaderName::Authorization, "hers");
        assert_eq!((found[0].username().unwrap().as_ref(), found[0].nc()), ("carol", Some(nc)));
        solo.receive(&response(&sent, "200 OK", "x", &[], ""));
    }
    solo.call(|ua, now| ua.send(now, standalone(Method::Register))).unwrap();
    assert!(!has_header(&solo.only_text(), "Authorization"), "not who others are");
}

#[test]
fn requests_within_a_dialog_are_answered() {
    let mut solo = solo();
    let (call, _) = solo.called(PEER);
    // INFO: its name stays.
    let key = solo.call(|ua, now| ua.request(now, call, Method::Info, Vec::new(), None)).unwrap();
    let info = solo.only_text();
    solo.receive(&refuse(&info, &[&challenge("pbx", "n1", "")]));
    let again = solo.only_text();
    assert_eq!((header(&info, "CSeq"), header(&again, "CSeq")), ("2 INFO", "3 INFO"));
    assert_eq!(given_once(&again).nc(), Some(1));
    solo.receive(&response(&again, "200 OK", "", &[], ""));
    match solo.event() {
        Event::Response { key: told, response: Ok(response), .. } => {
            assert_eq!((told, response.status().unwrap().as_u16()), (key, 200));
        }
        other => panic!("{other:?}"),
    }
    // A re-INVITE brings them along, and is asked anew.
    solo.call(|ua, now| ua.reinvite(now, call, Some(Body::sdp(SDP)))).unwrap();
    let reinvite = solo.only_text();
    assert_eq!((header(&reinvite, "CSeq"), given_once(&reinvite).nc()), ("4 INVITE", Some(2)));
    solo.receive(&refuse(&reinvite, &[&challenge("pbx", "n2", ", stale=true")]));
    let reinvite = next(&mut solo, "INVITE");
    assert_eq!((header(&reinvite, "CSeq"), given_once(&reinvite).nonce()), ("5 INVITE", "n2"));
    solo.receive(&response(&reinvite, "200 OK", "", &[CONTACT], SDP));
    assert!(matches!(solo.event(), Event::ReinviteAnswered { .. }));
    let ack = solo.only_text();
    assert_eq!(header(&ack, "Authorization"), header(&reinvite, "Authorization"));
    // A re-INVITE that is refused for good leaves the call as it is.
    solo.call(|ua, now| ua.reinvite(now, call, Some(Body::sdp(SDP)))).unwrap();
    for nonce in ["n3", "n4"] {
        let reinvite = next(&mut solo, "INVITE");
        solo.receive(&refuse(&reinvite, &[&challenge("pbx", nonce, "")]));
    }
    assert!(matches!(solo.event(), Event::ReinviteFailed { status: 401, .. }));
    assert!(requests(&mut solo, "INVITE").is_empty());
    // BYE.
    solo.call(|ua, now| ua.bye(now, call, None));
    let bye = solo.only_text();
    solo.receive(&refuse(&bye, &[&challenge("pbx", "n5", "")]));
    let again = solo.only_text();
    assert!(again.starts_with("BYE ") && given_once(&again).nonce() == "n5");
    solo.receive(&response(&again, "200 OK", "", &[], ""));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

/// Each of them, by a server and by a proxy: with the next number, and its own content.
#[test]
fn every_method_within_a_dialog_is_answered() {
    for (method, header_line) in [
        (Method::Info, ("Info-Package", "x")),
        (Method::Message, ("Subject", "hello")),
        (Method::Refer, ("Refer-To", "<sip:carol@192.0.2.3>")),
        (Method::Notify, ("Event", "refer")),
    ] {
        for by_proxy in [false, true] {
            let mut solo = solo();
            let (call, _) = solo.called(PEER);
            let headers = vec![(header_line.0.to_owned(), header_line.1.to_owned())];
            let body = Body { content_type: "text/plain".into(), bytes: "text".into() };
            let key = solo.call(|ua, now| ua.request(now, call, method.clone(), headers, Some(body))).unwrap();
            let first = solo.only_text();
            let refusal = match by_proxy {
                true => refuse_by_proxy(&first, "pbx", "n1"),
                false => refuse(&first, &[&challenge("pbx", "n1", "")]),
            };
            solo.receive(&refusal);
            let again = solo.only_text();
            let name = if by_proxy { HeaderName::ProxyAuthorization } else { HeaderName::Authorization };
            assert_eq!(given(&again, &name, "secret").len(), 1, "{again}");
            assert_eq!(header(&again, "CSeq"), format!("3 {method}"));
            assert_eq!(header(&again, header_line.0), header_line.1);
            assert!(again.ends_with("\r\n\r\ntext"), "{again}");
            solo.receive(&response(&again, "200 OK", "", &[CONTACT], ""));
            match solo.event() {
                Event::Response { key: told, response: Ok(response), .. } => {
                    assert_eq!((told, response.status().unwrap().as_u16()), (key, 200));
                }
                other => panic!("{other:?}"),
            }
            // For good: that is its answer, and the call goes on.
            let headers = vec![(header_line.0.to_owned(), header_line.1.to_owned())];
            solo.call(|ua, now| ua.request(now, call, method.clone(), headers, None)).unwrap();
            for nonce in ["n2", "n3"] {
                let request = solo.only_text();
                solo.receive(&refuse(&request, &[&challenge("pbx", nonce, "")]));
            }
            assert!(matches!(solo.event(), Event::Response { response: Ok(_), .. }));
            assert!(solo.texts().is_empty() && solo.events.is_empty());
        }
    }
}

#[test]
fn an_update_is_answered_with_its_offer() {
    let mut solo = solo();
    let (call, invite) = solo.calling(PEER, Some(SDP));
    solo.receive(&response(&invite, "200 OK", "peer", &[CONTACT, "Allow: INVITE, UPDATE"], SDP));
    assert!(matches!(solo.event(), Event::Answered { .. }));
    solo.call(|ua, now| ua.ack(now, call, None));
    solo.texts();
    solo.call(|ua, now| ua.update(now, call, Some(Body::sdp(SDP)))).unwrap();
    let update = solo.only_text();
    solo.receive(&refuse(&update, &[&challenge("pbx", "n1", "")]));
    let again = solo.only_text();
    assert_eq!((header(&update, "CSeq"), header(&again, "CSeq")), ("2 UPDATE", "3 UPDATE"));
    assert!(given_once(&again).nonce() == "n1" && again.ends_with(SDP), "{again}");
    solo.receive(&response(&again, "200 OK", "", &[CONTACT], SDP));
    assert!(matches!(solo.event(), Event::ReinviteAnswered { .. }));
    // Refused for good: the session goes on as it was.
    solo.call(|ua, now| ua.update(now, call, Some(Body::sdp(SDP)))).unwrap();
    for nonce in ["n2", "n3"] {
        let update = next(&mut solo, "UPDATE");
        solo.receive(&refuse(&update, &[&challenge("pbx", nonce, "")]));
    }
    assert!(matches!(solo.event(), Event::ReinviteFailed { status: 401, .. }));
    assert!(solo.texts().is_empty());
}

/// RFC 3262 §4: with its RAck, and the answer that it carries.
#[test]
fn a_prack_is_answered() {
    let mut solo = solo();
    let (call, invite) = solo.calling(PEER, None);
    let more = [CONTACT, "Require: 100rel", "RSeq: 9"];
    solo.receive(&response(&invite, "183 Session Progress", "one", &more, SDP));
    assert!(matches!(solo.event(), Event::Provisional { offers: true, .. }));
    solo.call(|ua, now| ua.prack(now, call, Some(Body::sdp("v=0\r\ns=mine\r\n"))));
    let prack = solo.only_text();
    solo.receive(&refuse(&prack, &[&challenge("pbx", "n1", "")]));
    let again = solo.only_text();
    assert!(again.starts_with("PRACK ") && again.ends_with("s=mine\r\n"), "{again}");
    assert_eq!((header(&again, "RAck"), header(&again, "CSeq")), ("9 1 INVITE", "3 PRACK"));
    assert_eq!(given_once(&again).nonce(), "n1");
    solo.receive(&response(&again, "200 OK", "", &[], ""));
    solo.receive(&response(&invite, "200 OK", "one", &[CONTACT], ""));
    assert!(matches!(solo.event(), Event::Answered { settled: true, .. }));
}

/// The subscription of one dialog: SUBSCRIBE, its refresh, and NOTIFY in the other role.
#[test]
fn a_subscription_is_answered_each_time() {
    let mut solo = solo();
    let event = vec![("Event".to_owned(), "dialog".to_owned()), ("Expires".to_owned(), "600".to_owned())];
    let request = Request { headers: event.clone(), ..standalone(Method::Subscribe) };
    let (usage, _) = solo.call(|ua, now| ua.subscribe(now, request)).unwrap();
    let first = solo.only_text();
    solo.receive(&refuse(&first, &[&challenge("pbx", "n1", "")]));
    let again = solo.only_text();
    assert_eq!(given_once(&again).nonce(), "n1");
    solo.receive(&response(&again, "200 OK", "peer", &[CONTACT, "Expires: 600"], ""));
    // RFC 6665 §4.4.1: it is the NOTIFY that makes the dialog.
    let tag = header(&again, "From").split("tag=").nth(1).unwrap().to_owned();
    let notify = format!(
        "NOTIFY sip:ringback@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5070;branch=z9hG4bKn\r\nFrom: <sip:alice@192.0.2.1>;tag=peer\r\n\
         To: <sip:alice@192.0.2.1>;tag={tag}\r\nCall-ID: ours@192.0.2.1\r\nCSeq: 1 NOTIFY\r\nMax-Forwards: 70\r\n{CONTACT}\r\n\
         Event: dialog\r\nSubscription-State: active\r\nContent-Length: 0\r\n\r\n"
    );
    solo.receive(&notify);
    solo.events.clear();
    for (method, nonce) in [(Method::Subscribe, "n2"), (Method::Notify, "n3")] {
        solo.call(|ua, now| ua.usage_request(now, usage, &method, &event, None)).unwrap();
        let known = solo.only_text();
        assert!(has_header(&known, "Authorization"), "it brings along what it knows");
        solo.receive(&refuse(&known, &[&challenge("pbx", nonce, ", stale=true")]));
        let again = solo.only_text();
        assert!(again.starts_with(method.as_str()) && given_once(&again).nonce() == nonce, "{again}");
        assert_eq!(header(&again, "Event"), "dialog");
        solo.receive(&response(&again, "200 OK", "", &[CONTACT, "Expires: 600"], ""));
        assert!(solo.texts().is_empty());
    }
}

#[test]
fn who_may_ask_for_credentials_without_a_realm() {
    let any = [("alice", "secret", None)];
    let route = |uri: &str| vec![("Route".to_owned(), format!("<{uri};lr>"))];
    // The host that the request went to, as a server and as a proxy.
    for by_proxy in [false, true] {
        let mut solo = solo_with(&any);
        let (_, invite) = solo.calling(PEER, Some(SDP));
        let refusal = if by_proxy {
            refuse_by_proxy(&invite, "whatever", "n")
        } else {
            refuse(&invite, &[&challenge("whatever", "n", "")])
        };
        solo.receive(&refusal);
        assert_eq!(requests(&mut solo, "INVITE").len(), 1);
    }
    // A proxy that it went through, but not what is behind that.
    for (by_proxy, expected) in [(true, 1), (false, 0)] {
        let mut solo = solo_with(&any);
        solo.place_with("sip:bob@elsewhere.example", Some(SDP), route("sip:192.0.2.2:5070"));
        let invite = solo.only_text();
        let refusal = if by_proxy {
            refuse_by_proxy(&invite, "whatever", "n")
        } else {
            refuse(&invite, &[&challenge("whatever", "n", "")])
        };
        solo.receive(&refusal);
        assert_eq!(requests(&mut solo, "INVITE").len(), expected);
    }
    // A stranger who calls us and then asks.
    let mut solo = solo_with(&any);
    let (call, _) = solo.established();
    solo.call(|ua, now| ua.bye(now, call, None));
    let bye = solo.only_text();
    solo.receive(&refuse(&bye, &[&challenge("whatever", "n", "")]));
    assert!(solo.sent.is_empty());
    assert!(matches!(solo.event(), Event::Released { .. }));
    // Where the dialog's requests go is for the peer to say: to ask is for whom we called.
    let mut solo = solo_with(&any);
    let (call, invite) = solo.calling(PEER, Some(SDP));
    solo.receive(&response(&invite, "200 OK", "peer", &["Contact: <sip:bob@192.0.2.66>"], SDP));
    solo.call(|ua, now| ua.ack(now, call, None));
    solo.texts();
    solo.events.clear();
    solo.call(|ua, now| ua.bye(now, call, None));
    let bye = solo.only_text();
    solo.receive(&refuse(&bye, &[&challenge("whatever", "n", "")]));
    assert!(solo.sent.is_empty());
}

#[test]
fn a_call_that_is_given_up_is_not_placed_again() {
    let mut solo = solo();
    let (call, invite) = solo.calling(PEER, Some(SDP));
    solo.receive(&response(&invite, "100 Trying", "", &[], ""));
    solo.call(|ua, now| ua.cancel(now, call, None));
    solo.texts();
    solo.receive(&refuse(&invite, &[&challenge("pbx", "n", "")]));
    assert!(requests(&mut solo, "INVITE").is_empty());
    solo.assert_nothing_left();
    // While the second INVITE is unanswered, it is that one which is cancelled.
    let mut solo = self::solo();
    let (key, _, second) = self::call(&mut solo);
    solo.receive(&response(&second, "180 Ringing", "peer", &[CONTACT], ""));
    solo.call(|ua, now| ua.cancel(now, key, None));
    let cancel = solo.only_text();
    assert_eq!((header(&cancel, "CSeq"), branch(&cancel)), ("2 CANCEL", branch(&second)));
    assert!(!has_header(&cancel, "Authorization"));
    solo.receive(&response(&cancel, "200 OK", "peer", &[], ""));
    solo.receive(&response(&second, "487 Request Terminated", "peer", &[], ""));
    solo.assert_nothing_left();
}

#[test]
fn early_dialogs_end_with_the_refusal() {
    let mut solo = solo();
    let (_, first) = solo.calling(PEER, Some(SDP));
    solo.receive(&response(&first, "180 Ringing", "early", &[CONTACT], ""));
    assert_eq!(solo.ua.stats().live.dialogs, 1);
    solo.receive(&refuse(&first, &[&challenge("pbx", "n", "")]));
    assert_eq!(solo.ua.stats().live.dialogs, 0);
}

#[test]
fn over_a_stream_the_same_stream_serves() {
    use ringback_ua::Transport;
    let mut solo = solo();
    let (_, first) = solo.calling("sip:bob@192.0.2.2:5070;transport=tcp", Some(SDP));
    solo.receive_by(Transport::Tcp, Some(4), &refuse(&first, &[&challenge("pbx", "n", "")]));
    let (_, sent) = solo.sent.last().unwrap();
    assert_eq!((sent.transport, sent.connection.map(|c| c.0)), (Transport::Tcp, Some(4)));
    assert_eq!(sent.remote, PEER_ADDRESS.parse().unwrap());
    let second = next(&mut solo, "INVITE");
    given_once(&second);
    solo.receive_by(Transport::Tcp, Some(4), &response(&second, "486 Busy Here", "x", &[], ""));
    solo.texts();
    assert_eq!(solo.ua.stats().live, Live::default());
}

#[test]
fn credentials_given_by_hand_are_replaced_when_they_are_refused() {
    let mut solo = solo();
    let by_hand = vec![("Authorization".to_owned(), "Digest mine".to_owned()), ("X-Other".to_owned(), "y".to_owned())];
    solo.place_with(PEER, Some(SDP), by_hand);
    let first = solo.only_text();
    assert_eq!(header(&first, "Authorization"), "Digest mine");
    solo.receive(&refuse(&first, &[&challenge("pbx", "n", "")]));
    let second = next(&mut solo, "INVITE");
    assert_eq!(second.matches("\r\nAuthorization:").count(), 1);
    assert_eq!((given_once(&second).nonce(), header(&second, "X-Other")), ("n", "y"));
}

#[test]
fn no_password_shows() {
    let config = Config { credentials: vec![credentials("alice", "s3cret", None)], ..Config::default() };
    let request = Request { credentials: Some(credentials("bob", "s3cret", None)), ..standalone(Method::Register) };
    for text in [format!("{config:?}"), format!("{request:?}")] {
        assert!(!text.contains("s3cret") && text.contains("username"), "{text}");
    }
}
