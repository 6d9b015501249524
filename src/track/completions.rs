//! `Completions`: which tasks of a source have ended, so that each end is counted once.
//!
//! A counter counts transitions into a final state, once per run of a task. The rules:
//!
//! - Tasks that are already final when watching begins are a **baseline**: remembered, not counted.
//!   Their end time tells, whenever they come into view: a first good poll may be late, and a
//!   cluster newly found. Where there is none, the first poll that read the source to its end does.
//!   An end that the clocks are too coarse to place is news only if the first poll did not show it.
//!   So it is with clusters and instances that the configuration names later.
//! - A task seen unfinished and then final is counted, and so is one that began and ended between
//!   two polls.
//! - An end time that becomes known or changes later belongs to the same run. A **new run** of the
//!   same id needs an unfinished sighting in between, or two known ends with a later start.
//! - After an unfinished sighting, the end that was counted before is still the same end: a replica
//!   that lags shows a task unfinished for a while.
//! - What is forgotten leaves a mark: an end that is not later than the latest forgotten one is
//!   never news. A task that is still asked for by its id is not forgotten.
//!
//! Ends are the vendor's, so all of this goes by the vendor's clock. Ours may leap.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::model::{Origin, Resource, Task, TaskState, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::platform::sabotage;
use crate::platform::sabotage::Bug;
use crate::storage::{Batch, Contents, Table};

/// How long a task is remembered after it was last seen: longer than any vendor's list
/// reaches back, so that it rarely comes into view again once it is forgotten.
pub const MEMORY: Duration = Duration::from_hours(35 * 24);

/// How much our clock and a vendor's may differ; beyond that vendors refuse. While there is no
/// baseline, an end that is further ahead says that our clock is wrong, and nothing of the task.
const SKEW: Duration = Duration::from_mins(15);

/// How exactly the vendor's clock is known once an answer has told it: to the second.
const TICK: Duration = Duration::from_secs(1);

/// How old the time that is remembered of a sighting may be: a task that is listed for ever is
/// written down once a day, not at every poll.
const GRAIN: Duration = Duration::from_hours(24);

/// One row a source: its [`Baseline`].
const BASELINES: Table = Table("baseline");
/// One row a source: its [`Reach`].
const REACHES: Table = Table("reach");
/// One row a task: its [`Run`].
const RUNS: Table = Table("run");

/// What time it is, by every clock there is.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Ours, which may be wrong, and may leap.
    pub now: Timestamp,
    /// Seconds from ours to the vendor's; `None` until an answer has told.
    pub offset: Option<i64>,
    /// One that never leaps.
    pub instant: Instant,
}

impl Clocks {
    /// The time by the vendor's clock, as far as it is known.
    fn vendors(&self) -> Timestamp {
        self.now.offset_by(self.offset.unwrap_or(0))
    }

    /// When it was `instant`, by the vendor's clock, and up to a second earlier.
    fn ago(&self, instant: Instant) -> Timestamp {
        let elapsed = self.instant.saturating_duration_since(instant);
        let whole = Duration::from_secs(elapsed.as_secs());
        self.vendors().saturating_sub(if whole < elapsed { whole + TICK } else { whole })
    }

    /// What time it was at an earlier `instant`, if no clock has leapt since.
    #[must_use]
    pub fn back_to(self, instant: Instant) -> Self {
        let elapsed = self.instant.saturating_duration_since(instant);
        Self { now: self.now.saturating_sub(elapsed), offset: self.offset, instant }
    }

    /// How wrong that may be.
    fn error(&self) -> Duration {
        if self.offset.is_some() { TICK } else { SKEW }
    }
}

/// The runs of every task that a source has shown.
#[derive(Debug)]
pub struct Completions {
    baseline: Baseline,
    /// `None` until it is known.
    reach: Option<Reach>,
    reach_changed: bool,
    runs: HashMap<Arc<str>, Run>,
    /// What is not in the journal yet: ids of runs, and the baseline.
    changed: BTreeSet<Arc<str>>,
    baseline_changed: bool,
    /// When watching began; `None` if an earlier process began it.
    begun: Option<Instant>,
    pulse: Option<Pulse>,
}

/// What there was before we counted, and what we have forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Baseline {
    /// By the vendor's clock once it is complete, and early rather than late; until then by ours.
    watching_since: Timestamp,
    /// Whether the source has been read to its end.
    complete: bool,
    /// The latest end that has been forgotten, by the vendor's clock; `None` if none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forgotten_until: Option<Timestamp>,
}

/// Which clusters and instances are watched, or have been, and since when by the vendor's clock;
/// `None` where that is since the source is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Reach {
    named: BTreeMap<Box<str>, Option<Timestamp>>,
    /// Whether the others are watched, too.
    all: bool,
    others: Option<Timestamp>,
}

/// The latest run of a task. Times are the vendor's, but for `settled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// The first poll that saw it final, by our clock; `None` while it goes on.
    settled: Option<Timestamp>,
    /// The same by the vendor's clock; `None` in rows of earlier versions, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    noticed: Option<Timestamp>,
    /// To within a day.
    last_seen: Timestamp,
    /// The end before, as long as nothing proves that there has been another since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<End>,
}

/// An end that has been counted, or was there before we counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// As in [`Run`].
    settled: Timestamp,
    /// As in [`Run`].
    noticed: Timestamp,
}

/// How time passes.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    /// Since when the vendor's clock, as far as it is known, has not leapt.
    steady_since: Instant,
    instant: Instant,
    vendors: Timestamp,
}

