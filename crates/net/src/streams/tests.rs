//! The streams' thread by itself, over loopback connections.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Instant;

use socket2::{Domain, Type};

use super::*;
use crate::listen::{self, Listen};
use crate::sys::Epoll;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Fixture {
    streams: Streams,
    epoll: Epoll,
    waker: Arc<Waker>,
    pub(super) address: SocketAddr,
}

fn fixture(change: impl FnOnce(&mut Limits)) -> Fixture {
    listening(Listen::new(Transport::Tcp, (Ipv4Addr::LOCALHOST, 0).into()), change)
}

pub(super) fn listening(wanted: Listen, change: impl FnOnce(&mut Limits)) -> Fixture {
    let mut limits = Limits::new(1000, 65_535);
    change(&mut limits);
    let listener = listen::bind_all(&[wanted]).expect("bound").remove(0);
    let address = listener.address;
    let waker = Arc::new(Waker::new().expect("a waker"));
    let queue = Arc::new(EventQueue::new().expect("a queue"));
    let mut streams =
        Streams::new(vec![listener], limits, Naming::default(), Arc::clone(&waker), queue, Arc::default());
    streams.listen().expect("started");
    let epoll = Epoll::new(4).expect("an epoll");
    epoll.add(waker.as_fd(), 0).expect("added");
    Fixture { streams, epoll, waker, address }
}

