//! `Poller`: keeps one source's snapshot fresh: poll, publish, wait, until told to stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dbtask_clouds::model::TaskState;
use dbtask_clouds::reason::Reason;
use futures_util::FutureExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::collect::budget::Need;
use crate::collect::client::{Caller, tenant_of};
use crate::collect::discovery::Discovery;
use crate::collect::parts::Parts;
use crate::collect::progress::{Progress, Step};
use crate::collect::report::{History, Report};
use crate::collect::schedule::{Pace, Schedule};
use crate::collect::source::{Fetched, Source};
use crate::collect::texts::{Allowance, Text, Texts};
use crate::platform::sabotage;
use crate::platform::sabotage::Bug;
use crate::snapshot::{Store, Tracked};
use crate::storage::{Batch, Contents, Journal};
use crate::track::completions::Clocks;
use crate::track::counters::Counters;
use crate::track::registrations::Registrations;
use crate::track::tasks::Retention;
use crate::track::tenant::Tenant;
use crate::track::tracker::{Subject, Tracker};

/// The longest that a first poll is put off, so that many sources do not start as one.
const LONGEST_JITTER: Duration = Duration::from_secs(5);
/// The least time between a poll and the next one that a new id on the watchlist calls for: who
/// registers a thousand in a row gets a few polls, not a thousand.
const HURRY: Duration = Duration::from_secs(5);

/// One source's loop.
#[derive(Debug)]
pub struct Poller {
    source: Source,
    tracker: Tracker,
    report: Report,
    journal: Arc<Journal>,
    registrations: Arc<Registrations>,
    /// Since when it has been asked; `None` once anybody has answered.
    asked_since: Option<Instant>,
    texts: Texts,
    random: fastrand::Rng,
}

/// Where pollers put what they find, all sources alike.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// What is served.
    pub store: Arc<Store>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// What survives.
    pub journal: Arc<Journal>,
    /// What people have registered.
    pub registrations: Arc<Registrations>,
}

/// What a poll does while the vendor throttles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// It goes on as soon as it may.
    Waits,
    /// It fails.
    None,
}

/// Whose tasks the answers of a poll are, as far as they have told.
struct Answers {
    at: Clocks,
    /// What has not been compared yet.
    tenant: Option<Tenant>,
    is_another: bool,
}

impl Poller {
    /// A loop that has not begun, and goes on from what an earlier process left in `contents`.
    /// `random` decides the jitter.
    pub fn new(
        mut source: Source,
        pace: Pace,
        retention: Retention,
        outputs: Outputs,
        contents: &mut Contents,
        random: fastrand::Rng,
    ) -> Self {
        let caller = &source.caller;
        let info = Arc::clone(&caller.info);
        declare(caller, pace);
        let Outputs { store, counters, journal, registrations } = outputs;
        let subject = subject(caller, retention);
        let at = clocks(caller);
        let tracker = Tracker::restore(subject, counters, Arc::clone(&journal), contents, at);
        let instruments = caller.instruments.clone();
        let schedule = Schedule::new(pace);
        let mut report = Report::new(Arc::clone(&info), caller.clock, instruments, store, schedule);
        report.history.budget = caller.account.left(caller.clock);
        source.learned.discovery = Discovery::restore(&info.name, contents).resume(&source.tags);
        Self::begin(source, tracker, report, journal, registrations, random)
    }

    fn begin(
        mut source: Source,
        mut tracker: Tracker,
        mut report: Report,
        journal: Arc<Journal>,
        registrations: Arc<Registrations>,
        random: fastrand::Rng,
    ) -> Self {
        source.caller.tally = tracker.calls;
        report.publish(&mut tracker);
        let (asked_since, texts) = (Some(Instant::now()), Texts::default());
        Self { source, tracker, report, journal, registrations, asked_since, texts, random }
    }

    /// The source's name.
    pub fn name(&self) -> &str {
        &self.report.info.name
    }

    /// What is known of the source, without the means to learn more. Leaves its share of the budget
    /// to the account's other sources.
    pub fn suspend(self) -> Suspended {
        let Self { source, tracker, report, journal, registrations, .. } = self;
        source.caller.account.leave(&report.info.name);
        let discovery = source.learned.discovery;
        Suspended { tracker, report, journal, registrations, discovery, gone_since: None }
    }