/// How the vendor's time, as far as it is known, has passed since the last poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passing {
    /// It has leapt, or there is nothing to compare it with.
    Unknown,
    /// As the clock that never leaps.
    Evenly,
    /// So, and it is an answer's, or has passed so for a day: it is certain how late it is.
    Known,
    /// There is nothing to compare it with, but it is an answer's.
    KnownAtOnce,
}

/// A task has ended, for the first time in its run.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The task, in its final state.
    pub task: Task,
    /// From its start, or its creation, to its end; `None` where the vendor did not say.
    pub duration: Option<Duration>,
}

impl Completions {
    /// Completions without a task, of a source that is watched from `at` on.
    pub fn new(at: Clocks) -> Self {
        Self {
            baseline: Baseline { watching_since: at.now, complete: false, forgotten_until: None },
            reach: None,
            reach_changed: false,
            runs: HashMap::new(),
            changed: BTreeSet::new(),
            baseline_changed: true,
            begun: Some(at.instant),
            pulse: None,
        }
    }

    /// The completions that an earlier process left, else a new one.
    pub fn restore(source: &str, contents: &mut Contents, at: Clocks) -> Self {
        let mut completions = Self::new(at);
        if sabotage::is(Bug::BaselineOnEveryStart) {
            return completions;
        }
        if let Some((_, baseline)) = contents.take(BASELINES, source).pop() {
            completions.baseline = baseline;
            completions.baseline_changed = false;
            completions.begun = None;
        }
        completions.reach = contents.take(REACHES, source).pop().map(|(_, reach)| reach);
        let runs = contents.take::<Run>(RUNS, source).into_iter();
        completions.runs = runs.map(|(id, run)| (id.into(), run)).collect();
        completions
    }

    /// Puts what has changed since the last time into `batch`.
    pub fn save(&mut self, source: &str, batch: &mut Batch) {
        if std::mem::take(&mut self.baseline_changed) {
            batch.put(BASELINES, source, "", &self.baseline);
        }
        if std::mem::take(&mut self.reach_changed) {
            batch.put(REACHES, source, "", &self.reach);
        }
        for id in std::mem::take(&mut self.changed) {
            match self.runs.get(&id) {
                Some(run) => batch.put(RUNS, source, &id, run),
                None => batch.remove(RUNS, source, &id),
            }
        }
    }

    /// Puts into `batch` that none of it is of use any more.
    pub fn forget(&self, source: &str, batch: &mut Batch) {
        batch.remove(BASELINES, source, "");
        batch.remove(REACHES, source, "");
        for id in self.runs.keys().chain(&self.changed) {
            batch.remove(RUNS, source, id);
        }
    }

    /// Whether the baseline is complete: from then on what comes into view is news.
    pub fn is_watching(&self) -> bool {
        self.baseline.complete
    }

    /// Whether a good poll may end the baseline, or has nothing to end. Of what it could not ask about
    /// an end without a time may be an old one, so the baseline waits until everything has been read
    /// once, for as long as `patience` at most: what is refused for good must not hold it open.
    pub fn may_watch(&self, read_all: bool, patience: Duration, at: Clocks) -> bool {
        let waited = |begun: Instant| at.instant.saturating_duration_since(begun) >= patience;
        read_all || self.baseline.complete || self.begun.is_none_or(waited)
    }

    /// Says which clusters or instances the configuration names, none meaning all, before what a poll
    /// saw of them is entered. Those that it has not named before are watched from now on.
    pub fn reach(&mut self, resources: &[Arc<Resource>], at: Clocks) {
        let since = self.reach.is_some().then(|| at.vendors());
        let mut reach = self.reach.clone().unwrap_or_default();
        for resource in resources {
            let since = if reach.all { reach.others } else { since };
            reach.named.entry(resource.id.clone()).or_insert(since);
        }
        if resources.is_empty() && !reach.all {
            (reach.all, reach.others) = (true, since);
        }
        if self.reach.as_ref() != Some(&reach) {
            self.reach = Some(reach);
            self.reach_changed = true;
        }
    }

    /// Enters what a poll saw, and returns the ends to be counted. `complete` says that the poll
    /// read everything: the first such poll ends the baseline. Tasks with an id that is `wanted`
    /// are not forgotten.
    pub fn enter(
        &mut self,
        tasks: &[Task],
        complete: bool,
        wanted: impl Fn(&str) -> bool,
        at: Clocks,
    ) -> Vec<Completion> {
        let passing = self.feel_the_pulse(at);
        if passing == Passing::Evenly || passing == Passing::Known {
            self.put_right(at);
        }
        let mut completions = Vec::new();
        for task in tasks {
            if task.state.is_final() {
                if self.enter_final(task, at) {
                    completions.push(Completion { duration: duration(task), task: task.clone() });
                }
            } else {
                self.enter_unfinished(task, at);
            }
        }
        if complete {
            if !self.baseline.complete {
                // What comes into view from now on was not in the first poll.
                let watching_since = self.watching_since(at).saturating_sub(at.error());
                self.baseline = Baseline { watching_since, complete: true, ..self.baseline };
                self.baseline_changed = true;
            }
            if matches!(passing, Passing::Known | Passing::KnownAtOnce) {
                self.forget_old(wanted, at.vendors());
            }
        }
        completions
    }

    /// The first poll that saw the task's present run final, by our clock; `None` while it goes on.
    pub fn settled(&self, id: &str) -> Option<Timestamp> {
        self.runs.get(id)?.settled
    }

    /// Since when ends are counted, by the vendor's clock.
    fn watching_since(&self, at: Clocks) -> Timestamp {
        let since = self.baseline.watching_since;
        match self.begun {
            _ if self.baseline.complete => since,
            // Our clock may have been put right since then.
            Some(begun) => at.ago(begun),
            None => since.offset_by(at.offset.unwrap_or(0)),
        }
    }

