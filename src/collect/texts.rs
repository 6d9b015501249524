//! `Texts`: the error texts of failed tasks, where the vendor's list leaves them out.
//!
//! A failure is shown and counted with the list that shows it. Its text takes a call of its own and
//! follows. The rules:
//!
//! - The newest failure comes first. One call is under way at a time.
//! - A call begins between two polls. If a poll is due meanwhile, the call goes on beside it.
//! - Unfinished tasks come first: nothing is asked after a poll that the vendor or the budget
//!   stopped, and one text between two polls where calls are few.
//! - What is to be asked follows from the tasks that are kept, so a restart loses no text.
//! - A text that is refused is asked for again after growing pauses, a few times in all.
//!   Trouble of the whole API makes all texts of the source wait, and counts against none of them.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::api::{Query, TaskRef};
use dbtask_clouds::model::{Task, TaskError, TaskState, Timestamp};
use dbtask_clouds::refusal::RefusalKind;
use tokio::time::Instant;

use crate::collect::budget::Spare;
use crate::collect::client::{Caller, FetchError};
use crate::snapshot::Tracked;
use crate::snapshot::daily_calls::Tally;

/// How often one text is asked for if each answer is a refusal.
const MOST_REFUSALS: u32 = 5;
/// The pause before one text is asked for again; doubled each time.
const PAUSE: RangeInclusive<Duration> = Duration::from_secs(30)..=Duration::from_hours(1);
/// The pause before any text is asked for after trouble of the API; doubled each time.
const TROUBLE_PAUSE: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_mins(5);

/// The texts that one source still has to ask for.
#[derive(Debug, Default)]
pub struct Texts {
    allowance: Allowance,
    under_way: Option<UnderWay>,
    /// What became of earlier calls, for the tasks whose text is still missing.
    tried: HashMap<Arc<str>, Tried>,
    /// Calls in a row that met trouble of the whole API.
    troubles: u32,
    /// No text is asked for before this instant.
    not_before: Option<Instant>,
    /// When one that has to pause may be asked for again.
    wake: Option<Instant>,
    /// The calls made since they were last taken.
    calls: Tally,
}

/// How many texts may be asked for until the next poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allowance {
    /// None.
    #[default]
    Nothing,
    /// One.
    One,
    /// As many as there are.
    All,
}

/// A call under way.
struct UnderWay {
    id: Arc<str>,
    settled: Option<Timestamp>,
    call: Pin<Box<dyn Future<Output = (Answer, Tally)> + Send>>,
}

/// The task, if the answer holds it.
type Answer = Result<Option<Task>, FetchError>;

impl fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnderWay").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What became of the calls for one text.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    /// The failure they were about: a later run of the task is another one.
    settled: Option<Timestamp>,
    tries: u32,
    refusals: u32,
    /// When to ask again; `None` for never.
    next: Option<Instant>,
}

/// A text that has come.
#[derive(Debug, PartialEq)]
pub struct Text {
    /// The task's id.
    pub id: Arc<str>,
    /// What the vendor says of its failure.
    pub error: Box<TaskError>,
}

impl Allowance {
    /// What may be asked for after a poll that went well, or whose failure says nothing about
    /// texts. `is_done` says that it left nothing to ask about unfinished tasks.
    pub fn after(is_done: bool, spare: Spare) -> Self {
        match spare {
            Spare::Plenty if is_done => Self::All,
            Spare::Plenty | Spare::Little => Self::One,
            Spare::Nothing => Self::Nothing,
        }
    }
}

