//! `Reload`: asks for the configuration to be read again; and `Reloader`, which reads it.
//!
//! Whoever asks (a signal, a request, a file that has changed) is answered when what they asked for
//! is in force, or refused: the configuration that counts is as it was read after they asked. Those
//! who ask while it is being read are answered together, after the next reading.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::control::{Control, NotTaken};
use crate::config::{Config, LoadedConfig, MAX_FILE_BYTES};
use crate::platform::environment::Environment;
use crate::platform::files::{FileVersion, FilesWatch};

/// Who may wait for an answer at a time. More wait for room.
const ROOM: usize = 64;

/// What has been done, in words.
type Outcome = Result<String, NotTaken>;

/// Asks for the configuration to be read again. A clone is another handle to the same reader.
#[derive(Clone, Debug)]
pub struct Reload(mpsc::Sender<oneshot::Sender<Outcome>>);

impl Reload {
    /// Has the configuration read and taken over, whole or not at all; returns what it has changed.
    pub async fn ask(&self) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| NotTaken::Stopping)?;
        outcome.await.map_err(|_| NotTaken::Stopping)?
    }
}

/// Reads the configuration again and gives it to the exporter.
#[derive(Debug)]
pub struct Reloader {
    /// The file; `None` where the configuration comes from the environment alone.
    path: Option<PathBuf>,
    /// As it was at the start: that of a process cannot be changed from outside.
    environment: Environment,
    control: Control,
    requests: mpsc::Receiver<oneshot::Sender<Outcome>>,
    /// Whether it looks by itself whether something has changed.
    is_automatic: bool,
    /// What was read last.
    seen: BTreeMap<PathBuf, FileVersion>,
}

impl Reloader {
    /// Reads `path`, or the environment alone; `seen` are the files that have been read for the
    /// configuration in force, as in [`LoadedConfig::own_files`]. If it `is_automatic`, it reads
    /// again whenever something has changed.
    pub fn new(
        path: Option<PathBuf>,
        environment: Environment,
        seen: BTreeMap<PathBuf, FileVersion>,
        control: Control,
        is_automatic: bool,
    ) -> (Reload, Self) {
        let (sender, requests) = mpsc::channel(ROOM);
        let reloader = Self { path, environment, control, requests, is_automatic, seen };
        (Reload(sender), reloader)
    }

    /// Reads when asked to, until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let _ = shutdown.run_until_cancelled(self.work()).await;
    }

    async fn work(&mut self) {
        let mut watch = FilesWatch::default();
        loop {
            let mut askers = Vec::new();
            tokio::select! {
                count = self.requests.recv_many(&mut askers, ROOM) => {
                    if count == 0 && !self.is_automatic {
                        // Nobody is left who could ask.
                        pending::<()>().await;
                    }
                }
                () = watch.may_have_changed(self.seen.keys(), MAX_FILE_BYTES),
                    if self.is_automatic => {}
            }
            let loaded = self.read().await;
            if askers.is_empty() && !self.has_changed(&loaded) {
                continue;
            }
            let outcome = self.hand_over(loaded).await;
            for asker in askers {
                // They may have gone.
                let _ = asker.send(outcome.clone());
            }
        }
    }

    /// Reads it on another thread: a file system may hang.
    async fn read(&self) -> LoadedConfig {
        let (path, environment) = (self.path.clone(), self.environment.clone());
        let work = move || LoadedConfig::read(path.as_deref(), &environment);
        match tokio::task::spawn_blocking(work).await {
            Ok(loaded) => loaded,
            // Told to stop, or a defect: better to end than never to read again.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => pending().await,
            },
        }
    }

    /// Whether anything is not as it was that was read last. Which files those were, the others say
    /// that are as they were.
    fn has_changed(&self, loaded: &LoadedConfig) -> bool {
        self.seen.iter().any(|(path, version)| loaded.files.get(path) != Some(version))
    }

    async fn hand_over(&mut self, loaded: LoadedConfig) -> Outcome {
        let (own, all) = (loaded.own_files(), loaded.files);
        let warnings = loaded.config.as_ref().map(Config::warnings).unwrap_or_default();
        let outcome = self.control.take_over(loaded.config).await;
        let file = self.path.as_deref().map(|path| path.display().to_string());
        match &outcome {
            Ok(done) => {
                tracing::info!(file, "the configuration has been reloaded: {done}");
                if file.is_none() {
                    tracing::info!(
                        "the configuration comes from the environment, which does not change while \
                         the exporter runs; only the files that it names have been read again"
                    );
                }
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                self.seen = own;
            }
            Err(NotTaken::Refused(problems)) => {
                tracing::error!(
                    file,
                    "the new configuration is refused, and the one before it stays in force: {}",
                    problems.replace('\n', "; ")
                );
                // Any of them may be what is mended.
                self.seen = all;
            }
            Err(NotTaken::Stopping) => {}
        }
        outcome
    }
}
