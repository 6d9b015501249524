//! `Journal`: what must survive a restart, however the process ended.
//!
//! Rows of JSON by table, source and name, in one SQLite file. What a row means is its owner's
//! affair. The rules:
//!
//! - Changes are [noted](Journal::note) in memory, all that belong together at once, and
//!   [flushed](Journal::flush) in one transaction: after a crash either all of them are there or
//!   none.
//! - A disk that is full, gone or read-only stops nothing: what is noted waits, newest row by
//!   newest row, and goes out with the next flush that works.
//! - A journal that cannot be read is set aside under a name of its own and never overwritten; so
//!   is one of a newer format. Every row carries a checksum, for SQLite has none.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flate2::Crc;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::metrics::Instruments;
use crate::sabotage::{self, Point};

/// The file in the folder.
const FILE: &str = "journal.db";
/// `user_version` of the file: goes up when rows change their meaning.
const FORMAT: i64 = 1;
/// `application_id` of the file: "dbtk".
const APPLICATION: i64 = 0x6462_746b;
/// How long a start waits for another process to let go of the journal.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How long a flush is waited for. A disk that hangs must not hold up what is served.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// A sort of rows; its owner names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub &'static str);

/// What names a row: table, source, name.
type Key = (String, String, String);

/// Changes that belong together.
#[derive(Debug, Default)]
pub struct Batch {
    /// The row's new text; `None` removes it.
    rows: BTreeMap<Key, Option<String>>,
}

impl Batch {
    /// Writes a row, in place of the one of that name.
    pub fn put(&mut self, table: Table, source: &str, name: &str, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => {
                self.rows.insert(key(table, source, name), Some(text));
            }
            // Only a map whose keys are no strings could fail, and there is none.
            Err(error) => tracing::error!(table = table.0, source, name, %error, "unwritable row"),
        }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds other changes, which win where both change a row.
    pub fn extend(&mut self, other: Self) {
        self.rows.extend(other.rows);
    }

    /// Removes a row, if there is one.
    pub fn remove(&mut self, table: Table, source: &str, name: &str) {
        self.rows.insert(key(table, source, name), None);
    }
}

fn key(table: Table, source: &str, name: &str) -> Key {
    (table.0.to_owned(), source.to_owned(), name.to_owned())
}

/// What an earlier process left, until its owners take it.
#[derive(Debug, Default)]
pub struct Contents {
    rows: BTreeMap<Key, String>,
}

impl Contents {
    /// Takes out the rows of a table that belong to a source, by name.
    pub fn take<T: DeserializeOwned>(&mut self, table: Table, source: &str) -> Vec<(String, T)> {
        let first = key(table, source, "");
        let keys: Vec<Key> = self
            .rows
            .range(first..)
            .map(|(key, _)| key)
            .take_while(|key| key.0 == table.0 && key.1 == source)
            .cloned()
            .collect();
        let mut taken = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(text) = self.rows.remove(&key) else { continue };
            match serde_json::from_str(&text) {
                Ok(value) => taken.push((key.2, value)),
                // It is what was written, so it is we who have changed.
                Err(error) => {
                    tracing::error!(table = table.0, source, name = key.2, %error, "unreadable row");
                }
            }
        }
        taken
    }

    /// The row of a table that belongs to a source and has no name, which stays.
    pub fn peek<T: DeserializeOwned>(&self, table: Table, source: &str) -> Option<T> {
        serde_json::from_str(self.rows.get(&key(table, source, ""))?).ok()
    }

    /// The sources that have rows in a table.
    pub fn sources(&self, table: Table) -> Vec<String> {
        let of_table = self.rows.keys().filter(|key| key.0 == table.0);
        let mut sources: Vec<String> = of_table.map(|key| key.1.clone()).collect();
        sources.dedup();
        sources
    }

    /// Takes out every row of a source, and returns the batch that removes them.
    pub fn forget(&mut self, source: &str) -> Batch {
        let mut batch = Batch::default();
        self.rows.retain(|key, _| {
            let keep = key.1 != source;
            if !keep {
                batch.rows.insert(key.clone(), None);
            }
            keep
        });
        batch
    }
}

