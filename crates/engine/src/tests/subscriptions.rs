use super::*;

const PHONE: &str = "sip:phone@10.9.0.1";

fn subscribe(net: &mut Net, node: usize, to: &str, event: &str, expires: u64) -> Token {
    net.command(node, |token| Command::Subscribe {
        token,
        from: "sip:alice@example.com".into(),
        to: to.into(),
        event: event.into(),
        expires: Duration::from_secs(expires),
    })
}

fn id_of(net: &Net, node: usize, token: Token) -> u64 {
    match net.result(node, token) {
        Some(Ok(Reply::Subscription(id))) => id,
        other => panic!("{other:?}"),
    }
}

/// What a subscription was told: state and body, "over" at the end.
fn told(net: &Net, node: usize, id: u64) -> Vec<(String, String)> {
    let tell = |event: &Event| match event {
        Event::Notification { subscription, state, body, .. } if *subscription == id => {
            Some((state.clone(), body.clone()))
        }
        Event::SubscriptionOver { subscription } if *subscription == id => Some(("over".into(), String::new())),
        _ => None,
    };
    net.nodes[node].events.iter().filter_map(tell).collect()
}

fn states(net: &Net, node: usize, id: u64) -> Vec<String> {
    told(net, node, id).into_iter().map(|(state, _)| state).collect()
}

/// The request that waits for the program's decision.
fn asked(net: &Net, node: usize) -> (u64, String) {
    let ask = |event: &Event| match event {
        Event::SubscribeRequest { request, subscriber, to, event } => {
            Some((*request, format!("{subscriber} {to} {event}")))
        }
        _ => None,
    };
    net.nodes[node].events.iter().rev().find_map(ask).expect("it is asked")
}

fn decide_subscribe(net: &mut Net, node: usize, accept: bool) {
    let (request, _) = asked(net, node);
    net.command(node, |token| Command::DecideSubscribe { token, request, accept });
}

/// A watches B.
fn watching(net: &mut Net, to: &str, event: &str) -> u64 {
    let token = subscribe(net, A, to, event, 3600);
    decide_subscribe(net, B, true);
    id_of(net, A, token)
}

fn publish(net: &mut Net, aor: &str, new: u32, old: u32) {
    let aor = aor.to_owned();
    let result = net.ask(B, |token| Command::PublishSummary { token, aor, new, old });
    assert!(matches!(result, Some(Ok(Reply::Unit))), "{result:?}");
}

fn unsubscribe(net: &mut Net, id: u64) {
    net.command(A, |token| Command::Unsubscribe { token, subscription: id });
}

#[test]
fn a_mailbox_is_watched_from_one_system_to_another() {
    let mut net = pair();
    let mailbox = uri(B);
    publish(&mut net, &mailbox, 1, 2);
    let id = watching(&mut net, &mailbox, "message-summary");
    assert_eq!(asked(&net, B).1, format!("sip:alice@example.com {mailbox} message-summary"));
    let body = |waiting: &str, count: &str| {
        format!("Messages-Waiting: {waiting}\r\nMessage-Account: {mailbox}\r\nVoice-Message: {count} (0/0)\r\n")
    };
    assert_eq!(told(&net, A, id), [("active".to_owned(), body("yes", "1/2"))]);
    net.advance(2 * SECOND);
    // Three changes at once are two NOTIFYs, a second apart.
    for new in [2, 3, 0] {
        publish(&mut net, &mailbox, new, 2);
    }
    publish(&mut net, "sip:somebody@else", 9, 9);
    assert_eq!(told(&net, A, id).len(), 2);
    net.advance(SECOND);
    assert_eq!(told(&net, A, id)[1..], [("active".into(), body("yes", "2/2")), ("active".into(), body("no", "0/2"))]);
    publish(&mut net, &mailbox, 0, 2);
    net.advance(2 * SECOND);
    assert_eq!(told(&net, A, id).len(), 3, "the same is no news");
    unsubscribe(&mut net, id);
    assert_eq!(states(&net, A, id).last().map(String::as_str), Some("over"));
    let last = *sent(&net, B, "NOTIFY ").last().expect("a last word");
    assert_eq!(header(last, "Subscription-State"), Some("terminated;reason=timeout"));
    publish(&mut net, &mailbox, 5, 0);
    assert_eq!(states(&net, A, id).len(), 4);
    net.assert_idle();
}

