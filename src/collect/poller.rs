//! `Poller`: keeps one source's snapshot fresh: poll, publish, wait, until told to stop.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dbtask_clouds::model::{Task, TaskState, Timestamp};
use dbtask_clouds::reason::Reason;
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::collect::budget::{Need, Slowed};
use crate::collect::client::{Caller, FetchError, tenant_of};
use crate::collect::discovery::Discovery;
use crate::collect::limits::Backoff;
use crate::collect::progress::{Progress, Step};
use crate::collect::source::{Fetched, Source};
use crate::collect::texts::{Allowance, Text, Texts};
use crate::metrics::Instruments;
use crate::platform::clock::Clock;
use crate::platform::sabotage;
use crate::platform::sabotage::Bug;
use crate::snapshot::daily_calls::Tally;
use crate::snapshot::{
    FailingDiscovery, FailingResource, Left, Snapshot, SourceInfo, Store, Tracked,
};
use crate::storage::{Batch, Contents, Journal, Table};
use crate::track::completions as ledger;
use crate::track::completions::{Clocks, Completion, Ledger};
use crate::track::counters::Counts;
use crate::track::coverage::{Coverage, Gap};
use crate::track::findings::Findings;
use crate::track::outage::{Notice, Trouble};
use crate::track::registrations::Registrations;
use crate::track::tasks::{Book, Keeping};
use crate::track::tenant::Tenant;
use crate::track::transition::Transition;

/// The longest that a first poll is put off, so that many sources do not start as one.
const LONGEST_JITTER: Duration = Duration::from_secs(5);
/// The least time between a poll and the next one that a new id on the watchlist calls for: who
/// registers a thousand in a row gets a few polls, not a thousand.
const HURRY: Duration = Duration::from_secs(5);
/// The most unknown status words that are logged for a source.
const MAX_WORDS: usize = 100;
/// How often what a poll has seen is published while it lasts, and how long it has to last.
const PARTS: Duration = Duration::from_secs(1);
/// How often a poll that takes long publishes how long.
const LONG_POLL: Duration = Duration::from_mins(1);
/// The least time between a poll that was throttled and the next, where the interval is longer.
const THROTTLED_PAUSE: Duration = Duration::from_secs(10);
/// How often error texts are published while they come one after the other.
const TEXTS_TOGETHER: Duration = Duration::from_secs(1);
/// One row a source: its [`Past`].
const PASTS: Table = Table("poll");
/// How old the last poll in the journal may be: it need not be written at every poll only to
/// say that nothing has changed.
const GRAIN: Duration = Duration::from_mins(5);

/// How often a source is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// While any task is unfinished.
    pub interval: Duration,
    /// While none is.
    pub idle_interval: Duration,
}

/// One source's loop.
#[derive(Debug)]
pub struct Poller {
    source: Source,
    ledger: Ledger,
    watch: Watch,
    texts: Texts,
    random: fastrand::Rng,
}

/// What is known of a source between polls, and where it is told.
#[derive(Debug)]
struct Watch {
    info: Arc<SourceInfo>,
    clock: Clock,
    instruments: Instruments,
    /// Whether the vendor has a word for a canceled task.
    cancels: bool,
    pace: Pace,
    keeping: Keeping,
    store: Arc<Store>,
    counts: Arc<Counts>,
    journal: Arc<Journal>,
    registrations: Arc<Registrations>,
    tenant: Tenant,
    /// Since when it has been asked; `None` once anybody has answered.
    asked_since: Option<Instant>,
    book: Book,
    coverage: Coverage,
    backoff: Backoff,
    /// How the account's budget slows the polls down; `None` while it does not.
    slowed: Option<Slowed>,
    history: History,
    /// The last poll that is in the journal.
    saved: Option<Timestamp>,
    /// When the poll under way began.
    polling_since: Option<Instant>,
    /// When anything was last published.
    published: Option<Instant>,
    /// When error texts were last published.
    texts_published: Option<Instant>,
    /// When those that have come since will be.
    texts_due: Option<Instant>,
}

/// What the journal keeps of the polls of a source.
#[derive(Debug, Serialize, Deserialize)]
struct Past {
    /// What is polled: rows of another API or region say nothing about this one.
    identity: String,
    /// Whose tasks.
    #[serde(default)]
    tenant: Tenant,
    /// The last poll, good or bad.
    polled: Timestamp,
    last_success: Option<Timestamp>,
    coverage: Coverage,
    #[serde(default)]
    calls: Tally,
}

/// Where pollers put what they find, all sources alike.
#[derive(Clone, Debug)]
pub struct Shelves {
    /// What is served.
    pub store: Arc<Store>,
    /// What is counted.
    pub counts: Arc<Counts>,
    /// What survives.
    pub journal: Arc<Journal>,
    /// What people have registered.
    pub registrations: Arc<Registrations>,
}

