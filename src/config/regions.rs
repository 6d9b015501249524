//! Regions that no table of their cloud names: most likely typing errors.

use std::collections::{BTreeMap, BTreeSet};

use dbtask_clouds::catalog::APIS;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::endpoints::ALL_REGIONS;

use super::{Config, SourceConfig, shape};

impl Config {
    /// One sentence for each region that is none of its cloud's, as far as is known, and whose
    /// sources ask the vendor's own hosts.
    pub(super) fn unknown_regions(&self) -> Vec<String> {
        let mut unknown: BTreeMap<(Cloud, &str), Vec<&str>> = BTreeMap::new();
        for source in self.sources.iter().filter(|source| source.asks_the_vendor()) {
            let (cloud, region) = (source.api.facts.cloud, &*source.target.region);
            if region != ALL_REGIONS && !is_known(cloud, region) {
                unknown.entry((cloud, region)).or_default().push(&source.name);
            }
        }
        let sentence = |((cloud, region), sources): ((Cloud, &str), Vec<&str>)| {
            let known: Vec<&str> = regions(cloud).into_iter().collect();
            let meant = shape::nearest(region, &known);
            let meant = meant.map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
            let sources = sources.join(", ");
            format!("{sources}: {region:?} is no region of {cloud} that is known{meant}")
        };
        unknown.into_iter().map(sentence).collect()
    }
}

impl SourceConfig {
    /// Whether it asks a host of the vendor's, and not one that the configuration names.
    fn asks_the_vendor(&self) -> bool {
        let (endpoints, region) = (self.api.facts.endpoints, &*self.target.region);
        let named = ["vpc", "intl"].into_iter().filter_map(|word| endpoints.named(word, region));
        named.chain([endpoints.public(region)]).any(|url| url == self.target.endpoint)
    }
}

/// Every region that any API of the cloud names.
fn regions(cloud: Cloud) -> BTreeSet<&'static str> {
    let apis = APIS.iter().filter(|api| api.facts.cloud == cloud);
    apis.flat_map(|api| api.facts.endpoints.regions()).collect()
}

/// Whether an API of the cloud names the region, or its ending, as finance regions have one.
fn is_known(cloud: Cloud, region: &str) -> bool {
    regions(cloud).iter().any(|known| match known.strip_prefix('*') {
        Some(ending) => region.ends_with(ending),
        None => region == *known,
    })
}
