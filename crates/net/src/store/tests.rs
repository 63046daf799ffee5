use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringback_engine::api::{Record, Source, StoreRequest, StoreWork, Write};
use ringback_time::{Mono, Now, Wall};
use ringback_ua::Transport;

use super::{Store, open};
use crate::wake::Waker;

const START: u64 = 1_700_000_000_000_000_000;

fn now(seconds: u64) -> Now {
    Now { mono: Mono::ZERO, wall: Wall::from_unix_nanos(START + seconds * 1_000_000_000) }
}

fn record(user: &str, seconds: u64) -> Record {
    Record {
        aor: format!("sip:{user}@pbx.example"),
        contact: format!("sip:{user}@192.0.2.1"),
        expires: now(seconds).wall,
        q: 500,
        call_id: "call".into(),
        cseq: 4_000_000_000,
        user_agent: Some("Telefön".into()),
        path: "<sip:p;lr>".into(),
        instance: Some("urn:uuid:1".into()),
        reg_id: Some(1),
        source: Source {
            transport: Transport::Udp,
            remote: SocketAddr::from(([192, 0, 2, 1], 5070)),
            connection: None,
            local: Some(SocketAddr::from(([192, 0, 2, 9], 5062))),
        },
        natted: true,
    }
}

fn save(id: u64, record: &Record) -> StoreRequest {
    let write = Write { aor: record.aor.clone(), saved: vec![record.clone()], ..Write::default() };
    StoreRequest { id, work: StoreWork::Write(write) }
}

/// A file of its own, gone at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("ringback-store-{}-{name}", std::process::id()));
        let place = Place(path);
        place.clear();
        place
    }

    fn clear(&self) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Waits for the answer to each of the first so many requests.
