//! `Discovery`: which clusters or instances there are, where tasks are listed one by one.
//!
//! They come and go far more rarely than tasks, so they are looked for at an interval of their own.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::api::{Operation, Query};
use dbtask_clouds::model::{Resource, Timestamp};
use dbtask_clouds::paging::Pages;
use dbtask_clouds::reason::Reason;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::collect::client::{Caller, FetchError};
use crate::collect::progress::Progress;
use crate::collect::retries::{Pauses, Retries};
use crate::snapshot::FailingDiscovery;
use crate::storage::{Batch, Contents, Table};
use crate::track::outage::Notice;

/// One row a source: what it has [`Discovered`].
const DISCOVERED: Table = Table("discovered");
/// How old the last look in the journal may be: it need not be written each time only to say that
/// nothing has changed.
const GRAIN: Duration = Duration::from_hours(1);

/// What has been found so far.
#[derive(Debug, Default)]
pub struct Discovery {
    /// When it was last looked to the end.
    looked: Option<Instant>,
    found: Discovered,
    /// What the journal has.
    saved: Option<Discovered>,
    /// Those whose tasks nobody has asked for yet: up to when they were known not to exist, by the
    /// vendor's clock.
    new: BTreeMap<Box<str>, Timestamp>,
    /// Those where no task runs, by the vendor's word.
    at_rest: HashSet<Box<str>>,
    /// Whether there were more pages than are read.
    cut: bool,
    /// Whether the pages do not add up.
    incomplete: bool,
    /// A look that was throttled, and goes on where it was.
    begun: Option<Look>,
    /// When to look again after a look that failed.
    retries: Retries<&'static str>,
}

/// The resources that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Discovered {
    /// When the last look to the end began, by the vendor's clock; `None` before the first.
    as_of: Option<Timestamp>,
    /// Only those with these tags.
    tags: Vec<(String, String)>,
    resources: Vec<Arc<Resource>>,
}

/// A look at all resources.
#[derive(Debug, Default)]
struct Look {
    /// By the vendor's clock.
    began: Option<Timestamp>,
    /// Pages may overlap when something comes or goes between them.
    found: BTreeMap<Box<str>, Arc<Resource>>,
    at_rest: HashSet<Box<str>>,
    pages: Pages,
    incomplete: bool,
    /// The page to ask for; `None` where it has not begun.
    next: Option<Query>,
}

impl Discovery {
    /// How often it is looked, whatever becomes of polls in between. Looking that fails is tried
    /// again after growing pauses; looking that is throttled goes on in the next poll.
    pub const INTERVAL: Duration = Duration::from_mins(5);

    /// How old the last look may be before one that is throttled counts as failing.
    const OLD: Duration = Duration::from_mins(15);

    /// What an earlier process has found.
    pub fn restore(source: &str, contents: &mut Contents) -> Self {
        let saved = contents.take::<Discovered>(DISCOVERED, source).pop().map(|(_, it)| it);
        Self { found: saved.clone().unwrap_or_default(), saved, ..Self::default() }
    }

    /// What is still known of it where resources with `tags` are watched from now on. The next poll
    /// looks again.
    #[must_use]
    pub fn resume(self, tags: &[(String, String)]) -> Self {
        let Self { mut found, saved, mut new, .. } = self;
        if found.tags != tags {
            found = Discovered { tags: tags.to_vec(), ..Discovered::default() };
            new = BTreeMap::new();
        }
        Self { found, saved, new, ..Self::default() }
    }

    /// Puts what has changed since the last time into `batch`. Until the tasks of new resources
    /// have been asked for, the journal does not know them, so that they are new after a restart.
    pub fn save(&mut self, source: &str, batch: &mut Batch) {
        let Some(as_of) = self.found.as_of.filter(|_| self.new.is_empty()) else { return };
        let is_saved = self.saved.as_ref().is_some_and(|saved| {
            (&saved.resources, &saved.tags) == (&self.found.resources, &self.found.tags)
                && saved.as_of.is_some_and(|saved| as_of.since(saved) < GRAIN)
        });
        if !is_saved {
            batch.put(DISCOVERED, source, "", &self.found);
            self.saved = Some(self.found.clone());
        }
    }

    /// The resources; `None` before they have been found for the first time. What was found stays
    /// in use while looking again fails.
    pub fn resources(&self) -> Option<&[Arc<Resource>]> {
        self.found.as_of.map(|_| &*self.found.resources)
    }

    /// Whether there is any resource whose tasks can be asked for.
    pub fn knows_any(&self) -> bool {
        !self.found.resources.is_empty()
    }

    /// Whether a resource is among them, which are in order.
    fn knows(&self, id: &str) -> bool {
        self.found.resources.binary_search_by(|known| (*known.id).cmp(id)).is_ok()
    }

    /// Whether no task ran in a resource when it was last looked, by the vendor's word.
    pub fn is_at_rest(&self, id: &str) -> bool {
        self.at_rest.contains(id)
    }

    /// Up to when a resource was known not to exist, by the vendor's clock, if nobody has asked for
    /// its tasks yet; `None` for all others.
    pub fn absent_until(&self, id: &str) -> Option<Timestamp> {
        self.new.get(id).copied()
    }

    /// The same of all of them, whose tasks have now been asked for.
    pub fn take_new(&mut self) -> BTreeMap<Box<str>, Timestamp> {
        std::mem::take(&mut self.new)
    }

