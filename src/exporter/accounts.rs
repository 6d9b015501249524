//! `Accounts`: in whose names the clouds are asked, and what each may still ask.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::cloud::Cloud;
use tokio::time::Instant;

use crate::collect::budget::{Budget, Mark, Moment};
use crate::collect::limits::{Account, Keeper};
use crate::config::SourceConfig;
use crate::credentials::Provider;
use crate::credentials::guard::Guards;
use crate::platform::clock::Clock;
use crate::platform::sabotage;
use crate::platform::sabotage::Bug;
use crate::storage::{Batch, Contents, Journal, Table};

/// What each account may have spent of its budget, by cloud and name.
const BUDGETS: Table = Table("budget");

/// How long an account matters that has no source: until the day of its budget is over.
const IDLE: Duration = Duration::from_hours(48);

/// Every account that has a source or has had one until lately, by cloud and name: what it has spent
/// today counts when its sources come back.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    known: HashMap<(Cloud, String), Known>,
    /// Of all their keys: several accounts may have one key.
    guards: Arc<Guards>,
}

#[derive(Debug)]
struct Known {
    account: Arc<Account>,
    /// One for each way that its sources reach the vendor's token services.
    credentials: Vec<Arc<Provider>>,
    /// Since when it is known to have no source.
    idle_since: Option<Instant>,
}

impl Accounts {
    /// Lets a source have the credentials that are in use already, if they are the same: they may
    /// hold a session.
    pub(super) fn share(&self, source: &mut SourceConfig) {
        let known = self.known.get(&key(source)).into_iter().flat_map(|known| &known.credentials);
        if let Some(same) = known.into_iter().find(|it| it.is_same(&source.credentials)) {
            source.credentials = Arc::clone(same);
        }
    }

    /// The account that a source belongs to, with what an earlier process left of it in `contents`,
    /// and with the limit and the credentials that the source has now.
    pub(super) fn enter(
        &mut self,
        source: &SourceConfig,
        clock: Clock,
        journal: &Arc<Journal>,
        contents: &mut Contents,
    ) -> Arc<Account> {
        let known = self.known.entry(key(source)).or_insert_with(|| Known {
            account: Arc::new(account(source, clock, journal, contents)),
            credentials: vec![Arc::clone(&source.credentials)],
            idle_since: None,
        });
        if !known.credentials.iter().any(|it| it.is_same(&source.credentials)) {
            // Those that no source holds any more are of no use.
            known.credentials.retain(|it| Arc::strong_count(it) > 1);
            known.credentials.push(Arc::clone(&source.credentials));
        }
        known.account.allow(source.daily_budget, clock);
        Arc::clone(&known.account)
    }

    /// What keeps keys that are refused from being locked.
    pub(super) fn guards(&self) -> Arc<Guards> {
        Arc::clone(&self.guards)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets accounts that have had no source for two days.
    pub(super) fn forget_idle(&mut self) {
        self.known.retain(|_, known| {
            if Arc::strong_count(&known.account) > 1 {
                known.idle_since = None;
                return true;
            }
            known.idle_since.get_or_insert_with(Instant::now).elapsed() < IDLE
        });
    }
}

fn key(source: &SourceConfig) -> (Cloud, String) {
    (source.api.facts.cloud, source.account.clone())
}

fn account(
    source: &SourceConfig,
    clock: Clock,
    journal: &Arc<Journal>,
    contents: &mut Contents,
) -> Account {
    // No source is called so.
    let name = format!("{}/{}", source.api.facts.cloud, source.account);
    let mark = contents.take::<Mark>(BUDGETS, &name).pop().map(|(_, mark)| mark);
    let mark = mark.filter(|_| !sabotage::is(Bug::BudgetForgotten)).unwrap_or_default();
    let limit = source.daily_budget.unwrap_or_default();
    let budget = Budget::new(limit, &mark, Moment::now(clock));
    let journal = Arc::clone(journal);
    let keep = move |mark: Mark| {
        let mut batch = Batch::default();
        batch.put(BUDGETS, &name, "", &mark);
        journal.note(batch);
        let journal = Arc::clone(&journal);
        let kept: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            journal.flush().await;
        });
        kept
    };
    Account::with_budget(budget, Some(Keeper(Box::new(keep))))
}
