//! `Fleet`: the sources that are polled, each on a task of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::collect::poller::Poller;
use crate::config::SourceConfig;
use crate::exporter::tasks_file::TasksFile;
use crate::track::watchlist::Watchlist;

/// What is polled, or will be as soon as it is begun.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    members: BTreeMap<String, Member>,
    /// What keeps them going until it is begun.
    waiting: Vec<Engine>,
    /// Stops all of them; `None` until it is begun.
    shutdown: Option<CancellationToken>,
    running: JoinSet<Poller>,
}

/// A source that is polled.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) config: SourceConfig,
    pub(super) watchlist: Arc<Watchlist>,
    pub(super) tasks_file: Option<Arc<TasksFile>>,
    stop: CancellationToken,
}

/// What keeps a source going.
#[derive(Debug)]
struct Engine {
    poller: Poller,
    tasks_file: Option<Arc<TasksFile>>,
    stop: CancellationToken,
}

impl Engine {
    async fn run(self) -> Poller {
        let Self { poller, tasks_file, stop } = self;
        let follow = async {
            if let Some(tasks_file) = tasks_file {
                tasks_file.run(stop.clone()).await;
            }
        };
        tokio::join!(poller.run(stop.clone()), follow).0
    }
}

impl Fleet {
    pub(super) fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    pub(super) fn member(&mut self, source: &str) -> Option<&mut Member> {
        self.members.get_mut(source)
    }

    /// Adds a source, which is polled from now on if the others are.
    pub(super) fn add(
        &mut self,
        config: SourceConfig,
        watchlist: Arc<Watchlist>,
        poller: Poller,
        tasks_file: Option<TasksFile>,
    ) {
        let tasks_file = tasks_file.map(Arc::new);
        let stop =
            self.shutdown.as_ref().map_or_else(Default::default, CancellationToken::child_token);
        let engine = Engine { poller, tasks_file: tasks_file.clone(), stop: stop.clone() };
        if self.shutdown.is_some() {
            self.running.spawn(engine.run());
        } else {
            self.waiting.push(engine);
        }
        self.members.insert(config.name.clone(), Member { config, watchlist, tasks_file, stop });
    }

    /// Begins to poll, until `shutdown`.
    pub(super) fn begin(&mut self, shutdown: &CancellationToken) {
        for engine in self.waiting.drain(..) {
            let stop = shutdown.child_token();
            if let Some(member) = self.members.get_mut(engine.poller.name()) {
                member.stop = stop.clone();
            }
            self.running.spawn(Engine { stop, ..engine }.run());
        }
        self.shutdown = Some(shutdown.clone());
    }

    /// The pollers of a fleet that has not been begun.
    pub(super) fn into_pollers(self) -> impl Iterator<Item = Poller> {
        self.waiting.into_iter().map(|engine| engine.poller)
    }

    /// Waits for one to end, which none should before it is told to; `None` if there is none.
    pub(super) async fn ended(&mut self) -> Option<Result<(), JoinError>> {
        Some(self.running.join_next().await?.map(drop))
    }

    /// Ends these, and returns their pollers. Fails if one has died.
    pub(super) async fn stop(&mut self, sources: &BTreeSet<&str>) -> anyhow::Result<Vec<Poller>> {
        let mut stopped = Vec::with_capacity(sources.len());
        for source in sources {
            if let Some(member) = self.members.remove(*source) {
                member.stop.cancel();
            }
        }
        while stopped.len() < sources.len() {
            let ended = self.running.join_next().await.context("a source is not polled")?;
            let poller = ended.context("a part of the exporter has died")?;
            if sources.contains(poller.name()) {
                stopped.push(poller);
            } else {
                let told = self.shutdown.as_ref().is_some_and(CancellationToken::is_cancelled);
                anyhow::ensure!(told, "a part of the exporter has stopped");
            }
        }
        Ok(stopped)
    }
}
