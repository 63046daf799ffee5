use super::*;
use crate::api::{Direction, TransferTarget};

fn three() -> Net {
    let mut net = pair();
    net.add(config());
    net
}

fn transfer(net: &mut Net, node: usize, session: &Session, target: TransferTarget) -> Token {
    let id = session.id;
    net.command(node, |token| Command::Transfer { token, session: id, target })
}

fn to_uri(node: usize) -> TransferTarget {
    TransferTarget::Uri(uri(node))
}

fn decide_transfer(net: &mut Net, node: usize, session: &Session, accept: bool) {
    let id = session.id;
    net.command(node, |token| Command::DecideTransfer { token, session: id, accept });
}

/// A second telephone that calls node B.
fn another_phone() -> Phone {
    let mut phone = Phone::new(B);
    (phone.call_id, phone.branch) = ("other".into(), 1000);
    phone
}

/// The session that a node placed last.
fn placed(net: &Net, node: usize) -> Arc<Session> {
    let directory = net.nodes[node].engine.directory();
    let mut sessions = directory.active().into_iter().filter_map(|id| directory.get(id));
    let waits = |session: &Arc<Session>| session.answered_at().is_none() && session.direction == Direction::Outgoing;
    sessions.rfind(waits).expect("a session was placed")
}

fn failure(net: &Net, node: usize, token: Token) -> (Option<u16>, String) {
    match net.result(node, token) {
        Some(Err(Error::Transfer { status, cause })) => (status, cause),
        other => panic!("{other:?}"),
    }
}

fn done(net: &Net, node: usize, token: Token) -> bool {
    match net.result(node, token) {
        None => false,
        Some(Ok(Reply::Unit)) => true,
        other => panic!("{other:?}"),
    }
}

fn end_all(net: &mut Net) {
    for node in 0..net.nodes.len() {
        for id in net.nodes[node].engine.directory().active() {
            net.command(node, |token| Command::Hangup { token, session: id, reason: None });
        }
    }
    net.assert_idle();
}

#[test]
fn blind_from_one_system_to_another() {
    let mut net = three();
    let (caller, called) = answered(&mut net);
    let token = transfer(&mut net, B, &called, to_uri(C));
    assert_eq!((called.state(), caller.state()), (State::Transferring, State::Active));
    assert_eq!(story(&net, A, caller.id).last(), Some(&format!("transfer to {}", uri(C))));
    decide_transfer(&mut net, A, &caller, true);
    assert_eq!(caller.state(), State::Transferring);
    let new = placed(&net, A);
    assert_eq!((&*new.from_uri, &*new.to_uri), (&*caller.from_uri, &*uri(C)));
    let target = net.nodes[C].incoming().expect("it rings");
    let invite = sent(&net, A, "INVITE ")[1];
    assert_eq!(header(invite, "Referred-By"), Some(&*format!("<{}>", called.to_uri)));
    assert!(!done(&net, B, token), "it rings");
    decide(&mut net, C, &target, accept()).expect("it is accepted");
    assert!(done(&net, B, token));
    assert_eq!((end_of(&called), end_of(&caller).0), ((State::Terminated, "transferred".into()), State::Terminated));
    assert_eq!((new.state(), target.state()), (State::Active, State::Active));
    let told: Vec<&str> = sent(&net, A, "NOTIFY ").into_iter().map(body).collect();
    assert_eq!(told, ["SIP/2.0 100 Trying\r\n", "SIP/2.0 200 OK\r\n"]);
    let last = sent(&net, A, "NOTIFY ")[1];
    assert_eq!(header(last, "Event"), Some("refer"));
    assert_eq!(header(last, "Subscription-State"), Some("terminated;reason=noresource"));
    assert_eq!(header(last, "Content-Type"), Some("message/sipfrag;version=2.0"));
    assert!(header(last, "Contact").is_some() && header(sent(&net, A, "SIP/2.0 202")[0], "Contact").is_some());
    end_all(&mut net);
}

