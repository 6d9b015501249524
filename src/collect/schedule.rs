//! `Schedule`: when a source is polled next: its interval, longer while polls fail or the account's
//! budget is scarce.

use std::time::Duration;

use dbtask_clouds::reason::Reason;
use tokio::time::Instant;

use crate::collect::budget::Slowed;
use crate::collect::client::{Caller, FetchError};
use crate::collect::limits::Backoff;
use crate::platform::sabotage;
use crate::platform::sabotage::Bug;

/// The least time between a poll that was throttled and the next, where the interval is longer.
const THROTTLED_PAUSE: Duration = Duration::from_secs(10);
/// How often what a person has to mend is asked for at least.
const LONGEST_DENIED: Duration = Duration::from_mins(15);

/// How often a source is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// While any task is unfinished.
    pub interval: Duration,
    /// While none is.
    pub idle_interval: Duration,
}

impl Pace {
    /// The interval without regard to trouble or budget.
    pub(super) fn interval(&self, any_unfinished: bool) -> Duration {
        if any_unfinished { self.interval } else { self.idle_interval }
    }
}

/// When one source is polled next.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) pace: Pace,
    backoff: Backoff,
    /// How the account's budget slows the polls down; `None` while it does not.
    pub(super) slowed: Option<Slowed>,
    /// Refusals of the account, in a row, that are no question of the key.
    denials: u32,
}

impl Schedule {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, backoff: Backoff::default(), slowed: None, denials: 0 }
    }

    /// When the next poll is due, after one that began at `begun` and ended so.
    pub(super) fn next(
        &mut self,
        begun: Instant,
        failure: Option<&(&'static str, FetchError)>,
        any_unfinished: bool,
        caller: &Caller,
        random: &mut fastrand::Rng,
    ) -> Instant {
        let interval = self.pace.interval(any_unfinished);
        let due = match failure {
            None => {
                self.backoff.reset();
                self.denials = 0;
                let seldom = if sabotage::is(Bug::PolledSeldom) { 10 } else { 1 };
                (begun + interval * seldom).max(Instant::now())
            }
            Some((operation, error)) => {
                self.after_failure(begun, operation, error, interval, caller, random)
            }
        };
        self.when_affordable(due, begun, interval, random)
    }

    fn after_failure(
        &mut self,
        begun: Instant,
        operation: &str,
        error: &FetchError,
        interval: Duration,
        caller: &Caller,
        random: &mut fastrand::Rng,
    ) -> Instant {
        match error.reason() {
            // The rate that is learned from it is slow enough; for sessions none is learned.
            Reason::Throttled if !matches!(error, FetchError::Credentials(_)) => {
                let operations = caller.api.facts.operations;
                let known = operations.iter().find(|known| known.name == operation);
                let wait = known.map_or(Duration::ZERO, |known| caller.account.wait(known));
                Instant::now() + wait.max(interval.min(THROTTLED_PAUSE))
            }
            Reason::Throttled | Reason::Server | Reason::Network | Reason::Timeout => {
                if sabotage::is(Bug::NoBackoff) {
                    self.backoff.reset();
                }
                let asked = error.retry_after();
                Instant::now() + self.backoff.after_failure(interval, asked, random)
            }
            // What a person has to mend is asked for ever more rarely, but the vendor's answer is
            // looked at four times an hour.
            Reason::Auth => {
                self.denials = self.denials.saturating_add(1);
                let slower = interval.saturating_mul(1 << self.denials.min(16));
                let slower = Instant::now() + slower.min(LONGEST_DENIED);
                error.guarded_until().unwrap_or(slower)
            }
            Reason::Client | Reason::Decode | Reason::Budget | Reason::Clock => {
                (begun + interval).max(Instant::now())
            }
        }
    }

    /// The poll that is `due`, put off as the budget demands.
    fn when_affordable(
        &self,
        due: Instant,
        begun: Instant,
        interval: Duration,
        random: &mut fastrand::Rng,
    ) -> Instant {
        let Some(slowed) = self.slowed else { return due };
        due.max(match slowed.until {
            None => begun + slowed.interval,
            // Else all sources of the account would poll as one.
            Some(until) => until + interval.min(Backoff::LONGEST).mul_f64(random.f64()),
        })
    }
}
