use ringback_ua::{ConnectionId, Flow, Place, Transport};

use super::*;
use crate::api::{AccountConfig, RegistrarConfig, Registration, RegistrationState, StoreKind};

const AOR: &str = "sip:alice@10.9.0.1";

pub(super) fn account() -> AccountConfig {
    AccountConfig {
        aor: AOR.into(),
        registrar: None,
        proxy: None,
        further_proxies: Vec::new(),
        credentials: None,
        expires: 600 * SECOND,
        transport: None,
        instance: "urn:uuid:00000000-0000-0000-0000-000000000001".into(),
    }
}

/// Node A, whose registrar is the telephone that the test plays.
pub(super) fn desk() -> (Net, Phone) {
    let mut net = Net::default();
    net.add(config());
    (net, Phone::new(A))
}

pub(super) fn register(net: &mut Net, id: u64, account: AccountConfig) -> Arc<Registration> {
    match net.ask(A, |token| Command::Register { token, id, account: Box::new(account) }) {
        Some(Ok(Reply::Registration(registration))) => registration,
        other => panic!("{other:?}"),
    }
}

/// The states that the program was told.
pub(super) fn told(net: &Net) -> Vec<RegistrationState> {
    let state = |event: &Event| match event {
        Event::Registration { state, .. } => Some(*state),
        _ => None,
    };
    net.nodes[A].events.iter().filter_map(state).collect()
}

pub(super) fn contact(request: &str) -> &str {
    header(request, "Contact").expect("a Contact")
}

/// A 200 that lists the request's own contact and somebody else's.
fn grant(net: &mut Net, phone: &mut Phone, request: &str, seconds: u64, more: &str) {
    let headers =
        format!("Contact: <sip:other@10.9.9.9>;expires=9\r\nContact: {};expires={seconds}\r\n{more}", contact(request));
    // `reply` writes a Contact of its own, which is one more of somebody else.
    phone.reply(net, request, "200 OK", &headers, "");
}

/// Lets time pass until the next REGISTER goes out: when that is, is drawn at random. Also says after how many seconds.
fn next_register(net: &mut Net, phone: &mut Phone) -> (String, u64) {
    let mut waited = 0;
    while phone.nothing(net, "REGISTER") {
        net.advance(SECOND);
        waited += 1;
        assert!(waited < 1000);
    }
    let request = phone.receive(net, "REGISTER");
    // Retransmissions of it within that second.
    net.outside.clear();
    (request, waited)
}

use RegistrationState::{Failed, Registered, Registering, Unregistered};

#[test]
fn an_account_is_registered_refreshed_and_unregistered() {
    let (mut net, mut phone) = desk();
    let registration = register(&mut net, 7, account());
    let first = phone.receive(&mut net, "REGISTER sip:10.9.0.1 SIP/2.0");
    assert_eq!((header(&first, "To"), header(&first, "Expires")), (Some("<sip:alice@10.9.0.1>"), Some("600")));
    assert_eq!(header(&first, "CSeq"), Some("1 REGISTER"));
    assert!(contact(&first).starts_with("<sip:alice@10.0.0.1:5060>;+sip.instance=\"<urn:uuid:"), "{first}");
    assert!(header(&first, "Supported").is_some_and(|text| text.contains("path")));
    assert_eq!(registration.state(), Registering);
    let from = net.now;
    grant(&mut net, &mut phone, &first, 100, "");
    assert_eq!((registration.state(), registration.expires_at()), (Registered, Some((from + 100 * SECOND).wall)));
    let (second, waited) = next_register(&mut net, &mut phone);
    assert!((50..=90).contains(&waited), "{waited}: between half and nine tenths of its life");
    assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
    assert_eq!(header(&second, "CSeq"), Some("2 REGISTER"));
    grant(&mut net, &mut phone, &second, 100, "");
    let token = net.command(A, |token| Command::Unregister { token, id: 7 });
    let last = phone.receive(&mut net, "REGISTER");
    assert_eq!((header(&last, "Expires"), header(&last, "CSeq")), (Some("0"), Some("3 REGISTER")));
    assert!(net.result(A, token).is_none());
    phone.reply(&mut net, &last, "200 OK", "", "");
    assert!(matches!(net.result(A, token), Some(Ok(Reply::Unit))));
    assert_eq!((registration.state(), registration.expires_at()), (Unregistered, None));
    assert_eq!(told(&net), [Registering, Registered, Unregistered], "a refresh is no change");
    let again = net.ask(A, |token| Command::Unregister { token, id: 7 });
    assert!(matches!(again, Some(Ok(Reply::Unit))));
    net.assert_idle();
}

