//! `Progress`: what a poll tells while it lasts, and how it goes on where it was throttled.
//!
//! With a small quota a poll takes minutes or hours. What it has seen is told at once. A throttled
//! question is put again as soon as the [learned rate](crate::collect::limits) allows, so no call is made
//! twice and every poll comes to its end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbtask_clouds::api::{Page, Query};
use dbtask_clouds::model::Task;
use dbtask_clouds::reason::Reason;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::collect::client::{Caller, FetchError, tenant_of};
use crate::track::tenant::Tenant;

/// What has happened in a poll that goes on.
#[derive(Debug)]
pub enum Step {
    /// The vendor has answered a question.
    Answered {
        /// Seconds from our clock to the vendor's; `None` until an answer has told.
        clock_offset: Option<i64>,
        /// Whose tasks they are.
        tenant: Tenant,
    },
    /// Tasks were seen.
    Seen(Vec<Task>),
    /// A question was throttled several times in a row: the operation, and what the vendor said.
    Throttled(&'static str, FetchError),
}

/// Where a poll tells its steps. The default tells nobody, and does not wait for a vendor that
/// throttles.
#[derive(Debug, Default)]
pub struct Progress {
    steps: Option<UnboundedSender<Step>>,
    answered: AtomicBool,
}

impl Progress {
    /// A progress whose steps arrive at the receiver.
    pub fn told() -> (Self, UnboundedReceiver<Step>) {
        let (sender, receiver) = unbounded_channel();
        (Self { steps: Some(sender), ..Self::default() }, receiver)
    }

    /// Asks one query, again and again while it is throttled. Where nobody is told, only twice.
    pub async fn ask(&self, caller: &mut Caller, query: &Query) -> Result<Page, FetchError> {
        self.ask_within(caller, query, Duration::MAX).await
    }

    /// The same, but not again once it has been throttled for `patience`.
    pub async fn ask_within(
        &self,
        caller: &mut Caller,
        query: &Query,
        patience: Duration,
    ) -> Result<Page, FetchError> {
        let mut throttled_since = None;
        loop {
            let error = match caller.call(query).await {
                Err(error) if is_throttled(&error) => error,
                answer => {
                    if answer.is_ok() {
                        self.answered.store(true, Ordering::Relaxed);
                        let clock_offset = caller.vendor_clock.known_offset();
                        let tenant = tenant_of(caller);
                        self.tell(Step::Answered { clock_offset, tenant });
                    }
                    return answer;
                }
            };
            // One in a while is how the rate is learned.
            let again = throttled_since.is_some();
            let since = *throttled_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= patience || again && self.steps.is_none() {
                return Err(error);
            }
            if again {
                self.tell(Step::Throttled(query.operation.name, error));
            }
        }
    }

    /// Whether the vendor has answered a question of the poll.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Tells that tasks were seen.
    pub fn seen(&self, tasks: &[Task]) {
        if self.steps.is_some() && !tasks.is_empty() {
            self.tell(Step::Seen(tasks.to_vec()));
        }
    }

    fn tell(&self, step: Step) {
        if let Some(steps) = &self.steps {
            // Whoever listened may have gone, and the poll with it.
            let _ = steps.send(step);
        }
    }
}

/// Whether the question itself was throttled. Of a service that hands out sessions no rate is
/// learned: a poll without a session ends, and the next one waits as after any other trouble.
fn is_throttled(error: &FetchError) -> bool {
    error.reason() == Reason::Throttled && !matches!(error, FetchError::Credentials(_))
}
