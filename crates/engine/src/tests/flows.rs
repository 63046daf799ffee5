//! Telephones that are reached by flows (RFC 5626): one flow of each at a time, and the next one when it fails.

use ringback_ua::{ConnectionId, Flow, Transport};

use super::*;
use crate::api::{RegistrarConfig, StoreKind};

const AOR: &str = "sip:bob@pbx.example";
/// What each telephone, at home behind its NAT, takes itself for.
const CONTACT: &str = "sip:bob@192.168.0.2:5060;ob";

fn registrar() -> Net {
    let registrar = RegistrarConfig {
        domains: vec!["pbx.example".into()],
        min_expires: 60 * SECOND,
        max_expires: 3600 * SECOND,
        max_contacts: 10,
        store: StoreKind::Memory,
    };
    let mut net = Net::default();
    net.streams = true;
    net.add(Config { registrar: Some(registrar), ..config() });
    net
}

/// Where the flow with that number comes from.
fn edge(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 9, 1, number], 5060))
}

fn flow(number: u8, transport: Transport) -> Flow {
    let connection = transport.is_reliable().then_some(ConnectionId(u64::from(number)));
    Flow { transport, local: address(A), remote: edge(number), connection }
}

fn register(net: &mut Net, number: u8, transport: Transport, instance: u8, reg_id: u8) {
    let name = transport.as_str();
    let text = format!(
        "REGISTER sip:pbx.example SIP/2.0\r\nVia: SIP/2.0/{name} 192.168.0.2:5060;branch=z9hG4bK{number};rport\r\nMax-Forwards: 70\r\n\
         From: <{AOR}>;tag=1\r\nTo: <{AOR}>\r\nCall-ID: flow{number}\r\nCSeq: 1 REGISTER\r\nSupported: path, outbound\r\n\
         Contact: <{CONTACT}>;reg-id={reg_id};+sip.instance=\"<urn:uuid:{instance}>\"\r\nContent-Length: 0\r\n\r\n"
    );
    net.inject_by(A, flow(number, transport), &text);
    let place = net.outside.iter().position(|(to, text)| *to == edge(number) && text.starts_with("SIP/2.0 200"));
    net.outside.remove(place.unwrap_or_else(|| panic!("not bound: {:?}", net.outside)));
}

/// The flows by which an INVITE, or another request, has come since it was asked last.
fn rung(net: &mut Net, start: &str) -> Vec<(u8, String)> {
    let (came, rest) = net.outside.drain(..).partition(|(_, text): &(SocketAddr, String)| text.starts_with(start));
    net.outside = rest;
    let number = |at: SocketAddr| match at.ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    };
    let mut came: Vec<(u8, String)> = Vec::from(came).into_iter().map(|(at, text)| (number(at), text)).collect();
    came.dedup();
    came
}

fn numbers(rung: &[(u8, String)]) -> Vec<u8> {
    rung.iter().map(|(number, _)| *number).collect()
}

fn reply(net: &mut Net, transport: Transport, (number, request): &(u8, String), status: &str, body: &str) {
    let lines: String =
        request.lines().filter(|line| line.starts_with("Via:")).map(|line| format!("{line}\r\n")).collect();
    let field = |name| header(request, name).unwrap_or_else(|| panic!("no {name}: {request}"));
    let text = format!(
        "SIP/2.0 {status}\r\n{lines}From: {}\r\nTo: {};tag=f{number}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <{CONTACT}>\r\n{}\
         Content-Length: {}\r\n\r\n{body}",
        field("From"),
        field("To"),
        field("Call-ID"),
        field("CSeq"),
        if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" },
        body.len()
    );
    net.inject_by(A, flow(*number, transport), &text);
}