/// Why a process cannot have its journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Two exporters with one journal would count everything twice.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
}

/// Where changes are noted and flushed. Without a folder nothing is kept.
#[derive(Debug, Default)]
pub struct Journal {
    file: Option<File>,
}

#[derive(Debug)]
struct File {
    pending: Arc<Mutex<Batch>>,
    disk: Arc<tokio::sync::Mutex<Disk>>,
    instruments: Instruments,
    /// Whether flushes run on the caller's thread, which makes them deterministic.
    inline: bool,
}

impl Journal {
    /// Opens the journal in `folder`, or makes one. A disk in trouble is no error: the journal
    /// begins empty, and is written as soon as that works.
    pub fn open(folder: &Path, instruments: Instruments) -> Result<(Self, Contents), JournalError> {
        let mut disk = Disk::new(folder);
        let mut contents = Contents::default();
        match disk.open() {
            Ok(found) => {
                contents = found;
                instruments.journal_written(true);
            }
            Err(Trouble::Busy) => return Err(JournalError::InUse(disk.path())),
            Err(trouble) => {
                instruments.journal_written(false);
                disk.log(&trouble);
            }
        }
        instruments.journals_set_aside(disk.set_aside_count());
        let disk = Arc::new(tokio::sync::Mutex::new(disk));
        let file = File { pending: Arc::default(), disk, instruments, inline: false };
        Ok((Self { file: Some(file) }, contents))
    }

    /// The same journal, whose flushes run on the caller's thread: for simulations that must run
    /// the same way each time.
    #[must_use]
    pub fn inline(mut self) -> Self {
        if let Some(file) = &mut self.file {
            file.inline = true;
        }
        self
    }

    /// Whether there is a folder to keep anything in.
    pub fn has_folder(&self) -> bool {
        self.file.is_some()
    }

    /// Notes changes that belong together; they are not durable yet.
    pub fn note(&self, batch: Batch) {
        if let Some(file) = &self.file {
            lock(&file.pending).extend(batch);
        }
    }

    /// Makes durable what has been noted. Returns whether it is; if not, it stays noted. Without a
    /// journal there is nothing to wait for.
    pub async fn flush(&self) -> bool {
        let Some(file) = &self.file else { return true };
        // While somebody else flushes, nothing is pending and nothing is durable yet.
        if let Ok(_disk) = file.disk.try_lock()
            && lock(&file.pending).rows.is_empty()
        {
            return true;
        }
        let flushed = if file.inline {
            file.disk.lock().await.flush(&file.pending)
        } else {
            let (disk, pending) = (Arc::clone(&file.disk), Arc::clone(&file.pending));
            let work = async {
                let mut disk = disk.lock_owned().await;
                tokio::task::spawn_blocking(move || disk.flush(&pending)).await
            };
            matches!(tokio::time::timeout(FLUSH_PATIENCE, work).await, Ok(Ok(true)))
        };
        file.instruments.journal_written(flushed);
        flushed
    }
}

/// What can be wrong with the file.
enum Trouble {
    /// Another process has it.
    Busy,
    /// The disk does not let us; it may do so later.
    Disk(String),
    /// The file is no journal that we understand.
    Unreadable(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("it is in use by another process"),
            Self::Disk(reason) | Self::Unreadable(reason) => f.write_str(reason),
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let reason = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(
                ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::FileLockingProtocolFailed,
            ) => Self::Disk(reason),
            _ => Self::Unreadable(reason),
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error.to_string())
    }
}

