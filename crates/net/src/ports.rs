//! The media ports: pairs of UDP sockets, RTP on the even port and RTCP on the odd one above, bound when first needed and kept.
//!
//! A pair goes round: [`Pool::allocate`] gives it to a call; [`Pool::open`] lets its peer in and gives it to the media thread with the
//! leg's `Open`; at the leg's end it comes back by [`Pool::take_back`], just as the leg left it, which costs no system call. Only when
//! something reaches it while no leg has it (an old peer that still sends, a stranger), the media thread shuts it ([`Sockets::shut`]):
//! connected to itself, so that nobody's packets reach it any more. It is used again oldest-first after [`QUARANTINE`], so that what
//! an old peer still sends meets a closed door; a younger one only when nothing else is left. One that nobody was told of (an INVITE came and
//! was refused) has nothing to rest from: the next call gets it, so that a flood of those takes one pair, and no system call.
//!
//! A call's end is told to the program before its media thread has let go of the ports, a millisecond or so. They count as returned
//! from then on: where nothing else is left, the next call gets ports that are still on their way back ([`Opened::Awaited`]).
//!
//! Each pair is in the epoll set of one media thread for as long as it is bound (shut it is never ready), and goes to another
//! thread only when that one has none left, or with a leg that moves.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ringback_media_api::{LegId, MediaPort, MediaPorts};
use ringback_time::{Mono, Now};
use socket2::{Domain, Socket, Type};

use crate::sys::{self, Handle};

/// Before a port is used again.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(5);
/// Parked so long: more are bound than are needed.
const SPARE_AFTER: Duration = Duration::from_secs(60);
/// Closed at once: some 13 us each, while messages wait.
const SPARES_AT_ONCE: usize = 64;
/// Before more of them are looked for.
const SPARES_EVERY: Duration = Duration::from_secs(1);
/// The same where more of them are known to be left.
const SPARES_GO_ON: Duration = Duration::from_millis(20);
/// After the whole range was found taken, before it is looked through again.
const SCAN_AGAIN: Duration = Duration::from_millis(500);

/// So many legs, which share one phase of the frame, a media thread has before another one is woken for more.
const AT_LEAST: usize = 8;

/// Legs are numbered through the whole process.
static SERIAL: AtomicU64 = AtomicU64::new(1);
/// Media sockets of all systems of the process, so that they leave descriptors for others.
static SOCKETS: AtomicUsize = AtomicUsize::new(0);

/// Two bound sockets, in one pair of hands: the pool's, a call's or an open leg's.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) sockets: Arc<Sockets>,
    /// What the RTP socket is bound to; the address may be unspecified.
    pub(crate) local: SocketAddr,
    /// Small and unique among those that are bound: the epoll keys are `2 * id` for RTP and one more for RTCP.
    pub(crate) id: u32,
    thread: u8,
}

/// The sockets of a pair, and whose packets reach them. They close when the pair is dropped.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) rtp: Socket,
    pub(crate) rtcp: Socket,
    local: SocketAddr,
    doors: Mutex<Doors>,
}

#[derive(Clone, Copy, Debug)]
struct Doors {
    /// Whom the RTP socket is connected to: nobody, so that it hears everybody; itself, when it is shut; or a peer.
    rtp: Option<SocketAddr>,
    /// The RTCP socket is connected to itself; otherwise it hears everybody.
    rtcp_shut: bool,
    /// A leg has it, or is about to: then nobody shuts it.
    in_use: bool,
    /// The media thread that watches it, and may shut it.
    thread: u8,
}

impl Pair {
    /// Another media thread watches it from now on, and the one before leaves it alone, whatever it has still seen of it.
    pub(crate) fn give_to(&mut self, thread: u8) {
        self.thread = thread;
        self.sockets.doors.lock().thread = thread;
    }
}

