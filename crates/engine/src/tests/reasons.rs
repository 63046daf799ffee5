use super::*;
use crate::api::End;

const BUSY: &str = "Q.850;cause=17;text=\"User busy\"";
const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

fn told(session: &Session) -> Option<&str> {
    session.end().and_then(|end| end.remote_reason.as_deref())
}

fn missed(session: &Session) -> bool {
    session.end().is_some_and(|end| !End::completed_elsewhere(end))
}

/// A call from the phone that B forwards to node A, where it is answered or rings: A's session.
fn forwarded(net: &mut Net, answer: bool) -> (Phone, Arc<Session>, Arc<Session>) {
    let mut phone = Phone::new(B);
    phone.invite(net, "", &sdp(4000, 1, "sendrecv"));
    let first = net.nodes[B].incoming().expect("it arrived");
    decide(net, B, &first, forward(&[&uri(A)])).expect("forwarded");
    let called = net.nodes[A].incoming().expect("it arrived");
    decide(net, A, &called, if answer { accept() } else { Decision::Defer }).expect("decided");
    if answer {
        phone.receive(net, "SIP/2.0 200");
        phone.ack(net, "");
    }
    (phone, first, called)
}

fn cancel(phone: &mut Phone, net: &mut Net, reason: &str) {
    // RFC 3261 §9.1: the INVITE's own branch and number.
    let (start, cseq) = (format!("CANCEL {} SIP/2.0", uri(B)), "1 CANCEL");
    let theirs = std::mem::replace(&mut phone.theirs, format!("<{}>", uri(B)));
    phone.send(net, &start, cseq, reason, "", "");
    phone.theirs = theirs;
}

#[test]
fn what_the_peer_says_of_its_bye_is_kept_and_passed_to_the_other_leg() {
    for (headers, expected) in [
        (format!("Reason: {BUSY}\r\n"), Some(BUSY.to_owned())),
        (format!("Reason: SIP ;cause=480\r\nReason: {BUSY}\r\n"), Some(format!("SIP ;cause=480, {BUSY}"))),
        ("Reason: ;;\r\n".into(), None),
        (format!("Reason: SIP;text=\"{}\"\r\n", "x".repeat(2000)), None),
        (String::new(), None),
    ] {
        let mut net = pair();
        let (mut phone, first, called) = forwarded(&mut net, true);
        phone.request(&mut net, "BYE", &headers, "", "");
        assert_eq!(end_of(&first), (State::Terminated, "remote hangup".into()));
        assert_eq!((told(&first), told(&called)), (expected.as_deref(), expected.as_deref()));
        assert_eq!(header(sent(&net, B, "BYE ")[0], "Reason"), expected.as_deref());
        assert!(missed(&first));
        net.assert_idle();
    }
}

#[test]
fn a_refusal_brings_its_reason_to_the_caller_through_a_forward() {
    let mut net = pair();
    let (mut phone, _, called) = forwarded(&mut net, false);
    let id = called.id;
    let headers = vec![("Reason".to_owned(), BUSY.to_owned())];
    let decision = Decision::Reject { status: 486, reason: String::new(), headers };
    net.ask(A, |token| Command::Decide { token, session: id, decision }).expect("at once").expect("rejected");
    let refusal = phone.receive(&mut net, "SIP/2.0 486");
    assert_eq!(header(&refusal, "Reason"), Some(BUSY));
    // And as a caller of ours sees it.
    let caller = dial(&mut net, B, "sip:phone@10.9.0.1");
    let mut phone = Phone::new(B);
    let invite = phone.receive(&mut net, "INVITE ");
    phone.reply(&mut net, &invite, "480 Away", &format!("Reason: {BUSY}\r\n"), "");
    assert_eq!((end_of(&caller).1.as_str(), told(&caller)), ("rejected 480 Away", Some(BUSY)));
}

#[test]
fn a_call_that_was_answered_elsewhere_is_not_missed() {
    for (reason, is_missed) in
        [(ELSEWHERE, false), ("sip ;CAUSE=200", false), ("SIP;cause=487", true), (BUSY, true), ("", true)]
    {
        let mut net = pair();
        let headers = if reason.is_empty() { String::new() } else { format!("Reason: {reason}\r\n") };
        let (mut phone, first, called) = forwarded(&mut net, false);
        cancel(&mut phone, &mut net, &headers);
        net.advance(SECOND);
        // Through the forward too: the telephones behind it have not missed it either.
        for session in [&first, &called] {
            assert_eq!(end_of(session), (State::Cancelled, "cancelled".into()));
            assert_eq!(told(session), Some(reason).filter(|reason| !reason.is_empty()));
            assert_eq!(missed(session), is_missed, "{reason}");
        }
    }
}

#[test]
fn the_losers_of_a_parallel_forward_learn_that_they_missed_nothing() {
    let mut net = pair();
    net.add(config());
    net.add(config());
    let (_, first) = ringing(&mut net);
    let decision =
        Decision::Forward { targets: vec![uri(C), uri(3)], redirect: false, parallel: true, ring: 30 * SECOND };
    decide(&mut net, B, &first, decision).expect("forwarded");
    let loser = net.nodes[C].incoming().expect("it arrived");
    let winner = net.nodes[3].incoming().expect("it arrived");
    decide(&mut net, C, &loser, Decision::Defer).expect("ringing");
    decide(&mut net, 3, &winner, accept()).expect("accepted");
    assert_eq!((end_of(&loser).1.as_str(), missed(&loser)), ("cancelled", false));
    // The one that rings when the caller gives up has missed it.
    let (caller, first) = ringing(&mut net);
    decide(&mut net, B, &first, forward(&[&uri(C)])).expect("forwarded");
    let called = net.nodes[C].incoming().expect("it arrived");
    decide(&mut net, C, &called, Decision::Defer).expect("ringing");
    hang_up(&mut net, A, &caller);
    assert!(missed(&called) && told(&called).is_none());
}
