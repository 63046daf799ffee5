//! What the tests share: the caller's and the called side's moves.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;
use ringback_sip::{NameAddr, StatusCode, Uri};
use ringback_time::{Mono, Now, Wall};
use ringback_ua::fuzz::pair::Pair;
use ringback_ua::{
    Body, CallKey, Config, ConnectionId, Event, Flow, Invite, Live, Output, Reply, ResolveId, Routes, Transmit,
    Transport, Ua,
};

pub(crate) fn invite(pair: &mut Pair, side: usize, body: Option<&'static str>) -> CallKey {
    let uri = format!("sip:bob@{}", pair.ends[1 - side].address);
    invite_to(pair, side, &uri, body)
}

pub(crate) fn invite_to(pair: &mut Pair, side: usize, uri: &str, body: Option<&'static str>) -> CallKey {
    let from = format!("<sip:alice@{}>", pair.ends[side].address);
    pair.with(side, |ua, now| {
        let call_id = ua.new_call_id();
        let invite = Invite {
            from: NameAddr::parse(&from).unwrap(),
            to: NameAddr::parse(&format!("<{uri}>")).unwrap(),
            request_uri: Uri::parse(uri).unwrap(),
            call_id,
            headers: Vec::new(),
            body: body.map(Body::sdp),
            max_forwards: 70,
            contact: None,
            flow: None,
            credentials: None,
            redirects: 0,
        };
        ua.invite(now, invite).unwrap()
    })
}

pub(crate) fn incoming(pair: &mut Pair, side: usize) -> CallKey {
    pair.run(Duration::from_millis(50));
    let events = pair.take_events(side);
    match &events[..] {
        [Event::Invite { call, .. }] => *call,
        other => panic!("{other:?}"),
    }
}

pub(crate) const SDP: &str = "v=0\r\n";
pub(crate) const HERE: &str = "192.0.2.1:5060";
pub(crate) const PEER: &str = "192.0.2.2:5070";

struct Here;

impl Routes for Here {
    fn local_address(&mut self, _: Transport, _: SocketAddr) -> Option<SocketAddr> {
        HERE.parse().ok()
    }

    fn leaves_by(&mut self, local: SocketAddr, _: SocketAddr) -> bool {
        local.ip() == HERE.parse::<SocketAddr>().unwrap().ip()
    }
}

/// One user agent, and the test as its peer.
pub(crate) struct Solo {
    pub(crate) ua: Ua,
    pub(crate) now: Now,
    pub(crate) sent: Vec<(Duration, Transmit)>,
    pub(crate) events: Vec<Event>,
    pub(crate) lookups: Vec<(ResolveId, String, u16)>,
}

