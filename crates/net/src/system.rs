//! One system: its sockets, its threads, and the life of both. See [`System`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_queue::SegQueue;
use parking_lot::Mutex;
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use ringback_engine::Engine;
use ringback_engine::api::{Command, Config, Directory, Record};
use ringback_nat::Servers;
use ringback_ua::Transport;

use crate::NetError;
use crate::clock;
use crate::cpu_latency::{self, CpuLatency, Hold};
use crate::files::Files;
use crate::inbox::Inbox;
use crate::listen::{self, Listen, Listener};
use crate::log;
use crate::media::{self, Gauges, Links, TickLateness};
use crate::nat::Nat;
use crate::os_thread::{self, Thread};
use crate::ports::{Pool, SharedPool};
use crate::queue::{EventQueue, Producer};
use crate::random::random_u128;
use crate::routes::RouteTable;
use crate::signalling::{LEAVE_MOST, Signalling, UdpSocket, Work};
use crate::store::{self, Store};
use crate::streams::{self, Limits, Naming, Streams};
use crate::sys::{self, Epoll};
use crate::totals::Totals;
use crate::wake::Waker;

/// How long files may take to be completed when everything else has ended.
const FILES_MOST: Duration = Duration::from_millis(250);

pub(crate) const MEDIA_THREADS_MOST: usize = 64;

/// What a system is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    pub engine: Config,
    pub listen: Vec<Listen>,
    /// Lowest and highest port for media, both included.
    pub media_ports: (u16, u16),
    /// 1 to 64.
    pub media_threads: usize,
    /// How long an idle CPU may take to wake while there is media; `None`: as the machine likes.
    pub cpu_latency: Option<Duration>,
    /// The SQLite file of a registrar whose store is `StoreKind::Own`.
    pub binding_store: Option<PathBuf>,
    /// Asked where others reach a call's media; those of another family than its address are not.
    pub nat: Servers,
    /// Asked for names instead of the system's name servers (tests).
    pub nameserver: Option<SocketAddr>,
}

/// How many media threads a system has unless another number is asked for. They have real-time priority: on more than two CPUs one is left
/// to signalling and the program.
pub fn usual_media_threads() -> usize {
    match std::thread::available_parallelism().map_or(1, usize::from) {
        few @ ..=2 => few,
        more => (more - 1).min(MEDIA_THREADS_MOST),
    }
}

/// Sockets, threads and engines of one telephone system. All methods may be called from any thread.
///
/// `bind` takes the SIP ports, `start` starts the threads, `shutdown` ends them and closes every socket; `start` may follow, on the
/// same ports. Queue and directory stay the same throughout.
///
/// A process that forks must not use it in the child: there it is not running, and dropping it does nothing to the parent.
#[derive(Debug)]
pub struct System {
    settings: Settings,
    addresses: Vec<(Transport, SocketAddr)>,
    queue: Arc<EventQueue>,
    directory: Arc<Directory>,
    inbox: Arc<Inbox>,
    files: Files,
    totals: Arc<Mutex<Totals>>,
    connections: Mutex<Arc<streams::Counters>>,
    /// Of a registrar that keeps them in memory, between a shutdown and the next start.
    bindings: Arc<Mutex<Vec<Record>>>,
    gauges: Arc<Gauges>,
    cpu_latency: Option<Arc<CpuLatency>>,
    state: Mutex<State>,
    /// Beside `state`, whose lock a shutdown holds for as long as it takes.
    running: AtomicBool,
    pid: u32,
}

#[derive(Debug)]
enum State {
    /// The sockets are there, nothing runs.
    Bound(Vec<Listener>),
    Running(Thread),
    Stopped,
}

impl System {
    /// Binds all sockets to listen on. Nothing runs yet, so nothing is answered.
    pub fn bind(settings: Settings) -> Result<System, NetError> {
        if settings.listen.is_empty() {
            return Err(NetError::BadSettings("nothing to listen on".into()));
        }
        if settings.media_threads == 0 || settings.media_threads > MEDIA_THREADS_MOST {
            return Err(NetError::BadSettings("media_threads must be 1 to 64".into()));
        }
        if settings.media_ports.0 > settings.media_ports.1 {
            return Err(NetError::BadSettings("the lowest media port is above the highest".into()));
        }
        let mut settings = settings;
        settings.engine.transports = settings.listen.iter().map(|listen| listen.transport).collect();
        sys::allow_many_descriptors();
        let start = |what| move |source| NetError::Start { what, source };
        if let Some(path) = &settings.binding_store {
            // What is no store is told before anything else is done; the file is opened again by each start.
            store::open(path).map_err(|why| NetError::Store { path: path.clone(), why })?;
        }
        let cpu_latency = settings.cpu_latency.map(CpuLatency::open).transpose();
        let cpu_latency = cpu_latency.map_err(|source| NetError::CpuLatency { device: cpu_latency::DEVICE, source })?;
        let listeners = listen::bind_all(&settings.listen)?;
        let waker = Arc::new(Waker::new().map_err(start("eventfd"))?);
        let queue = Arc::new(EventQueue::new().map_err(start("eventfd"))?);
        let inbox = Arc::new(Inbox::new(waker));
        Ok(System {
            addresses: listeners.iter().map(|listener| (listener.transport, listener.address)).collect(),
            files: Files::new(Arc::clone(&inbox), Arc::clone(&queue)),
            queue,
            directory: Arc::default(),
            gauges: Arc::default(),
            cpu_latency: cpu_latency.map(Arc::new),
            inbox,
            totals: Arc::default(),
            connections: Mutex::default(),
            bindings: Arc::default(),
            state: Mutex::new(State::Bound(listeners)),
            running: AtomicBool::new(false),
            pid: std::process::id(),
            settings,
        })
    }

