//! `Tracker`: all that is remembered of one source's tasks.
//!
//! What a poll found comes in through one door, [`Tracker::enter`]. Tasks, completions, coverage and
//! counters change together there, and so do their rows: after a crash all of a poll is known or
//! none of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::model::{Resource, Task, TaskError, TaskState, Timestamp};
use serde::{Deserialize, Serialize};

use crate::platform::sabotage;
use crate::platform::sabotage::Bug;
use crate::snapshot::daily_calls::Tally;
use crate::snapshot::{SourceInfo, Tracked};
use crate::storage::{Batch, Contents, Journal, Table};
use crate::track::completions::{Clocks, Completion, Completions, MEMORY};
use crate::track::counters::Counters;
use crate::track::coverage::{Coverage, Covers, Gap};
use crate::track::events::Event;
use crate::track::findings::Findings;
use crate::track::tasks::{Retention, Shown, TaskTable};
use crate::track::tenant::Tenant;
use crate::track::transition::Transition;

/// The most unknown status words that are logged for a source.
const MAX_WORDS: usize = 100;
/// One row a source: its [`Past`].
const PASTS: Table = Table("poll");
/// How old the last poll in the journal may be: it need not be written at every poll only to
/// say that nothing has changed.
const GRAIN: Duration = Duration::from_mins(5);

/// Whether an id is on the watchlist.
pub type Wants<'a> = dyn Fn(&str) -> bool + Sync + 'a;

/// Which source it is, and how its tasks are kept.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its labels.
    pub info: Arc<SourceInfo>,
    /// Whose tasks it shows, as far as the configuration says.
    pub tenant: Tenant,
    /// Whether the vendor has a word for a canceled task.
    pub cancels: bool,
    /// How long tasks are kept.
    pub retention: Retention,
}

/// What is known of one source between polls.
#[derive(Debug)]
pub struct Tracker {
    info: Arc<SourceInfo>,
    cancels: bool,
    retention: Retention,
    tenant: Tenant,
    counters: Arc<Counters>,
    journal: Arc<Journal>,
    completions: Completions,
    tasks: TaskTable,
    coverage: Coverage,
    last_success: Option<Timestamp>,
    /// Calls of today.
    pub calls: Tally,
    /// The last poll that is in the journal.
    saved: Option<Timestamp>,
    unknown_words: HashSet<Arc<str>>,
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

impl Past {
    /// Whether it is certainly of another source than `subject`.
    fn is_of_another(&self, subject: &Subject) -> bool {
        self.identity != identity(&subject.info) || self.tenant.is_another(&subject.tenant, false)
    }
}

/// What makes a source another one: the same tasks have the same.
fn identity(info: &SourceInfo) -> String {
    format!("{}/{}", info.api, info.region)
}

/// Whether `contents` knows another source by the name of `subject`.
pub fn knows_another(contents: &Contents, subject: &Subject) -> bool {
    let past = contents.peek::<Past>(PASTS, &subject.info.name);
    past.is_some_and(|past| past.is_of_another(subject))
}

/// Takes out of `contents` what it holds of sources that are polled no more and have not been for
/// so long that nothing of it matters any more; returns the batch that removes it.
pub fn sweep(contents: &mut Contents, now: Timestamp) -> Batch {
    let mut batch = Batch::default();
    for source in contents.sources(PASTS) {
        let past = contents.peek::<Past>(PASTS, &source);
        if past.is_none_or(|past| now.since(past.polled) >= MEMORY) {
            tracing::info!(source, "the journal forgets a source that is long gone");
            batch.extend(contents.forget(&source));
        }
    }
    batch
}

impl Tracker {
    /// What an earlier process left in `contents`; nothing if that was another source, whose counters
    /// alone go on.
    pub fn restore(
        subject: Subject,
        counters: Arc<Counters>,
        journal: Arc<Journal>,
        contents: &mut Contents,
        at: Clocks,
    ) -> Self {
        let name = &*subject.info.name;
        // What has been served goes on, whoever's tasks come next: a counter never goes back.
        counters.restore(&subject.info, contents);
        let past = contents.take::<Past>(PASTS, name).pop().map(|(_, past)| past);
        let is_another = past.as_ref().is_some_and(|past| past.is_of_another(&subject));
        if is_another {
            tracing::warn!(
                source = name,
                "the journal knows this source with another API, region, project or account; its \
                 tasks begin anew"
            );
            journal.note(contents.forget(name));
        }
        let past = past.filter(|_| !is_another).filter(|_| !sabotage::is(Bug::OutageForgotten));
        let completions = Completions::restore(name, contents, at);
        let tasks = TaskTable::restore(name, contents);
        let saved = past.as_ref().map(|past| past.polled);
        let (tenant, coverage, last_success, calls) = match past {
            Some(past) => (past.tenant, past.coverage, past.last_success, past.calls),
            None => Default::default(),
        };
        let Subject { info, cancels, retention, tenant: _ } = subject;
        Self {
            info,
            cancels,
            retention,
            tenant,
            counters,
            journal,
            completions,
            tasks,
            coverage,
            last_success,
            calls,
            saved,
            unknown_words: HashSet::new(),
        }
    }