#[test]
fn what_a_registrar_wants_is_done_at_once() {
    let (mut net, mut phone) = desk();
    let registration = register(&mut net, 1, AccountConfig { transport: None, ..account() });
    let brief = phone.receive(&mut net, "REGISTER");
    phone.reply(&mut net, &brief, "423 Interval Too Brief", "Min-Expires: 1800\r\n", "");
    let moved = phone.receive(&mut net, "REGISTER");
    assert_eq!((header(&moved, "Expires"), header(&moved, "CSeq")), (Some("1800"), Some("2 REGISTER")));
    phone.reply(&mut net, &moved, "439 First Hop Lacks Outbound Support", "", "");
    let last = phone.receive(&mut net, "REGISTER");
    grant(&mut net, &mut phone, &last, 1800, "");
    assert_eq!(registration.state(), Registered);
}

#[test]
fn a_redirection_is_followed_but_not_for_ever() {
    let (mut net, mut phone) = desk();
    let registration = register(&mut net, 1, account());
    for number in 0..20 {
        if registration.state() == Failed {
            assert!(number <= 6, "{number}");
            assert_eq!(registration.failure().0, Some(302));
            return;
        }
        let request = phone.receive(&mut net, "REGISTER");
        // The telephone's own Contact is taken first, and it is always another URI than the last.
        let via = request.lines().find(|line| line.starts_with("Via:")).expect("a Via").to_owned();
        let text = format!(
            "SIP/2.0 302 Moved\r\n{via}\r\nFrom: {}\r\nTo: {};tag=1\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:10.9.0.1;n={number}>\r\nContent-Length: 0\r\n\r\n",
            header(&request, "From").expect("From"),
            header(&request, "To").expect("To"),
            header(&request, "Call-ID").expect("Call-ID"),
            header(&request, "CSeq").expect("CSeq"),
        );
        net.inject(A, phone.address, &text);
    }
    panic!("followed without end");
}

/// RFC 3261 §10.2, §21.3: to another place, by another transport; and back where that one fails.
#[test]
fn a_redirection_to_another_transport_goes_by_that() {
    let moved = |net: &mut Net, request: &str, target: &str| {
        let via = request.lines().find(|line| line.starts_with("Via:")).expect("a Via").to_owned();
        let text = format!(
            "SIP/2.0 302 Moved\r\n{via}\r\nFrom: {}\r\nTo: {};tag=1\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <{target}>\r\n\
             Content-Length: 0\r\n\r\n",
            header(request, "From").expect("From"),
            header(request, "To").expect("To"),
            header(request, "Call-ID").expect("Call-ID"),
            header(request, "CSeq").expect("CSeq"),
        );
        net.inject(A, Phone::new(A).address, &text);
    };
    let (mut net, mut phone) = desk();
    net.streams = true;
    let registration = register(&mut net, 1, account());
    let first = phone.receive(&mut net, "REGISTER");
    assert!(header(&first, "Via").is_some_and(|via| via.starts_with("SIP/2.0/UDP")));
    moved(&mut net, &first, "sip:10.9.0.1:5060;transport=tcp");
    let second = phone.receive(&mut net, "REGISTER sip:10.9.0.1:5060;transport=tcp SIP/2.0");
    assert!(header(&second, "Via").is_some_and(|via| via.starts_with("SIP/2.0/TCP")), "{second}");
    assert!(contact(&second).contains(";transport=tcp>"), "{second}");
    let now = net.now;
    net.nodes[A].engine.handle_connected(now, Transport::Tcp, FLOW.remote, None, ConnectionId(7));
    reply_by(&mut net, FLOW, &second, "200 OK", &format!("Contact: {};expires=600\r\n", contact(&second)));
    assert_eq!(registration.state(), Registered);
    // It stays there, by that connection, until that fails.
    let (refresh, _) = next_register(&mut net, &mut phone);
    assert!(refresh.starts_with("REGISTER sip:10.9.0.1:5060;transport=tcp SIP/2.0"), "{refresh}");
    reply_by(&mut net, FLOW, &refresh, "503 Service Unavailable", "");
    assert_eq!(registration.state(), Failed);
    let (again, _) = next_register(&mut net, &mut phone);
    assert!(again.starts_with("REGISTER sip:10.9.0.1 SIP/2.0"), "{again}");
    assert!(header(&again, "Via").is_some_and(|via| via.starts_with("SIP/2.0/UDP")), "{again}");
    // To a transport that there is not: that is a failure, and no end of it.
    moved(&mut net, &again, "sip:10.9.0.1;transport=tls");
    assert_eq!(registration.state(), Failed);
    let (last, _) = next_register(&mut net, &mut phone);
    assert!(last.starts_with("REGISTER sip:10.9.0.1 SIP/2.0"), "{last}");
}

