//! `Tally`: how many calls a source has made in a UTC day.

use std::cmp::Ordering;

use dbtask_clouds::model::Timestamp;
use serde::{Deserialize, Serialize};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The calls of one UTC day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Days since the epoch.
    day: i64,
    calls: u64,
}

impl Tally {
    /// Counts one call; the first of a day begins anew.
    pub fn add(&mut self, now: Timestamp) {
        *self = Self { day: day(now), calls: self.on(now).saturating_add(1) };
    }

    /// Adds calls that were counted apart. Those of an earlier day are of no interest any more.
    pub fn include(&mut self, other: Self) {
        match other.day.cmp(&self.day) {
            Ordering::Less => {}
            Ordering::Equal => self.calls = self.calls.saturating_add(other.calls),
            Ordering::Greater => *self = other,
        }
    }

    /// The calls on the day of `now`.
    pub fn on(self, now: Timestamp) -> u64 {
        if self.day == day(now) { self.calls } else { 0 }
    }
}

fn day(time: Timestamp) -> i64 {
    time.as_second().div_euclid(DAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_begins_at_nothing() {
        let noon = Timestamp::from_second(1_772_366_400).unwrap();
        let mut tally = Tally::default();
        assert_eq!(tally.on(noon), 0);
        tally.add(noon);
        tally.add(noon.offset_by(12 * 3600 - 1));
        assert_eq!(tally.on(noon), 2);
        let midnight = noon.offset_by(12 * 3600);
        assert_eq!(tally.on(midnight), 0);
        tally.add(midnight);
        assert_eq!((tally.on(midnight), tally.on(noon)), (1, 0));
    }

    #[test]
    fn calls_that_were_counted_apart_belong_to_their_day() {
        let noon = Timestamp::from_second(1_772_366_400).unwrap();
        let (mut tally, mut apart) = (Tally::default(), Tally::default());
        tally.add(noon);
        apart.add(noon);
        tally.include(apart);
        assert_eq!(tally.on(noon), 2);
        let tomorrow = noon.offset_by(24 * 3600);
        tally.add(tomorrow);
        tally.include(apart);
        assert_eq!(tally.on(tomorrow), 1);
        let mut late = Tally::default();
        late.add(tomorrow.offset_by(24 * 3600));
        tally.include(late);
        assert_eq!(tally.on(tomorrow.offset_by(24 * 3600)), 1);
    }
}