/// Whether an id is on the watchlist.
type Wants<'a> = dyn Fn(&str) -> bool + Sync + 'a;

/// What a poll does while the vendor throttles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// It goes on as soon as it may.
    Waits,
    /// It fails.
    None,
}

/// What a poll has seen while it goes on, published part by part.
#[derive(Debug)]
struct Parts {
    /// What has yet to be entered.
    new: BTreeMap<Arc<str>, Task>,
    /// The tasks that have been entered, and whether they had ended.
    entered: HashMap<Arc<str>, bool>,
    /// When the next part is.
    due: Instant,
}

impl Parts {
    fn new(begun: Instant) -> Self {
        Self { new: BTreeMap::new(), entered: HashMap::new(), due: begun + PARTS }
    }

    /// Adds tasks. As in a whole poll, an end is never taken back.
    fn add(&mut self, tasks: Vec<Task>) {
        for task in tasks {
            let ended = self.new.get(&task.id).is_some_and(|seen| seen.state.is_final())
                || self.entered.get(&task.id).is_some_and(|&ended| ended);
            if task.state.is_final() || !ended {
                self.new.insert(Arc::clone(&task.id), task);
            }
        }
    }

    /// The next part, to be entered now.
    fn take(&mut self) -> Vec<Task> {
        self.due = Instant::now() + PARTS;
        let tasks: Vec<Task> = std::mem::take(&mut self.new).into_values().collect();
        let ended = |task: &Task| (Arc::clone(&task.id), task.state.is_final());
        self.entered.extend(tasks.iter().map(ended));
        tasks
    }

    /// Takes what has been entered out of what the whole poll has found: it was seen then, not now.
    fn leave_out(self, findings: &mut Findings) {
        let Self { new, mut entered, .. } = self;
        entered.retain(|id, _| !new.contains_key(id));
        findings.tasks.retain(|task| !entered.contains_key(&task.id));
        findings.left_over.extend(entered.into_keys());
    }
}

/// What the last polls were like.
#[derive(Debug, Default)]
struct History {
    tried: bool,
    up: bool,
    /// Whether it was up when the poll under way began.
    was_up: bool,
    last_success: Option<Timestamp>,
    last_poll_duration: Option<Duration>,
    last_error: Option<String>,
    calls: Tally,
    budget: Option<Left>,
    credentials_expiry: Option<Timestamp>,
    missing_resources: Vec<Box<str>>,
    failing_resources: Vec<FailingResource>,
    failing_discovery: Option<FailingDiscovery>,
    next_poll: Option<Timestamp>,
    /// Why the last poll failed, if it did.
    failed: Option<Reason>,
    trouble: Trouble,
    /// Refusals of the account, in a row, that are no question of the key.
    denials: u32,
    unknown_words: HashSet<Arc<str>>,
}

impl Poller {
    /// A loop that has not begun, and goes on from what an earlier process left in `contents`.
    /// `random` decides the jitter.
    pub fn new(
        mut source: Source,
        pace: Pace,
        keeping: Keeping,
        shelves: Shelves,
        contents: &mut Contents,
        random: fastrand::Rng,
    ) -> Self {
        let caller = &source.caller;
        let info = Arc::clone(&caller.info);
        declare(caller, pace);
        // What has been served goes on, whoever's tasks come next: a counter never goes back.
        shelves.counts.restore(&info, contents);
        let past = contents.take::<Past>(PASTS, &info.name).pop().map(|(_, past)| past);
        let is_another = past.as_ref().is_some_and(|past| past.is_of_another(caller));
        if is_another {
            tracing::warn!(
                source = info.name,
                "the journal knows this source with another API, region, project or account; its \
                 tasks begin anew"
            );
            shelves.journal.note(contents.forget(&info.name));
        }
        let past = past.filter(|_| !is_another).filter(|_| !sabotage::is(Bug::OutageForgotten));
        let history = History {
            last_success: past.as_ref().and_then(|past| past.last_success),
            calls: past.as_ref().map(|past| past.calls).unwrap_or_default(),
            budget: source.caller.account.left(source.caller.clock),
            ..History::default()
        };
        let ledger = Ledger::restore(&info.name, contents, clocks(caller));
        source.learned.discovery = Discovery::restore(&info.name, contents).resume(&source.tags);
        let mut watch = Watch {
            clock: caller.clock,
            instruments: caller.instruments.clone(),
            cancels: cancels(caller),
            pace,
            keeping,
            store: shelves.store,
            counts: shelves.counts,
            journal: shelves.journal,
            registrations: shelves.registrations,
            tenant: past.as_ref().map(|past| past.tenant.clone()).unwrap_or_default(),
            asked_since: Some(Instant::now()),
            book: Book::restore(&info.name, contents),
            coverage: past.as_ref().map(|past| past.coverage.clone()).unwrap_or_default(),
            backoff: Backoff::default(),
            slowed: None,
            history,
            saved: past.map(|past| past.polled),
            polling_since: None,
            published: None,
            texts_published: None,
            texts_due: None,
            info,
        };
        source.caller.tally = watch.history.calls;
        watch.publish();
        Self { source, ledger, watch, texts: Texts::default(), random }
    }

