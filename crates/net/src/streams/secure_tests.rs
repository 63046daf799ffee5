//! Handshakes, keep-alives and limits of connections, as peers that do not behave meet them.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::tests::{Fixture, listening, request, rest};
use super::*;
use crate::listen::Listen;
use crate::tls::Tls;
use crate::tls::tests::{Place, issuer, settings};

fn fixture(transport: Transport, change: impl FnOnce(&mut Limits)) -> Fixture {
    listening(Listen::new(transport, (Ipv4Addr::LOCALHOST, 0).into()), change)
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n";

/// A masked frame; the mask is zero.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(short @ 0..126) => bytes.push(0x80 | short),
        _ => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(payload.len()).expect("short enough").to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

fn upgraded(fixture: &Fixture) -> TcpStream {
    let mut stream = fixture.connect();
    stream.write_all(UPGRADE).expect("written");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a byte");
        head.push(byte[0]);
    }
    // RFC 6455 §1.3 has the answer to this key.
    let head = String::from_utf8(head).expect("text");
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    stream
}

#[test]
fn handshakes_that_are_not_completed_end_and_give_their_seats_back() {
    let (place, issuer) = (Place::new(), issuer());
    let tls = settings(&place, &issuer, &["localhost"]);
    for transport in [Transport::Tls, Transport::Ws, Transport::Wss] {
        let wanted = Listen { tls: tls.clone(), ..Listen::new(transport, (Ipv4Addr::LOCALHOST, 0).into()) };
        let fixture = listening(wanted, |limits| {
            limits.connections = 2;
            limits.handshake = Duration::from_millis(200);
        });
        for _ in 0..3 {
            let mut silent = fixture.connect();
            let mut slow = fixture.connect();
            slow.write_all(if transport == Transport::Ws { b"GET /" } else { &[22, 3, 1, 0, 200] }).expect("written");
            assert!(rest(&mut silent).is_empty() && rest(&mut slow).is_empty());
        }
    }
}

#[test]
fn a_source_has_no_more_connections_than_it_may() {
    let mut fixture = fixture(Transport::Tcp, |limits| limits.connections_per_source = Some(2));
    let mut first = fixture.connect();
    first.write_all(&request(1, 0)).expect("written");
    fixture.message();
    let mut second = fixture.connect();
    second.write_all(&request(2, 0)).expect("written");
    fixture.message();
    assert!(rest(&mut fixture.connect()).is_empty(), "one too many");
    // Ours are not the source's.
    let peer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    fixture.send(peer.local_addr().expect("an address"), None, b"x");
    assert!(matches!(fixture.news(), News::Connected { .. }));
    drop(first);
    fixture.closed();
    let mut third = fixture.connect();
    third.write_all(&request(3, 0)).expect("written");
    fixture.message();
}

#[test]
fn a_websocket_carries_one_message_a_frame_and_slow_frames_end_it() {
    let mut fixture = fixture(Transport::Ws, |limits| limits.partial = Duration::from_millis(300));
    let mut stream = upgraded(&fixture);
    // Two in one segment, one in two fragments with a ping between them.
    let mut bytes = [frame(1, &request(1, 10)), frame(2, &request(2, 300))].concat();
    let whole = request(3, 0);
    let mut start = frame(1, &whole[..20]);
    start[0] = 1;
    bytes.extend([start, frame(9, b"?"), frame(0, &whole[20..])].concat());
    stream.write_all(&bytes).expect("written");
    for expected in [request(1, 10), request(2, 300), whole] {
        assert_eq!(fixture.message().1, expected);
    }
    let mut pong = [0; 3];
    stream.read_exact(&mut pong).expect("a pong");
    assert_eq!(pong, [0x8a, 1, b'?']);
    stream.write_all(&frame(1, &request(4, 0))[..30]).expect("written");
    fixture.closed();
    rest(&mut stream);
    // A message that is too long.
    let mut stream = upgraded(&fixture);
    stream.write_all(&[0x82, 0xff, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0]).expect("written");
    fixture.closed();
    let close = rest(&mut stream);
    assert_eq!(close[..4], [0x88, close[1], 0x03, 0xf1], "1009: too big");
}

#[test]
fn a_peer_that_floods_with_pings_and_does_not_read_is_not_answered_without_end() {
    let mut fixture = fixture(Transport::Ws, |limits| limits.stalled = Duration::from_millis(500));
    let mut stream = upgraded(&fixture);
    stream.write_all(&frame(1, &request(1, 0))).expect("written");
    fixture.message();
    let pings = frame(9, &[b'x'; 125]).repeat(1000);
    // Until it is closed: its answers are never read.
    for _ in 0..10_000 {
        if stream.write_all(&pings).is_err() {
            break;
        }
    }
    fixture.closed();
}