    /// Nobody has watched since a time that is yet to come: the clock was wrong when that was noted.
    fn put_right(&mut self, at: Clocks) {
        let Baseline { watching_since, complete, .. } = self.baseline;
        if complete && watching_since > at.vendors() {
            let since = self.begun.map_or(at.vendors(), |begun| at.ago(begun));
            self.baseline.watching_since = since.saturating_sub(at.error());
            self.baseline_changed = true;
        }
    }

    /// Compares how time has passed since the last poll.
    fn feel_the_pulse(&mut self, at: Clocks) -> Passing {
        let vendors = at.vendors();
        let beat = |steady_since| Pulse { steady_since, instant: at.instant, vendors };
        let Some(last) = self.pulse.replace(beat(at.instant)) else {
            return if at.offset.is_some() { Passing::KnownAtOnce } else { Passing::Unknown };
        };
        let due = last.vendors + at.instant.saturating_duration_since(last.instant);
        if due.since(vendors).max(vendors.since(due)) > SKEW {
            return Passing::Unknown;
        }
        self.pulse = Some(beat(last.steady_since));
        let steady_for = at.instant.saturating_duration_since(last.steady_since);
        if at.offset.is_some() || steady_for >= GRAIN { Passing::Known } else { Passing::Evenly }
    }

    /// Forgets what has not been seen for [`MEMORY`], and remembers up to when.
    fn forget_old(&mut self, wanted: impl Fn(&str) -> bool, now: Timestamp) {
        let Self { runs, changed, baseline, baseline_changed, .. } = self;
        runs.retain(|id, run| {
            let too_soon = sabotage::is(Bug::RunsForgotten)
                && run.noticed.is_some_and(|noticed| now.since(noticed).as_secs() > 3600);
            if now.since(run.last_seen) < MEMORY && !too_soon {
                return true;
            }
            changed.insert(Arc::clone(id));
            // No mark could tell an end without any time from news.
            let is_dated = run.started.or(run.ended).is_some() || run.end().is_none();
            if !too_soon && (wanted(id) || !is_dated) {
                run.last_seen = now;
                return true;
            }
            let end = run.end().map(|end| end.ended.max(Some(end.noticed))).filter(|_| !too_soon);
            let mark = baseline.forgotten_until.max(end.flatten());
            *baseline_changed |= mark != baseline.forgotten_until;
            baseline.forgotten_until = mark;
            false
        });
    }

    /// Whether what is known to have happened at `time`, if that is known, is forgotten.
    fn is_forgotten(&self, time: Option<Timestamp>) -> bool {
        time.zip(self.baseline.forgotten_until).is_some_and(|(time, until)| time <= until)
    }

    fn enter_unfinished(&mut self, task: &Task, at: Clocks) {
        let last_seen = at.vendors();
        let run = match self.runs.get(&task.id) {
            // A word that nobody knows is no proof of a new run.
            Some(&run) if run.settled.is_some() && task.state == TaskState::Unknown => {
                Run { last_seen, ..run }
            }
            known => Run {
                started: task.started,
                ended: None,
                settled: None,
                noticed: None,
                last_seen,
                before: known.and_then(Run::end),
            },
        };
        self.set(&task.id, run);
    }

    /// Whether this end is to be counted.
    fn enter_final(&mut self, task: &Task, at: Clocks) -> bool {
        let now = at.vendors();
        let new = Run {
            started: task.started,
            ended: task.ended,
            settled: Some(at.now),
            noticed: Some(now),
            last_seen: now,
            before: None,
        };
        let Some(&run) = self.runs.get(&task.id) else {
            let old = self.is_forgotten(task.ended.or(task.started).or(task.created));
            let is_news = !old && self.is_news(task, at);
            // What has been shown and forgotten is not shown again, unless somebody asks for it.
            let is_stale = old && task.origin == Origin::Listed;
            let settled = if is_stale { self.baseline.forgotten_until } else { new.settled };
            self.set(&task.id, Run { settled: settled.min(new.settled), ..new });
            return is_news;
        };
        let Some(end) = run.end() else {
            self.set(&task.id, new);
            return !self.is_forgotten(task.ended);
        };
        let is_open = run.settled.is_none() || run.before.is_some();
        let is_another = if is_open { end.is_before(task) } else { end.is_of_an_earlier_run(task) };
        if is_another
            || (end.ended.is_none() && task.ended.is_some() && sabotage::is(Bug::LateEndCounted))
        {
            self.set(&task.id, new);
            return true;
        }
        let same = Run {
            // Without its end a later start may be that of the next run, which is counted then.
            started: match task.ended {
                Some(_) => end.started.max(task.started),
                None => end.started.or(task.started),
            },
            ended: task.ended.or(end.ended),
            // A clock that is set back must not make anything younger than it is.
            settled: Some(end.settled.min(at.now)),
            noticed: Some(end.noticed.min(now)),
            last_seen: now,
            before: Some(end).filter(|_| is_open && task.ended.is_none()),
        };
        self.set(&task.id, same);
        false
    }

    /// Whether a task that was never seen before, and has ended, has done so since we watch.
    fn is_news(&self, task: &Task, at: Clocks) -> bool {
        let Baseline { complete, .. } = self.baseline;
        let reached = self.reach.as_ref().and_then(|reach| reach.since(&task.resource.id));
        let time = task.ended.or(task.started).or(task.created);
        if reached.zip(time).is_some_and(|(since, time)| time <= since) {
            return false;
        }
        let Some(ended) = task.ended else { return complete };
        let since = self.watching_since(at);
        if complete {
            return ended >= since;
        }
        ended > since + at.error() && ended <= at.vendors() + SKEW
    }

