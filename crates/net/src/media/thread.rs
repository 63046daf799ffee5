//! The loop of a media thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_queue::SegQueue;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng as _;
use ringback_media::MediaEngine;
use ringback_media_api::Command;
use ringback_time::{Mono, Now};

use super::gather::Gather;
use super::gauges::Gauges;
use super::io::MediaIo;
use super::link::{Bed, FromMedia, Link, RING, SOON, ToMedia};
use super::pace::{Pace, Verdict};
use super::travel::Dock;
use crate::clock;
use crate::cpu_latency::Hold;
use crate::log;
use crate::nat::Nat;
use crate::os_thread::{self, Thread};
use crate::queue::Producer;
use crate::sys::{self, Batch, Epoll, Handle};
use crate::wake::Waker;

const WAKE_KEY: u64 = u64::MAX - 1;
/// Above ordinary programs and kernel workers of no urgency, below what a machine's owner makes urgent.
const PRIORITY: i32 = 20;
/// Sockets dealt with before timers and commands are looked at again.
const READY: usize = 256;
/// Packets of one socket in one go. A phone sends one at a time; epoll finds a socket that has more ready again.
const PACKETS: usize = 1;
/// What servers are given to answer a goodbye when the system stops; the signalling thread waits for this thread little longer.
const PARTING_MOST: Duration = Duration::from_millis(100);
/// Larger than any RTP packet over Ethernet.
const PACKET_BYTES: usize = 2048;

/// What is made on the thread that starts a system, so that all that can fail does so there.
pub(crate) struct Parts {
    number: u8,
    epoll: Epoll,
    ring: rtrb::Consumer<ToMedia>,
    bed: Arc<Bed>,
    /// Of this thread, and of all.
    dock: Arc<Dock>,
    docks: Vec<Arc<Dock>>,
    cpus: Hold,
}

impl Parts {
    /// With the link to it, for so many messages under way, and the hand by which the port pool adds sockets.
    pub(crate) fn new(number: u8, ring: usize, cpus: Hold) -> io::Result<(Parts, Link, Handle)> {
        use std::os::fd::AsFd as _;
        let epoll = Epoll::new(READY)?;
        let bed = Arc::new(Bed::new()?);
        epoll.add(bed.wake.as_fd(), WAKE_KEY)?;
        let (link, ring) = Link::new(ring, Arc::clone(&bed));
        let handle = epoll.handle()?;
        let dock = Arc::new(Dock::new(Arc::clone(&bed)));
        Ok((Parts { number, epoll, ring, bed, dock, docks: Vec::new(), cpus }, link, handle))
    }

    /// Lets all threads of a system, in the order of their numbers, hand legs to each other.
    pub(crate) fn introduce<'a>(all: impl Iterator<Item = &'a mut Parts>) {
        let mut all: Vec<&mut Parts> = all.collect();
        let docks: Vec<Arc<Dock>> = all.iter().map(|parts| Arc::clone(&parts.dock)).collect();
        all.iter_mut().for_each(|parts| parts.docks.clone_from(&docks));
    }
}

pub(crate) fn spawn(
    parts: Parts,
    mut rng: ChaCha12Rng,
    nat: Option<Arc<Nat>>,
    events: Arc<SegQueue<FromMedia>>,
    signalling: Arc<Waker>,
    producer: Producer,
    gauges: Arc<Gauges>,
) -> io::Result<Thread> {
    // What is asked by is random too, and asks nothing of the streams' numbers.
    let ids = ChaCha12Rng::from_rng(&mut rng);
    let (handle, own) = (parts.epoll.handle()?, parts.epoll.handle()?);
    os_thread::spawn(format!("rb-media-{}", parts.number), move || {
        let producer = Arc::new(producer);
        let _log = tracing::dispatcher::set_default(&log::dispatcher(&producer));
        let realtime = match sys::set_fifo(PRIORITY) {
            Ok(()) => true,
            Err(error) => {
                tracing::info!(target: "ringback.media", %error, "no real-time priority");
                false
            }
        };
        sys::set_precise_timers();
        MediaThread {
            engine: MediaEngine::new(parts.number, rng),
            io: MediaIo::new(parts.number, events, signalling, Arc::clone(&producer), Arc::clone(&gauges))
                .with_crossings(nat, ids, handle),
            producer,
            epoll: parts.epoll,
            handle: own,
            ring: parts.ring,
            bed: parts.bed,
            dock: parts.dock,
            docks: parts.docks,
            batch: Batch::new(PACKETS, PACKET_BYTES),
            keys: Vec::with_capacity(READY),
            pace: Pace::default(),
            gather: Gather::default(),
            gauges,
            cpus: parts.cpus,
            realtime,
            leaving: false,
        }
        .run();
    })
}

