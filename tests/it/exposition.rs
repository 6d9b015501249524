//! From snapshots to what Prometheus reads.

use std::sync::Arc;
use std::time::Duration;

use dbtask_clouds::model::{Origin, Ratio, Resource, Step, Task, TaskError, TaskState};
use dbtask_exporter::metrics::{
    self, Encoding, Exposition, FAMILIES, Format, Instruments, Metrics, Samples,
};
use dbtask_exporter::snapshot::{Snapshot, SourceInfo, Store};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::exposed::{NOW, Parsed, failed, gunzip, seen, snapshot, source, step, task, time};

fn exposition(snapshots: Vec<Snapshot>) -> Exposition {
    Exposition::new(snapshots.into_iter().map(Arc::new).collect(), None)
}

/// What the snapshots alone look like.
fn text(snapshots: Vec<Snapshot>) -> String {
    let mut text = Vec::new();
    exposition(snapshots).for_each_chunk(|chunk| text.extend_from_slice(chunk));
    String::from_utf8(text).unwrap()
}

fn scrape(metrics: &Metrics, format: Format, encoding: Encoding) -> Vec<u8> {
    let scrape = metrics.scrape(format, encoding);
    let bytes: Vec<_> = scrape.body.flatten().collect();
    assert_eq!(bytes.len() as u64, scrape.length);
    bytes
}

/// The lines of one family, without its header.
fn lines<'a>(text: &'a str, family: &str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| line.strip_prefix(family))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .collect()
}

