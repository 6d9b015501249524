//! `Budget`: how many calls an account may make in a UTC day, and how its sources share the last
//! fifth of them. Pure: it is told what time it is.
//!
//! Two counts have to stay below the limit:
//!
//! - **By day**, as the clock shows it. The last days that it has shown are remembered, so that a
//!   clock that is set back finds its day as it was left.
//! - **By span**, which lasts from midnight to midnight by a steady clock that nobody can set: a
//!   clock that leaps ahead begins a new day, but no new span.
//!
//! Within a minute of its end a call counts for the next one too: it takes a while to arrive, and
//! the vendor's clock may differ from ours. So a clock that is set back, or leaps ahead and back,
//! never gives a second budget. Only one that is wrong at the start, or at a midnight, and is then
//! wrong in another way before the next may allow a UTC day up to twice the limit. A restart has
//! nothing but the clock and the counts by day to go by.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use dbtask_clouds::model::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::platform::clock::Clock;
use crate::snapshot::Left;

const DAY: Duration = Duration::from_hours(24);
/// How near to its end a call counts for the next day, or span, too.
const OVERLAP: Duration = Duration::from_mins(1);
/// Less than a day, so that spans end at midnight again after small corrections of the clock.
const SHORTEST_SPAN: Duration = Duration::from_hours(23);
/// The most days that are remembered.
const MAX_DAYS: usize = 8;
/// One part in so many of the limit is reserved at a time.
const BLOCKS: u64 = 200;
/// How many polls a source with unfinished tasks gets for one of a source without.
const UNFINISHED_SHARE: f64 = 4.0;

/// An instant by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the clock that people set.
    pub clock: Timestamp,
    /// By the one that nobody sets.
    pub steady: Instant,
}

impl Moment {
    /// This instant.
    pub fn now(clock: Clock) -> Self {
        Self { clock: clock.now(), steady: Instant::now() }
    }
}

/// The calls that may have been made, by day: what has to survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark(Vec<(i64, u64)>);

/// There are no calls left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daily budget of {limit} calls is spent; there are more at {until}")]
pub struct Spent {
    /// Calls a day.
    pub limit: u64,
    /// When there are calls again.
    pub until: Timestamp,
}

/// What a source would like after a poll.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The interval that it would poll at if there were no budget.
    pub interval: Duration,
    /// Whether it has unfinished tasks.
    pub unfinished: bool,
    /// Whether the poll went well, so that the next will take about as many calls.
    pub good: bool,
}

/// How a scarce budget slows a source down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slowed {
    /// From the beginning of the last poll to that of the next, longer than the source would like.
    pub interval: Duration,
    /// When there are plenty of calls again, if the next poll has to wait for that.
    pub until: Option<Instant>,
}

/// What a budget has for calls that no poll makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spare {
    /// Nothing: what is left is for the last polls of the day.
    Nothing,
    /// Less than the polls of the rest of the day would take.
    Little,
    /// More than they would take.
    Plenty,
}

/// The calls that an account may make in a UTC day.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    /// The latest to be used last.
    days: Vec<Day>,
    span: Span,
    sources: BTreeMap<String, Share>,
}

/// The calls of one day, as the clock had it.
#[derive(Clone, Copy, Debug)]
struct Day {
    /// Days since the epoch.
    number: i64,
    spent: u64,
    /// Calls that may be made before the mark has to be written again.
    reserved: u64,
}

/// A day's length of steady time.
#[derive(Clone, Copy, Debug)]
struct Span {
    ends: Instant,
    spent: u64,
    /// Calls that count for the next one too.
    late: u64,
}

/// One of the counts that bind.
#[derive(Clone, Copy, Debug)]
struct Count {
    left: u64,
    /// Until the next one binds alone.
    rest: Duration,
}

/// What is known of a source's needs.
#[derive(Clone, Copy, Debug)]
struct Share {
    interval: Duration,
    weight: f64,
    /// Calls since its last poll.
    spent: u64,
    /// Calls that a poll takes, at least 1.
    cost: u64,
}

