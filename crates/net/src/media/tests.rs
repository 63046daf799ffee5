//! Media threads by themselves, with real sockets and the real media engine.

mod moving;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_queue::SegQueue;
use parking_lot::Mutex;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng as _;
use ringback_media_api::{
    AudioPort, Codec, Command, Event, LegConfig, LegId, MediaPort, ReceiveFormat, SendFormat, Statistics, Token,
};

use super::*;
use crate::clock;
use crate::cpu_latency::Hold;
use crate::ports::{Opened, Pool};
use crate::queue::{EventQueue, Notice, Producer};
use crate::wake::Waker;

const PATIENCE: Duration = Duration::from_secs(20);
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Fixture {
    links: Links,
    pool: Mutex<Pool>,
    events: Arc<SegQueue<FromMedia>>,
    queue: Arc<EventQueue>,
    gauges: Arc<Gauges>,
}

fn fixture() -> Fixture {
    fixture_with((31_002, 32_767), 1)
}

fn fixture_with(media_ports: (u16, u16), threads: u8) -> Fixture {
    let events = Arc::new(SegQueue::new());
    let queue = Arc::new(EventQueue::new().expect("a queue"));
    let waker = Arc::new(Waker::new().expect("a waker"));
    let gauges = Arc::new(Gauges::default());
    let (mut links, mut handles) = (Links::default(), Vec::new());
    let mut made: Vec<_> =
        (0..threads).map(|number| Parts::new(number, link::RING, Hold::new(None)).expect("parts")).collect();
    Parts::introduce(made.iter_mut().map(|(parts, ..)| parts));
    for (number, (parts, link, handle)) in made.into_iter().enumerate() {
        let rng = ChaCha12Rng::seed_from_u64(number as u64);
        let (events, waker, producer) = (Arc::clone(&events), Arc::clone(&waker), Producer::new(Arc::clone(&queue)));
        links.add(link, spawn(parts, rng, None, events, waker, producer, Arc::clone(&gauges)).expect("a thread"));
        handles.push(handle);
    }
    let start = u64::from(std::process::id()) * 7919 + clock::mono().as_nanos() / 1000;
    let pool = Mutex::new(Pool::new(media_ports, handles, start));
    Fixture { links, pool, events, queue, gauges }
}

impl Fixture {
    fn send(&mut self, command: Command) {
        self.links.send(ToMedia::Command(command));
        self.links.flush(clock::mono());
    }

    fn open(&mut self, peer: Option<SocketAddr>) -> MediaPort {
        self.open_on(0, peer)
    }

    fn open_on(&mut self, thread: u8, peer: Option<SocketAddr>) -> MediaPort {
        let port = self.pool.lock().allocate(clock::mono(), HOST, Some(thread)).expect("ports");
        let Opened::Pair(pair) = self.pool.lock().open(port.leg, None) else { panic!("not allocated") };
        let config = LegConfig {
            remote_rtp: peer,
            remote_rtcp: None,
            send: Some(SendFormat { codec: Codec::Pcmu, payload_type: 0, ptime_ms: 20 }),
            receive: vec![ReceiveFormat { codec: Codec::Pcmu, payload_type: 0 }],
            may_send: true,
            may_receive: true,
            cname: "test".into(),
            ..LegConfig::default()
        };
        self.links.send(ToMedia::Open(pair, Command::Open { leg: port.leg, config: Box::new(config) }));
        self.links.flush(clock::mono());
        port
    }

    fn news(&mut self) -> FromMedia {
        let end = Instant::now() + PATIENCE;
        loop {
            self.links.flush(clock::mono());
            match self.events.pop() {
                Some(FromMedia::Departed(leg)) => self.links.departed(leg),
                Some(news) => return news,
                None => {}
            }
            assert!(Instant::now() < end, "no news");
            std::thread::yield_now();
        }
    }

    fn statistics(&mut self, leg: LegId) -> Statistics {
        self.send(Command::Statistics { leg, token: Token(77) });
        loop {
            if let FromMedia::Event(Event::Statistics { token: Token(77), statistics, .. }) = self.news() {
                return statistics;
            }
        }
    }

