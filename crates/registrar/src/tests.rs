//! The registrar alone: requests in, answers and bindings out, under a clock that the test turns.

use std::net::SocketAddr;
use std::time::Duration;

use ringback_sip::Message;
use ringback_time::Now;
use ringback_ua::{ConnectionId, Flow, Transport};

use crate::fuzz::start;
use crate::{Config, Record, Refusal, Registrar};

const AOR: &str = "sip:alice@example.com";

struct Desk {
    registrar: Registrar,
    now: Now,
    cseq: u32,
    flow: Flow,
}

fn udp(remote: &str) -> Flow {
    let remote: SocketAddr = remote.parse().unwrap();
    Flow { transport: Transport::Udp, local: "192.0.2.1:5060".parse().unwrap(), remote, connection: None }
}

fn tcp(connection: u64) -> Flow {
    Flow { transport: Transport::Tcp, connection: Some(ConnectionId(connection)), ..udp("192.0.2.9:33000") }
}

impl Desk {
    fn new() -> Desk {
        Desk::with(Config::default())
    }

    fn with(config: Config) -> Desk {
        let registrar = Registrar::new(Config { domains: vec!["example.com".into()], ..config });
        Desk { registrar, now: start(), cseq: 0, flow: udp("192.0.2.9:5060") }
    }

    /// A REGISTER of its own Call-ID, newer than the last.
    fn register(&mut self, headers: &str) -> Result<Vec<String>, Refusal> {
        self.cseq += 1;
        let cseq = self.cseq;
        self.send(&format!("Call-ID: one\r\nCSeq: {cseq} REGISTER\r\n{headers}"))
    }

    fn send(&mut self, headers: &str) -> Result<Vec<String>, Refusal> {
        self.send_to("sip:example.com", AOR, headers)
    }

    /// The Contact values of the 200.
    fn send_to(&mut self, uri: &str, to: &str, headers: &str) -> Result<Vec<String>, Refusal> {
        let reply = self.reply(uri, to, headers)?;
        Ok(reply.into_iter().filter(|(name, _)| name == "Contact").map(|(_, value)| value).collect())
    }

