use super::*;
use crate::api::DtmfMethod;
use ringback_media_api::{Command as MediaCommand, Event as MediaEvent, LegId};

fn send(net: &mut Net, node: usize, session: &Session, digits: &str, method: DtmfMethod) -> Token {
    let (id, digits) = (session.id, digits.to_owned());
    net.command(node, |token| Command::SendDtmf { token, session: id, digits, method, duration_ms: 100, gap_ms: 100 })
}

#[test]
fn digits_that_nobody_wants_any_more_are_not_sent() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    let stop = |net: &mut Net, node, session: &Session, sending| {
        let session = session.id;
        net.ask(node, |token| Command::StopDtmf { token, session, sending }).expect("at once").expect("stopped");
    };
    let first = send(&mut net, A, &caller, "1234567890", DtmfMethod::Auto);
    let second = send(&mut net, A, &caller, "5,,,,,,", DtmfMethod::Auto);
    let third = send(&mut net, A, &caller, "#", DtmfMethod::Auto);
    stop(&mut net, A, &caller, second);
    stop(&mut net, A, &caller, first);
    stop(&mut net, A, &caller, Token(1 << 40));
    net.advance(SECOND / 2);
    for token in [first, second, third] {
        assert!(matches!(net.result(A, token), Some(Ok(Reply::Unit))), "{token:?}");
    }
    let given = |c: &&MediaCommand| matches!(c, MediaCommand::SendDtmf { .. });
    assert_eq!(net.nodes[A].legs.log.iter().filter(given).count(), 2);

    let before = net.nodes[A].events.len();
    let by_info = send(&mut net, B, &called, "123", DtmfMethod::Info);
    net.advance(SECOND / 10);
    stop(&mut net, B, &called, by_info);
    net.advance(2 * SECOND);
    assert!(matches!(net.result(B, by_info), Some(Ok(Reply::Unit))));
    let heard = net.nodes[A].events[before..].iter().filter(|event| matches!(event, Event::Dtmf { .. }));
    assert_eq!(heard.count(), 1);
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

fn no_events(offer: &str) -> String {
    offer.replace(" 101\r\n", "\r\n").replace("a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n", "")
}

