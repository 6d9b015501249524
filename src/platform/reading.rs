//! Reads small files in bounded time, whatever the file system does.
//!
//! Only regular files are read: a pipe or a device could keep the reader waiting, or never end. A
//! file system may hang all the same (NFS), and a thread that it keeps cannot be ended. So each
//! read has a thread of its own, which is left behind after [`PATIENCE`], and the next read begins
//! anew on another one. How many threads may be left behind is bounded.

use std::collections::BTreeMap;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

/// How long a read may take.
pub const PATIENCE: Duration = Duration::from_secs(4);
/// How many threads may read one file at a time, those that were left behind included.
const MAX_THREADS: usize = 16;
/// How many threads may read at a time.
const MAX_ALL_THREADS: usize = 256;
/// The pause before a file is read again when two reads of it hang; doubled with each further one.
const PAUSE: Duration = Duration::from_secs(10);
/// What a thread that reads needs.
const STACK_BYTES: usize = 256 * 1024;

/// The reads of this process.
static READS: Reads = Reads::new();

/// The bytes of the regular file `path`; an error if there are more than `limit`, and one of the
/// kind [`ErrorKind::TimedOut`] if they are not there after [`PATIENCE`]. Blocks the thread.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_within(path, limit, PATIENCE)
}

/// The same with another patience.
pub fn read_within(path: &Path, limit: u64, patience: Duration) -> io::Result<Vec<u8>> {
    let file = path.to_owned();
    in_time(path, patience, move || read_now(&file, limit))
}

/// The same as [`read`], and no thread is blocked that anything else needs.
pub async fn read_apart(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let path = path.to_owned();
    let work = tokio::task::spawn_blocking(move || read(&path, limit));
    work.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}

/// What comes of `work`, which reads `path`; an error of the kind [`ErrorKind::TimedOut`] if it
/// takes longer than `patience`. Blocks the thread.
pub(crate) fn in_time<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    READS.in_time(path, patience, work)
}

/// The bytes of the regular file `path`, without any bound of time.
pub(crate) fn read_now(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // To open a device may do something to it, so it is looked at first.
    check(fs::metadata(path)?.file_type())?;
    // It may have become something else since: then at least nothing waits for its other end.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    check(file.metadata()?.file_type())?;
    bytes(file, limit)
}

fn bytes(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {} KiB", limit / 1024)));
    }
    Ok(bytes)
}

fn check(of: FileType) -> io::Result<()> {
    if of.is_file() {
        return Ok(());
    }
    let what = if of.is_dir() {
        "a directory"
    } else if of.is_fifo() {
        "a named pipe"
    } else if of.is_socket() {
        "a socket"
    } else if of.is_char_device() || of.is_block_device() {
        "a device"
    } else {
        "something else"
    };
    Err(io::Error::new(ErrorKind::InvalidInput, format!("it is {what}, and no regular file")))
}

/// The same words each time, for who watches a file tells errors apart by their words.
fn late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "it could not be read in time: the file system hangs")
}

/// Which files are being read, and by how many threads.
#[derive(Debug)]
struct Reads {
    files: Mutex<BTreeMap<PathBuf, Threads>>,
    /// A thread has ended.
    ended: Condvar,
}

/// The threads that read one file.
#[derive(Debug, Default)]
struct Threads {
    running: usize,
    /// Those of them for which nobody waits any more.
    stuck: usize,
    /// Until then the file is taken to hang.
    pause: Option<Instant>,
}

impl Reads {
    const fn new() -> Self {
        Self { files: Mutex::new(BTreeMap::new()), ended: Condvar::new() }
    }

