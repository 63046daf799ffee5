use super::*;
use crate::sys::{Batch, Epoll};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A range of `pairs` pairs that is free on this machine, and a pool over it.
fn pool(pairs: u16, threads: usize) -> (Pool, Vec<Epoll>, (u16, u16)) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let blocks = u64::from(pairs).div_ceil(32);
        let block = NEXT.fetch_add(blocks, Ordering::Relaxed) * 64 + u64::from(std::process::id()) * 640;
        let low = 12_000 + (block % 18_000) as u16 / 2 * 2;
        let range = (low, low + pairs * 2 - 1);
        let free = (range.0..=range.1).all(|port| std::net::UdpSocket::bind((HOST, port)).is_ok());
        if free {
            let epolls: Vec<Epoll> = (0..threads).map(|_| Epoll::new(8).expect("an epoll")).collect();
            let handles = epolls.iter().map(|epoll| epoll.handle().expect("a handle")).collect();
            return (Pool::new(range, handles, 7), epolls, range);
        }
    }
}

fn seconds(count: u64) -> Mono {
    Mono::from_nanos(3_600_000_000_000 + count * 1_000_000_000)
}

fn opened(pool: &mut Pool, leg: LegId) -> Pair {
    match pool.open(leg, None) {
        Opened::Pair(pair) => pair,
        other => panic!("{other:?}"),
    }
}

fn close(pool: &mut Pool, now: Mono, leg: LegId) {
    let pair = opened(pool, leg);
    assert!(pool.take_back(now, leg, pair).is_none());
}

#[test]
fn ports_are_even_within_the_range_and_end_with_it() {
    let (mut pool, _epolls, range) = pool(3, 1);
    let mut ports: Vec<u16> = Vec::new();
    let mut legs = Vec::new();
    while let Some(port) = pool.allocate(seconds(0), HOST, None) {
        ports.push(port.rtp.port());
        legs.push(port.leg);
    }
    ports.sort_unstable();
    assert_eq!(ports, [range.0, range.0 + 2, range.0 + 4]);
    legs.dedup();
    assert_eq!(legs.len(), 3);
    pool.release(seconds(1), legs[0], true);
    assert!(pool.allocate(seconds(1), HOST, None).is_some(), "given back, and the only one there is");
}

#[test]
fn an_odd_or_tiny_range_loses_what_makes_no_pair() {
    let handle = || Epoll::new(1).expect("an epoll").handle().expect("a handle");
    for (range, count) in [
        ((10_001, 10_004), 1),
        ((10_000, 10_000), 0),
        ((10_000, 10_001), 1),
        ((65_534, 65_535), 1),
        ((65_535, 65_535), 0),
    ] {
        assert_eq!(Pool::new(range, vec![handle()], 0).count, count, "{range:?}");
    }
    assert!(Pool::new((10_000, 10_000), vec![handle()], 0).allocate(seconds(0), HOST, None).is_none());
}

#[test]
fn the_oldest_is_used_first_after_its_quarantine_and_a_younger_one_only_at_need() {
    let (mut pool, _epolls, _) = pool(3, 1);
    let a = pool.allocate(seconds(0), HOST, None).expect("a pair");
    let b = pool.allocate(seconds(0), HOST, None).expect("a pair");
    close(&mut pool, seconds(1), a.leg);
    close(&mut pool, seconds(2), b.leg);
    let c = pool.allocate(seconds(3), HOST, None).expect("a pair");
    assert!(c.rtp != a.rtp && c.rtp != b.rtp, "a new one while others are fresh");
    let d = pool.allocate(seconds(3), HOST, None).expect("a pair");
    assert_eq!(d.rtp, a.rtp, "nothing else is left: the oldest of the young");
    close(&mut pool, seconds(3), d.leg);
    let e = pool.allocate(seconds(7), HOST, None).expect("a pair");
    assert_eq!(e.rtp, b.rtp, "rested");
    assert_eq!(pool.bound(), 3);
}

#[test]
fn a_pair_that_nobody_was_told_of_is_the_next_one() {
    let (mut pool, _epolls, _) = pool(3, 1);
    let old = pool.allocate(seconds(0), HOST, None).expect("a pair");
    close(&mut pool, seconds(1), old.leg);
    let rested = seconds(7);
    for _ in 0..100 {
        // The rested one serves all of them, as before any of them came.
        let refused = pool.allocate(rested, HOST, None).expect("a pair");
        assert_eq!(refused.rtp, old.rtp);
        pool.release(rested, refused.leg, false);
    }
    assert_eq!((pool.bound(), pool.load(0)), (1, 0));
    let told = pool.allocate(rested, HOST, None).expect("a pair");
    pool.release(rested, told.leg, true);
    let next = pool.allocate(rested, HOST, None).expect("a pair");
    assert_ne!(next.rtp, told.rtp, "somebody may send there");
    // A new one, never used, is no other.
    pool.release(rested, next.leg, false);
    let again = pool.allocate(rested, HOST, None).expect("a pair");
    assert_eq!((again.rtp, pool.bound()), (next.rtp, 2));
}

