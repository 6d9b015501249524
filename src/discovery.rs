//! `Discovery`: which clusters or instances there are, where tasks are listed one by one.
//!
//! They come and go far more rarely than tasks, so they are looked for at an interval of their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::api::Query;
use crate::api::paging::Pages;
use crate::caller::{Caller, FetchError};
use crate::task::Resource;

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
}

impl Discovery {
    /// How often it is looked, whatever becomes of polls in between. Looking that fails is tried
    /// again by the next poll.
    pub const INTERVAL: Duration = Duration::from_mins(5);

    /// The resources; `None` before they have been found for the first time. What was found stays
    /// in use while looking again fails.
    pub fn resources(&self) -> Option<&[Arc<Resource>]> {
        self.looked.map(|_| &*self.resources)
    }

    /// Whether all resources there are have been found.
    pub fn is_whole(&self) -> bool {
        !self.cut
    }

    /// Whether some that there are were not shown.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Looks again if it is time to: asks `first` and up to `max_pages` in all.
    pub async fn refresh(
        &mut self,
        caller: &mut Caller,
        first: Query,
        max_pages: u32,
    ) -> Result<(), FetchError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < Self::INTERVAL) {
            return Ok(());
        }
        // Pages may overlap when something comes or goes between them.
        let mut found: BTreeMap<Box<str>, Arc<Resource>> = BTreeMap::new();
        let (mut next, mut pages, mut incomplete) = (Some(first), Pages::default(), false);
        while let Some(query) = next.take_if(|query| query.page <= max_pages) {
            let page = pages.take(&query, caller.call(&query).await?);
            incomplete |= page.incomplete;
            found.extend(page.resources.into_iter().map(|each| (each.id.clone(), each)));
            next = page.next.into_iter().next();
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
