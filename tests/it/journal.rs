//! The journal's file in every condition: a start never fails, and what is read is what was written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dbtask_exporter::metrics::Instruments;
use dbtask_exporter::storage::{Batch, Journal, JournalError, Table};
use tempfile::TempDir;

const ROWS: Table = Table("test");
const FILE: &str = "journal.db";

type Rows = BTreeMap<String, String>;

/// A folder in memory where there is one: thousands of starts would wait for a disk.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Starts over what is in `folder`.
fn start(folder: &Path) -> (Journal, Rows) {
    let (journal, mut contents) =
        Journal::open(folder, Instruments::new().unwrap()).expect("a start never fails");
    (journal.inline(), contents.take(ROWS, "source").into_iter().collect())
}

/// Writes rows in one transaction.
async fn write(journal: &Journal, rows: &Rows) -> bool {
    let mut batch = Batch::default();
    for (name, value) in rows {
        batch.put(ROWS, "source", name, value);
    }
    journal.note(batch);
    journal.flush().await
}

/// So many rows of 100 bytes and more.
fn rows(count: usize, value: &str) -> Rows {
    (0..count).map(|n| (format!("task-{n:04}"), value.repeat(100 / value.len()))).collect()
}

/// The file of a journal with these rows.
async fn file_with(rows: &Rows) -> Vec<u8> {
    let folder = folder();
    let (journal, _) = start(folder.path());
    assert!(write(&journal, rows).await);
    drop(journal);
    fs::read(folder.path().join(FILE)).unwrap()
}

fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.filter(|path| name(path).rsplit('-').next().unwrap().parse::<u32>().is_ok()).collect()
}

/// What a start over `files` comes to: the rows that were `old` or, with the file set aside as it
/// was, none; and in both cases a journal that can be written and read again. Returns whether the
/// rows were kept.
async fn old_or_set_aside(files: &[(&str, &[u8])], old: &Rows, what: &str) -> bool {
    let folder = folder();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let (journal, mut found) = start(folder.path());
    let aside = set_aside(folder.path());
    if aside.is_empty() {
        assert_eq!(found, *old, "{what}");
    } else {
        assert!(found.is_empty(), "{what}");
        assert_eq!(fs::read(&aside[0]).unwrap(), files[0].1, "{what}: set aside as it was");
    }
    let more = rows(1, "more");
    assert!(write(&journal, &more).await, "{what}: it can be written");
    drop(journal);
    found.extend(more);
    let (_, again) = start(folder.path());
    assert_eq!(again, found, "{what}: and read again");
    assert_eq!(set_aside(folder.path()), aside, "{what}");
    aside.is_empty()
}

fn with_flip(bytes: &[u8], index: usize, mask: u8) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[index] ^= mask;
    flipped
}

#[tokio::test]
async fn any_one_byte_may_flip() {
    let old = rows(12, "x");
    let file = file_with(&old).await;
    let (mut kept, mut starts) = (0, 0);
    for index in 0..file.len() {
        // Of the header every bit, for there a single one may mean something else.
        let masks: &[u8] = if index < 100 { &[255, 1, 2, 4, 8, 16, 32, 64, 128] } else { &[255] };
        for &mask in masks {
            let flipped = with_flip(&file, index, mask);
            let what = format!("byte {index} xor {mask}");
            kept += u32::from(old_or_set_aside(&[(FILE, &flipped)], &old, &what).await);
            starts += 1;
        }
    }
    println!("{starts} starts over {} bytes: {kept} kept their rows", file.len());
    assert!(kept > starts / 10 && kept < starts, "{kept} of {starts}");
}

#[tokio::test]
async fn a_file_may_be_cut_anywhere() {
    let old = rows(12, "x");
    let file = file_with(&old).await;
    for length in (1..file.len()).step_by(7).chain(1..600) {
        let kept = old_or_set_aside(&[(FILE, &file[..length])], &old, &format!("{length}")).await;
        assert!(!kept, "{length} bytes");
    }
}

#[tokio::test]
async fn a_big_journal_survives_or_is_set_aside_too() {
    // Some levels of tree, and bytes all over them.
    let old = rows(2000, "x");
    let file = file_with(&old).await;
    for index in (0..file.len()).step_by(file.len() / 300) {
        old_or_set_aside(&[(FILE, &with_flip(&file, index, 255))], &old, &format!("{index}")).await;
    }
}

/// The two files that a process leaves that is killed while it writes: some pages are new.
async fn killed_while_writing(old: &Rows) -> (Vec<u8>, Vec<u8>) {
    let folder = folder();
    let path = folder.path().join(FILE);
    let before = file_with(old).await;
    fs::write(&path, &before).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = TRUNCATE; PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN;
             UPDATE row SET value = replace(value, 'x', 'y'), crc = crc + 1;",
        )
        .unwrap();
    let rollback = fs::read(folder.path().join("journal.db-journal")).unwrap();
    let after = fs::read(&path).unwrap();
    assert_ne!(before, after, "nothing has been written yet");
    (after, rollback)
}

#[tokio::test]
async fn a_transaction_that_was_killed_has_not_been() {
    let old = rows(100, "x");
    let (file, rollback) = killed_while_writing(&old).await;
    let files: [(&str, &[u8]); 2] = [(FILE, &file), ("journal.db-journal", &rollback)];
    assert!(old_or_set_aside(&files, &old, "rolled back").await);
}