impl Share {
    /// What its polls take if nothing slows them down.
    fn calls_a_second(&self) -> f64 {
        float(self.cost) / self.interval.as_secs_f64().max(1.0)
    }
}

impl Budget {
    /// A budget of `limit` calls a day, of which `mark` may have been made by earlier processes.
    pub fn new(limit: u64, mark: &Mark, now: Moment) -> Self {
        let days: Vec<Day> =
            mark.0.iter().map(|&(number, spent)| Day { number, spent, reserved: spent }).collect();
        let today = day_of(now.clock);
        // Days to come are the work of a clock that was ahead: in truth they may be today.
        let spent = days
            .iter()
            .filter(|day| day.number >= today)
            .fold(0_u64, |sum, day| sum.saturating_add(day.spent));
        let span = Span { ends: now.steady + until_midnight(now.clock), spent, late: 0 };
        Self { limit, days, span, sources: BTreeMap::new() }
    }

    /// Adds a source, which would poll at `interval`.
    pub fn join(&mut self, source: &str, interval: Duration) {
        let share = Share { interval, weight: 1.0, spent: 0, cost: 1 };
        self.sources.insert(source.to_owned(), share);
    }

    /// Takes a source out.
    pub fn leave(&mut self, source: &str) {
        self.sources.remove(source);
    }

