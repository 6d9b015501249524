//! A whole exporter in virtual time: real sources, pollers and exposition over a simulated cloud
//! that is called directly, without sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::Scope;
use dbtask_clouds::catalog;
use dbtask_clouds::cloud::{Cloud, Credentials};
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::transport::{Sending, Transport, TransportError};
use dbtask_exporter::config::control::Control;
use dbtask_exporter::config::{Config, SourceConfig};
use dbtask_exporter::credentials::guard::Guards;
use dbtask_exporter::credentials::{CredentialsError, Outside, Provider};
use dbtask_exporter::exporter::{Exporter, Setting};
use dbtask_exporter::metrics::{Encoding, Format, Metrics};
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::platform::environment::Environment;
use dbtask_exporter::platform::log;
use dbtask_exporter::platform::log::Level;
use dbtask_exporter::platform::vendor_clock::VendorClock;
use dbtask_exporter::server::{App, Lifecycle, Web};
use dbtask_exporter::snapshot::{Snapshot, Tracked};
use dbtask_exporter::track::registrations::Registrations;
use dbtask_simulator::{Fault, FaultKind, Scenario, SimulatedCloud};
use http::{Request, Response};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// An exporter and its clouds. Polls go on while the test sleeps.
pub(crate) struct Lab {
    pub(crate) cloud: Arc<SimulatedCloud>,
    setup: Setup,
    app: Arc<App>,
    pub(crate) control: Control,
    running: JoinHandle<anyhow::Result<()>>,
    shutdown: CancellationToken,
}

/// What an exporter is made of; what is left when it has died.
pub(crate) struct Setup {
    pub(crate) config: Config,
    setting: Setting,
    transport: Arc<Tampered>,
}

impl Setup {
    /// The same with a journal in `storage`.
    pub(crate) fn stored(mut self, storage: &Path) -> Self {
        self.setting.storage = Some(storage.to_owned());
        self
    }

    /// The same with an exporter whose clock is ahead of the clouds', or behind.
    pub(crate) fn ahead(mut self, seconds: i64) -> Self {
        let clock = Clock::starting_at(self.setting.clock.now().offset_by(seconds));
        self.setting.clock = clock;
        self
    }

    /// An exporter that goes on from what the last one left.
    pub(crate) fn start(self) -> Lab {
        let Self { config, setting, transport } = &self;
        let way = Arc::clone(transport);
        let exporter =
            Exporter::assemble(config, setting, move |_| Ok(Arc::clone(&way) as _)).unwrap();
        let shutdown = CancellationToken::new();
        let app = exporter.app("/metrics", Web::default(), Lifecycle::default(), shutdown.clone());
        let (cloud, control) = (Arc::clone(&self.transport.cloud), exporter.control());
        let running = tokio::spawn(exporter.run(Vec::new(), Arc::clone(&app), shutdown.clone()));
        Lab { cloud, setup: self, app, control, running, shutdown }
    }
}

impl Lab {
    /// Clouds with this scenario and an exporter with the configuration for them, changed by
    /// `adjust`. Only in a test with paused time.
    pub(crate) fn new(scenario: &str, adjust: impl FnOnce(&mut Config)) -> Self {
        Self::through(scenario, adjust, |_, _| None)
    }

    /// The same, where `tamper` may answer a request, so long after the start, in the cloud's
    /// place.
    pub(crate) fn through(
        scenario: &str,
        adjust: impl FnOnce(&mut Config),
        tamper: impl Fn(Duration, &Request<Bytes>) -> Option<Response<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self::between(scenario, adjust, tamper, |_, _| {})
    }

