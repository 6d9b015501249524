//! `TasksFile`: a source watches what its tasks file lists, also after the file has changed.
//!
//! A reload of the configuration reads the file too. What it has found is handed over to the one who
//! follows the file, who compares it with the file again: it may have been changed back meanwhile.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dbtask_clouds::api::TaskRef;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, MAX_FILE_BYTES, SourceConfig};
use crate::metrics::Instruments;
use crate::platform::clock::Clock;
use crate::platform::files::FileWatch;
use crate::track::watchlist::Watchlist;

/// The tasks file of a source, and who is told of it.
#[derive(Debug)]
pub struct TasksFile {
    path: PathBuf,
    watchlist: Arc<Watchlist>,
    instruments: Instruments,
    clock: Clock,
    current: Mutex<Current>,
    handed_over: Notify,
}

#[derive(Debug)]
struct Current {
    source: Arc<SourceConfig>,
    /// What is being watched.
    tasks: Vec<TaskRef>,
    /// Whether the latest version is not.
    refused: bool,
    /// Whether a reload has read the file later than we have.
    is_handed: bool,
}

impl TasksFile {
    /// The tasks file of `source`, if it has one; what it listed at the start is in `watchlist`.
    pub fn of(
        source: &SourceConfig,
        watchlist: Arc<Watchlist>,
        instruments: Instruments,
        clock: Clock,
    ) -> Option<Self> {
        let path = source.tasks_file.clone()?;
        let current = Current {
            tasks: source.all_tasks().cloned().collect(),
            source: Arc::new(source.clone()),
            refused: false,
            is_handed: false,
        };
        let (current, handed_over) = (Mutex::new(current), Notify::new());
        Some(Self { path, watchlist, instruments, clock, current, handed_over })
    }

    /// Takes over what a reload has found in the file, which is the same one.
    pub fn hand_over(&self, source: &SourceConfig) {
        let mut current = self.lock();
        current.source = Arc::new(source.clone());
        current.is_handed = true;
        self.take(&mut current, source.all_tasks().cloned().collect());
        self.handed_over.notify_one();
    }

    /// Takes over each new version, until `shutdown`. One with any problem is refused whole, and
    /// the one before it goes on.
    pub async fn run(&self, shutdown: CancellationToken) {
        let _ = shutdown.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&self) {
        let mut watch = FileWatch::new(&self.path, MAX_FILE_BYTES);
        loop {
            let content = tokio::select! {
                content = watch.changed() => content,
                () = self.handed_over.notified() => {
                    self.lock().is_handed = false;
                    watch.forget();
                    continue;
                }
            };
            let (source, path) = (Arc::clone(&self.lock().source), self.path.clone());
            // On another thread: a large list takes its time.
            let check = move || source.tasks_with(&path, content);
            let checked = match tokio::task::spawn_blocking(check).await {
                Ok(checked) => checked,
                // Told to stop, or a defect: better to end than to watch an old list for ever.
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => return,
                },
            };
            let mut current = self.lock();
            if current.is_handed {
                continue;
            }
            match checked {
                Ok(tasks) => self.take(&mut current, tasks),
                Err(problems) => self.refuse(&mut current, &problems),
            }
        }
    }

    fn take(&self, current: &mut Current, tasks: Vec<TaskRef>) {
        let source = &current.source.name;
        self.instruments.tasks_file_loaded(source, self.clock.now());
        if tasks == current.tasks && !current.refused {
            return;
        }
        tracing::info!(
            source,
            file = %self.path.display(),
            tasks = tasks.len(),
            "a new version of the tasks file has taken effect"
        );
        current.refused = false;
        self.watchlist.configure(tasks.iter().cloned());
        current.tasks = tasks;
    }

    fn refuse(&self, current: &mut Current, problems: &ConfigError) {
        self.instruments.tasks_file_refused(&current.source.name);
        current.refused = true;
        tracing::error!(
            source = current.source.name,
            file = %self.path.display(),
            "the tasks file is refused, and the tasks before it stay: {}",
            problems.to_string().replace('\n', "; ")
        );
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        // Nothing in here can panic half-way through a change.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
