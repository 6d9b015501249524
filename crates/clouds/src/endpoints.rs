//! Where an API answers: plain data, by region.
//!
//! Each API's file holds its table and says where that was read. None of the hosts has been asked;
//! those that the vendor's own sources disagree about, or do not name, are marked.

/// What a source has in place of a region to watch all of them at once.
pub const ALL_REGIONS: &str = "all";

/// The addresses of one API.
#[derive(Debug)]
pub struct Endpoints {
    /// What the table was written from.
    pub origin: &'static str,
    /// Regions with addresses of their own. `*-fsi` stands for every region that ends so,
    /// `cn-*` for every one that begins so.
    pub by_region: &'static [(&'static [&'static str], Addresses)],
    /// Those of all other regions: the vendor's pattern.
    pub others: Addresses,
    /// The base URL that answers for [`ALL_REGIONS`]; `None` where each region is asked by itself.
    pub all_regions: Option<&'static str>,
    /// Regions that the origin says, or implies, follow the pattern. Of others nothing is known.
    pub confirmed: &'static [&'static str],
    /// Regions for which another of the vendor's sources names the pattern's host instead.
    pub disputed: &'static [&'static str],
}

/// Base URLs; `{region}` in them stands for the region.
#[derive(Debug)]
pub struct Addresses {
    /// For everybody.
    pub public: &'static str,
    /// From inside the vendor's network; `None` where the public one is used there too.
    pub vpc: Option<&'static str>,
    /// Of the vendor's international site; `None` where the sites share one.
    pub intl: Option<&'static str>,
}

impl Endpoints {
    /// The addresses for a region, known or not.
    pub fn of(&self, region: &str) -> &Addresses {
        let is_meant = |known: &str| match (known.strip_prefix('*'), known.strip_suffix('*')) {
            (Some(end), _) => region.ends_with(end),
            (None, Some(start)) => region.starts_with(start),
            (None, None) => region == known,
        };
        let found =
            self.by_region.iter().find(|(regions, _)| regions.iter().any(|it| is_meant(it)));
        found.map_or(&self.others, |(_, addresses)| addresses)
    }

    /// Every region that the table names, and every ending of regions as `*-fsi`.
    pub fn regions(&self) -> impl Iterator<Item = &'static str> {
        let (named, confirmed, disputed) = (self.by_region, self.confirmed, self.disputed);
        let named = named.iter().flat_map(|(regions, _)| regions.iter());
        named.chain(confirmed).chain(disputed).copied().filter(|region| !region.ends_with('*'))
    }

    /// All addresses.
    pub fn all(&self) -> impl Iterator<Item = &Addresses> {
        self.by_region.iter().map(|(_, addresses)| addresses).chain([&self.others])
    }

    /// The base URL that everybody can reach.
    pub fn public(&self, region: &str) -> String {
        if let Some(all) = self.all_regions.filter(|_| region == ALL_REGIONS) {
            return all.to_owned();
        }
        filled(self.of(region).public, region)
    }

    /// The base URL that `word` stands for, `vpc` or `intl`; `None` if there is none.
    pub fn named(&self, word: &str, region: &str) -> Option<String> {
        let addresses = self.of(region);
        let pattern = match word {
            "vpc" => addresses.vpc,
            "intl" => addresses.intl,
            _ => None,
        };
        pattern.map(|pattern| filled(pattern, region))
    }
}

fn filled(pattern: &str, region: &str) -> String {
    pattern.replace("{region}", region)
}
