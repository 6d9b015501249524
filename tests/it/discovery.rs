//! Clusters and instances that come and go.

use dbtask_simulator::{Fault, FaultKind};

use crate::support::{Lab, Log};

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

#[tokio::test(start_paused = true)]
async fn while_looking_fails_the_known_clusters_are_polled_on() {
    for kind in [FaultKind::Throttle, FaultKind::ServerError, FaultKind::Malformed] {
        let lab = Lab::new(COMING_AND_GOING, |_| {});
        lab.minutes(1).await;
        let operation = Some("DescribeDBClusters".to_owned());
        lab.cloud.inject("one", Fault { operation, ..Fault::new(kind) });
        lab.minutes(40).await;
        assert!(!lab.snapshot("one").up, "{kind:?}: new clusters may be missing");
        assert_eq!(lab.state("one", "1"), "running", "{kind:?}");
        assert_eq!(lab.state("one", "2"), "-", "{kind:?}");
        lab.cloud.heal("one");
        lab.minutes(6).await;
        assert!(lab.snapshot("one").up, "{kind:?}");
        assert_eq!(lab.state("one", "2"), "failed", "{kind:?}");
        lab.stop().await;
    }
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
