//! Accounts with several proxies.

use ringback_ua::{ConnectionId, Flow, Transport};

use super::accounts::{FLOW, account, contact, desk, register, reply_by, told};
use super::*;
use crate::api::RegistrationState::{Failed, Registered, Registering, Unregistered};
use crate::api::{AccountConfig, Registration};

fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 9, 0, number], 5060))
}

/// The flow to a proxy.
fn flow_to(number: u8) -> Flow {
    Flow { remote: server(number), connection: Some(ConnectionId(number.into())), ..FLOW }
}

/// The next request of that kind that came to a proxy.
fn received(net: &mut Net, number: u8, start: &str) -> Option<String> {
    let place = net.outside.iter().position(|(to, text)| *to == server(number) && text.starts_with(start))?;
    net.outside.remove(place).map(|(_, text)| text)
}

/// An account with two proxies, 1 and 2, over TCP.
fn two_proxies() -> (Net, Arc<Registration>) {
    let (mut net, _) = desk();
    net.streams = true;
    let wanted = AccountConfig {
        aor: "sip:alice@home.example".into(),
        proxy: Some("10.9.0.1".into()),
        further_proxies: vec!["10.9.0.2".into()],
        transport: Some(Transport::Tcp),
        ..account()
    };
    let registration = register(&mut net, 1, wanted);
    (net, registration)
}

/// Has a proxy's registrar accept what came.
fn grant_by(net: &mut Net, number: u8, more: &str) -> String {
    let request = received(net, number, "REGISTER").expect("a REGISTER");
    let now = net.now;
    net.nodes[A].engine.handle_connected(now, Transport::Tcp, server(number), None, ConnectionId(number.into()));
    let headers = format!("Contact: {};expires=600\r\n{more}", contact(&request));
    reply_by(net, flow_to(number), &request, "200 OK", &headers);
    request
}

const OUTBOUND: &str = "Require: outbound\r\n";

#[test]
fn two_proxies_are_two_flows_and_one_that_is_lost_leaves_the_other() {
    let (mut net, registration) = two_proxies();
    assert!(received(&mut net, 2, "REGISTER").is_none(), "not before it is known that there are flows");
    let first = grant_by(&mut net, 1, OUTBOUND);
    let second = grant_by(&mut net, 2, OUTBOUND);
    assert!(contact(&first).ends_with(";reg-id=1") && contact(&second).ends_with(";reg-id=2"), "RFC 5626 §4.2.1");
    assert!(header(&second, "Route").is_some_and(|route| route.contains("10.9.0.2")));
    let instance = |text: &str| contact(text).split("sip.instance").nth(1).map(|rest| rest[..40].to_owned());
    assert_eq!(instance(&first), instance(&second));
    let uri = |text: &str| contact(text).split('>').next().map(str::to_owned);
    assert_ne!(uri(&first), uri(&second));
    // One is lost: the account is registered still, and its calls go by the other.
    let now = net.now;
    net.nodes[A].engine.handle_closed(now, ConnectionId(1));
    net.run();
    assert_eq!(registration.state(), Registered);
    let options = |net: &mut Net| {
        net.command(A, |token| Command::SendOptions {
            token,
            from: Some("sip:alice@home.example".into()),
            to: "sip:bob@far.example".into(),
            timeout: None,
        });
        [1, 2].into_iter().find(|number| received(net, *number, "OPTIONS").is_some())
    };
    assert_eq!(options(&mut net), Some(2));
    net.advance(SECOND);
    let again = received(&mut net, 1, "REGISTER").expect("registered anew");
    assert!(contact(&again).ends_with(";reg-id=1"));
    let now = net.now;
    net.nodes[A].engine.handle_connect_failed(now, Transport::Tcp, server(1), None, "refused");
    net.run();
    assert_eq!((registration.state(), options(&mut net)), (Registered, Some(2)));
    // The other one too.
    let now = net.now;
    net.nodes[A].engine.handle_closed(now, ConnectionId(2));
    net.run();
    assert_eq!(registration.state(), Registering);
    net.advance(SECOND);
    grant_by(&mut net, 2, OUTBOUND);
    assert_eq!(told(&net), [Registering, Registered, Registering, Registered]);
    net.advance(31 * SECOND);
    grant_by(&mut net, 1, OUTBOUND);
    assert_eq!(options(&mut net), Some(1));
    // Both are undone.
    net.outside.clear();
    let token = net.command(A, |token| Command::Unregister { token, id: 1 });
    for number in [1, 2] {
        assert!(net.result(A, token).is_none());
        let last = received(&mut net, number, "REGISTER").expect("undone");
        assert_eq!(header(&last, "Expires"), Some("0"));
        reply_by(&mut net, flow_to(number), &last, "200 OK", "");
    }
    assert!(matches!(net.result(A, token), Some(Ok(Reply::Unit))));
    assert_eq!(registration.state(), Unregistered);
    net.assert_idle();
}

