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
//!   is one of a newer format. Every row carries a checksum, and all of them together another, for
//!   SQLite has none.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, fs};

use flate2::Crc;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension as _, TransactionBehavior, params,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::metrics::Instruments;
use crate::platform::sabotage;
use crate::platform::sabotage::{Bug, Point};

/// The file in the folder.
const FILE: &str = "journal.db";
/// `user_version` of the file: goes up when rows change their meaning.
const FORMAT: i64 = 1;
/// `application_id` of the file: "dbtk".
const APPLICATION: i64 = 0x6462_746b;
/// How long a start waits for another process to let go of the journal.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How often what still waits is flushed: whoever noted it may be waiting for a vendor for hours.
const FLUSH_INTERVAL: Duration = Duration::from_secs(10);
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

    /// Adds what another part of the journal holds.
    pub fn absorb(&mut self, other: Self) {
        self.rows.extend(other.rows);
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
    /// Locked for as long as something is being written.
    disk: Arc<tokio::sync::Mutex<Disk>>,
    instruments: Instruments,
    /// Whether a flush has been given up on: nobody waits for it again.
    hangs: AtomicBool,
    /// Whether flushes run on the caller's thread, which makes them deterministic.
    inline: bool,
}

impl Journal {
    /// Opens the journal in `folder`, or makes one. A disk in trouble is no error: the journal
    /// begins empty, and is written as soon as that works.
    pub fn open(folder: &Path, instruments: Instruments) -> Result<(Self, Contents), JournalError> {
        let mut disk = Disk::new(folder, instruments.clone());
        let contents = match disk.open() {
            Ok(contents) => {
                let probed = disk.probe();
                disk.report(&probed);
                contents
            }
            Err(Trouble::Busy) => return Err(JournalError::InUse(disk.path())),
            Err(trouble) => {
                disk.report(&Err(trouble));
                Contents::default()
            }
        };
        let disk = Arc::new(tokio::sync::Mutex::new(disk));
        let hangs = AtomicBool::new(false);
        let file = File { pending: Arc::default(), disk, instruments, hangs, inline: false };
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

    /// What there is of one source, noted or durable; nothing without a journal. Fails in words.
    pub async fn load(&self, source: &str) -> Result<Contents, String> {
        match &self.file {
            Some(file) => file.load(source).await,
            None => Ok(Contents::default()),
        }
    }

    /// Flushes what an earlier flush could not write, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            loop {
                tokio::time::sleep(FLUSH_INTERVAL).await;
                if self.file.as_ref().is_some_and(|file| !lock(&file.pending).is_empty()) {
                    self.flush().await;
                }
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Makes durable what has been noted. Returns whether it is; if not, it stays noted. Without a
    /// journal there is nothing to wait for.
    pub async fn flush(&self) -> bool {
        match &self.file {
            Some(file) => file.flush().await,
            None => true,
        }
    }
}

impl File {
    async fn load(&self, source: &str) -> Result<Contents, String> {
        if !self.flush().await {
            return Err("the journal cannot be written at present".to_owned());
        }
        if self.inline {
            return self.disk.lock().await.load(source).map_err(|trouble| trouble.to_string());
        }
        let loaded = tokio::time::timeout(FLUSH_PATIENCE, async {
            let mut disk = Arc::clone(&self.disk).lock_owned().await;
            let source = source.to_owned();
            tokio::task::spawn_blocking(move || disk.load(&source)).await
        });
        match loaded.await {
            Ok(Ok(loaded)) => loaded.map_err(|trouble| trouble.to_string()),
            Ok(Err(_)) | Err(_) => Err("the disk of the journal does not answer".to_owned()),
        }
    }

