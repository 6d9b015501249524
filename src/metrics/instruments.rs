//! `Instruments`: what outlives a poll. Its methods are named after what happened.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dbtask_clouds::model::{TaskState, Timestamp};
use dbtask_clouds::reason::Reason;
use prometheus::core::{Collector, Desc, MetricVec, MetricVecBuilder};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Metric, MetricFamily};
use prometheus::{
    CounterVec, Error, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts,
    Registry,
};

use super::durations::{Amount, Durations};
use super::kinds::Kinds;
use super::{FAMILIES, Family, Kind, Samples};
use crate::snapshot::SourceInfo;

/// Every value of the label `field`.
pub const FIELDS: [&str; 4] = ["status", "time", "progress", "task_id"];

/// Every value of the label `outcome`.
pub const OUTCOMES: [TaskState; 3] = [TaskState::Succeeded, TaskState::Failed, TaskState::Canceled];

/// The reasons of failed requests that an alert reads, so that their first failure must be an
/// increase. Those of polls all are.
const ALERTED: [Reason; 1] = [Reason::Throttled];

/// What does not run as it was written last.
#[derive(Debug, Default, PartialEq)]
struct Refused {
    configuration: bool,
    /// The sources whose tasks file it is.
    tasks_files: BTreeSet<String>,
}

/// Counters, histograms and the few gauges that belong to no snapshot. A clone is another handle
/// to the same ones.
#[derive(Clone)]
pub struct Instruments {
    registry: Registry,
    process: Arc<ProcessCollector>,
    /// How often anything has changed.
    changes: Arc<AtomicU64>,
    /// By source.
    kinds: Arc<Mutex<BTreeMap<String, Kinds>>>,
    /// Sources whose series are not served.
    withdrawn: Arc<Mutex<BTreeSet<String>>>,
    refused: Arc<Mutex<Refused>>,
    polls: IntCounterVec,
    poll_failures: IntCounterVec,
    unknown_values: IntCounterVec,
    coverage_gaps: IntCounterVec,
    coverage_gap_seconds: CounterVec,
    requests: IntCounterVec,
    request_failures: IntCounterVec,
    request_duration: HistogramVec,
    budget_limit: IntGaugeVec,
    budget_remaining: IntGaugeVec,
    requests_shed: IntCounterVec,
    completions: IntCounterVec,
    failures: IntCounterVec,
    cancellations: IntCounterVec,
    last_failure: IntGaugeVec,
    task_duration: Durations,
    reload_successful: IntGaugeVec,
    reload_success_time: IntGaugeVec,
    journal_successful: IntGaugeVec,
    journals_set_aside: IntGaugeVec,
    registrations: IntGaugeVec,
    registration_requests: IntCounterVec,
}

impl fmt::Debug for Instruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instruments").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

