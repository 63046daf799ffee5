//! STUN on the SIP socket, flows over UDP, and what a NAT makes of our address (RFC 5626 §4.4.2, §8, RFC 3581).

use ringback_time::Mono;

use super::accounts::{account, register};
use super::*;
use crate::api::{AccountConfig, Registration, RegistrationState};
use crate::fuzz::net::SECOND_PORT;

const EDGE: &str = "192.0.2.1:5060";
const STUN: &str = "192.0.2.3:3478";
const AOR: &str = "sip:alice@192.0.2.1";

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// An edge, or a STUN server: node A is behind a NAT that takes this address for it.
struct Edge {
    address: SocketAddr,
    mapped: SocketAddr,
}

impl Edge {
    fn new(address: &str) -> Edge {
        Edge { address: at(address), mapped: at("203.0.113.7:40000") }
    }

    fn register(&self, net: &mut Net) -> Arc<Registration> {
        register(net, 7, AccountConfig { aor: AOR.into(), ..account() })
    }

    /// The next request that came here; retransmissions of it are gone.
    fn receive(&self, net: &mut Net, start: &str) -> String {
        self.receive_if_any(net, start).unwrap_or_else(|| panic!("no {start}: {:?}", net.outside))
    }

    fn receive_if_any(&self, net: &mut Net, start: &str) -> Option<String> {
        let found = net.outside.iter().position(|(to, text)| *to == self.address && text.starts_with(start));
        let found = found.and_then(|place| net.outside.remove(place)).map(|(_, text)| text)?;
        net.outside.retain(|(_, text)| header(text, "CSeq") != header(&found, "CSeq"));
        Some(found)
    }

    /// Answers with where the request came from, as RFC 3581 has it.
    fn reply(&self, net: &mut Net, request: &str, status: &str, more: &str, body: &str) {
        let seen = format!(";received={};rport={}", self.mapped.ip(), self.mapped.port());
        let via = header(request, "Via").expect("a Via").replace(";rport", &seen);
        let field = |name| header(request, name).expect("a header field");
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {via}\r\nFrom: {}\r\nTo: {};tag=edge\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}Content-Length: {}\r\n\r\n{body}",
            field("From"),
            field("To"),
            field("Call-ID"),
            field("CSeq"),
            body.len()
        );
        net.inject(A, self.address, &text);
    }

    /// Bound for ten minutes.
    fn grant(&self, net: &mut Net, request: &str, more: &str) {
        let contact = header(request, "Contact").expect("a Contact");
        // What is taken back is not bound.
        let contact = contact.split(", <").next().unwrap_or_default();
        self.reply(net, request, "200 OK", &format!("Contact: {contact};expires=600\r\n{more}"), "");
    }

    /// What else has come: when, and whether it is STUN.
    fn datagrams(&self, net: &mut Net) -> Vec<(Mono, Vec<u8>)> {
        let (came, rest) = net.datagrams.drain(..).partition::<Vec<_>, _>(|(_, to, _)| *to == self.address);
        net.datagrams = rest.into();
        came.into_iter().map(|(at, _, bytes)| (at, bytes.to_vec())).collect()
    }

    /// Answers the latest Binding request.
    fn answer(&self, net: &mut Net) {
        let came = self.datagrams(net);
        let (_, request) = came.last().expect("a request");
        let answer = ringback_nat::answer(request, self.mapped).expect("an answer");
        net.inject_datagram(A, self.address, &answer);
    }
}

const OUTBOUND: &str = "Require: outbound\r\nSupported: outbound\r\n";
const CRLF: &[u8] = b"\r\n\r\n";

fn node(stun: bool) -> Net {
    let mut net = Net::default();
    net.add(Config { stun: stun.then(|| at(STUN)), ..config() });
    net
}