#[test]
fn failures_are_told_and_tried_again_later_and_later() {
    let (mut net, mut phone) = desk();
    let registration = register(&mut net, 1, account());
    let mut pauses = Vec::new();
    let mut request = phone.receive(&mut net, "REGISTER");
    for _ in 0..4 {
        phone.reply(&mut net, &request, "500 Broken", "", "");
        assert_eq!((registration.state(), registration.failure().0), (Failed, Some(500)));
        let (next, waited) = next_register(&mut net, &mut phone);
        pauses.push(waited);
        request = next;
    }
    for (number, pause) in pauses.iter().enumerate() {
        let most = 30 << number;
        assert!((most / 2..=most + 1).contains(pause), "RFC 5626 §4.5: {pauses:?}");
    }
    phone.reply(&mut net, &request, "503 Later", "Retry-After: 7 (maintenance);duration=60\r\n", "");
    net.advance(6 * SECOND);
    assert!(phone.nothing(&net, "REGISTER"));
    net.advance(SECOND);
    let request = phone.receive(&mut net, "REGISTER");
    grant(&mut net, &mut phone, &request, 60, "");
    assert_eq!(told(&net), [Registering, Failed, Registered]);
}

#[test]
fn silence_is_a_failure_without_status() {
    let (mut net, _) = desk();
    let registration = register(&mut net, 1, account());
    net.advance(33 * SECOND);
    assert_eq!((registration.state(), registration.failure().0), (Failed, None));
    let done = net.ask(A, |token| Command::Unregister { token, id: 1 });
    assert!(matches!(done, Some(Ok(Reply::Unit))), "nothing is bound");
    assert_eq!(registration.state(), Unregistered);
    net.assert_idle();
}

#[test]
fn one_that_is_unregistered_while_it_registers_is_undone() {
    let (mut net, mut phone) = desk();
    let registration = register(&mut net, 1, account());
    let request = phone.receive(&mut net, "REGISTER");
    let token = net.command(A, |token| Command::Unregister { token, id: 1 });
    assert!(net.result(A, token).is_none());
    grant(&mut net, &mut phone, &request, 60, "");
    let last = phone.receive(&mut net, "REGISTER");
    assert_eq!(header(&last, "Expires"), Some("0"));
    phone.reply(&mut net, &last, "200 OK", "", "");
    assert!(matches!(net.result(A, token), Some(Ok(Reply::Unit))));
    assert_eq!(registration.state(), Unregistered);
    net.assert_idle();
}

#[test]
fn a_stop_unregisters_within_its_bounds() {
    for answers in [true, false] {
        let (mut net, mut phone) = desk();
        let registration = register(&mut net, 1, account());
        let request = phone.receive(&mut net, "REGISTER");
        grant(&mut net, &mut phone, &request, 60, "");
        let stop = net.command(A, |token| Command::Stop { token, drain: Duration::ZERO });
        assert!(net.result(A, stop).is_none());
        let last = phone.receive(&mut net, "REGISTER");
        assert_eq!(header(&last, "Expires"), Some("0"));
        if answers {
            phone.reply(&mut net, &last, "200 OK", "", "");
        } else {
            net.advance(Duration::from_millis(799));
            assert!(net.result(A, stop).is_none());
            net.advance(Duration::from_millis(1));
        }
        assert!(matches!(net.result(A, stop), Some(Ok(Reply::Unit))));
        assert_eq!(registration.state(), Unregistered);
        net.assert_idle();
    }
}