#[test]
fn a_target_that_refuses_leaves_both_as_they_were() {
    for held in [false, true] {
        let mut net = three();
        let (caller, called) = answered(&mut net);
        if held {
            let id = called.id;
            net.command(B, |token| Command::Hold { token, session: id });
        }
        let before = (caller.state(), called.state());
        for _ in 0..2 {
            let token = transfer(&mut net, B, &called, to_uri(C));
            decide_transfer(&mut net, A, &caller, true);
            let target = net.nodes[C].incoming().expect("it rings");
            decide(&mut net, C, &target, Decision::Defer).expect("it rings");
            decide(&mut net, C, &target, reject(486, "Busy Here")).expect("it is refused");
            assert_eq!(failure(&net, B, token), (Some(486), "Busy Here".into()));
            assert_eq!((caller.state(), called.state()), before);
        }
        let notifies = sent(&net, A, "NOTIFY ");
        let told: Vec<&str> = notifies.iter().map(|message| body(message)).collect();
        let round = ["SIP/2.0 100 Trying\r\n", "SIP/2.0 180 Ringing\r\n", "SIP/2.0 486 Busy Here\r\n"];
        assert_eq!(told, [round, round].concat());
        // RFC 3515 §2.4.6: the second REFER of a dialog has to be named.
        assert_eq!(header(notifies[0], "Event"), Some("refer"));
        assert!(header(notifies[3], "Event").is_some_and(|event| event.starts_with("refer;id=")));
        end_all(&mut net);
    }
}

#[test]
fn who_does_not_want_to_is_not_transferred() {
    let mut net = three();
    let (caller, called) = answered(&mut net);
    let token = transfer(&mut net, B, &called, to_uri(C));
    decide_transfer(&mut net, A, &caller, false);
    assert_eq!(failure(&net, B, token), (Some(603), "Decline".into()));
    assert_eq!((caller.state(), called.state()), (State::Active, State::Active));
    // Nobody decides.
    let token = transfer(&mut net, B, &called, to_uri(C));
    net.advance(20 * SECOND);
    assert_eq!(failure(&net, B, token).0, Some(603));
    decide_transfer(&mut net, A, &caller, true);
    assert_eq!(caller.state(), State::Active, "too late");
    end_all(&mut net);
    let mut net = with(Config { interest: Interest { transfer: false, ..Interest::ALL }, ..config() });
    let (caller, _) = answered(&mut net);
    let token = transfer(&mut net, A, &caller, to_uri(A));
    assert_eq!(failure(&net, A, token).0, Some(603));
    end_all(&mut net);
}

#[test]
fn a_target_that_cannot_be_called_at_all() {
    let mut net = three();
    net.nodes[A].ports().most = 1;
    let (caller, called) = answered(&mut net);
    let token = transfer(&mut net, B, &called, to_uri(C));
    decide_transfer(&mut net, A, &caller, true);
    assert_eq!(failure(&net, B, token), (Some(503), "Service Unavailable".into()));
    assert_eq!((caller.state(), called.state()), (State::Active, State::Active));
    let token = transfer(&mut net, B, &called, TransferTarget::Uri("tel:+1".into()));
    assert_eq!(failure(&net, B, token).0, Some(416));
    end_all(&mut net);
}

#[test]
fn attended_replaces_the_call_at_the_target() {
    for late in [false, true] {
        let mut net = three();
        // B has a call with A and one with C, and connects the two.
        let (caller, called) = answered(&mut net);
        let consult = dial(&mut net, B, &uri(C));
        let target = net.nodes[C].incoming().expect("it rings");
        decide(&mut net, C, &target, accept()).expect("it is accepted");
        let _ = late;
        let token = transfer(&mut net, B, &called, TransferTarget::Session(consult.id));
        let refer = sent(&net, B, "REFER ")[0];
        let refer_to = header(refer, "Refer-To").expect("a Refer-To");
        assert!(refer_to.starts_with(&format!("<sip:ringback@{}?Replaces=", address(C))), "{refer_to}");
        decide_transfer(&mut net, A, &caller, true);
        assert!(done(&net, B, token));
        assert_eq!(end_of(&called), (State::Terminated, "transferred".into()));
        assert_eq!(end_of(&caller), (State::Terminated, "transferred".into()));
        assert_eq!(end_of(&target), (State::Terminated, "replaced".into()));
        assert_eq!(end_of(&consult), (State::Terminated, "remote hangup".into()));
        let directory = net.nodes[C].engine.directory();
        let [new] = directory.active()[..] else { panic!("one call") };
        assert_eq!(story(&net, C, new), ["active", "established"], "nobody is asked");
        assert_eq!(net.nodes[A].engine.directory().active().len(), 1);
        end_all(&mut net);
    }
}

#[test]
fn the_other_call_is_ended_even_where_the_target_does_not_know_replaces() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    let consult = dial(&mut net, B, &uri(A));
    let called = net.nodes[A].incoming().expect("it rings");
    decide(&mut net, A, &called, accept()).expect("it is accepted");
    let token = transfer(&mut net, B, &session, TransferTarget::Session(consult.id));
    let refer = phone.receive(&mut net, "REFER ");
    phone.reply(&mut net, &refer, "202 Accepted", "", "");
    notify(&mut phone, &mut net, "terminated;reason=noresource", "SIP/2.0 200 OK");
    assert!(done(&net, B, token));
    assert_eq!(consult.state(), State::Active);
    net.advance(5 * SECOND);
    assert_eq!(end_of(&consult), (State::Terminated, "transferred".into()));
    end_all_with_phone(&mut net, &mut phone);
}

