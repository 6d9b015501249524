//! `Progression`: how a task has come along, and from that when it should end.
//!
//! What the vendor says about the time left comes first. Where it says nothing, the pace does: for
//! each change of the progress the median pace between it and every other, and of those medians the
//! median (Siegel's repeated median, the more robust sister of Theil-Sen), from the last change on.
//! Bursts and lulls hardly move it, and it needs no parameter; `docs/estimates.md` has what it is
//! worth, beside simpler ways.
//!
//! Only *changes* are points of it, at the time of the poll that first saw them: most vendors
//! report whole percents, and while a number stands still nobody knows how far the task really is.
//!
//! There is no estimate before three values over five minutes, nor once progress has stood still
//! for three times its longest lull: the pace is zero then. An estimate never lies in the
//! past: one whose time has come is none any more, until progress changes.

use std::time::Duration;

use dbtask_clouds::model::{Ratio, Task, TaskState, Timestamp};
use serde::{Deserialize, Serialize};

/// The fewest distinct values that make a pace.
const MIN_POINTS: usize = 3;
/// The shortest time over which they do; also, whatever the lulls were, the shortest standstill.
const MIN_SECONDS: u32 = 300;
/// A task whose progress has not changed for so many times the longest lull so far stands still.
const STANDSTILL: u32 = 3;
/// The most points that are kept of a task.
const MAX_POINTS: usize = 12;

/// When the progress of a task has changed, in one uninterrupted stretch of work.
///
/// At most 12 changes of 8 bytes each are kept, none for a task without progress. When there is no
/// room for the next, every second one goes, never the first: what is left reaches as far back as
/// before, and is the denser the newer, so that a pace that changes slowly is followed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progression {
    /// The Unix second of the first point; of no meaning while there is none.
    since: i64,
    /// Both strictly rising.
    points: Vec<Point>,
    /// The longest time between two changes, those that were dropped included, in seconds.
    longest_lull: u32,
}

/// Seconds after the first point, and the progress that was new then.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Point(u32, f32);

impl Progression {
    /// Whether nothing is known, as of a task that reports no progress.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Takes in what a poll saw of the task. It begins anew where work does: after a wait, a pause
    /// or an end, and when progress falls back.
    pub fn see(&mut self, task: &Task, now: Timestamp) {
        match task.state {
            TaskState::Running => {
                if let Some(progress) = task.progress {
                    self.add(progress, now);
                }
            }
            // A word that nobody knows does not say that work has stopped.
            TaskState::Unknown => {}
            TaskState::Pending
            | TaskState::Paused
            | TaskState::Succeeded
            | TaskState::Failed
            | TaskState::Canceled => *self = Self::default(),
        }
    }

    fn add(&mut self, progress: Ratio, now: Timestamp) {
        let progress = progress.get();
        if let Some(&Point(last, before)) = self.points.last() {
            if progress.total_cmp(&before).is_eq() {
                return;
            }
            let seconds = self.seconds_until(now).filter(|&seconds| seconds > last);
            if let Some(seconds) = seconds.filter(|_| progress > before) {
                self.longest_lull = self.longest_lull.max(seconds - last);
                self.push(Point(seconds, progress));
                return;
            }
        }
        // The first, or progress or our clock has gone back.
        *self = Self { since: now.as_second(), ..Self::default() };
        self.push(Point(0, progress));
    }

