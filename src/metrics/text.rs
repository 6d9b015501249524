//! The two text formats: escaping, numbers, headers, and what the registry collected.
//!
//! Written to [exposition format 0.0.4] and [OpenMetrics 1.0.0] (read 2026-05-20). Left out:
//! sample timestamps, exemplars, units and `_created`, and every OpenMetrics type but counter,
//! gauge and histogram, so that a series has the same name and labels in both.
//!
//! [exposition format 0.0.4]: https://prometheus.io/docs/instrumenting/exposition_formats/
//! [OpenMetrics 1.0.0]: https://prometheus.io/docs/specs/om/open_metrics_spec/

use std::time::Duration;

use bytes::BytesMut;
use dbtask_clouds::model::{Ratio, Timestamp};
use prometheus::proto::{Metric, MetricFamily, MetricType};

use crate::platform::sabotage;
use crate::platform::sabotage::Bug;

/// The longest label value, in bytes before escaping.
pub const MAX_LABEL_BYTES: usize = 128;

/// A format that Prometheus reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Both formats.
    pub const ALL: [Self; 2] = [Self::Text, Self::OpenMetrics];

    /// The exact `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What comes after the last family.
    pub(super) fn end(self) -> &'static [u8] {
        match self {
            Self::Text => b"",
            Self::OpenMetrics => b"# EOF\n",
        }
    }
}

/// What a sample says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number: a count, a truth, Unix seconds.
    Integer(i64),
    /// Anything else.
    Float(f64),
    /// Printed with the few digits it has, which a detour over `f64` would multiply.
    Ratio(f32),
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Self::Integer(time.as_second())
    }
}

impl From<Ratio> for Value {
    fn from(ratio: Ratio) -> Self {
        Self::Ratio(ratio.get())
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        match i64::try_from(duration.as_secs()) {
            Ok(seconds) if duration.subsec_nanos() == 0 => Self::Integer(seconds),
            Ok(_) | Err(_) => Self::Float(duration.as_secs_f64()),
        }
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Integer(i64::from(yes))
    }
}

/// Room for the digits of one number.
#[derive(Default)]
pub(super) struct Digits {
    integer: itoa::Buffer,
    float: zmij::Buffer,
}

impl Digits {
    /// A number as short as it can be.
    pub(super) fn of(&mut self, value: Value) -> &[u8] {
        // Below it every integer is a float and the other way round.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match value {
            Value::Integer(integer) => self.integer.format(integer).as_bytes(),
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
            Value::Float(float) if float.fract() == 0.0 && float.abs() < EXACT => {
                self.integer.format(float as i64).as_bytes()
            }
            Value::Float(float) => self.of_float(float),
            Value::Ratio(0.0) => b"0",
            Value::Ratio(1.0) => b"1",
            Value::Ratio(ratio) if ratio.is_finite() => self.float.format_finite(ratio).as_bytes(),
            Value::Ratio(ratio) => self.of_float(f64::from(ratio)),
        }
    }

    /// A number that shows that it is a float, as `le` wants it: `60.0`.
    fn of_float(&mut self, float: f64) -> &[u8] {
        if float.is_finite() {
            self.float.format_finite(float).as_bytes()
        } else if float.is_nan() {
            b"NaN"
        } else if float > 0.0 {
            b"+Inf"
        } else {
            b"-Inf"
        }
    }
}

/// The longest beginning of `value` that fits into `max` bytes and ends between two characters.
pub(super) fn cut(value: &str, max: usize) -> &str {
    value.get(..value.floor_char_boundary(max)).unwrap_or(value)
}

/// Appends a label value, escaped.
pub(super) fn escape(out: &mut BytesMut, value: &str) {
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        out.extend_from_slice(match special.first() {
            Some(b'\n') => b"\\n",
            Some(b'"') => b"\\\"",
            _ => b"\\\\",
        });
        rest = special.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Appends `<before><name>="<value>"`, escaped.
pub(super) fn label(out: &mut BytesMut, before: &str, name: &str, value: &str) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    if sabotage::is(Bug::NoEscapes) {
        out.extend_from_slice(value.as_bytes());
    } else {
        escape(out, value);
    }
    out.extend_from_slice(b"\"");
}

