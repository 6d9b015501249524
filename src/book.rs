//! `Book`: what is known of a source's tasks between polls: what to keep, what to call unknown,
//! what to forget.
//!
//! The rules:
//!
//! - What a poll did not reach stays as it was; a failed poll drops nothing.
//! - An unfinished task that no answer has named for `stale_after` is shown as unknown.
//! - A task that a complete list leaves out, and that cannot be asked for, is unknown from then on.
//!   Absence is never success.
//! - Finished and vanished tasks stay for their retention, counted from the poll that first saw
//!   them so, however old the vendor's end time. Unfinished tasks never expire by age.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::journal::{Batch, Contents, Table};
use crate::ledger::Ledger;
use crate::sabotage::{self, Bug};
use crate::source::Fetched;
use crate::store::Tracked;
use crate::task::{Step, Task, TaskState, Timestamp};

/// How long things are kept, and how many are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// How long a task without news counts as what it last was.
    pub stale_after: Duration,
    /// How long succeeded, canceled and vanished tasks are shown.
    pub finished: Duration,
    /// How long failed tasks are shown.
    pub failed: Duration,
    /// How many tasks are shown at most.
    pub tasks: usize,
}

/// One row a task: what is [`Tracked`] of it.
const TASKS: Table = Table("task");
/// How old the last sighting of an unfinished task in the journal may be: it need not be written at
/// every poll only to say that nothing has changed.
const GRAIN: Duration = Duration::from_mins(5);

/// The tasks of one source.
#[derive(Debug, Default)]
pub struct Book {
    tasks: Vec<Tracked>,
    saved: Saved,
}

/// What the journal has of a [`Book`].
#[derive(Debug, Default)]
struct Saved {
    /// When each task that it has as it is was last seen by then.
    seen: BTreeMap<Arc<str>, Timestamp>,
    /// Tasks that are no longer in the book.
    dropped: Vec<Arc<str>>,
}

/// What is to be shown of a [`Book`].
#[derive(Debug, Default, PartialEq)]
pub struct Shown {
    /// Ordered by id.
    pub tasks: Vec<Tracked>,
    /// How many more there are.
    pub truncated: u64,
    /// How many tasks are in each state, as [`TaskState::ALL`].
    pub states: [u64; TaskState::ALL.len()],
}

impl Book {
    /// The book that an earlier process left.
    pub fn restore(source: &str, contents: &mut Contents) -> Self {
        let mut book = Self::default();
        for (_, tracked) in contents.take::<Tracked>(TASKS, source) {
            book.saved.seen.insert(Arc::clone(&tracked.task.id), tracked.last_seen);
            book.tasks.push(tracked);
        }
        book
    }

    /// Puts what has changed since the last time into `batch`.
    pub fn save(&mut self, source: &str, batch: &mut Batch) {
        for id in self.saved.dropped.drain(..) {
            batch.remove(TASKS, source, &id);
        }
        for tracked in &self.tasks {
            let old = |&seen: &Timestamp| {
                tracked.settled.is_none() && tracked.last_seen.since(seen) >= GRAIN
            };
            if self.saved.seen.get(&tracked.task.id).is_none_or(old) {
                batch.put(TASKS, source, &tracked.task.id, tracked);
                self.saved.seen.insert(Arc::clone(&tracked.task.id), tracked.last_seen);
            }
        }
    }

    /// Every task, in no order.
    pub fn tasks(&self) -> impl Iterator<Item = &Tracked> {
        self.tasks.iter()
    }

    /// Whether any task is still to end.
    pub fn any_unfinished(&self) -> bool {
        self.tasks.iter().any(|tracked| tracked.settled.is_none())
    }

