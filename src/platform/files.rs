//! Small files that may change while the exporter runs: [`FileWatch`] tells when the content has
//! changed.
//!
//! Only the content counts, not the time or the number of the file: an editor writes it in place or
//! by rename, Kubernetes turns a link to a folder around, and a backup comes back with an old time.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use futures_util::future::select_all;
use futures_util::{FutureExt as _, StreamExt as _};
use inotify::{EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};

use crate::platform::reading;
use crate::platform::reading::{PATIENCE, read_now};

/// How often the file is read where no event comes: on network file systems, and where the system
/// has no watches left.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long a new content must have stayed the same: a file that is written in place is empty or
/// cut for a moment. Also the pause after an event, so that a busy folder costs little.
const SETTLE: Duration = Duration::from_millis(200);
/// How often everything that is made of several files is looked at though nothing seems to have
/// changed.
const AGAIN: Duration = Duration::from_mins(1);
/// As many links as Linux follows.
const MAX_LINKS: usize = 40;

/// Tells when the content of a file has changed.
///
/// The system's events make it quick; reading the file every 30 seconds makes it certain.
#[derive(Debug)]
pub struct FileWatch {
    path: Arc<Path>,
    limit: u64,
    /// What was last returned.
    seen: Option<FileVersion>,
    /// `None` where the system has no events for us.
    events: Option<Events>,
    folders: HashSet<WatchDescriptor>,
    /// Whether it has been said that changes are noticed late.
    warned: bool,
}

type Events = EventStream<[u8; 1024]>;

/// The digest of a content, or why there is none.
pub type FileVersion = Result<[u8; 32], String>;

/// A content, or why there is none.
pub type FileContent = Result<Arc<[u8]>, String>;

impl FileWatch {
    /// Watches `path`, of which not more than `limit` bytes are ever read.
    pub fn new(path: impl AsRef<Path>, limit: u64) -> Self {
        Self {
            path: Arc::from(path.as_ref()),
            limit,
            seen: None,
            events: None,
            folders: HashSet::new(),
            warned: false,
        }
    }

    /// Waits for the next content that differs from the last one returned; the first call returns
    /// what is there. A file that cannot be read is an error, once for each reason. Nothing is lost
    /// when the wait is abandoned.
    pub async fn changed(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let mut content = self.look().await;
            let mut version = version(&content);
            while Some(&version) != self.seen.as_ref() {
                sleep(SETTLE).await;
                let before = version;
                content = self.look().await;
                version = self::version(&content);
                if version == before {
                    self.seen = Some(version);
                    return content;
                }
            }
            tokio::select! {
                () = sleep(INTERVAL) => {}
                () = event(self.events.as_mut()) => sleep(SETTLE).await,
            }
        }
    }

    /// Has the next call of [`Self::changed`] return what is there, whatever was returned last.
    pub fn forget(&mut self) {
        self.seen = None;
    }

    /// Reads the file. It is watched before it is read, so that a change in between is an event.
    async fn look(&mut self) -> io::Result<Vec<u8>> {
        let mut late = None;
        if self.events.is_none() {
            match Inotify::init().and_then(|inotify| inotify.into_event_stream([0; 1024])) {
                Ok(events) => self.events = Some(events),
                Err(error) => late = Some(error),
            }
        }
        let watches = self.events.as_ref().map(EventStream::watches);
        let (path, limit) = (Arc::clone(&self.path), self.limit);
        let before = self.folders.clone();
        // On another thread, for a file system may hang; to watch the folders then hangs as well.
        let work = move || {
            let file = Arc::clone(&path);
            reading::in_time(&path, PATIENCE, move || {
                let folders = watches.map(|watches| watch(watches, before, &file));
                Ok((folders, read_now(&file, limit)))
            })
        };
        let (folders, content) =
            tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??;
        if let Some((folders, refused)) = folders {
            self.folders = folders;
            late = refused;
        }
        if let Some(error) = late
            && !self.warned
        {
            self.warned = true;
            tracing::warn!(
                file = %self.path.display(),
                "changes of this file may be noticed {} seconds late: {error}",
                INTERVAL.as_secs()
            );
        }
        content
    }
}