    async fn flush(&self) -> bool {
        if self.inline {
            return self.disk.lock().await.flush(&self.pending);
        }
        let flushed = tokio::time::timeout(FLUSH_PATIENCE, async {
            let disk = Arc::clone(&self.disk);
            // Whoever writes may have taken along what we have noted, which is durable only when
            // that is done: so nothing is judged before it is our turn.
            let mut disk = if self.hangs.load(Ordering::Relaxed) {
                let Ok(disk) = disk.try_lock_owned() else { return false };
                self.hangs.store(false, Ordering::Relaxed);
                disk
            } else {
                disk.lock_owned().await
            };
            if lock(&self.pending).is_empty() {
                return disk.has_nothing_to_write();
            }
            let pending = Arc::clone(&self.pending);
            let flushed = tokio::task::spawn_blocking(move || disk.flush(&pending)).await;
            flushed.unwrap_or(false)
        });
        flushed.await.unwrap_or_else(|_| {
            if !self.hangs.swap(true, Ordering::Relaxed) {
                tracing::error!("the disk of the journal does not answer; it is not waited for");
            }
            self.instruments.journal_written(false);
            false
        })
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
                | ErrorCode::OutOfMemory
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
    instruments: Instruments,
    connection: Option<Connection>,
    /// The inode of the file that holds what we began with, or was empty: only to that one may we
    /// add. `None` as long as there has been none.
    ours: Option<u64>,
    /// Trouble that has been logged and is not over.
    troubled: bool,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Disk {
    fn new(folder: &Path, instruments: Instruments) -> Self {
        let folder = folder.to_owned();
        Self { folder, instruments, connection: None, ours: None, troubled: false }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Opens what is there, after setting aside what is of no use.
    fn open(&mut self) -> Result<Contents, Trouble> {
        fs::create_dir_all(&self.folder)?;
        let opened = match connect(&self.path(), Missing::Create) {
            Err(Trouble::Unreadable(reason)) => {
                self.set_aside(&reason)?;
                connect(&self.path(), Missing::Create)
            }
            opened => opened,
        };
        self.instruments.journals_set_aside(self.set_aside_count());
        let (connection, contents) = opened?;
        self.ours = Some(inode(&self.path())?);
        self.connection = Some(connection);
        Ok(contents)
    }

    /// Opens the file after trouble.
    fn reopen(&mut self) -> Result<(), Trouble> {
        if self.ours.is_some() {
            self.check_ours()?;
            self.connection = Some(connect(&self.path(), Missing::Fail)?.0);
        } else if !self.open()?.rows.is_empty() {
            // We have begun without what it holds.
            self.connection = None;
            self.ours = None;
            self.set_aside("it could not be read at the start")?;
            self.open()?;
        }
        Ok(())
    }

    /// Refuses a file that is not the one we have written. If that is gone, then so is what it
    /// held, and a part of it alone would be a lie; and what is written to a file without a name is
    /// lost.
    fn check_ours(&self) -> Result<(), Trouble> {
        let gone = || {
            let hint = "its file has been moved or removed; a restart begins a new one";
            Trouble::Disk(hint.to_owned())
        };
        match inode(&self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(gone()),
            found => {
                if Some(found?) == self.ours {
                    Ok(())
                } else {
                    Err(gone())
                }
            }
        }
    }

    /// Whether the file can be written, found out by writing what is there already.
    fn probe(&self) -> Result<(), Trouble> {
        let Some(connection) = &self.connection else { return Ok(()) };
        connection.execute_batch(&format!("PRAGMA user_version = {FORMAT}"))?;
        Ok(())
    }

    /// Writes what is pending, in one transaction. Returns whether nothing is pending any more.
    fn flush(&mut self, pending: &Mutex<Batch>) -> bool {
        let batch = std::mem::take(&mut *lock(pending));
        if batch.is_empty() {
            return self.has_nothing_to_write();
        }
        let written = if self.troubled && sabotage::is(Bug::DiskGivenUp) {
            Err(Trouble::Disk("it was in trouble".to_owned()))
        } else {
            self.write(&batch)
        };
        self.report(&written);
        if written.is_err() {
            // A file that was opened on a disk without writing stays so for ever.
            self.connection = None;
            let mut pending = lock(pending);
            for (key, row) in batch.rows {
                // What has been noted meanwhile is newer.
                if let Entry::Vacant(vacant) = pending.rows.entry(key) {
                    vacant.insert(row);
                }
            }
        }
        written.is_ok()
    }

    /// The rows of one source.
    fn load(&mut self, source: &str) -> Result<Contents, Trouble> {
        match self.connection {
            Some(_) => self.check_ours()?,
            None => self.reopen()?,
        }
        let Some(connection) = &self.connection else { return Ok(Contents::default()) };
        let mut statement =
            connection.prepare("SELECT kind, name, value, crc FROM row WHERE source = ?")?;
        let mut rows = statement.query([source])?;
        let mut contents = Contents::default();
        while let Some(row) = rows.next()? {
            let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
            let (value, crc): (String, i64) = (row.get(2)?, row.get(3)?);
            if crc != checksum([&kind, source, &name, &value]) {
                let name = [&*kind, source, &*name].join("/");
                return Err(Trouble::Unreadable(format!(
                    "the checksum of the row {name} is wrong"
                )));
            }
            contents.rows.insert((kind, source.to_owned(), name), value);
        }
        Ok(contents)
    }

    /// A flush that was given up on may have ended well since.
    fn has_nothing_to_write(&self) -> bool {
        self.instruments.journal_written(!self.troubled);
        true
    }

    /// Tells people how a write went: one line when trouble begins, one when it ends.
    fn report(&mut self, written: &Result<(), Trouble>) {
        self.instruments.journal_written(written.is_ok());
        let folder = self.folder.display();
        let before = std::mem::replace(&mut self.troubled, written.is_err());
        match written {
            Err(reason) if !before => tracing::error!(
                %folder,
                %reason,
                "the journal cannot be written; what is counted is kept in memory until it can"
            ),
            Ok(()) if before => tracing::info!(%folder, "the journal is written again"),
            Err(_) | Ok(()) => {}
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Trouble> {
        match self.connection {
            Some(_) => self.check_ours()?,
            None => self.reopen()?,
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        sabotage::point(Point::BeforeTransaction);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut remove = transaction.prepare(
                "DELETE FROM row WHERE kind = ? AND source = ? AND name = ? RETURNING crc",
            )?;
            let mut put = transaction.prepare("INSERT INTO row VALUES (?, ?, ?, ?, ?)")?;
            let mut sum = seal(&transaction)?;
            for ((kind, source, name), value) in &batch.rows {
                let old = remove.query_row([kind, source, name], |row| row.get(0)).optional()?;
                sum = sum.wrapping_sub(old.unwrap_or(0));
                if let Some(value) = value {
                    let crc = checksum([kind, source, name, value]);
                    put.execute(params![kind, source, name, value, crc])?;
                    sum = sum.wrapping_add(crc);
                }
            }
            remove.query_row(SEAL, |_| Ok(())).optional()?;
            let [kind, source, name] = SEAL;
            put.execute(params![kind, source, name, "", sum])?;
        }
        sabotage::point(Point::BeforeCommit);
        transaction.commit()?;
        sabotage::point(Point::AfterCommit);
        Ok(())
    }

    /// Gives the file a name under which nobody will touch it, with what is left of a transaction.
    fn set_aside(&self, reason: &str) -> Result<(), Trouble> {
        let free = |name: &String| self.folder.join(name).symlink_metadata().is_err();
        let Some(name) = (1..=u32::MAX).map(|n| format!("{ASIDE}{n}")).find(free) else {
            return Err(Trouble::Disk("there is no name left to set it aside".to_owned()));
        };
        fs::rename(self.path(), self.folder.join(&name)).map_err(|error| {
            Trouble::Disk(format!("it cannot be used ({reason}), and not be set aside: {error}"))
        })?;
        // After the file: alone, it would be taken for one that is whole.
        for end in ["-journal", "-wal", "-shm"] {
            match fs::rename(
                self.folder.join(format!("{FILE}{end}")),
                self.folder.join(format!("{name}{end}")),
            ) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
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
        let Ok(entries) = fs::read_dir(&self.folder) else { return 0 };
        let is_aside = |name: &str| {
            name.strip_prefix(ASIDE).is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        names.filter(|name| name.to_str().is_some_and(is_aside)).count() as u64
    }
}

/// A number follows, the first that is free.
const ASIDE: &str = "journal.db.set-aside-";

fn inode(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.ino())
}

/// What to do where there is no file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Fail,
}

/// A connection to a sound journal, new or old, and what is in it.
fn connect(path: &Path, missing: Missing) -> Result<(Connection, Contents), Trouble> {
    look_at(path)?;
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, missing == Missing::Create);
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_PATIENCE)?;
    // A rollback journal, for a write-ahead log can be neither on NFS nor read on a disk that is
    // read-only. Truncated, not deleted: one sync of the folder less for each transaction. The
    // empty transaction takes the lock, which is then kept: it keeps a second process out.
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA synchronous = FULL;
         PRAGMA journal_mode = TRUNCATE;
         BEGIN EXCLUSIVE;
         COMMIT;",
    )?;
    let application: i64 = pragma(&connection, "application_id")?;
    let format: i64 = pragma(&connection, "user_version")?;
    let schema: Option<String> =
        connection
            .query_one("SELECT group_concat(sql) FROM sqlite_schema", [], |row| row.get(0))?;
    let unreadable = |reason: String| Err(Trouble::Unreadable(reason));
    match (application, format, schema) {
        (0, 0, None) => {
            create(&mut connection)?;
            return Ok((connection, Contents::default()));
        }
        (APPLICATION, FORMAT, Some(schema)) if schema == SCHEMA => {}
        (APPLICATION, FORMAT, _) => return unreadable("its schema is not the one".to_owned()),
        (APPLICATION, format, _) => {
            return unreadable(format!(
                "its format is {format}, and this version understands {FORMAT}"
            ));
        }
        _ => return unreadable("it is not a journal of this program".to_owned()),
    }
    let verdict: String = pragma(&connection, "integrity_check(1)")?;
    if verdict != "ok" {
        return unreadable(verdict);
    }
    let contents = read(&connection)?;
    Ok((connection, contents))
}

/// How a file of SQLite's begins; then come two bytes of its page size.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// The versions that a writer and a reader must know; 1 is a rollback journal.
const VERSIONS: [u8; 2] = [1, 1];
/// So far goes the header that matters here.
const HEADER_BYTES: u64 = 20;

/// Refuses what SQLite would not: it would call a folder a disk's trouble, and a file whose header
/// says that it is read-only, too. Nobody of this process has the file open now, for closing it
/// would give up the lock.
fn look_at(path: &Path) -> Result<(), Trouble> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.is_file() {
        return Err(Trouble::Unreadable("it is not a file".to_owned()));
    }
    let mut header = Vec::new();
    fs::File::open(path)?.take(HEADER_BYTES).read_to_end(&mut header)?;
    if header.is_empty() || (header.starts_with(MAGIC) && header.ends_with(&VERSIONS)) {
        return Ok(());
    }
    Err(Trouble::Unreadable("it does not begin as a journal does".to_owned()))
}

fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> Result<T, Trouble> {
    Ok(connection.query_one(&format!("PRAGMA {name}"), [], |row| row.get(0))?)
}

/// As the file itself remembers it.
const SCHEMA: &str = "CREATE TABLE row (
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (kind, source, name)
) WITHOUT ROWID";

fn create(connection: &mut Connection) -> Result<(), Trouble> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(&format!(
        "{SCHEMA};
         PRAGMA application_id = {APPLICATION};
         PRAGMA user_version = {FORMAT};"
    ))?;
    transaction.commit()?;
    Ok(())
}

