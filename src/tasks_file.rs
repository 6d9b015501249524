//! `TasksFile`: a source watches what its tasks file lists, also after the file has changed.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::api::TaskRef;
use crate::clock::Clock;
use crate::config::{ConfigError, MAX_FILE_BYTES, SourceConfig};
use crate::files::FileWatch;
use crate::metrics::Instruments;
use crate::watchlist::Watchlist;

/// The tasks file of a source, and who is told of it.
#[derive(Debug)]
pub struct TasksFile {
    source: Arc<SourceConfig>,
    path: PathBuf,
    watchlist: Arc<Watchlist>,
    instruments: Instruments,
    clock: Clock,
    /// What is being watched.
    tasks: Vec<TaskRef>,
    /// Whether the latest version is not.
    refused: bool,
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
        let tasks = source.all_tasks().cloned().collect();
        let source = Arc::new(source.clone());
        Some(Self { source, path, watchlist, instruments, clock, tasks, refused: false })
    }

    /// Takes over each new version, until `shutdown`. One with any problem is refused whole, and
    /// the one before it goes on.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let work = async {
            let mut watch = FileWatch::new(&self.path, MAX_FILE_BYTES);
            loop {
                let content = watch.changed().await;
                let (source, path) = (Arc::clone(&self.source), self.path.clone());
                // On another thread: a large list takes its time.
                let check = move || source.tasks_with(&path, content);
                match tokio::task::spawn_blocking(check).await {
                    Ok(Ok(tasks)) => self.take(tasks),
                    Ok(Err(problems)) => self.refuse(&problems),
                    // Told to stop, or a defect: better to end than to watch an old list for ever.
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(_) => return,
                    },
                }
            }
        };
        let _ = shutdown.run_until_cancelled(work).await;
    }

    fn take(&mut self, tasks: Vec<TaskRef>) {
        self.instruments.tasks_file_loaded(&self.source.name, self.clock.now());
        if tasks == self.tasks && !self.refused {
            return;
        }
        tracing::info!(
            source = self.source.name,
            file = %self.path.display(),
            tasks = tasks.len(),
            "a new version of the tasks file has taken effect"
        );
        self.refused = false;
        self.watchlist.configure(tasks.iter().cloned());
        self.tasks = tasks;
    }

    fn refuse(&mut self, problems: &ConfigError) {
        self.instruments.tasks_file_refused(&self.source.name);
        self.refused = true;
        tracing::error!(
            source = self.source.name,
            file = %self.path.display(),
            "the tasks file is refused, and the tasks before it stay: {}",
            problems.to_string().replace('\n', "; ")
        );
    }
}