#[test]
fn calls_of_an_account_go_its_way() {
    let (mut net, mut phone) = desk();
    let proxied =
        AccountConfig { proxy: Some("10.9.0.1:5060".into()), aor: "sip:alice@home.example".into(), ..account() };
    let registration = register(&mut net, 1, proxied);
    let request = phone.receive(&mut net, "REGISTER sip:home.example SIP/2.0");
    assert_eq!(header(&request, "Route"), Some("<sip:10.9.0.1:5060;lr>"));
    let call = |net: &mut Net| {
        let create = |token| Command::CreateCall {
            token,
            from: "\"Alice\" <sip:alice@home.example>".into(),
            to: "sip:bob@elsewhere.example".into(),
            sdp: None,
            headers: Vec::new(),
            send: true,
            options: Default::default(),
        };
        match net.ask(A, create) {
            Some(Ok(Reply::Session(session))) => session,
            other => panic!("{other:?}"),
        }
    };
    let more = "Service-Route: <sip:10.9.0.1;lr>, <sip:inner.example;lr>\r\n";
    grant(&mut net, &mut phone, &request, 600, more);
    assert_eq!(registration.state(), Registered);
    let placed = call(&mut net);
    let invite = phone.receive(&mut net, "INVITE sip:bob@elsewhere.example SIP/2.0");
    assert_eq!(header(&invite, "Route"), Some("<sip:10.9.0.1;lr>, <sip:inner.example;lr>"), "RFC 3608");
    assert_eq!(header(&invite, "Contact"), Some("<sip:alice@10.0.0.1:5060>"));
    hang_up(&mut net, A, &placed);
    net.advance(40 * SECOND);
    assert!(net.nodes[A].resolves.is_empty(), "nobody is looked up");
}

#[test]
fn a_gruu_is_the_contact_of_calls() {
    let (mut net, mut phone) = desk();
    register(&mut net, 1, account());
    let request = phone.receive(&mut net, "REGISTER");
    let headers = format!("Contact: {};expires=60;pub-gruu=\"sip:alice@10.9.0.1;gr=7\"\r\n", contact(&request));
    phone.reply(&mut net, &request, "200 OK", &headers, "");
    net.ask(A, |token| Command::CreateCall {
        token,
        from: AOR.into(),
        to: "sip:bob@10.9.0.1".into(),
        sdp: None,
        headers: Vec::new(),
        send: true,
        options: Default::default(),
    });
    let invite = phone.receive(&mut net, "INVITE");
    assert_eq!(header(&invite, "Contact"), Some("<sip:alice@10.9.0.1;gr=7>"));
}

/// RFC 5627 §3.2: who calls privately names itself by what does not tell who it is, or by no GRUU at all.
#[test]
fn a_private_call_names_no_address_of_record() {
    let call = |net: &mut Net, privacy: &str| {
        let headers = vec![("Privacy".to_owned(), privacy.to_owned())];
        net.ask(A, |token| Command::CreateCall {
            token,
            from: AOR.into(),
            to: "sip:bob@10.9.0.1".into(),
            sdp: None,
            headers,
            send: true,
            options: Default::default(),
        });
    };
    for (temporary, hidden) in [
        (";temp-gruu=\"sip:tgruu.x7@10.9.0.1;gr\"", "<sip:tgruu.x7@10.9.0.1;gr>"),
        ("", "<sip:ringback@10.0.0.1:5060>"),
    ] {
        let (mut net, mut phone) = desk();
        register(&mut net, 1, account());
        let request = phone.receive(&mut net, "REGISTER");
        let gruus = format!("pub-gruu=\"sip:alice@10.9.0.1;gr=7\"{temporary}");
        phone.reply(
            &mut net,
            &request,
            "200 OK",
            &format!("Contact: {};expires=60;{gruus}\r\n", contact(&request)),
            "",
        );
        for (privacy, expected) in
            [("none", "<sip:alice@10.9.0.1;gr=7>"), ("id", hidden), ("header; user; critical", hidden)]
        {
            net.outside.clear();
            call(&mut net, privacy);
            let invite = phone.receive(&mut net, "INVITE");
            assert_eq!(header(&invite, "Contact"), Some(expected), "{privacy}");
        }
    }
}

