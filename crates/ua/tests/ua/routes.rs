//! Which way messages go: route sets, name look-ups, TCP for what is large, the next address when one fails, responses.

use std::net::SocketAddr;
use std::time::Duration;

use ringback_sip::{Method, StatusCode};
use ringback_ua::{Body, Config, ConnectionId, Event, FailCause, Place, Reply, Transport, UaError};

use crate::common::{HERE, SDP, Solo, has_header, header, request, response, to_tag};

const BOB: &str = "sip:bob@192.0.2.2:5070";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn routes(message: &str) -> Vec<&str> {
    message.lines().filter_map(|line| line.strip_prefix("Route: ")).collect()
}

#[test]
fn the_called_side_follows_the_recorded_route() {
    let mut solo = Solo::new();
    let recorded =
        ["Record-Route: <sip:192.0.2.10;lr>, <sip:192.0.2.11;lr>", "Record-Route: \"x\" <sip:192.0.2.12;lr>;foo=bar"];
    solo.receive(&request("INVITE", 1, "", &recorded, SDP));
    let Event::Invite { call, .. } = solo.event() else { panic!() };
    for status in [StatusCode::RINGING, StatusCode::OK] {
        solo.call(|ua, now| ua.respond(now, call, Reply::new(status)).unwrap());
        let text = solo.only_text();
        let copied: Vec<&str> = text.lines().filter(|line| line.starts_with("Record-Route")).collect();
        assert_eq!(copied, recorded, "§12.1.1");
        assert_eq!(header(&text, "Contact"), "<sip:ringback@192.0.2.1:5060>");
        if status == StatusCode::OK {
            solo.receive(&request("ACK", 1, &to_tag(&text), &[], ""));
        }
    }
    solo.event();
    solo.call(|ua, now| ua.bye(now, call, None));
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.10:5060"));
    let bye = solo.only_text();
    assert!(bye.starts_with("BYE sip:peer@192.0.2.2:5070 SIP/2.0"));
    assert_eq!(routes(&bye), ["<sip:192.0.2.10;lr>", "<sip:192.0.2.11;lr>", "\"x\" <sip:192.0.2.12;lr>;foo=bar"]);
    assert_eq!(header(&bye, "CSeq"), "1 BYE");
    assert_eq!(header(&bye, "To"), "\"P\" <sip:peer@192.0.2.2>;tag=peer");
    assert!(header(&bye, "From").starts_with("<sip:bob@192.0.2.1>;tag="));
}

#[test]
fn the_calling_side_follows_it_backwards() {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, Some(SDP));
    let headers = ["Contact: <sip:bob@192.0.2.99>", "Record-Route: <sip:192.0.2.11;lr>, <sip:192.0.2.10:5062;lr>"];
    solo.receive(&response(&invite, "200 OK", "peer", &headers, SDP));
    solo.call(|ua, now| ua.ack(now, call, None));
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.10:5062"));
    let ack = solo.only_text();
    assert!(ack.starts_with("ACK sip:bob@192.0.2.99 SIP/2.0"));
    assert_eq!(routes(&ack), ["<sip:192.0.2.10:5062;lr>", "<sip:192.0.2.11;lr>"]);
}

#[test]
fn a_strict_router_gets_itself_as_request_uri() {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, Some(SDP));
    let headers = ["Contact: <sip:bob@192.0.2.99>", "Record-Route: <sip:192.0.2.11;lr>, <sip:192.0.2.10?a=b>"];
    solo.receive(&response(&invite, "200 OK", "peer", &headers, SDP));
    solo.call(|ua, now| ua.ack(now, call, None));
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.10:5060"));
    let ack = solo.only_text();
    assert!(ack.starts_with("ACK sip:192.0.2.10 SIP/2.0"), "§12.2.1.1: without what may not stand in a Request-URI");
    assert_eq!(routes(&ack), ["<sip:192.0.2.11;lr>", "<sip:bob@192.0.2.99>"]);
}

#[test]
fn a_preloaded_route_decides_where_the_invite_goes() {
    let mut solo = Solo::new();
    solo.place_with("sip:bob@far.example", None, vec![("Route".into(), "<sip:192.0.2.50:5064;lr>".into())]);
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.50:5064"));
    assert!(solo.lookups.is_empty());
    assert!(solo.only_text().starts_with("INVITE sip:bob@far.example SIP/2.0"));
}

