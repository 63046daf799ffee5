//! Telephones that are reached by flows (RFC 5626): one flow of each at a time, and the next one when it fails.

use ringback_ua::{ConnectionId, Flow, Transport};

use super::registrar::served;
use super::*;
use crate::api::StoreKind;
use crate::fuzz::net::SECOND_PORT;

const AOR: &str = "sip:bob@pbx.example";
/// What each telephone, at home behind its NAT, takes itself for.
const CONTACT: &str = "sip:bob@192.168.0.2:5060;ob";

fn registrar() -> Net {
    let mut net = Net::default();
    net.streams = true;
    net.add(served(StoreKind::Memory));
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
    register_by(net, flow(number, transport), number, instance, reg_id);
}

fn register_by(net: &mut Net, flow: Flow, number: u8, instance: u8, reg_id: u8) {
    let transport = flow.transport;
    let name = transport.as_str();
    let text = format!(
        "REGISTER sip:pbx.example SIP/2.0\r\nVia: SIP/2.0/{name} 192.168.0.2:5060;branch=z9hG4bK{number};rport\r\nMax-Forwards: 70\r\n\
         From: <{AOR}>;tag=1\r\nTo: <{AOR}>\r\nCall-ID: flow{number}\r\nCSeq: 1 REGISTER\r\nSupported: path, outbound\r\n\
         Contact: <{CONTACT}>;reg-id={reg_id};+sip.instance=\"<urn:uuid:{instance}>\"\r\nContent-Length: 0\r\n\r\n"
    );
    net.inject_by(A, flow, &text);
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

fn reply(net: &mut Net, transport: Transport, request: &(u8, String), status: &str, body: &str) {
    reply_as(net, transport, request, status, CONTACT, body);
}

/// A 200 of one that names itself so.
fn reply_from(net: &mut Net, transport: Transport, request: &(u8, String), contact: &str, body: &str) {
    reply_as(net, transport, request, "200 OK", contact, body);
}

fn reply_as(
    net: &mut Net,
    transport: Transport,
    (number, request): &(u8, String),
    status: &str,
    contact: &str,
    body: &str,
) {
    reply_by(net, flow(*number, transport), &(*number, request.clone()), status, contact, body);
}

fn reply_by(net: &mut Net, flow: Flow, (number, request): &(u8, String), status: &str, contact: &str, body: &str) {
    let lines: String =
        request.lines().filter(|line| line.starts_with("Via:")).map(|line| format!("{line}\r\n")).collect();
    let field = |name| header(request, name).unwrap_or_else(|| panic!("no {name}: {request}"));
    let text = format!(
        "SIP/2.0 {status}\r\n{lines}From: {}\r\nTo: {}{}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <{contact}>\r\n{}\
         Content-Length: {}\r\n\r\n{body}",
        field("From"),
        field("To"),
        if field("To").contains(";tag=") { String::new() } else { format!(";tag=f{number}") },
        field("Call-ID"),
        field("CSeq"),
        if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" },
        body.len()
    );
    net.inject_by(A, flow, &text);
}

/// The port of ours that the last request that starts so left by, on its way to somewhere.
fn left_by(net: &Net, start: &str, remote: SocketAddr) -> u16 {
    let node = &net.nodes[A];
    let mut sent = node.sent.iter().zip(&node.ways).rev();
    let last = sent.find(|(text, (_, to))| text.starts_with(start) && *to == remote);
    let (text, (local, _)) = last.unwrap_or_else(|| panic!("no {start}"));
    let local = local.expect("a datagram has an address of ours");
    let via = header(text, "Via").expect("a Via");
    assert!(via.contains(&format!(" {local};")), "{via} leaves by {local}");
    local.port()
}

/// RFC 5626 §5.3: the five of the flow are those of the REGISTER, whatever the route says, from the INVITE to the BYE.
#[test]
fn a_flow_over_udp_is_reached_from_where_its_register_came_to() {
    let mut net = registrar();
    let second = SocketAddr::new(address(A).ip(), SECOND_PORT);
    let by = |number| Flow { local: second, ..flow(number, Transport::Udp) };
    register_by(&mut net, by(1), 1, 1, 1);
    register(&mut net, 2, Transport::Udp, 2, 1);
    // A socket of an earlier run, as a store may name it.
    let gone = Flow { local: SocketAddr::new(address(A).ip(), 5099), ..flow(3, Transport::Udp) };
    register_by(&mut net, gone, 3, 3, 1);
    let call = dial(&mut net, A, AOR);
    assert_eq!([1, 2, 3].map(|number| left_by(&net, "INVITE", edge(number))), [SECOND_PORT, 5060, 5060]);
    let rung_by = rung(&mut net, "INVITE");
    let first = rung_by.iter().find(|(number, _)| *number == 1).expect("it rings");
    reply_by(&mut net, by(1), first, "200 OK", CONTACT, &sdp(4000, 1, "sendrecv"));
    assert_eq!(call.state(), State::Active);
    assert_eq!(left_by(&net, "ACK", edge(1)), SECOND_PORT);
    hang_up(&mut net, A, &call);
    assert_eq!(left_by(&net, "BYE", edge(1)), SECOND_PORT);

    // Given up, and bound again by a store, which is all that a restart leaves.
    let Some(Ok(Reply::Bindings(kept))) = net.ask(A, |token| Command::Lookup { token, aor: AOR.into() }) else {
        panic!("no bindings")
    };
    let mut next = registrar();
    let record = kept.iter().find(|record| record.source.remote == edge(1)).expect("it is bound");
    assert_eq!(record.source.local, Some(second));
    let now = next.now;
    next.nodes[A].engine.restore(now, record);
    let call = dial(&mut next, A, AOR);
    let invite = rung(&mut next, "INVITE").remove(0);
    assert_eq!(left_by(&next, "INVITE", edge(1)), SECOND_PORT);
    reply_by(&mut next, by(1), &invite, "180 Ringing", CONTACT, "");
    hang_up(&mut next, A, &call);
    assert_eq!(left_by(&next, "CANCEL", edge(1)), SECOND_PORT);
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
    let first = rung(&mut net, "INVITE");
    assert_eq!(numbers(&first), [2]);
    net.advance(Duration::from_millis(3900));
    assert_eq!(numbers(&rung(&mut net, "INVITE")), [2], "again");
    net.advance(Duration::from_millis(200));
    let second = rung(&mut net, "INVITE");
    assert_eq!(numbers(&second), [1], "the other flow");
    // It was slow, not dead: the other flow rings already.
    reply(&mut net, Transport::Udp, &first[0], "180 Ringing", "");
    assert_eq!(call.state(), State::Initiating, "what is given up says nothing any more");
    let cancelled = rung(&mut net, "CANCEL");
    assert_eq!(numbers(&cancelled), [2]);
    reply(&mut net, Transport::Udp, &cancelled[0], "200 OK", "");
    reply(&mut net, Transport::Udp, &first[0], "487 Request Terminated", "");
    reply(&mut net, Transport::Udp, &second[0], "430 Flow Failed", "");
    assert_eq!(end_of(&call).1, "rejected 480 Temporarily Unavailable", "RFC 5626 §5.3.1");
    net.advance(3700 * SECOND);
    net.assert_idle();
}

/// A telephone that has said anything is there, and its last flow has all the time that there is.
#[test]
fn a_flow_that_is_heard_is_not_passed_over() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut net = registrar();
        register(&mut net, 1, transport, 1, 1);
        register(&mut net, 2, transport, 1, 2);
        let call = dial(&mut net, A, AOR);
        let first = rung(&mut net, "INVITE");
        reply(&mut net, transport, &first[0], "100 Trying", "");
        net.advance(60 * SECOND);
        assert!(rung(&mut net, "INVITE").is_empty(), "{transport}");
        hang_up(&mut net, A, &call);
        let cancelled = rung(&mut net, "CANCEL");
        reply(&mut net, transport, &cancelled[0], "200 OK", "");
        reply(&mut net, transport, &first[0], "487 Request Terminated", "");

        // Both are dead.
        let call = dial(&mut net, A, AOR);
        assert_eq!(numbers(&rung(&mut net, "INVITE")), [2]);
        net.advance(5 * SECOND);
        assert_eq!(numbers(&rung(&mut net, "INVITE")).last(), Some(&1), "{transport}");
        net.advance(30 * SECOND);
        assert!(!call.state().is_final(), "{transport}: timer B of the second");
        net.advance(2 * SECOND);
        assert_eq!(call.state(), State::Failed, "{transport}");
        net.advance(3700 * SECOND);
        net.assert_idle();
    }
}

