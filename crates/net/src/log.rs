//! Log records on their way to the program. Each of our own threads has a [`ThreadLog`] as its default `tracing` subscriber; there is no
//! global one, so several systems in a process have their own levels and queues, and code of others is not listened to.
//!
//! A record is made only when its logger wants its level: `tracing` compares with the most verbose level of all systems first (one
//! relaxed load), then asks the thread's own subscriber. Levels change while running: [`LogLevels::set`] lets `tracing` compute that
//! maximum anew.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use ringback_time::Wall;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};

pub use tracing::Level;

use crate::clock;
use crate::queue::Producer;

/// The loggers, as Python's `logging` names them.
pub const LOG_TARGETS: [&str; 6] =
    ["ringback.sip", "ringback.transaction", "ringback.dialog", "ringback.session", "ringback.media", "ringback.net"];

fn target_index(target: &str) -> Option<usize> {
    LOG_TARGETS.iter().position(|known| *known == target)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// One of [`LOG_TARGETS`].
    pub target: &'static str,
    pub level: Level,
    pub message: String,
    pub call_id: Option<String>,
    pub at: Wall,
    /// Records lost just before this one, because the program did not drain; zero in all but the record that says so.
    pub dropped: u64,
}

/// The level of each logger: records less severe are not made. Handles share their levels.
#[derive(Clone, Debug)]
pub struct LogLevels(Arc<[AtomicU8; LOG_TARGETS.len()]>);

impl Default for LogLevels {
    /// Warnings and errors.
    fn default() -> Self {
        LogLevels(Arc::new(std::array::from_fn(|_| AtomicU8::new(rank(Some(Level::WARN))))))
    }
}

impl LogLevels {
    /// `None`: off. False: no such target. Any thread, while running.
    pub fn set(&self, target: &str, level: Option<Level>) -> bool {
        let Some(slot) = target_index(target).and_then(|index| self.0.get(index)) else { return false };
        if slot.swap(rank(level), Ordering::Relaxed) != rank(level) {
            tracing::callsite::rebuild_interest_cache();
        }
        true
    }

    pub fn get(&self, target: &str) -> Option<Level> {
        target_index(target).and_then(|index| self.0.get(index)).and_then(|slot| level(slot.load(Ordering::Relaxed)))
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        target_index(metadata.target())
            .and_then(|index| self.0.get(index))
            .is_some_and(|slot| rank(Some(*metadata.level())) <= slot.load(Ordering::Relaxed))
    }

    fn most_verbose(&self) -> LevelFilter {
        let most = self.0.iter().map(|slot| slot.load(Ordering::Relaxed)).max().unwrap_or(0);
        level(most).map_or(LevelFilter::OFF, LevelFilter::from_level)
    }
}

fn rank(level: Option<Level>) -> u8 {
    match level {
        None => 0,
        Some(Level::ERROR) => 1,
        Some(Level::WARN) => 2,
        Some(Level::INFO) => 3,
        Some(Level::DEBUG) => 4,
        Some(Level::TRACE) => 5,
    }
}

fn level(rank: u8) -> Option<Level> {
    match rank {
        1 => Some(Level::ERROR),
        2 => Some(Level::WARN),
        3 => Some(Level::INFO),
        4 => Some(Level::DEBUG),
        5 => Some(Level::TRACE),
        _ => None,
    }
}

/// Records that wait for the program; the oldest go first where it is too slow.
#[derive(Debug, Default)]
pub(crate) struct LogRing {
    records: VecDeque<LogRecord>,
    bytes: usize,
    dropped: u64,
}

impl LogRing {
    const RECORDS_MOST: usize = 16_384;
    const BYTES_MOST: usize = 16 << 20;

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn push(&mut self, record: LogRecord) {
        self.bytes += size(&record);
        self.records.push_back(record);
        while self.records.len() > Self::RECORDS_MOST || (self.bytes > Self::BYTES_MOST && self.records.len() > 1) {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= size(&oldest);
            self.dropped += 1;
        }
    }

    /// Up to `most` records, the first of them telling of those that were lost before; and how many left the ring for it.
    pub(crate) fn take(&mut self, most: usize) -> (Vec<LogRecord>, usize) {
        if most == 0 || self.records.is_empty() {
            return (Vec::new(), 0);
        }
        let mut out = Vec::with_capacity(most.min(self.records.len() + 1));
        if self.dropped > 0 {
            out.push(LogRecord {
                target: "ringback.net",
                level: Level::WARN,
                message: format!("{} log records were lost: the program did not read them in time", self.dropped),
                call_id: None,
                at: self.records.front().map_or_else(Wall::default, |record| record.at),
                dropped: self.dropped,
            });
            self.dropped = 0;
        }
        let taken = self.records.len().min(most - out.len());
        for record in self.records.drain(..taken) {
            self.bytes -= size(&record);
            out.push(record);
        }
        if self.records.is_empty() {
            self.records.shrink_to(256);
        }
        (out, taken)
    }
}

fn size(record: &LogRecord) -> usize {
    std::mem::size_of::<LogRecord>() + record.message.len() + record.call_id.as_ref().map_or(0, String::len)
}

/// The subscriber of one thread.
struct ThreadLog {
    levels: LogLevels,
    producer: Arc<Producer>,
}

impl Subscriber for ThreadLog {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Levels change without a word to each call site: ask every time, once the overall maximum has let it through.
        if target_index(metadata.target()).is_some() { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.levels.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.levels.most_verbose())
    }

    // Spans are not used.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        let Text { mut message, rest, call_id } = text;
        message.push_str(&rest);
        self.producer.log(LogRecord {
            target: metadata.target(),
            level: *metadata.level(),
            message,
            call_id,
            at: clock::wall(),
            dropped: 0,
        });
    }
}

/// The message, followed by the other fields as ` name=value`; `call_id` apart.
#[derive(Default)]
struct Text {
    message: String,
    rest: String,
    call_id: Option<String>,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a `String` cannot fail.
        match field.name() {
            "message" => drop(write!(self.message, "{value:?}")),
            "call_id" => self.call_id = Some(format!("{value:?}")),
            name => drop(write!(self.rest, " {name}={value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            "call_id" => self.call_id = Some(value.to_owned()),
            name => drop(write!(self.rest, " {name}={value}")),
        }
    }
}

/// With only one dispatcher in a process, `tracing` takes a shortcut: it asks the default of whichever thread happens to register a
/// call site or to rebuild its cache, and a thread without one then switches call sites off for all. One that never wants anything,
/// kept for ever, keeps it on the long way.
struct Bystander;

impl Subscriber for Bystander {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::never()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::OFF)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

static BYSTANDERS: OnceLock<[Dispatch; 2]> = OnceLock::new();

/// The dispatcher for a thread whose records go through `producer`.
pub(crate) fn dispatcher(producer: &Arc<Producer>) -> Dispatch {
    BYSTANDERS.get_or_init(|| [Dispatch::new(Bystander), Dispatch::new(Bystander)]);
    Dispatch::new(ThreadLog { levels: producer.queue().log_levels().clone(), producer: Arc::clone(producer) })
}

#[cfg(test)]
mod tests;
