//! `Exporter`: pollers, publisher and servers for one configuration, until told to stop; and for the
//! configurations that follow it.
//!
//! ```text
//!  Control ─► Config ─► Plan ─► Keep ───────────────────────────────────────────► Fleet
//!                         ├──► Change ─► stop ─► Suspended ─► resume ──────────────►┤
//!                         ├──► Start ──► Suspended, journal or nothing ─► Poller ──►┘
//!                         └──► Stop ───► stop ─► Suspended, until it comes back
//! ```

mod accounts;
mod fleet;
mod plan;
pub mod tasks_file;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwapOption;
use dbtask_clouds::transport::Transport;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::accounts::Accounts;
use self::fleet::Fleet;
pub use self::plan::{Plan, Step};
use crate::collect::client::Caller;
use crate::collect::poller::{Outputs, Poller, Suspended, subject};
use crate::collect::schedule::Pace;
use crate::collect::source::{Learned, Source};
use crate::config::control::{Control, Order};
use crate::config::{Config, ConfigError, RegistrationConfig, SourceConfig};
use crate::exporter::tasks_file::TasksFile;
use crate::metrics::{Instruments, Metrics, publish};
use crate::platform::clock::Clock;
use crate::platform::network::{Network, NetworkOptions};
use crate::platform::vendor_clock::VendorClock;
use crate::server::{App, Lifecycle, Registering, Token, Web, serve};
use crate::snapshot::daily_calls::Tally;
use crate::snapshot::{Snapshot, SourceInfo};
use crate::storage::{Contents, Journal, JournalError};
use crate::track::completions::MEMORY;
use crate::track::counters::Counters;
use crate::track::registrations::{Limits, Registrable, Registrations};
use crate::track::tasks::Retention;
use crate::track::tracker::{knows_another, sweep};
use crate::track::watchlist::Watchlist;

/// How the services of this machine are reached. They are near, or not there at all.
const MACHINE: NetworkOptions = NetworkOptions {
    timeout: Duration::from_secs(4),
    proxy_url: None,
    ca_file: None,
    ca_content: None,
    direct: true,
};

/// Of so many sources that are gone everything is kept, so that no counter of theirs falls when they
/// come back.
const MOST_GONE: usize = 32;

/// Everything that runs for one configuration after the other.
#[derive(Debug)]
pub struct Exporter {
    clock: Clock,
    machine: Arc<dyn Transport>,
    ways: Ways,
    instruments: Instruments,
    metrics: Arc<Metrics>,
    outputs: Outputs,
    /// What an earlier process left, and nobody has taken yet: its source may come back.
    contents: Contents,
    accounts: Accounts,
    fleet: Fleet,
    /// Sources that are not watched any more.
    suspended: BTreeMap<String, Suspended>,
    /// Those of which the journal alone knows, and since when.
    filed: BTreeMap<String, Instant>,
    registrations: Arc<Registrations>,
    registering: Arc<ArcSwapOption<Registering>>,
    control: Control,
    orders: mpsc::Receiver<Order>,
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

/// Finds the way to the cloud of a source.
struct Ways(Box<FindWay>);

type FindWay = dyn FnMut(&SourceConfig) -> anyhow::Result<Arc<dyn Transport>> + Send;

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ways").finish_non_exhaustive()
    }
}

/// A configuration of which everything that can fail has been done.
struct Prepared {
    config: Config,
    plan: Plan,
    /// The ways of the sources that begin or change.
    ways: HashMap<String, Arc<dyn Transport>>,
}

