//! The thread that reads and writes sound files, so that a slow disk never keeps a media thread, the signalling thread or a program's loop.
//!
//! One a system, made when the first file is wanted. Media threads wake it when a queue is half empty; it does a round over all
//! that is open, and then rests for [`REST`], so that many calls share a round.
//!
//! Invariant: each job's command reaches the engine, or its token is answered here; never both.

mod reel;
mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use ringback_engine::api::{Command, Error, Event, Reply};
use ringback_media_api::{Sound, Tape, Token};

pub use source::Source;

use crate::clock;
use crate::inbox::Inbox;
use crate::log;
use crate::os_thread::{self, Thread};
use crate::queue::{EventQueue, Producer};
use reel::{Left, Reel};
use source::Feed;

/// Between two rounds. Queues are half full when they ask, which is a hundred times as much.
const REST: Duration = Duration::from_millis(5);
/// Sounds, and recordings, open at a time; each has a file descriptor.
const OPEN_MOST: usize = 20_000;

/// The way to the thread. See the module.
#[derive(Debug)]
pub struct Files {
    shared: Arc<Shared>,
    thread: Mutex<Option<Thread>>,
}

#[derive(Debug)]
struct Shared {
    jobs: Mutex<Vec<Job>>,
    /// There is something to look at.
    called: AtomicBool,
    /// Counts threads started and ended: one goes on while this is what it was started with.
    run: AtomicU64,
    /// To be unparked.
    sleeper: Mutex<Option<thread::Thread>>,
    inbox: Arc<Inbox>,
    queue: Arc<EventQueue>,
}

#[derive(Debug)]
enum Job {
    Play {
        source: Source,
        looped: bool,
        sound: Arc<Sound>,
        command: Command,
    },
    Record {
        path: PathBuf,
        tape: Arc<Tape>,
        command: Command,
    },
    /// The tape was stopped, and somebody waits for its file.
    Finish {
        tape: Arc<Tape>,
        token: Token,
    },
    /// To be given to the engine after the commands of the jobs before it.
    Pass {
        command: Command,
    },
}

impl Shared {
    fn call(&self) {
        if !self.called.swap(true, Ordering::SeqCst)
            && let Some(sleeper) = &*self.sleeper.lock()
        {
            sleeper.unpark();
        }
    }
}

impl Files {
    pub(crate) fn new(inbox: Arc<Inbox>, queue: Arc<EventQueue>) -> Self {
        let shared = Shared {
            jobs: Mutex::default(),
            called: AtomicBool::new(false),
            run: AtomicU64::new(0),
            sleeper: Mutex::default(),
            inbox,
            queue,
        };
        Files { shared: Arc::new(shared), thread: Mutex::new(None) }
    }

    /// A sound that this thread fills, once it was given to [`Files::play`].
    pub fn sound(&self) -> Arc<Sound> {
        let shared = Arc::downgrade(&self.shared);
        Arc::new(Sound::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.call();
            }
        }))
    }

    /// Opens `source` for `sound`, and then gives `command`, which plays it, to the engine. Where it cannot be opened, the command's
    /// token is answered with `Error::Media`.
    pub fn play(&self, source: Source, looped: bool, sound: Arc<Sound>, command: Command) {
        self.submit(Job::Play { source, looped, sound, command });
    }

    /// A recording that this thread writes, once it was given to [`Files::record`].
    pub fn tape(&self, stereo: bool) -> Arc<Tape> {
        let shared = Arc::downgrade(&self.shared);
        Arc::new(Tape::new(stereo, move || {
            if let Some(shared) = shared.upgrade() {
                shared.call();
            }
        }))
    }

    /// Opens `path` for `tape`, and then gives `command`, which records on it, to the engine. Where it cannot be opened, the command's
    /// token is answered with `Error::Media`.
    pub fn record(&self, path: PathBuf, tape: Arc<Tape>, command: Command) {
        self.submit(Job::Record { path, tape, command });
    }

    /// Stops a tape; the token is answered when its file is complete, with `Error::Media` where it could not be written.
    pub fn finish(&self, tape: Arc<Tape>, token: Token) {
        // In this order: who finds it stopped knows that it is waited for.
        self.submit(Job::Finish { tape: Arc::clone(&tape), token });
        tape.stop();
    }

    /// Gives `command` to the engine when those of all sounds and recordings asked for so far have reached it.
    pub fn after(&self, command: Command) {
        if self.thread.lock().is_some() {
            self.submit(Job::Pass { command });
        } else {
            // Closed: the system stops, and answers whoever waits.
            self.shared.inbox.push(command);
        }
    }

    fn submit(&self, job: Job) {
        let mut thread = self.thread.lock();
        self.shared.jobs.lock().push(job);
        if thread.is_none() {
            let run = self.shared.run.fetch_add(1, Ordering::SeqCst) + 1;
            let shared = Arc::clone(&self.shared);
            match os_thread::spawn("rb-files".into(), move || Worker::new(shared).work(run)) {
                Ok(spawned) => *thread = Some(spawned),
                Err(error) => {
                    let mut events = Vec::new();
                    for job in self.shared.jobs.lock().drain(..) {
                        events.push(job.refused(format!("no thread for files: {error}")));
                    }
                    Producer::new(Arc::clone(&self.shared.queue)).events(clock::mono(), &mut events);
                    return;
                }
            }
        }
        self.shared.call();
    }

    /// Ends the thread; false when it did not come to its end in time. What comes after starts another one.
    pub(crate) fn leave(&self, most: Duration) -> bool {
        let thread = {
            let mut thread = self.thread.lock();
            self.shared.run.fetch_add(1, Ordering::SeqCst);
            thread.take()
        };
        let Some(thread) = thread else { return true };
        if let Some(sleeper) = &*self.shared.sleeper.lock() {
            sleeper.unpark();
        }
        thread.join(most)
    }

    /// In a forked child.
    pub(crate) fn forget(&mut self) {
        if let Some(thread) = self.thread.get_mut().take() {
            thread.forget();
        }
    }
}