    fn close(&mut self, leg: LegId) -> Statistics {
        self.send(Command::Close { leg });
        loop {
            if let FromMedia::Closed(Event::Closed { statistics, leg }, pair) = self.news() {
                assert!(self.pool.lock().take_back(clock::mono(), leg, pair).is_none());
                return statistics;
            }
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.links.leave();
        self.links.flush(clock::mono());
        let left = self.links.join_within(PATIENCE);
        assert!(left == 0 || std::thread::panicking(), "{left} threads did not end");
    }
}

fn phone() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((HOST, 0)).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

fn packet(sequence: u16, fill: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend([1, 2, 3, 4]);
    packet.extend([fill; 160]);
    packet
}

fn hear(socket: &UdpSocket, wanted: impl Fn(&[u8]) -> bool) -> SocketAddr {
    let mut buffer = [0; 2048];
    let end = Instant::now() + PATIENCE;
    loop {
        let (count, from) = socket.recv_from(&mut buffer).expect("a packet");
        if wanted(&buffer[..count]) {
            return from;
        }
        assert!(Instant::now() < end, "not what was waited for");
    }
}

#[test]
fn a_leg_sends_silence_echoes_its_peer_and_ignores_strangers() {
    let mut fixture = fixture();
    let (phone, peer) = phone();
    let port = fixture.open(Some(peer));
    let from = hear(&phone, |packet| packet.len() == 172);
    assert_eq!(from, port.rtp, "from the port that the peer was told");
    fixture.send(Command::Echo { leg: port.leg, on: true });
    let (stranger, _) = super::tests::phone();
    for sequence in 0..50 {
        stranger.send_to(&packet(sequence, 0x11), port.rtp).expect("sent");
        phone.send_to(&packet(sequence, 0x2a), port.rtp).expect("sent");
    }
    hear(&phone, |packet| packet.len() == 172 && packet[12..].iter().all(|byte| *byte == 0x2a));
    let end = Instant::now() + PATIENCE;
    let mut statistics = fixture.statistics(port.leg);
    while statistics.packets_received < 50 && Instant::now() < end {
        statistics = fixture.statistics(port.leg);
    }
    assert_eq!(statistics.packets_received, 50, "{statistics:?}");
    assert!(fixture.close(port.leg).packets_sent > 0);
}

#[test]
fn what_gathers_is_passed_on_and_commands_are_heard_meanwhile() {
    let mut fixture = fixture();
    let legs: Vec<_> = (0..80)
        .map(|_| {
            let (phone, peer) = phone();
            let port = fixture.open(Some(peer));
            fixture.send(Command::Echo { leg: port.leg, on: true });
            (phone, port)
        })
        .collect();
    // Four packets a millisecond, with whatever pauses the machine puts in.
    for sequence in 0..30 {
        for (phone, port) in &legs {
            phone.send_to(&packet(sequence, 0x2a), port.rtp).expect("sent");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for (phone, port) in &legs {
        let end = Instant::now() + PATIENCE;
        while fixture.statistics(port.leg).packets_received < 30 {
            assert!(Instant::now() < end, "not all came");
        }
        hear(phone, |packet| packet.len() == 172 && packet[12..].iter().all(|byte| *byte == 0x2a));
        fixture.close(port.leg);
    }
}

#[test]
fn a_pair_serves_one_leg_after_the_other_with_another_peer() {
    let mut fixture = fixture();
    let mut first = None;
    for _ in 0..3 {
        let (phone, peer) = phone();
        // As if five seconds had passed each time.
        fixture.pool.lock().rest_is_over();
        let port = fixture.open(Some(peer));
        assert_eq!(*first.get_or_insert(port.rtp), port.rtp, "the same ports");
        hear(&phone, |packet| packet.len() == 172);
        phone.send_to(&packet(1, 0), port.rtp).expect("sent");
        let end = Instant::now() + PATIENCE;
        while fixture.statistics(port.leg).packets_received == 0 {
            assert!(Instant::now() < end, "the new peer is not heard");
        }
        fixture.close(port.leg);
    }
}

#[test]
fn more_commands_than_the_ring_holds_are_all_answered_in_order() {
    let mut fixture = fixture();
    let port = fixture.open(None);
    let all = 5 * super::link::RING as u64;
    for number in 0..all {
        fixture.links.send(ToMedia::Command(Command::Statistics { leg: port.leg, token: Token(number) }));
    }
    for number in 0..all {
        match fixture.news() {
            FromMedia::Event(Event::Statistics { token, .. }) => assert_eq!(token, Token(number)),
            other => panic!("{other:?}"),
        }
    }
    fixture.close(port.leg);
}

#[test]
fn the_program_hears_of_audio_without_the_signalling_thread() {
    let mut fixture = fixture();
    let (phone, peer) = phone();
    let port = fixture.open(Some(peer));
    let audio = Arc::new(AudioPort::new(8000, 20, 1000));
    fixture.send(Command::OpenAudio { leg: port.leg, port: Arc::clone(&audio) });
    let mut notices = Vec::new();
    let end = Instant::now() + PATIENCE;
    let mut sequence = 0;
    while !audio.has_frames() || notices.is_empty() {
        phone.send_to(&packet(sequence, 0x2a), port.rtp).expect("sent");
        sequence = sequence.wrapping_add(1);
        fixture.queue.drain(&mut notices, 10);
        assert!(Instant::now() < end, "no audio");
        std::thread::yield_now();
    }
    assert!(notices.iter().all(|notice| matches!(notice, Notice::Audio(port) if Arc::ptr_eq(port, &audio))));
    fixture.close(port.leg);
    assert!(audio.is_closed());
}

#[test]
fn leaving_closes_every_leg() {
    let mut fixture = fixture();
    let legs: Vec<LegId> = (0..20).map(|_| fixture.open(None).leg).collect();
    fixture.links.leave();
    let mut closed: Vec<LegId> = (0..20)
        .map(|_| match fixture.news() {
            FromMedia::Closed(event, _) => event.leg(),
            other => panic!("{other:?}"),
        })
        .collect();
    closed.sort_unstable();
    assert_eq!(closed, legs);
}

#[test]
fn ports_go_from_a_leg_that_is_closed_to_the_next_without_a_wait() {
    let mut fixture = fixture_with((31_000, 31_001), 1);
    let old = fixture.open(None);
    assert!(fixture.pool.lock().allocate(clock::mono(), HOST, None).is_none(), "there is one pair");
    // The thread is told, and has not done it yet.
    fixture.pool.lock().closing(old.leg);
    fixture.links.send(ToMedia::Command(Command::Close { leg: old.leg }));
    let new = fixture.pool.lock().allocate(clock::mono(), HOST, None).expect("ports on their way back");
    assert_eq!(new.rtp, old.rtp);
    let (phone, peer) = phone();
    let receive = vec![ReceiveFormat { codec: Codec::Pcmu, payload_type: 0 }];
    let config = LegConfig { remote_rtp: Some(peer), receive, may_receive: true, ..LegConfig::default() };
    assert!(matches!(fixture.pool.lock().open(new.leg, Some(peer)), Opened::Awaited));
    fixture.links.send(ToMedia::OpenLater(Command::Open { leg: new.leg, config: Box::new(config) }));
    fixture.send(Command::Statistics { leg: new.leg, token: Token(77) });
    let FromMedia::Closed(event, pair) = fixture.news() else { panic!("the statistics of a leg that is not open") };
    let (leg, pair) = fixture.pool.lock().take_back(clock::mono(), event.leg(), pair).expect("an heir");
    assert_eq!(leg, new.leg);
    // What the peer sends before the thread has the leg is kept.
    phone.send_to(&packet(1, 0), new.rtp).expect("sent");
    assert!(fixture.links.supply(leg, pair).is_none());
    let end = Instant::now() + PATIENCE;
    loop {
        match fixture.news() {
            FromMedia::Event(Event::Statistics { statistics, .. }) if statistics.packets_received == 1 => break,
            _ => fixture.send(Command::Statistics { leg: new.leg, token: Token(78) }),
        }
        assert!(Instant::now() < end, "the packet was lost");
    }
    fixture.close(new.leg);
}

#[test]
fn who_sends_to_a_leg_that_is_gone_is_shut_out_and_the_next_leg_on_its_ports_is_not() {
    let mut fixture = fixture();
    let (old, old_peer) = phone();
    let port = fixture.open(Some(old_peer));
    fixture.close(port.leg);
    let end = Instant::now() + PATIENCE;
    old.connect(port.rtp).expect("connected");
    // Nobody listens any more: its host says so.
    while old.send(&packet(1, 0)).is_ok() {
        assert!(Instant::now() < end, "the door is open");
        std::thread::sleep(Duration::from_millis(1));
    }
    fixture.pool.lock().rest_is_over();
    let again = fixture.open(Some(old_peer));
    assert_eq!(again.rtp, port.rtp);
    hear(&old, |packet| packet.len() == 172);
    while fixture.statistics(again.leg).packets_received == 0 {
        let _ = old.send(&packet(2, 0));
        assert!(Instant::now() < end, "the door is shut");
    }
    fixture.close(again.leg);
}

#[test]
fn what_the_system_does_not_send_is_counted_and_an_error_of_before_costs_no_packet() {
    use std::io::{Error, ErrorKind};
    let mut fixture = fixture();
    // Not without being asked for: EACCES, each time.
    let port = fixture.open(Some(SocketAddr::from(([255, 255, 255, 255], 4000))));
    let end = Instant::now() + PATIENCE;
    while fixture.gauges.unsent() < 3 {
        assert!(Instant::now() < end, "nothing is counted");
        std::thread::yield_now();
    }
    fixture.close(port.leg);

    let tries = |errors: &[ErrorKind]| {
        let mut errors = errors.iter();
        let result = io::again(|| errors.next().map_or(Ok(()), |kind| Err(Error::from(*kind))));
        (result.is_ok(), errors.len())
    };
    assert_eq!(tries(&[ErrorKind::ConnectionRefused]), (true, 0));
    assert_eq!(tries(&[ErrorKind::HostUnreachable]), (true, 0), "a firewall that says so");
    assert_eq!(tries(&[ErrorKind::NetworkUnreachable, ErrorKind::NetworkUnreachable, ErrorKind::Other]), (false, 1));
    assert_eq!(tries(&[ErrorKind::WouldBlock, ErrorKind::Other]), (false, 1));
    assert_eq!(tries(&[ErrorKind::PermissionDenied, ErrorKind::Other]), (false, 1));
}