#[test]
fn a_shut_pair_hears_nobody_and_is_empty_when_used_again() {
    let (mut pool, _epolls, _) = pool(1, 1);
    let stranger = std::net::UdpSocket::bind((HOST, 0)).expect("a socket");
    let port = pool.allocate(seconds(0), HOST, None).expect("a pair");
    let rtcp = above(port.rtp);
    let mut batch = Batch::new(4, 64);
    let mut heard = |pair: &Pair, bytes: &[u8]| {
        stranger.send_to(bytes, port.rtp).expect("sent");
        stranger.send_to(bytes, rtcp).expect("sent");
        [&pair.sockets.rtp, &pair.sockets.rtcp].map(|socket| batch.receive(socket.as_fd()).unwrap_or(0))
    };
    let pair = opened(&mut pool, port.leg);
    assert_eq!(heard(&pair, b"live"), [1, 1]);
    stranger.send_to(b"left inside", port.rtp).expect("sent");
    pair.sockets.shut(0);
    assert_eq!(heard(&pair, b"in use"), [2, 1]);
    pair.sockets.leave();
    pair.sockets.shut(1);
    assert_eq!(heard(&pair, b"not that thread's to shut"), [1, 1]);
    stranger.send_to(b"left inside", port.rtp).expect("sent");
    stranger.send_to(b"left inside", rtcp).expect("sent");
    pair.sockets.shut(0);
    assert_eq!(heard(&pair, b"after"), [0, 0]);
    assert_eq!(pair.sockets.rtp.local_addr().expect("an address").as_socket(), Some(port.rtp));
    pair.sockets.open(None);
    assert_eq!(heard(&pair, b"learning"), [1, 1]);
}

#[test]
fn a_pair_goes_from_one_peer_to_the_next_without_being_shut() {
    let (mut pool, _epolls, _) = pool(1, 1);
    let [old, new] = [(); 2].map(|()| std::net::UdpSocket::bind((HOST, 0)).expect("a socket"));
    let mut batch = Batch::new(4, 64);
    let mut ports = Vec::new();
    for (peer, other) in [(&old, &new), (&new, &old)] {
        let port = pool.allocate(seconds(0), HOST, None).expect("a pair");
        ports.push(port.rtp);
        let Opened::Pair(pair) = pool.open(port.leg, peer.local_addr().ok()) else { panic!("allocated") };
        other.send_to(b"the other", port.rtp).expect("sent");
        peer.send_to(b"the peer", port.rtp).expect("sent");
        assert_eq!(batch.receive(pair.sockets.rtp.as_fd()).expect("received"), 1);
        assert_eq!(batch.get(0).map(|datagram| datagram.bytes.to_vec()), Some(b"the peer".to_vec()));
        assert!(pair.sockets.accept_from(peer.local_addr().ok()).expect("connected"), "as it is already");
        pool.closing(port.leg);
        assert!(pool.take_back(seconds(1), port.leg, pair).is_none());
    }
    assert_eq!(ports.first(), ports.last());
}

#[test]
fn a_wildcard_pair_is_shut_and_comes_back_unbound_from_any_address() {
    let (mut pool, _epolls, _) = pool(1, 1);
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let port = pool.allocate(seconds(0), any, None).expect("a pair");
    assert!(port.rtp.ip().is_unspecified());
    let pair = opened(&mut pool, port.leg);
    let address = || pair.sockets.rtp.local_addr().expect("an address").as_socket();
    for _ in 0..2 {
        pair.sockets.leave();
        pair.sockets.shut(0);
        pair.sockets.open(None);
        assert_eq!(address(), Some(port.rtp));
        assert!(pair.sockets.accept_from(Some(SocketAddr::new(HOST, 9))).expect("connected"));
        assert_eq!(address(), Some(SocketAddr::new(HOST, port.rtp.port())));
    }
}

#[test]
fn systems_with_the_same_range_share_it() {
    let (mut first, _epolls, range) = pool(4, 1);
    let other = Epoll::new(1).expect("an epoll");
    let mut second = Pool::new(range, vec![other.handle().expect("a handle")], 7);
    let mut ports = Vec::new();
    for _ in 0..2 {
        ports.push(first.allocate(seconds(0), HOST, None).expect("a pair").rtp);
        ports.push(second.allocate(seconds(0), HOST, None).expect("a pair").rtp);
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4);
    assert!(second.allocate(seconds(0), HOST, None).is_none());
    drop(first);
    assert!(second.allocate(seconds(0), HOST, None).is_none(), "the range is not looked through for every call");
    assert!(second.allocate(seconds(1), HOST, None).is_some(), "what others leave is found later");
}

#[test]
fn a_leg_shares_the_thread_of_the_one_beside_it_and_pairs_move_at_need() {
    let (mut pool, _epolls, _) = pool(2, 2);
    let a = pool.allocate(seconds(0), HOST, Some(1)).expect("a pair");
    let b = pool.allocate(seconds(0), HOST, Some(1)).expect("a pair");
    assert_eq!([a.thread, a.leg.thread(), b.thread, b.leg.thread()], [1; 4]);
    close(&mut pool, seconds(0), a.leg);
    close(&mut pool, seconds(0), b.leg);
    let c = pool.allocate(seconds(9), HOST, Some(0)).expect("a pair");
    let d = pool.allocate(seconds(9), HOST, Some(1)).expect("a pair");
    assert_eq!((c.thread, d.thread), (0, 1));
    assert_eq!(pool.bound(), 2);
}