impl Texts {
    /// A poll has ended: what may be asked for until the next, of the tasks in `silent`.
    pub fn allow<'a>(&mut self, allowance: Allowance, silent: impl Iterator<Item = &'a Tracked>) {
        self.allowance = allowance;
        if !self.tried.is_empty() {
            let silent: HashSet<&str> = silent.map(|tracked| &*tracked.task.id).collect();
            self.tried.retain(|id, _| silent.contains(&**id));
        }
    }

    /// Begins a call for the newest of `silent` whose turn it is, unless one is under way.
    pub fn begin<'a>(&mut self, caller: &Caller, silent: impl Iterator<Item = &'a Tracked>) {
        self.wake = None;
        if self.under_way.is_some() || self.allowance == Allowance::Nothing {
            return;
        }
        let now = Instant::now();
        if let Some(not_before) = self.not_before.filter(|&not_before| now < not_before) {
            self.wake = Some(not_before);
            return;
        }
        let mut newest: Option<(&Tracked, Query)> = None;
        for tracked in silent {
            match self.tried.get(&tracked.task.id).filter(|tried| tried.settled == tracked.settled)
            {
                Some(Tried { next: None, .. }) => continue,
                Some(Tried { next: Some(next), .. }) if now < *next => {
                    self.wake = Some(self.wake.map_or(*next, |wake| wake.min(*next)));
                    continue;
                }
                Some(_) | None => {}
            }
            if newest.as_ref().is_none_or(|(newest, _)| age(tracked) < age(newest)) {
                let query = caller.api.by_id(&TaskRef::of(&tracked.task), caller.vendor_now());
                newest = query.map(|query| (tracked, query)).or(newest);
            }
        }
        let Some((Tracked { task, settled, .. }, query)) = newest else { return };
        if self.allowance == Allowance::One {
            self.allowance = Allowance::Nothing;
        }
        let (id, settled) = (Arc::clone(&task.id), *settled);
        let (wanted, mut caller) = (Arc::clone(&id), caller.aside());
        let call = Box::pin(async move {
            let page = caller.call(&query).await;
            let task = page.map(|page| page.tasks.into_iter().find(|task| task.id == wanted));
            (task, caller.tally)
        });
        self.under_way = Some(UnderWay { id, settled, call });
    }

    /// Whether a call is under way.
    pub fn is_asking(&self) -> bool {
        self.under_way.is_some()
    }

    /// When [`Texts::begin`] may find something to ask for that it did not find before.
    pub fn wake(&self) -> Instant {
        self.wake.unwrap_or_else(|| Instant::now() + Duration::from_hours(1))
    }

    /// Waits for the answer to the call under way; for ever if there is none. `None` if the answer
    /// holds no text. May be dropped and called again.
    pub async fn answered(&mut self) -> Option<Text> {
        let Some(UnderWay { call, .. }) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let (answer, calls) = call.as_mut().await;
        self.calls.include(calls);
        let UnderWay { id, settled, .. } = self.under_way.take()?;
        self.judge(&id, settled, answer).map(|error| Text { id, error })
    }

    /// The calls made since this was last asked.
    pub fn take_calls(&mut self) -> Tally {
        std::mem::take(&mut self.calls)
    }

    /// The text in an answer; without one, decides when to ask again.
    fn judge(
        &mut self,
        id: &Arc<str>,
        settled: Option<Timestamp>,
        answer: Answer,
    ) -> Option<Box<TaskError>> {
        let now = Instant::now();
        let before = self.tried.remove(id).filter(|tried| tried.settled == settled);
        let mut tried = before.unwrap_or(Tried { settled, ..Tried::default() });
        let why = match answer {
            Ok(Some(task)) if task.state == TaskState::Failed => {
                self.troubles = 0;
                if task.error.is_none() {
                    self.tried.insert(Arc::clone(id), Tried { next: None, ..tried });
                }
                return task.error;
            }
            Err(error) if is_trouble(&error) => {
                self.not_before = Some(now + doubled(&TROUBLE_PAUSE, self.troubles));
                self.troubles = self.troubles.saturating_add(1);
                error.to_string()
            }
            Err(error) => {
                tried.refusals += 1;
                error.to_string()
            }
            // The call by id lags behind the list.
            Ok(_) => {
                tried.refusals += 1;
                "the answer does not show that the task has failed".to_owned()
            }
        };
        let again = tried.refusals < MOST_REFUSALS;
        tried.next = again.then(|| now + doubled(&PAUSE, tried.tries));
        tried.tries = tried.tries.saturating_add(1);
        self.tried.insert(Arc::clone(id), tried);
        tracing::debug!(task_id = &**id, again, "no error text: {why}");
        None
    }
}

/// Orders failures: the newest first.
fn age(tracked: &Tracked) -> impl Ord + use<> {
    let Tracked { task, settled, .. } = tracked;
    (Reverse(*settled), Reverse(task.ended), Reverse(task.started), Arc::clone(&task.id))
}

/// Whether the next text would meet the same trouble.
fn is_trouble(error: &FetchError) -> bool {
    let about_all = [RefusalKind::Forbidden, RefusalKind::NoSuchOperation];
    error.ends_the_poll() || error.refusal().is_some_and(|it| about_all.contains(&it.kind))
}

fn doubled(range: &RangeInclusive<Duration>, times: u32) -> Duration {
    range.start().saturating_mul(1 << times.min(16)).min(*range.end())
}