#[test]
fn names_are_looked_up_and_their_addresses_tried_in_turn() {
    let mut solo = Solo::new();
    solo.place("sip:bob@pbx.example:5062", Some(SDP));
    assert!(solo.sent.is_empty());
    let (id, host, port) = solo.lookups.remove(0);
    assert_eq!((host.as_str(), port), ("pbx.example", 5062));
    let addresses = vec![address("192.0.2.20:5062"), address("192.0.2.21:5062")];
    solo.call(|ua, now| ua.handle_resolved(now, id, Ok(addresses)));
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.20:5062"));
    let first = solo.only_text();
    let unreachable = |solo: &mut Solo, remote: &str| {
        let remote = address(remote);
        solo.call(|ua, now| ua.handle_send_failed(now, Transport::Udp, remote, "port unreachable"));
    };
    unreachable(&mut solo, "192.0.2.20:5062");
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.21:5062"));
    let second = solo.only_text();
    assert_ne!(header(&first, "Via"), header(&second, "Via"), "each attempt is a transaction of its own");
    assert_eq!(header(&first, "From"), header(&second, "From"));
    // What comes of the first attempt does not count any more.
    solo.receive(&response(&first, "200 OK", "late", &["Contact: <sip:b@192.0.2.2>"], SDP));
    assert!(solo.events.is_empty());
    unreachable(&mut solo, "192.0.2.21:5062");
    assert!(matches!(solo.event(), Event::Failed { status: None, cause: FailCause::Transport(_), .. }));
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

#[test]
fn an_invite_that_nobody_answers_goes_to_the_next_address_and_one_that_is_given_up_does_not() {
    let addresses = vec![address("192.0.2.20:5060"), address("192.0.2.21:5060")];
    for cancelled in [false, true] {
        let mut solo = Solo::new();
        let call = solo.place("sip:bob@pbx.example", Some(SDP));
        let (id, ..) = solo.lookups.remove(0);
        solo.call(|ua, now| ua.handle_resolved(now, id, Ok(addresses.clone())));
        if cancelled {
            solo.call(|ua, now| ua.cancel(now, call, None));
        }
        solo.wait(Duration::from_secs(32));
        assert_eq!(solo.sent.iter().any(|(_, sent)| sent.remote == addresses[1]), !cancelled, "RFC 3263 §4.3");
        if cancelled {
            assert!(matches!(solo.event(), Event::Failed { cause: FailCause::Cancelled, .. }));
        } else {
            solo.wait(Duration::from_secs(32));
            assert!(matches!(solo.event(), Event::Failed { status: Some(408), cause: FailCause::Timeout, .. }));
        }
        assert!(matches!(solo.event(), Event::Released { .. }));
        solo.assert_nothing_left();
    }
}

#[test]
fn places_of_several_transports_are_tried_with_the_name_they_were_found_by() {
    let mut solo = Solo::new();
    solo.place("sip:bob@pbx.example", Some(SDP));
    let (id, ..) = solo.lookups.remove(0);
    let place = |transport, text| Place { transport, address: address(text) };
    let places = vec![place(Transport::Tcp, "192.0.2.20:5080"), place(Transport::Udp, "192.0.2.21:5060")];
    solo.call(|ua, now| ua.handle_located(now, id, Ok(places)));
    let (_, first) = solo.sent.remove(0);
    assert_eq!((first.transport, first.remote), (Transport::Tcp, address("192.0.2.20:5080")));
    assert_eq!(first.domain.as_deref(), Some("pbx.example"));
    solo.call(|ua, now| ua.handle_connect_failed(now, Transport::Tcp, first.remote, None, "refused"));
    assert_eq!((solo.sent[0].1.transport, solo.sent[0].1.remote), (Transport::Udp, address("192.0.2.21:5060")));
}

#[test]
fn a_name_without_address_fails_the_call() {
    for result in [Err("no such host".to_owned()), Ok(Vec::new())] {
        let mut solo = Solo::new();
        solo.place("sip:bob@pbx.example", Some(SDP));
        let (id, ..) = solo.lookups.remove(0);
        solo.call(|ua, now| ua.handle_resolved(now, id, result));
        assert!(matches!(solo.event(), Event::Failed { status: None, cause: FailCause::Unresolved(_), .. }));
        assert!(matches!(solo.event(), Event::Released { .. }));
        solo.assert_nothing_left();
    }
    // Cancelled meanwhile: the answer finds nobody.
    let mut solo = Solo::new();
    let call = solo.place("sip:bob@pbx.example", Some(SDP));
    solo.call(|ua, now| ua.cancel(now, call, None));
    assert!(matches!(solo.event(), Event::Failed { cause: FailCause::Cancelled, .. }));
    let (id, ..) = solo.lookups.remove(0);
    solo.call(|ua, now| ua.handle_resolved(now, id, Ok(vec![address("192.0.2.20:5060")])));
    assert!(solo.sent.is_empty());
    solo.assert_nothing_left();
}

#[test]
fn a_name_in_the_peers_contact_is_looked_up_once() {
    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, Some(SDP));
    let answer = response(&invite, "200 OK", "peer", &["Contact: <sip:bob@named.example>"], SDP);
    solo.receive(&answer);
    solo.call(|ua, now| ua.ack(now, call, None));
    solo.receive(&answer);
    assert!(solo.sent.is_empty());
    assert_eq!(solo.lookups.len(), 1);
    let (id, ..) = solo.lookups.remove(0);
    solo.call(|ua, now| ua.handle_resolved(now, id, Ok(vec![address("192.0.2.30:5060")])));
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.30:5060"));
    assert!(solo.only_text().starts_with("ACK sip:bob@named.example SIP/2.0"));
    solo.call(|ua, now| ua.bye(now, call, None));
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.30:5060"));
    assert!(solo.lookups.is_empty());
}