    /// Allows another number of calls a day. Those that have been made today stay made.
    pub fn allow(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// The names of the sources, in order.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }

    /// Takes one call, which has to be made at once, or not at all: by a poll of the source `poll`,
    /// or by no poll.
    pub fn take(&mut self, poll: Option<&str>, now: Moment) -> Result<Left, Spent> {
        self.go_to(now);
        let spent = self.counts(now).filter(|count| count.left == 0).map(|count| count.rest).max();
        if let Some(rest) = spent {
            return Err(Spent { limit: self.limit, until: now.clock + rest });
        }
        let near = days_near(now.clock);
        for day in self.days.iter_mut().filter(|day| near.contains(&day.number)) {
            day.spent = day.spent.saturating_add(1);
        }
        self.span.spent = self.span.spent.saturating_add(1);
        if now.steady + OVERLAP >= self.span.ends {
            self.span.late = self.span.late.saturating_add(1);
        }
        if let Some(share) = poll.and_then(|source| self.sources.get_mut(source)) {
            share.spent = share.spent.saturating_add(1);
        }
        Ok(self.left(now))
    }

    /// What is left now.
    pub fn left(&mut self, now: Moment) -> Left {
        self.go_to(now);
        let remaining = self.counts(now).map(|count| count.left).min().unwrap_or_default();
        Left { limit: self.limit, remaining }
    }

    /// What is left for calls that no poll makes.
    pub fn spare(&mut self, now: Moment) -> Spare {
        self.go_to(now);
        let in_hand: u64 = self.sources.values().map(|share| share.cost).sum();
        let polls_a_second: f64 = self.sources.values().map(Share::calls_a_second).sum();
        let spare = self.counts(now).map(|count| match count.left.checked_sub(in_hand) {
            None | Some(0) => Spare::Nothing,
            Some(left) if float(left) > polls_a_second * count.rest.as_secs_f64() => Spare::Plenty,
            Some(_) => Spare::Little,
        });
        spare.min().unwrap_or(Spare::Plenty)
    }

    /// The mark that has to be kept before another call is taken, if any: it reserves a block of
    /// calls. Those of them that are not made before the process dies are lost.
    pub fn unkept(&mut self, now: Moment) -> Option<Mark> {
        self.go_to(now);
        let near = days_near(now.clock);
        let block = (self.limit / BLOCKS).max(1);
        let mut due = false;
        let reserve = |day: &Day| {
            let mut reserved = day.reserved;
            if near.contains(&day.number) && day.spent >= reserved && day.spent < self.limit {
                reserved = day.spent.saturating_add(block).min(self.limit);
                due = true;
            }
            (day.number, reserved)
        };
        let mark = Mark(self.days.iter().map(reserve).collect());
        due.then_some(mark)
    }

    /// `mark` is kept, or cannot be.
    pub fn kept(&mut self, mark: &Mark) {
        for (number, reserved) in &mark.0 {
            if let Some(day) = self.days.iter_mut().find(|day| day.number == *number) {
                day.reserved = day.reserved.max(*reserved);
            }
        }
    }

    /// A poll of `source` has ended. `None` if its next may come as soon as it would like.
    pub fn pace(&mut self, source: &str, need: Need, now: Moment) -> Option<Slowed> {
        self.go_to(now);
        let share = self.sources.get_mut(source)?;
        // A poll that went wrong may have stopped early.
        let least = if need.good { 1 } else { share.cost };
        *share = Share {
            interval: need.interval,
            weight: if need.unfinished { UNFINISHED_SHARE } else { 1.0 },
            spent: 0,
            cost: share.spent.max(least),
        };
        let share = *share;
        let scarce = self
            .counts(now)
            .filter(|count| Left { limit: self.limit, remaining: count.left }.is_scarce());
        let slowed = scarce.map(|count| {
            let interval = match count.left {
                // The next poll shows that there are no calls left; the one after that waits.
                0 if need.good => share.interval,
                0 => count.rest,
                _ => self.even(share, count).min(count.rest),
            };
            (interval, count.rest)
        });
        let (interval, rest) = slowed.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))?;
        (interval > share.interval)
            .then(|| Slowed { interval, until: (interval >= rest).then(|| now.steady + rest) })
    }

    /// The interval at which a source may poll if all together make the calls of `count` last
    /// until it begins anew: the same for all, four times as long for those without unfinished
    /// tasks. What a source would not use, for its own interval is longer, is for the others. The
    /// calls of one poll of each stay in hand, so that the last polls of a day are whole.
    fn even(&self, source: Share, count: Count) -> Duration {
        let in_hand: u64 = self.sources.values().map(|share| share.cost).sum();
        let left = count.left - in_hand.min(count.left / 2);
        let mut rate = float(left) / count.rest.as_secs_f64().max(1.0);
        let mut slowed: Vec<&Share> = self.sources.values().collect();
        let each = loop {
            let calls: f64 = slowed.iter().map(|share| share.weight * float(share.cost)).sum();
            // Of a source with weight 1.
            let each = calls / rate.max(f64::MIN_POSITIVE);
            let (content, rest): (Vec<&Share>, Vec<&Share>) = slowed
                .into_iter()
                .partition(|share| each / share.weight <= share.interval.as_secs_f64());
            if content.is_empty() || rest.is_empty() {
                break each;
            }
            rate -= content.into_iter().map(Share::calls_a_second).sum::<f64>();
            slowed = rest;
        };
        Duration::try_from_secs_f64(each / source.weight).unwrap_or(Duration::MAX)
    }

    /// Begins the day and the span that `now` is in, if they are new.
    fn go_to(&mut self, now: Moment) {
        for number in days_near(now.clock) {
            let known = self.days.iter().position(|day| day.number == number);
            let day = known.map(|index| self.days.remove(index));
            self.days.push(day.unwrap_or(Day { number, spent: 0, reserved: 0 }));
        }
        let superfluous = self.days.len().saturating_sub(MAX_DAYS);
        self.days.drain(..superfluous);
        let over = now.steady.saturating_duration_since(self.span.ends);
        if over >= OVERLAP {
            // Nobody may have asked for longer than a day.
            let age = Duration::from_secs(over.as_secs() % DAY.as_secs());
            let least = SHORTEST_SPAN.saturating_sub(age);
            let ends = now.steady + least + until_midnight(now.clock + least);
            self.span = Span { ends, spent: self.span.late, late: 0 };
        }
    }

    /// The counts that bind now; never none.
    fn counts(&self, now: Moment) -> impl Iterator<Item = Count> {
        let near = days_near(now.clock);
        let days = self.days.iter().filter(move |day| near.contains(&day.number));
        let days = days.map(move |day| (day.spent, until_end(day.number, now.clock)));
        let rest = (self.span.ends + OVERLAP).saturating_duration_since(now.steady);
        days.chain([(self.span.spent, rest)])
            .map(|(spent, rest)| Count { left: self.limit.saturating_sub(spent), rest })
    }
}