struct MediaThread {
    engine: MediaEngine,
    io: MediaIo,
    producer: Arc<Producer>,
    epoll: Epoll,
    /// A second hand on it.
    handle: Handle,
    ring: rtrb::Consumer<ToMedia>,
    bed: Arc<Bed>,
    dock: Arc<Dock>,
    docks: Vec<Arc<Dock>>,
    batch: Batch,
    /// What epoll found ready, out of its hands.
    keys: Vec<u64>,
    pace: Pace,
    gather: Gather,
    gauges: Arc<Gauges>,
    /// Kept from sleeping deeply while something is due here.
    cpus: Hold,
    /// It may have real-time priority, and has it as `pace` says.
    realtime: bool,
    leaving: bool,
}

impl MediaThread {
    fn run(&mut self) {
        while !self.leaving {
            // The engine catches what goes wrong in a leg. Whatever is left must not end the thread: other calls live here.
            if catch_unwind(AssertUnwindSafe(|| self.turn())).is_err() {
                tracing::error!(target: "ringback.media", "a media thread caught a panic outside of any leg");
                self.keys.clear();
                // Not at once again at full speed, should it be for good.
                let _ = self.epoll.wait(Some(Duration::from_millis(1)));
            }
        }
        self.part();
        self.io.tell();
    }

    /// Allocations are given back, as far as servers answer soon.
    fn part(&mut self) {
        let end = clock::mono() + PARTING_MOST;
        while let Some(due) = self.io.crossing_due() {
            let now = clock::mono();
            if now >= end {
                break;
            }
            match self.epoll.wait(Some(due.min(end).since(now))) {
                Ok(ready) => self.keys.extend(ready.iter().map(|ready| ready.key)),
                Err(_) => break,
            }
            self.receive();
            self.io.cross_due(clock::mono());
        }
    }

    fn turn(&mut self) {
        let told = self.commands();
        self.take_in();
        let now = clock::now();
        self.io.cross_due(now.mono);
        if let Some(due) = self.engine.poll_timeout().filter(|due| *due <= now.mono) {
            self.gauges.lateness.record(now.mono.since(due));
            self.engine.handle_timeout(now, &mut self.io);
        }
        self.io.tell();
        if self.leaving {
            return;
        }
        let held = self.producer.wake(now.mono);
        let due = self.engine.poll_timeout();
        self.cpus.set(due.is_some());
        let after = clock::mono();
        if self.realtime {
            self.keep_pace(after, due);
        }
        // While calls come and go it looks by itself whether there is more, which is cheaper for both than to be woken for each.
        let more = told.then(|| after + SOON);
        let until = [due, held, more, self.io.crossing_due()].into_iter().flatten().min();
        if let Some(gathered) = self.gather.until(after) {
            // The turns that are due then come first, and what has gathered after them.
            std::thread::sleep(until.map_or(gathered, |until| until.min(gathered)).since(after));
            return;
        }
        self.bed.lie_down(until);
        let at_once = self.gather.is_on() || !self.ring.is_empty() || !self.dock.is_empty();
        let timeout = if at_once { Some(Duration::ZERO) } else { until.map(|until| until.since(after)) };
        let ready = self.epoll.wait(timeout);
        self.bed.get_up();
        match ready {
            Ok(ready) => self.keys.extend(ready.iter().map(|ready| ready.key)),
            Err(error) => tracing::error!(target: "ringback.net", %error, "epoll failed"),
        }
        self.receive();
    }