    /// Polls until `shutdown`. A poll under way is abandoned then: it only reads.
    pub async fn run(mut self, shutdown: CancellationToken) -> Self {
        let pace = self.report.schedule.pace;
        let jitter = LONGEST_JITTER.min(pace.interval).mul_f64(self.random.f64());
        let mut next_poll = Instant::now() + jitter;
        let watchlist = Arc::clone(&self.source.watchlist);
        let mut earliest = Instant::now();
        loop {
            self.ask_for_a_text();
            let next_text = self.texts.wake();
            let next_change = self.report.next_change(&self.tracker);
            let hurried = async {
                tokio::time::sleep_until(earliest).await;
                watchlist.changed().await;
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self,
                () = tokio::time::sleep_until(next_poll) => {}
                // Somebody who registers a task hurries neither trouble nor a scarce budget.
                () = hurried, if self.report.may_hurry() => {}
                () = self.source.caller.keys_mended(),
                    if self.report.history.failed == Some(Reason::Auth) => {}
                () = tokio::time::sleep_until(next_change) => {
                    let tracker = Mutex::new(&mut self.tracker);
                    change(&mut self.report, &tracker, &self.journal).await;
                    continue;
                }
                text = self.texts.answered() => {
                    enter_text(&mut self.report, &mut self.tracker, text);
                    continue;
                }
                () = tokio::time::sleep_until(next_text) => continue,
            }
            // This poll answers whatever has been added until now.
            let _ = watchlist.changed().now_or_never();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self,
                next = self.poll() => next_poll = next,
            }
            earliest = Instant::now() + HURRY;
        }
    }

    /// The source alone.
    pub fn into_source(self) -> Source {
        self.source
    }

    /// One poll and the error texts that it leaves open, published.
    pub async fn poll_once(mut self) {
        self.poll_with(Patience::None).await;
        self.ask_for_a_text();
        while self.texts.is_asking() {
            let text = self.texts.answered().await;
            enter_text(&mut self.report, &mut self.tracker, text);
            self.ask_for_a_text();
        }
        change(&mut self.report, &Mutex::new(&mut self.tracker), &self.journal).await;
    }

    /// Begins the call for one error text, if one is missing that may be asked for now.
    fn ask_for_a_text(&mut self) {
        if self.source.caller.api.facts.error_by_id {
            self.texts.begin(&self.source.caller, self.tracker.silent());
        }
    }

    /// One poll, published. Returns when the next is due.
    pub async fn poll(&mut self) -> Instant {
        self.poll_with(Patience::Waits).await
    }

    async fn poll_with(&mut self, patience: Patience) -> Instant {
        let begun = Instant::now();
        self.report.begin(begun);
        let mut answers =
            Answers { at: clocks(&self.source.caller), tenant: None, is_another: false };
        self.tracker.reach(&self.source.resources, answers.at);
        let mut fetched = self.fetch(begun, patience, &mut answers).await;
        self.identify(begun, &fetched, &mut answers);
        let mut batch = Batch::default();
        self.source.learned.discovery.save(&self.report.info.name, &mut batch);
        self.journal.note(batch);
        let watchlist = Arc::clone(&self.source.watchlist);
        let wanted = |id: &str| watchlist.contains(id);
        let findings = std::mem::take(&mut fetched.findings);
        for event in self.tracker.enter(findings, &wanted, answers.at) {
            event.log(&self.report.info.name);
        }
        self.report.end(begun, &mut fetched);
        flush(&self.journal).await;
        let next = self.plan(begun, &fetched);
        self.report.schedule(next, &mut self.tracker);
        self.log_poll(begun, next, fetched.failure.is_none());
        next
    }

    /// Asks the vendor, and enters and publishes on the way what it has said so far. Returns what is
    /// left to be entered.
    async fn fetch(
        &mut self,
        begun: Instant,
        patience: Patience,
        answers: &mut Answers,
    ) -> Fetched {
        let Self { source, report, texts, journal, registrations, .. } = self;
        let since = self.asked_since.unwrap_or(begun);
        let known: Vec<Tracked> = self.tracker.open(report.clock.now()).cloned().collect();
        let coverage = self.tracker.coverage().clone();
        let (progress, mut steps) = Progress::told();
        let progress = if patience == Patience::None { Progress::default() } else { progress };
        let mut parts = Parts::new(begun);
        let resources = source.resources.clone();
        let watchlist = Arc::clone(&source.watchlist);
        let wanted = |id: &str| watchlist.contains(id);
        let tracker = Mutex::new(&mut self.tracker);
        let settled = |id: &str| lock(&tracker).settled(id).is_some();
        let mut fetched = {
            let fetch = source.fetch(&known, &coverage, &settled, progress);
            tokio::pin!(fetch);
            // While the vendor keeps us waiting, what is known grows old all the same.
            loop {
                let next_change = report.next_change(&lock(&tracker));
                tokio::select! {
                    biased;
                    fetched = &mut fetch => break fetched,
                    Some(step) = steps.recv() => match step {
                        Step::Seen(tasks) => parts.add(tasks),
                        Step::Answered { clock_offset, tenant } => {
                            answers.at.offset = clock_offset;
                            answers.tenant = Some(tenant);
                            report.goes_on(&mut lock(&tracker));
                        }
                        Step::Throttled(operation, error) => {
                            report.waits(&(operation, error), &mut lock(&tracker));
                        }
                    },
                    () = tokio::time::sleep_until(parts.due), if !parts.is_empty() => {
                        answers.at.now = report.clock.now();
                        answers.at.instant = Instant::now();
                        let events = {
                            let mut tracker = lock(&tracker);
                            if answers.recognize(&mut tracker, registrations, report, true, since) {
                                tracker.reach(&resources, answers.at);
                            }
                            tracker.enter(parts.take(), &wanted, answers.at)
                        };
                        for event in &events {
                            event.log(&report.info.name);
                        }
                        flush(journal).await;
                        report.publish(&mut lock(&tracker));
                    }
                    () = tokio::time::sleep_until(next_change) => {
                        change(report, &tracker, journal).await;
                    }
                    text = texts.answered() => enter_text(report, &mut lock(&tracker), text),
                }
            }
        };
        while let Ok(step) = steps.try_recv() {
            if let Step::Seen(tasks) = step {
                parts.add(tasks);
            }
        }
        parts.leave_out(&mut fetched.findings);
        fetched
    }

    /// Takes in what a poll tells of the account: whose tasks they are, its budget, its keys.
    fn identify(&mut self, begun: Instant, fetched: &Fetched, answers: &mut Answers) {
        let Self { source, tracker, report, registrations, texts, .. } = self;
        let caller = &mut source.caller;
        caller.tally.include(texts.take_calls());
        tracker.calls = caller.tally;
        report.history.budget = caller.account.left(caller.clock);
        report.history.credentials_expiry = caller.credentials.ends();
        answers.tenant = Some(tenant_of(caller));
        answers.at = clocks(caller);
        let since = self.asked_since.unwrap_or(begun);
        if answers.recognize(tracker, registrations, report, fetched.answered, since) {
            tracker.reach(&source.resources, answers.at);
        }
        if fetched.answered {
            self.asked_since = None;
        }
        if answers.is_another {
            source.learned.discovery = Discovery::default().resume(&source.tags);
        }
    }

    /// Decides when to poll next, and how soon error texts may be asked for.
    fn plan(&mut self, begun: Instant, fetched: &Fetched) -> Instant {
        let Self { source, tracker, report, texts, random, .. } = self;
        let failure = fetched.failure.as_ref();
        let allowance = match failure.map(|(_, error)| error.reason()) {
            Some(Reason::Auth | Reason::Throttled | Reason::Budget) => Allowance::Nothing,
            Some(
                Reason::Timeout
                | Reason::Network
                | Reason::Server
                | Reason::Client
                | Reason::Decode
                | Reason::Clock,
            )
            | None => {
                let spare = source.caller.account.spare(report.clock);
                Allowance::after(!fetched.out_of_time, spare)
            }
        };
        texts.allow(allowance, tracker.silent());
        let unfinished = tracker.any_under_way(report.clock.now());
        let schedule = &mut report.schedule;
        let interval = schedule.pace.interval(unfinished);
        schedule.slowed =
            source.caller.pace(Need { interval, unfinished, good: failure.is_none() });
        schedule.next(begun, failure, unfinished, &source.caller, random)
    }

    fn log_poll(&self, begun: Instant, next: Instant, good: bool) {
        tracing::trace!(
            source = self.report.info.name,
            good,
            tasks = self.tracker.count(),
            duration_seconds = begun.elapsed().as_secs_f64(),
            next_in_seconds = next.saturating_duration_since(Instant::now()).as_secs_f64(),
            "poll"
        );
    }
}

