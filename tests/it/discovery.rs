//! Clusters and instances that come and go.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use dbtask_simulator::{Fault, FaultKind};
use http::{Request, Response};

use crate::resources::{ALIBABA, No};
use crate::support::{Lab, Log, silence};

/// PolarDB with a cluster that stays, one that is created after ten minutes, and one that is
/// deleted after an hour; a task runs on each while it is there.
const COMING_AND_GOING: &str = "
sources:
  - name: one
    api: alibaba_polardb
    region: cn-hangzhou
    resources:
      - {id: pc-stays}
      - {id: pc-new, name: shiny, from: 10m}
      - {id: pc-old, until: 1h}
    tasks:
      - {id: '1', resource: pc-stays, kind: RESIZE, life: [{hang: {}}]}
      - {id: '2', resource: pc-new, kind: RESIZE, at: 10m, life: [{run: {for: 3m}}, {fail: {}}]}
      - {id: '3', resource: pc-old, kind: RESIZE, life: [{hang: {}}]}
";

fn configure(config: &mut dbtask_exporter::config::Config, ids: &[&str]) {
    let resource = |id: &&str| dbtask_clouds::model::Resource::new(*id).into();
    config.sources[0].resources = ids.iter().map(resource).collect();
}

fn missing(lab: &Lab) -> u64 {
    lab.value("dbtask_source_resources_missing{source=\"one\"}").unwrap()
}

fn failed_polls(lab: &Lab) -> u64 {
    lab.sum("dbtask_source_poll_failures_total")
}