impl Sockets {
    fn bind(local: SocketAddr, thread: u8) -> io::Result<Sockets> {
        let one = |address: SocketAddr| -> io::Result<Socket> {
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), None)?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.bind(&address.into())?;
            Ok(socket)
        };
        let rtp = one(local)?;
        // Jitter is measured by the kernel's arrival times; RTCP has no use for them.
        sys::want_timestamps(rtp.as_fd())?;
        let rtcp = one(above(local))?;
        SOCKETS.fetch_add(2, Ordering::Relaxed);
        let doors = Doors { rtp: None, rtcp_shut: false, in_use: false, thread };
        Ok(Sockets { rtp, rtcp, local, doors: Mutex::new(doors) })
    }

    /// For a new leg, whose RTP comes from `source` (`None`: not known yet). Done before the peer is told of the ports, so that the
    /// kernel keeps what it sends at once until the media thread has the leg.
    fn open(&self, source: Option<SocketAddr>) {
        let rtcp = {
            let mut doors = self.doors.lock();
            doors.in_use = true;
            let shut = std::mem::take(&mut doors.rtcp_shut);
            if shut { sys::disconnect(self.rtcp.as_fd()) } else { Ok(()) }
        };
        if let Err(error) = self.accept_from(source).map(|_| ()).and(rtcp) {
            tracing::warn!(target: "ringback.net", address = %self.local, %error, "cannot open a media socket");
        }
    }

    /// Lets RTP in from `source` alone, or from everybody. True when the socket is connected to `source` now.
    pub(crate) fn accept_from(&self, source: Option<SocketAddr>) -> io::Result<bool> {
        let mut doors = self.doors.lock();
        if doors.rtp == source {
            return Ok(source.is_some());
        }
        // A socket bound to an address may go from peer to peer directly (itself is one, too). One bound to a wildcard keeps the source
        // address of its first peer until it is disconnected.
        if doors.rtp.is_some() && (source.is_none() || self.local.ip().is_unspecified()) {
            sys::disconnect(self.rtp.as_fd())?;
            doors.rtp = None;
        }
        let Some(peer) = source else { return Ok(false) };
        let result = sys::connect(self.rtp.as_fd(), &peer);
        doors.rtp = source.filter(|_| result.is_ok());
        if result.is_err() {
            let _ = sys::disconnect(self.rtp.as_fd());
        }
        result.map(|()| true)
    }

    /// The leg is gone. The doors stay as they are until somebody knocks.
    pub(crate) fn leave(&self) {
        self.doors.lock().in_use = false;
    }

    /// For the media thread `thread`, about a pair that none of its legs has: shuts both doors and throws away what is inside, unless
    /// the pair is another thread's by now, or about to come back as a new leg's.
    pub(crate) fn shut(&self, thread: u8) {
        let mut doors = self.doors.lock();
        if doors.thread == thread && !doors.in_use {
            self.shut_both(&mut doors);
        }
    }

    fn shut_both(&self, doors: &mut Doors) {
        for (socket, address) in [(&self.rtp, self.local), (&self.rtcp, above(self.local))] {
            if let Err(error) = connect_to_itself(socket, address) {
                // Open then, as it was: the next user's learning and address checks still stand.
                tracing::debug!(target: "ringback.net", %address, %error, "cannot shut a media socket");
            }
            empty(socket);
        }
        (doors.rtp, doors.rtcp_shut) = (Some(self.local), true);
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        SOCKETS.fetch_sub(2, Ordering::Relaxed);
    }
}

fn above(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port() | 1)
}

/// Throws away what was received, and an error that is waiting. Bounded by what a receive buffer holds.
fn empty(socket: &Socket) {
    let mut scrap = [std::mem::MaybeUninit::uninit(); 16];
    for _ in 0..10_000 {
        if socket.recv(&mut scrap).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            break;
        }
    }
}

fn connect_to_itself(socket: &Socket, bound: SocketAddr) -> io::Result<()> {
    let itself = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            sys::disconnect(socket.as_fd())?;
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), bound.port())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => {
            sys::disconnect(socket.as_fd())?;
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), bound.port())
        }
        ip => SocketAddr::new(ip, bound.port()),
    };
    sys::connect(socket.as_fd(), &itself)
}

/// The pairs of one local address.
#[derive(Debug)]
struct Range {
    /// The next pair of ports to try, counted from the lowest.
    cursor: usize,
    /// Which pairs are bound by us.
    ours: Vec<bool>,
    /// One queue a media thread, oldest first.
    parked: Vec<VecDeque<(Mono, Pair)>>,
    scan_after: Mono,
}