#[test]
fn our_registrar_and_our_account_understand_each_other_over_a_lossy_link() {
    let registrar = RegistrarConfig {
        domains: vec!["10.0.0.2".into()],
        min_expires: 60 * SECOND,
        max_expires: 120 * SECOND,
        max_contacts: 1,
        gruu_key: None,
        store: StoreKind::Memory,
    };
    let mut net = with(Config { registrar: Some(registrar), ..config() });
    net.deaf.push(B);
    let wanted = AccountConfig { aor: "sip:alice@10.0.0.2".into(), expires: 5 * SECOND, ..account() };
    let registration = register(&mut net, 1, wanted);
    net.advance(SECOND);
    net.deaf.clear();
    net.advance(4 * SECOND);
    assert_eq!(registration.state(), Registered, "423, then 60 s");
    let bound = |net: &mut Net| match net.ask(B, |token| Command::Lookup { token, aor: "sip:alice@10.0.0.2".into() }) {
        Some(Ok(Reply::Bindings(records))) => records.into_iter().map(|record| record.contact).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(bound(&mut net), ["sip:alice@10.0.0.1:5060"]);
    for _ in 0..20 {
        net.advance(30 * SECOND);
        assert_eq!(bound(&mut net).len(), 1, "refreshed in time");
    }
    net.command(A, |token| Command::Unregister { token, id: 1 });
    assert_eq!(bound(&mut net), [""; 0]);
    net.assert_idle();
}

#[test]
fn what_is_no_account_is_refused() {
    let (mut net, _) = desk();
    for bad in [
        AccountConfig { aor: "nonsense".into(), ..account() },
        AccountConfig { aor: "sip:example.com".into(), ..account() },
        AccountConfig { registrar: Some("sip:a b".into()), ..account() },
        AccountConfig { proxy: Some("http://x".into()), ..account() },
        AccountConfig { transport: Some(ringback_ua::Transport::Wss), ..account() },
    ] {
        let result = net.ask(A, |token| Command::Register { token, id: 1, account: Box::new(bad.clone()) });
        assert!(matches!(result, Some(Err(Error::InvalidUri { .. }))), "{bad:?}: {result:?}");
    }
    net.assert_idle();
}

pub(super) const FLOW: Flow = Flow {
    transport: Transport::Tcp,
    local: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 5060),
    remote: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 1)), 5060),
    connection: Some(ConnectionId(7)),
};

/// The answer to a request of the node's, by a connection.
pub(super) fn reply_by(net: &mut Net, flow: Flow, request: &str, status: &str, more: &str) {
    let via = request.lines().find(|line| line.starts_with("Via:")).expect("a Via").to_owned();
    let text = format!(
        "SIP/2.0 {status}\r\n{via}\r\nFrom: {}\r\nTo: {};tag=1\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}Content-Length: 0\r\n\r\n",
        header(request, "From").expect("From"),
        header(request, "To").expect("To"),
        header(request, "Call-ID").expect("Call-ID"),
        header(request, "CSeq").expect("CSeq"),
    );
    net.inject_by(A, flow, &text);
}

/// An account whose registrar is reached over TCP, registered by connection 7.
fn registered_by_stream(net: &mut Net, phone: &mut Phone, more: &str) -> Arc<Registration> {
    net.streams = true;
    let registration = register(net, 1, AccountConfig { transport: Some(Transport::Tcp), ..account() });
    let request = phone.receive(net, "REGISTER");
    assert!(contact(&request).ends_with(";reg-id=1"), "{request}");
    let now = net.now;
    net.nodes[A].engine.handle_connected(now, Transport::Tcp, FLOW.remote, None, ConnectionId(7));
    reply_by(net, FLOW, &request, "200 OK", &format!("Contact: {};expires=600\r\n{more}", contact(&request)));
    assert_eq!(registration.state(), Registered);
    registration
}

#[test]
fn an_edge_says_how_often_its_flow_is_kept_alive() {
    for (more, expected) in [("", None), ("Flow-Timer: 25\r\n", Some(25)), ("Flow-Timer: 0\r\n", None)] {
        let (mut net, mut phone) = desk();
        registered_by_stream(&mut net, &mut phone, more);
        let expected: Vec<_> = expected.map(|seconds| (ConnectionId(7), seconds * SECOND)).into_iter().collect();
        assert_eq!(net.nodes[A].kept_alive, expected, "RFC 5626 §4.4.1: {more:?}");
    }
}

