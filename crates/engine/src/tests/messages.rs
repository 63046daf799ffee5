use super::*;
use crate::api::TextMessage;

const PHONE: &str = "sip:phone@10.9.0.1";

fn send(net: &mut Net, node: usize, to: &str, body: &str) -> Token {
    net.command(node, |token| Command::SendMessage {
        token,
        from: "\"Alice\" <sip:alice@example.com>".into(),
        to: to.into(),
        content_type: "text/plain;charset=utf-8".into(),
        body: body.into(),
    })
}

fn messages(net: &Net, node: usize) -> Vec<TextMessage> {
    let told = |event: &Event| match event {
        Event::Message(message) => Some(TextMessage::clone(message)),
        _ => None,
    };
    net.nodes[node].events.iter().filter_map(told).collect()
}

#[test]
fn a_message_gets_there_whole() {
    let mut net = pair();
    for body in ["hello", "", "Größe: 5 < 6 & \"so\"\r\n\0", &"x".repeat(20_000)] {
        let token = send(&mut net, A, &uri(B), body);
        assert!(matches!(net.result(A, token), Some(Ok(Reply::Unit))), "{:?}", net.result(A, token));
        let told = messages(&net, B).pop().expect("it came");
        assert_eq!(
            (told.from.as_str(), told.to.as_str(), told.body.as_str()),
            ("sip:alice@example.com", &*uri(B), body)
        );
        let expected = if body.is_empty() { "text/plain" } else { "text/plain;charset=utf-8" };
        assert_eq!(told.content_type, expected);
    }
    let request = sent(&net, A, "MESSAGE ")[0];
    assert_eq!(header(request, "Contact"), None, "RFC 3428 §4");
    net.assert_idle();
}

#[test]
fn what_the_peer_says_to_a_message() {
    for (line, headers, expected) in [
        ("200 OK", "", None),
        ("202 Accepted", "", None),
        ("404 Not Found", "", Some((404, "Not Found", vec![]))),
        ("302 Moved Temporarily", "", Some((302, "Moved Temporarily", vec!["sip:phone@10.9.0.1:5060"]))),
        ("603 Decline", "", Some((603, "Decline", vec![]))),
    ] {
        let mut net = pair();
        let mut phone = Phone::new(A);
        let token = send(&mut net, A, PHONE, "hello");
        let request = phone.receive(&mut net, "MESSAGE ");
        phone.reply(&mut net, &request, line, headers, "");
        let expected = match expected {
            None => Ok(()),
            Some((status, reason, targets)) => Err(Error::Rejected {
                status,
                reason: reason.to_owned(),
                targets: targets.into_iter().map(str::to_owned).collect(),
            }),
        };
        assert_eq!(net.result(A, token).expect("told").map(|_| ()), expected);
        net.assert_idle();
    }
}

#[test]
fn silence_fails_as_a_408_does() {
    let mut net = pair();
    let token = send(&mut net, A, PHONE, "hello");
    net.advance(31 * SECOND);
    assert!(net.result(A, token).is_none());
    net.advance(SECOND);
    let error = net.result(A, token).expect("timer F").unwrap_err();
    assert_eq!(error, Error::Failed { status: Some(408), cause: "no answer from the network".into() });
    let waiting = send(&mut net, A, PHONE, "hello");
    net.command(A, |token| Command::GiveUp { token, request: waiting });
    assert_eq!(net.result(A, waiting).expect("given up").unwrap_err(), Error::Ended("given up".into()));
    net.assert_idle();
}

#[test]
fn bad_input_is_named_and_sends_nothing() {
    let mut net = pair();
    let mut failed = |to: &str, content_type: &str, body: String| {
        let result = net.ask(A, |token| Command::SendMessage {
            token,
            from: "sip:alice@example.com".into(),
            to: to.into(),
            content_type: content_type.into(),
            body,
        });
        result.expect("at once").unwrap_err()
    };
    assert!(matches!(failed("tel:+1", "text/plain", String::new()), Error::InvalidUri { .. }));
    assert!(matches!(failed(PHONE, "text/plain\r\nVia: x", String::new()), Error::InvalidHeader(_)));
    assert!(matches!(failed(PHONE, "text", String::new()), Error::InvalidHeader(_)));
    assert!(matches!(failed(PHONE, "text/plain", "x".repeat(32_769)), Error::BadValue(_)));
    assert!(net.nodes[A].sent.is_empty());
}

#[test]
fn what_a_peer_sends_is_text_or_415() {
    let mut net = pair();
    let mut phone = Phone::new(B);
    for (content_type, body, line) in [
        ("text/plain", "hello", "SIP/2.0 200"),
        ("application/im-iscomposing+xml", "<isComposing/>", "SIP/2.0 200"),
        ("text/plain;charset=utf-16", "h", "SIP/2.0 415"),
    ] {
        phone.theirs = format!("<{}>", uri(B));
        phone.request(&mut net, "MESSAGE", "", body, content_type);
        phone.receive(&mut net, line);
    }
    let told: Vec<(String, String)> =
        messages(&net, B).into_iter().map(|told| (told.content_type, told.body)).collect();
    let expected = [("text/plain", "hello"), ("application/im-iscomposing+xml", "<isComposing/>")];
    assert_eq!(told, expected.map(|(kind, body)| (kind.to_owned(), body.to_owned())));
    net.assert_idle();
}

#[test]
fn a_message_within_a_call_is_one_too() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    phone.request(&mut net, "MESSAGE", "", "hello", "text/plain");
    phone.receive(&mut net, "SIP/2.0 200");
    assert_eq!(messages(&net, B).len(), 1);
    assert_eq!(session.state(), State::Active);
    hang_up(&mut net, B, &session);
}

#[test]
fn nobody_listens_or_too_many_come() {
    let mut net = with(Config { interest: Interest { message: false, ..Interest::ALL }, ..config() });
    let token = send(&mut net, A, &uri(B), "hello");
    assert!(matches!(net.result(A, token), Some(Err(Error::Rejected { status: 405, .. }))));
    let mut net = pair();
    for _ in 0..1001 {
        send(&mut net, A, &uri(B), "hello");
    }
    assert_eq!(messages(&net, B).len(), 1000);
    assert_eq!(sent(&net, B, "SIP/2.0 503 ").len(), 1);
    net.advance(SECOND);
    let token = send(&mut net, A, &uri(B), "hello");
    assert!(matches!(net.result(A, token), Some(Ok(Reply::Unit))));
    net.nodes[B].engine.handle_backlog(net.now, Some(3 * SECOND));
    let token = send(&mut net, A, &uri(B), "hello");
    assert!(matches!(net.result(A, token), Some(Err(Error::Rejected { status: 503, .. }))));
    net.assert_idle();
}
