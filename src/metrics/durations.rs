//! Histograms that can be put back as a journal kept them, which those of the `prometheus` crate
//! cannot.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets of task durations, in seconds.
pub(super) const BOUNDS: &[f64] =
    &[60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0];

/// A sum of things that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// How long they took together.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seconds: f64,
    /// How many took no longer than each of the bounds of task durations, and longer than the one
    /// before it; empty where durations are not told apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

impl Amount {
    /// One thing.
    pub fn one() -> Self {
        Self { count: 1, ..Self::default() }
    }

    /// One thing that took this long.
    pub fn duration(duration: Duration) -> Self {
        let seconds = duration.as_secs_f64();
        let first = BOUNDS.iter().position(|&bound| seconds <= bound).unwrap_or(BOUNDS.len());
        let buckets = (0..BOUNDS.len()).map(|index| u64::from(index == first)).collect();
        Self { count: 1, seconds, buckets }
    }

    /// Adds the other.
    pub fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.seconds += other.seconds;
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (sum, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum = sum.saturating_add(*more);
        }
    }
}

/// A histogram with labels, whose children are set, not observed. A clone is another handle.
#[derive(Clone, Debug)]
pub(super) struct Durations {
    desc: Desc,
    children: Arc<Mutex<BTreeMap<Vec<String>, Amount>>>,
}

impl Durations {
    pub(super) fn new(desc: Desc) -> Self {
        Self { desc, children: Arc::default() }
    }

    /// Makes the child with these label values exist.
    pub(super) fn declare(&self, labels: &[&str]) {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        self.lock().entry(labels).or_default();
    }

    /// Sets the child with these label values.
    pub(super) fn set(&self, labels: &[&str], amount: Amount) {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        self.lock().insert(labels, amount);
    }

    /// Removes the children whose first label has this value.
    pub(super) fn remove_source(&self, source: &str) {
        self.lock().retain(|labels, _| labels.first().is_none_or(|first| first != source));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<String>, Amount>> {
        // Nothing here panics half-way through a change.
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn child(&self, values: &[String], amount: &Amount) -> Metric {
        let pairs = self.desc.variable_labels.iter().zip(values);
        let mut labels: Vec<LabelPair> = pairs
            .map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.clone());
                pair.set_value(value.clone());
                pair
            })
            .collect();
        labels.sort();
        let mut histogram = Histogram::default();
        histogram.set_sample_count(amount.count);
        histogram.set_sample_sum(amount.seconds);
        let mut sum = 0_u64;
        let own = amount.buckets.iter().copied().chain(std::iter::repeat(0));
        let buckets = BOUNDS.iter().zip(own).map(|(&bound, count)| {
            sum = sum.saturating_add(count);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(sum);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        let mut metric = Metric::default();
        metric.set_label(labels);
        metric.set_histogram(histogram);
        metric
    }
}

impl Collector for Durations {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics =
            self.lock().iter().map(|(labels, amount)| self.child(labels, amount)).collect();
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics);
        vec![family]
    }
}