/// The file itself, and how it gets on.
struct Disk {
    folder: PathBuf,
    connection: Option<Connection>,
    /// Whether what the file holds is what we began with, or empty: only then may we add to it.
    ours: bool,
    /// Trouble that has been logged and is not over.
    logged: bool,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Disk {
    fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), connection: None, ours: false, logged: false }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Opens what is there, after setting aside what is of no use.
    fn open(&mut self) -> Result<Contents, Trouble> {
        std::fs::create_dir_all(&self.folder)?;
        let opened = match connect(&self.path(), Missing::Create) {
            Err(Trouble::Unreadable(reason)) => {
                self.set_aside(&reason)?;
                connect(&self.path(), Missing::Create)
            }
            opened => opened,
        };
        let (connection, contents) = opened?;
        self.connection = Some(connection);
        self.ours = true;
        Ok(contents)
    }

    /// Opens the file after trouble.
    fn reopen(&mut self) -> Result<(), Trouble> {
        if self.ours {
            // If it is gone, then so is what it held, and a part of it alone would be a lie.
            self.connection = Some(connect(&self.path(), Missing::Fail)?.0);
        } else if !self.open()?.rows.is_empty() {
            // We have begun without what it holds.
            self.connection = None;
            self.ours = false;
            self.set_aside("it could not be read at the start")?;
            self.open()?;
        }
        Ok(())
    }

    /// Writes what is pending, in one transaction. Returns whether nothing is pending any more.
    fn flush(&mut self, pending: &Mutex<Batch>) -> bool {
        let batch = std::mem::take(&mut *lock(pending));
        match self.write(&batch) {
            Ok(()) => {
                if std::mem::take(&mut self.logged) {
                    tracing::info!(folder = %self.folder.display(), "the journal is written again");
                }
                true
            }
            Err(trouble) => {
                self.log(&trouble);
                // A file that was opened on a disk without writing stays so for ever.
                self.connection = None;
                let mut pending = lock(pending);
                for (key, row) in batch.rows {
                    // What has been noted meanwhile is newer.
                    if let Entry::Vacant(vacant) = pending.rows.entry(key) {
                        vacant.insert(row);
                    }
                }
                false
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Trouble> {
        if self.connection.is_none() {
            self.reopen()?;
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        sabotage::point(Point::BeforeTransaction);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put = transaction.prepare(
                "INSERT OR REPLACE INTO row (kind, source, name, value, crc) VALUES (?, ?, ?, ?, ?)",
            )?;
            let mut remove = transaction
                .prepare("DELETE FROM row WHERE kind = ? AND source = ? AND name = ?")?;
            for ((kind, source, name), value) in &batch.rows {
                match value {
                    Some(value) => {
                        put.execute(params![
                            kind,
                            source,
                            name,
                            value,
                            checksum([kind, source, name, value])
                        ])?;
                    }
                    None => {
                        remove.execute(params![kind, source, name])?;
                    }
                }
            }
        }
        sabotage::point(Point::BeforeCommit);
        transaction.commit()?;
        sabotage::point(Point::AfterCommit);
        Ok(())
    }

    /// Gives the file a name under which nobody will touch it, with what is left of a transaction.
    fn set_aside(&mut self, reason: &str) -> Result<(), Trouble> {
        let free = |number: &u32| !self.folder.join(aside(*number)).exists();
        let Some(number) = (1..=u32::MAX).find(free) else { return Ok(()) };
        let name = aside(number);
        std::fs::rename(self.path(), self.folder.join(&name))?;
        let rollback = self.folder.join(format!("{FILE}-journal"));
        if rollback.exists() {
            std::fs::rename(rollback, self.folder.join(format!("{name}-journal")))?;
        }
        tracing::error!(
            folder = %self.folder.display(),
            set_aside_as = name,
            reason,
            "the journal cannot be used and has been set aside; counting begins anew, with a \
             baseline: what failed meanwhile is not counted"
        );
        Ok(())
    }

    /// How many journals have been set aside and are still there.
    fn set_aside_count(&self) -> u64 {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return 0 };
        let is_aside = |name: &str| name.starts_with(ASIDE) && !name.ends_with("-journal");
        let names = entries.flatten().map(|entry| entry.file_name());
        names.filter(|name| name.to_str().is_some_and(is_aside)).count() as u64
    }

    /// One line when trouble begins.
    fn log(&mut self, trouble: &Trouble) {
        if !std::mem::replace(&mut self.logged, true) {
            tracing::error!(
                folder = %self.folder.display(),
                reason = %trouble,
                "the journal cannot be written; what is counted is kept in memory until it can"
            );
        }
    }
}

const ASIDE: &str = "journal.db.set-aside-";

fn aside(number: u32) -> String {
    format!("{ASIDE}{number}")
}

/// What to do where there is no file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Fail,
}

