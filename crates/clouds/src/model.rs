//! `Task`: the one model that every cloud's operations are mapped to.
//!
//! Nothing here knows a vendor, the network or the clock.

use std::fmt;
use std::num::NonZeroI64;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant in whole Unix seconds, as precise as any vendor's answer.
///
/// The epoch itself cannot be represented: where a vendor writes `1970-01-01` it means "no time
/// yet". That leaves the zero for `None`, so an optional time is as small as a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroI64);

impl Timestamp {
    /// The instant `seconds` after the epoch; `None` for the epoch itself and for seconds that no
    /// calendar reaches (years below -9999 or above 9999).
    pub fn from_second(seconds: i64) -> Option<Self> {
        jiff::Timestamp::from_second(seconds).ok()?;
        NonZeroI64::new(seconds).map(Self)
    }

    /// Seconds since the epoch.
    pub fn as_second(self) -> i64 {
        self.0.get()
    }

    /// The same instant in the calendar library's type, for formatting.
    pub fn to_jiff(self) -> jiff::Timestamp {
        // Every constructor went through `jiff::Timestamp`.
        jiff::Timestamp::from_second(self.0.get()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// The time from `earlier` to `self`, or zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(
            u64::try_from(self.0.get().saturating_sub(earlier.0.get())).unwrap_or(0),
        )
    }

    /// The instant `seconds` later, or earlier if negative; stays put where the calendar ends.
    #[must_use]
    pub fn offset_by(self, seconds: i64) -> Self {
        Self::from_second(self.0.get().saturating_add(seconds)).unwrap_or(self)
    }

    /// The instant `duration` before this one, in whole seconds; stops at the first second after
    /// the epoch.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let earlier = self.0.get().saturating_sub(seconds).max(1);
        Self::from_second(earlier).unwrap_or(self)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// The instant `duration` later, in whole seconds; stays put where the calendar ends.
    fn add(self, duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self::from_second(self.0.get().saturating_add(seconds)).unwrap_or(self)
    }
}