/// What tells a content from others.
pub fn version<B: AsRef<[u8]>, E: ToString>(content: &Result<B, E>) -> FileVersion {
    match content {
        Ok(bytes) => Ok(Sha256::digest(bytes).into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Watches all the files that something is made of, which may be others from time to time.
#[derive(Debug, Default)]
pub struct FilesWatch {
    watches: BTreeMap<PathBuf, FileWatch>,
}

impl FilesWatch {
    /// Waits until one of `files`, of which not more than `limit` bytes are ever read, may have
    /// changed; a minute at most, for what was read last may have been half of a file that was
    /// written twice. Nothing is lost when the wait is abandoned.
    pub async fn may_have_changed<'a>(
        &mut self,
        files: impl Iterator<Item = &'a PathBuf>,
        limit: u64,
    ) {
        let files: BTreeSet<&PathBuf> = files.collect();
        self.watches.retain(|file, _| files.contains(file));
        for file in files {
            self.watches.entry(file.clone()).or_insert_with(|| FileWatch::new(file, limit));
        }
        if self.watches.is_empty() {
            return sleep(AGAIN).await;
        }
        let changes = select_all(self.watches.values_mut().map(|watch| Box::pin(watch.changed())));
        let _ = timeout(AGAIN, changes).await;
    }
}

/// Waits until something happens in a watched folder.
async fn event(events: Option<&mut Events>) {
    let Some(events) = events else { return pending().await };
    match events.next().await {
        // All that has happened so far is one event to us.
        Some(Ok(_)) => while let Some(Some(Ok(_))) = events.next().now_or_never() {},
        // The runtime ends.
        Some(Err(_)) | None => pending().await,
    }
}

/// Watches every folder in which the way to the file may change, and those of `before` no longer.
/// Also returns why one of them cannot be watched, unless it is not there.
fn watch(
    mut watches: Watches,
    before: HashSet<WatchDescriptor>,
    path: &Path,
) -> (HashSet<WatchDescriptor>, Option<io::Error>) {
    let mask = WatchMask::CLOSE_WRITE
        | WatchMask::CREATE
        | WatchMask::MOVE
        | WatchMask::DELETE
        | WatchMask::ATTRIB
        | WatchMask::MOVE_SELF
        | WatchMask::DELETE_SELF
        | WatchMask::ONLYDIR;
    let mut now = HashSet::new();
    let mut refused = None;
    for folder in folders(path) {
        match watches.add(folder, mask) {
            Ok(folder) => {
                now.insert(folder);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => refused = Some(error),
        }
    }
    for folder in before {
        if !now.contains(&folder) {
            // The folder may be gone, and the watch with it.
            let _ = watches.remove(folder);
        }
    }
    (now, refused)
}

/// The folder of the file, and of each link on the way to it.
fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut ways = vec![path.to_owned()];
    for _ in 0..=MAX_LINKS {
        let Some(way) = ways.pop() else { break };
        for part in way.ancestors() {
            let Ok(target) = fs::read_link(part) else { continue };
            ways.push(folder(part).join(target));
            folders.insert(folder(part).to_owned());
        }
        folders.insert(folder(&way).to_owned());
    }
    folders
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    use tempfile::TempDir;
    use tokio::time::Instant;

    use super::*;

    /// A folder of its own.
    struct Folder(TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A link that is there at once, in place of another one.
        fn link(&self, name: &str, target: &str) {
            symlink(target, self.path("new-link")).unwrap();
            fs::rename(self.path("new-link"), self.path(name)).unwrap();
        }

        /// The same file in a folder that nobody watches: no event tells of what is written there.
        fn mirror(&self, name: &str, folder: &str) {
            fs::create_dir(self.path(folder)).unwrap();
            let end = Path::new(name).file_name().unwrap();
            fs::hard_link(self.path(name), self.path(folder).join(end)).unwrap();
        }

        fn watch(&self, name: &str) -> FileWatch {
            FileWatch::new(self.path(name), 1024)
        }
    }

    /// The next content, told by an event: sooner than the file is read without one.
    async fn next(watch: &mut FileWatch) -> String {
        let content = timeout(INTERVAL * 2 / 3, watch.changed()).await.expect("no change");
        match content {
            Ok(bytes) => String::from_utf8(bytes).unwrap(),
            Err(error) => error.kind().to_string(),
        }
    }

    #[tokio::test]
    async fn the_first_call_returns_what_is_there() {
        let folder = Folder::new();
        assert_eq!(next(&mut folder.watch("a")).await, "entity not found");
        folder.write("a", "1");
        assert_eq!(next(&mut folder.watch("a")).await, "1");
    }

    #[tokio::test]
    async fn a_file_may_be_written_in_place_renamed_deleted_and_created_again() {
        let folder = Folder::new();
        folder.write("a", "1");
        let mut watch = folder.watch("a");
        assert_eq!(next(&mut watch).await, "1");
        folder.write("a", "2");
        assert_eq!(next(&mut watch).await, "2");
        folder.write("b", "3");
        fs::rename(folder.path("b"), folder.path("a")).unwrap();
        assert_eq!(next(&mut watch).await, "3");
        fs::remove_file(folder.path("a")).unwrap();
        assert_eq!(next(&mut watch).await, "entity not found");
        folder.write("a", "3");
        assert_eq!(next(&mut watch).await, "3", "after it was gone");
        folder.write("c", "4");
        fs::remove_file(folder.path("a")).unwrap();
        fs::hard_link(folder.path("c"), folder.path("a")).unwrap();
        assert_eq!(next(&mut watch).await, "4");
    }

    #[tokio::test]
    async fn a_file_that_is_older_than_the_one_before_it_counts() {
        let folder = Folder::new();
        folder.write("a", "new");
        let mut watch = folder.watch("a");
        assert_eq!(next(&mut watch).await, "new");
        folder.write("backup", "old");
        let backup = File::options().write(true).open(folder.path("backup")).unwrap();
        backup.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        drop(backup);
        fs::rename(folder.path("backup"), folder.path("a")).unwrap();
        assert_eq!(next(&mut watch).await, "old");
    }

    #[tokio::test]
    async fn a_config_map_is_swapped_by_a_link_to_a_folder() {
        let folder = Folder::new();
        folder.write("..1/a", "1");
        folder.link("..data", "..1");
        folder.link("a", "..data/a");
        let mut watch = folder.watch("a");
        assert_eq!(next(&mut watch).await, "1");
        for version in 2..5 {
            folder.write(&format!("..{version}/a"), &version.to_string());
            folder.link("..data", &format!("..{version}"));
            fs::remove_dir_all(folder.path(&format!("..{}", version - 1))).unwrap();
            assert_eq!(next(&mut watch).await, version.to_string());
        }
        assert_eq!(watch.folders.len(), 2, "no watch is left of old folders");
    }

    #[tokio::test]
    async fn a_link_above_the_file_may_lead_elsewhere() {
        let folder = Folder::new();
        folder.write("releases/1/etc/a", "1");
        folder.write("releases/2/etc/a", "2");
        folder.link("current", "releases/1");
        folder.link("a", "current/etc/a");
        let mut watch = folder.watch("a");
        assert_eq!(next(&mut watch).await, "1");
        folder.link("current", "releases/2");
        assert_eq!(next(&mut watch).await, "2");
        folder.write("releases/2/etc/a", "3");
        assert_eq!(next(&mut watch).await, "3");
    }

    #[tokio::test]
    async fn only_the_content_counts() {
        let folder = Folder::new();
        folder.write("a", "1");
        let mut watch = folder.watch("a");
        assert_eq!(next(&mut watch).await, "1");
        folder.write("a", "1");
        folder.write("beside", "2");
        let nothing = timeout(SETTLE * 5, watch.changed()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        folder.write("a", "2");
        assert_eq!(next(&mut watch).await, "2", "the wait that was abandoned has lost nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_event_tells_of_is_noticed_in_half_a_minute() {
        let folder = Folder::new();
        folder.write("here/a", "1");
        folder.mirror("here/a", "there");
        let mut watch = folder.watch("here/a");
        watch.changed().await.unwrap();
        let begun = Instant::now();
        let writer = async {
            sleep(SETTLE).await;
            folder.write("there/a", "2");
        };
        let (content, ()) = tokio::join!(watch.changed(), writer);
        assert_eq!((content.unwrap(), begun.elapsed().as_secs()), (b"2".to_vec(), 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_not_returned_half() {
        let folder = Folder::new();
        folder.write("here/a", "old");
        folder.mirror("here/a", "there");
        let mut watch = folder.watch("here/a");
        watch.changed().await.unwrap();
        let writer = async {
            // Just before it is read next.
            sleep(INTERVAL.checked_sub(SETTLE / 2).unwrap()).await;
            folder.write("there/a", "");
            sleep(SETTLE).await;
            folder.write("there/a", "new");
        };
        let (content, ()) = tokio::join!(watch.changed(), writer);
        assert_eq!(content.unwrap(), b"new");
    }

    #[tokio::test]
    async fn a_file_that_is_too_large_is_an_error_and_may_become_small() {
        let folder = Folder::new();
        folder.write("a", &"x".repeat(1025));
        let mut watch = folder.watch("a");
        let error = watch.changed().await.unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 1 KiB");
        folder.write("a", &"x".repeat(1024));
        assert_eq!(next(&mut watch).await.len(), 1024);
    }

    #[test]
    fn links_that_go_round_end() {
        let folder = Folder::new();
        folder.link("a", "b");
        folder.link("b", "a");
        let root = folder.0.path().to_owned();
        assert!(folders(&folder.path("a")).contains(&root));
        assert_eq!(folders(Path::new("tasks.yml")), [PathBuf::from(".")].into());
    }
}