#[test]
fn a_lost_flow_is_registered_anew_at_once_and_then_later_and_later() {
    let (mut net, mut phone) = desk();
    let registration = registered_by_stream(&mut net, &mut phone, "");
    let close = |net: &mut Net, connection| {
        let now = net.now;
        net.nodes[A].engine.handle_closed(now, ConnectionId(connection));
        net.run();
    };
    close(&mut net, 6);
    assert_eq!(registration.state(), Registered, "another one");
    close(&mut net, 7);
    assert_eq!(registration.state(), Registering);
    net.advance(SECOND);
    let again = phone.receive(&mut net, "REGISTER");
    assert_eq!(header(&again, "CSeq"), Some("2 REGISTER"));
    assert!(contact(&again).ends_with(";reg-id=1"), "the same flow by its number: RFC 5626 §4.2");
    // Nobody is there: RFC 5626 §4.5.
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let now = net.now;
        net.nodes[A].engine.handle_connect_failed(now, Transport::Tcp, FLOW.remote, None, "refused");
        net.run();
        assert_eq!((registration.state(), registration.failure().0), (Failed, None));
        pauses.push(next_register(&mut net, &mut phone).1);
    }
    for (number, pause) in pauses.iter().enumerate() {
        let most = 30 << number;
        assert!((most / 2..=most + 1).contains(pause), "{pauses:?}");
    }
    assert_eq!(told(&net), [Registering, Registered, Registering, Failed]);
}

#[test]
fn a_flow_that_is_lost_while_it_is_refreshed_is_registered_anew() {
    let (mut net, mut phone) = desk();
    let registration = registered_by_stream(&mut net, &mut phone, "");
    next_register(&mut net, &mut phone);
    let now = net.now;
    net.nodes[A].engine.handle_closed(now, ConnectionId(7));
    net.run();
    assert_eq!(registration.state(), Registering, "that says nothing of the registrar");
    net.advance(SECOND);
    let again = phone.receive(&mut net, "REGISTER");
    let flow = Flow { connection: Some(ConnectionId(8)), ..FLOW };
    reply_by(&mut net, flow, &again, "200 OK", &format!("Contact: {};expires=600\r\n", contact(&again)));
    assert_eq!(registration.state(), Registered);
}

#[test]
fn a_registrar_with_several_servers_is_reached_by_the_next_one() {
    let (mut net, _) = desk();
    let named = AccountConfig { aor: "sip:alice@home.example".into(), ..account() };
    let registration = register(&mut net, 1, named);
    let server = |number: u8| SocketAddr::from(([10, 9, 0, number], 5060));
    let place = |number| Place { transport: Transport::Udp, address: server(number) };
    let received = |net: &mut Net, number: u8| {
        let place = net.outside.iter().position(|(to, text)| *to == server(number) && text.starts_with("REGISTER"));
        place.and_then(|place| net.outside.remove(place)).map(|(_, text)| text)
    };
    let located = |net: &mut Net| {
        let (id, host, _) = net.nodes[A].resolves.pop().expect("a look-up");
        assert_eq!(host, "home.example");
        let now = net.now;
        net.nodes[A].engine.handle_located(now, id, Ok(vec![place(1), place(2), place(3)]));
        net.run();
    };
    located(&mut net);
    // The first is overloaded, the second's host says that nobody listens.
    let first = received(&mut net, 1).expect("the first");
    reply_by(
        &mut net,
        Flow { transport: Transport::Udp, connection: None, ..FLOW },
        &first,
        "503 Busy",
        "Retry-After: 900\r\n",
    );
    received(&mut net, 2).expect("then the second");
    assert_eq!(registration.state(), Registering);
    let now = net.now;
    net.nodes[A].engine.handle_send_failed(now, Transport::Udp, server(2), "port unreachable");
    net.run();
    let third = received(&mut net, 3).expect("then the third");
    let udp = Flow { transport: Transport::Udp, remote: server(3), connection: None, ..FLOW };
    reply_by(&mut net, udp, &third, "200 OK", &format!("Contact: {};expires=60\r\n", contact(&third)));
    assert_eq!(registration.state(), Registered);
    // A refresh finds the servers anew; the first one rests still.
    let mut waited = 0;
    while net.nodes[A].resolves.is_empty() {
        net.advance(SECOND);
        waited += 1;
        assert!(waited < 60);
    }
    located(&mut net);
    assert!(received(&mut net, 1).is_none(), "RFC 3261 §21.5.4");
    assert!(received(&mut net, 2).is_some());
    assert_eq!(told(&net), [Registering, Registered]);
}

