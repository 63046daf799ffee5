use super::*;
use crate::api::{EndCause, Record, RegistrarConfig, StoreKind, StoreWork};

const AOR: &str = "sip:bob@pbx.example";

pub(super) fn served(store: StoreKind) -> Config {
    let registrar = RegistrarConfig {
        domains: vec!["pbx.example".into()],
        min_expires: 60 * SECOND,
        max_expires: 3600 * SECOND,
        max_contacts: 10,
        gruu_key: None,
        store,
    };
    Config { registrar: Some(registrar), ..config() }
}

/// Node A is the registrar; the telephones are nodes or outside.
fn registrar(store: StoreKind) -> Net {
    let mut net = Net::default();
    net.add(served(store));
    net
}

fn outside(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 9, 0, number], 5060))
}

fn register_text(number: u8, cseq: u32, contact: &str, more: &str) -> String {
    format!(
        "REGISTER sip:pbx.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.0.{number}:5060;branch=z9hG4bK{number}x{cseq}\r\nMax-Forwards: 70\r\n\
         From: <{AOR}>;tag=1\r\nTo: <{AOR}>\r\nCall-ID: phone{number}\r\nCSeq: {cseq} REGISTER\r\n{contact}{more}Content-Length: 0\r\n\r\n"
    )
}

fn register(net: &mut Net, number: u8, cseq: u32, contact: &str) {
    let contact = if contact.is_empty() { String::new() } else { format!("Contact: {contact}\r\n") };
    net.inject(A, outside(number), &register_text(number, cseq, &contact, ""));
}

/// The answer to the telephone with that number.
fn answer(net: &mut Net, number: u8) -> Option<String> {
    let place = net.outside.iter().position(|(to, text)| *to == outside(number) && text.starts_with("SIP/2.0"))?;
    net.outside.remove(place).map(|(_, text)| text)
}

