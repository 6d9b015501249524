//! `Ledger`: which tasks of a source have ended, so that each end is counted once.
//!
//! A counter counts transitions into a final state, once per run of a task. The rules:
//!
//! - Tasks that are already final when watching begins are a **baseline**: remembered, not counted.
//!   Their end time tells, whenever they come into view: a first good poll may be late, and a
//!   cluster newly found. Where there is none, the first poll that read the source to its end does.
//! - A task seen unfinished and then final is counted, and so is one that began and ended between
//!   two polls.
//! - An end time that becomes known or changes later belongs to the same run. A **new run** of the
//!   same id needs an unfinished sighting in between, or two known ends with a later start.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::journal::{Batch, Contents, Table};
use crate::sabotage::{self, Bug};
use crate::task::{Task, TaskState, Timestamp};

/// How long a task is remembered after it was last seen: longer than any vendor's list
/// reaches back, so that it cannot come into view again once it is forgotten.
pub const MEMORY: Duration = Duration::from_hours(35 * 24);

/// How much our clock and a vendor's may differ; beyond that vendors refuse. While there is no
/// baseline, an end that is further ahead says that our clock is wrong, and nothing of the task.
const SKEW: Duration = Duration::from_mins(15);

/// How old the time that is remembered of a sighting may be: a task that is listed for ever is
/// written down once a day, not at every poll.
const GRAIN: Duration = Duration::from_hours(24);

/// One row a source: its [`Baseline`].
const BASELINES: Table = Table("baseline");
/// One row a task: its [`Run`].
const RUNS: Table = Table("run");

/// The runs of every task that a source has shown.
#[derive(Debug)]
pub struct Ledger {
    baseline: Baseline,
    runs: HashMap<Arc<str>, Run>,
    /// What is not in the journal yet: ids of runs, and the baseline.
    changed: BTreeSet<Arc<str>>,
    baseline_changed: bool,
    /// Seconds to add to our clock to get the vendor's, by which tasks end.
    clock_offset: i64,
}

/// What was there before we counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Baseline {
    /// By the vendor's clock once it is complete; until then by ours, whose error may not be known.
    watching_since: Timestamp,
    /// Whether the source has been read to its end.
    complete: bool,
}

/// The latest run of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// The first poll that saw it final; `None` while it goes on.
    settled: Option<Timestamp>,
    /// To within a day.
    last_seen: Timestamp,
}

/// A task has ended, for the first time in its run.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The task, in its final state.
    pub task: Task,
    /// From its start, or its creation, to its end; `None` where the vendor did not say.
    pub duration: Option<Duration>,
}

impl Ledger {
    /// A ledger without a task, of a source that is watched from `now` on.
    pub fn new(now: Timestamp) -> Self {
        Self {
            baseline: Baseline { watching_since: now, complete: false },
            runs: HashMap::new(),
            changed: BTreeSet::new(),
            baseline_changed: true,
            clock_offset: 0,
        }
    }

    /// The ledger that an earlier process left, else a new one.
    pub fn restore(source: &str, contents: &mut Contents, now: Timestamp) -> Self {
        let mut ledger = Self::new(now);
        if sabotage::is(Bug::BaselineOnEveryStart) {
            return ledger;
        }
        if let Some((_, baseline)) = contents.take(BASELINES, source).pop() {
            ledger.baseline = baseline;
            ledger.baseline_changed = false;
        }
        let runs = contents.take::<Run>(RUNS, source).into_iter();
        ledger.runs = runs.map(|(id, run)| (id.into(), run)).collect();
        ledger
    }

