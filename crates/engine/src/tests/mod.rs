//! The engine driven directly, with peers that are engines too, or scripted where they have to do what ours never does.

mod accounts;
mod authentication;
mod bridges;
mod commands;
mod conference;
mod digits;
mod early;
mod flows;
mod forward;
mod glare;
mod hold;
mod incoming;
mod media;
mod messages;
mod options;
mod outgoing;
mod proxies;
mod reach;
mod reasons;
mod registrar;
mod seats;
mod stop;
mod stun;
mod subscriptions;
mod system;
mod threads;
mod transfer;
mod voice;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringback_media_api::Token;

use crate::api::{
    CallOptions, Command, Config, Decision, Error, Event, HeaderList, Interest, Origin, Reply, Session, SessionId,
    State,
};
use crate::fuzz::net::{Net, address};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Node 0 calls, node 1 is called.
pub(super) const A: usize = 0;
pub(super) const B: usize = 1;
pub(super) const C: usize = 2;

pub(super) fn config() -> Config {
    Config { origin: Origin::Ask, interest: Interest::ALL, ..Config::default() }
}

pub(super) fn pair() -> Net {
    with(config())
}

/// A pair whose called side has that configuration.
pub(super) fn with(called: Config) -> Net {
    let mut net = Net::default();
    net.add(config());
    net.add(called);
    net
}

pub(super) fn uri(node: usize) -> String {
    format!("sip:bob@{}", address(node))
}

pub(super) fn create(token: Token, to: &str) -> Command {
    Command::CreateCall {
        token,
        from: "\"Alice\" <sip:alice@example.com>".into(),
        to: to.into(),
        sdp: None,
        headers: Vec::new(),
        send: true,
        options: CallOptions::default(),
    }
}

/// A call from one node to an address.
pub(super) fn dial(net: &mut Net, node: usize, to: &str) -> Arc<Session> {
    match net.ask(node, |token| create(token, to)) {
        Some(Ok(Reply::Session(session))) => session,
        other => panic!("no call: {other:?}"),
    }
}

pub(super) fn accept() -> Decision {
    Decision::Accept { sdp: None, headers: Vec::new() }
}

pub(super) fn reject(status: u16, reason: &str) -> Decision {
    Decision::Reject { status, reason: reason.into(), headers: Vec::new() }
}

pub(super) fn forward(targets: &[&str]) -> Decision {
    Decision::Forward {
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        redirect: false,
        parallel: false,
        ring: 30 * SECOND,
    }
}

pub(super) fn decide(net: &mut Net, node: usize, session: &Session, decision: Decision) -> Result<(), Error> {
    let id = session.id;
    match net.ask(node, |token| Command::Decide { token, session: id, decision }) {
        Some(Ok(Reply::Unit)) => Ok(()),
        Some(Err(error)) => Err(error),
        other => panic!("a decision is answered at once: {other:?}"),
    }
}

/// A ringing call: the caller's session and the called one's.
pub(super) fn ringing(net: &mut Net) -> (Arc<Session>, Arc<Session>) {
    let caller = dial(net, A, &uri(B));
    let called = net.nodes[B].incoming().expect("it arrived");
    (caller, called)
}

/// An answered call.
pub(super) fn answered(net: &mut Net) -> (Arc<Session>, Arc<Session>) {
    let (caller, called) = ringing(net);
    decide(net, B, &called, accept()).expect("it is accepted");
    assert_eq!((caller.state(), called.state()), (State::Active, State::Active));
    (caller, called)
}

pub(super) fn hang_up(net: &mut Net, node: usize, session: &Session) {
    let id = session.id;
    let result = net.ask(node, |token| Command::Hangup { token, session: id, reason: None });
    assert!(matches!(result, Some(Ok(Reply::Unit))), "{result:?}");
}

pub(super) fn end_of(session: &Session) -> (State, String) {
    let end = session.end().expect("it has ended");
    (session.state(), end.reason.clone())
}

/// Events of one session by name, in order.
pub(super) fn story(net: &Net, node: usize, id: SessionId) -> Vec<String> {
    let tell = |event: &Event| {
        let (session, text) = match event {
            Event::Incoming(call) => (&call.session, "incoming".to_owned()),
            Event::IncomingOver { session } => (session, "over".to_owned()),
            Event::Progress { session, status, sdp } => {
                (session, format!("progress {status}{}", if sdp.is_some() { " sdp" } else { "" }))
            }
            Event::Established { session, .. } => (session, "established".to_owned()),
            Event::Ended { session } => (session, "ended".to_owned()),
            Event::StateChanged { session, new, .. } => (session, new.to_string()),
            Event::Dtmf { session, digit, .. } => (session, format!("digit {digit}")),
            Event::MediaQuality { session, .. } => (session, "quality".to_owned()),
            Event::MediaTimeout { session, .. } => (session, "silent".to_owned()),
            Event::VoiceActivity { session, speaking } => (session, format!("speaking {speaking}")),
            Event::TransferRequest { session, target } => (session, format!("transfer to {target}")),
            Event::Completed { .. }
            | Event::SubscribeRequest { .. }
            | Event::Notification { .. }
            | Event::SubscriptionOver { .. }
            | Event::Message(_)
            | Event::Password { .. }
            | Event::Store(_)
            | Event::Bridge { .. }
            | Event::Registration { .. } => return None,
        };
        (session.id == id).then_some(text)
    };
    net.nodes[node].events.iter().filter_map(tell).collect()
}