/// A NOTIFY of the phone's in its call.
fn notify(phone: &mut Phone, net: &mut Net, state: &str, fragment: &str) {
    let headers = format!("Event: refer\r\nSubscription-State: {state}\r\n");
    phone.request(net, "NOTIFY", &headers, &format!("{fragment}\r\n"), "message/sipfrag");
}

fn end_all_with_phone(net: &mut Net, phone: &mut Phone) {
    while let Some((to, message)) = net.outside.pop_front() {
        if to == phone.address && message.starts_with("BYE ") {
            phone.reply(net, &message, "200 OK", "", "");
        }
    }
    end_all(net);
}

#[test]
fn what_a_referred_phone_may_say() {
    // What it answers to the REFER, its NOTIFYs, and what comes of it.
    type Notifies = &'static [(&'static str, &'static str)];
    type Outcome = Option<(Option<u16>, &'static str)>;
    const ACTIVE: &str = "active;expires=60";
    const OVER: &str = "terminated;reason=noresource";
    let cases: [(&str, &str, Notifies, Outcome); 9] = [
        ("202 Accepted", "", &[(ACTIVE, "SIP/2.0 100 Trying"), (OVER, "SIP/2.0 200 OK")], None),
        ("200 OK", "", &[(ACTIVE, "SIP/2.0 200 OK")], None),
        ("202 Accepted", "Refer-Sub: false\r\n", &[], None),
        ("202 Accepted", "", &[(OVER, "SIP/2.0 404 Not Found")], Some((Some(404), "Not Found"))),
        ("202 Accepted", "", &[(ACTIVE, "SIP/2.0 603 No")], Some((Some(603), "No"))),
        (
            "202 Accepted",
            "",
            &[("terminated;reason=giveup", "SIP/2.0 180 Ringing")],
            Some((None, "no outcome was told: giveup")),
        ),
        ("202 Accepted", "", &[("terminated", "garbage")], Some((None, "no outcome was told: the subscription ended"))),
        ("405 Method Not Allowed", "", &[], Some((Some(405), "Method Not Allowed"))),
        ("481 Call/Transaction Does Not Exist", "", &[], Some((Some(481), "Call/Transaction Does Not Exist"))),
    ];
    for (answer, headers, notifies, outcome) in cases {
        let mut net = pair();
        let (mut phone, session) = phone_calls(&mut net);
        let token = transfer(&mut net, B, &session, to_uri(A));
        let refer = phone.receive(&mut net, "REFER ");
        assert_eq!(header(&refer, "Refer-To"), Some(&*format!("<{}>", uri(A))));
        assert_eq!(header(&refer, "Referred-By"), Some(&*format!("<{}>", uri(B))));
        phone.reply(&mut net, &refer, answer, headers, "");
        for (state, fragment) in notifies {
            notify(&mut phone, &mut net, state, fragment);
            assert_eq!(
                sent(&net, B, "SIP/2.0 200").len(),
                1 + notifies.iter().position(|n| *n == (*state, *fragment)).unwrap() + 1
            );
        }
        match outcome {
            None => {
                assert!(done(&net, B, token), "{answer} {notifies:?}");
                assert_eq!(end_of(&session), (State::Terminated, "transferred".into()));
            }
            Some((status, cause)) => {
                assert_eq!(failure(&net, B, token), (status, cause.to_owned()));
                assert_eq!(session.state(), State::Active);
            }
        }
        end_all_with_phone(&mut net, &mut phone);
    }
}

#[test]
fn a_referral_is_not_followed_for_ever() {
    // Nothing after the 202; nothing after the first NOTIFY; no answer at all.
    for (answer, notified, after) in
        [(true, None, 32), (true, Some("active;expires=60"), 60), (true, Some("active"), 200), (false, None, 32)]
    {
        let mut net = pair();
        let (mut phone, session) = phone_calls(&mut net);
        let token = transfer(&mut net, B, &session, to_uri(A));
        let refer = phone.receive(&mut net, "REFER ");
        if answer {
            phone.reply(&mut net, &refer, "202 Accepted", "", "");
        }
        if let Some(state) = notified {
            notify(&mut phone, &mut net, state, "SIP/2.0 100 Trying");
        }
        net.advance((after - 1) * SECOND);
        assert!(!done(&net, B, token));
        net.advance(SECOND);
        assert_eq!(failure(&net, B, token).0, Some(408));
        assert_eq!(session.state(), State::Active, "RFC 5057: the call does not suffer for it");
        // Too late.
        notify(&mut phone, &mut net, "terminated;reason=noresource", "SIP/2.0 200 OK");
        assert_eq!(sent(&net, B, "SIP/2.0 481").len(), 1);
        end_all_with_phone(&mut net, &mut phone);
    }
}

#[test]
fn notifies_of_something_else_change_nothing() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    notify(&mut phone, &mut net, "terminated", "SIP/2.0 200 OK");
    let token = transfer(&mut net, B, &session, to_uri(A));
    for (headers, answer) in [
        ("Event: dialog\r\nSubscription-State: active\r\n", "SIP/2.0 489"),
        ("Subscription-State: active\r\n", "SIP/2.0 489"),
        ("Event: refer;id=4711\r\nSubscription-State: active\r\n", "SIP/2.0 481"),
        ("Event: refer\r\n", "SIP/2.0 400"),
    ] {
        phone.request(&mut net, "NOTIFY", headers, "SIP/2.0 200 OK\r\n", "message/sipfrag");
        phone.receive(&mut net, answer);
    }
    assert!(!done(&net, B, token));
    assert_eq!(session.state(), State::Transferring);
    // The call ends before anything is told.
    phone.request(&mut net, "BYE", "", "", "");
    let (status, cause) = failure(&net, B, token);
    assert_eq!((status, cause.as_str()), (None, "the call ended before an outcome was told: remote hangup"));
    net.assert_idle();
}