#[tokio::test(start_paused = true)]
async fn a_new_cluster_appears_within_five_minutes_and_without_a_restart() {
    let lab = Lab::new(COMING_AND_GOING, |_| {});
    lab.minutes(9).await;
    assert_eq!((lab.state("one", "1"), lab.state("one", "2")), ("running", "-"));
    lab.minutes(7).await;
    let task = lab.task("one", "2").unwrap().task;
    assert_eq!((task.state.as_str(), task.resource.name.as_deref()), ("failed", Some("shiny")));
    lab.minutes(6).await;
    let failures = "dbtask_task_failures_total{source=\"one\",task_kind=\"RESIZE\"}";
    assert_eq!(lab.value(failures), Some(1), "though it had failed before the cluster was found");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_cluster_goes_quietly_and_its_tasks_after_a_retention() {
    let log = Log::listen();
    let lab = Lab::new(COMING_AND_GOING, |_| {});
    lab.minutes(59).await;
    assert_eq!(lab.state("one", "3"), "running");
    lab.minutes(2).await;
    assert_eq!(lab.state("one", "3"), "unknown");
    lab.minutes(57).await;
    assert_eq!(lab.state("one", "3"), "unknown");
    lab.minutes(5).await;
    assert_eq!(lab.state("one", "3"), "-");
    assert_eq!((failed_polls(&lab), lab.state("one", "1")), (0, "running"));
    assert_eq!(missing(&lab), 0, "nobody asked for it by name");
    assert_eq!(log.lines("level=warn").len(), 1, "of the task: {:?}", log.lines("level=warn"));
    let refused = lab.cloud.requests().into_iter().filter(|(it, _)| it.outcome == "not_found");
    let refused: u64 = refused.map(|(_, count)| count).sum();
    assert!(refused <= 2, "asked {refused} times for what is not there");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn clusters_are_looked_for_every_five_minutes_whatever_becomes_of_polls() {
    let lab = Lab::new(COMING_AND_GOING, |_| {});
    lab.minutes(61).await;
    assert_eq!(lab.calls("DescribeDBClusters"), 13);
    let tasks = Some("DescribeTasks".to_owned());
    lab.cloud.inject("one", Fault { operation: tasks, ..Fault::new(FaultKind::Malformed) });
    lab.minutes(60).await;
    let calls = lab.calls("DescribeDBClusters") - 13;
    assert!((11..=13).contains(&calls), "{calls} calls in an hour of failing polls");
    lab.stop().await;
}

/// From this minute on looking is refused, until that one.
const FROM: u64 = 4;
const UNTIL: u64 = 60;

fn is_search(request: &Request<Bytes>) -> bool {
    request.headers().get("x-acs-action").is_some_and(|it| it == "DescribeDBClusters")
}

/// Answers the searches of these minutes so.
fn searches(
    minutes: Range<u64>,
    answer: impl Fn() -> Response<Bytes> + Send + Sync + 'static,
) -> impl Fn(Duration, &Request<Bytes>) -> Option<Response<Bytes>> + Send + Sync + 'static {
    move |elapsed, request| {
        (minutes.contains(&(elapsed.as_secs() / 60)) && is_search(request)).then(&answer)
    }
}

fn failing(lab: &Lab, reason: &str) -> Option<u64> {
    let labels = format!("source=\"one\",reason=\"{reason}\"");
    lab.value(&format!("dbtask_source_discovery_failing{{{labels}}}"))
}

/// Searches sent, whatever became of them.
fn calls(lab: &Lab) -> u64 {
    let labels = "operation=\"DescribeDBClusters\",source=\"one\"";
    lab.value(&format!("dbtask_api_requests_total{{{labels}}}")).unwrap()
}

fn polls(lab: &Lab) -> u64 {
    lab.value("dbtask_source_polls_total{source=\"one\"}").unwrap()
}

fn failures(lab: &Lab) -> u64 {
    lab.sum("dbtask_task_failures_total")
}

const THROTTLED: No = No { status: 400, code: "Throttling.User", reason: "throttled" };
const REFUSED: No = No { status: 403, code: "Forbidden.RAM", reason: "auth" };

#[tokio::test(start_paused = true)]
async fn a_discovery_that_fails_in_any_way_slows_no_known_cluster_and_is_shown_by_itself() {
    for &no in ALIBABA.iter().chain([&THROTTLED]) {
        let log = Log::listen();
        let lab = Lab::through(
            COMING_AND_GOING,
            // What ended unseen is sought however long ago that was.
            |config| config.sources[0].poll.lookback = Duration::from_mins(1),
            searches(FROM..UNTIL, move || no.answer()),
        );
        lab.minutes(FROM).await;
        assert_eq!(lab.sum("dbtask_source_discovery_failing"), 0, "{no:?}");
        // What is throttled goes on as before, until it has become too much.
        lab.minutes(18).await;
        let (before, calls) = (polls(&lab), calls(&lab));
        for minute in FROM + 18..UNTIL - 1 {
            let snapshot = lab.snapshot("one");
            assert!(snapshot.up, "{no:?} in minute {minute}: {:?}", snapshot.last_error);
            assert_eq!(failing(&lab, no.reason), Some(1), "{no:?} in minute {minute}");
            let shown = snapshot.failing_discovery.clone().unwrap();
            assert_eq!((shown.operation, shown.reason.as_str()), ("DescribeDBClusters", no.reason));
            assert_eq!((lab.state("one", "1"), lab.state("one", "2")), ("running", "-"), "{no:?}");
            lab.minutes(1).await;
        }
        let minutes = UNTIL - 1 - FROM - 18;
        let polled = polls(&lab) - before;
        assert!((2 * minutes - 2..=2 * minutes + 1).contains(&polled), "{no:?}: {polled} polls");
        let calls = self::calls(&lab) - calls;
        let most = if no.reason == "throttled" { 2 * minutes } else { minutes / 4 };
        assert!((2..=most).contains(&calls), "{no:?}: {calls} calls");
        assert_eq!((failed_polls(&lab), lab.sum("dbtask_source_resources_failing")), (0, 0));
        let lines = log.lines("clusters cannot be looked for");
        assert_eq!(lines.len(), 1, "{no:?}: {}", log.text());
        let reason = format!("reason={}", no.reason);
        assert!(lines[0].contains(&reason) && lines[0].contains("operation=DescribeDBClusters"));
        lab.scrape_by(1);
        lab.minutes(18).await;
        assert_eq!(lab.sum("dbtask_source_discovery_failing"), 0, "{no:?}");
        assert_eq!(
            log.lines("clusters can be looked for again").len(),
            1,
            "{no:?}: {}",
            log.text()
        );
        assert_eq!(lab.state("one", "2"), "failed", "{no:?}: it failed 47 minutes ago");
        lab.minutes(6).await;
        assert_eq!(failures(&lab), 1, "{no:?}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn before_any_cluster_is_known_a_discovery_that_fails_takes_the_source_down() {
    for &no in ALIBABA.iter().chain([&THROTTLED]) {
        let lab = Lab::through(COMING_AND_GOING, |_| {}, searches(0..FROM, move || no.answer()));
        lab.minutes(FROM - 1).await;
        let snapshot = lab.snapshot("one");
        assert_eq!((snapshot.up, snapshot.last_error_reason), (false, Some(no.reason)), "{no:?}");
        assert!(snapshot.last_error.as_ref().unwrap().starts_with("DescribeDBClusters"));
        assert_eq!(lab.sum("dbtask_source_discovery_failing"), 0, "{no:?}");
        lab.minutes(16).await;
        assert!(lab.snapshot("one").up, "{no:?}");
        assert_eq!(lab.state("one", "1"), "running", "{no:?}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_discovery_finds_refused_is_the_trouble_of_the_source() {
    let no = No { status: 404, code: "InvalidAccessKeyId.NotFound", reason: "auth" };
    let lab = Lab::through(
        COMING_AND_GOING,
        |_| {},
        move |elapsed, _| (elapsed >= Duration::from_mins(5)).then(|| no.answer()),
    );
    lab.minutes(4).await;
    assert!(lab.snapshot("one").up);
    lab.minutes(4).await;
    let snapshot = lab.snapshot("one");
    assert_eq!((snapshot.up, snapshot.last_error_reason), (false, Some("auth")));
    assert_eq!(lab.sum("dbtask_source_discovery_failing"), 0);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_answers_nothing_at_all_is_the_trouble_of_the_source() {
    let lab = Lab::through(
        COMING_AND_GOING,
        |_| {},
        |elapsed, _| (elapsed >= Duration::from_mins(5)).then(silence),
    );
    lab.minutes(15).await;
    let snapshot = lab.snapshot("one");
    assert_eq!((snapshot.up, snapshot.last_error_reason), (false, Some("timeout")));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn clusters_found_before_a_restart_or_a_reload_are_polled_on_while_discovery_fails() {
    for reload in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let refused = searches(FROM..UNTIL, || REFUSED.answer());
        let setup = Lab::through(COMING_AND_GOING, |_| {}, refused).crash().await;
        let mut setup = setup.stored(folder.path());
        setup.config.sources[0].poll.lookback = Duration::from_mins(1);
        let mut lab = setup.start();
        lab.minutes(30).await;
        if reload {
            lab.reload(|config| config.sources[0].retention.failed = Duration::from_hours(9)).await;
        } else {
            lab = lab.crash().await.start();
        }
        let before = polls(&lab);
        for _ in 0..15 {
            lab.minutes(1).await;
            let snapshot = lab.snapshot("one");
            assert!(snapshot.up, "reload {reload}: {:?}", snapshot.last_error);
            assert_eq!(lab.state("one", "1"), "running");
        }
        assert!(polls(&lab) - before >= 29, "reload {reload}");
        assert_eq!(failing(&lab, "auth"), Some(1), "reload {reload}");
        lab.scrape_by(1);
        lab.minutes(32).await;
        assert_eq!(lab.state("one", "2"), "failed", "reload {reload}: it failed long before");
        lab.minutes(6).await;
        assert_eq!(failures(&lab), 1, "reload {reload}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_tags_are_looked_for_anew() {
    let mut lab = Lab::new(COMING_AND_GOING, |_| {});
    lab.minutes(3).await;
    lab.inject("one", FaultKind::ServerError);
    lab.reload(|config| config.sources[0].tags = vec![("team".into(), "a".into())]).await;
    let before = lab.calls("DescribeTasks");
    lab.minutes(5).await;
    assert_eq!(lab.calls("DescribeTasks"), before, "others may be meant");
    assert!(!lab.snapshot("one").up);
    lab.stop().await;
}

/// A list of clusters that shows none, or one.
fn few(clusters: &[&str]) -> Response<Bytes> {
    let rows: Vec<String> =
        clusters.iter().map(|id| format!(r#"{{"DBClusterId":"{id}"}}"#)).collect();
    let body = format!(
        r#"{{"Items":{{"DBCluster":[{}]}},"TotalRecordCount":{},"PageRecordCount":{},"PageNumber":1,"RequestId":"x"}}"#,
        rows.join(","),
        rows.len(),
        rows.len()
    );
    Response::new(body.into())
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_left_out_by_mistake_stays_until_its_unfinished_tasks_have_ended() {
    let scenario = "
sources:
  - name: one
    api: alibaba_polardb
    region: cn-hangzhou
    resources: [{id: pc-busy}, {id: pc-idle}]
    tasks:
      - {id: '1', resource: pc-busy, kind: RESIZE, life: [{run: {for: 20m}}, {fail: {}}]}
      - {id: '2', resource: pc-idle, kind: RESIZE, at: 30m, life: [{run: {for: 3m}}, {fail: {}}]}
";
    for left in [&[][..], &["pc-idle"]] {
        let lab = Lab::through(scenario, |_| {}, searches(FROM..UNTIL, move || few(left)));
        for minute in 2..20 {
            lab.minutes(if minute == 2 { 2 } else { 1 }).await;
            assert_eq!(lab.state("one", "1"), "running", "{left:?} in minute {minute}");
        }
        lab.minutes(2).await;
        assert_eq!(lab.state("one", "1"), "failed", "{left:?}");
        lab.minutes(7).await;
        let calls = lab.calls("DescribeTasks");
        lab.minutes(30).await;
        if left.is_empty() {
            assert_eq!(lab.calls("DescribeTasks"), calls, "it has gone since");
            assert_eq!(lab.state("one", "2"), "-");
        }
        lab.scrape_by(1);
        lab.minutes(10).await;
        assert_eq!(lab.state("one", "2"), "failed", "{left:?}");
        lab.minutes(6).await;
        assert_eq!(failures(&lab), 2, "{left:?}");
        assert_eq!((failed_polls(&lab), lab.sum("dbtask_source_coverage_gaps_total")), (0, 0));
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_left_out_and_cannot_be_asked_is_let_go() {
    let lab = Lab::through(
        COMING_AND_GOING,
        |_| {},
        |elapsed, request| {
            let is_old = request.uri().to_string().contains("DBClusterId=pc-old");
            let late = elapsed >= Duration::from_mins(FROM);
            let answer = if is_search(request) { few(&["pc-stays"]) } else { REFUSED.answer() };
            (late && (is_old || is_search(request))).then_some(answer)
        },
    );
    lab.minutes(FROM + 10).await;
    assert_eq!((lab.state("one", "1"), lab.state("one", "3")), ("running", "unknown"));
    assert_eq!(lab.sum("dbtask_source_resources_failing"), 0);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_page_of_clusters_is_read() {
    let scenario = "
sources:
  - name: one
    api: alibaba_polardb
    region: cn-hangzhou
    resources: [{id: pc-, count: 230}]
    tasks:
      - {id: '1', resource: pc-0001, kind: RESIZE, life: [{hang: {}}]}
      - {id: '2', resource: pc-0230, kind: RESIZE, life: [{hang: {}}]}
";
    let lab = Lab::new(scenario, |_| {});
    lab.minutes(4).await;
    assert_eq!((lab.state("one", "1"), lab.state("one", "2")), ("running", "running"));
    assert_eq!(lab.calls("DescribeDBClusters"), 3);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_configured_resource_that_is_deleted_is_named_and_the_others_go_on() {
    let log = Log::listen();
    let lab = Lab::new(COMING_AND_GOING, |config| configure(config, &["pc-stays", "pc-old"]));
    lab.minutes(59).await;
    assert_eq!((lab.state("one", "1"), lab.state("one", "3")), ("running", "running"));
    assert_eq!((lab.state("one", "2"), missing(&lab)), ("-", 0), "only what is configured");
    lab.minutes(2).await;
    assert_eq!((lab.state("one", "1"), lab.state("one", "3")), ("running", "unknown"));
    assert_eq!(missing(&lab), 1);
    assert_eq!(*lab.snapshot("one").missing_resources, ["pc-old".into()]);
    lab.minutes(90).await;
    assert_eq!((lab.state("one", "1"), lab.state("one", "3")), ("running", "-"));
    assert_eq!((missing(&lab), failed_polls(&lab)), (1, 0));
    let lines = log.lines("does not know this resource");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("resource_id=pc-old"), "{lines:?}");
    assert_eq!(lab.calls("DescribeDBClusters"), 0, "what is configured needs no discovery");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_configured_resource_that_is_created_later_is_watched_from_then_on() {
    let log = Log::listen();
    let lab = Lab::new(COMING_AND_GOING, |config| configure(config, &["pc-stays", "pc-new"]));
    lab.minutes(9).await;
    assert_eq!(missing(&lab), 1);
    lab.minutes(3).await;
    assert_eq!((missing(&lab), lab.state("one", "2")), (0, "running"));
    assert_eq!(log.lines("knows this resource again").len(), 1);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn where_no_configured_resource_is_left_the_polls_fail_and_the_tasks_still_go() {
    let lab = Lab::new(COMING_AND_GOING, |config| configure(config, &["pc-old"]));
    lab.minutes(59).await;
    assert!(lab.snapshot("one").up);
    lab.minutes(2).await;
    assert!(!lab.snapshot("one").up, "nothing is watched any more");
    assert_eq!((missing(&lab), lab.state("one", "3")), (1, "unknown"));
    lab.minutes(61).await;
    assert_eq!(lab.state("one", "3"), "-");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_configured_instance_of_a_regional_list_may_be_deleted_too() {
    for (api, kept, old) in [("tencent_cdb", "cdb-1", "cdb-2"), ("tencent_redis", "crs-1", "crs-2")]
    {
        let scenario = format!(
            "
sources:
  - name: one
    api: {api}
    region: ap-guangzhou
    resources: [{{id: {kept}}}, {{id: {old}, until: 1h}}]
    tasks:
      - {{id: '1', resource: {kept}, life: [{{hang: {{}}}}]}}
      - {{id: '2', resource: {old}, life: [{{run: {{for: 1h}}}}, {{vanish: {{}}}}]}}
"
        );
        let lab = Lab::new(&scenario, |config| configure(config, &[kept, old]));
        lab.minutes(59).await;
        assert_eq!((lab.state("one", "1"), lab.state("one", "2")), ("running", "running"), "{api}");
        lab.minutes(2).await;
        assert_eq!((lab.state("one", "1"), lab.state("one", "2")), ("running", "unknown"), "{api}");
        lab.minutes(70).await;
        assert_eq!((lab.state("one", "1"), lab.state("one", "2")), ("running", "-"), "{api}");
        assert_eq!((missing(&lab), failed_polls(&lab)), (1, 0), "{api}");
        lab.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_cluster_of_analyticdb_shows_its_job_under_an_id_made_of_what_is_known() {
    let scenario = "
sources:
  - name: one
    api: alibaba_adb
    region: cn-hangzhou
    resources: [{id: am-1}, {id: amv-2, from: 10m, until: 30m}]
    tasks: [{id: job, resource: amv-2, kind: ScaleOut, at: 10m, life: [{wait: {for: 2m}}, {hang: {}}]}]
";
    let lab = Lab::new(scenario, |_| {});
    lab.minutes(11).await;
    assert_eq!(lab.snapshot("one").tasks.len(), 0, "before its first step it has no lasting id");
    lab.minutes(4).await;
    let started = "2026-09-21T14:25:20Z";
    let id = format!("amv-2/ScaleOut/{started}");
    assert_eq!(lab.state("one", &id), "running", "{:?}", lab.snapshot("one").tasks);
    lab.minutes(17).await;
    assert_eq!(lab.state("one", &id), "unknown", "deleted with its cluster");
    lab.minutes(63).await;
    assert_eq!(lab.state("one", &id), "-");
    assert_eq!(failed_polls(&lab), 0);
    lab.stop().await;
}