#[test]
fn a_running_task_with_all_there_is_to_say() {
    let mut running = task("225685759");
    running.origin = Origin::Registered;
    running.steps = [step("Prepare", 1.0), step("Copy", 0.5), step("Copy", 0.0)].into();
    assert_eq!(
        text(vec![snapshot(source("mysql"), vec![running])]),
        r#"# HELP dbtask_task_info What a task is and works on; always 1, as of the last poll.
# TYPE dbtask_task_info gauge
dbtask_task_info{source="mysql",task_id="225685759",resource_id="cdb-qlfpnobr",resource_name="orders",task_kind="ONLINE UPGRADE",origin="registered"} 1
# HELP dbtask_task_state 1 for the state of the task at the last poll, 0 for every other state.
# TYPE dbtask_task_state gauge
dbtask_task_state{source="mysql",task_id="225685759",state="pending"} 0
dbtask_task_state{source="mysql",task_id="225685759",state="running"} 1
dbtask_task_state{source="mysql",task_id="225685759",state="paused"} 0
dbtask_task_state{source="mysql",task_id="225685759",state="succeeded"} 0
dbtask_task_state{source="mysql",task_id="225685759",state="failed"} 0
dbtask_task_state{source="mysql",task_id="225685759",state="canceled"} 0
dbtask_task_state{source="mysql",task_id="225685759",state="unknown"} 0
# HELP dbtask_task_vendor_status The vendor's own word for the task's status at the last poll; always 1.
# TYPE dbtask_task_vendor_status gauge
dbtask_task_vendor_status{source="mysql",task_id="225685759",status="RUNNING"} 1
# HELP dbtask_task_progress_ratio How far the task was at the last poll, 0 to 1; absent if the vendor does not say.
# TYPE dbtask_task_progress_ratio gauge
dbtask_task_progress_ratio{source="mysql",task_id="225685759"} 0.37
# HELP dbtask_task_remaining_seconds Time left as the vendor estimated it at the last poll; absent if the vendor does not say.
# TYPE dbtask_task_remaining_seconds gauge
dbtask_task_remaining_seconds{source="mysql",task_id="225685759"} 90
# HELP dbtask_task_estimated_end_timestamp_seconds When a running task should end, by the vendor's time left or by its pace; absent if not known.
# TYPE dbtask_task_estimated_end_timestamp_seconds gauge
dbtask_task_estimated_end_timestamp_seconds{source="mysql",task_id="225685759"} 1772352090
# HELP dbtask_task_created_timestamp_seconds When the task was asked for, as of the last poll; absent if the vendor does not say.
# TYPE dbtask_task_created_timestamp_seconds gauge
dbtask_task_created_timestamp_seconds{source="mysql",task_id="225685759"} 1772351300
# HELP dbtask_task_start_timestamp_seconds When the cloud began to work on the task, as of the last poll; absent if not known.
# TYPE dbtask_task_start_timestamp_seconds gauge
dbtask_task_start_timestamp_seconds{source="mysql",task_id="225685759"} 1772351400
# HELP dbtask_task_progress_changed_timestamp_seconds When the task's state, progress or steps were last seen to change.
# TYPE dbtask_task_progress_changed_timestamp_seconds gauge
dbtask_task_progress_changed_timestamp_seconds{source="mysql",task_id="225685759"} 1772351970
# HELP dbtask_task_last_seen_timestamp_seconds When a poll last found the task.
# TYPE dbtask_task_last_seen_timestamp_seconds gauge
dbtask_task_last_seen_timestamp_seconds{source="mysql",task_id="225685759"} 1772352000
# HELP dbtask_task_step_progress_ratio How far a step of the task was at the last poll, 0 to 1; absent if not reported.
# TYPE dbtask_task_step_progress_ratio gauge
dbtask_task_step_progress_ratio{source="mysql",task_id="225685759",step="Prepare"} 1
dbtask_task_step_progress_ratio{source="mysql",task_id="225685759",step="Copy"} 0.5
dbtask_task_step_progress_ratio{source="mysql",task_id="225685759",step="Copy #2"} 0
# HELP dbtask_task_step_remaining_seconds Time left for a step as the vendor estimated it at the last poll; absent if not reported.
# TYPE dbtask_task_step_remaining_seconds gauge
dbtask_task_step_remaining_seconds{source="mysql",task_id="225685759",step="Prepare"} 1.5
dbtask_task_step_remaining_seconds{source="mysql",task_id="225685759",step="Copy"} 1.5
dbtask_task_step_remaining_seconds{source="mysql",task_id="225685759",step="Copy #2"} 1.5
# HELP dbtask_tasks Tasks in each state at the last poll, those included that the limit hides.
# TYPE dbtask_tasks gauge
dbtask_tasks{source="mysql",state="pending"} 0
dbtask_tasks{source="mysql",state="running"} 1
dbtask_tasks{source="mysql",state="paused"} 0
dbtask_tasks{source="mysql",state="succeeded"} 0
dbtask_tasks{source="mysql",state="failed"} 0
dbtask_tasks{source="mysql",state="canceled"} 0
dbtask_tasks{source="mysql",state="unknown"} 0
# HELP dbtask_source_info What the source is; always 1.
# TYPE dbtask_source_info gauge
dbtask_source_info{source="mysql",cloud="tencent",api="tencent_cdb",cloud_region="ap-guangzhou",account="tencent-prod"} 1
# HELP dbtask_source_up Whether the last poll went well; 0 before the first.
# TYPE dbtask_source_up gauge
dbtask_source_up{source="mysql"} 1
# HELP dbtask_source_last_success_timestamp_seconds When a poll last went well; absent before the first that did.
# TYPE dbtask_source_last_success_timestamp_seconds gauge
dbtask_source_last_success_timestamp_seconds{source="mysql"} 1772352000
# HELP dbtask_source_poll_interval_seconds How far apart polls begin: the interval in force, or the time that a poll takes if that is longer.
# TYPE dbtask_source_poll_interval_seconds gauge
dbtask_source_poll_interval_seconds{source="mysql"} 30
# HELP dbtask_source_last_poll_duration_seconds How long the last poll took; absent before the first.
# TYPE dbtask_source_last_poll_duration_seconds gauge
dbtask_source_last_poll_duration_seconds{source="mysql"} 0.25
# HELP dbtask_source_tasks_truncated Tasks that the limit hid at the last poll.
# TYPE dbtask_source_tasks_truncated gauge
dbtask_source_tasks_truncated{source="mysql"} 0
# HELP dbtask_source_resources_missing Configured clusters or instances that the vendor did not know at the last poll.
# TYPE dbtask_source_resources_missing gauge
dbtask_source_resources_missing{source="mysql"} 0
"#
    );
}

