//! The SQLite file: its one table, and the work on it.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ringback_engine::api::{GruuKey, Record, Source, StoreRequest, StoreWork, Write};
use ringback_time::{Now, Wall};
use ringback_ua::Transport;
use rusqlite::{Connection, Row, Rows, Transaction, TransactionBehavior, params};

use super::Stored;

/// Of `PRAGMA user_version`.
const VERSION: i64 = 3;

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
        key TEXT NOT NULL,        -- `BindingKey::text`
        local TEXT,               -- since version 3
        PRIMARY KEY (aor, key)
    ) WITHOUT ROWID";

const COLUMNS: &str = "aor, contact, expires, q, call_id, cseq, user_agent, path, instance, reg_id, transport, remote, natted, key, local";

/// Version 2 did not know which of our addresses a REGISTER came to.
const FROM_2: &str = "ALTER TABLE bindings ADD COLUMN local TEXT";

/// Version 1 knew a binding by its contact alone.
const FROM_1: &str = "
    INSERT OR REPLACE INTO bindings
    SELECT aor, contact, expires, q, call_id, cseq, user_agent, path, instance, reg_id, transport, remote, natted,
        CASE WHEN reg_id IS NOT NULL AND instance IS NOT NULL THEN reg_id || ' ' || instance ELSE contact END, NULL
    FROM bindings_1 ORDER BY expires";

#[derive(Debug)]
pub(crate) struct File(Connection);

impl File {
    pub(super) fn open(path: &Path) -> rusqlite::Result<File> {
        make(path);
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_MOST)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Nobody else changes it in between, and it is changed wholly or not at all.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        migrate(&transaction)?;
        // A table of that name that is somebody else's is left as it is.
        transaction.prepare(&format!("SELECT {COLUMNS} FROM bindings"))?;
        transaction.commit()?;
        Ok(File(connection))
    }

    /// All bindings whose time is not over; the others are removed.
    pub(crate) fn load(&mut self, now: Now) -> rusqlite::Result<Vec<Record>> {
        self.sweep(now)?;
        // In the order in which they were registered last, as far as that is known.
        let mut select = self.0.prepare("SELECT * FROM bindings ORDER BY aor, expires")?;
        read_all(select.query([])?)
    }

    /// Removes the bindings whose time is over.
    pub(super) fn sweep(&mut self, now: Now) -> rusqlite::Result<()> {
        self.0.execute("DELETE FROM bindings WHERE expires <= ?1", [nanos(now.wall)]).map(drop)
    }

    /// The key of temporary GRUUs, which are good for longer than the program runs. `random`: what it is from now on where there is none.
    pub(crate) fn gruu_key(&mut self, random: &[u8]) -> rusqlite::Result<GruuKey> {
        self.0.execute_batch("CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL)")?;
        self.0.execute("INSERT OR IGNORE INTO secrets VALUES ('gruu', ?1)", [random])?;
        let kept = self.0.query_row("SELECT value FROM secrets WHERE name = 'gruu'", [], |row| row.get(0))?;
        Ok(GruuKey(kept))
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

/// Makes the file for its owner alone: it says who is where, and has the key by which temporary GRUUs are told apart. What SQLite puts beside
/// it has the same rights. One that is there keeps what it has; why there can be none, SQLite says.
fn make(path: &Path) {
    // SQLite knows a file by a URI as well.
    if path.to_str().is_some_and(|path| path.starts_with("file:")) {
        return;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = options.open(path);
}

/// Brings a file of an earlier version, or a new one, to this one.
fn migrate(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        VERSION => return Ok(()),
        1 => {
            transaction.execute_batch("ALTER TABLE bindings RENAME TO bindings_1")?;
            transaction.execute_batch(SCHEMA)?;
            transaction.execute_batch(FROM_1)?;
            transaction.execute_batch("DROP TABLE bindings_1")?;
        }
        2 => transaction.execute_batch(FROM_2)?,
        0 => transaction.execute_batch(SCHEMA)?,
        _ => {
            let why = format!("the file has version {version}, this program knows {VERSION}");
            return Err(rusqlite::Error::ToSqlConversionFailure(why.into()));
        }
    }
    transaction.pragma_update(None, "user_version", VERSION)
}

fn find(connection: &Connection, aor: &str) -> rusqlite::Result<Vec<Record>> {
    let mut select = connection.prepare_cached("SELECT * FROM bindings WHERE aor = ?1")?;
    read_all(select.query([aor])?)
}

fn apply(connection: &Connection, write: &Write) -> rusqlite::Result<()> {
    if write.all {
        connection.prepare_cached("DELETE FROM bindings WHERE aor = ?1")?.execute([&write.aor])?;
    }
    for gone in &write.deleted {
        let mut delete = connection.prepare_cached("DELETE FROM bindings WHERE aor = ?1 AND key = ?2")?;
        delete.execute([&write.aor, &gone.text()])?;
    }
    for record in &write.saved {
        let mut insert = connection.prepare_cached(
            "INSERT OR REPLACE INTO bindings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
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
            record.key().text(),
            record.source.local.map(|local| local.to_string()),
        ])?;
    }
    Ok(())
}

fn read_all(mut rows: Rows<'_>) -> rusqlite::Result<Vec<Record>> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(record) => found.push(record),
            // Its telephone registers again before long. The others do not wait for somebody to mend the file.
            Err(error) => {
                let aor: String = row.get("aor").unwrap_or_default();
                tracing::error!(
                    target: "ringback.registrar", aor, %error, "a binding in the file cannot be read, and is left out"
                );
            }
        }
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Record> {
    let expires: i64 = row.get("expires")?;
    let transport: String = row.get("transport")?;
    let remote: String = row.get("remote")?;
    let local: Option<String> = row.get("local")?;
    let remote = remote.parse::<SocketAddr>().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, format!("{remote:?}: {error}").into())
    })?;
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
            local: local.and_then(|local| local.parse().ok()),
        },
        natted: row.get("natted")?,
    })
}

fn nanos(at: Wall) -> i64 {
    i64::try_from(at.unix_nanos()).unwrap_or(i64::MAX)
}
