//! Plays a world in virtual time: the whole exporter over the simulated clouds, on one thread.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::api::TaskApi;
use dbtask_clouds::cloud::{Cloud, Credentials};
use dbtask_clouds::model::{Resource, Timestamp};
use dbtask_clouds::refusal::RefusalKind;
use dbtask_clouds::transport::{Sending, Transport, TransportError};
use dbtask_exporter::config::control::{Control, NotTaken};
use dbtask_exporter::config::{Config, RegistrationConfig};
use dbtask_exporter::credentials::{Configured, Origin, Provider, Secret};
use dbtask_exporter::exporter::{Exporter, Setting};
use dbtask_exporter::metrics::{Encoding, Exposition, Format, Instruments, Metrics};
use dbtask_exporter::platform::clock::Clock;
use dbtask_exporter::platform::environment::Environment;
use dbtask_exporter::platform::sabotage;
use dbtask_exporter::server::{App, Lifecycle, Web};
use dbtask_exporter::storage::Journal;
use dbtask_exporter::track::registrations::Kept;
use dbtask_simulator::SimulatedCloud;
use http::{HeaderMap, Request};
use secrecy::ExposeSecret as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::judge::{self, Answer, Judge, Tally, Violation};
use crate::world::{Change, DAY, Down, Event, How, Proof, Registration, Watched, World};

/// How a world went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) violation: Option<Violation>,
    /// The same for the same history.
    pub(crate) digest: u64,
    pub(crate) tally: Tally,
}

/// Plays a world to its end, or to the first broken promise.
pub(crate) fn play(world: &World) -> Outcome {
    fastrand::seed(world.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without a driver");
    let folder = tempfile::Builder::new()
        .prefix("dbtask-simulate-")
        .tempdir_in(if PathBuf::from("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" })
        .expect("a folder for the journal");
    let outcome = runtime.block_on(Stage::new(world, folder.path().to_owned()).play());
    sabotage::disarm();
    outcome
}

/// All that is there while a world is played.
struct Stage {
    world: World,
    start: Instant,
    cloud: Arc<SimulatedCloud>,
    setting: Setting,
    /// As the operator has it now.
    config: Config,
    present: Vec<bool>,
    narrow: Vec<bool>,
    moved: Vec<bool>,
    judge: Arc<Mutex<Judge>>,
    process: Option<Process>,
    /// Whether the process will end itself at some operation of the journal.
    armed: bool,
    /// How far our clock is ahead.
    ahead: &'static AtomicI64,
    /// For the journal and for keys.
    folder: PathBuf,
}

/// A running exporter.
struct Process {
    app: Arc<App>,
    control: Control,
    running: JoinHandle<anyhow::Result<()>>,
    looking: JoinHandle<()>,
    shutdown: CancellationToken,
}

/// What is to be done at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    /// Look at everything that is served.
    Step,
    /// The process comes back.
    Start,
    /// It ends: an index of the world's events.
    Down(usize),
    /// A task is registered, or that is taken back: an index of the world's events.
    Register(usize, bool),
    /// A scraper comes: an index of the world's events.
    Scrape(usize),
    /// The disk of the journal is in trouble, or no longer: an index of the world's events.
    Disk(usize, bool),
    /// Another configuration: an index of the world's events.
    Reload(usize),
    /// Our clock is set, or set right again: an index of the world's events.
    Leap(usize, bool),
    /// The file with a key holds a wrong one, or the right one again: an index of the world's events.
    WrongKey(usize, bool),
}