#[test]
fn digits_go_as_events_where_they_were_negotiated_and_take_turns() {
    let mut net = pair();
    let (caller, _) = answered(&mut net);
    let first = send(&mut net, A, &caller, "12", DtmfMethod::Auto);
    let second = send(&mut net, A, &caller, "#", DtmfMethod::RtpEvent);
    let given = |net: &Net| net.nodes[A].legs.log.iter().filter(|c| matches!(c, MediaCommand::SendDtmf { .. })).count();
    assert_eq!(given(&net), 1, "the second waits");
    net.advance(SECOND / 2);
    assert!(matches!(net.result(A, first), Some(Ok(Reply::Unit))));
    assert_eq!(given(&net), 2);
    net.advance(SECOND);
    assert!(matches!(net.result(A, second), Some(Ok(Reply::Unit))));
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn digits_go_by_info_where_events_were_not_negotiated() {
    let mut net = pair();
    let mut phone = Phone::new(B);
    phone.invite(&mut net, "", &no_events(&sdp(4000, 1, "sendrecv")));
    let session = net.nodes[B].incoming().expect("it arrived");
    decide(&mut net, B, &session, accept()).expect("accepted");
    phone.receive(&mut net, "SIP/2.0 200");
    phone.ack(&mut net, "");
    let refused = send(&mut net, B, &session, "1", DtmfMethod::RtpEvent);
    assert!(matches!(net.result(B, refused), Some(Err(Error::Media(_)))));

    let token = send(&mut net, B, &session, "1,#", DtmfMethod::Auto);
    let info = phone.receive(&mut net, "INFO ");
    assert_eq!(header(&info, "Content-Type"), Some("application/dtmf-relay"));
    assert_eq!(body(&info), "Signal=1\r\nDuration=100\r\n");
    phone.reply(&mut net, &info, "200 OK", "", "");
    net.advance(SECOND);
    assert!(phone.nothing(&net, "INFO"), "the comma lasts a second");
    net.advance(SECOND);
    let info = phone.receive(&mut net, "INFO ");
    assert!(body(&info).starts_with("Signal=#"));
    assert!(net.result(B, token).is_none());
    phone.reply(&mut net, &info, "200 OK", "", "");
    assert!(matches!(net.result(B, token), Some(Ok(Reply::Unit))));

    // Those that were sent again while they waited for their answer.
    net.outside.clear();
    let token = send(&mut net, B, &session, "9", DtmfMethod::Info);
    let next = send(&mut net, B, &session, "8", DtmfMethod::Info);
    let info = phone.receive(&mut net, "INFO ");
    phone.reply(&mut net, &info, "415 Unsupported Media Type", "", "");
    assert!(matches!(net.result(B, token), Some(Err(Error::Refused { status: 415, .. }))));
    phone.receive(&mut net, "INFO ");
    phone.request(&mut net, "BYE", "", "", "");
    assert!(matches!(net.result(B, next), Some(Err(Error::Ended(reason))) if reason == "remote hangup"));
    net.assert_idle();
}

#[test]
fn digits_that_were_sent_when_the_peer_hung_up_are_no_failure() {
    for completed in [true, false] {
        let mut net = pair();
        let (caller, called) = answered(&mut net);
        let token = send(&mut net, A, &caller, "1#", DtmfMethod::RtpEvent);
        let next = send(&mut net, A, &caller, "2", DtmfMethod::RtpEvent);
        net.advance(SECOND / 10);
        // What the leg says at its end.
        net.nodes[A].legs.sent_at_close = completed;
        hang_up(&mut net, B, &called);
        let ended = |result| matches!(result, Some(Err(Error::Ended(reason))) if reason == "remote hangup");
        let result = net.result(A, token);
        assert!(if completed { matches!(result, Some(Ok(Reply::Unit))) } else { ended(result) }, "{completed}");
        assert!(ended(net.result(A, next)));
        net.assert_idle();
    }
}

#[test]
fn digits_that_a_hold_breaks_off_say_so() {
    for method in [DtmfMethod::RtpEvent, DtmfMethod::Inband] {
        let mut net = pair();
        let (caller, called) = answered(&mut net);
        let id = called.id;
        let result = net.ask(B, |token| Command::Hold { token, session: id });
        assert!(matches!(result, Some(Ok(_))) && caller.remote_hold());
        let token = send(&mut net, A, &caller, "1", method);
        let leg = *net.nodes[A].legs.open.keys().next().expect("a leg");
        net.media_event(A, MediaEvent::DtmfSent { leg, token, completed: false });
        let Some(Err(Error::Media(why))) = net.result(A, token) else { panic!("{method:?}") };
        assert!(why.contains("on hold"), "{why}");
        hang_up(&mut net, A, &caller);
        net.assert_idle();
    }
}

#[test]
fn digits_are_checked() {
    let mut net = pair();
    let (caller, _) = answered(&mut net);
    let id = caller.id;
    let mut check = |digits: &str, duration_ms: u32, gap_ms: u32| {
        let digits = digits.to_owned();
        let command =
            |token| Command::SendDtmf { token, session: id, digits, method: DtmfMethod::Auto, duration_ms, gap_ms };
        net.ask(A, command)
    };
    for bad in ["x", "12 3", "a", "1\n", "E", "\u{661}", &"1".repeat(2000)] {
        assert!(matches!(check(bad, 100, 100), Some(Err(Error::BadValue(_)))), "{bad:?}");
    }
    assert!(matches!(check("1", 39, 100), Some(Err(Error::BadValue(_)))));
    assert!(matches!(check("1", 8001, 100), Some(Err(Error::BadValue(_)))));
    assert!(matches!(check("1", 100, 8001), Some(Err(Error::BadValue(_)))));
    assert!(matches!(check("", 100, 100), Some(Ok(Reply::Unit))));
    assert!(check("0123456789*#ABCD,", 100, 100).is_none(), "on their way");
}

#[test]
fn waiting_digits_are_bounded() {
    let mut net = pair();
    let (caller, _) = answered(&mut net);
    let mut refused = 0;
    for _ in 0..100 {
        let token = send(&mut net, A, &caller, "1", DtmfMethod::Auto);
        refused += usize::from(matches!(net.result(A, token), Some(Err(Error::ResourceExhausted(_)))));
    }
    assert_eq!(refused, 100 - crate::limits::DIGIT_JOBS_MOST);
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}

#[test]
fn digits_come_by_info_in_both_forms() {
    let mut net = pair();
    let (mut phone, session) = phone_calls(&mut net);
    for (content_type, text, status) in [
        ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", "SIP/2.0 200"),
        ("application/dtmf", "#", "SIP/2.0 200"),
        ("application/dtmf-relay", "Signal=x\r\n", "SIP/2.0 400"),
        ("application/media_control+xml", "<x/>", "SIP/2.0 415"),
        ("", "", "SIP/2.0 200"),
    ] {
        phone.request(&mut net, "INFO", "", text, content_type);
        phone.receive(&mut net, status);
    }
    let story = story(&net, B, session.id);
    assert_eq!(story[story.len() - 2..], ["digit 5", "digit #"]);
    assert!(matches!(net.nodes[B].events.iter().rev().nth(1), Some(Event::Dtmf { digit: '5', duration_ms: 160, .. })));
}

#[test]
fn a_flood_of_digits_is_thinned() {
    let mut net = pair();
    let (caller, _) = answered(&mut net);
    let leg = *net.nodes[A].legs.open.keys().next().expect("a leg");
    for _ in 0..1000 {
        net.media_event(A, MediaEvent::Dtmf { leg, digit: '1', duration_ms: 100 });
    }
    let digits = story(&net, A, caller.id).iter().filter(|what| what.starts_with("digit")).count();
    assert_eq!(digits, 32);
    assert_eq!(net.nodes[A].engine.counters().events_dropped, 968);
}

fn collect(net: &mut Net, node: usize, session: &Session, max: usize, timeout: Duration) -> Token {
    let session = session.id;
    net.command(node, |token| Command::CollectDtmf { token, session, max, terminators: "#".into(), timeout })
}

fn open_leg(net: &Net, node: usize) -> LegId {
    let leg = net.nodes[node].legs.log.iter().find_map(|command| match command {
        MediaCommand::Open { leg, .. } => Some(*leg),
        _ => None,
    });
    leg.expect("an open leg")
}

fn digit(net: &mut Net, node: usize, digit: char) {
    let leg = open_leg(net, node);
    net.media_event(node, MediaEvent::Dtmf { leg, digit, duration_ms: 100 });
}

fn text(result: Option<Result<Reply, Error>>) -> Option<String> {
    match result {
        Some(Ok(Reply::Text(text))) => Some(text),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn digits_are_collected_until_there_are_enough_or_their_end_or_none_for_too_long() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    digit(&mut net, B, '9');
    let full = collect(&mut net, B, &called, 2, 5 * SECOND);
    let ended = collect(&mut net, B, &called, 10, 5 * SECOND);
    let quiet = collect(&mut net, B, &called, 10, 2 * SECOND);
    digit(&mut net, B, '1');
    net.advance(SECOND * 3 / 2);
    assert_eq!(text(net.result(B, quiet)), None);
    digit(&mut net, B, '2');
    assert_eq!(text(net.result(B, full)).as_deref(), Some("12"), "earlier digits do not count");
    net.advance(SECOND * 3);
    assert_eq!(text(net.result(B, quiet)).as_deref(), Some("12"));
    assert_eq!(text(net.result(B, ended)), None);
    digit(&mut net, B, '#');
    assert_eq!(text(net.result(B, ended)).as_deref(), Some("12"), "without the terminator");
    let nothing = collect(&mut net, B, &called, 1, SECOND);
    net.advance(2 * SECOND);
    assert_eq!(text(net.result(B, nothing)).as_deref(), Some(""));
    // By INFO, and told to the handler beside.
    let by_info = collect(&mut net, B, &called, 3, 5 * SECOND);
    send(&mut net, A, &caller, "42#", DtmfMethod::Info);
    net.advance(SECOND);
    assert_eq!(text(net.result(B, by_info)).as_deref(), Some("42"));
    let told = net.nodes[B].events.iter().filter(|event| matches!(event, Event::Dtmf { .. })).count();
    assert_eq!(told, 7);
    let cut = collect(&mut net, B, &called, 5, 60 * SECOND);
    digit(&mut net, B, '8');
    hang_up(&mut net, A, &caller);
    assert_eq!(text(net.result(B, cut)).as_deref(), Some("8"), "the call has ended");
    net.assert_idle();
}

#[test]
fn a_key_that_is_down_when_the_time_ends_is_waited_for() {
    let mut net = pair();
    let (_, called) = answered(&mut net);
    let leg = open_leg(&net, B);
    let held = collect(&mut net, B, &called, 2, SECOND);
    net.advance(SECOND / 2);
    net.media_event(B, MediaEvent::KeyDown { leg });
    net.advance(SECOND * 2);
    digit(&mut net, B, '5');
    net.advance(SECOND / 2);
    assert_eq!(text(net.result(B, held)), None, "the time counts from when it was let go");
    net.advance(SECOND);
    assert_eq!(text(net.result(B, held)).as_deref(), Some("5"));
    // One that is let go without a word.
    let lost = collect(&mut net, B, &called, 2, SECOND);
    net.media_event(B, MediaEvent::KeyDown { leg });
    net.advance(SECOND * 11);
    assert_eq!(text(net.result(B, lost)).as_deref(), Some(""));
}

#[test]
fn what_nobody_waits_for_is_not_collected_and_arguments_are_checked() {
    let mut net = pair();
    let (caller, called) = answered(&mut net);
    let given_up = collect(&mut net, B, &called, 1, 5 * SECOND);
    let session = called.id;
    net.ask(B, |token| Command::StopCollecting { token, session, collecting: given_up })
        .expect("at once")
        .expect("done");
    digit(&mut net, B, '1');
    assert_eq!(text(net.result(B, given_up)).as_deref(), Some(""));
    for (max, terminators) in [(0, "#"), (5000, "#"), (1, "x")] {
        let result = net.ask(B, |token| {
            let terminators = terminators.to_owned();
            Command::CollectDtmf { token, session, max, terminators, timeout: SECOND }
        });
        assert!(matches!(result, Some(Err(Error::BadValue(_)))), "{result:?}");
    }
    let many: Vec<Token> = (0..20).map(|_| collect(&mut net, B, &called, 1, 5 * SECOND)).collect();
    let refused = many.iter().filter(|token| matches!(net.result(B, **token), Some(Err(Error::ResourceExhausted(_)))));
    assert_eq!(refused.count(), 4);
    hang_up(&mut net, A, &caller);
    net.assert_idle();
}
