use super::*;
use crate::log::Level;
use crate::sys::Epoll;
use ringback_engine::api::Reply;
use ringback_media_api::Token;
use ringback_time::Wall;

fn event(token: u64) -> Event {
    Event::Completed { token: Token(token), result: Ok(Reply::Unit) }
}

fn record(message: &str) -> LogRecord {
    LogRecord {
        target: "ringback.net",
        level: Level::WARN,
        message: message.into(),
        call_id: None,
        at: Wall::default(),
        dropped: 0,
    }
}

fn tokens(notices: &[Notice]) -> Vec<u64> {
    let token = |notice: &Notice| match notice {
        Notice::Event(Event::Completed { token, .. }) => Some(token.0),
        _ => None,
    };
    notices.iter().filter_map(token).collect()
}

fn readable(queue: &EventQueue) -> bool {
    let mut epoll = Epoll::new(1).expect("an epoll");
    epoll.add(queue.as_fd(), 1).expect("added");
    !epoll.wait(Some(Duration::ZERO)).expect("a wait").is_empty()
}

#[test]
fn a_wake_is_written_at_once_after_idle_then_held() {
    let queue = Arc::new(EventQueue::new().expect("a queue"));
    let producer = Producer::new(Arc::clone(&queue));
    let start = Mono::from_nanos(1_000_000_000);
    let mut seen = Vec::new();

    producer.events(start, &mut vec![event(1)]);
    assert!(!readable(&queue), "not before the thread is about to sleep");
    assert_eq!(producer.wake(start), None);
    assert!(readable(&queue));
    assert!(!queue.drain(&mut seen, 100));
    assert!(!readable(&queue), "drained");

    let soon = start + Duration::from_micros(100);
    producer.events(soon, &mut vec![event(2)]);
    assert_eq!(producer.wake(soon), Some(start + WAKE_INTERVAL), "the last wake is 100 us old");
    assert!(!readable(&queue));
    assert_eq!(producer.wake(start + WAKE_INTERVAL), None);
    assert!(readable(&queue));
    queue.drain(&mut seen, 100);
    assert_eq!(tokens(&seen), [1, 2]);
    assert_eq!(producer.wake(start + Duration::from_secs(1)), None);
    assert!(!readable(&queue), "nothing to tell");
}

#[test]
fn a_bounded_drain_leaves_the_descriptor_readable() {
    let queue = Arc::new(EventQueue::new().expect("a queue"));
    let producer = Producer::new(Arc::clone(&queue));
    let now = Mono::from_nanos(1_000_000_000);
    producer.events(now, &mut (0..10).map(event).collect());
    producer.wake(now);
    let mut seen = Vec::new();
    assert!(queue.drain(&mut seen, 4));
    assert!(readable(&queue));
    assert!(queue.drain(&mut seen, 4));
    assert!(!queue.drain(&mut seen, 4));
    assert!(!readable(&queue));
    assert_eq!(tokens(&seen), (0..10).collect::<Vec<_>>());
}

#[test]
fn the_backlog_is_the_age_of_the_oldest_event() {
    let queue = EventQueue::new().expect("a queue");
    let start = Mono::from_nanos(1_000_000_000);
    let later = start + Duration::from_secs(3);
    assert_eq!(queue.backlog(later), None);
    queue.push_events(start, &mut vec![event(1)]);
    queue.push_events(later, &mut vec![event(2)]);
    assert_eq!(queue.backlog(later), Some(Duration::from_secs(3)));
    queue.drain(&mut Vec::new(), 1);
    assert_eq!(queue.backlog(later), Some(Duration::ZERO));
    queue.drain(&mut Vec::new(), 1);
    assert_eq!(queue.backlog(later), None);
}

#[test]
fn logs_are_seen_beside_a_flood_of_events_and_audio_is_delivered() {
    let queue = EventQueue::new().expect("a queue");
    queue.push_events(Mono::from_nanos(1), &mut (0..1000).map(event).collect());
    queue.push_log(record("hello"));
    queue.push_audio(Arc::new(AudioPort::new(8000, 20, 100)));
    let mut seen = Vec::new();
    assert!(queue.drain(&mut seen, 64));
    assert!(seen.iter().any(|notice| matches!(notice, Notice::Log(_))));
    while queue.drain(&mut seen, 64) {}
    assert_eq!(tokens(&seen).len(), 1000);
    assert!(seen.iter().any(|notice| matches!(notice, Notice::Audio(_))));
}

#[test]
fn producers_on_many_threads_lose_nothing_and_no_wake() {
    let queue = Arc::new(EventQueue::new().expect("a queue"));
    let mut epoll = Epoll::new(1).expect("an epoll");
    epoll.add(queue.as_fd(), 1).expect("added");
    let threads: Vec<_> = (0..3)
        .map(|thread| {
            let producer = Producer::new(Arc::clone(&queue));
            std::thread::spawn(move || {
                for number in 0..5_000 {
                    producer.events(clock::mono(), &mut vec![event(thread * 5_000 + number)]);
                    while producer.wake(clock::mono()).is_some() {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    while seen.len() < 15_000 {
        let ready = !epoll.wait(Some(Duration::from_secs(20))).expect("a wait").is_empty();
        assert!(ready, "a wake was lost after {} events", seen.len());
        queue.drain(&mut seen, 64);
    }
    for thread in threads {
        thread.join().expect("no panic");
    }
    let all = tokens(&seen);
    for thread in 0..3 {
        let own: Vec<u64> = all.iter().copied().filter(|token| token / 5_000 == thread).collect();
        assert!(own.is_sorted(), "in order");
        assert_eq!(own.len(), 5_000);
    }
}
