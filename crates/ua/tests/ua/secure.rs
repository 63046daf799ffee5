//! `sips`: by TLS or not at all (RFC 3261 §26.2.2, RFC 5630), in both roles; connections of several names at one address (RFC 5922); what
//! transport a URI without `transport` goes by (RFC 3263 §4.1).

use std::net::SocketAddr;

use bytes::Bytes;
use ringback_sip::{Method, NameAddr, StatusCode, Uri};
use ringback_ua::{
    Body, Config, ConnectionId, Credentials, Event, FailCause, Flow, Place, Reply, Request, StandaloneKey, Transport,
    UaError,
};

use crate::common::{HERE, SDP, Solo, header, request, response, to_tag};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn options(uri: &str) -> Request {
    Request {
        method: Method::Options,
        request_uri: Uri::parse(uri).unwrap(),
        from: NameAddr::parse("<sip:alice@192.0.2.1>").unwrap(),
        to: NameAddr::parse(&format!("<{uri}>")).unwrap(),
        call_id: "ours@192.0.2.1".into(),
        cseq: 1,
        headers: Vec::new(),
        contact: false,
        contact_form: None,
        flow: None,
        credentials: None,
        body: None,
        max_forwards: 70,
        give_up_after: None,
    }
}

fn send(solo: &mut Solo, uri: &str) -> StandaloneKey {
    solo.call(|ua, now| ua.send(now, options(uri)).unwrap())
}

/// The same request, to a `sips` URI.
fn to_sips(text: &str) -> String {
    text.replacen("sip:bob", "sips:bob", 1)
}

fn by(transport: Transport, text: &str) -> String {
    text.replace("SIP/2.0/UDP", &format!("SIP/2.0/{transport}"))
}

#[test]
fn a_request_to_sips_is_taken_by_tls_only() {
    for transport in Transport::ALL {
        for method in ["INVITE", "OPTIONS", "SUBSCRIBE"] {
            let mut solo = Solo::with(Config { requests: vec![Method::Subscribe], ..Config::default() });
            let contact = ["Contact: <sips:peer@192.0.2.2>", "Event: dialog"];
            let body = if method == "INVITE" { SDP } else { "" };
            let text = by(transport, &to_sips(&request(method, 1, "", &contact, body)));
            let connection = transport.is_reliable().then_some(3);
            solo.receive_by(transport, connection, &text);
            let refused = solo.texts().iter().any(|text| text.starts_with("SIP/2.0 403 SIPS Needs TLS\r\n"));
            assert_eq!(refused, !transport.is_secure(), "{transport} {method}");
            assert_eq!(solo.events.is_empty(), refused || method == "OPTIONS", "{transport} {method}");
            // The same again gets the same.
            if refused {
                solo.receive_by(transport, connection, &text);
                assert!(solo.only_text().starts_with("SIP/2.0 403 "));
                solo.assert_nothing_left();
            }
        }
    }
}

#[test]
fn what_a_proxy_on_this_host_hands_over_is_its_to_judge() {
    let text = to_sips(&request("OPTIONS", 1, "", &[], ""));
    let proxied = text.replacen("\r\n", "\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKproxy\r\n", 1);
    for (remote, text, taken) in
        [("127.0.0.1:5070", &proxied, true), ("192.0.2.2:5070", &proxied, false), ("127.0.0.1:5070", &text, false)]
    {
        let mut solo = Solo::new();
        let flow = Flow { transport: Transport::Udp, local: address(HERE), remote: address(remote), connection: None };
        let bytes = Bytes::from(text.clone());
        solo.call(|ua, now| ua.handle_message(now, flow, bytes));
        assert_eq!(solo.only_text().starts_with("SIP/2.0 200 "), taken, "{remote}");
    }
}

