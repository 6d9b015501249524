//! `Discovery`: which clusters or instances there are, where tasks are listed one by one.
//!
//! They come and go far more rarely than tasks, so they are looked for at an interval of their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::api::Query;
use dbtask_clouds::model::Resource;
use dbtask_clouds::paging::Pages;
use dbtask_clouds::reason::Reason;
use tokio::time::Instant;

use crate::caller::{Caller, FetchError};
use crate::progress::Progress;

/// What has been found so far.
#[derive(Debug, Default)]
pub struct Discovery {
    /// When it was last looked to the end.
    looked: Option<Instant>,
    resources: Vec<Arc<Resource>>,
    /// Whether there were more pages than are read.
    cut: bool,
    /// Whether the pages do not add up.
    incomplete: bool,
    /// A look that was throttled, and goes on where it was.
    begun: Option<Look>,
}

/// A look at all resources.
#[derive(Debug, Default)]
struct Look {
    /// Pages may overlap when something comes or goes between them.
    found: BTreeMap<Box<str>, Arc<Resource>>,
    pages: Pages,
    incomplete: bool,
    /// The page to ask for; `None` where it has not begun.
    next: Option<Query>,
}

impl Discovery {
    /// How often it is looked, whatever becomes of polls in between. Looking that fails is tried
    /// again by the next poll; looking that is throttled goes on there.
    pub const INTERVAL: Duration = Duration::from_mins(5);

    /// When resources have become too old for polls that go without looking.
    const OLD: Duration = Duration::from_mins(15);
    /// How long a poll waits then for a look that is throttled.
    const PATIENCE: Duration = Duration::from_mins(3);

    /// The resources; `None` before they have been found for the first time. What was found stays
    /// in use while looking again fails.
    pub fn resources(&self) -> Option<&[Arc<Resource>]> {
        self.looked.map(|_| &*self.resources)
    }

    /// Whether all resources there are have been found.
    pub fn is_whole(&self) -> bool {
        !self.cut
    }

    /// Looks again if it is time to: asks `first` and up to `max_pages` in all.
    pub async fn refresh(
        &mut self,
        caller: &mut Caller,
        progress: &Progress,
        first: Query,
        max_pages: u32,
    ) -> Result<(), FetchError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < Self::INTERVAL) {
            return Ok(());
        }
        // The tasks of what is known need not wait for a look that is throttled, as long as what is
        // known is not too old.
        let age = self.looked.map(|looked| looked.elapsed());
        let may_wait = age.is_some_and(|age| age < Self::OLD);
        if may_wait && self.begun.is_some() && !caller.account.wait(first.operation).is_zero() {
            return Ok(());
        }
        let patience = match age {
            None => Duration::MAX,
            Some(_) if may_wait => Duration::ZERO,
            Some(_) => Self::PATIENCE,
        };
        let mut look = self.begun.take().unwrap_or_default();
        let mut next = Some(look.next.take().unwrap_or(first));
        while let Some(query) = next.take_if(|query| query.page <= max_pages) {
            let page = match progress.ask_within(caller, &query, patience).await {
                Ok(page) => look.pages.take(&query, page),
                Err(error) => {
                    let is_throttled = error.reason() == Reason::Throttled;
                    look.next = Some(query);
                    self.begun = is_throttled.then_some(look);
                    return if is_throttled && may_wait { Ok(()) } else { Err(error) };
                }
            };
            look.incomplete |= page.incomplete;
            look.found.extend(page.resources.into_iter().map(|each| (each.id.clone(), each)));
            next = page.next.into_iter().next();
        }
        let Look { mut found, incomplete, .. } = look;
        if incomplete {
            // What such a list leaves out need not be gone.
            for known in &self.resources {
                found.entry(known.id.clone()).or_insert_with(|| Arc::clone(known));
            }
            if !self.incomplete {
                tracing::warn!(
                    source = caller.info.name,
                    "the list of clusters does not add up: the vendor counts more than it shows"
                );
            }
        }
        self.log_changes(caller, &found, next.is_some(), max_pages);
        self.cut = next.is_some();
        self.incomplete = incomplete;
        self.resources = found.into_values().collect();
        self.looked = Some(Instant::now());
        Ok(())
    }

    /// Takes out one that the vendor denies, until it is found again: vendors list what is being
    /// deleted for a while.
    pub fn forget(&mut self, id: &str) {
        self.resources.retain(|resource| *resource.id != *id);
    }

    fn log_changes(
        &self,
        caller: &Caller,
        found: &BTreeMap<Box<str>, Arc<Resource>>,
        cut: bool,
        max_pages: u32,
    ) {
        let source = caller.info.name.as_str();
        let come = found.keys().filter(|id| !self.resources.iter().any(|old| old.id == **id));
        let gone = self.resources.iter().filter(|old| !found.contains_key(&old.id));
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