#[test]
fn legs_are_spread_over_the_threads_as_soon_as_there_are_enough_of_them() {
    let (mut pool, _epolls, _) = pool(40, 3);
    let mut allocate = |count: usize| -> Vec<u8> {
        (0..count).map(|_| pool.allocate(seconds(0), HOST, None).expect("a pair").thread).collect()
    };
    assert_eq!(allocate(24), [vec![0; 8], vec![1; 8], vec![2; 8]].concat(), "a thread is woken for a few at least");
    assert_eq!(allocate(6), [0, 1, 2, 0, 1, 2]);
    (0..6).for_each(|_| pool.moved(2, 0));
    assert_eq!((pool.lighter(0, 1), pool.lighter(1, 2), pool.lighter(1, 1)), (1, 2, 1));
    assert_eq!((pool.roomy(0), pool.roomy(1), pool.roomy(2)), (2, 1, 2), "a room goes where there is room");
    let next: Vec<u8> = (0..8).map(|_| pool.allocate(seconds(0), HOST, None).expect("a pair").thread).collect();
    assert_eq!(next, [2, 2, 2, 2, 2, 2, 1, 2], "until they are equal");
}

#[test]
fn what_a_peak_left_over_is_closed_again() {
    let (mut pool, _epolls, _) = pool(4, 1);
    let legs: Vec<LegId> = (0..4).map(|_| pool.allocate(seconds(0), HOST, None).expect("a pair").leg).collect();
    for leg in legs {
        close(&mut pool, seconds(1), leg);
    }
    assert_eq!(pool.close_spares(seconds(2)), Some(seconds(61)));
    assert_eq!(pool.bound(), 4);
    let used = pool.allocate(seconds(60), HOST, None).expect("a pair").leg;
    assert_eq!(pool.close_spares(seconds(61)), None);
    assert_eq!(pool.bound(), 1, "what has a leg stays");
    close(&mut pool, seconds(62), used);
    assert_eq!(pool.close_spares(seconds(62)), Some(seconds(122)));
    assert_eq!(pool.close_spares(seconds(122)), None);
    assert_eq!(pool.bound(), 0);
}

#[test]
fn a_large_peak_is_closed_a_part_at_a_time() {
    let (mut pool, _epolls, _) = pool(SPARES_AT_ONCE as u16 + 5, 1);
    while let Some(port) = pool.allocate(seconds(0), HOST, None) {
        close(&mut pool, seconds(0), port.leg);
        if pool.bound() == SPARES_AT_ONCE + 5 {
            break;
        }
    }
    assert_eq!(pool.close_spares(seconds(60)), Some(seconds(60) + SPARES_GO_ON));
    assert_eq!(pool.bound(), 5);
    assert_eq!(pool.close_spares(seconds(60) + SPARES_GO_ON), None);
    assert_eq!(pool.bound(), 0);
}

#[test]
fn the_pair_of_a_leg_that_is_being_closed_is_promised_once() {
    let (mut pool, _epolls, _) = pool(1, 2);
    let old = pool.allocate(seconds(0), HOST, None).expect("a pair");
    assert!(pool.allocate(seconds(0), HOST, None).is_none());
    let pair = opened(&mut pool, old.leg);
    assert!(pool.allocate(seconds(0), HOST, None).is_none(), "in use");
    pool.closing(old.leg);
    let given_up = pool.allocate(seconds(0), HOST, None).expect("as good as back");
    assert_eq!(given_up.rtp, old.rtp);
    assert!(pool.allocate(seconds(0), HOST, None).is_none(), "promised");
    pool.release(seconds(0), given_up.leg, true);
    let heir = pool.allocate(seconds(0), HOST, None).expect("promised to nobody");
    assert!(pool.take_back(seconds(0), old.leg, pair).is_none(), "its media is not open yet");
    let pair = opened(&mut pool, heir.leg);
    assert_eq!(usize::from(pair.thread), usize::from(heir.leg.thread()), "it moved along");

    pool.closing(heir.leg);
    let next = pool.allocate(seconds(0), HOST, None).expect("as good as back");
    assert!(matches!(pool.open(next.leg, None), Opened::Awaited));
    let (leg, pair) = pool.take_back(seconds(0), heir.leg, pair).expect("who waits");
    assert_eq!(leg, next.leg);
    pool.closing(leg);
    assert!(pool.take_back(seconds(0), leg, pair).is_none());
    assert!(pool.threads.iter().all(|thread| thread.load == 0), "all is back");
    assert!(pool.lent.is_empty() && pool.closing.is_empty() && pool.promised.is_empty());
    assert!(matches!(pool.open(leg, None), Opened::Unknown));
}