fn answers(store: &Store, count: usize) -> Vec<(u64, bool)> {
    let mut told = Vec::new();
    for _ in 0..20_000 {
        while let Some((id, result)) = store.next() {
            told.push((id, result.is_ok()));
        }
        if told.len() >= count {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    told.sort_unstable();
    told
}

#[test]
fn what_is_confirmed_is_there_after_a_restart() {
    let place = Place::new("restart");
    let waker = Arc::new(Waker::new().expect("an eventfd"));
    let mut file = open(&place.0).expect("made");
    assert!(file.load(now(0)).expect("read").is_empty());
    let mut store = Store::start(file, Arc::clone(&waker)).expect("a thread");
    let kept = record("alice", 100);
    store.request(save(1, &kept));
    store.request(save(2, &record("bob", 50)));
    store.request(save(3, &record("carol", 100)));
    let gone = Write { aor: "sip:carol@pbx.example".into(), all: true, ..Write::default() };
    store.request(StoreRequest { id: 4, work: StoreWork::Write(gone) });
    store.request(save(6, &record("dave", 60)));
    let one = Write { aor: "sip:dave@pbx.example".into(), deleted: vec![record("dave", 60).key()], ..Write::default() };
    store.request(StoreRequest { id: 5, work: StoreWork::Write(one) });
    assert_eq!(answers(&store, 6), (1..=6).map(|id| (id, true)).collect::<Vec<_>>());
    // Another one reads it while it is open, as after a kill.
    assert_eq!(open(&place.0).expect("opened").load(now(60)).expect("read"), std::slice::from_ref(&kept));
    assert!(store.leave(Duration::from_secs(20)));
    store.request(save(9, &kept));
    assert_eq!(answers(&store, 1), [(9, false)], "one that has ended says so");
    assert_eq!(open(&place.0).expect("opened").load(now(99)).expect("read"), [kept]);
    assert!(open(&place.0).expect("opened").load(now(100)).expect("read").is_empty(), "its time is over");
}

/// RFC 5626 §6: two flows of one telephone have one URI.
#[test]
fn flows_are_kept_by_instance_and_reg_id() {
    let place = Place::new("flows");
    let mut store =
        Store::start(open(&place.0).expect("made"), Arc::new(Waker::new().expect("an eventfd"))).expect("a thread");
    let flow = |reg_id| Record { reg_id: Some(reg_id), ..record("alice", 100) };
    let plain = Record { reg_id: None, instance: None, ..record("alice", 100) };
    store.request(save(1, &flow(1)));
    store.request(save(2, &flow(2)));
    store.request(save(3, &plain));
    let moved = Record { contact: "sip:alice@192.0.2.77".into(), ..flow(2) };
    store.request(save(4, &moved));
    let gone = Write { aor: plain.aor.clone(), deleted: vec![flow(1).key()], ..Write::default() };
    store.request(StoreRequest { id: 5, work: StoreWork::Write(gone) });
    assert_eq!(answers(&store, 5), (1..=5).map(|id| (id, true)).collect::<Vec<_>>());
    assert!(store.leave(Duration::from_secs(20)));
    let mut kept = open(&place.0).expect("opened").load(now(0)).expect("read");
    kept.sort_by_key(|record| record.reg_id);
    assert_eq!(kept, [plain, moved]);
}

/// RFC 5627 §3.2: a temporary GRUU tells nobody whose it is, unless the key can be read by everybody.
#[cfg(unix)]
#[test]
fn a_file_is_its_owner_s_alone_and_one_that_is_there_keeps_its_rights() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new("rights");
    let rights = |end: &str| {
        let path = format!("{}{end}", place.0.display());
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    };
    let mut file = open(&place.0).expect("made");
    file.gruu_key(&[1; 32]).expect("made");
    for end in ["", "-wal", "-shm"] {
        assert_eq!(rights(end), 0o600, "{end:?}");
    }
    drop(file);
    std::fs::set_permissions(&place.0, std::fs::Permissions::from_mode(0o640)).expect("changed");
    drop(open(&place.0).expect("opened"));
    assert_eq!(rights(""), 0o640);
}

/// A program's own database, named by mistake.
#[test]
fn a_table_of_somebody_else_is_left_as_it_is() {
    let place = Place::new("foreign");
    let other = rusqlite::Connection::open(&place.0).expect("made");
    other.execute_batch("CREATE TABLE bindings (aor TEXT, contact TEXT)").expect("a table");
    let why = open(&place.0).expect_err("it is refused");
    assert!(why.contains("no such column: expires"), "{why}");
    let version: i64 = other.pragma_query_value(None, "user_version", |row| row.get(0)).expect("read");
    assert_eq!(version, 0);
}

/// What the engine could not have deleted in time does not stay for ever.
#[test]
fn rows_whose_time_is_over_go_within_hours() {
    let place = Place::new("sweep");
    let hours = Arc::new(AtomicU64::new(0));
    let clock = {
        let hours = Arc::clone(&hours);
        move || {
            let passed = hours.load(Ordering::Relaxed) * 3600;
            Now { mono: Mono::ZERO + Duration::from_secs(passed), ..now(passed) }
        }
    };
    let waker = Arc::new(Waker::new().expect("an eventfd"));
    let mut store = Store::start_by(clock, open(&place.0).expect("made"), waker).expect("a thread");
    let kept = || {
        let other = rusqlite::Connection::open(&place.0).expect("opened");
        let mut select = other.prepare("SELECT aor FROM bindings ORDER BY aor").expect("a statement");
        let rows = select.query_map([], |row| row.get::<_, String>(0)).expect("read");
        rows.map(|row| row.expect("a row")).collect::<Vec<_>>()
    };
    let (alice, bob, carol) = (record("alice", 60), record("bob", 7200), record("carol", 9000));
    store.request(save(1, &alice));
    store.request(save(2, &bob));
    assert_eq!(answers(&store, 2).len(), 2);
    assert_eq!(kept(), [alice.aor, bob.aor.clone()]);
    hours.store(1, Ordering::Relaxed);
    store.request(save(3, &carol));
    assert!(store.leave(Duration::from_secs(20)));
    assert_eq!(kept(), [bob.aor, carol.aor]);
}

#[test]
fn the_key_of_temporary_gruus_stays() {
    let place = Place::new("key");
    let mut file = open(&place.0).expect("made");
    let key = file.gruu_key(&[1; 32]).expect("made");
    assert!(key == ringback_engine::api::GruuKey([1; 32]));
    drop(file);
    assert!(open(&place.0).expect("opened").gruu_key(&[2; 32]).expect("read") == key);
}

/// The second version did not keep where a REGISTER had come to.
#[test]
fn a_file_of_the_second_version_is_taken_over() {
    let place = Place::new("second");
    let kept = record("alice", 100);
    let mut file = open(&place.0).expect("made");
    let write = Write { aor: kept.aor.clone(), saved: vec![kept.clone()], ..Write::default() };
    file.carry_out(&mut vec![StoreRequest { id: 1, work: StoreWork::Write(write) }]);
    assert_eq!(file.load(now(0)).expect("read"), std::slice::from_ref(&kept));
    drop(file);
    let old = rusqlite::Connection::open(&place.0).expect("opened");
    old.execute_batch("ALTER TABLE bindings DROP COLUMN local; PRAGMA user_version = 2;").expect("as it was");
    drop(old);
    let mut kept = kept;
    kept.source.local = None;
    for time in ["at first", "again"] {
        assert_eq!(open(&place.0).expect("opened").load(now(0)).expect("read"), std::slice::from_ref(&kept), "{time}");
    }
}

/// A file as the first version made it, which knew bindings by their contacts.
#[test]
fn a_file_of_the_first_version_is_taken_over() {
    let place = Place::new("first");
    let old = rusqlite::Connection::open(&place.0).expect("made");
    old.execute_batch(
        "CREATE TABLE bindings (aor TEXT NOT NULL, contact TEXT NOT NULL, expires INTEGER NOT NULL, q INTEGER NOT NULL, call_id TEXT NOT NULL,
            cseq INTEGER NOT NULL, user_agent TEXT, path TEXT NOT NULL, instance TEXT, reg_id INTEGER, transport TEXT NOT NULL,
            remote TEXT NOT NULL, natted INTEGER NOT NULL, PRIMARY KEY (aor, contact)) WITHOUT ROWID;
        PRAGMA user_version = 1;",
    )
    .expect("made");
    let rows = [
        ("sip:a@192.0.2.1", None),
        ("sip:b@192.0.2.1", Some(1)),
        ("sip:c@192.0.2.1", Some(1)),
        ("sip:d@192.0.2.1", Some(2)),
    ];
    for (place, (contact, reg_id)) in rows.into_iter().enumerate() {
        let expires = now(100 + place as u64).wall.unix_nanos();
        old.execute(
            "INSERT INTO bindings VALUES ('sip:alice@pbx.example', ?1, ?2, 500, 'call', 7, NULL, '', 'urn:uuid:1', ?3, 'tcp', '192.0.2.1:5070', 0)",
            rusqlite::params![contact, expires as i64, reg_id],
        )
        .expect("kept");
    }
    drop(old);
    let left = |file: &mut super::File| {
        let kept = file.load(now(0)).expect("read");
        let mut kept: Vec<_> = kept.into_iter().map(|record| (record.contact, record.reg_id, record.cseq)).collect();
        kept.sort();
        kept
    };
    let expected = [("sip:a@192.0.2.1", None), ("sip:c@192.0.2.1", Some(1)), ("sip:d@192.0.2.1", Some(2))];
    let expected = expected.map(|(contact, reg_id)| (contact.to_owned(), reg_id, 7));
    assert_eq!(left(&mut open(&place.0).expect("opened")), expected, "of one flow twice, the later");
    assert_eq!(left(&mut open(&place.0).expect("opened again")), expected);
}

