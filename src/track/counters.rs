//! `Counters`: what is counted of ended tasks and of coverage gaps: once each, across restarts, and
//! served at their old value before they are served at a new one.
//!
//! Prometheus sees an increase only between two samples: a series that appears at 1 has, to
//! `increase()`, never moved. So a new series is shown at 0 at once, and what is to be added to it
//! waits until everybody who scrapes has had time to see that 0. The same after every start: what
//! an earlier process has shown is shown again, before what happened meanwhile is added. Delayed,
//! never lost.
//!
//! For each series the journal holds what is known and what has been shown. Both are durable before
//! anybody sees them, so a counter never goes back, however the process ends.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dbtask_clouds::model::{TaskState, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::scrapes::{Scraper, Scrapes};
use crate::metrics::{Amount, Instruments};
use crate::platform::sabotage;
use crate::platform::sabotage::Bug;
use crate::snapshot::SourceInfo;
use crate::storage::{Batch, Contents, Journal, Table};
use crate::track::completions::Completion;
use crate::track::coverage::Gap;

/// One row a series: a [`Count`].
const COUNTS: Table = Table("count");
/// One row a kind of task: whether its vendor has cancellations.
const KINDS: Table = Table("kind");
/// One row a source: when a task last failed.
const LAST_FAILURES: Table = Table("last_failure");

/// How long it takes at most until a count is shown that may be.
const STEP: Duration = Duration::from_secs(1);

/// Counts what happened, for all sources.
#[derive(Debug)]
pub struct Counters {
    instruments: Instruments,
    journal: Arc<Journal>,
    scrapes: Scrapes,
    state: Mutex<State>,
    entered: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// When the series of a source and a kind's label began to exist in this process; `None` for
    /// those without such a label. A kind may well be empty.
    born: HashMap<(String, Option<String>), Instant>,
    counts: BTreeMap<(String, Series), Count>,
    /// Sources whose series are not served at present.
    withdrawn: HashSet<String>,
    last_failures: HashMap<String, Timestamp>,
}

/// What is counted of a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Series {
    /// Tasks that ended.
    Ended { kind: String, outcome: TaskState },
    /// How long they took.
    Took { outcome: TaskState },
    /// Times of which no answer will ever tell.
    Gaps,
}

/// A counter in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Count {
    series: Series,
    known: Amount,
    /// No more than is known; what the metrics say, or are about to say.
    shown: Amount,
}

impl Counters {
    /// Counters that nobody has seen yet.
    pub fn new(instruments: Instruments, journal: Arc<Journal>) -> Self {
        Self {
            instruments,
            journal,
            scrapes: Scrapes::default(),
            state: Mutex::default(),
            entered: Notify::new(),
        }
    }

    /// Shows what an earlier process has shown of a source.
    pub fn restore(&self, source: &SourceInfo, contents: &mut Contents) {
        let name = &*source.name;
        self.declare_source(source);
        for (kind, cancels) in contents.take(KINDS, name) {
            self.declare_kind(source, &kind, cancels);
        }
        for (_, time) in contents.take::<Timestamp>(LAST_FAILURES, name) {
            self.instruments.task_failed_at(name, time);
            self.lock().last_failures.insert(name.to_owned(), time);
        }
        for (_, count) in contents.take::<Count>(COUNTS, name) {
            if sabotage::is(Bug::CountsForgotten) {
                continue;
            }
            self.show(name, &count.series, &Amount::default(), &count.shown);
            self.lock().counts.insert((name.to_owned(), count.series.clone()), count);
        }
        self.entered.notify_one();
    }

    /// Notes that the series of a source that have no kind exist from now on, at 0.
    pub fn declare_source(&self, source: &SourceInfo) {
        let key = (source.name.clone(), None);
        self.lock().born.entry(key).or_insert_with(Instant::now);
    }

    /// Makes the series of a kind of task exist, at 0, if they do not yet; `cancels` where the
    /// vendor has that state. Returns their label.
    pub fn declare_kind(&self, source: &SourceInfo, kind: &str, cancels: bool) -> String {
        let label = self.instruments.declare_kind(&source.name, kind, cancels);
        let key = (source.name.clone(), Some(label.clone()));
        let mut state = self.lock();
        if let Entry::Vacant(unborn) = state.born.entry(key) {
            unborn.insert(Instant::now());
            let mut batch = Batch::default();
            batch.put(KINDS, &source.name, &label, &cancels);
            self.journal.note(batch);
        }
        label
    }

    /// The source is not watched any more: its series vanish, and what is to be added to them waits
    /// until they are back.
    pub fn withdraw(&self, source: &str) {
        self.lock().withdrawn.insert(source.to_owned());
        self.instruments.source_withdrawn(source);
    }

    /// The source is watched again: its series appear as they vanished.
    pub fn bring_back(&self, source: &str) {
        let mut state = self.lock();
        if !state.withdrawn.remove(source) {
            return;
        }
        let of_it = state.born.iter_mut().filter(|((name, _), _)| name == source);
        of_it.for_each(|(_, born)| *born = Instant::now());
        drop(state);
        self.instruments.source_is_back(source);
        self.entered.notify_one();
    }

    /// The source is gone, and nothing of it is of use any more, or the journal has it.
    pub fn forget(&self, source: &str) {
        let mut state = self.lock();
        let State { born, counts, withdrawn, last_failures } = &mut *state;
        born.retain(|(name, _), _| name != source);
        counts.retain(|(name, _), _| name != source);
        withdrawn.remove(source);
        last_failures.remove(source);
        drop(state);
        self.instruments.source_forgotten(source);
    }