    /// Whether `subject` is another source of the same name: the tasks of one say nothing about those
    /// of the other.
    pub fn is_another(&self, subject: &Subject) -> bool {
        identity(&self.info) != identity(&subject.info)
            || self.tenant.is_another(&subject.tenant, false)
    }

    /// Goes on with a changed configuration. If that is another source, only the counters go on.
    pub fn resume(&mut self, subject: Subject, at: Clocks) {
        if self.is_another(&subject) {
            tracing::warn!(
                source = subject.info.name,
                "this source now has another API, region, project or account; its tasks begin anew"
            );
            self.begin_anew(at);
            self.calls = Tally::default();
            self.unknown_words.clear();
        }
        if sabotage::is(Bug::BaselineOnReload) {
            self.completions = Completions::new(at);
        }
        let Subject { info, cancels, retention, tenant: _ } = subject;
        (self.info, self.cancels, self.retention) = (info, cancels, retention);
        self.counters.declare_source(&self.info);
        self.counters.bring_back(&self.info.name);
    }

    /// Nothing of the source is served until it comes back.
    pub fn withdraw(&mut self) {
        self.counters.withdraw(&self.info.name);
        self.unknown_words.clear();
    }

    /// Looks whose tasks a poll found, before they are entered; `answered` says that the vendor has
    /// answered a question of it. Returns whether they are another tenant's, which are watched from
    /// `at` on.
    pub fn recognize(&mut self, tenant: Tenant, answered: bool, at: Clocks) -> bool {
        let is_another = self.tenant.is_another(&tenant, answered);
        if is_another {
            tracing::warn!(
                source = self.info.name,
                "this source now has another project or account; its tasks begin anew"
            );
            self.begin_anew(at);
        }
        if answered && tenant != self.tenant {
            self.tenant.learn(tenant);
            self.saved = None;
        }
        is_another
    }

    /// Forgets every task: what is known is another source's. Counters go on.
    fn begin_anew(&mut self, at: Clocks) {
        let mut batch = Batch::default();
        self.completions.forget(&self.info.name, &mut batch);
        self.tasks.forget(&self.info.name, &mut batch);
        self.journal.note(batch);
        self.completions = Completions::new(at);
        self.coverage = Coverage::default();
        self.tenant = Tenant::default();
        self.last_success = None;
        self.saved = None;
    }

    /// Says which clusters or instances the configuration names, none meaning all, before what a poll
    /// saw of them is entered.
    pub fn reach(&mut self, resources: &[Arc<Resource>], at: Clocks) {
        self.completions.reach(resources, at);
    }

    /// Enters what a poll found, all of it or what it has seen so far, and notes the rows that change.
    /// Returns what the log has to tell.
    pub fn enter(&mut self, mut findings: Findings, wanted: &Wants<'_>, at: Clocks) -> Vec<Event> {
        let mut events = Vec::new();
        let gap = findings.covers.take().and_then(|covers| self.cover(covers));
        events.extend(gap.filter(|gap| !gap.goes_on).map(Event::Gap));
        let is_baseline = findings.good
            && self.completions.may_watch(findings.read_all, self.retention.stale_after, at);
        self.find_unknown_words(&findings.tasks, &mut events);
        for task in &findings.tasks {
            self.counters.declare_kind(&self.info, &task.kind, self.cancels);
        }
        if findings.good {
            self.last_success = Some(at.now);
        }
        let was_watching = self.completions.is_watching();
        let completions = self.completions.enter(&findings.tasks, is_baseline, wanted, at);
        let transitions = self.tasks.enter(findings, &self.completions, &self.retention, at.now);
        self.tell(transitions, &completions, was_watching, &mut events);
        let mut batch = Batch::default();
        self.completions.save(&self.info.name, &mut batch);
        self.save(at.now, &mut batch);
        self.counters.enter(&self.info, &completions, gap, self.cancels, at.now, batch);
        events
    }

    /// Adds what a poll covered. Returns a gap that it leaves before it.
    fn cover(&mut self, covers: Covers) -> Option<Gap> {
        let was_in_gap = self.coverage.is_in_gap();
        let were_behind: Vec<Box<str>> = self.coverage.are_behind().map(Into::into).collect();
        let gap = self.coverage.add(covers).filter(|_| !sabotage::is(Bug::GapNotDeclared));
        let is_other = !self.coverage.are_behind().eq(were_behind.iter().map(|id| &**id));
        if was_in_gap || gap.is_some() || is_other {
            // After a restart it must neither be found again nor go on.
            self.saved = None;
        }
        gap
    }

