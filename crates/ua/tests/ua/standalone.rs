//! Requests of ours outside of dialogs: what goes out, and each way in which one ends.

use std::net::SocketAddr;
use std::time::Duration;

use ringback_sip::{Method, NameAddr, Uri};
use ringback_ua::fuzz::pair::{Conditions, Pair};
use ringback_ua::{
    Answer, Body, Config, ConnectionId, ContactForm, Credentials, Event, FailCause, Flow, Live, Request, StandaloneKey,
    Transport, Ua, UaError,
};

use crate::common::{Solo, has_header, header, response};

const PEER: &str = "sip:peer@192.0.2.2:5070";
const SECOND: Duration = Duration::from_secs(1);

fn options(uri: &str) -> Request {
    Request {
        method: Method::Options,
        request_uri: Uri::parse(uri).unwrap(),
        from: NameAddr::parse("<sip:alice@192.0.2.1>").unwrap(),
        to: NameAddr::parse(&format!("<{uri}>")).unwrap(),
        call_id: "ours@192.0.2.1".into(),
        cseq: 1,
        headers: vec![("Accept".into(), "application/sdp".into())],
        contact: true,
        contact_form: None,
        flow: None,
        credentials: None,
        body: None,
        max_forwards: 70,
        give_up_after: None,
    }
}

fn patient(uri: &str, length: Duration) -> Request {
    Request { give_up_after: Some(length), ..options(uri) }
}

fn send(solo: &mut Solo, request: Request) -> StandaloneKey {
    solo.call(|ua, now| ua.send(now, request).unwrap())
}