/// One telephone with two flows, another one with one, all of the same Contact URI: each rings once, by its latest flow.
#[test]
fn each_telephone_rings_by_one_flow_and_the_next_takes_over() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut net = registrar();
        register(&mut net, 1, transport, 1, 1);
        register(&mut net, 2, transport, 1, 2);
        register(&mut net, 3, transport, 2, 1);
        let call = dial(&mut net, A, AOR);
        let first = rung(&mut net, "INVITE");
        assert_eq!(numbers(&first), [3, 2], "{transport}");
        assert!(first.iter().all(|(_, text)| text.starts_with(&format!("INVITE {CONTACT} "))));
        // The proxy at the edge has lost the flow.
        reply(&mut net, transport, &first[1], "430 Flow Failed", "");
        let second = rung(&mut net, "INVITE");
        assert_eq!(numbers(&second), [1], "{transport}");
        assert_eq!(numbers(&rung(&mut net, "ACK")), [2], "of the 430");
        reply(&mut net, transport, &second[0], "180 Ringing", "");
        assert_eq!(call.state(), State::Ringing);
        reply(&mut net, transport, &second[0], "200 OK", &sdp(4000, 1, "sendrecv"));
        assert_eq!(call.state(), State::Active);
        net.advance(SECOND);
        assert_eq!(numbers(&rung(&mut net, "ACK sip:bob@192.168.0.2:5060;ob ")), [1]);
        // The other telephone stops ringing as soon as it has said something.
        reply(&mut net, transport, &first[0], "180 Ringing", "");
        let cancelled = rung(&mut net, "CANCEL");
        assert_eq!(numbers(&cancelled), [3]);
        reply(&mut net, transport, &cancelled[0], "200 OK", "");
        reply(&mut net, transport, &first[0], "487 Request Terminated", "");
        hang_up(&mut net, A, &call);
        let bye = rung(&mut net, "BYE");
        assert_eq!(numbers(&bye), [1]);
        reply(&mut net, transport, &bye[0], "200 OK", "");
        assert!(call.state().is_final());
        net.advance(3700 * SECOND);
        net.assert_idle();
    }
}

/// A connection that is gone, before the call or while it rings, and a flow that is silent.
#[test]
fn a_flow_that_is_dead_is_passed_over() {
    let mut net = registrar();
    for (number, reg_id) in [(1, 1), (2, 2), (3, 3)] {
        register(&mut net, number, Transport::Tcp, 1, reg_id);
    }
    let close = |net: &mut Net, number: u64| {
        let now = net.now;
        net.nodes[A].engine.handle_closed(now, ConnectionId(number));
        net.run();
    };
    close(&mut net, 3);
    let call = dial(&mut net, A, AOR);
    let first = rung(&mut net, "INVITE");
    assert_eq!(numbers(&first), [2], "the latest of those that are there");
    close(&mut net, 2);
    let second = rung(&mut net, "INVITE");
    assert_eq!(numbers(&second), [1], "at once");
    reply(&mut net, Transport::Tcp, &second[0], "486 Busy Here", "");
    assert_eq!(end_of(&call).1, "rejected 486 Busy Here", "a telephone that answers has been reached");
    close(&mut net, 1);
    let call = dial(&mut net, A, AOR);
    assert!(rung(&mut net, "INVITE").is_empty());
    assert!(call.state().is_final());

    let mut net = registrar();
    register(&mut net, 1, Transport::Udp, 1, 1);
    register(&mut net, 2, Transport::Udp, 1, 2);
    let call = dial(&mut net, A, AOR);
    assert_eq!(numbers(&rung(&mut net, "INVITE")), [2]);
    // Timer B.
    net.advance(31 * SECOND);
    assert!(rung(&mut net, "INVITE").iter().all(|(number, _)| *number == 2));
    net.advance(2 * SECOND);
    let second = rung(&mut net, "INVITE").into_iter().find(|(number, _)| *number == 1).expect("the other flow");
    reply(&mut net, Transport::Udp, &second, "430 Flow Failed", "");
    assert_eq!(end_of(&call).1, "rejected 480 Temporarily Unavailable", "RFC 5626 §5.3.1");
}