impl Instruments {
    /// Everything at its beginning. Fails only if [`FAMILIES`] lacks a row or has a wrong one.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        let made = Self {
            process: Arc::new(ProcessCollector::for_self()),
            changes: Arc::default(),
            kinds: Arc::default(),
            withdrawn: Arc::default(),
            refused: Arc::default(),
            polls: counter(&registry, "dbtask_source_polls_total")?,
            poll_failures: counter(&registry, "dbtask_source_poll_failures_total")?,
            unknown_values: counter(&registry, "dbtask_source_unknown_values_total")?,
            coverage_gaps: counter(&registry, "dbtask_source_coverage_gaps_total")?,
            coverage_gap_seconds: register(
                &registry,
                "dbtask_source_coverage_gap_seconds_total",
                CounterVec::new,
            )?,
            requests: counter(&registry, "dbtask_api_requests_total")?,
            request_failures: counter(&registry, "dbtask_api_request_failures_total")?,
            request_duration: histogram(&registry, "dbtask_api_request_duration_seconds")?,
            budget_limit: gauge(&registry, "dbtask_api_budget_limit")?,
            budget_remaining: gauge(&registry, "dbtask_api_budget_remaining")?,
            requests_shed: counter(&registry, "dbtask_api_requests_shed_total")?,
            completions: counter(&registry, "dbtask_task_completions_total")?,
            failures: counter(&registry, "dbtask_task_failures_total")?,
            cancellations: counter(&registry, "dbtask_task_cancellations_total")?,
            last_failure: gauge(&registry, "dbtask_task_last_failure_timestamp_seconds")?,
            task_duration: register(
                &registry,
                "dbtask_task_duration_seconds",
                |options, labels| {
                    let labels = labels.iter().map(|&label| label.to_owned()).collect();
                    let desc = Desc::new(options.name, options.help, labels, HashMap::new())?;
                    Ok(Durations::new(desc))
                },
            )?,
            reload_successful: gauge(&registry, "dbtask_exporter_config_last_reload_successful")?,
            reload_success_time: gauge(
                &registry,
                "dbtask_exporter_config_last_reload_success_timestamp_seconds",
            )?,
            journal_successful: gauge(&registry, "dbtask_exporter_journal_last_write_successful")?,
            journals_set_aside: gauge(&registry, "dbtask_exporter_journals_set_aside")?,
            registrations: gauge(&registry, "dbtask_exporter_registrations")?,
            registration_requests: counter(
                &registry,
                "dbtask_exporter_registration_requests_total",
            )?,
            registry,
        };
        let build: GaugeVec =
            register(&made.registry, "dbtask_exporter_build_info", GaugeVec::new)?;
        let revision = option_env!("DBTASK_REVISION").unwrap_or("unknown");
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), revision]).set(1.0);
        made.registrations.with_label_values::<&str>(&[]).set(0);
        for outcome in ["accepted", "rejected"] {
            made.registration_requests.with_label_values(&[outcome]);
        }
        Ok(made)
    }

    /// Puts everything that can be counted for a source at 0, so that the first increment is one.
    pub fn declare_source(&self, source: &SourceInfo, operations: &[&str]) {
        let name = &*source.name;
        self.polls.with_label_values(&[name]);
        self.coverage_gaps.with_label_values(&[name]);
        self.coverage_gap_seconds.with_label_values(&[name]);
        self.requests_shed.with_label_values(&[name]);
        for reason in Reason::ALL {
            self.poll_failures.with_label_values(&[name, reason.as_str()]);
        }
        for field in FIELDS {
            self.unknown_values.with_label_values(&[name, field]);
        }
        for outcome in OUTCOMES {
            self.task_duration.declare(&[name, outcome.as_str()]);
        }
        for operation in operations {
            self.requests.with_label_values(&[name, operation]);
            self.request_duration.with_label_values(&[source.cloud, source.api, operation]);
            for reason in ALERTED {
                self.request_failures.with_label_values(&[name, operation, reason.as_str()]);
            }
        }
        self.changed();
    }

    /// Puts the counters of a kind of task at 0, and returns its label, which many kinds may share.
    /// `with_cancellations` where the vendor has that state.
    pub fn declare_kind(&self, source: &str, kind: &str, with_cancellations: bool) -> String {
        let label = self.with_kind(source, kind, |kind| {
            self.completions.with_label_values(&[source, kind]);
            self.failures.with_label_values(&[source, kind]);
            if with_cancellations {
                self.cancellations.with_label_values(&[source, kind]);
            }
            kind.to_owned()
        });
        self.changed();
        label
    }

    /// The source is not watched any more: none of its series is served. They are kept, for it may
    /// come back, and no counter falls while the process lives.
    pub fn source_withdrawn(&self, source: &str) {
        self.withdrawn().insert(source.to_owned());
        self.refused(|refused| {
            refused.tasks_files.remove(source);
        });
    }

    /// The source is gone for good, or comes back as after a restart: none of its series is left.
    pub fn source_forgotten(&self, source: &str) {
        self.source_withdrawn(source);
        for counters in [
            &self.polls,
            &self.poll_failures,
            &self.unknown_values,
            &self.coverage_gaps,
            &self.requests,
            &self.request_failures,
            &self.requests_shed,
            &self.completions,
            &self.failures,
            &self.cancellations,
        ] {
            remove_source(counters, source);
        }
        for gauges in [&self.budget_limit, &self.budget_remaining, &self.last_failure] {
            remove_source(gauges, source);
        }
        remove_source(&self.coverage_gap_seconds, source);
        self.task_duration.remove_source(source);
        self.kinds().remove(source);
        self.withdrawn().remove(source);
        self.changed();
    }

    /// The source is watched again.
    pub fn source_is_back(&self, source: &str) {
        self.withdrawn().remove(source);
        self.changed();
    }

    /// A poll ended.
    pub fn poll_finished(&self, source: &str, failure: Option<Reason>) {
        self.polls.with_label_values(&[source]).inc();
        if let Some(reason) = failure {
            self.poll_failures.with_label_values(&[source, reason.as_str()]).inc();
        }
        self.changed();
    }

    /// An answer held values that could not be read; `field` is one of [`FIELDS`].
    pub fn unknown_values_found(&self, source: &str, field: &str, count: u64) {
        self.unknown_values.with_label_values(&[source, field]).inc_by(count);
        self.changed();
    }

    /// Polling was down for longer than the vendor's list reaches back, `gaps` times, and nothing is
    /// known of `duration` in all.
    pub fn coverage_lost(&self, source: &str, gaps: u64, duration: Duration) {
        self.coverage_gaps.with_label_values(&[source]).inc_by(gaps);
        self.coverage_gap_seconds.with_label_values(&[source]).inc_by(duration.as_secs_f64());
        self.changed();
    }

    /// A request was sent.
    pub fn request_sent(&self, source: &str, operation: &str) {
        self.requests.with_label_values(&[source, operation]).inc();
        self.changed();
    }

    /// An answer came, good or bad, or the wait for it ended.
    pub fn request_finished(&self, source: &SourceInfo, operation: &str, took: Duration) {
        let labels = [source.cloud, source.api, operation];
        self.request_duration.with_label_values(&labels).observe(took.as_secs_f64());
        self.changed();
    }

    /// A request failed.
    pub fn request_failed(&self, source: &str, operation: &str, reason: Reason) {
        self.request_failures.with_label_values(&[source, operation, reason.as_str()]).inc();
        self.changed();
    }

    /// A request was not sent, to spare the budget.
    pub fn request_shed(&self, source: &str) {
        self.requests_shed.with_label_values(&[source]).inc();
        self.changed();
    }

    /// The budget of the source's credentials, and what is left of it today.
    pub fn budget_changed(&self, source: &str, limit: u64, remaining: u64) {
        self.budget_limit.with_label_values(&[source]).set(clamped(limit));
        self.budget_remaining.with_label_values(&[source]).set(clamped(remaining));
        self.changed();
    }

    /// The source has no budget (any more).
    pub fn budget_removed(&self, source: &str) {
        remove_source(&self.budget_limit, source);
        remove_source(&self.budget_remaining, source);
        self.changed();
    }

    /// `count` tasks of a kind came to an end. An `outcome` that is not final counts nothing.
    pub fn tasks_ended(&self, source: &str, kind: &str, outcome: TaskState, count: u64) {
        let ended = match outcome {
            TaskState::Succeeded => None,
            TaskState::Failed => Some(&self.failures),
            TaskState::Canceled => Some(&self.cancellations),
            TaskState::Pending | TaskState::Running | TaskState::Paused | TaskState::Unknown => {
                return;
            }
        };
        self.with_kind(source, kind, |kind| {
            self.completions.with_label_values(&[source, kind]).inc_by(count);
            // The failures of a kind are there as soon as its completions are.
            self.failures.with_label_values(&[source, kind]);
            if let Some(ended) = ended {
                ended.with_label_values(&[source, kind]).inc_by(count);
            }
        });
        self.changed();
    }

    /// So many tasks of this outcome took so long in all, by the vendor's start and end.
    pub fn tasks_took(&self, source: &str, outcome: TaskState, amount: &Amount) {
        self.task_duration.set(&[source, outcome.as_str()], amount.clone());
        self.changed();
    }

    /// A task failed then; an earlier time changes nothing.
    pub fn task_failed_at(&self, source: &str, time: Timestamp) {
        let last = self.last_failure.with_label_values(&[source]);
        last.set(last.get().max(time.as_second()));
        self.changed();
    }

    /// The configuration was read, tasks files and all.
    pub fn config_loaded(&self, now: Timestamp) {
        self.reload_success_time.with_label_values::<&str>(&[]).set(now.as_second());
        self.refused(|refused| *refused = Refused::default());
    }

    /// A new configuration was refused.
    pub fn config_refused(&self) {
        self.refused(|refused| refused.configuration = true);
    }

    /// The tasks file of a source was read.
    pub fn tasks_file_loaded(&self, source: &str, now: Timestamp) {
        self.reload_success_time.with_label_values::<&str>(&[]).set(now.as_second());
        self.refused(|refused| {
            refused.tasks_files.remove(source);
        });
    }

    /// A new version of the tasks file of a source was refused.
    pub fn tasks_file_refused(&self, source: &str) {
        self.refused(|refused| {
            refused.tasks_files.insert(source.to_owned());
        });
    }

    /// The journal was written, or was not.
    pub fn journal_written(&self, well: bool) {
        self.journal_successful.with_label_values::<&str>(&[]).set(i64::from(well));
        self.changed();
    }

    /// So many journals that could not be read lie in the journal's folder.
    pub fn journals_set_aside(&self, count: u64) {
        self.journals_set_aside.with_label_values::<&str>(&[]).set(clamped(count));
        self.changed();
    }

    /// So many task ids are registered now.
    pub fn registrations_changed(&self, count: u64) {
        self.registrations.with_label_values::<&str>(&[]).set(clamped(count));
        self.changed();
    }

    /// A request to register a task id, or to take one back, was answered.
    pub fn registration_answered(&self, accepted: bool) {
        let outcome = if accepted { "accepted" } else { "rejected" };
        self.registration_requests.with_label_values(&[outcome]).inc();
        self.changed();
    }

    /// Everything that is counted and to be served, ordered by name.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        let withdrawn = self.withdrawn();
        if !withdrawn.is_empty() {
            let is_served = |metric: &Metric| {
                let source = metric.get_label().iter().find(|pair| pair.name() == "source");
                source.is_none_or(|source| !withdrawn.contains(source.value()))
            };
            for family in &mut families {
                family.mut_metric().retain(is_served);
            }
            families.retain(|family| !family.get_metric().is_empty());
        }
        families
    }

    /// What the kernel says about the process now.
    pub(super) fn process(&self) -> Vec<MetricFamily> {
        self.process.collect()
    }

    /// A number that moves on after everything that [`gather`](Self::gather) shows has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Changes what is refused. The lock is held to the end, so that the gauge agrees with it.
    fn refused(&self, change: impl FnOnce(&mut Refused)) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut refused);
        let successful = *refused == Refused::default();
        self.reload_successful.with_label_values::<&str>(&[]).set(i64::from(successful));
        self.changed();
    }

    /// Lets `use_it` use the label of a kind.
    fn with_kind<T>(&self, source: &str, kind: &str, use_it: impl FnOnce(&str) -> T) -> T {
        let mut kinds = self.kinds();
        use_it(kinds.entry(source.to_owned()).or_default().label(kind))
    }

    fn withdrawn(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.withdrawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kinds(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Kinds>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn clamped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn family(name: &str) -> Result<&'static Family, Error> {
    FAMILIES
        .iter()
        .find(|family| family.name == name && matches!(family.samples, Samples::Registry))
        .ok_or_else(|| Error::Msg(format!("no family {name} comes from the registry")))
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    name: &str,
    make: impl FnOnce(Opts, &[&str]) -> Result<C, Error>,
) -> Result<C, Error> {
    let family = family(name)?;
    let collector = make(Opts::new(family.name, family.help), family.labels)?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counter(registry: &Registry, name: &str) -> Result<IntCounterVec, Error> {
    register(registry, name, IntCounterVec::new)
}

fn gauge(registry: &Registry, name: &str) -> Result<IntGaugeVec, Error> {
    register(registry, name, IntGaugeVec::new)
}

fn histogram(registry: &Registry, name: &str) -> Result<HistogramVec, Error> {
    let Kind::Histogram(buckets) = family(name)?.kind else {
        return Err(Error::Msg(format!("{name} is no histogram")));
    };
    register(registry, name, |options, labels| {
        let options = HistogramOpts { common_opts: options, buckets: buckets.to_vec() };
        HistogramVec::new(options, labels)
    })
}

/// Removes every child whose label `source` is `source`.
fn remove_source<T: MetricVecBuilder>(vec: &MetricVec<T>, source: &str)
where
    MetricVec<T>: Collector,
{
    for family in vec.collect() {
        for metric in family.get_metric() {
            let labels: HashMap<_, _> =
                metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
            if labels.get("source") == Some(&source) {
                // It may be gone already.
                let _ = vec.remove(&labels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> SourceInfo {
        let (cloud, api) = ("tencent", "tencent_cdb");
        SourceInfo { name: "mysql".into(), cloud, api, ..SourceInfo::default() }
    }

    /// `name{labels} value` of every series of ours.
    fn series(instruments: &Instruments) -> Vec<String> {
        let mut out = bytes::BytesMut::new();
        for family in instruments.gather() {
            super::super::text::collected(&mut out, super::super::Format::Text, &family);
        }
        let text = String::from_utf8(out.to_vec()).unwrap();
        text.lines().filter(|line| line.starts_with("dbtask_")).map(str::to_owned).collect()
    }

    #[test]
    fn every_registry_family_has_an_instrument() {
        let instruments = Instruments::new().unwrap();
        instruments.declare_source(&source(), &["DescribeTasks"]);
        instruments.tasks_ended("mysql", "BACKUP", TaskState::Canceled, 1);
        instruments.budget_changed("mysql", 10, 3);
        instruments.task_failed_at("mysql", Timestamp::from_second(1).unwrap());
        instruments.config_loaded(Timestamp::from_second(1).unwrap());
        instruments.journal_written(true);
        instruments.journals_set_aside(0);
        let mut made = instruments.gather();
        made.extend(instruments.process());
        for family in FAMILIES.iter().filter(|f| matches!(f.samples, Samples::Registry)) {
            let found = made.iter().find(|made| made.name() == family.name);
            let found = found.unwrap_or_else(|| panic!("{} is not made", family.name));
            assert_eq!(found.help(), family.help);
            let kind = format!("{:?}", found.get_field_type()).to_lowercase();
            assert_eq!(kind, family.kind.as_str(), "{}", family.name);
            let labels = found.get_metric()[0].get_label();
            let labels: std::collections::BTreeSet<_> =
                labels.iter().map(prometheus::proto::LabelPair::name).collect();
            assert_eq!(labels, family.labels.iter().copied().collect(), "{}", family.name);
        }
        assert_eq!(
            made.len(),
            FAMILIES.iter().filter(|f| matches!(f.samples, Samples::Registry)).count()
        );
    }

    #[test]
    fn everything_known_is_there_at_zero() {
        let instruments = Instruments::new().unwrap();
        instruments.declare_source(&source(), &["DescribeTasks"]);
        instruments.declare_kind("mysql", "BACKUP", false);
        let series = series(&instruments);
        let failures = |family: &str| {
            let of_family = series.iter().filter(|line| line.starts_with(family));
            of_family.filter(|line| line.ends_with(" 0")).count()
        };
        assert_eq!(failures("dbtask_source_poll_failures_total{"), Reason::ALL.len());
        assert_eq!(failures("dbtask_api_request_failures_total{"), ALERTED.len());
        for line in [
            "dbtask_source_polls_total{source=\"mysql\"} 0",
            "dbtask_source_unknown_values_total{field=\"task_id\",source=\"mysql\"} 0",
            "dbtask_task_completions_total{source=\"mysql\",task_kind=\"BACKUP\"} 0",
            "dbtask_task_failures_total{source=\"mysql\",task_kind=\"BACKUP\"} 0",
            "dbtask_task_duration_seconds_count{outcome=\"canceled\",source=\"mysql\"} 0",
            "dbtask_api_request_duration_seconds_count{api=\"tencent_cdb\",cloud=\"tencent\",operation=\"DescribeTasks\"} 0",
            "dbtask_api_request_failures_total{operation=\"DescribeTasks\",reason=\"throttled\",source=\"mysql\"} 0",
            "dbtask_exporter_registrations 0",
            "dbtask_exporter_registration_requests_total{outcome=\"accepted\"} 0",
            "dbtask_exporter_registration_requests_total{outcome=\"rejected\"} 0",
        ] {
            assert!(series.iter().any(|one| one == line), "{line}");
        }
        for absent in ["cancellations", "api_budget", "last_failure", "journal", "last_reload"] {
            assert!(!series.iter().any(|one| one.contains(absent)), "{absent}");
        }
    }

    #[test]
    fn every_reason_that_a_rule_reads_of_requests_is_there_at_zero() {
        let rules = include_str!("../../rules/dbtask.rules.yml");
        let read = rules.split("dbtask_api_request_failures_total{reason").skip(1);
        let mut count = 0;
        for rest in read {
            let reason = rest.strip_prefix("=\"").and_then(|rest| rest.split('"').next()).unwrap();
            assert!(ALERTED.iter().any(|it| it.as_str() == reason), "{reason}");
            count += 1;
        }
        assert!(count > 0, "no rule reads one");
        assert_eq!(rules.matches("dbtask_api_request_failures_total{").count(), count);
    }

    #[test]
    fn a_source_costs_no_more_series_before_its_first_task_than_it_needs() {
        let instruments = Instruments::new().unwrap();
        let none = series(&instruments).len();
        instruments.declare_source(&source(), &["DescribeTasks", "DescribeInstances"]);
        let of_it = series(&instruments).len() - none;
        assert_eq!(of_it, 81, "two operations, of which 24 are shared by sources of its API");
    }

    #[test]
    fn a_source_that_is_withdrawn_shows_nothing_and_comes_back_as_it_was() {
        let instruments = Instruments::new().unwrap();
        instruments.config_loaded(Timestamp::from_second(1).unwrap());
        let other = SourceInfo { name: "redis".into(), ..source() };
        instruments.declare_source(&other, &["DescribeTaskList"]);
        let before = series(&instruments);
        instruments.declare_source(&source(), &["DescribeTaskList"]);
        instruments.declare_kind("mysql", "BACKUP", true);
        instruments.poll_finished("mysql", None);
        instruments.budget_changed("mysql", 10, 3);
        instruments.task_failed_at("mysql", Timestamp::from_second(7).unwrap());
        let full = series(&instruments);
        instruments.source_withdrawn("mysql");
        assert_eq!(series(&instruments), before);
        instruments.source_is_back("mysql");
        assert_eq!(series(&instruments), full);
    }

    #[test]
    fn a_source_that_is_forgotten_leaves_nothing_behind() {
        let instruments = Instruments::new().unwrap();
        instruments.config_loaded(Timestamp::from_second(1).unwrap());
        instruments.declare_source(&source(), &["DescribeTasks"]);
        let before = (series(&instruments), instruments.kinds().len());
        for round in 0..1000 {
            let gone = SourceInfo { name: format!("gone-{round}"), ..source() };
            instruments.declare_source(&gone, &["DescribeTasks"]);
            instruments.declare_kind(&gone.name, "BACKUP", true);
            instruments.poll_finished(&gone.name, Some(Reason::Auth));
            instruments.request_failed(&gone.name, "DescribeTasks", Reason::Auth);
            instruments.budget_changed(&gone.name, 10, 3);
            instruments.request_shed(&gone.name);
            instruments.tasks_ended(&gone.name, "BACKUP", TaskState::Canceled, 1);
            instruments.task_failed_at(&gone.name, Timestamp::from_second(7).unwrap());
            instruments.coverage_lost(&gone.name, 1, Duration::from_secs(1));
            instruments.source_withdrawn(&gone.name);
            instruments.source_forgotten(&gone.name);
        }
        assert!((series(&instruments), instruments.kinds().len()) == before);
        assert!(instruments.withdrawn().is_empty());
    }

    #[test]
    fn the_last_reading_went_well_only_if_nothing_is_refused() {
        let instruments = Instruments::new().unwrap();
        let good = || {
            let line = "dbtask_exporter_config_last_reload_successful 1".to_owned();
            series(&instruments).contains(&line)
        };
        let now = Timestamp::from_second(1).unwrap();
        instruments.config_loaded(now);
        assert!(good());
        instruments.tasks_file_refused("mysql");
        instruments.tasks_file_refused("redis");
        instruments.tasks_file_loaded("mysql", now);
        assert!(!good(), "redis is still refused");
        instruments.config_refused();
        instruments.tasks_file_loaded("redis", now);
        assert!(!good(), "the configuration is still refused");
        instruments.config_loaded(now);
        assert!(good());
        instruments.tasks_file_refused("mysql");
        instruments.source_withdrawn("mysql");
        assert!(good());
    }

    #[test]
    fn an_outcome_is_counted_under_its_own_name_and_as_a_completion() {
        let instruments = Instruments::new().unwrap();
        instruments.tasks_ended("mysql", "BACKUP", TaskState::Failed, 2);
        instruments.tasks_ended("mysql", "BACKUP", TaskState::Succeeded, 1);
        instruments.tasks_ended("mysql", "BACKUP", TaskState::Running, 1);
        let series = series(&instruments);
        for line in [
            "dbtask_task_completions_total{source=\"mysql\",task_kind=\"BACKUP\"} 3",
            "dbtask_task_failures_total{source=\"mysql\",task_kind=\"BACKUP\"} 2",
        ] {
            assert!(series.iter().any(|one| one == line), "{line} not in {series:?}");
        }
    }
}