impl Stage {
    fn new(world: &World, folder: PathBuf) -> Self {
        let epoch = Timestamp::from_second(1_790_000_000).expect("a good time");
        let start = Instant::now();
        let clock = Clock::starting_at(epoch);
        let cloud =
            SimulatedCloud::new(&world.scenario(), move || clock.now()).expect("a good scenario");
        let text = cloud.configuration("http://127.0.0.1:1");
        let mut config =
            Config::parse(&text, "simulated", &Environment::default()).expect("a good file");
        for (source, plan) in config.sources.iter_mut().zip(&world.sources) {
            source.poll.interval = seconds(plan.interval);
            source.poll.idle_interval = seconds(plan.idle_interval);
            source.poll.lookback = seconds(plan.lookback);
            source.poll.stale_after = seconds(plan.stale_after);
            source.retention.finished = seconds(plan.finished);
            source.retention.failed = seconds(plan.failed);
            source.limits.tasks_per_source = plan.limit;
            source.daily_budget = plan.daily_budget;
        }
        let registers = world.events.iter().any(|event| matches!(event, Event::Register(_)));
        config.registration = registers.then(|| RegistrationConfig {
            token_file: folder.join("token"),
            max_tasks: 1000,
            ttl: seconds(7 * DAY),
        });
        let storage = world.has_journal.then(|| folder.clone());
        let mut in_files: BTreeMap<PathBuf, Arc<Provider>> = BTreeMap::new();
        for (source, plan) in config.sources.iter_mut().zip(&world.sources) {
            if plan.proof == Proof::File {
                let file = key_file(&folder, plan);
                let known = in_files.entry(file.clone());
                let keys = cloud.credentials(&plan.name).expect("an account");
                source.credentials =
                    Arc::clone(known.or_insert_with(|| Arc::new(in_file(plan, &keys, file))));
            }
        }
        let ahead: &AtomicI64 = Box::leak(Box::default());
        let clock = clock.ahead_by(ahead);
        Self {
            start,
            cloud: Arc::new(cloud),
            // Else every life would read all root certificates of this machine.
            setting: Setting { clock, storage, inline: true, machine: Some(Arc::new(Nobody)) },
            config,
            present: vec![true; world.sources.len()],
            narrow: vec![false; world.sources.len()],
            moved: vec![false; world.sources.len()],
            judge: Arc::new(Mutex::new(Judge::new(world, epoch))),
            process: None,
            armed: false,
            ahead,
            folder,
            world: world.clone(),
        }
    }

    async fn play(mut self) -> Outcome {
        for (source, plan) in self.world.sources.iter().enumerate() {
            if plan.proof == Proof::File {
                self.write_key(source, false);
            }
        }
        let mut agenda = self.agenda();
        let end = self.world.length * 1000;
        while let Some(Reverse((at, act))) = agenda.pop() {
            if at > end {
                break;
            }
            sleep_until(self.start + millis(at)).await;
            self.revive(&mut agenda, at);
            match act {
                Act::Start => self.start_process().await,
                // What is lost with a process that dies while nothing can be written is no secret.
                Act::Down(_) if !self.writes() => agenda.push(Reverse((at + 60_000, act))),
                Act::Disk(index, breaks) => {
                    self.disk(breaks);
                    if let (true, Some(Event::Disk(trouble))) =
                        (breaks, self.world.events.get(index))
                    {
                        let mends = at + trouble.lasts * 1000;
                        agenda.push(Reverse((mends, Act::Disk(index, false))));
                    }
                }
                Act::Down(index) => {
                    if let Some(Event::Down(down)) = self.world.events.get(index).cloned() {
                        let back = self.end_process(&down).await;
                        agenda.push(Reverse((back, Act::Start)));
                    }
                }
                Act::Reload(index) => {
                    if let Some(Event::Reload(reload)) = self.world.events.get(index) {
                        self.reload(reload.change).await;
                    }
                }
                Act::Leap(index, begins) => {
                    if let Some(Event::Leap(leap)) = self.world.events.get(index) {
                        let (by, back) = (leap.by, at + leap.lasts * 1000);
                        self.leap(if begins { by } else { 0 });
                        if begins {
                            agenda.push(Reverse((back, Act::Leap(index, false))));
                        }
                    }
                }
                Act::WrongKey(index, is) => {
                    if let Some(&Event::WrongKey(wrong)) = self.world.events.get(index) {
                        self.write_key(wrong.source, is);
                        if is {
                            let back = at + wrong.lasts * 1000;
                            agenda.push(Reverse((back, Act::WrongKey(index, false))));
                        }
                    }
                }
                Act::Scrape(index) => {
                    if let Some(Event::Scraper(scraper)) = self.world.events.get(index) {
                        let (client, until) = (scraper.client, scraper.until);
                        let next = at + scraper.every * 1000;
                        self.scrape(client);
                        if next < until * 1000 {
                            agenda.push(Reverse((next, Act::Scrape(index))));
                        }
                    }
                }
                Act::Register(index, is) => {
                    if !self.register(index, is).await {
                        agenda.push(Reverse((at + 60_000, act)));
                    }
                }
                Act::Step => {
                    self.step(at);
                    agenda.push(Reverse((at + self.step_length(), Act::Step)));
                }
            }
            if self.lock().verdict.is_some() {
                break;
            }
        }
        self.finish().await
    }