    /// Puts what has changed since the last time into `batch`.
    pub fn save(&mut self, source: &str, batch: &mut Batch) {
        if std::mem::take(&mut self.baseline_changed) {
            batch.put(BASELINES, source, "", &self.baseline);
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
        for id in self.runs.keys().chain(&self.changed) {
            batch.remove(RUNS, source, id);
        }
    }

    /// Says what has to be added to our clock, in seconds, to get the vendor's.
    pub fn set_clock_offset(&mut self, seconds: i64) {
        self.clock_offset = seconds;
    }

    /// Whether the baseline is complete: from then on what comes into view is news.
    pub fn is_watching(&self) -> bool {
        self.baseline.complete
    }

    /// Enters what a poll saw, and returns the ends to be counted. `complete` says that the poll
    /// read everything: the first such poll ends the baseline.
    pub fn enter(&mut self, tasks: &[Task], complete: bool, now: Timestamp) -> Vec<Completion> {
        let mut completions = Vec::new();
        for task in tasks {
            if task.state.is_final() {
                if self.enter_final(task, now) {
                    completions.push(Completion { duration: duration(task), task: task.clone() });
                }
            } else {
                self.enter_unfinished(task, now);
            }
        }
        if complete {
            let watching_since = self.watching_since();
            self.baseline_changed |= !self.baseline.complete;
            self.baseline = Baseline { watching_since, complete: true };
            // Only now, when all that is there has been seen: a clock that leaps ahead for the time
            // of a failed poll must not make us forget what has been counted.
            let changed = &mut self.changed;
            self.runs.retain(|id, run| {
                let too_soon = sabotage::is(Bug::RunsForgotten)
                    && run.settled.is_some_and(|settled| now.since(settled).as_secs() > 3600);
                let keep = now.since(run.last_seen) < MEMORY && !too_soon;
                if !keep {
                    changed.insert(Arc::clone(id));
                }
                keep
            });
        }
        completions
    }

    /// The first poll that saw the task's present run final; `None` while it goes on.
    pub fn settled(&self, id: &str) -> Option<Timestamp> {
        self.runs.get(id)?.settled
    }

    /// Since when ends are counted, by the vendor's clock.
    fn watching_since(&self) -> Timestamp {
        let Baseline { watching_since, complete } = self.baseline;
        if complete { watching_since } else { watching_since.offset_by(self.clock_offset) }
    }

    fn enter_unfinished(&mut self, task: &Task, now: Timestamp) {
        let open = Run { started: task.started, ended: None, settled: None, last_seen: now };
        let run = match self.runs.get(&task.id) {
            // A word that nobody knows is no proof of a new run.
            Some(&run) if run.settled.is_some() && task.state == TaskState::Unknown => {
                Run { last_seen: now, ..run }
            }
            Some(_) | None => open,
        };
        self.set(&task.id, run);
    }

    /// Whether this end is to be counted.
    fn enter_final(&mut self, task: &Task, now: Timestamp) -> bool {
        let final_run =
            Run { started: task.started, ended: task.ended, settled: Some(now), last_seen: now };
        let Some(&run) = self.runs.get(&task.id) else {
            self.set(&task.id, final_run);
            let complete = self.baseline.complete;
            let latest = now.offset_by(self.clock_offset) + SKEW;
            return task.ended.map_or(complete, |ended| {
                ended >= self.watching_since() && (complete || ended <= latest)
            });
        };
        let late_end = run.ended.is_none() && task.ended.is_some();
        let is_new = run.settled.is_none()
            || is_later(run.started, task.started) && is_later(run.ended, task.ended)
            || late_end && sabotage::is(Bug::LateEndCounted);
        let same_run = Run {
            // Without its end a later start may be that of the next run, which is counted then.
            started: match task.ended {
                Some(_) => run.started.max(task.started),
                None => run.started.or(task.started),
            },
            ended: task.ended.or(run.ended),
            // A clock that is set back must not make anything younger than it is.
            settled: run.settled.map(|settled| settled.min(now)),
            last_seen: now,
        };
        self.set(&task.id, if is_new { final_run } else { same_run });
        is_new
    }

    /// Keeps the run, unless only the time of its last sighting would change, by less than a grain.
    fn set(&mut self, id: &Arc<str>, run: Run) {
        if let Some(old) = self.runs.get(id)
            && *old == (Run { last_seen: old.last_seen, ..run })
            && run.last_seen.since(old.last_seen) < GRAIN
        {
            return;
        }
        self.runs.insert(Arc::clone(id), run);
        self.changed.insert(Arc::clone(id));
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
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
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
        let mut ledger = Ledger::new(at(0));
        let mut now = at(0);
        polls
            .iter()
            .map(|tasks| {
                now = now + Duration::from_mins(1);
                let tasks: Vec<Task> = tasks.iter().copied().cloned().collect();
                ledger.enter(&tasks, true, now).len()
            })
            .collect()
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
        let failed = task(TaskState::Failed, 0, Some(70));
        let running = task(TaskState::Running, 0, None);
        let polls: [&[&Task]; 4] = [&[], &[&failed], &[&running], &[&failed]];
        assert_eq!(counted(&polls), [0, 1, 0, 1]);
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
        let mut ledger = Ledger::new(at(0));
        let old = task(TaskState::Failed, -600, None);
        assert_eq!(ledger.enter(&[], false, at(0)), []);
        assert_eq!(ledger.enter(&[old], true, at(60)), []);
        let other = Task::new("u", TaskState::Failed, "Failed");
        assert_eq!(ledger.enter(&[other], true, at(120)).len(), 1);
    }

    #[test]
    fn an_end_after_the_start_is_counted_though_the_first_good_poll_came_later() {
        let mut ledger = Ledger::new(at(0));
        assert_eq!(ledger.enter(&[], false, at(60)), []);
        assert_eq!(ledger.enter(&[task(TaskState::Failed, 10, Some(70))], true, at(90)).len(), 1);
    }

    #[test]
    fn a_clock_that_was_decades_behind_at_the_start_makes_no_old_failure_new() {
        let mut ledger = Ledger::new(Timestamp::from_second(60).unwrap());
        let old = task(TaskState::Failed, -600, Some(-300));
        let now = Timestamp::from_second(90).unwrap();
        assert_eq!(ledger.enter(std::slice::from_ref(&old), true, now), []);
        assert_eq!(ledger.enter(&[old], true, at(0)), []);
    }

    #[test]
    fn a_leap_of_the_clock_during_a_failed_poll_makes_nothing_count_twice() {
        let mut ledger = Ledger::new(at(0));
        let failed = task(TaskState::Failed, 0, Some(70));
        assert_eq!(ledger.enter(std::slice::from_ref(&failed), true, at(90)).len(), 1);
        assert_eq!(ledger.enter(&[], false, at(100 * 86_400)), []);
        assert_eq!(ledger.enter(&[failed], true, at(150)), []);
    }

    #[test]
    fn a_transition_within_the_baseline_is_counted() {
        let mut ledger = Ledger::new(at(0));
        assert_eq!(ledger.enter(&[task(TaskState::Running, 0, None)], false, at(0)), []);
        assert_eq!(ledger.enter(&[task(TaskState::Failed, 0, None)], false, at(60)).len(), 1);
    }

    #[test]
    fn what_the_list_still_shows_is_remembered_however_long() {
        let mut ledger = Ledger::new(at(0));
        ledger.enter(&[], true, at(0));
        let failed = task(TaskState::Failed, 0, Some(70));
        assert_eq!(ledger.enter(std::slice::from_ref(&failed), true, at(90)).len(), 1);
        for day in 1..100 {
            let counted = ledger.enter(std::slice::from_ref(&failed), true, at(day * 86_400));
            assert_eq!(counted, [], "day {day}");
        }
        ledger.enter(&[], true, at(200 * 86_400));
        assert_eq!(ledger.runs.len(), 0, "what no list shows is forgotten in the end");
    }

    #[test]
    fn durations_need_both_ends_in_order() {
        assert_eq!(duration(&task(TaskState::Failed, 0, Some(70))), Some(Duration::from_secs(70)));
        assert_eq!(duration(&task(TaskState::Failed, 80, Some(70))), None);
        assert_eq!(duration(&task(TaskState::Failed, 0, None)), None);
    }
}