/// Days since the epoch.
fn day_of(clock: Timestamp) -> i64 {
    clock.as_second().div_euclid(seconds(DAY))
}

/// The days that a call counts for.
fn days_near(clock: Timestamp) -> RangeInclusive<i64> {
    let overlap = seconds(OVERLAP);
    day_of(clock.offset_by(-overlap))..=day_of(clock.offset_by(overlap))
}

/// Until calls no longer count for a day.
fn until_end(day: i64, clock: Timestamp) -> Duration {
    let ends = day.saturating_add(1).saturating_mul(seconds(DAY)).saturating_add(seconds(OVERLAP));
    Duration::from_secs(u64::try_from(ends.saturating_sub(clock.as_second())).unwrap_or_default())
}

fn until_midnight(clock: Timestamp) -> Duration {
    until_end(day_of(clock), clock).saturating_sub(OVERLAP)
}

fn seconds(duration: Duration) -> i64 {
    duration.as_secs().cast_signed()
}

fn float(calls: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "nobody counts that far")]
    let float = calls as f64;
    float
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Midnight of some day, UTC.
    const MIDNIGHT: i64 = 1_790_035_200;

    /// A true time, and a clock that may be wrong.
    #[derive(Clone, Copy)]
    struct Time {
        begun: Instant,
        /// Seconds after `MIDNIGHT`.
        truth: u64,
        /// Seconds that the clock is ahead.
        ahead: i64,
    }

    impl Time {
        fn new(truth: u64) -> Self {
            Self { begun: Instant::now() + Duration::from_hours(1), truth, ahead: 0 }
        }

        fn at(self, truth: u64) -> Self {
            Self { truth, ..self }
        }

        fn ahead(self, seconds: i64) -> Self {
            Self { ahead: seconds, ..self }
        }

        fn moment(self) -> Moment {
            Moment {
                clock: Timestamp::from_second(MIDNIGHT + self.truth.cast_signed() + self.ahead)
                    .unwrap(),
                steady: self.begun + Duration::from_secs(self.truth),
            }
        }
    }

    const HOUR: u64 = 3600;

    fn budget(limit: u64, time: Time) -> Budget {
        Budget::new(limit, &Mark::default(), time.moment())
    }

    /// How many calls are allowed at that moment, of `most` that are tried.
    fn spree(budget: &mut Budget, time: Time, most: usize) -> usize {
        (0..most).filter(|_| budget.take(Some("one"), time.moment()).is_ok()).count()
    }

    fn need(interval: u64, unfinished: bool) -> Need {
        Need { interval: Duration::from_secs(interval), unfinished, good: true }
    }

    #[test]
    fn the_limit_is_reached_and_not_passed() {
        for limit in [1, 2, 7] {
            let time = Time::new(12 * HOUR);
            let mut budget = budget(limit, time);
            for left in (0..limit).rev() {
                let taken = budget.take(Some("one"), time.moment()).unwrap();
                assert_eq!(taken, Left { limit, remaining: left });
            }
            let spent = budget.take(Some("one"), time.moment()).unwrap_err();
            assert_eq!(spent.until.as_second(), MIDNIGHT + 86_400 + 60);
        }
    }

    #[test]
    fn a_new_day_brings_new_calls() {
        let time = Time::new(12 * HOUR);
        let mut budget = budget(5, time);
        assert_eq!(spree(&mut budget, time, 9), 5);
        for day in 1..40 {
            let time = time.at(24 * day * HOUR + 90 * day);
            assert_eq!(spree(&mut budget, time, 9), 5, "day {day}");
        }
    }

    #[test]
    fn a_call_at_midnight_counts_for_both_days() {
        let time = Time::new(12 * HOUR);
        let mut budget = budget(5, time);
        assert_eq!(spree(&mut budget, time.at(24 * HOUR - 30), 2), 2);
        assert_eq!(spree(&mut budget, time.at(24 * HOUR + 30), 2), 2);
        assert_eq!(spree(&mut budget, time.at(24 * HOUR + 59), 9), 1, "the fifth of the old day");
        assert_eq!(spree(&mut budget, time.at(24 * HOUR + 61), 9), 0, "all five count here too");
        assert_eq!(spree(&mut budget, time.at(48 * HOUR + 61), 9), 5);
    }

    #[test]
    fn a_clock_that_is_set_back_gives_no_second_budget() {
        let time = Time::new(12 * HOUR);
        let mut budget = budget(5, time);
        assert_eq!(spree(&mut budget, time, 9), 5);
        for hours in [1, 13, 24, 24 * 365] {
            assert_eq!(spree(&mut budget, time.ahead(-hours * 3600), 9), 0, "{hours} h");
            assert_eq!(spree(&mut budget, time, 9), 0, "and forward again after {hours} h");
        }
        // Set back at half past midnight, the day begins a second time.
        let time = time.at(24 * HOUR + 1800);
        assert_eq!(spree(&mut budget, time, 3), 3);
        assert_eq!(spree(&mut budget, time.ahead(-3600), 9), 0, "yesterday's are spent");
        assert_eq!(spree(&mut budget, time.at(25 * HOUR + 1800).ahead(-3600), 9), 2);
    }

    #[test]
    fn a_clock_that_leaps_ahead_gives_nothing_and_recovers_when_it_is_set_right() {
        let time = Time::new(12 * HOUR);
        let mut budget = budget(5, time);
        assert_eq!(spree(&mut budget, time, 3), 3);
        for days in [1, 3, 365, 30_000] {
            assert_eq!(budget.left(time.ahead(days * 86_400).moment()).remaining, 2);
        }
        assert_eq!(spree(&mut budget, time.ahead(365 * 86_400), 9), 2);
        assert_eq!(spree(&mut budget, time, 9), 0);
        assert_eq!(spree(&mut budget, time.at(24 * HOUR + 61), 9), 5);
    }

    #[test]
    fn a_leap_after_midnight_does_not_lose_the_first_calls_of_the_day() {
        let time = Time::new(12 * HOUR);
        let mut budget = budget(5, time);
        assert_eq!(spree(&mut budget, time.at(24 * HOUR + 30), 3), 3);
        let ahead = time.at(24 * HOUR + 90).ahead(3 * 86_400);
        assert_eq!(spree(&mut budget, ahead, 9), 2);
    }

    #[test]
    fn a_clock_that_was_decades_behind_at_the_start_costs_a_day_at_most() {
        let time = Time::new(12 * HOUR).ahead(-50 * 365 * 86_400 + 7 * 3600);
        let mut budget = budget(5, time);
        assert_eq!(spree(&mut budget, time, 5), 5);
        let right = time.ahead(0);
        let wait =
            (0..48).find(|hours| spree(&mut budget, right.at(12 * HOUR + hours * HOUR), 1) > 0);
        assert!(wait.is_some_and(|hours| hours <= 24), "{wait:?}");
    }

    #[test]
    fn a_machine_that_slept_is_in_step_with_midnight_again_within_two_days() {
        let time = Time::new(12 * HOUR);
        let mut budget = budget(5, time);
        // Asleep for seven hours: our steady clock stood still, the other was put forward.
        let awake = time.ahead(7 * 3600);
        for day in 1..4 {
            spree(&mut budget, awake.at(24 * day * HOUR - 6 * HOUR), 9);
        }
        let after_midnight = awake.at(4 * 24 * HOUR - 7 * HOUR + 61);
        assert_eq!(spree(&mut budget, after_midnight, 9), 5);
    }

    #[test]
    fn what_was_reserved_and_not_used_is_lost_and_never_sent_twice() {
        let time = Time::new(12 * HOUR);
        let mut first = budget(2000, time);
        let mut kept = Mark::default();
        let mut writes = 0;
        for _ in 0..95 {
            if let Some(mark) = first.unkept(time.moment()) {
                first.kept(&mark);
                kept = mark;
                writes += 1;
            }
            first.take(Some("one"), time.moment()).unwrap();
        }
        assert_eq!(writes, 10, "one for ten calls");
        let mut second = Budget::new(2000, &kept, time.moment());
        assert_eq!(second.left(time.moment()).remaining, 1900);
        assert!(second.unkept(time.moment()).is_some());
        let mut tomorrow = Budget::new(2000, &kept, time.at(30 * HOUR).moment());
        assert_eq!(tomorrow.left(time.at(30 * HOUR).moment()).remaining, 2000);
        let json = serde_json::to_string(&kept).unwrap();
        assert_eq!(json, "[[20718,100]]");
        assert_eq!(serde_json::from_str::<Mark>(&json).unwrap(), kept);
    }

    #[test]
    fn a_budget_that_is_spent_has_nothing_to_keep() {
        let time = Time::new(12 * HOUR);
        let spent = Mark(vec![(20_718, 10)]);
        let mut budget = Budget::new(10, &spent, time.moment());
        assert_eq!(budget.unkept(time.moment()), None);
        assert_eq!(spree(&mut budget, time, 1), 0);
        let mut smaller = Budget::new(3, &spent, time.moment());
        assert_eq!(smaller.left(time.moment()).remaining, 0, "a limit may have been lowered");
    }

    #[test]
    fn a_leap_ahead_is_remembered_over_a_restart() {
        let time = Time::new(12 * HOUR);
        let mut first = budget(10, time);
        let ahead = time.ahead(3 * 86_400);
        let mark = first.unkept(ahead.moment()).unwrap();
        let mut second = Budget::new(10, &mark, time.moment());
        assert_eq!(second.left(time.moment()).remaining, 9);
    }

    #[test]
    fn the_first_four_fifths_slow_nobody_down() {
        let time = Time::new(12 * HOUR);
        let mut budget = budget(100, time);
        budget.join("one", Duration::from_mins(2));
        spree(&mut budget, time, 79);
        assert_eq!(budget.pace("one", need(30, true), time.moment()), None);
        spree(&mut budget, time, 1);
        assert!(budget.left(time.moment()).is_scarce());
        assert!(budget.pace("one", need(30, true), time.moment()).is_some());
    }

    #[test]
    fn the_rest_is_spread_evenly_over_the_rest_of_the_day() {
        let time = Time::new(12 * HOUR);
        let mut budget = budget(1000, time);
        budget.join("one", Duration::from_mins(2));
        spree(&mut budget, time, 797);
        budget.pace("one", need(30, true), time.moment());
        spree(&mut budget, time, 3);
        let slowed = budget.pace("one", need(30, true), time.moment()).unwrap();
        // 200 calls, three for a poll and three in hand, in twelve hours and a minute.
        assert_eq!(slowed.interval.as_secs(), 3 * (12 * HOUR + 60) / 197);
        assert_eq!(slowed.until, None);
        assert_eq!(budget.pace("one", need(3600, false), time.moment()), None, "slow enough");
    }

    #[test]
    fn unfinished_tasks_come_first_and_what_one_source_leaves_is_for_the_others() {
        let time = Time::new(12 * HOUR);
        let mut budget = budget(1000, time);
        let interval = |budget: &mut Budget, source: &str, need| {
            budget.pace(source, need, time.moment()).map(|slowed| slowed.interval.as_secs())
        };
        for source in ["busy", "idle", "rare"] {
            budget.join(source, Duration::from_mins(2));
        }
        spree(&mut budget, time, 800);
        interval(&mut budget, "busy", need(30, true));
        interval(&mut budget, "rare", need(6 * HOUR, false));
        let idle = interval(&mut budget, "idle", need(120, false)).unwrap();
        let busy = interval(&mut budget, "busy", need(30, true)).unwrap();
        // Three calls are in hand, two for the rare one; of the other 195 four fifths are for the
        // busy one.
        assert_eq!((idle, busy), (1109, 277));
        assert_eq!(interval(&mut budget, "rare", need(6 * HOUR, false)), None);
    }

    #[test]
    fn a_spent_budget_is_waited_for() {
        let time = Time::new(12 * HOUR);
        let mut budget = budget(10, time);
        budget.join("one", Duration::from_mins(2));
        assert_eq!(spree(&mut budget, time, 99), 10);
        assert_eq!(budget.pace("one", need(30, true), time.moment()), None, "which is soon seen");
        let bad = Need { good: false, ..need(30, true) };
        let slowed = budget.pace("one", bad, time.moment()).unwrap();
        assert_eq!(slowed.interval.as_secs(), 12 * HOUR + 60);
        assert_eq!(slowed.until, Some(time.at(24 * HOUR + 60).moment().steady));
        let after = time.at(24 * HOUR + 60);
        assert_eq!(budget.pace("one", bad, after.moment()), None);
    }

    /// Calls over ten days: seconds since the last, how many, and where the clock leaps before.
    fn histories() -> impl Strategy<Value = Vec<(u64, usize, Option<i64>)>> {
        let pause = prop_oneof![0..90_u64, 0..20_000_u64, Just(40_000)];
        let leap = prop_oneof![
            6 => Just(None),
            1 => Just(Some(0)),
            1 => (-200_000..200_000_i64).prop_map(Some),
            1 => (-3..=3_i64).prop_map(|days| Some(days * 86_400)),
        ];
        proptest::collection::vec((pause, 0..6_usize, leap), 1..150)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_day_has_more_calls_than_the_limit_while_the_clock_is_right(
            limit in 1..12_u64, start in 0..86_400_u64, history in histories(),
        ) {
            let mut time = Time::new(start);
            let mut budget = budget(limit, time);
            let mut days = BTreeMap::<u64, u64>::new();
            for (pause, calls, _) in history {
                time = time.at(time.truth + pause);
                *days.entry(time.truth / 86_400).or_default() +=
                    spree(&mut budget, time, calls) as u64;
            }
            prop_assert!(days.values().all(|&calls| calls <= limit), "{days:?}");
        }

        #[test]
        fn whatever_the_clock_does_no_day_that_it_shows_and_no_span_has_more(
            limit in 1..12_u64, start in 0..86_400_u64, history in histories(),
        ) {
            let mut time = Time::new(start);
            let mut budget = budget(limit, time);
            let mut shown = Vec::<(i64, u64)>::new();
            let mut all = 0;
            for (pause, calls, leap) in history {
                time = time.at(time.truth + pause).ahead(leap.unwrap_or(time.ahead));
                let calls = spree(&mut budget, time, calls) as u64;
                let day = day_of(time.moment().clock);
                all += calls;
                // Only as many days are remembered.
                let known = shown.iter().position(|(number, _)| *number == day);
                let (_, before) = known.map_or((day, 0), |index| shown.remove(index));
                shown.push((day, before + calls));
                if shown.len() > MAX_DAYS / 2 {
                    shown.remove(0);
                }
                prop_assert!(shown.iter().all(|(_, calls)| *calls <= limit), "{shown:?}");
                let spans = 2 + (time.truth - start) / SHORTEST_SPAN.as_secs();
                prop_assert!(all <= spans * limit, "{all} calls in {spans} spans");
            }
        }

        #[test]
        fn a_right_clock_that_leaps_about_for_a_day_gives_that_day_no_more(
            limit in 1..12_u64,
            start in 0..86_400_u64,
            wrong_day in 0..5_u64,
            history in histories(),
        ) {
            let mut time = Time::new(start);
            let mut budget = budget(limit, time);
            let mut days = BTreeMap::<u64, u64>::new();
            for (pause, calls, leap) in history {
                time = time.at(time.truth + pause);
                let today = time.truth / 86_400;
                // It was right when the day began.
                let may_leap = today == wrong_day && days.contains_key(&today);
                if !days.contains_key(&today) {
                    time = time.ahead(0);
                }
                if may_leap {
                    time = time.ahead(leap.unwrap_or(time.ahead));
                }
                *days.entry(today).or_default() += spree(&mut budget, time, calls) as u64;
            }
            prop_assert!(days.values().all(|&calls| calls <= limit), "{days:?}");
        }

        #[test]
        fn kills_never_send_a_call_twice(
            limit in 1..500_u64, history in histories(), kills in proptest::collection::vec(any::<bool>(), 150),
        ) {
            let mut time = Time::new(0);
            let mut kept = Mark::default();
            let mut budget = budget(limit, time);
            let mut days = BTreeMap::<u64, u64>::new();
            for ((pause, calls, _), killed) in history.into_iter().zip(kills) {
                time = time.at(time.truth + pause);
                if killed {
                    budget = Budget::new(limit, &kept, time.moment());
                }
                for _ in 0..calls * 20 {
                    if let Some(mark) = budget.unkept(time.moment()) {
                        kept = mark.clone();
                        budget.kept(&mark);
                    }
                    if budget.take(Some("one"), time.moment()).is_ok() {
                        *days.entry(time.truth / 86_400).or_default() += 1;
                    }
                }
            }
            prop_assert!(days.values().all(|&calls| calls <= limit), "{days:?}");
        }

        #[test]
        fn every_source_is_polled_at_a_bounded_distance_and_all_together_stay_within_the_rest(
            needs in proptest::collection::vec((1..7200_u64, any::<bool>(), 1..40_u64), 1..30),
            left in 0..5_000_u64,
            hour in 0..24_u64,
        ) {
            let time = Time::new(hour * HOUR);
            let mut budget = Budget::new(30_000, &Mark(vec![(20_718, 30_000 - left)]), time.moment());
            budget.spent_by_sources(&needs);
            let rest = float(((24 - hour) * HOUR + 60).max(1));
            let all: f64 = needs.iter().map(|(_, _, cost)| UNFINISHED_SHARE * float(*cost)).sum();
            let mut rate = 0.0;
            for (index, (interval, unfinished, cost)) in needs.iter().enumerate() {
                let slowed =
                    budget.pace(&index.to_string(), Need { good: false, ..need(*interval, *unfinished) }, time.moment());
                let wanted = Duration::from_secs(*interval);
                let in_force = slowed.map_or(wanted, |slowed| slowed.interval);
                prop_assert!(in_force >= wanted);
                let bound = (2.0 * all * rest / float(left.max(1))).min(rest).max(float(*interval));
                prop_assert!(in_force.as_secs_f64() <= bound + 1.0, "{in_force:?} of {bound}");
                if in_force.as_secs_f64() < rest - 1.0 {
                    rate += float(*cost) / in_force.as_secs_f64();
                }
            }
            prop_assert!(rate <= float(left) / rest * 1.001 + 1e-9, "{rate} a second");
        }
    }

    impl Budget {
        /// Lets sources called `0`, `1` … have ended a poll that took so many calls.
        fn spent_by_sources(&mut self, needs: &[(u64, bool, u64)]) {
            for (index, (interval, unfinished, cost)) in needs.iter().enumerate() {
                let weight = if *unfinished { UNFINISHED_SHARE } else { 1.0 };
                let interval = Duration::from_secs(*interval);
                let share = Share { interval, weight, spent: 0, cost: *cost };
                self.sources.insert(index.to_string(), share);
            }
        }
    }
}