#[test]
fn a_phone_that_has_taken_the_refer_and_hangs_up_has_gone_to_the_target() {
    // What it says before its BYE: the 202, a first NOTIFY, the latter alone (the 202 was lost).
    for (accepts, notifies) in [(true, false), (true, true), (false, true)] {
        let mut net = pair();
        let (mut phone, session) = phone_calls(&mut net);
        let consult = dial(&mut net, B, &uri(A));
        let called = net.nodes[A].incoming().expect("it rings");
        decide(&mut net, A, &called, accept()).expect("it is accepted");
        let token = transfer(&mut net, B, &session, TransferTarget::Session(consult.id));
        let refer = phone.receive(&mut net, "REFER ");
        if accepts {
            phone.reply(&mut net, &refer, "202 Accepted", "", "");
        }
        if notifies {
            notify(&mut phone, &mut net, "active;expires=60", "SIP/2.0 100 Trying");
        }
        phone.request(&mut net, "BYE", "", "", "");
        assert!(done(&net, B, token), "{accepts} {notifies}");
        assert_eq!(end_of(&session), (State::Terminated, "remote hangup".into()));
        // Nobody may have taken its place: that is for the target to say.
        net.advance(60 * SECOND);
        assert_eq!(consult.state(), State::Active);
        // The last NOTIFY, which was lost and comes again.
        notify(&mut phone, &mut net, "terminated;reason=noresource", "SIP/2.0 200 OK");
        phone.receive(&mut net, "SIP/2.0 481");
        hang_up(&mut net, B, &consult);
        net.assert_idle();
    }
}

#[test]
fn what_is_over_cannot_be_replaced() {
    let mut net = pair();
    let replacing = |net: &mut Net, n: u32, headers: &str| {
        let mut other = Phone::new(B);
        (other.call_id, other.own) = (format!("other-{n}"), "<sip:other@10.9.0.1>;tag=o".into());
        other.branch = 100 * n;
        other.invite(net, headers, &sdp(4002, 1, "sendrecv"));
        let answer = other.receive(net, "SIP/2.0 ");
        other.branch -= 1;
        other.ack(net, "");
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    // RFC 3891 §3: who was there has hung up, or we have; a call of ours was refused.
    let (mut phone, session) = phone_calls(&mut net);
    let ours = tag(&phone.theirs).to_owned();
    phone.request(&mut net, "BYE", "", "", "");
    phone.receive(&mut net, "SIP/2.0 200");
    let old = replaces(&session, &ours, "own", "");
    assert_eq!(replacing(&mut net, 1, &old), "603");
    assert_eq!(replacing(&mut net, 2, &replaces(&session, &ours, "another", "")), "481");
    let mut phone = Phone::new(B);
    (phone.call_id, phone.own) = ("second".into(), "<sip:phone@10.9.0.1>;tag=own2".into());
    phone.branch = 10;
    phone.invite(&mut net, "", &sdp(4000, 1, "sendrecv"));
    let session = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &session, accept()).expect("it is accepted");
    phone.receive(&mut net, "SIP/2.0 200");
    phone.ack(&mut net, "");
    let ours = tag(&phone.theirs).to_owned();
    hang_up(&mut net, B, &session);
    assert_eq!(replacing(&mut net, 3, &replaces(&session, &ours, "own2", "")), "603");
    let session = dial(&mut net, B, "sip:phone@10.9.0.1");
    let mut phone = Phone::new(B);
    let invite = phone.receive(&mut net, "INVITE ");
    let ours = tag(header(&invite, "From").expect("a From")).to_owned();
    phone.reply(&mut net, &invite, "486 Busy Here", "", "");
    assert_eq!(replacing(&mut net, 4, &replaces(&session, &ours, "phone", "")), "603");
    // It is remembered as long as an ended session is.
    net.advance(61 * SECOND);
    assert_eq!(replacing(&mut net, 5, &old), "481");
}