impl Solo {
    pub(crate) fn new() -> Solo {
        Solo::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Solo {
        let ua = Ua::new(config, Box::new(Here), ChaCha12Rng::seed_from_u64(5));
        let now = Now { mono: Mono::ZERO, wall: Wall::from_unix_nanos(0) };
        Solo { ua, now, sent: Vec::new(), events: Vec::new(), lookups: Vec::new() }
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.ua.poll_output() {
            match output {
                Output::Transmit(transmit) => self.sent.push((self.now.mono.since(Mono::ZERO), transmit)),
                Output::Event(event) => self.events.push(event),
                Output::Resolve { id, host, port, .. } => self.lookups.push((id, host, port)),
            }
        }
    }

    pub(crate) fn call<T>(&mut self, command: impl FnOnce(&mut Ua, Now) -> T) -> T {
        let result = command(&mut self.ua, self.now);
        self.drain();
        result
    }

    /// A datagram of the peer.
    pub(crate) fn receive(&mut self, text: &str) {
        self.receive_by(Transport::Udp, None, text);
    }

    pub(crate) fn receive_by(&mut self, transport: Transport, connection: Option<u64>, text: &str) {
        let (local, remote) = (HERE.parse().unwrap(), PEER.parse().unwrap());
        let flow = Flow { transport, local, remote, connection: connection.map(ConnectionId) };
        self.receive_on(flow, text);
    }

    pub(crate) fn receive_on(&mut self, flow: Flow, text: &str) {
        let bytes = Bytes::from(text.to_owned());
        self.call(|ua, now| ua.handle_message(now, flow, bytes));
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn wait(&mut self, length: Duration) {
        let until = self.now.mono + length;
        for _ in 0..100_000 {
            match self.ua.poll_timeout().filter(|deadline| *deadline <= until) {
                Some(deadline) => {
                    self.now = self.now + deadline.since(self.now.mono);
                    self.call(|ua, now| ua.handle_timeout(now));
                }
                None => {
                    self.now = self.now + until.since(self.now.mono);
                    return;
                }
            }
        }
        panic!("livelock");
    }

    /// What was sent since the last time, as text.
    pub(crate) fn texts(&mut self) -> Vec<String> {
        self.sent.drain(..).map(|(_, sent)| String::from_utf8(sent.bytes.to_vec()).unwrap()).collect()
    }

    /// The first lines of what was sent since the last time.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.texts().iter().map(|text| text.lines().next().unwrap_or_default().to_owned()).collect()
    }

    /// When something was sent since the last time, in seconds.
    pub(crate) fn times(&mut self) -> Vec<f64> {
        self.sent.drain(..).map(|(at, _)| at.as_secs_f64()).collect()
    }

    pub(crate) fn only_text(&mut self) -> String {
        let mut texts = self.texts();
        assert_eq!(texts.len(), 1, "{texts:?}");
        texts.remove(0)
    }

    pub(crate) fn event(&mut self) -> Event {
        assert!(!self.events.is_empty(), "no event");
        self.events.remove(0)
    }

    pub(crate) fn assert_nothing_left(&mut self) {
        self.wait(Duration::from_secs(200));
        assert_eq!(self.ua.stats().live, Live::default());
    }

    /// An INVITE of the peer, as an event.
    pub(crate) fn incoming(&mut self) -> CallKey {
        self.receive(&request("INVITE", 1, "", &[], SDP));
        match self.event() {
            Event::Invite { call, .. } => call,
            other => panic!("{other:?}"),
        }
    }

    /// Another call of the peer.
    pub(crate) fn incoming_again(&mut self) -> CallKey {
        let n = self.ua.stats().requests_received;
        let invite = request_with("INVITE", 1, "", &format!("z9hG4bK-again-{n}"), &[], SDP);
        self.receive(&invite.replace("Call-ID: theirs", &format!("Call-ID: {n}")));
        match self.event() {
            Event::Invite { call, .. } => call,
            other => panic!("{other:?}"),
        }
    }

    /// A call of the peer, answered and ACKed; our tag.
    pub(crate) fn established(&mut self) -> (CallKey, String) {
        let call = self.incoming();
        self.call(|ua, now| ua.respond(now, call, Reply::with_body(StatusCode::OK, Body::sdp(SDP))).unwrap());
        let tag = to_tag(&self.only_text());
        self.receive(&request("ACK", 1, &tag, &[], ""));
        assert!(matches!(self.event(), Event::Acked { .. }));
        (call, tag)
    }

    /// A call of ours, without an answer; the INVITE.
    pub(crate) fn calling(&mut self, uri: &str, body: Option<&'static str>) -> (CallKey, String) {
        let call = self.place(uri, body);
        (call, self.only_text())
    }

    /// The same after whatever was sent before.
    pub(crate) fn calling_by_anything(&mut self, uri: &str) -> (CallKey, String) {
        self.sent.clear();
        self.calling(uri, Some(SDP))
    }

    pub(crate) fn place(&mut self, uri: &str, body: Option<&'static str>) -> CallKey {
        self.place_with(uri, body, Vec::new())
    }

    pub(crate) fn place_with(
        &mut self,
        uri: &str,
        body: Option<&'static str>,
        headers: Vec<(String, String)>,
    ) -> CallKey {
        let invite = Invite {
            from: NameAddr::parse("<sip:alice@192.0.2.1>").unwrap(),
            to: NameAddr::parse(&format!("<{uri}>")).unwrap(),
            request_uri: Uri::parse(uri).unwrap(),
            call_id: "ours@192.0.2.1".into(),
            headers,
            body: body.map(Body::sdp),
            max_forwards: 70,
            contact: None,
            flow: None,
            credentials: None,
            redirects: 0,
        };
        self.call(|ua, now| ua.invite(now, invite).unwrap())
    }

    /// A call of ours that `respond`s as the peer would, up to the ACK.
    pub(crate) fn called(&mut self, uri: &str) -> (CallKey, String) {
        let (call, invite) = self.calling(uri, Some(SDP));
        self.receive(&response(&invite, "200 OK", "peer", &["Contact: <sip:bob@192.0.2.2:5070>"], SDP));
        assert!(matches!(self.event(), Event::Answered { .. }));
        self.call(|ua, now| ua.ack(now, call, None));
        self.texts();
        (call, invite)
    }
}

/// A request of the peer. The branch is made of method and number.
pub(crate) fn request(method: &str, cseq: u32, to_tag: &str, headers: &[&str], body: &str) -> String {
    let branch = format!("z9hG4bK-{}-{cseq}", if method == "CANCEL" { "INVITE" } else { method });
    request_with(method, cseq, to_tag, &branch, headers, body)
}

/// The ACK to a refusal: it has the INVITE's branch.
pub(crate) fn refusal_ack(cseq: u32, to_tag: &str) -> String {
    request_with("ACK", cseq, to_tag, &format!("z9hG4bK-INVITE-{cseq}"), &[], "")
}

pub(crate) fn request_with(
    method: &str,
    cseq: u32,
    to_tag: &str,
    branch: &str,
    headers: &[&str],
    body: &str,
) -> String {
    let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    let mut text = format!(
        "{method} sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5070;branch={branch}\r\n\
         From: \"P\" <sip:peer@192.0.2.2>;tag=peer\r\nTo: <sip:bob@192.0.2.1>{to_tag}\r\nCall-ID: theirs@192.0.2.2\r\n\
         CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n"
    );
    let has = |name: &str| headers.iter().any(|header| header.starts_with(name));
    if matches!(method, "INVITE") && !has("Contact") {
        text += "Contact: <sip:peer@192.0.2.2:5070>\r\n";
    }
    if !body.is_empty() && !has("Content-Type") {
        text += "Content-Type: application/sdp\r\n";
    }
    for header in headers {
        text += &format!("{header}\r\n");
    }
    text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The peer's response to a request of ours.
pub(crate) fn response(request: &str, status: &str, tag: &str, headers: &[&str], body: &str) -> String {
    let to = header(request, "To");
    let tag = if to.contains(";tag=") || tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    let mut text = format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n",
        header(request, "Via"),
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq")
    );
    for header in headers {
        text += &format!("{header}\r\n");
    }
    if !body.is_empty() {
        text += "Content-Type: application/sdp\r\n";
    }
    text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

pub(crate) fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let found = message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {name} in {message}"))
}

pub(crate) fn has_header(message: &str, name: &str) -> bool {
    message.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
}

pub(crate) fn to_tag(message: &str) -> String {
    header(message, "To").rsplit_once(";tag=").map(|(_, tag)| tag.to_owned()).unwrap_or_default()
}