    fn find_unknown_words(&mut self, tasks: &[Task], events: &mut Vec<Event>) {
        for task in tasks.iter().filter(|task| task.state == TaskState::Unknown) {
            let (id, word) = (&task.id, &task.vendor_status);
            if self.unknown_words.len() < MAX_WORDS && self.unknown_words.insert(Arc::clone(word)) {
                events.push(Event::UnknownStatus { id: Arc::clone(id), word: Arc::clone(word) });
            }
        }
    }

    /// Chooses the transitions that are news. What was there before we were is none, whether it goes on
    /// or has ended.
    fn tell(
        &mut self,
        transitions: Vec<Transition>,
        completions: &[Completion],
        was_watching: bool,
        events: &mut Vec<Event>,
    ) {
        let counted: HashMap<&str, Option<Duration>> =
            completions.iter().map(|it| (&*it.task.id, it.duration)).collect();
        for transition in transitions {
            let Transition { task, from, lost } = &transition;
            let duration = counted.get(&*task.id);
            let is_news = if task.state.is_final() && from.is_none_or(|from| from == task.state) {
                duration.is_some()
            } else {
                from.is_some() || was_watching
            };
            if !is_news {
                continue;
            }
            if !lost && task.state == TaskState::Failed && task.error.is_none() {
                self.tasks.owe_text(&task.id);
            }
            let duration = duration.copied().flatten();
            events.push(Event::Moved(Box::new(transition), duration));
        }
    }

    /// Puts what the polls have changed since the last time into `batch`.
    fn save(&mut self, now: Timestamp, batch: &mut Batch) {
        self.tasks.save(&self.info.name, batch);
        let old = |saved: Timestamp| now.since(saved) >= GRAIN || saved > now;
        if self.saved.is_none_or(old) || !batch.is_empty() {
            let past = Past {
                identity: identity(&self.info),
                tenant: self.tenant.clone(),
                polled: now,
                last_success: self.last_success,
                coverage: self.coverage.clone(),
                calls: self.calls,
            };
            batch.put(PASTS, &self.info.name, "", &past);
            self.saved = Some(now);
        }
    }

    /// Enters what the vendor says of a failure that has been entered before. The rows are noted by
    /// [`Tracker::note_texts`]. Returns the event if the log still has to tell it.
    pub fn explain(&mut self, id: &str, error: Box<TaskError>) -> Option<Event> {
        let task = self.tasks.explain(id, error)?;
        Some(Event::Explained(Box::new(task.clone())))
    }

    /// Notes the rows of tasks whose error texts have come.
    pub fn note_texts(&mut self) {
        let mut batch = Batch::default();
        self.tasks.save(&self.info.name, &mut batch);
        self.journal.note(batch);
    }

    /// The first poll that saw the present run of a task final, by our clock; `None` while it goes on.
    pub fn settled(&self, id: &str) -> Option<Timestamp> {
        self.completions.settled(id)
    }

    /// Where earlier polls left off, by the vendor's clock.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// The time of the last poll that went well, no later than `now`.
    pub fn last_success(&mut self, now: Timestamp) -> Option<Timestamp> {
        // By a clock that has been set back since, it was later than it can have been.
        if !sabotage::is(Bug::FutureShown) {
            self.last_success = self.last_success.map(|time| time.min(now));
        }
        self.last_success
    }

    /// The tasks whose end has not been seen and is still of interest, shown or not.
    pub fn open(&self, now: Timestamp) -> impl Iterator<Item = &Tracked> {
        self.tasks.open(now)
    }

    /// The failed tasks whose error is not known.
    pub fn silent(&self) -> impl Iterator<Item = &Tracked> {
        self.tasks.silent()
    }

    /// Whether a task may change soon: planned work is left out until its time has come.
    pub fn any_under_way(&self, now: Timestamp) -> bool {
        self.tasks.any_under_way(now)
    }

    /// How many tasks are kept.
    pub fn count(&self) -> usize {
        self.tasks.tasks().count()
    }

    /// When [`Tracker::show`] will next show something else without a poll.
    pub fn next_change(&self) -> Option<Timestamp> {
        self.tasks.next_change(&self.retention)
    }

    /// The tasks to show at `now`, after what has been shown for its time is dropped.
    pub fn show(&mut self, now: Timestamp) -> Shown {
        self.tasks.age(&self.retention, now);
        self.tasks.show(&self.retention)
    }
}