#[test]
fn who_watches_a_user_picks_its_call_up_by_what_the_document_says() {
    let mut net = pair();
    dial(&mut net, B, "sip:phone@10.9.0.1");
    let mut phone = Phone::new(B);
    let invite = phone.receive(&mut net, "INVITE ");
    phone.reply(&mut net, &invite, "180 Ringing", "", "");
    let session = placed(&net, B);
    let ours = tag(header(&invite, "From").expect("a From")).to_owned();
    let mut other = another_phone();
    // RFC 4235: local-tag is the watched user's, which is not us.
    other.invite(&mut net, &replaces(&session, "phone", &ours, ";early-only"), &sdp(4002, 1, "sendrecv"));
    other.receive(&mut net, "SIP/2.0 200");
    other.ack(&mut net, "");
    assert_eq!(session.state(), State::Cancelled);
    let cancel = phone.receive(&mut net, "CANCEL ");
    assert_eq!(header(&cancel, "Reason"), Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    phone.reply(&mut net, &invite, "487 Request Terminated", "", "");
    end_all_with_phone(&mut net, &mut phone);
}

#[test]
fn a_transfer_needs_an_answered_call_that_does_nothing_else() {
    let mut net = three();
    let (caller, called) = ringing(&mut net);
    for (node, session) in [(A, &caller), (B, &called)] {
        let token = transfer(&mut net, node, session, to_uri(C));
        assert!(matches!(net.result(node, token), Some(Err(Error::InvalidState { .. }))));
    }
    decide(&mut net, B, &called, accept()).expect("it is accepted");
    let token = transfer(&mut net, B, &called, TransferTarget::Uri("nonsense".into()));
    assert!(matches!(net.result(B, token), Some(Err(Error::InvalidUri { .. }))));
    let token = transfer(&mut net, B, &called, TransferTarget::Session(called.id));
    assert!(matches!(net.result(B, token), Some(Err(Error::BadValue(_)))));
    let first = transfer(&mut net, B, &called, to_uri(C));
    let second = transfer(&mut net, B, &called, to_uri(C));
    assert!(matches!(net.result(B, second), Some(Err(Error::InvalidState { .. }))));
    let id = called.id;
    let hold = net.ask(B, |token| Command::Hold { token, session: id });
    assert!(matches!(hold, Some(Err(Error::InvalidState { state: State::Transferring, .. }))));
    hang_up(&mut net, B, &called);
    assert_eq!(failure(&net, B, first).0, None);
    end_all(&mut net);
}

#[test]
fn a_phone_refers_us() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    for (headers, answer) in [
        ("", "SIP/2.0 400"),
        ("Refer-To: <sip:a@10.0.0.1>\r\nRefer-To: <sip:b@10.0.0.1>\r\n", "SIP/2.0 400"),
        ("Refer-To: nonsense\r\n", "SIP/2.0 400"),
        ("Refer-To: <sip:a@10.0.0.1;method=BYE>\r\n", "SIP/2.0 603"),
        ("Refer-To: <mailto:a@b>\r\n", "SIP/2.0 416"),
        ("Refer-To: <sip:a@10.0.0.1?Replaces=a%0D%0AVia:x>\r\n", "SIP/2.0 400"),
    ] {
        phone.request(&mut net, "REFER", headers, "", "");
        phone.receive(&mut net, answer);
    }
    // RFC 4488: it does not want to be told.
    let refer_to = format!("Refer-To: \"A\" <{}?Subject=x&Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n", uri(A));
    let headers = format!("{refer_to}Refer-Sub: false\r\nRequire: norefersub\r\nReferred-By: <sip:phone@10.9.0.1>\r\n");
    phone.request(&mut net, "REFER", &headers, "", "");
    // Another, while one waits.
    phone.request(&mut net, "REFER", &refer_to, "", "");
    phone.receive(&mut net, "SIP/2.0 491");
    decide_transfer(&mut net, B, &session, true);
    let accepted = phone.receive(&mut net, "SIP/2.0 202");
    assert_eq!(header(&accepted, "Refer-Sub"), Some("false"));
    let invite = sent(&net, B, "INVITE ")[0];
    assert_eq!(header(invite, "Replaces"), Some("c;to-tag=1;from-tag=2"));
    assert_eq!(header(invite, "Referred-By"), Some("<sip:phone@10.9.0.1>"));
    assert_eq!(header(invite, "Subject"), None, "RFC 3261 §19.1.5");
    // A has no such dialog.
    assert_eq!(sent(&net, A, "SIP/2.0 481").len(), 1);
    assert_eq!(session.state(), State::Active);
    assert!(phone.nothing(&net, "NOTIFY "));
    end_all_with_phone(&mut net, &mut phone);
}