#[test]
fn a_failed_task_shows_its_code_and_end_but_never_its_message() {
    let text = text(vec![snapshot(source("mysql"), vec![failed("7")])]);
    let labels = r#"{source="mysql",task_id="7",code="DiskFull"} 1"#;
    assert_eq!(lines(&text, "dbtask_task_error_info"), [labels]);
    let labels = r#"{source="mysql",task_id="7"} 1772351940"#;
    assert_eq!(lines(&text, "dbtask_task_end_timestamp_seconds"), [labels]);
    assert!(!text.contains("no space left"));
    assert!(!text.contains("estimated_end"));
}

#[test]
fn an_error_is_shown_of_failed_tasks_only_and_cut_at_64_bytes() {
    let mut recovered = failed("1");
    recovered.state = TaskState::Succeeded;
    let mut verbose = failed("2");
    verbose.error =
        Some(Box::new(TaskError { code: "磁".repeat(30).into(), message: Box::default() }));
    let text = text(vec![snapshot(source("mysql"), vec![recovered, verbose])]);
    let code = "磁".repeat(21);
    assert_eq!(
        lines(&text, "dbtask_task_error_info"),
        [format!(r#"{{source="mysql",task_id="2",code="{code}"}} 1"#)]
    );
}

#[test]
fn what_is_not_known_has_no_series() {
    let bare = Task::new("7", TaskState::Unknown, "");
    let mut never = Snapshot::before_first_poll(source("never"), Duration::from_mins(2));
    never.credentials_expiry = Some(time(NOW));
    let text = text(vec![snapshot(source("mysql"), vec![bare]), never]);
    for family in [
        "dbtask_task_vendor_status",
        "dbtask_task_progress_ratio",
        "dbtask_task_remaining_seconds",
        "dbtask_task_created_timestamp_seconds",
        "dbtask_task_step_progress_ratio",
        "dbtask_task_error_info",
    ] {
        assert!(!text.contains(family), "{family}");
    }
    assert_eq!(
        lines(&text, "dbtask_source_up"),
        [r#"{source="mysql"} 1"#, r#"{source="never"} 0"#]
    );
    assert_eq!(lines(&text, "dbtask_source_last_poll_duration_seconds").len(), 1);
    let expiry = lines(&text, "dbtask_source_credentials_expiry_timestamp_seconds");
    assert_eq!(expiry, [r#"{source="never"} 1772352000"#]);
}

#[test]
fn a_source_can_do_without_series_for_tasks() {
    let quiet = SourceInfo { per_task_metrics: false, ..(*source("mysql")).clone() };
    let text = text(vec![snapshot(Arc::new(quiet), vec![task("7")])]);
    assert!(!text.contains("task_id"));
    assert!(text.contains("dbtask_tasks{source=\"mysql\",state=\"running\"} 1\n"));
}

#[test]
fn a_task_id_is_never_cut_and_other_labels_are() {
    let id = "x".repeat(300);
    let mut long = task(&id);
    long.resource = Arc::new(Resource::new("é".repeat(100)));
    let parsed = Parsed::new(&text(vec![snapshot(source("mysql"), vec![long])]), false);
    assert!(parsed.label("task_id").all(|value| value == id));
    assert!(parsed.label("resource_id").all(|value| value == "é".repeat(64)));
}

#[test]
fn both_formats_hold_the_same_series() {
    let metrics = Metrics::new(Instruments::new().unwrap());
    let source = source("mysql");
    metrics.instruments.declare_source(&source, &["DescribeTasks"]);
    metrics.instruments.declare_kind("mysql", "BACKUP", true);
    metrics.replace(exposition(vec![snapshot(source, vec![task("1"), failed("2")])]));
    let text = scrape(&metrics, Format::Text, Encoding::Identity);
    let open = scrape(&metrics, Format::OpenMetrics, Encoding::Identity);
    let text = Parsed::new(std::str::from_utf8(&text).unwrap(), false);
    let open = Parsed::new(std::str::from_utf8(&open).unwrap(), true);
    assert!(text.series.keys().eq(open.series.keys()));
    for (name, (help, kind)) in &text.families {
        let suffix = if kind == "counter" { "_total" } else { "" };
        let row = FAMILIES.iter().find(|family| family.name == name);
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        assert_eq!((row.help, row.kind.as_str()), (&**help, &**kind));
        assert!(open.families.contains_key(name.strip_suffix(suffix).unwrap()), "{name}");
    }
}

#[test]
fn counters_are_fresh_although_snapshots_are_not() {
    let metrics = Metrics::new(Instruments::new().unwrap());
    metrics.replace(exposition(vec![snapshot(source("mysql"), vec![task("1")])]));
    metrics.instruments.poll_finished("mysql", None);
    let text = gunzip(&scrape(&metrics, Format::Text, Encoding::Gzip));
    assert_eq!(lines(&text, "dbtask_source_polls_total"), [r#"{source="mysql"} 1"#]);
}

#[test]
fn labels_are_rewritten_for_changed_snapshots_alone() {
    let kept = Arc::new(snapshot(source("a"), vec![task("1")]));
    let old = Exposition::new(
        vec![Arc::clone(&kept), Arc::new(snapshot(source("b"), vec![task("2")]))],
        None,
    );
    let new = Arc::new(snapshot(source("b"), vec![task("3")]));
    let new = Exposition::new(vec![kept, new], Some(&old));
    let mut text = Vec::new();
    new.for_each_chunk(|chunk| text.extend_from_slice(chunk));
    let text = String::from_utf8(text).unwrap();
    assert_eq!(
        lines(&text, "dbtask_task_last_seen_timestamp_seconds"),
        [r#"{source="a",task_id="1"} 1772352000"#, r#"{source="b",task_id="3"} 1772352000"#]
    );
}

#[test]
fn thousands_of_tasks_come_in_chunks() {
    let tasks = (0..3000).map(|i| task(&format!("{i:020}"))).collect();
    let metrics = Metrics::new(Instruments::new().unwrap());
    metrics.replace(exposition(vec![snapshot(source("mysql"), tasks)]));
    let scrape = metrics.scrape(Format::OpenMetrics, Encoding::Identity);
    // Kept, so that no buffer can be used again before it has been sent.
    let kept: Vec<_> = scrape.body.collect();
    assert!(kept.len() > 20 && kept.iter().all(|chunk| chunk.len() <= 256 * 1024));
    let parsed = Parsed::new(std::str::from_utf8(&kept.concat()).unwrap(), true);
    assert_eq!(parsed.label("task_id").count(), 3000 * 16);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_polls_is_published_at_once_and_then_a_second_later() {
    let store = Arc::new(Store::default());
    let metrics = Arc::new(Metrics::new(Instruments::new().unwrap()));
    let stop = CancellationToken::new();
    let publisher =
        tokio::spawn(metrics::publish(Arc::clone(&store), Arc::clone(&metrics), stop.clone()));
    let shown = || {
        let text = scrape(&metrics, Format::Text, Encoding::Identity);
        let text = String::from_utf8(text).unwrap();
        lines(&text, "dbtask_source_up").len()
    };
    store.publish(snapshot(source("a"), Vec::new()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(shown(), 1);
    for name in ["b", "c", "d"] {
        store.publish(snapshot(source(name), Vec::new()));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(shown(), 1);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(shown(), 4);
    stop.cancel();
    publisher.await.unwrap();
}

#[test]
fn the_documentation_lists_every_metric() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = metrics::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/metrics.md is old: UPDATE_DOCS=1 cargo test documentation");
}

#[test]
fn the_documentation_has_room_for_every_family() {
    let page = metrics::reference();
    assert_eq!(page.matches("\n| `").count(), FAMILIES.len());
    assert!(FAMILIES.iter().any(|family| matches!(family.samples, Samples::Registry)));
}

/// Text that wants to break out of its quotes.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{0,2}",
        "[\\\\\"\n{},= #\t\u{1}é备🚀a]{0,40}",
        any::<String>(),
        Just("\"} 1\n# EOF\n".to_owned()),
        Just("\\".repeat(200)),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    (hostile(), option::of(-1.0..2.0), option::of(any::<u32>())).prop_map(
        |(name, progress, left)| Step {
            state: None,
            name: name.into(),
            progress: progress.and_then(Ratio::clamped),
            remaining: left.map(|ms| Duration::from_millis(ms.into())),
        },
    )
}

fn any_task() -> impl Strategy<Value = Task> {
    let words = (hostile(), hostile(), hostile(), option::of(hostile()), hostile(), hostile());
    let times = (option::of(any::<i64>()), option::of(any::<u64>()), option::of(0.0..1.0));
    (words, times, 0..7_usize, vec(any_step(), 0..5)).prop_map(
        |(
            (id, kind, resource, name, status, code),
            (started, remaining, progress),
            state,
            steps,
        )| {
            let mut task = Task::new(id, TaskState::ALL[state], status);
            task.kind = kind.into();
            task.resource = Arc::new(Resource { id: resource.into(), name: name.map(Into::into) });
            task.progress = progress.and_then(Ratio::clamped);
            task.remaining = remaining.map(Duration::from_secs);
            task.started = started.and_then(dbtask_clouds::model::Timestamp::from_second);
            task.steps = steps.into();
            task.error = Some(Box::new(TaskError { code: code.into(), message: "secret".into() }));
            task
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_vendor_can_break_the_exposition(
        sources in vec(("[a-zA-Z0-9_.-]{1,64}", vec(any_task(), 0..12), hostile()), 0..4),
    ) {
        let metrics = Metrics::new(Instruments::new().unwrap());
        let store = Store::default();
        let mut ids = 0;
        for (name, mut tasks, region) in sources {
            tasks.sort_by(|a, b| a.id.cmp(&b.id));
            let info = SourceInfo { region, ..(*source(&name)).clone() };
            metrics.instruments.declare_source(&info, &["DescribeTasks"]);
            for task in &tasks {
                metrics.instruments.declare_kind(&name, &task.kind, true);
                metrics.instruments.tasks_ended(&name, &task.kind, task.state, 1);
            }
            let mut shown = snapshot(Arc::new(info), Vec::new());
            shown.tasks = tasks.into_iter().map(seen).collect();
            store.publish(shown);
        }
        let snapshots = store.snapshots();
        for snapshot in &snapshots {
            let mut unique: Vec<_> = snapshot.tasks.iter().map(|t| t.task.id.clone()).collect();
            unique.dedup();
            ids += unique.len();
        }
        metrics.replace(Exposition::new(snapshots, None));
        for (format, open_metrics) in [(Format::Text, false), (Format::OpenMetrics, true)] {
            let plain = scrape(&metrics, format, Encoding::Identity);
            let plain = String::from_utf8(plain).unwrap();
            let parsed = Parsed::new(&plain, open_metrics);
            let infos = parsed.series.keys().filter(|(name, _)| name == "dbtask_task_info").count();
            prop_assert_eq!(infos, ids);
            prop_assert!(!plain.contains("secret"));
            for label in ["resource_id", "resource_name", "task_kind", "status", "step", "code"] {
                prop_assert!(parsed.label(label).all(|value| value.len() <= 128));
            }
            // The process' own metrics move on between two scrapes.
            let ours = |text: &str| -> Vec<String> {
                text.lines().filter(|line| !line.contains("process_")).map(str::to_owned).collect()
            };
            let packed = gunzip(&scrape(&metrics, format, Encoding::Gzip));
            prop_assert_eq!(ours(&plain), ours(&packed));
        }
    }
}