    /// A scraper is about to be served.
    pub fn scraped(&self, scraper: impl Into<Scraper>) {
        self.scrapes.record(scraper, Instant::now());
    }

    /// Who has been served, and when.
    pub fn scrapes(&self) -> &Scrapes {
        &self.scrapes
    }

    /// Counts what a poll found: the tasks that ended, and the time before it of which nothing will
    /// ever be known. Notes it in the journal together with `batch`, the rest that the poll changed.
    pub fn enter(
        &self,
        source: &SourceInfo,
        completions: &[Completion],
        gap: Option<Gap>,
        cancels: bool,
        now: Timestamp,
        mut batch: Batch,
    ) {
        let mut added: Vec<(Series, Amount)> = Vec::new();
        for Completion { task, duration } in completions {
            let (kind, outcome) = (self.declare_kind(source, &task.kind, cancels), task.state);
            added.push((Series::Ended { kind, outcome }, Amount::one()));
            if let Some(duration) = duration {
                added.push((Series::Took { outcome }, Amount::duration(*duration)));
            }
        }
        if let Some(gap) = gap {
            let count = u64::from(!gap.goes_on);
            let seconds = gap.duration().as_secs_f64();
            added.push((Series::Gaps, Amount { count, seconds, ..Amount::default() }));
        }
        let failed = completions.iter().filter(|ended| ended.task.state == TaskState::Failed);
        let last_failure = failed.map(|ended| ended.task.ended.unwrap_or(now)).max();

        let name = &*source.name;
        // Held until it is noted, so that the journal gets the rows in the order of the changes.
        let mut state = self.lock();
        for (series, amount) in added {
            let count = state
                .counts
                .entry((name.to_owned(), series.clone()))
                .or_insert_with(|| Count::new(series));
            count.known.add(&amount);
            count.save(name, &mut batch);
        }
        if let Some(time) = last_failure {
            let latest = state.last_failures.entry(name.to_owned()).or_insert(time);
            *latest = time.max(*latest);
            batch.put(LAST_FAILURES, name, "", latest);
            self.instruments.task_failed_at(name, time);
        }
        self.journal.note(batch);
        drop(state);
        self.entered.notify_one();
    }

    /// Shows what may be shown, as soon as it may, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            loop {
                while self.release().await {
                    tokio::time::sleep(STEP).await;
                }
                self.entered.notified().await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Shows what everybody has had time to see the old value of. Returns whether anything waits.
    async fn release(&self) -> bool {
        let now = Instant::now();
        let mut waits = false;
        let mut due: Vec<(String, Series, Amount, Amount)> = Vec::new();
        {
            let mut state = self.lock();
            let State { born, counts, withdrawn, .. } = &mut *state;
            let mut batch = Batch::default();
            for ((source, series), count) in counts.iter_mut() {
                if count.shown == count.known || withdrawn.contains(source) {
                    continue;
                }
                let key = (source.clone(), series.kind().map(str::to_owned));
                if born.get(&key).is_some_and(|&born| !self.scrapes.served_since(born, now))
                    && !sabotage::is(Bug::ShownTooEarly)
                {
                    waits = true;
                    continue;
                }
                let before = std::mem::replace(&mut count.shown, count.known.clone());
                count.save(source, &mut batch);
                due.push((source.clone(), series.clone(), before, count.shown.clone()));
            }
            self.journal.note(batch);
        }
        if !due.is_empty() {
            // In the journal before anybody sees it. A journal in trouble holds nothing up.
            if !sabotage::is(Bug::NoFlushBeforeShow) {
                self.journal.flush().await;
            }
        }
        for (source, series, before, after) in due {
            let key = (source, series);
            // It may have been forgotten meanwhile.
            if self.lock().counts.contains_key(&key) {
                self.show(&key.0, &key.1, &before, &after);
            }
        }
        waits
    }

    fn show(&self, source: &str, series: &Series, before: &Amount, after: &Amount) {
        let more = after.count.saturating_sub(before.count);
        match series {
            Series::Ended { kind, outcome } => {
                self.instruments.tasks_ended(source, kind, *outcome, more);
            }
            Series::Took { outcome } => self.instruments.tasks_took(source, *outcome, after),
            Series::Gaps => {
                let seconds = (after.seconds - before.seconds).max(0.0);
                let lost = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                self.instruments.coverage_lost(source, more, lost);
            }
        }
    }

    /// How many entries there are of anything.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        let State { born, counts, withdrawn, last_failures } = &*self.lock();
        born.len() + counts.len() + withdrawn.len() + last_failures.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    /// The label of the kind, where there is one.
    fn kind(&self) -> Option<&str> {
        match self {
            Self::Ended { kind, .. } => Some(kind),
            Self::Took { .. } | Self::Gaps => None,
        }
    }
}

impl Count {
    fn new(series: Series) -> Self {
        Self { series, known: Amount::default(), shown: Amount::default() }
    }

    fn save(&self, source: &str, batch: &mut Batch) {
        let name = match &self.series {
            Series::Ended { kind, outcome } => format!("{}/{kind}", outcome.as_str()),
            Series::Took { outcome } => format!("took/{}", outcome.as_str()),
            Series::Gaps => "gaps".to_owned(),
        };
        batch.put(COUNTS, source, &name, self);
    }
}