    /// A look failed, and those that are known are polled on.
    pub fn failed(&mut self, operation: &'static Operation, error: &FetchError, pauses: Pauses) {
        self.retries.failed(operation.name, error, pauses, Instant::now());
    }

    /// The look that failed last, unless one has gone well since.
    pub fn failing(&self) -> Option<FailingDiscovery> {
        let (operation, failure) = self.retries.failures().next()?;
        Some(FailingDiscovery {
            operation,
            reason: failure.reason,
            message: failure.message.clone(),
        })
    }

    /// Operation, reason and error of a look that has failed, if that is worth a line in the log.
    pub fn tell(&mut self, now: Instant) -> Option<(&'static str, &'static str, &str)> {
        let operation = self.failing()?.operation;
        let (reason, error) = self.retries.tell(operation, now)?;
        Some((operation, reason, error))
    }

    /// Whether all resources there are have been found.
    pub fn is_whole(&self) -> bool {
        !self.cut
    }

    /// Looks again if it is time to: asks `first` and up to `max_pages` in all. What is left out
    /// stays while it is `busy`: a vendor that shows too little may not end the watch over a task
    /// that goes on, and one that is deleted is denied when it is asked.
    pub async fn refresh(
        &mut self,
        caller: &mut Caller,
        progress: &Progress,
        first: Query,
        max_pages: u32,
        busy: &HashSet<&str>,
    ) -> Result<(), FetchError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < Self::INTERVAL) {
            return Ok(());
        }
        // The tasks of what is known wait neither for a look that fails nor for one that is throttled.
        let (operation, now) = (first.operation, caller.vendor_now());
        let is_due = self.retries.is_due(operation.name, Instant::now());
        let may_go_on = self.begun.is_none() || caller.account.wait(operation).is_zero();
        if self.knows_any() && !(is_due && may_go_on) {
            return Ok(());
        }
        let patience = if self.knows_any() { Duration::ZERO } else { Duration::MAX };
        let is_old = self.found.as_of.is_none_or(|as_of| now.since(as_of) >= Self::OLD);
        let mut look = self.begun.take().unwrap_or_default();
        let began = *look.began.get_or_insert(now);
        let mut next = Some(look.next.take().unwrap_or(first));
        while let Some(query) = next.take_if(|query| query.page <= max_pages) {
            let page = match progress.ask_within(caller, &query, patience).await {
                Ok(page) => look.pages.take(&query, page),
                Err(error) => {
                    let is_throttled = error.reason() == Reason::Throttled;
                    look.next = Some(query);
                    self.begun = is_throttled.then_some(look);
                    return if is_throttled && !is_old { Ok(()) } else { Err(error) };
                }
            };
            look.incomplete |= page.incomplete;
            look.at_rest.extend(page.at_rest);
            look.found.extend(page.resources.into_iter().map(|each| (each.id.clone(), each)));
            next = page.next.into_iter().next();
        }
        let Look { mut found, at_rest, incomplete, .. } = look;
        for known in &self.found.resources {
            // What a list that does not add up leaves out need not be gone.
            if incomplete || busy.contains(&*known.id) {
                found.entry(known.id.clone()).or_insert_with(|| Arc::clone(known));
            }
        }
        if incomplete && !self.incomplete {
            tracing::warn!(
                source = caller.info.name,
                "the list of clusters does not add up: the vendor counts more than it shows"
            );
        }
        self.log_changes(caller, &found, next.is_some(), max_pages);
        let come: Vec<Box<str>> = found.keys().filter(|id| !self.knows(id)).cloned().collect();
        self.new.extend(come.into_iter().zip(self.found.as_of.into_iter().cycle()));
        self.new.retain(|id, _| found.contains_key(id));
        self.cut = next.is_some();
        self.incomplete = incomplete;
        self.at_rest = at_rest;
        self.found.resources = found.into_values().collect();
        self.found.as_of = Some(began);
        self.looked = Some(Instant::now());
        self.log_over(caller, operation);
        Ok(())
    }

    fn log_over(&mut self, caller: &Caller, operation: &Operation) {
        if let Some(Notice::Over { lasted, failures }) =
            self.retries.answered(operation.name, Instant::now())
        {
            tracing::info!(
                source = caller.info.name,
                operation = operation.name,
                failures,
                lasted_seconds = lasted.as_secs(),
                "clusters can be looked for again"
            );
        }
    }

    /// Takes out one that the vendor denies, until it is found again: vendors list what is being
    /// deleted for a while.
    pub fn forget(&mut self, id: &str) {
        self.found.resources.retain(|resource| *resource.id != *id);
        self.new.remove(id);
    }

    fn log_changes(
        &self,
        caller: &Caller,
        found: &BTreeMap<Box<str>, Arc<Resource>>,
        cut: bool,
        max_pages: u32,
    ) {
        let source = caller.info.name.as_str();
        let come = found.keys().filter(|id| !self.knows(id));
        let gone = self.found.resources.iter().filter(|old| !found.contains_key(&old.id));
        let (come, gone) = (come.count(), gone.count());
        if come > 0 || gone > 0 {
            tracing::info!(source, come, gone, there_are = found.len(), "clusters were discovered");
        }
        if cut && !self.cut {
            tracing::warn!(
                source,
                "there are more than {max_pages} pages of clusters; the others are not watched"
            );
        }
    }
}
