//! How many calls a configuration takes, so that a budget that is too small is noticed at once.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use dbtask_clouds::api::Scope;
use dbtask_clouds::model::Timestamp;

use super::{Config, SourceConfig};

const DAY: Duration = Duration::from_hours(24);

/// Credentials whose budget does not suffice even while nothing runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TightBudget {
    /// The name of the credentials.
    pub account: String,
    /// Calls a day that they may make.
    pub daily_budget: u64,
    /// Calls a day that polls at the idle pace make at least.
    pub needed: u64,
}

impl fmt::Display for TightBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, daily_budget, needed } = self;
        write!(
            f,
            "{account}: daily_budget {daily_budget} is too small: polls at the idle interval alone \
             make at least {needed} calls a day"
        )
    }
}

impl Config {
    /// Every budget that will slow polls down day after day, by the name of its credentials.
    pub fn tight_budgets(&self) -> Vec<TightBudget> {
        let mut needs: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for source in &self.sources {
            if let Some(daily_budget) = source.daily_budget {
                let (_, needed) = needs.entry(&source.account).or_insert((daily_budget, 0));
                *needed = needed.saturating_add(source.idle_calls_a_day());
            }
        }
        needs
            .into_iter()
            .filter(|(_, (daily_budget, needed))| needed > daily_budget)
            .map(|(account, (daily_budget, needed))| TightBudget {
                account: account.to_owned(),
                daily_budget,
                needed,
            })
            .collect()
    }
}

impl SourceConfig {
    /// The calls of a day of polls at the idle interval, if every list has one page and every
    /// resource that has to be found first costs nothing: more it may be, less it cannot.
    fn idle_calls_a_day(&self) -> u64 {
        let now = Timestamp::from(jiff::Timestamp::UNIX_EPOCH);
        let scope = Scope { now, since: now, resources: &self.resources, tags: &self.tags };
        let calls = u64::try_from(self.api.list(&scope).len()).unwrap_or(u64::MAX).max(1);
        let polls = DAY.as_secs() / self.poll.idle_interval.as_secs().max(1);
        calls.saturating_mul(polls)
    }
}