impl Answers {
    /// Looks whose tasks they are, if that is not known yet. Returns whether they are another
    /// tenant's, which has been asked since `since`.
    fn recognize(
        &mut self,
        tracker: &mut Tracker,
        registrations: &Registrations,
        report: &Report,
        answered: bool,
        since: Instant,
    ) -> bool {
        let Some(tenant) = self.tenant.take() else { return false };
        let is_another = tracker.recognize(tenant, answered, self.at.back_to(since));
        if is_another {
            registrations.forget_source(&report.info.name);
            self.is_another = true;
        }
        is_another
    }
}

/// What is known of a source that is not polled at present.
#[derive(Debug)]
pub struct Suspended {
    tracker: Tracker,
    report: Report,
    journal: Arc<Journal>,
    registrations: Arc<Registrations>,
    discovery: Discovery,
    /// Since when the source is not watched any more; `None` if it is about to go on.
    gone_since: Option<Instant>,
}

impl Suspended {
    /// The source is not watched any more: nothing of it is served until it comes back, and then
    /// as after a restart.
    #[must_use]
    pub fn withdrawn(mut self) -> Self {
        self.report.history = History::default();
        self.tracker.withdraw();
        self.report.store.remove(&self.report.info.name);
        self.gone_since = Some(Instant::now());
        self
    }