#[test]
fn the_lamp_of_a_user_follows_its_calls() {
    let mut net = pair();
    net.add(config());
    let user = uri(B);
    let id = watching(&mut net, &user, "dialog");
    let caller = dial(&mut net, C, &user);
    let called = net.nodes[B].incoming().expect("it rings");
    net.advance(2 * SECOND);
    decide(&mut net, B, &called, Decision::Defer).expect("it rings");
    net.advance(2 * SECOND);
    decide(&mut net, B, &called, accept()).expect("it is accepted");
    net.advance(2 * SECOND);
    hang_up(&mut net, C, &caller);
    net.advance(2 * SECOND);
    let documents: Vec<String> = told(&net, A, id).into_iter().map(|(_, body)| body).collect();
    let seen: Vec<(bool, Option<&str>)> = documents
        .iter()
        .map(|text| {
            let state = text.split_once("<state>").and_then(|(_, rest)| rest.split_once('<'));
            (text.contains("state=\"full\""), state.map(|(state, _)| state))
        })
        .collect();
    let partial = |state| (false, Some(state));
    let expected = [(true, None), partial("trying"), partial("early"), partial("confirmed"), partial("terminated")];
    assert_eq!(seen, expected);
    // RFC 4235 §4.1.2: the tags are there as soon as the dialog is, and still when it has ended.
    let invite = sent(&net, C, "INVITE ")[0];
    let caller_tag = header(invite, "From").and_then(|from| from.split("tag=").nth(1)).expect("a tag");
    let ringing = sent(&net, B, "SIP/2.0 180")[0];
    let called_tag = header(ringing, "To").and_then(|to| to.split("tag=").nth(1)).expect("a tag");
    let tags = format!("local-tag=\"{called_tag}\" remote-tag=\"{caller_tag}\" direction=\"recipient\"");
    assert!(documents[2..].iter().all(|text| text.contains(&tags)), "{tags} {documents:?}");
    for (version, text) in documents.iter().enumerate() {
        assert!(text.contains(&format!("version=\"{version}\"")) && text.contains(&format!("entity=\"{user}\"")));
    }
    // A watcher that comes in between sees it all; so does one that refreshes.
    let caller = dial(&mut net, C, &user);
    let second = watching(&mut net, &user, "dialog");
    assert!(told(&net, A, second)[0].1.contains("direction=\"recipient\"><state>trying</state>"));
    hang_up(&mut net, C, &caller);
    unsubscribe(&mut net, id);
    unsubscribe(&mut net, second);
    net.advance(2 * SECOND);
    net.assert_idle();
}

#[test]
fn it_is_refreshed_before_it_expires_and_ends_when_nobody_does() {
    let mut net = pair();
    let id = watching(&mut net, &uri(B), "message-summary");
    net.advance(3559 * SECOND);
    assert_eq!(sent(&net, A, "SUBSCRIBE ").len(), 1);
    net.advance(SECOND);
    assert_eq!(sent(&net, A, "SUBSCRIBE ").len(), 2, "40 s before the end");
    assert_eq!(states(&net, A, id), ["active", "active"]);
    net.advance(10_000 * SECOND);
    assert!(states(&net, A, id).iter().all(|state| state == "active"));
    // The subscriber vanishes: its NOTIFYs are not answered, and it is forgotten.
    net.deaf.push(A);
    publish(&mut net, &uri(B), 1, 0);
    net.advance(40 * SECOND);
    publish(&mut net, &uri(B), 2, 0);
    let before = sent(&net, B, "NOTIFY ").len();
    net.advance(40 * SECOND);
    assert_eq!(sent(&net, B, "NOTIFY ").len(), before);
    // Back again, it finds itself forgotten and begins anew.
    net.deaf.clear();
    net.advance(4000 * SECOND);
    assert_ne!(asked(&net, B).0, 0);
    unsubscribe(&mut net, id);
    net.advance(100 * SECOND);
    net.assert_idle();
}