    /// Enters what a poll found; `ledger` has entered it before.
    pub fn enter(&mut self, fetched: Fetched, ledger: &Ledger, now: Timestamp) {
        let mut found: BTreeMap<Arc<str>, Task> =
            fetched.tasks.into_iter().map(|task| (Arc::clone(&task.id), task)).collect();
        let gone: HashSet<Arc<str>> = fetched.gone.into_iter().collect();
        for tracked in &mut self.tasks {
            if let Some(task) = found.remove(&tracked.task.id) {
                if tracked.see(task, ledger, now) {
                    self.saved.seen.remove(&tracked.task.id);
                }
            } else if tracked.settled.is_none()
                && (fetched.complete || gone.contains(&tracked.task.id))
                && !sabotage::is(Bug::AbsenceIgnored)
            {
                tracked.task.state = if sabotage::is(Bug::AbsenceIsSuccess) {
                    TaskState::Succeeded
                } else {
                    TaskState::Unknown
                };
                tracked.settled = Some(now);
                self.saved.seen.remove(&tracked.task.id);
            }
        }
        self.tasks.extend(found.into_values().map(|task| Tracked {
            last_seen: now,
            progress_changed: now,
            settled: ledger.settled(&task.id),
            task,
        }));
    }

    /// Drops what has been shown for its time, and calls unknown what has been silent for too long.
    pub fn age(&mut self, keeping: &Keeping, now: Timestamp) {
        for tracked in &mut self.tasks {
            // A clock that is set back must not make anything younger than it is.
            tracked.last_seen = tracked.last_seen.min(now);
            tracked.settled = tracked.settled.map(|settled| settled.min(now));
        }
        let saved = &mut self.saved;
        self.tasks.retain(|tracked| {
            let keep = tracked.expires(keeping).is_none_or(|expiry| now < expiry)
                || sabotage::is(Bug::NoRetention);
            if !keep {
                saved.seen.remove(&tracked.task.id);
                saved.dropped.push(Arc::clone(&tracked.task.id));
            }
            keep
        });
        for tracked in &mut self.tasks {
            if tracked.settled.is_none()
                && now.since(tracked.last_seen) > keeping.stale_after
                && !sabotage::is(Bug::NeverStale)
            {
                tracked.task.state = TaskState::Unknown;
            }
        }
    }

    /// When [`Book::age`] will next change something without a poll.
    pub fn next_change(&self, keeping: &Keeping) -> Option<Timestamp> {
        let one_second = Duration::from_secs(1);
        self.tasks
            .iter()
            .filter_map(|tracked| match tracked.settled {
                Some(_) => tracked.expires(keeping),
                None if tracked.task.state == TaskState::Unknown => None,
                None => Some(tracked.last_seen + keeping.stale_after + one_second),
            })
            .min()
    }

    /// The tasks to show: unfinished ones first, then failed ones, then the newest.
    pub fn show(&self, keeping: &Keeping) -> Shown {
        let mut states = [0; TaskState::ALL.len()];
        for (count, state) in states.iter_mut().zip(TaskState::ALL) {
            let of_state = self.tasks.iter().filter(|tracked| tracked.task.state == state);
            *count = of_state.count() as u64;
        }
        let mut tasks: Vec<&Tracked> = self.tasks.iter().collect();
        let hidden = tasks.len().saturating_sub(keeping.tasks);
        if hidden > 0 {
            tasks.sort_by_key(|tracked| {
                let task = &tracked.task;
                let rank = match (tracked.settled, task.state) {
                    (None, _) => 0,
                    (Some(_), TaskState::Failed) => 1,
                    (Some(_), _) => 2,
                };
                (rank, Reverse(task.started.or(task.created)), Arc::clone(&task.id))
            });
            tasks.truncate(keeping.tasks);
        }
        let mut tasks: Vec<Tracked> = tasks.into_iter().cloned().collect();
        tasks.sort_unstable_by(|a, b| a.task.id.cmp(&b.task.id));
        Shown { tasks, truncated: hidden as u64, states }
    }
}

impl Tracked {
    /// Takes in a new sighting. What an answer by id leaves out stays as the list had it. Returns
    /// whether anything but the time of the sighting is new.
    fn see(&mut self, mut task: Task, ledger: &Ledger, now: Timestamp) -> bool {
        let old = &self.task;
        let changed = old.vendor_status != task.vendor_status
            || old.progress != task.progress
            || !same_progress(&old.steps, &task.steps);
        if changed {
            self.progress_changed = now;
        }
        self.last_seen = now;
        let settled = ledger.settled(&task.id);
        let ended = std::mem::replace(&mut self.settled, settled) != settled;
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
        if task.state.is_final() && old.state == task.state && task.error.is_none() {
            task.error.clone_from(&old.error);
        }
        task.created = task.created.or(old.created);
        let changed = *old != task;
        self.task = task;
        ended || changed
    }