    fn agenda(&self) -> BinaryHeap<Reverse<(i64, Act)>> {
        let mut agenda = BinaryHeap::from([Reverse((1, Act::Start)), Reverse((30_500, Act::Step))]);
        for (index, event) in self.world.events.iter().enumerate() {
            // Never at the second at which something else happens.
            let at = event.at() * 1000 + 337 + i64::try_from(index % 500).unwrap_or(0);
            match event {
                Event::Scraper(_) => agenda.push(Reverse((at, Act::Scrape(index)))),
                Event::Disk(_) => agenda.push(Reverse((at, Act::Disk(index, true)))),
                Event::Down(_) => agenda.push(Reverse((at, Act::Down(index)))),
                Event::Register(registration) => {
                    agenda.push(Reverse((at, Act::Register(index, true))));
                    if let Some(forgotten) = registration.forgotten {
                        agenda.push(Reverse((forgotten * 1000 + 411, Act::Register(index, false))));
                    }
                }
                Event::Reload(_) => agenda.push(Reverse((at, Act::Reload(index)))),
                Event::Leap(_) => agenda.push(Reverse((at, Act::Leap(index, true)))),
                Event::WrongKey(wrong) => {
                    let at = if wrong.at == 0 { 0 } else { at };
                    agenda.push(Reverse((at, Act::WrongKey(index, true))));
                }
                Event::Task(..) | Event::Fault(..) => {}
            }
        }
        agenda
    }

    /// Registers a task or takes that back. Returns whether it is done; an operator whose call fails
    /// tries again.
    async fn register(&self, index: usize, is: bool) -> bool {
        let (Some(process), Some(Event::Register(registration))) =
            (&self.process, self.world.events.get(index).cloned())
        else {
            return false;
        };
        let Some(registering) = process.app.registering.load_full() else { return true };
        let registrations = Arc::clone(&registering.registrations);
        if !is {
            // From now on nobody knows whether it is asked for.
            self.lock().registered(registration.source, &registration.id, false);
        }
        let source = self.world.name(registration.source).to_owned();
        let (n, id) = (registration.source, registration.id.clone());
        // On a task of its own, as a server does: the process may die of it.
        let call = tokio::spawn(async move {
            let Registration { id, resource, .. } = registration;
            if is {
                let registered = registrations.register(&source, &id, Some(&resource)).await;
                registered.is_ok_and(|registered| registered.kept == Kept::Durably)
            } else {
                registrations.forget(&source, &id).await.is_ok_and(|kept| kept == Kept::Durably)
            }
        });
        let Ok(done) = call.await else {
            process.running.abort();
            return false;
        };
        if done && is {
            self.lock().registered(n, &id, true);
        }
        done
    }

    /// Puts the right or a wrong key into the file of an account.
    fn write_key(&self, source: usize, is_wrong: bool) {
        let key = match self.cloud.credentials(&self.world.sources[source].name) {
            Some(Credentials::Keys(keys)) if !is_wrong => keys.secret_access_key,
            _ => "another-key".into(),
        };
        let file = key_file(&self.folder, &self.world.sources[source]);
        std::fs::write(file, key.expose_secret()).expect("a file for the key");
        self.lock().key_changed(source);
    }

    /// Sets our clock.
    fn leap(&mut self, ahead: i64) {
        self.ahead.store(ahead, Ordering::Relaxed);
        self.lock().leaps(ahead);
    }

    /// Takes the journal's file away under a running process, or puts it back.
    fn disk(&self, breaks: bool) {
        let Some(folder) = self.setting.storage.as_ref().filter(|_| self.process.is_some()) else {
            return;
        };
        let (here, away) = (folder.join("journal.db"), folder.join("away"));
        if breaks && !self.armed && !away.exists() {
            std::fs::rename(here, away).expect("the journal's file");
            self.lock().disk_breaks();
        } else if !breaks && away.exists() {
            std::fs::rename(away, here).expect("the journal's file");
        }
    }