    /// The source's name.
    pub fn name(&self) -> &str {
        &self.watch.info.name
    }

    /// What is known of the source, without the means to learn more. Leaves its share of the budget
    /// to the account's other sources.
    pub fn rest(self) -> Resting {
        self.source.caller.account.leave(self.name());
        let discovery = self.source.learned.discovery;
        Resting { ledger: self.ledger, watch: self.watch, discovery, gone_since: None }
    }

    /// Polls until `shutdown`. A poll under way is abandoned then: it only reads.
    pub async fn run(mut self, shutdown: CancellationToken) -> Self {
        let jitter = LONGEST_JITTER.min(self.watch.pace.interval).mul_f64(self.random.f64());
        let mut next_poll = Instant::now() + jitter;
        let watchlist = Arc::clone(&self.source.watchlist);
        let mut earliest = Instant::now();
        loop {
            self.ask_for_a_text();
            let next_text = self.texts.wake();
            let hurried = async {
                tokio::time::sleep_until(earliest).await;
                watchlist.changed().await;
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self,
                () = tokio::time::sleep_until(next_poll) => {}
                // Somebody who registers a task hurries neither trouble nor a scarce budget.
                () = hurried, if self.watch.may_hurry() => {}
                () = self.source.caller.keys_mended(),
                    if self.watch.history.failed == Some(Reason::Auth) => {}
                () = tokio::time::sleep_until(self.watch.next_change()) => {
                    self.watch.change().await;
                    continue;
                }
                text = self.texts.answered() => {
                    self.watch.enter_text(text);
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
            self.watch.enter_text(text);
            self.ask_for_a_text();
        }
        self.watch.change().await;
    }

    /// Begins the call for one error text, if one is missing that may be asked for now.
    fn ask_for_a_text(&mut self) {
        let Self { source, watch, texts, .. } = self;
        if source.caller.api.facts.error_by_id {
            texts.begin(&source.caller, watch.book.silent());
        }
    }

    /// One poll, published. Returns when the next is due.
    pub async fn poll(&mut self) -> Instant {
        self.poll_with(Patience::Waits).await
    }

    async fn poll_with(&mut self, patience: Patience) -> Instant {
        let begun = Instant::now();
        let Self { source, ledger, watch, texts, random } = self;
        watch.begin(begun);
        let since = watch.asked_since.unwrap_or(begun);
        let known: Vec<Tracked> = watch.book.open(watch.clock.now()).cloned().collect();
        let coverage = watch.coverage.clone();
        let (progress, mut steps) = Progress::told();
        let progress = if patience == Patience::None { Progress::default() } else { progress };
        let (mut parts, mut at) = (Parts::new(begun), clocks(&source.caller));
        let resources = source.resources.clone();
        ledger.reach(&resources, at);
        // Whose tasks the answers are, before the tasks are entered.
        let (mut asked, mut is_another) = (None, false);
        let watchlist = Arc::clone(&source.watchlist);
        let wanted = |id: &str| watchlist.contains(id);
        let mut fetched = {
            let ledger = Mutex::new(&mut *ledger);
            let settled = |id: &str| lock(&ledger).settled(id).is_some();
            let fetch = source.fetch(&known, &coverage, &settled, progress);
            tokio::pin!(fetch);
            // While the vendor keeps us waiting, what is known grows old all the same.
            loop {
                tokio::select! {
                    biased;
                    fetched = &mut fetch => break fetched,
                    Some(step) = steps.recv() => match step {
                        Step::Seen(tasks) => parts.add(tasks),
                        Step::Answered { clock_offset, tenant } => {
                            at.offset = clock_offset;
                            asked = Some(tenant);
                            watch.goes_on();
                        }
                        Step::Throttled(operation, error) => watch.waits(&(operation, error)),
                    },
                    () = tokio::time::sleep_until(parts.due), if !parts.new.is_empty() => {
                        (at.now, at.instant) = (watch.clock.now(), Instant::now());
                        if let Some(tenant) = asked.take() {
                            let ledger = &mut lock(&ledger);
                            if watch.recognize(ledger, tenant, true, at.back_to(since)) {
                                is_another = true;
                                ledger.reach(&resources, at);
                            }
                        }
                        watch.take_in_part(&ledger, parts.take(), &wanted, at).await;
                    }
                    () = tokio::time::sleep_until(watch.next_change()) => watch.change().await,
                    text = texts.answered() => watch.enter_text(text),
                }
            }
        };
        let is_done = !fetched.out_of_time;
        watch.polling_since = None;
        while let Ok(step) = steps.try_recv() {
            if let Step::Seen(tasks) = step {
                parts.add(tasks);
            }
        }
        parts.leave_out(&mut fetched.findings);
        source.caller.tally.include(texts.take_calls());
        watch.history.calls = source.caller.tally;
        watch.history.budget = source.caller.account.left(source.caller.clock);
        watch.history.credentials_expiry = source.caller.credentials.ends();
        let (tenant, at) = (tenant_of(&source.caller), clocks(&source.caller));
        if watch.recognize(ledger, tenant, fetched.answered, at.back_to(since)) {
            is_another = true;
            ledger.reach(&resources, at);
        }
        if fetched.answered {
            watch.asked_since = None;
        }
        if is_another {
            source.learned.discovery = Discovery::default().resume(&source.tags);
        }
        let mut batch = Batch::default();
        source.learned.discovery.save(&watch.info.name, &mut batch);
        watch.journal.note(batch);
        let failure = watch.take_in(ledger, fetched, &wanted, at, begun).await;
        let allowance = match failure.as_ref().map(|(_, error)| error.reason()) {
            Some(Reason::Auth | Reason::Throttled | Reason::Budget) => Allowance::Nothing,
            Some(
                Reason::Timeout
                | Reason::Network
                | Reason::Server
                | Reason::Client
                | Reason::Decode
                | Reason::Clock,
            )
            | None => Allowance::after(is_done, source.caller.account.spare(watch.clock)),
        };
        texts.allow(allowance, watch.book.silent());
        watch.slowed = source.caller.pace(Need {
            interval: watch.interval(),
            unfinished: watch.book.any_unfinished(),
            good: failure.is_none(),
        });
        let due = watch.next_poll(begun, failure.as_ref(), &source.caller, random);
        let next = watch.when_affordable(due, begun, random);
        watch.schedule(next);
        watch.log_poll(begun, next, failure.is_none());
        next
    }
}

/// What is known of a source that is not polled at present.
#[derive(Debug)]
pub struct Resting {
    ledger: Ledger,
    watch: Watch,
    discovery: Discovery,
    /// Since when it is not watched any more; `None` if it is about to go on.
    gone_since: Option<Instant>,
}

impl Resting {
    /// The source is not watched any more: nothing of it is served until it comes back, and then
    /// as after a restart.
    #[must_use]
    pub fn withdrawn(mut self) -> Self {
        let History { last_success, calls, .. } = self.watch.history;
        self.watch.history = History { last_success, calls, ..History::default() };
        self.watch.counts.withdraw(&self.watch.info.name);
        self.watch.store.remove(&self.watch.info.name);
        self.gone_since = Some(Instant::now());
        self
    }

    /// Since when the source is not watched any more; `None` if it is about to go on.
    pub fn gone_since(&self) -> Option<Instant> {
        self.gone_since
    }

    /// Whether `caller` asks for another source of the same name: the tasks of one say nothing about
    /// those of the other.
    pub fn is_another(&self, caller: &Caller) -> bool {
        identity(&self.watch.info) != identity(&caller.info)
            || self.watch.tenant.is_another(&tenant_of(caller), false)
    }

    /// A loop that has not begun, and goes on from here in another way. If it polls something else,
    /// only the counters go on.
    pub fn resume(
        self,
        mut source: Source,
        pace: Pace,
        keeping: Keeping,
        random: fastrand::Rng,
    ) -> Poller {
        let is_another = self.is_another(&source.caller);
        let Self { mut ledger, mut watch, discovery, .. } = self;
        if !is_another {
            source.learned.discovery = discovery.resume(&source.tags);
        }
        let caller = &source.caller;
        let info = Arc::clone(&caller.info);
        declare(caller, pace);
        if is_another {
            tracing::warn!(
                source = info.name,
                "this source now has another API, region, project or account; its tasks begin anew"
            );
            watch.begin_anew(&mut ledger, clocks(caller));
            watch.history = History::default();
        }
        if sabotage::is(Bug::BaselineOnReload) {
            ledger = Ledger::new(clocks(caller));
        }
        watch.asked_since = Some(Instant::now());
        watch.cancels = cancels(caller);
        (watch.info, watch.pace, watch.keeping) = (info, pace, keeping);
        (watch.backoff, watch.slowed) = (Backoff::default(), None);
        watch.history.denials = 0;
        watch.history.next_poll = None;
        watch.history.budget = caller.account.left(caller.clock);
        source.caller.tally = watch.history.calls;
        watch.counts.declare_source(&watch.info);
        watch.counts.bring_back(&watch.info.name);
        watch.publish();
        Poller { source, ledger, watch, texts: Texts::default(), random }
    }
}

/// Makes everything that is counted of a source exist, and lets it share its account's budget.
fn declare(caller: &Caller, pace: Pace) {
    let operations: Vec<&str> = caller.api.facts.operations.iter().map(|each| each.name).collect();
    caller.instruments.declare_source(&caller.info, &operations);
    caller.join_budget(pace.idle_interval);
}

/// What time it is.
fn clocks(caller: &Caller) -> Clocks {
    let offset = caller.vendor_clock.known_offset();
    Clocks { now: caller.clock.now(), offset, instant: Instant::now() }
}

/// Whether the vendor has a word for a canceled task.
fn cancels(caller: &Caller) -> bool {
    caller.api.facts.statuses.iter().any(|&(_, state)| state == TaskState::Canceled)
}

/// Whether `contents` knows another source by the name of the one that `caller` asks for.
pub fn knows_another(contents: &Contents, caller: &Caller) -> bool {
    let past = contents.peek::<Past>(PASTS, &caller.info.name);
    past.is_some_and(|past| past.is_of_another(caller))
}

/// Takes out of `contents` what it holds of sources that are polled no more and have not been for
/// so long that nothing of it matters any more; returns the batch that removes it.
pub fn sweep(contents: &mut Contents, now: Timestamp) -> Batch {
    let mut batch = Batch::default();
    for source in contents.sources(PASTS) {
        let past = contents.peek::<Past>(PASTS, &source);
        if past.is_none_or(|past| now.since(past.polled) >= ledger::MEMORY) {
            tracing::info!(source, "the journal forgets a source that is long gone");
            batch.extend(contents.forget(&source));
        }
    }
    batch
}

/// What makes a source another one: the same tasks have the same.
fn identity(info: &SourceInfo) -> String {
    format!("{}/{}", info.api, info.region)
}

impl Past {
    /// Whether it is certainly not of the source that `caller` asks for.
    fn is_of_another(&self, caller: &Caller) -> bool {
        self.identity != identity(&caller.info) || self.tenant.is_another(&tenant_of(caller), false)
    }
}

impl Watch {
    /// Looks whose tasks a poll found, before they are entered; `answered` says that the vendor has
    /// answered a question of it. Returns whether they are another one's, which are watched from `at`
    /// on.
    fn recognize(
        &mut self,
        ledger: &mut Ledger,
        tenant: Tenant,
        answered: bool,
        at: Clocks,
    ) -> bool {
        let is_another = self.tenant.is_another(&tenant, answered);
        if is_another {
            tracing::warn!(
                source = self.info.name,
                "this source now has another project or account; its tasks begin anew"
            );
            self.begin_anew(ledger, at);
            self.history.last_success = None;
            self.registrations.forget_source(&self.info.name);
        }
        if answered && tenant != self.tenant {
            self.tenant.learn(tenant);
            self.saved = None;
        }
        is_another
    }

    /// Forgets every task: what is known is another source's. Counters go on.
    fn begin_anew(&mut self, ledger: &mut Ledger, at: Clocks) {
        let mut batch = Batch::default();
        ledger.forget(&self.info.name, &mut batch);
        self.book.forget(&self.info.name, &mut batch);
        self.journal.note(batch);
        *ledger = Ledger::new(at);
        self.coverage = Coverage::default();
        self.tenant = Tenant::default();
        self.saved = None;
    }

    /// Enters what a poll found into ledger, book and counters, and into the journal before anybody
    /// sees it.
    async fn take_in(
        &mut self,
        ledger: &mut Ledger,
        mut fetched: Fetched,
        wanted: &Wants<'_>,
        at: Clocks,
        begun: Instant,
    ) -> Option<(&'static str, FetchError)> {
        let now = at.now;
        let failure = fetched.failure.take();
        let was_in_gap = self.coverage.is_in_gap();
        let were_behind = self.coverage.are_behind().map(Into::into).collect::<Vec<Box<str>>>();
        let gap = fetched.covers.take().and_then(|covers| self.coverage.add(covers));
        let gap = gap.filter(|_| !sabotage::is(Bug::GapNotDeclared));
        let is_other = !self.coverage.are_behind().eq(were_behind.iter().map(|id| &**id));
        if was_in_gap || gap.is_some() || is_other {
            // After a restart it must neither be found again nor go on.
            self.saved = None;
        }
        if let Some(gap) = gap.filter(|gap| !gap.goes_on) {
            self.log_gap(&gap);
        }
        let read_all = fetched.failing.is_empty() && !fetched.out_of_time;
        let complete =
            failure.is_none() && ledger.may_watch(read_all, self.keeping.stale_after, at);
        self.history.missing_resources = std::mem::take(&mut fetched.missing);
        self.history.failing_resources = std::mem::take(&mut fetched.failing);
        self.history.failing_discovery = fetched.failing_discovery.take();
        let completions = self.enter(ledger, fetched.findings, complete, wanted, at);
        self.log_trouble(failure.as_ref());
        let reason = failure.as_ref().map(|(_, error)| error.reason());
        self.instruments.poll_finished(&self.info.name, reason);
        let history = &mut self.history;
        history.tried = failure.is_none() || !sabotage::is(Bug::TriedIfGood);
        history.up = failure.is_none();
        history.failed = reason;
        history.last_poll_duration = Some(begun.elapsed());
        if history.up {
            history.last_success = Some(now);
        }
        history.last_error =
            failure.as_ref().map(|(operation, error)| format!("{operation}: {error}"));
        let mut batch = Batch::default();
        ledger.save(&self.info.name, &mut batch);
        self.count(&completions, gap, now, batch);
        self.flush().await;
        failure
    }

    /// Enters what a poll has seen so far, which goes on, and publishes it.
    async fn take_in_part(
        &mut self,
        ledger: &Mutex<&mut Ledger>,
        tasks: Vec<Task>,
        wanted: &Wants<'_>,
        at: Clocks,
    ) {
        let part = Findings { tasks, ..Findings::default() };
        let mut batch = Batch::default();
        let completions = {
            let mut ledger = lock(ledger);
            let completions = self.enter(&mut ledger, part, false, wanted, at);
            ledger.save(&self.info.name, &mut batch);
            completions
        };
        self.count(&completions, None, at.now, batch);
        self.flush().await;
        self.publish();
    }

    /// Enters tasks into ledger and book. Returns the ends that are to be counted.
    fn enter(
        &mut self,
        ledger: &mut Ledger,
        findings: Findings,
        complete: bool,
        wanted: &Wants<'_>,
        at: Clocks,
    ) -> Vec<Completion> {
        self.log_words(&findings.tasks);
        for task in &findings.tasks {
            self.counts.declare_kind(&self.info, &task.kind, self.cancels);
        }
        let was_watching = ledger.is_watching();
        let completions = ledger.enter(&findings.tasks, complete, wanted, at);
        let transitions = self.book.enter(findings, ledger, &self.keeping, at.now);
        self.log_transitions(&transitions, &completions, was_watching);
        completions
    }

    fn count(
        &mut self,
        completions: &[Completion],
        gap: Option<Gap>,
        now: Timestamp,
        mut batch: Batch,
    ) {
        self.save(now, &mut batch);
        self.counts.enter(&self.info, completions, gap, self.cancels, now, batch);
    }

    async fn flush(&self) {
        if !sabotage::is(Bug::NoFlushBeforePublish) {
            self.journal.flush().await;
        }
    }

    /// A poll begins.
    fn begin(&mut self, begun: Instant) {
        self.polling_since = Some(begun);
        self.history.was_up = self.history.up;
    }

    /// The poll under way is throttled again and again. For whoever looks it has failed, though it
    /// goes on.
    fn waits(&mut self, failure: &(&'static str, FetchError)) {
        self.log_trouble(Some(failure));
        let (operation, error) = failure;
        self.instruments.poll_finished(&self.info.name, Some(error.reason()));
        self.history.tried = true;
        self.history.up = false;
        self.history.failed = Some(error.reason());
        self.history.last_error = Some(format!("{operation}: {error}"));
        self.publish();
    }

    /// The poll under way is answered again: the source is what it was before.
    fn goes_on(&mut self) {
        if self.history.failed == Some(Reason::Throttled) {
            self.history.up = self.history.was_up;
            self.history.failed = None;
            self.history.last_error = None;
            self.publish();
        }
    }

    /// Puts what the polls have changed since the last time into `batch`.
    fn save(&mut self, now: Timestamp, batch: &mut Batch) {
        self.book.save(&self.info.name, batch);
        let old = |saved: Timestamp| now.since(saved) >= GRAIN || saved > now;
        if self.saved.is_none_or(old) || !batch.is_empty() {
            let past = Past {
                identity: identity(&self.info),
                tenant: self.tenant.clone(),
                polled: now,
                last_success: self.history.last_success,
                coverage: self.coverage.clone(),
                calls: self.history.calls,
            };
            batch.put(PASTS, &self.info.name, "", &past);
            self.saved = Some(now);
        }
    }

    /// When the next poll is due, after one that began at `begun` and ended so.
    fn next_poll(
        &mut self,
        begun: Instant,
        failure: Option<&(&'static str, FetchError)>,
        caller: &Caller,
        random: &mut fastrand::Rng,
    ) -> Instant {
        let interval = self.interval();
        let Some((operation, error)) = failure else {
            self.backoff.reset();
            self.history.denials = 0;
            let seldom = if sabotage::is(Bug::PolledSeldom) { 10 } else { 1 };
            return (begun + interval * seldom).max(Instant::now());
        };
        match error.reason() {
            // The rate that is learned from it is slow enough; for sessions none is learned.
            Reason::Throttled if !matches!(error, FetchError::Credentials(_)) => {
                let known =
                    caller.api.facts.operations.iter().find(|known| known.name == *operation);
                let wait = known.map_or(Duration::ZERO, |known| caller.account.wait(known));
                Instant::now() + wait.max(interval.min(THROTTLED_PAUSE))
            }
            Reason::Throttled | Reason::Server | Reason::Network | Reason::Timeout => {
                if sabotage::is(Bug::NoBackoff) {
                    self.backoff.reset();
                }
                let asked = error.retry_after();
                Instant::now() + self.backoff.after_failure(interval, asked, random)
            }
            // What a person has to mend is asked for ever more rarely, but the vendor's answer is
            // looked at four times an hour.
            Reason::Auth => {
                self.history.denials = self.history.denials.saturating_add(1);
                let slower = interval.saturating_mul(1 << self.history.denials.min(16));
                let slower = Instant::now() + slower.min(Duration::from_mins(15));
                error.guarded_until().unwrap_or(slower)
            }
            Reason::Client | Reason::Decode | Reason::Budget | Reason::Clock => {
                (begun + interval).max(Instant::now())
            }
        }
    }

    /// Whether the next poll may come before its time. What the vendor calls a wrong question may be
    /// put right by another id: without any, a source that has no list has nothing to ask.
    fn may_hurry(&self) -> bool {
        let may = self.history.up || self.history.failed == Some(Reason::Client);
        may && self.slowed.is_none()
    }

    /// The poll that is `due`, put off as the budget demands.
    fn when_affordable(&self, due: Instant, begun: Instant, random: &mut fastrand::Rng) -> Instant {
        let Some(slowed) = self.slowed else { return due };
        due.max(match slowed.until {
            None => begun + slowed.interval,
            // Else all sources of the account would poll as one.
            Some(until) => until + self.interval().min(Backoff::LONGEST).mul_f64(random.f64()),
        })
    }

    /// The interval without regard to the budget.
    fn interval(&self) -> Duration {
        if self.book.any_unfinished() { self.pace.interval } else { self.pace.idle_interval }
    }

    /// How far apart polls begin: a poll that takes longer than that is followed by the next at once.
    fn interval_in_force(&self) -> Duration {
        let wanted = self.slowed.map_or(self.interval(), |slowed| slowed.interval);
        let under_way = self.polling_since.map(|since| since.elapsed());
        [self.history.last_poll_duration, under_way].into_iter().flatten().fold(wanted, Ord::max)
    }

    /// When the tasks change by age alone, or error texts that have come are to be shown.
    fn next_change(&self) -> Instant {
        let now = self.clock.now();
        let change = match self.book.next_change(&self.keeping) {
            Some(change) => Instant::now() + change.since(now).max(Duration::from_secs(1)),
            None => Instant::now() + Duration::from_hours(1),
        };
        // The interval in force grows with a poll that takes long.
        let longer = self.polling_since.and(self.published).map(|last| last + LONG_POLL);
        [self.texts_due, longer].into_iter().flatten().fold(change, Ord::min)
    }

    /// Enters an error text that has come, to be shown at once, or with those that follow it.
    fn enter_text(&mut self, text: Option<Text>) {
        let Some(Text { id, error }) = text else { return };
        if let Some(task) = self.book.explain(&id, error) {
            let error = task.error.as_deref();
            tracing::info!(
                source = self.info.name,
                task_id = &*task.id,
                kind = &*task.kind,
                resource_id = &*task.resource.id,
                error_code = error.map(|error| &*error.code),
                error_message = error.map(|error| &*error.message),
                "task error"
            );
        }
        let now = Instant::now();
        let due = self.texts_published.map_or(now, |last| now.max(last + TEXTS_TOGETHER));
        self.texts_due.get_or_insert(due);
    }

    fn schedule(&mut self, next: Instant) {
        let wait = next.saturating_duration_since(Instant::now());
        self.history.next_poll = Some(self.clock.now() + wait);
        self.publish();
    }

    /// Shows what has changed without a poll.
    async fn change(&mut self) {
        if self.texts_due.take().is_some() {
            self.texts_published = Some(Instant::now());
            let mut batch = Batch::default();
            self.book.save(&self.info.name, &mut batch);
            self.journal.note(batch);
            self.journal.flush().await;
        }
        self.publish();
    }

    fn publish(&mut self) {
        self.published = Some(Instant::now());
        let now = self.clock.now();
        // By a clock that has been set back since, it was later than it can have been.
        if !sabotage::is(Bug::FutureShown) {
            self.history.last_success = self.history.last_success.map(|time| time.min(now));
        }
        self.book.age(&self.keeping, now);
        let shown = self.book.show(&self.keeping);
        self.store.publish(Snapshot {
            source: Arc::clone(&self.info),
            tried: self.history.tried,
            up: self.history.up,
            last_success: self.history.last_success,
            last_poll_duration: self.history.last_poll_duration,
            poll_interval: self.interval_in_force(),
            next_poll: self.history.next_poll,
            last_error: self.history.last_error.clone(),
            last_error_reason: self.history.failed.map(Reason::as_str),
            calls: self.history.calls,
            budget: self.history.budget,
            credentials_expiry: self.history.credentials_expiry,
            missing_resources: self.history.missing_resources.clone(),
            failing_resources: self.history.failing_resources.clone(),
            failing_discovery: self.history.failing_discovery.clone(),
            tasks: shown.tasks,
            hidden: shown.hidden,
            states: shown.states,
        });
    }

    fn log_poll(&self, begun: Instant, next: Instant, good: bool) {
        tracing::trace!(
            source = self.info.name,
            good,
            tasks = self.book.tasks().count(),
            duration_seconds = begun.elapsed().as_secs_f64(),
            next_in_seconds = next.saturating_duration_since(Instant::now()).as_secs_f64(),
            "poll"
        );
    }

    /// One line for each status word that is not documented.
    fn log_words(&mut self, tasks: &[Task]) {
        let words = &mut self.history.unknown_words;
        for task in tasks.iter().filter(|task| task.state == TaskState::Unknown) {
            if words.len() < MAX_WORDS && words.insert(Arc::clone(&task.vendor_status)) {
                tracing::warn!(
                    source = self.info.name,
                    task_id = &*task.id,
                    vendor_status = &*task.vendor_status,
                    "the vendor uses a status word that is not documented"
                );
            }
        }
    }

    /// One line for each task that has come to another state; `docs/logs.md` promises its fields.
    /// What was there before we were is no news, whether it goes on or has ended.
    fn log_transitions(
        &mut self,
        transitions: &[Transition],
        completions: &[Completion],
        was_watching: bool,
    ) {
        let counted: HashMap<&str, Option<Duration>> = completions
            .iter()
            .map(|completion| (&*completion.task.id, completion.duration))
            .collect();
        for Transition { task, from, lost } in transitions {
            let duration = counted.get(&*task.id);
            let is_news = if task.state.is_final() && from.is_none_or(|from| from == task.state) {
                duration.is_some()
            } else {
                from.is_some() || was_watching
            };
            if !is_news {
                continue;
            }
            let error = task.error.as_deref();
            // Two call sites, for a level cannot vary.
            macro_rules! line {
                ($level:ident, $message:literal) => {
                    tracing::$level!(
                        source = self.info.name,
                        task_id = &*task.id,
                        kind = &*task.kind,
                        resource_id = &*task.resource.id,
                        from = from.map(TaskState::as_str),
                        to = task.state.as_str(),
                        duration_seconds = duration.copied().flatten().map(|it| it.as_secs()),
                        error_code = error.map(|error| &*error.code),
                        error_message = error.map(|error| &*error.message),
                        $message
                    )
                };
            }
            if *lost {
                line!(warn, "this task is out of sight, and its end has not been seen");
            } else {
                line!(info, "task");
                if task.state == TaskState::Failed && error.is_none() {
                    self.book.owe_text(&task.id);
                }
            }
        }
    }

    /// One line for each gap, however long it goes on.
    fn log_gap(&self, gap: &Gap) {
        tracing::warn!(
            source = self.info.name,
            from = %gap.from,
            to = %gap.to,
            seconds = gap.duration().as_secs(),
            "tasks may have come and gone unseen: the list does not reach back to the last poll"
        );
    }

    /// One line when trouble begins or turns into another, one when it is over.
    fn log_trouble(&mut self, failure: Option<&(&'static str, FetchError)>) {
        let info = &self.info;
        let reason = failure.map(|(_, error)| error.reason());
        match (self.history.trouble.poll(reason, Instant::now()), failure) {
            (Some(Notice::Over { lasted, failures }), _) => tracing::info!(
                source = info.name,
                failures,
                lasted_seconds = lasted.as_secs(),
                "polls succeed again"
            ),
            (Some(Notice::Fails), Some((operation, error))) => tracing::warn!(
                source = info.name,
                api = info.api,
                region = info.region,
                account = info.account,
                operation,
                reason = error.reason().as_str(),
                "polls fail: {error}"
            ),
            (Some(Notice::Fails) | None, _) => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in this file panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