    /// When it is no longer shown; `None` while it is unfinished.
    fn expires(&self, keeping: &Keeping) -> Option<Timestamp> {
        let retention = match self.task.state {
            TaskState::Failed => keeping.failed,
            TaskState::Pending
            | TaskState::Running
            | TaskState::Paused
            | TaskState::Succeeded
            | TaskState::Canceled
            | TaskState::Unknown => keeping.finished,
        };
        Some(self.settled? + retention)
    }
}

/// Whether steps are as far as they were. The time that is left is no progress: it counts down, and
/// is guessed anew, while a step hangs.
fn same_progress(a: &[Step], b: &[Step]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| (&a.name, a.progress) == (&b.name, b.progress))
}

fn keep(new: &mut Arc<str>, old: &Arc<str>) {
    if new == old {
        *new = Arc::clone(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Ratio, Resource};

    const KEEPING: Keeping = Keeping {
        stale_after: Duration::from_mins(15),
        finished: Duration::from_hours(1),
        failed: Duration::from_hours(24),
        tasks: 3,
    };

    fn at(minute: u64) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap() + Duration::from_mins(minute)
    }

    /// A book and its ledger, told of polls minute by minute.
    struct Desk {
        book: Book,
        ledger: Ledger,
    }

    impl Default for Desk {
        fn default() -> Self {
            Self { book: Book::default(), ledger: Ledger::new(at(0)) }
        }
    }

    impl Desk {
        /// A poll that went well and found these; then what is shown.
        fn poll(&mut self, minute: u64, tasks: Vec<Task>) -> String {
            self.fetch(minute, Fetched { tasks, complete: true, ..Fetched::default() })
        }

        /// A poll that failed without finding anything.
        fn failed_poll(&mut self, minute: u64) -> String {
            self.fetch(minute, Fetched::default())
        }

        fn fetch(&mut self, minute: u64, fetched: Fetched) -> String {
            let now = at(minute);
            self.ledger.enter(&fetched.tasks, fetched.complete, now);
            self.book.enter(fetched, &self.ledger, now);
            self.look(minute)
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
        assert_eq!(desk.book.tasks[0].progress_changed, at(0));
        desk.poll(18, vec![task("a", TaskState::Paused)]);
        assert_eq!(desk.book.tasks[0].progress_changed, at(18));
    }

    #[test]
    fn time_left_is_no_progress() {
        let mut desk = Desk::default();
        let step = |progress, left| Step {
            name: "copy".into(),
            progress: Ratio::clamped(progress),
            remaining: Some(Duration::from_secs(left)),
        };
        let with = |step| Task { steps: [step].into(), ..task("a", TaskState::Running) };
        desk.poll(0, vec![with(step(0.4, 90))]);
        desk.poll(1, vec![with(step(0.4, 30))]);
        assert_eq!(desk.book.tasks[0].progress_changed, at(0));
        desk.poll(2, vec![with(step(0.5, 30))]);
        assert_eq!(desk.book.tasks[0].progress_changed, at(2));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nothing_for_longer() {
        let mut desk = Desk::default();
        desk.poll(600, vec![task("a", TaskState::Running), task("b", TaskState::Succeeded)]);
        assert_eq!(desk.failed_poll(0), "a=running b=succeeded");
        assert_eq!(desk.failed_poll(16), "a=unknown b=succeeded");
        assert_eq!(desk.failed_poll(60), "a=unknown");
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
        let part = Fetched { tasks: vec![task("b", TaskState::Running)], ..Fetched::default() };
        assert_eq!(desk.fetch(1, part), "a=running b=running");
    }

    #[test]
    fn an_id_that_the_vendor_does_not_know_is_gone_even_without_a_list() {
        let mut desk = Desk::default();
        desk.poll(0, vec![task("a", TaskState::Running)]);
        let gone = Fetched { gone: vec![Arc::from("a")], ..Fetched::default() };
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
        assert_eq!((shown.truncated, shown.states), (2, [0, 1, 0, 2, 1, 1, 0]));
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
        let task = &desk.book.tasks[0].task;
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