/// A connection to a sound journal, new or old, and what is in it.
fn connect(path: &Path, missing: Missing) -> Result<(Connection, Contents), Trouble> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, missing == Missing::Create);
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_PATIENCE)?;
    // A rollback journal, for a write-ahead log can be neither on NFS nor read on a disk that is
    // read-only. Truncated, not deleted: one sync of the folder less for each transaction.
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA synchronous = FULL;
         PRAGMA journal_mode = TRUNCATE;",
    )?;
    let application: i64 = pragma(&connection, "application_id")?;
    let format: i64 = pragma(&connection, "user_version")?;
    let objects: i64 =
        connection.query_one("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if (application, format, objects) == (0, 0, 0) {
        create(&mut connection)?;
        return Ok((connection, Contents::default()));
    }
    if application != APPLICATION {
        return Err(Trouble::Unreadable("it is not a journal of this program".to_owned()));
    }
    if format != FORMAT {
        return Err(Trouble::Unreadable(format!(
            "its format is {format}, and this version understands {FORMAT}"
        )));
    }
    let verdict: String = pragma(&connection, "integrity_check(1)")?;
    if verdict != "ok" {
        return Err(Trouble::Unreadable(verdict));
    }
    let contents = read(&connection)?;
    // Takes the lock that keeps a second process out. On a disk that is read-only there is none to
    // be had, nor is it needed; but a file that says so of itself on a disk that is not is damaged.
    let probe = connection.execute_batch(&format!("PRAGMA user_version = {FORMAT}"));
    match probe.map_err(Trouble::from) {
        Err(Trouble::Disk(reason))
            if std::fs::OpenOptions::new().append(true).open(path).is_ok() =>
        {
            let full = reason.contains("full");
            if full { Ok((connection, contents)) } else { Err(Trouble::Unreadable(reason)) }
        }
        Ok(()) | Err(Trouble::Disk(_)) => Ok((connection, contents)),
        Err(trouble) => Err(trouble),
    }
}

fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> Result<T, Trouble> {
    Ok(connection.query_one(&format!("PRAGMA {name}"), [], |row| row.get(0))?)
}

fn create(connection: &mut Connection) -> Result<(), Trouble> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(&format!(
        "CREATE TABLE row (
             kind TEXT NOT NULL,
             source TEXT NOT NULL,
             name TEXT NOT NULL,
             value TEXT NOT NULL,
             crc INTEGER NOT NULL,
             PRIMARY KEY (kind, source, name)
         ) WITHOUT ROWID;
         PRAGMA application_id = {APPLICATION};
         PRAGMA user_version = {FORMAT};"
    ))?;
    transaction.commit()?;
    Ok(())
}

fn read(connection: &Connection) -> Result<Contents, Trouble> {
    let mut statement = connection.prepare("SELECT kind, source, name, value, crc FROM row")?;
    let mut rows = statement.query([])?;
    let mut contents = Contents::default();
    while let Some(row) = rows.next()? {
        let key: Key = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (value, crc): (String, i64) = (row.get(3)?, row.get(4)?);
        if crc != checksum([&key.0, &key.1, &key.2, &value]) {
            return Err(Trouble::Unreadable(format!(
                "the checksum of the row {}/{}/{} is wrong",
                key.0, key.1, key.2
            )));
        }
        contents.rows.insert(key, value);
    }
    Ok(contents)
}

/// Of a row, its parts told apart.
fn checksum(parts: [&str; 4]) -> i64 {
    let mut crc = Crc::new();
    for part in parts {
        crc.update(part.as_bytes());
        crc.update(&[0xff]);
    }
    crc.sum().into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