/// Telephones whose flows are silent do not keep each other waiting, and one that rings meanwhile goes on ringing.
#[test]
fn silent_flows_of_several_telephones_are_passed_over_at_the_same_time() {
    let mut net = registrar();
    for (number, instance, reg_id) in [(1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 2, 2), (5, 3, 1), (6, 3, 2)] {
        register(&mut net, number, Transport::Udp, instance, reg_id);
    }
    let call = dial(&mut net, A, AOR);
    let first = rung(&mut net, "INVITE");
    assert_eq!(numbers(&first), [6, 4, 2]);
    reply(&mut net, Transport::Udp, &first[1], "180 Ringing", "");
    net.advance(Duration::from_millis(3900));
    rung(&mut net, "INVITE");
    net.advance(Duration::from_millis(200));
    let second = rung(&mut net, "INVITE");
    assert_eq!(numbers(&second), [5, 1]);
    reply(&mut net, Transport::Udp, &second[1], "200 OK", &sdp(4000, 1, "sendrecv"));
    assert_eq!(call.state(), State::Active);
    assert_eq!(numbers(&rung(&mut net, "CANCEL")), [4], "nobody else was heard");
    hang_up(&mut net, A, &call);
    assert_eq!(numbers(&rung(&mut net, "BYE")), [1]);
}