/// A flow that was registered and whose first Binding request has been answered.
fn flow() -> (Net, Edge, Arc<Registration>) {
    let (mut net, edge) = (node(false), Edge::new(EDGE));
    let registration = edge.register(&mut net);
    let register = edge.receive(&mut net, "REGISTER");
    assert!(header(&register, "Contact").is_some_and(|contact| contact.contains(";reg-id=1")), "{register}");
    edge.grant(&mut net, &register, OUTBOUND);
    assert_eq!(registration.state(), RegistrationState::Registered);
    edge.answer(&mut net);
    (net, edge, registration)
}

// ---- answering

#[test]
fn a_binding_request_is_answered_with_where_it_came_from() {
    let mut net = node(false);
    let phone = Edge::new("198.51.100.9:5062");
    let mut request = Vec::new();
    let mut probe = ringback_nat::Probe::new(net.now.mono, at("10.0.0.2:5062"), address(A), 5, |bytes| request = bytes);
    net.inject_datagram(A, phone.address, &request);
    let came = phone.datagrams(&mut net);
    assert_eq!(came.len(), 1);
    assert!(came[0].1.len() < 3 * request.len(), "no amplification");
    probe.handle(net.now.mono, address(A), &came[0].1);
    assert_eq!(probe.outcome(), Some(ringback_nat::Asked::Mapped(phone.address)));
    // What answers nothing, or is none of it, gets nothing.
    net.inject_datagram(A, phone.address, &came[0].1.clone());
    net.inject_datagram(A, phone.address, &request[..19]);
    assert!(phone.datagrams(&mut net).is_empty());
    let counted = |net: &Net| {
        let counters = net.nodes[A].engine.counters();
        [counters.stun_answered, counters.stun_limited, counters.stun_dropped]
    };
    assert_eq!(counted(&net)[..2], [1, 0]);
    assert_eq!(counted(&net)[2] + net.nodes[A].engine.ua_counters().parse_errors, 2, "each is counted once");
    // A flood is answered as far as it goes, and does not keep others from being answered.
    for _ in 0..3000 {
        net.inject_datagram(A, phone.address, &request);
    }
    let answered = phone.datagrams(&mut net).len();
    assert!((500..=1000).contains(&answered), "{answered}");
    assert_eq!(counted(&net)[..2], [1 + answered as u64, 3000 - answered as u64]);
    let other = Edge::new("198.51.100.10:5062");
    net.inject_datagram(A, other.address, &request);
    assert_eq!(other.datagrams(&mut net).len(), 1);
    net.advance(SECOND);
    net.inject_datagram(A, phone.address, &request);
    assert_eq!(phone.datagrams(&mut net).len(), 1, "it was not for ever");
}

// ---- flows

/// RFC 5626 §4.3: what goes by a flow leaves from its own end, whatever the route prefers by then.
#[test]
fn a_flow_keeps_to_the_socket_that_it_was_opened_by() {
    let (mut net, edge, _registration) = flow();
    *net.nodes[A].preferred.lock() = SocketAddr::new(address(A).ip(), SECOND_PORT);
    net.command(A, |token| Command::CreateCall {
        token,
        from: AOR.into(),
        to: "sip:bob@elsewhere.example".into(),
        sdp: None,
        headers: Vec::new(),
        send: true,
        options: Default::default(),
    });
    net.command(A, |token| Command::Unregister { token, id: 7 });
    for start in ["INVITE", "REGISTER"] {
        let node = &net.nodes[A];
        let place = node.sent.iter().rposition(|text| text.starts_with(start)).expect("it was sent");
        assert_eq!(node.ways[place], (Some(address(A)), edge.address), "{}", node.sent[place]);
        assert!(header(&node.sent[place], "Via").is_some_and(|via| via.contains(" 10.0.0.1:5060;")));
    }
}