    /// The same, where `retouch` may change the answers, the first of which has the number 1.
    pub(crate) fn between(
        scenario: &str,
        adjust: impl FnOnce(&mut Config),
        tamper: impl Fn(Duration, &Request<Bytes>) -> Option<Response<Bytes>> + Send + Sync + 'static,
        retouch: impl Fn(u64, &mut Response<Bytes>) + Send + Sync + 'static,
    ) -> Self {
        let clock = Clock::starting_at(Timestamp::from_second(1_790_000_000).unwrap());
        let scenario = Scenario::parse(scenario).unwrap();
        let cloud = Arc::new(SimulatedCloud::new(&scenario, move || clock.now()).unwrap());
        let text = cloud.configuration("http://127.0.0.1:1");
        let mut config = Config::parse(&text, "simulated", &Environment::default()).unwrap();
        for source in &mut config.sources {
            source.poll.interval = Duration::from_secs(30);
            source.poll.idle_interval = Duration::from_mins(2);
        }
        adjust(&mut config);
        let start = Instant::now();
        let tamper = Box::new(move |request: &_| tamper(start.elapsed(), request));
        let (answers, retouch) = (AtomicU64::new(0), Box::new(retouch));
        let transport = Arc::new(Tampered { cloud, tamper, retouch, answers });
        let machine = Some(Arc::clone(&transport) as _);
        let setting = Setting { clock, machine, ..Setting::default() };
        Setup { config, setting, transport }.start()
    }

    /// As [`Lab::new`], with a journal in `storage`.
    pub(crate) async fn stored(
        scenario: &str,
        storage: &Path,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        Self::new(scenario, adjust).crash().await.stored(storage).start()
    }

    /// Kills the exporter, as SIGKILL would: what is not in the journal is lost.
    pub(crate) async fn crash(self) -> Setup {
        self.running.abort();
        let _ = self.running.await;
        drop(self.app);
        // Its parts let go of the journal when they are next looked at.
        sleep(Duration::from_millis(1)).await;
        self.setup
    }

    /// The same clouds and an exporter that has not been started.
    pub(crate) fn unstarted(scenario: &str) -> (Exporter, Arc<SimulatedCloud>) {
        let clock = Clock::starting_at(Timestamp::from_second(1_790_000_000).unwrap());
        let scenario = Scenario::parse(scenario).unwrap();
        let cloud = Arc::new(SimulatedCloud::new(&scenario, move || clock.now()).unwrap());
        let text = cloud.configuration("http://127.0.0.1:1");
        let config = Config::parse(&text, "simulated", &Environment::default()).unwrap();
        let setting = Setting { clock, machine: Some(Arc::new(Nobody)), ..Setting::default() };
        let way = Arc::clone(&cloud);
        let exporter =
            Exporter::assemble(&config, &setting, move |_| Ok(Arc::clone(&way) as _)).unwrap();
        (exporter, cloud)
    }

    /// What is registered, where that is configured.
    pub(crate) fn registrations(&self) -> Arc<Registrations> {
        Arc::clone(&self.app.registering.load_full().unwrap().registrations)
    }

    /// Reloads the configuration, changed by `adjust`; returns what that has changed.
    pub(crate) async fn reload(&mut self, adjust: impl FnOnce(&mut Config)) -> String {
        let mut config = self.setup.config.clone();
        adjust(&mut config);
        let done = self.control.take_over(Ok(config.clone())).await.unwrap();
        self.setup.config = config;
        done
    }

    /// Lets this much time pass.
    pub(crate) async fn seconds(&self, seconds: u64) {
        assert!(!self.running.is_finished(), "the exporter has stopped");
        sleep(Duration::from_secs(seconds)).await;
    }

    pub(crate) async fn minutes(&self, minutes: u64) {
        self.seconds(minutes * 60).await;
    }

    /// Switches a fault on for a source.
    pub(crate) fn inject(&self, source: &str, kind: FaultKind) {
        self.cloud.inject(source, Fault::new(kind));
    }

    /// The time by the clouds' clock.
    pub(crate) fn cloud_now(&self) -> Timestamp {
        self.setup.setting.clock.now()
    }

    /// What the source looks like now.
    pub(crate) fn snapshot(&self, source: &str) -> Arc<Snapshot> {
        let snapshots = self.app.store.snapshots();
        snapshots.into_iter().find(|snapshot| snapshot.source.name == source).unwrap()
    }

    /// A task that is shown.
    pub(crate) fn task(&self, source: &str, id: &str) -> Option<Tracked> {
        let snapshot = self.snapshot(source);
        snapshot.tasks.iter().find(|tracked| &*tracked.task.id == id).cloned()
    }

