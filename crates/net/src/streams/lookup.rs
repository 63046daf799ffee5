//! Look-ups: bounded in number and time, one question for all who ask the same at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use ringback_ua::{Place, ResolveId};
use tokio::time;

use super::locate::{Locator, Question};
use super::{Limits, News, Outlet};

#[derive(Default)]
struct Table {
    asked: HashMap<Question, Vec<ResolveId>, foldhash::quality::RandomState>,
    /// Those in `asked` that are not being looked up yet.
    waiting: VecDeque<Question>,
    running: usize,
    askers: usize,
}

pub(super) struct Lookups {
    shared: Arc<Shared>,
}

struct Shared {
    table: Mutex<Table>,
    limits: Limits,
    locator: Locator,
    outlet: Outlet,
}

impl Lookups {
    pub(super) fn new(limits: Limits, locator: Locator, outlet: Outlet) -> Self {
        Lookups { shared: Arc::new(Shared { table: Mutex::default(), limits, locator, outlet }) }
    }

    pub(super) fn resolve(&self, id: ResolveId, question: Question) {
        let shared = &self.shared;
        let mut table = shared.table.lock();
        if table.askers >= shared.limits.lookups_waiting {
            drop(table);
            let outlet = shared.outlet.clone();
            let result = Err("too many look-ups".to_owned());
            tokio::spawn(async move { outlet.send(News::Resolved { id, result }).await });
            return;
        }
        table.askers += 1;
        if let Some(askers) = table.asked.get_mut(&question) {
            askers.push(id);
            return;
        }
        table.asked.insert(question.clone(), vec![id]);
        if table.running >= shared.limits.lookups {
            table.waiting.push_back(question);
            return;
        }
        table.running += 1;
        drop(table);
        tokio::spawn(Arc::clone(shared).work(question));
    }
}

impl Shared {
    /// Answers `question`, then what waits, until nothing does.
    async fn work(self: Arc<Self>, question: Question) {
        let mut next = Some(question);
        while let Some(question) = next {
            let result = self.ask(&question).await;
            if let Err(cause) = &result {
                tracing::debug!(target: "ringback.net", host = question.host, cause, "a name was not found");
            }
            let askers = {
                let mut table = self.table.lock();
                let askers = table.asked.remove(&question).unwrap_or_default();
                table.askers -= askers.len();
                next = table.waiting.pop_front();
                if next.is_none() {
                    table.running -= 1;
                }
                askers
            };
            for id in askers {
                self.outlet.send(News::Resolved { id, result: result.clone() }).await;
            }
        }
    }

    async fn ask(&self, question: &Question) -> Result<Vec<Place>, String> {
        let host = &question.host;
        match time::timeout(self.limits.lookup, self.locator.locate(question)).await {
            Err(_) => Err(format!("no answer from the name service for {host}")),
            Ok(found) => found.map_err(|cause| format!("{host}: {cause}")),
        }
    }
}