    /// Whether all that had to be written could be.
    fn writes(&self) -> bool {
        let away = self.setting.storage.as_ref().is_some_and(|folder| folder.join("away").exists());
        let Some(process) = self.process.as_ref().filter(|_| !away) else { return !away };
        !served(&process.app.metrics).contains(judge::WRITE_FAILED)
    }

    fn step_length(&self) -> i64 {
        if self.world.days == 1 { 60_000 } else { 600_000 }
    }

    fn lock(&self) -> MutexGuard<'_, Judge> {
        let mut judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        judge.at(elapsed(self.start));
        judge
    }

    async fn start_process(&mut self) {
        if self.process.is_some() {
            return;
        }
        // Whatever the last one had open is closed when its parts are dropped.
        tokio::time::sleep(Duration::from_millis(1)).await;
        sabotage::disarm();
        self.armed = false;
        if let Some(folder) = &self.setting.storage {
            let instruments = Instruments::new().expect("good names");
            let (_, mut contents) = Journal::open(folder, instruments).expect("nobody has it");
            self.lock().left(&mut contents);
        }
        let (config, watched) = self.configured();
        let accounts: Vec<String> =
            self.config.sources.iter().map(|source| source.account.clone()).collect();
        let names: Vec<String> =
            (0..self.world.sources.len()).map(|n| self.world.name(n).to_owned()).collect();
        let (cloud, judge, start) = (Arc::clone(&self.cloud), Arc::clone(&self.judge), self.start);
        let exporter = Exporter::assemble(&config, &self.setting, move |source| {
            let mut known = names.iter().zip(&accounts);
            let meant = known.position(|known| known == (&source.name, &source.account));
            Ok(Arc::new(Wire {
                source: meant.unwrap_or(0),
                cloud: Arc::clone(&cloud),
                api: source.api,
                start,
                judge: Arc::clone(&judge),
            }) as _)
        });
        let exporter = exporter.expect("an exporter that starts");
        let shutdown = CancellationToken::new();
        let app = exporter.app("/metrics", Web::default(), Lifecycle::default(), shutdown.clone());
        let control = exporter.control();
        self.lock().started(&watched);
        let (store, judge, start) = (Arc::clone(&app.store), Arc::clone(&self.judge), self.start);
        let looking = tokio::spawn(async move {
            let mut changes = store.watch();
            changes.mark_changed();
            while changes.changed().await.is_ok() {
                let snapshots = store.snapshots();
                let mut judge = judge.lock().unwrap_or_else(PoisonError::into_inner);
                judge.at(elapsed(start)).look(&snapshots, false);
            }
        });
        let running = tokio::spawn(exporter.poll(shutdown.clone()));
        self.process = Some(Process { app, control, running, looking, shutdown });
    }

    /// The configuration as the operator has it now, and what is watched then: resources and
    /// interval of each source.
    fn configured(&self) -> (Config, Vec<judge::Watched>) {
        let mut sources = Vec::new();
        let mut watched = vec![None; self.world.sources.len()];
        for (n, plan) in self.world.sources.iter().enumerate() {
            if plan.stands_in.is_some() || !self.present[n] {
                continue;
            }
            let at = self.world.stand_in(n).filter(|_| self.moved[n]).unwrap_or(n);
            let mut source = self.config.sources[at].clone();
            source.name.clone_from(&plan.name);
            source.poll = self.config.sources[n].poll;
            let resources: Vec<String> = plan
                .resources
                .iter()
                .take(if self.narrow[n] { 1 } else { usize::MAX })
                .cloned()
                .collect();
            if self.narrow[n] || !plan.takes_all {
                let resource = |id: &String| Arc::new(Resource::new(id.as_str()));
                source.resources = resources.iter().map(resource).collect();
            }
            let interval = i64::try_from(source.poll.interval.as_secs()).unwrap_or(0);
            watched[at] = Some((resources, interval));
            sources.push(source);
        }
        let config = Config { sources, ..self.config.clone() };
        (config, watched)
    }

    /// Gives the running process what the operator has changed, or something broken.
    async fn reload(&mut self, change: Option<Change>) {
        self.change(change);
        let (config, watched) = self.configured();
        let Some(process) = &self.process else { return };
        if process.running.is_finished() {
            return;
        }
        self.read(process, None);
        let control = process.control.clone();
        if change.is_none() {
            let broken = Config::parse("sources: 7", "broken", &Environment::default());
            let refused = control.take_over(broken).await;
            assert!(matches!(refused, Err(NotTaken::Refused(_) | NotTaken::Stopping)));
        } else if control.take_over(Ok(config)).await.is_ok() {
            self.lock().reloaded(&watched);
        }
    }

    /// Ends the process, and returns when it comes back, in milliseconds.
    async fn end_process(&mut self, down: &Down) -> i64 {
        self.change(down.change);
        let back = elapsed(self.start) + down.lasts * 1000 + 2;
        if let How::KilledAtJournal(points) = down.how
            && self.setting.storage.is_some()
        {
            // It ends itself, and is back when it has.
            sabotage::arm(points);
            self.armed = true;
            return i64::MAX;
        }
        let Some(process) = self.process.take() else { return back };
        self.read(&process, None);
        if down.how == How::Stopped {
            process.shutdown.cancel();
            let _ = process.running.await;
        } else {
            process.running.abort();
            let _ = process.running.await;
        }
        process.looking.abort();
        self.lock().ended(true);
        back
    }

    /// Starts a process again that has died by itself.
    fn revive(&mut self, agenda: &mut BinaryHeap<Reverse<(i64, Act)>>, at: i64) {
        if self.process.as_ref().is_some_and(|process| process.running.is_finished())
            && let Some(process) = self.process.take()
        {
            process.looking.abort();
            self.lock().ended(false);
            // At once, in a minute, or in the middle of an hour, as the instant has it.
            let later = [2, 60_000, 1_800_000][usize::try_from(at / 1000 % 3).unwrap_or(0)];
            agenda.push(Reverse((at + later, Act::Start)));
        }
    }

    fn change(&mut self, change: Option<Change>) {
        match change {
            Some(Change::Interval(n, interval)) => {
                let poll = &mut self.config.sources[n].poll;
                poll.interval = seconds(interval);
                poll.idle_interval = poll.idle_interval.max(poll.interval);
                poll.stale_after =
                    seconds(self.world.sources[n].stale_after).max(poll.interval * 3);
            }
            Some(Change::Toggle(n)) => self.present[n] = !self.present[n],
            Some(Change::Narrow(n)) => self.narrow[n] = !self.narrow[n],
            Some(Change::Move(n)) => self.moved[n] = true,
            None => {}
        }
    }

    fn scrape(&mut self, client: u8) {
        let Some(process) = &self.process else { return };
        process.app.counts.scraped(IpAddr::V4(Ipv4Addr::new(10, 0, 0, client)));
        self.lock().scraped(client);
        if self.lock().is_hot() {
            self.read(process, Some(client));
        }
    }

    fn step(&mut self, at: i64) {
        let Some(process) = &self.process else { return };
        let snapshots = process.app.store.snapshots();
        self.lock().look(&snapshots, true);
        let awaited = process.app.store.awaited();
        self.lock().ready(awaited);
        if at / 1000 % 900 < 60 || self.world.days > 1 && at / 1000 % 7200 < 600 {
            self.read(process, None);
        }
    }

    /// Reads what is served; a scraper gets what was published, and the judge the newest.
    fn read(&self, process: &Process, client: Option<u8>) {
        let metrics = &process.app.metrics;
        if client.is_none() {
            let previous = metrics.exposition();
            self.lock().look(&process.app.store.snapshots(), false);
            metrics.replace(Exposition::new(process.app.store.snapshots(), Some(&previous)));
        }
        self.lock().read(&served(metrics), client);
    }

    async fn finish(mut self) -> Outcome {
        sabotage::disarm();
        if let Some(process) = self.process.take() {
            if self.lock().verdict.is_none() {
                self.read(&process, None);
            }
            process.running.abort();
            let _ = process.running.await;
            process.looking.abort();
        }
        let epoch = 1_790_000_000;
        let mut really: Vec<(String, String, i64)> = self
            .cloud
            .failures()
            .into_iter()
            .map(|it| (it.source, it.task_id.to_string(), it.at.as_second() - epoch))
            .collect();
        really.sort();
        let mut judge = self.lock();
        assert_eq!(judge.failures(), really, "the judge and the clouds tell of the same failures");
        judge.sum_up();
        for (handled, count) in self.cloud.requests() {
            if dbtask_simulator::FaultKind::ALL.iter().any(|it| it.as_str() == handled.outcome) {
                *judge.tally.faults.entry(handled.outcome).or_default() += count;
            }
        }
        Outcome {
            violation: judge.verdict.take(),
            digest: judge.digest,
            tally: std::mem::take(&mut judge.tally),
        }
    }
}

