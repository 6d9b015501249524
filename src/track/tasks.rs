//! `TaskTable`: what is known of a source's tasks between polls: what to keep, what to call unknown,
//! what to forget.
//!
//! The rules:
//!
//! - What a poll did not reach stays as it was; a failed poll drops nothing.
//! - An unfinished task that no answer has named for `stale_after` is shown as unknown.
//! - A task that a complete list leaves out, and that cannot be asked for, is unknown from then on,
//!   until it is seen again. Absence is never success.
//! - Finished and vanished tasks stay for their retention, counted from the poll that first saw
//!   them so, however old the vendor's end time. Unfinished tasks never expire by age.
//! - A vanished task is sought for as long as the completions remembers it, also when it is no longer
//!   shown. Only a vendor that has said several times, over hours, that there is no such task ends
//!   that.
//! - A task has moved when the vendor gives another state, another progress, or steps that are
//!   further on: a word that means the same state is no change, nor is silence, nor the time left.
//! - An estimated end goes when its time has come, and with the state in which it was made.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::model::{Step, Task, TaskError, TaskState, Timestamp};
use serde::{Deserialize, Serialize};

use crate::platform::sabotage;
use crate::platform::sabotage::Bug;
use crate::snapshot::Tracked;
use crate::storage::{Batch, Contents, Table};
use crate::track::completions;
use crate::track::completions::Completions;
use crate::track::estimate::Progression;
use crate::track::findings::Findings;
use crate::track::transition::{Told, Transition};

/// How long things are kept, and how many are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long a task without news counts as what it last was.
    pub stale_after: Duration,
    /// How long succeeded, canceled and vanished tasks are shown.
    pub finished: Duration,
    /// How long failed tasks are shown.
    pub failed: Duration,
    /// How many tasks are shown at most.
    pub tasks: usize,
}

/// One row a task: an [`Entry`].
const TASKS: Table = Table("task");
/// How old the last sighting of an unfinished task in the journal may be: it need not be written at
/// every poll only to say that nothing has changed.
const GRAIN: Duration = Duration::from_mins(5);
/// How often, and over how long, a vendor has to say that there is no such task.
const DENIALS: (u32, Duration) = (4, Duration::from_hours(2));

/// The tasks of one source.
#[derive(Debug, Default)]
pub struct TaskTable {
    entries: Vec<Entry>,
    /// Vanished tasks that are no longer shown, but still sought.
    sought: Vec<Entry>,
    /// Tasks that are in the journal but no longer here.
    dropped: Vec<Arc<str>>,
}

/// A task, and what is to be remembered of it but not shown.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    tracked: Tracked,
    /// The last sighting that is in the journal, if the journal has all else as it is.
    #[serde(skip)]
    saved: Option<Timestamp>,
    /// The state that the vendor gave last, whatever has become of it by our own rules.
    said: TaskState,
    #[serde(default, skip_serializing_if = "Progression::is_empty")]
    progression: Progression,
    #[serde(default)]
    told: Told,
    /// The log has told of its failure without the error text, which it still has to tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    owes_text: bool,
    #[serde(default, skip_serializing_if = "Denials::is_none")]
    denials: Denials,
}

/// How often the vendor has said that there is no such task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Denials {
    count: u32,
    first: Option<Timestamp>,
    /// It was often enough, or nobody wants to know any more: the task is not sought any longer.
    is_over: bool,
}

impl Denials {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, now: Timestamp) {
        let (count, over) = DENIALS;
        let first = *self.first.get_or_insert(now);
        self.count = count.min(self.count.saturating_add(1));
        self.is_over |= self.count == count && now.since(first) >= over;
    }
}

/// What is to be shown of a [`TaskTable`].
#[derive(Debug, Default, PartialEq)]
pub struct Shown {
    /// Ordered by id.
    pub tasks: Vec<Tracked>,
    /// The others, ordered by id.
    pub hidden: Vec<Tracked>,
    /// How many tasks are in each state, as [`TaskState::ALL`].
    pub states: [u64; TaskState::ALL.len()],
}

impl TaskTable {
    /// The table that an earlier process left.
    pub fn restore(source: &str, contents: &mut Contents) -> Self {
        let rows = contents.take::<Entry>(TASKS, source).into_iter();
        let entries = rows
            .map(|(_, entry)| Entry { saved: Some(entry.tracked.last_seen), ..entry })
            .collect();
        Self { entries, ..Self::default() }
    }