/// Appends the two lines that open a family. `kind` is the type's word.
pub(super) fn header(out: &mut BytesMut, format: Format, name: &str, kind: &str, help: &str) {
    let name = match format {
        Format::OpenMetrics if kind == "counter" => name.strip_suffix("_total").unwrap_or(name),
        Format::OpenMetrics | Format::Text => name,
    };
    for part in ["# HELP ", name, " "] {
        out.extend_from_slice(part.as_bytes());
    }
    match format {
        // OpenMetrics escapes a quote here as well.
        Format::OpenMetrics => escape(out, help),
        Format::Text => {
            for (i, part) in help.split('"').enumerate() {
                out.extend_from_slice(if i == 0 { b"" } else { b"\"" });
                escape(out, part);
            }
        }
    }
    for part in ["\n# TYPE ", name, " ", kind, "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends a family that the registry collected.
pub(super) fn collected(out: &mut BytesMut, format: Format, family: &MetricFamily) {
    let name = family.name();
    let kind = match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        // Nothing here makes either.
        MetricType::SUMMARY | MetricType::UNTYPED => return,
    };
    header(out, format, name, kind, family.help());
    for metric in family.get_metric() {
        match family.get_field_type() {
            MetricType::COUNTER => {
                sample(out, name, "", metric, None, metric.get_counter().get_value());
            }
            MetricType::GAUGE => {
                sample(out, name, "", metric, None, metric.get_gauge().get_value());
            }
            MetricType::HISTOGRAM => histogram(out, name, metric),
            MetricType::SUMMARY | MetricType::UNTYPED => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nothing here is counted to 2^53")]
fn histogram(out: &mut BytesMut, name: &str, metric: &Metric) {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count() as f64;
    for bucket in histogram.get_bucket() {
        let le = bucket.upper_bound();
        sample(out, name, "_bucket", metric, Some(le), bucket.cumulative_count() as f64);
    }
    sample(out, name, "_bucket", metric, Some(f64::INFINITY), count);
    sample(out, name, "_sum", metric, None, histogram.get_sample_sum());
    sample(out, name, "_count", metric, None, count);
}

fn sample(
    out: &mut BytesMut,
    name: &str,
    suffix: &str,
    metric: &Metric,
    le: Option<f64>,
    value: f64,
) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    let mut before = "{";
    for pair in metric.get_label() {
        label(out, before, pair.name(), pair.value());
        before = ",";
    }
    if let Some(le) = le {
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(b"le=\"");
        out.extend_from_slice(Digits::default().of_float(le));
        out.extend_from_slice(b"\"");
        before = ",";
    }
    out.extend_from_slice(if before == "{" { b" " } else { b"} " });
    out.extend_from_slice(Digits::default().of(Value::Float(value)));
    out.extend_from_slice(b"\n");
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;
    use prometheus::{HistogramOpts, HistogramVec, IntCounter};

    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (Value::Integer(-3), "-3"),
            (Value::Float(60.0), "60"),
            (Value::Float(0.25), "0.25"),
            (Value::Float(1e300), "1e+300"),
            (Value::Float(f64::NAN), "NaN"),
            (Value::Float(f64::NEG_INFINITY), "-Inf"),
            (Value::Ratio(0.37), "0.37"),
            (Value::Ratio(1.0), "1"),
            (Value::from(Duration::from_millis(1500)), "1.5"),
            (Value::from(Duration::from_secs(90)), "90"),
            (Value::from(u64::MAX), "9223372036854775807"),
        ] {
            assert_eq!(Digits::default().of(value), text.as_bytes());
        }
    }

    #[test]
    fn a_label_value_is_cut_between_characters() {
        assert_eq!(cut("备份", 4), "备");
        assert_eq!(cut("备份", 6), "备份");
        assert_eq!(cut("", 6), "");
    }

    #[test]
    fn three_characters_of_a_label_value_are_escaped() {
        let value = "a\\b\"c\nd\te";
        assert_eq!(written(|out| escape(out, value)), "a\\\\b\\\"c\\nd\te");
    }

    #[test]
    fn a_counter_family_loses_its_suffix_in_open_metrics_only() {
        let counter = IntCounter::new("polls_total", "Polls, \"all\".").unwrap();
        counter.inc();
        let family = counter.collect().remove(0);
        assert_eq!(
            written(|out| collected(out, Format::Text, &family)),
            "# HELP polls_total Polls, \"all\".\n# TYPE polls_total counter\npolls_total 1\n"
        );
        assert_eq!(
            written(|out| collected(out, Format::OpenMetrics, &family)),
            "# HELP polls Polls, \\\"all\\\".\n# TYPE polls counter\npolls_total 1\n"
        );
    }

    #[test]
    fn bucket_bounds_are_floats() {
        let options = HistogramOpts::new("took_seconds", "Time.").buckets(vec![0.5, 60.0]);
        let histogram = HistogramVec::new(options, &["cloud"]).unwrap();
        histogram.with_label_values(&["tencent"]).observe(2.5);
        let family = histogram.collect().remove(0);
        assert_eq!(
            written(|out| collected(out, Format::OpenMetrics, &family)),
            "\
# HELP took_seconds Time.
# TYPE took_seconds histogram
took_seconds_bucket{cloud=\"tencent\",le=\"0.5\"} 0
took_seconds_bucket{cloud=\"tencent\",le=\"60.0\"} 1
took_seconds_bucket{cloud=\"tencent\",le=\"+Inf\"} 1
took_seconds_sum{cloud=\"tencent\"} 2.5
took_seconds_count{cloud=\"tencent\"} 1
"
        );
    }
}
