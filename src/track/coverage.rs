//! `Coverage`: over which time the tasks of a source have been seen, and where there are gaps.
//!
//! A vendor's list reaches back so far and no further. Polls that follow each other within that
//! reach leave nothing out. After a longer outage, tasks may have come and gone unseen: that is a
//! gap, and nobody can say what happened in it.
//!
//! Where resources are asked one by one, one that fails is behind the others until it answers again.

use std::collections::BTreeMap;
use std::time::Duration;

use dbtask_clouds::model::Timestamp;
use serde::{Deserialize, Serialize};

/// A time by the vendor's clock: a poll has seen every task that began in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where the list begins.
    pub since: Timestamp,
    /// When it was asked for; the beginning again if it was cut short, and so covers nothing.
    pub until: Timestamp,
}

impl Span {
    /// Whether the list was not read to its end.
    pub fn covers_nothing(self) -> bool {
        self.since == self.until
    }

    /// What both cover, of polls that are one.
    pub fn both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let both = one.zip(other).map(|(one, other)| Self {
            since: one.since.max(other.since),
            until: one.until.min(other.until),
        });
        both.or(one).or(other)
    }
}

/// A time over which nothing is known of tasks that began and ended in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the last complete poll before it asked.
    pub from: Timestamp,
    /// Where the list of the first poll after it begins.
    pub to: Timestamp,
    /// It follows the gap before without a break, and is a part of it.
    pub goes_on: bool,
}

/// What one poll covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covers {
    /// What it covered of everything that is not in `resources`; `None` if there was nothing else.
    pub span: Option<Span>,
    /// The resources that were behind before the poll, or are now: what it covered of each. `None`
    /// where that is nothing.
    pub resources: BTreeMap<Box<str>, Option<Span>>,
    /// Of those of them that have been found since the last poll: up to when they were known not to
    /// exist. Nothing of what came later has been seen.
    pub found: BTreeMap<Box<str>, Timestamp>,
}

/// What the polls of one source have covered so far. The default: there has been none, so that
/// nothing can be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    until: Option<Timestamp>,
    in_gap: bool,
    /// The resources that are behind: they were not reached lately, or their lists not read to the
    /// end.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    behind: BTreeMap<Box<str>, Behind>,
}

/// How far a resource is behind the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Behind {
    until: Timestamp,
    in_gap: bool,
}

impl Coverage {
    /// Up to when everything has been seen, gaps and single resources aside; `None` before the first
    /// complete poll.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// The same of one resource.
    pub fn of(&self, resource: &str) -> Option<Timestamp> {
        self.behind.get(resource).map(|behind| behind.until).or(self.until)
    }

    /// Whether a resource is behind the others.
    pub fn is_behind(&self, resource: &str) -> bool {
        self.behind.contains_key(resource)
    }

    /// The resources that are behind the others, ordered.
    pub fn are_behind(&self) -> impl Iterator<Item = &str> {
        self.behind.keys().map(|id| &**id)
    }

    /// Whether the last poll found a gap, and left its end open.
    pub fn is_in_gap(&self) -> bool {
        self.in_gap || self.behind.values().any(|behind| behind.in_gap)
    }

    /// Adds what a poll covered. Returns the gap between it and the polls before; where several
    /// resources have one, a gap that holds them all.
    pub fn add(&mut self, covers: Covers) -> Option<Gap> {
        let Covers { span, resources, found: absent_until } = covers;
        let spans = span.into_iter().chain(resources.values().copied().flatten());
        let until = spans.map(|span| span.until).max()?;
        let of_rest = span.zip(self.until).and_then(|(span, from)| gap(from, span, self.in_gap));
        let (mut found, mut behind) = (of_rest, BTreeMap::new());
        for (id, span) in resources {
            // What has never been reached is watched since the first poll that reached anything.
            let since = absent_until.get(&id).copied().or(self.until).unwrap_or(until);
            let before = self.behind.get(&id).copied();
            let before = before.unwrap_or(Behind { until: since, in_gap: false });
            let Some(span) = span else {
                behind.insert(id, before);
                continue;
            };
            let new = gap(before.until, span, before.in_gap).filter(|_| self.until.is_some());
            if span.covers_nothing() {
                behind.insert(id, Behind { until: span.until, in_gap: new.is_some() });
            }
            found = found.into_iter().chain(new).reduce(Gap::join);
        }
        // Only a poll that covers nothing leaves the end of a gap open.
        self.in_gap = of_rest.is_some() && span.is_some_and(Span::covers_nothing);
        self.behind = behind;
        self.until = Some(until);
        found
    }
}

/// The gap between what was covered until `from` and a later span.
fn gap(from: Timestamp, span: Span, goes_on: bool) -> Option<Gap> {
    (span.since > from).then_some(Gap { from, to: span.since, goes_on })
}

impl Gap {
    /// How long it is.
    pub fn duration(&self) -> Duration {
        self.to.since(self.from)
    }

    /// The least gap that holds both.
    fn join(self, other: Self) -> Self {
        Self {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
            goes_on: self.goes_on && other.goes_on,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + hour * 3600).unwrap()
    }

    /// What a poll of the whole source covered.
    fn span(since: i64, until: i64) -> Covers {
        let span = Some(Span { since: at(since), until: at(until) });
        Covers { span, ..Covers::default() }
    }

    /// The same where single resources were covered otherwise.
    fn apart(mut whole: Covers, resources: &[(&str, Option<Covers>)]) -> Covers {
        let of = |covers: &Option<Covers>| covers.as_ref().and_then(|covers| covers.span);
        whole.resources = resources.iter().map(|(id, covers)| ((*id).into(), of(covers))).collect();
        whole
    }

