//! `poll`, `retention` and `limits`: at the top of the file for all, in a source for itself.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::accounts::BUDGET;
use super::report::{Field, Section};
use super::{LimitsConfig, PollConfig, RetentionConfig};

/// Polls and calls: too short hurts the vendor, too long is a typing error.
const WAITS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// One call.
const CALLS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(10);
/// How far back, and how long.
pub(super) const SPANS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(365 * 24);

const POLL_KEYS: &[&str] = &["interval", "idle_interval", "timeout", "lookback", "stale_after"];
const RETENTION_KEYS: &[&str] = &["finished", "failed"];
const LIMITS_KEYS: &[&str] = &["tasks_per_source"];

/// What to say about a key of the three sections, or of an account, that is written outside of
/// them.
pub(super) fn misplaced(key: &str) -> Option<String> {
    [("poll", POLL_KEYS), ("retention", RETENTION_KEYS), ("limits", LIMITS_KEYS)]
        .into_iter()
        .find(|(_, keys)| keys.contains(&key))
        .map(|(section, _)| format!("belongs under `{section}`"))
        .or_else(|| (key == BUDGET).then(|| "belongs to an entry of `credentials`".to_owned()))
}

/// What one place of the file says; `None` for what it leaves to others.
#[derive(Clone, Debug, Default)]
pub(super) struct Timing<'a> {
    interval: Option<Duration>,
    idle_interval: Option<Duration>,
    timeout: Option<Duration>,
    lookback: Option<Duration>,
    stale_after: Option<(Duration, Field<'a>)>,
    finished: Option<Duration>,
    failed: Option<Duration>,
    tasks_per_source: Option<usize>,
}

impl<'a> Timing<'a> {
    /// From the three sections, if they are in `section`.
    pub(super) fn read(section: &Section<'a>) -> Self {
        let mut timing = Self::default();
        if let Some(poll) = section.get("poll").map(|field| field.section()) {
            poll.allow(POLL_KEYS);
            let duration = |name: &str, range| poll.get(name)?.duration(range);
            timing.interval = duration("interval", &WAITS);
            timing.idle_interval = duration("idle_interval", &WAITS);
            timing.timeout = duration("timeout", &CALLS);
            timing.lookback = duration("lookback", &SPANS);
            timing.stale_after =
                poll.get("stale_after").and_then(|field| Some((field.duration(&SPANS)?, field)));
        }
        if let Some(retention) = section.get("retention").map(|field| field.section()) {
            retention.allow(RETENTION_KEYS);
            let duration = |name: &str| retention.get(name)?.duration(&SPANS);
            timing.finished = duration("finished");
            timing.failed = duration("failed");
        }
        if let Some(limits) = section.get("limits").map(|field| field.section()) {
            limits.allow(LIMITS_KEYS);
            timing.tasks_per_source =
                limits.get("tasks_per_source").and_then(|field| field.number(&(1..=100_000)));
        }
        timing
    }

    /// Key by key: what `self` says, else what `general` says, else the default. What is meant for all
    /// is never shorter than the `least` interval of the API.
    pub(super) fn over(
        &self,
        general: &Self,
        least: Option<Duration>,
    ) -> (PollConfig, RetentionConfig, LimitsConfig) {
        let seconds = Duration::from_secs;
        let usual = self.interval.or(general.interval).unwrap_or(seconds(30));
        let least = least.filter(|_| self.interval.is_none()).unwrap_or_default();
        let interval = usual.max(least);
        let stale_after = self.stale_after.as_ref().or(general.stale_after.as_ref());
        if let Some((stale_after, field)) = stale_after
            && *stale_after < usual
        {
            field.wrong("must not be shorter than `poll.interval`");
        }
        let poll = PollConfig {
            interval,
            idle_interval: self
                .idle_interval
                .or(general.idle_interval.map(|idle| idle.max(least)))
                .unwrap_or(seconds(120).max(interval)),
            timeout: self.timeout.or(general.timeout).unwrap_or(seconds(20)),
            lookback: self.lookback.or(general.lookback).unwrap_or(Duration::from_hours(24)),
            stale_after: stale_after
                .map_or(Duration::from_mins(15).max(interval * 3), |(duration, _)| {
                    (*duration).max(interval)
                }),
        };
        let retention = RetentionConfig {
            finished: self.finished.or(general.finished).unwrap_or(Duration::from_hours(1)),
            failed: self.failed.or(general.failed).unwrap_or(Duration::from_hours(24)),
        };
        let limits = LimitsConfig {
            tasks_per_source: self.tasks_per_source.or(general.tasks_per_source).unwrap_or(500),
        };
        (poll, retention, limits)
    }
}