#[test]
fn a_peer_that_wants_keep_alives_gets_them_and_has_to_answer() {
    // RFC 5626 §4.4.1, as a registrar's Flow-Timer has it.
    let mut fixture = fixture(Transport::Tcp, |limits| limits.pong = Duration::from_millis(500));
    let peer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    fixture.send(peer.local_addr().expect("an address"), None, b"message");
    let (mut stream, _) = peer.accept().expect("accepted");
    let mut bytes = [0; 7];
    stream.read_exact(&mut bytes).expect("the message");
    let News::Connected { connection, .. } = fixture.news() else { panic!("not connected") };
    fixture.request(Request::KeepAlive { connection, every: Duration::from_millis(100) });
    let mut ping = [0; 4];
    for _ in 0..3 {
        stream.read_exact(&mut ping).expect("a ping");
        assert_eq!(&ping, b"\r\n\r\n");
        stream.write_all(b"\r\n").expect("written");
    }
    // From here on it is silent.
    assert_eq!(fixture.closed(), connection);
}

#[test]
fn our_keep_alives_have_to_be_answered_by_those_who_do() {
    let mut fixture = fixture(Transport::Tcp, |limits| {
        limits.ping = Duration::from_millis(100);
        limits.pong = Duration::from_millis(300);
    });
    let peer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    fixture.send(peer.local_addr().expect("an address"), None, b"message");
    let (mut stream, _) = peer.accept().expect("accepted");
    let mut bytes = [0; 7];
    stream.read_exact(&mut bytes).expect("the message");
    assert!(matches!(fixture.news(), News::Connected { .. }));
    let mut ping = [0; 4];
    for _ in 0..3 {
        // RFC 5626 §4.4.1. One that has never answered is asked again and again.
        stream.read_exact(&mut ping).expect("a ping");
        assert_eq!(&ping, b"\r\n\r\n");
    }
    stream.write_all(b"\r\n\r\n\r\n").expect("written");
    fixture.closed();
}

#[test]
fn a_websocket_peer_that_has_gone_is_found_out() {
    let mut fixture = fixture(Transport::Ws, |limits| {
        limits.ping = Duration::from_millis(100);
        limits.pong = Duration::from_millis(200);
    });
    let mut stream = upgraded(&fixture);
    stream.write_all(&frame(1, &request(1, 0))).expect("written");
    fixture.message();
    let mut ping = [0; 2];
    for _ in 0..3 {
        stream.read_exact(&mut ping).expect("a ping");
        assert_eq!(ping, [0x89, 0]);
        stream.write_all(&frame(10, b"")).expect("written");
    }
    stream.read_exact(&mut ping).expect("a ping");
    fixture.closed();
}

#[test]
fn requests_go_by_the_connection_of_a_peer_that_has_shown_who_it_is() {
    let (place, issuer) = (Place::new(), issuer());
    let tls = settings(&place, &issuer, &["localhost", "127.0.0.1"]);
    let wanted = Listen { tls, ..Listen::new(Transport::Tls, (Ipv4Addr::LOCALHOST, 0).into()) };
    let mut fixture = listening(wanted, |_| ());
    let place = Place::new();
    let client = Tls::load(settings(&place, &issuer, &["phone.example"])).expect("loaded");
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(client.client().expect("settings"), name).expect("a client");
    let mut stream = StreamOwned::new(session, fixture.connect());
    let say = |via: &str| {
        let text = String::from_utf8(request(1, 0)).expect("text");
        text.replace("SIP/2.0/TCP 127.0.0.1:9;", &format!("SIP/2.0/TLS {via};")).into_bytes()
    };
    // Another's name is not its own.
    stream.write_all(&say("other.example:5099;alias")).expect("written");
    fixture.message();
    stream.write_all(&say("phone.example:5099;alias")).expect("written");
    fixture.message();
    let to = |port: u16, domain: Option<&str>, text: &'static [u8]| Request::Send {
        transport: Transport::Tls,
        local: None,
        remote: (Ipv4Addr::LOCALHOST, port).into(),
        connection: None,
        domain: domain.map(Arc::from),
        bytes: Bytes::from_static(text),
    };
    fixture.request(to(5099, Some("phone.example"), b"by name "));
    fixture.request(to(5099, None, b"by address"));
    let mut bytes = [0; 18];
    stream.read_exact(&mut bytes).expect("both");
    assert_eq!(&bytes, b"by name by address");
    fixture.request(to(9, Some("other.example"), b"elsewhere"));
    let News::ConnectFailed { domain, .. } = fixture.news() else { panic!("connected") };
    assert_eq!(domain.as_deref(), Some("other.example"), "whose requests have failed");
}