#[test]
fn what_is_too_large_for_udp_goes_to_tcp_and_comes_back_when_nobody_listens() {
    let long = ("X-Long".to_owned(), "y".repeat(1300));
    let mut solo = Solo::new();
    solo.place_with(BOB, Some(SDP), vec![long]);
    let sent = solo.sent[0].1.clone();
    assert_eq!((sent.transport, sent.remote), (Transport::Tcp, address("192.0.2.2:5070")));
    let text = solo.only_text();
    assert!(header(&text, "Via").starts_with("SIP/2.0/TCP "));
    assert!(header(&text, "Contact").contains(";transport=tcp"));
    solo.call(|ua, now| ua.handle_connect_failed(now, Transport::Tcp, address("192.0.2.2:5070"), None, "refused"));
    let sent = solo.sent[0].1.clone();
    assert_eq!(
        (sent.transport, sent.remote, sent.local),
        (Transport::Udp, address("192.0.2.2:5070"), Some(address(HERE)))
    );
    let text = solo.only_text();
    assert!(header(&text, "Via").starts_with("SIP/2.0/UDP "));
    assert!(!header(&text, "Contact").contains("transport"));
    // And ordinary failures from there on.
    solo.call(|ua, now| ua.handle_send_failed(now, Transport::Udp, address("192.0.2.2:5070"), "port unreachable"));
    assert!(matches!(solo.event(), Event::Failed { .. }));
    solo.event();
    solo.assert_nothing_left();
}

#[test]
fn a_stream_that_closes_fails_what_has_no_answer_yet() {
    let mut solo = Solo::new();
    solo.place("sip:bob@192.0.2.2:5070;transport=tcp", Some(SDP));
    solo.call(|ua, now| ua.handle_connected(now, Transport::Tcp, address("192.0.2.2:5070"), None, ConnectionId(3)));
    solo.call(|ua, now| ua.handle_closed(now, ConnectionId(4)));
    assert!(solo.events.is_empty());
    solo.call(|ua, now| ua.handle_closed(now, ConnectionId(3)));
    assert!(matches!(solo.event(), Event::Failed { cause: FailCause::Transport(_), .. }));
    solo.event();
    // With a provisional response it waits.
    solo.texts();
    solo.place("sip:bob@192.0.2.2:5070;transport=tcp", Some(SDP));
    let invite = solo.only_text();
    solo.receive_by(Transport::Tcp, Some(9), &response(&invite, "180 Ringing", "", &[], ""));
    assert!(matches!(solo.event(), Event::Provisional { .. }));
    solo.call(|ua, now| ua.handle_closed(now, ConnectionId(9)));
    assert!(solo.events.is_empty());
    solo.receive_by(Transport::Tcp, Some(10), &response(&invite, "486 Busy Here", "b", &[], ""));
    assert!(matches!(solo.event(), Event::Rejected { .. }));
    solo.event();
    solo.assert_nothing_left();
}

