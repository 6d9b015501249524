//! `Coverage`: over which time the tasks of a source have been seen, and where there are gaps.
//!
//! A vendor's list reaches back so far and no further. Polls that follow each other within that
//! reach leave nothing out. After a longer outage, tasks may have come and gone unseen: that is a
//! gap, and nobody can say what happened in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::task::Timestamp;

/// A time by the vendor's clock: a poll has seen every task that began in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where the list begins.
    pub since: Timestamp,
    /// When it was asked for; the beginning again if it was cut short, and so covers nothing.
    pub until: Timestamp,
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

/// What the polls of one source have covered so far. The default: there has been none, so that
/// nothing can be missing.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Coverage {
    until: Option<Timestamp>,
    in_gap: bool,
}

impl Coverage {
    /// Up to when everything has been seen, gaps aside; `None` before the first complete poll.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Whether the last poll found a gap, and left its end open.
    pub fn is_in_gap(&self) -> bool {
        self.in_gap
    }

    /// Adds what a poll covered. Returns the gap between it and the polls before.
    pub fn add(&mut self, span: Span) -> Option<Gap> {
        let gap = self.until.filter(|&until| span.since > until).map(|from| Gap {
            from,
            to: span.since,
            goes_on: self.in_gap,
        });
        self.until = Some(span.until);
        // Only a poll that covers nothing leaves the end of a gap open.
        self.in_gap = gap.is_some() && span.since == span.until;
        gap
    }
}

impl Gap {
    /// How long it is.
    pub fn duration(&self) -> Duration {
        self.to.since(self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + hour * 3600).unwrap()
    }

    fn span(since: i64, until: i64) -> Span {
        Span { since: at(since), until: at(until) }
    }

    #[test]
    fn the_first_poll_has_no_gap_before_it() {
        assert_eq!(Coverage::default().add(span(0, 24)), None);
    }

    #[test]
    fn a_poll_that_reaches_back_to_the_one_before_leaves_no_gap() {
        let mut coverage = Coverage { until: Some(at(0)), in_gap: false };
        assert_eq!(coverage.add(span(0, 24)), None);
        assert_eq!(coverage.until(), Some(at(24)));
    }

    #[test]
    fn a_gap_lasts_from_the_last_poll_to_the_beginning_of_the_list() {
        let mut coverage = Coverage { until: Some(at(0)), in_gap: false };
        let gap = coverage.add(span(6, 30)).unwrap();
        assert_eq!((gap.from, gap.to, gap.goes_on), (at(0), at(6), false));
        assert_eq!(gap.duration(), Duration::from_hours(6));
        assert_eq!(coverage.add(span(7, 31)), None);
    }

    #[test]
    fn polls_that_cover_nothing_make_one_gap_that_goes_on() {
        let mut coverage = Coverage { until: Some(at(0)), in_gap: false };
        let gaps = [span(1, 1), span(2, 2), span(2, 3), span(4, 4)].map(|span| coverage.add(span));
        let goes_on = gaps.map(|gap| gap.map(|gap| (gap.duration().as_secs() / 3600, gap.goes_on)));
        assert_eq!(goes_on, [Some((1, false)), Some((1, true)), None, Some((1, false))]);
    }
}