fn status(text: Option<String>) -> u16 {
    text.expect("an answer").split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

fn bound(net: &mut Net) -> Vec<String> {
    let token = net.command(A, |token| Command::Lookup { token, aor: AOR.into() });
    match net.result(A, token) {
        Some(Ok(Reply::Bindings(records))) => records.into_iter().map(|record| record.contact).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_telephone_registers_and_is_forgotten_in_time() {
    let mut net = registrar(StoreKind::Memory);
    register(&mut net, 1, 1, "<sip:bob@10.9.0.1>;expires=60");
    let text = answer(&mut net, 1).expect("an answer");
    assert!(text.starts_with("SIP/2.0 200 OK\r\n"));
    assert_eq!(header(&text, "Contact"), Some("<sip:bob@10.9.0.1>;expires=60"));
    assert_eq!(header(&text, "Date"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
    assert_eq!(bound(&mut net), ["sip:bob@10.9.0.1"]);
    register(&mut net, 2, 1, "<sip:bob@10.9.0.2>;expires=10");
    let text = answer(&mut net, 2).expect("an answer");
    assert_eq!((status(Some(text.clone())), header(&text, "Min-Expires")), (423, Some("60")));
    net.advance(61 * SECOND);
    assert_eq!(bound(&mut net), [""; 0]);
    net.assert_idle();
    assert!(net.nodes[A].store.is_empty());
}

#[test]
fn without_a_registrar_it_is_not_allowed() {
    let mut net = pair();
    register(&mut net, 1, 1, "<sip:bob@10.9.0.1>");
    assert_eq!(status(answer(&mut net, 1)), 405);
    let lookup = net.ask(A, |token| Command::Lookup { token, aor: AOR.into() });
    assert!(matches!(lookup, Some(Err(Error::BadValue(_)))));
}

#[test]
fn look_up_and_removal_are_the_program_s() {
    let mut net = registrar(StoreKind::Memory);
    register(&mut net, 1, 1, "<sip:bob@10.9.0.1>, <sip:bob@10.9.0.2>;q=0.1");
    assert_eq!(bound(&mut net), ["sip:bob@10.9.0.1", "sip:bob@10.9.0.2"]);
    let removed = net.ask(A, |token| Command::Unbind { token, aor: format!("\"Bob\" <{AOR};user=phone>") });
    assert!(matches!(removed, Some(Ok(Reply::Unit))));
    assert_eq!(bound(&mut net), [""; 0]);
    for bad in ["sip:bob@elsewhere.example", "nonsense", "sip:pbx.example"] {
        let result = net.ask(A, |token| Command::Lookup { token, aor: bad.into() });
        assert!(matches!(result, Some(Err(Error::InvalidUri { .. }))), "{bad}");
    }
}

// ---- stores

fn asked(net: &mut Net) -> (u64, StoreWork) {
    let request = net.nodes[A].store.remove(0);
    (request.id, request.work)
}

fn stored(net: &mut Net, id: u64, result: Result<Vec<Record>, String>) {
    let now = net.now;
    net.nodes[A].engine.handle_stored(now, id, result);
    net.run();
}

#[test]
fn a_binding_is_confirmed_when_it_is_durable() {
    let mut net = registrar(StoreKind::Own);
    register(&mut net, 1, 1, "<sip:bob@10.9.0.1>");
    let (id, work) = asked(&mut net);
    let StoreWork::Write(write) = work else { panic!("{work:?}") };
    assert_eq!((write.aor.as_str(), write.saved.len(), write.deleted.len()), (AOR, 1, 0));
    assert!(answer(&mut net, 1).is_none(), "not yet");
    assert_eq!(net.nodes[A].engine.registry.as_ref().map(|registry| registry.registrar.lock().len()), Some(0));
    // What comes meanwhile waits for its turn.
    register(&mut net, 1, 2, "<sip:bob@10.9.0.1>;expires=0");
    register(&mut net, 2, 1, "");
    assert!(net.nodes[A].store.is_empty());
    stored(&mut net, id, Ok(Vec::new()));
    assert_eq!(status(answer(&mut net, 1)), 200);
    let (second, work) = asked(&mut net);
    let StoreWork::Write(write) = work else { panic!("{work:?}") };
    assert_eq!((write.saved.len(), write.deleted.len()), (0, 1));
    assert!(answer(&mut net, 2).is_none(), "in order");
    stored(&mut net, second, Ok(Vec::new()));
    assert_eq!(status(answer(&mut net, 1)), 200);
    let listed = answer(&mut net, 2).expect("a query");
    assert_eq!((status(Some(listed.clone())), header(&listed, "Contact")), (200, None));
    net.assert_idle();
}

#[test]
fn a_store_that_fails_loses_nothing() {
    let mut net = registrar(StoreKind::Own);
    register(&mut net, 1, 1, "<sip:bob@10.9.0.1>");
    let (id, _) = asked(&mut net);
    stored(&mut net, id, Ok(Vec::new()));
    answer(&mut net, 1).expect("bound");
    register(&mut net, 1, 2, "<sip:bob@10.9.0.1>;expires=0");
    let (id, _) = asked(&mut net);
    stored(&mut net, id, Err("disk full".into()));
    let text = answer(&mut net, 1).expect("an answer");
    assert_eq!((status(Some(text.clone())), header(&text, "Retry-After")), (503, Some("10")));
    assert_eq!(bound(&mut net), ["sip:bob@10.9.0.1"], "as it was");
    register(&mut net, 1, 3, "<sip:bob@10.9.0.1>;expires=0");
    let (id, _) = asked(&mut net);
    stored(&mut net, id, Ok(Vec::new()));
    assert_eq!(status(answer(&mut net, 1)), 200);
    // An answer to what was not asked is nothing.
    stored(&mut net, id, Ok(Vec::new()));
    stored(&mut net, 77, Err("?".into()));
    net.assert_idle();
}

#[test]
fn what_ends_is_told_to_the_store() {
    let mut net = registrar(StoreKind::Own);
    register(&mut net, 1, 1, "<sip:bob@10.9.0.1>;expires=60");
    let (id, _) = asked(&mut net);
    stored(&mut net, id, Ok(Vec::new()));
    answer(&mut net, 1).expect("bound");
    net.advance(61 * SECOND);
    let (id, work) = asked(&mut net);
    let StoreWork::Write(write) = work else { panic!("{work:?}") };
    assert_eq!(write.deleted.iter().map(|gone| gone.contact.as_str()).collect::<Vec<_>>(), ["sip:bob@10.9.0.1"]);
    register(&mut net, 1, 2, "<sip:bob@10.9.0.1>");
    assert!(net.nodes[A].store.is_empty(), "in order");
    stored(&mut net, id, Err("busy".into()));
    let (id, _) = asked(&mut net);
    stored(&mut net, id, Ok(Vec::new()));
    assert_eq!(status(answer(&mut net, 1)), 200);
    net.advance(SECOND);
    assert_eq!(bound(&mut net), ["sip:bob@10.9.0.1"]);
}

fn record(contact: &str, net: &Net) -> Record {
    Record {
        aor: AOR.into(),
        contact: contact.into(),
        expires: (net.now + 100 * SECOND).wall,
        q: 1000,
        call_id: String::new(),
        cseq: 0,
        user_agent: None,
        path: String::new(),
        instance: None,
        reg_id: None,
        source: crate::api::Source {
            transport: ringback_ua::Transport::Udp,
            remote: outside(1),
            connection: None,
            local: None,
        },
        natted: false,
    }
}

fn found(net: &mut Net, id: u64, contact: &str) {
    let record = record(contact, net);
    stored(net, id, Ok(vec![record]));
}

#[test]
fn a_shared_store_is_asked_each_time() {
    let mut net = registrar(StoreKind::Shared);
    register(&mut net, 1, 1, "<sip:bob@10.9.0.1>");
    let (id, work) = asked(&mut net);
    assert_eq!(work, StoreWork::Find { aor: AOR.into() });
    let other = record("sip:bob@10.9.0.2", &net);
    stored(&mut net, id, Ok(vec![other]));
    let (id, work) = asked(&mut net);
    assert!(matches!(&work, StoreWork::Write(write) if write.saved[0].contact == "sip:bob@10.9.0.1"), "{work:?}");
    stored(&mut net, id, Ok(Vec::new()));
    let text = answer(&mut net, 1).expect("an answer");
    assert_eq!(text.matches("\r\nContact: ").count(), 2, "those of another registrar are listed: {text}");
    // A look-up and a call see what others have done meanwhile.
    let token = net.command(A, |token| Command::Lookup { token, aor: AOR.into() });
    let (id, _) = asked(&mut net);
    found(&mut net, id, "sip:bob@10.9.0.7");
    let Some(Ok(Reply::Bindings(records))) = net.result(A, token) else { panic!("no reply") };
    assert_eq!(records.len(), 1);
    let call = dial(&mut net, A, AOR);
    assert!(sent(&net, A, "INVITE").is_empty());
    let (id, _) = asked(&mut net);
    found(&mut net, id, "sip:bob@10.9.0.8");
    assert!(sent(&net, A, "INVITE sip:bob@10.9.0.8 SIP/2.0").len() == 1);
    hang_up(&mut net, A, &call);
    // One that fails: what is known here is better than nothing.
    let call = dial(&mut net, A, AOR);
    let (id, _) = asked(&mut net);
    stored(&mut net, id, Err("gone".into()));
    assert_eq!(sent(&net, A, "INVITE sip:bob@10.9.0.8 SIP/2.0").len(), 2);
    hang_up(&mut net, A, &call);
    net.advance(40 * SECOND);
}

#[test]
fn a_call_that_ends_while_the_store_is_asked_sends_nothing() {
    let mut net = registrar(StoreKind::Shared);
    let call = dial(&mut net, A, AOR);
    hang_up(&mut net, A, &call);
    let (id, _) = asked(&mut net);
    found(&mut net, id, "sip:bob@10.9.0.8");
    assert!(sent(&net, A, "INVITE").is_empty());
    net.advance(101 * SECOND);
    let (id, _) = asked(&mut net);
    stored(&mut net, id, Ok(Vec::new()));
    net.assert_idle();
}

// ---- calls

/// The registrar, and two telephones (nodes B and C) registered with it for one address.
fn two_phones() -> Net {
    let mut net = registrar(StoreKind::Memory);
    net.add(config());
    net.add(config());
    register(&mut net, 1, 1, &format!("<{}>, <{}>;q=0.5", uri(B), uri(C)));
    assert_eq!(status(answer(&mut net, 1)), 200);
    net
}

#[test]
fn all_contacts_ring_and_the_first_answer_wins() {
    for winner in [B, C] {
        let mut net = two_phones();
        let call = dial(&mut net, A, AOR);
        let (b, c) = (net.nodes[B].incoming().expect("rings"), net.nodes[C].incoming().expect("rings"));
        assert_eq!(&*call.to_uri, AOR);
        let invites = sent(&net, A, "INVITE");
        assert!(invites[0].starts_with(&format!("INVITE {} ", uri(B))), "the best first");
        assert!(invites.iter().all(|invite| header(invite, "To") == Some(&format!("<{AOR}>"))));
        decide(&mut net, B, &b, Decision::Defer).expect("rings");
        decide(&mut net, C, &c, Decision::Defer).expect("rings");
        assert_eq!(call.state(), State::Ringing);
        let (answering, other) = if winner == B { (&b, &c) } else { (&c, &b) };
        decide(&mut net, winner, answering, accept()).expect("accepted");
        assert_eq!((call.state(), answering.state(), other.state()), (State::Active, State::Active, State::Cancelled));
        let reason = sent(&net, A, "CANCEL").iter().find_map(|cancel| header(cancel, "Reason").map(str::to_owned));
        assert_eq!(reason.as_deref(), Some("SIP;cause=200;text=\"Call completed elsewhere\""));
        assert_eq!(net.nodes[A].legs.open.len(), 1, "one session, one leg");
        hang_up(&mut net, A, &call);
        assert_eq!(answering.state(), State::Terminated);
        net.assert_idle();
    }
}

#[test]
fn the_best_refusal_is_the_call_s_end() {
    for (first, second, expected) in
        [(486, 404, "rejected 404"), (404, 486, "rejected 486"), (503, 480, "rejected 480"), (486, 603, "rejected 603")]
    {
        let mut net = two_phones();
        let call = dial(&mut net, A, AOR);
        let (b, c) = (net.nodes[B].incoming().expect("rings"), net.nodes[C].incoming().expect("rings"));
        decide(&mut net, B, &b, reject(first, "")).expect("rejected");
        assert!(!call.state().is_final());
        decide(&mut net, C, &c, reject(second, "")).expect("rejected");
        assert!(end_of(&call).1.starts_with(expected), "{first} {second}: {:?}", end_of(&call));
        net.assert_idle();
    }
    // RFC 3261 §16.7, 5: a 6xx ends it all.
    let mut net = two_phones();
    let call = dial(&mut net, A, AOR);
    let (b, c) = (net.nodes[B].incoming().expect("rings"), net.nodes[C].incoming().expect("rings"));
    decide(&mut net, B, &b, reject(603, "")).expect("rejected");
    net.advance(SECOND);
    assert_eq!((call.state(), c.state()), (State::Rejected, State::Cancelled));
    net.assert_idle();
}

#[test]
fn giving_up_ends_each_fork() {
    let mut net = two_phones();
    let call = dial(&mut net, A, AOR);
    let (b, c) = (net.nodes[B].incoming().expect("rings"), net.nodes[C].incoming().expect("rings"));
    decide(&mut net, B, &b, Decision::Defer).expect("rings");
    hang_up(&mut net, A, &call);
    net.advance(SECOND);
    for session in [&call, &b, &c] {
        assert_eq!(session.state(), State::Cancelled);
    }
    net.advance(40 * SECOND);
    net.assert_idle();
    assert_eq!(net.nodes[A].engine.ua_stats().live.calls, 0);
}

#[test]
fn contacts_that_are_not_there_are_a_failure() {
    let mut net = registrar(StoreKind::Memory);
    register(&mut net, 1, 1, "<sip:bob@10.9.0.5>, <sip:bob@10.9.0.6>");
    let call = dial(&mut net, A, AOR);
    net.advance(33 * SECOND);
    assert!(matches!(&call.end().expect("over").cause, EndCause::Failed { status: Some(408), .. }), "{:?}", call.end());
    net.assert_idle();
}

#[test]
fn a_forward_to_an_address_of_record_rings_its_contacts() {
    let mut net = two_phones();
    let caller = net.add(config());
    let call = dial(&mut net, caller, &uri(A));
    let first = net.nodes[A].incoming().expect("it arrived");
    decide(&mut net, A, &first, forward(&[AOR])).expect("forwarded");
    let (b, c) = (net.nodes[B].incoming().expect("rings"), net.nodes[C].incoming().expect("rings"));
    decide(&mut net, C, &c, accept()).expect("accepted");
    net.advance(SECOND);
    for session in [&call, &first, &c] {
        assert_eq!(session.state(), State::Active);
    }
    assert_eq!(b.state(), State::Cancelled);
    assert_eq!(net.nodes[A].engine.directory().stats().active_sessions, 2, "a caller and one leg");
    hang_up(&mut net, caller, &call);
    assert_eq!(c.state(), State::Terminated);
    net.assert_idle();
    // Nobody is registered.
    let call = dial(&mut net, caller, &uri(A));
    let first = net.nodes[A].incoming().expect("it arrived");
    decide(&mut net, A, &first, forward(&["sip:nobody@pbx.example"])).expect("forwarded");
    assert_eq!(end_of(&call).1, "rejected 480 Temporarily Unavailable");
    net.assert_idle();
}

/// Name servers, which most likely would say that we are the ones to ask, are not asked.
#[test]
fn a_call_to_somebody_of_ours_who_is_not_registered_ends_at_once() {
    let mut net = two_phones();
    let call = dial(&mut net, A, "sip:nobody@pbx.example");
    assert_eq!((call.state(), end_of(&call).1.as_str()), (State::Failed, "failed: nobody is registered"));
    net.assert_idle();
}

/// A member of a group who is not there must not keep the others from being called, whoever is named first, nor the call from ending.
#[test]
fn a_group_rings_although_some_of_it_are_not_registered() {
    const NOBODY: [&str; 2] = ["sip:nobody@pbx.example", "sip:no-one@pbx.example"];
    let group = |targets: &[&str]| Decision::Forward {
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        redirect: false,
        parallel: true,
        ring: 30 * SECOND,
    };
    for targets in [[NOBODY[0], NOBODY[1], AOR], [NOBODY[0], AOR, NOBODY[1]], [AOR, NOBODY[0], NOBODY[1]]] {
        let mut net = two_phones();
        let caller = net.add(config());
        let call = dial(&mut net, caller, &uri(A));
        let first = net.nodes[A].incoming().expect("it arrived");
        decide(&mut net, A, &first, group(&targets)).expect("forwarded");
        let at_b = net.nodes[B].incoming().unwrap_or_else(|| panic!("{targets:?} does not ring"));
        decide(&mut net, B, &at_b, accept()).expect("accepted");
        net.advance(SECOND);
        assert_eq!((call.state(), at_b.state()), (State::Active, State::Active), "{targets:?}");
        hang_up(&mut net, caller, &call);
        net.assert_idle();
    }
    let mut net = two_phones();
    let caller = net.add(config());
    let call = dial(&mut net, caller, &uri(A));
    let first = net.nodes[A].incoming().expect("it arrived");
    decide(&mut net, A, &first, group(&NOBODY)).expect("forwarded");
    assert_eq!(end_of(&call).1, "rejected 480 Temporarily Unavailable");
    net.assert_idle();
}

#[test]
fn another_port_is_another_place() {
    let mut net = two_phones();
    for (to, rings) in [("sip:bob@pbx.example:5060", true), ("sip:bob@pbx.example:5070", false)] {
        let before = sent(&net, A, "INVITE").len();
        let call = dial(&mut net, A, to);
        assert_eq!(sent(&net, A, "INVITE").len() > before, rings, "{to}");
        hang_up(&mut net, A, &call);
    }
    net.advance(40 * SECOND);
}

#[test]
fn a_path_and_the_place_behind_a_nat_are_the_way() {
    let mut net = registrar(StoreKind::Memory);
    let path = "Path: <sip:10.9.0.50;lr>\r\nSupported: path\r\n";
    net.inject(A, outside(1), &register_text(1, 1, "Contact: <sip:bob@192.168.0.1>\r\n", path));
    assert_eq!(status(answer(&mut net, 1)), 200);
    let call = dial(&mut net, A, AOR);
    let invite = sent(&net, A, "INVITE")[0].to_owned();
    assert!(invite.starts_with("INVITE sip:bob@192.168.0.1 SIP/2.0\r\n"));
    assert_eq!(header(&invite, "Route"), Some("<sip:10.9.0.50;lr>"));
    assert!(net.outside.iter().any(|(to, text)| *to == outside(50) && text.starts_with("INVITE")));
    hang_up(&mut net, A, &call);

    let mut net = registrar(StoreKind::Memory);
    let text = register_text(1, 1, "Contact: <sip:bob@10.9.0.1:5060>\r\n", "");
    let mapped = SocketAddr::from(([10, 9, 7, 7], 40_000));
    net.inject(A, mapped, &text.replace("branch", "rport;branch"));
    let call = dial(&mut net, A, AOR);
    let there = |net: &Net, start: &str| {
        let found = net.outside.iter().find(|(to, text)| *to == mapped && text.starts_with(start));
        found.map(|(_, text)| text.clone())
    };
    let invite = there(&net, "INVITE sip:bob@10.9.0.1:5060 ").expect("where it came from");
    // Within the dialog too, whatever its Contact says.
    let lines: String =
        invite.lines().filter(|line| line.starts_with("Via:")).map(|line| format!("{line}\r\n")).collect();
    let body = sdp(4000, 1, "sendrecv");
    let answer = format!(
        "SIP/2.0 200 OK\r\n{lines}From: {}\r\nTo: {};tag=phone\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:bob@10.9.0.1:5060>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        header(&invite, "From").expect("From"),
        header(&invite, "To").expect("To"),
        header(&invite, "Call-ID").expect("Call-ID"),
        header(&invite, "CSeq").expect("CSeq"),
        body.len()
    );
    net.inject(A, mapped, &answer);
    assert_eq!(call.state(), State::Active);
    assert!(there(&net, "ACK sip:bob@10.9.0.1:5060 ").is_some());
    hang_up(&mut net, A, &call);
    assert!(there(&net, "BYE sip:bob@10.9.0.1:5060 ").is_some());
}

// ---- instances

const INSTANCES: [&str; 2] =
    ["urn:uuid:00000000-0000-0000-0000-00000000000b", "urn:uuid:00000000-0000-0000-0000-00000000000c"];

/// Two telephones of one address, each with an instance.
fn two_instances() -> (Net, String) {
    let mut net = registrar(StoreKind::Memory);
    net.add(config());
    net.add(config());
    let contact = |node, instance: &str| format!("<{}>;+sip.instance=\"<{instance}>\"", uri(node));
    let contacts = format!("Contact: {}, {}\r\n", contact(B, INSTANCES[0]), contact(C, INSTANCES[1]));
    net.inject(A, outside(1), &register_text(1, 1, &contacts, "Supported: gruu\r\n"));
    let answer = answer(&mut net, 1).expect("an answer");
    (net, answer)
}

#[test]
fn a_gruu_leads_to_one_instance_alone() {
    let (mut net, answer) = two_instances();
    for instance in INSTANCES {
        let gruu = format!(";pub-gruu=\"{AOR};gr={instance}\"");
        assert!(answer.contains(&gruu), "RFC 5627 §5.2: {answer}");
    }
    for (instance, rings, silent) in [(INSTANCES[0], B, C), (INSTANCES[1], C, B)] {
        let before = net.nodes[silent].events.len();
        let call = dial(&mut net, A, &format!("{AOR};gr={}", instance.to_uppercase().replace("URN:UUID", "urn:uuid")));
        let called = net.nodes[rings].incoming().expect("rings");
        decide(&mut net, rings, &called, accept()).expect("accepted");
        assert_eq!((call.state(), net.nodes[silent].events.len()), (State::Active, before));
        hang_up(&mut net, A, &call);
    }
    // One that is not there is not looked for elsewhere.
    let other = format!("{AOR};gr=urn:uuid:00000000-0000-0000-0000-00000000000d");
    let call = dial(&mut net, A, &other);
    assert!(matches!(&call.end().expect("over").cause, EndCause::Failed { status: Some(480), .. }), "{:?}", call.end());
    assert!(net.nodes[A].resolves.is_empty());
    net.assert_idle();
}

/// RFC 5627 §3.2, §5.4.
#[test]
fn a_temporary_gruu_leads_to_its_instance_and_tells_nothing() {
    let (mut net, answer) = two_instances();
    let temporary = |text: &str| -> Vec<String> {
        text.split("temp-gruu=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
    };
    let first = temporary(&answer);
    assert_eq!(first.len(), 2, "{answer}");
    assert!(first.iter().all(|gruu| !gruu.contains("bob") && gruu.ends_with("@pbx.example;gr")), "{first:?}");
    // The latest registered is listed first.
    for (gruu, rings, silent) in [(&first[0], C, B), (&first[1], B, C)] {
        let before = net.nodes[silent].events.len();
        let call = dial(&mut net, A, gruu);
        let called = net.nodes[rings].incoming().expect("rings");
        decide(&mut net, rings, &called, accept()).expect("accepted");
        assert_eq!((call.state(), net.nodes[silent].events.len()), (State::Active, before));
        hang_up(&mut net, A, &call);
    }
    // A forwarded call finds it as well.
    let caller = net.add(config());
    let call = dial(&mut net, caller, &uri(A));
    let first_leg = net.nodes[A].incoming().expect("it arrived");
    decide(&mut net, A, &first_leg, forward(&[&first[1]])).expect("forwarded");
    let called = net.nodes[B].incoming().expect("rings");
    decide(&mut net, B, &called, accept()).expect("accepted");
    net.advance(SECOND);
    assert_eq!(call.state(), State::Active);
    hang_up(&mut net, caller, &call);
    // One that is forged, or of before a restart of the telephone, leads nowhere, and nobody is looked up for it.
    let gone = format!("sip:tgruu.{}@pbx.example;gr", "A".repeat(80));
    let restarted = register_text(1, 2, &format!("Contact: <{}>;+sip.instance=\"<{}>\"\r\n", uri(B), INSTANCES[0]), "");
    net.inject(A, outside(1), &restarted.replace("Call-ID: phone1", "Call-ID: other"));
    for nobody in [gone.as_str(), &first[1]] {
        let call = dial(&mut net, A, nobody);
        assert!(
            matches!(&call.end().expect("over").cause, EndCause::Failed { status: Some(480), .. }),
            "{:?}",
            call.end()
        );
    }
    assert!(net.nodes[A].resolves.is_empty());
    net.assert_idle();
}

#[test]
fn a_gruu_is_for_those_who_understand_it_and_no_contact_itself() {
    let mut net = registrar(StoreKind::Memory);
    let contact = format!("Contact: <sip:bob@10.9.0.1>;+sip.instance=\"<{}>\"\r\n", INSTANCES[0]);
    net.inject(A, outside(1), &register_text(1, 1, &contact, ""));
    let text = answer(&mut net, 1).expect("an answer");
    assert!(
        text.starts_with("SIP/2.0 200") && !text.contains("gruu=") && text.contains("Supported: path, outbound, gruu")
    );
    register(&mut net, 1, 2, &format!("<{AOR};gr={}>", INSTANCES[0]));
    assert_eq!(status(answer(&mut net, 1)), 403, "RFC 5627 §5.1");
}

#[test]
fn what_is_bound_in_memory_goes_on_with_the_next_engine() {
    let (mut net, _) = two_instances();
    let now = net.now;
    let kept = net.nodes[A].engine.bindings(now);
    assert_eq!(kept.len(), 2);
    let mut next = Net::default();
    next.add(served(StoreKind::Memory));
    next.now = net.now + 10 * SECOND;
    let now = next.now;
    for record in &kept {
        next.nodes[A].engine.restore(now, record);
    }
    let list = |net: &mut Net| match net.ask(A, |token| Command::Lookup { token, aor: AOR.into() }) {
        Some(Ok(Reply::Bindings(records))) => records,
        other => panic!("{other:?}"),
    };
    assert_eq!(list(&mut next), list(&mut net), "in their order");
    // What a store keeps is not kept twice.
    let mut own = registrar(StoreKind::Own);
    assert!(own.nodes[A].engine.bindings(own.now).is_empty());
    own.run();
}

#[test]
fn what_is_being_bound_to_a_connection_that_closes_is_not_bound_to_it() {
    use ringback_ua::{ConnectionId, Flow, Transport};
    for store in [StoreKind::Own, StoreKind::Shared] {
        let mut net = registrar(store);
        let local = SocketAddr::from(([10, 0, 0, 1], 5060));
        let flow = Flow { transport: Transport::Tcp, local, remote: outside(1), connection: Some(ConnectionId(3)) };
        let text = |cseq| register_text(1, cseq, "Contact: <sip:bob@10.9.0.1;transport=tcp>\r\n", "");
        // The second one waits for the first.
        for cseq in [1, 2] {
            net.inject_by(A, flow, &text(cseq).replace("SIP/2.0/UDP", "SIP/2.0/TCP"));
        }
        let now = net.now;
        net.nodes[A].engine.handle_closed(now, ConnectionId(3));
        let mut kept = Vec::new();
        for _ in 0..10 {
            if net.nodes[A].store.is_empty() {
                break;
            }
            let (id, work) = asked(&mut net);
            let found = match work {
                StoreWork::Write(write) => {
                    kept = write.saved;
                    Vec::new()
                }
                _ => kept.clone(),
            };
            stored(&mut net, id, Ok(found));
        }
        let token = net.command(A, |token| Command::Lookup { token, aor: AOR.into() });
        if store == StoreKind::Shared {
            let (id, _) = asked(&mut net);
            stored(&mut net, id, Ok(kept.clone()));
        }
        let Some(Ok(Reply::Bindings(records))) = net.result(A, token) else { panic!("no reply") };
        let connections: Vec<_> = records.iter().map(|record| record.source.connection).collect();
        assert_eq!(connections, [None], "{store:?}");
    }
}
