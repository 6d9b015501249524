//! What is promised when vendors answer oddly, or not at all.

use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::model::Resource;
use dbtask_simulator::{Fault, FaultKind};
use http::{Request, Response, StatusCode};

use crate::support::{Lab, one_task};

fn refused(status: StatusCode, body: &'static str) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
}

fn is_for(request: &Request<Bytes>, action: &str) -> bool {
    ["x-acs-action", "x-tc-action"]
        .iter()
        .any(|name| request.headers().get(*name).is_some_and(|value| value == action))
}

#[tokio::test(start_paused = true)]
async fn a_redis_task_that_nobody_knows_any_more_is_gone_and_no_failed_poll() {
    let lab = Lab::new(&one_task("tencent_redis", "[{run: {for: 10m}}, {vanish: {}}]"), |_| {});
    lab.minutes(11).await;
    assert_eq!(lab.state("one", "1"), "unknown");
    assert!(lab.snapshot("one").up, "{:?}", lab.snapshot("one").last_error);
    lab.minutes(63).await;
    assert_eq!(lab.state("one", "1"), "-");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_list_is_no_reason_to_ask_for_each_task() {
    let tasks: Vec<String> = (1..=50)
        .map(|id| format!("      - {{id: '{id}', resource: crs-1, life: [{{hang: {{}}}}]}}\n"))
        .collect();
    let scenario = format!(
        "sources:\n  - name: one\n    api: tencent_redis\n    region: ap-guangzhou\n    resources: [{{id: crs-1}}]\n    tasks:\n{}",
        tasks.concat()
    );
    let lab = Lab::new(&scenario, |_| {});
    lab.minutes(1).await;
    let list = Some("DescribeTaskList".to_owned());
    let fault = Fault { operation: list, ..Fault::new(FaultKind::Malformed) };
    lab.cloud.inject("one", fault);
    lab.minutes(10).await;
    assert_eq!(lab.calls("DescribeTaskInfo"), 0);
    assert_eq!(lab.state("one", "7"), "running");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_asked_for_its_text_once_though_it_is_listed_longer_than_it_is_shown() {
    let life = "[{run: {for: 10m}}, {fail: {}}]";
    let lab = Lab::new(&one_task("tencent_redis", life), |config| {
        config.sources[0].retention.failed = Duration::from_hours(1);
    });
    lab.minutes(10 * 60).await;
    assert_eq!(lab.state("one", "1"), "-");
    assert_eq!(lab.calls("DescribeTaskInfo"), 1);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_has_worked_is_asked_for_again_after_it_was_called_unknown() {
    let lab = Lab::new(&one_task("huawei_dds", "[{run: {for: 30m}}, {fail: {}}]"), |_| {});
    lab.minutes(2).await;
    lab.inject("one", FaultKind::MissingList);
    lab.minutes(2).await;
    assert!(!lab.snapshot("one").up, "a source that can see nothing is not up");
    lab.cloud.heal("one");
    lab.minutes(40).await;
    assert!(lab.snapshot("one").up);
    assert_eq!(lab.state("one", "1"), "failed");
    lab.stop().await;
}

/// A task that is configured and hangs, and one that only the list tells of.
const LISTED_AND_CONFIGURED: &str = "sources:
  - name: one
    api: huawei_dds
    region: cn-north-4
    resources: [{id: 0123in02}]
    tasks:
      - {id: watched, resource: 0123in02, configured: true, life: [{hang: {}}]}
      - {id: listed, resource: 0123in02, at: 10m, life: [{run: {for: 30m}}, {fail: {}}]}
";

#[tokio::test(start_paused = true)]
async fn a_list_that_seemed_not_to_exist_is_asked_for_again_every_hour() {
    let lab = Lab::new(LISTED_AND_CONFIGURED, |_| {});
    lab.inject("one", FaultKind::MissingList);
    lab.minutes(3).await;
    assert_eq!(lab.state("one", "watched"), "running");
    assert_eq!(lab.calls("ListTasks"), 1);
    lab.cloud.heal("one");
    lab.minutes(50).await;
    assert_eq!(lab.state("one", "listed"), "-");
    lab.minutes(10).await;
    assert_eq!(lab.state("one", "listed"), "failed");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_not_said_to_fail_once_there_is_no_list_to_ask_for_it() {
    let lab = Lab::new(LISTED_AND_CONFIGURED, |config| {
        config.sources[0].resources = vec![Resource::new("0123in02").into()];
    });
    let failing = || -> Vec<String> {
        lab.snapshot("one").failing_resources.iter().map(|it| it.id.to_string()).collect()
    };
    let list = Some("ListTasks".to_owned());
    lab.cloud.inject("one", Fault { operation: list, ..Fault::new(FaultKind::ServerError) });
    lab.minutes(3).await;
    assert_eq!(failing(), ["0123in02"]);
    lab.cloud.heal("one");
    lab.inject("one", FaultKind::MissingList);
    lab.minutes(20).await;
    assert!(lab.snapshot("one").up);
    assert_eq!((failing(), lab.state("one", "watched")), (Vec::new(), "running"));
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_answered_an_earlier_process_is_trouble_when_it_does_not_answer_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::stored(LISTED_AND_CONFIGURED, folder.path(), |_| {}).await;
    lab.minutes(1).await;
    let setup = lab.crash().await;
    let lab = setup.start();
    lab.inject("one", FaultKind::MissingList);
    lab.minutes(3).await;
    assert!(!lab.snapshot("one").up, "what it lists cannot be seen");
    lab.cloud.heal("one");
    lab.minutes(45).await;
    assert_eq!(lab.state("one", "listed"), "failed");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_can_neither_list_nor_has_ids_is_not_up() {
    let lab = Lab::new(&one_task("huawei_dds", "[{hang: {}}]"), |_| {});
    lab.inject("one", FaultKind::MissingList);
    lab.minutes(10).await;
    assert!(!lab.snapshot("one").up);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_not_found_is_a_failed_poll_and_makes_nothing_vanish() {
    let lab = Lab::through(
        &one_task("tencent_cdb", "[{hang: {}}]"),
        |config| {
            config.sources[0].resources.clear();
        },
        |elapsed, request| {
            let body = r#"{"Response":{"Error":{"Code":"ResourceNotFound","Message":"no"},"RequestId":"x"}}"#;
            (elapsed > Duration::from_mins(2) && is_for(request, "DescribeTasks"))
                .then(|| refused(StatusCode::OK, body))
        },
    );
    lab.minutes(1).await;
    assert!(lab.snapshot("one").up);
    lab.minutes(5).await;
    assert!(!lab.snapshot("one").up);
    assert_eq!(lab.state("one", "1"), "running");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_tasks_of_the_last_cluster_vanish_with_it() {
    let lab = Lab::through(
        &one_task("alibaba_polardb", "[{hang: {}}]"),
        |config| {
            config.sources[0].resources.clear();
        },
        |elapsed, request| {
            let gone = elapsed > Duration::from_mins(10);
            let none =
                r#"{"Items":{"DBCluster":[]},"TotalRecordCount":0,"PageNumber":1,"RequestId":"x"}"#;
            let denied = r#"{"Code":"InvalidDBClusterId.NotFound","Message":"no","RequestId":"x"}"#;
            if gone && is_for(request, "DescribeDBClusters") {
                Some(refused(StatusCode::OK, none))
            } else {
                (gone && is_for(request, "DescribeTasks"))
                    .then(|| refused(StatusCode::NOT_FOUND, denied))
            }
        },
    );
    lab.minutes(5).await;
    assert_eq!(lab.state("one", "1"), "running");
    lab.minutes(12).await;
    assert_eq!(lab.state("one", "1"), "unknown");
    lab.minutes(63).await;
    assert_eq!(lab.state("one", "1"), "-");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_start_counts_though_no_poll_had_gone_well_before_it() {
    let lab = Lab::new(&one_task("tencent_cdb", "[{run: {for: 1h}}, {fail: {}}]"), |_| {});
    lab.inject("one", FaultKind::ServerError);
    lab.minutes(120).await;
    lab.cloud.heal("one");
    lab.minutes(30).await;
    assert_eq!(lab.state("one", "1"), "failed");
    lab.scrape_by(1);
    assert_eq!(lab.sum("dbtask_task_failures_total"), 1);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn polling_once_tries_a_refused_key_three_times_however_many_sources_it_has() {
    let sources: Vec<String> = (1..=10)
        .map(|id| {
            format!(
                "  - {{name: s{id}, api: huawei_dds, region: cn-north-{id}, account: shared, resources: [{{id: in}}]}}\n"
            )
        })
        .collect();
    let scenario = format!("sources:\n{}", sources.concat());
    let (exporter, cloud) = Lab::unstarted(&scenario);
    for id in 1..=10 {
        cloud.inject(&format!("s{id}"), Fault::new(FaultKind::Unauthorized));
    }
    let snapshots = exporter.poll_once().await;
    assert!(snapshots.iter().all(|snapshot| !snapshot.up));
    assert_eq!(cloud.request_count(), 3);
}

#[tokio::test(start_paused = true)]
async fn polling_once_does_not_wait_behind_a_key_that_is_good() {
    let sources: Vec<String> = (1..=10)
        .map(|id| {
            format!("  - {{name: s{id}, api: huawei_dds, region: cn-{id}, account: shared, resources: [{{id: in}}]}}\n")
        })
        .collect();
    let (exporter, _cloud) = Lab::unstarted(&format!("sources:\n{}", sources.concat()));
    let snapshots = exporter.poll_once().await;
    assert!(snapshots.iter().all(|snapshot| snapshot.up));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_seen_though_the_task_could_not_be_found_for_a_while() {
    // In a status that cannot be asked for.
    let life = "[{run: {for: 72h}}, {vanish: {for: 20m}}, {fail: {}}]";
    let lab = Lab::new(&one_task("alibaba_polardb", life), |config| {
        config.sources[0].poll.interval = Duration::from_mins(10);
    });
    lab.minutes(72 * 60 + 15).await;
    assert_eq!(lab.state("one", "1"), "unknown");
    lab.minutes(30).await;
    assert_eq!(lab.state("one", "1"), "failed");
    lab.scrape_by(1);
    assert_eq!(lab.sum("dbtask_task_failures_total"), 1);
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_cannot_be_asked_about_does_not_hide_the_others() {
    let scenario = "
sources:
  - name: one
    api: alibaba_polardb
    region: cn-hangzhou
    resources: [{id: pc-1}, {id: pc-2}]
    tasks:
      - {id: '1', resource: pc-1, kind: RESIZE, life: [{hang: {}}]}
      - {id: '2', resource: pc-2, kind: RESIZE, life: [{run: {for: 10m}}, {fail: {}}]}
";
    let lab = Lab::through(
        scenario,
        |_| {},
        |_, request| {
            let broken =
                request.uri().query().is_some_and(|query| query.contains("DBClusterId=pc-1"));
            let body = r#"{"Code":"InternalError","Message":"oops","RequestId":"x","HostId":"h"}"#;
            broken.then(|| refused(StatusCode::INTERNAL_SERVER_ERROR, body))
        },
    );
    lab.minutes(20).await;
    let snapshot = lab.snapshot("one");
    assert!(snapshot.up, "{:?}", snapshot.last_error);
    assert_eq!(&*snapshot.failing_resources[0].id, "pc-1");
    assert_eq!(lab.state("one", "2"), "failed");
    lab.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_the_vendors_word_that_it_does_not_know_a_task() {
    let scenario = "
sources:
  - name: one
    api: alibaba_adb
    region: cn-hangzhou
    resources: [{id: am-1}]
    tasks: [{id: '7', resource: am-1, configured: true, life: [{hang: {}}]}]
";
    let lab = Lab::new(scenario, |_| {});
    lab.minutes(2).await;
    let by_id = Some("DescribeTaskInfo".to_owned());
    lab.cloud.inject("one", Fault { operation: by_id, ..Fault::new(FaultKind::Redirect) });
    lab.minutes(5).await;
    assert_eq!(&*lab.snapshot("one").failing_resources[0].id, "7");
    assert_eq!(lab.state("one", "7"), "running");
    lab.cloud.heal("one");
    lab.minutes(6).await;
    assert!(lab.snapshot("one").failing_resources.is_empty());
    assert_eq!(lab.state("one", "7"), "running");
    lab.stop().await;
}