impl From<jiff::Timestamp> for Timestamp {
    /// Drops the fraction of the second; the epoch becomes the second after it.
    fn from(instant: jiff::Timestamp) -> Self {
        Self(NonZeroI64::new(instant.as_second()).unwrap_or(const { NonZeroI64::new(1).unwrap() }))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC: `2026-03-01T08:00:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<jiff::Timestamp>().map(Self::from).map_err(serde::de::Error::custom)
    }
}

/// How far a task is: 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ratio(f32);

impl Ratio {
    /// `value` moved into 0..=1; `None` for what is not a number.
    #[allow(clippy::cast_possible_truncation, reason = "a percentage needs no more digits")]
    pub fn clamped(value: f64) -> Option<Self> {
        (!value.is_nan()).then(|| Self(value.clamp(0.0, 1.0) as f32))
    }

    /// The ratio, 0 to 1.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// What the exporter makes of a vendor's status word. A closed set: a word that is not known is
/// `Unknown`, and so is a task whose state can no longer be learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Accepted, not yet started.
    Pending,
    /// Being worked on, retries included.
    Running,
    /// Held; may go on.
    Paused,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended by a person, or withdrawn.
    Canceled,
    /// A word this exporter does not know, or a task that can no longer be seen.
    Unknown,
}

impl TaskState {
    /// Every state, in the order in which metrics list them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Paused,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
        Self::Unknown,
    ];

    /// The `state` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a task in this state has ended for good.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// How the exporter came to know a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The vendor's list named it.
    #[default]
    Listed,
    /// The configuration or the tasks file named it.
    Configured,
    /// Somebody registered it at run time.
    Registered,
}

impl Origin {
    /// The `origin` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Configured => "configured",
            Self::Registered => "registered",
        }
    }
}

/// The cluster or instance that a task works on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resource {
    /// The vendor's id, for example `pc-bp1example000000`; empty if the vendor did not say.
    pub id: Box<str>,
    /// The name a person gave it.
    pub name: Option<Box<str>>,
}

impl Resource {
    /// A resource known by its id alone.
    pub fn new(id: impl Into<Box<str>>) -> Self {
        Self { id: id.into(), name: None }
    }
}

/// One step of a task, where the vendor reports steps, in the order of execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The vendor's name of the step.
    pub name: Box<str>,
    /// Whether it waits, runs or has ended; `None` where the vendor says this of tasks only.
    pub state: Option<TaskState>,
    /// 0 to 1.
    pub progress: Option<Ratio>,
    /// As reported by the vendor.
    pub remaining: Option<Duration>,
}

/// Why a task failed, in the vendor's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskError {
    /// The vendor's code; empty if there is none.
    pub code: Box<str>,
    /// The vendor's sentence; untrusted text, never a label.
    pub message: Box<str>,
}

/// A long-running operation of some cloud on a database, as the last answer described it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The vendor's id, unique within a source; never empty, at most [`Task::MAX_ID_BYTES`].
    pub id: Arc<str>,
    /// The vendor's own word for the sort of operation; empty if the answer has none.
    pub kind: Arc<str>,
    /// What the task works on.
    pub resource: Arc<Resource>,
    /// Our word for its status.
    pub state: TaskState,
    /// The vendor's word for its status.
    pub vendor_status: Arc<str>,
    /// 0 to 1; `None` if not reported.
    pub progress: Option<Ratio>,
    /// Time left as the vendor estimates it; `None` if not reported.
    pub remaining: Option<Duration>,
    /// When it was asked for.
    pub created: Option<Timestamp>,
    /// When it is planned to begin, or to switch over, for a task that waits for a time of its own.
    /// Only ever set while the task is [`TaskState::Pending`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Timestamp>,
    /// When the cloud began to work on it.
    pub started: Option<Timestamp>,
    /// When it ended; only ever set in a final state.
    pub ended: Option<Timestamp>,
    /// Empty where the vendor reports none; at most [`Task::MAX_STEPS`].
    pub steps: Box<[Step]>,
    /// Set only when the task failed and the vendor said why.
    pub error: Option<Box<TaskError>>,
    /// How it became known.
    pub origin: Origin,
}

impl Task {
    /// The longest id that is accepted, in bytes: ids are labels and are never cut.
    pub const MAX_ID_BYTES: usize = 128;
    /// The most steps kept of one task.
    pub const MAX_STEPS: usize = 20;

    /// A task with everything unknown but its id and status.
    pub fn new(
        id: impl Into<Arc<str>>,
        state: TaskState,
        vendor_status: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            id: id.into(),
            kind: Arc::default(),
            resource: Arc::default(),
            state,
            vendor_status: vendor_status.into(),
            progress: None,
            remaining: None,
            created: None,
            scheduled: None,
            started: None,
            ended: None,
            steps: Box::default(),
            error: None,
            origin: Origin::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_is_no_time_at_all() {
        assert_eq!(Timestamp::from_second(0), None);
        assert_eq!(size_of::<Option<Timestamp>>(), 8);
    }

    #[test]
    fn times_print_as_rfc_3339() {
        let time = Timestamp::from_second(1_583_049_600).unwrap();
        assert_eq!(time.to_string(), "2020-03-01T08:00:00Z");
        assert_eq!((time + Duration::from_secs(90)).since(time), Duration::from_secs(90));
        assert_eq!(time.since(time + Duration::from_secs(90)), Duration::ZERO);
    }

    #[test]
    fn a_ratio_stays_between_zero_and_one() {
        assert_eq!(Ratio::clamped(-3.0).map(Ratio::get), Some(0.0));
        assert_eq!(Ratio::clamped(f64::INFINITY).map(Ratio::get), Some(1.0));
        assert_eq!(Ratio::clamped(f64::NAN), None);
    }
}
