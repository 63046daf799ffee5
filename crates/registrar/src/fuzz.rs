//! Bodies of fuzz targets: any REGISTER, and any sequence of them, leaves a table that is consistent and bounded.

use std::net::SocketAddr;
use std::time::Duration;

use ringback_sip::{Message, Uri};
use ringback_time::{Mono, Now, Wall};
use ringback_ua::{ConnectionId, Flow, Transport};

use crate::{Config, Record, Registrar, Source};

const DOMAIN: &str = "example.com";

/// A table of one address with three contacts at most.
#[must_use]
pub fn small() -> Registrar {
    Registrar::new(Config {
        domains: vec![DOMAIN.into()],
        min_expires: Duration::from_secs(2),
        max_expires: Duration::from_secs(100),
        max_contacts: 3,
        max_bindings: 20,
        ..Config::default()
    })
}

#[must_use]
pub fn start() -> Now {
    Now { mono: Mono::from_nanos(5_000_000_000), wall: Wall::from_unix_nanos(1_700_000_000_000_000_000) }
}

fn flow(number: u8) -> Flow {
    let remote = SocketAddr::from(([192, 0, 2, number], 5060));
    let stream = number % 2 == 1;
    let transport = if stream { Transport::Tcp } else { Transport::Udp };
    Flow { transport, local: remote, remote, connection: stream.then_some(ConnectionId(u64::from(number))) }
}

/// `data`: six octets a step.
pub fn operations(data: &[u8]) {
    let mut registrar = small();
    let mut now = start();
    for step in data.chunks_exact(6) {
        let [what, who, contact, cseq, expires, more] = *step else { return };
        now = now + Duration::from_millis(u64::from(more) * 40);
        for write in registrar.handle_timeout(now) {
            assert!(!write.deleted.is_empty());
        }
        match what % 8 {
            0 => registrar.handle_closed(ConnectionId(u64::from(contact % 8))),
            1 => {
                let gone = registrar.removal(&format!("sip:user{}@{DOMAIN}", who % 4));
                registrar.commit(now, &gone);
            }
            _ => {
                let contacts = match what % 8 {
                    2 => String::new(),
                    3 => "Contact: *\r\nExpires: 0\r\n".into(),
                    4 => format!(
                        "Contact: <sip:c{}@192.0.2.9>;expires={expires};reg-id={};+sip.instance=\"<urn:uuid:{}>\"\r\n\
                         Supported: outbound, path\r\n",
                        contact % 6,
                        more % 3,
                        cseq % 2
                    ),
                    5 => format!(
                        "Contact: <sip:c{}@192.0.2.9>;expires={expires}, <sip:c{}@192.0.2.9>;q=0.{more}\r\n",
                        contact % 6,
                        cseq % 6
                    ),
                    _ => format!("Contact: <sip:C{}@192.0.2.9;x=%61>\r\nExpires: {expires}\r\n", contact % 6),
                };
                let text = format!(
                    "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\nFrom: <sip:u@{DOMAIN}>;tag=1\r\n\
                     To: <sip:user{}@{DOMAIN}>\r\nCall-ID: c{}\r\nCSeq: {cseq} REGISTER\r\nMax-Forwards: 70\r\n{contacts}\
                     Content-Length: 0\r\n\r\n",
                    who % 4,
                    who / 128,
                );
                take(&mut registrar, now, text.into_bytes(), flow(contact % 8));
            }
        }
        registrar.assert_consistent();
    }
    // All of it ends.
    registrar.handle_timeout(now + Duration::from_secs(101));
    assert!(registrar.is_empty() && registrar.poll_timeout().is_none_or(|at| at > now.mono));
}

/// `data`: a message as it came.
pub fn request(data: &[u8]) {
    let mut registrar = small();
    take(&mut registrar, start(), data.to_vec(), flow(1));
    registrar.assert_consistent();
}

/// `data`: what a store says of addresses, a record a line, its texts apart by zeros. A store is written by others too.
pub fn records(data: &[u8]) {
    let (mut registrar, now) = (small(), start());
    let records: Vec<Record> = data.split(|byte| *byte == b'\n').take(50).map(record).collect();
    for (number, record) in records.iter().enumerate() {
        if number % 3 == 2 {
            let of_same: Vec<Record> =
                records.iter().filter(|other| other.aor == record.aor).take(3).cloned().collect();
            registrar.adopt(now, &record.aor, &of_same);
        } else {
            registrar.restore(now, record);
        }
        // A store may have more contacts of an address than would be registered.
        for found in registrar.lookup(now, &record.aor) {
            let _ = (found.flow(), found.is_reachable(), found.key().text());
            if let Ok(uri) = Uri::parse(&found.contact) {
                registrar.targets(now, &record.aor, &uri);
            }
        }
    }
    let gone: Vec<_> = records.iter().map(|record| registrar.removal(&record.aor)).collect();
    for write in gone {
        registrar.commit(now, &write);
    }
    assert!(registrar.is_empty() && registrar.records(now).is_empty());
}

fn record(line: &[u8]) -> Record {
    let mut texts = line.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
    let mut text = || texts.next().unwrap_or_default();
    let (aor, contact, call_id, instance, path) = (text(), text(), text(), text(), text());
    let number = line.last().copied().unwrap_or_default();
    Record {
        aor,
        contact,
        expires: (start() + Duration::from_secs(u64::from(number))).wall,
        q: u16::from(number) * 4,
        call_id,
        cseq: u32::from(number),
        user_agent: None,
        path,
        reg_id: (!instance.is_empty() && number % 2 == 0).then_some(u32::from(number)),
        instance: Some(instance).filter(|instance| !instance.is_empty()),
        source: Source::of(&flow(number % 8)),
        natted: number % 3 == 0,
    }
}

fn take(registrar: &mut Registrar, now: Now, text: Vec<u8>, flow: Flow) {
    let Ok(message) = Message::parse(text.into()) else { return };
    if !message.is_request() {
        return;
    }
    let Ok(plan) = registrar.plan(now, &message, &flow) else { return };
    registrar.commit(now, &plan.write);
    for (name, value) in registrar.reply(now, &plan, || [7; 12]) {
        assert!(ringback_sip::is_valid_header_text(&name, &value), "{name}: {value:?}");
    }
    for saved in &plan.write.saved {
        let found =
            registrar.lookup(now, &plan.write.aor).into_iter().find(|record| record.key().is_same(&saved.key()));
        assert!(found.is_some_and(|found| found.uri().is_some_and(|uri| Uri::parse(uri.as_str()).is_ok())));
    }
}