    /// Puts what has changed since the last time into `batch`.
    pub fn save(&mut self, source: &str, batch: &mut Batch) {
        for id in self.dropped.drain(..).filter(|_| !sabotage::is(Bug::RowsKept)) {
            batch.remove(TASKS, source, &id);
        }
        for entry in self.entries.iter_mut().chain(&mut self.sought) {
            let Tracked { task, last_seen, settled, .. } = &entry.tracked;
            let old = |saved| settled.is_none() && last_seen.since(saved) >= GRAIN;
            if entry.saved.is_none_or(old) {
                batch.put(TASKS, source, &task.id, entry);
                entry.saved = Some(*last_seen);
            }
        }
    }

    /// Forgets every task, and puts that into `batch`.
    pub fn forget(&mut self, source: &str, batch: &mut Batch) {
        let entries = self.entries.drain(..).chain(self.sought.drain(..));
        let ids = entries.map(|entry| entry.tracked.task.id);
        for id in ids.chain(self.dropped.drain(..)) {
            batch.remove(TASKS, source, &id);
        }
    }

    /// Every task, in no order.
    pub fn tasks(&self) -> impl Iterator<Item = &Tracked> {
        self.entries.iter().map(|entry| &entry.tracked)
    }

    /// The failed tasks whose error is not known.
    pub fn silent(&self) -> impl Iterator<Item = &Tracked> {
        self.tasks().filter(|Tracked { task, settled, .. }| {
            settled.is_some() && task.state == TaskState::Failed && task.error.is_none()
        })
    }

    /// The log has told of the failure of the task with this id, without its error text.
    pub fn owe_text(&mut self, id: &str) {
        let entry = self.entries.iter_mut().find(|entry| *entry.tracked.task.id == *id);
        if let Some(entry) = entry {
            (entry.owes_text, entry.saved) = (true, None);
        }
    }

    /// Enters what the vendor says of a failure that has been entered before. Returns the task if
    /// the log still has to tell that.
    pub fn explain(&mut self, id: &str, error: Box<TaskError>) -> Option<&Task> {
        let entry = self.entries.iter_mut().find(|entry| *entry.tracked.task.id == *id)?;
        let task = &mut entry.tracked.task;
        // It may have begun to run again.
        if task.state != TaskState::Failed || sabotage::is(Bug::TextDropped) {
            return None;
        }
        task.error = Some(error);
        entry.saved = None;
        std::mem::take(&mut entry.owes_text).then_some(task)
    }

    /// The tasks whose end has not been seen and is still of interest, shown or not.
    pub fn open(&self, now: Timestamp) -> impl Iterator<Item = &Tracked> {
        let entries = self.entries.iter().chain(&self.sought);
        entries.filter(move |entry| entry.is_open(now)).map(|entry| &entry.tracked)
    }

    /// Whether a task may change soon: it has not ended, and does not wait for a time that is yet to
    /// come.
    pub fn any_under_way(&self, now: Timestamp) -> bool {
        let waits = |task: &Task| {
            task.state == TaskState::Pending && task.scheduled.is_some_and(|time| time > now)
        };
        self.tasks().any(|tracked| tracked.settled.is_none() && !waits(&tracked.task))
    }