#[derive(Debug)]
pub(crate) struct Pool {
    /// The lowest even port, and how many pairs fit from there on.
    base: u16,
    count: usize,
    threads: Vec<Thread>,
    ranges: HashMap<IpAddr, Range, foldhash::fast::RandomState>,
    /// Given to a call whose media is not open yet.
    allocated: HashMap<LegId, Pair, foldhash::fast::RandomState>,
    /// Addresses of the pairs that legs have, or will have.
    lent: HashMap<LegId, SocketAddr, foldhash::fast::RandomState>,
    /// Legs that are being closed and whose pairs nobody waits for, oldest first.
    closing: VecDeque<LegId>,
    /// Legs that are being closed, and who gets their pairs.
    promised: HashMap<LegId, Heir, foldhash::fast::RandomState>,
    /// For the media threads; nothing, unless NATs are to be crossed.
    orders: VecDeque<Order>,
    /// Legs whose pairs are with a media thread and not open.
    seeking: HashSet<LegId, foldhash::fast::RandomState>,
    crosses_nat: bool,
    ids: u32,
    free_ids: Vec<u32>,
    /// Where the search for free ports begins, so that systems with the same range do not meet at its beginning.
    start: u64,
    sockets_most: usize,
}

/// Where a NAT is to be crossed, pairs go to their media thread as soon as they are reserved: what has to be asked is asked from there.
#[derive(Debug)]
pub(crate) enum Order {
    /// Ask where others reach the ports of this leg.
    Seek(LegId, Pair),
    /// The leg will not be opened: give its pair back.
    Release(LegId),
}

/// A leg that gets the pair of one that is being closed.
#[derive(Debug)]
struct Heir {
    leg: LegId,
    /// Its media was opened already, for this source of RTP.
    opened: Option<Option<SocketAddr>>,
}

/// What a leg's media is opened on.
#[derive(Debug)]
pub(crate) enum Opened {
    Pair(Pair),
    /// The media thread has it already.
    There,
    /// A pair that comes back with [`Pool::take_back`].
    Awaited,
    Unknown,
}

#[derive(Debug)]
struct Thread {
    epoll: Handle,
    /// Pairs in use.
    load: usize,
}

impl Pool {
    /// `range` is inclusive; one handle a media thread. `start`: any number.
    pub(crate) fn new(range: (u16, u16), threads: Vec<Handle>, start: u64) -> Self {
        let (low, high) = (usize::from(range.0), usize::from(range.1));
        let base = low.next_multiple_of(2);
        let limit = usize::try_from(sys::allow_many_descriptors()).unwrap_or(usize::MAX);
        Pool {
            base: u16::try_from(base).unwrap_or(u16::MAX),
            count: (high + 1).saturating_sub(base) / 2,
            threads: threads.into_iter().map(|epoll| Thread { epoll, load: 0 }).collect(),
            ranges: HashMap::default(),
            allocated: HashMap::default(),
            lent: HashMap::default(),
            closing: VecDeque::new(),
            promised: HashMap::default(),
            orders: VecDeque::new(),
            seeking: HashSet::default(),
            crosses_nat: false,
            ids: 0,
            free_ids: Vec::new(),
            start,
            // SIP connections, and whatever else the program opens, need some too.
            sockets_most: limit - limit.min(1024).max(limit / 4).min(limit / 2),
        }
    }

    /// From now on it has to be asked where others reach a pair.
    pub(crate) fn cross_nat(&mut self) {
        self.crosses_nat = true;
    }

    pub(crate) fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    fn seek(&mut self, leg: LegId, pair: Pair) {
        // To everybody: nobody knows yet who the peer will be, and the servers have to be heard.
        pair.sockets.open(None);
        self.seeking.insert(leg);
        self.orders.push_back(Order::Seek(leg, pair));
    }

    fn load(&self, thread: usize) -> usize {
        self.threads.get(thread).map_or(usize::MAX, |thread| thread.load)
    }

    /// A thread that is hardly up for what it has, else the one with the fewest pairs in use.
    fn least_loaded(&self) -> usize {
        let all = 0..self.threads.len();
        let free = |index: &usize| self.load(*index) < AT_LEAST;
        all.clone().find(free).or_else(|| all.min_by_key(|index| self.load(*index))).unwrap_or(0)
    }

    /// Of two threads the one with fewer pairs in use.
    fn lighter(&self, a: u8, b: u8) -> u8 {
        if self.load(usize::from(a)) <= self.load(usize::from(b)) { a } else { b }
    }

    /// The thread for a room that begins on `near`: that one, unless another has much less to do.
    fn roomy(&self, near: u8) -> u8 {
        let least = self.least_loaded();
        match self.load(usize::from(near)) > self.load(least).saturating_add(AT_LEAST) {
            true => u8::try_from(least).unwrap_or(near),
            false => near,
        }
    }

