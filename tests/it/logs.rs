//! What is promised of the log: one line for each change, fields that stay, and nothing forged.

use std::collections::BTreeSet;
use std::time::Duration;

use dbtask_exporter::platform::log::Format;
use dbtask_simulator::{Fault, FaultKind};
use serde_json::Value;

use crate::support::{Lab, Log, one_task};

const PAGE: &str = include_str!("../../docs/logs.md");

/// The names in the first column of the table below this heading of the page.
fn documented(heading: &str) -> BTreeSet<String> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

/// What every line in JSON has.
const FRAME: [&str; 4] = ["timestamp", "level", "target", "message"];

/// The lines that tell of tasks, as `from to`.
fn transitions(log: &Log) -> Vec<String> {
    let field = |line: &str, name: &str| {
        let value = line.split(&format!(" {name}=")).nth(1);
        value.and_then(|rest| rest.split(' ').next()).unwrap_or("-").to_owned()
    };
    let lines = log.lines(" to=").into_iter().filter(|line| line.contains(" task_id="));
    lines.map(|line| format!("{} {}", field(&line, "from"), field(&line, "to"))).collect()
}

/// A source `one` with tasks that begin later, so that they are not part of the baseline.
fn later(tasks: &[&str]) -> String {
    let tasks: Vec<String> = tasks.iter().map(|task| format!("      - {task}\n")).collect();
    let tasks = tasks.concat();
    format!(
        "
sources:
  - name: one
    api: tencent_cdb
    region: ap-guangzhou
    resources: [{{id: cdb-1}}]
    tasks:
{tasks}"
    )
}