#[test]
fn a_phone_that_hangs_up_at_once_or_does_not_want_its_notifies() {
    for early in [true, false] {
        let mut net = pair();
        let (mut phone, session) = phone_calls(&mut net);
        phone.request(&mut net, "REFER", &format!("Refer-To: {}\r\n", uri(A)), "", "");
        decide_transfer(&mut net, B, &session, true);
        let target = net.nodes[A].incoming().expect("it rings");
        phone.receive(&mut net, "SIP/2.0 202");
        let trying = phone.receive(&mut net, "NOTIFY ");
        if early {
            phone.request(&mut net, "BYE", "", "", "");
            assert_eq!(end_of(&session), (State::Terminated, "remote hangup".into()));
        } else {
            phone.reply(&mut net, &trying, "481 No", "", "");
        }
        decide(&mut net, A, &target, accept()).expect("it is accepted");
        assert!(phone.nothing(&net, "NOTIFY "), "nobody listens");
        assert!(session.state().is_final());
        assert_eq!(target.state(), State::Active);
        end_all_with_phone(&mut net, &mut phone);
    }
}

#[test]
fn holding_that_crosses_a_refer_shows_when_the_transfer_has_come_to_nothing() {
    // Whether the call was on hold before, and whether the program had decided when the peer agreed.
    for (held, decided) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut net = pair();
        let (mut phone, session) = phone_calls(&mut net);
        let (id, mut version) = (session.id, 1);
        let mut change =
            |net: &mut Net, phone: &mut Phone, hold: bool, between: &mut dyn FnMut(&mut Net, &mut Phone)| {
                version += 1;
                let command = |token| {
                    if hold { Command::Hold { token, session: id } } else { Command::Resume { token, session: id } }
                };
                let token = net.command(B, command);
                let invite = phone.receive(net, "INVITE ");
                between(net, phone);
                let direction = if hold { "recvonly" } else { "sendrecv" };
                let cseq = phone.cseq;
                phone.reply(net, &invite, "200 OK", "", &sdp(4000, version, direction));
                phone.cseq = cseq;
                assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))));
            };
        if held {
            change(&mut net, &mut phone, true, &mut |_, _| ());
        }
        change(&mut net, &mut phone, !held, &mut |net, phone| {
            phone.request(net, "REFER", &format!("Refer-To: {}\r\n", uri(A)), "", "");
            if decided {
                decide_transfer(net, B, &session, true);
            }
        });
        if !decided {
            decide_transfer(&mut net, B, &session, true);
        }
        assert_eq!(session.state(), State::Transferring);
        let target = net.nodes[A].incoming().expect("it rings");
        decide(&mut net, A, &target, reject(486, "Busy Here")).expect("it is refused");
        assert_eq!(session.state(), if held { State::Active } else { State::OnHold }, "{held} {decided}");
        end_all_with_phone(&mut net, &mut phone);
    }
}

#[test]
fn holding_at_the_other_leg_passes_when_a_transfer_has_come_to_nothing() {
    let mut net = three();
    net.add(config());
    let [caller, _, leg, target] = forwarded(&mut net);
    transfer(&mut net, C, &target, to_uri(3));
    decide_transfer(&mut net, B, &leg, true);
    let fourth = net.nodes[3].incoming().expect("it rings");
    let id = caller.id;
    net.ask(A, |token| Command::Hold { token, session: id }).expect("answered").expect("held");
    assert_eq!((leg.state(), target.remote_hold()), (State::Transferring, false));
    decide(&mut net, 3, &fourth, reject(486, "Busy Here")).expect("it is refused");
    net.advance(SECOND);
    assert_eq!((leg.state(), target.remote_hold()), (State::OnHold, true));
    end_all(&mut net);
}