    /// A leg's pair goes from one thread to another.
    fn moved(&mut self, from: u8, to: u8) {
        self.unload(usize::from(from));
        if let Some(thread) = self.threads.get_mut(usize::from(to)) {
            thread.load += 1;
        }
    }

    /// `beside`: a thread.
    pub(crate) fn allocate(&mut self, now: Mono, local: IpAddr, beside: Option<u8>) -> Option<MediaPort> {
        let wanted = beside.map(usize::from).filter(|thread| *thread < self.threads.len());
        let thread = wanted.unwrap_or_else(|| self.least_loaded());
        let number = u8::try_from(thread).ok()?;
        let pair = self.find(now, local, thread);
        let leg = LegId::new(number, SERIAL.fetch_add(1, Ordering::Relaxed));
        let rtp = match pair {
            Some(pair) => {
                let rtp = pair.local;
                if self.crosses_nat {
                    self.seek(leg, pair);
                } else {
                    self.allocated.insert(leg, pair);
                }
                rtp
            }
            None => self.inherit(local, leg)?,
        };
        self.lent.insert(leg, rtp);
        if let Some(thread) = self.threads.get_mut(thread) {
            thread.load += 1;
        }
        Some(MediaPort { leg, thread: number, rtp })
    }

    /// Promises `leg` the pair of one that is being closed.
    fn inherit(&mut self, local: IpAddr, leg: LegId) -> Option<SocketAddr> {
        let lent = &self.lent;
        let index = self.closing.iter().position(|old| lent.get(old).is_some_and(|rtp| rtp.ip() == local))?;
        let old = self.closing.remove(index)?;
        self.promised.insert(old, Heir { leg, opened: None });
        self.lent.get(&old).copied()
    }

    fn find(&mut self, now: Mono, local: IpAddr, thread: usize) -> Option<Pair> {
        self.parked(local, thread, |since| now.since(since) >= QUARANTINE)
            .or_else(|| self.bind(now, local, thread))
            .or_else(|| self.parked(local, thread, |_| true))
    }

    /// The oldest parked pair that is fit, of this thread if it has one.
    fn parked(&mut self, local: IpAddr, thread: usize, fit: impl Fn(Mono) -> bool) -> Option<Pair> {
        let range = self.ranges.get_mut(&local)?;
        let front = |queue: &VecDeque<(Mono, Pair)>| queue.front().map(|(since, _)| *since).filter(|since| fit(*since));
        let own = range.parked.get(thread).and_then(front).map(|_| thread);
        let from = own.or_else(|| {
            let fronts = range.parked.iter().enumerate().filter_map(|(index, queue)| Some((front(queue)?, index)));
            fronts.min().map(|(_, index)| index)
        })?;
        let (_, mut pair) = range.parked.get_mut(from)?.pop_front()?;
        if from != thread && self.reassign(&mut pair, thread).is_err() {
            self.discard(pair);
            return None;
        }
        Some(pair)
    }

    fn watch(&self, pair: &Pair, thread: usize) -> io::Result<()> {
        let Some(thread) = self.threads.get(thread) else { return Err(io::ErrorKind::NotFound.into()) };
        let key = u64::from(pair.id) * 2;
        thread.epoll.add(pair.sockets.rtp.as_fd(), key)?;
        thread.epoll.add(pair.sockets.rtcp.as_fd(), key + 1)
    }

