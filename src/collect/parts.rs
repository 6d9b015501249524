//! `Parts`: what a poll has seen while it goes on, entered and published part by part.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::model::Task;
use tokio::time::Instant;

use crate::track::findings::Findings;

/// How often what a poll has seen is published while it lasts, and how long it has to last.
const PARTS: Duration = Duration::from_secs(1);

/// What a poll has seen while it goes on, published part by part.
#[derive(Debug)]
pub(super) struct Parts {
    /// What has yet to be entered.
    new: BTreeMap<Arc<str>, Task>,
    /// The tasks that have been entered, and whether they had ended.
    entered: HashMap<Arc<str>, bool>,
    /// When the next part is.
    pub(super) due: Instant,
}

impl Parts {
    pub(super) fn new(begun: Instant) -> Self {
        Self { new: BTreeMap::new(), entered: HashMap::new(), due: begun + PARTS }
    }

    /// Adds tasks. As in a whole poll, an end is never taken back.
    pub(super) fn add(&mut self, tasks: Vec<Task>) {
        for task in tasks {
            let ended = self.new.get(&task.id).is_some_and(|seen| seen.state.is_final())
                || self.entered.get(&task.id).is_some_and(|&ended| ended);
            if task.state.is_final() || !ended {
                self.new.insert(Arc::clone(&task.id), task);
            }
        }
    }

    /// Whether there is anything to enter.
    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty()
    }

    /// The next part, to be entered now.
    pub(super) fn take(&mut self) -> Findings {
        self.due = Instant::now() + PARTS;
        let tasks: Vec<Task> = std::mem::take(&mut self.new).into_values().collect();
        let ended = |task: &Task| (Arc::clone(&task.id), task.state.is_final());
        self.entered.extend(tasks.iter().map(ended));
        Findings { tasks, ..Findings::default() }
    }

    /// Takes what has been entered out of what the whole poll has found: it was seen then, not now.
    pub(super) fn leave_out(self, findings: &mut Findings) {
        let Self { new, mut entered, .. } = self;
        entered.retain(|id, _| !new.contains_key(id));
        findings.tasks.retain(|task| !entered.contains_key(&task.id));
        findings.left_over.extend(entered.into_keys());
    }
}