/// The file with the secret key of a source's account.
fn key_file(folder: &Path, plan: &Watched) -> PathBuf {
    folder.join(format!("{}-{}.key", plan.api.facts.cloud, plan.account))
}

/// The keys of an account, the secret one in a file.
fn in_file(plan: &Watched, keys: &Credentials, file: PathBuf) -> Provider {
    let Credentials::Keys(keys) = keys else { panic!("{} has no keys", plan.name) };
    let secret = |origin| Secret { key: "key".to_owned(), origin };
    let id = secret(Origin::Inline(keys.access_key_id.as_str().into()));
    let keys = Configured::Keys { id, secret: secret(Origin::File(file)), token: None };
    Provider::configured(plan.api.facts.cloud, keys, Environment::default())
}

/// What a scraper gets.
fn served(metrics: &Metrics) -> String {
    let mut text = Vec::new();
    for bytes in metrics.scrape(Format::Text, Encoding::Identity).body {
        text.extend_from_slice(&bytes);
    }
    String::from_utf8(text).expect("UTF-8")
}

/// A machine without services that hand out keys.
#[derive(Debug)]
struct Nobody;

impl Transport for Nobody {
    fn send(&self, _: Request<Bytes>) -> Sending<'_> {
        Box::pin(async { Err(TransportError::Timeout) })
    }
}