    /// A pair of ports that nobody has, ourselves included.
    fn bind(&mut self, now: Mono, local: IpAddr, thread: usize) -> Option<Pair> {
        if self.count == 0 {
            return None;
        }
        let (count, threads) = (self.count, self.threads.len());
        let start = (self.start % count as u64) as usize;
        let range = self.ranges.entry(local).or_insert_with(|| Range {
            cursor: start,
            ours: vec![false; count],
            parked: (0..threads).map(|_| VecDeque::new()).collect(),
            scan_after: Mono::ZERO,
        });
        if now < range.scan_after {
            return None;
        }
        let mut found = None;
        for _ in 0..count {
            let index = range.cursor % count;
            range.cursor = index + 1;
            if range.ours.get(index).copied().unwrap_or(true) {
                continue;
            }
            if SOCKETS.load(Ordering::Relaxed) + 2 > self.sockets_most {
                break;
            }
            let address = SocketAddr::new(local, self.base + (index * 2) as u16);
            let number = u8::try_from(thread).unwrap_or(0);
            match Sockets::bind(address, number) {
                Ok(sockets) => {
                    let id = self.free_ids.pop().unwrap_or_else(|| {
                        self.ids += 1;
                        self.ids - 1
                    });
                    if let Some(ours) = range.ours.get_mut(index) {
                        *ours = true;
                    }
                    found = Some(Pair { sockets: Arc::new(sockets), local: address, id, thread: number });
                    break;
                }
                // Another program's, or another system's of this one.
                Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {}
                Err(error) => {
                    tracing::warn!(target: "ringback.net", %address, %error, "cannot open media sockets");
                    break;
                }
            }
        }
        let Some(pair) = found else {
            range.scan_after = now + SCAN_AGAIN;
            return None;
        };
        if self.watch(&pair, thread).is_err() {
            self.discard(pair);
            return None;
        }
        Some(pair)
    }

    /// Closes a pair for good.
    fn discard(&mut self, pair: Pair) {
        let index = usize::from(pair.local.port().saturating_sub(self.base)) / 2;
        let range = self.ranges.get_mut(&pair.local.ip());
        if let Some(ours) = range.and_then(|range| range.ours.get_mut(index)) {
            *ours = false;
        }
        self.free_ids.push(pair.id);
    }

    /// Hands the pair of a leg over to its media thread, open to `source`, or to everybody.
    pub(crate) fn open(&mut self, leg: LegId, source: Option<SocketAddr>) -> Opened {
        if let Some(pair) = self.allocated.remove(&leg) {
            pair.sockets.open(source);
            return Opened::Pair(pair);
        }
        if self.seeking.remove(&leg) {
            return Opened::There;
        }
        match self.promised.values_mut().find(|heir| heir.leg == leg) {
            Some(heir) => {
                heir.opened = Some(source);
                Opened::Awaited
            }
            None => Opened::Unknown,
        }
    }

    /// The media thread was told to close a leg: its pair is as good as back.
    pub(crate) fn closing(&mut self, leg: LegId) {
        if self.lent.contains_key(&leg) {
            self.closing.push_back(leg);
        }
    }

    /// A call gave its ports back without having opened media on them.
    pub(crate) fn release(&mut self, now: Mono, leg: LegId, told: bool) {
        if self.seeking.remove(&leg) {
            // It comes back by `take_back`, as if it had been open.
            self.orders.push_back(Order::Release(leg));
            self.closing.push_back(leg);
            return;
        }
        self.lent.remove(&leg);
        if let Some(pair) = self.allocated.remove(&leg) {
            if told { self.park(now, pair) } else { self.put_back(now, pair) }
        } else if let Some(old) = self.promised.iter().find(|(_, heir)| heir.leg == leg).map(|(old, _)| *old) {
            self.promised.remove(&old);
            self.closing.push_front(old);
            self.unload(usize::from(leg.thread()));
        }
    }

    /// Takes back the pair of a leg that was closed. Returned is who waits for it with media open, and the pair, open too.
    pub(crate) fn take_back(&mut self, now: Mono, leg: LegId, mut pair: Pair) -> Option<(LegId, Pair)> {
        self.lent.remove(&leg);
        let Some(heir) = self.promised.remove(&leg) else {
            // Mostly the oldest.
            if let Some(index) = self.closing.iter().position(|closing| *closing == leg) {
                self.closing.remove(index);
            }
            self.park(now, pair);
            return None;
        };
        self.unload(usize::from(pair.thread));
        let thread = usize::from(heir.leg.thread());
        if usize::from(pair.thread) != thread && self.reassign(&mut pair, thread).is_err() {
            // Its peer will hear nothing: there is no other pair, or the leg would have got it.
            tracing::error!(target: "ringback.net", address = %pair.local, "cannot watch a media socket");
        }
        let Some(source) = heir.opened else {
            if self.crosses_nat {
                self.seek(heir.leg, pair);
            } else {
                self.allocated.insert(heir.leg, pair);
            }
            return None;
        };
        pair.sockets.open(source);
        Some((heir.leg, pair))
    }

    fn unload(&mut self, thread: usize) {
        if let Some(thread) = self.threads.get_mut(thread) {
            thread.load = thread.load.saturating_sub(1);
        }
    }

