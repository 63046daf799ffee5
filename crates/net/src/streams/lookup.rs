//! Host names to addresses, by the system's resolver: bounded in number and time, one question for all who ask the same at once.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use ringback_ua::ResolveId;
use tokio::time;

use super::{Limits, News, Outlet};

type Askers = Vec<(ResolveId, u16)>;

#[derive(Default)]
struct Table {
    asked: HashMap<String, Askers, foldhash::quality::RandomState>,
    /// Names in `asked` that are not being looked up yet.
    waiting: VecDeque<String>,
    running: usize,
    askers: usize,
}

pub(super) struct Lookups {
    table: Arc<Mutex<Table>>,
    limits: Limits,
    outlet: Outlet,
}

impl Lookups {
    pub(super) fn new(limits: Limits, outlet: Outlet) -> Self {
        Lookups { table: Arc::default(), limits, outlet }
    }

    pub(super) fn resolve(&self, id: ResolveId, host: String, port: u16) {
        let mut table = self.table.lock();
        if table.askers >= self.limits.lookups_waiting {
            drop(table);
            let outlet = self.outlet.clone();
            let result = Err("too many look-ups".to_owned());
            tokio::spawn(async move { outlet.send(News::Resolved { id, result }).await });
            return;
        }
        table.askers += 1;
        if let Some(askers) = table.asked.get_mut(&host) {
            askers.push((id, port));
            return;
        }
        table.asked.insert(host.clone(), vec![(id, port)]);
        if table.running >= self.limits.lookups {
            table.waiting.push_back(host);
            return;
        }
        table.running += 1;
        drop(table);
        tokio::spawn(work(Arc::clone(&self.table), self.limits, self.outlet.clone(), host));
    }
}

/// Looks up `host`, then what waits, until nothing does.
async fn work(table: Arc<Mutex<Table>>, limits: Limits, outlet: Outlet, host: String) {
    let mut next = Some(host);
    while let Some(host) = next {
        let result = ask(&limits, &host).await;
        if let Err(cause) = &result {
            tracing::debug!(target: "ringback.net", host, cause, "a name was not found");
        }
        let askers = {
            let mut table = table.lock();
            let askers = table.asked.remove(&host).unwrap_or_default();
            table.askers -= askers.len();
            next = table.waiting.pop_front();
            if next.is_none() {
                table.running -= 1;
            }
            askers
        };
        for (id, port) in askers {
            let with_port = |found: &Vec<SocketAddr>| {
                found.iter().map(|address| SocketAddr::new(address.ip(), port)).collect::<Vec<_>>()
            };
            outlet.send(News::Resolved { id, result: result.as_ref().map(with_port).map_err(Clone::clone) }).await;
        }
    }
}

async fn ask(limits: &Limits, host: &str) -> Result<Vec<SocketAddr>, String> {
    let found = match time::timeout(limits.lookup, tokio::net::lookup_host((host, 0))).await {
        Err(_) => return Err(format!("no answer from the name service for {host}")),
        Ok(Err(error)) => return Err(format!("{host}: {error}")),
        Ok(Ok(found)) => found,
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(format!("{host} has no address")) } else { Ok(addresses) }
}