    /// Enters what a poll found; `completions` has entered it before. Returns the tasks that have come to
    /// another state, those that were not known before, and those whose run is another one.
    pub fn enter(
        &mut self,
        findings: Findings,
        completions: &Completions,
        retention: &Retention,
        now: Timestamp,
    ) -> Vec<Transition> {
        let mut found: BTreeMap<Arc<str>, Task> =
            findings.tasks.into_iter().map(|task| (Arc::clone(&task.id), task)).collect();
        let gone: HashSet<Arc<str>> = findings.gone.into_iter().collect();
        let left_over: HashSet<Arc<str>> = findings.left_over.into_iter().collect();
        let unanswered: HashSet<Arc<str>> = findings.unanswered.into_iter().collect();
        let is_found = |entry: &mut Entry| found.contains_key(&entry.tracked.task.id);
        self.entries.extend(self.sought.extract_if(.., is_found));
        self.note_denials(&findings.denied, &findings.unwanted, now);
        let mut transitions = Vec::new();
        for entry in &mut self.entries {
            let tracked = &mut entry.tracked;
            let sighting = if sabotage::is(Bug::EnteredAnew) {
                found.get(&tracked.task.id).cloned()
            } else {
                found.remove(&tracked.task.id)
            };
            if let Some(task) = sighting {
                transitions.extend(entry.see(task, completions, now));
            } else if tracked.settled.is_none()
                && (findings.complete && !left_over.contains(&tracked.task.id)
                    || gone.contains(&tracked.task.id)
                    || unanswered.contains(&tracked.task.id)
                        && now.since(tracked.last_seen) > retention.stale_after)
            {
                if entry.told.lose() {
                    transitions.push(Transition::lost(&tracked.task));
                }
                tracked.task.state = if sabotage::is(Bug::AbsenceIsSuccess) {
                    TaskState::Succeeded
                } else {
                    TaskState::Unknown
                };
                tracked.task.scheduled = None;
                tracked.settled = Some(now);
                entry.saved = None;
            }
        }
        let new = found.into_values().map(|task| Entry::new(task, completions, now));
        // What has been shown for its time does not come back, though the vendor still lists it.
        for mut entry in new.filter(|entry| !entry.tracked.has_expired(retention, now)) {
            let task = &entry.tracked.task;
            let from = entry.told.see(task.state);
            transitions.extend(from.map(|from| Transition::seen(task, from)));
            self.entries.push(entry);
        }
        transitions
    }

    fn note_denials(&mut self, denied: &[Arc<str>], unwanted: &[Arc<str>], now: Timestamp) {
        if denied.is_empty() && unwanted.is_empty() {
            return;
        }
        let denied: HashSet<&Arc<str>> = denied.iter().collect();
        let unwanted: HashSet<&Arc<str>> = unwanted.iter().collect();
        for entry in self.entries.iter_mut().chain(&mut self.sought) {
            let (id, before) = (&entry.tracked.task.id, entry.denials);
            if denied.contains(id) {
                entry.denials.add(now);
            }
            entry.denials.is_over |= unwanted.contains(id);
            if entry.denials != before {
                entry.saved = None;
            }
        }
    }

    /// Drops what has been shown for its time, and calls unknown what has been silent for too long.
    pub fn age(&mut self, retention: &Retention, now: Timestamp) {
        for Entry { tracked, .. } in self.entries.iter_mut().chain(&mut self.sought) {
            // A clock that is set back must not make anything younger than it is.
            tracked.last_seen = tracked.last_seen.min(now);
            tracked.progress_changed = tracked.progress_changed.min(now);
            tracked.settled = tracked.settled.map(|settled| settled.min(now));
        }
        let expired = |entry: &mut Entry| {
            entry.tracked.has_expired(retention, now) && !sabotage::is(Bug::NoRetention)
        };
        self.sought.extend(self.entries.extract_if(.., expired));
        let over = self.sought.extract_if(.., |entry| !entry.is_open(now));
        self.dropped.extend(over.map(|entry| entry.tracked.task.id));
        for Entry { tracked, .. } in &mut self.entries {
            if tracked.settled.is_none()
                && now.since(tracked.last_seen) > retention.stale_after
                && !sabotage::is(Bug::NeverStale)
            {
                tracked.task.state = TaskState::Unknown;
                tracked.task.scheduled = None;
            }
            let running = tracked.task.state == TaskState::Running;
            tracked.estimated_end = tracked.estimated_end.filter(|&end| running && now < end);
        }
    }

    /// When [`TaskTable::age`] will next change something without a poll.
    pub fn next_change(&self, retention: &Retention) -> Option<Timestamp> {
        let one_second = Duration::from_secs(1);
        self.tasks()
            .flat_map(|tracked| {
                let change = match tracked.settled {
                    Some(_) => tracked.expires(retention),
                    None if tracked.task.state == TaskState::Unknown => None,
                    None => Some(tracked.last_seen + retention.stale_after + one_second),
                };
                [change, tracked.estimated_end]
            })
            .flatten()
            .min()
    }