    /// Keeps the run, unless only the time of its last sighting would change, by less than a grain.
    fn set(&mut self, id: &Arc<str>, run: Run) {
        if let Some(old) = self.runs.get(id)
            && *old == (Run { last_seen: old.last_seen, ..run })
            && run.last_seen.since(old.last_seen).max(old.last_seen.since(run.last_seen)) < GRAIN
        {
            return;
        }
        self.runs.insert(Arc::clone(id), run);
        self.changed.insert(Arc::clone(id));
    }
}

impl Reach {
    /// Since when a cluster or instance is watched; `None` if that is since the source is.
    fn since(&self, resource: &str) -> Option<Timestamp> {
        self.named.get(resource).copied().unwrap_or(self.others)
    }
}

impl Run {
    /// The last end that is known of the task; `None` if it has never been seen to end.
    fn end(&self) -> Option<End> {
        if self.before.is_some() {
            return self.before;
        }
        let settled = self.settled?;
        let noticed = self.noticed.unwrap_or(settled);
        Some(End { started: self.started, ended: self.ended, settled, noticed })
    }
}

impl End {
    /// Whether a task that is final without having been seen otherwise meanwhile is in a later run.
    fn is_of_an_earlier_run(&self, task: &Task) -> bool {
        is_later(self.started, task.started) && is_later(self.ended, task.ended)
    }

    /// Whether a task that is final again, after it was seen unfinished, has ended once more.
    fn is_before(&self, task: &Task) -> bool {
        match task.ended {
            Some(ended) if self.ended == Some(ended) => is_later(Some(ended), task.started),
            // What had ended when this end was first seen is this end.
            Some(ended) => is_later(self.started, task.started) || ended > self.noticed,
            // Where ends have a time, that will tell; where they have none, nothing else can.
            None => self.started.is_none() || self.started != task.started,
        }
    }
}

/// Whether both are known, and the new time is later than the old one.
fn is_later(old: Option<Timestamp>, new: Option<Timestamp>) -> bool {
    old.zip(new).is_some_and(|(old, new)| new > old)
}