#[test]
fn a_flow_is_kept_alive_on_its_own_socket() {
    let (mut net, edge, registration) = flow();
    for _ in 0..8 {
        let before = net.now.mono;
        net.advance(29 * SECOND);
        let came = edge.datagrams(&mut net);
        let (first, request) = &came[0];
        let after = first.since(before);
        // The answer takes no time here: this long since the last one.
        assert!((Duration::from_secs(19)..=29 * SECOND).contains(&after), "{after:?}");
        assert!(ringback_nat::is_stun(request));
        // Whatever was repeated meanwhile is the same request.
        assert!(came.iter().all(|(_, other)| other == request));
        let answer = ringback_nat::answer(request, edge.mapped).expect("an answer");
        net.inject_datagram(A, edge.address, &answer);
    }
    assert_eq!(registration.state(), RegistrationState::Registered);
    assert!(edge.receive_if_any(&mut net, "REGISTER").is_none());
    // RFC 5626 §4.3: calls go by it, and say so.
    let call = dial_from(&mut net, AOR, "sip:bob@198.51.100.1");
    let invite = edge.receive(&mut net, "INVITE sip:bob@198.51.100.1 ");
    assert!(header(&invite, "Contact").is_some_and(|contact| contact.contains(";ob>")), "{invite}");
    drop(call);
}

