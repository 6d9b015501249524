//! Snapshots to expose, and expositions read back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::model::{Ratio, Resource, Step, Task, TaskError, TaskState, Timestamp};
use dbtask_exporter::snapshot::{Snapshot, SourceInfo, Tracked};

/// 2026-03-01T08:00:00Z.
pub(crate) const NOW: i64 = 1_772_352_000;

pub(crate) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

pub(crate) fn source(name: &str) -> Arc<SourceInfo> {
    Arc::new(SourceInfo {
        name: name.into(),
        cloud: "tencent",
        api: "tencent_cdb",
        region: "ap-guangzhou".into(),
        account: "tencent-prod".into(),
        per_task_metrics: true,
    })
}

/// A running task with everything but an end and an error.
pub(crate) fn task(id: &str) -> Task {
    let mut task = Task::new(id, TaskState::Running, "RUNNING");
    task.kind = "ONLINE UPGRADE".into();
    task.resource = Arc::new(Resource { id: "cdb-qlfpnobr".into(), name: Some("orders".into()) });
    task.progress = Ratio::clamped(0.37);
    task.remaining = Some(Duration::from_secs(90));
    task.created = Some(time(NOW - 700));
    task.started = Some(time(NOW - 600));
    task
}

/// A task that has failed.
pub(crate) fn failed(id: &str) -> Task {
    let mut task = task(id);
    task.state = TaskState::Failed;
    task.vendor_status = "FAILED".into();
    task.remaining = None;
    task.ended = Some(time(NOW - 60));
    task.error = Some(Box::new(TaskError {
        code: "DiskFull".into(),
        message: "no space left on <device>".into(),
    }));
    task
}

pub(crate) fn step(name: &str, progress: f64) -> Step {
    Step {
        name: name.into(),
        state: None,
        progress: Ratio::clamped(progress),
        remaining: Some(Duration::from_millis(1500)),
    }
}

pub(crate) fn seen(task: Task) -> Tracked {
    let running = task.state == TaskState::Running;
    Tracked {
        estimated_end: task.remaining.filter(|_| running).map(|left| time(NOW) + left),
        last_seen: time(NOW),
        progress_changed: time(NOW - 30),
        settled: None,
        task,
    }
}

/// A snapshot after a good poll.
pub(crate) fn snapshot(source: Arc<SourceInfo>, tasks: Vec<Task>) -> Snapshot {
    let mut snapshot = Snapshot::before_first_poll(source, Duration::from_secs(30));
    snapshot.tried = true;
    snapshot.up = true;
    snapshot.last_success = Some(time(NOW));
    snapshot.last_poll_duration = Some(Duration::from_millis(250));
    for task in &tasks {
        let index = TaskState::ALL.iter().position(|&state| state == task.state).unwrap();
        snapshot.states[index] += 1;
    }
    snapshot.tasks = tasks.into_iter().map(seen).collect();
    snapshot
}

pub(crate) fn gunzip(bytes: &[u8]) -> String {
    // Not the decoder for many members: what is served must be one.
    let mut text = String::new();
    let mut decoder = flate2::read::GzDecoder::new(bytes);
    decoder.read_to_string(&mut text).unwrap();
    assert!(decoder.into_inner().is_empty(), "bytes behind the member");
    text
}

/// An exposition, read back as strictly as the formats are written.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Name and help, type, by the name in `# TYPE`.
    pub(crate) families: BTreeMap<String, (String, String)>,
    /// Value by name and labels.
    pub(crate) series: BTreeMap<(String, Vec<(String, String)>), String>,
}

impl Parsed {
    /// Panics where `text` breaks a rule.
    pub(crate) fn new(text: &str, open_metrics: bool) -> Self {
        let mut parsed = Self::default();
        assert!(text.is_empty() || text.ends_with('\n'), "no newline at the end");
        let mut lines: Vec<_> = text.split('\n').collect();
        lines.pop();
        if open_metrics {
            assert_eq!(lines.pop(), Some("# EOF"), "no EOF");
        }
        let mut closed = BTreeSet::new();
        let mut family = String::new();
        let mut lines = lines.into_iter();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("help without text");
                let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
                let (named, kind) = kind.and_then(|kind| kind.split_once(' ')).expect("no type");
                assert_eq!(named, name);
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
                assert!(closed.insert(name.to_owned()), "{name} comes twice");
                name.clone_into(&mut family);
                parsed.families.insert(family.clone(), (help.into(), kind.into()));
                continue;
            }
            assert!(!line.starts_with('#'), "{line}");
            let (name, labels, value) = sample(line);
            let kind = &parsed.families[&family].1;
            let suffixes: &[&str] = match (&**kind, open_metrics) {
                ("counter", true) => &["_total"],
                ("histogram", _) => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(
                name.strip_prefix(&family).is_some_and(|suffix| suffixes.contains(&suffix)),
                "{name} does not belong to {family}"
            );
            if value.parse::<f64>().is_err() {
                assert!(["NaN", "+Inf", "-Inf"].contains(&value), "{line}");
            }
            let mut labels = labels;
            labels.sort();
            let old = parsed.series.insert((name.to_owned(), labels), value.to_owned());
            assert_eq!(old, None, "two series are the same: {line}");
        }
        parsed
    }

    /// The values of a label in every series that has it.
    pub(crate) fn label(&self, label: &str) -> impl Iterator<Item = &str> {
        let labels = self.series.keys().flat_map(|(_, labels)| labels);
        labels.filter(move |(name, _)| name == label).map(|(_, value)| &**value)
    }
}

fn sample(line: &str) -> (&str, Vec<(String, String)>, &str) {
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').expect("no value");
    let (name, mut rest) = line.split_at(end);
    let mut labels: Vec<(String, String)> = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").expect("no label");
            assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "label {label:?}");
            assert!(labels.iter().all(|(known, _)| known != label), "label {label} twice");
            let (value, after) = quoted(after);
            labels.push((label.to_owned(), value));
            if let Some(after) = after.strip_prefix(',') {
                rest = after;
            } else {
                rest = after.strip_prefix('}').expect("no closing brace");
                break;
            }
        }
    }
    let value = rest.strip_prefix(' ').expect("no space before the value");
    assert!(!value.contains(' '), "a timestamp: {line}");
    (name, labels, value)
}

/// The unescaped text up to the closing quote, and what follows it.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, c @ ('\\' | '"'))) => c,
                other => panic!("unknown escape {other:?}"),
            }),
            c => value.push(c),
        }
    }
    panic!("no closing quote in {text:?}");
}