    /// Everything up to the hour 0.
    fn covered() -> Coverage {
        Coverage { until: Some(at(0)), ..Coverage::default() }
    }

    #[test]
    fn the_first_poll_has_no_gap_before_it() {
        assert_eq!(Coverage::default().add(span(0, 24)), None);
    }

    #[test]
    fn a_poll_that_reaches_back_to_the_one_before_leaves_no_gap() {
        let mut coverage = covered();
        assert_eq!(coverage.add(span(0, 24)), None);
        assert_eq!(coverage.until(), Some(at(24)));
    }

    #[test]
    fn a_gap_lasts_from_the_last_poll_to_the_beginning_of_the_list() {
        let mut coverage = covered();
        let gap = coverage.add(span(6, 30)).unwrap();
        assert_eq!((gap.from, gap.to, gap.goes_on), (at(0), at(6), false));
        assert_eq!(gap.duration(), Duration::from_hours(6));
        assert_eq!(coverage.add(span(7, 31)), None);
    }

    #[test]
    fn polls_that_cover_nothing_make_one_gap_that_goes_on() {
        let mut coverage = covered();
        let gaps = [span(1, 1), span(2, 2), span(2, 3), span(4, 4)].map(|span| coverage.add(span));
        let goes_on = gaps.map(|gap| gap.map(|gap| (gap.duration().as_secs() / 3600, gap.goes_on)));
        assert_eq!(goes_on, [Some((1, false)), Some((1, true)), None, Some((1, false))]);
    }

    #[test]
    fn a_resource_that_is_not_reached_falls_behind_alone_and_catches_up() {
        let mut coverage = covered();
        assert_eq!(coverage.add(apart(span(-1, 1), &[("b", None)])), None);
        assert_eq!(coverage.add(apart(span(0, 2), &[("b", None)])), None);
        assert_eq!((coverage.of("a"), coverage.of("b")), (Some(at(2)), Some(at(0))));
        let text = serde_json::to_string(&coverage).unwrap();
        assert_eq!(serde_json::from_str::<Coverage>(&text).unwrap(), coverage);
        assert_eq!(coverage.add(apart(span(1, 3), &[("b", Some(span(-1, 3)))])), None);
        assert_eq!((coverage.of("b"), coverage.is_behind("b")), (Some(at(3)), false));
    }

    #[test]
    fn a_resource_that_was_not_reached_for_too_long_has_a_gap_of_its_own() {
        let mut coverage = covered();
        coverage.add(apart(span(-1, 30), &[("b", None), ("c", None)]));
        let back = apart(span(29, 31), &[("b", Some(span(7, 31))), ("c", Some(span(5, 31)))]);
        let gap = coverage.add(back).unwrap();
        assert_eq!((gap.from, gap.to, gap.goes_on), (at(0), at(7), false));
        assert_eq!(coverage.add(span(30, 32)), None);
    }

    #[test]
    fn a_resource_whose_list_is_not_read_to_its_end_has_one_gap_that_goes_on() {
        let mut coverage = covered();
        let cut = |hour| apart(span(hour - 24, hour), &[("b", Some(span(hour, hour)))]);
        let gaps = [cut(1), cut(2), apart(span(-21, 3), &[("b", None)]), cut(4)]
            .map(|covers| coverage.add(covers));
        let goes_on = gaps.map(|gap| gap.map(|gap| (gap.duration().as_secs() / 3600, gap.goes_on)));
        assert_eq!(goes_on, [Some((1, false)), Some((1, true)), None, Some((2, true))]);
        assert!(coverage.is_in_gap());
        assert_eq!(coverage.add(apart(span(-19, 5), &[("b", Some(span(3, 5)))])), None);
        assert!(!coverage.is_in_gap() && !coverage.is_behind("b"));
    }

    #[test]
    fn a_poll_that_reaches_nothing_changes_nothing() {
        let mut coverage = covered();
        let nothing = apart(Covers::default(), &[("b", None)]);
        assert_eq!((coverage.add(nothing), &coverage), (None, &covered()));
    }

    #[test]
    fn a_resource_that_was_never_reached_is_watched_from_the_first_poll_on() {
        let mut coverage = Coverage::default();
        coverage.add(apart(span(-24, 0), &[("b", None)]));
        coverage.add(apart(span(-24, 1), &[("b", None)]));
        assert_eq!(coverage.of("b"), Some(at(0)));
    }

    #[test]
    fn a_resource_that_is_found_late_is_behind_since_it_was_known_not_to_exist() {
        let mut coverage = covered();
        coverage.add(span(0, 40));
        let mut late = apart(span(39, 41), &[("b", None), ("c", Some(span(11, 41)))]);
        late.found = [("b", 0), ("c", 10)].map(|(id, hour)| (id.into(), at(hour))).into();
        let gap = coverage.add(late).unwrap();
        assert_eq!((gap.from, gap.to), (at(10), at(11)), "the list of one does not reach so far");
        assert_eq!((coverage.of("a"), coverage.of("b")), (Some(at(41)), Some(at(0))));
        assert_eq!(coverage.add(apart(span(40, 42), &[("b", Some(span(-1, 42)))])), None);
        assert_eq!(coverage.of("b"), Some(at(42)));
    }

    #[test]
    fn what_an_earlier_version_has_written_is_read() {
        let read: Coverage = serde_json::from_str(r#"{"until":null,"in_gap":false}"#).unwrap();
        assert_eq!(read, Coverage::default());
    }
}
