use super::*;
use crate::queue::{EventQueue, Notice};

fn records(queue: &EventQueue) -> Vec<LogRecord> {
    let mut notices = Vec::new();
    while queue.drain(&mut notices, 1000) {}
    let record = |notice| match notice {
        Notice::Log(record) => Some(record),
        _ => None,
    };
    notices.into_iter().filter_map(record).collect()
}

/// One call site, whose interest `tracing` caches.
fn say(number: u32) {
    tracing::debug!(target: "ringback.sip", call_id = "abc@host", number, "received {number}");
}

#[test]
fn levels_change_while_running_for_each_system_apart() {
    let system = || {
        let queue = Arc::new(EventQueue::new().expect("a queue"));
        let producer = Arc::new(Producer::new(Arc::clone(&queue)));
        (queue, producer)
    };
    let ((quiet_queue, quiet), (queue, producer)) = (system(), system());
    let (go, gone) = std::sync::mpsc::channel::<u32>();
    let (done, did) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let _default = tracing::dispatcher::set_default(&dispatcher(&producer));
        for number in gone {
            say(number);
            done.send(()).expect("the test listens");
        }
    });
    let other = std::thread::spawn(move || {
        let _default = tracing::dispatcher::set_default(&dispatcher(&quiet));
        say(99);
    });
    other.join().expect("no panic");
    let tell = |number| {
        go.send(number).expect("the thread runs");
        did.recv().expect("the thread answers");
    };
    tell(1);
    assert!(queue.log_levels().set("ringback.sip", Some(Level::DEBUG)));
    // A thread that logs nowhere meets the same call site.
    say(50);
    tell(2);
    assert!(queue.log_levels().set("ringback.sip", None));
    tell(3);
    assert!(queue.log_levels().set("ringback.sip", Some(Level::TRACE)));
    tell(4);
    drop(go);
    thread.join().expect("no panic");
    let seen = records(&queue);
    let texts: Vec<&str> = seen.iter().map(|record| record.message.as_str()).collect();
    assert_eq!(texts, ["received 2 number=2", "received 4 number=4"]);
    let first = seen.first().expect("a record");
    assert_eq!((first.target, first.level, first.call_id.as_deref()), ("ringback.sip", Level::DEBUG, Some("abc@host")));
    assert!(records(&quiet_queue).is_empty());
    assert!(!queue.log_levels().set("ringback.nonsense", None));
    assert_eq!(queue.log_levels().get("ringback.net"), Some(Level::WARN));
}

#[test]
fn a_lone_system_logs_what_another_thread_switches_on() {
    let queue = Arc::new(EventQueue::new().expect("a queue"));
    let producer = Arc::new(Producer::new(Arc::clone(&queue)));
    let _default = tracing::dispatcher::set_default(&dispatcher(&producer));
    let levels = queue.log_levels().clone();
    let talk = || tracing::trace!(target: "ringback.media", "tick");
    talk();
    std::thread::spawn(move || levels.set("ringback.media", Some(Level::TRACE))).join().expect("no panic");
    talk();
    assert_eq!(records(&queue).len(), 1);
}

#[test]
fn the_ring_drops_the_oldest_and_says_so() {
    let mut ring = LogRing::default();
    let record = |number: usize, text: &str| LogRecord {
        target: "ringback.sip",
        level: Level::DEBUG,
        message: format!("{number} {text}"),
        call_id: None,
        at: Wall::from_unix_nanos(number as u64),
        dropped: 0,
    };
    for number in 0..LogRing::RECORDS_MOST + 5 {
        ring.push(record(number, ""));
    }
    let (taken, removed) = ring.take(3);
    assert_eq!((taken.len(), removed), (3, 2));
    assert_eq!((taken[0].dropped, taken[0].level), (5, Level::WARN));
    assert_eq!(taken[1].message, "5 ");
    assert_eq!(taken[1].dropped, 0);

    let mut ring = LogRing::default();
    let large = "x".repeat(1 << 20);
    for number in 0..40 {
        ring.push(record(number, &large));
    }
    assert!(ring.len() <= 16, "bounded in bytes");
    let (all, removed) = ring.take(100);
    assert_eq!(removed + 1, all.len());
    assert_eq!(ring.bytes, 0);
}