#[test]
fn a_row_that_cannot_be_read_costs_nobody_else_anything() {
    let place = Place::new("damaged");
    let mut file = open(&place.0).expect("made");
    for user in ["alice", "bob", "carol"] {
        file.carry_out(&mut vec![save(1, &record(user, 100))]);
    }
    let other = rusqlite::Connection::open(&place.0).expect("opened");
    for damage in ["cseq = 'many'", "remote = 'nowhere'", "contact = x'ff00'"] {
        let set = format!("UPDATE bindings SET {damage} WHERE aor = 'sip:bob@pbx.example'");
        assert_eq!(other.execute(&set, []).expect("damaged"), 1);
        assert_eq!(file.load(now(0)).expect("read"), [record("alice", 100), record("carol", 100)], "{damage}");
        file.carry_out(&mut vec![save(2, &record("bob", 100))]);
        assert_eq!(file.load(now(0)).expect("read").len(), 3, "registered again");
    }
}

#[test]
fn what_is_no_store_is_told() {
    let place = Place::new("nonsense");
    std::fs::write(&place.0, "this is not a database, but a text that is long enough to be read as one: no.")
        .expect("written");
    assert!(open(&place.0).expect_err("no database").contains("not a database"));
    assert!(open(&place.0.join("below")).is_err());
    let newer = Place::new("newer");
    let connection = rusqlite::Connection::open(&newer.0).expect("made");
    connection.pragma_update(None, "user_version", 4).expect("set");
    drop(connection);
    assert!(open(&newer.0).expect_err("newer").contains("version 4"));
}

#[test]
fn a_transaction_that_fails_is_answered_so() {
    let place = Place::new("failing");
    let file = open(&place.0).expect("made");
    let other = rusqlite::Connection::open(&place.0).expect("opened");
    other.execute_batch("DROP TABLE bindings").expect("dropped");
    let mut store = Store::start(file, Arc::new(Waker::new().expect("an eventfd"))).expect("a thread");
    store.request(save(1, &record("alice", 100)));
    assert_eq!(answers(&store, 1), [(1, false)]);
    assert!(store.leave(Duration::from_secs(20)));
}