fn outcome(solo: &mut Solo, expected: StandaloneKey) -> Result<Answer, FailCause> {
    match solo.event() {
        Event::Standalone { key, outcome } => {
            assert_eq!(key, expected);
            assert!(solo.events.is_empty(), "one outcome");
            outcome
        }
        other => panic!("{other:?}"),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn status(outcome: &Result<Answer, FailCause>) -> u16 {
    outcome.as_ref().unwrap().response.status().unwrap().as_u16()
}

#[test]
fn what_goes_out_is_what_rfc_3261_8_1_1_wants() {
    let mut solo = Solo::new();
    send(&mut solo, options("sip:peer@192.0.2.2:5070;method=INVITE?Subject=x"));
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.2:5070"));
    let text = solo.only_text();
    assert!(
        text.starts_with("OPTIONS sip:peer@192.0.2.2:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK")
    );
    assert!(header(&text, "From").starts_with("<sip:alice@192.0.2.1>;tag="));
    assert!(!header(&text, "To").contains(";tag="));
    for (name, value) in [
        ("Max-Forwards", "70"),
        ("Call-ID", "ours@192.0.2.1"),
        ("CSeq", "1 OPTIONS"),
        ("Contact", "<sip:ringback@192.0.2.1:5060>"),
        ("Accept", "application/sdp"),
        ("Content-Length", "0"),
    ] {
        assert_eq!(header(&text, name), value, "{name}");
    }
    assert!(header(&text, "User-Agent").starts_with("ringback/"));
}

#[test]
fn other_methods_fit_as_well() {
    let mut solo = Solo::new();
    let register = Request {
        method: Method::Register,
        from: NameAddr::parse("<sip:alice@192.0.2.1>;tag=mine").unwrap(),
        to: NameAddr::parse("<sip:alice@192.0.2.1>;tag=never").unwrap(),
        cseq: 7,
        contact: false,
        headers: vec![("Contact".into(), "*".into()), ("Expires".into(), "0".into())],
        ..options("sip:192.0.2.2:5070")
    };
    send(&mut solo, register);
    let text = solo.only_text();
    assert!(text.starts_with("REGISTER sip:192.0.2.2:5070 SIP/2.0"));
    assert_eq!(header(&text, "From"), "<sip:alice@192.0.2.1>;tag=mine");
    assert_eq!(header(&text, "To"), "<sip:alice@192.0.2.1>");
    assert_eq!((header(&text, "CSeq"), header(&text, "Contact")), ("7 REGISTER", "*"));

    let body = Some(Body { content_type: "text/plain".into(), bytes: "Watson, come here.".into() });
    let message = Request { method: Method::Message, contact: false, body, ..options(PEER) };
    let key = send(&mut solo, message);
    let text = solo.only_text();
    assert!(!has_header(&text, "Contact"), "RFC 3428 §5");
    assert!(text.ends_with("Content-Type: text/plain\r\nContent-Length: 18\r\n\r\nWatson, come here."));
    solo.receive(&response(&text, "202 Accepted", "peer", &[], ""));
    assert_eq!(status(&outcome(&mut solo, key)), 202);
}

#[test]
fn contact_says_what_its_owner_wants_and_a_flow_is_the_only_way() {
    let mut solo = Solo::new();
    let form = ContactForm {
        user: Some("desk%20one".into()),
        uri: None,
        uri_params: ";ob".into(),
        params: ";+sip.instance=\"<urn:uuid:1>\";reg-id=1".into(),
    };
    let remote = address("198.51.100.7:33000");
    let flow = Flow { transport: Transport::Tcp, local: remote, remote, connection: Some(ConnectionId(9)) };
    let register = Request {
        method: Method::Register,
        contact_form: Some(Box::new(form)),
        flow: Some(flow),
        ..options("sip:nowhere.example")
    };
    send(&mut solo, register.clone());
    let sent = solo.sent[0].1.clone();
    assert_eq!((sent.remote, sent.connection), (remote, Some(ConnectionId(9))));
    assert!(solo.lookups.is_empty());
    let text = solo.only_text();
    assert_eq!(
        header(&text, "Contact"),
        "<sip:desk%20one@192.0.2.1:5060;transport=tcp;ob>;+sip.instance=\"<urn:uuid:1>\";reg-id=1"
    );
    let gruu = ContactForm { uri: Uri::parse("sip:a@x.example;gr=1").ok(), ..ContactForm::default() };
    send(&mut solo, Request { contact_form: Some(Box::new(gruu)), ..options(PEER) });
    assert_eq!(header(&solo.only_text(), "Contact"), "<sip:a@x.example;gr=1>");
    let bad = ContactForm { params: ";a\r\nVia: x".into(), ..ContactForm::default() };
    let bad = Request { contact_form: Some(Box::new(bad)), ..options(PEER) };
    let error = solo.call(|ua, now| ua.send(now, bad).unwrap_err());
    assert_eq!(error, UaError::InvalidHeader("Contact".into()));
}

#[test]
fn what_cannot_be_sent_is_refused_at_once() {
    let mut solo = Solo::new();
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for method in ["INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO"] {
        let request = Request { method: Method::parse(method.as_bytes()).unwrap(), ..options(PEER) };
        let error = solo.call(|ua, now| ua.send(now, request).unwrap_err());
        assert!(matches!(error, UaError::InvalidState(_)), "{method}");
    }
    let smuggled = Request { method: Method::Other("X sip:a SIP/2.0\r\nVia: y".into()), ..options(PEER) };
    for (request, expected) in [
        (options("tel:+49123"), UaError::InvalidUri("tel:+49123".into())),
        (options("sips:peer@192.0.2.2;transport=udp"), UaError::InvalidUri("sips:peer@192.0.2.2;transport=udp".into())),
        (Request { headers: header("Via", "x"), ..options(PEER) }, UaError::InvalidHeader("Via".into())),
        (Request { headers: header("X", "a\r\nb"), ..options(PEER) }, UaError::InvalidHeader("X".into())),
        (Request { headers: header("Contact", "*"), ..options(PEER) }, UaError::InvalidHeader("Contact".into())),
        (Request { headers: header("Route", "no"), ..options(PEER) }, UaError::InvalidHeader("Route".into())),
        (Request { call_id: " ".into(), ..options(PEER) }, UaError::InvalidHeader("Call-ID".into())),
        (smuggled, UaError::InvalidState("a method is a token")),
    ] {
        assert_eq!(solo.call(|ua, now| ua.send(now, request).unwrap_err()), expected);
    }
    assert!(solo.sent.is_empty() && solo.events.is_empty());
    assert_eq!(solo.ua.stats().live, Live::default());
}

#[test]
fn any_final_response_ends_it_and_is_told_once() {
    for line in ["200 OK", "302 Moved Temporarily", "404 Not Found", "405 Method Not Allowed", "503 x", "603 Decline"] {
        let mut solo = Solo::new();
        let key = send(&mut solo, patient(PEER, 4 * SECOND));
        let request = solo.only_text();
        solo.wait(Duration::from_millis(30));
        solo.receive(&response(&request, "100 Trying", "", &[], ""));
        assert!(solo.events.is_empty());
        solo.wait(Duration::from_millis(12));
        let answer = response(&request, line, "peer", &["Allow: INVITE"], "");
        solo.receive(&answer);
        let outcome = outcome(&mut solo, key);
        assert_eq!(status(&outcome).to_string(), line[..3]);
        assert_eq!(outcome.unwrap().round_trip, Duration::from_millis(42));
        // K absorbs what comes again.
        solo.receive(&answer);
        assert!(solo.events.is_empty());
        assert_eq!((solo.ua.stats().dropped, solo.ua.stats().live.standalone), (0, 0));
        assert!(solo.texts().is_empty(), "nothing acknowledges it");
        solo.assert_nothing_left();
    }
}

#[test]
fn a_lost_request_goes_out_again_and_the_round_trip_counts_from_the_first() {
    let mut solo = Solo::new();
    let key = send(&mut solo, patient(PEER, 4 * SECOND));
    solo.wait(Duration::from_millis(1600));
    let texts = solo.texts();
    assert_eq!(texts.len(), 3, "0, 0.5 and 1.5 s");
    assert!(texts.iter().all(|text| *text == texts[0]));
    solo.receive(&response(&texts[0], "200 OK", "peer", &[], ""));
    assert_eq!(outcome(&mut solo, key).unwrap().round_trip, Duration::from_millis(1600));
    solo.assert_nothing_left();
}

#[test]
fn the_given_time_ends_it() {
    let mut solo = Solo::new();
    let key = send(&mut solo, patient(PEER, 4 * SECOND));
    solo.wait(Duration::from_millis(3999));
    assert!(solo.events.is_empty());
    solo.wait(Duration::from_millis(1));
    assert!(matches!(outcome(&mut solo, key), Err(FailCause::Timeout)));
    let request = solo.texts().remove(0);
    assert_eq!(solo.ua.stats().live, Live::default(), "at once");
    // What comes too late is a response to nothing.
    solo.receive(&response(&request, "200 OK", "peer", &[], ""));
    assert!(solo.events.is_empty());
    assert_eq!(solo.ua.stats().dropped, 1);
    solo.wait(100 * SECOND);
    assert!(solo.sent.is_empty(), "no more retransmissions");
}

#[test]
fn a_provisional_response_does_not_lengthen_the_given_time() {
    let mut solo = Solo::new();
    let key = send(&mut solo, patient(PEER, 2 * SECOND));
    let request = solo.only_text();
    solo.wait(SECOND);
    solo.receive(&response(&request, "100 Trying", "", &[], ""));
    solo.wait(SECOND);
    assert!(matches!(outcome(&mut solo, key), Err(FailCause::Timeout)));
    solo.assert_nothing_left();
}

#[test]
fn without_a_given_time_f_ends_it() {
    let mut solo = Solo::new();
    let key = send(&mut solo, options(PEER));
    solo.wait(Duration::from_millis(31_999));
    assert!(solo.events.is_empty());
    solo.wait(Duration::from_millis(1));
    assert!(matches!(outcome(&mut solo, key), Err(FailCause::Timeout)));
    assert_eq!(solo.times(), [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]);
    solo.assert_nothing_left();
}

#[test]
fn a_closed_port_ends_it_at_once() {
    let mut solo = Solo::new();
    let key = send(&mut solo, patient(PEER, 4 * SECOND));
    let refused = |ua: &mut Ua, now, remote| ua.handle_send_failed(now, Transport::Udp, remote, "port unreachable");
    solo.call(|ua, now| refused(ua, now, address("192.0.2.2:5071")));
    assert!(solo.events.is_empty(), "another port");
    solo.call(|ua, now| refused(ua, now, address("192.0.2.2:5070")));
    assert_eq!(outcome(&mut solo, key).unwrap_err(), FailCause::Transport("port unreachable".into()));
    assert_eq!(solo.ua.stats().live, Live::default());
}

#[test]
fn a_name_is_looked_up_and_its_addresses_are_tried_in_turn() {
    let mut solo = Solo::new();
    let key = send(&mut solo, patient("sip:peer@peer.example", 4 * SECOND));
    assert!(solo.sent.is_empty());
    let (id, host, port) = solo.lookups.remove(0);
    assert_eq!((host.as_str(), port), ("peer.example", 5060));
    solo.wait(SECOND);
    let addresses = vec![address("192.0.2.20:5060"), address("192.0.2.21:5060")];
    solo.call(|ua, now| ua.handle_resolved(now, id, Ok(addresses)));
    let first = solo.only_text();
    solo.wait(Duration::from_millis(100));
    solo.call(|ua, now| ua.handle_send_failed(now, Transport::Udp, address("192.0.2.20:5060"), "unreachable"));
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.21:5060"));
    let second = solo.only_text();
    assert_ne!(header(&first, "Via"), header(&second, "Via"));
    assert_eq!(header(&first, "From"), header(&second, "From"));
    solo.wait(Duration::from_millis(20));
    // Of the first attempt nothing counts any more.
    solo.receive(&response(&first, "404 Not Found", "peer", &[], ""));
    assert!(solo.events.is_empty());
    solo.receive(&response(&second, "200 OK", "peer", &[], ""));
    let outcome = outcome(&mut solo, key);
    assert_eq!(status(&outcome), 200);
    assert_eq!(outcome.unwrap().round_trip, Duration::from_millis(20), "that of the address that answered");
    solo.assert_nothing_left();
}

#[test]
fn an_address_that_never_says_a_word_is_followed_by_the_next() {
    let addresses = vec![address("192.0.2.20:5060"), address("192.0.2.21:5060")];
    let mut solo = Solo::new();
    let key = send(&mut solo, options("sip:peer@peer.example"));
    let (id, ..) = solo.lookups.remove(0);
    solo.call(|ua, now| ua.handle_resolved(now, id, Ok(addresses.clone())));
    solo.wait(Duration::from_secs(32));
    assert_eq!(solo.sent.last().unwrap().1.remote, addresses[1], "RFC 3263 §4.3");
    solo.wait(Duration::from_secs(32));
    assert!(matches!(outcome(&mut solo, key), Err(FailCause::Timeout)));
    solo.assert_nothing_left();
}

#[test]
fn a_name_without_an_address_ends_it() {
    for result in [Err("no such host".to_owned()), Ok(Vec::new())] {
        let mut solo = Solo::new();
        let key = send(&mut solo, options("sip:peer@peer.example"));
        let (id, ..) = solo.lookups.remove(0);
        solo.call(|ua, now| ua.handle_resolved(now, id, result));
        assert!(matches!(outcome(&mut solo, key), Err(FailCause::Unresolved(_))));
        assert!(solo.sent.is_empty());
        assert_eq!(solo.ua.stats().live, Live::default());
    }
}

#[test]
fn a_look_up_that_takes_too_long_ends_it_too() {
    let mut solo = Solo::new();
    let key = send(&mut solo, patient("sip:peer@peer.example", 4 * SECOND));
    solo.wait(4 * SECOND);
    assert!(matches!(outcome(&mut solo, key), Err(FailCause::Timeout)));
    assert_eq!(solo.ua.stats().live, Live::default());
    let (id, ..) = solo.lookups.remove(0);
    solo.call(|ua, now| ua.handle_resolved(now, id, Ok(vec![address("192.0.2.20:5060")])));
    assert!(solo.sent.is_empty() && solo.events.is_empty());
}

#[test]
fn a_forgotten_request_is_silent() {
    let mut solo = Solo::new();
    for (uri, sent) in [(PEER, 1), ("sip:peer@peer.example", 0)] {
        let key = send(&mut solo, patient(uri, 4 * SECOND));
        let texts = solo.texts();
        assert_eq!(texts.len(), sent);
        solo.call(|ua, now| ua.forget(now, key));
        assert_eq!(solo.ua.stats().live, Live::default());
        if let Some(request) = texts.first() {
            solo.receive(&response(request, "200 OK", "peer", &[], ""));
        }
        solo.wait(100 * SECOND);
        solo.call(|ua, now| ua.forget(now, key));
        assert!(solo.events.is_empty() && solo.sent.is_empty());
    }
    assert_eq!(solo.ua.stats().dropped, 1);
    // A key that outlives its request does not name the next one.
    let old = send(&mut solo, options(PEER));
    solo.call(|ua, now| ua.forget(now, old));
    let new = send(&mut solo, options(PEER));
    solo.call(|ua, now| ua.forget(now, old));
    let request = solo.texts().remove(1);
    solo.receive(&response(&request, "200 OK", "peer", &[], ""));
    assert_eq!(status(&outcome(&mut solo, new)), 200);
}

#[test]
fn what_is_too_long_for_a_datagram_goes_by_stream_and_comes_back() {
    let body = Some(Body { content_type: "text/plain".into(), bytes: vec![b'x'; 1300].into() });
    let long = || Request { method: Method::Message, body: body.clone(), ..patient(PEER, 10 * SECOND) };
    let mut solo = Solo::new();
    let key = send(&mut solo, long());
    assert_eq!((solo.sent[0].1.transport, solo.sent[0].1.connection), (Transport::Tcp, None), "§18.1.1");
    let text = solo.only_text();
    assert!(header(&text, "Via").starts_with("SIP/2.0/TCP ") && header(&text, "Contact").contains(";transport=tcp"));
    solo.wait(Duration::from_millis(300));
    solo.call(|ua, now| ua.handle_connected(now, Transport::Tcp, address("192.0.2.2:5070"), None, ConnectionId(3)));
    solo.wait(Duration::from_millis(700));
    assert!(solo.sent.is_empty(), "not repeated on a stream");
    solo.receive_by(Transport::Tcp, Some(3), &response(&text, "200 OK", "peer", &[], ""));
    assert_eq!(outcome(&mut solo, key).unwrap().round_trip, Duration::from_millis(700), "without the opening");
    assert_eq!(solo.ua.stats().live, Live::default());

    let key = send(&mut solo, long());
    solo.texts();
    solo.call(|ua, now| ua.handle_connect_failed(now, Transport::Tcp, address("192.0.2.2:5070"), None, "refused"));
    assert_eq!(solo.sent[0].1.transport, Transport::Udp);
    let text = solo.only_text();
    solo.receive(&response(&text, "200 OK", "peer", &[], ""));
    assert_eq!(status(&outcome(&mut solo, key)), 200);
    solo.assert_nothing_left();
}

/// RFC 5626 §5.3: what goes by a flow of datagrams leaves from its own end, however long it is.
#[test]
fn what_goes_by_a_flow_of_datagrams_leaves_from_its_own_end_and_by_nothing_else() {
    let credentials = Credentials { username: "a".into(), password: "b".into(), realm: Some("pbx".into()) };
    let mut solo = Solo::with(Config { credentials: vec![credentials.into()], ..Config::default() });
    let (own, remote) = (address("192.0.2.1:5099"), address("192.0.2.2:5070"));
    let flow = Some(Flow { transport: Transport::Udp, local: own, remote, connection: None });
    send(&mut solo, Request { flow, ..options("sip:nowhere.example") });
    assert_eq!(solo.sent[0].1.local, Some(own));
    assert!(header(&solo.only_text(), "Via").starts_with("SIP/2.0/UDP 192.0.2.1:5099;"));

    let body = Some(Body { content_type: "text/plain".into(), bytes: vec![b'x'; 1300].into() });
    let long = Request { method: Method::Message, body, flow, ..options("sip:nowhere.example") };
    send(&mut solo, long);
    assert_eq!((solo.sent[0].1.transport, solo.sent[0].1.local), (Transport::Udp, Some(own)));
    let first = solo.only_text();
    assert!(header(&first, "Via").starts_with("SIP/2.0/UDP 192.0.2.1:5099;"), "{first}");
    let asks = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n\"";
    solo.receive(&response(&first, "401 Unauthorized", "peer", &[asks], ""));
    assert_eq!((solo.sent[0].1.transport, solo.sent[0].1.local), (Transport::Udp, Some(own)));
    assert!(has_header(&solo.only_text(), "Authorization"));
}

#[test]
fn a_stream_that_cannot_be_had_or_breaks_ends_it() {
    let by_stream = format!("{PEER};transport=tcp");
    let mut solo = Solo::new();
    let key = send(&mut solo, patient(&by_stream, 4 * SECOND));
    solo.call(|ua, now| ua.handle_connect_failed(now, Transport::Tcp, address("192.0.2.2:5070"), None, "refused"));
    assert_eq!(outcome(&mut solo, key).unwrap_err(), FailCause::Transport("refused".into()));
    let key = send(&mut solo, patient(&by_stream, 4 * SECOND));
    solo.call(|ua, now| ua.handle_connected(now, Transport::Tcp, address("192.0.2.2:5070"), None, ConnectionId(3)));
    solo.call(|ua, now| ua.handle_closed(now, ConnectionId(3)));
    assert_eq!(outcome(&mut solo, key).unwrap_err(), FailCause::Transport("connection closed".into()));
    assert_eq!(solo.ua.stats().live, Live::default());
}

#[test]
fn a_preloaded_route_decides_where_it_goes() {
    let mut solo = Solo::new();
    let headers = vec![("Route".to_owned(), "<sip:192.0.2.50:5064;lr>".to_owned())];
    send(&mut solo, Request { headers, ..options("sip:peer@far.example") });
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.50:5064"));
    assert!(solo.lookups.is_empty());
    assert!(solo.only_text().starts_with("OPTIONS sip:peer@far.example SIP/2.0"));
}

#[test]
fn two_user_agents_ask_each_other_over_a_bad_network() {
    let conditions =
        Conditions { loss: 300, duplication: 200, jitter: Duration::from_millis(40), ..Conditions::PERFECT };
    let mut pair = Pair::with_config(3, conditions, Config::default());
    let mut open: [Vec<StandaloneKey>; 2] = [Vec::new(), Vec::new()];
    for number in 0..200 {
        let side = number % 2;
        let uri = format!("sip:x@{}", pair.ends[1 - side].address);
        let call_id = format!("{number}@here");
        let request = Request { call_id, ..options(&uri) };
        open[side].push(pair.with(side, |ua, now| ua.send(now, request).unwrap()));
        pair.run(Duration::from_millis(7));
    }
    pair.settle();
    for side in [0, 1] {
        for event in pair.take_events(side) {
            let Event::Standalone { key, outcome } = event else { panic!("{event:?}") };
            let place = open[side].iter().position(|open| *open == key).expect("asked, and not answered before");
            open[side].swap_remove(place);
            assert_eq!(status(&outcome), 200);
            let answer = outcome.unwrap();
            assert!(answer.response.allow().any(|method| method == "INVITE"));
            assert!(answer.round_trip >= 2 * Conditions::PERFECT.delay);
        }
        assert!(open[side].is_empty(), "{} without an outcome", open[side].len());
        assert_eq!(pair.ends[side].ua.stats().live, Live::default());
    }
}
