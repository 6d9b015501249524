//! `Exporter`: pollers, publisher and servers for one configuration, until told to stop.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::book::Keeping;
use crate::budget::{Budget, Mark, Moment};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::cloud::Cloud;
use crate::config::{Config, SourceConfig};
use crate::counts::Counts;
use crate::journal::{Batch, Contents, Journal, JournalError, Table};
use crate::metrics::{Instruments, Metrics, publish};
use crate::pace::{Account, Keeper};
use crate::poller::{Pace, Poller, Shelves, sweep};
use crate::registration::{Limits, Registrable, Registrations};
use crate::sabotage::{self, Bug};
use crate::server::{App, Registering, Token, Web, serve};
use crate::source::{Learned, Source};
use crate::store::{Snapshot, SourceInfo, Store};
use crate::tally::Tally;
use crate::tasks_file::TasksFile;
use crate::transport::{Network, NetworkOptions, Transport};
use crate::watchlist::Watchlist;

/// What each account may have spent of its budget, by cloud and name.
const BUDGETS: Table = Table("budget");

/// How the services of this machine are reached. They are near, or not there at all.
const MACHINE: NetworkOptions = NetworkOptions {
    timeout: Duration::from_secs(4),
    proxy_url: None,
    ca_file: None,
    direct: true,
};

/// Everything that runs for one configuration.
#[derive(Debug)]
pub struct Exporter {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    counts: Arc<Counts>,
    clock: Clock,
    pollers: Vec<Poller>,
    tasks_files: Vec<TasksFile>,
    /// What is registered, and the file with the token that it takes.
    registrations: Option<(Arc<Registrations>, PathBuf)>,
}

/// What surrounds an exporter.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What time it is.
    pub clock: Clock,
    /// The folder of the journal; `None` keeps everything in memory.
    pub storage: Option<PathBuf>,
    /// Whether the journal is written on the thread that polls, so that nothing hangs on the timing
    /// of threads: for simulations that must run the same way each time.
    pub inline: bool,
    /// How the services of this machine that hand out keys are reached; `None`: by the network,
    /// never through a proxy.
    pub machine: Option<Arc<dyn Transport>>,
}

impl Default for Setting {
    fn default() -> Self {
        Self { clock: Clock::System, storage: None, inline: false, machine: None }
    }
}

impl Exporter {
    /// Prepares the sources of `config`, going on from the journal in `storage`; nothing is sent
    /// yet. Fails where a proxy's address or a certificate file cannot be used, and where another
    /// process has the journal.
    pub fn new(config: &Config, storage: Option<&Path>) -> anyhow::Result<Self> {
        let setting = Setting { storage: storage.map(Path::to_owned), ..Setting::default() };
        // Sources that reach their clouds in the same way share connections.
        let mut networks: Vec<(NetworkOptions, Arc<Network>)> = Vec::new();
        Self::assemble(config, &setting, |source| {
            let options = network_options(source);
            if let Some((_, network)) = networks.iter().find(|(known, _)| known.is_same(&options)) {
                return Ok(Arc::clone(network) as Arc<dyn Transport>);
            }
            let network = Arc::new(Network::new(&options)?);
            networks.push((options, Arc::clone(&network)));
            Ok(network)
        })
    }