#[test]
fn a_notify_that_another_request_has_overtaken_is_told_again() {
    // How often it is refused, and whether the outcome arrives then.
    for (times, arrives) in [(1, true), (5, true), (6, false)] {
        let mut net = pair();
        let (mut phone, session) = phone_calls(&mut net);
        phone.request(&mut net, "REFER", &format!("Refer-To: {}\r\n", uri(A)), "", "");
        decide_transfer(&mut net, B, &session, true);
        let target = net.nodes[A].incoming().expect("it rings");
        decide(&mut net, A, &target, reject(486, "Busy Here")).expect("it is refused");
        for _ in 0..times {
            let notify = phone.receive(&mut net, "NOTIFY ");
            phone.reply(&mut net, &notify, "500 Server Internal Error", "", "");
        }
        assert_eq!(!phone.nothing(&net, "NOTIFY "), arrives, "{times}");
        if arrives {
            let last = phone.receive(&mut net, "NOTIFY ");
            phone.reply(&mut net, &last, "200 OK", "", "");
            assert_eq!(body(&last), "SIP/2.0 486 Busy Here\r\n", "what came meanwhile is told");
            assert!(phone.nothing(&net, "NOTIFY "));
        }
        assert_eq!(session.state(), State::Active);
        end_all_with_phone(&mut net, &mut phone);
    }
}

/// A calls B, which forwards to C: A's session, both of B's, C's.
fn forwarded(net: &mut Net) -> [Arc<Session>; 4] {
    let (caller, called) = ringing(net);
    decide(net, B, &called, forward(&[&uri(C)])).expect("it is forwarded");
    let target = net.nodes[C].incoming().expect("it rings");
    decide(net, C, &target, accept()).expect("it is accepted");
    let leg = called.peer().expect("a leg");
    let leg = net.nodes[B].engine.directory().get(leg).expect("it is there");
    [caller, called, leg, target]
}

/// C, to whom B has forwarded A, sends A on to a fourth.
fn sent_on() -> (Net, [Arc<Session>; 4]) {
    let mut net = three();
    net.add(config());
    let sessions = forwarded(&mut net);
    let [_, _, leg, target] = &sessions;
    transfer(&mut net, C, target, to_uri(3));
    decide_transfer(&mut net, B, leg, true);
    (net, sessions)
}

fn bridged(net: &Net, node: usize) -> Vec<Vec<SessionId>> {
    let mut net_rooms: Vec<Vec<SessionId>> =
        net.nodes[node].engine.list_bridges().into_iter().map(|room| room.sessions).collect();
    for room in &mut net_rooms {
        room.sort();
    }
    net_rooms
}

#[test]
fn the_other_leg_of_a_forwarded_call_gets_the_target() {
    for hangs_up in [false, true] {
        let (mut net, [caller, called, leg, target]) = sent_on();
        let new = placed(&net, B);
        assert_eq!(new.from_uri, leg.from_uri, "it speaks for the caller");
        let fourth = net.nodes[3].incoming().expect("it rings");
        if hangs_up {
            hang_up(&mut net, C, &target);
            assert!(leg.state().is_final() && !caller.state().is_final(), "the caller waits");
        }
        decide(&mut net, 3, &fourth, accept()).expect("it is accepted");
        assert!(leg.state().is_final() && target.state().is_final());
        assert_eq!([&caller, &called, &new, &fourth].map(|session| session.state()), [State::Active; 4]);
        assert_eq!((called.peer(), new.peer()), (Some(new.id), Some(called.id)));
        let mut both = vec![called.id, new.id];
        both.sort();
        assert_eq!(bridged(&net, B), [both]);
        hang_up(&mut net, A, &caller);
        assert!(fourth.state().is_final(), "the end of one ends the other");
        net.assert_idle();
    }
}

#[test]
fn a_caller_who_waits_for_a_target_shares_its_fate() {
    for caller_gives_up in [false, true] {
        let (mut net, [caller, called, leg, target]) = sent_on();
        let fourth = net.nodes[3].incoming().expect("it rings");
        if caller_gives_up {
            hang_up(&mut net, A, &caller);
            // RFC 3261 §9.1: CANCEL waits for the first provisional response.
            net.advance(SECOND);
            assert_eq!(fourth.state(), State::Cancelled);
        } else {
            hang_up(&mut net, C, &target);
            decide(&mut net, 3, &fourth, reject(486, "Busy Here")).expect("it is refused");
        }
        assert!([&caller, &called, &leg, &target, &fourth].iter().all(|session| session.state().is_final()));
        net.assert_idle();
    }
}

/// What makes the phone's next INVITE replace the dialog of a node's call with another phone.
fn replaces(call: &Session, ours: &str, theirs: &str, more: &str) -> String {
    format!("Replaces: {};to-tag={ours};from-tag={theirs}{more}\r\n", call.call_id)
}