/// Messages that a node sent whose first line begins so.
pub(super) fn sent<'n>(net: &'n Net, node: usize, start: &str) -> Vec<&'n str> {
    net.nodes[node].sent.iter().map(String::as_str).filter(|message| message.starts_with(start)).collect()
}

pub(super) fn header<'m>(message: &'m str, name: &str) -> Option<&'m str> {
    message.lines().take_while(|line| !line.is_empty()).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub(super) fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

pub(super) fn no_headers() -> HeaderList {
    Vec::new()
}

/// An offer or answer of a peer outside.
pub(super) fn sdp(port: u16, version: u32, direction: &str) -> String {
    format!(
        "v=0\r\no=peer 5 {version} IN IP4 10.9.0.1\r\ns=-\r\nc=IN IP4 10.9.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 8 101\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na={direction}\r\n"
    )
}

/// A peer whose every message is written by the test.
pub(super) struct Phone {
    pub(super) address: SocketAddr,
    node: usize,
    call_id: String,
    own: String,
    theirs: String,
    target: String,
    cseq: u32,
    branch: u32,
}

impl Phone {
    /// A phone that will call a node.
    pub(super) fn new(node: usize) -> Phone {
        Phone {
            address: SocketAddr::from(([10, 9, 0, 1], 5060)),
            node,
            call_id: "phone-1".into(),
            own: "<sip:phone@10.9.0.1>;tag=own".into(),
            theirs: format!("<{}>", uri(node)),
            target: uri(node),
            cseq: 0,
            branch: 0,
        }
    }

    fn send(&mut self, net: &mut Net, start: &str, cseq: &str, headers: &str, body: &str, content_type: &str) {
        let content = if body.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
        let message = format!(
            "{start}\r\nVia: SIP/2.0/UDP 10.9.0.1:5060;branch=z9hG4bK{}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {cseq}\r\nContact: <sip:phone@10.9.0.1:5060>\r\n{headers}{content}Content-Length: {}\r\n\r\n{body}",
            self.branch,
            self.own,
            self.theirs,
            self.call_id,
            body.len()
        );
        net.inject(self.node, self.address, &message);
    }

    /// A request of the dialog, or the INVITE that makes one.
    pub(super) fn request(&mut self, net: &mut Net, method: &str, headers: &str, body: &str, content_type: &str) {
        self.cseq += 1;
        self.branch += 1;
        let (start, cseq) = (format!("{method} {} SIP/2.0", self.target), format!("{} {method}", self.cseq));
        self.send(net, &start, &cseq, headers, body, content_type);
    }

    pub(super) fn invite(&mut self, net: &mut Net, headers: &str, body: &str) {
        self.request(net, "INVITE", headers, body, "application/sdp");
    }

    /// The ACK of a 2xx.
    pub(super) fn ack(&mut self, net: &mut Net, body: &str) {
        self.branch += 1;
        let (start, cseq) = (format!("ACK {} SIP/2.0", self.target), format!("{} ACK", self.cseq));
        self.send(net, &start, &cseq, "", body, "application/sdp");
    }

    /// The next message that came for the phone and begins so; those before it are dropped.
    pub(super) fn receive(&mut self, net: &mut Net, start: &str) -> String {
        while let Some((to, message)) = net.outside.pop_front() {
            if to != self.address || !message.starts_with(start) {
                continue;
            }
            if message.starts_with("SIP/2.0") {
                self.theirs = header(&message, "To").expect("a To").to_owned();
            } else if header(&message, "Call-ID") != Some(&self.call_id) {
                // A call of the node's own begins.
                self.call_id = header(&message, "Call-ID").expect("a Call-ID").to_owned();
                self.theirs = header(&message, "From").expect("a From").to_owned();
                self.own = format!("{};tag=phone", header(&message, "To").expect("a To"));
            }
            if let Some(contact) = header(&message, "Contact") {
                self.target = contact.trim_matches(['<', '>']).split('>').next().unwrap_or_default().to_owned();
            }
            return message;
        }
        panic!("nothing came that begins with {start:?}");
    }

    /// Nothing (more) came that begins so.
    pub(super) fn nothing(&self, net: &Net, start: &str) -> bool {
        !net.outside.iter().any(|(to, message)| *to == self.address && message.starts_with(start))
    }

    /// A response to a request that came.
    pub(super) fn reply(&mut self, net: &mut Net, request: &str, status: &str, headers: &str, body: &str) {
        let via: String =
            request.lines().filter(|line| line.starts_with("Via:")).map(|line| format!("{line}\r\n")).collect();
        let from = header(request, "From").expect("a From");
        let to = header(request, "To").expect("a To");
        let tag = if to.contains("tag=") { "" } else { ";tag=phone" };
        let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let message = format!(
            "SIP/2.0 {status}\r\n{via}From: {from}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:phone@10.9.0.1:5060>\r\n{headers}{content}Content-Length: {}\r\n\r\n{body}",
            header(request, "Call-ID").expect("a Call-ID"),
            header(request, "CSeq").expect("a CSeq"),
            body.len()
        );
        net.inject(self.node, self.address, &message);
    }
}

/// A call from the phone to node B, answered.
pub(super) fn phone_calls(net: &mut Net) -> (Phone, Arc<Session>) {
    let mut phone = Phone::new(B);
    phone.invite(net, "", &sdp(4000, 1, "sendrecv"));
    let session = net.nodes[B].incoming().expect("it arrived");
    decide(net, B, &session, accept()).expect("it is accepted");
    phone.receive(net, "SIP/2.0 200");
    phone.ack(net, "");
    (phone, session)
}