    /// The tasks to show: unfinished ones first, then failed ones, then the newest.
    pub fn show(&self, retention: &Retention) -> Shown {
        let mut states = [0; TaskState::ALL.len()];
        for (count, state) in states.iter_mut().zip(TaskState::ALL) {
            let of_state = self.tasks().filter(|tracked| tracked.task.state == state);
            *count = of_state.count() as u64;
        }
        let mut tasks: Vec<&Tracked> = self.tasks().collect();
        let mut hidden = Vec::new();
        if tasks.len() > retention.tasks {
            tasks.sort_by_key(|tracked| {
                let task = &tracked.task;
                let rank = match (tracked.settled, task.state) {
                    (None, _) => 0,
                    (Some(_), TaskState::Failed) => 1,
                    (Some(_), _) => 2,
                };
                (rank, Reverse(task.started.or(task.created)), Arc::clone(&task.id))
            });
            hidden = tasks.split_off(retention.tasks);
        }
        let [tasks, hidden] = [tasks, hidden].map(|tasks| {
            let mut tasks: Vec<Tracked> = tasks.into_iter().cloned().collect();
            tasks.sort_unstable_by(|a, b| a.task.id.cmp(&b.task.id));
            tasks
        });
        Shown { tasks, hidden, states }
    }
}

impl Entry {
    /// The first sighting.
    fn new(task: Task, completions: &Completions, now: Timestamp) -> Self {
        let mut progression = Progression::default();
        progression.see(&task, now);
        let tracked = Tracked {
            last_seen: now,
            progress_changed: now,
            estimated_end: progression.estimated_end(&task, now),
            settled: completions.settled(&task.id),
            task,
        };
        Self {
            said: tracked.task.state,
            tracked,
            saved: None,
            progression,
            told: Told::default(),
            owes_text: false,
            denials: Denials::default(),
        }
    }

    /// Whether the task's end has not been seen and is still of interest.
    fn is_open(&self, now: Timestamp) -> bool {
        let Tracked { task, last_seen, settled, .. } = &self.tracked;
        let is_remembered = settled.is_none() || now.since(*last_seen) < completions::MEMORY;
        !task.state.is_final() && is_remembered && !self.denials.is_over
    }

    /// Takes in a new sighting. What an answer by id leaves out stays as the list had it.
    fn see(
        &mut self,
        mut task: Task,
        completions: &Completions,
        now: Timestamp,
    ) -> Option<Transition> {
        let tracked = &mut self.tracked;
        let old = &tracked.task;
        if self.said != task.state || has_moved(old, &task) {
            tracked.progress_changed = now;
        }
        self.said = task.state;
        if task.started.zip(old.started).is_some_and(|(new, old)| new > old) {
            // Another run, whose predecessor nobody saw end.
            self.progression = Progression::default();
        }
        self.progression.see(&task, now);
        tracked.estimated_end = self.progression.estimated_end(&task, now);
        tracked.last_seen = now;
        self.denials = Denials::default();
        let settled = completions.settled(&task.id);
        let ended = std::mem::replace(&mut tracked.settled, settled) != settled;
        // The same text is kept once: answers repeat it at every poll.
        keep(&mut task.id, &old.id);
        keep(&mut task.vendor_status, &old.vendor_status);
        if task.kind.is_empty() || task.kind == old.kind {
            task.kind = Arc::clone(&old.kind);
        }
        let unnamed = task.resource.name.is_none() && task.resource.id == old.resource.id;
        if task.resource.id.is_empty() || unnamed || task.resource == old.resource {
            task.resource = Arc::clone(&old.resource);
        }
        let same_end = task.state.is_final() && old.state == task.state && !ended;
        if same_end && task.error.is_none() {
            task.error.clone_from(&old.error);
        }
        self.owes_text &= same_end;
        task.created = task.created.or(old.created);
        if ended || *old != task {
            self.saved = None;
        }
        let again = ended && task.state.is_final() && settled == Some(now);
        let from = self.told.see(task.state).or_else(|| again.then_some(Some(task.state)));
        tracked.task = task;
        from.map(|from| Transition::seen(&tracked.task, from))
    }
}

impl Tracked {
    /// When it is no longer shown; `None` while it is unfinished.
    fn expires(&self, retention: &Retention) -> Option<Timestamp> {
        let retention = match self.task.state {
            TaskState::Failed => retention.failed,
            TaskState::Pending
            | TaskState::Running
            | TaskState::Paused
            | TaskState::Succeeded
            | TaskState::Canceled
            | TaskState::Unknown => retention.finished,
        };
        Some(self.settled? + retention)
    }

    fn has_expired(&self, retention: &Retention, now: Timestamp) -> bool {
        self.expires(retention).is_some_and(|expiry| now >= expiry)
    }
}