    /// The same in another setting and with other ways to the clouds. What is left to chance
    /// (jitter, backoff, nonces) comes from the thread's own generator, which `fastrand::seed`
    /// starts anew.
    pub fn assemble(
        config: &Config,
        setting: &Setting,
        mut transport: impl FnMut(&SourceConfig) -> anyhow::Result<Arc<dyn Transport>>,
    ) -> anyhow::Result<Self> {
        let clock = setting.clock;
        let machine = match &setting.machine {
            Some(machine) => Arc::clone(machine),
            None => Arc::new(Network::new(&MACHINE)?),
        };
        let instruments = Instruments::new()?;
        instruments.config_loaded(clock.now());
        let (journal, mut contents) = open_journal(setting, &instruments)?;
        let metrics = Arc::new(Metrics::new(instruments.clone()));
        let shelves = Shelves {
            store: Arc::default(),
            counts: Arc::new(Counts::new(instruments.clone(), Arc::clone(&journal))),
            journal,
        };
        let mut accounts: HashMap<(Cloud, &str), Arc<Account>> = HashMap::new();
        let mut pollers = Vec::with_capacity(config.sources.len());
        let mut tasks_files = Vec::new();
        let mut registrable = BTreeMap::new();
        for source in &config.sources {
            let account =
                accounts.entry((source.api.cloud, &source.account)).or_insert_with(|| {
                    Arc::new(account(source, clock, &shelves.journal, &mut contents))
                });
            let caller = Caller {
                info: Arc::new(info(source)),
                api: source.api,
                target: source.target.clone(),
                credentials: Arc::clone(&source.credentials),
                account: Arc::clone(account),
                transport: transport(source).with_context(|| format!("source {}", source.name))?,
                machine: Arc::clone(&machine),
                instruments: instruments.clone(),
                clock,
                clock_offset: 0,
                tally: Tally::default(),
            };
            let watchlist = Arc::new(Watchlist::new(source.all_tasks().cloned()));
            let (list, notices) = (Arc::clone(&watchlist), instruments.clone());
            tasks_files.extend(TasksFile::of(source, list, notices, clock));
            let to = Registrable { api: source.api, watchlist: Arc::clone(&watchlist) };
            registrable.insert(source.name.clone(), to);
            pollers.push(Poller::new(
                connected(source, caller, watchlist),
                pace(source),
                keeping(source),
                shelves.clone(),
                &mut contents,
                fastrand::Rng::new(),
            ));
        }
        shelves.journal.note(sweep(&mut contents, clock.now()));
        // Last, so that rows of sources that begin anew are gone.
        let registrations = config.registration.as_ref().map(|registration| {
            let limits = Limits { tasks: registration.max_tasks, ttl: registration.ttl };
            let journal = Arc::clone(&shelves.journal);
            let registrations = Registrations::restore(
                registrable,
                limits,
                clock,
                instruments,
                journal,
                &mut contents,
            );
            (Arc::new(registrations), registration.token_file.clone())
        });
        let Shelves { store, counts, .. } = shelves;
        Ok(Self { store, metrics, counts, clock, pollers, tasks_files, registrations })
    }

    /// What the servers of this exporter serve, with the metrics at `metrics_path`.
    pub fn app(&self, metrics_path: &str, web: Web, stopping: CancellationToken) -> Arc<App> {
        Arc::new(App {
            store: Arc::clone(&self.store),
            metrics: Arc::clone(&self.metrics),
            counts: Arc::clone(&self.counts),
            clock: self.clock,
            metrics_path: metrics_path.to_owned(),
            registering: self.registrations.as_ref().map(|(registrations, token_file)| {
                let registrations = Arc::clone(registrations);
                Registering { registrations, token: Token::new(token_file.clone()) }
            }),
            web: Arc::new(web),
            stopping,
        })
    }

    /// The sources, in the order of the configuration, for whoever asks them something else than a
    /// poll does.
    pub fn into_sources(self) -> Vec<Source> {
        self.pollers.into_iter().map(Poller::into_source).collect()
    }

    /// Polls every source once, all at the same time, and returns what they look like.
    pub async fn poll_once(self) -> Vec<Arc<Snapshot>> {
        let mut polls = JoinSet::new();
        for poller in self.pollers {
            polls.spawn(async move { poller.poll_if_allowed().await });
        }
        polls.join_all().await;
        self.store.snapshots()
    }

