//! Sources that show the same operations under other ids, so that each is counted twice.

use std::fmt;

use super::{Config, SourceConfig};

/// Two sources of which one is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The source whose API says so.
    pub source: String,
    /// The other one.
    pub other: String,
    /// Their region.
    pub region: String,
    /// Which of the two to keep, and why.
    pub advice: &'static str,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, other, region, advice } = self;
        write!(
            f,
            "{source} and {other} show the same operations of {region}, which are counted twice: \
             {advice}"
        )
    }
}

impl Config {
    /// Every two sources of one account and region whose APIs show the same operations, unless
    /// they watch different resources.
    pub fn overlaps(&self) -> Vec<Overlap> {
        let pairs = self.sources.iter().flat_map(|source| {
            let others = self.sources.iter().filter(|other| source.is_beside(other));
            others.flat_map(move |other| {
                let same = source.api.facts.same_tasks_as.iter();
                same.filter(|same| same.api == other.api.facts.name).map(move |same| Overlap {
                    source: source.name.clone(),
                    other: other.name.clone(),
                    region: source.target.region.clone(),
                    advice: same.advice,
                })
            })
        });
        pairs.collect()
    }

    /// What will hurt though it is valid, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let budgets = self.tight_budgets().into_iter().map(|budget| budget.to_string());
        let overlaps = self.overlaps().into_iter().map(|overlap| overlap.to_string());
        budgets.chain(overlaps).chain(self.unknown_regions()).collect()
    }
}

impl SourceConfig {
    /// Whether both may see the same operations: those of one account and region.
    fn is_beside(&self, other: &Self) -> bool {
        let watches = |id: &str| other.resources.iter().any(|resource| *resource.id == *id);
        self.account == other.account
            && self.api.facts.cloud == other.api.facts.cloud
            && self.target.region == other.target.region
            && (self.resources.is_empty()
                || other.resources.is_empty()
                || self.resources.iter().any(|resource| watches(&resource.id)))
    }
}