#[test]
fn within_a_dialog_of_sips_nothing_else_is_taken() {
    let mut solo = Solo::new();
    let tls = |text: &str| by(Transport::Tls, &to_sips(text));
    let contact = ["Contact: <sips:peer@192.0.2.2>"];
    solo.receive_by(Transport::Tls, Some(7), &tls(&request("INVITE", 1, "", &contact, SDP)));
    let Event::Invite { call, .. } = solo.event() else { panic!() };
    solo.call(|ua, now| ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
    let ok = solo.only_text();
    assert!(header(&ok, "Contact").starts_with("<sips:"), "§12.1.1: {ok}");
    let tag = to_tag(&ok);
    solo.receive_by(Transport::Tls, Some(7), &tls(&request("ACK", 1, &tag, &[], "")));
    solo.event();
    solo.receive(&to_sips(&request("BYE", 2, &tag, &[], "")));
    assert!(solo.only_text().starts_with("SIP/2.0 403 "));
    assert!(solo.events.is_empty(), "the call goes on");
    solo.receive_by(Transport::Tls, Some(7), &tls(&request("BYE", 3, &tag, &[], "")));
    assert!(solo.only_text().starts_with("SIP/2.0 200 "));
    assert!(matches!(solo.event(), Event::Bye { .. }));
}

#[test]
fn a_target_that_is_sips_is_never_reached_by_anything_else() {
    // The peer calls over TCP and says that it is to be reached by TLS.
    let mut solo = Solo::new();
    let contact = ["Contact: <sips:peer@192.0.2.9>"];
    solo.receive_by(Transport::Tcp, Some(7), &by(Transport::Tcp, &request("INVITE", 1, "", &contact, SDP)));
    let Event::Invite { call, .. } = solo.event() else { panic!() };
    solo.call(|ua, now| ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
    let tag = to_tag(&solo.only_text());
    solo.receive_by(Transport::Tcp, Some(7), &by(Transport::Tcp, &request("ACK", 1, &tag, &[], "")));
    solo.event();
    solo.call(|ua, now| ua.bye(now, call, None));
    let sent = solo.sent[0].1.clone();
    assert_eq!((sent.transport, sent.remote, sent.connection), (Transport::Tls, address("192.0.2.9:5061"), None));

    // One that we call, and its ACK too.
    let mut solo = Solo::new();
    let (call, invite) = solo.calling("sip:bob@192.0.2.2:5070", Some(SDP));
    solo.receive(&response(&invite, "200 OK", "peer", &["Contact: <sips:bob@192.0.2.9>"], SDP));
    solo.call(|ua, now| ua.ack(now, call, None));
    solo.call(|ua, now| ua.bye(now, call, None));
    for (_, sent) in &solo.sent {
        assert_eq!((sent.transport, sent.remote), (Transport::Tls, address("192.0.2.9:5061")));
    }
    assert_eq!(solo.lines(), ["ACK sips:bob@192.0.2.9 SIP/2.0", "BYE sips:bob@192.0.2.9 SIP/2.0"]);
    // A fork of it as well, which nothing is known of.
    solo.receive(&response(&invite, "200 OK", "other", &["Contact: <sips:bob@named.example>"], SDP));
    assert!(solo.sent.iter().all(|(_, sent)| sent.transport.is_secure()), "{:?}", solo.sent);
}

#[test]
fn a_look_up_a_flow_or_a_route_does_not_lead_a_sips_request_astray() {
    let mut solo = Solo::new();
    send(&mut solo, "sips:bob@pbx.example");
    let (id, ..) = solo.lookups.remove(0);
    let place = |transport, text| Place { transport, address: address(text) };
    let places = vec![place(Transport::Udp, "192.0.2.20:5060"), place(Transport::Tls, "192.0.2.21:5061")];
    solo.call(|ua, now| ua.handle_located(now, id, Ok(places)));
    assert_eq!((solo.sent.len(), solo.sent[0].1.remote), (1, address("192.0.2.21:5061")));
    // Nothing but what is not allowed.
    send(&mut solo, "sips:bob@pbx.example");
    let (id, ..) = solo.lookups.remove(0);
    solo.sent.clear();
    solo.call(|ua, now| ua.handle_located(now, id, Ok(vec![place(Transport::Udp, "192.0.2.20:5060")])));
    assert!(matches!(solo.event(), Event::Standalone { outcome: Err(_), .. }));
    let flow = Flow {
        transport: Transport::Tcp,
        local: address(HERE),
        remote: address("192.0.2.20:5060"),
        connection: Some(ConnectionId(4)),
    };
    solo.call(|ua, now| ua.send(now, Request { flow: Some(flow), ..options("sips:bob@pbx.example") }).unwrap());
    let Event::Standalone { outcome: Err(FailCause::Transport(why)), .. } = solo.event() else { panic!() };
    assert_eq!(why, "sips does not go by TCP to 192.0.2.20:5060");
    assert!(solo.sent.is_empty());
    // RFC 3261 §8.1.2: by the route, as if its URI were `sips` too; a proxy on this host is not on any wire.
    let by_route =
        |route: &str| Request { headers: vec![("Route".into(), route.into())], ..options("sips:bob@pbx.example") };
    for (route, expected) in [
        ("<sip:192.0.2.50;lr>", Some((Transport::Tls, "192.0.2.50:5061"))),
        ("<sip:192.0.2.50;transport=tcp;lr>", Some((Transport::Tls, "192.0.2.50:5061"))),
        ("<sip:192.0.2.50;transport=udp;lr>", None),
        ("<sip:127.0.0.1:5070;lr>", Some((Transport::Udp, "127.0.0.1:5070"))),
    ] {
        let sent = solo.call(|ua, now| ua.send(now, by_route(route)));
        assert_eq!(matches!(sent, Err(UaError::InvalidUri(_))), expected.is_none(), "{route}: {sent:?}");
        let to = solo.sent.pop().map(|(_, sent)| (sent.transport, sent.remote));
        assert_eq!(to, expected.map(|(transport, text)| (transport, address(text))), "{route}");
    }
}

#[test]
fn a_connection_that_was_checked_for_one_name_serves_no_request_to_another() {
    let remote = address("192.0.2.20:5061");
    let mut solo = Solo::new();
    let mut keys = Vec::new();
    for name in ["a.example", "b.example"] {
        keys.push(send(&mut solo, &format!("sip:x@{name};transport=tls")));
        let (id, ..) = solo.lookups.remove(0);
        solo.call(|ua, now| ua.handle_resolved(now, id, Ok(vec![remote])));
    }
    let domains: Vec<_> = solo.sent.iter().map(|(_, sent)| sent.domain.clone().unwrap()).collect();
    assert_eq!(domains.iter().map(|domain| &**domain).collect::<Vec<_>>(), ["a.example", "b.example"]);
    let texts = solo.texts();
    // The one of b is there; a's cannot be had: its certificate is not a's.
    solo.call(|ua, now| ua.handle_connected(now, Transport::Tls, remote, Some("b.example"), ConnectionId(2)));
    solo.call(|ua, now| ua.handle_connect_failed(now, Transport::Tls, remote, Some("a.example"), "not a.example's"));
    let Event::Standalone { key, outcome: Err(FailCause::Transport(why)) } = solo.event() else { panic!() };
    assert_eq!((key, why.as_str()), (keys[0], "not a.example's"));
    assert!(solo.events.is_empty(), "b's request waits for its answer");
    // What closes is b's alone.
    solo.call(|ua, now| ua.handle_closed(now, ConnectionId(2)));
    let Event::Standalone { key, .. } = solo.event() else { panic!() };
    assert_eq!((key, texts.len()), (keys[1], 2));
    solo.assert_nothing_left();
}

#[test]
fn a_request_is_repeated_on_the_connection_of_its_own_name() {
    // Two requests at once, to two names at one address, both asked who they are: the second try goes by the connection of its own name.
    let credentials = Credentials { username: "alice".into(), password: "secret".into(), realm: Some("r".into()) };
    let mut solo = Solo::with(Config { credentials: vec![credentials.into()], ..Config::default() });
    let remote = address("192.0.2.20:5061");
    for name in ["a.example", "b.example"] {
        send(&mut solo, &format!("sip:x@{name};transport=tls"));
        let (id, ..) = solo.lookups.remove(0);
        solo.call(|ua, now| ua.handle_resolved(now, id, Ok(vec![remote])));
    }
    let texts = solo.texts();
    for (name, connection) in [("b.example", 2), ("a.example", 1)] {
        let connection = ConnectionId(connection);
        solo.call(|ua, now| ua.handle_connected(now, Transport::Tls, remote, Some(name), connection));
    }
    // The answers come by a datagram of nowhere in particular, so that what was remembered decides.
    for (text, connection) in [(&texts[0], 1), (&texts[1], 2)] {
        let challenge = ["WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256"];
        solo.receive(&response(text, "401 Unauthorized", "t", &challenge, ""));
        let (_, sent) = solo.sent.remove(0);
        assert_eq!(sent.connection, Some(ConnectionId(connection)));
        let name = if connection == 1 { "a.example" } else { "b.example" };
        assert_eq!(sent.domain.as_deref(), Some(name));
    }
}

#[test]
fn a_name_that_an_ack_was_looked_up_by_goes_with_the_dialog() {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling("sip:bob@192.0.2.2:5070", Some(SDP));
    let contact = ["Contact: <sip:bob@named.example;transport=tls>"];
    solo.receive(&response(&invite, "200 OK", "peer", &contact, SDP));
    solo.call(|ua, now| ua.ack(now, call, None));
    let (id, ..) = solo.lookups.remove(0);
    solo.call(|ua, now| ua.handle_resolved(now, id, Ok(vec![address("192.0.2.30:5061")])));
    solo.call(|ua, now| ua.bye(now, call, None));
    let sent: Vec<_> = solo.sent.iter().map(|(_, sent)| (sent.remote, sent.domain.as_deref())).collect();
    assert_eq!(sent, [(address("192.0.2.30:5061"), Some("named.example")); 2]);
}

#[test]
fn without_udp_a_number_goes_by_what_there_is() {
    for (transports, expected) in [
        (vec![Transport::Tcp], (Transport::Tcp, "192.0.2.2:5060")),
        (vec![Transport::Tls], (Transport::Tls, "192.0.2.2:5061")),
        (vec![Transport::Ws, Transport::Tls], (Transport::Tls, "192.0.2.2:5061")),
        (vec![Transport::Tcp, Transport::Udp], (Transport::Udp, "192.0.2.2:5060")),
    ] {
        let mut solo = Solo::with(Config { transports: transports.clone(), ..Config::default() });
        send(&mut solo, "sip:bob@192.0.2.2");
        let sent = &solo.sent[0].1;
        assert_eq!((sent.transport, sent.remote), (expected.0, address(expected.1)), "{transports:?}");
        // Within a dialog too.
        let (call, invite) = solo.calling_by_anything("sip:bob@192.0.2.2");
        solo.receive(&response(&invite, "200 OK", "peer", &["Contact: <sip:bob@192.0.2.2>"], SDP));
        solo.call(|ua, now| ua.ack(now, call, None));
        assert_eq!(solo.sent[0].1.transport, expected.0, "{transports:?}");
    }
}

#[test]
fn a_server_that_wants_to_rest_is_left_out_of_later_look_ups() {
    let mut solo = Solo::new();
    let places = || ["192.0.2.20:5060", "192.0.2.21:5060"].map(address).to_vec();
    let ask = |solo: &mut Solo| {
        send(solo, "sip:bob@pbx.example");
        let (id, ..) = solo.lookups.remove(0);
        solo.call(|ua, now| ua.handle_resolved(now, id, Ok(places())));
        let (_, sent) = solo.sent.remove(0);
        (sent.remote, String::from_utf8(sent.bytes.to_vec()).unwrap())
    };
    let answer = |solo: &mut Solo, text: &str, status: &str, headers: &[&str]| {
        solo.receive(&response(text, status, "t", headers, ""));
    };
    let (first, second) = (places()[0], places()[1]);
    let (to, text) = ask(&mut solo);
    assert_eq!(to, first);
    answer(&mut solo, &text, "503 Overloaded", &["Retry-After: 20 (soon);duration=5"]);
    let (_, again) = solo.sent.remove(0);
    assert_eq!(again.remote, second, "RFC 3263 §4.3");
    answer(&mut solo, std::str::from_utf8(&again.bytes).unwrap(), "200 OK", &[]);
    solo.event();
    // RFC 3261 §21.5.4: not asked again before its time.
    for seconds in [0, 10, 9] {
        solo.wait(std::time::Duration::from_secs(seconds));
        let (to, text) = ask(&mut solo);
        assert_eq!(to, second);
        answer(&mut solo, &text, "200 OK", &[]);
        solo.event();
    }
    solo.wait(std::time::Duration::from_secs(1));
    let (to, text) = ask(&mut solo);
    assert_eq!(to, first);
    // Without a Retry-After nothing is said about later.
    answer(&mut solo, &text, "503 Overloaded", &[]);
    let (_, again) = solo.sent.remove(0);
    answer(&mut solo, std::str::from_utf8(&again.bytes).unwrap(), "503 Overloaded", &["Retry-After: 60"]);
    let Event::Standalone { outcome: Ok(answered), .. } = solo.event() else { panic!() };
    assert_eq!(answered.response.status().map(StatusCode::as_u16), Some(503));
    assert_eq!(ask(&mut solo).0, first);
}
