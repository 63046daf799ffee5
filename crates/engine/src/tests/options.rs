use super::*;
use ringback_ua::Transport;

const PHONE: &str = "sip:phone@10.9.0.1";

fn ask(net: &mut Net, node: usize, to: &str, timeout: Option<Duration>) -> Token {
    net.command(node, |token| Command::SendOptions { token, from: None, to: to.into(), timeout })
}

#[derive(Debug, PartialEq)]
struct Told {
    status: u16,
    round_trip: Duration,
    allow: Vec<String>,
    user_agent: Option<String>,
}

fn told(net: &Net, node: usize, token: Token) -> Told {
    match net.result(node, token) {
        Some(Ok(Reply::Options { status, round_trip, allow, user_agent })) => {
            Told { status, round_trip, allow, user_agent }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_system_says_what_it_can() {
    let mut net = pair();
    let token = ask(&mut net, A, &uri(B), Some(4 * SECOND));
    let Told { status, allow, user_agent, .. } = told(&net, A, token);
    assert_eq!(status, 200);
    assert_eq!(
        allow,
        [
            "INVITE",
            "ACK",
            "CANCEL",
            "BYE",
            "OPTIONS",
            "INFO",
            "PRACK",
            "UPDATE",
            "REFER",
            "NOTIFY",
            "MESSAGE",
            "SUBSCRIBE"
        ]
    );
    assert_eq!(user_agent.as_deref(), Some(Config::default().user_agent.as_str()));
    let request = sent(&net, A, "OPTIONS ")[0];
    assert!(request.starts_with(&format!("OPTIONS {} SIP/2.0\r\n", uri(B))));
    assert_eq!(header(request, "To"), Some(&*format!("<{}>", uri(B))));
    let us = format!("<sip:ringback@{}>", address(A));
    assert!(header(request, "From").expect("a From").starts_with(&us), "{request}");
    assert_eq!((header(request, "Contact"), header(request, "Accept")), (Some(&*us), Some("application/sdp")));
    assert_eq!(header(request, "Max-Forwards"), Some("70"));
    assert!(net.nodes[B].events.is_empty(), "nobody is asked");
    net.assert_idle();
}

#[test]
fn any_final_response_is_a_reply() {
    for (line, headers, status, allow, user_agent) in [
        ("404 Not Found", "", 404, &[][..], None),
        ("405 Method Not Allowed", "Allow: INVITE, ACK\r\nAllow: BYE\r\n", 405, &["INVITE", "ACK", "BYE"], None),
        ("486 Busy Here", "User-Agent: Phone/1.0\r\n", 486, &[], Some("Phone/1.0")),
        ("200 OK", "Allow:\r\nServer: PBX\r\nUser-Agent: Phone\r\n", 200, &[], Some("PBX")),
    ] {
        let mut net = pair();
        let mut phone = Phone::new(A);
        let token = ask(&mut net, A, &format!("\"Phone\" <{PHONE}>"), Some(4 * SECOND));
        let request = phone.receive(&mut net, "OPTIONS ");
        net.advance(Duration::from_millis(70));
        assert!(net.result(A, token).is_none());
        phone.reply(&mut net, &request, line, headers, "");
        let expected = Told {
            status,
            round_trip: Duration::from_millis(70),
            allow: allow.iter().map(|method: &&str| (*method).to_owned()).collect(),
            user_agent: user_agent.map(str::to_owned),
        };
        assert_eq!(told(&net, A, token), expected);
        net.assert_idle();
    }
}

#[test]
fn silence_is_told_when_the_time_is_over() {
    let mut net = pair();
    let given = ask(&mut net, A, PHONE, Some(4 * SECOND));
    let endless = ask(&mut net, A, PHONE, None);
    let none = ask(&mut net, A, PHONE, Some(Duration::ZERO));
    net.advance(Duration::ZERO);
    assert_eq!(net.result(A, none).expect("over").unwrap_err(), Error::NoAnswer(Duration::ZERO));
    net.advance(Duration::from_millis(3999));
    assert!(net.result(A, given).is_none());
    net.advance(Duration::from_millis(1));
    let error = net.result(A, given).expect("over").unwrap_err();
    assert_eq!((&error, error.to_string().as_str()), (&Error::NoAnswer(4 * SECOND), "no answer within 4 s"));
    net.advance(28 * SECOND);
    assert_eq!(net.result(A, endless).expect("timer F").unwrap_err(), Error::NoAnswer(32 * SECOND));
    net.assert_idle();
}

#[test]
fn a_peer_that_cannot_be_reached_is_told_at_once() {
    let mut net = pair();
    let closed = ask(&mut net, A, PHONE, Some(4 * SECOND));
    let now = net.now;
    let remote = Phone::new(A).address;
    net.nodes[A].engine.handle_send_failed(now, Transport::Udp, remote, "Connection refused");
    net.run();
    let refused = ask(&mut net, A, &format!("{PHONE};transport=tcp"), Some(4 * SECOND));
    let unknown = ask(&mut net, A, "sip:peer@nowhere.example", Some(4 * SECOND));
    let (id, ..) = net.nodes[A].resolves.pop().expect("looked up");
    net.nodes[A].engine.handle_resolved(now, id, Err("no such host".into()));
    net.run();
    for (token, text) in [
        (closed, "transport error: Connection refused"),
        (refused, "transport error: refused"),
        (unknown, "host not found: no such host"),
    ] {
        assert_eq!(net.result(A, token).expect("at once").unwrap_err(), Error::Unreachable(text.into()));
    }
    net.assert_idle();
}

#[test]
fn what_is_no_address_is_refused() {
    let mut net = pair();
    for bad in ["", "bob", "sip:", "http://a.b", "sips:a@10.0.0.2", "tel:+49123", "sip:a@10.0.0.2:0", "sip:a@b\r\nX: y"]
    {
        let token = ask(&mut net, A, bad, Some(SECOND));
        let result = net.result(A, token);
        assert!(matches!(&result, Some(Err(Error::InvalidUri { .. }))), "{bad:?}: {result:?}");
    }
    assert!(net.nodes[A].sent.is_empty());
    net.assert_idle();
}

#[test]
fn one_that_is_given_up_is_completed_and_forgotten() {
    let mut net = pair();
    let mut phone = Phone::new(A);
    let token = ask(&mut net, A, PHONE, Some(4 * SECOND));
    let request = phone.receive(&mut net, "OPTIONS ");
    for _ in 0..2 {
        let reply = net.ask(A, |own| Command::GiveUp { token: own, request: token });
        assert!(matches!(reply, Some(Ok(Reply::Unit))));
    }
    assert!(matches!(net.result(A, token), Some(Err(Error::Ended(_)))));
    assert_eq!(net.nodes[A].engine.ua_stats().live, ringback_ua::Live::default());
    phone.reply(&mut net, &request, "200 OK", "", "");
    net.advance(40 * SECOND);
    assert_eq!(sent(&net, A, "OPTIONS ").len(), 1);
    // Nobody's token names nothing, not the requests that nobody waits for.
    let now = net.now;
    net.nodes[A]
        .engine
        .handle_command(now, Command::SendOptions { token: Token(0), from: None, to: PHONE.into(), timeout: None });
    net.nodes[A].engine.handle_command(now, Command::GiveUp { token: Token(0), request: Token(0) });
    net.run();
    let request = phone.receive(&mut net, "OPTIONS ");
    phone.reply(&mut net, &request, "200 OK", "", "");
    net.assert_idle();
}

#[test]
fn a_stop_ends_the_waiting() {
    let mut net = pair();
    let tokens = [PHONE, "sip:peer@slow.example"].map(|to| ask(&mut net, A, to, Some(4 * SECOND)));
    let stop = net.command(A, |token| Command::Stop { token, drain: Duration::ZERO });
    for token in tokens {
        assert_eq!(net.result(A, token).expect("at once").unwrap_err(), Error::NotRunning);
    }
    assert!(matches!(net.result(A, stop), Some(Ok(Reply::Unit))));
    let late = ask(&mut net, A, PHONE, Some(4 * SECOND));
    assert_eq!(net.result(A, late).expect("at once").unwrap_err(), Error::NotRunning);
    net.assert_idle();
}

#[test]
fn a_drain_lets_it_be_answered_as_long_as_there_is_a_call() {
    let mut net = pair();
    let mut phone = Phone::new(A);
    let (call, _) = answered(&mut net);
    let first = ask(&mut net, A, PHONE, Some(60 * SECOND));
    let request = phone.receive(&mut net, "OPTIONS ");
    let second = ask(&mut net, A, PHONE, Some(60 * SECOND));
    net.command(A, |token| Command::Stop { token, drain: 30 * SECOND });
    phone.reply(&mut net, &request, "200 OK", "", "");
    assert_eq!(told(&net, A, first).status, 200);
    assert!(net.result(A, second).is_none());
    hang_up(&mut net, A, &call);
    assert_eq!(net.result(A, second).expect("the last call has ended").unwrap_err(), Error::NotRunning);
    net.assert_idle();
}

#[test]
fn who_we_are_is_what_peers_know() {
    for (config, expected) in [
        (Config { user: "desk".into(), ..config() }, format!("<sip:desk@{}>;tag=", address(A))),
        (Config { public_address: Some("pbx.example".into()), ..config() }, "<sip:ringback@pbx.example>;tag=".into()),
    ] {
        let mut net = Net::default();
        net.add(config);
        let token = ask(&mut net, A, PHONE, Some(SECOND));
        let from = header(sent(&net, A, "OPTIONS ")[0], "From").expect("a From").to_owned();
        assert!(from.starts_with(&expected), "{from}");
        net.command(A, |own| Command::GiveUp { token: own, request: token });
        net.assert_idle();
    }
}