    fn reply(&mut self, uri: &str, to: &str, headers: &str) -> Result<Vec<(String, String)>, Refusal> {
        let text = format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK1;rport\r\nFrom: <{AOR}>;tag=1\r\nTo: <{to}>\r\n\
             Max-Forwards: 70\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        let message = Message::parse(text.into_bytes().into()).unwrap();
        let plan = self.registrar.plan(self.now, &message, &self.flow)?;
        self.registrar.commit(self.now, &plan.write);
        self.registrar.assert_consistent();
        let number = self.cseq as u8;
        let mut last = 0;
        let random = || {
            last += 1;
            [number, last, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        };
        Ok(self.registrar.reply(self.now, &plan, random))
    }

    fn bound(&self) -> Vec<String> {
        self.records().into_iter().map(|record| record.contact).collect()
    }

    fn records(&self) -> Vec<Record> {
        self.registrar.lookup(self.now, AOR)
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.registrar.handle_timeout(self.now);
        self.registrar.assert_consistent();
    }
}

fn status(result: Result<Vec<String>, Refusal>) -> u16 {
    result.unwrap_err().status.as_u16()
}

#[test]
fn contacts_are_added_listed_refreshed_and_removed() {
    let mut desk = Desk::new();
    assert_eq!(desk.register("").unwrap(), [""; 0], "a query of nothing");
    desk.register("Contact: <sip:a@192.0.2.9>;expires=100, \"Desk\" <sip:b@192.0.2.10>;q=0.5\r\nExpires: 200\r\n")
        .unwrap();
    desk.wait(10);
    let listed = desk.register("").unwrap();
    assert_eq!(listed, ["<sip:a@192.0.2.9>;expires=90", "<sip:b@192.0.2.10>;expires=190;q=0.500"]);
    desk.register("Contact: <sip:a@192.0.2.9>\r\n").unwrap();
    assert_eq!(desk.register("").unwrap()[0], "<sip:a@192.0.2.9>;expires=3600", "the default is the longest");
    let left = desk.register("Contact: <sip:b@192.0.2.10>;expires=0\r\n").unwrap();
    assert_eq!(left, ["<sip:a@192.0.2.9>;expires=3600"]);
    assert_eq!(desk.register("Contact: *\r\nExpires: 0\r\n").unwrap(), [""; 0]);
    assert!(desk.registrar.is_empty() && !desk.registrar.knows(AOR));
}

#[test]
fn bindings_end_by_themselves() {
    let mut desk = Desk::new();
    desk.register("Contact: <sip:a@192.0.2.9>;expires=60, <sip:b@192.0.2.9>;expires=120\r\n").unwrap();
    desk.wait(59);
    assert_eq!(desk.bound().len(), 2);
    desk.wait(1);
    assert_eq!(desk.bound(), ["sip:b@192.0.2.9"]);
    // A refresh costs no further entry in the queue, and the old one lets nothing go.
    desk.register("Contact: <sip:b@192.0.2.9>;expires=600\r\n").unwrap();
    desk.wait(61);
    assert_eq!(desk.bound(), ["sip:b@192.0.2.9"]);
    desk.wait(600);
    assert!(desk.registrar.is_empty());
    assert_eq!(desk.registrar.poll_timeout(), None);
}

#[test]
fn the_same_contact_in_other_words_is_the_same() {
    let mut desk = Desk::new();
    desk.register("Contact: <sip:a@Phone.example;transport=udp>\r\n").unwrap();
    desk.register("Contact: <sip:%61@phone.EXAMPLE;transport=UDP>\r\n").unwrap();
    assert_eq!(desk.bound(), ["sip:%61@phone.EXAMPLE;transport=UDP"]);
    desk.register("Contact: <sip:a@phone.example;transport=tcp>\r\n").unwrap();
    assert_eq!(desk.bound().len(), 2);
}

#[test]
fn the_same_contact_twice_in_one_request_is_one() {
    let mut desk = Desk::new();
    desk.register("Contact: <sip:a@phone.example>;q=0.1, <sip:%61@PHONE.example>;q=0.2\r\n").unwrap();
    assert_eq!(desk.bound(), ["sip:%61@PHONE.example"], "in other words");
    desk.register("Contact: <sip:a@phone.example>, <sip:a@phone.example>;expires=0\r\n").unwrap();
    assert_eq!(desk.bound(), [""; 0], "the later counts");
    desk.register("Contact: <sip:a@phone.example>;expires=0, <sip:a@phone.example>\r\n").unwrap();
    assert_eq!(desk.bound(), ["sip:a@phone.example"]);
}

#[test]
fn within_a_call_id_only_what_is_newer_counts() {
    let mut desk = Desk::new();
    let contact = "Contact: <sip:a@192.0.2.9>";
    desk.send(&format!("Call-ID: x\r\nCSeq: 5 REGISTER\r\n{contact}\r\n")).unwrap();
    for old in [4, 5] {
        for what in [format!("{contact};expires=0\r\n"), "Contact: *\r\nExpires: 0\r\n".into()] {
            assert_eq!(status(desk.send(&format!("Call-ID: x\r\nCSeq: {old} REGISTER\r\n{what}"))), 500);
        }
    }
    // One that is out of order changes nothing at all.
    assert_eq!(
        status(desk.send(&format!("Call-ID: x\r\nCSeq: 5 REGISTER\r\nContact: <sip:new@192.0.2.9>\r\n{contact}\r\n"))),
        500
    );
    assert_eq!(desk.bound(), ["sip:a@192.0.2.9"]);
    desk.send("Call-ID: x\r\nCSeq: 3 REGISTER\r\n").expect("a query changes nothing");
    desk.send(&format!("Call-ID: y\r\nCSeq: 1 REGISTER\r\n{contact};expires=0\r\n")).expect("another Call-ID");
    assert!(desk.registrar.is_empty());
}

#[test]
fn how_long_is_the_registrar_s_to_say() {
    let config =
        Config { min_expires: Duration::from_secs(30), max_expires: Duration::from_secs(300), ..Config::default() };
    let mut desk = Desk::with(config);
    let brief = desk.register("Contact: <sip:a@192.0.2.9>;expires=29\r\n").unwrap_err();
    assert_eq!(brief.status.as_u16(), 423);
    assert_eq!(brief.headers, [("Min-Expires".to_owned(), "30".to_owned())]);
    for (asked, given) in
        [(";expires=30", 30), (";expires=301", 300), (";expires=99999999999", 300), (";expires=x", 300), ("", 300)]
    {
        let listed = desk.register(&format!("Contact: <sip:a@192.0.2.9>{asked}\r\n")).unwrap();
        assert_eq!(listed, [format!("<sip:a@192.0.2.9>;expires={given}")], "{asked}");
    }
}

#[test]
fn a_star_goes_alone_and_with_zero() {
    let mut desk = Desk::new();
    desk.register("Contact: <sip:a@192.0.2.9>\r\n").unwrap();
    for bad in [
        "Contact: *\r\n",
        "Contact: *\r\nExpires: 1\r\n",
        "Contact: *, <sip:a@192.0.2.9>\r\nExpires: 0\r\n",
        "Contact: <sip:a@192.0.2.9>\r\nContact: *\r\nExpires: 0\r\n",
    ] {
        assert_eq!(status(desk.register(bad)), 400, "{bad}");
    }
    assert_eq!(desk.bound().len(), 1);
}

#[test]
fn other_domains_are_not_here() {
    let mut desk = Desk::new();
    let more = "Call-ID: a\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@192.0.2.9>\r\n";
    for (uri, to) in [
        ("sip:example.net", AOR),
        ("sip:example.com", "sip:alice@example.net"),
        ("sip:example.com", "sip:example.com"),
        ("sip:example.com", "tel:+491234"),
    ] {
        assert_eq!(status(desk.send_to(uri, to, more)), 404, "{uri} {to}");
    }
    desk.send_to("sip:192.0.2.1:5060", "sip:alice@EXAMPLE.com:5060;user=phone", more)
        .expect("our address by its number");
    assert_eq!(desk.bound(), ["sip:a@192.0.2.9"]);
}

#[test]
fn contacts_are_bounded() {
    let mut desk = Desk::with(Config { max_contacts: 2, max_bindings: 3, ..Config::default() });
    desk.register("Contact: <sip:a@192.0.2.9>, <sip:b@192.0.2.9>\r\n").unwrap();
    let refused = desk.register("Contact: <sip:c@192.0.2.9>\r\n").unwrap_err();
    assert_eq!((refused.status.as_u16(), refused.reason), (403, Some("Too Many Contacts")));
    desk.register("Contact: <sip:a@192.0.2.9>;expires=0, <sip:c@192.0.2.9>\r\n").expect("one goes, one comes");
    desk.register("Contact: <sip:c@192.0.2.9>;expires=100\r\n").expect("a refresh");
    let other = "sip:bob@example.com";
    let more = |cseq, user| format!("Call-ID: a\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:{user}@192.0.2.9>\r\n");
    desk.send_to("sip:example.com", other, &more(1, "x")).unwrap();
    assert_eq!(status(desk.send_to("sip:example.com", other, &more(2, "y"))), 503);
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    let mut desk = Desk::new();
    for bad in [
        "Contact: <sip:a@192.0.2.9>;q=2\r\n",
        "Contact: <sip:a@192.0.2.9\r\n",
        "Contact: <sip:a@192.0.2.9>, nonsense here\r\n",
        "Contact: <sip:a@192.0.2.9>\r\nPath: nonsense here\r\n",
    ] {
        assert_eq!(status(desk.register(bad)), 400, "{bad}");
    }
    let long = format!("Contact: <sip:a@192.0.2.9>\r\nPath: {}\r\n", vec!["<sip:proxy.example;lr>"; 800].join(", "));
    assert_eq!(status(desk.register(&long)), 513);
    assert!(desk.registrar.is_empty());
}

#[test]
fn the_best_comes_first() {
    let mut desk = Desk::new();
    desk.register("Contact: <sip:low@192.0.2.9>;q=0.2, <sip:old@192.0.2.9>\r\n").unwrap();
    desk.register("Contact: <sip:new@192.0.2.9>;q=1.0\r\n").unwrap();
    assert_eq!(desk.bound(), ["sip:new@192.0.2.9", "sip:old@192.0.2.9", "sip:low@192.0.2.9"]);
}

#[test]
fn a_path_is_kept_and_repeated() {
    let mut desk = Desk::new();
    let more = "Call-ID: p\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@10.0.0.1>\r\nPath: <sip:p2.example;lr>\r\nPath: <sip:p1.example;lr>\r\n";
    let silent = desk.reply("sip:example.com", AOR, more).unwrap();
    assert!(silent.iter().all(|(name, _)| name != "Path"), "RFC 3327 §5.3: only to who knows it");
    let more = more.replace("CSeq: 1", "Supported: path\r\nCSeq: 2");
    let told = desk.reply("sip:example.com", AOR, &more).unwrap();
    let path = "<sip:p2.example;lr>, <sip:p1.example;lr>";
    assert!(told.contains(&("Path".to_owned(), path.to_owned())));
    assert_eq!((desk.records()[0].path.as_str(), desk.records()[0].flow()), (path, None));
}

fn flow_contact(user: &str, reg_id: u32) -> String {
    format!(
        "Contact: <sip:{user}@10.0.0.1;ob>;reg-id={reg_id};+sip.instance=\"<urn:uuid:1>\"\r\nSupported: path, outbound\r\n"
    )
}

#[test]
fn a_flow_is_known_by_instance_and_reg_id() {
    let mut desk = Desk::new();
    desk.flow = tcp(7);
    let listed = desk.register(&flow_contact("a", 1)).unwrap();
    assert_eq!(listed, ["<sip:a@10.0.0.1;ob>;expires=3600;+sip.instance=\"<urn:uuid:1>\";reg-id=1"]);
    desk.register(&flow_contact("b", 2)).unwrap();
    desk.flow = tcp(8);
    desk.register(&flow_contact("c", 1)).expect("the first flow anew, by another address");
    let records = desk.records();
    let flows: Vec<_> = records
        .iter()
        .map(|record| (record.contact.as_str(), record.flow().and_then(|flow| flow.connection)))
        .collect();
    assert_eq!(flows, [("sip:c@10.0.0.1;ob", Some(ConnectionId(8))), ("sip:b@10.0.0.1;ob", Some(ConnectionId(7)))]);
    desk.registrar.handle_closed(ConnectionId(7));
    desk.registrar.assert_consistent();
    let reachable: Vec<_> =
        desk.records().iter().filter(|record| record.is_reachable()).map(|record| record.reg_id).collect();
    assert_eq!(reachable, [Some(1)], "a flow whose connection is gone leads nowhere");
    desk.register(&format!("{}Expires: 0\r\n", flow_contact("c", 1))).unwrap();
    assert_eq!(desk.bound(), ["sip:b@10.0.0.1;ob"]);
}

fn flow_of(user: &str, instance: u32, reg_id: u32) -> String {
    flow_contact(user, reg_id).replace("urn:uuid:1", &format!("urn:uuid:{instance}"))
}

/// What is bound: instance, reg-id, URI, connection.
fn flows(desk: &Desk) -> Vec<(String, Option<u32>, String, Option<u64>)> {
    let mut flows: Vec<_> = desk
        .records()
        .into_iter()
        .map(|record| {
            let connection = record.source.connection.map(|connection| connection.0);
            (record.instance.unwrap_or_default(), record.reg_id, record.contact, connection)
        })
        .collect();
    flows.sort();
    flows
}

/// The temporary GRUUs that a REGISTER was answered with.
fn temporary(desk: &mut Desk, call_id: &str, contacts: &str) -> Vec<ringback_sip::Uri> {
    desk.cseq += 1;
    let text = format!("Call-ID: {call_id}\r\nCSeq: {} REGISTER\r\nSupported: gruu\r\n{contacts}", desk.cseq);
    let listed = desk.send(&text).unwrap();
    let one = |listed: &String| {
        let contact = ringback_sip::NameAddr::parse(listed).unwrap();
        ringback_sip::Uri::parse(&contact.params.get_unquoted("temp-gruu")?).ok()
    };
    listed.iter().filter_map(one).collect()
}

/// RFC 5627 §5.4.
#[test]
fn temporary_gruus_lead_to_their_instance_as_long_as_its_call_id_stays() {
    let mut desk = Desk::new();
    let contact = |user: &str, instance: u8, expires: u32| {
        format!("Contact: <sip:{user}@192.0.2.9>;expires={expires};+sip.instance=\"<urn:uuid:{instance}>\"\r\n")
    };
    let leads = |desk: &Desk, gruu: &ringback_sip::Uri| {
        let aor = desk.registrar.key(gruu).unwrap();
        let found = desk.registrar.targets(desk.now, &aor, gruu);
        (aor, found.into_iter().map(|record| record.contact).collect::<Vec<_>>())
    };
    let to = |contact: &str| (AOR.to_owned(), vec![contact.to_owned()]);
    let first = temporary(&mut desk, "one", &contact("a", 1, 600));
    let second = temporary(&mut desk, "one", &contact("b", 2, 600));
    assert_eq!((first.len(), second.len()), (1, 2));
    let again = temporary(&mut desk, "one", &contact("a", 1, 600));
    assert!(first.iter().chain(&second).all(|gruu| !again.contains(gruu)), "a new one each time");
    // The latest comes first.
    for gruu in [&first[0], &second[1], &again[0]] {
        assert_eq!(leads(&desk, gruu), to("sip:a@192.0.2.9"), "all of them lead there");
    }
    for gruu in [&second[0], &again[1]] {
        assert_eq!(leads(&desk, gruu), to("sip:b@192.0.2.9"));
    }
    // Elsewhere now, the same instance.
    temporary(&mut desk, "one", &format!("{}{}", contact("a", 1, 0), contact("moved", 1, 600)));
    assert_eq!(leads(&desk, &first[0]), to("sip:moved@192.0.2.9"));
    // A restart of the telephone, as its Call-ID tells: what was minted before is void.
    let later = temporary(&mut desk, "two", &contact("moved", 1, 600));
    assert_eq!(leads(&desk, &first[0]).1, [""; 0]);
    assert_eq!(leads(&desk, &later[0]), to("sip:moved@192.0.2.9"));
    assert_eq!(leads(&desk, &second[0]), to("sip:b@192.0.2.9"), "the other telephone has not restarted");
    // It goes with its binding.
    desk.wait(601);
    assert_eq!(leads(&desk, &later[0]).1, [""; 0]);
    // With another key it is a name that nobody has.
    desk.registrar.set_gruu_key(crate::GruuKey([9; 32]));
    assert_ne!(desk.registrar.key(&later[0]).as_deref(), Some(AOR));
    // None is an address to register for.
    let text = format!("Call-ID: x\r\nCSeq: 1 REGISTER\r\n{}", contact("x", 1, 600));
    for to in [later[0].to_string(), format!("{AOR};gr=urn:uuid:1")] {
        assert_eq!(status(desk.send_to("sip:example.com", &to, &text)), 404, "{to}");
    }
}

/// RFC 5626 §6: the key is instance and reg-id, and the URI says nothing.
#[test]
fn flows_with_one_uri_are_as_many_bindings() {
    let one = |instance: u32, reg_id: u32, connection: u64| {
        let uri = "sip:a@10.0.0.1;ob".to_owned();
        (format!("urn:uuid:{instance}"), Some(reg_id), uri, Some(connection))
    };
    let mut desk = Desk::new();
    for (connection, instance, reg_id) in [(1, 1, 1), (2, 1, 2), (3, 2, 1)] {
        desk.flow = tcp(connection);
        desk.register(&flow_of("a", instance, reg_id)).unwrap();
    }
    assert_eq!(flows(&desk), [one(1, 1, 1), one(1, 2, 2), one(2, 1, 3)], "two of one instance, one of another");
    // One of them by another connection: it alone changes.
    desk.flow = tcp(4);
    let listed = desk.register(&flow_of("a", 1, 2)).unwrap();
    assert_eq!(listed.len(), 3);
    assert_eq!(flows(&desk), [one(1, 1, 1), one(1, 2, 4), one(2, 1, 3)]);
    desk.registrar.handle_closed(ConnectionId(1));
    let reachable = |desk: &Desk| desk.records().iter().filter(|record| record.is_reachable()).count();
    assert_eq!(reachable(&desk), 2, "one connection, one flow");
    desk.register(&format!("{}Expires: 0\r\n", flow_of("a", 1, 2))).unwrap();
    assert_eq!(flows(&desk).len(), 2);
    // Each ends in its own time.
    desk.register(&format!("{}Expires: 60\r\n", flow_of("a", 2, 1))).unwrap();
    desk.wait(61);
    assert_eq!(
        flows(&desk).iter().map(|flow| (flow.0.as_str(), flow.1)).collect::<Vec<_>>(),
        [("urn:uuid:1", Some(1))]
    );
}

/// A telephone that begins or ceases to speak of flows is not called twice.
#[test]
fn a_flow_and_a_plain_contact_of_one_telephone_are_one() {
    let plain = |instance: &str| format!("Contact: <sip:a@10.0.0.1;ob>{instance}\r\n");
    let own = ";+sip.instance=\"<urn:uuid:1>\"";
    let other = ";+sip.instance=\"<urn:uuid:2>\"";
    for (instance, bound) in [("", 1), (own, 1), (other, 2)] {
        let mut desk = Desk::new();
        desk.register(&flow_contact("a", 1)).unwrap();
        desk.register(&plain(instance)).unwrap();
        assert_eq!(desk.bound().len(), bound, "{instance}");
        desk.register(&flow_contact("a", 1)).unwrap();
        assert_eq!(desk.bound().len(), bound, "{instance}");
        let reg_ids: Vec<_> = desk.records().iter().filter_map(|record| record.reg_id).collect();
        assert_eq!(reg_ids, [1], "{instance}");
    }
}

#[test]
fn a_shared_store_tells_flows_apart_as_far_as_it_can() {
    let mut desk = Desk::new();
    for (connection, reg_id) in [(1, 1), (2, 2)] {
        desk.flow = tcp(connection);
        desk.register(&flow_contact("a", reg_id)).unwrap();
    }
    let told = desk.records();
    desk.registrar.adopt(desk.now, AOR, &told);
    desk.registrar.assert_consistent();
    assert_eq!(
        flows(&desk).iter().map(|flow| (flow.1, flow.3)).collect::<Vec<_>>(),
        [(Some(1), Some(1)), (Some(2), Some(2))]
    );
    // One that has the URI alone as its key has the latest of them, and no word of what it is.
    let bare = Record { instance: None, reg_id: None, call_id: String::new(), cseq: 0, ..told[0].clone() };
    desk.registrar.adopt(desk.now, AOR, &[bare]);
    desk.registrar.assert_consistent();
    assert_eq!(flows(&desk).iter().map(|flow| (flow.1, flow.3)).collect::<Vec<_>>(), [(Some(2), Some(2))]);
}

#[test]
fn outbound_needs_all_of_its_parts() {
    let mut desk = Desk::new();
    let require = |desk: &mut Desk, headers: &str| {
        desk.cseq += 1;
        let reply =
            desk.reply("sip:example.com", AOR, &format!("Call-ID: one\r\nCSeq: {} REGISTER\r\n{headers}", desk.cseq));
        reply.map(|lines| lines.iter().any(|(name, value)| name == "Require" && value == "outbound"))
    };
    assert!(require(&mut desk, &flow_contact("a", 1)).unwrap());
    assert!(!require(&mut desk, &flow_contact("a", 1).replace("outbound", "gruu")).unwrap(), "not asked for");
    assert!(!require(&mut desk, &flow_contact("a", 0)).unwrap(), "no reg-id");
    assert_eq!(desk.records()[0].reg_id, None);
    let two = flow_contact("a", 1).replace("\r\nSupported", ", <sip:x@10.0.0.2>\r\nSupported");
    assert_eq!(require(&mut desk, &two).unwrap_err().status.as_u16(), 400);
    // RFC 5626 §6: the first proxy has to keep the flow.
    let proxied = |path: &str| format!("Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK2\r\n{path}{}", flow_contact("a", 1));
    assert_eq!(require(&mut desk, &proxied("")).unwrap_err().status.as_u16(), 439);
    assert_eq!(require(&mut desk, &proxied("Path: <sip:p.example;lr>\r\n")).unwrap_err().status.as_u16(), 439);
    assert!(require(&mut desk, &proxied("Path: <sip:p2.example;lr>, <sip:token@p.example;lr;ob>\r\n")).unwrap());
}

#[test]
fn a_contact_behind_a_nat_is_reached_where_it_came_from() {
    for (remote, contact, natted) in [
        ("192.0.2.9:5060", "sip:a@192.0.2.9", false),
        ("198.51.100.7:40000", "sip:a@192.0.2.9:5060", true),
        ("192.0.2.9:40000", "sip:a@192.0.2.9:5060", true),
        // Somebody else is registered: that is no NAT.
        ("198.51.100.7:40000", "sip:a@203.0.113.5", false),
        ("198.51.100.7:40000", "sip:a@phone.example", false),
    ] {
        let mut desk = Desk::new();
        desk.flow = udp(remote);
        desk.register(&format!("Contact: <{contact}>\r\n")).unwrap();
        let flow = desk.records()[0].flow();
        assert_eq!(flow.map(|flow| flow.remote), natted.then(|| remote.parse().unwrap()), "{remote} {contact}");
    }
    // By a stream: over that stream, as long as it is there.
    let mut desk = Desk::new();
    desk.flow = tcp(3);
    desk.register("Contact: <sip:a@192.0.2.9:33000;transport=tcp>\r\n").unwrap();
    assert_eq!(desk.records()[0].flow().and_then(|flow| flow.connection), Some(ConnectionId(3)));
    desk.registrar.handle_closed(ConnectionId(3));
    assert_eq!((desk.records()[0].flow(), desk.records()[0].is_reachable()), (None, true));
}

#[test]
fn what_was_stored_comes_back() {
    let mut desk = Desk::new();
    desk.register("Contact: <sip:a@192.0.2.9>;expires=60, <sip:b@192.0.2.10>;q=0.5\r\nUser-Agent: Desk 1\r\n").unwrap();
    let kept = desk.records();
    assert_eq!(kept[0].user_agent.as_deref(), Some("Desk 1"));
    let mut next = Desk::new();
    next.now = desk.now + Duration::from_secs(60);
    for record in &kept {
        next.registrar.restore(next.now, record);
    }
    next.registrar.assert_consistent();
    assert_eq!(next.bound(), ["sip:b@192.0.2.10"], "the other one has ended meanwhile");
    assert_eq!(next.records()[0], kept[1]);
    let removal = next.registrar.removal(AOR);
    assert_eq!(removal.deleted, [next.records()[0].key()]);
    next.registrar.commit(next.now, &removal);
    assert!(next.registrar.is_empty());
}

#[test]
fn a_shared_store_has_the_last_word() {
    let mut desk = Desk::new();
    desk.flow = tcp(3);
    desk.register("Contact: <sip:a@192.0.2.9>;q=0.7, <sip:b@192.0.2.9>\r\n").unwrap();
    let mut told = desk.records();
    told.retain(|record| record.contact.contains("a@"));
    // What a store does not keep.
    told[0].call_id.clear();
    told[0].cseq = 0;
    told[0].q = 1000;
    told[0].source.connection = None;
    told[0].expires = (desk.now + Duration::from_secs(50)).wall;
    let other = Record { contact: "sip:c@192.0.2.11".into(), ..told[0].clone() };
    desk.registrar.adopt(desk.now, AOR, &[told[0].clone(), other]);
    desk.registrar.assert_consistent();
    let records = desk.records();
    assert_eq!(
        records.iter().map(|record| record.contact.as_str()).collect::<Vec<_>>(),
        ["sip:c@192.0.2.11", "sip:a@192.0.2.9"]
    );
    assert_eq!((records[1].q, records[1].cseq, records[1].source.connection), (700, 1, Some(ConnectionId(3))));
    assert_eq!(records[1].expires, told[0].expires);
}

#[test]
fn a_hundred_thousand_bindings_are_small() {
    let mut registrar = Registrar::new(Config { domains: vec!["example.com".into()], ..Config::default() });
    let now = start();
    for number in 0..100_000u32 {
        let [_, a, b, c] = number.to_be_bytes();
        let record = Record {
            aor: format!("sip:user{number}@example.com"),
            contact: format!("sip:user{number}@10.{a}.{b}.{c}:5060;transport=udp"),
            expires: (now + Duration::from_secs(3600)).wall,
            q: 1000,
            call_id: format!("{number:032x}"),
            cseq: 1,
            user_agent: Some("Desk phone 4.2.1".into()),
            path: String::new(),
            instance: None,
            reg_id: None,
            source: crate::Source {
                transport: Transport::Udp,
                remote: SocketAddr::from(([10, a, b, c], 5060)),
                connection: None,
                local: Some(SocketAddr::from(([10, 0, 0, 1], 5060))),
            },
            natted: false,
        };
        registrar.restore(now, &record);
    }
    assert_eq!(registrar.len(), 100_000);
    let each = registrar.bytes() / registrar.len();
    assert!(each <= 512, "{each} bytes a binding");
    assert_eq!(registrar.handle_timeout(now + Duration::from_secs(3600)).len(), 100_000);
    assert!(registrar.is_empty());
}

/// A generator without a crate: what matters is that each run is the same.
fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    }
}

