//! Two offers at once: RFC 3261 §14.

use super::*;

const ALLOW: &str = "Allow: INVITE, ACK, BYE, UPDATE\r\n";

fn command(kind: &str, token: Token, session: SessionId) -> Command {
    match kind {
        "hold" => Command::Hold { token, session },
        "resume" => Command::Resume { token, session },
        _ => Command::Reoffer { token, session, sdp: None },
    }
}

/// Both sides ask for something at the same moment, and get it.
fn at_once(net: &mut Net, [caller, called]: [(&Session, &str); 2]) {
    let tokens = [(A, caller), (B, called)].map(|(node, (session, kind))| {
        let token = net.token(node);
        let now = net.now;
        net.nodes[node].engine.handle_command(now, command(kind, token, session.id));
        (node, token)
    });
    let before = net.nodes.iter().map(refusals).sum::<usize>();
    // RFC 3261 §14.1: the longest wait of whoever made the call.
    net.advance(4 * SECOND);
    for (node, token) in tokens {
        assert!(matches!(net.result(node, token), Some(Ok(Reply::Unit))), "node {node}: {:?}", net.result(node, token));
    }
    let after = net.nodes.iter().map(refusals).sum::<usize>();
    assert!(after - before <= 2, "one refusal each way, and none while the other only waits");
}

fn refusals(node: &crate::fuzz::net::Node) -> usize {
    node.sent.iter().filter(|message| message.starts_with("SIP/2.0 491")).count()
}

#[test]
fn both_sides_may_hold_resume_and_offer_at_once() {
    for external in [false, true] {
        let mut net = pair();
        let (caller, called) = ringing(&mut net);
        let own = external.then(|| sdp(4000, 1, "sendrecv"));
        decide(&mut net, B, &called, Decision::Accept { sdp: own, headers: no_headers() }).expect("accepted");
        let check = |net: &Net, held: [bool; 2]| {
            let state = |held| if held { State::OnHold } else { State::Active };
            assert_eq!([caller.state(), called.state()], held.map(state));
            assert_eq!([called.remote_hold(), caller.remote_hold()], held);
            for (node, here, there) in [(A, held[0], held[1]), (B, held[1], held[0])] {
                if let Some(config) = net.nodes[node].config() {
                    assert_eq!((config.may_send, config.may_receive), (!there, !here), "node {node}");
                }
            }
        };
        for (first, second, held) in [
            ("hold", "hold", [true, true]),
            ("resume", "resume", [false, false]),
            ("hold", "offer", [true, false]),
            ("offer", "hold", [true, true]),
            ("resume", "offer", [false, true]),
            ("hold", "resume", [true, false]),
            ("resume", "hold", [false, true]),
            ("offer", "resume", [false, false]),
            ("offer", "offer", [false, false]),
        ] {
            at_once(&mut net, [(&caller, first), (&called, second)]);
            check(&net, held);
        }
        hang_up(&mut net, A, &caller);
        net.assert_idle();
    }
}

/// Our offer met one of the phone's, and waits.
fn refused(net: &mut Net, kind: &str) -> (Phone, Arc<Session>, Token) {
    let mut phone = Phone::new(B);
    phone.invite(net, ALLOW, &sdp(4000, 1, "sendrecv"));
    let session = net.nodes[B].incoming().expect("it arrived");
    decide(net, B, &session, accept()).expect("it is accepted");
    phone.receive(net, "SIP/2.0 200");
    phone.ack(net, "");
    let id = session.id;
    let own = (kind == "own").then(|| match net.ask(B, |token| Command::GenerateOffer { token, session: id }) {
        Some(Ok(Reply::Text(offer))) => offer.replace("a=ptime:20", "a=ptime:40"),
        other => panic!("no offer: {other:?}"),
    });
    let token = net.command(B, |token| match own {
        Some(own) => Command::Reoffer { token, session: id, sdp: Some(own) },
        None => command(kind, token, id),
    });
    let invite = phone.receive(net, "INVITE ");
    phone.reply(net, &invite, "491 Request Pending", "", "");
    phone.receive(net, "ACK ");
    assert!(net.result(B, token).is_none());
    (phone, session, token)
}

fn version(sdp: &str) -> u64 {
    let origin = sdp.lines().find_map(|line| line.strip_prefix("o=")).expect("an origin");
    origin.split(' ').nth(2).and_then(|version| version.parse().ok()).expect("a version")
}

