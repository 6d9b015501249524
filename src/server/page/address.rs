//! `Address`: what the query of the page asks for, and how a link asks for something else.

use std::fmt::Write as _;
use std::sync::Arc;

use super::wording::shown;
use crate::server::filter::{Filter, pairs};
use crate::snapshot::Snapshot;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Address {
    pub(super) filter: Filter,
    /// From 1; 0 if none is given.
    pub(super) page: usize,
    /// Whether the page does not refresh itself.
    pub(super) is_still: bool,
    /// Whether the list of sources goes on after the first ones.
    pub(super) all_sources: bool,
}

/// What is wrong with an address, as a sentence for people.
#[derive(Debug, PartialEq)]
pub(super) enum Problem {
    /// There is no such page; another one is shown.
    Page(String),
    /// The filter makes no sense; nothing is shown, for everything would look like an answer.
    Filter(String),
}

impl Address {
    /// Reads a query. A filter with a problem is left out.
    pub(super) fn new(query: &str, snapshots: &[Arc<Snapshot>]) -> (Self, Option<Problem>) {
        let mut address = Self::default();
        let mut problem = None;
        for (name, value) in pairs(query).filter(|(_, value)| !value.is_empty()) {
            match name {
                "page" => match value.parse() {
                    Ok(page) if page > 0 => address.page = page,
                    Ok(_) | Err(_) => {
                        let value = shown(&value, 40);
                        let sentence = format!("No page is called “{value}”; this is the first.");
                        problem = Some(Problem::Page(sentence));
                    }
                },
                "refresh" => address.is_still = value == "off",
                "sources" => address.all_sources = value == "all",
                _ => {}
            }
        }
        match Filter::new(query) {
            Ok(filter) => {
                let is_known = |name: &String| snapshots.iter().any(|it| it.source.name == *name);
                match filter.sources.iter().find(|name| !is_known(name)) {
                    None => address.filter = filter,
                    Some(name) => {
                        let sentence = format!("no source is called “{}”", shown(name, 64));
                        problem = Some(Problem::Filter(sentence));
                    }
                }
            }
            Err(sentence) => problem = Some(Problem::Filter(sentence)),
        }
        (address, problem)
    }

    /// The first page of another filter.
    pub(super) fn to(&self, filter: Filter) -> Self {
        Self { filter, page: 0, ..self.clone() }
    }

    /// Another page of the same.
    pub(super) fn at(&self, page: usize) -> Self {
        Self { page, ..self.clone() }
    }

    /// Relative, so that it holds behind a proxy that serves the page under another path.
    pub(super) fn href(&self) -> String {
        let mut query = self.filter.query();
        if self.page > 1 {
            // Writing to a string cannot fail.
            let _ = write!(query, "page={}&", self.page);
        }
        for (parameter, is_given) in
            [("refresh=off&", self.is_still), ("sources=all&", self.all_sources)]
        {
            query.push_str(if is_given { parameter } else { "" });
        }
        match query.strip_suffix('&') {
            None => "./".to_owned(),
            Some(query) => format!("./?{query}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::snapshot::SourceInfo;

    fn read(query: &str) -> (Address, Option<Problem>) {
        let source = Arc::new(SourceInfo { name: "mysql".into(), ..SourceInfo::default() });
        let snapshot = Snapshot::before_first_poll(source, Duration::from_secs(30));
        Address::new(query, &[Arc::new(snapshot)])
    }

    #[test]
    fn a_link_keeps_what_it_does_not_change() {
        let query = "source=mysql&state=failed&q=a%20b&page=3&refresh=off&sources=all";
        let (address, problem) = read(query);
        assert_eq!((address.href(), problem), (format!("./?{query}"), None));
        assert_eq!(address.to(Filter::default()).href(), "./?refresh=off&sources=all");
        assert_eq!(read("").0.href(), "./");
        assert_eq!(read("page=2").0.at(1).href(), "./");
    }

    #[test]
    fn a_page_that_cannot_be_is_said_and_the_rest_kept() {
        for page in ["abc", "0", "-1", "1e3", "99999999999999999999999", "<b>"] {
            let (address, problem) = read(&format!("q=x&page={page}"));
            assert_eq!((address.page, &*address.filter.text), (0, "x"));
            let Some(Problem::Page(sentence)) = problem else { panic!("{page}: {problem:?}") };
            assert!(sentence.contains(page.get(..3).unwrap_or(page)), "{sentence}");
        }
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_said_and_never_repeated() {
        for query in ["state=broken&q=x", "source=nobody", &format!("q={}", "x".repeat(9999))] {
            let (address, problem) = read(query);
            assert!(matches!(problem, Some(Problem::Filter(_))), "{query}");
            assert_eq!(address, Address::default());
        }
    }
}