#[test]
fn a_peer_on_a_stream_is_reached_by_that_stream_and_else_by_its_contact() {
    let mut solo = Solo::new();
    let tcp = |text: String| text.replace("SIP/2.0/UDP", "SIP/2.0/TCP");
    let contact = ["Contact: <sip:peer@10.0.0.1:5099;transport=tcp>"];
    solo.receive_by(Transport::Tcp, Some(7), &tcp(request("INVITE", 1, "", &contact, SDP)));
    let Event::Invite { call, .. } = solo.event() else { panic!() };
    solo.call(|ua, now| ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
    let sent = solo.sent[0].1.clone();
    assert_eq!((sent.connection, sent.remote), (Some(ConnectionId(7)), address("192.0.2.2:5070")), "§18.2.2");
    let text = solo.only_text();
    assert_eq!(header(&text, "Contact"), "<sip:ringback@192.0.2.1:5060;transport=tcp>");
    solo.receive_by(Transport::Tcp, Some(7), &tcp(request("ACK", 1, &to_tag(&text), &[], "")));
    solo.event();
    solo.call(|ua, now| ua.bye(now, call, None));
    assert_eq!(solo.sent[0].1.connection, Some(ConnectionId(7)));
    solo.texts();
    solo.call(|ua, now| ua.handle_closed(now, ConnectionId(7)));
    let sent = solo.sent[0].1.clone();
    assert_eq!((sent.connection, sent.remote), (None, address("10.0.0.1:5099")));
}

#[test]
fn responses_go_where_the_request_came_from_and_nowhere_else() {
    for (via, remote, expected) in [
        ("SIP/2.0/UDP 192.0.2.2:5070", "192.0.2.2:5070", "SIP/2.0/UDP 192.0.2.2:5070;branch=z9hG4bK-OPTIONS-1"),
        (
            "SIP/2.0/UDP 203.0.113.9:6000;maddr=203.0.113.7",
            "192.0.2.2:6000",
            "SIP/2.0/UDP 203.0.113.9:6000;maddr=203.0.113.7;branch=z9hG4bK-OPTIONS-1;received=192.0.2.2",
        ),
        (
            "SIP/2.0/UDP 10.0.0.1:5060;rport",
            "192.0.2.2:5070",
            "SIP/2.0/UDP 10.0.0.1:5060;rport=5070;branch=z9hG4bK-OPTIONS-1;received=192.0.2.2",
        ),
    ] {
        let mut solo = Solo::new();
        solo.receive(&request("OPTIONS", 1, "", &[], "").replace("SIP/2.0/UDP 192.0.2.2:5070", via));
        assert_eq!(solo.sent[0].1.remote, address(remote), "{via}");
        assert_eq!(header(&solo.only_text(), "Via"), expected);
    }
}

#[test]
fn a_proxy_chain_of_via_is_repeated_whole() {
    let mut solo = Solo::new();
    let more = [
        "Via: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKb , SIP/2.0/TCP 10.0.0.3;branch=z9hG4bKc",
        "v: SIP/2.0/UDP d;branch=z",
    ];
    solo.receive(&request("OPTIONS", 1, "", &more, ""));
    let text = solo.only_text();
    let vias: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Via: ")).collect();
    assert_eq!(
        vias,
        [
            "SIP/2.0/UDP 192.0.2.2:5070;branch=z9hG4bK-OPTIONS-1",
            "SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKb , SIP/2.0/TCP 10.0.0.3;branch=z9hG4bKc",
            "SIP/2.0/UDP d;branch=z"
        ]
    );
}

#[test]
fn the_public_address_stands_in_via_and_contact() {
    for (public, shown) in [("pbx.example", "pbx.example:5060"), ("2001:db8::5", "[2001:db8::5]:5060")] {
        let mut solo =
            Solo::with(Config { public_address: Some(public.into()), user: "pbx".into(), ..Config::default() });
        let (_, invite) = solo.calling(BOB, Some(SDP));
        assert!(header(&invite, "Via").starts_with(&format!("SIP/2.0/UDP {shown};branch=z9hG4bK")));
        assert_eq!(header(&invite, "Contact"), format!("<sip:pbx@{shown}>"));
    }
}

#[test]
fn old_peers_without_magic_cookie_are_understood() {
    let mut solo = Solo::new();
    let old = |text: String| {
        let at = text.find(";branch=").unwrap();
        let end = text[at..].find("\r\n").unwrap() + at;
        format!("{}{}", &text[..at], &text[end..])
    };
    let invite = old(request("INVITE", 1, "", &[], SDP));
    solo.receive(&invite);
    let Event::Invite { call, .. } = solo.event() else { panic!() };
    solo.receive(&invite);
    assert!(solo.events.is_empty(), "§17.2.3: a retransmission");
    solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::BUSY_HERE)).unwrap());
    let tag = to_tag(&solo.only_text());
    solo.receive(&old(request("ACK", 1, &tag, &[], "")));
    solo.wait(Duration::from_secs(10));
    assert!(solo.sent.is_empty(), "the ACK was recognised");
    solo.assert_nothing_left();
}