    /// Since when the source is not watched any more; `None` if it is about to go on.
    pub fn gone_since(&self) -> Option<Instant> {
        self.gone_since
    }

    /// Whether `caller` asks for another source of the same name: the tasks of one say nothing about
    /// those of the other.
    pub fn is_another(&self, subject: &Subject) -> bool {
        self.tracker.is_another(subject)
    }

    /// A loop that has not begun, and goes on from here in another way. If it polls something else,
    /// only the counters go on.
    pub fn resume(
        self,
        mut source: Source,
        pace: Pace,
        retention: Retention,
        random: fastrand::Rng,
    ) -> Poller {
        let Self { mut tracker, mut report, journal, registrations, discovery, .. } = self;
        let caller = &source.caller;
        declare(caller, pace);
        let subject = subject(caller, retention);
        if tracker.is_another(&subject) {
            report.history = History::default();
        } else {
            source.learned.discovery = discovery.resume(&source.tags);
        }
        tracker.resume(subject, clocks(caller));
        report.resume(Arc::clone(&caller.info), Schedule::new(pace));
        report.history.budget = caller.account.left(caller.clock);
        Poller::begin(source, tracker, report, journal, registrations, random)
    }
}

/// Makes everything that is counted of a source exist, and lets it share its account's budget.
fn declare(caller: &Caller, pace: Pace) {
    let operations: Vec<&str> = caller.api.facts.operations.iter().map(|each| each.name).collect();
    caller.instruments.declare_source(&caller.info, &operations);
    caller.join_budget(pace.idle_interval);
}

/// What a source is, as far as its configuration says.
pub fn subject(caller: &Caller, retention: Retention) -> Subject {
    let statuses = caller.api.facts.statuses;
    Subject {
        info: Arc::clone(&caller.info),
        tenant: tenant_of(caller),
        cancels: statuses.iter().any(|&(_, state)| state == TaskState::Canceled),
        retention,
    }
}

/// What time it is.
fn clocks(caller: &Caller) -> Clocks {
    let offset = caller.vendor_clock.known_offset();
    Clocks { now: caller.clock.now(), offset, instant: Instant::now() }
}

/// Shows what has changed without a poll.
async fn change(report: &mut Report, tracker: &Mutex<&mut Tracker>, journal: &Journal) {
    if report.takes_texts() {
        lock(tracker).note_texts();
        journal.flush().await;
    }
    report.publish(&mut lock(tracker));
}

/// Enters an error text that has come.
fn enter_text(report: &mut Report, tracker: &mut Tracker, text: Option<Text>) {
    let Some(Text { id, error }) = text else { return };
    if let Some(event) = tracker.explain(&id, error) {
        event.log(&report.info.name);
    }
    report.text_came();
}

/// Makes durable what a poll has found, before anybody sees it.
async fn flush(journal: &Journal) {
    if !sabotage::is(Bug::NoFlushBeforePublish) {
        journal.flush().await;
    }
}

fn lock<'a, 'b>(mutex: &'a Mutex<&'b mut Tracker>) -> MutexGuard<'a, &'b mut Tracker> {
    // Nothing in this file panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