fn tag(value: &str) -> &str {
    value.split("tag=").nth(1).expect("a tag")
}

#[test]
fn who_may_replace_what() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    let ours = tag(&phone.theirs).to_owned();
    for (headers, answer) in [
        (replaces(&session, &ours, "other", ""), "SIP/2.0 481"),
        (replaces(&session, "0123456789abcdef", "own", ""), "SIP/2.0 481"),
        (replaces(&session, &ours, "own", ";early-only"), "SIP/2.0 486"),
        ("Replaces: nonsense\r\n".into(), "SIP/2.0 400"),
        (replaces(&session, &ours, "own", "").repeat(2), "SIP/2.0 400"),
        (replaces(&session, &ours, "own", "") + "Join: x\r\n", "SIP/2.0 400"),
    ] {
        let mut other = Phone::new(B);
        (other.call_id, other.own) = (format!("other-{}", headers.len()), "<sip:other@10.9.0.1>;tag=o".into());
        other.branch = 100 + headers.len() as u32;
        other.invite(&mut net, &headers, &sdp(4000, 1, "sendrecv"));
        other.receive(&mut net, answer);
        other.branch -= 1;
        other.ack(&mut net, "");
        assert_eq!(session.state(), State::Active);
    }
    // With nothing in common the old call stays.
    let mut other = another_phone();
    let offer = sdp(4000, 1, "sendrecv").replace("RTP/AVP 0 8", "RTP/AVP 96");
    other.invite(&mut net, &(replaces(&session, &ours, "own", "") + "Require: replaces\r\n"), &offer);
    other.receive(&mut net, "SIP/2.0 488");
    assert_eq!(session.state(), State::Active);
    phone.request(&mut net, "BYE", "", "", "");
    net.advance(40 * SECOND);
}

#[test]
fn the_bridge_goes_with_the_call_that_replaces() {
    for late_offer in [false, true] {
        let mut net = pair();
        let (phone, session) = phone_calls(&mut net);
        let ours = tag(&phone.theirs).to_owned();
        let partner = dial(&mut net, B, &uri(A));
        let called = net.nodes[A].incoming().expect("it rings");
        decide(&mut net, A, &called, accept()).expect("it is accepted");
        let (first, second) = (session.id, partner.id);
        net.command(B, |token| Command::Bridge { token, first, second });
        let mut other = another_phone();
        let offer = if late_offer { String::new() } else { sdp(4002, 1, "sendrecv") };
        other.invite(&mut net, &replaces(&session, &ours, "own", ""), &offer);
        other.receive(&mut net, "SIP/2.0 200");
        other.ack(&mut net, &if late_offer { sdp(4002, 1, "sendrecv") } else { String::new() });
        assert_eq!(end_of(&session), (State::Terminated, "replaced".into()));
        let active = net.nodes[B].engine.directory().active();
        let new = *active.iter().find(|id| **id != partner.id).expect("the new one");
        let mut both = vec![new, partner.id];
        both.sort();
        assert_eq!(bridged(&net, B), [both]);
        let mut phone = phone;
        end_all_with_phone(&mut net, &mut phone);
        net.advance(40 * SECOND);
    }
}

#[test]
fn a_ringing_call_of_ours_is_picked_up_elsewhere() {
    for forwards in [false, true] {
        let mut net = pair();
        let caller = forwards.then(|| {
            let caller = dial(&mut net, A, &uri(B));
            let called = net.nodes[B].incoming().expect("it rings");
            decide(&mut net, B, &called, forward(&["sip:phone@10.9.0.1"])).expect("it is forwarded");
            caller
        });
        if !forwards {
            dial(&mut net, B, "sip:phone@10.9.0.1");
        }
        let mut phone = Phone::new(B);
        let invite = phone.receive(&mut net, "INVITE ");
        phone.reply(&mut net, &invite, "180 Ringing", "", "");
        let session = placed(&net, B);
        let ours = tag(header(&invite, "From").expect("a From")).to_owned();
        let mut other = another_phone();
        other.invite(&mut net, &replaces(&session, &ours, "phone", ";early-only"), &sdp(4002, 1, "sendrecv"));
        other.receive(&mut net, "SIP/2.0 200");
        other.ack(&mut net, "");
        assert_eq!(session.state(), State::Cancelled);
        assert_eq!(sent(&net, B, "CANCEL ").len(), 1);
        if let Some(caller) = caller {
            assert_eq!(caller.state(), State::Active);
            assert_eq!(bridged(&net, B).len(), 1);
        }
        phone.reply(&mut net, &invite, "487 Request Terminated", "", "");
        end_all_with_phone(&mut net, &mut phone);
        net.advance(40 * SECOND);
    }
}