fn dial_from(net: &mut Net, from: &str, to: &str) -> Arc<Session> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let create = |token| Command::CreateCall {
        token,
        from,
        to,
        sdp: None,
        headers: no_headers(),
        send: true,
        options: CallOptions::default(),
    };
    match net.ask(A, create) {
        Some(Ok(Reply::Session(session))) => session,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flow_that_falls_silent_is_registered_anew() {
    let (mut net, edge, registration) = flow();
    net.advance(29 * SECOND + Duration::from_millis(19_400));
    let came = edge.datagrams(&mut net);
    assert_eq!(came.len(), 7, "RFC 8489 §6.2.1");
    net.advance(2 * SECOND);
    assert_eq!(registration.state(), RegistrationState::Registering);
    let again = edge.receive(&mut net, "REGISTER");
    assert!(header(&again, "Contact").is_some_and(|contact| contact.contains(";reg-id=1")), "{again}");
    edge.grant(&mut net, &again, OUTBOUND);
    assert_eq!(registration.state(), RegistrationState::Registered);
    edge.answer(&mut net);
}

/// One of seven that comes through, and its answer, is enough.
#[test]
fn requests_that_are_lost_do_not_end_a_flow() {
    let (mut net, edge, registration) = flow();
    for _ in 0..300 {
        net.advance(SECOND / 10);
        if !net.datagrams.is_empty() {
            break;
        }
    }
    // The last of seven comes after 15.5 s.
    net.advance(Duration::from_millis(15_600));
    assert_eq!(net.datagrams.len(), 7);
    edge.answer(&mut net);
    net.advance(5 * SECOND);
    assert_eq!(registration.state(), RegistrationState::Registered);
    assert!(edge.receive_if_any(&mut net, "REGISTER").is_none());
}

#[test]
fn a_mapping_that_changes_is_registered_at_once() {
    let (mut net, mut edge, registration) = flow();
    net.advance(29 * SECOND);
    edge.mapped = at("203.0.113.7:40777");
    edge.answer(&mut net);
    let again = edge.receive(&mut net, "REGISTER");
    edge.grant(&mut net, &again, OUTBOUND);
    assert_eq!(registration.state(), RegistrationState::Registered);
    // That one is the mapping that must not change from now on.
    edge.answer(&mut net);
    net.advance(29 * SECOND);
    edge.answer(&mut net);
    assert!(edge.receive_if_any(&mut net, "REGISTER").is_none());
}

/// An edge that knows no STUN: it is not waited for, and the NAT is kept open.
#[test]
fn an_edge_without_stun_loses_no_flow() {
    for refuses in [false, true] {
        let (mut net, edge) = (node(false), Edge::new(EDGE));
        let registration = edge.register(&mut net);
        let register = edge.receive(&mut net, "REGISTER");
        edge.grant(&mut net, &register, OUTBOUND);
        if refuses {
            let (_, request) = edge.datagrams(&mut net).pop().expect("a request");
            // 500.
            let refusal = [&[1, 0x11, 0, 8][..], &request[4..20], &[0, 9, 0, 4, 0, 0, 5, 0]].concat();
            net.inject_datagram(A, edge.address, &refusal);
        } else {
            net.advance(20 * SECOND);
            assert_eq!(edge.datagrams(&mut net).len(), 7);
        }
        net.advance(120 * SECOND);
        let came = edge.datagrams(&mut net);
        assert!(came.iter().all(|(_, bytes)| bytes == CRLF) && (4..=5).contains(&came.len()), "{came:?}");
        assert_eq!(registration.state(), RegistrationState::Registered);
        assert!(edge.receive_if_any(&mut net, "REGISTER").is_none());
    }
}

/// RFC 5626 §4.4.1.
#[test]
fn an_edge_says_how_often_it_wants_to_hear_from_a_flow() {
    let (mut net, edge) = (node(false), Edge::new(EDGE));
    edge.register(&mut net);
    let register = edge.receive(&mut net, "REGISTER");
    edge.grant(&mut net, &register, &format!("{OUTBOUND}Flow-Timer: 10\r\n"));
    for _ in 0..5 {
        edge.answer(&mut net);
        net.advance(8 * SECOND - Duration::from_millis(1));
        assert!(edge.datagrams(&mut net).is_empty());
        net.advance(2 * SECOND);
    }
}

// ---- NATs

/// RFC 3581: a registrar that knows no flows says where it sees us, and is told the right Contact.
#[test]
fn a_contact_is_corrected_by_what_the_registrar_sees() {
    let (mut net, edge) = (node(false), Edge::new(EDGE));
    let registration = edge.register(&mut net);
    let first = edge.receive(&mut net, "REGISTER");
    assert!(header(&first, "Contact").is_some_and(|contact| contact.starts_with("<sip:alice@10.0.0.1:5060>")));
    edge.grant(&mut net, &first, "");
    let second = edge.receive(&mut net, "REGISTER");
    let contact = header(&second, "Contact").expect("a Contact");
    assert!(contact.starts_with("<sip:alice@203.0.113.7:40000>;"), "{contact}");
    assert!(contact.ends_with(", <sip:alice@10.0.0.1:5060>;expires=0"), "the old one goes: {contact}");
    assert!(header(&second, "Via").is_some_and(|via| via.contains("10.0.0.1:5060")), "{second}");
    edge.grant(&mut net, &second, "");
    assert_eq!(registration.state(), RegistrationState::Registered);
    assert!(edge.receive_if_any(&mut net, "REGISTER").is_none(), "once");
    // The NAT is kept open.
    net.advance(120 * SECOND);
    let came = edge.datagrams(&mut net);
    assert!(came.iter().all(|(_, bytes)| bytes == CRLF) && (4..=5).contains(&came.len()), "{came:?}");
    // A call that comes by it is answered with that Contact, one that goes by it has it as well.
    let mut phone = Phone::new(A);
    phone.address = edge.address;
    phone.invite(&mut net, "", &sdp(4000, 1, "sendrecv"));
    let session = net.nodes[A].incoming().expect("it arrived");
    decide(&mut net, A, &session, accept()).expect("accepted");
    let sent = sent(&net, A, "SIP/2.0 200").last().copied().map(str::to_owned).expect("a 200");
    assert!(header(&sent, "Contact").is_some_and(|contact| contact.contains("@203.0.113.7:40000>")), "{sent}");
    net.nodes[A].sent.clear();
    let _call = dial_from(&mut net, AOR, "sip:bob@192.0.2.1");
    let invite = edge.receive(&mut net, "INVITE");
    assert!(header(&invite, "Contact").is_some_and(|contact| contact.contains("@203.0.113.7:40000>")), "{invite}");
    // Elsewhere nobody has said anything.
    let _call = dial_from(&mut net, "sip:alice@elsewhere.example", "sip:bob@198.51.100.1");
    let invite = super::sent(&net, A, "INVITE sip:bob@198.51.100.1 ").last().copied().expect("an INVITE");
    assert!(header(invite, "Contact").is_some_and(|contact| contact.contains("@10.0.0.1:5060>")), "{invite}");
}

/// One whose answers name another port each time is not registered with for ever.
#[test]
fn a_registrar_that_sees_us_elsewhere_each_time_is_not_asked_for_ever() {
    let (mut net, mut edge) = (node(false), Edge::new(EDGE));
    edge.register(&mut net);
    let mut count = 0;
    while let Some(register) = edge.receive_if_any(&mut net, "REGISTER") {
        edge.mapped.set_port(edge.mapped.port() + 1);
        edge.grant(&mut net, &register, "");
        count += 1;
        assert!(count < 10);
    }
    assert_eq!(count, 2);
}

#[test]
fn without_a_nat_nothing_is_sent() {
    let (mut net, mut edge) = (node(false), Edge::new(EDGE));
    edge.mapped = address(A);
    edge.register(&mut net);
    let register = edge.receive(&mut net, "REGISTER");
    edge.grant(&mut net, &register, "");
    net.advance(200 * SECOND);
    assert!(edge.datagrams(&mut net).is_empty());
    assert!(edge.receive_if_any(&mut net, "REGISTER").is_none());
}

#[test]
fn a_stun_server_is_asked_from_the_sip_socket() {
    let (mut net, edge, server) = (node(true), Edge::new(EDGE), Edge::new(STUN));
    edge.register(&mut net);
    net.advance(SECOND / 10);
    assert!(edge.receive_if_any(&mut net, "REGISTER").is_none(), "it waits");
    server.answer(&mut net);
    net.advance(Duration::ZERO);
    let register = edge.receive(&mut net, "REGISTER");
    let contact = header(&register, "Contact").expect("a Contact");
    assert!(contact.starts_with("<sip:alice@203.0.113.7:40000>;"), "{contact}");
    edge.grant(&mut net, &register, "");
    assert!(edge.receive_if_any(&mut net, "REGISTER").is_none());
    // To those on the other side of the NAT, not to those on ours.
    for (to, contact) in [("198.51.100.1", "@203.0.113.7:40000>"), ("10.9.0.1", "@10.0.0.1:5060>")] {
        let _call = dial_from(&mut net, "sip:me@elsewhere.example", &format!("sip:bob@{to}"));
        let invite = sent(&net, A, &format!("INVITE sip:bob@{to} ")).last().copied().expect("an INVITE");
        assert!(header(invite, "Contact").is_some_and(|text| text.contains(contact)), "{invite}");
    }
    // It is asked again, which keeps the mapping; and when it changes, the registrar is told.
    net.advance(30 * SECOND);
    let other = Edge { mapped: at("203.0.113.8:41000"), ..Edge::new(STUN) };
    other.answer(&mut net);
    assert!(edge.receive_if_any(&mut net, "REGISTER").is_none(), "the registrar's own word counts for more");
    let _call = dial_from(&mut net, "sip:me@elsewhere.example", "sip:carol@198.51.100.1");
    let invite = sent(&net, A, "INVITE sip:carol@198.51.100.1 ").last().copied().expect("an INVITE");
    assert!(header(invite, "Contact").is_some_and(|text| text.contains("@203.0.113.8:41000>")), "{invite}");
}

/// The callee answers to the Contact: one that names our side of the NAT would leave it without a way to hang up.
#[test]
fn the_first_calls_wait_for_the_stun_server() {
    let (mut net, server) = (node(true), Edge::new(STUN));
    let invites = |net: &Net| sent(net, A, "INVITE ").len();
    let dial =
        |net: &mut Net, who: &str| dial_from(net, "sip:me@elsewhere.example", &format!("sip:{who}@198.51.100.1"));
    let (_first, second) = (dial(&mut net, "bob"), dial(&mut net, "carol"));
    net.advance(SECOND / 10);
    assert_eq!(invites(&net), 0, "they wait");
    hang_up(&mut net, A, &second);
    assert_eq!(second.state(), State::Cancelled, "and may be given up");
    server.answer(&mut net);
    net.advance(Duration::ZERO);
    assert_eq!(invites(&net), 1);
    let invite = sent(&net, A, "INVITE sip:bob@").last().copied().expect("an INVITE");
    assert!(header(invite, "Contact").is_some_and(|text| text.contains("@203.0.113.7:40000>")), "{invite}");
    // From then on nobody waits, and for a server that is silent no longer than a second.
    let _third = dial(&mut net, "dave");
    assert_eq!(sent(&net, A, "INVITE sip:dave@").len(), 1);
    let mut net = node(true);
    let _call = dial(&mut net, "bob");
    net.advance(SECOND - SECOND / 10);
    assert_eq!(invites(&net), 0);
    net.advance(SECOND / 10);
    assert_eq!(invites(&net), 1);
    let _call = dial(&mut net, "carol");
    assert_eq!(sent(&net, A, "INVITE sip:carol@").len(), 1);
}

#[test]
fn a_stun_server_that_is_silent_keeps_nobody_waiting() {
    let (mut net, edge, server) = (node(true), Edge::new(EDGE), Edge::new(STUN));
    edge.register(&mut net);
    net.advance(SECOND);
    let register = edge.receive(&mut net, "REGISTER");
    assert!(header(&register, "Contact").is_some_and(|contact| contact.starts_with("<sip:alice@10.0.0.1:5060>;")));
    // No rport in the answer: who knows it is the server, when it is back.
    let seen = Edge { mapped: address(A), ..Edge::new(EDGE) };
    let contact = header(&register, "Contact").expect("a Contact").to_owned();
    let unfilled = register.replace(";rport", "");
    seen.reply(&mut net, &unfilled, "200 OK", &format!("Contact: {contact};expires=600\r\n"), "");
    net.advance(30 * SECOND);
    assert_eq!(server.datagrams(&mut net).len(), 7);
    net.advance(21 * SECOND);
    server.answer(&mut net);
    let again = edge.receive(&mut net, "REGISTER");
    let contact = header(&again, "Contact").expect("a Contact");
    assert!(contact.starts_with("<sip:alice@203.0.113.7:40000>;"), "{contact}");
    assert!(contact.ends_with(", <sip:alice@10.0.0.1:5060>;expires=0"), "{contact}");
}

#[test]
fn an_address_that_the_program_has_named_is_not_asked_about() {
    let mut net = Net::default();
    net.add(Config { stun: Some(at(STUN)), public_address: Some("pbx.example".into()), ..config() });
    let (edge, server) = (Edge::new(EDGE), Edge::new(STUN));
    edge.register(&mut net);
    let register = edge.receive(&mut net, "REGISTER");
    assert!(header(&register, "Contact").is_some_and(|contact| contact.starts_with("<sip:alice@pbx.example")));
    edge.grant(&mut net, &register, "");
    net.advance(60 * SECOND);
    assert!(server.datagrams(&mut net).is_empty() && edge.receive_if_any(&mut net, "REGISTER").is_none());
}

/// Nothing of it outlives the accounts.
#[test]
fn a_stop_ends_it() {
    let (mut net, edge, _) = flow();
    net.command(A, |token| Command::Stop { token, drain: Duration::ZERO });
    let last = edge.receive(&mut net, "REGISTER");
    assert_eq!(header(&last, "Expires"), Some("0"));
    edge.reply(&mut net, &last, "200 OK", "", "");
    net.datagrams.clear();
    net.advance(100 * SECOND);
    assert!(net.datagrams.is_empty());
    net.assert_idle();
}