#[tokio::test(start_paused = true)]
async fn a_transition_has_the_fields_that_the_page_names() {
    let log = Log::listen_in(Format::Json);
    let lab = Lab::new(
        &later(&[
            "{id: '1', resource: cdb-1, kind: ROLLBACK, at: 5m, life: [{wait: {for: 5m}}, \
             {run: {for: 20m}}, {fail: {code: '1205', message: Lock wait timeout}}]}",
            "{id: '2', resource: cdb-1, kind: IMPORT, at: 5m, life: [{run: {for: 5m}}, {vanish: {}}]}",
        ]),
        |_| {},
    );
    lab.minutes(60).await;
    let lines: Vec<Value> =
        log.lines("task_id").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut fields = BTreeSet::new();
    for line in &lines {
        let names = line.as_object().unwrap().keys();
        fields.extend(names.filter(|name| !FRAME.contains(&name.as_str())).cloned());
    }
    assert_eq!(fields, documented("Tasks"));
    let failed = lines.iter().find(|line| line["to"] == "failed").unwrap();
    let known = serde_json::json!({
        "level": "INFO", "message": "task", "source": "one", "task_id": "1", "kind": "ROLLBACK",
        "resource_id": "cdb-1", "from": "running", "error_code": "1205",
        "error_message": "Lock wait timeout",
    });
    for (name, value) in known.as_object().unwrap() {
        assert_eq!(&failed[name], value, "{name}");
    }
    let duration = failed["duration_seconds"].as_u64().unwrap();
    assert!((1200..=1560).contains(&duration), "{duration}");
    let lost = lines.iter().find(|line| line["to"] == "unknown").unwrap();
    assert_eq!((&lost["level"], &lost["from"]), (&"WARN".into(), &"running".into()));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn trouble_has_the_fields_that_the_page_names() {
    let log = Log::listen_in(Format::Json);
    let lab = Lab::new(&one_task("tencent_cdb", "[{hang: {}}]"), |_| {});
    lab.inject("one", FaultKind::ServerError);
    lab.minutes(10).await;
    lab.cloud.heal("one");
    lab.minutes(10).await;
    for message in ["polls fail: ", "polls succeed again"] {
        let lines = log.lines(message);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        let row = PAGE.lines().find(|row| row.starts_with(&format!("| `{message}"))).unwrap();
        let fields: BTreeSet<&str> =
            row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        let names = line.as_object().unwrap().keys().map(String::as_str);
        assert_eq!(names.filter(|name| !FRAME.contains(name)).collect::<BTreeSet<_>>(), fields);
    }
    let over: Value = serde_json::from_str(&log.lines("polls succeed again")[0]).unwrap();
    assert!(
        over["failures"].as_u64().unwrap() >= 2 && over["lasted_seconds"].as_u64().unwrap() >= 600
    );
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn each_state_of_a_task_is_one_line_however_often_it_is_polled() {
    let log = Log::listen();
    let task = "{id: '1', resource: cdb-1, at: 5m, life: [{wait: {for: 10m}}, {run: {for: 10m}}, \
                {pause: {for: 10m}}, {run: {for: 10m}}, {finish: {}}]}";
    let lab = Lab::new(&later(&[task]), |_| {});
    lab.minutes(120).await;
    let states =
        ["- pending", "pending running", "running paused", "paused running", "running succeeded"];
    assert_eq!(transitions(&log), states);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_there_at_the_start_is_no_transition() {
    for life in ["[{hang: {}}]", "[{run: {for: 1m}}, {fail: {code: x, message: y}}]"] {
        let log = Log::listen();
        let task = format!("{{id: '1', resource: cdb-1, at: -1h, life: {life}}}");
        let lab = Lab::new(&later(&[&task]), |_| {});
        lab.minutes(30).await;
        assert_eq!(transitions(&log), [""; 0]);
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_log_goes_on_where_it_was() {
    let storage = tempfile::tempdir().unwrap();
    let log = Log::listen();
    let task = "{id: '1', resource: cdb-1, at: 5m, life: [{run: {for: 30m}}, {finish: {}}]}";
    let lab = Lab::stored(&later(&[task]), storage.path(), |_| {}).await;
    lab.minutes(10).await;
    let lab = lab.crash().await.stored(storage.path()).start();
    lab.minutes(10).await;
    assert_eq!(transitions(&log), ["- running"]);
    let setup = lab.crash().await;
    tokio::time::sleep(Duration::from_mins(20)).await;
    let lab = setup.stored(storage.path()).start();
    lab.minutes(10).await;
    assert_eq!(transitions(&log), ["- running", "running succeeded"]);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_tells_nothing_again() {
    let log = Log::listen();
    let task = "{id: '1', resource: cdb-1, at: 5m, life: [{run: {for: 50m}}, {finish: {}}]}";
    let mut lab = Lab::new(&later(&[task]), |_| {});
    let reload = async |lab: &mut Lab, seconds| {
        let interval = Duration::from_secs(seconds);
        let done = lab.reload(|config| config.sources[0].poll.interval = interval).await;
        assert_eq!(done, "0 sources unchanged; changed: one");
    };
    lab.minutes(10).await;
    reload(&mut lab, 11).await;
    lab.minutes(10).await;
    assert_eq!(transitions(&log), ["- running"]);
    lab.inject("one", FaultKind::ServerError);
    lab.minutes(10).await;
    reload(&mut lab, 12).await;
    lab.minutes(10).await;
    assert_eq!(log.lines("polls ").len(), 1, "{}", log.text());
    reload(&mut lab, 13).await;
    lab.cloud.heal("one");
    lab.minutes(50).await;
    assert_eq!(log.lines("polls ").len(), 2, "{}", log.text());
    assert_eq!(log.lines("polls succeed again").len(), 1);
    assert_eq!(transitions(&log), ["- running", "running succeeded"]);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_loses_a_word_now_and_then_does_not_fill_the_log() {
    let log = Log::listen();
    let life = "{say: {for: 1m, word: HUH}}, {run: {for: 1m, to: 0.1}}, ".repeat(60);
    let task = format!(
        "{{id: '1', resource: cdb-1, at: 5m, life: [{{run: {{for: 5m, to: 0.1}}}}, {life} {{finish: {{}}}}]}}"
    );
    let lab = Lab::new(&later(&[&task]), |_| {});
    lab.minutes(150).await;
    let lines = transitions(&log);
    let states = ["- running", "running unknown", "unknown running", "running succeeded"];
    assert_eq!(lines, states);
    assert_eq!(log.lines("vendor_status=HUH").len(), 1);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_two_lines_whatever_becomes_of_the_tasks() {
    let log = Log::listen();
    let tasks: Vec<String> = (0..50)
        .map(|id| format!("{{id: '{id}', resource: cdb-1, at: -1h, life: [{{hang: {{}}}}]}}"))
        .collect();
    let tasks: Vec<&str> = tasks.iter().map(String::as_str).collect();
    let lab = Lab::new(&later(&tasks), |_| {});
    lab.minutes(5).await;
    lab.inject("one", FaultKind::Reset);
    lab.minutes(60).await;
    assert_eq!(lab.state("one", "7"), "unknown");
    lab.cloud.heal("one");
    lab.minutes(60).await;
    assert_eq!(lab.state("one", "7"), "running");
    assert_eq!(log.lines("").len(), 2, "{}", log.text());
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_on_its_worst_day_does_not_fill_the_log() {
    let log = Log::listen();
    let lab = Lab::new(&one_task("tencent_cdb", "[{hang: {}}]"), |_| {});
    lab.minutes(5).await;
    for kind in [FaultKind::Throttle, FaultKind::Html, FaultKind::Reset, FaultKind::Malformed] {
        lab.cloud.inject("one", Fault { share: 0.4, ..Fault::new(kind) });
    }
    lab.minutes(6 * 60).await;
    let failures = lab.sum("dbtask_source_poll_failures_total");
    assert!(failures > 60, "{failures}");
    let lines = log.lines("polls ").len();
    assert!((3..=30).contains(&lines), "{lines} lines for {failures} failures");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn hostile_words_of_a_vendor_cannot_forge_a_line() {
    const HOSTILE: &str = r#""x\nts=2026-01-01T00:00:00Z level=error message=forged \"},{\"a\":1}\r\x1b[2J\L\N\x9b1m""#;
    let task = format!(
        "{{id: '1', resource: cdb-1, kind: {HOSTILE}, at: 5m, life: [{{say: {{for: 5m, word: {HOSTILE}}}}}, \
         {{fail: {{code: {HOSTILE}, message: {HOSTILE}}}}}]}}"
    );
    for format in [Format::Logfmt, Format::Json] {
        let log = Log::listen_in(format);
        let lab = Lab::new(&later(&[&task]), |_| {});
        lab.minutes(30).await;
        let text = log.text();
        assert!(text.matches("forged").count() >= 4, "{text}");
        for line in text.split_inclusive('\n') {
            let line = line.strip_suffix('\n').unwrap();
            assert!(!line.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')));
            match format {
                Format::Logfmt => {
                    assert!(line.starts_with("ts=") && !line.contains("level=error target="));
                    assert_eq!(line.matches(" target=").count(), 1, "{line}");
                }
                Format::Json => {
                    let line: Value = serde_json::from_str(line).unwrap();
                    assert_ne!(line["level"], "ERROR");
                }
            }
        }
        lab.stop().await;
    }
}