impl Fixture {
    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_write_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    pub(super) fn news(&mut self) -> News {
        let end = Instant::now() + PATIENCE;
        loop {
            self.waker.prepare();
            let news = self.streams.next();
            if let Some(news) = news {
                self.waker.awake();
                return news;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no news");
            self.epoll.wait(Some(left)).expect("a wait");
            self.waker.awake();
            self.waker.clear();
        }
    }

    pub(super) fn message(&mut self) -> (Flow, Bytes) {
        match self.news() {
            News::Message { flow, bytes } => (flow, bytes),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn closed(&mut self) -> ConnectionId {
        match self.news() {
            News::Closed { connection } => connection,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn request(&mut self, request: Request) {
        assert!(self.streams.request(request), "sent");
    }

    pub(super) fn send(&mut self, remote: SocketAddr, connection: Option<ConnectionId>, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let request = Request::Send { transport: Transport::Tcp, local: None, remote, connection, domain: None, bytes };
        assert!(self.streams.request(request), "sent");
    }
}

/// A request that a parser takes, of about `padding` bytes.
pub(super) fn request(number: usize, padding: usize) -> Vec<u8> {
    format!(
        "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK{number}\r\nFrom: <sip:a@h>;tag=1\r\n\
         To: <sip:b@h>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nX-Padding: {}\r\nContent-Length: 4\r\n\r\nbody",
        "x".repeat(padding)
    )
    .into_bytes()
}

/// Everything until the peer closes.
pub(super) fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => all,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => all,
        Err(error) => panic!("not closed: {error}"),
    }
}

#[test]
fn messages_come_framed_and_answers_go_back_by_the_same_connection() {
    let mut fixture = fixture(|_| ());
    let mut stream = fixture.connect();
    let both = [request(1, 10), b"\r\n\r\n".to_vec(), request(2, 3000)].concat();
    // In pieces, as networks cut them.
    for piece in both.chunks(700) {
        stream.write_all(piece).expect("written");
    }
    let (flow, first) = fixture.message();
    assert_eq!(first, request(1, 10));
    assert_eq!(flow.remote, stream.local_addr().expect("an address"));
    assert_eq!((flow.local, flow.transport), (fixture.address, Transport::Tcp));
    let (second_flow, second) = fixture.message();
    assert_eq!((second_flow, &second[..]), (flow, &request(2, 3000)[..]));
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).expect("the answer to the keep-alive");
    assert_eq!(&pong, b"\r\n");

    fixture.send(flow.remote, flow.connection, b"by number");
    fixture.send(flow.remote, None, b" by address");
    let mut answer = [0; 20];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"by number by address");
    drop(stream);
    assert_eq!(Some(fixture.closed()), flow.connection);
    fixture.send(flow.remote, flow.connection, b"too late");
    assert_eq!(Some(fixture.closed()), flow.connection, "told again");
}

#[test]
fn one_connection_is_made_for_all_that_goes_to_a_peer() {
    let mut fixture = fixture(|_| ());
    let peer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let remote = peer.local_addr().expect("an address");
    for word in ["one ", "two ", "three"] {
        fixture.send(remote, None, word.as_bytes());
    }
    let (mut stream, _) = peer.accept().expect("accepted");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut words = [0; 13];
    stream.read_exact(&mut words).expect("all of it");
    assert_eq!(&words, b"one two three");
    let News::Connected { remote: connected, connection, .. } = fixture.news() else { panic!("not connected") };
    assert_eq!(connected, remote);
    stream.write_all(&request(1, 0)).expect("written");
    let (flow, _) = fixture.message();
    assert_eq!(flow.connection, Some(connection));
    assert_eq!(flow.local, fixture.address, "where we can be reached, not the connection's own port");
}

#[test]
fn a_connect_that_nobody_answers_fails_in_time_and_delays_nothing() {
    let mut fixture = fixture(|limits| limits.connect = Duration::from_millis(300));
    // A listener whose queue is full drops what asks to connect.
    let hole = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    hole.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("bound");
    hole.listen(0).expect("listening");
    let black = hole.local_addr().expect("an address").as_socket().expect("an address");
    let fill: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&black, Duration::from_millis(100))).collect();
    assert!(fill.last().is_some_and(Result::is_err), "the queue is full");
    let refused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|gone| gone.local_addr()).expect("an address");

    fixture.send(black, None, b"hello?");
    let mut stream = fixture.connect();
    stream.write_all(&request(7, 0)).expect("written");
    fixture.message();
    fixture.send(refused, None, b"hello?");
    let mut failed = Vec::new();
    while failed.len() < 2 {
        match fixture.news() {
            News::ConnectFailed { remote, cause, .. } => failed.push((remote, cause)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(failed[0].0, refused, "at once");
    assert!(failed[0].1.contains("refused"), "{failed:?}");
    assert_eq!(failed[1].0, black);
}

#[test]
fn a_peer_that_does_not_read_is_closed_and_others_go_on() {
    let mut fixture = fixture(|limits| limits.queued_bytes = 200_000);
    let mut slow = fixture.connect();
    slow.write_all(&request(1, 0)).expect("written");
    let (flow, _) = fixture.message();
    let chunk = vec![b'x'; 60_000];
    let mut closed = None;
    for _ in 0..10_000 {
        fixture.send(flow.remote, flow.connection, &chunk);
        if let Some(News::Closed { connection }) = fixture.streams.next() {
            closed = Some(connection);
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(closed.or_else(|| Some(fixture.closed())), flow.connection);
    while let Some(news) = fixture.streams.next() {
        assert!(matches!(news, News::Closed { .. }));
    }
    let mut other = fixture.connect();
    other.write_all(&request(2, 0)).expect("written");
    loop {
        match fixture.news() {
            News::Message { bytes, .. } => break assert_eq!(bytes, request(2, 0)),
            News::Closed { connection } => assert_eq!(Some(connection), flow.connection),
            other => panic!("{other:?}"),
        }
    }
    rest(&mut slow);
}

#[test]
fn a_peer_that_takes_nothing_for_too_long_is_closed() {
    let mut fixture = fixture(|limits| {
        limits.stalled = Duration::from_millis(200);
        limits.idle = Duration::from_millis(100);
        limits.queued_bytes = 100 << 20;
    });
    let mut slow = fixture.connect();
    slow.write_all(&request(1, 0)).expect("written");
    let (flow, _) = fixture.message();
    fixture.send(flow.remote, flow.connection, &vec![b'x'; 50 << 20]);
    assert_eq!(Some(fixture.closed()), flow.connection);
    rest(&mut slow);
}

#[test]
fn an_unfinished_message_a_silent_connection_and_an_idle_one_are_closed() {
    let mut fixture = fixture(|limits| {
        limits.partial = Duration::from_millis(200);
        limits.idle = Duration::from_millis(700);
    });
    let mut silent = fixture.connect();
    let mut partial = fixture.connect();
    partial.write_all(&request(1, 0)).expect("written");
    fixture.message();
    let started = Instant::now();
    partial.write_all(b"OPTIONS sip:never").expect("written");
    rest(&mut partial);
    assert!(started.elapsed() < Duration::from_millis(700), "not only when idle");
    rest(&mut silent);
    // Slow, but in time.
    let mut slow = fixture.connect();
    let text = request(7, 0);
    for piece in text.chunks(text.len() / 4) {
        slow.write_all(piece).expect("written");
        std::thread::sleep(Duration::from_millis(10));
    }
    while !matches!(fixture.news(), News::Message { bytes, .. } if bytes == text) {}
    let mut idle = fixture.connect();
    idle.write_all(&request(2, 0)).expect("written");
    let started = Instant::now();
    rest(&mut idle);
    assert!(started.elapsed() >= Duration::from_millis(500));
}

/// What a peer is promised, with a margin: a sender that does not come to an end is closed within 30 s.
#[test]
fn no_peer_is_waited_for_longer_than_30_s() {
    let limits = Limits::new(1, 1);
    assert!(limits.handshake + limits.partial <= Duration::from_secs(30));
    assert!(limits.stalled <= Duration::from_secs(25) && limits.partial <= Duration::from_secs(25));
}

#[test]
fn what_is_too_long_or_no_sip_ends_the_connection() {
    let mut fixture = fixture(|limits| limits.message_bytes = 5_000);
    let mut long = fixture.connect();
    let text = String::from_utf8(request(1, 100)).expect("text").replace("Content-Length: 4", "Content-Length: 6000");
    long.write_all(text.as_bytes()).expect("written");
    let answer = String::from_utf8(rest(&mut long)).expect("text");
    assert!(answer.starts_with("SIP/2.0 513 "), "{answer}");
    assert!(answer.contains("Call-ID: 1\r\n") && answer.contains("branch=z9hG4bK1"), "{answer}");
    let mut nonsense = fixture.connect();
    nonsense.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
    assert!(rest(&mut nonsense).is_empty());
    fixture.closed();
    fixture.closed();
}

#[test]
fn streams_are_not_read_while_the_signalling_thread_is_behind_and_nothing_is_lost() {
    let mut fixture = fixture(|_| ());
    let mut stream = fixture.connect();
    stream.set_nonblocking(true).expect("set");
    let large = |number| request(number, 30_000);
    let (mut sent, mut bytes) = (0, Vec::new());
    // Until the kernel's buffers and our bounded queue are full and stay so.
    let mut refused = 0;
    while refused < 200 {
        assert!(sent < 5_000, "it is read without end");
        if bytes.is_empty() {
            bytes = large(sent);
            sent += 1;
        }
        match stream.write(&bytes) {
            Ok(count) => {
                bytes.drain(..count);
                refused = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refused += 1;
                // A wait that gives the other side time, not a condition.
                fixture.epoll.wait(Some(Duration::from_millis(1))).expect("a wait");
            }
        }
    }
    stream.set_nonblocking(false).expect("set");
    let writer = std::thread::spawn(move || {
        stream.write_all(&bytes).expect("written");
        stream
    });
    for number in 0..sent {
        assert_eq!(fixture.message().1, large(number));
    }
    drop(writer.join().expect("no panic"));
}

#[test]
fn many_connections_and_no_more_than_allowed() {
    let mut fixture = fixture(|limits| limits.connections = 200);
    let mut streams: Vec<TcpStream> = (0..200).map(|_| fixture.connect()).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&request(number, 0)).expect("written");
    }
    let mut seen: Vec<usize> = (0..200)
        .map(|_| {
            let text = String::from_utf8(fixture.message().1.to_vec()).expect("text");
            let id = text.split("Call-ID: ").nth(1).and_then(|rest| rest.split('\r').next()).expect("a Call-ID");
            id.parse().expect("a number")
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
    let mut refused = fixture.connect();
    assert!(rest(&mut refused).is_empty(), "one too many");
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    fixture.send(elsewhere.local_addr().expect("an address"), None, b"x");
    assert!(matches!(fixture.news(), News::ConnectFailed { .. }), "ours count too");
    drop(streams.pop());
    fixture.closed();
    let mut next = fixture.connect();
    next.write_all(&request(1, 0)).expect("written");
    fixture.message();
}

#[test]
fn names_are_looked_up_and_failures_told() {
    let mut fixture = fixture(|limits| {
        limits.lookup = Duration::from_millis(500);
        limits.lookups = 2;
        limits.lookups_waiting = 50;
    });
    let ask = |fixture: &mut Fixture, number: u64, host: &str| {
        let service = Service { transport: Transport::Udp, transport_named: false, port_named: true, sips: false };
        let request = Request::Resolve { id: ResolveId::from_u64(number), host: host.into(), port: 5070, service };
        assert!(fixture.streams.request(request), "asked");
    };
    ask(&mut fixture, 1, "localhost");
    ask(&mut fixture, 2, "127.0.0.5");
    ask(&mut fixture, 3, "no.such.host.invalid");
    ask(&mut fixture, 4, "localhost");
    let mut results = std::collections::BTreeMap::new();
    while results.len() < 4 {
        let News::Resolved { id, result } = fixture.news() else { panic!("other news") };
        results.insert(id.as_u64(), result);
    }
    let place = |text: &str| Place { transport: Transport::Udp, address: text.parse().expect("an address") };
    let local = place("127.0.0.1:5070");
    assert!(results[&1].as_ref().expect("found").contains(&local));
    assert_eq!(results[&1], results[&4]);
    assert_eq!(results[&2], Ok(vec![place("127.0.0.5:5070")]));
    assert!(results[&3].as_ref().expect_err("no such host").contains("no.such.host.invalid"));

    // Each is answered, found or refused, however many ask at once.
    for number in 0..500 {
        ask(&mut fixture, number, &format!("127.0.0.{}", number % 250));
    }
    for _ in 0..500 {
        assert!(matches!(fixture.news(), News::Resolved { .. }));
    }
}

#[test]
fn leaving_writes_what_is_queued() {
    let mut fixture = fixture(|_| ());
    let mut stream = fixture.connect();
    stream.write_all(&request(1, 0)).expect("written");
    let (flow, _) = fixture.message();
    fixture.send(flow.remote, flow.connection, b"good bye");
    assert!(fixture.streams.leave(PATIENCE));
    assert_eq!(rest(&mut stream), b"good bye");
}
