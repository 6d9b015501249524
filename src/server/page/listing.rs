//! Which tasks are on the page, and in which order.

use std::cmp::Reverse;
use std::sync::Arc;

use dbtask_clouds::model::{TaskState, Timestamp};

use crate::server::filter::Filter;
use crate::snapshot::{Snapshot, Tracked};

/// Tasks on one page.
pub(super) const PAGE: usize = 50;

/// One page of the tasks that a filter leaves.
pub(super) struct Listing<'a> {
    /// What is on the page.
    pub(super) entries: Vec<Entry<'a>>,
    /// How many tasks of these sources and with this text are in each state, as
    /// [`TaskState::ALL`]: what a click on a state would lead to.
    pub(super) states: [u64; TaskState::ALL.len()],
    /// How many tasks the filter leaves.
    pub(super) found: usize,
    /// Which page this is, from 1.
    pub(super) page: usize,
    /// How many there are, at least 1.
    pub(super) pages: usize,
}

/// A task and where it comes from.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) tracked: &'a Tracked,
    /// Whether the limit keeps it out of the metrics.
    pub(super) is_hidden: bool,
}

impl<'a> Listing<'a> {
    /// The page that is asked for, from 1, or the last if there are fewer.
    pub(super) fn new(snapshots: &'a [Arc<Snapshot>], filter: &Filter, page: usize) -> Self {
        let mut states = [0; TaskState::ALL.len()];
        let mut found: Vec<Entry<'_>> = Vec::new();
        for snapshot in snapshots.iter().filter(|snapshot| filter.has_source(&snapshot.source)) {
            let shown = snapshot.tasks.iter().map(|tracked| (tracked, false));
            for (tracked, is_hidden) in
                shown.chain(snapshot.hidden.iter().map(|tracked| (tracked, true)))
            {
                if !filter.has_text(&snapshot.source, tracked) {
                    continue;
                }
                let state = tracked.task.state;
                for (count, _) in states.iter_mut().zip(TaskState::ALL).filter(|(_, s)| *s == state)
                {
                    *count += 1;
                }
                if filter.has_state(state) {
                    found.push(Entry { snapshot, tracked, is_hidden });
                }
            }
        }
        found.sort_by_key(Entry::order);
        let pages = found.len().div_ceil(PAGE).max(1);
        let page = page.clamp(1, pages);
        let entries = found.iter().skip((page - 1) * PAGE).take(PAGE).copied().collect();
        Self { entries, states, found: found.len(), page, pages }
    }
}

impl<'a> Entry<'a> {
    /// What somebody has to look at comes first: failed tasks, the latest on top; those that
    /// nothing is known of; unfinished ones, the longest at work on top, for one of them may be
    /// stuck; then what has ended, the latest on top.
    fn order(&self) -> (u8, Reverse<Option<i64>>, Option<i64>, &'a str, &'a str) {
        let task = &self.tracked.task;
        let rank = match task.state {
            TaskState::Failed => 0,
            TaskState::Unknown => 1,
            TaskState::Paused | TaskState::Running => 2,
            TaskState::Pending => 3,
            TaskState::Canceled | TaskState::Succeeded => 4,
        };
        let end = task.ended.or(self.tracked.settled).filter(|_| task.state.is_final());
        let begin = task.started.or(task.created).filter(|_| !task.state.is_final());
        let [end, begin] = [end, begin].map(|time| time.map(Timestamp::as_second));
        (rank, Reverse(end), begin, &self.snapshot.source.name, &task.id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dbtask_clouds::model::Task;

    use super::*;
    use crate::snapshot::SourceInfo;

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_772_352_000 + seconds).unwrap()
    }

    fn tracked(id: &str, state: TaskState, started: i64, ended: Option<i64>) -> Tracked {
        let mut task = Task::new(id, state, "WORD");
        task.started = Some(time(started));
        task.ended = ended.map(time);
        let (last_seen, progress_changed) = (time(0), time(0));
        Tracked { task, last_seen, progress_changed, estimated_end: None, settled: None }
    }

    fn snapshot(name: &str, tasks: Vec<Tracked>) -> Arc<Snapshot> {
        let source = Arc::new(SourceInfo { name: name.into(), ..SourceInfo::default() });
        let empty = Snapshot::before_first_poll(source, Duration::from_secs(30));
        Arc::new(Snapshot { tasks, ..empty })
    }

    fn ids<'a>(listing: &Listing<'a>) -> Vec<&'a str> {
        listing.entries.iter().map(|entry| &*entry.tracked.task.id).collect()
    }

    #[test]
    fn failed_tasks_come_first_then_the_unfinished_then_the_latest_ends() {
        let one = snapshot(
            "one",
            vec![
                tracked("done-early", TaskState::Succeeded, -900, Some(-800)),
                tracked("failed-early", TaskState::Failed, -900, Some(-700)),
                tracked("long", TaskState::Running, -900, None),
                tracked("waits", TaskState::Pending, -901, None),
            ],
        );
        let two = snapshot(
            "two",
            vec![
                tracked("canceled", TaskState::Canceled, -900, Some(-500)),
                tracked("failed-late", TaskState::Failed, -900, Some(-10)),
                tracked("lost", TaskState::Unknown, -900, None),
                tracked("short", TaskState::Running, -20, None),
            ],
        );
        let both = [one, two];
        let listing = Listing::new(&both, &Filter::default(), 1);
        assert_eq!(
            ids(&listing),
            [
                "failed-late",
                "failed-early",
                "lost",
                "long",
                "short",
                "waits",
                "canceled",
                "done-early"
            ]
        );
    }

    #[test]
    fn states_are_counted_as_a_click_on_them_would_find_them() {
        let tasks = vec![
            tracked("a1", TaskState::Failed, 0, None),
            tracked("a2", TaskState::Running, 0, None),
            tracked("b1", TaskState::Running, 0, None),
        ];
        let all = [snapshot("one", tasks.clone()), snapshot("two", tasks)];
        let filter = Filter::new("source=one&state=failed&q=a").unwrap();
        let listing = Listing::new(&all, &filter, 1);
        assert_eq!(ids(&listing), ["a1"]);
        assert_eq!(listing.states, [0, 1, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn what_the_limit_hides_from_the_metrics_is_listed_all_the_same() {
        let mut one = Snapshot::clone(&snapshot("one", Vec::new()));
        one.hidden = vec![tracked("late", TaskState::Failed, 0, None)];
        let all = [Arc::new(one)];
        let listing = Listing::new(&all, &Filter::default(), 1);
        assert!(listing.entries[0].is_hidden);
        assert_eq!(listing.states[4], 1);
    }

    #[test]
    fn every_task_is_on_exactly_one_page_and_a_page_too_far_is_the_last() {
        let tasks = (0..125).map(|i| tracked(&format!("{i:03}"), TaskState::Running, i, None));
        let all = [snapshot("one", tasks.collect())];
        let page = |number| Listing::new(&all, &Filter::default(), number);
        let seen: Vec<&str> = (1..=3).flat_map(|number| ids(&page(number))).collect();
        assert!(seen.is_sorted() && seen.len() == 125, "{seen:?}");
        assert_eq!(
            (page(99_999).page, page(99_999).pages, page(usize::MAX).entries.len()),
            (3, 3, 25)
        );
        let none = Listing::new(&[], &Filter::default(), 7);
        assert_eq!((none.page, none.pages, none.found), (1, 1, 0));
    }
}