/// Whether the progress or a step of a task is another than it was. The time that is left is no
/// progress: it counts down, and is guessed anew, while a task hangs. Nor is what an answer leaves
/// out: some calls of a vendor say less than others.
fn has_moved(old: &Task, new: &Task) -> bool {
    (new.progress.is_some() && new.progress != old.progress)
        || (!new.steps.is_empty() && !same_steps(&old.steps, &new.steps))
}

fn same_steps(a: &[Step], b: &[Step]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| (&a.name, a.state, a.progress) == (&b.name, b.state, b.progress))
}

fn keep(new: &mut Arc<str>, old: &Arc<str>) {
    if new == old {
        *new = Arc::clone(old);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use dbtask_clouds::model::{Ratio, Resource};
    use tokio::time::Instant;

    use super::*;
    use crate::track::completions::Clocks;

    const KEEPING: Retention = Retention {
        stale_after: Duration::from_mins(15),
        finished: Duration::from_hours(1),
        failed: Duration::from_hours(24),
        tasks: 3,
    };

    fn at(minute: u64) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap() + Duration::from_mins(minute)
    }

    fn clocks(minute: u64) -> Clocks {
        static START: OnceLock<Instant> = OnceLock::new();
        let instant = *START.get_or_init(Instant::now) + Duration::from_mins(minute);
        Clocks { now: at(minute), offset: Some(0), instant }
    }

    /// A book and its completions, told of polls minute by minute.
    struct Desk {
        book: TaskTable,
        completions: Completions,
    }

    impl Default for Desk {
        fn default() -> Self {
            Self { book: TaskTable::default(), completions: Completions::new(clocks(0)) }
        }
    }

    impl Desk {
        /// A poll that went well and found these; then what is shown.
        fn poll(&mut self, minute: u64, tasks: Vec<Task>) -> String {
            self.fetch(minute, Findings { tasks, complete: true, ..Findings::default() })
        }

        /// A poll that failed without finding anything.
        fn failed_poll(&mut self, minute: u64) -> String {
            self.fetch(minute, Findings::default())
        }

        fn fetch(&mut self, minute: u64, findings: Findings) -> String {
            let now = at(minute);
            let clocks = clocks(minute);
            self.completions.enter(&findings.tasks, findings.complete, |_| false, clocks);
            self.book.enter(findings, &self.completions, &KEEPING, now);
            self.look(minute)
        }

        /// What goes into the journal.
        fn saved(&mut self) -> Batch {
            let mut batch = Batch::default();
            self.book.save("one", &mut batch);
            batch
        }

        /// The only task there is.
        fn only(&self) -> &Tracked {
            let [entry] = &*self.book.entries else { panic!("{:?}", self.book) };
            &entry.tracked
        }

        /// When the only task last moved.
        fn moved(&self) -> Timestamp {
            self.only().progress_changed
        }

        /// When the only task should end.
        fn end(&self) -> Option<Timestamp> {
            self.only().estimated_end
        }

        /// `id=state` of what is shown, in order.
        fn look(&mut self, minute: u64) -> String {
            self.book.age(&KEEPING, at(minute));
            let shown = self.book.show(&KEEPING);
            let tasks = shown
                .tasks
                .iter()
                .map(|tracked| format!("{}={}", tracked.task.id, tracked.task.state.as_str()));
            tasks.collect::<Vec<_>>().join(" ")
        }
    }

    fn task(id: &str, state: TaskState) -> Task {
        Task::new(id, state, state.as_str())
    }

    fn running(percent: u32) -> Task {
        let progress = Ratio::clamped(f64::from(percent) / 100.0);
        Task { progress, ..task("a", TaskState::Running) }
    }

    #[test]
    fn a_failed_poll_keeps_the_last_tasks() {
        let mut desk = Desk::default();
        assert_eq!(desk.poll(0, vec![task("a", TaskState::Running)]), "a=running");
        assert_eq!(desk.failed_poll(1), "a=running");
        assert_eq!(desk.failed_poll(15), "a=running");
    }

    #[test]
    fn an_unfinished_task_is_unknown_once_it_is_stale_and_known_again_when_seen() {
        let mut desk = Desk::default();
        desk.poll(0, vec![task("a", TaskState::Running), task("b", TaskState::Failed)]);
        assert_eq!(desk.failed_poll(16), "a=unknown b=failed");
        assert_eq!(desk.poll(17, vec![task("a", TaskState::Running)]), "a=running b=failed");
    }

    #[test]
    fn going_stale_is_no_progress() {
        let mut desk = Desk::default();
        desk.poll(0, vec![task("a", TaskState::Running)]);
        desk.failed_poll(16);
        desk.poll(17, vec![task("a", TaskState::Running)]);
        assert_eq!(desk.moved(), at(0));
        desk.poll(18, vec![task("a", TaskState::Paused)]);
        assert_eq!(desk.moved(), at(18));
    }

    #[test]
    fn vanishing_and_coming_back_as_it_was_is_no_progress() {
        let mut desk = Desk::default();
        desk.poll(0, vec![task("a", TaskState::Running)]);
        desk.poll(1, vec![]);
        desk.poll(2, vec![task("a", TaskState::Running)]);
        assert_eq!(desk.moved(), at(0));
    }

    #[test]
    fn another_state_is_progress_and_another_word_for_the_same_state_is_not() {
        let mut desk = Desk::default();
        desk.poll(0, vec![Task::new("a", TaskState::Running, "Running")]);
        desk.poll(1, vec![Task::new("a", TaskState::Running, "Retry")]);
        assert_eq!(desk.moved(), at(0));
        for (minute, state) in (2..).zip([TaskState::Paused, TaskState::Running, TaskState::Failed])
        {
            desk.poll(minute, vec![Task::new("a", state, "Running")]);
            assert_eq!(desk.moved(), at(minute));
        }
    }

    #[test]
    fn progress_that_changes_is_progress_even_backwards() {
        let mut desk = Desk::default();
        for (minute, percent) in (0..).zip([10, 11, 3, 4]) {
            desk.poll(minute, vec![running(percent)]);
            assert_eq!(desk.moved(), at(minute));
        }
        desk.poll(4, vec![running(4)]);
        assert_eq!(desk.moved(), at(3));
    }

    #[test]
    fn progress_that_is_not_said_is_no_change() {
        let mut desk = Desk::default();
        let step = Step { name: "copy".into(), state: None, progress: None, remaining: None };
        desk.poll(0, vec![Task { steps: [step].into(), ..running(10) }]);
        desk.poll(1, vec![task("a", TaskState::Running)]);
        assert_eq!(desk.moved(), at(0));
    }

    #[test]
    fn a_step_that_comes_begins_goes_on_or_ends_is_progress() {
        const WAITS: Option<TaskState> = Some(TaskState::Pending);
        const RUNS: Option<TaskState> = Some(TaskState::Running);
        let mut desk = Desk::default();
        let steps: [&[(&str, Option<TaskState>, f64)]; 6] = [
            &[("copy", WAITS, 0.0)],
            &[("copy", RUNS, 0.0)],
            &[("copy", RUNS, 0.5)],
            &[("copy", RUNS, 1.0)],
            &[("copy", Some(TaskState::Succeeded), 1.0)],
            &[("copy", Some(TaskState::Succeeded), 1.0), ("switch", WAITS, 0.0)],
        ];
        for (minute, steps) in (0..).zip(steps) {
            let step = |&(name, state, progress): &(&str, _, _)| Step {
                name: name.into(),
                state,
                progress: Ratio::clamped(progress),
                remaining: None,
            };
            let steps: Box<[Step]> = steps.iter().map(step).collect();
            let of_steps = Task { steps, ..task("a", TaskState::Running) };
            desk.poll(minute, vec![of_steps]);
            assert_eq!(desk.moved(), at(minute));
        }
    }

    #[test]
    fn time_left_is_no_progress() {
        let mut desk = Desk::default();
        let step = |progress, left| Step {
            name: "copy".into(),
            state: None,
            progress: Ratio::clamped(progress),
            remaining: Some(Duration::from_secs(left)),
        };
        let with = |step| Task { steps: [step].into(), ..task("a", TaskState::Running) };
        desk.poll(0, vec![with(step(0.4, 90))]);
        desk.poll(1, vec![with(step(0.4, 30))]);
        assert_eq!(desk.moved(), at(0));
        desk.poll(2, vec![with(step(0.5, 30))]);
        assert_eq!(desk.moved(), at(2));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nothing_for_longer() {
        let mut desk = Desk::default();
        desk.poll(600, vec![task("a", TaskState::Running), task("b", TaskState::Succeeded)]);
        assert_eq!(desk.failed_poll(0), "a=running b=succeeded");
        assert_eq!(desk.failed_poll(16), "a=unknown b=succeeded");
        assert_eq!(desk.failed_poll(60), "a=unknown");
        assert_eq!(desk.moved(), at(0), "not in the future");
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nothing_for_longer_though_the_vendor_still_lists_it() {
        let mut desk = Desk::default();
        let both = || vec![task("a", TaskState::Running), task("b", TaskState::Succeeded)];
        desk.poll(600, both());
        for minute in 0..60 {
            assert_eq!(desk.poll(minute, both()), "a=running b=succeeded");
        }
        assert_eq!(desk.poll(60, both()), "a=running");
    }

    #[test]
    fn what_is_listed_beyond_its_retention_is_no_change() {
        let mut desk = Desk::default();
        let ended = || vec![task("a", TaskState::Succeeded)];
        desk.poll(0, ended());
        assert!(!desk.saved().is_empty());
        assert_eq!(desk.poll(60, ended()), "");
        assert!(!desk.saved().is_empty(), "it is gone");
        for minute in 61..70 {
            assert_eq!(desk.poll(minute, ended()), "");
            assert!(desk.saved().is_empty(), "minute {minute}");
        }
    }

    #[test]
    fn an_estimated_end_stands_until_its_time_has_come_and_wakes_the_poller_then() {
        let mut desk = Desk::default();
        for (minute, percent) in [(0, 70), (3, 80), (6, 90)] {
            desk.poll(minute, vec![running(percent)]);
        }
        assert_eq!(desk.end(), Some(at(9)));
        assert_eq!(desk.book.next_change(&KEEPING), Some(at(9)));
        desk.failed_poll(8);
        assert_eq!(desk.end(), Some(at(9)));
        desk.look(9);
        assert_eq!(desk.end(), None);
        let stale = at(6) + KEEPING.stale_after + Duration::from_secs(1);
        assert_eq!(desk.book.next_change(&KEEPING), Some(stale));
    }

    #[test]
    fn an_estimated_end_goes_when_the_task_is_unknown_or_ends() {
        let left = |state| Task { remaining: Some(Duration::from_hours(9)), ..task("a", state) };
        let mut desk = Desk::default();
        desk.poll(0, vec![left(TaskState::Running)]);
        assert_eq!(desk.end(), Some(at(9 * 60)));
        desk.failed_poll(16);
        assert_eq!(desk.end(), None, "stale");
        desk.poll(17, vec![left(TaskState::Running)]);
        assert_eq!(desk.end(), Some(at(9 * 60 + 17)));
        desk.poll(18, vec![]);
        assert_eq!(desk.end(), None, "vanished");
        desk.poll(19, vec![left(TaskState::Running)]);
        desk.poll(20, vec![left(TaskState::Failed)]);
        assert_eq!(desk.end(), None, "failed");
    }

    #[test]
    fn a_new_run_has_a_pace_of_its_own() {
        let started = |percent, minute| Task { started: Some(at(minute)), ..running(percent) };
        let mut desk = Desk::default();
        for (minute, percent) in [(0, 10), (3, 20), (6, 30)] {
            desk.poll(minute, vec![started(percent, 0)]);
        }
        assert!(desk.end().is_some());
        desk.poll(9, vec![started(40, 8)]);
        assert_eq!(desk.end(), None, "another start");
        for (minute, percent) in [(12, 50), (15, 60)] {
            desk.poll(minute, vec![started(percent, 8)]);
        }
        assert!(desk.end().is_some());
        desk.poll(16, vec![task("a", TaskState::Failed)]);
        desk.poll(17, vec![started(70, 8)]);
        assert_eq!(desk.end(), None, "an end in between");
    }

    #[test]
    fn a_vanished_task_is_unknown_for_one_retention_and_never_succeeded() {
        let mut desk = Desk::default();
        desk.poll(0, vec![task("a", TaskState::Running)]);
        assert_eq!(desk.poll(1, vec![]), "a=unknown");
        assert_eq!(desk.poll(60, vec![]), "a=unknown");
        assert_eq!(desk.poll(61, vec![]), "");
    }

    #[test]
    fn a_vanished_task_that_comes_back_is_itself_again() {
        let mut desk = Desk::default();
        desk.poll(0, vec![task("a", TaskState::Running)]);
        desk.poll(1, vec![]);
        assert_eq!(desk.poll(2, vec![task("a", TaskState::Running)]), "a=running");
        assert_eq!(desk.poll(200, vec![task("a", TaskState::Running)]), "a=running");
    }

    #[test]
    fn an_incomplete_list_makes_nothing_vanish() {
        let mut desk = Desk::default();
        desk.poll(0, vec![task("a", TaskState::Running)]);
        let part = Findings { tasks: vec![task("b", TaskState::Running)], ..Findings::default() };
        assert_eq!(desk.fetch(1, part), "a=running b=running");
    }

    #[test]
    fn a_task_that_there_was_no_time_to_ask_for_stays_as_it_was() {
        let mut desk = Desk::default();
        desk.poll(0, vec![task("a", TaskState::Running)]);
        let left_over = vec![Arc::from("a")];
        let hasty = Findings { left_over, complete: true, ..Findings::default() };
        assert_eq!(desk.fetch(1, hasty), "a=running");
    }

    #[test]
    fn an_id_that_the_vendor_does_not_know_is_gone_even_without_a_list() {
        let mut desk = Desk::default();
        desk.poll(0, vec![task("a", TaskState::Running)]);
        let gone = Findings { gone: vec![Arc::from("a")], ..Findings::default() };
        assert_eq!(desk.fetch(1, gone), "a=unknown");
    }

    #[test]
    fn retention_counts_from_the_poll_that_first_saw_the_end() {
        let mut desk = Desk::default();
        let old = |id, state| Task {
            ended: Some(at(0).saturating_sub(Duration::from_hours(20))),
            ..task(id, state)
        };
        let both = || vec![old("a", TaskState::Succeeded), old("b", TaskState::Failed)];
        assert_eq!(desk.poll(0, both()), "a=succeeded b=failed");
        assert_eq!(desk.poll(59, both()), "a=succeeded b=failed");
        assert_eq!(desk.poll(60, both()), "b=failed", "though the vendor still lists it");
        assert_eq!(desk.poll(24 * 60 - 1, both()), "b=failed");
        assert_eq!(desk.poll(24 * 60, both()), "");
        assert_eq!(desk.poll(24 * 60 + 1, both()), "");
    }

    #[test]
    fn a_long_runner_never_expires() {
        let mut desk = Desk::default();
        for day in 0..40 {
            let shown = desk.poll(day * 24 * 60, vec![task("a", TaskState::Running)]);
            assert_eq!(shown, "a=running", "day {day}");
        }
    }

    #[test]
    fn the_limit_hides_the_oldest_finished_tasks_and_counts_them() {
        let mut desk = Desk::default();
        let at_start = |id, state, minute| Task { started: Some(at(minute)), ..task(id, state) };
        let shown = desk.poll(
            100,
            vec![
                at_start("a", TaskState::Succeeded, 50),
                at_start("b", TaskState::Succeeded, 60),
                at_start("c", TaskState::Failed, 1),
                at_start("d", TaskState::Running, 2),
                at_start("e", TaskState::Canceled, 40),
            ],
        );
        assert_eq!(shown, "b=succeeded c=failed d=running");
        let shown = desk.book.show(&KEEPING);
        assert_eq!((shown.hidden.len(), shown.states), (2, [0, 1, 0, 2, 1, 1, 0]));
    }

    #[test]
    fn what_an_answer_leaves_out_is_kept_from_the_list() {
        let mut desk = Desk::default();
        let listed = Task {
            resource: Arc::new(Resource { id: "r".into(), name: Some("orders".into()) }),
            kind: "Resize".into(),
            ..task("a", TaskState::Running)
        };
        desk.poll(0, vec![listed]);
        let by_id = Task { resource: Arc::new(Resource::new("r")), ..task("a", TaskState::Failed) };
        desk.poll(1, vec![by_id]);
        let task = &desk.only().task;
        assert_eq!((&*task.kind, task.resource.name.as_deref()), ("Resize", Some("orders")));
    }

    #[test]
    fn the_next_change_is_when_something_expires_or_goes_stale() {
        let mut desk = Desk::default();
        assert_eq!(desk.book.next_change(&KEEPING), None);
        desk.poll(0, vec![task("a", TaskState::Running), task("b", TaskState::Succeeded)]);
        let stale = at(15) + Duration::from_secs(1);
        assert_eq!(desk.book.next_change(&KEEPING), Some(stale));
        desk.failed_poll(16);
        assert_eq!(desk.book.next_change(&KEEPING), Some(at(60)));
    }
}
