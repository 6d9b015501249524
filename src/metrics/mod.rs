//! `FAMILIES`: every metric, one row each; and what turns them into the text that is served.
//!
//! What a poll left behind is written anew from its snapshot, so a task that is gone has no series
//! that somebody must remember to delete. What outlives a poll is counted in [`Instruments`].
//!
//! ```text
//! Store ─► Publisher ─► Table (a source's labels, escaped) ─► Exposition (text, gzip) ─┐
//!                                                                                      ├─► Metrics::scrape
//! poller, transport ─► Instruments (counters, histograms) ─► text, at each scrape ─────┘
//! ```

mod body;
mod durations;
mod exposition;
mod instruments;
mod kinds;
mod lines;
mod publisher;
pub mod scrapes;
mod served;
mod table;
mod text;

use std::fmt::Write as _;

pub use body::{Encoding, ScrapeBody};
use dbtask_clouds::model::{Step, Task, TaskState};
use dbtask_clouds::reason::Reason;
pub use durations::Amount;
pub use exposition::Exposition;
pub use instruments::{FIELDS, Instruments, OUTCOMES};
pub use publisher::publish;
pub use served::{Metrics, PUBLISH_INTERVAL, Scrape};
pub use text::{Format, MAX_LABEL_BYTES, Value};

use crate::snapshot::{Snapshot, SourceInfo, Tracked};

/// One metric: what it is called, what it means, and where its samples come from.
#[derive(Debug)]
pub struct Family {
    /// The name of its samples; a counter's ends in `_total`.
    pub name: &'static str,
    /// What it means, in a sentence.
    pub help: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its labels, the identity first.
    pub labels: &'static [&'static str],
    /// Where its samples come from.
    pub samples: Samples,
}

/// Pushes the values of the labels that follow a task's identity, or nothing for no series.
type TaskLabels = for<'a> fn(&'a Task, &mut Vec<&'a str>);

impl Family {
    /// The labels after `source` and `task_id` with the function that knows their values.
    fn task_labels(&self) -> Option<(&'static [&'static str], TaskLabels)> {
        if let Samples::TaskLabels(values) = self.samples {
            Some((self.labels.get(2..).unwrap_or_default(), values))
        } else {
            None
        }
    }

    /// The heading under which the documentation lists it.
    fn section(&self) -> &'static str {
        match self.samples {
            Samples::Task(_)
            | Samples::TaskLabels(_)
            | Samples::TaskState(_)
            | Samples::Step(_) => "Tasks",
            Samples::Source(_)
            | Samples::SourceLabels(_)
            | Samples::SourceStates(_)
            | Samples::SourceReasons(_) => "Sources, at the last poll",
            Samples::Registry if self.labels.iter().any(|l| ["source", "cloud"].contains(l)) => {
                "Counted over time"
            }
            Samples::Registry => "The exporter",
        }
    }
}

