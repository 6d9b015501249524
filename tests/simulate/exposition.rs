//! A strict reader of the text format 0.0.4, after
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>. Stricter than Prometheus where
//! that is what this exporter promises: each family in one piece with its help and its type, no
//! timestamps, no two equal series, histograms that add up.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The samples of an exposition: `name{label="value",…}`, labels in order, and the value.
pub(crate) type Samples<'a> = HashMap<Cow<'a, str>, f64>;

/// Reads a whole exposition.
pub(crate) fn read(text: &str) -> Result<Samples<'_>, String> {
    let mut samples = Samples::with_capacity(text.len() / 64);
    let mut families = BTreeSet::new();
    let mut family: Option<(&str, Option<&str>)> = None;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for line in text.lines() {
        let wrong = |what: &str| format!("{what}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, _) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
            if !families.insert(name) {
                return Err(wrong("a second piece of a family"));
            }
            family = Some((name, None));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
            if family != Some((name, None)) {
                return Err(wrong("a type without its help before it"));
            }
            if !["counter", "gauge", "histogram"].contains(&kind) {
                return Err(wrong("an unknown type"));
            }
            family = Some((name, Some(kind)));
        } else {
            let Some((name, Some(kind))) = family else {
                return Err(wrong("a sample without a family"));
            };
            let (series, value) = sample(line, name, kind).map_err(wrong)?;
            if samples.insert(series, value).is_some() {
                return Err(wrong("two equal series"));
            }
        }
    }
    histograms(&samples)?;
    Ok(samples)
}

fn sample<'a>(line: &'a str, family: &str, kind: &str) -> Result<(Cow<'a, str>, f64), &'a str> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, rest) = line.split_at(end);
    let suffix = name.strip_prefix(family).ok_or("a sample of another family")?;
    let known: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
    if !known.contains(&suffix) || !is_name(name) {
        return Err("a wrong name");
    }
    let mut labels: Vec<(&str, &str)> = Vec::new();
    let mut rest = rest;
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").ok_or("a label without a value")?;
            let end =
                end_of_value(after).ok_or("a label value without an end, or a wrong escape")?;
            if !is_name(label) || label.contains(':') || labels.iter().any(|(it, _)| *it == label) {
                return Err("a wrong label, or one that comes twice");
            }
            labels.push((label, &after[..end]));
            rest = &after[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        rest = &rest[1..];
    }
    let number = rest.strip_prefix(' ').ok_or("no blank before the value")?;
    let value: f64 = match number {
        "+Inf" => f64::INFINITY,
        _ => number.parse().map_err(|_| "not a value, or more than one")?,
    };
    let value = (kind == "gauge" || value >= 0.0).then_some(value).ok_or("a counter below zero")?;
    if labels.is_sorted() {
        let length = line.len() - number.len() - 1;
        return Ok((Cow::Borrowed(&line[..length]), value));
    }
    labels.sort_unstable();
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    Ok((Cow::Owned(format!("{name}{{{}}}", labels.join(","))), value))
}

/// The index of the quote that ends a label's value.
fn end_of_value(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' if matches!(bytes.get(at + 1), Some(b'\\' | b'"' | b'n')) => at += 2,
            b'\\' => return None,
            _ => at += 1,
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}

/// Buckets grow, and the last holds as many as are counted.
fn histograms(samples: &Samples<'_>) -> Result<(), String> {
    let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (series, &value) in samples {
        let Some((name, rest)) = series.split_once("_bucket{") else { continue };
        let at = rest.find("le=\"").ok_or_else(|| format!("a bucket without a bound: {series}"))?;
        let (bound, after) = rest[at + 4..].split_once('"').unwrap_or_default();
        let others = format!("{}{}", &rest[..at], after.trim_start_matches(','));
        let others = others.replace(",}", "}");
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap_or(f64::NAN) };
        buckets.entry(format!("{name}_count{{{others}")).or_default().push((bound, value));
    }
    for (count, mut bounds) in buckets {
        bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let grows = bounds.windows(2).all(|pair| pair[0].1 <= pair[1].1);
        let last = bounds.last().copied().unwrap_or_default();
        if !grows || !last.0.is_infinite() || samples.get(count.as_str()) != Some(&last.1) {
            return Err(format!("a histogram that does not add up: {count}"));
        }
    }
    Ok(())
}

/// A label's value as it is written.
pub(crate) fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
