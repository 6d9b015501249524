//! `Event`: what the log tells of a source's tasks; `docs/logs.md` promises the fields.

use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::model::{Task, TaskState};

use crate::track::coverage::Gap;
use crate::track::transition::Transition;

/// One line in the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A task has come to another state, with its duration if its end has been counted.
    Moved(Box<Transition>, Option<Duration>),
    /// The error text of a failed task has come after its failure.
    Explained(Box<Task>),
    /// The vendor uses a status word that is not documented.
    UnknownStatus {
        /// The first task that has it.
        id: Arc<str>,
        /// The word.
        word: Arc<str>,
    },
    /// A time of which no answer will ever tell has begun.
    Gap(Gap),
}

impl Event {
    /// Writes the line.
    pub fn log(&self, source: &str) {
        match self {
            Self::Moved(transition, duration) => log_transition(source, transition, *duration),
            Self::Explained(task) => {
                let error = task.error.as_deref();
                tracing::info!(
                    source,
                    task_id = &*task.id,
                    kind = &*task.kind,
                    resource_id = &*task.resource.id,
                    error_code = error.map(|error| &*error.code),
                    error_message = error.map(|error| &*error.message),
                    "task error"
                );
            }
            Self::UnknownStatus { id, word } => tracing::warn!(
                source,
                task_id = &**id,
                vendor_status = &**word,
                "the vendor uses a status word that is not documented"
            ),
            Self::Gap(gap) => tracing::warn!(
                source,
                from = %gap.from,
                to = %gap.to,
                seconds = gap.duration().as_secs(),
                "tasks may have come and gone unseen: the list does not reach back to the last poll"
            ),
        }
    }
}

fn log_transition(source: &str, transition: &Transition, duration: Option<Duration>) {
    let Transition { task, from, lost } = transition;
    let error = task.error.as_deref();
    // Two call sites, for a level cannot vary.
    macro_rules! line {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                source,
                task_id = &*task.id,
                kind = &*task.kind,
                resource_id = &*task.resource.id,
                from = from.map(TaskState::as_str),
                to = task.state.as_str(),
                duration_seconds = duration.map(|it| it.as_secs()),
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
    }
}
