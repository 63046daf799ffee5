//! A telephone made of plain sockets, and a system to call. Everything waits for a condition with a deadline; nothing sleeps.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::expect_used, clippy::panic, reason = "only tests use it")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use ringback_engine::api::{Config, Event, Interest, Origin};
use ringback_net::{Listen, Notice, Settings, System};
use ringback_ua::Transport;

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub fn listen(transport: Transport) -> Listen {
    Listen::new(transport, SocketAddr::new(LOCALHOST, 0))
}

/// Answers every call by itself, on free ports.
pub fn settings(media_ports: (u16, u16)) -> Settings {
    let engine = Config { origin: Origin::Accept, interest: Interest::ALL, ..Config::default() };
    let listen = vec![listen(Transport::Udp), listen(Transport::Tcp)];
    Settings {
        engine,
        listen,
        media_ports,
        media_threads: 1,
        cpu_latency: None,
        binding_store: None,
        nat: Default::default(),
        nameserver: None,
    }
}

pub fn running(settings: Settings) -> System {
    let system = System::bind(settings).expect("bound");
    system.start().expect("started");
    system
}

pub fn address(system: &System) -> SocketAddr {
    system.addresses()[0].1
}

/// A range of `pairs` pairs of ports that nobody has now. Each call gives another.
pub fn free_ports(pairs: u16) -> (u16, u16) {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let offset = u32::from(NEXT.fetch_add(pairs * 2 + 2, Ordering::Relaxed)) + std::process::id() * 97;
        let low = 16_000 + (offset % 15_000) as u16 / 2 * 2;
        let high = low + pairs * 2 - 1;
        if (low..=high).all(|port| UdpSocket::bind((LOCALHOST, port)).is_ok()) {
            return (low, high);
        }
    }
}

/// Drains the queue until `found` says what was waited for.
pub fn wait_for<T>(system: &System, mut found: impl FnMut(Notice) -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    let mut notices = Vec::new();
    loop {
        // One at a time, so that what follows is left for the next who waits.
        while {
            system.queue().drain(&mut notices, 1);
            !notices.is_empty()
        } {
            if let Some(found) = notices.pop().and_then(&mut found) {
                return found;
            }
        }
        assert!(Instant::now() < end, "it did not come");
        std::thread::yield_now();
    }
}

pub fn wait_for_event<T>(system: &System, mut found: impl FnMut(Event) -> Option<T>) -> T {
    wait_for(system, |notice| match notice {
        Notice::Event(event) => found(event),
        _ => None,
    })
}

pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

/// How messages travel between the telephone and the system.
pub enum Line {
    Udp(UdpSocket, SocketAddr),
    Tcp(TcpStream, Vec<u8>),
}

/// One telephone with one call at a time.
pub struct Phone {
    line: Line,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    call_id: String,
    to: String,
    cseq: u32,
    /// Where the last datagram came from.
    from: Option<SocketAddr>,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub text: String,
}

impl Response {
    pub fn header(&self, name: &str) -> &str {
        let line = self.text.lines().find(|line| line.to_ascii_lowercase().starts_with(&name.to_ascii_lowercase()));
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
    }

    /// Where the system wants RTP.
    pub fn media(&self) -> SocketAddr {
        let host = self.text.lines().find_map(|line| line.strip_prefix("c=IN IP4 ")).expect("a c= line");
        let port = self.text.lines().find_map(|line| line.strip_prefix("m=audio ")).expect("an m= line");
        let port = port.split(' ').next().expect("a port").parse().expect("a port");
        SocketAddr::new(host.parse().expect("an address"), port)
    }
}

impl Phone {
    pub fn udp(remote: SocketAddr) -> Phone {
        let host = if remote.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { LOCALHOST };
        let socket = UdpSocket::bind((host, 0)).expect("bound");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        let local = socket.local_addr().expect("an address");
        Phone::new(Line::Udp(socket, remote), local, remote)
    }

    pub fn tcp(remote: SocketAddr) -> Phone {
        let stream = TcpStream::connect(remote).expect("connected");
        stream.set_nodelay(true).expect("set");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let local = stream.local_addr().expect("an address");
        Phone::new(Line::Tcp(stream, Vec::new()), local, remote)
    }

    fn new(line: Line, local: SocketAddr, remote: SocketAddr) -> Phone {
        let socket = || {
            let socket = UdpSocket::bind((LOCALHOST, 0)).expect("bound");
            socket.set_read_timeout(Some(PATIENCE)).expect("set");
            socket
        };
        let call_id = format!("{:x}@test", ringback_net::random_u128());
        let to = format!("<sip:anyone@{remote}>");
        Phone { line, local, remote, rtp: socket(), rtcp: socket(), call_id, to, cseq: 0, from: None }
    }