    /// The state of a task that is shown; `-` if it is not.
    pub(crate) fn state(&self, source: &str, id: &str) -> &'static str {
        self.task(source, id).map_or("-", |tracked| tracked.task.state.as_str())
    }

    /// A scrape by a client, as text.
    pub(crate) fn scrape_by(&self, client: u8) -> String {
        self.app.counts.scraped(IpAddr::V4(Ipv4Addr::new(10, 0, 0, client)));
        self.text()
    }

    /// What a scrape would show, without anybody noticing it.
    pub(crate) fn text(&self) -> String {
        text_of(&self.app.metrics)
    }

    /// The value of a series now, in a scrape that the exporter does not notice.
    pub(crate) fn value(&self, series: &str) -> Option<u64> {
        value_in(&self.text(), series)
    }

    /// How often an operation was asked for.
    pub(crate) fn calls(&self, operation: &str) -> u64 {
        let requests = self.cloud.requests();
        let of_it = requests.iter().filter(|(handled, _)| handled.operation == operation);
        of_it.map(|(_, count)| count).sum()
    }

    /// The value of every series of a metric, added up, as nobody notices.
    pub(crate) fn sum(&self, metric: &str) -> u64 {
        let text = self.text();
        let series = text.lines().filter(|line| line.starts_with(&format!("{metric}{{")));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Ends the exporter.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// What is served, as text.
pub(crate) fn text_of(metrics: &Metrics) -> String {
    let mut scrape = metrics.scrape(Format::Text, Encoding::Identity);
    let mut text = Vec::new();
    for bytes in scrape.body.by_ref() {
        text.extend_from_slice(&bytes);
    }
    String::from_utf8(text).unwrap()
}

/// The value of a series in an exposition; all that are asked for are whole.
pub(crate) fn value_in(text: &str, series: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// Region and resource, as each API wants them; where an API takes any, as it does.
pub(crate) fn place(api: &str) -> (&'static str, &'static str) {
    match api {
        "alibaba_adb" => ("cn-hangzhou", "am-1"),
        "alibaba_polardb" => ("cn-hangzhou", "pc-1"),
        "huawei_dds" => ("cn-north-4", "0123456789abcdef0123456789abcdein02"),
        "tencent_redis" => ("ap-guangzhou", "crs-1"),
        "tencent_cdb" => ("ap-guangzhou", "cdb-1"),
        api => match catalog::named(api).unwrap().facts.cloud {
            Cloud::Alibaba => ("cn-hangzhou", "db-1"),
            Cloud::Huawei => ("cn-north-4", "db-1"),
            Cloud::Tencent => ("ap-guangzhou", "db-1"),
        },
    }
}

/// The id of the task with this number, as the API's ids look.
pub(crate) fn task_id(api: &str, number: u32) -> String {
    let rule = catalog::named(api).unwrap().facts.ids;
    let fits = |id: &String| rule.is_none_or(|rule| (rule.fits)(id));
    let prefixed = ["", "dts-", "sync-", "db-"].map(|prefix| format!("{prefix}{number}"));
    prefixed
        .into_iter()
        .chain([format!("{number:032}")])
        .find(fits)
        .unwrap_or_else(|| number.to_string())
}

/// Whether tasks are found by the ids that are given, and by no list.
pub(crate) fn is_given(api: &str) -> bool {
    let client = catalog::named(api).unwrap();
    let now = Timestamp::from_second(1_790_000_000).unwrap();
    let scope = Scope { now, since: now, resources: &[], tags: &[] };
    matches!(api, "alibaba_adb" | "huawei_dws")
        || (client.list(&scope).is_empty() && !client.discovers())
}

/// A source `one` with one task `1` that lives as told.
pub(crate) fn one_task(api: &str, life: &str) -> String {
    let (region, resource) = place(api);
    let configured = is_given(api);
    let id = task_id(api, 1);
    format!(
        "
sources:
  - name: one
    api: {api}
    region: {region}
    resources: [{{id: {resource}, name: orders}}]
    tasks: [{{id: '{id}', resource: {resource}, kind: ROLLBACK, configured: {configured}, life: {life}}}]
"
    )
}

/// What is logged by this thread, from information on, while it exists.
pub(crate) struct Log {
    written: Written,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Log {
    pub(crate) fn listen() -> Self {
        Self::listen_in(log::Format::Logfmt)
    }

    /// The same in this format.
    pub(crate) fn listen_in(format: log::Format) -> Self {
        Self::to(|writer| log::subscriber(Level::Info, format, move || writer.clone()))
    }

    fn to(subscriber: impl FnOnce(Written) -> Box<dyn tracing::Subscriber + Send + Sync>) -> Self {
        // While a process has had but one subscriber, tracing asks the thread that comes first to a
        // line whether anybody wants it, and believes it for all. So there is one for every thread.
        static EVERYWHERE: Once = Once::new();
        EVERYWHERE.call_once(|| {
            let nowhere = log::subscriber(Level::Info, log::Format::Logfmt, io::sink);
            tracing::subscriber::set_global_default(nowhere).unwrap();
        });
        let written = Written::default();
        let subscriber = subscriber(written.clone());
        Self { written, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.written.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines that contain `text`.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        let written = self.text();
        written.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The sources for a scenario, with further keys in the only entry of `credentials`.
pub(crate) fn with_keys(scenario: &str, keys: &str) -> Vec<SourceConfig> {
    let clock = Clock::starting_at(Timestamp::from_second(1_790_000_000).unwrap());
    let cloud =
        SimulatedCloud::new(&Scenario::parse(scenario).unwrap(), move || clock.now()).unwrap();
    let text = cloud.configuration("http://127.0.0.1:1");
    let text = text.replacen("sources:", &format!("  {keys}\nsources:"), 1);
    Config::parse(&text, "simulated", &Environment::default()).unwrap().sources
}

/// What a provider hands out where nobody answers.
pub(crate) async fn credentials(provider: &Provider) -> Result<Arc<Credentials>, CredentialsError> {
    issued(provider, &Around::default().outside(&Nobody, &Nobody)).await
}

/// What surrounds a provider: a clock that begins at 1 790 000 000, and guards.
#[derive(Debug)]
pub(crate) struct Around {
    clock: VendorClock,
    guards: Guards,
}

impl Default for Around {
    fn default() -> Self {
        Self::by(Clock::starting_at(Timestamp::from_second(1_790_000_000).unwrap()))
    }
}

impl Around {
    pub(crate) fn by(ours: Clock) -> Self {
        Self { clock: VendorClock::new("test", ours), guards: Guards::default() }
    }

    pub(crate) fn outside<'a>(
        &'a self,
        cloud: &'a dyn Transport,
        machine: &'a dyn Transport,
    ) -> Outside<'a> {
        Outside { clock: &self.clock, guards: &self.guards, cloud, machine }
    }
}

/// What a provider hands out.
pub(crate) async fn issued(
    provider: &Provider,
    outside: &Outside<'_>,
) -> Result<Arc<Credentials>, CredentialsError> {
    let lead = provider.find().await?;
    Ok(provider.issue(&lead, outside).await?.credentials)
}

/// Nobody answers.
#[derive(Debug)]
struct Nobody;

impl Transport for Nobody {
    fn send(&self, _: Request<Bytes>) -> Sending<'_> {
        Box::pin(async { Err(TransportError::Timeout) })
    }
}

type Retouch = Box<dyn Fn(u64, &mut Response<Bytes>) + Send + Sync>;

type Tamper = Box<dyn Fn(&Request<Bytes>) -> Option<Response<Bytes>> + Send + Sync>;

/// A cloud in whose place somebody else may answer.
struct Tampered {
    cloud: Arc<SimulatedCloud>,
    tamper: Tamper,
    retouch: Retouch,
    answers: AtomicU64,
}

impl std::fmt::Debug for Tampered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tampered").finish_non_exhaustive()
    }
}

/// What a tamperer answers where there is never to be an answer.
pub(crate) fn silence() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    response.extensions_mut().insert(Silence);
    response
}

#[derive(Clone)]
struct Silence;

impl Transport for Tampered {
    fn send(&self, request: Request<Bytes>) -> Sending<'_> {
        match (self.tamper)(&request) {
            Some(answer) if answer.extensions().get::<Silence>().is_some() => Box::pin(async {
                sleep(Duration::from_secs(20)).await;
                Err(TransportError::Timeout)
            }),
            Some(answer) => Box::pin(async { Ok(answer) }),
            None => Box::pin(async {
                let mut answer = self.cloud.send(request).await?;
                let number = self.answers.fetch_add(1, Ordering::Relaxed) + 1;
                (self.retouch)(number, &mut answer);
                Ok(answer)
            }),
        }
    }
}
