//! `VendorClock`: what time it is by a vendor, as the `Date` of its answers tells.
//!
//! Requests, the windows of lists, the ends of sessions and the ends of tasks go by the vendor's
//! clock, which may be minutes from ours without anything being refused. The offset is the median of
//! what the last five good answers showed, and seconds do not matter. Our own clock is the first of
//! the five, so that no single odd `Date` (of a cache, a proxy, a machine of the vendor's) counts.
//!
//! Between answers time is told by tokio's clock, so that a leap of ours changes nothing.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dbtask_clouds::model::Timestamp;
use http::Response;
use http::header::{AGE, DATE};
use tokio::time::Instant;

use crate::platform::clock::Clock;

/// How many answers decide.
const ANSWERS: usize = 5;
/// Offsets so near to each other are the same, in seconds: a `Date` has no fractions, and an answer
/// takes a while.
const SAME: u64 = 2;
/// A difference from our clock that is worth a line in the log, in seconds.
const NOTABLE: u64 = 60;

/// The clock of the vendor that one source asks.
#[derive(Debug)]
pub struct VendorClock {
    source: String,
    ours: Clock,
    /// What our clock showed at `since`.
    epoch: Timestamp,
    since: Instant,
    seen: Mutex<Seen>,
}

/// All offsets are seconds from our clock at the beginning, and from what tokio's has added since.
#[derive(Debug)]
struct Seen {
    /// Of the last good answers, the oldest first.
    offsets: VecDeque<i64>,
    /// What follows from them.
    offset: i64,
    /// Of the last answer, until it has counted.
    latest: Option<i64>,
    /// Whether the log says that the clocks differ.
    is_told: bool,
}

/// The time that was believed when something was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Belief(i64);

impl VendorClock {
    /// A clock that shows our time until answers teach otherwise. `source` is named in the log.
    pub fn new(source: &str, ours: Clock) -> Self {
        let seen = Seen { offsets: VecDeque::from([0]), offset: 0, latest: None, is_told: false };
        Self {
            source: source.to_owned(),
            ours,
            epoch: ours.now(),
            since: Instant::now(),
            seen: Mutex::new(seen),
        }
    }

    /// The vendor's time, as far as it is known.
    pub fn now(&self) -> Timestamp {
        self.steady().offset_by(self.seen().offset)
    }

    /// Seconds to add to our clock to get the vendor's, as far as they are known.
    pub fn offset(&self) -> i64 {
        let offset = self.now().as_second().saturating_sub(self.ours.now().as_second());
        // The two are not read at the same moment.
        if offset.unsigned_abs() <= 1 { 0 } else { offset }
    }

    /// The same; `None` until an answer has told.
    pub fn known_offset(&self) -> Option<i64> {
        let has_told = self.seen().offsets.len() > 1;
        has_told.then(|| self.offset())
    }

    /// Our time, without the leaps of our clock.
    pub fn steady(&self) -> Timestamp {
        self.epoch + self.since.elapsed()
    }

    /// Notes the `Date` of an answer to what was sent at `sent`, by [`Self::steady`]. Returns by how
    /// many seconds it lies before `sent` or after now; `None` without a `Date`, and for what a cache
    /// has kept.
    pub fn hear<T>(&self, answer: &Response<T>, sent: Timestamp) -> Option<i64> {
        let heard = self.heard(answer, sent);
        self.seen().latest = heard;
        heard
    }

    fn heard<T>(&self, answer: &Response<T>, sent: Timestamp) -> Option<i64> {
        let headers = answer.headers();
        let date = headers.get(DATE).filter(|_| !headers.contains_key(AGE))?.to_str().ok()?;
        let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
        let before = theirs.saturating_sub(sent.as_second());
        let after = theirs.saturating_sub(self.steady().as_second());
        // Anywhere between is no difference: nobody knows when it was stamped.
        Some(before.saturating_add(1).min(0).saturating_add(after.max(0)))
    }

    /// The last answer was a good one: what it showed counts.
    pub fn learn(&self) {
        let mut seen = self.seen();
        let Some(latest) = seen.latest.take() else { return };
        seen.offsets.push_back(latest);
        if seen.offsets.len() > ANSWERS {
            seen.offsets.pop_front();
        }
        let median = seen.median();
        if !is_same(median, seen.offset) {
            seen.offset = median;
            self.tell(&mut seen);
        }
    }

    /// The vendor has refused our time: what the last answer showed is the time from now on. Whether
    /// that is another one.
    pub fn obey(&self) -> bool {
        let mut seen = self.seen();
        let Some(latest) = seen.latest.take() else { return false };
        let is_other = !is_same(latest, seen.offset);
        seen.offsets = VecDeque::from([latest; 2]);
        seen.offset = latest;
        self.tell(&mut seen);
        is_other
    }

    /// Whether the last answer was stamped more than `seconds` from the time that is believed.
    pub fn is_off_by(&self, seconds: u64) -> bool {
        let seen = self.seen();
        seen.latest.is_some_and(|latest| latest.abs_diff(seen.offset) > seconds)
    }

    /// What is believed now.
    pub fn belief(&self) -> Belief {
        Belief(self.seen().offset)
    }