#[test]
fn without_flows_there_is_one_registration_by_the_proxy_that_works() {
    let (mut net, registration) = two_proxies();
    grant_by(&mut net, 1, "");
    assert!(received(&mut net, 2, "REGISTER").is_none(), "the registrar does not know flows");
    // The first proxy goes away.
    let now = net.now;
    net.nodes[A].engine.handle_closed(now, ConnectionId(1));
    net.run();
    let fail = |net: &mut Net, number| {
        net.advance(SECOND);
        assert!(received(net, number, "REGISTER").is_some(), "{number}");
        let now = net.now;
        net.nodes[A].engine.handle_connect_failed(now, Transport::Tcp, server(number), None, "refused");
        net.run();
    };
    fail(&mut net, 1);
    assert_eq!(registration.state(), Registering, "by the next one");
    fail(&mut net, 2);
    assert_eq!(registration.state(), Failed, "all have failed");
    net.advance(31 * SECOND);
    let waiting = net.outside.iter().filter(|(_, text)| text.starts_with("REGISTER")).count();
    assert_eq!(waiting, 1, "one at a time");
    grant_by(&mut net, 1, "");
    assert_eq!(told(&net), [Registering, Registered, Registering, Failed, Registered]);
}

#[test]
fn what_a_registrar_decides_is_not_asked_by_each_proxy() {
    let (mut net, registration) = two_proxies();
    let request = received(&mut net, 1, "REGISTER").expect("a REGISTER");
    reply_by(&mut net, flow_to(1), &request, "403 Forbidden", "");
    assert_eq!((registration.state(), registration.failure().0), (Failed, Some(403)));
    net.advance(5 * SECOND);
    assert!(received(&mut net, 2, "REGISTER").is_none());
}

#[test]
fn a_stop_undoes_each_flow_within_its_bounds() {
    for answering in [&[][..], &[1], &[2], &[1, 2]] {
        let (mut net, registration) = two_proxies();
        grant_by(&mut net, 1, OUTBOUND);
        grant_by(&mut net, 2, OUTBOUND);
        let stop = net.command(A, |token| Command::Stop { token, drain: Duration::ZERO });
        for number in answering {
            let last = received(&mut net, *number, "REGISTER").expect("undone");
            reply_by(&mut net, flow_to(*number), &last, "200 OK", "");
        }
        net.advance(Duration::from_millis(800));
        assert!(matches!(net.result(A, stop), Some(Ok(Reply::Unit))), "{answering:?}");
        assert_eq!(registration.state(), Unregistered);
        assert_eq!(told(&net), [Registering, Registered, Unregistered]);
        net.nodes[A].engine.assert_empty();
    }
}

#[test]
fn each_proxy_is_checked_and_there_are_not_too_many() {
    let (mut net, _) = desk();
    let many = vec!["10.9.0.2".to_owned(); 4];
    for further_proxies in [vec!["http://x".to_owned()], many] {
        let bad = AccountConfig { proxy: Some("10.9.0.1".into()), further_proxies, ..account() };
        let result = net.ask(A, |token| Command::Register { token, id: 1, account: Box::new(bad) });
        assert!(matches!(result, Some(Err(Error::InvalidUri { .. } | Error::BadValue(_)))), "{result:?}");
    }
    net.assert_idle();
}