    /// Moves a pair to another media thread.
    fn reassign(&self, pair: &mut Pair, thread: usize) -> io::Result<()> {
        if let Some(old) = self.threads.get(usize::from(pair.thread)) {
            let _ = old.epoll.remove(pair.sockets.rtp.as_fd());
            let _ = old.epoll.remove(pair.sockets.rtcp.as_fd());
        }
        pair.give_to(u8::try_from(thread).map_err(io::Error::other)?);
        self.watch(pair, thread)
    }

    /// Takes back a pair that no leg has any more.
    fn park(&mut self, now: Mono, pair: Pair) {
        if let Some(queue) = self.queue_of(&pair) {
            queue.push_back((now, pair));
        }
    }

    /// Takes back a pair that was never used: it comes first, and at once.
    fn put_back(&mut self, now: Mono, pair: Pair) {
        if let Some(queue) = self.queue_of(&pair) {
            queue.push_front((now - QUARANTINE, pair));
        }
    }

    /// Where the pair of a thread waits, which has less to do now.
    fn queue_of(&mut self, pair: &Pair) -> Option<&mut VecDeque<(Mono, Pair)>> {
        let thread = usize::from(pair.thread);
        self.unload(thread);
        self.ranges.get_mut(&pair.local.ip())?.parked.get_mut(thread)
    }

    /// Closes pairs that nobody has needed for long. When it is to be called again; `None`: none is parked.
    pub(crate) fn close_spares(&mut self, now: Mono) -> Option<Mono> {
        let mut spares = Vec::new();
        let mut oldest: Option<Mono> = None;
        for queue in self.ranges.values_mut().flat_map(|range| &mut range.parked) {
            while spares.len() < SPARES_AT_ONCE
                && queue.front().is_some_and(|(since, _)| now.since(*since) >= SPARE_AFTER)
                && let Some((_, pair)) = queue.pop_front()
            {
                spares.push(pair);
            }
            let front = queue.front().map(|(since, _)| *since);
            oldest = [oldest, front].into_iter().flatten().min();
        }
        let wait = if spares.len() < SPARES_AT_ONCE { SPARES_EVERY } else { SPARES_GO_ON };
        for pair in spares {
            self.discard(pair);
        }
        oldest.map(|since| (since + SPARE_AFTER).max(now + wait))
    }

    /// Shuts a pair that is ready though no leg has had it yet: its thread would be woken by it again and again.
    pub(crate) fn shut(&self, id: u32) {
        let parked = self.ranges.values().flat_map(|range| range.parked.iter().flatten()).map(|(_, pair)| pair);
        if let Some(pair) = parked.chain(self.allocated.values()).find(|pair| pair.id == id) {
            pair.sockets.shut_both(&mut pair.sockets.doors.lock());
        }
    }

    /// As if every parked pair had rested long enough.
    #[cfg(test)]
    pub(crate) fn rest_is_over(&mut self) {
        for (since, _) in self.ranges.values_mut().flat_map(|range| range.parked.iter_mut().flatten()) {
            *since = *since - QUARANTINE;
        }
    }

    #[cfg(test)]
    fn bound(&self) -> usize {
        self.ranges.values().map(|range| range.ours.iter().filter(|ours| **ours).count()).sum()
    }
}

/// The pool as the engine sees it.
#[derive(Clone, Debug)]
pub(crate) struct SharedPool(pub(crate) Arc<Mutex<Pool>>);

impl MediaPorts for SharedPool {
    fn allocate(&mut self, now: Now, local: IpAddr, beside: Option<u8>) -> Option<MediaPort> {
        self.0.lock().allocate(now.mono, local, beside)
    }

    fn lighter(&self, a: u8, b: u8) -> u8 {
        self.0.lock().lighter(a, b)
    }

    fn roomy(&self, near: u8) -> u8 {
        self.0.lock().roomy(near)
    }

    fn moved(&mut self, from: u8, to: u8) {
        self.0.lock().moved(from, to);
    }

    fn is_seeking(&self, leg: LegId) -> bool {
        let pool = self.0.lock();
        pool.crosses_nat && pool.lent.contains_key(&leg)
    }

    fn release(&mut self, now: Now, leg: LegId, told: bool) {
        self.0.lock().release(now.mono, leg, told);
    }
}

#[cfg(test)]
mod tests;