/// The type of a metric. There are no others, for Prometheus' text format knows no others that
/// OpenMetrics knows too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size, up to each of these bounds and beyond.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The word in the `# TYPE` line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Where samples come from. The functions are pure; no value means no series.
#[derive(Clone, Copy, Debug)]
pub enum Samples {
    /// One for each task that has the value.
    Task(fn(&Tracked) -> Option<Value>),
    /// A 1 for each task for which the function gives the values of the labels after `source` and
    /// `task_id`; nothing where it gives none.
    TaskLabels(for<'a> fn(&'a Task, &mut Vec<&'a str>)),
    /// For each task a 1 at its state and a 0 at every other.
    TaskState(fn(&Task) -> TaskState),
    /// One for each step of a task that has the value.
    Step(fn(&Step) -> Option<Value>),
    /// One for each source that has the value.
    Source(fn(&Snapshot) -> Option<Value>),
    /// A 1 for each source, with the values of the labels after `source`.
    SourceLabels(for<'a> fn(&'a SourceInfo, &mut Vec<&'a str>)),
    /// For each source a count at each state.
    SourceStates(fn(&Snapshot) -> [u64; TaskState::ALL.len()]),
    /// For each source a count at each reason that has any.
    SourceReasons(fn(&Snapshot, Reason) -> u64),
    /// The registry of [`Instruments`].
    Registry,
}

/// Every metric, in the order of the documentation.
pub static FAMILIES: &[Family] = &[
    per_task(
        "dbtask_task_info",
        "What a task is and works on; always 1, as of the last poll.",
        &["source", "task_id", "resource_id", "resource_name", "task_kind", "origin"],
        Samples::TaskLabels(|task, values| {
            let resource = &task.resource;
            values.extend([&*resource.id, resource.name.as_deref().unwrap_or_default()]);
            values.extend([&*task.kind, task.origin.as_str()]);
        }),
    ),
    per_task(
        "dbtask_task_state",
        "1 for the state of the task at the last poll, 0 for every other state.",
        &["source", "task_id", "state"],
        Samples::TaskState(|task| task.state),
    ),
    per_task(
        "dbtask_task_vendor_status",
        "The vendor's own word for the task's status at the last poll; always 1.",
        &["source", "task_id", "status"],
        Samples::TaskLabels(|task, values| {
            values.extend(Some(&*task.vendor_status).filter(|status| !status.is_empty()));
        }),
    ),
    per_task(
        "dbtask_task_progress_ratio",
        "How far the task was at the last poll, 0 to 1; absent if the vendor does not say.",
        &["source", "task_id"],
        Samples::Task(|tracked| tracked.task.progress.map(Value::from)),
    ),
    per_task(
        "dbtask_task_remaining_seconds",
        "Time left as the vendor estimated it at the last poll; absent if the vendor does not say.",
        &["source", "task_id"],
        Samples::Task(|tracked| tracked.task.remaining.map(Value::from)),
    ),
    per_task(
        "dbtask_task_estimated_end_timestamp_seconds",
        "When a running task should end, by the vendor's time left or by its pace; absent if not known.",
        &["source", "task_id"],
        Samples::Task(|tracked| tracked.estimated_end.map(Value::from)),
    ),
    per_task(
        "dbtask_task_created_timestamp_seconds",
        "When the task was asked for, as of the last poll; absent if the vendor does not say.",
        &["source", "task_id"],
        Samples::Task(|tracked| tracked.task.created.map(Value::from)),
    ),
    per_task(
        "dbtask_task_scheduled_timestamp_seconds",
        "When a pending task is planned to begin, as of the last poll; absent if it waits for no time.",
        &["source", "task_id"],
        Samples::Task(|tracked| tracked.task.scheduled.map(Value::from)),
    ),
    per_task(
        "dbtask_task_start_timestamp_seconds",
        "When the cloud began to work on the task, as of the last poll; absent if not known.",
        &["source", "task_id"],
        Samples::Task(|tracked| tracked.task.started.map(Value::from)),
    ),
    per_task(
        "dbtask_task_end_timestamp_seconds",
        "When the task ended, as of the last poll; absent until then or if not known.",
        &["source", "task_id"],
        Samples::Task(|tracked| tracked.task.ended.map(Value::from)),
    ),
    per_task(
        "dbtask_task_progress_changed_timestamp_seconds",
        "When the task's state, progress or steps were last seen to change.",
        &["source", "task_id"],
        Samples::Task(|tracked| Some(tracked.progress_changed.into())),
    ),
    per_task(
        "dbtask_task_last_seen_timestamp_seconds",
        "When a poll last found the task.",
        &["source", "task_id"],
        Samples::Task(|tracked| Some(tracked.last_seen.into())),
    ),
    per_task(
        "dbtask_task_step_progress_ratio",
        "How far a step of the task was at the last poll, 0 to 1; absent if not reported.",
        &["source", "task_id", "step"],
        Samples::Step(|step| step.progress.map(Value::from)),
    ),
    per_task(
        "dbtask_task_step_remaining_seconds",
        "Time left for a step as the vendor estimated it at the last poll; absent if not reported.",
        &["source", "task_id", "step"],
        Samples::Step(|step| step.remaining.map(Value::from)),
    ),
    per_task(
        "dbtask_task_error_info",
        "The vendor's error code of a task that had failed at the last poll; always 1.",
        &["source", "task_id", "code"],
        Samples::TaskLabels(|task, values| {
            let error = task.error.as_ref().filter(|_| task.state == TaskState::Failed);
            let code = error.map(|error| text::cut(&error.code, MAX_CODE_BYTES));
            values.extend(code.filter(|code| !code.is_empty()));
        }),
    ),
    per_source(
        "dbtask_tasks",
        "Tasks in each state at the last poll, those included that the limit hides.",
        &["source", "state"],
        Samples::SourceStates(|snapshot| snapshot.states),
    ),
    per_source(
        "dbtask_source_info",
        "What the source is; always 1.",
        &["source", "cloud", "api", "cloud_region", "account"],
        Samples::SourceLabels(|source, values| {
            values.extend([source.cloud, source.api, &source.region, &source.account]);
        }),
    ),
    per_source(
        "dbtask_source_up",
        "Whether the last poll went well; 0 before the first.",
        &["source"],
        Samples::Source(|snapshot| Some(snapshot.up.into())),
    ),
    per_source(
        "dbtask_source_last_success_timestamp_seconds",
        "When a poll last went well; absent before the first that did.",
        &["source"],
        Samples::Source(|snapshot| snapshot.last_success.map(Value::from)),
    ),
    per_source(
        "dbtask_source_poll_interval_seconds",
        "How far apart polls begin: the interval in force, or the time that a poll takes if that is longer.",
        &["source"],
        Samples::Source(|snapshot| Some(snapshot.poll_interval.into())),
    ),
    per_source(
        "dbtask_source_last_poll_duration_seconds",
        "How long the last poll took; absent before the first.",
        &["source"],
        Samples::Source(|snapshot| snapshot.last_poll_duration.map(Value::from)),
    ),
    per_source(
        "dbtask_source_tasks_truncated",
        "Tasks that the limit hid at the last poll.",
        &["source"],
        Samples::Source(|snapshot| Some((snapshot.hidden.len() as u64).into())),
    ),
    per_source(
        "dbtask_source_resources_missing",
        "Configured clusters or instances that the vendor did not know at the last poll.",
        &["source"],
        Samples::Source(|snapshot| Some((snapshot.missing_resources.len() as u64).into())),
    ),
    per_source(
        "dbtask_source_resources_failing",
        "Clusters, instances and task ids whose last question failed, by reason; absent for none.",
        &["source", "reason"],
        Samples::SourceReasons(|snapshot, reason| {
            let failing = snapshot.failing_resources.iter();
            failing.filter(|failing| failing.reason == reason).count() as u64
        }),
    ),
    per_source(
        "dbtask_source_discovery_failing",
        "Whether the last search for clusters or instances failed though some are known, by reason; absent if it did not.",
        &["source", "reason"],
        Samples::SourceReasons(|snapshot, reason| {
            let failing = snapshot.failing_discovery.as_ref();
            failing.is_some_and(|failing| failing.reason == reason).into()
        }),
    ),
    per_source(
        "dbtask_source_credentials_expiry_timestamp_seconds",
        "When the credentials used by the last poll end; absent if they do not.",
        &["source"],
        Samples::Source(|snapshot| snapshot.credentials_expiry.map(Value::from)),
    ),
    counted("dbtask_source_polls_total", "Polls, failed ones included.", &["source"]),
    counted(
        "dbtask_source_poll_failures_total",
        "Polls that failed, by reason.",
        &["source", "reason"],
    ),
    counted(
        "dbtask_source_unknown_values_total",
        "Values in the vendor's answers that could not be read, by field.",
        &["source", "field"],
    ),
    counted(
        "dbtask_source_coverage_gaps_total",
        "Times that polls were apart by more than the vendor's list reaches back.",
        &["source"],
    ),
    counted(
        "dbtask_source_coverage_gap_seconds_total",
        "Time in which tasks may have come and gone unseen.",
        &["source"],
    ),
    counted(
        "dbtask_api_requests_total",
        "Requests sent to the vendor, by operation.",
        &["source", "operation"],
    ),
    counted(
        "dbtask_api_request_failures_total",
        "Requests to the vendor that failed, by operation and reason.",
        &["source", "operation", "reason"],
    ),
    Family {
        name: "dbtask_api_request_duration_seconds",
        help: "How long the vendor took to answer, failures included.",
        kind: Kind::Histogram(&[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
        labels: &["cloud", "api", "operation"],
        samples: Samples::Registry,
    },
    gauged(
        "dbtask_api_budget_limit",
        "Requests a day that the source's credentials may send; absent without a budget.",
        &["source"],
    ),
    gauged(
        "dbtask_api_budget_remaining",
        "Requests that the source's credentials may still send today; absent without a budget.",
        &["source"],
    ),
    counted(
        "dbtask_api_requests_shed_total",
        "Requests that were not sent, to spare the budget.",
        &["source"],
    ),
    counted(
        "dbtask_task_completions_total",
        "Tasks seen to end, however they ended.",
        &["source", "task_kind"],
    ),
    counted("dbtask_task_failures_total", "Tasks seen to fail.", &["source", "task_kind"]),
    counted(
        "dbtask_task_cancellations_total",
        "Tasks seen to be canceled; only where the vendor has that state.",
        &["source", "task_kind"],
    ),
    gauged(
        "dbtask_task_last_failure_timestamp_seconds",
        "When a task last failed; absent if none has.",
        &["source"],
    ),
    Family {
        name: "dbtask_task_duration_seconds",
        help: "How long ended tasks took, from the vendor's start to the vendor's end.",
        kind: Kind::Histogram(durations::BOUNDS),
        labels: &["source", "outcome"],
        samples: Samples::Registry,
    },
    gauged(
        "dbtask_exporter_build_info",
        "Which build of the exporter this is; always 1.",
        &["version", "revision"],
    ),
    gauged(
        "dbtask_exporter_config_last_reload_successful",
        "Whether the last reading of the configuration, and that of every tasks file, went well.",
        &[],
    ),
    gauged(
        "dbtask_exporter_config_last_reload_success_timestamp_seconds",
        "When a reading of the configuration or of a tasks file last went well.",
        &[],
    ),
    gauged(
        "dbtask_exporter_journal_last_write_successful",
        "Whether the last write to the journal went well; absent without a journal.",
        &[],
    ),
    gauged(
        "dbtask_exporter_journals_set_aside",
        "Journals that could not be read and lie renamed in the journal's folder; absent without a journal.",
        &[],
    ),
    gauged("dbtask_exporter_registrations", "Task ids that are registered now.", &[]),
    counted(
        "dbtask_exporter_registration_requests_total",
        "Requests to register a task id or to take one back, by outcome: accepted or rejected.",
        &["outcome"],
    ),
    counted("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", &[]),
    gauged("process_max_fds", "Maximum number of open file descriptors.", &[]),
    gauged("process_open_fds", "Number of open file descriptors.", &[]),
    gauged("process_resident_memory_bytes", "Resident memory size in bytes.", &[]),
    gauged(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        &[],
    ),
    gauged("process_threads", "Number of OS threads in the process.", &[]),
    gauged("process_virtual_memory_bytes", "Virtual memory size in bytes.", &[]),
];

/// The longest error code, in bytes.
const MAX_CODE_BYTES: usize = 64;

const fn per_task(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    samples: Samples,
) -> Family {
    Family { name, help, kind: Kind::Gauge, labels, samples }
}

const fn per_source(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    samples: Samples,
) -> Family {
    Family { name, help, kind: Kind::Gauge, labels, samples }
}

const fn counted(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
) -> Family {
    Family { name, help, kind: Kind::Counter, labels, samples: Samples::Registry }
}

const fn gauged(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, help, kind: Kind::Gauge, labels, samples: Samples::Registry }
}

/// `docs/metrics.md`: [`FAMILIES`] as Markdown.
pub fn reference() -> String {
    let mut page = String::from(include_str!("reference.md"));
    for title in ["Tasks", "Sources, at the last poll", "Counted over time", "The exporter"] {
        // Writing to a string cannot fail.
        let _ = write!(page, "\n## {title}\n\n| Name | Type | Labels | Meaning |\n");
        page.push_str("| --- | --- | --- | --- |\n");
        for family in FAMILIES.iter().filter(|family| family.section() == title) {
            let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, help) = (family.name, family.kind.as_str(), family.help);
            let _ = writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let mut seen = BTreeSet::new();
        for family in FAMILIES {
            let name = family.name;
            assert!(seen.insert(name), "{name} twice");
            assert!(
                name.starts_with("dbtask_") || name.starts_with("process_"),
                "{name} has another prefix"
            );
            assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
            assert!(family.help.ends_with('.') && !family.help.contains(['\\', '"', '\n']));
        }
    }

    #[test]
    fn no_label_collides_with_what_prometheus_adds() {
        let taken = ["instance", "job", "region", "zone", "type", "service", "le"];
        for family in FAMILIES {
            assert!(family.labels.iter().all(|label| !taken.contains(label)), "{}", family.name);
        }
    }

    #[test]
    fn snapshots_make_gauges_whose_identity_comes_first() {
        for family in FAMILIES {
            let identity: &[_] = match family.section() {
                "Tasks" => &["source", "task_id"],
                "Sources, at the last poll" => &["source"],
                _ => continue,
            };
            assert!(family.labels.starts_with(identity), "{}", family.name);
            // Such families are the same text in both formats, so one gzip serves both.
            assert_eq!(family.kind, Kind::Gauge, "{}", family.name);
        }
    }
}