#[test]
fn folded_and_compact_headers_come_back_in_responses() {
    let mut solo = Solo::new();
    let text = "OPTIONS sip:bob@192.0.2.1 SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.2:5070\r\n ;branch=z9hG4bK1\r\nf: \"P\r\n  Q\" \
                <sip:p@192.0.2.2>;tag=1\r\nt: <sip:bob@192.0.2.1>\r\ni: 1@x\r\nCSeq: 7\r\n  OPTIONS\r\nMax-Forwards: 0\r\nl: 0\r\n\r\n";
    solo.receive(text);
    let text = solo.only_text();
    assert!(text.starts_with("SIP/2.0 200 OK\r\n"));
    assert_eq!(header(&text, "Call-ID"), "1@x");
    assert!(header(&text, "From").ends_with("<sip:p@192.0.2.2>;tag=1"));
    assert!(header(&text, "Via").contains(";branch=z9hG4bK1"));
    assert!(!text.contains("\r\n "), "{text}");
}

#[test]
fn a_display_name_that_is_no_utf8_comes_back_byte_for_byte() {
    let mut solo = Solo::new();
    let text = request("OPTIONS", 1, "", &[], "").replace("\"P\"", "\"P\u{1}\"");
    let bytes: Vec<u8> = text.bytes().map(|byte| if byte == 1 { 0xe9 } else { byte }).collect();
    let flow = ringback_ua::Flow {
        transport: Transport::Udp,
        local: address(HERE),
        remote: address("192.0.2.2:5070"),
        connection: None,
    };
    solo.call(|ua, now| ua.handle_message(now, flow, bytes.into()));
    let sent = solo.sent.remove(0).1.bytes;
    assert!(sent.windows(4).any(|window| window == b"\"P\xe9\""));
}

#[test]
fn what_a_program_may_not_send() {
    let mut solo = Solo::new();
    for (name, value) in
        [("X", "a\r\nB: c"), ("Via", "SIP/2.0/UDP x"), ("a b", "c"), ("Contact", "<sip:x>"), ("f", "<sip:x>")]
    {
        let call = solo.incoming_again();
        let mut reply = Reply::new(StatusCode::RINGING);
        reply.headers.push((name.into(), value.into()));
        let result = solo.call(|ua, now| ua.respond(now, call, reply));
        assert!(matches!(result, Err(UaError::InvalidHeader(_))), "{name}");
        assert!(solo.sent.is_empty());
        solo.call(|ua, now| ua.drop_call(now, call));
        solo.texts();
        solo.events.clear();
    }
    let call = solo.incoming_again();
    let mut reply = Reply::new(StatusCode::MOVED_TEMPORARILY);
    reply.headers.push(("Contact".into(), "<sip:a@192.0.2.7>, <sip:b@192.0.2.8>".into()));
    solo.call(|ua, now| ua.respond(now, call, reply).unwrap());
    assert_eq!(header(&solo.only_text(), "Contact"), "<sip:a@192.0.2.7>, <sip:b@192.0.2.8>");
    assert_eq!(solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::OK))), Err(UaError::UnknownCall));
    let mut solo = Solo::new();
    let (call, _) = solo.established();
    let bad = solo.call(|ua, now| ua.request(now, call, Method::Info, vec![("A".into(), "\n".into())], None));
    assert!(matches!(bad, Err(UaError::InvalidHeader(_))));
    assert!(matches!(
        solo.call(|ua, now| ua.request(now, call, Method::Bye, vec![], None)),
        Err(UaError::InvalidState(_))
    ));
    assert!(matches!(
        solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::OK))),
        Err(UaError::InvalidState(_))
    ));
}

