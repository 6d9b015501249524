//! `Findings`: what one poll says of tasks.

use std::sync::Arc;

use dbtask_clouds::model::Task;

use crate::track::coverage::Covers;

/// What one poll says of tasks.
#[derive(Debug, Default)]
pub struct Findings {
    /// Every task seen, each once, ordered by id.
    pub tasks: Vec<Task>,
    /// Ids of tasks that are out of sight: the vendor has answered without them.
    pub gone: Vec<Arc<str>>,
    /// Ids for which the question failed, though the list went well without them: they are out of
    /// sight once nothing has been heard of them for too long.
    pub unanswered: Vec<Arc<str>>,
    /// Ids of which the vendor says that there is no such task.
    pub denied: Vec<Arc<str>>,
    /// Ids that nobody wants to be asked for any more.
    pub unwanted: Vec<Arc<str>>,
    /// Ids of which nothing new is known: there was no time to ask, or the question failed.
    pub left_over: Vec<Arc<str>>,
    /// Whether the list was read to its end, so that what is neither in it nor left over is not
    /// there.
    pub complete: bool,
    /// When the tasks that it shows began: all of them, whether ended or not. `None` where it failed,
    /// and where the vendor has no list of what has ended.
    pub covers: Option<Covers>,
    /// Whether the poll has ended and nothing went wrong for the source as a whole.
    pub good: bool,
    /// Whether it asked for everything, and every question was answered.
    pub read_all: bool,
}