#[test]
fn any_sequence_leaves_a_consistent_table() {
    for seed in 0..300 {
        let mut next = noise(seed);
        let data: Vec<u8> = (0..600).map(|_| next()).collect();
        crate::fuzz::operations(&data);
    }
}

#[test]
fn any_request_is_taken_or_refused() {
    let text = format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK1\r\nFrom: <{AOR}>;tag=1\r\nTo: <{AOR}>\r\n\
         Max-Forwards: 70\r\nCall-ID: one\r\nCSeq: 1 REGISTER\r\nSupported: outbound, path\r\nPath: <sip:p@q;lr;ob>\r\n\
         Contact: <sip:a@192.0.2.9>;expires=60;q=0.5;reg-id=1;+sip.instance=\"<urn:uuid:1>\", <sip:b@192.0.2.9>;expires=0\r\n\r\n"
    );
    for seed in 0..3000 {
        let mut next = noise(seed);
        let mut bytes = text.clone().into_bytes();
        for _ in 0..=next() % 4 {
            let at = (usize::from(next()) << 8 | usize::from(next())) % bytes.len();
            match next() % 3 {
                0 => bytes[at] = next(),
                1 => {
                    bytes.remove(at);
                }
                _ => bytes.insert(at, b"\"<>;,=*\r"[usize::from(next() % 8)]),
            }
        }
        crate::fuzz::request(&bytes);
    }
}

#[test]
fn whatever_a_store_says_leaves_a_table_that_can_be_emptied() {
    for seed in 0..2000 {
        let mut next = noise(seed);
        let mut data = Vec::new();
        for _ in 0..8 {
            data.extend_from_slice(
                format!("sip:user{}@example.com\0sip:c{}@192.0.2.9\0id\0", next() % 3, next() % 4).as_bytes(),
            );
            data.extend((0..next() % 20).map(|_| next()));
            data.push(b'\n');
        }
        crate::fuzz::records(&data);
    }
}