    /// Gives real-time priority up, or takes it back.
    fn keep_pace(&mut self, now: Mono, due: Option<Mono>) {
        match self.pace.turned(now, due, sys::thread_time) {
            Verdict::Keep => {}
            Verdict::GiveUp => {
                let _ = sys::set_normal();
                tracing::warn!(target: "ringback.media", "a media thread cannot keep up and has given up its real-time priority");
            }
            Verdict::TakeBack => match sys::set_fifo(PRIORITY) {
                Ok(()) => tracing::info!(target: "ringback.media", "a media thread has its real-time priority again"),
                Err(error) => {
                    self.realtime = false;
                    tracing::warn!(target: "ringback.media", %error, "a media thread does not get its real-time priority back");
                }
            },
        }
    }

    /// True when there were any.
    fn commands(&mut self) -> bool {
        let mut told = false;
        // What comes while this runs has its turn too, but not for ever: packets are waiting.
        for _ in 0..RING {
            let Ok(message) = self.ring.pop() else { break };
            told = true;
            // It may be for a leg that has come meanwhile.
            self.take_in();
            // A command takes effect when it is read, not when the turn began.
            let now = clock::now();
            match message {
                ToMedia::Command(command) => {
                    self.io.heed(now.mono, &command);
                    self.engine.handle_command(now, command, &mut self.io);
                }
                ToMedia::Seek(leg, pair) => self.io.seek(now.mono, leg, pair),
                ToMedia::Release(leg) => self.io.release(now.mono, leg),
                ToMedia::Open(pair, command) => {
                    self.io.insert(command.leg(), pair);
                    self.engine.handle_command(now, command, &mut self.io);
                }
                // The links keep it back.
                ToMedia::OpenLater(_) => {}
                ToMedia::Depart(leg, to) => {
                    if let Some(dock) = self.docks.get(usize::from(to)) {
                        self.io.depart(now, leg, &mut self.engine, &self.handle, dock);
                    }
                }
                ToMedia::Leave => {
                    for leg in self.io.legs() {
                        self.engine.handle_command(now, Command::Close { leg }, &mut self.io);
                    }
                    self.io.release_all(now.mono);
                    self.leaving = true;
                    return told;
                }
            }
        }
        told
    }

    /// Legs that other threads have brought.
    fn take_in(&mut self) {
        while let Some(luggage) = self.dock.take() {
            self.io.arrive(clock::now(), luggage, &mut self.engine, &self.epoll);
        }
    }

    fn receive(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let now = clock::now();
        self.gather.received(self.keys.len());
        if self.keys.len() >= READY {
            self.gather.goes_on();
        }
        let mut keys = std::mem::take(&mut self.keys);
        for some in keys.chunks(MediaEngine::AHEAD) {
            let sockets = some.iter().filter_map(|key| self.io.socket(*key));
            self.engine.look_ahead(sockets.filter(|(_, _, rtcp)| !rtcp).map(|(leg, ..)| leg));
            for &key in some {
                self.receive_from(now, key);
            }
        }
        keys.clear();
        self.keys = keys;
    }

    /// What has come on one socket.
    fn receive_from(&mut self, now: Now, key: u64) {
        if key == WAKE_KEY {
            self.bed.wake.clear();
            return;
        }
        let Some((leg, fd, rtcp)) = self.io.socket(key) else {
            self.io.stray(now.mono, key);
            return;
        };
        // An error is an ICMP message that came back: taken by being reported, and of no further meaning here.
        let Ok(count) = self.batch.receive(fd) else { return };
        let crosses = self.io.crosses(key);
        for index in 0..count {
            let Some(datagram) = self.batch.get(index) else { continue };
            let (mut from, mut bytes) = (datagram.from, datagram.bytes);
            if crosses {
                // By a relay it has another sender, and something around it.
                let Some((sender, start, length)) = self.io.cross(now.mono, key, from, bytes) else { continue };
                let Some(inside) = bytes.get_mut(start..start + length) else { continue };
                (from, bytes) = (sender, inside);
            }
            if rtcp {
                self.engine.handle_rtcp(now, leg, from, bytes, &mut self.io);
            } else {
                let arrival = clock::arrival(now, datagram.stamp);
                self.engine.handle_rtp(now, leg, arrival, from, bytes, &mut self.io);
            }
        }
    }
}