    /// The addresses that are really bound, in the order of `Settings::listen`.
    pub fn addresses(&self) -> &[(Transport, SocketAddr)] {
        &self.addresses
    }

    /// What the program is told. Stays the same over restarts.
    pub fn queue(&self) -> &Arc<EventQueue> {
        &self.queue
    }

    /// The sessions. Stays the same over restarts.
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// What has been counted since the last start; also after a shutdown.
    pub fn totals(&self) -> Totals {
        let connections = self.connections.lock().read();
        Totals { connections, media_unsent: self.gauges.unsent(), ..*self.totals.lock() }
    }

    /// Sound files, played and recorded.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// How late the media threads' turns were since it was asked last: for measuring, and for finding out why calls sound torn.
    pub fn take_tick_lateness(&self) -> TickLateness {
        self.gauges.lateness.take()
    }

    /// From the end of `start` to the beginning of `shutdown`. Never blocks.
    pub fn is_running(&self) -> bool {
        !self.is_forked() && self.running.load(Ordering::SeqCst)
    }

    fn is_forked(&self) -> bool {
        std::process::id() != self.pid
    }

    /// Starts the threads; after a shutdown, the same ports are bound again. Does nothing when it runs already.
    pub fn start(&self) -> Result<(), NetError> {
        if self.is_forked() {
            return Err(NetError::NotRunning);
        }
        let mut state = self.state.lock();
        let listeners = match std::mem::replace(&mut *state, State::Stopped) {
            State::Running(thread) => {
                *state = State::Running(thread);
                self.running.store(true, Ordering::SeqCst);
                return Ok(());
            }
            State::Bound(listeners) => listeners,
            State::Stopped => {
                // The same ports as before.
                let again = |(listen, (_, address)): (&Listen, &(Transport, SocketAddr))| Listen {
                    address: *address,
                    ..listen.clone()
                };
                let listen = self.settings.listen.iter().zip(&self.addresses);
                listen::bind_all(&listen.map(again).collect::<Vec<_>>())?
            }
        };
        *state = State::Running(self.launch(listeners)?);
        self.bindings.lock().clear();
        self.running.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn launch(&self, listeners: Vec<Listener>) -> Result<Thread, NetError> {
        let failed = |what| move |source| NetError::Start { what, source };
        let mut rng = ChaCha12Rng::from_os_rng();
        let mut fork_rng = move || {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            ChaCha12Rng::from_seed(seed)
        };
        let waker = self.inbox.waker();

        let mut handles = Vec::new();
        let mut parts = Vec::new();
        let ring = media::ring_for(self.settings.media_threads);
        for number in 0..self.settings.media_threads {
            let number = u8::try_from(number).unwrap_or(u8::MAX);
            let (part, link, handle) =
                media::Parts::new(number, ring, Hold::new(self.cpu_latency.clone())).map_err(failed("epoll"))?;
            handles.push(handle);
            parts.push((part, link));
        }
        media::Parts::introduce(parts.iter_mut().map(|(part, _)| part));
        let mut pool = Pool::new(self.settings.media_ports, handles, fork_rng().next_u64());
        let nat = Nat::new(self.settings.nat.clone()).map(Arc::new);
        if nat.is_some() {
            pool.cross_nat();
        }
        let pool = SharedPool(Arc::new(Mutex::new(pool)));
        let from_media = Arc::new(SegQueue::new());

        let (mut udp, mut streams) = (Vec::new(), Vec::new());
        for listener in listeners {
            match listener.transport {
                Transport::Udp => udp.push(UdpSocket::new(listener.socket, listener.address)),
                _ => streams.push(listener),
            }
        }
        let config = &self.settings.engine;
        let limits = Limits {
            connections_per_source: config.limits.connections_per_source,
            ..Limits::new(config.limits.connections, config.limits.message_bytes)
        };
        let naming = Naming { nameserver: self.settings.nameserver, transports: config.transports.clone() };
        // Those of the last run may still be written by a thread that did not end in time.
        let counters = Arc::<streams::Counters>::default();
        *self.connections.lock() = Arc::clone(&counters);
        *self.totals.lock() = Totals::default();
        self.gauges.begin();
        let streams = Streams::new(streams, limits, naming, Arc::clone(waker), Arc::clone(&self.queue), counters);
        // Asked about the SIP socket, too, where that takes datagrams.
        let stun = self.settings.nat.stun.filter(|_| !udp.is_empty());
        let mut engine = Engine::with_directory(
            ringback_engine::api::Config { stun, ..config.clone() },
            Box::new(RouteTable::new(self.addresses.clone())),
            Box::new(pool.clone()),
            fork_rng(),
            self.directory(),
        );
        let store = self.open_store(&mut engine)?;
        for record in self.bindings.lock().iter() {
            engine.restore(clock::now(), record);
        }
        let producer = Arc::new(Producer::new(Arc::clone(&self.queue)));
        let mut signalling = Signalling {
            engine,
            udp,
            epoll: Epoll::new(64).map_err(failed("epoll"))?,
            inbox: Arc::clone(&self.inbox),
            run: 0,
            producer: Arc::clone(&producer),
            media: Links::default(),
            from_media: Arc::clone(&from_media),
            pool,
            crosses_nat: nat.is_some(),
            streams,
            store,
            totals: Arc::clone(&self.totals),
            bindings: Arc::clone(&self.bindings),
            work: Work::new(),
        };
        signalling.watch().map_err(failed("epoll"))?;

        // From here on threads run; one that cannot be started takes the others along.
        for (part, link) in parts {
            let producer = Producer::new(Arc::clone(&self.queue));
            let thread = media::spawn(
                part,
                fork_rng(),
                nat.clone(),
                Arc::clone(&from_media),
                Arc::clone(waker),
                producer,
                Arc::clone(&self.gauges),
            );
            match thread {
                Ok(thread) => signalling.media.add(link, thread),
                Err(source) => {
                    signalling.abandon();
                    return Err(NetError::Start { what: "a media thread", source });
                }
            }
        }
        if let Err(source) = signalling.streams.listen() {
            signalling.abandon();
            return Err(NetError::Start { what: "the thread for streams", source });
        }
        signalling.run = self.inbox.open();
        // In a cell, so that it is still here when the thread cannot be had.
        let cell = Arc::new(Mutex::new(Some(signalling)));
        let for_thread = Arc::clone(&cell);
        let thread = os_thread::spawn("rb-signalling".into(), move || {
            let _log = tracing::dispatcher::set_default(&log::dispatcher(&producer));
            sys::set_precise_timers();
            let signalling = for_thread.lock().take();
            if let Some(signalling) = signalling {
                signalling.work();
            }
        });
        thread.map_err(|source| {
            self.inbox.close();
            if let Some(signalling) = cell.lock().take() {
                signalling.abandon();
            }
            NetError::Start { what: "the signalling thread", source }
        })
    }

    /// Gives the engine what the registrar's store kept, and starts the store's thread.
    fn open_store(&self, engine: &mut Engine) -> Result<Option<Store>, NetError> {
        let Some(path) = &self.settings.binding_store else { return Ok(None) };
        let failed = |why| NetError::Store { path: path.clone(), why };
        let now = clock::now();
        let mut file = store::open(path).map_err(failed)?;
        for record in file.load(now).map_err(|error| failed(error.to_string()))? {
            engine.restore(now, &record);
        }
        let random = [random_u128().to_ne_bytes(), random_u128().to_ne_bytes()].concat();
        let key = file.gruu_key(&random).map_err(|error| failed(error.to_string()))?;
        engine.set_gruu_key(key);
        let store = Store::start(file, Arc::clone(self.inbox.waker()));
        store.map(Some).map_err(|source| NetError::Start { what: "the thread for the binding store", source })
    }

    /// Gives a command to the engine. `NotRunning` before `start`, after `shutdown`, and in a forked child.
    pub fn command(&self, command: Command) -> Result<(), NetError> {
        if self.is_forked() || !self.inbox.push(command) { Err(NetError::NotRunning) } else { Ok(()) }
    }

    /// Ends every call, gives what the protocol owes up to half a second, ends the threads and closes all sockets. Takes little
    /// more than a second whatever happens; does nothing when it does not run (sockets that are bound only are closed). What is told about it can
    /// be drained from the queue afterwards.
    pub fn shutdown(&self) {
        if self.is_forked() {
            return;
        }
        self.running.store(false, Ordering::SeqCst);
        let mut state = self.state.lock();
        if let State::Running(thread) = std::mem::replace(&mut *state, State::Stopped) {
            // A start may have come first.
            self.running.store(false, Ordering::SeqCst);
            self.inbox.ask_to_leave();
            // A thread that does not come back is left to itself: the program must go on.
            thread.join(LEAVE_MOST);
            if !self.files.leave(FILES_MOST) {
                // Its disk does not answer. It ends when it does.
                tracing::error!(target: "ringback.net", "the thread for files did not end in time");
            }
            // Nothing, but for a thread that did not come to its end.
            Producer::new(Arc::clone(&self.queue)).events(clock::mono(), &mut self.inbox.close());
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if self.is_forked() {
            // The parent's threads do not exist here, and its lock may be held by one of them.
            if let State::Running(thread) = std::mem::replace(self.state.get_mut(), State::Stopped) {
                thread.forget();
            }
            self.files.forget();
        } else {
            self.shutdown();
        }
    }
}