    /// Whether what was asked in this belief has to be asked again: by now the time is another, or
    /// the first answers contradict our clock and each other.
    pub fn doubts(&self, belief: Belief) -> bool {
        let seen = self.seen();
        let agree = seen.offsets.iter().filter(|it| is_same(**it, seen.offset)).count();
        !is_same(belief.0, seen.offset) || (agree < 2 && seen.offsets.len() > 1)
    }

    fn tell(&self, seen: &mut Seen) {
        let is_notable = seen.offset.unsigned_abs() > NOTABLE;
        if is_notable {
            tracing::warn!(
                source = self.source,
                offset_seconds = seen.offset,
                "the vendor's clock differs from ours; requests now carry its time"
            );
        } else if seen.is_told {
            tracing::info!(source = self.source, "the vendor's clock and ours agree again");
        }
        seen.is_told = is_notable;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing in here can panic half-way through a change.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Of an even number the one of the two in the middle that changes less.
    fn median(&self) -> i64 {
        let mut sorted: Vec<i64> = self.offsets.iter().copied().collect();
        sorted.sort_unstable();
        let half = sorted.len() / 2;
        let middle = sorted.get(sorted.len().saturating_sub(1) / 2..=half).unwrap_or_default();
        let nearest = middle.iter().min_by_key(|it| it.abs_diff(self.offset));
        nearest.copied().unwrap_or(self.offset)
    }
}

fn is_same(one: i64, other: i64) -> bool {
    one.abs_diff(other) <= SAME
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A vendor's clock, and how far it is ahead in the answers that follow.
    fn clock() -> VendorClock {
        let ours = Clock::starting_at(Timestamp::from_second(1_790_000_000).unwrap());
        VendorClock::new("one", ours)
    }

    fn answer(clock: &VendorClock, ahead: i64) -> Response<()> {
        let theirs = clock.steady().offset_by(ahead).to_jiff();
        let date = theirs.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        Response::builder().header(DATE, date).body(()).unwrap()
    }

    /// The offsets after good answers that are so far ahead.
    fn after(clock: &VendorClock, ahead: &[i64]) -> Vec<i64> {
        let each = ahead.iter().map(|&ahead| {
            clock.hear(&answer(clock, ahead), clock.steady());
            clock.learn();
            clock.offset()
        });
        each.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn two_answers_that_agree_are_believed() {
        assert_eq!(after(&clock(), &[600, 600, 601]), [0, 600, 600]);
        assert_eq!(after(&clock(), &[-600, -600, -600]), [0, -599, -599], "seconds do not matter");
    }

    #[tokio::test(start_paused = true)]
    async fn an_odd_date_counts_for_nothing_whenever_it_comes() {
        for place in 0..8 {
            let mut ahead = [300; 9];
            ahead[0] = 0;
            ahead[place] = 86_400;
            let clock = clock();
            let offsets = after(&clock, &ahead);
            assert!(offsets.iter().all(|it| [0, 300].contains(it)), "{place}: {offsets:?}");
            assert_eq!(offsets[8], 300);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn seconds_do_not_matter() {
        assert_eq!(after(&clock(), &[1, -1, 2, 0, 1, 2, 1]), [0; 7]);
        let clock = clock();
        let sent = clock.steady();
        tokio::time::sleep(Duration::from_secs(20)).await;
        for ahead in [0, -10, -20] {
            assert_eq!(clock.hear(&answer(&clock, ahead), sent), Some(0), "stamped under way");
        }
        assert_eq!(clock.hear(&answer(&clock, 100), sent), Some(100));
        assert_eq!(clock.hear(&answer(&clock, -120), sent), Some(-99));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_cache_has_kept_is_not_the_vendors_time() {
        let clock = clock();
        let mut kept = answer(&clock, -300);
        kept.headers_mut().insert(AGE, 300.into());
        assert_eq!(clock.hear(&kept, clock.steady()), None);
        assert_eq!(clock.hear(&Response::new(()), clock.steady()), None);
        assert!(!clock.obey());
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_the_vendor_refuses_is_given_up_at_once() {
        let clock = clock();
        after(&clock, &[0; 9]);
        clock.hear(&answer(&clock, 1200), clock.steady());
        assert!(clock.obey());
        assert_eq!(clock.offset(), 1200);
        clock.hear(&answer(&clock, 1200), clock.steady());
        assert!(!clock.obey(), "it is that time already");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_in_a_wrong_belief_is_asked_again_until_answers_agree() {
        let clock = clock();
        let belief = clock.belief();
        assert!(!clock.doubts(belief), "nothing says otherwise");
        after(&clock, &[600]);
        assert!(clock.doubts(belief), "our clock or theirs");
        after(&clock, &[600]);
        assert!(clock.doubts(belief), "it was another time");
        assert!(!clock.doubts(clock.belief()));
        after(&clock, &[0]);
        assert!(!clock.doubts(clock.belief()), "one odd answer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_leap_of_our_clock_is_none_of_theirs() {
        let clock = clock();
        after(&clock, &[300; 4]);
        let before = clock.now();
        let leapt = Clock::starting_at(clock.steady() + Duration::from_hours(960));
        let clock = VendorClock { ours: leapt, ..clock };
        assert_eq!(clock.now(), before);
        assert_eq!(clock.offset(), 300 - 960 * 3600);
    }
}
