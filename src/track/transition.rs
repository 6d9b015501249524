//! `Transition`: a task has come to another state, which is one line in the log. Pure.
//!
//! To `unknown` and back is told once between two other states: a vendor that has a word for a task
//! now and then, or shows it now and then, does not fill the log.

use dbtask_clouds::model::{Task, TaskState};
use serde::{Deserialize, Serialize};

/// A task in its new state.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The task; of one that is out of sight, as it was last seen but for the state.
    pub task: Task,
    /// The state before, as it was told; `None` for a task that has not been seen before.
    pub from: Option<TaskState>,
    /// It is out of sight, so that its end has not been seen.
    pub lost: bool,
}

/// What has been told of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The last state that is known.
    known: Option<TaskState>,
    /// It is unknown now, and that has been told.
    is_unknown: bool,
    /// It has been unknown since it came to the state that is known.
    was_unknown: bool,
    /// The same, because it was out of sight.
    was_lost: bool,
}

impl Transition {
    /// A task that was seen in its new state.
    pub fn seen(task: &Task, from: Option<TaskState>) -> Self {
        Self { task: task.clone(), from, lost: false }
    }

    /// A task that is out of sight.
    pub fn lost(task: &Task) -> Self {
        let unknown = Task { state: TaskState::Unknown, ..task.clone() };
        Self { task: unknown, from: Some(task.state), lost: true }
    }
}

impl Told {
    /// Takes in the state that the vendor gives. Where the task comes from, if that is to be told;
    /// the inner `None` for a task of which nothing has been told.
    #[allow(clippy::option_option, reason = "a transition, which may be the first")]
    pub fn see(&mut self, state: TaskState) -> Option<Option<TaskState>> {
        let from = if self.is_unknown { Some(TaskState::Unknown) } else { self.known };
        if state == TaskState::Unknown {
            let first = !std::mem::replace(&mut self.was_unknown, true);
            self.is_unknown |= first;
            return first.then_some(from);
        }
        if self.known != Some(state) {
            *self = Self { known: Some(state), ..Self::default() };
            return Some(from);
        }
        std::mem::take(&mut self.is_unknown).then_some(from)
    }

    /// Takes in that the task is out of sight. Whether that is to be told.
    pub fn lose(&mut self) -> bool {
        self.was_unknown = true;
        let first = !std::mem::replace(&mut self.was_lost, true);
        self.is_unknown |= first;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a task with these states: `from to`, and `lost`.
    fn told(states: &str) -> Vec<String> {
        let mut told = Told::default();
        let mut lines = Vec::new();
        for word in states.split(' ') {
            if word == "gone" {
                lines.extend(told.lose().then(|| "lost".to_owned()));
                continue;
            }
            let state = TaskState::ALL.into_iter().find(|state| state.as_str() == word).unwrap();
            if let Some(from) = told.see(state) {
                lines.push(format!("{} {word}", from.map_or("-", TaskState::as_str)));
            }
        }
        lines
    }

    #[test]
    fn each_state_is_told_once() {
        let states = "pending pending running running paused running succeeded succeeded";
        let lines = [
            "- pending",
            "pending running",
            "running paused",
            "paused running",
            "running succeeded",
        ];
        assert_eq!(told(states), lines);
    }

    #[test]
    fn a_word_that_comes_and_goes_is_told_once() {
        let states = "running unknown running unknown running unknown unknown failed unknown";
        let lines =
            ["- running", "running unknown", "unknown running", "running failed", "failed unknown"];
        assert_eq!(told(states), lines);
        assert_eq!(told("unknown unknown running"), ["- unknown", "unknown running"]);
    }

    #[test]
    fn a_task_that_comes_and_goes_is_told_once() {
        let states = "running gone running gone running gone succeeded";
        let lines = ["- running", "lost", "unknown running", "running succeeded"];
        assert_eq!(told(states), lines);
        assert_eq!(told("running unknown gone gone"), ["- running", "running unknown", "lost"]);
        assert_eq!(told("running gone succeeded"), ["- running", "lost", "unknown succeeded"]);
    }
}