    fn in_time<T: Send + 'static>(
        &'static self,
        path: &Path,
        patience: Duration,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let running = self.begin(path, patience)?;
        // Without room in it: what is sent has been received, or nobody waits any more.
        let (sender, receiver) = sync_channel(0);
        let work = move || {
            let outcome = work();
            running.end(sender.send(outcome).is_err());
        };
        thread::Builder::new().name("file".to_owned()).stack_size(STACK_BYTES).spawn(work)?;
        match receiver.recv_timeout(patience) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => {
                self.leave_behind(path);
                Err(late())
            }
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the reader has died")),
        }
    }

    /// Waits for room for one more thread, and takes it.
    fn begin(&'static self, path: &Path, patience: Duration) -> io::Result<Running> {
        let is_full = |files: &mut BTreeMap<PathBuf, Threads>| {
            let all: usize = files.values().map(|threads| threads.running).sum();
            let of_file = files.get(path).map_or(0, |threads| threads.running);
            of_file >= MAX_THREADS || all >= MAX_ALL_THREADS
        };
        let hangs = |threads: &Threads| {
            threads.stuck >= MAX_THREADS
                || threads.pause.is_some_and(|pause| Instant::now() < pause)
        };
        let files = self.lock();
        if files.get(path).is_some_and(hangs) {
            return Err(late());
        }
        let (mut files, waited) = self
            .ended
            .wait_timeout_while(files, patience, is_full)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(late());
        }
        files.entry(path.to_owned()).or_default().running += 1;
        Ok(Running { reads: self, path: path.to_owned(), is_stuck: false })
    }

    /// Nobody waits any more for one of the threads that read `path`.
    fn leave_behind(&self, path: &Path) {
        let mut files = self.lock();
        let Some(threads) = files.get_mut(path) else { return };
        threads.stuck += 1;
        // The first time the next read begins at once.
        if let Some(doublings) = threads.stuck.checked_sub(2) {
            let pause = PAUSE.saturating_mul(1 << doublings.min(MAX_THREADS));
            threads.pause = Some(Instant::now() + pause);
        }
    }

    fn end(&self, path: &Path, was_stuck: bool) {
        let mut files = self.lock();
        if let Some(threads) = files.get_mut(path) {
            threads.running -= 1;
            if was_stuck {
                threads.stuck -= 1;
                // The file system goes on.
                threads.pause = None;
            }
            if threads.running == 0 {
                files.remove(path);
            }
        }
        drop(files);
        self.ended.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Threads>> {
        // Nothing in here can panic half-way through a change.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that reads, until it ends in whatever way.
#[derive(Debug)]
struct Running {
    reads: &'static Reads,
    path: PathBuf,
    is_stuck: bool,
}

impl Running {
    fn end(mut self, is_stuck: bool) {
        self.is_stuck = is_stuck;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.reads.end(&self.path, self.is_stuck);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Short, for what hangs in these tests hangs for good.
    const SHORT: Duration = Duration::from_millis(50);

    fn reads() -> &'static Reads {
        Box::leak(Box::new(Reads::new()))
    }

    /// A read that comes back only when the other end is dropped.
    fn hang(reads: &'static Reads, path: &Path) -> Sender<()> {
        let (sender, receiver) = channel::<()>();
        let work = move || {
            let _ = receiver.recv();
            Ok(())
        };
        let error = reads.in_time(path, SHORT, work).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        sender
    }

    fn good(reads: &'static Reads, path: &Path) -> bool {
        reads.in_time(path, PATIENCE, || Ok(())).is_ok()
    }

    #[test]
    fn nothing_but_regular_files_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("pipe", at("link-to-pipe")).unwrap();
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        let _socket = UnixListener::bind(at("socket")).unwrap();
        assert_eq!(read(&at("file"), 4).unwrap(), b"text");
        assert_eq!(read(&at("link"), 4).unwrap(), b"text", "as Kubernetes mounts them");
        for (path, what) in [
            (at("pipe"), "a named pipe"),
            (at("link-to-pipe"), "a named pipe"),
            (at("socket"), "a socket"),
            (at("."), "a directory"),
            ("/dev/zero".into(), "a device"),
        ] {
            let error = read(&path, 4).unwrap_err().to_string();
            assert_eq!(error, format!("it is {what}, and no regular file"), "{path:?}");
        }
        assert_eq!(read(&at("nothing"), 4).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_read_that_hangs_does_not_stop_the_next_one() {
        let (reads, path, other) = (reads(), Path::new("a"), Path::new("b"));
        let _kept = hang(reads, path);
        assert!(good(reads, path), "the next read begins anew");
        let _kept_too = hang(reads, path);
        // Two threads are enough to ask for now.
        let begun = Instant::now();
        let work = || panic!("nothing is read");
        let error = reads.in_time::<()>(path, PATIENCE, work).unwrap_err();
        assert_eq!(error.to_string(), late().to_string());
        assert!(begun.elapsed() < PATIENCE, "and nobody waits");
        assert!(good(reads, other), "another file is read");
    }

    #[test]
    fn a_file_system_that_goes_on_is_read_at_once() {
        let (reads, path) = (reads(), Path::new("a"));
        let kept = [hang(reads, path), hang(reads, path)];
        assert!(!good(reads, path));
        drop(kept);
        let files = reads.lock();
        let waited = reads.ended.wait_timeout_while(files, PATIENCE, |files| !files.is_empty());
        assert!(waited.unwrap().0.is_empty(), "nothing is kept of a file that nobody reads");
        assert!(good(reads, path));
    }

    #[test]
    fn the_threads_that_are_left_behind_are_bounded() {
        let (reads, path) = (reads(), Path::new("a"));
        let over = || reads.lock().get_mut(path).unwrap().pause = None;
        let mut kept = Vec::new();
        for _ in 0..MAX_THREADS {
            kept.push(hang(reads, path));
            let pause = reads.lock()[path].pause;
            assert_eq!(pause.is_some(), kept.len() > 1, "after {} threads", kept.len());
            over();
        }
        assert!(!good(reads, path), "one more is not begun, however long ago the last one was");
        assert!(good(reads, Path::new("b")));
    }

    #[test]
    fn who_reads_a_file_beside_many_others_waits_for_room() {
        let (reads, path) = (reads(), Path::new("a"));
        let (sender, receiver) = channel::<()>();
        let receiver = std::sync::Arc::new(Mutex::new(receiver));
        let readers: Vec<_> = (0..MAX_THREADS * 2)
            .map(|_| {
                let receiver = std::sync::Arc::clone(&receiver);
                thread::spawn(move || {
                    let wait = move || Ok(receiver.lock().unwrap().recv().is_ok());
                    reads.in_time(path, Duration::from_mins(1), wait)
                })
            })
            .collect();
        for _ in 0..readers.len() {
            sender.send(()).unwrap();
        }
        for reader in readers {
            assert!(reader.join().unwrap().unwrap());
        }
    }

    #[test]
    fn a_reader_that_dies_leaves_nothing_behind() {
        let (reads, path) = (reads(), Path::new("a"));
        let error = reads.in_time::<()>(path, PATIENCE, || panic!("on purpose")).unwrap_err();
        assert_eq!(error.to_string(), "the reader has died");
        let files = reads.lock();
        let waited = reads.ended.wait_timeout_while(files, PATIENCE, |files| !files.is_empty());
        assert!(waited.unwrap().0.is_empty());
    }
}