impl Job {
    fn refused(self, why: String) -> Event {
        let token = match self {
            Job::Play { sound, command, .. } => {
                sound.stop();
                command.token()
            }
            Job::Record { tape, command, .. } => {
                tape.stop();
                command.token()
            }
            Job::Finish { token, .. } => token,
            Job::Pass { command } => command.token(),
        };
        Event::Completed { token, result: Err(Error::Media(why)) }
    }
}

struct Worker {
    shared: Arc<Shared>,
    producer: Arc<Producer>,
    feeds: Vec<Feed>,
    reels: Vec<Reel>,
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        let producer = Arc::new(Producer::new(Arc::clone(&shared.queue)));
        Worker { shared, producer, feeds: Vec::new(), reels: Vec::new() }
    }

    fn work(mut self, run: u64) {
        let _log = tracing::dispatcher::set_default(&log::dispatcher(&self.producer));
        *self.shared.sleeper.lock() = Some(thread::current());
        while self.shared.run.load(Ordering::SeqCst) == run {
            if self.shared.called.swap(false, Ordering::SeqCst) {
                self.round();
                thread::sleep(REST);
            } else {
                thread::park();
            }
        }
        // A program that still waits is told by whoever ends the system.
        for feed in &self.feeds {
            feed.stop();
        }
        // The calls have ended by now, and with them their recordings.
        self.write(true);
    }

    fn round(&mut self) {
        self.reels.iter_mut().for_each(Reel::look);
        let jobs = std::mem::take(&mut *self.shared.jobs.lock());
        for job in jobs {
            self.begin(job);
        }
        self.feeds.retain_mut(Feed::fill);
        self.write(false);
    }

    fn begin(&mut self, job: Job) {
        match job {
            Job::Play { source, looped, sound, command } => self.play(source, looped, sound, command),
            Job::Record { path, tape, command } => self.record(path, tape, command),
            Job::Finish { tape, token } => match self.reels.iter_mut().find(|reel| Arc::ptr_eq(&reel.tape, &tape)) {
                Some(reel) => reel.waiting.push(token),
                None => self.answer(token, outcome(&tape)),
            },
            Job::Pass { command } => {
                self.shared.inbox.push(command);
            }
        }
    }

    fn play(&mut self, source: Source, looped: bool, sound: Arc<Sound>, command: Command) {
        let opened = if self.feeds.len() < OPEN_MOST {
            Feed::open(source, looped, Arc::clone(&sound))
        } else {
            Err("too many sounds are being played".to_owned())
        };
        match opened {
            Ok(feed) => {
                self.feeds.push(feed);
                // Closed: the system stops, and answers whoever waits.
                self.shared.inbox.push(command);
            }
            Err(why) => {
                sound.stop();
                self.answer(command.token(), Err(Error::Media(why)));
            }
        }
    }

    fn record(&mut self, path: PathBuf, tape: Arc<Tape>, command: Command) {
        let opened = if self.reels.len() < OPEN_MOST {
            Reel::open(&path, Arc::clone(&tape))
        } else {
            Err("too many calls are being recorded".to_owned())
        };
        let opened = opened.and_then(|reel| match self.reels.iter().any(|other| other.identity == reel.identity) {
            true => Err(format!("cannot record to {}: it is being recorded to already", path.display())),
            false => Ok(reel),
        });
        match opened {
            Ok(reel) => {
                self.reels.push(reel);
                if !self.shared.inbox.push(command) {
                    tape.stop();
                }
            }
            Err(why) => {
                tape.stop();
                self.answer(command.token(), Err(Error::Media(why)));
            }
        }
    }

    /// `last`: nothing more will come.
    fn write(&mut self, last: bool) {
        let now = clock::mono();
        let mut reels = std::mem::take(&mut self.reels);
        reels.retain_mut(|reel| {
            if reel.write(now, last) == Left::More {
                if reel.is_overtaken() {
                    self.shared.call();
                }
                return true;
            }
            for token in reel.waiting.drain(..) {
                self.answer(token, outcome(&reel.tape));
            }
            false
        });
        self.reels = reels;
    }

    fn answer(&self, token: Token, result: Result<Reply, Error>) {
        if token != Token::default() {
            self.producer.events(clock::mono(), &mut vec![Event::Completed { token, result }]);
            self.producer.wake_at_once();
        }
    }
}

/// What became of a recording.
fn outcome(tape: &Tape) -> Result<Reply, Error> {
    tape.failure().map_or(Ok(Reply::Unit), |why| Err(Error::Media(why.to_owned())))
}