#[test]
fn whoever_may_not_watch_is_told_so() {
    let mut net = pair();
    for (event, accept, status) in [("dialog", Some(false), 403), ("presence", None, 489), ("dialog", None, 403)] {
        let token = subscribe(&mut net, A, &uri(B), event, 3600);
        match accept {
            Some(accept) => decide_subscribe(&mut net, B, accept),
            None => net.advance(20 * SECOND),
        }
        match net.result(A, token) {
            Some(Err(Error::Rejected { status: told, .. })) => assert_eq!(told, status, "{event}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(header(sent(&net, B, "SIP/2.0 489")[0], "Allow-Events"), Some("dialog, message-summary"));
    net.assert_idle();
    let mut net = with(Config { interest: Interest { subscribe: false, ..Interest::ALL }, ..config() });
    let token = subscribe(&mut net, A, &uri(B), "dialog", 3600);
    assert!(matches!(net.result(A, token), Some(Err(Error::Rejected { status: 403, .. }))));
    // Too brief, and asked again as long as is wanted.
    let mut net = pair();
    let token = subscribe(&mut net, A, &uri(B), "dialog", 10);
    decide_subscribe(&mut net, B, true);
    let id = id_of(&net, A, token);
    let asked: Vec<Option<&str>> =
        sent(&net, A, "SUBSCRIBE ").into_iter().map(|text| header(text, "Expires")).collect();
    assert_eq!(asked, [Some("10"), Some("60")]);
    unsubscribe(&mut net, id);
    net.assert_idle();
    for (to, event) in [("tel:+1", "dialog"), (PHONE, ""), (PHONE, "dia log"), (PHONE, "a\r\nVia: x")] {
        let token = subscribe(&mut net, A, to, event, 60);
        assert!(matches!(net.result(A, token), Some(Err(Error::InvalidUri { .. } | Error::BadValue(_)))), "{event:?}");
    }
}

/// A phone that is subscribed to; the token, and the SUBSCRIBE.
fn phone_asked(net: &mut Net, phone: &mut Phone) -> (Token, String) {
    let token = subscribe(net, A, PHONE, "presence", 600);
    let request = phone.receive(net, "SUBSCRIBE ");
    (token, request)
}

fn notify(phone: &mut Phone, net: &mut Net, state: &str, body: &str) {
    let headers = format!("Event: presence\r\nSubscription-State: {state}\r\n");
    phone.request(net, "NOTIFY", &headers, body, "application/pidf+xml");
}

#[test]
fn a_notify_may_overtake_the_2xx_and_of_forks_the_first_counts() {
    let mut net = pair();
    let mut phone = Phone::new(A);
    let (token, request) = phone_asked(&mut net, &mut phone);
    assert_eq!(header(&request, "Accept"), Some("application/pidf+xml"));
    notify(&mut phone, &mut net, "pending;expires=600", "");
    let id = id_of(&net, A, token);
    phone.receive(&mut net, "SIP/2.0 200");
    phone.reply(&mut net, &request, "202 Accepted", "Expires: 600\r\n", "");
    notify(&mut phone, &mut net, "active;expires=500", "<presence/>");
    let mut fork = Phone::new(A);
    (fork.call_id, fork.theirs) = (phone.call_id.clone(), phone.theirs.clone());
    (fork.own, fork.branch) = (phone.own.replace("tag=phone", "tag=fork"), 500);
    notify(&mut fork, &mut net, "active", "<other/>");
    fork.receive(&mut net, "SIP/2.0 481");
    let expected = [("pending", ""), ("active", "<presence/>")].map(|(state, body)| (state.into(), body.into()));
    assert_eq!(told(&net, A, id), expected);
    // Refreshed at the time that the NOTIFY gave; lost by the phone; made anew in another dialog.
    net.outside.clear();
    net.advance(460 * SECOND);
    let refresh = phone.receive(&mut net, "SUBSCRIBE ");
    assert!(header(&refresh, "To").expect("a To").contains("tag=phone"));
    phone.reply(&mut net, &refresh, "481 Gone", "", "");
    net.advance(SECOND);
    let anew = phone.receive(&mut net, "SUBSCRIBE ");
    assert!(!header(&anew, "To").expect("a To").contains("tag="));
    phone.reply(&mut net, &anew, "200 OK", "Expires: 600\r\n", "");
    notify(&mut phone, &mut net, "active;expires=600", "<again/>");
    assert_eq!(told(&net, A, id).len(), 3);
    // Unsubscribed: the last NOTIFY is answered and not told.
    net.outside.clear();
    unsubscribe(&mut net, id);
    let last = phone.receive(&mut net, "SUBSCRIBE ");
    assert_eq!(header(&last, "Expires"), Some("0"));
    phone.reply(&mut net, &last, "200 OK", "Expires: 0\r\n", "");
    notify(&mut phone, &mut net, "terminated;reason=timeout", "<last/>");
    assert_eq!(states(&net, A, id).last().map(String::as_str), Some("over"));
    assert_eq!(told(&net, A, id).len(), 4);
    net.assert_idle();
}

#[test]
fn reasons_of_a_notifier_that_ends_it() {
    // After how many seconds it is made anew, if at all.
    for (state, anew) in [
        ("terminated;reason=deactivated", Some(0)),
        ("terminated;reason=timeout", Some(0)),
        ("terminated;reason=probation;retry-after=90", Some(90)),
        ("terminated;reason=giveup", Some(30)),
        ("terminated;reason=whatever", Some(30)),
        ("terminated", Some(30)),
        ("terminated;reason=rejected", None),
        ("terminated;reason=noresource;retry-after=5", None),
    ] {
        let mut net = pair();
        let mut phone = Phone::new(A);
        let (token, request) = phone_asked(&mut net, &mut phone);
        phone.reply(&mut net, &request, "200 OK", "Expires: 600\r\n", "");
        let id = id_of(&net, A, token);
        notify(&mut phone, &mut net, "active;expires=600", "<a/>");
        net.outside.clear();
        notify(&mut phone, &mut net, state, "<b/>");
        match anew {
            Some(after) => {
                if after > 0 {
                    net.advance((after - 1) * SECOND);
                    assert!(phone.nothing(&net, "SUBSCRIBE "), "{state}");
                }
                net.advance(SECOND);
                phone.receive(&mut net, "SUBSCRIBE ");
                assert_eq!(states(&net, A, id), ["active", "pending"], "{state}");
                unsubscribe(&mut net, id);
            }
            None => {
                net.advance(1000 * SECOND);
                assert!(phone.nothing(&net, "SUBSCRIBE "), "{state}");
                assert_eq!(states(&net, A, id), ["active", "terminated", "over"], "{state}");
            }
        }
        net.assert_idle();
    }
}

#[test]
fn silence_and_refusals() {
    let mut net = pair();
    let mut phone = Phone::new(A);
    // No answer at all; no NOTIFY.
    let (token, _) = phone_asked(&mut net, &mut phone);
    net.advance(32 * SECOND);
    assert_eq!(net.result(A, token).expect("timer F").unwrap_err().to_string(), "no answer from the network");
    let mut phone = Phone::new(A);
    net.outside.clear();
    let (token, request) = phone_asked(&mut net, &mut phone);
    phone.reply(&mut net, &request, "200 OK", "Expires: 600\r\n", "");
    let id = id_of(&net, A, token);
    net.advance(32 * SECOND);
    // It is tried again, later and later not.
    net.advance(4000 * SECOND);
    assert_eq!(states(&net, A, id), ["over"]);
    net.assert_idle();
}

#[test]
fn a_stop_ends_them_all() {
    let mut net = pair();
    let id = watching(&mut net, &uri(B), "dialog");
    let waiting = subscribe(&mut net, A, &uri(B), "dialog", 600);
    net.command(B, |token| Command::Stop { token, drain: Duration::ZERO });
    assert_eq!(header(sent(&net, B, "NOTIFY ")[1], "Subscription-State"), Some("terminated;reason=deactivated"));
    assert!(matches!(net.result(A, waiting), Some(Err(Error::Rejected { status: 403, .. }))));
    net.command(A, |token| Command::Stop { token, drain: Duration::ZERO });
    assert_eq!(states(&net, A, id).last().map(String::as_str), Some("over"));
    net.assert_idle();
    let mut net = pair();
    let token = subscribe(&mut net, A, PHONE, "dialog", 600);
    net.command(A, |token| Command::Stop { token, drain: Duration::ZERO });
    assert_eq!(net.result(A, token).expect("told").unwrap_err(), Error::NotRunning);
    net.assert_idle();
}