#[test]
fn an_info_goes_out_and_its_answer_comes_back() {
    let mut solo = Solo::new();
    let (call, tag) = solo.established();
    let body = Body { content_type: "application/dtmf-relay".into(), bytes: "Signal=5".into() };
    let key =
        solo.call(|ua, now| ua.request(now, call, Method::Info, vec![("X".into(), "y".into())], Some(body)).unwrap());
    let info = solo.only_text();
    assert!(info.starts_with("INFO ") && info.ends_with("Signal=5") && header(&info, "X") == "y");
    assert!(!has_header(&info, "Contact"));
    assert!(header(&info, "From").ends_with(&tag));
    solo.receive(&response(&info, "200 OK", "", &[], ""));
    match solo.event() {
        Event::Response { key: answered, response: Ok(_), .. } => assert_eq!(answered, key),
        other => panic!("{other:?}"),
    }
    // The next ends with the call.
    let key = solo.call(|ua, now| ua.request(now, call, Method::Info, vec![], None).unwrap());
    solo.receive(&request("BYE", 2, &tag, &[], ""));
    assert!(matches!(solo.event(), Event::Bye { .. }));
    match solo.event() {
        Event::Response { key: answered, response: Err(FailCause::Ended), .. } => assert_eq!(answered, key),
        other => panic!("{other:?}"),
    }
    assert!(matches!(solo.event(), Event::Released { .. }));
    solo.assert_nothing_left();
}

/// A GRUU is of a host that may know no better than we do, or be us: whoever is at hand is asked directly.
#[test]
fn a_peer_at_hand_that_names_itself_by_a_gruu_is_reached_without_a_lookup() {
    const GRUU: &str = "sip:bob@pbx.example;gr=urn:uuid:7";
    let contact = format!("Contact: <{GRUU}>");

    let mut solo = Solo::new();
    let (call, invite) = solo.calling(BOB, Some(SDP));
    let reliable = [contact.as_str(), "Require: 100rel", "RSeq: 1"];
    solo.receive(&response(&invite, "183 Session Progress", "peer", &reliable, SDP));
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.2:5070"));
    assert!(solo.only_text().starts_with(&format!("PRACK {GRUU} SIP/2.0")));
    solo.receive(&response(&invite, "200 OK", "peer", &[&contact], ""));
    solo.call(|ua, now| ua.ack(now, call, None));
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.2:5070"));
    assert!(solo.only_text().starts_with(&format!("ACK {GRUU} SIP/2.0")));

    let mut solo = Solo::new();
    let invite = request("INVITE", 1, "", &[], SDP).replace("<sip:peer@192.0.2.2:5070>", &format!("<{GRUU}>"));
    solo.receive(&invite);
    let Event::Invite { call, .. } = solo.event() else { panic!() };
    solo.call(|ua, now| ua.respond(now, call, Reply::new(StatusCode::OK)).unwrap());
    let text = solo.only_text();
    solo.receive(&request("ACK", 1, &to_tag(&text), &[], ""));
    solo.event();
    solo.call(|ua, now| ua.bye(now, call, None));
    assert_eq!(solo.sent[0].1.remote, address("192.0.2.2:5070"));
    assert!(solo.only_text().starts_with(&format!("BYE {GRUU} SIP/2.0")));
}

/// Who was called by the name that the GRUU has may be anywhere behind it.
#[test]
fn a_gruu_of_the_host_that_was_called_is_looked_up() {
    let mut solo = Solo::new();
    let call = solo.place("sip:bob@pbx.example", Some(SDP));
    let (id, ..) = solo.lookups.remove(0);
    solo.call(|ua, now| ua.handle_resolved(now, id, Ok(vec![address("192.0.2.20:5060")])));
    let invite = solo.only_text();
    solo.receive(&response(&invite, "200 OK", "peer", &["Contact: <sip:bob@pbx.example;gr=urn:uuid:7>"], ""));
    solo.call(|ua, now| ua.ack(now, call, None));
    assert_eq!(solo.lookups.remove(0).1, "pbx.example");
}