fn duration(task: &Task) -> Option<Duration> {
    let (start, end) = task.started.or(task.created).zip(task.ended)?;
    (end >= start).then(|| end.since(start))
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    /// A machine whose clock is right, and is known to be.
    fn clocks(second: i64) -> Clocks {
        let elapsed = Duration::from_secs(second.try_into().unwrap());
        Clocks { now: at(second), offset: Some(0), instant: start() + elapsed }
    }

    fn start() -> Instant {
        static START: OnceLock<Instant> = OnceLock::new();
        *START.get_or_init(Instant::now)
    }

    /// How many ends are counted of a poll in which nothing but the list is of interest.
    fn entered(
        completions: &mut Completions,
        tasks: &[&Task],
        complete: bool,
        at: Clocks,
    ) -> usize {
        let tasks: Vec<Task> = tasks.iter().copied().cloned().collect();
        completions.enter(&tasks, complete, |_| false, at).len()
    }

    fn task(state: TaskState, started: i64, ended: Option<i64>) -> Task {
        Task {
            started: Some(at(started)),
            ended: ended.map(at),
            ..Task::new("t", state, state.as_str())
        }
    }

    /// How many ends are counted at each of a sequence of complete polls, a minute apart.
    fn counted(polls: &[&[&Task]]) -> Vec<usize> {
        let mut completions = Completions::new(clocks(0));
        let poll = |(tasks, minute): (&&[&Task], i64)| {
            entered(&mut completions, tasks, true, clocks(60 * minute))
        };
        polls.iter().zip(1..).map(poll).collect()
    }

    #[test]
    fn tasks_that_are_final_at_the_first_poll_are_a_baseline() {
        let failed = task(TaskState::Failed, -600, Some(-300));
        assert_eq!(counted(&[&[&failed], &[&failed], &[&failed]]), [0, 0, 0]);
    }

    #[test]
    fn a_transition_is_counted_once() {
        let running = task(TaskState::Running, 0, None);
        let failed = task(TaskState::Failed, 0, Some(100));
        let polls: [&[&Task]; 4] = [&[&running], &[&failed], &[&failed], &[&failed]];
        assert_eq!(counted(&polls), [0, 1, 0, 0]);
    }

    #[test]
    fn a_task_that_ran_between_two_polls_is_counted() {
        let failed = task(TaskState::Failed, 70, Some(80));
        assert_eq!(counted(&[&[], &[&failed], &[&failed]]), [0, 1, 0]);
    }

    #[test]
    fn a_task_newly_in_view_that_ended_before_we_watched_is_not_counted() {
        let old = task(TaskState::Failed, -600, Some(-300));
        assert_eq!(counted(&[&[], &[&old], &[&old]]), [0, 0, 0]);
    }

    #[test]
    fn a_late_end_time_is_the_same_run() {
        let without = task(TaskState::Failed, 0, None);
        let with = task(TaskState::Failed, 0, Some(70));
        let changed = task(TaskState::Failed, 0, Some(90));
        let polls: [&[&Task]; 5] = [&[], &[&without], &[&with], &[&changed], &[&without]];
        assert_eq!(counted(&polls), [0, 1, 0, 0, 0]);
    }

    #[test]
    fn an_unseen_second_run_is_counted_though_its_end_becomes_known_late() {
        let first = task(TaskState::Failed, 0, Some(70));
        let second = task(TaskState::Failed, 90, None);
        let known = task(TaskState::Failed, 90, Some(110));
        let polls: [&[&Task]; 5] = [&[], &[&first], &[&second], &[&known], &[&known]];
        assert_eq!(counted(&polls), [0, 1, 0, 1, 0]);
    }

    #[test]
    fn an_unfinished_sighting_in_between_makes_a_new_run() {
        let first = task(TaskState::Failed, 0, Some(70));
        let running = task(TaskState::Running, 0, None);
        let second = task(TaskState::Failed, 0, Some(200));
        let polls: [&[&Task]; 5] = [&[], &[&first], &[&running], &[&second], &[&second]];
        assert_eq!(counted(&polls), [0, 1, 0, 1, 0]);
    }

    #[test]
    fn without_end_times_an_unfinished_sighting_makes_a_new_run_unless_its_start_is_the_same() {
        for (first, second, count) in
            [(None, None, 1), (None, Some(0), 1), (Some(0), Some(90), 1), (Some(0), Some(0), 0)]
        {
            let started =
                |second: Option<i64>, task: Task| Task { started: second.map(at), ..task };
            let failed = started(first, task(TaskState::Failed, 0, None));
            let running = started(second, task(TaskState::Running, 0, None));
            let again = started(second, task(TaskState::Failed, 0, None));
            let polls: [&[&Task]; 4] = [&[], &[&failed], &[&running], &[&again]];
            assert_eq!(counted(&polls), [0, 1, 0, count], "{first:?} {second:?}");
        }
    }

    #[test]
    fn a_replica_that_lags_makes_no_end_count_twice() {
        let [failed, corrected] = [70, 80].map(|end| task(TaskState::Failed, 0, Some(end)));
        let bare = task(TaskState::Failed, 0, None);
        let running = task(TaskState::Running, 0, None);
        let pending = Task { started: None, ..task(TaskState::Pending, 0, None) };
        for polls in [
            &[&[&failed] as &[&Task], &[&running], &[&failed], &[&running], &[&failed]],
            &[&[&failed], &[&running], &[], &[&pending], &[&failed]],
            &[&[&failed], &[&running], &[&running], &[&running], &[&failed]],
            &[&[&bare], &[&running], &[&failed], &[&running], &[&failed]],
            &[&[&failed], &[&running], &[&corrected], &[&running], &[&failed]],
            &[&[&failed], &[&running], &[&bare], &[&bare], &[&failed]],
            &[&[&failed], &[&running], &[&bare], &[&running], &[&failed]],
        ] {
            let polls: Vec<&[&Task]> = [&[] as &[&Task]].into_iter().chain(*polls).collect();
            assert_eq!(counted(&polls), [0, 1, 0, 0, 0, 0], "{polls:?}");
        }
    }

    #[test]
    fn a_replica_that_lags_makes_no_baseline_count() {
        let failed = task(TaskState::Failed, -600, Some(-300));
        let running = task(TaskState::Running, -600, None);
        assert_eq!(counted(&[&[&failed], &[&running], &[&failed]]), [0, 0, 0]);
    }

    #[test]
    fn a_second_run_whose_end_becomes_known_late_is_counted() {
        let first = task(TaskState::Failed, 0, Some(70));
        let running = task(TaskState::Running, 0, None);
        let bare = task(TaskState::Failed, 0, None);
        let second = task(TaskState::Failed, 0, Some(200));
        let polls: [&[&Task]; 6] = [&[], &[&first], &[&running], &[&bare], &[&second], &[&second]];
        assert_eq!(counted(&polls), [0, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn the_first_sighting_of_an_end_is_remembered_over_a_replica_that_lags() {
        let mut completions = Completions::new(clocks(0));
        entered(&mut completions, &[], true, clocks(30));
        let failed = task(TaskState::Failed, 0, Some(70));
        entered(&mut completions, &[&failed], true, clocks(90));
        entered(&mut completions, &[&task(TaskState::Running, 0, None)], true, clocks(120));
        assert_eq!(completions.settled("t"), None);
        entered(&mut completions, &[&failed], true, clocks(150));
        assert_eq!(completions.settled("t"), Some(at(90)));
    }

    #[test]
    fn the_same_end_is_one_over_a_restart_in_between() {
        let mut rows = BTreeMap::new();
        let failed = task(TaskState::Failed, 0, Some(70));
        let running = task(TaskState::Running, 0, None);
        let mut counts = Vec::new();
        for (poll, tasks) in (0..).zip([&[] as &[&Task], &[&failed], &[&running], &[&failed]]) {
            let mut completions = restored(&rows, clocks(60 * poll));
            counts.push(entered(&mut completions, tasks, true, clocks(60 * poll + 30)));
            keep(&mut completions, &mut rows);
        }
        assert_eq!(counts, [0, 1, 0, 0]);
    }

    #[test]
    fn two_known_ends_with_a_later_start_are_two_runs() {
        let first = task(TaskState::Failed, 0, Some(70));
        let second = task(TaskState::Failed, 90, Some(110));
        assert_eq!(counted(&[&[], &[&first], &[&second], &[&second]]), [0, 1, 1, 0]);
    }

    #[test]
    fn a_start_that_is_filled_in_late_with_the_end_is_the_same_run() {
        let without = task(TaskState::Failed, 0, None);
        let with = task(TaskState::Failed, 20, Some(70));
        let polls: [&[&Task]; 4] = [&[], &[&without], &[&with], &[&with]];
        assert_eq!(counted(&polls), [0, 1, 0, 0]);
    }

    #[test]
    fn an_unknown_word_is_no_new_run() {
        let failed = task(TaskState::Failed, 0, Some(70));
        let unknown = task(TaskState::Unknown, 0, None);
        let polls: [&[&Task]; 4] = [&[], &[&failed], &[&unknown], &[&failed]];
        assert_eq!(counted(&polls), [0, 1, 0, 0]);
    }

    #[test]
    fn the_baseline_lasts_until_everything_was_read_once() {
        let mut completions = Completions::new(clocks(0));
        let old = task(TaskState::Failed, -600, None);
        assert_eq!(entered(&mut completions, &[], false, clocks(0)), 0);
        assert_eq!(entered(&mut completions, &[&old], true, clocks(60)), 0);
        let other = Task::new("u", TaskState::Failed, "Failed");
        assert_eq!(entered(&mut completions, &[&other], true, clocks(120)), 1);
    }

    #[test]
    fn an_end_after_the_start_is_counted_though_the_first_good_poll_came_later() {
        let mut completions = Completions::new(clocks(0));
        assert_eq!(entered(&mut completions, &[], false, clocks(60)), 0);
        let failed = task(TaskState::Failed, 10, Some(70));
        assert_eq!(entered(&mut completions, &[&failed], true, clocks(90)), 1);
    }

    #[test]
    fn a_clock_that_was_decades_behind_at_the_start_makes_no_old_failure_new() {
        let behind =
            |second| Clocks { now: Timestamp::from_second(60 + second).unwrap(), ..clocks(second) };
        let mut completions = Completions::new(behind(0));
        let old = task(TaskState::Failed, -600, Some(-300));
        assert_eq!(entered(&mut completions, &[&old], false, behind(30)), 0);
        let other = Task { id: "u".into(), ..old.clone() };
        assert_eq!(entered(&mut completions, &[&old, &other], true, clocks(60)), 0);
    }

    #[test]
    fn a_leap_of_the_clock_during_a_failed_poll_makes_nothing_count_twice() {
        let mut completions = Completions::new(clocks(0));
        let failed = task(TaskState::Failed, 0, Some(70));
        assert_eq!(entered(&mut completions, &[&failed], true, clocks(90)), 1);
        let leapt = Clocks { now: at(100 * DAY), ..clocks(120) };
        assert_eq!(entered(&mut completions, &[], false, leapt), 0);
        assert_eq!(entered(&mut completions, &[&failed], true, clocks(150)), 0);
    }

    #[test]
    fn a_transition_within_the_baseline_is_counted() {
        let mut completions = Completions::new(clocks(0));
        let (running, failed) =
            (task(TaskState::Running, 0, None), task(TaskState::Failed, 0, None));
        assert_eq!(entered(&mut completions, &[&running], false, clocks(0)), 0);
        assert_eq!(entered(&mut completions, &[&failed], false, clocks(60)), 1);
    }

    #[test]
    fn what_the_list_still_shows_is_remembered_however_long() {
        let mut completions = Completions::new(clocks(0));
        entered(&mut completions, &[], true, clocks(0));
        let failed = task(TaskState::Failed, 0, Some(70));
        assert_eq!(entered(&mut completions, &[&failed], true, clocks(90)), 1);
        for day in 1..100 {
            assert_eq!(
                entered(&mut completions, &[&failed], true, clocks(day * DAY)),
                0,
                "day {day}"
            );
        }
        entered(&mut completions, &[], true, clocks(200 * DAY));
        assert_eq!(completions.runs.len(), 0, "what no list shows is forgotten in the end");
    }

    #[test]
    fn an_end_that_is_forgotten_is_not_counted_when_it_comes_into_view_again() {
        let bare = |id: &str, task: Task| Task { id: id.into(), ended: None, ..task };
        for failed in [
            task(TaskState::Failed, 0, Some(70)),
            bare("by id", task(TaskState::Failed, 0, None)),
            bare("created", Task { created: Some(at(0)), ..Task::new("", TaskState::Failed, "x") }),
        ] {
            let mut completions = Completions::new(clocks(0));
            entered(&mut completions, &[], true, clocks(30));
            assert_eq!(entered(&mut completions, &[&failed], true, clocks(90)), 1);
            entered(&mut completions, &[], true, clocks(40 * DAY));
            let again = [&failed];
            assert_eq!(
                entered(&mut completions, &again, true, clocks(41 * DAY)),
                0,
                "{}",
                failed.id
            );
            let lagging = Task { state: TaskState::Running, ended: None, ..failed.clone() };
            entered(&mut completions, &[], true, clocks(80 * DAY));
            entered(&mut completions, &[&lagging], true, clocks(81 * DAY));
            let counted = entered(&mut completions, &again, true, clocks(81 * DAY + 30));
            assert_eq!(counted, usize::from(failed.ended.is_none()), "{}", failed.id);
        }
    }

    #[test]
    fn what_ended_after_the_latest_forgotten_end_is_news() {
        let mut completions = Completions::new(clocks(0));
        entered(&mut completions, &[], true, clocks(30));
        assert_eq!(
            entered(&mut completions, &[&task(TaskState::Failed, 0, Some(70))], true, clocks(90)),
            1
        );
        // While nobody polled, another one failed, and then the first is forgotten.
        let other = Task { id: "u".into(), ..task(TaskState::Failed, 100, Some(200)) };
        assert_eq!(entered(&mut completions, &[&other], true, clocks(36 * DAY)), 1);
    }

    #[test]
    fn a_task_that_is_wanted_is_not_forgotten_and_not_counted_again() {
        let mut completions = Completions::new(clocks(0));
        let failed = Task { started: None, ..task(TaskState::Failed, 0, None) };
        entered(&mut completions, &[], true, clocks(30));
        assert_eq!(entered(&mut completions, &[&failed], true, clocks(90)), 1);
        for day in 1..400 {
            completions.enter(&[], true, |id| id == "t", clocks(day * DAY));
            assert!(completions.settled("t").is_some(), "day {day}");
        }
        assert_eq!(entered(&mut completions, &[&failed], true, clocks(400 * DAY)), 0);
    }

    #[test]
    fn a_task_without_any_time_is_remembered_for_good() {
        let mut completions = Completions::new(clocks(0));
        let failed = Task::new("t", TaskState::Failed, "FAILED");
        entered(&mut completions, &[], true, clocks(30));
        assert_eq!(entered(&mut completions, &[&failed], true, clocks(90)), 1);
        for day in 1..100 {
            entered(&mut completions, &[], true, clocks(day * DAY));
        }
        assert_eq!(entered(&mut completions, &[&failed], true, clocks(100 * DAY)), 0);
    }

    #[test]
    fn a_clock_that_leaps_and_comes_back_changes_no_count() {
        let [dated, bare] = [Some(70), None].map(|end| task(TaskState::Failed, 0, end));
        let bare = Task { id: "u".into(), started: None, ..bare };
        for (offset, polls) in [(Some(0), 1), (None, 1), (None, 100), (Some(0), 100)] {
            for leap in [40 * DAY, -40 * DAY, 400 * DAY] {
                let mut completions = Completions::new(clocks(0));
                entered(&mut completions, &[], true, Clocks { offset, ..clocks(30) });
                let both = [&dated, &bare];
                let mut count =
                    entered(&mut completions, &both, true, Clocks { offset, ..clocks(90) });
                for poll in 0..polls {
                    // The list of that time shows none of them.
                    let real = clocks(120 + 30 * poll);
                    let leapt = Clocks { now: real.now.offset_by(leap), offset, ..real };
                    count += entered(&mut completions, &[], true, leapt);
                }
                for poll in 0..10 {
                    let real = clocks(120 + 30 * (polls + poll));
                    count += entered(&mut completions, &both, true, Clocks { offset, ..real });
                }
                assert_eq!(count, 2, "{offset:?}, {polls} polls of {leap} s");
            }
        }
    }

    #[test]
    fn a_clock_that_is_off_by_as_much_as_vendors_bear_loses_and_adds_nothing() {
        for skew in [-900, -299, 0, 299, 900] {
            let off = |second: i64| {
                let real = clocks(second);
                Clocks { now: real.now.offset_by(skew), offset: Some(-skew), ..real }
            };
            let mut completions = Completions::new(off(0));
            let old = task(TaskState::Failed, -300, Some(-180));
            let quick = Task { id: "u".into(), ..task(TaskState::Failed, 3, Some(6)) };
            assert_eq!(entered(&mut completions, &[&old, &quick], true, off(8)), 1, "{skew}");
            let next = Task { id: "v".into(), ..task(TaskState::Failed, 10, Some(15)) };
            assert_eq!(
                entered(&mut completions, &[&old, &quick, &next], true, off(38)),
                1,
                "{skew}"
            );
            let late = Task { id: "w".into(), ..task(TaskState::Failed, -90, Some(-60)) };
            assert_eq!(entered(&mut completions, &[&late], true, off(68)), 0, "{skew}");
        }
    }

    #[test]
    fn while_the_vendors_time_is_not_known_what_the_first_poll_shows_is_old() {
        let unsure = |second| Clocks { offset: None, ..clocks(second) };
        let mut completions = Completions::new(unsure(0));
        let listed = task(TaskState::Failed, 2, Some(300));
        assert_eq!(entered(&mut completions, &[&listed], true, unsure(30)), 0);
        let new = Task { id: "u".into(), ..task(TaskState::Failed, -500, Some(-400)) };
        assert_eq!(
            entered(&mut completions, &[&listed, &new], true, unsure(60)),
            1,
            "by a clock behind"
        );
        let old = Task { id: "v".into(), ..task(TaskState::Failed, -2000, Some(-1000)) };
        assert_eq!(entered(&mut completions, &[&old], true, unsure(90)), 0);
    }

    #[test]
    fn a_row_of_an_earlier_version_is_read() {
        let rows = BTreeMap::from([
            ("baseline", r#"{"watching_since":"2023-11-14T22:13:20Z","complete":true}"#),
            (
                "run",
                r#"{"started":"2023-11-14T22:13:20Z","ended":"2023-11-14T22:14:30Z",
                    "settled":"2023-11-14T22:14:50Z","last_seen":"2023-11-14T22:14:50Z"}"#,
            ),
        ]);
        let baseline: Baseline = serde_json::from_str(rows["baseline"]).unwrap();
        let run: Run = serde_json::from_str(rows["run"]).unwrap();
        let mut completions = Completions::new(clocks(100));
        completions.baseline = baseline;
        completions.runs.insert("t".into(), run);
        let failed = task(TaskState::Failed, 0, Some(70));
        assert_eq!(entered(&mut completions, &[&failed], true, clocks(120)), 0);
        entered(&mut completions, &[&task(TaskState::Running, 0, None)], true, clocks(150));
        assert_eq!(entered(&mut completions, &[&failed], true, clocks(180)), 0);
    }

    #[test]
    fn what_had_ended_on_an_instance_before_it_was_named_is_not_counted() {
        let named = |ids: &[&str]| -> Vec<Arc<Resource>> {
            ids.iter().map(|&id| Arc::new(Resource::new(id))).collect()
        };
        let failed = |id: &str, resource: &str, end| Task {
            id: id.into(),
            resource: Arc::new(Resource::new(resource)),
            ..task(TaskState::Failed, end - 10, Some(end))
        };
        let mut completions = Completions::new(clocks(0));
        let mut poll = |second, names: &[&str], tasks: &[&Task]| {
            completions.reach(&named(names), clocks(second));
            let row = serde_json::to_string(&completions.reach).unwrap();
            completions.reach = serde_json::from_str(&row).unwrap();
            entered(&mut completions, tasks, true, clocks(second))
        };
        assert_eq!(poll(30, &["a"], &[]), 0);
        assert_eq!(poll(60, &["a"], &[&failed("1", "a", 50)]), 1);
        assert_eq!(poll(90, &["a", "b"], &[&failed("2", "b", 70), &failed("3", "a", 70)]), 1);
        assert_eq!(poll(120, &["a", "b"], &[&failed("4", "b", 100)]), 1);
        assert_eq!(poll(150, &["a"], &[]), 0);
        assert_eq!(poll(180, &["a", "b"], &[&failed("5", "b", 160)]), 1, "it was watched before");
        assert_eq!(poll(210, &[], &[&failed("6", "c", 190), &failed("7", "b", 190)]), 1);
        assert_eq!(poll(240, &[], &[&failed("8", "c", 220)]), 1);
        assert_eq!(poll(270, &["c", "d"], &[&failed("9", "c", 255), &failed("10", "d", 200)]), 1);
        assert_eq!(poll(300, &["c", "d"], &[&failed("11", "d", 280)]), 1);
    }

    /// A task that fails again and again: when each run starts and ends.
    fn runs() -> impl Strategy<Value = Vec<(i64, i64)>> {
        // Longer apart than replicas lag behind, and than polls are.
        let pairs = proptest::collection::vec((130_i64..600, 10_i64..600), 1..6);
        pairs.prop_map(|pairs| {
            let mut now = 0;
            let mut turn = |seconds| {
                now += seconds;
                now
            };
            pairs.into_iter().map(|(wait, work)| (turn(wait), turn(work))).collect()
        })
    }

    proptest! {
        #[test]
        fn every_end_is_counted_once_whatever_replicas_restarts_and_leaps_of_the_clock_do(
            runs in runs(),
            lags in proptest::collection::vec(prop_oneof![Just(0_i64), 1_i64..60], 256),
            trouble in proptest::collection::vec(0_u8..20, 256),
            skew in prop_oneof![Just(None), (-900_i64..900).prop_map(Some)],
        ) {
            let (mut rows, mut counted) = (Rows::new(), 0);
            // Where answers tell the vendor's time, ours may be off, and leap, as it likes. Where
            // none does, it is right, but for a poll now and then that is not the first.
            let off = |second: i64, leap: i64| {
                let (real, off) = (clocks(second), skew.unwrap_or(0) + leap);
                Clocks { now: real.now.offset_by(off), offset: skew.map(|_| -off), ..real }
            };
            let mut completions = Completions::new(off(0, 0));
            let last = runs.last().map_or(0, |&(_, end)| end) + 300;
            for ((second, lag), trouble) in (5..last).step_by(30).zip(lags).zip(trouble) {
                let shown = second - lag;
                let run = runs.iter().rev().find(|(start, _)| *start <= shown);
                let tasks: Vec<Task> = run
                    .map(|&(start, end)| {
                        if end <= shown {
                            task(TaskState::Failed, start, Some(end))
                        } else {
                            task(TaskState::Running, start, None)
                        }
                    })
                    .into_iter()
                    .collect();
                let leap = match trouble {
                    1 if skew.is_some() || second > 5 => 40 * DAY,
                    2 if skew.is_some() || second > 5 => -40 * DAY,
                    _ => 0,
                };
                let at = off(second, leap);
                if trouble == 0 {
                    keep(&mut completions, &mut rows);
                    completions = restored(&rows, at);
                }
                counted += completions.enter(&tasks, trouble != 3, |_| false, at).len();
            }
            prop_assert_eq!(counted, runs.len());
        }
    }

    #[test]
    fn a_baseline_by_a_clock_that_had_leapt_ahead_is_put_right() {
        let by = |second, leap| {
            let real = clocks(second);
            Clocks { now: real.now.offset_by(leap), offset: None, ..real }
        };
        let mut completions = Completions::new(by(0, 0));
        assert_eq!(entered(&mut completions, &[], true, by(30, 40 * DAY)), 0);
        assert_eq!(entered(&mut completions, &[], true, by(60, 0)), 0);
        assert_eq!(entered(&mut completions, &[], true, by(90, 0)), 0);
        assert_eq!(
            entered(&mut completions, &[&task(TaskState::Failed, 70, Some(80))], true, by(120, 0)),
            1
        );
    }

    /// What is kept of a completions, by table and name.
    type Rows = BTreeMap<(&'static str, String), String>;

    fn keep(completions: &mut Completions, rows: &mut Rows) {
        let baseline = serde_json::to_string(&completions.baseline).unwrap();
        rows.insert(("baseline", String::new()), baseline);
        for id in std::mem::take(&mut completions.changed) {
            let run = serde_json::to_string(&completions.runs[&id]).unwrap();
            rows.insert(("run", id.to_string()), run);
        }
    }

    fn restored(rows: &Rows, at: Clocks) -> Completions {
        let mut completions = Completions::new(at);
        for ((table, id), row) in rows {
            if *table == "run" {
                completions.runs.insert(id.as_str().into(), serde_json::from_str(row).unwrap());
            } else {
                completions.baseline = serde_json::from_str(row).unwrap();
                completions.begun = None;
            }
        }
        completions
    }

    #[test]
    fn durations_need_both_ends_in_order() {
        assert_eq!(duration(&task(TaskState::Failed, 0, Some(70))), Some(Duration::from_secs(70)));
        assert_eq!(duration(&task(TaskState::Failed, 80, Some(70))), None);
        assert_eq!(duration(&task(TaskState::Failed, 0, None)), None);
    }
}
