//! The SQLite file: its one table, and the work on it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ringback_engine::api::{Record, Source, StoreRequest, StoreWork, Write};
use ringback_time::{Now, Wall};
use ringback_ua::Transport;
use rusqlite::{Connection, Row, params};

use super::Stored;

/// Of `PRAGMA user_version`.
const VERSION: i64 = 1;

/// How long another process may hold the file.
const BUSY_MOST: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS bindings (
        aor TEXT NOT NULL,
        contact TEXT NOT NULL,
        expires INTEGER NOT NULL, -- nanoseconds since 1970
        q INTEGER NOT NULL,       -- thousandths
        call_id TEXT NOT NULL,
        cseq INTEGER NOT NULL,
        user_agent TEXT,
        path TEXT NOT NULL,
        instance TEXT,
        reg_id INTEGER,
        transport TEXT NOT NULL,
        remote TEXT NOT NULL,
        natted INTEGER NOT NULL,
        PRIMARY KEY (aor, contact)
    ) WITHOUT ROWID";

#[derive(Debug)]
pub(crate) struct File(Connection);

impl File {
    pub(super) fn open(path: &Path) -> rusqlite::Result<File> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_MOST)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > VERSION {
            let why = format!("the file has version {version}, this program knows {VERSION}");
            return Err(rusqlite::Error::ToSqlConversionFailure(why.into()));
        }
        connection.execute_batch(SCHEMA)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        Ok(File(connection))
    }

    /// All bindings whose time is not over; the others are removed.
    pub(crate) fn load(&mut self, now: Now) -> rusqlite::Result<Vec<Record>> {
        let limit = nanos(now.wall);
        self.0.execute("DELETE FROM bindings WHERE expires <= ?1", [limit])?;
        // In the order in which they were registered last, as far as that is known.
        let mut select = self.0.prepare("SELECT * FROM bindings ORDER BY aor, expires")?;
        let rows = select.query_map([], read)?;
        rows.collect()
    }

    /// One transaction for all of it, and an answer for each.
    pub(super) fn carry_out(&mut self, batch: &mut Vec<StoreRequest>) -> Vec<Stored> {
        let outcome = self.transact(batch);
        let failure = outcome.as_ref().err().map(ToString::to_string);
        let mut found = outcome.unwrap_or_default().into_iter();
        batch
            .drain(..)
            .map(|request| match &failure {
                Some(why) => (request.id, Err(why.clone())),
                None => (request.id, Ok(found.next().unwrap_or_default())),
            })
            .collect()
    }

    fn transact(&mut self, batch: &[StoreRequest]) -> rusqlite::Result<Vec<Vec<Record>>> {
        let transaction = self.0.transaction()?;
        let found = batch
            .iter()
            .map(|request| match &request.work {
                StoreWork::Find { aor } => find(&transaction, aor),
                StoreWork::Write(write) => apply(&transaction, write).map(|()| Vec::new()),
            })
            .collect::<rusqlite::Result<_>>()?;
        transaction.commit()?;
        Ok(found)
    }
}

fn find(connection: &Connection, aor: &str) -> rusqlite::Result<Vec<Record>> {
    let mut select = connection.prepare_cached("SELECT * FROM bindings WHERE aor = ?1")?;
    select.query_map([aor], read)?.collect()
}

fn apply(connection: &Connection, write: &Write) -> rusqlite::Result<()> {
    if write.all {
        connection.prepare_cached("DELETE FROM bindings WHERE aor = ?1")?.execute([&write.aor])?;
    }
    for contact in &write.deleted {
        let mut delete = connection.prepare_cached("DELETE FROM bindings WHERE aor = ?1 AND contact = ?2")?;
        delete.execute([&write.aor, contact])?;
    }
    for record in &write.saved {
        let mut insert = connection.prepare_cached(
            "INSERT OR REPLACE INTO bindings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?;
        insert.execute(params![
            record.aor,
            record.contact,
            nanos(record.expires),
            record.q,
            record.call_id,
            record.cseq,
            record.user_agent,
            record.path,
            record.instance,
            record.reg_id,
            record.source.transport.as_param(),
            record.source.remote.to_string(),
            record.natted,
        ])?;
    }
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Record> {
    let expires: i64 = row.get("expires")?;
    let transport: String = row.get("transport")?;
    let remote: String = row.get("remote")?;
    let remote = remote.parse().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    Ok(Record {
        aor: row.get("aor")?,
        contact: row.get("contact")?,
        expires: Wall::from_unix_nanos(expires.max(0).unsigned_abs()),
        q: row.get("q")?,
        call_id: row.get("call_id")?,
        cseq: row.get("cseq")?,
        user_agent: row.get("user_agent")?,
        path: row.get("path")?,
        instance: row.get("instance")?,
        reg_id: row.get("reg_id")?,
        // The connections of an earlier run are gone.
        source: Source {
            transport: Transport::from_param(&transport).unwrap_or(Transport::Udp),
            remote,
            connection: None,
        },
        natted: row.get("natted")?,
    })
}

fn nanos(at: Wall) -> i64 {
    i64::try_from(at.unix_nanos()).unwrap_or(i64::MAX)
}