    /// Polls, and serves `app` on `listeners`, until `shutdown`; then finishes the requests under
    /// way. A part that panics ends the whole: restarted beats silently stale.
    pub async fn run(
        self,
        listeners: Vec<TcpListener>,
        app: Arc<App>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.metrics));
        let mut parts = self.begin(&shutdown);
        parts.spawn(publish(store, metrics, shutdown.clone()));
        parts.spawn(Arc::clone(&app.web).keep_up(shutdown.clone()));
        for listener in listeners {
            parts.spawn(serve(listener, Arc::clone(&app), shutdown.clone()));
        }
        until_all_end(parts, &shutdown).await
    }

    /// Polls until `shutdown`, and leaves it to the caller to look into the store.
    pub async fn poll(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        until_all_end(self.begin(&shutdown), &shutdown).await
    }

    /// Starts what polls, counts and keeps registrations.
    fn begin(self, shutdown: &CancellationToken) -> JoinSet<()> {
        let mut parts = JoinSet::new();
        parts.spawn(self.counts.run(shutdown.clone()));
        if let Some((registrations, _)) = self.registrations {
            parts.spawn(registrations.run(Arc::clone(&self.store), shutdown.clone()));
        }
        for poller in self.pollers {
            parts.spawn(poller.run(shutdown.clone()));
        }
        for tasks_file in self.tasks_files {
            parts.spawn(tasks_file.run(shutdown.clone()));
        }
        parts
    }
}

async fn until_all_end(mut parts: JoinSet<()>, shutdown: &CancellationToken) -> anyhow::Result<()> {
    while let Some(ended) = parts.join_next().await {
        ended.context("a part of the exporter has died")?;
        anyhow::ensure!(shutdown.is_cancelled(), "a part of the exporter has stopped");
    }
    Ok(())
}

/// The journal of this setting, and what an earlier process left in it.
fn open_journal(
    setting: &Setting,
    instruments: &Instruments,
) -> Result<(Arc<Journal>, Contents), JournalError> {
    let (journal, contents) = match &setting.storage {
        Some(folder) => Journal::open(folder, instruments.clone())?,
        None => Default::default(),
    };
    Ok((Arc::new(if setting.inline { journal.inline() } else { journal }), contents))
}

/// The limits of the account that `source` belongs to, and what an earlier process left of them.
fn account(
    source: &SourceConfig,
    clock: Clock,
    journal: &Arc<Journal>,
    contents: &mut Contents,
) -> Account {
    let Some(limit) = source.daily_budget else { return Account::default() };
    // No source is called so.
    let name = format!("{}/{}", source.api.cloud, source.account);
    let mark = contents.take::<Mark>(BUDGETS, &name).pop().map(|(_, mark)| mark);
    let mark = mark.filter(|_| !sabotage::is(Bug::BudgetForgotten));
    let budget = Budget::new(limit, &mark.unwrap_or_default(), Moment::now(clock));
    let journal = Arc::clone(journal);
    let keep = move |mark: Mark| {
        let mut batch = Batch::default();
        batch.put(BUDGETS, &name, "", &mark);
        journal.note(batch);
        let journal = Arc::clone(&journal);
        let kept: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            journal.flush().await;
        });
        kept
    };
    Account::with_budget(budget, Some(Keeper(Box::new(keep))))
}

fn info(source: &SourceConfig) -> SourceInfo {
    SourceInfo {
        name: source.name.clone(),
        cloud: source.api.cloud.as_str(),
        api: source.api.name,
        region: source.target.region.clone(),
        account: source.account.clone(),
        per_task_metrics: source.per_task_metrics,
    }
}

fn connected(config: &SourceConfig, caller: Caller, watchlist: Arc<Watchlist>) -> Source {
    Source {
        caller,
        resources: config.resources.clone(),
        tags: config.tags.clone(),
        watchlist,
        lookback: config.poll.lookback,
        by_id_time: config.poll.interval,
        learned: Learned::default(),
    }
}

fn pace(config: &SourceConfig) -> Pace {
    Pace { interval: config.poll.interval, idle_interval: config.poll.idle_interval }
}

fn keeping(config: &SourceConfig) -> Keeping {
    Keeping {
        stale_after: config.poll.stale_after,
        finished: config.retention.finished,
        failed: config.retention.failed,
        tasks: config.limits.tasks_per_source,
    }
}

fn network_options(config: &SourceConfig) -> NetworkOptions {
    let authority = config.target.endpoint.parse::<http::Uri>().ok();
    let host = authority.as_ref().and_then(http::Uri::host).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    NetworkOptions {
        timeout: config.poll.timeout,
        proxy_url: config.proxy_url.clone(),
        ca_file: config.ca_file.clone(),
        direct: host == "localhost" || address.is_ok_and(|address| address.is_loopback()),
    }
}