#[tokio::test]
async fn a_half_written_transaction_is_never_taken_for_a_whole_one() {
    let old = rows(30, "x");
    let (file, rollback) = killed_while_writing(&old).await;
    let (mut kept, mut starts) = (0, 0);
    let header = 0..28;
    for index in header.chain((28..rollback.len()).step_by(37)) {
        let rollback = with_flip(&rollback, index, 255);
        let folder = folder();
        fs::write(folder.path().join(FILE), &file).unwrap();
        fs::write(folder.path().join("journal.db-journal"), rollback).unwrap();
        let (_, found) = start(folder.path());
        let aside = !set_aside(folder.path()).is_empty();
        assert!(if aside { found.is_empty() } else { found == old }, "byte {index}");
        kept += u32::from(!aside);
        starts += 1;
    }
    println!("{starts} starts: {kept} kept their rows");
    // And without the file that would roll it back.
    assert!(!old_or_set_aside(&[(FILE, &file)], &old, "alone").await);
}

#[tokio::test]
async fn a_page_of_an_earlier_transaction_is_found_out() {
    // What a disk leaves that has lost a write: every row is sound, but they are not of one time.
    let folder = folder();
    let path = folder.path().join(FILE);
    let (journal, _) = start(folder.path());
    let mut all = rows(100, "x");
    assert!(write(&journal, &all).await);
    let before = fs::read(&path).unwrap();
    all.extend(rows(100, "y"));
    assert!(write(&journal, &all).await);
    drop(journal);
    let after = fs::read(&path).unwrap();
    assert_eq!(before.len(), after.len());
    let page = 4096;
    for (number, (old, new)) in before.chunks(page).zip(after.chunks(page)).enumerate() {
        if number == 0 || old == new {
            continue;
        }
        let mut mixed = after.clone();
        mixed[number * page..][..page].copy_from_slice(old);
        assert!(!old_or_set_aside(&[(FILE, &mixed)], &all, &format!("page {number}")).await);
    }
}

/// A file of SQLite's that was made with these statements.
fn sqlite(statements: &str) -> Vec<u8> {
    let folder = folder();
    let path = folder.path().join("other.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(statements).unwrap();
    fs::read(path).unwrap()
}

#[tokio::test]
async fn what_is_no_journal_of_ours_is_set_aside() {
    let mut of_a_newer_version = file_with(&rows(3, "x")).await;
    of_a_newer_version[63] = 2;
    for (what, bytes) in [
        ("garbage", b"\x00\xff garbage".repeat(999)),
        ("text", b"hello\n".to_vec()),
        ("zeros", vec![0; 8192]),
        ("a newer format", of_a_newer_version),
        ("another program's", sqlite("CREATE TABLE a (b); INSERT INTO a VALUES (1);")),
        ("another program's log", sqlite("PRAGMA journal_mode = WAL; CREATE TABLE a (b);")),
        (
            "another schema",
            sqlite(
                "CREATE TABLE row (kind, source, name, value, crc);
                 PRAGMA application_id = 1684175979; PRAGMA user_version = 1;",
            ),
        ),
    ] {
        assert!(!old_or_set_aside(&[(FILE, &bytes)], &rows(3, "x"), what).await, "{what}");
    }
    // What holds nothing needs not be kept.
    assert!(old_or_set_aside(&[(FILE, b"")], &Rows::new(), "empty").await);
}

#[tokio::test]
async fn a_folder_or_a_pipe_in_its_place_is_set_aside() {
    let folder = folder();
    let path = folder.path().join(FILE);
    fs::create_dir(&path).unwrap();
    fs::write(path.join("precious"), "a").unwrap();
    let (journal, found) = start(folder.path());
    assert!(found.is_empty() && write(&journal, &rows(3, "x")).await);
    assert!(folder.path().join("journal.db.set-aside-1/precious").exists());
    drop(journal);
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (journal, found) = start(folder.path());
    assert!(found.is_empty() && write(&journal, &rows(3, "x")).await);
    assert_eq!(set_aside(folder.path()).len(), 2);
}

#[tokio::test]
async fn setting_aside_overwrites_nothing_and_is_counted() {
    let folder = folder();
    for number in 1..=3 {
        fs::write(folder.path().join(FILE), format!("broken {number}")).unwrap();
        fs::write(folder.path().join("journal.db-wal"), format!("log {number}")).unwrap();
        let instruments = Instruments::new().unwrap();
        let (journal, _) = Journal::open(folder.path(), instruments).unwrap();
        drop(journal);
        for earlier in 1..=number {
            let kept = |end| {
                let name = format!("journal.db.set-aside-{earlier}{end}");
                fs::read_to_string(folder.path().join(name)).unwrap()
            };
            assert_eq!(kept(""), format!("broken {earlier}"));
            assert_eq!(kept("-wal"), format!("log {earlier}"));
        }
    }
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let folder = folder();
    let (_journal, _) = start(folder.path());
    let second = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    let refused = second.query_row("SELECT count(*) FROM row", [], |row| row.get::<_, i64>(0));
    let code = refused.unwrap_err().sqlite_error_code();
    assert_eq!(code, Some(rusqlite::ErrorCode::DatabaseBusy));
    let error = JournalError::InUse(folder.path().join(FILE)).to_string();
    assert!(error.ends_with("journal.db is in use by another process"), "{error}");
}