    fn transport(&self) -> &'static str {
        match self.line {
            Line::Udp(..) => "UDP",
            Line::Tcp(..) => "TCP",
        }
    }

    fn write(&mut self, text: &str) {
        match &mut self.line {
            Line::Udp(socket, remote) => drop(socket.send_to(text.as_bytes(), *remote).expect("sent")),
            Line::Tcp(stream, _) => stream.write_all(text.as_bytes()).expect("written"),
        }
    }

    fn read(&mut self) -> String {
        match &mut self.line {
            Line::Udp(socket, _) => {
                let mut buffer = vec![0; 65_536];
                let (count, from) = socket.recv_from(&mut buffer).expect("a datagram");
                self.from = Some(from);
                String::from_utf8(buffer[..count].to_vec()).expect("text")
            }
            Line::Tcp(stream, buffer) => loop {
                if let Some(message) = cut(buffer) {
                    return message;
                }
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).expect("bytes");
                assert!(count > 0, "closed");
                buffer.extend_from_slice(&piece[..count]);
            },
        }
    }

    pub fn request(&mut self, method: &str, body: &str) {
        if method != "ACK" {
            self.cseq += 1;
        }
        let (local, remote, transport) = (self.local, self.remote, self.transport());
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let param = if transport == "TCP" { ";transport=tcp" } else { "" };
        let text = format!(
            "{method} sip:anyone@{remote} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch=z9hG4bK{:x}\r\n\
             From: <sip:tester@{local}>;tag=tester\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\nMax-Forwards: 70\r\n\
             Contact: <sip:tester@{local}{param}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            ringback_net::random_u128(),
            self.to,
            self.call_id,
            self.cseq,
            body.len(),
        );
        self.write(&text);
    }

    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    pub fn answered_from(&self) -> Option<SocketAddr> {
        self.from
    }

    /// The next request of the system.
    pub fn read_request(&mut self) -> String {
        loop {
            let text = self.read();
            if !text.starts_with("SIP/2.0 ") {
                return text;
            }
        }
    }

    /// The next final response.
    pub fn response(&mut self) -> Response {
        loop {
            let text = self.read();
            let status: u16 = text
                .strip_prefix("SIP/2.0 ")
                .and_then(|rest| rest.get(..3))
                .and_then(|status| status.parse().ok())
                .unwrap_or(0);
            if status >= 200 {
                return Response { status, text };
            }
        }
    }

    pub fn offer(&self) -> String {
        let port = self.rtp.local_addr().expect("an address").port();
        let rtcp = self.rtcp.local_addr().expect("an address").port();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtcp:{rtcp}\r\n"
        )
    }

    /// Calls and acknowledges; the final response.
    pub fn call(&mut self) -> Response {
        let offer = self.offer();
        self.request("INVITE", &offer);
        let response = self.response();
        if (200..300).contains(&response.status) {
            self.to = response.header("To").to_owned();
            self.request("ACK", "");
        }
        response
    }

    pub fn hang_up(&mut self) {
        self.request("BYE", "");
        loop {
            let response = self.response();
            if response.header("CSeq").ends_with("BYE") {
                assert_eq!(response.status, 200, "{}", response.text);
                return;
            }
        }
    }

    pub fn send_rtp(&self, to: SocketAddr, sequence: u16, fill: u8) {
        let mut packet = vec![0x80, 0];
        packet.extend(sequence.to_be_bytes());
        packet.extend((u32::from(sequence) * 160).to_be_bytes());
        packet.extend(0x1234_5678_u32.to_be_bytes());
        packet.extend([fill; 160]);
        self.rtp.send_to(&packet, to).expect("sent");
    }

    /// The payload of the next RTP packet and where it came from.
    pub fn receive_rtp(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 2048];
        loop {
            match self.rtp.recv_from(&mut buffer) {
                Ok((count, from)) if count > 12 && buffer[0] >> 6 == 2 => return (buffer[12..count].to_vec(), from),
                Ok(_) => {}
                // An ICMP error that came back.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => panic!("no RTP: {error}"),
            }
        }
    }
}

/// One whole message off the front.
fn cut(buffer: &mut Vec<u8>) -> Option<String> {
    let text = String::from_utf8_lossy(buffer).into_owned();
    let head = text.find("\r\n\r\n")? + 4;
    let length = text[..head]
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
    let total = head + length.map_or(0, |length| length.trim().parse::<usize>().expect("a length"));
    (buffer.len() >= total).then(|| String::from_utf8(buffer.drain(..total).collect()).expect("text"))
}