/// A source's way to its cloud, in the judge's sight.
struct Wire {
    source: usize,
    api: &'static TaskApi,
    cloud: Arc<SimulatedCloud>,
    start: Instant,
    judge: Arc<Mutex<Judge>>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Wire {
    fn judge(&self) -> MutexGuard<'_, Judge> {
        let mut judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
        judge.at(elapsed(self.start));
        judge
    }
}

impl Transport for Wire {
    fn send(&self, request: Request<Bytes>) -> Sending<'_> {
        Box::pin(async move {
            let operation = operation(self.api, &request).to_owned();
            self.judge().sent(self.source, &operation);
            let mut under_way = UnderWay { wire: self, operation: operation.clone(), over: false };
            tokio::time::sleep(Duration::from_millis(fastrand::u64(10..400))).await;
            let answer = self.cloud.send(request).await;
            under_way.over = true;
            let seen = match &answer {
                Err(TransportError::Body(_)) => Answer::Refused(RefusalKind::Client),
                Err(
                    TransportError::Network(_) | TransportError::Stale(_) | TransportError::Timeout,
                ) => Answer::None,
                Ok(response) => match self.api.facts.cloud.refusal(response) {
                    Some(refusal) => Answer::Refused(refusal.kind),
                    None => Answer::Good,
                },
            };
            self.judge().answered(self.source, &operation, seen);
            answer
        })
    }
}

/// A request whose answer has not come.
struct UnderWay<'a> {
    wire: &'a Wire,
    operation: String,
    over: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.wire.judge().abandoned(self.wire.source, &self.operation);
        }
    }
}

fn operation<'a>(api: &TaskApi, request: &'a Request<Bytes>) -> &'a str {
    match api.facts.cloud {
        Cloud::Alibaba => header_text(request.headers(), "x-acs-action"),
        Cloud::Tencent => header_text(request.headers(), "x-tc-action"),
        Cloud::Huawei => {
            let (method, path) = (request.method(), request.uri().path());
            let mut known = api.facts.operations.iter();
            let found = known.find(|operation| operation.call.is(method, path));
            found.map_or(path, |operation| operation.name)
        }
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn elapsed(start: Instant) -> i64 {
    i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX)
}

fn millis(count: i64) -> Duration {
    Duration::from_millis(count.unsigned_abs())
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(count.unsigned_abs())
}