/// The GRUUs of one instance, as the registrar gives them.
fn gruus(net: &mut Net, number: u8, transport: Transport, instance: u8, cseq: u32, uri: &str) -> [String; 2] {
    let name = transport.as_str();
    let text = format!(
        "REGISTER sip:pbx.example SIP/2.0\r\nVia: SIP/2.0/{name} 192.168.0.2:5060;branch=z9hG4bKg{number}x{cseq};rport\r\nMax-Forwards: 70\r\n\
         From: <{AOR}>;tag=1\r\nTo: <{AOR}>\r\nCall-ID: instance{instance}\r\nCSeq: {cseq} REGISTER\r\nSupported: path, outbound, gruu\r\n\
         Contact: <{uri}>;reg-id=1;+sip.instance=\"<urn:uuid:{instance}>\"\r\nContent-Length: 0\r\n\r\n"
    );
    net.inject_by(A, flow(number, transport), &text);
    let place = net.outside.iter().position(|(to, text)| *to == edge(number) && text.starts_with("SIP/2.0 200"));
    let (_, answer) = place.and_then(|place| net.outside.remove(place)).expect("bound");
    let own =
        answer.lines().find(|line| line.contains(&format!("urn:uuid:{instance}>"))).expect("it is listed").to_owned();
    ["pub-gruu", "temp-gruu"].map(|name| {
        let (_, rest) = own.split_once(&format!("{name}=\"")).expect("a GRUU");
        rest.split('"').next().unwrap_or_default().to_owned()
    })
}

/// RFC 5627 §5.4: a dialog with a GRUU of ours follows the instance to its newest flow, each request anew.
#[test]
fn a_dialog_follows_an_instance_that_moves() {
    for transport in [Transport::Udp, Transport::Tcp] {
        for kind in 0..2 {
            let mut net = registrar();
            let gruu = gruus(&mut net, 1, transport, 1, 1, CONTACT).into_iter().nth(kind).expect("two of them");
            // It is called by its address of record, and answers with its GRUU.
            let call = dial(&mut net, A, AOR);
            let invite = rung(&mut net, "INVITE").remove(0);
            reply_from(&mut net, transport, &invite, &gruu, &sdp(4000, 1, "sendrecv"));
            assert_eq!(call.state(), State::Active);
            let ack = rung(&mut net, "ACK");
            assert_eq!(numbers(&ack), [1]);
            assert!(ack[0].1.starts_with(&format!("ACK {gruu} ")), "{}", ack[0].1);
            // Off to another network; the old connection ends.
            gruus(&mut net, 2, transport, 1, 2, "sip:bob@172.16.0.9:5060;ob");
            if transport.is_reliable() {
                let now = net.now;
                net.nodes[A].engine.handle_closed(now, ConnectionId(1));
                net.run();
            }
            let id = call.id;
            net.command(A, |token| Command::Hold { token, session: id });
            let reinvite = rung(&mut net, "INVITE");
            assert_eq!(numbers(&reinvite), [2], "{transport} {gruu}");
            reply_from(&mut net, transport, &reinvite[0], &gruu, &sdp(4000, 2, "recvonly"));
            assert_eq!(numbers(&rung(&mut net, "ACK")), [2]);
            // And on, to where it is reached by its own address.
            gruus(&mut net, 3, Transport::Udp, 1, 3, CONTACT);
            hang_up(&mut net, A, &call);
            let bye = rung(&mut net, "BYE");
            assert_eq!(numbers(&bye), [3], "{transport}");
            reply(&mut net, Transport::Udp, &bye[0], "200 OK", "");
            assert!(call.state().is_final());
            net.advance(3700 * SECOND);
            net.assert_idle();
        }
    }
}

/// One that is not bound any more is looked for where it was.
#[test]
fn a_dialog_with_a_gruu_that_leads_nowhere_stays_where_it_was() {
    let mut net = registrar();
    let [gruu, _] = gruus(&mut net, 1, Transport::Udp, 1, 1, CONTACT);
    let call = dial(&mut net, A, AOR);
    let invite = rung(&mut net, "INVITE").remove(0);
    reply_from(&mut net, Transport::Udp, &invite, &gruu, &sdp(4000, 1, "sendrecv"));
    assert_eq!(numbers(&rung(&mut net, "ACK")), [1]);
    let removed = net.ask(A, |token| Command::Unbind { token, aor: AOR.into() });
    assert!(matches!(removed, Some(Ok(Reply::Unit))));
    hang_up(&mut net, A, &call);
    assert_eq!(numbers(&rung(&mut net, &format!("BYE {gruu} "))), [1]);
    assert!(net.nodes[A].resolves.is_empty());
}