#[test]
fn a_stop_while_it_registers_leaves_nothing_bound() {
    for answers in [true, false] {
        let (mut net, mut phone) = desk();
        let registration = register(&mut net, 1, account());
        let request = phone.receive(&mut net, "REGISTER");
        let stop = net.command(A, |token| Command::Stop { token, drain: Duration::ZERO });
        assert!(net.result(A, stop).is_none(), "it may be bound any moment");
        if answers {
            grant(&mut net, &mut phone, &request, 60, "");
            let last = phone.receive(&mut net, "REGISTER");
            assert_eq!(header(&last, "Expires"), Some("0"));
            phone.reply(&mut net, &last, "200 OK", "", "");
        } else {
            net.advance(Duration::from_millis(800));
        }
        assert!(matches!(net.result(A, stop), Some(Ok(Reply::Unit))));
        assert_eq!(registration.state(), Unregistered);
        assert_eq!(told(&net), [Registering, Unregistered]);
        net.assert_idle();
    }
}

#[test]
fn requests_outside_of_calls_go_the_account_s_way_too() {
    let (mut net, mut phone) = desk();
    let credentials =
        ringback_ua::Credentials { username: "alice".into(), password: "secret".into(), realm: Some("inner".into()) };
    let proxied = AccountConfig {
        proxy: Some("10.9.0.1:5060".into()),
        aor: "sip:alice@home.example".into(),
        credentials: Some(credentials.into()),
        ..account()
    };
    register(&mut net, 1, proxied);
    let request = phone.receive(&mut net, "REGISTER");
    grant(&mut net, &mut phone, &request, 600, "Service-Route: <sip:10.9.0.1;lr>\r\n");
    let (from, to) = (|| "\"Alice\" <sip:alice@home.example>".to_owned(), || "sip:bob@far.example".to_owned());
    for method in ["MESSAGE", "OPTIONS", "SUBSCRIBE"] {
        let token = net.command(A, |token| match method {
            "MESSAGE" => Command::SendMessage {
                token,
                from: from(),
                to: to(),
                content_type: "text/plain".into(),
                body: "hi".into(),
            },
            "OPTIONS" => Command::SendOptions { token, from: Some(from()), to: to(), timeout: None },
            _ => Command::Subscribe { token, from: from(), to: to(), event: "dialog".into(), expires: 60 * SECOND },
        });
        let sent = phone.receive(&mut net, &format!("{method} sip:bob@far.example SIP/2.0"));
        assert_eq!(header(&sent, "Route"), Some("<sip:10.9.0.1;lr>"), "{sent}");
        let contact = header(&sent, "Contact");
        assert!(method == "MESSAGE" || contact.is_some_and(|text| text.starts_with("<sip:alice@10.0.0.1")), "{sent}");
        // The first is asked who it is from, the others say it of themselves.
        let mut known = sent;
        if method == "MESSAGE" {
            let challenge = "WWW-Authenticate: Digest realm=\"inner\", nonce=\"n\", qop=\"auth\"\r\n";
            phone.reply(&mut net, &known, "401 Unauthorized", challenge, "");
            known = phone.receive(&mut net, method);
        }
        assert!(header(&known, "Authorization").is_some_and(|text| text.contains("username=\"alice\"")), "{known}");
        phone.reply(&mut net, &known, "404 Not Found", "", "");
        assert!(net.result(A, token).is_some(), "{method}");
    }
    assert!(net.nodes[A].resolves.is_empty(), "nobody is looked up");
    // Who is no account of ours goes straight.
    net.command(A, |token| Command::SendOptions { token, from: None, to: "sip:bob@10.9.0.1".into(), timeout: None });
    assert_eq!(header(&phone.receive(&mut net, "OPTIONS"), "Route"), None);
}

#[test]
fn requests_outside_of_calls_keep_to_the_account_s_flow() {
    let (mut net, mut phone) = desk();
    registered_by_stream(&mut net, &mut phone, "");
    net.command(A, |token| Command::SendOptions {
        token,
        from: Some(AOR.into()),
        to: "sip:bob@far.example".into(),
        timeout: None,
    });
    let sent = phone.receive(&mut net, "OPTIONS sip:bob@far.example");
    assert!(header(&sent, "Via").is_some_and(|via| via.starts_with("SIP/2.0/TCP")), "{sent}");
    assert!(contact(&sent).contains(";ob"), "RFC 5626 §4.3: {sent}");
}