impl Exporter {
    /// Prepares the sources of `config`, going on from the journal in `storage`; nothing is sent
    /// yet. Fails where a proxy's address or a certificate file cannot be used, and where another
    /// process has the journal.
    pub fn new(config: &Config, storage: Option<&Path>) -> anyhow::Result<Self> {
        let setting = Setting { storage: storage.map(Path::to_owned), ..Setting::default() };
        // Sources that reach their clouds in the same way share connections.
        let mut networks: Vec<(NetworkOptions, Arc<Network>)> = Vec::new();
        Self::assemble(config, &setting, move |source| {
            networks.retain(|(_, network)| Arc::strong_count(network) > 1);
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
        way: impl FnMut(&SourceConfig) -> anyhow::Result<Arc<dyn Transport>> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let clock = setting.clock;
        let machine = match &setting.machine {
            Some(machine) => Arc::clone(machine),
            None => Arc::new(Network::new(&MACHINE)?),
        };
        let instruments = Instruments::new()?;
        let (journal, mut contents) = open_journal(setting, &instruments)?;
        let (notices, kept) = (instruments.clone(), Arc::clone(&journal));
        let registrations = Registrations::restore(clock, notices, kept, &mut contents);
        let registrations = Arc::new(registrations);
        let outputs = Outputs {
            store: Arc::default(),
            counters: Arc::new(Counters::new(instruments.clone(), Arc::clone(&journal))),
            journal,
            registrations: Arc::clone(&registrations),
        };
        let (control, orders) = Control::new();
        let mut exporter = Self {
            clock,
            machine,
            ways: Ways(Box::new(way)),
            metrics: Arc::new(Metrics::new(instruments.clone())),
            instruments,
            outputs,
            contents,
            accounts: Accounts::default(),
            fleet: Fleet::default(),
            suspended: BTreeMap::new(),
            filed: BTreeMap::new(),
            registrations,
            registering: Arc::default(),
            control,
            orders,
        };
        let prepared = exporter.prepare(config.clone())?;
        exporter.put_in_place(prepared);
        let Self { outputs, contents, .. } = &mut exporter;
        outputs.journal.note(sweep(contents, clock.now()));
        Ok(exporter)
    }

    /// What the servers of this exporter serve, with the metrics at `metrics_path`.
    pub fn app(
        &self,
        metrics_path: &str,
        web: Web,
        lifecycle: Lifecycle,
        stopping: CancellationToken,
    ) -> Arc<App> {
        Arc::new(App {
            store: Arc::clone(&self.outputs.store),
            metrics: Arc::clone(&self.metrics),
            counts: Arc::clone(&self.outputs.counters),
            clock: self.clock,
            metrics_path: metrics_path.to_owned(),
            registering: Arc::clone(&self.registering),
            web: Arc::new(web),
            lifecycle,
            stopping,
        })
    }

    /// What gives this exporter another configuration while it runs.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// The sources, in the order of the configuration, for whoever asks them something else than a
    /// poll does.
    pub fn into_sources(self) -> Vec<Source> {
        self.fleet.into_pollers().map(Poller::into_source).collect()
    }

    /// Polls every source once, all at the same time, and returns what they look like.
    pub async fn poll_once(self) -> Vec<Arc<Snapshot>> {
        let mut polls = JoinSet::new();
        for poller in self.fleet.into_pollers() {
            polls.spawn(async move { poller.poll_once().await });
        }
        polls.join_all().await;
        self.outputs.store.snapshots()
    }

    /// Polls, and serves `app` on `listeners`, until `shutdown`; then finishes the requests under
    /// way. A part that panics ends the whole: restarted beats silently stale.
    pub async fn run(
        self,
        listeners: Vec<TcpListener>,
        app: Arc<App>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let (store, metrics) = (Arc::clone(&self.outputs.store), Arc::clone(&self.metrics));
        let mut parts = JoinSet::new();
        parts.spawn(publish(store, metrics, shutdown.clone()));
        parts.spawn(Arc::clone(&app.web).keep_up(shutdown.clone()));
        parts.spawn(serve(listeners, app, shutdown.clone()));
        self.work(parts, shutdown).await
    }

    /// Polls until `shutdown`, and leaves it to the caller to look into the store.
    pub async fn poll(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.work(JoinSet::new(), shutdown).await
    }

    /// Polls, counts, keeps registrations and takes orders, until `shutdown` and until the other
    /// `parts` have ended too.
    async fn work(
        mut self,
        mut parts: JoinSet<()>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        parts.spawn(Arc::clone(&self.outputs.counters).run(shutdown.clone()));
        parts.spawn(Arc::clone(&self.outputs.journal).run(shutdown.clone()));
        let store = Arc::clone(&self.outputs.store);
        parts.spawn(Arc::clone(&self.registrations).run(store, shutdown.clone()));
        self.fleet.begin(&shutdown);
        loop {
            let ended = tokio::select! {
                biased;
                Some(ended) = parts.join_next() => ended,
                Some(ended) = self.fleet.ended() => ended,
                Some(order) = self.orders.recv(), if !shutdown.is_cancelled() => {
                    let outcome = self.take_over(order.config).await?;
                    // Whoever asked may have gone.
                    let _ = order.answer.send(outcome.map(|plan| plan.to_string()));
                    continue;
                }
                else => return Ok(()),
            };
            ended.context("a part of the exporter has died")?;
            anyhow::ensure!(shutdown.is_cancelled(), "a part of the exporter has stopped");
        }
    }

    /// Goes on with another configuration, whole or not at all: the inner error says why not. The
    /// outer one ends the exporter.
    async fn take_over(
        &mut self,
        config: Result<Config, ConfigError>,
    ) -> anyhow::Result<anyhow::Result<Plan>> {
        let prepared = match config.map_err(Into::into).and_then(|config| self.prepare(config)) {
            Ok(prepared) => prepared,
            Err(refusal) => {
                self.instruments.config_refused();
                return Ok(Err(refusal));
            }
        };
        let plan = prepared.plan.clone();
        if let Err(reason) = self.recall(plan.sources(Step::Start)).await {
            self.instruments.config_refused();
            return Ok(Err(reason));
        }
        self.outputs.store.expect_others();
        let leaving: BTreeSet<&str> =
            plan.sources(Step::Change).chain(plan.sources(Step::Stop)).collect();
        for poller in self.fleet.stop(&leaving).await? {
            let name = poller.name().to_owned();
            let suspended = poller.suspend();
            let gone = plan.step(&name) == Some(Step::Stop);
            self.suspended.insert(name, if gone { suspended.withdrawn() } else { suspended });
        }
        // A poll that was abandoned may have entered what is in the journal only now.
        let durable = self.outputs.journal.flush().await;
        self.put_in_place(prepared);
        self.forget_gone(durable);
        Ok(Ok(plan))
    }

    /// Reads again what the journal alone knows of these sources.
    async fn recall(&mut self, sources: impl Iterator<Item = &str>) -> anyhow::Result<()> {
        for source in sources {
            if self.filed.contains_key(source) {
                let contents = self.outputs.journal.load(source).await.map_err(anyhow::Error::msg);
                self.contents.absorb(contents.with_context(|| format!("source {source}"))?);
                self.filed.remove(source);
            }
        }
        Ok(())
    }

    /// Frees what is known of sources that have been gone for long, and of the longest gone where
    /// there are many: what the journal has, which is all of it if it is `durable`, comes back with
    /// them.
    fn forget_gone(&mut self, durable: bool) {
        let suspended = self.suspended.iter();
        let mut gone: Vec<(Instant, String)> = suspended
            .filter_map(|(name, suspended)| Some((suspended.gone_since()?, name.clone())))
            .collect();
        gone.sort();
        let has_folder = self.outputs.journal.has_folder();
        let too_many = gone.len().saturating_sub(MOST_GONE);
        for (index, (since, source)) in gone.into_iter().enumerate() {
            let is_too_many = index < too_many && (durable || !has_folder);
            if is_too_many || since.elapsed() >= MEMORY {
                self.suspended.remove(&source);
                self.outputs.counters.forget(&source);
                if has_folder {
                    self.filed.insert(source, since);
                }
            }
        }
        self.filed.retain(|_, since| since.elapsed() < MEMORY);
        self.accounts.forget_idle();
    }

    /// Does all that can fail, and changes nothing.
    fn prepare(&mut self, mut config: Config) -> anyhow::Result<Prepared> {
        for source in &mut config.sources {
            self.accounts.share(source);
        }
        let watched = self.fleet.members().values().map(|member| &member.config);
        let plan = Plan::new(watched, &config.sources);
        let mut ways = HashMap::new();
        for source in &config.sources {
            // A source that goes on keeps the authorities that it has, but the file is wrong.
            if let (Some(file), Some(Err(problem))) = (&source.ca_file, &source.ca_content) {
                anyhow::bail!("source {}: ca_file {}: {problem}", source.name, file.display());
            }
            if plan.step(&source.name) != Some(Step::Keep) {
                let way = (self.ways.0)(source);
                let way = way.with_context(|| format!("source {}", source.name))?;
                ways.insert(source.name.clone(), way);
            }
        }
        Ok(Prepared { config, plan, ways })
    }

    /// Has every source do what the plan says; those that change or go have been stopped.
    fn put_in_place(&mut self, prepared: Prepared) {
        let Prepared { config, plan: _, mut ways } = prepared;
        let mut registrable = BTreeMap::new();
        for source in config.sources {
            let (name, api) = (source.name.clone(), source.api);
            if let Some(way) = ways.remove(&name) {
                self.start(source, way);
            } else if let Some(member) = self.fleet.member(&name) {
                // Without such a file the tasks are what they were.
                if let Some(tasks_file) = &member.tasks_file {
                    tasks_file.hand_over(&source);
                }
                member.config = source;
            }
            if let Some(member) = self.fleet.member(&name) {
                registrable
                    .insert(name, Registrable { api, watchlist: Arc::clone(&member.watchlist) });
            }
        }
        self.open_registration(config.registration.as_ref(), registrable);
        self.instruments.config_loaded(self.clock.now());
    }

    /// Adds a source, which goes on from what is known of it.
    fn start(&mut self, source: SourceConfig, transport: Arc<dyn Transport>) {
        let Self { clock, outputs, contents, instruments, .. } = self;
        let account = self.accounts.enter(&source, *clock, &outputs.journal, contents);
        let caller = Caller {
            info: Arc::new(info(&source)),
            api: source.api,
            target: source.target.clone(),
            credentials: Arc::clone(&source.credentials),
            account,
            guards: self.accounts.guards(),
            transport,
            machine: Arc::clone(&self.machine),
            timeout: source.poll.timeout,
            instruments: instruments.clone(),
            clock: *clock,
            vendor_clock: Arc::new(VendorClock::new(&source.name, *clock)),
            tally: Tally::default(),
            is_aside: false,
            basis: None,
        };
        let watchlist = Arc::new(Watchlist::new(source.all_tasks().cloned()));
        let (list, notices) = (Arc::clone(&watchlist), instruments.clone());
        let tasks_file = TasksFile::of(&source, list, notices, *clock);
        let (pace, retention, random) = (pace(&source), retention(&source), fastrand::Rng::new());
        let suspended = self.suspended.remove(&source.name);
        let subject = subject(&caller, retention);
        let is_another = match &suspended {
            Some(suspended) => suspended.is_another(&subject),
            None => knows_another(contents, &subject),
        };
        if is_another {
            self.registrations.forget_source(&source.name);
        }
        let connected = connected(&source, caller, Arc::clone(&watchlist));
        let poller = match suspended {
            Some(suspended) => suspended.resume(connected, pace, retention, random),
            None => Poller::new(connected, pace, retention, outputs.clone(), contents, random),
        };
        self.fleet.add(source, watchlist, poller, tasks_file);
    }

    fn open_registration(
        &self,
        config: Option<&RegistrationConfig>,
        sources: BTreeMap<String, Registrable>,
    ) {
        let limits = config.map(|it| Limits { tasks: it.max_tasks, ttl: it.ttl });
        self.registrations.open(sources, limits);
        let before = self.registering.load_full();
        self.registering.store(config.map(|config| match before {
            // Who has shown wrong tokens is remembered.
            Some(before) if before.token.file() == config.token_file => before,
            Some(_) | None => Arc::new(Registering {
                registrations: Arc::clone(&self.registrations),
                token: Token::new(config.token_file.clone()),
            }),
        }));
    }
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

fn info(source: &SourceConfig) -> SourceInfo {
    SourceInfo {
        name: source.name.clone(),
        cloud: source.api.facts.cloud.as_str(),
        api: source.api.facts.name,
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

fn retention(config: &SourceConfig) -> Retention {
    Retention {
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
        ca_content: config.ca_content.clone(),
        direct: host == "localhost" || address.is_ok_and(|address| address.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use dbtask_clouds::transport::Sending;

    use super::*;
    use crate::platform::environment::Environment;

    #[derive(Debug)]
    struct Nobody;

    impl Transport for Nobody {
        fn send(&self, _: http::Request<bytes::Bytes>) -> Sending<'_> {
            // No answer to anything, and no trouble that is asked again soon.
            Box::pin(async { Ok(http::Response::new("{}".into())) })
        }
    }

    /// Sources of these names, each with credentials of its own.
    fn config(names: &[&str]) -> Config {
        let poll = "poll: {interval: 1d, idle_interval: 1d, stale_after: 3d}\n";
        let (mut keys, mut sources) = (format!("{poll}credentials:\n"), "sources:\n".to_owned());
        for name in names {
            writeln!(keys, "  - {{name: {name}, cloud: tencent, secret_id: A, secret_key: one}}")
                .unwrap();
            writeln!(
                sources,
                "  - {{name: {name}, api: tencent_cdb, region: ap-guangzhou, credentials: {name}}}"
            )
            .unwrap();
        }
        Config::parse(&(keys + &sources), "test", &Environment::default()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_came_and_went_leave_no_more_than_a_few_do() {
        for (stored, names) in [(false, 300), (true, 60)] {
            let folder = tempfile::tempdir().unwrap();
            let setting = Setting {
                clock: Clock::starting_at(
                    dbtask_clouds::model::Timestamp::from_second(1_790_000_000).unwrap(),
                ),
                storage: stored.then(|| folder.path().to_owned()),
                inline: true,
                machine: Some(Arc::new(Nobody)),
            };
            let way = |_: &SourceConfig| Ok(Arc::new(Nobody) as Arc<dyn Transport>);
            let mut exporter = Exporter::assemble(&config(&["stays"]), &setting, way).unwrap();
            exporter.fleet.begin(&CancellationToken::new());
            let entries = exporter.outputs.counters.entries();
            for n in 0..names {
                let name = format!("gone-{n}");
                for names in [&["stays", &name][..], &["stays"]] {
                    exporter.take_over(Ok(config(names))).await.unwrap().unwrap();
                }
            }
            assert_eq!(exporter.suspended.len(), MOST_GONE);
            // Its birth, and that it is withdrawn.
            assert_eq!(exporter.outputs.counters.entries(), entries + 2 * MOST_GONE);
            tokio::time::sleep(Duration::from_hours(49)).await;
            exporter.take_over(Ok(config(&["stays"]))).await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_hours(36 * 24)).await;
            exporter.take_over(Ok(config(&["stays"]))).await.unwrap().unwrap();
            assert_eq!((exporter.suspended.len(), exporter.filed.len()), (0, 0));
            assert_eq!(exporter.outputs.counters.entries(), entries);
            assert_eq!(exporter.accounts.len(), 1);
        }
    }
}