#[test]
fn an_offer_of_the_peer_is_taken_while_ours_waits_and_its_answer_may_say_all_there_is_to_say() {
    for method in ["INVITE", "UPDATE"] {
        let mut net = pair();
        let (mut phone, session, token) = refused(&mut net, "hold");
        phone.request(&mut net, method, "", &sdp(4002, 2, "sendonly"), "application/sdp");
        let answer = phone.receive(&mut net, "SIP/2.0 200");
        assert!(body(&answer).contains("a=inactive"), "{method}: the peer hears that it is held");
        if method == "INVITE" {
            phone.ack(&mut net, "");
        }
        assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))), "{method}");
        assert_eq!((session.state(), session.remote_hold()), (State::OnHold, true));
        net.advance(5 * SECOND);
        assert!(phone.nothing(&net, "INVITE "), "{method}: nothing is left to say");
        phone.request(&mut net, "BYE", "", "", "");
        net.assert_idle();
    }
}

#[test]
fn what_the_answer_could_not_say_is_offered_from_what_is_in_force_by_then() {
    for (kind, theirs, said) in [
        ("hold", "inactive", "a=inactive"),
        ("hold", "recvonly", "a=sendonly"),
        ("offer", "sendrecv", "a=sendrecv"),
        ("own", "sendrecv", "a=ptime:40"),
    ] {
        let mut net = pair();
        let (mut phone, session, token) = refused(&mut net, kind);
        phone.invite(&mut net, "", &sdp(4002, 2, theirs).replace("RTP/AVP 0 8 101", "RTP/AVP 8"));
        let answer = phone.receive(&mut net, "SIP/2.0 200");
        phone.ack(&mut net, "");
        assert!(net.result(B, token).is_none(), "{kind} {theirs}");
        net.advance(2 * SECOND);
        let invite = phone.receive(&mut net, "INVITE ");
        assert!(body(&invite).contains(said), "{kind} {theirs}: {invite}");
        assert_eq!(version(body(&invite)), version(body(&answer)) + 1, "RFC 3264 §8");
        let answer = match said {
            "a=inactive" => "inactive",
            "a=sendonly" => "recvonly",
            _ => "sendrecv",
        };
        phone.reply(&mut net, &invite, "200 OK", "", &sdp(4002, 3, answer));
        phone.receive(&mut net, "ACK ");
        assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))), "{kind} {theirs}");
        assert_eq!(session.state(), if kind == "hold" { State::OnHold } else { State::Active });
        assert!(net.nodes[B].config().and_then(|config| config.remote_rtp).is_some_and(|to| to.port() == 4002));
        phone.request(&mut net, "BYE", "", "", "");
        net.assert_idle();
    }
}

#[test]
fn an_offer_that_is_asked_for_while_ours_waits_says_it() {
    // The answer in the ACK, or none.
    for acked in [true, false] {
        let mut net = pair();
        let (mut phone, session, token) = refused(&mut net, "hold");
        phone.invite(&mut net, "", "");
        let offer = phone.receive(&mut net, "SIP/2.0 200");
        assert!(body(&offer).contains("a=sendonly"));
        assert!(net.result(B, token).is_none());
        phone.ack(&mut net, &if acked { sdp(4002, 2, "recvonly") } else { String::new() });
        assert_eq!(net.result(B, token).is_some(), acked);
        net.advance(2 * SECOND);
        assert_eq!(phone.nothing(&net, "INVITE "), acked);
        if !acked {
            let invite = phone.receive(&mut net, "INVITE ");
            phone.reply(&mut net, &invite, "200 OK", "", &sdp(4000, 2, "recvonly"));
        }
        assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))));
        assert_eq!(session.state(), State::OnHold);
        phone.request(&mut net, "BYE", "", "", "");
        net.assert_idle();
    }
}

#[test]
fn a_hold_during_an_exchange_that_the_peer_asked_for_follows_it() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    phone.invite(&mut net, "", "");
    phone.receive(&mut net, "SIP/2.0 200");
    let id = session.id;
    let token = net.command(B, |token| command("hold", token, id));
    phone.ack(&mut net, &sdp(4002, 2, "sendrecv"));
    assert_eq!(net.nodes[B].config().and_then(|config| config.remote_rtp).map(|to| to.port()), Some(4002));
    net.advance(2 * SECOND);
    let invite = phone.receive(&mut net, "INVITE ");
    assert!(body(&invite).contains("a=sendonly"));
    phone.reply(&mut net, &invite, "200 OK", "", &sdp(4002, 3, "recvonly"));
    assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))));
    assert_eq!(session.state(), State::OnHold);
}

#[test]
fn an_offer_of_the_peer_is_refused_while_ours_has_no_answer() {
    for method in ["INVITE", "UPDATE"] {
        let mut net = pair();
        let (mut phone, session, _) = refused(&mut net, "hold");
        net.advance(2 * SECOND);
        let invite = phone.receive(&mut net, "INVITE ");
        phone.request(&mut net, method, "", &sdp(4002, 2, "sendonly"), "application/sdp");
        phone.receive(&mut net, "SIP/2.0 491");
        phone.reply(&mut net, &invite, "200 OK", "", &sdp(4000, 2, "recvonly"));
        assert_eq!((session.state(), session.remote_hold()), (State::OnHold, false));
    }
}