/// The key of the row whose checksum is the sum of all others: each of them may be sound, and yet
/// one of an earlier transaction.
const SEAL: [&str; 3] = ["", "", ""];

fn seal(connection: &Connection) -> Result<i64, rusqlite::Error> {
    let sum = "SELECT crc FROM row WHERE kind = ? AND source = ? AND name = ?";
    Ok(connection.query_row(sum, SEAL, |row| row.get(0)).optional()?.unwrap_or(0))
}

fn read(connection: &Connection) -> Result<Contents, Trouble> {
    let mut statement = connection.prepare("SELECT kind, source, name, value, crc FROM row")?;
    let mut rows = statement.query([])?;
    let mut contents = Contents::default();
    let mut sum = 0_i64;
    while let Some(row) = rows.next()? {
        let key: Key = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (value, crc): (String, i64) = (row.get(3)?, row.get(4)?);
        let parts = [&*key.0, &*key.1, &*key.2];
        if parts == SEAL {
            continue;
        }
        if crc != checksum([&key.0, &key.1, &key.2, &value]) {
            let name = parts.join("/");
            return Err(Trouble::Unreadable(format!("the checksum of the row {name} is wrong")));
        }
        sum = sum.wrapping_add(crc);
        contents.rows.insert(key, value);
    }
    if sum != seal(connection)? {
        return Err(Trouble::Unreadable("its rows are not of one transaction".to_owned()));
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

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const ROWS: Table = Table("test");

    fn put(journal: &Journal, name: &str) {
        let mut batch = Batch::default();
        batch.put(ROWS, "source", name, &name);
        journal.note(batch);
    }

    fn open(folder: &Path) -> (Journal, Instruments) {
        let instruments = Instruments::new().unwrap();
        (Journal::open(folder, instruments.clone()).unwrap().0, instruments)
    }

    fn names(folder: &Path) -> Vec<String> {
        let (_, mut contents) = Journal::open(folder, Instruments::new().unwrap()).unwrap();
        contents.take::<String>(ROWS, "source").into_iter().map(|(name, _)| name).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_never_answers_is_waited_for_once_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = open(folder.path());
        let disk = Arc::clone(&journal.file.as_ref().unwrap().disk);
        let hanging = disk.lock().await;
        let begun = Instant::now();
        put(&journal, "a");
        assert!(!journal.flush().await);
        assert_eq!(begun.elapsed(), FLUSH_PATIENCE);
        for name in ["b", "c"] {
            put(&journal, name);
            assert!(!journal.flush().await);
        }
        assert_eq!(begun.elapsed(), FLUSH_PATIENCE, "not again");
        drop(hanging);
        assert!(journal.flush().await);
        drop((journal, disk));
        assert_eq!(names(folder.path()), ["a", "b", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_written_is_written_soon_after_that_works_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, kept) = (folder.path().join(FILE), folder.path().join("kept"));
        let (journal, _) = open(folder.path());
        let journal = Arc::new(journal.inline());
        let stop = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&journal).run(stop.clone()));
        fs::rename(&path, &kept).unwrap();
        put(&journal, "a");
        assert!(!journal.flush().await);
        fs::rename(&kept, &path).unwrap();
        tokio::time::sleep(FLUSH_INTERVAL + Duration::from_millis(1)).await;
        stop.cancel();
        running.await.unwrap();
        drop(journal);
        assert_eq!(names(folder.path()), ["a"], "nobody has asked for another flush");
    }

    #[tokio::test]
    async fn the_rows_of_one_source_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = open(folder.path());
        put(&journal, "a");
        let mut batch = Batch::default();
        batch.put(ROWS, "other", "b", &"b");
        journal.note(batch);
        assert!(journal.flush().await);
        put(&journal, "c");
        let mut contents = journal.load("source").await.unwrap();
        let names: Vec<String> =
            contents.take::<String>(ROWS, "source").into_iter().map(|(name, _)| name).collect();
        assert_eq!((names, contents.rows.len()), (vec!["a".to_owned(), "c".to_owned()], 0));
        fs::remove_file(folder.path().join(FILE)).unwrap();
        assert!(journal.load("source").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_flush_took_along_is_not_durable_before_that_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = open(folder.path());
        put(&journal, "a");
        let file = journal.file.as_ref().unwrap();
        let mut disk = file.disk.lock().await;
        let taken = std::mem::take(&mut *lock(&file.pending));
        let early = tokio::time::timeout(Duration::from_secs(1), journal.flush()).await;
        assert!(early.is_err(), "it is being written");
        *lock(&file.pending) = taken;
        assert!(disk.flush(&file.pending));
        drop(disk);
        assert!(journal.flush().await);
    }

    #[tokio::test]
    async fn a_file_that_is_gone_or_another_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = open(folder.path());
        put(&journal, "a");
        assert!(journal.flush().await);
        let (path, kept) = (folder.path().join(FILE), folder.path().join("kept"));
        fs::rename(&path, &kept).unwrap();
        put(&journal, "b");
        assert!(!journal.flush().await, "it would be written where nobody finds it");
        fs::write(&path, "").unwrap();
        assert!(!journal.flush().await, "a part alone would be a lie");
        fs::rename(&kept, &path).unwrap();
        assert!(journal.flush().await);
        drop(journal);
        assert_eq!(names(folder.path()), ["a", "b"]);
    }
}