    fn push(&mut self, point: Point) {
        if self.points.len() >= MAX_POINTS {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.points.reserve_exact(1);
        self.points.push(point);
    }

    /// When the task, of which this is the progression, should end; later than `now`. `None` unless
    /// it is running and there is something to tell it from.
    pub fn estimated_end(&self, task: &Task, now: Timestamp) -> Option<Timestamp> {
        if task.state != TaskState::Running {
            return None;
        }
        let end = match task.remaining {
            Some(remaining) => Some(now + remaining),
            None => self.end_at_this_pace(now),
        };
        end.filter(|&end| end > now)
    }

    fn end_at_this_pace(&self, now: Timestamp) -> Option<Timestamp> {
        let &Point(last, progress) = self.points.last()?;
        if self.points.len() < MIN_POINTS || last < MIN_SECONDS {
            return None;
        }
        let patience = self.longest_lull.saturating_mul(STANDSTILL).max(MIN_SECONDS);
        if self.seconds_until(now)?.saturating_sub(last) > patience {
            return None;
        }
        let seconds = (1.0 - f64::from(progress)) / self.pace()?;
        let left = Duration::try_from_secs_f64(seconds.round()).ok()?;
        Some(Timestamp::from_second(self.since.saturating_add(last.into()))? + left)
    }

    /// Progress a second; `None` if it is not positive.
    fn pace(&self) -> Option<f64> {
        let mut medians = Vec::with_capacity(MAX_POINTS);
        let mut paces = Vec::with_capacity(MAX_POINTS);
        for a in &self.points {
            let others = self.points.iter().filter(|b| b.0 != a.0);
            let pace = |b: &Point| f64::from(b.1 - a.1) / (f64::from(b.0) - f64::from(a.0));
            paces.clear();
            paces.extend(others.map(pace));
            medians.extend(median(&mut paces));
        }
        median(&mut medians).filter(|&pace| pace > 0.0)
    }

    /// From the first point to `now`; `None` if that lies before it.
    fn seconds_until(&self, now: Timestamp) -> Option<u32> {
        u32::try_from(now.as_second().saturating_sub(self.since)).ok()
    }
}

/// The value in the middle, or between the two in the middle; `None` if there is none.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap() + Duration::from_secs(second)
    }

    fn running(percent: f64) -> Task {
        Task {
            progress: Ratio::clamped(percent / 100.0),
            ..Task::new("a", TaskState::Running, "RUNNING")
        }
    }

    /// What has become of a task that was so far, in percent, at these seconds.
    fn seen(sightings: &[(u64, f64)]) -> Progression {
        let mut progression = Progression::default();
        for &(second, percent) in sightings {
            progression.see(&running(percent), at(second));
        }
        progression
    }

    /// The seconds at which the task should end, as estimated at the last sighting.
    fn end(sightings: &[(u64, f64)]) -> Option<u64> {
        let &(second, percent) = sightings.last().unwrap();
        let end = seen(sightings).estimated_end(&running(percent), at(second))?;
        Some(end.since(at(0)).as_secs())
    }

    #[test]
    fn three_values_over_five_minutes_make_a_pace() {
        assert_eq!(end(&[(0, 10.0), (200, 20.0), (400, 30.0)]), Some(1800));
        assert_eq!(end(&[(0, 10.0), (400, 20.0)]), None, "two values");
        assert_eq!(end(&[(0, 10.0), (200, 10.0), (400, 20.0)]), None, "two distinct values");
        assert_eq!(end(&[(0, 10.0), (100, 20.0), (299, 30.0)]), None, "under five minutes");
        assert!(end(&[(0, 10.0), (100, 20.0), (300, 30.0)]).is_some());
    }

    #[test]
    fn one_burst_hardly_moves_the_estimate() {
        let mut sightings: Vec<(u64, f64)> =
            (0..10_u32).map(|n| (u64::from(n) * 100, f64::from(n))).collect();
        let before = end(&sightings).unwrap();
        sightings.push((1000, 40.0));
        let after = end(&sightings).unwrap();
        // As before from there on: a percent in 100 s.
        assert_eq!((before, after), (10_000, 1000 + 60 * 100));
    }

    #[test]
    fn what_the_vendor_says_comes_first() {
        let progression = seen(&[(0, 10.0), (200, 20.0), (400, 30.0)]);
        let with =
            |seconds| Task { remaining: Some(Duration::from_secs(seconds)), ..running(30.0) };
        assert_eq!(progression.estimated_end(&with(60), at(400)), Some(at(460)));
        assert_eq!(progression.estimated_end(&with(0), at(400)), None, "not in the future");
        assert_eq!(
            Progression::default().estimated_end(&with(60), at(400)),
            Some(at(460)),
            "at once"
        );
    }

    #[test]
    fn only_a_running_task_has_an_estimated_end() {
        let progression = seen(&[(0, 10.0), (200, 20.0), (400, 30.0)]);
        for state in TaskState::ALL {
            let task = Task { state, remaining: Some(Duration::from_mins(1)), ..running(30.0) };
            let estimated = progression.estimated_end(&task, at(400)).is_some();
            assert_eq!(estimated, state == TaskState::Running, "{state:?}");
        }
    }

    #[test]
    fn an_estimate_is_never_in_the_past() {
        let sightings = [(0, 70.0), (300, 80.0), (600, 90.0)];
        let progression = seen(&sightings);
        let task = running(90.0);
        assert_eq!(progression.estimated_end(&task, at(899)), Some(at(900)));
        assert_eq!(progression.estimated_end(&task, at(900)), None);
        assert_eq!(end(&[(0, 70.0), (300, 80.0), (600, 100.0)]), None, "done, but not ended");
    }

    #[test]
    fn a_task_that_stands_still_for_three_times_its_longest_lull_has_no_estimate() {
        let sightings = [(0, 1.0), (200, 2.0), (300, 3.0)];
        let progression = seen(&sightings);
        assert!(progression.estimated_end(&running(3.0), at(900)).is_some());
        assert_eq!(progression.estimated_end(&running(3.0), at(901)), None);
        let mut again = progression;
        again.see(&running(4.0), at(2000));
        assert!(again.estimated_end(&running(4.0), at(2000)).is_some(), "it has gone on");
    }

    #[test]
    fn progress_that_falls_back_begins_anew() {
        assert_eq!(end(&[(0, 10.0), (200, 20.0), (400, 30.0), (430, 5.0), (700, 6.0)]), None);
        let since_then = end(&[(0, 50.0), (200, 60.0), (400, 5.0), (600, 10.0), (800, 15.0)]);
        assert_eq!(since_then, Some(800 + 17 * 200));
    }

    #[test]
    fn a_wait_a_pause_and_an_end_begin_anew_and_an_unknown_word_does_not() {
        for state in TaskState::ALL {
            let mut progression = seen(&[(0, 10.0), (200, 20.0)]);
            progression.see(&Task { state, ..running(20.0) }, at(300));
            progression.see(&running(30.0), at(400));
            let goes_on = matches!(state, TaskState::Running | TaskState::Unknown);
            let estimated = progression.estimated_end(&running(30.0), at(400)).is_some();
            assert_eq!(estimated, goes_on, "{state:?}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let progression = seen(&[(1000, 10.0), (1200, 20.0), (1400, 30.0), (100, 40.0)]);
        assert_eq!(progression, seen(&[(100, 40.0)]));
        assert_eq!(end(&[(1000, 10.0), (1200, 20.0), (1400, 30.0), (100, 30.0)]), None);
    }

    #[test]
    fn a_long_life_is_remembered_from_its_beginning_in_little_memory() {
        let lives: Vec<(u64, f64)> =
            (0..1000_u32).map(|n| (u64::from(n) * 60, f64::from(n) / 10.0)).collect();
        let progression = seen(&lives);
        assert!(progression.points.capacity() <= MAX_POINTS && progression.points.len() >= 6);
        assert_eq!(progression.since, at(0).as_second());
        assert_eq!(size_of::<Point>() * MAX_POINTS, 96);
        assert_eq!(end(&lives).unwrap().div_ceil(60), 1000);
    }

    #[test]
    fn a_task_without_progress_costs_nothing() {
        let mut progression = Progression::default();
        progression.see(&Task::new("a", TaskState::Running, "RUNNING"), at(0));
        assert!(progression.is_empty());
        assert_eq!((progression.points.capacity(), size_of::<Progression>()), (0, 40));
    }

    #[test]
    fn it_comes_back_from_json_as_it_was() {
        let progression = seen(&[(0, 10.0), (200, 20.5), (400, 33.0)]);
        let json = serde_json::to_string(&progression).unwrap();
        assert_eq!(
            json,
            r#"{"since":1700000000,"points":[[0,0.1],[200,0.205],[400,0.33]],"longest_lull":200}"#
        );
        assert_eq!(serde_json::from_str::<Progression>(&json).unwrap(), progression);
    }

    #[test]
    fn what_makes_no_sense_makes_no_estimate() {
        for points in ["[[0,0.9],[0,0.5],[400,0.1]]", "[[0,1],[1,-2],[400,7]]", "[[400,0.1]]"] {
            let json = format!(
                r#"{{"since":9223372036854775807,"points":{points},"longest_lull":4294967295}}"#
            );
            let progression: Progression = serde_json::from_str(&json).unwrap();
            assert_eq!(progression.estimated_end(&running(50.0), at(400)), None);
            let json = json.replace("9223372036854775807", "1700000000");
            let mut progression: Progression = serde_json::from_str(&json).unwrap();
            assert_eq!(progression.estimated_end(&running(50.0), at(400)), None);
            progression.see(&running(50.0), at(500));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_seen_there_are_few_points_and_no_estimate_in_the_past(
            sightings in prop::collection::vec((0_u64..2000, 0_u8..=100), 1..100),
        ) {
            let mut progression = Progression::default();
            let mut second = 0;
            for (later, percent) in sightings {
                second += later;
                let task = running(percent.into());
                progression.see(&task, at(second));
                prop_assert!(progression.points.len() <= MAX_POINTS);
                let rising = |two: &[Point]| two[0].0 < two[1].0 && two[0].1 < two[1].1;
                prop_assert!(progression.points.windows(2).all(rising));
                let end = progression.estimated_end(&task, at(second));
                prop_assert!(end.is_none_or(|end| end > at(second)));
            }
        }
    }
}
